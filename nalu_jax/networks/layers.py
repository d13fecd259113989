"""Units as the layers of networks, from names and plain values."""

import dataclasses
import functools
from collections import ChainMap
from collections.abc import Callable, Hashable, Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp

from nalu_jax.registry import INITIALIZERS, UNITS, nearest
from nalu_jax.units.base import Unit


def make_unit(name: str, features: int, options: Mapping[str, Any]) -> Unit:
    """The unit ``name`` on columns, [in, ...] → [features, ...], with those of ``options`` that it has as fields.

    Raises ValueError for an empty or unknown name (with the known ones) or a value that the unit refuses.
    """
    if not name:
        raise ValueError("name is missing: this network is made of units; give it, or a grid over unit")
    unit = UNITS[name](features, axis=0)
    return unit.clone(**{option: value for option, value in options.items() if option in fields_of(unit)})


def unit_of(section: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name of a unit, "" if there is none, and the options of all units, from the plain values of a config's section.

    Raises ValueError as ``make_unit`` and ``unit_options`` do.
    """
    fields = dict(section)
    name = fields.pop("name", "")
    options = unit_options(**fields)
    if name:
        make_unit(name, 1, options)
    return name, options


def unit_options(**options: Any) -> dict[str, Any]:
    """The options of all units, by field, from plain values; ``initializer`` is a name.

    Raises ValueError for a field that no unit has, an unknown initializer or an epsilon outside (0, 1).
    """
    known = unit_fields()
    for name in options:
        if name not in known:
            raise ValueError(f"no unit has a field {name!r}{nearest(name, known)}")
    if "epsilon" in options and not 0 < options["epsilon"] < 1:
        raise ValueError(f"unit.epsilon must lie between 0 and 1, got {options['epsilon']!r}")
    if "initializer" in options:
        options["initializer"] = INITIALIZERS[options["initializer"]]
    return {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}


def outputs_of(unit: Unit) -> int:
    """Number of a unit's outputs: its features, or twice as many."""
    return traced_outputs(cast(Hashable, unit))  # as a Flax module is, although not by its type


@functools.lru_cache(1024)  # a grid of a thousand cells asks as often, of few units
def traced_outputs(unit: Any) -> int:
    """The same, by shapes alone."""
    outputs, _ = jax.eval_shape(unit.init_with_output, jax.random.key(0), jax.ShapeDtypeStruct((2, 1), jnp.float32))
    return outputs.shape[0]


def fields_of(unit: Unit) -> dict[str, Any]:
    """The fields of a unit that not all units have, with their values."""
    common = {field.name for field in dataclasses.fields(Unit)}
    return {field.name: getattr(unit, field.name) for field in dataclasses.fields(unit) if field.name not in common}


def unit_fields() -> Mapping[str, Any]:
    """The fields of all registered units, each with its default in the first unit that has it."""
    return fields_of_any(tuple(UNITS.values()))


@functools.cache  # as often, too
def fields_of_any(constructors: tuple[Callable[..., Unit], ...]) -> Mapping[str, Any]:
    """The fields of units, each with its default in the first that has it."""
    return dict(ChainMap(*(fields_of(constructor(1)) for constructor in constructors)))
