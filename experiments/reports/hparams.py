"""TensorBoard's table "HParams": the settings of a cell and its results."""

import numpy as np

from experiments.reports.formats import is_share
from experiments.reports.results import CellResult
from nalu_jax.stats import success_rate


def settings_of(result: CellResult) -> dict[str, int | float | str]:
    """What tells the cells of a grid apart, its axes, as plain values; the rest of the config is the same in all of them."""
    axes = {axis.capitalize(): value for axis, value in result.axes.items() if value not in ("", None)}
    return {name: value if isinstance(value, int | float | str) else str(value) for name, value in axes.items()}


def results_of(result: CellResult) -> dict[str, float]:
    """The success rate, where the task has a threshold, and the medians of the task's columns over seeds that are left."""
    found = {}
    if result.threshold:
        found["result/success_rate"] = success_rate(int(result.solved.sum()), len(result.rows)).estimate
    for metric, heading in result.task.columns.items():
        values = result.seeds[metric]
        values = np.nan_to_num(values, nan=0.0) if is_share(heading) else values[~np.isnan(values)]
        if values.size:
            found[f"result/{metric}_median"] = float(np.median(values))
    return found
