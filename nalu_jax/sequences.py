"""Inputs of recurrent networks: sequences of elements, of vectors, and of vectors that are made as they are read.

Each has ``inputs(read)``, what a reader makes of all time steps at once, f32[in, time, batch], and ``by_step(read)``, which
spares that memory: a tree of arrays [time, ...], and a function from its part at one step to the inputs there, [in, batch].
``lengths``, i32[batch] and at least 1, says after how many steps a sequence ends; None: all are as long as there are steps.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nalu_jax.types import Array

Reader = Callable[[Array], Array]  # [..., n] → f32[in, n]


class Sequences(NamedTuple):
    """Sequences of elements: each element once, and at which place of which sequence it stands.

    What reads the elements then does so once for each, however often and wherever it is seen.
    """

    elements: Array  # [..., elements], such as images f32[height, width, images] or the words of a vocabulary i32[words]
    order: Array  # i32[time, batch], indices of elements
    lengths: Array | None = None

    def inputs(self, read: Reader) -> Array:
        """All elements read, then looked up: f32[in, time, batch]."""
        return read(self.elements)[:, self.order]

    def by_step(self, read: Reader) -> tuple[Any, Reader]:
        """All elements read, to be looked up at each step."""
        z = read(self.elements)
        return self.order, lambda order: z[:, order]


class Vectors(NamedTuple):
    """Sequences of vectors, none of which comes twice."""

    vectors: Array  # f32[in, time, batch]
    lengths: Array | None = None

    def inputs(self, read: Reader) -> Array:
        """All vectors read: f32[in, time, batch]."""
        return read(self.vectors)

    def by_step(self, read: Reader) -> tuple[Any, Reader]:
        """All vectors read, time first."""
        return self.inputs(read).swapaxes(0, 1), lambda z: z


class Generated(NamedTuple):
    """Sequences of vectors that are made one step after the other: memory does not grow with their length."""

    make: Callable[[Array], Array]  # a jax.tree_util.Partial: a step i32[] → the vectors there f32[in, batch]
    steps: Array  # i32[time]
    lengths: Array | None = None

    def inputs(self, read: Reader) -> Array:
        """All vectors made and read: f32[in, time, batch]."""
        return read(jnp.moveaxis(jax.lax.map(self.make, self.steps), 0, 1))

    def by_step(self, read: Reader) -> tuple[Any, Reader]:
        """Vectors to be made and read at each step; the reader must have no parameters."""
        return self.steps, lambda step: read(self.make(step))
