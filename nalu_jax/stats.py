"""Statistics over seeds, every estimate with its 95 % interval, after Madsen & Johansen.

"Measuring Arithmetic Extrapolation Performance" (2019, arXiv 1910.01888) and the appendix of "Neural Arithmetic Units"
(2020, arXiv 2001.05016). Both means below are fitted by maximum likelihood, in the mean μ and a precision λ, and their
intervals are all μ with 2 [ℓ(μ̂, λ̂) - max_λ ℓ(μ, λ)] ≤ χ²₁(0.95). In μ and λ the gamma and the beta distribution look
alike: ℓ(μ, λ) / n = c(λ, μ) - λ δ(μ) + constant, where c norms the density and δ ≥ 0 is how far the sample lies from μ.

Two success rates are compared by Newcombe's interval of their difference and by Fisher's exact test; ``agrees`` and
``covers`` are the verdicts of a table that has published numbers beside ours.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import scipy  # loads its parts when they are used: together they take half a second
from numpy.typing import ArrayLike

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """An estimate with the ends of its 95 % confidence interval; NaN where undefined."""

    estimate: float
    low: float
    high: float


class Count(NamedTuple):
    """How many seeds of how many succeeded."""

    successes: int
    seeds: int


class Verdict(NamedTuple):
    """Whether a measured number agrees with a published one, and the p-value that says so; NaN where there is none."""

    word: str  # one of the four below
    p: float = math.nan

    def __str__(self) -> str:
        return f"{self.word}, p = {self.p:.2g}" if self.word == DIFFERS and math.isfinite(self.p) else self.word


AGREES, DIFFERS, NOT_PUBLISHED, UNDECIDED = "agrees", "differs", "not published", "undecided"


def success_rate(successes: int, seeds: int) -> Interval:
    """The share of seeds that succeed, with its Wilson score interval without continuity correction.

    All p with |p̂ - p| ≤ z √(p (1 - p) / n), z = 1.96: 0 of 100 gives [0, 0.0370]. Wilson 1927.
    """
    if seeds < 1 or not 0 <= successes <= seeds:
        raise ValueError(f"{successes} successes of {seeds} seeds: there must be a seed, and 0 to that many successes")
    interval = scipy.stats.binomtest(successes, seeds).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(successes / seeds, float(interval.low), float(interval.high))


def solved_at_mean(steps: ArrayLike) -> Interval:
    """The mean step at which the solved seeds were solved, with its profile likelihood interval.

    x ~ Gamma with mean μ and shape λ: c = λ log λ - λ - log Γ(λ) and δ(μ) = mean[x / μ - 1 - log(x / μ)], so that μ̂ is
    the sample mean. Madsen & Johansen 2020, appendix; their fit, on unscaled parameters, stopped before it converged,
    and some of their published means lie far from the sample mean.

    From ten seeds on it covers the mean of gamma distributions 93 to 95 times in a hundred, of three seeds 83 times. Where
    most seeds are early and a few late, by a factor of hundreds, it covers the mean far too seldom: see ``median``.

    Student's t, cut at 0, where the steps do not differ (standard deviation ≤ 1e-5 or 1e-10 of the mean), as published,
    and where a seed was solved at step 0, which no gamma distribution can be fitted to. One value has no interval.
    """
    x = checked(steps, "steps")
    if x.size < 2 or x.std(ddof=1) <= max(1e-5, 1e-10 * x.mean()) or x.min() == 0:
        return student_t_mean(x, 0, math.inf)
    mean = float(x.mean())
    low, high = profile_interval(functools.partial(gamma_profile, y=x / mean), 0.0, np.log(x / mean))
    return Interval(mean, mean * math.exp(low), mean * math.exp(high))


def sparsity_error_mean(errors: ArrayLike) -> Interval:
    """The mean sparsity error max min(|W|, |1 - |W||) of the solved seeds, with its profile likelihood interval.

    2x ~ Beta(λ μ, λ (1 - μ)), x clipped to [1e-16, 0.5 - 1e-16]; estimate and interval are those of E[x] = μ / 2, by
    maximum likelihood: not quite the sample mean, and far from it if errors pile up at 0 or 0.5. c, δ: beta_profile.
    Madsen & Johansen 2020, appendix; their code fits x with the parameters of 2x, which halves their published means.

    Student's t, cut at 0 and 0.5, where the errors do not differ (standard deviation ≤ 1e-10), as published. Their
    other reason for it, a fit that fails, does not arise: ℓ is concave in (λ μ, λ (1 - μ)), so that with any spread the
    profile has one maximum, between the extremes of the sample, and falls without limit on both sides.
    """
    x = np.clip(checked(errors, "sparsity errors"), 1e-16, 0.5 - 1e-16)
    if x.size < 2 or x.std(ddof=1) <= 1e-10:
        return student_t_mean(x, 0, 0.5)
    thetas, profile = scipy.special.logit(2 * x), functools.partial(beta_profile, y=2 * x)
    best, _ = maximum(profile, thetas.min(), thetas.max())
    low, high = profile_interval(profile, best, thetas)
    return Interval(*(float(scipy.special.expit(theta)) / 2 for theta in (best, low, high)))


def quantiles(values: ArrayLike, levels: Sequence[float] = (0.25, 0.5, 0.75)) -> list[float]:
    """Quantiles over seeds, interpolated linearly, for which NaN is the worst value of all, +inf.

    A diverged seed is a failure and stays in the median. A quantile with a share in such a seed is +inf.
    """
    x = np.asarray(values, np.float64)
    if x.ndim != 1 or x.size == 0 or not all(0 <= level <= 1 for level in levels):
        raise ValueError(f"quantiles {tuple(levels)} of shape {x.shape}: give levels in [0, 1] and values [seeds]")
    x = np.sort(np.where(np.isnan(x), np.inf, x))
    ranks = np.round(np.multiply(levels, x.size - 1), 10)  # 0.55 × 100 is a little over 55, and must not reach for 56
    return np.interp(ranks, np.arange(x.size), x).tolist()


def median(values: ArrayLike) -> Interval:
    """The median over seeds with its interval from order statistics, which assumes nothing of their distribution.

    [x₍ₖ₎, x₍ₙ₊₁₋ₖ₎] covers the median of a continuous distribution with 1 - 2 P(B < k), B ~ Binomial(n, 1/2); k is the
    largest with at least 95 %, so that it covers 95.7 % for 25 seeds and 96.5 % for 100, and more with ties. Fewer than six
    seeds have no interval. NaN is the worst value of all, +inf, as in ``quantiles``; no seeds have a median of NaN.
    Conover, Practical nonparametric statistics, 1999, section 3.2.
    """
    x = np.asarray(values, np.float64)
    if x.ndim == 1 and x.size == 0:
        return Interval(math.nan, math.nan, math.nan)
    [middle] = quantiles(x, (0.5,))
    x = np.sort(np.where(np.isnan(x), np.inf, x))
    # ppf is the least j with P(B ≤ j) ≥ 0.025, so that P(B < j) is below it.
    k = int(scipy.stats.binom.ppf((1 - CONFIDENCE) / 2, x.size, 0.5))
    return Interval(middle, float(x[k - 1]), float(x[-k])) if k > 0 else Interval(middle, math.nan, math.nan)


def rate_difference(one: Count, other: Count) -> Interval:
    """The difference p₁ - p₂ of two success rates, with Newcombe's hybrid score interval.

    With the Wilson intervals [l, u] of both: from d - √((p̂₁ - l₁)² + (u₂ - p̂₂)²) to d + √((u₁ - p̂₁)² + (p̂₂ - l₂)²),
    d = p̂₁ - p̂₂. Newcombe 1998, "Interval estimation for the difference between independent proportions", method 10.
    Raises ValueError for impossible counts.
    """
    (p1, l1, u1), (p2, l2, u2) = success_rate(*one), success_rate(*other)
    difference = p1 - p2
    return Interval(difference, difference - math.hypot(p1 - l1, u2 - p2), difference + math.hypot(u1 - p1, p2 - l2))


def rate_p_value(one: Count, other: Count) -> float:
    """The p-value of Fisher's exact test, two-sided, of two success rates being the same.

    The chance, given how many succeed in all, of a table that is no more likely than this one. It is exact for any number
    of seeds and says "differs" wrongly in at most 5 % of comparisons at p < 0.05, of few seeds in far fewer. Fisher 1935.
    Raises ValueError for impossible counts.
    """
    for count in (one, other):
        success_rate(*count)  # refuses impossible ones
    table = [[count.successes, count.seeds - count.successes] for count in (one, other)]
    return float(scipy.stats.fisher_exact(table).pvalue)


def agrees(ours: Count, published: Count | None) -> Verdict:
    """Whether our success rate and a published one may be the same: "differs" with p < 0.05, "not published" for None.

    Of twenty comparisons of equal rates one may differ. Raises ValueError for impossible counts.
    """
    if published is None:
        return Verdict(NOT_PUBLISHED)
    p = rate_p_value(ours, published)
    return Verdict(DIFFERS if p < 1 - CONFIDENCE else AGREES, p)


def covers(ours: Interval, published: float, rounding: float = 0.0) -> Verdict:
    """Whether our interval of a mean or a median covers a published number, which is taken for exact but for its rounding.

    It is not, so that more than 5 % of the repetitions of equal experiments differ: of as many seeds about one in six.
    "not published" for NaN, and "undecided" if ours has no interval.
    """
    if math.isnan(published):
        return Verdict(NOT_PUBLISHED)
    if math.isnan(ours.low) or math.isnan(ours.high):
        return Verdict(UNDECIDED)
    return Verdict(AGREES if ours.low - rounding <= published <= ours.high + rounding else DIFFERS)


def checked(values: ArrayLike, name: str) -> np.ndarray:
    """The values as float64 [seeds]; ValueError unless all are finite and not negative."""
    x = np.asarray(values, np.float64)
    if x.ndim != 1 or not np.all(np.isfinite(x) & (x >= 0)):
        raise ValueError(f"{name} must be one finite number ≥ 0 for each solved seed (leave the others out), not {x}")
    return x


def student_t_mean(x: np.ndarray, lowest: float, highest: float) -> Interval:
    """x̄ ± t s / √n, cut at the ends of what is possible; no interval for one value, all NaN for none."""
    if x.size < 2:
        return Interval(float(x[0]) if x.size else math.nan, math.nan, math.nan)
    mean, reach = x.mean(), scipy.stats.t.ppf((1 + CONFIDENCE) / 2, x.size - 1) * x.std(ddof=1) / math.sqrt(x.size)
    return Interval(float(mean), float(max(mean - reach, lowest)), float(min(mean + reach, highest)))


def gamma_profile(log_mean: float, y: np.ndarray) -> float:
    """max_λ ℓ / n of the gamma distribution at log μ; formulas in solved_at_mean."""
    return best_precision(gamma_norm, divergence(y / math.exp(log_mean)).mean())


def beta_profile(logit_mean: float, y: np.ndarray) -> float:
    """max_λ ℓ / n of the beta distribution at logit μ, ν = 1 - μ.

    c = g(λ μ) + g(λ ν) - g(λ) with g = gamma_norm, and δ(μ) = mean[μ d(y / μ) + ν d((1 - y) / ν)] with d = divergence.
    """
    mu, nu = float(scipy.special.expit(logit_mean)), float(scipy.special.expit(-logit_mean))
    delta = (mu * divergence(y / mu) + nu * divergence((1 - y) / nu)).mean()
    return best_precision(lambda p: gamma_norm(p * mu) + gamma_norm(p * nu) - gamma_norm(p), delta)


def divergence(ratio: np.ndarray) -> np.ndarray:
    """r - 1 - log r ≥ 0. In this order it keeps its digits near 1, however little the seeds differ."""
    return ratio - 1 - np.log(ratio)


def gamma_norm(z: float) -> float:
    """z log z - z - log Γ(z); for large z, where these terms cancel to nothing, the start of Stirling's series."""
    if z < 1e3:
        return z * math.log(z) - z - math.lgamma(z)
    return (math.log(z / (2 * math.pi)) - 1 / (6 * z)) / 2 + 1 / (360 * z**3)


def best_precision(norm: Callable[[float], float], delta: float) -> float:
    """max_λ c(λ) - λ δ. The best λ δ is in [1/2, 1], as z (log z - ψ(z)) is completely monotonic (Alzer 1997)."""
    return maximum(lambda share: norm(share / delta) - share, 0.5, 1.0)[1]


def maximum(function: Callable[[float], float], low: float, high: float) -> tuple[float, float]:
    """Where a function with one peak in [low, high] has it, and how high it is."""
    options = {"xatol": 1e-7 * (high - low)}
    result = scipy.optimize.minimize_scalar(lambda u: -function(u), bounds=(low, high), method="bounded", options=options)
    return float(result.x), -float(result.fun)


def profile_interval(profile: Callable[[float], float], best: float, thetas: np.ndarray) -> tuple[float, float]:
    """Both θ where the profile is χ²₁(0.95) / 2n below its best; thetas are the seeds' values on the scale of θ."""
    level = profile(best) - float(scipy.stats.chi2.ppf(CONFIDENCE, 1)) / (2 * thetas.size)
    step = float(thetas.std()) / math.sqrt(thetas.size)
    low, high = (crossing(lambda theta: profile(theta) - level, best, way * step) for way in (-1, 1))
    return low, high


def crossing(excess: Callable[[float], float], start: float, step: float) -> float:
    """Where a falling excess reaches 0, sought from start in the direction of the step."""
    while excess(start + step) > 0:
        step *= 2
    return scipy.optimize.root_scalar(excess, bracket=(start, start + step), method="brentq", xtol=1e-9 * abs(step)).root
