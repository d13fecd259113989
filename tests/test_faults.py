"""Interrupted, killed and damaged runs: the next one ends with the very bytes of a run that nothing happened to.

The disturbed runs are processes of their own where a signal is what happens to them; the rest, and what goes on after a
disturbance, runs in this process, where the training program is compiled once for all tests.
"""

import contextlib
import errno
import gc
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
from commands import outcome
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboardX import event_file_writer

from experiments import run
from experiments.reports import curves, weights
from experiments.running import cell, experiment
from experiments.settings.pages import CONFIGS
from nalu_jax.storage.files import sealed, unsealed

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("optimized")]

# Three seeds on two devices; evaluations at 0, 50, ..., 5000.
STEPS, EVERY, CELL = 5000, 50, "linear-sub"
EVALUATED = list(range(0, STEPS + 1, EVERY))
COMMAND = [f"--config={CONFIGS / 'quickstart.py'}", "--config.grid.unit=linear", "--config.grid.operation=sub"]
COMMAND += ["--config.num_seeds=3", f"--config.num_steps={STEPS}", f"--config.eval_every={EVERY}"]
COMMAND += ["--config.optimizer.learning_rate=0.03"]
EVENTS = f"tensorboard/{CELL.replace('-', '/')}"
SAME = ("seeds.csv", "summary.csv", f"{CELL}/seeds.csv", f"{CELL}/params.npz", f"{CELL}/metrics.jsonl")

# Checkpoints are written every half minute, and this run would be over in an instant. So the processes that are to be killed
# write one every tenth of a second, and rest a little at each of their hundred evaluations, five seconds in all; and their
# chunks are short, so that checkpoints are also taken between evaluations.
CHILD = """
import sys, time
from experiments.running import cell
from experiments.run import main

cell.CHECKPOINT_SECONDS, cell.CHECKPOINT_SHARE, cell.CHUNK_SECONDS = 0.1, 1.0, 0.02
evaluated = cell.GroupHost.evaluated
cell.GroupHost.evaluated = lambda *arguments: (time.sleep(0.05), evaluated(*arguments))
sys.exit(main(sys.argv[1:]))
"""


def at_length(*cases):
    """Cases of a fault of which others are in the default run."""
    return [pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.faults) for case in cases]


def go_on(folder, *arguments):
    """The command, in this process, to its end."""
    return outcome(run, *COMMAND, f"--workdir={folder}", *arguments)


@contextlib.contextmanager
def forgotten():
    """Closes here, without a warning, what is left open within: the end of a process would close it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


@contextlib.contextmanager
def child(folder, *arguments):
    """The command in a process that can be killed; it is killed at the end at the latest."""
    arguments = [sys.executable, "-c", CHILD, *COMMAND, f"--workdir={folder}", *arguments]
    process = subprocess.Popen(arguments, cwd=CONFIGS.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until(condition, process, seconds=60):
    """Waits for a condition that comes true while the process runs."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.005)


def manifests(folder):
    """The manifests of a run's checkpoints, the oldest first."""
    return sorted(folder.glob("*/checkpoints/step_*.json"))


def newest_step(folder):
    """The step of the newest checkpoint, or -1."""
    return max((int(path.stem.removeprefix("step_")) for path in manifests(folder)), default=-1)


def bytes_of(folder):
    """The files that must not depend on what happened on the way."""
    return {name: (folder / name).read_bytes() for name in SAME}


def steps_of(folder):
    """The steps of the rows of the metrics file."""
    return [json.loads(line)["step"] for line in (folder / CELL / "metrics.jsonl").read_text().splitlines()]


def assert_events_show_each_step_once(folder):
    """What TensorBoard would read."""
    events = EventAccumulator(str(folder / EVENTS), size_guidance={"scalars": 0}).Reload()
    for tag in ("raw_interpolation_mse/median", "raw_extrapolation_mse/median", "seeds/success"):
        assert [event.step for event in events.Scalars(tag)] == EVALUATED


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The files of a run to which nothing happened."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    assert go_on(folder).code == 0
    assert steps_of(folder) == EVALUATED
    return bytes_of(folder)


@contextlib.contextmanager
def stopped_half_way():
    """Runs within are asked to stop at half their steps."""
    evaluated = cell.GroupHost.evaluated

    def stop_half_way(host, step, metrics):
        evaluated(host, step, metrics)
        host.signals.stop_requested = step >= STEPS // 2

    with pytest.MonkeyPatch.context() as patch, forgotten():
        patch.setattr(cell.GroupHost, "evaluated", stop_half_way)
        yield patch


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """A run that was asked to stop half-way, with two checkpoints."""
    folder = tmp_path_factory.mktemp("interrupted") / "run"
    with stopped_half_way() as patch:
        patch.setattr(cell, "CHECKPOINT_SECONDS", 0.05)
        patch.setattr(cell, "CHECKPOINT_SHARE", 1.0)
        assert go_on(folder).code == 75
    assert len(manifests(folder)) == 2 and steps_of(folder)[-1] in range(STEPS // 2, STEPS - EVERY)
    return folder


@pytest.fixture
def half_way(interrupted, tmp_path):
    """A copy of the interrupted run."""
    return Path(shutil.copytree(interrupted, tmp_path / "run"))


@pytest.fixture
def without_pictures(monkeypatch):
    """Leaves the pictures out, for the sake of time."""
    for report in (curves, weights):
        monkeypatch.setattr(report, "write", lambda *_: None)
    monkeypatch.setattr(weights, "picture", lambda *_: None)


# Signals


@pytest.mark.faults
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bytes(undisturbed, tmp_path):
    folder = tmp_path / "run"
    moments = random.Random()
    with child(folder):
        time.sleep(moments.uniform(0.2, 4))  # somewhere between its first import and its first steps
    for _ in range(3):
        with child(folder) as process:
            before = newest_step(folder)
            wait_until(lambda before=before: newest_step(folder) > before, process)
            time.sleep(moments.uniform(0, 0.5))
            assert process.poll() is None
    assert 0 < newest_step(folder) < STEPS
    said = go_on(folder)
    assert (said.code, said.err) == (0, "")
    assert re.search(rf"{CELL}: resuming from step [1-9]", said.out)
    assert steps_of(folder) == EVALUATED
    assert bytes_of(folder) == undisturbed
    assert_events_show_each_step_once(folder)
    assert not [path.name for path in (folder / CELL / "checkpoints").iterdir() if path.suffix not in (".json", ".npz")]


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize(
    ("signals", "codes"),
    [
        ([signal.SIGINT], {75}),
        # The second may come when all is saved.
        *at_length(([signal.SIGTERM], {75}), ([signal.SIGINT, signal.SIGINT], {75, -signal.SIGINT})),
    ],
    ids=["ctrl_c", "sigterm", "ctrl_c_twice"],
)
def test_a_run_that_is_told_to_stop_saves_and_says_so_and_ends_with_the_same_bytes(undisturbed, tmp_path, signals, codes):
    folder = tmp_path / "run"
    with child(folder) as process:
        wait_until(lambda: newest_step(folder) > 0, process)
        for number in signals:
            process.send_signal(number)
            time.sleep(0.03)
        began = time.monotonic()
        output, _ = process.communicate(timeout=60)
        assert time.monotonic() - began < 10, "a chunk of a second, and the saving"
    assert process.returncode in codes
    assert "Traceback" not in output
    if process.returncode == 75:
        assert "the same command goes on" in output
        # All that was seen is saved: the next run starts where this one ended.
        assert newest_step(folder) >= steps_of(folder)[-1]
    assert newest_step(folder) < STEPS
    said = go_on(folder)
    assert said.code == 0 and "resuming from step" in said.out
    assert bytes_of(folder) == undisturbed


@pytest.mark.usefixtures("without_pictures")
def test_a_run_that_is_told_to_stop_does_not_wait_for_the_checkpoint_that_is_due_next(tmp_path):
    # That would be in half a minute, when this run is long over.
    with stopped_half_way():
        said = go_on(tmp_path / "run")
    assert said.code == 75 and "the same command goes on" in said.out
    # The loop hears it between two chunks, of which one may last as long as to the next evaluation.
    [step] = [int(path.stem.removeprefix("step_")) for path in manifests(tmp_path / "run")]
    assert STEPS // 2 <= step <= STEPS // 2 + 2 * EVERY


def test_checkpoints_that_take_long_are_made_less_often(tmp_path, monkeypatch):
    saved, save = [], cell.Checkpoints.save
    monkeypatch.setattr(cell, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(cell, "CHUNK_SECONDS", 0.02)
    monkeypatch.setattr(cell.Checkpoints, "save", lambda *args: (saved.append(args[1]), time.sleep(0.6), save(*args)))
    assert go_on(tmp_path / "run").code == 0
    # A minute is to pass after the first; the last is made at the end of the run, come what may.
    assert len(saved) == 2 and saved[0] < saved[1] == STEPS


def test_ctrl_c_before_the_first_step_ends_with_75_too(tmp_path):
    with child(tmp_path / "run") as process:
        wait_until((tmp_path / "run" / "config.json").exists, process)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "Traceback" not in output and "the same command goes on" in output


def test_ctrl_c_that_jax_swallows_while_it_starts_is_not_lost(tmp_path, monkeypatch):
    trusted = experiment.trusted_environment

    def interrupted(page):
        with contextlib.suppress(KeyboardInterrupt):  # as in a callback of the garbage collector, where jax has one
            os.kill(os.getpid(), signal.SIGINT)
        return trusted(page)

    monkeypatch.setattr(experiment, "trusted_environment", interrupted)
    said = go_on(tmp_path / "run")
    assert said.code == 75 and "the same command goes on" in said.out


# Cells that train together

GROUP = "--config.grid.learning_rate=0.03,0.003"
CELLS = ("linear-sub-learning_rate=0.03", "linear-sub-learning_rate=0.003")


def bytes_of_group(folder):
    """The files of both cells, and the tables of the run."""
    names = ["seeds.csv", "summary.csv", *(f"{c}/{n}" for c in CELLS for n in ("seeds.csv", "params.npz", "metrics.jsonl"))]
    return {name: (folder / name).read_bytes() for name in names}


@pytest.fixture(scope="module")
def undisturbed_group(tmp_path_factory):
    """The files of a run of two cells to which nothing happened."""
    folder = tmp_path_factory.mktemp("undisturbed_group") / "run"
    assert go_on(folder, GROUP).code == 0
    found = bytes_of_group(folder)
    assert found[f"{CELLS[0]}/metrics.jsonl"] != found[f"{CELLS[1]}/metrics.jsonl"]
    return found


@pytest.mark.faults
@pytest.mark.usefixtures("without_pictures")
def test_cells_that_train_together_and_are_killed_and_interrupted_end_with_the_same_bytes(undisturbed_group, tmp_path):
    folder, moments = tmp_path / "run", random.Random()
    for number in (signal.SIGKILL, signal.SIGINT):
        with child(folder, GROUP) as process:
            before = newest_step(folder)
            wait_until(lambda before=before: newest_step(folder) > before, process)
            time.sleep(moments.uniform(0, 0.5))
            process.send_signal(number)
            output, _ = process.communicate(timeout=60)
        assert process.returncode == (75 if number == signal.SIGINT else -signal.SIGKILL), output
    assert {path.parent.parent.name for path in manifests(folder)} == {CELLS[0]}, "one checkpoint for both"
    assert 0 < newest_step(folder) < STEPS
    said = go_on(folder, GROUP)
    assert (said.code, said.err) == (0, "")
    assert re.search(r"linear-sub \(2 cells\): resuming from step [1-9]", said.out)
    assert bytes_of_group(folder) == undisturbed_group


@pytest.mark.faults
@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize(
    ("cell_name", "name"),
    [
        *((CELLS[0], name) for name in ("params.npz", "result.json", "seeds.csv")),
        *((CELLS[1], name) for name in ("params.npz", "result.json", "seeds.csv")),
    ],
)
def test_a_kill_between_the_results_of_cells_that_train_together_costs_nothing(
    undisturbed_group, tmp_path, monkeypatch, cell_name, name
):
    folder = tmp_path / "run"
    with forgotten(), killed_around(monkeypatch, f"{cell_name}/{name}", "before"):
        go_on(folder, GROUP)
    finished = [path.parent.name for path in folder.glob("*/seeds.csv")]
    assert finished == ([] if cell_name == CELLS[0] else [CELLS[0]])
    assert go_on(folder, GROUP).code == 0
    assert bytes_of_group(folder) == undisturbed_group


@pytest.mark.faults
@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("cell_name", CELLS)
def test_rows_that_only_one_of_the_cells_has_written_after_the_checkpoint_do_not_stay(
    undisturbed_group, tmp_path, cell_name
):
    folder = tmp_path / "run"
    with stopped_half_way():
        assert go_on(folder, GROUP).code == 75
    assert 0 < newest_step(folder) < STEPS
    with open(folder / cell_name / "metrics.jsonl", "a") as file:
        file.write(json.dumps({"step": STEPS - EVERY, "seeds": 3, "diverged": 0}) + "\n")
    assert go_on(folder, GROUP).code == 0
    assert bytes_of_group(folder) == undisturbed_group


# The gaps between the operations by which a file comes into its place


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the code catches it, so the disk is left as a kill there would leave it."""


@contextlib.contextmanager
def killed_around(monkeypatch, name, moment, nth=1):
    """Kills when a file of that name (a pattern) is moved to its place for the ``nth`` time: just before, or just after."""
    replace, count = os.replace, 0

    def die(source, target):
        nonlocal count
        count += Path(target).match(name)
        now = Path(target).match(name) and count == nth
        if now and moment == "before":
            raise Killed
        replace(source, target)
        if now:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, "replace", die)
        patch.setattr(os, "getpid", lambda: 4_194_304)  # no process has it: a killed run had a number of its own
        if name.startswith("step_"):
            patch.setattr(cell, "CHECKPOINT_SECONDS", 0.0)
            patch.setattr(cell, "CHECKPOINT_SHARE", 1.0)
        yield


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize(
    ("name", "moment", "nth"),
    [
        ("step_*.npz", "before", 1),
        ("step_*.npz", "after", 1),
        ("step_*.json", "after", 5),
        (f"{CELL}/params.npz", "before", 1),
        (f"{CELL}/seeds.csv", "before", 1),
        *at_length(
            ("step_*.json", "after", 1),
            ("step_*.npz", "before", 5),
            ("step_*.json", "before", 5),
            (f"{CELL}/config.json", "before", 1),
            (f"{CELL}/result.json", "before", 1),
            (f"{CELL}/seeds.csv", "after", 1),
        ),
    ],
)
def test_a_kill_between_any_two_files_costs_nothing(undisturbed, tmp_path, monkeypatch, name, moment, nth):
    folder = tmp_path / "run"
    with forgotten(), killed_around(monkeypatch, name, moment, nth):
        go_on(folder)
    saved = {path.name for path in folder.rglob("step_*")}
    torn = {path for path in saved if ".tmp" in path or path.replace(".npz", ".json") not in saved}
    assert bool(torn) == (name.startswith("step_") and (name, moment) != ("step_*.json", "after"))
    said = go_on(folder)
    assert (said.code, said.err) == (0, "")
    for path in torn:
        assert f"{path} is left from a save that was cut short; it is removed" in said.out
        assert not (folder / CELL / "checkpoints" / path).exists()
    for path in (path for path in SAME if path.startswith(CELL)):
        assert (folder / path).read_bytes() == undisturbed[path]


@pytest.mark.parametrize(
    "name", ["run/curves.png", *at_length("run/summary.csv", "run/seeds.csv", "run/weights.png", "run/complete")]
)
def test_tables_and_pictures_that_a_kill_prevented_are_made_up_for(undisturbed, tmp_path, monkeypatch, name):
    folder = tmp_path / "run"
    with forgotten(), killed_around(monkeypatch, name, "before"):
        go_on(folder)
    assert not (tmp_path / name).exists()
    with monkeypatch.context() as patch:
        patch.setattr(experiment, "run_group", None)  # the cell is finished
        said = go_on(folder)
    assert (said.code, said.err) == (0, "")
    assert bytes_of(folder) == undisturbed
    assert (folder / "curves.png").exists() and (folder / "weights.png").exists() and (folder / "summary.tex").exists()


@pytest.mark.usefixtures("without_pictures")
def test_a_kill_while_a_cell_of_a_complete_run_is_finished_again_costs_no_report(undisturbed, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    assert go_on(folder).code == 0
    for name in (f"{CELL}/seeds.csv", "summary.csv"):
        (folder / name).unlink()
    with forgotten(), killed_around(monkeypatch, "run/summary.csv", "before"):
        go_on(folder)
    assert (folder / CELL / "seeds.csv").exists() and not (folder / "summary.csv").exists()
    assert go_on(folder).code == 0
    assert bytes_of(folder) == undisturbed


# Damaged checkpoints


def flip_a_bit(path):
    """One bit in the middle of the file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path):
    """Half of the file."""
    os.truncate(path, path.stat().st_size // 2)


def empty(path):
    """Nothing but the name."""
    os.truncate(path, 0)


def take_that_of_the_older(path):
    """The content of the older checkpoint's file: whole in itself, but of another step."""
    shutil.copy(min(path.parent.glob(f"*{path.suffix}")), path)


def say_fewer_rows(path):
    """A manifest that is readable and says something else."""
    manifest = json.loads(path.read_text())
    manifest["extra"]["records"][0][0] -= 7
    path.write_text(json.dumps(manifest))


DAMAGES = [(".npz", flip_a_bit), (".npz", truncate), (".npz", empty), (".npz", Path.unlink)]
DAMAGES += [(".json", truncate), (".json", empty)]
# These can be read; the digest alone tells.
DAMAGES += [(".npz", take_that_of_the_older), (".json", take_that_of_the_older), (".json", say_fewer_rows)]


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize(("suffix", "damage"), DAMAGES, ids=[f"{kind[1:]}_{damage.__name__}" for kind, damage in DAMAGES])
def test_a_damaged_checkpoint_is_passed_over_with_a_message(undisturbed, half_way, suffix, damage):
    older, newest = (int(path.stem.removeprefix("step_")) for path in manifests(half_way))
    damage(manifests(half_way)[-1].with_suffix(suffix))
    said = go_on(half_way)
    assert (said.code, said.err) == (0, "")
    assert f"the checkpoint of step {newest} is passed over" in said.out
    assert f"resuming from step {older:,}\n" in said.out
    assert bytes_of(half_way) == undisturbed


@pytest.mark.usefixtures("without_pictures")
def test_a_run_whose_checkpoints_are_all_damaged_never_starts_over_by_itself(undisturbed, half_way):
    for path in manifests(half_way):
        flip_a_bit(path.with_suffix(".npz"))
    before = (half_way / CELL / "metrics.jsonl").read_bytes()
    for _ in range(2):
        said = go_on(half_way)
        assert said.code == 3
        assert re.fullmatch(rf"error: .*remove {re.escape(str(half_way / CELL))}, and it is trained anew\n", said.err)
        for path in manifests(half_way):
            assert f"the checkpoint of step {int(path.stem.removeprefix('step_'))} is passed over" in said.out
        assert (half_way / CELL / "metrics.jsonl").read_bytes() == before
        assert not (half_way / CELL / "seeds.csv").exists()
    said = go_on(half_way, "--fresh")
    assert said.code == 0
    assert bytes_of(half_way) == undisturbed
    assert (Path(f"{half_way}.1") / CELL / "metrics.jsonl").read_bytes() == before


# The metrics file and TensorBoard's event files


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("rows", [0, 1, 3])
@pytest.mark.parametrize("half_a_line", ["", '{"step": 2'], ids=["whole_lines", "half_a_line"])
def test_what_was_recorded_after_the_checkpoint_does_not_stay(undisturbed, half_way, rows, half_a_line):
    path = half_way / CELL / "metrics.jsonl"
    for step in range(steps_of(half_way)[-1] + EVERY, STEPS, EVERY)[:rows]:
        with open(path, "a") as file:
            file.write(json.dumps({"step": step, "seeds": 3, "diverged": 0}) + "\n")
    with open(path, "a") as file:
        file.write(half_a_line)
    assert go_on(half_way).code == 0
    assert steps_of(half_way) == EVALUATED
    assert bytes_of(half_way) == undisturbed


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("place", [-2, -9], ids=["cut", "flipped"])
def test_rows_that_were_lost_after_the_older_checkpoint_are_made_up_for_from_there(undisturbed, half_way, place):
    older, newest = (int(path.stem.removeprefix("step_")) for path in manifests(half_way))
    path = half_way / CELL / "metrics.jsonl"
    content = bytearray(path.read_bytes())
    if place == -2:
        del content[-7:]
    else:
        content[place] ^= 1
    path.write_bytes(content)
    said = go_on(half_way)
    assert (said.code, said.err) == (0, "")
    assert re.search(rf"the checkpoint of step {newest} is passed over: {re.escape(str(path))} ", said.out)
    assert f"resuming from step {older:,}\n" in said.out
    assert bytes_of(half_way) == undisturbed


def test_a_flipped_bit_in_what_all_checkpoints_know_of_the_metrics_is_never_believed(half_way):
    path = half_way / CELL / "metrics.jsonl"
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)
    said = go_on(half_way)
    assert said.code == 3 and f"{path} is damaged" in said.out
    assert re.fullmatch(rf"error: .*remove {re.escape(str(half_way / CELL))}, and it is trained anew\n", said.err)
    assert not (half_way / CELL / "seeds.csv").exists() and path.read_bytes() == content


@pytest.mark.usefixtures("without_pictures")
def test_a_cell_that_was_trained_with_other_settings_is_refused_with_the_difference(half_way):
    path = half_way / CELL / "config.json"
    described = unsealed(path.read_bytes())
    described["config"]["optimizer"]["learning_rate"] = 0.7
    path.write_bytes(sealed(described))
    before = (half_way / CELL / "metrics.jsonl").read_bytes()
    said = go_on(half_way)
    assert said.code == 2 and f"{CELL}: optimizer.learning_rate: 0.7 → " in said.err
    (half_way / "config.json").unlink()
    said = go_on(half_way)
    assert said.code == 2 and "holds files, but no config.json of a run" in said.err
    assert (half_way / CELL / "metrics.jsonl").read_bytes() == before


@pytest.mark.usefixtures("without_pictures")
def test_a_torn_event_file_is_made_anew(undisturbed, half_way):
    [path] = (half_way / EVENTS).glob("events.out.tfevents.*")
    os.truncate(path, path.stat().st_size - 7)
    assert go_on(half_way).code == 0
    assert_events_show_each_step_once(half_way)
    assert bytes_of(half_way) == undisturbed


@pytest.fixture
def in_another_zone(monkeypatch):
    """The time zone farthest from that of most machines."""
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("without_pictures", "in_another_zone")
def test_a_clock_that_jumps_back_and_another_time_zone_change_nothing(undisturbed, half_way, monkeypatch):
    began, looks = time.time(), itertools.count(1)
    monkeypatch.setattr(time, "time", lambda: began - 3600 * next(looks))
    assert go_on(half_way).code == 0
    assert next(looks) > len(EVALUATED)
    assert_events_show_each_step_once(half_way)
    assert bytes_of(half_way) == undisturbed


@pytest.mark.timeout(60)
@pytest.mark.usefixtures("without_pictures")
def test_a_disk_that_takes_no_more_events_costs_a_warning_and_not_the_run(undisturbed, tmp_path, monkeypatch):
    write, count = event_file_writer.EventsWriter.write_event, 0

    def full(writer, event):
        nonlocal count
        count += 1
        if count > 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(writer, event)

    monkeypatch.setattr(event_file_writer.EventsWriter, "write_event", full)
    with forgotten():
        said = go_on(tmp_path / "run")
    assert (said.code, said.err) == (0, "")
    assert len(re.findall("TensorBoard's event file cannot be written.*training goes on without it", said.out)) == 1
    assert bytes_of(tmp_path / "run") == undisturbed


@pytest.mark.usefixtures("without_pictures")
def test_where_memory_runs_out_a_run_goes_on_with_half_as_many_seeds_at_a_time(tmp_path, monkeypatch):
    # What a device says that has no memory left; test_memory.py takes the memory away.
    train, blocks = cell.run_seeds, []

    def needs_little(programs, *arguments, **options):
        blocks.append(programs.layout.block)
        if programs.layout.block > 1:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1073741824 bytes.")
        return train(programs, *arguments, **options)

    monkeypatch.setattr(cell, "run_seeds", needs_little)
    said = go_on(tmp_path / "run")
    assert (said.code, said.err, blocks) == (0, "", [2, 1])
    assert "out of memory with 2 seeds at a time on a device; going on with 1" in said.out
    assert steps_of(tmp_path / "run") == EVALUATED


# Another environment


@pytest.mark.usefixtures("without_pictures")
def test_a_changed_environment_is_said_in_one_line_and_noted_in_the_result(undisturbed, half_way):
    path = half_way / CELL / "config.json"
    described = unsealed(path.read_bytes())
    present = described["environment"]["versions"]["jax"]
    described["environment"]["versions"]["jax"] = "0.0.1"
    earlier = "versions.jax: 0.0.0 → 0.0.1"  # of a resumption before this one
    described["changes"] = [earlier]
    path.write_bytes(sealed(described))
    said = go_on(half_way)
    assert said.code == 0
    change = f"versions.jax: 0.0.1 → {present}"
    [line] = [line for line in said.out.splitlines() if "not bit-exact" in line]
    assert change in line and earlier not in line
    assert json.loads((half_way / CELL / "result.json").read_text())["environment_changes"] == [earlier, change]
    after = json.loads(path.read_text())
    assert after["environment"]["versions"]["jax"] == present and after["changes"] == [earlier, change]
    assert bytes_of(half_way) == undisturbed


@pytest.mark.usefixtures("without_pictures")
def test_an_environment_that_is_the_same_is_not_spoken_of(half_way):
    assert "not bit-exact" not in go_on(half_way).out
    assert json.loads((half_way / CELL / "result.json").read_text())["environment_changes"] == []
