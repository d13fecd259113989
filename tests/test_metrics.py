"""The metrics file against rows written by hand."""

import hashlib
import json
import math

import numpy as np
import pytest

from nalu_jax.storage.metrics import MetricsFile, summarise

NAN = math.nan

# Rows


def metrics(test_mse, **flags):
    numbers = np.array(test_mse, np.float32)
    flags = {"diverged": np.isnan(numbers)} | {name: np.array(values) for name, values in flags.items()}
    return {"test_mse": numbers, **flags}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([5, 1, 4, 2, 3], (2, 3, 4)),
        ([4, 1, 3, 2], (1.75, 2.5, 3.25)),
        ([7], (7, 7, 7)),
        ([NAN, 1, 4, 2, 3], (2, 3, 4)),
        ([NAN, 1, 3, 2], (1.75, 2.5, None)),
        ([NAN, NAN, NAN, 1, 2], (2, None, None)),
        ([NAN, NAN], (None, None, None)),
        ([math.inf, 1, 3, 2], (1.75, 2.5, None)),
    ],
    ids=["five", "four", "one", "worst of five", "worst of four", "most diverged", "all diverged", "infinite"],
)
def test_a_row_has_the_quartiles_over_seeds_for_which_a_diverged_seed_is_the_worst(values, expected):
    row = summarise(70, metrics(values))
    assert row["test_mse"] == dict(zip(("q25", "median", "q75"), expected, strict=True))


def test_a_row_has_its_step_the_number_of_seeds_and_counts_of_seeds():
    row = summarise(70, metrics([1, NAN, 3], solved=[True, False, True], success=[True, False, False]))
    assert {name: value for name, value in row.items() if name != "test_mse"} == {
        "step": 70, "seeds": 3, "diverged": 1, "solved": 2, "success": 1,
    }  # fmt: skip
    assert json.loads(json.dumps(row, allow_nan=False)) == row


# The metrics file


@pytest.fixture
def file(tmp_path):
    return MetricsFile(tmp_path / "metrics.jsonl")


ROWS = [{"step": step, "seeds": 3, "mse": {"q25": 0.1, "median": None, "q75": 1e-30}} for step in (0, 10, 20)]


def test_rows_come_back_as_they_were_appended_one_a_line(file):
    for row in ROWS:
        file.append(row)
    assert list(file.rows()) == ROWS
    assert [json.loads(line) for line in file.path.read_text().splitlines()] == ROWS


def test_a_file_that_was_never_written_has_no_rows_and_no_bytes(file):
    assert (list(file.rows()), file.sync()[0]) == ([], 0)


def test_a_number_that_json_does_not_know_is_refused_and_leaves_no_half_row(file):
    file.append(ROWS[0])
    with pytest.raises(ValueError, match="not JSON compliant"):
        file.append({"step": 1, "mse": NAN})
    assert list(file.rows()) == ROWS[:1]


def test_the_size_of_the_file_is_in_bytes(file):
    file.append({"µ": "µ"})
    file.append(ROWS[0])
    content = file.path.read_bytes()
    assert file.sync() == [len(content), hashlib.sha256(content).hexdigest()]


@pytest.mark.parametrize("rest", [b"", b'{"step": 10, "se', b'{"step": 10}\n{"step"', json.dumps(ROWS[1]).encode() + b"\n"])
def test_a_cut_drops_all_that_came_later_half_a_line_included(file, rest):
    file.append(ROWS[0])
    size, digest = file.sync()
    with open(file.path, "ab") as later:
        later.write(rest)
    file.check(size, digest)
    file.cut(size)
    assert list(file.rows()) == ROWS[:1]
    file.append(ROWS[2])
    assert list(file.rows()) == [ROWS[0], ROWS[2]]


def test_a_file_that_is_too_short_or_of_other_bytes_does_not_pass(file):
    file.append(ROWS[0])
    size, digest = file.sync()
    content = file.path.read_bytes()
    with pytest.raises(OSError, match=rf"metrics.jsonl should hold at least {size + 1} bytes, but holds {size}$"):
        file.check(size + 1, digest)
    for place in range(size):
        file.path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(OSError, match="is damaged"):
            file.check(size, digest)


def test_a_file_that_is_gone_passes_for_nothing_alone(file):
    file.check(*file.sync())
    with pytest.raises(OSError, match="should hold at least 1,234 bytes, but holds 0"):
        file.check(1234, "")
    file.cut(0)
    assert not file.path.exists()
