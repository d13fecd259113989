"""Checkpoints under everything that can happen to files: never silently wrong, never lost without a word."""

import ast
import contextlib
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nalu_jax.storage.checkpoint import CheckpointError, Checkpoints, pack, unpack
from nalu_jax.storage.files import write_atomic

ROOT = Path(__file__).parent.parent


class State(NamedTuple):
    step: np.ndarray
    params: dict
    flags: tuple


def state(step):
    """A small state with numbers of all kinds; whatever is in it follows from the step."""
    rng = np.random.RandomState(step)
    return State(
        step=np.int32(step),
        params={
            "layers_0": {"w_hat": rng.normal(size=(3, 4, 2)).astype(np.float32)},
            "odd": np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0, 1e-45, step], np.float32),
        },
        flags=(rng.rand(3) < 0.5, rng.randint(0, 2**32, 3, dtype=np.uint64).astype(np.uint32), np.zeros((0, 2), np.int32)),
    )


TEMPLATE = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), state(0))


def bits(tree):
    return [(np.asarray(leaf).dtype, np.asarray(leaf).shape, np.asarray(leaf).tobytes()) for leaf in jax.tree.leaves(tree)]


@pytest.fixture
def said():
    return []


@pytest.fixture
def checkpoints(tmp_path, said):
    """Checkpoints of steps 1000 and 1200."""
    kept = Checkpoints(tmp_path / "checkpoints", say=said.append)
    for step in (1000, 1200):
        kept.save(step, state(step), {"metrics_size": 7 * step})
    return kept


def assert_restored(checkpoints, step):
    """That the newest whole checkpoint is this one, in all its bits."""
    stored = checkpoints.restore(TEMPLATE)
    assert bits(stored.tree) == bits(state(step))
    assert stored.extra == {"metrics_size": 7 * step}


# What is whole


def test_a_tree_comes_back_in_all_its_bits_and_in_its_structure():
    tree = unpack(pack(state(5)), TEMPLATE)
    assert bits(tree) == bits(state(5))
    assert jax.tree.structure(tree) == jax.tree.structure(state(5))


def test_arrays_of_jax_are_stored_like_those_of_numpy():
    assert pack(jax.tree.map(jnp.asarray, state(5))) == pack(state(5))


def test_the_newest_checkpoint_is_restored_with_the_values_saved_beside_it(checkpoints, said):
    assert_restored(checkpoints, 1200)
    assert said == []


def test_where_no_checkpoint_was_ever_saved_there_is_none(tmp_path):
    assert Checkpoints(tmp_path / "nowhere", say=pytest.fail).restore(TEMPLATE) is None
    assert Checkpoints(tmp_path, say=pytest.fail).restore(TEMPLATE) is None


def test_the_same_arrays_are_the_same_bytes_at_any_time(monkeypatch):
    now = pack(state(5))
    later = time.localtime(time.time() + 10**7)
    monkeypatch.setattr(time, "time", lambda: time.mktime(later))
    monkeypatch.setattr(time, "localtime", lambda *_: later)
    assert pack(state(5)) == now


def test_a_checkpoint_names_the_sha256_of_its_step_its_plain_values_and_its_arrays(checkpoints):
    manifest = json.loads(checkpoints.manifest_path(1200).read_text())
    covered = b'[1200, {"metrics_size": 8400}]' + checkpoints.arrays_path(1200).read_bytes()
    assert manifest["sha256"] == hashlib.sha256(covered).hexdigest()


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_newest_checkpoints_are_kept_and_nothing_else(tmp_path, said, keep):
    checkpoints = Checkpoints(tmp_path, say=said.append, keep=keep)
    for step in (8, 9, 10, 100, 101):
        checkpoints.save(step, state(step), {})
    newest = [101, 100, 10][:keep]
    assert checkpoints.steps() == newest
    names = [path.name for path in sorted(tmp_path.iterdir())]
    assert names == [f"step_{step:012d}.{kind}" for step in sorted(newest) for kind in ("json", "npz")]


def test_a_step_that_is_saved_again_replaces_the_one_before(checkpoints):
    checkpoints.save(1200, state(1), {"metrics_size": 7})
    assert checkpoints.steps() == [1200, 1000]
    assert_restored(checkpoints, 1)


# What does not fit


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ({"flags": ()}, r"other arrays: \['flags/0', 'flags/1', 'flags/2'\]"),
        ({"step": {"now": np.int32(0)}}, r"other arrays: \['step', 'step/now'\]"),
        ({"step": np.zeros(1, np.int32)}, r"step is int32\[\], but int32\[1\] is wanted"),
        ({"step": np.float32(0)}, r"step is int32\[\], but float32\[\] is wanted"),
        ({"flags": (np.zeros(3, bool), np.zeros(4, np.uint32), np.zeros((0, 2), np.int32))}, r"flags/1 is uint32\[3\], but"),
    ],
    ids=["paths missing", "another path", "another rank", "another type", "another shape"],
)
def test_arrays_other_than_those_wanted_are_refused_by_name(field, expected):
    with pytest.raises(CheckpointError, match=expected):
        unpack(pack(state(0)), state(0)._replace(**field))


@pytest.mark.parametrize("payload", [b"", b"PK", b"no zip file at all", pack(state(0))[:-1], pack(state(0))[100:]])
def test_what_is_no_file_of_arrays_is_refused(payload):
    with pytest.raises(CheckpointError, match=r"not a readable \.npz file"):
        unpack(payload, TEMPLATE)


def flips(payload, count, rng):
    """The payload with one bit flipped, many times."""
    for place in rng.sample(range(8 * len(payload)), count):
        flipped = bytearray(payload)
        flipped[place // 8] ^= 1 << place % 8
        yield bytes(flipped)


def test_arrays_with_a_flipped_bit_are_refused_or_right_even_without_their_digest():
    # So are the params.npz of finished cells read.
    payload = pack(state(0))
    for flipped in flips(payload, len(payload), random.Random(0)):
        with contextlib.suppress(CheckpointError):
            assert bits(unpack(flipped, TEMPLATE)) == bits(state(0))


# Damage


def damage_newest(checkpoints, kind, damage):
    path = {"arrays": checkpoints.arrays_path, "manifest": checkpoints.manifest_path}[kind](1200)
    damage(path)


def empty(path):
    path.write_bytes(b"")


def truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


def replace_by_directory(path):
    path.unlink()
    path.mkdir()


def replace_by_other_file(path):
    path.write_bytes(b"[1, 2, 3]")


DAMAGES = [empty, truncate, replace_by_directory, replace_by_other_file]
each_damage = pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)


@each_damage
@pytest.mark.parametrize("kind", ["arrays", "manifest"])
def test_a_damaged_checkpoint_is_passed_over_with_a_message_for_the_one_before(checkpoints, said, kind, damage):
    damage_newest(checkpoints, kind, damage)
    assert_restored(checkpoints, 1000)
    assert len(said) == 1 and said[0].startswith("the checkpoint of step 1200 is passed over: ")


def test_a_checkpoint_whose_arrays_are_gone_is_passed_over_with_a_message(checkpoints, said):
    checkpoints.arrays_path(1200).unlink()
    assert_restored(checkpoints, 1000)
    assert len(said) == 1 and said[0].startswith("the checkpoint of step 1200 is passed over: ")


def test_arrays_without_a_manifest_are_removed_with_a_message(checkpoints, said):
    checkpoints.manifest_path(1200).unlink()
    assert_restored(checkpoints, 1000)
    assert said == ["step_000000001200.npz is left from a save that was cut short; it is removed"]
    assert not checkpoints.arrays_path(1200).exists()


def test_no_bit_flipped_in_the_arrays_of_the_newest_checkpoint_goes_unnoticed(checkpoints, said):
    path = checkpoints.arrays_path(1200)
    for count, flipped in enumerate(flips(path.read_bytes(), 200, random.Random(1)), 1):
        path.write_bytes(flipped)
        assert_restored(checkpoints, 1000)
        assert len(said) == count


def test_no_bit_flipped_in_the_manifest_of_the_newest_checkpoint_is_believed(checkpoints, said):
    path = checkpoints.manifest_path(1200)
    noticed = 0
    for flipped in flips(path.read_bytes(), 8 * path.stat().st_size, random.Random(2)):
        path.write_bytes(flipped)
        said.clear()
        stored = checkpoints.restore(TEMPLATE)
        step = 1000 if said else 1200
        assert (bits(stored.tree), stored.extra) == (bits(state(step)), {"metrics_size": 7 * step})
        noticed += bool(said)
    assert noticed > 400


@each_damage
def test_where_all_checkpoints_are_damaged_the_run_is_not_silently_started_over(checkpoints, said, damage):
    for step in (1000, 1200):
        damage(checkpoints.arrays_path(step))
    folder = checkpoints.folder
    sentence = f"no checkpoint in {folder} can be used; remove {folder.parent}, and it is trained anew"
    with pytest.raises(CheckpointError, match=re.escape(sentence)):
        checkpoints.restore(TEMPLATE)
    assert len(said) == 2


@pytest.mark.parametrize("damage", [empty, truncate, replace_by_directory])
def test_after_damage_the_next_checkpoints_are_saved_and_restored_as_ever(checkpoints, damage):
    damage(checkpoints.arrays_path(1200))
    assert_restored(checkpoints, 1000)
    for step in (1300, 1400, 1500):
        checkpoints.save(step, state(step), {"metrics_size": 7 * step})
    assert checkpoints.steps() == [1500, 1400]
    assert_restored(checkpoints, 1500)


def test_a_damaged_checkpoint_is_not_one_of_the_two_that_are_kept(checkpoints):
    empty(checkpoints.arrays_path(1200))
    assert_restored(checkpoints, 1000)
    checkpoints.save(1100, state(1100), {"metrics_size": 7 * 1100})
    empty(checkpoints.arrays_path(1100))
    assert_restored(checkpoints, 1000)


def test_a_directory_in_place_of_arrays_without_a_manifest_does_not_stop_a_run(checkpoints):
    (checkpoints.folder / "step_000000001300.npz").mkdir()
    assert_restored(checkpoints, 1200)


def test_a_damaged_step_that_is_saved_again_is_whole_again(checkpoints):
    empty(checkpoints.arrays_path(1200))
    assert_restored(checkpoints, 1000)
    checkpoints.save(1200, state(1200), {"metrics_size": 7 * 1200})
    assert checkpoints.steps() == [1200, 1000]
    assert_restored(checkpoints, 1200)


# Saves that are cut short


def test_leftovers_of_a_killed_save_are_removed_with_a_message_and_other_files_are_left_alone(checkpoints, said):
    names = ["step_000000001300.npz.tmp.4711", "step_000000001300.npz", "step_000000001200.json.tmp.12", "notes.txt"]
    for name in names:
        (checkpoints.folder / name).write_bytes(b"half")
    assert_restored(checkpoints, 1200)
    assert said == [f"{name} is left from a save that was cut short; it is removed" for name in sorted(names[:3])]
    assert [name for name in names if (checkpoints.folder / name).exists()] == ["notes.txt"]


class Killed(BaseException):
    """Stands for SIGKILL at a system call: nothing after it happens, cleaning up least of all."""


def kill_at(monkeypatch, n, killed_after):
    """Makes the n-th system call of a save its last, before or after it has done its work; 0 kills none."""
    calls = []
    for name in ("fsync", "replace", "unlink"):
        original = getattr(os, name)

        def called(*arguments, name=name, original=original, **options):
            calls.append(name)
            if killed_after and len(calls) == n:
                original(*arguments, **options)
            if len(calls) == n:
                raise Killed
            return original(*arguments, **options)

        monkeypatch.setattr(os, name, called)
    return calls


def test_a_save_is_a_sequence_of_flushes_and_moves_and_only_then_of_removals(checkpoints, monkeypatch):
    with monkeypatch.context() as patched:
        calls = kill_at(patched, 0, killed_after=False)
        checkpoints.save(1300, state(1300), {})
    written = ["fsync", "replace", "fsync"]  # the file, its name, the folder that holds the name
    assert calls == written + written + ["unlink", "unlink"]


@pytest.mark.parametrize("killed_after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("n", range(1, 9))
def test_a_save_killed_at_any_system_call_leaves_the_checkpoint_before_or_its_own(
    checkpoints, said, monkeypatch, n, killed_after
):
    with monkeypatch.context() as patched, pytest.raises(Killed):
        kill_at(patched, n, killed_after)
        checkpoints.save(1300, state(1300), {"metrics_size": 7 * 1300})
    finished = n > 5 or (n == 5 and killed_after)  # the second move is the commit
    assert_restored(checkpoints, 1300 if finished else 1200)
    assert all("is left from a save that was cut short; it is removed" in sentence for sentence in said)
    assert len([checkpoints.read(step) for step in checkpoints.steps()]) >= 2
    checkpoints.save(1400, state(1400), {"metrics_size": 7 * 1400})
    assert_restored(checkpoints, 1400)


# One process forks, at our word, children that do nothing but save, and kills each after a while.
KILLER = """
import os, signal, sys, time, warnings
warnings.simplefilter("ignore")
from tests.test_checkpoint import Checkpoints, Path, state

checkpoints = Checkpoints(Path(sys.argv[1]), say=print)
print("ready", flush=True)
for line in sys.stdin:
    first, seconds = line.split()
    child = os.fork()
    if child == 0:
        for step in range(int(first), 10**9):
            checkpoints.save(step, state(step), {"metrics_size": 7 * step})
    while max(checkpoints.steps(), default=0) < int(first):  # the first itself may have been removed by now
        time.sleep(0.001)
    time.sleep(float(seconds))
    os.kill(child, signal.SIGKILL)
    print("killed by", os.WTERMSIG(os.waitpid(child, 0)[1]), flush=True)
"""


def python(source, *arguments, **options):
    """A Python process in the root of the checkout that runs the source."""
    command = [sys.executable, "-c", textwrap.dedent(source), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, **options)


def test_sigkill_at_random_moments_of_saving_loses_no_committed_checkpoint(tmp_path):
    checkpoints = Checkpoints(tmp_path, say=lambda sentence: None)
    rng, newest, leftovers = random.Random(4), 0, 0
    with python(KILLER, tmp_path, stdin=subprocess.PIPE) as killer:
        assert killer.stdout.readline() == "ready\n"
        for _ in range(10):
            killer.stdin.write(f"{newest + 1} {rng.uniform(0, 0.1)}\n")
            killer.stdin.flush()
            assert killer.stdout.readline() == "killed by 9\n"
            leftovers += len(list(tmp_path.iterdir())) not in (2, 4)
            finished = checkpoints.steps()
            stored = checkpoints.restore(TEMPLATE)
            step = int(stored.tree.step)
            assert step == finished[0] >= newest
            assert bits(stored.tree) == bits(state(step)) and stored.extra == {"metrics_size": 7 * step}
            newest = step
        killer.stdin.close()
    assert newest >= 10
    assert leftovers > 0  # or no kill struck inside a save


# A full disk


def test_a_file_that_cannot_be_written_is_named_with_what_it_needs_and_what_is_free(tmp_path):
    path = tmp_path / "taken" / "file"
    path.mkdir(parents=True)  # it cannot be moved over a folder
    with pytest.raises(OSError, match=rf"writing {re.escape(str(path))} \(needs 1,234 bytes, [\d,]+ are free\)") as raised:
        write_atomic(path, b"x" * 1234)
    assert raised.value.errno is not None
    assert [child.name for child in path.parent.iterdir()] == ["file"]


FULL_DISK = """
import resource, signal, sys
from tests.test_checkpoint import TEMPLATE, Checkpoints, Path, np, state

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
checkpoints = Checkpoints(Path(sys.argv[1]), say=print)
checkpoints.save(1, state(1), {})
large = state(2)._replace(params={"large": np.zeros(25_000, np.float32)})
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
try:
    checkpoints.save(2, large, {})
except OSError as error:
    print(type(error).__name__, error)
print(sorted(path.name for path in checkpoints.folder.iterdir()))
print("whole:", int(checkpoints.restore(TEMPLATE).tree.step))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
checkpoints.save(2, large, {})
print("whole:", int(checkpoints.restore(large).tree.step))
"""


def test_a_full_disk_is_an_error_that_says_what_is_needed_and_costs_no_checkpoint(tmp_path):
    with python(FULL_DISK, tmp_path) as process:
        error, files, before, after = process.stdout.read().splitlines()
    path = re.escape(str(tmp_path / "step_000000000002.npz"))
    assert re.fullmatch(
        rf"OSError \[Errno 27\] File too large writing {path} \(needs 10\d,\d\d\d bytes, [\d,]+ are free\)", error
    )
    assert files == "['step_000000000001.json', 'step_000000000001.npz']"
    assert (before, after) == ("whole: 1", "whole: 2")


# Nothing that is read may run


def calls(tree):
    """The calls of a module, each with its name as it stands there."""
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def runs_what_it_reads(source):
    """What a module does that could execute the files it reads."""
    tree, found = ast.parse(source), []
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [name for name in names if re.match(r"(c?[pP]ickle|cloudpickle|dill|joblib|shelve|marshal|yaml)\b", name)]
    for name, call in calls(tree):
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if re.search(r"(^|\.)(eval|exec|yaml\.load)$", name) or options.get("allow_pickle", "False") != "False":
            found.append(name)
        if re.fullmatch(r"(np|numpy|jnp)\.(load|save|savez|savez_compressed)", name) and "allow_pickle" not in options:
            found.append(name)
    return found


MODULES = [path for folder in ("nalu_jax", "experiments") for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_can_execute_what_it_reads(path):
    assert runs_what_it_reads(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from dill import load",
        "import cloudpickle as cp",
        "eval('1')",
        "builtins.exec(text)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "np.savez(file, allow_pickle=flag)",
        "import yaml",
        "yaml.load(text)",
    ],
)
def test_a_module_that_can_execute_what_it_reads_would_be_found(source):
    assert runs_what_it_reads(source)


@pytest.mark.parametrize(
    "source", ["jax.eval_shape(f)", "ast.literal_eval(t)", "np.load(f, allow_pickle=False)", "json.loads(t)"]
)
def test_what_executes_nothing_is_not_found(source):
    assert runs_what_it_reads(source) == []
