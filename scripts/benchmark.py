"""Seed-steps per second of the static arithmetic task, beside a kernel written by hand and the limits of the machine.

    python scripts/benchmark.py [--units nac,nac_mul,...] [--seeds 100] [--rounds 5] [--generator pcg3d] [--check]

A seed-step is one optimizer step of one seed: 100 inputs, hidden size 2, batches of 128 fresh rows. Each unit makes real
runs: every seed on its own random stream, evaluated on 2 x 10,000 rows every 1,000 steps, metrics and TensorBoard files
written. The yardsticks are a C kernel of the same training step without all that (benchmarks/kernel.c, for NALUs its NALU
form), and a naive JAX loop that trains one seed with a call a step. All take turns, so that whatever else the machine is
doing meets them all. ``--check`` compares the ratios with those committed in benchmarks/ratios.json and exits with 1 if
one has fallen below 80 % of it; ``--commit`` writes them.
"""

import argparse
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from experiments.cpu import set_up_cpu  # noqa: E402

set_up_cpu()

import jax  # noqa: E402
import numpy as np  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from experiments.reports.results import Files  # noqa: E402
from experiments.running import cell  # noqa: E402
from experiments.running.console import CellProgress  # noqa: E402
from experiments.running.stopping import SignalHandler  # noqa: E402
from experiments.settings.build import Job, build, make_learner, programs  # noqa: E402
from experiments.settings.config import override  # noqa: E402
from experiments.settings.grid import cells  # noqa: E402
from experiments.settings.pages import load  # noqa: E402
from nalu_jax.training.loop import run_seeds  # noqa: E402

BENCHMARKS = ROOT / "benchmarks"
RATIOS = BENCHMARKS / "ratios.json"
UNITS = ("nac", "nac_mul", "nau", "nmu", "linear", "nalu")
OPERATIONS = {"nac": "add", "nau": "add", "linear": "add", "nalu": "add"}  # the others multiply
EVALUATIONS = 3  # of a turn; what lies before the first, compiling among it, is not counted
KERNEL_STEPS = {"kernel": 4_000, "kernel_nalu": 1_000}
SLACK = 0.8


def job_of(unit: str, seeds: int, generator: str) -> Job:
    """The published setting of a unit, as long as a turn."""
    config = load(str(ROOT / "configs" / "static_arithmetic.py"))
    steps = config.eval_every * EVALUATIONS
    changes = {"grid.unit": unit, "grid.operation": OPERATIONS.get(unit, "mul"), "num_seeds": seeds, "num_steps": steps}
    changes["learner.generator"] = generator
    override(config, [(name, str(value)) for name, value in changes.items()])
    (only,) = cells(config)
    return build(only)


class Stopwatch(cell.GroupHost):
    """The host of a real run, which notes when evaluations arrive."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.times: list[float] = []

    def evaluated(self, step: int, metrics: dict[str, np.ndarray]) -> None:
        """Records an evaluation and the time."""
        super().evaluated(step, metrics)
        self.times.append(time.perf_counter())


def real_run(unit: str, seeds: int, generator: str) -> Callable[[], float]:
    """A function that makes a run and returns its seed-steps per second, from the evaluation after its first steps on."""
    job = job_of(unit, seeds, generator)
    schedule, columns = job.schedule, job.task.columns
    compiled, problem = programs([job])

    def turn() -> float:
        with (
            tempfile.TemporaryDirectory() as folder,
            CellProgress(
                Console(quiet=True), unit, columns=columns, num_steps=schedule.num_steps, num_seeds=seeds
            ) as progress,
            contextlib.closing(Stopwatch([job], [Files(Path(folder))], progress, SignalHandler())) as host,
        ):
            length = {"num_steps": schedule.num_steps, "eval_every": schedule.eval_every}
            run_seeds(compiled, schedule.seeds, problem, **length, host=host)
        return (schedule.num_steps - schedule.eval_every) * seeds / (host.times[-1] - host.times[1])

    return turn


def naive_loop(unit: str, generator: str) -> Callable[[], float]:
    """A function that trains one seed with a call a step, as a first JAX program would."""
    job = job_of(unit, 1, generator)
    learner, problem, steps = make_learner(job.training), job.problem(), 300
    step = jax.jit(learner.step)
    state, _ = step(jax.jit(learner.init)(np.uint32(0), problem), problem)

    def turn() -> float:
        nonlocal state
        jax.block_until_ready(state)
        began = time.perf_counter()
        for _ in range(steps):
            state, _ = step(state, problem)
        jax.block_until_ready(state)
        return steps / (time.perf_counter() - began)

    return turn


def compiled(folder: Path, source: str, name: str, *options: str) -> Path:
    """A C program of benchmarks/, compiled for this machine."""
    flags = ["-O3", "-march=native", "-ffast-math", "-fopenmp", *options]
    subprocess.run(["gcc", *flags, "-o", folder / name, BENCHMARKS / source, "-lm"], check=True)
    return folder / name


def numbers(*command: object) -> list[float]:
    """What a C program prints."""
    text = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout
    return [float(word) for word in text.split()]


def yardsticks(folder: Path, seeds: int) -> dict[str, Callable[[], float]]:
    """The kernels, each a function that returns seed-steps per second; nothing where there is no gcc."""
    if shutil.which("gcc") is None:
        return {}
    programs = {
        "kernel": compiled(folder, "kernel.c", "kernel"),
        "kernel_nalu": compiled(folder, "kernel.c", "kernel_nalu", "-DNALU"),
    }
    return {
        name: lambda program=program, name=name: numbers(program, seeds, KERNEL_STEPS[name])[0]
        for name, program in programs.items()
    }


def kernel_of(unit: str) -> str:
    """The yardstick of a unit."""
    return "kernel_nalu" if "nalu" in unit else "kernel"


def measure(units: list[str], seeds: int, rounds: int, generator: str, console: Console) -> dict[str, list[float]]:
    """Seed-steps per second of everything, a number a round."""
    with tempfile.TemporaryDirectory() as folder:
        turns = yardsticks(Path(folder), seeds)
        if not turns:
            console.print("no gcc: the kernels are left out, and there are no ratios")
        else:
            flops, bandwidth, randoms = numbers(compiled(Path(folder), "peaks.c", "peaks"))
            console.print(
                f"this machine: {flops:,.0f} GFLOP/s of float32 multiply-adds, {bandwidth:,.0f} GB/s of memory, "
                f"{randoms:,.0f} million uniform numbers a second"
            )
        turns |= {"naive JAX loop, nac": naive_loop("nac", generator)}
        turns |= {unit: real_run(unit, seeds, generator) for unit in units}
        for turn in turns.values():
            turn()  # compiles
        found: dict[str, list[float]] = {name: [] for name in turns}
        for _ in range(rounds):
            for name, turn in turns.items():
                found[name].append(turn())
    return found


def ratios_of(found: dict[str, list[float]], units: list[str]) -> dict[str, list[float]]:
    """Each unit's speed over that of its kernel, a number a round."""
    if "kernel" not in found:
        return {}
    return {unit: [a / b for a, b in zip(found[unit], found[kernel_of(unit)], strict=True)] for unit in units}


def table_of(found: dict[str, list[float]], ratios: dict[str, list[float]], seeds: int) -> Table:
    """Medians, ratios first."""
    rounds = len(next(iter(found.values())))
    table = Table(box=None, title=f"{seeds} seeds, median of {rounds} rounds", title_justify="left")
    for column in ("", "of its kernel", "seed-steps/s", "lowest", "highest"):
        table.add_column(column, justify="right" if column else "left")
    for name, speeds in found.items():
        ratio = f"{statistics.median(ratios[name]):.2f}" if name in ratios else ""
        table.add_row(name, ratio, *(f"{value:,.0f}" for value in (statistics.median(speeds), min(speeds), max(speeds))))
    return table


def fallen(ratios: dict[str, float]) -> list[str]:
    """A sentence for each ratio that is below what is committed."""
    committed = json.loads(RATIOS.read_text())
    return [
        f"{unit}: {ratio:.2f} of its kernel, but {committed[unit]:.2f} is committed"
        for unit, ratio in ratios.items()
        if unit in committed and ratio < SLACK * committed[unit]
    ]


def main() -> int:
    """Prints the table; with --check the exit code says whether a ratio has fallen."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--units", default=",".join(UNITS), help="names, with commas between")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--generator", default="auto", help="of the training batches, as config.learner.generator")
    parser.add_argument("--check", action="store_true", help="compare with the committed ratios")
    parser.add_argument("--commit", action="store_true", help="write the ratios to benchmarks/ratios.json")
    arguments = parser.parse_args()
    console, units = Console(), arguments.units.split(",")
    found = measure(units, arguments.seeds, arguments.rounds, arguments.generator, console)
    ratios = ratios_of(found, units)
    console.print(table_of(found, ratios, arguments.seeds))
    medians = {unit: statistics.median(values) for unit, values in ratios.items()}
    if arguments.commit:
        RATIOS.write_text(json.dumps({unit: round(ratio, 3) for unit, ratio in medians.items()}, indent=2) + "\n")
    problems = fallen(medians) if arguments.check else []
    for problem in problems:
        console.print(problem, soft_wrap=True)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
