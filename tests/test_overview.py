"""TensorBoard's view of a whole grid, as TensorBoard reads it back."""

import json
from pathlib import Path

import fake_runs
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from experiments.reports import hparams, overview
from experiments.reports.overview import all_seeds, events_of, mean_curve, short_name, show_overview, thresholds
from nalu_jax.storage.tensorboard import TensorBoard

NONE = float("nan")


def read(folder):
    """What TensorBoard finds in a folder of events, all of it."""
    everything = dict.fromkeys(("scalars", "images", "tensors"), 0)
    return EventAccumulator(str(folder), size_guidance=everything).Reload()


def points(folder):
    """Step and value of every point, by tag."""
    found = read(folder)
    return {tag: [(e.step, pytest.approx(e.value)) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def texts(folder):
    """The texts of a folder, by tag."""
    found = read(folder)
    tags = [tag for tag in found.Tags()["tensors"] if "text_summary" in tag]
    return {tag.split("/")[0]: found.Tensors(tag)[-1].tensor_proto.string_val[0].decode() for tag in tags}


def runs(folder):
    """The runs that TensorBoard shows of a folder: all that have events."""
    return sorted({str(path.parent.relative_to(folder)) for path in folder.rglob("events.out.tfevents.*")})


def rows(cell, success, median=1.0):
    """Gives a cell an evaluation every thousand steps, at which so many of its four seeds are solved."""
    band = {"q25": median, "median": median, "q75": median}
    lines = [
        {"step": 1000 * i, "seeds": 4, "success": n, "interpolation_mse": band, "extrapolation_mse": band}
        for i, n in enumerate(success)
    ]
    cell.files.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return cell


@pytest.fixture
def run(tmp_path):
    """Four cells of two units and two operations."""
    cells = [fake_runs.arithmetic(tmp_path, {"unit": u, "operation": o}) for u in ("nac", "nalu") for o in ("add", "sub")]
    for cell, success in zip(cells, [(0, 2, 4), (0, 1, 2), (0, 0), (0, 0, 0)], strict=True):
        rows(cell, success)
    found = fake_runs.run_of(cells)
    config = found.config.copy_and_resolve_references()
    with config.unlocked():
        config.grid = {"unit": ("nac", "nalu"), "operation": ("add", "sub")}
        config.writers = ("tensorboard",)
    return found._replace(config=config)


# Names


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        (
            {"unit": "inalu", "operation": "add", "interpolation_range": (-0.2, -0.1), "learning_rate": 1e-4},
            "inalu/add/U-0.2_-0.1/lr=1e-4",
        ),
        ({"unit": "nac", "interpolation_range": ((-2.0, -1.0), (1.0, 2.0))}, "nac/U-2_-1+1_2"),
        ({"cell": "lstm", "readout": "dense", "learning_rate": 0.03}, "lstm/readout=dense/lr=0.03"),
        ({"unit": "nmu", "hidden_size": 2, "r_z_weight": 10.0}, "nmu/hidden_size=2/r_z_weight=10"),
        ({"unit": "my unit/2"}, "my_unit_2"),
        ({}, "cell"),
    ],
)
def test_a_cell_has_a_short_name(axes, expected):
    assert short_name(axes) == expected


def test_numbers_that_differ_have_names_that_differ():
    rates = [*np.logspace(-5, 0, 400).tolist(), 0.1, 0.1000001, 1e-4, 1.00000001e-4]
    assert len({short_name({"learning_rate": rate}) for rate in rates}) == len(set(rates))


def test_events_of_seeds_that_came_later_lie_within_those_of_their_cell():
    axes = {"unit": "nac", "operation": "add"}
    assert events_of(Path("run/nac-add"), "nac-add", axes) == Path("run/tensorboard/nac/add")
    assert events_of(Path("run/nac-add/seeds_5-9"), "nac-add", axes) == Path("run/tensorboard/nac/add/seeds_5-9")


# The view


def test_success_is_shown_by_unit_of_all_cells_and_of_each_operation(run, tmp_path):
    assert show_overview(run) == []
    assert points(tmp_path / "tensorboard" / "by_unit" / "nac") == {
        "by_unit/success_rate": [(0, 0), (1000, 3 / 8), (2000, 6 / 8)],
        "by_unit/success_rate_add": [(0, 0), (1000, 2 / 4), (2000, 4 / 4)],
        "by_unit/success_rate_sub": [(0, 0), (1000, 1 / 4), (2000, 2 / 4)],
    }
    # One of the two ends early, as where every seed has diverged.
    assert points(tmp_path / "tensorboard" / "by_unit" / "nalu")["by_unit/success_rate"] == [(0, 0), (1000, 0), (2000, 0)]


def test_a_grid_opens_with_few_runs_and_their_tags_stand_before_those_of_cells(run, tmp_path):
    show_overview(run)
    assert runs(tmp_path / "tensorboard") == [".", "all_seeds", "by_unit/nac", "by_unit/nalu", "solved_below/1e-05"]
    cell = TensorBoard(
        run.cells[0].files.path, errors=("extrapolation_mse",), say=pytest.fail, events=tmp_path / "tensorboard/nac/add"
    )
    cell.row(json.loads(run.cells[0].files.metrics.read_text().splitlines()[0]))
    cell.close()
    tags = sorted([*points(tmp_path / "tensorboard/nac/add"), *points(tmp_path / "tensorboard/by_unit/nac")])
    groups = list(dict.fromkeys(tag.split("/")[0] for tag in tags))
    assert groups == ["by_unit", "interpolation_mse", "log10_extrapolation_mse", "raw_extrapolation_mse", "seeds"]


def test_the_threshold_is_a_level_line_under_the_tags_that_cells_have(run, tmp_path):
    show_overview(run)
    found = points(tmp_path / "tensorboard" / "solved_below" / "1e-05")
    line = [(0, -5), (50_000, -5)]  # of the logarithm of 1e-5
    assert found == {f"log10_extrapolation_mse/{q}": line for q in ("q25", "median", "q75")}


def test_of_several_thresholds_each_has_its_line_and_of_very_many_the_lowest_and_the_highest(tmp_path):
    def run_with(*levels):
        cells = [fake_runs.arithmetic(tmp_path, {"hidden_size": i + 2}, threshold=t) for i, t in enumerate(levels)]
        return fake_runs.run_of(cells)

    assert list(thresholds(run_with(1e-5, 1.00001e-5, 2.5e-7))) == ["solved_below/2.5e-07", "solved_below/1e-05"]
    many = [10.0**-i for i in range(2, 12)]
    assert list(thresholds(run_with(*many))) == ["solved_below/1e-11", "solved_below/0.01"]
    assert thresholds(run_with(0.0)) == {}


def test_texts_are_the_summary_the_config_and_the_other_tables_in_this_order(run, tmp_path):
    (tmp_path / "scores.md").write_text("| scores |")
    (tmp_path / "summary.md").write_text("| unit | success |\n")
    show_overview(run)
    found = texts(tmp_path / "tensorboard")
    assert sorted(found) == ["1_summary", "2_config", "3_scores"]
    assert found["1_summary"] == "| unit | success |\n" and found["3_scores"] == "| scores |"
    assert json.loads(found["2_config"]) == json.loads(run.config.to_json_best_effort())
    assert all(line.startswith("    ") for line in found["2_config"].splitlines())  # Markdown for what stands as it is


def test_pictures_of_all_reports_are_shown_to_the_byte_with_their_sizes(run, tmp_path):
    from PIL import Image

    Image.fromarray(np.zeros((5, 7, 3), np.uint8)).save(tmp_path / "curves.png")
    show_overview(run)
    (image,) = read(tmp_path / "tensorboard").Images("grid/curves")
    assert (image.step, image.width, image.height) == (4, 7, 5)  # the step is the number of cells
    assert image.encoded_image_string == (tmp_path / "curves.png").read_bytes()


def test_a_view_that_is_made_anew_has_each_point_once_and_the_lines_of_its_own_cells(run, tmp_path):
    other = run.cells[0]._replace(result=run.cells[0].result | {"threshold": 1e-3})
    show_overview(run._replace(cells=[other]))
    assert "solved_below/0.001" in runs(tmp_path / "tensorboard")
    show_overview(run)
    assert [name for name in runs(tmp_path / "tensorboard") if "solved" in name] == ["solved_below/1e-05"]
    assert len(points(tmp_path / "tensorboard" / "by_unit" / "nac")["by_unit/success_rate"]) == 3


def test_of_tasks_without_a_threshold_what_tables_show_is_shown_by_the_first_axis(tmp_path):
    cells = [fake_runs.digits(tmp_path, cell=cell, learning_rate=rate) for cell in ("lstm", "gru") for rate in (1e-3, 1e-2)]
    for cell, error in zip(cells, (0.01, 1.0, 10.0, None), strict=True):
        band = {metric: {"median": error} for metric in cell.task.columns}
        cell.files.metrics.write_text(json.dumps({"step": 0, "seeds": 4, "success": 0, **band}) + "\n")
    found = fake_runs.run_of(cells)
    curves = overview.curves_by_lead(found)
    assert list(curves) == ["by_cell/lstm", "by_cell/gru"]
    errors = {tag: line for tag, line in curves["by_cell/lstm"].items() if "log10" in tag}
    assert errors and all(line == [(0, -1.0)] for line in errors.values())  # the mean of log10 0.01 and log10 1
    shares = {tag: line for tag, line in curves["by_cell/lstm"].items() if "log10" not in tag}
    assert shares and all(line == [(0, pytest.approx(0.505))] for line in shares.values())
    assert set(map(tuple, curves["by_cell/gru"].values())) == {()}  # a median falls on a diverged seed


def test_the_view_of_a_very_large_grid_lies_apart_from_its_cells(run, tmp_path, monkeypatch):
    monkeypatch.setattr(overview, "MOST_CELLS", 3)
    show_overview(run)
    assert not (tmp_path / "tensorboard").exists()
    assert "by_unit/nac" in runs(tmp_path / "tensorboard_overview")
    assert overview.overview_of(tmp_path, 4) == tmp_path / "tensorboard_overview"
    assert overview.overview_of(tmp_path, 3) == tmp_path / "tensorboard"


def test_a_run_that_is_not_watched_in_tensorboard_has_no_view(run, tmp_path):
    config = run.config.copy_and_resolve_references()
    config.writers = ()
    assert show_overview(run._replace(config=config)) == []
    assert show_overview(run._replace(cells=[])) == [] and not (tmp_path / "tensorboard").exists()


def test_a_folder_that_cannot_be_written_costs_a_sentence(run, tmp_path):
    (tmp_path / "tensorboard").write_text("a file")
    assert show_overview(run) == ["TensorBoard's view of the grid is not whole: an event file cannot be written"]


def test_cells_without_evaluations_as_those_of_results_are_left_out(run):
    for cell in run.cells[:3]:
        cell.files.metrics.unlink()
    assert list(overview.curves_by_lead(run)) == ["by_unit/nalu"]


# Curves


def test_a_mean_weighs_curves_by_their_seeds_and_holds_the_last_value_of_one_that_ends():
    curves = [[(0, 0.0), (10, 1.0)], [(0, 1.0), (5, 0.5), (20, 0.0)]]
    # By hand: at 5 the first still is at 0, at 20 it stays at 1.
    assert mean_curve(curves, [1, 3]) == [(0, 0.75), (5, 0.375), (10, 0.625), (20, 0.25)]
    assert mean_curve([[(0, NONE), (1, 2.0)]], [1]) == [(1, 2.0)]
    assert mean_curve([[(0, NONE)]], [1]) == []


def test_of_very_many_points_a_thousand_are_kept_the_first_and_the_last_among_them():
    kept = mean_curve([[(step, float(step)) for step in range(5000)]], [1])
    assert len(kept) == 1000 and kept[0] == (0, 0.0) and kept[-1] == (4999, 4999.0)


@pytest.mark.parametrize(("units", "evaluations"), [(2, 3), (5, 5), (20, 51), (3, 1000)])
def test_a_chart_of_success_reaches_to_1_though_tensorboard_cuts_off_a_twentieth(units, evaluations):
    curves = [{"by_unit/success_rate": [(step, 0.0) for step in range(evaluations)]} for _ in range(units)]
    line = all_seeds(curves)["by_unit/success_rate"]
    values = np.sort(
        [value for one in [*curves, {"by_unit/success_rate": line}] for _, value in one["by_unit/success_rate"]]
    )
    # TensorBoard 2.21, line_chart_v2: sorted[floor((length - 1) * 0.95)] is the end of the axis.
    assert values[int(np.floor((len(values) - 1) * 0.95))] == 1.0 and len(line) <= 2 + units * evaluations / 19
    assert line[0][0] == 0 and line[-1][0] == evaluations - 1


# HParams


def test_settings_are_what_tells_cells_apart_and_no_more(tmp_path):
    cell = fake_runs.arithmetic(tmp_path, {"unit": "nac", "interpolation_range": (1.0, 2.0), "learning_rate": 1e-3})
    cell = cell._replace(axes=cell.axes | {"hidden_size": ""})  # of another part of the grid
    expected = {"Unit": "nac", "Interpolation_range": "(1.0, 2.0)", "Learning_rate": 1e-3}
    assert hparams.settings_of(cell) == expected
