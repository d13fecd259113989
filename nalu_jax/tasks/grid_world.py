"""A grid world in which an agent is told a number T and must step on its target exactly at time T."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nalu_jax.registry import TASKS
from nalu_jax.tasks.base import Example, TaskSpec
from nalu_jax.types import Array, Batch, Metrics, TaskState

ACTIONS = ("up", "down", "left", "right", "pass")
MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1), (0, 0))  # rows and columns
PIXELS = 56  # a side
GREY, RED = (0.5, 0.5, 0.5), (1.0, 0.0, 0.0)  # agent and target, on black
LUMINANCE = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601
OBSERVATIONS = ("one_hot", "pixels")


class GridState(NamedTuple):
    """An episode: where agent and target are, the number T, and the time t."""

    agent: Array  # i32[2], row and column
    target: Array  # i32[2]
    number: Array  # i32[]
    time: Array  # i32[], steps taken


class Observation(NamedTuple):
    """What the agent sees at every step."""

    grid: Array  # f32[size, size, 2], 1 where the agent is and where the target is; or pixels f32[56, 56, 3]
    number: Array  # f32[], T as it is


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["starts", "slope", "time_out_reward"],
    meta_fields=["size", "observation", "train_numbers", "test_numbers", "beyond_numbers", "time_limit"],
)
@dataclasses.dataclass(frozen=True)
class GridWorldTask:
    """The environment, in gymnax's form: pure functions of one copy, to be vmapped.

    ``starts`` i32[episodes, 2, 2] are the positions of agent and target that the episodes of the test begin with.
    """

    starts: Array
    slope: Array
    time_out_reward: Array
    size: int
    observation: str
    train_numbers: tuple[int, int]
    test_numbers: tuple[int, int]
    beyond_numbers: tuple[int, int]
    time_limit: int

    @property
    def horizon(self) -> int:
        """Steps after which every episode has ended."""
        return self.time_limit

    def reset(self, key: Array) -> tuple[Observation, GridState]:
        """A new episode: agent and target on two cells, and T of the training numbers, all uniformly drawn."""
        cells, (first, last) = self.size**2, self.train_numbers
        most = jnp.array([cells * (cells - 1), last - first + 1])
        pair, number = jax.random.randint(key, (2,), 0, most)
        agent, other = jnp.divmod(pair, cells - 1)
        target = other + (other >= agent).astype(jnp.int32)
        agent, target = (jnp.stack(jnp.divmod(cell, self.size)) for cell in (agent, target))
        state = GridState(agent, target, first + number, jnp.int32(0))
        return self.observe(state), state

    def step(
        self, key: Array, state: GridState, action: Array
    ) -> tuple[Observation, GridState, Array, Array, Array, dict[str, Array]]:
        """(state, action i32[]) → (observation, state, reward f32[], terminated bool[], truncated bool[], info).

        Walls stop the agent. It arrives when it first stands on the target; the reward of arriving at t is
        1 - slope · |T - t|. An episode that ends without is truncated at the time limit. The key is not used.
        """
        del key
        agent = jnp.clip(state.agent + jnp.array(MOVES)[action], 0, self.size - 1)
        state = state._replace(agent=agent, time=state.time + 1)
        arrived = jnp.all(agent == state.target)
        truncated = ~arrived & (state.time >= self.time_limit)
        late = jnp.abs(state.number - state.time).astype(jnp.float32)
        reward = jnp.where(arrived, 1 - self.slope * late, jnp.where(truncated, self.time_out_reward, 0))
        return self.observe(state), state, reward, arrived, truncated, {"on_time": arrived & (late == 0)}

    def observe(self, state: GridState) -> Observation:
        """What is seen of a state."""
        grid = frame(state, self.size) if self.observation == "pixels" else one_hot(state, self.size)
        return Observation(grid, state.number.astype(jnp.float32))

    def tests(self) -> GridState:
        """The first states of the episodes that agents are judged by, [numbers · episodes]: for each T the same starts."""
        first, last = self.test_numbers
        numbers, episodes = jnp.arange(first, last + 1, dtype=jnp.int32), len(self.starts)
        agent, target = (jnp.tile(self.starts[:, i], (len(numbers), 1)) for i in (0, 1))
        number = jnp.repeat(numbers, episodes)
        return GridState(agent, target, number, jnp.zeros_like(number))

    def metrics(self, states: GridState, returns: Array, lengths: Array, info: dict[str, Array]) -> Metrics:
        """What is reported of the episodes of the test, from their first states, their returns and their last info.

        Of each T the mean "reward_T" and the share "on_time_T"; of the training numbers and of those beyond, the mean
        "training_lost" of 1 - reward, "training_on_time", "beyond_lost" and "beyond_on_time".
        """
        del states, lengths
        first, last = self.test_numbers
        reward, on_time = (
            jnp.mean(values.reshape(last - first + 1, -1), axis=1)
            for values in (returns, info["on_time"].astype(jnp.float32))
        )
        found = {f"reward_{first + i}": reward[i] for i in range(len(reward))}
        found |= {f"on_time_{first + i}": on_time[i] for i in range(len(on_time))}
        for name, (low, high) in {"training": self.train_numbers, "beyond": self.beyond_numbers}.items():
            found[f"{name}_lost"] = 1 - jnp.mean(reward[low - first : high - first + 1])
            found[f"{name}_on_time"] = jnp.mean(on_time[low - first : high - first + 1])
        return found

    def score(self, metrics: Metrics) -> Array:
        """The reward that is lost on the training numbers, f32[]."""
        return metrics["training_lost"]

    def solved(self, metrics: Metrics) -> Array:
        """There is no threshold: never, bool[]."""
        return jnp.zeros_like(metrics["training_lost"], bool)

    def init(self, key: Array) -> TaskState:
        """Nothing differs between seeds but their parameters and episodes."""
        del key
        return ()

    def sample(self, key: Array, task_state: TaskState, batch_size: int) -> Batch:
        """First observations of training, as columns, and their numbers f32[1, batch_size]."""
        del task_state
        observations, _ = jax.vmap(self.reset, out_axes=(-1, 0))(jax.random.split(key, batch_size))
        return Batch(observations, observations.number[None])

    def evaluations(self, task_state: TaskState) -> Mapping[str, Batch]:
        """First observations of the test, of the numbers of training and of those beyond."""
        del task_state
        return {"training": self.first_seen(self.train_numbers), "beyond": self.first_seen(self.beyond_numbers)}

    def first_seen(self, numbers: tuple[int, int]) -> Batch:
        """First observations of the episodes of the test with these numbers."""
        episodes, first = len(self.starts), self.test_numbers[0]
        chosen = slice((numbers[0] - first) * episodes, (numbers[1] + 1 - first) * episodes)
        observations = jax.vmap(self.observe, out_axes=-1)(jax.tree.map(lambda leaf: leaf[chosen], self.tests()))
        return Batch(observations, observations.number[None])


def one_hot(state: GridState, size: int) -> Array:
    """Where the agent is and where the target is: f32[size, size, 2]."""
    row, column = jnp.arange(size)[:, None], jnp.arange(size)[None]
    places = [(row == cell[0]) & (column == cell[1]) for cell in (state.agent, state.target)]
    return jnp.stack(places, axis=-1).astype(jnp.float32)


def frame(state: GridState, size: int) -> Array:
    """The world as a picture, the agent before the target: f32[56, 56, 3]."""
    cell = jnp.arange(PIXELS) * size // PIXELS
    agent, target = jnp.moveaxis(one_hot(state, size)[cell][:, cell], -1, 0)[..., None]
    behind = target * jnp.array(RED).reshape(1, 1, 3)
    return agent * jnp.array(GREY).reshape(1, 1, 3) + (1 - agent) * behind


def drawn(agent: tuple[int, int], target: tuple[int, int], size: int) -> str:
    """The world as text: A the agent, X the target, and a dot for every other cell; A on the target is a star."""
    rows = [["."] * size for _ in range(size)]
    rows[target[0]][target[1]] = "X"
    rows[agent[0]][agent[1]] = "*" if tuple(agent) == tuple(target) else "A"
    return "\n".join(" ".join(row) for row in rows)


@TASKS.register("grid_world")
@dataclasses.dataclass(frozen=True)
class GridWorld(TaskSpec):
    """To be learned: step on the target exactly at time T, a number that the agent is told; judged beyond those of training.

    Trask et al. 2018, section 4.5 and figure 5. An episode ends on arrival or at the time limit. The paper gives neither
    the reward nor the limit. Its figure is fitted by 1 - |T - t| / 7 for arriving at t and 0 for never arriving: there, an
    agent that arrives at 12 whatever T loses about that much for each step of T beyond.

    Attributes:
      size: cells along a side.
      observation: "one_hot", f32[size, size, 2], or the "pixels" of the paper, f32[56, 56, 3], agent grey and target red.
      train_numbers: the smallest and the largest T of training, all as likely. Two cells are up to 2 (size - 1) steps apart.
      test_numbers: the smallest and the largest T of the test.
      beyond_numbers: those of them that tables show beside the training numbers.
      time_limit: when an episode ends at the latest; it is more than any T.
      slope: reward that is lost for each step that the agent is early or late.
      time_out_reward: reward of not arriving.
      episodes: episodes of the test for each T.

    Raises ValueError for values that are impossible.
    """

    columns: ClassVar[Mapping[str, str]] = {
        "training_on_time": "on time in training %",
        "beyond_on_time": "on time beyond %",
        "training_lost": "reward lost in training",
        "beyond_lost": "reward lost beyond",
    }
    learner: ClassVar[str] = "actor_critic"
    outputs: ClassVar[int] = len(ACTIONS) + 1  # a logit for each action, and the value
    numbers: ClassVar[tuple[str, ...]] = ("slope", "time_out_reward")

    size: int = 5
    observation: str = "one_hot"
    train_numbers: tuple[int, int] = (5, 12)
    test_numbers: tuple[int, int] = (5, 25)
    beyond_numbers: tuple[int, int] = (13, 19)
    time_limit: int = 30
    slope: float = 1 / 7
    time_out_reward: float = 0.0
    episodes: int = 20

    def __post_init__(self):
        if not isinstance(self.size, int) or not 2 <= self.size <= PIXELS:
            raise ValueError(f"size must be a whole number from 2 to {PIXELS}, got {self.size!r}")
        if self.observation not in OBSERVATIONS:
            raise ValueError(f"observation must be one of {', '.join(OBSERVATIONS)}, got {self.observation!r}")
        for field in ("train_numbers", "test_numbers", "beyond_numbers"):
            numbers = getattr(self, field)
            whole = len(numbers) == 2 and all(isinstance(number, int) for number in numbers)
            if not whole or not 1 <= numbers[0] <= numbers[1]:
                raise ValueError(f"{field} must be two positive whole numbers, the smaller first, got {numbers!r}")
        for field in ("train_numbers", "beyond_numbers"):
            low, high = getattr(self, field)
            if not self.test_numbers[0] <= low <= high <= self.test_numbers[1]:
                raise ValueError(f"{field} must lie within test_numbers, {self.test_numbers}, got {(low, high)}")
        if not isinstance(self.time_limit, int) or self.time_limit <= self.test_numbers[1]:
            raise ValueError(
                f"time_limit must be more than the largest of test_numbers, {self.test_numbers[1]}, got {self.time_limit!r}"
            )
        if not 0 <= self.slope < math.inf:
            raise ValueError(f"slope must be a number of at least 0, got {self.slope!r}")
        if not math.isfinite(self.time_out_reward):
            raise ValueError(f"time_out_reward must be a finite number, got {self.time_out_reward!r}")
        if not isinstance(self.episodes, int) or self.episodes < 1:
            raise ValueError(f"episodes must be a positive whole number, got {self.episodes!r}")

    @classmethod
    def from_config(cls, **fields: Any) -> "GridWorld":
        """The task from plain values: whole numbers of a range may be written as floats."""
        fields |= {name: tuple(map(whole_number, value)) for name, value in fields.items() if name.endswith("_numbers")}
        return cls(**fields)

    @functools.cached_property
    def task(self) -> GridWorldTask:
        """The environment. The starts of the test are different ones as long as there are any."""
        cells = self.size**2
        pairs = np.array([(a, b) for a in range(cells) for b in range(cells) if a != b])
        order = np.random.RandomState(0).permutation(len(pairs))
        starts = np.stack(np.divmod(pairs[np.resize(order, self.episodes)], self.size), axis=-1)
        return GridWorldTask(
            jnp.asarray(starts, jnp.int32),
            jnp.float32(self.slope),
            jnp.float32(self.time_out_reward),
            size=self.size,
            observation=self.observation,
            train_numbers=self.train_numbers,
            test_numbers=self.test_numbers,
            beyond_numbers=self.beyond_numbers,
            time_limit=self.time_limit,
        )

    @property
    def example(self) -> Observation:
        """The shapes of the observations of one copy: f32[size, size, 2, 1] or f32[56, 56, 3, 1], and f32[1]."""
        shape = (PIXELS, PIXELS, 3) if self.observation == "pixels" else (self.size, self.size, 2)
        grid: Any = jax.ShapeDtypeStruct((*shape, 1), jnp.float32)
        number: Any = jax.ShapeDtypeStruct((1,), jnp.float32)
        return Observation(grid, number)

    def examples(self, batch: Batch) -> list[Example]:
        """The world at the start, as text or as a picture, and when to arrive."""
        grids, numbers = np.moveaxis(np.asarray(batch.inputs.grid), -1, 0), np.asarray(batch.inputs.number)
        return [Example(self.shown(grid), f"arrive at {number:g}") for grid, number in zip(grids, numbers, strict=True)]

    def shown(self, grid: np.ndarray) -> str | np.ndarray:
        """A grid of an observation, for a person."""
        if self.observation == "pixels":
            return np.round(grid @ np.array(LUMINANCE), 6)
        agent, target = (np.unravel_index(np.argmax(grid[..., i]), grid.shape[:2]) for i in (0, 1))
        return drawn((int(agent[0]), int(agent[1])), (int(target[0]), int(target[1])), self.size)

    def parse(self, text: str) -> Observation:
        """Five whole numbers, row and column of agent and target and T, as the observation of one copy.

        Raises ValueError for any other text.
        """
        words = text.replace(",", " ").split()
        if len(words) != 5 or not all(word.isdecimal() for word in words):
            raise ValueError(f"its input is row and column of the agent, of the target, and T: five numbers, got {text!r}")
        *places, number = map(int, words)
        if max(places) >= self.size:
            raise ValueError(f"rows and columns go from 0 to {self.size - 1}, got {max(places)}")
        agent, target = jnp.array(places, jnp.int32).reshape(2, 2)
        observation = self.task.observe(GridState(agent, target, jnp.int32(number), jnp.int32(0)))
        return jax.tree.map(lambda leaf: leaf[..., None], observation)


def whole_number(value: Any) -> Any:
    """A float that is a whole number as an int; anything else as it is."""
    return int(value) if isinstance(value, float) and value == int(value) else value
