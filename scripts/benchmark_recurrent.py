"""Milliseconds of a training step of recurrent networks, beside the same networks in PyTorch, one seed in one process.

    python scripts/benchmark_recurrent.py [--torch PYTHON] [--networks lstm_10,nac_10] [--seeds 40] [--rounds 5] [--block 0]

Ours are the training steps of the config pages, all seeds at once on all cores: drawing the batch, forward, backward and the
optimizer. PyTorch's are those of benchmarks/recurrent_torch.py, run by a Python that has torch (``--torch``, by default this
one; left out where it has none). Both take turns of about half a second, so that whatever else the machine is doing meets
both. A seed-step is a step of one seed. Beside the time by the clock stands that of the processor, which other programs
lengthen least.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from experiments.cpu import set_up_cpu  # noqa: E402

if __name__ == "__main__":
    set_up_cpu()

import jax  # noqa: E402
from ml_collections import ConfigDict  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from experiments.settings.build import Job, build  # noqa: E402
from experiments.settings.config import set_at  # noqa: E402
from experiments.settings.grid import cells  # noqa: E402
from experiments.settings.pages import load  # noqa: E402
from nalu_jax.registry import CELLS  # noqa: E402
from scripts.scaling import compiling_anew, enough, started  # noqa: E402

SECONDS = 0.5  # of a turn, at least about


class Case(NamedTuple):
    """A network: the page and the fields that make ours, and the name and sizes of PyTorch's."""

    page: str
    fields: dict[str, Any]
    torch: str
    time: int  # steps
    inputs: int  # numbers that the cell reads at each
    hidden: int


class Took(NamedTuple):
    """Milliseconds of a seed-step."""

    clock: float
    processor: float


def sums(time: int, cell: str, unit: str, hidden: int) -> Case:
    """The sum of a subset of ten numbers over many steps, of a batch of 128 sequences."""
    fields = {"unit.name": unit, "network.cell": cell, "network.hidden_size": hidden, "task.operation": "add"}
    fields |= {"task.train_length": time, "task.lengths": (10,), "task.num_sequences": 2}
    return Case("recurrent_arithmetic", fields, unit if cell == "unit" else cell, time, 10, hidden)


LANGUAGE = {"unit.name": "nalu", "network.hidden_size": 32, "network.readout": "last_state"}
PROGRAM = {"network.cell": "configured_nalu", "network.readout": "last_output", "task.num_programs": 2}
CASES = {
    f"{name}_{time}": sums(time, cell, unit, hidden)
    for time in (10, 1_000)
    for name, cell, unit, hidden in (("lstm", "lstm", "linear", 32), ("nac", "unit", "nac", 2), ("nalu", "unit", "nalu", 2))
}
CASES["language"] = Case("language_to_number", LANGUAGE, "language", 5, 32, 32)
if "configured_nalu" in CELLS:
    CASES["program"] = Case("program_evaluation", PROGRAM, "program", 0, 11, 64)  # 0: as many steps as the task has


def job_of(case: Case, seeds: int, block: int) -> Job:
    """Our cell, ready to be trained."""
    config = load(str(ROOT / "configs" / f"{case.page}.py"))
    config.grid = ConfigDict()
    config.parts = ()
    for path, value in {**case.fields, "num_seeds": seeds, "block": block}.items():
        set_at(config, path, value)
    (only,) = cells(config)
    return build(only)


def ours(job: Job) -> Callable[[int], Took]:
    """A function that takes so many steps of all seeds."""
    compiled, run, problem = started(job)
    run, _ = compiled.chunk(run, problem, 0, False)  # compiles

    def turn(steps: int) -> Took:
        nonlocal run
        jax.block_until_ready(run)
        began = clocks()
        run, _ = compiled.chunk(run, problem, steps, False)
        jax.block_until_ready(run)
        seed_steps = steps * job.schedule.num_seeds
        return Took(*(1000 * (now - then) / seed_steps for now, then in zip(clocks(), began, strict=True)))

    return turn


def clocks() -> tuple[float, float]:
    """Seconds by the clock and by the processor."""
    return time.perf_counter(), time.process_time()


def torch_of(python: str) -> str:
    """The version of PyTorch that a Python has, "" if it has none."""
    asked = [python, "-c", "import torch; print(torch.__version__)"]
    return subprocess.run(asked, capture_output=True, text=True).stdout.strip()


class Torch:
    """A process of PyTorch that takes turns."""

    def __init__(self, python: str, threads: int):
        command = [python, ROOT / "benchmarks" / "recurrent_torch.py", str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.answer()  # it is there

    def answer(self) -> Any:
        """The next line that it prints."""
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def turn(self, settings: dict[str, Any], steps: int) -> Took:
        """Takes so many steps of one seed."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(settings | {"steps": steps}) + "\n")
        self.process.stdin.flush()
        return Took(*(1000 * seconds / steps for seconds in self.answer()))


def settings_of(case: Case, job: Job) -> dict[str, Any]:
    """What PyTorch's network is made from, as in our cell."""
    leaves = jax.tree.leaves(job.task.example)
    return {
        "network": case.torch,
        "time": case.time or leaves[0].shape[1],
        "batch": job.config.learner.batch_size,
        "inputs": case.inputs,
        "hidden": case.hidden,
        "clip": job.config.optimizer.clip_norm,
    }


def measure(case: Case, seeds: int, block: int, rounds: int, torch: Torch | None) -> tuple[list[Took], list[Took]]:
    """Turns of ours and of PyTorch, one after the other."""
    with compiling_anew():
        job = job_of(case, seeds, block)
        turn = ours(job)
        steps = enough(lambda steps: turn(steps).clock * steps * seeds / 1000, SECONDS)
        if torch is None:
            return [turn(steps) for _ in range(rounds)], []
        settings = settings_of(case, job)
        theirs = enough(lambda steps: torch.turn(settings, steps).clock * steps / 1000, SECONDS)
        pairs = [(turn(steps), torch.turn(settings, theirs)) for _ in range(rounds)]
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def row_of(mine: list[Took], theirs: list[Took]) -> list[str]:
    """Medians: ours and PyTorch's by the clock with their ratio, then by the processor; the ratios with their extremes."""
    found = []
    for which in range(2):
        ours, torch = [took[which] for took in mine], [took[which] for took in theirs]
        ratios = [b / a for a, b in zip(ours, torch, strict=False)]
        found.append(f"{statistics.median(ours):.3g}")
        found.append(f"{statistics.median(torch):.3g}" if torch else "")
        found.append(f"{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})" if torch else "")
    return found


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--networks", default=",".join(CASES), help="names, with commas between")
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--block", type=int, default=0, help="seeds that a device trains at a time")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--torch", default=sys.executable, help="a Python that has torch")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch")
    arguments = parser.parse_args()
    names = arguments.networks.split(",")
    if unknown := [name for name in names if name not in CASES]:
        parser.error(f"there is no network {unknown[0]!r}; known: {', '.join(CASES)}")
    version = torch_of(arguments.torch)
    torch = Torch(arguments.torch, arguments.threads) if version else None
    beside = f"PyTorch {version}" if version else f"no PyTorch in {arguments.torch}"
    title = f"ms a seed-step, {arguments.seeds} seeds, medians of rounds: {arguments.rounds}, {beside}"
    table = Table(box=None)
    for column in ("network", "ours", "PyTorch", "ratio", "CPU: ours", "PyTorch", "ratio"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for name in names:
        table.add_row(name, *row_of(*measure(CASES[name], arguments.seeds, arguments.block, arguments.rounds, torch)))
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(title, soft_wrap=True, highlight=False)
    console.print(table)


if __name__ == "__main__":
    main()
