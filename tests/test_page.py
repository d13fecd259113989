"""The page of a run: what is in it, that it needs nothing else, and, where Chromium is installed, what a browser says."""

import ast
import base64
import dataclasses
import hashlib
import math
import re
import shlex
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fake_runs import arithmetic, product_of, run_of

from experiments.reports import curves, find, page, summary
from experiments.reports.commands import command_of_cell, command_of_run, page_of, text_of
from experiments.reports.formats import read_tables, write_table
from experiments.reports.results import Files, read_run
from experiments.settings.config import leaves, override, parse, parse_axis, split_overrides
from experiments.settings.grid import cells
from experiments.settings.pages import load
from scripts import check_page

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results"
SHOWN_ONLY = ("reports", "writers")


@dataclasses.dataclass
class Element:
    """An element: its name, its attributes, and all text within it."""

    name: str
    attributes: dict
    text: str = ""
    inside: tuple = ()


class Reader(HTMLParser):
    """All elements of a page, in the order in which they begin."""

    EMPTY = ("meta", "img")

    def __init__(self, text):
        super().__init__()
        self.elements, self.stack = [], []
        self.feed(text)
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        element = Element(tag, dict(attrs), inside=tuple(self.stack))
        self.elements.append(element)
        if tag not in self.EMPTY:
            self.stack.append(element)

    def handle_endtag(self, tag):
        assert self.stack.pop().name == tag

    def handle_data(self, data):
        for element in self.stack:
            element.text += data

    def of(self, name, inside=None):
        return [e for e in self.elements if e.name == name and (inside is None or inside in e.inside)]

    def rows(self, table):
        """The rows of a table: of each cell its text and what it is sorted by."""
        return [
            [(cell.text, cell.attributes.get("data-key")) for cell in self.elements if row in cell.inside[-1:]]
            for row in self.of("tr", inside=table)
        ]


def page_of_results(name, folder):
    """The page of a folder of results/, written beside copies of its tables and pictures."""
    for path in (RESULTS / name).iterdir():
        if path.suffix in (".md", ".png"):
            shutil.copy(path, folder)
    page.write(read_run(RESULTS / name), folder)
    return Reader((folder / page.NAME).read_text())


def test_a_page_has_all_tables_and_pictures_of_its_folder(tmp_path):
    read = page_of_results("language_to_number", tmp_path)
    [table] = read_tables(tmp_path / "language.md")
    heading, *rows = read.rows(read.of("table")[0])
    assert [text for text, _ in heading] == table.headings
    assert [[text for text, _ in row] for row in rows] == table.rows
    assert rows[2][0][0] == "LSTM + NAC" and rows[2][2] == ("10", "10.0")
    assert [element.text for element in read.of("p") if element.attributes.get("class") == "caption"] == [table.caption]
    pictures = read.of("img")
    stored = [base64.b64decode(picture.attributes["src"].partition(",")[2]) for picture in pictures]
    assert stored == [(tmp_path / name).read_bytes() for name in ("language.png", "language_words.png")]
    assert [picture.attributes["width"] for picture in pictures] == ["1100"] * 2
    about = "Numbers in words: the table of Trask et al. 2018, all runs behind it, and what networks say after each word."
    assert [picture.attributes["alt"] for picture in pictures] == [about] * 2
    assert [e.text for e in read.of("figcaption")] == [f"{about} ({name}.png)" for name in ("language", "language_words")]
    assert read.of("h1")[0].text == "language_to_number" and "a unit says the number" in read.of("p")[0].text


def test_a_page_needs_nothing_but_itself_and_runs_nothing_but_its_own_script(tmp_path):
    read = page_of_results("static_arithmetic", tmp_path)
    for element in read.elements:
        assert not any(name.startswith("on") or name == "style" for name in element.attributes), element
        for name in ("src", "href", "action"):
            assert element.attributes.get(name, "#").startswith(("#", "data:image/")), element
    [policy] = [
        e.attributes["content"] for e in read.of("meta") if e.attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    for kind in ("style", "script"):
        [element] = read.of(kind)
        digest = base64.b64encode(hashlib.sha256(element.text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy and "url(" not in element.text and "@import" not in element.text
    assert policy.startswith("default-src 'none'; img-src data:;") and "unsafe" not in policy
    ids = {element.attributes.get("id") for element in read.elements}
    assert {e.attributes["href"][1:] for e in read.of("a")} <= ids
    order = [e.text for e in read.of("h2")]
    assert order == ["Results", "Beside the published numbers", "Differences", "How to run it again"]
    verdicts = {e.attributes["class"] for e in read.of("td") if e.text == "differs"}
    assert verdicts == {"text differs"}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("1.1e-06", 1.1e-6),
        ("97.6 % [96.1, 98.0]", 97.6),
        ("−12 [−30, +3]", -12),
        ("**+44 [+18, +63]**", 44),
        ("4,457 [4,456, 4,458]", 4457),
        ("U[−0.2, −0.1)", -0.2),
        ("U[1, 2)", 1),
        ("3 of 10", 3),
        ("41.5 to 49.2", 41.5),
        ("0.0085 / 32.1 / 32.2", 0.0085),
        ("∞", math.inf),
        (">999 (0.0)", math.nextafter(999, math.inf)),
        ("<0.0001", math.nextafter(1e-4, 0)),
        ("–", None),
        ("– (–)", None),
        ("", None),
        ("NAC•", None),
        ("2nd", None),
        ("13 seeds are below the threshold", None),
        ("passes", None),
    ],
)
def test_what_a_cell_is_sorted_by(text, key):
    assert page.sort_key(text) == key


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("88 % [70, 96] of 25", [("", "88"), ("small", " % [70, 96]"), ("", " of 25")]),
        ("1.8e+06 [1.7e+06, 2.0e+06]", [("", "1.8e+06"), ("small", " [1.7e+06, 2.0e+06]")]),
        ("NAC•,σ readout", [("", "NAC"), ("sub", "•,σ"), ("", " readout")]),
        ("NMU (no R_sparse)", [("", "NMU (no R"), ("sub", "sparse"), ("", ")")]),
        ("$R_z$ weight", [("", "R"), ("sub", "z"), ("", " weight")]),
        ("over seeds [lowest, highest]", [("", "over seeds [lowest, highest]")]),
    ],
)
def test_intervals_are_small_and_names_have_subscripts(text, parts):
    assert page.parts_of_text(text) == parts


def test_columns_of_numbers_are_sorted_as_numbers_and_others_are_not(tmp_path):
    rows = [
        {"name": "b", "error": "1.1e-06", "rate": "97 % [90, 99]", "mixed": "fails", "dashes": "–", "nothing": ""},
        {"name": "10 of a", "error": "–", "rate": "5 % [1, 9]", "mixed": "3", "dashes": "–", "nothing": ""},
        {"name": "a", "error": "2", "rate": "–", "mixed": "20", "dashes": "–", "nothing": ""},
    ]
    write_table(tmp_path / "summary", rows, "A caption.")
    page.write(run_of([arithmetic(tmp_path, {"unit": "nac", "operation": "add"})]), tmp_path)
    read = Reader((tmp_path / page.NAME).read_text())
    heading, *body = read.rows(read.of("table")[0])
    assert [text for text, _ in heading] == ["name", "error", "rate", "mixed", "dashes"]
    keys = [[key for _, key in row] for row in body]
    assert keys == [
        [None, "1.1e-06", "97.0", None, None],
        [None, None, "5.0", "3.0", None],
        [None, "2.0", None, "20.0", None],
    ]
    heads = [e for e in read.of("th") if e.attributes["scope"] == "col"][: len(heading)]
    assert ["number" in e.attributes.get("class", "") for e in heads] == [False, True, True, True, True]


def test_what_stands_in_a_table_is_text_and_no_code(tmp_path):
    write_table(
        tmp_path / "summary", [{"unit": "<script>alert(1)</script>", 'x"y': "'&<b>"}], "<img src=x onerror=alert(1)>"
    )
    page.write(run_of([arithmetic(tmp_path, {"unit": "nac", "operation": "add"})]), tmp_path)
    read = Reader((tmp_path / page.NAME).read_text())
    assert len(read.of("script")) == 1 and not read.of("b") and not read.of("img")
    assert [text for row in read.rows(read.of("table")[0]) for text, _ in row][-2:] == ["<script>alert(1)</script>", "'&<b>"]


def test_a_page_of_a_run_shows_drawings_says_what_they_show_and_is_the_same_anywhere(tmp_path):
    run = run_of(product_of(tmp_path, unit=["nac", "nalu"], operation=["add", "mul"]))
    written = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        for report in (summary, curves):
            report.write(run, folder)
        page.write(run, folder)
        written.append((folder / page.NAME).read_bytes())
    assert written[0] == written[1]
    read = Reader(written[0].decode())
    [picture] = read.of("img")
    assert picture.attributes["src"].startswith("data:image/svg+xml;base64,")
    assert "Panels: a + b, a × b" in picture.attributes["alt"] and "NAC, NALU" in picture.attributes["alt"]
    assert float(picture.attributes["width"]) == pytest.approx(5.5 * 150, abs=2)
    facts = {e.text for e in read.of("dd")}
    assert {"static_arithmetic", "4", "50,000"} <= facts


# Commands


def plain_of(config):
    return {path: value for path, value in leaves(config) if path not in SHOWN_ONLY}


def made_by(command):
    """The cells that the arguments of a command make, as ``experiments.run`` reads them."""
    program, module, name, *arguments = shlex.split(command)
    assert (program, module, name) == ("python", "-m", "experiments.run")
    overrides, others = split_overrides(arguments)
    [config] = [flag.partition("=")[2] for flag in others if flag.startswith("--config=")]
    loaded = load(config)
    override(loaded, overrides)
    return list(cells(loaded))


@pytest.mark.parametrize("name", ["static_arithmetic", "grid_world", "language_to_number"])
def test_the_command_of_a_run_and_of_a_cell_make_their_configs(name):
    run = read_run(RESULTS / name)
    config_page = page_of(run)
    together = {cell.name: plain_of(cell.config) for cell in made_by(command_of_run(run, config_page))}
    for result in (run.cells[0], run.cells[len(run.cells) // 2], run.cells[-1]):
        ours = plain_of(result.cell.config)
        assert together[result.cell.name] == ours
        [alone] = made_by(command_of_cell(result, config_page))
        assert plain_of(alone.config) == ours


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (((-2.0, -1.0),), "(-2.0,-1.0)"),
        ((((-2.0, -1.0), (1.0, 2.0)),), "((-2.0,-1.0),(1.0,2.0))"),
        (("add", "mul"), "add,mul"),
        ((1e-05,), "1e-05"),
        (True, "true"),
        (0.5, "0.5"),
    ],
)
def test_a_value_on_the_command_line_is_read_back(value, text):
    assert text_of(value) == text
    assert parse_axis("x", text, value[0]) == value if isinstance(value, tuple) else parse("x", text, value) == value


def test_a_command_has_what_was_changed_and_the_seeds_that_there_are(tmp_path):
    run = read_run(RESULTS / "static_arithmetic_simple")
    result = run.cells[0]
    result.cell.config.optimizer.learning_rate = 0.02
    kept = result._replace(rows=[row for row in result.rows if 40 <= int(row["seed"]) < 60])
    command = command_of_cell(kept, page_of(run))
    assert "--config=static_arithmetic:simple" in command
    assert {"--config.first_seed=40", "--config.num_seeds=20", "--config.optimizer.learning_rate=0.02"} <= set(
        command.split()
    )


def test_of_a_page_that_is_not_shipped_no_command_is_made_up(tmp_path):
    run = read_run(RESULTS / "static_arithmetic_simple")
    assert page_of(run, "elsewhere/my_page.py") == "elsewhere/my_page.py"
    assert command_of_run(run, "elsewhere/my_page.py") == "" == command_of_cell(run.cells[0], "elsewhere/my_page.py")
    write_table(tmp_path / "summary", [{"unit": "nac"}], "")
    (tmp_path / "config.json").write_text('{"page": "elsewhere/my_page.py"}')
    moved = [result._replace(files=Files(tmp_path / result.cell.name)) for result in run.cells]
    page.write(run._replace(cells=moved), tmp_path)
    read = Reader((tmp_path / page.NAME).read_text())
    assert read.of("h1")[0].text == "elsewhere/my_page.py" and not read.of("code")
    assert any(element.text.startswith("not known: ") for element in read.of("td"))


# What reports say of their files


def files_of(module):
    """The names of the files that a report's source writes: the last texts of ``folder / "..."``."""
    tree = ast.parse(Path(module.__file__).read_text())
    paths = [n for n in ast.walk(tree) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Div)]
    named = {n.right.value for n in paths if ast.unparse(n.left) == "folder" and isinstance(n.right, ast.Constant)}
    return {Path(name if "." in name else f"{name}.md") for name in named if not name.endswith((".csv", ".json"))}


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "experiments/reports").glob("*.py")))
def test_a_report_says_which_tables_and_pictures_it_writes(name):
    if "\ndef write(" in (ROOT / f"experiments/reports/{name}.py").read_text() and name != "page":
        report = find(name)
        assert all(page.writer_of(path, [name]) == name for path in files_of(report)), files_of(report)


# In a browser


def test_a_browser_sorts_shows_all_and_complains_of_nothing(tmp_path):
    """Without a browser what it relies on is tested: the marks of headings, keys and buttons in the script."""
    page_of_results("language_to_number", tmp_path)
    read = page_of_results("static_arithmetic", tmp_path)
    script = read.of("script")[0].text
    assert all(name in script for name in ("aria-sort", "dataset.key", "showModal", '"button"'))
    assert not re.search(r"innerHTML|eval\(|document\.write", script)
    if check_page.installed():
        with check_page.browser() as browser:
            found = check_page.check(browser, tmp_path / page.NAME)
            assert found == dict.fromkeys(found, "") and "2 pictures" in found
            broken = (tmp_path / page.NAME).read_text().replace("script-src 'sha256-", "script-src 'sha256-A")
            broken = broken.replace("<main>", '<main><img src="data:,x" alt="x"><hr width="2000">')
            (tmp_path / "broken.html").write_text(broken)
            browser.look(*check_page.PHONE)
            browser.open((tmp_path / "broken.html").as_uri())
            assert browser.run(check_page.WIDTH) > 2000
            assert [good for good, _ in browser.run(check_page.PICTURES)] == [False, True, True]
            assert any("Content Security Policy" in complaint for complaint in browser.complaints())
            with pytest.raises(RuntimeError, match="TypeError"):  # no script, no button
                browser.run(check_page.CLICK, [0, 0])
