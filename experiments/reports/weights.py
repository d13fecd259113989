"""Learned weights, as pictures of the matrices that units declare."""

import math
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from experiments.reports.figures import name_cell, save
from experiments.reports.results import FinishedRun
from experiments.reports.trained import Trained, best_of_cell
from nalu_jax.tasks.operations import sign
from nalu_jax.training.random import Purpose, key_at

MOST_WEIGHTS = 40
MOST_ABREAST = 4  # matrices of a grid without operations, in a row


def write(run: FinishedRun, folder: Path) -> None:
    """Writes weights.png: the weights of each cell's best seed, a row a unit, a column an operation.

    Without operations they stand side by side. Cells that declare no weights are left out. If all do, or if there are more
    than a picture can hold, nothing is written.
    """
    if len(run.cells) > MOST_WEIGHTS:
        return
    networks = [(result, best_of_cell(result, name_cell(result))) for result in run.cells]
    shown = [(result, strips) for result, trained in networks if (strips := weight_strips(trained))]
    if not shown:
        return
    operations = run._replace(cells=[result for result, _ in shown]).values_of("operation")
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
        text = ", ".join(filter(None, [name_cell(result), sign(result.axes.get("operation", ""))]))
        if result.threshold:
            text += ": solved" if result.solved[result.best_seed] else ": not solved"
        place.suptitle(text, fontsize=9)
    save(figure, folder / "weights.png")


def picture(trained: Trained) -> Figure | None:
    """The weights of one seed; None if its network declares none."""
    if not (strips := weight_strips(trained)):
        return None
    height = max(2.0, 0.4 + sum(strip.inches for strip in strips))
    figure = Figure(figsize=(4.0, height), dpi=120, layout="constrained")
    figure.suptitle(f"seed {trained.seed}", fontsize=9)
    draw_strips(figure, strips)
    return figure


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


def weight_strips(trained: Trained) -> list[Strip]:
    """Each effective weight matrix; above them the matrix that the task drew. Nothing if the network declares no weights."""
    remembered = getattr(getattr(trained.network, "cell", None), "remembered", 0)
    strips = []
    for path, matrix in jax.tree_util.tree_leaves_with_path(trained.weights()):
        layer, name = (str(key.key) for key in path[-2:])
        number = layer.rsplit("_", 1)[-1]
        label = f"{name}{int(number) + 1}" if number.isdigit() else name
        read = len(matrix) - remembered if remembered else None
        strips.append(Strip(label, np.asarray(matrix).T, "RdBu_r", read))
    if strips and (label := trained.task.task_state_label):
        drawn = np.asarray(trained.task.task.init(key_at(Purpose.TASK, jnp.uint32(trained.seed))))
        strips.insert(0, Strip(label, 0.6 * drawn.T, "Greys"))
    return strips


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


def draw_strip(panel: Axes, label: str, matrix: np.ndarray, colours: str) -> None:
    """One matrix [outputs, inputs], blue for -1, white for 0, red for 1; the numbers are written if there are few."""
    panel.imshow(matrix, cmap=colours, vmin=0 if colours == "Greys" else -1, vmax=1, aspect="auto", interpolation="nearest")
    panel.set_xticks([])
    panel.set_yticks([])
    panel.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
    if matrix.size <= 8 and colours != "Greys":
        for (row, column), value in np.ndenumerate(matrix):
            ink = "white" if abs(value) > 0.6 else "black"
            text = f"{value:z.3f}".replace("-", "−")
            panel.text(column, row, text, ha="center", va="center", fontsize=7, color=ink)
