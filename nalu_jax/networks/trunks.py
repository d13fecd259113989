"""The convolutional networks of the papers, which read images for the arithmetic that follows."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from nalu_jax.functional import linear
from nalu_jax.initializers import torch_default
from nalu_jax.networks.convolution import conv, in_pieces, max_pool
from nalu_jax.registry import READERS
from nalu_jax.types import Array
from nalu_jax.units.base import TRAINING

KERNEL = 5
SMALLEST = 16  # pixels: after two convolutions and pools one is left
# Images at a time through the convolutions, whose intermediate results then stay in a core's cache, and through the whole
# network, so that memory does not grow with their number.
IN_CACHE = 32
AT_ONCE = 1024


class Trunk(nn.Module):
    """Two convolutions, then a hidden layer: images ``[h, w, n]`` → columns ``[features, n]``.

    Twice: convolution of 5 x 5 without padding, largest of each 2 x 2, relu. Then dense - relu - dense, with no
    nonlinearity at the end. Weights and biases start as PyTorch draws them, U(±1/√fan_in).

    Attributes:
      filters: channels after each convolution.
      hidden: width of the hidden layer.
      features: number of outputs; 0 leaves the last layer out, so that the outputs are the hidden layer after its relu.
      dropout: rate of dropout, of whole channels of the second convolution and of hidden numbers, while a learner takes a
        step (it then gives ``apply`` a random stream named "training").

    Raises ValueError for images of fewer than 16 pixels a side, and for values outside of these ranges.
    """

    filters: tuple[int, ...]
    hidden: int
    features: int
    dropout: float = 0.0
    param_dtype: Any = jnp.float32

    def __post_init__(self):
        if len(self.filters) != 2 or not all(isinstance(count, int) and count > 0 for count in self.filters):
            raise ValueError(f"filters must be two positive integers, got {self.filters!r}")
        if not isinstance(self.hidden, int) or self.hidden < 1:
            raise ValueError(f"hidden must be a positive integer, got {self.hidden!r}")
        if not isinstance(self.features, int) or self.features < 0:
            raise ValueError(f"features must be 0 or a positive integer, got {self.features!r}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {self.dropout!r}")
        super().__post_init__()

    @nn.compact
    def __call__(self, images: Array) -> Array:
        """[h, w, n] → [features, n]. Raises ValueError for images of fewer than 16 pixels a side."""
        height, width, n = images.shape
        if min(height, width) < SMALLEST:
            raise ValueError(f"images must have {SMALLEST} x {SMALLEST} pixels or more, got {height} x {width}")
        first, second = self.filters
        flat = second * after(height) * after(width)
        convolutions = [self.convolution("conv_1", 1, first), self.convolution("conv_2", first, second)]
        layers = [self.dense("dense_1", flat, self.hidden)]
        layers += [self.dense("dense_2", self.hidden, self.features)] if self.features else []
        kept = [self.dropout_mask((second, n)), self.dropout_mask((self.hidden, n))]
        return in_pieces(functools.partial(forward, convolutions, layers), AT_ONCE, images, *kept)

    def convolution(self, name: str, channels: int, filters: int) -> tuple[Array, Array]:
        """Kernel ``[filters, 5, 5, channels]`` and bias ``[filters]``."""
        init = torch_default(KERNEL * KERNEL * channels)
        kernel = self.param(f"{name}_kernel", init, (filters, KERNEL, KERNEL, channels), self.param_dtype)
        return kernel, self.param(f"{name}_bias", init, (filters,), self.param_dtype)

    def dense(self, name: str, inputs: int, outputs: int) -> tuple[Array, Array]:
        """Weights ``[inputs, outputs]`` and bias ``[outputs]``."""
        init = torch_default(inputs)
        w = self.param(f"{name}_w", init, (inputs, outputs), self.param_dtype)
        return w, self.param(f"{name}_b", init, (outputs,), self.param_dtype)

    def dropout_mask(self, shape: tuple[int, int]) -> Array:
        """The factors of dropout, f32[shape]: 0 or 1 / (1 - dropout) in training, else 1."""
        if not (self.dropout and self.has_rng(TRAINING)):
            return jnp.ones(shape, self.param_dtype)
        kept = jax.random.bernoulli(self.make_rng(TRAINING), 1 - self.dropout, shape)
        return kept.astype(self.param_dtype) / (1 - self.dropout)


def after(pixels: int) -> int:
    """Pixels a side after two convolutions, each with its pool."""
    for _ in range(2):
        pixels = (pixels - KERNEL + 1) // 2
    return pixels


def forward(convolutions: list[Any], layers: list[Any], images: Array, kept_channels: Array, kept_hidden: Array) -> Array:
    """The network as a pure function: [h, w, n] → [features, n].

    Args:
      convolutions: (kernel [o, 5, 5, c], bias [o]) of each.
      layers: (weights [in, out], bias [out]) of one or two dense layers.
      images: [h, w, n].
      kept_channels: factors of dropout [channels, n].
      kept_hidden: factors of dropout [hidden, n].
    """
    columns = in_pieces(functools.partial(convolved, convolutions), IN_CACHE, images, kept_channels)
    (w, b), *last = layers
    columns = kept_hidden * nn.relu(linear(columns, w) + b[:, None])
    for w, b in last:
        columns = linear(columns, w) + b[:, None]
    return columns


def convolved(convolutions: list[Any], images: Array, kept_channels: Array) -> Array:
    """The convolutions with pools and relus: [h, w, n] → [channels * h' * w', n].

    Relu follows the pool, where there are a quarter as many numbers, and dropout follows both: the result is the same.
    """
    images = images[None]
    for kernel, bias in convolutions:
        images = nn.relu(max_pool(conv(images, kernel, bias)))
    images = images * kept_channels[:, None, None]
    return images.reshape(-1, images.shape[-1])


# Trask et al. 2018 (arXiv 1808.00508), section 4.2: the network of PyTorch's MNIST example, as of July 2018.
READERS.register("trask")(functools.partial(Trunk, filters=(10, 20), hidden=50))
# Madsen & Johansen 2020 (arXiv 2001.05016), the sequential MNIST task: a later version of that example.
READERS.register("madsen_johansen")(functools.partial(Trunk, filters=(20, 50), hidden=500))
# Seguí, Pujol & Vitrià 2015 (arXiv 1505.08082): learning to count digits.
READERS.register("segui")(functools.partial(Trunk, filters=(32, 32), hidden=32))
