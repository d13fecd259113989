"""What a unit says of itself, in the words of docs/units.md: docstring, class variables, shapes and recipes."""

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nalu_jax import units
from nalu_jax.bounded import Bounded
from nalu_jax.recipes import Optimizer, Penalty, Recipe, Reinit
from nalu_jax.registry import UNITS
from nalu_jax.units import Linear, Unit

INPUTS = 2
SYMBOLS = {"add": "+", "sub": "−", "mul": "×", "div": "÷"}


class Entry(NamedTuple):
    """A unit as the page sees it."""

    name: str
    unit: Unit
    variables: Mapping[str, Any]  # shapes, for two inputs and one output
    preset: Mapping[str, Any]  # fields that the constructor of this name fills in

    @property
    def cls(self) -> type[Unit]:
        """Its class."""
        return type(self.unit)

    @property
    def baseline(self) -> bool:
        """Whether it is one of the dense baselines."""
        return isinstance(self.unit, Linear)


def entries() -> list[Entry]:
    """Every unit of the registry, family by family in the order of their first papers."""
    found = [entry(name) for name in UNITS]
    years: dict[str, int] = {}
    for one in found:
        named = [int(year) for year in re.findall(r"\b20\d\d\b(?!\.\d)", one.cls.__doc__ or "")]
        years[one.cls.__module__] = min([*named, years.get(one.cls.__module__, 9999)])
    families = sorted(years, key=years.__getitem__)
    return sorted(found, key=lambda one: families.index(one.cls.__module__))


def entry(name: str) -> Entry:
    """The unit of this name."""
    return entry_of(name, UNITS[name])


@functools.cache  # tracing them is what the page takes its time for
def entry_of(name: str, constructor: Callable[..., Unit]) -> Entry:
    """The unit that this constructor makes."""
    unit = constructor(1, axis=0)

    def declare(key: Any, x: Any) -> Any:
        variables = unit.init(key, x)
        return variables | unit.apply(variables, x, mutable=["weights", "penalties"])[1]

    variables = jax.eval_shape(declare, jax.random.key(0), jax.ShapeDtypeStruct((INPUTS, 3), jnp.float32))
    return Entry(name, unit, variables, getattr(constructor, "keywords", {}))


def docstring(cls: type) -> tuple[str, str, dict[str, str]]:
    """First line, the rest in one line, and the paragraphs of "Attributes:" by name."""
    text, _, attributes = inspect.cleandoc(cls.__doc__ or cls.__name__).partition("\nAttributes:\n")
    title, _, body = text.partition("\n")
    found = re.findall(r"^  (\w+): (.*(?:\n    .*)*)", attributes, re.MULTILINE)
    return title, " ".join(body.split()), {name: " ".join(paragraph.split()) for name, paragraph in found}


def own_fields(unit: Unit) -> list[dataclasses.Field]:
    """The fields that only some units have."""
    common = {field.name for field in dataclasses.fields(Unit)}
    return [field for field in dataclasses.fields(unit) if field.name not in common]


def field_note(cls: type, field: str) -> str:
    """What the docstring of the class, or of the nearest one it builds on, says of the field."""
    for base in cls.__mro__:
        _, body, attributes = docstring(base)
        in_passing = re.findall(rf"``{field}`` ([^.]*)\.", body)
        if field in attributes or in_passing:
            return attributes.get(field) or in_passing[0]
    return ""


def builds_on(entry: Entry, all_entries: list[Entry]) -> Entry | None:
    """The registered unit that its class is a variant of."""
    by_class = {other.cls: other for other in reversed(all_entries) if not other.preset}
    return next((by_class[base] for base in entry.cls.__mro__[1:] if base in by_class), None)


def markdown(text: str) -> str:
    """Text of a docstring as Markdown: formulas stay plain, arXiv numbers become links."""
    text = re.sub(r"([*<~])", r"\\\1", text.replace("``", "`"))
    return re.sub(r"arXiv (\d{4}\.\d{5})", r"[arXiv \1](https://arxiv.org/abs/\1)", text)


def code(text: str) -> str:
    """As code, where there is a text."""
    return f"`{text}`" if text else ""


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a table; bars inside its cells are escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines] + [""]


def number(value: Any) -> str:
    """A value as one would write it: 20,000, 1e-7, madsen_johansen."""
    if callable(value):
        return value.__qualname__.split(".")[0]
    if isinstance(value, bool | str):
        return repr(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        small = 0 < abs(value) < 0.01
        return np.format_float_scientific(value, trim="-", exp_digits=1) if small else f"{value:g}"
    return f"({', '.join(number(item) for item in value)})" if isinstance(value, tuple) else repr(value)


def operations(unit: Unit) -> str:
    """The signs of its operations."""
    return " ".join(SYMBOLS[operation] for operation in unit.operations) or "comparisons"


def shape(array: Any) -> str:
    """[2, 1], or "one number"."""
    return str(list(array.shape)) if array.shape else "one number"


def parameters(entry: Entry) -> str:
    """Names, shapes and intervals."""
    words = []
    for name, value in entry.variables.get("params", {}).items():
        bounds = f" in [{value.lower:g}, {value.upper:g}]" if isinstance(value, Bounded) else ""
        words.append(f"`{name}` {shape(value.value if bounds else value)}{bounds}")
    return ", ".join(words) or "none"


def module(entry: Entry) -> str:
    """Where the class is."""
    name = f"`{entry.cls.__name__}`"
    return name if entry.cls.__name__ in units.__all__ else f"{name} in `{entry.cls.__module__}`"


# How a number of a recipe is said. One without words here is shown under the name of its field.
WORDS = {
    Optimizer: {
        "name": lambda value: f"`{value}`",
        "learning_rate": lambda value: f"learning rate {number(value)}",
        "clip_norm": lambda value: f"norm of the gradient at most {number(value)}",
        "clip_value": lambda value: f"elements of the gradient at most ±{number(value)}",
        "gate_turn": lambda value: f"gates alone in {value} of 10 steps, the rest in the others",
    },
    Penalty: {
        "below": lambda value: f"while the validation error is below {number(value)}",
        "growth": lambda value: f"×{number(value)}",
        "every": lambda value: f"every {number(value)} steps",
        "times": lambda value: f"{number(value)} times",
    },
    Reinit: {
        "check_every": lambda value: f"checked every {number(value)} steps",
        "min_history": lambda value: f"after more than {number(value)}",
        "threshold": lambda value: f"if the error has stopped falling above {number(value)}",
        "init_range": lambda value: f"anew from U(±{number(value)})",
    },
}


def phrases(spec: Any, always: tuple[str, ...] = (), silent: tuple[str, ...] = ()) -> list[str]:
    """What is said of a spec: the fields ``always`` and all that differ from their default."""
    found = []
    for field in dataclasses.fields(spec):
        value = getattr(spec, field.name)
        if field.name not in silent and (field.name in always or value != field.default):
            found.append(WORDS[type(spec)].get(field.name, lambda value, name=field.name: f"{name} {number(value)}")(value))
    return found


def penalty(name: str, spec: Penalty) -> str:
    """Sparsity 10, ramp 20,000 → 35,000."""
    ramp = [f"ramp {number(spec.start)} → {number(spec.end)}"] if spec.start < spec.end else []
    start = [f"from step {number(spec.start)}"] if spec.start == spec.end > 0 else []
    rest = phrases(spec, silent=("weight", "start", "end", "growth", "every", "times"))
    growth = [" ".join(phrases(spec, ("growth", "every", "times"), ("weight", "start", "end", "below")))]
    return ", ".join([f"{name} {number(spec.weight)}", *ramp, *start, *(growth if spec.times else []), *rest])


def recipe_row(recipe: Recipe, alone: bool) -> list[str]:
    """A row of the table of recipes."""
    facts = ", ".join(f"{name} `{value}`" for name, value in recipe.when.items())
    restarts = recipe.reinit.check_every and ", ".join(phrases(recipe.reinit, ("check_every", "min_history", "threshold")))
    return [
        facts or ("every task" if alone else "any other"),
        ", ".join(phrases(recipe.optimizer, ("name", "learning_rate"))),
        "; ".join(penalty(name, spec) for name, spec in recipe.penalties.items()) or "none",
        restarts or "none",
        markdown(recipe.source),
    ]
