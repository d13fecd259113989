"""The error curves: what stands in them, and that large grids leave them readable."""

import pytest
from fake_runs import RANGES, arithmetic, grid, keep_figures, legend_of, product_of, run_of

from experiments.reports import curves


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    return keep_figures(monkeypatch, curves)


def curve_labels(panel):
    return [line.get_label() for line in panel.get_lines() if line.get_label() != "solved below"]


def test_a_few_cells_have_a_curve_each(tmp_path, drawn):
    curves.write(grid(tmp_path, ["nac", "nau"], ["add", "sub"], RANGES[:2]), tmp_path)
    expected = ["nac U[−2, −1)", "nac U[−2, 2)", "nau U[−2, −1)", "nau U[−2, 2)"]
    assert legend_of(drawn[0]) == [*expected, "solved below"]
    assert all(curve_labels(panel) == expected for panel in drawn[0].axes)
    assert drawn[0].get_suptitle() == ""


def test_twelve_units_have_a_curve_each_in_a_colour_of_its_own(tmp_path, drawn):
    results = product_of(tmp_path, unit=[f"unit {i}" for i in range(12)], operation=["add"])
    curves.write(run_of(results), tmp_path)
    colours = {line.get_color() for line in drawn[0].axes[0].get_lines()}
    assert len(legend_of(drawn[0])) == 13 and len(colours) == 12


def test_of_many_ranges_the_first_is_shown_and_the_title_says_so(tmp_path, drawn):
    curves.write(grid(tmp_path, ["nac", "nau", "nalu", "inalu", "gnalu"], ["add", "sub"]), tmp_path)
    assert legend_of(drawn[0]) == ["nac", "nau", "nalu", "inalu", "gnalu", "solved below"]
    assert drawn[0].get_suptitle() == "only U[−2, −1): 10 of 30 cells"


def test_of_many_learning_rates_the_middle_one_is_shown_whatever_their_order(tmp_path, drawn):
    rates = [1e-1, 1e-4, 1e-2, 1e-5, 1e-3]
    units = ["nac", "nau", "nalu"]
    results = product_of(tmp_path, unit=units, operation=["add"], learning_rate=rates, optimizer=["sgd", "adam"])
    curves.write(run_of(results), tmp_path)
    assert legend_of(drawn[0])[:-1] == ["nac", "nau", "nalu"]
    assert drawn[0].get_suptitle() == "only learning_rate=0.001, sgd: 3 of 30 cells"


def test_of_many_units_the_first_twelve_are_shown_and_the_title_says_so(tmp_path, drawn):
    curves.write(grid(tmp_path, [f"unit {i}" for i in range(17)]), tmp_path)
    assert legend_of(drawn[0])[:-1] == [f"unit {i}" for i in range(12)]
    assert drawn[0].get_suptitle() == "only U[−2, −1), the first 12 of 17 units: 12 of 51 cells"


def test_an_optimizer_speaks_for_itself(tmp_path, drawn):
    results = product_of(tmp_path, unit=["nau"], operation=["add"], optimizer=["adam", "sgd"])
    curves.write(run_of(results), tmp_path)
    assert legend_of(drawn[0])[:-1] == ["nau adam", "nau sgd"]


def test_every_threshold_of_an_operation_is_drawn(tmp_path, drawn):
    axes = [{"unit": "nau", "operation": "add", "interpolation_range": interval} for interval in RANGES]
    results = [arithmetic(tmp_path, one, threshold=value) for one, value in zip(axes, (1e-5, 1e-6, 1e-5), strict=True)]
    curves.write(run_of(results), tmp_path)
    lines = drawn[0].axes[1].get_lines()
    assert {line.get_ydata()[0] for line in lines if line.get_label() == "solved below"} == {1e-5, 1e-6}
