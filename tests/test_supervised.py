"""Supervised learning against NumPy in float64: single steps, evaluations, and whether anything is learned."""

import dataclasses
import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nalu_jax.learners.optimizers import adam
from nalu_jax.learners.supervised import declared_penalties, effective_weights, penalty_weight, supervised
from nalu_jax.networks.stacks import single, two_layer
from nalu_jax.recipes import Penalty
from nalu_jax.tasks.operations import OPERATIONS
from nalu_jax.tasks.static_arithmetic import ArithmeticTask
from nalu_jax.tasks.subsets import Disjoint
from nalu_jax.training.random import GENERATORS, Purpose, key_at
from nalu_jax.types import Hyperparameters, Learner, Problem
from nalu_jax.units import SNMU

SEEDS, BATCH, LEARNING_RATE = 8, 8, 1e-2
INTERPOLATION = np.random.RandomState(0).uniform(1, 3, (4, 50)).astype(np.float32)
EXTRAPOLATION = np.random.RandomState(1).uniform(2, 6, (4, 50)).astype(np.float32)


def arithmetic(operation, **fields):
    task = ArithmeticTask(
        operation=np.int32(list(OPERATIONS).index(operation)),
        lows=np.float32([1]),
        width=np.float32(2),
        limit=np.float32(3),
        threshold=np.float32(1e-8),
        interpolation=INTERPOLATION,
        extrapolation=EXTRAPOLATION,
        subsets=Disjoint(1, 2),
        beyond_training=False,
    )
    return dataclasses.replace(task, **fields)


HYPERPARAMETERS = Hyperparameters(np.float32(LEARNING_RATE), {})


def problem_of(task):
    """The task, to be learned at the learning rate of this file and without penalties."""
    return Problem(task, HYPERPARAMETERS)


def tolerated(learning_rate):
    """Adam under JAX's ordinary promotion: optax raises a float to the power of an integer count."""
    optimizer = adam(learning_rate=learning_rate)

    def update(*arguments):
        with jax.numpy_dtype_promotion("standard"):
            return optimizer.update(*arguments)

    return optax.GradientTransformation(optimizer.init, update)


class Compiled(NamedTuple):
    """A learner's functions, compiled for eight seeds side by side; ``step`` takes many."""

    learner: Learner
    model: Any
    init: Any
    step: Any
    evaluate: Any


@functools.cache
def compiled(unit, generator="threefry2x32"):
    model = two_layer(unit, {}, outputs=1, hidden_size=2)
    learner = supervised(model, tolerated, batch_size=BATCH, generator=generator)
    init, step, evaluate = (
        jax.vmap(lambda start, task, function=function: function(start, problem_of(task)), (0, None))
        for function in learner[:3]
    )

    def steps(state, task, count):
        # The last step's metrics come out beside the state.
        return jax.lax.fori_loop(0, count, lambda _, carry: step(carry[0], task), (state, {"loss": jnp.zeros(SEEDS)}))

    return Compiled(learner, model, jax.jit(init), jax.jit(steps), jax.jit(evaluate))


def started(unit, task):
    return compiled(unit).init(jnp.arange(SEEDS, dtype=jnp.uint32), task)


def planted(unit, task):
    """States whose gradients float32 computes to five digits: no weight is saturated, and no logarithm is of nearly 0."""
    state, rng = started(unit, task), np.random.RandomState(0)

    def plant(path, leaf):
        low, high = (-0.3, 0.3) if path[-1].key == "g" else (0.2, 1.0)
        return jnp.asarray(rng.uniform(low, high, leaf.shape), jnp.float32)

    return state._replace(params=jax.tree_util.tree_map_with_path(plant, state.params))


def of_seed(tree, seed):
    """What belongs to a seed, in float64."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64)[seed], tree)


# An independent account of the same networks, in float64


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def nac(x, p):
    return (np.tanh(p["w_hat"]) * sigmoid(p["m_hat"])).T @ x


def nalu(x, p):
    w, g = np.tanh(p["w_hat"]) * sigmoid(p["m_hat"]), sigmoid(p["g"].T @ x)
    size = x * np.sign(x.real)  # |x|, for numbers with an infinitesimal imaginary part as well
    return g * (w.T @ x) + (1 - g) * np.exp(w.T @ np.log(size + 1e-7))


CELLS = {"nac": nac, "nalu": nalu}
TARGETS = {"sub": np.subtract, "mul": np.multiply}
each_unit = pytest.mark.parametrize(
    ("unit", "operation"),
    [pytest.param("nac", "sub", id="nac"), pytest.param("nalu", "mul", id="nalu", marks=pytest.mark.slow)],
)


def squared_error(unit, operation, params, x, masks):
    outputs = CELLS[unit](CELLS[unit](x, params["layers_0"]), params["layers_1"])
    return np.mean((outputs[0] - TARGETS[operation](*(masks.T @ x))) ** 2)


def batch_at(seed, step, inputs=4, generator="threefry2x32"):
    """The training batch of a position, by JAX's own generator or another: inputs in the middles of 2²³ parts of [1, 3]."""
    key = jax.random.key(0, impl=GENERATORS[generator] if generator != "threefry2x32" else generator)
    for word in (2, seed, step):  # 2: Purpose.TRAINING
        key = jax.random.fold_in(key, word)
    parts = np.asarray(jax.random.bits(key, (inputs, BATCH))) >> 9
    return 1 + 2 * (parts + 0.5) / 2**23


def gradient(function, params):
    """The gradient by complex steps, f'(p) = Im f(p + ih) / h: exact, since h can be as small as one likes."""
    leaves, structure = jax.tree.flatten(params)
    gradients = [np.zeros_like(leaf) for leaf in leaves]
    for n, leaf in enumerate(leaves):
        for place in np.ndindex(leaf.shape):
            moved = [other.astype(np.complex128) for other in leaves]
            moved[n][place] += 1e-30j
            gradients[n][place] = function(jax.tree.unflatten(structure, moved)).imag / 1e-30
    return jax.tree.unflatten(structure, gradients)


def assert_close(actual, expected, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), actual, expected)


# Single steps


@each_unit
def test_the_loss_is_the_mean_squared_error_of_the_net_on_the_batch_of_its_position(unit, operation):
    task = arithmetic(operation)
    state = planted(unit, task)
    for step in range(3):
        stepped, metrics = compiled(unit).step(state, task, 1)
        for seed in range(SEEDS):
            before = of_seed(state, seed)
            expected = squared_error(unit, operation, before.params, batch_at(seed, step), before.task_state)
            np.testing.assert_allclose(metrics["loss"][seed], expected, rtol=1e-5)
        state = stepped


@each_unit
def test_three_steps_of_adam_are_those_of_its_formula_with_exact_gradients(unit, operation):
    # Kingma & Ba 2015, algorithm 1. From the second step on, the steps tell the sizes of gradients and not just their signs.
    task = arithmetic(operation)
    state = planted(unit, task)
    starts = [of_seed(state, seed) for seed in range(SEEDS)]
    trajectory = [state]
    for _ in range(3):
        trajectory.append(compiled(unit).step(trajectory[-1], task, 1)[0])
    for seed, start in enumerate(starts):
        params = start.params
        m, v = (jax.tree.map(np.zeros_like, params) for _ in range(2))
        for t in (1, 2, 3):
            g = gradient(lambda p: squared_error(unit, operation, p, batch_at(seed, t - 1), start.task_state), params)  # noqa: B023
            m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
            v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, v, g)
            params = jax.tree.map(
                lambda p, m, v: p - LEARNING_RATE * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8),  # noqa: B023
                params, m, v,
            )  # fmt: skip
            after = of_seed(trajectory[t], seed)
            assert_close(after.params, params, rtol=1e-5, atol=1e-6)
            assert_close(after.opt_state[0].mu, m, rtol=1e-5, atol=1e-6)


@each_unit
def test_a_step_moves_on_by_one_and_leaves_the_seed_and_what_the_task_drew_alone(unit, operation):
    task = arithmetic(operation)
    state = started(unit, task)
    stepped, _ = compiled(unit).step(state, task, 3)
    assert state.step.tolist() == [0] * SEEDS and stepped.step.tolist() == [3] * SEEDS
    assert stepped.seed.tolist() == list(range(SEEDS))
    np.testing.assert_array_equal(stepped.task_state, state.task_state)


def test_parameters_and_what_the_task_draws_come_from_the_positions_of_their_purposes():
    # Bitwise: our generator draws what JAX's own does. Purposes 0 and 1 are parameters and task.
    task = arithmetic("sub")

    def expected(seed):
        keys = [jax.random.fold_in(jax.random.fold_in(jax.random.key(0, impl="threefry2x32"), n), seed) for n in (0, 1)]
        return compiled("nac").model.init(keys[0], jnp.ones((4, 1)))["params"], task.init(keys[1])

    state = started("nac", task)
    drawn = jax.jit(jax.vmap(expected))(jnp.arange(SEEDS, dtype=jnp.uint32))
    assert_close((state.params, state.task_state), drawn, rtol=0)


# Evaluations


@each_unit
def test_evaluations_are_what_numpy_finds(unit, operation):
    task = arithmetic(operation)
    state = planted(unit, task)
    metrics, score, _ = compiled(unit).evaluate(state, task)
    assert set(metrics) == {"interpolation_mse", "extrapolation_mse", "sparsity_error"}
    np.testing.assert_array_equal(score, metrics["interpolation_mse"])
    for seed in range(SEEDS):
        params, masks = of_seed(state, seed).params, of_seed(state, seed).task_state
        for name, inputs in (("interpolation_mse", INTERPOLATION), ("extrapolation_mse", EXTRAPOLATION)):
            expected = squared_error(unit, operation, params, inputs.astype(np.float64), masks)
            np.testing.assert_allclose(metrics[name][seed], expected, rtol=1e-5)
        sizes = [np.abs(np.tanh(layer["w_hat"]) * sigmoid(layer["m_hat"])) for layer in params.values()]
        sparsity_error = max(min(w, abs(1 - w)) for size in sizes for w in size.ravel())
        np.testing.assert_allclose(metrics["sparsity_error"][seed], sparsity_error, rtol=1e-5)


def test_a_seed_is_solved_where_its_test_error_is_below_the_threshold():
    state = started("nac", arithmetic("sub"))
    errors = np.sort(compiled("nac").evaluate(state, arithmetic("sub")).metrics["extrapolation_mse"])
    between = np.float32((errors[3] + errors[4]) / 2)
    metrics, _, solved = compiled("nac").evaluate(state, arithmetic("sub", threshold=between))
    np.testing.assert_array_equal(solved, metrics["extrapolation_mse"] <= errors[3])


def test_effective_weights_are_the_matrices_that_the_layers_declare():
    params = {
        f"layers_{n}": {"w_hat": jnp.full((4, 2), 0.5 + n), "m_hat": jnp.full((4, 2), -1.0 - n), "g": jnp.ones((4, 2))}
        for n in (0, 1)
    }
    params["layers_1"] = jax.tree.map(lambda leaf: leaf[:2, :1], params["layers_1"])
    model = two_layer("nalu", {}, outputs=1, hidden_size=2)
    weights = jax.jit(lambda params: effective_weights(model, params, jnp.ones((4, 1))))(params)
    # tanh(0.5) σ(-1) and tanh(1.5) σ(-2); the gate's matrix is not among them.
    expected = {"layers_0": [np.full((4, 2), 0.124282445)], "layers_1": [np.full((2, 1), 0.107896317)]}
    assert_close({layer: list(declared.values()) for layer, declared in weights.items()}, expected, rtol=1e-6)


@pytest.mark.parametrize("batch_size", [0, -1, 8.0, "8", None])
def test_a_batch_size_that_is_no_positive_integer_is_refused(batch_size):
    with pytest.raises(ValueError, match=f"batch_size must be a positive integer, got {batch_size!r}"):
        supervised(two_layer("nac", {}, outputs=1, hidden_size=2), optax.sgd, batch_size=batch_size)


# Generators


@pytest.mark.parametrize("generator", [name for name in GENERATORS if name != "threefry2x32"])
def test_the_batch_of_a_step_is_drawn_by_the_generator_that_is_asked_for(generator):
    task = arithmetic("sub")
    state = planted("nac", task)
    _, metrics = compiled("nac", generator).step(state, task, 1)
    for seed in range(SEEDS):
        start = of_seed(state, seed)
        expected = squared_error("nac", "sub", start.params, batch_at(seed, 0, generator=generator), start.task_state)
        np.testing.assert_allclose(metrics["loss"][seed], expected, rtol=1e-5)


def traced(function, generator):
    """The program of a learner's function for one seed, as JAX traces it."""
    learner, problem = compiled("nac", generator).learner, problem_of(arithmetic("sub"))
    seed = jax.ShapeDtypeStruct((), jnp.uint32)
    given = seed if function == "init" else jax.eval_shape(learner.init, seed, problem)
    return str(jax.make_jaxpr(getattr(learner, function))(given, problem))


def test_tasks_and_first_parameters_do_not_depend_on_the_generator():
    assert traced("init", "murmur") == traced("init", "threefry2x32")


def test_auto_draws_what_the_generator_of_the_devices_draws():
    assert traced("step", "auto") == traced("step", "murmur") != traced("step", "threefry2x32")


def test_a_generator_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match="generator must be auto or one of murmur, pcg3d, threefry2x32, got 'mt19937'"):
        supervised(single("nac", {}, outputs=1), optax.sgd, batch_size=8, generator="mt19937")


# Learning


def test_a_nac_learns_to_subtract_in_6000_steps_whatever_its_seed():
    task = arithmetic("sub")
    state, _ = compiled("nac").step(started("nac", task), task, 6000)
    for seed in range(SEEDS):
        params, masks = of_seed(state, seed).params, of_seed(state, seed).task_state
        # The test numbers lie outside the training range; 1e-8 is about the published threshold for subtraction.
        assert squared_error("nac", "sub", params, task.extrapolation.astype(np.float64), masks) < 1e-8
    assert compiled("nac").evaluate(state, task).solved.all()


@pytest.mark.slow
def test_the_error_of_a_nalu_falls_to_a_tenth_in_3000_steps_whatever_its_seed():
    task = arithmetic("sub")
    state = started("nalu", task)
    before = compiled("nalu").evaluate(state, task).metrics["interpolation_mse"]
    after = compiled("nalu").evaluate(compiled("nalu").step(state, task, 3000)[0], task).metrics["interpolation_mse"]
    assert (after < before / 10).all()


# Penalties


def as_numbers(penalty):
    """A penalty as learners take it."""
    fields = dataclasses.asdict(penalty).items()
    return {name: np.int32(value) if isinstance(value, int) else np.float32(value) for name, value in fields}


RAMP = Penalty(10.0, start=20_000, end=35_000)
STEP = Penalty(0.05, start=10_001, end=10_001)
GROWTH = Penalty(1e-9, growth=10.0, every=10_000, times=2)
BOTH = Penalty(2.0, start=100, end=300, growth=0.5, every=150, times=1)
BELOW = Penalty(3.0, below=1.0)


@pytest.mark.parametrize(
    ("penalty", "step", "watched", "expected"),
    [
        (RAMP, 0, 1.0, 0.0),
        (RAMP, 20_000, 1.0, 0.0),
        (RAMP, 20_003, 1.0, 10 * 3 / 15_000),
        (RAMP, 27_500, 1.0, 5.0),
        (RAMP, 35_000, 1.0, 10.0),
        (RAMP, 4_999_999, 1.0, 10.0),
        (STEP, 10_000, 1.0, 0.0),
        (STEP, 10_001, 1.0, 0.05),
        (STEP, 90_000, 1.0, 0.05),
        (Penalty(0.7), 0, 1.0, 0.7),  # from the first step on
        (GROWTH, 0, 1.0, 1e-9),
        (GROWTH, 9_999, 1.0, 1e-9),
        (GROWTH, 10_000, 1.0, 1e-8),
        (GROWTH, 20_000, 1.0, 1e-7),
        (GROWTH, 1_000_000, 1.0, 1e-7),
        (BOTH, 120, 1.0, 2 * 0.1),
        (BOTH, 200, 1.0, 2 * 0.5 * 0.5),
        (BOTH, 1000, 1.0, 2 * 0.5),
        (BELOW, 5, 0.99, 3.0),
        (BELOW, 5, 1.0, 0.0),
        (BELOW, 5, 7.0, 0.0),
        (BELOW, 5, np.inf, 0.0),  # before the first evaluation
        (BELOW, 5, np.nan, 0.0),
        (Penalty(3.0), 5, np.inf, 3.0),  # 0 means always
    ],
)
def test_the_weight_of_a_penalty_is_what_its_schedule_says_by_hand(penalty, step, watched, expected):
    found = jax.jit(penalty_weight)(as_numbers(penalty), jnp.int32(step), jnp.float32(watched))
    assert found.dtype == jnp.float32 and found.shape == ()
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"weight": -1.0}, "weight must be a number of at least 0, got -1.0"),
        ({"weight": float("inf")}, "weight must be a number of at least 0, got inf"),
        ({"weight": float("nan")}, "weight must be a number of at least 0, got nan"),
        ({"start": -1}, "start must be a whole number of at least 0, got -1"),
        ({"start": 2.5}, "start must be a whole number of at least 0, got 2.5"),
        ({"start": 10, "end": 9}, "end must be at least start, which is 10, got 9"),
        ({"end": 2**31}, "end must be a whole number of at least 0"),
        ({"growth": 0.0}, "growth must be a positive number, got 0.0"),
        ({"every": 0}, "every must be a positive whole number, got 0"),
        ({"times": -1}, "times must be a whole number of at least 0, got -1"),
        ({"below": -0.5}, "below must be a number of at least 0, got -0.5"),
    ],
)
def test_a_penalty_that_cannot_be_is_refused_in_a_sentence(fields, words):
    with pytest.raises(ValueError, match=words):
        Penalty(**{"weight": 1.0} | fields)


def columns(inputs):
    """The shape of one input as a column."""
    return jax.ShapeDtypeStruct((inputs, 1), jnp.float32)


def test_the_penalties_of_a_network_are_those_that_its_units_declare():
    assert declared_penalties(two_layer("nmu", {}, outputs=1, hidden_size=2), columns(4)) == {"r_z", "sparsity"}
    assert declared_penalties(two_layer("nac_mul_sigma", {}, outputs=1, hidden_size=2), columns(4)) == {"r_z"}
    assert declared_penalties(single("nac_mul_sigma", {}, outputs=1), columns(2)) == set()
    assert declared_penalties(single("real_npu_modified", {}, outputs=1), columns(2)) >= {"l1", "discreteness", "gate"}


PLAIN = Problem(arithmetic("mul"), Hyperparameters(np.float32(1e-3), {}))


def with_penalties(**weighted):
    """The problem with penalties."""
    penalties = {name: as_numbers(penalty) for name, penalty in weighted.items()}
    return PLAIN._replace(hyperparameters=PLAIN.hyperparameters._replace(penalties=penalties))


@functools.cache
def descending(unit, network=two_layer):
    """A learner that goes straight down the gradient, its step and evaluation compiled."""
    options = {} if network is single else {"hidden_size": 2}
    learner = supervised(network(unit, {}, outputs=1, **options), optax.sgd, batch_size=BATCH)
    return learner._replace(step=jax.jit(learner.step), evaluate=jax.jit(learner.evaluate))


@functools.cache
def masks_of(seed, inputs=4):
    """What the tasks of this file draw for a seed: slices of one or two of four inputs, or of one of two."""
    return Disjoint(1, inputs // 2).masks(key_at(Purpose.TASK, jnp.uint32(seed)), inputs)


def state_at(learner, problem, params, seed=3, step=0):
    """The state of a seed whose parameters are given, as a list of arrays."""
    shapes = jax.eval_shape(learner.init, jnp.uint32(seed), problem)
    assert jax.tree.leaves(shapes.opt_state) == []
    given = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in params]
    assert jax.tree.leaves(shapes.params) == given
    return shapes._replace(
        seed=jnp.uint32(seed),
        step=jnp.int32(step),
        params=jax.tree.unflatten(jax.tree.structure(shapes.params), params),
        task_state=masks_of(seed, len(problem.task.interpolation)),
        learner_state=jnp.float32(jnp.inf),
    )


def moved(unit, problem, params, step=0):
    """How far a step at learning rate 1e-3 moves each parameter, and its loss, f64."""
    learner = descending(unit)
    stepped, metrics = learner.step(state_at(learner, problem, params, step=step), problem)
    steps = [np.asarray(new, np.float64) - old for new, old in zip(jax.tree.leaves(stepped.params), params, strict=True)]
    return steps, float(metrics["loss"])


# A NAU, then an NMU. Penalties: the mean of min(|w|, |1 - |w||) over 8 weights, and of min(|w|, |1 - w|) over 2.
NAU_WEIGHTS = np.float32([[0.2, -0.3], [0.7, -0.8], [0.1, 0.9], [-0.4, 0.6]])
NMU_WEIGHTS = np.float32([[0.3], [0.8]])
PENALTY_SLOPES = [np.array([[1, -1], [-1, 1], [1, -1], [-1, -1]]) / 8, np.array([[1], [-1]]) / 2]


@pytest.mark.parametrize("weight", [0.5, 20.0])
def test_the_gradient_is_that_of_the_loss_and_of_each_penalty_times_its_weight_in_all_layers(weight):
    params = [NAU_WEIGHTS, NMU_WEIGHTS]
    plain, _ = moved("nmu", PLAIN, params)
    penalised, _ = moved("nmu", with_penalties(sparsity=Penalty(weight)), params)
    for with_it, without, slope in zip(penalised, plain, PENALTY_SLOPES, strict=True):
        # Weights of size 1 are known to 6e-8, and so their steps of 1e-3.
        np.testing.assert_allclose(with_it - without, -1e-3 * weight * slope, rtol=1e-5, atol=2e-7)


def test_the_penalty_follows_the_step_of_the_seed():
    params = [NAU_WEIGHTS, NMU_WEIGHTS]
    ramp = with_penalties(sparsity=Penalty(20.0, start=100, end=200))
    for step, weight in ((100, 0.0), (150, 10.0), (200, 20.0)):
        plain, penalised = moved("nmu", PLAIN, params, step)[0], moved("nmu", ramp, params, step)[0]
        for with_it, without, slope in zip(penalised, plain, PENALTY_SLOPES, strict=True):
            np.testing.assert_allclose(with_it - without, -1e-3 * weight * slope, rtol=1e-5, atol=2e-7)


def test_the_loss_that_is_reported_is_without_penalties():
    params = [NAU_WEIGHTS, NMU_WEIGHTS]
    assert moved("nmu", PLAIN, params)[1] == moved("nmu", with_penalties(sparsity=Penalty(20.0)), params)[1] > 0


@pytest.mark.parametrize("penalties", [{}, {"saturation": Penalty(20.0)}, {"sparsity": Penalty(0.0)}], ids=str)
def test_penalties_that_are_not_named_do_nothing(penalties):
    params = [NAU_WEIGHTS, NMU_WEIGHTS]
    found, expected = moved("nmu", with_penalties(**penalties), params)[0], moved("nmu", PLAIN, params)[0]
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_a_penalty_that_waits_acts_once_an_evaluation_has_shown_an_error_below_its_bound():
    learner = descending("nmu")
    low, high = (with_penalties(sparsity=Penalty(20.0, below=bound)) for bound in (1e-6, 1e6))
    plain = state_at(learner, PLAIN, [NAU_WEIGHTS, NMU_WEIGHTS])
    shown = learner.observe(plain, learner.evaluate(plain, PLAIN))
    assert 1e-6 < float(shown.learner_state) < 1e6
    unpenalised = jax.tree.leaves(learner.step(plain, PLAIN)[0].params)
    for state, problem, acts in ((plain, high, False), (shown, low, False), (shown, high, True)):
        found = jax.tree.leaves(learner.step(state, problem)[0].params)
        assert all(np.array_equal(a, b) for a, b in zip(found, unpenalised, strict=True)) is not acts


def test_before_the_first_evaluation_no_error_has_been_shown():
    assert started("nac", arithmetic("sub")).learner_state.tolist() == [np.inf] * SEEDS


# Projection


def nau(x, w):
    return w.T @ x


def nmu(x, w):
    return np.prod(w[:, :, None] * x[:, None] + 1 - w[:, :, None], axis=0)


@pytest.mark.parametrize(
    ("unit", "formula", "rate", "lower", "upper"),
    [("nau", nau, 0.3, -1, 1), ("nmu", nmu, 0.3, 0, 1), ("nmu_unbounded", nmu, 0.1, -np.inf, np.inf)],
)
def test_bounded_parameters_are_moved_back_to_their_interval_after_each_step(unit, formula, rate, lower, upper):
    # At these rates weights leave [-1, 1] and [0, 1] at once; those that are not bounded may.
    learner, masks = descending(unit, single), np.asarray(masks_of(0), np.float64)
    problem = Problem(arithmetic("mul"), Hyperparameters(np.float32(rate), {}))
    state, largest = state_at(learner, problem, [np.float32([[0.3], [0.6], [0.4], [0.7]])], seed=0), 0
    for step in range(2):
        x = batch_at(0, step)

        def loss(w, x=x):
            return np.mean((formula(x, w)[0] - np.prod(masks.T @ x, axis=0)) ** 2)

        w = np.asarray(jax.tree.leaves(state.params)[0], np.float64)
        wished = w - np.float32(rate) * gradient(loss, w)
        largest = max(largest, np.abs(wished).max())
        state, _ = learner.step(state, problem)
        found = np.asarray(jax.tree.leaves(state.params)[0])
        np.testing.assert_allclose(found, np.clip(wished, lower, upper), rtol=1e-4, atol=1e-5)
        assert ((lower <= found) & (found <= upper)).all()
    assert largest > 1.1


# Noise


SNMU_WEIGHTS = np.float32([[0.35], [0.8]])


def noisy():
    """A learner of a single unit of two inputs, and its problem, which is to multiply them."""
    fixed = {"interpolation": INTERPOLATION[:2], "extrapolation": EXTRAPOLATION[:2]}
    task = arithmetic("mul", subsets=Disjoint(1, 1), **fixed)
    return descending("snmu", single), Problem(task, Hyperparameters(np.float32(1e-3), {}))


def noise_at(seed, step, shape=(2, BATCH)):
    """The noise U(1, 5) of a position, by JAX's own generator, as Flax draws it from the stream "training"."""
    key = jax.random.key(0, impl="threefry2x32")
    for word in (3, seed, step):  # 3: Purpose.NOISE
        key = jax.random.fold_in(key, word)

    class Draws(SNMU):
        def multiply(self, x, w):
            return self.noise(x)

    model = nn.Sequential([Draws(1, axis=0)])
    params = {"layers_0": {"w": jnp.zeros((2, 1))}}
    return np.asarray(model.apply({"params": params}, jnp.zeros(shape), rngs={"training": key}), np.float64)


@pytest.mark.slow
def test_the_loss_of_a_step_is_that_of_the_noise_of_its_position():
    # Mistry, Farrahi & Hare 2022: y = Π (w n x + 1 - w) / Π (w n + 1 - w).
    learner, problem = noisy()
    losses, w = set(), SNMU_WEIGHTS.astype(np.float64)
    for seed in (0, 5):
        for t in (0, 1, 7):
            x, n = batch_at(seed, t, inputs=2), noise_at(seed, t)
            assert n.min() >= 1 and n.max() <= 5 and len(np.unique(n)) == n.size
            outputs = np.prod(w * n * x + 1 - w, axis=0) / np.prod(w * n + 1 - w, axis=0)
            _, metrics = learner.step(state_at(learner, problem, [SNMU_WEIGHTS], seed, t), problem)
            losses.add(float(metrics["loss"]))
            np.testing.assert_allclose(metrics["loss"], np.mean((outputs - x[0] * x[1]) ** 2), rtol=1e-5)
    assert len(losses) == 6


def test_noise_differs_between_steps_and_seeds():
    draws = {noise_at(seed, step).tobytes() for seed in range(3) for step in range(3)}
    assert len(draws) == 9


def test_evaluations_are_without_noise_and_the_same_at_every_step():
    learner, problem = noisy()
    found = [learner.evaluate(state_at(learner, problem, [SNMU_WEIGHTS], step=t), problem).metrics for t in (0, 1000)]
    assert float(found[0]["interpolation_mse"]) == float(found[1]["interpolation_mse"])
    # An NMU's formula: Π (w x + 1 - w).
    w = SNMU_WEIGHTS.astype(np.float64)
    for name, x in (("interpolation", INTERPOLATION[:2]), ("extrapolation", EXTRAPOLATION[:2])):
        outputs = np.prod(w * x + 1 - w, axis=0)
        np.testing.assert_allclose(found[0][f"{name}_mse"], np.mean((outputs - x[0] * x[1]) ** 2), rtol=1e-5)
