"""Reports against a published table: what is committed under results/, and runs made of plain values."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from fake_runs import arithmetic, page_of, run_of
from scipy.stats import fisher_exact

from experiments.faults import ConfigError
from experiments.pages import load
from experiments.report import FLAGS, main
from experiments.reports import comparison, differences, summary

RESULTS = Path(__file__).parent.parent / "results"
SIMPLE, PRINTED = load("static_arithmetic:simple"), "madsen_johansen_2020_simple"


def read(path):
    return list(csv.DictReader(io.StringIO(path.read_text())))


def run_of_units(folder, **solved):
    """A run of the simple task, its units with so many of four seeds solved."""
    steps = {unit: [5000.0 + 1000 * i if i < count else np.nan for i in range(4)] for unit, count in solved.items()}
    return run_of(
        [arithmetic(folder, {"unit": unit, "operation": "mul"}, page=SIMPLE, solved_at=at) for unit, at in steps.items()]
    )


def test_the_committed_success_rates_stand_beside_the_published_ones(tmp_path, capsys):
    FLAGS.unparse_flags()
    out = tmp_path / "out"
    assert main([str(RESULTS / "static_arithmetic_simple"), f"--out={out}", f"--against={PRINTED}"]) == 0
    rows = {row["unit"]: row for row in read(out / "comparison.csv") if row["what"] == "success"}
    # 13 of 100 are published for NAC•, 94 for the NMU; for the gated network nothing.
    p = fisher_exact([[25, 75], [13, 87]]).pvalue
    assert (rows["nac_mul"]["verdict"], float(rows["nac_mul"]["p"])) == ("differs", pytest.approx(p, rel=1e-4))
    assert (rows["nmu"]["verdict"], rows["nmu"]["published"], rows["nmu"]["published_seeds"]) == ("agrees", "0.94", "100")
    assert (rows["gated_nau_nmu"]["verdict"], rows["gated_nau_nmu"]["published"]) == ("not published", "")
    text = (out / "comparison.md").read_text()
    assert "| NAC•          | mul         | 25 % [18, 34] of 100 | 13 % [8, 21] of 100  | differs, p = 0.046 |" in text
    assert "Other than published" not in text
    assert "NAC•,σ" in capsys.readouterr().out


def test_what_a_run_did_otherwise_than_published_is_said(tmp_path):
    run = run_of_units(tmp_path, nmu=3)
    run.cells[0].cell.config.num_steps = 5_000
    run.cells[0].cell.config.optimizer = page_of("identity_extrapolation").optimizer
    comparison.write_comparison(run, tmp_path, PRINTED)
    text = (tmp_path / "comparison.md").read_text()
    assert "num_steps 5000 instead of 200000" in text and "optimizer.name sgd instead of adam" in text


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


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("madsen_johansen_2020_simpel", "there is no published table 'madsen_johansen_2020_simpel': did you mean"),
        ("trask_2018_table_1", "trask_2018_table_1 has no success rates to compare with; these have: "),
        ("mistry_2022_primer", "mistry_2022_primer is of the task single_unit, the run of static_arithmetic"),
    ],
)
def test_a_table_that_a_run_cannot_be_held_against_is_refused_and_nothing_is_written(tmp_path, capsys, table, sentence):
    FLAGS.unparse_flags()
    out = tmp_path / "out"
    assert main([str(RESULTS / "static_arithmetic_simple"), f"--out={out}", f"--against={table}"]) == 2
    assert sentence in capsys.readouterr().err and not out.exists()
    with pytest.raises(ConfigError, match=sentence.split("'")[0]):
        comparison.compared(run_of_units(tmp_path, nmu=1), table)
