"""Running an experiment: the cells of a grid one after another in a working directory, with their reports."""

import itertools
import time
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console

from experiments.build import Job, build
from experiments.cell import run_group
from experiments.config import Config
from experiments.console import CellProgress
from experiments.environment import check_devices, describe
from experiments.faults import ALL_DIVERGED, DONE, INTERRUPTED, ConfigError, EnvironmentFault, Interrupted
from experiments.grid import cell_name, cells, groups
from experiments.reports import find, locate
from experiments.reports.results import Files, FinishedRun, read_run
from experiments.stopping import SignalHandler
from experiments.workdir import claimed, same_run
from nalu_jax.registry import WRITERS, UnknownName
from nalu_jax.storage.files import write_atomic
from nalu_jax.tasks.base import TaskSpec
from nalu_jax.training.selftest import check_numbers

REPORT_SHARE = 0.05  # of the time of a run that reports on its way may take


def run_experiment(config: Config, workdir: Path, *, fresh: bool, console: Console) -> int:
    """Runs all cells that are not finished, writes the reports, shows the table, and returns the exit code.

    Everything that can be refused is refused before anything is compiled: raises ConfigError for settings, and
    EnvironmentFault for the folder.
    """
    check_devices()
    together = [[build(cell, len(group)) for cell in group] for group in groups(config, list(cells(config)))]
    for name in config.reports:
        locate(name)
    check_writers(config.writers)
    with claimed(workdir, fresh=fresh, console=console):
        same_run(workdir, config, itertools.chain(*together))
        try:
            train(together, config, workdir, console)
        except Interrupted:
            console.print("interrupted; everything is saved, and the same command goes on from here", soft_wrap=True)
            return INTERRUPTED
        run = read_run(workdir, config)
        show(run, [find(name) for name in config.reports], console)
        console.print(f"reports: {workdir}    curves: tensorboard --logdir {workdir}", soft_wrap=True)
    return ALL_DIVERGED if any(result.all_diverged for result in run.cells) else DONE


def train(together: list[list[Job]], config: Config, workdir: Path, console: Console) -> None:
    """Runs the cells that are not finished, and writes the reports as they finish. Raises Interrupted at a signal."""
    complete = workdir / "complete"
    signals = SignalHandler()
    left = [group for group in together if not all(Files(workdir / job.name).seeds.exists() for job in group)]
    if not left and complete.exists():
        return
    # First, since a KeyboardInterrupt may be swallowed by what is imported from here on, and by jax's garbage collector.
    signals.install()
    reports = [find(name) for name in config.reports]
    environment = trusted_environment()
    check_reports(reports, [job.task for group in together for job in group])
    signals.check()
    complete.unlink(missing_ok=True)  # its reports will be of the past when a cell is finished again
    console.print(f"curves live: tensorboard --logdir {workdir}", soft_wrap=True, highlight=False, markup=False)
    reported, took = time.monotonic(), 0.0
    for i, group in enumerate(left):
        schedule, task = group[0].schedule, group[0].task
        progress = CellProgress(
            console,
            f"{len(together) - len(left) + i + 1}/{len(together)} {group_name(group)}",
            columns=task.columns,
            num_steps=schedule.num_steps,
            num_seeds=schedule.num_seeds * len(group),
            count_solved=any(job.task.threshold for job in group),
            later=sum(map(seed_steps, left[i + 1 :])),
        )
        with progress:
            run_group(group, [Files(workdir / job.name) for job in group], progress, signals, environment)
        signals.check()
        began = time.monotonic()
        if group is not left[-1] and took < REPORT_SHARE * (began - reported):
            write_reports(read_run(workdir, config), reports, workdir)
            reported = time.monotonic()
            took = reported - began
    for sentence in write_reports(read_run(workdir, config), reports, workdir):
        console.print(sentence, soft_wrap=True, highlight=False, markup=False)
    write_atomic(complete, b"")


def seed_steps(group: list[Job]) -> int:
    """The steps of all seeds of cells that train together."""
    return sum(job.schedule.num_steps * job.schedule.num_seeds for job in group)


def check_writers(names: Iterable[str]) -> None:
    """Raises ConfigError for a writer that does not exist."""
    try:
        for name in names:
            WRITERS[name]
    except UnknownName as error:
        raise ConfigError(f"config.writers: {error}") from error


def check_reports(reports: list[ModuleType], tasks: Iterable[TaskSpec]) -> None:
    """Raises ConfigError for a report that cannot be made of one of the tasks."""
    for report in reports:
        if hasattr(report, "check"):
            for task in tasks:
                report.check(task)


def group_name(group: list[Job]) -> str:
    """What cells that train together are called: by the axes that they share, and how many they are."""
    first = group[0]
    if len(group) == 1:
        return first.name
    shared = {axis: value for axis, value in first.axes.items() if all(job.axes[axis] == value for job in group)}
    return f"{cell_name(shared)} ({len(group)} cells)"


def trusted_environment() -> dict[str, Any]:
    """Where the run takes place. Raises EnvironmentFault if jax does not start or computes wrong numbers."""
    try:
        environment = describe()
        check_numbers()
    except (RuntimeError, EnvironmentFault) as error:
        raise EnvironmentFault(f"this jax cannot be used: {error}") from error
    return environment


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
