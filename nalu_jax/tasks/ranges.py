"""Ranges that inputs are drawn from: an interval, or several with equal chances."""

import dataclasses
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nalu_jax.types import Array


def uniform_on(key: Array, lows: Array, width: Array, shape: tuple[int, ...]) -> Array:
    """Float32 numbers, uniform on a union of intervals of one width: lows f32[intervals], width f32[] → f32[shape]."""
    return points_of(jax.random.bits(key, shape), lows, width)


def points_of(words: Array, lows: Array, width: Array) -> Array:
    """The points of a union of intervals that random words stand for: u32[...], lows f32[intervals], width f32[] → f32[...].

    They are the midpoints of 2²³ equal parts of the union, as far as float32 resolves them. None is 0, which has probability
    0 in a continuous distribution, and by which a seed that learns to divide would divide within a million rows: where
    rounding makes a 0, half a part replaces it.
    """
    odd = (words >> 8 | 1).astype(jnp.int32).astype(jnp.float32)  # 1, 3, ..., 2²⁴ - 1
    if len(lows) == 1:
        return nonzero(lows[0] + width * 2.0**-24 * odd, width)
    # One draw serves both choices: its integer part picks the interval, its fraction the place in it.
    place = odd * (len(lows) * 2.0**-24)
    pick = jnp.floor(place)
    return nonzero(lows[pick.astype(jnp.int32)] + width * (place - pick), width)


def nonzero(x: Array, width: Array) -> Array:
    """x with width / 2²⁴ in the place of 0: x f32[...], width f32[] → f32[...]."""
    return jnp.where(x == 0, width * 2.0**-24, x)


@dataclasses.dataclass(frozen=True)
class Range:
    """Uniform on one interval, or on a union of intervals: each element picks one with equal chances.

    ``intervals`` is ``(low, high)`` or ``((low, high), (low, high), ...)``. Raises ValueError if it is neither, if a bound
    is not finite, if an interval is empty or reversed (also in float32), if two overlap, or if the intervals differ in
    width: equal chances would then not be uniform.
    """

    intervals: tuple[tuple[float, float], ...]

    def __init__(self, intervals: Any):
        given = intervals
        try:
            pairs = tuple(intervals) if np.ndim(intervals[0]) else (tuple(intervals),)
            pairs = tuple((float(low), float(high)) for low, high in pairs)
        except (TypeError, ValueError, IndexError, KeyError):
            raise ValueError(f"a range is 'low,high' or '(low,high),(low,high)', got {given!r}") from None
        if isinstance(given, str):
            raise ValueError(f"a range is 'low,high' or '(low,high),(low,high)', got {given!r}")
        for low, high in pairs:
            if not (math.isfinite(low) and math.isfinite(high)):
                raise ValueError(f"the bounds of a range must be finite numbers, got {given!r}")
            if low >= high:
                raise ValueError(f"a range must go from a lower to a higher number, got {low:g},{high:g}")
        if len({round(high - low, 9) for low, high in pairs}) > 1:
            raise ValueError(f"the intervals of a range must be of equal width, got {given!r}")
        ordered = sorted(pairs)
        if any(high > low for (_, high), (low, _) in itertools.pairwise(ordered)):
            raise ValueError(f"the intervals of a range must not overlap, got {given!r}")
        with np.errstate(over="ignore"):
            singles = np.asarray(pairs, np.float32)
        if not (np.isfinite(singles).all() and (singles[:, 0] < singles[:, 1]).all()):
            raise ValueError(f"the bounds of a range must be finite and different in float32, got {given!r}")
        object.__setattr__(self, "intervals", pairs)

    @classmethod
    def of(cls, field: str, intervals: Any) -> "Range":
        """The range of a field. Raises ValueError as the constructor does, in the field's name."""
        try:
            return cls(intervals)
        except ValueError as error:
            raise ValueError(f"{field}: {error}") from error

    @property
    def low(self) -> float:
        """The smallest number of the range."""
        return min(low for low, _ in self.intervals)

    @property
    def high(self) -> float:
        """The end of the range: no number is larger."""
        return max(high for _, high in self.intervals)

    @property
    def lows(self) -> list[float]:
        """The lower ends of the intervals."""
        return [low for low, _ in self.intervals]

    @property
    def width(self) -> float:
        """The width of each interval."""
        low, high = self.intervals[0]
        return high - low

    def fixed(self, rng: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
        """Numbers of the range for fixed batches, f64[shape]."""
        if len(self.intervals) == 1:
            return rng.uniform(self.low, self.high, shape)
        choices = np.stack([rng.uniform(low, high, shape) for low, high in self.intervals])
        return np.take_along_axis(choices, rng.randint(len(choices), size=(1, *shape)), axis=0)[0]

    def __str__(self) -> str:
        return " ∪ ".join(f"[{low:g}, {high:g}]" for low, high in self.intervals)
