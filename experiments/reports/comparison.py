"""Success or scores beside a published table, cell by cell, with a verdict for each number."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table as RichTable

from experiments.faults import ConfigError
from experiments.reports.differences import count_of
from experiments.reports.figures import label_axis
from experiments.reports.formats import percent, scientific_interval, title, write_tables
from experiments.reports.merging import ASIDE
from experiments.reports.published import Number, Page, Table, table, tables
from experiments.reports.results import CellResult, FinishedRun, write_csv
from experiments.reports.scores import has_untrained, printed, scores_of
from experiments.settings.config import axis_path, config_at, has, leaves, override, split_overrides
from experiments.settings.grid import axes_of, cells
from experiments.settings.pages import load
from nalu_jax import stats
from nalu_jax.stats import Count, Interval, Verdict
from nalu_jax.tasks.operations import OPERATIONS, sign
from nalu_jax.tasks.ranges import Range

NAN = math.nan
# What else is compared, of solved seeds: the published metric, its heading, our column and the estimate from it.
MEANS = {
    "solved_at_median": ("solved at, median", "solved_at", stats.median),
    "solved_at_mean": ("solved at, mean", "solved_at", stats.solved_at_mean),
    "sparsity_error_mean": ("sparsity error, mean", "sparsity_error", stats.sparsity_error_mean),
}
ABOUT = "ours beside {authors} {year} (arXiv {arxiv}), {place}: {title}"
CAPTIONS = {
    "success": f"Share of seeds that are solved at their best evaluation, {ABOUT}. Brackets: 95 % intervals; p is that of "
    "Fisher's exact test. {remarks}",
    "score": f"Scores, {ABOUT}. 100 times the error over that of untrained networks; ours: the median over seeds [its 95 % "
    "interval], and the best seed. Agrees: the interval of our median reaches the published number, give or take one in its "
    "last digit. Differs: all our seeds lie on one side of it. Undecided: some seeds reach it, and the median does not. "
    "{remarks}",
}
AT_A_GLANCE = "Share of seeds that are solved: ours (published), in bold where they differ."
OF_MEANS = (
    "Of solved seeds. The verdict says whether our 95 % interval covers the published number, give or take half a unit of "
    "its last digit; it has an interval of its own."
)


class Compared(NamedTuple):
    """A number of ours beside the published one, None if there is none."""

    axes: dict[str, Any]
    what: str
    ours: Interval
    seeds: int
    published: Number | None
    verdict: Verdict
    best: float = NAN  # of scores, that of the best seed


def write_comparison(run: FinishedRun, folder: Path, name: str) -> None:
    """Writes comparison.{csv,md,tex}: the cells of a run beside a published table."""
    found = compared(run, name)
    write_csv(folder / "comparison.csv", map(as_row, found))
    first, means = main_rows(found), [formatted(one) for one in found if one.what not in CAPTIONS]
    written = [(first, caption(run, tables()[name], found[0].what))] + ([(means, OF_MEANS)] if means else [])
    short = at_a_glance(found)
    write_tables(folder / "comparison", ([(short, AT_A_GLANCE)] if short else []) + written)


def at_a_glance(found: list[Compared]) -> list[dict[str, str]]:
    """A column for each operation of a grid over several, and a row for what else tells cells apart: 52 % (62 %)."""
    rates = [one for one in found if one.what == "success" and "operation" in one.axes]
    present = dict.fromkeys(one.axes["operation"] for one in rates)
    operations = sorted(present, key=lambda name: list(OPERATIONS).index(name) if name in OPERATIONS else len(OPERATIONS))
    rows: dict[str, dict[str, str]] = {}
    for one in rates if len(operations) > 1 else []:
        others = {axis: label_axis(axis, value) for axis, value in one.axes.items() if axis != "operation"}
        row = rows.setdefault(repr(others), others | {sign(operation): "" for operation in operations})
        theirs = f"{100 * one.published.value:.0f} %" if one.published else "–"
        text = f"{100 * one.ours.estimate:.0f} % ({theirs})"
        row[sign(one.axes["operation"])] = f"**{text}**" if one.verdict.word == stats.DIFFERS else text
    return list(rows.values())


def screen(run: FinishedRun, name: str) -> RichTable:
    """The success rates or scores beside the published ones, for the terminal."""
    shown = RichTable(box=None, header_style="bold", pad_edge=False)
    rows = main_rows(compared(run, name))
    for heading in rows[0]:
        if heading != "note":
            shown.add_column(heading, justify="right" if heading in ("ours", "best seed", "published") else "left")
    for row in rows:
        shown.add_row(*(text for heading, text in row.items() if heading != "note"))
    return shown


def main_rows(found: list[Compared]) -> list[dict[str, str]]:
    """The rows of the table that all cells are in."""
    return [formatted(one) for one in found if one.what in CAPTIONS]


def compared(run: FinishedRun, name: str) -> list[Compared]:
    """The numbers of all cells of a run that can be held against a table: success rates, or else scores.

    Raises ConfigError for a table that is not known, that has neither, or that is of another task, and for a run of which
    there are none.
    """
    if (metric := comparable(name)) is None:
        known = ", ".join(filter(comparable, tables()))
        raise ConfigError(f"{name} has no success rates or scores to compare with; these have: {known}")
    of_run = run.cells[0].cell.config.task.name
    of_table = {load(page.config).task.name for page in tables()[name].pages}
    if of_run not in of_table:
        raise ConfigError(f"{name} is of the task {' and '.join(sorted(of_table)) or 'of no page'}, the run of {of_run}")
    found = COMPARABLE[metric](run, name)
    if not found:
        raise ConfigError(f"{name} has success rates, and no cell of {run.folder} has a threshold of success")
    return found


def comparable(name: str) -> str | None:
    """What a table is compared by: success rates, or else scores; those too that it shows in a picture and puts into words.

    Raises ConfigError for a table that is not known.
    """
    metrics = {number.metric for number in table(name)}
    return next((metric for metric in COMPARABLE if metric in metrics), "success_rate" if tables()[name].says else None)


def rates(run: FinishedRun, name: str) -> list[Compared]:
    """The success rates of the cells that have a threshold, and what else they have in common with the table."""
    return [one for result in run.cells if result.threshold for one in numbers_of(result, name)]


def scores(run: FinishedRun, name: str) -> list[Compared]:
    """The scores of all cells. Raises ConfigError for a run that has none, or that another report scores."""
    if "scores" not in run.config.reports:
        raise ConfigError(f"{name} holds scores, and the page of this run does not name the report that makes them, scores")
    if "interpolation_range" in run.axes or not has_untrained(run):
        raise ConfigError(
            f"{name} holds scores, which need the errors of untrained networks (in result.json of each cell) and a grid "
            f"without ranges: {run.folder} has not both"
        )
    return [score_of(result, metric, name) for result in run.cells for metric in result.task.columns]


COMPARABLE = {"success_rate": rates, "score": scores}  # what a table may hold, the first that it does is compared


def score_of(result: CellResult, metric: str, name: str) -> Compared:
    """The score of a cell by one of its errors, beside the published one of the range of its heading."""
    about = {"range": title(result.task.columns[metric]), "task": result.cell.config.task.name}
    axes = {axis: value for axis, value in result.axes.items() if value != ""} | {"range": about["range"]}
    ours, number = (
        scores_of(result.seeds[metric], result.result["untrained"][metric]),
        number_for(result, name, "score", about),
    )
    return Compared(axes, "score", stats.median(ours), ours.size, number, judged(ours, number), float(ours.min()))


def judged(scores: np.ndarray, number: Number | None) -> Verdict:
    """Whether scores f64[seeds] agree with a published one, of which no interval is known.

    It may be a median, the best, or one seed: "agrees" if the interval of our median reaches it, "differs" if all seeds lie
    on one side, else "undecided". It is printed rounded or cut, so that it is known to one in its last digit.
    """
    if number is None:
        return Verdict(stats.NOT_PUBLISHED)
    digit = 10.0 ** -len(number.printed.partition(".")[2])
    lowest = -math.inf if number.bound == "<" else number.value - (0 if number.bound else digit)
    highest = math.inf if number.bound == ">" else number.value + (0 if number.bound else digit)
    if (middle := stats.median(scores)).low <= highest and middle.high >= lowest:
        return Verdict(stats.AGREES)
    return Verdict(stats.UNDECIDED if scores.min() <= highest and scores.max() >= lowest else stats.DIFFERS)


def numbers_of(result: CellResult, name: str) -> list[Compared]:
    """The success rate of a cell, and what else it has in common with the table."""
    axes, solved = {axis: value for axis, value in result.axes.items() if value != ""}, count_of(result)
    number = number_for(result, name, "success_rate")
    theirs = Count(round(number.value * number.seeds), number.seeds) if number and number.seeds else None
    rate = stats.success_rate(*solved)
    found = [Compared(axes, "success", rate, solved.seeds, number, stats.agrees(solved, theirs))]
    for metric, (heading, column, estimate) in MEANS.items():
        values, number = result.seeds[column][result.solved], number_for(result, name, metric)
        values = values[np.isfinite(values)]  # networks that declare no weights have no sparsity error
        ours = estimate(values) if values.size else Interval(NAN, NAN, NAN)
        if number is not None and not math.isnan(ours.estimate):
            verdict = stats.covers(ours, number.value, number.rounding)
            found.append(Compared(axes, heading, ours, solved.successes, number, verdict))
    return found


def number_for(result: CellResult, name: str, metric: str, about: dict[str, str] | None = None) -> Number | None:
    """The published number of a cell: the one whose axes are all as the cell has them, or as ``about`` has."""

    def fits(axis: str, text: str) -> bool:
        return about[axis] == text if about and axis in about else has_value(result, axis, text)

    numbers = (number for number in table(name) if number.metric == metric)
    return next((number for number in numbers if all(fits(axis, text) for axis, text in number.axes.items())), None)


def has_value(result: CellResult, axis: str, text: str) -> bool:
    """Whether a cell has a value on an axis, in its config where the run's grid has no such axis."""
    config = result.cell.config
    try:
        path = axis_path(config, axis)
    except ConfigError:
        return False
    value = config_at(config, path) if has(config, path) else None
    if isinstance(value, tuple):
        return str(Range(value)) == text
    if isinstance(value, float | int) and not isinstance(value, bool):
        return value == float(text)
    return str(value) == text


def as_row(one: Compared) -> dict[str, Any]:
    """A row of comparison.csv."""
    number, names = one.published, ("published", "published_low", "published_high", "published_seeds", "note")
    theirs = (number.value, number.low, number.high, number.seeds, number.note) if number else [None] * len(names)
    ours = {"ours": one.ours.estimate, "ours_low": one.ours.low, "ours_high": one.ours.high, "seeds": one.seeds}
    verdict = {"verdict": one.verdict.word, "p": one.verdict.p} | ({} if math.isnan(one.best) else {"best": one.best})
    return {**one.axes, "what": one.what, **ours, **dict(zip(names, theirs, strict=True)), **verdict}


def formatted(one: Compared) -> dict[str, str]:
    """A row as the tables show it."""
    number, theirs = one.published, "–"
    if number is not None:
        theirs = number.bound + told(one.what, Interval(number.value, number.low, number.high), number.seeds)
    axes = {axis: label_axis(axis, value) for axis, value in one.axes.items()}
    what = {} if one.what in CAPTIONS else {"of solved seeds": one.what}
    ours = {"ours": told(one.what, one.ours, one.seeds)} | ({"best seed": printed(one.best)} if one.what == "score" else {})
    return {**axes, **what, **ours, "published": theirs, "verdict": str(one.verdict), "note": number.note if number else ""}


def told(what: str, value: Interval, seeds: int | None) -> str:
    """An estimate with its interval, as far as it has one, and the number of seeds."""
    if what == "score":
        return printed(value.estimate) + ("" if math.isnan(value.low) else f" [{printed(value.low)}, {printed(value.high)}]")
    if what != "success":
        return scientific_interval(*value)
    text = f"{100 * value.estimate:.0f} %" if math.isnan(value.low) else percent(value)
    return f"{text} of {seeds}" if seeds else text


def caption(run: FinishedRun, published: Table, what: str) -> str:
    """What the table is, what to know of it, and in which fields the run differs from the page that repeats it."""
    said = f"The paper has a picture of them, and says: {published.says}" if published.says else ""
    remarks = [said, published.remark, published.missing, *(changes(run, page) for page in published.pages[:1])]
    sentences = " ".join(f"{remark.rstrip('.')}." for remark in remarks if remark)
    about = published.paper._asdict() | {"place": published.place, "title": published.title}
    return CAPTIONS[what].format(**about, remarks=sentences).strip()


def changes(run: FinishedRun, page: Page) -> str:
    """The fields in which cells of a run differ from those of a page, other than in number and order of seeds."""
    config = load(page.config)
    override(config, split_overrides(list(page.overrides))[0])
    axes, found = axes_of(config), {}
    theirs = {repr([cell.axes.get(axis, "") for axis in axes]): dict(leaves(cell.config)) for cell in cells(config)}
    for result in run.cells:
        ours = dict(leaves(result.cell.config))
        for path, value in theirs.get(repr([result.axes.get(axis, "") for axis in axes]), {}).items():
            if path.partition(".")[0] not in ASIDE and ours.get(path) != value:
                found.setdefault(path, f"{path} {ours.get(path)} instead of {value}")
    return f"Other than published: {', '.join(found.values())}" if found else ""
