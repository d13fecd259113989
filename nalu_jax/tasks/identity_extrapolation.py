"""The identity: give back the number that is put in, far outside the numbers of training."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from nalu_jax.registry import TASKS
from nalu_jax.tasks.base import Example, TaskSpec
from nalu_jax.tasks.typed import parse_vector, show_number
from nalu_jax.types import Array, Batch, Metrics, TaskState


@functools.partial(jax.tree_util.register_dataclass, data_fields=["training", "test"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class IdentityTask:
    """Numbers of training and test, f32[1, n] each, which are inputs and targets in one."""

    training: Array
    test: Array

    def init(self, key: Array) -> TaskState:
        """Nothing differs between seeds but their first parameters and the order of numbers."""
        del key
        return ()

    def sample(self, key: Array, task_state: TaskState, batch_size: int) -> Batch:
        """Numbers of training in random order, f32[1, batch_size]: none twice before all have come."""
        del task_state
        numbers = jnp.resize(jax.random.permutation(key, self.training[0]), (batch_size,))[None]
        return Batch(numbers, numbers)

    def evaluations(self, task_state: TaskState) -> Mapping[str, Batch]:
        """Training numbers as "interpolation", those of the test as "extrapolation"."""
        del task_state
        return {"interpolation": Batch(self.training, self.training), "extrapolation": Batch(self.test, self.test)}

    def loss(self, outputs: Array, batch: Batch) -> Array:
        """Mean squared error: f32[1, batch] → f32[]."""
        return jnp.mean(jnp.square(outputs - batch.targets))

    def metrics(self, outputs: Array, batch: Batch) -> Metrics:
        """The mean absolute error "mae", f32[1, batch] → f32[]."""
        return {"mae": jnp.mean(jnp.abs(outputs - batch.targets))}

    def score(self, metrics: Metrics) -> Array:
        """The error on the training numbers, f32[]."""
        return metrics["interpolation_mae"]

    def solved(self, metrics: Metrics) -> Array:
        """There is no threshold: never, bool[]."""
        return jnp.zeros_like(metrics["interpolation_mae"], bool)


@TASKS.register("identity_extrapolation")
@dataclasses.dataclass(frozen=True)
class IdentityExtrapolation(TaskSpec):
    """To be learned: t = x of one number x, from a few whole numbers, judged on many.

    The "numerical extrapolation failures" of Trask et al. 2018, section 1.1, figure 1 and table 5.

    Attributes:
      interpolation_range: training on the whole numbers from the first to below the second, all at every step where a
        batch holds as many. The paper says "between -5 and 5"; -5 to 4 are the numbers of Python's ``range(-5, 5)``, and
        fit its figure.
      extrapolation_range: the numbers of the test; of -1000 to 999 the mean absolute value is the 500 of the paper's table.

    Raises ValueError for ranges that hold no number.
    """

    columns: ClassVar[Mapping[str, str]] = {"interpolation_mae": "interpolation", "extrapolation_mae": "extrapolation"}

    interpolation_range: tuple[int, int] = (-5, 5)
    extrapolation_range: tuple[int, int] = (-1000, 1000)

    def __post_init__(self):
        for field in ("interpolation_range", "extrapolation_range"):
            numbers = getattr(self, field)
            whole = len(numbers) == 2 and all(isinstance(number, int) for number in numbers)
            if not whole or not numbers[0] < numbers[1]:
                raise ValueError(f"{field} must be two whole numbers, the lower first, got {numbers!r}")

    @classmethod
    def from_config(cls, **fields: Any) -> "IdentityExtrapolation":
        """The task from plain values: whole numbers may be written as floats."""
        ranges: Any = {name: tuple(int(n) if n == int(n) else n for n in value) for name, value in fields.items()}
        return cls(**ranges)

    @property
    def example(self) -> jax.ShapeDtypeStruct:
        """The shape of a batch of one number: f32[1, 1]."""
        return jax.ShapeDtypeStruct((1, 1), jnp.float32)

    @functools.cached_property
    def task(self) -> IdentityTask:
        """The arrays of the task."""
        training, test = (
            jnp.arange(*numbers, dtype=jnp.float32)[None] for numbers in (self.interpolation_range, self.extrapolation_range)
        )
        return IdentityTask(training, test)

    def predictors(self) -> dict[str, dict[str, float]]:
        """The error of one that always says 0."""
        ranges = {"interpolation_mae": self.interpolation_range, "extrapolation_mae": self.extrapolation_range}
        return {"always zero": {name: float(np.abs(np.arange(*numbers)).mean()) for name, numbers in ranges.items()}}

    def examples(self, batch: Batch) -> list[Example]:
        """The numbers, each of which is its own answer."""
        pairs = zip(np.asarray(batch.inputs)[0], np.asarray(batch.targets)[0], strict=True)
        return [Example(show_number(x), show_number(t)) for x, t in pairs]

    def parse(self, text: str) -> Array:
        """One number → f32[1, 1]. Raises ValueError for any other text."""
        return parse_vector(text, 1)
