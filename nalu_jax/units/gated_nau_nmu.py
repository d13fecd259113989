"""The gated NAU/NMU: a NALU made of the two units that replace its cells."""

from typing import ClassVar

import flax.linen as nn

from nalu_jax import functional as F
from nalu_jax.bounded import bounded
from nalu_jax.initializers import glorot_uniform, nau_uniform, nmu_uniform
from nalu_jax.recipes import Penalty, Recipe
from nalu_jax.registry import UNITS
from nalu_jax.types import Array
from nalu_jax.units.base import Unit


@UNITS.register("gated_nau_nmu")
class GatedNAUNMU(Unit):
    """Gated NAU/NMU: y = g ⊙ (W₊ x) + (1 - g) ⊙ Π_i (Wₓ_i x_i + 1 - Wₓ_i), g = σ(G x).

    Both weights are projected and penalised as in their units; their penalties are added. Madsen & Johansen 2020 (arXiv
    2001.05016), appendix on the gate.
    """

    label: ClassVar[str] = "Gated NAU/NMU"
    operations: ClassVar[tuple[str, ...]] = ("add", "sub", "mul")
    recipes: ClassVar[tuple[Recipe, ...]] = (
        Recipe("Madsen & Johansen 2020", penalties={"sparsity": Penalty(10.0, 1_000_000, 2_000_000)}),
    )

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        shape = (x.shape[0], self.features)
        w_add = self.param("w_add", bounded(nau_uniform, -1.0, 1.0), shape, self.param_dtype)
        w_mul = self.param("w_mul", bounded(nmu_uniform, 0.0, 1.0), shape, self.param_dtype)
        g = self.param("g", glorot_uniform, shape, self.param_dtype)
        self.weight("W_add", w_add)
        self.weight("W_mul", w_mul)
        self.penalty("sparsity", F.nau_sparsity(w_add) + F.nmu_sparsity(w_mul))
        return F.gated_nau_nmu(*self.promote(x, w_add, w_mul, g))
