"""The neural multiplicative reciprocal unit (NMRU)."""

from typing import ClassVar

import flax.linen as nn

from nalu_jax import functional as F
from nalu_jax.bounded import bounded
from nalu_jax.initializers import nmu_uniform
from nalu_jax.recipes import DIVISION_2022, Optimizer, Penalty, Recipe
from nalu_jax.registry import UNITS
from nalu_jax.types import Array
from nalu_jax.units.base import Unit

CLIPPED = Optimizer(learning_rate=1e-2, clip_norm=1.0)


@UNITS.register("nmru")
class NMRU(Unit):
    """Neural multiplicative reciprocal unit: an NMU of the magnitudes of [x; 1/x], times the sign cos(π Σ W [z < 0]).

    W is projected onto [0, 1] and drawn towards 0 and 1. Mistry, Farrahi & Hare 2022, arXiv 2110.05177.

    Attributes:
      sign: retrieve the sign apart from the magnitude; without it the product is that of the signed numbers.
    """

    label: ClassVar[str] = "NMRU"
    operations: ClassVar[tuple[str, ...]] = ("mul", "div")
    recipes: ClassVar[tuple[Recipe, ...]] = (
        Recipe(
            DIVISION_2022,
            {"task": "single_unit", "input_size": 2},
            CLIPPED,
            {"sparsity": Penalty(10.0, 20_000, 35_000)},
        ),
        Recipe(DIVISION_2022, {}, CLIPPED, {"sparsity": Penalty(10.0, 50_000, 75_000)}),
    )
    first_layer: ClassVar[str | None] = "nau"

    sign: bool = True

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        inputs = x.shape[0]
        w = self.param("w", bounded(nmu_uniform, 0.0, 1.0), (2 * inputs, self.features), self.param_dtype)
        self.weight("W", w[:inputs])
        self.weight("W_reciprocal", w[inputs:])
        self.penalty("sparsity", F.nmu_sparsity(w))
        return F.nmru(*self.promote(x, w), training=self.training, sign=self.sign)


@UNITS.register("nmru_without_sign")
class NMRUWithoutSign(NMRU):
    """NMRU without sign retrieval. An ablation of Mistry, Farrahi & Hare 2022, arXiv 2110.05177."""

    label: ClassVar[str] = "NMRU (no sign)"

    sign: bool = False
