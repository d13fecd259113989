"""The grid of an experiment: a cell for each combination of the values of its axes."""

import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from experiments.config import axis_path, set_at
from experiments.faults import ConfigError
from experiments.recipe import completed
from nalu_jax.cells import unit_within
from nalu_jax.registry import UNITS, UnknownName
from nalu_jax.units import Unit


class Cell(NamedTuple):
    """One combination: its values by axis, the name of its folder, and its config.

    The config has no grid any more, and holds everything that the unit's recipe says.
    """

    axes: dict[str, object]
    name: str
    config: ConfigDict


def cells(config: ConfigDict) -> Iterator[Cell]:
    """The cells of a grid; its axes are unit, operation, then the others by name, and the last runs fastest.

    Where the page says ``able_only``, without those whose unit cannot compute their operation. ConfigError for an axis
    without values or with one value twice, for a unit that does not exist, and for a grid without cells.
    """
    axes = sorted(config.grid, key=lambda axis: {"unit": 0, "operation": 1}.get(axis, 2))
    for axis in axes:
        values = config.grid[axis]
        if not isinstance(values, tuple) or not values:
            raise ConfigError(f"config.grid.{axis} must be a list of values, got {values!r}")
        if len(set(values)) < len(values):
            raise ConfigError(f"config.grid.{axis} has a value twice: {', '.join(map(str, values))}")
    able_only, made = "able_only" in config and config.able_only, 0
    for combination in itertools.product(*(config.grid[axis] for axis in axes)):
        values = dict(zip(axes, combination, strict=True))
        cell = config.copy_and_resolve_references()
        for field in ("grid", "able_only"):
            if field in cell:
                del cell[field]
        for axis, value in values.items():
            set_at(cell, axis_path(config, axis), value)
        unit = unit_of(cell)
        if able_only and cell.task.operation not in unit.operations:
            continue
        made += 1
        yield Cell(values, cell_name(values), completed(cell, unit))
    if not made:
        raise ConfigError("config.able_only leaves no cell: no unit of the grid can compute any of its operations")


def unit_of(config: ConfigDict) -> Unit:
    """The unit that a cell is about; a recurrent cell is about the unit in it."""
    if "name" not in config.unit:
        raise ConfigError("config.unit.name is missing: give it, or a grid over unit")
    try:
        return UNITS[unit_within(config.unit.name)](1)
    except UnknownName as error:
        raise ConfigError(f"config.unit: {error}") from error


# Axes of numbers that keep all shapes: cells that differ in these alone train together, in one program.
NUMBERS = ("optimizer.learning_rate", "task.interpolation_range", "task.extrapolation_range", "penalties.")


def groups(config: ConfigDict, grid: list[Cell]) -> list[list[Cell]]:
    """The cells that train together, in the order of the grid."""
    together: dict[tuple, list[Cell]] = {}
    for cell in grid:
        kept = [
            np.shape(value) if axis_path(config, axis).startswith(NUMBERS) else value for axis, value in cell.axes.items()
        ]
        together.setdefault(tuple(kept), []).append(cell)
    return list(together.values())


def cell_name(axes: dict[str, object]) -> str:
    """The folder of a cell: the unit and the operation by their values, other axes by name and value."""
    parts = [str(value) if axis in ("unit", "operation") else f"{axis}={value}" for axis, value in axes.items()]
    return re.sub(r"[^A-Za-z0-9._=-]", "_", "-".join(parts))
