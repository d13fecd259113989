"""The picture of what scripts/scaling.py measured: docs/performance.png."""

import itertools
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from experiments.reports.figures import COLOURS, quiet, save

Rounds = list[float]  # a number a round
Curve = list[Rounds | None]  # one a place on the x axis; None where nothing is measured

SPEED = "seed-steps / s"
SETTING = (
    "NAC, 100 seeds, 100 inputs, hidden size 2, batches of 128, where a panel does not say otherwise; "
    "median, lowest and highest round"
)
SPAN = 1.0  # decades that a logarithmic axis shows at least, so that what is flat looks flat


def draw(results: dict[str, Any], path: Path) -> None:
    """Writes the picture of all parts that there are results of."""
    figure = Figure(figsize=(11.0, 6.6), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08, wspace=0.03, hspace=0.04)
    panels = dict(zip(DRAWINGS, figure.subplots(2, 3).flat, strict=True))
    for letter, (title, panel) in zip("abcdef", panels.items(), strict=True):
        quiet(panel)
        panel.set_title(f"{letter}   {title}", loc="left", fontsize=10, fontweight="bold")
        if not DRAWINGS[title](panel, results):
            panel.text(0.5, 0.5, "not measured", transform=panel.transAxes, ha="center", color="0.5")
            panel.set(xticks=[], yticks=[])
    machines = sorted({f"jax {one['jax']}, {one['devices']} {one['platform']} devices" for one in results.values()})
    figure.supxlabel("; ".join([SETTING, *machines]), x=0.99, ha="right", fontsize=8, color="0.35")
    save(figure, path)


def draw_seeds(panel: Axes, results: dict[str, Any]) -> bool:
    """Speed against seeds, a curve a unit."""
    return draw_curves(panel, results.get("seeds"), "seeds", SPEED)


def draw_inputs(panel: Axes, results: dict[str, Any]) -> bool:
    """Speed against the input size; on the right what that is in numbers drawn, the least that a step must do."""
    if not (found := results.get("inputs")):
        return False
    (rounds,) = found["curves"].values()
    plot(panel, found["x"], rounds, COLOURS[0], SPEED)
    log_axes(panel, found["x"], "inputs", SPEED, COLOURS[0])
    numbers = [[speed * size * found["batch"] for speed in speeds] for size, speeds in zip(found["x"], rounds, strict=True)]
    right = second_axis(panel)
    plot(right, found["x"], numbers, COLOURS[1], "numbers / s", marker="s")
    log_axes(right, found["x"], "inputs", "random numbers in batches / s", COLOURS[1])
    return True


def draw_hidden(panel: Axes, results: dict[str, Any]) -> bool:
    """Speed against the hidden size, and where the one kind of product takes over from the other."""
    if drawn := draw_curves(panel, results.get("hidden"), "hidden size", SPEED):
        mark(panel, results["hidden"]["few_outputs"] + 0.5, "few | many")
    return drawn


def draw_units(panel: Axes, results: dict[str, Any]) -> bool:
    """Speed of each unit, the fastest on top."""
    if not (found := results.get("units")):
        return False
    order = sorted(zip(found["x"], found["curves"]["speed"], strict=True), key=lambda one: statistics.median(one[1]))
    for at, (_, rounds) in enumerate(order):
        panel.hlines(at, min(rounds), max(rounds), color=COLOURS[0], linewidth=1.2)
        panel.plot(statistics.median(rounds), at, "o", color=COLOURS[0], markersize=4.5)
    panel.set_yticks(range(len(order)), [name for name, _ in order], fontsize=8.5)
    panel.set(xscale="log", xlabel=SPEED)
    panel.set_xlim(spanned(panel.get_xlim()))
    ticks(panel.xaxis, panel.get_xlim())
    return True


def draw_blocks(panel: Axes, results: dict[str, Any]) -> bool:
    """Speed against the block, and the block that is chosen."""
    if drawn := draw_curves(panel, results.get("blocks"), "seeds in a block", SPEED):
        mark(panel, results["blocks"]["chosen"], "chosen")
    return drawn


def draw_costs(panel: Axes, results: dict[str, Any]) -> bool:
    """Seconds to compile, and on the right peak memory, against seeds."""
    if "compile" not in results and "memory" not in results:
        return False
    right = second_axis(panel)
    for axes, name, label, colour, marker in (
        (panel, "compile", "seconds to compile", COLOURS[0], "o"),
        (right, "memory", "peak memory / MiB", COLOURS[1], "s"),
    ):
        if found := results.get(name):
            plot(axes, found["x"], found["curves"]["nac"], colour, name, marker=marker)
            log_axes(axes, found["x"], "seeds", label, colour)
    return True


DRAWINGS: dict[str, Callable[[Axes, dict[str, Any]], bool]] = {
    "number of seeds": draw_seeds,
    "size of the input": draw_inputs,
    "size of the hidden layer": draw_hidden,
    "units": draw_units,
    "seeds trained at a time": draw_blocks,
    "compiling and memory": draw_costs,
}


def draw_curves(panel: Axes, found: dict[str, Any] | None, xlabel: str, ylabel: str) -> bool:
    """The curves of a part, if there is one, with a legend if there are several."""
    if not found:
        return False
    for i, (name, rounds) in enumerate(found["curves"].items()):
        plot(panel, found["x"], rounds, COLOURS[i], name, marker="os^"[i])
    log_axes(panel, found["x"], xlabel, ylabel)
    if len(found["curves"]) > 1:
        panel.legend(fontsize=8.5, facecolor="white", edgecolor="none", framealpha=1)
    return True


def plot(panel: Axes, x: list[float], curve: Curve, colour: str, label: str, marker: str = "o") -> None:
    """Medians as a curve, from the lowest to the highest round as bars."""
    points = [(at, rounds) for at, rounds in zip(x, curve, strict=True) if rounds]
    places = [at for at, _ in points]
    medians = [statistics.median(rounds) for _, rounds in points]
    panel.plot(places, medians, marker=marker, color=colour, markersize=4.5, linewidth=1.4, label=label)
    panel.vlines(places, [min(r) for _, r in points], [max(r) for _, r in points], color=colour, linewidth=1.2)


def log_axes(panel: Axes, x: list[float], xlabel: str, ylabel: str, colour: str = "black") -> None:
    """Logarithmic axes; the ticks on x are the places where there are measurements, as far as they have room."""
    panel.set(xscale="log", yscale="log", xlabel=xlabel)
    panel.set_ylabel(ylabel, color=colour)
    panel.tick_params(axis="y", colors=colour, which="both")
    panel.tick_params(axis="x", labelsize=8.5)
    room = (x[-1] / x[0]) ** 0.05
    places = [x[0]] + [right for left, right in itertools.pairwise(x) if right / left > room]
    panel.xaxis.set_major_locator(FixedLocator(places) if x[-1] <= 1000 * x[0] else LogLocator())
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(short))
    panel.set_ylim(spanned(panel.get_ylim()))
    ticks(panel.yaxis, panel.get_ylim())


def spanned(limits: tuple[float, float]) -> tuple[float, float]:
    """The limits of an axis, apart as far as they must be."""
    low, high = map(math.log10, limits)
    more = max(0.0, SPAN - (high - low)) / 2
    return 10 ** (low - more), 10 ** (high + more)


def ticks(axis: Any, limits: tuple[float, float]) -> None:
    """Ticks at 1, 2 and 5 of each decade, or at the decades alone if there are many."""
    many = math.log10(limits[1] / limits[0]) > 2.5
    axis.set_major_locator(LogLocator(subs=(1.0,) if many else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(short))
    axis.set_minor_formatter(NullFormatter())


def short(value: float, _: int | None = None) -> str:
    """A number as 0.5, 20, 100k, 2M or 5G."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size * (1 - 1e-9):
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def second_axis(panel: Axes) -> Axes:
    """A y axis on the right, over the same x."""
    right = panel.twinx()
    right.spines[["top", "left"]].set_visible(False)
    right.spines["right"].set_visible(True)
    return right


def mark(panel: Axes, x: float, text: str) -> None:
    """A dashed line at x, with words at its foot."""
    panel.axvline(x, color="0.35", linestyle=(0, (4, 3)), linewidth=0.9, zorder=1)
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    panel.text(x, 0.03, text, transform=panel.get_xaxis_transform(), ha="center", fontsize=8, color="0.35", bbox=box)
