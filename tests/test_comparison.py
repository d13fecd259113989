"""Reports against a published table: what is committed under results/, and runs made of plain values."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from commands import called
from fake_runs import arithmetic, page_of, run_of
from scipy.stats import fisher_exact

from experiments import report
from experiments.faults import ConfigError
from experiments.reports import comparison, differences, summary
from experiments.reports.published import Number
from experiments.settings.pages import load

RESULTS = Path(__file__).parent.parent / "results"
SIMPLE, PRINTED = load("static_arithmetic:simple"), "madsen_johansen_2020_simple"
MAIN, MAIN_TABLE = load("static_arithmetic"), "madsen_johansen_2020_all_models"


def read(path):
    return list(csv.DictReader(io.StringIO(path.read_text())))


def run_of_units(folder, **solved):
    """A run of the simple task, its units with so many of four seeds solved."""
    steps = {unit: [5000.0 + 1000 * i if i < count else np.nan for i in range(4)] for unit, count in solved.items()}
    return run_of(
        [arithmetic(folder, {"unit": unit, "operation": "mul"}, page=SIMPLE, solved_at=at) for unit, at in steps.items()]
    )


def test_the_committed_success_rates_stand_beside_the_published_ones(tmp_path, capsys):
    out = tmp_path / "out"
    assert called(report, RESULTS / "static_arithmetic_simple", f"--out={out}", f"--against={PRINTED}") == 0
    rows = {row["unit"]: row for row in read(out / "comparison.csv") if row["what"] == "success"}
    # 13 of 100 are published for NAC•, 94 for the NMU; for the gated network nothing.
    p = fisher_exact([[238, 762], [13, 87]]).pvalue
    assert (rows["nac_mul"]["verdict"], float(rows["nac_mul"]["p"])) == ("differs", pytest.approx(p, rel=1e-4))
    assert (rows["nmu"]["verdict"], rows["nmu"]["published"], rows["nmu"]["published_seeds"]) == ("agrees", "0.94", "100")
    assert (rows["gated_nau_nmu"]["verdict"], rows["gated_nau_nmu"]["published"]) == ("not published", "")
    text = (out / "comparison.md").read_text()
    assert "| NAC•          | mul         | 24 % [21, 27] of 1000 | 13 % [8, 21] of 100  | differs, p = 0.012 |" in text
    assert "Other than published" not in text
    assert "NAC•,σ" in capsys.readouterr().out


def test_what_a_run_did_otherwise_than_published_is_said(tmp_path):
    run = run_of_units(tmp_path, nmu=3)
    run.cells[0].cell.config.num_steps = 5_000
    run.cells[0].cell.config.optimizer = page_of("identity_extrapolation").optimizer
    comparison.write_comparison(run, tmp_path, PRINTED)
    text = (tmp_path / "comparison.md").read_text()
    assert "num_steps 5000 instead of 200000" in text and "optimizer.name sgd instead of adam" in text


def test_a_grid_over_operations_is_shown_at_a_glance_and_what_differs_in_bold(tmp_path):
    solved = {("nac", "sub"): 0, ("nac", "add"): 4, ("relu", "add"): 2}
    cells = [
        arithmetic(
            tmp_path, {"unit": unit, "operation": name}, page=MAIN, solved_at=[*[5000.0] * count, *[np.nan] * (4 - count)]
        )
        for (unit, name), count in solved.items()
    ]
    comparison.write_comparison(run_of(cells), tmp_path, MAIN_TABLE)
    heading, _, nac, relu, *_ = (tmp_path / "comparison.md").read_text().splitlines()
    assert [cell.strip() for cell in heading.strip("|").split("|")] == ["unit", "a + b", "a − b"]
    # Published: NAC with 100 of 100 each, ReLU with 62; 0 of 4 beside 100 of 100 is no chance.
    assert [cell.strip() for cell in nac.strip("|").split("|")] == ["NAC", "100 % (100 %)", "**0 % (100 %)**"]
    assert [cell.strip() for cell in relu.strip("|").split("|")] == ["ReLU", "50 % (62 %)", ""]
    without = run_of([*cells, arithmetic(tmp_path, {"unit": "nmu"}, page=MAIN)])  # a part of a grid without operations
    assert [row["unit"] for row in comparison.at_a_glance(comparison.compared(without, MAIN_TABLE))] == ["NAC", "ReLU"]
    one_operation = run_of_units(tmp_path, nmu=3, nalu=1)
    comparison.write_comparison(one_operation, tmp_path, PRINTED)
    assert (tmp_path / "comparison.md").read_text().splitlines()[0].split("|")[3].strip() == "ours"


def test_beside_the_cells_of_a_picture_stands_what_the_paper_says_of_it(tmp_path):
    cells = [
        arithmetic(
            tmp_path, {"unit": "nmu", "operation": "mul", "hidden_size": size}, solved_at=[5000, 6000, np.nan, np.nan]
        )
        for size in (2, 10)
    ]
    comparison.write_comparison(run_of(cells), tmp_path, "madsen_johansen_2020_hidden_size")
    rows = read(tmp_path / "comparison.csv")
    assert [(row["hidden_size"], row["what"], row["ours"], row["verdict"]) for row in rows] == [
        (size, "success", "0.5", "not published") for size in ("2", "10")
    ]
    said = "The paper has a picture of them, and says: the NMU solves × with many more hidden units than it needs; "
    assert said in (tmp_path / "comparison.md").read_text()


def test_of_seeds_that_are_not_solved_nothing_is_compared_but_the_rate(tmp_path):
    run = run_of_units(tmp_path, nalu=0)
    [row] = [comparison.as_row(one) for one in comparison.compared(run, PRINTED)]
    assert (row["what"], row["ours"], row["seeds"], row["published"], row["verdict"]) == ("success", 0, 4, 0.26, "agrees")


def test_networks_that_declare_no_weights_have_no_sparsity_error_and_yet_a_row(tmp_path):
    nothing = (np.nan,) * 4
    run = run_of([arithmetic(tmp_path, {"unit": "nmu", "operation": "mul"}, page=SIMPLE, sparsity=nothing)])
    [row] = summary.summary_rows(run)
    assert row["success_rate"] == 0.5 and np.isnan(row["sparsity_error_mean"])
    found = {one.what: one.ours.estimate for one in comparison.compared(run, PRINTED)}
    assert found == {"success": 0.5, "solved at, median": 4000, "solved at, mean": found["solved at, mean"]}


def test_pairs_of_units_differ_by_newcombes_interval(tmp_path):
    run = run_of_units(tmp_path, nmu=4, nalu=0)
    differences.write(run, tmp_path)
    forth, back = read(tmp_path / "differences.csv")
    assert (forth["unit"], forth["less_unit"], forth["difference"]) == ("nmu", "nalu", "1")
    assert float(forth["low"]) == -float(back["high"]) and float(forth["high"]) == 1
    # By hand: the Wilson interval of 4 of 4 ends at 4 / (4 + 1.96²) = 0.510, so that low = 1 - sqrt(2) · 0.490.
    assert float(forth["low"]) == pytest.approx(1 - np.sqrt(2) * (1 - 4 / (4 + 1.959964**2)), abs=1e-5)
    assert "| **+100 [+31, +100]** |" in (tmp_path / "differences.md").read_text()


def test_of_more_than_eight_units_each_is_compared_with_the_best(tmp_path):
    units = ("nalu", "nac", "nau", "nmu", "linear", "relu", "relu6", "nac_mul", "nac_mul_sigma")
    run = run_of_units(tmp_path, **{unit: 4 if unit == "nmu" else i % 3 for i, unit in enumerate(units)})
    differences.write(run, tmp_path)
    pairs = read(tmp_path / "differences.csv")
    assert len(pairs) == 9 * 8
    by_hand = next(row for row in pairs if (row["unit"], row["less_unit"]) == ("nalu", "nmu"))
    _, _, first, *others = (tmp_path / "differences.md").read_text().partition("\n\n")[0].splitlines()
    assert len(others) == 7 and not any("NMU  " in line.split("|")[2] for line in [first, *others])
    cells = [cell.strip() for cell in first.strip("|").split("|")]
    assert cells[:3] == ["mul", "NALU", "NMU"]
    low, high = (f"{100 * float(by_hand[end]):+.0f}".replace("-", "−") for end in ("low", "high"))
    assert cells[3] == f"**−100 [{low}, {high}]**"


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("madsen_johansen_2020_simpel", "there is no published table 'madsen_johansen_2020_simpel': did you mean"),
        ("trask_2018_table_5", "trask_2018_table_5 has no success rates or scores to compare with; these have: trask"),
        ("trask_2018_table_1", "trask_2018_table_1 holds scores, which need the errors of untrained networks"),
        ("mistry_2022_primer", "mistry_2022_primer is of the task single_unit, the run of static_arithmetic"),
    ],
)
def test_a_table_that_a_run_cannot_be_held_against_is_refused_and_nothing_is_written(tmp_path, capsys, table, sentence):
    out = tmp_path / "out"
    assert called(report, RESULTS / "static_arithmetic_simple", f"--out={out}", f"--against={table}") == 2
    assert sentence in capsys.readouterr().err and not out.exists()
    with pytest.raises(ConfigError, match=sentence.split("'")[0]):
        comparison.compared(run_of_units(tmp_path, nmu=1), table)


# Scores

TRASK, TABLE_1 = load("static_arithmetic:trask"), "trask_2018_table_1"


def scored(folder, errors, unit="relu6", untrained=50.0, operation="mul"):
    """A cell of eight seeds whose errors, both of them, are these."""
    cell = arithmetic(folder, {"unit": unit, "operation": operation}, page=TRASK)
    rows = [cell.rows[0] | {"seed": str(i), **dict.fromkeys(ERRORS, str(error))} for i, error in enumerate(errors)]
    return cell._replace(rows=rows, result=cell.result | {"untrained": dict.fromkeys(ERRORS, untrained)})


ERRORS = ("interpolation_mse", "extrapolation_mse")


def test_scores_stand_beside_the_published_ones(tmp_path):
    # 3.2 and 10.1 are published of ReLU6. Ours are twice the errors: a median of 10 from 8 to 12, the best seed 3.
    errors = [1.5, 4.0, 4.5, 5.0, 5.0, 5.5, 6.0, 40.0]
    run = run_of([scored(tmp_path, errors), scored(tmp_path, errors, unit="nmu")])
    comparison.write_comparison(run, tmp_path, TABLE_1)
    rows = read(tmp_path / "comparison.csv")
    assert [(row["unit"], row["range"], row["published"], row["verdict"]) for row in rows] == [
        ("relu6", "interpolation", "3.2", "agrees"),
        ("relu6", "extrapolation", "10.1", "agrees"),
        ("nmu", "interpolation", "", "not published"),
        ("nmu", "extrapolation", "", "not published"),
    ]
    assert {(row["ours"], row["best"], row["seeds"]) for row in rows} == {("10", "3", "8")}
    text = (tmp_path / "comparison.md").read_text()
    assert "| ReLU6  | mul         | extrapolation | 10.0 [3.0, 80.0] | 3.0         | 10.1        | agrees        |" in text
    assert "table 1" in text and "nor how many runs a number is of" in text


@pytest.mark.parametrize(
    ("scores", "printed", "verdict"),
    [
        (range(1, 101), "50.5", "agrees"),  # of 100 seeds the interval of the median is from the 40th to the 61st
        (range(1, 101), "39.9", "agrees"),  # 40 may be printed so
        (range(1, 101), "39.8", "undecided"),
        (range(1, 101), "101.2", "differs"),
        ([1e-9] * 100, "0.0", "agrees"),
        ([0.2] * 100, "0.0", "differs"),
        ([np.inf] * 100, ">999", "agrees"),
        ([998.0] * 100, ">999", "differs"),
        ([1.0, 2.0, 3.0], "2.5", "undecided"),  # so few seeds have no interval
        ([1.0, 2.0, 3.0], "5.0", "differs"),
    ],
)
def test_a_score_agrees_if_our_median_may_be_it_and_differs_if_no_seed_may(scores, printed, verdict):
    number = Number(
        {}, "score", printed, float(printed.lstrip(">")), printed[: printed.startswith(">")], np.nan, np.nan, None, ""
    )
    assert comparison.judged(np.array(scores, float), number).word == verdict


def test_scores_that_another_report_makes_are_not_made_here(tmp_path):
    run = run_of([scored(tmp_path, [1.0] * 8)])
    run.config.reports = ("summary",)
    with pytest.raises(ConfigError, match="the page of this run does not name the report that makes them, scores"):
        comparison.compared(run, TABLE_1)
