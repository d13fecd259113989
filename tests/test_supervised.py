"""Supervised learning against NumPy in float64: single steps, evaluations, and whether anything is learned."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nalu_jax.units  # noqa: F401  (registers the units)
from nalu_jax.learners import supervised
from nalu_jax.learners.supervised import effective_weights
from nalu_jax.networks import two_layer
from nalu_jax.optimizers import adam, rmsprop
from nalu_jax.registry import OPTIMIZERS
from nalu_jax.tasks.static_arithmetic import OPERATIONS, ArithmeticTask
from nalu_jax.tasks.subsets import Disjoint
from nalu_jax.types import Learner

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


def tolerated(optimizer):
    """The optimizer under JAX's ordinary promotion: optax raises a float to the power of an integer count."""

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
def compiled(unit):
    model = two_layer(unit, {}, hidden_size=2)
    learner = supervised(model, tolerated(adam(learning_rate=LEARNING_RATE)), batch_size=BATCH)
    init, step, evaluate = (jax.vmap(function, (0, None)) for function in learner)

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
each_unit = pytest.mark.parametrize(("unit", "operation"), [("nac", "sub"), ("nalu", "mul")], ids=["nac", "nalu"])


def squared_error(unit, operation, params, x, masks):
    outputs = CELLS[unit](CELLS[unit](x, params["layers_0"]), params["layers_1"])
    return np.mean((outputs[0] - TARGETS[operation](*(masks.T @ x))) ** 2)


def batch_at(seed, step):
    """The training batch of a position, by JAX's own generator: inputs uniform on [1, 3]."""
    key = jax.random.key(0, impl="threefry2x32")
    for word in (2, seed, step):  # 2: Purpose.TRAINING
        key = jax.random.fold_in(key, word)
    return 1 + 2 * np.asarray(jax.random.uniform(key, (4, BATCH)), np.float64)


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
            expected = squared_error(unit, operation, before.params, batch_at(seed, step), before.draw)
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
            g = gradient(lambda p: squared_error(unit, operation, p, batch_at(seed, t - 1), start.draw), params)  # noqa: B023
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
def test_a_step_moves_on_by_one_and_leaves_seed_and_draw_alone(unit, operation):
    task = arithmetic(operation)
    state = started(unit, task)
    stepped, _ = compiled(unit).step(state, task, 3)
    assert state.step.tolist() == [0] * SEEDS and stepped.step.tolist() == [3] * SEEDS
    assert stepped.seed.tolist() == list(range(SEEDS))
    np.testing.assert_array_equal(stepped.draw, state.draw)


def test_parameters_and_draws_come_from_the_positions_of_their_purposes():
    # Bitwise: our generator draws what JAX's own does. Purposes 0 and 1 are parameters and task.
    task = arithmetic("sub")

    def expected(seed):
        keys = [jax.random.fold_in(jax.random.fold_in(jax.random.key(0, impl="threefry2x32"), n), seed) for n in (0, 1)]
        return compiled("nac").model.init(keys[0], jnp.ones((4, 1)))["params"], task.init(keys[1])

    state = started("nac", task)
    drawn = jax.jit(jax.vmap(expected))(jnp.arange(SEEDS, dtype=jnp.uint32))
    assert_close((state.params, state.draw), drawn, rtol=0)


# Evaluations


@each_unit
def test_evaluations_are_what_numpy_finds(unit, operation):
    task = arithmetic(operation)
    state = planted(unit, task)
    metrics = compiled(unit).evaluate(state, task)
    assert set(metrics) == {"interpolation_mse", "extrapolation_mse", "sparsity_error", "solved"}
    for seed in range(SEEDS):
        params, masks = of_seed(state, seed).params, of_seed(state, seed).draw
        for name, inputs in (("interpolation_mse", INTERPOLATION), ("extrapolation_mse", EXTRAPOLATION)):
            expected = squared_error(unit, operation, params, inputs.astype(np.float64), masks)
            np.testing.assert_allclose(metrics[name][seed], expected, rtol=1e-5)
        sizes = [np.abs(np.tanh(layer["w_hat"]) * sigmoid(layer["m_hat"])) for layer in params.values()]
        sparsity_error = max(min(w, abs(1 - w)) for size in sizes for w in size.ravel())
        np.testing.assert_allclose(metrics["sparsity_error"][seed], sparsity_error, rtol=1e-5)


def test_a_seed_is_solved_where_its_test_error_is_below_the_threshold():
    state = started("nac", arithmetic("sub"))
    errors = np.sort(compiled("nac").evaluate(state, arithmetic("sub"))["extrapolation_mse"])
    between = np.float32((errors[3] + errors[4]) / 2)
    metrics = compiled("nac").evaluate(state, arithmetic("sub", threshold=between))
    np.testing.assert_array_equal(metrics["solved"], metrics["extrapolation_mse"] <= errors[3])


def test_effective_weights_are_the_matrices_that_the_layers_declare():
    params = {
        f"layers_{n}": {"w_hat": jnp.full((4, 2), 0.5 + n), "m_hat": jnp.full((4, 2), -1.0 - n), "g": jnp.ones((4, 2))}
        for n in (0, 1)
    }
    params["layers_1"] = jax.tree.map(lambda leaf: leaf[:2, :1], params["layers_1"])
    model = two_layer("nalu", {}, hidden_size=2)
    weights = jax.jit(lambda params: effective_weights(model, params, jnp.ones((4, 1))))(params)
    # tanh(0.5) σ(-1) and tanh(1.5) σ(-2); the gate's matrix is not among them.
    expected = {"layers_0": [np.full((4, 2), 0.124282445)], "layers_1": [np.full((2, 1), 0.107896317)]}
    assert_close({layer: list(declared.values()) for layer, declared in weights.items()}, expected, rtol=1e-6)


@pytest.mark.parametrize("batch_size", [0, -1, 8.0, "8", None])
def test_a_batch_size_that_is_no_positive_integer_is_refused(batch_size):
    with pytest.raises(ValueError, match=f"batch_size must be a positive integer, got {batch_size!r}"):
        supervised(two_layer("nac", {}, hidden_size=2), optax.sgd(1.0), batch_size=batch_size)


# Learning


def test_a_nac_learns_to_subtract_in_6000_steps_whatever_its_seed():
    task = arithmetic("sub")
    state, _ = compiled("nac").step(started("nac", task), task, 6000)
    for seed in range(SEEDS):
        params, masks = of_seed(state, seed).params, of_seed(state, seed).draw
        # The test numbers lie outside the training range; 1e-8 is about the published threshold for subtraction.
        assert squared_error("nac", "sub", params, task.extrapolation.astype(np.float64), masks) < 1e-8
    assert compiled("nac").evaluate(state, task)["solved"].all()


def test_the_error_of_a_nalu_falls_to_a_tenth_in_3000_steps_whatever_its_seed():
    task = arithmetic("sub")
    state = started("nalu", task)
    before = compiled("nalu").evaluate(state, task)["interpolation_mse"]
    after = compiled("nalu").evaluate(compiled("nalu").step(state, task, 3000)[0], task)["interpolation_mse"]
    assert (after < before / 10).all()


# Optimizers


def updates(optimizer, *gradients):
    """The updates of one parameter for gradients that come one after another."""
    state = optimizer.init(jnp.zeros(()))
    found = []
    for gradient in gradients:
        update, state = optimizer.update(jnp.float32(gradient), state)
        found.append(float(update))
    return found


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("learning_rate", [0, -1e-3, float("nan"), float("inf")])
def test_a_learning_rate_that_is_no_positive_number_is_refused(name, learning_rate):
    with pytest.raises(ValueError, match=f"learning_rate must be a positive number, got {learning_rate!r}"):
        OPTIMIZERS[name](learning_rate=learning_rate)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_goes_downhill_in_proportion_to_its_learning_rate(name, optax_promotion):
    small, large = (updates(OPTIMIZERS[name](learning_rate=rate), 3.0, -1.0) for rate in (1e-3, 1e-1))
    assert small[0] < 0
    np.testing.assert_allclose(large, np.multiply(small, 100), rtol=1e-5)


# A gradient of 1e-8 shows where ε stands.
each_gradient = pytest.mark.parametrize("g", [2.0, -0.3, 1e-8])


@each_gradient
def test_two_steps_of_adam_are_those_of_its_formula(g, optax_promotion):
    # First m̂ = g and v̂ = g²; then, for a gradient of 3 g, m̂ = (0.09 + 0.3) g / 0.19, v̂ = (0.000999 + 0.009) g² / 0.001999.
    first = -0.1 * g / (abs(g) + 1e-8)
    second = -0.1 * (0.39 / 0.19 * g) / (np.sqrt(0.009999 / 0.001999) * abs(g) + 1e-8)
    # Float32 knows 1 - 0.999 to 5e-5.
    np.testing.assert_allclose(updates(adam(learning_rate=0.1), g, 3 * g), [first, second], rtol=1e-4)


@each_gradient
def test_two_steps_of_rmsprop_are_those_of_its_formula(g):
    # v = 0.01 g², then 0.0099 g² + 0.01 (3 g)²; ε is added to the root, as PyTorch does.
    first = -0.1 * g / (0.1 * abs(g) + 1e-8)
    second = -0.1 * 3 * g / (np.sqrt(0.0999) * abs(g) + 1e-8)
    np.testing.assert_allclose(updates(rmsprop(learning_rate=0.1), g, 3 * g), [first, second], rtol=1e-5)
