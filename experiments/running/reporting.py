"""The reports of a run as one: refused where they cannot be made, written, known to be whole, shown."""

from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console

from experiments.faults import Damaged
from experiments.reports.results import FinishedRun, read_json
from experiments.running.workdir import COMPLETE, contents
from nalu_jax.storage.files import sealed, sha256, write_atomic
from nalu_jax.tasks.base import TaskSpec

NO_REPORT = ("config.json", COMPLETE)


def check_reports(reports: list[ModuleType], tasks: Iterable[TaskSpec]) -> None:
    """Raises ConfigError for a report that cannot be made of one of the tasks."""
    for report in reports:
        if hasattr(report, "check"):
            for task in tasks:
                report.check(task)


def write_reports(run: FinishedRun, reports: list[ModuleType], folder: Path) -> list[str]:
    """Writes the reports of a run's finished cells, and returns what could not be written, a sentence each.

    A report that draws what the folder does not hold, such as parameters in a folder of results/, is left out. Raises
    ConfigError for a report of other tasks.
    """
    check_reports(reports, [result.task for result in run.cells])
    missing = []
    for report in reports:
        try:
            report.write(run, folder)
        except FileNotFoundError as error:
            missing.append(f"{report.__name__.rsplit('.', 1)[-1]} is left as it is: it needs {error.filename}")
    return missing


def show(run: FinishedRun, reports: list[ModuleType], console: Console) -> None:
    """Prints the table of the first report that has one."""
    for report in reports:
        if hasattr(report, "screen"):
            console.print(report.screen(run))
            return


def seal(workdir: Path) -> None:
    """Notes that all reports of a run are written, and what they are."""
    write_atomic(workdir / COMPLETE, sealed(digests(workdir)))


def digests(workdir: Path) -> dict[str, Any]:
    """The digests of the files that reports have written, by name."""
    return {
        path.name: sha256(path.read_bytes()) for path in contents(workdir) if path.is_file() and path.name not in NO_REPORT
    }


def intact(workdir: Path) -> bool:
    """Whether all that reports have written of a finished run is still there as it was."""
    try:
        written = read_json(workdir / COMPLETE)
    except Damaged:
        return False
    now = digests(workdir)
    return all(now.get(name) == digest for name, digest in written.items())
