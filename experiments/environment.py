"""Where a run takes place: versions, code and devices, as far as its numbers may depend on them."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy")


def describe() -> dict[str, Any]:
    """Versions, the commit, and the devices."""
    devices = jax.devices()
    return {
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES} | {"python": platform.python_version()},
        "commit": commit(),
        "devices": {"kind": devices[0].device_kind, "platform": devices[0].platform, "count": len(devices)},
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def commit() -> str:
    """The commit of the code, with a plus sign if files differ from it; "unknown" outside a checkout."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def differences(before: Any, now: Any, name: str = "") -> list[str]:
    """The fields in which two nested descriptions differ, each as ``name: before → now``."""
    if isinstance(before, dict) and isinstance(now, dict):
        found = []
        for key in sorted(before.keys() | now.keys()):
            path = f"{name}.{key}" if name else key
            found += differences(before.get(key, "absent"), now.get(key, "absent"), path)
        return found
    return [] if before == now else [f"{name}: {before} → {now}"]
