"""The table of last layers: ours and the published accuracies, side by side."""

import json

import numpy as np
import pytest

from experiments import last_layers
from experiments.lengths import published
from experiments.results import CellResult, Files
from nalu_jax.registry import UNITS


def cell(path, unit, accuracy, task="mnist_even_digits", **axes):
    """A finished cell of three seeds with these test accuracies."""
    files = Files(path / "-".join([unit, *map(str, axes.values())]))
    files.path.mkdir()
    files.config.write_text(json.dumps({"config": {"task": {"name": task}, "unit": {"name": unit}}}))
    seeds = {"seed": np.arange(3.0), "extrapolation_accuracy": np.array(accuracy)}
    predictors = {"always zero": {"extrapolation_accuracy": 0.31}, "uniform": {"extrapolation_accuracy": 1 / 6}}
    return CellResult({"unit": unit} | axes, seeds, {"steps": 3000, "predictors": predictors}, files)


def test_a_row_has_ours_and_theirs_with_and_without_a_bias(tmp_path):
    grid = [
        cell(tmp_path, "linear", [0.7, 0.9, 0.8]),
        cell(tmp_path, "linear_no_bias", [0.5] * 3),
        cell(tmp_path, "nac", [1.0] * 3),
    ]
    rows = [list(row.values()) for row in last_layers.rows(grid)]
    assert rows == [
        ["W x", "80.0 % [70.0, 90.0]", "50.0 %", "88.1 %", "91.4 %"],
        ["NAC, (tanh(W) σ(M)) x", "–", "100.0 %", "–", "93.1 %"],
        ["always zero", "31.0 %", "31.0 %", "–", "–"],
        ["uniform", "16.7 %", "16.7 %", "–", "–"],
    ]


def test_a_diverged_seed_is_never_right(tmp_path):
    [row, *_] = last_layers.rows([cell(tmp_path, "nac", [np.nan, 0.9, 0.8])])
    assert row["without"] == "80.0 % [0.0, 90.0]"


def test_other_axes_have_rows_of_their_own(tmp_path):
    grid = [cell(tmp_path, "nac", [rate] * 3, learning_rate=rate) for rate in (0.1, 0.2)]
    rows = last_layers.rows(grid)
    assert [(row["learning_rate"], row["without"]) for row in rows[:2]] == [("0.1", "10.0 %"), ("0.2", "20.0 %")]
    assert [row["layer"] for row in rows[2:]] == ["always zero", "uniform"]


def test_the_published_numbers_are_as_printed_and_every_layer_is_a_unit():
    printed = {row["unit"]: float(row["accuracy"]) for row in published(last_layers.TABLE)}
    assert sorted(printed.values()) == [60.0, 62.5, 87.6, 88.1, 88.7, 91.4, 93.1]
    layers = {unit for pair in last_layers.LAYERS.values() for unit in pair}
    assert layers <= set(UNITS) and set(printed) == layers - {"nac_bias"}  # which is not in the paper
    assert max(printed, key=printed.__getitem__) == "nac"


@pytest.mark.parametrize(("task", "written"), [("mnist_even_digits", True), ("mnist_counting", False)])
def test_the_table_is_of_grids_that_count_even_digits_alone(task, written, tmp_path):
    grid = [cell(tmp_path, "nac", [0.5] * 3, task)]
    assert last_layers.write_last_layers(grid, tmp_path) is written
    assert (tmp_path / "last_layers.tex").exists() is written
    if written:
        text = (tmp_path / "last_layers.md").read_text()
        assert "Median over 3 seeds" in text and "3,000 steps" in text and "93.1 %" in text
