"""How the papers trained each unit: refusals, and the published numbers as a table written by hand."""

import dataclasses
import math

import pytest

from nalu_jax.recipes import DEFAULT_RECIPE, NO_REINIT, Chain, Optimizer, Penalty, Recipe, Reinit
from nalu_jax.registry import OPTIMIZERS, UNITS


@pytest.mark.parametrize(
    ("make", "field", "value", "what"),
    [
        (lambda v: Penalty(v), "weight", -1.0, "a number of at least 0"),
        (lambda v: Penalty(v), "weight", math.inf, "a number of at least 0"),
        (lambda v: Penalty(v), "weight", math.nan, "a number of at least 0"),
        (lambda v: Penalty(1.0, start=v), "start", -1, "a whole number of at least 0"),
        (lambda v: Penalty(1.0, start=v), "start", 0.5, "a whole number of at least 0"),
        (lambda v: Penalty(1.0, end=v), "end", 2**31, "a whole number of at least 0"),
        (lambda v: Penalty(1.0, start=10, end=v), "end", 9, "at least start, which is 10"),
        (lambda v: Penalty(1.0, every=v), "every", 0, "a positive whole number"),
        (lambda v: Penalty(1.0, times=v), "times", -1, "a whole number of at least 0"),
        (lambda v: Penalty(1.0, growth=v), "growth", 0.0, "a positive number"),
        (lambda v: Penalty(1.0, growth=v), "growth", math.nan, "a positive number"),
        (lambda v: Penalty(1.0, below=v), "below", -1.0, "a number of at least 0"),
        (lambda v: Penalty(1.0, below=v), "below", math.inf, "a number of at least 0"),
        (lambda v: Reinit(v, 0, 0.0), "check_every", -1, "a whole number of at least 0"),
        (lambda v: Reinit(10, v, 0.0), "min_history", 2.5, "a whole number of at least 0"),
        (lambda v: Reinit(10, 0, v), "threshold", -1.0, "a number of at least 0"),
        (lambda v: Reinit(10, 0, v), "threshold", math.nan, "a number of at least 0"),
        (lambda v: Reinit(10, 0, 1.0, v), "init_range", math.inf, "a number of at least 0"),
        (lambda v: Optimizer(learning_rate=v), "learning_rate", 0.0, "a positive number in float32"),
        (lambda v: Optimizer(learning_rate=v), "learning_rate", math.nan, "a positive number in float32"),
        (lambda v: Optimizer(clip_norm=v), "clip_norm", -1.0, "a number of at least 0"),
        (lambda v: Optimizer(clip_value=v), "clip_value", math.inf, "a number of at least 0"),
        (lambda v: Optimizer(gate_turn=v), "gate_turn", 10, "a whole number from 0 to 9"),
        (lambda v: Optimizer(gate_turn=v), "gate_turn", 1.5, "a whole number from 0 to 9"),
    ],
)
def test_an_impossible_number_is_refused_in_a_sentence_that_names_it(make, field, value, what):
    with pytest.raises(ValueError) as refusal:
        make(value)
    assert str(refusal.value) == f"{field} must be {what}, got {value!r}"


@pytest.mark.parametrize(
    "recipe", [Penalty(1.0), Reinit(10, 0, 1.0), Optimizer(), DEFAULT_RECIPE], ids=lambda recipe: type(recipe).__name__
)
def test_a_recipe_cannot_be_changed_in_passing(recipe):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(recipe, dataclasses.fields(recipe)[0].name, 1.0)


def test_a_recipe_fits_where_all_that_it_asks_for_is_so():
    recipe = Recipe("here", {"task": "single_unit", "input_size": 2})
    assert recipe.fits({"task": "single_unit", "input_size": 2, "operation": "mul"})
    assert not recipe.fits({"task": "single_unit", "input_size": 10, "operation": "mul"})
    assert not recipe.fits({"task": "single_unit"})


def test_never_means_no_reinitialisation():
    assert NO_REINIT.check_every == 0


# The published numbers. A penalty is written as what differs from a constant weight.

ADAM = {"name": "adam", "learning_rate": 1e-3, "clip_norm": 0.0, "clip_value": 0.0, "gate_turn": 0}
ADAM |= {"schedule": "constant", "end_factor": 0.0, "warmup_steps": 0, "momentum": -1.0, "decay": -1.0, "eps": -1.0}
NEVER = {"check_every": 0, "min_history": 0, "threshold": 0.0, "init_range": 0.0}
CONSTANT = {"start": 0, "end": 0, "growth": 1.0, "every": 1, "times": 0, "below": 0.0}  # below 0 means always


def ramp(weight, start, end):
    return {"weight": weight, "start": start, "end": end}


def growing(weight):
    """Tenfold after 10,000 and again after 20,000 steps."""
    return {"weight": weight, "growth": 10.0, "every": 10_000, "times": 2}


SINGLE_2 = {"task": "single_unit", "input_size": 2}
SINGLE_10 = {"task": "single_unit", "input_size": 10}
SINGLE_100 = {"task": "single_unit", "input_size": 100}
STATIC = {"task": "static_arithmetic", "input_size": 100}

POWER = {"learning_rate": 5e-3}
CLIPPED = {"learning_rate": 1e-2, "clip_norm": 1.0}
FAST = {"sparsity": ramp(10.0, 20_000, 35_000)}
SLOW = {"sparsity": ramp(10.0, 50_000, 75_000)}
SLOWEST = {"sparsity": ramp(10.0, 1_000_000, 2_000_000)}
NEGATIVE_L2 = {"negative_l2": ramp(10.0, 20_000, 35_000)}


def modified(start, end):
    return {"l1": growing(1e-9), "discreteness": ramp(1.0, start, end), "gate": ramp(1.0, start, end)}


SEQUENCES = {total: {"task": f"mnist_{total}", "operation": None, "input_size": None} for total in ("sum", "product")}
ON_SEQUENCES = {"sparsity": ramp(10.0, 10_000, 100_000)}
SIZE = {"saturation": {"weight": 0.05, "start": 10_001, "end": 10_001, "below": 1.0}}
REINIT = {"check_every": 10, "min_history": 5_000, "threshold": 1.0}
ORIGINAL = {"name": "rmsprop_tensorflow", "learning_rate": 1e-2, "clip_value": 0.1, "gate_turn": 2}
# Ten epochs of a thousand batches of 64.
ORIGINAL_SIZE = {"saturation": {"weight": 0.05, "start": 11_000, "end": 11_000, "below": 1.0}}
ORIGINAL_REINIT = {"check_every": 10_000, "min_history": 10_000, "threshold": 1.0, "init_range": 2.0}

PLAINLY = ["nac", "nac_mul", "nac_mul_sigma", "nalu", "nalu_separate", "nalu_bias", "gnalu", "nalu_gumbel", "dmu", "nsr"]
UNPENALISED = ["nmu_unregularised", "nmu_unbounded_unregularised", "nmu_sigma", "relu", "linear"]

PUBLISHED = [
    # unit, facts, optimizer, penalties, reinit; as far as they differ from plain Adam
    *((name, facts, {}, {}, {}) for name in PLAINLY + UNPENALISED for facts in (SINGLE_2, STATIC)),
    ("nau", SINGLE_2 | {"operation": "add"}, {}, {"sparsity": ramp(0.01, 20_000, 35_000)}, {}),
    ("nau", SINGLE_10 | {"operation": "sub"}, {}, {"sparsity": ramp(0.01, 50_000, 75_000)}, {}),
    ("nau", SINGLE_100 | {"operation": "add"}, {}, {"sparsity": ramp(0.01, 50_000, 75_000)}, {}),
    ("nau", STATIC | {"operation": "add"}, {}, {"sparsity": ramp(0.01, 5_000, 50_000)}, {}),
    *(
        (name, facts, {}, penalties, {})
        for name in ("nmu", "snmu", "batch_snmu", "nmu_unbounded")
        for facts, penalties in ((SINGLE_2, FAST), (SINGLE_10, SLOW), (STATIC, SLOWEST))
    ),
    ("nac_mul_nmu", STATIC, {}, SLOWEST, {}),
    ("nac", SEQUENCES["sum"], {}, {}, {}),
    ("nau", SEQUENCES["sum"], {}, ON_SEQUENCES, {}),
    *((name, SEQUENCES["product"], {}, ON_SEQUENCES, {}) for name in ("nmu", "nac_mul_nmu")),
    ("gated_nau_nmu", STATIC, {}, SLOWEST, {}),
    ("nalu_gate_penalty", STATIC, {}, {"gate": {"weight": 1.0}}, {}),
    *((name, SINGLE_2 | {"operation": "mul"}, POWER, {"l1": growing(1e-7)}, {}) for name in ("npu", "real_npu")),
    *((name, SINGLE_2 | {"operation": "div"}, POWER, {"l1": growing(1e-9)}, {}) for name in ("npu", "real_npu")),
    ("real_npu", SINGLE_10 | {"operation": "div"}, POWER, {"l1": growing(1e-9)}, {}),
    ("real_npu_modified", SINGLE_2 | {"operation": "div"}, POWER, modified(40_000, 50_000), {}),
    ("real_npu_modified", SINGLE_10 | {"operation": "div"}, POWER, modified(50_000, 75_000), {}),
    ("nru", SINGLE_2, {"learning_rate": 1.0}, FAST, {}),
    ("nru", SINGLE_10, {}, SLOW, {}),
    ("nmru", SINGLE_2, CLIPPED, FAST, {}),
    ("nmru", SINGLE_10, CLIPPED, SLOW, {}),
    ("inalu", SINGLE_2, {"clip_value": 0.1}, SIZE, REINIT),
    ("inalu", SINGLE_10, {"clip_value": 0.1}, SIZE, REINIT),
    *((name, SINGLE_2, ORIGINAL, ORIGINAL_SIZE, ORIGINAL_REINIT) for name in ("inalu_original", "inalu_shared")),
    *((name, SINGLE_2, {}, NEGATIVE_L2, {}) for name in ("mc_fc", "mc_fc_mul", "mc_fc_mul_sign_inalu")),
    ("mc_fc_mul_sign_real_npu", SINGLE_2, {}, NEGATIVE_L2 | {"gate": ramp(1.0, 20_000, 35_000)}, {}),
]


@pytest.mark.parametrize(
    ("name", "facts", "optimizer", "penalties", "reinit"),
    PUBLISHED,
    ids=[f"{name} {' '.join(map(str, facts.values()))}" for name, facts, *_ in PUBLISHED],
)
def test_a_unit_is_trained_with_the_published_numbers(name, facts, optimizer, penalties, reinit):
    recipe = dataclasses.asdict(UNITS[name](1).recipe(**facts))
    assert recipe["optimizer"] == ADAM | optimizer
    assert recipe["penalties"] == {penalty: CONSTANT | numbers for penalty, numbers in penalties.items()}
    assert recipe["reinit"] == NEVER | reinit


@pytest.mark.parametrize("name", UNITS)
def test_every_recipe_names_its_source_and_an_optimizer_that_exists(name):
    for recipe in UNITS[name](1).recipes:
        assert recipe.source and recipe.optimizer.name in OPTIMIZERS
        assert set(recipe.when) <= {"task", "operation", "input_size"}


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_has_a_recipe_for_any_task_and_it_is_plain_where_none_fits(name):
    unit = UNITS[name](1)
    recipe = unit.recipe(task="another", operation="another", input_size=7)
    assert recipe is DEFAULT_RECIPE or recipe in unit.recipes


def test_the_chain_of_an_optimizer_is_all_of_it_but_its_learning_rate():
    made = Optimizer("rmsprop", learning_rate=0.1, clip_norm=1.0, clip_value=2.0, gate_turn=3)
    constants = (("clip_norm", 1.0), ("clip_value", 2.0))
    assert made.chain == Chain("rmsprop", "constant", 0, 0, 3, constants)
    assert made.without(["clip_norm"]) == Chain("rmsprop", "constant", 0, 0, 3, constants[1:])
    assert made.chain == dataclasses.replace(made, learning_rate=1.0).chain
