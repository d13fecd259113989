"""Vectors of numbers as text: how they are shown to a person, and how a person types them."""

import re

import jax.numpy as jnp
import numpy as np

from nalu_jax.types import Array

SHOWN = 6  # numbers of a vector that are shown; of a longer one the first ones and the last
DIGITS = 6  # of a number
LARGEST = float(np.finfo(np.float32).max)


def show_number(value: float | np.number) -> str:
    """A number with up to six digits: 3.25, -1000, 1.5e+12."""
    return f"{float(value):.{DIGITS}g}"


def show_vector(vector: np.ndarray) -> str:
    """A vector f32[n] as numbers with commas between; a long one as its first numbers, the last, and how many there are."""
    if len(vector) <= SHOWN:
        return ", ".join(map(show_number, vector))
    first = ", ".join(map(show_number, vector[: SHOWN - 2]))
    return f"{first}, …, {show_number(vector[-1])} ({len(vector)} numbers)"


def parse_vector(text: str, size: int) -> Array:
    """``size`` numbers with spaces or commas between as a batch of one vector, f32[size, 1].

    Raises ValueError for another count, and for a word that is no number or none that is finite in float32.
    """
    words = re.split(r"\s*,\s*|\s+", text.strip()) if text.strip() else []
    numbers = [parse_number(word) for word in words]
    if len(numbers) != size:
        wanted = "one number" if size == 1 else f"{size} numbers, with spaces or commas between"
        raise ValueError(f"its input is {wanted}, got {len(numbers) or 'none'}")
    return jnp.asarray(numbers, jnp.float32)[:, None]


def parse_number(word: str) -> float:
    """The number that a word is. Raises ValueError for a word that is none, or none that is finite in float32."""
    try:
        value = float(word)
    except ValueError:
        raise ValueError(f"{word!r} is not a number") from None
    if not abs(value) <= LARGEST:
        raise ValueError(f"its input is finite numbers of float32, got {word}")
    return value
