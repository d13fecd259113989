"""Expected values come from hand calculation, the published tables, brute-force grids and simulation."""

import math

import numpy as np
import pytest
from scipy import stats as distributions

from nalu_jax.stats import Interval, quantiles, solved_at_mean, sparsity_error_mean, success_rate

HALF_CHI2 = 3.841459 / 2  # the 95 % point of χ² with one degree of freedom, from a table


# success_rate


def test_wilson_interval_of_no_success_in_a_hundred_is_zero_to_3_70_percent():
    assert success_rate(0, 100) == pytest.approx((0, 0, 0.0370), abs=5e-5)


def test_wilson_interval_of_a_hundred_successes_in_a_hundred_is_96_30_to_100_percent():
    assert success_rate(100, 100) == pytest.approx((1, 0.9630, 1), abs=5e-5)


@pytest.mark.parametrize("seeds", [1, 10, 1000])
def test_wilson_interval_of_none_and_of_all_is_z_squared_over_n_plus_z_squared(seeds):
    width = 3.841459 / (seeds + 3.841459)
    assert success_rate(0, seeds) == pytest.approx((0, 0, width), abs=1e-7)
    assert success_rate(seeds, seeds) == pytest.approx((1, 1 - width, 1), abs=1e-7)


@pytest.mark.parametrize(
    ("successes", "above", "below"),
    [(2, 5, 1), (3, 5, 2), (7, 7, 4), (14, 8, 5), (56, 9, 10), (77, 7, 9), (100, 0, 4)],
)
def test_success_rates_of_a_hundred_seeds_have_the_published_arms(successes, above, below):
    """Madsen & Johansen 2020, table of the static task, e.g. 14% (+8% / -5%)."""
    estimate, low, high = success_rate(successes, 100)
    assert round(100 * estimate) == successes
    assert round(100 * (high - estimate)) == above
    assert round(100 * (estimate - low)) == below


@pytest.mark.parametrize(("successes", "seeds"), [(0, 0), (-1, 10), (11, 10)])
def test_impossible_numbers_of_successes_are_refused(successes, seeds):
    with pytest.raises(ValueError, match="successes"):
        success_rate(successes, seeds)


# What both means have in common


@pytest.mark.parametrize("mean", [solved_at_mean, sparsity_error_mean])
def test_the_mean_of_no_seeds_is_nan(mean):
    assert mean([]) == pytest.approx((math.nan, math.nan, math.nan), nan_ok=True)


@pytest.mark.parametrize(("mean", "value"), [(solved_at_mean, 1e6), (solved_at_mean, 0.0), (sparsity_error_mean, 1e-7)])
def test_the_mean_of_one_seed_is_its_value_without_an_interval(mean, value):
    assert mean([value]) == pytest.approx((value, math.nan, math.nan), rel=0, abs=1e-15, nan_ok=True)


@pytest.mark.parametrize("mean", [solved_at_mean, sparsity_error_mean])
@pytest.mark.parametrize("value", [math.nan, math.inf, -0.1])
def test_values_of_unsolved_or_impossible_seeds_are_refused(mean, value):
    with pytest.raises(ValueError, match="finite number"):
        mean([0.1, 0.2, value])


def by_grid(log_density, means, precisions):
    """Mean of the highest likelihood and the ends of its profile interval, by looking everywhere on a grid."""
    profile = log_density(means[:, None, None], precisions[:, None]).sum(-1).max(1)
    inside = np.flatnonzero(profile >= profile.max() - HALF_CHI2)
    assert inside[0] > 0 and inside[-1] < means.size - 1, "the grid must be wider than the interval"
    return means[profile.argmax()], means[inside[0]], means[inside[-1]]


# solved_at_mean


@pytest.mark.parametrize(
    ("thousand_steps", "mean", "low", "high"),
    [
        ((891, 4398), 2.64e6, 7.73e5, 2.08e7),  # NALU, √z
        ((4, 2384, 3248, 3332, 3440, 4261, 4621), 3.04e6, 1.32e6, 9.59e6),  # Linear, -
        ((48, 87, 305, 400, 1058, 4072, 4388), 1.48e6, 5.99e5, 5.39e6),  # NAC•, √z
    ],
)
def test_solved_at_of_the_published_seeds_has_the_interval_recomputed_elsewhere(thousand_steps, mean, low, high):
    """Steps worked back from the quantiles of the published per-seed results; intervals by other code, to three digits."""
    assert solved_at_mean(1000 * np.array(thousand_steps)) == pytest.approx((mean, low, high), rel=5e-3)


@pytest.mark.parametrize("shape", [0.3, 3.0, 300.0])
def test_gamma_profile_interval_agrees_with_a_brute_force_grid(shape):
    x = np.random.default_rng(1).gamma(shape, 1e6 / shape, size=15)
    width = min(2.0, 2 / math.sqrt(shape))
    best, low, high = by_grid(
        lambda mu, k: distributions.gamma.logpdf(x, k, scale=mu / k),
        means=x.mean() * np.exp(np.linspace(-width, width, 801)),
        precisions=shape * np.geomspace(1 / 8, 8, 200),
    )
    ours = solved_at_mean(x)
    assert ours.estimate == pytest.approx(x.mean(), rel=1e-12)
    assert np.log(ours) == pytest.approx(np.log((best, low, high)), abs=2 * width / 400)  # two cells


def test_solved_at_of_seeds_that_hardly_differ_has_the_interval_of_the_normal_distribution():
    """n log(1 + (x̄ - μ)² / σ²) = χ², which the gamma's profile becomes for a large shape, here 1e14."""
    reach = math.sqrt(0.01 * 0.99 * math.expm1(3.841459 / 100))
    estimate, low, high = solved_at_mean([1e6] * 99 + [1e6 + 1])
    assert estimate == pytest.approx(1e6 + 0.01, rel=1e-15)
    assert (estimate - low, high - estimate) == pytest.approx((reach, reach), rel=1e-4)


def test_solved_at_in_steps_is_a_million_times_solved_at_in_million_steps():
    x = np.random.default_rng(2).gamma(2.0, size=20)
    assert solved_at_mean(1e6 * x) == pytest.approx(1e6 * np.array(solved_at_mean(x)), rel=1e-7)


def test_solved_at_of_seeds_solved_at_the_same_step_is_that_step_with_an_interval_of_no_width():
    assert solved_at_mean([1003000] * 3) == (1003000, 1003000, 1003000)


def test_solved_at_of_seeds_closer_than_1e_5_has_students_interval():
    reach = 12.7062 * 0.5e-6  # t with one degree of freedom times the standard error
    estimate, low, high = solved_at_mean([1 - 0.5e-6, 1 + 0.5e-6])
    assert (low - estimate, high - estimate) == pytest.approx((-reach, reach), rel=1e-4)


def test_solved_at_with_a_seed_solved_at_step_zero_has_students_interval_cut_at_zero():
    reach = 4.302653 * 1000 / math.sqrt(3)  # t with two degrees of freedom
    assert solved_at_mean([0, 1000, 2000]) == pytest.approx((1000, 0, 1000 + reach), rel=1e-6)


@pytest.mark.parametrize("shape", [0.7, 20.0])
def test_solved_at_interval_covers_the_mean_of_a_gamma_distribution_95_times_in_a_hundred(shape):
    samples = np.random.default_rng(3).gamma(shape, 1e6 / shape, size=(300, 40))
    covers = [low <= 1e6 <= high for _, low, high in map(solved_at_mean, samples)]
    assert 0.91 <= np.mean(covers) <= 0.98


# sparsity_error_mean


@pytest.mark.parametrize(("a", "b"), [(2.0, 2e7), (0.6, 3.0), (40.0, 30.0), (2e7, 2.0)])
def test_beta_profile_interval_agrees_with_a_brute_force_grid(a, b):
    """Means of 1e-7, 0.08, 0.29 and 0.5 - 1e-7."""
    x = np.random.default_rng(4).beta(a, b, size=15) / 2
    width = min(2.0, 2 / math.sqrt(a * b / (a + b)))  # in logits: about eight standard errors of a mean of 15
    odds = a / b * np.exp(np.linspace(-width, width, 801))
    best, low, high = by_grid(
        lambda odds, v: distributions.beta.logpdf(2 * x, v * odds / (1 + odds), v / (1 + odds)),
        means=odds,
        precisions=(a + b) * np.geomspace(1 / 8, 8, 200),
    )
    ours = 2 * np.array(sparsity_error_mean(x))
    assert np.log(ours / (1 - ours)) == pytest.approx(np.log((best, low, high)), abs=2 * width / 400)  # two cells


def test_sparsity_errors_around_a_quarter_have_a_mean_of_a_quarter_and_not_half_of_it():
    estimate, low, high = sparsity_error_mean([0.1, 0.2, 0.3, 0.4])
    assert estimate == pytest.approx(0.25, abs=1e-6)
    assert (low + high) / 2 == pytest.approx(0.25, abs=1e-6)


@pytest.mark.parametrize("size", [1e-9, 1e-7, 1e-3])
def test_sparsity_errors_near_a_half_have_the_mirrored_interval_of_errors_near_zero(size):
    """The tolerance is for the digits that 0.5 - x loses: x of 1e-9 keeps seven."""
    x = size * np.random.default_rng(5).gamma(2.0, size=30)
    near_zero, near_half = sparsity_error_mean(x), sparsity_error_mean(0.5 - x)
    assert 0.5 - near_half.estimate == pytest.approx(near_zero.estimate, rel=1e-5)
    assert 0.5 - near_half.high == pytest.approx(near_zero.low, rel=1e-5)
    assert 0.5 - near_half.low == pytest.approx(near_zero.high, rel=1e-5)


def test_sparsity_errors_that_hardly_differ_have_the_interval_of_the_normal_distribution():
    """As for solved at; the precision is 1e18 here."""
    reach = 0.5e-9 * math.sqrt(math.expm1(3.841459 / 100))
    estimate, low, high = sparsity_error_mean([0.25] * 50 + [0.25 + 1e-9] * 50)
    assert estimate - 0.25 == pytest.approx(0.5e-9, rel=1e-3)
    assert (estimate - low, high - estimate) == pytest.approx((reach, reach), rel=1e-3)


def test_sparsity_errors_closer_than_1e_10_have_students_interval():
    reach = 12.7062 * 0.5e-11
    estimate, low, high = sparsity_error_mean([0.2 - 0.5e-11, 0.2 + 0.5e-11])
    assert (low - estimate, high - estimate) == pytest.approx((-reach, reach), rel=1e-4)


def test_sparsity_errors_of_nothing_or_beyond_a_half_stay_within_zero_and_a_half():
    assert sparsity_error_mean([0, 0, 0]) == pytest.approx((0, 0, 0), abs=1e-15)
    assert sparsity_error_mean([0.5, 0.7, 0.9]) == pytest.approx((0.5, 0.5, 0.5), abs=1e-15)
    assert max(sparsity_error_mean([0.5, 0.5 - 1e-10])) <= 0.5
    assert min(sparsity_error_mean([0, 1e-11])) >= 0


@pytest.mark.parametrize("n", [2, 5, 100])
@pytest.mark.parametrize("rest", [0.0, 1e-7, 0.3, 0.4999, 0.5, 0.9])
@pytest.mark.parametrize("one", [0.0, 2e-7, 0.25, 0.4999999, 0.5])
def test_one_outlying_sparsity_error_of_any_size_leaves_an_ordered_interval(rest, one, n):
    estimate, low, high = sparsity_error_mean([one] + [rest] * (n - 1))
    assert 0 <= low <= estimate <= high <= 0.5


@pytest.mark.parametrize("n", [2, 5, 100])
@pytest.mark.parametrize("one", [0, 1, 999, 10**6 + 1, 5 * 10**6, 10**12])
def test_one_outlying_step_of_any_size_leaves_an_ordered_interval_around_the_sample_mean(one, n):
    interval = solved_at_mean([one] + [10**6] * (n - 1))
    assert isinstance(interval, Interval)
    assert 0 <= interval.low < interval.estimate < interval.high < math.inf
    assert interval.estimate == pytest.approx((one + 1e6 * (n - 1)) / n, rel=1e-12)


@pytest.mark.parametrize(("a", "b"), [(0.8, 4.0), (3.0, 3e7), (30.0, 5.0)])
def test_sparsity_interval_covers_the_mean_of_a_beta_distribution_95_times_in_a_hundred(a, b):
    samples = np.random.default_rng(6).beta(a, b, size=(300, 40)) / 2
    covers = [low <= a / (a + b) / 2 <= high for _, low, high in map(sparsity_error_mean, samples)]
    assert 0.91 <= np.mean(covers) <= 0.98


# quantiles


def test_quantiles_of_one_to_five_are_two_three_and_four():
    assert quantiles([3, 1, 5, 2, 4]) == [2, 3, 4]


def test_quantiles_between_two_seeds_are_interpolated_linearly():
    assert quantiles([10, 20, 40, 80], (0.1, 0.5, 0.9)) == pytest.approx([13, 30, 68])


def test_a_diverged_seed_counts_as_the_worst_and_shifts_the_median():
    assert quantiles([1.0, math.nan, 2.0, 3.0, 4.0]) == [2, 3, 4]
    assert quantiles([1.0, math.nan, 2.0]) == [1.5, 2, math.inf]


def test_quantiles_that_fall_on_diverged_seeds_are_infinite():
    assert quantiles([math.nan, 1.0, math.inf, math.nan], (0, 0.25, 0.5, 1)) == [1, math.inf, math.inf, math.inf]
    assert quantiles([math.nan] * 4) == [math.inf] * 3


def test_a_quantile_on_the_last_finite_seed_does_not_reach_for_the_diverged_ones():
    """0.55 times 100 is 55.00000000000001 in floating point."""
    assert quantiles([*range(56), *[math.nan] * 45], (0.55, 0.551)) == [55, math.inf]


@pytest.mark.parametrize(("values", "levels"), [([], (0.5,)), ([[1.0, 2.0]], (0.5,)), ([1.0], (1.5,))])
def test_quantiles_of_nothing_of_matrices_and_beyond_one_are_refused(values, levels):
    with pytest.raises(ValueError, match="levels in"):
        quantiles(values, levels)
