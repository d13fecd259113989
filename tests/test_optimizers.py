"""The optimizers against NumPy loops of their published equations, and what is done to gradients before they see them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nalu_jax.bounded import Bounded
from nalu_jax.learners.optimizers import make_optimizer, taking_turns
from nalu_jax.recipes import Optimizer
from nalu_jax.registry import OPTIMIZERS, UnknownName

pytestmark = pytest.mark.usefixtures("optimized", "optax_promotion")

# Gradients that come one after another, f64[steps, elements]: large ones, small ones, and some that show where ε stands.
GRADIENTS = np.random.RandomState(0).normal(size=(5, 4)) * [10, 1, 1e-3, 1e-8]


def steps_of(optimizer, gradients, params=None):
    """The updates of an optimizer for gradients that come one after another, as a list."""
    state = optimizer.init(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape[1:], jnp.float32), gradients))
    update, found = jax.jit(optimizer.update), []
    for t in range(jax.tree.leaves(gradients)[0].shape[0]):
        step, state = update(jax.tree.map(lambda leaf, t=t: jnp.asarray(leaf[t], jnp.float32), gradients), state)
        found.append(jax.tree.map(np.asarray, step))
    return found


# The published equations: gradients f64[steps, elements] → updates f64[steps, elements]


def adam(gradients, rate):
    """Kingma & Ba 2015, algorithm 1."""
    m = v = 0
    for t, g in enumerate(gradients, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        yield -rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)


def rmsprop(gradients, rate):
    """The manual of PyTorch's RMSprop: α = 0.99, the average starts at 0 and ε stands outside of the root."""
    v = 0
    for g in gradients:
        v = 0.99 * v + 0.01 * g**2
        yield -rate * g / (np.sqrt(v) + 1e-8)


def rmsprop_tensorflow(gradients, rate):
    """tf.train.RMSPropOptimizer: decay 0.9, the average starts at 1 and ε = 1e-10 stands inside the root."""
    v = 1
    for g in gradients:
        v = 0.9 * v + 0.1 * g**2
        yield -rate * g / np.sqrt(v + 1e-10)


def sgd(gradients, rate):
    """Gradient descent."""
    for g in gradients:
        yield -rate * g


def momentum(gradients, rate):
    """Gradient descent with momentum 0.9: v ← 0.9 v + g, θ ← θ - rate v."""
    v = 0
    for g in gradients:
        v = 0.9 * v + g
        yield -rate * v


EQUATIONS = {
    "adam": adam,
    "rmsprop": rmsprop,
    "rmsprop_tensorflow": rmsprop_tensorflow,
    "sgd": sgd,
    "momentum": momentum,
}


def test_every_registered_optimizer_is_held_against_its_equations():
    assert set(OPTIMIZERS) == set(EQUATIONS)


@pytest.mark.parametrize("name", EQUATIONS)
def test_five_steps_are_those_of_the_published_equations(name):
    found = steps_of(OPTIMIZERS[name](learning_rate=0.1), GRADIENTS)
    # Float32 knows 1 - 0.999 to 5e-5; the others have no such difference.
    np.testing.assert_allclose(found, list(EQUATIONS[name](GRADIENTS, 0.1)), rtol=1e-4 if name == "adam" else 2e-6)


def test_the_average_of_tensorflow_s_rmsprop_starts_at_one_so_that_its_first_step_is_small():
    # By hand: v = 0.9 + 0.1 · 0.01 = 0.901 for g = 0.1; PyTorch's would step by 0.1 · 0.1 / (0.1 · 0.1).
    [step] = steps_of(OPTIMIZERS["rmsprop_tensorflow"](learning_rate=0.1), np.array([[0.1]]))
    np.testing.assert_allclose(step, [-0.01 / 0.949210], rtol=1e-5)


@pytest.mark.parametrize("name", EQUATIONS)
def test_the_learning_rate_may_be_traced_and_mapped_over(name):
    def first_step(rate):
        optimizer = make_optimizer(Optimizer(name, 7.0).chain, rate)
        return optimizer.update(jnp.float32(3.0), optimizer.init(jnp.float32(0)))[0]

    found = jax.jit(jax.vmap(first_step))(jnp.array([1e-3, 1e-1], jnp.float32))
    expected = [next(EQUATIONS[name](np.array([3.0]), rate)) for rate in (1e-3, 1e-1)]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


# Schedules

SCHEDULED = {  # at steps 0, 5 and 10 of 10, from 0.2 to a quarter of it, by hand
    "constant": [0.2, 0.2, 0.2],
    "linear": [0.2, 0.125, 0.05],
    "cosine": [0.2, 0.125, 0.05],
    "exponential": [0.2, 0.1, 0.05],
}


@pytest.mark.parametrize("schedule", SCHEDULED)
def test_a_schedule_leads_from_the_learning_rate_to_its_end(schedule):
    end = {} if schedule == "constant" else {"end_factor": 0.25}
    optimizer = Optimizer("sgd", 0.2, schedule=schedule, **end)
    transformation = make_optimizer(optimizer.without(num_steps=10), 0.2)
    steps = np.array(steps_of(transformation, np.ones((12, 1)))).ravel()
    np.testing.assert_allclose(-steps[[0, 5, 10, 11]], [*SCHEDULED[schedule], SCHEDULED[schedule][-1]], rtol=1e-6)
    if schedule == "cosine":
        assert -steps[2] == pytest.approx(0.2 * (0.25 + 0.75 * (1 + math.cos(0.2 * math.pi)) / 2), rel=1e-6)


def test_a_warm_up_rises_to_the_learning_rate_before_the_schedule_begins():
    chain = Optimizer("sgd", 1.0, schedule="linear", warmup_steps=4).without(num_steps=8)
    steps = np.array(steps_of(make_optimizer(chain, 1.0), np.ones((9, 1)))).ravel()
    np.testing.assert_allclose(-steps, [0.25, 0.5, 0.75, 1, 1, 0.75, 0.5, 0.25, 0], atol=1e-6)


def test_without_a_schedule_the_optimizer_keeps_no_count():
    plain = make_optimizer(Optimizer("sgd").without(num_steps=100), 1.0)
    assert jax.tree.leaves(plain.init(jnp.zeros(2))) == []


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"schedule": "step"}, "schedule must be one of constant, linear, cosine, exponential, got 'step'"),
        ({"end_factor": 0.5}, "end_factor must be 0 where the learning rate is constant, got 0.5"),
        ({"schedule": "exponential"}, "end_factor must be above 0 where the schedule is exponential, got 0"),
        ({"warmup_steps": 10}, "warmup_steps must be less than num_steps, which is 10, got 10"),
        ({"momentum": 1.0}, "momentum must be in .* got 1.0"),
        ({"eps": 0.0}, "eps must be positive"),
        ({"learning_rate": 1e-60}, "learning_rate must be a positive number in float32, got 1e-60"),
    ],
)
def test_an_impossible_schedule_or_number_is_refused(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        Optimizer(**settings).without(num_steps=10)


# Numbers of the optimizer


@pytest.mark.parametrize(
    ("name", "numbers", "expected"),
    [
        ("adam", {"momentum": 0.5, "decay": 0.9, "eps": 1.0}, optax.adam(0.1, b1=0.5, b2=0.9, eps=1.0)),
        ("rmsprop", {"decay": 0.5, "eps": 0.1}, optax.rmsprop(0.1, decay=0.5, eps=0.1, eps_in_sqrt=False)),
        ("momentum", {"momentum": 0.3}, optax.sgd(0.1, momentum=0.3)),
        (
            "sgd",
            {"clip_value": 0.2, "clip_norm": 0.5},
            optax.chain(optax.clip_by_global_norm(0.5), optax.clip(0.2), optax.sgd(0.1)),
        ),
    ],
)
def test_every_number_may_be_set_and_swept(name, numbers, expected):
    optimizer = Optimizer(name, 0.1, **numbers)
    fixed = make_optimizer(optimizer.chain, 0.1)

    def swept(values):
        transformation = make_optimizer(optimizer.without(list(numbers)), 0.1, **values)
        state, found = transformation.init(jnp.zeros(GRADIENTS.shape[1:], jnp.float32)), []
        for gradient in jnp.asarray(GRADIENTS, jnp.float32):
            step, state = transformation.update(gradient, state)
            found.append(step)
        return jnp.stack(found)

    traced = jax.jit(jax.vmap(swept))({field: jnp.array([value], jnp.float32) for field, value in numbers.items()})
    np.testing.assert_allclose(steps_of(fixed, GRADIENTS), steps_of(expected, GRADIENTS), rtol=1e-6)
    np.testing.assert_allclose(traced[0], steps_of(expected, GRADIENTS), rtol=1e-4)


def test_a_number_that_an_optimizer_does_not_have_is_refused():
    with pytest.raises(ValueError, match="eps is no number of the optimizer 'sgd'"):
        make_optimizer(Optimizer("sgd", eps=0.1).chain, 1.0)


# Clipping


def test_each_element_of_a_gradient_is_clipped_to_clip_value():
    [step] = steps_of(make_optimizer(Optimizer("sgd", clip_value=0.1).chain, 1.0), np.array([[0.05, -0.5, 3.0, -0.1]]))
    np.testing.assert_allclose(step, [-0.05, 0.1, -0.1, 0.1], rtol=1e-6)


@pytest.mark.parametrize(
    ("gradient", "expected"), [([3.0, 4.0], [-1.2, -1.6]), ([0.6, 0.8], [-0.6, -0.8])], ids=["longer", "shorter"]
)
def test_a_gradient_is_scaled_down_to_clip_norm_over_all_parameters(gradient, expected):
    gradients = {"a": np.array([gradient[:1]]), "b": np.array([gradient[1:]])}
    [step] = steps_of(make_optimizer(Optimizer("sgd", clip_norm=2.0).chain, 1.0), gradients)
    np.testing.assert_allclose([step["a"][0], step["b"][0]], expected, rtol=1e-6)


def test_the_norm_is_clipped_before_the_elements():
    [step] = steps_of(make_optimizer(Optimizer("sgd", clip_norm=1.0, clip_value=0.7).chain, 1.0), np.array([[3.0, 4.0]]))
    np.testing.assert_allclose(step, [-0.6, -0.7], rtol=1e-6)


def test_the_norm_of_a_seed_is_its_own_under_vmap():
    optimizer = make_optimizer(Optimizer("sgd", clip_norm=1.0).chain, 1.0)
    gradients = jnp.array([[3.0, 4.0], [0.3, 0.4], [0.0, -2.0]])
    steps = jax.vmap(lambda g: optimizer.update(g, optimizer.init(g))[0])(gradients)
    np.testing.assert_allclose(steps, [[-0.6, -0.8], [-0.3, -0.4], [0, 1]], rtol=1e-6)


def test_what_is_clipped_is_what_the_moments_see():
    # After a clipped gradient of 0.1 and one of 0.05: momentum 0.9 · 0.1 + 0.05.
    steps = steps_of(make_optimizer(Optimizer("momentum", clip_value=0.1).chain, 1.0), np.array([[5.0], [0.05]]))
    np.testing.assert_allclose(steps, [[-0.1], [-0.14]], rtol=1e-6)


# Taking turns


def turns(gate_turn, name, count=23):
    """Updates of a net of two layers, one with a gate, and the gradients that led to them."""
    shape = {"layers_0": {"g": (2,), "w_hat": (3,)}, "layers_1": {"log_g": (2,)}}
    rng = np.random.RandomState(1)
    gradients = jax.tree.map(lambda s: rng.normal(size=(count, *s)), shape, is_leaf=lambda s: isinstance(s, tuple))
    return steps_of(make_optimizer(Optimizer(name, gate_turn=gate_turn).chain, 0.1), gradients), gradients


@pytest.mark.parametrize("gate_turn", [2, 5])
@pytest.mark.parametrize("name", ["rmsprop", "adam", "momentum"])
def test_of_ten_steps_the_last_move_the_gates_and_the_others_all_else(gate_turn, name):
    steps, _ = turns(gate_turn, name)
    for t, step in enumerate(steps):
        gates = t % 10 >= 10 - gate_turn
        moved = {path[-1].key: bool((leaf != 0).all()) for path, leaf in jax.tree_util.tree_leaves_with_path(step)}
        still = {path[-1].key: bool((leaf == 0).all()) for path, leaf in jax.tree_util.tree_leaves_with_path(step)}
        # "log_g" only ends like a gate.
        assert moved == {"g": gates, "w_hat": not gates, "log_g": not gates}
        assert still == {name: not moves for name, moves in moved.items()}


@pytest.mark.parametrize("name", ["rmsprop", "adam", "momentum"])
def test_each_side_keeps_its_moments_while_the_other_has_its_turn(name):
    # So each side makes the steps of an optimizer that only ever sees the gradients of its own turns.
    steps, gradients = turns(2, name)
    of_gates = np.arange(len(steps)) % 10 >= 8
    for layer, leaf, turn in (
        ("layers_0", "g", of_gates),
        ("layers_0", "w_hat", ~of_gates),
        ("layers_1", "log_g", ~of_gates),
    ):
        found = np.array([step[layer][leaf] for step in steps])[turn]
        np.testing.assert_allclose(found, list(EQUATIONS[name](gradients[layer][leaf][turn], 0.1)), rtol=1e-4, atol=1e-7)


def test_without_gate_turns_all_parameters_move_at_every_step():
    steps, _ = turns(0, "sgd")
    assert all((leaf != 0).all() for step in steps for leaf in jax.tree.leaves(step))


def test_the_idle_side_s_state_is_the_same_bits_as_before():
    inner = OPTIMIZERS["adam"](learning_rate=0.1)
    optimizer = taking_turns(inner, 2)
    gradients = {"g": jnp.ones(2), "w": jnp.ones(3)}
    state, update = optimizer.init(gradients), jax.jit(optimizer.update)
    for t in range(20):
        before = jax.tree.map(np.array, state)
        _, state = update(gradients, state)
        idle = 1 if t % 10 >= 8 else 2
        jax.tree.map(np.testing.assert_array_equal, state[idle], before[idle])
        assert any(
            (new != old).any()
            for new, old in zip(jax.tree.leaves(state[3 - idle]), jax.tree.leaves(before[3 - idle]), strict=True)
        )


# What is refused


@pytest.mark.parametrize("value", [0, -1e-3, float("nan"), float("inf")])
def test_a_learning_rate_that_is_no_positive_number_is_refused(value):
    with pytest.raises(ValueError, match=f"learning_rate must be a positive number in float32, got {value!r}"):
        Optimizer(learning_rate=value)


@pytest.mark.parametrize("field", ["clip_norm", "clip_value"])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_bound_of_gradients_that_is_no_number_of_at_least_0_is_refused(field, value):
    with pytest.raises(ValueError, match=f"{field} must be a number of at least 0, got {value!r}"):
        Optimizer(**{field: value})


@pytest.mark.parametrize("value", [-1, 10, 2.5])
def test_a_turn_of_the_gates_that_leaves_no_step_for_the_others_is_refused(value):
    with pytest.raises(ValueError, match=f"gate_turn must be a whole number from 0 to 9, got {value!r}"):
        Optimizer(gate_turn=value)


def test_an_unknown_optimizer_is_refused_with_the_known_ones():
    with pytest.raises(
        UnknownName, match=r"unknown optimizer 'adamw': did you mean 'adam'.*rmsprop_tensorflow, sgd, momentum"
    ):
        make_optimizer(Optimizer("adamw").chain, 1e-3)


def test_a_gate_that_lives_in_an_interval_has_the_turn_of_a_gate():
    params = {"w": jnp.ones(1), "g": Bounded(jnp.ones(1), 0.0, 1.0)}
    turns = taking_turns(OPTIMIZERS["sgd"](learning_rate=1.0), 2)
    state, moved = turns.init(params), []
    for _ in range(10):
        updates, state = turns.update(params, state, params)
        moved.append((bool(updates["w"].any()), bool(updates["g"].value.any())))
    assert moved == [(True, False)] * 8 + [(False, True)] * 2
