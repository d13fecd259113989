"""Several runs of one task as one: cells of each, and the seeds of a cell from wherever they were trained."""

from pathlib import Path

from experiments.faults import ConfigError
from experiments.reports.results import CellResult, FinishedRun, joined
from experiments.settings.config import leaves
from experiments.settings.grid import sort_axes

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


def folder_of(result: CellResult) -> Path:
    """The folder of the run that a cell is of."""
    return result.files.path.parent


def folder_names(folders: list[Path]) -> dict[Path, str]:
    """Names that tell folders apart: their last parts, or all parts where these are alike."""
    last = [folder.resolve().name for folder in folders]
    return dict(zip(folders, last if len(set(last)) == len(last) else map(str, folders), strict=True))
