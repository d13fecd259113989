"""The picture of what networks make of a single image: what stands in it."""

import numpy as np
import pytest
from fake_runs import digits, keep_figures, run_of, size_of, texts, untrained
from matplotlib.figure import Figure

from experiments.reports import reads
from experiments.reports.figures import pixels
from experiments.reports.trained import best_of_cell
from nalu_jax.sequences import Sequences


def cell(folder, task, **axes):
    """A finished cell of an untrained network, tested on sequences of one and of twelve digits."""
    return untrained(digits(folder, task, at=(1, 12), train_length=4, num_sequences=40, **axes))


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    return keep_figures(monkeypatch, reads)


def test_what_is_read_in_an_image_stands_above_its_digit_and_what_is_beyond_the_panel_at_its_edge():
    panel = Figure().subplots()
    reads.draw_answers(panel, np.array([3, 5, 7, 8]), np.array([3.2, 4.0, 50.0, -9.0]), None)
    inside, above, below = (collection.get_offsets() for collection in panel.collections)
    assert np.round(inside[:, 0]).tolist() == [3, 5] and inside[:, 1].tolist() == [3.2, 4.0]
    assert np.round(above[:, 0]).tolist() == [7] and np.round(below[:, 0]).tolist() == [8]
    low, high = panel.get_ylim()
    assert high - 1 < above[0, 1] < high and low < below[0, 1] < low + 1
    assert texts(panel) == []


def test_what_the_reader_reads_is_grey_behind_the_answers_unless_it_is_the_answer():
    digits, said = np.array([3, 5]), np.array([3.2, 4.0])
    for read, grey in ((2 * said, True), (said, False)):
        panel = Figure().subplots()
        reads.draw_answers(panel, digits, said, read)
        assert len(panel.collections) == 3 + grey  # with those for answers beyond the panel, above and below
        assert panel.collections[0].get_offsets()[:, 1].tolist() == read.tolist()
        assert ("grey" in panel.get_ylabel()) == grey


@pytest.mark.slow
def test_what_the_reader_reads_is_what_comes_before_the_cell(tmp_path):
    result = cell(tmp_path, "mnist_sum", unit="nac", cell="accumulator", features=1)
    network = best_of_cell(result, "nac")
    images = result.task.task.evaluations(())["extrapolation"].inputs.elements[..., :5]
    (w,) = (np.tanh(c["w_hat"]) / (1 + np.exp(-c["m_hat"])) for c in [network.params["cell"]["unit"]])
    answers = network.predict(Sequences(images, np.arange(5)[None]))[0, 0]
    np.testing.assert_allclose(reads.read_by(network, images)[0] * w[0, 0], answers, rtol=1e-4, atol=1e-6)


def test_the_first_panel_of_a_row_says_what_grey_is_in_any_of_them(tmp_path, drawn, monkeypatch):
    labels = {"exact sum": "answer", "NAC accumulator": "answer (grey: reader)"}
    monkeypatch.setattr(reads, "draw_reading", lambda panel, network: panel.set_ylabel(labels[network.name]))
    cells = [cell(tmp_path, "mnist_sum", cell="exact_sum"), cell(tmp_path, "mnist_sum", unit="nac", cell="accumulator")]
    reads.write(run_of(cells), tmp_path)
    reads.write(run_of(cells[:1]), tmp_path)
    assert [figure.axes[0].get_ylabel() for figure in drawn] == ["answer (grey: reader)", "answer"]


def test_a_panel_whose_answers_are_mostly_beyond_it_says_where_they_are():
    panel = Figure().subplots()
    reads.draw_answers(panel, np.arange(4), np.array([44.0, 45.0, 46.0, 1.0]), None)
    assert texts(panel) == ["median 44.5"]


def test_the_matrix_of_counts_has_the_mean_answers_to_each_digit_in_its_row():
    panel = Figure().subplots()
    said = np.zeros((10, 3))
    said[4] = [1.0, 0.0, -1.0]
    reads.draw_counts(panel, np.array([2, 2, 9]), said)
    matrix = panel.images[0].get_array()
    assert (matrix[2, 4], matrix[9, 4]) == (0.5, -1) and np.count_nonzero(matrix) == 2


@pytest.mark.parametrize(("most", "label"), [(1.0, "mean answer"), (1.5, "mean answer, cut off at ±1")])
def test_the_bar_of_colours_says_if_answers_beyond_its_ends_are_cut_off(most, label, tmp_path, drawn, monkeypatch):
    said = np.full((10, 1), most)
    monkeypatch.setattr(reads, "draw_reading", lambda panel, _: reads.draw_counts(panel, np.array([3]), said))
    reads.write(run_of([cell(tmp_path, "mnist_counting", unit="nac")]), tmp_path)
    assert drawn[0].axes[-1].get_ylabel() == label


@pytest.mark.parametrize(
    "task", [pytest.param(task, marks=pytest.mark.slow) for task in ("mnist_counting", "mnist_addition", "mnist_product")]
)
def test_each_cell_has_a_panel_of_what_it_reads_whose_title_says_how_often_it_is_right(task, tmp_path, drawn):
    cells = [cell(tmp_path, task, **axes) for axes in ({"unit": "nac"}, {"cell": "lstm", "readout": "dense"})]
    reads.write(run_of(cells), tmp_path)
    titles = [panel.get_title() for panel in drawn[0].axes[:2]]
    for result, name, title in zip(cells, ("NAC", "LSTM + dense"), titles, strict=True):
        batch = result.task.task.evaluations(())["extrapolation"]
        said, truth = best_of_cell(result, "").predict(batch.inputs)[:, 0], np.asarray(batch.targets)[:, 0]
        right = said.argmax(0) == truth.argmax(0) if task == "mnist_counting" else np.round(said[0]) == truth[0]
        assert title == f"{name}\n{100 * right.mean():.0f} % right"


def test_a_picture_of_the_first_cells_says_so(tmp_path, drawn, monkeypatch):
    monkeypatch.setattr(reads, "MOST_PANELS", 2)
    cells = [cell(tmp_path, "mnist_sum", **axes) for axes in ({"unit": "nac"}, {"cell": "lstm"}, {"unit": "nau"})]
    monkeypatch.setattr(reads, "draw_reading", lambda *_: None)
    for some in (cells, cells[:2]):
        reads.write(run_of(some), tmp_path)
    assert [figure.get_supxlabel() for figure in drawn] == ["the first 2 of 3 cells", ""]


def test_the_picture_is_a_file_of_a_readable_size_and_tensorboard_gets_one_of_a_network(tmp_path):
    result = cell(tmp_path, "mnist_counting", cell="lstm", readout="dense")
    reads.write(run_of([result]), tmp_path)
    width, height = size_of(tmp_path / "reads.png")
    assert width == 1100 and height > 250 and (tmp_path / "reads.pdf").exists()
    shown = pixels(reads.picture(best_of_cell(result, "")))
    assert shown.dtype == np.uint8 and shown.ndim == 3 and shown.shape[2] == 3 and min(shown.shape[:2]) > 150
    assert shown.min() < 50 and shown.max() == 255
