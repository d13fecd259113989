"""The report of recurrent arithmetic: scores and success beside the published table, and the errors at each length."""

import numpy as np
import pytest
from fake_runs import cell_of, digits, keep_figures, legend_of, page_of, run_of
from ml_collections import ConfigDict

from experiments.faults import ConfigError
from experiments.reports import recurrent
from experiments.reports.published import published
from nalu_jax.tasks.operations import OPERATIONS

LENGTHS = (10, 100, 1000)
PREDICTORS = {"constant": 1.0, "true mean": 0.5}
CELLS = {
    "nac": {"unit": "nac", "cell": "unit"},
    "sum": {"unit": "nac", "cell": "accumulator"},
    "nau": {"unit": "nau", "cell": "unit", "readout_unit": "nmu"},
    "lstm": {"cell": "lstm", "readout_unit": "linear"},
}
NAMES = ("interpolation", "length_10", "length_100", "extrapolation")


# At a thousand steps a is near 2,500 and b near 1,250: a is the sum of all inputs, b that of the first half.
UNTRAINED = {"add": 2 * 3750.0**2, "mul": 2 * (2500.0 * 1250.0) ** 2}


def cell(folder, name, operation, errors=(0.2, 0.4, 0.6), solved=(1, 0, 0), untrained=True):
    """A finished cell of three seeds whose relative errors are these at every length."""
    page = page_of("recurrent_arithmetic")
    page.task.lengths = LENGTHS
    page.task.subsets = ConfigDict({"name": "nested"})
    columns = {"seed": range(3), "solved": solved, "diverged_at": [np.nan] * 3}
    columns |= {f"{batch}_relative": errors for batch in NAMES}
    predictors = {label: {f"{batch}_relative": error for batch in NAMES} for label, error in PREDICTORS.items()}
    axes = {"operation": operation} | CELLS[name]
    made = cell_of(folder, page, axes, columns, threshold=1e-4, predictors=predictors, steps=20_000)
    metrics = ("interpolation_mse", "extrapolation_mse")
    made.result["untrained"] = dict.fromkeys(metrics, UNTRAINED[operation]) if untrained else {}
    return made


@pytest.fixture
def run(tmp_path):
    return run_of([cell(tmp_path, name, operation) for name in CELLS for operation in ("mul", "add")])


def test_a_row_is_a_model_in_the_papers_order_of_operations_with_the_published_row_below_it(run):
    rows = recurrent.score_rows(run, "extrapolation")
    assert [row["model"] for row in rows] == [
        "NAC",
        "NAC accumulator",
        "NAC, published",
        "NAU, NMU readout",
        "LSTM",
        "LSTM, published",
        "constant",
        "true mean",
        "untrained LSTM, MSE",
        "the same, published",
    ]
    assert rows[0] == {"model": "NAC", "a + b": "8.0 (2.0)", "a × b": "8.0 (2.0)"}  # 100 error² / 2
    assert rows[2] == {"model": "NAC, published", "a + b": "0.0", "a × b": "88.4"}
    assert rows[6] == {"model": "constant", "a + b": "50.0", "a × b": "50.1"}
    assert rows[8:] == [
        {"model": "untrained LSTM, MSE", "a + b": "2.81e+07", "a × b": "1.95e+13"},
        {"model": "the same, published", "a + b": "336847", "a × b": "336829"},
    ]


def test_success_is_the_share_of_seeds_with_its_interval(run):
    rows = recurrent.success_rows(run)
    assert [row["a + b"] for row in rows] == ["33 % [6, 79]"] * 4  # Wilson's interval of 1 of 3
    assert len(recurrent.screen(run).rows) == 4


def test_tables_and_picture_are_written(run, tmp_path):
    recurrent.write(run, tmp_path)
    text = (tmp_path / "recurrent.md").read_text()
    assert "Scores at 1,000 steps after training on 10" in text and "3 seeds" in text and "20,000 steps" in text
    assert (tmp_path / "recurrent.tex").exists() and (tmp_path / "recurrent.png").exists()


def test_the_picture_has_a_row_a_form_and_a_column_an_operation(run, tmp_path, monkeypatch):
    figures = keep_figures(monkeypatch, recurrent)
    recurrent.draw(run, tmp_path)
    panels = figures[0].axes
    assert len(panels) == 3 * 2 and [panel.get_title() for panel in panels[:2]] == ["a + b", "a × b"]
    assert legend_of(figures[0]) == ["NAC", "NAU, NMU readout", "LSTM", "constant", "true mean"]
    drawn = [np.array(line.get_ydata()).tolist() for line in panels[-1].get_lines()]
    assert [0.4] * 3 in drawn and [0.2] * 3 in drawn and [0.5] * 3 in drawn  # median, best seed, true mean


def test_a_diverged_seed_is_infinitely_bad_and_drawn_above_the_edge(tmp_path, monkeypatch):
    figures = keep_figures(monkeypatch, recurrent)
    recurrent.draw(run_of([cell(tmp_path, "lstm", "add", errors=(np.nan, np.nan, 0.1))]), tmp_path)
    [panel] = figures[0].axes
    assert any(min(line.get_ydata()) > panel.get_ylim()[1] for line in panel.get_lines() if len(line.get_ydata()) == 3)


def test_a_folder_without_untrained_errors_gets_the_picture_and_says_what_the_tables_need(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"result\.json"):
        recurrent.write(run_of([cell(tmp_path, "lstm", "add", untrained=False)]), tmp_path)
    assert (tmp_path / "recurrent.png").exists() and not (tmp_path / "recurrent.md").exists()


def number(printed):
    return float(printed.lstrip("<>"))


def test_the_published_scores_are_the_published_errors_over_those_of_a_random_network_but_for_known_cells():
    raw, off = {(row["range"], row["model"]): row for row in published(recurrent.RAW)}, {}
    for row in published(recurrent.SCORES):
        for operation in ("a", *OPERATIONS):
            error, random = (number(raw[row["range"], model][operation]) for model in (row["model"], "Random"))
            score = 100 * error / random
            if not row[operation].startswith(">") and abs(score - number(row[operation])) > 0.101:
                off[row["range"], row["model"], operation] = (round(score, 1), row[operation])
    beyond = {(model, operation): pair for (place, model, operation), pair in off.items() if place == "extrapolation"}
    assert beyond == {("NALU", "squared"): (0.8, "0.0"), ("NALU", "root"): (0.5, "0.0"), ("RNN-tanh", "a"): (100.7, "100.0")}
    within = [pair for (place, *_), pair in off.items() if place == "interpolation"]
    assert len(within) == 10 and max(within) == (1.1, "0.0") and {printed for _, printed in within} == {"0.0"}


def test_another_task_is_refused_in_a_sentence(tmp_path):
    recurrent.check(cell(tmp_path, "nac", "add").task)
    with pytest.raises(ConfigError, match=r"config\.reports: recurrent is of the task recurrent_arithmetic alone"):
        recurrent.check(digits(tmp_path, unit="nac").task)
