"""Tables of sequences: what is left of each cell at each length, beside predictors, exact cells, and what was published."""

import csv
import math
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table

import nalu_jax.tasks  # noqa: F401  (registers the tasks)
from experiments.results import CellResult, Predictor, predictors, write_csv
from experiments.tables import write_tables_of
from nalu_jax.cells import ACCUMULATOR, PUBLISHED
from nalu_jax.registry import TASKS
from nalu_jax.stats import Interval, quantiles, success_rate

MOST_COLUMNS = 6
BOUND = 0.99  # one-sided, of the mean error of an exact cell
# The models of Trask et al. 2018 and the cells that stand beside them.
MODELS = {"LSTM": "lstm", "GRU": "gru", "RNN-tanh": "rnn_tanh", "RNN-ReLU": "rnn_relu", "NAC": "nac", "NALU": "nalu"}
PUBLISHED_TABLES = {"mae": "trask_2018_table_2", "mse": "trask_2018_table_10"}
FOLDER = Path(__file__).parent / "published"


class Sequences(NamedTuple):
    """What a cell's task says of sequences, in plain values."""

    task: str
    train_length: int
    lengths: tuple[int, ...]


def sequences_of(result: CellResult) -> Sequences | None:
    """What the cell's task says of sequences; None if it is about none."""
    if "extrapolation_mae" not in result.seeds:
        return None
    spec = result.config["task"]
    return Sequences(spec["name"], spec["train_length"], tuple(spec["lengths"]))


def known_lengths(results: list[CellResult]) -> list[int]:
    """All test lengths of a grid, rising; none if its tasks are not about sequences."""
    return sorted({length for result in results if (about := sequences_of(result)) for length in about.lengths})


def metric_at(about: Sequences, metric: str, length: int) -> str:
    """The name of a test error at a length: of the longest sequences it has no number."""
    return f"extrapolation_{metric}" + ("" if length == about.lengths[-1] else f"_{length}")


def errors(result: CellResult, metric: str, length: int) -> np.ndarray | None:
    """Each seed's test error "mae" or "mse" at a length, at its best evaluation, f64[seeds]; None without that length."""
    about = sequences_of(result)
    if about is None or length not in about.lengths:
        return None
    return result.seeds[metric_at(about, metric, length)]


def spread(values: np.ndarray) -> Interval:
    """Median, lowest and highest over seeds; a diverged seed counts as infinitely bad."""
    low, median, high = quantiles(values, (0.0, 0.5, 1.0))
    return Interval(median, low, high)


# Success


def threshold(results: list[CellResult], result: CellResult, length: int) -> float | None:
    """The error below which a seed succeeds at a length: the one-sided 99 % bound of the exact cell's mean squared error.

    mean + t_{0.99, n-1} · sd / √n over n seeds of the exact cell that differs from this one in no other axis, those that
    ``can_read``, at their best evaluations. Madsen & Johansen 2020, appendix; theirs has 8 degrees of freedom with 9 seeds
    of the sum and with 7 of the product, here they are always n - 1. None without such a cell, or with fewer than two seeds.
    """
    import scipy.stats

    exact = exact_beside(results, result)
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
    return shares(result) > max(metrics["extrapolation_accuracy"] for metrics in result.result["predictors"].values())


def exact_beside(results: list[CellResult], result: CellResult) -> CellResult | None:
    """The cell of the grid that has nothing to learn and is like this one in all else."""
    about = sequences_of(result)
    if about is None or "unit" not in result.axes:
        return None
    name = "exact_product" if TASKS[about.task].total == "product" else "exact_sum"
    wanted = result.axes | {"unit": name}
    return next((other for other in results if other.axes == wanted), None)


def success(results: list[CellResult], result: CellResult, length: int) -> Interval | None:
    """The share of seeds below the threshold at a length, with its 95 % interval; None without a threshold."""
    bound, found = threshold(results, result, length), errors(result, "mse", length)
    if bound is None or found is None:
        return None
    return success_rate(int((found < bound).sum()), len(found))


# Rows


def csv_rows(results: list[CellResult]) -> list[dict[str, Any]]:
    """The rows of lengths.csv: one a cell and length, and one a predictor and length."""
    rows = []
    for result in results:
        for length in known_lengths([result]):
            row = {**result.axes, "length": length, "seeds": len(result.seeds["seed"])}
            row |= columns("accuracy", shares(result) if length == 1 else None)
            for metric in ("mae", "mse"):
                row |= columns(metric, errors(result, metric, length))
            rate = success(results, result, length) or Interval(math.nan, math.nan, math.nan)
            row |= {"threshold": threshold(results, result, length)}
            row |= {"success_rate": rate.estimate, "success_low": rate.low, "success_high": rate.high}
            rows.append(row)
    empty = dict.fromkeys(rows[0])
    for axes, about, metrics in predictor_rows(results):
        for length in about.lengths:
            found = {f"{metric}_median": metrics[metric_at(about, metric, length)] for metric in ("mae", "mse")}
            if length == 1:
                found["accuracy_median"] = metrics["extrapolation_accuracy"]
            rows.append(empty | axes | {"length": length} | found)
    return rows


def columns(name: str, values: np.ndarray | None) -> dict[str, float | None]:
    """Median, lowest and highest as three columns; empty without values, and where a diverged seed stands there."""
    found = [None] * 3 if values is None else [value if math.isfinite(value) else None for value in spread(values)]
    return dict(zip((f"{name}_median", f"{name}_low", f"{name}_high"), found, strict=True))


def predictor_rows(results: list[CellResult]) -> list[tuple[dict[str, str], Sequences, dict[str, float]]]:
    """The predictors of the tasks of a grid: their axes, what the task says of sequences, and their metrics."""
    return [(p.axes, about, p.metrics) for p in predictors(results) if (about := sequences_of(p.like))]


def few(lengths: list[int]) -> list[int]:
    """At most six of the lengths, spread evenly over their orders of magnitude, the first and the last among them."""
    if len(lengths) <= MOST_COLUMNS:
        return lengths
    wanted = np.geomspace(lengths[0], lengths[-1], MOST_COLUMNS)
    return sorted({min(lengths, key=lambda length: abs(math.log(length / want))) for want in wanted})


def error_rows(results: list[CellResult], lengths: list[int]) -> list[dict[str, str]]:
    """Accuracy at length 1 and MAE at the others, shaped like table 2 of Trask et al. 2018: a row a cell, or a predictor."""
    rows = []
    for result in results:
        row = {axis: str(value) for axis, value in result.axes.items()}
        for length in lengths:
            name, found = "accuracy" if length == 1 else f"MAE {length}", errors(result, "mae", length)
            if found is None:
                row[name] = "–"
            elif length == 1:
                row[name] = accuracy(result)
            else:
                row[name] = bracketed(spread(found))
        rows.append(row)
    for axes, about, metrics in predictor_rows(results):
        row = dict(axes)
        for length in lengths:
            name = "accuracy" if length == 1 else f"MAE {length}"
            if length not in about.lengths:
                row[name] = "–"
            elif length == 1:
                row[name] = f"{100 * metrics['extrapolation_accuracy']:.1f} %"
            else:
                row[name] = number(metrics[metric_at(about, "mae", length)])
        rows.append(row)
    return rows


def success_rows(results: list[CellResult], lengths: list[int]) -> list[dict[str, str]]:
    """The success rate at each length, a row a cell, and whether predictors pass; no rows if no cell has a threshold."""
    rows = []
    for result in results:
        rates = {f"length {length}": success(results, result, length) for length in lengths}
        if any(rates.values()):
            shown = {name: percent(rate) if rate else "–" for name, rate in rates.items()}
            rows.append({axis: str(value) for axis, value in result.axes.items()} | shown)
    if rows:
        rows += [predictor.axes | passes(results, predictor, lengths) for predictor in predictors(results)]
    return rows


def passes(results: list[CellResult], predictor: Predictor, lengths: list[int]) -> dict[str, str]:
    """Whether a predictor's error is below the threshold at each length: there, success says nothing of arithmetic."""
    found = {}
    for length in lengths:
        about, bound = sequences_of(predictor.like), threshold(results, predictor.like, length)
        known = about is not None and bound is not None and length in about.lengths
        below = known and predictor.metrics[metric_at(about, "mse", length)] < bound
        found[f"length {length}"] = ("passes" if below else "fails") if known else "–"
    return found


def number(value: float) -> str:
    """Three digits, and a power of ten where it is shorter."""
    if not math.isfinite(value):
        return "∞"
    if value and not 1e-3 <= abs(value) < 99_999.5:
        digits, exponent = f"{value:.1e}".split("e")
        return f"{digits}e{int(exponent)}"
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:#.3g}"


def bracketed(values: Interval) -> str:
    """A median with the lowest and the highest in brackets, unless all seeds are alike."""
    if values.low == values.high:
        return number(values.estimate)
    return f"{number(values.estimate)} [{number(values.low)}, {number(values.high)}]"


def percent(rate: Interval) -> str:
    """A rate of seeds with its interval."""
    value, low, high = (100 * part for part in rate)
    return f"{value:.0f} % [{low:.0f}, {high:.0f}]"


def accuracy(result: CellResult) -> str:
    """How often the total of a single digit is right: median, lowest and highest seed; of a diverged seed never."""
    low, median, high = (100 * part for part in quantiles(shares(result), (0.0, 0.5, 1.0)))
    return f"{median:.1f} %" if low == high else f"{median:.1f} % [{low:.1f}, {high:.1f}]"


def shares(result: CellResult) -> np.ndarray:
    """How often each seed is right about a single digit, f64[seeds]."""
    return np.nan_to_num(result.seeds["extrapolation_accuracy"], nan=0.0)


# What was published


def published(table: str) -> list[dict[str, str]]:
    """The rows of a published table, as printed: task, model, accuracy in per cent, and errors by their length."""
    with open(FOLDER / f"{table}.csv", newline="") as file:
        return list(csv.DictReader(file))


def published_rows(results: list[CellResult], metric: str) -> list[dict[str, str]]:
    """Each model of Trask et al. 2018, its errors as printed and halved, above the cells of the grid that are like it.

    No rows for a grid of other tasks.
    """
    rows = []
    for printed in published(PUBLISHED_TABLES[metric]):
        ours = [result for result in results if about_task(result) == printed["task"]]
        if not ours:
            continue
        name = metric.upper()
        lengths = [int(column) for column in printed if column.isdigit()]
        row = {"task": printed["task"], "cell": f"{printed['model']}, published", "accuracy": f"{printed['accuracy']} %"}
        rows.append(row | {f"{name} {n}": f"{printed[str(n)]} / {half(printed[str(n)])}" for n in lengths})
        for result in [r for r in ours if bare(str(r.axes.get("unit"))) == MODELS[printed["model"]]]:
            row = {"task": printed["task"], "cell": " ".join(map(str, result.axes.values()))}
            row["accuracy"] = accuracy(result).split(" [")[0]
            for n in lengths:
                found = errors(result, metric, n)
                row[f"{name} {n}"] = "–" if found is None else number(spread(found).estimate)
            rows.append(row)
    if len({row["task"] for row in rows}) == 1:  # the table need not say it in every row
        rows = [{name: text for name, text in row.items() if name != "task"} for row in rows]
    return rows


def half(printed: str) -> str:
    """Half of a printed number, exactly."""
    value = Decimal(printed) / 2
    return str(value).replace("E+", ".0e") if "e" in printed else f"{value.normalize():f}"


def about_task(result: CellResult) -> str:
    """The name of the cell's task; nothing if it is not about sequences."""
    about = sequences_of(result)
    return about.task if about else ""


def bare(cell: str) -> str:
    """The unit, or the dense cell, in a cell of that name."""
    return cell.removesuffix(ACCUMULATOR).removesuffix(PUBLISHED)


# Tables


def write_lengths(results: list[CellResult], folder: Path) -> bool:
    """Writes lengths.{csv,md,tex} of a grid over sequences; of another grid nothing, and the answer is False."""
    if not (lengths := known_lengths(results)):
        return False
    write_csv(folder / "lengths.csv", csv_rows(results))
    shown, note = few(lengths), ""
    if len(shown) < len(lengths):
        note = f" {len(shown)} of {len(lengths)} lengths; lengths.csv has all."
    count, steps = len(results[0].seeds["seed"]), results[0].result["steps"]
    over = f"{count} seeds [lowest, highest]" if count > 1 else "1 seed"
    taken = f"Median over {over}, {steps:,} steps, each seed at its best validation error."
    tables = [(error_rows(results, shown), f"{taken}{note} {ERRORS}"), (success_rows(results, shown), SUCCESS)]
    tables += [(published_rows(results, metric), caption) for metric, caption in PRINTED.items()]
    write_tables_of(folder / "lengths", [(rows, caption) for rows, caption in tables if rows])
    return True


ERRORS = (
    "Accuracy: how often the total of a single digit is right. MAE: mean absolute error at that length; of running totals "
    "the mean over all places up to it. constant and true mean see no image: the one says the mean of what is heard in "
    "training, the other the mean total at each place."
)
SUCCESS = (
    "Success: the share of seeds whose squared test error is below the one-sided 99 % bound of the exact cell's mean, "
    "mean + t sd / sqrt(n) with n - 1 degrees of freedom over its n seeds (Madsen & Johansen 2020), without those that are "
    "right about a single digit no more often than who sees none. Brackets: 95 % intervals. Where constant or true mean "
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


def terminal_table(results: list[CellResult]) -> Table:
    """The table for the screen: accuracy, the median MAE at each length, and success at the longest if it is known."""
    lengths = few(known_lengths(results))
    rates = {id(result): success(results, result, lengths[-1]) for result in results}
    table = Table(box=None, header_style="bold", pad_edge=False)
    rows = [{name: text.split(" [")[0] for name, text in row.items()} for row in error_rows(results, lengths)]
    for name in rows[0]:
        table.add_column(name, justify="left" if name in results[0].axes else "right", overflow="fold")
    if any(rates.values()):
        table.add_column(f"success {lengths[-1]}", justify="right")
    for i, row in enumerate(rows):
        rate = rates[id(results[i])] if i < len(results) else None
        table.add_row(*row.values(), *([percent(rate) if rate else ""] if any(rates.values()) else []))
    return table
