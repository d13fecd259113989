"""Calls that XLA's CPU compiler must not dissolve: they change no number, and they are there in what it compiles."""

import functools
import importlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nalu_jax.learners.optimizers import make_optimizer
from nalu_jax.learners.supervised import supervised
from nalu_jax.networks.stacks import two_layer
from nalu_jax.recipes import Optimizer
from nalu_jax.registry import OPTIMIZERS
from nalu_jax.tasks.operations import OPERATIONS
from nalu_jax.tasks.static_arithmetic import ArithmeticTask
from nalu_jax.tasks.subsets import Disjoint
from nalu_jax.training.lowering import computed_once, in_one_kernel
from nalu_jax.training.random import GENERATORS
from nalu_jax.types import Hyperparameters, Problem

each_call = pytest.mark.parametrize("call", [computed_once, in_one_kernel])


def several(tree, x):
    """Outputs of several shapes and types."""
    y = jnp.tanh(tree["w"]) @ x
    return {"y": y, "positive": y > 0}, jnp.sum(y * y) + tree["b"], jnp.argmax(y)


def arguments(*batch):
    rng = np.random.RandomState(0)
    w, b, x = (jnp.asarray(rng.normal(size=(*batch, *shape)), jnp.float32) for shape in ((3, 4), (), (4,)))
    return {"w": w, "b": b}, x


def assert_same(found, expected):
    """The same types, and the same numbers but for the rounding of loops that are compiled together."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    assert jax.tree.map(lambda leaf: leaf.dtype, found) == jax.tree.map(lambda leaf: leaf.dtype, expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, expected)


@each_call
def test_a_call_gives_the_numbers_of_the_function(call):
    assert_same(call(several)(*arguments()), several(*arguments()))


@each_call
def test_a_call_gives_the_numbers_of_the_function_in_a_compiled_program(call):
    assert_same(jax.jit(call(several))(*arguments()), jax.jit(several)(*arguments()))


@each_call
@pytest.mark.parametrize("axes", [(0, 0), (0, None), ({"w": 0, "b": None}, 0)], ids=["all", "some", "some leaves"])
def test_a_call_gives_the_numbers_of_the_function_under_vmap(call, axes):
    tree, x = arguments(5)
    if axes[1] is None:
        x = x[0]
    if isinstance(axes[0], dict):
        tree["b"] = tree["b"][0]
    assert_same(jax.jit(jax.vmap(call(several), axes))(tree, x), jax.vmap(several, axes)(tree, x))


@each_call
def test_a_call_gives_the_numbers_of_the_function_within_a_loop(call):
    def loop(function):
        def step(_, x):
            return x + 0.1 * function(*arguments()[:1], x)[0]["y"].sum()

        return jax.jit(lambda x: jax.lax.fori_loop(0, 10, step, x))(arguments()[1])

    assert_same(loop(call(several)), loop(several))


def test_what_is_computed_once_is_the_same_bit_for_bit():
    def draw(key):
        return jax.random.bits(key, (5, 7)), jax.random.uniform(key, (5, 7), jnp.float32, -1, 2)

    key = jax.random.key(3, impl=GENERATORS["murmur"])
    jax.tree.map(np.testing.assert_array_equal, jax.jit(computed_once(draw))(key), jax.jit(draw)(key))


@each_call
def test_on_other_devices_a_function_is_left_alone(call, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert call(several) is several


# What XLA compiles


def computations(program):
    """The computations of a compiled program, by name: their texts."""
    return dict(re.findall(r"^(?:ENTRY )?%([\w.\-]+) \([^\n]*\{\n(.*?)^\}", program, re.MULTILINE | re.DOTALL))


def calls(program):
    """Name of what is called and attributes, of all calls that must not be dissolved."""
    found = re.findall(r" call\(.*to_apply=%([\w.\-]+), frontend_attributes=\{([^}]*inlineable=\"false\"[^}]*)\}", program)
    return [(called, "xla_cpu_small_call" in attributes) for called, attributes in found]


@pytest.mark.parametrize(("call", "small"), [(computed_once, False), (in_one_kernel, True)])
def test_a_call_is_still_there_in_the_compiled_program(call, small):
    program = jax.jit(jax.vmap(call(several))).lower(*arguments(5)).compile().as_text()
    assert [is_small for _, is_small in calls(program)] == [small]


# The first multiplier of the generator murmur, which nothing else in a training step has.
MULTIPLIER = "constant(2246822507)"


def compiled_step_of_nalu():
    """The compiled program of a step with a NALU, four seeds at a time."""
    learner = supervised(two_layer("nalu", {}, outputs=1, hidden_size=2), optax.sgd, batch_size=8, generator="murmur")
    task = ArithmeticTask(
        operation=np.int32(list(OPERATIONS).index("mul")),
        lows=np.float32([1]),
        width=np.float32(1),
        limit=np.float32(2),
        threshold=np.float32(1e-8),
        interpolation=np.ones((4, 5), np.float32),
        extrapolation=np.ones((4, 5), np.float32),
        subsets=Disjoint(1, 2),
        beyond_training=False,
    )
    problem = Problem(task, Hyperparameters(np.float32(1e-3), {}))
    state = jax.eval_shape(jax.vmap(lambda seed: learner.init(seed, problem)), jnp.arange(4, dtype=jnp.uint32))
    return jax.jit(jax.vmap(lambda state: learner.step(state, problem))).lower(state).compile().as_text()


step_of_nalu = functools.cache(compiled_step_of_nalu)


def within(program, name):
    """The computation, and all that it applies, by name."""
    text = computations(program)[name]
    return {name}.union(*(within(program, inner) for inner in re.findall(r"(?:to_apply|calls)=%([\w.\-]+)", text)))


def where_batches_are_drawn(program):
    """The computations that draw, and those within calls that are computed once."""
    drawing = {name for name, text in computations(program).items() if MULTIPLIER in text}
    return drawing, set().union(*(within(program, called) for called, is_small in calls(program) if not is_small))


def test_a_nalu_draws_its_batch_in_one_place_and_there_it_is_computed_once():
    drawing, once = where_batches_are_drawn(step_of_nalu())
    assert len(drawing) == 1
    assert drawing <= once


def test_a_batch_that_is_not_computed_once_would_be_found(monkeypatch):
    monkeypatch.setattr(importlib.import_module("nalu_jax.learners.supervised"), "computed_once", lambda function: function)
    drawing, once = where_batches_are_drawn(compiled_step_of_nalu())
    assert drawing and not drawing & once


def test_the_step_of_an_optimizer_is_one_kernel():
    assert sum(is_small for _, is_small in calls(step_of_nalu())) == 1


# Optimizers in one kernel

RATE = 1e-2
SHAPES = {"w": (3, 4, 2), "g": (3, 4)}


def parameters(seed, low, high):
    """A layer of two leaves for each of three seeds, of both signs and of sizes between two powers of ten."""
    rng = np.random.RandomState(seed)
    drawn = {name: rng.choice([-1, 1], shape) * 10 ** rng.uniform(low, high, shape) for name, shape in SHAPES.items()}
    return {"layers_0": jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), drawn)}


def steps_taken(optimizer, call):
    """Parameters and moments after each of four steps of an optimizer, which is made within the call from its rate."""

    @call
    def follow(gradients, state, params, rate):
        updates, state = optimizer(rate).update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    params = parameters(0, -1, 0)
    state, taken = jax.vmap(optimizer(RATE).init)(params), []
    step = jax.jit(jax.vmap(follow, (0, 0, 0, None)))
    for t in range(4):
        params, state = step(parameters(1 + t, -6, 3), state, params, jnp.float32(RATE))
        taken.append((params, state))
    return taken


@pytest.mark.usefixtures("optax_promotion")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_takes_the_steps_of_optax_in_one_kernel_as_it_does_outside(name):
    def plain(rate):
        return OPTIMIZERS[name](learning_rate=rate)

    expected = steps_taken(plain, lambda function: function)
    assert_same(steps_taken(plain, in_one_kernel), expected)
    # As experiments make it, all leaves as one: the parameters are the same, and the moments are laid out otherwise.
    made = steps_taken(functools.partial(make_optimizer, Optimizer(name, RATE).chain), in_one_kernel)
    assert_same([params for params, _ in made], [params for params, _ in expected])
    moved = jax.tree.map(lambda after, before: np.abs(after - before).min(), expected[-1][0], parameters(0, -1, 0))
    assert all(least > 0 for least in jax.tree.leaves(moved))
