"""Tiny environments with known answers: each asks for one thing that an agent must be able to learn."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nalu_jax.registry import TASKS
from nalu_jax.tasks.base import Example, TaskSpec
from nalu_jax.types import Array, Batch, Metrics, TaskState

SECRETS, STEPS, ACTIONS = 4, 6, 2  # of the largest probe; all share one shape, and so one program


class ProbeState(NamedTuple):
    """An episode: what was drawn at its start, and the time."""

    secret: Array  # i32[]
    time: Array  # i32[], steps taken


class Observation(NamedTuple):
    """What the agent sees at a step."""

    signs: Array  # f32[2]
    number: Array  # f32[]


class Tables(NamedTuple):
    """The rules of a probe by secret, time before the action, and action."""

    secrets: int  # as many are drawn from, all as likely
    signs: np.ndarray  # f32[secret, time, 2]
    numbers: np.ndarray  # f32[secret, time]
    rewards: np.ndarray  # f32[secret, time, action]
    terminated: np.ndarray  # bool[secret, time, action]


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["secrets", "signs", "numbers", "rewards", "terminated"],
    meta_fields=["horizon"],
)
@dataclasses.dataclass(frozen=True)
class ProbeTask:
    """The environment, in gymnax's form; an episode that no rule ends is truncated after ``horizon`` steps."""

    secrets: Array
    signs: Array
    numbers: Array
    rewards: Array
    terminated: Array
    horizon: int

    def reset(self, key: Array) -> tuple[Observation, ProbeState]:
        """A new episode."""
        state = ProbeState(jax.random.randint(key, (), 0, self.secrets), jnp.int32(0))
        return self.observe(state), state

    def step(
        self, key: Array, state: ProbeState, action: Array
    ) -> tuple[Observation, ProbeState, Array, Array, Array, dict[str, Array]]:
        """(state, action i32[]) → (observation, state, reward f32[], terminated bool[], truncated bool[], info)."""
        del key
        at = (state.secret, state.time, action)
        reward, terminated = self.rewards[at], self.terminated[at]
        state = state._replace(time=state.time + 1)
        truncated = ~terminated & (state.time >= self.horizon)
        return self.observe(state), state, reward, terminated, truncated, {}

    def observe(self, state: ProbeState) -> Observation:
        """What is seen of a state; after the last step, what was seen before it."""
        at = (state.secret, jnp.minimum(state.time, self.horizon - 1))
        return Observation(self.signs[at], self.numbers[at])

    def tests(self) -> ProbeState:
        """An episode with each secret, [4]."""
        secret = jnp.arange(SECRETS, dtype=jnp.int32) % self.secrets
        return ProbeState(secret, jnp.zeros_like(secret))

    def metrics(self, states: ProbeState, returns: Array, lengths: Array, info: dict[str, Array]) -> Metrics:
        """The mean of 1 - return, "test_lost"."""
        del states, lengths, info
        return {"test_lost": 1 - jnp.mean(returns)}

    def score(self, metrics: Metrics) -> Array:
        """What is lost, f32[]."""
        return metrics["test_lost"]

    def solved(self, metrics: Metrics) -> Array:
        """Whether nothing is lost, bool[]."""
        return metrics["test_lost"] <= 0

    def init(self, key: Array) -> TaskState:
        """Nothing differs between seeds but their parameters and episodes."""
        del key
        return ()

    def sample(self, key: Array, task_state: TaskState, batch_size: int) -> Batch:
        """First observations, as columns, and their numbers f32[1, batch_size]."""
        del task_state
        observations, _ = jax.vmap(self.reset, out_axes=(-1, 0))(jax.random.split(key, batch_size))
        return Batch(observations, observations.number[None])

    def evaluations(self, task_state: TaskState) -> Mapping[str, Batch]:
        """First observations of the test."""
        del task_state
        observations = jax.vmap(self.observe, out_axes=-1)(self.tests())
        return {"test": Batch(observations, observations.number[None])}


def nothing(secrets: int) -> Tables:
    """The rules of a probe in which nothing is seen, and nothing happens."""
    by_time, by_action = (SECRETS, STEPS), (SECRETS, STEPS, ACTIONS)
    signs, numbers = np.zeros((*by_time, 2), np.float32), np.zeros(by_time, np.float32)
    return Tables(secrets, signs, numbers, np.zeros(by_action, np.float32), np.zeros(by_action, bool))


def constant_reward() -> Tables:
    """The one step of an episode is worth 1, whatever the action: the value is 1."""
    rules = nothing(secrets=1)
    rules.rewards[:, 0] = 1
    rules.terminated[:, 0] = True
    return rules


def delayed_reward() -> Tables:
    """The second of two steps is worth 1: the value is γ, then 1. The agent sees which step it is."""
    rules = nothing(secrets=1)
    rules.signs[:, 1, 1] = 1
    rules.rewards[:, 1] = 1
    rules.terminated[:, 1] = True
    return rules


def better_action() -> Tables:
    """The sign that the agent sees says which of two actions is worth 1."""
    rules = nothing(secrets=2)
    rules.signs[:2, :, 0] = np.array([[-1], [1]])
    for secret in (0, 1):
        rules.rewards[secret, 0, secret] = 1
    rules.terminated[:, 0] = True
    return rules


def remember() -> Tables:
    """The sign is seen at the first of three steps alone, and the action counts at the third."""
    rules = nothing(secrets=2)
    rules.signs[:2, 0, 0] = (-1, 1)
    for secret in (0, 1):
        rules.rewards[secret, 2, secret] = 1
    rules.terminated[:, 2] = True
    return rules


def count() -> Tables:
    """The agent is told a number T from 1 to 4, and must take the second action, which ends the episode, at step T."""
    rules = nothing(secrets=SECRETS)
    rules.numbers[:] = 1 + np.arange(SECRETS)[:, None]
    for secret in range(SECRETS):
        rules.rewards[secret, secret, 1] = 1
    rules.terminated[..., 1] = True
    return rules


KINDS = {rules.__name__: rules for rules in (constant_reward, delayed_reward, better_action, remember, count)}


@TASKS.register("probe")
@dataclasses.dataclass(frozen=True)
class Probe(TaskSpec):
    """To be learned: one thing that every agent must be able to learn, in seconds; the best return is 1.

    Attributes:
      kind: "constant_reward", the value of a state; "delayed_reward", a discounted one; "better_action", to act on what is
        seen; "remember", on what was seen; "count", at the right time.

    Raises ValueError for a kind that there is not.
    """

    columns: ClassVar[Mapping[str, str]] = {"test_lost": "reward lost"}
    learner: ClassVar[str] = "actor_critic"
    outputs: ClassVar[int] = ACTIONS + 1  # a logit for each action, and the value

    kind: str = "count"

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")

    @functools.cached_property
    def task(self) -> ProbeTask:
        """The environment."""
        secrets, *tables = KINDS[self.kind]()
        return ProbeTask(jnp.int32(secrets), *map(jnp.asarray, tables), horizon=STEPS)

    @property
    def example(self) -> Observation:
        """The shapes of the observations of one copy: f32[2, 1] and f32[1]."""
        signs: Any = jax.ShapeDtypeStruct((2, 1), jnp.float32)
        number: Any = jax.ShapeDtypeStruct((1,), jnp.float32)
        return Observation(signs, number)

    def examples(self, batch: Batch) -> list[Example]:
        """What is seen at first, and the best return."""
        signs, numbers = np.asarray(batch.inputs.signs), np.asarray(batch.inputs.number)
        return [
            Example(f"signs {sign[0]:g}, {sign[1]:g}; number {number:g}", "1")
            for sign, number in zip(signs.T, numbers, strict=True)
        ]

    def parse(self, text: str) -> Observation:
        """Three numbers, the signs and the number, as the observation of one copy. Raises ValueError for any other text."""
        try:
            one, two, number = map(float, text.replace(",", " ").split())
        except ValueError:
            raise ValueError(f"its input is three numbers, two signs and a number, got {text!r}") from None
        return Observation(jnp.array([[one], [two]], jnp.float32), jnp.array([number], jnp.float32))
