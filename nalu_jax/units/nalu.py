"""The neural arithmetic logic unit and its variants of weights, gate and multiplication."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from nalu_jax import functional as F
from nalu_jax.initializers import Initializer, glorot_uniform, madsen_johansen
from nalu_jax.recipes import Penalty, Recipe
from nalu_jax.registry import UNITS
from nalu_jax.types import Array
from nalu_jax.units.base import TRAINING, Unit
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

    label: ClassVar[str] = "NALU"
    operations: ClassVar[tuple[str, ...]] = ("add", "sub", "mul", "div")

    separate: bool = False
    gate_bias: bool = False
    initializer: Initializer = madsen_johansen
    epsilon: float = 1e-7

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        parameters = self.cells(x.shape[0])
        g = self.gate(x)
        x, w_add, m_add, w_mul, m_mul = self.promote(x, *parameters)
        return g * F.nac(x, w_add, m_add) + (1 - g) * self.multiply(x, w_mul, m_mul)

    def cells(self, inputs: int) -> tuple[Array, Array, Array, Array]:
        """Ŵ and M̂ of the adding cell, then those of the multiplying one, each [in, features]."""
        if self.separate:
            return *nac_parameters(self, inputs, "_add"), *nac_parameters(self, inputs, "_mul")
        both = nac_parameters(self, inputs)
        return *both, *both

    def gate(self, x: Array) -> Array:
        """How much of each output is taken from the adding cell: [in, ...] → [features, ...]."""
        g = self.param("g", glorot_uniform, (x.shape[0], self.features), self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), self.param_dtype) if self.gate_bias else None
        return F.gate(*self.promote(x, g, bias))

    def multiply(self, x: Array, w_hat: Array, m_hat: Array) -> Array:
        """The multiplying cell: [in, ...] → [features, ...]."""
        return F.nac_mul(x, w_hat, m_hat, epsilon=self.epsilon)


@UNITS.register("nalu_separate")
class NALUSeparate(NALU):
    """NALU whose cells have weights of their own. Madsen & Johansen 2020, appendix on the gate."""

    label: ClassVar[str] = "NALU (separate)"

    separate: bool = True


@UNITS.register("nalu_bias")
class NALUBias(NALU):
    """NALU with a bias in its gate. An option of Madsen & Johansen's code."""

    label: ClassVar[str] = "NALU (gate bias)"

    gate_bias: bool = True


@UNITS.register("nalu_separate_bias")
class NALUSeparateBias(NALU):
    """NALU with both: cells of their own and a bias in the gate. Options of Madsen & Johansen's code."""

    label: ClassVar[str] = "NALU (separate, gate bias)"

    separate: bool = True
    gate_bias: bool = True


@UNITS.register("nalu_two_gates")
class NALUTwoGates(NALU):
    """NALU with a gate for each cell: y = g₊ ⊙ a + gₓ ⊙ m. An option of Madsen & Johansen's code."""

    label: ClassVar[str] = "NALU (two gates)"

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        parameters = self.cells(x.shape[0])
        g_mul = self.param("g_mul", glorot_uniform, (x.shape[0], self.features), self.param_dtype)
        g = self.gate(x)
        x, w_add, m_add, w_mul, m_mul, g_mul = self.promote(x, *parameters, g_mul)
        return g * F.nac(x, w_add, m_add) + F.gate(x, g_mul) * self.multiply(x, w_mul, m_mul)


@UNITS.register("nalu_gate_penalty")
class NALUGatePenalty(NALU):
    """NALU whose gate is drawn towards 0 and 1 by Σ g² (1 - g)². An option of Madsen & Johansen's code."""

    label: ClassVar[str] = "NALU (gate penalty)"
    recipes: ClassVar[tuple[Recipe, ...]] = (Recipe("Madsen & Johansen's code", penalties={"gate": Penalty(1.0)}),)

    def gate(self, x: Array) -> Array:
        """How much of each output is taken from the adding cell: [in, ...] → [features, ...]."""
        g = super().gate(x)
        self.penalty("gate", jnp.sum(jnp.square(g * (1 - g))))
        return g


@UNITS.register("nalu_gumbel")
class NALUGumbel(NALU):
    """NALU with Gumbel noise on the gate's logit while training, drawn anew for each example and output.

    An option of Madsen & Johansen's code, whose temperature stays at 1. Evaluated without noise.
    """

    label: ClassVar[str] = "NALU (Gumbel)"

    def gate(self, x: Array) -> Array:
        """How much of each output is taken from the adding cell: [in, ...] → [features, ...]."""
        g = self.param("g", glorot_uniform, (x.shape[0], self.features), self.param_dtype)
        logits = F.linear(*self.promote(x, g))
        if self.training:
            logits = logits + jax.random.gumbel(self.make_rng(TRAINING), logits.shape, logits.dtype)
        return jax.nn.sigmoid(logits)


@UNITS.register("nalu_safe")
class NALUSafe(NALU):
    """NALU that multiplies through log(|x - 1| + 1), which has no singularity at 0. An option of Madsen & Johansen's code.

    Its multiplying cell is exact for numbers above 1, where |x - 1| + 1 is x.
    """

    label: ClassVar[str] = "NALU (safe)"
    operations: ClassVar[tuple[str, ...]] = ("add", "sub")

    def multiply(self, x: Array, w_hat: Array, m_hat: Array) -> Array:
        """The multiplying cell: [in, ...] → [features, ...]."""
        return jnp.exp(F.linear(jnp.log(F.magnitude(x - 1) + 1), F.nac_weight(w_hat, m_hat)))


@UNITS.register("nalu_trig")
class NALUTrig(NALU):
    """NALU that multiplies through sinh(W asinh(x)), which keeps signs. An option of Madsen & Johansen's code.

    sinh and asinh replace exp and log: its products are exact only in the limit of large numbers.
    """

    label: ClassVar[str] = "NALU (sinh)"
    operations: ClassVar[tuple[str, ...]] = ("add", "sub")

    def multiply(self, x: Array, w_hat: Array, m_hat: Array) -> Array:
        """The multiplying cell: [in, ...] → [features, ...]."""
        return jnp.sinh(F.linear(jnp.arcsinh(x), F.nac_weight(w_hat, m_hat)))


@UNITS.register("gnalu")
class GNALU(NALU):
    """Golden-ratio NALU (G-NALU): a NALU whose exponentials have the base φ = (1 + √5) / 2 instead of e.

    "CalcNet", ICTAI 2019 (IEEE 8995315), as in the benchmark of Mistry, Farrahi & Hare.
    """

    label: ClassVar[str] = "G-NALU"

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        shape = (x.shape[0], self.features)
        w_hat = self.param("w_hat", self.initializer, shape, self.param_dtype)
        m_hat = self.param("m_hat", self.initializer, shape, self.param_dtype)
        g = self.param("g", glorot_uniform, shape, self.param_dtype)
        self.weight("W", F.gnalu_weight(w_hat, m_hat))
        return F.gnalu(*self.promote(x, w_hat, m_hat, g), epsilon=self.epsilon)
