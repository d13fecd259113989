"""Counting even digits: how many of the digits scattered over a canvas are even, 0 among them."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from nalu_jax.data import mnist
from nalu_jax.registry import TASKS
from nalu_jax.tasks.base import Example, TaskSpec
from nalu_jax.types import Array, Batch, Metrics

SIZE = 28  # of an image of MNIST, in pixels
# The digits of a canvas are placed by rejection, in ATTEMPTS attempts of PROPOSALS proposals each. In the layout of 28
# pixels on 100, one attempt in twenty leaves no place for the fifth digit; that all do has a probability below 1e-6.
ATTEMPTS, PROPOSALS = 8, 64
# Limits within which that probability holds: the number of digits, the share of the canvas that the squares of their
# distance take, and the distance as a share of the side on which corners lie.
MOST, CROWDED, APART = 12, 0.4, 0.7
EVALUATED = 50  # canvases of the fixed batches that are drawn at a time, to save memory


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class CanvasTask:
    """The arrays of a task on canvases of digits: each image once, and the fields that shapes depend on."""

    pixels: Array  # u8[training images, digit_size, digit_size]
    labels: Array  # i32[training images]
    validation: tuple[Array, Array]  # canvases u8[canvas, canvas, n], even digits of each i32[n]
    test: tuple[Array, Array]
    threshold: Array  # f32[]
    canvas: int = dataclasses.field(metadata={"static": True})
    distance: int = dataclasses.field(metadata={"static": True})
    most_digits: int = dataclasses.field(metadata={"static": True})

    def init(self, key: Array) -> tuple[()]:
        """key → (), as all seeds have the same task."""
        del key
        return ()

    def sample(self, key: Array, task_state: tuple[()], batch_size: int) -> Batch:
        """A fresh training batch, shaped as in ``make_batch``."""
        del task_state
        sizes = {"canvas": self.canvas, "distance": self.distance, "most": self.most_digits}
        return self.make_batch(*scatter(key, self.pixels, self.labels, batch_size, **sizes))

    def evaluations(self, task_state: tuple[()]) -> dict[str, Batch]:
        """The batch "interpolation" of validation images and the batch "extrapolation" of test images.

        Shaped as in ``make_batch``, of num_canvases examples each.
        """
        del task_state
        return {"interpolation": self.make_batch(*self.validation), "extrapolation": self.make_batch(*self.test)}

    def make_batch(self, canvases: Array, even: Array) -> Batch:
        """Normalised canvases f32[canvas, canvas, batch], and one-hot counts f32[most_digits + 1, batch]."""
        targets = (jnp.arange(self.most_digits + 1)[:, None] == even[None]).astype(jnp.float32)
        return Batch(mnist.normalised(canvases), targets)

    def loss(self, outputs: Array, batch: Batch) -> Array:
        """Cross-entropy of softmax(outputs): f32[most_digits + 1, batch] → f32[]."""
        return -jnp.mean(jnp.sum(batch.targets * jax.nn.log_softmax(outputs, axis=0), axis=0))

    def metrics(self, outputs: Array, batch: Batch) -> Metrics:
        """The share of canvases whose most likely count is right, "accuracy", and the squared error of probabilities, "mse".

        The latter is the score of Brier 1950. Outputs f32[most_digits + 1, batch] → f32[] each.
        """
        right = outputs.argmax(0) == batch.targets.argmax(0)
        error = jax.nn.softmax(outputs, axis=0) - batch.targets
        return {"mse": jnp.mean(jnp.square(error)), "accuracy": jnp.mean(right.astype(jnp.float32))}

    def score(self, metrics: Metrics) -> Array:
        """The squared validation error, f32[]."""
        return metrics["interpolation_mse"]

    def solved(self, metrics: Metrics) -> Array:
        """Whether the test accuracy is at least the threshold, bool[]."""
        return metrics["extrapolation_accuracy"] >= self.threshold


def scatter(
    key: Array, pixels: Array, labels: Array, number: int, *, canvas: int, distance: int, most: int
) -> tuple[Array, Array]:
    """Random canvases f32[canvas, canvas, number], and the number of even digits on each, i32[number].

    Where images overlap the brighter pixel is taken.

    Args:
      key: for all that is drawn.
      pixels: images u8[n, size, size].
      labels: their digits i32[n].
      number: of canvases.
      canvas: pixels of a side of a canvas.
      distance: pixels that two corners are apart at least.
      most: the number of digits is uniform from 0 to this.
    """
    for_places, for_counts, for_images = jax.random.split(key, 3)
    corners = canvas - pixels.shape[1] + 1
    proposals = jax.random.randint(for_places, (number, ATTEMPTS, PROPOSALS, 2), 0, corners)
    counts = jax.random.randint(for_counts, (number,), 0, most + 1)
    chosen = jax.random.randint(for_images, (number, most), 0, len(labels))
    taken, shown = jax.vmap(functools.partial(places, most=most, distance=distance))(proposals, counts)
    even = (shown & (labels[chosen] % 2 == 0)).sum(1)
    return jax.vmap(functools.partial(canvas_of, canvas=canvas), out_axes=-1)(pixels[chosen], taken, shown), even


def places(proposals: Array, count: Array, *, most: int, distance: int) -> tuple[Array, Array]:
    """The upper left corners of a canvas's digits, i32[most, 2], and which of the digits are shown, bool[most].

    Proposals i32[attempts, proposals, 2] are corners. The first attempt with room for ``count`` i32[] digits is taken; if
    none has it, the one with the most digits, and fewer are shown.
    """
    taken, found = jax.vmap(functools.partial(accept, most=most, distance=distance))(proposals)
    best = jnp.minimum(found.sum(1), count).argmax()
    return taken[best], found[best] & (jnp.arange(most) < count)


def accept(proposals: Array, *, most: int, distance: int) -> tuple[Array, Array]:
    """Accepts proposals i32[n, 2] in order, unless they are too near to an accepted one → i32[most, 2], bool[most].

    The latter says which were found: once all that remain are too near, the first proposal fills the missing places.
    """
    free, taken, found = jnp.ones(len(proposals), bool), [], []
    for _ in range(most):
        place = proposals[free.argmax()]
        taken.append(place)
        found.append(free.any())
        free &= jnp.sum(jnp.square(proposals - place[None]), axis=1) >= distance**2
    return jnp.stack(taken), jnp.stack(found)


def canvas_of(images: Array, corners: Array, shown: Array, *, canvas: int) -> Array:
    """A canvas with images [digits, size, size] at corners i32[digits, 2], where shown bool[digits]: f32[canvas, canvas].

    Computed as products with shifted unit matrices, which are exact in any precision that holds the numbers up to 255; XLA
    compiles a slice update for each digit to a scatter, which is slow on accelerators.
    """
    offsets = jnp.arange(canvas)[None, None, :, None] - corners[:, :, None, None]  # [digits, 2, canvas, 1]
    shifts = (offsets == jnp.arange(images.shape[1])[None, None, None]).astype(jnp.float32)  # [digits, 2, canvas, size]
    down, right = shifts[:, 0] * shown[:, None, None].astype(jnp.float32), shifts[:, 1]
    moved = jnp.einsum("dhi,dij->dhj", down, images.astype(jnp.float32))
    return jnp.einsum("dhj,dwj->dhw", moved, right).max(0)


compiled_scatter = jax.jit(scatter, static_argnames=("number", "canvas", "distance", "most"))


@TASKS.register("mnist_even_digits")
@dataclasses.dataclass(frozen=True)
class MnistEvenDigits(TaskSpec):
    """To be learned: the number of even digits on a canvas. Trask et al. 2018, section 4.6.

    The task is that of Seguí, Pujol & Vitrià 2015 (arXiv 1505.08082). Neither paper states the number of digits or their
    distance; here their number is uniform from 0 to ``most_digits``, as in the reimplementation of fomorians. Every training
    batch is new. Validation and test canvases are fixed, the same for all seeds, and made of images of their own. 0 is even.

    Attributes:
      data: where the images are from, see nalu_jax.data.mnist.
      canvas: pixels of a side of the canvas.
      digit_size: pixels of a side of a digit, a divisor of 28: the means of as many squares.
      distance: pixels that two centres are apart at least; from digit_size · √2 on none can overlap.
      most_digits: largest number of digits on a canvas.
      num_canvases: fixed canvases of each kind.
      threshold: accuracy on the test canvases from which on a seed counts as solved.

    Raises ValueError for values that are impossible, or that leave no room for ``most_digits`` digits.
    """

    columns: ClassVar[Mapping[str, str]] = {
        "interpolation_mse": "interpolation",
        "extrapolation_mse": "extrapolation",
        "extrapolation_accuracy": "accuracy %",
    }
    threshold_metric: ClassVar[str] = "extrapolation_accuracy"

    data: str
    canvas: int
    digit_size: int
    distance: int
    most_digits: int
    num_canvases: int
    threshold: float

    def __post_init__(self):
        if self.data not in mnist.SOURCES:
            raise ValueError(f"data must be one of {', '.join(mnist.SOURCES)}, got {self.data!r}")
        for field in ("canvas", "digit_size", "distance", "most_digits", "num_canvases"):
            if not isinstance(value := getattr(self, field), int) or value < 1:
                raise ValueError(f"{field} must be a positive whole number, got {value!r}")
        if SIZE % self.digit_size:
            raise ValueError(f"digit_size must divide {SIZE}, got {self.digit_size}")
        if self.canvas < self.digit_size:
            raise ValueError(f"canvas must be at least digit_size, which is {self.digit_size}, got {self.canvas}")
        if self.most_digits > MOST:
            raise ValueError(f"most_digits must be at most {MOST}, got {self.most_digits}")
        side = self.canvas - self.digit_size
        crowded = self.most_digits * self.distance**2 > CROWDED * (side + self.distance) ** 2
        if self.most_digits > 1 and (crowded or self.distance > APART * side):
            raise ValueError(
                f"distance must leave room for {self.most_digits} digits of {self.digit_size} pixels on a canvas of "
                f"{self.canvas}, got {self.distance}"
            )
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must be a number from 0 to 1, got {self.threshold!r}")

    @property
    def outputs(self) -> int:
        """Number of a network's outputs: one for each count."""
        return self.most_digits + 1

    @property
    def example(self) -> jax.ShapeDtypeStruct:
        """The shape of a batch of one canvas: f32[canvas, canvas, 1]."""
        return jax.ShapeDtypeStruct((self.canvas, self.canvas, 1), jnp.float32)

    @functools.cached_property
    def task(self) -> CanvasTask:
        """The arrays of the task. Raises EnvironmentFault for missing or damaged images."""
        digits = mnist.load(self.data)
        return CanvasTask(
            pixels=self.resized(digits.training),
            labels=jnp.asarray(digits.training.labels, jnp.int32),
            validation=self.fixed_canvases(digits.validation, mnist.VALIDATION_SEED),
            test=self.fixed_canvases(digits.test, mnist.TEST_SEED),
            threshold=jnp.float32(self.threshold),
            canvas=self.canvas,
            distance=self.distance,
            most_digits=self.most_digits,
        )

    def resized(self, images: mnist.Images) -> Array:
        """The images at the size of digits, u8[n, digit_size, digit_size]: rounded means of pixels."""
        size, width = self.digit_size, SIZE // self.digit_size
        return jnp.asarray(np.rint(images.pixels.reshape(-1, size, width, size, width).mean((2, 4))), jnp.uint8)

    def fixed_canvases(self, images: mnist.Images, seed: int) -> tuple[Array, Array]:
        """Canvases of the images, u8[canvas, canvas, num_canvases], and even digits of each i32[num_canvases]."""
        pixels, labels = self.resized(images), jnp.asarray(images.labels, jnp.int32)
        sizes = {"canvas": self.canvas, "distance": self.distance, "most": self.most_digits}
        made = []
        for piece in range(-(-self.num_canvases // EVALUATED)):
            key = jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), piece)
            canvases, even = compiled_scatter(key, pixels, labels, EVALUATED, **sizes)
            made.append((np.asarray(canvases, np.uint8), np.asarray(even)))
        canvases, even = (np.concatenate(parts, axis=-1)[..., : self.num_canvases] for parts in zip(*made, strict=True))
        return jnp.asarray(canvases), jnp.asarray(even)

    def predictors(self) -> dict[str, dict[str, float]]:
        """The metrics of two predictors that see no image, as baselines.

        "always zero" predicts that no digit is even, "uniform" that all counts are equally likely. The accuracy is the mean
        probability of the right count.
        """
        predicted = {"always zero": np.eye(self.outputs)[0], "uniform": np.full(self.outputs, 1 / self.outputs)}
        found: dict[str, dict[str, float]] = {predictor: {} for predictor in predicted}
        for name, (_, even) in {"interpolation": self.task.validation, "extrapolation": self.task.test}.items():
            targets = np.eye(self.outputs)[np.asarray(even)]
            for predictor, probabilities in predicted.items():
                found[predictor] |= {
                    f"{name}_mse": float(np.mean((probabilities - targets) ** 2)),
                    f"{name}_accuracy": float(np.mean(targets @ probabilities)),
                }
        return found

    def examples(self, batch: Batch) -> list[Example]:
        """The canvases, and how many of their digits are even."""
        canvases = np.clip(mnist.denormalised(batch.inputs), 0, 1)
        even = np.asarray(batch.targets).argmax(0)
        return [Example(canvases[..., i], f"{count} even") for i, count in enumerate(even)]
