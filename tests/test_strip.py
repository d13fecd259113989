"""The picture of a sequence with the totals that networks predict: what stands in it."""

import numpy as np
import pytest
from fake_runs import digits, keep_figures, run_of, size_of, texts, untrained
from matplotlib.figure import Figure

from experiments.reports import strip
from experiments.reports.figures import pixels
from experiments.reports.trained import best_of_cell
from nalu_jax.data import mnist


def cell(folder, task, **axes):
    """A finished cell of an untrained network, tested on sequences of one and of twelve digits."""
    return untrained(digits(folder, task, at=(1, 12), train_length=4, num_sequences=40, **axes))


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    return keep_figures(monkeypatch, strip)


def first_digits(result, count):
    """The digits of the first test sequence."""
    order = np.asarray(result.task.task.test[2])[:count, 0]
    return mnist.load("embedded").test.labels[order].astype(int)


def numbers(panel, columns):
    """The numbers in a table, row by row."""
    found = [text.replace("−", "-") for text in texts(panel)]
    return [found[i : i + columns] for i in range(0, len(found), columns)]


@pytest.mark.slow
def test_the_strip_shows_ten_images_and_below_them_the_true_and_every_networks_totals(tmp_path, drawn):
    cells = [
        cell(tmp_path, "mnist_addition", **axes) for axes in ({"cell": "exact_sum"}, {"unit": "nac", "cell": "accumulator"})
    ]
    strip.write(run_of(cells), tmp_path)
    above, below = drawn[0].subfigs[0].axes
    assert len(above.images) == 10
    assert [label.get_text() for label in below.get_yticklabels()] == ["true sum", "exact sum", "NAC accumulator"]
    truth, *said = numbers(below, 10)
    assert [int(total) for total in truth] == np.cumsum(first_digits(cells[0], 10)).tolist()
    for one, row in zip(cells, said, strict=True):
        outcome = best_of_cell(one, "").predict(one.task.task.evaluations(())["extrapolation"].inputs)
        np.testing.assert_allclose(np.array(row, float), outcome[0, :10, 0], atol=0.051)


def test_the_images_of_a_strip_are_those_of_the_sequence_dark_on_white(tmp_path, drawn):
    result = cell(tmp_path, "mnist_sum", cell="exact_sum")
    strip.write(run_of([result]), tmp_path)
    order = np.asarray(result.task.task.test[2])[:10, 0]
    shown = [image.get_array() for image in drawn[0].subfigs[0].axes[0].images]
    np.testing.assert_allclose(shown, 1 - mnist.load("embedded").test.pixels[order] / 255, atol=1e-6)


def test_of_counts_the_strip_says_how_often_each_digit_came(tmp_path, drawn):
    result = cell(tmp_path, "mnist_counting", cell="exact_sum")
    strip.write(run_of([result]), tmp_path)
    below = drawn[0].subfigs[0].axes[1]
    truth = [int(text) for text in texts(below)[:10]]
    assert truth == np.bincount(first_digits(result, 10), minlength=10).tolist()
    assert texts(below)[-10:] == [f"{digit}s" for digit in range(10)]


@pytest.mark.parametrize(
    ("task", "truth", "said", "off"),
    [
        ("sum", [4.0, 9.0], [4.5, 19.0], [0.5, 10.0]),
        ("product", [0.5, 200.0], [1.0, 100.0], [0.5, 0.5]),
    ],
)
def test_a_total_is_the_redder_the_further_off_and_a_product_for_its_size(task, truth, said, off, tmp_path):
    spec, panel = digits(tmp_path, f"mnist_{task}", unit="nac").task, Figure().subplots()
    strip.draw_totals(panel, spec, np.array(truth), np.array([said]), ["nac"])
    np.testing.assert_allclose(panel.images[0].get_array(), [off])
    assert panel.images[0].get_clim()[0] == 0


@pytest.mark.parametrize(
    ("truth", "said", "texts"),
    [
        ([7.0, 12.0], [-0.04, -1.26], [["7", "12"], ["0.0", "−1.3"]]),
        ([7.0, 12.0], [20001.0, -1e9], [["7", "12"], [">999", "<−999"]]),
        ([7.0, 999.0], [999.94, 999.96], [["7", "999"], ["999.9", ">999"]]),
        ([4.0, 387420489.0], [653.5, -0.04], [["4.0e0", "3.9e8"], ["6.5e2", "−4.0e−2"]]),
        ([4.0, 9.0], [np.nan, np.inf], [["4", "9"], ["∞", "∞"]]),
    ],
)
def test_all_totals_of_a_picture_have_one_format(truth, said, texts):
    assert strip.total_texts(np.array(truth), np.array([said])) == texts


@pytest.mark.parametrize("task", ["mnist_counting", "mnist_addition"])
def test_digits_are_square_and_not_cut_off(task, tmp_path, drawn):
    strip.write(run_of([cell(tmp_path, task, cell="exact_sum")]), tmp_path)
    above = drawn[0].subfigs[0].axes[0]
    drawn[0].draw_without_rendering()
    for image in above.images:
        box = image.get_window_extent()
        assert box.width == pytest.approx(box.height, rel=0.01) and box.width > 0.2 * drawn[0].dpi
    assert above.get_xlim() == (0, 10)


def test_digits_stand_above_their_totals(tmp_path, drawn):
    strip.write(run_of([cell(tmp_path, "mnist_addition", cell="exact_sum")]), tmp_path)
    above, below = drawn[0].subfigs[0].axes
    drawn[0].draw_without_rendering()
    ends = [panel.transData.transform([(0, 0), (10, 0)])[:, 0] for panel in (above, below)]
    np.testing.assert_allclose(*ends, atol=2)


def test_a_picture_of_the_first_cells_says_so(tmp_path, drawn, monkeypatch):
    monkeypatch.setattr(strip, "MOST_ROWS", 2)
    cells = [cell(tmp_path, "mnist_sum", **axes) for axes in ({"unit": "nac"}, {"cell": "lstm"}, {"unit": "nau"})]
    monkeypatch.setattr(strip, "draw_sequence", lambda *_: None)
    for some in (cells, cells[:2]):
        strip.write(run_of(some), tmp_path)
    assert [figure.get_supxlabel() for figure in drawn] == ["the first 2 of 3 cells", ""]


def test_the_picture_is_a_file_of_a_readable_size_and_tensorboard_gets_one_of_a_network(tmp_path):
    result = cell(tmp_path, "mnist_counting", cell="lstm", readout="dense")
    strip.write(run_of([result]), tmp_path)
    width, height = size_of(tmp_path / "strip.png")
    assert width == 1100 and height > 200 and (tmp_path / "strip.pdf").exists()
    shown = pixels(strip.picture(best_of_cell(result, "")))
    assert shown.dtype == np.uint8 and shown.ndim == 3 and shown.shape[2] == 3 and min(shown.shape[:2]) > 150
    assert shown.min() < 50 and shown.max() == 255
