"""What was published: tables and figures of the papers, number by number, and what reproduces them here.

The numbers are in ``experiments/published/``, a CSV a table, and what each table is in its ``index.toml``.
"""

import csv
import functools
import math
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from experiments.faults import ConfigError
from nalu_jax.registry import nearest

FOLDER = Path(__file__).parent.parent / "published"
VALUES = ("metric", "value", "low", "high", "seeds", "note")  # columns of a CSV that are no axes
# The models of Trask et al. 2018 as units and cells are called here.
MODELS = {
    "LSTM": {"cell": "lstm"},
    "GRU": {"cell": "gru"},
    "RNN-tanh": {"cell": "rnn_tanh"},
    "RNN-ReLU": {"cell": "rnn_relu"},
    "NAC": {"unit": "nac"},
    "NALU": {"unit": "nalu"},
    "Random": {"unit": "untrained"},
    "LSTM + NAC": {"cell": "lstm"},
    "LSTM + NALU": {"cell": "lstm"},
    "LSTM, last state": {"cell": "lstm"},
    "LSTM, summed states": {"cell": "lstm"},
}


class Paper(NamedTuple):
    """A paper that numbers are from."""

    authors: str
    title: str
    year: int
    arxiv: str


class Page(NamedTuple):
    """A config page with its preset, as ``--config`` takes it, and flags."""

    config: str
    overrides: tuple[str, ...]


class Table(NamedTuple):
    """A published table or figure."""

    name: str
    paper: Paper
    place: str  # where it stands in the paper
    title: str
    kind: str  # printed, digitised, text, recomputed, or picture: of a picture there are no numbers
    unit: str  # of its numbers
    seeds: int | None  # of each number, where the paper states one
    pages: tuple[Page, ...]  # what reproduces it
    missing: str  # what stands in the way of a repetition
    remark: str  # what to know before comparing
    says: str  # what the paper says of a picture in words


class Number(NamedTuple):
    """A published number: what it is about by our names, and how it is printed.

    The value is NaN where only a range is known, which is then ``low`` to ``high``; these are otherwise the ends of the
    printed 95 % interval, NaN without one. A bound "<" or ">" says that the number is below or above the value.
    """

    axes: dict[str, str]  # unit, operation, ...
    metric: str
    printed: str
    value: float
    bound: str
    low: float
    high: float
    seeds: int | None
    note: str  # what is known to be wrong with it

    @property
    def rounding(self) -> float:
        """Half a unit of its last printed digit. Of a whole number two digits count at least: 1000000 stands for 1.0e6."""
        mantissa, _, exponent = self.printed.lstrip("<>-").partition("e")
        whole, _, decimals = mantissa.partition(".")
        zeros = 0 if decimals else min(len(whole) - len(whole.rstrip("0")), max(len(whole) - 2, 0))
        return 0.5 * 10.0 ** (zeros - len(decimals) + int(exponent or 0))


@functools.cache
def tables() -> dict[str, Table]:
    """All published tables and figures by name, in the order of the index."""
    found = index()
    papers = {name: Paper(**paper) for name, paper in found["papers"].items()}
    return {name: table_of(name, papers[entry["paper"]], entry) for name, entry in found["tables"].items()}


@functools.cache
def table(name: str) -> tuple[Number, ...]:
    """The numbers of a table; none of a picture. Raises ConfigError for a table that is not known."""
    known = tables()
    if name not in known:
        raise ConfigError(f"there is no published table {name!r}{nearest(name, known)} Known: {', '.join(known)}.")
    if known[name].kind == "picture":
        return ()
    entry, numbers = index()["tables"][name], []
    for row in published(name):
        numbers += numbers_of(row, entry["wide"]) if "wide" in entry else [number_of(row)]
    notes = entry.get("notes", ())
    return tuple(with_notes(number._replace(seeds=number.seeds or known[name].seeds), notes) for number in numbers)


def published(name: str) -> list[dict[str, str]]:
    """The rows of a table's CSV, as they stand there."""
    with open(FOLDER / f"{name}.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@functools.cache
def index() -> dict[str, Any]:
    """The index of all papers and tables, as it stands in its file."""
    with open(FOLDER / "index.toml", "rb") as file:
        return tomllib.load(file)


def table_of(name: str, paper: Paper, entry: dict[str, Any]) -> Table:
    """The table of an entry of the index."""
    pages = tuple(Page(config, tuple(overrides)) for config, *overrides in entry.get("pages", ()))
    missing, remark, says = (" ".join(entry.get(field, "").split()) for field in ("missing", "remark", "says"))
    place, title, kind, unit = (entry[field] for field in ("place", "title", "kind", "unit"))
    return Table(name, paper, place, title, kind, unit, entry.get("seeds"), pages, missing, remark, says)


def number_of(row: dict[str, str]) -> Number:
    """The number of a row that has one."""
    axes = {axis: text for axis, text in row.items() if axis not in VALUES and text}
    text, low, high = (row.get(column, "") for column in ("value", "low", "high"))
    seeds = int(row["seeds"]) if row.get("seeds") else None
    return Number(axes, row["metric"], text, read(text), bound(text), read(low), read(high), seeds, row.get("note", ""))


def numbers_of(row: dict[str, str], wide: dict[str, Any]) -> Iterator[Number]:
    """The numbers of a row that has several; what it is about is in the columns ``wide["axes"]``."""
    about = {axis: row[axis] for axis in wide["axes"] if row[axis]}
    about = MODELS[about.pop("model")] | about if "model" in about else about
    for column, text in row.items():
        if column not in wide["axes"]:
            itself = column in wide.get("metrics", ())
            axes = about if itself else about | {wide["across"]: column}
            metric = column if itself else wide["metric"]
            yield number_of(axes | {"metric": metric, "value": text})


def with_notes(number: Number, notes: Any) -> Number:
    """The number with the notes of the index that are about it."""
    about = number.axes | {"metric": number.metric}
    texts = [note["note"] for note in notes if note["at"].items() <= about.items()]
    return number._replace(note="; ".join(filter(None, [number.note, *texts])))


def bound(printed: str) -> str:
    """The sign before a printed number, "<" or ">"; none: ""."""
    return printed[0] if printed[:1] in ("<", ">") else ""


def read(printed: str) -> float:
    """A printed number, without the sign before it; NaN of an empty text."""
    return float(printed.lstrip("<>")) if printed else math.nan
