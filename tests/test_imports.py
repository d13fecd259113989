"""Who may import whom, who may touch files and clocks, and who may ask which task it serves: the design, as tables."""

import ast
import fnmatch
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("nalu_jax", "experiments", "configs")
MODULES = sorted(path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def names_of(paths):
    """Files as the modules that they are."""
    return {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths if path.name != "__init__.py"}


JAX = {"jax", "numpy"}
# What everybody may import: the modules of nalu_jax that are in no folder.
CORE = names_of((ROOT / "nalu_jax").glob("*.py"))
# What reports share; a report itself, which can write, is only ever named by a config page.
SHARED_BY_REPORTS = names_of(p for p in (ROOT / "experiments/reports").glob("*.py") if "\ndef write(" not in p.read_text())
# What all rooms of the experiments may import; the other modules beside them are commands.
SHARED_BY_ROOMS = {f"experiments.{name}" for name in ("cpu", "faults", "terminal")}

RUNNING = JAX | SHARED_BY_ROOMS | SHARED_BY_REPORTS | {"flax", "ml_collections", "rich", "nalu_jax", "experiments.settings"}
RUNNING |= {f"experiments.reports.{name}" for name in ("find", "locate")}

# What a module may import besides the standard library: the row of the first pattern that fits it. A name stands for all
# modules within it. A module that is imported by a name which is not written out reads as that name does.
MAY_IMPORT = {
    # The library, from the formulas up.
    "nalu_jax/__init__.py": {"nalu_jax.bounded", "nalu_jax.storage.export", "nalu_jax.storage.trained", "nalu_jax.units"}
    | {"FUNCTIONS[name]"},
    "nalu_jax/functional.py": {"jax"},
    "nalu_jax/registry.py": {"home", "f'{home}"},
    "nalu_jax/stats.py": {"numpy", "scipy"},
    "nalu_jax/units/*.py": JAX | CORE | {"flax", "nalu_jax.units"},
    "nalu_jax/networks/*.py": JAX | CORE | {"flax", "nalu_jax.units", "nalu_jax.networks"},
    "nalu_jax/data/*.py": JAX | CORE | {"pooch", "nalu_jax.storage.files", "nalu_jax.data"},
    "nalu_jax/tasks/*.py": JAX | CORE | {"nalu_jax.data", "nalu_jax.tasks"},
    "nalu_jax/training/*.py": JAX | CORE | {"nalu_jax.training"},
    "nalu_jax/learners/*.py": JAX | CORE | {"flax", "optax", "nalu_jax.training", "nalu_jax.learners"},
    "nalu_jax/storage/trained.py": JAX | CORE | {"flax", "nalu_jax.networks", "nalu_jax.storage"},
    "nalu_jax/storage/export.py": JAX | CORE | {"flax", "safetensors", "orbax", "nalu_jax.storage"},
    "nalu_jax/storage/*.py": JAX | CORE | {"tensorboardX", "nalu_jax.storage"},
    "nalu_jax/*.py": JAX | CORE | {"flax", "optax", "scipy"},
    # Only experiments know settings and screens. All of nalu_jax is theirs, but a config page is reached by --config alone.
    "experiments/settings/*.py": JAX | SHARED_BY_ROOMS | {"flax", "ml_collections", "nalu_jax", "experiments.settings"},
    "experiments/reports/__init__.py": CORE | SHARED_BY_ROOMS | {"locate(name)"},
    "experiments/reports/*.py": JAX
    | SHARED_BY_ROOMS
    | {"flax", "scipy", "ml_collections", "matplotlib", "rich", "tabulate", "jinja2", "nalu_jax"}
    | {"experiments.settings", "experiments.reports"},
    "experiments/running/*.py": RUNNING | {"experiments.running"},
    "experiments/engines/*.py": RUNNING | {"experiments.running", "experiments.engines", "ray"},
    "experiments/*.py": RUNNING
    | {"absl", "experiments.running", "experiments.engines"}
    | {f"experiments.{name}" for name in ("estimate", "listings", "report", "run")},
    "configs/*.py": {"ml_collections"},
}

# What means a file, a clock, a screen or a process, and who may use it. "open" stands for all that reads or writes files.
FILES = {"open", "time", "os", "io", "pathlib", "shutil"}
WORLDLY = FILES | {"print", "input", "datetime", "subprocess", "tempfile", "logging"}
MAY_USE = {
    "nalu_jax/storage/*.py": FILES,
    "nalu_jax/data/*.py": FILES,
    "experiments/*.py": FILES | {"print", "subprocess", "tempfile"},
    "*": set(),
}
READS_OR_WRITES = r"open|(.*\.)?(open|(read|write)_(text|bytes)|(from|to)file)|(np|numpy|jnp)\.(load|save)\w*"

# Where it must not matter which task is served: everywhere but in tasks, their data, their pages and the reports.
KNOW_TASKS = ("nalu_jax/tasks/*", "nalu_jax/data/*", "experiments/reports/*", "configs/*")
SERVE_EVERY_TASK = [m for m in MODULES if not any(fnmatch.fnmatch(str(m), pattern) for pattern in KNOW_TASKS)]
KINDS_OF_TASK = {"Sequences", "Vectors", "Generated", "Batch", "Task"} | {
    node.name
    for path in (ROOT / "nalu_jax/tasks").glob("*.py")
    for node in ast.parse(path.read_text()).body
    if isinstance(node, ast.ClassDef)
}
NAME_OF_TASK = r"(.*\b)?(task|spec)(_name|\.name|\.get\('name'\)|\['name'\])"
METRIC = r"(interpolation|extrapolation|validation|test)_(mse|mae|accuracy)"


def row_of(table, module):
    """The row of the first pattern that fits a module; None if it is in no row."""
    return next((row for pattern, row in table.items() if fnmatch.fnmatch(str(module), pattern)), None)


def imported(source):
    """The modules that a source imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            name = "." * node.level + (node.module or "")  # what begins with a dot is in no row
            found |= {f"{name}.{alias.name}" for alias in node.names} if is_package(name) else {name}
        elif isinstance(node, ast.Call) and re.fullmatch(r"__import__|(importlib\.)?import_module", ast.unparse(node.func)):
            found.add(ast.unparse(node.args[0]).strip("'"))
    return found


def is_package(name):
    """Whether what is imported from here may be a module: ``from nalu_jax import functional``."""
    return (ROOT / name.replace(".", "/") / "__init__.py").exists()


def forbidden_imports(source, allowed):
    """The imports of a source that are neither allowed nor of the standard library."""
    outside = {name for name in imported(source) if name.split(".")[0] not in sys.stdlib_module_names}
    return {name for name in outside if not any(name == entry or name.startswith(f"{entry}.") for entry in allowed)}


def worldly(source):
    """Which worldly things a source uses: what it calls, and the modules it imports."""
    called = [ast.unparse(node.func) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    files = {"open"} if any(re.fullmatch(READS_OR_WRITES, name) for name in called) else set()
    return files | {*called} & {"print", "input"} | {name.split(".")[0] for name in imported(source)} & WORLDLY


def kinds_asked_for(source):
    """Where a source asks what kind of task it serves: by its name, by its type, or by the name of a metric."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(re.fullmatch(NAME_OF_TASK, ast.unparse(side)) for side in sides) and any(map(is_literal, sides)):
                found.append(ast.unparse(node))
        elif isinstance(node, ast.Match):
            found += [ast.unparse(node.subject)] if re.fullmatch(NAME_OF_TASK, ast.unparse(node.subject)) else []
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
            types = {part.id for part in ast.walk(node.args[1]) if isinstance(part, ast.Name)}
            types |= {part.attr for part in ast.walk(node.args[1]) if isinstance(part, ast.Attribute)}
            found += [ast.unparse(node)] if types & KINDS_OF_TASK else []
        elif isinstance(node, ast.Constant) and re.fullmatch(METRIC, str(node.value)):
            found.append(ast.unparse(node))
    return found


def is_literal(node):
    """Whether an expression is a text that stands there, or several of them."""
    parts = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]
    return all(isinstance(part, ast.Constant) and isinstance(part.value, str) for part in parts)


each_module = pytest.mark.parametrize("module", MODULES, ids=str)


@each_module
def test_a_module_imports_only_what_the_design_lets_it(module):
    assert forbidden_imports((ROOT / module).read_text(), row_of(MAY_IMPORT, module)) == set()


@each_module
def test_only_those_who_may_use_files_clocks_and_screens(module):
    assert worldly((ROOT / module).read_text()) <= row_of(MAY_USE, module)


@pytest.mark.parametrize("module", SERVE_EVERY_TASK, ids=str)
def test_no_module_that_serves_every_task_asks_which_it_is(module):
    assert kinds_asked_for((ROOT / module).read_text()) == []


@pytest.mark.parametrize("pattern", MAY_IMPORT)
def test_every_row_of_the_table_is_about_a_module_that_exists(pattern):
    assert any(row_of(MAY_IMPORT, module) is MAY_IMPORT[pattern] for module in MODULES)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from flax import linen as nn", {"flax"}),
        ("import flax.linen as nn", {"flax.linen"}),
        ("def f():\n    import optax", {"optax"}),
        ("from nalu_jax import units, types", {"nalu_jax.units"}),
        ("from nalu_jax.training import loop", {"nalu_jax.training.loop"}),
        ("from nalu_jax.training.loop import run_seeds", {"nalu_jax.training.loop"}),
        ("import experiments.run", {"experiments.run"}),
        ("from configs import quickstart", {"configs"}),
        ("from .types import Array", {".types"}),
        ("importlib.import_module('flax')", {"flax"}),
        ("importlib.import_module(name)", {"name"}),
        (
            "import jaxtyping, json, jax.numpy\nfrom jax.extend import random\nfrom nalu_jax.types import Array",
            {"jaxtyping"},
        ),
    ],
)
def test_an_import_that_is_not_allowed_would_be_found(source, expected):
    assert forbidden_imports(source, JAX | {"nalu_jax.types"}) == expected


def test_reports_are_imported_by_no_command():
    row = row_of(MAY_IMPORT, "experiments/run.py")
    assert forbidden_imports("from experiments.reports.summary import write", row) == {"experiments.reports.summary"}
    assert forbidden_imports("from experiments.reports.formats import number", row) == set()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("with open(path) as file: pass", {"open"}),
        ("path.read_text()", {"open"}),
        ("np.savez(path, x=x)", {"open"}),
        ("import time", {"time"}),
        ("def f():\n    from os.path import join", {"os"}),
        ("print(1)", {"print"}),
        ("host.save(step, run); jax.debug.print('')", set()),
    ],
)
def test_files_clocks_and_screens_would_be_found(source, expected):
    assert worldly(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "if job.task.name == 'static_arithmetic': pass",
        "if 'mnist_sum' == config.task['name']: pass",
        "arithmetic = config.task.get('name') in ('static_arithmetic', 'single_unit')",
        "match spec.name:\n    case 'mnist_sum': pass",
        "isinstance(task, TaskSpec)",
        "isinstance(batch.inputs, types.Sequences)",
        "isinstance(self.spec, (str, digit_sequences.DigitSequences))",
        "shown = 'extrapolation_mse' in metrics",
        "metrics.get('extrapolation_accuracy')",
        "rows['interpolation_mae']",
    ],
)
def test_a_question_for_the_kind_of_task_would_be_found(source):
    assert len(kinds_asked_for(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "fields = TASKS[config.task.name].numbers if config.task.get('name') in TASKS else ()",
        "if config.unit.name == 'nac': pass",
        "isinstance(value, int)",
        "metrics[job.task.threshold_metric] < job.task.threshold",
        '"""Such as the metric interpolation_mse."""',
    ],
)
def test_other_questions_are_not_taken_for_it(source):
    assert kinds_asked_for(source) == []
