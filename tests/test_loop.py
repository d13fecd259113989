"""The loop on two learners: a scripted one, whose evaluations are written down beforehand, and a small NAC.

"Bitwise" is promised within one layout of seeds on devices, "close" across layouts; each test says which it means.
"""

import functools
import itertools
import math
import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loops import (
    FAULTY,
    NEVER,
    Recorder,
    Stop,
    differing,
    fetch,
    mesh_of,
    of_seeds,
    one_device,
    script,
    scripted,
    variant,
)

from nalu_jax.training.distributed import CACHE, Layout, by_seed, layout_for, pad_seeds, place, replicated, seed_mesh
from nalu_jax.training.loop import Programs, Run, make_chunk, make_programs, make_start, run_seeds, stack
from nalu_jax.types import Hyperparameters


@pytest.fixture(scope="module")
def play():
    """Runs the scripted learner: (script, host, ...) → run, as NumPy arrays."""
    programs = make_programs(scripted(), Layout(seed_mesh(), 1))

    def run(script, host, *, num_seeds=2, **options):
        def chunk(run, script, num_steps, evaluate):
            host.log.append(f"{num_steps} steps")
            return programs.chunk(run, script, num_steps, evaluate)

        chunk.lower = programs.chunk.lower  # what is compiled ahead is no chunk of the run
        return fetch(run_seeds(programs._replace(chunk=chunk), np.arange(num_seeds), script, host=host, **options))

    return run


@functools.cache
def starting(devices):
    """What starts runs, whatever the blocks of their seeds."""
    return make_start(FAULTY, mesh_of(devices))


@functools.cache
def programs_for(devices, block):
    """The programs of the NAC, throughout this file: what compiles twice is a finding."""
    layout = Layout(mesh_of(devices), block)
    return Programs(starting(devices), make_chunk(FAULTY, layout), layout)


@pytest.fixture(scope="module")
def programs():
    """For seeds on two devices, each with blocks of two."""
    return programs_for(2, 2)


# Seven seeds are one short of filling up blocks of two and of four.
EIGHT, SEVEN = range(8), range(7)
NUM_STEPS, EVAL_EVERY = 45, 10
PROBLEMS = {
    "healthy": variant(),
    "a loss is not finite": variant(fault_at=13),
    "parameters are not finite": variant(fault_at=13, in_params=True),
}
each_fault = pytest.mark.parametrize("fault", [name for name in PROBLEMS if name != "healthy"])


def train(programs, host, *, fault="healthy", problem=None, seeds=EIGHT, **options):
    """The finished run as NumPy arrays."""
    options = {"num_steps": NUM_STEPS, "eval_every": EVAL_EVERY} | options
    return fetch(run_seeds(programs, np.asarray(seeds, np.uint32), problem or PROBLEMS[fault], host=host, **options))


@pytest.fixture(scope="module")
def uninterrupted(programs):
    """Run and metrics, in the longest chunks, by fault."""
    runs = {}
    for fault in PROBLEMS:
        host = Recorder(1000)
        runs[fault] = train(programs, host, fault=fault), host.rows
    return runs


# Chunks


@pytest.mark.parametrize("fault", PROBLEMS)
@pytest.mark.parametrize(
    "lengths", [(7,), *(pytest.param(more, marks=pytest.mark.slow) for more in ((1,), (3, 1, 20, 2)))], ids=str
)
def test_the_length_of_the_chunks_changes_no_bit_of_a_run_or_of_its_metrics(programs, uninterrupted, lengths, fault):
    host = Recorder(*lengths)
    run = train(programs, host, fault=fault)
    assert differing((run, host.rows), uninterrupted[fault]) == []


@pytest.mark.parametrize("fault", PROBLEMS)
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
    for problem in (variant("add", -2.0, 4.0), variant("div", 0.5, 3.0)):
        train(programs, Recorder(7), problem=problem, num_steps=12, eval_every=5)
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


def test_the_first_row_is_that_of_the_untrained_net(start, uninterrupted):
    run, problem = start()
    untrained = jax.jit(jax.vmap(FAULTY.evaluate, (0, None)))(run.state, problem)
    step, row = uninterrupted["healthy"][1][0]
    assert step == 0
    for name, expected in (untrained.metrics | {"solved": untrained.solved}).items():
        np.testing.assert_allclose(row[name], expected, rtol=1e-5)  # another program than the chunk: close, not bitwise


def test_evaluations_do_not_touch_what_is_trained(programs, uninterrupted):
    often = train(programs, Recorder(), eval_every=3)
    assert differing(often.state, uninterrupted["healthy"][0].state) == []


def test_training_lowers_the_validation_error_of_every_seed(programs):
    host = Recorder(1000)
    train(programs, host, problem=variant(rate=5e-4))  # steps so small that none overshoots
    first, *_, last = [metrics["interpolation_mse"] for _, metrics in host.rows]
    assert (last < first).all()


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


def test_the_score_decides_which_evaluation_is_the_best_whatever_its_metrics_say(play):
    written = script([[1, 2, 3, 4]] * 2, score=[[0, 7, 6, 8], [0, 7, nan, 5]])
    run = play(written, Recorder(), num_steps=3, eval_every=1)
    assert run.record.best_step.tolist() == [2, 3]
    assert run.record.best.score.tolist() == [6, 5]
    assert run.record.best.metrics["validation"].tolist() == [3, 4]


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
        assert (run.record.best.metrics["validation"][i], run.record.best.score[i]) == (best, best)
        assert run.record.best_params["w"][i] == 1000 * i + max(best_step, 0)


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
    np.testing.assert_array_equal(run.record.best.metrics["test"][kept], written.test[np.arange(60), at][kept])
    np.testing.assert_array_equal(run.record.best.solved[kept], (written.test[np.arange(60), at] < 1)[kept])
    assert not run.record.best.solved[~kept].any()


def test_a_seed_that_diverged_is_no_success_but_keeps_its_best(eventful):
    run, rows, written = eventful
    gone = written.fault < 13
    assert not rows[-1][1]["success"][gone].any()
    assert (gone & run.record.best.solved).any()
    np.testing.assert_array_equal(rows[-1][1]["success"], ~gone & run.record.best.solved)


def test_a_learner_takes_note_of_every_evaluation_of_a_healthy_seed_and_of_nothing_else(play):
    # Evaluated at 0, 5, 10, 15 and 20; the second seed diverges after the one at 5, the third before that at 5.
    written = script(np.ones((4, 21)), fault=[NEVER, 7, 3, NEVER])
    for length in (1, 3, 1000):
        run = play(written, Recorder(length), num_steps=20, eval_every=5, num_seeds=4)
        assert run.state.learner_state.tolist() == [5, 2, 1, 5]


def test_what_a_learner_notes_is_in_what_is_saved(play):
    host = Recorder(4, stop_at=NEVER)
    play(script(np.ones((2, 13))), host, num_steps=12, eval_every=6)
    assert [(int(run.step), run.state.learner_state.tolist()) for run in host.saved] == [
        (4, [1, 1]), (6, [2, 2]), (10, [2, 2]), (12, [3, 3]),
    ]  # fmt: skip


# Divergence


@each_fault
def test_a_diverged_seed_stays_for_ever_in_the_state_before_its_fault(programs, uninterrupted, fault):
    run, _ = uninterrupted[fault]
    until = train(programs, Recorder(), num_steps=13)
    assert run.state.step.tolist() == [45, 13, *[45] * 6]
    found, expected = (of_seeds(r, [], [1])[0] for r in (run, until))
    # What it remembers is of its last evaluation, which was at 10; that run was evaluated at its end as well.
    remembered = of_seeds(train(programs, Recorder(), num_steps=10), [], [1])[0].learner_state
    assert differing(found, expected._replace(learner_state=remembered)) == []


@each_fault
def test_a_diverged_seed_is_flagged_and_its_metrics_are_nan_from_the_next_evaluation_on(uninterrupted, fault):
    _, rows = uninterrupted[fault]
    gone = [False, True, *[False] * 6]
    assert [metrics["diverged"].tolist() for _, metrics in rows] == [[False] * 8] * 2 + [gone] * 4
    for step, metrics in rows:
        for name in ("interpolation_mse", "extrapolation_mse", "sparsity_error"):
            assert np.isnan(metrics[name]).tolist() == [False, step > 13, *[False] * 6]
        assert not (step > 13 and (metrics["solved"][1] or metrics["success"][1]))


@each_fault
def test_the_record_of_a_diverged_seed_is_that_of_its_evaluations_before(programs, uninterrupted, fault):
    until = train(programs, Recorder(), num_steps=10)
    assert differing(of_seeds(uninterrupted[fault][0], [], [1])[1], of_seeds(until, [], [1])[1]) == []


@each_fault
def test_the_neighbours_of_a_diverged_seed_are_bit_for_bit_what_they_are_without_it(uninterrupted, fault):
    neighbours = [0, *range(2, 8)]
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


@functools.cache
def seven_seeds(devices, block, fault="healthy"):
    """The uninterrupted run of seeds 0 to 6 and its metrics."""
    host = Recorder()
    return train(programs_for(devices, block), host, fault=fault, seeds=SEVEN), host.rows


@functools.cache
def in_blocks(block, fault="healthy"):
    """States, records and metrics of seven seeds on one device."""
    return of_seeds(*seven_seeds(1, block, fault), SEVEN)


@pytest.mark.slow
def test_the_results_of_a_seed_do_not_depend_on_the_number_and_order_of_the_seeds_beside_it():
    # Bitwise for this NAC, which XLA vectorises over the batch; a NALU or a single seed comes out no more than close.
    others, host = [2, 9, 0, 11, 5, 3, 7, 1], Recorder()
    run = train(programs_for(1, 4), host, seeds=others)
    among_others = of_seeds(run, host.rows, [others.index(seed) for seed in range(4)])
    assert differing(among_others, of_seeds(*seven_seeds(1, 7), range(4))) == []


def assert_equal_but_for_rounding(one, other):
    """45 steps, each of which may round differently."""
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), one, other)


@pytest.mark.slow
def test_seeds_on_two_devices_are_those_on_one_to_rounding(uninterrupted):
    assert_equal_but_for_rounding(of_seeds(*uninterrupted["healthy"], SEVEN), in_blocks(7))


@pytest.mark.slow
def test_seven_seeds_on_two_devices_are_the_seven_seeds_without_filler_to_rounding():
    run, rows = seven_seeds(2, 2)
    assert run.state.seed.tolist() == list(SEVEN)
    assert_equal_but_for_rounding(of_seeds(run, rows, SEVEN), in_blocks(7))


def test_the_host_is_told_of_the_seeds_that_were_asked_for_and_of_no_filler():
    for _, metrics in seven_seeds(2, 2)[1]:
        assert {(type(values), values.shape) for values in metrics.values()} == {(np.ndarray, (7,))}


@pytest.fixture(scope="module")
def start(programs):
    """A fresh run of seeds 0 to 7, and the problem, on the devices."""
    problem = place(PROBLEMS["healthy"], replicated(programs.layout.mesh))
    seeds = place(np.arange(8, dtype=np.uint32), by_seed(programs.layout.mesh))
    return lambda: (programs.start(seeds, problem), problem)


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
    run, problem = start()
    for leaf in jax.tree.leaves((run.state, run.record)):
        assert {shard.data.shape for shard in leaf.addressable_shards} == {(4, *leaf.shape[1:])}
    run, metrics = programs.chunk(run, problem, 1, True)
    for leaf in jax.tree.leaves((run.state, run.record, metrics)):
        assert {shard.data.shape for shard in leaf.addressable_shards} == {(4, *leaf.shape[1:])}


def test_a_chunk_takes_over_the_memory_of_the_run_it_is_given(programs, start):
    run, problem = start()
    programs.chunk(run, problem, 1, True)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((run.state, run.record)))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(problem))


def test_a_finished_run_is_nothing_but_arrays_with_the_seed_as_their_first_axis(programs):
    run = run_seeds(programs, np.arange(8), PROBLEMS["healthy"], num_steps=3, eval_every=3, host=Recorder())
    assert isinstance(run, Run)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(run))
    assert run.step.shape == ()
    assert {leaf.shape[0] for leaf in jax.tree.leaves((run.state, run.record))} == {8}


def test_seeds_draw_other_tasks_and_other_parameters(programs):
    state = train(programs, Recorder(), num_steps=0).state
    assert len({masks.tobytes() for masks in state.task_state}) > 3  # there are few ways to place two slices of four inputs
    for leaf in jax.tree.leaves(state.params):
        assert len({values.tobytes() for values in leaf}) == 8


# Blocks of seeds on a device


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


@pytest.mark.slow
@pytest.mark.parametrize("block", [2, 4])
def test_seeds_in_blocks_are_bit_for_bit_those_of_one_block_of_all(block):
    # Bitwise for this NAC and blocks of two seeds or more, whether they are filled up, as with seven seeds, or not.
    assert differing(in_blocks(block), in_blocks(7)) == []
    host = Recorder()
    run = train(programs_for(1, block), host)
    assert differing(of_seeds(run, host.rows, SEVEN), in_blocks(7)) == []


@pytest.mark.slow
def test_seeds_one_at_a_time_are_those_of_one_block_of_all_to_rounding():
    # XLA drops an axis of length 1 and sums in another order.
    assert_equal_but_for_rounding(in_blocks(1), in_blocks(7))


@pytest.mark.slow
@each_fault
@pytest.mark.parametrize("block", [1, 2, 4])
def test_seeds_of_a_block_in_which_one_diverges_are_bit_for_bit_what_they_are_without_it(block, fault):
    neighbours = [0, *range(2, 7)]
    with_fault, without = (
        jax.tree.map(lambda leaf: leaf[neighbours], in_blocks(block, which)) for which in (fault, "healthy")
    )
    assert differing(with_fault, without) == []
    assert in_blocks(block, fault)[0].step.tolist() == [45, 13, *[45] * 5]


LAYOUTS = [(1, 1), (1, 2), (1, 4), (2, 2)]


@functools.cache
def saved_at_27(devices, block):
    """The host of seeds 0 to 6 whose run was ended at 27."""
    host = Recorder(9, stop_at=27)
    with pytest.raises(Stop):
        train(programs_for(devices, block), host, seeds=SEVEN)
    return host


def resumed(saved_on, goes_on_on):
    """Run and metrics of seven seeds whose run is saved on one layout and goes on on another."""
    before, after = saved_at_27(*saved_on), Recorder(7)
    run = train(programs_for(*goes_on_on), after, seeds=SEVEN, resume_from=lambda template: before.saved[-1])
    return run, before.rows + after.rows


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_what_is_saved_and_what_is_returned_are_the_seeds_that_were_asked_for(layout):
    for stored in (seven_seeds(*layout)[0], *saved_at_27(*layout).saved):
        assert {leaf.shape[0] for leaf in jax.tree.leaves((stored.state, stored.record))} == {7}
        assert stored.state.seed.tolist() == list(SEVEN)


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_a_run_that_goes_on_with_other_fillers_on_the_same_layout_is_the_uninterrupted_one_bit_for_bit(layout):
    assert differing(resumed(layout, layout), seven_seeds(*layout)) == []


@pytest.mark.slow
@pytest.mark.parametrize(("saved_on", "goes_on_on"), list(itertools.permutations(LAYOUTS, 2)), ids=str)
def test_a_run_goes_on_on_another_layout_to_rounding(saved_on, goes_on_on):
    run, rows = resumed(saved_on, goes_on_on)
    expected_run, expected_rows = seven_seeds(*saved_on)
    assert [step for step, _ in rows] == [step for step, _ in expected_rows] == [0, 10, 20, 30, 40, 45]
    assert_equal_but_for_rounding((run, rows), (expected_run, expected_rows))


# Variants: several problems in one program


def variants_of(faults=(NEVER, NEVER - 1, NEVER - 1, NEVER - 1)):
    """Problems that differ in learning rate, penalty, range and the step at which seed 1 fails; NEVER - 1 is never too."""
    differing = ({}, {"rate": 6e-3}, {"weight": 3.0}, {"low": -2.0, "width": 4.0})
    return [variant(**numbers, fault_at=fault) for numbers, fault in zip(differing, faults, strict=True)]


NAMES = ("usual", "learning rate", "penalty", "range")
each_variant = pytest.mark.parametrize(("i", "name"), list(enumerate(NAMES)))


@functools.cache
def starting_together():
    """What starts runs of four variants."""
    return make_start(FAULTY, seed_mesh(), stack(variants_of())[1])


@functools.cache
def programs_for_four(block):
    """The programs of four variants on two devices."""
    layout = Layout(seed_mesh(), block)
    return Programs(starting_together(), make_chunk(FAULTY, layout, stack(variants_of())[1]), layout)


def train_together(host, problems=None, *, block=2, seeds=EIGHT, **options):
    """The finished run of four problems in one program."""
    together, variants = stack(problems or variants_of())
    assert axes_of(variants) == axes_of(stack(variants_of())[1])
    return train(programs_for_four(block), host, problem=together, seeds=seeds, **options)


def of_variant(run, rows, i):
    """One variant's states, records and metrics, leaves [seeds, ...]."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:, i], (run.state, run.record, [m for _, m in rows]))


@functools.cache
def alone(name):
    """States, records and metrics of seven seeds of one of the variants, as a problem by itself."""
    host = Recorder()
    run = train(programs_for(2, 2), host, problem=variants_of()[NAMES.index(name)], seeds=SEVEN)
    return of_seeds(run, host.rows, SEVEN)


@functools.cache
def together(block):
    """Run and metrics of seven seeds of the variants in one program."""
    host = Recorder(7)
    return train_together(host, block=block, seeds=SEVEN), host.rows


@functools.cache
def together_saved_at_27(block):
    """The host of such a run that was ended at 27."""
    host = Recorder(9, stop_at=27)
    with pytest.raises(Stop):
        train_together(host, block=block, seeds=SEVEN)
    return host


@each_variant
@pytest.mark.parametrize("block", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_problems_in_one_program_give_seed_by_seed_what_each_gives_alone(block, i, name):
    found = of_variant(*together(block), i)
    assert_equal_but_for_rounding(found, alone(name))
    # The tolerance means something: what the variants differ in is seen in the weights of every layer.
    if name != "usual":
        weights = [jax.tree.leaves(state.params) for state in (found[0], alone("usual")[0])]
        assert all(np.abs(a - b).max() > 1e-3 for a, b in zip(*weights, strict=True))


def test_the_host_gets_the_metrics_of_all_variants_of_the_seeds_that_were_asked_for():
    run, rows = together(2)
    assert {values.shape for _, metrics in rows for values in metrics.values()} == {(7, 4)}
    assert {leaf.shape[:2] for leaf in jax.tree.leaves((run.state, run.record))} == {(7, 4)}


@pytest.mark.slow
def test_a_run_of_variants_goes_on_in_blocks_of_another_size():
    before, after = together_saved_at_27(1), Recorder()
    options = {"seeds": SEVEN, "resume_from": lambda template: before.saved[-1]}
    run = train_together(after, **options)
    assert {leaf.shape[:2] for leaf in jax.tree.leaves((before.saved[-1].state, before.saved[-1].record))} == {(7, 4)}
    assert_equal_but_for_rounding((run, before.rows + after.rows), together(2))


def test_a_run_of_variants_that_is_resumed_is_the_uninterrupted_one_bit_for_bit():
    before, after = together_saved_at_27(2), Recorder(9)
    run = train_together(after, seeds=SEVEN, resume_from=lambda template: before.saved[-1])
    assert differing((run, before.rows + after.rows), together(2)) == []


def test_the_seeds_of_all_variants_draw_the_same_task_and_start_from_the_same_parameters():
    state = train_together(Recorder(), num_steps=0).state
    for leaf in jax.tree.leaves((state.params, state.task_state, state.seed)):
        np.testing.assert_array_equal(leaf, np.repeat(leaf[:, :1], 4, axis=1))


def test_a_seed_that_diverges_in_one_variant_leaves_all_others_and_itself_in_the_other_variants_bit_for_bit():
    # Bitwise: one program, one layout.
    healthy, healthy_rows = together(2)
    host = Recorder(6)
    faulty = train_together(host, variants_of((NEVER, 13, NEVER - 1, NEVER - 1)), seeds=SEVEN)
    for i in (0, 2, 3):
        assert differing(of_variant(healthy, healthy_rows, i), of_variant(faulty, host.rows, i)) == []
    pair = (healthy, healthy_rows), (faulty, host.rows)
    neighbours = [jax.tree.map(lambda leaf: leaf[[0, *range(2, 7)]], of_variant(*run, 1)) for run in pair]
    assert differing(*neighbours) == []
    gone = np.zeros((7, 4), bool)
    gone[1, 1] = True
    np.testing.assert_array_equal(faulty.state.step, np.where(gone, 13, 45))
    np.testing.assert_array_equal(host.rows[2][1]["diverged"], gone)
    np.testing.assert_array_equal(np.isnan(host.rows[2][1]["interpolation_mse"]), gone)


def test_a_run_of_variants_goes_on_until_all_seeds_of_all_variants_have_diverged():
    # The one seed that is trained is the one that diverges, first in one variant and last in another.
    host = Recorder()
    run = train_together(host, variants_of((3, 12, 27, 3)), seeds=[1] * 8, num_steps=1000)
    assert host.steps == [0, 10, 20, 30]
    assert run.state.step.tolist() == [[3, 12, 27, 3]] * 8 and run.step == 1000


def test_programs_of_variants_serve_all_numbers_without_compiling_again():
    programs = programs_for_four(2)
    train_together(Recorder(7), variants_of((NEVER, 9, 9, 9)))
    changes = ({"rate": 1e-1, "weight": 1.0, "fault_at": 5}, {"low": 0.0, "width": 2.0}, {"rate": 1e-4}, {})
    others = [variant("add", **numbers) for numbers in changes]
    train_together(Recorder(2), others)
    assert (programs.start._cache_size(), programs.chunk._cache_size()) == (1, 1)


def test_leaves_that_agree_are_not_stacked():
    problems = [variant(), variant(rate=6e-3), variant(rate=1.0)]
    together, variants = stack(problems)
    assert variants.count == 3
    named = jax.tree_util.tree_leaves_with_path(together)
    stacked = {
        jax.tree_util.keystr(path): leaf for (path, leaf), axis in zip(named, axes_of(variants), strict=True) if axis == 0
    }
    assert list(stacked) == [".problem.hyperparameters.learning_rate"]
    np.testing.assert_array_equal(*stacked.values(), np.float32([2e-3, 6e-3, 1.0]))
    shared = [leaf for (_, leaf), axis in zip(named, axes_of(variants), strict=True) if axis is None]
    assert len(shared) == len(named) - 1
    originals = {id(leaf) for leaf in jax.tree.leaves(problems[0])}
    assert all(id(leaf) in originals for leaf in shared)


def test_leaves_that_differ_in_one_number_of_one_variant_are_stacked_as_they_are():
    together, variants = stack([variant(), variant(), variant(low=-2.0, width=4.0)])
    axes = dict(zip([jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(together)],
                    axes_of(variants), strict=True))  # fmt: skip
    differ = {path.removeprefix(".problem.task.") for path, axis in axes.items() if axis == 0}
    # Of the arithmetic task: its range, whose upper end is 2 in all variants, and the fixed inputs that were drawn from it.
    assert differ == {"lows", "width", "interpolation"}
    np.testing.assert_array_equal(together.problem.task.lows, [[1.0], [1.0], [-2.0]])
    np.testing.assert_array_equal(together.problem.task.interpolation[1], variant().problem.task.interpolation)


def axes_of(variants):
    """The axes of all leaves, None where they are shared."""
    return jax.tree.leaves(variants.axes, is_leaf=lambda axis: axis is None)


def test_one_problem_is_a_variant_too(play):
    written = script([[4, 3, 2, 5], [4, 1, 2, 5]], fault=[NEVER, 2])
    together, variants = stack([written])
    hosts = Recorder(), Recorder()
    programs = make_programs(scripted(), Layout(seed_mesh(), 1), variants=variants)
    run = fetch(run_seeds(programs, np.arange(2), together, num_steps=3, eval_every=1, host=hosts[0]))
    alone = play(written, hosts[1], num_steps=3, eval_every=1)
    assert differing(of_variant(run, hosts[0].rows, 0), of_seeds(alone, hosts[1].rows, range(2))) == []


def test_problems_of_other_shapes_or_other_penalties_cannot_be_variants_of_one_program():
    unpenalised = PROBLEMS["healthy"].problem._replace(hyperparameters=Hyperparameters(np.float32(1e-2), {}))
    with pytest.raises(ValueError):
        stack([variant(), variant()._replace(problem=unpenalised)])
