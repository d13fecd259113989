"""The code in README.md and on the pages of docs/, run as a reader would run it."""

import functools
import re
from pathlib import Path

import jax
import pytest

from nalu_jax.registry import TASKS, UNITS

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, *(path for path in sorted((ROOT / "docs").glob("*.md")) if "```python" in path.read_text())]


def blocks_of(text):
    """The Python code blocks of a page, each moved down to the lines on which it stands."""
    return [
        "\n" * text.count("\n", 0, found.start(1)) + found[1] for found in re.finditer(r"(?ms)^```python\n(.*?)^```", text)
    ]


def run(text, page=README):
    """Runs the blocks of a page one after another in one namespace."""
    namespace = {"__name__": "readme"}
    for block in blocks_of(text):
        exec(compile(block, page, "exec"), namespace)
    return namespace


@functools.cache
def ran(page):
    """What the blocks of a page leave, run as in a reader's own program, not under the strict settings of the tests."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return run(page.read_text(), page)


@pytest.fixture
def registries():
    """The registries as they are; what a page registers is forgotten afterwards."""
    kept = [(registry, dict(registry)) for registry in (UNITS, TASKS)]
    yield
    for registry, constructors in kept:
        registry._constructors.clear()
        registry._constructors.update(constructors)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_the_code_blocks_of_a_page_run_in_order(page, registries):
    text = page.read_text()
    assert len(blocks_of(text)) == text.count("```python") > 0
    ran(page)


def test_the_twelve_lines_of_the_readme_are_twelve():
    [block] = blocks_of(README.read_text())
    assert len([line for line in block.splitlines() if line]) == 12


def test_the_step_of_the_readme_lowers_the_error_and_keeps_the_weights_in_their_interval():
    after = ran(README)
    net, x, y = (after[name] for name in ("net", "x", "y"))
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        before = net.init(jax.random.key(0), x)["params"]
        errors = [float(((net.apply({"params": params}, x) - y) ** 2).mean()) for params in (before, after["params"])]
    assert errors[1] < errors[0]
    nmu = after["params"]["layers_1"]["w"].value
    assert ((nmu >= 0) & (nmu <= 1)).all()


def test_a_fault_in_a_block_is_found_at_its_line():
    text = "one\n```python\nx = 1\n```\n```\nno Python\n```\n```python\nassert x == 1\nassert x == 2\n```\n"
    with pytest.raises(AssertionError) as caught:
        run(text)
    assert caught.traceback[-1].lineno + 1 == 10
