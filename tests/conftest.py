"""What every test runs under: two CPU devices, programs compiled in haste, no promotion of ranks and types in silence."""

import ctypes
import gc
import importlib.metadata
import os
import signal
import sys
from collections import Counter
from pathlib import Path

# Flags must be set before JAX looks at its devices. Of two values of a flag in XLA_FLAGS the last one wins.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
if importlib.metadata.version("jaxlib").startswith("0.10."):  # 0.12 knows no such flag
    # The many small programs of tests then compile in two thirds of the time; scripts/test_versions is without it.
    os.environ["XLA_FLAGS"] = f"--xla_cpu_use_fusion_emitters=false {os.environ['XLA_FLAGS']}"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Switches of JAX's own, here and in the commands that tests start: no optimization, no tracebacks in what is compiled.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")

import jax
import pytest

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it in what it starts in the background
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


def pytest_collection_modifyitems(config, items):
    """Leaves out the dear faults unless -m names them; files with long tests come first, then those with many.

    So whatever else -m says ("not slow") leaves them out too, and of two workers none is left with a long file at the end.
    """
    if "faults" not in config.option.markexpr:
        left_out = [item for item in items if item.get_closest_marker("faults")]
        items[:] = [item for item in items if not item.get_closest_marker("faults")]
        config.hook.pytest_deselected(items=left_out)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    count = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path not in slow, -count[item.path]))


def pytest_collection_finish():
    """Collects garbage less often: each look at everything that is alive, most of which stays, takes seconds in sum."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="module")
def optimized():
    """Compiles as runs do, here and in the commands that tests start: for what trains long, and for faults of runs."""
    before, haste = os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"], jax.config.read("jax_disable_most_optimizations")
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "0"
    jax.config.update("jax_disable_most_optimizations", False)
    forget_programs()
    yield
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = before
    jax.config.update("jax_disable_most_optimizations", haste)
    forget_programs()


@pytest.fixture
def optax_promotion():
    """Allows mixed types, for tests that take a step of Adam: optax raises a float to the power of an integer count."""
    with jax.numpy_dtype_promotion("standard"):
        yield


MOST_GROWTH = 400  # MiB: what is forgotten is compiled again


@pytest.fixture(autouse=True)
def bounded_memory():
    """Forgets what was compiled where it has grown much: the programs of all files together take gigabytes.

    Not after each file: single operations, which tests compile by the hundred, serve many files.
    """
    yield
    if resident() > forget_programs.left + MOST_GROWTH:
        forget_programs()


@pytest.fixture(autouse=True, scope="module")
def own_results():
    """Forgets what cached functions of the tests hold when a file is through: its own, and those of what it shares."""
    yield
    for module in list(sys.modules.values()):
        if Path(getattr(module, "__file__", None) or "/").parent == Path(__file__).parent:
            for function in vars(module).values():
                if hasattr(function, "cache_clear") and function.__module__ == module.__name__:
                    function.cache_clear()


def forget_programs():
    jax.clear_caches()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc keeps for itself what is freed
        trim(0)
    forget_programs.left = resident()


def resident():
    """The memory that this process takes, in MiB; 0 where that is not known."""
    if not (statm := Path("/proc/self/statm")).exists():
        return 0
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


forget_programs.left = resident()
