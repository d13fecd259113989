"""The picture of learning rates: what stands in it, and that large grids leave it readable."""

import itertools

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
    run_of,
    save_whole,
    size_of,
)

from experiments.reports import curves, ranges, rates


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    return keep_figures(monkeypatch, rates, curves, ranges)


def of_rates(path, rates, **axes):
    """A cell for each combination of the axes and each rate; of its four seeds as many are solved as the rate has."""
    return [
        arithmetic(
            path, dict(zip(axes, values, strict=True)) | {"learning_rate": rate}, solved_at=[9.0] * n + [NAN] * (4 - n)
        )
        for values in itertools.product(*axes.values())
        for rate, n in rates.items()
    ]


def line_of(line):
    """The points of a line."""
    return [tuple(point) for point in np.transpose(line.get_data()).tolist()]


def test_the_picture_of_rates_has_a_row_an_operation_and_a_column_an_optimizer(tmp_path, drawn, monkeypatch):
    save_whole(monkeypatch)
    axes = {"unit": ["nac", "nalu"], "operation": ["mul", "sub"], "optimizer": ["adam", "sgd", "momentum"]}
    rates.write(run_of(of_rates(tmp_path, {1e-3: 1, 1e-2: 2}, **axes)), tmp_path)
    rows = panels_of(drawn[0])
    assert [row[0].get_ylabel() for row in rows] == ["a × b\nsuccess rate", "a − b\nsuccess rate"]
    assert [[panel.get_title() for panel in row] for row in rows] == [["Adam", "SGD", "momentum"], [""] * 3]
    assert [panel.get_xlabel() for panel in rows[1]] == ["learning rate"] * 3
    assert {panel.get_xscale() for row in rows for panel in row} == {"log"}
    [legend] = drawn[0].legends
    assert legend.get_title().get_text() == "success rate with its 95 % interval, 4 seeds a point"
    assert legend_of(drawn[0]) == ["NAC", "NALU"]
    assert min(size_of(tmp_path / "rates.png")) > 500 and (tmp_path / "rates.pdf").exists()


def test_the_picture_of_rates_shows_success_rates_with_their_intervals_from_the_lowest_rate_to_the_highest(tmp_path, drawn):
    rates.write(run_of(of_rates(tmp_path, {1e-1: 4, 1e-3: 0, 1e-2: 2}, unit=["nac"])), tmp_path)
    [panel] = drawn[0].axes
    [line] = panel.get_lines()
    assert line_of(line) == [(1e-3, 0.0), (1e-2, 0.5), (1e-1, 1.0)]
    # Wilson's intervals by hand: (n + z² / 2 ± z √(n (1 - n / 4) + z² / 4)) / (4 + z²), z = 1.96, of n = 0, 2 and 4.
    expected = [(0, 0.4899), (0.1500, 0.8500), (0.5101, 1)]
    assert bars(panel) == [pytest.approx(ends, abs=1e-4) for ends in expected]


def test_any_other_axis_of_three_numbers_has_a_picture_of_its_own(tmp_path, drawn):
    sizes = {4: 0, 40: 2, 100: 4}
    cells = [
        arithmetic(
            tmp_path, {"unit": unit, "input_size": size, "hidden_size": hidden}, solved_at=[9.0] * n + [NAN] * (4 - n)
        )
        for unit, hidden, (size, n) in itertools.product(("nmu", "nac_mul"), (2, 3), sizes.items())
    ]
    rates.write(run_of(cells), tmp_path)
    assert {path.name for path in tmp_path.glob("rates*.png")} == {"rates_input_size.png"}  # two hidden sizes are no sweep
    [panel] = drawn[0].axes
    assert (panel.get_xlabel(), panel.get_xscale()) == ("input size", "linear")
    assert [text.get_text() for text in panel.get_xticklabels()] == ["4", "40", "100"]
    lines = [np.transpose(line_of(line)) for line in panel.get_lines()]
    for line in lines:
        np.testing.assert_allclose(line[0], list(sizes), atol=5)
        np.testing.assert_array_equal(line[1], [0, 0.5, 1])
    assert len(lines) == 4 and legend_of(drawn[0])[0] == "NMU, hidden size 2"


def test_cells_of_a_part_without_rates_stand_at_the_rate_and_the_optimizer_of_their_config(tmp_path, drawn):
    swept = of_rates(tmp_path, {1e-3: 1, 1e-1: 2}, unit=["nalu"], optimizer=["adam", "rmsprop"])
    other = {"unit": "nalu", "optimizer": "", "learning_rate": "", "hidden_size": 3}
    apart = arithmetic(tmp_path, {axis: value for axis, value in other.items() if value != ""}, solved_at=[9.0] * 3 + [NAN])
    rates.write(run_of([*swept, apart._replace(axes=other)]), tmp_path)
    assert [panel.get_title() for panel in drawn[0].axes] == ["Adam", "RMSProp"]
    adam, rmsprop = ([line_of(line) for line in panel.get_lines()] for panel in drawn[0].axes)
    assert (len(adam), len(rmsprop)) == (2, 1)  # its config has Adam at 1e-2
    np.testing.assert_allclose(adam[1], [(1e-2, 0.75)], rtol=0.3)


def test_each_panel_has_its_own_cells(tmp_path, drawn):
    axes = [
        {"operation": o, "optimizer": opt, "learning_rate": r}
        for o in ("add", "sub")
        for opt in ("adam", "sgd")
        for r in (0.1, 1.0)
    ]
    solved = [0, 1, 1, 2, 2, 3, 3, 4]
    results = [arithmetic(tmp_path, one, solved_at=[9.0] * n + [NAN] * (4 - n)) for one, n in zip(axes, solved, strict=True)]
    rates.write(run_of(results), tmp_path)
    heights = [[line.get_ydata() for line in panel.get_lines()] for panel in drawn[0].axes]
    np.testing.assert_array_equal(heights, np.reshape(solved, (4, 1, 2)) / 4)


def test_units_stand_side_by_side_around_their_rate_and_never_nearer_to_another(tmp_path, drawn):
    at = {1e-4: 0, 1e-3: 0, 1.3e-3: 0}
    rates.write(run_of(of_rates(tmp_path, at, unit=["nac", "nac_mul", "nalu"])), tmp_path)
    places = np.log([line.get_xdata() for line in drawn[0].axes[0].get_lines()])  # [units, rates]
    aside = places - np.log(list(at))
    np.testing.assert_allclose(aside[1], 0, atol=1e-9)
    assert (aside[0] < 0).all() and (aside[2] > 0).all() and np.abs(aside).max() < np.log(1.3) / 4


def test_a_unit_looks_the_same_in_every_panel_and_as_in_the_other_pictures(tmp_path, drawn):
    units = [f"unit {i}" for i in range(8)]
    axes = {"unit": units, "optimizer": ["adam", "sgd"]}
    rates.write(run_of(of_rates(tmp_path, {1e-3: 0, 1e-2: 0}, **axes)), tmp_path)
    ranges.write(grid(tmp_path, units, intervals=RANGES[:1]), tmp_path)

    expected = looks_of(drawn[1].axes[0].get_lines())
    assert len(set(expected)) == 8
    assert all(looks_of(panel.get_lines()) == expected for panel in drawn[0].axes)
    assert looks_of(drawn[0].legends[0].get_lines()) == expected


def test_cells_that_differ_in_other_axes_are_lines_of_their_own_named_as_among_the_curves(tmp_path, drawn):
    axes = {"unit": ["nau"], "hidden_size": [2, 3], "sparsity_weight": [0.0, 1.0]}
    results = of_rates(tmp_path, {1e-3: 1, 1e-2: 2}, **axes)
    rates.write(run_of(results), tmp_path)
    curves.write(run_of([result for result in results if result.axes["learning_rate"] == 1e-3]), tmp_path)
    expected = [f"NAU, hidden size {size}, sparsity weight {weight}" for size in (2, 3) for weight in (0, 1)]
    assert legend_of(drawn[0]) == expected
    with_rate = [label.replace(" sparsity", " learning rate 0.001, sparsity") for label in expected]
    assert legend_of(drawn[1])[:-1] == with_rate
    assert [line.get_ydata().tolist() for line in drawn[0].axes[0].get_lines()] == [[0.25, 0.5]] * 4


def test_a_grid_of_learning_rates_alone_has_one_panel_with_one_line_and_no_legend(tmp_path, drawn):
    rates.write(run_of(of_rates(tmp_path, {1e-3: 1, 1e-2: 2})), tmp_path)
    assert len(drawn[0].axes) == 1 and len(drawn[0].axes[0].get_lines()) == 1 and drawn[0].legends == []
    assert drawn[0].get_suptitle().endswith("4 seeds a point")


def test_a_unit_without_cells_in_a_row_is_not_in_it(tmp_path, drawn):
    results = of_rates(tmp_path, {1e-3: 1, 1e-2: 2}, unit=["nac"], operation=["add"])
    results += of_rates(tmp_path, {1e-3: 3, 1e-2: 4}, unit=["nmu"], operation=["mul"])
    rates.write(run_of(results), tmp_path)
    shown = [[line.get_ydata().tolist() for line in panel.get_lines()] for panel in drawn[0].axes]
    assert [[line for line in lines if line] for lines in shown] == [[[0.25, 0.5]], [[0.75, 1.0]]]


@pytest.mark.parametrize(
    ("places", "labels"),
    [
        ([1e-5, 3e-5, 1e-4, 3e-4, 1e-3], ["$10^{-5}$", "$10^{-4}$", "$10^{-3}$"]),
        ([1e-3, 2e-3, 5e-3], ["$10^{-3}$", r"$2 \cdot 10^{-3}$", r"$5 \cdot 10^{-3}$"]),
        ([0.25, 1.0, 10.0], ["$10^{0}$", "$10^{1}$"]),
    ],
)
def test_learning_rates_are_written_as_powers_of_ten_and_all_have_a_tick(places, labels, tmp_path, drawn):
    rates.write(run_of(of_rates(tmp_path, dict.fromkeys(places, 1))), tmp_path)
    axis = drawn[0].axes[0].xaxis
    assert [text.get_text() for text in axis.get_ticklabels() if text.get_text()] == labels
    assert sorted({*axis.get_majorticklocs(), *axis.get_minorticklocs()}) == pytest.approx(places)


@pytest.mark.parametrize("axes", [{"unit": "nau"}, {"unit": "nau", "learning_rate": 1e-3}], ids=["no rate", "one rate"])
def test_a_grid_with_fewer_than_two_learning_rates_has_no_such_picture(axes, tmp_path):
    rates.write(run_of([arithmetic(tmp_path, axes | {"operation": name}) for name in ("add", "mul")]), tmp_path)
    assert not (tmp_path / "rates.png").exists()


def test_more_than_eight_series_are_a_heat_map_with_a_block_an_operation_and_optimizer(tmp_path, drawn):
    axes = {"unit": [f"unit {i}" for i in range(9)], "operation": ["add", "mul"], "optimizer": ["adam", "sgd"]}
    results = of_rates(tmp_path, {1e-3: 1, 1e-2: 2}, **axes)
    rates.write(run_of(results), tmp_path)
    rates.write(run_of([result for result in results if result.axes["unit"] != "unit 8"]), tmp_path)
    heat, lines = drawn
    blocks = [panel for panel in heat.axes if panel.images]
    assert [panel.get_title() for panel in blocks] == ["a + b, Adam", "a + b, SGD", "a × b, Adam", "a × b, SGD"]
    for panel in blocks:
        np.testing.assert_array_equal(panel.images[0].get_array(), [[0.25, 0.5]] * 9)
    assert [text.get_text() for text in blocks[0].get_xticklabels()] == ["$10^{-3}$", "$10^{-2}$"]
    assert not any(panel.images for panel in lines.axes)
