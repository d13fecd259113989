"""Trained parameters in the formats that others read: safetensors, Flax msgpack, Orbax."""

import hashlib
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from flax import serialization, traverse_util

from nalu_jax.storage.checkpoint import CheckpointError
from nalu_jax.storage.files import write_atomic
from nalu_jax.types import Params

DIGEST = "sha256"  # of the arrays, in the metadata of a safetensors file, whose format has no checksum


def save(params: Params, path: str | Path) -> None:
    """Writes parameters, as ``nalu_jax.load`` returns them, in the format that the path's ending says.

    - ``.safetensors``: one file of arrays by their path, ``layers_0/w``, and their SHA-256; needs the package safetensors.
    - ``.msgpack``: one file, which ``flax.serialization.msgpack_restore`` reads.
    - no ending: a folder, which ``orbax.checkpoint.StandardCheckpointer().restore`` reads.

    Intervals of bounded parameters are left out: the parameters are within them. Raises ValueError for another ending, and
    FileExistsError for a folder that is there.
    """
    path = Path(path).expanduser().absolute()
    plain = jax.tree.map(np.asarray, nn.meta.unbox(params))
    if path.suffix == ".safetensors":
        from safetensors.numpy import save as packed

        arrays = {name: np.ascontiguousarray(leaf) for name, leaf in traverse_util.flatten_dict(plain, sep="/").items()}
        write_atomic(path, packed(arrays, metadata={DIGEST: digest_of(arrays)}))
    elif path.suffix == ".msgpack":
        write_atomic(path, serialization.msgpack_serialize(plain))
    elif not path.suffix:
        import orbax.checkpoint

        if path.exists():
            raise FileExistsError(f"save: {path} is there already")
        with orbax.checkpoint.StandardCheckpointer() as checkpointer:
            checkpointer.save(path, plain)
    else:
        raise ValueError(f"save: the path must end in .safetensors, .msgpack or nothing (Orbax), got {path.name!r}")


def read(path: str | Path) -> dict[str, Any]:
    """The parameters of a safetensors file that ``save`` wrote. Raises CheckpointError if they are not what was written."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(Path(path).expanduser(), "numpy") as file:
            arrays, expected = {name: file.get_tensor(name) for name in file.keys()}, (file.metadata() or {}).get(DIGEST)  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged ({error})") from error
    if expected != digest_of(arrays):
        raise CheckpointError(f"{path} is damaged, or was not written by nalu_jax.save (its SHA-256 differs)")
    return traverse_util.unflatten_dict(arrays, sep="/")


def digest_of(arrays: dict[str, np.ndarray]) -> str:
    """The SHA-256 of arrays with their names, types and shapes, in whatever order they are."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode() + array.tobytes())
    return digest.hexdigest()
