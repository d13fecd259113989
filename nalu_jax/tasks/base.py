"""What the specifications of tasks have in common."""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

from nalu_jax.types import Batch


class Example(NamedTuple):
    """An input and what it is to become, for a person: text, or a picture in shades of grey [height, width], 1 is ink."""

    question: str | np.ndarray
    answer: str


class TaskSpec:
    """What a task is, in plain values that are checked when it is made; its property ``task`` makes the arrays.

    A subclass is a frozen dataclass that is registered in ``nalu_jax.registry.TASKS`` under the name that configs give it.
    Its ``__post_init__`` raises ValueError for values that are impossible. Besides the class variables below it may have a
    field ``operation``, which units that cannot compute it may then be left out for.
    """

    # The metrics that tables, curves and the progress line show, in their order, each with its heading; a metric is named
    # after its batch, as "interpolation_mse". A heading that ends in " %" is that of a share, which is shown in per cent;
    # any other is that of an error.
    columns: ClassVar[Mapping[str, str]]
    # The learner, by its name in LEARNERS.
    learner: ClassVar[str] = "supervised"
    # Number of a network's outputs.
    outputs: ClassVar[int] = 1
    # Fields that are numbers to the compiled programs: cells that differ in these alone train together.
    numbers: ClassVar[tuple[str, ...]] = ()
    # The network, as fields of a config, whose error before training is 100 on the scale of the 2018 paper's scores; none
    # for tasks that no paper scores so.
    score_baseline: ClassVar[Mapping[str, Any]] = {}
    # The value at which a seed counts as solved, 0 if none ever does, and the metric that is compared with it.
    threshold: float = 0.0
    threshold_metric: ClassVar[str] = ""
    # The label in pictures of weights of the matrix f32[inputs, n] that the task draws for a seed; "" if it draws none.
    task_state_label: ClassVar[str] = ""

    @classmethod
    def from_config(cls, **fields: Any) -> "TaskSpec":
        """The specification from the plain values of a config. Raises ValueError for values that are impossible."""
        return cls(**fields)

    @property
    def task(self) -> Any:
        """The arrays of the task, a ``types.Task``. Raises EnvironmentFault for missing or damaged data."""
        raise NotImplementedError

    @property
    def example(self) -> Any:
        """The shapes and types of the inputs of a batch of one, as ``jax.ShapeDtypeStruct``s."""
        raise NotImplementedError

    def predictors(self) -> dict[str, dict[str, float]]:
        """The metrics of predictors that see no input, by label: baselines for tables of results."""
        return {}

    def examples(self, batch: Batch) -> list[Example]:
        """What stands in each column of a batch of the task, for a person."""
        raise NotImplementedError

    def parse(self, text: str) -> Any:
        """The inputs of a batch of one that a text stands for.

        Raises ValueError for a text that is no input of the task, and for tasks whose inputs cannot be typed.
        """
        raise ValueError("its inputs are not ones that can be typed")

    def steps(self, text: str) -> list[str]:
        """What stands at each time step of a text that ``parse`` takes; [] where there is no time."""
        del text
        return []
