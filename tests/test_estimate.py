"""What a run is said to cost before it is run, against what it takes; and the time to go that the progress line shows."""

import io
import re
import shutil
import time

import jax
import pytest
from commands import outcome
from rich.console import Console

from experiments import estimate, run
from experiments.estimate import Group, show_estimate
from experiments.running.console import CellProgress, Forecast, Line, most_alike
from experiments.running.experiment import run_experiment
from experiments.running.work import plan
from experiments.settings.pages import load

SEEDS, STEPS, EVERY, RATES = 4, 2000, 500, (1e-2, 1e-3)


def page(*, units=("linear", "nac"), steps=STEPS, seeds=SEEDS, **others):
    """The quickstart, small: for each unit a group of two cells, one for each learning rate."""
    config = load("quickstart")
    config.num_seeds, config.num_steps, config.eval_every = seeds, steps, EVERY
    config.reports, config.writers = ("summary",), ("tensorboard",)
    with config.unlocked():
        config.grid = {"unit": units, "operation": ("add",), "learning_rate": RATES}
        for name, value in others.items():
            config[name] = value
    return config


def estimated(config, workdir, *, training=0.1, **options):
    """The estimate, and what is printed, by the time of the processor, from so many seconds of training."""
    console = Console(file=io.StringIO(), width=200)
    with pytest.MonkeyPatch.context() as patch, jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        patch.setattr(estimate, "TRAINING", training)
        found = show_estimate(config, workdir, console=console, now=time.process_time, **{"fresh": False} | options)
    return found, console.file.getvalue()


def trained(config, workdir):
    """Seconds of the processor that a run takes in this process."""
    console = Console(file=io.StringIO(), width=200)
    began = time.process_time()
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        assert run_experiment(config, workdir, fresh=False, console=console) == 0, console.file.getvalue()
    return time.process_time() - began


def contents(folder):
    """Every file with its bytes and when it was written."""
    return {path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in sorted(folder.rglob("*"))}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run, what was said of it before, and what was left in its place by saying so."""
    folder = tmp_path_factory.mktemp("estimate")
    found, said = estimated(page(), folder / "run")
    left = list(folder.iterdir())
    trained(page(), folder / "run")
    return folder / "run", found, said, left


@pytest.mark.slow
def test_a_row_a_group_says_what_is_in_it_and_the_sum_is_that_of_all_cells(finished):
    _, _, said, _ = finished
    rows = [re.split(r"  +", line.strip()) for line in said.splitlines()[:3]]
    assert rows[0] == ["cells that train together", "seeds", "steps", "seed-steps", "program", "so far", "to go"]
    assert rows[1][:6] == ["linear-add (2 cells)", "8", "2,000", "16,000", "1", "–"]
    assert rows[2][:6] == ["nac-add (2 cells)", "8", "2,000", "16,000", "2", "–"]
    assert "4 cells in 2 groups that train together; 32,000 seed-steps\n" in said
    assert "measured in 0:" in said and "2 of 2 programs\n" in said


def test_nothing_is_written(finished, monkeypatch, tmp_path):
    folder, _, _, left = finished
    assert left == []
    before = contents(folder)
    estimated(page(), folder)
    monkeypatch.chdir(tmp_path)
    _, said = estimated(page(), folder, fresh=True)
    assert [so_far(line) for line in said.splitlines()[1:3]] == ["–", "–"]
    assert contents(folder) == before and list(tmp_path.iterdir()) == []


def test_of_a_finished_run_nothing_is_left(finished):
    folder, *_ = finished
    found, said = estimated(page(), folder)
    assert found.seconds == found.disk == 0
    assert "4 cells, 4 of them finished, in 2 groups that train together; 32,000 seed-steps, 0 to go" in said
    assert said.count("  finished") == 2 and "nothing is left to do" in said and "measured" not in said


def test_a_run_that_has_grown_has_the_new_cells_to_go(finished):
    folder, *_ = finished
    works = plan(folder, page(units=("linear", "nac", "nac_mul")))
    assert [estimate.so_far(estimate.group_of(work)) for work in works] == ["finished", "finished", "–"]


def so_far(line):
    return re.split(r"  +", line.strip())[5]


def test_an_unfinished_group_goes_on_from_its_newest_checkpoint(tmp_path, finished):
    folder, *_ = finished
    copied = shutil.copytree(folder, tmp_path / "run")
    for cell in ("linear-add-learning_rate=0.01", "linear-add-learning_rate=0.001"):
        (copied / cell / "seeds.csv").unlink()
    for path in (copied / "linear-add-learning_rate=0.01" / "checkpoints").iterdir():
        path.rename(path.with_name(path.name.replace("2000", "1000")))
    _, said = estimated(page(), copied)
    assert so_far(said.splitlines()[1]) == "step 1,000" and so_far(said.splitlines()[2]) == "finished"
    assert "32,000 seed-steps, 8,000 to go" in said


def test_a_finished_cell_that_is_damaged_is_named(tmp_path, finished):
    folder, *_ = finished
    copied = shutil.copytree(folder, tmp_path / "run")
    path = copied / "nac-add-learning_rate=0.01" / "seeds.csv"
    path.write_bytes(path.read_bytes().replace(b"0", b"1", 1))
    _, said = estimated(page(), copied)
    assert f"{path} is damaged" in said


@pytest.mark.parametrize(
    ("steps", "at", "left"),
    [(2000, 0, 5), (2100, 0, 6), (2000, 1000, 2), (2000, 1300, 2), (2100, 2000, 1), (2000, 2000, 0), (2100, 2100, 0)],
)
def test_evaluations_to_go_are_those_at_multiples_of_eval_every_and_at_the_end(tmp_path, steps, at, left):
    (work,) = plan(tmp_path, page(units=("linear",), steps=steps))
    assert Group(work, at, None).evaluations_left == left  # by hand: 0, 500, 1000, ..., and the last step


@pytest.mark.slow
@pytest.mark.usefixtures("optimized")
def test_the_time_and_the_disk_are_those_that_the_run_takes(tmp_path):
    # Compiled already, in part by the estimate itself: what is compared is training, evaluating and writing.
    config = page(units=("linear",), steps=240_000, seeds=16, eval_every=5000)
    found, said = estimated(config, tmp_path / "run", training=1.0)
    took = trained(config, tmp_path / "run")
    expected = found.training + found.evaluating
    assert expected > 1.0, said
    assert expected / 2 < took < 2 * (expected + 2), (found, took)
    size = sum(path.stat().st_size for path in (tmp_path / "run").rglob("*") if path.is_file())
    assert size / 2 < found.disk < 2 * size, (found.disk, size)


def test_without_time_one_program_is_measured_and_the_others_are_said_to_be_like_it(tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "MOST", 0.0)
    _, said = estimated(page(), tmp_path / "run")
    assert re.search(r"1 of 2 programs; another is taken to cost what those do that are most like it", said)
    assert re.split(r"  +", said.splitlines()[1].strip())[-1] == re.split(r"  +", said.splitlines()[2].strip())[-1]


def test_programs_are_measured_in_an_order_in_which_every_unit_and_operation_comes_early(tmp_path):
    config = page()
    with config.unlocked():
        config.grid = {"unit": ("nac", "nalu", "linear"), "operation": ("add", "mul")}
    order = [tuple(work.jobs[0].axes.values()) for work in estimate.spread(plan(tmp_path, config))]
    assert order[:3] == [("nac", "add"), ("nalu", "mul"), ("linear", "add")] and len(set(order)) == 6


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--config.optimizer.learning_rate=-1"], "learning_rate"),
        (["--config.reports=sumary"], "did you mean 'summary'?"),
        (["--config.writers=tensorbord"], "did you mean 'tensorboard'?"),
        (["--config.num_steps=1000"], "a run can grow and not shrink"),
    ],
)
def test_what_a_run_would_refuse_is_refused(finished, flags, sentence):
    folder, *_ = finished
    grid = ["--config.grid.unit=linear,nac", "--config.grid.operation=add", "--config.grid.learning_rate=1e-2,1e-3"]
    small = [f"--config.num_seeds={SEEDS}", f"--config.eval_every={EVERY}", "--config.reports=summary"]
    steps = [] if any("num_steps" in flag for flag in flags) else [f"--config.num_steps={STEPS}"]
    small = small[:-1] if any("reports" in flag for flag in flags) else small
    grid = grid[:-1] if any("learning_rate" in flag for flag in flags) else grid
    said = outcome(run, "--config=quickstart", f"--workdir={folder}", "--dry_run", *grid, *small, *steps, *flags)
    assert said.code == 2 and sentence in said.err


@pytest.mark.parametrize(
    ("count", "expected"), [(1, "0.001 kB"), (950, "0.95 kB"), (3_210_000, "3.2 MB"), (45e6, "45 MB"), (2.1e9, "2.1 GB")]
)
def test_bytes_are_written_as_people_read_them(count, expected):
    assert estimate.in_bytes(count) == expected


# The time to go of the whole grid


def progress(clock, forecast, axes, later=()):
    """A line of ten steps of two seeds."""
    console = Console(file=io.StringIO(), width=200)
    return CellProgress(
        console, "x", columns={}, num_steps=10, num_seeds=2, axes=axes, later=later, forecast=forecast, now=clock
    )


def test_lines_to_come_take_what_those_took_that_are_most_like_them():
    known = [({"unit": "nac", "operation": "add"}, 1.0), ({"unit": "nalu", "operation": "add"}, 4.0)]
    assert most_alike({"unit": "nalu", "operation": "mul"}, known) == [4.0]
    assert most_alike({"unit": "linear", "operation": "add"}, known) == [1.0, 4.0]
    assert most_alike({"unit": "linear", "operation": "mul"}, known) == [1.0, 4.0]


def test_the_time_of_the_whole_grid_goes_by_the_speeds_of_the_units():
    time_now, forecast = [0.0], Forecast()
    later = [Line({"unit": "nac"}, 20), Line({"unit": "linear"}, 20)]
    with progress(lambda: time_now[0], forecast, {"unit": "nac"}, [Line({"unit": "linear"}, 20), *later]) as line:
        time_now[0] = 2.0  # it is compiled
        line.advanced(0)
        time_now[0] = 6.0
        line.advanced(4)
        assert line.pace(6.0)[0] == "0:06 to go (0:36 for all)"  # a second a step: 6 s, and 3 lines of 10 s
        time_now[0] = 12.0
        line.advanced(10)
    time_now[0] = 20.0
    with progress(lambda: time_now[0], forecast, {"unit": "linear"}, later) as line:
        line.advanced(0)
        time_now[0] = 21.0
        line.advanced(5)
        # 1 s for the rest; 20 seed-steps of a nac at 12 s / 20, what was compiled included, and 20 of a linear at 0.1 s
        assert line.pace(21.0)[0] == "0:01 to go (0:15 for all)"


def test_the_last_line_of_several_says_the_time_of_all_too_and_a_line_alone_does_not():
    time_now, forecast = [0.0], Forecast()
    for expected in ("0:05 to go", "0:05 to go (0:05 for all)"):
        time_now[0] = 0.0
        with progress(lambda: time_now[0], forecast, {"unit": "nac"}) as line:
            line.advanced(0)
            time_now[0] = 5.0
            line.advanced(5)
            assert line.pace(5.0)[0] == expected


def test_a_line_that_went_on_from_a_checkpoint_is_timed_by_the_steps_of_this_process():
    time_now, forecast = [0.0], Forecast()
    with progress(lambda: time_now[0], forecast, {"unit": "nac"}) as line:
        line.advanced(8)
        time_now[0] = 4.0
        line.advanced(10)
    assert forecast.done == [({"unit": "nac"}, 1.0)]  # 4 s for 2 steps of 2 seeds
