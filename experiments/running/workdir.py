"""The working directory of a run: made, shared by the processes that train it, and of this run and no other."""

import contextlib
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.faults import ConfigError, Damaged, EnvironmentFault
from experiments.reports.results import read_json
from experiments.running.locks import NOTE, OURS, WAIT, Lock, holder, is_held, noted
from experiments.running.work import plain
from experiments.settings.config import Config
from nalu_jax.storage.files import sealed, write_atomic

COMPLETE = "complete"  # the file that says that all cells are finished, and what was written of them
PATIENCE = 60.0  # seconds that another process may take to begin


@contextlib.contextmanager
def claimed(workdir: Path, *, fresh: bool, console: Console) -> Iterator[Lock]:
    """The working directory, made if need be, and locked: alone, or shared with the processes that train in it.

    The lock is on the folder itself, so that it holds by whatever name the folder is reached. With ``fresh``, what is in the
    folder is set aside. Raises EnvironmentFault if the folder cannot be had, and ConfigError if what is in it is no run.
    """
    if workdir.is_symlink():
        raise EnvironmentFault(f"--workdir: {workdir} is a link; give the folder that it leads to, {workdir.resolve()}")
    if workdir.exists() and not workdir.is_dir():
        raise EnvironmentFault(f"--workdir: {workdir} is a file, not a folder")
    with contextlib.ExitStack() as stack:
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context(entered(workdir))
            if fresh and contents(workdir):
                if not lock.alone:
                    raise EnvironmentFault(f"--fresh: {workdir} is in use by {holders(workdir)}")
                aside = next(path for n in range(1, 10**6) if not (path := Path(f"{workdir}.{n}")).exists())
                (workdir / NOTE).unlink(missing_ok=True)
                workdir.rename(aside)
                workdir.mkdir()
                lock = stack.enter_context(entered(workdir))
                console.print(f"the earlier run is now in {aside}", soft_wrap=True)
            tempfile.TemporaryFile(dir=workdir).close()
        except OSError as error:
            if isinstance(error, EnvironmentFault):
                raise
            raise EnvironmentFault(f"--workdir: {workdir} cannot be written ({error.strerror})") from error
        refuse_links(workdir)
        if lock.alone:
            tidy(workdir)
            if contents(workdir) and not (workdir / "config.json").exists():
                raise ConfigError(
                    f"--workdir: {workdir} holds files, but no config.json of a run: choose another folder, or --fresh to "
                    "set this one aside"
                )
        yield lock


@contextlib.contextmanager
def entered(workdir: Path) -> Iterator[Lock]:
    """The lock of a folder: alone if no process is in it, else shared. Waits for one that is about to begin."""
    with contextlib.closing(Lock(workdir)) as lock:
        deadline = time.monotonic() + PATIENCE
        while not (lock.take(shared=False) or lock.take(shared=True)):
            if time.monotonic() > deadline:
                raise EnvironmentFault(f"--workdir: {workdir} is in use by {holder(workdir)}")
            time.sleep(WAIT)
        with noted(workdir) if lock.alone else contextlib.nullcontext():
            yield lock


def adopt(workdir: Path, config: Config, page: str, lock: Lock, console: Console) -> None:
    """Writes the config of a run that is new or has grown, and shares the folder with others from then on.

    Raises EnvironmentFault if others train a run with another config there.
    """
    path, now = workdir / "config.json", {"page": page, **plain(config)}
    before: dict[str, Any] | None = None
    try:
        before = read_json(path) if path.exists() else None
    except Damaged as error:  # what was trained is known from the cells
        console.print(
            f"{error.args[0].partition(';')[0]}; it is written anew", soft_wrap=True, highlight=False, markup=False
        )
    if before != now:
        if not (lock.alone or lock.take(shared=False)):
            who = holders(workdir)
            raise EnvironmentFault(f"--workdir: {workdir} is in use by {who}, and a run can change when nobody trains it")
        (workdir / COMPLETE).unlink(missing_ok=True)
        write_atomic(path, sealed(now))
    (workdir / NOTE).unlink(missing_ok=True)
    while not lock.take(shared=True):  # another may have come first, for a moment
        time.sleep(WAIT)


def holders(workdir: Path) -> str:
    """The processes that train in a folder, as far as they are known."""
    folders = [path.parent for path in sorted(workdir.rglob(NOTE))]
    return " and ".join(dict.fromkeys(holder(folder) for folder in folders if is_held(folder))) or "another process"


def contents(workdir: Path) -> list[Path]:
    """What is in the folder besides what says who holds it."""
    return [path for path in workdir.iterdir() if path.name not in OURS]


def refuse_links(workdir: Path) -> None:
    """Raises EnvironmentFault for a link: what it leads to is not ours."""
    for folder, folders, files in os.walk(workdir):
        for name in (*folders, *files):
            path = Path(folder) / name
            if path.is_symlink():
                raise EnvironmentFault(f"{path} is a link, and a run writes to its own folder alone: remove it")


def tidy(workdir: Path) -> None:
    """Removes what killed processes left half written, but for checkpoints, which see to themselves."""
    for path in workdir.rglob("*"):
        half_written = path.parent.name != "checkpoints" and re.search(r"\.tmp\.\d+$", path.name)
        if (half_written or (path.name == NOTE and not is_held(path.parent))) and path.is_file():
            path.unlink()
