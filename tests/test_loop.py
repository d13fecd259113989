"""The loop on two learners: a scripted one, whose evaluations are written down beforehand, and a small NAC.

"Bitwise" is promised within one layout of seeds on devices, which all runs here have.
"""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loops import (
    FAULTS,
    FAULTY,
    NEVER,
    PROBLEMS,
    Recorder,
    Stop,
    differing,
    fetch,
    of_seeds,
    play,
    programs_for,
    script,
    train,
    variant,
)

from nalu_jax.training.distributed import by_seed, place, replicated, seed_mesh
from nalu_jax.training.loop import Run, run_seeds


@pytest.fixture(scope="module")
def programs():
    """For seeds on two devices, each with blocks of two."""
    return programs_for(2, 2)


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


def test_a_chunk_ends_where_an_evaluation_is_due_and_is_never_longer_than_the_host_asks():
    host = Recorder(7, stop_at=NEVER)
    play(script(np.ones((2, 26))), host, num_steps=25, eval_every=10)
    assert [int(run.step) for run in host.saved] == [7, 10, 17, 20, 25]


def test_the_host_is_asked_only_between_chunks_and_gets_metrics_while_the_next_chunk_runs():
    host = Recorder(5)
    play(script(np.ones((2, 11))), host, num_steps=10, eval_every=5)
    chunks = [["0 steps"], ["asked", "5 steps", "evaluated 0"], ["asked", "5 steps", "evaluated 5"], ["evaluated 10"]]
    assert host.log == list(itertools.chain(*chunks))


def test_a_checkpoint_is_saved_after_all_evaluations_up_to_its_step():
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
def test_evaluations_are_made_at_every_multiple_of_eval_every_at_0_and_at_the_end(num_steps, eval_every, expected, length):
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
def test_the_best_evaluation_is_the_first_with_the_smallest_validation_error(validation, best_step):
    run = play(script([validation, validation]), Recorder(), num_steps=3, eval_every=1)
    assert run.record.best_step.tolist() == [best_step, best_step]
    assert run.record.best_params["w"].tolist() == [max(best_step, 0), 1000 + max(best_step, 0)]


@pytest.mark.parametrize(
    ("test", "solved_at"),
    [([9, 9, 0.5, 9, 0.5], 4), ([9, 9, 9, 9, 0.5], 4), ([9, 0.5, 9, 0.5, 9], -1), ([0.5, 9, 0.5, 9, 9], 0), ([nan] * 5, -1)],
    ids=["later", "at the end", "only between evaluations", "untrained", "NaN"],
)
def test_a_seed_is_solved_at_the_first_evaluated_step_at_which_it_is_solved(test, solved_at):
    # Evaluated at 0 and 4 alone.
    run = play(script(np.ones((2, 5)), [test, test]), Recorder(1), num_steps=4, eval_every=4)
    assert run.record.solved_at.tolist() == [solved_at, solved_at]


def test_the_score_decides_which_evaluation_is_the_best_whatever_its_metrics_say():
    written = script([[1, 2, 3, 4]] * 2, score=[[0, 7, 6, 8], [0, 7, nan, 5]])
    run = play(written, Recorder(), num_steps=3, eval_every=1)
    assert run.record.best_step.tolist() == [2, 3]
    assert run.record.best.score.tolist() == [6, 5]
    assert run.record.best.metrics["validation"].tolist() == [3, 4]


def test_success_is_whether_a_seed_is_solved_at_its_best_so_far():
    host = Recorder()
    play(script([[9, 5, 2, 3, 1]] * 2, [[0, 9, 0, 9, 9]] * 2), host, num_steps=4, eval_every=1)
    assert [metrics["success"][0].item() for _, metrics in host.rows] == [False, False, True, True, False]
    assert [metrics["solved"][0].item() for _, metrics in host.rows] == [True, False, True, False, False]


@pytest.fixture(scope="module")
def eventful():
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


def test_a_learner_takes_note_of_every_evaluation_of_a_healthy_seed_and_of_nothing_else():
    # Evaluated at 0, 5, 10, 15 and 20; the second seed diverges after the one at 5, the third before that at 5.
    written = script(np.ones((4, 21)), fault=[NEVER, 7, 3, NEVER])
    for length in (1, 3, 1000):
        run = play(written, Recorder(length), num_steps=20, eval_every=5, num_seeds=4)
        assert run.state.learner_state.tolist() == [5, 2, 1, 5]


def test_what_a_learner_notes_is_in_what_is_saved():
    host = Recorder(4, stop_at=NEVER)
    play(script(np.ones((2, 13))), host, num_steps=12, eval_every=6)
    assert [(int(run.step), run.state.learner_state.tolist()) for run in host.saved] == [
        (4, [1, 1]), (6, [2, 2]), (10, [2, 2]), (12, [3, 3]),
    ]  # fmt: skip


# Divergence


@pytest.mark.parametrize("fault", FAULTS)
def test_a_diverged_seed_stays_for_ever_in_the_state_before_its_fault(programs, uninterrupted, fault):
    run, _ = uninterrupted[fault]
    until = train(programs, Recorder(), num_steps=13)
    assert run.state.step.tolist() == [45, 13, *[45] * 6]
    found, expected = (of_seeds(r, [], [1])[0] for r in (run, until))
    # What it remembers is of its last evaluation, which was at 10; that run was evaluated at its end as well.
    remembered = of_seeds(train(programs, Recorder(), num_steps=10), [], [1])[0].learner_state
    assert differing(found, expected._replace(learner_state=remembered)) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_diverged_seed_is_flagged_and_its_metrics_are_nan_from_the_next_evaluation_on(uninterrupted, fault):
    _, rows = uninterrupted[fault]
    gone = [False, True, *[False] * 6]
    assert [metrics["diverged"].tolist() for _, metrics in rows] == [[False] * 8] * 2 + [gone] * 4
    for step, metrics in rows:
        for name in ("interpolation_mse", "extrapolation_mse", "sparsity_error"):
            assert np.isnan(metrics[name]).tolist() == [False, step > 13, *[False] * 6]
        assert not (step > 13 and (metrics["solved"][1] or metrics["success"][1]))


@pytest.mark.parametrize("fault", FAULTS)
def test_the_record_of_a_diverged_seed_is_that_of_its_evaluations_before(programs, uninterrupted, fault):
    until = train(programs, Recorder(), num_steps=10)
    assert differing(of_seeds(uninterrupted[fault][0], [], [1])[1], of_seeds(until, [], [1])[1]) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_the_neighbours_of_a_diverged_seed_are_bit_for_bit_what_they_are_without_it(uninterrupted, fault):
    neighbours = [0, *range(2, 8)]
    assert differing(of_seeds(*uninterrupted[fault], neighbours), of_seeds(*uninterrupted["healthy"], neighbours)) == []


@pytest.mark.parametrize("length", [1, 4, 1000])
def test_a_run_ends_at_the_evaluation_that_finds_all_seeds_diverged(length):
    host = Recorder(length)
    run = play(script(np.ones((2, 1001)), fault=[3, 7]), host, num_steps=1000, eval_every=5)
    assert host.steps == [0, 5, 10]
    # Nothing can change any more: it counts as run to its end.
    assert run.step == 1000
    assert run.state.step.tolist() == [3, 7]


def test_a_seed_that_only_fills_up_the_devices_does_not_keep_a_run_going():
    host = Recorder()
    play(script(np.ones((4, 1001)), fault=[3, 3, 3, NEVER]), host, num_steps=1000, eval_every=5, num_seeds=3)
    assert host.steps == [0, 5]


def test_a_run_goes_on_for_its_last_seed():
    host = Recorder()
    run = play(script(np.ones((2, 21)), fault=[3, NEVER]), host, num_steps=20, eval_every=5)
    assert host.steps == [0, 5, 10, 15, 20]
    assert run.state.step.tolist() == [3, 20]


def test_a_run_that_lost_all_seeds_is_the_same_whatever_the_length_of_its_chunks():
    runs = [play(script(np.ones((2, 101)), fault=[3, 3]), Recorder(n), num_steps=100, eval_every=5) for n in (1, 1000)]
    assert differing(*runs) == []


def test_a_run_that_lost_all_seeds_has_the_same_rows_whenever_it_is_saved():
    host = Recorder(save_on=[1])
    play(script(np.ones((2, 101)), fault=[3, 3]), host, num_steps=100, eval_every=5)
    assert host.steps == [0, 5]


def test_a_run_that_lost_all_seeds_has_the_same_rows_when_it_is_resumed_before_its_last_evaluation():
    before, after = Recorder(2, stop_at=4), Recorder(2)
    options = {"num_steps": 100, "eval_every": 5}
    with pytest.raises(Stop):
        play(script(np.ones((2, 101)), fault=[3, 3]), before, **options)
    play(script(np.ones((2, 101)), fault=[3, 3]), after, resume_from=lambda template: before.saved[-1], **options)
    assert before.steps + after.steps == [0, 5]


def test_a_run_that_lost_all_seeds_but_a_filler_is_not_continued_when_resumed():
    written = script(np.ones((4, 101)), fault=[3, 3, 3, NEVER])
    before, after = Recorder(stop_at=5), Recorder()
    options = {"num_steps": 100, "eval_every": 5, "num_seeds": 3}
    with pytest.raises(Stop):
        play(written, before, **options)
    play(written, after, resume_from=lambda template: before.saved[-1], **options)
    assert before.steps + after.steps == [0, 5]


# Seeds on devices


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
