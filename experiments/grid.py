"""The grid of an experiment: a cell for each combination of the values of its axes."""

import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple

from ml_collections import ConfigDict

from experiments.config import axis_path, set_at
from experiments.faults import ConfigError


class Cell(NamedTuple):
    """One combination: its values by axis, the name of its folder, and its config, which has no grid any more."""

    axes: dict[str, object]
    name: str
    config: ConfigDict


def cells(config: ConfigDict) -> Iterator[Cell]:
    """The cells of a grid; its axes are unit, operation, then the others by name, and the last runs fastest.

    ConfigError for an axis without values or with one value twice.
    """
    axes = sorted(config.grid, key=lambda axis: {"unit": 0, "operation": 1}.get(axis, 2))
    for axis in axes:
        values = config.grid[axis]
        if not isinstance(values, tuple) or not values:
            raise ConfigError(f"config.grid.{axis} must be a list of values, got {values!r}")
        if len(set(values)) < len(values):
            raise ConfigError(f"config.grid.{axis} has a value twice: {', '.join(map(str, values))}")
    for combination in itertools.product(*(config.grid[axis] for axis in axes)):
        values = dict(zip(axes, combination, strict=True))
        cell = config.copy_and_resolve_references()
        del cell.grid
        for axis, value in values.items():
            set_at(cell, axis_path(config, axis), value)
        yield Cell(values, cell_name(values), cell)


def cell_name(axes: dict[str, object]) -> str:
    """The folder of a cell: the unit and the operation by their values, other axes by name and value."""
    parts = [str(value) if axis in ("unit", "operation") else f"{axis}={value}" for axis, value in axes.items()]
    return re.sub(r"[^A-Za-z0-9._=-]", "_", "-".join(parts))
