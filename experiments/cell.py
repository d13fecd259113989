"""Running cells that train together: all their seeds in one program, each cell in a folder of its own, resumable at any
moment.
"""

import contextlib
import json
import math
import time
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import build
from experiments.config import axis_path, leaves
from experiments.console import CellProgress
from experiments.environment import differences
from experiments.grid import Cell
from experiments.results import Files, read_json, write_csv
from experiments.stopping import Stopping
from nalu_jax.checkpoint import Checkpoints, pack, write_atomic
from nalu_jax.loop import Run, diverged, run_seeds
from nalu_jax.random import generator_of
from nalu_jax.stats import success_rate
from nalu_jax.tensorboard import POINTS, TensorBoard
from nalu_jax.types import Sequences
from nalu_jax.writer import MetricsFile, summarise

CHUNK_SECONDS = 1.0
CHECKPOINT_SECONDS = 30.0
CHECKPOINT_SHARE = 0.01  # of the time of a run that checkpoints may take


class Recorder(NamedTuple):
    """Where the evaluations of one cell go."""

    metrics: MetricsFile
    tensorboard: TensorBoard


class GroupHost:
    """The loop's host for cells that train together: paces the chunks, records, shows, saves."""

    def __init__(self, group: list[Cell], files: list[Files], progress: CellProgress, stopping: Stopping):
        schedule = build.schedule(group[0].config)
        self.progress = progress
        self.stopping = stopping
        # One run, one checkpoint: it lies with the first of the cells.
        self.checkpoints = Checkpoints(files[0].checkpoints, say=progress.say)
        self.last_step = schedule.num_steps
        self.longest = schedule.eval_every  # the loop cuts a chunk there anyway
        every = math.ceil((schedule.num_steps // schedule.eval_every + 2) / POINTS)
        self.recorders = [
            Recorder(MetricsFile(f.metrics), TensorBoard(f.path, every=every, say=progress.say)) for f in files
        ]
        self.length = 0
        self.pause = CHECKPOINT_SECONDS
        self.asked = self.saved = time.monotonic()

    def resume(self, template: Run) -> Run | None:
        """The newest whole checkpoint; what was recorded after it is dropped, the rest shown again."""
        stored = self.checkpoints.restore(template)
        sizes = stored.extra["metrics_sizes"] if stored else [0] * len(self.recorders)
        for recorder, size in zip(self.recorders, sizes, strict=True):
            recorder.metrics.cut(size)
        if stored is None:
            return None
        step = int(stored.tree.step)
        self.progress.say(f"resuming from step {step:,}")
        for rows in zip(*(recorder.metrics.rows() for recorder in self.recorders), strict=True):
            for recorder, row in zip(self.recorders, rows, strict=True):
                recorder.tensorboard.row(row)
            self.progress.evaluated(list(rows))
        self.progress.advanced(step)
        return stored.tree

    def chunk_steps(self) -> int:
        """As many steps as take about a second, going by the chunk before."""
        now = time.monotonic()
        if self.length:
            rate = self.length / max(now - self.asked, 1e-3)
            self.length = int(min(max(1, rate * CHUNK_SECONDS), 4 * self.length, self.longest))
        else:
            self.length = 8
        self.asked = now
        return self.length

    def evaluated(self, step: int, metrics: dict[str, np.ndarray]) -> None:
        """Records an evaluation and shows it."""
        rows = []
        for i, recorder in enumerate(self.recorders):
            row = summarise(step, {name: values[:, i] for name, values in metrics.items()})
            recorder.metrics.append(row)
            recorder.tensorboard.row(row, last=step == self.last_step)
            rows.append(row)
        self.progress.evaluated(rows)
        self.progress.advanced(step)

    def wants_checkpoint(self) -> bool:
        """Every half minute, or less often where that takes more than its share; at once when asked to stop."""
        return self.stopping.asked or time.monotonic() - self.saved > self.pause

    def save(self, step: int, run: Run) -> None:
        """Commits a checkpoint. Interrupted if the run is to stop."""
        self.progress.advanced(step)
        began = time.monotonic()
        self.checkpoints.save(step, run, {"metrics_sizes": [recorder.metrics.sync() for recorder in self.recorders]})
        self.saved = time.monotonic()
        self.pause = max(CHECKPOINT_SECONDS, (self.saved - began) / CHECKPOINT_SHARE)
        self.stopping.check()

    def close(self) -> None:
        """Brings what TensorBoard is to see to the disk."""
        with contextlib.ExitStack() as stack:
            for recorder in self.recorders:
                stack.callback(recorder.tensorboard.close)


def run_group(
    group: list[Cell], files: list[Files], progress: CellProgress, stopping: Stopping, environment: dict[str, Any]
) -> None:
    """Runs cells that train together, or what is left, to the end; ``seeds.csv`` is the last file that a cell gets."""
    schedule = build.schedule(group[0].config)
    programs, setup = build.programs([cell.config for cell in group])
    environment = environment | {"block": programs.layout.block, "generator": generator_of(group[0].config.generator)}
    changes = []
    for cell, cell_files in zip(group, files, strict=True):
        cell_files.path.mkdir(parents=True, exist_ok=True)
        changes.append(note_environment(cell, cell_files, progress, environment))
    with contextlib.closing(GroupHost(group, files, progress, stopping)) as host:
        run = run_seeds(
            programs,
            schedule.seeds,
            setup,
            num_steps=schedule.num_steps,
            eval_every=schedule.eval_every,
            host=host,
            resume_from=host.resume,
        )
        host.save(int(run.step), run)
        untrained = build.untrained_errors([cell.config for cell in group])
        for i, cell in enumerate(group):
            alone = case_of(run, i)
            write_results(cell, files[i], alone, untrained[i], changes[i])
            rows = seed_rows(cell.axes, alone)
            show_results(host.recorders[i].tensorboard, cell, alone, rows, schedule.num_steps)
            write_csv(files[i].seeds, rows)


def case_of(run: Run, case: int) -> Run:
    """One case of a run, its leaves [seeds, ...]."""
    state, record = jax.tree.map(lambda leaf: leaf[:, case], (run.state, run.record))
    return Run(run.step, state, record)


def write_results(cell: Cell, files: Files, run: Run, untrained: dict[str, float], changes: list[str]) -> None:
    """Writes the parameters of all seeds, and what is known of the cell as a whole."""
    write_atomic(files.params, pack({"best": run.record.best_params, "last": run.state.params}))
    result = {
        "steps": build.schedule(cell.config).num_steps,
        "threshold": build.task_spec(cell.config).threshold,
        "untrained": untrained,
        "predictors": build.task_spec(cell.config).predictors(),
        "environment_changes": changes,
    }
    write_atomic(files.result, json.dumps(result, indent=2).encode())


def seed_rows(axes: dict[str, Any], run: Run) -> list[dict[str, Any]]:
    """A row a seed: whether and when it was solved, its errors at its best evaluation, and where it diverged."""
    gone = diverged(run)
    best = {name: values for name, values in run.record.best.items() if values.dtype == np.float32}
    rows = []
    for i in range(len(gone)):
        solved = bool(run.record.best["solved"][i]) and not gone[i]
        evaluated = run.record.best_step[i] >= 0
        rows.append(
            {
                **axes,
                "seed": int(run.state.seed[i]),
                "solved": solved,
                "solved_at": int(run.record.solved_at[i]) if solved else None,
                "best_step": int(run.record.best_step[i]) if evaluated else None,
                **{name: values[i] if evaluated else None for name, values in best.items()},
                "diverged_at": int(run.state.step[i]) if gone[i] else None,
            }
        )
    return rows


def show_results(tensorboard: TensorBoard, cell: Cell, run: Run, rows: list[dict[str, Any]], step: int) -> None:
    """Adds pictures of the best seed and the table of settings and results to TensorBoard."""
    from experiments import plots, sequence_plots

    errors = [math.inf if row["interpolation_mse"] is None else row["interpolation_mse"] for row in rows]
    best = int(np.argmin(errors))
    params = jax.tree.map(lambda leaf: leaf[best], run.record.best_params)
    pictures = {"weights of the best seed": plots.weight_pixels(cell.config, params, rows[best]["seed"])}
    if isinstance(build.task_spec(cell.config).example, Sequences):
        pictures["a sequence and its totals"] = sequence_plots.strip_pixels(cell.config, params)
        pictures["what it reads in an image"] = sequence_plots.reading_pixels(cell.config, params)
    for title, pixels in pictures.items():
        if pixels is not None:
            tensorboard.image(title, pixels, step)
    # TensorBoard sorts the columns by name and shows the first five: capitals come first.
    swept = {axis_path(cell.config, axis) for axis in cell.axes}
    fields = {axis.capitalize(): value for axis, value in cell.axes.items()} | {
        path: value for path, value in leaves(cell.config) if path not in swept
    }
    settings = {name: value if isinstance(value, int | float | str) else str(value) for name, value in fields.items()}
    results = {}
    if build.task_spec(cell.config).threshold:
        solved = sum(row["solved"] for row in rows)
        results["result/success_rate"] = success_rate(solved, len(rows)).estimate
    for name in ("interpolation_mse", "extrapolation_mse"):
        errors = [float(row[name]) for row in rows if row[name] is not None]
        if errors:
            results[f"result/{name}_median"] = float(np.median(errors))
    tensorboard.hparams(settings, results, step)


def note_environment(cell: Cell, files: Files, progress: CellProgress, environment: dict[str, Any]) -> list[str]:
    """Writes the cell's config.json on its first start; says, later, what has changed since. Returns all changes so far."""
    described = {"config": json.loads(cell.config.to_json_best_effort()), "environment": environment, "changes": []}
    if not files.config.exists():
        write_atomic(files.config, json.dumps(described, indent=2).encode())
        return []
    before = read_json(files.config)
    found = differences(before["environment"], environment)
    if found:
        progress.say(f"not bit-exact from here on, the environment has changed: {'; '.join(found)}")
        before |= {"environment": environment, "changes": before["changes"] + found}
        write_atomic(files.config, json.dumps(before, indent=2).encode())
    return before["changes"]
