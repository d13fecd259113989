"""The neural arithmetic logic unit and its variants of weights and gate."""

import functools

import flax.linen as nn

from nalu_jax import functional as F
from nalu_jax.initializers import Initializer, glorot_uniform, madsen_johansen
from nalu_jax.registry import UNITS
from nalu_jax.types import Array
from nalu_jax.units.base import Unit
from nalu_jax.units.nac import nac_parameters


@UNITS.register("nalu")
class NALU(Unit):
    """Neural arithmetic logic unit: y = g ⊙ (W x) + (1 - g) ⊙ exp(W log(|x| + ε)), g = σ(G x).

    Trask et al. 2018, section 3.2, where both cells share W = tanh(Ŵ) ⊙ σ(M̂) and the gate has no bias.

    Attributes:
      separate: the two cells have weights of their own (Madsen & Johansen 2020).
      gate_bias: g = σ(G x + bias), bias starting at 0 (an option of Madsen & Johansen's code).
      initializer: draws Ŵ and M̂. G is Glorot uniform.
      epsilon: ε of the logarithm.
    """

    separate: bool = False
    gate_bias: bool = False
    initializer: Initializer = madsen_johansen
    epsilon: float = 1e-7

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        g = self.param("g", glorot_uniform, (x.shape[0], self.features), self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), self.param_dtype) if self.gate_bias else None
        if self.separate:
            add = nac_parameters(self, x.shape[0], "_add")
            mul = nac_parameters(self, x.shape[0], "_mul")
            return F.nalu_separate(x, *add, *mul, g, bias, epsilon=self.epsilon)
        return F.nalu(x, *nac_parameters(self, x.shape[0]), g, bias, epsilon=self.epsilon)


UNITS.register("nalu_separate")(functools.partial(NALU, separate=True))
UNITS.register("nalu_bias")(functools.partial(NALU, gate_bias=True))
UNITS.register("nalu_separate_bias")(functools.partial(NALU, separate=True, gate_bias=True))
