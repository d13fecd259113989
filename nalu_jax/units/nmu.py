"""The neural multiplication unit (NMU), its ablations, and its stochastic form (sNMU)."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from nalu_jax import functional as F
from nalu_jax.bounded import bounded
from nalu_jax.initializers import Initializer, nmu_uniform, uniform
from nalu_jax.recipes import MISTRY_2022, Penalty, Recipe
from nalu_jax.registry import UNITS
from nalu_jax.types import Array
from nalu_jax.units.base import TRAINING, Unit


@UNITS.register("nmu")
class NMU(Unit):
    """Neural multiplication unit: y = Π_i (W_i x_i + 1 - W_i), W projected onto [0, 1] and drawn towards 0 and 1.

    Madsen & Johansen 2020 (arXiv 2001.05016), section 2.3.
    """

    label: ClassVar[str] = "NMU"
    operations: ClassVar[tuple[str, ...]] = ("mul",)
    recipes: ClassVar[tuple[Recipe, ...]] = (
        Recipe(MISTRY_2022, {"task": "single_unit", "input_size": 2}, penalties={"sparsity": Penalty(10.0, 20_000, 35_000)}),
        Recipe(MISTRY_2022, {"task": "single_unit"}, penalties={"sparsity": Penalty(10.0, 50_000, 75_000)}),
        Recipe("Madsen & Johansen 2020", {"task": "mnist_product"}, penalties={"sparsity": Penalty(10.0, 10_000, 100_000)}),
        Recipe("Madsen & Johansen 2020", penalties={"sparsity": Penalty(10.0, 1_000_000, 2_000_000)}),
    )
    first_layer: ClassVar[str | None] = "nau"
    kernel_init: ClassVar[Initializer] = staticmethod(bounded(nmu_uniform, 0.0, 1.0))

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        w = self.param("w", self.kernel_init, (x.shape[0], self.features), self.param_dtype)
        self.weight("W", w)
        self.penalty("sparsity", F.nmu_sparsity(w))
        x, w = self.promote(x, w)
        self.penalty("r_z", F.r_z_product(x, w))
        return self.multiply(x, w)

    def multiply(self, x: Array, w: Array) -> Array:
        """The product: [in, ...] → [features, ...]."""
        return F.nmu(x, w)


@UNITS.register("nmu_unregularised")
class NMUUnregularised(NMU):
    """NMU without its penalty. An ablation of Madsen & Johansen 2020, appendix."""

    label: ClassVar[str] = "NMU (no R_sparse)"
    recipes: ClassVar[tuple[Recipe, ...]] = (Recipe("Madsen & Johansen 2020"),)


@UNITS.register("nmu_unbounded")
class NMUUnbounded(NMU):
    """NMU without projection: W is free. An ablation of Madsen & Johansen 2020, appendix."""

    label: ClassVar[str] = "NMU (no clipping)"
    kernel_init: ClassVar[Initializer] = staticmethod(nmu_uniform)


@UNITS.register("nmu_unbounded_unregularised")
class NMUUnboundedUnregularised(NMUUnbounded):
    """NMU without projection and without penalty. An ablation of Madsen & Johansen 2020, appendix."""

    label: ClassVar[str] = "NMU (no clipping, no R_sparse)"
    recipes: ClassVar[tuple[Recipe, ...]] = (Recipe("Madsen & Johansen 2020"),)


@UNITS.register("nmu_sigma")
class NMUSigma(Unit):
    """NMU with W = σ(Ŵ) in the place of projection and penalty, Ŵ ~ U(±√3/2).

    "MNAC" in the code of Madsen & Johansen 2020.
    """

    label: ClassVar[str] = "NMU (σ)"
    operations: ClassVar[tuple[str, ...]] = ("mul",)
    first_layer: ClassVar[str | None] = "nau"

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        w_hat = self.param("w_hat", uniform(0.866), (x.shape[0], self.features), self.param_dtype)
        w = jax.nn.sigmoid(w_hat)
        self.weight("W", w)
        return F.nmu(*self.promote(x, w))


@UNITS.register("snmu")
class SNMU(NMU):
    """Stochastic NMU (sNMU): while training, each input of each example is multiplied by noise n ~ U(lowest, highest).

    y = Π (W n x + 1 - W) / Π (W n + 1 - W); evaluated without noise, as an NMU. Mistry, Farrahi & Hare 2022, arXiv
    2211.05624.
    """

    label: ClassVar[str] = "sNMU"

    lowest: float = 1.0
    highest: float = 5.0

    def __post_init__(self):
        if not 0 < self.lowest < self.highest:
            raise ValueError(f"the noise needs 0 < lowest < highest, got {self.lowest!r} and {self.highest!r}")
        super().__post_init__()

    def multiply(self, x: Array, w: Array) -> Array:
        """The product: [in, ...] → [features, ...]."""
        return F.snmu(x, w, self.noise(x)) if self.training else F.nmu(x, w)

    def noise(self, x: Array) -> Array:
        """n, for x [in, ...]: [in, ...]."""
        return jax.random.uniform(self.make_rng(TRAINING), x.shape, x.dtype, self.lowest, self.highest)


@UNITS.register("batch_snmu")
class BatchSNMU(SNMU):
    """sNMU with noise n ~ U(1, 1 + 1 / s), s the standard deviation of all numbers in the batch (batch-sNMU).

    Mistry, Farrahi & Hare 2022, arXiv 2211.05624. A training batch needs two different numbers at least.
    """

    label: ClassVar[str] = "batch-sNMU"

    def noise(self, x: Array) -> Array:
        """n, for x [in, ...]: [in, ...]."""
        deviation = jax.lax.stop_gradient(jnp.std(x, ddof=1))
        return 1 + jax.random.uniform(self.make_rng(TRAINING), x.shape, x.dtype) / deviation
