"""The published initialisations, each with its source.

An initializer is a function (key, shape, dtype) → array of that shape and type, as in Flax; the shape of weights is [in,
out].
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import scipy

from nalu_jax.registry import INITIALIZERS
from nalu_jax.types import Array

Initializer = Callable[..., Array]


def uniform(radius: float) -> Initializer:
    """An initializer: U(-radius, radius), for any shape."""

    def init(key: Array, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -radius, radius)

    return init


@INITIALIZERS.register("glorot_uniform")
def glorot_uniform(key: Array, shape: tuple[int, int], dtype=jnp.float32) -> Array:
    """U(-r, r) with r = √(6 / (in + out)), for Ŵ, M̂ and G alike: key → [in, out].

    Glorot & Bengio 2010; the 2018 paper states no initialisation, and most of its reimplementations take this one.
    """
    return uniform(math.sqrt(6 / sum(shape)))(key, shape, dtype)


@functools.cache
def nac_radius(inputs: int, outputs: int) -> float:
    """Radius r for which Ŵ, M̂ ~ U(-r, r) gives the NAC weight a variance of 2 / fan.

    Var[tanh(Ŵ) σ(M̂)] = (1 - tanh(r) / r) (r - tanh(r / 2)) / (2 r) is solved for r in [0, 10] with
    fan = max(in + out, 5): the variance cannot exceed 1/2, so that smaller fans have no solution. 100 → 2 gives 0.503909;
    2 → 1 gives 9.471406, where most weights start at -1, 0 or 1. Madsen & Johansen 2020 (arXiv 2001.05016), appendix on
    the NAC's moments, and their published code.
    """
    fan = max(inputs + outputs, 5)

    def excess(r: float) -> float:
        return fan * nac_weight_variance(r) - 2

    return scipy.optimize.root_scalar(excess, bracket=(1e-6, 10), method="brentq", xtol=1e-14).root


def nac_weight_variance(r: float) -> float:
    """Var[tanh(Ŵ) σ(M̂)] for Ŵ, M̂ ~ U(-r, r); formula and source as in nac_radius."""
    return (1 - math.tanh(r) / r) * (r - math.tanh(r / 2)) / (2 * r)


@INITIALIZERS.register("madsen_johansen")
def madsen_johansen(key: Array, shape: tuple[int, int], dtype=jnp.float32) -> Array:
    """Ŵ, M̂ ~ U(-r, r) with r from nac_radius: key → [in, out]. Madsen & Johansen 2020 (arXiv 2001.05016)."""
    return uniform(nac_radius(*shape))(key, shape, dtype)


def scaled_uniform(gain: float, mode: str) -> Initializer:
    """An initializer: U(-r, r), r = gain √(3 / in) (mode "fan_in") or gain √(6 / (in + out)) (mode "fan_avg").

    Gain √2 with fan_in is He et al. 2015, gain 1 with fan_avg is Glorot & Bengio 2010.
    """

    def init(key: Array, shape: tuple[int, int], dtype=jnp.float32) -> Array:
        fan = shape[0] if mode == "fan_in" else sum(shape) / 2
        return uniform(gain * math.sqrt(3 / fan))(key, shape, dtype)

    return init


@functools.cache
def torch_default(fan_in: int) -> Initializer:
    """An initializer: U(-r, r) with r = 1 / √fan_in, as PyTorch's dense layers and convolutions start weights and biases.

    ``fan_in`` is the number of inputs of each output, which the shape of a bias or of a kernel does not tell. Source: the
    documentation of ``torch.nn.Linear`` and ``torch.nn.Conv2d``.
    """
    return uniform(1 / math.sqrt(fan_in))


def nau_uniform(key: Array, shape: tuple[int, int], dtype=jnp.float32) -> Array:
    """U(-r, r) with r = min(1/2, √(6 / (in + out))), for NAU, NRU and the modified RealNPU: key → [in, out].

    Madsen & Johansen 2020 (arXiv 2001.05016), appendix on the NAU's moments, and their published code.
    """
    return uniform(min(0.5, math.sqrt(6 / sum(shape))))(key, shape, dtype)


def nmu_uniform(key: Array, shape: tuple[int, int], dtype=jnp.float32) -> Array:
    """U(1/4, 3/4), for the NMU and its variants, as in Madsen & Johansen's code (arXiv 2001.05016): key → [in, out]."""
    return jax.random.uniform(key, shape, dtype, 0.25, 0.75)


def normal(mean: float, deviation: float) -> Initializer:
    """An initializer: N(mean, deviation²), for any shape."""

    def init(key: Array, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
        return mean + deviation * jax.random.normal(key, shape, dtype)

    return init


def orthogonal(key: Array, shape: tuple[int, int], dtype=jnp.float32) -> Array:
    """A random orthogonal matrix, or the columns or rows of one: key → [in, out]. Saxe, McClelland & Ganguli 2014.

    Half precision, in which there is no QR decomposition, is rounded from float32.
    """
    wide = dtype if jnp.finfo(dtype).bits >= 32 else jnp.float32
    return jax.nn.initializers.orthogonal()(key, shape, wide).astype(dtype)


def glorot_normal(key: Array, shape: tuple[int, int], dtype=jnp.float32) -> Array:
    """N(0, 2 / (in + out)): key → [in, out]. Glorot & Bengio 2010."""
    return normal(0.0, math.sqrt(2 / sum(shape)))(key, shape, dtype)
