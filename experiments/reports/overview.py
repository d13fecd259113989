"""TensorBoard's view of a whole grid: which unit works, tables and pictures, before any single cell is opened.

Event files lie in the run's folder ``tensorboard/``, where a path is the name of a run:

  .                            the grid: tables and the config as texts, and the pictures of all reports
  by_unit/nac                  the success rate of all cells of a unit against the steps, and of those of each operation
  all_seeds                    a success rate of 1, a level line that the others are seen below
  solved_below/1e-05           the threshold, a level line in the charts of the error that it is about
  nac/add/U1_2/lr=1e-3         a cell, written while it trains
"""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.reports.formats import is_share
from experiments.reports.results import CellResult, FinishedRun
from experiments.settings.grid import BY_VALUE, cells
from nalu_jax.storage.metrics import BAND, MetricsFile
from nalu_jax.storage.tensorboard import POINTS, TensorBoard, log10

FOLDER = "tensorboard"
# Of more than 500 runs TensorBoard shows none unless they are picked one by one. The view of a grid so large lies apart from
# those of its cells.
MOST_CELLS = 400
APART = "tensorboard_overview"
MOST_THRESHOLDS = 6
SOLVED = "solved_"
CUT = 20  # TensorBoard cuts off the highest twentieth of a chart's points, and the lowest
SHORT = {"learning_rate": "lr"}
Points = list[tuple[int, float]]  # steps and values


# Where events go


def events_of(folder: Path, cell: str, axes: Mapping[str, Any]) -> Path:
    """The folder for event files of a cell, or of seeds that came later, from where its files lie, its name and its axes."""
    if folder.name == cell:
        return folder.parent / FOLDER / short_name(axes)
    return folder.parent.parent / FOLDER / short_name(axes) / folder.name


def overview_of(workdir: Path, number: int) -> Path:
    """The folder of the view of a grid of so many cells: what ``tensorboard --logdir`` is to be given."""
    return workdir / (FOLDER if number <= MOST_CELLS else APART)


def short_name(axes: Mapping[str, Any]) -> str:
    """The name of a cell in TensorBoard, "inalu/add/U-0.2_-0.1/lr=1e-4": a part for each axis."""
    return "/".join(as_name(short_value(axis, value)) for axis, value in axes.items()) or "cell"


def as_name(text: str) -> str:
    """A text as a part of a path."""
    return re.sub(r"[^A-Za-z0-9._=+-]", "_", text) or "none"


def short_value(axis: str, value: Any) -> str:
    """A value of an axis, with a short name of the axis unless the value speaks for itself."""
    if axis in BY_VALUE:
        return str(value)
    text = short_text(value)
    return f"U{text}" if axis == "interpolation_range" else f"{SHORT.get(axis, axis)}={text}"


def short_text(value: Any) -> str:
    """A value in few characters: 1e-4; of an interval -0.2_-0.1, of several -2_-1+1_2."""
    if isinstance(value, tuple):
        return ("+" if isinstance(value[0], tuple) else "_").join(map(short_text, value))
    if isinstance(value, float):
        plain, power = repr(value).removesuffix(".0"), np.format_float_scientific(value, trim="-", exp_digits=1)
        return min(plain, power, key=len)
    return str(value)


# The view of the grid


def show_overview(run: FinishedRun) -> list[str]:
    """Writes TensorBoard's view of the finished cells of a run beside its reports, and returns what could not be written.

    A run that is not watched in TensorBoard gets none.
    """
    if "tensorboard" not in run.config.get("writers", ()) or not run.cells:
        return []
    by_lead = curves_by_lead(run)
    curves = {**by_lead, "all_seeds": all_seeds([*by_lead.values()]), **thresholds(run)}
    views = {"": show_grid} | {
        name: lambda view, run, name=name: view.curves(curves[name]) for name in curves if curves[name]
    }
    folder = overview_of(run.folder, sum(1 for _ in cells(run.config)))
    for old in folder.glob(f"{SOLVED}*/*/events.out.tfevents.*"):  # of fewer cells there may be more lines
        old.unlink()
    said: list[str] = []
    for name, show in views.items():
        with contextlib.closing(TensorBoard(folder / name, say=said.append)) as view:
            show(view, run)
        if said:
            return ["TensorBoard's view of the grid is not whole: an event file cannot be written"]
    return []


def show_grid(view: TensorBoard, run: FinishedRun) -> None:
    """Shows the tables and pictures that the reports have written, and the config: the summary first, by its number."""
    step = len(run.cells)  # so that a picture's step says how many cells it is of
    lines = json.dumps(json.loads(run.config.to_json_best_effort()), indent=2).splitlines()
    tables = {path.stem: path.read_text(encoding="utf-8") for path in sorted(run.folder.glob("*.md"))}
    texts = {"summary": tables.pop("summary", ""), "config": "\n".join(f"    {line}" for line in lines), **tables}
    for number, (name, text) in enumerate((name, text) for name, text in texts.items() if text):
        view.text(f"{number + 1}_{name}", text, step)
    for path in sorted(run.folder.glob("*.png")):
        view.png(f"grid/{path.stem}", path.read_bytes(), step)


def curves_by_lead(run: FinishedRun) -> dict[str, dict[str, Points]]:
    """By name of a run of TensorBoard, as by_unit/nac, the curves of all cells with this unit, by their tags.

    Where a grid has no units, its first axis leads. The curves are the share of solved seeds of all cells, and of those of
    each operation; of tasks without a threshold the means of the medians of what tables show, of errors of the logarithm.
    """
    leads: dict[str, list[CellResult]] = {}
    for result in run.cells:
        evaluated = [part for part in result.parts or [result] if part.files.metrics.exists()]
        leads.setdefault(lead_of(result), []).extend(evaluated)
    by = f"by_{next((axis for axis in run.axes if axis != 'operation'), 'unit')}"
    return {
        f"{by}/{lead}": {f"{by}/{tag}": points for tag, points in curves_of(mine, run)}
        for lead, mine in leads.items()
        if mine
    }


def lead_of(result: CellResult) -> str:
    """The first axis of a cell that has a value, but the operation, which is not what is compared."""
    axes = [(axis, value) for axis, value in result.axes.items() if axis != "operation" and value not in ("", None)]
    return as_name(short_value(*axes[0])) if axes else "all"


def curves_of(results: list[CellResult], run: FinishedRun) -> Iterator[tuple[str, Points]]:
    """The tags and curves of the cells of one unit."""
    rows = [list(MetricsFile(result.files.metrics).rows()) for result in results]
    seeds = [len(result.rows) for result in results]
    if any(result.threshold for result in run.cells):
        solved = [[(row["step"], row["success"] / row["seeds"]) for row in mine] for mine in rows]
        yield "success_rate", mean_curve(solved, seeds)
        operations = run.values_of("operation")
        for operation in operations if len(operations) > 1 else ():
            if chosen := [i for i, result in enumerate(results) if result.axes["operation"] == operation]:
                yield f"success_rate_{operation}", mean_curve([solved[i] for i in chosen], [seeds[i] for i in chosen])
        return
    for metric, heading in run.columns.items():
        share = is_share(heading)
        medians = [[(row["step"], level_of(row[metric]["median"], share)) for row in mine] for mine in rows]
        yield metric if share else f"log10_{metric}", mean_curve(medians, seeds)


def level_of(median: float | None, share: bool) -> float:
    """A median as it is drawn, of errors its logarithm; NaN where it falls on a diverged seed."""
    return float("nan") if median is None else median if share else log10(median)


def mean_curve(curves: Sequence[Points], weights: Sequence[float]) -> Points:
    """The mean of curves at every step that one of them has; a curve that ends keeps its last value.

    Points at which a curve is NaN are left out, and of very many all but a thousand.
    """
    arrays = [np.array(curve) for curve in curves]  # [points, (step, value)]
    steps = np.unique(np.concatenate([curve[:, 0] for curve in arrays]))
    held = [curve[np.maximum(np.searchsorted(curve[:, 0], steps, side="right") - 1, 0), 1] for curve in arrays]
    means = np.average(held, axis=0, weights=weights)
    found = [(int(step), float(value)) for step, value in zip(steps, means, strict=True) if np.isfinite(value)]
    kept = np.unique(np.linspace(0, max(len(found) - 1, 0), min(len(found), POINTS)).astype(int))
    return [found[i] for i in kept]


def all_seeds(curves: list[dict[str, Points]]) -> dict[str, Points]:
    """A level line at 1 in each chart of success rates, of so many points that a single unit that works is not cut off."""
    lines = {}
    for tag in dict.fromkeys(tag for of_lead in curves for tag in of_lead if "/success_rate" in tag):
        steps = [step for of_lead in curves for step, _ in of_lead.get(tag, ())]
        number = 2 + len(steps) // (CUT - 1)
        lines[tag] = [(int(step), 1.0) for step in np.linspace(0, max(steps), number)]
    return lines


def thresholds(run: FinishedRun) -> dict[str, dict[str, Points]]:
    """By name of a run of TensorBoard, a level line at each threshold, under the tags that cells show the metric by.

    Of very many the lowest and the highest.
    """
    found = sorted({(float(f"{r.threshold:.3g}"), r.task.threshold_metric) for r in run.cells if r.threshold})
    if len(found) > MOST_THRESHOLDS:
        found = [found[0], found[-1]]
    last = max(result.result["steps"] for result in run.cells)
    lines = {}
    for threshold, metric in found:
        share = is_share(run.columns.get(metric, ""))
        name = f"{SOLVED}{'above' if share else 'below'}/{threshold:.3g}"
        level, tag = (threshold, metric) if share else (log10(threshold), f"log10_{metric}")
        lines[name] = {f"{tag}/{q}": [(0, level), (last, level)] for q in BAND}
    return lines
