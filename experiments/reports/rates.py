"""Success rate against the numbers that a grid sweeps: learning rates, sizes, weights of penalties."""

import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from experiments.reports.figures import (
    AXIS_LABELS,
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
from experiments.reports.formats import seeds_of
from experiments.reports.results import CellResult, FinishedRun
from nalu_jax.stats import success_rate
from nalu_jax.tasks.operations import sign


class Sweep(NamedTuple):
    """A number that the grid sweeps.

    Attributes:
      axis: its name.
      places: its values, from the lowest to the highest.
    """

    axis: str
    places: list[float]

    @property
    def without(self) -> tuple[str, str]:
        """The axes that do not tell series apart: this one, and that of the columns."""
        return self.axis, "optimizer"

    @property
    def label(self) -> str:
        """What is written below its axis."""
        return AXIS_LABELS.get(self.axis, self.axis.replace("_", " "))

    @property
    def logarithmic(self) -> bool:
        """Whether it spans so much that its axis is a logarithmic one."""
        return (self.places[0] > 0 and self.places[-1] >= 100 * self.places[0]) or self.axis == "learning_rate"

    def name(self, place: float) -> str:
        """A place as ticks write it: a learning rate as a power of ten, 3·10⁻⁴."""
        if self.axis != "learning_rate":
            return f"{place:g}"
        digits, exponent = f"{place:e}".split("e")
        factor = "" if float(digits) == 1 else rf"{float(digits):g} \cdot "
        return f"${factor}10^{{{int(exponent)}}}$"


@paper_style
def write(run: FinishedRun, folder: Path) -> None:
    """Writes rates.png, .pdf and .svg: success rates at each learning rate, for each operation and optimizer.

    So it writes rates_AXIS.png for each other axis of the grid with three numbers or more, such as rates_hidden_size.png.
    Cells that differ in anything else are series of their own: up to eight are lines, more a heat map.
    """
    for axis in dict.fromkeys(axis for result in run.cells for axis in result.axes):
        values = {result.value_of(axis) for result in run.cells} - {""}
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        if numbers and len(values) >= (2 if axis == "learning_rate" else 3):
            sweep = Sweep(axis, sorted(values))
            series = series_of(run.cells, *sweep.without)
            draw = draw_lines if len(series) <= MOST_SERIES else draw_heat_maps
            save(draw(run, series, sweep), folder / ("rates.png" if axis == "learning_rate" else f"rates_{axis}.png"))


def draw_heat_maps(run: FinishedRun, series: dict[str, Series], sweep: Sweep) -> Figure:
    """A block an operation and optimizer, a row a series and a column a place."""
    blocks = []
    for operation, optimizer in itertools.product(run.values_of("operation"), optimizers_of(run)):
        title = ", ".join(filter(None, [sign(operation), label_axis("optimizer", optimizer)]))
        blocks.append(block_of(title, operation, cells_of(run, operation, optimizer), series, sweep.places, *sweep.without))
    labels = [one.label for one in series.values()], [sweep.name(place) for place in sweep.places]
    return heat_maps(blocks, *labels, below=sweep.label, seeds=seeds_of(run))


def optimizers_of(run: FinishedRun) -> list[str]:
    """The optimizers of a grid that has more than one, else an empty name."""
    found = list(dict.fromkeys(result.value_of("optimizer") for result in run.cells if "optimizer" in result.axes))
    return found or [""]


def draw_lines(run: FinishedRun, series: dict[str, Series], sweep: Sweep) -> Figure:
    """Lines with 95 % intervals, a row an operation and a column an optimizer."""
    operations, optimizers = run.values_of("operation"), optimizers_of(run)
    labels = [one.label for one in series.values()]
    height = 1.15 * len(operations) + 0.7 + legend_inches(labels)
    figure = Figure(figsize=(WIDTH, max(height, 2.4)), layout="constrained")
    panels = figure.subplots(len(operations), len(optimizers), sharex=True, sharey=True, squeeze=False)
    for (row, operation), (column, optimizer) in itertools.product(enumerate(operations), enumerate(optimizers)):
        draw_rates(panels[row, column], cells_of(run, operation, optimizer), sweep, series)
    for operation, panel in zip(operations, panels[:, 0], strict=True):
        panel.set_ylabel("\n".join(filter(None, [sign(operation), "success rate"])))
    for optimizer, top, bottom in zip(optimizers, panels[0], panels[-1], strict=True):
        top.set_title(label_axis("optimizer", optimizer))
        bottom.set_xlabel(sweep.label)
    panels[0, 0].set_ylim(-0.04, 1.04)
    panels[0, 0].set_yticks([0.0, 0.5, 1.0])
    panels[0, 0].yaxis.set_major_formatter(PercentFormatter(1.0))
    title = f"success rate with its 95 % interval, {seeds_of(run)} seeds a point"
    if any(labels):
        legend_below(figure, handles_of(series), title)
    else:
        figure.suptitle(title)
    return figure


def cells_of(run: FinishedRun, operation: str, optimizer: str) -> list[CellResult]:
    """The cells of an operation and an optimizer."""
    return [
        result
        for result in run.cells
        if result.axes.get("operation", "") == operation and optimizer in ("", result.value_of("optimizer"))
    ]


def draw_rates(panel: Axes, cells: list[CellResult], sweep: Sweep, series: dict[str, Series]) -> None:
    """A line for each series from place to place, side by side around each."""
    quiet(panel)
    panel.set_xscale("log" if sweep.logarithmic else "linear")
    tens = [place for place in sweep.places if f"{place:e}".startswith("1.000000e")]
    shown = tens if sweep.logarithmic and len(tens) > 1 else sweep.places
    panel.set_xticks(shown, [sweep.name(place) for place in shown])
    panel.set_xticks(sweep.places, [""] * len(sweep.places), minor=True)
    gaps = np.diff(np.log(sweep.places) if sweep.logarithmic else sweep.places)
    room = min(0.5 * gaps.min(), 0.1 * gaps.sum())
    for i, (name, one) in enumerate(series.items()):
        mine = [cell for cell in cells if name_cell(cell, *sweep.without) == name]
        if not mine:
            continue
        mine.sort(key=lambda cell: cell.value_of(sweep.axis))
        at, aside = np.array([cell.value_of(sweep.axis) for cell in mine]), room * ((i + 0.5) / len(series) - 0.5)
        where = at * np.exp(aside) if sweep.logarithmic else at + aside
        intervals = [success_rate(int(cell.solved.sum()), len(cell.solved)) for cell in mine]
        panel.plot(where, [interval.estimate for interval in intervals], clip_on=False, **one.look)
        ends = [interval.low for interval in intervals], [interval.high for interval in intervals]
        panel.vlines(where, *ends, color=one.look["color"], linewidth=0.9, alpha=0.6)
