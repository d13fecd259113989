"""The commands that train a run, or one of its cells, again: a shipped page, and what differs from it."""

import functools
import shlex
from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from experiments.faults import ConfigError
from experiments.reports.results import CellResult, FinishedRun
from experiments.settings.config import Config, axis_path, config_at, has, leaves, override
from experiments.settings.grid import Cell, cells, products
from experiments.settings.pages import CONFIGS, load, locate, shipped

Flags = dict[str, str]  # the text of each field of --config.FIELD=TEXT


@functools.cache
def pages() -> dict[str, Config]:
    """The config of every shipped page and of each of its presets, by what --config takes."""
    names = [name for path, page in shipped().items() for name in spellings(path, page.presets)]
    return {name: load(name) for name in names}


def spellings(path: str, presets: tuple[str, ...]) -> list[str]:
    """A page and its presets as --config takes them: by name."""
    name = path.rpartition("/")[2].removesuffix(".py")
    return [name, *(f"{name}:{preset}" for preset in presets)]


def page_of(run: FinishedRun, named: str = "") -> str:
    """The page of a run: the one named, else the shipped one that its first cell differs least from; "" without any."""
    if named:
        return shipped_name(named) or named
    ours = dict(leaves(run.cells[0].cell.config))
    alike = {name: page for name, page in pages().items() if page.task.name == ours["task.name"]}
    return min(alike, key=lambda name: sum(ours.get(path) != value for path, value in leaves(alike[name])), default="")


def shipped_name(page: str) -> str:
    """A page by its name if it is one of those that are shipped, else ""."""
    try:
        path, preset = locate(page)
    except ConfigError:
        return ""
    name = f"{path.stem}:{preset}" if preset else path.stem
    return name if path.parent == CONFIGS and name in pages() else ""


def command_of_cell(result: CellResult, page: str) -> str:
    """The command that trains a cell alone, seeds that are missing between its seeds included; "" if it is not known.

    It is known if the page is shipped and gives, with what the command changes, the very config of the cell.
    """
    ours = result.cell.config.copy_and_resolve_references()
    seeds = result.seeds["seed"].astype(int).tolist()
    ours.first_seed, ours.num_seeds = min(seeds), max(seeds) - min(seeds) + 1
    for flags in selections(page, ours):
        cell = one_cell(page, flags)
        if cell is None:
            continue
        flags = flags | changed(cell.config, ours)
        cell = one_cell(page, flags)
        if cell is not None and not changed(cell.config, ours):
            return command(page, flags, f"{page.replace(':', '-')}/{result.cell.name}")
    return ""


def command_of_run(run: FinishedRun, page: str) -> str:
    """The command of a run as a whole; "" if it is not known."""
    if page not in pages():
        return ""
    flags = changed(pages()[page], run.config)
    made = {repr(cell.axes): cell.config for cell in grid(page, flags)}
    same = [repr(r.cell.axes) in made and not changed(made[repr(r.cell.axes)], r.cell.config) for r in run.cells]
    return command(page, flags, "") if made and all(same) else ""


def selections(page: str, ours: Config) -> Iterator[Flags]:
    """What makes of a page's grid the one cell that has the values of a config, for each part of the grid that can."""
    if page not in pages():
        return
    config = pages()[page]
    names = [name for name, part in config.grid.items() if isinstance(part, ConfigDict)]
    for name, part in zip(config.get("parts", names) if names else [""], products(config), strict=True):
        paths = {axis: axis_path(config, axis) for axis in part}
        if all(has(ours, path) for path in paths.values()):
            inside = config.grid[name] if name else ()
            fields = {axis: f"grid.{name}.{axis}" if axis in inside else f"grid.{axis}" for axis in part}
            values = {fields[axis]: text_of((config_at(ours, path),)) for axis, path in paths.items()}
            yield ({"parts": name} if name else {}) | values


def one_cell(page: str, flags: Flags) -> Cell | None:
    """The cell that a page and flags make, if they make one."""
    made = grid(page, flags)
    return made[0] if len(made) == 1 else None


def grid(page: str, flags: Flags) -> list[Cell]:
    """The cells that a page and flags make; none of flags that it refuses."""
    config = pages()[page].copy_and_resolve_references()
    try:
        override(config, list(flags.items()))
        return list(cells(config))
    except ConfigError:
        return []


def changed(theirs: Config, ours: Config) -> Flags:
    """The fields in which a config differs from another, but for what is written and shown of a run."""
    before = dict(leaves(theirs))
    kept = ((path, value) for path, value in leaves(ours) if path.partition(".")[0] not in SHOWN)
    return {path: text_of(value) for path, value in kept if before.get(path) != value}


SHOWN = ("reports", "writers")


def command(page: str, flags: Flags, workdir: str) -> str:
    """A command line, quoted for a shell."""
    arguments = [f"--config={page}", *([f"--workdir=runs/{workdir}"] if workdir else [])]
    arguments += [f"--config.{path}={text}" for path, text in flags.items()]
    return shlex.join(["python", "-m", "experiments.run", *arguments])


def text_of(value: Any) -> str:
    """A value as ``--config.FIELD=`` takes it."""
    if isinstance(value, tuple):
        return ",".join(f"({text_of(part)})" if isinstance(part, tuple) else str(part) for part in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
