"""A sequence of digits, and below it the totals that each cell predicts."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from experiments.reports.figures import WIDTH, label_cell, paper_style, save
from experiments.reports.lengths import check as check
from experiments.reports.results import FinishedRun
from experiments.reports.trained import Trained, best_of_cell
from nalu_jax.data.mnist import denormalised
from nalu_jax.sequences import Sequences
from nalu_jax.tasks.digit_sequences import DigitSequences
from nalu_jax.types import Array

MOST_DIGITS, MOST_ROWS = 10, 20
ROW = 0.165  # inches of a row of the table
LONG = 1000  # totals from here on are too long for a decimal
TO_RED = LinearSegmentedColormap.from_list("to red", ["white", "#fbe3d6", "#f4a582", "#d6604d"])


@paper_style
def write(run: FinishedRun, folder: Path) -> None:
    """Writes strip.png and .pdf: the digits of a test sequence, and below them what each cell's best seed predicts.

    Of sums and products the total at each place; of counts how often each digit came in all. White is right; the redder, the
    further off.
    """
    networks = [best_of_cell(result, label_cell(result)) for result in run.cells[:MOST_ROWS]]
    tasks: dict[str, list[Trained]] = {}
    for network in networks:
        tasks.setdefault(repr(network.task), []).append(network)
    figure = Figure(figsize=(WIDTH, sum(strip_inches(group) for group in tasks.values())), layout="constrained")
    places = figure.subfigures(len(tasks), 1, squeeze=False, height_ratios=[strip_inches(group) for group in tasks.values()])
    for place, group in zip(places[:, 0], tasks.values(), strict=True):
        draw_sequence(place, group)
    if len(run.cells) > MOST_ROWS:
        figure.supxlabel(f"the first {MOST_ROWS} of {len(run.cells)} cells", color="0.35")
    save(figure, folder / "strip.png")


def picture(trained: Trained) -> Figure:
    """The strip of one network."""
    figure = Figure(figsize=(7.6, 1.4 * strip_inches([trained])), dpi=110, layout="constrained")
    draw_sequence(figure, [trained._replace(name="best seed")])
    return figure


class Shown(NamedTuple):
    """One test sequence: its images and its running totals."""

    images: Array  # f32[28, 28, time]
    totals: np.ndarray  # f32[out, time]


def first_sequence(spec: DigitSequences) -> Shown:
    """The beginning of the first test sequence."""
    batch = spec.task.evaluations(())["extrapolation"]
    order = np.asarray(batch.inputs.order)[:MOST_DIGITS, 0]
    return Shown(batch.inputs.elements[..., order], np.asarray(batch.targets)[:, : len(order), 0])


def strip_inches(networks: list[Trained]) -> float:
    """How high the strip of so many networks is."""
    return 1.2 + ROW * len(networks)


def draw_sequence(figure: Any, networks: list[Trained]) -> None:
    """The images of a sequence above the table of what the networks make of them."""
    spec = networks[0].task
    assert isinstance(spec, DigitSequences)
    shown = first_sequence(spec)
    digits = shown.images.shape[-1]
    counted = spec.outputs > 1
    columns = spec.outputs if counted else digits
    # Images stand above their totals; counts are not of places, and theirs stand close together in the middle.
    side, left = (0.75, columns / 2 - 0.375 * digits) if counted else (1.0, 0.0)
    above, below = figure.subplots(2, 1, height_ratios=[0.53 * side, ROW * (2.2 + len(networks))])
    for place in range(digits):
        pixels = 1 - denormalised(shown.images[..., place])
        edges = (left + place * side + 0.06, left + (place + 1) * side - 0.06, 0.06, side - 0.06)
        above.imshow(pixels, cmap="gray", vmin=0, vmax=1, extent=edges)
    above.set(xlim=(0, columns), ylim=(0, side), aspect="equal", anchor="S")
    above.axis("off")
    order = jnp.arange(digits)[:, None]
    truth = shown.totals[:, -1] if counted else shown.totals[0]
    rows = []
    for network in networks:
        predicted = network.predict(Sequences(shown.images, order))[..., 0]
        rows.append(predicted[:, -1] if counted else predicted[0])
    draw_totals(below, spec, truth, np.array(rows), [network.name for network in networks])


def draw_totals(panel: Axes, spec: DigitSequences, truth: np.ndarray, predicted: np.ndarray, names: list[str]) -> None:
    """A table: the true totals above, [columns], then a row a network, [networks, columns], redder the further off."""
    off = np.abs(predicted - truth)
    if spec.total == "product":
        off = off / np.maximum(np.abs(truth), 1)
    worst = {"count": 1.0, "sum": 5.0, "product": 0.5}[spec.total]
    head = 2 if spec.total == "count" else 1
    rows, columns = len(predicted), len(truth)
    panel.imshow(
        off, cmap=TO_RED, vmin=0, vmax=worst, extent=(0, columns, rows + head, head), aspect="auto", interpolation="nearest"
    )
    for i, line in enumerate(total_texts(truth, predicted)):
        for column, text in enumerate(line):
            weight = "bold" if i == 0 else "normal"
            panel.text(column + 0.5, head - 0.5 + i, text, ha="center", va="center", fontsize=7, weight=weight)
    if spec.total == "count":
        for digit in range(columns):
            panel.text(digit + 0.5, 0.5, f"{digit}s", ha="center", va="center", fontsize=7, color="0.45")
    panel.hlines(head, 0, columns, color="0.3", linewidth=0.8)
    what = {"count": "how often it came", "sum": "true sum", "product": "true product"}[spec.total]
    panel.set_yticks(np.arange(rows + 1) + head - 0.5, [what, *names])
    panel.set(xlim=(0, columns), ylim=(rows + head, 0))
    panel.set_xticks([])
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    scale = {"count": "off by 1 or more", "sum": "off by 5 or more", "product": "off by half of it or more"}[spec.total]
    panel.set_xlabel(f"white: right; darkest red: {scale}", color="0.35", loc="right")


def total_texts(truth: np.ndarray, predicted: np.ndarray) -> list[list[str]]:
    """The rows of the table, in one format: with a decimal, or all as 1.3e3 where a true total is too long for that.

    With a decimal, true totals, which are whole, have none, and what is beyond them all is ">999".
    """
    if np.abs(truth).max() >= LONG:
        return [[power_text(value) for value in row] for row in (truth, *predicted)]
    return [[f"{value:.0f}" for value in truth], *([decimal_text(value) for value in row] for row in predicted)]


def power_text(value: float) -> str:
    """A total as 1.3e3."""
    if not math.isfinite(value):
        return "∞"
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits}e{int(exponent)}".replace("-", "−")


def decimal_text(value: float) -> str:
    """A total with a decimal, or that it is too long for that."""
    if not math.isfinite(value):
        return "∞"
    if abs(value) >= LONG - 0.05:
        return f">{LONG - 1}" if value > 0 else f"<−{LONG - 1}"
    return f"{value:z.1f}".replace("-", "−")
