"""Recurrent arithmetic: its batches, threshold and text, and the solutions that it must accept at a thousand steps."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nalu_jax.learners.supervised import supervised
from nalu_jax.networks.recurrent import recurrent
from nalu_jax.sequences import Generated, Vectors
from nalu_jax.tasks.ranges import Range
from nalu_jax.tasks.recurrent_arithmetic import RecurrentArithmetic
from nalu_jax.tasks.subsets import Disjoint, Nested
from nalu_jax.types import Batch, Hyperparameters, Problem, TrainState

EXACT = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "squared": lambda a, b: a**2,
    "root": lambda a, b: np.sqrt(a),
}
LONG = 1000
RANGE, SUBSETS = Range((0, 0.5)), Disjoint(2, 5)


@cache
def task_of(operation, subsets=SUBSETS, lengths=(10, LONG)):
    return RecurrentArithmetic(operation, 10, RANGE, RANGE, subsets, 10, lengths, 32)


made = jax.jit(lambda inputs: inputs.inputs(lambda x: x))


def vectors_of(inputs):
    """The vectors of sequences, f64[input_size, time, batch]."""
    return np.asarray(made(inputs), np.float64)


def targets_by_hand(spec, task_state, batch):
    """What test_tasks.py holds the targets of every batch against."""
    a, b = np.einsum("itn,ik->kn", vectors_of(batch.inputs), np.asarray(task_state, np.float64))
    return EXACT[spec.operation](a, b)[None]


# One compiled program serves every operation.
draw = jax.jit(lambda task, seed: task.init(jax.random.key(seed)))
evaluations = jax.jit(lambda task, masks: task.evaluations(masks))


@cache
def batch_of(operation, name="extrapolation", seed=0):
    spec = task_of(operation)
    masks = draw(spec.task, seed)
    return spec, masks, evaluations(spec.task, masks)[name]


@pytest.mark.slow
@pytest.mark.parametrize("operation", EXACT)
def test_the_targets_of_a_thousand_steps_are_those_of_float64(operation):
    spec, masks, batch = batch_of(operation)
    by_hand = targets_by_hand(spec, masks, batch)
    # Float32 sums of a thousand numbers are off by about 1e-6 of the sums, and of differences by as much of the sums.
    atol = 1e-5 * 1000 if operation == "sub" else 0
    np.testing.assert_allclose(batch.targets, by_hand, rtol=1e-5, atol=atol)
    assert np.mean((batch.targets - by_hand) ** 2) < spec.threshold / 10


def test_batches_are_of_the_lengths_and_sizes_that_are_asked_for():
    spec = task_of("add")
    batches = jax.eval_shape(spec.task.evaluations, jnp.ones((10, 2)))
    assert {name: batch.inputs.steps.shape for name, batch in batches.items()} == {
        "interpolation": (10,),
        "length_10": (10,),
        "extrapolation": (LONG,),
    }
    assert {batch.targets.shape for batch in batches.values()} == {(1, 32)}


def test_fixed_sequences_are_uniform_and_a_shorter_one_is_the_beginning_of_a_longer_one():
    long, short, validation = (
        vectors_of(batch_of("add", n)[2].inputs) for n in ("extrapolation", "length_10", "interpolation")
    )
    np.testing.assert_array_equal(long[:, :10], short)
    assert not np.any(short == validation)
    assert long.min() > 0 and long.max() < 0.5
    # The standard errors of mean and variance of 320,000 numbers.
    assert abs(long.mean() - 0.25) < 4 * 0.144 / 320_000**0.5 and abs(long.var() * 48 - 1) < 0.01
    assert len(np.unique(long)) > 0.95 * long.size  # of 2^23 different numbers


def test_seeds_differ_in_subsets_alone_and_their_sequences_are_made_once():
    spec = task_of("add", lengths=(10,))
    assert len({np.asarray(draw(spec.task, seed)).tobytes() for seed in range(8)}) > 4
    program = str(jax.make_jaxpr(jax.vmap(spec.task.evaluations))(jnp.ones((8, 10, 2))))
    assert "f32[10,32]" in program and "[8,10,32]" not in program


def test_the_relative_error_is_1_for_who_says_0():
    batch = Batch(None, jnp.array([[3.0, -4.0]]))
    task = task_of("add").task
    assert {n: float(m) for n, m in task.metrics(jnp.zeros((1, 2)), batch).items()} == {"mse": 12.5, "relative": 1.0}
    assert float(task.metrics(jnp.array([[3.0, -3.0]]), batch)["relative"]) == pytest.approx(0.2)


# Threshold and predictors


def test_the_threshold_of_a_sum_of_known_subsets_is_that_of_the_formula():
    # a is all that there is and b its half: a_ε = (1 - ε) a, b_ε = (1 - ε) b + ε (a - b). At a thousand steps both are
    # near 2,500 and 1,250, and their spread, 45 at most, is of no account.
    eps, a, b = 1e-5, 2500.0, 1250.0
    error = {"add": eps * (2 * b), "sub": eps * (a - b - b + 2 * b - a), "mul": eps * a * b}
    found = {operation: task_of(operation, Nested()).threshold for operation in ("add", "mul")}
    assert found["add"] == pytest.approx(error["add"] ** 2, rel=0.01)
    assert found["mul"] == pytest.approx(error["mul"] ** 2, rel=0.01)


def test_a_cell_that_keeps_its_sum_with_the_largest_float32_below_1_has_not_solved_a_sum():
    spec = task_of("add")
    kept = (1 - 2.0**-24) ** np.arange(LONG)[::-1]
    masks = np.asarray(draw(spec.task, 0), np.float64)
    x = vectors_of(batch_of("add")[2].inputs)
    lost = np.einsum("itn,ik,t->n", x, masks, 1 - kept)
    assert np.mean(lost**2) > spec.threshold


def test_predictors_know_the_mean_target_of_training_or_that_of_each_length():
    found = task_of("add", Nested()).predictors()
    assert list(found) == ["constant", "true mean"]
    mean, variance = 0.25 * 15, 0.25 / 12 * (5 + 5 * 4)  # a step: 15 numbers are added, five of them once, five twice
    for name, length in (("interpolation", 10), ("length_10", 10), ("extrapolation", LONG)):
        expected = {"constant": variance * length + (mean * (length - 10)) ** 2, "true mean": variance * length}
        for label, mse in expected.items():
            scale = (mean * length) ** 2 + variance * length
            assert found[label][f"{name}_mse"] == pytest.approx(mse, rel=0.15)
            assert found[label][f"{name}_relative"] == pytest.approx((mse / scale) ** 0.5, rel=0.1)


# Planted solutions, at a thousand steps

SATURATED = 40.0  # tanh and σ of it are 1, to the last digit of float32


def network(unit, **fields):
    given = {"reader": {"name": "identity"}, "features": 1, "cell": "unit", "hidden_size": 2, "outputs": 1}
    return recurrent(unit, {}, **given | {"readout": "last_state", "first_state": "learned"} | fields)


def planted(model, cell, readout):
    """Parameters of a network whose effective weights are these: [in, out] each, of -1, 0 and 1."""
    params = jax.tree.map(lambda leaf: leaf, model.init(jax.random.key(0), Vectors(jnp.ones((10, 1, 1))))["params"])

    def plant(layer, w):
        for name in layer:
            value = {"w": w, "w_hat": SATURATED * w, "m_hat": np.where(w == 0, -SATURATED, SATURATED)}[name]
            layer[name] = jax.tree.map(lambda _: jnp.asarray(value, jnp.float32), layer[name])  # noqa: B023

    plant(params["cell"]["unit"], cell)
    plant(params["readout"]["layers_0"], readout)
    return params


@cache
def evaluation_of(model):
    """The learner's own evaluation: a program for all operations."""
    return jax.jit(supervised(model, lambda rate: None, batch_size=1).evaluate)


def arguments(spec, masks, params):
    """Of an evaluation."""
    return TrainState(jnp.uint32(0), jnp.int32(0), params, (), masks), Problem(
        spec.task, Hyperparameters(jnp.float32(0), {})
    )


def evaluated(spec, masks, model, params):
    """The metrics of a network, and whether they solve the task."""
    evaluation = evaluation_of(model)(*arguments(spec, masks, params))
    return evaluation.metrics, bool(evaluation.solved)


def selection(masks, cell):
    """The weights of a cell that adds up a and b: on the input the masks, on h the identity where it reads itself."""
    return np.concatenate([np.asarray(masks), np.eye(2)]) if cell == "unit" else np.asarray(masks)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("unit", "readout_unit", "cell", "weights"),
    [
        ("nac", "", "unit", {"add": (1, 1), "sub": (1, -1)}),
        ("nau", "nmu", "unit", {"mul": (1, 1)}),
        ("nau", "nac_mul", "accumulator", {"mul": (1, 1), "div": (1, -1)}),
    ],
)
def test_ideal_weights_are_exact_at_a_thousand_steps(unit, readout_unit, cell, weights):
    model = network(unit, readout_unit=readout_unit, cell=cell, first_state="learned" if cell == "unit" else "neutral")
    for operation, readout in weights.items():
        spec = task_of(operation, lengths=(LONG,))
        masks = draw(spec.task, 3)
        params = planted(model, selection(masks, cell), np.array(readout)[:, None])
        metrics, solved = evaluated(spec, masks, model, params)
        assert solved and metrics["extrapolation_relative"] < 1e-5 and metrics["interpolation_relative"] < 1e-6


def test_a_weight_of_h_that_is_off_by_one_in_a_hundred_thousand_is_found_out():
    spec, model = task_of("mul", lengths=(LONG,)), network("nau", readout_unit="nmu")
    masks = draw(spec.task, 3)
    w = selection(masks, "unit")
    w[10:] *= 1 - 1e-5
    metrics, solved = evaluated(spec, masks, model, planted(model, w, np.ones((2, 1))))
    assert not solved and metrics["interpolation_relative"] < 1e-4
    assert float(metrics["extrapolation_relative"]) == pytest.approx(2 * 1e-5 * 999 / 2, rel=0.02)


@pytest.mark.slow
def test_the_memory_of_an_evaluation_does_not_grow_with_the_length():
    model = network("nau")
    params = model.init(jax.random.key(0), Vectors(jnp.ones((10, 1, 1))))["params"]

    def temporary(length):
        spec = task_of("add", lengths=(length,))
        program = evaluation_of(model).lower(*arguments(spec, jnp.ones((10, 2)), params)).compile()
        return program.memory_analysis().temp_size_in_bytes

    assert temporary(2000) - temporary(200) <= 2000 * 8


# A readout of another unit


def test_a_readout_may_be_of_another_unit_than_the_cell():
    params = network("nau", readout_unit="nac").init(jax.random.key(0), Vectors(jnp.ones((10, 1, 1))))["params"]
    assert set(params["cell"]["unit"]) == {"w"} and set(params["readout"]["layers_0"]) == {"w_hat", "m_hat"}
    lstm = network("", cell="lstm", readout_unit="linear").init(jax.random.key(0), Vectors(jnp.ones((10, 1, 1))))["params"]
    assert set(lstm["readout"]["layers_0"]) == {"w", "b"}
    with pytest.raises(ValueError, match="readout_unit must be empty, since readout 'none' is made of no unit, got 'nmu'"):
        network("nau", readout="none", readout_unit="nmu")


# Impossible values


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"lengths": (100, 10)}, r"lengths must rise, got \(100, 10\)"),
        ({"lengths": ()}, r"lengths must be positive whole numbers, got \(\)"),
        ({"num_sequences": 0}, "num_sequences must be a positive whole number, got 0"),
        ({"input_size": 9}, "two disjoint subsets of up to 5 inputs need 10 inputs, but input_size is 9"),
        ({"extrapolation_range": (-1, 1)}, "operation 'root' needs ranges without negative numbers, got one from -1"),
    ],
)
def test_a_task_that_cannot_be_is_refused_in_a_sentence(fields, sentence):
    given = {"operation": "root", "input_size": 10, "interpolation_range": (0, 0.5), "extrapolation_range": (0, 0.5)}
    given |= {"subsets": {"name": "disjoint", "smallest": 2, "largest": 5}, "train_length": 10, "lengths": (10,)}
    with pytest.raises(ValueError, match=sentence):
        RecurrentArithmetic.from_config(**given | {"num_sequences": 3} | fields)


# For a person


def test_sequences_are_shown_step_by_step_and_read_back():
    spec, _, batch = batch_of("add", "length_10")
    examples = spec.examples(batch)
    assert len(examples) == 32 and examples[3].answer == f"a + b = {float(batch.targets[0, 3]):.6g}"
    read = spec.parse(examples[3].question)
    np.testing.assert_allclose(read.vectors[..., 0], vectors_of(batch.inputs)[..., 3], rtol=1e-3)
    assert spec.steps(examples[3].question) == examples[3].question.split("\n") and len(read.vectors[0]) == 10
    *steps, cut = spec.examples(batch_of("add")[2])[0].question.split("\n")
    assert len(steps) == 10 and cut == "… 1,000 steps"


def test_a_text_is_numbers_of_steps():
    spec = task_of("add")
    text = "; ".join(["1 2 3 4 5 6 7 8 9 10", "0,0,0,0,0, 0,0,0,0,.5"])
    assert spec.steps(text) == text.split("; ")
    found = spec.parse(text)
    np.testing.assert_array_equal(found.vectors[..., 0].T, [range(1, 11), [0] * 9 + [0.5]])
    assert found.vectors.shape == (10, 2, 1) and found.lengths is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1 2 3", "its input is 10 numbers, with spaces or commas between, got 3"),
        ("1 2 3 4 5 6 7 8 9 nan", "its input is finite numbers of float32, got nan"),
        ("1 + 2", "'.' is not a number"),
        (" ; ", "its input is at least one step of 10 numbers, got none"),
    ],
)
def test_a_text_that_is_no_sequence_is_refused_in_a_sentence(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        task_of("add").parse(text)


def test_generated_and_training_batches_are_what_recurrent_networks_read():
    spec = task_of("add")
    batch = spec.task.sample(jax.random.key(0), jnp.ones((10, 2)), 4)
    assert isinstance(batch.inputs, Vectors) and isinstance(batch_of("add")[2].inputs, Generated)
    np.testing.assert_allclose(batch.targets[0], 2 * vectors_of(batch.inputs).sum((0, 1)), rtol=1e-5)
