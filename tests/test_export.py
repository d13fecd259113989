"""Parameters that leave for other programs, read back by those programs' own libraries."""

import random

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint
import pytest
from flax import serialization
from safetensors.numpy import load_file

import nalu_jax
from nalu_jax.storage.checkpoint import CheckpointError

MODEL = nn.Sequential([nalu_jax.NAU(2), nalu_jax.NMU(1)])  # bounded parameters, in boxes


@pytest.fixture(scope="module")
def params():
    return jax.jit(MODEL.init)(jax.random.key(0), jnp.ones((1, 3)))["params"]


def as_dict(params):
    return jax.tree.map(np.asarray, nn.meta.unbox(params))


def same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_safetensors_are_read_by_its_own_library_and_by_ours(tmp_path, params):
    path = tmp_path / "model.safetensors"
    nalu_jax.save(params, path)
    plain = as_dict(params)
    same(load_file(path), {f"{layer}/{name}": array for layer, of in plain.items() for name, array in of.items()})
    same(nalu_jax.read(path), plain)
    x = jnp.ones((4, 3))
    np.testing.assert_array_equal(MODEL.apply({"params": nalu_jax.read(path)}, x), MODEL.apply({"params": params}, x))


def test_no_flipped_bit_of_safetensors_is_believed(tmp_path, params):
    path, draw = tmp_path / "model.safetensors", random.Random(0)
    nalu_jax.save(params, path)
    content = path.read_bytes()
    whole = as_dict(params)
    for _ in range(100):
        place = draw.randrange(len(content))
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :])
        try:
            read = nalu_jax.read(path)
        except CheckpointError:
            continue
        same(read, whole)  # a blank of its header was hit


def test_msgpack_is_read_by_flax(tmp_path, params):
    nalu_jax.save(params, tmp_path / "model.msgpack")
    same(serialization.msgpack_restore((tmp_path / "model.msgpack").read_bytes()), as_dict(params))


def test_a_folder_is_read_by_orbax_and_is_not_overwritten(tmp_path, params):
    nalu_jax.save(params, tmp_path / "model")
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        same(checkpointer.restore(tmp_path / "model", as_dict(params)), as_dict(params))
    with pytest.raises(FileExistsError, match="is there already"):
        nalu_jax.save(params, tmp_path / "model")


def test_another_ending_is_refused(tmp_path, params):
    with pytest.raises(ValueError, match=r"must end in \.safetensors, \.msgpack or nothing \(Orbax\), got 'model\.pkl'"):
        nalu_jax.save(params, tmp_path / "model.pkl")
    assert list(tmp_path.iterdir()) == []
