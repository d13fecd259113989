"""Why a run ends, as exit codes and exceptions."""

import errno

from nalu_jax.faults import EnvironmentFault

__all__ = ["ConfigError", "Damaged", "EnvironmentFault", "Interrupted"]

DONE = 0
BAD_CONFIG = 2
BAD_ENVIRONMENT = 3
INCOMPLETE = 4
INTERRUPTED = 75


def code_of(error: EnvironmentFault | OSError) -> int:
    """The exit code of a fault of the machine; a name that is too long for it is the user's to change."""
    return BAD_CONFIG if getattr(error, "errno", 0) == errno.ENAMETOOLONG else BAD_ENVIRONMENT


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of the machine or of a device: jax says the latter in words alone."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" in str(error))


class ConfigError(ValueError):
    """An invalid setting, in one sentence: the field, its value, what is allowed."""


class Damaged(EnvironmentFault):
    """A file of a run that is not what was written."""


class Interrupted(Exception):
    """The run was asked to stop, and everything is saved."""
