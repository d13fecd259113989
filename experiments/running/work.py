"""What a run has to train: cells that train together, the seeds of them that it is about, and where their files lie.

A run may grow: by cells, by seeds and by steps. What is there stays as it is. Cells that were begun together go on together,
seeds that come later are trained apart, in a folder ``seeds_10-19`` within that of their cell, and more steps go on from the
last checkpoint.
"""

import contextlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from experiments.faults import ConfigError, Damaged
from experiments.reports.results import Files, parts_of, read_json
from experiments.running.environment import differences
from experiments.settings.build import Job, build, schedule_of
from experiments.settings.config import Config
from experiments.settings.grid import Cell, cell_name, cells, groups

FAILED = "failed.txt"  # why cells that train together failed, in the folder of the first
# Fields of a config that say how a run is shown and written, which does not change it.
SHOWN = ("reports", "writers")


class Work(NamedTuple):
    """Cells that train together in one program, each in a folder of its own; it is locked and resumed as a whole."""

    jobs: list[Job]
    files: list[Files]

    @property
    def folder(self) -> Path:
        """The folder that is locked and that has the checkpoints: that of the first cell."""
        return self.files[0].path

    @property
    def name(self) -> str:
        """What it is called: by the axes that its cells share, how many these are, and which seeds if they came later."""
        first = self.jobs[0]
        name = first.name
        if len(self.jobs) > 1:
            shared = {a: value for a, value in first.axes.items() if all(job.axes[a] == value for job in self.jobs)}
            name = f"{cell_name(shared)} ({len(self.jobs)} cells)"
        return name if self.folder.name == first.name else f"{name}, {self.folder.name.replace('_', ' ')}"

    @property
    def seed_steps(self) -> int:
        """The steps of all its seeds."""
        return sum(job.schedule.num_steps * job.schedule.num_seeds for job in self.jobs)

    @property
    def finished(self) -> bool:
        """Whether all its cells have their results, whole or damaged."""
        return all(is_finished(files, job.schedule.num_steps) for job, files in zip(self.jobs, self.files, strict=True))


def is_finished(files: Files, num_steps: int) -> bool:
    """Whether a cell has results after so many steps. Those that are damaged are the business of who reads them."""
    try:
        return files.seeds.exists() and read_json(files.result)["steps"] == num_steps
    except Damaged:
        return True


class Begun(NamedTuple):
    """A part of a cell's seeds that was begun in the folder of a run."""

    folder: Path
    place: str  # of the folder in that of the cell, "" if it is that itself
    config: dict[str, Any]  # of the cell, as it was begun
    together: tuple[str, ...]  # the cells that it trains with, itself among them

    @property
    def seeds(self) -> range:
        """Its seeds."""
        return seeds_of(self.config)


def plan(workdir: Path, config: Config, *, fresh: bool = False) -> list[Work]:
    """All that a run consists of, in the order of its grid, whether finished or not; if ``fresh``, as in an empty folder.

    Raises ConfigError, with the differences, if the folder holds cells, seeds or steps that the config has not, or others.
    """
    grid = {cell.name: cell for cell in cells(config)}
    for cell in grid.values():
        schedule_of(cell.config)
    begun = [] if fresh else list(begun_in(workdir))
    for one in begun:
        for name in one.together:
            if name not in grid:
                raise other_run(workdir, f"it has a cell {name}, which is none of this grid")
            if not within(one.seeds, asked := seeds_of(grid[name].config)):
                raise other_run(workdir, f"{name}: seeds {told(one.seeds)} → {told(asked)}, a run can grow and not shrink")
    works = list(begun_works(workdir, grid, begun))
    check(workdir, works, begun)
    works += new_works(workdir, groups(config, list(grid.values())), works)
    order = {name: i for i, name in enumerate(grid)}
    return sorted(works, key=lambda work: (order[work.jobs[0].name], work.jobs[0].schedule.first_seed))


def begun_in(workdir: Path) -> Iterator[Begun]:
    """What was begun in a folder, but for what has a damaged config.json: that fails when it is gone on with."""
    for folder in sorted(workdir.iterdir()) if workdir.is_dir() else ():
        for files in parts_of(folder) if folder.is_dir() else ():
            with contextlib.suppress(Damaged):
                stored = read_json(files.config)
                place = files.path.relative_to(folder).name
                yield Begun(files.path, place, stored["config"], tuple(stored["together"]))


def begun_works(workdir: Path, grid: dict[str, Cell], begun: list[Begun]) -> Iterator[Work]:
    """The works of what was begun: with the cells, and the seeds, that it was begun with."""
    for together, place, seeds in dict.fromkeys((one.together, one.place, one.seeds) for one in begun):
        yield work_of([(grid[name], workdir / name / place) for name in together], seeds)


def new_works(workdir: Path, together: list[list[Cell]], begun: list[Work]) -> Iterator[Work]:
    """The works of the seeds that are missing of each cell: cells that miss the same ones train together if they can."""
    there: dict[str, list[range]] = {}
    for work in begun:
        for job in work.jobs:
            there.setdefault(job.name, []).append(seeds_of(job.config))
    for group in together:
        missing: dict[range, list[tuple[Cell, Path]]] = {}
        for cell in group:
            for seeds in gaps(seeds_of(cell.config), there.get(cell.name, [])):
                place = f"seeds_{seeds[0]}-{seeds[-1]}" if cell.name in there else ""
                missing.setdefault(seeds, []).append((cell, workdir / cell.name / place))
        for seeds, members in missing.items():
            yield work_of(members, seeds)


def seeds_of(config: Config) -> range:
    """The seeds of a cell."""
    return range(config["first_seed"], config["first_seed"] + config["num_seeds"])


def within(seeds: range, others: range) -> bool:
    """Whether seeds are all among others."""
    return others.start <= seeds.start and seeds.stop <= others.stop


def told(seeds: range) -> str:
    """Seeds as people say them, "0 to 31"."""
    return f"{seeds.start} to {seeds.stop - 1}"


def gaps(asked: range, there: Iterable[range]) -> Iterator[range]:
    """What of a range lies in none of others."""
    start = asked.start
    for one in sorted(there, key=lambda one: one.start):
        if one.start > start:
            yield range(start, one.start)
        start = max(start, one.stop)
    if start < asked.stop:
        yield range(start, asked.stop)


def work_of(members: list[tuple[Cell, Path]], seeds: range) -> Work:
    """The work of some seeds of cells, each with its folder."""
    jobs = []
    for cell, _ in members:
        config = cell.config.copy_and_resolve_references()
        config.first_seed, config.num_seeds = seeds.start, len(seeds)
        jobs.append(build(cell._replace(config=config), len(members)))
    return Work(jobs, [Files(folder) for _, folder in members])


def check(workdir: Path, works: list[Work], begun: list[Begun]) -> None:
    """Raises ConfigError if what was begun has another config than the run, other seeds, or more steps."""
    before = {one.folder: one.config for one in begun}
    for work in works:
        for job, files in zip(work.jobs, work.files, strict=True):
            if files.path in before and (found := changes(job, before[files.path])):
                raise other_run(workdir, *(f"{job.name}: {one}" for one in found))


def changes(job: Job, before: dict[str, Any]) -> list[str]:
    """The fields in which a cell differs from what it was begun with, but for more steps that are the same to it."""
    now = plain(job.config)
    found = differences(before | {name: now[name] for name in SHOWN}, now)
    steps = before["num_steps"]
    if steps != now["num_steps"] and len(found) == 1:
        if steps > now["num_steps"]:
            found.append("a run can grow and not shrink")
        elif steps % now["eval_every"]:
            found.append("only a run whose eval_every divides its steps can have more of them")
        elif not same_with(job, steps):
            found.append("how it is trained depends on the number of steps")
        else:
            return []
    return found


def same_with(job: Job, num_steps: int) -> bool:
    """Whether a cell would be trained in the same way for another number of steps, as far as both go."""
    config = job.config.copy_and_resolve_references()
    config.num_steps = num_steps
    return build(Cell(dict(job.axes), job.name, config)).training == job.training


def other_run(workdir: Path, *found: str) -> ConfigError:
    """The error of a folder that holds another run."""
    return ConfigError(
        f"{workdir} holds a run with another config ({'; '.join(found)}): choose another --workdir, or --fresh to set that "
        "run aside"
    )


def plain(config: Config) -> dict[str, Any]:
    """A config as JSON holds it."""
    return json.loads(config.to_json_best_effort())
