"""Cells that differ only in numbers train together in one program, and this changes nothing."""

import csv
import hashlib
import io
import itertools
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from commands import called
from grids import QUICKSTART, SINGLE, STATIC, changed, grid_of

from experiments import run as command_line
from experiments.settings import build
from experiments.settings.grid import cells, groups
from experiments.settings.pages import CONFIGS, load
from nalu_jax.recipes import Optimizer

STUDY = str(CONFIGS / "learning_rate_study.py")


def jobs_of(group):
    """The jobs of cells that train together."""
    return [build.build(cell, len(group)) for cell in group]


@pytest.fixture
def ordinary_promotion():
    """JAX's own promotion of ranks and types, under which experiments run."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


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
