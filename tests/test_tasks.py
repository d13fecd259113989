"""Contracts that every registered task keeps, on the specifications of the config pages.

The file of a task's own tests, named after its module, has ``targets_by_hand(spec, task_state, batch)``: the targets of a
batch, computed anew in NumPy float64 from its inputs.
"""

import dataclasses
import importlib
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.settings.grid import cells
from experiments.settings.pages import load, shipped
from nalu_jax.registry import LEARNERS, TASKS
from nalu_jax.sequences import Generated, Sequences, Vectors
from nalu_jax.training.random import Purpose, key_at

BATCH = 16
# Fields of pages that are made smaller; canvases also have digits that do not touch, which can be told apart.
SMALL = {
    "num_sequences": 20,
    "train_length": 4,
    "lengths": (1, 3, 6),
    "num_canvases": 20,
    "distance": 20,
    "most_digits": 3,
    "num_programs": 20,
}

# Environments, in which an agent acts, have contracts of their own, in test_environments.py.
SUPERVISED = [name for name in TASKS if TASKS[name].learner == "supervised"]
LONG = ("mnist_even_digits", "program_evaluation", "recurrent_arithmetic")  # their programs take long to compile
each_task = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in SUPERVISED]
)


@cache
def fields_of_pages():
    """The plain values of the pages' tasks, by task: of each operation those of the first cell that has it."""
    found = {}
    for page in shipped():
        for cell in cells(load(page)):
            fields = cell.config.task.to_dict()
            name = fields.pop("name")
            fields |= {field: value for field, value in SMALL.items() if field in fields}
            found.setdefault(name, {}).setdefault(fields.get("operation"), fields)
    return found


@cache
def specs(name):
    """The task as its pages have it, with each of their operations."""
    return [TASKS[name].from_config(**fields) for fields in fields_of_pages()[name].values()]


@jax.jit
def programs(task, seed, step):
    """What a seed's task draws, its training batch of a step, and its fixed batches; a program for tasks of one shape."""
    task_state = task.init(key_at(Purpose.TASK, seed))
    batch = task.sample(key_at(Purpose.TRAINING, seed, step), task_state, BATCH)
    return task_state, batch, task.evaluations(task_state)


@cache
def drawn(spec, seed=0, step=0):
    return jax.tree.map(np.asarray, programs(spec.task, jnp.uint32(seed), jnp.int32(step)))


def dense(w, inputs):
    """A linear map of columns [..., batch] or of the elements of Sequences → [out, (time,) batch]."""
    if isinstance(inputs, Sequences):
        answers = dense(w, inputs.elements)[:, inputs.order]
        return answers if inputs.lengths is None else answers[:, -1]  # the answer at the end: of the last step, ends or not
    if isinstance(inputs, Vectors | Generated):
        return dense(w, inputs.inputs(lambda x: x).sum(1))
    return w.T @ inputs.reshape(-1, inputs.shape[-1]).astype(w.dtype)


@cache
def weights(spec):
    """Weights [in, out] of the linear map for a task's inputs and outputs."""
    columns = jax.tree.leaves(spec.example)[0]
    inputs = len(columns) if isinstance(spec.example, Vectors) else columns.size // columns.shape[-1]
    return np.random.RandomState(0).normal(size=(inputs, spec.outputs)).astype(np.float32) / inputs


@jax.jit
def trained(task, w, batch):
    return jax.value_and_grad(lambda w: task.loss(dense(w, batch.inputs), batch))(w)


@jax.jit
def evaluated(task, w, batches):
    """All metrics of the linear map, its score, and whether it solves the task."""
    metrics = {
        f"{name}_{metric}": value
        for name, batch in batches.items()
        for metric, value in task.metrics(dense(w, batch.inputs), batch).items()
    }
    return metrics, task.score(metrics), task.solved(metrics)


def shapes(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)


def same(one, other):
    return all(np.array_equal(*pair) for pair in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


def test_every_task_is_on_a_page():
    assert set(fields_of_pages()) >= set(SUPERVISED)


@each_task
def test_a_specification_made_again_is_equal_hashes_alike_and_cannot_be_changed(name):
    for spec, again in zip(specs(name), specs.__wrapped__(name), strict=True):
        assert spec == again and hash(spec) == hash(again)
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(spec, dataclasses.fields(spec)[0].name, None)


@each_task
def test_a_specification_names_what_there_is(name):
    spec = specs(name)[0]
    assert spec.learner in LEARNERS
    assert set(spec.numbers) <= {field.name for field in dataclasses.fields(spec)}
    assert all(isinstance(heading, str) for heading in spec.columns.values())


@each_task
def test_its_arrays_are_made_once(name):
    spec = specs(name)[0]
    assert spec.task is spec.task


@each_task
def test_the_example_has_the_shapes_and_types_of_the_inputs_of_a_batch_of_one(name):
    for spec in specs(name):
        key = jax.random.key(0)
        batch = jax.eval_shape(lambda task, key: task.sample(key, task.init(key), 1), spec.task, key)
        assert shapes(batch.inputs) == shapes(spec.example)
        assert batch.targets.shape[0] == spec.outputs and batch.targets.shape[-1] == 1


@each_task
def test_a_training_batch_is_that_of_its_seed_and_step(name):
    spec = specs(name)[0]
    batch = drawn(spec)[1]
    assert same(batch, drawn.__wrapped__(spec)[1])
    for other in (drawn(spec, seed=1)[1], drawn(spec, step=1)[1]):
        assert shapes(other) == shapes(batch) and not same(batch.inputs, other.inputs)


@each_task
def test_what_a_task_draws_for_a_seed_and_its_fixed_batches_do_not_depend_on_the_step(name):
    (task_state, _, fixed), (later_state, _, later) = (drawn(specs(name)[0], step=step) for step in (0, 1))
    assert same(task_state, later_state) and same(fixed, later)


@each_task
def test_the_targets_of_all_batches_are_those_computed_by_hand(name):
    module = TASKS[name].__module__.rpartition(".")[2]
    by_hand = importlib.import_module(f"test_{module}").targets_by_hand
    for spec in specs(name):
        task_state, training, fixed = drawn(spec)
        for batch in (training, *fixed.values()):
            # Float32 sums of up to a hundred numbers, and their differences.
            np.testing.assert_allclose(batch.targets, by_hand(spec, task_state, batch), rtol=1e-5, atol=1e-4)


@each_task
def test_the_loss_of_a_linear_map_and_its_gradient_are_finite(name):
    for spec in specs(name):
        loss, gradient = trained(spec.task, weights(spec), drawn(spec)[1])
        assert (loss.shape, loss.dtype) == ((), jnp.float32)
        assert np.isfinite(loss) and np.isfinite(gradient).all() and np.any(gradient)


@each_task
def test_metrics_and_score_are_numbers_and_solved_is_a_truth_value(name):
    for spec in specs(name):
        metrics, score, solved = evaluated(spec.task, weights(spec), drawn(spec)[2])
        assert {(value.shape, value.dtype) for value in (*metrics.values(), score)} == {((), jnp.dtype("float32"))}
        assert (solved.shape, solved.dtype) == ((), jnp.bool_)
        assert np.isfinite(score) and not solved


@each_task
def test_columns_threshold_and_predictors_are_of_metrics_that_there_are(name):
    spec = specs(name)[0]
    metrics = set(evaluated(spec.task, weights(spec), drawn(spec)[2])[0])
    assert spec.columns and set(spec.columns) <= metrics
    assert not spec.threshold_metric or spec.threshold_metric in metrics
    for label, values in spec.predictors().items():
        assert set(values) == metrics, label


@each_task
def test_each_column_of_a_batch_is_an_example_in_words_or_a_picture(name):
    spec = specs(name)[0]
    _, training, fixed = drawn(spec)
    for batch in (training, *fixed.values()):
        examples = spec.examples(batch)
        assert len(examples) == batch.targets.shape[-1]
        for question, answer in examples:
            assert answer.strip()
            if isinstance(question, str):
                assert question.strip()
            else:
                assert question.ndim == 2 and 0 <= question.min() <= question.max() <= 1


@each_task
def test_a_text_that_is_no_input_is_refused_in_a_sentence(name):
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        specs(name)[0].parse("@")


@each_task
def test_a_diverged_network_has_not_solved_the_task(name):
    spec = specs(name)[0]
    _, score, solved = evaluated(spec.task, np.full_like(weights(spec), np.nan), drawn(spec)[2])
    assert np.isnan(score) and not solved


# Of the type of a page's value, and no field can have it; both truth values are possible.
IMPOSSIBLE = {int: -1, float: float("nan"), str: "nonsense", tuple: (2.0, 1.0), dict: {"name": "nonsense"}}


@each_task
def test_an_impossible_value_is_refused_in_a_sentence_that_names_the_field(name):
    fields = next(iter(fields_of_pages()[name].values()))
    for field, value in fields.items():
        if not isinstance(value, bool):
            with pytest.raises(ValueError) as refusal:
                TASKS[name].from_config(**fields | {field: IMPOSSIBLE[type(value)]})
            assert field in str(refusal.value)
