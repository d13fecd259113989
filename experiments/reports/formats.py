"""Numbers and tables as people read them."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from nalu_jax.stats import Interval, quantiles
from nalu_jax.storage.files import write_atomic

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
    """Writes a table as Markdown and as LaTeX (booktabs)."""
    write_tables(stem, [(rows, caption)])


def write_tables(stem: Path, tables: list[tuple[list[dict[str, str]], str]]) -> None:
    """Writes tables, each with its caption, into one file as Markdown and one as LaTeX (booktabs)."""
    markdown = [
        f"{tabulate(rows, headers='keys', tablefmt='github', disable_numparse=True)}\n\n{note}" for rows, note in tables
    ]
    write_atomic(stem.with_suffix(".md"), ("\n\n".join(markdown) + "\n").encode())
    latex = [as_latex(rows, caption) for rows, caption in tables]
    write_atomic(stem.with_suffix(".tex"), ("% needs \\usepackage{booktabs}\n" + "\n\n".join(latex) + "\n").encode())


def as_latex(rows: list[dict[str, str]], caption: str) -> str:
    """A table as LaTeX, its caption as a comment below."""
    latex = tabulate(rows, headers="keys", tablefmt="latex_booktabs", disable_numparse=True)
    for character, command in LATEX.items():
        latex = latex.replace(character, command)
    return f"{latex}\n% " + caption.replace("%", r"\%")


LATEX = {
    **{"–": "--", "−": "$-$", "√": r"$\surd$", "×": r"$\times$", "÷": r"$\div$", "²": "$^2$", "∞": r"$\infty$"},
    "σ": r"$\sigma$",
}


def axis_texts(axes: dict[str, Any]) -> dict[str, str]:
    """The axes of a cell as the first columns of its row."""
    return {axis: str(value) for axis, value in axes.items()}
