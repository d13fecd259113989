"""Numbers in words, against two libraries that spell them."""

import functools

import num2words
import pytest

from nalu_jax.data.number_words import MOST_WORDS, VOCABULARY, number_of, words_of

NUMBERS = range(1000)


@functools.cache
def engine():
    """Made where it is asked for: every process of the tests imports this file, and inflect takes seconds to import."""
    import inflect

    return inflect.engine()


LIBRARIES = {
    "num2words": lambda number: num2words.num2words(number, lang="en_GB"),
    "inflect": lambda number: engine().number_to_words(number, andword="and"),
}

each_library = pytest.mark.parametrize(
    "spell",
    [
        pytest.param(LIBRARIES["num2words"], id="num2words"),
        pytest.param(LIBRARIES["inflect"], id="inflect", marks=pytest.mark.slow),
    ],
)


@each_library
def test_every_number_has_the_words_that_a_library_gives_it(spell):
    assert [" ".join(words_of(n)) for n in NUMBERS] == [str(spell(n)).replace("-", " ") for n in NUMBERS]


@each_library
def test_a_number_that_a_library_writes_is_read_back_with_its_hyphens_and_in_capitals(spell):
    assert [number_of(str(spell(n))) for n in NUMBERS] == [*NUMBERS]
    assert [number_of(str(spell(n)).upper()) for n in NUMBERS] == [*NUMBERS]


def test_the_vocabulary_is_the_thirty_words_that_numbers_use():
    used = [words_of(n) for n in NUMBERS]
    assert len(VOCABULARY) == len(set(VOCABULARY)) == 30
    assert {word for words in used for word in words} == set(VOCABULARY)
    assert max(map(len, used)) == MOST_WORDS


@pytest.mark.parametrize("number", [-1, 1000, 1.0, "one"])
def test_what_is_no_number_from_0_to_999_has_no_words(number):
    with pytest.raises(ValueError, match="number must be a whole number from 0 to 999, got"):
        words_of(number)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("four hundred und two", r"unknown word 'und': did you mean 'and'\?"),
        ("fourty", r"unknown word 'fourty': did you mean 'forty'\?"),
        ("402", r"unknown word '402'\."),
        (" ", "there is no word: write a number such as 'four hundred and two'"),
        ("four hundred two", "'four hundred two' is no number from 0 to 999, written as 'four hundred and two'"),
        ("two four", "'two four' is no number"),
        ("zero hundred", "'zero hundred' is no number"),
        ("hundred", "'hundred' is no number"),
        ("thirty zero", "'thirty zero' is no number"),
        ("four hundred and", "'four hundred and' is no number"),
    ],
)
def test_a_text_that_is_no_number_is_refused_in_a_sentence(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        number_of(text)
