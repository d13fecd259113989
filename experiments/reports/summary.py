"""The summary: success by the criterion of Madsen & Johansen 2020, and the errors of each cell."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from experiments.reports.formats import (
    axis_texts,
    between,
    is_share,
    of_column,
    percent,
    scientific,
    scientific_interval,
    share_of,
    title,
    write_table,
)
from experiments.reports.results import CellResult, FinishedRun, Predictor, predictors, write_csv
from nalu_jax.stats import Interval, quantiles, solved_at_mean, sparsity_error_mean, success_rate

OF_SUCCESS = ("success", "solved at, median", "solved at, mean", "sparsity error")


def write(run: FinishedRun, folder: Path) -> None:
    """Writes summary.{csv,md,tex}, a row a cell; seeds.csv, a row a seed; untrained.csv, errors that scores refer to."""
    rows = summary_rows(run)
    write_csv(folder / "summary.csv", rows)
    write_csv(folder / "seeds.csv", [result.axes | row for result in run.cells for row in result.rows])
    untrained = [result.axes | all_digits(errors) for result in run.cells if (errors := result.result["untrained"])]
    if untrained:
        write_csv(folder / "untrained.csv", untrained)
    formatted = formatted_rows(run, rows)
    of_cells = rows[: len(run.cells)]
    seeds, steps = (between([row[name] for row in of_cells]) for name in ("seeds", "steps"))
    caption = [f"{seeds} seeds a cell, {steps} steps."]
    if "success" in formatted[0]:
        caption.append(
            "Success: a seed is solved at its evaluation with the best score. Brackets: 95 % intervals. Solved at and "
            "sparsity error: solved seeds only."
        )
    errors = [title(heading) for heading in run.columns.values() if not is_share(heading)]
    shares = [title(heading) for heading in run.columns.values() if is_share(heading)]
    if errors:
        caption.append(f"Medians over all seeds: {', '.join(errors)}.")
    if shares:
        caption.append(f"Median over seeds [lowest, highest]: {', '.join(shares)}.")
    write_table(folder / "summary", formatted, " ".join(caption))


def all_digits(errors: dict[str, float]) -> dict[str, np.float64]:
    """Errors as they stand in a CSV file from which scores come out the same."""
    return {name: np.float64(error) for name, error in errors.items()}


def screen(run: FinishedRun) -> Table:
    """The summary for the terminal, in eighty columns if the names are short: medians and the success rate."""
    short = {"solved at, median": "solved at", "sparsity error": "sparsity"}
    short |= {name: name if len(name) <= 10 else f"{name[:6]}." for name in map(title, run.columns.values())}
    rows = formatted_rows(run, summary_rows(run))
    shown = [name for name in (*run.axes, "success", *short, "diverged") if name in rows[0]]
    if not any(row["diverged"] not in ("", "0") for row in rows):
        shown.remove("diverged")
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in shown:
        table.add_column(short.get(name, name), justify="left" if name in run.axes else "right", overflow="fold")
    several = len({row[shown[0]] for row in rows}) < len(rows)  # rows of some unit: then units stand apart
    for i, row in enumerate(rows):
        last_of_unit = several and i + 1 < len(rows) and rows[i + 1][shown[0]] != row[shown[0]]
        table.add_row(*(row[name].split(" [")[0] if name == "sparsity error" else row[name] for name in shown))
        if last_of_unit:
            table.add_row()
    return table


def summary_rows(run: FinishedRun) -> list[dict[str, Any]]:
    """The rows of summary.csv: one a cell, and one a predictor that sees no input."""
    rows = [summary_row(result) for result in run.cells]
    return rows + [predictor_row(predictor, rows[0]) for predictor in predictors(run)]


def summary_row(result: CellResult) -> dict[str, Any]:
    """A cell's row of summary.csv.

    Criterion and intervals (95 %) are those of Madsen & Johansen 2020 (arXiv 2001.05016): a seed is solved if its test
    error at its lowest validation error is below the threshold. "Solved at" and the sparsity error are over solved seeds;
    medians are over all, at each seed's best evaluation. A share has its lowest and highest seed too, and a diverged seed
    has the share 0. Of a task without a threshold nothing is said of success.
    """
    columns = result.seeds
    row = {**result.axes, "seeds": len(columns["seed"]), "steps": result.result["steps"], **success_of(result)}
    for metric, heading in result.task.columns.items():
        if is_share(heading):
            row |= zip_interval(f"{metric}_median", f"{metric}_low", f"{metric}_high", share_of(columns[metric]))
        else:
            row[f"{metric}_median"] = quantiles(columns[metric], (0.5,))[0]
    return row | {"diverged": int(np.isfinite(columns["diverged_at"]).sum())}


def success_of(result: CellResult) -> dict[str, float | None]:
    """Success rate, solved at and sparsity error of a cell, all None if its task has no threshold."""
    solved, columns = result.solved, result.seeds
    steps = columns["solved_at"][solved]
    found: dict[str, float | None] = {}
    found |= zip_interval("success_rate", "success_low", "success_high", success_rate(int(solved.sum()), len(solved)))
    found["solved_at_median"] = float(np.median(steps)) if solved.any() else None
    found |= zip_interval("solved_at_mean", "solved_at_low", "solved_at_high", solved_at_mean(steps))
    sparsity = columns["sparsity_error"][solved]
    sparsity = sparsity_error_mean(sparsity[np.isfinite(sparsity)])  # NaN for networks that declare no weights
    found |= zip_interval("sparsity_error_mean", "sparsity_error_low", "sparsity_error_high", sparsity)
    return found if result.threshold else dict.fromkeys(found)


def zip_interval(estimate: str, low: str, high: str, interval: Interval) -> dict[str, float]:
    """An interval as three columns."""
    return dict(zip((estimate, low, high), interval, strict=True))


def predictor_row(predictor: Predictor, columns: Iterable[str]) -> dict[str, Any]:
    """A predictor's row of summary.csv, which has these columns; a threshold is for networks."""
    known = {}
    for metric in predictor.like.task.columns:
        if metric in predictor.metrics:
            known |= {f"{metric}_{part}": predictor.metrics[metric] for part in ("median", "low", "high")}
    return dict.fromkeys(columns) | predictor.axes | {name: value for name, value in known.items() if name in columns}


def formatted_rows(run: FinishedRun, rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """The rows as tables show them, without the columns of success if no row has any."""
    formatted = [formatted_row(row, run.axes, run.columns) for row in rows]
    if any(row["success_rate"] is not None for row in rows):
        return formatted
    return [{name: text for name, text in row.items() if name not in OF_SUCCESS} for row in formatted]


def formatted_row(row: dict[str, Any], axes: list[str], columns: dict[str, str]) -> dict[str, str]:
    """A row as tables show it."""
    rate = row["success_rate"]
    return {
        **axis_texts({axis: row[axis] for axis in axes}),
        "success": "–" if rate is None else percent(Interval(rate, row["success_low"], row["success_high"])),
        "solved at, median": scientific(row["solved_at_median"]),
        "solved at, mean": scientific_interval(row["solved_at_mean"], row["solved_at_low"], row["solved_at_high"]),
        "sparsity error": scientific_interval(
            row["sparsity_error_mean"], row["sparsity_error_low"], row["sparsity_error_high"]
        ),
        **{title(heading): column_text(row, metric, heading) for metric, heading in columns.items()},
        "diverged": "" if row["diverged"] is None else str(row["diverged"]),
    }


def column_text(row: dict[str, Any], metric: str, heading: str) -> str:
    """A metric as tables show it: its median, of shares with the lowest and the highest seed where they differ."""
    median = row[f"{metric}_median"]
    low, high = row.get(f"{metric}_low"), row.get(f"{metric}_high")
    if low is None or high is None or low == high:
        return of_column(heading, median)
    return f"{of_column(heading, median)} [{100 * low:.1f}, {100 * high:.1f}]"
