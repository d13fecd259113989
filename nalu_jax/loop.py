"""The training loop: scans and vmaps a learner over seeds, and knows nothing of arithmetic, files or clocks.

Every device trains its share of the seeds, a block of them at a time, so that what a step touches stays in the cache.

A **run** is the state of all seeds and the record of their evaluations. It may hold several **cases** side by side: what
the seeds are given then differs in numbers, and every seed is trained once for each. One compiled program, the chunk,
takes a run some steps further and, where an evaluation is due, judges it. How many steps is an argument of the program:
chunks of every length, the evaluation before the first step included, share one compilation, and the length of a chunk
can follow the clock without touching a number that is computed.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from nalu_jax.distributed import Layout, by_seed, pad_seeds, place, replicated
from nalu_jax.lowering import in_one_kernel
from nalu_jax.types import Array, Learner, Metrics, Params, TrainState


class Record(NamedTuple):
    """What is remembered of a seed's evaluations."""

    best_step: Array  # i32[], the step of its best evaluation, -1 before there is one
    best: Metrics  # the metrics there
    best_params: Params
    solved_at: Array  # i32[], the first evaluated step at which it was solved, -1 if it never was


class Run(NamedTuple):
    """All seeds; every leaf but ``step`` has the seed as its first axis, and the case, if there are cases, as its second."""

    step: Array  # i32[], steps that the run has taken; a seed whose own step is behind has diverged
    state: TrainState
    record: Record


class Host(Protocol):
    """The side of a run that owns clock, files and screen. It is asked between chunks only."""

    def chunk_steps(self) -> int:
        """How many steps the next chunk may take."""
        ...

    def evaluated(self, step: int, metrics: dict[str, np.ndarray]) -> None:
        """Takes the metrics of an evaluation, each [seeds] or [seeds, cases]; NaN and ``diverged`` for a diverged one."""
        ...

    def wants_checkpoint(self) -> bool:
        """Whether to save now."""
        ...

    def save(self, step: int, run: Run) -> None:
        """Keeps the run; may raise to end it."""
        ...


def diverged(run: Run) -> Array:
    """Which seeds have diverged, of the shape of all metrics: a step that is not finite is never taken; they fall behind."""
    return run.state.step < run.step


class Cases(NamedTuple):
    """Several setups in one tree, as ``stack`` makes it."""

    count: int
    axes: Any  # a tree in the shape of a setup: 0 where cases differ and are stacked, None where they share


def stack(setups: list[Any]) -> tuple[Any, Cases]:
    """The setups as one tree, their differing leaves stacked along a first axis, and which these are.

    They must be of one structure and of the same shapes.
    """

    def differ(*leaves: Any) -> bool:
        return any(leaf is not leaves[0] and not np.array_equal(leaf, leaves[0]) for leaf in leaves)

    differing = jax.tree.map(differ, *setups)
    stacked = jax.tree.map(lambda d, *leaves: jnp.stack(leaves) if d else leaves[0], differing, *setups)
    return stacked, Cases(len(setups), jax.tree.map(lambda d: 0 if d else None, differing))


class Programs(NamedTuple):
    """The compiled programs of a learner; both serve every setup of the same shapes."""

    start: Callable[[Array, Any], Run]
    chunk: Any  # jitted: (run, setup, num_steps, evaluate) → (run, metrics)
    layout: Layout


def make_programs(learner: Learner, layout: Layout, *, best_by: str, cases: Cases | None = None) -> Programs:
    """The programs that train the learner, the seeds lying as ``layout`` says.

    ``best_by`` is the metric that a seed is judged by. With ``cases`` the setup is a tree that ``stack`` made.
    """
    start = make_start(learner, layout.mesh, cases)
    return Programs(start, make_chunk(learner, layout, best_by=best_by, cases=cases), layout)


def make_start(learner: Learner, mesh: Mesh, cases: Cases | None = None) -> Callable[[Array, Any], Run]:
    """A jitted function (seeds, setup) → run at step 0."""

    def start_one(seed: Array, setup: Any) -> tuple[TrainState, Record]:
        state = learner.init(seed, setup)
        metrics = jax.eval_shape(learner.evaluate, state, setup)
        return state, Record(jnp.int32(-1), filled(metrics, jnp.inf), state.params, jnp.int32(-1))

    start_all = for_all(start_one, (None, "setup"), cases, seed_axes=(0, None))

    def start(seeds: Array, setup: Any) -> Run:
        return Run(jnp.int32(0), *start_all(seeds, setup))

    return jax.jit(start, out_shardings=run_sharding(mesh))


def for_all(function: Callable, axes: tuple, cases: Cases | None, *, seed_axes: tuple | None = None) -> Callable:
    """A function of one seed and one setup, mapped over all cases of each seed, and then over all seeds.

    ``axes`` are the axes that it is mapped along, "setup" standing for those of the setup; ``seed_axes`` if those along
    which seeds lie are others.
    """
    seed_axes = seed_axes or tuple(None if axis == "setup" else axis for axis in axes)
    if cases is not None:
        case_axes = tuple(cases.axes if axis == "setup" else axis for axis in axes)
        function = jax.vmap(function, case_axes, axis_size=cases.count)
    return jax.vmap(function, seed_axes)


def make_chunk(
    learner: Learner, layout: Layout, *, best_by: str, cases: Cases | None = None
) -> Callable[..., tuple[Run, Metrics]]:
    """The jitted program (run, setup, num_steps, evaluate) → (run, metrics); it takes over the memory of ``run``.

    ``num_steps`` steps are taken; then, if ``evaluate``, all seeds are evaluated, the record is brought up to date, and
    the learner takes note. The best evaluation of a seed is the first with the smallest ``best_by``, that before the first
    step excepted; to the metrics that the learner reports are added ``success``, whether it is solved at its best, and
    ``diverged``. A step after which a parameter or a metric is not finite is not taken: the seed stays where it was for
    good, since the same position draws the same batch, and its neighbours do not notice.
    """

    @in_one_kernel
    def unless_diverged(stepped: TrainState, metrics: Metrics, state: TrainState) -> TrainState:
        finite = all_finite((stepped.params, metrics))
        return jax.tree.map(lambda new, old: jnp.where(finite, new, old), stepped, state)

    def step_one(state: TrainState, setup: Any) -> TrainState:
        stepped, metrics = learner.step(state, setup)
        return unless_diverged(stepped, metrics, state)

    def judge_one(state: TrainState, record: Record, step: Array, setup: Any) -> tuple[TrainState, Record, Metrics]:
        healthy = state.step == step
        metrics = learner.evaluate(state, setup)
        better = healthy & (step > 0) & (metrics[best_by] < record.best[best_by])
        candidate = (step, metrics, state.params)
        kept = (record.best_step, record.best, record.best_params)
        best_step, best, best_params = jax.tree.map(lambda new, old: jnp.where(better, new, old), candidate, kept)
        first = healthy & metrics["solved"] & (record.solved_at < 0)
        reported = jax.tree.map(lambda m, nothing: jnp.where(healthy, m, nothing), metrics, filled(metrics, jnp.nan))
        record = Record(best_step, best, best_params, jnp.where(first, step, record.solved_at))
        state = jax.tree.map(lambda new, old: jnp.where(healthy, new, old), learner.observe(state, metrics), state)
        return state, record, reported | {"diverged": ~healthy, "success": healthy & record.best["solved"]}

    step_all = for_all(step_one, (0, "setup"), cases)
    judge_all = for_all(judge_one, (0, 0, None, "setup"), cases)

    def of_block(block: tuple[TrainState, Record], setup: Any, step: Array, num_steps: Array, evaluate: Array):
        state, record = block
        state = jax.lax.fori_loop(0, num_steps, lambda _, state: step_all(state, setup), state)
        unjudged = jax.eval_shape(judge_all, state, record, step, setup)[2]
        return jax.lax.cond(
            evaluate,
            lambda: judge_all(state, record, step, setup),
            lambda: (state, record, filled(unjudged, jnp.nan)),
        )

    def chunk(run: Run, setup: Any, num_steps: Array, evaluate: Array) -> tuple[Run, Metrics]:
        step = run.step + num_steps
        seeds, shared = (run.state, run.record), (setup, step, jnp.int32(num_steps), jnp.bool_(evaluate))
        state, record, metrics = over_blocks(of_block, layout)(seeds, *shared)
        return Run(step, state, record), metrics

    return jax.jit(chunk, donate_argnums=0, out_shardings=(run_sharding(layout.mesh), by_seed(layout.mesh)))


def over_blocks(of_block: Callable, layout: Layout) -> Callable:
    """A function (seeds, *shared) of trees of all seeds, from one of the seeds of a block and what all share.

    The devices work side by side, each on one block after another.
    """

    def of_device(seeds: Any, *shared: Any) -> Any:
        blocks = jax.tree.map(lambda leaf: leaf.reshape(-1, layout.block, *leaf.shape[1:]), seeds)
        done = jax.lax.map(lambda block: of_block(block, *shared), blocks)
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), done)

    def of_all(seeds: Any, *shared: Any) -> Any:
        by_device, everywhere = PartitionSpec("seed"), PartitionSpec()
        specs = (by_device, *[everywhere for _ in shared])
        return jax.shard_map(of_device, mesh=layout.mesh, in_specs=specs, out_specs=by_device, check_vma=False)(
            seeds, *shared
        )

    return of_all


def run_seeds(
    programs: Programs,
    seeds: np.ndarray,
    setup: Any,
    *,
    num_steps: int,
    eval_every: int,
    host: Host,
    resume_from: Callable[[Run], Run | None] = lambda template: None,
) -> Run:
    """Trains all seeds, in all cases, for ``num_steps`` and returns the finished run.

    Evaluations are made at every multiple of ``eval_every``, 0 included, and at the end. ``resume_from`` is given the
    shapes of a run of ``seeds`` and returns a stored one, of this layout or another, or None to start afresh. While a chunk
    runs, the host is busy with the metrics of the one before. The run ends with the first evaluation that finds every seed
    diverged: nothing can change any more, so it counts as run to its end.
    """
    start, chunk, layout = programs
    mesh = layout.mesh
    padded = place(pad_seeds(seeds, layout), by_seed(mesh))
    setup = place(setup, replicated(mesh))
    shapes = jax.eval_shape(start, padded, setup)
    stored = resume_from(template(shapes, len(seeds)))

    def report(step: int, metrics: Metrics, evaluated: bool) -> bool:
        """Waits for a chunk, hands its metrics over, and says whether any seed is left to train."""
        fetched = {name: np.asarray(m)[: len(seeds)] for name, m in metrics.items()}
        if evaluated:
            host.evaluated(step, fetched)
        return not (evaluated and fetched["diverged"].all())

    if stored is None:
        lowered = chunk.lower(lying(shapes, mesh), setup, 0, True)
        with ThreadPoolExecutor() as pool:
            compiled = pool.submit(lowered.compile)  # jax finds it again when the chunk is called
            run = start(padded, setup)
            compiled.result()
        run, metrics = chunk(run, setup, 0, True)
        step, in_flight, alive = 0, (0, metrics, True), True
    else:
        run = place(padded_run(stored, len(padded)), run_sharding(mesh))
        step, in_flight = int(stored.step), None
        last_evaluation = step - step % eval_every
        alive = bool((np.asarray(stored.state.step) >= last_evaluation).any())

    while step < num_steps and alive:
        length = min(host.chunk_steps(), eval_every - step % eval_every, num_steps - step)
        step += length
        evaluate = step % eval_every == 0 or step == num_steps
        run, metrics = chunk(run, setup, length, evaluate)
        if in_flight:
            alive = report(*in_flight)
        in_flight = (step, metrics, evaluate)
        if alive and host.wants_checkpoint():
            alive = report(*in_flight)
            in_flight = None
            host.save(step, first_seeds(run, len(seeds)))
    if in_flight and alive:
        alive = report(*in_flight)
    run = first_seeds(run, len(seeds))
    return run if alive else run._replace(step=jnp.int32(num_steps))


def lying(shapes: Run, mesh: Mesh) -> Run:
    """The shapes and types of a run, with where its arrays lie."""

    def with_sharding(tree: Any, sharding: Any) -> Any:
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree)

    seeds = with_sharding((shapes.state, shapes.record), by_seed(mesh))
    return Run(with_sharding(shapes.step, replicated(mesh)), *seeds)


def template(run: Run, count: int) -> Run:
    """The shapes and types of a run of so many seeds, from those of a run that fills up devices and blocks."""
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((count, *leaf.shape[1:]), leaf.dtype), (run.state, run.record))
    return Run(run.step, *shapes)


def first_seeds(run: Run, count: int) -> Run:
    """A run on the host, without the seeds that only fill up devices and blocks."""
    run = jax.tree.map(np.asarray, run)
    state, record = jax.tree.map(lambda leaf: leaf[:count], (run.state, run.record))
    return Run(run.step, state, record)


def padded_run(run: Run, count: int) -> Run:
    """A run on the host with as many copies of its last seed as it takes to fill up devices and blocks."""
    surplus = count - len(run.state.step)
    state, record = jax.tree.map(
        lambda leaf: np.concatenate([leaf, np.repeat(leaf[-1:], surplus, axis=0)]), (run.state, run.record)
    )
    return Run(run.step, state, record)


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
