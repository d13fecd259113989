"""What the descriptions of tasks have in common."""

from typing import Any, ClassVar


class Description:
    """What a task is, in plain values that are checked when it is made; its property ``task`` makes the arrays.

    A subclass is a frozen dataclass, registered under the name that configs give it, with a classmethod ``from_config``
    that takes the plain values, the properties ``task``, ``threshold`` and ``example``, and these:
    """

    # Numbers that a network puts out for it.
    outputs: ClassVar[int] = 1
    # Whether papers score a network by the error of untrained ones.
    scored: ClassVar[bool] = False

    @property
    def example(self) -> Any:
        """The shapes and types of the inputs of a batch of one."""
        raise NotImplementedError

    def predictors(self) -> dict[str, dict[str, float]]:
        """The metrics of predictors that see no input, by name: rows to hold tables of results against."""
        return {}
