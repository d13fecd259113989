"""Config pages and the command line's changes to them.

A page is a Python file with ``get_config(preset)``; ``--config=page.py:preset`` names it. ``--config.a.b=value`` changes a
field, which keeps the type that it has on the page; ``--config.grid.x=v1,v2`` changes an axis of the grid, or adds one for
the field x.
"""

import ast
import dataclasses
import importlib.util
import inspect
import math
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from ml_collections import ConfigDict

from experiments import recipe
from experiments.faults import ConfigError
from nalu_jax.registry import nearest

EVERY_PAGE_HAS = (
    "num_seeds",
    "first_seed",
    "num_steps",
    "eval_every",
    "block",
    "learner",
    "unit",
    "network",
    "task",
    "grid",
)
# What is drawn and tabulated of a page that does not say it.
REPORTS = ("summary", "curves")
Config: TypeAlias = Any  # a ConfigDict, of whose fields no types are known
CONFIGS = Path(__file__).parent.parent / "configs"


def shipped() -> dict[str, str]:
    """The config pages that come with the project, and the first line of what each says of itself."""
    pages = {}
    for path in sorted(CONFIGS.glob("*.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
        pages[f"{CONFIGS.name}/{path.name}"] = docstring.split("\n", 1)[0]
    return pages


def load(page: str) -> Config:
    """The config of ``path/to/page.py`` or ``path/to/page.py:preset``."""
    path, _, preset = page.partition(":")
    if not Path(path).is_file():
        raise ConfigError(f"--config: there is no file {path!r}; shipped are {', '.join(shipped())}")
    spec = importlib.util.spec_from_file_location("config_page", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"--config: {path!r} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise fault_of_page(path, error) from error
    if not callable(getattr(module, "get_config", None)):
        raise ConfigError(f"--config: {path} has no function get_config")
    if preset and not inspect.signature(module.get_config).parameters:
        raise ConfigError(f"--config: {path} has no presets, got {preset!r}")
    try:
        config = module.get_config(preset) if preset else module.get_config()
    except ValueError as error:
        raise ConfigError(f"--config: {error}") from error
    except Exception as error:
        raise fault_of_page(path, error) from error
    if not isinstance(config, ConfigDict):
        raise ConfigError(f"--config: get_config of {path} must return a ConfigDict, got {config!r}")
    if missing := missing_fields(config):
        raise ConfigError(f"--config: the config of {path} lacks {', '.join(missing)}")
    if "reports" not in config:
        config.reports = REPORTS
    return config


def missing_fields(config: Config) -> list[str]:
    """What every page has and this config has not."""
    return [name for name in EVERY_PAGE_HAS if name not in config]


def fault_of_page(path: str, error: Exception) -> ConfigError:
    """The error of a page, with the line of the page that led to it."""
    page = Path(path).absolute()
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).absolute() == page]
    line = getattr(error, "lineno", None) or lines[-1]
    return ConfigError(f"--config: {path}, line {line}: {type(error).__name__}: {error}")


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
    for path, text in overrides:
        if seen.setdefault(path, text) != text:
            raise ConfigError(f"config.{path} is given twice, as {seen[path]!r} and as {text!r}")
        *sections, field = path.split(".")
        section = config
        if not has(config, path) and (example := example_at(config, path)) is not None:
            set_at(config, path, parse(f"config.{path}", text, example))
            continue
        if sections and sections[0] in recipe.SECTIONS and not has(config, path):
            known = [*recipe.FIELDS, *(".".join([*sections, name]) for name in recipe.PENALTY_FIELDS if len(sections) == 2)]
            raise ConfigError(f"config.{path}: there is no such field{nearest(path, known)} --show_config shows all")
        for name in sections:
            known = [key for key, value in section.items() if isinstance(value, ConfigDict)]
            if name not in known:
                raise ConfigError(f"config.{path}: there is no section {name!r}{nearest(name, known)}")
            section = section[name]
        if path.startswith("grid."):
            section[field] = parse_axis(f"config.{path}", text, axis_example(config, section, field))
        elif field not in section:
            known = [known_path for known_path, _ in leaves(config)]
            raise ConfigError(f"config.{path}: there is no such field{nearest(path, known)} --show_config shows all")
        elif isinstance(section[field], ConfigDict):
            raise ConfigError(f"config.{path} is a section: set one of {', '.join(section[field])}")
        else:
            section[field] = parse(f"config.{path}", text, section[field])


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
    """Sets the value at a path, the field being new or not."""
    *sections, field = path.split(".")
    for name in sections:
        if name not in config:
            config[name] = ConfigDict()
        config = config[name]
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
    """The text as a tuple: ``a,b`` of names, ``1,2`` or ``(1,2),(3,4)`` of numbers."""
    if example and isinstance(example[0], str):
        names = tuple(name.strip() for name in text.strip("()[] ").split(",") if name.strip())
        if not names:
            raise ConfigError(f"{field} must be a list of names, got {text!r}")
        return names
    if example and isinstance(example[0], bool | int | float) and not any(bracket in text for bracket in "(["):
        kind = example[0]
        return tuple(parse(field, part.strip(), kind) for part in text.split(",") if part.strip())
    value = literal(field, text)
    return value[0] if len(value) == 1 and isinstance(value[0], tuple) else value


def literal(field: str, text: str) -> tuple:
    """The text as a tuple of Python's literals."""
    try:
        return ast.literal_eval(f"({text},)" if text.strip() else "()")
    except (ValueError, SyntaxError, TypeError):
        raise ConfigError(f"{field} must be numbers, such as 1,2 or (1,2),(3,4), got {text!r}") from None
