"""The training loop: scans and vmaps a learner over seeds, and knows nothing of arithmetic, files or clocks.

A **run** is the state of all seeds and the record of their evaluations. One compiled program, the chunk, takes it some
steps further and, where an evaluation is due, judges it. How many steps is an argument of the program: chunks of every
length, the evaluation before the first step included, share one compilation, and the length of a chunk can follow the
clock without touching a number that is computed.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from nalu_jax.distributed import by_seed, pad_seeds, place, replicated
from nalu_jax.types import Array, Learner, Metrics, Params, Task, TrainState


class Record(NamedTuple):
    """What is remembered of a seed's evaluations."""

    best_step: Array  # i32[], the step of its best evaluation, -1 before there is one
    best: Metrics  # the metrics there
    best_params: Params
    solved_at: Array  # i32[], the first evaluated step at which it was solved, -1 if it never was


class Run(NamedTuple):
    """All seeds of a cell; every leaf but ``step`` has the seed as its first axis."""

    step: Array  # i32[], steps that the run has taken; a seed whose own step is behind has diverged
    state: TrainState
    record: Record


class Host(Protocol):
    """The side of a run that owns clock, files and screen. It is asked between chunks only."""

    def chunk_steps(self) -> int:
        """How many steps the next chunk may take."""
        ...

    def evaluated(self, step: int, metrics: dict[str, np.ndarray]) -> None:
        """Takes the metrics of an evaluation, each with a row a seed; NaN and ``diverged`` for a diverged one."""
        ...

    def wants_checkpoint(self) -> bool:
        """Whether to save now."""
        ...

    def save(self, step: int, run: Run) -> None:
        """Keeps the run; may raise to end it."""
        ...


def diverged(run: Run) -> Array:
    """Which seeds have diverged, bool[seeds]: a step that is not finite is never taken, so they fall behind."""
    return run.state.step < run.step


class Programs(NamedTuple):
    """The compiled programs of a learner; both serve every task of the same shapes."""

    start: Callable[[Array, Task], Run]
    chunk: Callable[..., tuple[Run, Metrics]]
    mesh: Mesh


def make_programs(learner: Learner, mesh: Mesh, *, best_by: str) -> Programs:
    """The programs that train the learner on the devices of a mesh; ``best_by`` is the metric that a seed is judged by."""
    return Programs(make_start(learner, mesh), make_chunk(learner, mesh, best_by=best_by), mesh)


def make_start(learner: Learner, mesh: Mesh) -> Callable[[Array, Task], Run]:
    """A jitted function (seeds, task) → run at step 0."""

    def start_seed(seed: Array, task: Task) -> tuple[TrainState, Record]:
        state = learner.init(seed, task)
        metrics = jax.eval_shape(learner.evaluate, state, task)
        return state, Record(jnp.int32(-1), filled(metrics, jnp.inf), state.params, jnp.int32(-1))

    def start(seeds: Array, task: Task) -> Run:
        return Run(jnp.int32(0), *jax.vmap(start_seed, (0, None))(seeds, task))

    return jax.jit(start, out_shardings=run_sharding(mesh))


def make_chunk(learner: Learner, mesh: Mesh, *, best_by: str) -> Callable[..., tuple[Run, Metrics]]:
    """The jitted program (run, task, num_steps, evaluate) → (run, metrics); it takes over the memory of ``run``.

    ``num_steps`` steps are taken; then, if ``evaluate``, all seeds are evaluated and the record is brought up to date.
    The best evaluation of a seed is the first with the smallest ``best_by``, that before the first step excepted; to the
    metrics that the learner reports are added ``success``, whether it is solved at its best, and ``diverged``. A step
    after which a parameter or a metric is not finite is not taken: the seed stays where it was for good, since the same
    position draws the same batch, and its neighbours do not notice.
    """

    def step_seed(state: TrainState, task: Task) -> TrainState:
        stepped, metrics = learner.step(state, task)
        finite = all_finite((stepped.params, metrics))
        return jax.tree.map(lambda new, old: jnp.where(finite, new, old), stepped, state)

    def judge_seed(state: TrainState, record: Record, step: Array, task: Task) -> tuple[Record, Metrics]:
        healthy = state.step == step
        metrics = learner.evaluate(state, task)
        better = healthy & (step > 0) & (metrics[best_by] < record.best[best_by])
        candidate = (step, metrics, state.params)
        kept = (record.best_step, record.best, record.best_params)
        best_step, best, best_params = jax.tree.map(lambda new, old: jnp.where(better, new, old), candidate, kept)
        first = healthy & metrics["solved"] & (record.solved_at < 0)
        reported = jax.tree.map(lambda m, nothing: jnp.where(healthy, m, nothing), metrics, filled(metrics, jnp.nan))
        record = Record(best_step, best, best_params, jnp.where(first, step, record.solved_at))
        return record, reported | {"diverged": ~healthy, "success": healthy & record.best["solved"]}

    judge_all = jax.vmap(judge_seed, (0, 0, None, None))
    step_all = jax.vmap(step_seed, (0, None))

    def chunk(run: Run, task: Task, num_steps: Array, evaluate: Array) -> tuple[Run, Metrics]:
        state = jax.lax.fori_loop(0, num_steps, lambda _, state: step_all(state, task), run.state)
        step = run.step + num_steps
        unjudged = jax.eval_shape(judge_all, state, run.record, step, task)[1]
        record, metrics = jax.lax.cond(
            evaluate,
            lambda: judge_all(state, run.record, step, task),
            lambda: (run.record, filled(unjudged, jnp.nan)),
        )
        return Run(step, state, record), metrics

    return jax.jit(chunk, donate_argnums=0, out_shardings=(run_sharding(mesh), by_seed(mesh)))


def run_seeds(
    programs: Programs,
    seeds: np.ndarray,
    task: Task,
    *,
    num_steps: int,
    eval_every: int,
    host: Host,
    resume_from: Callable[[Run], Run | None] = lambda template: None,
) -> Run:
    """Trains all seeds for ``num_steps`` and returns the finished run (with the padding of ``pad_seeds``).

    Evaluations are made at every multiple of ``eval_every``, 0 included, and at the end. ``resume_from`` is given the
    shapes of a run and returns a stored one, or None to start afresh. While a chunk runs, the host is busy with the
    metrics of the one before. The run ends with the first evaluation that finds every seed diverged: nothing can change any
    more, so it counts as run to its end.
    """
    start, chunk, mesh = programs
    padded = place(pad_seeds(seeds, mesh), by_seed(mesh))
    task = place(task, replicated(mesh))
    stored = resume_from(jax.eval_shape(start, padded, task))

    def report(step: int, metrics: Metrics, evaluated: bool) -> bool:
        """Waits for a chunk, hands its metrics over, and says whether any seed is left to train."""
        fetched = {name: np.asarray(m)[: len(seeds)] for name, m in metrics.items()}
        if evaluated:
            host.evaluated(step, fetched)
        return not (evaluated and fetched["diverged"].all())

    if stored is None:
        run, metrics = chunk(start(padded, task), task, 0, True)
        step, in_flight, alive = 0, (0, metrics, True), True
    else:
        run = place(stored, run_sharding(mesh))
        step, in_flight = int(stored.step), None
        last_evaluation = step - step % eval_every
        alive = bool((np.asarray(stored.state.step)[: len(seeds)] >= last_evaluation).any())

    while step < num_steps and alive:
        length = min(host.chunk_steps(), eval_every - step % eval_every, num_steps - step)
        step += length
        evaluate = step % eval_every == 0 or step == num_steps
        run, metrics = chunk(run, task, length, evaluate)
        if in_flight:
            alive = report(*in_flight)
        in_flight = (step, metrics, evaluate)
        if alive and host.wants_checkpoint():
            alive = report(*in_flight)
            in_flight = None
            host.save(step, run)
    if in_flight and alive:
        alive = report(*in_flight)
    return run if alive else run._replace(step=place(np.int32(num_steps), replicated(mesh)))


def run_sharding(mesh: Mesh) -> Any:
    """How a run lies on the devices: a tree of shardings in the shape of a Run."""
    run: Any = Run
    return run(replicated(mesh), by_seed(mesh), by_seed(mesh))


def filled(metrics: Metrics, number: float) -> Metrics:
    """Metrics that say nothing: the number where they are numbers, False where they are yes or no."""
    return jax.tree.map(lambda m: jnp.full(m.shape, number if jnp.issubdtype(m.dtype, jnp.inexact) else 0, m.dtype), metrics)


def all_finite(tree) -> Array:
    """Whether every floating-point number of the tree is finite, bool[]."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all()
