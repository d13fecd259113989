"""Where the processes of one run meet, as the command line gives it."""

import re
from typing import NamedTuple

from experiments.faults import ConfigError


class Address(NamedTuple):
    """Where processes meet, how many they are, and which of them this is; None where JAX is to ask the cluster."""

    coordinator: str | None = None  # HOST:PORT of process 0
    num_processes: int | None = None
    process_id: int | None = None

    @property
    def on_this_machine(self) -> bool:
        """Whether no other machine needs to reach process 0."""
        return (self.coordinator or "").rpartition(":")[0] in ("localhost", "127.0.0.1")


def address(coordinator: str | None, num_processes: int | None, process_id: int | None) -> Address:
    """The address that flags give. Raises ConfigError if it is none, or a part of one."""
    given = {"--coordinator": coordinator, "--num_processes": num_processes, "--process_id": process_id}
    missing = [name for name, value in given.items() if value is None]
    if len(missing) == len(given):
        return Address()
    if coordinator is None or num_processes is None or process_id is None:
        raise ConfigError(
            f"{' and '.join(missing)} missing: {', '.join(given)} go together, or leave all three to the cluster"
        )
    host, _, port = coordinator.rpartition(":")
    if not host or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 2**16:
        raise ConfigError(f"--coordinator must be HOST:PORT of process 0, got {coordinator!r}")
    if num_processes < 1:
        raise ConfigError(f"--num_processes must be a positive whole number, got {num_processes}")
    if not 0 <= process_id < num_processes:
        raise ConfigError(f"--process_id must be 0 to {num_processes - 1}, got {process_id}")
    return Address(coordinator, num_processes, process_id)
