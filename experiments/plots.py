"""Pictures of cells: error against steps, learned weights, and what comes of each range and each learning rate."""

import io
import itertools
import math
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, NullLocator, PercentFormatter
from ml_collections import ConfigDict

from experiments import build
from experiments.results import CellResult
from experiments.tables import summary_row
from nalu_jax.cells import UnitCell
from nalu_jax.checkpoint import unpack, write_atomic
from nalu_jax.learners.supervised import effective_weights
from nalu_jax.random import Purpose, key_at
from nalu_jax.stats import success_rate

# Okabe and Ito's palette, told apart by the colour-blind; then shades for tables with more units.
COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#8C6D31",
    "#7F7F7F",
    "#9467BD",
    "#17BECF",
    "#BCBD22",
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # prime to the colours: 84 pairs before one recurs
OPERATION_SIGNS = {"add": "a + b", "sub": "a − b", "mul": "a × b", "div": "a ÷ b", "squared": "a²", "root": "√a"}
ERRORS = {"interpolation_mse": "interpolation", "extrapolation_mse": "extrapolation"}
SMALLEST, LARGEST = 1e-14, 1e14  # errors beyond are drawn at the edge
SPARSE = 1e-8  # so are sparsity errors below
MOST_CURVES, MOST_WEIGHTS = 12, 40
MOST_ABREAST = 4  # matrices of a grid without operations, in a row


def sign(operation: Any) -> str:
    """An operation as the papers write it."""
    return OPERATION_SIGNS.get(str(operation), str(operation))


def name_range(intervals: Any) -> str:
    """A range as the papers write it, U[−2, −1); of a union each interval."""
    pairs = intervals if isinstance(intervals[0], tuple | list) else (intervals,)
    return "U" + " ∪ ".join(f"[{low:g}, {high:g})" for low, high in pairs).replace("-", "−")


def name_axis(axis: str, value: Any) -> str:
    """A value of an axis, with the name of the axis unless the value speaks for itself."""
    if axis in ("unit", "optimizer"):
        return str(value)
    return name_range(value) if axis == "interpolation_range" else f"{axis}={value}"


def name_cell(result: CellResult, *without: str) -> str:
    """A cell by its axes but the operation and those left out."""
    return " ".join(name_axis(*item) for item in result.axes.items() if item[0] not in ("operation", *without))


def values_of(results: list[CellResult], axis: str) -> list[Any]:
    """The values of an axis, in the order in which they come; one empty name if the grid has no such axis."""
    return list(dict.fromkeys(result.axes.get(axis, "") for result in results))


def few_enough(results: list[CellResult]) -> tuple[list[CellResult], str, tuple[str, ...]]:
    """The results that curves can tell apart, what to say of the choice, and the axes that it leaves one value of.

    All, if they are few. Else those with one value of each axis but unit and operation, the middle one of numbers and the
    first of others; then the first units.
    """
    if len({name_cell(result) for result in results}) <= MOST_CURVES:
        return results, "", ()
    fixed = {axis: typical(values_of(results, axis)) for axis in results[0].axes if axis not in ("unit", "operation")}
    kept = [result for result in results if all(result.axes[axis] == value for axis, value in fixed.items())]
    note = [name_axis(*item) for item in fixed.items()]
    units = values_of(kept, "unit")
    if len(units) > MOST_CURVES:
        note.append(f"the first {MOST_CURVES} of {len(units)} units")
    kept = [result for result in kept if result.axes.get("unit", "") in units[:MOST_CURVES]]
    return kept, f"only {', '.join(note)}: {len(kept)} of {len(results)} cells", tuple(fixed)


def typical(values: list[Any]) -> Any:
    """The middle one of numbers, the lower of two; the first of anything else."""
    if all(isinstance(value, int | float) for value in values):
        return sorted(values)[(len(values) - 1) // 2]
    return values[0]


def curves(results: list[CellResult], path: Path) -> None:
    """Error against steps, a column an operation: the median over seeds as a line, the quartiles as a band.

    Of a grid with too many cells to tell apart those that ``few_enough`` picks; the title says which.
    """
    results, note, fixed = few_enough(results)
    operations = values_of(results, "operation")
    labels = list(dict.fromkeys(name_cell(result, *fixed) for result in results))
    figure = Figure(figsize=(max(6.4, 2.9 * len(operations) + 1.2), 5.6), layout="constrained")
    panels = figure.subplots(2, len(operations), sharex="col", sharey="row", squeeze=False)
    for result in results:
        column = operations.index(result.axes.get("operation", ""))
        label = name_cell(result, *fixed)
        colour = COLOURS[labels.index(label) % len(COLOURS)]
        data = result.curves()
        for panel, name in zip(panels[:, column], ERRORS, strict=True):
            low, middle, high = np.clip(data[name].T, SMALLEST, LARGEST)
            panel.plot(data["step"], middle, color=colour, linewidth=1.4, label=label)
            panel.fill_between(data["step"], low, high, color=colour, alpha=0.18, linewidth=0)
    for column, operation in enumerate(operations):
        panels[0, column].set_title(sign(operation))
        panels[1, column].set_xlabel("step")
        thresholds = {r.result["threshold"] for r in results if r.axes.get("operation", "") == operation}
        for threshold in thresholds - {0}:
            panels[1, column].axhline(threshold, color="0.25", linestyle=(0, (4, 3)), linewidth=0.9, label="solved below")
    for row, name in enumerate(ERRORS.values()):
        panels[row, 0].set_ylabel(f"{name} error (MSE)")
        panels[row, 0].set_yscale("log")
    for panel in panels.flat:
        quiet(panel)
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
        panel.margins(x=0.01)
    handles = {line.get_label(): line for panel in panels[1] for line in panel.get_lines()}
    handles = {label: handles[label] for label in [*labels, "solved below"] if label in handles}
    outside_legend(figure, handles, f"median and quartiles\nof {len(results[0].seeds['seed'])} seeds")
    if note:
        figure.suptitle(note, fontsize=10)
    save(figure, path)


def quiet(panel: Axes) -> None:
    """A pale grid behind the data, and no frame above and to the right."""
    panel.grid(color="0.92", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


def outside_legend(figure: Figure, handles: dict[str, Any], title: str, **options: Any) -> None:
    """A legend beside the panels, with options of matplotlib's."""
    options |= {"loc": "outside right upper", "frameon": False, "alignment": "left"}
    legend = figure.legend(handles.values(), handles, title=title, **options)
    legend.get_title().set_fontsize(9)


def ranges(results: list[CellResult], path: Path) -> bool:
    """What comes of each unit on each range, a row an operation: success rate, solved at step and sparsity error.

    Each with its 95 % interval; the latter two are over the solved seeds, and absent where there is none. Laid out as the
    figures of Mistry, Farrahi & Hare 2022, "A primer for neural arithmetic logic modules". A grid without an axis of
    interpolation ranges has no such picture: nothing is written, and the answer is False.
    """
    if "interpolation_range" not in results[0].axes:
        return False
    operations = values_of(results, "operation")
    places = list(dict.fromkeys(result.axes["interpolation_range"] for result in results))
    labels = list(dict.fromkeys(name_cell(result, "interpolation_range") for result in results))
    looks = {label: look_of(i) for i, label in enumerate(labels)}
    figure = Figure(figsize=(14.4, 2.3 * len(operations) + 1.3), layout="constrained")
    panels = figure.subplots(len(operations), 3, sharex=True, sharey="col", squeeze=False)
    for operation, row in zip(operations, panels, strict=True):
        cells = [result for result in results if result.axes.get("operation", "") == operation]
        draw_ranges(row, cells, places, looks)
        row[0].set_ylabel(sign(operation), fontsize=12)
    for panel, title in zip(panels[0], ("success rate", "solved at step", "sparsity error"), strict=True):
        panel.set_title(title, fontsize=11)
    for panel in panels[-1]:
        panel.set_xticks(range(len(places)), [name_range(place) for place in places], rotation=40, ha="right", fontsize=9)
    panels[0, 0].set_ylim(-0.03, 1.03)
    panels[0, 0].yaxis.set_major_formatter(PercentFormatter(1.0))
    steps = max(result.result["steps"] for result in results)
    top = min(1.03 * steps, max(0.2 * steps, panels[0, 1].get_ylim()[1]))
    panels[0, 1].set_ylim(-0.03 * top, top)
    panels[0, 1].yaxis.set_major_formatter(EngFormatter(sep=""))
    panels[0, 2].set_yscale("log")
    panels[0, 2].set_ylim(SPARSE / 1.8, 0.9)
    panels[0, 2].set_yticks([SPARSE, 1e-6, 1e-4, 1e-2], ["≤ $10^{-8}$", "$10^{-6}$", "$10^{-4}$", "$10^{-2}$"])
    panels[0, 2].yaxis.set_minor_locator(NullLocator())
    title = f"means and 95 % intervals\nof {len(results[0].seeds['seed'])} seeds; the last two\nof those solved"
    outside_legend(figure, {label: Line2D([], [], linewidth=1, **look) for label, look in looks.items()}, title)
    save(figure, path)
    return True


def rates(results: list[CellResult], path: Path) -> bool:
    """Success rate against the learning rate with its 95 % interval, a row an operation and a column an optimizer.

    Cells that differ in anything else are lines of their own. A grid with fewer than two learning rates has no such
    picture: nothing is written, and the answer is False.
    """
    places = sorted({result.axes.get("learning_rate", 0.0) for result in results})
    if len(places) < 2:
        return False
    operations, optimizers = values_of(results, "operation"), values_of(results, "optimizer")
    labels = list(dict.fromkeys(name_cell(result, "learning_rate", "optimizer") for result in results))
    looks = {label: look_of(i) for i, label in enumerate(labels)}
    beside = 0.08 * max(map(len, labels)) + 0.7 if any(labels) else 0.0  # inches that the legend takes
    width = max(4.8, 2.8 * len(optimizers) + 0.6) + beside
    height = max(1.8 * len(operations) + 1.1, 0.23 * len(labels) + 0.3, 2.9)
    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(len(operations), len(optimizers), sharex=True, sharey=True, squeeze=False)
    for (row, operation), (column, optimizer) in itertools.product(enumerate(operations), enumerate(optimizers)):
        here = {"operation": operation, "optimizer": optimizer}
        cells = [result for result in results if all(result.axes.get(axis, "") == value for axis, value in here.items())]
        draw_rates(panels[row, column], cells, places, looks)
    for operation, panel in zip(operations, panels[:, 0], strict=True):
        panel.set_ylabel(sign(operation), fontsize=12)
    for optimizer, top, bottom in zip(optimizers, panels[0], panels[-1], strict=True):
        top.set_title(str(optimizer), fontsize=11)
        bottom.set_xlabel("learning rate")
    panels[0, 0].set_ylim(-0.04, 1.04)
    panels[0, 0].set_yticks([0.0, 0.25, 0.5, 0.75, 1.0])
    panels[0, 0].yaxis.set_major_formatter(PercentFormatter(1.0))
    title = f"success rate with its 95 % interval, {len(results[0].seeds['seed'])} seeds a point"
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    if any(labels):
        outside_legend(figure, {label: Line2D([], [], linewidth=1, **look) for label, look in looks.items()}, "")
    save(figure, path)
    return True


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


def look_of(index: int) -> dict[str, Any]:
    """The colour and marker of a unit, an open one from where the colours recur."""
    colour = COLOURS[index % len(COLOURS)]
    inside = colour if index < len(COLOURS) else "white"
    marker = MARKERS[index % len(MARKERS)]
    return {"color": colour, "marker": marker, "markersize": 3.8, "markerfacecolor": inside}


def draw_ranges(row: np.ndarray, cells: list[CellResult], places: list[Any], looks: dict[str, Any]) -> None:
    """The three panels of an operation: its units side by side at each range."""
    labels = [label for label in looks if label in {name_cell(cell, "interpolation_range") for cell in cells}]
    for panel in row:
        quiet(panel)
        panel.grid(visible=False, axis="x")
        panel.tick_params(axis="x", length=0)
        panel.set_xlim(-0.5, len(places) - 0.5)
        for place in range(0, len(places), 2):
            panel.axvspan(place - 0.5, place + 0.5, color="0.965", zorder=0, linewidth=0)
    for cell in cells:
        label = name_cell(cell, "interpolation_range")
        place = places.index(cell.axes["interpolation_range"]) + 0.84 * ((labels.index(label) + 0.5) / len(labels) - 0.5)
        summary = summary_row(cell)
        for panel, (name, estimate) in zip(row, ESTIMATES.items(), strict=True):
            interval = [summary[estimate], summary[f"{name}_low"], summary[f"{name}_high"]]
            draw_interval(panel, place, looks[label], np.maximum(interval, SPARSE if name == "sparsity_error" else 0.0))


ESTIMATES = {"success": "success_rate", "solved_at": "solved_at_mean", "sparsity_error": "sparsity_error_mean"}


def draw_interval(panel: Axes, place: float, look: dict[str, Any], interval: np.ndarray) -> None:
    """A marker at the estimate and a line from end to end of its interval (estimate, low, high), as far as they exist."""
    estimate, low, high = interval
    if not np.isfinite(estimate):
        return
    if np.isfinite([low, high]).all():
        panel.vlines(place, low, high, color=look["color"], linewidth=1)
    panel.plot(place, estimate, **look)


def weights(results: list[CellResult], configs: list[ConfigDict], path: Path) -> bool:
    """The weights of each cell's best seed, a row a unit, a column an operation; side by side if there is one operation.

    Cells that declare no weights are left out. If all do, or if there are more than a picture can hold, nothing is written,
    and the answer is False.
    """
    if len(results) > MOST_WEIGHTS:
        return False
    shown = []
    for result, config in zip(results, configs, strict=True):
        seed = int(result.seeds["seed"][result.best_seed()])
        if strips := weight_strips(config, best_params(result, config), seed):
            shown.append((result, strips))
    if not shown:
        return False
    operations = values_of([result for result, _ in shown], "operation")
    labels = list(dict.fromkeys(name_cell(result) for result, _ in shown))
    columns = len(operations) if len(operations) > 1 else min(len(labels), MOST_ABREAST)
    rows = len(labels) if len(operations) > 1 else math.ceil(len(labels) / columns)
    height = max(1.5, 0.4 + max(sum(strip.inches for strip in strips) for _, strips in shown))
    figure = Figure(figsize=(3.1 * columns, height * rows + 0.1), layout="constrained")
    grid = figure.subfigures(rows, columns, squeeze=False, wspace=0.02, hspace=0.04)
    for result, strips in shown:
        row, column = labels.index(name_cell(result)), operations.index(result.axes.get("operation", ""))
        place = grid[row, column] if len(operations) > 1 else grid.flat[row]
        draw_strips(place, strips)
        title = ", ".join(filter(None, [name_cell(result), sign(result.axes.get("operation", ""))]))
        if result.result["threshold"]:
            title += ": solved" if result.solved[result.best_seed()] else ": not solved"
        place.suptitle(title, fontsize=9)
    save(figure, path)
    return True


def weight_pixels(config: ConfigDict, params: Any, seed: int) -> np.ndarray | None:
    """The weights of one seed as a picture, uint8[height, width, 3]; None if its network declares none."""
    if not (strips := weight_strips(config, params, seed)):
        return None
    height = max(2.0, 0.4 + sum(strip.inches for strip in strips))
    figure = Figure(figsize=(4.0, height), dpi=120, layout="constrained")
    figure.suptitle(f"seed {seed}", fontsize=9)
    draw_strips(figure, strips)
    return pixels(figure)


def pixels(figure: Figure) -> np.ndarray:
    """A figure as uint8[height, width, 3]."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


class Strip(NamedTuple):
    """A matrix as it is drawn."""

    label: str
    matrix: np.ndarray  # [outputs, inputs]
    colours: str
    read: int | None = None  # inputs that are read of an image, before those that a recurrent cell remembers

    @property
    def inches(self) -> float:
        """How high it must be for its rows to be told apart."""
        return max(0.36, 0.1 * len(self.matrix))


def weight_strips(config: ConfigDict, params: Any, seed: int) -> list[Strip]:
    """Each effective weight matrix; above them what a and b are the sums of. Nothing if the network declares no weights."""
    spec, model = build.task_spec(config), build.network(config)
    declared = effective_weights(model, params, zeros(spec.example))
    remembers = isinstance(getattr(model, "cell", None), UnitCell)
    strips = []
    for path, matrix in jax.tree_util.tree_leaves_with_path(declared):
        layer, name = (str(key.key) for key in path[-2:])
        number = layer.rsplit("_", 1)[-1]
        label = f"{name}{int(number) + 1}" if number.isdigit() else name
        read = len(matrix) - spec.outputs if remembers else None
        strips.append(Strip(label, np.asarray(matrix).T, "RdBu_r", read))
    if not strips:
        return []
    draw = np.asarray(spec.task.init(key_at(Purpose.TASK, jnp.uint32(seed))))
    return [Strip("a, b", 0.6 * draw.T, "Greys"), *strips] if draw.size else strips


def draw_strips(figure: Figure | SubFigure, strips: list[Strip]) -> None:
    """Matrices one below the other, their outputs downwards."""
    heights = [strip.inches for strip in strips]
    panels = figure.subplots(len(strips), 1, squeeze=False, height_ratios=heights)[:, 0]
    for panel, strip in zip(panels, strips, strict=True):
        draw_strip(panel, strip.label, strip.matrix, strip.colours)
        if strip.read is not None:
            panel.axvline(strip.read - 0.5, color="black", linewidth=1.2)
            inputs = strip.matrix.shape[1]
            panel.set_xticks([(strip.read - 1) / 2, (strip.read + inputs - 1) / 2], ["read", "remembered"], fontsize=7)
            panel.tick_params(length=0, pad=2)


def zeros(shapes: Any) -> Any:
    """Arrays of these shapes and types."""
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


def draw_strip(panel: Axes, label: str, matrix: np.ndarray, colours: str) -> None:
    """One matrix [outputs, inputs], blue for -1, white for 0, red for 1; the numbers are written if there are few."""
    panel.imshow(matrix, cmap=colours, vmin=0 if colours == "Greys" else -1, vmax=1, aspect="auto", interpolation="nearest")
    panel.set_xticks([])
    panel.set_yticks([])
    panel.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
    if matrix.size <= 8 and colours != "Greys":
        for (row, column), value in np.ndenumerate(matrix):
            ink = "white" if abs(value) > 0.6 else "black"
            panel.text(column, row, f"{value:.3f}".replace("-", "−"), ha="center", va="center", fontsize=7, color=ink)


def best_params(result: CellResult, config: ConfigDict) -> Any:
    """The parameters of the cell's best seed, at its best evaluation."""
    example, model = build.task_spec(config).example, build.network(config)
    one = jax.eval_shape(lambda key, inputs: model.init(key, inputs)["params"], jax.random.key(0), example)
    seeds = len(result.seeds["seed"])
    template = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((seeds, *leaf.shape), leaf.dtype), one)
    stored = unpack(result.files.params.read_bytes(), {"best": template, "last": template})
    return jax.tree.map(lambda leaf: leaf[result.best_seed()], stored["best"])


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, facecolor="white")
    write_atomic(path, buffer.getvalue())
