"""Seeds on devices: a one-dimensional mesh, along which every array of the state is split by seed, in blocks."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec


def seed_mesh() -> Mesh:
    """A mesh with the single axis "seed" over all devices.

    Its axis is Auto: under Explicit axes, which ``jax.make_mesh`` takes by default, the gradient of a product over a
    sharded batch fails.
    """
    return jax.make_mesh((jax.device_count(),), ("seed",), axis_types=(AxisType.Auto,))


# Bytes of batches that a CPU device works on at a time. On cores with 2 MiB of cache half and twice as much are as fast, and
# four times as much is half as fast (docs/performance.md, panel e).
CACHE = 2**19
# XLA drops an axis of length 1, and then takes other ways, several times as slow, to the products of a batch.
SMALLEST_BLOCK = 2


class Layout(NamedTuple):
    """How the seeds of a run lie on the machine. It changes their numbers by rounding errors at most."""

    mesh: Mesh
    block: int  # seeds that a device trains at a time


def layout_for(mesh: Mesh, *, num_seeds: int, bytes_a_seed: int, block: int = 0) -> Layout:
    """The layout for so many seeds, the batch of each taking so many bytes.

    ``block`` is the largest number of seeds that a device may train at a time. If it is 0, it is as many as fit into the
    cache of a CPU's core, but at least two, and all on other devices. Blocks are made as even as can be. Raises ValueError
    if it is negative.
    """
    if block < 0:
        raise ValueError(f"block must be 0 or a positive whole number, got {block}")
    share = -(-num_seeds // mesh.size)
    if not block:
        on_cpu = mesh.devices.flat[0].platform == "cpu"
        block = max(SMALLEST_BLOCK, CACHE // bytes_a_seed) if on_cpu else share
    blocks = -(-share // block)
    return Layout(mesh, -(-share // blocks))


def by_seed(mesh: Mesh) -> NamedSharding:
    """The sharding of arrays whose first axis is the seed."""
    return NamedSharding(mesh, PartitionSpec("seed"))


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of what all seeds share."""
    return NamedSharding(mesh, PartitionSpec())


def pad_seeds(seeds: np.ndarray, layout: Layout) -> np.ndarray:
    """The seeds, followed by as many further ones as it takes to give every device the same number of whole blocks.

    Whoever reads results drops the surplus: only the first ``len(seeds)`` count.
    """
    surplus = -len(seeds) % (layout.mesh.size * layout.block)
    return np.concatenate([seeds, seeds[-1] + 1 + np.arange(surplus)]).astype(np.uint32)


def place(tree: Any, shardings: Any) -> Any:
    """The tree on devices, laid out as told."""
    return jax.device_put(tree, shardings)
