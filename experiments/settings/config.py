"""The command line's changes to a config page.

``--config.a.b=value`` changes a field, which keeps the type that it has on the page; a name that only one field has
stands for its path. ``--config.grid.x=v1,v2`` changes an axis of the grid, or adds one for the field x.
"""

import ast
import dataclasses
import math
import re
from collections.abc import Iterator
from typing import Any, TypeAlias

from ml_collections import ConfigDict

from experiments.faults import ConfigError
from experiments.settings import recipe
from nalu_jax.registry import nearest

Config: TypeAlias = Any  # a ConfigDict, of whose fields no types are known
# What people type in the place of a field's name.
ALIASES = {"lr": "learning_rate", "seeds": "num_seeds", "steps": "num_steps", "batch": "batch_size"}


def split_overrides(arguments: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """The ``--config.path=text`` among the arguments as (path, text), and the other arguments."""
    overrides, others = [], []
    rest = iter(arguments)
    for argument in rest:
        name, equals, text = argument.lstrip("-").partition("=")
        if argument.startswith("-") and name.startswith("config."):
            path = name.removeprefix("config.")
            overrides.append((path, text if equals else next(rest, "")))
        else:
            others.append(argument)
    return overrides, others


def override(config: Config, overrides: list[tuple[str, str]]) -> None:
    """Changes fields of the config in place. ConfigError for an unknown field or a value of another type."""
    seen: dict[str, str] = {}
    for given, text in overrides:
        path = resolved(config, given)
        if seen.setdefault(path, text) != text:
            raise ConfigError(f"config.{path} is given twice, as {seen[path]!r} and as {text!r}")
        *sections, field = path.split(".")
        section = config
        if not has(config, path) and (example := example_at(config, path)) is not None:
            set_at(config, path, parse(f"config.{path}", text, example))
            continue
        if sections and sections[0] in recipe.SECTIONS and not has(config, path):
            known = [*recipe.FIELDS, *(".".join([*sections, name]) for name in recipe.PENALTY_FIELDS if len(sections) == 2)]
            raise unknown_field(config, path, known)
        for name in sections:
            known = [key for key, value in section.items() if isinstance(value, ConfigDict)]
            if name not in known:
                raise ConfigError(f"config.{path}: there is no section {name!r}{nearest(name, known)}")
            section = section[name]
        if path.startswith("grid."):
            section[field] = parse_axis(f"config.{path}", text, axis_example(config, section, field))
        elif field not in section:
            raise unknown_field(config, path, [known for known, _ in leaves(config)])
        elif isinstance(section[field], ConfigDict):
            raise ConfigError(f"config.{path} is a section: set one of {', '.join(section[field])}")
        else:
            section[field] = parse(f"config.{path}", text, section[field])


def resolved(config: Config, path: str) -> str:
    """The path of a field that is given by its path, by an alias, or by a name that no other field has."""
    *sections, field = path.split(".")
    if not has(config, path):
        field = ALIASES.get(field, field)
    path = ".".join([*sections, field])
    if sections or has(config, path):
        return path
    known = {known for known, _ in leaves(config) if not known.startswith(("grid.", "parts"))} | set(recipe.FIELDS)
    fitting = [known for known in known if known.rsplit(".", 1)[-1] == field]
    return fitting[0] if len(fitting) == 1 else path


def unknown_field(config: Config, path: str, known: list[str]) -> ConfigError:
    """The error of a field that does not exist, with a guess: the axis of the grid that sets it, or the nearest name."""
    axes = [axis for axis in config.grid if not isinstance(config.grid[axis], ConfigDict)]
    setting = [f"grid.{axis}" for axis in axes if NAMES.get(axis, f"{path.rpartition('.')[0]}.{axis}") == path]
    guess = f": did you mean {setting[0]!r}?" if setting else nearest(path, known)
    return ConfigError(f"config.{path}: there is no such field{guess} --show_config shows all")


def parse_axis(field: str, text: str, example: Any) -> tuple:
    """The text as the values of an axis, each of the example's type: ranges need parentheses, ``(1,2),(2,3)``."""
    if not isinstance(example, tuple):
        return parse_tuple(field, text, (example,))
    ranges = literal(field, text)
    if not all(isinstance(value, tuple) for value in ranges):
        raise ConfigError(f"{field} must be a list of ranges, such as (1,2),(2,3), got {text!r}")
    return ranges


def axis_example(config: Config, section: Config, axis: str) -> Any:
    """A value of the kind that an axis of the grid, or of a part of it, takes."""
    if axis in section and len(section[axis]):
        return section[axis][0]
    example = example_at(config, axis_path(config, axis))
    return "" if example is None else example


def example_at(config: Config, path: str) -> Any:
    """A value of the type that a path takes: that of the page, or else the task's or the recipes' own; None without any."""
    if has(config, path):
        return config_at(config, path)
    section, _, field = path.partition(".")
    return task_fields(config).get(field) if section == "task" else recipe.example(path)


NAMES = {"unit": "unit.name", "optimizer": "optimizer.name", "learner": "learner.name"}  # axes of sections with a name


def axis_path(config: Config, axis: str) -> str:
    """The path of the field that an axis of the grid sets.

    ``unit``, ``optimizer`` and ``learner`` set the name of their section; any other axis is the name of the one field so
    called: of the page, of the task, of a recipe or of a unit. Raises ConfigError if there is none, or more than one.
    """
    if axis in NAMES:
        return NAMES[axis]
    outside = ("grid.", "parts")
    fields = {path: path.rsplit(".", 1)[-1] for path, _ in leaves(config) if not path.startswith(outside)}
    paths = [path for path, name in fields.items() if name == axis]
    if not paths and axis in task_fields(config):
        return f"task.{axis}"
    if not paths and (path := recipe.axis_path(axis)) is not None:
        return path
    if len(paths) != 1:
        known = sorted({*NAMES, *fields.values()})
        raise ConfigError(f"config.grid.{axis}: an axis is named after exactly one field{nearest(axis, known)}")
    return paths[0]


def task_fields(config: Config) -> dict[str, Any]:
    """The fields of the page's task with their defaults, None where they have none that a page could hold.

    Tasks are imported only now, since it takes a second. Raises ConfigError for a task that does not exist.
    """
    from nalu_jax.registry import TASKS, UnknownName

    try:
        fields: Any = dataclasses.fields(TASKS[config.task.get("name", "")])  # pyright: ignore[reportArgumentType]
    except UnknownName as error:
        raise ConfigError(f"config.task: {error}") from error
    return {field.name: field.default if isinstance(field.default, int | float | str | tuple) else None for field in fields}


def leaves(config: Config, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All fields with their paths."""
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def config_at(config: Config, path: str) -> Any:
    """The value at a path."""
    for name in path.split("."):
        config = config[name]
    return config


def has(config: Config, path: str) -> bool:
    """Whether there is something at a path."""
    *sections, field = path.split(".")
    for name in sections:
        if not isinstance(config.get(name), ConfigDict):
            return False
        config = config[name]
    return field in config


def set_at(config: Config, path: str, value: Any) -> None:
    """Sets the value at a path, the field being new or not, whatever its type was."""
    *sections, field = path.split(".")
    for name in sections:
        if name not in config:
            config[name] = ConfigDict()
        config = config[name]
    if field in config:
        del config[field]  # ml_collections would make a float of a whole number in its place
    config[field] = value


def parse(field: str, text: str, example: Any) -> Any:
    """The text as a value of the example's type. ConfigError, in a sentence, if it is none."""
    if isinstance(example, bool):
        if text.lower() not in ("true", "false"):
            raise ConfigError(f"{field} must be true or false, got {text!r}")
        return text.lower() == "true"
    if isinstance(example, int | float):
        return number(field, text, type(example))
    if isinstance(example, tuple):
        return parse_tuple(field, text, example)
    return text


def number(field: str, text: str, kind: type) -> Any:
    """The text as an int (1e3 is one) or a finite float."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"{field} must be a {'whole' if kind is int else 'finite'} number, got {text!r}")
    if kind is int and value != int(value):
        raise ConfigError(f"{field} must be a whole number, got {text!r}")
    # int(text) keeps digits that a float cannot.
    return kind(text) if text.strip("+-").isdigit() else kind(value)


def parse_tuple(field: str, text: str, example: tuple) -> tuple:
    """The text as a tuple: ``a,b`` of names, quoted or not, ``1,2`` or ``(1,2),(3,4)`` of numbers."""
    if example and isinstance(example[0], str):
        names = tuple(unquoted(name.strip()) for name in text.strip("()[] ").split(",") if name.strip())
        if not names:
            raise ConfigError(f"{field} must be a list of names, got {text!r}")
        return names
    first: Any = example[0] if example else None
    if isinstance(first, bool | int | float) and not any(bracket in text for bracket in "(["):
        if len(example) > 1 and "," not in text and not text.replace(".", "").strip("+-").isdigit():
            raise ConfigError(f"{field} must be numbers with commas between, such as 1,2, got {text!r}")
        return tuple(parse(field, part.strip(), first) for part in text.split(",") if part.strip())
    value = literal(field, text)
    return value[0] if len(value) == 1 and isinstance(value[0], tuple) else value


def unquoted(name: str) -> str:
    """A name without the quotes around it, if there is one at each end."""
    return name[1:-1] if re.fullmatch(r"'.*'|\".*\"", name) else name


def literal(field: str, text: str) -> tuple:
    """The text as a tuple of Python's literals."""
    try:
        return ast.literal_eval(f"({text},)" if text.strip() else "()")
    except (ValueError, SyntaxError, TypeError):
        raise ConfigError(f"{field} must be numbers, such as 1,2 or (1,2),(3,4), got {text!r}") from None
