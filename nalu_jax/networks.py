"""How units combine into the networks of the papers."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from nalu_jax.registry import INITIALIZERS, NETWORKS, UNITS
from nalu_jax.units import Unit


@NETWORKS.register("two_layer")
def two_layer(unit: str, options: Mapping[str, Any], *, hidden_size: int) -> nn.Module:
    """The network of the static arithmetic task, on columns: n → hidden_size → 1.

    ``unit`` names the network: the unit stands in both layers unless it names a partner for one of them. So "nac_mul" is
    a NAC that adds, then a NAC• that multiplies, and "relu" a dense layer with the activation, then a linear one. Trask
    et al. 2018, section 4.1; Madsen & Johansen 2020, table of models.

    Raises ValueError for an unknown unit (with the known ones) or a hidden_size that is not a positive integer.
    """
    if not isinstance(hidden_size, int) or hidden_size < 1:
        raise ValueError(f"network.hidden_size must be a positive integer, got {hidden_size!r}")
    named = make_unit(unit, 1, options)
    return nn.Sequential(
        [
            make_unit(named.first_layer or unit, hidden_size, options),
            make_unit(named.last_layer or unit, 1, options),
        ]
    )


def make_unit(name: str, features: int, options: Mapping[str, Any]) -> Unit:
    """The unit ``name`` on columns, given those of ``options`` that it has as fields."""
    unit = UNITS[name](features, axis=0)
    fields = {field.name for field in dataclasses.fields(unit)}
    return unit.clone(**{option: value for option, value in options.items() if option in fields})


def unit_options(*, initializer: str, epsilon: float) -> dict[str, Any]:
    """The fields that a config may set for every unit that has them.

    Raises ValueError for an unknown initializer or an epsilon outside (0, 1).
    """
    if not 0 < epsilon < 1:
        raise ValueError(f"unit.epsilon must lie between 0 and 1, got {epsilon!r}")
    return {"initializer": INITIALIZERS[initializer], "epsilon": epsilon}
