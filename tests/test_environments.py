"""Contracts that every environment keeps: the tasks that an agent acts in, in gymnax's form."""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.settings.grid import cells
from experiments.settings.pages import load, shipped
from nalu_jax.registry import LEARNERS, TASKS
from nalu_jax.tasks.grid_world import GridWorld
from nalu_jax.tasks.probes import KINDS, Probe

COPIES = 8
NAMES = [name for name in TASKS if TASKS[name].learner == "actor_critic"]
SPECS = {"grid_world": GridWorld(), "pixels": GridWorld(observation="pixels"), **{kind: Probe(kind) for kind in KINDS}}

each_name = pytest.mark.parametrize("name", NAMES)
each_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


@jax.jit
def episodes(task, key):
    """Random episodes of a few copies, played on after their end: a program for environments of one shape."""
    observations, states = jax.vmap(task.reset)(jax.random.split(key, COPIES))

    def one_step(states, key):
        actions = jax.random.randint(key, (COPIES,), 0, 2)
        stepped = jax.vmap(task.step)(jax.random.split(key, COPIES), states, actions)
        return stepped[1], stepped

    steps = jax.lax.scan(one_step, states, jax.random.split(key, task.horizon))[1]
    return (observations, states), steps, task.tests(), jax.vmap(task.observe)(states)


@cache
def played(spec):
    return jax.tree.map(np.asarray, episodes(spec.task, jax.random.key(0)))


@jax.jit
def judged(task, returns):
    """Metrics, score and solved of episodes with these returns, each on time."""
    states = task.tests()
    count = len(jax.tree.leaves(states)[0])
    info = task.step(jax.random.key(0), jax.tree.map(lambda leaf: leaf[0], states), jnp.int32(0))[-1]
    info = jax.tree.map(lambda leaf: jnp.ones((count, *leaf.shape), leaf.dtype), info)
    metrics = task.metrics(states, jnp.full(count, returns), jnp.ones(count), info)
    return metrics, task.score(metrics), task.solved(metrics)


def shapes(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)


def test_every_environment_is_among_the_specifications_held_here():
    assert NAMES and {type(spec) for spec in SPECS.values()} == {TASKS[name] for name in NAMES}
    assert all(TASKS[name].learner in LEARNERS for name in NAMES)


@each_spec
def test_a_specification_made_again_is_equal_hashes_alike_and_cannot_be_changed(spec):
    again = type(spec).from_config(**dataclasses.asdict(spec))
    assert spec == again and hash(spec) == hash(again) and spec.task is spec.task
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(spec, dataclasses.fields(spec)[0].name, None)


@each_spec
def test_reset_gives_an_observation_and_a_state_and_step_six_things(spec):
    (observations, states), (later, stepped, rewards, terminated, truncated, info), _, _ = played(spec)
    assert shapes(states) == jax.tree.map(lambda leaf: (leaf.shape[1:], leaf.dtype), stepped)
    assert shapes(observations) == jax.tree.map(lambda leaf: (leaf.shape[1:], leaf.dtype), later)
    steps = (spec.task.horizon, COPIES)
    assert (rewards.shape, rewards.dtype) == (steps, np.float32)
    assert {(ends.shape, ends.dtype) for ends in (terminated, truncated)} == {(steps, np.dtype(bool))}
    assert isinstance(info, dict)


@each_spec
def test_the_example_is_the_observation_of_one_copy_as_a_column(spec):
    (observations, _), *_ = played(spec)
    columns = jax.tree.map(lambda leaf: (*leaf.shape[1:], 1), observations)
    assert columns == jax.tree.map(lambda leaf: leaf.shape, spec.example)


@each_spec
def test_what_is_observed_is_a_function_of_the_state(spec):
    (observations, _), _, _, again = played(spec)
    assert all(np.array_equal(*pair) for pair in zip(jax.tree.leaves(observations), jax.tree.leaves(again), strict=True))


@each_spec
def test_every_episode_ends_by_the_horizon_and_never_in_both_ways(spec):
    _, (_, _, _, terminated, truncated, _), _, _ = played(spec)
    assert (terminated | truncated).any(axis=0).all()
    assert not (terminated & truncated).any()


@each_spec
def test_the_test_begins_where_an_episode_can(spec):
    (_, states), _, tests, _ = played(spec)
    assert shapes(jax.tree.map(lambda leaf: leaf[0], tests)) == shapes(jax.tree.map(lambda leaf: leaf[0], states))
    assert not np.any(tests.time)


@each_spec
def test_metrics_are_numbers_and_the_score_falls_with_the_return(spec):
    (metrics, low, _), (_, high, _) = (judged(spec.task, jnp.float32(returns)) for returns in (-0.5, 0.5))
    assert {(value.shape, value.dtype) for value in (*metrics.values(), low)} == {((), jnp.dtype("float32"))}
    assert set(spec.columns) <= set(metrics) and high < low
    assert judged(spec.task, jnp.float32(np.nan))[2].dtype == bool
    assert not judged(spec.task, jnp.float32(np.nan))[2]


@each_spec
def test_what_is_seen_at_first_can_be_shown_and_columns_are_named_after_it(spec):
    batches = jax.jit(lambda task: task.evaluations(()))(spec.task)
    for batch in batches.values():
        shown = spec.examples(batch)
        assert len(shown) == batch.targets.shape[-1] and all(answer.strip() for _, answer in shown)
    assert all(column.startswith(tuple(f"{name}_" for name in batches)) for column in spec.columns)


@each_spec
def test_a_text_that_is_no_input_is_refused_in_a_sentence(spec):
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        spec.parse("@")


IMPOSSIBLE = {int: -1, float: float("nan"), str: "nonsense", tuple: (2, 1)}


@each_name
def test_an_impossible_value_is_refused_in_a_sentence_that_names_the_field_and_the_value(name):
    for field, value in dataclasses.asdict(TASKS[name]()).items():
        wrong = IMPOSSIBLE[type(value)]
        with pytest.raises(ValueError) as refusal:
            TASKS[name].from_config(**{field: wrong})
        assert field in str(refusal.value) and str(wrong) in str(refusal.value)


def test_environments_on_pages_can_be_made():
    found = [cell.config.task.to_dict() for page in shipped() for cell in cells(load(page))]
    for fields in [fields for fields in found if fields["name"] in NAMES]:
        assert TASKS[fields.pop("name")].from_config(**fields).task
