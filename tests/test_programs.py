"""Programs as arrays and as text: their answers are those of Python."""

import functools
import re

import jax
import numpy as np
import pytest

from nalu_jax.data import programs

COUNT = 2_000

pytestmark = pytest.mark.slow  # the drawing of programs takes long to compile


@functools.cache
def drawn(operations=programs.OPERATIONS, most=3, below=100):
    draw = functools.partial(programs.draw, count=COUNT, operations=operations, most=most, below=below)
    return jax.tree.map(np.asarray, jax.jit(draw)(jax.random.key(0, impl="unsafe_rbg")))


def texts(found):
    return [programs.text_of(found.kinds[:n, b], found.values[:n, b]) for b, n in enumerate(found.lengths)]


def operations_in(text):
    return len(re.findall(r"\+|-|if", text))


@pytest.mark.parametrize(("operations", "most", "below"), [(programs.OPERATIONS, 3, 100), (("+",), 1, 10_000)])
def test_the_answers_are_those_of_python(operations, most, below):
    found = drawn(operations, most, below)
    assert found.answers.tolist() == [eval(text) for text in texts(found)]


def test_a_program_that_is_read_again_is_the_same():
    found = drawn()
    for b, (text, n) in enumerate(zip(texts(found), found.lengths, strict=True)):
        kinds, values = programs.parse(text, below=100)
        np.testing.assert_array_equal(kinds, found.kinds[:n, b])
        np.testing.assert_array_equal(values, found.values[:n, b])
        assert (found.kinds[n - 1 :, b] == programs.END).all() and not found.values[n - 1 :, b].any()


def test_depth_operations_places_and_numbers_are_drawn_evenly():
    found = drawn()
    written = texts(found)
    depth = np.bincount([operations_in(text) for text in written], minlength=4) / COUNT
    np.testing.assert_allclose(depth, [0, 1 / 3, 1 / 3, 1 / 3], atol=0.03)  # four standard deviations
    single = [text for text in written if operations_in(text) == 1]
    shares = [np.mean([f" {kind} " in text for text in single]) for kind in ("+", "-", "<", ">")]
    np.testing.assert_allclose(shares, [1 / 3, 1 / 3, 1 / 6, 1 / 6], atol=0.05)
    two = [text for text in written if operations_in(text) == 2 and text.count("if") == 1 and "(" in text]
    within = [text for text in two if re.search(r"\(\d+ [+-] \d+\)", text)]  # a sum within a conditional
    place = [len(re.findall(r"if|<|>|else", text[: text.index("(")])) for text in within]
    np.testing.assert_allclose(np.bincount(place) / len(within), 1 / 4, atol=0.12)
    numbers = found.values[found.kinds == programs.NUMBER]
    assert (numbers.min(), numbers.max()) == (0, 99)
    np.testing.assert_allclose(np.bincount(numbers // 10) / len(numbers), 0.1, atol=0.01)


def test_an_addition_is_two_numbers_a_sign_and_the_end():
    found = drawn(("+",), 1, 10_000)
    assert found.kinds.shape == (4, COUNT) and (found.lengths == 4).all()
    order = [programs.KINDS.index(kind) for kind in ("number", "+", "number", "end")]
    np.testing.assert_array_equal(found.kinds.T, np.tile(order, (COUNT, 1)))
    np.testing.assert_array_equal(found.answers, found.values.sum(0))


def test_the_longest_program_fills_all_steps():
    found = drawn()
    assert found.lengths.max() == len(found.kinds) == programs.longest(programs.OPERATIONS, 3) == 24
    assert programs.longest(("+", "-"), 3) == 12


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("12 * 3", "unknown token '*'; a program is made of numbers and + - if else < > ( )"),
        ("x + 3", "unknown token 'x'"),
        ("1.5 + 3", "unknown token '.'"),
        ("100 + 3", "numbers must be below 100, got 100"),
        ("1 + 2 + 3", "expected end, got +: an operation within another needs parentheses"),
        ("(1 + 2", "expected ), got end"),
        ("(1 + 2)", "expected + or - or if, got end"),
        ("5 if 3 else 4", "expected < or >, got else"),
        ("end + 1", "unknown token 'end'"),
        ("-5 + 3", "expected number or (, got -"),
        ("", "expected number or (, got end"),
    ],
)
def test_a_text_that_is_no_program_is_refused_in_a_sentence(text, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        programs.parse(text, below=100)
