"""How units combine into the networks of the papers."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from nalu_jax.registry import INITIALIZERS, NETWORKS, TRUNKS, UNITS, nearest
from nalu_jax.units import Unit


@NETWORKS.register("two_layer")
def two_layer(
    unit: str, options: Mapping[str, Any], *, hidden_size: int, first_layer: str = "", last_layer: str = ""
) -> nn.Module:
    """The network of the static arithmetic task, on columns: n → hidden_size → 1.

    ``unit`` names the network: the unit stands in both layers unless it names a partner for one of them. So "nac_mul" is
    a NAC that adds, then a NAC• that multiplies, "nmu" a NAU, then an NMU, and "relu" a dense layer with the activation,
    then a linear one. Trask et al. 2018, section 4.1; Madsen & Johansen 2020, table of models. ``first_layer`` and
    ``last_layer`` name another unit for a layer, as in their study of the gate, where a NAC stands before the NALU.

    Raises ValueError for an unknown unit (with the known ones) or a hidden_size that is not a positive integer.
    """
    if not isinstance(hidden_size, int) or hidden_size < 1:
        raise ValueError(f"network.hidden_size must be a positive integer, got {hidden_size!r}")
    named = make_unit(unit, 1, options)
    return nn.Sequential(
        [
            make_unit(first_layer or named.first_layer or unit, hidden_size, options),
            make_unit(last_layer or named.last_layer or unit, 1, options),
        ]
    )


@NETWORKS.register("single")
def single(unit: str, options: Mapping[str, Any]) -> nn.Module:
    """One unit and nothing else, on columns: n → 1. The "single module" of Mistry, Farrahi & Hare 2022.

    Raises ValueError for an unknown unit (with the known ones) and for one that makes two outputs of a feature.
    """
    made = make_unit(unit, 1, options)
    if (outputs := outputs_of(made)) != 1:
        raise ValueError(f"a network of a single unit needs one with one output, got {unit!r} with {outputs}")
    return nn.Sequential([made])


@NETWORKS.register("image_classifier")
def image_classifier(unit: str, options: Mapping[str, Any], *, trunk: Mapping[str, Any], outputs: int) -> nn.Module:
    """A network that reads images and has the unit as its last layer: images [h, w, n] → logits [outputs, n].

    ``trunk`` is the name of one of ``nalu_jax.trunks`` and those of its fields that are to differ; the unit stands in the
    place of its last dense layer. Trask et al. 2018, section 4.6.

    Raises ValueError for an unknown unit or trunk, and unless the unit makes ``outputs`` outputs of as many features.
    """
    if not isinstance(outputs, int) or outputs < 1:
        raise ValueError(f"outputs must be a positive integer, got {outputs!r}")
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in trunk.items()}
    last = make_unit(unit, outputs, options)
    if (made := outputs_of(last)) != outputs:
        raise ValueError(f"an image classifier needs a unit with an output for each class, got {unit!r} with {made}")
    reader = TRUNKS[str(fields.pop("name"))](features=0)
    return nn.Sequential([reader.clone(**fields), last])


def outputs_of(unit: Unit) -> int:
    """How many outputs a unit has: its features, or twice as many."""
    outputs, _ = jax.eval_shape(unit.init_with_output, jax.random.key(0), jax.ShapeDtypeStruct((2, 1), jnp.float32))
    return outputs.shape[0]


def make_unit(name: str, features: int, options: Mapping[str, Any]) -> Unit:
    """The unit ``name`` on columns, given those of ``options`` that it has as fields.

    Raises ValueError for an unknown unit (with the known ones) or a value that the unit refuses.
    """
    unit = UNITS[name](features, axis=0)
    return unit.clone(**{option: value for option, value in options.items() if option in fields_of(unit)})


def unit_options(**options: Any) -> dict[str, Any]:
    """The fields that are set for every unit that has them, from plain values; ``initializer`` is a name.

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


def fields_of(unit: Unit) -> dict[str, Any]:
    """What may be set of a unit besides the fields that all units have, with the values that it has."""
    common = {field.name for field in dataclasses.fields(Unit)}
    return {field.name: getattr(unit, field.name) for field in dataclasses.fields(unit) if field.name not in common}


def unit_fields() -> dict[str, Any]:
    """The fields of all registered units, each with the value that the first unit which has it gives it."""
    found: dict[str, Any] = {}
    for constructor in UNITS.values():
        found = fields_of(constructor(1)) | found
    return found
