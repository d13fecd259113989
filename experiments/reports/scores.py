"""The scores of the 2018 paper: errors on a scale from 0, perfect, to 100, as bad as an untrained network."""

from pathlib import Path

import numpy as np

from experiments.reports.figures import name_cell
from experiments.reports.formats import title, write_table
from experiments.reports.results import FinishedRun
from nalu_jax.stats import quantiles
from nalu_jax.tasks.operations import OPERATIONS, sign

CAPTION = (
    "Score of Trask et al. 2018, table 1: 100 times the error over that of untrained dense networks on the same task (mean "
    "over seeds, last column); 0 is perfect, 100 as bad as untrained. Median over seeds, the best seed in parentheses."
)


def write(run: FinishedRun, folder: Path) -> None:
    """Writes scores.{md,tex}, shaped like table 1 of Trask et al. 2018: a row an operation, a column a unit.

    A score compares cells on one task: of a grid over ranges, and of one whose folder has no untrained errors, nothing is
    written.
    """
    if not can_be_scored(run):
        return
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
    write_table(folder / "scores", rows, CAPTION)


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


def can_be_scored(run: FinishedRun) -> bool:
    """Whether all cells have the errors of untrained networks, and those of one operation are of one task."""
    return "interpolation_range" not in run.axes and all(result.result["untrained"] for result in run.cells)
