"""Expected values come from hand calculation, the published tables, brute-force grids and simulation."""

import functools
import math

import numpy as np
import pytest
from scipy import stats as distributions
from statsmodels.stats import proportion

from nalu_jax.stats import (
    Count,
    Interval,
    Verdict,
    agrees,
    covers,
    median,
    quantiles,
    rate_difference,
    rate_p_value,
    solved_at_mean,
    sparsity_error_mean,
    success_rate,
)

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


wilson, newcombe = functools.cache(success_rate), functools.cache(rate_difference)


def chances(seeds, rate):
    """The chance of each number of successes, f64[seeds + 1]."""
    return distributions.binom.pmf(np.arange(seeds + 1), seeds, rate)


def wilson_coverage(seeds, rate):
    """How often the interval covers the rate: all outcomes, each with its chance."""
    return chances(seeds, rate) @ [low <= rate <= high for _, low, high in (wilson(k, seeds) for k in range(seeds + 1))]


@pytest.mark.parametrize("rate", [0.1, 0.14, 0.31, 0.56, 0.77, 0.9])
def test_the_wilson_interval_of_a_hundred_seeds_covers_the_rate_93_to_97_times_in_a_hundred(rate):
    assert 0.93 <= wilson_coverage(100, rate) <= 0.97


def test_the_wilson_interval_of_25_seeds_covers_rates_93_to_97_times_in_a_hundred_on_average():
    """With so few outcomes it is 91 to 98 at single rates."""
    coverage = [wilson_coverage(25, rate) for rate in np.linspace(0.02, 0.98, 97)]
    assert 0.93 <= np.mean(coverage) <= 0.97 and min(coverage) > 0.91


def test_simulated_runs_have_their_rate_in_the_wilson_interval_93_to_97_times_in_a_hundred():
    successes = np.random.default_rng(7).binomial(100, 0.31, size=5000)
    covered = [wilson(int(k), 100).low <= 0.31 <= wilson(int(k), 100).high for k in successes]
    assert 0.93 <= np.mean(covered) <= 0.97


# rate_difference, rate_p_value, agrees


@pytest.mark.parametrize(
    ("one", "other", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((0, 10), (0, 10), -0.2775, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0),
        ((10, 10), (0, 10), 0.6075, 1.0),
    ],
)
def test_the_interval_of_a_difference_is_that_of_newcombes_table_2(one, other, low, high):
    """Newcombe 1998, Statistics in Medicine 17, table II, the rows of method 10."""
    difference = rate_difference(Count(*one), Count(*other))
    assert difference == pytest.approx((one[0] / one[1] - other[0] / other[1], low, high), abs=5e-5)


@pytest.mark.parametrize("one", [(0, 5), (3, 25), (25, 25), (130, 1000)])
@pytest.mark.parametrize("other", [(0, 100), (31, 100), (100, 100)])
def test_the_interval_of_a_difference_is_that_of_statsmodels(one, other):
    expected = proportion.confint_proportions_2indep(*one, *other, method="newcomb", compare="diff")
    assert rate_difference(Count(*one), Count(*other))[1:] == pytest.approx(expected, abs=1e-9)
    assert success_rate(*one)[1:] == pytest.approx(proportion.proportion_confint(*one, method="wilson"), abs=1e-9)


@pytest.mark.parametrize("seeds", [(25, 25), (25, 100)])
@pytest.mark.parametrize("rates", [(0.14, 0.31), (0.31, 0.31), (0.93, 0.56)])
def test_the_interval_of_a_difference_covers_it_93_to_97_times_in_a_hundred(rates, seeds):
    """All pairs of outcomes, each with its chance."""
    truth, covered = rates[0] - rates[1], 0.0
    one, other = (chances(n, rate) for n, rate in zip(seeds, rates, strict=True))
    for i, j in np.argwhere(np.outer(one, other) > 1e-7):
        _, low, high = newcombe(Count(int(i), seeds[0]), Count(int(j), seeds[1]))
        covered += one[i] * other[j] * (low <= truth <= high)
    assert 0.93 <= covered <= 0.97


def test_a_difference_turned_around_has_the_interval_turned_around():
    there, back = rate_difference(Count(3, 25), Count(31, 100)), rate_difference(Count(31, 100), Count(3, 25))
    assert there == pytest.approx((-back.estimate, -back.high, -back.low), abs=1e-15)


def test_fishers_lady_who_has_three_of_four_cups_right_is_as_likely_to_guess():
    """Tables of margins 4, 4 have 1, 16, 36, 16, 1 of 70 ways."""
    assert rate_p_value(Count(3, 4), Count(1, 4)) == pytest.approx(34 / 70, rel=1e-12)
    assert rate_p_value(Count(4, 4), Count(0, 4)) == pytest.approx(2 / 70, rel=1e-12)


def by_enumeration(one, other):
    """Fisher's p-value as a sum over all tables with these margins, in whole numbers."""
    total, both = one[0] + other[0], one[1] + other[1]
    ways = {k: math.comb(one[1], k) * math.comb(other[1], total - k) for k in range(min(one[1], total) + 1) if k <= total}
    return sum(way for way in ways.values() if way <= ways[one[0]]) / math.comb(both, total)


@pytest.mark.parametrize(
    ("one", "other"), [((3, 25), (14, 100)), ((240, 1000), (13, 100)), ((0, 25), (0, 100)), ((25, 25), (100, 100))]
)
def test_the_p_value_is_the_sum_over_all_tables_that_are_no_more_likely(one, other):
    assert rate_p_value(Count(*one), Count(*other)) == pytest.approx(by_enumeration(one, other), rel=1e-9)


def test_equal_rates_differ_in_at_most_five_of_a_hundred_comparisons():
    """All pairs of outcomes, each with its chance."""
    p_value = functools.cache(rate_p_value)
    wrong = sum(
        weight * (p_value(Count(i, 25), Count(j, 40)) < 0.05)
        for i, one in enumerate(chances(25, 0.31))
        for j, other in enumerate(chances(40, 0.31))
        if (weight := one * other) > 1e-7
    )
    assert 0.02 <= wrong <= 0.05


@pytest.mark.parametrize(
    ("ours", "published", "said"),
    [
        ((11, 25), (31, 100), "agrees"),
        ((0, 25), (0, 100), "agrees"),
        ((25, 25), (100, 100), "agrees"),
        ((240, 1000), (13, 100), "differs, p = 0.012"),
    ],
)
def test_rates_agree_or_differ_with_p(ours, published, said):
    verdict = agrees(Count(*ours), Count(*published))
    assert str(verdict) == said and verdict.p == pytest.approx(by_enumeration(ours, published), rel=1e-9)


def test_a_rate_that_is_not_published_is_said_to_be_so():
    assert str(agrees(Count(3, 25), None)) == "not published"
    assert math.isnan(agrees(Count(3, 25), None).p)


@pytest.mark.parametrize("compare", [rate_difference, rate_p_value, agrees])
@pytest.mark.parametrize("impossible", [(0, 0), (-1, 10), (11, 10)])
def test_impossible_counts_are_refused_on_either_side(compare, impossible):
    with pytest.raises(ValueError, match="successes"):
        compare(Count(*impossible), Count(3, 25))
    with pytest.raises(ValueError, match="successes"):
        compare(Count(3, 25), Count(*impossible))


@pytest.mark.parametrize(
    ("interval", "published", "word"),
    [
        ((2.0, 1.0, 3.0), 1.0, "agrees"),
        ((2.0, 1.0, 3.0), 3.1, "differs"),
        ((2.0, 1.0, math.inf), 3.1, "agrees"),
        ((2.0, 1.0, 3.0), math.nan, "not published"),
        ((2.0, math.nan, math.nan), 2.0, "undecided"),
        ((math.nan, math.nan, math.nan), 2.0, "undecided"),
    ],
)
def test_an_interval_covers_a_published_number_or_not(interval, published, word):
    assert covers(Interval(*interval), published) == (word, pytest.approx(math.nan, nan_ok=True))
    assert str(covers(Interval(*interval), published)) == word


def test_a_published_number_is_known_to_its_rounding():
    # Of the NMU on a - b 1.0e6 is published as the median step of success, and 1,001,000 is what all seeds say.
    ours = Interval(1.001e6, 1.001e6, 1.002e6)
    assert [covers(ours, 1e6, rounding).word for rounding in (0, 999, 1000, 5e4)] == ["differs"] * 2 + ["agrees"] * 2
    assert [covers(ours, 1.003e6, rounding).word for rounding in (999, 1000)] == ["differs", "agrees"]


def test_a_verdict_without_a_p_value_is_its_word():
    assert str(Verdict("differs")) == "differs"


# median


def test_the_median_of_25_seeds_has_the_interval_from_the_8th_to_the_18th():
    """Tabled: 95.7 %."""
    assert median(np.random.default_rng(8).permutation(np.arange(1, 26))) == (13, 8, 18)


def test_the_median_of_a_hundred_seeds_has_the_interval_from_the_40th_to_the_61st():
    assert median(np.arange(1, 101)) == (50.5, 40, 61)


def test_six_seeds_are_needed_for_an_interval_of_the_median():
    """2 / 2⁶ = 0.031 is below 0.05, and 2 / 2⁵ = 0.063 is not."""
    assert median(range(6)) == (2.5, 0, 5)
    assert median(range(5)) == pytest.approx((2, math.nan, math.nan), nan_ok=True)
    assert median([7.0]) == pytest.approx((7, math.nan, math.nan), nan_ok=True)
    assert median([]) == pytest.approx((math.nan, math.nan, math.nan), nan_ok=True)


def test_diverged_seeds_are_the_worst_of_a_median_and_ties_are_no_matter():
    assert median([1.0] * 7) == (1, 1, 1)
    assert median([1.0, 2, 3, 4, 5, 6, math.nan]) == (4, 1, math.inf)
    assert median([math.nan] * 7) == (math.inf, math.inf, math.inf)


def test_the_interval_of_the_median_covers_it_93_to_97_times_in_a_hundred():
    samples = np.random.default_rng(9).gamma(0.7, size=(2000, 25))
    truth = distributions.gamma.median(0.7)
    assert 0.93 <= np.mean([low <= truth <= high for _, low, high in map(median, samples)]) <= 0.97


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


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["solved at", "sparsity near 0", "sparsity all over", "sparsity near 0.5"])
def test_intervals_of_means_cover_them_93_to_97_times_in_a_hundred(kind):
    """Of 40 seeds, a thousand times: the share itself is known to 0.7 %."""
    shapes = {"sparsity near 0": (3.0, 3e7), "sparsity all over": (0.8, 4.0), "sparsity near 0.5": (30.0, 5.0)}
    a, b = shapes.get(kind, (3.0, 0.0))
    rng, size = np.random.default_rng(10), (1000, 40)
    mean, truth = (sparsity_error_mean, a / (a + b) / 2) if b else (solved_at_mean, 1e6)
    samples = rng.beta(a, b, size) / 2 if b else rng.gamma(a, truth / a, size)
    assert 0.93 <= np.mean([low <= truth <= high for _, low, high in map(mean, samples)]) <= 0.97


@pytest.mark.slow
def test_of_many_early_and_a_few_late_seeds_the_interval_of_the_mean_covers_too_seldom_and_that_of_the_median_does():
    """As NAU and NAC subtract: most by 10,000 steps, one seed in twenty at millions, which is no gamma distribution."""
    rng, size = np.random.default_rng(11), (300, 100)
    late, early = rng.uniform(1.6e6, 3.4e6, size), rng.uniform(7e3, 1e4, size)
    samples = np.where(rng.random(size) < 0.05, late, early)
    mean, middle = 0.05 * 2.5e6 + 0.95 * 8.5e3, 7e3 + 3e3 * 0.5 / 0.95
    assert np.mean([low <= mean <= high for _, low, high in map(solved_at_mean, samples)]) < 0.75
    assert 0.93 <= np.mean([low <= middle <= high for _, low, high in map(median, samples)]) <= 0.985


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
