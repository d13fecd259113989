"""The neural reciprocal unit (NRU)."""

from typing import ClassVar

import flax.linen as nn

from nalu_jax import functional as F
from nalu_jax.bounded import bounded
from nalu_jax.initializers import nau_uniform
from nalu_jax.recipes import DIVISION_2022, Optimizer, Penalty, Recipe
from nalu_jax.registry import UNITS
from nalu_jax.types import Array
from nalu_jax.units.base import Unit


@UNITS.register("nru")
class NRU(Unit):
    """Neural reciprocal unit: y = Π_i (sign(x_i) |x_i|^W_i |W_i| + 1 - |W_i|), W projected onto [-1, 1].

    While training, |W| outside the power is tanh²(1000 W). W starts as that of a NAU and is drawn towards -1, 0 and 1.
    Mistry, Farrahi & Hare 2022, arXiv 2110.05177.
    """

    label: ClassVar[str] = "NRU"
    operations: ClassVar[tuple[str, ...]] = ("mul", "div")
    recipes: ClassVar[tuple[Recipe, ...]] = (
        Recipe(
            DIVISION_2022,
            {"task": "single_unit", "input_size": 2},
            Optimizer(learning_rate=1.0),
            {"sparsity": Penalty(10.0, 20_000, 35_000)},
        ),
        Recipe(DIVISION_2022, penalties={"sparsity": Penalty(10.0, 50_000, 75_000)}),
    )
    first_layer: ClassVar[str | None] = "nau"

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        w = self.param("w", bounded(nau_uniform, -1.0, 1.0), (x.shape[0], self.features), self.param_dtype)
        self.weight("W", w)
        self.penalty("sparsity", F.nau_sparsity(w))
        return F.nru(*self.promote(x, w), training=self.training)
