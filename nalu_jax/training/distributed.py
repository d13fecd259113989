"""Seeds on devices: a one-dimensional mesh, along which every array of the state is split by seed, in blocks.

The devices may be those of several processes (``jax.distributed``). Training needs nothing of another seed, so devices never
communicate. What processes have to tell one another, between programs, they gather as NumPy arrays over one CPU of each.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from nalu_jax.faults import EnvironmentFault


class ProcessLost(EnvironmentFault):
    """Another process of this run is gone."""


def seed_mesh() -> Mesh:
    """A mesh with the single axis "seed" over all devices, those of a process side by side.

    Its axis is Auto: under Explicit axes, which ``jax.make_mesh`` takes by default, the gradient of a product over a
    sharded batch fails.
    """
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    return Mesh(np.array(devices), ("seed",), axis_types=(AxisType.Auto,))


# Bytes of batches that a CPU device works on at a time. On cores with 2 MiB of cache half and twice as much are as fast, and
# four times as much is half as fast (docs/performance.md, panel e).
CACHE = 2**19
# XLA drops an axis of length 1, and then takes other ways, several times as slow, to the products of a batch.
SMALLEST_BLOCK = 2


WORDS = 3  # numbers that processes tell one another at a time


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
    """The tree on devices, laid out as told. Of several processes, which must all hold the tree, each places its part."""
    if jax.process_count() == 1:
        return jax.device_put(tree, shardings)

    def put(leaf: Any, sharding: NamedSharding) -> jax.Array:  # device_put would have all processes compare the whole array
        array = np.asarray(leaf)
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

    return jax.tree.map(
        lambda sharding, part: jax.tree.map(functools.partial(put, sharding=sharding), part), shardings, tree
    )


def fetch(tree: Any) -> Any:
    """Arrays on devices as NumPy arrays, whole on every process. All processes must ask for the same."""
    if jax.process_count() == 1:
        return jax.tree.map(np.asarray, tree)
    leaves, structure = jax.tree.flatten(tree)
    parts = [own_part(leaf) for leaf in leaves]
    rows = all_gather(as_bytes(parts))
    columns = np.split(rows, np.cumsum([part.nbytes for part in parts])[:-1], axis=1)  # of each leaf, [processes, bytes]
    return jax.tree.unflatten(structure, [from_bytes(column, leaf) for column, leaf in zip(columns, leaves, strict=True)])


def own_part(array: jax.Array) -> np.ndarray:
    """What of an array lies on the devices of this process: consecutive seeds, or all where every device has a copy."""
    if array.is_fully_replicated:
        return np.asarray(array)
    shards = sorted(array.addressable_shards, key=lambda shard: shard.index[0].start or 0)
    return np.concatenate([shard.data for shard in shards])


def as_bytes(arrays: list[np.ndarray]) -> np.ndarray:
    """The bytes of all arrays, u8[bytes]."""
    return np.frombuffer(b"".join(array.tobytes() for array in arrays), np.uint8)


def from_bytes(rows: np.ndarray, like: Any) -> np.ndarray:
    """An array of the shape and type of ``like`` from its bytes, of which there may be more copies, u8[..., bytes]."""
    return np.ascontiguousarray(rows).view(like.dtype).ravel()[: like.size].reshape(like.shape)


def from_first(tree: Any) -> Any:
    """The NumPy arrays that process 0 holds, on every process; the others give a tree of the same shapes and types."""
    leaves, structure = jax.tree.flatten(tree)
    sizes = [leaf.size * np.dtype(leaf.dtype).itemsize for leaf in leaves]
    mine = as_bytes([np.asarray(leaf) for leaf in leaves]) if jax.process_index() == 0 else np.zeros(sum(sizes), np.uint8)
    gather_words(follow=len(mine))
    columns = np.split(exchange(mine, added), np.cumsum(sizes)[:-1])
    return jax.tree.unflatten(structure, [from_bytes(column, leaf) for column, leaf in zip(columns, leaves, strict=True)])


def all_gather(row: np.ndarray) -> np.ndarray:
    """The rows of all processes, u8[bytes] → [processes, bytes]. Raises ProcessLost if a process is gone."""
    gather_words(follow=len(row))
    return exchange(row, as_they_are)


def gather_words(*words: int, follow: int = 0) -> np.ndarray:
    """A few numbers of every process, i32[processes, words]; all that processes exchange begins with it.

    ``follow`` is the number of bytes that they exchange next. Raises ProcessLost if a process is gone, or does something
    else: bytes of another number would be taken for what they are not.
    """
    message = np.array([follow % 2**31, *words, *[0] * (WORDS - len(words))], np.int32)
    rows = exchange(message, as_they_are)
    if (rows[:, 0] != message[0]).any():
        raise ProcessLost(lost())
    return rows[:, 1:]


def lost() -> str:
    """What to say when another process is gone."""
    return (
        f"process {jax.process_index()} of {jax.process_count()}: another process of this run has ended, and what it said "
        "says why; the same command goes on from what is saved"
    )


def as_they_are(rows: jax.Array) -> jax.Array:
    """Rows [processes, n] as they are."""
    return rows


def added(rows: jax.Array) -> jax.Array:
    """The sum of rows, [processes, n] → [n]."""
    return jnp.sum(rows, axis=0, dtype=rows.dtype)


def exchange(row: np.ndarray, combine: Callable[[jax.Array], jax.Array]) -> np.ndarray:
    """What ``combine`` makes of the rows of all processes, [processes, n]."""
    mesh = process_mesh()
    mine = jax.device_put(row[None], mesh.local_devices[0])
    rows = jax.make_array_from_single_device_arrays(
        (mesh.size, *row.shape), NamedSharding(mesh, PartitionSpec("process")), [mine]
    )
    try:
        return np.asarray(combined(combine)(rows).addressable_data(0))
    except (RuntimeError, ValueError) as error:  # a broken connection is either, as the program runs aside or at once
        raise ProcessLost(lost()) from error


@functools.cache
def combined(combine: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
    """The program that combines rows, with its result on every process."""
    return jax.jit(combine, out_shardings=replicated(process_mesh()))


@functools.cache
def process_mesh() -> Mesh:
    """A CPU of every process.

    What processes tell one another goes over CPUs even where accelerators train: a connection that breaks is an error there
    within a moment, while an accelerator would wait.
    """
    first = {device.process_index: device for device in reversed(jax.devices("cpu"))}
    devices = [first[process] for process in sorted(first)]
    return Mesh(np.array(devices), ("process",), axis_types=(AxisType.Auto,))


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
