"""The dense baselines of the papers: a linear map with bias, then one of the activations they compare with."""

import functools
import math
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from nalu_jax import functional as F
from nalu_jax.initializers import Initializer, scaled_uniform, torch_default
from nalu_jax.registry import UNITS
from nalu_jax.types import Array
from nalu_jax.units.base import Unit


class ActivationSpec(NamedTuple):
    """An activation, what papers call it, and the initialisation of its layer's weights."""

    label: str
    function: Callable[[Array], Array]
    kernel_init: Initializer


def threshold(x: Array) -> Array:
    """x where x > 1, else 1, elementwise: θ = v = 1 come nearest to the row "Threshold" of the 2018 paper's table 5."""
    return jnp.where(x > 1, x, 1.0)


HE = scaled_uniform(math.sqrt(2), "fan_in")
GLOROT = scaled_uniform(1.0, "fan_avg")
GLOROT_TANH = scaled_uniform(5 / 3, "fan_avg")

# The activations of figure 1, table 5 and table 6 of Trask et al. 2018, with PyTorch's default constants, which the names
# in table 5 point to. The papers give an initialisation for the first eight only (Madsen & Johansen's code: gains for
# Tanh, Sigmoid, Softsign and SELU, He for the rest); the others take that of their nearest kin.
ACTIVATIONS: dict[str, ActivationSpec] = {
    "relu": ActivationSpec("ReLU", jax.nn.relu, HE),
    "relu6": ActivationSpec("ReLU6", jax.nn.relu6, HE),
    "elu": ActivationSpec("ELU", jax.nn.elu, HE),
    "tanh": ActivationSpec("Tanh", jnp.tanh, GLOROT_TANH),
    "sigmoid": ActivationSpec("Sigmoid", jax.nn.sigmoid, GLOROT),
    "softsign": ActivationSpec("Softsign", jax.nn.soft_sign, GLOROT),
    "selu": ActivationSpec("SELU", jax.nn.selu, scaled_uniform(1.0, "fan_in")),
    "crelu": ActivationSpec("CReLU", lambda x: jnp.concatenate([jax.nn.relu(x), jax.nn.relu(-x)]), HE),
    "leaky_relu": ActivationSpec("LeakyReLU", jax.nn.leaky_relu, HE),
    "hardtanh": ActivationSpec("Hardtanh", jax.nn.hard_tanh, GLOROT_TANH),
    "tanhshrink": ActivationSpec("Tanhshrink", lambda x: x - jnp.tanh(x), GLOROT),
    "softshrink": ActivationSpec("Softshrink", lambda x: jnp.sign(x) * jax.nn.relu(jnp.abs(x) - 0.5), GLOROT),
    "hardshrink": ActivationSpec("Hardshrink", lambda x: jnp.where(jnp.abs(x) > 0.5, x, 0.0), GLOROT),
    "softplus": ActivationSpec("Softplus", jax.nn.softplus, HE),
    "threshold": ActivationSpec("Threshold", threshold, HE),
}


@UNITS.register("linear")
class Linear(Unit):
    """Linear map with bias: y = W x + b, W Glorot uniform and b = 0 at the start.

    A baseline of Trask et al. 2018 and of the papers since, "Linear" or "None" in their tables.

    Attributes:
      kernel_init: draws W.
      start: "published", or "torch" for W, b ~ U(-1 / √in, 1 / √in), as PyTorch's dense layers start.

    Raises ValueError for another start.
    """

    label: ClassVar[str] = "Linear"

    kernel_init: Initializer = GLOROT
    start: str = "published"

    def __post_init__(self):
        if self.start not in ("published", "torch"):
            raise ValueError(f"start must be published or torch, got {self.start!r}")
        super().__post_init__()

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        return self.affine(x)

    def matrix(self, x: Array) -> Array:
        """Creates W for x [in, ...], to be called inside a compact method, and declares it: [in, features]."""
        init = self.kernel_init if self.start == "published" else torch_default(x.shape[0])
        w = self.param("w", init, (x.shape[0], self.features), self.param_dtype)
        self.weight("W", w)
        return w

    def affine(self, x: Array) -> Array:
        """W x + b, to be called inside a compact method: [in, ...] → [features, ...]."""
        w = self.matrix(x)
        init = nn.initializers.zeros if self.start == "published" else torch_default(x.shape[0])
        b = self.param("b", init, (self.features,), self.param_dtype)
        x, w, b = self.promote(x, w, b)
        return F.linear(x, w) + F.expand_like(b, x)


class Activation(Linear):
    """Dense layer with an activation: y = f(W x + b).

    ``activation`` is a key of ACTIVATIONS. "crelu" returns relu(z) above relu(-z), so twice ``features`` outputs.
    """

    last_layer: ClassVar[str | None] = "linear"

    activation: str = "relu"

    @property
    def label(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What papers call the activation."""
        return ACTIVATIONS[self.activation].label

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        return ACTIVATIONS[self.activation].function(self.affine(x))


for _name, _spec in ACTIVATIONS.items():
    UNITS.register(_name)(functools.partial(Activation, activation=_name, kernel_init=_spec.kernel_init))


@UNITS.register("prelu")
class PReLU(Linear):
    """Dense layer with a learned slope: y = max(0, z) + α min(0, z), z = W x + b, one α a layer, 0.25 at the start.

    He et al. 2015; a row of table 5 of Trask et al. 2018.
    """

    label: ClassVar[str] = "PReLU"
    last_layer: ClassVar[str | None] = "linear"

    kernel_init: Initializer = HE

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        alpha = self.param("alpha", nn.initializers.constant(0.25), (), self.param_dtype)
        z = self.affine(x)
        return jnp.maximum(z, 0) + alpha.astype(z.dtype) * jnp.minimum(z, 0)
