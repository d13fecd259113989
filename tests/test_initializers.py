"""The initialisations against published radii, and against moments of what they draw."""

import math
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core.meta import unbox

from nalu_jax.functional import nac_weight
from nalu_jax.initializers import (
    glorot_normal,
    glorot_uniform,
    madsen_johansen,
    nac_radius,
    nau_uniform,
    nmu_uniform,
    normal,
    scaled_uniform,
    uniform,
)
from nalu_jax.registry import UNITS


@cache
def numbers(initializer, shape, draws, seed=0):
    """Float64 [draws, *shape], of as many keys."""
    return for_each_key(lambda key: initializer(key, shape), seed, draws)


def for_each_key(function, seed, draws):
    """Float64 [draws, ...]: a loop over keys of this generator compiles fastest; nothing but the result is computed."""
    keys = jax.random.split(jax.random.key(seed, impl="rbg"), draws)
    return np.asarray(jax.jit(lambda keys: jax.lax.map(function, keys))(keys), np.float64)


@pytest.mark.parametrize(
    ("inputs", "outputs", "radius"),
    [
        (100, 2, 0.503909),
        (300, 2, 0.285501),
        (100, 10, 0.483869),
        (10, 2, 2.074248),
        (10, 1, 2.260468),
        (4, 2, 5.425508),
        (2, 1, 9.471406),
    ],
)
def test_the_radius_of_the_nac_is_the_published_one(inputs, outputs, radius):
    # Published to six decimals (Madsen & Johansen's bisection).
    assert nac_radius(inputs, outputs) == pytest.approx(radius, abs=6e-7)


@pytest.mark.parametrize(("shape", "fan"), [((100, 2), 102), ((2, 1), 5)])
def test_the_weights_of_a_fresh_nac_have_variance_two_over_fan(shape, fan):
    draws = 400_000 // math.prod(shape)
    w_hat, m_hat = (numbers(madsen_johansen, shape, draws, seed) for seed in (0, 1))
    # The standard error of a variance of 400,000 numbers is below 0.3 %.
    assert np.var(nac_weight(w_hat, m_hat)) == pytest.approx(2 / fan, rel=0.01)


def test_the_weights_of_a_fresh_nac_have_mean_zero():
    w_hat, m_hat = (numbers(madsen_johansen, (2, 1), 200_000, seed) for seed in (0, 1))
    # Variance 0.4 of 400,000 numbers: a standard error of 0.001.
    assert np.mean(nac_weight(w_hat, m_hat)) == pytest.approx(0, abs=0.004)


# Of 100,000 uniform numbers the largest falls short of the end of the range by 1e-5 of its width or so.


@pytest.mark.parametrize(
    ("initializer", "shape", "radius"),
    [
        (uniform(0.7), (100, 2), 0.7),
        (madsen_johansen, (100, 2), 0.503909),
        (glorot_uniform, (100, 2), math.sqrt(6 / 102)),
        (glorot_uniform, (2, 1), math.sqrt(2)),
        (scaled_uniform(math.sqrt(2), "fan_in"), (100, 2), math.sqrt(6 / 100)),
        (scaled_uniform(1.0, "fan_in"), (100, 2), math.sqrt(3 / 100)),
        (scaled_uniform(1.0, "fan_avg"), (100, 2), math.sqrt(6 / 102)),
        (scaled_uniform(5 / 3, "fan_avg"), (100, 2), 5 / 3 * math.sqrt(6 / 102)),
        (nau_uniform, (2, 1), 0.5),
        (nau_uniform, (10, 1), 0.5),
        (nau_uniform, (100, 1), 0.24373),
        (lambda *arguments: nmu_uniform(*arguments) - 0.5, (100, 2), 0.25),
    ],
    ids=[
        *("uniform", "nac", "glorot", "glorot 2 to 1", "he", "fan_in", "fan_avg", "tanh gain"),
        *("nau 2 to 1", "nau 10 to 1", "nau 100 to 1", "nmu around a half"),
    ],
)
class TestUniformNumbers:
    def test_reach_both_ends_of_their_range_and_go_no_further(self, initializer, shape, radius):
        drawn = numbers(initializer, shape, 100_000 // math.prod(shape))
        assert [drawn.min(), drawn.max()] == pytest.approx([-radius, radius], rel=1e-3)

    def test_have_the_moments_of_the_range(self, initializer, shape, radius):
        drawn = numbers(initializer, shape, 100_000 // math.prod(shape))
        # Standard errors of 100,000 numbers: 0.2 % of the radius for the mean, 0.3 % for the variance.
        assert drawn.mean() == pytest.approx(0, abs=0.01 * radius)
        assert drawn.var() == pytest.approx(radius**2 / 3, rel=0.015)


@pytest.mark.parametrize(
    ("initializer", "shape", "mean", "deviation"),
    [
        (normal(0.88, 0.2), (10, 2), 0.88, 0.2),
        (normal(-1.0, 0.1), (10, 2), -1.0, 0.1),
        (glorot_normal, (100, 2), 0.0, math.sqrt(2 / 102)),
        (glorot_normal, (2, 1), 0.0, math.sqrt(2 / 3)),
    ],
)
def test_normal_numbers_have_their_moments(initializer, shape, mean, deviation):
    drawn = numbers(initializer, shape, 100_000 // math.prod(shape))
    # Standard errors of 100,000 numbers: 0.3 % of the deviation for the mean, 0.2 % for the deviation; kurtosis 3 ± 0.016.
    assert drawn.mean() == pytest.approx(mean, abs=0.015 * deviation)
    assert drawn.std() == pytest.approx(deviation, rel=0.01)
    assert np.mean((drawn - mean) ** 4) / deviation**4 == pytest.approx(3, abs=0.1)


# The starts of units. Each row: a unit, its inputs and outputs, a parameter, and how it is spread: uniform between two ends,
# normal with a mean and a deviation, or a constant.


def parameter(name, inputs, outputs, key, draws=200):
    """One parameter of fresh units of many seeds, float64 [draws, ...]."""

    def init(seed):
        return unbox(UNITS[name](outputs).init(seed, jnp.ones((1, inputs)))["params"])[key]

    return for_each_key(init, 0, draws)


@pytest.mark.parametrize(
    ("name", "inputs", "outputs", "key", "low", "high"),
    [
        ("nau", 2, 1, "w", -0.5, 0.5),
        ("nau", 100, 2, "w", -math.sqrt(6 / 102), math.sqrt(6 / 102)),
        ("nru", 2, 1, "w", -0.5, 0.5),
        ("nmu", 100, 2, "w", 0.25, 0.75),
        ("snmu", 2, 1, "w", 0.25, 0.75),
        ("nac_mul_nmu", 2, 1, "w", 0.25, 0.75),
        ("nmru", 2, 1, "w", 0.25, 0.75),
        ("npu", 2, 1, "w_real", -math.sqrt(2), math.sqrt(2)),
        ("real_npu", 100, 2, "w_real", -math.sqrt(6 / 102), math.sqrt(6 / 102)),
        ("real_npu_modified", 2, 1, "w_real", -0.5, 0.5),
        ("gated_nau_nmu", 2, 1, "w_add", -0.5, 0.5),
        ("gated_nau_nmu", 2, 1, "w_mul", 0.25, 0.75),
        ("gated_nau_nmu", 2, 1, "g", -math.sqrt(2), math.sqrt(2)),
        ("nmu_sigma", 2, 1, "w_hat", -math.sqrt(3) / 2, math.sqrt(3) / 2),
    ],
)
def test_a_parameter_starts_uniform_between_the_published_ends(name, inputs, outputs, key, low, high):
    drawn, width = parameter(name, inputs, outputs, key), high - low
    # Of 400 numbers and more none is beyond the ends, and the extreme ones are within 5 % (once in e^20).
    assert low <= drawn.min() + 1e-6 and drawn.max() <= high + 1e-4
    assert drawn.min() < low + 0.05 * width and drawn.max() > high - 0.05 * width
    # Four standard errors: 4 / √(12 · 400).
    assert drawn.mean() == pytest.approx((low + high) / 2, abs=0.06 * width)


@pytest.mark.parametrize(
    ("name", "inputs", "outputs", "key", "mean", "deviation"),
    [
        ("inalu", 2, 1, "w_hat_add", 0.88, 0.2),
        ("inalu", 2, 1, "w_hat_mul", 0.88, 0.2),
        ("inalu", 2, 1, "m_hat_add", 0.5, 0.2),
        ("inalu", 2, 1, "m_hat_mul", 0.5, 0.2),
        ("inalu", 2, 2, "g", 0.0, 0.2),
        ("inalu_original", 2, 1, "w_hat_add", 1.0, 0.1),
        ("inalu_original", 2, 1, "m_hat_mul", -1.0, 0.1),
        ("inalu_original", 2, 2, "g", 0.0, 0.1),
        ("inalu_shared", 2, 1, "w_hat", 1.0, 0.1),
        ("nac_mul_sigma", 2, 1, "w_hat", 0.0, math.sqrt(2 / 3)),
        ("nac_mul_sigma", 100, 2, "w_hat", 0.0, math.sqrt(2 / 102)),
        ("nsr", 2, 1, "v_left", 0.0, math.sqrt(2 / 3)),
    ],
)
def test_a_parameter_starts_normal_with_the_published_moments(name, inputs, outputs, key, mean, deviation):
    drawn = parameter(name, inputs, outputs, key)
    # Four standard errors of 400 numbers: 4 / √400, and 4 / √800 for the deviation.
    assert drawn.mean() == pytest.approx(mean, abs=0.2 * deviation)
    assert drawn.std() == pytest.approx(deviation, rel=0.15)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("npu", "w_imag", 0),
        ("npu", "g", 0.5),
        ("real_npu", "g", 0.5),
        ("real_npu_modified", "g", 0.5),
        ("mc_fc", "b", 0),
        ("mc_fc_mul", "bias", 0),
        ("mc_fc_mul_sign_real_npu", "g", 0.5),
        ("nsr", "b", 0),
        ("dmu", "bias", 0),
    ],
)
def test_a_parameter_starts_constant(name, key, value):
    assert (parameter(name, 4, 2, key, draws=2) == value).all()


def test_the_junction_of_mc_fc_starts_orthogonal():
    for r in parameter("mc_fc", 4, 2, "r", draws=3):
        np.testing.assert_allclose(r.T @ r, np.eye(2), atol=1e-6)  # float32


def test_the_gate_of_mc_fc_starts_as_one_orthogonal_row():
    np.testing.assert_allclose((parameter("mc_fc", 4, 3, "w", draws=3) ** 2).sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    "initializer",
    [
        madsen_johansen,
        glorot_uniform,
        scaled_uniform(1.0, "fan_in"),
        nau_uniform,
        nmu_uniform,
        normal(1.0, 2.0),
        glorot_normal,
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_have_the_type_that_is_asked_for(initializer, dtype):
    with jax.enable_x64(True):
        assert jax.eval_shape(lambda key: initializer(key, (4, 2), dtype), jax.random.key(0)).dtype == dtype
