"""What a run leaves behind while it trains: the metrics file, which is the record, and TensorBoard's view of it."""

import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nalu_jax.stats import quantiles

BAND = ("q25", "median", "q75")
# TensorBoard's server keeps a thousand points a tag and drops others at random.
TENSORBOARD_POINTS = 1000


def summarise(step: int, metrics: dict[str, np.ndarray]) -> dict[str, Any]:
    """One row of the metrics file: counts of seeds for yes-or-no metrics, quartiles over seeds for numbers.

    A diverged seed counts as the worst of all; a quartile that falls on one is None.
    """
    row: dict[str, Any] = {"step": step, "seeds": len(metrics["diverged"])}
    for name, values in sorted(metrics.items()):
        if values.dtype == bool:
            row[name] = int(values.sum())
        else:
            numbers = quantiles(values)
            row[name] = {q: number if math.isfinite(number) else None for q, number in zip(BAND, numbers, strict=True)}
    return row


class MetricsFile:
    """A file of JSON rows, one an evaluation, that is only ever appended to."""

    def __init__(self, path: Path):
        self.path = path

    def append(self, row: dict[str, Any]) -> None:
        """Adds a row in one write. OSError if it cannot be written."""
        with open(self.path, "ab") as file:
            file.write(json.dumps(row, allow_nan=False).encode() + b"\n")

    def sync(self) -> int:
        """Makes all rows durable, and returns how many bytes they are."""
        if not self.path.exists():
            return 0
        with open(self.path, "rb") as file:
            os.fsync(file.fileno())
        return self.path.stat().st_size

    def cut(self, size: int) -> None:
        """Drops all that was written after the first ``size`` bytes. OSError if there is less."""
        found = self.path.stat().st_size if self.path.exists() else 0
        if found < size:
            raise OSError(f"{self.path} should hold at least {size:,} bytes, but holds {found:,}")
        if found:
            os.truncate(self.path, size)

    def rows(self) -> Iterator[dict[str, Any]]:
        """All rows, from the first."""
        if self.path.exists():
            with open(self.path, "rb") as file:
                yield from (json.loads(line) for line in file)


class TensorBoard:
    """A folder's event files: a view of the metrics file that can be made anew from it at any time.

    Making the view first removes the event files that are there. tensorboardX waits for ever once its writing thread has
    died, of a full disk for instance; ``say`` is then told so once, and training goes on.

    ``every`` thins the rows; under "Custom scalars" each metric has a chart of its median with a band of quartiles.
    """

    def __init__(self, folder: Path, *, every: int, say: Callable[[str], None]):
        from tensorboardX import SummaryWriter

        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        self.every = every
        self.say = say
        self.rows = 0
        self.laid_out = False
        self.writer: Any = SummaryWriter(str(folder), filename_suffix=f".{os.getpid()}", max_queue=10_000, flush_secs=5)

    def row(self, row: dict[str, Any], *, last: bool = False) -> None:
        """Shows a row of the metrics file."""
        if not self.laid_out and self.alive():
            bands = {
                band: ["Margin", [f"{band}/{q}" for q in ("median", "q25", "q75")]] for band in reversed(band_names(row))
            }
            # TensorBoard shows the charts in reverse: what counts, the extrapolation error, first.
            self.writer.add_custom_scalars({"median and quartiles over seeds": bands})
            self.laid_out = True
        if (self.rows % self.every == 0 or last) and self.alive():
            for tag, value in scalars(row):
                self.writer.add_scalar(tag, value, row["step"])
        self.rows += 1

    def image(self, tag: str, pixels: np.ndarray, step: int) -> None:
        """Shows a picture, uint8[height, width, 3]."""
        if self.alive():
            self.writer.add_image(tag, pixels, step, dataformats="HWC")

    def hparams(self, hparams: dict[str, Any], results: dict[str, float], step: int) -> None:
        """Shows the settings and the results of the run in the table "HParams"."""
        from tensorboardX.summary import hparams as summaries

        if self.alive():
            # add_hparams would make a run of its own for this.
            for summary in summaries(hparams, results):
                self.writer.file_writer.add_summary(summary)
            for tag, value in results.items():
                self.writer.add_scalar(tag, value, step)

    def alive(self) -> bool:
        """Whether events still reach the disk; warns once when they no longer do."""
        if self.writer is None:
            return False
        if not self.writer.file_writer.event_writer._worker.is_alive():
            self.say("TensorBoard's event file cannot be written any more; training goes on without it")
            self.writer = None
            return False
        return True

    def close(self) -> None:
        """Brings everything to the disk."""
        if self.alive():
            self.writer.close()
            self.writer = None


def band_names(row: dict[str, Any]) -> list[str]:
    """The quantities that are drawn as bands: errors by their logarithms, since they span twenty orders of magnitude."""
    names = [name for name, value in row.items() if isinstance(value, dict)]
    return [f"log10_{name}" if name.endswith("_mse") else name for name in names]


def scalars(row: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers of a row under TensorBoard's tags: quartiles, of errors with their logarithms, and rates of seeds."""
    for name, value in row.items():
        if isinstance(value, dict):
            numbers = {q: number for q, number in value.items() if number is not None}
            yield from ((f"{name}/{q}", number) for q, number in numbers.items())
            if name.endswith("_mse"):
                yield from ((f"log10_{name}/{q}", math.log10(max(number, 1e-30))) for q, number in numbers.items())
        elif name not in ("step", "seeds"):
            yield f"seeds/{name}", value / row["seeds"]
