"""The vocabulary of nalu_jax: what a batch, a task and a learner are. No logic."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import jax

Array = jax.Array
Params = Any  # a tree of arrays
Draw = Any  # what a task drew for one seed, a tree of arrays
Metrics = dict[str, Array]
Numbers = Any  # a tree of numbers


class Sequences(NamedTuple):
    """Sequences of images: each image once, and at which place of which sequence it stands.

    What reads the images then does so once for each, however often and wherever it is seen.
    """

    images: Array  # f32[height, width, images]
    order: Array  # i32[time, batch], indices of images


class Batch(NamedTuple):
    """Examples as columns: inputs ``[in, batch]``, targets ``[out, batch]``.

    Inputs may be images ``[height, width, batch]`` too, or Sequences, whose targets are ``[out, time, batch]``. ``keep``
    ``[batch]`` is False for the rows of a fixed batch that do not count for this seed; None means that all do.
    """

    inputs: Any
    targets: Array
    keep: Array | None = None


class Setup(NamedTuple):
    """What a seed is given besides its number: arrays alone, so that programs can be mapped over several of them."""

    task: "Task"
    numbers: Numbers  # of its recipe, such as the learning rate


class TrainState(NamedTuple):
    """Everything that one seed's training is, and nothing but arrays."""

    seed: Array  # u32[]
    step: Array  # i32[], optimizer steps taken
    params: Params
    opt_state: Any
    draw: Draw  # what the task drew for this seed
    memory: Any = ()  # what the learner remembers of its evaluations


class Task(Protocol):
    """What is to be learned and when it counts as learned, as a tree of the arrays that all seeds share.

    A task is a registered dataclass: its arrays are leaves, and what shapes depend on is static. It is an argument of the
    compiled programs, which therefore serve every task of the same shapes.
    """

    def init(self, key: Array) -> Draw:
        """What differs between seeds, e.g. where the summed subsets lie."""
        ...

    def sample(self, key: Array, draw: Draw, batch_size: int) -> Batch:
        """Fresh training examples."""
        ...

    def evaluations(self, draw: Draw) -> Mapping[str, Batch]:
        """The fixed batches that a seed is judged on, by name."""
        ...

    def loss(self, outputs: Array, batch: Batch) -> Array:
        """What training minimises, f32[]."""
        ...

    def metrics(self, outputs: Array, batch: Batch) -> Metrics:
        """What is reported of a batch, each f32[]."""
        ...

    def solved(self, metrics: Metrics) -> Array:
        """Whether the metrics of all evaluations together mean solved, bool[]."""
        ...


def unmoved(state: TrainState, metrics: Metrics) -> TrainState:
    """The state of a learner that its evaluations do not concern."""
    del metrics
    return state


class Learner(NamedTuple):
    """Pure functions of one seed; the loop vmaps them over many.

    Their last argument is what the seed is given, a Setup or whatever the learner takes.
    """

    init: Callable[[Array, Any], TrainState]  # (seed, setup) → state
    step: Callable[[TrainState, Any], tuple[TrainState, Metrics]]
    evaluate: Callable[[TrainState, Any], Metrics]
    observe: Callable[[TrainState, Metrics], TrainState] = unmoved  # takes note of an evaluation
