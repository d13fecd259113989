"""Keys by position, and the bit generator behind them.

A key is a function of where its numbers are used: for what purpose, in which seed, at which step. None is stored or
handed on, so a resumed run draws what the uninterrupted one draws, and a seed's numbers do not depend on the seeds that
run beside it.
"""

import enum
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import define_prng_impl, threefry_prng_impl

from nalu_jax.types import Array


class Purpose(enum.IntEnum):
    """What random numbers are for. The numbers are part of every published result: never renumber."""

    PARAMETERS = 0
    TASK = 1
    TRAINING = 2
    NOISE = 3
    RESTART = 4


def threefry_2x32(key: Array, high: Array, low: Array) -> tuple[Array, Array]:
    """Threefry-2x32 with 20 rounds: the counter (high, low) u32[...] encrypted under key u32[2].

    Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3.
    """
    rotations = ((13, 15, 26, 6), (17, 29, 16, 24))
    schedule = (key[0], key[1], key[0] ^ key[1] ^ np.uint32(0x1BD11BDA))
    x0, x1 = high + schedule[0], low + schedule[1]
    for block in range(5):
        for rotation in rotations[block % 2]:
            x0 = x0 + x1
            x1 = x0 ^ rotate_left(x1, rotation)
        x0 = x0 + schedule[(block + 1) % 3]
        x1 = x1 + schedule[(block + 2) % 3] + np.uint32(block + 1)
    return x0, x1


def keyed_murmur(counter: Array, start: Array, middle: Array) -> Array:
    """A 32-bit permutation of the counter, u32[...], chosen by two words, u32[] each.

    The two multiplications of MurmurHash3's finaliser (Appleby 2011, function fmix32), each between copies of the word that
    are shifted and xored; the one word of the key is added before the first, the other before the second, as a cipher adds
    its round keys. Counters are first spread by 2³² over the golden ratio, as in SplitMix (Steele, Lea & Flood 2014). This
    composition is ours: what speaks for it are the batteries in benchmarks/random_streams.txt.
    """
    word = start + counter * np.uint32(0x9E3779B9)
    word = (word ^ word >> np.uint32(16)) * np.uint32(0x85EBCA6B)
    word = middle + (word ^ word >> np.uint32(13))
    word = (word ^ word >> np.uint32(16)) * np.uint32(0xC2B2AE35)
    return word ^ word >> np.uint32(16)


def pcg3d(x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
    """The hash pcg3d of three words, u32[...] each.

    Jarzynski & Olano 2020, "Hash functions for GPU rendering", Journal of Computer Graphics Techniques 9(3).
    """
    x, y, z = (np.uint32(1664525) * word + np.uint32(1013904223) for word in (x, y, z))
    for last in (False, True):
        x = x + y * z
        y = y + z * x
        z = z + x * y
        if not last:
            x, y, z = (word ^ (word >> np.uint32(16)) for word in (x, y, z))
    return x, y, z


def rotate_left(word: Array, bits: int) -> Array:
    """A 32-bit word rotated."""
    return word << np.uint32(bits) | word >> np.uint32(32 - bits)


def counters(shape: tuple[int, ...]) -> Array:
    """0, 1, 2, ... in the order of the elements, u32[shape]; computed without a pass over memory."""
    strides = np.cumprod((1, *shape[:0:-1]), dtype=np.uint32)[::-1]
    axes = [jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * stride for axis, stride in enumerate(strides[: len(shape)])]
    return sum(axes, jnp.zeros(shape, jnp.uint32))


def counted(bits: Callable[[Array, Array], Array]) -> Callable[[Array, int, tuple[int, ...]], Array]:
    """``random_bits`` of an implementation of keys, from a function of key u32[2] and counter u32[...].

    Widths other than 32 bits, and more numbers than a 32-bit counter can count, are left to JAX's threefry.
    """

    def random_bits(key: Array, bit_width: int, shape: tuple[int, ...]) -> Array:
        if bit_width != 32 or np.prod(shape, dtype=object) >= 2**32:
            return threefry_prng_impl.random_bits(key, bit_width, shape)
        return bits(key, counters(shape))

    return random_bits


@counted
def threefry_bits(key: Array, counter: Array) -> Array:
    """The bits that ``jax.random.bits`` draws from a threefry key, computed in one pass over the output.

    On CPU JAX lowers threefry to a loop that goes over the whole array at each round, which takes three to four times as
    long.
    """
    high, low = threefry_2x32(key, jnp.zeros_like(counter), counter)
    return high ^ low


@counted
def murmur_bits(key: Array, counter: Array) -> Array:
    """The counter, permuted as the key says, a word for each number that is drawn."""
    return keyed_murmur(counter, key[0], key[1])


@counted
def pcg3d_bits(key: Array, counter: Array) -> Array:
    """A word of pcg3d of (counter, key), one for each number that is drawn."""
    return pcg3d(counter, key[0], key[1])[2]


def threefry_fold_in(key: Array, data: Any) -> Array:
    """The key that ``jax.random.fold_in`` derives from a threefry key and a 32-bit number, computed in one pass.

    JAX's lowering on CPU is a loop of small steps, which in a training step of small networks costs as much as the draw.
    """
    return jnp.stack(threefry_2x32(key, jnp.uint32(0), data.astype(jnp.uint32)))


def implementation(name: str, tag: str, random_bits: Callable) -> Any:
    """Keys that are derived as threefry derives them, with bits of their own."""
    return define_prng_impl(
        key_shape=(2,),
        seed=threefry_prng_impl.seed,
        split=threefry_prng_impl.split,
        fold_in=threefry_fold_in,
        random_bits=random_bits,
        name=name,
        tag=tag,
    )


THREEFRY = implementation("threefry2x32_one_pass", "fry1", threefry_bits)
PCG3D = implementation("pcg3d", "pcg3", pcg3d_bits)
MURMUR = implementation("murmur", "murm", murmur_bits)

# By the names that configs give them.
GENERATORS: dict[str, Any] = {"murmur": MURMUR, "pcg3d": PCG3D, "threefry2x32": THREEFRY}


def generator_of(name: str) -> str:
    """The generator that a name stands for: itself, or for "auto" the one for the devices in use.

    On a CPU, where threefry takes longer than all else in a step of a small network, that is murmur; elsewhere it is
    threefry2x32, JAX's own choice. Raises ValueError for a generator that is not known.
    """
    if name == "auto":
        return "murmur" if jax.default_backend() == "cpu" else "threefry2x32"
    if name not in GENERATORS:
        raise ValueError(f"generator must be auto or one of {', '.join(GENERATORS)}, got {name!r}")
    return name


def key_at(purpose: Purpose, seed: Array, step: Array | None = None, *, generator: str = "threefry2x32") -> Array:
    """The key of a position: fold_in(fold_in(fold_in(root, purpose), seed), step).

    All generators derive their keys alike, by threefry; they differ in the bits that a key gives.
    """
    root = jax.random.key(0, impl=GENERATORS[generator])
    key = jax.random.fold_in(jax.random.fold_in(root, purpose), seed)
    return key if step is None else jax.random.fold_in(key, step)
