"""Seeds on devices: a one-dimensional mesh, along which every array of the state is split by seed, in blocks."""

from collections.abc import Callable
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
    """Seeds per device and block, from the size of a batch.

    Args:
      mesh: the devices.
      num_seeds: seeds of the run.
      bytes_a_seed: bytes of a seed's training batch.
      block: the largest number of seeds that a device may train at a time. If it is 0, it is as many as fit into the cache
        of a CPU's core, but at least two, and all on other devices. Blocks are made as even as can be.

    Raises ValueError if ``block`` is negative.
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


def first_seeds(tree: Any, count: int) -> Any:
    """The leaves [seeds, ...] of a tree, arrays or shapes, cut to the first ``count`` seeds."""

    def cut(leaf: Any) -> Any:
        if isinstance(leaf, jax.ShapeDtypeStruct):
            return jax.ShapeDtypeStruct((count, *leaf.shape[1:]), leaf.dtype)
        return leaf[:count]

    return jax.tree.map(cut, tree)


def padded(tree: Any, count: int) -> Any:
    """The arrays [seeds, ...] of a tree, followed by copies of the last seed, [count, ...]."""
    return jax.tree.map(lambda leaf: np.concatenate([leaf, np.repeat(leaf[-1:], count - len(leaf), axis=0)]), tree)


def place(tree: Any, shardings: Any) -> Any:
    """The tree on devices, laid out as told."""
    return jax.device_put(tree, shardings)


def with_shardings(shapes: Any, sharding: NamedSharding) -> Any:
    """Shapes and types, with where their arrays lie."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shapes)


def over_blocks(of_block: Callable, layout: Layout) -> Callable:
    """A function (seeds, *shared) of trees [seeds, ...] of all seeds, from one of the seeds of a block and what all share.

    The devices work side by side, each on one block after another.
    """

    def of_device(seeds: Any, *shared: Any) -> Any:
        blocks = jax.tree.map(lambda leaf: leaf.reshape(-1, layout.block, *leaf.shape[1:]), seeds)
        done = jax.lax.map(lambda block: of_block(block, *shared), blocks)
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), done)

    def of_all(seeds: Any, *shared: Any) -> Any:
        by_device, everywhere = PartitionSpec("seed"), PartitionSpec()
        specs = (by_device, *[everywhere for _ in shared])
        return jax.shard_map(of_device, mesh=layout.mesh, in_specs=specs, out_specs=by_device, check_vma=False)(
            seeds, *shared
        )

    return of_all
