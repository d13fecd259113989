"""Pictures of cells: error against steps, and learned weights."""

import io
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import EngFormatter
from ml_collections import ConfigDict

from experiments import build
from experiments.results import CellResult
from nalu_jax.checkpoint import unpack, write_atomic
from nalu_jax.learners.supervised import effective_weights
from nalu_jax.random import Purpose, key_at

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
)
OPERATION_SIGNS = {"add": "a + b", "sub": "a − b", "mul": "a × b", "div": "a ÷ b", "squared": "a²", "root": "√a"}
ERRORS = {"interpolation_mse": "interpolation", "extrapolation_mse": "extrapolation"}
SMALLEST, LARGEST = 1e-14, 1e14  # errors beyond are drawn at the edge


def sign(operation: Any) -> str:
    """An operation as the papers write it."""
    return OPERATION_SIGNS.get(str(operation), str(operation))


def curves(results: list[CellResult], path: Path) -> None:
    """Error against steps, a column an operation: the median over seeds as a line, the quartiles as a band."""
    operations = list(dict.fromkeys(result.axes.get("operation", "") for result in results))
    labels = list(dict.fromkeys(result.label for result in results))
    figure = Figure(figsize=(max(6.4, 2.9 * len(operations) + 1.2), 5.6), layout="constrained")
    panels = figure.subplots(2, len(operations), sharex="col", sharey="row", squeeze=False)
    for result in results:
        column = operations.index(result.axes.get("operation", ""))
        colour = COLOURS[labels.index(result.label) % len(COLOURS)]
        data = result.curves()
        for panel, name in zip(panels[:, column], ERRORS, strict=True):
            low, middle, high = np.clip(data[name].T, SMALLEST, LARGEST)
            panel.plot(data["step"], middle, color=colour, linewidth=1.4, label=result.label)
            panel.fill_between(data["step"], low, high, color=colour, alpha=0.18, linewidth=0)
    for column, operation in enumerate(operations):
        panels[0, column].set_title(sign(operation))
        panels[1, column].set_xlabel("step")
        threshold = next(r.result["threshold"] for r in results if r.axes.get("operation", "") == operation)
        panels[1, column].axhline(threshold, color="0.25", linestyle=(0, (4, 3)), linewidth=0.9, label="solved below")
    for row, name in enumerate(ERRORS.values()):
        panels[row, 0].set_ylabel(f"{name} error (MSE)")
        panels[row, 0].set_yscale("log")
    for panel in panels.flat:
        panel.grid(color="0.92", linewidth=0.6)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
        panel.margins(x=0.01)
    handles = {line.get_label(): line for panel in panels[1] for line in panel.get_lines()}
    handles["solved below"] = handles.pop("solved below")
    seeds = len(results[0].seeds["seed"])
    title = f"median and quartiles\nof {seeds} seeds"
    legend = figure.legend(
        handles.values(), handles, loc="outside right upper", frameon=False, title=title, alignment="left"
    )
    legend.get_title().set_fontsize(9)
    save(figure, path)


def weights(results: list[CellResult], configs: list[ConfigDict], path: Path) -> None:
    """The weights of each cell's best seed, a row a unit, a column an operation."""
    operations = list(dict.fromkeys(result.axes.get("operation", "") for result in results))
    labels = list(dict.fromkeys(result.label for result in results))
    figure = Figure(figsize=(3.1 * len(operations), 1.5 * len(labels) + 0.6), layout="constrained")
    grid = figure.subfigures(len(labels), len(operations), squeeze=False, wspace=0.02, hspace=0.04)
    for result, config in zip(results, configs, strict=True):
        place = grid[labels.index(result.label), operations.index(result.axes.get("operation", ""))]
        draw_weights(place, config, best_params(result, config), int(result.seeds["seed"][result.best_seed()]))
        solved = "solved" if result.solved[result.best_seed()] else "not solved"
        place.suptitle(f"{result.label}, {sign(result.axes.get('operation', ''))}: {solved}", fontsize=9)
    save(figure, path)


def weight_pixels(config: ConfigDict, params: Any, seed: int) -> np.ndarray:
    """The weights of one seed as a picture, uint8[height, width, 3]."""
    figure = Figure(figsize=(4.0, 2.0), dpi=120, layout="constrained")
    figure.suptitle(f"seed {seed}", fontsize=9)
    draw_weights(figure, config, params, seed)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def draw_weights(figure: Figure | SubFigure, config: ConfigDict, params: Any, seed: int) -> None:
    """Each effective weight matrix as a strip, outputs downwards; above them what a and b are the sums of."""
    task = build.task_spec(config).task
    draw = np.asarray(task.init(key_at(Purpose.TASK, np.uint32(seed))))
    declared = effective_weights(build.network(config), params, task.interpolation[:, :1])
    strips = [("a, b", 0.6 * draw.T, "Greys")]
    for path, matrix in jax.tree_util.tree_leaves_with_path(declared):
        layer, name = (str(key.key) for key in path)
        strips.append((f"{name}{int(layer.rsplit('_', 1)[-1]) + 1}", np.asarray(matrix).T, "RdBu_r"))
    panels = figure.subplots(len(strips), 1, squeeze=False)[:, 0]
    for panel, (label, matrix, colours) in zip(panels, strips, strict=True):
        draw_strip(panel, label, matrix, colours)


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
    task, model = build.task_spec(config).task, build.network(config)
    one = jax.eval_shape(lambda key: model.init(key, task.interpolation[:, :1])["params"], jax.random.key(0))
    seeds = len(result.seeds["seed"])
    template = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((seeds, *leaf.shape), leaf.dtype), one)
    stored = unpack(result.files.params.read_bytes(), {"best": template, "last": template})
    return jax.tree.map(lambda leaf: leaf[result.best_seed()], stored["best"])


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, facecolor="white")
    write_atomic(path, buffer.getvalue())
