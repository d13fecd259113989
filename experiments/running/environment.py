"""Where a run takes place: versions, code and devices, as far as its numbers may depend on them."""

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax

import nalu_jax
from experiments.cpu import DEVICES, cores
from experiments.faults import EnvironmentFault
from experiments.settings.pages import own_code

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy")


def describe(page: str = "") -> dict[str, Any]:
    """Versions, the commit, the source, that of a page and of what it registers, and the devices."""
    devices = jax.devices()
    return {
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES} | {"python": platform.python_version()},
        "commit": commit(),
        "source": source(),
        "page": own_code(page) if page else "",
        "devices": {"kind": devices[0].device_kind, "platform": devices[0].platform, "count": len(devices)},
        "cores": cores(),
        "xla_flags": " ".join(flag for flag in os.environ.get("XLA_FLAGS", "").split() if not flag.startswith(DEVICES)),
    }


def check_devices() -> None:
    """Raises EnvironmentFault if jax has no device, as where JAX_PLATFORMS names one that this machine has not."""
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # jax asserts where it has no plugin for an accelerator that it knows
        asked, reason = os.environ.get("JAX_PLATFORMS", ""), str(error) or "there is no plugin for it"
        raise EnvironmentFault(f"JAX_PLATFORMS={asked}: jax finds no such device here ({reason})") from error


def source() -> str:
    """A digest of the library's source, which numbers depend on."""
    digest = hashlib.sha256()
    for path in sorted(Path(nalu_jax.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


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
