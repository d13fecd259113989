"""The grid world: whole episodes by hand, and random ones against another implementation."""

import itertools
from collections import Counter
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nalu_jax.tasks.grid_world import ACTIONS, GridState, GridWorld, drawn

SPEC = GridWorld()
UP, DOWN, LEFT, RIGHT, PASS = range(5)
SEQUENCES = 10_000


class PlainWorld:
    """The same rules in plain Python, one episode after another."""

    def __init__(self, agent, target, number, size=5, limit=30, slope=1 / 7, time_out=0.0):
        self.agent, self.target, self.number = list(agent), list(target), number
        self.size, self.limit, self.slope, self.time_out, self.time = size, limit, slope, time_out, 0

    def step(self, action):
        axis, by = {0: (0, -1), 1: (0, 1), 2: (1, -1), 3: (1, 1), 4: (0, 0)}[action]
        if 0 <= self.agent[axis] + by < self.size:
            self.agent[axis] += by
        self.time += 1
        if self.agent == self.target:
            return 1 - self.slope * abs(self.number - self.time), True, False
        return (self.time_out, False, True) if self.time == self.limit else (0.0, False, False)


def state_at(agent, target, number):
    return GridState(jnp.array(agent), jnp.array(target), jnp.int32(number), jnp.int32(0))


@jax.jit
def stepped(task, state, action):
    return task.step(jax.random.key(0), state, action)


@jax.jit
def rolled(task, states, actions):
    """The states, rewards and ends of many episodes: actions i32[time, copies] → [time, copies] each."""

    def one_step(states, actions):
        keys = jax.random.split(jax.random.key(0), len(actions))
        _, states, *happened, info = jax.vmap(task.step)(keys, states, actions)
        return states, (states, *happened, info["on_time"])

    return jax.lax.scan(one_step, states, actions)[1]


def play(agent, target, number, actions, spec=SPEC):
    """The rewards of an episode until it ends, and how it ends."""
    state, rewards = state_at(agent, target, number), []
    for action in actions:
        _, state, reward, terminated, truncated, info = stepped(spec.task, state, jnp.int32(action))
        rewards.append(float(reward))
        if terminated or truncated:
            return rewards, "arrived" if terminated else "time-out", bool(info["on_time"])
    return rewards, "goes on", False


@pytest.mark.parametrize(
    ("actions", "number", "reward"),
    [
        ([PASS, PASS, RIGHT, RIGHT, DOWN], 5, 1.0),  # waits two steps, and is on time
        ([RIGHT, RIGHT, DOWN], 5, 5 / 7),  # two steps early
        ([PASS, LEFT, UP, RIGHT, RIGHT, DOWN], 5, 6 / 7),  # bumps into two walls, and is a step late
        ([RIGHT, RIGHT, DOWN], 25, 1 - 22 / 7),
    ],
)
def test_arriving_is_worth_1_less_a_seventh_for_each_step_too_early_or_too_late(actions, number, reward):
    rewards, end, on_time = play((0, 0), (1, 2), number, actions)
    assert rewards[:-1] == [0.0] * (len(actions) - 1) and rewards[-1] == pytest.approx(reward, abs=1e-6)
    assert end == "arrived" and on_time == (len(actions) == number)


def test_whoever_never_arrives_gets_what_the_task_says_at_the_time_limit():
    assert play((0, 0), (4, 4), 12, [PASS] * 30) == ([0.0] * 30, "time-out", False)
    assert play((0, 0), (4, 4), 12, [PASS] * 29)[1] == "goes on"
    strict = GridWorld(time_limit=26, time_out_reward=-1.0, slope=0.5)
    assert play((0, 0), (4, 4), 12, [PASS] * 26, strict) == ([0.0] * 25 + [-1.0], "time-out", False)
    assert play((0, 1), (0, 0), 3, [LEFT], strict)[0] == [0.0]  # 1 - 2 · 0.5


def test_who_arrives_at_the_time_limit_has_arrived():
    rewards, end, _ = play((0, 1), (0, 0), 25, [PASS] * 29 + [LEFT])
    assert end == "arrived" and rewards[-1] == pytest.approx(1 - 5 / 7, abs=1e-6)


def test_an_agent_that_waits_and_walks_is_on_time_whenever_the_target_is_near_enough():
    tests = jax.tree.map(np.asarray, SPEC.task.tests())
    actions = np.full((30, len(tests.number)), PASS)
    for i, (agent, target, number) in enumerate(zip(tests.agent, tests.target, tests.number, strict=True)):
        down, right = target - agent
        walk = [DOWN if down > 0 else UP] * abs(down) + [RIGHT if right > 0 else LEFT] * abs(right)
        begin = max(number - len(walk), 0)
        actions[begin : begin + len(walk), i] = walk
    _, rewards, terminated, _, on_time = jax.tree.map(np.asarray, rolled(SPEC.task, SPEC.task.tests(), jnp.array(actions)))
    first = np.argmax(terminated, axis=0)
    distance = np.abs(tests.target - tests.agent).sum(1)
    near = distance <= tests.number
    np.testing.assert_array_equal(first + 1, np.maximum(distance, tests.number))
    np.testing.assert_array_equal(on_time[first, np.arange(len(first))], near)
    assert (rewards[first, np.arange(len(first))] == 1).tolist() == near.tolist()


def test_random_action_sequences_are_as_another_implementation_has_them():
    rng = np.random.RandomState(1)
    agent, target = rng.randint(5, size=(2, SEQUENCES, 2))
    target[np.all(agent == target, axis=1)] += np.array([1, 0])
    target %= 5
    number = rng.randint(5, 26, size=SEQUENCES)
    actions = rng.randint(5, size=(30, SEQUENCES))
    states = GridState(*(jnp.array(part, jnp.int32) for part in (agent, target, number, np.zeros_like(number))))
    after, rewards, terminated, truncated, _ = jax.tree.map(np.asarray, rolled(SPEC.task, states, jnp.array(actions)))
    ends = Counter()
    for i in range(SEQUENCES):
        world = PlainWorld(agent[i], target[i], number[i])
        for t in range(30):
            reward, arrived, out = world.step(actions[t, i])
            assert world.agent == after.agent[t, i].tolist()
            assert (arrived, out) == (terminated[t, i], truncated[t, i])
            assert abs(reward - rewards[t, i]) < 1e-6
            if arrived or out:
                ends[arrived] += 1
                break
    assert ends.total() == SEQUENCES and min(ends.values()) > 1000


@cache
def started():
    keys = jax.random.split(jax.random.key(3), 60_000)
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(lambda key: SPEC.task.reset(key)[1]))(keys))


def test_episodes_start_anywhere_but_on_the_target_with_every_training_number_as_often():
    states = started()
    assert not np.any(states.time)
    assert Counter(states.number.tolist()).keys() == set(range(5, 13))
    pairs = Counter(map(tuple, np.concatenate([states.agent, states.target], axis=1).tolist()))
    assert set(pairs) == {(*a, *b) for a, b in itertools.product(itertools.product(range(5), repeat=2), repeat=2) if a != b}
    # χ² of 599 degrees of freedom: mean 599, standard deviation 34.6.
    assert sum((count - 100) ** 2 / 100 for count in pairs.values()) < 599 + 5 * 34.6
    counts = np.bincount(states.number)[5:]
    assert np.sum((counts - 7500) ** 2 / 7500) < 7 + 5 * 14**0.5


def test_the_share_of_starts_within_reach_is_that_of_the_grid():
    distance = np.abs(started().target - started().agent).sum(1)
    for reach, share in {5: 0.900, 6: 0.9667, 7: 0.9933, 8: 1.0}.items():
        assert abs(np.mean(distance <= reach) - share) < 0.005


def test_the_test_has_every_number_with_the_same_different_starts():
    tests = jax.tree.map(np.asarray, SPEC.task.tests())
    np.testing.assert_array_equal(tests.number, np.repeat(np.arange(5, 26), 20))
    starts = np.concatenate([tests.agent, tests.target], axis=1).reshape(21, 20, 4)
    assert (starts == starts[0]).all() and len(set(map(tuple, starts[0].tolist()))) == 20
    assert len(GridWorld(size=2, episodes=30).task.starts) == 30


def test_metrics_are_means_of_the_episodes_of_a_number():
    spec = GridWorld(train_numbers=(5, 6), test_numbers=(5, 8), beyond_numbers=(7, 7), episodes=2)
    returns = jnp.array([1, 0.5, 1, 1, 0, -1, 0.25, 0.75])
    info = {"on_time": jnp.array([True, False, True, True, False, False, False, False])}
    metrics = spec.task.metrics(spec.task.tests(), returns, returns, info)
    assert {name: float(metrics[f"reward_{name}"]) for name in range(5, 9)} == {5: 0.75, 6: 1.0, 7: -0.5, 8: 0.5}
    assert [float(metrics[f"on_time_{name}"]) for name in range(5, 9)] == [0.5, 1.0, 0.0, 0.0]
    found = [float(metrics[name]) for name in ("training_lost", "training_on_time", "beyond_lost", "beyond_on_time")]
    assert found == [0.125, 0.75, 1.5, 0.0]


def test_one_hot_says_where_the_agent_and_where_the_target_is_and_the_number_as_it_is():
    grid, number = SPEC.task.observe(state_at((1, 2), (4, 0), 17))
    assert np.argwhere(grid).tolist() == [[1, 2, 0], [4, 0, 1]] and float(number) == 17


def test_the_picture_has_a_grey_agent_and_a_red_target_on_black():
    spec = GridWorld(observation="pixels")
    grid = np.asarray(spec.task.observe(state_at((0, 0), (4, 2), 5)).grid)
    # Cell i of five goes from pixel ceil(56 i / 5) to below ceil(56 (i + 1) / 5): 0, 12, 23, 34, 45, 56.
    expected = np.zeros((56, 56, 3), np.float32)
    expected[0:12, 0:12] = 0.5
    expected[45:56, 23:34] = (1, 0, 0)
    np.testing.assert_array_equal(grid, expected)
    on_target = np.asarray(spec.task.observe(state_at((4, 2), (4, 2), 5)).grid)
    assert set(map(tuple, on_target.reshape(-1, 3).tolist())) == {(0, 0, 0), (0.5, 0.5, 0.5)}


def test_the_world_as_text():
    assert drawn((0, 1), (2, 2), 3) == ". A .\n. . .\n. . X"
    assert drawn((1, 1), (1, 1), 2) == ". .\n. *"


def test_a_person_is_shown_the_world_and_can_type_one():
    observation = SPEC.parse("0 1, 4 4 12")
    batches = SPEC.task.evaluations(())
    for name, numbers in {"training": range(5, 13), "beyond": range(13, 20)}.items():
        assert batches[name].targets.tolist() == [np.repeat(numbers, 20).tolist()]
    batch = batches["training"]._replace(inputs=observation)
    assert SPEC.examples(batch) == [(drawn((0, 1), (4, 4), 5), "arrive at 12")]
    picture = GridWorld(observation="pixels")
    question, answer = picture.examples(batch._replace(inputs=picture.parse("0 1 4 4 12")))[0]
    assert question.shape == (56, 56) and question[0, 13] == 0.5 and answer == "arrive at 12"
    for text in ("0 1 4 4", "0 1 4 x 12", "0 1 5 4 12", "-1 1 4 4 12"):
        with pytest.raises(ValueError, match=r"its input is row and column|rows and columns go from 0 to 4, got 5"):
            SPEC.parse(text)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"train_numbers": (4, 12)}, r"train_numbers must lie within test_numbers, \(5, 25\), got \(4, 12\)"),
        ({"beyond_numbers": (13, 26)}, r"beyond_numbers must lie within test_numbers, \(5, 25\), got \(13, 26\)"),
        ({"time_limit": 25}, "time_limit must be more than the largest of test_numbers, 25, got 25"),
        ({"size": 1}, "size must be a whole number from 2 to 56, got 1"),
        ({"observation": "text"}, "observation must be one of one_hot, pixels, got 'text'"),
    ],
)
def test_values_that_do_not_go_together_are_refused(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        GridWorld.from_config(**fields)


def test_there_are_the_five_actions_of_the_paper_and_a_value():
    assert ACTIONS == ("up", "down", "left", "right", "pass") and SPEC.outputs == 6
