"""The differentiable neural computer, beside its equations written out for one example with loops in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nalu_jax.networks.dnc import DNCCell, Interface, Memory, allocation, interface, remembered

N, W, R = 5, 3, 2
STEP = jax.jit(remembered)


def cosine(a, b):
    return a @ b / (np.sqrt(a @ a + 1e-6) * np.sqrt(b @ b + 1e-6))


def softmax(x):
    e = np.exp(np.array(x) - np.max(x))
    return e / e.sum()


def content(memory, key, strength):
    return softmax([strength * cosine(memory[i], key) for i in range(len(memory))])


def by_hand(m: Memory, a: Interface):
    """A step as the methods of Graves et al. 2016 write it, slot by slot."""
    retention = [np.prod([1 - a.free[r] * m.read[r, i] for r in range(R)]) for i in range(N)]
    usage = np.array([(m.usage[i] + m.write[i] - m.usage[i] * m.write[i]) * retention[i] for i in range(N)])
    free_list = sorted(range(N), key=lambda i: usage[i])
    allocated = np.zeros(N)
    for place, slot in enumerate(free_list):
        allocated[slot] = (1 - usage[slot]) * np.prod([usage[other] for other in free_list[:place]])
    by_key = content(m.slots, a.write_key, a.write_strength)
    write = a.gate * (a.allocate * allocated + (1 - a.allocate) * by_key)
    slots = np.array(
        [[m.slots[i, j] * (1 - write[i] * a.erase[j]) + write[i] * a.write[j] for j in range(W)] for i in range(N)]
    )
    link = np.zeros((N, N))
    for i in range(N):
        for j in range(N):
            if i != j:
                link[i, j] = (1 - write[i] - write[j]) * m.link[i, j] + write[i] * m.precedence[j]
    precedence = (1 - write.sum()) * m.precedence + write
    read = np.zeros((R, N))
    for r in range(R):
        forward = [sum(link[i, j] * m.read[r, j] for j in range(N)) for i in range(N)]
        backward = [sum(link[j, i] * m.read[r, j] for j in range(N)) for i in range(N)]
        here = content(slots, a.read_keys[r], a.read_strengths[r])
        read[r] = a.modes[r, 0] * np.array(backward) + a.modes[r, 1] * here + a.modes[r, 2] * np.array(forward)
    return Memory(slots, usage, precedence, link, write, read), read @ slots


def test_steps_of_the_memory_are_those_of_the_paper_by_hand():
    drawn = np.random.default_rng(0)
    memory = Memory(*(np.zeros(shape) for shape in [(N, W), (N,), (N,), (N, N), (N,), (R, N)]))
    expected = memory
    for _ in range(6):
        asked = interface(jnp.array(2 * drawn.normal(size=R * W + 3 * W + 5 * R + 3), jnp.float32), R, W)
        memory, read = STEP(Memory(*map(jnp.float32, memory)), asked)
        expected, by_loops = by_hand(expected, Interface(*(np.asarray(x, np.float64) for x in asked)))
        np.testing.assert_allclose(read, by_loops, atol=2e-5)
        for found, wanted in zip(memory, expected, strict=True):
            np.testing.assert_allclose(found, wanted, atol=2e-5)
    assert 0 < np.sum(memory.write) <= 1 + 1e-6


def test_what_is_asked_keeps_within_its_bounds():
    asked = interface(jnp.array(10 * np.random.default_rng(1).normal(size=R * W + 3 * W + 5 * R + 3), jnp.float32), R, W)
    assert asked.read_keys.shape == (R, W) and asked.modes.shape == (R, 3)
    assert (asked.read_strengths >= 1).all() and asked.write_strength >= 1
    for gate in (asked.erase, asked.free, asked.allocate, asked.gate, asked.modes):
        assert ((gate >= 0) & (gate <= 1)).all()
    np.testing.assert_allclose(asked.modes.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [([0.5, 0.0, 1.0], [0.0, 1.0, 0.0]), ([1.0, 1.0, 1.0], [0.0, 0.0, 0.0]), ([0.5, 0.25, 0.8], [0.125, 0.75, 0.025])],
)
def test_a_free_slot_is_allocated_first(usage, expected):
    np.testing.assert_allclose(allocation(jnp.array(usage)), expected, atol=1e-7)


def test_what_was_written_is_found_by_its_key_and_then_by_what_followed_it():
    """Planted: three numbers are written one after the other, the first is looked up, and the head follows the links."""

    def ask(key, value, gate, mode):
        modes = jnp.tile(jnp.eye(3)[mode], (R, 1))
        keys = jnp.tile(jnp.array(key), (R, 1))
        zeros = jnp.zeros(R)
        return Interface(keys, zeros + 500, jnp.zeros(W), jnp.array(1.0), jnp.zeros(W), jnp.array(value), zeros,
                         jnp.array(1.0), jnp.array(gate), modes)  # fmt: skip

    memory = Memory(*(jnp.zeros(shape) for shape in [(N, W), (N,), (N,), (N, N), (N,), (R, N)]))
    values = [[1.0, 0.0, 2.0], [0.0, 1.0, 5.0], [3.0, 3.0, 3.0]]
    for value in values:
        memory, _ = STEP(memory, ask([0.0] * W, value, 1.0, 1))
    memory, read = STEP(memory, ask(values[0], [0.0] * W, 0.0, 1))
    np.testing.assert_allclose(read[0], values[0], atol=1e-4)
    for value in values[1:]:
        memory, read = STEP(memory, ask([0.0] * W, [0.0] * W, 0.0, 2))
        np.testing.assert_allclose(read[0], value, atol=1e-4)
    _, read = STEP(memory, ask([0.0] * W, [0.0] * W, 0.0, 0))
    np.testing.assert_allclose(read[0], values[1], atol=1e-4)


@pytest.mark.slow
def test_a_dnc_answers_with_the_features_of_its_lstm_and_has_finite_gradients_from_an_empty_memory():
    cell = DNCCell(4, slots=N, width=W, heads=R)
    x = jnp.array(np.random.default_rng(2).normal(size=(3, 7, 2)), jnp.float32)

    first = cell.initialize_carry(jax.random.key(0), x[0].shape)

    def outputs(params):
        return jax.lax.scan(lambda carry, at: cell.apply(params, carry, at), first, x)[1]

    params = jax.jit(cell.init)(jax.random.key(0), first, x[0])
    assert jax.eval_shape(outputs, params).shape == (3, 7, 4)
    gradient = jax.jit(jax.grad(lambda params: jnp.sum(outputs(params) ** 2)))(params)
    assert all(jnp.isfinite(leaf).all() and jnp.any(leaf != 0) for leaf in jax.tree.leaves(gradient))
