"""The single unit task: one unit, alone, learns an operation on two neighbours among its inputs."""

import dataclasses
import functools
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from nalu_jax.registry import TASKS
from nalu_jax.tasks.base import Example, TaskSpec
from nalu_jax.tasks.operations import check_operation
from nalu_jax.tasks.ranges import Range
from nalu_jax.tasks.static_arithmetic import (
    ARITHMETIC_COLUMNS,
    LINEAR_BASELINE,
    ArithmeticTask,
    arithmetic_examples,
    arithmetic_task,
)
from nalu_jax.tasks.subsets import Overlapping
from nalu_jax.tasks.typed import parse_vector
from nalu_jax.types import Array, Batch

# Mistry, Farrahi & Hare 2022: the ranges of training, each with that of its test.
RANGES = {
    (-20.0, -10.0): (-40.0, -20.0),
    (-2.0, -1.0): (-6.0, -2.0),
    (-1.2, -1.1): (-6.1, -1.2),
    (-0.2, -0.1): (-2.0, -0.2),
    (-2.0, 2.0): ((-6.0, -2.0), (2.0, 6.0)),
    (0.1, 0.2): (0.2, 2.0),
    (1.0, 2.0): (2.0, 6.0),
    (1.1, 1.2): (1.2, 6.0),
    (10.0, 20.0): (20.0, 40.0),
}


@TASKS.register("single_unit")
@dataclasses.dataclass(frozen=True)
class SingleUnit(TaskSpec):
    """To be learned: t = f(a, b) with a and b two neighbours in the input x, x uniform on a range.

    Their position is drawn for each seed; the other inputs are irrelevant. Training and fixed batches are those of static
    arithmetic. The "single module arithmetic task" of Mistry, Farrahi & Hare 2022, "A primer for neural arithmetic
    logic modules", JMLR 23(185).

    Attributes:
      operation: f, one of add, sub, mul and div; b is the divisor.
      input_size: numbers in x.
      interpolation_range: range of x in training and validation.
      extrapolation_range: range of x in the test.
      epsilon: how far from ideal the weights may be at the threshold; 1e-4 as published.

    Raises ValueError for values that are impossible or that do not fit together.
    """

    columns: ClassVar[Mapping[str, str]] = ARITHMETIC_COLUMNS
    numbers: ClassVar[tuple[str, ...]] = ("interpolation_range", "extrapolation_range")
    score_baseline: ClassVar[Mapping[str, Any]] = LINEAR_BASELINE
    threshold_metric: ClassVar[str] = "extrapolation_mse"
    task_state_label: ClassVar[str] = "a, b"

    operation: str
    input_size: int
    interpolation_range: Range
    extrapolation_range: Range
    epsilon: float

    def __post_init__(self):
        check_operation(self.operation, ("add", "sub", "mul", "div"))
        if not isinstance(self.input_size, int) or self.input_size < 2:
            raise ValueError(f"input_size must be a whole number of at least 2, got {self.input_size!r}")
        if not 0 < self.epsilon < 1:
            raise ValueError(f"epsilon must lie between 0 and 1, got {self.epsilon!r}")
        if self.operation == "div" and any(low <= 0 <= high for low, high in self.extrapolation_range.intervals):
            raise ValueError(
                f"operation 'div' has no threshold on an extrapolation_range that contains 0, got {self.extrapolation_range}"
            )

    @classmethod
    def from_config(cls, *, interpolation_range, extrapolation_range, **fields) -> "SingleUnit":
        """The task from plain values: ranges as numbers; ``()`` is the published partner of the interpolation range."""
        training = Range.of("interpolation_range", interpolation_range)
        test = published_test_range(training) if extrapolation_range in ((), []) else extrapolation_range
        return cls(
            interpolation_range=training,
            extrapolation_range=Range.of("extrapolation_range", test),
            **fields,
        )

    @property
    def example(self) -> jax.ShapeDtypeStruct:
        """The shape of a batch of one input: f32[input_size, 1]."""
        return jax.ShapeDtypeStruct((self.input_size, 1), jnp.float32)

    @functools.cached_property
    def threshold(self) -> float:
        """Test error below which the task counts as solved: E[(t - t_ε)²] for x of the extrapolation range.

        t_ε is a solution whose weights are all wrong by ε: t - ε Σ_i |x_i| for + and -; (1 - ε)² t π for ×; and
        (1 - ε) / (1 + ε) t π for ÷, where π = Π_irrelevant (1 - ε |x_i|). Mistry, Farrahi & Hare 2022, whose simulation
        of it this is in closed form, as the inputs are independent.
        """
        # Fractions: the square of 1 - (1 - ε)² E[π] would lose most digits of a float.
        x, n, epsilon = moments(self.extrapolation_range), self.input_size, Fraction(self.epsilon)
        if self.operation in ("add", "sub"):
            return float(epsilon**2 * (n * x.square + n * (n - 1) * x.magnitude**2))
        shrunk = (1 - epsilon) ** 2 if self.operation == "mul" else (1 - epsilon) / (1 + epsilon)
        pi = (1 - epsilon * x.magnitude) ** (n - 2)
        pi_square = (1 - 2 * epsilon * x.magnitude + epsilon**2 * x.square) ** (n - 2)
        target_square = x.square * (x.square if self.operation == "mul" else x.inverse_square)
        return float(target_square * (1 - 2 * shrunk * pi + shrunk**2 * pi_square))

    @functools.cached_property
    def task(self) -> ArithmeticTask:
        """The arrays of the task."""
        return arithmetic_task(
            operation=self.operation,
            input_size=self.input_size,
            interpolation_range=self.interpolation_range,
            extrapolation_range=self.extrapolation_range,
            threshold=self.threshold,
            subsets=Overlapping(1 / self.input_size, 0.0),  # one input each
            beyond_training=False,
        )

    def examples(self, batch: Batch) -> list[Example]:
        """The vectors, "1.5, 1.25", and what the operation makes of two neighbours in them, "a × b = 1.875"."""
        return arithmetic_examples(batch, self.operation)

    def parse(self, text: str) -> Array:
        """input_size numbers with spaces or commas between → f32[input_size, 1]. Raises ValueError for any other text."""
        return parse_vector(text, self.input_size)


def published_test_range(training: Range) -> tuple:
    """The extrapolation range that the paper pairs with an interpolation range. Raises ValueError for other ranges."""
    for interpolation, extrapolation in RANGES.items():
        if training == Range(interpolation):
            return extrapolation
    published = ", ".join(str(Range(interpolation)) for interpolation in RANGES)
    raise ValueError(
        f"extrapolation_range must be given, as interpolation_range {training} is none of the published ones, {published}"
    )


class Moments(NamedTuple):
    """Means over x uniform on a range."""

    magnitude: Fraction  # E|x|
    square: Fraction  # E[x²]
    inverse_square: Fraction  # E[1 / x²]; 0 on a range that contains 0, where there is none and nothing asks for it


def moments(interval: Range) -> Moments:
    """The moments of a range, the mean of those of its intervals."""
    each = [interval_moments(Fraction(low), Fraction(high)) for low, high in interval.intervals]
    return Moments(*(sum(values, Fraction(0)) / len(each) for values in zip(*each, strict=True)))


def interval_moments(low: Fraction, high: Fraction) -> Moments:
    """The moments of U[low, high]."""
    one_sign = low * high > 0
    return Moments(
        magnitude=abs(low + high) / 2 if one_sign else (low**2 + high**2) / (2 * (high - low)),
        square=(low**2 + low * high + high**2) / 3,
        inverse_square=1 / (low * high) if one_sign else Fraction(0),
    )
