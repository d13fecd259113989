"""What pictures have in common: style, the look of each unit, names, axes, legends, heat maps, files."""

import io
import math
import re
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.style
import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap, to_hex
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D

from experiments.reports.formats import LABELS, label_unit, name_range
from experiments.reports.results import CellResult
from experiments.settings.grid import BY_VALUE
from nalu_jax.registry import UNITS
from nalu_jax.storage.files import write_atomic

WIDTH = 5.5  # inches of text in a paper
MOST_SERIES = 8  # that lines or intervals can tell apart; of more there is a heat map
SMALLEST, LARGEST = 1e-14, 1e14  # errors beyond are drawn at the edge

# Decorates what draws a picture for a paper: sizes of text and lines.
paper_style = matplotlib.style.context(Path(__file__).with_name("nalu_jax.mplstyle"))


# Names


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


AXIS_LABELS = {"r_z_weight": "$R_z$ weight"}


def label_axis(axis: str, value: Any) -> str:
    """A value of an axis as pictures write it: a unit by its paper name, "NAC•", a number as "hidden size 2"."""
    if axis == "unit":
        return label_unit(str(value))
    if axis == "interpolation_range":
        return name_range(value)
    if value in LABELS.get(axis, ()):
        return LABELS[axis][value]
    if axis in (*BY_VALUE, "optimizer", "range", "run"):
        return str(value)
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{AXIS_LABELS.get(axis, axis.replace('_', ' '))} {text}"


def label_cell(result: CellResult, *without: str) -> str:
    """A cell as pictures write it, "NAU accumulator, R_z weight 1", by the axes that ``name_cell`` names."""
    axes = dict(named_axes(result, *without))
    body = " ".join(filter(None, (label_axis(axis, axes.pop(axis)) for axis in ("unit", "cell", "readout") if axis in axes)))
    others = [label_axis(axis, value) for axis, value in axes.items()]
    return ", ".join(filter(None, [body, *others])) or name_cell(result, *without)


# Looks

# A colour and a marker for each unit and cell: Okabe and Ito's palette first. Whoever shares a marker differs in lightness,
# for those who print grey. A marker (n, 1, 0) is a star of n points. A cell that is made of a unit looks like the unit.
LOOKS: dict[str, tuple[str, Any]] = {
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
    "dnc": ("#595959", "8"),
    "elu": ("#285D77", "d"),
    "tanh": ("#45264F", "p"),
    "sigmoid": ("#DCBBA3", "h"),
    "softsign": ("#2A4F2A", (4, 1, 0)),
    "selu": ("#30447F", (6, 1, 0)),
    "crelu": ("#441A24", (3, 1, 0)),
    "leaky_relu": ("#6E6E25", "p"),
    "hardtanh": ("#2B7165", "h"),
    "tanhshrink": ("#D8B7D8", "d"),
    "softshrink": ("#9E4F35", (4, 1, 0)),
    "hardshrink": ("#162534", "o"),
    "softplus": ("#A9CC87", (6, 1, 0)),
    "threshold": ("#302714", "s"),
    "prelu": ("#A04D85", (3, 1, 0)),
    "linear_no_bias": ("#C6C0C0", "p"),
    "tanh_linear": ("#A142C0", (6, 1, 0)),
    "tanh_linear_no_bias": ("#D98ED9", (4, 1, 0)),
    "sigmoid_linear": ("#CB7F33", "d"),
    "sigmoid_linear_no_bias": ("#DABF6C", (3, 1, 0)),
    "nac_bias": ("#043354", "X"),
    "dmu_difference": ("#4E341A", "h"),
    "inalu_original": ("#E8A4CC", "o"),
    "inalu_shared": ("#D9658C", "p"),
    "mc_fc_mul_sign_inalu": ("#1E1E4E", "v"),
    "mc_fc_mul_sign_real_npu": ("#43599B", "^"),
    "nalu_separate": ("#F9AD87", ">"),
    "nalu_bias": ("#6A3806", "o"),
    "nalu_separate_bias": ("#4B1608", "<"),
    "nalu_two_gates": ("#C58B16", "h"),
    "nalu_gate_penalty": ("#E26459", (3, 1, 0)),
    "nalu_gumbel": ("#7C660E", "*"),
    "nalu_safe": ("#9B4427", "P"),
    "nalu_trig": ("#3A360A", "d"),
    "nmru_without_sign": ("#792836", "s"),
    "nmu_unregularised": ("#3F1230", "D"),
    "nmu_unbounded": ("#AD3AA3", "D"),
    "nmu_unbounded_unregularised": ("#CB648F", (4, 1, 0)),
    "nmu_sigma": ("#C985D6", (6, 1, 0)),
    "batch_snmu": ("#481248", (4, 1, 0)),
    "naive_npu": ("#0A2915", "*"),
    "real_npu_modified": ("#425114", (3, 1, 0)),
    "nsr": ("#3F1810", (6, 1, 0)),
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
        rates[names.index(name_cell(cell, *without)), places.index(cell.value_of(without[0]))] = cell.solved.mean()
    return Block(title, rates, np.array([not can(one.unit, operation) for one in series.values()]))


def can(unit: str, operation: str) -> bool:
    """Whether a unit supports an operation; one that is not registered may."""
    return not operation or unit not in UNITS or operation in UNITS[unit](1).operations


def heat_maps(blocks: list[Block], rows: list[str], columns: list[str], below: str, seeds: str) -> Figure:
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


# The kinds of file that a figure is written as. Images in a PDF or SVG are as fine as its dpi.
KINDS: dict[str, dict[str, Any]] = {
    "png": {"dpi": 200},
    "pdf": {"dpi": 300, "metadata": {"CreationDate": None}},
    "svg": {"dpi": 200, "metadata": {"Date": None}},
}


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG, and as PDF and SVG beside it; the same figure is the same files.

    The SVG says in its description what it shows, for those who cannot see it.
    """
    settle(figure)
    description = describe(figure)
    for kind, options in KINDS.items():
        buffer = io.BytesIO()
        if kind == "svg":
            options = options | {"metadata": options["metadata"] | {"Description": description}}
        with rc_context({"svg.hashsalt": path.stem}):  # names of an SVG's parts are hashes, else of something random
            figure.savefig(buffer, format=kind, facecolor="white", **options)
        write_atomic(path.with_suffix(f".{kind}"), buffer.getvalue())


def describe(figure: Figure) -> str:
    """What a figure shows, in words: the titles of its panels, their axes, and what its legends name."""
    parts = {
        "": [figure.get_suptitle()],
        "Panels: ": [panel.get_title() for panel in figure.axes],
        "Across: ": [panel.get_xlabel() for panel in figure.axes],
        "Upwards: ": [panel.get_ylabel() for panel in figure.axes],
    }
    for legend in (*figure.legends, *(legend for panel in figure.axes if (legend := panel.get_legend()))):
        heading = legend.get_title().get_text()
        parts[f"{heading}: " if heading else "Shown: "] = [text.get_text() for text in legend.get_texts()]
    told = {name: list(dict.fromkeys(filter(None, map(in_words, texts)))) for name, texts in parts.items()}
    return " ".join(f"{name}{', '.join(texts)}." for name, texts in told.items() if texts)


def in_words(text: str) -> str:
    """A label of a figure in one line, without the signs of its formulas."""
    return re.sub(r"\\(?:mathrm|cdot)|[${}]", "", " ".join(text.split()))


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
