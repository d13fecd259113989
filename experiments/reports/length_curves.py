"""Error against the length of the sequences."""

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
from matplotlib.transforms import blended_transform_factory

from experiments.reports.figures import (
    LINES,
    SMALLEST,
    WIDTH,
    Series,
    handles_of,
    legend_below,
    legend_inches,
    look_of,
    name_cell,
    paper_style,
    quiet,
    save,
    series_of,
)
from experiments.reports.formats import seeds_of, spread
from experiments.reports.lengths import MOST_COLUMNS, errors, known_lengths, metric_at, spread_lengths, task_of
from experiments.reports.lengths import check as check
from experiments.reports.results import CellResult, FinishedRun, predictors
from nalu_jax.tasks.digit_sequences import DigitSequences

MOST_LINEAR = 30  # longer sequences are drawn on a logarithmic axis
STYLES = {"unit": LINES[0], "accumulator": LINES[3], "readout": LINES[1], "none": LINES[2], "exact": LINES[0]}
Predicted = tuple[str, DigitSequences, np.ndarray]  # the label of a predictor, its task and its error f64[lengths]


@paper_style
def write(run: FinishedRun, folder: Path) -> None:
    """Writes lengths.png and .pdf: the error at each length, and the error per image, whose level line extrapolates.

    Of products, which grow by twelve orders of magnitude, only the error over that of the true mean. Medians as lines, with
    whiskers from the lowest to the highest seed at a few lengths, a little aside; predictors that see no image in grey. A
    grid with fewer than two lengths has no such picture.
    """
    if len(known_lengths(run)) < 2:
        return
    series, told = lines_of(run), told_of(run)
    if any(task_of(result).total == "product" for result in run.cells):
        units = {"error over that of the true mean": {task: means for label, task, means in told if label == "true mean"}}
    else:
        per_image = {task: np.array(task.lengths) for _, task, _ in told}
        units = {"mean absolute error": dict.fromkeys(per_image, np.array(1.0)), "error per image": per_image}
    handles = handles_of(with_diverged(run, series))
    height = 2.2 * len(units) + 0.4 + legend_inches([str(handle.get_label()) for handle in handles])
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    panels = figure.subplots(len(units), 1, sharex=True, squeeze=False)[:, 0]
    legend_below(figure, handles, f"median of {seeds_of(run)} seeds, whiskers from the lowest to the highest")
    shares = [[(label, task, means / unit[task]) for label, task, means in told] for unit in units.values()]
    for panel, (title, unit), grey in zip(panels, units.items(), shares, strict=True):
        draw_errors(panel, run, series, unit)
        finish(panel, run, title, grey)
    panels[-1].set_xlabel("images in a sequence")
    mark_training(panels[0], run)
    figure.draw_without_rendering()  # from here on the heights of line ends are known
    for panel, grey in zip(panels, shares, strict=True):
        label_ends(panel, [(label, means[-1]) for label, _, means in grey])
    save(figure, folder / "lengths.png")


def told_of(run: FinishedRun) -> list[Predicted]:
    """The errors of the predictors that see no image."""
    told = []
    for predictor in predictors(run):
        task = task_of(predictor.like)
        means = np.array([predictor.metrics[metric_at(task, "mae", length)] for length in task.lengths])
        told.append((next(iter(predictor.axes.values())), task, means))
    return told


def lines_of(run: FinishedRun) -> dict[str, Series]:
    """The series of each cell: the colour and marker of what it is made of, open if it is a variant, a line for its form."""
    series, forms = series_of(run.cells), {name_cell(result): form_of(result) for result in run.cells}
    alike: dict[tuple[str, str], int] = {}
    for name, one in series.items():
        variant = alike[one.unit, forms[name]] = alike.get((one.unit, forms[name]), -1) + 1
        look = look_of(one.unit, variant) | {"linestyle": STYLES[forms[name]]}
        series[name] = one._replace(look=look | ({"linewidth": 1.6} if forms[name] == "exact" else {}))
    return series


def with_diverged(run: FinishedRun, series: dict[str, Series]) -> dict[str, Series]:
    """The series, whose labels say how many seeds diverged."""
    found = dict(series)
    for result in run.cells:
        name, count = name_cell(result), int(np.isfinite(result.seeds["diverged_at"]).sum())
        if count:
            found[name] = series[name]._replace(label=f"{series[name].label} ({count} diverged)")
    return found


def draw_errors(panel: Axes, run: FinishedRun, series: dict[str, Series], unit: dict[DigitSequences, np.ndarray]) -> None:
    """The errors of each cell, as multiples of a unit of its task: medians, and whiskers at a few lengths."""
    names = list(series)
    for result in run.cells:
        task, name = task_of(result), name_cell(result)
        look = series[name].look
        bands = np.array([spread(found) for n in task.lengths if (found := errors(result, "mae", n)) is not None]).T
        middle, low, high = np.where(np.isfinite(bands), np.maximum(bands / unit[task], SMALLEST), np.nan)
        where = aside(run, np.array(task.lengths), (names.index(name) + 0.5) / len(names) - 0.5)
        marked = np.flatnonzero(np.isin(task.lengths, with_whiskers(run)))
        panel.plot(where, middle, zorder=3 if form_of(result) == "exact" else 2.5, markevery=marked, **look)
        up_to = np.where(np.isnan(high), middle, high)[marked]  # without diverged seeds
        panel.vlines(where[marked], low[marked], up_to, color=look["color"], linewidth=0.7, alpha=0.7, zorder=2.4)


def is_far(run: FinishedRun) -> bool:
    """Whether lengths need a logarithmic axis."""
    return known_lengths(run)[-1] > MOST_LINEAR


def with_whiskers(run: FinishedRun) -> list[int]:
    """The lengths at which there are whiskers and markers: at most six, and those of training."""
    lengths = known_lengths(run)
    if is_far(run):
        return [*spread_lengths(lengths), *trained_on(run)]
    places = np.linspace(0, len(lengths) - 1, min(MOST_COLUMNS, len(lengths))).round().astype(int)
    return [*np.array(lengths)[places], *trained_on(run)]


def aside(run: FinishedRun, lengths: np.ndarray, place: float) -> np.ndarray:
    """Where a series with a place in [-0.5, 0.5] stands, so that its whiskers are beside those of others, f64[lengths]."""
    return lengths * math.exp(0.25 * place) if is_far(run) else lengths + 0.6 * place


def form_of(result: CellResult) -> str:
    """The form of a cell: of units "unit" or "accumulator", of Flax's with a "readout" or "none", or "exact"."""
    network = result.cell.config.network
    if network.cell in ("unit", "accumulator"):
        return network.cell
    if network.cell.startswith("exact"):
        return "exact"
    return "none" if network.readout == "none" else "readout"


def finish(panel: Axes, run: FinishedRun, title: str, told: list[Predicted]) -> None:
    """The axes of a panel of lengths: what explodes is cut off, the training length marked; predictors in grey."""
    shown, far = known_lengths(run), is_far(run)
    panel.set(xscale="log" if far else "linear", yscale="log", ylabel=title)
    quiet(panel)
    first, last = (shown[0] / 1.25, shown[-1] * 1.25) if far else (shown[0] - 0.6, shown[-1] + 0.6)
    panel.set_xlim(first, last)
    if not far:
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    heights = np.concatenate([np.asarray(line.get_ydata(), float) for line in panel.get_lines()])
    known = np.concatenate([means for *_, means in told])
    heights = np.concatenate([heights[heights > 0], known])
    low, high = max(heights.min(), 1e-5 * known.min()) / 1.6, min(heights.max(), 100 * known.max()) * 1.6
    panel.set_ylim(low, high)
    if high < 100 * low:  # too few powers of ten to name these alone
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        panel.yaxis.set_minor_formatter(NullFormatter())
    for trained in trained_on(run):
        panel.axvline(trained, color="0.35", linewidth=0.6, zorder=1)
    for _, task, means in told:
        panel.plot(task.lengths, means, color="0.55", linestyle=(0, (4, 2)), linewidth=0.9, zorder=2)


def trained_on(run: FinishedRun) -> list[int]:
    """The lengths of training sequences, rising."""
    return sorted({task_of(result).train_length for result in run.cells})


def mark_training(panel: Axes, run: FinishedRun) -> None:
    """Writes above a panel which lengths are those of training."""
    where = blended_transform_factory(panel.transData, panel.transAxes)
    for length in trained_on(run):
        panel.text(length, 1.01, f"trained on {length}", transform=where, color="0.35", va="bottom", ha="center")


def label_ends(panel: Axes, ends: list[tuple[str, float]]) -> None:
    """Names beside the ends of lines, at (name, y), from below upwards, none upon another."""
    lowest, points = -math.inf, 72 / panel.figure.dpi
    for y, name in sorted((y, name) for name, y in ends):
        height = panel.transData.transform((1, y))[1] * points
        lowest = max(height, lowest + 9)
        place = {"xycoords": panel.get_yaxis_transform(), "textcoords": "offset points"}
        panel.annotate(name, (1, y), (3, lowest - height), va="center", color="0.4", **place)
