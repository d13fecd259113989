"""Linear layers with and without a bias, their weights free, squashed by a sigmoid or a tanh, or those of a NAC.

Trask et al. 2018, table 4, compares them as the last layer of a network that counts. Two of them are elsewhere: W x + b is
"linear", and the NAC itself, which has no bias, "nac".
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from nalu_jax import functional as F
from nalu_jax.initializers import Initializer, glorot_uniform
from nalu_jax.registry import UNITS
from nalu_jax.types import Array
from nalu_jax.units.activations import Linear
from nalu_jax.units.base import Unit
from nalu_jax.units.nac import NAC


@UNITS.register("linear_no_bias")
class LinearNoBias(Linear):
    """Linear map: y = W x, W Glorot uniform at the start. Trask et al. 2018, "Wx + 0" of table 4."""

    label: ClassVar[str] = "Linear, no bias"

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        return F.linear(*self.promote(x, self.matrix(x)))


@UNITS.register("tanh_linear")
class TanhLinear(Unit):
    """Linear map with weights in (-1, 1) and a bias: y = W x + b with W = tanh(Ŵ), b = 0 at the start.

    Trask et al. 2018, table 4, which does not say how Ŵ starts: here Glorot uniform. ``initializer`` draws Ŵ.
    """

    label: ClassVar[str] = "tanh(W) x + b"
    operations: ClassVar[tuple[str, ...]] = ("add", "sub")

    initializer: Initializer = glorot_uniform

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        return biased(self, self.squashed(x))

    def squashed(self, x: Array) -> Array:
        """W x, to be called inside a compact method: [in, ...] → [features, ...]."""
        w = self.squash(self.param("w_hat", self.initializer, (x.shape[0], self.features), self.param_dtype))
        self.weight("W", w)
        return F.linear(*self.promote(x, w))

    def squash(self, w_hat: Array) -> Array:
        """Ŵ → W, both [in, features]."""
        return jnp.tanh(w_hat)


@UNITS.register("tanh_linear_no_bias")
class TanhLinearNoBias(TanhLinear):
    """Linear map with weights in (-1, 1): y = W x with W = tanh(Ŵ). Trask et al. 2018, table 4."""

    label: ClassVar[str] = "tanh(W) x"

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        return self.squashed(x)


@UNITS.register("sigmoid_linear")
class SigmoidLinear(TanhLinear):
    """Linear map with weights in (0, 1) and a bias: y = W x + b with W = σ(Ŵ), which starts around 1/2.

    Trask et al. 2018, table 4.
    """

    label: ClassVar[str] = "σ(W) x + b"
    operations: ClassVar[tuple[str, ...]] = ("add",)

    def squash(self, w_hat: Array) -> Array:
        """Ŵ → W, both [in, features]."""
        return jax.nn.sigmoid(w_hat)


@UNITS.register("sigmoid_linear_no_bias")
class SigmoidLinearNoBias(SigmoidLinear):
    """Linear map with weights in (0, 1): y = W x with W = σ(Ŵ). Trask et al. 2018, table 4."""

    label: ClassVar[str] = "σ(W) x"

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        return self.squashed(x)


@UNITS.register("nac_bias")
class NACBias(NAC):
    """NAC with a bias: a = W x + b with W = tanh(Ŵ) ⊙ σ(M̂), b = 0 at the start.

    Of no paper: compared with the NAC, it separates the effect of the missing bias from that of the weights.
    """

    label: ClassVar[str] = "NAC + b"

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        return biased(self, super().columns(x))


def biased(unit: Unit, outputs: Array) -> Array:
    """Creates b ``[features]`` in the unit's scope, 0 at the start, and adds it: [features, ...] → [features, ...]."""
    b = unit.param("b", nn.initializers.zeros, (unit.features,), unit.param_dtype)
    return outputs + F.expand_like(b.astype(outputs.dtype), outputs)
