"""Seeds on devices and in blocks: bit for bit the same within one layout where it is said, close across layouts."""

import functools
import itertools
import math
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from loops import (
    FAULTS,
    SEVEN,
    Recorder,
    Stop,
    assert_equal_but_for_rounding,
    differing,
    mesh_of,
    of_seeds,
    one_device,
    programs_for,
    seven_seeds,
    train,
)

from nalu_jax.training.distributed import CACHE, Layout, layout_for, pad_seeds

# Seeds on devices


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


@pytest.mark.slow
def test_seeds_on_two_devices_are_those_on_one_to_rounding():
    host = Recorder()
    run = train(programs_for(2, 2), host)
    assert_equal_but_for_rounding(of_seeds(run, host.rows, SEVEN), in_blocks(7))


@pytest.mark.slow
def test_seven_seeds_on_two_devices_are_the_seven_seeds_without_filler_to_rounding():
    run, rows = seven_seeds(2, 2)
    assert run.state.seed.tolist() == list(SEVEN)
    assert_equal_but_for_rounding(of_seeds(run, rows, SEVEN), in_blocks(7))


def test_the_host_is_told_of_the_seeds_that_were_asked_for_and_of_no_filler():
    for _, metrics in seven_seeds(2, 2)[1]:
        assert {(type(values), values.shape) for values in metrics.values()} == {(np.ndarray, (7,))}


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
@pytest.mark.parametrize("fault", FAULTS)
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
