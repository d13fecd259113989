"""Agents: the wirings by hand, episodes that begin anew, readers."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nalu_jax.networks.agents import WIRINGS, Mnih2016, agent
from nalu_jax.registry import READERS

BATCH, FEATURES, HIDDEN, UNIT = 3, 4, 5, 2
UNITS = {wiring: "" if wiring == "none" else "linear_no_bias" for wiring in WIRINGS}


@cache
def made(wiring, unit=None):
    name = UNITS[wiring] if unit is None else unit
    return agent(
        name, {}, outputs=6, reader={"name": "mlp"}, features=FEATURES, hidden_size=HIDDEN, wiring=wiring, unit_size=UNIT
    )


@cache
def observations(time=4):
    rng = np.random.RandomState(0)
    numbers = np.broadcast_to(rng.randint(5, 13, size=BATCH).astype(np.float32), (time, BATCH))
    return jnp.array(rng.normal(size=(time, 2, 2, 2, BATCH)), jnp.float32), jnp.array(numbers)


def at(t):
    return jax.tree.map(lambda leaf: leaf[t], observations())


@cache
def params_of(wiring, unit=None):
    return made(wiring, unit).init(jax.random.key(1), at(0))["params"]


def step(wiring, carry, t, first):
    return made(wiring).apply({"params": params_of(wiring)}, carry, at(t), first, method="step")


def fresh(wiring):
    return made(wiring).apply({"params": params_of(wiring)}, at(0), method="initialize_carry")


NO, ALL = jnp.zeros(BATCH, bool), jnp.ones(BATCH, bool)


def lstm_by_hand(params, c, h, z):
    """Hochreiter & Schmidhuber 1997 on columns."""
    gates = {}
    for gate in "ifgo":
        of_input = params[f"i{gate}"]["kernel"].T @ z
        of_state = params[f"h{gate}"]["kernel"].T @ h + params[f"h{gate}"]["bias"][:, None]
        gates[gate] = of_input + of_state
    i, f, o = (1 / (1 + np.exp(-gates[gate])) for gate in "ifo")
    c = f * c + i * np.tanh(gates["g"])
    return c, o * np.tanh(c)


@pytest.mark.parametrize("wiring", WIRINGS)
def test_an_agent_is_the_recurrence_that_its_wiring_says(wiring):
    params = jax.tree.map(np.asarray, params_of(wiring))
    c = h = np.zeros((HIDDEN, BATCH))
    u, carry = np.zeros((UNIT, BATCH)), fresh(wiring)
    for t in range(3):
        seen, number = map(np.asarray, at(t))
        features = params["trunk"]["dense_w"].T @ seen.reshape(-1, BATCH) + params["trunk"]["dense_b"][:, None]
        z = [np.maximum(features, 0), number[None]]
        if wiring != "none":
            inputs = {"input": [number[None]], "feedback": [number[None], h], "accumulator": [number[None], u, h]}
            u = params["unit"]["w"].T @ np.concatenate(inputs[wiring])
            z.append(u)
        c, h = lstm_by_hand(params["core"]["cell"], c, h, np.concatenate(z))
        outputs = params["heads"]["kernel"].T @ h + params["heads"]["bias"][:, None]
        carry, found = step(wiring, carry, t, NO)
        np.testing.assert_allclose(found, outputs, rtol=1e-4, atol=1e-5)
        if wiring != "none":
            np.testing.assert_allclose(carry.unit, u, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("wiring", ["none", "accumulator"])
def test_where_an_episode_begins_all_is_forgotten_and_elsewhere_nothing(wiring):
    carry, _ = step(wiring, fresh(wiring), 0, ALL)
    some = jnp.array([True, False, True])
    _, outputs = step(wiring, carry, 1, some)
    _, kept = step(wiring, carry, 1, NO)
    _, begun = step(wiring, fresh(wiring), 1, NO)
    np.testing.assert_allclose(outputs, np.where(some, begun, kept), rtol=1e-5, atol=1e-6)
    assert not np.allclose(begun[:, 0], kept[:, 0])


def test_called_an_agent_takes_the_first_step():
    outputs = made("feedback").apply({"params": params_of("feedback")}, at(0))
    np.testing.assert_array_equal(outputs, step("feedback", fresh("feedback"), 0, ALL)[1])
    assert outputs.shape == (6, BATCH)


@pytest.mark.parametrize("unit", ["nac", "nau", "nalu", "linear"])
def test_any_unit_can_be_wired_and_its_weights_are_declared(unit):
    outputs, declared = made("feedback", unit).apply({"params": params_of("feedback", unit)}, at(0), mutable=["weights"])
    assert outputs.shape == (6, BATCH) and np.isfinite(outputs).all()
    shapes = {leaf.shape for leaf in jax.tree.leaves(declared)}
    assert shapes == {(1 + HIDDEN, UNIT)}


def test_the_convolutions_are_those_of_the_paper():
    reader = READERS["mnih_2016"](features=256)
    params = jax.eval_shape(reader.init, jax.random.key(0), jnp.zeros((56, 56, 3, 2)))["params"]
    assert params["conv_1_kernel"].shape == (8, 8, 3, 16) and params["conv_2_kernel"].shape == (4, 4, 16, 32)
    assert params["dense_w"].shape == (5 * 5 * 32, 256)  # (56 - 8) / 4 + 1 = 13, (13 - 4) / 2 + 1 = 5
    with pytest.raises(ValueError, match="images must have 20 x 20 pixels or more, got 19 x 30"):
        reader.init(jax.random.key(0), jnp.zeros((19, 30, 3, 1)))


@pytest.mark.slow
def test_a_convolution_by_hand():
    images = jnp.array(np.random.RandomState(0).normal(size=(20, 20, 3, 2)), jnp.float32)
    reader = Mnih2016(features=3)
    params = reader.init(jax.random.key(0), images)["params"]
    x = np.asarray(images, np.float64)
    for i, (size, stride) in enumerate([(8, 4), (4, 2)], 1):
        kernel, bias = np.asarray(params[f"conv_{i}_kernel"]), np.asarray(params[f"conv_{i}_bias"])
        count = (len(x) - size) // stride + 1
        made = np.zeros((count, count, kernel.shape[-1], 2))
        for row in range(count):
            for column in range(count):
                part = x[stride * row : stride * row + size, stride * column : stride * column + size]
                made[row, column] = np.einsum("hwcn,hwcf->fn", part, kernel) + bias[:, None]
        x = np.maximum(made, 0)
    expected = np.maximum(np.asarray(params["dense_w"]).T @ x.reshape(-1, 2) + np.asarray(params["dense_b"])[:, None], 0)
    np.testing.assert_allclose(reader.apply({"params": params}, images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"wiring": "loop"}, "wiring must be one of none, input, feedback, accumulator, got 'loop'"),
        (
            {"wiring": "none", "unit": "nac"},
            "wiring must be one of input, feedback, accumulator where there is a unit, 'nac'",
        ),
        ({"unit": ""}, "name is missing"),
        ({"hidden_size": 0}, "hidden_size must be a positive integer, got 0"),
        ({"unit_size": 0}, "unit_size must be a positive integer, got 0"),
    ],
)
def test_what_cannot_be_wired_is_refused(fields, sentence):
    known = {"unit": "nac", "wiring": "feedback", "features": 4, "hidden_size": 4, "unit_size": 2} | fields
    with pytest.raises(ValueError, match=sentence):
        agent(known.pop("unit"), {}, outputs=6, reader={"name": "mlp"}, **known)
