"""The working directory of a run: made, held by one process alone, and of this run and no other."""

import contextlib
import errno
import fcntl
import json
import os
import platform
import re
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.build import Job
from experiments.config import Config
from experiments.environment import differences
from experiments.faults import ConfigError, EnvironmentFault
from experiments.reports.results import Files, read_json
from nalu_jax.storage.files import write_atomic

OWNER = ".in_use"  # who holds the folder, for a person to read; the lock is the folder's own
LOCK = ".lock"  # where folders cannot be locked


@contextlib.contextmanager
def claimed(workdir: Path, *, fresh: bool, console: Console) -> Iterator[None]:
    """The working directory, made if need be, and ours alone as long as this lasts.

    The lock is on the folder itself, so that it holds by whatever name the folder is reached. With ``fresh``, what is in the
    folder is set aside. Raises EnvironmentFault if the folder cannot be had, and ConfigError if what is in it is no run.
    """
    if workdir.is_symlink():
        raise EnvironmentFault(f"--workdir: {workdir} is a link; give the folder that it leads to, {workdir.resolve()}")
    if workdir.exists() and not workdir.is_dir():
        raise EnvironmentFault(f"--workdir: {workdir} is a file, not a folder")
    with contextlib.ExitStack() as held:
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(workdir))
            if fresh and contents(workdir):
                aside = next(path for n in range(1, 10**6) if not (path := Path(f"{workdir}.{n}")).exists())
                (workdir / OWNER).unlink(missing_ok=True)
                workdir.rename(aside)
                workdir.mkdir()
                held.enter_context(locked(workdir))
                console.print(f"the earlier run is now in {aside}", soft_wrap=True)
            tempfile.TemporaryFile(dir=workdir).close()
        except OSError as error:
            if isinstance(error, EnvironmentFault):
                raise
            raise EnvironmentFault(f"--workdir: {workdir} cannot be written ({error.strerror})") from error
        tidy(workdir)
        if contents(workdir) and not (workdir / "config.json").exists():
            raise ConfigError(
                f"--workdir: {workdir} holds files, but no config.json of a run: choose another folder, or --fresh to set "
                "this one aside"
            )
        yield


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a folder. Raises EnvironmentFault, saying who holds it, if another process does."""
    descriptor = os.open(folder, os.O_RDONLY)
    owner = folder / OWNER
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno != errno.EWOULDBLOCK:  # a file system, as NFS, whose folders cannot be locked
                os.close(descriptor)
                descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT)
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            else:
                raise
        write_atomic(owner, f"process {os.getpid()} on {platform.node()} since {time.strftime('%F %T')}".encode())
        try:
            yield
        finally:
            owner.unlink(missing_ok=True)
    except BlockingIOError as error:
        who = owner.read_text(encoding="utf-8") if owner.exists() else "another process"
        raise EnvironmentFault(f"--workdir: {folder} is in use by {who}") from error
    finally:
        os.close(descriptor)


def contents(workdir: Path) -> list[Path]:
    """What is in the folder besides what says who holds it."""
    return [path for path in workdir.iterdir() if path.name not in (OWNER, LOCK)]


def tidy(workdir: Path) -> None:
    """Removes what killed processes left half written, but for checkpoints, which see to themselves.

    Raises EnvironmentFault for a link: what it leads to is not ours.
    """
    for folder, folders, files in os.walk(workdir):
        for name in (*folders, *files):
            path = Path(folder) / name
            if path.is_symlink():
                raise EnvironmentFault(f"{path} is a link, and a run writes to its own folder alone: remove it")
            if name in files and path.parent.name != "checkpoints" and re.search(r"\.tmp\.\d+$", name):
                path.unlink()


def same_run(workdir: Path, config: Config, jobs: Iterable[Job]) -> None:
    """Writes the config of a new run. Raises ConfigError, with the differences, if the folder holds another.

    What counts is the config of the run, and that of each cell with all that its unit's recipe says. The same cells with
    other reports or writers are the same run: reports are written anew.
    """
    path = workdir / "config.json"
    now = plain(config)
    before = read_json(path) if path.exists() else now
    found = differences(before | shown(now), now)
    for job in jobs:
        file = Files(workdir / job.name).config
        if not found and file.exists():
            stored, resolved = read_json(file)["config"], plain(job.config)
            found = [f"{job.name}: {one}" for one in differences(stored | shown(resolved), resolved)]
    if found:
        raise ConfigError(
            f"{workdir} holds a run with another config ({'; '.join(found)}): choose another --workdir, or --fresh to set "
            "that run aside"
        )
    if before != now or not path.exists():
        (workdir / "complete").unlink(missing_ok=True)
        write_atomic(path, json.dumps(now, indent=2).encode())


def shown(config: dict[str, Any]) -> dict[str, Any]:
    """What is shown and written of a run, which does not change it."""
    return {name: config[name] for name in ("reports", "writers")}


def plain(config: Config) -> dict[str, Any]:
    """A config as JSON holds it."""
    return json.loads(config.to_json_best_effort())
