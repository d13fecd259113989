"""Runs that grow, are shared by processes, and have damaged cells: what is there stays as it is, to the bit."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from commands import outcome, same_handlers

import nalu_jax
from experiments import run as command_line
from experiments.running import experiment
from experiments.running.locks import held, is_held
from experiments.running.stopping import SignalHandler
from experiments.settings.pages import CONFIGS, own_code

pytestmark = pytest.mark.slow

COMMAND = [f"--config={CONFIGS / 'quickstart.py'}", "--config.eval_every=100"]
FILES = ("config.json", "metrics.jsonl", "params.npz", "result.json", "seeds.csv")


def run(folder, *, units="linear", operations="sub", steps=300, seeds=2, rate="0.03", reports="summary", more=()):
    """The command in this process, to its end; without pictures, which take longer than the training."""
    grid = [f"--config.grid.unit={units}", f"--config.grid.operation={operations}"]
    size = [f"--config.num_steps={steps}", f"--config.num_seeds={seeds}"]
    size += [f"--config.grid.learning_rate={rate}" if "," in rate else f"--config.optimizer.learning_rate={rate}"]
    return outcome(command_line, *COMMAND, *grid, *size, f"--config.reports={reports}", f"--workdir={folder}", *more)


def content(folder):
    """The files of a cell, by name."""
    return {name: (folder / name).read_bytes() for name in FILES}


def rows(folder):
    """The lines of a table of seeds, without its heading."""
    return (folder / "seeds.csv").read_text().splitlines()[1:]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A finished run of one cell, two seeds and 300 steps."""
    folder = tmp_path_factory.mktemp("small") / "run"
    assert run(folder).code == 0
    return folder


@pytest.fixture
def grown(small, tmp_path):
    """A copy of it, to grow."""
    return shutil.copytree(small, tmp_path / "run")


# Growing


def test_a_run_grows_by_cells_and_what_is_there_stays(grown, tmp_path):
    before = content(grown / "linear-sub")
    said = run(grown, operations="add,sub", units="linear,nau")
    assert said.code == 0 and "linear-sub:" not in said.out
    assert content(grown / "linear-sub") == before
    assert run(tmp_path / "whole", operations="add,sub", units="linear,nau").code == 0
    for name in ("seeds.csv", "summary.csv", "nau-add/params.npz", "linear-add/metrics.jsonl"):
        assert (grown / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.faults
def test_a_run_grows_by_seeds_which_are_those_of_a_run_of_their_own(grown, tmp_path):
    before = content(grown / "linear-sub")
    assert run(grown, seeds=5).code == 0
    assert content(grown / "linear-sub") == before
    assert run(tmp_path / "rest", seeds=3, more=("--config.first_seed=2",)).code == 0
    assert rows(grown / "linear-sub" / "seeds_2-4") == rows(tmp_path / "rest" / "linear-sub")
    assert [row.split(",")[2] for row in rows(grown)] == ["0", "1", "2", "3", "4"]
    assert run(grown, seeds=6).code == 0
    assert rows(grown)[:5] == rows(grown / "linear-sub") + rows(grown / "linear-sub" / "seeds_2-4")
    assert len(rows(grown)) == 6


@pytest.mark.faults
def test_a_run_grows_by_steps_into_the_longer_run(grown, tmp_path):
    before = content(grown / "linear-sub")
    said = run(grown, steps=500)
    assert said.code == 0 and "resuming from step 300" in said.out
    assert run(tmp_path / "long", steps=500).code == 0
    assert content(grown / "linear-sub") == content(tmp_path / "long" / "linear-sub")
    assert content(grown / "linear-sub" / "steps_300") == before


def test_a_run_grows_by_all_at_once_and_by_seeds_that_come_first(grown):
    assert run(grown, seeds=3, steps=400, operations="add,sub").code == 0
    assert len(rows(grown)) == 6 and len(list(grown.glob("*/metrics.jsonl"))) == 2
    folder = grown.parent / "late"
    assert run(folder, more=("--config.first_seed=2",)).code == 0
    assert run(folder, seeds=4).code == 0
    assert [row.split(",")[2] for row in rows(folder)] == ["0", "1", "2", "3"]
    assert rows(folder)[2:] == rows(folder / "linear-sub")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"operations": "add"}, "it has a cell linear-sub, which is none of this grid"),
        ({"seeds": 1}, "linear-sub: seeds 0 to 1 → 0 to 0, a run can grow and not shrink"),
        ({"more": ("--config.first_seed=1",)}, "linear-sub: seeds 0 to 1 → 1 to 2, a run can grow and not shrink"),
        ({"steps": 200}, "num_steps: 300 → 200; linear-sub: a run can grow and not shrink"),
        ({"rate": "0.1"}, "linear-sub: optimizer.learning_rate: 0.03 → 0.1"),
        ({"steps": 500, "rate": "0.1"}, "optimizer.learning_rate: 0.03 → 0.1"),
        ({"steps": 500, "more": ("--config.batch_size=7",)}, "learner.batch_size: 32 → 7"),
    ],
)
def test_a_run_that_would_shrink_or_change_is_refused_and_left_as_it_is(grown, change, words):
    before = {path: path.read_bytes() for path in grown.rglob("*") if path.is_file()}
    said = run(grown, **change)
    assert said.code == 2 and words in said.err, said.err
    assert {path: path.read_bytes() for path in grown.rglob("*") if path.is_file()} == before


@pytest.mark.faults
def test_more_steps_are_refused_where_training_depends_on_their_number(tmp_path):
    cosine = ("--config.optimizer.schedule=cosine",)
    assert run(tmp_path / "run", more=cosine).code == 0
    said = run(tmp_path / "run", steps=500, more=cosine)
    assert said.code == 2 and "how it is trained depends on the number of steps" in said.err
    assert run(tmp_path / "odd", steps=250).code == 0
    said = run(tmp_path / "odd", steps=500)
    assert said.code == 2 and "only a run whose eval_every divides its steps can have more of them" in said.err


@pytest.mark.faults
def test_rates_that_were_trained_together_go_on_together_beside_a_new_one(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    monkeypatch.setattr(experiment, "run_group", interrupted_at(200))
    assert run(folder, rate="0.01,0.03").code == 75
    monkeypatch.undo()
    assert run(folder, rate="0.01,0.03,0.1").code == 0
    names = [f"linear-sub-learning_rate={rate}" for rate in (0.01, 0.03, 0.1)]
    for name in names:
        assert np.isfinite(nalu_jax.load(folder, learning_rate=float(name.split("=")[1])).params["layers_0"]["w"]).all()
        assert len(rows(folder / name)) == 2
    together = [json.loads((folder / name / "config.json").read_text())["together"] for name in names]
    assert together == [names[:2], names[:2], names[2:]]


def interrupted_at(step):
    """``run_group`` with a host that is told to stop at a step."""
    from experiments.running import cell

    def stopped(work, progress, signals, environment):
        evaluated = cell.GroupHost.evaluated

        def stop(self, now, metrics):
            evaluated(self, now, metrics)
            signals.stop_requested = now >= step

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cell.GroupHost, "evaluated", stop)
            cell.run_group(work, progress, signals, environment)

    return stopped


def test_a_trained_network_of_seeds_that_came_later_is_loaded(grown):
    assert run(grown, seeds=4).code == 0
    late = nalu_jax.load(grown, seed=3).params["layers_0"]["w"]
    with np.load(grown / "linear-sub" / "seeds_2-3" / "params.npz") as file:
        np.testing.assert_array_equal(late, file["best/layers_0/w"][1])
    scores = [float(row.split(",")[6]) for row in rows(grown)]
    best = nalu_jax.load(grown, seed=int(np.argmin(scores))).params["layers_0"]["w"]
    np.testing.assert_array_equal(nalu_jax.load(grown).params["layers_0"]["w"], best)


# What is believed


def test_a_folder_of_another_run_is_not_taken_for_a_cell(small, tmp_path):
    assert run(tmp_path / "other", rate="0.1").code == 0
    folder = tmp_path / "run"
    assert run(folder, operations="add").code == 0
    shutil.copytree(tmp_path / "other" / "linear-sub", folder / "linear-sub")
    said = run(folder, operations="add,sub")
    assert said.code == 2 and "linear-sub: optimizer.learning_rate: 0.1 → 0.03" in said.err


def test_cells_that_other_code_trained_are_named(grown, monkeypatch):
    monkeypatch.setattr("experiments.running.environment.source", lambda: "another")
    said = run(grown, operations="add,sub")
    assert said.code == 0
    assert ") and kept as they are: linear-sub; what is removed is trained anew" in said.out
    assert "trained by other code (source: " in said.out


PAGE = '''"""A page."""
{imports}
LIMIT = {limit}

def double(x):
    """{text}"""
    return {factor} * x

def get_config():
    """{config}"""
    return {config}
'''


def test_what_a_page_brings_along_has_a_digest_that_its_config_and_its_texts_leave_alone(tmp_path, monkeypatch):
    (tmp_path / "my_formulas.py").write_text("def f(x): return x")
    monkeypatch.syspath_prepend(tmp_path)
    said = {"imports": "import my_formulas", "limit": 3, "text": "Twice.", "factor": 2, "config": 7}

    def digest(**changed):
        (tmp_path / "page.py").write_text(PAGE.format(**said | changed))
        __import__("my_formulas")
        return own_code(str(tmp_path / "page.py"))

    first = digest()
    assert digest(text="Two times.", config=8) == first
    assert len({first, digest(factor=3), digest(limit=4), digest(imports="import math")}) == 4
    (tmp_path / "my_formulas.py").write_text("def f(x): return -x")
    assert digest() != first


@pytest.mark.parametrize(
    "name", ["seeds.csv", *(pytest.param(name, marks=pytest.mark.faults) for name in ("config.json", "result.json"))]
)
def test_a_damaged_cell_costs_no_other_and_is_listed(grown, name):
    assert run(grown, operations="add,sub").code == 0
    path = grown / "linear-add" / name
    path.write_bytes(path.read_bytes().replace(b"0", b"1", 1))
    said = run(grown, operations="add,sub")
    assert said.code == 4 and f"failed: {path} is damaged" in said.out
    assert f"remove {path.parent}, and it is trained anew" in said.out
    assert len(re.findall(r"linear +sub", said.out)) == 1 and not re.findall(r"linear +add", said.out)
    shutil.rmtree(path.parent)
    assert run(grown, operations="add,sub").code == 0
    assert [row.split(",")[1] for row in rows(grown)] == ["add", "add", "sub", "sub"]


@pytest.mark.faults
def test_a_cell_whose_checkpoints_are_damaged_costs_no_other(grown, tmp_path):
    for path in (grown / "linear-sub" / "checkpoints").iterdir():
        path.write_bytes(b"x")
    said = run(grown, operations="sub,add", steps=400)
    assert said.code == 4 and "linear-sub has failed: no checkpoint in" in said.out
    assert "CheckpointError" in (grown / "linear-sub" / "failed.txt").read_text()
    assert [row.split(",")[1] for row in rows(grown)] == ["add", "add"]
    shutil.rmtree(grown / "linear-sub")
    assert run(grown, operations="sub,add", steps=400).code == 0
    assert len(rows(grown)) == 4


def test_reports_that_were_removed_or_changed_are_written_again(grown):
    assert run(grown, reports="summary,curves").code == 0
    before = {name: (grown / name).read_bytes() for name in ("summary.md", "curves.png")}
    (grown / "summary.md").unlink()
    (grown / "curves.png").write_bytes(b"other")
    assert run(grown, reports="summary,curves").code == 0
    assert {name: (grown / name).read_bytes() for name in before} == before


def test_a_damaged_config_of_the_run_is_written_anew_since_the_cells_know_theirs(grown):
    before = (grown / "config.json").read_bytes()
    (grown / "config.json").write_bytes(before.replace(b"300", b"301"))
    said = run(grown)
    assert said.code == 0 and "config.json is damaged (its digest differs); it is written anew" in said.out
    assert (grown / "config.json").read_bytes() == before
    (grown / "config.json").write_bytes(before.replace(b"300", b"301"))
    said = run(grown, rate="0.1")
    assert said.code == 2 and "optimizer.learning_rate: 0.03 → 0.1" in said.err


# Several processes


def test_cells_that_another_process_holds_are_left_to_it(grown, tmp_path):
    (grown / "linear-add").mkdir()
    with held(grown / "linear-add"):
        said = run(grown, operations="add,sub,mul")
    assert said.code == 0 and not (grown / "linear-add" / "seeds.csv").exists()
    assert "linear-add in use by process" in said.out and "whoever finishes last writes the tables" in said.out
    assert not (grown / "complete").exists()
    said = run(grown, operations="add,sub,mul")
    assert said.code == 0 and (grown / "complete").exists() and len(rows(grown)) == 6


def test_a_process_that_finds_nothing_to_take_says_who_has_it(grown):
    (grown / "linear-add").mkdir()
    with held(grown / "linear-add"):
        said = run(grown, operations="add,sub")
        shared = run(grown, operations="add,sub", more=["--share"])
    assert said.code == 3 and "linear-add in use by process" in said.err and "nothing else is left to train" in said.err
    assert shared.code == 0 and shared.out.endswith(said.err.removeprefix("error: ")) and not shared.err


CHILD = """
import sys, time
from experiments.running import cell
from experiments.cpu import set_up_cpu
from experiments.run import main

set_up_cpu()
evaluated = cell.GroupHost.evaluated
cell.GroupHost.evaluated = lambda *arguments: (time.sleep(0.1), evaluated(*arguments))
sys.exit(main(sys.argv[1:]))
"""


def child(folder, out):
    """The command in a process of its own, which rests at each evaluation and says what it says in a file."""
    grid = ["--config.grid.unit=linear,nau", "--config.grid.operation=add,sub", "--config.num_steps=2000"]
    grid += ["--config.optimizer.learning_rate=0.03"]
    command = [sys.executable, "-c", CHILD, *COMMAND, *grid, "--config.num_seeds=2", f"--workdir={folder}"]
    with open(out, "w") as file:
        return subprocess.Popen(command, cwd=CONFIGS.parent, stdout=file, stderr=subprocess.STDOUT)


@pytest.mark.faults
def test_processes_share_a_run_take_over_from_the_dead_and_end_with_the_same_bytes(tmp_path):
    folder = tmp_path / "shared"
    first, second = child(folder, tmp_path / "first"), child(folder, tmp_path / "second")
    try:
        deadline = time.monotonic() + 120
        while sum(is_held(path.parent) for path in folder.glob("*/metrics.jsonl")) < 2:
            assert time.monotonic() < deadline and None in (first.poll(), second.poll())
            time.sleep(0.02)
        first.kill()
        assert first.wait() == -signal.SIGKILL
        second.wait(timeout=200)
    finally:
        first.kill()
        second.kill()
    out = (tmp_path / "second").read_text()
    assert second.returncode == 0 and "extrap." in out, out
    said = run(folder, units="linear,nau", operations="add,sub", steps=2000)
    assert said.code == 0
    assert run(tmp_path / "alone", units="linear,nau", operations="add,sub", steps=2000).code == 0
    for path in sorted((tmp_path / "alone").glob("*/params.npz")):
        assert (folder / path.relative_to(tmp_path / "alone")).read_bytes() == path.read_bytes()
    for name in ("seeds.csv", "summary.csv"):
        assert (folder / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


def test_a_run_in_use_can_neither_change_nor_start_afresh(grown):
    from experiments.running.workdir import entered

    with entered(grown) as lock:
        assert lock.take(shared=True)
        said = run(grown, seeds=3)
        assert said.code == 3 and "a run can change when nobody trains it" in said.err
        said = run(grown, more=("--fresh",))
        assert said.code == 3 and "--fresh: " in said.err and "is in use by" in said.err
        assert run(grown).code == 0
    assert run(grown, seeds=3).code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP])
def test_a_signal_that_asks_to_stop_is_noted_once(number):
    with same_handlers():
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup, if the tests run under it, ignores it
        signals = SignalHandler()
        signals.install()
        signal.raise_signal(number)
        assert signals.stop_requested
        assert signal.getsignal(number) == signal.SIG_DFL


def test_a_closed_terminal_is_no_reason_to_stop_under_nohup():
    with same_handlers():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signals = SignalHandler()
        signals.install()
        signal.raise_signal(signal.SIGHUP)
        assert not signals.stop_requested


def test_a_mistake_leaves_the_run_where_it_is_that_fresh_would_set_aside(grown):
    said = run(grown, more=("--fresh", "--config.learner.batch_size=0"))
    assert said.code == 2 and "batch_size" in said.err
    assert [path.name for path in grown.parent.iterdir()] == ["run"] and (grown / "complete").exists()
