"""The vocabulary of nalu_jax: what a batch, a task and a learner are. No logic."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import jax

Array = jax.Array
Params = Any  # a tree of arrays
TaskState = Any  # what a task draws once for a seed, a tree of arrays
Metrics = dict[str, Array]


class Batch(NamedTuple):
    """Examples as columns: inputs ``[in, batch]``, targets ``[out, batch]``.

    Inputs may be any tree: images ``[height, width, batch]``, or the sequences of
    ``nalu_jax.sequences``, whose targets are ``[out, time, batch]`` where
    there is an answer at every step, else ``[out, batch]``.
    ``keep`` ``[batch]`` is False for the rows of a fixed batch that do not count for this seed; None means that all do.
    """

    inputs: Any
    targets: Array
    keep: Array | None = None


class Hyperparameters(NamedTuple):
    """The numbers of a recipe, which are arguments of the compiled programs."""

    learning_rate: Array  # f32[]
    penalties: dict[str, dict[str, Array]]  # by name, the fields of a recipes.Penalty, each f32[] or i32[]
    optimizer: dict[str, Array] = {}  # further numbers of the optimizer that are swept, each f32[]


class Problem(NamedTuple):
    """What a seed is given besides its number: arrays alone, so that programs can be mapped over several of them."""

    task: "Task"
    hyperparameters: Hyperparameters


class TrainState(NamedTuple):
    """Everything that one seed's training is, and nothing but arrays."""

    seed: Array  # u32[]
    step: Array  # i32[], optimizer steps taken
    params: Params
    opt_state: Any
    task_state: TaskState  # what the task drew for this seed
    learner_state: Any = ()  # what the learner keeps from one evaluation to the next


class Evaluation(NamedTuple):
    """How good a seed is at some step."""

    metrics: Metrics  # each f32[]
    score: Array  # f32[], a seed's best evaluation is the one with the smallest
    solved: Array  # bool[]


class Task(Protocol):
    """What is to be learned and when it counts as learned, as a tree of the arrays that all seeds share.

    A task is a registered dataclass: its arrays are leaves, and what shapes depend on is static. It is an argument of the
    compiled programs, which therefore serve every task of the same shapes. Names of metrics and of batches are the task's
    own: the metric ``m`` of the batch ``b`` is reported as ``b_m``.
    """

    def init(self, key: Array) -> TaskState:
        """What differs between seeds, e.g. which inputs are summed: key → tree of arrays."""
        ...

    def sample(self, key: Array, task_state: TaskState, batch_size: int) -> Batch:
        """Fresh training examples: inputs [in, batch_size], targets [out, batch_size]."""
        ...

    def evaluations(self, task_state: TaskState) -> Mapping[str, Batch]:
        """The fixed batches that a seed is evaluated on, by name."""
        ...

    def loss(self, outputs: Array, batch: Batch) -> Array:
        """What training minimises: outputs of the shape of the targets → f32[]."""
        ...

    def metrics(self, outputs: Array, batch: Batch) -> Metrics:
        """What is reported of a batch: outputs of the shape of the targets → f32[] each."""
        ...

    def score(self, metrics: Metrics) -> Array:
        """What a seed's best evaluation is chosen by, from the metrics of all batches: the smaller the better, f32[]."""
        ...

    def solved(self, metrics: Metrics) -> Array:
        """Whether the metrics of all batches together mean solved, bool[]."""
        ...


def no_observation(state: TrainState, evaluation: Evaluation) -> TrainState:
    """The state of a learner that keeps nothing of its evaluations."""
    del evaluation
    return state


class Learner(NamedTuple):
    """A way to train, as pure functions of one seed; the loop vmaps them over many.

    Attributes:
      init: (seed u32[], problem) → TrainState at step 0.
      step: (state, problem) → (state after one optimizer step, metrics of the step f32[] each); a step after which a
        parameter or a metric is not finite is never taken.
      evaluate: (state, problem) → Evaluation.
      observe: (state, evaluation) → state, with what the learner keeps of the evaluation.

    The problem is a Problem, or whatever tree of arrays the learner takes.
    """

    init: Callable[[Array, Any], TrainState]
    step: Callable[[TrainState, Any], tuple[TrainState, Metrics]]
    evaluate: Callable[[TrainState, Any], Evaluation]
    observe: Callable[[TrainState, Evaluation], TrainState] = no_observation
