"""Atomic, verified files of arrays: a checkpoint is either whole or not there.

The arrays go into an ``.npz`` file, keyed by their path in the tree and without pickle; a SHA-256 of them and of the plain
values saved with them goes into a small JSON file that is written last. Both are written beside their place, flushed to the
disk and then moved there. A checkpoint whose JSON file is missing was never finished; one whose digest differs is damaged;
neither is ever used.
"""

import hashlib
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from nalu_jax.storage.files import discard, write_atomic


class CheckpointError(OSError):
    """A stored file that cannot be used, and what to do about it."""


class Stored(NamedTuple):
    """A restored checkpoint: the arrays, and the plain values saved with them."""

    tree: Any
    extra: dict[str, Any]


def pack(tree: Any) -> bytes:
    """The arrays of a tree as an ``.npz`` file, keyed by path: the same arrays give the same bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{name: np.asarray(leaf) for name, leaf in named_leaves(tree)})
    return buffer.getvalue()


def unpack(payload: bytes, template: Any) -> Any:
    """The tree that ``pack`` wrote, in the structure of ``template``.

    Raises CheckpointError unless paths, shapes and types are exactly the template's.
    """
    try:
        with np.load(io.BytesIO(payload), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:  # what zipfile and NumPy raise on damaged bytes is anything but a closed list
        raise CheckpointError(f"not a readable .npz file ({error})") from error
    wanted = dict(named_leaves(template))
    if arrays.keys() != wanted.keys():
        raise CheckpointError(f"holds other arrays: {sorted(arrays.keys() ^ wanted.keys())} are in one of both only")
    for name, leaf in wanted.items():
        if (arrays[name].shape, arrays[name].dtype) != (leaf.shape, leaf.dtype):
            found = f"{arrays[name].dtype}{list(arrays[name].shape)}"
            raise CheckpointError(f"{name} is {found}, but {leaf.dtype}{list(leaf.shape)} is wanted")
    return jax.tree.unflatten(jax.tree.structure(template), [arrays[name] for name in wanted])


def named_leaves(tree: Any) -> list[tuple[str, Any]]:
    """The leaves of a tree with their paths, ``a/b/0``."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in leaves]


def digest(step: int, extra: dict[str, Any], payload: bytes) -> str:
    """SHA-256 of all that a checkpoint says."""
    return hashlib.sha256(json.dumps([step, extra], sort_keys=True).encode() + payload).hexdigest()


class Checkpoints:
    """The checkpoints of one run in a folder of their own; the newest ``keep`` are kept.

    ``say`` is told, in a sentence, of everything that is passed over or removed.
    """

    def __init__(self, folder: Path, *, say: Callable[[str], None], keep: int = 2):
        self.folder = folder
        self.say = say
        self.keep = keep
        self.damaged: list[int] = []

    def save(self, step: int, tree: Any, extra: dict[str, Any]) -> None:
        """Commits a checkpoint, reads it back, and only then removes the oldest. OSError if it cannot be written."""
        self.folder.mkdir(parents=True, exist_ok=True)
        payload = pack(tree)
        manifest = {"sha256": digest(step, extra, payload), "extra": extra}
        write_atomic(self.arrays_path(step), payload)
        write_atomic(self.manifest_path(step), json.dumps(manifest, indent=2).encode())
        self.read(step)
        for useless in set(self.damaged) - {step}:
            self.remove(useless)
        self.damaged = []
        for old in self.steps()[self.keep :]:
            self.remove(old)

    def restore(self, template: Any, fits: Callable[[dict[str, Any]], None] = lambda extra: None) -> Stored | None:
        """The newest checkpoint that is whole, or None if there has never been one.

        ``fits`` is given what was saved with the arrays, and raises OSError if what lies beside the checkpoint does not fit
        it. Raises CheckpointError if there are checkpoints and none can be used: starting over silently would lose the run.
        """
        self.clear_leftovers()
        self.damaged = []
        for step in self.steps():
            try:
                payload, extra = self.read(step)
                stored = Stored(unpack(payload, template), extra)
                fits(extra)
                return stored
            except OSError as error:
                self.say(f"the checkpoint of step {step} is passed over: {error}")
                self.damaged.append(step)
        if self.damaged:
            again = f"remove {self.folder.parent}, and it is trained anew"
            raise CheckpointError(f"no checkpoint in {self.folder} can be used; {again}")
        return None

    def read(self, step: int) -> tuple[bytes, dict[str, Any]]:
        """The verified payload of a checkpoint and its extra values."""
        try:
            manifest = json.loads(self.manifest_path(step).read_bytes())
            payload = self.arrays_path(step).read_bytes()
            expected, extra = manifest["sha256"], manifest["extra"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"it cannot be read ({error})") from error
        if digest(step, extra, payload) != expected:
            raise CheckpointError("it is damaged (its SHA-256 differs)")
        return payload, extra

    def steps(self) -> list[int]:
        """Steps of all checkpoints that were finished, the newest first."""
        if not self.folder.is_dir():
            return []
        found = (re.fullmatch(r"step_(\d+)\.json", path.name) for path in self.folder.iterdir())
        return sorted((int(match[1]) for match in found if match), reverse=True)

    def clear_leftovers(self) -> None:
        """Removes what a killed save left behind."""
        if not self.folder.is_dir():
            return
        finished = {self.arrays_path(step).name for step in self.steps()} | {
            self.manifest_path(step).name for step in self.steps()
        }
        for path in sorted(self.folder.iterdir()):
            if path.name not in finished and re.match(r"step_\d+\.", path.name):
                self.say(f"{path.name} is left from a save that was cut short; it is removed")
                discard(path)

    def remove(self, step: int) -> None:
        """Removes a checkpoint, its JSON file first, so that it is never half there."""
        for path in (self.manifest_path(step), self.arrays_path(step)):
            discard(path)

    def arrays_path(self, step: int) -> Path:
        """Where the arrays of a step lie."""
        return self.folder / f"step_{step:012d}.npz"

    def manifest_path(self, step: int) -> Path:
        """Where the digest of a step lies."""
        return self.folder / f"step_{step:012d}.json"
