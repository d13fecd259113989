"""Running totals over sequences of MNIST digits: counts, sums and products, tested on longer sequences."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from nalu_jax.data import mnist
from nalu_jax.registry import TASKS
from nalu_jax.sequences import Sequences
from nalu_jax.tasks.base import Example, TaskSpec
from nalu_jax.tasks.typed import show_number
from nalu_jax.types import Array, Batch, Metrics

SHOWN = 12  # images of a sequence in a picture; of a longer one the first ones and the last


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SequenceTask:
    """The arrays of a task on sequences of digits: each image once, and the fields that shapes depend on."""

    pixels: Array  # u8[training images, 28, 28]
    labels: Array  # i32[training images]
    validation: tuple[Array, Array, Array]  # pixels, labels, and the order of the fixed sequences i32[time, sequences]
    test: tuple[Array, Array, Array]
    threshold: Array  # f32[]
    total: str = dataclasses.field(metadata={"static": True})
    running: bool = dataclasses.field(metadata={"static": True})
    train_length: int = dataclasses.field(metadata={"static": True})
    lengths: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    def init(self, key: Array) -> tuple[()]:
        """key → (), as all seeds have the same task."""
        del key
        return ()

    def sample(self, key: Array, task_state: tuple[()], batch_size: int) -> Batch:
        """A fresh training batch of uniformly random images, shaped as in ``make_batch``: [train_length, batch_size]."""
        del task_state
        chosen = jax.random.randint(key, (self.train_length * batch_size,), 0, len(self.labels))
        order = jnp.arange(len(chosen)).reshape(self.train_length, batch_size)
        return self.make_batch(self.pixels[chosen], self.labels[chosen], order)

    def evaluations(self, task_state: tuple[()]) -> dict[str, Batch]:
        """The fixed batches, shaped as in ``make_batch``.

        "interpolation" for validation, [train_length, num_sequences], and "extrapolation" for the test, whose sequences are
        of the largest of ``lengths``.
        """
        del task_state
        return {"interpolation": self.make_batch(*self.validation), "extrapolation": self.make_batch(*self.test)}

    def make_batch(self, pixels: Array, labels: Array, order: Array) -> Batch:
        """Sequences of images with their running totals.

        Pixels u8[images, 28, 28], labels i32[images], order i32[time, batch] → targets f32[out, time, batch].
        """
        images = mnist.normalised(jnp.moveaxis(pixels, 0, -1))
        return Batch(Sequences(images, order), totals(self.total, labels[order]))

    def loss(self, outputs: Array, batch: Batch) -> Array:
        """Mean squared error at the last step, or over all steps if ``running``: outputs f32[out, time, batch] → f32[]."""
        error = outputs - batch.targets
        return jnp.mean(jnp.square(error if self.running else error[:, -1]))

    def metrics(self, outputs: Array, batch: Batch) -> Metrics:
        """Errors of the whole sequences, "mse" and "mae", and of their first steps, as "mae_10".

        They are means over all steps up to the length if ``running``, else the error at that step. "accuracy" is the share
        of sequences whose total of the first digit is right: the largest of several numbers, or the one number rounded.
        Outputs f32[out, time, batch] → f32[] each.
        """
        error = outputs - batch.targets
        found: Metrics = {}
        for length in {*(length for length in self.lengths if length < error.shape[1]), error.shape[1]}:
            here = error[:, :length] if self.running else error[:, length - 1]
            suffix = "" if length == error.shape[1] else f"_{length}"
            found |= {f"mse{suffix}": jnp.mean(jnp.square(here)), f"mae{suffix}": jnp.mean(jnp.abs(here))}
        return found | {"accuracy": jnp.mean(is_correct(outputs[:, 0], batch.targets[:, 0]).astype(jnp.float32))}

    def score(self, metrics: Metrics) -> Array:
        """The squared validation error, f32[]."""
        return metrics["interpolation_mse"]

    def solved(self, metrics: Metrics) -> Array:
        """Whether the squared test error of the longest sequences is below the threshold, bool[]."""
        return metrics["extrapolation_mse"] < self.threshold


def totals(total: str, digits: Array) -> Array:
    """Running totals: digits i32[time, batch] → f32[out, time, batch], where out is 10 for "count", else 1."""
    if total == "count":
        seen = (digits[None] == jnp.arange(10)[:, None, None]).astype(jnp.float32)
        return jnp.cumsum(seen, axis=1)
    numbers = digits[None].astype(jnp.float32)
    return jnp.cumprod(numbers, axis=1) if total == "product" else jnp.cumsum(numbers, axis=1)


def is_correct(outputs: Array, targets: Array) -> Array:
    """Whether totals of a single digit are right: outputs and targets f32[out, batch] → bool[batch]."""
    if len(outputs) > 1:
        return outputs.argmax(0) == targets.argmax(0)
    return jnp.round(outputs[0]) == targets[0]


@dataclasses.dataclass(frozen=True)
class DigitSequences(TaskSpec):
    """To be learned: the running total over a sequence of images of digits.

    Every training batch is new, its images drawn at random from the training images. Validation and test sequences are
    fixed, the same for all seeds, and made of images of their own; their first images all differ, as far as there are
    enough. A shorter test sequence is the beginning of a longer one.

    Attributes:
      data: where the images are from, see nalu_jax.data.mnist.
      train_length: digits of a training and of a validation sequence.
      lengths: digits of the test sequences.
      num_sequences: fixed sequences of each kind.
      threshold: mean squared error of the longest test sequences below which a seed counts as solved; the papers take the
        error of a network whose cell is exact. 0: no seed does.

    Raises ValueError for values that are impossible.
    """

    columns: ClassVar[Mapping[str, str]] = {
        "interpolation_mse": "interpolation",
        "extrapolation_mse": "extrapolation",
        "extrapolation_accuracy": "accuracy %",
    }
    threshold_metric: ClassVar[str] = "extrapolation_mse"
    total: ClassVar[str]
    running: ClassVar[bool] = False
    lowest: ClassVar[int] = 0  # of the digits that occur

    data: str
    train_length: int
    lengths: tuple[int, ...]
    num_sequences: int
    threshold: float

    def __post_init__(self):
        if self.data not in mnist.SOURCES:
            raise ValueError(f"data must be one of {', '.join(mnist.SOURCES)}, got {self.data!r}")
        for field in ("train_length", "num_sequences"):
            if not isinstance(value := getattr(self, field), int) or value < 1:
                raise ValueError(f"{field} must be a positive whole number, got {value!r}")
        if not self.lengths or any(not isinstance(length, int) or length < 1 for length in self.lengths):
            raise ValueError(f"lengths must be positive whole numbers, got {self.lengths!r}")
        if sorted(set(self.lengths)) != list(self.lengths):
            raise ValueError(f"lengths must rise, got {self.lengths!r}")
        if not self.threshold >= 0:
            raise ValueError(f"threshold must be a number of at least 0, got {self.threshold!r}")

    @classmethod
    def from_config(cls, *, lengths: Any, **fields: Any) -> "DigitSequences":
        """The task from plain values."""
        return cls(lengths=tuple(lengths), **fields)

    @property
    def example(self) -> Sequences:
        """The shapes of a batch of one sequence: elements f32[28, 28, train_length], order i32[train_length, 1]."""
        shapes: Any = Sequences
        images = jax.ShapeDtypeStruct((28, 28, self.train_length), jnp.float32)
        return shapes(images, jax.ShapeDtypeStruct((self.train_length, 1), jnp.int32))

    @functools.cached_property
    def task(self) -> SequenceTask:
        """The arrays of the task. Raises EnvironmentFault for missing or damaged images."""
        digits = mnist.load(self.data)
        training = self.occurring(digits.training)
        return SequenceTask(
            pixels=jnp.asarray(training.pixels),
            labels=jnp.asarray(training.labels, jnp.int32),
            validation=self.fixed_sequences(digits.validation, self.train_length, mnist.VALIDATION_SEED),
            test=self.fixed_sequences(digits.test, self.lengths[-1], mnist.TEST_SEED),
            threshold=jnp.float32(self.threshold),
            total=self.total,
            running=self.running,
            train_length=self.train_length,
            lengths=self.lengths,
        )

    def occurring(self, images: mnist.Images) -> mnist.Images:
        """The images of the digits that occur, from ``lowest`` on."""
        keep = images.labels >= self.lowest
        return mnist.Images(images.pixels[keep], images.labels[keep])

    def fixed_sequences(self, images: mnist.Images, length: int, seed: int) -> tuple[Array, Array, Array]:
        """Images u8[n, 28, 28], their labels i32[n], and the order of fixed sequences of them, i32[length, num_sequences].

        Their first images all differ, as far as there are enough.
        """
        pixels, labels = self.occurring(images)
        rng = np.random.RandomState(seed)
        order = rng.randint(len(labels), size=(length, self.num_sequences))
        shuffled = rng.permutation(len(labels))[: self.num_sequences]
        order[0, : len(shuffled)] = shuffled
        return jnp.asarray(pixels), jnp.asarray(labels, jnp.int32), jnp.asarray(order, jnp.int32)

    def predictors(self) -> dict[str, dict[str, float]]:
        """The metrics of two predictors that see no image, as baselines.

        "constant" always predicts the mean target of training, "true mean" the mean total at each step.
        """
        task = self.task
        share = np.bincount(np.asarray(task.labels), minlength=10) / len(task.labels)
        places = max(self.train_length, *self.lengths)
        means = np.stack([expected(self.total, share, place + 1) for place in range(places)], axis=1)  # [out, time]
        targets = means[:, : self.train_length] if self.running else means[:, self.train_length - 1 : self.train_length]
        predicted = {"constant": np.broadcast_to(targets.mean(1, keepdims=True), means.shape), "true mean": means}
        found: dict[str, dict[str, float]] = {predictor: {} for predictor in predicted}
        for name, batch in task.evaluations(()).items():
            for predictor, numbers in predicted.items():
                outputs = jnp.asarray(numbers[:, : batch.targets.shape[1], None], jnp.float32)
                metrics = task.metrics(jnp.broadcast_to(outputs, batch.targets.shape), batch)
                found[predictor] |= {f"{name}_{metric}": float(value) for metric, value in metrics.items()}
        return found

    def examples(self, batch: Batch) -> list[Example]:
        """The images of each sequence in a row, and the total at its end: "43 after 10 digits"."""
        images = np.moveaxis(mnist.denormalised(batch.inputs.elements), -1, 0)
        totals, length = np.asarray(batch.targets)[:, -1].T, batch.targets.shape[1]
        end = f"after {length} digit{'s' * (length > 1)}"
        pairs = zip(np.asarray(batch.inputs.order).T, totals, strict=True)
        return [Example(in_a_row(images, order), f"{show_total(total)} {end}") for order, total in pairs]


def in_a_row(images: np.ndarray, order: np.ndarray) -> np.ndarray:
    """A sequence of images f32[images, height, width], in the order i32[time] from left to right: f32[height, n · width].

    An ellipsis stands for the middle of a long one.
    """
    shown = [*images[order[: SHOWN - 2]], ellipsis(*images.shape[1:]), images[order[-1]]]
    return np.clip(np.concatenate(shown if len(order) > SHOWN else images[order], axis=1), 0, 1)


def ellipsis(height: int, width: int) -> np.ndarray:
    """Three dots half-way up, f32[height, width]."""
    picture = np.zeros((height, width), np.float32)
    middle = height // 2
    for dot in (1, 2, 3):
        picture[middle - 1 : middle + 1, dot * width // 4 - 1 : dot * width // 4 + 1] = 1
    return picture


def show_total(total: np.ndarray) -> str:
    """A total f32[out] as text: the one number, or the counts of the ten digits, "counts of 0 to 9: 2 0 0 1 0 0 0 7 0 0"."""
    if len(total) == 1:
        return show_number(total[0])
    return f"counts of 0 to 9: {' '.join(map(show_number, total))}"


def expected(total: str, probabilities: np.ndarray, length: int) -> np.ndarray:
    """The mean total of ``length`` digits whose probabilities are f64[10]: f64[out]."""
    if total == "count":
        return length * probabilities
    mean = probabilities @ np.arange(10)
    return np.array([mean**length if total == "product" else length * mean])


@TASKS.register("mnist_counting")
class MnistCounting(DigitSequences):
    """The counts of the ten digits, supervised at the last step only. Trask et al. 2018, section 4.2."""

    total = "count"
    outputs = 10


@TASKS.register("mnist_addition")
class MnistAddition(DigitSequences):
    """The sum of the digits, supervised at the last step only. Trask et al. 2018, section 4.2 and appendix C."""

    total = "sum"


@TASKS.register("mnist_sum")
class MnistSum(DigitSequences):
    """The running sum of the digits, supervised at every step. Madsen & Johansen 2020, section 4.3 and appendix."""

    total = "sum"
    running = True


@TASKS.register("mnist_product")
class MnistProduct(DigitSequences):
    """The running product of the digits 1 to 9, supervised at every step. Madsen & Johansen 2020, section 4.3."""

    total = "product"
    running = True
    lowest = 1
