"""The page on the units: it says what the registry says, and its generator says it right."""

import functools
import itertools
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
from scripts import unit_facts, unit_landscape, unit_pictures
from scripts.unit_landscape import EXACT, Landscape, Problem

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
TEXT = "a page\n"


@pytest.fixture(scope="module")
def page() -> str:
    return generator.page()


def landscape(name):
    return Landscape(unit_facts.entry(name))


@pytest.fixture
def folder(tmp_path) -> Path:
    """Where the page is TEXT and the only picture is that of "nmu"."""
    (tmp_path / "units").mkdir()
    (tmp_path / "units.md").write_text(TEXT)
    (tmp_path / "units" / "nmu.png").touch()
    return tmp_path


def test_the_committed_page_is_what_the_generator_writes_now(page):
    names = {entry.name for entry in generator.pictured()}
    assert generator.find_fault(DOCS, page, names) == ""


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

    label: ClassVar[str] = "Halver•"
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
        "![Halver•: its output, and its squared error along one and over two parameters](units/halver.png)",
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
    row = "| [`halver`](#halver) | Halver• | `Halver` | − ÷ | Halving unit: y = W x / 2, \\|W\\| ≤ 2. |"
    assert row in generator.page().splitlines()


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
    assert unit_facts.penalty("p", spec) == words


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
    assert unit_facts.number(value) == written


def test_the_check_is_content_with_the_page_and_its_pictures(folder):
    assert generator.find_fault(folder, TEXT, {"nmu"}) == ""


def test_the_check_complains_of_a_changed_text(folder):
    (folder / "units.md").write_text(TEXT + "and a word by hand\n")
    assert generator.find_fault(folder, TEXT, {"nmu"}).endswith(
        "units.md is not what the registry says now: run python scripts/document_units.py"
    )


@pytest.mark.parametrize(
    ("names", "sentence"),
    [({"nmu", "nau"}, "nau.png does not exist"), (set(), "nmu.png shows a unit that is not in the registry")],
)
def test_the_check_complains_of_a_picture_too_few_or_too_many(folder, names, sentence):
    assert sentence in generator.find_fault(folder, TEXT, names)


def test_the_check_exits_with_1_and_a_sentence_where_there_is_no_page(tmp_path, capsys):
    assert generator.main(["--check", "--docs", str(tmp_path)]) == 1
    assert "units.md does not exist" in capsys.readouterr().out


# The pictures


PICTURED = [entry.name for entry in generator.pictured()]
QUICK = ("nac", "nalu", "nmu", "npu")  # one of each family


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in PICTURED]
)
def test_the_search_finds_parameters_that_compute_every_operation_that_the_unit_lists(name):
    found = landscape(name)
    for operation in found.unit.operations:
        problem = Problem(operation, 1.0, 2.0)
        ideal = found.ideal(problem)
        x_1, x_2 = x = problem.inputs()
        expected = {"add": x_1 + x_2, "sub": x_1 - x_2, "mul": x_1 * x_2, "div": x_1 / x_2}[operation]
        for training in (True, False):
            assert np.mean(np.square(found.outputs(ideal[None], x, training)[0] - expected)) < 1e-6, operation


def test_a_unit_that_lists_what_it_cannot_compute_is_an_error_and_has_no_picture(monkeypatch, tmp_path):
    monkeypatch.setitem(UNITS._constructors, "halver", Halver)
    with pytest.raises(ValueError, match=r"halver lists 'sub', but no parameters were found .* mean squared error of 0\."):
        unit_pictures.draw(unit_facts.entry("halver"), tmp_path / "halver.png")
    assert list(tmp_path.iterdir()) == []


A, O = [[20], [20]], [[0], [0]]


@pytest.mark.parametrize(
    ("name", "ideal"),
    [
        ("nau", {"w": [[1], [1]]}),
        ("nac_bias", {"b": [0], "m_hat": A, "w_hat": A}),
        ("inalu", {"g": [20], "m_hat_add": A, "w_hat_add": A, "m_hat_mul": O, "w_hat_mul": O}),
    ],
)
def test_the_ideal_is_saturated_where_it_has_to_be_and_zero_elsewhere(name, ideal):
    found = landscape(name)
    theta = found.unravel(found.ideal(Problem("add", 1.0, 2.0)).astype(np.float32))
    assert {key: value.tolist() for key, value in theta.items()} == ideal


def test_of_two_gates_the_one_of_the_operation_is_open_and_the_other_closed():
    found = landscape("nalu_two_gates")
    for operation, opened in (("add", 1), ("mul", 0)):
        theta = found.unravel(found.ideal(Problem(operation, 1.0, 2.0)).astype(np.float32))
        gates = [1 / (1 + np.exp(-float(np.sum(theta[name])))) for name in ("g", "g_mul")]  # at x = (1, 1)
        np.testing.assert_allclose(gates, [opened, 1 - opened], atol=1e-6)


def test_the_loss_surface_of_the_nmu_is_that_of_its_formula():
    problem = Problem("mul", -2.0, -1.0)
    first, second, losses = landscape("nmu").surface((0, 1), np.ones(2), problem, points=5)
    np.testing.assert_array_equal([first, second], [[0, 0.25, 0.5, 0.75, 1]] * 2)
    x_1, x_2 = problem.inputs().astype(np.float64)
    for row, w_2 in enumerate(second):
        for column, w_1 in enumerate(first):
            y = (w_1 * x_1 + 1 - w_1) * (w_2 * x_2 + 1 - w_2)
            # rtol: float32 outputs; atol: the solution itself
            np.testing.assert_allclose(losses[row, column], np.mean((y - x_1 * x_2) ** 2), rtol=1e-5, atol=1e-12)


def test_along_a_parameter_of_the_nac_are_the_weight_and_the_error_of_its_formula():
    problem = Problem("sub", -2.0, -1.0)
    ideal = np.array([20.0, 20.0, 20.0, -20.0])  # m̂₁, m̂₂, ŵ₁, ŵ₂
    cut = landscape("nac").cut(3, ideal, problem, points=5)
    np.testing.assert_allclose(cut.values, [-10, -5, 0, 5, 10])  # all starts, U(±9.47), are inside
    np.testing.assert_allclose(cut.weight, np.tanh(cut.values), rtol=1e-6)
    x_1, x_2 = problem.inputs().astype(np.float64)
    errors = [np.mean((x_1 + np.tanh(w_hat) * x_2 - (x_1 - x_2)) ** 2) for w_hat in cut.values]
    np.testing.assert_allclose(cut.training, errors, rtol=1e-5, atol=1e-10)  # float32 near 1 is squared
    np.testing.assert_array_equal(cut.evaluation, cut.training)
    np.testing.assert_array_equal(cut.penalty, np.zeros(5))


@pytest.mark.parametrize(("name", "full"), [("nmu", 10.0), ("nmu_unregularised", 0.0)])
def test_the_penalty_is_that_of_the_recipe_at_its_full_weight(name, full):
    cut = landscape(name).cut(1, np.ones(2), Problem("mul", -2.0, -1.0), points=5)
    # The mean over two weights, of which the other is 1.
    np.testing.assert_allclose(cut.penalty, full * np.array([0, 0.25, 0.5, 0.25, 0]) / 2, rtol=1e-6)


def test_a_unit_that_differs_in_training_has_two_errors_along_its_weight():
    cut = landscape("nru").cut(1, np.array([1.0, -1.0]), Problem("div", -2.0, -1.0), points=5)
    x_1, x_2 = Problem("div", -2.0, -1.0).inputs().astype(np.float64)
    w = cut.values[1]  # -1/2: tanh²(1000 W) is 1, |W| is 1/2
    powers = np.abs(x_2) ** w
    np.testing.assert_allclose(cut.training[1], np.mean((x_1 * -powers - x_1 / x_2) ** 2), rtol=1e-4)
    np.testing.assert_allclose(cut.evaluation[1], np.mean((x_1 * (-powers / 2 + 0.5) - x_1 / x_2) ** 2), rtol=1e-4)


@pytest.mark.parametrize(("name", "names"), [("nmu", {"w"}), ("nalu", {"w_hat", "g"})])
def test_the_two_parameters_are_a_weight_and_another_kind_where_there_is_one(name, names):
    found = landscape(name)
    _, problem = unit_landscape.problems(found.one)
    ideal = found.ideal(problem)
    places = found.plane(found.cuts(ideal, problem), ideal, problem)
    assert len(set(places)) == 2 and {found.leaf_of(place).name for place in places} == names


@pytest.mark.parametrize(("name", "operation", "end"), [("nmu", "mul", 1), ("nac", "sub", -1)])
def test_the_lines_on_the_left_are_quarters_of_the_way_of_the_second_weight(name, operation, end):
    found = landscape(name)
    problem = Problem(operation, 1.0, 2.0)
    thetas, _, weights = found.path(found.ideal(problem), problem, unit_pictures.SHARES)
    # ŵ is on a grid of 2001 values from 0 to 20.
    np.testing.assert_allclose(weights, end * np.array([0, 0.25, 0.5, 0.75, 1]), atol=6e-3)
    all_weights, _ = found.declared(thetas, problem)
    np.testing.assert_allclose(all_weights[:, 0], np.ones(5), atol=1e-6)


def test_where_no_weight_is_learned_the_lines_are_quarters_of_the_way_of_the_output():
    found = landscape("mc_fc")
    problem = Problem("add", 1.0, 2.0)
    thetas, place, weights = found.path(found.ideal(problem), problem, unit_pictures.SHARES)
    outputs = found.outputs(thetas, np.array([[2.0], [1.5]], np.float32), training=False)[:, 0]
    np.testing.assert_allclose(outputs, 3.5 * unit_pictures.SHARES, atol=0.02)
    assert weights is None and found.leaf_of(place).name == "w"


def test_the_inputs_of_a_problem_fill_its_range():
    x = Problem("mul", 1.0, 2.0).inputs()
    assert x.shape == (2, 64) and x.min() >= 1 and x.max() < 2
    np.testing.assert_allclose(x[:, :3], [[1.5, 1.25, 1.75], [1 + 1 / 3, 1 + 2 / 3, 1 + 1 / 9]], rtol=1e-6)


@pytest.mark.parametrize(("reach", "end"), [(1, 2), (2, 4)])
def test_the_walk_downhill_stops_where_nothing_within_reach_is_lower(reach, end):
    assert unit_landscape.walk_downhill(np.array([[3.0, 2.0, 1.0, 2.0, 0.5]]), (0, 0), reach) == (0, end)


@pytest.mark.parametrize(
    ("name", "index", "written"),
    [
        ("w_hat", 1, r"$\hat{w}_{1}$"),
        ("m_hat_mul", 2, r"$\hat{m}_{\times,2}$"),
        ("w_real", 2, r"$w_{\mathrm{re},2}$"),
        ("w_sign", None, r"$w_{\pm}$"),
        ("g", None, "$g$"),
        ("bias", None, r"$\mathrm{bias}$"),
        ("v_left", 1, r"$v_{\mathrm{left},1}$"),
    ],
)
def test_parameters_have_their_mathematical_names(name, index, written):
    assert unit_pictures.symbol(name, index) == written


def test_a_picture_drawn_twice_is_the_same_file(tmp_path):
    for name in ("one", "two"):
        unit_pictures.draw(unit_facts.entry("nac"), tmp_path / f"{name}.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


@functools.cache
def committed_picture(name):
    with Image.open(DOCS / "units" / f"{name}.png") as picture:
        return np.asarray(picture.convert("RGB"))


def pixels_of(name, panel):
    """The pixels of one panel of the committed picture: u8[height, width, 3]."""
    left, bottom, width, height = unit_pictures.PANELS[panel]
    pixels = committed_picture(name)
    rows, columns, _ = pixels.shape
    top = 1 - bottom - height
    return pixels[round(top * rows) : round((1 - bottom) * rows), round(left * columns) : round((left + width) * columns)]


def test_no_two_units_have_the_same_picture():
    """Their panels differ, not only their titles, and in more pixels than a short line has."""
    panels = {name: [pixels_of(name, panel).mean(axis=2) for panel in unit_pictures.PANELS] for name in PICTURED}
    grey = {name: np.concatenate(several, axis=1).astype(np.int16) for name, several in panels.items()}
    alike = [
        (one, other)
        for one, other in itertools.combinations(PICTURED, 2)
        if np.count_nonzero(np.abs(grey[one] - grey[other]) > 32) < 200
    ]
    assert len(PICTURED) > 40 and alike == []


@pytest.mark.parametrize("panel", ["output", "parameters", "surface"])
def test_no_panel_is_of_one_colour(panel):
    shares = {}
    for name in PICTURED:
        pixels = pixels_of(name, panel).reshape(-1, 3).astype(int)
        _, counts = np.unique(pixels @ [65536, 256, 1], return_counts=True)
        shares[name] = counts.max() / counts.sum()
    # White is around lines, of which a single one a sixteenth of an inch wide is a twenty-fifth of a panel.
    assert {name: share for name, share in shares.items() if share > (0.9 if panel == "surface" else 0.96)} == {}


def test_letters_have_eight_points_at_a_width_of_seven_inches():
    sizes = [size for key, size in unit_pictures.STYLE.items() if key in ("font.size", "axes.titlesize", "legend.fontsize")]
    assert unit_pictures.WIDTH == 7 and len(sizes) == 3 and min(sizes) >= 8
    assert {committed_picture(name).shape[1] for name in PICTURED} == {7 * unit_pictures.DPI}


def test_the_page_states_the_numbers_that_the_pictures_are_made_with(page):
    explanation = " ".join(page.partition("## How to read the pictures")[2].partition("\n## ")[0].split())
    assert unit_landscape.VALUES == (-20, -1, 0, 1, 20) and "combinations of -20, -1, 0, 1 and 20" in explanation
    assert EXACT == 1e-6 and "a mean squared error below 10⁻⁶" in explanation
    assert unit_landscape.FLOOR == 1e-6 and "An error below 10⁻⁶ is drawn at 10⁻⁶" in explanation
    assert unit_landscape.SEEDS == 40 and "where 40 seeds start" in explanation
    assert unit_pictures.FIXED == 2 and "for x₁ = 2 and x₂ from -3 to 3" in explanation
    assert unit_pictures.GRID == 101 and "steps of up to a fiftieth of the width" in explanation  # two of its hundred
    for word in unit_pictures.MARKERS:
        assert word in explanation


def test_the_page_has_the_papers_name_of_every_unit_beside_its_own(page):
    for name in PICTURED:
        label = UNITS[name](1).label
        assert f"| [`{name}`](#{name}) | {unit_facts.markdown(label)} |" in page
        assert f"![{label}: its output" in page
