"""What pictures have in common: colours, axes, legends, names of cells, files."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.grid import BY_VALUE
from experiments.reports.results import CellResult
from nalu_jax.storage.files import write_atomic

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
SMALLEST, LARGEST = 1e-14, 1e14  # errors beyond are drawn at the edge


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
    named = [(axis, value) for axis, value in result.axes.items() if axis not in ("operation", *without)]
    return " ".join(name_axis(axis, value) for axis, value in named if value not in ("", None))


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


def look_of(index: int) -> dict[str, Any]:
    """The colour and marker of a unit, an open one from where the colours recur."""
    colour = COLOURS[index % len(COLOURS)]
    inside = colour if index < len(COLOURS) else "white"
    marker = MARKERS[index % len(MARKERS)]
    return {"color": colour, "marker": marker, "markersize": 3.8, "markerfacecolor": inside}


def pixels(figure: Figure) -> np.ndarray:
    """A figure as uint8[height, width, 3]."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, facecolor="white")
    write_atomic(path, buffer.getvalue())
