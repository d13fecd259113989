"""Who may import whom: the design as a table, and the modules held against it."""

import ast
import fnmatch
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("nalu_jax", "experiments", "configs")
MODULES = sorted(path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))

# What a module may import besides the standard library: the row of the first pattern that fits it. A name stands for all
# modules within it. A new module of an old kind fits a row already; one of a new kind needs a row, which says what the
# module is allowed to know.
JAX = {"jax", "numpy"}
FUNCTIONAL, REGISTRY, TYPES = "nalu_jax.functional", "nalu_jax.registry", "nalu_jax.types"
LOWERING = "nalu_jax.lowering"
BOUNDED, INITIALIZERS, RECIPES = "nalu_jax.bounded", "nalu_jax.initializers", "nalu_jax.recipes"
OWN_PACKAGE = "f'{__name__}"  # how import_module(f"{__name__}.{module}") reads below
SCREENS = {"rich", "tabulate", "matplotlib"}
MAY_IMPORT = {
    # The core, from the formulas up.
    "nalu_jax/functional.py": {"jax"},
    "nalu_jax/types.py": {"jax"},
    "nalu_jax/registry.py": set(),
    "nalu_jax/initializers.py": {"jax", "scipy", REGISTRY, TYPES},
    "nalu_jax/bounded.py": {"jax", "flax", TYPES},
    "nalu_jax/recipes.py": set(),
    "nalu_jax/units/*.py": JAX
    | {"flax", FUNCTIONAL, INITIALIZERS, BOUNDED, RECIPES, REGISTRY, TYPES, "nalu_jax.units", OWN_PACKAGE},
    "nalu_jax/networks.py": JAX | {"flax", REGISTRY, "nalu_jax.units", TYPES},
    "nalu_jax/cells.py": JAX | {"flax", INITIALIZERS, "nalu_jax.networks", REGISTRY, "nalu_jax.units", TYPES},
    "nalu_jax/sequences.py": JAX | {"flax", "nalu_jax.cells", "nalu_jax.trunks", REGISTRY, TYPES},
    "nalu_jax/convolution.py": {"jax", TYPES},
    "nalu_jax/trunks.py": {"jax", "flax", "nalu_jax.convolution", "nalu_jax.units"}
    | {FUNCTIONAL, INITIALIZERS, REGISTRY, TYPES},
    "nalu_jax/random.py": JAX | {TYPES},
    "nalu_jax/lowering.py": {"jax"},
    "nalu_jax/data/*.py": {"numpy", "pooch", "nalu_jax.checkpoint", REGISTRY},
    "nalu_jax/tasks/*.py": JAX | {FUNCTIONAL, REGISTRY, TYPES, "nalu_jax.data", "nalu_jax.tasks"},
    "nalu_jax/optimizers.py": {"jax", "optax", RECIPES, REGISTRY},
    "nalu_jax/learners/*.py": JAX
    | {"flax", "optax", BOUNDED, FUNCTIONAL, LOWERING, RECIPES, "nalu_jax.random", TYPES, "nalu_jax.learners"},
    # What runs the core knows nothing of arithmetic.
    "nalu_jax/distributed.py": JAX,
    "nalu_jax/loop.py": JAX | {"nalu_jax.distributed", LOWERING, TYPES},
    # What keeps and judges results knows nothing of learning.
    "nalu_jax/stats.py": {"numpy", "scipy"},
    "nalu_jax/checkpoint.py": JAX | {TYPES},
    "nalu_jax/writer.py": {"numpy", "nalu_jax.stats", TYPES},
    "nalu_jax/tensorboard.py": {"numpy", "tensorboardX"},
    "nalu_jax/selftest.py": JAX,
    "nalu_jax/__init__.py": {"nalu_jax.units"},
    # Only experiments know settings and screens. All of nalu_jax is theirs, but a config page is reached by --config alone.
    "experiments/*.py": JAX | SCREENS | {"absl", "scipy", "filelock", "ml_collections", "nalu_jax", "experiments"},
    "configs/*.py": {"ml_collections"},
}

# What means a file, a clock, a screen or a process, and who may use it. "open" stands for all that reads or writes files.
FILES = {"open", "time", "os", "io", "pathlib", "shutil"}
WORLDLY = FILES | {"print", "input", "datetime", "subprocess", "tempfile", "logging"}
MAY_USE = {
    "nalu_jax/checkpoint.py": FILES,
    "nalu_jax/writer.py": FILES,
    "nalu_jax/tensorboard.py": FILES,
    "nalu_jax/data/*.py": FILES,
    "nalu_jax/*.py": set(),
    "experiments/*.py": FILES | {"print", "subprocess", "tempfile"},
    "configs/*.py": set(),
}
READS_OR_WRITES = r"open|(.*\.)?(open|(read|write)_(text|bytes)|(from|to)file)|(np|numpy|jnp)\.(load|save)\w*"


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


each_module = pytest.mark.parametrize("module", MODULES, ids=str)


@each_module
def test_a_module_imports_only_what_the_design_lets_it(module):
    allowed = row_of(MAY_IMPORT, module)
    assert allowed is not None, f"{module} is in no row of the table: decide what it may import"
    assert forbidden_imports((ROOT / module).read_text(), allowed) == set()


@each_module
def test_only_those_who_may_use_files_clocks_and_screens(module):
    assert worldly((ROOT / module).read_text()) <= row_of(MAY_USE, module)


@pytest.mark.parametrize("pattern", MAY_IMPORT)
def test_every_row_of_the_table_is_about_a_module_that_exists(pattern):
    assert any(fnmatch.fnmatch(str(module), pattern) for module in MODULES)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from flax import linen as nn", {"flax"}),
        ("import flax.linen as nn", {"flax.linen"}),
        ("def f():\n    import optax", {"optax"}),
        ("from nalu_jax import loop, types", {"nalu_jax.loop"}),
        ("from nalu_jax.loop import run_seeds", {"nalu_jax.loop"}),
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
    assert forbidden_imports(source, JAX | {TYPES}) == expected


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
