"""The scores of the 2018 paper: errors on a scale from 0, perfect, to 100, as bad as an untrained network."""

from pathlib import Path

import numpy as np

from experiments.reports.figures import name_cell
from experiments.reports.formats import axis_texts, percent, title, write_table
from experiments.reports.results import CellResult, FinishedRun
from nalu_jax.stats import quantiles, success_rate
from nalu_jax.tasks.operations import OPERATIONS, sign

CAPTION = (
    "Score of Trask et al. 2018, table 1: 100 times the error over that of untrained dense networks on the same task (mean "
    "over seeds{where}); 0 is perfect, 100 as bad as untrained. Median over seeds, the best seed in parentheses."
)


def write(run: FinishedRun, folder: Path) -> None:
    """Writes scores.{md,tex}: a row an operation, a column a unit, as table 1 of Trask et al. 2018; else a row a cell.

    Of a run whose folder has no errors of untrained networks nothing is written.
    """
    if not has_untrained(run):
        return
    if set(run.axes) <= {"unit", "operation"}:
        write_table(folder / "scores", rows_of_operations(run), CAPTION.format(where=", last column"))
    else:
        write_table(folder / "scores", [row_of_cell(result, run) for result in run.cells], CAPTION.format(where=""))


def rows_of_operations(run: FinishedRun) -> list[dict[str, str]]:
    """A row an operation and range, a column a unit."""
    rows = []
    labels = list(dict.fromkeys(name_cell(result) for result in run.cells))
    operations = sorted(map(str, run.values_of("operation")), key=[*OPERATIONS, ""].index)
    for metric, heading in run.columns.items():
        for operation in operations:
            cells = {name_cell(r): r for r in run.cells if str(r.axes.get("operation", "")) == operation}
            untrained = next(iter(cells.values())).result["untrained"][metric]
            row = {"range": title(heading), "task": sign(operation)}
            row |= {label: score(cells[label].seeds[metric], untrained) for label in labels if label in cells}
            rows.append(row | {"untrained error": f"{untrained:.3g}"})
    return rows


def row_of_cell(result: CellResult, run: FinishedRun) -> dict[str, str]:
    """What a cell was trained with, its success rate, and its score in each range."""
    row = axis_texts({axis: result.value_of(axis) for axis in run.axes})
    if result.threshold:
        row["success"] = percent(success_rate(int(result.solved.sum()), len(result.solved)))
    untrained = result.result["untrained"]
    return row | {title(heading): score(result.seeds[metric], untrained[metric]) for metric, heading in run.columns.items()}


def score(errors: np.ndarray, untrained: float) -> str:
    """Median and best of the scores of errors f64[seeds], as the paper prints them."""
    scores = scores_of(errors, untrained)
    return f"{printed(quantiles(scores, (0.5,))[0])} ({printed(scores.min())})"


def scores_of(errors: np.ndarray, untrained: float) -> np.ndarray:
    """100 · error / untrained error: errors f64[seeds] → f64[seeds], infinite for a diverged seed."""
    return 100 * np.where(np.isnan(errors), np.inf, errors) / untrained


def printed(value: float) -> str:
    """A score as the paper prints it."""
    return "–" if not np.isfinite(value) else ">999" if value > 999 else f"{value:.1f}"


def has_untrained(run: FinishedRun) -> bool:
    """Whether all cells have the errors of untrained networks."""
    return all(result.result["untrained"] for result in run.cells)
