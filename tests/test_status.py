"""The state of a run as its folder shows it: done, running, failed, resumable, waiting; and that looking changes nothing."""

import re
import shutil

import pytest
from commands import called
from test_growing import interrupted_at, run

from experiments import run as command_line
from experiments.running import experiment
from experiments.running.locks import held
from experiments.running.workdir import entered

pytestmark = pytest.mark.slow

ALL = {"units": "linear,nau", "operations": "add,sub", "steps": 2000}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A run with a cell that is done, one that was stopped on its way, and two to come."""
    folder = tmp_path_factory.mktemp("mixed") / "run"
    assert run(folder, operations="add", steps=2000).code == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "run_group", interrupted_at(200))
        assert run(folder, operations="add,sub", steps=2000).code == 75
        assert run(folder, **ALL | {"operations": "add,sub"}).code == 75
    return folder


def saved(folder):
    """The step of the newest checkpoint of the cell that was stopped, as the table shows it."""
    step = max(int(path.stem.split("_")[1]) for path in folder.glob("linear-sub/checkpoints/*.json"))
    assert 0 < step < 2000
    return f"{step:,} of 2,000"


def status(folder, *more):
    """What --status says, by cell."""
    said = run(folder, **ALL, more=("--status", *more))
    assert said.code == 0, said.err
    lines = [re.split(r"\s{2,}", line.strip()) for line in said.out.splitlines()[1:]]
    return {line[0]: line[2:] for line in lines[:-1]}, lines[-1][0]


def test_every_state_is_shown_and_nothing_is_changed(mixed):
    folder = mixed
    with entered(folder) as lock, held(folder / "linear-sub"):
        lock.take(shared=True)
        before = {path: path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))}
        states, summary = status(folder)
        assert {path: path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))} == before
    assert states["linear-add"] == ["done", "2,000 of 2,000"]
    assert states["linear-sub"][:2] == ["running", saved(folder)] and states["linear-sub"][2].startswith("process ")
    assert states["nau-sub"] == ["waiting"]
    assert summary == "1 done, 1 running, 2 waiting"


def test_what_was_stopped_goes_on_and_what_failed_says_why(mixed, tmp_path):
    folder = shutil.copytree(mixed, tmp_path / "run")
    assert status(folder)[0]["linear-sub"] == ["resumable", saved(folder)]
    for path in (folder / "linear-sub" / "checkpoints").iterdir():
        path.write_bytes(b"x")
    assert run(folder, **ALL).code == 4
    states, summary = status(folder)
    assert states["linear-sub"][0] == "failed" and "can be used; remove" in states["linear-sub"][-1]
    assert summary == "3 done, 1 failed"


def test_the_folder_alone_is_enough(mixed, capsys):
    assert called(command_line, "--status", f"--workdir={mixed}") == 0
    assert "linear-add" in capsys.readouterr().out


def test_a_folder_that_is_no_run_has_no_state(tmp_path, capsys):
    assert called(command_line, "--status", f"--workdir={tmp_path}") == 2
    assert capsys.readouterr().err == f"error: {tmp_path} is no run: it has no config.json\n"
    assert called(command_line, "--status") == 2
    assert "--workdir" in capsys.readouterr().err
