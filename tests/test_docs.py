"""The page on the units: it says what the registry says, and its generator says it right."""

import re
from pathlib import Path
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import nalu_jax.units
from nalu_jax.bounded import bounded
from nalu_jax.recipes import Optimizer, Penalty, Recipe, Reinit
from nalu_jax.registry import UNITS
from scripts import document_units as generator

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
TEXT = "a page\n"


@pytest.fixture(scope="module")
def page() -> str:
    return generator.page()


@pytest.fixture(scope="module")
def drawing():
    return generator.Drawing(generator.entry("nmu"))


@pytest.fixture
def folder(tmp_path) -> Path:
    """Where the page is TEXT and the only picture is that of "nmu"."""
    (tmp_path / "units").mkdir()
    (tmp_path / "units.md").write_text(TEXT)
    (tmp_path / "units" / "nmu.png").touch()
    return tmp_path


def test_the_committed_page_is_what_the_generator_writes_now(page):
    names = {entry.name for entry in generator.pictured()}
    assert generator.complaint(DOCS, page, names) == ""


@pytest.mark.parametrize("name", list(UNITS))
def test_every_unit_is_on_the_page_with_a_section_or_in_the_table_of_baselines(name, page):
    sections, _, baselines = page.partition("## Dense baselines")
    first_cells = [row.split(" | ")[0] for row in baselines.splitlines()]
    assert (f"\n## {name}\n" in sections) != any(f"`{name}`" in cell for cell in first_cells)


def test_every_linked_picture_exists_and_is_a_small_picture(page):
    links = re.findall(r"!\[[^]]*\]\(([^)]*)\)", page)
    assert len(links) > 10
    for link in links:
        with Image.open(DOCS / link) as picture:
            assert picture.format == "PNG" and picture.width > 2 * picture.height
        assert (DOCS / link).stat().st_size < 60_000


def test_every_link_within_the_page_leads_to_a_section(page):
    targets = set(re.findall(r"\]\(#([^)]*)\)", page))
    assert targets and targets <= set(re.findall(r"^## (\w+)$", page, re.MULTILINE))


def test_all_rows_of_a_table_have_as_many_cells_as_its_head(page):
    tables = re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE)
    assert tables
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1


class Halver(nalu_jax.units.Unit):
    """Halving unit: y = W x / 2, |W| ≤ 2.

    Nobody 2030, arXiv 3001.00001.

    Attributes:
      slack: how much
        is forgiven.
    """

    operations: ClassVar[tuple[str, ...]] = ("sub", "div")
    positive_inputs: ClassVar[bool] = True
    first_layer: ClassVar[str | None] = "nau"
    recipes: ClassVar[tuple[Recipe, ...]] = (
        Recipe(
            "Nobody 2030",
            {"operation": "div"},
            Optimizer(learning_rate=5e-3, clip_norm=1.0),
            {"halves": Penalty(10.0, 20_000, 35_000)},
            Reinit(check_every=10, min_history=5_000, threshold=1.0),
        ),
        Recipe("Somebody 2031"),
    )

    slack: float = 1e-7

    @nn.compact
    def columns(self, x):
        w = self.param("w", bounded(nn.initializers.zeros, -2.0, 2.0), (x.shape[0], self.features))
        self.weight("W_half", w / 2)
        self.penalty("halves", jnp.sum(w))
        return jnp.tensordot(w, x, axes=(0, 0)) / 2


@pytest.fixture
def halver_section(monkeypatch) -> str:
    monkeypatch.setitem(UNITS._constructors, "halver", Halver)
    return generator.page().partition("\n## halver\n")[2].partition("\n## ")[0]


def test_a_unit_that_is_registered_appears_with_all_it_says_of_itself(halver_section):
    for line in (
        "**Halving unit: y = W x / 2, |W| ≤ 2.**",
        "Nobody 2030, [arXiv 3001.00001](https://arxiv.org/abs/3001.00001).",
        "![halver: errors at ideal parameters, and the loss around them](units/halver.png)",
        "| operations | − ÷ |",
        "| domain | positive inputs |",
        "| two layers | `nau`, then `halver` |",
        "| parameters, 2 → 1 | `w` [2, 1] in [-2, 2] |",
        "| effective weights | `W_half` |",
        "| penalties it declares | `halves` |",
        "| `slack` | `1e-7` | how much is forgiven. |",
        "| operation `div` | `adam`, learning rate 5e-3, norm of the gradient at most 1 | halves 10, ramp 20,000 → 35,000 | "
        "checked every 10 steps, after more than 5,000, if the error has stopped falling above 1 | Nobody 2030 |",
        "| any other | `adam`, learning rate 1e-3 | none | none | Somebody 2031 |",
    ):
        assert line in halver_section.splitlines()


def test_a_bar_inside_a_table_is_escaped(monkeypatch):
    monkeypatch.setitem(UNITS._constructors, "halver", Halver)
    assert (
        "| [`halver`](#halver) | `Halver` | − ÷ | Halving unit: y = W x / 2, \\|W\\| ≤ 2. |" in generator.page().splitlines()
    )


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            Penalty(0.05, start=10_001, end=10_001, below=1.0),
            "p 0.05, from step 10,001, while the validation error is below 1",
        ),
        (Penalty(1e-9, growth=10.0, every=10_000, times=2), "p 1e-9, ×10 every 10,000 steps 2 times"),
        (Penalty(1.0), "p 1"),
    ],
)
def test_a_penalty_is_said_in_words(spec, words):
    assert generator.penalty("p", spec) == words


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (20_000, "20,000"),
        (1e-7, "1e-7"),
        (5e-3, "5e-3"),
        (0.05, "0.05"),
        (1.0, "1"),
        (0.0, "0"),
        (True, "True"),
        ((1.0, -1.0), "(1, -1)"),
    ],
)
def test_numbers_are_written_as_in_the_papers(value, written):
    assert generator.number(value) == written


def test_the_check_is_content_with_the_page_and_its_pictures(folder):
    assert generator.complaint(folder, TEXT, {"nmu"}) == ""


def test_the_check_complains_of_a_changed_text(folder):
    (folder / "units.md").write_text(TEXT + "and a word by hand\n")
    assert generator.complaint(folder, TEXT, {"nmu"}).endswith(
        "units.md is not what the registry says now: run python scripts/document_units.py"
    )


@pytest.mark.parametrize(
    ("names", "sentence"),
    [({"nmu", "nau"}, "nau.png does not exist"), (set(), "nmu.png shows a unit that is not in the registry")],
)
def test_the_check_complains_of_a_picture_too_few_or_too_many(folder, names, sentence):
    assert sentence in generator.complaint(folder, TEXT, names)


def test_the_check_exits_with_1_and_a_sentence_where_there_is_no_page(tmp_path, capsys):
    assert generator.main(["--check", "--docs", str(tmp_path)]) == 1
    assert "units.md does not exist" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "operation", "weights"), [("nmu", "mul", [1, 1]), ("nau", "sub", [1, -1]), ("nru", "div", [1, -1])]
)
def test_the_search_finds_the_weights_that_compute_the_operation(name, operation, weights):
    ideal = generator.Drawing(generator.entry(name)).ideal(generator.Problem(operation, 1.0, 2.0))
    np.testing.assert_array_equal(ideal, weights)


def test_of_many_ends_of_the_search_the_best_is_taken():
    drawing = generator.Drawing(generator.entry("inalu"))
    ideal = drawing.unravel(drawing.ideal(generator.Problem("div", -2.0, -1.0)))
    w = np.tanh(ideal["w_hat_mul"]) / (1 + np.exp(-ideal["m_hat_mul"]))
    np.testing.assert_allclose(w, [[1], [-1]], atol=1e-6)  # σ(20) is 1 - 2e-9
    assert ideal["g"] == -20  # the gate at multiplication


def test_the_loss_surface_of_the_nmu_is_that_of_its_formula(drawing):
    problem = generator.Problem("mul", -2.0, -1.0)
    plane = drawing.plane(np.ones(2), problem)
    losses = drawing.surface(plane, np.ones(2), problem, points=5)
    x_1, x_2 = problem.inputs().astype(np.float64)
    for row, w_2 in enumerate((0, 0.25, 0.5, 0.75, 1)):
        for column, w_1 in enumerate((0, 0.25, 0.5, 0.75, 1)):
            y = (w_1 * x_1 + 1 - w_1) * (w_2 * x_2 + 1 - w_2)
            # rtol: float32 sums of 64 numbers; atol: the solution itself
            np.testing.assert_allclose(losses[row, column], np.mean((y - x_1 * x_2) ** 2), rtol=1e-5, atol=1e-12)


def test_the_inputs_of_a_problem_fill_its_range():
    x = generator.Problem("mul", 1.0, 2.0).inputs()
    assert x.shape == (2, 64) and x.min() >= 1 and x.max() < 2
    np.testing.assert_allclose(x[:, :3], [[1.5, 1.25, 1.75], [1 + 1 / 3, 1 + 2 / 3, 1 + 1 / 9]], rtol=1e-6)


@pytest.mark.parametrize(("reach", "end"), [(1, 2), (2, 4)])
def test_the_walk_downhill_stops_where_nothing_within_reach_is_lower(reach, end):
    assert generator.downhill(np.array([[3.0, 2.0, 1.0, 2.0, 0.5]]), (0, 0), reach) == (0, end)


def test_a_picture_drawn_twice_is_the_same_file(tmp_path):
    for name in ("one", "two"):  # of two equal ideals of the MC-FC the search takes one
        generator.draw(generator.entry("mc_fc"), tmp_path / f"{name}.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
