"""The neural addition unit (NAU)."""

from typing import ClassVar

import flax.linen as nn

from nalu_jax import functional as F
from nalu_jax.bounded import bounded
from nalu_jax.initializers import nau_uniform
from nalu_jax.recipes import MISTRY_2022, Penalty, Recipe
from nalu_jax.registry import UNITS
from nalu_jax.types import Array
from nalu_jax.units.base import Unit


@UNITS.register("nau")
class NAU(Unit):
    """Neural addition unit: a = W x, W projected onto [-1, 1] and drawn towards -1, 0 and 1 by a penalty.

    Madsen & Johansen 2020 (arXiv 2001.05016), section 2.2.
    """

    label: ClassVar[str] = "NAU"
    operations: ClassVar[tuple[str, ...]] = ("add", "sub")
    recipes: ClassVar[tuple[Recipe, ...]] = (
        Recipe(MISTRY_2022, {"task": "single_unit", "input_size": 2}, penalties={"sparsity": Penalty(0.01, 20_000, 35_000)}),
        Recipe(MISTRY_2022, {"task": "single_unit"}, penalties={"sparsity": Penalty(0.01, 50_000, 75_000)}),
        Recipe("Madsen & Johansen 2020", {"task": "mnist_sum"}, penalties={"sparsity": Penalty(10.0, 10_000, 100_000)}),
        Recipe("Madsen & Johansen 2020", penalties={"sparsity": Penalty(0.01, 5_000, 50_000)}),
    )

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        w = self.param("w", bounded(nau_uniform, -1.0, 1.0), (x.shape[0], self.features), self.param_dtype)
        self.weight("W", w)
        self.penalty("sparsity", F.nau_sparsity(w))
        x, w = self.promote(x, w)
        self.penalty("r_z", F.r_z_sum(x, w))
        return F.nau(x, w)
