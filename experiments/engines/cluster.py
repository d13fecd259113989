"""Many groups of cells over a cluster: ``--engine=ray``.

Each work of a run is a task of Ray, which decides where it runs, and starts it anew if its worker or its machine dies; then
it goes on from what it had saved in the run's folder, which all machines share. A task does what a process with the same
command would do for that work, so its numbers are those of the local engine with as many devices.
"""

import contextlib
import io
import os
import secrets
import socket
import warnings
from collections.abc import Callable
from textwrap import shorten
from typing import Any, NamedTuple

from rich.text import Text

from experiments.cpu import DEVICES, cores
from experiments.engines.board import Board
from experiments.engines.worker import LOOK_EVERY, Shared, train
from experiments.faults import ConfigError, EnvironmentFault, Interrupted
from experiments.running.experiment import Experiment, one_line
from experiments.running.locks import Busy, is_held
from experiments.running.work import FAILED, Work
from experiments.settings.pages import CONFIGS, locate
from nalu_jax.storage.files import write_atomic

RETRIES = 20  # of a work whose worker or machine dies; each goes on from its last checkpoint
# Ray executes what reaches its ports. Where we start it, they are open to this machine alone (the name of the first variable
# tells of the systems on which that is so by default), and to who knows the token.
CLOSED = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
STARTED_HERE = {
    "address": "local",
    "include_dashboard": False,
    "_node_ip_address": "127.0.0.1",
    "object_store_memory": 10**8,  # bytes; nothing of ours lies in it
}


class Share(NamedTuple):
    """What of a machine one work has to itself."""

    cpus: int
    gpus: float


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
