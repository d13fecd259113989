"""What every unit is: a Linen module that maps a vector to a vector and declares its effective weights."""

from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp

from nalu_jax.types import Array


class Unit(nn.Module):
    """A layer from ``[..., in]`` to ``[..., features]`` that can stand wherever ``nn.Dense(features)`` does.

    A subclass defines ``columns``, its formula on columns ``[in, ...]``, and declares there each weight matrix that acts
    on the input by ``self.weight(name, value)``.

    Attributes:
      features: number of outputs.
      axis: the axis of the input that holds the features; 0 spares the training programs two transpositions a layer.
      param_dtype: type of the parameters.

    Raises ValueError if features is not a positive integer.
    """

    # The unit's partner in the two-layer networks of the papers that are named after it; None: the unit itself.
    first_layer: ClassVar[str | None] = None
    last_layer: ClassVar[str | None] = None

    features: int
    axis: int = -1
    param_dtype: Any = jnp.float32

    def __post_init__(self):
        if not isinstance(self.features, int) or self.features < 1:
            raise ValueError(f"features must be a positive integer, got {self.features!r}")
        super().__post_init__()

    def columns(self, x: Array) -> Array:
        """The unit's formula: [in, ...] → [features, ...]."""
        raise NotImplementedError

    def __call__(self, x: Array) -> Array:
        """Applies the unit along ``axis``."""
        return jnp.moveaxis(self.columns(jnp.moveaxis(x, self.axis, 0)), 0, self.axis)

    def weight(self, name: str, value: Array) -> None:
        """Declares an effective weight matrix ``[in, out]``, kept in the collection "weights".

        Sparsity errors and pictures of weights are computed from this collection alone. It costs nothing unless a caller
        asks for it with ``mutable=["weights"]``. The name, "W" and what follows it, must not be that of a parameter: in NNX
        both share one namespace.
        """
        self.sow("weights", name, value, reduce_fn=lambda _, new: new, init_fn=lambda: value)
