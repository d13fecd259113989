"""Several runs of one task as one: cells of each, and the seeds of a cell from wherever they were trained."""

from pathlib import Path
from typing import Any

import numpy as np

from experiments.config import leaves
from experiments.faults import ConfigError
from experiments.grid import sort_axes
from experiments.reports.results import CellResult, Files, FinishedRun

# Fields of a cell's config that leave what it measures as it is.
ASIDE = ("num_seeds", "first_seed", "block", "reports", "writers")


def merged(runs: list[FinishedRun]) -> FinishedRun:
    """The cells of several runs, in their order, as those of one, which has the config of the first.

    Cells that differ in nothing but their seeds become one cell. Cells of different runs that have the same axes and yet
    differ, in their number of steps for example, are told apart by a further axis "run", the name of the folder. Raises
    ConfigError for runs of different tasks, and for a seed that two runs have of the same cell.
    """
    if len(runs) == 1:
        return runs[0]
    tasks = {run.cells[0].cell.config.task.name: run.folder for run in runs}
    if len(tasks) > 1:
        told = " and ".join(f"{folder} of {task}" for task, folder in tasks.items())
        raise ConfigError(f"runs of one task can be merged, but {told}")
    axes = sort_axes({axis for run in runs for axis in run.axes})
    together: dict[str, list[CellResult]] = {}
    for run in runs:
        for result in run.cells:
            filled = result._replace(axes={axis: result.axes.get(axis, "") for axis in axes})
            together.setdefault(measured(filled), []).append(filled)
    cells = [joined(parts) for parts in together.values()]
    if len({tuple(map(str, cell.axes.values())) for cell in cells}) < len(cells):
        names = folder_names([run.folder for run in runs])
        cells = [cell._replace(axes=cell.axes | {"run": names[folder_of(cell)]}) for cell in cells]
    return FinishedRun(runs[0].folder, runs[0].config, cells)


def measured(result: CellResult) -> str:
    """What a cell measures: all of its config but what leaves that as it is, as text."""
    return repr(sorted((path, repr(v)) for path, v in leaves(result.cell.config) if path.partition(".")[0] not in ASIDE))


def joined(parts: list[CellResult]) -> CellResult:
    """The parts of one cell as one, its seeds in order. Raises ConfigError for a seed that comes twice."""
    if len(parts) == 1:
        return parts[0]
    seen: dict[str, Path] = {}
    for part in parts:
        for row in part.rows:
            if row["seed"] in seen:
                both = f"{seen[row['seed']]} and {folder_of(part)}"
                raise ConfigError(f"{both} both have the seed {row['seed']} of {part.cell.name}")
            seen[row["seed"]] = folder_of(part)
    rows = sorted((row for part in parts for row in part.rows), key=lambda row: int(row["seed"]))
    whole = parts[0]._replace(rows=rows, result={k: v for k, v in parts[0].result.items() if k != "sha256"})
    # No folder has the records or the parameters of all seeds: what is made of them is left out.
    whole = whole._replace(files=Files(folder_of(parts[0]) / f"{parts[0].cell.name} of several runs"))
    return whole._replace(result=whole.result | {"best_seed": best_of(whole)})


def best_of(result: CellResult) -> int:
    """The row of the seed with the best score; the first where all have diverged."""
    columns: dict[str, Any] = {name: values.astype(np.float32) for name, values in result.seeds.items()}
    score = np.asarray(result.task.task.score(columns))
    return int(np.argmin(np.where(np.isfinite(score), score, np.inf)))


def folder_of(result: CellResult) -> Path:
    """The folder of the run that a cell is of."""
    return result.files.path.parent


def folder_names(folders: list[Path]) -> dict[Path, str]:
    """Names that tell folders apart: their last parts, or all parts where these are alike."""
    last = [folder.resolve().name for folder in folders]
    return dict(zip(folders, last if len(set(last)) == len(last) else map(str, folders), strict=True))
