"""Error curves: each metric against the steps, the median over seeds and a band of quartiles."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter

from experiments.reports.figures import (
    LARGEST,
    SMALLEST,
    WIDTH,
    handles_of,
    label_axis,
    legend_below,
    legend_inches,
    name_cell,
    paper_style,
    quiet,
    save,
    series_of,
)
from experiments.reports.formats import is_share, seeds_of, title
from experiments.reports.results import CellResult, FinishedRun
from nalu_jax.tasks.operations import sign

MOST_CURVES = 12
MARKED = 5  # points of a curve that bear its marker


@paper_style
def write(run: FinishedRun, folder: Path) -> None:
    """Writes curves.png and .pdf: a row a metric, a column an operation.

    Of a grid with too many cells to tell apart those that ``few_enough`` picks; the title says which.
    """
    run, note, fixed = few_enough(run)
    operations, series = run.values_of("operation"), series_of(run.cells, *fixed)
    labels = [one.label for one in series.values()]
    height = 1.75 * len(run.columns) + 0.5 + legend_inches([*labels, "solved below"])
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    panels = figure.subplots(len(run.columns), len(operations), sharex="col", sharey="row", squeeze=False)
    order = {name: i / len(series) for i, name in enumerate(series)}
    for result in run.cells:
        name = name_cell(result, *fixed)
        column = operations.index(result.axes.get("operation", ""))
        for panel, metric in zip(panels[:, column], run.columns, strict=True):
            draw_curve(panel, result, metric, order[name], label=series[name].label, **series[name].look)
    for row, (metric, heading) in zip(panels, run.columns.items(), strict=True):
        row[0].set_ylabel(axis_label(metric, heading))
        if is_share(heading):
            row[0].set_ylim(-0.03, 1.03)
            row[0].yaxis.set_major_formatter(PercentFormatter(1.0))
        else:
            row[0].set_yscale("log")
        for panel, operation in zip(row, operations, strict=True):
            mine = [result for result in run.cells if result.axes.get("operation", "") == operation]
            for threshold in {r.threshold for r in mine if r.task.threshold_metric == metric} - {0}:
                label = "solved above" if is_share(heading) else "solved below"
                panel.axhline(threshold, color="0.25", linestyle=(0, (4, 3)), linewidth=0.8, label=label)
    for panel in panels.flat:
        quiet(panel)
        panel.xaxis.set_major_locator(MaxNLocator(3 if len(operations) > 1 else 8, steps=[1, 2.5, 5, 10]))
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
        panel.margins(x=0.03)
    for top, bottom, operation in zip(panels[0], panels[-1], operations, strict=True):
        top.set_title(sign(operation))
        bottom.set_xlabel("training step")
    lines = {line.get_label(): line for panel in panels.flat for line in panel.get_lines()}
    limits = [lines[label] for label in ("solved below", "solved above") if label in lines]
    legend_below(figure, [*handles_of(series), *limits], f"median and quartiles of {seeds_of(run)} seeds")
    if note:
        figure.suptitle(note)
    save(figure, folder / "curves.png")


def draw_curve(panel: Axes, result: CellResult, metric: str, place: float, **look: Any) -> None:
    """The median of a metric with a band of its quartiles; the first marker stands a place in [0, 1) between two others."""
    steps, bands = result.quartiles(metric)
    if is_share(result.task.columns[metric]):
        bands = np.where(np.isfinite(bands), bands, np.nan)
    low, middle, high = np.clip(bands.T, SMALLEST, LARGEST)
    apart = max(1, len(steps) // MARKED)
    panel.plot(steps, middle, markevery=(int(place * apart), apart), **look)
    panel.fill_between(steps, low, high, color=look["color"], alpha=0.15, linewidth=0)


def axis_label(metric: str, heading: str) -> str:
    """The label of a metric's axis: what it is, and of an error how it is measured, "interpolation error (MSE)"."""
    if is_share(heading):
        return title(heading)
    return f"{heading} error ({metric.rsplit('_', 1)[-1].upper()})"


def few_enough(run: FinishedRun) -> tuple[FinishedRun, str, tuple[str, ...]]:
    """The part of a run that curves can tell apart, what to say of the choice, and the axes that it leaves one value of.

    All, if it is small. Else the cells with one value of each axis but unit and operation, the middle one of numbers and
    the first of others; then the first units.
    """
    if len({name_cell(result) for result in run.cells}) <= MOST_CURVES:
        return run, "", ()
    fixed = {axis: typical(run.values_of(axis)) for axis in run.axes if axis not in ("unit", "operation")}
    kept = [result for result in run.cells if all(result.axes[axis] == value for axis, value in fixed.items())]
    note = [label_axis(axis, value) or f"{axis} {value}" for axis, value in fixed.items() if value != ""]
    units = run._replace(cells=kept).values_of("unit")
    if len(units) > MOST_CURVES:
        note.append(f"the first {MOST_CURVES} of {len(units)} units")
    kept = [result for result in kept if result.axes.get("unit", "") in units[:MOST_CURVES]]
    return run._replace(cells=kept), f"only {', '.join(note)}: {len(kept)} of {len(run.cells)} cells", tuple(fixed)


def typical(values: list[Any]) -> Any:
    """The middle one of numbers, the lower of two; the first of anything else."""
    if all(isinstance(value, int | float) for value in values):
        return sorted(values)[(len(values) - 1) // 2]
    return values[0]
