"""How far a run is: ``python -m experiments.run --status --workdir=FOLDER``. Nothing is changed."""

import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from experiments.faults import ConfigError
from experiments.reports.results import read_config
from experiments.running.locks import holder, is_held
from experiments.running.work import FAILED, Work, plan
from experiments.settings.config import Config
from nalu_jax.registry import UnknownName
from nalu_jax.storage.checkpoint import Checkpoints

DONE, RUNNING, FAILED_STATE, RESUMABLE, WAITING = "done", "running", "failed", "resumable", "waiting"


class State(NamedTuple):
    """How far cells that train together are."""

    word: str  # one of those above
    step: int
    note: str  # who trains them, or why they failed


def show_status(workdir: Path, config: Config | None, console: Console) -> None:
    """Prints how far a run is, by default that whose config is in the folder. Raises ConfigError for what is no run."""
    if config is None:
        config, _ = read_config(workdir)
    try:
        console.print(table_of(workdir, config))
    except UnknownName as error:
        raise ConfigError(f"{error} --config names the page of a run with units of its own") from error


def state_of(work: Work) -> State:
    """How far a work is, as its folder shows."""
    if work.finished:
        return State(DONE, work.jobs[0].schedule.num_steps, "")
    saved = max(Checkpoints(work.files[0].checkpoints, say=print).steps(), default=0)
    if is_held(work.folder):
        return State(RUNNING, max(saved, last_step(work.files[0].metrics)), holder(work.folder))
    if (work.folder / FAILED).exists():
        lines = (work.folder / FAILED).read_text(encoding="utf-8", errors="replace").split("\n")
        return State(FAILED_STATE, saved, next((line for line in reversed(lines) if line.strip()), ""))
    return State(RESUMABLE, saved, "") if saved else State(WAITING, 0, "")


def last_step(metrics: Path) -> int:
    """The step of the last whole row of a metrics file, 0 without one."""
    if not metrics.exists():
        return 0
    lines = metrics.read_bytes().split(b"\n")[:-1]
    try:
        return json.loads(lines[-1])["step"] if lines else 0
    except ValueError:
        return 0


def table_of(workdir: Path, config: Config) -> Table:
    """A row for each group of cells that trains together: its state, its step, and who has it or why it failed."""
    rows = [(work, state_of(work)) for work in plan(workdir, config)]
    return table(rows, summary([state for _, state in rows]))


def summary(states: list[State]) -> str:
    """How many works are in each state."""
    counts = Counter(state.word for state in states)
    return ", ".join(f"{n} {word}" for word in (DONE, RUNNING, FAILED_STATE, RESUMABLE, WAITING) if (n := counts[word]))


def table(rows: list[tuple[Work, State]], caption: str) -> Table:
    """A row for each of these works, and a line below."""
    table = Table(box=None, header_style="bold", pad_edge=False, caption=caption, caption_justify="left")
    for heading in ("cells", "seeds", "state", "step", ""):
        table.add_column(heading, justify="right" if heading in ("seeds", "step") else "left", overflow="fold")
    for work, state in rows:
        schedule = work.jobs[0].schedule
        step = f"{state.step:,} of {schedule.num_steps:,}" if state.step else ""
        table.add_row(work.name, str(schedule.num_seeds * len(work.jobs)), state.word, step, state.note)
    return table
