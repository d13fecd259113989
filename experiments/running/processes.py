"""One run in several processes (``jax.distributed``): how they meet, agree between chunks, and end.

All processes train the same works in the same order, each the seeds of its own devices. Process 0 leads: it alone has the
folder, the clock and the screen. Where the loop asks its host, all processes meet: the others are told what process 0
answers, and all learn whether one of them was asked to stop.
"""

import atexit
import contextlib
import ctypes
import hashlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.faults import BAD_ENVIRONMENT, ConfigError, Damaged, EnvironmentFault, Interrupted
from experiments.running.address import Address
from experiments.running.stopping import SignalHandler
from experiments.running.work import Work
from experiments.terminal import print_error
from nalu_jax.storage.checkpoint import CheckpointError
from nalu_jax.training.distributed import all_gather, from_first, gather_words
from nalu_jax.training.loop import Host, Run

# What process 0 may have to say when all meet: an answer, the next work, that it gives the work up, that the run ends.
ANSWER, WORK, LEAVE, END = range(4)


class Left(Exception):
    """Process 0 has given up the work at hand; the run goes on."""


class Ended(Exception):
    """Process 0 has ended the run."""

    def __init__(self, code: int):
        super().__init__(code)
        self.code = code


class Met(NamedTuple):
    """What a meeting came to: what process 0 has said, and whether any process was asked to stop."""

    said: int
    stop: bool


def join(where: Address, timeout: int) -> None:
    """Waits until all processes are there, and ends this one with a sentence if they are not within so many seconds.

    Raises ConfigError if there is no address and JAX finds no cluster, and EnvironmentFault if it cannot take part.
    """
    platforms = os.environ.get("JAX_PLATFORMS", "")
    if platforms and "cpu" not in platforms.split(","):
        jax.config.update("jax_platforms", f"{platforms},cpu")  # CPUs are what processes talk over
    atexit.register(leave, 1)  # reached with an error that nobody expected
    at = f" at {where.coordinator}" if where.coordinator else ""
    late = threading.Timer(timeout, give_up, [f"--distributed: the processes did not meet{at} within {timeout} seconds"])
    late.start()
    try:
        jax.distributed.initialize(
            *where,
            coordinator_bind_address=where.coordinator if where.on_this_machine else None,
            cluster_detection_method="deactivate" if where.coordinator else None,
            initialization_timeout=timeout + 60,  # by then JAX would abort the process
        )
    except ValueError as error:
        raise ConfigError(
            f"--distributed: JAX finds no cluster here ({first_line(error)}): start it by srun, mpirun or on the hosts of a "
            "TPU, or give --coordinator, --num_processes and --process_id"
        ) from error
    except (RuntimeError, OSError) as error:
        raise EnvironmentFault(f"--distributed: the processes cannot meet{at} ({first_line(error)})") from error
    finally:
        late.cancel()
    outlive_jax()
    with without_stdout():  # to which the library that connects the CPUs writes
        devices = gather_words(jax.local_device_count())[:, 0].tolist()
    if len(set(devices)) > 1:
        raise EnvironmentFault(f"--distributed: all processes need the same number of devices, and they have {devices}")


def give_up(sentence: str) -> None:
    """Ends the process while JAX waits."""
    leave(print_error(EnvironmentFault(sentence), BAD_ENVIRONMENT))


def first_line(error: BaseException) -> str:
    """The first line of what an error says."""
    return str(error).partition("\n")[0]


def outlive_jax() -> None:
    """Lets a process say why it ends.

    When process 0 is gone, a thread of JAX aborts the others at once. This has the abort sleep for some seconds, as many as
    SIGABRT has for a number, in which the main thread finds the broken connection and ends in its own way.
    """
    libc = ctypes.CDLL(None)
    libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
    libc.signal(signal.SIGABRT, ctypes.cast(libc.sleep, ctypes.c_void_p))


@contextlib.contextmanager
def without_stdout() -> Iterator[None]:
    """Drops what libraries write to standard output."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def leave(code: int) -> None:
    """Ends this process if others may still be there: JAX would wait for them on its way out."""
    if jax.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def several() -> bool:
    """Whether the run has several processes."""
    return jax.process_count() > 1


def follows() -> bool:
    """Whether another process leads."""
    return jax.process_index() > 0


def check_same(described: Any) -> None:
    """Raises ConfigError unless all processes were given the same."""
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).digest()
    rows = all_gather(np.frombuffer(digest, np.uint8)).tolist()
    if others := [str(process) for process, row in enumerate(rows) if row != rows[0]]:
        raise ConfigError(
            f"--distributed: process {', '.join(others)} of {len(rows)} has another config than process 0, or other code"
        )


def meet(signals: SignalHandler, kind: int = ANSWER, said: int = 0) -> Met:
    """Meets all processes. On process 0, that another was asked to stop counts as if it had been itself.

    Raises Left or Ended if that is what process 0 says, and ProcessLost if a process is gone.
    """
    rows = gather_words(signals.stop_requested, kind, said)
    stop = bool(rows[:, 0].any())
    if not follows():
        signals.stop_requested |= stop
        return Met(said, stop)
    kind, said = rows[0, 1:].tolist()
    if kind == LEAVE:
        raise Left
    if kind == END:
        raise Ended(said)
    return Met(said, stop)


def announce(work: Work, signals: SignalHandler) -> None:
    """Has the other processes, if there are any, train a work as well."""
    if several():
        schedule = work.jobs[0].schedule
        seeds = [schedule.first_seed, schedule.first_seed + schedule.num_seeds]
        order = json.dumps({"cells": [job.name for job in work.jobs], "seeds": seeds}).encode()
        meet(signals, WORK, len(order))
        from_first(np.frombuffer(order, np.uint8))


def next_work(signals: SignalHandler) -> tuple[list[str], range]:
    """The names of the cells, and their seeds, that process 0 trains next. Raises Ended if there are none."""
    size = meet(signals).said
    order = json.loads(from_first(jax.ShapeDtypeStruct((size,), np.uint8)).tobytes())
    return order["cells"], range(*order["seeds"])


class Leading:
    """The host of process 0, whose answers all others get.

    A signal ends the run after a checkpoint before which all have heard of it; one that comes later waits for the next.
    """

    def __init__(self, host: Host, resume: Callable[[Run], Run | None], signals: SignalHandler):
        self.host = host
        self.stored = resume
        self.signals = signals
        self.stop = False

    def chunk_steps(self) -> int:
        """What the host says."""
        return meet(self.signals, ANSWER, self.host.chunk_steps()).said

    def evaluated(self, step: int, metrics: dict[str, np.ndarray]) -> None:
        """Goes to the host."""
        self.host.evaluated(step, metrics)

    def wants_checkpoint(self) -> bool:
        """What the host says; at once when any process was asked to stop."""
        wanted, self.stop = meet(self.signals, ANSWER, self.host.wants_checkpoint())
        return bool(wanted) or self.stop

    def save(self, step: int, run: Run) -> None:
        """Goes to the host. Raises Interrupted if all have heard that the run is to stop."""
        try:
            self.host.save(step, run)
        except Interrupted:
            if self.stop:
                raise

    def resume(self, template: Run) -> Run | None:
        """The stored run, which all others get; they leave this work if it cannot be read."""
        try:
            run = self.stored(template)
        except (Damaged, CheckpointError):
            meet(self.signals, LEAVE)
            raise
        meet(self.signals, ANSWER, run is not None)
        return None if run is None else from_first(run)


class Following:
    """The host of every other process: it answers as process 0 does, and keeps nothing."""

    def __init__(self, signals: SignalHandler):
        self.signals = signals
        self.stop = False

    def chunk_steps(self) -> int:
        """What process 0 says."""
        return meet(self.signals).said

    def evaluated(self, step: int, metrics: dict[str, np.ndarray]) -> None:
        """Process 0 has it as well."""

    def wants_checkpoint(self) -> bool:
        """What process 0 says; at once when any process was asked to stop."""
        wanted, self.stop = meet(self.signals)
        return bool(wanted) or self.stop

    def save(self, step: int, run: Run) -> None:
        """Waits, if the run is to stop, for process 0 to save it and to say so."""
        if self.stop:
            meet(self.signals)

    def resume(self, template: Run) -> Run | None:
        """The run that process 0 has stored."""
        return from_first(template) if meet(self.signals).said else None


def end(code: int, signals: SignalHandler) -> None:
    """Ends the run on all processes: process 0 calls it with the exit code of all."""
    meet(signals, END, code)
    part()


def part() -> None:
    """Leaves the others, as all do at the same time."""
    with contextlib.suppress(RuntimeError):  # one that is gone by now is missed no more
        jax.distributed.shutdown()
