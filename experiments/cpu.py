"""The cores of this machine, and how jax is to use them. To be imported before jax."""

import os

DEVICES = "--xla_force_host_platform_device_count"  # a flag of XLA


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_up_cpu() -> None:
    """Makes each core a device, which then trains its share of the seeds. To be called before jax is imported.

    XLA runs programs as small as these on one core of a CPU device, and keeps to vectors of 256 bits where a core has 512.
    What XLA_FLAGS says of either is left alone.
    """
    for flag, value in {DEVICES: cores(), "--xla_cpu_prefer_vector_width": 512}.items():
        flags_now = os.environ.get("XLA_FLAGS", "")
        if flag not in flags_now:
            os.environ["XLA_FLAGS"] = f"{flags_now} {flag}={value}".strip()
