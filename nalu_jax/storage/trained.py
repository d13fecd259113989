"""Trained networks, read back from the folder of a run."""

import csv
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from nalu_jax.networks.layers import unit_of
from nalu_jax.registry import NETWORKS, TASKS, nearest
from nalu_jax.storage.checkpoint import CheckpointError, unpack
from nalu_jax.storage.files import as_tuples, sha256, unsealed
from nalu_jax.types import Params


class Loaded(NamedTuple):
    """A trained network: ``module.apply({"params": params}, x)``, x being columns [in, ...] → [out, ...]."""

    module: nn.Module
    params: Params


def load(run: str | Path, *, seed: int | str = "best", **axes: Any) -> Loaded:
    """The network of a finished cell, and the parameters of one of its seeds at that seed's best evaluation.

    ``module, params = nalu_jax.load("runs/quickstart", unit="nac", operation="add")``. Networks work on columns: what a task
    gives them, such as numbers [in, batch], they map to [out, batch]. Bounded parameters come with their intervals.

    Args:
      run: the working directory of a run, or the folder of a cell in it.
      seed: the number of a seed, or "best": the one with the best score.
      axes: the cell, by as many axes of the run's grid as it takes to tell it from the others.

    Raises ValueError where the folder has no finished cell, where the axes fit none or more than one, and for a seed that
    was not trained; CheckpointError for a damaged file.
    """
    folder = Path(run).expanduser()
    cell = cell_of(folder, {axis: str(value) for axis, value in axes.items()})
    config = as_tuples(verified(cell / "config.json")["config"])
    task_fields, network_fields = config["task"], config["network"]
    task: Any = TASKS[task_fields.pop("name")].from_config(**task_fields)  # pyright: ignore[reportFunctionMemberAccess]
    unit, options = unit_of(config["unit"])
    module = NETWORKS[network_fields.pop("name")](unit, options, outputs=task.outputs, **network_fields)
    parts = [part for part in (cell, *sorted(cell.glob("seeds_*"))) if (part / "seeds.csv").exists()]
    rows = [(part, place, row) for part in parts for place, row in enumerate(rows_of(part))]
    if seed == "best":
        part, place = best_of(parts, task)
    elif found := [(part, place) for part, place, row in rows if row["seed"] == str(seed)]:
        part, place = found[0]
    else:
        seeds = sorted(int(row["seed"]) for *_, row in rows)
        raise ValueError(f"load: {cell} has the seeds {seeds[0]} to {seeds[-1]}, not {seed!r}")
    payload = (part / "params.npz").read_bytes()
    if sha256(payload) != verified(part / "result.json").get("sha256", {}).get("params.npz", sha256(payload)):
        raise CheckpointError(f"{part / 'params.npz'} is damaged (its SHA-256 differs)")
    params = best_params(payload, module, task.example, len(rows_of(part)))
    return Loaded(module, jax.tree.map(lambda leaf: leaf[place], params))


def best_of(parts: list[Path], task: Any) -> tuple[Path, int]:
    """Of the folders that have a cell's seeds, the one with the best, and that seed's place in it."""
    places = [verified(part / "result.json")["best_seed"] for part in parts]
    best = 0
    if len(parts) > 1:
        rows = [rows_of(part)[place] for part, place in zip(parts, places, strict=True)]
        metrics = {name: np.array([float(row[name] or "nan") for row in rows], np.float32) for name in task.columns}
        score = np.asarray(task.task.score(metrics))
        best = int(np.argmin(np.where(np.isfinite(score), score, np.inf)))
    return parts[best], places[best]


def verified(path: Path) -> dict[str, Any]:
    """The values of a sealed JSON file. Raises CheckpointError, naming it, if they are not those that were written."""
    try:
        return unsealed(path.read_bytes())
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged ({error})") from error


def best_params(payload: bytes, module: nn.Module, example: Any, seeds: int) -> Params:
    """The best parameters of all seeds, leaves [seeds, ...], from the bytes of a params.npz. Raises CheckpointError."""
    one = jax.eval_shape(lambda key, inputs: module.init(key, inputs)["params"], jax.random.key(0), example)
    template = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((seeds, *leaf.shape), leaf.dtype), one)
    return unpack(payload, {"best": template, "last": template})["best"]


def cell_of(folder: Path, axes: dict[str, str]) -> Path:
    """The folder of the one finished cell whose axes have these values. Raises ValueError if there is not exactly one."""
    candidates = [folder, *sorted(folder.iterdir())] if folder.is_dir() else []
    cells = {
        path: rows_of(path)[0] for path in candidates if (path / "params.npz").exists() and (path / "seeds.csv").exists()
    }
    if not cells:
        raise ValueError(f"load: {folder} has no finished cell")
    known = list(dict.fromkeys(axis for row in cells.values() for axis in [*row][: [*row].index("seed")]))
    for axis in axes:
        if axis not in known:
            raise ValueError(
                f"load: the grid of {folder} has no axis {axis!r}{nearest(axis, known)} It has {', '.join(known)}."
            )
    fitting = [path for path, row in cells.items() if all(row[axis] == value for axis, value in axes.items())]
    if len(fitting) != 1:
        names = ", ".join(path.name for path in fitting or cells)
        raise ValueError(f"load: {len(fitting)} cells of {folder} fit {axes or 'no axis'}; choose one of {names}")
    return fitting[0]


def rows_of(cell: Path) -> list[dict[str, str]]:
    """The rows of a cell's seeds.csv, its axes among the first columns."""
    with open(cell / "seeds.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
