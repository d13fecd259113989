"""What pictures have in common: style, the look of each unit, names, axes, legends, heat maps, files."""

import io
import math
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.style
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap, to_hex
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D

from experiments.grid import BY_VALUE
from experiments.reports.results import CellResult
from nalu_jax.registry import UNITS
from nalu_jax.storage.files import write_atomic

WIDTH = 5.5  # inches of text in a paper
MOST_SERIES = 8  # that lines or intervals can tell apart; of more there is a heat map
SMALLEST, LARGEST = 1e-14, 1e14  # errors beyond are drawn at the edge

# Decorates what draws a picture for a paper: sizes of text and lines.
paper_style = matplotlib.style.context(Path(__file__).with_name("nalu_jax.mplstyle"))


# Names


def name_range(intervals: Any) -> str:
    """A range as the papers write it, U[−2, −1); of a union each interval."""
    pairs = intervals if isinstance(intervals[0], tuple | list) else (intervals,)
    return "U" + " ∪ ".join(f"[{low:g}, {high:g})" for low, high in pairs).replace("-", "−")


def name_axis(axis: str, value: Any) -> str:
    """A value of an axis, with the name of the axis unless the value speaks for itself."""
    if axis in (*BY_VALUE, "optimizer"):
        return str(value)
    return name_range(value) if axis == "interpolation_range" else f"{axis}={value}"


def name_cell(result: CellResult, *without: str) -> str:
    """A cell by its axes but the operation, which has a panel or a row of its own, and those left out."""
    return " ".join(name_axis(axis, value) for axis, value in named_axes(result, *without))


def named_axes(result: CellResult, *without: str) -> list[tuple[str, Any]]:
    """The axes of a cell that have a value, but the operation and those left out."""
    axes = [(axis, value) for axis, value in result.axes.items() if axis not in ("operation", *without)]
    return [(axis, value) for axis, value in axes if value not in ("", None)]


LABELS = {
    "cell": {"lstm": "LSTM", "gru": "GRU", "rnn_tanh": "RNN-tanh", "rnn_relu": "RNN-ReLU"}
    | {"unit": "", "exact_sum": "exact sum", "exact_product": "exact product"}
    | {"configured_nalu": "LSTM-configured NALU", "ugrnn": "UGRNN"},
    "readout": {"dense": "+ dense", "none": ""},
    "optimizer": {"adam": "Adam", "sgd": "SGD"},
}
AXIS_LABELS = {"r_z_weight": "$R_z$ weight"}


def label_axis(axis: str, value: Any) -> str:
    """A value of an axis as pictures write it: a unit by its paper name, "NAC•", a number as "hidden size 2"."""
    if axis == "unit":
        return label_unit(str(value))
    if axis == "interpolation_range":
        return name_range(value)
    if value in LABELS.get(axis, ()):
        return LABELS[axis][value]
    if axis in (*BY_VALUE, "optimizer"):
        return str(value)
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{AXIS_LABELS.get(axis, axis.replace('_', ' '))} {text}"


def label_unit(name: str) -> str:
    """The paper name of a unit; of one that has none its registered name."""
    return (getattr(UNITS[name](1), "label", "") or name) if name in UNITS else name


def label_cell(result: CellResult, *without: str) -> str:
    """A cell as pictures write it, "NAU accumulator, R_z weight 1", by the axes that ``name_cell`` names."""
    axes = dict(named_axes(result, *without))
    body = " ".join(filter(None, (label_axis(axis, axes.pop(axis)) for axis in ("unit", "cell", "readout") if axis in axes)))
    others = [label_axis(axis, value) for axis, value in axes.items()]
    return ", ".join(filter(None, [body, *others])) or name_cell(result, *without)


# Looks

# A colour and a marker for each unit: Okabe and Ito's palette first. Whoever shares a marker differs in lightness.
LOOKS = {
    "nac": ("#0072B2", "o"),
    "nac_mul": ("#56B4E9", "s"),
    "nac_mul_sigma": ("#332288", "^"),
    "nac_mul_nmu": ("#44AA99", ">"),
    "nalu": ("#D55E00", "^"),
    "gnalu": ("#E69F00", "v"),
    "inalu": ("#882255", "v"),
    "nau": ("#009E73", "D"),
    "nmu": ("#CC79A7", "*"),
    "snmu": ("#AA4499", "s"),
    "gated_nau_nmu": ("#B8CE4A", "*"),
    "npu": ("#117733", "X"),
    "real_npu": ("#999933", "o"),
    "nru": ("#661100", ">"),
    "nmru": ("#CC6677", "v"),
    "mc_fc": ("#3B3B98", "*"),
    "mc_fc_mul": ("#8DA0CB", "X"),
    "dmu": ("#B07D48", "<"),
    "linear": ("#404040", "P"),
    "relu": ("#7F7F7F", "P"),
    "relu6": ("#A9A9A9", "^"),
    "lstm": ("#6A3D9A", "<"),
    "gru": ("#C3A5E6", "<"),
    "rnn_tanh": ("#5B4A1E", "D"),
    "rnn_relu": ("#C9A66B", "P"),
    "configured_nalu": ("#9E3D00", ">"),
    "ugrnn": ("#17BECF", "D"),
    "exact_sum": ("#000000", ""),
    "exact_product": ("#000000", ""),
}
# Okabe and Ito's, for what is no unit.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "os^DvPX<>*"
LINES = ("-", (0, (5, 2)), (0, (1, 1.3)), (0, (5, 1.5, 1, 1.5)))


def look_of(name: str, variant: int = 0) -> dict[str, Any]:
    """How a unit or cell looks in every picture; variants of it differ in line style, and every other marker is open.

    One that has no look of its own above gets one from its name, with a black edge.
    """
    number = zlib.crc32(name.encode())
    other = to_hex(colormaps["viridis"](0.9 * (number % 997) / 996)), MARKERS[number // 997 % len(MARKERS)]
    colour, marker = LOOKS.get(name, other)
    is_open = (variant + variant // len(LINES)) % 2 == 1
    look = {"color": colour, "marker": marker, "markerfacecolor": "white" if is_open else colour}
    return look | {"markeredgecolor": colour if name in LOOKS else "black", "linestyle": LINES[variant % len(LINES)]}


def made_of(result: CellResult) -> str:
    """The unit that a cell is made of, else the recurrent cell."""
    config = result.cell.config
    cell = config.network.get("cell", "unit")
    unit = config.unit.get("name", "") if cell in ("unit", "accumulator") else ""
    return str(result.axes.get("unit") or unit or cell)


class Series(NamedTuple):
    """What the cells of one line of a picture, or one row of a heat map, have in common."""

    label: str
    unit: str
    look: dict[str, Any]


def series_of(cells: list[CellResult], *without: str) -> dict[str, Series]:
    """The series of a picture by name: cells that differ in nothing but the operation and the axes left out."""
    found: dict[str, Series] = {}
    for result in cells:
        name, unit = name_cell(result, *without), made_of(result)
        if name not in found:
            variant = sum(series.unit == unit for series in found.values())
            found[name] = Series(label_cell(result, *without), unit, look_of(unit, variant))
    return found


# Axes and legends


def quiet(panel: Axes) -> None:
    """A pale grid behind the data, and no frame above and to the right."""
    panel.grid(color="0.92", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


def handles_of(series: dict[str, Series]) -> list[Line2D]:
    """What stands for each series in a legend."""
    return [Line2D([], [], label=one.label, **one.look) for one in series.values()]


def legend_columns(labels: list[str]) -> int:
    """How many columns of such labels a page is wide."""
    return max(1, min(len(labels), int(72 * WIDTH / (36 + 4.3 * max(map(len, labels), default=1)))))


def legend_inches(labels: list[str]) -> float:
    """How high a legend of these labels is, with its title."""
    return 0.2 + 0.16 * math.ceil(len(labels) / legend_columns(labels))


def legend_below(figure: Figure, handles: list[Line2D], title: str) -> None:
    """A legend under the panels, in as many columns as fit."""
    columns = legend_columns([str(handle.get_label()) for handle in handles])
    options = {"handlelength": 2.6, "columnspacing": 1.2, "labelspacing": 0.35, "borderaxespad": 0.2}
    figure.legend(handles=handles, title=title, loc="outside lower center", ncols=columns, **options)


# Heat maps

HEAT = ListedColormap(colormaps["magma_r"](np.linspace(0.0, 0.8, 256)))  # perceptually uniform, the darker the better
CELL = (0.21, 0.165)  # inches, at least


class Block(NamedTuple):
    """A panel of a heat map: rates f64[rows, columns], NaN where there is no cell, and the rows that cannot have one."""

    title: str
    rates: np.ndarray
    cannot: np.ndarray  # bool[rows]


def block_of(
    title: str, operation: str, cells: list[CellResult], series: dict[str, Series], places: list[Any], *without: str
) -> Block:
    """The success rates of the cells of an operation: a row a series, a column a value of the first axis left out."""
    rates, names = np.full((len(series), len(places)), np.nan), list(series)
    for cell in cells:
        rates[names.index(name_cell(cell, *without)), places.index(cell.axes[without[0]])] = cell.solved.mean()
    return Block(title, rates, np.array([not can(one.unit, operation) for one in series.values()]))


def can(unit: str, operation: str) -> bool:
    """Whether a unit supports an operation; one that is not registered may."""
    return not operation or unit not in UNITS or operation in UNITS[unit](1).operations


def heat_maps(blocks: list[Block], rows: list[str], columns: list[str], below: str, seeds: int) -> Figure:
    """Blocks of success rates with the same rows and columns, as many abreast as fit."""
    beside = 0.055 * max(map(len, rows)) + 0.15
    block = CELL[0] * len(columns)
    abreast = max(1, min(len(blocks), int((WIDTH - beside) / block)))
    deep = math.ceil(len(blocks) / abreast)
    height = deep * (CELL[1] * len(rows) + 0.25) + 0.06 * max(map(len, columns)) + 0.9
    figure = Figure(figsize=(max(WIDTH, beside + block), height), layout="constrained")
    panels = figure.subplots(deep, abreast, sharex=True, sharey=True, squeeze=False)
    images = [draw_heat(panel, block) for panel, block in zip(panels.flat, blocks, strict=False)]
    for panel in panels.flat[len(blocks) :]:
        panel.set_visible(False)
    panels[0, 0].set_yticks(range(len(rows)), rows)
    for panel in panels[-1]:
        panel.set_xticks(range(len(columns)), columns, rotation=90)
        panel.set_xlabel(below)
    bar = figure.colorbar(images[0], ax=panels, location="bottom", shrink=0.5, aspect=40, pad=0.02)
    bar.set_ticks([0, 0.25, 0.5, 0.75, 1], labels=["0", "25", "50", "75", "100"])
    dashes = any(np.isnan(block.rates[block.cannot]).any() for block in blocks)
    bar.set_label(f"solved of {seeds} seeds / %" + (";  –  the unit does not support the operation" if dashes else ""))
    bar.outline.set_visible(False)
    return figure


def draw_heat(panel: Axes, block: Block) -> AxesImage:
    """One block: in each cell the rate in per cent on its colour; a dash where none can be, blank where only none is."""
    image = panel.imshow(
        np.ma.masked_invalid(block.rates), cmap=HEAT, vmin=0, vmax=1, aspect="auto", interpolation="nearest"
    )
    for (row, column), rate in np.ndenumerate(block.rates):
        if np.isfinite(rate):
            ink = "white" if rate > 0.5 else "black"
            panel.text(column, row, f"{100 * rate:.0f}", ha="center", va="center", fontsize=6.5, color=ink)
        elif block.cannot[row]:
            panel.text(column, row, "–", ha="center", va="center", fontsize=6.5, color="0.6")
    rows, columns = block.rates.shape
    panel.set_xticks(np.arange(columns) + 0.5, minor=True)
    panel.set_yticks(np.arange(rows) + 0.5, minor=True)
    panel.grid(which="minor", color="white", linewidth=0.5)
    panel.set_title(block.title)
    panel.tick_params(which="both", length=0)
    panel.spines[:].set_visible(False)
    return image


# Files


def pixels(figure: Figure) -> np.ndarray:
    """A figure as uint8[height, width, 3]."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG, and as PDF beside it; the same figure is the same files."""
    settle(figure)
    # Images in a PDF are as fine as its dpi.
    for kind, options in {"png": {"dpi": 200}, "pdf": {"dpi": 300, "metadata": {"CreationDate": None}}}.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, facecolor="white", **options)
        write_atomic(path.with_suffix(f".{kind}"), buffer.getvalue())


def settle(figure: Figure) -> None:
    """Fixes the layout of a figure, rounded to a millionth of its size: matplotlib's solver varies in the last digits."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    parts: list[Figure | SubFigure] = [figure]
    for part in parts:  # grows meanwhile
        parts += part.subfigs
        if isinstance(part, SubFigure):
            part.bbox_relative.set_points(part.bbox_relative.get_points().round(6))
    for panel in figure.axes:
        panel.set_position(np.round(panel.get_position(original=True).bounds, 6).tolist())
