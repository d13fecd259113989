"""The bit generator against published vectors and against JAX's own; the keys against the positions they come from."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

from nalu_jax.training.random import (
    GENERATORS,
    THREEFRY,
    Purpose,
    generator_of,
    key_at,
    keyed_murmur,
    pcg3d,
    threefry_2x32,
    threefry_bits,
    threefry_fold_in,
)

KEY_DATA = np.array([0x13198A2E, 0x03707344], np.uint32)
OURS = jax.random.wrap_key_data(KEY_DATA, impl=THREEFRY)
JAXS = jax.random.wrap_key_data(KEY_DATA, impl="threefry2x32")


@pytest.mark.parametrize(
    ("key", "counter", "expected"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
    ids=["zeros", "ones", "pi"],
)
def test_threefry_gives_the_known_answers_of_the_random123_distribution(key, counter, expected):
    key, counter = (jnp.array(words, jnp.uint32) for words in (key, counter))
    assert tuple(int(word) for word in threefry_2x32(key, *counter)) == expected


# Equal bit for bit from here on: the numbers are part of every published result.


def assert_both_draw_the_same(draw):
    """``draw`` is a function of the key."""
    np.testing.assert_array_equal(*jax.jit(lambda ours, jaxs: (draw(ours), draw(jaxs)))(OURS, JAXS))


@pytest.mark.parametrize("shape", [(), (3, 0), (2, 3, 4)], ids=str)
def test_the_bits_are_those_of_jax(shape):
    assert_both_draw_the_same(lambda key: jax.random.bits(key, shape))


@pytest.mark.parametrize("width", [8, 16, 64])
def test_the_bits_of_every_width_are_those_of_jax(width):
    with jax.enable_x64(True):
        assert_both_draw_the_same(lambda key: jax.random.bits(key, (5, 4), f"uint{width}"))


def test_the_bits_are_those_of_jax_under_vmap():
    assert_both_draw_the_same(lambda key: jax.vmap(lambda key: jax.random.bits(key, (5, 4)))(jax.random.split(key, 3)))


def test_the_bits_are_those_of_jax_outside_a_compiled_program():
    np.testing.assert_array_equal(jax.random.bits(OURS, (7,)), jax.random.bits(JAXS, (7,)))


def test_uniform_numbers_are_those_of_jax():
    assert_both_draw_the_same(lambda key: jax.random.uniform(key, (5, 4)))


@pytest.mark.parametrize(("shape", "left"), [((2**16, 2**16), True), ((2**16, 2**16 - 1), False)], ids=["2^32", "fewer"])
def test_more_numbers_than_a_32_bit_counter_can_count_are_left_to_jax(shape, left):
    # Too many to draw: JAX's own primitive in the traced program tells who would draw them.
    program = jax.make_jaxpr(lambda key: threefry_bits(key, 32, shape))(KEY_DATA)
    assert ("threefry2x32" in str(program)) is left


FOLDED = np.array([0, 1, 7, 2**16, 2**31 - 1, 2**31, 2**32 - 1], np.uint32)


def test_the_key_that_is_folded_in_is_that_of_jax():
    for word in FOLDED:
        expected = jax.random.key_data(jax.random.fold_in(JAXS, word))
        np.testing.assert_array_equal(threefry_fold_in(jnp.asarray(KEY_DATA), jnp.asarray(word)), expected)
        np.testing.assert_array_equal(jax.random.key_data(jax.random.fold_in(OURS, word)), expected)


@pytest.mark.parametrize("axes", [(None, 0), (0, None), (0, 0)], ids=["words", "keys", "both"])
def test_the_keys_that_are_folded_in_are_those_of_jax_under_vmap(axes):
    keys = {0: jax.random.split(JAXS, len(FOLDED)), None: JAXS}[axes[0]]
    words = jnp.asarray(FOLDED if axes[1] == 0 else FOLDED[-1])
    expected = jax.random.key_data(jax.vmap(jax.random.fold_in, axes)(keys, words))
    found = jax.jit(jax.vmap(threefry_fold_in, axes))(jax.random.key_data(keys), words)
    np.testing.assert_array_equal(found, expected)


# Keys by position


@jax.jit
def numbers_at(purpose, seed, step):
    return jax.random.bits(key_at(purpose, seed, step), (4,))


@pytest.mark.parametrize("purpose", Purpose)
def test_a_key_is_folded_from_its_purpose_then_its_seed_then_its_step(purpose):
    key = jax.random.key(0, impl="threefry2x32")
    for word in (int(purpose), 7, 1000):
        key = jax.random.fold_in(key, word)
    numbers = numbers_at(purpose, jnp.uint32(7), jnp.int32(1000))
    np.testing.assert_array_equal(numbers, jax.random.bits(key, (4,)))


def test_the_numbers_of_the_purposes_are_those_of_the_published_results():
    assert {purpose.name: int(purpose) for purpose in Purpose} == {
        "PARAMETERS": 0, "TASK": 1, "TRAINING": 2, "NOISE": 3, "RESTART": 4,
    }  # fmt: skip


def test_keys_differ_between_purposes_seeds_and_steps():
    seeds, steps = jnp.arange(5, dtype=jnp.uint32), jnp.arange(5)

    @jax.jit
    def keys(purpose):
        at_steps = jax.vmap(jax.vmap(lambda seed, step: key_at(purpose, seed, step), (None, 0)), (0, None))(seeds, steps)
        return jnp.concatenate([at_steps.reshape(-1), jax.vmap(lambda seed: key_at(purpose, seed))(seeds)])

    words = {tuple(key) for purpose in Purpose for key in jax.random.key_data(keys(purpose)).tolist()}
    assert len(words) == len(Purpose) * 5 * (5 + 1)


def test_the_largest_seed_has_a_key_of_its_own():
    first, last = (numbers_at(Purpose.TASK, jnp.uint32(seed), jnp.int32(0)) for seed in (0, 2**32 - 1))
    assert (first != last).all()


@pytest.mark.parametrize("beside", [[0, 7], [3, 11, 7, 2**32 - 1]], ids=str)
def test_the_numbers_of_a_seed_do_not_depend_on_the_seeds_beside_it(beside):
    training, step = int(Purpose.TRAINING), jnp.int32(3)
    together = jax.jit(jax.vmap(lambda seed: numbers_at(training, seed, step)))(jnp.array(beside, jnp.uint32))
    np.testing.assert_array_equal(together[beside.index(7)], numbers_at(training, jnp.uint32(7), step))


# pcg3d


def pcg3d_by_hand(x, y, z):
    """Jarzynski & Olano 2020, listing of pcg3d, with Python's integers."""
    word = 2**32
    x, y, z = ((1664525 * v + 1013904223) % word for v in (x, y, z))
    x = (x + y * z) % word
    y = (y + z * x) % word
    z = (z + x * y) % word
    x, y, z = (v ^ (v >> 16) for v in (x, y, z))
    x = (x + y * z) % word
    y = (y + z * x) % word
    z = (z + x * y) % word
    return x, y, z


@pytest.mark.parametrize("words", [(0, 0, 0), (1, 2, 3), (0xFFFFFFFF,) * 3, (0x243F6A88, 0x85A308D3, 0x13198A2E)], ids=str)
def test_pcg3d_is_the_published_hash(words):
    hashed = pcg3d(*(jnp.array(word, jnp.uint32) for word in words))
    assert tuple(int(word) for word in hashed) == pcg3d_by_hand(*words)


def test_a_pcg3d_key_gives_a_word_of_the_hash_of_position_and_key():
    key = jax.random.wrap_key_data(KEY_DATA, impl=GENERATORS["pcg3d"])
    expected = [pcg3d_by_hand(counter, *(int(word) for word in KEY_DATA))[2] for counter in range(12)]
    assert np.asarray(jax.jit(lambda: jax.random.bits(key, (3, 4)))()).ravel().tolist() == expected


# murmur


def murmur_by_hand(counter, start, middle):
    """Two rounds of a shifted copy and a product, the constants of Appleby's fmix32, each after a word was added."""
    word = 2**32
    h = (start + counter * 0x9E3779B9) % word
    h ^= h >> 16
    h = h * 0x85EBCA6B % word
    h ^= h >> 13
    h = (h + middle) % word
    h ^= h >> 16
    h = h * 0xC2B2AE35 % word
    return h ^ h >> 16


def murmur(counters, start, middle):
    words = keyed_murmur(*(jnp.asarray(np.array(word, np.uint32)) for word in (counters, start, middle)))
    return np.asarray(words)


KEYS = [(0, 0), (1, 2), (2**32 - 1, 2**32 - 1), (0x243F6A88, 0x85A308D3)]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_murmur_is_its_formula_in_whole_numbers(key):
    counters = [*range(50), 2**16 - 1, 2**16, 2**31, 2**32 - 1]
    assert murmur(counters, *key).tolist() == [murmur_by_hand(counter, *key) for counter in counters]


# The first and the last of all counters, and some that are spread over the others; all different.
COUNTERS = np.concatenate([np.arange(2**20), np.arange(2**21, 2**32 - 2**21, 4093), np.arange(2**32 - 2**20, 2**32)]).astype(
    np.uint32
)


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_no_key_of_murmur_gives_two_counters_the_same_word(key):
    words = np.sort(murmur(COUNTERS, *key))
    assert (COUNTERS[1:] > COUNTERS[:-1]).all()
    assert (words[1:] > words[:-1]).all()


def test_a_murmur_key_gives_the_permuted_positions():
    key = jax.random.wrap_key_data(KEY_DATA, impl=GENERATORS["murmur"])
    expected = [murmur_by_hand(counter, *(int(word) for word in KEY_DATA)) for counter in range(12)]
    assert np.asarray(jax.jit(lambda: jax.random.bits(key, (3, 4)))()).ravel().tolist() == expected


# All generators


def test_all_generators_derive_the_same_keys():
    keys = [key_at(Purpose.TRAINING, jnp.uint32(3), jnp.int32(5), generator=name) for name in GENERATORS]
    words = [jax.random.key_data(key).tolist() for key in keys]
    assert words == [words[0]] * len(GENERATORS)


def test_the_numbers_of_the_generators_differ():
    drawn = [jax.random.bits(key_at(Purpose.TRAINING, jnp.uint32(0), generator=name), (50,)) for name in GENERATORS]
    assert all((one != other).all() for one, other in itertools.combinations(drawn, 2))


@pytest.mark.parametrize("generator", ["murmur", "pcg3d"])
def test_numbers_are_uniform_and_those_of_neighbouring_seeds_and_steps_are_not_correlated(generator):
    def numbers(seed, step):
        key = key_at(Purpose.TRAINING, jnp.uint32(seed), jnp.int32(step), generator=generator)
        return jax.random.uniform(key, (2**18,), jnp.float32)

    here, next_seed, next_step = np.asarray(jax.jit(lambda: [numbers(0, 0), numbers(1, 0), numbers(0, 1)])(), np.float64)
    assert chisquare(np.histogram(here, 256, (0, 1))[0]).pvalue > 0.001
    for other in (next_seed, next_step, np.roll(here, 1)):
        # Of independent numbers, 1 / √n is the standard deviation of the correlation.
        assert abs(np.corrcoef(here, other)[0, 1]) < 4 / np.sqrt(2**18)


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_that_is_named_is_the_one_in_use(name):
    assert generator_of(name) == name


@pytest.mark.parametrize(("backend", "expected"), [("cpu", "murmur"), ("gpu", "threefry2x32"), ("tpu", "threefry2x32")])
def test_auto_is_murmur_on_a_cpu_and_what_jax_chooses_elsewhere(monkeypatch, backend, expected):
    assert jax.default_backend() == "cpu"
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    assert generator_of("auto") == expected


def test_an_unknown_generator_is_refused():
    with pytest.raises(ValueError, match="generator must be auto or one of murmur, pcg3d, threefry2x32, got 'mt19937'"):
        generator_of("mt19937")
