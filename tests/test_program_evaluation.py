"""Programs: the task, its metrics, and what people see of it."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fake_runs import arithmetic, cell_of, page_of, run_of

from experiments.faults import ConfigError
from experiments.reports import programs as report
from nalu_jax.data.programs import KINDS
from nalu_jax.networks.cells import SEES
from nalu_jax.registry import TASKS
from nalu_jax.tasks.program_evaluation import ProgramEvaluation, matching_digits

pytestmark = pytest.mark.slow  # the drawing of programs takes long to compile

SPEC = ProgramEvaluation(num_programs=50)


def texts(inputs):
    """The programs of Vectors as texts for Python, token by token."""
    kinds, values = np.asarray(inputs.vectors)[:-1].argmax(0), np.asarray(inputs.vectors)[-1]
    columns = zip(kinds.T, values.T, np.asarray(inputs.lengths), strict=True)
    return [
        " ".join(str(int(value)) if kind == 0 else KINDS[kind] for kind, value in zip(k[: n - 1], v, strict=False))
        for k, v, n in columns
    ]


def targets_by_hand(spec, task_state, batch):
    """What test_tasks.py holds the targets of every batch against: Python's own answers."""
    return np.array([[eval(text) for text in texts(batch.inputs)]])


@functools.cache
def sampled(spec=SPEC):
    return jax.jit(lambda task, key: task.sample(key, (), 20))(spec.task, jax.random.key(3, impl="unsafe_rbg"))


def test_inputs_are_one_hot_kinds_above_the_value_itself():
    batch = sampled()
    kinds, values = np.asarray(batch.inputs.vectors)[:-1], np.asarray(batch.inputs.vectors)[-1]
    assert kinds.shape == (10, 24, 20) and (kinds.sum(0) == 1).all() and set(np.unique(kinds)) == {0, 1}
    assert not values[kinds[0] == 0].any() and 10 < values.max() < 100
    ends = kinds[KINDS.index("end")].argmax(0)
    np.testing.assert_array_equal(batch.inputs.lengths, ends + 1)


def test_each_split_has_numbers_of_its_own_number_of_digits():
    batches = SPEC.task.evaluations(())
    largest = {split: float(batch.inputs.vectors[-1].max()) for split, batch in batches.items()}
    assert largest["train"] < 100 <= largest["validation"] < 1_000 <= largest["test"] < 10_000


def by_hand(found, true, left):
    """The share of digits that match, on texts."""
    a, b = str(abs(int(np.round(found)))), str(abs(int(true)))
    size = max(len(a), len(b))
    a, b = (text.ljust(size, "0") if left else text.zfill(size) for text in (a, b))
    signs = (np.round(found) < 0, true < 0)
    same = sum(x == y for x, y in zip(a, b, strict=True)) + all(signs)
    return same / (size + any(signs))


@pytest.mark.parametrize("left", [False, True])
def test_matching_digits_are_those_of_the_numbers_as_texts(left):
    rng = np.random.default_rng(0)
    true = rng.integers(-20_000, 20_000, 300)
    found = np.where(rng.random(300) < 0.5, true + rng.integers(-200, 200, 300), rng.integers(-(10**6), 10**6, 300))
    found = np.concatenate([found + rng.uniform(-0.4, 0.4, 300), [0.3, -0.3, 9.6, 1254, 12, -7, 0]]).astype(np.float32)
    true = np.concatenate([true, [0, 0, 10, 1234, 1234, 7, -5]])
    shares = jax.jit(functools.partial(matching_digits, left=left))(found, true.astype(np.float32))
    np.testing.assert_allclose(shares, [by_hand(*pair, left) for pair in zip(found, true, strict=True)], rtol=1e-6)


def test_what_is_no_number_matches_nothing():
    found = jnp.array([jnp.nan, jnp.inf, -jnp.inf, 2e9])
    np.testing.assert_array_equal(matching_digits(found, jnp.array([0.0, 9.0, 9.0, 2e9])), 0)


def test_metrics_of_right_wrong_and_nearly_right_answers():
    batch = SPEC.task.evaluations(())["test"]
    off = jnp.zeros_like(batch.targets).at[0, :5].set(0.4).at[0, 5:10].set(-0.4).at[0, 10:15].set(3.0)
    metrics = {name: float(value) for name, value in SPEC.task.metrics(batch.targets + off, batch).items()}
    assert metrics["exact"] == pytest.approx(0.9)
    assert metrics["rmse"] == pytest.approx(np.sqrt((10 * 0.16 + 5 * 9) / 50), rel=1e-4)
    assert 0.9 < metrics["digits"] < 1 and 0.9 < metrics["digits_left"] < 1
    assert SPEC.task.solved({"test_exact": jnp.float32(1)}) and not SPEC.task.solved({"test_exact": jnp.float32(0.999)})


def test_the_gradient_of_the_loss_is_finite_where_every_answer_is_right():
    batch = sampled()
    assert np.isfinite(jax.grad(SPEC.task.loss)(batch.targets, batch)).all()


def test_examples_are_programs_that_python_evaluates_to_their_answers():
    examples = SPEC.examples(sampled())
    assert len(examples) == 20 and len({example.question for example in examples}) > 15
    assert all(str(eval(example.question)) == example.answer for example in examples)
    assert [re.sub(r"[() ]", "", example.question) for example in examples] == [
        re.sub(r"[() ]", "", text) for text in texts(sampled().inputs)
    ]


def test_a_text_becomes_the_inputs_of_the_program_and_its_steps():
    inputs = SPEC.parse("(9999+3) if 4 < 5 else 12")
    assert texts(inputs) == ["( 9999 + 3 ) if 4 < 5 else 12"]
    assert inputs.vectors.shape == (11, 12, 1) and inputs.lengths.tolist() == [12]
    assert SPEC.steps("(9999+3) if 4 < 5 else 12") == ["(", "9999", "+", "3", ")", "if", "4", "<", "5", "else", "12", "end"]
    for text, sentence in {"12 * 3": "unknown token '*'", "1 + 10000": "numbers must be below 10000, got 10000"}.items():
        with pytest.raises(ValueError, match=re.escape(sentence)):
            SPEC.parse(text)


def test_one_that_always_says_the_mean_of_training_has_hardly_a_digit_right():
    shares = SPEC.predictors()["mean of training"]
    assert 0 < shares["train_digits"] < 0.3 and shares["test_exact"] < 0.05


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"programs": "loops"}, "programs must be one of addition, sums, mixed, got 'loops'"),
        ({"max_operations": 0}, "max_operations must be a whole number from 1 to 9, got 0"),
        ({"num_programs": 1.5}, "num_programs must be a whole number from 1 to 1,000,000, got 1.5"),
        ({"digits": (2, 3)}, "digits must be three whole numbers from 1 to 5, got (2, 3)"),
        ({"digits": (2, 3, 6)}, "digits must be three whole numbers from 1 to 5, got (2, 3, 6)"),
    ],
)
def test_impossible_values_are_refused_in_a_sentence(fields, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        TASKS["program_evaluation"].from_config(**fields)


# The report


def cell(folder, shares, **axes):
    """A finished cell of three seeds, the last diverged, with these shares of digits in the test."""
    columns = {"seed": range(3), "solved": [1, 0, 0], "train_digits": [1.0] * 3, "validation_digits": [0.9] * 3}
    columns |= {"test_digits": shares, "test_exact": [1.0, 0.5, np.nan], "test_rmse": [0.1, 20.0, np.nan]}
    made = cell_of(folder, page_of("program_evaluation"), axes, columns, steps=2000, threshold=1.0)
    band = '{"q25": 0.4, "median": 0.5, "q75": 0.6}'
    fields = ", ".join(f'"{split}_digits": {band}' for split in ("train", "validation", "test"))
    made.files.metrics.write_text("".join(f'{{"step": {step}, {fields}}}\n' for step in (0, 1000, 2000)))
    return made


def run(folder):
    """A cell of each kind of programs."""
    shares = {"addition": [1.0, 0.8, np.nan], "mixed": [0.3] * 3}
    return run_of([cell(folder, share, programs=kind, cell="ugrnn") for kind, share in shares.items()])


def test_a_row_has_the_digits_of_each_split_and_the_end_of_the_papers_curves_behind_it(tmp_path):
    rows = report.rows(run(tmp_path))
    assert [(row["programs"], row["cell"]) for row in rows[:3]] == [
        ("addition", "UGRNN"),
        ("addition", "NALU, published"),
        ("addition", "DNC, published"),
    ]
    assert list(rows[0].values())[2:] == [
        "100.0 %",
        "90.0 %",
        "80.0 % [0.0, 100.0]",
        "50.0 % [0.0, 100.0]",
        "20.0",
        "1 of 3",
    ]
    assert list(rows[4].values()) == ["addition", "UGRNN, published", "100.0 %", "51.4 %", "38.3 %", "–", "–", "–"]
    assert [row["test"] for row in rows[6:]] == ["99.8 %", "40.2 %", "44.4 %", "46.3 %"]


def test_a_cell_is_named_by_the_axes_in_which_others_of_its_kind_differ(tmp_path):
    [of_nalu] = run_of([cell(tmp_path, [1.0] * 3, cell="configured_nalu", registers=2, sees="hard_signs")]).cells
    assert report.label_of(of_nalu) == "NALU, 2 registers, sees hard signs"


def test_in_the_picture_a_cell_is_named_without_what_its_programs_decide_and_has_a_line_of_its_own(tmp_path):
    kinds = {"addition": 1, "mixed": 2}
    cells = [
        cell(tmp_path, [1.0] * 3, programs=programs, cell="configured_nalu", registers=registers, sees=sees)
        for programs, registers in kinds.items()
        for sees in SEES
    ]
    looks = report.looks_of(run_of(cells))
    assert list(looks) == [f"NALU, sees {sees.replace('_', ' ')}" for sees in SEES]
    assert len({look["linestyle"] for look in looks.values()}) == len(SEES)


def test_the_report_is_written_with_its_picture_and_refuses_another_task(tmp_path):
    report.write(run(tmp_path), tmp_path)
    assert "Trained on numbers of 2 digits, validated on 3, tested on 4" in (tmp_path / "programs.md").read_text()
    assert (tmp_path / "programs.png").exists() and report.screen(run(tmp_path)).row_count == 10
    report.check(SPEC)
    with pytest.raises(ConfigError, match="programs is of the task program_evaluation alone"):
        report.check(arithmetic(tmp_path, {"unit": "nac", "operation": "add"}).task)
