"""Numbers drawn from a range or from a union of ranges: the middles of equal parts, none beyond the ends, none 0."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nalu_jax.tasks.ranges import points_of, uniform_on
from nalu_jax.training.random import Purpose, key_at

jitted_points_of = jax.jit(points_of)


def numbers_of(words, *intervals):
    """The numbers that words stand for, u32[n], on intervals of one width; float64 of float32."""
    lows, width = jnp.array([low for low, _ in intervals], jnp.float32), jnp.float32(intervals[0][1] - intervals[0][0])
    return np.asarray(jitted_points_of(jnp.asarray(words, jnp.uint32), lows, width), np.float64)


def parts_of(words):
    """Which of the 2²³ parts of a range a word falls into: a word is 32 bits, and the upper 23 count."""
    return np.asarray(words, np.uint32) // 2**9


SOME_WORDS = np.random.RandomState(0).randint(0, 2**32, 100_000, np.uint64).astype(np.uint32)
AT_THE_ENDS = np.uint32([0, 1, 2**9 - 1, 2**9, 2**32 - 2**9 - 1, 2**32 - 2**9, 2**32 - 2, 2**32 - 1])
# All parts within 2000 of the middle, of which each has several words.
AT_THE_MIDDLE = (2**31 + np.arange(-2000 * 2**9, 2000 * 2**9, 101)).astype(np.uint32)
EACH_END = np.concatenate([AT_THE_ENDS, AT_THE_MIDDLE, SOME_WORDS])


@pytest.mark.parametrize(("low", "high"), [(1, 2), (-2, 2), (0, 1), (-0.5, 0.5), (-4, -2), (0, 2.0**-10)])
def test_numbers_are_the_middles_of_equal_parts_of_their_range(low, high):
    # Exactly, since the ends are powers of two, but for numbers so far from 0 that float32 rounds the middles.
    middles = low + (high - low) * (parts_of(EACH_END) + 0.5) / 2**23
    np.testing.assert_array_equal(numbers_of(EACH_END, (low, high)), middles.astype(np.float32))


@pytest.mark.parametrize(("low", "high"), [(1.1, 1.2), (-1.2, -1.1), (-0.2, -0.1), (0, 0.3), (10, 20), (-100, 37.3)])
def test_numbers_are_the_middles_of_equal_parts_of_ranges_that_float32_rounds(low, high):
    middles = low + (high - low) * (parts_of(EACH_END) + 0.5) / 2**23
    # The ends, the width, the product and the sum are rounded: each is off by no more than half a unit in its last place.
    rounding = 2 * np.spacing(np.float32(max(abs(low), abs(high))))
    np.testing.assert_allclose(numbers_of(EACH_END, (low, high)), middles, rtol=0, atol=rounding)


@pytest.mark.parametrize(
    ("low", "high"), [(1, 2), (-2, 2), (1.1, 1.2), (-1.2, -1.1), (10, 20), (-20, -10), (-0.2, 0.2), (0, 0.3), (2, 6)]
)
def test_numbers_stay_within_their_range(low, high):
    numbers = numbers_of(AT_THE_ENDS, (low, high))
    assert np.float32(low) <= numbers.min() and numbers.max() <= np.float32(high)
    assert (np.diff(numbers) >= 0).all()


@pytest.mark.parametrize("high", [2, 1, 0.5])
def test_numbers_on_a_range_around_zero_are_symmetric(high):
    np.testing.assert_array_equal(numbers_of(EACH_END, (-high, high)), -numbers_of(~EACH_END, (-high, high)))


@pytest.mark.parametrize("high", [2, 1, 0.5])
def test_no_number_on_a_range_around_zero_is_zero(high):
    # Of 2²³ parts of [-high, high) the two in the middle, 2 high wide in all, have their middles high / 2²³ from 0.
    numbers = numbers_of(AT_THE_MIDDLE, (-high, high))
    assert len(np.unique(numbers)) == 4000
    assert sorted(set(np.sort(abs(numbers))[:4])) == [high * 2.0**-23]


def test_half_a_part_stands_where_rounding_would_make_zero():
    # The middle of the part above the middle of the range is at 1/2 + 2⁻²⁴ of its width, where this range has its 0.
    low = -0.5 - 2.0**-24
    [number] = numbers_of([2**31], (low, low + 1))
    assert number == 2.0**-24


def test_the_numbers_of_a_key_are_those_of_its_bits():
    key = key_at(Purpose.TRAINING, jnp.uint32(3), jnp.int32(5))
    draw = functools.partial(uniform_on, lows=jnp.array([-2.0]), width=jnp.float32(4), shape=(5, 40))
    expected = -2 + 4 * (parts_of(jax.random.bits(key, (5, 40))) + 0.5) / 2**23
    np.testing.assert_array_equal(jax.jit(draw)(key), expected)


def test_on_a_union_the_upper_bits_pick_the_interval_and_the_others_the_place_in_it():
    # 2²³ parts of the union are 2²² of each interval.
    interval, part = np.divmod(parts_of(EACH_END), 2**22)
    expected = np.where(interval == 0, -6, 2) + 4 * (part + 0.5) / 2**22
    found = numbers_of(EACH_END, (-6, -2), (2, 6))
    np.testing.assert_array_equal(found, expected.astype(np.float32))


@pytest.mark.parametrize("count", [2, 3, 5, 7, 9])
def test_the_first_and_the_last_words_stay_within_the_first_and_the_last_interval_of_a_union(count):
    intervals = [(4.0 * i, 4.0 * i + 1) for i in range(count)]
    numbers = numbers_of(AT_THE_ENDS, *intervals)
    first, last = numbers[:4], numbers[4:]
    assert ((first >= 0) & (first < 1e-5)).all()
    assert ((last <= 4 * count - 3) & (last > 4 * count - 3 - 1e-5)).all()
