"""Evaluation of programs: the share of matching digits as training goes on, beside the figures of Trask et al. 2018."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, PercentFormatter
from rich.table import Table

from experiments.faults import ConfigError
from experiments.reports.figures import LINES, WIDTH, legend_below, legend_inches, look_of, paper_style, quiet, save
from experiments.reports.formats import bracketed_share, number, seeds_of, spread, write_table
from experiments.reports.published import published
from experiments.reports.results import CellResult, FinishedRun
from nalu_jax.tasks.base import TaskSpec
from nalu_jax.tasks.program_evaluation import SPLITS, ProgramEvaluation

FIGURES = ("trask_2018_figure_6", "trask_2018_figure_4")
LABELS = {"configured_nalu": "NALU", "ugrnn": "UGRNN", "lstm": "LSTM", "dnc": "DNC"}
LOOKS = {"configured_nalu": ("#D55E00", "^"), "ugrnn": ("#0072B2", "s"), "lstm": ("#6A3D9A", "<"), "dnc": ("#595959", "D")}
STYLES = (*LINES, (0, (4, 1.2, 1, 1.2, 1, 1.2)))  # the last with two dots between dashes
TITLES = {"addition": "addition", "sums": "sums and differences", "mixed": "programs"}
CAPTION = (
    "Matching digits of rounded answers, aligned at the units, and exact answers of the test, at the evaluation of a seed "
    "with its lowest validation error: median over {seeds} seeds [lowest, highest]. Trained on numbers of {digits[0]} "
    "digits, validated on {digits[1]}, tested on {digits[2]}. RMSE: of the test. Published: the last points of figures 4 "
    "and 6 of Trask et al. 2018, means of 10 runs, digitised. The NALU is configured by an LSTM."
)


def check(task: TaskSpec) -> None:
    """Raises ConfigError for another task."""
    if not isinstance(task, ProgramEvaluation):
        raise ConfigError("config.reports: programs is of the task program_evaluation alone")


def write(run: FinishedRun, folder: Path) -> None:
    """Writes programs.{md,tex}, a table of final values, and programs.{png,pdf}, curves as the paper's figures 4 and 6."""
    caption = CAPTION.format(seeds=seeds_of(run), digits=task_of(run.cells[0]).digits)
    write_table(folder / "programs", rows(run), caption)
    draw(run, folder)


def screen(run: FinishedRun) -> Table:
    """The table for the terminal."""
    table, found = Table(box=None, header_style="bold", pad_edge=False), rows(run)
    for name in found[0]:
        table.add_column(name, justify="left" if name in ("programs", "cell") else "right")
    for row in found:
        table.add_row(*row.values())
    return table


def task_of(result: CellResult) -> ProgramEvaluation:
    """The task of a cell."""
    assert isinstance(result.task, ProgramEvaluation)
    return result.task


def printed(programs: str) -> list[dict[str, str]]:
    """The digitised points of the paper's figure of these programs: cell, split, step and per cent of digits."""
    return [row for figure in FIGURES for row in published(figure) if row["programs"] == programs]


def rows(run: FinishedRun) -> list[dict[str, str]]:
    """A row a cell, and behind those of the same programs the end of the paper's curves."""
    found: list[dict[str, str]] = []
    for programs in programs_of(run):
        for result in run.cells:
            if task_of(result).programs == programs:
                found.append(row_of(result))
        points = printed(programs)
        for cell in dict.fromkeys(point["cell"] for point in points):
            row = {"programs": TITLES[programs], "cell": f"{LABELS[cell]}, published"}
            last = {point["split"]: f"{float(point['digits']):.1f} %" for point in points if point["cell"] == cell}
            found.append(row | {split: last[split] for split in SPLITS} | {"exact": "–", "RMSE": "–", "solved": "–"})
    return found


def row_of(result: CellResult) -> dict[str, str]:
    """The final values of a cell."""
    seeds = result.seeds
    row = {"programs": TITLES[task_of(result).programs], "cell": label_of(result)}
    row |= {split: bracketed_share(seeds[f"{split}_digits"]) for split in SPLITS}
    row |= {"exact": bracketed_share(seeds["test_exact"]), "RMSE": number(spread(seeds["test_rmse"]).estimate)}
    return row | {"solved": f"{result.solved.sum()} of {len(result.rows)}"}


def programs_of(run: FinishedRun) -> list[str]:
    """The kinds of programs of a run, in their order."""
    return list(dict.fromkeys(task_of(result).programs for result in run.cells))


def label_of(result: CellResult, without: frozenset[str] = frozenset()) -> str:
    """A cell as tables and pictures name it, with the axes in which others of its kind may differ, unless left out."""
    known, cell = {"cell", "readout", "programs"} | without, str(result.cell.config.network.cell)
    shown = {axis: value for axis, value in result.axes.items() if axis not in known and value != ""}
    texts = {axis: f"{axis} {value}".replace("_", " ") for axis, value in shown.items()}
    if count := shown.get("registers"):
        texts["registers"] = f"{count} register{'s' * (count > 1)}"
    return ", ".join([LABELS.get(cell, cell), *texts.values()])


@paper_style
def draw(run: FinishedRun, folder: Path) -> None:
    """A row for each kind of programs, a column a split: medians and quartiles, with the paper's points as open markers."""
    settled, looks, kinds = settled_axes(run), looks_of(run), programs_of(run)
    handles = [Line2D([], [], label=label, **look) for label, look in looks.items()]
    cells = dict.fromkeys(point["cell"] for programs in kinds for point in printed(programs))
    handles += [Line2D([], [], label=f"{LABELS[cell]}, 2018", **point_look(cell)) for cell in cells]
    height = 1.45 * len(kinds) + 0.5 + legend_inches([str(handle.get_label()) for handle in handles])
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    panels = figure.subplots(len(kinds), len(SPLITS), sharex=True, sharey=True, squeeze=False)
    for row, programs in zip(panels, kinds, strict=True):
        for panel, split in zip(row, SPLITS, strict=True):
            for result in [result for result in run.cells if task_of(result).programs == programs]:
                draw_curve(panel, result, split, looks[label_of(result, settled)])
            draw_points(panel, programs, split)
            quiet(panel)
        row[0].set_ylabel(f"{TITLES[programs]}\nmatching digits")
    digits = task_of(run.cells[0]).digits
    for panel, split, count in zip(panels[0], SPLITS, digits, strict=True):
        panel.set_title(f"{split}, {count} digits")
    for panel in panels[-1]:
        panel.set(xscale="log", ylim=(-0.03, 1.05), xlabel="training step")
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
        panel.yaxis.set_major_formatter(PercentFormatter(1.0))
    title = f"median and quartiles of {seeds_of(run)} seeds; markers: Trask et al. 2018, digitised"
    legend_below(figure, handles, title)
    save(figure, folder / "programs.png")


def settled_axes(run: FinishedRun) -> frozenset[str]:
    """The axes that the kind of programs and of cell decides, so that no label of a picture needs them."""
    values: dict[tuple[str, str, str], set[Any]] = {}
    for result in run.cells:
        for axis, value in result.axes.items():
            values.setdefault((axis, task_of(result).programs, str(result.cell.config.network.cell)), set()).add(value)
    return frozenset(run.axes) - {axis for (axis, *_), found in values.items() if len(found) > 1}


def looks_of(run: FinishedRun) -> dict[str, dict[str, Any]]:
    """The look of each cell by its label in the picture; those of one kind of cell differ in their lines."""
    settled, looks = settled_axes(run), {}
    of_kind: Counter[str] = Counter()
    for result in run.cells:
        label, cell = label_of(result, settled), str(result.cell.config.network.cell)
        if label not in looks:
            colour = LOOKS[cell][0] if cell in LOOKS else look_of(cell)["color"]
            looks[label] = {"color": colour, "linestyle": STYLES[of_kind[cell] % len(STYLES)]}
            of_kind[cell] += 1
    return looks


def point_look(cell: str) -> dict[str, Any]:
    """The look of the paper's points of a cell: open markers, joined by a thin line."""
    colour, marker = LOOKS[cell]
    look = {"color": colour, "marker": marker, "markerfacecolor": "white", "markersize": 3.0}
    return look | {"linestyle": (0, (1, 2)), "linewidth": 0.6}


def draw_curve(panel: Axes, result: CellResult, split: str, look: dict[str, Any]) -> None:
    """The median share of matching digits over the steps, with a band of its quartiles; diverged seeds have none right."""
    steps, bands = result.quartiles(f"{split}_digits")
    low, middle, high = np.where(np.isfinite(bands), bands, 0).T
    trained = steps > 0  # there is no step 0 on a logarithmic axis
    panel.plot(steps[trained], middle[trained], **look)
    panel.fill_between(steps[trained], low[trained], high[trained], color=look["color"], alpha=0.15, linewidth=0)


def draw_points(panel: Axes, programs: str, split: str) -> None:
    """The paper's points."""
    for cell in LOOKS:
        points = [row for row in printed(programs) if (row["cell"], row["split"]) == (cell, split)]
        steps, shares = [float(row["step"]) for row in points], [float(row["digits"]) / 100 for row in points]
        panel.plot(steps, shares, **point_look(cell))
