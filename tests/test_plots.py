"""The pictures of finished cells: what stands in them, and that large grids leave them readable."""

import itertools

import numpy as np
import pytest
from matplotlib.figure import Figure
from ml_collections import ConfigDict
from PIL import Image

from experiments import plots
from experiments.results import CellResult, Files
from nalu_jax.checkpoint import pack
from nalu_jax.writer import MetricsFile

RANGES = [(-2.0, -1.0), (-2.0, 2.0), (1.0, 2.0)]
NAN = float("nan")


def cell(axes, path, *, solved_at=(3000, 5000, NAN, NAN), sparsity=(1e-3, 2e-3, 0.4, 0.4), threshold=1e-5):
    """A finished cell of four seeds, of which by default two are solved, and its three evaluations."""
    path = path / "-".join(map(str, axes.values()))
    path.mkdir()
    metrics = MetricsFile(path / "metrics.jsonl")
    for step in (0, 1000, 2000):
        quartiles = {"q25": 0.5, "q50": 1.0, "q75": 2.0}
        metrics.append(
            {"step": step} | dict.fromkeys(("interpolation_mse", "extrapolation_mse", "sparsity_error"), quartiles)
        )
    at = np.array(solved_at, float)
    seeds = {
        "seed": np.arange(4.0),
        "solved": np.isfinite(at).astype(float),
        "solved_at": at,
        "sparsity_error": np.array(sparsity, float),
        "interpolation_mse": np.array([4.0, 3.0, 1.0, 2.0]),
        "extrapolation_mse": np.array([4.0, 3.0, 1.0, 2.0]),
        "diverged_at": np.full(4, NAN),
    }
    return CellResult(axes, seeds, {"steps": 50_000, "threshold": threshold}, Files(path))


def grid(path, units, operations=("mul",), intervals=RANGES):
    """A cell for each combination."""
    axes = [
        {"unit": unit, "operation": operation, "interpolation_range": interval}
        for unit in units
        for operation in operations
        for interval in intervals
    ]
    return [cell(one, path) for one in axes]


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    figures: list[Figure] = []
    save = plots.save

    def keep(figure, path):
        figures.append(figure)
        save(figure, path)

    monkeypatch.setattr(plots, "save", keep)
    return figures


def panels_of(figure):
    """The panels, row by row."""
    rows = figure.axes[0].get_gridspec().nrows
    return [figure.axes[i * len(figure.axes) // rows : (i + 1) * len(figure.axes) // rows] for i in range(rows)]


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def points(panel):
    """The markers of a panel: where and how high, by place."""
    return sorted((float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in panel.get_lines())


def bars(panel):
    """The intervals of a panel: from where to where, by place."""
    segments = [segment for lines in panel.collections for segment in lines.get_segments()]
    return [(low, high) for _, low, high in sorted((s[0][0], s[0][1], s[1][1]) for s in segments)]


def size_of(path):
    with Image.open(path) as image:
        return image.size


# Ranges


def test_the_picture_of_ranges_has_a_row_an_operation_and_a_panel_a_result(tmp_path, drawn):
    assert plots.ranges(grid(tmp_path, ["nau", "nac"], ["add", "sub"]), tmp_path / "ranges.png") is True
    rows = panels_of(drawn[0])
    assert [len(row) for row in rows] == [3, 3]
    assert [row[0].get_ylabel() for row in rows] == ["a + b", "a − b"]
    assert [panel.get_title() for panel in rows[0]] == ["success rate", "solved at step", "sparsity error"]
    assert min(size_of(tmp_path / "ranges.png")) > 500


def test_ranges_are_written_as_in_the_papers(tmp_path, drawn):
    intervals = [(-20.0, -10.0), (-1.2, -1.1), ((-6.0, -2.0), (2.0, 6.0))]
    plots.ranges(grid(tmp_path, ["nau"], intervals=intervals), tmp_path / "ranges.png")
    labels = [text.get_text() for text in drawn[0].axes[0].get_xticklabels()]
    assert labels == ["U[−20, −10)", "U[−1.2, −1.1)", "U[−6, −2) ∪ [2, 6)"]


def test_the_picture_of_ranges_shows_estimates_with_their_intervals(tmp_path, drawn):
    plots.ranges(grid(tmp_path, ["nau"], intervals=RANGES[:1]), tmp_path / "ranges.png")
    success, solved_at, sparsity = panels_of(drawn[0])[0]
    assert [points(panel)[0][1] for panel in (success, solved_at)] == [0.5, 4000]
    # Wilson's interval of 2 of 4, by hand: (2 + z² / 2 ± z √(1 + z² / 4)) / (4 + z²), z = 1.96.
    assert bars(success) == [pytest.approx((0.1500, 0.8500), abs=1e-4)]
    for panel, (least, most) in ((solved_at, (3000, 5000)), (sparsity, (1e-3, 2e-3))):
        ((_, estimate),), ((low, high),) = points(panel), bars(panel)
        assert low < estimate < high and least < estimate < most


def test_what_no_seed_has_is_absent(tmp_path, drawn):
    axes = [{"unit": "nau", "operation": "mul", "interpolation_range": interval} for interval in RANGES]
    never = cell(axes[0], tmp_path, solved_at=[NAN] * 4)
    once = cell(axes[1], tmp_path, solved_at=[7000, NAN, NAN, NAN])
    plots.ranges([never, once], tmp_path / "ranges.png")
    success, solved_at, sparsity = panels_of(drawn[0])[0]
    assert points(success) == [(0, 0), (1, 0.25)] and len(bars(success)) == 2
    assert points(solved_at) == [(1, 7000)] and bars(solved_at) == []
    assert points(sparsity) == [(1, 1e-3)] and bars(sparsity) == []


def test_a_grid_of_which_nothing_is_solved_has_its_picture(tmp_path, drawn):
    result = cell({"unit": "nau", "operation": "mul", "interpolation_range": (1.0, 2.0)}, tmp_path, solved_at=[NAN] * 4)
    plots.ranges([result], tmp_path / "ranges.png")
    success, solved_at, sparsity = panels_of(drawn[0])[0]
    assert [points(panel) for panel in (success, solved_at, sparsity)] == [[(0, 0)], [], []]
    assert solved_at.get_ylim()[1] >= 10_000


def test_a_sparsity_error_of_0_stands_at_the_edge(tmp_path, drawn):
    result = cell({"unit": "nau", "operation": "add", "interpolation_range": (1.0, 2.0)}, tmp_path, sparsity=[0, 0, 0, 0])
    plots.ranges([result], tmp_path / "ranges.png")
    sparsity = panels_of(drawn[0])[0][2]
    assert points(sparsity) == [(0, 1e-8)] and sparsity.get_ylim()[0] < 1e-8


def test_units_stand_side_by_side_at_their_range(tmp_path, drawn):
    results = grid(tmp_path, [f"unit {i}" for i in range(14)])
    plots.ranges(results, tmp_path / "ranges.png")
    places = np.array([place for place, _ in points(panels_of(drawn[0])[0][0])]).reshape(3, 14)
    assert (np.round(places) == [[0], [1], [2]]).all() and (np.diff(places) > 0.05).all()


def test_a_unit_looks_the_same_in_every_row_and_like_no_other(tmp_path, drawn):
    units = [f"unit {i}" for i in range(17)]
    # The second row lacks the first unit.
    results = grid(tmp_path, units, ["mul"], RANGES[:1]) + grid(tmp_path, units[1:], ["div"], RANGES[:1])
    plots.ranges(results, tmp_path / "ranges.png")

    def looks(lines):
        return [(line.get_color(), line.get_marker(), line.get_markerfacecolor()) for line in lines]

    mul, div = (looks(row[0].get_lines()) for row in panels_of(drawn[0]))
    assert len(set(mul)) == 17 and mul[1:] == div
    # Of twelve colours those that come again have open markers.
    assert [inside == colour for colour, _, inside in mul] == [True] * 12 + [False] * 5
    assert legend_of(drawn[0]) == units and looks(drawn[0].legends[0].get_lines()) == mul


def test_cells_that_are_not_there_leave_a_gap(tmp_path, drawn):
    results = grid(tmp_path, ["nac", "nau"], ["add"])
    plots.ranges([results[i] for i in (0, 1, 2, 4)], tmp_path / "ranges.png")
    assert [round(place) for place, _ in points(panels_of(drawn[0])[0][0])] == [0, 1, 1, 2]


def test_other_axes_tell_series_apart(tmp_path, drawn):
    axes = [{"unit": "nau", "operation": "add", "input_size": n, "interpolation_range": (1.0, 2.0)} for n in (2, 10)]
    plots.ranges([cell(one, tmp_path) for one in axes], tmp_path / "ranges.png")
    assert legend_of(drawn[0]) == ["nau input_size=2", "nau input_size=10"]


def test_a_grid_without_ranges_has_no_such_picture(tmp_path):
    results = [cell({"unit": "nau", "operation": "add"}, tmp_path)]
    assert plots.ranges(results, tmp_path / "ranges.png") is False
    assert not (tmp_path / "ranges.png").exists()


# Learning rates


def of_rates(path, rates, **axes):
    """A cell for each combination of the axes and each rate; of its four seeds as many are solved as the rate has."""
    return [
        cell(dict(zip(axes, values, strict=True)) | {"learning_rate": rate}, path, solved_at=[9.0] * n + [NAN] * (4 - n))
        for values in itertools.product(*axes.values())
        for rate, n in rates.items()
    ]


def line_of(line):
    """The points of a line."""
    return [tuple(point) for point in np.transpose(line.get_data()).tolist()]


def test_the_picture_of_rates_has_a_row_an_operation_and_a_column_an_optimizer(tmp_path, drawn):
    axes = {"unit": ["nac", "nalu"], "operation": ["mul", "sub"], "optimizer": ["adam", "sgd", "momentum"]}
    assert plots.rates(of_rates(tmp_path, {1e-3: 1, 1e-2: 2}, **axes), tmp_path / "rates.png") is True
    rows = panels_of(drawn[0])
    assert [row[0].get_ylabel() for row in rows] == ["a × b", "a − b"]
    assert [[panel.get_title() for panel in row] for row in rows] == [["adam", "sgd", "momentum"], [""] * 3]
    assert [panel.get_xlabel() for panel in rows[1]] == ["learning rate"] * 3
    assert {panel.get_xscale() for row in rows for panel in row} == {"log"}
    assert drawn[0].get_suptitle() == "success rate with its 95 % interval, 4 seeds a point"
    assert len(drawn[0].legends) == 1 and legend_of(drawn[0]) == ["nac", "nalu"]
    assert min(size_of(tmp_path / "rates.png")) > 500


def test_the_picture_of_rates_shows_success_rates_with_their_intervals_from_the_lowest_rate_to_the_highest(tmp_path, drawn):
    plots.rates(of_rates(tmp_path, {1e-1: 4, 1e-3: 0, 1e-2: 2}, unit=["nac"]), tmp_path / "rates.png")
    [panel] = drawn[0].axes
    [line] = panel.get_lines()
    assert line_of(line) == [(1e-3, 0.0), (1e-2, 0.5), (1e-1, 1.0)]
    # Wilson's intervals by hand: (n + z² / 2 ± z √(n (1 - n / 4) + z² / 4)) / (4 + z²), z = 1.96, of n = 0, 2 and 4.
    expected = [(0, 0.4899), (0.1500, 0.8500), (0.5101, 1)]
    assert bars(panel) == [pytest.approx(ends, abs=1e-4) for ends in expected]


def test_each_panel_has_its_own_cells(tmp_path, drawn):
    axes = [{"operation": o, "optimizer": opt, "learning_rate": r} for o in "ab" for opt in "cd" for r in (0.1, 1.0)]
    solved = [0, 1, 1, 2, 2, 3, 3, 4]
    results = [cell(one, tmp_path, solved_at=[9.0] * n + [NAN] * (4 - n)) for one, n in zip(axes, solved, strict=True)]
    plots.rates(results, tmp_path / "rates.png")
    heights = [[line.get_ydata() for line in panel.get_lines()] for panel in drawn[0].axes]
    np.testing.assert_array_equal(heights, np.reshape(solved, (4, 1, 2)) / 4)


def test_units_stand_side_by_side_around_their_rate_and_never_nearer_to_another(tmp_path, drawn):
    rates = {1e-4: 0, 1e-3: 0, 1.3e-3: 0}
    plots.rates(of_rates(tmp_path, rates, unit=["nac", "nac_mul", "nalu"]), tmp_path / "rates.png")
    places = np.log([line.get_xdata() for line in drawn[0].axes[0].get_lines()])  # [units, rates]
    aside = places - np.log(list(rates))
    np.testing.assert_allclose(aside[1], 0, atol=1e-9)
    assert (aside[0] < 0).all() and (aside[2] > 0).all() and np.abs(aside).max() < np.log(1.3) / 4


def test_a_unit_looks_the_same_in_every_panel_and_as_in_the_other_pictures(tmp_path, drawn):
    units = [f"unit {i}" for i in range(14)]
    axes = {"unit": units, "optimizer": ["adam", "sgd"]}
    plots.rates(of_rates(tmp_path, {1e-3: 0, 1e-2: 0}, **axes), tmp_path / "rates.png")
    plots.ranges(grid(tmp_path, units, intervals=RANGES[:1]), tmp_path / "ranges.png")

    def looks(lines):
        return [(line.get_color(), line.get_marker(), line.get_markerfacecolor()) for line in lines]

    expected = looks(drawn[1].axes[0].get_lines())
    assert len(set(expected)) == 14
    assert all(looks(panel.get_lines()) == expected for panel in drawn[0].axes)
    assert looks(drawn[0].legends[0].get_lines()) == expected


def test_cells_that_differ_in_other_axes_are_lines_of_their_own_named_as_among_the_curves(tmp_path, drawn):
    axes = {"unit": ["nau"], "hidden_size": [2, 3], "sparsity_weight": [0.0, 1.0]}
    results = of_rates(tmp_path, {1e-3: 1, 1e-2: 2}, **axes)
    plots.rates(results, tmp_path / "rates.png")
    plots.curves([result for result in results if result.axes["learning_rate"] == 1e-3], tmp_path / "curves.png")
    expected = [f"nau hidden_size={size} sparsity_weight={weight}" for size in (2, 3) for weight in (0.0, 1.0)]
    assert legend_of(drawn[0]) == expected
    assert [f"{label} learning_rate=0.001" for label in expected] == legend_of(drawn[1])[:-1]
    assert [line.get_ydata().tolist() for line in drawn[0].axes[0].get_lines()] == [[0.25, 0.5]] * 4


def test_a_grid_of_learning_rates_alone_has_one_panel_with_one_line_and_no_legend(tmp_path, drawn):
    assert plots.rates(of_rates(tmp_path, {1e-3: 1, 1e-2: 2}), tmp_path / "rates.png") is True
    assert len(drawn[0].axes) == 1 and len(drawn[0].axes[0].get_lines()) == 1 and drawn[0].legends == []
    assert drawn[0].get_suptitle().endswith("4 seeds a point")


def test_a_unit_without_cells_in_a_row_is_not_in_it(tmp_path, drawn):
    results = of_rates(tmp_path, {1e-3: 1, 1e-2: 2}, unit=["nac"], operation=["add"])
    results += of_rates(tmp_path, {1e-3: 3, 1e-2: 4}, unit=["nmu"], operation=["mul"])
    plots.rates(results, tmp_path / "rates.png")
    shown = [[line.get_ydata().tolist() for line in panel.get_lines()] for panel in drawn[0].axes]
    assert [[line for line in lines if line] for lines in shown] == [[[0.25, 0.5]], [[0.75, 1.0]]]


@pytest.mark.parametrize(
    ("rates", "labels"),
    [
        ([1e-5, 3e-5, 1e-4, 3e-4, 1e-3], ["$10^{-5}$", "$10^{-4}$", "$10^{-3}$"]),
        ([1e-3, 2e-3, 5e-3], ["$10^{-3}$", r"$2 \cdot 10^{-3}$", r"$5 \cdot 10^{-3}$"]),
        ([0.25, 1.0, 10.0], ["$10^{0}$", "$10^{1}$"]),
    ],
)
def test_learning_rates_are_written_as_powers_of_ten_and_all_have_a_tick(rates, labels, tmp_path, drawn):
    plots.rates(of_rates(tmp_path, dict.fromkeys(rates, 1)), tmp_path / "rates.png")
    axis = drawn[0].axes[0].xaxis
    assert [text.get_text() for text in axis.get_ticklabels() if text.get_text()] == labels
    assert sorted({*axis.get_majorticklocs(), *axis.get_minorticklocs()}) == pytest.approx(rates)


@pytest.mark.parametrize("axes", [{"unit": "nau"}, {"unit": "nau", "learning_rate": 1e-3}], ids=["no rate", "one rate"])
def test_a_grid_with_fewer_than_two_learning_rates_has_no_such_picture(axes, tmp_path):
    results = [cell(axes | {"operation": operation}, tmp_path) for operation in ("add", "mul")]
    assert plots.rates(results, tmp_path / "rates.png") is False
    assert not (tmp_path / "rates.png").exists()


# Curves


def curve_labels(panel):
    return [line.get_label() for line in panel.get_lines() if line.get_label() != "solved below"]


def test_a_few_cells_have_a_curve_each(tmp_path, drawn):
    plots.curves(grid(tmp_path, ["nac", "nau"], ["add", "sub"], RANGES[:2]), tmp_path / "curves.png")
    expected = ["nac U[−2, −1)", "nac U[−2, 2)", "nau U[−2, −1)", "nau U[−2, 2)"]
    assert legend_of(drawn[0]) == [*expected, "solved below"]
    assert all(curve_labels(panel) == expected for panel in drawn[0].axes)
    assert drawn[0].get_suptitle() == ""


def test_twelve_units_have_a_curve_each_in_a_colour_of_its_own(tmp_path, drawn):
    results = [cell({"unit": f"unit {i}", "operation": "add"}, tmp_path) for i in range(12)]
    plots.curves(results, tmp_path / "curves.png")
    colours = {line.get_color() for line in drawn[0].axes[0].get_lines()}
    assert len(legend_of(drawn[0])) == 13 and len(colours) == 12


def test_of_many_ranges_the_first_is_shown_and_the_title_says_so(tmp_path, drawn):
    plots.curves(grid(tmp_path, ["nac", "nau", "nalu", "inalu", "gnalu"], ["add", "sub"]), tmp_path / "curves.png")
    assert legend_of(drawn[0]) == ["nac", "nau", "nalu", "inalu", "gnalu", "solved below"]
    assert drawn[0].get_suptitle() == "only U[−2, −1): 10 of 30 cells"


def test_of_many_learning_rates_the_middle_one_is_shown_whatever_their_order(tmp_path, drawn):
    axes = itertools.product(["nac", "nau", "nalu"], ["sgd", "adam"], [1e-1, 1e-4, 1e-2, 1e-5, 1e-3])
    results = [
        cell({"unit": unit, "operation": "add", "optimizer": optimizer, "learning_rate": rate}, tmp_path)
        for unit, optimizer, rate in axes
    ]
    plots.curves(results, tmp_path / "curves.png")
    assert legend_of(drawn[0])[:-1] == ["nac", "nau", "nalu"]
    assert drawn[0].get_suptitle() == "only sgd, learning_rate=0.001: 3 of 30 cells"


def test_of_many_units_the_first_twelve_are_shown_and_the_title_says_so(tmp_path, drawn):
    plots.curves(grid(tmp_path, [f"unit {i}" for i in range(17)]), tmp_path / "curves.png")
    assert legend_of(drawn[0])[:-1] == [f"unit {i}" for i in range(12)]
    assert drawn[0].get_suptitle() == "only U[−2, −1), the first 12 of 17 units: 12 of 51 cells"


def test_an_optimizer_speaks_for_itself(tmp_path, drawn):
    results = [cell({"unit": "nau", "operation": "add", "optimizer": name}, tmp_path) for name in ("adam", "sgd")]
    plots.curves(results, tmp_path / "curves.png")
    assert legend_of(drawn[0])[:-1] == ["nau adam", "nau sgd"]


def test_every_threshold_of_an_operation_is_drawn(tmp_path, drawn):
    axes = [{"unit": "nau", "operation": "add", "interpolation_range": interval} for interval in RANGES]
    results = [cell(one, tmp_path, threshold=value) for one, value in zip(axes, (1e-5, 1e-6, 1e-5), strict=True)]
    plots.curves(results, tmp_path / "curves.png")
    lines = drawn[0].axes[1].get_lines()
    assert {line.get_ydata()[0] for line in lines if line.get_label() == "solved below"} == {1e-5, 1e-6}


# Weights


def config(unit, operation):
    """The sections of a cell's config that its weights depend on."""
    return ConfigDict(
        {
            "unit": {"name": unit, "initializer": "madsen_johansen", "epsilon": 1e-7},
            "network": {"name": "single"},
            "task": {
                "name": "single_unit",
                "operation": operation,
                "input_size": 2,
                "interpolation_range": (1.0, 2.0),
                "extrapolation_range": (),
                "epsilon": 1e-4,
            },
        }
    )


def trained(unit, operation, path, weights):
    """A finished cell of NACs whose third seed, the best, has these weights, and the others 0; with its config."""
    result = cell({"unit": unit, "operation": operation, "interpolation_range": (1.0, 2.0)}, path)
    w_hat, m_hat = np.zeros((2, 4, 2, 1), np.float32)
    w_hat[2, :, 0] = 20 * np.sign(weights)
    m_hat[2, :, 0] = np.where(np.abs(weights) == 0.5, 0, 20)
    params = {"layers_0": {"m_hat": m_hat, "w_hat": w_hat}}
    result.files.params.write_bytes(pack({"best": params, "last": params}))
    return result, config(unit, operation)


def test_the_weights_of_the_best_seed_are_written_into_the_picture(tmp_path, drawn):
    cells = [trained("nac", "add", tmp_path, [1, 0.5]), trained("nac", "sub", tmp_path, [1, -1])]
    results, configs = zip(*cells, strict=True)
    assert plots.weights(list(results), list(configs), tmp_path / "weights.png") is True
    add, sub = drawn[0].subfigs
    assert add.get_suptitle() == "nac U[1, 2), a + b: not solved"
    assert [[text.get_text() for text in place.axes[1].texts] for place in (add, sub)] == [
        ["1.000", "0.500"],
        ["1.000", "−1.000"],
    ]
    assert min(size_of(tmp_path / "weights.png")) > 100


def test_more_weights_than_a_picture_holds_are_not_drawn(tmp_path):
    results = [cell({"unit": f"unit {i}", "operation": "add"}, tmp_path) for i in range(41)]
    assert plots.weights(results, [ConfigDict()] * 41, tmp_path / "weights.png") is False
    assert not (tmp_path / "weights.png").exists()


def test_as_many_weights_as_a_picture_holds_are_drawn(tmp_path, drawn, monkeypatch):
    results = [cell({"unit": f"unit {i}", "operation": "add"}, tmp_path) for i in range(40)]
    monkeypatch.setattr(plots, "best_params", lambda *_: None)
    monkeypatch.setattr(plots, "weight_strips", lambda *_: [plots.Strip("w", np.eye(2), "RdBu_r")])
    assert plots.weights(results, [ConfigDict()] * 40, tmp_path / "weights.png") is True
    assert len([place for place in drawn[0].subfigs if place.axes]) == 40
