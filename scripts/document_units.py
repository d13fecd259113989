"""Writes docs/units.md, the page on the units, and its pictures, from the registry.

    python scripts/document_units.py [--only nmu,nac]      # draw the pictures of these units alone
    python scripts/document_units.py --check               # is the page on disk what would be written now?

The page is made of what the units say of themselves (docstrings, class variables, shapes, recipes), so a unit that is
registered is on it. The pictures are made without a word about any unit as well: see ``Drawing``. A minute on one core.
"""

import argparse
import dataclasses
import functools
import inspect
import io
import itertools
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from jax.flatten_util import ravel_pytree  # noqa: E402

from nalu_jax import units  # noqa: E402
from nalu_jax.bounded import Bounded  # noqa: E402
from nalu_jax.recipes import Optimizer, Penalty, Recipe, Reinit  # noqa: E402
from nalu_jax.registry import UNITS  # noqa: E402
from nalu_jax.units import TRAINING, Linear, Unit  # noqa: E402

DOCS = ROOT / "docs"
PAGE, PICTURES = "units.md", "units"
INPUTS = 2

SYMBOLS = {"add": "+", "sub": "−", "mul": "×", "div": "÷"}
FUNCTIONS: dict[str, Callable] = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}
COMPARISON = "greater"  # what stands for a unit without operations

# --- what a unit says of itself ---


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
        told = [int(year) for year in re.findall(r"\b20\d\d\b(?!\.\d)", one.cls.__doc__ or "")]
        years[one.cls.__module__] = min([*told, years.get(one.cls.__module__, 9999)])
    families = sorted(years, key=years.__getitem__)
    return sorted(found, key=lambda one: families.index(one.cls.__module__))


def entry(name: str) -> Entry:
    """The unit of this name."""
    constructor = UNITS[name]
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


# --- words ---


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
    said = []
    for field in dataclasses.fields(spec):
        value = getattr(spec, field.name)
        if field.name not in silent and (field.name in always or value != field.default):
            said.append(WORDS[type(spec)].get(field.name, lambda value, name=field.name: f"{name} {number(value)}")(value))
    return said


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


# --- the page ---

INTRODUCTION = """# The units

<!-- Written by scripts/document_units.py from the registry; do not edit by hand. -->

A unit is a layer that maps a vector to a vector, as a dense layer does, but whose weights mean arithmetic: at the right
weights, which are mostly -1, 0 and 1, it adds, subtracts, multiplies, divides or compares its inputs exactly, and goes on
doing so far outside the numbers it was trained on. The papers differ in how the weights are held near such values, how
products are taken and what becomes of signs and zeros. Here is every unit of the package.

**By name in an experiment.** The network has two layers, which the unit names:

```
python -m experiments.run --config=configs/static_arithmetic.py --workdir=runs/x --config.grid.unit=nac,nalu
```

**As a module**, where `nn.Dense(features)` could stand, with any leading axes:

```python
import jax, jax.numpy as jnp
import nalu_jax.units
from nalu_jax.registry import UNITS

unit = UNITS["nac"](1)  # or nalu_jax.units.NAC(1)
variables = unit.init(jax.random.key(0), jnp.ones((32, 2)))
y = unit.apply({"params": variables["params"]}, jnp.ones((32, 2)))  # [32, 1]
```

As the last part of an optimizer `nalu_jax.keep_bounded()` keeps parameters in their intervals; after a step of any other
`nalu_jax.project(params)` puts the parameters that live in an interval back into it. The
effective weights and the penalties that a unit declares come back from `unit.apply(…, mutable=["weights", "penalties"])`.
The formulas as pure functions are in `nalu_jax/functional.py`; most are of Trask et al. 2018
([arXiv 1808.00508](https://arxiv.org/abs/1808.00508)) and Madsen & Johansen 2020
([arXiv 2001.05016](https://arxiv.org/abs/2001.05016)).

## All units

"Operations" are those that some weights compute of two inputs. Under each unit stand its published recipes, of which the
first that fits a task holds; "steps" are optimizer steps.

"""

PICTURES_EXPLAINED = """## How to read the pictures

They are for two inputs and one output. *Ideal* parameters are found by a search over -20, -1, 0, 1 and 20, those of them
that the parameter's interval allows, for the first operation on U[1, 2], and again for the last operation on U[-2, -1]
(U[0.1, 0.2] where inputs must be positive). A unit without operations is asked for x₁ > x₂.

- **Left**: squared error of the unit at its ideal parameters for the first operation, over all inputs from -3 to 3. Dark is
  exact; grey has no value. Light regions are where a perfect fit to U[1, 2] does not carry over.
- **Middle and right**: the loss in training, as two numbers among the parameters vary and all others are ideal: two entries
  of a weight matrix, or, where no weight matrix matters, the two numbers that move the loss most. The star is the ideal; a
  triangle at the border points to one that lies beyond. Dots are where 40 seeds start. From a white dot the way downhill, in
  steps of up to a fiftieth of the width, leads to the solution; from a black one it ends in another minimum or on a plateau,
  where no step lowers the loss by a thousandth. Training moves all parameters at once, with momentum and on changing
  batches, so this is the shape of the ground and not a success rate.

All three share one scale.
"""


def page() -> str:
    """The text of docs/units.md."""
    everything = entries()
    arithmetic = [entry for entry in everything if not entry.baseline]
    lines = INTRODUCTION.split("\n")[:-1]
    lines += overview(arithmetic)
    lines += PICTURES_EXPLAINED.split("\n")
    for one in arithmetic:
        lines += section(one, everything)
    lines += baselines([entry for entry in everything if entry.baseline])
    return "\n".join(lines).rstrip() + "\n"


def overview(arithmetic: list[Entry]) -> list[str]:
    """The table of all arithmetic units."""
    rows = [
        [f"[`{one.name}`](#{one.name})", f"`{one.cls.__name__}`", operations(one.unit), markdown(docstring(one.cls)[0])]
        for one in arithmetic
    ]
    return table(["name", "module", "operations", "what it is"], rows)


def section(one: Entry, everything: list[Entry]) -> list[str]:
    """The lines on one arithmetic unit."""
    title, body, _ = docstring(one.cls)
    parent = builds_on(one, everything)
    lines = [f"## {one.name}", "", f"**{markdown(title)}**", ""]
    lines += [markdown(body), ""] if body else []
    if parent:
        lines += [f"Builds on [`{parent.name}`](#{parent.name}): {markdown(docstring(parent.cls)[0])}", ""]
    lines += [f"![{one.name}: errors at ideal parameters, and the loss around them]({PICTURES}/{one.name}.png)", ""]
    lines += table(["", ""], list(facts(one)))
    if fields := own_fields(one.unit):
        rows = [
            [code(field.name), code(number(getattr(one.unit, field.name))), markdown(field_note(one.cls, field.name))]
            for field in fields
        ]
        lines += table(["field", "default", "what it is"], rows)
    rows = [recipe_row(recipe, len(one.unit.recipes) == 1) for recipe in one.unit.recipes]
    return lines + table(["recipe for", "optimizer", "penalties", "restarts", "source"], rows)


def facts(one: Entry) -> Iterator[list[str]]:
    """What the class and the shapes say, in rows."""
    unit, variables = one.unit, one.variables
    yield ["module", module(one)]
    yield ["operations", operations(unit)]
    yield ["domain", "positive inputs" if unit.positive_inputs else "all numbers"]
    yield ["two layers", f"`{unit.first_layer or one.name}`, then `{unit.last_layer or one.name}`"]
    yield ["parameters, 2 → 1", parameters(one)]
    for collection, what in (("weights", "effective weights"), ("penalties", "penalties it declares")):
        yield [what, ", ".join(code(name) for name in variables.get(collection, {})) or "none"]


def baselines(dense: list[Entry]) -> list[str]:
    """The table of the dense baselines."""
    rows = []
    for cls, group in itertools.groupby(sorted(dense, key=lambda one: one.cls.__name__), key=lambda one: one.cls):
        group = list(group)
        preset = [f"{name}=…" for name, value in group[0].preset.items() if not callable(value)]
        layers = [code(layer) if layer else "itself" for layer in (cls.first_layer, cls.last_layer)]
        rows.append(
            [
                ", ".join(f"`{one.name}`" for one in group),
                f"`{cls.__name__}" + (f"({', '.join(preset)})`" if preset else "`"),
                markdown(" ".join(docstring(cls)[:2]).rstrip()),
                ", then ".join(layers),
                parameters(group[0]),
            ]
        )
    head = ["## Dense baselines", "", "The layers that the papers compare with. They have no picture.", ""]
    return head + table(["name", "module", "what it is", "two layers", "parameters, 2 → 1"], rows)


# --- the pictures ---

CANDIDATES = (-20.0, -1.0, 0.0, 1.0, 20.0)
SAMPLES, SEEDS, RESTARTS, SWEEPS = 64, 40, 48, 3
GRID = 101
CHUNK = 2048
SOLVED = 1e-3  # mean squared error at which a point of the grid counts as the solution, or that of the ideal if larger
FLOOR, CEILING = 1e-6, 1e2


class Problem(NamedTuple):
    """An operation on a range."""

    operation: str
    low: float
    high: float

    def inputs(self) -> np.ndarray:
        """[2, SAMPLES], evenly spread: the Halton sequence of bases 2 and 3."""
        unit_square = np.stack([halton(2), halton(3)])
        return (self.low + (self.high - self.low) * unit_square).astype(np.float32)

    def targets(self, x: np.ndarray) -> np.ndarray:
        """The operation of x [2, ...] → [...]."""
        function = FUNCTIONS.get(self.operation, np.greater)
        with np.errstate(divide="ignore", invalid="ignore"):
            return function(x[0], x[1]).astype(np.float32)

    @property
    def words(self) -> str:
        """x₁ × x₂."""
        return f"x₁ {SYMBOLS.get(self.operation, '>')} x₂"


def halton(base: int) -> np.ndarray:
    """The first SAMPLES numbers of van der Corput's sequence."""

    def radical_inverse(index: int) -> float:
        value, scale = 0.0, 1.0 / base
        while index:
            value, index, scale = value + scale * (index % base), index // base, scale / base
        return value

    return np.array([radical_inverse(index) for index in range(1, SAMPLES + 1)])


WIDE = Problem("", -3.0, 3.0)


class Leaf(NamedTuple):
    """A parameter: its name, where its entries stand among all numbers, and its interval."""

    name: str
    places: range
    lower: float
    upper: float
    matrix: bool

    @property
    def candidates(self) -> list[float]:
        """Values that the search tries."""
        return [value for value in CANDIDATES if self.lower <= value <= self.upper]


class Plane(NamedTuple):
    """Two parameters, and how far they are varied."""

    places: tuple[int, int]
    names: tuple[str, str]
    lower: float
    upper: float


class Drawing:
    """A unit with all its parameters in one vector θ, and what the pictures need of it."""

    def __init__(self, one: Entry):
        self.one, self.unit = one, one.unit
        x = jnp.ones((INPUTS, 3))
        initial = jax.vmap(lambda seed: self.unit.init(jax.random.key(seed), x)["params"])(jnp.arange(SEEDS))
        _, self.unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], initial))
        self.starts = np.concatenate([np.reshape(leaf, (SEEDS, -1)) for leaf in jax.tree.leaves(initial)], axis=1)
        self.leaves = list(self.find_leaves())
        self._losses = jax.jit(jax.vmap(self.loss, in_axes=(0, None, None, None)), static_argnums=3)
        self._outputs = jax.jit(functools.partial(self.outputs, training=False))

    def find_leaves(self) -> Iterator[Leaf]:
        """The parameters in the order of θ."""
        boxes = jax.tree.leaves_with_path(self.one.variables["params"], is_leaf=lambda leaf: isinstance(leaf, Bounded))
        place = 0
        for path, box in boxes:
            value, lower, upper = (
                (box.value, box.lower, box.upper) if isinstance(box, Bounded) else (box, -math.inf, math.inf)
            )
            count = math.prod(value.shape)
            yield Leaf(path[-1].key, range(place, place + count), lower, upper, len(value.shape) == 2)
            place += count

    def outputs(self, theta, x, *, training: bool):
        """The unit's only output at θ: x [2, N] → [N]."""
        rngs = {TRAINING: jax.random.key(0)} if training else None
        return self.unit.apply({"params": self.unravel(theta)}, x, rngs=rngs)[0]

    def loss(self, theta, x, targets, training):
        """Mean squared error at θ."""
        return jnp.mean(jnp.square(self.outputs(theta, x, training=training) - targets))

    def losses(self, thetas: np.ndarray, problem: Problem, training: bool = True, x: np.ndarray | None = None) -> np.ndarray:
        """The loss at each of thetas [..., n], in pieces of one size so that it compiles once."""
        x = problem.inputs() if x is None else x
        flat = thetas.reshape(-1, thetas.shape[-1]).astype(np.float32)
        padded = np.concatenate([flat, np.repeat(flat[:1], -len(flat) % CHUNK, axis=0)])
        targets = problem.targets(x)
        pieces = [self._losses(piece, x, targets, training) for piece in padded.reshape(-1, CHUNK, flat.shape[1])]
        losses = np.concatenate(jax.device_get(pieces))[: len(flat)].reshape(thetas.shape[:-1])
        return np.where(np.isfinite(losses), losses, np.inf)

    def ideal(self, problem: Problem) -> np.ndarray:
        """θ that solves the problem best among corners: descent by whole parameters from many corners at once.

        Of equals, one that goes on being right outside the range, and then one with more zeros.
        """
        rng = np.random.RandomState(0)
        thetas = np.stack([rng.choice(leaf.candidates, RESTARTS) for leaf in self.leaves for _ in leaf.places], axis=1)
        for leaf in self.leaves * SWEEPS:
            corners = np.array(list(itertools.product(leaf.candidates, repeat=len(leaf.places))))
            tried = np.repeat(thetas[:, None], len(corners), axis=1)
            tried[:, :, leaf.places] = corners
            best = np.argmin(self.scores(tried, problem), axis=1)
            thetas = tried[np.arange(len(thetas)), best]
        return thetas[np.argmin(self.scores(thetas, problem))]

    def scores(self, thetas: np.ndarray, problem: Problem) -> np.ndarray:
        """Decades of loss on the problem, a little for those on a wide range, and less for parameters that are not 0."""
        low, high = (0.1, 3.0) if self.unit.positive_inputs else (WIDE.low, WIDE.high)
        x = Problem(problem.operation, low, high).inputs()
        near = np.log10(np.clip(self.losses(thetas, problem), 1e-12, 1e12))
        wide = np.log10(np.clip(self.losses(thetas, problem, x=x), 1e-12, 1e12))
        return near + 0.05 * wide + 1e-4 * np.abs(thetas).sum(-1)

    def plane(self, ideal: np.ndarray, problem: Problem) -> Plane:
        """The two numbers to vary: of a weight matrix if there is one that the loss depends on, else any two."""
        movement = {}
        for leaf in filter(self.makes_weights, self.leaves):
            places = sorted(sorted(leaf.places, key=lambda place: -abs(ideal[place]))[:2])
            if len(places) > 1 and ideal[places].any():
                plane = self.window(places, ideal)
                movement[plane] = self.movement(plane, ideal, problem)
        if max(movement.values(), default=0) < 1e-3:
            planes = [self.window(places, ideal) for places in itertools.combinations(range(len(ideal)), 2)]
            movement = {plane: self.movement(plane, ideal, problem) for plane in planes}
        return max(movement, key=movement.__getitem__)

    def makes_weights(self, leaf: Leaf) -> bool:
        """Whether it is a matrix and the effective weights depend on it."""
        moved = self.starts[0].copy()
        moved[leaf.places] += 0.1
        before, after = (self.weights(theta) for theta in (self.starts[0], moved))
        return leaf.matrix and any(np.any(one != other) for one, other in zip(before, after, strict=True))

    def weights(self, theta: np.ndarray) -> list[np.ndarray]:
        """The effective weights at θ."""
        variables = {"params": self.unravel(theta)}
        _, declared = self.unit.apply(variables, jnp.ones((INPUTS, 3)), mutable=["weights"])
        return jax.device_get(jax.tree.leaves(declared))

    def window(self, places: Iterable[int], ideal: np.ndarray) -> Plane:
        """The interval of the two; where they have none, one that holds where seeds start."""
        places = tuple(places)
        leaves = [next(leaf for leaf in self.leaves if place in leaf.places) for place in places]
        names = tuple(
            f"{leaf.name}[{place - leaf.places.start}]" if len(leaf.places) > 1 else leaf.name
            for leaf, place in zip(leaves, places, strict=True)
        )
        reach = max(2.0 if np.abs(ideal[list(places)]).max() <= 1 else 5.0, 1.05 * np.abs(self.starts[:, places]).max())
        lower, upper = max(leaf.lower for leaf in leaves), min(leaf.upper for leaf in leaves)
        return Plane(places, names, max(lower, -reach), min(upper, reach))

    def movement(self, plane: Plane, ideal: np.ndarray, problem: Problem) -> float:
        """How much the loss depends on the plane, in decades."""
        losses = self.surface(plane, ideal, problem, 21)
        return float(np.std(np.log10(np.clip(losses, FLOOR, CEILING))))

    def surface(self, plane: Plane, ideal: np.ndarray, problem: Problem, points: int = GRID) -> np.ndarray:
        """The loss over the plane, [points of the second, points of the first], all other parameters ideal."""
        axis = np.linspace(plane.lower, plane.upper, points)
        thetas = np.broadcast_to(ideal, (points, points, len(ideal))).copy()
        thetas[..., plane.places[0]], thetas[..., plane.places[1]] = np.meshgrid(axis, axis)
        return self.losses(thetas, problem)

    def errors(self, ideal: np.ndarray, problem: Problem) -> np.ndarray:
        """Squared errors at θ over [-3, 3]², NaN where there is no value."""
        axis = np.linspace(WIDE.low, WIDE.high, GRID + 1)  # an even number of points spares the zeros
        x = np.stack(np.meshgrid(axis, axis)).reshape(2, -1).astype(np.float32)
        squared = np.square(np.asarray(self._outputs(ideal.astype(np.float32), x)) - problem.targets(x))
        return squared.reshape(len(axis), len(axis))


def downhill(losses: np.ndarray, start: tuple[int, int], reach: int = 2) -> tuple[int, int]:
    """Where a walk on the grid ends that always goes to the lowest point near by, and stops where none is lower."""
    here = start
    while True:
        rows = slice(max(here[0] - reach, 0), here[0] + reach + 1)
        columns = slice(max(here[1] - reach, 0), here[1] + reach + 1)
        near = losses[rows, columns]
        row, column = np.unravel_index(np.argmin(near), near.shape)
        if not near[row, column] < 0.999 * losses[here]:
            return here
        here = (rows.start + int(row), columns.start + int(column))


def problems(unit: Unit) -> tuple[Problem, Problem]:
    """What the middle and the right picture are about."""
    first, last = (unit.operations or (COMPARISON,))[0], (unit.operations or (COMPARISON,))[-1]
    return Problem(first, 1.0, 2.0), Problem(last, *((0.1, 0.2) if unit.positive_inputs else (-2.0, -1.0)))


def draw(one: Entry, path: Path) -> None:
    """Writes the picture of a unit."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from PIL import Image

    plt.rcParams.update({"font.family": "DejaVu Sans", "font.size": 7, "axes.titlesize": 7.5, "axes.linewidth": 0.6})
    drawing = Drawing(one)
    figure, axes = plt.subplots(1, 3, figsize=(6.5, 2.05), layout="constrained")
    first, last = problems(one.unit)
    ideals = [drawing.ideal(problem) for problem in (first, last)]

    axis = np.linspace(WIDE.low, WIDE.high, GRID + 1)
    shading = shade(axes[0], axis, drawing.errors(ideals[0], first))
    axes[0].set(title=f"{first.words} at ideal parameters", xlabel="x₁", ylabel="x₂", xticks=(-3, 0, 3), yticks=(-3, 0, 3))
    for panel, problem, ideal in zip(axes[1:], (first, last), ideals, strict=True):
        draw_surface(panel, drawing, problem, ideal)
    bar = figure.colorbar(shading, ax=axes, ticks=range(-6, 3, 2), aspect=24, pad=0.015)
    bar.ax.set_yticklabels(["≤ 10⁻⁶", "10⁻⁴", "10⁻²", "1", "≥ 10²"])
    bar.set_label("squared error")
    pixels = io.BytesIO()
    figure.savefig(pixels, dpi=200)
    plt.close(figure)
    Image.open(pixels).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def shade(panel: Any, axis: np.ndarray, squared: np.ndarray) -> Any:
    """Fills the panel with decades of the squared error; grey where there is none."""
    decades = np.log10(np.clip(squared.astype(float), 1.001 * FLOOR, 0.999 * CEILING))  # contourf leaves out the ends
    panel.set_facecolor("0.75")
    panel.set_aspect("equal")
    panel.tick_params(width=0.6, length=2.5)
    return panel.contourf(axis, axis, np.ma.masked_invalid(decades), np.linspace(-6, 2, 17), cmap="viridis")


def draw_surface(panel: Any, drawing: Drawing, problem: Problem, ideal: np.ndarray) -> None:
    """The loss over two parameters, where seeds start, whence they reach the solution, and the solution."""
    plane = drawing.plane(ideal, problem)
    losses = drawing.surface(plane, ideal, problem)
    axis = np.linspace(plane.lower, plane.upper, GRID)
    shade(panel, axis, losses)
    decades = np.log10(np.clip(losses, FLOOR, CEILING))
    panel.contour(
        axis, axis, decades, np.arange(-5.5, 2, 0.5), colors="white", linewidths=0.3, alpha=0.5, linestyles="solid"
    )

    solved = max(SOLVED, 1.5 * float(drawing.losses(ideal[None], problem)[0]))
    best = ideal[list(plane.places)]
    target = np.clip(best, plane.lower, plane.upper)
    for start in drawing.starts[:, plane.places]:
        row, column = (int(np.argmin(np.abs(axis - value))) for value in start[::-1])
        end = downhill(losses, (row, column))
        near = np.abs(axis[list(end[::-1])] - target).max() <= 2.5 * (axis[1] - axis[0])
        style = {"color": "white", "markeredgecolor": "black"} if near or losses[end] < solved else {"color": "black"}
        panel.plot(*start, "o", markersize=2.8, markeredgewidth=0.4, **({"markeredgecolor": "white"} | style))
    inside = (best == target).all()
    marker = "*" if inside else (3, 0, math.degrees(math.atan2(-target[0], target[1])))
    panel.plot(
        *(target if inside else 0.94 * target),
        marker=marker,
        markersize=9,
        color="#D55E00",
        zorder=5,
        markeredgecolor="white",
        markeredgewidth=0.7,
        clip_on=False,
    )
    low, high = plane.lower, plane.upper
    ticks = [low, (low + high) / 2, high] if low == 0 or high <= 1 else [-math.floor(high), 0, math.floor(high)]
    panel.set(xlim=(low, high), ylim=(low, high), xticks=ticks, yticks=ticks)
    interval = f"U[{problem.low:g}, {problem.high:g}]".replace("-", "−")
    panel.set(title=f"loss of {problem.words}, {interval}", xlabel=plane.names[0], ylabel=plane.names[1])


# --- files ---


def pictured() -> list[Entry]:
    """The units that have a picture."""
    return [one for one in entries() if not one.baseline]


def complaint(docs: Path, text: str, names: set[str]) -> str:
    """What is wrong in the folder, where the page should be this text and these units should have a picture; or nothing."""
    path = docs / PAGE
    again = "run python scripts/document_units.py"
    if not path.exists():
        return f"{path} does not exist: {again}"
    if path.read_text(encoding="utf-8") != text:
        return f"{path} is not what the registry says now: {again}"
    for name in sorted(names ^ {picture.stem for picture in (docs / PICTURES).glob("*.png")}):
        fault = "does not exist" if name in names else "shows a unit that is not in the registry"
        return f"{docs / PICTURES / name}.png {fault}: {again}"
    return ""


def write(docs: Path, text: str, pictures: list[Entry], only: list[str]) -> None:
    """Writes the page, and the pictures of all units or of some; removes those of units that are no more."""
    (docs / PICTURES).mkdir(parents=True, exist_ok=True)
    (docs / PAGE).write_text(text, encoding="utf-8")
    for picture in (docs / PICTURES).glob("*.png"):
        if picture.stem not in {one.name for one in pictures}:
            picture.unlink()
    for one in pictures:
        if not only or one.name in only:
            draw(one, docs / PICTURES / f"{one.name}.png")


def main(arguments: list[str] | None = None) -> int:
    """Writes or checks the page; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the page is out of date")
    parser.add_argument("--only", default="", help="draw the pictures of these units alone; names with commas between")
    parser.add_argument("--docs", type=Path, default=DOCS, help="the folder of the page")
    options = parser.parse_args(arguments)
    pictures = pictured()
    if options.check:
        fault = complaint(options.docs, page(), {one.name for one in pictures})
        print(fault or f"{options.docs / PAGE} is up to date")
        return int(bool(fault))
    only = [name for name in options.only.split(",") if name]
    if unknown := sorted(set(only) - {one.name for one in pictures}):
        parser.error(f"no unit with a picture is named {', '.join(unknown)}")
    write(options.docs, page(), pictures, only)
    return 0


if __name__ == "__main__":
    sys.exit(main())
