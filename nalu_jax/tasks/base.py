"""What the specifications of tasks have in common."""

from collections.abc import Mapping
from typing import Any, ClassVar


class TaskSpec:
    """What a task is, in plain values that are checked when it is made; its property ``task`` makes the arrays.

    A subclass is a frozen dataclass that is registered in ``nalu_jax.registry.TASKS`` under the name that configs give it.
    Its ``__post_init__`` raises ValueError for values that are impossible. Besides the class variables below it may have a
    field ``operation``, which units that cannot compute it may then be left out for.
    """

    # The metrics that tables, curves and the progress line show, in their order, each with its heading; a metric is named
    # after its batch, as "interpolation_mse". A heading that ends in " %" is that of a share, and its numbers are shown in
    # per cent; any other is that of an error.
    columns: ClassVar[Mapping[str, str]]
    # The learner, by its name in LEARNERS.
    learner: ClassVar[str] = "supervised"
    # Numbers that a network puts out.
    outputs: ClassVar[int] = 1
    # Fields that are numbers to the compiled programs: cells that differ in these alone train together.
    numbers: ClassVar[tuple[str, ...]] = ()
    # The network, as fields of a config, whose error before training is 100 on the scale of the 2018 paper's scores; none
    # for tasks that no paper scores so.
    score_baseline: ClassVar[Mapping[str, Any]] = {}
    # What a seed must reach to be solved, 0 if no seed ever is, and the metric that it must reach it in.
    threshold: float = 0.0
    threshold_metric: ClassVar[str] = ""
    # What pictures of weights call the matrix f32[inputs, n] that the task draws for a seed; "" if it draws none.
    task_state_label: ClassVar[str] = ""

    @classmethod
    def from_config(cls, **fields: Any) -> "TaskSpec":
        """The specification from the plain values of a config. Raises ValueError for values that are impossible."""
        return cls(**fields)

    @property
    def task(self) -> Any:
        """The arrays of the task, a ``types.Task``. Raises EnvironmentFault for data that cannot be had."""
        raise NotImplementedError

    @property
    def example(self) -> Any:
        """The shapes and types of the inputs of a batch of one."""
        raise NotImplementedError

    def predictors(self) -> dict[str, dict[str, float]]:
        """The metrics of predictors that see no input, by label: rows to hold tables of results against."""
        return {}
