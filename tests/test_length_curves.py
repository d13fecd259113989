"""The pictures of errors by length: what stands in them, and for which grids there are any."""

import numpy as np
import pytest
from fake_runs import NAN, digits, keep_figures, legend_of, run_of, save_whole, texts

from experiments.reports import length_curves

AT = (1, 10, 100)


def cell(folder, task="mnist_addition", *, at=AT, mae=(4.0, 1.0, 2.0, 3.0), **others):
    """A finished cell whose errors are the given ones, times the length; predictors are off by 7 times it, and by 5."""
    told = {"told": (("constant", 7.0), ("true mean", 5 / np.array(at)))}
    return digits(folder, task, at=at, mae=mae, **(told | others))


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    return keep_figures(monkeypatch, length_curves)


def heights(panel):
    """The curves of a panel."""
    return [line.get_ydata() for line in panel.get_lines() if len(line.get_xdata()) > 2]


def whiskers(panel):
    """From where to where the whiskers of a panel go, series after series."""
    return [(segment[0][1], segment[1][1]) for lines in panel.collections for segment in lines.get_segments()]


def test_the_picture_of_lengths_shows_the_median_error_and_the_error_per_image_with_whiskers(tmp_path, drawn, monkeypatch):
    save_whole(monkeypatch)
    length_curves.write(run_of([cell(tmp_path, unit="nac")]), tmp_path)
    whole, share = drawn[0].axes
    assert list(whole.get_lines()[0].get_xdata()) == list(AT)
    np.testing.assert_allclose(heights(whole), [[2.5, 25, 250], [7, 70, 700], [5, 5, 5]])
    np.testing.assert_allclose(heights(share), [[2.5, 2.5, 2.5], [7, 7, 7], [5, 0.5, 0.05]])
    np.testing.assert_allclose(whiskers(whole), [[1, 4], [10, 40], [100, 400]])
    np.testing.assert_allclose(whiskers(share), [[1, 4]] * 3)
    assert (whole.get_xscale(), whole.get_yscale()) == ("log", "log")
    assert [panel.get_ylabel() for panel in (whole, share)] == ["mean absolute error", "error per image"]
    assert (tmp_path / "lengths.pdf").exists()


@pytest.mark.parametrize(("at", "least"), [((1, 10, 100), 1.02), ((1, 2, 4), 0.05)])
def test_whiskers_of_cells_stand_side_by_side_near_their_length(at, least, tmp_path, drawn):
    length_curves.write(
        run_of([cell(tmp_path, unit=unit, at=at, train_length=at[1]) for unit in ("nac", "nau", "nalu")]), tmp_path
    )
    panel = drawn[0].axes[0]
    places = np.array([line.get_xdata() for line in panel.get_lines()[:3]])  # [cells, lengths]
    np.testing.assert_allclose(places[1], at)
    apart = places[1:] / places[:-1] if at[-1] > 30 else np.diff(places, axis=0)
    assert (apart > least).all() and (np.abs(places / at - 1) < 0.31).all()
    np.testing.assert_allclose([[s[0][0] for s in lines.get_segments()] for lines in panel.collections], places)


def test_of_many_lengths_a_few_and_those_of_training_have_whiskers(tmp_path):
    for at, expected in (
        (tuple(range(1, 21)), {1, 2, 5, 9, 12, 16, 20}),
        ((1, 10, *range(100, 1001, 100)), {1, 10, 100, 300, 1000}),
    ):
        run = run_of([cell(tmp_path, unit="nac", at=at, train_length=2 if at[-1] == 20 else 10)])
        assert set(length_curves.with_whiskers(run)) == expected


def test_the_training_length_is_marked_and_predictors_are_named_at_their_ends(tmp_path, drawn):
    length_curves.write(run_of([cell(tmp_path, unit="nac", train_length=10)]), tmp_path)
    assert [sorted(texts(panel)) for panel in drawn[0].axes] == [
        ["constant", "trained on 10", "true mean"],
        ["constant", "true mean"],
    ]
    for panel in drawn[0].axes:
        assert [list(line.get_xdata()) for line in panel.get_lines() if len(line.get_xdata()) == 2] == [[10, 10]]


def test_names_at_the_ends_of_lines_that_end_together_stand_apart(tmp_path, drawn):
    result = cell(tmp_path, unit="nac")
    result.predictors["true mean"]["extrapolation_mae"] = 701.0
    length_curves.write(run_of([result]), tmp_path)
    panel = drawn[0].axes[0]
    drawn[0].canvas.draw()
    bottom, top = sorted(text.get_window_extent().y0 for text in panel.texts if text.get_text() != "trained on 10")
    assert top - bottom > 8 * drawn[0].dpi / 72


def test_products_are_held_against_the_error_of_the_true_mean_alone(tmp_path, drawn):
    length_curves.write(run_of([cell(tmp_path, "mnist_product", at=(1, 2, 4), train_length=2, unit="nmu")]), tmp_path)
    [panel] = drawn[0].axes
    np.testing.assert_allclose(heights(panel), [[0.5, 1, 2], [1.4, 2.8, 5.6], [1, 1, 1]])
    assert panel.get_ylabel() == "error over that of the true mean" and panel.get_xscale() == "linear"
    drawn[0].canvas.draw()
    assert {"0.5", "1", "2", "5"} <= {label.get_text() for label in panel.get_yticklabels()}
    assert all(float(place).is_integer() for place in panel.get_xticks())


def test_forms_of_a_cell_share_a_colour_and_are_told_apart_by_their_line(tmp_path, drawn):
    axes = [
        {"unit": "nac", "cell": "unit"},
        {"unit": "nac", "cell": "accumulator"},
        {"cell": "lstm", "readout": "dense"},
        {"cell": "lstm", "readout": "none"},
        {"cell": "exact_sum"},
    ]
    run = run_of([cell(tmp_path, **one) for one in axes])
    length_curves.write(run, tmp_path)
    nac, nac_sum, lstm, lstm_bare, exact = drawn[0].legends[0].get_lines()
    assert nac.get_color() == nac_sum.get_color() != lstm.get_color() == lstm_bare.get_color()
    assert exact.get_color() == "#000000" and len({line.get_color() for line in (nac, lstm, exact)}) == 3
    styles = [one.look["linestyle"] for one in length_curves.lines_of(run).values()]
    assert len({str(style) for style in styles[:4]}) == 4 and styles[0] == styles[4] == "-"


def test_a_variant_of_a_form_has_an_open_marker(tmp_path):
    axes = [{"cell": "unit"}, {"cell": "unit", "r_z_weight": 1.0}, {"cell": "accumulator"}]
    run = run_of([cell(tmp_path, "mnist_sum", unit="nmu", **one) for one in axes])
    plain, with_r_z, accumulator = (one.look for one in length_curves.lines_of(run).values())
    assert with_r_z["markerfacecolor"] == "white" and plain["markerfacecolor"] == accumulator["markerfacecolor"] != "white"
    assert plain["linestyle"] == with_r_z["linestyle"] != accumulator["linestyle"]


def test_no_cell_but_the_exact_one_is_black(tmp_path):
    results = [cell(tmp_path, unit=f"unit{i}") for i in range(16)]
    lines = length_curves.lines_of(run_of([*results, cell(tmp_path, cell="exact_sum")]))
    looks = {name: one.look for name, one in lines.items()}
    assert [name for name, look in looks.items() if look["color"] in ("black", "#000000")] == ["exact_sum"]
    assert len({(look["color"], look["marker"], look["markerfacecolor"]) for look in looks.values()}) == 17


def test_diverged_seeds_are_told_in_the_legend_and_stretch_no_whisker(tmp_path, drawn):
    length_curves.write(run_of([cell(tmp_path, unit="nac", mae=(1.0, 2.0, 3.0, NAN))]), tmp_path)
    assert legend_of(drawn[0]) == ["NAC (1 diverged)"]
    np.testing.assert_allclose(heights(drawn[0].axes[0])[0], [2.5, 25, 250])
    np.testing.assert_allclose(whiskers(drawn[0].axes[0]), [[1, 2.5], [10, 25], [100, 250]])
    assert np.isfinite(drawn[0].axes[0].get_ylim()).all()


def test_what_explodes_does_not_press_the_others_together(tmp_path, drawn):
    grid = [cell(tmp_path, unit="nac"), cell(tmp_path, cell="rnn_relu", mae=(1e20, 1e20, 1e20, 1e20))]
    length_curves.write(run_of(grid), tmp_path)
    assert drawn[0].axes[0].get_ylim()[1] < 1e6


def test_a_grid_with_one_length_has_no_such_picture(tmp_path):
    length_curves.write(run_of([cell(tmp_path, unit="nau", at=(10,), mae=1.0, told=())]), tmp_path)
    assert not list(tmp_path.glob("*.png"))
