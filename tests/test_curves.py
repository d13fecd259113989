"""The error curves, and what all pictures share: looks, names, files; that large grids leave them readable."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from fake_runs import RANGES, arithmetic, digits, grid, keep_figures, legend_of, looks_of, product_of, run_of, size_of
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from experiments.reports import curves
from experiments.reports.figures import LOOKS, describe, label_cell, label_unit, look_of, name_cell, series_of
from nalu_jax.registry import CELLS, UNITS


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    return keep_figures(monkeypatch, curves)


def curve_labels(panel):
    return [line.get_label() for line in panel.get_lines() if line.get_label() != "solved below"]


def test_a_few_cells_have_a_curve_each(tmp_path, drawn):
    curves.write(grid(tmp_path, ["nac", "nau"], ["add", "sub"], RANGES[:2]), tmp_path)
    expected = ["NAC, U[−2, −1)", "NAC, U[−2, 2)", "NAU, U[−2, −1)", "NAU, U[−2, 2)"]
    assert legend_of(drawn[0]) == [*expected, "solved below"]
    assert all(curve_labels(panel) == expected for panel in drawn[0].axes)
    assert drawn[0].get_suptitle() == ""


def test_twelve_units_have_a_curve_each_in_a_colour_of_its_own(tmp_path, drawn):
    results = product_of(tmp_path, unit=[f"unit {i}" for i in range(12)], operation=["add"])
    curves.write(run_of(results), tmp_path)
    colours = {line.get_color() for line in drawn[0].axes[0].get_lines()}
    assert len(legend_of(drawn[0])) == 13 and len(colours) == 12


def test_of_many_ranges_the_first_is_shown_and_the_title_says_so(tmp_path, drawn):
    curves.write(grid(tmp_path, ["nac", "nau", "nalu", "inalu", "gnalu"], ["add", "sub"]), tmp_path)
    assert legend_of(drawn[0]) == ["NAC", "NAU", "NALU", "iNALU", "G-NALU", "solved below"]
    assert drawn[0].get_suptitle() == "only U[−2, −1): 10 of 30 cells"


def test_of_many_learning_rates_the_middle_one_is_shown_whatever_their_order(tmp_path, drawn):
    rates = [1e-1, 1e-4, 1e-2, 1e-5, 1e-3]
    units = ["nac", "nau", "nalu"]
    results = product_of(tmp_path, unit=units, operation=["add"], learning_rate=rates, optimizer=["sgd", "adam"])
    curves.write(run_of(results), tmp_path)
    assert legend_of(drawn[0])[:-1] == ["NAC", "NAU", "NALU"]
    assert drawn[0].get_suptitle() == "only learning rate 0.001, SGD: 3 of 30 cells"


def test_of_many_units_the_first_twelve_are_shown_and_the_title_says_so(tmp_path, drawn):
    curves.write(grid(tmp_path, [f"unit {i}" for i in range(17)]), tmp_path)
    assert legend_of(drawn[0])[:-1] == [f"unit {i}" for i in range(12)]
    assert drawn[0].get_suptitle() == "only U[−2, −1), the first 12 of 17 units: 12 of 51 cells"


def test_an_optimizer_speaks_for_itself(tmp_path, drawn):
    results = product_of(tmp_path, unit=["nau"], operation=["add"], optimizer=["adam", "sgd"])
    curves.write(run_of(results), tmp_path)
    assert legend_of(drawn[0])[:-1] == ["NAU, Adam", "NAU, SGD"]


def test_every_threshold_of_an_operation_is_drawn(tmp_path, drawn):
    axes = [{"unit": "nau", "operation": "add", "interpolation_range": interval} for interval in RANGES]
    results = [arithmetic(tmp_path, one, threshold=value) for one, value in zip(axes, (1e-5, 1e-6, 1e-5), strict=True)]
    curves.write(run_of(results), tmp_path)
    lines = drawn[0].axes[1].get_lines()
    assert {line.get_ydata()[0] for line in lines if line.get_label() == "solved below"} == {1e-5, 1e-6}


def test_the_axes_say_what_they_show(tmp_path, drawn):
    curves.write(grid(tmp_path, ["nac"], ["add", "sub"], RANGES[:1]), tmp_path)
    top, bottom = drawn[0].axes[:2], drawn[0].axes[2:]
    assert [panel.get_title() for panel in top] == ["a + b", "a − b"]
    assert [row[0].get_ylabel() for row in (top, bottom)] == ["interpolation error (MSE)", "extrapolation error (MSE)"]
    assert [panel.get_xlabel() for panel in bottom] == ["training step"] * 2


def test_the_legend_is_below_all_panels(tmp_path, drawn):
    curves.write(grid(tmp_path, ["nac", "nau", "nalu", "inalu"], ["add", "sub"]), tmp_path)
    drawn[0].draw_without_rendering()
    legend = drawn[0].legends[0].get_window_extent()
    assert all(panel.get_tightbbox().y0 >= legend.y1 - 1 for panel in drawn[0].axes)
    assert legend.x0 >= 0 and legend.x1 <= drawn[0].bbox.width


# Looks


def test_a_unit_looks_the_same_in_pictures_of_different_runs(tmp_path, drawn):
    for units in (["nac", "nalu", "mine"], ["mine", "linear", "nmu", "nac"]):
        curves.write(run_of(product_of(tmp_path, unit=units, operation=["mul"])), tmp_path)
    first, second = (dict(zip(legend_of(one), looks_of(one.legends[0].get_lines()), strict=True)) for one in drawn)
    assert first["NAC"] == second["NAC"] and first["mine"] == second["mine"]
    assert first["NAC"] == ("#0072B2", "o", "#0072B2")


@pytest.mark.slow
def test_a_unit_from_elsewhere_looks_the_same_in_every_process():
    program = "from experiments.reports.figures import look_of; print(look_of('a unit of mine'))"
    command = [sys.executable, "-c", program]
    said = {subprocess.check_output(command, env=os.environ | {"PYTHONHASHSEED": seed}, text=True) for seed in "12"}
    assert said == {f"{look_of('a unit of mine')}\n"}


def lightness(colour):
    """CIE lightness, from 0 to 100, of a colour printed grey."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 116 * np.dot([0.2126, 0.7152, 0.0722], linear) ** (1 / 3) - 16


def test_whoever_shares_a_marker_differs_in_lightness_and_no_colour_is_there_twice():
    looks = {name: look for name, look in LOOKS.items() if not name.startswith("exact")}
    assert len({colour for colour, _ in looks.values()}) == len(looks)
    for (one, (a, marker)), (other, (b, same)) in itertools.combinations(looks.items(), 2):
        assert marker != same or abs(lightness(a) - lightness(b)) > 12, (one, other)
    assert max(lightness(colour) for colour, _ in looks.values()) < 80  # readable on white


def test_every_unit_and_cell_has_a_look_of_its_own():
    """A cell that is made of a unit looks like the unit. Units that other tests register are not ours."""
    shipped = {name for name in UNITS if type(UNITS[name](1)).__module__.startswith("nalu_jax.")}
    assert set(LOOKS) == {*shipped, *CELLS} - {"unit", "accumulator"}


def test_variants_of_a_unit_share_its_colour_and_marker_and_differ_in_line_or_filling(tmp_path):
    results = product_of(tmp_path, unit=["nmu"], learning_rate=[10.0**-i for i in range(8)])
    looks = [one.look for one in series_of(results).values()]
    assert {(look["color"], look["marker"]) for look in looks} == {LOOKS["nmu"]}
    assert len({(str(look["linestyle"]), look["markerfacecolor"]) for look in looks}) == 8


def test_a_recurrent_cell_without_a_unit_has_a_look_of_its_own(tmp_path):
    cells = [digits(tmp_path, unit="nac"), digits(tmp_path, cell="lstm"), digits(tmp_path, cell="exact_sum")]
    assert [one.look["color"] for one in series_of(cells).values()] == [LOOKS[n][0] for n in ("nac", "lstm", "exact_sum")]


# Names


def test_pictures_have_paper_names_and_tables_registered_ones(tmp_path):
    assert [label_unit(name) for name in ("nac_mul_sigma", "gnalu", "mine")] == ["NAC•,σ", "G-NALU", "mine"]
    axes = [
        {"unit": "nau", "cell": "accumulator", "r_z_weight": 1.0},
        {"cell": "lstm", "readout": "dense"},
        {"cell": "exact_sum"},
    ]
    cells = [digits(tmp_path, "mnist_sum", **one) for one in axes]
    assert [label_cell(cell) for cell in cells] == ["NAU accumulator, $R_z$ weight 1", "LSTM + dense", "exact sum"]
    assert [name_cell(cell) for cell in cells] == ["nau accumulator r_z_weight=1.0", "lstm readout=dense", "exact_sum"]


# Files


@pytest.mark.slow
def test_a_picture_is_written_as_wide_as_text_in_three_formats_the_same_every_time(tmp_path):
    run = grid(tmp_path, ["nac", "nalu"], ["add", "sub"])
    curves.write(run, tmp_path)
    assert size_of(tmp_path / "curves.png")[0] == 1100  # 5.5 inches of 200 dots
    files = [tmp_path / f"curves.{kind}" for kind in ("pdf", "svg")]
    pdf, svg = (path.read_bytes() for path in files)
    assert pdf.startswith(b"%PDF") and b"/MediaBox [ 0 0 396 " in pdf and b"CreationDate" not in pdf
    assert b'width="396pt"' in svg and b"dc:date" not in svg and b"<text" not in svg  # no font is needed
    curves.write(run, tmp_path)
    assert [path.read_bytes() for path in files] == [pdf, svg]


def test_a_drawing_says_what_it_shows():
    figure = Figure()
    panel = figure.subplots()
    panel.set(xlabel="training step", ylabel="$10^{-3}$ of\n$R_z$", title="a × b")
    panel.plot([0, 1], label="NAC")
    figure.legend(title="median")
    assert describe(figure) == "Panels: a × b. Across: training step. Upwards: 10^-3 of R_z. median: NAC."
