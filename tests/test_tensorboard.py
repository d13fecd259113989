"""TensorBoard's view of a run against what TensorBoard itself reads back."""

import io
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from nalu_jax.storage.tensorboard import TensorBoard

ROOT = Path(__file__).parent.parent


def row(step, **numbers):
    """A row in which all numbers follow from the step."""
    quartiles = {"q25": step + 0.25, "median": step + 0.5, "q75": step + 0.75}
    return {
        "step": step,
        "seeds": 4,
        "diverged": 1,
        "solved": 3,
        "test_mse": quartiles,
        "sparsity_error": quartiles,
        **numbers,
    }


def view(folder, *, every=1, errors=("test_mse",), say=pytest.fail):
    return TensorBoard(folder, every=every, errors=errors, say=say)


def read(folder):
    """What TensorBoard finds in a folder, all of it."""
    everything = dict.fromkeys(("scalars", "images", "tensors"), 0)
    return EventAccumulator(str(folder), size_guidance=everything).Reload()


def points(folder):
    """Step and value of every point, by tag."""
    found = read(folder)
    return {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def steps(folder):
    return {tag: [step for step, _ in found] for tag, found in points(folder).items()}


TAGS = {f"{name}/{q}" for name in ("raw_test_mse", "log10_test_mse", "sparsity_error") for q in ("q25", "median", "q75")}
TAGS |= {"seeds/diverged", "seeds/solved"}


def test_rows_are_read_back_as_quartiles_logarithms_of_errors_and_rates_of_seeds(tmp_path):
    shown = view(tmp_path)
    shown.row({"step": 10, "seeds": 4, "solved": 3, "test_mse": {"q25": 0.01, "median": 10.0, "q75": 1000.0},
               "sparsity_error": {"q25": 0.125, "median": 0.25, "q75": 0.5}})  # fmt: skip
    shown.close()
    assert {tag: [(step, pytest.approx(value)) for step, value in found] for tag, found in points(tmp_path).items()} == {
        "seeds/solved": [(10, 0.75)],
        "raw_test_mse/q25": [(10, 0.01)], "raw_test_mse/median": [(10, 10)], "raw_test_mse/q75": [(10, 1000)],
        "log10_test_mse/q25": [(10, -2)], "log10_test_mse/median": [(10, 1)], "log10_test_mse/q75": [(10, 3)],
        "sparsity_error/q25": [(10, 0.125)], "sparsity_error/median": [(10, 0.25)], "sparsity_error/q75": [(10, 0.5)],
    }  # fmt: skip


def test_a_quartile_that_falls_on_a_diverged_seed_is_no_point_and_an_error_of_0_has_a_logarithm(tmp_path):
    shown = view(tmp_path)
    shown.row({"step": 0, "seeds": 4, "test_mse": {"q25": 0.0, "median": 1.0, "q75": None}})
    shown.close()
    found = points(tmp_path)
    assert set(found) == {"raw_test_mse/q25", "raw_test_mse/median", "log10_test_mse/q25", "log10_test_mse/median"}
    assert found["log10_test_mse/q25"] == [(0, -30)]


def test_the_errors_that_are_named_have_logarithms_whatever_they_are_called(tmp_path):
    shown = view(tmp_path, errors=("distance",))
    quartiles = {"q25": 0.1, "median": 1.0, "q75": 10.0}
    shown.row({"step": 0, "seeds": 4, "distance": quartiles, "test_mse": quartiles})
    shown.close()
    found = points(tmp_path)
    assert [tag for tag in found if tag.startswith("log10_")] == [f"log10_distance/{q}" for q in quartiles]
    assert [value for ((_, value),) in (found[f"log10_distance/{q}"] for q in quartiles)] == pytest.approx([-1, 0, 1])


def in_all_tags(expected):
    return {tag: expected for tag in TAGS}


@pytest.mark.parametrize("end", ["closed", "open", "torn"])
def test_a_view_made_anew_has_each_step_once(tmp_path, end):
    first = view(tmp_path)
    for step in range(5):
        first.row(row(step))
    if end == "open":
        first.events.flush()
        assert points(tmp_path)
    else:
        first.close()
    (file,) = tmp_path.iterdir()
    if end == "torn":
        file.write_bytes(file.read_bytes()[:-7])
    file.rename(tmp_path / "events.out.tfevents.1600000000.elsewhere.7")  # an earlier second, another machine and process
    second = view(tmp_path)
    for step in range(8):
        second.row(row(step))
    second.close()
    first.close()
    assert steps(tmp_path) == in_all_tags([0, 1, 2, 3, 4, 5, 6, 7])


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "open"])
def test_two_views_opened_in_one_folder_in_the_same_second_lose_nothing(tmp_path, monkeypatch, closed):
    # tensorboardX names its files by the second: lanpa/tensorboardX#776.
    monkeypatch.setattr("tensorboardX.event_file_writer.time", types.SimpleNamespace(time=lambda: 1.7e9))
    first = view(tmp_path)
    first.row(row(0))
    if closed:
        first.close()
    second = view(tmp_path)
    for step in range(3):
        second.row(row(step))
    second.close()
    first.close()
    assert steps(tmp_path) == in_all_tags([0, 1, 2])


def test_events_may_lie_elsewhere_and_those_of_the_folder_itself_are_then_of_the_past(tmp_path):
    cell, events = tmp_path / "nac-add", tmp_path / "tensorboard" / "nac" / "add"
    cell.mkdir()
    view(cell).close()
    for _ in range(2):
        shown = TensorBoard(cell, errors=("test_mse",), say=pytest.fail, events=events)
        shown.row(row(0))
        shown.close()
    assert list(cell.iterdir()) == [] and len(list(events.iterdir())) == 1
    assert steps(events) == in_all_tags([0])


def test_other_files_of_the_folder_stay(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("kept")
    view(tmp_path).close()
    assert (tmp_path / "metrics.jsonl").read_text() == "kept"


@pytest.mark.parametrize(
    ("every", "rows", "expected"),
    [(1, 4, [0, 1, 2, 3]), (3, 8, [0, 3, 6, 7]), (3, 7, [0, 3, 6]), (100, 5, [0, 4]), (100, 1, [0])],
)
def test_thinning_keeps_the_first_row_and_the_last(tmp_path, every, rows, expected):
    shown = view(tmp_path, every=every)
    for step in range(rows):
        shown.row(row(step), last=step == rows - 1)
    shown.close()
    assert steps(tmp_path) == in_all_tags(expected)


def test_every_band_has_a_margin_chart_whose_tags_exist(tmp_path):
    shown = view(tmp_path)
    for step in range(2):
        shown.row(row(step))
    shown.close()
    found = read(tmp_path)
    (event,) = found.Tensors("custom_scalars__config__")
    layout = Layout.FromString(event.tensor_proto.string_val[0])
    series = [series for category in layout.category for chart in category.chart for series in chart.margin.series]
    # Errors span twenty orders of magnitude: their band is that of their logarithms.
    assert {(s.value, s.lower, s.upper) for s in series} == {
        (f"{name}/median", f"{name}/q25", f"{name}/q75") for name in ("log10_test_mse", "sparsity_error")
    }
    assert {tag for s in series for tag in (s.value, s.lower, s.upper)} <= set(found.Tags()["scalars"])


def test_settings_and_results_stand_in_the_table_of_hparams_of_the_same_run(tmp_path):
    shown = view(tmp_path)
    shown.row(row(0))
    shown.hparams({"unit.name": "nac", "num_seeds": 8, "learning_rate": 1e-2}, {"result/success_rate": 0.75}, 50)
    shown.close()
    found = read(tmp_path)
    content = {tag: HParamsPluginData.FromString(data) for tag, data in found.PluginTagToContent("hparams").items()}
    settings = content["_hparams_/session_start_info"].session_start_info.hparams
    assert settings["unit.name"].string_value == "nac"
    assert (settings["num_seeds"].number_value, settings["learning_rate"].number_value) == (8, 1e-2)
    infos = content["_hparams_/experiment"].experiment.metric_infos
    assert [info.name.tag for info in infos] == ["result/success_rate"]
    assert points(tmp_path)["result/success_rate"] == [(50, 0.75)]
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_an_image_is_read_back_pixel_by_pixel(tmp_path):
    pixels = np.random.RandomState(0).randint(0, 256, (5, 7, 3)).astype(np.uint8)
    shown = view(tmp_path)
    shown.image("weights", pixels, 50)
    shown.close()
    (event,) = read(tmp_path).Images("weights")
    assert event.step == 50
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(event.encoded_image_string)).convert("RGB")), pixels)


def test_texts_and_curves_are_read_back(tmp_path):
    shown = view(tmp_path)
    shown.text("summary", "| unit |\n|---|\n| NAC• |", 3)
    shown.curves({"by_unit/success_rate": [(0, 0.0), (7, 0.5)], "by_unit/none": []})
    shown.close()
    (event,) = read(tmp_path).Tensors("summary/text_summary")
    assert (event.step, event.tensor_proto.string_val[0].decode()) == (3, "| unit |\n|---|\n| NAC• |")
    assert points(tmp_path) == {"by_unit/success_rate": [(0, 0.0), (7, 0.5)]}


def test_what_is_shown_after_closing_is_ignored_without_a_word(tmp_path):
    shown = view(tmp_path)
    shown.row(row(0))
    shown.close()
    shown.row(row(1))
    shown.image("weights", np.zeros((1, 1, 3), np.uint8), 1)
    shown.hparams({}, {"result": 1.0}, 1)
    shown.close()
    assert steps(tmp_path) == in_all_tags([0])


# A full disk

FULL_DISK = """
import json, resource, signal, sys
from pathlib import Path
import numpy as np
from nalu_jax.storage import tensorboard

folder, moment, rows = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
said = []
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
tensorboard.FLUSH_SECONDS = 0 if moment == "in between" else 1000

def limit_files(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

if moment == "before the first event":
    limit_files(0)
shown = tensorboard.TensorBoard(folder, every=1, errors=("test_mse",), say=said.append)
shown.row(rows[0])
limit_files(500)
if moment == "at the end":  # all is in the file's buffer until the view is closed
    shown.row(rows[1])
    assert not said
else:
    for row in rows[1:]:
        shown.row(row)
    shown.image("weights", np.zeros((8, 8, 3), np.uint8), 0)
    shown.hparams({"a": 1}, {"b": 1.0}, 0)
shown.close()
print(said, flush=True)
"""

SAID_ONCE = str(["TensorBoard's event file cannot be written (File too large); training goes on without it"])


@pytest.mark.parametrize("moment", ["before the first event", "in between", "at the end"])
def test_a_full_disk_ends_the_view_neither_hanging_nor_raising_and_is_said_once(tmp_path, moment):
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path), moment, json.dumps([row(step) for step in range(20)])]
    ended = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60
    )
    assert (ended.stdout.strip(), ended.returncode, ended.stderr) == (SAID_ONCE, 0, "")
