"""What the wheel holds and needs: the library alone, and nothing of what only experiments want."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import nalu_jax

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# The modules behind the extras that only experiments, tests and pictures want.
EXTRAS = {"matplotlib", "rich", "tabulate", "jinja2", "safetensors", "mlxtend", "pooch", "tensorboard", "PIL"}
NEEDED_BY_FLAX = {"rich"}  # is there whatever we ask for

WITHOUT_EXTRAS = """
import importlib, pkgutil, sys
for name in {absent}:
    sys.modules[name] = None  # importing it now fails as if it were not installed
import nalu_jax
for module in pkgutil.walk_packages(nalu_jax.__path__, "nalu_jax."):
    importlib.import_module(module.name)
print(sum(name.startswith("nalu_jax.") for name in sys.modules))
"""


def names_of(requirements):
    """The packages that requirements name."""
    return {re.match(r"[\w-]+", requirement)[0] for requirement in requirements}


def imported_at_load(path):
    """The packages that a file imports as soon as it is imported itself."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.split(".")[0])
    return found


def test_the_wheel_holds_the_library_and_no_experiments():
    assert PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"] == {"packages": ["nalu_jax"]}


def test_every_module_of_the_library_can_be_imported_with_its_base_dependencies_alone():
    program = WITHOUT_EXTRAS.format(absent=sorted(EXTRAS - NEEDED_BY_FLAX))
    imported = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert imported.returncode == 0, imported.stderr
    files = [
        path for path in (ROOT / "nalu_jax").rglob("*.py") if path.parent != ROOT / "nalu_jax" or path.stem != "__init__"
    ]
    assert int(imported.stdout) == len(files)


@pytest.mark.parametrize("folder", ["nalu_jax", "experiments"])
def test_what_is_imported_at_load_is_a_dependency(folder):
    modules = {"absl-py": "absl", "ml-collections": "ml_collections"}
    dependencies = names_of(PROJECT["project"]["dependencies"])
    if folder == "experiments":
        dependencies |= names_of(PROJECT["project"]["optional-dependencies"]["experiments"])
    allowed = {modules.get(name, name) for name in dependencies} | {"nalu_jax", folder} | set(sys.stdlib_module_names)
    found = {path: imported_at_load(path) - allowed for path in (ROOT / folder).rglob("*.py")}
    assert {path: names for path, names in found.items() if names} == {}


def test_what_only_experiments_need_is_no_base_dependency():
    assert names_of(PROJECT["project"]["dependencies"]).isdisjoint(EXTRAS)


def test_the_tools_that_judge_the_code_are_pinned():
    tools = [tool for tool in PROJECT["project"]["optional-dependencies"]["dev"] if not tool.startswith("nalu_jax")]
    assert tools and all(re.fullmatch(r"[\w-]+==[\d.]+", tool) for tool in tools)


def test_the_version_is_the_same_everywhere():
    cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)[1]
    assert nalu_jax.__version__ == PROJECT["project"]["version"] == cited
