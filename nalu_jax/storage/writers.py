"""Where a run may be watched: TensorBoard, or whatever registers itself as a writer."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from nalu_jax.registry import WRITERS


class Writer(Protocol):
    """What shows a cell of a run while it trains: a class registered in ``nalu_jax.registry.WRITERS``.

    It is made with the folder of the cell; ``every``, so many rows of which one is to be shown; ``errors``, the metrics that
    span many orders of magnitude; ``say``, which prints a sentence; and ``events``, a folder whose path in that of the run
    has a short name of the cell, ``tensorboard/inalu/add/lr=1e-4``, for those who name runs by where their files are. Its
    arguments end with ``**others``, as there may be more of them. A run that goes on makes it anew and gives it all rows
    from the first.
    """

    def row(self, row: dict[str, Any], *, last: bool = False) -> None:
        """Shows a row of the metrics file: numbers of seeds, and of each metric its quartiles q25, median and q75."""
        ...

    def image(self, tag: str, pixels: np.ndarray, step: int) -> None:
        """Shows a picture of the finished cell, uint8[height, width, 3]."""
        ...

    def hparams(self, hparams: dict[str, Any], results: dict[str, float], step: int) -> None:
        """Shows the settings and the results of the finished cell."""
        ...

    def close(self) -> None:
        """Brings everything to where it is to be seen."""
        ...


class Writers:
    """Several writers as one. A writer that fails is left out from then on, which ``say`` is told; training goes on."""

    def __init__(
        self,
        names: Collection[str],
        folder: Path,
        *,
        every: int,
        errors: Collection[str],
        say: Callable[[str], None],
        events: Path | None = None,
    ):
        self.say = say
        self.writers: dict[str, Any] = {}
        told = {"every": every, "errors": errors, "say": say} | ({"events": events} if events else {})
        for name in names:
            self.guarded(name, lambda name=name: self.add(name, WRITERS[name](folder, **told)))

    def add(self, name: str, writer: Any) -> None:
        """One writer more."""
        self.writers[name] = writer

    def row(self, row: dict[str, Any], *, last: bool = False) -> None:
        """As ``Writer.row``."""
        self.each(lambda writer: writer.row(row, last=last))

    def image(self, tag: str, pixels: np.ndarray, step: int) -> None:
        """As ``Writer.image``."""
        self.each(lambda writer: writer.image(tag, pixels, step))

    def hparams(self, hparams: dict[str, Any], results: dict[str, float], step: int) -> None:
        """As ``Writer.hparams``."""
        self.each(lambda writer: writer.hparams(hparams, results, step))

    def close(self) -> None:
        """As ``Writer.close``."""
        self.each(lambda writer: writer.close())

    def each(self, call: Callable[[Any], None]) -> None:
        """Calls every writer that has not failed."""
        for name, writer in list(self.writers.items()):
            self.guarded(name, lambda writer=writer: call(writer))

    def guarded(self, name: str, call: Callable[[], None]) -> None:
        """Does something for a writer, and leaves it out if that fails."""
        try:
            call()
        except Exception as error:  # whatever a service of others raises, it must not cost the run
            self.writers.pop(name, None)
            self.say(f"the writer {name!r} fails ({type(error).__name__}: {error}); training goes on without it")
