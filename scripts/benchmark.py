"""Seed-steps per second of the static arithmetic task.

    python scripts/benchmark.py [--units nac,nac_mul,nalu,linear] [--seeds 100] [--rounds 5]

A seed-step is one optimizer step of one seed. Each unit trains at the published size (100 inputs, hidden size 2, batches of
128 fresh rows) through the programs that experiments run, its evaluation on 2 x 10,000 rows a seed every 1,000 steps
included. The units take turns, so that whatever else the machine is doing meets them all.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from experiments.run import use_all_cores  # noqa: E402

use_all_cores()

import jax  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from experiments import build  # noqa: E402
from experiments.config import load, override  # noqa: E402
from experiments.grid import cells  # noqa: E402
from nalu_jax.distributed import by_seed, pad_seeds, place, replicated  # noqa: E402


def trainer(unit: str, seeds: int) -> Callable[[], float]:
    """A function that trains the unit from one evaluation to the next, and returns seed-steps per second."""
    config = load(str(ROOT / "configs" / "static_arithmetic.py"))
    override(config, [("grid.unit", unit), ("grid.operation", "add"), ("num_seeds", str(seeds))])
    (cell,) = cells(config)
    (start, chunk, mesh), setup = build.programs([cell.config])
    setup = place(setup, replicated(mesh))
    run, _ = chunk(start(place(pad_seeds(build.schedule(cell.config).seeds, mesh), by_seed(mesh)), setup), setup, 1, True)
    steps = cell.config.eval_every

    def interval() -> float:
        nonlocal run
        jax.block_until_ready(run)
        began = time.perf_counter()
        run, metrics = chunk(run, setup, steps, True)
        jax.block_until_ready((run, metrics))
        return steps * seeds / (time.perf_counter() - began)

    return interval


def main() -> None:
    """Prints a table of medians."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--units", default="nac,nac_mul,nalu,linear", help="names, with commas between")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()

    trainers = {unit: trainer(unit, arguments.seeds) for unit in arguments.units.split(",")}
    rounds = [{unit: interval() for unit, interval in trainers.items()} for _ in range(arguments.rounds)]
    table = Table(box=None, title=f"{arguments.seeds} seeds, median of {arguments.rounds} rounds", title_justify="left")
    for column in ("unit", "seed-steps/s", "lowest", "highest"):
        table.add_column(column, justify="left" if column == "unit" else "right")
    for unit in trainers:
        speeds = [speed[unit] for speed in rounds]
        table.add_row(unit, *(f"{value:,.0f}" for value in (statistics.median(speeds), min(speeds), max(speeds))))
    Console().print(table)


if __name__ == "__main__":
    main()
