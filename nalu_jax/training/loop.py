"""The training loop: scans and vmaps a learner over seeds, and knows nothing of arithmetic, files or clocks.

Every device trains its share of the seeds, a block of them at a time, so that what a step touches stays in the cache.

A **run** is the state of all seeds and the record of their evaluations. It may hold several **variants** side by side:
problems that differ in numbers only, for each of which every seed is trained. One compiled program, the chunk, takes a run
some steps further and, where an evaluation is due, evaluates it. How many steps is an argument of the program:
chunks of every length, the evaluation before the first step included, share one compilation, and the length of a chunk
can follow the clock without touching a number that is computed.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from nalu_jax.training.distributed import (
    Layout,
    by_seed,
    fetch,
    first_seeds,
    over_blocks,
    pad_seeds,
    padded,
    place,
    replicated,
    with_shardings,
)
from nalu_jax.training.lowering import in_one_kernel
from nalu_jax.types import Array, Evaluation, Learner, Metrics, Params, TrainState


class Record(NamedTuple):
    """The evaluations of a seed so far, in short."""

    best_step: Array  # i32[], the step of its best evaluation, -1 before there is one
    best: Evaluation
    best_params: Params
    solved_at: Array  # i32[], the first evaluated step at which it was solved, -1 if it never was


class Run(NamedTuple):
    """All seeds; every leaf but ``step`` is [seeds, ...], or [seeds, variants, ...] where there are variants."""

    step: Array  # i32[], steps that the run has taken; a seed whose own step is behind has diverged
    state: TrainState
    record: Record


class Host(Protocol):
    """The side of a run that owns clock, files and screen. It is asked between chunks only.

    Where several processes train one run, each has a host, and all hosts must answer alike.
    """

    def chunk_steps(self) -> int:
        """How many steps the next chunk may take."""
        ...

    def evaluated(self, step: int, metrics: dict[str, np.ndarray]) -> None:
        """Takes the metrics of an evaluation, each [seeds] or [seeds, variants]; those of a diverged seed are NaN.

        Beside the metrics of the learner there are, as bool, ``solved``; ``success``, whether a seed is solved at its best
        evaluation; and ``diverged``.
        """
        ...

    def wants_checkpoint(self) -> bool:
        """Whether to save now."""
        ...

    def save(self, step: int, run: Run) -> None:
        """Keeps the run; may raise to end it."""
        ...


def diverged(run: Run) -> Array:
    """Which seeds have diverged, bool[seeds] or bool[seeds, variants]: those whose own step lags behind the run's."""
    return run.state.step < run.step


class Variants(NamedTuple):
    """How several problems lie in one tree, as ``stack`` makes it."""

    count: int
    axes: Any  # a tree in the shape of a problem: 0 where variants differ and are stacked, None where they share


def stack(problems: list[Any]) -> tuple[Any, Variants]:
    """The problems as one tree, their differing leaves stacked along a first axis, and which these are.

    They must be of one structure and of the same shapes.
    """

    def differ(*leaves: Any) -> bool:
        return any(leaf is not leaves[0] and not np.array_equal(leaf, leaves[0]) for leaf in leaves)

    differing = jax.tree.map(differ, *problems)
    stacked = jax.tree.map(lambda d, *leaves: jnp.stack(leaves) if d else leaves[0], differing, *problems)
    return stacked, Variants(len(problems), jax.tree.map(lambda d: 0 if d else None, differing))


class Programs(NamedTuple):
    """The compiled programs of a learner; both serve every problem of the same shapes."""

    start: Callable[[Array, Any], Run]
    chunk: Any  # jitted: (run, problem, num_steps, evaluate) → (run, metrics)
    layout: Layout


def make_programs(learner: Learner, layout: Layout, *, variants: Variants | None = None) -> Programs:
    """The programs that train the learner, the seeds lying on the devices as ``layout`` says.

    With ``variants`` the problem is a tree that ``stack`` made.
    """
    return Programs(make_start(learner, layout.mesh, variants), make_chunk(learner, layout, variants), layout)


def make_start(learner: Learner, mesh: Mesh, variants: Variants | None = None) -> Callable[[Array, Any], Run]:
    """A jitted function (seeds u32[seeds], problem) → run at step 0."""

    def start_one(seed: Array, problem: Any) -> tuple[TrainState, Record]:
        state = learner.init(seed, problem)
        evaluation = jax.eval_shape(learner.evaluate, state, problem)
        return state, Record(jnp.int32(-1), full_like(evaluation, jnp.inf), state.params, jnp.int32(-1))

    start_all = for_all(start_one, (None, "problem"), variants, seed_axes=(0, None))

    def start(seeds: Array, problem: Any) -> Run:
        return Run(jnp.int32(0), *start_all(seeds, problem))

    return jax.jit(start, out_shardings=run_sharding(mesh))


def for_all(function: Callable, axes: tuple, variants: Variants | None, *, seed_axes: tuple | None = None) -> Callable:
    """A function of one seed and one problem, mapped over all variants of each seed, and then over all seeds.

    ``axes`` are the axes that it is mapped along, "problem" standing for those of the problem; ``seed_axes`` those along
    which seeds lie, where these are others.
    """
    seed_axes = seed_axes or tuple(None if axis == "problem" else axis for axis in axes)
    if variants is not None:
        variant_axes = tuple(variants.axes if axis == "problem" else axis for axis in axes)
        function = jax.vmap(function, variant_axes, axis_size=variants.count)
    return jax.vmap(function, seed_axes)


def make_chunk(
    learner: Learner, layout: Layout, variants: Variants | None = None
) -> Callable[..., tuple[Run, dict[str, Array]]]:
    """The jitted program (run, problem, num_steps, evaluate) → (run, metrics); it takes over the memory of ``run``.

    ``num_steps`` steps are taken; then, if ``evaluate``, all seeds are evaluated, the record is brought up to date, and
    the learner takes note. The best evaluation of a seed is the first with the smallest score, that before the first step
    excepted; ``Host.evaluated`` says which metrics are returned. A step after which a parameter or a metric is not finite
    is not taken: the seed stays where it was for good, since the same position draws the same batch, and its neighbours do
    not notice.
    """

    @in_one_kernel
    def unless_diverged(stepped: TrainState, metrics: Metrics, state: TrainState) -> TrainState:
        finite = all_finite((stepped.params, metrics))
        return jax.tree.map(lambda new, old: jnp.where(finite, new, old), stepped, state)

    def step_one(state: TrainState, problem: Any) -> TrainState:
        stepped, metrics = learner.step(state, problem)
        return unless_diverged(stepped, metrics, state)

    def evaluate_one(state: TrainState, record: Record, step: Array, problem: Any) -> tuple[TrainState, Record, Metrics]:
        healthy = state.step == step
        evaluation = learner.evaluate(state, problem)
        better = healthy & (step > 0) & (evaluation.score < record.best.score)
        candidate = (step, evaluation, state.params)
        kept = (record.best_step, record.best, record.best_params)
        best_step, best, best_params = jax.tree.map(lambda new, old: jnp.where(better, new, old), candidate, kept)
        first = healthy & evaluation.solved & (record.solved_at < 0)
        record = Record(best_step, best, best_params, jnp.where(first, step, record.solved_at))
        metrics = evaluation.metrics | {"solved": evaluation.solved}
        metrics = jax.tree.map(lambda m, nothing: jnp.where(healthy, m, nothing), metrics, full_like(metrics, jnp.nan))
        metrics |= {"success": healthy & record.best.solved, "diverged": ~healthy}
        state = jax.tree.map(lambda new, old: jnp.where(healthy, new, old), learner.observe(state, evaluation), state)
        return state, record, metrics

    step_all = for_all(step_one, (0, "problem"), variants)
    evaluate_all = for_all(evaluate_one, (0, 0, None, "problem"), variants)

    def of_block(block: tuple[TrainState, Record], problem: Any, step: Array, num_steps: Array, evaluate: Array):
        state, record = block
        state = jax.lax.fori_loop(0, num_steps, lambda _, state: step_all(state, problem), state)
        metrics = jax.eval_shape(evaluate_all, state, record, step, problem)[2]
        return jax.lax.cond(
            evaluate,
            lambda: evaluate_all(state, record, step, problem),
            lambda: (state, record, full_like(metrics, jnp.nan)),
        )

    def chunk(run: Run, problem: Any, num_steps: Array, evaluate: Array) -> tuple[Run, dict[str, Array]]:
        step = run.step + num_steps
        seeds, shared = (run.state, run.record), (problem, step, jnp.int32(num_steps), jnp.bool_(evaluate))
        state, record, metrics = over_blocks(of_block, layout)(seeds, *shared)
        return Run(step, state, record), metrics

    return jax.jit(chunk, donate_argnums=0, out_shardings=(run_sharding(layout.mesh), by_seed(layout.mesh)))


def run_seeds(
    programs: Programs,
    seeds: np.ndarray,
    problem: Any,
    *,
    num_steps: int,
    eval_every: int,
    host: Host,
    resume_from: Callable[[Run], Run | None] = lambda template: None,
) -> Run:
    """Trains all seeds, in all variants, for ``num_steps`` and returns the finished run.

    While a chunk runs, the host is busy with the metrics of the one before. The run ends with the first evaluation that
    finds every seed diverged: nothing can change any more, so it counts as run to its end.

    Args:
      programs: what ``make_programs`` made.
      seeds: u32[seeds].
      problem: what all seeds are given, of the shapes that the programs were made for.
      num_steps: optimizer steps.
      eval_every: steps between evaluations, which are made at every multiple, 0 included, and at the end.
      host: clock, files and screen.
      resume_from: is given the shapes of a run of ``seeds`` and returns a stored one, of this layout or another, or None to
        start afresh.

    Returns:
      The run as NumPy arrays, [seeds, ...] or [seeds, variants, ...].
    """
    start, chunk, layout = programs
    mesh = layout.mesh
    all_seeds = place(pad_seeds(seeds, layout), by_seed(mesh))
    problem = place(problem, replicated(mesh))
    shapes = jax.eval_shape(start, all_seeds, problem)
    stored = resume_from(Run(shapes.step, *first_seeds((shapes.state, shapes.record), len(seeds))))

    def report(step: int, metrics: dict[str, Array], evaluated: bool) -> bool:
        """Waits for a chunk, hands its metrics over, and says whether any seed is left to train."""
        fetched = first_seeds(fetch(metrics), len(seeds))
        if evaluated:
            host.evaluated(step, fetched)
        return not (evaluated and fetched["diverged"].all())

    if stored is None:
        of_seeds = with_shardings((shapes.state, shapes.record), by_seed(mesh))
        lowered = chunk.lower(Run(with_shardings(shapes.step, replicated(mesh)), *of_seeds), problem, 0, True)
        with ThreadPoolExecutor() as pool:
            compiled = pool.submit(lowered.compile)  # jax finds it again when the chunk is called
            run = start(all_seeds, problem)
            compiled.result()
        run, metrics = chunk(run, problem, 0, True)
        step, in_flight, alive = 0, (0, metrics, True), True
    else:
        run = place(Run(stored.step, *padded((stored.state, stored.record), len(all_seeds))), run_sharding(mesh))
        step, in_flight = int(stored.step), None
        last_evaluation = step - step % eval_every
        alive = bool((np.asarray(stored.state.step) >= last_evaluation).any())

    while step < num_steps and alive:
        length = min(host.chunk_steps(), eval_every - step % eval_every, num_steps - step)
        step += length
        evaluate = step % eval_every == 0 or step == num_steps
        run, metrics = chunk(run, problem, length, evaluate)
        if in_flight:
            alive = report(*in_flight)
        in_flight = (step, metrics, evaluate)
        if alive and host.wants_checkpoint():
            alive = report(*in_flight)
            in_flight = None
            host.save(step, fetched_run(run, len(seeds)))
    if in_flight and alive:
        alive = report(*in_flight)
    run = fetched_run(run, len(seeds))
    return run if alive else run._replace(step=jnp.int32(num_steps))


def fetched_run(run: Run, count: int) -> Run:
    """A run on the host, without the seeds that only fill up devices and blocks."""
    run = fetch(run)
    return Run(run.step, *first_seeds((run.state, run.record), count))


def run_sharding(mesh: Mesh) -> Any:
    """How a run lies on the devices: a tree of shardings in the shape of a Run."""
    run: Any = Run
    return run(replicated(mesh), by_seed(mesh), by_seed(mesh))


def full_like(tree: Any, number: float) -> Any:
    """A tree of the same shapes that holds ``number`` where there are floating-point numbers, and 0 or False elsewhere."""
    return jax.tree.map(lambda m: jnp.full(m.shape, number if jnp.issubdtype(m.dtype, jnp.inexact) else 0, m.dtype), tree)


def all_finite(tree) -> Array:
    """Whether every floating-point number of the tree is finite, bool[]."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all()
