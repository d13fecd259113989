"""The table of last layers: ours and the published accuracies, side by side."""

import numpy as np
import pytest
from fake_runs import cell_of, digits, page_of, run_of

from experiments.faults import ConfigError
from experiments.reports import last_layers
from experiments.reports.published import published
from nalu_jax.registry import UNITS

PREDICTORS = {"always zero": {"extrapolation_accuracy": 0.31}, "uniform": {"extrapolation_accuracy": 1 / 6}}


def cell(folder, unit, accuracy, **axes):
    """A finished cell of three seeds with these test accuracies."""
    columns = {"seed": range(3), "extrapolation_accuracy": accuracy}
    page = page_of("mnist_even_digits")
    return cell_of(folder, page, {"unit": unit} | axes, columns, steps=3000, predictors=PREDICTORS)


def test_a_row_has_ours_and_theirs_with_and_without_a_bias(tmp_path):
    grid = [
        cell(tmp_path, "linear", [0.7, 0.9, 0.8]),
        cell(tmp_path, "linear_no_bias", [0.5] * 3),
        cell(tmp_path, "nac", [1.0] * 3),
    ]
    rows = [list(row.values()) for row in last_layers.rows(run_of(grid))]
    assert rows == [
        ["W x", "80.0 % [70.0, 90.0]", "50.0 %", "88.1 %", "91.4 %"],
        ["NAC, (tanh(W) σ(M)) x", "–", "100.0 %", "–", "93.1 %"],
        ["always zero", "31.0 %", "31.0 %", "–", "–"],
        ["uniform", "16.7 %", "16.7 %", "–", "–"],
    ]


def test_a_diverged_seed_is_never_right(tmp_path):
    [row, *_] = last_layers.rows(run_of([cell(tmp_path, "nac", [np.nan, 0.9, 0.8])]))
    assert row["without"] == "80.0 % [0.0, 90.0]"


def test_other_axes_have_rows_of_their_own(tmp_path):
    grid = [cell(tmp_path, "nac", [rate] * 3, learning_rate=rate) for rate in (0.1, 0.2)]
    rows = last_layers.rows(run_of(grid))
    assert [(row["learning_rate"], row["without"]) for row in rows[:2]] == [("0.1", "10.0 %"), ("0.2", "20.0 %")]
    assert [row["layer"] for row in rows[2:]] == ["always zero", "uniform"]


def test_the_published_numbers_are_as_printed_and_every_layer_is_a_unit():
    printed = {row["unit"]: float(row["accuracy"]) for row in published(last_layers.TABLE)}
    assert sorted(printed.values()) == [60.0, 62.5, 87.6, 88.1, 88.7, 91.4, 93.1]
    layers = {unit for pair in last_layers.LAYERS.values() for unit in pair}
    assert layers <= set(UNITS) and set(printed) == layers - {"nac_bias"}  # which is not in the paper
    assert max(printed, key=printed.__getitem__) == "nac"


def test_the_table_is_written_with_how_it_was_made(tmp_path):
    last_layers.write(run_of([cell(tmp_path, "nac", [0.5] * 3)]), tmp_path)
    text = (tmp_path / "last_layers.md").read_text()
    assert "Median over 3 seeds" in text and "3,000 steps" in text and "93.1 %" in text
    assert "93.1" in (tmp_path / "last_layers.tex").read_text()


def test_another_task_is_refused_in_a_sentence(tmp_path):
    last_layers.check(cell(tmp_path, "nac", [0.5] * 3).task)
    with pytest.raises(ConfigError, match=r"config\.reports: last_layers is of the task mnist_even_digits alone"):
        last_layers.check(digits(tmp_path, unit="nac").task)
