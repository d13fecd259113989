"""Learned weights, as pictures of the matrices that units declare."""

import math
import textwrap
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure

from experiments.reports.figures import WIDTH, label_cell, name_cell, paper_style, save
from experiments.reports.results import CellResult, FinishedRun
from experiments.reports.trained import Trained, best_of_cell
from nalu_jax.tasks.operations import sign
from nalu_jax.training.random import Purpose, key_at

MOST_WEIGHTS = 40
MOST_ABREAST = 4  # matrices of a grid without operations, in a row
WEIGHTS, DRAWN = "RdBu_r", "Greys"  # the colours of weights, and of a matrix that a task drew
BAR = 0.5  # inches of the bar of colours


@paper_style
def write(run: FinishedRun, folder: Path) -> None:
    """Writes weights.png and .pdf: the weights of each cell's best seed, a row a unit, a column an operation.

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
    titles = [title_of(result, letters=int(17 * WIDTH / columns)) for result, _ in shown]
    above = 0.15 * max(title.count("\n") + 1 for title in titles) + 0.1
    height = above + max(sum(strip.inches for strip in strips) for _, strips in shown)
    figure = Figure(figsize=(WIDTH, height * rows + BAR), layout="constrained")
    over, below = figure.subfigures(2, 1, squeeze=False, height_ratios=[height * rows, BAR])[:, 0]
    grid = over.subfigures(rows, columns, squeeze=False)
    for (result, strips), title in zip(shown, titles, strict=True):
        row, column = labels.index(name_cell(result)), operations.index(result.axes.get("operation", ""))
        place = grid[row, column] if len(operations) > 1 else grid.flat[row]
        draw_strips(place, strips)
        place.suptitle(title, fontsize=7.5)
    draw_bar(below, largest=max(np.abs(strip.matrix).max() for _, strips in shown for strip in strips))
    save(figure, folder / "weights.png")


def title_of(result: CellResult, letters: int) -> str:
    """What is written above the weights of a cell: its name with the sign of its operation, and whether they solve it."""
    name = ", ".join(filter(None, [label_cell(result), sign(result.axes.get("operation", ""))]))
    solved = ["solved" if result.solved[result.best_seed] else "not solved"] if result.threshold else []
    return "\n".join([textwrap.fill(name, letters), *solved])


def draw_bar(figure: SubFigure, largest: float) -> None:
    """The bar of colours, which says if weights beyond its ends are drawn like those at them."""
    clips = largest > 1
    colours = ScalarMappable(Normalize(-1, 1), WEIGHTS)
    panel = figure.subplots(1, 3, width_ratios=[1, 2, 1])
    panel[0].axis("off")
    panel[2].axis("off")
    extend = "both" if clips else "neither"
    bar = figure.colorbar(colours, cax=panel[1], orientation="horizontal", extend=extend, ticks=[-1, 0, 1])
    bar.outline.set_visible(False)
    bar.set_label(f"weight, cut off at ±1 (largest: {largest:.2g})" if clips else "weight")


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
        strips.append(Strip(label, np.asarray(matrix).T, WEIGHTS, read))
    if strips and (label := trained.task.task_state_label):
        drawn = np.asarray(trained.task.task.init(key_at(Purpose.TASK, jnp.uint32(trained.seed))))
        strips.insert(0, Strip(label, 0.6 * drawn.T, DRAWN))
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
            panel.set_xticks([(strip.read - 1) / 2, (strip.read + inputs - 1) / 2], ["read", "remembered"], fontsize=6.5)
            panel.tick_params(length=0, pad=2)


def draw_strip(panel: Axes, label: str, matrix: np.ndarray, colours: str) -> None:
    """One matrix [outputs, inputs], blue for -1, white for 0, red for 1; the numbers are written if there are few."""
    panel.imshow(matrix, cmap=colours, vmin=0 if colours == DRAWN else -1, vmax=1, aspect="auto", interpolation="nearest")
    panel.set_xticks([])
    panel.set_yticks([])
    panel.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
    digits, size = (3, 6.5) if matrix.shape[1] <= 2 else (2, 5.8)
    if matrix.size <= 8 and colours != DRAWN:
        for (row, column), value in np.ndenumerate(matrix):
            ink = "white" if abs(value) > 0.6 else "black"
            text = f"{value:z.{digits}f}".replace("-", "−")
            panel.text(column, row, text, ha="center", va="center", fontsize=size, color=ink)
