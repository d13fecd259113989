"""The pages of the site on experiments: what each claims, how it is run, what was measured, what was published.

    python scripts/document_experiments.py             # the names of the pages
    python scripts/document_experiments.py NAME        # one of them, as Markdown

All of it is read: the claim and the result from results/README.md, the rest from the docstrings in configs/ and from
experiments/published/. Links are relative to results/, as those of results/README.md are.
"""

import ast
import re
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from experiments.reports.published import Table, tables  # noqa: E402

HOME = "results/README.md"
ROW = re.compile(r"^\| \[`(?P<name>\w+)`\]\(#\w+\) \| `(?P<command>.*?)`.*? \| (?P<machine>.*?) \| (?P<took>.*?) \|$", re.M)
INDENTED = re.compile(r"(?:^(?:  .*)?\n)*^  .*(?:\n|$)", re.M)


class Experiment(NamedTuple):
    """An experiment: a config page with a preset, and what results/README.md says of it."""

    name: str
    config: str  # the name of its page in configs/
    preset: str
    command: str
    took: str  # "16 minutes", or what the page says
    machine: str = ""  # of the measurement, "" where there is none
    claim: str = ""  # the paragraph that its section begins with
    result: str = "Nothing that was measured is kept here yet."


def experiments() -> list[Experiment]:
    """Every experiment of results/README.md, in the order of its table, and then the config pages that it does not mention.

    Raises KeyError for a row of the table that has no section.
    """
    text = (ROOT / HOME).read_text(encoding="utf-8")
    sections = sections_of(text)
    found = [measured(row.groupdict(), sections[row["name"]]) for row in ROW.finditer(text)]
    known = {one.config for one in found}
    return found + [unmeasured(path.stem) for path in sorted((ROOT / "configs").glob("*.py")) if path.stem not in known]


def measured(row: dict[str, str], section: str) -> Experiment:
    """The experiment of a row of results/README.md and its section."""
    found = re.search(r"--config=(?:configs/)?(\w+)(?:\.py)?:?(\w*)", row["command"])
    if found is None:
        raise ValueError(f"{HOME}: the command of {row['name']} names no config: {row['command']}")
    claim, _, result = section.partition("\n\n")
    return Experiment(**row, config=found[1], preset=found[2], claim=claim, result=result)


def unmeasured(config: str) -> Experiment:
    """The experiment of a config page of which results/README.md says nothing."""
    command, took = (field(docstring_of(config), name) for name in ("Command", "Time"))
    return Experiment(config, config, "", command, took)


def sections_of(text: str) -> dict[str, str]:
    """The sections of a page by their headings of the second level."""
    parts = re.split(r"^## (.+)\n", text, flags=re.M)
    return {heading: body.strip() for heading, body in zip(parts[1::2], parts[2::2], strict=True)}


def docstring_of(config: str) -> str:
    """What a config page says of itself."""
    return ast.get_docstring(ast.parse((ROOT / "configs" / f"{config}.py").read_text(encoding="utf-8"))) or ""


def first_line(config: str) -> str:
    """What a config page says of itself in a line."""
    return docstring_of(config).partition("\n")[0]


def field(docstring: str, name: str) -> str:
    """What follows "Name:" at the start of a line, or nothing."""
    found = re.search(rf"^{name}: +(.*?)(?:   .*)?$", docstring, re.M)
    return found[1] if found else ""


def label(name: str) -> str:
    """The name of an experiment for a person: "MNIST counting" for mnist_counting."""
    words = name.replace("_", " ").replace("mnist", "MNIST")
    return words[0].upper() + words[1:]


def pages() -> dict[str, str]:
    """All pages by name, the first of which is "index"."""
    known = experiments()
    return {"index": contents(known)} | {one.name: page(one, known) for one in known}


def contents(known: list[Experiment]) -> str:
    """The first page: the introduction of results/README.md and a line an experiment."""
    _, introduction, _ = (ROOT / HOME).read_text(encoding="utf-8").split("\n\n", 2)
    head = ["# Experiments", "", introduction, "", "| experiment | what it is | time |", "|---|---|---|"]
    rows = [f"| [{label(one.name)}](#{one.name}) | {first_line(one.config)} | {one.took} |" for one in known]
    return "\n".join([*head, *rows, ""])


def page(one: Experiment, known: list[Experiment]) -> str:
    """The page of an experiment. Of several with one config the first alone has the docstring of the config."""
    first = one == next(other for other in known if other.config == one.config)
    parts = [
        f"# {label(one.name)}",
        f"*{first_line(one.config)}*",
        one.claim,
        facts(one),
        "## Result",
        one.result,
        *tables_beside(one),
    ]
    if first:
        parts += ["## Setup", markdown(docstring_of(one.config))]
    if repeated := [table for table in tables().values() if repeats(one, table, known, first=first)]:
        parts += ["## Published", "\n".join(bullet(table) for table in repeated)]
    return "\n\n".join(part for part in parts if part) + "\n"


def facts(one: Experiment) -> str:
    """How to run an experiment, as a table."""
    preset = f", preset `{one.preset}`" if one.preset else ""
    rows = {
        "command": f"`{one.command}`",
        "time": one.took,
        "measured with": one.machine,
        "config": f"[configs/{one.config}.py](../configs/{one.config}.py){preset}",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items() if value)])


def tables_beside(one: Experiment) -> list[str]:
    """The tables that a result links to, where it shows none itself."""
    if "\n|" in one.result:
        return []
    files = [ROOT / "results" / path for path in re.findall(r"\]\(([\w/]+\.md)\)", one.result)]
    return [part for file in files for part in (f"### {file.name}", file.read_text(encoding="utf-8").strip())]


def markdown(docstring: str) -> str:
    """A docstring as Markdown, without its first line and what its page shows elsewhere; what is indented stays as it is."""
    text = docstring.partition("\n")[2]
    text = re.sub(r"^(Time|Command): .*\n?", "", text, flags=re.M)
    text = re.sub(r"[;.]\s+results/README\.md\s+has[^.]*\.", ".", text)
    return INDENTED.sub(lambda found: "\n```text\n" + found[0].strip("\n") + "\n```\n", text).strip()


def repeats(one: Experiment, table: Table, known: list[Experiment], *, first: bool) -> bool:
    """Whether a published table is that of an experiment: of its preset, or, of the first, of one that has no page."""
    own = f"{one.config}:{one.preset}" if one.preset else one.config
    others = {f"{other.config}:{other.preset}" for other in known if other.preset and other != one}
    of_config = {run.config for run in table.pages if run.config.partition(":")[0] == one.config}
    return own in of_config or (first and bool(of_config - others))


def bullet(table: Table) -> str:
    """A published table in a line: where it stands, what repeats it, and what is to be known of it."""
    paper = (
        f"{table.paper.authors} {table.paper.year} ([arXiv {table.paper.arxiv}](https://arxiv.org/abs/{table.paper.arxiv}))"
    )
    command = f"`python -m experiments.reproduce {table.name}`"
    return f"- **{table.title}**: {paper}, {table.place}. {command}. {table.missing} {table.remark}".rstrip()


if __name__ == "__main__":
    print(pages()[sys.argv[1]] if sys.argv[1:] else "\n".join(pages()))
