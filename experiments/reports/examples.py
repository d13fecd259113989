"""The picture of what a task asks: examples that are images, with their answers."""

import math
from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from experiments.reports.figures import WIDTH, paper_style

HIGHEST = 0.9  # inches of an image
CAPTION = 0.2  # inches of a line of text
LETTER = 0.065  # inches of a letter


@paper_style
def draw_examples(batches: Mapping[str, list[Any]]) -> Figure:
    """The examples of each batch under its heading, each an image [height, width] with its answer above it.

    All images are as high, unless those of one batch are wider than those of another.
    """
    aspect = max(aspect_of(batch) for batch in batches.values())
    high = min(HIGHEST, WIDTH / aspect)
    abreast = [columns(batch, high) for batch in batches.values()]
    deep = [math.ceil(len(batch) / beside) for batch, beside in zip(batches.values(), abreast, strict=True)]
    heights = [rows * (high + CAPTION) + 1.5 * CAPTION for rows in deep]
    figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    parts = figure.subfigures(len(batches), 1, height_ratios=heights, squeeze=False).ravel()
    for part, (heading, batch), rows, beside in zip(parts, batches.items(), deep, abreast, strict=True):
        draw_batch(part, heading, batch, (rows, beside))
    return figure


def aspect_of(batch: list[Any]) -> float:
    """How many times as wide as high the widest image of a batch is."""
    return max((example.question.shape[1] / example.question.shape[0] for example in batch), default=1.0)


def columns(batch: list[Any], high: float) -> int:
    """How many images of a batch, so many inches high, stand beside each other: at most as many as have room.

    So have their answers. Fewer where that makes no row more.
    """
    letters = max((len(example.answer) for example in batch), default=0)
    room = max(1, int(WIDTH / max(high * aspect_of(batch), LETTER * letters)))
    return max(1, math.ceil(len(batch) / math.ceil(len(batch) / room))) if batch else 1


def draw_batch(part: SubFigure, heading: str, batch: list[Any], shape: tuple[int, int]) -> None:
    """A batch as rows and columns of images, from the left to the right."""
    part.suptitle(heading, fontweight="bold", x=0.005, ha="left")
    panels = list(part.subplots(*shape, squeeze=False).flat)
    for panel, example in zip(panels, batch, strict=False):
        draw_example(panel, example)
    for panel in panels[len(batch) :]:
        panel.set_visible(False)


def draw_example(panel: Axes, example: Any) -> None:
    """One image, its ink black, with its answer above it."""
    panel.imshow(example.question, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    panel.set_title(example.answer, pad=2)
    panel.set_xticks([])
    panel.set_yticks([])
    panel.spines[:].set_color("0.8")
