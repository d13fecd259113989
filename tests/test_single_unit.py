"""The single unit task: where its operands stand, its nine ranges, its batches and its thresholds."""

import copy
import math
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

from nalu_jax.registry import TASKS
from nalu_jax.tasks.ranges import Range
from nalu_jax.tasks.single_unit import SingleUnit
from nalu_jax.training.random import Purpose, key_at

# Mistry, Farrahi & Hare 2022: each range of training with the range of its test.
PUBLISHED = {
    (-20, -10): (-40, -20),
    (-2, -1): (-6, -2),
    (-1.2, -1.1): (-6.1, -1.2),
    (-0.2, -0.1): (-2, -0.2),
    (-2, 2): ((-6, -2), (2, 6)),
    (0.1, 0.2): (0.2, 2),
    (1, 2): (2, 6),
    (1.1, 1.2): (1.2, 6),
    (10, 20): (20, 40),
}
UNION = ((-6, -2), (2, 6))
EXACT = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}

each_operation = pytest.mark.parametrize("operation", EXACT)
each_range = pytest.mark.parametrize("interpolation", PUBLISHED, ids=str)


@cache
def single(operation="mul", input_size=2, interpolation=(1, 2), extrapolation=(), epsilon=1e-4):
    """A description of the task, by default with two inputs and the published partner of the range."""
    return SingleUnit.from_config(
        operation=operation,
        input_size=input_size,
        interpolation_range=interpolation,
        extrapolation_range=extrapolation,
        epsilon=epsilon,
    )


# One compiled program serves every operation and every range of one interval.
evaluations = jax.jit(lambda task, seed: task.evaluations(task.init(key_at(Purpose.TASK, seed))))
label = jax.jit(lambda task, inputs, draw: task.make_batch(inputs, draw))


def sample(task, seed, step):
    """The training batch of a seed at a step."""
    draw = task.init(key_at(Purpose.TASK, seed))
    return task.sample(key_at(Purpose.TRAINING, seed, step), draw, 128)


jitted_sample = jax.jit(sample)


def evaluations_of_seed(description, seed=0):
    """The fixed batches as a seed sees them, in NumPy."""
    return jax.tree.map(np.asarray, evaluations(description.task, jnp.uint32(seed)))


def training_batch(description, seed=0, step=0):
    return jax.tree.map(np.asarray, jitted_sample(description.task, jnp.uint32(seed), jnp.int32(step)))


@cache
def offsets_of_seeds(input_size):
    """Where a and b of 3,000 seeds stand, i64[seeds] each; every mask is of one input."""
    task = single(input_size=input_size).task
    draws = jax.jit(jax.vmap(lambda seed: task.init(key_at(Purpose.TASK, seed))))(jnp.arange(3000, dtype=jnp.uint32))
    draws = np.asarray(draws)
    assert set(np.unique(draws)) == {0, 1} and (draws.sum(1) == 1).all()
    return draws.argmax(1).T


# Targets and operands


def targets_by_hand(description, masks, batch):
    """The operation on the two inputs that the masks f32[inputs, 2] pick, f64[1, batch]."""
    a, b = np.float64(batch.inputs)[np.asarray(masks).argmax(0)]
    return EXACT[description.operation](a, b)[None]


@pytest.mark.parametrize(("operation", "target"), [("add", 1), ("sub", 5), ("mul", -6), ("div", -1.5)])
def test_the_target_is_the_operation_on_the_two_inputs_in_their_order(operation, target):
    inputs, draw = jnp.array([[3.0], [-2.0]]), jnp.eye(2)
    batch = label(single(operation).task, inputs, draw)
    np.testing.assert_array_equal(batch.targets, [[target]])


@each_operation
def test_the_target_is_the_operation_on_two_neighbours_of_ten(operation):
    description = single(operation, 10)
    a, b = offsets_of_seeds(10)
    for seed in range(3):
        batch = training_batch(description, seed)
        x = batch.inputs.astype(np.float64)
        expected = EXACT[operation](x[a[seed]], x[b[seed]])
        # Differences of numbers near 1 err by 1e-7.
        np.testing.assert_allclose(batch.targets, expected[None], rtol=1e-6, atol=2e-7)


def test_two_inputs_are_a_and_b_for_every_seed():
    a, b = offsets_of_seeds(2)
    assert (a == 0).all() and (b == 1).all()


@pytest.mark.parametrize("input_size", [3, 10, 49, 100])  # 49 · (1 / 49) is below 1
def test_b_stands_behind_a(input_size):
    a, b = offsets_of_seeds(input_size)
    np.testing.assert_array_equal(b, a + 1)


@pytest.mark.parametrize("input_size", [10, 100])
def test_the_operands_stand_anywhere_with_equal_chances(input_size):
    # What differs between seeds is data: under vmap an attribute would be shared by all.
    counts = np.bincount(offsets_of_seeds(input_size)[0])
    # p below 0.001 in one of a thousand ways to seed this test.
    assert len(counts) == input_size - 1 and chisquare(counts).pvalue > 0.001


def test_a_seed_draws_the_same_place_alone_as_beside_others():
    alone = single(input_size=10).task.init(key_at(Purpose.TASK, jnp.uint32(7)))
    a, b = offsets_of_seeds(10)
    np.testing.assert_array_equal(np.asarray(alone).argmax(0), [a[7], b[7]])


# Ranges and batches


@each_range
def test_the_test_range_is_the_published_partner_of_the_training_range(interpolation):
    assert single(interpolation=interpolation).extrapolation_range == Range(PUBLISHED[interpolation])


def test_a_test_range_that_is_given_is_taken():
    assert single(interpolation=(1, 2), extrapolation=(3, 4)).extrapolation_range == Range((3, 4))


def inside(numbers, *intervals):
    """Whether all numbers lie in the intervals, and come within 1 % of the ends of each."""
    within = [(numbers >= np.float32(low)) & (numbers <= np.float32(high)) for low, high in intervals]
    reached = [
        np.allclose([numbers[where].min(), numbers[where].max()], ends, rtol=0, atol=0.01 * (ends[1] - ends[0]))
        for where, ends in zip(within, intervals, strict=True)
    ]
    return np.any(within, axis=0).all() and all(reached)


@each_range
def test_the_batches_are_of_their_ranges(interpolation):
    description = single("add", 10, interpolation)
    fixed = evaluations_of_seed(description)
    partner = PUBLISHED[interpolation]
    assert inside(training_batch(description).inputs, interpolation)
    assert inside(fixed["interpolation"].inputs, interpolation)
    assert inside(fixed["extrapolation"].inputs, *(partner if interpolation == (-2, 2) else [partner]))


def test_a_and_b_of_the_mixed_test_range_choose_their_signs_each_for_itself():
    a, b = evaluations_of_seed(single("mul", 2, (-2, 2)))["extrapolation"].inputs > 0
    shares = [np.mean((a == first) & (b == second)) for first in (True, False) for second in (True, False)]
    # The standard error of a share of 10,000 is 0.0043.
    assert shares == pytest.approx([0.25] * 4, abs=0.02)


@pytest.mark.parametrize(
    ("name", "seed", "ends"), [("interpolation", 43953907, (1.1, 1.2)), ("extrapolation", 8689336, (1.2, 6))]
)
def test_a_fixed_batch_has_ten_thousand_rows_of_the_published_seed(name, seed, ends):
    batch = evaluations_of_seed(single("add", 10, (1.1, 1.2)))[name]
    expected = np.random.RandomState(seed).uniform(*ends, (10_000, 10)).astype(np.float32).T
    np.testing.assert_array_equal(batch.inputs, expected)
    assert batch.targets.shape == (1, 10_000) and batch.keep is None


@pytest.mark.parametrize("name", ["interpolation", "extrapolation"])
def test_all_seeds_are_judged_on_the_same_inputs_but_on_their_own_operands(name):
    a, _ = offsets_of_seeds(10)
    other = int(np.argmax(a != a[0]))
    first, second = (evaluations_of_seed(single(input_size=10), seed)[name] for seed in (0, other))
    np.testing.assert_array_equal(first.inputs, second.inputs)
    assert (first.targets != second.targets).mean() > 0.99


def test_training_batches_are_fresh_at_every_step_and_for_every_seed():
    first = training_batch(single()).inputs
    for other in (training_batch(single(), step=1), training_batch(single(), seed=1)):
        assert (first != other.inputs).mean() > 0.99


def test_the_tasks_of_all_ranges_and_operations_are_one_tree():
    tasks = [single(operation, 2, interpolation).task for operation in EXACT for interpolation in PUBLISHED]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *tasks)
    batches = jax.vmap(sample, (0, None, None))(stacked, jnp.uint32(0), jnp.int32(0))
    for index, (operation, interpolation) in enumerate((o, i) for o in EXACT for i in PUBLISHED):
        alone = training_batch(single(operation, 2, interpolation))
        # Fused operations round differently.
        np.testing.assert_allclose(batches.inputs[index], alone.inputs, rtol=1e-6, atol=1e-6)
        assert stacked.threshold[index] == np.float32(single(operation, 2, interpolation).threshold)


# Thresholds


# Closed forms of the published definition at ε = 1e-4, to five digits, for two inputs: + and -, ×, ÷.
OF_TWO = {
    (20, 40): (3.6667e-5, 3.4841e-2, 4.6657e-8),
    (2, 6): (6.6667e-7, 1.2017e-5, 5.7766e-8),
    UNION: (6.6667e-7, 1.2017e-5, 5.7766e-8),
    (-6.1, -1.2): (5.7292e-7, 9.3912e-6, 8.3717e-8),
    (0.2, 2): (5.3800e-8, 8.7607e-8, 1.4797e-7),
    (1.2, 6): (5.5680e-7, 8.8557e-6, 8.2650e-8),
}
# The same for + and -, of ten and of a hundred inputs.
OF_MORE = {
    (20, 40): (9.0333e-4, 9.0033e-2),
    (2, 6): (1.6133e-5, 1.6013e-3),
    UNION: (1.6133e-5, 1.6013e-3),
    (-6.1, -1.2): (1.3523e-5, 1.3343e-3),
    (0.2, 2): (1.2370e-6, 1.2127e-4),
    (1.2, 6): (1.3152e-5, 1.2979e-3),
}


@pytest.mark.parametrize("extrapolation", OF_TWO, ids=str)
def test_the_thresholds_of_two_inputs_are_those_of_the_paper(extrapolation):
    found = [single(operation, extrapolation=extrapolation).threshold for operation in ("add", "sub", "mul", "div")]
    add, mul, div = OF_TWO[extrapolation]
    assert [float(f"{threshold:.4e}") for threshold in found] == [add, add, mul, div]


@pytest.mark.parametrize("operation", ["add", "sub"])
@pytest.mark.parametrize("extrapolation", OF_MORE, ids=str)
def test_the_thresholds_of_more_inputs_are_those_of_the_paper(extrapolation, operation):
    found = [single(operation, inputs, extrapolation=extrapolation).threshold for inputs in (10, 100)]
    assert [float(f"{threshold:.4e}") for threshold in found] == list(OF_MORE[extrapolation])


@each_operation
def test_ranges_that_mirror_each_other_have_one_threshold(operation):
    found = [single(operation, 10, extrapolation=ends).threshold for ends in ((0.2, 2), (-2, -0.2))]
    assert found[0] == pytest.approx(found[1], rel=1e-14, abs=0)


def perturbed(operation, x, epsilon):
    """The output of a solution whose weights are all wrong by ε: x [inputs, ...], a and b first. Float64."""
    a, b, *others = x
    if operation in ("add", "sub"):
        return EXACT[operation](a, b) - epsilon * np.abs(x).sum(0)
    shrunk = (1 - epsilon) ** 2 if operation == "mul" else (1 - epsilon) / (1 + epsilon)
    for other in others:
        shrunk = shrunk * (1 - epsilon * np.abs(other))
    return shrunk * EXACT[operation](a, b)


@each_operation
@pytest.mark.parametrize(
    ("input_size", "extrapolation", "epsilon"),
    [(2, (0.2, 2), 1e-4), (5, UNION, 1e-4), (10, (-6.1, -1.2), 1e-4), (4, (0.5, 1.5), 0.3), (4, (-3, -1), 0.3)],
)
def test_the_threshold_is_the_mean_of_a_simulation(operation, input_size, extrapolation, epsilon):
    x = Range(extrapolation).fixed(np.random.RandomState(0), (input_size, 300_000))
    error = np.mean((perturbed(operation, x, epsilon) - EXACT[operation](x[0], x[1])) ** 2)
    threshold = single(operation, input_size, extrapolation=extrapolation, epsilon=epsilon).threshold
    # The standard error is below one half percent.
    assert threshold == pytest.approx(error, rel=0.02, abs=0)


def test_the_threshold_of_a_range_around_0_is_that_of_the_definition():
    # x ~ U[-1, 3]: E|x| = (1 + 9) / 8 = 5 / 4 and E x² = 28 / 12 = 7 / 3, so that E(|a| + |b|)² = 14 / 3 + 25 / 8.
    found = single("add", extrapolation=(-1, 3), epsilon=0.1).threshold
    assert found == pytest.approx(0.01 * (14 / 3 + 25 / 8), rel=1e-12)


@pytest.mark.parametrize(
    ("operation", "extrapolation", "mean"),
    [
        # x ~ U[1, 5]: E x = 3 and E x² = 31 / 3. x ~ U[1, 4]: E x = 5 / 2, E x² = 7 and E 1 / x² = 1 / 4.
        ("mul", (1, 5), (31 / 3) ** 2 * (4 + 4 * 3 + 31 / 3)),
        ("div", (1, 4), 7 / 4 * (4 + 4 * 5 / 2 + 7)),
    ],
)
def test_the_threshold_keeps_its_digits_where_epsilon_is_tiny(operation, extrapolation, mean):
    # To the first order in ε the error with one irrelevant input x is ε t (2 + x).
    found = single(operation, 3, extrapolation=extrapolation, epsilon=1e-12).threshold
    assert found == pytest.approx(1e-24 * mean, rel=1e-9, abs=0)


@each_operation
@each_range
def test_the_threshold_lets_weights_pass_that_are_wrong_by_less_than_epsilon_alone(operation, interpolation):
    description = single(operation, interpolation=interpolation)
    batch = evaluations_of_seed(description)["extrapolation"]
    solved = []
    for epsilon in (0.9e-4, 1.1e-4):
        outputs = perturbed(operation, batch.inputs.astype(np.float64), epsilon)
        errors = {"extrapolation_mse": np.float32(np.mean((outputs - batch.targets[0]) ** 2))}
        solved.append(bool(description.task.solved(errors)))
    assert solved == [True, False]


@each_operation
@each_range
def test_targets_round_to_far_less_than_the_threshold(operation, interpolation):
    description = single(operation, 10, interpolation)
    (a, *_), (b, *_) = offsets_of_seeds(10)
    batch = evaluations_of_seed(description)["extrapolation"]
    x = batch.inputs.astype(np.float64)
    error = np.mean((batch.targets[0] - EXACT[operation](x[a], x[b])) ** 2)
    assert error < 1e-4 * single(operation, 2, interpolation).threshold


@pytest.mark.parametrize(("error", "solved"), [(1.2016e-5, True), (1.2017e-5, False), (math.nan, False)])
def test_solved_means_a_test_error_below_the_threshold(error, solved):
    metrics = {"interpolation_mse": jnp.float32(1.0), "extrapolation_mse": jnp.float32(error)}
    assert bool(single("mul").task.solved(metrics)) is solved


# What is refused, and with which sentence


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"operation": "squared"}, "operation must be one of add, sub, mul, div, got 'squared'"),
        ({"operation": "plus"}, "operation must be one of add, sub, mul, div, got 'plus'"),
        ({"input_size": 1}, "input_size must be a whole number of at least 2, got 1"),
        ({"input_size": 2.0}, "input_size must be a whole number of at least 2, got 2.0"),
        ({"epsilon": 0.0}, "epsilon must lie between 0 and 1, got 0.0"),
        ({"epsilon": 1.0}, "epsilon must lie between 0 and 1, got 1.0"),
        ({"epsilon": math.nan}, "epsilon must lie between 0 and 1, got nan"),
        ({"interpolation": (2, 1)}, "interpolation_range: a range must go from a lower to a higher number, got 2,1"),
        ({"extrapolation": (2, 1)}, "extrapolation_range: a range must go from a lower to a higher number, got 2,1"),
        ({"operation": "div", "extrapolation": (-1, 2)}, r"'div' has no threshold on an .* contains 0, got \[-1, 2\]"),
        ({"operation": "div", "extrapolation": (0, 2)}, r"'div' has no threshold on an .* contains 0, got \[0, 2\]"),
        (
            {"operation": "div", "extrapolation": ((-2, 0), (1, 3))},
            r"'div' has no threshold on an .* contains 0, got \[-2, 0\] ∪ \[1, 3\]",
        ),
        (
            {"interpolation": (1, 3)},
            r"extrapolation_range must be given, as interpolation_range \[1, 3\] is none of the published ones, "
            r"\[-20, -10\], \[-2, -1\], \[-1.2, -1.1\], \[-0.2, -0.1\], \[-2, 2\], \[0.1, 0.2\], \[1, 2\], \[1.1, 1.2\], "
            r"\[10, 20\]$",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        single.__wrapped__(**changes)  # to the cache 2.0 is 2


def test_division_may_be_trained_on_a_range_that_contains_0():
    assert single("div", interpolation=(-2, 2)).threshold == pytest.approx(5.7766e-8, rel=1e-4, abs=0)


# Plain values, as configs hold them


def test_the_name_in_configs_leads_to_the_task():
    assert TASKS["single_unit"] is SingleUnit


def test_making_a_description_leaves_the_plain_values_as_they_are():
    plain = {
        "operation": "mul",
        "input_size": 2,
        "interpolation_range": [-2.0, 2.0],
        "extrapolation_range": [],
        "epsilon": 1e-4,
    }
    before = copy.deepcopy(plain)
    assert SingleUnit.from_config(**plain) == single("mul", interpolation=(-2, 2))
    assert plain == before
