"""Trained networks, read back from the folder of a run."""

import csv
import json
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax

from nalu_jax.networks.layers import unit_of
from nalu_jax.registry import NETWORKS, TASKS, nearest
from nalu_jax.storage.checkpoint import unpack
from nalu_jax.storage.files import as_tuples
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
    config = as_tuples(json.loads((cell / "config.json").read_text(encoding="utf-8"))["config"])
    task_fields, network_fields = config["task"], config["network"]
    task: Any = TASKS[task_fields.pop("name")].from_config(**task_fields)  # pyright: ignore[reportFunctionMemberAccess]
    unit, options = unit_of(config["unit"])
    module = NETWORKS[network_fields.pop("name")](unit, options, outputs=task.outputs, **network_fields)
    seeds = [int(row["seed"]) for row in rows_of(cell)]
    if seed == "best":
        place = json.loads((cell / "result.json").read_text(encoding="utf-8"))["best_seed"]
    elif seed in seeds:
        place = seeds.index(int(seed))
    else:
        raise ValueError(f"load: {cell} has the seeds {seeds[0]} to {seeds[-1]}, not {seed!r}")
    params = best_params((cell / "params.npz").read_bytes(), module, task.example, len(seeds))
    return Loaded(module, jax.tree.map(lambda leaf: leaf[place], params))


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
