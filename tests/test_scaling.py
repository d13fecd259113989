"""scripts/scaling.py: what it measures, without measuring, its picture from a file, and what it refuses."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

from nalu_jax import functional
from scripts import scaling, scaling_picture


def made_up(x=(1, 10), curves=("nac",), **more):
    """A part whose every place has rounds of 1, 2 and 4."""
    rounds = {name: [[1.0, 4.0, 2.0] for _ in x] for name in curves}
    return {"jax": "0", "devices": 2, "platform": "cpu", "x": list(x), **more, "curves": rounds}


ALL = {
    "seeds": made_up(x=(1, 10_000), curves=("nac", "nalu")),
    "inputs": made_up(batch=128),
    "hidden": made_up(curves=(scaling.COLUMNS, scaling.MATRIX), few_outputs=8),
    "units": made_up(x=("nac", "nalu"), curves=("speed",)),
    "blocks": made_up(chosen=5),
    "compile": made_up(),
    "memory": made_up(),
}


@pytest.fixture
def folder(tmp_path):
    """A folder whose benchmarks/scaling.json holds made-up numbers."""
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "scaling.json").write_text(scaling.as_text(ALL))
    return tmp_path


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    figures = []
    save = scaling_picture.save
    monkeypatch.setattr(scaling_picture, "save", lambda figure, path: (figures.append(figure), save(figure, path)))
    return figures


# Measuring


def test_seeds_that_only_fill_up_do_not_count_as_speed(monkeypatch):
    taken, job = [], scaling.job_of(seeds=3)

    class Compiled:
        layout = job.layout

        def chunk(self, run, problem, steps, evaluate):
            taken.append(steps)
            return run, {}

    clock = iter(range(1000))
    monkeypatch.setattr(scaling, "forget", lambda: None)
    monkeypatch.setattr(scaling, "started", lambda job: (Compiled(), 0, 0))
    monkeypatch.setattr(scaling.time, "perf_counter", lambda: next(clock))  # each call takes a second
    rounds = scaling.speed(job, scaling.Effort(seconds=4.0, rounds=2))
    assert taken == [0, 1, 4, 4] and rounds == [3 * 4 / 1] * 2


def test_a_round_takes_as_many_steps_as_fill_the_time():
    assert scaling.enough(lambda steps: 0.001 * steps, 0.5) == 500
    assert scaling.enough(lambda steps: 2.0 * steps, 0.5) == 1


def test_units_that_cannot_add_multiply_and_sizes_arrive_where_they_belong():
    operations = {unit: scaling.job_of(unit).task.operation for unit in ("nac", "nalu", "relu", "nmu", "real_npu")}
    assert operations == {"nac": "add", "nalu": "add", "relu": "add", "nmu": "mul", "real_npu": "mul"}
    job = scaling.job_of(seeds=30, hidden_size=5, block=7, input_size=2)
    assert (job.schedule.num_seeds, job.config.network.hidden_size, job.task.input_size) == (30, 5, 2)
    # Each of two devices has 15 seeds, in blocks of up to 7: three of 5.
    assert job.layout.block == 5


def products(hidden_size, kind):
    """How many products the formula of a layer takes."""
    with scaling.product(kind, hidden_size):
        made = jax.make_jaxpr(lambda x, w: functional.linear(x, w))(np.ones((3, 4)), np.ones((3, hidden_size)))
    return str(made).count("dot_general")


@pytest.mark.parametrize("hidden_size", [2, 8, 9, 30])
def test_both_kinds_of_product_are_measured_on_either_side_of_the_switch(hidden_size):
    chosen = functional.FEW_OUTPUTS
    assert products(hidden_size, scaling.COLUMNS) == hidden_size
    assert products(hidden_size, scaling.MATRIX) == 1
    assert chosen == functional.FEW_OUTPUTS


# Files


def test_a_part_that_is_measured_again_leaves_the_others_as_they_are(folder, monkeypatch):
    monkeypatch.setattr(scaling, "draw", lambda results, path: None)  # which takes seconds
    monkeypatch.setitem(scaling.PARTS, "inputs", lambda effort: made_up(x=(2, 1000)) | {"jax": "1"})
    assert scaling.main(["--only", "inputs", "--folder", str(folder)]) == 0
    kept = json.loads((folder / "benchmarks" / "scaling.json").read_text())
    assert list(kept) == list(scaling.PARTS)
    assert kept["inputs"]["x"] == [2, 1000] and kept["inputs"]["jax"] == "1"
    assert all(kept[name] == ALL[name] for name in ALL if name != "inputs")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--only", "seeds,warp"], "no part is named 'warp'; there are seeds, inputs, hidden"),
        (["--quick"], "tell it another place with --folder"),
        (["--draw", "--folder", "nowhere"], "measure first, without --draw"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_sentence(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as refused:
        scaling.main(arguments)
    assert refused.value.code == 2 and sentence in capsys.readouterr().err


# The picture


def test_the_picture_is_drawn_from_the_file_alone(folder, drawn, monkeypatch):
    for name in scaling.PARTS:
        monkeypatch.setitem(scaling.PARTS, name, lambda effort: pytest.fail("measured"))
    before = (folder / "benchmarks" / "scaling.json").read_text()
    assert scaling.main(["--draw", "--folder", str(folder)]) == 0
    assert (folder / "benchmarks" / "scaling.json").read_text() == before
    with Image.open(folder / "docs" / "performance.png") as picture:
        assert picture.width > 1000
    titles = [panel.get_title(loc="left") for panel in drawn[0].axes if panel.get_title(loc="left")]
    assert len(titles) == 6
    assert not any(text.get_text() == "not measured" for panel in drawn[0].axes for text in panel.texts)
    # Curves are medians on logarithmic axes.
    first = drawn[0].axes[0]
    assert (first.get_xscale(), first.get_yscale()) == ("log", "log")
    assert [list(line.get_ydata()) for line in first.get_lines()] == [[2.0, 2.0], [2.0, 2.0]]
    assert [text.get_text() for text in first.get_legend().get_texts()] == ["nac", "nalu"]
