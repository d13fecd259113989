"""Evaluating programs: sums, differences and conditionals of numbers with more digits than those of training."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from nalu_jax.data import programs
from nalu_jax.data.programs import KINDS, Programs
from nalu_jax.registry import TASKS
from nalu_jax.sequences import Vectors
from nalu_jax.tasks.base import Example, TaskSpec
from nalu_jax.types import Array, Batch, Metrics

# The operations of each mix; additions are of two numbers, the others of up to max_operations.
MIXES = {"addition": ("+",), "sums": ("+", "-"), "mixed": programs.OPERATIONS}
SPLITS = ("train", "validation", "test")
PLACES = 9  # digits that are compared, at most
MOST_OPERATIONS, MOST_DIGITS = 9, 5  # all answers are below 10⁶, where float32 is exact
SMALLEST_SQUARE = 1e-8  # keeps the gradient of the root finite where all answers are exact


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ProgramTask:
    """The fixed programs of each split, and the fields that shapes depend on."""

    fixed: dict[str, Programs]
    operations: tuple[str, ...] = dataclasses.field(metadata={"static": True})
    most: int = dataclasses.field(metadata={"static": True})
    digits: int = dataclasses.field(metadata={"static": True})  # of numbers of training

    def init(self, key: Array) -> tuple[()]:
        """key → (), as all seeds have the same task."""
        del key
        return ()

    def sample(self, key: Array, task_state: tuple[()], batch_size: int) -> Batch:
        """Fresh programs with numbers of training: inputs f32[11, time, batch_size], targets f32[1, batch_size]."""
        del task_state
        return make_batch(programs.draw(key, batch_size, operations=self.operations, most=self.most, below=10**self.digits))

    def evaluations(self, task_state: tuple[()]) -> dict[str, Batch]:
        """The fixed programs: "train" with as many digits as in training, "validation" and "test" with more."""
        del task_state
        return {split: make_batch(found) for split, found in self.fixed.items()}

    def loss(self, outputs: Array, batch: Batch) -> Array:
        """The root of the mean squared error: f32[1, batch] → f32[]."""
        return jnp.sqrt(jnp.mean(jnp.square(outputs - batch.targets)) + SMALLEST_SQUARE)

    def metrics(self, outputs: Array, batch: Batch) -> Metrics:
        """How close rounded answers are to the true ones, f32[1, batch] → f32[] each.

        "digits" is the mean share of digits that match when numbers are aligned at their units, "digits_left" when at their
        first digit (see ``matching_digits``), "exact" the share of programs whose answer is right, "rmse" the root of the
        mean squared error, before rounding.
        """
        found, true = outputs[0], batch.targets[0]
        return {
            "digits": jnp.mean(matching_digits(found, true)),
            "digits_left": jnp.mean(matching_digits(found, true, left=True)),
            "exact": jnp.mean((jnp.round(found) == true).astype(jnp.float32)),
            "rmse": self.loss(outputs, batch),
        }

    def score(self, metrics: Metrics) -> Array:
        """The error on the validation programs, f32[]: it goes on to tell seeds apart that have no answer, or all, right."""
        return metrics["validation_rmse"]

    def solved(self, metrics: Metrics) -> Array:
        """Whether the answers to all test programs are right, bool[]."""
        return metrics["test_exact"] == 1


def make_batch(found: Programs) -> Batch:
    """Programs as sequences of a one-hot kind and, in the last row, a value: f32[11, time, batch]; answers f32[1, batch]."""
    kinds = (found.kinds[None] == jnp.arange(len(KINDS))[:, None, None]).astype(jnp.float32)
    vectors = jnp.concatenate([kinds, found.values[None].astype(jnp.float32)])
    return Batch(Vectors(vectors, found.lengths), found.answers[None].astype(jnp.float32))


def matching_digits(found: Array, true: Array, *, left: bool = False) -> Array:
    """The share of digits of rounded numbers that match: f32[n] each → f32[n].

    The shorter number is filled up with zeros, in front of it, or behind it if they are aligned at the ``left``. Where one
    of the two is negative, the sign is one digit more. What is no number, or has more than nine digits, matches nothing.

    >>> matching_digits(jnp.array([1254.2, 12.0, -7.0]), jnp.array([1234.0, 1234.0, 7.0]))
    Array([0.75, 0.  , 0.5 ], dtype=float32)
    """
    (digits, size), (true_digits, true_size) = digits_of(found, left), digits_of(true, left)
    longer = jnp.maximum(size, true_size)
    same = jnp.sum((digits == true_digits) & (jnp.arange(PLACES)[:, None] < longer[None]), axis=0)
    negative, true_negative = jnp.round(found) < 0, true < 0
    same = same + (negative & true_negative).astype(jnp.int32)
    longer = longer + (negative | true_negative).astype(jnp.int32)
    return jnp.where(jnp.abs(found) < 10.0**PLACES, same.astype(jnp.float32) / longer.astype(jnp.float32), 0)


def digits_of(numbers: Array, left: bool) -> tuple[Array, Array]:
    """The digits of rounded numbers i32[PLACES, n], units first or the first digit first, and how many each has i32[n]."""
    whole = jnp.clip(jnp.abs(jnp.round(jnp.nan_to_num(numbers))), 0, 10.0**PLACES).astype(jnp.int32)
    places = jnp.arange(PLACES)[:, None]
    size = jnp.max(jnp.where(whole[None] >= 10**places, places + 1, 1), axis=0)
    shown = jnp.maximum(size[None] - 1 - places, 0) if left else places
    digits = whole[None] // 10**shown % 10
    return jnp.where(places < size[None], digits, 0), size


@TASKS.register("program_evaluation")
@dataclasses.dataclass(frozen=True)
class ProgramEvaluation(TaskSpec):
    """To be learned: what programs of a few operations come to; tested on numbers with more digits than those of training.

    Trask et al. 2018 (arXiv 1808.00508), section 4.4 and appendix E, after Zaremba & Sutskever 2014. Numbers are given as
    such, one a time step. One task for both of the paper's, which differ in what is drawn and in nothing else.

    Attributes:
      programs: "addition" of two numbers; programs of "sums" and differences; or "mixed", with conditionals as well.
      max_operations: operations of a program, at most; an addition has one.
      digits: of the numbers of training, validation and test; operands are uniform in [0, 10^digits).
      num_programs: fixed programs of each kind.

    Raises ValueError for values that are impossible.
    """

    columns: ClassVar[Mapping[str, str]] = {
        "train_digits": "train %",
        "validation_digits": "validation %",
        "test_digits": "test %",
        "test_exact": "test exact %",
    }
    threshold: ClassVar[float] = 1.0  # pyright: ignore[reportIncompatibleVariableOverride]
    threshold_metric: ClassVar[str] = "test_exact"

    programs: str = "mixed"
    max_operations: int = 3
    digits: tuple[int, int, int] = (2, 3, 4)
    num_programs: int = 1_000

    def __post_init__(self):
        if self.programs not in MIXES:
            raise ValueError(f"programs must be one of {', '.join(MIXES)}, got {self.programs!r}")
        for field, most in (("max_operations", MOST_OPERATIONS), ("num_programs", 10**6)):
            if not isinstance(value := getattr(self, field), int) or not 1 <= value <= most:
                raise ValueError(f"{field} must be a whole number from 1 to {most:,}, got {value!r}")
        known = len(self.digits) == len(SPLITS) and all(isinstance(n, int) and 1 <= n <= MOST_DIGITS for n in self.digits)
        if not known:
            raise ValueError(f"digits must be three whole numbers from 1 to {MOST_DIGITS}, got {self.digits!r}")

    @classmethod
    def from_config(cls, **fields: Any) -> "ProgramEvaluation":
        """The task from plain values."""
        if "digits" in fields:
            fields["digits"] = tuple(fields["digits"])
        return cls(**fields)

    @property
    def drawn(self) -> dict[str, Any]:
        """What is drawn, as ``programs.draw`` takes it."""
        return {"operations": MIXES[self.programs], "most": 1 if self.programs == "addition" else self.max_operations}

    @property
    def example(self) -> Vectors:
        """The shapes of a batch of one program: f32[11, time, 1], its length i32[1]."""
        shapes: Any = Vectors
        time = programs.longest(**self.drawn)
        vectors = jax.ShapeDtypeStruct((len(KINDS) + 1, time, 1), jnp.float32)
        return shapes(vectors, jax.ShapeDtypeStruct((1,), jnp.int32))

    @functools.cached_property
    def task(self) -> ProgramTask:
        """The arrays of the task."""
        draw = jax.jit(functools.partial(programs.draw, count=self.num_programs, **self.drawn))
        fixed = {
            split: draw(jax.random.key(number), below=jnp.int32(10**digits))
            for number, (split, digits) in enumerate(zip(SPLITS, self.digits, strict=True))
        }
        return ProgramTask(fixed, digits=self.digits[0], **self.drawn)

    def predictors(self) -> dict[str, dict[str, float]]:
        """The metrics of one that always says the mean answer of training."""
        found: dict[str, float] = {}
        mean = jnp.mean(self.task.fixed["train"].answers.astype(jnp.float32))
        for split, batch in self.task.evaluations(()).items():
            metrics = self.task.metrics(jnp.full_like(batch.targets, mean), batch)
            found |= {f"{split}_{metric}": float(value) for metric, value in metrics.items()}
        return {"mean of training": found}

    def examples(self, batch: Batch) -> list[Example]:
        """The programs of a batch as Python texts, and their answers."""
        kinds, values = np.asarray(batch.inputs.vectors[:-1]).argmax(0), np.asarray(batch.inputs.vectors[-1]).astype(int)
        answers = np.asarray(batch.targets[0]).astype(int)
        return [Example(programs.text_of(kinds[:, b], values[:, b]), str(answer)) for b, answer in enumerate(answers)]

    def parse(self, text: str) -> Vectors:
        """The sequence of a program, f32[11, time, 1].

        Raises ValueError for a text that is no program, or with a number of more digits than those of the test.
        """
        kinds, values = (jnp.asarray(part)[:, None] for part in programs.parse(text, below=10 ** max(self.digits)))
        return make_batch(Programs(kinds, values, lengths=jnp.array([len(kinds)]), answers=jnp.array([0]))).inputs

    def steps(self, text: str) -> list[str]:
        """The tokens of a program, with its end."""
        return programs.tokens_of(*programs.parse(text, below=10 ** max(self.digits)))
