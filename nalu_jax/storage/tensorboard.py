"""TensorBoard's view of a run: bands over seeds, settings and results, pictures."""

import contextlib
import math
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

from nalu_jax.registry import WRITERS

# TensorBoard's server keeps a thousand points a tag and drops others at random.
POINTS = 1000
FLUSH_SECONDS = 5.0


@WRITERS.register("tensorboard")
class TensorBoard:
    """A folder's event files: a view of the metrics file that can be made anew from it at any time.

    The events go into ``events``, by default the folder itself: TensorBoard calls a run by the path of its events. Making
    the view first removes the event files that are there, and those of the folder. Events are written by the calling thread:
    tensorboardX's SummaryWriter has a thread of its own, and waits for it for ever once a full disk has ended it. If the
    disk is full here, ``say`` is told so once, the view ends, and training goes on.

    ``every`` thins the rows. Of ``errors``, metrics that span many orders of magnitude, logarithms are shown, and the
    numbers as they are behind them. Under "Custom scalars" each metric has a chart of its median with a band of quartiles.
    """

    def __init__(
        self,
        folder: Path,
        *,
        every: int = 1,
        errors: Collection[str] = (),
        say: Callable[[str], None],
        events: Path | None = None,
    ):
        events = folder if events is None else events
        self.every = every
        self.errors = errors
        self.say = say
        self.rows = 0
        self.flushed = time.monotonic()
        self.events: EventsWriter | None = None
        with self.or_without():
            events.mkdir(parents=True, exist_ok=True)
            for old in (old for place in {folder, events} for old in place.glob("events.out.tfevents.*")):
                old.unlink()
            self.events = EventsWriter(str(events / "events"), f".{os.getpid()}")

    def row(self, row: dict[str, Any], *, last: bool = False) -> None:
        """Shows a row of the metrics file."""
        if self.rows == 0:
            # TensorBoard shows the charts in reverse: what counts, the extrapolation error, first.
            bands = {
                name: ["Margin", [f"{name}/{q}" for q in ("median", "q25", "q75")]]
                for name in reversed(band_names(row, self.errors))
            }
            self.write(row["step"], [summary.custom_scalars({"median and quartiles over seeds": bands})])
        if self.rows % self.every == 0 or last:
            self.write(row["step"], [summary.scalar(tag, value) for tag, value in scalars(row, self.errors)])
        self.rows += 1

    def image(self, tag: str, pixels: np.ndarray, step: int) -> None:
        """Shows a picture, uint8[height, width, 3]."""
        self.write(step, [summary.image(tag, pixels, dataformats="HWC")])

    def png(self, tag: str, payload: bytes, step: int) -> None:
        """Shows a picture, the bytes of a PNG file."""
        width, height = (int.from_bytes(payload[at : at + 4]) for at in (16, 20))  # the first chunk, IHDR, begins with them
        picture = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=payload)
        self.write(step, [Summary(value=[Summary.Value(tag=tag, image=picture)])])

    def text(self, tag: str, markdown: str, step: int) -> None:
        """Shows a text, in Markdown."""
        self.write(step, [summary.text(tag, markdown)])

    def curves(self, curves: Mapping[str, Iterable[tuple[int, float]]]) -> None:
        """Shows curves: by tag, the steps and the values of their points."""
        for tag, points in curves.items():
            for step, value in points:
                self.write(step, [summary.scalar(tag, value)])

    def hparams(self, hparams: dict[str, Any], results: dict[str, float], step: int) -> None:
        """Shows the settings and the results of the run in the table "HParams"."""
        for described in summary.hparams(hparams, results):
            self.write(step, [described])
        self.write(step, [summary.scalar(tag, value) for tag, value in results.items()])

    def write(self, step: int, summaries: list[Summary]) -> None:
        """Writes summaries as one event, and now and then what has gathered to the disk."""
        values = [value for part in summaries for value in part.value]
        event = Event(wall_time=time.time(), step=step, summary=Summary(value=values))
        with self.or_without():
            if self.events is not None:
                self.events.write_event(event)
                if time.monotonic() - self.flushed > FLUSH_SECONDS:
                    self.events.flush()
                    self.flushed = time.monotonic()

    def close(self) -> None:
        """Brings everything to the disk."""
        events, self.events = self.events, None
        with self.or_without():
            if events is not None:
                events.close()

    @contextlib.contextmanager
    def or_without(self) -> Iterator[None]:
        """Ends the view, saying so, if it cannot be written."""
        try:
            yield
        except OSError as error:
            events, self.events = self.events, None
            with contextlib.suppress(OSError):
                if events is not None:
                    events.close()
            self.say(f"TensorBoard's event file cannot be written ({error.strerror}); training goes on without it")


def band_names(row: dict[str, Any], errors: Collection[str]) -> list[str]:
    """The quantities that are drawn as bands: errors by their logarithms, since they span twenty orders of magnitude."""
    names = [name for name, value in row.items() if isinstance(value, dict)]
    return [f"log10_{name}" if name in errors else name for name in names]


def scalars(row: dict[str, Any], errors: Collection[str]) -> Iterator[tuple[str, float]]:
    """The numbers of a row under TensorBoard's tags: quartiles, of errors also their logarithms, and rates of seeds.

    TensorBoard sorts tags by name: errors as they are, which are called raw, come behind their logarithms.
    """
    for name, value in row.items():
        if isinstance(value, dict):
            numbers = {q: number for q, number in value.items() if number is not None}
            yield from ((f"{'raw_' if name in errors else ''}{name}/{q}", number) for q, number in numbers.items())
            if name in errors:
                yield from ((f"log10_{name}/{q}", log10(number)) for q, number in numbers.items())
        elif name not in ("step", "seeds"):
            yield f"seeds/{name}", value / row["seeds"]


def log10(error: float) -> float:
    """The logarithm of an error, of 0 that of 1e-30."""
    return math.log10(max(error, 1e-30))
