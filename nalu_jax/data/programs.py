"""Short programs of sums, differences and conditionals: drawn as arrays inside a compiled program, written and read as text.

A program is an operation: ``a + b``, ``a - b``, ``a if b < c else d`` or with ``>``. One of its operands may be an operation
in parentheses. All of it is Python, whose ``eval`` gives the same answers. A program of arrays is a sequence of tokens, each
of a kind and with a value, which is 0 for all kinds but numbers; it ends with the kind "end". Zaremba & Sutskever 2014,
"Learning to Execute", arXiv 1410.4615, have loops, variables and products besides.
"""

import functools
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nalu_jax.types import Array

KINDS = ("number", "+", "-", "if", "else", "<", ">", "(", ")", "end")
NUMBER, END = KINDS.index("number"), KINDS.index("end")
OPERATIONS = ("+", "-", "if")

# The tokens of each form of an operation, an operand in every other place, filled up to the longest.
FORMS = {
    "+": ("number", "+", "number"),
    "-": ("number", "-", "number"),
    "<": ("number", "if", "number", "<", "number", "else", "number"),
    ">": ("number", "if", "number", ">", "number", "else", "number"),
}
SLOTS = max(map(len, FORMS.values()))
FILLED = [(*form, *["end"] * (SLOTS - len(form))) for form in FORMS.values()]
TEMPLATES = np.array([[KINDS.index(kind) for kind in form] for form in FILLED], np.int32)  # [forms, SLOTS]
SIZES = np.array([len(form) for form in FORMS.values()], np.int32)


class Programs(NamedTuple):
    """Programs with their answers, the longest as long as there are steps."""

    kinds: Array  # i32[time, batch], indices of KINDS; END from the end on
    values: Array  # i32[time, batch]
    lengths: Array  # i32[batch], tokens with the end
    answers: Array  # i32[batch]


def longest(operations: Sequence[str], most: int) -> int:
    """The number of tokens of the longest program of up to ``most`` of these operations, with the end."""
    size = max(len(FORMS["<" if operation == "if" else operation]) for operation in operations)
    return size + (most - 1) * (size + 1) + 1  # one within another takes two parentheses and the place of a number


def draw(key: Array, count: int, *, operations: Sequence[str], most: int, below: int | Array) -> Programs:
    """Random programs: key → ``count`` of them, [longest(operations, most), count].

    1 to ``most`` operations, evenly, each drawn evenly from ``operations``, a subset of OPERATIONS, and of a conditional <
    or > evenly. Each takes the program so far as one of its operands, in an evenly drawn place; the others are whole numbers
    uniform in [0, below). As Zaremba & Sutskever's published generator composes expressions.
    """
    draw_one = functools.partial(draw_program, operations=tuple(operations), most=most, below=below)
    return jax.vmap(draw_one, out_axes=-1)(jax.random.split(key, count))


def draw_program(key: Array, *, operations: tuple[str, ...], most: int, below: int | Array) -> Programs:
    """One program, from the innermost operation outwards: key → kinds and values i32[time], length and answer i32[]."""
    key_of_depth, key_of_first, *keys = jax.random.split(key, 2 + most)
    depth = jax.random.randint(key_of_depth, (), 1, most + 1)
    answer = jax.random.randint(key_of_first, (), 0, below)
    kinds, values, used = jnp.array([NUMBER]), answer[None], jnp.array([True])
    slots = jnp.arange(SLOTS)
    for layer, key_of_layer in enumerate(keys):
        form, place, numbers = draw_operation(key_of_layer, operations, below)
        is_there, inner = layer < depth, (layer < depth - 1)[None]
        numbers = jnp.where(slots == place, answer, numbers)
        answer = jnp.where(is_there, evaluate(form, numbers), answer)
        tokens = jnp.asarray(TEMPLATES)[form]
        numbers = jnp.where(tokens == NUMBER, numbers, 0)
        before, after = is_there & (slots < place), is_there & (slots > place) & (slots < jnp.asarray(SIZES)[form])
        opening, closing, nothing = (jnp.array([number]) for number in (KINDS.index("("), KINDS.index(")"), 0))
        kinds = jnp.concatenate([opening, tokens, kinds, tokens, closing])
        values = jnp.concatenate([nothing, numbers, values, numbers, nothing])
        used = jnp.concatenate([inner, before, used, after, inner])
    # What is used moves up to the beginning; the place behind all steps is dropped.
    time, length = longest(operations, most), used.sum(dtype=jnp.int32)
    place = jnp.where(used, jnp.cumsum(used) - 1, time)
    return Programs(
        jnp.full(time, END).at[place].set(kinds, mode="drop"),
        jnp.zeros(time, jnp.int32).at[place].set(values, mode="drop"),
        length + 1,
        answer,
    )


def draw_operation(key: Array, operations: tuple[str, ...], below: int | Array) -> tuple[Array, Array, Array]:
    """A form i32[], the place in it that an operand takes i32[], and numbers for all places i32[SLOTS]."""
    key_of_operation, key_of_sign, key_of_place, key_of_numbers = jax.random.split(key, 4)
    forms = [("<", ">") if operation == "if" else (operation, operation) for operation in operations]
    numbered = jnp.array([[list(FORMS).index(form) for form in pair] for pair in forms])
    chosen = jax.random.randint(key_of_operation, (), 0, len(operations)), jax.random.randint(key_of_sign, (), 0, 2)
    form = numbered[chosen]
    place = 2 * jax.random.randint(key_of_place, (), 0, (jnp.asarray(SIZES)[form] + 1) // 2)
    return form, place, jax.random.randint(key_of_numbers, (SLOTS,), 0, below)


def evaluate(form: Array, numbers: Array) -> Array:
    """What an operation comes to: its form i32[], the numbers in its places i32[SLOTS] → i32[]."""
    a, b, c, d = numbers[::2]
    return jnp.stack([a + b, a - b, jnp.where(b < c, a, d), jnp.where(b > c, a, d)])[form]


def text_of(kinds: np.ndarray, values: np.ndarray) -> str:
    """The Python text of a program: kinds and values i32[time]."""
    return " ".join(tokens_of(kinds, values)).removesuffix(" end").replace("( ", "(").replace(" )", ")")


def tokens_of(kinds: np.ndarray, values: np.ndarray) -> list[str]:
    """The texts of the tokens of a program up to its end: kinds and values i32[time]."""
    length = int(np.argmax(kinds == END)) + 1
    pairs = zip(kinds[:length], values[:length], strict=True)
    return [str(value) if kind == NUMBER else KINDS[kind] for kind, value in pairs]


def parse(text: str, *, below: int) -> tuple[np.ndarray, np.ndarray]:
    """The kinds and values i32[time] of a program, with its end.

    Raises ValueError for an unknown token, a number that is not below ``below``, and a text that is no program.
    """
    kinds, values = [], []
    for token in re.findall(r"\d+|[A-Za-z_]\w*|\S", text):
        number = token.isdecimal()
        if not number and token not in KINDS[1:END]:
            raise ValueError(f"unknown token {token!r}; a program is made of numbers and {' '.join(KINDS[1:END])}")
        if number and int(token) >= below:
            raise ValueError(f"numbers must be below {below}, got {token}")
        kinds.append(NUMBER if number else KINDS.index(token))
        values.append(int(token) if number else 0)
    kinds.append(END)
    rest = iter(kinds)
    parse_operation(rest, "end")
    return np.array(kinds, np.int32), np.array([*values, 0], np.int32)


def parse_operation(rest: Iterator[int], closing: str) -> None:
    """Takes an operation and the token that closes it from the kinds that are left. Raises ValueError if there is none."""
    parse_operand(rest)
    if expect(rest, "+", "-", "if") == "if":
        parse_operand(rest)
        expect(rest, "<", ">")
        parse_operand(rest)
        expect(rest, "else")
    parse_operand(rest)
    expect(rest, closing)


def parse_operand(rest: Iterator[int]) -> None:
    """Takes a number, or an operation in parentheses. Raises ValueError if there is neither."""
    if expect(rest, "number", "(") == "(":
        parse_operation(rest, ")")


def expect(rest: Iterator[int], *allowed: str) -> str:
    """The next kind, which must be an allowed one. Raises ValueError if it is not."""
    kind = KINDS[next(rest)]
    if kind not in allowed:
        raise ValueError(f"expected {' or '.join(allowed)}, got {kind}: an operation within another needs parentheses")
    return kind
