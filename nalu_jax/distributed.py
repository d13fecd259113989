"""Seeds on devices: a one-dimensional mesh, along which every array of the state is split by seed."""

from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec


def seed_mesh() -> Mesh:
    """A mesh with the single axis "seed" over all devices.

    Its axis is Auto: under Explicit axes, which ``jax.make_mesh`` takes by default, the gradient of a product over a
    sharded batch fails.
    """
    return jax.make_mesh((jax.device_count(),), ("seed",), axis_types=(AxisType.Auto,))


def by_seed(mesh: Mesh) -> NamedSharding:
    """The sharding of arrays whose first axis is the seed."""
    return NamedSharding(mesh, PartitionSpec("seed"))


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of what all seeds share."""
    return NamedSharding(mesh, PartitionSpec())


def pad_seeds(seeds: np.ndarray, mesh: Mesh) -> np.ndarray:
    """The seeds, followed by as many further ones as it takes to give every device the same number.

    Whoever reads results drops the surplus: only the first ``len(seeds)`` count.
    """
    surplus = -len(seeds) % mesh.size
    return np.concatenate([seeds, seeds[-1] + 1 + np.arange(surplus)]).astype(np.uint32)


def place(tree: Any, shardings: Any) -> Any:
    """The tree on devices, laid out as told."""
    return jax.device_put(tree, shardings)
