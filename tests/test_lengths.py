"""The tables of sequences: what stands in them."""

import csv
import io

import numpy as np
import pytest
from fake_runs import NAN, arithmetic, digits, run_of
from rich.console import Console

from experiments.faults import ConfigError
from experiments.reports import formats, length_curves, lengths, reads, scores, strip, summary
from experiments.reports.results import predictors


def csv_of(path):
    return list(csv.DictReader(io.StringIO(path.read_text())))


# Success

# mean + t sd / sqrt(n) of 1, 2, 3 and 6 by hand: mean 3, sd sqrt(14 / 3), and 4.5407 is the tables' t of 99 % and 3 degrees.
EXACT, BOUND = [1.0, 2.0, 3.0, 6.0], 3 + 4.5407 * np.sqrt(14 / 3) / 2


def test_the_threshold_is_the_one_sided_bound_of_the_exact_cells_mean_at_each_length(tmp_path):
    grid = [digits(tmp_path, unit="nac"), digits(tmp_path, cell="exact_sum", mse=EXACT)]
    assert [lengths.threshold(run_of(grid), grid[0], n) for n in (1, 10, 100)] == pytest.approx(
        [BOUND, 10 * BOUND, 100 * BOUND], rel=1e-4
    )


def test_success_is_the_share_of_seeds_below_the_threshold_with_its_interval(tmp_path):
    cell = digits(tmp_path, unit="nac", mse=[BOUND - 0.01, BOUND + 0.01, NAN, 1e9])
    grid = [cell, digits(tmp_path, cell="exact_sum", mse=EXACT)]
    # Wilson's interval of 1 of 4, by hand: (1 + z² / 2 ± z √(3 / 4 + z² / 4)) / (4 + z²), z = 1.96.
    assert lengths.success(run_of(grid), grid[0], 10) == pytest.approx((0.25, 0.0456, 0.6994), abs=1e-4)
    rows = lengths.success_rows(run_of(grid), [1, 10, 100])
    assert rows[0] == {"unit": "nac", "cell": ""} | dict.fromkeys(("length 1", "length 10", "length 100"), "25 % [5, 70]")


def test_exact_seeds_that_diverged_are_left_out_of_the_threshold_and_one_alone_makes_none(tmp_path):
    two = [digits(tmp_path, unit="nac"), digits(tmp_path, cell="exact_sum", mse=[1, 3, NAN, NAN])]
    # mean 2, sd √2, √n = √2, and 31.821 is the tables' t of 99 % and 1 degree.
    assert lengths.threshold(run_of(two), two[0], 1) == pytest.approx(2 + 31.821, rel=1e-4)
    one = [digits(tmp_path, unit="nac"), digits(tmp_path, cell="exact_sum", mse=[1, NAN, NAN, NAN])]
    assert lengths.threshold(run_of(one), one[0], 1) is None and lengths.success(run_of(one), one[0], 1) is None
    assert lengths.success_rows(run_of(one), [1, 10]) == []


def test_exact_seeds_that_have_not_learned_to_read_are_left_out_of_the_threshold(tmp_path):
    cell = digits(tmp_path, unit="nac")
    grid = [cell, digits(tmp_path, cell="exact_sum", mse=[1, 3, 900, 900], accuracy=[0.5, 0.11, 0.1, 0.0])]
    assert lengths.threshold(run_of(grid), grid[0], 1) == pytest.approx(2 + 31.821, rel=1e-4)
    none = [cell, digits(tmp_path, cell="exact_sum", mse=EXACT, accuracy=0.1)]
    assert lengths.threshold(run_of(none), none[0], 1) is None


def test_predictors_pass_where_their_error_is_below_the_threshold(tmp_path):
    # Their squared errors are 7 and 3; the threshold is 2.9, 29 and 290.
    exact = digits(tmp_path, cell="exact_sum", mse=np.array(EXACT) * 2.9 / BOUND)
    constant, mean = lengths.success_rows(run_of([digits(tmp_path, unit="nac"), exact]), [1, 10])[-2:]
    assert constant == {"unit": "constant", "cell": "", "length 1": "fails", "length 10": "passes"}
    assert mean == constant | {"unit": "true mean"}
    exact = digits(tmp_path, cell="exact_sum", mse=np.array(EXACT) * 3.1 / BOUND)
    rows = lengths.success_rows(run_of([digits(tmp_path, unit="nac"), exact]), [1])[-2:]
    assert [row["length 1"] for row in rows] == ["fails", "passes"]


def test_the_exact_cell_of_a_threshold_is_like_the_cell_in_all_other_axes(tmp_path):
    grid = [digits(tmp_path, unit="nac", batch_size=8), digits(tmp_path, cell="exact_sum", batch_size=16, mse=EXACT)]
    assert lengths.threshold(run_of(grid), grid[0], 1) is None
    grid.append(digits(tmp_path, cell="exact_sum", batch_size=8, mse=2 * np.array(EXACT)))
    assert lengths.threshold(run_of(grid), grid[0], 1) == pytest.approx(2 * BOUND, rel=1e-4)


@pytest.mark.parametrize(
    ("task", "bound"), [("mnist_counting", 1), ("mnist_addition", 1), ("mnist_sum", 1), ("mnist_product", 5)]
)
def test_products_are_held_against_the_exact_product_and_the_others_against_the_exact_sum(task, bound, tmp_path):
    grid = [digits(tmp_path, task, unit="nmu"), digits(tmp_path, task, cell="exact_sum", mse=EXACT)]
    grid.append(digits(tmp_path, task, cell="exact_product", mse=5 * np.array(EXACT)))
    assert lengths.threshold(run_of(grid), grid[0], 1) == pytest.approx(bound * BOUND, rel=1e-4)


# Errors


def test_a_cell_has_the_median_the_lowest_and_the_highest_seed_and_predictors_have_rows(tmp_path):
    grid = [digits(tmp_path, unit="nac", mae=[4, 1, 2, 3], accuracy=[0.9, 0.8, 1.0, 0.7])]
    assert lengths.error_rows(run_of(grid), [1, 10, 100]) == [
        {"unit": "nac", "accuracy": "85.0 % [70.0, 100.0]", "MAE 10": "25.0 [10.0, 40.0]", "MAE 100": "250 [100, 400]"},
        {"unit": "constant", "accuracy": "10.0 %", "MAE 10": "70.0", "MAE 100": "700"},
        {"unit": "true mean", "accuracy": "10.0 %", "MAE 10": "30.0", "MAE 100": "300"},
    ]


def test_a_diverged_seed_is_infinitely_far_off_and_never_right(tmp_path):
    cell = digits(tmp_path, unit="nac", mae=[1, 1, 1, NAN], accuracy=[1, 1, 1, NAN])
    [row, *_] = lengths.error_rows(run_of([cell]), [1, 10])
    assert row["MAE 10"] == "10.0 [10.0, ∞]" and row["accuracy"] == "100.0 % [0.0, 100.0]"


def test_predictors_stand_once_for_each_task_of_a_grid(tmp_path):
    axes = [("nac", 8, 10), ("nau", 8, 10), ("nac", 8, 20), ("nau", 8, 20)]
    cells = [digits(tmp_path, unit=u, batch_size=size, train_length=length) for u, size, length in axes]
    told = [(predictor.axes, predictor.metrics["interpolation_mse"]) for predictor in predictors(run_of(cells))]
    both = [{"unit": name, "batch_size": 8} for name in ("constant", "true mean")]
    assert told == [(axes, length) for length in (10, 20) for axes in both]


def test_predictors_have_the_axes_that_all_cells_of_their_task_share(tmp_path):
    cells = [digits(tmp_path, unit="nac", batch_size=8, hidden_size=size) for size in (1, 2)]
    assert [predictor.axes for predictor in predictors(run_of(cells))] == [
        {"unit": name, "batch_size": 8, "hidden_size": ""} for name in ("constant", "true mean")
    ]


def test_a_cell_without_a_length_that_others_have_shows_a_dash(tmp_path):
    grid = [digits(tmp_path, unit="nac", at=(1, 10)), digits(tmp_path, unit="nau", at=(1, 10, 100))]
    assert [row["MAE 100"] for row in lengths.error_rows(run_of(grid), [10, 100])[:2]] == ["–", "100"]


@pytest.mark.parametrize(
    ("known", "shown"),
    [
        ([1, 10, 100, 1000], [1, 10, 100, 1000]),
        ([1, 10, *range(100, 1001, 100)], [1, 10, 100, 300, 1000]),
        (list(range(1, 21)), [1, 2, 3, 6, 11, 20]),
    ],
)
def test_at_most_six_lengths_are_shown_the_first_and_the_last_among_them(known, shown):
    assert lengths.spread_lengths(known) == shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0.0, "0.00"), (0.123456, "0.123"), (9.0, "9.00"), (99.96, "100"), (4398.9, "4,399")),
        *((1.4e10, "1.4e10"), (2.5e-5, "2.5e-5"), (float("inf"), "∞")),
    ],
)
def test_errors_are_written_with_three_digits(value, text):
    assert formats.number(value) == text


# Files


def test_the_csv_has_a_row_for_each_cell_and_length_and_for_each_predictor(tmp_path):
    at = tuple(range(1, 9))
    cell = digits(tmp_path, unit="nac", at=at, mae=[4, 1, 2, 3], mse=BOUND - 0.01)
    grid = [cell, digits(tmp_path, cell="exact_sum", at=at, mse=EXACT)]
    lengths.write(run_of(grid), tmp_path)
    rows = csv_of(tmp_path / "lengths.csv")
    assert [row["cell"] for row in rows[8:16]] == ["exact_sum"] * 8
    assert [(row["unit"], int(row["length"])) for row in rows] == [
        (unit, n) for unit in ("nac", "", "constant", "true mean") for n in at
    ]
    last = {name: float(rows[7][name]) for name in ("mae_median", "mae_low", "mae_high", "mse_median", "threshold")}
    assert last == pytest.approx(
        {"mae_median": 20, "mae_low": 8, "mae_high": 32, "mse_median": 8 * (BOUND - 0.01), "threshold": 8 * BOUND}, rel=1e-4
    )
    assert (rows[0]["accuracy_median"], rows[7]["accuracy_median"], rows[7]["success_rate"]) == ("0.5", "", "1")
    assert float(rows[-1]["mae_median"]) == 24 and rows[-1]["success_rate"] == ""
    assert "8 lengths; lengths.csv has all" in (tmp_path / "lengths.md").read_text()


@pytest.mark.parametrize("report", [lengths, length_curves, strip, reads])
def test_another_task_is_refused_in_a_sentence(report, tmp_path):
    report.check(digits(tmp_path, unit="nac").task)
    with pytest.raises(ConfigError, match=r"config\.reports: .* are of sequences of digits"):
        report.check(arithmetic(tmp_path, {"unit": "nac", "operation": "add"}).task)


def test_latex_has_all_tables_and_no_character_that_it_cannot_set(tmp_path):
    grid = [digits(tmp_path, unit="nac", mae=NAN), digits(tmp_path, cell="exact_sum", mse=EXACT)]
    lengths.write(run_of(grid), tmp_path)
    text = (tmp_path / "lengths.tex").read_text()
    assert text.isascii() and text.count(r"\begin{tabular}") == 4 and r"$\infty$" in text


def test_a_task_that_no_paper_scores_has_a_summary_and_no_scores(tmp_path):
    run = run_of([digits(tmp_path, unit="nac")])
    for report in (summary, scores):
        report.write(run, tmp_path)
    assert (tmp_path / "summary.md").exists() and not list(tmp_path.glob("scores*"))


# What was published


def test_published_tables_are_as_printed():
    mae, mse = (lengths.published(name) for name in ("trask_2018_table_2", "trask_2018_table_10"))
    assert [row["model"] for row in mae] == 2 * list(lengths.MODELS) == [row["model"] for row in mse]
    printed = {"task": "mnist_counting", "model": "RNN-ReLU", "accuracy": "9.80", "10": "0.66", "100": "39.8"}
    assert mae[3] == printed | {"1000": "1.4e10"}
    assert mse[-1]["1000"] == "114303" and mse[4]["1000"] == "3"


def test_halved_the_published_lstm_adds_as_the_best_constant_does():
    # Sums of n digits of mean 4.5 and variance 8.25 that 45 is said of: E (s - 45)² = 8.25 n + (4.5 n - 45)².
    [lstm] = [r for r in lengths.published("trask_2018_table_10") if (r["task"], r["model"]) == ("mnist_addition", "LSTM")]
    for n in (10, 100, 1000):
        assert float(lengths.halved(lstm[str(n)])) == pytest.approx(8.25 * n + (4.5 * n - 45) ** 2, rel=0.03)


@pytest.mark.parametrize(
    ("printed", "half"),
    [("0.79", "0.395"), ("198.5", "99.25"), ("8811.6", "4405.8"), ("3", "1.5"), ("1.4e10", "7.0e9"), ("18.0", "9")],
)
def test_halves_are_exact(printed, half):
    assert lengths.halved(printed) == half


def test_published_models_stand_above_the_cells_that_are_like_them(tmp_path):
    axes = [{"unit": "nac"}, {"cell": "lstm", "readout": "dense"}, {"cell": "lstm", "readout": "none"}]
    axes += [{"unit": "nac", "cell": "accumulator"}, {"unit": "nau"}]
    grid = [digits(tmp_path, **one) for one in axes]
    rows = lengths.published_rows(run_of(grid), "mae")
    assert [row["cell"] for row in rows] == [
        *("LSTM, published", "lstm readout=dense", "lstm readout=none"),
        *("GRU, published", "RNN-tanh, published", "RNN-ReLU, published"),
        *("NAC, published", "nac", "nac accumulator", "NALU, published"),
    ]
    assert rows[0] == {
        "cell": "LSTM, published",
        "accuracy": "98.29 %",
        "MAE 10": "0.79 / 0.395",
        "MAE 100": "18.2 / 9.1",
        "MAE 1000": "198.5 / 99.25",
    }
    assert rows[1] == {
        "cell": "lstm readout=dense",
        "accuracy": "50.0 %",
        "MAE 10": "10.0",
        "MAE 100": "100",
        "MAE 1000": "–",
    }


def test_running_totals_were_published_by_nobody_in_such_a_table(tmp_path):
    grid = [digits(tmp_path, "mnist_sum", unit="nac")]
    assert lengths.published_rows(run_of(grid), "mae") == [] == lengths.published_rows(run_of(grid), "mse")


# The screen


def shown(grid):
    console = Console(width=100, file=io.StringIO())
    console.print(lengths.screen(run_of(grid)))
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def test_the_screen_shows_accuracy_errors_and_the_success_at_the_longest_length(tmp_path):
    lines = shown([digits(tmp_path, unit="nac", mse=100.0), digits(tmp_path, cell="exact_sum", mse=EXACT)])
    assert lines[0] == "unit cell accuracy MAE 10 MAE 100 success 100"
    assert lines[1] == "nac 50.0 % 10.0 100 0 % [0, 49]"
    assert lines[-1] == "true mean 10.0 % 30.0 300"


def test_without_an_exact_cell_the_screen_says_nothing_of_success(tmp_path):
    assert shown([digits(tmp_path, unit="nac")])[0] == "unit accuracy MAE 10 MAE 100"
