"""Readers: from what stands at a time step to the input of a cell. Those of images are in ``trunks``."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from nalu_jax.registry import READERS
from nalu_jax.types import Array


def make_reader(fields: Mapping[str, Any], **sizes: Any) -> nn.Module:
    """The reader [..., n] → [features, n] of plain fields: its name, and those fields that are to differ from the paper's.

    Raises ValueError for an unknown name or a field that the reader does not have, and for values that it refuses.
    """
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    if "name" not in given:
        raise ValueError(f"reader.name is missing: one of {', '.join(READERS)}")
    return READERS[str(given.pop("name"))](**sizes, **given)


@READERS.register("identity")
class Identity(nn.Module):
    """Vectors as they are: [in, ...] → [in, ...]."""

    features: int = 0  # not used: as many as the vectors have

    def __call__(self, vectors: Array) -> Array:
        """[in, ...] → [in, ...]."""
        return vectors


@READERS.register("embedding")
class Embedding(nn.Module):
    """A vector of its own for each word of a vocabulary, from N(0, 1) at the start.

    It reads the vocabulary once, as the elements of ``Sequences``: words i32[n] → f32[features, n], where the words are
    0, ..., n - 1 in some order.
    """

    features: int

    @nn.compact
    def __call__(self, words: Array) -> Array:
        """i32[n] → f32[features, n]."""
        table = self.param("embedding", nn.initializers.normal(1.0), (self.features, len(words)))
        return table[:, words]
