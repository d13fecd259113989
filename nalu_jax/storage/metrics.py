"""The metrics file of a run: the record of its evaluations, which tables, plots and TensorBoard are made from."""

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nalu_jax.stats import quantiles
from nalu_jax.storage.files import sha256

BAND = ("q25", "median", "q75")


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

    def sync(self) -> list[Any]:
        """Makes all rows durable, and returns how many bytes they are and their SHA-256."""
        if not self.path.exists():
            return [0, sha256(b"")]
        with open(self.path, "rb") as file:
            os.fsync(file.fileno())
            content = file.read()
        return [len(content), sha256(content)]

    def check(self, size: int, digest: str) -> None:
        """Raises OSError unless the file begins with ``size`` bytes of this SHA-256."""
        content = self.path.read_bytes()[:size] if self.path.exists() else b""
        if len(content) < size:
            raise OSError(f"{self.path} should hold at least {size:,} bytes, but holds {len(content):,}")
        if sha256(content) != digest:
            raise OSError(f"{self.path} is damaged (the SHA-256 of its first {size:,} bytes differs)")

    def cut(self, size: int) -> None:
        """Drops all that was written after the first ``size`` bytes."""
        if self.path.exists():
            os.truncate(self.path, size)

    def rows(self) -> Iterator[dict[str, Any]]:
        """All rows, from the first. OSError, naming the file and the line, if one is damaged."""
        if self.path.exists():
            with open(self.path, "rb") as file:
                for number, line in enumerate(file, 1):
                    try:
                        yield json.loads(line)
                    except ValueError as error:
                        raise OSError(f"{self.path}, line {number}, is damaged ({error})") from error
