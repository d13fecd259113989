"""Several problems in one program, as cells of a grid train: seed by seed what each is alone."""

import functools

import jax
import numpy as np
import pytest
from loops import (
    EIGHT,
    FAULTY,
    NEVER,
    PROBLEMS,
    SEVEN,
    Recorder,
    Stop,
    assert_equal_but_for_rounding,
    differing,
    fetch,
    of_seeds,
    play,
    programs_for,
    script,
    scripted,
    train,
    variant,
)

from nalu_jax.training.distributed import Layout, seed_mesh
from nalu_jax.training.loop import Programs, make_chunk, make_programs, make_start, run_seeds, stack
from nalu_jax.types import Hyperparameters


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


def test_one_problem_is_a_variant_too():
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
