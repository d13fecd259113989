"""The examples, run as programs of their own: what they print is what they promise."""

import ast
import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent


def printed(*arguments):
    """What a Python program prints."""
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def trained():
    """What a short run of examples/train_your_own.py says of Linen and of NNX."""
    text = printed("examples/train_your_own.py", "--steps=300")
    return {part.split(":")[0]: part for part in re.split(r"(?m)^(?=\w)", text) if part}


@pytest.mark.parametrize("half", ["Linen", "NNX"])
def test_an_nmu_in_a_loop_of_ones_own_learns_the_product_beyond_its_training_range(trained, half):
    assert float(re.search(r"error at most (\S+)", trained[half])[1]) < 1e-2  # of products of up to 144
    nau, nmu = (ast.literal_eval(text) for text in re.findall(r"W = (\[\[.*?\]\])", trained[half]))
    assert nmu == [[1.0, 1.0]]
    np.testing.assert_allclose(np.abs(np.array(nau)).sum(0), [1, 0, 1, 0], atol=0.01)  # the first number and the third
    np.testing.assert_allclose(np.prod(np.sum(nau, axis=1)), 1, atol=0.01)  # both, or neither, with their signs turned


@pytest.mark.parametrize("half", ["Linen", "NNX"])
def test_weights_of_an_nmu_in_a_loop_of_ones_own_never_leave_their_interval(trained, half):
    lowest, highest = map(float, re.search(r"lay in \[(\S+), (\S+)\]", trained[half]).groups())
    assert 0 <= lowest < highest == 1


def test_a_page_with_a_unit_of_its_own_runs_to_the_table(tmp_path):
    changes = {"num_seeds": 2, "num_steps": 500, "eval_every": 250, "reports": "summary"}
    settings = [f"--config.{field}={value}" for field, value in changes.items()]
    text = printed("-m", "experiments.run", "--config=examples/your_own_unit.py", f"--workdir={tmp_path / 'run'}", *settings)
    assert re.search(r"log_nau +mul +100 %", text) and re.search(r"log_nau +div +100 %", text)
    with open(tmp_path / "run" / "summary.csv") as file:
        rows = {(row["unit"], row["operation"]) for row in csv.DictReader(file)}
    # Both do what they say they can, and are asked for nothing else.
    assert rows == {("log_nau", "mul"), ("log_nau", "div"), ("nmu", "mul")}


def test_a_writer_of_ones_own_shows_a_run_in_mlflow(tmp_path, monkeypatch):
    import mlflow  # takes a second, which no other process of the tests is to spend

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    settings = ["--config.num_seeds=2", "--config.num_steps=1000", "--config.reports=summary"]
    text = printed("-m", "experiments.run", "--config=examples/mlflow_writer.py", f"--workdir={tmp_path / 'run'}", *settings)
    assert "training goes on without it" not in text
    client = mlflow.MlflowClient(tracking_uri=(tmp_path / "run.mlflow").as_uri())
    [experiment] = [found for found in client.search_experiments() if found.name == "run"]
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"nac-sub", "linear-sub"} and {run.info.status for run in runs.values()} == {"FINISHED"}
    rows = [json.loads(line) for line in (tmp_path / "run" / "nac-sub" / "metrics.jsonl").read_text().splitlines()]
    shown = client.get_metric_history(runs["nac-sub"].info.run_id, "interpolation_mse/median")
    assert {point.step: point.value for point in shown} == {row["step"]: row["interpolation_mse"]["median"] for row in rows}
    assert runs["nac-sub"].data.params["Unit"] == "nac"
    assert list((tmp_path / "run" / "tensorboard" / "nac" / "sub").glob("events*"))
