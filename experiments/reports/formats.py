"""Numbers and tables as people read them."""

import ast
import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tabulate import tabulate

from experiments.reports.latex import PACKAGES, as_latex
from experiments.reports.results import FinishedRun
from nalu_jax.registry import UNITS
from nalu_jax.stats import Interval, quantiles
from nalu_jax.storage.files import write_atomic
from nalu_jax.tasks.operations import sign

SHARE = " %"  # ends the headings of shares, which are shown in per cent


def is_share(heading: str) -> bool:
    """Whether a heading is that of a share."""
    return heading.endswith(SHARE)


def title(heading: str) -> str:
    """A heading without its sign of a share."""
    return heading.removesuffix(SHARE)


def of_column(heading: str, value: float | None) -> str:
    """A number as a table shows it under a heading: an error as 1.1e-06, a share as 97.6 %."""
    if value is None or math.isnan(value):
        return "–"
    return f"{100 * value:.1f} %" if is_share(heading) else f"{value:.1e}"


def scientific(value: float | None) -> str:
    """A number as 1.1e-06; a dash if there is none."""
    return of_column("", value)


def scientific_interval(estimate: float | None, low: float, high: float) -> str:
    """An estimate with the ends of its interval, as far as they exist."""
    if estimate is None or math.isnan(estimate):
        return "–"
    return scientific(estimate) + ("" if math.isnan(low) else f" [{scientific(low)}, {scientific(high)}]")


def percent(rate: Interval) -> str:
    """A rate of seeds with its interval."""
    value, low, high = (100 * part for part in rate)
    return f"{value:.0f} % [{low:.0f}, {high:.0f}]"


def number(value: float) -> str:
    """Three digits, and a power of ten where it is shorter."""
    if not math.isfinite(value):
        return "∞"
    if value and not 1e-3 <= abs(value) < 99_999.5:
        digits, exponent = f"{value:.1e}".split("e")
        return f"{digits}e{int(exponent)}"
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:#.3g}"


def between(numbers: list[int]) -> str:
    """Whole numbers in short: the one that all are, or the least and the greatest."""
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def seeds_of(run: FinishedRun) -> str:
    """How many seeds a cell has: "25", or "3 to 10" where runs were put together."""
    return between([len(result.rows) for result in run.cells])


def spread(values: np.ndarray) -> Interval:
    """Median, lowest and highest of values f64[seeds]; a diverged seed, NaN, counts as infinitely bad."""
    low, median, high = quantiles(values, (0.0, 0.5, 1.0))
    return Interval(median, low, high)


def bracketed(values: Interval) -> str:
    """A median with the lowest and the highest in brackets, unless all seeds are alike."""
    if values.low == values.high:
        return number(values.estimate)
    return f"{number(values.estimate)} [{number(values.low)}, {number(values.high)}]"


def share_of(values: np.ndarray) -> Interval:
    """Median, lowest and highest of shares f64[seeds]; of a diverged seed, NaN, the share is 0."""
    return spread(np.nan_to_num(values, nan=0.0))


def bracketed_share(values: np.ndarray) -> str:
    """A share of each seed f64[seeds] in per cent: median, lowest and highest."""
    median, low, high = (100 * part for part in share_of(values))
    return f"{median:.1f} %" if low == high else f"{median:.1f} % [{low:.1f}, {high:.1f}]"


def write_table(stem: Path, rows: list[dict[str, str]], caption: str) -> None:
    """Writes a table as Markdown and as LaTeX."""
    write_tables(stem, [(rows, caption)])


def write_tables(stem: Path, tables: list[tuple[list[dict[str, str]], str]]) -> None:
    """Writes tables, each with its caption, into one file as Markdown and one as LaTeX.

    LaTeX has units by their paper names and operations by their signs, Markdown the names that configs have.
    """
    markdown = [
        f"{tabulate(rows, headers='keys', tablefmt='github', disable_numparse=True)}\n\n{note}" for rows, note in tables
    ]
    write_atomic(stem.with_suffix(".md"), ("\n\n".join(markdown) + "\n").encode())
    labels = [f"tab:{stem.name}" + (f"-{i}" if i > 1 else "") for i in range(1, len(tables) + 1)]
    latex = [as_latex(list(map(labelled, rows)), note, label) for (rows, note), label in zip(tables, labels, strict=True)]
    write_atomic(stem.with_suffix(".tex"), (PACKAGES + "\n\n".join(latex) + "\n").encode())


class Table(NamedTuple):
    """A table as it stands in a file: the texts of its cells."""

    headings: list[str]
    rows: list[list[str]]
    caption: str


def read_tables(path: Path) -> list[Table]:
    """The tables of a Markdown file, as ``write_tables`` wrote them; none of a file that begins otherwise."""
    found: list[Table] = []
    for block in path.read_text(encoding="utf-8").split("\n\n"):
        lines = [line.strip() for line in block.strip().splitlines()]
        if len(lines) > 1 and re.fullmatch(r"\|[-:| ]+\|", lines[1]):
            heading, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
            found.append(Table(heading, rows, ""))
        elif found:
            found[-1] = found[-1]._replace(caption=" ".join([found[-1].caption, *lines]).strip())
    return found


LABELS = {
    "cell": {"lstm": "LSTM", "gru": "GRU", "rnn_tanh": "RNN-tanh", "rnn_relu": "RNN-ReLU"}
    | {"unit": "", "exact_sum": "exact sum", "exact_product": "exact product"}
    | {"configured_nalu": "LSTM-configured NALU", "ugrnn": "UGRNN", "dnc": "DNC"},
    "readout": {"dense": "+ dense", "none": ""},
    "optimizer": {"adam": "Adam", "rmsprop": "RMSProp", "sgd": "SGD"},
}
UNIT_NAMES = ("unit", "first_layer", "last_layer", "readout_unit")  # axes whose values are units


HEADINGS = {"r_z_weight": "R_z weight"}


def labelled(row: dict[str, str]) -> dict[str, str]:
    """A row as papers have it."""
    return {label_heading(heading): label_text(heading, text) for heading, text in row.items()}


def label_heading(heading: str) -> str:
    """A heading as papers have it: a unit by its paper name, no underscores."""
    return label_unit(heading) if heading in UNITS else HEADINGS.get(heading, heading.replace("_", " "))


def label_text(heading: str, text: str) -> str:
    """A cell as papers have it: a unit by its paper name, an operation by its sign, a range as U[1, 2)."""
    if heading in UNIT_NAMES:
        return label_unit(text)
    if text in LABELS.get(heading, {}):
        return LABELS[heading][text] or text
    if heading == "operation":
        return sign(text)
    if heading.endswith("_range") and re.fullmatch(r"[\d\s.,e()-]+", text):
        return name_range(ast.literal_eval(text))
    return text


def label_unit(name: str) -> str:
    """The paper name of a unit; of one that has none its registered name."""
    return (getattr(UNITS[name](1), "label", "") or name) if name in UNITS else name


def name_range(intervals: Any) -> str:
    """A range as the papers write it, U[−2, −1); of a union each interval."""
    pairs = intervals if isinstance(intervals[0], tuple | list) else (intervals,)
    return "U" + " ∪ ".join(f"[{low:g}, {high:g})" for low, high in pairs).replace("-", "−")


def axis_texts(axes: dict[str, Any]) -> dict[str, str]:
    """The axes of a cell as the first columns of its row."""
    return {axis: str(value) for axis, value in axes.items()}
