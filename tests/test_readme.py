"""The code in README.md, run as a reader would run it."""

import re
from pathlib import Path

import jax
import pytest

README = Path(__file__).parent.parent / "README.md"


def blocks_of(text):
    """The Python code blocks of a page, each moved down to the lines on which it stands."""
    return [
        "\n" * text.count("\n", 0, found.start(1)) + found[1] for found in re.finditer(r"(?ms)^```python\n(.*?)^```", text)
    ]


def run(text):
    """Runs the blocks of a page one after another in one namespace."""
    namespace = {"__name__": "readme"}
    for block in blocks_of(text):
        exec(compile(block, README, "exec"), namespace)


def test_the_code_blocks_of_the_readme_run_in_order():
    text = README.read_text()
    assert len(blocks_of(text)) == text.count("```python") > 0
    # As in a reader's own program, and not under the strict settings of the tests.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        run(text)


def test_a_fault_in_a_block_is_found_at_its_line():
    text = "one\n```python\nx = 1\n```\n```\nno Python\n```\n```python\nassert x == 1\nassert x == 2\n```\n"
    with pytest.raises(AssertionError) as caught:
        run(text)
    assert caught.traceback[-1].lineno + 1 == 10
