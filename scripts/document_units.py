"""Writes docs/units.md, the page on the units, and its pictures, from the registry.

    python scripts/document_units.py [--only nmu,nac]      # draw the pictures of these units alone
    python scripts/document_units.py --check               # is the page on disk what would be written now?

The page is made of what the units say of themselves (``unit_facts``), the pictures of what they compute
(``unit_pictures``): a unit that is registered is on the page, and nothing here names one.
"""

import argparse
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from scripts.unit_facts import (  # noqa: E402
    Entry,
    builds_on,
    code,
    docstring,
    entries,
    field_note,
    markdown,
    module,
    number,
    operations,
    own_fields,
    parameters,
    recipe_row,
    table,
)
from scripts.unit_pictures import draw  # noqa: E402

DOCS = ROOT / "docs"
PAGE, PICTURES = "units.md", "units"

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

Each is for two inputs and one output, and has three panels. *Ideal* parameters are the best of some combinations of -20, -1,
0, 1 and 20, as far as the intervals of the parameters allow: ±20 saturates a sigmoid and a tanh. They compute every
operation that the unit lists, with a mean squared error below 10⁻⁶.

- **Left: the output y** for x₁ = 2 and x₂ from -3 to 3. Parameters are ideal for × on [1, 2], or for the last operation of
  a unit that does not multiply, but for the effective weight of x₂: from the lightest to the darkest line W₂ goes from 0 to
  its ideal. Where no weight is learned, another parameter takes its place, at values between which the output at (2, 1.5)
  changes by a quarter of its way. The broad light band is the operation, which the darkest line should cover. Lines are the
  form of the unit in evaluation, dots that in training, where it is another. Dark grey: there is no value.
- **Middle and right: the mean squared error** around ideal parameters for the last operation on [-2, -1] ([1, 2] where
  inputs must be positive), of the form in training.
  - **Middle: along one parameter**, while all others are ideal. Of a vector it is the entry that changes the error most.
    Above is the effective weight that it makes (absent where none is learned). Below are the error (solid), the error in
    evaluation where it is another (dashed), and the penalties of the unit's recipe at their full weight (dotted, where they
    are not 0). An error below 10⁻⁶ is drawn at 10⁻⁶; a line that stays there belongs to a parameter that does not matter
    as long as the others are ideal. Ticks under that are where 40 seeds start.
  - **Right: over two parameters**, one that makes an effective weight and one that does not, such as a gate or a bias; where
    there is no such pair, two of one kind. The star is the ideal; in its place a triangle at the border points to one that
    lies beyond. Circles are where the 40 seeds start. From a white one (*arrives*) the way downhill, in steps of up to a
    fiftieth of the width, leads to the solution; from a black one (*stuck*) it ends in another minimum or on a plateau,
    where no step lowers the error by a thousandth. Training moves all parameters at once, with momentum and on changing
    batches, so this is the shape of the ground and not a success rate.

ŵ and m̂ are the parameters behind W = tanh(ŵ) σ(m̂) or the like. A number below is that of the input, in an NMRU of x₁, x₂,
1/x₁ and 1/x₂; + and × are the adding and the multiplying cell, re and im the parts of a complex weight. A unit without
operations is shown for x₁ > x₂.

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
        [
            f"[`{one.name}`](#{one.name})",
            markdown(one.unit.label),
            f"`{one.cls.__name__}`",
            operations(one.unit),
            markdown(docstring(one.cls)[0]),
        ]
        for one in arithmetic
    ]
    return table(["name", "in papers", "module", "operations", "what it is"], rows)


def section(one: Entry, everything: list[Entry]) -> list[str]:
    """The lines on one arithmetic unit."""
    title, body, _ = docstring(one.cls)
    parent = builds_on(one, everything)
    lines = [f"## {one.name}", "", f"**{markdown(title)}**", ""]
    lines += [markdown(body), ""] if body else []
    if parent:
        lines += [f"Builds on [`{parent.name}`](#{parent.name}): {markdown(docstring(parent.cls)[0])}", ""]
    alternative = f"{one.unit.label or one.name}: its output, and its squared error along one and over two parameters"
    lines += [f"![{alternative}]({PICTURES}/{one.name}.png)", ""]
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


def pictured() -> list[Entry]:
    """The units that have a picture."""
    return [one for one in entries() if not one.baseline]


def find_fault(docs: Path, text: str, names: set[str]) -> str:
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
        fault = find_fault(options.docs, page(), {one.name for one in pictures})
        print(fault or f"{options.docs / PAGE} is up to date")
        return int(bool(fault))
    only = [name for name in options.only.split(",") if name]
    if unknown := sorted(set(only) - {one.name for one in pictures}):
        parser.error(f"no unit with a picture is named {', '.join(unknown)}")
    write(options.docs, page(), pictures, only)
    return 0


if __name__ == "__main__":
    sys.exit(main())
