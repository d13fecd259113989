"""Parameters that live in an interval: the interval belongs to the parameter, and a projection follows every step."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from nalu_jax.types import Array, Params


class Bounded(struct.PyTreeNode, nn.meta.AxisMetadata):
    """A parameter and the interval [lower, upper] that it is projected onto after each step.

    Flax unboxes it where a module asks for the parameter; Optax maps over it as over any other tree. The forward pass
    does not clip: at a bound the gradient of ``jnp.clip`` is 1/2 and that of ``lax.clamp`` is 0, and a weight that has
    arrived there would be held back.
    """

    value: Array
    lower: float = struct.field(pytree_node=False)
    upper: float = struct.field(pytree_node=False)

    def unbox(self) -> Array:
        """The parameter without its interval, in its own shape."""
        return self.value

    def replace_boxed(self, val: Any) -> "Bounded":
        """Another value with the same interval."""
        return self.replace(value=val)

    def add_axis(self, index: int, params: dict[Any, Any]) -> "Bounded":
        """The interval does not depend on axes."""
        return self

    def remove_axis(self, index: int, params: dict[Any, Any]) -> "Bounded":
        """The interval does not depend on axes."""
        return self

    @classmethod
    def from_nnx_metadata(cls, metadata: dict[str, Any]) -> "Bounded":
        """The box, rebuilt from the metadata of an NNX variable."""
        return cls(metadata["value"], metadata["lower"], metadata["upper"])


def bounded(initializer: Callable[..., Array], lower: float, upper: float) -> Callable[..., Any]:
    """The initializer (key, shape, dtype) → array as one of parameters that live in [lower, upper].

    A module's ``self.param`` returns the bare array.
    """

    def init(*arguments) -> Bounded:
        return Bounded(initializer(*arguments), lower, upper)

    return init


def project(params: Params) -> Params:
    """Every bounded parameter moved to the nearest point of its interval, the others as they are: a tree → the same tree.

    To be called after each optimizer step: ``params = project(optax.apply_updates(params, updates))``. The optimizer's
    moments are not touched. Madsen & Johansen 2020 (arXiv 2001.05016), section 2.3.
    """

    def clip(leaf):
        return leaf.replace(value=jnp.clip(leaf.value, leaf.lower, leaf.upper)) if isinstance(leaf, Bounded) else leaf

    return jax.tree.map(clip, params, is_leaf=lambda leaf: isinstance(leaf, Bounded))
