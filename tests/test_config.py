"""Config pages, what the command line makes of them, and the grids that they span."""

import functools
import itertools
import re
import runpy
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from commands import called

from experiments import run
from experiments.faults import ConfigError
from experiments.settings import build
from experiments.settings.config import config_at, leaves, override, split_overrides
from experiments.settings.grid import cells
from experiments.settings.pages import CONFIGS, load, shipped
from nalu_jax.registry import UNITS
from nalu_jax.tasks.mnist_even_digits import MnistEvenDigits
from nalu_jax.tasks.recurrent_arithmetic import RecurrentArithmetic
from nalu_jax.tasks.static_arithmetic import StaticArithmetic


def presets(page):
    """A page by itself, and with each of its presets."""
    return [str(page), *(f"{page}:{preset}" for preset in runpy.run_path(str(page)).get("PRESETS", ()))]


ALL_PAGES = list(itertools.chain.from_iterable(presets(page) for page in sorted(CONFIGS.glob("*.py"))))
PAGES = list({str(load(page)): page for page in reversed(ALL_PAGES)}.values())[::-1]  # a page and its first preset are one
QUICKSTART = str(CONFIGS / "quickstart.py")
STATIC = str(CONFIGS / "static_arithmetic.py")
SINGLE = str(CONFIGS / "single_unit.py")


def in_a_part(page, axis):
    """Whether an axis is one of a part of the page's grid, so that it can be set there alone."""
    config = load(page)
    return any(axis in config.grid[part] for part in config.get("parts", ()))


ARITHMETIC = [page for page in PAGES if "interpolation_range" in load(page).task]
IMAGES = [page for page in PAGES if "mnist" in page]


def pages(slow):
    """A mark for tests of all pages, of which those for which ``slow`` is true are left out of the quick check."""
    marked = [pytest.param(page, marks=[pytest.mark.slow] if slow(page) else [], id=Path(page).name) for page in PAGES]
    return pytest.mark.parametrize("page", marked)


each_page = pages(lambda page: ":" in page)
QUICK = ("grid_world.py", "quickstart.py", "static_arithmetic.py")  # of pages, for what traces all their networks


def changed(page, *changes):
    """The config of a page after ``path=text`` changes."""
    config = load(page)
    override(config, split_overrides([f"--config.{change}" for change in changes])[0])
    return config


def refusal(page, *changes):
    """What is said about changes that cannot be, by the command line or by the constructors."""
    with pytest.raises(ConfigError) as caught:
        for cell in cells(changed(page, *changes)):
            build.build(cell)
    return str(caught.value)


@pytest.fixture
def ordinary_promotion():
    """JAX's own promotion of ranks and types, under which experiments run."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def product_of_axes(config):
    """How many combinations the axes of a grid, or of its parts, have; without those that a unit cannot compute."""
    if "parts" in config:
        beside = [len(values) for values in config.grid.values() if isinstance(values, tuple)]
        parts = [[len(values) for values in config.grid[part].values()] for part in config.parts]
        return sum(int(np.prod(part + beside)) for part in parts)
    axes = dict(config.grid.items())
    pairs = list(itertools.product(axes.pop("unit"), axes.pop("operation", ("",))))
    if config.get("skip_unsupported", False):
        pairs = [(unit, operation) for unit, operation in pairs if operation in UNITS[unit].operations]
    return len(pairs) * int(np.prod([len(values) for values in axes.values()]))


# Pages


def test_the_presets_of_the_papers_are_there():
    names = {Path(page).name for page in ALL_PAGES}
    assert {f"static_arithmetic.py:{preset}" for preset in ("madsen_johansen", "simple", "trask")} < names
    assert {f"single_unit.py:{preset}" for preset in ("2", "10", "100")} < names
    assert {f"learning_rate_study.py:{preset}" for preset in ("simple", "paper")} < names
    assert {f"mnist_{task}.py:{preset}" for task in ("counting", "addition") for preset in ("quick", "paper")} < names
    assert "quickstart.py" in names


@each_page
def test_every_page_builds_all_its_cells_and_stays_as_it_was(page):
    config = load(page)
    grid = list(cells(config))
    for cell in grid:
        build.build(cell)
    assert len(grid) == product_of_axes(config) > 0
    assert config.to_dict() == load(page).to_dict()


@functools.cache
def of_networks(page):
    """The cells of a page, one of those that differ in sizes and data alone, by the facts that tell them from others."""
    return {facts_of(cell.config): cell for cell in cells(load(page))}


def facts_of(config):
    """What trains a cell, but for sizes: its network as a whole; its reader, its optimizer, its penalties one by one."""
    names = {path: value for path, value in leaves(config) if isinstance(value, str)}
    network = [(path, name) for path, name in names.items() if path.startswith("network.") and "reader" not in path]
    others = {
        (path, name) for path, name in names.items() if path.startswith(("unit.", "network.reader", "learner", "optimizer"))
    }
    penalties = {("penalty", name) for name in config.penalties}
    return frozenset(others | penalties | {("network", config.task.name, names.get("unit.name"), *network)})


def new_networks(page):
    """The first cell of a page, and each that has a fact of its own: that no cell before it and no page before it has."""
    known = set().union(*(facts for earlier in PAGES[: PAGES.index(page)] for facts in of_networks(earlier)))
    for i, (facts, cell) in enumerate(of_networks(page).items()):
        if i == 0 or not facts <= known:
            yield cell
        known |= facts


def problem_of(job):
    """The shapes of a job's problem, or its arrays where they are made by NumPy."""
    try:
        return jax.eval_shape(job.problem)
    except jax.errors.TracerArrayConversionError:
        return job.problem()


def no_canvases(spec, images, seed):
    """What the fixed canvases of a page are by their shapes: to place digits takes seconds to compile."""
    return jnp.zeros((spec.canvas, spec.canvas, spec.num_canvases), jnp.uint8), jnp.zeros(spec.num_canvases, jnp.int32)


LITTLE = {"data": "embedded", "num_canvases": 10, "num_sequences": 10, "num_programs": 10, "lengths": (2, 3)}


@pages(lambda page: not page.endswith(QUICK))
@pytest.mark.usefixtures("ordinary_promotion")
def test_every_unit_of_every_page_can_start_and_take_a_step(page, monkeypatch):
    """By shapes alone; thresholds, which take a simulation, are left out, and so is most of the data.

    Networks that differ from those of an earlier page in sizes alone are left out but for one.
    """
    for spec in (StaticArithmetic, RecurrentArithmetic):
        monkeypatch.setattr(spec, "threshold", 1.0)
    monkeypatch.setattr(MnistEvenDigits, "fixed_canvases", no_canvases)
    for cell in new_networks(page):
        config = cell.config.copy_and_resolve_references()
        config.task.update({field: little for field, little in LITTLE.items() if field in config.task})
        job = build.build(cell._replace(config=config))
        problem, learner = problem_of(job), build.make_learner(job.training)
        state = jax.eval_shape(learner.init, jax.ShapeDtypeStruct((), np.uint32), problem)
        stepped, _ = jax.eval_shape(learner.step, state, problem)
        evaluation = jax.eval_shape(learner.evaluate, state, problem)
        observed = jax.eval_shape(learner.observe, stepped, evaluation)
        shapes = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), found) for found in (state, stepped, observed)]
        assert shapes[0] == shapes[1] == shapes[2]
        assert evaluation.score.shape == evaluation.solved.shape == ()
        assert set(job.task.columns) <= set(evaluation.metrics)


@each_page
def test_every_page_says_a_command_that_runs_it(page):
    path = Path(page.partition(":")[0])
    commands = re.findall(r"^Command: +python -m experiments\.run --config=(\S+)", path.read_text(), re.M)
    assert commands
    for command in commands:
        assert command.partition(":")[0] == f"configs/{path.name}"
        assert load(str(CONFIGS.parent / command)).grid


def test_every_page_is_listed_with_the_first_line_of_its_docstring():
    pages = shipped()
    assert list(pages) == [f"configs/{path.name}" for path in sorted(CONFIGS.glob("*.py"))]
    for page, said in pages.items():
        assert said.line and (CONFIGS.parent / page).read_text().startswith(f'"""{said.line}')
        assert said.time and all(load(f"{page}:{preset}") for preset in said.presets)


# Changing fields


@each_page
def test_every_field_takes_its_own_value_back_with_its_type(page):
    for path, value in leaves(load(page)):
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        found = config_at(changed(page, f"{path}={text}"), path)
        assert (found, type(found)) == (value, type(value))
        if isinstance(value, tuple):
            assert [type(part) for part in found] == [type(part) for part in value]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("num_steps=1e3", 1000),
        ("num_steps=2.5e2", 250),
        ("first_seed=0", 0),
        ("first_seed=9007199254740993", 2**53 + 1),  # a float would lose the last digit
        ("optimizer.learning_rate=1", 1.0),
        ("optimizer.learning_rate=5e-4", 0.0005),
        ("unit.initializer=glorot_uniform", "glorot_uniform"),
        ("task.beyond_training=True", True),
        ("task.beyond_training=false", False),
        ("task.interpolation_range=-1,1", (-1.0, 1.0)),
        ("task.interpolation_range=(-1.5,1)", (-1.5, 1)),
        ("task.interpolation_range=(-2,-1),(1,2)", ((-2, -1), (1, 2))),
        ("task.interpolation_range=(-2,-1), (1,2), (4.5,5.5)", ((-2, -1), (1, 2), (4.5, 5.5))),
    ],
)
def test_a_field_becomes_what_is_given(change, expected):
    path = change.partition("=")[0]
    found = config_at(changed(QUICKSTART, change), path)
    assert (found, type(found)) == (expected, type(expected))


def test_a_value_may_follow_its_field_as_an_argument_of_its_own():
    overrides, others = split_overrides(["--config.num_seeds", "7", "--fresh", "-config.num_steps=9", "x"])
    assert overrides == [("num_seeds", "7"), ("num_steps", "9")]
    assert others == ["--fresh", "x"]


def test_the_same_value_given_twice_is_no_contradiction():
    assert changed(QUICKSTART, "num_seeds=3", "num_seeds=3").num_seeds == 3


@pytest.mark.parametrize(
    ("text", "low", "high", "intervals"), [("0,0.5", 0, 0.5, 1), ("(-2,-1),(1,2)", -2, 2, 2), ("[0,1],[1,2]", 0, 2, 2)]
)
def test_a_range_or_a_union_of_ranges_reaches_the_task(text, low, high, intervals):
    cell = next(cells(changed(QUICKSTART, f"task.extrapolation_range={text}")))
    found = build.task_of(cell.config).extrapolation_range
    assert (found.low, found.high, len(found.intervals)) == (low, high, intervals)


def test_numbers_of_the_command_line_reach_the_schedule():
    cell = next(cells(changed(QUICKSTART, "num_seeds=3", "first_seed=5", "num_steps=1e2", "eval_every=10")))
    schedule = build.build(cell).schedule
    assert (list(schedule.seeds), schedule.num_steps, schedule.eval_every) == ([5, 6, 7], 100, 10)


@pytest.mark.parametrize("text", ["nac,nalu", "nac, nalu", "(nac,nalu)", "nac,nalu,", "('nac', 'nalu')", '["nac", "nalu"]'])
def test_an_axis_is_a_list_of_names(text):
    assert changed(QUICKSTART, f"grid.unit={text}").grid.unit == ("nac", "nalu")


@pytest.mark.parametrize("text", ["'nac", "nac'", "'nac\""])
def test_a_quote_without_another_is_part_of_a_name(text):
    assert f"unknown unit {text!r}" in refusal(QUICKSTART, f"grid.unit={text}")


def test_an_empty_name_between_quotes_is_a_value():
    assert changed(QUICKSTART, "grid.unit='',nac").grid.unit == ("", "nac")


def test_an_axis_of_one_value_is_a_list_all_the_same():
    assert changed(QUICKSTART, "grid.operation=mul").grid.operation == ("mul",)


@pytest.mark.parametrize(
    ("axis", "path", "text", "values"),
    [
        ("learning_rate", "optimizer.learning_rate", "1e-3,1e-2", (1e-3, 1e-2)),
        ("hidden_size", "network.hidden_size", "2,3,1e1", (2, 3, 10)),
        ("batch_size", "learner.batch_size", "16,64", (16, 64)),
        ("initializer", "unit.initializer", "glorot_uniform,madsen_johansen", ("glorot_uniform", "madsen_johansen")),
        ("beyond_training", "task.beyond_training", "true,false", (True, False)),
        ("interpolation_range", "task.interpolation_range", "(0,1),(1,2)", ((0, 1), (1, 2))),
    ],
)
def test_any_field_can_become_an_axis_of_the_grid(axis, path, text, values):
    config = changed(QUICKSTART, f"grid.{axis}={text}")
    grid = list(cells(config))
    assert len(grid) == len(values) * product_of_axes(load(QUICKSTART))
    for cell in grid:
        build.build(cell)
        assert config_at(cell.config, path) == cell.axes[axis]
    assert tuple(dict.fromkeys(cell.axes[axis] for cell in grid)) == values
    assert [type(cell.axes[axis]) for cell in grid[: len(values)]] == [type(value) for value in values]


# Grids


def test_cells_come_in_the_order_of_units_then_operations_then_other_axes_by_name():
    config = load(QUICKSTART)
    del config.grid
    # The order of the axes on the page must not count.
    config.grid = {"learning_rate": (0.1, 0.2), "operation": ("mul", "add"), "batch_size": (8, 4), "unit": ("relu", "nac")}
    found = [tuple(cell.axes.values()) for cell in cells(config)]
    assert found == list(itertools.product(("relu", "nac"), ("mul", "add"), (8, 4), (0.1, 0.2)))
    assert list(next(cells(config)).axes) == ["unit", "operation", "batch_size", "learning_rate"]


def test_a_cell_has_its_values_in_its_config_and_no_grid():
    for cell in cells(changed(QUICKSTART, "grid.unit=nac,relu", "grid.operation=sub,div")):
        assert (cell.config.unit.name, cell.config.task.operation) == tuple(cell.axes.values())
        assert "grid" not in cell.config


def test_a_folder_is_named_after_its_unit_its_operation_and_the_other_axes():
    names = [
        cell.name for cell in cells(changed(QUICKSTART, "grid.unit=nac_mul", "grid.operation=sub", "grid.hidden_size=2,3"))
    ]
    assert names == ["nac_mul-sub-hidden_size=2", "nac_mul-sub-hidden_size=3"]


def test_the_one_cell_of_a_grid_without_axes_has_a_name():
    config = load(QUICKSTART)
    config.unit.name = "nac"
    config.grid = {}
    assert [(cell.axes, cell.name) for cell in cells(config)] == [({}, "cell")]


SWEPT = ["num_seeds=1", "grid.learning_rate=1e-3,1e-20,10"]
RANGES = "grid.interpolation_range=(0,1),(-1,0),((1,2),(3,4))"


@pytest.mark.parametrize(
    ("page", "change"),
    [
        (page, change)
        for page, change in [*itertools.product(PAGES, SWEPT), *((page, RANGES) for page in ARITHMETIC)]
        if not in_a_part(page, change.removeprefix("grid.").partition("=")[0])
    ],
    ids=str,
)
def test_the_folders_of_a_grid_have_safe_names_of_their_own(page, change):
    names = [cell.name for cell in cells(changed(page, change))]
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._=-]{0,149}", name) for name in names)
    assert len({name.casefold() for name in names}) == len(names)


# What is refused, and what is said then


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("num_seeds=four", "config.num_seeds must be a whole number, got 'four'"),
        ("num_seeds=", "config.num_seeds must be a whole number, got ''"),
        ("num_steps=1.5", "config.num_steps must be a whole number, got '1.5'"),
        ("num_steps=inf", "config.num_steps must be a whole number, got 'inf'"),
        ("optimizer.learning_rate=nan", "config.optimizer.learning_rate must be a finite number, got 'nan'"),
        ("optimizer.learning_rate=1e999", "config.optimizer.learning_rate must be a finite number, got '1e999'"),
        ("optimizer.learning_rate=1,2", "config.optimizer.learning_rate must be a finite number, got '1,2'"),
        ("task.beyond_training=1", "config.task.beyond_training must be true or false, got '1'"),
        ("task.interpolation_range=a,b", "config.task.interpolation_range must be a finite number, got 'a'"),
        ("task.interpolation_range=(1,2", "config.task.interpolation_range must be numbers, such as 1,2 or (1,2),(3,4)"),
        ("task.interpolation_range=(1,two)", "config.task.interpolation_range must be numbers, such as 1,2 or (1,2),(3,4)"),
        ("grid.unit=", "config.grid.unit must be a list of names, got ''"),
        ("grid.hidden_size=2,2.5", "config.grid.hidden_size must be a whole number, got '2.5'"),
        ("grid.learning_rate=", "config.grid.learning_rate must be a list of values, got ()"),
        ("grid.unit=nac,nalu,nac", "config.grid.unit has a value twice: nac, nalu, nac"),
        ("grid.learning_rate=1e-3,0.001", "config.grid.learning_rate has a value twice: 0.001, 0.001"),
        ("num_sedes=3", "config.num_sedes: there is no such field: did you mean 'num_seeds'?"),
        ("optimizer.learning_rat=1", "did you mean 'optimizer.learning_rate'?"),
        ("optimiser.learning_rate=1", "there is no section 'optimiser': did you mean 'optimizer'?"),
        ("num_seeds.x=1", "config.num_seeds.x: there is no section 'num_seeds'"),
        ("unit=nac", "config.unit is a section"),
        ("grid=nac", "config.grid is a section"),
        ("grid.learning_rat=1", "config.grid.learning_rat: an axis is named after exactly one field"),
        ("grid.name=nac", "config.grid.name: an axis is named after exactly one field"),  # three sections have a name
    ],
)
def test_text_that_is_no_value_of_its_field_is_refused_in_a_sentence(change, words):
    assert words in refusal(QUICKSTART, change)


def test_a_section_that_is_set_as_a_field_is_answered_with_its_fields():
    assert {"initializer", "epsilon"} <= set(re.findall(r"\w+", refusal(QUICKSTART, "unit=nac").partition("set one of")[2]))


def test_two_values_for_one_field_are_refused_with_both():
    said = refusal(QUICKSTART, "num_seeds=3", "num_steps=9", "num_seeds=4")
    assert said == "config.num_seeds is given twice, as '3' and as '4'"


def test_the_first_bad_cell_of_a_grid_refuses_the_whole():
    assert "got -1.0" in refusal(QUICKSTART, "grid.learning_rate=1e-3,-1")


# --show_config


def shown_by_the_command_line(capsys, page, *changes, comments=False):
    """What --show_config prints: a line a field of the page, or the comments on what is left to recipes."""
    assert called(run, f"--config={page}", "--show_config", *changes) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return [line for line in out.splitlines() if line.startswith("#") is comments]


MANY_CHANGES = [
    "--config.num_steps=1e3",
    "--config.optimizer.learning_rate=3e-4",
    "--config.optimizer.name=rmsprop",
    "--config.task.interpolation_range=(-2,-1),(1,2)",
    "--config.task.extrapolation_range=-6,6.5",
    "--config.grid.unit=nau",
    "--config.grid.operation=mul,add",
    "--config.grid.batch_size=16,32",
    "--config.penalties.sparsity.weight=0.5",
    "--config.penalties.sparsity.end=7e3",
    "--config.reinit.check_every=20",
    "--config.grid.sparsity_start=0,10",
    "--config.grid.clip_norm=0,1",
]
# Fields that the page of single units does not have, or has twice.
MORE_CHANGES = [
    "--config.task.beyond_training=true",
    "--config.grid.epsilon=1e-7,1e-5",
    "--config.grid.hidden_size=2,3",
    "--config.grid.beyond_training=true,false",
]


# Fields of the pages of images.
IMAGE_CHANGES = [
    "--config.network.reader.dropout=0.25",
    "--config.task.data=fashion_mnist",
    "--config.grid.data=embedded,mnist",
    "--config.grid.batch_size=16,32",
    "--config.penalties.sparsity.weight=0.5",
]


def changes_for(page):
    """Changes of many kinds that a page takes."""
    if "learning_rate_study" in page:  # without nine rates of each cell
        return [*MANY_CHANGES, *MORE_CHANGES, "--config.grid.learning_rate=1e-3,1e-2"]
    if page in IMAGES:
        if "even" in page:
            return [*(change for change in IMAGE_CHANGES if "dropout" not in change), "--config.grid.unit=nau,linear"]
        part = "units" if "nac" not in load(page).grid else "nac"
        return [*IMAGE_CHANGES, f"--config.grid.{part}.unit=nau,nalu", f"--config.parts={part}"]
    if "identity" in page:  # without ranges of real numbers, and without operations
        return [change for change in MANY_CHANGES if not re.search(r"range|operation", change)]
    if "parts" in load(page):  # whose axes are those of a part
        return [
            change
            for change in MANY_CHANGES
            if not re.search(r"range|operation|grid.unit", change)
            and not in_a_part(page, change.removeprefix("--config.grid.").partition("=")[0])
        ]
    return MANY_CHANGES if "single_unit" in page else MANY_CHANGES + MORE_CHANGES


@each_page
@pytest.mark.parametrize("many", [False, True], ids=["as_it_is", "with_many_changes"])
def test_what_show_config_prints_gives_the_same_config_back(capsys, page, many):
    changes = changes_for(page) if many else []
    lines = shown_by_the_command_line(capsys, page, *changes)
    assert shown_by_the_command_line(capsys, page, *lines) == lines
    wanted = changed(page, *(change.removeprefix("--config.") for change in changes))
    found = changed(page, *(line.removeprefix("--config.") for line in lines))
    assert found.to_dict() == wanted.to_dict()
    assert [type(value) for _, value in leaves(found)] == [type(value) for _, value in leaves(wanted)]


def test_show_config_prints_every_field_once_and_each_as_a_flag(capsys):
    lines = shown_by_the_command_line(capsys, QUICKSTART, "--config.num_seeds=7")
    assert sorted(line.partition("=")[0] for line in lines) == sorted(
        f"--config.{path}" for path, _ in leaves(load(QUICKSTART))
    )
    assert "--config.num_seeds=7" in lines and "--config.grid.operation=add,sub,mul,div" in lines


def test_show_config_tells_what_is_left_to_the_recipes_by_unit_and_operation(capsys):
    # Madsen & Johansen 2020: λ 10 from 1e6 to 2e6 steps for the NMU, 0.01 from 5e3 to 5e4 for the NAU, none for the NALU.
    changes = ("--config.grid.unit=nmu,nau,nalu", "--config.grid.operation=mul", "--config.optimizer.learning_rate=0.5")
    nmu, nau, nalu = shown_by_the_command_line(capsys, STATIC, *changes, comments=True)
    assert nmu.startswith("# nmu mul: ") and nau.startswith("# nau mul: ") and nalu.startswith("# nalu mul: ")
    assert "--config.penalties.sparsity.weight=10.0" in nmu and "--config.penalties.sparsity.end=2000000" in nmu
    assert "--config.penalties.sparsity.weight=0.01" in nau and "--config.penalties.sparsity.start=5000" in nau
    assert "penalties" not in nalu
    assert all("--config.optimizer.name=adam" in line and "learning_rate" not in line for line in (nmu, nau, nalu))


def test_what_show_config_tells_of_the_recipes_can_be_given_as_flags_and_changes_nothing(capsys):
    changes = ("--config.grid.unit=inalu", "--config.grid.operation=mul", "--config.grid.interpolation_range=(1.0,2.0)")
    [told] = shown_by_the_command_line(capsys, SINGLE, *changes, comments=True)
    given = [part for part in told.split(" ") if part.startswith("--config.")]
    assert {"--config.optimizer.clip_value=0.1", "--config.reinit.min_history=5000"} <= set(given)
    assert shown_by_the_command_line(capsys, SINGLE, *changes, *given, comments=True) == []
    [plain], [spelt] = (
        [cell.config.to_dict() for cell in cells(changed(SINGLE, *(change.removeprefix("--config.") for change in flags)))]
        for flags in (changes, (*changes, *given))
    )
    assert spelt == plain


# Pages that cannot be loaded


def page_of(tmp_path, text):
    """A page with a text of its own."""
    path = tmp_path / "page.py"
    path.write_text(text)
    return str(path)


def load_failure(page):
    """What is said of a page that cannot be loaded."""
    with pytest.raises(ConfigError) as caught:
        load(page)
    return str(caught.value)


def test_a_page_that_does_not_exist_is_answered_with_those_that_are_shipped(tmp_path):
    said = load_failure(str(tmp_path / "nope.py"))
    assert "nope.py" in said and "configs/quickstart.py" in said and "configs/static_arithmetic.py" in said


def test_a_folder_is_no_page(tmp_path):
    assert "there is no file" in load_failure(str(tmp_path))


def test_a_file_that_is_not_python_is_no_page(tmp_path):
    (tmp_path / "page.yaml").write_text("num_seeds: 3")
    assert "page.yaml' is not a Python file" in load_failure(str(tmp_path / "page.yaml"))


def test_a_syntax_error_is_named_with_its_file_and_line(tmp_path):
    page = page_of(tmp_path, "import math\n\n\ndef get_config(:\n    return None\n")
    assert f"{page}, line 4: SyntaxError" in load_failure(page)


def test_a_page_that_fails_while_it_is_read_is_named_with_its_line(tmp_path):
    page = page_of(tmp_path, "import math\nratio = 1 / 0\n\ndef get_config():\n    return None\n")
    assert f"{page}, line 2: ZeroDivisionError" in load_failure(page)


def test_a_page_that_imports_what_is_not_there_is_named_with_its_line(tmp_path):
    page = page_of(tmp_path, "\n\nimport no_such_module_of_anybody\n")
    said = load_failure(page)
    assert f"{page}, line 3: ModuleNotFoundError" in said and "no_such_module_of_anybody" in said


def test_a_page_without_get_config_is_refused(tmp_path):
    assert "has no function get_config" in load_failure(page_of(tmp_path, "config = {}\n"))


def test_an_unknown_preset_is_answered_with_the_known_ones():
    said = load_failure(f"{STATIC}:traks")
    assert "'traks'" in said and all(preset in said for preset in ("madsen_johansen", "simple", "trask"))


def test_a_preset_for_a_page_without_presets_is_refused():
    assert "has no presets, got 'simple'" in load_failure(f"{QUICKSTART}:simple")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return None", "must return a ConfigDict, got None"),
        ("return {}", "must return a ConfigDict, got {}"),
        ("return ConfigDict({'grid': {}})", "lacks num_seeds, first_seed, num_steps"),
        ("return ConfigDict().absent", "line 3: AttributeError"),
    ],
)
def test_a_page_whose_get_config_gives_no_experiment_is_refused_in_a_sentence(tmp_path, body, said):
    page = tmp_path / "page.py"
    page.write_text(f"from ml_collections import ConfigDict\ndef get_config():\n    {body}\n")
    with pytest.raises(ConfigError) as refused:
        load(str(page))
    assert said in str(refused.value) and str(page) in str(refused.value)


@pytest.mark.parametrize("text", ["(1,2),(2,3)", "(1,2)"])
def test_an_axis_of_ranges_takes_ranges_in_parentheses(text):
    config = load(str(CONFIGS / "quickstart.py"))
    override(config, [("grid.interpolation_range", text)])
    assert [cell.config.task.interpolation_range for cell in cells(config)][:2] == (
        [(1, 2), (2, 3)] if "3" in text else [(1, 2)] * 2
    )
