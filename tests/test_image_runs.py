"""Real runs on images, from the command to the tables: what they leave behind, going on, and what is refused."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from experiments.settings.pages import CONFIGS

pytestmark = pytest.mark.slow

RUN = [sys.executable, "-m", "experiments.run"]
SMALL = [f"--config.{change}" for change in ("num_seeds=4", "num_steps=6", "eval_every=2", "learner.batch_size=2")]
DENSE = [*SMALL, "--config.task.lengths=1,10,30", "--config.task.num_sequences=40"]
DENSE += ["--config.grid.dense.cell=rnn_tanh", "--config.grid.dense.readout=dense"]
SEQUENCES = [*DENSE, "--config.parts=dense,exact"]
RNN = "rnn_tanh-readout=dense"
CANVASES = [*SMALL, "--config.task.num_canvases=50", "--config.grid.unit=nac,sigmoid_linear"]
CANVASES += ["--config.reports=summary,last_layers,curves,weights"]


class Finished(NamedTuple):
    """A finished run: its folder, and what was said."""

    folder: Path
    code: int
    out: str
    err: str


def command(folder, page, *changes, **environment):
    """A run in a process of its own."""
    arguments = [*RUN, f"--config={CONFIGS / page}", f"--workdir={folder}", *changes]
    found = subprocess.run(
        arguments, cwd=CONFIGS.parent, capture_output=True, text=True, timeout=280, env=os.environ | environment
    )
    return Finished(folder, found.returncode, found.stdout, found.stderr)


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    return command(tmp_path_factory.mktemp("counted") / "run", "mnist_counting.py", *SEQUENCES)


@pytest.fixture(scope="module")
def on_canvases(tmp_path_factory):
    return command(tmp_path_factory.mktemp("canvases") / "run", "mnist_even_digits.py", *CANVASES)


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_run_on_sequences_ends_with_a_table_of_errors_at_each_length(counted):
    assert (counted.code, counted.err) == (0, "")
    table = counted.out[counted.out.index("cell ") :].splitlines()
    assert table[0].split() == ["cell", "readout", "accuracy", "MAE", "10", "MAE", "30", "success", "30"]
    assert [line.split()[0] for line in table[1:5]] == ["rnn_tanh", "exact_sum", "constant", "true"]


def test_a_run_on_sequences_leaves_tables_and_pictures(counted):
    left = {path.name for path in counted.folder.iterdir() if path.is_file()}
    expected = {f"{name}.{end}" for name in ("lengths", "summary") for end in ("csv", "md", "tex")}
    expected |= {f"{name}.{end}" for name in ("lengths", "strip", "reads", "curves") for end in ("png", "pdf", "svg")}
    assert expected | {"seeds.csv", "config.json", "complete", "index.html"} == left


def test_the_errors_at_each_length_are_those_of_the_seeds(counted):
    seeds = [row for row in rows_of(counted.folder / "seeds.csv") if row["cell"] == "rnn_tanh"]
    assert len(seeds) == 4
    found = {int(row["length"]): row for row in rows_of(counted.folder / "lengths.csv") if row["cell"] == "rnn_tanh"}
    for length, column in ((1, "extrapolation_mae_1"), (10, "extrapolation_mae_10"), (30, "extrapolation_mae")):
        median = np.median([float(row[column]) for row in seeds])
        assert float(found[length]["mae_median"]) == pytest.approx(median, rel=1e-4)


def test_tensorboard_shows_a_sequence_and_what_is_read_of_a_cell(counted):
    events = EventAccumulator(str(counted.folder / "tensorboard" / RNN.replace("-", "/")), size_guidance={"images": 0})
    events.Reload()
    assert set(events.Tags()["images"]) == {"strip_of_the_best_seed", "reads_of_the_best_seed"}


@pytest.mark.faults
def test_a_run_that_is_killed_goes_on_to_the_same_bits(counted, tmp_path):
    folder = tmp_path / "run"
    changes = [*SEQUENCES, "--config.reports=summary"]  # pictures take longer than the training
    arguments = [*RUN, f"--config={CONFIGS / 'mnist_counting.py'}", f"--workdir={folder}", *changes]
    with subprocess.Popen(arguments, cwd=CONFIGS.parent, stdout=subprocess.DEVNULL) as process:
        while not (metrics := folder / RNN / "metrics.jsonl").exists() or not metrics.read_bytes().count(b"\n"):
            assert process.poll() is None
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    assert not (folder / RNN / "seeds.csv").exists()
    assert command(folder, "mnist_counting.py", *changes).code == 0
    for name in ("seeds.csv", "metrics.jsonl", "params.npz"):
        assert (folder / RNN / name).read_bytes() == (counted.folder / RNN / name).read_bytes()


def test_a_run_on_canvases_ends_with_a_table_of_accuracies(on_canvases):
    assert (on_canvases.code, on_canvases.err) == (0, "")
    table = on_canvases.out[on_canvases.out.index("unit ") :].splitlines()
    assert table[0].split()[-1] == "accuracy"
    assert all(line.strip() for line in table[:5])  # one row a unit: no gaps between units
    cells = [row for row in rows_of(on_canvases.folder / "summary.csv") if row["seeds"]]
    for row in cells:
        seeds = [r for r in rows_of(on_canvases.folder / "seeds.csv") if r["unit"] == row["unit"]]
        accuracies = sorted(float(seed["extrapolation_accuracy"]) for seed in seeds)
        found = [float(row[f"extrapolation_accuracy_{name}"]) for name in ("low", "median", "high")]
        assert found == pytest.approx([accuracies[0], np.median(accuracies), accuracies[-1]], rel=1e-4)


def test_a_run_on_canvases_leaves_curves_and_weights(on_canvases):
    left = {path.name for path in on_canvases.folder.iterdir()}
    assert left >= {f"{name}.{end}" for name in ("curves", "weights") for end in ("png", "pdf", "svg")}


def test_a_run_on_canvases_leaves_the_table_of_last_layers(on_canvases):
    [row] = [row for row in rows_of(on_canvases.folder / "summary.csv") if row["unit"] == "nac"]
    text = (on_canvases.folder / "last_layers.md").read_text()
    [line] = [line for line in text.splitlines() if "NAC" in line]
    assert f"| {100 * float(row['extrapolation_accuracy_median']):.1f} %" in line and "| 93.1 %" in line
    assert r"$\sigma$" in (on_canvases.folder / "last_layers.tex").read_text()


def test_predictors_that_see_no_image_are_rows_of_the_summary(on_canvases):
    rows = {row["unit"]: row for row in rows_of(on_canvases.folder / "summary.csv")}
    kept = json.loads((on_canvases.folder / "nac" / "result.json").read_text())["predictors"]
    for name in ("always zero", "uniform"):
        for metric in ("extrapolation_accuracy", "extrapolation_mse"):
            assert float(rows[name][f"{metric}_median"]) == pytest.approx(kept[name][metric], rel=1e-4)
        assert rows[name]["success_rate"] == rows[name]["seeds"] == ""
        assert name in on_canvases.out and f"| {name} " in (on_canvases.folder / "summary.md").read_text()


def test_without_a_threshold_nothing_is_said_of_success(counted, on_canvases):
    for run, cell, judged in ((counted, RNN, False), (on_canvases, "nac", True)):
        events = EventAccumulator(str(run.folder / "tensorboard" / cell.replace("-", "/")))
        events.Reload()
        assert ("result/success_rate" in events.Tags()["scalars"]) == judged
        assert ("solved 0/" in run.out) == judged
        assert ("success" in (run.folder / "summary.md").read_text().lower()) == judged
        assert any(row["success_rate"] for row in rows_of(run.folder / "summary.csv")) == judged


def test_predictors_that_see_no_image_are_kept_with_each_cell(counted, on_canvases):
    for cell, names in (
        (counted.folder / RNN, ["constant", "true mean"]),
        (on_canvases.folder / "nac", ["always zero", "uniform"]),
    ):
        assert list(json.loads((cell / "result.json").read_text())["predictors"]) == names


def test_images_that_cannot_be_had_end_a_run_with_3_and_say_what_to_do(tmp_path):
    (tmp_path / "mnist").mkdir()
    file = tmp_path / "mnist" / "train-images-idx3-ubyte"
    file.write_bytes(b"no images")
    changes = [*SEQUENCES, "--config.task.data=mnist"]
    said = command(tmp_path / "run", "mnist_counting.py", *changes, NALU_JAX_DATA=str(tmp_path))
    assert said.code == 3
    assert said.err.startswith(f"error: config.task: {tmp_path / 'mnist' / 'train-images-idx3-ubyte'} has 9 bytes unpacked")
    assert said.err.count("\n") == 1


def test_how_many_numbers_a_network_puts_out_is_the_tasks_to_say(tmp_path):
    said = command(tmp_path / "run", "mnist_counting.py", *SEQUENCES, "--config.network.outputs=1")
    assert said.code == 2 and said.err.startswith("error: config.network.outputs: there is no such field")
