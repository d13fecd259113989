"""Stacks of layers: the feed-forward networks of the papers.

A constructor here takes the name of the unit, the options of all units (``layers.make_unit``) and the number of outputs that
the task asks for; the rest are the fields of ``config.network``.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from nalu_jax.networks.layers import make_unit, outputs_of
from nalu_jax.networks.readers import make_reader
from nalu_jax.registry import NETWORKS
from nalu_jax.units.base import positive


@NETWORKS.register("two_layer")
def two_layer(
    unit: str,
    options: Mapping[str, Any],
    *,
    outputs: int,
    hidden_size: int,
    first_layer: str = "",
    last_layer: str = "",
) -> nn.Module:
    """The network of the static arithmetic task, on columns: [in, n] → [hidden_size, n] → [outputs, n].

    Both layers are the unit, unless it names a partner for one of them. So "nac_mul" is a NAC that adds, then a NAC• that
    multiplies, "nmu" a NAU, then an NMU, and "relu" a dense layer with the activation, then a linear one. Trask et al. 2018,
    section 4.1; Madsen & Johansen 2020, table of models.

    Args:
      unit: the unit that the network is named after.
      options: options of all units (``layers.make_unit``).
      outputs: numbers of an answer.
      hidden_size: outputs of the first layer.
      first_layer: another unit for the first layer, as in Madsen & Johansen's study of the gate, a NAC before the NALU.
      last_layer: another unit for the last layer.

    Raises ValueError for an unknown unit (with the known ones) or a hidden_size that is not a positive integer.
    """
    hidden_size = positive("hidden_size", hidden_size)
    named = make_unit(unit, outputs, options)
    return nn.Sequential(
        (
            make_unit(first_layer or named.first_layer or unit, hidden_size, options),
            make_unit(last_layer or named.last_layer or unit, outputs, options),
        )
    )


@NETWORKS.register("mlp")
def mlp(unit: str, options: Mapping[str, Any], *, outputs: int, hidden_size: int, hidden_layers: int) -> nn.Module:
    """A deep network of one unit, on columns: [in, n] → [hidden_size, n] → … → [outputs, n].

    The last layer is the unit's partner where it has one: behind dense layers with an activation a linear one. Trask et al.
    2018, section 1.1, has three hidden layers of eight.

    Args:
      unit: the unit of all layers.
      options: options of all units (``layers.make_unit``).
      outputs: numbers of an answer.
      hidden_size: outputs of each hidden layer.
      hidden_layers: their number.

    Raises ValueError for an unknown unit or a size that is not a positive integer.
    """
    hidden_size, hidden_layers = positive("hidden_size", hidden_size), positive("hidden_layers", hidden_layers)
    last = make_unit(unit, outputs, options).last_layer or unit
    layers = [make_unit(unit, hidden_size, options) for _ in range(hidden_layers)]
    return nn.Sequential((*layers, make_unit(last, outputs, options)))


@NETWORKS.register("single")
def single(unit: str, options: Mapping[str, Any], *, outputs: int) -> nn.Module:
    """One unit and nothing else, on columns: [in, n] → [outputs, n]. The "single module" of Mistry, Farrahi & Hare 2022.

    Raises ValueError for an unknown unit (with the known ones) and for one that makes two outputs of a feature.
    """
    made = make_unit(unit, outputs, options)
    if (found := outputs_of(made)) != outputs:
        raise ValueError(f"a network of a single unit needs one with {outputs} outputs, got {unit!r} with {found}")
    return nn.Sequential((made,))


@NETWORKS.register("image_classifier")
def image_classifier(unit: str, options: Mapping[str, Any], *, outputs: int, reader: Mapping[str, Any]) -> nn.Module:
    """A network that reads images and has the unit as its last layer: images [h, w, n] → logits [outputs, n].

    ``reader`` is the name of one of ``nalu_jax.networks.trunks`` and those of its fields that are to differ; the unit
    replaces its last dense layer. Trask et al. 2018, section 4.6.

    Raises ValueError for an unknown unit or reader, and unless the unit makes ``outputs`` outputs of as many features.
    """
    last = make_unit(unit, outputs, options)
    if (made := outputs_of(last)) != outputs:
        raise ValueError(f"an image classifier needs a unit with {outputs} outputs, got {unit!r} with {made}")
    return nn.Sequential((make_reader(reader, features=0), last))
