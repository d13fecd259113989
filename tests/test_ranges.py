"""The picture of ranges: what stands in it, and that large grids leave it readable."""

import numpy as np
import pytest
from fake_runs import (
    NAN,
    RANGES,
    arithmetic,
    bars,
    grid,
    keep_figures,
    legend_of,
    looks_of,
    panels_of,
    points,
    product_of,
    run_of,
    save_whole,
    size_of,
)

from experiments.reports import ranges


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    return keep_figures(monkeypatch, ranges)


def test_the_picture_of_ranges_has_a_row_an_operation_and_a_panel_a_result(tmp_path, drawn, monkeypatch):
    save_whole(monkeypatch)
    ranges.write(grid(tmp_path, ["nau", "nac"], ["add", "sub"]), tmp_path)
    rows = panels_of(drawn[0])
    assert [len(row) for row in rows] == [3, 3]
    assert [row[0].get_ylabel() for row in rows] == ["a + b", "a − b"]
    assert [panel.get_title() for panel in rows[0]] == ["success rate", "solved at step", "sparsity error"]
    assert min(size_of(tmp_path / "ranges.png")) > 500


def test_ranges_are_written_as_in_the_papers(tmp_path, drawn):
    intervals = [(-20.0, -10.0), (-1.2, -1.1), ((-6.0, -2.0), (2.0, 6.0))]
    ranges.write(grid(tmp_path, ["nau"], intervals=intervals), tmp_path)
    labels = [text.get_text() for text in drawn[0].axes[0].get_xticklabels()]
    assert labels == ["U[−20, −10)", "U[−1.2, −1.1)", "U[−6, −2) ∪ [2, 6)"]


def test_the_picture_of_ranges_shows_estimates_with_their_intervals(tmp_path, drawn):
    ranges.write(grid(tmp_path, ["nau"], intervals=RANGES[:1]), tmp_path)
    success, solved_at, sparsity = panels_of(drawn[0])[0]
    assert [points(panel)[0][1] for panel in (success, solved_at)] == [0.5, 4000]
    # Wilson's interval of 2 of 4, by hand: (2 + z² / 2 ± z √(1 + z² / 4)) / (4 + z²), z = 1.96.
    assert bars(success) == [pytest.approx((0.1500, 0.8500), abs=1e-4)]
    for panel, (least, most) in ((solved_at, (3000, 5000)), (sparsity, (1e-3, 2e-3))):
        ((_, estimate),), ((low, high),) = points(panel), bars(panel)
        assert low < estimate < high and least < estimate < most


def test_what_no_seed_has_is_absent(tmp_path, drawn):
    axes = [{"unit": "nau", "operation": "mul", "interpolation_range": interval} for interval in RANGES]
    never = arithmetic(tmp_path, axes[0], solved_at=[NAN] * 4)
    once = arithmetic(tmp_path, axes[1], solved_at=[7000, NAN, NAN, NAN])
    ranges.write(run_of([never, once]), tmp_path)
    success, solved_at, sparsity = panels_of(drawn[0])[0]
    assert points(success) == [(0, 0), (1, 0.25)] and len(bars(success)) == 2
    assert points(solved_at) == [(1, 7000)] and bars(solved_at) == []
    assert points(sparsity) == [(1, 1e-3)] and bars(sparsity) == []


def test_a_grid_of_which_nothing_is_solved_has_its_picture(tmp_path, drawn):
    result = arithmetic(
        tmp_path, {"unit": "nau", "operation": "mul", "interpolation_range": (1.0, 2.0)}, solved_at=[NAN] * 4
    )
    ranges.write(run_of([result]), tmp_path)
    success, solved_at, sparsity = panels_of(drawn[0])[0]
    assert [points(panel) for panel in (success, solved_at, sparsity)] == [[(0, 0)], [], []]
    assert solved_at.get_ylim()[1] >= 10_000


def test_a_sparsity_error_of_0_stands_at_the_edge(tmp_path, drawn):
    result = arithmetic(
        tmp_path, {"unit": "nau", "operation": "add", "interpolation_range": (1.0, 2.0)}, sparsity=[0, 0, 0, 0]
    )
    ranges.write(run_of([result]), tmp_path)
    sparsity = panels_of(drawn[0])[0][2]
    assert points(sparsity) == [(0, 1e-8)] and sparsity.get_ylim()[0] < 1e-8


def test_units_stand_side_by_side_at_their_range(tmp_path, drawn):
    results = grid(tmp_path, [f"unit {i}" for i in range(8)])
    ranges.write(results, tmp_path)
    places = np.array([place for place, _ in points(panels_of(drawn[0])[0][0])]).reshape(3, 8)
    assert (np.round(places) == [[0], [1], [2]]).all() and (np.diff(places) > 0.05).all()


def test_a_unit_looks_the_same_in_every_row_and_like_no_other(tmp_path, drawn):
    units = [f"unit {i}" for i in range(8)]
    # The second row lacks the first unit.
    results = product_of(tmp_path, unit=units, operation=["mul"], interpolation_range=RANGES[:1])
    results += product_of(tmp_path, unit=units[1:], operation=["div"], interpolation_range=RANGES[:1])
    ranges.write(run_of(results), tmp_path)

    mul, div = (looks_of(row[0].get_lines()) for row in panels_of(drawn[0]))
    assert len(set(mul)) == 8 and mul[1:] == div
    assert legend_of(drawn[0]) == units and looks_of(drawn[0].legends[0].get_lines()) == mul


def test_cells_that_are_not_there_leave_a_gap(tmp_path, drawn):
    results = product_of(tmp_path, unit=["nac", "nau"], interpolation_range=RANGES)
    ranges.write(run_of([results[i] for i in (0, 1, 2, 4)]), tmp_path)
    assert [round(place) for place, _ in points(panels_of(drawn[0])[0][0])] == [0, 1, 1, 2]


def test_other_axes_tell_series_apart(tmp_path, drawn):
    axes = [{"unit": "nau", "operation": "add", "input_size": n, "interpolation_range": (1.0, 2.0)} for n in (2, 10)]
    ranges.write(run_of([arithmetic(tmp_path, one) for one in axes]), tmp_path)
    assert legend_of(drawn[0]) == ["NAU, input size 2", "NAU, input size 10"]
    assert len(set(looks_of(drawn[0].axes[0].get_lines()))) == 2


def test_a_grid_without_ranges_has_no_such_picture(tmp_path):
    ranges.write(run_of([arithmetic(tmp_path, {"unit": "nau", "operation": "add"})]), tmp_path)
    assert not (tmp_path / "ranges.png").exists()


# Heat maps


def rows_of(panel):
    """The texts of a heat map, row by row."""
    rows, columns = panel.images[0].get_array().shape
    found = {(round(text.get_position()[1]), round(text.get_position()[0])): text.get_text() for text in panel.texts}
    return [[found.get((row, column), "") for column in range(columns)] for row in range(rows)]


@pytest.mark.parametrize(("count", "images"), [(8, 0), (9, 1)])
def test_more_than_eight_series_are_a_heat_map(count, images, tmp_path, drawn, monkeypatch):
    save_whole(monkeypatch)
    ranges.write(grid(tmp_path, [f"unit {i}" for i in range(count)]), tmp_path)
    assert [len(panel.images) for panel in drawn[0].axes[:1]] == [images]
    assert (tmp_path / "ranges.pdf").exists() and size_of(tmp_path / "ranges.png")[0] == 1100


def heat(tmp_path, drawn):
    """The blocks of a heat map of which the first unit solves nothing and the second half; the third cannot divide."""
    units = ["nac_mul", "nalu", "nmu", *(f"unit {i}" for i in range(6))]
    axes = [
        {"unit": unit, "operation": o, "interpolation_range": r} for unit in units for o in ("mul", "div") for r in RANGES
    ]
    axes.remove({"unit": "nalu", "operation": "div", "interpolation_range": RANGES[1]})  # not finished yet
    able = [one for one in axes if (one["unit"], one["operation"]) != ("nmu", "div")]
    solved_at = {"nac_mul": [NAN] * 4}
    ranges.write(
        run_of([arithmetic(tmp_path, one, solved_at=solved_at.get(one["unit"], [9, 9, NAN, NAN])) for one in able]), tmp_path
    )
    return drawn[0].axes[:2]


def test_a_heat_map_has_the_success_rates_in_per_cent_units_down_and_ranges_across(tmp_path, drawn):
    mul, div = heat(tmp_path, drawn)
    assert [panel.get_title() for panel in (mul, div)] == ["a × b", "a ÷ b"]
    assert [text.get_text() for text in mul.get_yticklabels()][:4] == ["NAC•", "NALU", "NMU", "unit 0"]
    assert [text.get_text() for text in mul.get_xticklabels()] == ["U[−2, −1)", "U[−2, 2)", "U[1, 2)"]
    assert rows_of(mul) == [["0"] * 3] + [["50"] * 3] * 8
    assert mul.images[0].get_array().tolist() == [[0.0] * 3] + [[0.5] * 3] * 8


def test_what_a_unit_cannot_is_a_dash_without_colour_0_per_cent_is_not_and_what_is_not_there_yet_is_blank(tmp_path, drawn):
    _, div = heat(tmp_path, drawn)
    assert rows_of(div)[:3] == [["0", "0", "0"], ["50", "", "50"], ["–", "–", "–"]]
    image = div.images[0]
    assert np.ma.getmaskarray(image.get_array())[:3].tolist() == [[False] * 3, [False, True, False], [True] * 3]
    *_, blue, opaque = image.cmap(image.norm(0.0))
    assert opaque == 1 and blue < 0.9  # and so not the white of the paper
    assert "–  the unit does not support the operation" in drawn[0].axes[-1].get_xlabel()


def test_the_colours_of_a_heat_map_darken_evenly_from_0_to_100_per_cent(tmp_path, drawn):
    mul, _ = heat(tmp_path, drawn)
    image = mul.images[0]
    assert image.get_clim() == (0, 1)
    red, green, blue, _ = image.cmap(np.linspace(0, 1, 11)).T
    assert (np.diff(0.2126 * red + 0.7152 * green + 0.0722 * blue) < -0.03).all()
