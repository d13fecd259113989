"""The pictures of sequences: what stands in them, and for which grids there are any."""

import json

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure
from ml_collections import ConfigDict
from PIL import Image

from experiments import build, plots, sequence_plots
from experiments.results import CellResult, Files
from nalu_jax.checkpoint import pack
from nalu_jax.data import mnist

NAN = float("nan")
AT = (1, 10, 100)


def cell(path, unit, task="mnist_addition", at=AT, train_length=10, mae=(4.0, 1.0, 2.0, 3.0), **axes):
    """A finished cell of four seeds whose errors are the given ones, times the length; predictors are off by 7 and 5."""
    files = Files(path / "-".join([unit, *map(str, axes.values())]))
    files.path.mkdir(exist_ok=True)
    files.config.write_text(
        json.dumps({"config": {"task": {"name": task, "train_length": train_length, "lengths": list(at)}}})
    )
    seeds = {"seed": np.arange(4.0), "interpolation_mse": np.array([4.0, 3.0, 1.0, 2.0]), "solved": np.zeros(4)}
    seeds["diverged_at"] = np.where(np.isnan(mae), 100, NAN)
    predictors = {"constant": {}, "mean": {}}
    for length in at:
        name = "extrapolation_mae" if length == at[-1] else f"extrapolation_mae_{length}"
        seeds[name] = length * np.array(mae)
        predictors["constant"][name], predictors["mean"][name] = 7.0 * length, 5.0
    return CellResult({"unit": unit} | axes, seeds, {"predictors": predictors, "threshold": 0.0, "steps": 9}, files)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    figures: list[Figure] = []
    save = plots.save

    def keep(figure, path):
        figures.append(figure)
        save(figure, path)

    monkeypatch.setattr(plots, "save", keep)
    return figures


def texts(panel):
    return [text.get_text() for text in panel.texts]


def heights(panel):
    return [line.get_ydata() for line in panel.get_lines() if len(line.get_xdata()) > 2]


# Lengths


def test_the_picture_of_lengths_shows_the_median_error_and_the_error_per_image_with_bands(tmp_path, drawn):
    assert sequence_plots.lengths([cell(tmp_path, "nac")], tmp_path / "lengths.png") is True
    whole, share = drawn[0].axes
    assert list(whole.get_lines()[0].get_xdata()) == list(AT)
    np.testing.assert_allclose(heights(whole), [[2.5, 25, 250], [7, 70, 700], [5, 5, 5]])
    np.testing.assert_allclose(heights(share), [[2.5, 2.5, 2.5], [7, 7, 7], [5, 0.5, 0.05]])
    for panel, band in ((whole, [1, 4, 10, 40, 100, 400]), (share, [1, 4])):
        assert sorted(set(panel.collections[0].get_paths()[0].vertices[:, 1])) == pytest.approx(band)
    assert (whole.get_xscale(), whole.get_yscale()) == ("log", "log")
    assert [panel.get_ylabel() for panel in (whole, share)] == ["mean absolute error", "error per image"]


def test_the_training_length_is_marked_and_predictors_are_named_at_their_ends(tmp_path, drawn):
    sequence_plots.lengths([cell(tmp_path, "nac", train_length=10)], tmp_path / "lengths.png")
    for panel in drawn[0].axes:
        assert sorted(texts(panel)) == ["constant", "trained on 10", "true mean"]
        assert [list(line.get_xdata()) for line in panel.get_lines() if len(line.get_xdata()) == 2] == [[10, 10]]


def test_names_at_the_ends_of_lines_that_end_together_stand_apart(tmp_path, drawn):
    result = cell(tmp_path, "nac")
    result.result["predictors"]["mean"]["extrapolation_mae"] = 701.0
    sequence_plots.lengths([result], tmp_path / "lengths.png")
    panel = drawn[0].axes[0]
    drawn[0].canvas.draw()
    bottom, top = sorted(text.get_window_extent().y0 for text in panel.texts if text.get_text() != "trained on 10")
    assert top - bottom > 8 * drawn[0].dpi / 72


def test_products_are_held_against_the_error_of_the_true_mean(tmp_path, drawn):
    sequence_plots.lengths([cell(tmp_path, "nmu", "mnist_product", (1, 2, 4), 2)], tmp_path / "lengths.png")
    np.testing.assert_allclose(heights(drawn[0].axes[1]), [[0.5, 1, 2], [1.4, 2.8, 5.6], [1, 1, 1]])
    assert drawn[0].axes[1].get_ylabel() == "error over that of the true mean"
    assert drawn[0].axes[0].get_xscale() == "linear"
    drawn[0].canvas.draw()
    assert {"0.5", "1", "2", "5"} <= {label.get_text() for label in drawn[0].axes[1].get_yticklabels()}


def test_forms_of_a_cell_share_a_colour_and_are_told_apart_by_their_line(tmp_path, drawn):
    units = ["nac", "nac_accumulator", "lstm", "lstm_published", "exact_sum"]
    sequence_plots.lengths([cell(tmp_path, unit) for unit in units], tmp_path / "lengths.png")
    nac, nac_sum, lstm, lstm_bare, exact = drawn[0].legends[0].get_lines()
    assert nac.get_color() == nac_sum.get_color() != lstm.get_color() == lstm_bare.get_color()
    assert exact.get_color() == "black" and len({line.get_color() for line in (nac, lstm, exact)}) == 3
    styles = [line._unscaled_dash_pattern for line in (nac, nac_sum, lstm, lstm_bare)]
    assert len({str(style) for style in styles}) == 4 and styles[0] == (0, None)


def test_no_cell_but_the_exact_one_is_black(tmp_path):
    results = [cell(tmp_path, f"unit{i}") for i in range(16)]
    looks = sequence_plots.looks_of([*results, cell(tmp_path, "exact_sum")])
    assert [label for label, look in looks.items() if look["color"] in ("black", "#000000")] == ["exact_sum"]
    assert len({(look["color"], look["marker"], look.get("markerfacecolor")) for look in looks.values()}) == 17


def test_diverged_seeds_are_told_in_the_legend_and_stretch_no_band(tmp_path, drawn):
    sequence_plots.lengths([cell(tmp_path, "nac", mae=(1.0, 2.0, 3.0, NAN))], tmp_path / "lengths.png")
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == ["nac (1 diverged)"]
    np.testing.assert_allclose(heights(drawn[0].axes[0])[0], [2.5, 25, 250])
    assert np.isfinite(drawn[0].axes[0].get_ylim()).all()


def test_what_explodes_does_not_press_the_others_together(tmp_path, drawn):
    grid = [cell(tmp_path, "nac"), cell(tmp_path, "rnn_relu", mae=(1e20, 1e20, 1e20, 1e20))]
    sequence_plots.lengths(grid, tmp_path / "lengths.png")
    assert drawn[0].axes[0].get_ylim()[1] < 1e6


def test_a_grid_with_one_length_or_about_something_else_has_no_such_pictures(tmp_path):
    result = cell(tmp_path, "nac")
    seeds = {name: values for name, values in result.seeds.items() if "mae" not in name}
    other = result._replace(seeds=seeds)
    assert sequence_plots.lengths([cell(tmp_path, "nau", at=(10,))], tmp_path / "lengths.png") is False
    assert sequence_plots.lengths([other], tmp_path / "lengths.png") is False
    assert sequence_plots.strip([other], [ConfigDict()], tmp_path / "strip.png") is False
    assert sequence_plots.reads([other], [ConfigDict()], tmp_path / "reads.png") is False
    assert not list(tmp_path.glob("*.png"))


# Networks


def config(unit, task, outputs=1):
    """The sections of a cell's config that its answers depend on."""
    return ConfigDict(
        {
            "unit": {"name": unit, "initializer": "madsen_johansen", "epsilon": 1e-7},
            "network": {
                "name": "image_sequence",
                "trunk": {"name": "trask", "dropout": 0.0},
                "features": 10,
                "hidden_size": 4,
                "outputs": outputs,
            },
            "task": {
                "name": f"mnist_{task}",
                "data": "embedded",
                "train_length": 4,
                "lengths": (1, 12),
                "num_sequences": 40,
                "threshold": 0.0,
            },
        }
    )


def untrained(path, unit, task, outputs=1):
    """A finished cell whose third seed, the best, says what an untrained network says; the others are not numbers."""
    made = config(unit, task, outputs)
    model, example = build.network(made), build.task_spec(made).example
    params = model.init(jax.random.key(3), plots.zeros(example))["params"]
    stored = jax.tree.map(lambda leaf: np.stack([leaf if i == 2 else np.full_like(leaf, NAN) for i in range(4)]), params)
    result = cell(path, unit, f"mnist_{task}", (1, 12), 4)
    result.files.params.write_bytes(pack({"best": stored, "last": stored}))
    return result, made


def first_digits(made, count):
    """The digits of the first test sequence."""
    order = np.asarray(build.task_spec(made).task.test[2])[:count, 0]
    return mnist.load("embedded").test.labels[order].astype(int)


def numbers(panel, columns):
    """The numbers in a table, row by row."""
    found = [text.replace("−", "-") for text in texts(panel)]
    return [found[i : i + columns] for i in range(0, len(found), columns)]


def test_the_strip_shows_ten_images_and_below_them_the_true_and_every_networks_totals(tmp_path, drawn):
    cells = [untrained(tmp_path, unit, "addition") for unit in ("exact_sum", "nac_accumulator")]
    assert sequence_plots.strip(*map(list, zip(*cells, strict=True)), tmp_path / "strip.png") is True
    above, below = drawn[0].subfigs[0].axes
    assert len(above.images) == 10
    assert [label.get_text() for label in below.get_yticklabels()] == ["true sum", "exact_sum", "nac_accumulator"]
    truth, *said = numbers(below, 10)
    assert [int(total) for total in truth] == np.cumsum(first_digits(cells[0][1], 10)).tolist()
    for (result, made), row in zip(cells, said, strict=True):
        batch = build.task_spec(made).task.evaluations(())["extrapolation"]
        outcome = build.network(made).apply({"params": plots.best_params(result, made)}, batch.inputs)
        np.testing.assert_allclose(np.array(row, float), np.asarray(outcome)[0, :10, 0], atol=0.051)


def test_the_images_of_a_strip_are_those_of_the_sequence_dark_on_white(tmp_path, drawn):
    result, made = untrained(tmp_path, "exact_sum", "sum")
    sequence_plots.strip([result], [made], tmp_path / "strip.png")
    order = np.asarray(build.task_spec(made).task.test[2])[:10, 0]
    shown = [image.get_array() for image in drawn[0].subfigs[0].axes[0].images]
    np.testing.assert_allclose(shown, 1 - mnist.load("embedded").test.pixels[order] / 255, atol=1e-6)


def test_of_counts_the_strip_says_how_often_each_digit_came(tmp_path, drawn):
    result, made = untrained(tmp_path, "exact_sum", "counting", 10)
    sequence_plots.strip([result], [made], tmp_path / "strip.png")
    below = drawn[0].subfigs[0].axes[1]
    truth = [int(text) for text in texts(below)[:10]]
    assert truth == np.bincount(first_digits(made, 10), minlength=10).tolist()
    assert texts(below)[-10:] == [f"{digit}s" for digit in range(10)]


@pytest.mark.parametrize(
    ("task", "truth", "said", "off"),
    [
        ("sum", [4.0, 9.0], [4.5, 19.0], [0.5, 10.0]),
        ("product", [0.5, 200.0], [1.0, 100.0], [0.5, 0.5]),
    ],
)
def test_a_total_is_the_redder_the_further_off_and_a_product_for_its_size(task, truth, said, off):
    spec, panel = build.task_spec(config("nac", task)), Figure().subplots()
    sequence_plots.draw_totals(panel, spec, np.array(truth), np.array([said]), ["nac"])
    np.testing.assert_allclose(panel.images[0].get_array(), [off])
    assert panel.images[0].get_clim()[0] == 0


@pytest.mark.parametrize(
    ("value", "exact", "text"),
    [
        (7.0, True, "7"),
        (387420489.0, True, "3.9e8"),
        (-0.04, False, "0.0"),
        (-1.26, False, "−1.3"),
        (20001.0, False, "20,001"),
    ],
)
def test_totals_are_short(value, exact, text):
    assert sequence_plots.total_text(value, exact=exact) == text


def test_what_is_read_in_an_image_stands_above_its_digit_and_what_is_beyond_the_panel_at_its_edge():
    panel = Figure().subplots()
    sequence_plots.draw_answers(panel, np.array([3, 5, 7, 8]), np.array([3.2, 4.0, 50.0, -9.0]), None)
    inside, above, below = (collection.get_offsets() for collection in panel.collections)
    assert np.round(inside[:, 0]).tolist() == [3, 5] and inside[:, 1].tolist() == [3.2, 4.0]
    assert np.round(above[:, 0]).tolist() == [7] and np.round(below[:, 0]).tolist() == [8]
    low, high = panel.get_ylim()
    assert high - 1 < above[0, 1] < high and low < below[0, 1] < low + 1
    assert texts(panel) == []


def test_what_the_trunk_reads_is_grey_behind_the_answers_unless_it_is_the_answer():
    digits, said = np.array([3, 5]), np.array([3.2, 4.0])
    for read, grey in ((2 * said, True), (said, False)):
        panel = Figure().subplots()
        sequence_plots.draw_answers(panel, digits, said, read)
        assert len(panel.collections) == 3 + grey  # with those for answers beyond the panel, above and below
        assert panel.collections[0].get_offsets()[:, 1].tolist() == read.tolist()
        assert ("grey" in panel.get_ylabel()) == grey


def test_what_the_trunk_reads_is_what_comes_before_the_cell(tmp_path):
    made = config("nac_accumulator", "sum")
    made.network.features = 1
    model, spec = build.network(made), build.task_spec(made)
    params = model.init(jax.random.key(3), plots.zeros(spec.example))["params"]
    network = sequence_plots.trained("nac", made, params)
    images = spec.task.evaluations(())["extrapolation"].inputs.images[..., :5]
    (w,) = (np.tanh(c["w_hat"]) / (1 + np.exp(-c["m_hat"])) for c in [params["cell"]["unit"]])
    answers = network.says(images, np.arange(5)[None])[0, 0]
    np.testing.assert_allclose(network.reads(images)[0] * w[0, 0], answers, rtol=1e-4, atol=1e-6)


def test_a_picture_of_the_first_cells_says_so(tmp_path, drawn, monkeypatch):
    monkeypatch.setattr(sequence_plots, "MOST_ROWS", 2)
    monkeypatch.setattr(sequence_plots, "MOST_PANELS", 2)
    results, configs = map(list, zip(*[untrained(tmp_path, unit, "sum") for unit in ("nac", "lstm", "nau")], strict=True))
    for draw in (sequence_plots.strip, sequence_plots.reads):
        assert draw(results, configs, tmp_path / "some.png")
        assert draw(results[:2], configs[:2], tmp_path / "all.png")
    assert [figure.get_supxlabel() for figure in drawn] == ["the first 2 of 3 cells", ""] * 2


def test_a_panel_whose_answers_are_mostly_beyond_it_says_where_they_are():
    panel = Figure().subplots()
    sequence_plots.draw_answers(panel, np.arange(4), np.array([44.0, 45.0, 46.0, 1.0]), None)
    assert texts(panel) == ["median 44.5"]


def test_the_matrix_of_counts_has_the_mean_answers_to_each_digit_in_its_row():
    panel = Figure().subplots()
    said = np.zeros((10, 3))
    said[4] = [1.0, 0.0, -1.0]
    sequence_plots.draw_counts(panel, np.array([2, 2, 9]), said)
    matrix = panel.images[0].get_array()
    assert (matrix[2, 4], matrix[9, 4]) == (0.5, -1) and np.count_nonzero(matrix) == 2


@pytest.mark.parametrize(("task", "outputs"), [("counting", 10), ("addition", 1), ("product", 1)])
def test_each_cell_has_a_panel_of_what_it_reads_whose_title_says_how_often_it_is_right(task, outputs, tmp_path, drawn):
    cells = [untrained(tmp_path, unit, task, outputs) for unit in ("nac", "lstm")]
    assert sequence_plots.reads(*map(list, zip(*cells, strict=True)), tmp_path / "reads.png") is True
    titles = [panel.get_title() for panel in drawn[0].axes[:2]]
    for (result, made), title in zip(cells, titles, strict=True):
        batch = build.task_spec(made).task.evaluations(())["extrapolation"]
        outcome = build.network(made).apply({"params": plots.best_params(result, made)}, batch.inputs)
        said, truth = np.asarray(outcome)[:, 0], np.asarray(batch.targets)[:, 0]
        right = said.argmax(0) == truth.argmax(0) if outputs > 1 else np.round(said[0]) == truth[0]
        assert title == f"{result.axes['unit']}: {100 * right.mean():.0f} % right"


def test_tensorboard_gets_a_strip_and_what_is_read_as_pixels(tmp_path):
    result, made = untrained(tmp_path, "lstm", "counting", 10)
    params = plots.best_params(result, made)
    for pixels in (sequence_plots.strip_pixels(made, params), sequence_plots.reading_pixels(made, params)):
        assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3 and min(pixels.shape[:2]) > 150
        assert pixels.min() < 50 and pixels.max() == 255


# Weights


def test_cells_without_arithmetic_weights_are_left_out_of_the_picture_of_weights(tmp_path, drawn):
    cells = [untrained(tmp_path, unit, "counting", 10) for unit in ("nac", "lstm", "nac_accumulator", "exact_sum")]
    results, configs = map(list, zip(*cells, strict=True))
    assert plots.weights(results, configs, tmp_path / "weights.png") is True
    shown = {place.get_suptitle(): place.axes[0].images[0].get_array().shape for place in drawn[0].subfigs}
    assert shown == {"nac": (10, 20), "nac_accumulator": (10, 10)}
    read, total = (place.axes[0] for place in drawn[0].subfigs)
    assert [text.get_text() for text in read.get_xticklabels()] == ["read", "remembered"] and not total.get_xticks().size
    assert [line.get_xdata() for line in read.get_lines()] == [[9.5, 9.5]]
    params = [plots.best_params(*cell) for cell in cells]
    drawn_for = [plots.weight_pixels(made, p, 2) is not None for made, p in zip(configs, params, strict=True)]
    assert drawn_for == [True, False, True, False]


def test_a_grid_without_any_arithmetic_weights_has_no_picture_of_them(tmp_path):
    result, made = untrained(tmp_path, "lstm", "addition")
    assert plots.weights([result], [made], tmp_path / "weights.png") is False
    assert not (tmp_path / "weights.png").exists()


def test_the_pictures_are_files_of_a_readable_size(tmp_path):
    result, made = untrained(tmp_path, "nac", "addition")
    for name, draw in {"strip": sequence_plots.strip, "reads": sequence_plots.reads}.items():
        draw([result], [made], tmp_path / f"{name}.png")
        with Image.open(tmp_path / f"{name}.png") as image:
            assert image.size[0] > 400 and image.size[1] > 250
