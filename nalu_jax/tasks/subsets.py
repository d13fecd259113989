"""Which inputs are summed into a and b: the schemes of the papers, each drawn once per seed.

A scheme is a frozen dataclass with ``check(input_size)``, which raises ValueError where it does not fit, and
``masks(key, input_size)``, f32[input_size, 2] with 1 where an input belongs to a (column 0) or to b (column 1).
"""

import dataclasses
import math

import jax
import jax.numpy as jnp

from nalu_jax.registry import Registry
from nalu_jax.types import Array

SUBSETS = Registry("way of choosing subsets")


def slices(input_size: int, starts: Array, sizes: Array) -> Array:
    """Masks of contiguous slices: 1 where start ≤ i < start + size, f32[input_size, number of slices]."""
    i = jnp.arange(input_size)[:, None]
    return ((i >= starts[None]) & (i < (starts + sizes)[None])).astype(jnp.float32)


@SUBSETS.register("overlapping")
@dataclasses.dataclass(frozen=True)
class Overlapping:
    """Two contiguous slices of s = ⌊subset_ratio · n⌋ inputs that share the ⌊overlap_ratio · s⌋ where they meet.

    The block of both is shifted by an offset drawn uniformly from all that fit. Madsen & Johansen 2020 (arXiv
    2001.05016), appendix on the arithmetic task; their code takes the overlap relative to the slice, as here.
    """

    subset_ratio: float
    overlap_ratio: float

    def __post_init__(self):
        if not 0 < self.subset_ratio <= 1:
            raise ValueError(f"subset_ratio must lie in (0, 1], got {self.subset_ratio!r}")
        if not 0 <= self.overlap_ratio <= 1:
            raise ValueError(f"overlap_ratio must lie in [0, 1], got {self.overlap_ratio!r}")

    def sizes(self, input_size: int) -> tuple[int, int]:
        """Number of inputs in a slice, and of those that both slices share."""
        # The margin keeps 0.29 · 100 = 28.999999999999996 from losing an input.
        size = math.floor(self.subset_ratio * input_size + 1e-9)
        return size, math.floor(self.overlap_ratio * size + 1e-9)

    def check(self, input_size: int) -> None:
        """Raises ValueError if the two slices are empty or do not fit into the input."""
        size, overlap = self.sizes(input_size)
        if size < 1:
            raise ValueError(f"subset_ratio {self.subset_ratio:g} of {input_size} inputs leaves the subsets empty")
        if 2 * size - overlap > input_size:
            raise ValueError(
                f"two subsets of {size} inputs with {overlap} in common need {2 * size - overlap} inputs, but input_size "
                f"is {input_size}: lower subset_ratio, or raise overlap_ratio or input_size"
            )

    def masks(self, key: Array, input_size: int) -> Array:
        """Masks of a and b: key → f32[input_size, 2]."""
        size, overlap = self.sizes(input_size)
        offset = jax.random.randint(key, (), 0, input_size - (2 * size - overlap) + 1)
        return slices(input_size, jnp.stack([offset, offset + size - overlap]), jnp.array([size, size]))


@SUBSETS.register("disjoint")
@dataclasses.dataclass(frozen=True)
class Disjoint:
    """Two contiguous slices without common inputs, their sizes uniform from smallest to largest, in either order.

    The 2018 paper (section 4.1, appendix B) only states that the slices are random and then fixed.
    """

    smallest: int
    largest: int

    def __post_init__(self):
        if not 1 <= self.smallest <= self.largest:
            raise ValueError(f"subset sizes need 1 ≤ smallest ≤ largest, got {self.smallest} and {self.largest}")

    def check(self, input_size: int) -> None:
        """Raises ValueError if two slices of the largest size do not fit into the input."""
        if 2 * self.largest > input_size:
            raise ValueError(
                f"two disjoint subsets of up to {self.largest} inputs need {2 * self.largest} inputs, but input_size is "
                f"{input_size}"
            )

    def masks(self, key: Array, input_size: int) -> Array:
        """Masks of a and b: key → f32[input_size, 2]."""
        key_size, key_place, key_order = jax.random.split(key, 3)
        sizes = jax.random.randint(key_size, (2,), self.smallest, self.largest + 1)
        # Two points among the inputs that belong to neither slice; the slices are put in there.
        points = jnp.sort(jax.random.randint(key_place, (2,), 0, input_size - sizes.sum() + 1))
        left_is_a = slices(input_size, points + jnp.array([0, 1]) * sizes[0], sizes)
        return jnp.where(jax.random.bernoulli(key_order), left_is_a, left_is_a[:, ::-1])


@SUBSETS.register("nested")
@dataclasses.dataclass(frozen=True)
class Nested:
    """The simple task: a is the sum of all inputs, b that of the first half, the same for every seed.

    With four inputs and "mul" the target is (x1 + x2)(x1 + x2 + x3 + x4). Madsen & Johansen 2020, section 1.1.
    """

    def check(self, input_size: int) -> None:
        """Raises ValueError if there is no half of the inputs."""
        if input_size < 2:
            raise ValueError(f"nested subsets need an input_size of at least 2, got {input_size}")

    def masks(self, key: Array, input_size: int) -> Array:
        """Masks of a and b: key → f32[input_size, 2]."""
        del key
        return slices(input_size, jnp.array([0, 0]), jnp.array([input_size, input_size // 2]))
