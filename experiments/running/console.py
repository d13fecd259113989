"""Progress at the terminal: a live line for each group of cells, in plain output a line every ten seconds."""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from experiments.reports.formats import of_column, title

PLAIN_EVERY = 10.0  # seconds
Value = TypeVar("Value")


def clock(seconds: float) -> str:
    """Seconds as 1:02:03 or 2:03."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def most_alike(axes: Mapping[str, Any], known: Sequence[tuple[Mapping[str, Any], Value]]) -> list[Value]:
    """What is known of those that have the most values of axes in common."""
    counts = [in_common(axes, other) for other, _ in known]
    return [value for count, (_, value) in zip(counts, known, strict=True) if count == max(counts)]


def in_common(axes: Mapping[str, Any], other: Mapping[str, Any]) -> int:
    """How many axes have the same value in both."""
    return sum(axis in other and other[axis] == value for axis, value in axes.items())


class Line(NamedTuple):
    """Cells that train together, as far as it takes to foresee their time."""

    axes: Mapping[str, Any]  # of the first cell
    seed_steps: int


class Forecast:
    """How long lines take that are to come, by what those took that are done.

    A line takes, for each step of a seed, what those took that have the most values of axes in common with it: units differ
    in speed more than anything else does.
    """

    def __init__(self):
        self.done: list[tuple[Mapping[str, Any], float]] = []  # seconds for each step of a seed

    def note(self, axes: Mapping[str, Any], seconds_each: float) -> None:
        """Takes note of what a line took that is done."""
        self.done.append((axes, seconds_each))

    def seconds(self, later: Sequence[Line], axes: Mapping[str, Any], seconds_each: float) -> float:
        """Seconds of the lines to come, while one of these axes takes so much."""
        known = [*self.done, (axes, seconds_each)]
        return sum(line.seed_steps * fmean(most_alike(line.axes, known)) for line in later)


class CellProgress:
    """The line of cells that train together.

    Args:
      console: the terminal, or the file, that is written to.
      label: the name that the line begins with.
      columns: the metrics that are shown of a cell on its own, with their headings.
      num_steps, num_seeds: steps and seeds of the whole line.
      count_solved: whether there is a threshold, so that solved seeds are counted.
      axes: of the first cell.
      later: the lines that come after it.
      forecast: what was learned from the lines before it, which learns from this one.
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
        axes: Mapping[str, Any] | None = None,
        later: Sequence[Line] = (),
        forecast: Forecast | None = None,
        now: Callable[[], float] = time.monotonic,
    ):
        self.console = console
        self.label = label
        self.num_steps = num_steps
        self.num_seeds = num_seeds
        self.columns = columns
        self.count_solved = count_solved
        self.axes = axes or {}
        self.later = later
        self.forecast = forecast or Forecast()
        self.now = now
        self.began: tuple[float, int] | None = None  # when and at which step the present process took up the cell
        self.printed = self.made = now()
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
        of_several = self.later or self.forecast.done
        after = f" ({clock(left + self.forecast.seconds(self.later, self.axes, 1 / rate))} for all)" if of_several else ""
        return f"{clock(left)} to go{after}", f"{speed(rate)} seed-steps/s"

    def __enter__(self) -> "CellProgress":
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the line; the last figures stay on the screen."""
        self.bar.stop()
        now = self.now()
        taken = f" in {clock(now - self.began[0])}" if self.began else ""
        if self.began and self.step > self.began[1]:
            # From the beginning of the line: what is compiled for it and drawn of it is part of what the next ones take.
            self.forecast.note(self.axes, (now - self.made) / ((self.step - self.began[1]) * self.num_seeds))
        self.say(f"{self.figures or 'stopped'} after {self.step:,} steps{taken}")


def speed(rate: float) -> str:
    """A number a second as people read it: 238k, 1,053k, 640, 9.5."""
    if rate >= 10_000:
        return f"{rate / 1000:,.0f}k"
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"
