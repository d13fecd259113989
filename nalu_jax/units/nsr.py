"""The neural status register (NSR): comparisons."""

from typing import ClassVar

import flax.linen as nn
import jax

from nalu_jax import functional as F
from nalu_jax.initializers import glorot_normal, normal
from nalu_jax.recipes import Recipe
from nalu_jax.registry import UNITS
from nalu_jax.types import Array
from nalu_jax.units.base import Unit


@UNITS.register("nsr")
class NSR(Unit):
    """Neural status register: how far each of its comparisons of two inputs holds, between 0 and 1.

    s = σ(W± tanh(λ d) + W0 (1 - 2 tanh²(λ d)) + b), d the difference of two inputs that softmaxes pick; 1 - s is the
    complement, for the other branch. Its outputs are parallel comparisons, the paper's redundancy. The operand selectors
    start Glorot normal; the start of W± and W0 is not stated, N(0, 1) here, and b starts at 0. Faber & Wattenhofer 2020,
    arXiv 2004.07085.

    Attributes:
      scale: λ.
    """

    label: ClassVar[str] = "NSR"
    recipes: ClassVar[tuple[Recipe, ...]] = (Recipe("Faber & Wattenhofer 2020"),)

    scale: float = 1.0

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        shape = (x.shape[0], self.features)
        v_left = self.param("v_left", glorot_normal, shape, self.param_dtype)
        v_right = self.param("v_right", glorot_normal, shape, self.param_dtype)
        w_sign = self.param("w_sign", normal(0.0, 1.0), (self.features,), self.param_dtype)
        w_zero = self.param("w_zero", normal(0.0, 1.0), (self.features,), self.param_dtype)
        b = self.param("b", nn.initializers.zeros, (self.features,), self.param_dtype)
        self.weight("W_left", jax.nn.softmax(v_left, axis=0))
        self.weight("W_right", jax.nn.softmax(v_right, axis=0))
        return F.nsr(*self.promote(x, v_left, v_right, w_sign, w_zero, b), scale=self.scale)
