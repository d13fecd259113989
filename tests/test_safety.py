"""What is read from a folder can run no code: no pickle, no eval, no YAML, anywhere."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(
    path
    for folder in ("nalu_jax", "experiments", "configs", "scripts", "examples")
    for path in (ROOT / folder).rglob("*.py")
)
UNSAFE_MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "yaml"}
UNSAFE_CALLS = {"eval", "exec", "compile"}


def unsafe(source):
    """What in a source could run code that it reads: modules, calls of builtins, arrays that may hold objects."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] in UNSAFE_MODULES}
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in UNSAFE_MODULES:
            found.add(node.module)
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            never = any(k.arg == "allow_pickle" and getattr(k.value, "value", True) is False for k in node.keywords)
            if name in UNSAFE_CALLS or (name in ("np.load", "numpy.load", "np.savez") and not never):
                found.add(name)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_that_is_read_is_run(path):
    assert unsafe(path.read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import pickle", {"pickle"}),
        ("from yaml import load", {"yaml"}),
        ("eval('1')", {"eval"}),
        ("np.load(path)", {"np.load"}),
        ("np.load(path, allow_pickle=True)", {"np.load"}),
        ("np.load(path, allow_pickle=False); jax.eval_shape(f); re.compile('x')", set()),
    ],
)
def test_the_test_sees_what_it_looks_for(source, expected):
    assert unsafe(source) == expected
