"""The table of last layers that count even digits, shaped like table 4 of Trask et al. 2018, its numbers beside ours."""

from pathlib import Path

from experiments.faults import ConfigError
from experiments.reports.formats import bracketed_share, seeds_of, write_table
from experiments.reports.lengths import accuracies
from experiments.reports.published import published
from experiments.reports.results import CellResult, FinishedRun, predictors
from nalu_jax.tasks.base import TaskSpec
from nalu_jax.tasks.mnist_even_digits import MnistEvenDigits

TABLE = "trask_2018_table_4"
# The units of each row: with a bias, and without.
LAYERS = {
    "W x": ("linear", "linear_no_bias"),
    "σ(W) x": ("sigmoid_linear", "sigmoid_linear_no_bias"),
    "tanh(W) x": ("tanh_linear", "tanh_linear_no_bias"),
    "NAC, (tanh(W) σ(M)) x": ("nac_bias", "nac"),
}
WITH, WITHOUT = "with a bias", "without"
PUBLISHED = (f"published, {WITH}", f"published, {WITHOUT}")
CAPTION = (
    "Test accuracy: how often the number of even digits on a canvas is right. Median over {seeds} seeds [lowest, highest], "
    "{steps:,} steps, each seed at its lowest validation error. Published: Trask et al. 2018, table 4, one number a layer; "
    "it also prints 85.1 % of Seguí et al. 2015 for W x with a bias. The last rows see no image."
)


def check(task: TaskSpec) -> None:
    """Raises ConfigError for another task."""
    if not isinstance(task, MnistEvenDigits):
        raise ConfigError("config.reports: last_layers is of the task mnist_even_digits alone")


def write(run: FinishedRun, folder: Path) -> None:
    """Writes last_layers.{md,tex}."""
    caption = CAPTION.format(seeds=seeds_of(run), steps=run.cells[0].result["steps"])
    write_table(folder / "last_layers", rows(run), caption)


def rows(run: FinishedRun) -> list[dict[str, str]]:
    """A row a layer, once for each combination of the other axes of the grid, and one a predictor."""
    printed = {row["unit"]: f"{row['accuracy']} %" for row in published(TABLE)}
    groups: dict[tuple, dict[str, CellResult]] = {}
    for result in run.cells:
        others = tuple((axis, str(value)) for axis, value in result.axes.items() if axis != "unit")
        groups.setdefault(others, {})[result.cell.config.unit.name] = result
    found = []
    for others, cells in groups.items():
        for layer, pair in LAYERS.items():
            if any(unit in cells for unit in pair):
                ours = {
                    name: bracketed_share(accuracies(cells[u])) if u in cells else "–"
                    for name, u in zip((WITH, WITHOUT), pair, strict=True)
                }
                theirs = {name: printed.get(unit, "–") for name, unit in zip(PUBLISHED, pair, strict=True)}
                found.append({**dict(others), "layer": layer, **ours, **theirs})
    for predictor in predictors(run):
        said = f"{100 * predictor.metrics['extrapolation_accuracy']:.1f} %"
        name, *others = predictor.axes.values()
        axes = dict(zip([*predictor.axes][1:], map(str, others), strict=True))
        found.append({**axes, "layer": name, WITH: said, WITHOUT: said} | dict.fromkeys(PUBLISHED, "–"))
    return found
