"""The actor-critic learner: its losses by hand, five probes with known answers, and a killed run that goes on."""

import functools
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from commands import called

from experiments import run as command_line
from experiments.running import cell
from nalu_jax.learners.actor_critic import (
    Episodes,
    actor_critic,
    advance,
    generalised_advantages,
    mean_entropy,
    policy_gradient_loss,
    value_loss,
)
from nalu_jax.learners.optimizers import make_optimizer
from nalu_jax.networks.agents import agent
from nalu_jax.recipes import Optimizer
from nalu_jax.tasks.probes import KINDS, Probe, ProbeState
from nalu_jax.training.distributed import layout_for, seed_mesh
from nalu_jax.training.loop import Run, diverged, make_programs, stack
from nalu_jax.types import Hyperparameters, Problem

DISCOUNT, SEEDS, STEPS = 0.9, 2, 200


# The formulas


def columns(*rows):
    return jnp.array(rows, jnp.float32).T


def test_advantages_by_hand():
    # γ = 1/2, λ = 1/2, V = 1, 2, 3 and 4 after the last; rewards 1, 0, 2.
    rewards, values = jnp.array([1.0, 0.0, 2.0]), jnp.array([1.0, 2.0, 3.0, 4.0])
    # δ = 1 + 1 - 1, 0 + 1.5 - 2, 2 + 2 - 3; A_2 = 1, A_1 = -0.5 + 1/4, A_0 = 1 - 0.25/4.
    found = generalised_advantages(rewards, values, jnp.full(3, 0.5), jnp.zeros(3, bool), trace=0.5)
    assert found.tolist() == [0.9375, -0.25, 1.0]


def test_no_advantage_reaches_over_the_end_of_an_episode():
    rewards, values = jnp.array([1.0, 0.0, 2.0]), jnp.array([1.0, 2.0, 3.0, 4.0])
    ends = jnp.array([False, True, False])
    terminated = generalised_advantages(rewards, values, jnp.array([0.5, 0.0, 0.5]), ends, trace=0.5)
    assert terminated.tolist() == [0.5, -2.0, 1.0]  # A_1 = 0 - 2, A_0 = 1 - 2/4
    truncated = generalised_advantages(rewards, values, jnp.full(3, 0.5), ends, trace=0.5)
    assert truncated.tolist() == [0.875, -0.5, 1.0]  # A_1 = 0 + 1.5 - 2, A_0 = 1 - 0.5/4


def test_with_a_trace_of_1_advantages_are_n_step_returns_and_with_0_one_step_errors():
    rng = np.random.RandomState(0)
    rewards, values = rng.normal(size=(5, 3)), rng.normal(size=(6, 3))
    arrays = [jnp.array(a, jnp.float32) for a in (rewards, values, np.full((5, 3), DISCOUNT))]
    found = generalised_advantages(*arrays, jnp.zeros((5, 3), bool), trace=1.0)
    for t in range(5):
        n = 5 - t
        returns = sum(DISCOUNT**k * rewards[t + k] for k in range(n)) + DISCOUNT**n * values[5]
        np.testing.assert_allclose(found[t], returns - values[t], rtol=1e-5)
    errors = generalised_advantages(*arrays, jnp.zeros((5, 3), bool), trace=0.0)
    np.testing.assert_allclose(errors, rewards + DISCOUNT * values[1:] - values[:-1], rtol=1e-5, atol=1e-6)


# Two steps of one copy, and two actions: π(0) = 1/4 at the first, 1/2 at the second.
LOGITS = jnp.array([[[0.0], [np.log(3.0)]], [[1.0], [1.0]]])
ACTIONS, BOTH, ONE = jnp.array([[0], [1]]), jnp.ones((2, 1), bool), jnp.array([[True], [False]])


def test_the_policy_loss_by_hand_and_its_gradient_raises_what_was_better_than_thought():
    advantages = jnp.array([[2.0], [-1.0]])
    loss, gradient = jax.value_and_grad(policy_gradient_loss)(LOGITS, ACTIONS, advantages, BOTH)
    assert float(loss) == pytest.approx(-(2 * np.log(1 / 4) - np.log(1 / 2)) / 2)
    # -A (1[a] - π) / 2
    np.testing.assert_allclose(gradient[..., 0], [[-0.75, 0.75], [-0.25, 0.25]], atol=1e-6)
    assert float(policy_gradient_loss(LOGITS, ACTIONS, advantages, ONE)) == pytest.approx(-2 * np.log(1 / 4))
    fixed = jax.grad(policy_gradient_loss, argnums=2)(LOGITS, ACTIONS, advantages, BOTH)
    assert not fixed.any()


def test_the_value_loss_by_hand():
    values, returns = jnp.array([[1.0], [5.0]]), jnp.array([[3.0], [4.0]])
    assert float(value_loss(values, returns, BOTH)) == 0.5 * (4 + 1) / 2
    assert float(value_loss(values, returns, ONE)) == 2.0
    assert jax.grad(value_loss)(values, returns, BOTH).tolist() == [[-1.0], [0.5]]
    assert not jax.grad(value_loss, argnums=1)(values, returns, BOTH).any()


def test_the_entropy_by_hand():
    first = -(np.log(1 / 4) / 4 + 3 * np.log(3 / 4) / 4)
    assert float(mean_entropy(LOGITS, BOTH)) == pytest.approx((first + np.log(2)) / 2)
    assert float(mean_entropy(LOGITS, ONE)) == pytest.approx(first)
    assert float(mean_entropy(LOGITS, BOTH & False)) == 0


# Episodes one after another


def test_the_step_after_the_end_of_an_episode_begins_another_whatever_the_action():
    # The second action ends the episode too early; were it to go on, it would be right at the next step.
    task, state, action = Probe("count").task, ProbeState(jnp.int32(1), jnp.int32(0)), jnp.int32(1)
    _, state, reward, terminated, truncated = advance(task, jax.random.key(0), state, action, jnp.bool_(False))
    assert (float(reward), bool(terminated), bool(truncated), int(state.time)) == (0.0, True, False, 1)
    observation, begun, reward, terminated, truncated = advance(task, jax.random.key(0), state, action, jnp.bool_(True))
    assert (float(reward), bool(terminated), bool(truncated), int(begun.time)) == (0.0, False, False, 0)
    assert float(observation.number) == 1 + int(begun.secret)
    at_limit = ProbeState(jnp.int32(1), jnp.int32(5))
    *_, truncated = advance(task, jax.random.key(0), at_limit, jnp.int32(0), jnp.bool_(False))
    assert truncated and not advance(task, jax.random.key(0), at_limit, jnp.int32(0), jnp.bool_(True))[-1]


def test_what_happens_after_the_end_of_a_test_is_not_looked_at():
    two = jnp.zeros(2)
    episodes = Episodes(two, two, {"late": two}, two > 0)
    no, late = jnp.zeros(2, bool), jnp.array([True, False])
    episodes = episodes.after(jnp.array([1.0, 2.0]), late, no, {"late": jnp.array([7.0, 8.0])})
    episodes = episodes.after(jnp.array([4.0, 4.0]), no, ~late, {"late": jnp.array([9.0, 9.0])})
    episodes = episodes.after(jnp.array([8.0, 8.0]), no, no, {"late": two})
    assert (episodes.returns.tolist(), episodes.lengths.tolist()) == ([1.0, 6.0], [1.0, 2.0])
    assert episodes.info["late"].tolist() == [7.0, 9.0] and episodes.over.all()


# The probes, all in one program


@cache
def network():
    return agent("nac", {}, outputs=3, reader={"name": "mlp"}, features=8, hidden_size=16, wiring="feedback", unit_size=4)


@cache
def learner():
    optimizer = functools.partial(make_optimizer, Optimizer(clip_norm=1.0).chain)
    return actor_critic(network(), optimizer, batch_size=16, unroll=12, discount=DISCOUNT, trace=0.95, generator="murmur")


@cache
def problems():
    return {kind: Problem(Probe(kind).task, Hyperparameters(jnp.float32(1e-2), {})) for kind in KINDS}


class Found(NamedTuple):
    """What became of the probes, [seeds, probes, ...]."""

    run: Run
    metrics: dict[str, np.ndarray]
    values: np.ndarray  # of the first observations of the test, [seeds, probes, 4]
    pieces: Run  # the same steps in chunks of other lengths
    without_rate: Run  # at a learning rate that is no number
    first_steps: tuple[Run, Run]  # a step from the start, as step 0 and as step 1


@cache
def found():
    """All that the tests look at, at once: what is compiled may be forgotten after a test."""
    together, variants = stack([*problems().values()])
    layout = layout_for(seed_mesh(), num_seeds=SEEDS, bytes_a_seed=1, block=1)
    start, chunk, _ = make_programs(learner(), layout, variants=variants)
    seeds = np.arange(SEEDS, dtype=np.uint32)

    def run_in(chunks, problem=together):
        run, metrics = start(seeds, problem), {}
        for length in chunks:
            run, metrics = chunk(run, problem, length, True)
        return jax.tree.map(np.asarray, (run, metrics))

    begun, later = start(seeds, together), start(seeds, together)
    later = later._replace(step=later.step + 1, state=later.state._replace(step=later.state.step + 1))
    no_number = together.hyperparameters._replace(learning_rate=jnp.float32(jnp.nan))
    run, metrics = run_in((STEPS,))
    return Found(
        run,
        metrics,
        np.asarray(first_values(run.state.params)),
        run_in((7, STEPS - 8, 1))[0],
        run_in((3,), together._replace(hyperparameters=no_number))[0],
        jax.tree.map(np.asarray, (chunk(begun, together, 1, False)[0], chunk(later, together, 1, False)[0])),
    )


@jax.jit
def first_values(params):
    observations = [Probe(kind).task.evaluations(())["test"].inputs for kind in KINDS]
    observations = jax.tree.map(lambda *leaves: jnp.stack(leaves), *observations)
    of_probe = jax.vmap(lambda one, seen: network().apply({"params": one}, seen)[-1])
    return jax.vmap(lambda one: of_probe(one, observations))(params)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_agent_learns_what_the_probe_asks_for(kind):
    metrics, place = found().metrics, [*KINDS].index(kind)
    assert (metrics["test_lost"][:, place] == 0).all() and metrics["solved"][:, place].all()
    assert metrics["sampled_test_lost"][:, place].mean() < 0.2
    assert not diverged(found().run).any()


# The value of the first observation, with the best actions: γ^(steps before the one with the reward).
VALUES = {
    "constant_reward": [1, 1, 1, 1],
    "delayed_reward": [DISCOUNT] * 4,
    "better_action": [1, 1, 1, 1],
    "remember": [DISCOUNT**2] * 4,
    "count": [1, DISCOUNT, DISCOUNT**2, DISCOUNT**3],
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_values_of_the_probes_are_the_discounted_rewards(kind):
    # To within what the policy loses where it still tries the other action now and then.
    np.testing.assert_allclose(found().values[:, [*KINDS].index(kind)], [VALUES[kind]] * SEEDS, atol=0.1)


@pytest.mark.slow
def test_a_run_in_pieces_is_the_same_to_the_bit_what_the_agent_remembers_included():
    for one, other in zip(jax.tree.leaves(found().run.state), jax.tree.leaves(found().pieces.state), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_the_same_agent_acts_otherwise_at_another_step_and_in_another_seed():
    first, second = (jax.tree.leaves(run.state.learner_state.states) for run in found().first_steps)
    assert any((one != other).any() for one, other in zip(first, second, strict=True))
    assert any((one[0] != one[1]).any() for one in first)


@pytest.mark.slow
def test_a_learning_rate_that_is_no_number_leaves_every_seed_where_it_was():
    assert diverged(found().without_rate).all() and not found().without_rate.state.step.any()


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("batch_size", 0, "batch_size must be a positive integer, got 0"),
        ("unroll", 2.5, "unroll must be a positive integer, got 2.5"),
        ("discount", 1.5, "discount must lie between 0 and 1, got 1.5"),
        ("trace", -0.1, "trace must lie between 0 and 1, got -0.1"),
        ("entropy", float("nan"), "entropy must be a number of at least 0, got nan"),
        ("value_weight", -1.0, "value_weight must be a number of at least 0, got -1.0"),
    ],
)
def test_a_number_that_cannot_be_is_refused(field, value, what):
    with pytest.raises(ValueError, match=what):
        actor_critic(network(), lambda rate: None, **{"batch_size": 4, field: value})


# Through the runner

PAGE = """
from ml_collections import ConfigDict

def get_config():
    return ConfigDict({
        "num_seeds": 3, "first_seed": 0, "num_steps": 60, "eval_every": 20, "block": 0,
        "writers": (), "reports": ("summary",),
        "learner": {"name": "actor_critic", "batch_size": 4, "unroll": 5, "generator": "auto"},
        "network": {"name": "agent", "reader": {"name": "mlp"}, "features": 4, "hidden_size": 4, "wiring": "accumulator",
                    "unit_size": 2},
        "unit": {"name": "nau"}, "task": {"name": "probe", "kind": "count"}, "grid": {"kind": ("count",)},
        "optimizer": {"name": "adam", "learning_rate": 1e-2},
    })
"""


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the code catches it."""


@pytest.mark.faults
@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_to_the_same_bytes(tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.py"
    page.write_text(PAGE)
    monkeypatch.setattr(cell, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(cell, "CHECKPOINT_SHARE", 1e9)

    def run(folder):
        return called(command_line, f"--config={page}", f"--workdir={folder}")

    assert run(tmp_path / "whole") == 0
    save = cell.GroupHost.save

    def save_and_die(host, step, state):
        save(host, step, state)
        if 20 < step < 60:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(cell.GroupHost, "save", save_and_die)
        with pytest.raises(Killed):
            run(tmp_path / "killed")
    capsys.readouterr()
    assert run(tmp_path / "killed") == 0
    assert "resuming from step" in capsys.readouterr().out
    found = {name: [*(tmp_path / "whole").rglob(name)] for name in ("seeds.csv", "params.npz", "metrics.jsonl")}
    for path in [path for paths in found.values() for path in paths]:
        assert path.read_bytes() == (tmp_path / "killed" / path.relative_to(tmp_path / "whole")).read_bytes()
    assert all(found.values())
