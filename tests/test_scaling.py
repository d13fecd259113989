"""scripts/scaling.py: its measurements with tiny settings, its picture from a file, and what it refuses."""

import json
import math
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from experiments import build
from nalu_jax import functional
from scripts import scaling, scaling_picture

ROOT = Path(__file__).resolve().parent.parent

TINY = scaling.Effort(seconds=0.01, rounds=2, points=1, heaviest=1)


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
def undrawn(monkeypatch):
    """Draws nothing, which takes seconds."""
    monkeypatch.setattr(scaling, "draw", lambda results, path: None)


@pytest.fixture
def keeping(monkeypatch):
    """Lets compiled programs be, where nothing is compiled that matters."""
    monkeypatch.setattr(scaling, "forget", lambda: None)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    figures = []
    save = scaling_picture.save
    monkeypatch.setattr(scaling_picture, "save", lambda figure, path: (figures.append(figure), save(figure, path)))
    return figures


# Measuring


def test_a_speed_is_measured_for_seeds_that_do_not_fill_the_devices(optax_promotion):
    rounds = scaling.speed(scaling.config_of(seeds=3, input_size=2), TINY)
    assert len(rounds) == 2 and all(math.isfinite(speed) and speed > 0 for speed in rounds)


def test_seeds_that_only_fill_up_do_not_count_as_speed(keeping, monkeypatch):
    taken = []

    class Chunk:
        layout = scaling.build.layout(scaling.config_of(seeds=3))

        def chunk(self, run, setup, steps, evaluate):
            taken.append(steps)
            return run, {}

    clock = iter(range(1000))
    monkeypatch.setattr(scaling, "started", lambda config: (Chunk(), 0, 0))
    monkeypatch.setattr(scaling.time, "perf_counter", lambda: next(clock))  # each call takes a second
    rounds = scaling.speed(scaling.config_of(seeds=3), scaling.Effort(seconds=4.0, rounds=2))
    assert taken == [0, 1, 4, 4] and rounds == [3 * 4 / 1] * 2


def test_compiling_is_timed_anew_in_every_round(monkeypatch):
    compiled = []
    monkeypatch.setattr(scaling, "forget", lambda: compiled.append("forgot"))
    monkeypatch.setattr(scaling, "started", lambda config: compiled.append(config.num_seeds) or (Programs, 0, 0))

    class Programs:
        chunk = staticmethod(lambda run, setup, steps, evaluate: (run, compiled.append((steps, evaluate))))

    assert len(scaling.compile_seconds(7, TINY)) == 2
    assert compiled == ["forgot", 7, (0, False), "forgot"] * 2


def test_a_round_takes_as_many_steps_as_fill_the_time():
    assert scaling.enough(lambda steps: 0.001 * steps, 0.5) == 500
    assert scaling.enough(lambda steps: 2.0 * steps, 0.5) == 1


def test_units_that_cannot_add_multiply_and_sizes_arrive_where_they_belong():
    operations = {unit: scaling.config_of(unit).task.operation for unit in ("nac", "nalu", "relu", "nmu", "real_npu")}
    assert operations == {"nac": "add", "nalu": "add", "relu": "add", "nmu": "mul", "real_npu": "mul"}
    config = scaling.config_of(seeds=30, hidden_size=5, block=7, input_size=2)
    assert (config.num_seeds, config.network.hidden_size, config.block, config.task.input_size) == (30, 5, 7, 2)
    for size in scaling.INPUTS:
        build.task_spec(scaling.config_of(input_size=size))


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


def test_blocks_are_those_that_the_layout_makes(monkeypatch):
    monkeypatch.setattr(scaling, "speed", lambda config, effort: [1.0])
    monkeypatch.setattr(scaling, "BLOCKS", (1, 40, 45, 60))
    found = scaling.blocks_part(scaling.FULL)
    # Each of two devices has 50 seeds, for which blocks of up to 40 or 45 are two of 25.
    assert found["x"] == [1, 25, 50] and len(found["curves"]["nac"]) == 3
    assert found["chosen"] == build.layout(scaling.config_of()).block


def test_the_memory_of_this_process_does_not_count_as_that_of_a_run():
    here = np.ones(2**25)  # 256 MiB
    command = [sys.executable, "-c", scaling.WATCH, sys.executable, "-c", "pass"]
    assert 0 < float(subprocess.run(command, check=True, capture_output=True, text=True).stdout) < here.nbytes / 2**21


# Files


def test_a_part_that_is_measured_again_leaves_the_others_as_they_are(folder, undrawn, monkeypatch):
    monkeypatch.setitem(scaling.PARTS, "inputs", lambda effort: made_up(x=(2, 1000)) | {"jax": "1"})
    assert scaling.main(["--only", "inputs", "--folder", str(folder)]) == 0
    kept = json.loads((folder / "benchmarks" / "scaling.json").read_text())
    assert list(kept) == list(scaling.PARTS)
    assert kept["inputs"]["x"] == [2, 1000] and kept["inputs"]["jax"] == "1"
    assert all(kept[name] == ALL[name] for name in ALL if name != "inputs")


def test_what_is_measured_before_a_failure_is_kept(tmp_path, monkeypatch):
    def fail(effort):
        raise RuntimeError("no such luck")

    monkeypatch.setitem(scaling.PARTS, "seeds", lambda effort: made_up())
    monkeypatch.setitem(scaling.PARTS, "inputs", fail)
    with pytest.raises(RuntimeError, match="luck"):
        scaling.main(["--only", "seeds,inputs", "--folder", str(tmp_path)])
    assert list(json.loads((tmp_path / "benchmarks" / "scaling.json").read_text())) == ["seeds"]


def test_numbers_are_kept_to_four_digits():
    assert scaling.rounded({"x": [1, "nac"], "curves": [[123456.7, 0.123456, None]]}) == {
        "x": [1, "nac"],
        "curves": [[123500, 0.1235, None]],
    }


def test_nothing_in_the_file_names_the_machine():
    assert set(scaling.part([1], {"nac": [[1.0]]})) == {"jax", "devices", "platform", "x", "curves"}


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


def test_curves_are_medians_on_logarithmic_axes(folder, drawn):
    scaling.main(["--draw", "--folder", str(folder)])
    first = drawn[0].axes[0]
    assert (first.get_xscale(), first.get_yscale()) == ("log", "log")
    assert [list(line.get_ydata()) for line in first.get_lines()] == [[2.0, 2.0], [2.0, 2.0]]
    assert [text.get_text() for text in first.get_legend().get_texts()] == ["nac", "nalu"]


def test_a_part_that_is_not_there_leaves_a_word_in_its_place(tmp_path, drawn):
    scaling_picture.draw({"seeds": ALL["seeds"]}, tmp_path / "picture.png")
    words = [text.get_text() for panel in drawn[0].axes for text in panel.texts]
    assert words.count("not measured") == 5


def test_places_without_a_measurement_end_their_curve(tmp_path, drawn):
    found = made_up(x=(1, 10, 100))
    found["curves"]["nac"][2] = None
    scaling_picture.draw({"seeds": found}, tmp_path / "picture.png")
    assert list(drawn[0].axes[0].get_lines()[0].get_xdata()) == [1, 10]


@pytest.mark.parametrize(("number", "text"), [(0.5, "0.5"), (20, "20"), (1e5, "100k"), (2e6, "2M"), (5e9, "5G")])
def test_ticks_are_short(number, text):
    assert scaling_picture.short(number) == text


def test_an_axis_shows_a_factor_of_ten_at_least():
    assert scaling_picture.spanned((1.0, 1.0)) == pytest.approx((10**-0.5, 10**0.5))
    assert scaling_picture.spanned((1.0, 1000.0)) == pytest.approx((1.0, 1000.0))
