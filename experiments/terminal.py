"""The terminal, as all commands use it."""

import os
import sys

from rich.console import Console


class PipeSafeConsole(Console):
    """A console that falls silent when nobody reads it any more, and lets the run go on.

    Into a file or a pipe, lines may be as long as they are.
    """

    def __init__(self):
        super().__init__(width=None if sys.stdout.isatty() else 240)

    def on_broken_pipe(self) -> None:
        """Sends what is still to come nowhere; rich would end the process."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_error(error: BaseException, code: int) -> int:
    """Prints one line about what is wrong, and returns the exit code."""
    print("error:", " ".join(str(error).split()), file=sys.stderr)
    return code
