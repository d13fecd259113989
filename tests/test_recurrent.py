"""Networks of sequences that answer at their end: readouts, ends that differ, vectors that are made as they are read."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nalu_jax.learners.supervised import declared_penalties, effective_weights
from nalu_jax.networks.recurrent import recurrent
from nalu_jax.registry import UNITS
from nalu_jax.sequences import Generated, Sequences, Vectors

TIME, BATCH, FEATURES = 5, 6, 3
LENGTHS = np.array([1, 2, 3, 4, 5, 5])


def vectors(time=TIME, batch=BATCH, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (FEATURES, time, batch)).astype(np.float32)


def network(**fields):
    given = {"unit": "linear", "reader": {"name": "identity"}, "features": 1, "cell": "lstm", "hidden_size": 4, "outputs": 2}
    given |= {"readout": "last_state"} | fields
    return recurrent(given.pop("unit"), {}, **given)


@functools.cache
def started(model):
    """Parameters of a network with two programs: its answers, and those after every step."""
    params = model.init(jax.random.key(0), Vectors(jnp.asarray(vectors())))["params"]

    def answers(inputs, method):
        return np.asarray(jax.jit(lambda inputs: model.apply({"params": params}, inputs, method=method))(inputs))

    return params, answers


def ended(values, axis=1):
    """The entry at the end of each sequence: [in, time, batch] → [in, batch]."""
    return np.stack([np.take(values[..., b], n - 1, axis=axis) for b, n in enumerate(LENGTHS)], axis=-1)


def dense(params, states):
    """A linear layer by hand: [in, ...] → [out, ...]."""
    bias = np.asarray(params["b"])
    return np.einsum("io,i...->o...", np.asarray(params["w"]), states) + bias.reshape(-1, *[1] * (states.ndim - 1))


def hidden(params, x, c_of=False):
    """The outputs of an LSTM, or what it remembers, over time: x [in, time, batch] → [features, time, batch]."""
    from flax.linen import OptimizedLSTMCell

    cell, carry, seen = OptimizedLSTMCell(4), None, []
    carry = cell.initialize_carry(jax.random.key(0), (x.shape[2], FEATURES))
    for t in range(x.shape[1]):
        carry, h = cell.apply({"params": params["cell"]["cell"]}, carry, x[:, t].T)
        seen.append((carry[0] if c_of else h).T)
    return np.stack(seen, axis=1)


@pytest.mark.parametrize(
    "readout",
    [
        "summed_states",
        *(
            pytest.param(other, marks=pytest.mark.slow)
            for other in ("last_state", "summed_answers", "cell_state", "two_units")
        ),
    ],
)
def test_each_readout_reads_what_it_is_named_after_at_the_end_of_each_sequence(readout):
    model, x = network(readout=readout), vectors()
    params, answers = started(model)
    states = hidden(params, x, c_of=readout == "cell_state")
    states = np.cumsum(states, axis=1) if readout == "summed_states" else states
    for layer in range(2 if readout == "two_units" else 1):
        states = dense(params["readout"][f"layers_{layer}"], states)
    states = np.cumsum(states, axis=1) if readout == "summed_answers" else states
    found = answers(Vectors(jnp.asarray(x), jnp.asarray(LENGTHS)), "__call__")
    np.testing.assert_allclose(found, ended(states), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(answers(Vectors(jnp.asarray(x)), "running"), states, rtol=1e-5, atol=1e-6)


def test_what_follows_the_end_of_a_sequence_changes_nothing():
    _, answers = started(network(readout="summed_states"))
    x = vectors()
    other = x.copy()
    for b, n in enumerate(LENGTHS):
        other[:, n:, b] = 1e3
    found = [answers(Vectors(jnp.asarray(values), jnp.asarray(LENGTHS)), "__call__") for values in (x, other)]
    np.testing.assert_array_equal(*found)


def test_a_sum_of_answers_is_that_of_what_the_unit_makes_of_each_state():
    """Of a linear unit without a bias it would be the answer to the sum of states; a NALU is not linear."""
    model = network(unit="nalu", readout="summed_answers")
    params, answers = started(model)
    states = hidden(params, vectors())
    unit = UNITS["nalu"](2, axis=0)
    each = np.asarray(unit.apply({"params": params["readout"]["layers_0"]}, jnp.asarray(states)))
    found = answers(Vectors(jnp.asarray(vectors()), jnp.asarray(LENGTHS)), "__call__")
    expected = np.stack([each[:, :n, b].sum(1) for b, n in enumerate(LENGTHS)], axis=-1)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_vectors_that_are_made_as_they_are_read_give_the_same_answers_as_those_at_hand():
    x = jnp.asarray(vectors())
    for model in (network(), network(unit="nau", cell="unit")):
        _, answers = started(model)
        made = Generated(jax.tree_util.Partial(lambda x, t: x[:, t], x), jnp.arange(TIME))
        np.testing.assert_array_equal(answers(made, "__call__"), answers(Vectors(x), "__call__"))
        np.testing.assert_array_equal(answers(made, "running"), answers(Vectors(x), "running"))


def test_memory_does_not_grow_with_the_length_of_generated_sequences():
    model = network()
    params, _ = started(model)

    def temporary(time):
        made = Generated(jax.tree_util.Partial(lambda t: jnp.full((FEATURES, 64), t, jnp.float32)), jnp.arange(time))
        program = jax.jit(lambda params, made: model.apply({"params": params}, made)).lower(params, made).compile()
        return program.memory_analysis().temp_size_in_bytes

    assert temporary(10_000) - temporary(1_000) <= 10_000 * 8


def test_words_are_read_once_and_looked_up_at_every_step():
    model = network(reader={"name": "embedding"}, features=FEATURES)
    order = np.random.default_rng(0).integers(0, 7, (TIME, BATCH))
    words = Sequences(jnp.arange(7), jnp.asarray(order))
    params = model.init(jax.random.key(0), words)["params"]
    table = np.asarray(params["trunk"]["embedding"])
    assert table.shape == (FEATURES, 7)
    expected = dense(params["readout"]["layers_0"], hidden(params, table[:, order]))[:, -1]
    np.testing.assert_allclose(model.apply({"params": params}, words), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("first_state", "unit", "start"),
    [("neutral", "nau", 0), ("neutral", "nmu", 1), ("zeros", "nmu", 0), ("ones", "nau", 1), ("learned", "nmu", 1)],
)
def test_a_unit_cell_starts_from_the_state_that_is_named(first_state, unit, start):
    params, answers = started(network(unit=unit, cell="unit", readout="none", outputs=2, first_state=first_state))
    w = np.asarray(params["cell"]["unit"]["w"].value if hasattr(params["cell"]["unit"]["w"], "value") else 0)
    x = vectors(time=1)
    joined = np.concatenate([x[:, 0], np.full((2, BATCH), start)])
    by_hand = w.T @ joined if unit == "nau" else np.prod(w[..., None] * joined[:, None] + 1 - w[..., None], axis=0)
    np.testing.assert_allclose(answers(Vectors(jnp.asarray(x)), "__call__")[:, 0], by_hand, rtol=1e-5)
    assert ("first" in params["cell"]) == (first_state == "learned")


def test_a_learned_first_state_has_a_gradient():
    model = network(unit="nau", cell="unit", first_state="learned")
    params, _ = started(model)
    loss = lambda params: jnp.sum(model.apply({"params": params}, Vectors(jnp.asarray(vectors()))))  # noqa: E731
    assert np.abs(jax.grad(loss)(params)["cell"]["first"]).min() > 0


def test_units_of_cell_and_readout_declare_weights_and_penalties():
    model, inputs = network(unit="nau", cell="unit"), Vectors(jnp.asarray(vectors()))
    params, _ = started(model)
    weights = effective_weights(model, params, inputs)
    assert {name: jax.tree.leaves(weights[name])[0].shape for name in weights} == {"cell": (7, 4), "readout": (4, 2)}
    assert "sparsity" in declared_penalties(model, inputs)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"readout": "cell_state", "cell": "gru"},
            "readout 'cell_state' is of an LSTM alone, the cell 'gru' has no cell state",
        ),
        ({"unit": ""}, "name is missing: this network is made of units"),
        ({"cell": "unit", "first_state": "two"}, "first_state must be one of neutral, zeros, ones, learned, got 'two'"),
    ],
)
def test_networks_that_cannot_be_are_refused_in_a_sentence(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        network(**fields)
