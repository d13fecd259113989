"""Error against the length of the sequences."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from matplotlib.transforms import blended_transform_factory

from experiments.reports.figures import SMALLEST, look_of, name_cell, outside_legend, quiet, save
from experiments.reports.formats import spread
from experiments.reports.lengths import check as check
from experiments.reports.lengths import errors, known_lengths, made_of, metric_at, task_of
from experiments.reports.results import CellResult, FinishedRun, predictors
from nalu_jax.tasks.digit_sequences import DigitSequences

MOST_LINEAR = 30  # longer sequences are drawn on a logarithmic axis
STYLES = {"unit": "-", "accumulator": (0, (5, 1.5, 1, 1.5)), "readout": (0, (5, 2)), "none": (0, (1, 1.3)), "exact": "-"}


def write(run: FinishedRun, folder: Path) -> None:
    """Writes lengths.png: the error at each length, and the error per image; a flat line there is perfect extrapolation.

    Medians as lines, bands from the lowest to the highest seed; predictors that see no image in grey. Products have, in
    place of the error per image, the error over that of the true mean. A grid with fewer than two lengths has no such
    picture.
    """
    if len(known_lengths(run)) < 2:
        return
    looks = looks_of(run)
    figure = Figure(figsize=(10.2 + 0.07 * max(map(len, looks)), max(4.2, 0.22 * len(looks) + 1.0)), layout="constrained")
    whole, share = figure.subplots(1, 2, sharex=True)
    product = any(task_of(result).total == "product" for result in run.cells)
    grey = []
    for predictor in predictors(run):
        task = task_of(predictor.like)
        means = np.array([predictor.metrics[metric_at(task, "mae", length)] for length in task.lengths])
        grey.append((next(iter(predictor.axes.values())), task, means))
    unit = {task: means if product else np.array(task.lengths) for label, task, means in grey if label == "true mean"}
    for result in run.cells:
        task = task_of(result)
        bands = np.array([spread(found) for n in task.lengths if (found := errors(result, "mae", n)) is not None]).T
        for panel, scale in ((whole, 1), (share, unit[task])):
            middle, low, high = np.where(np.isfinite(bands), np.maximum(bands / np.asarray(scale), SMALLEST), np.nan)
            look = looks[name_cell(result)]
            panel.plot(task.lengths, middle, zorder=3 if look["color"] == "black" else 2.5, **look)
            up_to = np.where(np.isnan(high), middle, high)  # without diverged seeds
            panel.fill_between(task.lengths, low, up_to, color=look["color"], alpha=0.12, linewidth=0)
    finish(whole, run, "mean absolute error", grey)
    shares = [(label, task, means / unit[task]) for label, task, means in grey]
    finish(share, run, "error over that of the true mean" if product else "error per image", shares)
    diverged = {name_cell(result): int(np.isfinite(result.seeds["diverged_at"]).sum()) for result in run.cells}
    names = {label: f"{label} ({diverged[label]} diverged)" if diverged[label] else label for label in looks}
    handles = {names[label]: Line2D([], [], **look) for label, look in looks.items()}
    title = f"median, lowest and highest\nof {len(run.cells[0].rows)} seeds"
    outside_legend(figure, handles, title, handlelength=3.2)
    save(figure, folder / "lengths.png")


def looks_of(run: FinishedRun) -> dict[str, dict[str, Any]]:
    """How the line of each cell looks: a colour and marker for what it is made of, a line style for its form."""
    colours = [i for i in range(12 * len(run.cells)) if look_of(i)["color"] != "#000000"]  # black is the exact cells'
    kinds = {name_cell(result): kind_of(result) for result in run.cells}
    made = list(dict.fromkeys(kind for result in run.cells if form_of(result) != "exact" for kind in [kind_of(result)]))
    looks = {}
    for result in run.cells:
        label, exact = name_cell(result), form_of(result) == "exact"
        look: dict[str, Any] = {"color": "black", "marker": ""} if exact else look_of(colours[made.index(kinds[label])])
        looks[label] = look | {"linestyle": STYLES[form_of(result)], "linewidth": 1.7 if exact else 1.4}
    return looks


def kind_of(result: CellResult) -> str:
    """What a cell is made of, with the axes that say nothing of its form."""
    return f"{made_of(result)} {name_cell(result, 'unit', 'cell', 'readout')}"


def form_of(result: CellResult) -> str:
    """The form of a cell: of units "unit" or "accumulator", of Flax's with a "readout" or "none", or "exact"."""
    network = result.cell.config.network
    if network.cell in ("unit", "accumulator"):
        return network.cell
    if network.cell.startswith("exact"):
        return "exact"
    return "none" if network.readout == "none" else "readout"


def finish(panel: Axes, run: FinishedRun, title: str, grey: list[tuple[str, DigitSequences, np.ndarray]]) -> None:
    """The axes of a panel of lengths: what explodes is cut off, the training length marked, the predictors grey."""
    shown = known_lengths(run)
    far = shown[-1] > MOST_LINEAR
    panel.set(xscale="log" if far else "linear", yscale="log", xlabel="images in a sequence", ylabel=title)
    quiet(panel)
    first, last = (shown[0] / 1.2, shown[-1] * 1.2) if far else (shown[0] - 0.6, shown[-1] + 0.6)
    panel.set_xlim(first, last)
    panel.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    heights = np.concatenate([np.asarray(line.get_ydata(), float) for line in panel.get_lines()])
    known = np.concatenate([means for *_, means in grey])
    heights = np.concatenate([heights[heights > 0], known])
    low, high = max(heights.min(), 1e-5 * known.min()) / 1.6, min(heights.max(), 100 * known.max()) * 1.6
    panel.set_ylim(low, high)
    if high < 100 * low:  # too few powers of ten to name these alone
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        panel.yaxis.set_minor_formatter(NullFormatter())
    ends = []
    for name, task, means in grey:
        panel.plot(task.lengths, means, color="0.55", linestyle=(0, (4, 2)), linewidth=1, zorder=2)
        ends.append((panel.transData.transform((1, means[-1]))[1] * 72 / panel.figure.dpi, last, means[-1], name))
    label_ends(panel, ends)
    for trained in sorted({task_of(result).train_length for result in run.cells}):
        panel.axvline(trained, color="0.35", linewidth=0.7, zorder=1)
        where = blended_transform_factory(panel.transData, panel.transAxes)
        panel.text(
            trained, 1.01, f"trained on {trained}", transform=where, fontsize=8, color="0.35", va="bottom", ha="center"
        )


def label_ends(panel: Axes, ends: list[tuple[float, float, float, str]]) -> None:
    """Names beside the ends of lines (height in points, x, y, name), from below upwards, none upon another."""
    lowest = -math.inf
    for height, x, y, name in sorted(ends):
        lowest = max(height, lowest + 9)
        panel.annotate(name, (x, y), (3, lowest - height), textcoords="offset points", va="center", fontsize=8, color="0.4")
