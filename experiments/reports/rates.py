"""Success rate against the learning rate."""

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from experiments.reports.figures import look_of, name_cell, outside_legend, quiet, save
from experiments.reports.results import CellResult, FinishedRun
from nalu_jax.stats import success_rate
from nalu_jax.tasks.operations import sign


def write(run: FinishedRun, folder: Path) -> None:
    """Writes rates.png: success rates with 95 % intervals, a row an operation and a column an optimizer.

    Cells that differ in anything else are lines of their own. A grid with fewer than two learning rates has no such
    picture.
    """
    places = sorted({result.axes.get("learning_rate", 0.0) for result in run.cells})
    if len(places) < 2:
        return
    operations, optimizers = run.values_of("operation"), run.values_of("optimizer")
    labels = list(dict.fromkeys(name_cell(result, "learning_rate", "optimizer") for result in run.cells))
    looks = {label: look_of(i) for i, label in enumerate(labels)}
    beside = 0.08 * max(map(len, labels)) + 0.7 if any(labels) else 0.0  # inches that the legend takes
    width = max(4.8, 2.8 * len(optimizers) + 0.6) + beside
    height = max(1.8 * len(operations) + 1.1, 0.23 * len(labels) + 0.3, 2.9)
    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(len(operations), len(optimizers), sharex=True, sharey=True, squeeze=False)
    for (row, operation), (column, optimizer) in itertools.product(enumerate(operations), enumerate(optimizers)):
        here = {"operation": operation, "optimizer": optimizer}
        cells = [result for result in run.cells if all(result.axes.get(axis, "") == value for axis, value in here.items())]
        draw_rates(panels[row, column], cells, places, looks)
    for operation, panel in zip(operations, panels[:, 0], strict=True):
        panel.set_ylabel(sign(operation), fontsize=12)
    for optimizer, top, bottom in zip(optimizers, panels[0], panels[-1], strict=True):
        top.set_title(str(optimizer), fontsize=11)
        bottom.set_xlabel("learning rate")
    panels[0, 0].set_ylim(-0.04, 1.04)
    panels[0, 0].set_yticks([0.0, 0.25, 0.5, 0.75, 1.0])
    panels[0, 0].yaxis.set_major_formatter(PercentFormatter(1.0))
    title = f"success rate with its 95 % interval, {len(run.cells[0].rows)} seeds a point"
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    if any(labels):
        outside_legend(figure, {label: Line2D([], [], linewidth=1, **look) for label, look in looks.items()}, "")
    save(figure, folder / "rates.png")


def draw_rates(panel: Axes, cells: list[CellResult], places: list[float], looks: dict[str, Any]) -> None:
    """A line for each label from rate to rate, the labels side by side around each rate."""
    quiet(panel)
    panel.set_xscale("log")
    tens = [place for place in places if f"{place:e}".startswith("1.000000e")]
    shown = tens if len(tens) > 1 else places
    panel.set_xticks(shown, [name_rate(place) for place in shown])
    panel.set_xticks(places, [""] * len(places), minor=True)
    gaps = np.diff(np.log(places))
    room = min(0.5 * gaps.min(), 0.1 * gaps.sum())
    for i, (label, look) in enumerate(looks.items()):
        mine = [cell for cell in cells if name_cell(cell, "learning_rate", "optimizer") == label]
        mine.sort(key=lambda cell: cell.axes["learning_rate"])
        aside = math.exp(room * ((i + 0.5) / len(looks) - 0.5))
        where = [aside * cell.axes["learning_rate"] for cell in mine]
        intervals = [success_rate(int(cell.solved.sum()), len(cell.solved)) for cell in mine]
        panel.plot(where, [interval.estimate for interval in intervals], linewidth=1, **look)
        ends = [interval.low for interval in intervals], [interval.high for interval in intervals]
        panel.vlines(where, *ends, color=look["color"], linewidth=1, alpha=0.6)


def name_rate(rate: float) -> str:
    """A learning rate as a power of ten, 3·10⁻⁴."""
    digits, exponent = f"{rate:e}".split("e")
    factor = "" if float(digits) == 1 else rf"{float(digits):g} \cdot "
    return f"${factor}10^{{{int(exponent)}}}$"
