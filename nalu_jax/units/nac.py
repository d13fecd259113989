"""The neural accumulator, adding (NAC) and multiplying (NAC•), and NAC• with other weights."""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from nalu_jax import functional as F
from nalu_jax.bounded import bounded
from nalu_jax.initializers import Initializer, glorot_normal, madsen_johansen, nmu_uniform
from nalu_jax.recipes import Penalty, Recipe
from nalu_jax.registry import UNITS
from nalu_jax.types import Array
from nalu_jax.units.base import Unit


@UNITS.register("nac")
class NAC(Unit):
    """Neural accumulator: a = W x with W = tanh(Ŵ) ⊙ σ(M̂), no bias.

    Trask et al. 2018, section 3.1. ``initializer`` draws Ŵ and M̂.
    """

    label: ClassVar[str] = "NAC"
    operations: ClassVar[tuple[str, ...]] = ("add", "sub")

    initializer: Initializer = madsen_johansen

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        x, w_hat, m_hat = self.promote(x, *nac_parameters(self, x.shape[0]))
        self.penalty("r_z", F.r_z_sum(x, F.nac_weight(w_hat, m_hat)))
        return F.nac(x, w_hat, m_hat)


@UNITS.register("nac_mul")
class NACMul(Unit):
    """NAC in log space (NAC•): m = exp(W log(|x| + ε)) with W = tanh(Ŵ) ⊙ σ(M̂).

    Trask et al. 2018, section 3.2, as a unit of its own in Madsen & Johansen 2020. ``initializer`` draws Ŵ and M̂.
    """

    label: ClassVar[str] = "NAC•"
    operations: ClassVar[tuple[str, ...]] = ("mul", "div")
    first_layer: ClassVar[str | None] = "nac"

    initializer: Initializer = madsen_johansen
    epsilon: float = 1e-7

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        x, w_hat, m_hat = self.promote(x, *nac_parameters(self, x.shape[0]))
        return F.nac_mul(x, w_hat, m_hat, epsilon=self.epsilon)


@UNITS.register("nac_mul_sigma")
class NACMulSigma(Unit):
    """NAC• with weights in (0, 1) (NAC•,σ): exp(W log(|x| + ε)) with W = σ(Ŵ).

    Madsen & Johansen 2020, section 4.1; Ŵ is Glorot normal, as in their code, so that W starts near 1/2.
    """

    label: ClassVar[str] = "NAC•,σ"
    operations: ClassVar[tuple[str, ...]] = ("mul",)
    first_layer: ClassVar[str | None] = "nac"

    epsilon: float = 1e-7

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        w_hat = self.param("w_hat", glorot_normal, (x.shape[0], self.features), self.param_dtype)
        self.weight("W", nn.sigmoid(w_hat))
        return F.nac_mul_sigma(*self.promote(x, w_hat), epsilon=self.epsilon)


@UNITS.register("nac_mul_nmu")
class NACMulNMU(Unit):
    """NAC• with the weights of an NMU (NAC•,NMU): exp(W log(|x| + ε)), W projected onto [0, 1].

    Madsen & Johansen 2020, section 4.1. Their table of models puts a NAC before it, their code a NAU, as here.
    """

    label: ClassVar[str] = "NAC•,NMU"
    operations: ClassVar[tuple[str, ...]] = ("mul",)
    recipes: ClassVar[tuple[Recipe, ...]] = (
        Recipe("Madsen & Johansen 2020", {"task": "mnist_product"}, penalties={"sparsity": Penalty(10.0, 10_000, 100_000)}),
        Recipe("Madsen & Johansen 2020", penalties={"sparsity": Penalty(10.0, start=1_000_000, end=2_000_000)}),
    )
    first_layer: ClassVar[str | None] = "nau"

    epsilon: float = 1e-7

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        w = self.param("w", bounded(nmu_uniform, 0.0, 1.0), (x.shape[0], self.features), self.param_dtype)
        self.weight("W", w)
        self.penalty("sparsity", F.nmu_sparsity(w))
        x, w = self.promote(x, w)
        # Their code takes R_z of what the weights act on: logarithms, which it draws towards 1 too, and not towards 0.
        self.penalty("r_z", F.r_z_product(jnp.log(F.magnitude(x) + self.epsilon), w))
        return F.nac_mul_nmu(x, w, epsilon=self.epsilon)


def nac_parameters(unit: Unit, inputs: int, suffix: str = "") -> tuple[Array, Array]:
    """Creates Ŵ and M̂ ``[in, features]`` in the unit's scope, and declares tanh(Ŵ) ⊙ σ(M̂) as its weight."""
    shape = (inputs, unit.features)
    w_hat = unit.param("w_hat" + suffix, unit.initializer, shape, unit.param_dtype)
    m_hat = unit.param("m_hat" + suffix, unit.initializer, shape, unit.param_dtype)
    unit.weight("W" + suffix, F.nac_weight(w_hat, m_hat))
    return w_hat, m_hat
