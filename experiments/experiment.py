"""Running an experiment: the cells of a grid one after another in a working directory, then tables and pictures."""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from ml_collections import ConfigDict
from rich.console import Console

from experiments import build, last_layers, lengths, tables
from experiments.cell import run_group
from experiments.console import CellProgress
from experiments.environment import describe, differences
from experiments.faults import ALL_DIVERGED, DONE, INTERRUPTED, ConfigError, EnvironmentFault, Interrupted
from experiments.grid import Cell, cell_name, cells, groups
from experiments.results import CellResult, Files, read_cell, read_json
from experiments.stopping import Stopping
from nalu_jax.checkpoint import write_atomic
from nalu_jax.selftest import check_numbers


def run_experiment(config: ConfigDict, workdir: Path, *, fresh: bool, console: Console) -> int:
    """Runs all cells that are not finished, writes tables and pictures, shows the table, and returns the exit code.

    Everything that can be refused is refused before anything is compiled: ConfigError for settings, EnvironmentFault for
    the folder.
    """
    grid = list(cells(config))
    for cell in grid:
        build.check(cell.config)
    with claimed(workdir, fresh=fresh, console=console):
        same_config(workdir, config)
        try:
            train(grid, groups(config, grid), workdir, console)
        except Interrupted:
            console.print("interrupted; everything is saved, and the same command goes on from here", soft_wrap=True)
            return INTERRUPTED
        results = finished(grid, workdir)
        sequences = lengths.known_lengths(results)
        console.print(lengths.terminal_table(results) if sequences else tables.terminal_table(results))
        console.print(
            f"tables, curves and weights: {workdir}    curves live: tensorboard --logdir {workdir}", soft_wrap=True
        )
    return ALL_DIVERGED if any(result.all_diverged for result in results) else DONE


def train(grid: list[Cell], together: list[list[Cell]], workdir: Path, console: Console) -> None:
    """Runs the cells that are not finished; then, unless they are there, draws the pictures. Interrupted at a signal."""
    stopping = Stopping()
    left = [group for group in together if not all(Files(workdir / cell.name).seeds.exists() for cell in group)]
    if not left and (workdir / "curves.png").exists():
        return
    stopping.listen()  # first, since jax swallows a KeyboardInterrupt that reaches it in the garbage collector
    environment = trusted_environment()
    stopping.check()
    for number, group in enumerate(left, len(together) - len(left) + 1):
        schedule = build.schedule(group[0].config)
        label = f"{number}/{len(together)} {group_name(group)}"
        num_seeds = schedule.num_seeds * len(group)
        judged = any(build.task_spec(cell.config).threshold for cell in group)
        with CellProgress(console, label, num_steps=schedule.num_steps, num_seeds=num_seeds, judged=judged) as progress:
            run_group(group, [Files(workdir / cell.name) for cell in group], progress, stopping, environment)
        write_tables(finished(grid, workdir), workdir)
        stopping.check()
    draw(grid, workdir)


def group_name(group: list[Cell]) -> str:
    """What a person calls cells that train together: by what they share, and how many they are."""
    if len(group) == 1:
        return group[0].name
    shared = [axis for axis, value in group[0].axes.items() if all(cell.axes[axis] == value for cell in group)]
    return f"{cell_name({axis: group[0].axes[axis] for axis in shared})} ({len(group)} cells)"


def trusted_environment() -> dict[str, Any]:
    """Where the run takes place. EnvironmentFault if jax does not start or computes wrong numbers."""
    try:
        environment = describe()
        check_numbers()
    except RuntimeError as error:
        raise EnvironmentFault(f"this jax cannot be used: {error}") from error
    return environment


def draw(grid: list[Cell], workdir: Path) -> None:
    """Writes tables and pictures of the whole grid."""
    from experiments import plots, sequence_plots

    results, configs = finished(grid, workdir), [cell.config for cell in grid]
    write_tables(results, workdir)
    plots.weights(results, configs, workdir / "weights.png")
    sequence_plots.lengths(results, workdir / "lengths.png")
    sequence_plots.strip(results, configs, workdir / "strip.png")
    sequence_plots.reads(results, configs, workdir / "reads.png")
    plots.ranges(results, workdir / "ranges.png")
    plots.rates(results, workdir / "rates.png")
    plots.curves(results, workdir / "curves.png")


def write_tables(results: list[CellResult], workdir: Path) -> None:
    """Writes the tables of the cells that are finished."""
    tables.write_tables(results, workdir)
    lengths.write_lengths(results, workdir)
    last_layers.write_last_layers(results, workdir)


def finished(grid: list[Cell], workdir: Path) -> list[CellResult]:
    """The finished cells."""
    folders = [(cell.axes, workdir / cell.name) for cell in grid]
    return [read_cell(axes, folder) for axes, folder in folders if Files(folder).seeds.exists()]


@contextlib.contextmanager
def claimed(workdir: Path, *, fresh: bool, console: Console) -> Iterator[None]:
    """The working directory, made if need be, and ours alone. EnvironmentFault if it cannot be."""
    if workdir.exists() and not workdir.is_dir():
        raise EnvironmentFault(f"--workdir: {workdir} is a file, not a folder")
    try:
        workdir.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(workdir.parent / f".{workdir.name}.lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise EnvironmentFault(f"--workdir: {workdir} is in use by another process") from None
    except OSError as error:
        raise EnvironmentFault(f"--workdir: {workdir} cannot be written ({error.strerror})") from error
    try:
        if fresh and (workdir / "config.json").exists():
            aside = next(path for n in range(1, 10**6) if not (path := Path(f"{workdir}.{n}")).exists())
            workdir.rename(aside)
            console.print(f"the earlier run is now in {aside}", soft_wrap=True)
        try:
            workdir.mkdir(exist_ok=True)
            tempfile.TemporaryFile(dir=workdir).close()
        except OSError as error:
            raise EnvironmentFault(f"--workdir: {workdir} cannot be written ({error.strerror})") from error
        yield
    finally:
        lock.release()


def same_config(workdir: Path, config: ConfigDict) -> None:
    """Writes the config of a new run; ConfigError, with the differences, if the folder holds a run with another."""
    path = workdir / "config.json"
    now: dict[str, Any] = json.loads(config.to_json_best_effort())
    if not path.exists():
        write_atomic(path, json.dumps(now, indent=2).encode())
        return
    found = differences(read_json(path), now)
    if found:
        raise ConfigError(
            f"{workdir} holds a run with another config ({'; '.join(found)}): choose another --workdir, or --fresh to set "
            "that run aside"
        )
