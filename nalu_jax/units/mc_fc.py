"""The mass-conserving fully connected layer (MC-FC) and its multiplying forms."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from nalu_jax import functional as F
from nalu_jax.initializers import orthogonal
from nalu_jax.recipes import MISTRY_2022, Penalty, Recipe
from nalu_jax.registry import UNITS
from nalu_jax.types import Array
from nalu_jax.units.base import Unit

NEGATIVE_L2 = {"negative_l2": Penalty(10.0, 20_000, 35_000)}


@UNITS.register("mc_fc")
class MCFC(Unit):
    """Mass-conserving layer: y = σ(w + b) ⊙ (R x), R = softmax of r over the outputs.

    r and w start orthogonal and b at 0. With one output R is 1 and r has no gradient. The benchmark's penalty
    -mean(r²) - mean(w²) - mean(b²) drives them apart without limit. Hoedt et al. 2021, arXiv 2101.05186; trained as in the
    benchmark of Mistry, Farrahi & Hare.
    """

    label: ClassVar[str] = "MC-FC"
    operations: ClassVar[tuple[str, ...]] = ("add",)
    recipes: ClassVar[tuple[Recipe, ...]] = (Recipe(MISTRY_2022, penalties=NEGATIVE_L2),)

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        return F.mc_fc(*self.promote(x, *self.junction_and_gate(x.shape[0])))

    def junction_and_gate(self, inputs: int) -> tuple[Array, Array, Array]:
        """r [in, features], w and b [features], with R declared as the weight and minus their mean squares as a penalty."""
        r = self.param("r", orthogonal, (inputs, self.features), self.param_dtype)
        w = self.param("w", lambda *arguments: orthogonal(*arguments)[0], (1, self.features), self.param_dtype)
        b = self.param("b", nn.initializers.zeros, (self.features,), self.param_dtype)
        self.weight("W", jax.nn.softmax(r, axis=1))
        self.penalty("negative_l2", -jnp.mean(r**2) - jnp.mean(w**2) - jnp.mean(b**2))
        return r, w, b


@UNITS.register("mc_fc_mul")
class MCFCMul(MCFC):
    """Multiplying MC-FC: exp(MC-FC(log x) + bias), for positive inputs. Hoedt et al. 2021, arXiv 2101.05186."""

    label: ClassVar[str] = "MC-FC•"
    operations: ClassVar[tuple[str, ...]] = ("mul",)
    positive_inputs: ClassVar[bool] = True
    first_layer: ClassVar[str | None] = "mc_fc"

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        return F.mc_fc_mul(*self.promote(x, *self.junction_and_gate(x.shape[0]), self.bias()))

    def bias(self) -> Array:
        """The bias inside the exponential, [features], 0 at the start."""
        return self.param("bias", nn.initializers.zeros, (self.features,), self.param_dtype)


@UNITS.register("mc_fc_mul_sign_inalu")
class MCFCMulSignINALU(MCFCMul):
    """Multiplying MC-FC of magnitudes, with the sign of iNALU. Mistry, Farrahi & Hare, their benchmark."""

    label: ClassVar[str] = "MC-FC•, sign of iNALU"
    positive_inputs: ClassVar[bool] = False

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        return F.mc_fc_mul_sign_inalu(*self.promote(x, *self.junction_and_gate(x.shape[0]), self.bias()))


@UNITS.register("mc_fc_mul_sign_real_npu")
class MCFCMulSignRealNPU(MCFCMul):
    """Multiplying MC-FC of magnitudes, with the sign and gate of the RealNPU. Mistry, Farrahi & Hare, their benchmark."""

    label: ClassVar[str] = "MC-FC•, sign of RealNPU"
    recipes: ClassVar[tuple[Recipe, ...]] = (
        Recipe(MISTRY_2022, penalties=NEGATIVE_L2 | {"gate": Penalty(1.0, 20_000, 35_000)}),
    )
    positive_inputs: ClassVar[bool] = False

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        g = self.param("g", nn.initializers.constant(0.5), (x.shape[0],), self.param_dtype)
        self.penalty("gate", F.nmu_sparsity(g))
        return F.mc_fc_mul_sign_real_npu(*self.promote(x, *self.junction_and_gate(x.shape[0]), self.bias(), g))
