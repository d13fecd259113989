"""The types of fields, where they are known: a page, as any Python file, may give a field a value of another type."""

import dataclasses
import functools
from typing import Any

from experiments.faults import ConfigError
from experiments.settings import recipe
from experiments.settings.config import Config, leaves, set_at
from nalu_jax.registry import TASKS, UNITS

# A value of each field's type, of the fields that all pages have.
OF_PAGES: dict[str, Any] = {
    **dict.fromkeys(("num_seeds", "first_seed", "num_steps", "eval_every", "block", "learner.batch_size"), 0),
    **dict.fromkeys(("learner.name", "learner.generator", "unit.name", "network.name", "task.name"), ""),
    **dict.fromkeys(("reports", "writers"), ("",)),
}
BY_ANNOTATION = {int: 0, float: 0.0, str: "", bool: False}
NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", tuple: "a tuple"}


def conform(config: Config) -> None:
    """Gives the fields of a cell's config the types that they must have: a whole number becomes a float where one is meant.

    Raises ConfigError for a value that is of another type.
    """
    for path, value in list(leaves(config)):
        expected = value_of_type(path, config.task.get("name", ""), len(UNITS))
        if expected is not None and (right := converted(f"config.{path}", value, expected)) is not value:
            set_at(config, path, right)


@functools.cache
def value_of_type(path: str, task: str, units: int) -> Any:
    """A value of the type of a field, None where it is not known, given the task and how many units there are."""
    del units  # one more may have a field more
    section, _, field = path.partition(".")
    if section == "task" and task in TASKS:
        fields: Any = dataclasses.fields(TASKS[task])  # pyright: ignore[reportArgumentType]
        return {known.name: BY_ANNOTATION.get(known.type) for known in fields}.get(field)
    return OF_PAGES.get(path, recipe.example(path))


def converted(field: str, value: Any, expected: Any) -> Any:
    """The value as one of the type of ``expected``. Raises ConfigError if it cannot be."""
    kind = type(expected)
    if kind is tuple and isinstance(value, tuple):
        return tuple(converted(field, part, expected[0]) for part in value) if expected else value
    if isinstance(value, kind) and isinstance(value, bool) == (kind is bool):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        if kind is float:
            return float(value)
        if kind is int and value == int(value):
            return int(value)
    raise ConfigError(f"{field} must be {NAMES[kind]}, got {value!r}")
