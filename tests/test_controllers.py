"""Cells of the program tasks: the formulas in NumPy, and a planted controller that evaluates every program."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nalu_jax.data import programs
from nalu_jax.data.programs import KINDS
from nalu_jax.networks.cells import SEES
from nalu_jax.networks.controllers import UGRNNCell, configured_step, hard_sign
from nalu_jax.networks.recurrent import recurrent
from nalu_jax.sequences import Vectors

# A controller by hand. It is sent the kind of a token, the signs of the registers, and weights W [1 + registers, registers]
# of the step, which keep all registers, and which it changes; it takes one token after the other, as parsers do.


def operation(into):
    """Evaluates an operation into a register; returns the weights of the step that closes it."""
    yield from operand(into)
    kind, _, _ = yield
    if kind in "+-":
        yield from operand(into, 1 if kind == "+" else -1)
    else:
        yield from operand(into + 1)
        kind, _, _ = yield
        yield from operand(into + 1, -1)  # a - b
        _, signs, _ = yield  # at "else"
        holds = signs[into + 1] == (-1 if kind == "<" else 1)
        yield from operand(into + 1 if holds else into)
    _, _, w = yield
    return w


def operand(into, sign=0):
    """Puts an operand into a register, or adds it to the register with a sign; an operation gets the register behind."""
    kind, _, w = yield
    if kind == "number":
        w[:, into] *= abs(sign)
        w[0, into] = sign or 1
    else:
        w = yield from operation(into + abs(sign))
        if sign:
            w[1 + into + 1, into] = sign


def program():
    """A controller of any program."""
    yield from operation(0)
    while True:
        yield


def running_sum():
    """A controller of sums and differences with one register: numbers are added with signs that parentheses turn round."""
    outer, sign = [1], 1
    while True:
        kind, _, w = yield
        if kind == "(":
            outer.append(sign)
        elif kind == ")":
            outer.pop()
        elif kind in "+-":
            sign = outer[-1] * (1 if kind == "+" else -1)
        elif kind == "number":
            w[0, 0] = sign


@functools.cache
def drawn():
    draw = functools.partial(programs.draw, count=600, operations=programs.OPERATIONS, most=3, below=10_000)
    return jax.tree.map(np.asarray, jax.jit(draw)(jax.random.key(0, impl="unsafe_rbg")))


def that_have(found, keep):
    """The programs of which a function of their numbers of sums and of conditionals is true."""
    count = {kind: (found.kinds == KINDS.index(kind)).sum(0) for kind in ("+", "-", "if")}
    return jax.tree.map(lambda leaf: leaf[..., keep(count["+"] + count["-"], count["if"])], found)


def planted(found, controller):
    """The first of six registers at the end of each program, and how many were used, with a controller by hand."""
    r = np.zeros((6, found.kinds.shape[1]), np.float32)
    controllers = [controller() for _ in found.lengths]
    for one in controllers:
        next(one)
    used = np.zeros(6, bool)
    for kinds, values in zip(found.kinds, found.values, strict=True):
        w = np.tile(np.eye(7, 6, -1)[..., None], len(kinds))
        signs = np.sign(np.tanh(r))
        for b, one in enumerate(controllers):
            one.send((KINDS[kinds[b]], signs[:, b], w[..., b]))
        saturated = np.full(w.shape, 40, np.float32)
        x = np.concatenate([values[None].astype(np.float32), r])
        r = np.asarray(configured_step(x, (40 * w).astype(np.float32), saturated, saturated[0]))
        used |= r.any(axis=1)
    return r[0], used.sum()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("controller", "keep", "registers"),
    [
        (running_sum, lambda sums, conditionals: conditionals == 0, 1),
        (program, lambda sums, conditionals: (sums == 0) & (conditionals == 1), 2),
        (program, lambda sums, conditionals: sums + conditionals == 2, 4),
        (program, lambda sums, conditionals: sums + conditionals == 3, 6),
    ],
)
def test_a_controller_by_hand_evaluates_every_program_of_four_digits_exactly(controller, keep, registers):
    found = that_have(drawn(), keep)
    answers, used = planted(found, controller)
    np.testing.assert_array_equal(answers, found.answers)
    assert found.answers.size >= 40 and used == registers


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_a_configured_step_is_the_formula_with_weights_for_each_example():
    rng = np.random.default_rng(0)
    x, w_hat, m_hat, g_hat = (rng.normal(size=size) for size in ((3, 5), (3, 2, 5), (3, 2, 5), (2, 5)))
    expected = np.empty((2, 5))
    for b in range(5):
        w = np.tanh(w_hat[..., b]) * sigmoid(m_hat[..., b])
        g = sigmoid(g_hat[:, b])
        expected[:, b] = g * (w.T @ x[:, b]) + (1 - g) * np.exp(w.T @ np.log(np.abs(x[:, b]) + 1e-7))
    found = configured_step(*(jnp.asarray(part, jnp.float32) for part in (x, w_hat, m_hat, g_hat)))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


TIME, BATCH, HIDDEN = 3, 4, 5


def network(**fields):
    given = {"reader": {"name": "identity"}, "features": 1, "hidden_size": HIDDEN, "outputs": 1, "cell": "configured_nalu"}
    return recurrent("linear", {}, **{**given, "readout": "last_output", **fields})


@functools.cache
def batch():
    """Kinds one-hot in three rows, values in the last."""
    rng = np.random.default_rng(0)
    kinds = np.eye(3)[rng.integers(0, 3, (TIME, BATCH))]
    values = rng.integers(0, 100, (1, TIME, BATCH))
    return np.concatenate([np.moveaxis(kinds, -1, 0), values]).astype(np.float32)


def started(model):
    return jax.jit(model.init)(jax.random.key(0), Vectors(jnp.asarray(batch())))["params"]


@pytest.mark.parametrize("sees", SEES)
def test_the_controller_sees_what_is_named(sees):
    z, r = np.array([[1.0], [0], [0], [50]], np.float32), np.array([[0.5], [-3]], np.float32)
    tanh, more = np.tanh(r), {"kinds": [], "hard_signs": [[[1], [-1]]]}
    more |= {"signs": [tanh], "values": [[[50]], tanh], "scaled_values": [[[0.5]], tanh]}
    found = network(sees=sees, registers=2).cell.seen(jnp.asarray(z), jnp.asarray(r))
    np.testing.assert_allclose(found, np.concatenate([z[:3], *more[sees]]), rtol=1e-6)


def test_hard_signs_have_the_derivative_of_a_soft_one():
    x = jnp.array([-4.0, 0.0, 1.0])
    np.testing.assert_array_equal(hard_sign(x), [-1, 0, 1])
    np.testing.assert_allclose(jax.grad(lambda x: hard_sign(x).sum())(x), [1 / 25, 1, 1 / 4], rtol=1e-6)


@pytest.mark.slow
def test_the_controller_sets_the_weights_of_the_nalu_at_every_step():
    model = network(sees="signs", registers=2)
    params, z = started(model), batch()
    lstm, carry = nn.OptimizedLSTMCell(HIDDEN), (jnp.zeros((BATCH, HIDDEN)),) * 2
    head = jax.tree.map(np.asarray, params["cell"]["head"])
    r = np.zeros((2, BATCH), np.float32)
    for t in range(TIME):
        seen = np.concatenate([z[:-1, t], np.tanh(r)])
        carry, h = lstm.apply({"params": params["cell"]["controller"]}, carry, jnp.asarray(seen.T))
        made = (np.asarray(h) @ head["kernel"] + head["bias"]).T
        w_hat, m_hat, g_hat = made[:6].reshape(3, 2, BATCH), made[6:12].reshape(3, 2, BATCH), made[12:]
        r = np.asarray(configured_step(np.concatenate([z[-1:, t], r]), w_hat, m_hat, g_hat))
    found = jax.jit(model.apply)({"params": params}, Vectors(jnp.asarray(z)))
    np.testing.assert_allclose(found, r[:1], rtol=1e-5)


@pytest.mark.slow
def test_the_gradient_of_a_configured_nalu_is_finite_from_registers_of_zero():
    model, inputs = network(registers=2), Vectors(jnp.asarray(batch()))
    gradient = jax.jit(jax.grad(lambda params: jnp.sum(model.apply({"params": params}, inputs))))(started(model))
    assert all(np.isfinite(leaf).all() and np.any(leaf) for leaf in jax.tree.leaves(gradient["cell"]["head"]))


def test_a_ugrnn_keeps_as_much_of_its_state_as_its_gate_lets_through():
    rng = np.random.default_rng(0)
    h, x = rng.normal(size=(BATCH, HIDDEN)).astype(np.float32), rng.normal(size=(BATCH, 3)).astype(np.float32)
    cell = UGRNNCell(HIDDEN)
    params = jax.jit(cell.init)(jax.random.key(0), jnp.asarray(h), jnp.asarray(x))["params"]
    kernel = np.concatenate([params["input"]["kernel"], params["state"]["kernel"]])
    both = np.concatenate([x, h], axis=1) @ kernel + np.asarray(params["input"]["bias"])
    c, g = np.tanh(both[:, :HIDDEN]), sigmoid(both[:, HIDDEN:] + 1)
    after, output = cell.apply({"params": params}, jnp.asarray(h), jnp.asarray(x))
    np.testing.assert_allclose(after, g * h + (1 - g) * c, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(after, output)


def test_a_ugrnn_is_a_cell_with_a_linear_readout():
    model = network(cell="ugrnn", readout="last_state")
    params = started(model)
    assert params["cell"]["cell"]["input"]["kernel"].shape == (4, 2 * HIDDEN)
    assert jax.eval_shape(model.apply, {"params": params}, Vectors(jnp.asarray(batch()))).shape == (1, BATCH)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"sees": "all"}, "sees must be one of kinds, signs, hard_signs, values, scaled_values, got 'all'"),
        ({"registers": 0}, "registers must be a positive integer, got 0"),
        ({"readout": "dense"}, "readout must be none, or one at the end, for the cell 'configured_nalu'"),
    ],
)
def test_a_configured_nalu_that_cannot_be_is_refused_in_a_sentence(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        network(**fields)
