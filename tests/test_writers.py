"""Writers: what a run tells them, and that one which fails costs nothing."""

import re

import pytest

from experiments.faults import ConfigError
from experiments.running.experiment import check_writers
from nalu_jax.registry import WRITERS
from nalu_jax.storage.writers import Writers


class Noting:
    """A writer that notes what it is told, and fails when it is told to."""

    def __init__(self, folder, *, every, errors, say, **others):
        self.told = [("made", folder.name, every, tuple(errors), *others.items())]
        self.failing = folder.name == "refused"
        if self.failing:
            raise RuntimeError("no service")

    def __getattr__(self, name):
        def note(*arguments, **options):
            if self.told and name == "row" and arguments[0].get("step") == 13:
                raise ConnectionError("gone")
            self.told.append((name, *arguments, *options.items()))

        return note


@pytest.fixture
def writers(monkeypatch, tmp_path):
    """Writers of two kinds for a folder, and the sentences that they say."""
    monkeypatch.setattr(WRITERS, "_constructors", dict(WRITERS.known()) | {"noting": Noting, "other": Noting})
    said = []
    return lambda name="cell": (
        Writers(["noting", "other"], tmp_path / name, every=3, errors=["mse"], say=said.append),
        said,
    )


def test_every_writer_is_told_everything(writers):
    both, said = writers()
    both.row({"step": 0})
    both.row({"step": 5}, last=True)
    both.image("weights", None, 5)
    both.hparams({"a": 1}, {"b": 2.0}, 5)
    both.close()
    expected = [("made", "cell", 3, ("mse",)), ("row", {"step": 0}, ("last", False)), ("row", {"step": 5}, ("last", True))]
    expected += [("image", "weights", None, 5), ("hparams", {"a": 1}, {"b": 2.0}, 5), ("close",)]
    assert [writer.told for writer in both.writers.values()] == [expected] * 2 and said == []


def test_a_writer_is_told_where_event_files_go(tmp_path, monkeypatch):
    monkeypatch.setattr(WRITERS, "_constructors", dict(WRITERS.known()) | {"noting": Noting})
    events = tmp_path / "tensorboard" / "nac" / "add"
    shown = Writers(["noting"], tmp_path / "nac-add", every=1, errors=[], say=pytest.fail, events=events)
    assert shown.writers["noting"].told == [("made", "nac-add", 1, (), ("events", events))]


def test_a_writer_that_fails_is_left_out_and_that_is_said_once(writers):
    both, said = writers()
    for step in (0, 13, 20):
        both.row({"step": step})
    assert both.writers == {}
    assert said == [
        f"the writer {name!r} fails (ConnectionError: gone); training goes on without it" for name in ("noting", "other")
    ]


def test_a_writer_that_cannot_be_made_is_left_out(writers):
    both, said = writers("refused")
    both.row({"step": 0})
    assert both.writers == {} and all(re.search(r"fails \(RuntimeError: no service\)", sentence) for sentence in said)


def test_an_unknown_writer_is_refused_with_a_guess():
    check_writers(["tensorboard"])
    with pytest.raises(ConfigError, match=r"config\.writers: unknown writer 'tensorbord': did you mean 'tensorboard'"):
        check_writers(["tensorbord"])
