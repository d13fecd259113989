"""What a worker of a cluster does: it trains one work of a run, as a process with the same command would."""

import contextlib
import functools
import platform
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from experiments.faults import EnvironmentFault
from experiments.reports.results import read_config
from experiments.running.environment import source
from experiments.running.experiment import Experiment, trusted_environment
from experiments.running.locks import Busy, Lock, is_held
from experiments.running.stopping import SIGNALS, SignalHandler
from experiments.running.work import plan
from experiments.settings.config import Config
from experiments.settings.pages import load
from experiments.terminal import PipeSafeConsole

PATIENCE = 600.0  # seconds in which a worker that was cut off notices (it takes four minutes) and lets go of its work
LOOK_EVERY = 1.0  # seconds, between two looks at what others do


class Shared(NamedTuple):
    """What a worker needs to know of a run, besides which work is its own."""

    workdir: Path
    page: str  # "" without any
    source: str  # digest of the library


def train(folder: Path, run: Shared) -> None:
    """Trains the work that has this folder, as a process of its own would, if need be from where another worker died.

    Raises what it failed with; Interrupted if it was told to stop; Busy if another process has it; EnvironmentFault if this
    machine does not see the run's folder, or has other code.
    """
    with handling() as signals:
        config, environment = prepared(run)
        with contextlib.closing(Lock(run.workdir)) as lock:
            if not lock.take(shared=True):
                raise Busy(f"{run.workdir} is in use")
            work = next(work for work in plan(run.workdir, config) if work.folder == folder)
            # It may be that of a worker that was cut off, and that stops when it notices.
            deadline = time.monotonic() + PATIENCE
            while is_held(folder) and time.monotonic() < deadline:
                signals.check()
                time.sleep(LOOK_EVERY)
            experiment = Experiment(config, run.workdir, run.page, [work], PipeSafeConsole())
            experiment.signals = signals
            experiment.take(0, environment)
        for error in experiment.failed.values():
            raise error
        if not experiment.trained and not work.finished:
            raise Busy(f"{folder} is in use")


@functools.cache
def prepared(run: Shared) -> tuple[Config, dict[str, Any]]:
    """The config of a run, with the page's own units registered, and where this worker is; once a process."""
    here = platform.node()
    if not (run.workdir / "config.json").is_file():
        raise EnvironmentFault(f"{here} has no {run.workdir}: the folder of a run must be one that all machines share")
    if source() != run.source:
        raise EnvironmentFault(f"{here} has another nalu_jax ({source()}) than where the run was started ({run.source})")
    if run.page:
        load(run.page)
    return read_config(run.workdir)[0], trusted_environment(run.page)


@contextlib.contextmanager
def handling() -> Iterator[SignalHandler]:
    """Handles signals as a run does, and leaves them to Ray again."""
    before = {number: signal.getsignal(number) for number in (*SIGNALS, signal.SIGHUP)}
    signals = SignalHandler()
    signals.install()
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
