"""One page, index.html, with all that a run has: its tables and pictures, its config, and the command of every cell.

The page needs nothing but itself, no network and no other file, and runs no code but its own, which its security policy
names by a digest. It is made from the files that the other reports have written, so it comes last.
"""

import base64
import contextlib
import hashlib
import math
import re
import struct
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jinja2
from ml_collections import ConfigDict

from experiments.faults import ConfigError
from experiments.reports import comparison, find
from experiments.reports.commands import command_of_cell, command_of_run, page_of, text_of
from experiments.reports.formats import Table, between, label_heading, label_text, read_tables
from experiments.reports.latex import NOTHING, NUMBER
from experiments.reports.results import CellResult, FinishedRun, read_json
from experiments.settings.pages import shipped
from nalu_jax.storage.files import write_atomic

NAME = "index.html"
FIRST = ("summary", "comparison", "differences")  # sections before those of other reports
TITLES = {"summary": "Results", "comparison": "Beside the published numbers", "differences": "Differences"}
LARGEST_SVG = 300_000  # bytes; of a larger drawing the page has the PNG
LARGE = 24  # rows of a table that scrolls in its own box


def write(run: FinishedRun, folder: Path) -> None:
    """Writes index.html from the Markdown tables and the pictures that stand in the folder.

    The same run and the same files are the same page, wherever the folder is.
    """
    write_atomic(folder / NAME, render(run, folder).encode())


def render(run: FinishedRun, folder: Path) -> str:
    """The text of the page."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("page.html")
    parts = parts_of_run(run)
    told = list(dict.fromkeys(page for page, _ in parts if page))
    return template.render(
        title=" and ".join(told) or run.config.task.name,
        claim=" ".join(dict.fromkeys(map(claim_of, told))),
        facts=facts_of(run),
        times={page: time for page in told if (time := time_of(page))},
        sections=sections_of(run, folder),
        command=command_of_run(run, parts[0][0]) if len(parts) == 1 else "",
        commands=[(name_of(result), command_of_cell(result, page)) for page, part in parts for result in part],
        config=tree_of(run.config),
        environment=environment_of(run.cells),
        policies={block: digest(template, block) for block in ("style", "script")},
    )


def digest(template: jinja2.Template, block: str) -> str:
    """The digest of a block of the template, as the page's security policy names what may run."""
    text = "".join(template.blocks[block](template.new_context()))
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


# What the run is


def parts_of_run(run: FinishedRun) -> list[tuple[str, list[CellResult]]]:
    """The cells by the folder that they were trained in, of merged runs several, with the page of each."""
    found: dict[Path, list[CellResult]] = {}
    for result in run.cells:
        found.setdefault(result.files.path.parent, []).append(result)
    return [(page_of(run._replace(cells=cells), named_page(folder)), cells) for folder, cells in found.items()]


def named_page(folder: Path) -> str:
    """What --config said, as far as the config.json of a run says it."""
    path = folder / "config.json"
    return str(read_json(path, sealed=False).get("page", "")) if path.exists() else ""


def claim_of(page: str) -> str:
    """The first line of a shipped page's docstring, "" of any other."""
    return next((known.line for path, known in shipped().items() if is_of(page, path)), "")


def time_of(page: str) -> str:
    """How long a shipped page says that it takes, "" where it does not."""
    return next((known.time for path, known in shipped().items() if is_of(page, path)), "")


def is_of(page: str, path: str) -> bool:
    """Whether a page, by its name and preset, is in a file."""
    return page.partition(":")[0] == Path(path).stem


def facts_of(run: FinishedRun) -> dict[str, str]:
    """What one should know before looking at numbers."""
    seeds, steps = ([len(r.rows) for r in run.cells], [r.result["steps"] for r in run.cells])
    return {
        "task": run.config.task.name,
        "cells": f"{len(run.cells):,}",
        "seeds a cell": between(seeds),
        "steps": between(steps),
    }


def name_of(result: CellResult) -> str:
    """A cell by its axes."""
    axes = [(axis, str(value)) for axis, value in result.axes.items() if value != ""]
    return ", ".join(label_text(axis, text) if axis in ("unit", "operation") else f"{axis} {text}" for axis, text in axes)


def tree_of(config: Any) -> list[tuple[str, Any]]:
    """A config as nested pairs: name, and value as text or, of a section, its pairs."""
    items = config.items()
    return [(name, tree_of(value) if isinstance(value, ConfigDict) else text_of(value)) for name, value in items]


def environment_of(results: Iterable[CellResult]) -> dict[str, str]:
    """Where the cells were trained, a line a field; of cells that differ all that there are. Empty where it is not known."""
    found: dict[str, dict[str, None]] = {}
    for path in dict.fromkeys(path for result in results for path in config_files(result)):
        for name, value in read_json(path, sealed=False).get("environment", {}).items():
            text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
            found.setdefault("code of the page" if name == "page" else name.replace("_", " "), {})[text] = None
    return {name: "; or ".join(filter(None, texts)) for name, texts in found.items() if any(texts)}


def config_files(result: CellResult) -> list[Path]:
    """The config.json of a cell, or of the parts that its seeds were trained in, as far as they are there."""
    parts = result.parts or (result,)
    return [part.files.config for part in parts if part.files.config.exists()]


# Sections


class Cell(NamedTuple):
    """A cell of a table: what it is sorted by, and its text in parts, each with its HTML element or ""."""

    key: str
    parts: list[tuple[str, str]]
    kind: str = ""  # of verdicts


class Shown(NamedTuple):
    """A table as the page has it."""

    headings: list[list[tuple[str, str]]]
    numeric: list[bool]
    rows: list[list[Cell]]
    caption: list[tuple[str, str]]
    name: str  # for those who hear it

    @property
    def large(self) -> bool:
        """Whether it scrolls in a box of its own."""
        return len(self.rows) > LARGE


class Picture(NamedTuple):
    """A picture within the page."""

    source: str  # data:
    width: int
    height: int
    alt: str
    file: str


class Section(NamedTuple):
    """What one report has to show."""

    name: str
    title: str
    about: str
    tables: list[Shown]
    pictures: list[Picture]


def sections_of(run: FinishedRun, folder: Path) -> list[Section]:
    """The tables and pictures of a folder, by the report that wrote them, in the order of the run's reports."""
    names = list(dict.fromkeys([*FIRST, *run.config.reports]))
    found: dict[str, list[Path]] = {name: [] for name in names}
    for path in sorted(folder.glob("*.*")):
        if path.suffix == ".md" or path == picture_file(folder, path.stem):
            found.setdefault(writer_of(path, names), []).append(path)
    made = [section_of(name, files) for name, files in found.items()]
    return [section for section in made if section.tables or section.pictures]


def section_of(name: str, files: list[Path]) -> Section:
    """The section of a report, from its files."""
    about, title = about_of(name), TITLES.get(name, name.replace("_", " ").capitalize())
    tables = [shown(table, title) for path in files if path.suffix == ".md" for table in read_tables(path)]
    return Section(name, title, about, tables, [picture_of(path, about or title) for path in files if path.suffix != ".md"])


def writer_of(path: Path, names: Iterable[str]) -> str:
    """The report that says, in the docstring of its ``write``, that it writes a file; else the name of the file."""
    kind = "md" if path.suffix == ".md" else "gif" if path.suffix == ".gif" else "png"
    written = re.compile(rf"\b{re.escape(path.stem)}\.(?:{kind}\b|{{[^}}]*\b{kind}\b)")
    told = ((name, report_of(name)) for name in names)
    return next((name for name, report in told if report and written.search(report.write.__doc__ or "")), path.stem)


def report_of(name: str) -> ModuleType | None:
    """The report of a name; None if there is none."""
    with contextlib.suppress(ConfigError, ImportError):
        return find(name)
    return None


def about_of(name: str) -> str:
    """What a report is, the first line of its docstring."""
    report = comparison if name == "comparison" else report_of(name)
    return (report.__doc__ or "").strip().partition("\n")[0] if report else ""


# Tables


def shown(table: Table, name: str) -> Shown:
    """A table as the page has it, with paper names, without empty columns, and with what each column is sorted by."""
    texts = [(name, col) for name, col in zip(table.headings, zip(*table.rows, strict=True), strict=True) if any(col)]
    columns = [[cell_of(name, label_text(name, text)) for text in column] for name, column in texts]
    numeric = [is_numeric(cells) for cells in columns]
    headings = [parts_of_text(label_heading(name)) for name, _ in texts]
    return Shown(headings, numeric, list(map(list, zip(*columns, strict=True))), parts_of_text(table.caption), name)


def cell_of(heading: str, text: str) -> Cell:
    """A cell, from its text in Markdown."""
    key = sort_key(text)
    bold = re.fullmatch(r"\*\*(.+)\*\*", text)
    parts = [("strong", bold[1])] if bold else parts_of_text(text)
    word = text.partition(",")[0].replace(" ", "-")
    return Cell("" if key is None else repr(key), parts, word if heading == "verdict" else "")


def is_numeric(cells: list[Cell]) -> bool:
    """Whether a column is one of numbers: more than half of its cells that say something are, or none says anything."""
    told = [cell for cell in cells if text_in(cell.parts) not in NOTHING]
    return not told or 2 * sum(bool(cell.key) for cell in told) > len(told)


def text_in(parts: list[tuple[str, str]]) -> str:
    """The text of parts together."""
    return "".join(text for _, text in parts)


def sort_key(text: str) -> float | None:
    """The number that a cell begins with, however it is written; None if it begins with none.

    1.1e-06, 97.6 % [96.1, 98.0], **+44 [+18, +63]**, 4,457, U[−2, −1), ∞, 3 of 10; ">999" is a little more than 999. A
    sentence, "13 seeds are ...", is none.
    """
    plain = text.strip("* ").replace("−", "-").removeprefix("U").lstrip("[(")
    if plain.startswith("∞"):
        return math.inf
    match = re.match(rf"([<>≤≥]?)\s*((?>{NUMBER}))(?![\w.]*[A-Za-z]| [A-Za-z]{{3}})", plain)
    if not match:
        return None
    value = float(match[2].replace(",", ""))
    return math.nextafter(value, {"<": -math.inf, ">": math.inf}.get(match[1], value))


# Names with a subscript (NAC•,σ and R_sparse), intervals in brackets after a number.
PARTS = re.compile(r"•(?:,[^\s,]+)?|(?<=\bR)_\w+|(?<=\d) (?:% )?\[[^\]]*\]")


def parts_of_text(text: str) -> list[tuple[str, str]]:
    """A text in parts, each with the HTML element that it stands in, or ""."""
    text = re.sub(r"\$([^$]+)\$", lambda match: re.sub(r"[{}\\]", "", match[1]), text)
    found, end = [], 0
    for match in PARTS.finditer(text):
        part = match.group()
        element = "small" if part.endswith("]") else "sub"
        found += [("", text[end : match.start()]), (element, part.removeprefix("_"))]
        end = match.end()
    return [(element, part) for element, part in (*found, ("", text[end:])) if part]


# Pictures

MEDIA = {".svg": "image/svg+xml", ".png": "image/png", ".gif": "image/gif"}


def picture_file(folder: Path, stem: str) -> Path | None:
    """The picture of a name: its animation, else its drawing unless that is large, else its pixels; None without any."""
    files = [folder / f"{stem}{suffix}" for suffix in (".gif", ".svg", ".png")]
    there = [path for path in files if path.exists() and (path.suffix != ".svg" or path.stat().st_size <= LARGEST_SVG)]
    return there[0] if there else None


def picture_of(path: Path, about: str) -> Picture:
    """A picture within the page, with what it shows in words."""
    data, drawing = path.read_bytes(), path.with_suffix(".svg")
    width, height = size_of(path.suffix, data)
    source = f"data:{MEDIA[path.suffix]};base64,{base64.b64encode(data).decode()}"
    alt = " ".join(filter(None, [about, description(drawing.read_bytes()) if drawing.exists() else ""]))
    return Picture(source, width, height, alt, path.name)


def size_of(suffix: str, data: bytes) -> tuple[int, int]:
    """Width and height of a picture, in pixels; of a drawing those that it has at 150 points an inch."""
    if suffix == ".svg":
        width, height = re.findall(rb'(?:width|height)="([\d.]+)pt"', data)[:2]
        return round(float(width) * 150 / 72), round(float(height) * 150 / 72)
    return struct.unpack(">II", data[16:24]) if suffix == ".png" else struct.unpack("<HH", data[6:10])


def description(svg: bytes) -> str:
    """What a drawing says that it shows."""
    found = ElementTree.fromstring(svg).iter("{http://purl.org/dc/elements/1.1/}description")
    return next((element.text or "" for element in found), "")
