"""Running an experiment in several processes: process 0 as it does alone, the others after it."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import jax

from experiments.faults import BAD_CONFIG, BAD_ENVIRONMENT, ConfigError
from experiments.running.address import Address
from experiments.running.cell import compute
from experiments.running.environment import check_devices, source
from experiments.running.processes import Ended, Following, Left, check_same, end, follows, join, next_work, part
from experiments.running.stopping import SignalHandler
from experiments.running.work import plain, work_of
from experiments.settings.config import Config
from experiments.settings.grid import cells
from nalu_jax.training.distributed import ProcessLost
from nalu_jax.training.selftest import check_numbers


def run_together(config: Config, where: Address, timeout: int, run: Callable[[], int]) -> int:
    """Meets the other processes, and has process 0 ``run``; the exit code is its own on all processes that are still there.

    Raises ConfigError and EnvironmentFault where ``join`` and ``check_same`` do, and ProcessLost if a process is gone.
    """
    join(where, timeout)
    check_devices()
    check_same({"config": plain(config), "source": source(), "jax": jax.__version__})
    return follow(config) if follows() else lead(run)


def lead(run: Callable[[], int]) -> int:
    """Runs what process 0 is to do, and ends the others with its exit code, if it can still reach them."""
    signals = SignalHandler()
    try:
        code = run()
    except ProcessLost:
        raise
    except Exception as error:
        with contextlib.suppress(ProcessLost):
            end(BAD_CONFIG if isinstance(error, ConfigError) else BAD_ENVIRONMENT, signals)
        raise
    end(code, signals)
    return code


def follow(config: Config) -> int:
    """Trains what process 0 trains, with nothing to show and nothing to write, until it ends; returns its exit code."""
    signals = SignalHandler()
    signals.install()
    check_numbers()
    grid = {cell.name: cell for cell in cells(config)}
    host = Following(signals)
    try:
        while True:
            names, seeds = next_work(signals)
            work = work_of([(grid[name], Path()) for name in names], seeds)
            with contextlib.suppress(Left):
                compute(work.jobs, host, host.resume)
    except Ended as ended:
        part()
        return ended.code
