"""Stopping politely: the first Ctrl-C or SIGTERM saves and ends the run, the second ends it at once."""

import signal

from experiments.faults import Interrupted


class SignalHandler:
    """Remembers that a signal asked the run to stop."""

    def __init__(self):
        self.stop_requested = False

    def install(self) -> None:
        """Takes over SIGINT and SIGTERM."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle)

    def handle(self, number: int, frame: object) -> None:
        """Notes the request; the next signal has its ordinary effect."""
        del frame
        self.stop_requested = True
        signal.signal(number, signal.SIG_DFL)

    def check(self) -> None:
        """Raises Interrupted if a signal came."""
        if self.stop_requested:
            raise Interrupted
