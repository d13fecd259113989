"""Finished cells, read back from their folders: what tables and plots are made of."""

import csv
import io
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.faults import EnvironmentFault
from nalu_jax.checkpoint import write_atomic
from nalu_jax.writer import MetricsFile

SPOKEN = {"mean": "true mean"}  # predictors as tables name them, where that is not their name
METRICS = ("interpolation_mse", "extrapolation_mse", "sparsity_error")


class Files(NamedTuple):
    """The files of a cell, by what they hold."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved config with versions, commit and devices."""
        return self.path / "config.json"

    @property
    def metrics(self) -> Path:
        """One row an evaluation."""
        return self.path / "metrics.jsonl"

    @property
    def params(self) -> Path:
        """The best and the last parameters of every seed."""
        return self.path / "params.npz"

    @property
    def result(self) -> Path:
        """What is known of the cell as a whole."""
        return self.path / "result.json"

    @property
    def seeds(self) -> Path:
        """One row a seed; it is written last, so that a cell that has it is finished."""
        return self.path / "seeds.csv"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"


class CellResult(NamedTuple):
    """A finished cell."""

    axes: dict[str, Any]
    seeds: dict[str, np.ndarray]  # the columns of seeds.csv; NaN where a field is empty
    result: dict[str, Any]
    files: Files

    @property
    def config(self) -> dict[str, Any]:
        """The plain values of the cell's config."""
        return read_json(self.files.config)["config"]

    @property
    def label(self) -> str:
        """The cell's axes but the operation, which has a panel or a row of its own."""
        rest = [f"{axis}={value}" for axis, value in self.axes.items() if axis not in ("unit", "operation")]
        return " ".join([str(self.axes.get("unit", "")), *rest]).strip()

    @property
    def solved(self) -> np.ndarray:
        """Which seeds are solved, bool[seeds]."""
        return self.seeds["solved"] == 1

    @property
    def all_diverged(self) -> bool:
        """Whether no seed is left."""
        return bool(np.isfinite(self.seeds["diverged_at"]).all())

    def curves(self) -> dict[str, np.ndarray]:
        """Steps, and the quartiles of each metric, f64[evaluations, 3]; inf where a quartile falls on a diverged seed."""
        rows = list(MetricsFile(self.files.metrics).rows())

        def quartiles(name: str) -> np.ndarray:
            values = [[math.inf if value is None else value for value in row[name].values()] for row in rows]
            return np.array(values)

        return {"step": np.array([row["step"] for row in rows])} | {name: quartiles(name) for name in METRICS}

    def best_seed(self) -> int:
        """The row of the seed with the lowest validation error."""
        return int(
            np.nanargmin(np.where(np.isfinite(self.seeds["interpolation_mse"]), self.seeds["interpolation_mse"], 1e300))
        )


class Predictor(NamedTuple):
    """What a task's predictor, which sees no input, comes to."""

    axes: dict[str, str]  # the first bears its name; of the others those that all cells of its task share
    like: CellResult  # the first cell of its task
    metrics: dict[str, float]


def predictors(results: list[CellResult]) -> list[Predictor]:
    """The predictors of the tasks of a grid, each once."""
    tasks: dict[str, list[CellResult]] = {}
    for result in results:
        tasks.setdefault(repr(result.result.get("predictors", {})), []).append(result)
    found = []
    for together in tasks.values():
        first = together[0]
        first_axis, *others = [*first.axes] or ["predictor"]
        alike = {a: first.axes[a] if all(r.axes[a] == first.axes[a] for r in together) else "" for a in others}
        for name, metrics in first.result.get("predictors", {}).items():
            found.append(Predictor({first_axis: SPOKEN.get(name, name)} | alike, first, metrics))
    return found


def read_json(path: Path) -> Any:
    """What a JSON file of the run holds. EnvironmentFault, naming the file, if it is damaged."""
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise EnvironmentFault(f"{path} is damaged ({error}); --fresh sets the run aside and starts over") from error


def read_cell(axes: dict[str, Any], path: Path) -> CellResult:
    """The finished cell of a folder."""
    files = Files(path)
    rows = list(csv.DictReader(io.StringIO(files.seeds.read_text())))
    if not rows:
        raise EnvironmentFault(f"{files.seeds} is damaged (it has no rows); remove it, and the cell is finished again")
    columns = {name: np.array([float(row[name] or "nan") for row in rows]) for name in rows[0] if name not in axes}
    return CellResult(axes, columns, read_json(files.result), files)


def write_csv(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """A table of plain values as CSV; None and NaN are empty fields."""
    rows = list(rows)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, rows[0], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: plain(value) for name, value in row.items()})
    write_atomic(path, buffer.getvalue().encode())


def plain(value: Any) -> Any:
    """A value as it stands in a CSV file: the shortest digits that give it back, nothing for None and NaN."""
    if value is None or (isinstance(value, float | np.floating) and math.isnan(value)):
        return ""
    if isinstance(value, bool | np.bool_):
        return int(value)
    return f"{value:.6g}" if isinstance(value, float) and not isinstance(value, np.floating) else str(value)
