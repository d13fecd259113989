"""Many groups of cells over a cluster: ``--engine=ray``.

Each work of a run is a task of Ray, which decides where it runs, and starts it anew if its worker or its machine dies; then
it goes on from what it had saved in the run's folder, which all machines share. A task does what a process with the same
command would do for that work, so its numbers are those of the local engine with as many devices.
"""

import contextlib
import functools
import io
import os
import platform
import secrets
import signal
import socket
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

from rich.console import Console
from rich.live import Live
from rich.text import Text

from experiments.cpu import DEVICES, cores
from experiments.faults import ConfigError, EnvironmentFault, Interrupted
from experiments.reports.results import read_config
from experiments.running.console import PLAIN_EVERY
from experiments.running.environment import source
from experiments.running.experiment import Experiment, one_line, trusted_environment
from experiments.running.locks import Busy, Lock, is_held
from experiments.running.status import DONE, FAILED_STATE, RESUMABLE, RUNNING, WAITING, State, state_of, summary, table
from experiments.running.stopping import SIGNALS, SignalHandler
from experiments.running.work import FAILED, Work, plan
from experiments.settings.config import Config
from experiments.settings.pages import CONFIGS, load, locate
from experiments.terminal import PipeSafeConsole
from nalu_jax.storage.files import write_atomic

RETRIES = 20  # of a work whose worker or machine dies; each goes on from its last checkpoint
PATIENCE = 600.0  # seconds in which a worker that was cut off notices (it takes four minutes) and lets go of its work
LOOK_EVERY = 1.0  # seconds
# Ray executes what reaches its ports. Where we start it, they are open to this machine alone (the name of the first variable
# tells of the systems on which that is so by default), and to who knows the token.
CLOSED = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
STARTED_HERE = {
    "address": "local",
    "include_dashboard": False,
    "_node_ip_address": "127.0.0.1",
    "object_store_memory": 10**8,  # bytes; nothing of ours lies in it
}
WHO = "process "  # begins the note of who has a work
LOOKED_AT_FIRST = (RUNNING, FAILED_STATE, RESUMABLE, WAITING, DONE)


class Share(NamedTuple):
    """What of a machine one work has to itself."""

    cpus: int
    gpus: float


class Shared(NamedTuple):
    """What a worker needs to know of a run, besides which work is its own."""

    workdir: Path
    page: str  # "" without any
    source: str  # digest of the library


class Cluster:
    """The engine that trains the works of a run as tasks of Ray, several at a time.

    Args:
      address: of a running cluster, or "auto" for that of this machine; by default RAY_ADDRESS, or else Ray is started here.
      cpus: cores of a work, each of them a device where there is no GPU; by default those of the smallest machine, or, where
        a work has a GPU, as many as its machine has for each.
      gpus: GPUs of a work, by default one where Ray sees any; 0.5 lets two works share one.
      platforms: JAX_PLATFORMS of the workers; "" leaves the choice to JAX.

    Raises ConfigError for numbers that no machine can have, and EnvironmentFault where Ray is not installed.
    """

    def __init__(self, address: str = "", cpus: int | None = None, gpus: float | None = None, platforms: str = ""):
        if gpus is not None and gpus > 1 and gpus != int(gpus):
            raise ConfigError(f"--gpus must be a whole number or a part of one GPU, got {gpus}")
        self.address = address or os.environ.get("RAY_ADDRESS", "")
        self.cpus = cpus
        self.gpus = gpus
        self.platforms = platforms
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
        if not self.address:
            os.environ.update(CLOSED | {"RAY_AUTH_TOKEN": secrets.token_hex(32)})
        try:
            import ray  # which reads all this
        except ImportError as error:
            extra = "pip install 'nalu_jax[experiments,cluster]'"
            raise EnvironmentFault(f"--engine=ray needs Ray, which is not installed: {extra}") from error
        self.ray = ray

    def __call__(self, experiment: Experiment, places: list[int], environment: dict[str, Any]) -> None:
        """Trains the works at these places of an experiment's list that nobody else trains, and notes what has failed.

        Raises Interrupted, when all that ran is saved, if a signal came.
        """
        works = [work for work in map(experiment.works.__getitem__, places) if not is_held(work.folder)]
        if not works:
            return
        share = self.connect(experiment)
        experiment.signals.install()  # Ray has taken SIGTERM
        task = self.ray.remote(
            num_cpus=share.cpus,
            num_gpus=share.gpus,
            max_retries=RETRIES,
            # Of a worker that was told to stop, as before its machine is taken away.
            retry_exceptions=[Interrupted],  # pyright: ignore[reportArgumentType]
            runtime_env={"env_vars": self.variables(share)},
        )(train)
        shared = Shared(experiment.workdir.absolute(), absolute(experiment.page), environment["source"])
        waiting = {task.options(name=work.name).remote(work.folder.absolute(), shared): work for work in works}
        told = contextlib.redirect_stdout(FirstLines(experiment.say))  # pyright: ignore[reportArgumentType]
        with told, Board(experiment.console, experiment.works) as board:
            while waiting:
                done, _ = self.ray.wait(list(waiting), num_returns=len(waiting), timeout=LOOK_EVERY)
                for reference in done:
                    collect(experiment, waiting.pop(reference), reference)
                for reference in [r for r, work in waiting.items() if work.finished and not is_held(work.folder)]:
                    waiting.pop(reference)  # of a worker that was cut off, and could not say so
                    experiment.trained += 1
                if experiment.signals.stop_requested:
                    for reference in waiting:
                        # Its worker gets SIGINT, saves, and stops. Again and again, since imports may swallow it.
                        self.ray.cancel(reference)
                board.look()
        experiment.signals.check()

    def connect(self, experiment: Experiment) -> Share:
        """Connects to the cluster, or starts one on this machine, and returns what each work gets of it.

        Raises EnvironmentFault if there is no cluster at the address, and ConfigError if this machine is too small.
        """
        ray = self.ray
        if not ray.is_initialized():
            asked: dict[str, Any] = {"address": self.address} if self.address else STARTED_HERE | {"num_cpus": cores()}
            try:
                answers(self.address)
                with warnings.catch_warnings():
                    # Of jax, which has threads; what Ray forks here only starts a program.
                    warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)
                    ray.init(**asked, log_to_driver=False, logging_level=40)  # errors
            except (OSError, RuntimeError, ValueError) as error:
                where = f"--address={self.address}: there is no Ray to work with" if self.address else "Ray does not start"
                raise EnvironmentFault(f"{where} ({one_line(error)})") from error
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        share, fits = share_of(nodes, self.cpus, self.gpus)
        told = count(share.cpus, "core") + (f" and {count(share.gpus, 'GPU')}" if share.gpus else "")
        if not fits and not self.address:
            raise ConfigError(f"--cpus, --gpus: this machine does not have {told}")
        experiment.say(f"Ray: {count(len(nodes), 'machine')}; each group of cells has {told}")
        if not fits:
            experiment.say("no machine has that much yet: waiting for one")
        return share

    def variables(self, share: Share) -> dict[str, str]:
        """A worker's environment: what this one says of JAX, with as many devices as the worker has cores.

        NPROC keeps XLA to as many threads, as on a machine that has no more cores.
        """
        ours = {name: value for name, value in os.environ.items() if name.startswith(("JAX_", "XLA_", "NPROC"))}
        flags = ours.get("XLA_FLAGS", "").replace(f"{DEVICES}={cores()}", f"{DEVICES}={share.cpus}")
        platforms = "cpu" if self.gpus == 0 else self.platforms
        variables = {"NPROC": str(share.cpus)} | ours | {"XLA_FLAGS": flags, "JAX_PLATFORMS": platforms}
        if 0 < share.gpus < 1:
            variables.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{0.9 * share.gpus:.3f}")
        return variables


def answers(address: str) -> None:
    """Raises OSError if nobody answers at HOST:PORT, where Ray would wait for ever."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def share_of(nodes: list[dict[str, float]], cpus: int | None, gpus: float | None) -> tuple[Share, bool]:
    """What each work gets of a cluster's machines, given what Ray knows of these, and whether one of them has that much.

    Raises ConfigError where it is neither said nor to be known.
    """
    if gpus is None:
        gpus = 1.0 if any(node.get("GPU", 0) >= 1 for node in nodes) else 0.0
    fitting = [node for node in nodes if node.get("CPU", 0) >= (cpus or 1) and node.get("GPU", 0) >= gpus]
    if cpus is None:
        if not fitting:
            raise ConfigError("--cpus must be given where the cluster has no machine yet whose cores could be shared out")
        cpus = min(max(1, int(node["CPU"] * (gpus / node["GPU"] if gpus else 1))) for node in fitting)
    return Share(cpus, gpus), bool(fitting)


def collect(experiment: Experiment, work: Work, reference: Any) -> None:
    """Takes note of how a work has ended."""
    import ray
    from ray.exceptions import RayError, RayTaskError, TaskCancelledError

    try:
        ray.get(reference)
    except TaskCancelledError:
        return
    except RayTaskError as error:
        cause = error.cause if isinstance(error.cause, Exception) else error
        if isinstance(cause, Busy | Interrupted | KeyboardInterrupt):
            return
        note_failure(experiment, work, cause, str(error))
    except RayError as error:  # a worker that dies again and again, or that Ray has no memory for
        note_failure(experiment, work, RuntimeError(f"its worker has died: {one_line(error)}"), str(error))
    experiment.trained += 1


def note_failure(experiment: Experiment, work: Work, error: Exception, details: str) -> None:
    """Notes that a work has failed, as the local engine does, unless the worker has done so."""
    experiment.failed[str(work.folder)] = error
    experiment.say(f"{work.name} has failed: {one_line(error)}")
    work.folder.mkdir(parents=True, exist_ok=True)
    if not is_held(work.folder) and not (work.folder / FAILED).exists():
        write_atomic(work.folder / FAILED, details.encode())


class FirstLines(io.TextIOBase):
    """Standard output while Ray writes to it: it tells of a machine that has died with pages of its log."""

    def __init__(self, say: Callable[[str], None]):
        self.say = say

    def write(self, text: str) -> int:
        """Passes the first line on."""
        if line := Text.from_ansi(text.strip().partition("\n")[0]).plain:
            self.say(shorten(line, 200))
        return len(text)


class Board:
    """All works of a run at the terminal: a live table, or, without a terminal, a line every ten seconds.

    What it shows is in the run's folder.
    """

    def __init__(self, console: Console, works: list[Work]):
        self.console = console
        self.works = works
        self.states = [State(WAITING, 0, "")] * len(works)
        self.takers: list[set[str]] = [set() for _ in works]  # who has trained a work since this began
        self.next = self.printed = 0.0  # when to look again, when a line was printed last
        self.live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False)

    def look(self) -> None:
        """Looks at the works that are not done, and shows all; less often where that takes long, as for many over NFS."""
        began = time.monotonic()
        if began < self.next:
            return
        for i, work in enumerate(self.works):
            if self.states[i].word != DONE:
                self.states[i] = self.with_retries(i, state_of(work))
        if self.console.is_terminal:
            order = sorted(range(len(self.works)), key=lambda i: LOOKED_AT_FIRST.index(self.states[i].word))
            shown = sorted(order[: max(1, self.console.height - 4)])
            self.live.update(table([(self.works[i], self.states[i]) for i in shown], summary(self.states)), refresh=True)
        elif began - self.printed >= PLAIN_EVERY:
            self.printed = began
            self.console.print(self.line(), soft_wrap=True, highlight=False, markup=False)
        now = time.monotonic()
        self.next = now + 10 * (now - began)

    def with_retries(self, i: int, state: State) -> State:
        """A state that says, too, how often the work was taken up by another worker."""
        if state.word == RUNNING and state.note.startswith(WHO):
            self.takers[i].add(state.note)
        return state._replace(note="; ".join(filter(None, (self.retries(i), state.note))))

    def retries(self, i: int) -> str:
        """How often a work was taken up again, "" if not."""
        times = len(self.takers[i]) - 1
        return "" if times < 1 else "retried once" if times == 1 else f"retried {times} times"

    def line(self) -> str:
        """How far all works are, and those that run, in one line."""
        told = [summary(self.states)]
        for i, (work, state) in enumerate(zip(self.works, self.states, strict=True)):
            if state.word == RUNNING:
                step = f"{work.name} step {state.step:,} of {work.jobs[0].schedule.num_steps:,}"
                told.append(", ".join(filter(None, (step, self.retries(i)))))
        return "; ".join(told)

    def __enter__(self) -> "Board":
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()


# In a worker


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


def absolute(page: str) -> str:
    """A page as it is called on any machine: a shipped one by its name, another by its whole path."""
    if not page:
        return page
    path, preset = locate(page)
    if path.parent == CONFIGS:
        return page
    return f"{path.absolute()}:{preset}" if preset else str(path.absolute())


def count(number: float, noun: str) -> str:
    """A number with a noun."""
    return f"{number:g} {noun}{'' if number == 1 else 's'}"
