"""Pictures of cells that go over sequences of images: how far they go on, what they total, what they read in an image."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from matplotlib.transforms import blended_transform_factory
from ml_collections import ConfigDict

from experiments import build, plots
from experiments.lengths import bare, errors, known_lengths, number, predictor_rows, sequences_of, spread
from experiments.lengths import metric_at as metric_name
from experiments.results import CellResult
from nalu_jax.cells import ACCUMULATOR, DENSE, EXACT, PUBLISHED
from nalu_jax.registry import TASKS
from nalu_jax.tasks.digit_sequences import DEVIATION, MEAN
from nalu_jax.types import Array, Sequences

MOST_LINEAR = 30  # longer sequences are drawn on a logarithmic axis
MOST_DIGITS, MOST_ROWS, MOST_PANELS = 10, 20, 24
LOWEST, HIGHEST = -1.5, 10.5  # answers beyond are drawn at the edge
ANSWERS = 400  # images that a network is asked about in a picture
TO_RED = LinearSegmentedColormap.from_list("to red", ["white", "#fbe3d6", "#f4a582", "#d6604d"])
STYLES = {"unit": "-", "accumulator": (0, (5, 1.5, 1, 1.5)), "dense": (0, (5, 2)), "published": (0, (1, 1.3)), "exact": "-"}


# Errors against length


def lengths(results: list[CellResult], path: Path) -> bool:
    """Error against the length of the sequences, and error per image, in which whoever goes on for ever is a level line.

    Medians as lines, bands from the lowest to the highest seed; predictors that see no image in grey. Products have, in
    place of the error per image, the error over that of the true mean. A grid with fewer than two lengths has no such
    picture: nothing is written, and the answer is False.
    """
    if len(known_lengths(results)) < 2:
        return False
    looks = looks_of(results)
    figure = Figure(figsize=(10.2 + 0.07 * max(map(len, looks)), max(4.2, 0.22 * len(looks) + 1.0)), layout="constrained")
    whole, share = figure.subplots(1, 2, sharex=True)
    product = any(TASKS[about.task].total == "product" for result in results if (about := sequences_of(result)))
    predictors = [(next(iter(axes.values())), about, means(about, found)) for axes, about, found in predictor_rows(results)]
    unit = {repr(about): heights if product else about.lengths for name, about, heights in predictors if name == "true mean"}
    for result in results:
        if about := sequences_of(result):
            bands = np.array([spread(found) for n in about.lengths if (found := errors(result, "mae", n)) is not None]).T
            for panel, scale in ((whole, 1), (share, unit[repr(about)])):
                draw_band(panel, about.lengths, bands / np.asarray(scale), looks[plots.name_cell(result)])
    finish_lengths(whole, results, "mean absolute error", [(*rest, heights) for *rest, heights in predictors])
    shares = [(name, about, heights / np.asarray(unit[repr(about)])) for name, about, heights in predictors]
    finish_lengths(share, results, "error over that of the true mean" if product else "error per image", shares)
    diverged = {plots.name_cell(result): int(np.isfinite(result.seeds["diverged_at"]).sum()) for result in results}
    names = {label: f"{label} ({diverged[label]} diverged)" if diverged[label] else label for label in looks}
    handles = {names[label]: Line2D([], [], **look) for label, look in looks.items()}
    title = f"median, lowest and highest\nof {len(results[0].seeds['seed'])} seeds"
    plots.outside_legend(figure, handles, title, handlelength=3.2)
    plots.save(figure, path)
    return True


def means(about: Any, metrics: dict[str, float]) -> np.ndarray:
    """A predictor's mean absolute errors, f64[lengths]."""
    return np.array([metrics[metric_name(about, "mae", length)] for length in about.lengths])


def looks_of(results: list[CellResult]) -> dict[str, dict[str, Any]]:
    """How the line of each cell looks: a colour and marker for what it is made of, a line style for its form."""
    labels = {plots.name_cell(result): str(result.axes.get("unit", "")) for result in results}
    within = {label: label.replace(unit, bare(unit), 1) for label, unit in labels.items()}
    colours = [i for i in range(12 * len(labels)) if plots.look_of(i)["color"] != "#000000"]  # black is the exact cells'
    made_of = list(dict.fromkeys(within[label] for label, unit in labels.items() if unit not in EXACT))
    looks = {}
    for label, unit in labels.items():
        look: dict[str, Any] = {"color": "black", "marker": ""}
        if unit not in EXACT:
            look = plots.look_of(colours[made_of.index(within[label])])
        looks[label] = look | {"linestyle": STYLES[form_of(unit)], "linewidth": 1.7 if unit in EXACT else 1.4}
    return looks


def form_of(cell: str) -> str:
    """Which of the forms of cells one of that name has."""
    if cell in EXACT:
        return "exact"
    if cell.endswith(PUBLISHED):
        return "published"
    return "dense" if cell in DENSE else "accumulator" if cell.endswith(ACCUMULATOR) else "unit"


def draw_band(panel: Axes, at: tuple[int, ...], bands: np.ndarray, look: dict[str, Any]) -> None:
    """The median as a line and a band from the lowest to the highest, [3, lengths]; without diverged seeds."""
    middle, low, high = np.where(np.isfinite(bands), np.maximum(bands, plots.SMALLEST), np.nan)
    panel.plot(at, middle, zorder=3 if look["color"] == "black" else 2.5, **look)
    panel.fill_between(at, low, np.where(np.isnan(high), middle, high), color=look["color"], alpha=0.12, linewidth=0)


def finish_lengths(
    panel: Axes, results: list[CellResult], title: str, predictors: list[tuple[str, Any, np.ndarray]]
) -> None:
    """The axes of a panel of lengths: what explodes is cut off, the training length marked, the predictors grey."""
    shown = known_lengths(results)
    far = shown[-1] > MOST_LINEAR
    panel.set(xscale="log" if far else "linear", yscale="log", xlabel="images in a sequence", ylabel=title)
    plots.quiet(panel)
    first, last = (shown[0] / 1.2, shown[-1] * 1.2) if far else (shown[0] - 0.6, shown[-1] + 0.6)
    panel.set_xlim(first, last)
    panel.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    heights = np.concatenate([np.asarray(line.get_ydata(), float) for line in panel.get_lines()])
    grey = np.concatenate([heights for *_, heights in predictors])
    heights = np.concatenate([heights[heights > 0], grey])
    low, high = max(heights.min(), 1e-5 * grey.min()) / 1.6, min(heights.max(), 100 * grey.max()) * 1.6
    panel.set_ylim(low, high)
    if high < 100 * low:  # too few powers of ten to name these alone
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        panel.yaxis.set_minor_formatter(NullFormatter())
    ends = []
    for name, about, heights in predictors:
        panel.plot(about.lengths, heights, color="0.55", linestyle=(0, (4, 2)), linewidth=1, zorder=2)
        ends.append((panel.transData.transform((1, heights[-1]))[1] * 72 / panel.figure.dpi, last, heights[-1], name))
    label_ends(panel, ends)
    for trained in sorted({about.train_length for result in results if (about := sequences_of(result))}):
        panel.axvline(trained, color="0.35", linewidth=0.7, zorder=1)
        where = blended_transform_factory(panel.transData, panel.transAxes)
        panel.text(
            trained, 1.01, f"trained on {trained}", transform=where, fontsize=8, color="0.35", va="bottom", ha="center"
        )


def label_ends(panel: Axes, ends: list[tuple[float, float, float, str]]) -> None:
    """Names beside the ends of lines (height in points, x, y, name), from below upwards, none upon another."""
    lowest = -math.inf
    for height, x, y, name in sorted(ends):
        lowest = max(height, lowest + 9)
        panel.annotate(name, (x, y), (3, lowest - height), textcoords="offset points", va="center", fontsize=8, color="0.4")


# What a network says


class Trained(NamedTuple):
    """A network with parameters, the description of its task and the name it is shown by."""

    name: str
    spec: Any
    model: Any
    params: Any

    def says(self, images: Array, order: Array) -> np.ndarray:
        """Its answers at each place, f32[out, time, batch]."""
        return np.asarray(self.model.apply({"params": self.params}, Sequences(images, order)))

    def reads(self, images: Array) -> np.ndarray:
        """What its trunk reads in each image, before the cell, f32[features, images]."""
        return np.asarray(self.model.apply({"params": self.params}, images, method=lambda model, x: model.trunk(x)))


def trained(name: str, config: ConfigDict, params: Any) -> Trained:
    """The network of a config with parameters."""
    return Trained(name, build.task_spec(config), build.network(config), params)


def best_of(results: list[CellResult], configs: list[ConfigDict], most: int) -> tuple[list[Trained], str]:
    """The best seed of each cell that goes over sequences; of more than so many the first, and a note that says so."""
    pairs = [pair for pair in zip(results, configs, strict=True) if sequences_of(pair[0])]
    networks = [trained(plots.name_cell(r), config, plots.best_params(r, config)) for r, config in pairs[:most]]
    return networks, f"the first {most} of {len(pairs)} cells" if len(pairs) > most else ""


class Shown(NamedTuple):
    """One test sequence: its images as they were drawn, its digits and its totals."""

    images: Array  # f32[28, 28, time]
    totals: np.ndarray  # f32[out, time]


def first_sequence(spec: Any) -> Shown:
    """The beginning of the first test sequence."""
    batch = spec.task.evaluations(())["extrapolation"]
    order = np.asarray(batch.inputs.order)[:MOST_DIGITS, 0]
    return Shown(batch.inputs.images[..., order], np.asarray(batch.targets)[:, : len(order), 0])


def strip(results: list[CellResult], configs: list[ConfigDict], path: Path) -> bool:
    """The digits of a test sequence, and below them what each cell's best seed makes of them, a row a cell.

    Of sums and products the total at each place; of counts how often each digit came in all. White is right; the redder, the
    further off. A grid over something else has no such picture: nothing is written, and the answer is False.
    """
    networks, note = best_of(results, configs, MOST_ROWS)
    if not networks:
        return False
    tasks: dict[str, list[Trained]] = {}
    for network in networks:
        tasks.setdefault(repr(network.spec), []).append(network)
    figure = Figure(figsize=(9.2, sum(strip_inches(group) for group in tasks.values())), layout="constrained")
    places = figure.subfigures(len(tasks), 1, squeeze=False, height_ratios=[strip_inches(group) for group in tasks.values()])
    for place, group in zip(places[:, 0], tasks.values(), strict=True):
        draw_sequence(place, group)
    if note:
        figure.supxlabel(note, fontsize=8, color="0.35")
    plots.save(figure, path)
    return True


def strip_pixels(config: ConfigDict, params: Any) -> np.ndarray:
    """The strip of one network as a picture, uint8[height, width, 3]."""
    network = trained("best seed", config, params)
    figure = Figure(figsize=(7.6, strip_inches([network])), dpi=110, layout="constrained")
    draw_sequence(figure, [network])
    return plots.pixels(figure)


def strip_inches(networks: list[Trained]) -> float:
    """How high the strip of so many networks is."""
    return 1.75 + 0.27 * len(networks)


def draw_sequence(figure: Any, networks: list[Trained]) -> None:
    """The images of a sequence above the table of what the networks make of them."""
    spec = networks[0].spec
    shown = first_sequence(spec)
    digits = shown.images.shape[-1]
    counted = spec.outputs > 1
    columns = spec.outputs if counted else digits
    above, below = figure.subplots(2, 1, height_ratios=[1.0, 0.75 + 0.27 * len(networks)])
    # Images stand above their totals; counts are not of places, and theirs stand close together in the middle.
    width, left = (0.75, columns / 2 - 0.375 * digits) if counted else (1.0, 0.0)
    for place in range(digits):
        pixels = 1 - (np.asarray(shown.images[..., place]) * DEVIATION + MEAN)
        edges = (left + place * width + 0.06, left + (place + 1) * width - 0.06, 0, 1)
        above.imshow(pixels, cmap="gray", vmin=0, vmax=1, extent=edges, aspect="auto")
    above.set(xlim=(0, columns), ylim=(0, 1))
    above.axis("off")
    order = jnp.arange(digits)[:, None]
    truth = shown.totals[:, -1] if counted else shown.totals[0]
    rows = []
    for network in networks:
        said = network.says(shown.images, order)[..., 0]
        rows.append(said[:, -1] if counted else said[0])
    draw_totals(below, spec, truth, np.array(rows), [network.name for network in networks])


def draw_totals(panel: Axes, spec: Any, truth: np.ndarray, said: np.ndarray, names: list[str]) -> None:
    """A table: the true totals above, [columns], then a row a network, [networks, columns], redder the further off."""
    off = np.abs(said - truth)
    if spec.total == "product":
        off = off / np.maximum(np.abs(truth), 1)
    worst = {"count": 1.0, "sum": 5.0, "product": 0.5}[spec.total]
    head = 2 if spec.total == "count" else 1
    rows, columns = len(said), len(truth)
    panel.imshow(
        off, cmap=TO_RED, vmin=0, vmax=worst, extent=(0, columns, rows + head, head), aspect="auto", interpolation="nearest"
    )
    for i, numbers in enumerate([truth, *said]):
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
    said_of = {"count": "how often it came", "sum": "true sum", "product": "true product"}[spec.total]
    panel.set_yticks(np.arange(rows + 1) + head - 0.5, [said_of, *names], fontsize=9)
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


# What it reads in one image


def reads(results: list[CellResult], configs: list[ConfigDict], path: Path) -> bool:
    """What each cell's best seed says of a single image, a panel a cell.

    Of a sum or product its answers to test images of each digit and, in grey where its trunk reads one number, that
    number; of counts a matrix, the digit downwards and the outputs across. A grid over something else has no such picture:
    nothing is written, and the answer is False.
    """
    networks, note = best_of(results, configs, MOST_PANELS)
    if not networks:
        return False
    columns = min(len(networks), 5)
    rows = -(-len(networks) // columns)
    figure = Figure(figsize=(2.35 * columns + 0.5, 2.45 * rows + 0.3), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    for panel, network in zip(panels.flat, networks, strict=False):
        draw_reading(panel, network)
        panel.set_title(f"{network.name}: {panel.get_title()}", fontsize=8.5)
    for panel in panels.flat[len(networks) :]:
        panel.set_visible(False)
    for panel in panels.flat:
        panel.label_outer()
    if images := [panel.images[0] for panel in panels.flat if panel.images]:
        bar = figure.colorbar(images[0], ax=panels, shrink=0.9 / rows**0.5, ticks=[-1, 0, 1], pad=0.02)
        bar.ax.tick_params(labelsize=7)
        bar.set_label("mean answer", fontsize=8)
    figure.get_layout_engine().set(h_pad=0.06)
    if note:
        figure.supxlabel(note, fontsize=8, color="0.35")
    plots.save(figure, path)
    return True


def reading_pixels(config: ConfigDict, params: Any) -> np.ndarray:
    """What one network says of single images as a picture, uint8[height, width, 3]."""
    figure = Figure(figsize=(3.6, 3.6), dpi=110, layout="constrained")
    draw_reading(figure.subplots(), trained("", config, params))
    return plots.pixels(figure)


def draw_reading(panel: Axes, network: Trained) -> None:
    """The answers of a network to single images, with how many are right as the title."""
    batch = network.spec.task.evaluations(())["extrapolation"]
    asked = batch.inputs.order[0, :ANSWERS]
    totals = batch.targets[:, 0, :ANSWERS]
    said = network.says(batch.inputs.images[..., asked], jnp.arange(len(asked))[None])[:, 0]
    right = network.spec.task.metrics(jnp.asarray(said)[:, None], batch._replace(targets=totals[:, None]))["accuracy"]
    if len(totals) > 1:
        draw_counts(panel, np.asarray(totals).argmax(0), said)
    else:
        digits, z = np.asarray(totals)[0], network.reads(batch.inputs.images[..., asked])
        draw_answers(panel, digits, said[0], read=z[0] if len(z) == 1 else None)
    panel.set_title(f"{100 * float(right):.0f} % right", fontsize=9)


def draw_counts(panel: Axes, digits: np.ndarray, said: np.ndarray) -> None:
    """The mean answers [outputs] to images of each digit, a row a digit: blue for -1, white for 0, red for 1."""
    mean = np.array([said[:, digits == d].mean(1) if (digits == d).any() else np.zeros(len(said)) for d in range(10)])
    panel.imshow(mean, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    panel.set_xticks(range(len(said)))
    panel.set_yticks(range(10))
    panel.tick_params(length=0, labelsize=7)
    panel.set_xlabel("counted as", fontsize=8)
    panel.set_ylabel("digit shown", fontsize=8)


def draw_answers(panel: Axes, digits: np.ndarray, said: np.ndarray, read: np.ndarray | None) -> None:
    """Each answer above its digit, a little aside; answers beyond the panel are triangles at its edge.

    In grey what the trunk read, unless that is the answer.
    """
    panel.axline((0, 0), slope=1, color="0.55", linewidth=0.8, zorder=1)
    grey = read is not None and not np.allclose(read, said)
    if grey:
        draw_points(panel, digits, read, "0.6")
    inside, aside = draw_points(panel, digits, said, plots.COLOURS[0])
    for beyond, marker, edge in ((said >= HIGHEST, "^", HIGHEST - 0.3), (said <= LOWEST, "v", LOWEST + 0.3)):
        where = digits[beyond] + aside[beyond]
        panel.scatter(where, np.full(len(where), edge), s=9, alpha=0.45, color=plots.COLOURS[1], marker=marker, linewidth=0)
    if inside.mean() < 0.5:
        panel.text(4.5, 4.5, f"median {number(float(np.median(said)))}", ha="center", fontsize=8, color=plots.COLOURS[1])
    panel.set(xlim=(-0.6, 9.6), ylim=(LOWEST, HIGHEST))
    panel.set_xticks(range(0, 10, 3))
    panel.set_yticks(range(0, 10, 3))
    panel.tick_params(labelsize=8)
    plots.quiet(panel)
    panel.set_xlabel("digit shown", fontsize=8)
    panel.set_ylabel("answer (grey: trunk)" if grey else "answer", fontsize=8)


def draw_points(panel: Axes, digits: np.ndarray, values: np.ndarray, color: str) -> tuple[np.ndarray, np.ndarray]:
    """A point a value above its digit, a little aside; which of them are inside the panel, and how far aside they stand."""
    aside = np.random.RandomState(0).uniform(-0.3, 0.3, len(digits))
    inside = (values > LOWEST) & (values < HIGHEST)
    panel.scatter(digits[inside] + aside[inside], values[inside], s=5, alpha=0.45, color=color, linewidth=0)
    return inside, aside
