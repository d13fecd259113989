"""The grid of an experiment: a cell for each combination of the values of its axes."""

import itertools
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from experiments.faults import ConfigError
from experiments.settings.config import Config, axis_path, set_at
from experiments.settings.recipe import completed
from experiments.settings.schema import conform
from nalu_jax.recipes import NUMBERS, UNSET
from nalu_jax.registry import TASKS, UNITS, UnknownName
from nalu_jax.units.base import Unit


class Cell(NamedTuple):
    """One combination: its values by axis, the name of its folder, and its config.

    The config has no grid any more, and holds everything that the unit's recipe says.
    """

    axes: dict[str, Any]
    name: str
    config: Config


LONGEST_NAME = 255  # bytes of the name of a folder, on the file systems of Linux and macOS

# Fields of a page that make its grid, and that no cell has.
OF_THE_GRID = ("grid", "parts", "skip_unsupported")


def cells(config: Config) -> Iterator[Cell]:
    """The cells of a grid, part after part; the last axis of a part runs fastest.

    Where the page says ``skip_unsupported``, without those whose unit cannot compute their operation. Raises ConfigError for
    an axis without values or with one value twice, for a unit that does not exist, for a cell whose name no folder can have,
    and for a grid without cells.
    """
    skip, made = config.get("skip_unsupported", False), 0
    paths = {axis: axis_path(config, axis) for axis in axes_of(config)}
    for part in products(config):
        for combination in itertools.product(*part.values()):
            values = dict(zip(part, combination, strict=True))
            cell = config.copy_and_resolve_references()
            for field in OF_THE_GRID:
                if field in cell:
                    del cell[field]
            for axis, value in values.items():
                set_at(cell, paths[axis], value)
            unit = unit_of(cell)
            if skip and unit is not None and cell.task.get("operation") not in unit.operations:
                continue
            made += 1
            full = completed(cell, unit)
            conform(full)
            if len(name := cell_name(values)) > LONGEST_NAME:
                raise ConfigError(f"config.grid: a cell's name may have {LONGEST_NAME} letters, sweep fewer axes: {name}")
            yield Cell(values, name, full)
    if not made:
        units = [(name, UNITS[name](1).operations) for name in config.grid.get("unit", ())]
        can = "; ".join(f"{name} computes {', '.join(operations) or 'none'}" for name, operations in units)
        raise ConfigError(f"config.skip_unsupported leaves no cell: no unit of the grid can compute its operations ({can})")


def axes_of(config: Config) -> list[str]:
    """All axes of a grid: unit, operation, then the others by name."""
    return sort_axes({axis for part in products(config) for axis in part})


def products(config: Config) -> list[dict[str, tuple]]:
    """The parts of a grid, each the axes of one product, in the order of ``config.parts``.

    A grid of axes alone is one part. In a grid of parts, an axis that stands beside them multiplies every one. Raises
    ConfigError for an axis without values or with one value twice, or that stands in a part and beside it, and for a part
    that does not exist.
    """
    beside = {name: values for name, values in config.grid.items() if not isinstance(values, ConfigDict)}
    parts = {name: dict(part.items()) for name, part in config.grid.items() if isinstance(part, ConfigDict)}
    for axis, values in beside.items():
        check_axis(f"config.grid.{axis}", values)
    for name, part in parts.items():
        for axis, values in part.items():
            check_axis(f"config.grid.{name}.{axis}", values)
            if axis in beside:
                raise ConfigError(f"config.grid.{axis}: the grid has parts with this axis: set config.grid.{name}.{axis}")
    chosen = config.get("parts", tuple(parts))
    for name in chosen:
        if name not in parts:
            raise ConfigError(f"config.parts: the grid has no part {name!r}; it has {', '.join(parts) or 'none'}")
    found: list[dict[str, Any]] = [parts[name] | beside for name in chosen] if parts else [beside]
    return [{axis: part[axis] for axis in sort_axes(part)} for part in found]


def sort_axes(axes: Any) -> list[str]:
    """Unit, operation, then the others by name."""
    return sorted(axes, key=lambda axis: ({"unit": 0, "operation": 1}.get(axis, 2), axis))


def check_axis(field: str, values: Any) -> None:
    """Raises ConfigError for an axis without values or with one value twice."""
    if not isinstance(values, tuple) or not values:
        raise ConfigError(f"{field} must be a list of values, got {values!r}")
    if len(set(values)) < len(values):
        raise ConfigError(f"{field} has a value twice: {', '.join(map(str, values))}")


def unit_of(config: Config) -> Unit | None:
    """The unit of a cell; None if its network is made of none. Raises ConfigError for an unknown one."""
    if "name" not in config.unit:
        return None
    try:
        return UNITS[config.unit.name](1)
    except UnknownName as error:
        raise ConfigError(f"config.unit: {error}") from error


def groups(config: Config, grid: list[Cell]) -> list[list[Cell]]:
    """The cells that train together, in the order of the grid: those that differ in nothing but numbers."""
    of_task = TASKS[config.task.name].numbers if config.task.get("name") in TASKS else ()
    of_optimizer = [f"optimizer.{field}" for field in NUMBERS]
    numbers = (*of_optimizer, "penalties.", *(f"task.{field}" for field in of_task))
    paths = {axis: axis_path(config, axis) for axis in axes_of(config)}

    def is_number(axis: str, value: Any) -> bool:
        return paths[axis].startswith(numbers) and not (paths[axis] in of_optimizer and value == UNSET.get(axis))

    together: dict[tuple, list[Cell]] = {}
    for cell in grid:
        kept = [(axis, np.shape(value) if is_number(axis, value) else value) for axis, value in cell.axes.items()]
        together.setdefault(tuple(kept), []).append(cell)
    return list(together.values())


BY_VALUE = ("unit", "operation", "cell")  # axes whose values speak for themselves


def cell_name(axes: dict[str, Any]) -> str:
    """The folder of a cell: the unit, the cell and the operation by their values, other axes by name and value.

    The one cell of a grid without axes is called "cell".
    """
    parts = [str(value) if axis in BY_VALUE else f"{axis}={value}" for axis, value in axes.items()]
    return re.sub(r"[^A-Za-z0-9._=-]", "_", "-".join(parts)) or "cell"
