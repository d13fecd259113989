"""All works of a run at the terminal, while others train them."""

import time

from rich.console import Console
from rich.live import Live

from experiments.running.console import PLAIN_EVERY
from experiments.running.status import DONE, FAILED_STATE, RESUMABLE, RUNNING, WAITING, State, state_of, summary, table
from experiments.running.work import Work

WHO = "process "  # begins the note of who has a work
LOOKED_AT_FIRST = (RUNNING, FAILED_STATE, RESUMABLE, WAITING, DONE)


class Board:
    """All works of a run at the terminal: a live table, or, without a terminal, a line every ten seconds.

    What it shows is in the run's folder.
    """

    def __init__(self, console: Console, works: list[Work]):
        self.console = console
        self.works = works
        self.states = [State(WAITING, 0, "")] * len(works)
        self.takers: list[set[str]] = [set() for _ in works]  # who has trained a work since this began
        self.next = self.printed = 0.0  # when to look again, when a line was printed last
        self.live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False)

    def look(self) -> None:
        """Looks at the works that are not done, and shows all; less often where that takes long, as for many over NFS."""
        began = time.monotonic()
        if began < self.next:
            return
        for i, work in enumerate(self.works):
            if self.states[i].word != DONE:
                self.states[i] = self.with_retries(i, state_of(work))
        if self.console.is_terminal:
            order = sorted(range(len(self.works)), key=lambda i: LOOKED_AT_FIRST.index(self.states[i].word))
            shown = sorted(order[: max(1, self.console.height - 4)])
            self.live.update(table([(self.works[i], self.states[i]) for i in shown], summary(self.states)), refresh=True)
        elif began - self.printed >= PLAIN_EVERY:
            self.printed = began
            self.console.print(self.line(), soft_wrap=True, highlight=False, markup=False)
        now = time.monotonic()
        self.next = now + 10 * (now - began)

    def with_retries(self, i: int, state: State) -> State:
        """A state that says, too, how often the work was taken up by another worker."""
        if state.word == RUNNING and state.note.startswith(WHO):
            self.takers[i].add(state.note)
        return state._replace(note="; ".join(filter(None, (self.retries(i), state.note))))

    def retries(self, i: int) -> str:
        """How often a work was taken up again, "" if not."""
        times = len(self.takers[i]) - 1
        return "" if times < 1 else "retried once" if times == 1 else f"retried {times} times"

    def line(self) -> str:
        """How far all works are, and those that run, in one line."""
        told = [summary(self.states)]
        for i, (work, state) in enumerate(zip(self.works, self.states, strict=True)):
            if state.word == RUNNING:
                step = f"{work.name} step {state.step:,} of {work.jobs[0].schedule.num_steps:,}"
                told.append(", ".join(filter(None, (step, self.retries(i)))))
        return "; ".join(told)

    def __enter__(self) -> "Board":
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()
