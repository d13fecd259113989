"""Stopping politely: the first signal saves and ends the run, the second ends it at once."""

import signal

from experiments.faults import Interrupted

# Ctrl-C, and what schedulers send before they take the machine away.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class SignalHandler:
    """Remembers that a signal asked the run to stop."""

    def __init__(self):
        self.stop_requested = False

    def install(self) -> None:
        """Takes over SIGNALS, and SIGHUP, which a closed terminal sends, unless it is ignored as under nohup."""
        for number in SIGNALS:
            signal.signal(number, self.handle)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self.handle)

    def handle(self, number: int, frame: object) -> None:
        """Notes the request; the next signal has its ordinary effect."""
        del frame
        self.stop_requested = True
        signal.signal(number, signal.SIG_DFL)

    def check(self) -> None:
        """Raises Interrupted if a signal came."""
        if self.stop_requested:
            raise Interrupted
