"""Grids: what cells take from the recipes of their units, which of them train together, and that this changes nothing."""

import csv
import dataclasses
import hashlib
import io
import itertools
import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from commands import called

from experiments import run as command_line
from experiments.faults import ConfigError
from experiments.running import experiment
from experiments.settings import build
from experiments.settings.config import config_at, override, split_overrides
from experiments.settings.grid import cells, groups
from experiments.settings.pages import CONFIGS, load
from nalu_jax.recipes import Optimizer, Penalty

QUICKSTART = str(CONFIGS / "quickstart.py")
STATIC = str(CONFIGS / "static_arithmetic.py")
SINGLE = str(CONFIGS / "single_unit.py")
STUDY = str(CONFIGS / "learning_rate_study.py")


def changed(page, *changes):
    """The config of a page after ``path=text`` changes."""
    config = load(page)
    override(config, split_overrides([f"--config.{change}" for change in changes])[0])
    return config


def grid_of(page, *changes):
    """The cells of a page after changes."""
    return list(cells(changed(page, *changes)))


def one(page, unit, operation, *changes):
    """The config of the one cell of a unit and an operation."""
    [cell] = [
        cell
        for cell in grid_of(page, f"grid.unit={unit}", f"grid.operation={operation}", *changes)
        if cell.axes.get("interpolation_range", (1.0, 2.0)) == (1.0, 2.0)
    ]
    return cell.config


def penalties_of(config):
    """The penalties of a cell."""
    task = build.task_of(config)
    return build.penalties_of(config, build.network_of(config, task), task)


def jobs_of(group):
    """The jobs of cells that train together."""
    return [build.build(cell, len(group)) for cell in group]


def refusal(page, *changes):
    """What is said about changes that cannot be."""
    with pytest.raises(ConfigError) as caught:
        for cell in grid_of(page, *changes):
            build.build(cell)
    return str(caught.value)


@pytest.fixture
def ordinary_promotion():
    """JAX's own promotion of ranks and types, under which experiments run."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


# What a cell takes from the recipe of its unit


@pytest.mark.parametrize(
    ("page", "unit", "operation", "expected"),
    [
        # Madsen & Johansen 2020, their table of hyperparameters.
        (STATIC, "nmu", "mul", {"sparsity": (10.0, 1_000_000, 2_000_000)}),
        (STATIC, "nau", "add", {"sparsity": (0.01, 5_000, 50_000)}),
        (STATIC, "nac_mul", "mul", {}),
        # Mistry, Farrahi & Hare 2022: ramps of the single module task for 2, and for 10 and 100 inputs.
        (SINGLE, "nmu", "mul", {"sparsity": (10.0, 20_000, 35_000)}),
        (f"{SINGLE}:10", "nmu", "mul", {"sparsity": (10.0, 50_000, 75_000)}),
        (f"{SINGLE}:100", "nau", "sub", {"sparsity": (0.01, 50_000, 75_000)}),
        (SINGLE, "nalu", "mul", {}),
    ],
)
def test_a_cell_has_the_penalties_that_its_unit_was_published_with_for_its_task(page, unit, operation, expected):
    found = penalties_of(one(page, unit, operation))
    assert found == {name: Penalty(*numbers) for name, numbers in expected.items()}


def test_a_cell_has_the_optimizer_and_the_restarts_of_its_unit():
    # Mistry, Farrahi & Hare 2022, iNALU: gradients clipped to ± 0.1, restarts checked every 10 steps; RealNPU: Adam, 5e-3.
    inalu, real_npu = one(SINGLE, "inalu", "mul"), one(SINGLE, "real_npu", "mul")
    assert (inalu.optimizer.name, inalu.optimizer.learning_rate, inalu.optimizer.clip_value) == ("adam", 1e-3, 0.1)
    assert (inalu.reinit.check_every, inalu.reinit.min_history, inalu.reinit.threshold) == (10, 5_000, 1.0)
    assert (real_npu.optimizer.learning_rate, real_npu.optimizer.clip_value, real_npu.reinit.check_every) == (5e-3, 0.0, 0)


def test_what_the_page_says_goes_before_the_recipe_and_the_rest_stays():
    # The quickstart says Adam at 1e-2; a RealNPU's recipe 5e-3, and its L1 penalty.
    cell = one(QUICKSTART, "real_npu", "mul")
    assert cell.optimizer.learning_rate == 1e-2
    assert set(cell.penalties) == {"l1"} and cell.penalties.l1.growth == 10.0


def test_what_the_command_line_says_goes_before_page_and_recipe_field_by_field():
    cell = one(QUICKSTART, "nmu", "mul", "optimizer.learning_rate=0.5", "penalties.sparsity.end=3e6", "reinit.threshold=7")
    assert (cell.optimizer.learning_rate, cell.optimizer.name) == (0.5, "adam")
    assert penalties_of(cell) == {"sparsity": Penalty(10.0, 1_000_000, 3_000_000)}
    assert (cell.reinit.threshold, cell.reinit.check_every) == (7.0, 0)


def test_a_penalty_can_be_switched_off_from_the_command_line():
    cell = one(STATIC, "nmu", "mul", "penalties.sparsity.weight=0")
    assert penalties_of(cell) == {"sparsity": Penalty(0.0, 1_000_000, 2_000_000)}
    assert type(cell.penalties.sparsity.weight) is float


def test_a_penalty_that_no_recipe_names_can_be_switched_on_if_the_unit_declares_it():
    # An ablation of Madsen & Johansen 2020: the NMU without its penalty.
    assert penalties_of(one(STATIC, "nmu_unregularised", "mul")) == {}
    cell = one(STATIC, "nmu_unregularised", "mul", "penalties.sparsity.weight=2")
    assert penalties_of(cell) == {"sparsity": Penalty(2.0)}


def test_a_recipe_does_not_change_the_page():
    config = load(STATIC)
    before = config.to_dict()
    assert [cell.config.penalties.to_dict() for cell in cells(config)]
    assert config.to_dict() == before


def test_what_a_cell_was_given_reaches_the_hyperparameters_of_its_job():
    changes = ("penalties.sparsity.weight=0.5", "penalties.sparsity.end=7e3", "optimizer.learning_rate=3e-2")
    [cell] = grid_of(QUICKSTART, "grid.unit=nau", "grid.operation=sub", *changes)
    job = build.build(cell)
    learning_rate, penalties, swept = job.problem().hyperparameters
    assert learning_rate == np.float32(3e-2) and swept == {}
    [(name, penalty)] = penalties.items()
    kinds = {field: (value.dtype.name, value.item()) for field, value in penalty.items()}
    assert name == "sparsity" and kinds == {
        "weight": ("float32", 0.5), "start": ("int32", 5_000), "end": ("int32", 7_000), "growth": ("float32", 1.0),
        "every": ("int32", 1), "times": ("int32", 0), "below": ("float32", 0.0),
    }  # fmt: skip


# What is refused


MISTAKES = [
    (["penalties.sparsty.weight=1"], "config.penalties.sparsty: nmu has no such penalty; it has r_z, sparsity"),
    (["grid.unit=nac", "penalties.sparsity.weight=1"], "config.penalties.sparsity: nac has no such penalty; it has r_z"),
    (["penalties.sparsity.wieght=1"], "config.penalties.sparsity.wieght: there is no such field"),
    (["penalties.sparsity=1"], "config.penalties.sparsity"),
    (["penalties.sparsity.weight=heavy"], "config.penalties.sparsity.weight must be a finite number, got 'heavy'"),
    (["penalties.sparsity.weight=-1"], "config.penalties.sparsity: weight must be a number of at least 0, got -1.0"),
    (["penalties.sparsity.start=2.5"], "config.penalties.sparsity.start must be a whole number, got '2.5'"),
    (["penalties.sparsity.start=3e6"], "config.penalties.sparsity: end must be at least start, which is 3000000"),
    (["optimizer.clip_norm=-1"], "config.optimizer: clip_norm must be a number of at least 0, got -1.0"),
    (["optimizer.gate_turn=10"], "config.optimizer: gate_turn must be a whole number from 0 to 9, got 10"),
    (["optimizer.gate_turn=1.5"], "config.optimizer.gate_turn must be a whole number, got '1.5'"),
    (["optimizer.name=adamw"], "config.optimizer: unknown optimizer 'adamw': did you mean 'adam'?"),
    (["grid.optimizer=sgd,adamw"], "config.optimizer: unknown optimizer 'adamw': did you mean 'adam'? Known: adam, "),
    (["grid.optimiser=adam"], "config.grid.optimiser: an axis is named after exactly one field: did you mean 'optimizer'?"),
    (["reinit.chek_every=10"], "config.reinit.chek_every: there is no such field: did you mean 'reinit.check_every'?"),
    (
        ["reinit.check_every=10", "reinit.min_history=999"],
        "config.reinit: min_history must be at least eval_every, which is 1000",
    ),
    (["reinit.check_every=x"], "config.reinit.check_every must be a whole number, got 'x'"),
    (["grid.sparsity_weight=0,x"], "config.grid.sparsity_weight must be a finite number, got 'x'"),
    (["grid.sparsity_weight=0,-1"], "config.penalties.sparsity: weight must be a number of at least 0, got -1.0"),
    (["grid.sparsity_wieght=0,1"], "config.grid.sparsity_wieght: an axis is named after exactly one field"),
    (["grid.sparsty_weight=0,1"], "config.penalties.sparsty: nmu has no such penalty"),
    (
        [
            f"grid.{axis}=0.{'1234567' * 3}"
            for axis in ("learning_rate", "clip_norm", "clip_value", "momentum", "decay", "eps")
        ]
        + [f"grid.sparsity_{axis}=0.{'1234567' * 3}" for axis in ("weight", "growth", "below")],
        "config.grid: a cell's name may have 255 letters, sweep fewer axes: ",
    ),
]


@pytest.mark.parametrize(("changes", "words"), MISTAKES, ids=[" ".join(changes) for changes, _ in MISTAKES])
def test_a_mistake_in_what_a_recipe_holds_is_answered_in_one_line_before_anything_is_compiled(
    changes, words, tmp_path, monkeypatch, capsys
):
    def never(*arguments, **options):
        raise AssertionError("it comes to training")

    monkeypatch.setattr(experiment.Experiment, "run", never)
    monkeypatch.setattr(build, "make_programs", never)
    changes = changes if any("grid.unit" in change for change in changes) else ["grid.unit=nmu", *changes]
    changes = [f"--config.{change}" for change in ("grid.operation=mul", *changes)]
    code = called(command_line, f"--config={STATIC}", f"--workdir={tmp_path / 'run'}", *changes)
    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    assert re.fullmatch(r"error: [^\n]+\n", said.err) and words in said.err
    assert list(tmp_path.iterdir()) == []


def test_a_penalty_without_a_weight_is_refused_with_what_is_missing():
    said = refusal(STATIC, "grid.unit=nmu_unregularised", "grid.operation=mul", "penalties.sparsity.start=5")
    assert said.startswith("config.penalties.sparsity: ") and "missing" in said and "'weight'" in said


# Axes


def test_the_weight_of_a_penalty_can_be_an_axis():
    grid = grid_of(STATIC, "grid.unit=nau,nmu", "grid.operation=mul", "grid.sparsity_weight=0,1,1e1")
    assert [cell.name for cell in grid] == [
        f"{unit}-mul-sparsity_weight={weight}" for unit in ("nau", "nmu") for weight in ("0.0", "1.0", "10.0")
    ]
    ramps = {"nau": (5_000, 50_000), "nmu": (1_000_000, 2_000_000)}  # the rest is that of each unit's recipe
    for cell in grid:
        expected = Penalty(cell.axes["sparsity_weight"], *ramps[cell.axes["unit"]])
        assert penalties_of(cell.config) == {"sparsity": expected}


@pytest.mark.parametrize(
    ("axis", "text", "path", "values"),
    [
        ("sparsity_start", "0,1e3", "penalties.sparsity.start", [0, 1000]),
        ("sparsity_growth", "1,2", "penalties.sparsity.growth", [1.0, 2.0]),
        ("learning_rate", "1e-3,1e-2", "optimizer.learning_rate", [1e-3, 1e-2]),
        ("optimizer", "sgd,momentum,adam", "optimizer.name", ["sgd", "momentum", "adam"]),
        ("clip_norm", "0,1", "optimizer.clip_norm", [0.0, 1.0]),
        ("gate_turn", "0,2", "optimizer.gate_turn", [0, 2]),
        ("min_history", "1000,2000", "reinit.min_history", [1000, 2000]),
    ],
)
def test_any_field_of_a_recipe_can_be_an_axis_though_the_page_says_nothing_of_it(axis, text, path, values):
    grid = grid_of(STATIC, "grid.unit=nmu", "grid.operation=mul", f"grid.{axis}={text}")
    found = [config_at(cell.config, path) for cell in grid]
    assert found == values and [type(value) for value in found] == [type(value) for value in values]
    for cell in grid:
        build.build(cell)


def test_a_field_of_a_unit_that_the_page_does_not_set_can_be_an_axis():
    # sNMU's noise U(lowest, highest).
    grid = grid_of(SINGLE, "grid.unit=snmu", "grid.operation=mul", "grid.interpolation_range=(1,2)", "grid.highest=2,5")
    assert [build.build(cell).network.layers[0].highest for cell in grid] == [2.0, 5.0]


def test_an_optimizer_of_the_grid_takes_the_place_of_the_recipes_and_leaves_the_rest_of_it():
    # iNALU as Mistry, Farrahi & Hare 2022 ran it: Adam, with gradients clipped to ± 0.1.
    grid = grid_of(SINGLE, "grid.unit=inalu", "grid.operation=mul", "grid.interpolation_range=(1,2)", "grid.optimizer=sgd")
    assert [(cell.name, Optimizer(**cell.config.optimizer)) for cell in grid] == [
        ("inalu-mul-interpolation_range=_1__2_-optimizer=sgd", Optimizer("sgd", 1e-3, clip_value=0.1))
    ]


# Cells whose unit cannot compute their operation


def test_skip_unsupported_leaves_out_the_cells_whose_unit_cannot_compute_the_operation():
    # By hand, from the formulas: sums, products, quotients; a NALU has both its paths.
    grid = grid_of(SINGLE, "grid.unit=nac,nau,nmu,nac_mul,real_npu,nalu,nmru", "grid.interpolation_range=(1,2)")
    assert [(cell.axes["unit"], cell.axes["operation"]) for cell in grid] == [
        ("nac", "add"), ("nac", "sub"), ("nau", "add"), ("nau", "sub"), ("nmu", "mul"), ("nac_mul", "mul"),
        ("nac_mul", "div"), ("real_npu", "mul"), ("real_npu", "div"), ("nalu", "add"), ("nalu", "sub"), ("nalu", "mul"),
        ("nalu", "div"), ("nmru", "mul"), ("nmru", "div"),
    ]  # fmt: skip
    assert all("skip_unsupported" not in cell.config for cell in grid)


def test_without_skip_unsupported_all_cells_are_there():
    changes = ("grid.unit=nac,nmu", "grid.interpolation_range=(1,2)")
    assert len(grid_of(SINGLE, "skip_unsupported=false", *changes)) == 2 * 4
    assert len(grid_of(STATIC, "grid.unit=nac,nmu")) == 2 * 6


def test_a_grid_that_skip_unsupported_leaves_empty_is_refused():
    said = refusal(SINGLE, "grid.unit=nmu,nmru", "grid.operation=add,sub")
    reason = "no unit of the grid can compute its operations (nmu computes mul; nmru computes mul, div)"
    assert said == f"config.skip_unsupported leaves no cell: {reason}"


# Grids of parts

SUM = str(CONFIGS / "mnist_sum.py")


def test_each_part_of_a_grid_is_a_product_of_its_own_in_the_order_of_the_page():
    found = [(cell.name, cell.axes) for cell in grid_of(SUM, "parts=lstm,units", "grid.units.unit=nac,nalu")]
    assert found == [
        ("lstm-readout=dense", {"cell": "lstm", "readout": "dense"}),
        ("lstm-readout=none", {"cell": "lstm", "readout": "none"}),
        ("nac-unit", {"unit": "nac", "cell": "unit"}),
        ("nalu-unit", {"unit": "nalu", "cell": "unit"}),
    ]


def test_an_axis_beside_the_parts_multiplies_all_of_them():
    found = [cell.name for cell in grid_of(SUM, "parts=exact,r_z", "grid.r_z.unit=nau", "grid.learning_rate=1e-3,1e-2")]
    assert found == [
        *(f"exact_sum-learning_rate={rate}" for rate in (0.001, 0.01)),
        *(f"nau-unit-learning_rate={rate}-r_z_weight=1.0" for rate in (0.001, 0.01)),
    ]


def test_a_cell_that_is_made_of_no_unit_has_the_default_recipe():
    [cell] = grid_of(SUM, "parts=exact")
    assert cell.config.penalties.to_dict() == {} and "name" not in cell.config.unit
    assert cell.config.optimizer.to_dict() == {**dataclasses.asdict(Optimizer()), "learning_rate": 2e-3}, "the page's rate"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["parts=exakt"], "config.parts: the grid has no part 'exakt'; it has "),
        (["grid.unit=nac"], "config.grid.unit: the grid has parts with this axis: set config.grid."),
        (["grid.units.unit=nac,nac"], "config.grid.units.unit has a value twice: nac, nac"),
        (["grid.exact.cell=exakt"], "config.network: unknown cell 'exakt': did you mean"),
        (
            ["parts=accumulators", "grid.accumulators.readout=dense"],
            "config.network: readout must be none, or one at the end, for the cell",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_parts_that_cannot_be_are_refused(changes, words):
    assert refusal(SUM, *changes).startswith(words)


def test_an_axis_may_be_a_field_of_the_task_that_the_page_does_not_set():
    config = load(QUICKSTART)
    del config.grid["operation"]
    override(config, [("grid.operation", "add,sub"), ("grid.unit", "nac")])
    assert [(cell.name, cell.config.task.operation) for cell in cells(config)] == [("nac-add", "add"), ("nac-sub", "sub")]


def test_a_field_of_the_task_that_the_page_does_not_set_takes_values_of_its_own_type():
    config = load(SUM)
    del config.task["threshold"]
    override(config, [("parts", "exact"), ("grid.threshold", "1,2")])
    found = [cell.config.task.threshold for cell in cells(config)]
    assert found == [1.0, 2.0] and {type(value) for value in found} == {float}
    with pytest.raises(ConfigError, match=r"config\.task\.threshold must be a finite number, got 'low'"):
        override(config, [("task.threshold", "low")])
    override(config, [("task.threshold", "3")])
    assert config.task.threshold == 3.0 and type(config.task.threshold) is float


# Groups


def together(page, *changes):
    """The names of the cells of a grid, by group."""
    config = changed(page, *changes)
    return [[cell.name for cell in group] for group in groups(config, list(cells(config)))]


def test_cells_that_differ_only_in_numbers_are_a_group_in_the_order_of_the_grid():
    found = together(QUICKSTART, "grid.unit=nac,nau", "grid.operation=add,sub", "grid.learning_rate=1e-3,1e-2")
    assert found == [
        [f"{unit}-{operation}-learning_rate={rate}" for rate in (0.001, 0.01)]
        for unit in ("nac", "nau")
        for operation in ("add", "sub")
    ]


@pytest.mark.parametrize(
    ("axis", "text", "sizes"),
    [
        ("learning_rate", "1e-3,1e-2,1e-1", [3]),
        ("interpolation_range", "(1,2),(0,1),(-3,5)", [3]),
        ("interpolation_range", "(1,2),((1,2),(3,4)),(0,1)", [2, 1]),  # two intervals are arrays of another shape
        ("extrapolation_range", "(2,6),(3,4)", [2]),
        ("sparsity_weight", "0,1,2", [3]),
        ("sparsity_start", "0,10", [2]),
        ("hidden_size", "2,3", [1, 1]),
        ("batch_size", "8,16", [1, 1]),
        ("generator", "threefry2x32,murmur", [1, 1]),
        ("input_size", "4,5", [1, 1]),
        ("optimizer", "adam,sgd", [1, 1]),
        ("clip_norm", "0,1", [1, 1]),
        ("min_history", "1000,2000", [1, 1]),
        ("beyond_training", "true,false", [1, 1]),
        ("operation", "add,mul", [1, 1]),
        ("unit", "nau,nmu", [1, 1]),
    ],
)
def test_what_changes_shapes_or_programs_does_not_train_together(axis, text, sizes):
    base = {"unit": "nau", "operation": "sub"}
    found = together(QUICKSTART, *(f"grid.{name}={value}" for name, value in (base | {axis: text}).items()))
    assert [len(group) for group in found] == sizes


def test_every_cell_is_in_one_group_and_groups_come_in_the_order_of_their_first_cells():
    changes = ("grid.unit=nau,nac", "grid.operation=sub", "grid.hidden_size=2,3", "grid.learning_rate=1e-3,1e-2")
    found, names = together(QUICKSTART, *changes), [cell.name for cell in grid_of(QUICKSTART, *changes)]
    assert sorted(itertools.chain(*found)) == sorted(names) and len(set(names)) == 8
    assert [group[0] for group in found] == sorted((group[0] for group in found), key=names.index)
    assert all(group == sorted(group, key=names.index) for group in found)


@pytest.mark.usefixtures("ordinary_promotion")
def test_the_published_ranges_of_the_single_unit_task_train_together_whatever_their_tests_ranges():
    # One of the nine has two intervals in its test; the fixed batches have one shape all the same.
    config = changed(SINGLE, "grid.unit=nau", "grid.operation=sub")
    [group] = groups(config, list(cells(config)))
    assert len(group) == 9
    _, problem = build.programs(jobs_of(group))
    assert problem.task.extrapolation.shape[0] == problem.task.threshold.shape[0] == 9
    assert problem.hyperparameters.learning_rate.shape == ()


# Programs


def programs_of(*changes, page=QUICKSTART, unit="nau"):
    """The programs of the one group of a grid."""
    config = changed(page, f"grid.unit={unit}", "grid.operation=sub", *changes)
    [group] = groups(config, list(cells(config)))
    return build.programs(jobs_of(group))[0]


def test_programs_are_shared_by_groups_that_differ_in_no_more_than_numbers():
    first = programs_of("grid.learning_rate=1e-3,1e-2")
    assert programs_of("grid.learning_rate=1e-1,3e-1") is first
    assert programs_of("grid.learning_rate=1e-1,3e-1", "penalties.sparsity.weight=7", "penalties.sparsity.start=1") is first
    assert programs_of("grid.learning_rate=1e-3,1e-2", "task.interpolation_range=-3,5", "num_steps=7") is first
    one_cell = programs_of()
    assert programs_of("optimizer.learning_rate=1", "task.extrapolation_range=7,9", "penalties.sparsity.below=3") is one_cell
    assert one_cell is not first


@pytest.mark.parametrize(
    "changes",
    [
        ["optimizer.name=sgd"],
        ["optimizer.clip_value=1"],
        ["learner.batch_size=7"],
        ["network.hidden_size=3"],
        ["reinit.check_every=10", "reinit.min_history=1000"],
    ],
    ids=" ".join,
)
def test_programs_are_not_shared_where_more_than_numbers_differs(changes):
    assert programs_of(*changes) is not programs_of()


def test_programs_are_not_shared_by_other_units_penalties_or_patterns_of_what_differs():
    assert programs_of(unit="nac") is not programs_of()
    # An option counts for the units that have it: a NAC draws its first weights by an initializer of choice, a NAU does not.
    assert programs_of("unit.initializer=glorot_uniform", unit="nac") is not programs_of(unit="nac")
    assert programs_of("unit.initializer=glorot_uniform") is programs_of()
    unregularised = {"page": STATIC, "unit": "nmu_unregularised"}
    assert programs_of(**unregularised) is not programs_of("penalties.sparsity.weight=1", **unregularised)
    rates, three = programs_of("grid.learning_rate=1e-3,1e-2"), programs_of("grid.learning_rate=1e-3,1e-2,1e-1")
    weights = programs_of("grid.sparsity_weight=1,2")
    assert len({id(programs) for programs in (rates, three, weights)}) == 3


def test_restarts_share_programs_only_for_the_same_task_and_schedule():
    rule = ("reinit.check_every=10", "reinit.min_history=1000")
    assert programs_of(*rule, "optimizer.learning_rate=1") is programs_of(*rule)
    assert programs_of(*rule, "num_steps=7000") is not programs_of(*rule)
    assert programs_of(*rule, "task.input_size=5") is not programs_of(*rule)


@pytest.mark.slow
@pytest.mark.usefixtures("ordinary_promotion")
def test_untrained_errors_of_many_cells_are_those_of_each():
    grid = grid_of(QUICKSTART, "grid.unit=nau", "grid.operation=sub", "grid.interpolation_range=(1,2),(-3,5)", "num_seeds=3")
    found = build.untrained_errors(jobs_of(grid))
    for cell, errors in zip(grid, found, strict=True):
        [expected] = build.untrained_errors([build.build(cell)])
        assert set(errors) == {"interpolation_mse", "extrapolation_mse"}
        for name, error in errors.items():  # two layouts: close
            assert error == pytest.approx(expected[name], rel=1e-5)
    assert found[0]["interpolation_mse"] != pytest.approx(found[1]["interpolation_mse"], rel=0.1)


# The study of the learning rate


@pytest.mark.parametrize(
    ("preset", "inputs", "steps", "rates"),
    [
        # Madsen & Johansen 2019: five rates, 25 seeds; the other preset has the rates between them too.
        ("paper", 100, 5_000_000, [1e-5, 1e-4, 1e-3, 1e-2, 1e-1]),
        ("simple", 4, 100_000, [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1]),
    ],
)
def test_all_rates_of_a_unit_an_operation_and_an_optimizer_of_the_study_train_together(preset, inputs, steps, rates):
    config = load(f"{STUDY}:{preset}")
    grid = list(cells(config))
    found = [[Optimizer(**cell.config.optimizer) for cell in group] for group in groups(config, grid)]
    names = ["adam", "sgd", "momentum"] * 12  # of three units and four operations
    assert found == [[Optimizer(name, rate) for rate in rates] for name in names]
    assert {(cell.config.task.input_size, cell.config.num_steps, cell.config.num_seeds) for cell in grid} == {
        (inputs, steps, 25)
    }


def test_the_simple_study_is_the_default_and_in_it_b_is_half_of_a():
    assert load(STUDY).to_dict() == load(f"{STUDY}:simple").to_dict()
    masks = build.task_of(next(cells(load(STUDY))).config).task.init(jax.random.key(0))
    np.testing.assert_array_equal(masks, [[1, 1], [1, 1], [1, 0], [1, 0]])


@pytest.mark.slow
def test_all_rates_of_all_operations_of_the_study_take_one_compilation(tmp_path, monkeypatch):
    # The batch size is this test's own: nobody else has compiled its programs.
    settings = {"num_seeds": 2, "num_steps": 6, "eval_every": 3, "learner.batch_size": 9}
    grid = {"grid.unit": "nac", "grid.optimizer": "momentum", "grid.operation": "add,mul"}
    monkeypatch.setitem(globals(), "SETTINGS", settings | grid)
    monkeypatch.setitem(globals(), "QUICKSTART", STUDY)
    assert run(tmp_path / "run") == 0
    assert len(folders(tmp_path / "run")) == 2 * 9 and (tmp_path / "run" / "rates.png").exists()
    config = changed(STUDY, *(f"{path}={value}" for path, value in (settings | grid).items()))
    first, second = (build.programs(jobs_of(group))[0] for group in groups(config, list(cells(config))))
    assert first is second and (first.start._cache_size(), first.chunk._cache_size()) == (1, 1)


def test_numbers_of_the_optimizer_are_swept_in_one_program():
    axes = {"eps": "1e-8,1e-3", "clip_norm": "0.5,1", "end_factor": "0.1,0.5", "momentum": "0.8,0.9", "decay": "0.99,0.999"}
    grid = [f"grid.{axis}={values}" for axis, values in axes.items()]
    changes = ["grid.unit=nau", "grid.operation=sub", "optimizer.schedule=cosine", *grid]
    config = changed(QUICKSTART, *changes)
    [group] = groups(config, list(cells(config)))
    jobs = jobs_of(group)
    assert len(jobs) == 32 and len({job.training for job in jobs}) == 1
    numbers = {tuple(float(value) for value in job.hyperparameters.optimizer.values()) for job in jobs}
    assert len(numbers) == 32 and set(jobs[0].hyperparameters.optimizer) == set(axes)
    assert jobs[0].training.optimizer.constants == ()


# A group that runs

STEPS, SEEDS = 300, 3
AXES = {
    "interpolation_range": ["(1.0,2.0)", "(-1.0,1.0)"],
    "learning_rate": ["0.001", "0.01"],
    "sparsity_weight": ["0.0", "0.5"],
}
SETTINGS = {"num_seeds": SEEDS, "num_steps": STEPS, "eval_every": 50, "grid.unit": "nau", "grid.operation": "sub"}
SETTINGS |= {"penalties.sparsity.start": 0, "penalties.sparsity.end": 100}


def run(folder, *changes, **axes):
    """The exit code of the command line in this process."""
    settings = SETTINGS | {f"grid.{axis}": values for axis, values in axes.items()}
    flags = [f"--config.{path}={value}" for path, value in settings.items()]
    return called(command_line, f"--config={QUICKSTART}", f"--workdir={folder}", *flags, *changes)


TABLE_ONLY = "--config.reports=summary"  # where pictures, which take longer than the training, are not what is asked


@pytest.fixture(scope="module")
def group_run(tmp_path_factory):
    """A run of eight cells in one program."""
    folder = tmp_path_factory.mktemp("group") / "run"
    assert run(folder, **{axis: ",".join(values) for axis, values in AXES.items()}) == 0
    return folder


def folders(folder):
    """The folders of the cells."""
    return sorted(path.parent for path in folder.glob("*/seeds.csv"))


def rows_of(folder):
    """The rows of a cell's metrics file."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def seeds_of(folder):
    """The rows of a cell's seeds.csv."""
    return list(csv.DictReader(io.StringIO((folder / "seeds.csv").read_text())))


@pytest.mark.slow
def test_a_group_has_one_checkpoint_in_the_folder_of_its_first_cell_which_knows_the_files_of_all(group_run):
    found = folders(group_run)
    assert len(found) == 8
    [manifest] = group_run.glob("*/checkpoints/*.json")
    first = "nau-sub-interpolation_range=_1.0__2.0_-learning_rate=0.001-sparsity_weight=0.0"
    assert manifest.parent.parent.name == first
    names = [cell.name for cell in grid_of(QUICKSTART, *(f"grid.{axis}={','.join(v)}" for axis, v in AXES.items()),
                                           "grid.unit=nau", "grid.operation=sub")]  # fmt: skip
    contents = [(group_run / name / "metrics.jsonl").read_bytes() for name in names]
    records = [[len(content), hashlib.sha256(content).hexdigest()] for content in contents]
    assert json.loads(manifest.read_text())["extra"] == {"records": records}


@pytest.mark.slow
def test_each_cell_of_a_group_has_the_results_that_it_has_alone(group_run, tmp_path):
    compared = 0
    for a in AXES["interpolation_range"]:
        for b, c in (("0.001", "0.5"), ("0.01", "0.0")):
            alone = tmp_path / f"run{compared}"
            assert run(alone, TABLE_ONLY, interpolation_range=a, learning_rate=b, sparsity_weight=c) == 0
            [cell] = folders(alone)
            together, by_itself = (rows_of(where / cell.name) for where in (group_run, alone))
            assert [row["step"] for row in together] == list(range(0, STEPS + 1, 50))
            for found, expected in zip(together, by_itself, strict=True):
                assert found.keys() == expected.keys()
                for name in ("interpolation_mse", "extrapolation_mse", "sparsity_error"):
                    for q in ("q25", "median", "q75"):
                        # Two layouts: close, to what three hundred steps of Adam make of a last digit.
                        assert found[name][q] == pytest.approx(expected[name][q], rel=1e-3, abs=1e-7)
            for found, expected in zip(*(seeds_of(where / cell.name) for where in (group_run, alone)), strict=True):
                assert {
                    name: found[name] for name in ("seed", "learning_rate", "sparsity_weight", "interpolation_range")
                } == {name: expected[name] for name in ("seed", "learning_rate", "sparsity_weight", "interpolation_range")}
                assert float(found["extrapolation_mse"]) == pytest.approx(
                    float(expected["extrapolation_mse"]), rel=1e-3, abs=1e-7
                )
            results = [json.loads((where / cell.name / "result.json").read_text()) for where in (group_run, alone)]
            assert results[0]["threshold"] == results[1]["threshold"]
            assert results[0]["untrained"] == pytest.approx(results[1]["untrained"], rel=1e-5)
            compared += 1
    assert compared == 4


@pytest.mark.slow
def test_the_cells_of_a_group_differ_as_their_numbers_do(group_run):
    finals = {path.name: rows_of(path)[-1]["interpolation_mse"]["median"] for path in folders(group_run)}
    assert len(set(finals.values())) == 8
    # The penalty draws the weights towards -1, 0 and 1 from the first steps on.
    for path in folders(group_run):
        if path.name.endswith("learning_rate=0.01-sparsity_weight=0.5"):
            free = path.with_name(path.name.replace("weight=0.5", "weight=0.0"))
            assert rows_of(path)[2]["sparsity_error"]["median"] < rows_of(free)[2]["sparsity_error"]["median"]


@pytest.mark.slow
@pytest.mark.parametrize("place", [0, 3, 7], ids=["first", "middle", "last"])
def test_a_cell_of_a_finished_group_that_lost_its_results_gets_the_same_bytes_back(group_run, place):
    lost = folders(group_run)[place]
    names = ("seeds.csv", "params.npz", "result.json", "metrics.jsonl")

    def contents():
        return {(path.name, name): (path / name).read_bytes() for path in folders(group_run) for name in names}

    before = contents()
    (lost / "seeds.csv").unlink()
    assert run(group_run, TABLE_ONLY, **{axis: ",".join(values) for axis, values in AXES.items()}) == 0
    assert contents() == before


@pytest.mark.slow
def test_a_grid_over_rates_and_ranges_has_the_pictures_of_both(group_run):
    assert all((group_run / f"{name}.png").stat().st_size > 10_000 for name in ("rates", "ranges", "curves"))


@pytest.mark.slow
def test_the_tables_have_a_row_for_each_cell_of_a_group(group_run):
    rows = list(csv.DictReader(io.StringIO(Path(group_run / "summary.csv").read_text())))
    assert len(rows) == 8
    assert {(row["learning_rate"], row["sparsity_weight"]) for row in rows} == {
        (rate, weight) for rate in ("0.001", "0.01") for weight in ("0", "0.5")
    }


# Generators


@pytest.mark.slow
def test_a_cell_trained_on_another_generator_is_solved_as_often_and_as_soon(tmp_path, monkeypatch):
    # The seeds start from the same parameters, and NAUs go to the same solution whatever the batches are.
    settings = {"num_seeds": 8, "num_steps": 8000, "eval_every": 500, "grid.unit": "nau", "grid.operation": "add"}
    settings |= {"optimizer.name": "adam", "optimizer.learning_rate": 1e-2, "task.input_size": 4}
    monkeypatch.setitem(globals(), "SETTINGS", settings)
    assert run(tmp_path / "run", TABLE_ONLY, generator="threefry2x32,murmur") == 0
    threefry, murmur = (seeds_of(tmp_path / "run" / f"nau-add-generator={name}") for name in ("threefry2x32", "murmur"))
    assert [row["solved"] for row in threefry] == [row["solved"] for row in murmur] == ["1"] * 8
    assert [row["interpolation_mse"] for row in threefry] != [row["interpolation_mse"] for row in murmur]
    solved_at = [np.array([float(row["solved_at"]) for row in rows]) for rows in (threefry, murmur)]
    # Within two evaluations of each other.
    assert np.abs(solved_at[0] - solved_at[1]).max() <= 1000
