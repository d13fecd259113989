"""The cost of training cells together, measured on this machine and now: compiled, trained for about a second, evaluated."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.reports import find
from experiments.reports.trained import Trained
from experiments.settings.build import Job, programs, untrained_errors
from nalu_jax.storage.metrics import summarise
from nalu_jax.training.distributed import by_seed, pad_seeds, place, replicated
from nalu_jax.training.loop import Programs, Run, run_seeds

EVALUATIONS = 3  # that are timed
Clock = Callable[[], float]


class Cost(NamedTuple):
    """What it takes to train cells together, measured, in seconds and bytes."""

    compiling: float  # until the evaluation before the first step is there
    step: float  # a training step of all seeds
    evaluation: float  # of all seeds, its rows included
    untrained: float  # errors of untrained networks to compare with
    drawing: float  # the pictures of one cell
    pictures: float  # how many these are
    row_bytes: float  # a row of the metrics file of one cell
    params_bytes: float  # the parameters of one cell
    run_bytes: float  # a checkpoint


class ProbeHost:
    """The loop's host for a measurement: it keeps the metrics of the last evaluation, and no more."""

    def __init__(self):
        self.metrics: dict[str, np.ndarray] = {}

    def chunk_steps(self) -> int:
        """One at a time."""
        return 1

    def evaluated(self, step: int, metrics: dict[str, np.ndarray]) -> None:
        """Keeps the metrics."""
        del step
        self.metrics = metrics

    def wants_checkpoint(self) -> bool:
        """Never."""
        return False

    def save(self, step: int, run: Run) -> None:
        """Saves nothing."""


def measure(jobs: list[Job], now: Clock, seconds: float) -> Cost:
    """What it takes to train cells together: compiles, trains for about so many seconds, and evaluates."""
    host, (compiled, problem) = ProbeHost(), programs(jobs)
    began = now()
    run = run_seeds(compiled, jobs[0].schedule.seeds, problem, num_steps=0, eval_every=1, host=host)
    compiling = now() - began
    step, evaluation = time_chunks(compiled, jobs[0].schedule.seeds, problem, now, seconds)
    rows, recording = timed(lambda: [row_of(host.metrics, i) for i in range(len(jobs))], now)
    _, untrained = timed(lambda: untrained_errors(jobs), now)
    pictures, drawing = timed(lambda: draw(jobs[0], run), now)
    return Cost(
        compiling=compiling,
        step=step,
        evaluation=evaluation + recording,
        untrained=untrained,
        drawing=drawing,
        pictures=pictures,
        row_bytes=len(rows[0]),
        params_bytes=2 * size_of(run.record.best_params) / len(jobs),  # the best and the last
        run_bytes=size_of((run.state, run.record)),
    )


def time_chunks(compiled: Programs, seeds: np.ndarray, problem: Any, now: Clock, seconds: float) -> tuple[float, float]:
    """Seconds of a training step, and of an evaluation, of all seeds. Of ever longer chunks the last one counts."""
    start, chunk, layout = compiled
    problem = place(problem, replicated(layout.mesh))
    run = start(place(pad_seeds(seeds, layout), by_seed(layout.mesh)), problem)
    evaluations = []
    for _ in range(EVALUATIONS):
        (run, _), taken = timed(lambda run=run: chunk(run, problem, 0, True), now)
        evaluations.append(taken)
    length, taken, spent = 1, 0.0, 0.0
    while spent < seconds and taken < seconds / 2:
        length = int(min(max(1, length * seconds / 2 / taken), 4 * length)) if taken else 2 * length
        (run, _), taken = timed(lambda run=run, length=length: chunk(run, problem, length, False), now)
        spent += taken
    return taken / length, float(np.median(evaluations))


def timed(call: Callable[[], Any], now: Clock) -> tuple[Any, float]:
    """What a call returns, once it is computed, and how long that takes."""
    began = now()
    result = jax.block_until_ready(call())
    return result, now() - began


def row_of(metrics: dict[str, np.ndarray], cell: int) -> str:
    """The row of the metrics file that one of the cells gets of an evaluation."""
    return json.dumps(summarise(0, {name: values[:, cell] for name, values in metrics.items()}))


def draw(job: Job, run: Run) -> int:
    """Draws the pictures that writers get of a finished cell, here of a seed that is untrained, and returns how many."""
    from experiments.reports.figures import pixels

    params = jax.tree.map(lambda leaf: leaf[0, 0], run.record.best_params)  # leaves [seeds, cells, ...]
    trained = Trained(job.name, int(run.state.seed[0, 0]), job.task, job.network, params)
    reports = [find(name) for name in job.config.reports if job.config.writers]
    figures = [report.picture(trained) for report in reports if hasattr(report, "picture")]
    return len([pixels(figure) for figure in figures if figure is not None])


def size_of(tree: Any) -> int:
    """Bytes of the arrays of a tree."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))
