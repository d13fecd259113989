"""The domain mixed unit (DMU)."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from nalu_jax import functional as F
from nalu_jax.initializers import glorot_uniform
from nalu_jax.recipes import Recipe
from nalu_jax.registry import UNITS
from nalu_jax.types import Array
from nalu_jax.units.base import Unit


@UNITS.register("dmu")
class DMU(Unit):
    """Domain mixed unit: O x or exp(O log|x|) with fixed signs O = (1, 1), and a learned gate between the two domains.

    As in its published benchmark the signs of the operands are given and only the domain is learned; compare it with other
    units accordingly. The gate is a linear head with bias on the layer-normalised inputs (our reading of the code's
    description), and is rounded in evaluation. Curry 2025, arXiv 2509.08180.

    Attributes:
      signs: O for the first inputs; the others count 0.
    """

    label: ClassVar[str] = "DMU"
    operations: ClassVar[tuple[str, ...]] = ("add", "mul")
    recipes: ClassVar[tuple[Recipe, ...]] = (Recipe("Curry 2025"),)

    signs: tuple[float, ...] = (1.0, 1.0)

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        shape = (x.shape[0], self.features)
        head = self.param("w", glorot_uniform, shape, self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), self.param_dtype)
        x, head, bias = self.promote(x, head, bias)
        signs = jnp.asarray((self.signs + (0.0,) * x.shape[0])[: x.shape[0]], x.dtype)
        o = jnp.broadcast_to(signs[:, None], shape)
        normalised = jax.nn.standardize(x, axis=0, epsilon=1e-5)
        g = F.gate(normalised, head, bias)
        self.weight("W", o)
        return F.dmu(x, o, g if self.training else jnp.round(g))


@UNITS.register("dmu_difference")
class DMUDifference(DMU):
    """DMU with the signs O = (1, -1): it subtracts or divides. Curry 2025, arXiv 2509.08180."""

    label: ClassVar[str] = "DMU (−, ÷)"
    operations: ClassVar[tuple[str, ...]] = ("sub", "div")

    signs: tuple[float, ...] = (1.0, -1.0)
