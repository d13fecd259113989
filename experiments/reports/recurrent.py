"""Recurrent arithmetic: the scores of Trask et al. 2018 beside ours, and the error at each length of a sequence."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter
from rich.table import Table

from experiments.faults import ConfigError
from experiments.reports.figures import (
    WIDTH,
    label_axis,
    label_unit,
    legend_below,
    legend_inches,
    look_of,
    made_of,
    paper_style,
    quiet,
    save,
)
from experiments.reports.formats import percent, seeds_of, write_tables
from experiments.reports.lengths import MODELS
from experiments.reports.published import published
from experiments.reports.results import CellResult, FinishedRun
from experiments.reports.scores import score
from nalu_jax.stats import quantiles, success_rate
from nalu_jax.tasks.base import TaskSpec
from nalu_jax.tasks.operations import OPERATIONS, sign
from nalu_jax.tasks.recurrent_arithmetic import RecurrentArithmetic, simulated_sums
from nalu_jax.training.random import Purpose, key_at

SCORES, RAW = "trask_2018_table_9", "trask_2018_table_8"
FORMS = {"unit": "h = U([x; h])", "accumulator": "h + U(x)", "": "cells with a linear readout"}  # rows of the picture
LOWEST, HIGHEST = 1e-7, 30.0  # relative errors that are drawn
GREY = {"constant": (0, (4, 2)), "true mean": (0, (1, 1.3))}


def check(task: TaskSpec) -> None:
    """Raises ConfigError for another task."""
    if not isinstance(task, RecurrentArithmetic):
        raise ConfigError("config.reports: recurrent is of the task recurrent_arithmetic alone")


def write(run: FinishedRun, folder: Path) -> None:
    """Writes recurrent.{png,pdf}, the error at each length, and recurrent.{md,tex}, scores and success.

    Raises FileNotFoundError, after the picture, for a folder without the errors of untrained networks.
    """
    draw(run, folder)
    for result in run.cells:
        if not result.result["untrained"]:
            raise FileNotFoundError(2, "no such file", str(result.files.result))
    write_tables(folder / "recurrent", tables(run))


def screen(run: FinishedRun) -> Table:
    """The table for the terminal: the share of seeds that are solved."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    rows = [{name: text.split(" [")[0] for name, text in row.items()} for row in success_rows(run)]
    for name in rows[0]:
        table.add_column(name, justify="left" if name == "model" else "right")
    for row in rows:
        table.add_row(*row.values())
    return table


# Names


class Model(NamedTuple):
    """A network of the table and of the picture: what it is made of, its form, and the unit of its readout if another.

    ``others`` is what further axes say.
    """

    unit: str
    form: str  # one of FORMS
    readout: str
    others: str

    @property
    def label(self) -> str:
        """Its name, "NAU accumulator, NMU readout"."""
        body = label_unit(self.unit) if self.form else label_axis("cell", self.unit)
        body += " accumulator" if self.form == "accumulator" else ""
        return ", ".join(filter(None, [body, f"{label_unit(self.readout)} readout" if self.readout else "", self.others]))

    @property
    def look(self) -> dict[str, Any]:
        """Colour and marker of what it is made of; with another readout that one's, open and dashed."""
        return look_of(self.readout or self.unit, int(bool(self.readout))) | {"markersize": 2.6}


OWN_AXES = ("unit", "operation", "cell", "readout_unit")


def model_of(result: CellResult, told: list[str]) -> Model:
    """The model of a cell, with what it has of the axes that tell models apart."""
    network = result.cell.config.network
    form = network.cell if network.cell in FORMS else ""
    readout = network.readout_unit if form and network.readout_unit != result.cell.config.unit.name else ""
    others = [label_axis(axis, result.axes[axis]) for axis in told if result.axes[axis] != ""]
    return Model(made_of(result) if form else network.cell, form, readout, ", ".join(others))


def operation_of(result: CellResult) -> str:
    """The operation of a cell."""
    return result.cell.config.task.operation


def by_model(run: FinishedRun) -> dict[Model, dict[str, CellResult]]:
    """The cells of each model, by operation."""
    further = [axis for axis in run.axes if axis not in OWN_AXES]
    told = [axis for axis in further if len({*run.values_of(axis)} - {""}) > 1]
    found: dict[Model, dict[str, CellResult]] = {}
    for result in run.cells:
        found.setdefault(model_of(result, told), {})[operation_of(result)] = result
    return found


def operations_of(run: FinishedRun) -> list[str]:
    """The operations of a run, in the order of the paper's tables."""
    return sorted({operation_of(result) for result in run.cells}, key=list(OPERATIONS).index)


# Tables


def tables(run: FinishedRun) -> list[tuple[list[dict[str, str]], str]]:
    """Scores at the longest test sequences, scores at the length of training, and success, each with its caption."""
    first = run.cells[0]
    task = first.task
    assert isinstance(task, RecurrentArithmetic)
    taken = {
        "seeds": len(first.rows),
        "steps": first.result["steps"],
        "trained": task.train_length,
        "longest": task.lengths[-1],
    }
    return [
        (score_rows(run, "extrapolation"), EXTRAPOLATION.format(**taken)),
        (score_rows(run, "interpolation"), INTERPOLATION.format(**taken)),
        (success_rows(run), SUCCESS.format(**taken)),
    ]


def score_rows(run: FinishedRun, batch: str) -> list[dict[str, str]]:
    """A row a model, below it the published one; then predictors that see no input, and the untrained LSTM."""
    operations, relative = operations_of(run), f"{batch}_relative"
    untrained = {operation_of(result): result.result["untrained"][f"{batch}_mse"] for result in run.cells}
    first = {operation_of(result): result for result in reversed(run.cells)}
    of_untrained = {o: untrained[o] / mean_squared_target(first[o], batch) for o in operations}
    printed = {row["model"]: row for row in published(SCORES) if row["range"] == batch}
    rows, last = [], {name: model for model, name in MODELS.items()}
    models = by_model(run)
    for i, (model, cells) in enumerate(models.items()):
        scores = {o: score(cells[o].seeds[relative] ** 2, of_untrained[o]) if o in cells else "–" for o in operations}
        rows.append(row_of(model.label, scores))
        name = last.get(model.unit)
        if name in printed and all(model.unit != later.unit or later.readout for later in list(models)[i + 1 :]):
            theirs = printed.pop(name)
            rows.append(row_of(f"{name}, published", {o: theirs[o] for o in operations}))
    for label in dict.fromkeys(label for result in run.cells for label in result.predictors):
        errors = {operation_of(result): result.predictors[label][relative] for result in run.cells}
        rows.append(row_of(label, {o: one_score(errors[o] ** 2, of_untrained[o]) for o in operations}))
    rows.append(row_of("untrained LSTM, MSE", {o: f"{untrained[o]:.3g}" for o in operations}))
    random = next(row for row in published(RAW) if (row["range"], row["model"]) == (batch, "Random"))
    return [*rows, row_of("the same, published", {o: random[o] for o in operations})]


def mean_squared_target(result: CellResult, batch: str) -> float:
    """E[y²] of a cell's test or validation sequences, mean over its seeds, each with its own subsets; simulated."""
    task = result.task
    assert isinstance(task, RecurrentArithmetic)
    seeds = jnp.asarray(result.seeds["seed"], jnp.uint32)
    masks = jax.vmap(lambda seed: task.task.init(key_at(Purpose.TASK, seed)))(seeds)
    test = batch == "extrapolation"
    interval = task.extrapolation_range if test else task.interpolation_range
    totals = simulated_sums(interval, task.lengths[-1] if test else task.train_length, task.input_size)
    a, b = np.moveaxis(totals @ np.asarray(masks, np.float64), -1, 0)
    return float(np.mean(OPERATIONS[task.operation].apply(a, b) ** 2))


def one_score(error: float, untrained: float) -> str:
    """The score of one error."""
    return score(np.array([error]), untrained).split(" (")[0]


def row_of(model: str, texts: dict[str, str]) -> dict[str, str]:
    """A row of a table: a column an operation, in the order of the paper."""
    return {"model": model} | {sign(operation): texts[operation] for operation in OPERATIONS if operation in texts}


def success_rows(run: FinishedRun) -> list[dict[str, str]]:
    """The share of seeds that are solved, a row a model."""

    def share(result: CellResult | None) -> str:
        return percent(success_rate(int(result.solved.sum()), len(result.solved))) if result else "–"

    operations = operations_of(run)
    return [row_of(model.label, {o: share(cells.get(o)) for o in operations}) for model, cells in by_model(run).items()]


EXTRAPOLATION = (
    "Scores at {longest:,} steps after training on {trained}: 100 times the mean squared error over that of an "
    "untrained LSTM of the same size (mean over {seeds} seeds, last rows), both over the mean squared target, since "
    "seeds differ in their subsets; 0 is perfect, 100 as bad as untrained. Median over {seeds} seeds, the best seed in "
    "parentheses; {steps:,} steps, each seed at its best validation error. Published: Trask et al. 2018, table 9, which "
    "does not say whether of one run, a median or the best (its table 1 has 863.5 in the place of 862.5); by its own "
    "table 8 the NALU's 0.0 of a² and √a are 0.8 and 0.5. constant and true mean see no input: the one predicts the "
    "mean of training, the other the mean at this length. The published targets grow with the length for every "
    "operation, so that its data, which it does not state, are not these: of sums of independent numbers a ÷ b does not "
    "grow at all, and a constant is a good answer."
)
INTERPOLATION = "The same at the {trained} steps of training, on validation sequences."
SUCCESS = (
    "Share of {seeds} seeds that solve the task, with its 95 % interval: whose mean squared error at {longest:,} steps is "
    "below that of a network which selects its inputs with weights 1 - 1e-5 and 1e-5, adds them up over all steps, and "
    "operates exactly (the criterion of Madsen & Johansen 2020). A sum or a product needs a cell that keeps its sum without "
    "loss: the largest float32 below 1 in the place of 1 fails."
)


# Picture


@paper_style
def draw(run: FinishedRun, folder: Path) -> None:
    """The relative error at each length: a column an operation, a row a form of cell; medians, and the best seed thin."""
    task = run.cells[0].task
    assert isinstance(task, RecurrentArithmetic)
    if len(task.lengths) < 2:
        return
    models, operations = by_model(run), operations_of(run)
    forms = [form for form in FORMS if any(model.form == form for model in models)]
    labels = {model._replace(form=model.form and "unit").label: model.look for model in models}  # rows say the form
    handles = [Line2D([], [], label=label, **look) for label, look in labels.items()]
    handles += [Line2D([], [], color="0.5", linestyle=line, label=label) for label, line in GREY.items()]
    height = 1.15 * len(forms) + 0.75 + legend_inches([str(handle.get_label()) for handle in handles])
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    panels = figure.subplots(len(forms), len(operations), sharex=True, sharey=True, squeeze=False)
    for row, form in zip(panels, forms, strict=True):
        for panel, operation in zip(row, operations, strict=True):
            draw_told(panel, run, operation, task.lengths)
            for model, cells in models.items():
                if model.form == form and operation in cells:
                    draw_model(panel, cells[operation], model.look, task.lengths)
            finish(panel, task)
        row[0].set_ylabel(FORMS[form], fontsize=7)
    for panel, operation in zip(panels[0], operations, strict=True):
        panel.set_title(sign(operation))
    for panel in panels[-1]:
        panel.set_xlabel("steps")
    figure.supylabel("error / root mean square of targets", fontsize=8)
    seeds = f"median of {seeds_of(run)} seeds, thin: the best at {task.lengths[-1]:,} steps"
    legend_below(figure, handles, f"{seeds}; trained on {task.train_length}")
    save(figure, folder / "recurrent.png")


def relative(result: CellResult, lengths: tuple[int, ...]) -> np.ndarray:
    """The relative test error of each seed at each length, f64[lengths, seeds]; inf for a diverged seed."""
    names = [f"length_{length}" for length in lengths[:-1]] + ["extrapolation"]
    errors = np.array([result.seeds[f"{name}_relative"] for name in names])
    return np.where(np.isnan(errors), np.inf, errors)


def draw_model(panel: Axes, result: CellResult, style: dict[str, Any], lengths: tuple[int, ...]) -> None:
    """The median over seeds, and the seed that is best at the longest length, as a thin line."""
    errors = relative(result, lengths)
    median = np.array([quantiles(row, (0.5,))[0] for row in errors])
    best = errors[:, np.argmin(errors[-1])]
    shown = [np.where(np.isfinite(line), np.clip(line, LOWEST, 10 * HIGHEST), 10 * HIGHEST) for line in (median, best)]
    panel.plot(lengths, shown[0], **style)
    panel.plot(lengths, shown[1], color=style["color"], linewidth=0.6, alpha=0.8)


def draw_told(panel: Axes, run: FinishedRun, operation: str, lengths: tuple[int, ...]) -> None:
    """The errors of predictors that see no input, in grey."""
    names = [f"length_{length}" for length in lengths[:-1]] + ["extrapolation"]
    for label, metrics in next(r for r in run.cells if operation_of(r) == operation).predictors.items():
        heights = [metrics[f"{name}_relative"] for name in names]
        panel.plot(lengths, heights, color="0.5", linestyle=GREY[label], linewidth=0.9, zorder=1.5)


def finish(panel: Axes, task: RecurrentArithmetic) -> None:
    """The axes of a panel, the training length marked."""
    quiet(panel)
    panel.axvline(task.train_length, color="0.35", linewidth=0.6, zorder=1)
    first, last = min(task.train_length, task.lengths[0]), task.lengths[-1]
    panel.set(xscale="log", yscale="log", xlim=(first / 1.4, last * 1.4), ylim=(LOWEST / 1.6, HIGHEST))
    panel.yaxis.set_major_locator(LogLocator(numticks=5))
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_minor_formatter(NullFormatter())
