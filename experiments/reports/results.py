"""Finished cells, read back from their folders: what reports are made of."""

import contextlib
import csv
import io
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from experiments.faults import ConfigError, Damaged
from experiments.settings.build import task_of
from experiments.settings.config import Config, axis_path, config_at, has
from experiments.settings.grid import Cell, axes_of, cells
from experiments.settings.pages import DEFAULTS, missing_fields
from nalu_jax.storage.files import as_tuples, sha256, unsealed, write_atomic
from nalu_jax.storage.metrics import MetricsFile
from nalu_jax.tasks.base import TaskSpec


class Files(NamedTuple):
    """The files of a cell, or of a part of its seeds, by what they hold."""

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
    parts: tuple["CellResult", ...] = ()  # where its seeds were trained apart

    def value_of(self, axis: str) -> Any:
        """The value of an axis, or that of the config where the cell's part of the grid has no such axis; else ""."""
        if (value := self.axes.get(axis, "")) == "":
            with contextlib.suppress(ConfigError):
                path = axis_path(self.cell.config, axis)
                return config_at(self.cell.config, path) if has(self.cell.config, path) else ""
        return value

    @property
    def seeds(self) -> dict[str, np.ndarray]:
        """The columns of seeds.csv, f64[seeds]; NaN where a field is empty."""
        try:
            return {name: np.array([float(row[name] or "nan") for row in self.rows]) for name in self.rows[0]}
        except (TypeError, ValueError) as error:
            raise Damaged(f"the seeds of {self.cell.name} in {self.files.path.parent} are damaged ({error})") from error

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

        Of seeds that were trained apart those of the largest part. Raises FileNotFoundError if there is no metrics file.
        """
        if self.parts:
            return max(self.parts, key=lambda part: len(part.rows)).quartiles(metric)
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

    @property
    def best_part(self) -> "CellResult":
        """The part with the seed of the best score, the cell itself if it has no parts."""
        if not self.parts:
            return self
        seed = self.rows[self.best_seed]["seed"]
        return next(part for part in self.parts if seed in [row["seed"] for row in part.rows])


class FinishedRun(NamedTuple):
    """The cells of a run that are finished, in the order of its grid, and the config that it was started with."""

    folder: Path
    config: Config
    cells: list[CellResult]
    page: str = ""  # what --config said, as far as it is known

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


def read_run(folder: Path, config: Config | None = None, *, say: Callable[[str], None] | None = None) -> FinishedRun:
    """The finished cells of a folder: a run's, or one of results/, which has the rows of all cells in one file.

    Args:
      folder: the working directory of a run, or a folder of results/.
      config: what the run was started with, by default what its config.json says.
      say: is told of cells that are damaged, which are left out; without it they are errors.

    Raises ConfigError for a folder that is no run, and Damaged for a damaged file.
    """
    page, shared, untrained = "", [], []
    if config is None:
        config, page = read_config(folder)
        if (folder / "seeds.csv").exists() and not any(folder.glob("*/config.json")):
            shared = read_csv(folder / "seeds.csv")
            if (folder / "untrained.csv").exists():
                untrained = read_csv(folder / "untrained.csv")
    axes, found = axes_of(config), []
    for cell in cells(config):
        values = {axis: cell.axes.get(axis, "") for axis in axes}
        try:
            parts = list(finished_parts(folder, cell, values))
        except Damaged as error:
            if say is None:
                raise
            say(str(error))
            continue
        rows = of_cell(shared, values)
        if parts:
            found.append(joined(parts))
        elif rows:
            result = {"untrained": untrained_of(of_cell(untrained, values), values, folder / "untrained.csv")}
            found.append(result_of(cell, values, rows, result, Files(folder / cell.name)))
    return FinishedRun(folder, config, found, page)


def read_config(folder: Path) -> tuple[Config, str]:
    """The config of a run from its config.json, and its page. Raises ConfigError for a folder that is no run."""
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{folder} is no run: it has no config.json")
    values = read_json(folder / "config.json", sealed=False)
    if not isinstance(values, dict):
        raise ConfigError(f"{folder} is no run: its config.json holds no config")
    page = values.pop("page", "")
    config = ConfigDict(as_tuples(values))
    if missing := missing_fields(config):
        raise ConfigError(f"{folder} is no run of this version: its config.json lacks {', '.join(missing)}")
    if "reports" not in config:
        config.reports = DEFAULTS["reports"]
    return config, page


def finished_parts(folder: Path, cell: Cell, values: dict[str, Any]) -> Iterator[CellResult]:
    """What is finished of a cell: its one result, or those of its parts. Raises Damaged."""
    for files in parts_of(folder / cell.name):
        if files.seeds.exists():
            read_json(files.config)  # only what is known to be of this run is believed
            result = read_json(files.result)
            for path in (files.seeds, files.params, files.metrics):
                if path.exists():
                    verify(path, result)
            if result["steps"] == cell.config.num_steps:
                yield result_of(cell, values, read_csv(files.seeds), result, files)


def parts_of(folder: Path) -> list[Files]:
    """The folders in which seeds of a cell were trained: its own, and those of seeds that came later."""
    later = sorted(folder.glob("seeds_*"), key=lambda path: (len(path.name), path.name))
    return [Files(path) for path in (folder, *later) if (path / "config.json").exists()]


def result_of(
    cell: Cell, values: dict[str, Any], rows: list[dict[str, str]], result: dict[str, Any], files: Files
) -> CellResult:
    """A finished cell from the rows of its seeds, and what its result.json says, or else its config."""
    task = task_of(cell.config)
    rows = [{name: value for name, value in row.items() if name not in values} for row in rows]
    known = {"steps": cell.config.num_steps, "threshold": task.threshold, "untrained": {}}
    if "predictors" not in result:
        known["predictors"] = task.predictors()
    return CellResult(values, cell, task, rows, known | result, files)


def of_cell(rows: list[dict[str, str]], values: dict[str, Any]) -> list[dict[str, str]]:
    """The rows of one cell among those of all, by its values of the axes."""
    return [row for row in rows if all(row.get(axis) == str(plain(value)) for axis, value in values.items())]


def untrained_of(rows: list[dict[str, str]], values: dict[str, Any], path: Path) -> dict[str, float]:
    """The errors of a cell's untrained networks, by metric, from its row; none if it has none. Raises Damaged."""
    if len(rows) > 1:
        raise Damaged(f"{path} is damaged (a cell stands there twice)")
    try:
        return {name: float(text) for row in rows for name, text in row.items() if name not in values}
    except (TypeError, ValueError) as error:
        raise Damaged(f"{path} is damaged ({error})") from error


def joined(parts: list[CellResult]) -> CellResult:
    """The parts of one cell as one, its seeds in order. Raises ConfigError for a seed that comes twice."""
    if len(parts) == 1:
        return parts[0]
    seen: dict[str, Path] = {}
    for part in parts:
        for row in part.rows:
            if row["seed"] in seen:
                both = f"{seen[row['seed']]} and {part.files.path.parent}"
                raise ConfigError(f"{both} both have the seed {row['seed']} of {part.cell.name}")
            seen[row["seed"]] = part.files.path.parent
    rows = sorted((row for part in parts for row in part.rows), key=lambda row: int(row["seed"]))
    whole = parts[0]._replace(rows=rows, parts=tuple(parts))
    return whole._replace(result=whole.result | {"best_seed": best_of(whole)})


def best_of(result: CellResult) -> int:
    """The row of the seed with the best score; the first where all have diverged."""
    columns: dict[str, Any] = {name: values.astype(np.float32) for name, values in result.seeds.items()}
    score = np.asarray(result.task.task.score(columns))
    return int(np.argmin(np.where(np.isfinite(score), score, np.inf)))


def read_json(path: Path, *, sealed: bool = True) -> dict[str, Any]:
    """What a JSON file of a run holds. Raises Damaged, naming the file, if that is not what was written.

    ``sealed`` says whether it must have a seal; a folder of results/ has a config.json without.
    """
    try:
        return unsealed(path.read_bytes(), needed=sealed)
    except (ValueError, FileNotFoundError) as error:
        raise Damaged(f"{path} is damaged ({error}); remove {path.parent}, and it is trained anew") from error


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file. Raises Damaged, naming the file, if it has none."""
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    except ValueError as error:
        raise Damaged(f"{path} is damaged ({error})") from error
    if not rows:
        raise Damaged(f"{path} is damaged (it has no rows); remove it, and the cell is finished again")
    return rows


def verify(path: Path, result: dict[str, Any]) -> None:
    """Raises Damaged if a file of a finished cell is not what its result.json says that it was."""
    expected = result.get("sha256", {}).get(path.name)
    if expected is not None and sha256(path.read_bytes()) != expected:
        raise Damaged(f"{path} is damaged (its SHA-256 differs); remove {path.parent}, and it is trained anew")


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
