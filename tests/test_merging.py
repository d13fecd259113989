"""Several runs as one: what is committed, taken apart and put together again."""

import json
from pathlib import Path

import pytest
from commands import called

import experiments.report

RESULTS = Path(__file__).parent.parent / "results"
SIMPLE = RESULTS / "static_arithmetic_simple"


def part_of(folder, lines, **changes):
    """A folder with some of the seeds of the simple task, and a config in which some fields are others."""
    folder.mkdir()
    heading, *rows = (SIMPLE / "seeds.csv").read_text().splitlines()
    kept = [row for row in rows if lines(row.split(","))]
    (folder / "seeds.csv").write_text("\n".join([heading, *kept]) + "\n")
    (folder / "config.json").write_text(json.dumps(json.loads((SIMPLE / "config.json").read_text()) | changes))
    return folder


def report(*arguments):
    return called(experiments.report, *arguments)


def test_the_seeds_of_cells_that_two_runs_share_are_put_together(tmp_path, capsys):
    early = part_of(tmp_path / "early", lambda row: int(row[2]) < 40, num_seeds=40)
    late = part_of(tmp_path / "late", lambda row: int(row[2]) >= 40, num_seeds=60, first_seed=40)
    assert report(late, early, f"--out={tmp_path / 'both'}") == 0
    assert (tmp_path / "both" / "summary.csv").read_bytes() == (SIMPLE / "summary.csv").read_bytes()
    assert "curves is left as it is" in capsys.readouterr().out


def test_cells_of_several_runs_stand_in_one_table(tmp_path):
    nalu = part_of(tmp_path / "nalu", lambda row: row[0] == "nalu")
    others = part_of(tmp_path / "others", lambda row: row[0] != "nalu")
    assert report(nalu, others, f"--out={tmp_path / 'both'}") == 0
    together, whole = ((folder / "summary.csv").read_text().splitlines() for folder in (tmp_path / "both", SIMPLE))
    assert together[1].startswith("nalu,mul,1000,") and sorted(together) == sorted(whole)


def test_cells_that_differ_in_more_than_their_seeds_are_told_apart_by_their_runs(tmp_path):
    short = part_of(tmp_path / "short", lambda row: row[0] == "nmu", num_steps=1000)
    assert report(short, SIMPLE, f"--out={tmp_path / 'both'}") == 0
    rows = (tmp_path / "both" / "summary.csv").read_text().splitlines()
    assert rows[0].startswith("unit,operation,run,seeds,steps")
    first, second = (row for row in rows if row.startswith("nmu"))
    assert first.startswith("nmu,mul,short,1000,1000,") and second.startswith(
        "nmu,mul,static_arithmetic_simple,1000,200000,"
    )


@pytest.mark.parametrize(
    ("runs", "sentence"),
    [
        ([SIMPLE, SIMPLE], f"{SIMPLE} and {SIMPLE} both have the seed 0 of nac_mul-mul"),
        ([SIMPLE, RESULTS / "single_unit"], "runs of one task can be merged, but "),
    ],
)
def test_runs_that_do_not_belong_together_are_refused_and_nothing_is_written(tmp_path, capsys, runs, sentence):
    assert report(*runs, f"--out={tmp_path / 'both'}") == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "both").exists()


def test_several_runs_need_a_folder_for_their_reports(capsys):
    assert report(SIMPLE, RESULTS / "static_arithmetic") == 2
    assert capsys.readouterr().err == "error: --out is missing: the folder for the reports of several runs together\n"
