"""The types of fields, where they are known: a page, as any Python file, may give a field a value of another type."""

import dataclasses
from typing import Any

from experiments import recipe
from experiments.config import Config, leaves, set_at
from experiments.faults import ConfigError
from nalu_jax.registry import TASKS

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
    known = TASKS[config.task.name] if config.task.get("name") in TASKS else None
    of_task = {field.name: BY_ANNOTATION.get(field.type) for field in dataclasses.fields(known)} if known else {}  # pyright: ignore
    for path, value in list(leaves(config)):
        section, _, field = path.partition(".")
        expected = of_task.get(field) if section == "task" and field in of_task else OF_PAGES.get(path, recipe.example(path))
        if expected is not None:
            set_at(config, path, converted(f"config.{path}", value, expected))


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
