"""Autoencoders of numbers: the table of activations of Trask et al. 2018, and its first figure."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from experiments.faults import ConfigError
from experiments.reports.figures import label_cell, look_of, paper_style, quiet, save
from experiments.reports.formats import number, seeds_of, write_table
from experiments.reports.published import published
from experiments.reports.results import CellResult, FinishedRun, predictors, verify
from experiments.settings.build import network_of
from nalu_jax.registry import UNITS
from nalu_jax.storage.trained import best_params
from nalu_jax.tasks.base import TaskSpec
from nalu_jax.tasks.identity_extrapolation import IdentityExtrapolation

TABLE = "trask_2018_table_5"
NEAR = 20  # the numbers of the figure go from -NEAR to NEAR
ABREAST = 6  # panels
CAPTION = (
    "Mean absolute error on the whole numbers from {low:,} to {high:,} of networks trained on those from {first} to {last}: "
    "mean over {seeds} networks [its 95 % interval], and the median; share: mean error over that of always saying 0. "
    "Published: Trask et al. 2018, table 5, means of 100 networks; its figure 1 shows the same networks, and names the "
    "curves otherwise than its own table 5 does (Softsign low, Tanhshrink saturated)."
)


def check(task: TaskSpec) -> None:
    """Raises ConfigError for another task."""
    if not isinstance(task, IdentityExtrapolation):
        raise ConfigError("config.reports: identity is of the task identity_extrapolation alone")


def write(run: FinishedRun, folder: Path) -> None:
    """Writes identity.{md,tex}, the table of activations, and identity.{png,pdf}, the error of each beyond its training."""
    task = run.cells[0].task
    assert isinstance(task, IdentityExtrapolation)
    (first, after), (low, above) = task.interpolation_range, task.extrapolation_range
    caption = CAPTION.format(low=low, high=above - 1, first=first, last=after - 1, seeds=seeds_of(run))
    write_table(folder / "identity", rows(run), caption)
    draw(run, folder)


def screen(run: FinishedRun) -> Table:
    """The table for the terminal."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    found = rows(run)
    for name in found[0]:
        table.add_column(name, justify="left" if name == "activation" else "right")
    for row in found:
        table.add_row(*row.values())
    return table


def rows(run: FinishedRun) -> list[dict[str, str]]:
    """A row a unit: the mean error of its networks with its interval, the median, the share, and what was published."""
    printed = {row["unit"]: row["mae"] for row in published(TABLE)}
    zero = predictors(run)[0].metrics["extrapolation_mae"]
    found = []
    for result in run.cells:
        errors = result.seeds["extrapolation_mae"]
        mean, half = errors.mean(), 1.96 * errors.std(ddof=1) / np.sqrt(len(errors)) if len(errors) > 1 else 0.0
        found.append(
            {
                "activation": UNITS[result.cell.config.unit.name](1).label,
                "MAE": f"{number(mean)} [{number(mean - half)}, {number(mean + half)}]",
                "median": number(float(np.median(errors))),
                "share": f"{100 * mean / zero:.1f} %" if np.isfinite(mean) else "∞",
                "published": printed.get(result.cell.config.unit.name, "–"),
            }
        )
    return found


@paper_style
def draw(run: FinishedRun, folder: Path) -> None:
    """A panel a unit: the mean absolute error at each number near the training range, as figure 1 of the paper."""
    task, columns = run.cells[0].task, min(ABREAST, len(run.cells))
    assert isinstance(task, IdentityExtrapolation)
    first, after = task.interpolation_range
    lines = -(-len(run.cells) // columns)
    figure = Figure(figsize=(5.5, 1.05 * lines + 0.5), layout="constrained")
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    x = np.linspace(-NEAR, NEAR, 8 * NEAR + 1)
    for panel, result in zip(panels.flat, run.cells, strict=False):
        panel.axvspan(first, after - 1, color="0.9", linewidth=0)
        panel.plot(x, mean_errors(result, x), color=look_of(result.cell.config.unit.name)["color"], linewidth=1.2)
        panel.set_title(label_cell(result))
        panel.set(xlim=(-NEAR, NEAR), ylim=(0, 0.9 * NEAR), xticks=(-NEAR, 0, NEAR), yticks=(0, NEAR // 2))
        quiet(panel)
    for panel in panels.flat[len(run.cells) :]:
        panel.set_visible(False)
    figure.supxlabel(f"number put in (grey: trained), mean of {seeds_of(run)} networks", fontsize=8)
    figure.supylabel("mean absolute error", fontsize=8)
    save(figure, folder / "identity.png")


def mean_errors(result: CellResult, x: np.ndarray) -> np.ndarray:
    """The mean over all seeds of a cell of |f(x) - x|: numbers f64[n] → f64[n].

    Raises FileNotFoundError if the folder has no parameters.
    """
    payload = result.files.params.read_bytes()
    verify(result.files.params, result.result)
    network = network_of(result.cell.config, result.task)
    params = best_params(payload, network, result.task.example, len(result.rows))
    numbers = jnp.asarray(x, jnp.float32)[None]
    outputs = jax.jit(jax.vmap(lambda one: network.apply({"params": one}, numbers)))(params)
    return np.abs(np.asarray(outputs)[:, 0] - x).mean(0)
