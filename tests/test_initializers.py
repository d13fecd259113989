"""The initialisations against published radii, and against moments of what they draw."""

import math
from functools import cache

import jax
import numpy as np
import pytest

from nalu_jax.functional import nac_weight
from nalu_jax.initializers import glorot_uniform, madsen_johansen, nac_radius, scaled_uniform, uniform


@cache
def numbers(initializer, shape, draws, seed=0):
    """Float64 [draws, *shape], of as many keys; of the generator that compiles fastest."""
    keys = jax.random.split(jax.random.key(seed, impl="rbg"), draws)
    return np.asarray(jax.vmap(lambda key: initializer(key, shape))(keys), np.float64)


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
    ],
    ids=["uniform", "nac", "glorot", "glorot 2 to 1", "he", "fan_in", "fan_avg", "tanh gain"],
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


@pytest.mark.parametrize("initializer", [madsen_johansen, glorot_uniform, scaled_uniform(1.0, "fan_in")])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_have_the_type_that_is_asked_for(initializer, dtype):
    with jax.enable_x64(True):
        assert jax.eval_shape(lambda key: initializer(key, (4, 2), dtype), jax.random.key(0)).dtype == dtype
