"""The pages of README, docs/ and results/: links, numbers, the notebook, and the site that is made of them."""

import csv
import html.parser
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest

import nalu_jax
import nalu_jax.units
from experiments.settings.pages import shipped
from nalu_jax.registry import TASKS
from scripts import document_claims, document_experiments

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "docs" / "site"
NOTEBOOK = ROOT / "docs" / "five_minutes.ipynb"
RESULTS = ROOT / "results"
sys.path.insert(0, str(SITE))

import notebook  # noqa: E402

TEXTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "results/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]


def text_of(path):
    """A page without its code; of the notebook the Markdown cells."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown")
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)


def anchors_of(path):
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ +(.*)$", text_of(path), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def rows_of(path, **where):
    """The rows of a CSV in results/ that have these values."""
    with open(RESULTS / path, newline="") as file:
        return [row for row in csv.DictReader(file) if all(row[name] == value for name, value in where.items())]


# Links, without building anything


@pytest.mark.parametrize("page", [*TEXTS, NOTEBOOK], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_to_a_heading_in_it(page):
    for link, anchor in re.findall(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]*))?\)", text_of(page)):
        target = (page.parent / link).resolve() if link else page
        assert target.is_relative_to(ROOT) and target.is_file(), link
        assert not anchor or anchor in anchors_of(target), f"{link}#{anchor}"


def test_every_page_is_in_the_menu_and_on_the_front_page():
    menu = (SITE / "mkdocs.yml").read_text()
    front = (ROOT / "README.md").read_text()
    for page in [NOTEBOOK, *(ROOT / "docs").glob("*.md")]:
        assert f": {page.stem}.md\n" in menu and f"(docs/{page.name})" in front


# Numbers


def test_the_table_of_claims_is_what_the_results_say():
    assert document_claims.main(["--check"]) == 0


@pytest.mark.parametrize(
    ("name", "number", "other"), [("README", "NAC 7.79", "NAC 7.78"), ("RESULTS", "52 % (62 %)", "62 % (62 %)")]
)
def test_the_check_finds_a_number_that_was_changed_by_hand(monkeypatch, tmp_path, capsys, name, number, other):
    text, copy = getattr(document_claims, name).read_text(), tmp_path / "README.md"
    monkeypatch.setattr(document_claims, name, copy)
    copy.write_text(text.replace(number, other))
    assert document_claims.main(["--check"]) == 1
    assert f"{copy} is not what results/ says: run python scripts/document_claims.py" in capsys.readouterr().out
    assert document_claims.main([]) == 0
    assert copy.read_text() == text


def claims():
    """The rows of the table on the front page, by the experiment that they link to."""
    lines = [line for line in (ROOT / "README.md").read_text().splitlines() if "README.md#" in line]
    rows = [line.replace("\N{NO-BREAK SPACE}", " ").strip("| ").split(" | ") for line in lines]
    return {re.search(r"#(\w+)\)", row[0])[1]: row for row in rows}


@pytest.mark.parametrize(
    ("experiment", "unit", "name", "operation"),
    [
        ("static_arithmetic", "nac", "NAC", "add"),
        ("static_arithmetic", "nalu", "NALU", "add"),
        ("static_arithmetic_simple", "nmu", "NMU", "mul"),
        ("static_arithmetic_simple", "nac_mul", "NAC•", "mul"),
        ("static_arithmetic_simple", "nalu", "NALU", "mul"),
    ],
)
def test_success_on_the_front_page_is_the_share_of_the_seeds(experiment, unit, name, operation):
    seeds = rows_of(f"{experiment}/seeds.csv", unit=unit, operation=operation)
    solved = sum(int(row["solved"]) for row in seeds)
    assert f"{name} {100 * solved / len(seeds):.0f} % [" in claims()[experiment][2]


def test_errors_on_the_front_page_are_those_of_the_seeds():
    counting = rows_of("mnist_counting/seeds.csv", unit="nac", cell="accumulator")
    nac = sorted(float(row["extrapolation_mae"]) for row in counting)
    assert f"NAC {(nac[1] + nac[2]) / 2:.3g}," in claims()["mnist_counting"][2]
    relu = [float(row["extrapolation_mae"]) for row in rows_of("identity_extrapolation/seeds.csv", unit="relu")]
    assert f"ReLU {sum(relu) / 100:.0f}," in claims()["identity_extrapolation"][2]


def test_the_table_of_the_quickstart_is_what_was_measured():
    section = document_experiments.sections_of((RESULTS / "README.md").read_text())["quickstart"]
    names = {"NAC": "nac", "NAC•": "nac_mul", "NALU": "nalu", "linear": "linear", "ReLU6": "relu6"}
    rates = {(row["unit"], row["operation"]): float(row["success_rate"]) for row in rows_of("quickstart/summary.csv")}
    table = re.findall(r"^\| (NA\S+|linear|ReLU6) +\| (.*) \|$", section, re.M)
    assert [name for name, _ in table] == list(names)
    for name, cells in table:
        assert cells.split(" | ") == [f"{100 * rates[names[name], one]:.0f} %" for one in ("add", "sub", "mul", "div")]


def test_the_row_that_is_explained_is_one_of_a_table_of_ours():
    [row] = re.findall(r"^\| nac_mul .*$", (ROOT / "docs" / "tables.md").read_text(), re.M)
    summary = (RESULTS / "static_arithmetic_simple" / "summary.md").read_text()
    assert row in [re.sub(" +", " ", line) for line in summary.splitlines()]


# Pages of experiments


def test_every_config_and_every_folder_of_results_has_a_page():
    known = document_experiments.experiments()
    assert {f"configs/{one.config}.py" for one in known} == set(shipped())
    measured = {one.name for one in known if one.machine}
    assert measured == {path.name for path in RESULTS.iterdir() if path.is_dir()}


@pytest.mark.parametrize("one", document_experiments.experiments(), ids=lambda one: one.name)
def test_a_page_of_an_experiment_has_the_claim_the_command_and_the_result(one):
    page = document_experiments.pages()[one.name]
    assert page.startswith("# ") and page.count("\n# ") == 0
    for needed in (f"| command | `{one.command}` |", f"| time | {one.took} |", f"configs/{one.config}.py"):
        assert needed in page
    if one.machine:
        assert one.claim.startswith(("> **Claim.** ", "> **What it is.** ")) and one.claim in page
        assert "\n|" in one.result or "\n|" in page.partition("## Result")[2] or "![" in one.result


def test_a_docstring_becomes_markdown():
    docstring = """First line.

Words that
go on. results/README.md
has the rest.

Presets:

  a:b    one
         and more

Time:     a minute
Command:  python -m x
"""
    assert document_experiments.markdown(docstring) == (
        "Words that\ngo on.\n\nPresets:\n\n```text\n  a:b    one\n         and more\n```"
    )


@pytest.mark.slow
def test_the_task_of_ones_own_is_learned_as_its_page_says(tmp_path):
    changes = {"grid.unit": "nmu", "num_seeds": 4, "num_steps": 2_000, "reports": "summary"}
    flags = [f"--config.{field}={value}" for field, value in changes.items()]
    command = ["-m", "experiments.run", "--config=examples/your_own_task.py", f"--workdir={tmp_path / 'run'}", *flags]
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [row] = rows_of(tmp_path / "run" / "summary.csv")
    assert float(row["success_rate"]) >= 0.75 and float(row["test_mse_median"]) < 1e-4


def test_the_task_of_ones_own_asks_for_the_signed_area(monkeypatch):
    monkeypatch.setattr(TASKS, "_constructors", dict(TASKS))  # what the example registers is forgotten afterwards
    page = runpy.run_path(str(ROOT / "examples" / "your_own_task.py"))
    areas = page["area"](jnp.array([[1.0, 3.0], [2.0, 0.0], [4.0, 2.0], [7.0, 5.0]]))
    np.testing.assert_array_equal(areas, [[15.0, -5.0]])  # 3 wide and 5 high; from right to left, 1 and 5
    with pytest.raises(ValueError, match=r"largest must be a positive number, got 0\.0"):
        page["Rectangle"](largest=0.0)


# The notebook


def cells():
    """The code of the notebook, without what only IPython understands."""
    found = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    return ["".join(cell["source"]).replace("    !pip", "    pass  # pip") for cell in found]


def rates(printed):
    """The success rates that the notebook prints, in percent."""
    return {name: int(rate) for name, rate in re.findall(r"(\w+): solved by (\d+)%", printed)}


@pytest.mark.slow
@pytest.mark.usefixtures("optimized")
@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
def test_the_notebook_runs_and_comes_out_as_it_is_committed(capsys):
    matplotlib.use("agg")
    namespace = {}
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for cell in cells():
            exec(compile(cell, NOTEBOOK, "exec"), namespace)
    namespace["plt"].close("all")
    now, committed = rates(capsys.readouterr().out), rates(NOTEBOOK.read_text())
    assert now.keys() == committed.keys() == {"NAC", "MLP"}
    # Of 32 seeds a few end elsewhere with other roundings.
    assert abs(now["NAC"] - committed["NAC"]) <= 20 and committed["NAC"] > 50
    assert now["MLP"] == committed["MLP"] == 0


def test_the_notebook_is_committed_with_what_it_printed_and_drew():
    outputs = [cell["outputs"] for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert sum("data" in output for shown in outputs for output in shown) == 1
    assert all(output["output_type"] != "error" for shown in outputs for output in shown)


def test_a_notebook_becomes_markdown():
    made = [
        {"cell_type": "markdown", "source": ["# A\n", "b"]},
        {
            "cell_type": "code",
            "source": "x = 1",
            "outputs": [
                {"output_type": "stream", "text": ["1\n", "2\n"]},
                {"output_type": "display_data", "data": {"image/png": "iVB\nOR"}},
                {"output_type": "execute_result", "data": {"text/plain": ["3"]}},
            ],
        },
    ]
    assert notebook.markdown(json.dumps({"cells": made})) == (
        "# A\nb\n\n```python\nx = 1\n```\n\n``` { .text .output }\n1\n2\n```\n\n"
        "![What the cell above draws](data:image/png;base64,iVBOR)\n\n``` { .text .output }\n3\n```\n"
    )


# The site


class Loaded(html.parser.HTMLParser):
    """What a page loads, links to, and has as places to link to."""

    def __init__(self, page):
        super().__init__()
        self.loads, self.links, self.places = [], [], set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.places.add(values.get("id"))
        if tag == "a":
            self.links.append(values.get("href") or "")
        elif tag == "link" and values.get("rel") not in ("canonical", "prev", "next"):
            self.loads.append(values["href"])
        elif "src" in values:
            self.loads.append(values["src"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built strictly, and the parsed pages of it."""
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", SITE / "mkdocs.yml", "--site-dir", folder]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder, {path: Loaded(path) for path in folder.rglob("*.html")}


@pytest.mark.slow
def test_no_page_of_the_site_loads_anything_from_a_network(site):
    folder, pages = site
    for path, page in pages.items():
        for link in page.loads:
            if not link.startswith("data:"):
                start = folder if path.name == "404.html" else path.parent
                assert (start / link.lstrip("/").partition("?")[0]).resolve().is_file(), f"{path.name}: {link}"
    for style in folder.rglob("*.css"):
        assert not re.search(r"url\((?!['\"]?data:)[^)]*//|@import", style.read_text()), style


@pytest.mark.slow
def test_every_link_within_the_site_leads_somewhere(site):
    folder, pages = site
    for path, page in pages.items():
        for link in page.links:
            if path.name != "404.html" and not re.match(r"\w+:", link):
                file, _, place = link.partition("#")
                target = (path.parent / file).resolve() if file else path
                assert target.exists(), f"{path.relative_to(folder)}: {link}"
                assert not place or target not in pages or place in pages[target].places, f"{path.name}: {link}"


@pytest.mark.slow
def test_the_site_has_every_public_name_every_experiment_and_formulas_that_browsers_set(site):
    folder, pages = site
    documented = {str(place).rpartition(".")[2] for place in pages[folder / "api.html"].places}
    constants = {"ACTIVATIONS", "TRAINING", "Activation"}
    assert {*nalu_jax.units.__all__} - constants | {*nalu_jax.FUNCTIONS} <= documented
    assert {"nac", "nmu", "success_rate", "Learner", "TaskSpec"} <= documented
    for one in document_experiments.experiments():
        assert folder / "experiments" / f"{one.name}.html" in pages
    tables = (folder / "tables.html").read_text()
    assert tables.count('<math xmlns="http://www.w3.org/1998/Math/MathML" display="block"') == 5
    assert "arithmatex" not in tables and r"\mathrm" not in tables


@pytest.mark.slow
def test_a_doctest_is_code_on_the_site(site):
    folder, _ = site
    api = (folder / "api.html").read_text()
    assert "<blockquote>" not in api and "unknown operation" in api


def test_every_test_that_the_page_on_reliability_names_is_there():
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")))
    there = {
        name for path in (ROOT / "tests").glob("*.py") for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)
    }
    assert len(named) > 30 and named <= there, named - there
