"""The working directory: who may have it, and that nothing in it is touched that is not the run's own."""

import os
import platform
import re
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from experiments.faults import ConfigError, EnvironmentFault
from experiments.running import workdir
from experiments.running.locks import Busy, held, is_held
from experiments.running.workdir import claimed, entered

QUIET = Console(quiet=True)


def claim(folder, *, fresh=False):
    with claimed(folder, fresh=fresh, console=QUIET):
        return sorted(path.name for path in folder.iterdir())


def test_a_folder_is_made_with_those_above_it_and_says_who_holds_it(tmp_path):
    folder = tmp_path / "a" / "b"
    assert claim(folder) == [".in_use"]
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("lost", [False, True], ids=["noted", "note removed"])
@pytest.mark.parametrize("way", ["itself", "through a link above"])
def test_a_folder_is_held_by_one_alone_by_whatever_name(tmp_path, monkeypatch, way, lost):
    monkeypatch.setattr(workdir, "PATIENCE", 0.1)
    folder = tmp_path / "real" / "run"
    folder.mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with entered(folder):
        if lost:
            (folder / ".in_use").unlink()
        who = "another process" if lost else rf"process {os.getpid()} on {re.escape(platform.node())} since 2\d\d\d-"
        with pytest.raises(EnvironmentFault, match=rf"is in use by {who}"):
            claim(folder if way == "itself" else tmp_path / "link" / "run")
        assert (folder / ".in_use").exists() != lost
    claim(folder)


def test_a_link_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(EnvironmentFault, match=rf"is a link; give the folder that it leads to, {tmp_path / 'real'}"):
        claim(tmp_path / "link")


@pytest.mark.parametrize("where", ["metrics.jsonl", "nac-add/metrics.jsonl", "nac-add/checkpoints"])
def test_a_link_in_the_folder_is_refused_and_what_it_leads_to_is_left_alone(tmp_path, where):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "step_by_step.txt").write_text("mine")
    path = tmp_path / "run" / where
    path.parent.mkdir(parents=True)
    path.symlink_to(precious if path.name == "checkpoints" else precious / "step_by_step.txt")
    with pytest.raises(EnvironmentFault, match=f"{path} is a link"):
        claim(tmp_path / "run")
    assert (precious / "step_by_step.txt").read_text() == "mine"


def test_a_folder_with_files_of_ones_own_is_refused_and_fresh_sets_it_aside(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "summary.csv").write_text("mine")
    with pytest.raises(ConfigError, match=r"holds files, but no config\.json of a run"):
        claim(folder)
    assert [path.name for path in folder.iterdir()] == ["summary.csv"]
    assert claim(folder, fresh=True) == [".in_use"]
    assert (tmp_path / "run.1" / "summary.csv").read_text() == "mine" and list(folder.iterdir()) == []


def test_what_killed_processes_left_half_written_is_removed_and_nothing_else(tmp_path):
    cell = tmp_path / "run" / "nac-add"
    cell.mkdir(parents=True)
    kept = [tmp_path / "run" / "config.json", cell / "notes.tmp", cell / "notes.tmp.txt"]
    for path in (*kept, cell / "seeds.csv.tmp.123", tmp_path / "run" / "summary.md.tmp.7"):
        path.write_text("")
    claim(tmp_path / "run")
    assert sorted(path for path in (tmp_path / "run").rglob("*") if path.is_file()) == sorted(kept)


def test_a_folder_that_cannot_be_written_is_said_to_be_so():
    with pytest.raises(EnvironmentFault, match=r"/proc/x cannot be written"):
        claim(Path("/proc/x"))


def test_processes_that_train_share_a_folder_and_none_has_it_alone_meanwhile(tmp_path):
    with entered(tmp_path) as first:
        assert first.alone and first.take(shared=True)
        with entered(tmp_path) as second:
            assert not second.alone and not first.take(shared=False)
        assert first.take(shared=False)


def test_the_folder_of_a_cell_is_held_and_seen_to_be_held_until_it_is_let_go(tmp_path):
    assert not is_held(tmp_path) and not is_held(tmp_path / "none")
    with held(tmp_path):
        assert is_held(tmp_path)
        with pytest.raises(Busy, match=rf"{tmp_path} is in use by process {os.getpid()} on"), held(tmp_path):
            pass
        assert (tmp_path / ".in_use").exists()
    assert not is_held(tmp_path) and list(tmp_path.iterdir()) == []


def test_notes_of_the_dead_are_removed_and_those_of_the_living_stay(tmp_path):
    (tmp_path / "config.json").write_text("")
    for name in ("dead", "alive"):
        (tmp_path / name).mkdir()
        (tmp_path / name / ".in_use").write_text("process 1")
    with held(tmp_path / "alive"):
        claim(tmp_path)
        assert (tmp_path / "alive" / ".in_use").exists() and not (tmp_path / "dead" / ".in_use").exists()


def test_of_processes_that_begin_at_once_one_is_alone_and_the_others_wait_for_it(tmp_path):
    found = []

    def begin():
        with entered(tmp_path) as lock:
            found.append(lock.alone)
            time.sleep(0.05)
            assert lock.take(shared=True)
            time.sleep(0.5)

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [False] * 7 + [True]
