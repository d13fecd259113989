"""Convolution and pooling against loops over pixels in NumPy and against JAX's own, and their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from nalu_jax.networks.convolution import conv, direct_conv, in_pieces, matrix_conv, max_pool

both = pytest.mark.parametrize("correlate", [matrix_conv, direct_conv])
each_shape = pytest.mark.parametrize(
    ("channels", "height", "width", "n", "filters", "size"),
    [(1, 28, 28, 3, 4, 5), (3, 9, 12, 2, 2, 5), (2, 5, 5, 1, 3, 5), (2, 7, 6, 5, 1, 3)],
    ids=["digits", "wide", "one window", "3 x 3"],
)


def drawn(*shapes, seed=0):
    """Normal numbers, float32."""
    rng = np.random.RandomState(seed)
    return [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]


def correlated(images, kernel):
    """A loop over pixels, float64."""
    images, kernel = np.asarray(images, np.float64), np.asarray(kernel, np.float64)
    size = kernel.shape[1]
    _, height, width, n = images.shape
    y = np.zeros((kernel.shape[0], height - size + 1, width - size + 1, n))
    for r, s in np.ndindex(y.shape[1:3]):
        y[:, r, s] = np.einsum("oijc,cijn->on", kernel, images[:, r : r + size, s : s + size])
    return y


def pooled(images):
    """A loop over pixels."""
    channels, height, width, n = images.shape
    y = np.zeros((channels, height // 2, width // 2, n), images.dtype)
    for r, s in np.ndindex(y.shape[1:3]):
        y[:, r, s] = images[:, 2 * r : 2 * r + 2, 2 * s : 2 * s + 2].max((1, 2))
    return y


def gradients(function, *arguments):
    """Of the function's outputs, each with a weight of its own, with respect to all arguments."""
    (weights,) = drawn(jax.eval_shape(function, *arguments).shape, seed=1)
    return jax.jit(jax.grad(lambda *a: jnp.sum(weights * function(*a)), range(len(arguments))))(*arguments), weights


def assert_close(found, expected):
    # Float32 sums of up to a thousand products.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4), found, expected)


@both
@each_shape
def test_a_convolution_is_the_sum_over_each_window(correlate, channels, height, width, n, filters, size):
    images, kernel = drawn((channels, height, width, n), (filters, size, size, channels))
    assert_close(correlate(images, kernel), correlated(images, kernel))


@both
@each_shape
def test_the_gradients_of_a_convolution_are_its_differences(correlate, channels, height, width, n, filters, size):
    images, kernel = drawn((channels, height, width, n), (filters, size, size, channels))
    (of_images, of_kernel), weights = gradients(correlate, images, kernel)
    step_images, step_kernel = drawn(images.shape, kernel.shape, seed=2)
    # A convolution is linear in each argument, so that a difference of any length is the derivative.
    for gradient, step, moved in [
        (of_images, step_images, correlated(step_images, kernel)),
        (of_kernel, step_kernel, correlated(images, step_kernel)),
    ]:
        np.testing.assert_allclose(np.sum(np.float64(gradient) * step), np.sum(weights * moved), rtol=1e-4, atol=1e-3)


@each_shape
def test_both_convolutions_have_the_same_gradients(channels, height, width, n, filters, size):
    images, kernel = drawn((channels, height, width, n), (filters, size, size, channels))
    assert_close(gradients(matrix_conv, images, kernel), gradients(direct_conv, images, kernel))


def test_a_convolution_adds_the_bias_of_each_filter():
    images, kernel, bias = drawn((2, 6, 6, 3), (4, 5, 5, 2), (4,))
    expected = correlated(images, kernel) + np.asarray(bias)[:, None, None, None]
    assert_close(conv(images, kernel, bias), expected)


@pytest.mark.parametrize(("backend", "products"), [("cpu", 1), ("gpu", 0), ("tpu", 0)])
def test_only_on_cpu_a_convolution_is_a_matrix_product(backend, products, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    # A function of its own: what conv was traced to before is kept.
    program = str(jax.make_jaxpr(lambda *arguments: conv(*arguments))(*drawn((2, 6, 6, 3), (4, 5, 5, 2), (4,))))
    assert (program.count("dot_general["), program.count("conv_general_dilated[")) == (products, 1 - products)


def test_a_convolution_of_several_seeds_is_that_of_each():
    images, kernels = drawn((2, 6, 6, 3), (4, 3, 5, 5, 2))
    found = jax.vmap(matrix_conv, (None, 0))(images, kernels)
    assert_close(found, np.stack([correlated(images, kernel) for kernel in kernels]))


def test_images_smaller_than_the_kernel_are_refused():
    with pytest.raises(ValueError, match="images of 4 x 9 are too small for a kernel of 5"):
        conv(*drawn((1, 4, 9, 2), (2, 5, 5, 1), (2,)))


each_size = pytest.mark.parametrize(("height", "width"), [(8, 6), (7, 6), (6, 9), (3, 5), (2, 2)])


@each_size
def test_a_pool_is_the_largest_of_each_two_by_two(height, width):
    (images,) = drawn((3, height, width, 4))
    np.testing.assert_array_equal(max_pool(images), pooled(np.asarray(images)))


@each_size
@pytest.mark.parametrize("levels", [100_000, 2], ids=["all different", "mostly equal"])
def test_a_pool_has_the_gradient_of_pooling_by_windows(height, width, levels):
    """Of equal pixels the first has it all, in JAX's select_and_scatter as in PyTorch."""
    images = jnp.asarray(np.random.RandomState(3).randint(levels, size=(3, height, width, 4)), jnp.float32)

    def by_windows(images):
        return lax.reduce_window(images, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    found, expected = gradients(max_pool, images), gradients(by_windows, images)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize("n", [1, 7, 8, 9, 20, 24])
def test_pieces_give_what_all_columns_give_at_once(n):
    x, y = drawn((3, 4, n), (2, n))

    def function(x, y):
        return jnp.cos(x[0]) + y[:1]

    def in_eights(x, y):
        return in_pieces(function, 8, x, y)

    np.testing.assert_allclose(in_eights(x, y), function(x, y), rtol=1e-6)
    assert_close(gradients(in_eights, x, y), gradients(function, x, y))


@pytest.mark.parametrize(("n", "widths"), [(8, [8]), (9, [5]), (20, [7])])
def test_no_piece_is_wider_than_allowed_and_all_are_as_wide_as_each_other(n, widths):
    seen = []

    def function(x):
        seen.append(x.shape[-1])
        return x

    in_pieces(function, 8, jnp.zeros((2, n)))
    assert sorted(set(seen)) == widths
