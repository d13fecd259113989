"""Tables of errors by sequence length, beside predictors, exact cells, and what was published."""

import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from experiments.faults import ConfigError
from experiments.reports.figures import name_cell
from experiments.reports.formats import (
    axis_texts,
    bracketed,
    bracketed_share,
    number,
    percent,
    seeds_of,
    spread,
    write_tables,
)
from experiments.reports.published import published
from experiments.reports.results import CellResult, FinishedRun, Predictor, predictors, write_csv
from experiments.settings.config import axis_path
from nalu_jax.stats import Interval, success_rate
from nalu_jax.tasks.base import TaskSpec
from nalu_jax.tasks.digit_sequences import DigitSequences

MOST_COLUMNS = 6
BOUND = 0.99  # one-sided, of the mean error of an exact cell
# The models of Trask et al. 2018 and the cells of Flax, or the units, that stand beside them.
MODELS = {"LSTM": "lstm", "GRU": "gru", "RNN-tanh": "rnn_tanh", "RNN-ReLU": "rnn_relu", "NAC": "nac", "NALU": "nalu"}
PUBLISHED_TABLES = {"mae": "trask_2018_table_2", "mse": "trask_2018_table_10"}


def write(run: FinishedRun, folder: Path) -> None:
    """Writes lengths.{csv,md,tex}: errors and success at each length, and the published errors beside ours."""
    lengths = known_lengths(run)
    write_csv(folder / "lengths.csv", csv_rows(run))
    shown, note = spread_lengths(lengths), ""
    if len(shown) < len(lengths):
        note = f" {len(shown)} of {len(lengths)} lengths; lengths.csv has all."
    seeds, steps = seeds_of(run), run.cells[0].result["steps"]
    over = "1 seed" if seeds == "1" else f"{seeds} seeds [lowest, highest]"
    taken = f"Median over {over}, {steps:,} steps, each seed at its best validation error."
    tables = [(error_rows(run, shown), f"{taken}{note} {ERRORS}"), (success_rows(run, shown), SUCCESS)]
    tables += [(published_rows(run, metric), caption) for metric, caption in PRINTED.items()]
    write_tables(folder / "lengths", [(rows, caption) for rows, caption in tables if rows])


def screen(run: FinishedRun) -> Table:
    """The table for the terminal: accuracy, the median MAE at each length, and success at the longest if it is known."""
    lengths = spread_lengths(known_lengths(run))
    rates = [success(run, result, lengths[-1]) for result in run.cells]
    table = Table(box=None, header_style="bold", pad_edge=False)
    rows = [{name: text.split(" [")[0] for name, text in row.items()} for row in error_rows(run, lengths)]
    for name in rows[0]:
        table.add_column(name, justify="left" if name in run.axes else "right", overflow="fold")
    if any(rates):
        table.add_column(f"success {lengths[-1]}", justify="right")
    for i, row in enumerate(rows):
        rate = rates[i] if i < len(rates) else None
        table.add_row(*row.values(), *([percent(rate) if rate else ""] if any(rates) else []))
    return table


def check(task: TaskSpec) -> None:
    """Raises ConfigError for a task without sequences of digits."""
    if not isinstance(task, DigitSequences):
        raise ConfigError(
            "config.reports: lengths, length_curves, strip and reads are of sequences of digits, which the task has not"
        )


def task_of(result: CellResult) -> DigitSequences:
    """The task of a cell, as sequences of digits."""
    assert isinstance(result.task, DigitSequences)
    return result.task


def known_lengths(run: FinishedRun) -> list[int]:
    """All test lengths of a run, rising."""
    return sorted({length for result in run.cells for length in task_of(result).lengths})


def metric_at(task: DigitSequences, metric: str, length: int) -> str:
    """The name of a test error at a length: of the longest sequences it has no number."""
    return f"extrapolation_{metric}" + ("" if length == task.lengths[-1] else f"_{length}")


def errors(result: CellResult, metric: str, length: int) -> np.ndarray | None:
    """Each seed's test error "mae" or "mse" at a length, at its best evaluation, f64[seeds]; None without that length."""
    task = task_of(result)
    return result.seeds[metric_at(task, metric, length)] if length in task.lengths else None


def accuracies(result: CellResult) -> np.ndarray:
    """How often each seed is right about the total of a single digit, f64[seeds]; a diverged seed never is."""
    return np.nan_to_num(result.seeds["extrapolation_accuracy"], nan=0.0)


# Success


def threshold(run: FinishedRun, result: CellResult, length: int) -> float | None:
    """The error below which a seed succeeds at a length: the one-sided 99 % bound of the exact cell's mean squared error.

    mean + t_{0.99, n-1} · sd / √n over n seeds of the exact cell that differs from this one in no other axis, those that
    ``can_read``, at their best evaluations. Madsen & Johansen 2020, appendix; theirs has 8 degrees of freedom with 9 seeds
    of the sum and with 7 of the product, here they are always n - 1. None without such a cell, or with fewer than two seeds.
    """
    import scipy.stats

    exact = exact_beside(run, result)
    found = errors(exact, "mse", length) if exact else None
    if exact is None or found is None:
        return None
    x = found[np.isfinite(found) & can_read(exact)]
    if x.size < 2:
        return None
    return float(x.mean() + scipy.stats.t.ppf(BOUND, x.size - 1) * x.std(ddof=1) / math.sqrt(x.size))


def can_read(result: CellResult) -> np.ndarray:
    """Which seeds have learned to read, bool[seeds]: are right about a digit more often than any predictor that sees none.

    An exact product can settle for numbers of the wrong sign, whose products are right in pairs. Madsen & Johansen 2020
    leave out three of their ten seeds of it.
    """
    return accuracies(result) > max(metrics["extrapolation_accuracy"] for metrics in result.predictors.values())


def exact_beside(run: FinishedRun, result: CellResult) -> CellResult | None:
    """The exact cell of the run that differs from this one in nothing but what makes up the network."""
    name = "exact_product" if task_of(result).total == "product" else "exact_sum"
    wanted = setting_of(run, result)
    return next((r for r in run.cells if r.cell.config.network.cell == name and setting_of(run, r) == wanted), None)


def setting_of(run: FinishedRun, result: CellResult) -> dict[str, Any]:
    """The axes of a cell, those apart that make up its network and the penalties of its unit."""
    of_network = ("unit.", "network.", "penalties.")
    return {axis: value for axis, value in result.axes.items() if not axis_path(run.config, axis).startswith(of_network)}


def success(run: FinishedRun, result: CellResult, length: int) -> Interval | None:
    """The share of seeds below the threshold at a length, with its 95 % interval; None without a threshold."""
    bound, found = threshold(run, result, length), errors(result, "mse", length)
    if bound is None or found is None:
        return None
    return success_rate(int((found < bound).sum()), len(found))


# Rows


def csv_rows(run: FinishedRun) -> list[dict[str, Any]]:
    """The rows of lengths.csv: one a cell and length, and one a predictor and length."""
    rows = []
    for result in run.cells:
        for length in task_of(result).lengths:
            row = {**result.axes, "length": length, "seeds": len(result.rows)}
            row |= columns("accuracy", accuracies(result) if length == 1 else None)
            for metric in ("mae", "mse"):
                row |= columns(metric, errors(result, metric, length))
            rate = success(run, result, length) or Interval(math.nan, math.nan, math.nan)
            row |= {"threshold": threshold(run, result, length)}
            row |= {"success_rate": rate.estimate, "success_low": rate.low, "success_high": rate.high}
            rows.append(row)
    empty = dict.fromkeys(rows[0])
    for predictor in predictors(run):
        task = task_of(predictor.like)
        for length in task.lengths:
            found = {f"{metric}_median": predictor.metrics[metric_at(task, metric, length)] for metric in ("mae", "mse")}
            if length == 1:
                found["accuracy_median"] = predictor.metrics["extrapolation_accuracy"]
            rows.append(empty | predictor.axes | {"length": length} | found)
    return rows


def columns(name: str, values: np.ndarray | None) -> dict[str, float | None]:
    """Median, lowest and highest as three columns; empty without values, and where a diverged seed stands there."""
    found = [None] * 3 if values is None else [value if math.isfinite(value) else None for value in spread(values)]
    return dict(zip((f"{name}_median", f"{name}_low", f"{name}_high"), found, strict=True))


def spread_lengths(lengths: list[int]) -> list[int]:
    """At most six of the lengths, spread evenly over their orders of magnitude, the first and the last among them."""
    if len(lengths) <= MOST_COLUMNS:
        return lengths
    wanted = np.geomspace(lengths[0], lengths[-1], MOST_COLUMNS)
    return sorted({min(lengths, key=lambda length: abs(math.log(length / want))) for want in wanted})


def error_rows(run: FinishedRun, lengths: list[int]) -> list[dict[str, str]]:
    """Accuracy at length 1 and MAE at the others, shaped like table 2 of Trask et al. 2018: a row a cell, or a predictor."""
    rows = []
    for result in run.cells:
        row = axis_texts(result.axes)
        for length in lengths:
            found = errors(result, "mae", length)
            if found is None:
                row[column_at(length)] = "–"
            elif length == 1:
                row[column_at(length)] = bracketed_share(accuracies(result))
            else:
                row[column_at(length)] = bracketed(spread(found))
        rows.append(row)
    for predictor in predictors(run):
        row, task = dict(predictor.axes), task_of(predictor.like)
        for length in lengths:
            if length not in task.lengths:
                text = "–"
            elif length == 1:
                text = f"{100 * predictor.metrics['extrapolation_accuracy']:.1f} %"
            else:
                text = number(predictor.metrics[metric_at(task, "mae", length)])
            row[column_at(length)] = text
        rows.append(row)
    return rows


def column_at(length: int) -> str:
    """The heading of the errors at a length."""
    return "accuracy" if length == 1 else f"MAE {length}"


def success_rows(run: FinishedRun, lengths: list[int]) -> list[dict[str, str]]:
    """The success rate at each length, a row a cell, and whether predictors pass; no rows if no cell has a threshold."""
    rows = []
    for result in run.cells:
        rates = {f"length {length}": success(run, result, length) for length in lengths}
        if any(rates.values()):
            shown = {name: percent(rate) if rate else "–" for name, rate in rates.items()}
            rows.append(axis_texts(result.axes) | shown)
    if rows:
        rows += [predictor.axes | predictor_success(run, predictor, lengths) for predictor in predictors(run)]
    return rows


def predictor_success(run: FinishedRun, predictor: Predictor, lengths: list[int]) -> dict[str, str]:
    """Whether a predictor's error is below the threshold at each length: there, success says nothing of arithmetic."""
    found, task = {}, task_of(predictor.like)
    for length in lengths:
        bound = threshold(run, predictor.like, length)
        if bound is None or length not in task.lengths:
            found[f"length {length}"] = "–"
        else:
            below = predictor.metrics[metric_at(task, "mse", length)] < bound
            found[f"length {length}"] = "passes" if below else "fails"
    return found


# What was published


def published_rows(run: FinishedRun, metric: str) -> list[dict[str, str]]:
    """Each model of Trask et al. 2018, its errors as printed and halved, above the cells of the run that are like it.

    No rows for a run of other tasks.
    """
    rows = []
    for printed in published(PUBLISHED_TABLES[metric]):
        ours = [result for result in run.cells if result.cell.config.task.name == printed["task"]]
        if not ours:
            continue
        name = metric.upper()
        lengths = [int(column) for column in printed if column.isdigit()]
        row = {"task": printed["task"], "cell": f"{printed['model']}, published", "accuracy": f"{printed['accuracy']} %"}
        rows.append(row | {f"{name} {n}": f"{printed[str(n)]} / {halved(printed[str(n)])}" for n in lengths})
        for result in [result for result in ours if made_of(result) == MODELS[printed["model"]]]:
            row = {"task": printed["task"], "cell": name_cell(result)}
            row["accuracy"] = bracketed_share(accuracies(result)).split(" [")[0]
            for n in lengths:
                found = errors(result, metric, n)
                row[f"{name} {n}"] = "–" if found is None else number(spread(found).estimate)
            rows.append(row)
    if len({row["task"] for row in rows}) == 1:  # the table need not say it in every row
        rows = [{name: text for name, text in row.items() if name != "task"} for row in rows]
    return rows


def made_of(result: CellResult) -> str:
    """The unit that a cell is made of, else the cell itself."""
    return str(result.axes.get("unit") or result.cell.config.network.cell)


def halved(printed: str) -> str:
    """Half of a printed number, exactly."""
    value = Decimal(printed) / 2
    return str(value).replace("E+", ".0e") if "e" in printed else f"{value.normalize():f}"


ERRORS = (
    "Accuracy: how often the total of a single digit is right. MAE: mean absolute error at that length; of running totals "
    "the mean over all places up to it. constant and true mean see no image: the one predicts the mean target of training, "
    "the other the mean total at each place."
)
SUCCESS = (
    "Success: the share of seeds whose squared test error is below the one-sided 99 % bound of the exact cell's mean, "
    "mean + t sd / sqrt(n) with n - 1 degrees of freedom over its n seeds (Madsen & Johansen 2020), excluding seeds no "
    "better at a single digit than the input-free predictors. Brackets: 95 % intervals. Where constant or true mean "
    "passes, success says nothing of arithmetic."
)
HALVED = (
    "Beside ours, as printed / halved. Halved, since predictors that see no image fit the printed errors only with a factor "
    "of 2, in MAE and in MSE, at three lengths and on both tasks: of sums, the best constant for ten digits has"
)
UNKNOWN = "The reason is not known, nor whether the factor is in all rows. Ours: medians."
PRINTED = {
    "mae": f"MAE of Trask et al. 2018, table 2. {HALVED} 7.3, 400 and 4,399, and for the LSTM 14.8, 800.8 and 8,811.6 are "
    f"printed. {UNKNOWN}",
    "mse": f"MSE of Trask et al. 2018, table 10. {HALVED} 83.9, 160,800 and 19.36 million, and for the LSTM 168.18, 321,738 "
    f"and 38,761,851 are printed. {UNKNOWN} Tables 2 and 10 cannot both be of the same networks: the mean absolute error of "
    "some rows is above the root of their mean squared error.",
}
