"""What the command line shows without a run: pages, units, the version, the config of a page."""

import re

from ml_collections import ConfigDict
from rich.console import Console
from rich.table import Table

import nalu_jax
from experiments.settings.config import Config, axis_path, leaves
from experiments.settings.pages import shipped
from experiments.settings.recipe import SECTIONS


def show_pages(console: Console) -> None:
    """Prints the pages that are shipped, with their presets and times."""
    for page, said in shipped().items():
        presets = [f"    presets: {', '.join(said.presets)}"] if said.presets else []
        lines = [page, f"    {said.line}", *presets, *([f"    {said.time}"] if said.time else [])]
        console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


def show_version(console: Console) -> None:
    """Prints the version."""
    console.print(f"nalu_jax {nalu_jax.__version__}", highlight=False)


def show_units(console: Console) -> None:
    """Prints the units."""
    console.print(table_of_units())


def show_config(config: Config, console: Console) -> None:
    """Prints a config as flags, and what it leaves to the recipes of its units."""
    for path, value in leaves(config):
        console.print(f"--config.{path}={shown(value)}", highlight=False, markup=False, soft_wrap=True)
    for title, fields in left_to_recipes(config).items():
        told = " ".join(f"--config.{path}={shown(value)}" for path, value in fields)
        console.print(f"# {title}: {told}", highlight=False, markup=False, soft_wrap=True)


def table_of_units() -> Table:
    """A row a unit: its name, its paper name, the operations that it can compute, and its source."""
    from nalu_jax.registry import UNITS

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("name", "paper", "computes", "source"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "name")
    for name in UNITS:
        unit = UNITS[name](1)
        table.add_row(name, unit.label, " ".join(unit.operations), source_of(type(unit)))
    return table


def source_of(unit: type) -> str:
    """The first paper that a unit's docstring names, or that of the class that it is made from."""
    docstrings = (" ".join((cls.__doc__ or "").split()) for cls in unit.__mro__)
    found = (re.search(r"((?:[A-ZŠ][\w-]+(?:,| &| et al\.)? )+)(20\d\d)", text) for text in docstrings)
    return next((match.group() for match in found if match), "")


def left_to_recipes(config: Config) -> dict[str, list[tuple[str, object]]]:
    """What the page leaves to the recipes, by unit and operation: the fields with the values that the cells get.

    Fields that a recipe leaves as they are by default are left out.
    """
    from experiments.settings.grid import BY_VALUE, axes_of, cells
    from experiments.settings.recipe import example

    said = {path for path, _ in leaves(config)} | {axis_path(config, axis) for axis in axes_of(config)}
    always = ("optimizer.name", "optimizer.learning_rate")
    found: dict[str, list[tuple[str, object]]] = {}
    for cell in cells(config):
        title = " ".join(str(cell.axes[axis]) for axis in BY_VALUE if axis in cell.axes)
        fields = leaves(ConfigDict({name: cell.config[name] for name in SECTIONS}))
        telling = [(path, value) for path, value in fields if path in always or value != example(path)]
        found.setdefault(title, [(path, value) for path, value in telling if path not in said])
    return {title: fields for title, fields in found.items() if fields}


def shown(value: object) -> str:
    """A value as it is written on the command line."""
    if isinstance(value, tuple):
        return ",".join(f"({shown(part)})" if isinstance(part, tuple) else str(part) for part in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
