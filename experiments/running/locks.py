"""Who works on a folder: locks that end with their process, and a note for people."""

import contextlib
import fcntl
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

from experiments.faults import EnvironmentFault
from nalu_jax.storage.files import write_atomic

NOTE = ".in_use"  # who holds the folder, for a person to read; the lock is the folder's own
LOCK = ".lock"  # where folders cannot be locked
OURS = (NOTE, LOCK)
WAIT = 0.05  # seconds between two tries


class Busy(EnvironmentFault):
    """Another process has the folder."""


class Lock:
    """The lock of an open folder: ours alone, or shared with others. It ends with the process at the latest."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.alone = False
        self.descriptor = os.open(folder, os.O_RDONLY)

    def take(self, *, shared: bool) -> bool:
        """Takes the lock, or changes between alone and shared, and says whether that was possible; if not, it is lost."""
        kind = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
        try:
            try:
                fcntl.flock(self.descriptor, kind)
            except BlockingIOError:
                raise
            except OSError:  # a file system, as NFS, whose folders cannot be locked
                os.close(self.descriptor)
                self.descriptor = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT)
                fcntl.flock(self.descriptor, kind)
        except BlockingIOError:
            return False
        self.alone = not shared
        return True

    def close(self) -> None:
        """Gives the lock back."""
        os.close(self.descriptor)


@contextlib.contextmanager
def held(folder: Path, *, patience: float = 0.2) -> Iterator[None]:
    """Holds a folder alone, with a note of who does. Raises Busy, saying who does, if another holds it all the while."""
    with contextlib.closing(Lock(folder)) as lock:
        deadline = time.monotonic() + patience
        while not lock.take(shared=False):
            if time.monotonic() > deadline:
                raise Busy(f"{folder} is in use by {holder(folder)}")
            time.sleep(WAIT)
        with noted(folder):
            yield


@contextlib.contextmanager
def noted(folder: Path) -> Iterator[None]:
    """Leaves a note of who holds the folder as long as this lasts."""
    note = folder / NOTE
    write_atomic(note, f"process {os.getpid()} on {platform.node()} since {time.strftime('%F %T')}".encode())
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


def holder(folder: Path) -> str:
    """Who holds a folder, by its note."""
    note = folder / NOTE
    return note.read_text(encoding="utf-8") if note.exists() else "another process"


def is_held(folder: Path) -> bool:
    """Whether a process holds the folder; nothing is changed."""
    if not folder.is_dir():
        return False
    lock = folder / LOCK
    descriptor = os.open(lock if lock.exists() else folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a folder that cannot be locked, and that nobody has locked otherwise
        return False
    finally:
        os.close(descriptor)
    return False
