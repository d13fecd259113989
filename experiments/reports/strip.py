"""A sequence of digits, and below it the totals that each cell predicts."""

from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from experiments.reports.figures import name_cell, save
from experiments.reports.formats import number
from experiments.reports.lengths import check as check
from experiments.reports.results import FinishedRun
from experiments.reports.trained import Trained, best_of_cell
from nalu_jax.data.mnist import denormalised
from nalu_jax.tasks.digit_sequences import DigitSequences
from nalu_jax.types import Array, Sequences

MOST_DIGITS, MOST_ROWS = 10, 20
TO_RED = LinearSegmentedColormap.from_list("to red", ["white", "#fbe3d6", "#f4a582", "#d6604d"])


def write(run: FinishedRun, folder: Path) -> None:
    """Writes strip.png: the digits of a test sequence, and below them what each cell's best seed predicts, a row a cell.

    Of sums and products the total at each place; of counts how often each digit came in all. White is right; the redder, the
    further off.
    """
    networks = [best_of_cell(result, name_cell(result)) for result in run.cells[:MOST_ROWS]]
    tasks: dict[str, list[Trained]] = {}
    for network in networks:
        tasks.setdefault(repr(network.task), []).append(network)
    figure = Figure(figsize=(9.2, sum(strip_inches(group) for group in tasks.values())), layout="constrained")
    places = figure.subfigures(len(tasks), 1, squeeze=False, height_ratios=[strip_inches(group) for group in tasks.values()])
    for place, group in zip(places[:, 0], tasks.values(), strict=True):
        draw_sequence(place, group)
    if len(run.cells) > MOST_ROWS:
        figure.supxlabel(f"the first {MOST_ROWS} of {len(run.cells)} cells", fontsize=8, color="0.35")
    save(figure, folder / "strip.png")


def picture(trained: Trained) -> Figure:
    """The strip of one network."""
    figure = Figure(figsize=(7.6, strip_inches([trained])), dpi=110, layout="constrained")
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
    return 1.75 + 0.27 * len(networks)


def draw_sequence(figure: Any, networks: list[Trained]) -> None:
    """The images of a sequence above the table of what the networks make of them."""
    spec = networks[0].task
    assert isinstance(spec, DigitSequences)
    shown = first_sequence(spec)
    digits = shown.images.shape[-1]
    counted = spec.outputs > 1
    columns = spec.outputs if counted else digits
    above, below = figure.subplots(2, 1, height_ratios=[1.0, 0.75 + 0.27 * len(networks)])
    # Images stand above their totals; counts are not of places, and theirs stand close together in the middle.
    width, left = (0.75, columns / 2 - 0.375 * digits) if counted else (1.0, 0.0)
    for place in range(digits):
        pixels = 1 - denormalised(shown.images[..., place])
        edges = (left + place * width + 0.06, left + (place + 1) * width - 0.06, 0, 1)
        above.imshow(pixels, cmap="gray", vmin=0, vmax=1, extent=edges, aspect="auto")
    above.set(xlim=(0, columns), ylim=(0, 1))
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
    for i, numbers in enumerate([truth, *predicted]):
        for column, value in enumerate(numbers):
            text = total_text(value, exact=i == 0)
            panel.text(
                column + 0.5,
                head - 0.5 + i,
                text,
                ha="center",
                va="center",
                fontsize=9,
                weight="bold" if i == 0 else "normal",
            )
    if spec.total == "count":
        for digit in range(columns):
            panel.text(digit + 0.5, 0.5, f"{digit}s", ha="center", va="center", fontsize=8.5, color="0.45")
    panel.hlines(head, 0, columns, color="0.3", linewidth=0.8)
    what = {"count": "how often it came", "sum": "true sum", "product": "true product"}[spec.total]
    panel.set_yticks(np.arange(rows + 1) + head - 0.5, [what, *names], fontsize=9)
    panel.set(xlim=(0, columns), ylim=(rows + head, 0))
    panel.set_xticks([])
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    scale = {"count": "off by 1 or more", "sum": "off by 5 or more", "product": "off by half of it or more"}[spec.total]
    panel.set_xlabel(f"white: right; darkest red: {scale}", fontsize=8, color="0.35", loc="right")


def total_text(value: float, *, exact: bool) -> str:
    """A total as it stands in the table."""
    if exact:
        return f"{value:.0f}" if abs(value) < 1e5 else number(float(value))
    text = f"{value:.1f}" if abs(value) < 1e4 else number(float(value))
    return text.replace("-", "−") if text not in ("-0.0",) else "0.0"
