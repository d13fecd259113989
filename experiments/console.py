"""Progress at the terminal: a live line for each group of cells, in plain output a line every ten seconds."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from experiments.reports.formats import of_column, title

PLAIN_EVERY = 10.0  # seconds


def clock(seconds: float) -> str:
    """Seconds as 1:02:03 or 2:03."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class CellProgress:
    """The line of cells that train together.

    Args:
      console: the terminal, or the file, that is written to.
      label: the name that the line begins with.
      columns: the metrics that are shown of a cell on its own, with their headings.
      num_steps, num_seeds: steps and seeds of the whole line.
      count_solved: whether there is a threshold, so that solved seeds are counted.
      later: seed-steps of the lines that come after it.
      now: the clock, in seconds.
    """

    def __init__(
        self,
        console: Console,
        label: str,
        *,
        columns: Mapping[str, str],
        num_steps: int,
        num_seeds: int,
        count_solved: bool = True,
        later: int = 0,
        now: Callable[[], float] = time.monotonic,
    ):
        self.console = console
        self.label = label
        self.num_steps = num_steps
        self.num_seeds = num_seeds
        self.columns = columns
        self.count_solved = count_solved
        self.later = later
        self.now = now
        self.began: tuple[float, int] | None = None  # when and at which step the present process took up the cell
        self.printed = now()
        self.figures = ""
        self.step = 0
        third = max(8, console.width // 3)  # the name and the bar stay where the screen is narrow; the figures are cut
        self.bar = Progress(
            TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", max_width=third)),
            BarColumn(bar_width=min(16, third // 2)),
            TextColumn("{task.fields[text]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            console=console,
            expand=True,
            transient=True,
            disable=not console.is_terminal,
        )
        self.line = self.bar.add_task(label, total=num_steps, text="compiling")
        self.bar.start()

    def say(self, sentence: str) -> None:
        """Prints a sentence of its own."""
        self.bar.console.print(f"{self.label}: {sentence}", soft_wrap=True, highlight=False, markup=False)

    def evaluated(self, rows: list[dict[str, Any]]) -> None:
        """Takes note of an evaluation, a row of the metrics file for each cell; medians are shown of a cell on its own."""
        seeds, solved, diverged = (sum(row[name] for row in rows) for name in ("seeds", "success", "diverged"))
        medians = {heading: rows[0][metric]["median"] for metric, heading in self.columns.items()}
        shown = [f"{title(h)} {'diverged' if m is None else of_column(h, m)}" for h, m in medians.items()]
        gone = [f"{diverged} diverged"] if diverged else []
        count = [f"solved {solved}/{seeds}"] if self.count_solved else []
        last = [f"last evaluation: {', '.join(shown)}"] if len(rows) == 1 else []
        self.figures = "; ".join([", ".join([*count, *gone]), *last] if count or gone else last)

    def advanced(self, step: int) -> None:
        """Takes note of how far the cell has come."""
        now = self.now()
        if self.began is None:
            self.began = (now, step)
        self.step = step
        to_go, rate = self.pace(now)
        text = "; ".join(filter(None, (to_go, self.figures, rate)))
        self.bar.update(self.line, completed=step, text=text)
        if not self.console.is_terminal and now - self.printed >= PLAIN_EVERY:
            self.printed = now
            self.say(f"step {step:,} of {self.num_steps:,}, {text}")

    def pace(self, now: float) -> tuple[str, str]:
        """The time to go and the speed, once there is something to measure."""
        assert self.began is not None
        since, first = self.began
        if now - since < 0.2 or self.step == first:
            return "", ""
        steps_per_second = (self.step - first) / (now - since)
        left = (self.num_steps - self.step) / steps_per_second
        rate = steps_per_second * self.num_seeds
        after = f" ({clock(left + self.later / rate)} for all)" if self.later else ""
        return f"{clock(left)} to go{after}", f"{speed(rate)} seed-steps/s"

    def __enter__(self) -> "CellProgress":
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the line; the last figures stay on the screen."""
        self.bar.stop()
        taken = f" in {clock(self.now() - self.began[0])}" if self.began else ""
        self.say(f"{self.figures or 'stopped'} after {self.step:,} steps{taken}")


def speed(rate: float) -> str:
    """A number a second as people read it: 238k, 1,053k, 640, 9.5."""
    if rate >= 10_000:
        return f"{rate / 1000:,.0f}k"
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"
