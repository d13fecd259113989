"""Grids: what cells take from the recipes of their units, which cells there are, and what is refused."""

import dataclasses
import re

import numpy as np
import pytest
from commands import called
from grids import QUICKSTART, SINGLE, STATIC, grid_of

from experiments import run as command_line
from experiments.faults import ConfigError
from experiments.running import experiment
from experiments.settings import build
from experiments.settings.config import config_at, override
from experiments.settings.grid import cells
from experiments.settings.pages import CONFIGS, load
from nalu_jax.recipes import Optimizer, Penalty


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


def refusal(page, *changes):
    """What is said about changes that cannot be."""
    with pytest.raises(ConfigError) as caught:
        for cell in grid_of(page, *changes):
            build.build(cell)
    return str(caught.value)


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
