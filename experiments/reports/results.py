"""Finished cells, read back from their folders: what reports are made of."""

import csv
import io
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from experiments.build import task_of
from experiments.config import Config
from experiments.faults import ConfigError, EnvironmentFault
from experiments.grid import Cell, axes_of, cells
from experiments.pages import DEFAULTS, missing_fields
from nalu_jax.storage.files import as_tuples, sha256, write_atomic
from nalu_jax.storage.metrics import MetricsFile
from nalu_jax.tasks.base import TaskSpec


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

    axes: dict[str, Any]  # all axes of the run; "" where the cell has none
    cell: Cell
    task: TaskSpec
    rows: list[dict[str, str]]  # of seeds.csv, as they stand there, without the axes
    result: dict[str, Any]  # of result.json; what is missing in a folder without one is known from the config
    files: Files

    @property
    def seeds(self) -> dict[str, np.ndarray]:
        """The columns of seeds.csv, f64[seeds]; NaN where a field is empty."""
        try:
            return {name: np.array([float(row[name] or "nan") for row in self.rows]) for name in self.rows[0]}
        except (TypeError, ValueError) as error:
            raise EnvironmentFault(
                f"the seeds of {self.cell.name} in {self.files.path.parent} are damaged ({error})"
            ) from error

    @property
    def solved(self) -> np.ndarray:
        """Which seeds are solved, bool[seeds]."""
        return self.seeds["solved"] == 1

    @property
    def all_diverged(self) -> bool:
        """Whether no seed is left."""
        return bool(np.isfinite(self.seeds["diverged_at"]).all())

    @property
    def threshold(self) -> float:
        """What a seed must reach to be solved; 0 if no seed ever is."""
        return self.result["threshold"]

    @property
    def predictors(self) -> dict[str, dict[str, float]]:
        """The metrics of the task's predictors, by label."""
        return self.result["predictors"]

    def quartiles(self, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """The evaluated steps i64[n], and quartiles of a metric f64[n, 3]; inf where one falls on a diverged seed.

        Raises FileNotFoundError if the folder has no metrics file.
        """
        if not self.files.metrics.exists():
            raise FileNotFoundError(2, "no such file", str(self.files.metrics))
        verify(self.files.metrics, self.result)
        rows = list(MetricsFile(self.files.metrics).rows())
        values = [[math.inf if value is None else value for value in row[metric].values()] for row in rows]
        return np.array([row["step"] for row in rows]), np.array(values)

    @property
    def best_seed(self) -> int:
        """The row of the seed with the best score."""
        return self.result["best_seed"]


class FinishedRun(NamedTuple):
    """The cells of a run that are finished, in the order of its grid, and the config that it was started with."""

    folder: Path
    config: Config
    cells: list[CellResult]

    @property
    def axes(self) -> list[str]:
        """The axes of the grid."""
        return list(self.cells[0].axes)

    @property
    def columns(self) -> dict[str, str]:
        """The metrics that tables show, with their headings."""
        return dict(self.cells[0].task.columns)

    def values_of(self, axis: str) -> list[Any]:
        """The values of an axis, in the order in which they come; one empty name if the grid has no such axis."""
        return list(dict.fromkeys(cell.axes.get(axis, "") for cell in self.cells))


class Predictor(NamedTuple):
    """The metrics of a task's predictor, which sees no input."""

    axes: dict[str, str]  # the first bears its label; of the others those that all cells of its task share
    like: CellResult  # the first cell of its task
    metrics: dict[str, float]


def predictors(run: FinishedRun) -> list[Predictor]:
    """The predictors of the tasks of a run, each once."""
    tasks: dict[str, list[CellResult]] = {}
    for result in run.cells:
        tasks.setdefault(repr(result.predictors), []).append(result)
    found = []
    for together in tasks.values():
        first = together[0]
        first_axis, *others = [*first.axes] or ["predictor"]
        alike = {a: first.axes[a] if all(r.axes[a] == first.axes[a] for r in together) else "" for a in others}
        found += [Predictor({first_axis: label} | alike, first, metrics) for label, metrics in first.predictors.items()]
    return found


def read_run(folder: Path, config: Config | None = None) -> FinishedRun:
    """The finished cells of a folder: a run's, or one of results/, which has the rows of all cells in one file.

    ``config`` is what the run was started with, by default what its config.json says. Raises ConfigError for a folder that
    is no run or without a finished cell, and EnvironmentFault for a damaged file.
    """
    if config is None:
        if not (folder / "config.json").is_file():
            raise ConfigError(f"{folder} is no run: it has no config.json")
        values = read_json(folder / "config.json")
        if not isinstance(values, dict):
            raise ConfigError(f"{folder} is no run: its config.json holds no config")
        config = ConfigDict(as_tuples(values))
        if missing := missing_fields(config):
            raise ConfigError(f"{folder} is no run of this version: its config.json lacks {', '.join(missing)}")
        if "reports" not in config:
            config.reports = DEFAULTS["reports"]
    axes, shared = axes_of(config), read_csv(folder / "seeds.csv") if (folder / "seeds.csv").exists() else []
    found = []
    for cell in cells(config):
        files, values = Files(folder / cell.name), {axis: cell.axes.get(axis, "") for axis in axes}
        if files.seeds.exists():
            result = read_json(files.result) if files.result.exists() else {}
            verify(files.seeds, result)
            rows = read_csv(files.seeds)
        else:
            result = {}
            rows = [row for row in shared if all(row.get(axis) == str(plain(value)) for axis, value in values.items())]
        if rows:
            task = task_of(cell.config)
            rows = [{name: value for name, value in row.items() if name not in values} for row in rows]
            known = {"steps": cell.config.num_steps, "threshold": task.threshold, "untrained": {}}
            result = known | (result or {"predictors": task.predictors()})
            found.append(CellResult(values, cell, task, rows, result, files))
    return FinishedRun(folder, config, found)


def read_json(path: Path) -> Any:
    """What a JSON file of the run holds. Raises EnvironmentFault, naming the file, if it is damaged."""
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise EnvironmentFault(f"{path} is damaged ({error}); --fresh sets the run aside and starts over") from error


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file. Raises EnvironmentFault, naming the file, if it has none."""
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    if not rows:
        raise EnvironmentFault(f"{path} is damaged (it has no rows); remove it, and the cell is finished again")
    return rows


def verify(path: Path, result: dict[str, Any]) -> None:
    """Raises EnvironmentFault if a file of a finished cell is not what its result.json says that it was."""
    expected = result.get("sha256", {}).get(path.name)
    if expected is not None and sha256(path.read_bytes()) != expected:
        raise EnvironmentFault(
            f"{path} is damaged (its SHA-256 differs); remove {path.parent}, and the cell is trained anew"
        )


def write_csv(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Writes a table of plain values as CSV."""
    write_atomic(path, csv_text(rows).encode())


def csv_text(rows: Iterable[dict[str, Any]]) -> str:
    """A table of plain values as CSV; what a row lacks, None and NaN are empty fields."""
    rows = list(rows)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, dict.fromkeys(name for row in rows for name in row), lineterminator="\n", restval="")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: plain(value) for name, value in row.items()})
    return buffer.getvalue()


def plain(value: Any) -> Any:
    """A value as it stands in a CSV file: the shortest digits that give it back, nothing for None and NaN."""
    if value is None or (isinstance(value, float | np.floating) and math.isnan(value)):
        return ""
    if isinstance(value, bool | np.bool_):
        return int(value)
    return f"{value:.6g}" if isinstance(value, float) and not isinstance(value, np.floating) else str(value)
