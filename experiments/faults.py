"""Why a run ends, as exit codes and exceptions."""

DONE = 0
BAD_CONFIG = 2
BAD_ENVIRONMENT = 3
ALL_DIVERGED = 4
INTERRUPTED = 75


class ConfigError(ValueError):
    """A setting that cannot be, in one sentence: the field, its value, what is allowed."""


class EnvironmentFault(Exception):
    """The machine does not let the run happen: a folder, a disk, a jax that cannot be trusted."""


class Interrupted(Exception):
    """The run was asked to stop, and everything is saved."""
