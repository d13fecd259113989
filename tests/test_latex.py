"""Tables as LaTeX: by hand, and, of every table that is committed, what pdfTeX asks of its text."""

import re
from pathlib import Path

import pytest

from experiments.reports.formats import label_unit, labelled, read_tables, write_tables
from experiments.reports.latex import MOST_ROWS, SIGNS, as_latex, in_latex, number_format
from experiments.reports.published import FOLDER
from nalu_jax.registry import UNITS

RESULTS = Path(__file__).parent.parent / "results"
FILES = sorted(path for path in RESULTS.glob("*/*.md") if path.name != "README.md")


def rows_of(table):
    return [dict(zip(table.headings, row, strict=True)) for row in table.rows]


def depth(text):
    """How many braces are open at the end; fails where one is closed that is not open."""
    level = 0
    for brace in re.findall(r"(?<!\\)[{}]", text):
        level += 1 if brace == "{" else -1
        assert level >= 0
    return level


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("1.1e-06", r"\num{1.1e-6}"),
        ("−12 [−30, +3]", r"\num{-12} [\num{-30}, \num{+3}]"),
        ("25 % [18, 34] of 100", r"\num{25}\,\% [\num{18}, \num{34}] of \num{100}"),
        ("**+44 [+18, +63]**", r"\textbf{\num{+44} [\num{+18}, \num{+63}]}"),
        ("4,457", r"\num{4457}"),
        (">999 (0.4)", r"$>$\num{999} (\num{0.4})"),
        ("U[−2, −1)", r"U[\num{-2}, \num{-1})"),
        ("–", "--"),
        ("NAC•,σ", r"NAC\textsubscript{$\bullet$,$\sigma$}"),
        ("NAC• readout, ReLU6", r"NAC\textsubscript{$\bullet$} readout, ReLU6"),
        ("NMU (no R_sparse)", r"NMU (no $R_{\mathrm{sparse}}$)"),
        ("$R_z$ weight 0.5", r"$R_z$ weight \num{0.5}"),
        ("a_b & c # 3 %", r"a\_b \& c \# \num{3}\,\%"),
        ("Schlör {x} \\ ^~", r"Schl\"or \{x\} \textbackslash{} \textasciicircum{}\textasciitilde{}"),
    ],
)
def test_a_text_as_latex(text, latex):
    assert in_latex(text) == latex


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (["1", "25", "–"], "2"),
        (["1.25", "-10.5"], "-2.2"),
        (["1.1e-06", "3.0e+12", ""], "1.1e-2"),
        (["1 [0, 2]", "3"], ""),
        (["–", ""], ""),
        (["12 %"], ""),
    ],
)
def test_a_column_of_plain_numbers_is_set_at_its_decimal_point(column, expected):
    assert number_format(column) == expected


def test_a_table_by_hand():
    latex = as_latex([{"unit": "NAC•", "error": "1.5e-06"}, {"unit": "NAU", "error": "–"}], "Of 3 seeds, 100 %.", "tab:one")
    lines = [line.strip() for line in latex.splitlines()]
    assert lines[:4] == [r"\begin{table}", r"\centering", r"\caption{Of 3 seeds, 100\,\%.}", r"\label{tab:one}"]
    assert r"\begin{tabular}{lS[table-format=1.1e-1]}" in lines
    body = lines[lines.index(r"\toprule") : lines.index(r"\bottomrule")]
    assert body == [
        r"\toprule",
        r"{unit} & {error} \\",
        r"\midrule",
        r"NAC\textsubscript{$\bullet$} & 1.5e-6 \\",
        r"NAU & {--} \\",
    ]


def test_a_table_of_many_rows_runs_over_several_pages():
    latex = as_latex([{"a": str(i)} for i in range(MOST_ROWS + 1)], "Many.", "tab:many")
    assert r"\begin{longtable}" in latex and r"\end{longtable}" in latex and r"\begin{table}" not in latex
    assert latex.count(r"\midrule") == 2 and r"\endfirsthead" in latex and r"\caption{Many.}\label{tab:many} \\" in latex


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_committed_table_can_be_set_and_is_read_back_as_it_was_written(path, tmp_path):
    tables = read_tables(path)
    write_tables(tmp_path / path.stem, [(rows_of(table), table.caption) for table in tables])
    assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    latex = (tmp_path / f"{path.stem}.tex").read_text()
    assert latex.isascii() and depth(latex) == 0
    assert len(set(re.findall(r"\\label\{(.*)\}", latex))) == len(tables) == latex.count(r"\caption{")
    bodies = re.findall(r"\\begin\{(tabular|longtable)\}\{[^\n]*\}\n(.*?)\n *\\end\{\1\}", latex, re.S)
    assert len(bodies) == len(tables)
    for (kind, body), table in zip(bodies, tables, strict=True):
        lines = [line for line in body.splitlines() if not re.match(r" *\\(toprule|midrule|bottomrule|end|caption)", line)]
        assert len(lines) == len(table.rows) + (2 if kind == "longtable" else 1)
        assert (kind == "longtable") == (len(table.rows) > MOST_ROWS)
        assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {len(table.headings) - 1}
        assert all(line.endswith(r"\\") and line.replace(r"\$", "").count("$") % 2 == 0 for line in lines)
        assert not re.search(r"(?<!\\)[%#]", body)


def test_every_sign_that_the_published_tables_are_told_with_can_be_set():
    """Titles, remarks and notes become captions and cells."""
    texts = [path.read_text(encoding="utf-8") for path in FOLDER.iterdir()]
    foreign = {character for text in texts for character in text if not character.isascii()}
    assert foreign and all(in_latex(character).isascii() for character in foreign)
    assert all(command.isascii() and (sign in "{}" or depth(command) == 0) for sign, command in SIGNS.items())


def test_the_name_of_every_unit_can_be_set():
    names = [in_latex(label_unit(name)) for name in UNITS]
    assert all(name.isascii() and depth(name) == 0 and name.count("$") % 2 == 0 for name in names)
    assert len(set(names)) == len(names)


def test_papers_have_other_names_than_configs():
    row = {"unit": "nac_mul", "operation": "div", "interpolation_range": "((-2.0, -1.0), (1.0, 2.0))", "cell": "rnn_tanh"}
    assert labelled(row | {"nac_mul_sigma": "3", "r_z_weight": "1"}) == {
        "unit": "NAC•",
        "operation": "a ÷ b",
        "interpolation range": "U[−2, −1) ∪ [1, 2)",
        "cell": "RNN-tanh",
        "NAC•,σ": "3",
        "R_z weight": "1",
    }
