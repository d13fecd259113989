"""Success rates of units, or of runs, beside each other: all pairs of cells that differ in nothing else."""

import itertools
from pathlib import Path
from typing import Any

from experiments.reports.figures import label_axis
from experiments.reports.formats import write_tables
from experiments.reports.results import CellResult, FinishedRun, write_csv
from nalu_jax import stats
from nalu_jax.stats import Count

COMPARED = ("unit", "run")  # axes whose values are compared
MOST = 8  # cells of a group of which all pairs are shown; those of a larger one are in the CSV
CAPTION = (
    "Differences of success rates in per cent, the row less the column, with Newcombe's 95 % interval (1998, method 10); in "
    "bold where it leaves out 0. p-values of Fisher's exact test are in differences.csv."
)
TO_THE_BEST = (
    "Differences of success rates in per cent to the cell with the highest, or the first of them, with Newcombe's 95 % "
    "interval (1998, method 10); in bold where it leaves out 0. All pairs are in differences.csv."
)


def write(run: FinishedRun, folder: Path) -> None:
    """Writes differences.csv, a row an ordered pair of cells, and differences.{md,tex}; nothing where there is no pair."""
    groups = groups_of(run)
    pairs = [pair(*cells) for group in groups for cells in itertools.permutations(group, 2)]
    if pairs:
        write_csv(folder / "differences.csv", pairs)
    matrix = [row for group in groups if 1 < len(group) <= MOST for row in rows_of(group)]
    names = dict.fromkeys(name for row in matrix for name in row)
    to_best = [row for group in groups if len(group) > MOST for row in less_the_best(group)]
    tables = [([{name: row.get(name, "") for name in names} for row in matrix], CAPTION), (to_best, TO_THE_BEST)]
    if written := [(rows, caption) for rows, caption in tables if rows]:
        write_tables(folder / "differences", written)


def groups_of(run: FinishedRun) -> list[list[CellResult]]:
    """The cells that differ in nothing but what is compared; without those of tasks that have no threshold."""
    found: dict[str, list[CellResult]] = {}
    for result in run.cells:
        if result.threshold:
            same = [value for axis, value in result.axes.items() if axis not in COMPARED]
            found.setdefault(repr(same), []).append(result)
    return list(found.values())


def rows_of(group: list[CellResult]) -> list[dict[str, str]]:
    """A row a cell of the group, and a column each for the others."""
    same = shared(group)
    return [same | {"less": name_of(one)} | {name_of(other): shown(one, other) for other in group} for one in group]


def less_the_best(group: list[CellResult]) -> list[dict[str, str]]:
    """A row a cell of the group but for the one that is solved most often, from which they differ."""
    best = max(group, key=lambda result: stats.success_rate(*count_of(result)).estimate)
    rows = [(one, {"cell": name_of(one), "less": name_of(best), "difference": shown(one, best)}) for one in group]
    return [shared(group) | row for one, row in rows if one is not best]


def shared(group: list[CellResult]) -> dict[str, str]:
    """What the cells of a group have in common."""
    return {axis: label_axis(axis, v) for axis, v in group[0].axes.items() if v != "" and axis not in COMPARED}


def name_of(result: CellResult) -> str:
    """What tells a cell from the others of its group."""
    return ", ".join(label_axis(axis, result.axes[axis]) for axis in COMPARED if result.axes.get(axis, "") != "")


def count_of(result: CellResult) -> Count:
    """How many seeds of how many are solved."""
    return Count(int(result.solved.sum()), len(result.solved))


def pair(one: CellResult, other: CellResult) -> dict[str, Any]:
    """A row of differences.csv."""
    difference = stats.rate_difference(count_of(one), count_of(other))
    names = {f"less_{axis}": other.axes[axis] for axis in COMPARED if axis in other.axes}
    numbers = {"difference": difference.estimate, "low": difference.low, "high": difference.high}
    return {**one.axes, **names, **numbers, "p": stats.rate_p_value(count_of(one), count_of(other))}


def shown(one: CellResult, other: CellResult) -> str:
    """A difference in per cent with its interval; nothing of a cell with itself."""
    if one is other:
        return ""
    difference, low, high = (100 * part for part in stats.rate_difference(count_of(one), count_of(other)))
    text = f"{difference:+.0f} [{low:+.0f}, {high:+.0f}]".replace("-", "−")
    return f"**{text}**" if low > 0 or high < 0 else text
