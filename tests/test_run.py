"""Real runs, from the command to the tables: what they leave behind, and that it is what was computed."""

import contextlib
import csv
import importlib.metadata
import io
import json
import math
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest
from commands import Said, called
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import experiments.report
import experiments.run
import nalu_jax
from experiments.reports.results import read_run
from experiments.running import console, experiment
from experiments.settings import build
from experiments.settings.config import override
from experiments.settings.grid import cells
from experiments.settings.pages import CONFIGS, load
from nalu_jax.training.random import Purpose, key_at

pytestmark = pytest.mark.slow

ROOT = CONFIGS.parent
RUN = [sys.executable, "-m", "experiments.run"]
QUICKSTART = f"--config={CONFIGS / 'quickstart.py'}"

# Of five seeds a number that is odd, so that two devices do not share them evenly; of the steps one that is no multiple of
# eval_every. At this learning rate some seeds of "sub" are solved and others not.
UNITS, OPERATIONS, SEEDS, STEPS = ("nac", "linear"), ("sub", "mul"), 5, 1950
EVALUATED = [*range(0, STEPS, 100), STEPS]
SETTINGS = {"num_seeds": SEEDS, "num_steps": STEPS, "eval_every": 100, "optimizer.learning_rate": 0.03}
TABLE_ONLY = {"reports": "summary"}  # where pictures, which take longer than the training, are not what is asked
GRID = {"grid.unit": ",".join(UNITS), "grid.operation": ",".join(OPERATIONS)}
SUMMARY = [
    "unit", "operation", "seeds", "steps", "success_rate", "success_low", "success_high",
    "solved_at_median", "solved_at_mean", "solved_at_low", "solved_at_high",
    "sparsity_error_mean", "sparsity_error_low", "sparsity_error_high",
    "interpolation_mse_median", "extrapolation_mse_median", "diverged",
]  # fmt: skip
ALL_CELLS = [f"{unit}-{operation}" for unit in UNITS for operation in OPERATIONS]
each_cell = pytest.mark.parametrize("cell", ALL_CELLS)


class Finished(NamedTuple):
    """A finished run, and what was said on the way."""

    folder: Path
    said: Said


def flags(**sections):
    """Settings as flags."""
    return [f"--config.{path}={value}" for settings in sections.values() for path, value in settings.items()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of two units and two operations, in a process of its own."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    arguments = [*RUN, QUICKSTART, f"--workdir={folder}", *flags(settings=SETTINGS, grid=GRID)]
    found = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=200)
    return Finished(folder, Said(found.returncode, found.stdout, found.stderr))


def command(*arguments):
    """The exit code of the command line in this process."""
    return called(experiments.run, *arguments)


@pytest.fixture
def run(capsys):
    """The command line in this process, with what it says."""
    return lambda *arguments: Said(command(*arguments), *capsys.readouterr())


def table(path):
    """The rows of a CSV file, and its columns."""
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        return list(reader), list(reader.fieldnames)


def metrics(folder):
    """The rows of a cell's metrics file, read as strict JSON."""

    def refuse(constant):
        raise ValueError(f"{constant} is no JSON")

    return [json.loads(line, parse_constant=refuse) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def numbers(rows, name):
    """A column of seeds.csv, NaN where a field is empty."""
    return np.array([float(row[name]) if row[name] else math.nan for row in rows])


def snapshot(folder, of):
    """Something of every file of a folder."""
    return {str(path.relative_to(folder)): of(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def contents(folder):
    """The bytes of every file of a folder."""
    return snapshot(folder, Path.read_bytes)


# What a run leaves behind


def test_a_run_ends_with_0_and_prints_a_table_of_its_cells(finished):
    assert (finished.said.code, finished.said.err) == (0, "")
    rows, _ = table(finished.folder / "summary.csv")
    printed = finished.said.out.partition("unit")[2]
    for row in rows:
        percent = f"{100 * float(row['success_rate']):.0f} %"
        assert re.search(rf"^{row['unit']} +{row['operation']} +{percent} ", printed, re.M)
    assert str(finished.folder) in printed and "tensorboard --logdir" in printed


def test_a_run_leaves_all_that_is_promised_and_nothing_half_written(finished):
    files = set(snapshot(finished.folder, Path.name.fget))
    top = {"config.json", "summary.csv", "seeds.csv", "curves.png", "weights.png", "complete"}
    top |= {f"{name}.{kind}" for name in ("summary", "scores") for kind in ("md", "tex")}
    of_a_cell = {"config.json", "metrics.jsonl", "params.npz", "result.json", "seeds.csv"}
    assert top | {f"{cell}/{name}" for cell in ALL_CELLS for name in of_a_cell} <= files
    assert not [name for name in files if ".tmp" in name]


def test_the_summary_has_exactly_its_columns_and_the_cells_in_order(finished):
    rows, columns = table(finished.folder / "summary.csv")
    assert columns == SUMMARY
    assert [f"{row['unit']}-{row['operation']}" for row in rows] == ALL_CELLS


def test_seeds_csv_has_a_row_a_seed_and_is_that_of_all_cells_one_after_another(finished):
    rows, columns = table(finished.folder / "seeds.csv")
    assert columns[:3] == ["unit", "operation", "seed"]
    assert [int(row["seed"]) for row in rows] == list(range(SEEDS)) * len(ALL_CELLS)
    assert rows == [row for cell in ALL_CELLS for row in table(finished.folder / cell / "seeds.csv")[0]]


def wilson(successes, seeds, z=1.959963984540054):
    """The Wilson score interval by its formula."""
    p = successes / seeds
    middle = (p + z * z / (2 * seeds)) / (1 + z * z / seeds)
    reach = z / (1 + z * z / seeds) * math.sqrt(p * (1 - p) / seeds + z * z / (4 * seeds**2))
    return p, middle - reach, middle + reach


@each_cell
def test_the_summary_is_what_the_seeds_add_up_to(finished, cell):
    summary = next(row for row in table(finished.folder / "summary.csv")[0] if f"{row['unit']}-{row['operation']}" == cell)
    rows, _ = table(finished.folder / cell / "seeds.csv")
    solved = numbers(rows, "solved") == 1
    assert (int(summary["seeds"]), int(summary["steps"]), int(summary["diverged"])) == (SEEDS, STEPS, 0)
    found = [float(summary[f"success_{end}"]) for end in ("rate", "low", "high")]
    assert found == pytest.approx(wilson(int(solved.sum()), SEEDS), rel=1e-5, abs=1e-12)
    for name in ("interpolation_mse", "extrapolation_mse"):
        assert float(summary[f"{name}_median"]) == pytest.approx(np.median(numbers(rows, name)), rel=1e-5)
    over_solved = [name for name in SUMMARY if name.startswith(("solved_at", "sparsity"))]
    if not solved.any():
        assert [summary[name] for name in over_solved] == [""] * len(over_solved)
        return
    steps, sparsity = numbers(rows, "solved_at")[solved], numbers(rows, "sparsity_error")[solved]
    assert float(summary["solved_at_median"]) == pytest.approx(np.median(steps), rel=1e-5)
    assert float(summary["solved_at_mean"]) == pytest.approx(steps.mean(), rel=1e-5)
    assert min(sparsity[sparsity <= 0.5], default=0.5) - 1e-5 <= float(summary["sparsity_error_mean"]) <= 0.5
    if solved.sum() > 1:
        for name in ("solved_at", "sparsity_error"):
            assert float(summary[f"{name}_low"]) <= float(summary[f"{name}_mean"]) <= float(summary[f"{name}_high"])


def test_the_run_has_solved_and_unsolved_seeds_so_that_its_tests_mean_something(finished):
    solved = {cell: numbers(table(finished.folder / cell / "seeds.csv")[0], "solved").sum() for cell in ALL_CELLS}
    assert solved["nac-mul"] == solved["linear-mul"] == 0
    assert 0 < solved["nac-sub"] + solved["linear-sub"] < 2 * SEEDS and max(solved.values()) > 1


@each_cell
def test_a_seed_is_solved_if_its_best_evaluation_is_below_the_threshold(finished, cell):
    threshold = json.loads((finished.folder / cell / "result.json").read_text())["threshold"]
    for row in table(finished.folder / cell / "seeds.csv")[0]:
        assert (row["solved"] == "1") == (float(row["extrapolation_mse"]) < threshold)
        assert int(row["best_step"]) in EVALUATED[1:]
        if row["solved"] == "1":
            assert int(row["solved_at"]) in EVALUATED and int(row["solved_at"]) <= int(row["best_step"])
        else:
            assert row["solved_at"] == ""


@each_cell
def test_the_metrics_file_has_a_row_for_each_evaluation_from_step_0_to_the_end(finished, cell):
    rows = metrics(finished.folder / cell)
    assert [row["step"] for row in rows] == EVALUATED
    assert all(row["seeds"] == SEEDS and row["diverged"] == 0 for row in rows)
    for row in rows:
        for name in ("interpolation_mse", "extrapolation_mse", "sparsity_error"):
            assert 0 <= row[name]["q25"] <= row[name]["median"] <= row[name]["q75"]
    assert rows[-1]["success"] == numbers(table(finished.folder / cell / "seeds.csv")[0], "solved").sum()


@each_cell
def test_the_cells_config_json_says_what_was_run_and_where(finished, cell):
    described = json.loads((finished.folder / cell / "config.json").read_text())
    unit, operation = cell.split("-")
    config, environment = described["config"], described["environment"]
    assert (config["unit"]["name"], config["task"]["operation"], config["num_seeds"]) == (unit, operation, SEEDS)
    rest = {"clip_norm": 0.0, "clip_value": 0.0, "gate_turn": 0, "schedule": "constant", "end_factor": 0.0}
    rest |= {"warmup_steps": 0, "momentum": -1.0, "decay": -1.0, "eps": -1.0}
    assert config["optimizer"] == {"name": "adam", "learning_rate": 0.03} | rest
    assert config["penalties"] == {} and config["reinit"]["check_every"] == 0
    assert "grid" not in config
    versions = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax", "optax", "numpy", "scipy")}
    assert re.fullmatch(r"[0-9a-f]{12}", environment["source"])
    assert environment["versions"] == versions | {"python": platform.python_version()}
    assert environment["devices"] == {"kind": "cpu", "platform": "cpu", "count": 2}
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    if head.returncode == 0:
        assert re.fullmatch(r"[0-9a-f]{12}\+?", environment["commit"]) and head.stdout.startswith(environment["commit"][:12])
    else:
        assert environment["commit"] == "unknown"


@each_cell
def test_params_npz_holds_the_best_and_the_last_parameters_of_every_seed(finished, cell):
    with np.load(finished.folder / cell / "params.npz", allow_pickle=False) as file:
        arrays = dict(file)
    kinds = {name.partition("/")[0] for name in arrays}
    assert kinds == {"best", "last"}
    assert all(array.shape[0] == SEEDS and np.isfinite(array).all() for array in arrays.values())
    for i, row in enumerate(table(finished.folder / cell / "seeds.csv")[0]):
        pairs = [(array[i], arrays[name.replace("best/", "last/")][i]) for name, array in arrays.items() if name[0] == "b"]
        assert all(np.array_equal(best, last) for best, last in pairs) == (int(row["best_step"]) == STEPS)


def masks(cell, seed):
    """The subsets of a seed, from the task: f64[inputs, 2]. In the quickstart a sums all four inputs, b the first two."""
    config = load(str(CONFIGS / "quickstart.py"))
    unit, operation = cell.split("-")
    override(config, [("grid.unit", unit), ("grid.operation", operation)])
    spec = build.task_of(next(cells(config)).config)
    with jax.numpy_rank_promotion("allow"):
        draw = np.asarray(spec.subsets.masks(key_at(Purpose.TASK, np.uint32(seed)), spec.input_size), np.float64)
    assert draw.tolist() == [[1, 1], [1, 1], [1, 0], [1, 0]]
    return draw


def network(parameters, x):
    """Both layers of a NAC or of a linear network in NumPy, and their weights: x f64[rows, inputs] → f64[rows]."""
    weights = []
    for layer in ("layers_0", "layers_1"):
        p = {name.rsplit("/", 1)[1]: value for name, value in parameters.items() if layer in name}
        weights.append(p["w"] if "w" in p else np.tanh(p["w_hat"]) / (1 + np.exp(-p["m_hat"])))
        x = x @ weights[-1] + p.get("b", 0)
    return x[:, 0], weights


@each_cell
def test_the_errors_of_the_best_parameters_are_those_in_seeds_csv(finished, cell):
    """Recomputed in float64 for the worst seed: errors near the resolution of float32 would compare noise."""
    rows, _ = table(finished.folder / cell / "seeds.csv")
    seed = int(np.argmax(numbers(rows, "interpolation_mse")))
    with np.load(finished.folder / cell / "params.npz") as file:
        best = {name: file[name][seed].astype(np.float64) for name in file.files if name.startswith("best/")}
    draw = masks(cell, seed)
    for name, random_state, low, high in (("interpolation", 43953907, 1, 2), ("extrapolation", 8689336, 2, 6)):
        x = np.random.RandomState(random_state).uniform(low, high, (10_000, 4))
        a, b = (x @ draw).T
        outputs, weights = network(best, x)
        error = np.mean((outputs - (a - b if cell.endswith("sub") else a * b)) ** 2)
        assert error > 1e-6
        assert float(rows[seed][f"{name}_mse"]) == pytest.approx(error, rel=1e-3)
    sizes = np.abs(np.concatenate([w.ravel() for w in weights]))
    sparsity = np.max(np.minimum(sizes, np.abs(1 - sizes)))
    assert float(rows[seed]["sparsity_error"]) == pytest.approx(sparsity, abs=1e-5)


@each_cell
def test_tensorboard_shows_every_evaluation_once_with_its_value_and_the_weights_and_the_settings(finished, cell):
    folder = finished.folder / "tensorboard" / cell.replace("-", "/")
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    tags, rows = events.Tags(), metrics(finished.folder / cell)
    for name in ("interpolation_mse", "extrapolation_mse", "sparsity_error"):
        for q in ("q25", "median", "q75"):
            shown = events.Scalars(f"{name}/{q}" if name == "sparsity_error" else f"raw_{name}/{q}")
            assert [event.step for event in shown] == EVALUATED
            assert [event.value for event in shown] == pytest.approx([row[name][q] for row in rows], rel=1e-6)
    success = events.Scalars("seeds/success")
    assert [event.value * SEEDS for event in success] == pytest.approx([row["success"] for row in rows], rel=1e-6)
    assert len(tags["images"]) == 1
    assert events.Scalars("result/success_rate")[0].value == pytest.approx(rows[-1]["success"] / SEEDS, rel=1e-6)
    assert "_hparams_/session_start_info" in events.summary_metadata


@pytest.mark.parametrize("name", ["curves.png", "weights.png"])
def test_the_pictures_are_pictures_with_something_on_them(finished, name):
    with Image.open(finished.folder / name) as image:
        image.load()
        pixels = np.asarray(image.convert("RGB"))
    height, width, _ = pixels.shape
    assert min(height, width) > 300
    assert (pixels == 255).mean() > 0.05, "a white ground"
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100
    # There are two units or two errors, and two operations: colours in every quarter, not only grey frames and letters.
    coloured = np.ptp(pixels.astype(int), axis=-1) > 20  # bands are pale
    for rows in (slice(0, height // 2), slice(height // 2, height)):
        for columns in (slice(0, width // 2), slice(width // 2, width)):
            assert coloured[rows, columns].mean() > 0.003


@pytest.mark.parametrize(("name", "rows"), [("summary", len(ALL_CELLS)), ("scores", 2 * len(OPERATIONS))])
def test_the_tables_are_markdown_and_latex_of_the_same_rows(finished, name, rows):
    markdown = (finished.folder / f"{name}.md").read_text(encoding="utf-8")
    body = [line.strip("|").split("|") for line in markdown.splitlines() if line.startswith("|")][2:]
    assert len(body) == rows and len({len(cells) for cells in body}) == 1
    latex = (finished.folder / f"{name}.tex").read_text(encoding="utf-8")
    inside = re.search(r"\\midrule\n(.*)\\bottomrule", latex, re.S)
    assert inside and latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 1
    lines = [line.removesuffix("\\\\").split("&") for line in inside[1].strip().splitlines()]
    assert [len(line) for line in lines] == [len(line) for line in body]
    assert all(line.isascii() for line in latex.splitlines() if not line.startswith("%")), "every engine must take it"
    assert not re.search(r"(?<!\\)%", inside[1])


def test_the_scores_are_a_hundred_times_the_error_over_that_of_untrained_networks(finished):
    markdown = (finished.folder / "scores.md").read_text(encoding="utf-8").splitlines()
    names = [name.strip() for name in markdown[0].strip("|").split("|")]
    rows = [dict(zip(names, (cell.strip() for cell in line.strip("|").split("|")), strict=True)) for line in markdown[2:6]]
    assert [(row["range"], row["task"]) for row in rows] == [
        (error, task) for error in ("interpolation", "extrapolation") for task in ("a − b", "a × b")
    ]
    untrained = json.loads((finished.folder / "nac-mul" / "result.json").read_text())["untrained"]["interpolation_mse"]
    errors = numbers(table(finished.folder / "nac-mul" / "seeds.csv")[0], "interpolation_mse")
    median, best = 100 * np.median(errors) / untrained, 100 * errors.min() / untrained
    assert rows[1]["nac"] == f"{median:.1f} ({best:.1f})"


def test_without_a_terminal_the_output_is_plain_lines(finished):
    assert "\x1b" not in finished.said.out and "\r" not in finished.said.out
    for number, cell in enumerate(ALL_CELLS, 1):
        assert re.search(
            rf"^{number}/{len(ALL_CELLS)} {cell}: solved \d/{SEEDS}; last evaluation: .* after 1,950 steps",
            finished.said.out,
            re.M,
        )


# The same folder again


def test_the_same_command_again_computes_nothing_touches_nothing_and_prints_the_table(finished, run, monkeypatch):
    def compute(*arguments):
        raise AssertionError("something is computed")

    monkeypatch.setattr(experiment, "run_group", compute)
    monkeypatch.setattr(build, "programs", compute)
    before = snapshot(finished.folder, lambda path: path.stat().st_mtime_ns)
    said = run(QUICKSTART, f"--workdir={finished.folder}", *flags(settings=SETTINGS, grid=GRID))
    assert (said.code, said.err) == (0, "")
    assert said.out == finished.said.out[finished.said.out.index("unit") :]
    assert snapshot(finished.folder, lambda path: path.stat().st_mtime_ns) == before


def test_fresh_sets_the_earlier_run_aside_whole_and_starts_over(run, tmp_path):
    grid = {"grid.unit": "linear", "grid.operation": "sub"}
    arguments = [QUICKSTART, f"--workdir={tmp_path / 'run'}", *flags(settings=SETTINGS, grid=grid, reports=TABLE_ONLY)]
    assert run(*arguments).code == 0
    before = contents(tmp_path / "run")
    said = run(*arguments, "--fresh")
    assert said.code == 0
    assert f"{tmp_path / 'run.1'}" in said.out and "1/1 linear-sub: " in said.out
    assert contents(tmp_path / "run.1") == before
    after = contents(tmp_path / "run")
    for name in ("seeds.csv", "summary.csv", "linear-sub/params.npz", "linear-sub/metrics.jsonl"):
        assert after[name] == before[name]


# A grid over the learning rate: one of the finished run, one at which some seeds diverge, one at which all do

RATES = {"0.03": "0.03", "2e9": "2e+09", "1e30": "1e+30"}  # as given, and as written in tables
FOLDERS = {"0.03": "0.03", "2e9": "2000000000.0", "1e30": "1e_30"}
SWEPT = SETTINGS | {"optimizer.learning_rate": 1.0}  # what stands in the grid must win
SWEEP = {"grid.unit": "linear", "grid.operation": "sub", "grid.learning_rate": ",".join(RATES)}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A run over three learning rates that writes a line of progress at every evaluation."""
    folder = tmp_path_factory.mktemp("swept") / "run"
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output):
        patch.setattr(console, "PLAIN_EVERY", 0.0)
        code = command(QUICKSTART, f"--workdir={folder}", *flags(settings=SWEPT, grid=SWEEP))
    return Finished(folder, Said(code, output.getvalue(), ""))


def swept_cell(swept, rate):
    """The folder of a learning rate, its row in the summary, its rows in seeds.csv and in the metrics file."""
    [row] = [row for row in table(swept.folder / "summary.csv")[0] if row["learning_rate"] == RATES[rate]]
    folder = swept.folder / f"linear-sub-learning_rate={FOLDERS[rate]}"
    return folder, row, table(folder / "seeds.csv")[0], metrics(folder)


def test_a_grid_over_the_learning_rate_has_a_column_for_it(swept):
    for name in ("summary.csv", "seeds.csv"):
        rows, columns = table(swept.folder / name)
        assert columns[:3] == ["unit", "operation", "learning_rate"]
        assert list(dict.fromkeys(row["learning_rate"] for row in rows)) == list(RATES.values())
    assert re.search(r"^unit +operation +learning_rate +success", swept.said.out, re.M)
    heading, _, *lines = (swept.folder / "scores.md").read_text(encoding="utf-8").splitlines()[:5]
    assert [name.strip() for name in heading.strip("|").split("|")][2:4] == ["learning_rate", "success"]
    assert [float(line.split("|")[3]) for line in lines] == list(map(float, RATES))


def test_a_cell_of_a_grid_over_the_learning_rate_is_the_run_at_that_learning_rate(finished, swept):
    # The three train in one program, another layout than that of one alone: close until Adam has amplified what differs.
    # Twenty evaluations in the errors have fallen by orders of magnitude, and the last ones are noise.
    folder, _, seeds, rows = swept_cell(swept, "0.03")
    alone = finished.folder / "linear-sub"
    assert [row["step"] for row in rows] == EVALUATED
    for found, expected in zip(rows[:5], metrics(alone), strict=False):
        for name in ("interpolation_mse", "extrapolation_mse", "sparsity_error"):
            for q in ("q25", "median", "q75"):
                assert found[name][q] == pytest.approx(expected[name][q], rel=1e-3)
    assert numbers(seeds, "seed").tolist() == numbers(table(alone / "seeds.csv")[0], "seed").tolist()
    with np.load(folder / "params.npz") as found, np.load(alone / "params.npz") as expected:
        assert sorted(found.files) == sorted(expected.files)
        for name in found.files:
            assert (found[name].shape, found[name].dtype) == (expected[name].shape, expected[name].dtype)


def test_cells_that_train_together_are_shown_in_one_line_with_the_seeds_of_all(swept):
    line = r"^1/1 linear-sub \(3 cells\): step ([\d,]+) of 1,950, .*solved \d+/15, \d+ diverged(?:; \S+ seed-steps/s)?$"
    assert {"100", "1,900", "1,950"} <= set(re.findall(line, swept.said.out, re.M))
    assert re.search(r"^1/1 linear-sub \(3 cells\): solved \d+/15, \d+ diverged after 1,950 steps", swept.said.out, re.M)


def test_without_a_terminal_progress_is_a_line_now_and_then(run, tmp_path, monkeypatch):
    monkeypatch.setattr(console, "PLAIN_EVERY", 0.0)
    grid = {"grid.unit": "linear", "grid.operation": "sub"}
    said = run(QUICKSTART, f"--workdir={tmp_path / 'run'}", *flags(settings=SETTINGS, grid=grid, reports=TABLE_ONLY))
    lines = re.findall(
        r"^1/1 linear-sub: step ([\d,]+) of 1,950, .*solved \d/5; last evaluation: interpolation", said.out, re.M
    )
    assert {"100", "1,900", "1,950"} <= set(lines)


def test_seeds_that_diverge_count_as_failures_while_the_others_go_on(swept):
    folder, row, seeds, rows = swept_cell(swept, "2e9")
    gone = np.isfinite(numbers(seeds, "diverged_at"))
    assert 0 < gone.sum() < SEEDS and int(row["diverged"]) == gone.sum()
    assert float(row["success_high"]) == pytest.approx(wilson(0, SEEDS)[2], rel=1e-5), "of all seeds, not of those left"
    errors = np.where(gone, np.inf, numbers(seeds, "extrapolation_mse"))
    assert float(row["extrapolation_mse_median"]) == pytest.approx(np.median(errors), rel=1e-5)
    assert [row["step"] for row in rows] == EVALUATED
    assert [row["diverged"] for row in rows] == [0] + [gone.sum()] * (len(rows) - 1)
    with np.load(folder / "params.npz") as file:
        assert all(np.isfinite(file[name]).all() for name in file.files)


def test_a_run_with_a_cell_without_a_seed_left_says_so_and_ends_with_4(swept, run):
    _, row, seeds, rows = swept_cell(swept, "1e30")
    assert swept.said.code == 4
    assert re.search(rf"^linear +sub +1e\+30 +0 % .* {SEEDS}$", swept.said.out, re.M) and "diverged" in swept.said.out
    assert (row["success_rate"], row["diverged"], row["interpolation_mse_median"]) == ("0", str(SEEDS), "inf")
    assert all(0 <= int(seed["diverged_at"]) < 100 for seed in seeds)
    assert all(seed["best_step"] == seed["extrapolation_mse"] == seed["solved_at"] == "" for seed in seeds)
    # It trains together with cells that go on.
    assert [row["step"] for row in rows] == EVALUATED and [row["diverged"] for row in rows] == [0] + [SEEDS] * (
        len(rows) - 1
    )
    assert {"curves.png", "weights.png", "scores.md", "summary.tex"} <= set(contents(swept.folder))
    again = run(QUICKSTART, f"--workdir={swept.folder}", *flags(settings=SWEPT, grid=SWEEP))
    assert again.code == 4 and again.out == swept.said.out[swept.said.out.index("unit ") :]


def test_a_cell_that_trains_alone_and_has_no_seed_left_stops_early(run, tmp_path):
    grid = {"grid.unit": "linear", "grid.operation": "sub", "optimizer.learning_rate": "1e30"}
    assert run(QUICKSTART, f"--workdir={tmp_path / 'run'}", *flags(settings=SETTINGS | grid, reports=TABLE_ONLY)).code == 4
    assert [row["step"] for row in metrics(tmp_path / "run" / "linear-sub")] == [0, 100]


# The preset of the 2018 paper


def test_the_preset_of_the_2018_paper_runs(run, tmp_path):
    page = f"--config={CONFIGS / 'static_arithmetic.py'}:trask"
    settings = {"num_seeds": 3, "num_steps": 20, "eval_every": 10, "grid.unit": "nalu", "grid.operation": "div"}
    said = run(page, f"--workdir={tmp_path / 'run'}", *flags(settings=settings, reports=TABLE_ONLY))
    assert said.code == 0
    [row], columns = table(tmp_path / "run" / "summary.csv")
    assert columns == SUMMARY
    assert (row["unit"], row["operation"], row["seeds"], row["steps"]) == ("nalu", "div", "3", "20")
    assert 0 < float(row["interpolation_mse_median"]) < math.inf
    with np.load(tmp_path / "run" / "nalu-div" / "params.npz") as file:
        assert file["best/layers_0/w_hat"].shape == (3, 100, 2)


# Damage


@pytest.mark.usefixtures("optax_promotion")
@pytest.mark.parametrize("name", ["linear-add/config.json", "linear-add/result.json", "linear-add/seeds.csv"])
def test_a_damaged_file_of_a_run_is_named(tmp_path, capsys, name):
    arguments = [f"--config={CONFIGS / 'quickstart.py'}", f"--workdir={tmp_path}", "--config.grid.unit=linear"]
    arguments += [
        "--config.grid.operation=add",
        "--config.num_steps=100",
        "--config.num_seeds=2",
        *flags(reports=TABLE_ONLY),
    ]
    assert command(*arguments) == 0
    (tmp_path / name).write_text("")
    if name == "linear-add/config.json":
        (tmp_path / "linear-add/seeds.csv").unlink()
    capsys.readouterr()
    assert command(*arguments) == 3
    assert f"error: {tmp_path / name} is damaged" in capsys.readouterr().err


# Reports


def report(capsys, *arguments):
    """The command of reports in this process."""
    return Said(called(experiments.report, *arguments), *capsys.readouterr())


def test_reports_are_written_again_from_a_finished_run_byte_for_byte(finished, tmp_path):
    again = tmp_path / "again"
    command = [sys.executable, "-m", "experiments.report", finished.folder, f"--out={again}"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, timeout=100).returncode == 0
    names = {path.name for path in again.iterdir()}
    assert {"summary.csv", "summary.md", "seeds.csv", "scores.md", "curves.png", "weights.png"} <= names
    for name in names:
        assert (again / name).read_bytes() == (finished.folder / name).read_bytes(), name


def kept_of(finished, folder, *names):
    """A folder with no more than these files of a run."""
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes((finished.folder / name).read_bytes())
    return folder


def test_of_a_folder_with_no_more_than_config_and_seeds_the_tables_are_written(finished, capsys, tmp_path):
    kept = kept_of(finished, tmp_path / "kept", "config.json", "seeds.csv")
    said = report(capsys, kept)
    assert said.code == 0 and "curves is left as it is: it needs " in said.out
    assert (kept / "summary.csv").read_bytes() == (finished.folder / "summary.csv").read_bytes()
    assert not any((kept / name).exists() for name in ("curves.png", "scores.md", "untrained.csv"))


def test_with_the_errors_of_untrained_networks_the_scores_are_written_again(finished, capsys, tmp_path):
    kept = kept_of(finished, tmp_path / "kept", "config.json", "seeds.csv", "untrained.csv")
    assert report(capsys, kept).code == 0
    for name in ("scores.md", "untrained.csv"):
        assert (kept / name).read_bytes() == (finished.folder / name).read_bytes()
    text = (kept / "untrained.csv").read_text()
    for damaged, said in (
        (text.replace("mul,", "mul,x"), "could not convert"),
        (text + text.splitlines()[-1], "stands there twice"),
        (text.replace("mul,", "mlu,", 1), "1 of its rows are of no cell of config.json"),
    ):
        (kept / "untrained.csv").write_text(damaged)
        found = report(capsys, kept)
        assert found.code == 2 and f"{kept / 'untrained.csv'} is damaged (" in found.err and said in found.err
    (kept / "untrained.csv").write_text(text.replace("_mse", "_msd", 1))
    assert report(capsys, kept).err.count("are damaged (they have no column extrapolation_mse)") == 1


def test_a_folder_that_is_no_run_has_no_reports(capsys, tmp_path):
    said = report(capsys, tmp_path)
    assert (said.code, said.out) == (2, "") and said.err == f"error: {tmp_path} is no run: it has no config.json\n"


def test_a_folder_of_another_version_is_refused_in_a_sentence(capsys, tmp_path):
    (tmp_path / "config.json").write_text('{"num_seeds": 3, "batch_size": 32}')
    said = report(capsys, tmp_path)
    assert said.code == 2 and f"{tmp_path} is no run of this version: its config.json lacks first_seed, " in said.err
    (tmp_path / "config.json").write_text("[1]")
    said = report(capsys, tmp_path)
    assert said.code == 2 and said.err == f"error: {tmp_path} is no run: its config.json holds no config\n"


@pytest.mark.parametrize(("first", "written"), [(0.0, [1, 2]), (1000.0, [2])])
def test_reports_are_written_as_cells_finish_unless_that_takes_a_run_too_long(run, tmp_path, monkeypatch, first, written):
    found = []
    monkeypatch.setattr(experiment, "FIRST_REPORTS", first)
    monkeypatch.setattr(experiment, "write_reports", lambda finished, *others: found.append(len(finished.cells)) or [])
    settings = SETTINGS | {"num_steps": 100, "grid.unit": "linear,relu6", "grid.operation": "sub", "reports": "summary"}
    assert run(QUICKSTART, f"--workdir={tmp_path / 'run'}", *flags(settings=settings)).code == 0
    assert found == written


def test_a_report_that_a_finished_run_lacks_files_for_is_named(finished, run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(finished.folder, copy)
    for name in ("complete", "nac-sub/metrics.jsonl"):
        (copy / name).unlink()
    said = run(QUICKSTART, f"--workdir={copy}", *flags(settings=SETTINGS, grid=GRID))
    assert said.code == 0 and "curves is left as it is: it needs " in said.out


def test_an_unknown_report_is_refused_with_a_guess_before_anything_is_run(run, tmp_path):
    page = tmp_path / "page.py"
    page.write_text((CONFIGS / "quickstart.py").read_text().replace('"curves"', '"curvse"'))
    said = run(f"--config={page}", f"--workdir={tmp_path / 'run'}")
    assert said.code == 2 and "config.reports: there is no report 'curvse': did you mean 'curves'?" in said.err
    assert not (tmp_path / "run").exists()


def test_a_report_of_another_task_is_refused_before_anything_is_trained_and_other_reports_are_the_same_run(run, tmp_path):
    settings = SETTINGS | {"num_steps": 100, "grid.unit": "linear", "grid.operation": "sub", "reports": "summary,strip"}
    said = run(QUICKSTART, f"--workdir={tmp_path / 'run'}", *flags(settings=settings))
    assert said.code == 2 and said.err.startswith("error: config.reports: lengths, length_curves, strip and reads are of ")
    assert "step" not in said.out and not (tmp_path / "run" / "linear-sub").exists()
    for reports in (["summary"], ["summary", "scores"]):
        settings["reports"] = ",".join(reports)
        said = run(QUICKSTART, f"--workdir={tmp_path / 'run'}", *flags(settings=settings))
        assert said.code == 0 and json.loads((tmp_path / "run" / "config.json").read_text())["reports"] == reports
    assert "step" not in said.out and (tmp_path / "run" / "scores.md").exists()


def test_a_trained_network_is_loaded_with_its_parameters(finished):
    rows, _ = table(finished.folder / "linear-sub" / "seeds.csv")
    [result] = [result for result in read_run(finished.folder).cells if result.cell.name == "linear-sub"]
    task = result.task.task
    by_seed = {}
    for row in rows:
        seed = int(row["seed"])
        module, by_seed[seed] = nalu_jax.load(finished.folder / "linear-sub", seed=seed)
        batch = task.evaluations(task.init(key_at(Purpose.TASK, np.uint32(seed))))["extrapolation"]
        outputs = module.apply({"params": by_seed[seed]}, batch.inputs)
        error = np.mean(np.square(outputs - batch.targets))
        assert error == pytest.approx(float(row["extrapolation_mse"]), rel=1e-3, abs=1e-10)
    best = min(rows, key=lambda row: float(row["interpolation_mse"]))
    params = nalu_jax.load(str(finished.folder), unit="linear", operation="sub").params
    assert jax.tree.map(np.array_equal, params, by_seed[int(best["seed"])]) == jax.tree.map(lambda leaf: True, params)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"unit": "linear"}, "2 cells of .* fit {'unit': 'linear'}; choose one of linear-mul, linear-sub"),
        ({"unit": "nalu"}, "0 cells of .*; choose one of linear-mul, "),
        ({"unti": "linear"}, "has no axis 'unti': did you mean 'unit'"),
        ({"unit": "linear", "operation": "sub", "seed": 10**6}, "has the seeds .*, not 1000000"),
    ],
)
def test_what_cannot_be_loaded_is_said(finished, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        nalu_jax.load(finished.folder, **arguments)


def test_a_folder_without_a_finished_cell_cannot_be_loaded(tmp_path):
    with pytest.raises(ValueError, match="has no finished cell"):
        nalu_jax.load(tmp_path / "nowhere")


def test_a_page_that_says_nothing_of_reports_has_summary_and_curves(run, tmp_path):
    page = tmp_path / "page.py"
    text, count = re.subn(r"^ +config\.reports = .*\n", "", (CONFIGS / "quickstart.py").read_text(), flags=re.M)
    page.write_text(text)
    settings = SETTINGS | {"num_steps": 100, "grid.unit": "linear", "grid.operation": "sub"}
    assert count == 1 and run(f"--config={page}", f"--workdir={tmp_path / 'run'}", *flags(settings=settings)).code == 0
    tables = {f"summary.{kind}" for kind in ("csv", "md", "tex")}
    found = {path.name for path in (tmp_path / "run").iterdir() if path.is_file()}
    rows = {"seeds.csv", "untrained.csv"}
    assert found == tables | rows | {"curves.png", "curves.pdf", "curves.svg", "index.html", "config.json", "complete"}
