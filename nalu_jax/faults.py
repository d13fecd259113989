"""What may go wrong outside of the code."""


class EnvironmentFault(Exception):
    """The machine does not let something happen: a folder, a disk, data that are missing, a jax that cannot be trusted."""
