"""Recurrent arithmetic: from a sequence of vectors, learn an operation on the sums of two subsets over all its steps."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from nalu_jax.functional import linear
from nalu_jax.registry import TASKS
from nalu_jax.sequences import Generated, Vectors
from nalu_jax.tasks.base import Example, TaskSpec
from nalu_jax.tasks.operations import OPERATIONS, check_operation, sign
from nalu_jax.tasks.ranges import Range, uniform_on
from nalu_jax.tasks.subsets import SUBSETS, Disjoint, Nested, Overlapping
from nalu_jax.tasks.typed import parse_vector, show_number
from nalu_jax.types import Array, Batch, Metrics

# Seeds of the keys of validation and test sequences.
VALIDATION_SEED, TEST_SEED = 43953907, 8689336
MOST_SHOWN = 10  # steps of a sequence that are shown to a person


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class UniformVectors:
    """Vectors x_t ~ U(range)^input_size of so many sequences, as a function of the step t: the same at every call."""

    lows: Array  # f32[intervals], of the range
    width: Array  # f32[], of each interval
    seed: int = dataclasses.field(metadata={"static": True})
    shape: tuple[int, int] = dataclasses.field(metadata={"static": True})  # input_size, sequences

    def __call__(self, step: Array) -> Array:
        """i32[] → f32[input_size, sequences]."""
        return uniform_on(jax.random.fold_in(jax.random.key(self.seed), step), self.lows, self.width, self.shape)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RecurrentArithmeticTask:
    """The numbers of recurrent arithmetic, and the fields that shapes depend on.

    The numbers are leaves, so that one compiled program serves every operation and range. Fixed sequences are kept nowhere:
    they are made step by step, once for all seeds, which differ in their subsets alone.
    """

    operation: Array  # i32[], index into OPERATIONS
    training: UniformVectors  # of its fields the range counts
    validation: UniformVectors
    test: UniformVectors
    threshold: Array  # f32[]
    subsets: Overlapping | Disjoint | Nested = dataclasses.field(metadata={"static": True})
    train_length: int = dataclasses.field(metadata={"static": True})
    lengths: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    @property
    def input_size(self) -> int:
        """Numbers of a vector."""
        return self.validation.shape[0]

    def init(self, key: Array) -> Array:
        """Masks of this seed's subsets: key → f32[input_size, 2], one column for a and one for b."""
        return self.subsets.masks(key, self.input_size)

    def sample(self, key: Array, masks: Array, batch_size: int) -> Batch:
        """Fresh training sequences f32[input_size, train_length, batch_size], targets f32[1, batch_size]."""
        shape = (self.input_size, self.train_length, batch_size)
        vectors = uniform_on(key, self.training.lows, self.training.width, shape)
        return Batch(Vectors(vectors), self.targets(vectors.sum(1), masks))

    def evaluations(self, masks: Array) -> dict[str, Batch]:
        """The fixed batches of num_sequences each, targets f32[1, num_sequences].

        "interpolation" for validation at the length of training; "extrapolation" for the test at the largest of
        ``lengths``, and for its other lengths "length_10" and so on, whose sequences are the beginnings of the longest.
        """
        batches = {"interpolation": self.fixed(self.validation, self.train_length, masks)}
        for length in self.lengths:
            name = "extrapolation" if length == self.lengths[-1] else f"length_{length}"
            batches[name] = self.fixed(self.test, length, masks)
        return batches

    def fixed(self, make: UniformVectors, length: int, masks: Array) -> Batch:
        """Sequences that are made as they are read, and their targets by a scan over the same vectors."""
        steps = jnp.arange(length)
        sums, _ = jax.lax.scan(lambda sums, t: (sums + make(t), None), jnp.zeros(make.shape), steps)
        return Batch(Generated(make, steps), self.targets(sums, masks))

    def targets(self, sums: Array, masks: Array) -> Array:
        """f(a, b), from Σ_t x_t: f32[input_size, batch] → f32[1, batch]."""
        a, b = linear(sums, masks)
        return jax.lax.switch(self.operation, [o.apply for o in OPERATIONS.values()], a, b)[None]

    def loss(self, outputs: Array, batch: Batch) -> Array:
        """Mean squared error: outputs f32[1, batch] → f32[]."""
        return jnp.mean(jnp.square(outputs - batch.targets))

    def metrics(self, outputs: Array, batch: Batch) -> Metrics:
        """The mean squared error "mse", and "relative", its root over that of the mean squared target.

        Outputs f32[1, batch] → f32[] each.
        """
        mse = self.loss(outputs, batch)
        return {"mse": mse, "relative": jnp.sqrt(mse / jnp.mean(jnp.square(batch.targets)))}

    def score(self, metrics: Metrics) -> Array:
        """The validation error, f32[]."""
        return metrics["interpolation_mse"]

    def solved(self, metrics: Metrics) -> Array:
        """Whether the test error of the longest sequences is below the threshold, bool[]."""
        return metrics["extrapolation_mse"] < self.threshold


@TASKS.register("recurrent_arithmetic")
@dataclasses.dataclass(frozen=True)
class RecurrentArithmetic(TaskSpec):
    """To be learned: y = f(a, b) at the end of a sequence x_1, ..., x_T, with a = Σ_t Σ_{i in A} x_{t,i}, b likewise.

    The subsets A and B are drawn once per seed; x is uniform on a range. Every training batch is new. Validation and test
    sequences are fixed and the same for all seeds. Trask et al. 2018 (arXiv 1808.00508), section 4.1 and appendix B, tables
    8 and 9: ten numbers at each step, ten steps in training, a thousand in the test. The data are not stated there.

    Attributes:
      operation: f, one of add, sub, mul, div, squared (a²) and root (√a).
      input_size: numbers in x_t.
      interpolation_range: range of x in training and validation.
      extrapolation_range: range of x in the test.
      subsets: how A and B are chosen, see nalu_jax.tasks.subsets.
      train_length: T in training and validation.
      lengths: T of the test sequences, rising.
      num_sequences: fixed sequences of each kind.

    Raises ValueError for values that are impossible or that do not fit together.
    """

    columns: ClassVar[Mapping[str, str]] = {"interpolation_mse": "interpolation", "extrapolation_mse": "extrapolation"}
    numbers: ClassVar[tuple[str, ...]] = ("interpolation_range", "extrapolation_range")
    score_baseline: ClassVar[Mapping[str, Any]] = {
        "network.cell": "lstm",
        "network.readout": "last_state",
        "network.readout_unit": "linear",
    }
    threshold_metric: ClassVar[str] = "extrapolation_mse"
    task_state_label: ClassVar[str] = "a, b"

    operation: str
    input_size: int
    interpolation_range: Range
    extrapolation_range: Range
    subsets: Overlapping | Disjoint | Nested
    train_length: int
    lengths: tuple[int, ...]
    num_sequences: int

    def __post_init__(self):
        check_operation(self.operation)
        for field in ("input_size", "train_length", "num_sequences"):
            if not isinstance(value := getattr(self, field), int) or value < 1:
                raise ValueError(f"{field} must be a positive whole number, got {value!r}")
        if not self.lengths or any(not isinstance(length, int) or length < 1 for length in self.lengths):
            raise ValueError(f"lengths must be positive whole numbers, got {self.lengths!r}")
        if sorted(set(self.lengths)) != list(self.lengths):
            raise ValueError(f"lengths must rise, got {self.lengths!r}")
        self.subsets.check(self.input_size)
        lowest = min(self.interpolation_range.low, self.extrapolation_range.low)
        if self.operation == "root" and lowest < 0:
            raise ValueError(f"operation 'root' needs ranges without negative numbers, got one from {lowest:g}")

    @classmethod
    def from_config(cls, *, interpolation_range, extrapolation_range, subsets, lengths, **fields) -> "RecurrentArithmetic":
        """The task from plain values: ranges as numbers, subsets as a mapping with a name."""
        subsets = dict(subsets)
        return cls(
            interpolation_range=Range.of("interpolation_range", interpolation_range),
            extrapolation_range=Range.of("extrapolation_range", extrapolation_range),
            subsets=SUBSETS[subsets.pop("name")](**subsets),
            lengths=tuple(lengths),
            **fields,
        )

    @property
    def example(self) -> Vectors:
        """The shapes of a batch of one sequence: f32[input_size, train_length, 1]."""
        shapes: Any = Vectors
        return shapes(jax.ShapeDtypeStruct((self.input_size, self.train_length, 1), jnp.float32))

    @functools.cached_property
    def threshold(self) -> float:
        """Mean squared error of the longest test sequences below which a seed counts as solved; see ``exact_selection``."""
        return exact_selection(self)

    @functools.cached_property
    def task(self) -> RecurrentArithmeticTask:
        """The arrays of the task."""

        def vectors(interval: Range, seed: int) -> UniformVectors:
            lows, width = jnp.asarray(interval.lows, jnp.float32), jnp.float32(interval.width)
            return UniformVectors(lows, width, seed, (self.input_size, self.num_sequences))

        return RecurrentArithmeticTask(
            operation=jnp.int32(list(OPERATIONS).index(self.operation)),
            training=vectors(self.interpolation_range, VALIDATION_SEED),
            validation=vectors(self.interpolation_range, VALIDATION_SEED),
            test=vectors(self.extrapolation_range, TEST_SEED),
            threshold=jnp.float32(self.threshold),
            subsets=self.subsets,
            train_length=self.train_length,
            lengths=self.lengths,
        )

    def predictors(self) -> dict[str, dict[str, float]]:
        """The metrics of two predictors that see no input, means over draws of the subsets.

        "constant" always predicts the mean target of training, "true mean" the mean target at each length.
        """
        masks, operation = drawn_masks(self.subsets, self.input_size), OPERATIONS[self.operation].apply
        batches = {"interpolation": (self.interpolation_range, self.train_length)}
        batches |= {f"length_{length}": (self.extrapolation_range, length) for length in self.lengths[:-1]}
        batches["extrapolation"] = (self.extrapolation_range, self.lengths[-1])
        found: dict[str, dict[str, float]] = {"constant": {}, "true mean": {}}
        constant = None
        for name, (interval, length) in batches.items():
            y = operation(*np.moveaxis(simulated_sums(interval, length, self.input_size) @ masks, -1, 0))  # [draws, rows]
            mean = y.mean(1, keepdims=True)
            constant = mean if constant is None else constant
            for label, predicted in (("constant", constant), ("true mean", mean)):
                mse, scale = ((y - predicted) ** 2).mean(1), (y**2).mean(1)
                found[label] |= {f"{name}_mse": float(mse.mean()), f"{name}_relative": float(np.sqrt(mse / scale).mean())}
        return found

    def examples(self, batch: Batch) -> list[Example]:
        """Each sequence, a line a step and cut short where it is long, and what the operation makes of two sums in it."""
        vectors, formula = np.asarray(batch.inputs.inputs(lambda x: x)), sign(self.operation)  # [input_size, time, batch]
        time, found = vectors.shape[1], []
        for sequence, target in zip(np.moveaxis(vectors, -1, 0), np.asarray(batch.targets)[0], strict=True):
            lines = [" ".join(map(show_number, x)) for x in sequence[:, :MOST_SHOWN].T]
            lines += [f"… {time:,} steps"] if time > MOST_SHOWN else []
            found.append(Example("\n".join(lines), f"{formula} = {show_number(target)}"))
        return found

    def parse(self, text: str) -> Vectors:
        """Vectors of input_size numbers with spaces or commas between, steps with semicolons → f32[input_size, time, 1].

        Raises ValueError for any other text.
        """
        steps = self.steps(text)
        if not steps:
            raise ValueError(f"its input is at least one step of {self.input_size} numbers, got none")
        return Vectors(jnp.stack([parse_vector(step, self.input_size) for step in steps], axis=1))

    def steps(self, text: str) -> list[str]:
        """The steps of a text, as they stand there: apart by semicolons or lines."""
        return [step.strip() for step in text.replace("\n", ";").split(";") if step.strip()]


DRAWS, SIMULATED = 1024, 1000  # draws of the subsets, and sequences


def exact_selection(task: RecurrentArithmetic, epsilon: float = 1e-5) -> float:
    """E[(f(a_ε, b_ε) - f(a, b))²] on the longest test sequences, a_ε = Σ_t (1 - ε) Σ_A x_t + ε Σ_{not A} x_t, b_ε likewise.

    The criterion of Madsen & Johansen 2020 (section 4.2), for sums over time: a network that selects with weights 1 - ε
    and ε, adds up over all steps and then operates exactly. What it selects is off by about one part in 1e5, however long
    the sequence. The weight with which a cell keeps its sum must hence be exact: 1 - ε there would lose ε T / 2 of the sum,
    half a per cent at a thousand steps, and even the largest float32 below 1 loses 3e-5 of it, more than a sum or a product
    may be off. It is simulated in float64 over 1,024 draws of the subsets and a thousand sequences, with a relative
    standard error of a few per cent.
    """
    operation, masks = OPERATIONS[task.operation].apply, drawn_masks(task.subsets, task.input_size)
    totals = simulated_sums(task.extrapolation_range, task.lengths[-1], task.input_size)
    sums = totals @ masks  # [draws, rows, 2]
    nearly = (1 - epsilon) * sums + epsilon * (totals.sum(1)[:, None] - sums)
    return float(np.mean((operation(*np.moveaxis(nearly, -1, 0)) - operation(*np.moveaxis(sums, -1, 0))) ** 2))


@functools.cache
def drawn_masks(subsets: Overlapping | Disjoint | Nested, input_size: int) -> np.ndarray:
    """The masks of many draws of the subsets, f64[draws, input_size, 2]."""
    keys = jax.random.split(jax.random.key(0), DRAWS)
    return np.asarray(jax.jit(jax.vmap(lambda key: subsets.masks(key, input_size)))(keys), np.float64)


@functools.cache
def simulated_sums(interval: Range, length: int, input_size: int) -> np.ndarray:
    """Σ_t x_t of many sequences of a length, f64[rows, input_size]."""
    rng, sums = np.random.RandomState(0), np.zeros((SIMULATED, input_size))
    for _ in range(length):
        sums += interval.fixed(rng, sums.shape)
    return sums
