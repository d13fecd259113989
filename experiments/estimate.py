"""What a run will cost, before it is run: its cells, what of them is done, and the time and the disk that the rest takes.

The time is measured, on this machine and now: each compiled program of the run is compiled, trained for about a second and
evaluated. Nothing is written.
"""

import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.reports import find, locate
from experiments.reports.results import read_run
from experiments.running.cell import CHECKPOINT_SECONDS
from experiments.running.console import clock, most_alike
from experiments.running.environment import check_devices
from experiments.running.experiment import REPORT_SHARE, check_writers, trusted_environment
from experiments.running.measuring import Clock, Cost, measure
from experiments.running.reporting import check_reports
from experiments.running.work import Work, is_finished, plan
from experiments.settings.build import Job, programs
from experiments.settings.config import Config
from nalu_jax.storage.checkpoint import Checkpoints
from nalu_jax.storage.tensorboard import POINTS

# Seconds
TRAINING = 1.0  # that a program is trained to learn the time of its step
MOST = 90.0  # that all measurements may take; of what is left then the cost is that of what is like it
START = 2.0  # that Python and jax take to start
REPORT = 1.2  # that the tables and pictures of a report take
# Bytes
REPORT_FILES = 100_000  # of the tables and pictures of a report
CELL_FILES = 8_000  # of a cell's config and results
PICTURE = 15_000  # of a picture of a cell in TensorBoard
EVENTS = 2.0  # of TensorBoard's events for a byte of the metrics file


class Group(NamedTuple):
    """Cells that train together, how far they have come, and what they take."""

    work: Work
    step: int  # of the newest checkpoint, 0 if there is none; the last if all cells are finished
    program: Any  # equal for groups that one compiled program trains; None if nothing is left
    cost: Cost | None = None

    @property
    def steps_left(self) -> int:
        """Steps to go."""
        return self.work.jobs[0].schedule.num_steps - self.step

    @property
    def evaluations(self) -> int:
        """Evaluations of the whole run: at every multiple of ``eval_every``, 0 included, and at its end."""
        schedule = self.work.jobs[0].schedule
        return math.ceil(schedule.num_steps / schedule.eval_every) + 1

    @property
    def evaluations_left(self) -> int:
        """Evaluations to go."""
        done = self.step // self.work.jobs[0].schedule.eval_every + 1 if self.step else 0
        return self.evaluations - done if self.steps_left else 0

    @property
    def seconds_left(self) -> float:
        """Seconds of training and evaluating to go; 0 if that is not known."""
        return self.steps_left * self.cost.step + self.evaluations_left * self.cost.evaluation if self.cost else 0.0

    @property
    def seed_steps_left(self) -> int:
        """Steps of all its seeds to go."""
        return sum(job.schedule.num_seeds for job in self.work.jobs) * self.steps_left

    @property
    def finished(self) -> int:
        """How many of its cells are finished."""
        cells = zip(self.work.jobs, self.work.files, strict=True)
        return sum(is_finished(files, job.schedule.num_steps) for job, files in cells)


class Estimate(NamedTuple):
    """What the rest of a run takes, in seconds and bytes."""

    training: float
    evaluating: float
    compiling: float
    writing: float  # and starting and drawing
    disk: float

    @property
    def seconds(self) -> float:
        """All of its time."""
        return self.training + self.evaluating + self.compiling + self.writing


def show_estimate(
    config: Config, workdir: Path, *, page: str = "", fresh: bool, console: Console, now: Clock = time.monotonic
) -> Estimate:
    """Prints the cells of a run, how far they have come in the working directory, and what the rest takes.

    ``now`` is the clock that measures, in seconds. Raises ConfigError and EnvironmentFault for what ``run_experiment``
    refuses, as far as that can be known without a folder.
    """
    check_devices()
    for name in config.reports:
        locate(name)
    check_writers(config.writers)
    nowhere = Path(os.devnull)  # is no folder of a run
    groups = [group_of(work) for work in plan(nowhere if fresh else workdir, config)]
    if any(group.program for group in groups):
        trusted_environment(page)
        check_reports([find(name) for name in config.reports], [job.task for group in groups for job in group.work.jobs])
    if any(group.finished for group in groups):
        read_run(workdir, config, say=lambda damaged: console.print(damaged, soft_wrap=True, highlight=False, markup=False))
    groups, measured = measure_groups(groups, console, now)
    cost = estimate(groups, len(config.reports))
    console.print(table_of(groups))
    for sentence in (totals(groups), *(sentences(cost, workdir) if measured else ["nothing is left to do"]), measured):
        console.print(sentence, soft_wrap=True, highlight=False, markup=False)
    return cost


def group_of(work: Work) -> Group:
    """How far cells that train together have come in their folder."""
    if work.finished:
        return Group(work, work.jobs[0].schedule.num_steps, None)
    saved = Checkpoints(work.files[0].checkpoints, say=lambda sentence: None).steps()
    return Group(work, max(saved, default=0), program_of(work.jobs))


def program_of(jobs: list[Job]) -> tuple:
    """What groups have in common that one compiled program trains: the program, and the shapes of what it is given."""
    compiled, problem = programs(jobs)
    shapes = tuple((np.shape(leaf), str(leaf.dtype)) for leaf in jax.tree.leaves(problem))
    return compiled.chunk, jax.tree.structure(problem), shapes, len(jobs[0].schedule.seeds)


# Measuring


def measure_groups(groups: list[Group], console: Console, now: Clock) -> tuple[list[Group], str]:
    """The groups with what they cost, and a sentence on what was measured, "" if nothing was.

    One group of each program is measured, as long as there is time. Others cost what those do that have most of their axes
    in common.
    """
    first_of = {group.program: group.work for group in reversed(groups) if group.program}
    works = [first_of[program] for program in dict.fromkeys(group.program for group in groups if group.program)]
    known: list[tuple[Mapping[str, Any], Cost]] = []
    costs: dict[Any, Cost] = {}
    began = time.monotonic()
    with console.status("") as status:
        for work in spread(works):
            if known and time.monotonic() - began > MOST:
                break
            status.update(f"measuring {len(known) + 1} of {len(works)} programs: {work.name}")
            cost = measure(work.jobs, now, TRAINING)
            known.append((work.jobs[0].axes, cost))
            costs[program_of(work.jobs)] = cost
    groups = [
        g._replace(cost=costs.get(g.program) or mean(most_alike(g.work.jobs[0].axes, known))) if g.program else g
        for g in groups
    ]
    rest = "" if len(known) == len(works) else "; another is taken to cost what those do that are most like it"
    sentence = f"measured in {clock(time.monotonic() - began)}: {len(known)} of {len(works)} programs{rest}"
    return groups, sentence if works else ""


def spread(works: list[Work]) -> list[Work]:
    """The works in an order in which every value of every axis comes early: next is the one with the most new values."""
    seen: set[tuple[str, Any]] = set()
    rest, order = list(works), []
    while rest:
        best = max(rest, key=lambda work: len(work.jobs[0].axes.items() - seen))
        seen |= set(best.jobs[0].axes.items())
        rest.remove(best)
        order.append(best)
    return order


def mean(costs: list[Cost]) -> Cost:
    """The mean of several costs."""
    return Cost(*(float(np.mean(values)) for values in zip(*costs, strict=True)))


# Adding up


def estimate(groups: list[Group], reports: int) -> Estimate:
    """What the rest of a run takes that has so many reports; a program is compiled once."""
    left = [(group, group.cost) for group in groups if group.cost is not None]
    if not left:
        return Estimate(0.0, 0.0, 0.0, 0.0, 0.0)
    training = sum(group.steps_left * cost.step for group, cost in left)
    evaluating = sum(group.evaluations_left * cost.evaluation for group, cost in left)
    by_program = {group.program: cost for group, cost in left}
    compiling = sum(cost.compiling + cost.untrained for cost in by_program.values())
    drawing = sum(len(group.work.jobs) * cost.drawing for group, cost in left)
    on_the_way = REPORT_SHARE * (training + evaluating + compiling) if len(left) > 1 else 0.0
    writing = START + drawing + reports * REPORT + on_the_way
    disk = reports * REPORT_FILES + sum(disk_of(group, cost) for group, cost in left)
    return Estimate(training, evaluating, compiling, writing, disk)


def disk_of(group: Group, cost: Cost) -> float:
    """Bytes that a group takes when it is finished: checkpoints, and of each cell its parameters, metrics and events."""
    checkpoints = 2 if group.seconds_left > CHECKPOINT_SECONDS else 1
    shown = min(group.evaluations, POINTS) if group.work.jobs[0].config.writers else 0
    rows = (group.evaluations + EVENTS * shown) * cost.row_bytes
    return checkpoints * cost.run_bytes + len(group.work.jobs) * (
        cost.params_bytes + rows + cost.pictures * PICTURE + CELL_FILES
    )


# Telling


def table_of(groups: list[Group]) -> Table:
    """A row a group."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("cells that train together", "seeds", "steps", "seed-steps", "program", "so far", "to go"):
        table.add_column(heading, justify="left" if heading in ("cells that train together", "so far") else "right")
    numbers = {program: i + 1 for i, program in enumerate(dict.fromkeys(group.program for group in groups if group.program))}
    for group in groups:
        work, schedule = group.work, group.work.jobs[0].schedule
        counts = (schedule.num_seeds * len(work.jobs), schedule.num_steps, work.seed_steps)
        to_go = clock(group.seconds_left) if group.cost else "–"
        table.add_row(work.name, *map("{:,}".format, counts), str(numbers.get(group.program, "–")), so_far(group), to_go)
    return table


def so_far(group: Group) -> str:
    """What is done of a group: "finished", or the step that it goes on from."""
    if group.work.finished:
        return "finished"
    if group.step:
        return f"step {group.step:,}"
    return f"{group.finished} cells" if group.finished else "–"


def totals(groups: list[Group]) -> str:
    """How much there is to do, and how much of it is left."""
    cells, finished = sum(len(group.work.jobs) for group in groups), sum(group.finished for group in groups)
    steps, left = sum(group.work.seed_steps for group in groups), sum(group.seed_steps_left for group in groups)
    done = f", {finished} of them finished," if finished else ""
    rest = f", {left:,} to go" if left < steps else ""
    return (
        f"{counted(cells, 'cell')}{done} in {counted(len(groups), 'group')} that train together; {steps:,} seed-steps{rest}"
    )


def sentences(cost: Estimate, workdir: Path) -> list[str]:
    """The estimate in words."""
    parts = {"training": cost.training, "evaluating": cost.evaluating, "compiling": cost.compiling}
    parts |= {"starting, drawing and writing": cost.writing}
    told = ", ".join(f"{clock(seconds)} {name}" for name, seconds in parts.items())
    machine = f"{counted(jax.device_count(), f'{jax.devices()[0].platform} device')}, as busy as now"
    return [
        f"about {clock(cost.seconds)} on this machine ({machine}): {told}",
        f"about {in_bytes(cost.disk)} in {workdir}; nothing has been written",
    ]


def counted(number: int, noun: str) -> str:
    """A number of things, "1 cell", "2 cells"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def in_bytes(count: float) -> str:
    """Bytes as people read them: 3.2 MB."""
    for unit in ("kB", "MB"):
        count /= 1000
        if count < 999.5:
            return f"{count:.2g} {unit}" if count < 10 else f"{count:.0f} {unit}"
    return f"{count / 1000:.2g} GB"
