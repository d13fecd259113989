"""Milliseconds of a training step of the networks that read digits, beside the same networks written the first way in JAX.

    python scripts/benchmark_images.py [--readers trask,madsen_johansen] [--seeds 1,4] [--rounds 5] [--steps 2]

A seed-step is one step of one seed on 640 images of 28 x 28, as many as 64 sequences of 10: forward, backward and an update.
Ours trains one seed after the other; the naive program all at once (vmap), with JAX's own convolution and pooling. Both run
their steps in a loop on one CPU device, and take turns, so that whatever else the machine is doing meets both.
"""

import argparse
import functools
import statistics
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
import jax.numpy as jnp  # noqa: E402
from jax import lax  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from nalu_jax.networks.convolution import direct_conv  # noqa: E402
from nalu_jax.networks.trunks import Trunk  # noqa: E402
from nalu_jax.registry import READERS  # noqa: E402

IMAGES = 640
FEATURES = {"trask": 10, "madsen_johansen": 1}


def naive(params: dict[str, Any], images: jax.Array) -> jax.Array:
    """A reader as a first JAX program has it: [h, w, n] → [features, n]."""
    y = images[None]
    for layer in ("conv_1", "conv_2"):
        y = direct_conv(y, params[f"{layer}_kernel"]) + params[f"{layer}_bias"][:, None, None, None]
        y = jax.nn.relu(lax.reduce_window(y, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"))
    hidden = jax.nn.relu(params["dense_1_w"].T @ y.reshape(-1, y.shape[-1]) + params["dense_1_b"][:, None])
    return params["dense_2_w"].T @ hidden + params["dense_2_b"][:, None]


def ours(reader: Trunk, params: dict[str, Any], images: jax.Array) -> jax.Array:
    """The reader itself."""
    return reader.apply({"params": params}, images)  # pyright: ignore[reportReturnType]


def step(network: Callable, data: jax.Array, t: jax.Array, params: dict[str, Any]) -> dict[str, Any]:
    """A step down the gradient on the images of step t."""
    first = t * 64 % (len(data) - IMAGES)
    images = lax.dynamic_slice_in_dim(data, first, IMAGES).transpose(1, 2, 0)
    gradients = jax.grad(lambda params: jnp.mean((network(params, images) - 1) ** 2))(params)
    return jax.tree.map(lambda value, gradient: value - 0.01 * gradient, params, gradients)


def turns_of(name: str, seeds: int, steps: int) -> dict[str, Callable[[], float]]:
    """Functions that train and return milliseconds a seed-step, of ours and of the naive program."""
    reader = READERS[name](features=FEATURES[name])
    data = jax.random.uniform(jax.random.key(0), (4 * IMAGES, 28, 28))
    init = functools.partial(reader.init, images=data[:1].transpose(1, 2, 0))
    params = jax.jit(jax.vmap(init))(jax.random.split(jax.random.key(1), seeds))["params"]

    def steps_of(network: Callable, params: dict[str, Any]) -> dict[str, Any]:
        return lax.fori_loop(0, steps, functools.partial(step, network, data), params)

    programs = {
        "ours": jax.jit(lambda params: lax.map(functools.partial(steps_of, functools.partial(ours, reader)), params)),
        "naive": jax.jit(jax.vmap(functools.partial(steps_of, naive))),
    }
    return {program: functools.partial(turn, run, params, steps * seeds) for program, run in programs.items()}


def turn(run: Callable, params: dict[str, Any], seed_steps: int) -> float:
    """Milliseconds a seed-step."""
    began = time.perf_counter()
    jax.block_until_ready(run(params))
    return 1000 * (time.perf_counter() - began) / seed_steps


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--readers", default=",".join(FEATURES), help="names, with commas between")
    parser.add_argument("--seeds", default="1,4", help="numbers of seeds, with commas between")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="of each seed in a turn")
    arguments = parser.parse_args()
    table = Table(box=None, title=f"ms a seed-step, median of {arguments.rounds} rounds", title_justify="left")
    for column in ("reader", "seeds", "program", "median", "lowest", "highest"):
        table.add_column(column, justify="left" if column in ("reader", "program") else "right")
    for name in arguments.readers.split(","):
        for seeds in map(int, arguments.seeds.split(",")):
            turns = turns_of(name, seeds, arguments.steps)
            for run in turns.values():
                run()  # compiles
            rounds = [[run() for run in turns.values()] for _ in range(arguments.rounds)]
            for program, times in zip(turns, zip(*rounds, strict=True), strict=True):
                numbers = (statistics.median(times), min(times), max(times))
                table.add_row(name, str(seeds), program, *(f"{number:,.0f}" for number in numbers))
    Console().print(table)


if __name__ == "__main__":
    main()
