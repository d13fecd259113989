"""The terminal, as all commands use it."""

import os
import sys
from typing import TextIO

from rich.console import Console


class PatientStream:
    """An output that falls silent when nobody can read it any more, so that a run goes on to its end.

    A closed output, a full disk and a terminal that is gone are no reason to stop training; characters that the output
    cannot hold are replaced.
    """

    def __init__(self, stream: TextIO | None):
        self.stream = stream
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")

    def write(self, text: str) -> int:
        """Writes a text as far as anybody reads it."""
        try:
            if self.stream is not None:
                self.stream.write(text)
        except (OSError, ValueError):
            self.fall_silent()
        return len(text)

    def flush(self) -> None:
        """Brings what was written out."""
        try:
            if self.stream is not None:
                self.stream.flush()
        except (OSError, ValueError):
            self.fall_silent()

    def fall_silent(self) -> None:
        """Sends what is still to come nowhere, what Python flushes at its end too."""
        stream, self.stream = self.stream, None
        try:
            assert stream is not None
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        except (OSError, ValueError):
            pass

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self.stream is not None and self.stream.isatty()

    def fileno(self) -> int:
        """Its descriptor."""
        if self.stream is None:
            raise OSError("nobody reads this output")
        return self.stream.fileno()

    @property
    def encoding(self) -> str:
        """How it writes characters."""
        return getattr(self.stream, "encoding", None) or "utf-8"


class PipeSafeConsole(Console):
    """A console on a patient standard output. Into a file or a pipe, lines may be as long as they are."""

    def __init__(self):
        stream = PatientStream(sys.stdout)
        super().__init__(file=stream, width=None if stream.isatty() else 240)  # pyright: ignore[reportArgumentType]


def print_error(error: BaseException, code: int) -> int:
    """Prints one line about what is wrong, and returns the exit code."""
    stream = PatientStream(sys.stderr)
    stream.write(f"error: {' '.join(str(error).split())}\n")
    stream.flush()
    return code
