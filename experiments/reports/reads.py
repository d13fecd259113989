"""What each cell predicts of a single image, and what its reader makes of it."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.reports.figures import COLOURS, WIDTH, label_cell, paper_style, quiet, save
from experiments.reports.formats import number
from experiments.reports.lengths import check as check
from experiments.reports.results import FinishedRun
from experiments.reports.trained import Trained, best_of_cell
from nalu_jax.sequences import Sequences
from nalu_jax.types import Array

MOST_PANELS, MOST_ABREAST = 24, 4
LOWEST, HIGHEST = -1.5, 10.5  # answers beyond are drawn at the edge
ANSWERS = 400  # images that a network is asked about


@paper_style
def write(run: FinishedRun, folder: Path) -> None:
    """Writes reads.png and .pdf: what each cell's best seed predicts of a single image, a panel a cell.

    Of a sum or product its answers to test images of each digit and, in grey where its reader reads one number, that
    number; of counts a matrix, the digit downwards and the outputs across.
    """
    networks = [best_of_cell(result, label_cell(result)) for result in run.cells[:MOST_PANELS]]
    columns = min(len(networks), MOST_ABREAST)
    rows = -(-len(networks) // columns)
    figure = Figure(figsize=(WIDTH, (WIDTH - 0.6) / columns * rows + 0.22 * rows + 0.3), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    for panel, network in zip(panels.flat, networks, strict=False):
        draw_reading(panel, network)
        panel.set_title(f"{network.name}\n{panel.get_title()}", fontsize=7.5)
    for panel in panels.flat[len(networks) :]:
        panel.set_visible(False)
    for row in panels:  # the first panel's label is that of its row
        row[0].set_ylabel(max((panel.get_ylabel() for panel in row), key=len))
    for panel in panels.flat:
        panel.label_outer()
    if images := [panel.images[0] for panel in panels.flat if panel.images]:
        clips = max(np.abs(image.get_array()).max() for image in images) > 1
        extend = "both" if clips else "neither"
        bar = figure.colorbar(images[0], ax=panels, shrink=0.9 / rows**0.5, ticks=[-1, 0, 1], pad=0.02, extend=extend)
        bar.set_label("mean answer, cut off at ±1" if clips else "mean answer")
    if len(run.cells) > MOST_PANELS:
        figure.supxlabel(f"the first {MOST_PANELS} of {len(run.cells)} cells", color="0.35")
    save(figure, folder / "reads.png")


def picture(trained: Trained) -> Figure:
    """What one network predicts of single images."""
    figure = Figure(figsize=(3.6, 3.6), dpi=110, layout="constrained")
    draw_reading(figure.subplots(), trained)
    return figure


def draw_reading(panel: Axes, network: Trained) -> None:
    """The answers of a network to single images, with how many are right as the title."""
    batch = network.task.task.evaluations(())["extrapolation"]
    asked = batch.inputs.order[0, :ANSWERS]
    totals = batch.targets[:, 0, :ANSWERS]
    predicted = network.predict(Sequences(batch.inputs.elements[..., asked], jnp.arange(len(asked))[None]))[:, 0]
    right = network.task.task.metrics(jnp.asarray(predicted)[:, None], batch._replace(targets=totals[:, None]))["accuracy"]
    if len(totals) > 1:
        draw_counts(panel, np.asarray(totals).argmax(0), predicted)
    else:
        digits, z = np.asarray(totals)[0], read_by(network, batch.inputs.elements[..., asked])
        draw_answers(panel, digits, predicted[0], read=z[0] if len(z) == 1 else None)
    panel.set_title(f"{100 * float(right):.0f} % right")


def draw_counts(panel: Axes, digits: np.ndarray, predicted: np.ndarray) -> None:
    """The mean answers [outputs] to images of each digit, a row a digit: blue for -1, white for 0, red for 1."""
    mean = np.array(
        [predicted[:, digits == d].mean(1) if (digits == d).any() else np.zeros(len(predicted)) for d in range(10)]
    )
    panel.imshow(mean, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    panel.set_xticks(range(len(predicted)))
    panel.set_yticks(range(10))
    panel.tick_params(length=0, labelsize=6)
    panel.set_xlabel("counted as")
    panel.set_ylabel("digit shown")


def draw_answers(panel: Axes, digits: np.ndarray, predicted: np.ndarray, read: np.ndarray | None) -> None:
    """Each answer above its digit, a little aside; answers beyond the panel are triangles at its edge.

    In grey what the reader read, unless that is the answer.
    """
    panel.axline((0, 0), slope=1, color="0.55", linewidth=0.8, zorder=1)
    grey = read is not None and not np.allclose(read, predicted)
    if read is not None and grey:
        draw_points(panel, digits, read, "0.6")
    inside, aside = draw_points(panel, digits, predicted, COLOURS[0])
    for beyond, marker, edge in ((predicted >= HIGHEST, "^", HIGHEST - 0.3), (predicted <= LOWEST, "v", LOWEST + 0.3)):
        where = digits[beyond] + aside[beyond]
        panel.scatter(where, np.full(len(where), edge), s=9, alpha=0.45, color=COLOURS[1], marker=marker, linewidth=0)
    if inside.mean() < 0.5:
        panel.text(4.5, 4.5, f"median {number(float(np.median(predicted)))}", ha="center", color=COLOURS[1])
    panel.set(xlim=(-0.6, 9.6), ylim=(LOWEST, HIGHEST))
    panel.set_xticks(range(0, 10, 3))
    panel.set_yticks(range(0, 10, 3))
    quiet(panel)
    panel.set_xlabel("digit shown")
    panel.set_ylabel("answer (grey: reader)" if grey else "answer")


def draw_points(panel: Axes, digits: np.ndarray, values: np.ndarray, color: str) -> tuple[np.ndarray, np.ndarray]:
    """A point a value above its digit, a little aside; which of them are inside the panel, and how far aside they stand."""
    aside = np.random.RandomState(0).uniform(-0.3, 0.3, len(digits))
    inside = (values > LOWEST) & (values < HIGHEST)
    panel.scatter(digits[inside] + aside[inside], values[inside], s=5, alpha=0.45, color=color, linewidth=0)
    return inside, aside


def read_by(trained: Trained, images: Array) -> np.ndarray:
    """What the reader makes of each image, before the cell: [h, w, images] → f32[features, images]."""
    read = trained.network.apply({"params": trained.params}, images, method="read")
    return np.asarray(read)
