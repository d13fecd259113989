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
    size_of,
)

from experiments.reports import ranges


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    return keep_figures(monkeypatch, ranges)


def test_the_picture_of_ranges_has_a_row_an_operation_and_a_panel_a_result(tmp_path, drawn):
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
    results = grid(tmp_path, [f"unit {i}" for i in range(14)])
    ranges.write(results, tmp_path)
    places = np.array([place for place, _ in points(panels_of(drawn[0])[0][0])]).reshape(3, 14)
    assert (np.round(places) == [[0], [1], [2]]).all() and (np.diff(places) > 0.05).all()


def test_a_unit_looks_the_same_in_every_row_and_like_no_other(tmp_path, drawn):
    units = [f"unit {i}" for i in range(17)]
    # The second row lacks the first unit.
    results = product_of(tmp_path, unit=units, operation=["mul"], interpolation_range=RANGES[:1])
    results += product_of(tmp_path, unit=units[1:], operation=["div"], interpolation_range=RANGES[:1])
    ranges.write(run_of(results), tmp_path)

    mul, div = (looks_of(row[0].get_lines()) for row in panels_of(drawn[0]))
    assert len(set(mul)) == 17 and mul[1:] == div
    # Of twelve colours those that come again have open markers.
    assert [inside == colour for colour, _, inside in mul] == [True] * 12 + [False] * 5
    assert legend_of(drawn[0]) == units and looks_of(drawn[0].legends[0].get_lines()) == mul


def test_cells_that_are_not_there_leave_a_gap(tmp_path, drawn):
    results = product_of(tmp_path, unit=["nac", "nau"], interpolation_range=RANGES)
    ranges.write(run_of([results[i] for i in (0, 1, 2, 4)]), tmp_path)
    assert [round(place) for place, _ in points(panels_of(drawn[0])[0][0])] == [0, 1, 1, 2]


def test_other_axes_tell_series_apart(tmp_path, drawn):
    axes = [{"unit": "nau", "operation": "add", "input_size": n, "interpolation_range": (1.0, 2.0)} for n in (2, 10)]
    ranges.write(run_of([arithmetic(tmp_path, one) for one in axes]), tmp_path)
    assert legend_of(drawn[0]) == ["nau input_size=2", "nau input_size=10"]


def test_a_grid_without_ranges_has_no_such_picture(tmp_path):
    ranges.write(run_of([arithmetic(tmp_path, {"unit": "nau", "operation": "add"})]), tmp_path)
    assert not (tmp_path / "ranges.png").exists()
