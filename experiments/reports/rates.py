"""Success rate against the learning rate."""

import itertools
import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from experiments.reports.figures import (
    MOST_SERIES,
    WIDTH,
    Series,
    block_of,
    handles_of,
    heat_maps,
    label_axis,
    legend_below,
    legend_inches,
    name_cell,
    paper_style,
    quiet,
    save,
    series_of,
)
from experiments.reports.results import CellResult, FinishedRun
from nalu_jax.stats import success_rate
from nalu_jax.tasks.operations import sign

ACROSS = ("learning_rate", "optimizer")  # axes that do not tell series apart


@paper_style
def write(run: FinishedRun, folder: Path) -> None:
    """Writes rates.png and .pdf: success rates at each learning rate, for each operation and optimizer.

    Cells that differ in anything else are series of their own: up to eight are lines, more a heat map. A grid with fewer
    than two learning rates has no such picture.
    """
    places = sorted({result.axes.get("learning_rate", 0.0) for result in run.cells})
    if len(places) < 2:
        return
    series = series_of(run.cells, *ACROSS)
    draw = draw_lines if len(series) <= MOST_SERIES else draw_heat_maps
    save(draw(run, series, places), folder / "rates.png")


def draw_heat_maps(run: FinishedRun, series: dict[str, Series], places: list[float]) -> Figure:
    """A block an operation and optimizer, a row a series and a column a learning rate."""
    blocks = []
    for operation, optimizer in itertools.product(run.values_of("operation"), run.values_of("optimizer")):
        title = ", ".join(filter(None, [sign(operation), label_axis("optimizer", optimizer)]))
        blocks.append(block_of(title, operation, cells_of(run, operation, optimizer), series, places, *ACROSS))
    labels = [one.label for one in series.values()], [name_rate(place) for place in places]
    return heat_maps(blocks, *labels, below="learning rate", seeds=len(run.cells[0].rows))


def draw_lines(run: FinishedRun, series: dict[str, Series], places: list[float]) -> Figure:
    """Lines with 95 % intervals, a row an operation and a column an optimizer."""
    operations, optimizers = run.values_of("operation"), run.values_of("optimizer")
    labels = [one.label for one in series.values()]
    height = 1.15 * len(operations) + 0.7 + legend_inches(labels)
    figure = Figure(figsize=(WIDTH, max(height, 2.4)), layout="constrained")
    panels = figure.subplots(len(operations), len(optimizers), sharex=True, sharey=True, squeeze=False)
    for (row, operation), (column, optimizer) in itertools.product(enumerate(operations), enumerate(optimizers)):
        draw_rates(panels[row, column], cells_of(run, operation, optimizer), places, series)
    for operation, panel in zip(operations, panels[:, 0], strict=True):
        panel.set_ylabel("\n".join(filter(None, [sign(operation), "success rate"])))
    for optimizer, top, bottom in zip(optimizers, panels[0], panels[-1], strict=True):
        top.set_title(label_axis("optimizer", optimizer))
        bottom.set_xlabel("learning rate")
    panels[0, 0].set_ylim(-0.04, 1.04)
    panels[0, 0].set_yticks([0.0, 0.5, 1.0])
    panels[0, 0].yaxis.set_major_formatter(PercentFormatter(1.0))
    title = f"success rate with its 95 % interval, {len(run.cells[0].rows)} seeds a point"
    if any(labels):
        legend_below(figure, handles_of(series), title)
    else:
        figure.suptitle(title)
    return figure


def cells_of(run: FinishedRun, operation: str, optimizer: str) -> list[CellResult]:
    """The cells of an operation and an optimizer."""
    here = {"operation": operation, "optimizer": optimizer}
    return [result for result in run.cells if all(result.axes.get(axis, "") == value for axis, value in here.items())]


def draw_rates(panel: Axes, cells: list[CellResult], places: list[float], series: dict[str, Series]) -> None:
    """A line for each series from rate to rate, side by side around each rate."""
    quiet(panel)
    panel.set_xscale("log")
    tens = [place for place in places if f"{place:e}".startswith("1.000000e")]
    shown = tens if len(tens) > 1 else places
    panel.set_xticks(shown, [name_rate(place) for place in shown])
    panel.set_xticks(places, [""] * len(places), minor=True)
    gaps = np.diff(np.log(places))
    room = min(0.5 * gaps.min(), 0.1 * gaps.sum())
    for i, (name, one) in enumerate(series.items()):
        mine = [cell for cell in cells if name_cell(cell, *ACROSS) == name]
        if not mine:
            continue
        mine.sort(key=lambda cell: cell.axes["learning_rate"])
        aside = math.exp(room * ((i + 0.5) / len(series) - 0.5))
        where = [aside * cell.axes["learning_rate"] for cell in mine]
        intervals = [success_rate(int(cell.solved.sum()), len(cell.solved)) for cell in mine]
        panel.plot(where, [interval.estimate for interval in intervals], clip_on=False, **one.look)
        ends = [interval.low for interval in intervals], [interval.high for interval in intervals]
        panel.vlines(where, *ends, color=one.look["color"], linewidth=0.9, alpha=0.6)


def name_rate(rate: float) -> str:
    """A learning rate as a power of ten, 3·10⁻⁴."""
    digits, exponent = f"{rate:e}".split("e")
    factor = "" if float(digits) == 1 else rf"{float(digits):g} \cdot "
    return f"${factor}10^{{{int(exponent)}}}$"
