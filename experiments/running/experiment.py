"""Running an experiment: the cells of a grid one after another in a working directory, with their reports."""

import contextlib
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from rich.console import Console

from experiments.faults import (
    DONE,
    INCOMPLETE,
    INTERRUPTED,
    ConfigError,
    Damaged,
    EnvironmentFault,
    Interrupted,
    out_of_memory,
)
from experiments.reports import find, locate
from experiments.reports.overview import overview_of, show_overview
from experiments.reports.results import FinishedRun, read_json, read_run
from experiments.running.cell import run_group
from experiments.running.console import CellProgress, Forecast, Line
from experiments.running.environment import check_devices, describe, differences
from experiments.running.locks import Busy, held
from experiments.running.processes import several
from experiments.running.reporting import check_reports, intact, seal, show, write_reports
from experiments.running.stopping import SignalHandler
from experiments.running.work import FAILED, Work, plan
from experiments.running.workdir import COMPLETE, adopt, claimed, contents, holders
from experiments.settings.config import Config
from experiments.settings.pages import canonical
from nalu_jax.registry import WRITERS, UnknownName
from nalu_jax.storage.checkpoint import CheckpointError
from nalu_jax.storage.files import write_atomic
from nalu_jax.training.selftest import check_numbers

REPORT_SHARE = 0.05  # of the time of a run that reports on its way may take
FIRST_REPORTS = 1.0  # seconds that the first ones are taken to take, so that a run of seconds draws its pictures once
CODE = ("source", "page")  # of an environment
# Trains the works of an experiment at these places of its list, unless others do, and notes those that fail.
Engine: TypeAlias = Callable[["Experiment", list[int], dict[str, Any]], None]


def one_after_another(experiment: "Experiment", places: list[int], environment: dict[str, Any]) -> None:
    """The local engine: trains works in this process."""
    for place in places:
        experiment.take(place, environment)
        experiment.signals.check()


def run_experiment(
    config: Config,
    workdir: Path,
    *,
    page: str = "",
    fresh: bool,
    console: Console,
    engine: Engine = one_after_another,
) -> int:
    """Runs all cells that are not finished, writes the reports, shows the table, and returns the exit code.

    Several processes that are given the same share the folder: each takes what nobody holds, and whoever finishes last
    writes the reports. Everything that can be refused is refused before anything is compiled: raises ConfigError for
    settings, and EnvironmentFault for the folder.
    """
    check_devices()
    page = canonical(page) if page else ""
    works = None
    if fresh or not workdir.exists():  # so that a mistake leaves no trace, and an earlier run where it is
        works = planned(workdir, config, fresh=True)
    with claimed(workdir, fresh=fresh, console=console) as lock:
        if works is None or contents(workdir):
            works = planned(workdir, config)
        adopt(workdir, config, page, lock, console)
        try:
            return Experiment(config, workdir, page, works, console, engine).run()
        except Interrupted:
            console.print("interrupted; everything is saved, and the same command goes on from here", soft_wrap=True)
            return INTERRUPTED


def planned(workdir: Path, config: Config, *, fresh: bool = False) -> list[Work]:
    """The works of a run. Raises ConfigError for all that is wrong with its config and can be known without its task."""
    works = plan(workdir, config, fresh=fresh)
    for name in config.reports:
        locate(name)
    check_writers(config.writers)
    return works


class Experiment:
    """The works of a run in a working directory, and their reports."""

    def __init__(
        self,
        config: Config,
        workdir: Path,
        page: str,
        works: list[Work],
        console: Console,
        engine: Engine = one_after_another,
    ):
        self.config = config
        self.workdir = workdir
        self.page = page
        self.works = works
        self.console = console
        self.engine = engine
        self.signals = SignalHandler()
        self.reports: list[ModuleType] = []
        self.forecast = Forecast()
        self.logdir = overview_of(workdir, len({job.name for work in works for job in work.jobs}))
        self.trained = 0
        self.failed: dict[str, BaseException] = {}  # what has failed, by folder
        self.reported, self.took = time.monotonic(), FIRST_REPORTS  # when reports were written last, and how long that took

    def run(self) -> int:
        """Trains what is not finished and nobody else trains, and returns the exit code. Raises Interrupted at a signal."""
        if all(work.finished for work in self.works) and intact(self.workdir):
            self.reports = [find(name) for name in self.config.reports]
            self.say_what_other_code_trained(describe(self.page))
            return self.shown(self.read())
        # First, since a KeyboardInterrupt may be swallowed by what is imported from here on, and by jax's garbage collector.
        self.signals.install()
        self.reports = [find(name) for name in self.config.reports]
        environment = trusted_environment(self.page)
        check_reports(self.reports, [job.task for work in self.works for job in work.jobs])
        self.say_what_other_code_trained(environment)
        self.signals.check()
        (self.workdir / COMPLETE).unlink(missing_ok=True)  # its reports will be of the past when a cell is finished
        self.say(f"curves live: tensorboard --logdir {self.logdir}")
        before = -1
        while before < self.trained:  # once more, since others may have died over what they had taken
            before = self.trained
            left = [i for i, work in enumerate(self.works) if not work.finished and str(work.folder) not in self.failed]
            self.engine(self, left, environment)
        run = self.read()
        if left := [work.name for work in self.works if not work.finished and str(work.folder) not in self.failed]:
            sentence = f"{', '.join(left)} in use by {holders(self.workdir)}"
            if not self.trained:
                raise Busy(f"--workdir: {self.workdir}: {sentence}, and nothing else is left to train")
            self.say(f"{sentence}; whoever finishes last writes the tables")
            return DONE
        for missing in (*write_reports(run, self.reports, self.workdir), *show_overview(run)):
            self.say(missing)
        find("page").write(run, self.workdir)
        if not self.failed:
            seal(self.workdir)
        return self.shown(run)

    def take(self, place: int, environment: dict[str, Any]) -> None:
        """Trains the work at a place of the list, unless another process does. What fails is noted, and costs no other."""
        work = self.works[place]
        work.folder.mkdir(parents=True, exist_ok=True)
        try:
            with held(work.folder):
                if work.finished:
                    return
                (work.folder / FAILED).unlink(missing_ok=True)
                try:
                    self.train(place, environment)
                except (Damaged, CheckpointError, MemoryError, RuntimeError) as error:
                    if not is_of_one(error):
                        raise
                    self.failed[str(work.folder)] = error
                    write_atomic(work.folder / FAILED, "".join(traceback.format_exception(error)).encode())
                    self.say(f"{work.name} has failed: {one_line(error)}")
        except Busy:
            return
        self.trained += 1

    def train(self, place: int, environment: dict[str, Any]) -> None:
        """Trains the work at a place of the list, and writes the reports of what is finished by then, unless that is all."""
        work, later = self.works[place], [work for work in self.works[place + 1 :] if not work.finished]
        schedule, task = work.jobs[0].schedule, work.jobs[0].task
        with CellProgress(
            self.console,
            f"{place + 1}/{len(self.works)} {work.name}",
            columns=task.columns,
            num_steps=schedule.num_steps,
            num_seeds=schedule.num_seeds * len(work.jobs),
            count_solved=any(job.task.threshold for job in work.jobs),
            axes=work.jobs[0].axes,
            later=[Line(work.jobs[0].axes, work.seed_steps) for work in later],
            forecast=self.forecast,
        ) as progress:
            run_group(work, progress, self.signals, environment)
        self.signals.check()
        began = time.monotonic()
        if later and self.took < REPORT_SHARE * (began - self.reported):
            run = self.read()
            write_reports(run, self.reports, self.workdir)
            show_overview(run)
            self.reported = time.monotonic()
            self.took = self.reported - began

    def read(self) -> FinishedRun:
        """What is finished by now; cells that are damaged have failed."""
        damaged: list[str] = []
        run = read_run(self.workdir, self.config, say=damaged.append)
        self.failed |= {sentence: Damaged(sentence) for sentence in damaged}
        if self.failed and not run.cells:
            raise next(iter(self.failed.values()))
        return run._replace(page=self.page)

    def shown(self, run: FinishedRun) -> int:
        """Prints the table of the first report that has one, and what has failed; returns the exit code."""
        show(run, self.reports, self.console)
        self.console.print(f"reports: {self.workdir}    curves: tensorboard --logdir {self.logdir}", soft_wrap=True)
        for error in self.failed.values():
            self.say(f"failed: {one_line(error)}")
        return INCOMPLETE if self.failed or any(result.all_diverged for result in run.cells) else DONE

    def say_what_other_code_trained(self, environment: dict[str, Any]) -> None:
        """Says which finished cells were trained by another library, or by code of the page's own that has changed since."""
        now, by_code = {code: environment[code] for code in CODE}, {}
        for work in self.works:
            if work.finished:
                for job, files in zip(work.jobs, work.files, strict=True):
                    with contextlib.suppress(Damaged):
                        before = read_json(files.config)["environment"]
                        found = differences({code: before[code] for code in CODE}, now)
                        by_code.setdefault("; ".join(found), []).append(job.name)
        for found, names in by_code.items():
            if found:
                kept = f"trained by other code ({found}) and kept as they are: {', '.join(dict.fromkeys(names))}"
                self.say(f"{kept}; what is removed is trained anew")

    def say(self, sentence: str) -> None:
        """Prints a sentence."""
        self.console.print(sentence, soft_wrap=True, highlight=False, markup=False)


def is_of_one(error: BaseException) -> bool:
    """Whether an error is of the cells that it came up with alone: damaged files, and too little memory in one process."""
    return isinstance(error, Damaged | CheckpointError) or (out_of_memory(error) and not several())


def one_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split())


def check_writers(names: Iterable[str]) -> None:
    """Raises ConfigError for a writer that does not exist."""
    try:
        for name in names:
            WRITERS[name]
    except UnknownName as error:
        raise ConfigError(f"config.writers: {error}") from error


def trusted_environment(page: str) -> dict[str, Any]:
    """Where the run takes place. Raises EnvironmentFault if jax does not start or computes wrong numbers."""
    try:
        environment = describe(page)
        check_numbers()
    except (RuntimeError, EnvironmentFault) as error:
        raise EnvironmentFault(f"this jax cannot be used: {error}") from error
    return environment
