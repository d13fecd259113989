"""The pictures of weights: what stands in them, and for which grids there are any."""

import numpy as np
import pytest
from fake_runs import (
    SINGLE_UNIT,
    arithmetic,
    digits,
    keep_figures,
    product_of,
    run_of,
    save_whole,
    size_of,
    store,
    texts,
    untrained,
)
from matplotlib.figure import Figure

from experiments.reports import weights
from experiments.reports.trained import best_of_cell


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    return keep_figures(monkeypatch, weights)


def trained(folder, unit, operation, matrix):
    """A finished cell of a NAC whose third seed, the best, has these weights, and the others no numbers."""
    axes = {"unit": unit, "operation": operation, "interpolation_range": (1.0, 2.0)}
    w_hat, m_hat = np.zeros((2, 2, 1), np.float32)
    w_hat[:, 0] = 20 * np.sign(matrix)
    m_hat[:, 0] = np.where(np.abs(matrix) == 0.5, 0, 20)
    return store(arithmetic(folder, axes, page=SINGLE_UNIT), {"layers_0": {"m_hat": m_hat, "w_hat": w_hat}})


def test_the_weights_of_the_best_seed_are_written_into_the_picture(tmp_path, drawn, monkeypatch):
    save_whole(monkeypatch)
    cells = [trained(tmp_path, "nac", "add", [1, 0.5]), trained(tmp_path, "nac", "sub", [1, -1])]
    weights.write(run_of(cells), tmp_path)
    add, sub = drawn[0].subfigs[0].subfigs
    assert [place.get_suptitle() for place in (add, sub)] == [f"NAC, U[1, 2), a {sign} b\nnot solved" for sign in "+−"]
    assert [[text.get_text() for text in place.axes[1].texts] for place in (add, sub)] == [
        ["1.000", "0.500"],
        ["1.000", "−1.000"],
    ]
    assert min(size_of(tmp_path / "weights.png")) > 100 and (tmp_path / "weights.pdf").exists()


def test_more_weights_than_a_picture_holds_are_not_drawn(tmp_path):
    weights.write(run_of(product_of(tmp_path, unit=[f"unit {i}" for i in range(41)])), tmp_path)
    assert not (tmp_path / "weights.png").exists()


@pytest.mark.slow
def test_as_many_weights_as_a_picture_holds_are_drawn(tmp_path, drawn, monkeypatch):
    monkeypatch.setattr(weights, "best_of_cell", lambda *_: None)
    monkeypatch.setattr(weights, "weight_strips", lambda *_: [weights.Strip("w", np.eye(2), "RdBu_r")])
    weights.write(run_of(product_of(tmp_path, unit=[f"unit {i}" for i in range(40)])), tmp_path)
    assert len([place for place in drawn[0].subfigs[0].subfigs if place.axes]) == 40


@pytest.mark.slow
def test_the_same_weights_are_the_same_files(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "best_of_cell", lambda *_: None)
    monkeypatch.setattr(
        weights, "weight_strips", lambda *_: [weights.Strip(w, np.eye(2), "RdBu_r") for w in ("W1", "W2", "W3")]
    )
    run, files = run_of(product_of(tmp_path, unit=["nac", "nau", "nalu"], operation=["add", "sub", "mul", "div"])), set()
    for _ in range(3):
        weights.write(run, tmp_path)
        files.add(((tmp_path / "weights.pdf").read_bytes(), (tmp_path / "weights.png").read_bytes()))
    assert len(files) == 1


def test_a_weight_that_rounds_to_nothing_has_no_sign():
    panel = Figure().subplots()
    weights.draw_strip(panel, "W", np.array([[-1e-5, 1e-5]]), "RdBu_r")
    assert texts(panel) == ["0.000", "0.000"]


def test_numbers_of_many_columns_are_shorter():
    panel = Figure().subplots()
    weights.draw_strip(panel, "W", np.array([[-0.1234, 0.5, 1.5]]), "RdBu_r")
    assert texts(panel) == ["−0.12", "0.50", "1.50"]


@pytest.mark.parametrize(
    ("largest", "label", "extend"),
    [(1.0, "weight", "neither"), (2.64, "weight, cut off at ±1 (largest: 2.6)", "both")],
)
def test_the_bar_of_colours_says_if_weights_beyond_its_ends_are_cut_off(
    largest, label, extend, tmp_path, drawn, monkeypatch
):
    strips = [weights.Strip("w", np.array([[0.5, -largest]]), "RdBu_r")]
    monkeypatch.setattr(weights, "best_of_cell", lambda *_: None)
    monkeypatch.setattr(weights, "weight_strips", lambda *_: strips)
    weights.write(run_of(product_of(tmp_path, unit=["linear"], operation=["add"])), tmp_path)
    (bar,) = [panel for panel in drawn[0].subfigs[1].axes if panel.axison]
    assert bar.get_xlabel() == label and bar._colorbar.extend == extend
    assert bar.get_xlim() == (-1, 1)


# Recurrent cells


def test_cells_without_arithmetic_weights_are_left_out_of_the_picture_of_weights(tmp_path, drawn):
    axes = [{"unit": "nac"}, {"cell": "lstm", "readout": "dense"}, {"unit": "nac", "cell": "accumulator"}]
    cells = [untrained(digits(tmp_path, at=(1, 12), train_length=4, **one)) for one in [*axes, {"cell": "exact_sum"}]]
    weights.write(run_of(cells), tmp_path)
    shown = {place.get_suptitle(): place.axes[0].images[0].get_array().shape for place in drawn[0].subfigs[0].subfigs}
    assert shown == {"NAC": (10, 20), "NAC accumulator": (10, 10)}
    read, total = (place.axes[0] for place in drawn[0].subfigs[0].subfigs)
    assert [text.get_text() for text in read.get_xticklabels()] == ["read", "remembered"] and not total.get_xticks().size
    assert [line.get_xdata() for line in read.get_lines()] == [[9.5, 9.5]]
    pictures = [weights.picture(best_of_cell(cell, "")) for cell in cells]
    assert [picture is not None for picture in pictures] == [True, False, True, False]


def test_a_grid_without_any_arithmetic_weights_has_no_picture_of_them(tmp_path):
    weights.write(run_of([untrained(digits(tmp_path, "mnist_addition", cell="lstm", readout="dense"))]), tmp_path)
    assert not (tmp_path / "weights.png").exists()
