"""The settings of a cell that a page may leave to its unit: its fields, and how it is trained."""

import dataclasses
from typing import Any

from ml_collections import ConfigDict

from nalu_jax.recipes import DEFAULT_RECIPE, NO_REINIT, Optimizer, Penalty

# A value of each field's type, by the path that a config or a command line gives it.
FIELDS: dict[str, Any] = {
    **{f"optimizer.{name}": value for name, value in dataclasses.asdict(Optimizer()).items()},
    **{f"reinit.{name}": value for name, value in dataclasses.asdict(NO_REINIT).items()},
}
PENALTY_FIELDS: dict[str, Any] = dataclasses.asdict(Penalty(0.0))
SECTIONS = ("optimizer", "penalties", "reinit")


def example(path: str) -> Any:
    """A value of the type that a path takes, or None if no recipe has such a path."""
    section, _, rest = path.partition(".")
    name, _, field = rest.rpartition(".")
    if section == "penalties" and name.isidentifier():
        return PENALTY_FIELDS.get(field)
    if section == "unit" and rest:
        return unit_field(rest)
    return FIELDS.get(path)


def unit_field(name: str) -> Any:
    """The default of a field that some unit has, or None; units are imported only now, since it takes a second."""
    from nalu_jax.networks.layers import unit_fields

    value = unit_fields().get(name)
    return None if callable(value) else value


def axis_path(axis: str) -> str | None:
    """The path that an axis of the grid sets: a field by its name, and ``NAME_weight`` the weight of the penalty NAME."""
    name, _, field = axis.rpartition("_")
    if name and field in PENALTY_FIELDS:
        return f"penalties.{name}.{field}"
    paths = [path for path in FIELDS if path.rsplit(".", 1)[-1] == axis]
    if not paths and unit_field(axis) is not None:
        return f"unit.{axis}"
    return paths[0] if paths else None


def completed(config: Any, unit: Any) -> ConfigDict:
    """The config of a cell with everything in it that the recipe of its unit says and it does not.

    Without a unit the recipe is that of all units.
    """
    facts = {"task": config.task.get("name")} | config.task.to_dict()
    recipe = DEFAULT_RECIPE if unit is None else unit.recipe(**facts)
    published = {
        "optimizer": dataclasses.asdict(recipe.optimizer),
        "penalties": {name: dataclasses.asdict(penalty) for name, penalty in recipe.penalties.items()},
        "reinit": dataclasses.asdict(recipe.reinit),
    }
    full = config.copy_and_resolve_references()
    for section, values in published.items():
        full[section] = merged(values, config[section].to_dict() if section in config else {})
    return full


def merged(under: dict[str, Any], over: dict[str, Any]) -> ConfigDict:
    """Both, section by section; what stands in ``over`` counts."""
    values = dict(under)
    for name, value in over.items():
        values[name] = merged(under.get(name, {}), value) if isinstance(value, dict) else value
    return ConfigDict(values)
