"""Running cells that train together: all their seeds in one program, each cell in a folder of its own, resumable at any
moment.
"""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.faults import out_of_memory
from experiments.reports import find, hparams
from experiments.reports.formats import is_share
from experiments.reports.overview import events_of
from experiments.reports.results import CellResult, Files, csv_text, plain, read_json
from experiments.reports.trained import Trained
from experiments.running.console import CellProgress
from experiments.running.environment import differences
from experiments.running.processes import Leading, announce, several
from experiments.running.stopping import SignalHandler
from experiments.running.work import Work
from experiments.running.work import plain as plain_config
from experiments.settings.build import Job, programs, untrained_errors
from experiments.settings.grid import Cell
from nalu_jax.storage.checkpoint import Checkpoints, pack
from nalu_jax.storage.files import sealed, sha256, write_atomic
from nalu_jax.storage.metrics import MetricsFile, summarise
from nalu_jax.storage.tensorboard import POINTS
from nalu_jax.storage.writers import Writer, Writers
from nalu_jax.training.loop import Host, Run, diverged, run_seeds
from nalu_jax.training.random import generator_of

CHUNK_SECONDS = 1.0
CHECKPOINT_SECONDS = 30.0
CHECKPOINT_SHARE = 0.01  # of the time of a run that checkpoints may take


class Recorder(NamedTuple):
    """Where the evaluations of one cell go."""

    metrics: MetricsFile
    writers: Writers


class GroupHost:
    """The loop's host for cells that train together: paces the chunks, records, shows, saves."""

    def __init__(self, jobs: list[Job], files: list[Files], progress: CellProgress, signals: SignalHandler):
        schedule, columns = jobs[0].schedule, jobs[0].task.columns
        self.progress = progress
        self.signals = signals
        # One run, one checkpoint: it lies with the first of the cells.
        self.checkpoints = Checkpoints(files[0].checkpoints, say=progress.say)
        self.last_step = schedule.num_steps
        self.longest = schedule.eval_every  # the loop cuts a chunk there anyway
        every = math.ceil((schedule.num_steps // schedule.eval_every + 2) / POINTS)
        errors = [metric for metric, heading in columns.items() if not is_share(heading)]
        shown = jobs[0].config.writers
        self.recorders = [
            Recorder(
                MetricsFile(f.metrics),
                Writers(
                    shown, f.path, every=every, errors=errors, say=progress.say, events=events_of(f.path, job.name, job.axes)
                ),
            )
            for job, f in zip(jobs, files, strict=True)
        ]
        self.length = 0
        self.pause = CHECKPOINT_SECONDS
        self.asked = self.saved = time.monotonic()

    def resume(self, template: Run) -> Run | None:
        """The newest whole checkpoint with whole records; what was recorded after it is dropped, the rest shown again."""
        stored = self.checkpoints.restore(template, self.check_records)
        records = stored.extra["records"] if stored else [[0, ""]] * len(self.recorders)
        for recorder, (size, _) in zip(self.recorders, records, strict=True):
            recorder.metrics.cut(size)
        if stored is None:
            return None
        step = int(stored.tree.step)
        self.progress.say(f"resuming from step {step:,}")
        for rows in zip(*(recorder.metrics.rows() for recorder in self.recorders), strict=True):
            for recorder, row in zip(self.recorders, rows, strict=True):
                recorder.writers.row(row)
            self.progress.evaluated(list(rows))
        self.progress.advanced(step)
        return stored.tree

    def check_records(self, extra: dict[str, Any]) -> None:
        """Raises OSError unless the metrics files begin as they did when a checkpoint was saved."""
        if "records" not in extra:
            raise OSError("it is of another version")
        for recorder, record in zip(self.recorders, extra["records"], strict=True):
            recorder.metrics.check(*record)

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
            recorder.writers.row(row, last=step == self.last_step)
            rows.append(row)
        self.progress.evaluated(rows)
        self.progress.advanced(step)

    def wants_checkpoint(self) -> bool:
        """Every half minute, or less often where that takes more than its share; at once when asked to stop."""
        return self.signals.stop_requested or time.monotonic() - self.saved > self.pause

    def save(self, step: int, run: Run) -> None:
        """Commits a checkpoint. Interrupted if the run is to stop."""
        self.progress.advanced(step)
        began = time.monotonic()
        self.checkpoints.save(step, run, {"records": [recorder.metrics.sync() for recorder in self.recorders]})
        self.saved = time.monotonic()
        self.pause = max(CHECKPOINT_SECONDS, (self.saved - began) / CHECKPOINT_SHARE)
        self.signals.check()

    def close(self) -> None:
        """Brings what writers have to where it is to be seen."""
        with contextlib.ExitStack() as stack:
            for recorder in self.recorders:
                stack.callback(recorder.writers.close)


def run_group(work: Work, progress: CellProgress, signals: SignalHandler, environment: dict[str, Any]) -> None:
    """Runs cells that train together, or what is left, to the end; ``seeds.csv`` is the last file that a cell gets.

    Where memory runs out it goes on with half as many seeds at a time, as long as there is more than one; but not in several
    processes, which would all have to know.
    """
    layout = work.jobs[0].layout
    try:
        return train_group(work, progress, signals, environment)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error) or layout.block == 1 or several():
            raise
    fewer = layout._replace(block=layout.block // 2)
    progress.say(f"out of memory with {layout.block} seeds at a time on a device; going on with {fewer.block}")
    work = work._replace(jobs=[dataclasses.replace(job, layout=fewer) for job in work.jobs])
    return run_group(work, progress, signals, environment)


def train_group(work: Work, progress: CellProgress, signals: SignalHandler, environment: dict[str, Any]) -> None:
    """Runs cells that train together with the block of seeds that their layout says."""
    jobs, files = work
    layout = jobs[0].layout
    generator = dict(jobs[0].training.learner_options).get("generator")
    environment = environment | {"block": layout.block} | ({"generator": generator_of(generator)} if generator else {})
    names, changes = [job.name for job in jobs], []
    for job, job_files in zip(jobs, files, strict=True):
        job_files.path.mkdir(parents=True, exist_ok=True)
        changes.append(begin(job, job_files, names, progress, environment))
    with contextlib.closing(GroupHost(jobs, files, progress, signals)) as host:
        announce(work, signals)
        leading = Leading(host, host.resume, signals) if several() else host
        run, untrained = compute(jobs, leading, leading.resume)
        host.save(int(run.step), run)
        for i, job in enumerate(jobs):
            state, record = jax.tree.map(lambda leaf, i=i: leaf[:, i], (run.state, run.record))  # leaves [seeds, ...]
            alone = Run(run.step, state, record)
            rows = seed_rows(alone)
            table = csv_text([{**job.axes, **row} for row in rows]).encode()
            result = write_results(job, files[i], alone, rows, untrained[i], changes[i], sha256(table))
            show_results(host.recorders[i].writers, job, alone, result)
            write_atomic(files[i].seeds, table)


def compute(jobs: list[Job], host: Host, resume: Callable[[Run], Run | None]) -> tuple[Run, list[dict[str, float]]]:
    """Trains cells together, to the end; returns the run, and the errors of each before training."""
    compiled, problem = programs(jobs)
    schedule = jobs[0].schedule
    run = run_seeds(
        compiled,
        schedule.seeds,
        problem,
        num_steps=schedule.num_steps,
        eval_every=schedule.eval_every,
        host=host,
        resume_from=resume,
    )
    return run, untrained_errors(jobs)


def write_results(
    job: Job,
    files: Files,
    run: Run,
    rows: list[dict[str, str]],
    untrained: dict[str, float],
    changes: list[str],
    seeds_digest: str,
) -> CellResult:
    """Writes the parameters of all seeds, and what is known of the cell as a whole; the finished cell is returned.

    Of the files that reports believe the digests are among what is known; seeds.csv, the last file, is still to be written.
    """
    params = pack({"best": run.record.best_params, "last": run.state.params})
    write_atomic(files.params, params)
    score = np.where(run.record.best_step >= 0, run.record.best.score, np.inf)
    result = {
        "steps": job.schedule.num_steps,
        "threshold": job.task.threshold,
        "best_seed": int(np.argmin(score)),
        "untrained": untrained,
        "predictors": job.task.predictors(),
        "environment_changes": changes,
        "sha256": {
            files.seeds.name: seeds_digest,
            files.params.name: sha256(params),
            files.metrics.name: sha256(files.metrics.read_bytes()),
        },
    }
    write_atomic(files.result, sealed(result))
    return CellResult(dict(job.axes), Cell(dict(job.axes), job.name, job.config), job.task, rows, result, files)


def seed_rows(run: Run) -> list[dict[str, str]]:
    """The rows of seeds.csv: whether and when a seed was solved, its metrics at its best evaluation, where it diverged."""
    gone, best = diverged(run), run.record.best
    rows = []
    for i in range(len(gone)):
        solved = bool(best.solved[i]) and not gone[i]
        evaluated = run.record.best_step[i] >= 0
        row = {
            "seed": int(run.state.seed[i]),
            "solved": solved,
            "solved_at": int(run.record.solved_at[i]) if solved else None,
            "best_step": int(run.record.best_step[i]) if evaluated else None,
            **{name: values[i] if evaluated else None for name, values in best.metrics.items()},
            "diverged_at": int(run.state.step[i]) if gone[i] else None,
        }
        rows.append({name: str(plain(value)) for name, value in row.items()})
    return rows


def show_results(writer: Writer, job: Job, run: Run, result: CellResult) -> None:
    """Adds the pictures that the reports have of the best seed, and the table of settings and results, to the writers."""
    from experiments.reports.figures import pixels

    best, step = result.best_seed, job.schedule.num_steps
    params = jax.tree.map(lambda leaf: leaf[best], run.record.best_params)
    trained = Trained(job.name, int(run.state.seed[best]), job.task, job.network, params)
    for name in job.config.reports:
        report = find(name)
        figure = report.picture(trained) if hasattr(report, "picture") else None
        if figure is not None:
            writer.image(f"{name} of the best seed", pixels(figure), step)
    writer.hparams(hparams.settings_of(result), hparams.results_of(result), step)


def begin(job: Job, files: Files, together: list[str], progress: CellProgress, environment: dict[str, Any]) -> list[str]:
    """Writes the cell's config.json on its first start; says, later, what has changed since. Returns all changes so far.

    A cell that has results of fewer steps keeps them in a folder of their own.
    """
    described = {"config": plain_config(job.config), "together": together, "environment": environment, "changes": []}
    if not files.config.exists():
        write_atomic(files.config, sealed(described))
        return []
    before = read_json(files.config)
    if before["config"]["num_steps"] < job.schedule.num_steps:
        set_aside(files, f"steps_{before['config']['num_steps']}")
    found = differences(before["environment"], environment)
    if found:
        progress.say(f"not bit-exact from here on, the environment has changed: {'; '.join(found)}")
    now = described | {"changes": before["changes"] + found}
    if now != before:
        write_atomic(files.config, sealed(now))
    return now["changes"]


def set_aside(files: Files, name: str) -> None:
    """Keeps the results of a finished cell that goes on in a folder of their own; then it is unfinished."""
    if files.seeds.exists():
        aside = files.path / name
        aside.mkdir(exist_ok=True)
        for file in (files.config, files.metrics, files.params, files.result, files.seeds):
            write_atomic(aside / file.name, file.read_bytes())
        files.seeds.unlink()
