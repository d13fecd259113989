"""The loop on two learners: a scripted one, whose evaluations are written down beforehand, and a small NAC.

"Bitwise" is promised within one layout of seeds on devices, "close" across layouts; each test says which it means.
"""

import functools
import itertools
import math
import re
from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType

import nalu_jax.units  # noqa: F401  (registers the units)
from nalu_jax.distributed import CACHE, Layout, by_seed, layout_for, pad_seeds, place, replicated, seed_mesh
from nalu_jax.learners import supervised
from nalu_jax.loop import Run, make_programs, run_seeds, stack
from nalu_jax.networks import two_layer
from nalu_jax.tasks.static_arithmetic import OPERATIONS, ArithmeticTask
from nalu_jax.tasks.subsets import Disjoint
from nalu_jax.types import Learner, Setup, TrainState

NEVER = 2**31 - 1


class Stop(Exception):
    """What a host raises in ``save`` to end the run."""


class Recorder:
    """A host that asks for chunks of the given lengths and notes all that happens to it.

    With ``stop_at`` it saves after every chunk, and ends the run once that step is saved; ``save_on`` numbers the times,
    counted from 0, at which it asks for a checkpoint otherwise.
    """

    def __init__(self, *lengths, stop_at=None, save_on=()):
        self.lengths = itertools.cycle(lengths or (1000,))
        self.stop_at = stop_at
        self.save_on = save_on
        self.asked = itertools.count()
        self.rows = []
        self.saved = []
        self.log = []

    def chunk_steps(self):
        self.log.append("asked")
        return next(self.lengths)

    def evaluated(self, step, metrics):
        self.log.append(f"evaluated {step}")
        self.rows.append((step, metrics))

    def wants_checkpoint(self):
        return self.stop_at is not None or next(self.asked) in self.save_on

    def save(self, step, run):
        self.log.append(f"saved {step}")
        self.saved.append(fetch(run))
        if self.stop_at is not None and step >= self.stop_at:
            raise Stop

    @property
    def steps(self):
        return [step for step, _ in self.rows]


def fetch(tree):
    """The tree as NumPy arrays that share no memory with the device."""
    return jax.tree.map(lambda leaf: np.array(leaf, copy=True), tree)


def differing(one, other):
    """The paths of the leaves in which two trees are not the same bytes."""
    assert jax.tree.structure(one) == jax.tree.structure(other)
    pairs = zip(jax.tree_util.tree_leaves_with_path(one), jax.tree.leaves(other), strict=True)
    return [
        jax.tree_util.keystr(path)
        for (path, a), b in pairs
        if (np.asarray(a).dtype, np.asarray(a).tobytes()) != (np.asarray(b).dtype, np.asarray(b).tobytes())
    ]


def of_seeds(run, rows, places):
    """What belongs to the seeds at some places: their states, their records and their metrics."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[list(places)], (run.state, run.record, [m for _, m in rows]))


def one_device():
    return jax.make_mesh((1,), ("seed",), axis_types=(AxisType.Auto,), devices=jax.devices()[:1])


# A learner whose evaluations are written down


class Script(NamedTuple):
    """What a scripted learner finds at its evaluations, f32[seeds, steps + 1], and the step it cannot take, i32[seeds]."""

    validation: np.ndarray
    test: np.ndarray
    fault: np.ndarray


def scripted():
    """A learner whose weight is 1000 seed + step, solved where its test error is below 1, that counts its evaluations."""

    def init(seed, script):
        weight = 1000 * seed.astype(jnp.float32)
        return TrainState(seed, jnp.int32(0), {"w": weight}, jnp.int32(0), script.fault[seed], memory=jnp.int32(0))

    def step(state, script):
        del script
        loss = jnp.where(state.step >= state.draw, jnp.nan, 0.0)
        stepped = state._replace(step=state.step + 1, params={"w": state.params["w"] + 1}, opt_state=state.opt_state + 1)
        return stepped, {"loss": loss}

    def evaluate(state, script):
        test = script.test[state.seed, state.step]
        return {"validation": script.validation[state.seed, state.step], "test": test, "solved": test < 1}

    def observe(state, metrics):
        del metrics
        return state._replace(memory=state.memory + 1)

    return Learner(init, step, evaluate, observe)


def script(validation, test=None, fault=NEVER):
    """A script in which all else is NaN: scripts of one shape share a compilation."""
    written = Script(*(np.full((60, 1001), np.nan, np.float32) for _ in range(2)), np.full(60, NEVER, np.int32))
    seeds, evaluations = np.shape(validation)
    written.validation[:seeds, :evaluations] = validation
    written.test[:seeds, :evaluations] = validation if test is None else test
    written.fault[:seeds] = fault
    return written


@pytest.fixture(scope="module")
def play():
    """Runs the scripted learner: (script, host, ...) → run, as NumPy arrays."""
    programs = make_programs(scripted(), Layout(seed_mesh(), 1), best_by="validation")

    def run(script, host, *, num_seeds=2, **options):
        def chunk(run, task, num_steps, evaluate):
            host.log.append(f"{num_steps} steps")
            return programs.chunk(run, task, num_steps, evaluate)

        chunk.lower = programs.chunk.lower  # what is compiled ahead is no chunk of the run
        return fetch(run_seeds(programs._replace(chunk=chunk), np.arange(num_seeds), script, host=host, **options))

    return run


# A NAC that can be made to fail


class Faulty(NamedTuple):
    """A task, and the seed and step from which on a learner's loss, or its parameters, are not finite."""

    task: ArithmeticTask
    seed: np.ndarray
    step: np.ndarray
    in_params: np.ndarray
    numbers: dict


NUMBERS = {"learning_rate": np.float32(1e-2), "penalties": {}}


def with_fault(learner):
    """The learner, made to fail where its task says so."""

    def step(state, faulty):
        stepped, metrics = learner.step(state, Setup(faulty.task, faulty.numbers))
        fails = (state.seed == faulty.seed) & (state.step >= faulty.step)
        loss = jnp.where(fails & ~faulty.in_params, jnp.nan, metrics["loss"])
        params = jax.tree.map(lambda p: jnp.where(fails & faulty.in_params, jnp.inf, p), stepped.params)
        return stepped._replace(params=params), {"loss": loss}

    return learner._replace(
        init=lambda seed, faulty: learner.init(seed, Setup(faulty.task, faulty.numbers)),
        step=step,
        evaluate=lambda state, faulty: learner.evaluate(state, Setup(faulty.task, faulty.numbers)),
    )


def adam(learning_rate):
    """Adam under JAX's ordinary promotion: optax raises a float to the power of an integer count."""
    optimizer = optax.adam(learning_rate)

    def update(*arguments):
        with jax.numpy_dtype_promotion("standard"):
            return optimizer.update(*arguments)

    return optax.GradientTransformation(optimizer.init, update)


def arithmetic(operation, low, width):
    rng = np.random.RandomState(0)
    return ArithmeticTask(
        operation=np.int32(list(OPERATIONS).index(operation)),
        lows=np.float32([low]),
        width=np.float32(width),
        limit=np.float32(low + width),
        threshold=np.float32(100.0),
        interpolation=rng.uniform(low, low + width, (4, 16)).astype(np.float32),
        extrapolation=rng.uniform(2, 6, (4, 16)).astype(np.float32),
        subsets=Disjoint(1, 2),
        beyond_training=False,
    )


def healthy(task):
    return Faulty(task, np.uint32(0), np.int32(NEVER), np.bool_(False), NUMBERS)


def nac_programs(layout, make_optimizer=adam):
    learner = supervised(two_layer("nac", {}, hidden_size=2), make_optimizer, batch_size=8, watch="interpolation_mse")
    return make_programs(with_fault(learner), layout, best_by="interpolation_mse")


@pytest.fixture(scope="module")
def programs():
    """For four seeds on two devices, throughout this file: what compiles twice is a finding."""
    return nac_programs(Layout(seed_mesh(), 2))


NUM_STEPS, EVAL_EVERY = 45, 10
TASK = arithmetic("sub", 1.0, 1.0)
TASKS = {
    "healthy": healthy(TASK),
    "a loss is not finite": Faulty(TASK, np.uint32(1), np.int32(13), np.bool_(False), NUMBERS),
    "parameters are not finite": Faulty(TASK, np.uint32(1), np.int32(13), np.bool_(True), NUMBERS),
}
each_fault = pytest.mark.parametrize("fault", [name for name in TASKS if name != "healthy"])


def train(programs, host, *, fault="healthy", seeds=range(4), num_steps=NUM_STEPS, **options):
    """The finished run as NumPy arrays."""
    seeds = np.asarray(seeds, np.uint32)
    run = run_seeds(programs, seeds, TASKS[fault], num_steps=num_steps, eval_every=EVAL_EVERY, host=host, **options)
    return fetch(run)


@pytest.fixture(scope="module")
def uninterrupted(programs):
    """Run and metrics, in the longest chunks, by fault."""
    runs = {}
    for fault in TASKS:
        host = Recorder(1000)
        runs[fault] = train(programs, host, fault=fault), host.rows
    return runs


# Chunks


@pytest.mark.parametrize("fault", TASKS)
@pytest.mark.parametrize("lengths", [(1,), (7,), (3, 1, 20, 2)], ids=str)
def test_the_length_of_the_chunks_changes_no_bit_of_a_run_or_of_its_metrics(programs, uninterrupted, lengths, fault):
    host = Recorder(*lengths)
    run = train(programs, host, fault=fault)
    assert differing((run, host.rows), uninterrupted[fault]) == []


@pytest.mark.parametrize("fault", TASKS)
@pytest.mark.parametrize("stop_at", [1, 10, 13, 27, 45])
def test_a_run_resumed_from_what_it_saved_is_the_uninterrupted_one_bit_for_bit(programs, uninterrupted, stop_at, fault):
    before, after = Recorder(4, stop_at=stop_at), Recorder(9)
    with pytest.raises(Stop):
        train(programs, before, fault=fault)
    run = train(programs, after, fault=fault, resume_from=lambda template: before.saved[-1])
    assert differing((run, before.rows + after.rows), uninterrupted[fault]) == []


def test_a_finished_run_that_is_resumed_asks_nothing_of_its_host(programs, uninterrupted):
    run, _ = uninterrupted["healthy"]
    host = Recorder()
    assert differing(train(programs, host, resume_from=lambda template: run), run) == []
    assert host.log == []


def test_resuming_leaves_the_stored_arrays_as_they_were(programs):
    host = Recorder(stop_at=10)
    with pytest.raises(Stop):
        train(programs, host)
    stored, before = host.saved[-1], fetch(host.saved[-1])
    train(programs, Recorder(), resume_from=lambda template: stored)
    assert differing(stored, before) == []


def test_what_may_be_resumed_is_described_by_the_shapes_and_types_of_a_run(programs, uninterrupted):
    given = []
    train(programs, Recorder(), resume_from=lambda template: given.append(template))
    run, _ = uninterrupted["healthy"]
    described = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), given[0])
    assert described == jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), run)


def test_chunks_of_all_lengths_and_tasks_of_all_operations_share_one_compilation(programs, uninterrupted):
    # Row 0, chunks of 7, those that end at an evaluation, and the last; then a resumed run, and other tasks.
    train(programs, Recorder(7))
    train(programs, Recorder(1000), resume_from=lambda template: uninterrupted["healthy"][0]._replace(step=np.int32(31)))
    for task in (arithmetic("add", -2.0, 4.0), arithmetic("div", 0.5, 3.0)):
        run_seeds(programs, np.arange(4), healthy(task), num_steps=12, eval_every=5, host=Recorder(7))
    assert (programs.start._cache_size(), programs.chunk._cache_size()) == (1, 1)


def test_a_chunk_ends_where_an_evaluation_is_due_and_is_never_longer_than_the_host_asks(play):
    host = Recorder(7, stop_at=NEVER)
    play(script(np.ones((2, 26))), host, num_steps=25, eval_every=10)
    assert [int(run.step) for run in host.saved] == [7, 10, 17, 20, 25]


def test_the_host_is_asked_only_between_chunks_and_gets_metrics_while_the_next_chunk_runs(play):
    host = Recorder(5)
    play(script(np.ones((2, 11))), host, num_steps=10, eval_every=5)
    chunks = [["0 steps"], ["asked", "5 steps", "evaluated 0"], ["asked", "5 steps", "evaluated 5"], ["evaluated 10"]]
    assert host.log == list(itertools.chain(*chunks))


def test_a_checkpoint_is_saved_after_all_evaluations_up_to_its_step(play):
    host = Recorder(3, stop_at=NEVER)
    play(script(np.ones((2, 11))), host, num_steps=5, eval_every=5)
    chunks = [["0 steps"], ["asked", "3 steps", "evaluated 0", "saved 3"], ["asked", "2 steps", "evaluated 5", "saved 5"]]
    assert host.log == list(itertools.chain(*chunks))


def test_the_compiled_chunk_calls_nothing_on_the_host(chunk_texts):
    traced, compiled = chunk_texts
    assert not re.search("callback|infeed|outfeed", traced + compiled)


# Evaluations


@pytest.mark.parametrize(
    ("num_steps", "eval_every", "expected"),
    [(10, 5, [0, 5, 10]), (10, 4, [0, 4, 8, 10]), (3, 10, [0, 3]), (1, 1, [0, 1])],
)
@pytest.mark.parametrize("length", [1, 3, 1000])
def test_evaluations_are_made_at_every_multiple_of_eval_every_at_0_and_at_the_end(
    play, num_steps, eval_every, expected, length
):
    # A stretched script: the error at a step is the step.
    host = Recorder(length)
    play(script(np.tile(np.arange(11.0), (2, 1))), host, num_steps=num_steps, eval_every=eval_every)
    assert host.steps == expected
    assert [metrics["validation"].tolist() for _, metrics in host.rows] == [[step] * 2 for step in expected]


def test_the_first_row_is_that_of_the_untrained_net(programs, uninterrupted):
    _, rows = uninterrupted["healthy"]
    learner = supervised(two_layer("nac", {}, hidden_size=2), optax.sgd, batch_size=8, watch="interpolation_mse")
    setup = Setup(TASK, NUMBERS)
    untrained = jax.jit(jax.vmap(lambda seed: learner.evaluate(learner.init(seed, setup), setup)))(
        jnp.arange(4, dtype=jnp.uint32)
    )
    step, row = rows[0]
    assert step == 0
    for name, expected in untrained.items():  # another program than the chunk: close, not bitwise
        np.testing.assert_allclose(row[name], expected, rtol=1e-5)


def test_evaluations_do_not_touch_what_is_trained(programs, uninterrupted):
    often = run_seeds(programs, np.arange(4), TASKS["healthy"], num_steps=NUM_STEPS, eval_every=3, host=Recorder())
    assert differing(fetch(often).state, uninterrupted["healthy"][0].state) == []


def test_training_lowers_the_validation_error_of_every_seed(uninterrupted):
    rows = [metrics["interpolation_mse"] for _, metrics in uninterrupted["healthy"][1]]
    assert (rows[-1] < rows[0]).all()


# The record: what is best, and when it was solved

nan, inf = np.nan, np.inf


@pytest.mark.parametrize(
    ("validation", "best_step"),
    [
        ([9, 3, 2, 5], 2),
        ([9, 3, 2, 2], 2),
        ([1, 3, 2, 5], 2),
        ([9, nan, 2, nan], 2),
        ([9, nan, nan, nan], -1),
        ([9, inf, inf, inf], -1),
        ([1, inf, nan, 7], 3),
    ],
    ids=[
        "the smallest",
        "the first of two",
        "not the one before the first step",
        "NaN is never the best",
        "none if all are NaN",
        "none if all are infinite",
        "any other is better than these",
    ],
)
def test_the_best_evaluation_is_the_first_with_the_smallest_validation_error(play, validation, best_step):
    run = play(script([validation, validation]), Recorder(), num_steps=3, eval_every=1)
    assert run.record.best_step.tolist() == [best_step, best_step]
    assert run.record.best_params["w"].tolist() == [max(best_step, 0), 1000 + max(best_step, 0)]


@pytest.mark.parametrize(
    ("test", "solved_at"),
    [([9, 9, 0.5, 9, 0.5], 4), ([9, 9, 9, 9, 0.5], 4), ([9, 0.5, 9, 0.5, 9], -1), ([0.5, 9, 0.5, 9, 9], 0), ([nan] * 5, -1)],
    ids=["later", "at the end", "only between evaluations", "untrained", "NaN"],
)
def test_a_seed_is_solved_at_the_first_evaluated_step_at_which_it_is_solved(play, test, solved_at):
    # Evaluated at 0 and 4 alone.
    run = play(script(np.ones((2, 5)), [test, test]), Recorder(1), num_steps=4, eval_every=4)
    assert run.record.solved_at.tolist() == [solved_at, solved_at]


def test_success_is_whether_a_seed_is_solved_at_its_best_so_far(play):
    host = Recorder()
    play(script([[9, 5, 2, 3, 1]] * 2, [[0, 9, 0, 9, 9]] * 2), host, num_steps=4, eval_every=1)
    assert [metrics["success"][0].item() for _, metrics in host.rows] == [False, False, True, True, False]
    assert [metrics["solved"][0].item() for _, metrics in host.rows] == [True, False, True, False, False]


@pytest.fixture(scope="module")
def eventful(play):
    """A run of 60 seeds with ties, NaN, infinities and seeds that diverge, its metrics and its script."""
    rng = np.random.RandomState(1)
    draws = [rng.choice([0.25, 0.5, 0.75, 1.5, nan, inf], (60, 14), p=[0.05, 0.1, 0.2, 0.35, 0.2, 0.1]) for _ in range(2)]
    written = script(*draws, fault=np.where(np.arange(60) % 3 == 0, rng.randint(0, 13, 60), NEVER))
    host = Recorder(3)
    return play(written, host, num_steps=13, eval_every=2, num_seeds=60), host.rows, written


def test_the_record_is_what_the_host_finds_in_the_metrics(eventful):
    run, rows, _ = eventful
    for i in range(60):
        best_step, best, solved_at = -1, inf, -1
        for step, metrics in rows:
            if step > 0 and metrics["validation"][i] < best:
                best_step, best = step, metrics["validation"][i]
            if metrics["solved"][i] and solved_at < 0:
                solved_at = step
        assert (run.record.best_step[i], run.record.solved_at[i]) == (best_step, solved_at)
        assert (run.record.best["validation"][i], run.record.best_params["w"][i]) == (best, 1000 * i + max(best_step, 0))


def test_the_metrics_are_those_of_the_script_until_a_seed_diverges_and_nan_from_then_on(eventful):
    _, rows, written = eventful
    for step, metrics in rows:
        gone = written.fault < step
        np.testing.assert_array_equal(metrics["diverged"], gone)
        np.testing.assert_array_equal(metrics["validation"], np.where(gone, nan, written.validation[:, step]))
        np.testing.assert_array_equal(metrics["test"], np.where(gone, nan, written.test[:, step]))
        np.testing.assert_array_equal(metrics["solved"], ~gone & (written.test[:, step] < 1))


def test_all_metrics_of_the_best_evaluation_are_kept(eventful):
    run, _, written = eventful
    at = run.record.best_step
    kept = at >= 0
    assert 30 < kept.sum() < 60
    np.testing.assert_array_equal(run.record.best["test"][kept], written.test[np.arange(60), at][kept])
    np.testing.assert_array_equal(run.record.best["solved"][kept], (written.test[np.arange(60), at] < 1)[kept])
    assert not run.record.best["solved"][~kept].any()


def test_a_seed_that_diverged_is_no_success_but_keeps_its_best(eventful):
    run, rows, written = eventful
    gone = written.fault < 13
    assert not rows[-1][1]["success"][gone].any()
    assert (gone & run.record.best["solved"]).any()
    np.testing.assert_array_equal(rows[-1][1]["success"], ~gone & run.record.best["solved"])


def test_a_learner_takes_note_of_every_evaluation_of_a_healthy_seed_and_of_nothing_else(play):
    # Evaluated at 0, 5, 10, 15 and 20; the second seed diverges after the one at 5, the third before that at 5.
    written = script(np.ones((4, 21)), fault=[NEVER, 7, 3, NEVER])
    for length in (1, 3, 1000):
        run = play(written, Recorder(length), num_steps=20, eval_every=5, num_seeds=4)
        assert run.state.memory.tolist() == [5, 2, 1, 5]


def test_what_a_learner_notes_is_in_what_is_saved(play):
    host = Recorder(4, stop_at=NEVER)
    play(script(np.ones((2, 13))), host, num_steps=12, eval_every=6)
    assert [(int(run.step), run.state.memory.tolist()) for run in host.saved] == [
        (4, [1, 1]), (6, [2, 2]), (10, [2, 2]), (12, [3, 3]),
    ]  # fmt: skip


# Divergence


@each_fault
def test_a_diverged_seed_stays_for_ever_in_the_state_before_its_fault(programs, uninterrupted, fault):
    run, _ = uninterrupted[fault]
    until = train(programs, Recorder(), num_steps=13)
    assert run.state.step.tolist() == [45, 13, 45, 45]
    found, expected = (of_seeds(r, [], [1])[0] for r in (run, until))
    # What it remembers is of its last evaluation, which was at 10; that run was evaluated at its end as well.
    remembered = of_seeds(train(programs, Recorder(), num_steps=10), [], [1])[0].memory
    assert differing(found, expected._replace(memory=remembered)) == []


@each_fault
def test_a_diverged_seed_is_flagged_and_its_metrics_are_nan_from_the_next_evaluation_on(uninterrupted, fault):
    _, rows = uninterrupted[fault]
    assert [metrics["diverged"].tolist() for _, metrics in rows] == [[False] * 4] * 2 + [[False, True, False, False]] * 4
    for step, metrics in rows:
        for name in ("interpolation_mse", "extrapolation_mse", "sparsity_error"):
            assert np.isnan(metrics[name]).tolist() == [False, step > 13, False, False]
        assert not (step > 13 and (metrics["solved"][1] or metrics["success"][1]))


@each_fault
def test_the_record_of_a_diverged_seed_is_that_of_its_evaluations_before(programs, uninterrupted, fault):
    until = train(programs, Recorder(), num_steps=10)
    assert differing(of_seeds(uninterrupted[fault][0], [], [1])[1], of_seeds(until, [], [1])[1]) == []


@each_fault
def test_the_neighbours_of_a_diverged_seed_are_bit_for_bit_what_they_are_without_it(uninterrupted, fault):
    neighbours = [0, 2, 3]
    assert differing(of_seeds(*uninterrupted[fault], neighbours), of_seeds(*uninterrupted["healthy"], neighbours)) == []


@pytest.mark.parametrize("length", [1, 4, 1000])
def test_a_run_ends_at_the_evaluation_that_finds_all_seeds_diverged(play, length):
    host = Recorder(length)
    run = play(script(np.ones((2, 1001)), fault=[3, 7]), host, num_steps=1000, eval_every=5)
    assert host.steps == [0, 5, 10]
    # Nothing can change any more: it counts as run to its end.
    assert run.step == 1000
    assert run.state.step.tolist() == [3, 7]


def test_a_seed_that_only_fills_up_the_devices_does_not_keep_a_run_going(play):
    host = Recorder()
    play(script(np.ones((4, 1001)), fault=[3, 3, 3, NEVER]), host, num_steps=1000, eval_every=5, num_seeds=3)
    assert host.steps == [0, 5]


def test_a_run_goes_on_for_its_last_seed(play):
    host = Recorder()
    run = play(script(np.ones((2, 21)), fault=[3, NEVER]), host, num_steps=20, eval_every=5)
    assert host.steps == [0, 5, 10, 15, 20]
    assert run.state.step.tolist() == [3, 20]


def test_a_run_that_lost_all_seeds_is_the_same_whatever_the_length_of_its_chunks(play):
    runs = [play(script(np.ones((2, 101)), fault=[3, 3]), Recorder(n), num_steps=100, eval_every=5) for n in (1, 1000)]
    assert differing(*runs) == []


def test_a_run_that_lost_all_seeds_has_the_same_rows_whenever_it_is_saved(play):
    host = Recorder(save_on=[1])
    play(script(np.ones((2, 101)), fault=[3, 3]), host, num_steps=100, eval_every=5)
    assert host.steps == [0, 5]


def test_a_run_that_lost_all_seeds_has_the_same_rows_when_it_is_resumed_before_its_last_evaluation(play):
    before, after = Recorder(2, stop_at=4), Recorder(2)
    options = {"num_steps": 100, "eval_every": 5}
    with pytest.raises(Stop):
        play(script(np.ones((2, 101)), fault=[3, 3]), before, **options)
    play(script(np.ones((2, 101)), fault=[3, 3]), after, resume_from=lambda template: before.saved[-1], **options)
    assert before.steps + after.steps == [0, 5]


def test_a_run_that_lost_all_seeds_but_a_filler_is_not_continued_when_resumed(play):
    written = script(np.ones((4, 101)), fault=[3, 3, 3, NEVER])
    before, after = Recorder(stop_at=5), Recorder()
    options = {"num_steps": 100, "eval_every": 5, "num_seeds": 3}
    with pytest.raises(Stop):
        play(written, before, **options)
    play(written, after, resume_from=lambda template: before.saved[-1], **options)
    assert before.steps + after.steps == [0, 5]


# Seeds on devices


@pytest.fixture(scope="module")
def on_one_device():
    """Run and metrics of seeds 0 to 2 on one device, where they need no filler."""
    host = Recorder()
    return train(nac_programs(Layout(one_device(), 3)), host, seeds=range(3)), host.rows


EIGHT = [2, 9, 0, 11, 5, 3, 7, 1]


@pytest.fixture(scope="module")
def eight():
    """For eight seeds on one device."""
    return nac_programs(Layout(one_device(), 8))


def test_the_results_of_a_seed_do_not_depend_on_the_number_and_order_of_the_seeds_beside_it(on_one_device, eight):
    # Bitwise for this NAC, which XLA vectorises over the batch; a NALU or a single seed comes out no more than close.
    host = Recorder()
    run = train(eight, host, seeds=EIGHT)
    among_eight = of_seeds(run, host.rows, [EIGHT.index(seed) for seed in range(3)])
    assert differing(among_eight, of_seeds(*on_one_device, range(3))) == []


def assert_close(one, other):
    """Close across layouts: XLA may sum in another order, and Adam's first steps make more of a last digit than it is."""
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), one, other)


def test_seeds_on_two_devices_are_close_to_seeds_on_one(uninterrupted, on_one_device):
    assert_close(of_seeds(*uninterrupted["healthy"], range(3)), of_seeds(*on_one_device, range(3)))


def test_three_seeds_on_two_devices_are_the_three_seeds_without_filler_to_rounding(programs, on_one_device):
    host = Recorder()
    run = train(programs, host, seeds=range(3))
    assert run.state.seed.tolist() == [0, 1, 2]
    assert_close(of_seeds(run, host.rows, range(3)), of_seeds(*on_one_device, range(3)))


def test_the_host_is_told_of_the_seeds_that_were_asked_for_and_of_no_filler(programs):
    host = Recorder()
    train(programs, host, seeds=range(3))
    for _, metrics in host.rows:
        assert {(type(values), values.shape) for values in metrics.values()} == {(np.ndarray, (3,))}


@pytest.fixture(scope="module")
def start(programs):
    """A fresh run of seeds 0 to 3, and the task, on the devices."""
    task = place(TASKS["healthy"], replicated(programs.layout.mesh))
    seeds = place(np.arange(4, dtype=np.uint32), by_seed(programs.layout.mesh))
    return lambda: (programs.start(seeds, task), task)


@pytest.fixture(scope="module")
def chunk_texts(programs, start):
    """The chunk as JAX traces it and as XLA compiles it."""
    traced = programs.chunk.trace(*start(), 1, True)
    return str(traced.jaxpr), traced.lower().compile().as_text()


COLLECTIVE = re.compile(r"\b(all-reduce|all-gather|all-to-all|reduce-scatter|collective-\w+)\b")


def test_the_compiled_chunk_has_no_collective(chunk_texts):
    assert set(COLLECTIVE.findall(chunk_texts[1])) == set()


def test_a_collective_would_be_found():
    mesh = seed_mesh()
    total = jax.jit(jnp.sum, in_shardings=by_seed(mesh), out_shardings=replicated(mesh))
    assert COLLECTIVE.findall(total.lower(jnp.ones(4)).compile().as_text())


def test_a_run_lies_on_the_devices_by_seed(programs, start):
    run, task = start()
    for leaf in jax.tree.leaves((run.state, run.record)):
        assert {shard.data.shape for shard in leaf.addressable_shards} == {(2, *leaf.shape[1:])}
    run, metrics = programs.chunk(run, task, 1, True)
    for leaf in jax.tree.leaves((run.state, run.record, metrics)):
        assert {shard.data.shape for shard in leaf.addressable_shards} == {(2, *leaf.shape[1:])}


def test_a_chunk_takes_over_the_memory_of_the_run_it_is_given(programs, start):
    run, task = start()
    programs.chunk(run, task, 1, True)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((run.state, run.record)))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(task))


def test_a_finished_run_is_nothing_but_arrays_with_the_seed_as_their_first_axis(programs):
    run = run_seeds(programs, np.arange(4), TASKS["healthy"], num_steps=3, eval_every=3, host=Recorder())
    assert isinstance(run, Run)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(run))
    assert run.step.shape == ()
    assert {leaf.shape[0] for leaf in jax.tree.leaves((run.state, run.record))} == {4}


def test_seeds_draw_other_tasks_and_other_parameters(eight):
    state = train(eight, Recorder(), seeds=EIGHT, num_steps=0).state
    assert len({draw.tobytes() for draw in state.draw}) > 3  # there are few ways to place two slices of four inputs
    for leaf in jax.tree.leaves(state.params):
        assert len({values.tobytes() for values in leaf}) == 8


# Blocks of seeds on a device


def mesh_of(devices):
    return one_device() if devices == 1 else seed_mesh()


@pytest.mark.parametrize(
    ("count", "devices", "block", "expected"),
    [(4, 2, 2, 4), (3, 2, 2, 4), (5, 2, 2, 8), (4, 2, 1, 4), (5, 2, 1, 6), (1, 1, 1, 1), (7, 1, 3, 9), (1, 2, 3, 6)],
)
def test_further_seeds_fill_up_the_blocks_of_all_devices(count, devices, block, expected):
    padded = pad_seeds(np.arange(5, 5 + count, dtype=np.uint32), Layout(mesh_of(devices), block))
    assert (padded.tolist(), padded.dtype) == (list(range(5, 5 + expected)), np.uint32)


@pytest.mark.parametrize("devices", [1, 2])
def test_there_are_no_more_blocks_than_it_takes_and_they_are_as_even_as_can_be(devices):
    for count, most in itertools.product(range(1, 41), range(1, 23)):
        block = layout_for(mesh_of(devices), num_seeds=count, bytes_a_seed=1, block=most).block
        share = math.ceil(count / devices)
        blocks = math.ceil(share / most)
        assert 1 <= block <= most and share <= blocks * block < share + blocks


@pytest.mark.parametrize(
    ("bytes_a_seed", "block", "expected"),
    [
        (CACHE // 5, 0, 5),
        (CACHE // 4, 0, 4),  # three blocks of 10 seeds
        (CACHE // 3, 0, 3),
        (CACHE // 10, 0, 10),
        (CACHE // 20, 0, 10),  # no more than there are
        (CACHE, 0, 2),  # never one alone
        (3 * CACHE, 0, 2),
        (3 * CACHE, 5, 5),  # who asks for a number gets it
        (CACHE // 10, 1, 1),
        (CACHE // 10, 1000, 10),
    ],
)
def test_on_a_cpu_the_batches_of_a_block_fit_into_the_cache_unless_its_size_is_given(bytes_a_seed, block, expected):
    mesh = one_device()
    layout = layout_for(mesh, num_seeds=10, bytes_a_seed=bytes_a_seed, block=block)
    assert layout == (mesh, expected)


@pytest.mark.parametrize(("block", "expected"), [(0, 10), (4, 4)])
def test_other_devices_train_all_their_seeds_at_a_time_unless_told_otherwise(block, expected):
    mesh = SimpleNamespace(size=2, devices=np.array([SimpleNamespace(platform="gpu")] * 2))
    assert layout_for(mesh, num_seeds=20, bytes_a_seed=3 * CACHE, block=block).block == expected


def test_a_negative_block_is_refused():
    with pytest.raises(ValueError, match="block must be 0 or a positive whole number, got -1"):
        layout_for(one_device(), num_seeds=10, bytes_a_seed=1, block=-1)


@functools.cache
def descending(devices, block):
    """The NAC by plain gradient descent: no step of it makes more of a last digit than it is."""
    return nac_programs(Layout(mesh_of(devices), block), optax.sgd)


@functools.cache
def in_blocks(block, fault="healthy"):
    """States, records and metrics of ten seeds on one device."""
    host = Recorder()
    run = train(descending(1, block), host, fault=fault, seeds=range(10))
    return of_seeds(run, host.rows, range(10))


@pytest.mark.parametrize("block", [2, 3, 5])
def test_seeds_in_blocks_are_bit_for_bit_those_of_one_block_of_all(block):
    # Bitwise for this NAC and blocks of two seeds or more, whether they are filled up, as those of 3, or not.
    assert differing(in_blocks(block), in_blocks(10)) == []


def assert_equal_but_for_rounding(one, other):
    """45 steps of plain descent, each of which may round differently."""
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), one, other)


def test_seeds_one_at_a_time_are_those_of_one_block_of_all_to_rounding():
    # XLA drops an axis of length 1 and sums in another order.
    assert_equal_but_for_rounding(in_blocks(1), in_blocks(10))


@each_fault
@pytest.mark.parametrize("block", [1, 2, 5])
def test_seeds_of_a_block_in_which_one_diverges_are_bit_for_bit_what_they_are_without_it(block, fault):
    neighbours = [0, *range(2, 10)]
    with_fault, without = (
        jax.tree.map(lambda leaf: leaf[neighbours], in_blocks(block, which)) for which in (fault, "healthy")
    )
    assert differing(with_fault, without) == []
    assert in_blocks(block, fault)[0].step.tolist() == [45, 13, *[45] * 8]


LAYOUTS = [(1, 1), (1, 2), (1, 5), (2, 2)]


@functools.cache
def five_seeds(devices, block):
    """The uninterrupted run of seeds 0 to 4, its metrics, and what it saved at 27."""
    whole, before = Recorder(), Recorder(9, stop_at=27)
    run = train(descending(devices, block), whole, seeds=range(5))
    with pytest.raises(Stop):
        train(descending(devices, block), before, seeds=range(5))
    return run, whole.rows, before


def resumed(saved_on, goes_on_on):
    """Run and metrics of five seeds whose run is saved on one layout and goes on on another."""
    before, after = five_seeds(*saved_on)[2], Recorder(7)
    run = train(descending(*goes_on_on), after, seeds=range(5), resume_from=lambda template: before.saved[-1])
    return run, before.rows + after.rows


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_what_is_saved_and_what_is_returned_are_the_seeds_that_were_asked_for(layout):
    run, _, before = five_seeds(*layout)
    for stored in (run, *before.saved):
        assert {leaf.shape[0] for leaf in jax.tree.leaves((stored.state, stored.record))} == {5}
        assert stored.state.seed.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_a_run_that_goes_on_with_other_fillers_on_the_same_layout_is_the_uninterrupted_one_bit_for_bit(layout):
    assert differing(resumed(layout, layout), five_seeds(*layout)[:2]) == []


@pytest.mark.parametrize(("saved_on", "goes_on_on"), list(itertools.permutations(LAYOUTS, 2)), ids=str)
def test_a_run_goes_on_on_another_layout_to_rounding(saved_on, goes_on_on):
    run, rows = resumed(saved_on, goes_on_on)
    expected_run, expected_rows, _ = five_seeds(*saved_on)
    assert [step for step, _ in rows] == [step for step, _ in expected_rows] == [0, 10, 20, 30, 40, 45]
    assert_equal_but_for_rounding((run, rows), (expected_run, expected_rows))


# Cases: several setups in one program


def nau_programs(cases=None, layout=None):
    """For a NAU, which has a penalty and lives in an interval."""
    learner = supervised(two_layer("nau", {}, hidden_size=2), adam, batch_size=8, watch="interpolation_mse")
    return make_programs(with_fault(learner), layout or Layout(seed_mesh(), 2), best_by="interpolation_mse", cases=cases)


def case(low=1.0, width=1.0, rate=1e-2, weight=0.0, fault_at=NEVER):
    """A setup of its own numbers; seed 1 diverges at ``fault_at``."""
    penalty = {"weight": np.float32(weight), "growth": np.float32(1), "below": np.float32(0)}
    penalty |= {name: np.int32(value) for name, value in {"start": 0, "end": 20, "every": 1, "times": 0}.items()}
    numbers = {"learning_rate": np.float32(rate), "penalties": {"sparsity": penalty}}
    return Faulty(arithmetic("sub", low, width), np.uint32(1), np.int32(fault_at), np.bool_(False), numbers)


def train_cases(setups, host, programs=None, seeds=range(4), **options):
    """The finished run of some setups in one program."""
    together, cases = stack(setups)
    programs = programs or nau_programs(cases)
    seeds, numbers = np.asarray(seeds, np.uint32), {"num_steps": NUM_STEPS, "eval_every": EVAL_EVERY}
    return fetch(run_seeds(programs, seeds, together, host=host, **numbers | options))


def of_case(run, rows, i):
    """One case's states, records and metrics, leaves [seeds, ...]."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:, i], (run.state, run.record, [m for _, m in rows]))


CASES = {
    "learning rate": case(rate=3e-2),
    "penalty": case(weight=0.3),
    "range": case(low=-2.0, width=4.0),
}


@pytest.fixture(scope="module")
def alone():
    """Run and metrics of each of the cases, and of the usual one, as a setup by itself."""
    programs, runs = nau_programs(), {}
    for name, setup in (CASES | {"usual": case()}).items():
        host = Recorder()
        run = run_seeds(programs, np.arange(4), setup, num_steps=NUM_STEPS, eval_every=EVAL_EVERY, host=host)
        runs[name] = of_seeds(run, host.rows, range(4))
    return runs


@pytest.fixture(scope="module")
def together():
    """Run and metrics of the usual setup and of the cases in one program, of seeds 0 to 2, which a filler makes even."""
    host = Recorder(7)
    return train_cases([case(), *CASES.values()], host, seeds=range(3)), host.rows


@pytest.mark.parametrize(("i", "name"), list(enumerate(("usual", *CASES))))
def test_setups_in_one_program_give_seed_by_seed_what_each_gives_alone(alone, together, i, name):
    found = jax.tree.map(lambda leaf: leaf[:3], of_case(*together, i))
    assert_close(found, jax.tree.map(lambda leaf: leaf[:3], alone[name]))
    # The tolerance means something: what the cases differ in is seen in the weights of every layer.
    if name != "usual":
        weights = [jax.tree.leaves(state.params) for state in (found[0], alone["usual"][0])]
        assert all(np.abs(a - b[:3]).max() > 1e-3 for a, b in zip(*weights, strict=True))


def test_the_host_gets_the_metrics_of_all_cases_of_the_seeds_that_were_asked_for(together):
    run, rows = together
    assert {values.shape for _, metrics in rows for values in metrics.values()} == {(3, 4)}
    assert {leaf.shape[:2] for leaf in jax.tree.leaves((run.state, run.record))} == {(3, 4)}


@functools.cache
def cases_in_blocks(block):
    """Run and metrics of seeds 0 and 1 in three cases, on one device, and what was saved at 27."""
    programs = nau_programs(stack(list(CASES.values()))[1], Layout(one_device(), block))
    whole, before = Recorder(), Recorder(9, stop_at=27)
    run = train_cases(list(CASES.values()), whole, programs, seeds=range(2))
    with pytest.raises(Stop):
        train_cases(list(CASES.values()), before, programs, seeds=range(2))
    return programs, run, whole.rows, before


@pytest.mark.parametrize(("i", "name"), list(enumerate(CASES)))
@pytest.mark.parametrize("block", [1, 2])
def test_cases_in_blocks_of_seeds_give_what_each_gives_alone(alone, block, i, name):
    _, run, rows, _ = cases_in_blocks(block)
    assert_close(of_case(run, rows, i), jax.tree.map(lambda leaf: leaf[:2], alone[name]))


def test_a_run_of_cases_goes_on_in_blocks_of_another_size():
    *_, before = cases_in_blocks(1)
    programs, run, rows, _ = cases_in_blocks(2)
    after = Recorder()
    options = {"seeds": range(2), "resume_from": lambda template: before.saved[-1]}
    resumed = train_cases(list(CASES.values()), after, programs, **options)
    assert {leaf.shape[:2] for leaf in jax.tree.leaves((before.saved[-1].state, before.saved[-1].record))} == {(2, 3)}
    assert_close((resumed, before.rows + after.rows), (run, rows))


@pytest.fixture(scope="module")
def pair():
    """Programs of two cases that differ in their learning rate and in when a seed diverges."""
    return nau_programs(stack([case(), case(rate=3e-2, fault_at=NEVER - 1)])[1])


def test_the_seeds_of_all_cases_draw_the_same_task_and_start_from_the_same_parameters(pair):
    state = train_cases([case(), case(rate=3e-2, fault_at=13)], Recorder(), pair, num_steps=0).state
    for leaf in jax.tree.leaves((state.params, state.draw, state.seed)):
        np.testing.assert_array_equal(leaf[:, 0], leaf[:, 1])


def test_a_seed_that_diverges_in_one_case_leaves_all_others_and_itself_in_the_other_case_bit_for_bit(pair):
    # Bitwise: one program, one layout. A fault that never comes is told apart by its step, so that both runs stack it.
    runs = []
    for fault_at in (NEVER - 1, 13):
        host = Recorder(6)
        run = train_cases([case(), case(rate=3e-2, fault_at=fault_at)], host, pair)
        runs.append((run, host.rows))
    (healthy, healthy_rows), (faulty, faulty_rows) = runs
    assert differing(of_case(healthy, healthy_rows, 0), of_case(faulty, faulty_rows, 0)) == []
    neighbours = [jax.tree.map(lambda leaf: leaf[[0, 2, 3]], of_case(*run, 1)) for run in runs]
    assert differing(*neighbours) == []
    assert faulty.state.step.tolist() == [[45, 45], [45, 13], [45, 45], [45, 45]]
    assert faulty_rows[2][1]["diverged"].tolist() == [[False, False], [False, True], [False, False], [False, False]]
    assert np.isnan(faulty_rows[2][1]["interpolation_mse"]).sum() == 1


def test_a_run_of_cases_that_is_resumed_is_the_uninterrupted_one_bit_for_bit(pair):
    setups = [case(), case(rate=3e-2, fault_at=13)]
    whole, before, after = Recorder(1000), Recorder(4, stop_at=27), Recorder(9)
    uninterrupted = train_cases(setups, whole, pair)
    with pytest.raises(Stop):
        train_cases(setups, before, pair)
    resumed = train_cases(setups, after, pair, resume_from=lambda template: before.saved[-1])
    assert differing((resumed, before.rows + after.rows), (uninterrupted, whole.rows)) == []


def test_a_run_of_cases_goes_on_until_all_seeds_of_all_cases_have_diverged(pair):
    # The one seed that is trained is the one that diverges, first in one case and then in the other.
    host = Recorder()
    options = {"seeds": [1, 1, 1, 1], "num_steps": 1000, "eval_every": 10}
    run = train_cases([case(fault_at=3), case(rate=3e-2, fault_at=27)], host, pair, **options)
    assert host.steps == [0, 10, 20, 30]
    assert run.state.step.tolist() == [[3, 27]] * 4 and run.step == 1000


def test_programs_of_cases_serve_all_numbers_without_compiling_again(pair):
    train_cases([case(), case(rate=3e-2, fault_at=9)], Recorder(7), pair)
    train_cases([case(low=2.0, rate=1e-1, weight=1.0, fault_at=5), case(low=2.0, rate=1e-4, weight=1.0)], Recorder(2), pair)
    assert (pair.start._cache_size(), pair.chunk._cache_size()) == (1, 1)


def test_leaves_that_agree_are_not_stacked():
    setups = [case(), CASES["learning rate"], case(rate=1.0)]
    together, cases = stack(setups)
    assert cases.count == 3
    named = jax.tree_util.tree_leaves_with_path(together)
    stacked = {
        jax.tree_util.keystr(path): leaf for (path, leaf), axis in zip(named, axes_of(cases), strict=True) if axis == 0
    }
    assert list(stacked) == [".numbers['learning_rate']"]
    np.testing.assert_array_equal(*stacked.values(), np.float32([1e-2, 3e-2, 1.0]))
    shared = [leaf for (_, leaf), axis in zip(named, axes_of(cases), strict=True) if axis is None]
    assert len(shared) == len(named) - 1
    originals = {id(leaf) for leaf in jax.tree.leaves(setups[0])}
    assert all(id(leaf) in originals for leaf in shared)


def test_leaves_that_differ_in_one_number_of_one_case_are_stacked_as_they_are():
    together, cases = stack([case(), case(), case(low=-2.0, width=4.0)])
    axes = dict(zip([jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(together)],
                    axes_of(cases), strict=True))  # fmt: skip
    differ = {path.removeprefix(".task.") for path, axis in axes.items() if axis == 0}
    # Of the arithmetic task: its range, whose upper end is 2 in all cases, and the fixed inputs that were drawn from it.
    assert differ == {"lows", "width", "interpolation"}
    np.testing.assert_array_equal(together.task.lows, [[1.0], [1.0], [-2.0]])
    np.testing.assert_array_equal(together.task.interpolation[1], case().task.interpolation)


def axes_of(cases):
    """The axes of all leaves, None where they are shared."""
    return jax.tree.leaves(cases.axes, is_leaf=lambda axis: axis is None)


def test_one_setup_is_a_case_too(alone):
    host = Recorder()
    run = train_cases([case()], host)
    assert_close(of_case(run, host.rows, 0), alone["usual"])


def test_setups_of_other_shapes_or_other_penalties_cannot_be_cases_of_one_program():
    with pytest.raises(ValueError):
        stack([case(), case()._replace(numbers=NUMBERS)])
