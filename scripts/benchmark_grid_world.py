"""Steps a second of the grid world without learning, and of the learner, beside an environment of gymnax.

    python scripts/benchmark_grid_world.py [--copies 1024] [--steps 500] [--rounds 5] [--gymnax PYTHON]

Without learning, random actions are taken in all copies, which begin anew where an episode has ended; the copies are shared
by all devices, each core being one. gymnax runs FourRooms-misc in the same way, in a Python of its own (which must have it),
and takes turns with ours, so that whatever else the machine is doing meets both. The learner is that of
configs/grid_world.py:quick, with ten seeds.
"""

import argparse
import functools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from experiments.cpu import set_up_cpu  # noqa: E402

set_up_cpu()

import jax  # noqa: E402
from jax.sharding import AxisType, NamedSharding, PartitionSpec  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from experiments.settings.build import build, programs  # noqa: E402
from experiments.settings.grid import cells  # noqa: E402
from experiments.settings.pages import CONFIGS, load  # noqa: E402
from nalu_jax.learners.actor_critic import advance  # noqa: E402
from nalu_jax.tasks.grid_world import ACTIONS, GridWorld  # noqa: E402
from nalu_jax.training.distributed import pad_seeds  # noqa: E402
from nalu_jax.training.random import GENERATORS  # noqa: E402

# What the other Python runs: a round for each line that it reads. Copies, steps and devices are its arguments.
GYMNAX = """
import os, sys, time
copies, steps, devices = map(int, sys.argv[1:])
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
import gymnax, jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

env, params = gymnax.make("FourRooms-misc")

def rollout(key):
    share = copies // devices
    _, states = jax.vmap(env.reset, (0, None))(jax.random.split(key, share), params)

    def one_step(carry, key):
        states, total = carry
        actions = jax.random.randint(key, (share,), 0, env.num_actions)
        _, states, reward, *_ = jax.vmap(env.step, (0, 0, 0, None))(jax.random.split(key, share), states, actions, params)
        return (states, total + reward.sum()), None

    return jax.lax.scan(one_step, (states, jnp.float32(0)), jax.random.split(key, steps))[0][1]

run = jax.jit(jax.vmap(rollout))
mesh = Mesh(jax.devices(), ("device",))
keys = jax.device_put(jax.random.split(jax.random.key(0), devices), NamedSharding(mesh, PartitionSpec("device")))
jax.block_until_ready(run(keys))
for _ in sys.stdin:
    began = time.perf_counter()
    jax.block_until_ready(run(keys))
    print(copies // devices * devices * steps / (time.perf_counter() - began), flush=True)
"""


def rollout(task: Any, copies: int, steps: int, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The sum of rewards of random actions, and what is seen last: copies begin anew where their episodes have ended."""
    _, states = jax.vmap(task.reset)(jax.random.split(key, copies))
    of_copies = jax.vmap(functools.partial(advance, task))

    def one_step(carry: tuple[Any, jax.Array, jax.Array], key: jax.Array) -> tuple[Any, jax.Array]:
        states, ended, _ = carry
        actions = jax.random.randint(key, (copies,), 0, len(ACTIONS))
        observations, states, rewards, terminated, truncated = of_copies(
            jax.random.split(key, copies), states, actions, ended
        )
        return (states, terminated | truncated, observations.grid), rewards.sum()

    observations = jax.vmap(task.observe)(states)
    first = (states, jax.numpy.zeros(copies, bool), observations.grid)
    (_, _, grid), rewards = jax.lax.scan(one_step, first, jax.random.split(key, steps))
    return rewards.sum(), grid


def ours(copies: int, steps: int, generator: str) -> Callable[[], float]:
    """A function that runs the environment and returns steps a second."""
    devices = jax.device_count()
    share = copies // devices
    task = GridWorld().task
    mesh = jax.make_mesh((devices,), ("device",), axis_types=(AxisType.Auto,))
    keys = jax.random.split(jax.random.key(0, impl=GENERATORS[generator]), devices)
    keys = jax.device_put(keys, NamedSharding(mesh, PartitionSpec("device")))
    run = jax.jit(jax.vmap(functools.partial(rollout, task, share, steps)))

    def turn() -> float:
        began = time.perf_counter()
        jax.block_until_ready(run(keys))
        return share * devices * steps / (time.perf_counter() - began)

    return turn


def gymnax(python: str, copies: int, steps: int) -> Callable[[], float]:
    """A function that has the other Python run its environment and returns steps a second."""
    command = [python, "-c", GYMNAX, str(copies), str(steps), str(jax.device_count())]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    stdin, stdout = child.stdin, child.stdout
    assert stdin is not None and stdout is not None

    def turn() -> float:
        stdin.write("\n")
        stdin.flush()
        return float(stdout.readline())

    return turn


def learning(steps: int) -> Callable[[], float]:
    """A function that trains the first agent of the page and returns environment steps a second, those of all seeds."""
    job = build(next(iter(cells(load(str(CONFIGS / "grid_world.py"))))))
    (start, chunk, layout), problem = programs([job])
    options = dict(job.training.learner_options)
    seeds = jax.numpy.asarray(pad_seeds(job.schedule.seeds, layout))
    run = start(seeds, problem)

    def turn() -> float:
        nonlocal run
        began = time.perf_counter()
        run, _ = chunk(run, problem, steps, False)
        jax.block_until_ready(run)
        return len(seeds) * steps * options["batch_size"] * options["unroll"] / (time.perf_counter() - began)

    return turn


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--copies", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=500, help="of each copy in a turn")
    parser.add_argument("--learner_steps", type=int, default=20, help="optimizer steps of each seed in a turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gymnax", default="", help="a Python that has gymnax")
    arguments = parser.parse_args()
    turns = {f"grid world, {name}": ours(arguments.copies, arguments.steps, name) for name in ("murmur", "threefry2x32")}
    if arguments.gymnax:
        turns["FourRooms of gymnax"] = gymnax(arguments.gymnax, arguments.copies, arguments.steps)
    turns["learner"] = learning(arguments.learner_steps)
    for run in turns.values():
        run()  # compiles
    rounds = [[run() for run in turns.values()] for _ in range(arguments.rounds)]
    title = f"environment steps a second, {arguments.copies:,} copies on {jax.device_count()} devices"
    table = Table(box=None, title=f"{title}, median of {arguments.rounds} rounds", title_justify="left")
    for column in ("program", "median", "lowest", "highest"):
        table.add_column(column, justify="left" if column == "program" else "right")
    for program, rates in zip(turns, zip(*rounds, strict=True), strict=True):
        numbers = (statistics.median(rates), min(rates), max(rates))
        table.add_row(program, *(f"{number:,.0f}" for number in numbers))
    Console().print(table)


if __name__ == "__main__":
    main()
