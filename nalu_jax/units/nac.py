"""The neural accumulator, adding (NAC) and multiplying (NAC•)."""

from typing import ClassVar

import flax.linen as nn

from nalu_jax import functional as F
from nalu_jax.initializers import Initializer, madsen_johansen
from nalu_jax.registry import UNITS
from nalu_jax.types import Array
from nalu_jax.units.base import Unit


@UNITS.register("nac")
class NAC(Unit):
    """Neural accumulator: a = W x with W = tanh(Ŵ) ⊙ σ(M̂), no bias.

    Trask et al. 2018, section 3.1. ``initializer`` draws Ŵ and M̂.
    """

    initializer: Initializer = madsen_johansen

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        w_hat, m_hat = nac_parameters(self, x.shape[0])
        return F.nac(x, w_hat, m_hat)


@UNITS.register("nac_mul")
class NACMul(Unit):
    """NAC in log space (NAC•): m = exp(W log(|x| + ε)) with W = tanh(Ŵ) ⊙ σ(M̂).

    Trask et al. 2018, section 3.2, as a unit of its own in Madsen & Johansen 2020. ``initializer`` draws Ŵ and M̂.
    """

    first_layer: ClassVar[str | None] = "nac"

    initializer: Initializer = madsen_johansen
    epsilon: float = 1e-7

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        w_hat, m_hat = nac_parameters(self, x.shape[0])
        return F.nac_mul(x, w_hat, m_hat, epsilon=self.epsilon)


def nac_parameters(unit: Unit, inputs: int, suffix: str = "") -> tuple[Array, Array]:
    """Creates Ŵ and M̂ ``[in, features]`` in the unit's scope, and declares tanh(Ŵ) ⊙ σ(M̂) as its weight."""
    shape = (inputs, unit.features)
    w_hat = unit.param("w_hat" + suffix, unit.initializer, shape, unit.param_dtype)
    m_hat = unit.param("m_hat" + suffix, unit.initializer, shape, unit.param_dtype)
    unit.weight("W" + suffix, F.nac_weight(w_hat, m_hat))
    return w_hat, m_hat
