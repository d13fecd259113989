"""What a task asks, shown to a person: the command, the examples of tasks as text and as pictures, and typed inputs."""

import re
from functools import cache

import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest
from commands import Said, called

from experiments import show_task
from nalu_jax.registry import TASKS
from nalu_jax.tasks.digit_sequences import DigitSequences, MnistCounting, MnistSum
from nalu_jax.tasks.identity_extrapolation import IdentityExtrapolation
from nalu_jax.tasks.mnist_even_digits import MnistEvenDigits
from nalu_jax.tasks.single_unit import SingleUnit
from nalu_jax.tasks.static_arithmetic import StaticArithmetic
from nalu_jax.tasks.typed import show_vector
from nalu_jax.types import Batch


@pytest.fixture
def command(capsys):
    """The command line as a function of its arguments, as a process of its own would see them."""

    def call(*arguments):
        return Said(called(show_task, *arguments), *capsys.readouterr())

    return call


def batches(text):
    """The rows of each table of an output, by the first word of its heading: (input, answer)."""
    found = {}
    for block in text.strip().split("\n\n"):
        heading, columns, *rows = block.splitlines()
        assert columns.split() == ["input", "answer"]
        found[heading.split()[0]] = [tuple(re.split(r"\s{2,}", row.strip())) for row in rows]
    return found


def numbers(text):
    return [float(word) for word in text.split(",")]


# Tables


def test_training_comes_first_then_the_evaluations_as_tables_have_them_each_with_so_many_rows(command):
    said = command("identity_extrapolation", "--num=4", "--config.task.extrapolation_range=7,10")
    found = batches(said.out)
    assert said.code == 0 and list(found) == ["training", "interpolation", "extrapolation"]
    assert {name: len(rows) for name, rows in found.items()} == {"training": 4, "interpolation": 4, "extrapolation": 3}
    assert found["extrapolation"] == [("7", "7"), ("8", "8"), ("9", "9")]
    assert "extrapolation (3 examples)" in said.out


@pytest.mark.parametrize("name", ["--config.operation", "--config.task.operation"])
def test_a_field_of_the_task_is_changed_also_one_that_is_an_axis_of_the_page(command, name):
    said = command("static_arithmetic", "--config=quickstart", f"{name}=mul", "--num=3")
    for rows in batches(said.out).values():
        assert len(rows) == 3
        for vector, answer in rows:
            x = numbers(vector)
            formula, value = answer.split(" = ")
            # The simple task of Madsen & Johansen 2020, section 1.1.
            assert formula == "a × b" and float(value) == pytest.approx((x[0] + x[1]) * sum(x), rel=1e-4)


def test_the_task_of_a_page_is_that_of_its_first_cell(command):
    said = command("--config=single_unit", "--num=2")
    for rows in batches(said.out).values():
        for vector, answer in rows:
            a, b = numbers(vector)
            assert answer.startswith("a + b = ") and float(answer[8:]) == pytest.approx(a + b, rel=1e-4)


def test_another_seed_has_other_examples_and_the_same_seed_the_same(command):
    texts = [command("single_unit", f"--seed={seed}", "--num=2").out for seed in (0, 1, 0)]
    assert texts[0] == texts[2] != texts[1]


def test_examples_that_do_not_count_are_left_out(command):
    changes = [f"--config.task.{change}" for change in ("beyond_training=true", "extrapolation_range=1,3")]
    said = command("static_arithmetic", "--config=quickstart", *changes, "--num=9")
    rows = batches(said.out)["extrapolation"]
    assert len(rows) == 9
    for vector, _ in rows:
        x = numbers(vector)
        assert sum(x) > 8 or x[0] + x[1] > 4
    x = np.random.RandomState(8689336).uniform(1, 3, (10_000, 4))
    count = ((x.sum(1) > 8) | (x[:, :2].sum(1) > 4)).sum()
    assert f"extrapolation ({count:,} examples)" in said.out


# Pictures

DIGITS = ("mnist_product", "--num=2", "--config.task.lengths=1,3", "--config.task.num_sequences=5")


def test_a_task_of_images_is_written_as_a_picture_whose_path_is_printed(command, tmp_path):
    path = tmp_path / "digits.png"
    said = command(*DIGITS, f"--out={path}")
    assert (said.code, said.out.strip()) == (0, str(path))
    assert list(tmp_path.iterdir()) == [path]
    picture = matplotlib.image.imread(path)
    assert picture.shape[1] == 1100
    ink = (picture[..., :3] < 0.5).all(-1)
    assert 0.07 < ink.mean() < 0.2  # of letters alone less than 0.03


def test_without_a_name_the_picture_lies_where_the_command_was_given(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command(*DIGITS).out.strip() == "mnist_product.png"
    assert (tmp_path / "mnist_product.png").stat().st_size > 1000


# Help and mistakes


def test_without_a_name_there_is_help_with_all_tasks_and_a_code_that_says_that_nothing_was_shown(command):
    said = command()
    assert said.code == 2 and said.out == command("--help").out
    assert command("-h").code == 0
    for name, task in TASKS.items():
        assert re.search(rf"^ *{name} +{re.escape(task.__doc__.strip().splitlines()[0])} *$", said.out, re.M)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["static_arithmetik"], ["'static_arithmetik'", "did you mean 'static_arithmetic'?", "mnist_sum"]),
        (["mnist_sum", "mnist_product"], ["one task at a time", "mnist_sum", "mnist_product"]),
        (["mnist_sum", "--config=quickstart"], ["quickstart has no task mnist_sum"]),
        (["mnist_sum", "--config=quickstrat"], ["'quickstrat'", "did you mean 'quickstart'?"]),
        (["single_unit", "--config.task.opration=mul"], ["config.task.opration", "did you mean 'task.operation'?"]),
        (["single_unit", "--config.num_seeds=4"], ["config.num_seeds", "no such field", "input_size"]),
        (["single_unit", "--config.task.operation=mull"], ["config.task: operation", "did you mean 'mul'?"]),
        (["single_unit", "--config.task.input_size=two"], ["config.task.input_size must be a whole number, got 'two'"]),
        (["single_unit", "--num=0"], ["--num=0"]),
        (["single_unit", "--seed=-1"], ["--seed=-1"]),
        (["single_unit", "--sed=1"], ["'sed'"]),
        (["single_unit", "--out=x.png"], ["--out", "single_unit are text"]),
        (["mnist_sum", "--out=x.pdf"], ["--out", "ends in .png", "'x.pdf'"]),
    ],
)
def test_a_mistake_is_one_sentence_that_names_it(command, arguments, words):
    said = command(*arguments)
    assert (said.code, said.out) == (2, "")
    assert re.fullmatch(r"error: [^\n]+\n", said.err)
    for word in words:
        assert word in said.err


def test_a_folder_that_is_not_there_is_a_fault_of_the_machine(command, tmp_path):
    said = command(*DIGITS, f"--out={tmp_path / 'no' / 'x.png'}")
    assert said.code == 3 and "No such file or directory" in said.err and said.err.count("\n") == 1


def test_damaged_images_are_a_fault_of_the_machine(command, tmp_path, monkeypatch):
    folder = tmp_path / "fashion_mnist"
    folder.mkdir()
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        (folder / name).write_bytes(b"damaged")
    monkeypatch.setenv("NALU_JAX_DATA", str(tmp_path))
    said = command("mnist_sum", "--config.task.data=fashion_mnist")
    assert said.code == 3 and said.err.startswith("error: config.task: ") and said.err.count("\n") == 1


# Examples of tasks, by hand

PIXELS = np.random.RandomState(0).randint(0, 256, (3, 28, 28)).astype(np.uint8)  # "images" of the digits 7, 2 and 0


@cache
def sequences(kind: type[DigitSequences]) -> DigitSequences:
    return kind(data="embedded", train_length=2, lengths=(2,), num_sequences=2, threshold=0.0)


def batch_of(spec, order):
    return spec.task.make_batch(jnp.asarray(PIXELS), jnp.array([7, 2, 0]), jnp.asarray(order))


def test_a_sequence_of_digits_is_its_images_in_a_row_and_the_total_at_its_end():
    first, second = sequences(MnistSum).examples(batch_of(sequences(MnistSum), [[0, 2], [1, 0], [1, 0]]))
    np.testing.assert_allclose(first.question, np.hstack(PIXELS[[0, 1, 1]]) / 255, atol=1e-6)
    np.testing.assert_allclose(second.question, np.hstack(PIXELS[[2, 0, 0]]) / 255, atol=1e-6)
    assert (first.answer, second.answer) == ("11 after 3 digits", "14 after 3 digits")


def test_counts_are_those_of_all_ten_digits():
    (example,) = sequences(MnistCounting).examples(batch_of(sequences(MnistCounting), [[1], [0], [1]]))
    assert example.answer == "counts of 0 to 9: 0 0 2 0 0 0 0 1 0 0 after 3 digits"


def test_of_a_long_sequence_the_first_ten_images_and_the_last_are_shown():
    order = np.array([0, 1] * 10 + [2])[:, None]
    (example,) = sequences(MnistSum).examples(batch_of(sequences(MnistSum), order))
    assert example.question.shape == (28, 12 * 28) and example.answer == "90 after 21 digits"
    np.testing.assert_allclose(example.question[:, : 10 * 28], np.hstack(PIXELS[[0, 1] * 5]) / 255, atol=1e-6)
    np.testing.assert_allclose(example.question[:, -28:], PIXELS[2] / 255, atol=1e-6)
    dots = example.question[:, 10 * 28 : 11 * 28]
    assert dots.sum() == 12 and dots[:10].sum() == dots[18:].sum() == 0


def test_a_canvas_is_shown_as_it_is_with_the_number_of_its_even_digits():
    spec = MnistEvenDigits("embedded", canvas=28, digit_size=7, distance=8, most_digits=3, num_canvases=2, threshold=0.9)
    canvases = (np.moveaxis(PIXELS, 0, -1).astype(np.float32) / 255 - 0.1307) / 0.3081
    examples = spec.examples(Batch(canvases, np.eye(4, dtype=np.float32)[:, [2, 0, 3]]))
    assert [example.answer for example in examples] == ["2 even", "0 even", "3 even"]
    np.testing.assert_allclose(np.stack([example.question for example in examples]), PIXELS / 255, atol=1e-6)


def test_a_long_vector_is_shortened_and_a_short_one_can_be_typed_as_it_is_shown():
    assert show_vector(np.float32([1.5, -2, 0.25])) == "1.5, -2, 0.25"
    assert show_vector(np.arange(100, dtype=np.float32)) == "0, 1, 2, 3, …, 99 (100 numbers)"
    examples = IdentityExtrapolation().examples(Batch(np.float32([[-3, 1e6]]), np.float32([[-3, 1e6]])))
    assert examples == [("-3", "-3"), ("1e+06", "1e+06")]
    for example in examples:
        assert float(IdentityExtrapolation().parse(example.question)[0, 0]) == float(example.answer)


# Typed inputs


@cache
def three_numbers():
    """The tasks whose inputs are numbers, where they are three, and the identity of one."""
    ranges = {"interpolation_range": (1.0, 2.0), "extrapolation_range": (2.0, 6.0), "operation": "add", "input_size": 3}
    static = StaticArithmetic.from_config(subsets={"name": "nested"}, beyond_training=False, **ranges)
    return {3: [static, SingleUnit.from_config(epsilon=1e-4, **ranges)], 1: [IdentityExtrapolation()]}


@pytest.mark.parametrize("text", ["1.5 -2 1e3", "1.5,-2,1e3", " 1.5, -2 ,1000.0\n"])
def test_numbers_are_typed_with_spaces_or_commas_between(text):
    for spec in three_numbers()[3]:
        inputs = spec.parse(text)
        assert (inputs.shape, inputs.dtype) == (spec.example.shape, spec.example.dtype)
        assert inputs[:, 0].tolist() == [1.5, -2, 1000]
        assert spec.steps(text) == []
    assert three_numbers()[1][0].parse(" 7 ").tolist() == [[7]]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1 2", "3 numbers, with spaces or commas between, got 2"),
        ("", "3 numbers, with spaces or commas between, got none"),
        ("1 2 3 4", "3 numbers, with spaces or commas between, got 4"),
        ("1 two 3", "'two' is not a number"),
        ("1,,3", "'' is not a number"),
        ("1 nan 3", "finite numbers of float32, got nan"),
        ("1 inf 3", "finite numbers of float32, got inf"),
        ("1 1e39 3", "finite numbers of float32, got 1e39"),
    ],
)
def test_a_text_that_is_no_vector_is_refused_in_a_sentence(text, sentence):
    for spec in three_numbers()[3]:
        with pytest.raises(ValueError, match=re.escape(sentence)):
            spec.parse(text)


def test_the_identity_takes_one_number_and_images_cannot_be_typed():
    with pytest.raises(ValueError, match="its input is one number, got 2"):
        IdentityExtrapolation().parse("1 2")
    with pytest.raises(ValueError, match="not ones that can be typed"):
        sequences(MnistSum).parse("7 2 0")
