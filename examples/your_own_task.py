"""A task of your own, outside the package, and the experiment that tries it: the area of a rectangle from its corners.

x = (x1, y1, x2, y2) are two corners, and the area with its sign is (x2 - x1)(y2 - y1): a NAU takes the differences, an NMU
multiplies them. Trained on corners from [0, 2], tested on corners from [0, 20]. Beside them a dense network. Sixteen seeds a
cell; half a minute on two cores.

Command:  python -m experiments.run --config=examples/your_own_task.py --workdir=runs/your_own_task
"""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from nalu_jax.registry import TASKS
from nalu_jax.tasks.base import Example, TaskSpec
from nalu_jax.types import Array, Batch, Metrics


def area(x: Array) -> Array:
    """Signed areas: corners f32[4, batch] → f32[1, batch]."""
    x1, y1, x2, y2 = x
    return ((x2 - x1) * (y2 - y1))[None]


# The arrays, which the compiled programs take as an argument: everything that training and evaluation need.
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RectangleTask:
    """Corners in training are uniform on [0, largest]; those of both fixed batches are kept, f32[4, n]."""

    largest: Array
    threshold: Array
    validation: Array
    test: Array

    def init(self, key: Array) -> tuple:
        """What the task draws for a seed: nothing."""
        del key
        return ()

    def sample(self, key: Array, task_state: tuple, batch_size: int) -> Batch:
        """A fresh training batch of corners and areas."""
        del task_state
        x = jax.random.uniform(key, (4, batch_size), maxval=self.largest)
        return Batch(x, area(x))

    def evaluations(self, task_state: tuple) -> dict[str, Batch]:
        """What a seed is evaluated on, by name."""
        del task_state
        return {"validation": Batch(self.validation, area(self.validation)), "test": Batch(self.test, area(self.test))}

    def loss(self, outputs: Array, batch: Batch) -> Array:
        """What training minimises."""
        return jnp.mean(jnp.square(outputs - batch.targets))

    def metrics(self, outputs: Array, batch: Batch) -> Metrics:
        """What is reported of a batch: of the batch "test" it is called test_mse."""
        return {"mse": self.loss(outputs, batch)}

    def score(self, metrics: Metrics) -> Array:
        """A seed's best evaluation is that with the smallest of these."""
        return metrics["validation_mse"]

    def solved(self, metrics: Metrics) -> Array:
        """Whether that evaluation counts as solved."""
        return metrics["test_mse"] < self.threshold


# The plain values, which pages and command lines set; the constructor refuses what cannot be.
@TASKS.register("rectangle")
@dataclasses.dataclass(frozen=True)
class Rectangle(TaskSpec):
    """To be learned: the area (x2 - x1)(y2 - y1) of a rectangle, for corners up to ten times as far out as in training."""

    columns: ClassVar[Mapping[str, str]] = {"validation_mse": "validation", "test_mse": "test"}
    threshold_metric: ClassVar[str] = "test_mse"

    largest: float  # coordinate in training
    threshold: float = 1e-4  # areas of the test are up to 400

    def __post_init__(self):
        if not self.largest > 0:
            raise ValueError(f"largest must be a positive number, got {self.largest!r}")

    @property
    def example(self) -> jax.ShapeDtypeStruct:
        """The shape of a batch of one input."""
        return jax.ShapeDtypeStruct((4, 1), jnp.float32)

    @property
    def task(self) -> RectangleTask:
        """The arrays."""
        validation, test = (
            jax.random.uniform(jax.random.key(i), (4, 1_000), maxval=limit)
            for i, limit in enumerate((self.largest, 10 * self.largest))
        )
        return RectangleTask(jnp.float32(self.largest), jnp.float32(self.threshold), validation, test)

    def examples(self, batch: Batch) -> list[Example]:
        """What stands in each column, for ``python -m experiments.show_task``."""
        corners, areas = batch.inputs.T, batch.targets[0]
        return [Example(", ".join(f"{c:.2f}" for c in x), f"{a:.2f}") for x, a in zip(corners, areas, strict=True)]


def get_config() -> ConfigDict:
    """The experiment."""
    config = ConfigDict()

    config.num_seeds = 16
    config.first_seed = 0
    config.num_steps = 5_000
    config.eval_every = 500
    config.block = 0

    config.learner = ConfigDict({"batch_size": 128, "generator": "auto"})

    config.reports = ("summary", "curves", "weights")

    config.unit = ConfigDict({"epsilon": 1e-7})
    config.network = ConfigDict({"name": "two_layer", "hidden_size": 2, "first_layer": "", "last_layer": ""})
    config.task = ConfigDict({"name": "rectangle", "largest": 2.0})

    config.optimizer = ConfigDict({"learning_rate": 1e-2})

    config.grid = ConfigDict({"unit": ("nmu", "linear", "relu6")})
    return config
