"""Success, step and sparsity of each unit on each range, as the figures of Mistry, Farrahi & Hare 2022."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, NullLocator, PercentFormatter

from experiments.reports.figures import (
    MOST_SERIES,
    WIDTH,
    Series,
    block_of,
    handles_of,
    heat_maps,
    legend_below,
    legend_inches,
    name_cell,
    name_range,
    paper_style,
    quiet,
    save,
    series_of,
)
from experiments.reports.formats import seeds_of
from experiments.reports.results import CellResult, FinishedRun
from experiments.reports.summary import summary_row
from nalu_jax.tasks.operations import sign

SPARSE = 1e-8  # sparsity errors below are drawn at the edge
ESTIMATES = {"success": "success_rate", "solved_at": "solved_at_mean", "sparsity_error": "sparsity_error_mean"}


@paper_style
def write(run: FinishedRun, folder: Path) -> None:
    """Writes ranges.png and .pdf: how each unit fares on each range.

    Of up to eight units their intervals, of more a heat map of success rates. A grid without an axis of interpolation ranges
    has no such picture.
    """
    if "interpolation_range" not in run.axes:
        return
    series = series_of(run.cells, "interpolation_range")
    draw = draw_intervals if len(series) <= MOST_SERIES else draw_heat_maps
    save(draw(run, series), folder / "ranges.png")


def draw_heat_maps(run: FinishedRun, series: dict[str, Series]) -> Figure:
    """Success rates, a block an operation, a row a unit and a column a range."""
    places = run.values_of("interpolation_range")
    blocks = []
    for operation in run.values_of("operation"):
        cells = [result for result in run.cells if result.axes.get("operation", "") == operation]
        blocks.append(block_of(sign(operation), operation, cells, series, places, "interpolation_range"))
    labels = [one.label for one in series.values()], [name_range(place) for place in places]
    return heat_maps(blocks, *labels, below="range of training inputs", seeds=seeds_of(run))


def draw_intervals(run: FinishedRun, series: dict[str, Series]) -> Figure:
    """Success rate, solved at step and sparsity error of each unit on each range, a row an operation.

    Each with its 95 % interval; the latter two are over the solved seeds, and absent where there is none. Laid out as the
    figures of Mistry, Farrahi & Hare 2022, "A primer for neural arithmetic logic modules".
    """
    operations, places = run.values_of("operation"), run.values_of("interpolation_range")
    labels = [one.label for one in series.values()]
    height = 1.25 * len(operations) + 1.1 + legend_inches(labels)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    panels = figure.subplots(len(operations), 3, sharex=True, sharey="col", squeeze=False)
    for operation, row in zip(operations, panels, strict=True):
        cells = [result for result in run.cells if result.axes.get("operation", "") == operation]
        draw_ranges(row, cells, places, series)
        row[0].set_ylabel(sign(operation))
    for panel, title in zip(panels[0], ("success rate", "solved at step", "sparsity error"), strict=True):
        panel.set_title(title)
    for panel in panels[-1]:
        panel.set_xticks(range(len(places)), [name_range(place) for place in places], rotation=90)
    panels[-1, 1].set_xlabel("range of training inputs")
    panels[0, 0].set_ylim(-0.03, 1.03)
    panels[0, 0].yaxis.set_major_formatter(PercentFormatter(1.0))
    steps = max(result.result["steps"] for result in run.cells)
    top = min(1.03 * steps, max(0.2 * steps, panels[0, 1].get_ylim()[1]))
    panels[0, 1].set_ylim(-0.03 * top, top)
    panels[0, 1].yaxis.set_major_locator(MaxNLocator(5))
    panels[0, 1].yaxis.set_major_formatter(EngFormatter(sep=""))
    panels[0, 2].set_yscale("log")
    panels[0, 2].set_ylim(SPARSE / 1.8, 0.9)
    panels[0, 2].set_yticks([SPARSE, 1e-6, 1e-4, 1e-2], ["≤ $10^{-8}$", "$10^{-6}$", "$10^{-4}$", "$10^{-2}$"])
    panels[0, 2].yaxis.set_minor_locator(NullLocator())
    title = f"means and 95 % intervals of {seeds_of(run)} seeds; of step and sparsity error, of those solved"
    legend_below(figure, handles_of(series), title)
    return figure


def draw_ranges(row: np.ndarray, cells: list[CellResult], places: list[Any], series: dict[str, Series]) -> None:
    """The three panels of an operation: its units side by side at each range."""
    names = [name for name in series if name in {name_cell(cell, "interpolation_range") for cell in cells}]
    for panel in row:
        quiet(panel)
        panel.grid(visible=False, axis="x")
        panel.tick_params(axis="x", length=0)
        panel.set_xlim(-0.5, len(places) - 0.5)
        for place in range(0, len(places), 2):
            panel.axvspan(place - 0.5, place + 0.5, color="0.95", zorder=0, linewidth=0)
    for cell in cells:
        name = name_cell(cell, "interpolation_range")
        place = places.index(cell.axes["interpolation_range"]) + 0.84 * ((names.index(name) + 0.5) / len(names) - 0.5)
        summary = summary_row(cell)
        for panel, (kind, estimate) in zip(row, ESTIMATES.items(), strict=True):
            interval = [summary[estimate], summary[f"{kind}_low"], summary[f"{kind}_high"]]
            draw_interval(panel, place, series[name].look, np.maximum(interval, SPARSE if kind == "sparsity_error" else 0.0))


def draw_interval(panel: Axes, place: float, look: dict[str, Any], interval: np.ndarray) -> None:
    """A marker at the estimate and a line from end to end of its interval (estimate, low, high), as far as they exist."""
    estimate, low, high = interval
    if not np.isfinite(estimate):
        return
    if np.isfinite([low, high]).all():
        panel.vlines(place, low, high, color=look["color"], linewidth=0.9)
    panel.plot(place, estimate, clip_on=False, **look)
