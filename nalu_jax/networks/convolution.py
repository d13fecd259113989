"""Convolution and pooling of images whose last axis counts them: images ``[channels, height, width, n]``.

On CPUs XLA is slow at convolutions within a loop, at those of several seeds at once and at pooling by windows. It is fast at
matrix products and at loops along a long last axis, so that on a CPU a convolution is the matrix product of its kernels with
all windows of the images. These windows take 25 times the memory of the images: ``in_pieces`` keeps them within a core's
cache. Other devices use XLA's own convolution. docs/performance.md has the measurements.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from nalu_jax.types import Array


def conv(images: Array, kernel: Array, bias: Array) -> Array:
    """y[o, r, s, n] = bias[o] + Σ_{i, j, c} kernel[o, i, j, c] images[c, r + i, s + j, n]: no padding, stride 1.

    Shapes: images ``[c, h, w, n]``, kernel ``[o, k, k, c]``, bias ``[o]`` → ``[o, h - k + 1, w - k + 1, n]``. As in other
    libraries of neural networks the kernel is not turned round. Products are taken in full float32, as in
    ``functional.linear``. There is no forward-mode derivative on CPU.

    Raises ValueError for images smaller than the kernel.
    """
    if min(images.shape[1:3]) < kernel.shape[1]:
        raise ValueError(f"images of {images.shape[1]} x {images.shape[2]} are too small for a kernel of {kernel.shape[1]}")
    correlate = matrix_conv if jax.default_backend() == "cpu" else direct_conv
    return correlate(images, kernel) + bias[:, None, None, None]


def direct_conv(images: Array, kernel: Array) -> Array:
    """XLA's own convolution: images [c, h, w, n], kernel [o, k, k, c] → [o, h - k + 1, w - k + 1, n]."""
    axes = ("CHWN", "OHWI", "CHWN")
    return lax.conv_general_dilated(images, kernel, (1, 1), "VALID", dimension_numbers=axes, precision=lax.Precision.HIGHEST)


@jax.custom_vjp
def matrix_conv(images: Array, kernel: Array) -> Array:
    """The convolution as one matrix product with all windows: shapes as in ``direct_conv``.

    The windows are recomputed for the gradient instead of being kept.
    """
    filters, size, _, _ = kernel.shape
    _, height, width, n = images.shape
    product = matmul(kernel.reshape(filters, -1), windows(images, size), (1, 0))
    return product.reshape(filters, height - size + 1, width - size + 1, n)


def _matrix_conv_forward(images: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return matrix_conv(images, kernel), (images, kernel)


def _matrix_conv_backward(kept: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    images, kernel = kept
    rows = gradient.reshape(gradient.shape[0], -1)
    of_kernel = matmul(rows, windows(images, kernel.shape[1]), (1, 1)).reshape(kernel.shape)
    # XLA drops what follows where nobody asks for the gradient of the images.
    of_windows = matmul(kernel.reshape(rows.shape[0], -1), rows, (0, 0))
    _, back = jax.vjp(lambda images: windows(images, kernel.shape[1]), images)
    return back(of_windows)[0], of_kernel


matrix_conv.defvjp(_matrix_conv_forward, _matrix_conv_backward)


def matmul(a: Array, b: Array, axes: tuple[int, int]) -> Array:
    """The product of two matrices [.., ..], summed over the given axis of each, in full float32 → [rest of a, rest of b]."""
    return lax.dot_general(a, b, (((axes[0],), (axes[1],)), ((), ())), precision=lax.Precision.HIGHEST)


def windows(images: Array, size: int) -> Array:
    """Windows of size x size pixels, a column each: ``[c, h, w, n]`` → ``[size² c, (h - size + 1) (w - size + 1) n]``.

    Along rows first, then along columns: ten large copies, where a slice for each pixel of a window would be 25.
    """
    for axis in (2, 1):
        length = images.shape[axis] - size + 1
        shifted = [lax.slice_in_dim(images, i, i + length, axis=axis) for i in range(size)]
        images = jnp.concatenate(shifted)
    return images.reshape(images.shape[0], -1)


@jax.custom_vjp
def max_pool(images: Array) -> Array:
    """The largest of each 2 x 2 pixels: ``[c, h, w, n]`` → ``[c, h // 2, w // 2, n]``; an odd last row or column is dropped.

    Of equal pixels the first has the gradient, row by row, as in PyTorch. There is no forward-mode derivative.
    """
    top_left, top_right, bottom_left, bottom_right = quarters(images)
    return jnp.maximum(jnp.maximum(top_left, top_right), jnp.maximum(bottom_left, bottom_right))


def _max_pool_forward(images: Array) -> tuple[Array, tuple[Array, Array]]:
    pooled = max_pool(images)
    return pooled, (images, pooled)


def _max_pool_backward(kept: tuple[Array, Array], gradient: Array) -> tuple[Array]:
    images, pooled = kept
    free, parts = jnp.ones_like(pooled, bool), []
    for part in quarters(images):
        first = free & (part == pooled)
        parts.append(jnp.where(first, gradient, 0))
        free &= ~first
    _, back = jax.vjp(quarters, images)
    return back(tuple(parts))


max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def quarters(images: Array) -> tuple[Array, ...]:
    """The four pixels of each 2 x 2, row by row, each ``[c, h // 2, w // 2, n]``."""
    channels, height, width, n = images.shape
    even = images[:, : height // 2 * 2, : width // 2 * 2]
    even = even.reshape(channels, height // 2, 2, width // 2, 2, n)
    return tuple(even[:, :, row, :, column] for row in (0, 1) for column in (0, 1))


def in_pieces(function: Callable[..., Array], size: int, *arrays: Array) -> Array:
    """``function`` of arrays ``[..., n]``, at most ``size`` columns at a time, one piece after the other: → ``[..., n]``.

    The function must treat each column by itself. All pieces are of one size; the last one may be padded with columns of
    zeros, which are cut off again.
    """
    n = arrays[0].shape[-1]
    if n <= size:
        return function(*arrays)
    count = -(-n // size)
    width = -(-n // count)

    def split(array: Array) -> Array:
        filled = jnp.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, count * width - n)])
        return jnp.moveaxis(filled.reshape(*array.shape[:-1], count, width), -2, 0)

    pieces = jnp.moveaxis(lax.map(lambda piece: function(*piece), tuple(map(split, arrays))), 0, -2)
    return pieces.reshape(*pieces.shape[:-2], count * width)[..., :n]
