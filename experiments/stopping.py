"""Stopping politely: the first Ctrl-C or SIGTERM saves and ends the run, the second ends it at once."""

import signal

from experiments.faults import Interrupted


class Stopping:
    """Remembers that a signal asked the run to stop."""

    def __init__(self):
        self.asked = False

    def listen(self) -> None:
        """Takes over SIGINT and SIGTERM."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.ask)

    def ask(self, number: int, frame: object) -> None:
        """Notes the wish; the next signal has its ordinary effect."""
        del frame
        self.asked = True
        signal.signal(number, signal.SIG_DFL)

    def check(self) -> None:
        """Interrupted if a signal came."""
        if self.asked:
            raise Interrupted
