"""Numbers in words: the table of Trask et al. 2018, all runs behind it, and what networks say after each word."""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter
from rich.table import Table

from experiments.faults import ConfigError
from experiments.reports.figures import LABELS, WIDTH, label_axis, label_unit, look_of, paper_style, quiet, save
from experiments.reports.formats import number, seeds_of, write_table
from experiments.reports.published import published
from experiments.reports.results import CellResult, FinishedRun
from experiments.reports.strip import TO_RED, decimal_text
from experiments.reports.trained import Trained, best_of_cell
from nalu_jax.data.number_words import COUNT, MOST_WORDS, numbers_by_words, words_of
from nalu_jax.stats import quantiles
from nalu_jax.tasks.base import TaskSpec
from nalu_jax.tasks.language_to_number import LOSSES, TRAINING, VALIDATION, LanguageToNumber
from nalu_jax.training.random import Purpose, key_at

PARTS = {"training": "train", "validation": "validation", "test": "test"}  # in the order of the paper
TABLES = ("trask_2018_table_11", "trask_2018_table_3")
WANTED = (88, 27, 702, 515, 334, 968)  # numbers to show: the next ones that no network shown was trained on
WORST = 20.0  # errors from here on are the darkest red
ROW = 0.165  # inches of a row of the picture of words
MOST_NETWORKS = 6
CAPTION = (
    "Mean absolute errors, train / validation / test, on the {training} numbers of training, the {validation} of validation "
    "and the {test} of the test: of all runs of a row the one with the least loss on validation, and the median over the "
    "runs. A row pools {pooled}; each run is taken where its loss on validation is least. Published: Trask et al. 2018, "
    "tables 3 and 11, the best of 40 runs by validation; where its NAC and its NALU stand is not said."
)


def check(task: TaskSpec) -> None:
    """Raises ConfigError for another task."""
    if not isinstance(task, LanguageToNumber):
        raise ConfigError("config.reports: language is of the task language_to_number alone")


def write(run: FinishedRun, folder: Path) -> None:
    """Writes language.{md,tex}, the table; language.{png,pdf}, the test error of all runs; and language_words.{png,pdf}.

    The last shows what the best network of each unit says after each word.
    """
    sizes = {"training": TRAINING, "validation": VALIDATION, "test": COUNT - TRAINING - VALIDATION}
    write_table(folder / "language", rows(run), CAPTION.format(pooled=pooled(run), **sizes))
    draw_runs(run, folder)
    draw_words(run, folder)


def screen(run: FinishedRun) -> Table:
    """The table for the terminal."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    found = rows(run)
    for name in found[0]:
        table.add_column(name, justify="left" if name in ("model", "readout") else "right")
    for row in found:
        table.add_row(*row.values())
    return table


class Group(NamedTuple):
    """The runs of one unit with one readout, whatever their sizes and learning rates."""

    cell: str
    unit: str
    readout: str
    results: list[CellResult]

    @property
    def model(self) -> str:
        """Its name as the paper has it: LSTM, LSTM + NALU."""
        cell = LABELS["cell"].get(self.cell, self.cell)
        return cell if self.unit == "linear" else f"{cell} + {label_unit(self.unit)}"

    @property
    def label(self) -> str:
        """Its name with its readout."""
        return f"{self.model}, {self.readout.replace('_', ' ')}"

    def values(self, metric: str) -> np.ndarray:
        """A metric of all its runs, f64[runs]; NaN of one that diverged before it was evaluated."""
        return np.concatenate([result.seeds[metric] for result in self.results])

    def best(self, metric: str) -> int:
        """The run with the least of a metric."""
        values = self.values(metric)
        return int(np.argmin(np.where(np.isnan(values), np.inf, values)))


def groups(run: FinishedRun) -> list[Group]:
    """The groups of a run, in the order of its grid."""
    found: dict[tuple[str, str, str], Group] = {}
    for result in run.cells:
        network, unit = result.cell.config.network, result.cell.config.unit
        name = (str(network.cell), str(unit.name), str(network.readout))
        found.setdefault(name, Group(*name, [])).results.append(result)
    return list(found.values())


def loss_metric(run: FinishedRun) -> str:
    """What runs are chosen by: the loss on validation, or the mean absolute error there if their losses differ."""
    losses = {result.cell.config.task.loss for result in run.cells}
    return f"validation_{LOSSES[losses.pop()] if len(losses) == 1 else 'mae'}"


def pooled(run: FinishedRun) -> str:
    """What the runs of a group differ in: "hidden size 16, hidden size 32, ... and 10 seeds"."""
    axes = [axis for axis in run.axes if axis not in ("unit", "cell", "readout")]
    swept = [label_axis(axis, value) for axis in axes for value in run.values_of(axis)]
    return f"{', '.join(swept)}{' and ' if swept else ''}{seeds_of(run)} seeds"


def rows(run: FinishedRun) -> list[dict[str, str]]:
    """A row a group: the errors of its best run, their medians over all runs, and what was published."""
    metric, found = loss_metric(run), []
    for group in groups(run):
        row = {"model": group.model, "readout": group.readout.replace("_", " "), "runs": str(len(group.values(metric)))}
        printed, best = published_of(group), group.best(metric)
        errors = {heading: group.values(f"{part}_mae") for part, heading in PARTS.items()}
        medians = [quantiles(values)[1] for values in errors.values()]
        low, _, high = quantiles(errors["test"])
        row["best by validation"] = " / ".join(number(values[best]) for values in errors.values())
        row["median"] = " / ".join(map(number, medians))
        row["test, quartiles"] = f"{number(low)} to {number(high)}"
        row["published"] = " / ".join(printed[heading] for heading in errors) if printed else "–"
        found.append(row)
    return found


def published_of(group: Group) -> dict[str, str]:
    """The published row of a model: that of its readout, or the one whose readout is not stated; none: {}."""
    printed = [row for table in TABLES for row in published(table) if (row["unit"], group.cell) == (group.unit, "lstm")]
    return next((row for row in printed if row["readout"] in (group.readout, "")), {})


@paper_style
def draw_runs(run: FinishedRun, folder: Path) -> None:
    """The test error of each run, a row a group, on a logarithmic axis."""
    found, metric = groups(run), loss_metric(run)
    figure = Figure(figsize=(WIDTH, 0.3 * len(found) + 1.0), layout="constrained")
    panel = figure.subplots()
    for place, group in enumerate(found):
        errors, colour = group.values("test_mae"), look_of(group.unit)["color"]
        # Runs side by side where their errors are alike, in the same way each time.
        aside = np.random.RandomState(0).uniform(-0.22, 0.22, len(errors))
        panel.scatter(errors, place + aside, s=8, color=colour, alpha=0.55, linewidth=0)
        best = group.best(metric)
        panel.plot(errors[best], place + aside[best], "o", color="none", markeredgecolor="black", markersize=5.5)
        panel.plot(quantiles(errors, (0.5,)), [place], "|", color="black", markersize=13, markeredgewidth=1.2)
        if printed := published_of(group):
            panel.plot(float(printed["test"]), place, "D", color="white", markeredgecolor="black", markersize=4)
    mean = np.abs(np.arange(COUNT) - (COUNT - 1) / 2).mean()
    panel.axvline(mean, color="0.5", linestyle=":", linewidth=0.8, zorder=0)
    panel.set(xscale="log", ylim=(len(found) - 0.4, -0.6), xlabel="mean absolute error on the test")
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter("{x:g}")
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.set_yticks(range(len(found)), [group.label for group in found])
    quiet(panel)
    panel.grid(visible=False, axis="y")
    handles = [
        Line2D([], [], color="0.4", marker="o", linestyle="", markersize=3, label="a run"),
        Line2D([], [], color="none", marker="o", markeredgecolor="black", markersize=5.5, label="the best by validation"),
        Line2D([], [], color="black", marker="|", linestyle="", markersize=9, label="median"),
        Line2D([], [], color="white", marker="D", markeredgecolor="black", linestyle="", markersize=4, label="published"),
        Line2D([], [], color="0.5", linestyle=":", label=f"always {(COUNT - 1) / 2:g}"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), handlelength=1.2, columnspacing=1.2)
    save(figure, folder / "language.png")


@paper_style
def draw_words(run: FinishedRun, folder: Path) -> None:
    """What the best network of each unit says after each word of a few numbers of the test, a panel a number."""
    networks = best_of_units(run)[:MOST_NETWORKS]
    shown = examples(networks)
    lines = -(-len(shown) // 2)
    figure = Figure(figsize=(WIDTH, lines * ROW * (len(networks) + 2.6) + 0.35), layout="constrained")
    panels = figure.subplots(lines, 2, squeeze=False, sharey=True)
    said = np.array([after_each_word(network, shown) for network in networks])  # [networks, time, values]
    for i, (panel, value) in enumerate(zip(panels.flat, shown, strict=False)):
        draw_number(panel, value, said[:, :, i])
    for panel in panels.flat[len(shown) :]:
        panel.set_visible(False)
    for panel in panels[:, 0]:
        panel.set_yticks(np.arange(len(networks)) + 1.5, [network.name for network in networks], fontsize=6.5)
    figure.supxlabel(f"white: right so far; darkest red: off by {WORST:g} or more", fontsize=7, color="0.35")
    save(figure, folder / "language_words.png")


def draw_number(panel: Axes, value: int, said: np.ndarray) -> None:
    """The words of a number above what networks say when they have read so far, [networks, time]; redder the further off."""
    words = words_of(value)
    truth, said = [so_far(words[: end + 1]) for end in range(len(words))], said[:, : len(words)]
    rows = len(said)
    edges = (0, len(words), rows + 1, 1)
    panel.imshow(np.abs(said - truth), cmap=TO_RED, vmin=0, vmax=WORST, extent=edges, aspect="auto", interpolation="nearest")
    for column, word in enumerate(words):
        panel.text(column + 0.5, 0.5, word, ha="center", va="center", fontsize=6.2, weight="bold")
        for row in range(rows):
            panel.text(column + 0.5, row + 1.5, decimal_text(said[row, column]), ha="center", va="center", fontsize=7)
    panel.hlines(1, 0, len(words), color="0.3", linewidth=0.8)
    panel.vlines(range(1, len(words)), 1, rows + 1, color="white", linewidth=0.8)
    panel.set(xlim=(0, MOST_WORDS), ylim=(rows + 1, 0), xticks=[])
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    panel.set_title(str(value), loc="left", pad=2)


def best_of_units(run: FinishedRun) -> list[Trained]:
    """The network of each unit with the least loss on validation. Raises FileNotFoundError without parameters."""
    metric, found = loss_metric(run), {}
    for group in groups(run):
        for result in group.results:
            values = result.seeds[metric]
            least = np.nanmin(values) if np.isfinite(values).any() else np.inf
            if least < found.get(group.unit, (np.inf,))[0]:
                found[group.unit] = least, group, result
    return [best_of_cell(result, group.label) for _, group, result in found.values()]


def examples(networks: list[Trained]) -> list[int]:
    """The numbers ``WANTED``, or of as many words the next that no network was trained or chosen on."""
    unseen = set.intersection(*(test_numbers(network) for network in networks))
    found: list[int] = []
    for wanted in WANTED:
        alike = [n for n in unseen if len(words_of(n)) == len(words_of(wanted)) and n not in found]
        found += [min(alike, key=lambda n: (n - wanted) % COUNT)] if alike else []
    return found


def test_numbers(network: Trained) -> set[int]:
    """The numbers of the test of a network's seed."""
    task = network.task.task
    order = task.init(key_at(Purpose.TASK, jnp.uint32(network.seed)))
    return {int(n) for n in np.asarray(order)[TRAINING + VALIDATION :]}


def after_each_word(network: Trained, values: list[int]) -> np.ndarray:
    """What a network says of each number after each of its words: f32[time, values]."""
    inputs = network.task.task.make_batch(jnp.asarray(values)).inputs
    running = jax.jit(lambda params: network.network.apply({"params": params}, inputs, method="running"))
    return np.asarray(running(network.params))[0]


def so_far(words: tuple[str, ...]) -> int:
    """The number that the first words of a number say, "and" adding nothing."""
    return numbers_by_words()[words[:-1] if words[-1] == "and" else words]
