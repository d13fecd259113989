"""The whole numbers from 0 to 999 in British words: "five hundred and fifteen"."""

import functools
from types import MappingProxyType

from nalu_jax.registry import nearest

COUNT = 1000  # numbers that have words here: 0, ..., 999
UNITS_AND_TEENS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
VOCABULARY = (*UNITS_AND_TEENS, *TENS, "hundred", "and")
MOST_WORDS = 5


def words_of(number: int) -> tuple[str, ...]:
    """The words of a whole number: 515 is five, hundred, and, fifteen. Raises ValueError outside 0, ..., 999."""
    if not (isinstance(number, int) and 0 <= number < COUNT):
        raise ValueError(f"number must be a whole number from 0 to {COUNT - 1}, got {number!r}")
    if number < 20:
        return (UNITS_AND_TEENS[number],)
    if number < 100:
        tens, ones = divmod(number, 10)
        return (TENS[tens - 2], *(words_of(ones) if ones else ()))
    hundreds, rest = divmod(number, 100)
    return (UNITS_AND_TEENS[hundreds], "hundred", *(("and", *words_of(rest)) if rest else ()))


@functools.cache
def numbers_by_words() -> MappingProxyType[tuple[str, ...], int]:
    """All numbers by their words."""
    return MappingProxyType({words_of(number): number for number in range(COUNT)})


def words_in(text: str) -> tuple[str, ...]:
    """The words of a text, "Thirty-four" being two. Raises ValueError for a text without words, and for an unknown word."""
    words = tuple(text.lower().replace("-", " ").split())
    if not words:
        raise ValueError("there is no word: write a number such as 'four hundred and two'")
    for word in words:
        if word not in VOCABULARY:
            raise ValueError(f"unknown word {word!r}{nearest(word, VOCABULARY)}")
    return words


def number_of(text: str) -> int:
    """The number that a text says, in small or capital letters, with or without hyphens.

    Raises ValueError for an unknown word, and for words that are no number from 0 to 999 as the British write it.
    """
    words = words_in(text)
    if words not in numbers_by_words():
        raise ValueError(
            f"{' '.join(words)!r} is no number from 0 to {COUNT - 1}, written as 'four hundred and two' or 'thirty four'"
        )
    return numbers_by_words()[words]
