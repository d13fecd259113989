"""The command line: what it shows, and what it says to mistakes before anything is compiled or written."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from commands import Said, called

import nalu_jax
from experiments import run
from experiments.running import experiment
from experiments.settings.pages import CONFIGS, shipped

ROOT = CONFIGS.parent
RUN = [sys.executable, "-m", "experiments.run"]
QUICKSTART = f"--config={CONFIGS / 'quickstart.py'}"
STATIC = f"--config={CONFIGS / 'static_arithmetic.py'}"


class Training(Exception):
    """Raised in the place of training: the command line had nothing to say against the command."""


@pytest.fixture
def command(monkeypatch, capsys):
    """The command line as a function of its arguments, as a process of its own would see them; it never trains."""

    def train(*arguments):
        raise Training

    def call(*arguments):
        return Said(called(run, *arguments), *capsys.readouterr())

    monkeypatch.setattr(experiment.Experiment, "run", train)
    return call


def process(*arguments, **options):
    """The command line in a process of its own."""
    environment = os.environ | options.pop("env", {})
    return subprocess.run(
        [*options.pop("before", ()), *RUN, *map(str, arguments)],
        cwd=ROOT, env=environment, text=True, stderr=subprocess.PIPE, timeout=60, **{"stdout": subprocess.PIPE} | options,
    )  # fmt: skip


def assert_one_line_of_error(err, *words):
    """One line that starts with "error:" and holds all the words."""
    assert re.fullmatch(r"error: [^\n]+\n", err), err
    for word in words:
        assert word in err


# Mistakes

UNITS = ("nac", "nac_mul", "nalu", "linear", "relu6")
MISTAKES = [
    # fields
    ("--config.num_sedes=4", "config.num_sedes", "did you mean 'num_seeds'?"),
    ("--config.nmu_steps 4", "config.nmu_steps", "did you mean 'num_steps'?"),
    ("--config.optimizer.learning_rat=1e-3", "config.optimizer.learning_rat", "did you mean 'optimizer.learning_rate'?"),
    ("--config.optimzer.learning_rate=1", "'optimzer'", "did you mean 'optimizer'?"),
    ("--config.task.operation=mul", "config.task.operation", "did you mean 'grid.operation'?"),
    ("--config.num_seeds.first=1", "config.num_seeds.first", "no section 'num_seeds'"),
    ("--config.optimizer=adam", "config.optimizer is a section", "learning_rate", "name"),
    ("--config.grid=nac", "config.grid is a section", "unit", "operation"),
    ("--config.num_seeds=4 --config.num_seeds=5", "config.num_seeds", "twice", "'4'", "'5'"),
    # types
    ("--config.num_seeds=four", "config.num_seeds", "whole number", "'four'"),
    ("--config.num_steps=1.5", "config.num_steps", "whole number", "'1.5'"),
    ("--config.num_steps=nan", "config.num_steps", "whole number", "'nan'"),
    ("--config.num_steps=", "config.num_steps", "whole number", "''"),
    ("--config.optimizer.learning_rate=nan", "config.optimizer.learning_rate", "finite number", "'nan'"),
    ("--config.optimizer.learning_rate=inf", "config.optimizer.learning_rate", "finite number", "'inf'"),
    ("--config.optimizer.learning_rate=fast", "config.optimizer.learning_rate", "finite number", "'fast'"),
    ("--config.task.beyond_training=maybe", "config.task.beyond_training", "true or false", "'maybe'"),
    ("--config.task.interpolation_range=one,two", "config.task.interpolation_range", "finite number", "'one'"),
    ("--config.task.interpolation_range=(1,2", "config.task.interpolation_range", "'(1,2'", "such as 1,2 or (1,2),(3,4)"),
    # numbers
    ("--config.num_seeds=-3", "num_seeds", "positive", "-3"),
    ("--config.num_seeds=0", "num_seeds", "positive", "got 0"),
    ("--config.num_steps=0", "num_steps", "positive", "got 0"),
    ("--config.num_steps=-1e3", "num_steps", "positive", "-1000"),
    ("--config.num_steps=3e9", "num_steps", "below 2", "3000000000"),
    ("--config.eval_every=0", "eval_every", "positive", "got 0"),
    ("--config.first_seed=-1", "first_seed", "[0, ", "-1"),
    ("--config.first_seed=4294967295", "first_seed", "[0, ", "4294967295"),
    ("--config.learner.batch_size=0", "batch_size", "positive", "got 0"),
    ("--config.network.hidden_size=0", "hidden_size", "positive", "got 0"),
    ("--config.unit.epsilon=0", "epsilon", "between 0 and 1", "got 0.0"),
    ("--config.unit.epsilon=-1e-7", "epsilon", "between 0 and 1", "-1e-07"),
    ("--config.optimizer.learning_rate=-1", "learning_rate", "positive", "-1.0"),
    ("--config.optimizer.learning_rate=0", "learning_rate", "positive", "got 0.0"),
    # ranges and subsets
    ("--config.task.interpolation_range=1,1", "config.task", "from a lower to a higher number", "1,1"),
    ("--config.task.extrapolation_range=6,2", "config.task", "from a lower to a higher number", "6,2"),
    ("--config.task.extrapolation_range=(1,2),(4,3)", "config.task", "from a lower to a higher number", "4,3"),
    ("--config.task.extrapolation_range=(1,2),(3,5)", "config.task", "equal width", "((1, 2), (3, 5))"),
    ("--config.task.interpolation_range=1,2,3", "config.task", "'low,high'", "(1.0, 2.0, 3.0)"),
    ("--config.task.interpolation_range=-2,-1 --config.grid.operation=root", "config.task", "'root'", "negative", "-2"),
    ("--config.task.interpolation_range=-2,2 --config.task.beyond_training=true", "beyond_training", "negative", "-2"),
    ("--config.task.input_size=0", "input_size", "positive", "got 0"),
    ("--config.task.input_size=1", "input_size", "at least 2", "got 1"),
    (f"{STATIC} --config.task.subsets.subset_ratio=0.9", "subset_ratio", "135 inputs", "input_size is 100"),
    (f"{STATIC} --config.task.subsets.subset_ratio=1.1", "subset_ratio", "(0, 1]", "1.1"),
    (f"{STATIC} --config.task.subsets.overlap_ratio=-0.1", "overlap_ratio", "[0, 1]", "-0.1"),
    (f"{STATIC} --config.task.input_size=3", "subset_ratio 0.25 of 3 inputs", "empty"),
    (f"{STATIC}:trask --config.task.input_size=29", "up to 15 inputs need 30", "input_size is 29"),
    (f"{STATIC}:trask --config.task.subsets.smallest=16", "1 ≤ smallest ≤ largest", "16 and 15"),
    ("--config.task.extrapolation_range=(1,3),(2,4)", "extrapolation_range", "not overlap", "((1, 3), (2, 4))"),
    ("--config.task.interpolation_range=1,1.000000001", "interpolation_range", "different in float32", "1.000000001"),
    ("--config.task.interpolation_range=({[]:1})", "config.task.interpolation_range", "such as 1,2", "'({[]:1})'"),
    ("--config.grid.interpolation_range=1,2", "config.grid.interpolation_range", "list of ranges", "'1,2'"),
    (f"{STATIC}:trask --config.task.extrapolation_range=0,0.55", "beyond_training", "[0, 0.55]", "[0, 0.5]"),
    ("--config.num_seeds=1e12", "num_seeds must be below", "1000000000000"),
    # names
    ("--config.grid.unit=nac,nalo", "config.unit: unknown unit 'nalo'", "did you mean 'nalu'?", *UNITS),
    ("--config.grid.operation=add,plus", "operation must be one of add, sub, mul, div, squared, root", "got 'plus'"),
    ("--config.optimizer.name=adamw", "unknown optimizer 'adamw'", "did you mean 'adam'?", "adam, rmsprop"),
    ("--config.unit.initializer=glorot", "unknown initializer 'glorot'", "madsen_johansen", "glorot_uniform"),
    ("--config.network.name=one_layer", "unknown network 'one_layer'", "two_layer"),
    ("--config.task.name=mnist", "unknown task 'mnist'", "static_arithmetic"),
    ("--config.task.subsets.name=nestled", "'nestled'", "did you mean 'nested'?", "overlapping, disjoint, nested"),
    # the grid
    ("--config.grid.unit=nac,nac", "config.grid.unit", "twice", "nac, nac"),
    ("--config.grid.learning_rate=1e-3,0.001", "config.grid.learning_rate", "twice", "0.001, 0.001"),
    ("--config.grid.unit=", "config.grid.unit", "list of names", "''"),
    ("--config.grid.hidden_size=", "config.grid.hidden_size", "list of values", "()"),
    ("--config.grid.learning_rat=1e-3", "config.grid.learning_rat", "did you mean 'learning_rate'?"),
    ("--config.grid.learning_rate=1e-3,nan", "config.grid.learning_rate", "finite number", "'nan'"),
    ("--config.grid.learning_rate=1e-3,-1", "learning_rate", "positive", "-1.0"),
    # flags
    ("--wokdir=runs/x", "no flag --wokdir", "did you mean 'workdir'?"),
    ("--freshly", "no flag --freshly", "did you mean 'fresh'?"),
    ("--steps=10", "no flag --steps", "did you mean --config.steps?"),
    ("lr=1e-3", "stray argument 'lr=1e-3'", "did you mean --config.lr=1e-3?"),
    ("--config.unit.name=nac", "config.unit.name", "did you mean 'grid.unit'?"),
    ("--config.task.interpolation_range=1:2", "numbers with commas between, such as 1,2", "'1:2'"),
    ("--config=quickstrat", "no file 'quickstrat'", "did you mean 'quickstart'?"),
    ("--flagfile=/nowhere/flags", "/nowhere/flags"),
    ("--fresh=perhaps", "--fresh", "perhaps"),
    ("config.num_seeds=4", "'config.num_seeds=4'", "did you mean --config.num_seeds=4?"),
    ("--fresh true", "stray argument 'true'"),
    # pages
    ("--config=configs/quikstart.py", "'configs/quikstart.py'", "configs/quickstart.py", "configs/static_arithmetic.py"),
    (f"{STATIC}:traks", "'traks'", "madsen_johansen, simple, trask"),
    (f"{QUICKSTART}:simple", "has no presets", "'simple'"),
    (f"--config={ROOT / 'README.md'}", "README.md", "not a Python file"),
    ("--config=", "--config", "''"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "words"), [(row[0], row[1:]) for row in MISTAKES], ids=[row[0] for row in MISTAKES])
def test_a_mistake_is_answered_in_one_line_with_exit_code_2_and_leaves_no_trace(command, tmp_path, arguments, words):
    said = command(f"--workdir={tmp_path / 'run'}", QUICKSTART, *arguments.split(" "))
    assert said.code == 2
    assert_one_line_of_error(said.err, *words)
    assert said.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [QUICKSTART, f"{QUICKSTART} --config.num_seeds=3 --fresh", f"{STATIC}:trask"])
def test_a_command_without_a_mistake_comes_to_training(command, tmp_path, arguments):
    with pytest.raises(Training):
        command(f"--workdir={tmp_path / 'run'}", *arguments.split(" "))
    assert (tmp_path / "run" / "config.json").exists()


def test_a_command_without_a_page_is_told_how_to_find_one(command, tmp_path):
    said = command(f"--workdir={tmp_path / 'run'}")
    assert said.code == 2
    assert_one_line_of_error(said.err, "--config", "--list_configs", "--help")


def test_a_broken_page_is_answered_with_its_file_and_line(command, tmp_path):
    page = tmp_path / "page.py"
    page.write_text('"""A page."""\n\ndef get_config()\n    pass\n')
    said = command(f"--config={page}", f"--workdir={tmp_path / 'run'}")
    assert said.code == 2
    assert_one_line_of_error(said.err, f"{page}, line 3: SyntaxError")


def test_mistakes_of_the_command_line_are_said_without_waiting_for_jax():
    program = "import sys; from experiments.run import main; sys.exit(main(sys.argv[1:]) + 40 * ('jax' in sys.modules))"
    for mistake in ("--config.num_sedes=4", "--config.num_steps=1.5", "stray"):
        arguments = [sys.executable, "-c", program, QUICKSTART, mistake]
        assert subprocess.run(arguments, cwd=ROOT, capture_output=True, timeout=60).returncode == 2


# Folders


def test_a_working_directory_that_is_a_file_is_refused(command, tmp_path):
    (tmp_path / "run").write_text("mine")
    said = command(QUICKSTART, f"--workdir={tmp_path / 'run'}")
    assert said.code == 3
    assert_one_line_of_error(said.err, "--workdir", str(tmp_path / "run"), "is a file")
    assert (tmp_path / "run").read_text() == "mine"


def test_a_working_directory_under_a_file_is_refused(command, tmp_path):
    (tmp_path / "file").write_text("mine")
    said = command(QUICKSTART, f"--workdir={tmp_path / 'file' / 'run'}")
    assert said.code == 3
    assert_one_line_of_error(said.err, "--workdir", str(tmp_path / "file" / "run"), "cannot be written")


def test_a_working_directory_with_too_long_a_name_is_refused(command, tmp_path):
    said = command(QUICKSTART, f"--workdir={tmp_path / ('x' * 300)}")
    assert said.code == 2
    assert_one_line_of_error(said.err, "too long", "x" * 300)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not shutil.which("setpriv") or os.getuid() != 0, reason="takes setpriv, as root")
@pytest.mark.parametrize("exists", [True, False], ids=["it_is_there", "it_is_not_there"])
def test_a_working_directory_that_must_not_be_written_is_refused(tmp_path, exists):
    if exists:
        (tmp_path / "run").mkdir(mode=0o555)
    else:
        tmp_path.chmod(0o555)
    # Root without the capability to overlook permissions. Another user might not be allowed to read the interpreter.
    root = "-dac_override,-dac_read_search"
    said = process(
        QUICKSTART, f"--workdir={tmp_path / 'run'}", before=("setpriv", f"--bounding-set={root}", f"--inh-caps={root}")
    )
    assert said.returncode == 3
    assert_one_line_of_error(said.stderr, "--workdir", str(tmp_path / "run"), "cannot be written", "Permission denied")
    assert list(tmp_path.rglob("config.json")) == []


def test_a_working_directory_in_which_nothing_was_begun_takes_another_config(command, tmp_path):
    workdir = f"--workdir={tmp_path / 'run'}"
    for seeds in (4, 8):
        with pytest.raises(Training):
            command(QUICKSTART, workdir, f"--config.num_seeds={seeds}")
        assert json.loads((tmp_path / "run" / "config.json").read_text())["num_seeds"] == seeds


def test_fresh_sets_a_run_of_another_config_aside(command, tmp_path):
    workdir = f"--workdir={tmp_path / 'run'}"
    for seeds in (4, 5, 6):
        with pytest.raises(Training):
            command(QUICKSTART, workdir, f"--config.num_seeds={seeds}", "--fresh")
    folders = [tmp_path / name for name in ("run.1", "run.2", "run")]
    assert [json.loads((folder / "config.json").read_text())["num_seeds"] for folder in folders] == [4, 5, 6]


# What is shown


def test_help_starts_with_examples_and_names_every_flag_and_exit_code(command):
    said = command("--help")
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[0].startswith("Example") and any(
        "python -m experiments.run --config=configs/" in line for line in lines[1:4]
    )
    for flag in ("--config", "--workdir", "--fresh", "--status", "--dry_run", "--list_configs", "--show_config", "--help"):
        assert re.search(rf"^ +{flag}\b(?![.=])", said.out, re.M), flag
    for code in (0, 2, 3, 4, 75):
        assert re.search(rf"\b{code} \w", said.out.partition("Exit codes")[2])


def test_the_examples_of_help_hold_no_mistake(command, tmp_path, monkeypatch):
    examples = command("--help").out.replace("\\\n", " ")
    found = re.findall(r"^ +python -m experiments\.run (.*)$", examples, re.M)
    assert len(found) >= 3
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(CONFIGS)
    for number, example in enumerate(found):
        with pytest.raises(Training):
            command(*example.split(), f"--workdir=run{number}")


def test_list_configs_lists_every_page_with_what_it_is(command):
    said = command("--list_configs")
    assert (said.code, said.err) == (0, "")
    for page in CONFIGS.glob("*.py"):
        known = shipped()[f"configs/{page.name}"]
        assert f"configs/{page.name}\n    {known.line}\n" in said.out and known.time in said.out
        assert not known.presets or f"    presets: {', '.join(known.presets)}\n" in said.out


def test_show_config_leaves_to_recipes_nothing_that_the_page_or_an_axis_sets(command):
    said = command(QUICKSTART, "--show_config", "--config.grid.unit=nau", "--config.grid.sparsity_weight=2,3")
    assert (said.code, said.err) == (0, "")
    (left,) = {line.partition(": ")[2] for line in said.out.splitlines() if line.startswith("# nau")}
    assert "penalties.sparsity.end" in left
    assert "penalties.sparsity.weight" not in left and "optimizer" not in left


@pytest.mark.parametrize("show", ["--help", "--list_configs", f"{QUICKSTART} --show_config"])
def test_a_reader_that_has_gone_away_gets_no_traceback(show):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        said = process(*show.split(" "), stdout=writer)
    finally:
        os.close(writer)
    assert said.stderr == ""


def test_the_c_locale_is_enough():
    locale = {"LC_ALL": "C", "LANG": "C"}
    said = process("--list_configs", env=locale)
    assert (said.returncode, said.stderr) == (0, "") and "+ - × ÷" in said.stdout
    said = process(QUICKSTART, "--config.num_steps=3e9", env=locale)
    assert said.returncode == 2
    assert_one_line_of_error(said.stderr, "num_steps must be below 2³¹")


# Names, files and machines


def test_a_shipped_page_goes_by_its_name_from_anywhere(tmp_path):
    for page in ("quickstart", "static_arithmetic:simple", "configs/quickstart.py"):
        said = subprocess.run(
            [*RUN, f"--config={page}", "--show_config"], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert (said.returncode, said.stderr) == (0, "") and "--config.num_seeds=" in said.stdout


@pytest.mark.parametrize(
    ("typed", "means"),
    [
        ("lr=0.5", "optimizer.learning_rate=0.5"),
        ("steps=7", "num_steps=7"),
        ("optimizer.lr=2", "optimizer.learning_rate=2.0"),
        ("hidden_size=3", "network.hidden_size=3"),
        ("batch=5", "learner.batch_size=5"),
        ("seeds=9", "num_seeds=9"),
    ],
)
def test_a_name_that_one_field_has_and_an_alias_stand_for_its_path(command, typed, means):
    said = command(QUICKSTART, f"--config.{typed}", "--show_config")
    assert (said.code, said.err) == (0, "") and f"--config.{means}\n" in said.out


def test_flags_from_a_file_are_those_of_the_command_line(command, tmp_path):
    (tmp_path / "flags").write_text(f"{QUICKSTART}\n--config.num_seeds=9\n--config.grid.unit=nac\n")
    said = command(f"--flagfile={tmp_path / 'flags'}", "--show_config", "--config.num_steps=7")
    assert said.code == 0 and {"--config.num_seeds=9", "--config.grid.unit=nac", "--config.num_steps=7"} <= set(
        said.out.split()
    )


def test_a_tilde_is_the_home_of_the_user(command, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copy(CONFIGS / "quickstart.py", tmp_path / "page.py")
    with pytest.raises(Training):
        command("--config=~/page.py", "--workdir=~/runs/x")
    assert (tmp_path / "runs" / "x" / "config.json").exists() and not (ROOT / "~").exists()


def test_units_are_listed_with_their_paper_names_operations_and_sources(command):
    said = command("--list_units")
    assert said.code == 0
    assert re.search(
        r"^nac_mul +NAC• +mul div +Trask et al\. 2018$", "\n".join(map(str.rstrip, said.out.splitlines())), re.M
    )
    assert all(f"{name} " in said.out for name in registered("UNITS"))


def registered(registry):
    """The names of a registry."""
    import nalu_jax.registry

    return list(getattr(nalu_jax.registry, registry))


def test_the_version_is_that_of_the_package(command):
    assert command("--version") == (0, f"nalu_jax {nalu_jax.__version__}\n", "")


@pytest.mark.parametrize("platform", ["cuda", "tpuu"])
def test_a_device_that_the_machine_has_not_is_said_in_a_sentence(tmp_path, platform):
    said = process(QUICKSTART, f"--workdir={tmp_path / 'run'}", env={"JAX_PLATFORMS": platform})
    assert said.returncode == 3
    assert_one_line_of_error(said.stderr, f"JAX_PLATFORMS={platform}", "no such device")
    assert not (tmp_path / "run").exists()


TINY = [
    QUICKSTART,
    "--config.num_seeds=2",
    "--config.num_steps=100",
    "--config.grid.unit=linear",
    "--config.grid.operation=add",
    "--config.reports=summary",  # pictures take longer than the training
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "stdout"),
    [
        ({"PYTHONIOENCODING": "ascii", "JAX_NUMPY_DTYPE_PROMOTION": "strict"}, "pipe"),
        pytest.param({}, "closed", marks=pytest.mark.faults),
        pytest.param({}, "full", marks=pytest.mark.faults),
    ],
    ids=["ascii and strict promotion", "closed", "full"],
)
def test_a_run_goes_to_its_end_whatever_its_output_and_promotion_of_types(tmp_path, environment, stdout):
    folder = tmp_path / "run"
    redirection = {"pipe": "", "closed": " >&-", "full": " > /dev/full"}[stdout]
    line = " ".join(map(shlex.quote, [*RUN, *TINY, f"--workdir={folder}"])) + redirection
    said = subprocess.run(["bash", "-c", line], cwd=ROOT, env=os.environ | environment, capture_output=True, timeout=120)
    assert (said.returncode, said.stderr) == (0, b"")
    assert (folder / "complete").exists() and (not said.stdout or b"linear" in said.stdout)


@pytest.mark.parametrize("setting", ["learner.batch_size=1e15", "task.input_size=1e9"])
def test_what_does_not_fit_into_memory_is_refused_with_the_bytes(command, tmp_path, setting):
    said = command(*TINY, f"--config.{setting}", f"--workdir={tmp_path / 'run'}")
    assert said.code == 3
    assert_one_line_of_error(said.err, "a training batch of one seed takes", "bytes, and this machine has")


# Pages of one's own


def page_with(tmp_path, change):
    """The quickstart with a line more before its end; ml_collections itself would refuse another type for a field."""
    text = (CONFIGS / "quickstart.py").read_text(encoding="utf-8")
    lines = ("with config.ignore_type():", f"    {change}", "return config")
    text = text.replace("    return config", "\n".join(f"    {line}" for line in lines))
    (tmp_path / "page.py").write_text(f"import numpy as np\n{text}", encoding="utf-8")
    return f"--config={tmp_path / 'page.py'}"


@pytest.mark.parametrize(
    "change",
    [
        "config.grid.learning_rate = tuple(np.logspace(-3, -2, 2))",
        "config.num_seeds = np.int64(4)",
        "config.grid.learning_rate = np.array([1e-3, 1e-2])",
        "config.optimizer.learning_rate = 1",
        "config.num_steps = 1e3",
        "config.task.interpolation_range = [1, 2]",
    ],
)
def test_numbers_of_numpy_lists_and_whole_numbers_are_as_good_as_pythons_floats(command, tmp_path, change):
    with pytest.raises(Training):
        command(page_with(tmp_path, change), f"--workdir={tmp_path / 'run'}")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("config.num_seeds = 'four'", ("config.num_seeds must be a whole number, got 'four'",)),
        ("config.optimizer.learning_rate = 'fast'", ("config.optimizer.learning_rate must be a number, got 'fast'",)),
        ("config.optimizer.learning_rate = None", ("learning_rate must be a number, a text", "got None")),
        ("config.grid.unit = (1, 2)", ("1",)),
        ("config.grid.learning_rate = ('fast',)", ("config.optimizer.learning_rate must be a number, got 'fast'",)),
        ("config.task.beyond_training = 3", ("config.task.beyond_training must be true or false, got 3",)),
        ("config.num_seeds = True", ("config.num_seeds must be a whole number, got True",)),
        ("config.reports = 'summary'", ("config.reports must be a tuple, got 'summary'",)),
        ("config.unit.epsilon = object()", ("epsilon must be a number, a text",)),
        ("import sys; sys.exit(0)", ("line", "SystemExit")),
        ("config.network.hidden_size = 2.5", ("hidden_size must be a positive integer, got 2.5",)),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_in_a_sentence(command, tmp_path, change, words):
    said = command(page_with(tmp_path, change), f"--workdir={tmp_path / 'run'}")
    assert said.code == 2
    assert_one_line_of_error(said.err, *words)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("text", ["x = '\0'", "def get_config(a, b):\n    pass", "def get_config():\n    return 3"])
def test_a_page_that_is_none_is_refused_in_a_sentence(command, tmp_path, text):
    (tmp_path / "page.py").write_text(text)
    said = command(f"--config={tmp_path / 'page.py'}")
    assert said.code == 2
    assert_one_line_of_error(said.err, "page.py")
