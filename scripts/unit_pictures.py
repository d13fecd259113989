"""The picture of a unit: its output, the loss along each of its parameters, and the loss over two of them.

What is drawn is computed by ``unit_landscape`` from the unit alone. Files are the same whenever they are drawn: places,
fonts and colours are fixed, and nothing is drawn at random.
"""

import io
import math
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedFormatter, MaxNLocator
from PIL import Image

from scripts.unit_facts import Entry
from scripts.unit_landscape import CEILING, FLOOR, Cut, Landscape, Problem, decades, problems, walk_downhill

matplotlib.use("Agg")

WIDTH, HEIGHT, DPI = 7.0, 2.75, 200  # inches
# Left, bottom, width and height of the panels, in shares of the picture.
BOTTOM, TALL = 0.31, 0.53
PANELS = {
    "output": (0.06, BOTTOM, 0.235, TALL),
    "parameters": (0.385, BOTTOM, 0.22, TALL),
    "surface": (0.68, BOTTOM, 0.215, TALL),
    "colour bar": (0.907, BOTTOM, 0.012, TALL),
}
LEGENDS = 0.115, 0.04  # the heights of the lines of the legends
WEIGHT_SHARE = 0.36  # of the height of the middle panel for the weight, the rest for the loss
STYLE = {
    "font.family": "DejaVu Sans",
    "mathtext.fontset": "dejavusans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.handlelength": 0.9,
    "legend.handletextpad": 0.4,
    "legend.columnspacing": 0.7,
    "legend.labelspacing": 0.25,
    "lines.linewidth": 1.3,
    "lines.dash_capstyle": "butt",
    "axes.titlepad": 4,
    "axes.labelpad": 2,
    "xtick.major.pad": 2,
    "ytick.major.pad": 2,
}
GRID = 101  # points of the surface along each axis
SHARES = np.linspace(0, 1, 5)  # of the way of a weight in the left panel
SHADES = ("#c6b8d9", "#9a86c4", "#6d5cae", "#44358f", "#160b39")  # of the shares
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7f7f7f")  # of parameters
NO_VALUE = "0.75"
DOT = {"marker": "o", "markersize": 3.4, "markeredgewidth": 0.5, "linestyle": ""}
ARRIVES = DOT | {"color": "white", "markeredgecolor": "black"}
STUCK = DOT | {"color": "black", "markeredgecolor": "white"}
IDEAL = {"marker": "*", "markersize": 11, "color": "#D55E00", "markeredgecolor": "white", "linestyle": ""}
MARKERS = {"ideal": IDEAL, "arrives": ARRIVES, "stuck": STUCK}
EVALUATED = {"linestyle": (0, (3, 1.5)), "linewidth": 0.9}
PENALISED = {"linestyle": (0, (1, 1)), "linewidth": 1.2}
START = {"marker": "|", "markersize": 3, "markeredgewidth": 0.5, "linestyle": ""}
ROW = 10**-0.5  # what is between two lines of starts on the scale of losses
QUARTERS = "0", "¼", "½", "¾", "1"
FIXED = 2.0  # x₁ in the left panel
DIFFERENT = 1e-3  # from where on the forms for training and evaluation are both drawn
SOLVED = 1e-3  # mean squared error at which a point of the grid counts as the solution

SUFFIXES = {"add": "+", "mul": r"\times", "sign": r"\pm", "zero": "0", "real": "re", "imag": "im"}


def symbol(name: str, index: int | None = None) -> str:
    """A parameter's name in a formula, with the index of its input: w_hat, 1 → ŵ₁ (as mathtext)."""
    letter, *rest = name.split("_")
    if len(letter) > 1:
        letter = rf"\mathrm{{{letter}}}"
    if "hat" in rest:
        letter = rf"\hat{{{letter}}}"
    below = [SUFFIXES.get(word, rf"\mathrm{{{word}}}") for word in rest if word != "hat"]
    below = [rf"\mathrm{{{word}}}" if word in ("re", "im") else word for word in below]
    below += [] if index is None else [str(index)]
    return f"${letter}_{{{','.join(below)}}}$" if below else f"${letter}$"


def symbol_of(landscape: Landscape, place: int) -> str:
    """The name of one number among the parameters."""
    leaf = landscape.leaf_of(place)
    return symbol(leaf.name, place - leaf.places.start + 1 if len(leaf.places) > 1 else None)


def draw(one: Entry, path: Path) -> None:
    """Writes the picture of a unit. Raises ValueError where an operation that the unit lists is not found in it."""
    landscape = Landscape(one)
    for operation in one.unit.operations:
        landscape.ideal(Problem(operation, 1.0, 2.0))
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(WIDTH, HEIGHT))
        shown, studied = problems(one)
        figure.text(0.008, 0.985, one.unit.label or one.name, fontsize=10, fontweight="bold", va="top")
        figure.text(
            0.64, 0.985, f"squared error of {studied.formula} for inputs in {studied.interval}", ha="center", va="top"
        )
        panels = {name: figure.add_axes(place) for name, place in PANELS.items() if name != "parameters"}
        draw_outputs(panels["output"], landscape, shown)
        ideal = landscape.ideal(studied)
        cuts = landscape.cuts(ideal, studied)
        draw_parameters(figure, landscape, studied, cuts)
        shading = draw_surface(panels["surface"], landscape, studied, ideal, landscape.plane(cuts, ideal, studied))
        bar = figure.colorbar(shading, cax=panels["colour bar"], ticks=range(-6, 3, 2))
        bar.ax.set_yticklabels(["≤ 10⁻⁶", "10⁻⁴", "10⁻²", "1", "≥ 10²"])
        bar.ax.tick_params(width=0.6, length=2.5)
        markers = [Line2D([], [], label=label, **style) for label, style in MARKERS.items()]
        legend_below(figure, "surface", LEGENDS[0], markers)
        pixels = io.BytesIO()
        figure.savefig(pixels, dpi=DPI)
        plt.close(figure)
    Image.open(pixels).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def finish(panel: Any, title: str, xlabel: str, ylabel: str = "") -> None:
    """Title, labels and thin ticks."""
    panel.set_title(title)
    panel.set_xlabel(xlabel)
    panel.set_ylabel(ylabel)
    panel.tick_params(width=0.6, length=2.5)
    for axis in (panel.xaxis, panel.yaxis):
        if axis.get_scale() == "linear" and not isinstance(axis.get_major_formatter(), FixedFormatter):
            axis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", "−"))


def draw_outputs(panel: Any, landscape: Landscape, problem: Problem) -> None:
    """The output for x₁ = 2 and x₂ from -3 to 3, on the way of the weight of x₂ from 0 to its ideal.

    Behind it the operation as a broad band; dots are the form for training, where it differs; grey has no value.
    """
    x_2 = np.linspace(-3, 3, 602, dtype=np.float32)  # spares 0
    x = np.stack([np.full_like(x_2, FIXED), x_2])
    with np.errstate(all="ignore"):
        target = (
            np.where(np.abs(x_2) < 0.05, np.nan, problem.targets(x)) if problem.operation == "div" else problem.targets(x)
        )
    low, high = max(-6.0, np.nanmin(target)), min(6.0, np.nanmax(target))
    margin = 0.12 * (high - low)
    band = {"color": "0.85", "linewidth": 5, "solid_capstyle": "butt"}
    panel.plot(x_2, target, zorder=1, **band)
    lines, kinds = [], [Line2D([], [], label=problem.formula, **band)]

    ideal = landscape.ideal(problem)
    thetas, place, weights = landscape.path(ideal, problem, SHARES)
    evaluated, trained = (landscape.outputs(thetas, x, training) for training in (False, True))
    for number, (values, noisy) in enumerate(zip(evaluated, trained, strict=True)):
        name = QUARTERS[number] if weights is not None else f"{thetas[number, place]:.1f}".removesuffix(".0")
        if weights is not None and weights[-1] < 0 and number:
            name = f"-{name}"
        visible = np.where(np.abs(values) < 50, values, np.nan)
        lines += panel.plot(x_2, visible, color=SHADES[number], label=name.replace("-", "−"), zorder=3)
        if np.nanmax(np.abs(noisy - values), initial=0) > DIFFERENT:
            panel.plot(x_2[::9], noisy[::9], ".", color=SHADES[number], markersize=2.5, zorder=2)
            kinds[1:] = [Line2D([], [], linestyle="", marker=".", color=SHADES[2], markersize=3, label="in training")]
    missing = ~np.isfinite(evaluated).any(axis=0)
    if missing.any():
        panel.axvspan(x_2[missing][0], x_2[missing][-1], color=NO_VALUE, linewidth=0)
        kinds.append(Patch(color=NO_VALUE, label="no value"))
    panel.set(xlim=(-3, 3), ylim=(low - margin, high + margin), xticks=(-3, 0, 3))
    panel.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    finish(panel, f"output for {problem.formula}", f"x₂, at x₁ = {FIXED:g}", "y")
    name = "W₂" if weights is not None else symbol_of(landscape, place)
    legend_below(panel.figure, "output", LEGENDS[0], [Line2D([], [], linestyle="", label=f"{name} ="), *lines])
    legend_below(panel.figure, "output", LEGENDS[1], kinds)


def draw_parameters(figure: Any, landscape: Landscape, problem: Problem, cuts: list[Cut]) -> None:
    """Along each parameter, the others ideal: above the effective weight, below the loss and the penalties."""
    left, bottom, width, height = PANELS["parameters"]
    weighty = [cut for cut in cuts if cut.weight is not None]
    share = 1 - WEIGHT_SHARE if weighty else 1.0
    losses = top = figure.add_axes((left, bottom, width, height * share))
    if weighty:
        top = figure.add_axes((left, bottom + height * (share + 0.03), width, height * (1 - share - 0.03)))
        top.axhline(0, color="0.8", linewidth=0.6)
    lines, kinds = [], [Line2D([], [], color="0.3", label="starts", **START)]
    thicknesses = np.linspace(1.1 + 0.25 * len(cuts), 1.3, len(cuts))  # so that equal lines show
    for row, (cut, colour, thickness) in enumerate(zip(cuts, COLOURS, thicknesses, strict=False), 1):
        label = symbol_of(landscape, cut.place)
        lines += losses.plot(cut.values, 10 ** decades(cut.training), color=colour, label=label, linewidth=thickness)
        if np.abs(decades(cut.training) - decades(cut.evaluation)).max() > DIFFERENT:
            losses.plot(cut.values, 10 ** decades(cut.evaluation), color=colour, **EVALUATED)
            kinds += [Line2D([], [], color="0.3", label="evaluated", **EVALUATED)]
        if cut.penalty.max() > FLOOR:
            losses.plot(cut.values, np.maximum(cut.penalty, FLOOR), color=colour, **PENALISED)
            kinds += [Line2D([], [], color="0.3", label="penalty", **PENALISED)]
        starts = landscape.starts[:, cut.place]
        losses.plot(starts, np.full(len(starts), FLOOR * ROW**row), color=colour, **START)
        if cut.weight is not None:
            top.plot(cut.values, cut.weight, color=colour, linewidth=thickness)
    reach = min(cut.values[0] for cut in cuts), max(cut.values[-1] for cut in cuts)
    margin = 0.04 * (reach[1] - reach[0])
    limits = reach[0] - margin, reach[1] + margin
    losses.set_yscale("log")
    losses.set(xlim=limits, ylim=(FLOOR * ROW ** (len(cuts) + 1), CEILING * 2))
    losses.set_yticks([1e-6, 1e-4, 1e-2, 1], labels=["10⁻⁶", "10⁻⁴", "10⁻²", "1"])
    losses.minorticks_off()
    finish(losses, "", "parameter", "error")
    if weighty:
        weights = np.concatenate([cut.weight for cut in weighty])
        low, high = round(weights.min() - 0.3), round(weights.max() + 0.3)
        top.set(xlim=limits, ylim=(low - 0.08 * (high - low), high + 0.08 * (high - low)), yticks=sorted({low, 0, high}))
        top.tick_params(labelbottom=False)
        finish(top, "", "", "weight")
    top.set_title("along one parameter")
    entries = lines + list({kind.get_label(): kind for kind in kinds}.values())
    costs = np.cumsum([5 if entry in lines else 3 + len(entry.get_label()) for entry in entries])
    first = len(entries) if costs[-1] <= 25 else int(np.argmin(np.abs(costs - costs[-1] / 2))) + 1
    legend_below(figure, "parameters", LEGENDS[0], entries[:first])
    legend_below(figure, "parameters", LEGENDS[1], entries[first:])


def legend_below(figure: Any, panel: str, height: float, handles: list[Any]) -> None:
    """A line of a legend under a panel, at this height."""
    left, _, width, _ = PANELS[panel]
    options = {"loc": "center", "borderaxespad": 0, "borderpad": 0}
    figure.legend(handles=handles, bbox_to_anchor=(left + width / 2, height), ncols=len(handles), **options)


def draw_surface(panel: Any, landscape: Landscape, problem: Problem, ideal: np.ndarray, places: tuple[int, int]) -> Any:
    """The loss over two parameters, where seeds start, whence they reach the solution, and the solution."""
    first, second, losses = landscape.surface(places, ideal, problem, GRID)
    levels = np.clip(decades(losses), -5.999, 1.999)  # contourf leaves out the ends
    panel.set_facecolor(NO_VALUE)
    shading = panel.contourf(first, second, np.ma.masked_invalid(levels), np.linspace(-6, 2, 17), cmap="viridis")
    panel.contour(
        first, second, levels, np.arange(-5.5, 2, 0.5), colors="white", linewidths=0.3, alpha=0.5, linestyles="solid"
    )
    axes = (first, second)
    steps = np.array([axis[1] - axis[0] for axis in axes])
    best = ideal[list(places)]
    target = np.array([np.clip(value, axis[0], axis[-1]) for value, axis in zip(best, axes, strict=True)])
    solved = max(SOLVED, 1.5 * float(landscape.losses(ideal[None], problem)[0]))
    for start in landscape.starts[:, places]:
        column, row = (int(np.argmin(np.abs(axis - value))) for axis, value in zip(axes, start, strict=True))
        end = walk_downhill(losses, (row, column))
        arrived = np.array([first[end[1]], second[end[0]]])
        reached = (np.abs(arrived - target) <= 2.5 * steps).all() or losses[end] < solved
        panel.plot(*start, **(ARRIVES if reached else STUCK), clip_on=False)
    inside = (best == target).all()
    marker = "*" if inside else (3, 0, math.degrees(math.atan2(*((best - target) / steps * (-1, 1)))))
    centre = np.array([(axis[0] + axis[-1]) / 2 for axis in axes])
    spot = target if inside else centre + 0.94 * (target - centre)
    panel.plot(*spot, **IDEAL | {"marker": marker}, zorder=5, clip_on=False)
    panel.set(xlim=first[[0, -1]], ylim=second[[0, -1]], xticks=ticks(first), yticks=ticks(second))
    finish(panel, "over two parameters", *(symbol_of(landscape, place) for place in places))
    return shading


def ticks(axis: np.ndarray) -> list[float]:
    """The ends and the middle, whole numbers where they are far apart."""
    low, high = float(axis[0]), float(axis[-1])
    return [low, (low + high) / 2, high] if high - low <= 2 else [math.ceil(low), 0, math.floor(high)]
