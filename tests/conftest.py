"""What every test runs under: two CPU devices, and JAX arithmetic that promotes neither ranks nor types in silence."""

import ctypes
import os

# Both must be set before JAX looks at its devices. Of two counts in XLA_FLAGS the last one wins.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2".lstrip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture
def optax_promotion():
    """Allows mixed types, for tests that take a step of Adam: optax raises a float to the power of an integer count."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module", autouse=True)
def programs_of_this_file():
    """Forgets at the end of a file what it has compiled: the programs of all files together take gigabytes."""
    yield
    jax.clear_caches()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc keeps for itself what is freed
        trim(0)
