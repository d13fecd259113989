"""What ``experiments.report`` is given and cannot use: a sentence, exit code 2, and nothing written."""

import json
import shutil
from pathlib import Path

import pytest
from commands import called

import experiments.report

SIMPLE = Path(__file__).parent.parent / "results" / "static_arithmetic_simple"


def damaged(folder, change):
    """A copy of the simple task's results with another seeds.csv."""
    folder.mkdir()
    shutil.copy(SIMPLE / "config.json", folder)
    (folder / "seeds.csv").write_bytes(change((SIMPLE / "seeds.csv").read_bytes()))
    return folder


FIELDS = "are damaged (a row has more or fewer fields than the first)"


def report(*arguments):
    return called(experiments.report, *arguments)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: b"", "seeds.csv is damaged (it has no rows)"),
        (lambda text: text[: text.index(b"\n", len(text) // 2) - 5], FIELDS),
        (lambda text: text.replace(b"\n", b",9\n", 3), FIELDS),
        (lambda text: text[:500] + b"\xff\xfe" + text[500:], "seeds.csv is damaged ('utf-8' codec can't decode"),
        (lambda text: text.replace(b"0.0", b"abc", 1), "are damaged (could not convert string to float"),
        (lambda text: text.replace(b",solved,", b",sloved,", 1), "are damaged (they have no column solved)"),
        (lambda text: text.replace(b"_mse", b"_msd", 1), "_mse)"),
        (lambda text: text.replace(b"\nnmu,", b"\nmnu,", 2), "is damaged (2 of its rows are of no cell of config.json)"),
        (lambda text: text + text.splitlines(keepends=True)[5], "are damaged (a seed stands there twice"),
    ],
    ids=["empty", "cut", "longer rows", "not text", "no number", "no solved", "no error", "another unit", "a seed twice"],
)
def test_a_damaged_table_of_seeds_is_refused_in_a_sentence_and_nothing_is_written(tmp_path, capsys, change, sentence):
    run, out = damaged(tmp_path / "run", change), tmp_path / "out"
    assert report(run, f"--out={out}") == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("error: ") and said.err.count("\n") == 1
    assert sentence in said.err and str(tmp_path) in said.err and not out.exists()
    assert {path.name for path in run.iterdir()} == {"config.json", "seeds.csv"}


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("reports", ["summary", "curvse"], "there is no report 'curvse'"),
        ("reports", ["summary", "lengths"], "lengths, length_curves, strip and reads are of sequences of digits"),
        ("num_steps", "many", "config.num_steps must be a whole number"),
        ("grid", {"unit": ["nothing"], "operation": ["mul"]}, "unknown unit 'nothing'"),
    ],
)
def test_a_config_that_cannot_be_is_refused_and_nothing_is_written(tmp_path, capsys, field, value, sentence):
    run = damaged(tmp_path / "run", lambda text: text)
    config = json.loads((run / "config.json").read_text()) | {field: value}
    (run / "config.json").write_text(json.dumps(config))
    assert report(run, f"--out={tmp_path / 'out'}") == 2
    assert sentence in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_the_page_comes_last_and_has_what_the_other_reports_wrote(tmp_path):
    assert report(SIMPLE, f"--out={tmp_path}", "--against=madsen_johansen_2020_simple") == 0
    text = (tmp_path / "index.html").read_text()
    assert all(f'<section id="{name}">' in text for name in ("summary", "comparison", "differences"))
    assert "python -m experiments.run --config=static_arithmetic:simple --config.num_seeds=1000</code>" in text
