"""The bit generator against published vectors and against JAX's own; the keys against the positions they come from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

from nalu_jax.random import GENERATORS, THREEFRY, Purpose, key_at, pcg3d, threefry_2x32, threefry_bits

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


def test_all_generators_derive_the_same_keys():
    keys = [key_at(Purpose.TRAINING, jnp.uint32(3), jnp.int32(5), generator=name) for name in GENERATORS]
    np.testing.assert_array_equal(*(jax.random.key_data(key) for key in keys))


def test_the_numbers_of_the_generators_differ():
    threefry, pcg = (jax.random.bits(key_at(Purpose.TRAINING, jnp.uint32(0), generator=name), (50,)) for name in GENERATORS)
    assert (threefry != pcg).all()


def test_the_numbers_of_pcg3d_are_uniform_and_those_of_neighbouring_seeds_and_steps_are_not_correlated():
    def numbers(seed, step):
        key = key_at(Purpose.TRAINING, jnp.uint32(seed), jnp.int32(step), generator="pcg3d")
        return jax.random.uniform(key, (2**18,), jnp.float32)

    here, next_seed, next_step = np.asarray(jax.jit(lambda: [numbers(0, 0), numbers(1, 0), numbers(0, 1)])(), np.float64)
    assert chisquare(np.histogram(here, 256, (0, 1))[0]).pvalue > 0.001
    for other in (next_seed, next_step, np.roll(here, 1)):
        # Of independent numbers, 1 / √n is the standard deviation of the correlation.
        assert abs(np.corrcoef(here, other)[0, 1]) < 4 / np.sqrt(2**18)


def test_an_unknown_generator_is_refused():
    with pytest.raises(ValueError, match="generator must be one of threefry2x32, pcg3d, got 'mt19937'"):
        key_at(Purpose.TRAINING, jnp.uint32(0), generator="mt19937")
