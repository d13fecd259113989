"""Agents that track time: reward and share of arrivals exactly on time against the number that they are told."""

import functools
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import animation
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from rich.table import Table

from experiments.faults import ConfigError
from experiments.reports.figures import (
    COLOURS,
    WIDTH,
    label_axis,
    label_unit,
    legend_below,
    look_of,
    paper_style,
    quiet,
    save,
)
from experiments.reports.formats import seeds_of, write_table
from experiments.reports.published import published
from experiments.reports.results import CellResult, FinishedRun
from experiments.reports.trained import Trained, best_of_cell
from nalu_jax.storage.files import write_atomic
from nalu_jax.tasks.base import TaskSpec
from nalu_jax.tasks.grid_world import GridState, GridWorld, frame

FIGURE = "trask_2018_figure_5"
POLICIES = {"most likely actions": "", "sampled actions": "sampled_"}
MEASURES = {"mean reward": "reward_{}", "arrived on time / %": "on_time_{}"}
SHOWN = (8, 12, 16, 20)  # the numbers of the animation
INCHES, STEPS_A_SECOND = 1.6, 4
CAPTION = (
    "Agents trained with T from {first} to {last}: mean over {seeds} seeds [its 95 % interval] of the reward of an episode, "
    "and share of arrivals exactly on time; {episodes} episodes for each T and seed, with the most likely actions, of the "
    "parameters that were best on the numbers of training. Published: Trask et al. 2018, read off figure 5."
)


def check(task: TaskSpec) -> None:
    """Raises ConfigError for another task."""
    if not isinstance(task, GridWorld):
        raise ConfigError("config.reports: time_tracking is of the task grid_world alone")


def write(run: FinishedRun, folder: Path) -> None:
    """Writes time_tracking.{md,tex,png,pdf}, and time_tracking.gif with the best agent of each cell.

    Raises FileNotFoundError, the animation being last, if the folder has no parameters.
    """
    task = world(run)
    first, last = task.train_numbers
    caption = CAPTION.format(first=first, last=last, seeds=seeds_of(run), episodes=task.episodes)
    write_table(folder / "time_tracking", rows(run), caption)
    draw(run, folder)
    if animation.writers.is_available("pillow"):
        animate(run, folder / "time_tracking.gif")


def screen(run: FinishedRun) -> Table:
    """The table for the terminal."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    found = rows(run)
    for name in found[0]:
        table.add_column(name, justify="left" if name == "agent" else "right")
    for row in found:
        table.add_row(*row.values())
    return table


def world(run: FinishedRun) -> GridWorld:
    """The task of a run's cells."""
    task = run.cells[0].task
    assert isinstance(task, GridWorld)
    return task


def parts(task: GridWorld) -> list[tuple[int, int]]:
    """The numbers of training, those that tables show beyond, and what follows them, as far as there are any."""
    found = [task.train_numbers, task.beyond_numbers, (task.beyond_numbers[1] + 1, task.test_numbers[1])]
    return [part for part in found if part[0] <= part[1]]


# The table


class Estimate(NamedTuple):
    """A mean over seeds, and its 95 % interval; the values of one seed have none."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def over_seeds(values: np.ndarray) -> Estimate:
    """Mean ± 1.96 standard errors of f64[seeds, ...]; diverged seeds, NaN, are left out."""
    count = np.isfinite(values).sum(0)
    mean = np.nanmean(values, axis=0)
    half = 1.96 * np.nanstd(values, axis=0, ddof=1) / np.sqrt(count) if len(values) > 1 else np.zeros_like(mean)
    return Estimate(mean, mean - half, mean + half)


def by_number(result: CellResult, metric: str, numbers: tuple[int, int]) -> np.ndarray:
    """A metric of each number from the first to the last: f64[seeds, numbers]."""
    return np.stack([result.seeds[metric.format(number)] for number in range(numbers[0], numbers[1] + 1)], axis=1)


def rows(run: FinishedRun) -> list[dict[str, str]]:
    """A row an agent, ours and the published ones: reward and share on time, over ranges of T."""
    found = []
    for result in run.cells:
        row = {"agent": label(result)}
        for name, metric, text in (("reward", "reward_{}", "{:.2f} [{:.2f}, {:.2f}]"), ("on time", "on_time_{}", "{:.0%}")):
            for low, high in parts(world(run)):
                row[f"{name}, T {low}–{high}"] = text.format(*over_seeds(by_number(result, metric, (low, high)).mean(1)))
        found.append(row)
    for agent, rewards in digitised().items():
        row = {name: "–" for name in found[0]} | {"agent": f"{agent}, published"}
        for low, high in parts(world(run)):
            if all(number in rewards for number in range(low, high + 1)):
                row[f"reward, T {low}–{high}"] = f"{np.mean([rewards[number] for number in range(low, high + 1)]):.2f}"
        found.append(row)
    return found


def digitised() -> dict[str, dict[int, float]]:
    """The published rewards by agent and number."""
    found: dict[str, dict[int, float]] = {}
    for row in published(FIGURE):
        found.setdefault(row["agent"], {})[int(row["number"])] = float(row["reward"])
    return found


def label(result: CellResult) -> str:
    """What an agent is called: "LSTM", "LSTM + NAC"; its wiring and the other axes of the grid where they say more."""
    config, axes = result.cell.config, {a: v for a, v in result.axes.items() if a not in ("unit", "wiring") and v != ""}
    unit, wiring = config.unit.get("name", ""), config.network.wiring
    body = "LSTM" if wiring == "none" else f"LSTM + {label_unit(unit)}"
    others = [wiring] if wiring not in ("none", "feedback") else []
    return ", ".join([body, *others, *(label_axis(axis, value) for axis, value in axes.items())])


# The picture


@paper_style
def draw(run: FinishedRun, folder: Path) -> None:
    """Reward and share on time against T: with the most likely actions above, with sampled ones below."""
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    panels = figure.subplots(len(POLICIES), len(MEASURES), sharex=True, sharey="col")
    looks = looks_of(run.cells)
    for line, (policy, prefix) in zip(panels, POLICIES.items(), strict=True):
        for panel, (measure, metric) in zip(line, MEASURES.items(), strict=True):
            for result in run.cells:
                draw_agent(panel, result, prefix + metric, looks[label(result)], percent="%" in measure)
            panel.axvspan(*world(run).train_numbers, color="0.93", linewidth=0, zorder=0)
            panel.set_ylabel(measure)
            panel.set_ylim((-3, 103) if "%" in measure else (-1.1, 1.1))
            panel.set_title(policy)
            quiet(panel)
        draw_published(line[0])
    for panel in panels[-1]:
        panel.set_xlabel("number T (grey: trained)")
    lines = [Line2D([], [], label=name, **look) for name, look in looks.items()]
    marks = [Line2D([], [], label=f"{agent}, published", **look) for agent, look in published_looks().items()]
    legend_below(figure, [*lines, *marks], "")
    save(figure, folder / "time_tracking.png")


def looks_of(cells: list[CellResult]) -> dict[str, dict[str, Any]]:
    """How the line of each agent looks."""
    found: dict[str, dict[str, Any]] = {}
    units: list[str] = []
    for result in cells:
        unit = result.cell.config.unit.get("name", "") if result.cell.config.network.wiring != "none" else "lstm"
        look = look_of(unit, units.count(unit))
        found[label(result)] = {"color": look["color"], "linestyle": look["linestyle"], "linewidth": 1.3}
        units.append(unit)
    return found


def draw_agent(panel: Axes, result: CellResult, metric: str, look: dict[str, Any], *, percent: bool) -> None:
    """The line of an agent with its band."""
    task = result.task
    assert isinstance(task, GridWorld)
    numbers = np.arange(task.test_numbers[0], task.test_numbers[1] + 1)
    mean, low, high = (100 * part if percent else part for part in over_seeds(by_number(result, metric, task.test_numbers)))
    panel.fill_between(numbers, low, high, color=look["color"], alpha=0.2, linewidth=0)
    panel.plot(numbers, mean, **look)


def published_looks() -> dict[str, dict[str, Any]]:
    """How the points of each published agent look."""
    return {
        agent: {"color": colour, "marker": marker, "linestyle": "none", "markersize": 3.5, "markerfacecolor": "white"}
        for agent, colour, marker in zip(digitised(), (look_of("nac")["color"], COLOURS[-1]), "os", strict=True)
    }


def draw_published(panel: Axes) -> None:
    """The points of the paper."""
    for agent, look in published_looks().items():
        rewards = digitised()[agent]
        panel.plot([*rewards], [*rewards.values()], **look)


# The animation


@functools.partial(jax.jit, static_argnums=0)
def walked(network: Any, params: Any, task: Any, states: GridState) -> tuple[GridState, Any]:
    """An agent that takes the most likely actions: first states [episodes] → states and ends, [time, episodes]."""
    observations = jax.vmap(task.observe, out_axes=-1)(states)
    variables, no = {"params": params}, jnp.zeros(len(states.number), bool)

    def one_step(playing: Any, time: Any) -> tuple[Any, Any]:
        states, observations, carry = playing
        carry, outputs = network.apply(variables, carry, observations, no, method="step")
        actions = jnp.argmax(outputs[:-1], axis=0)
        keys = jax.random.split(jax.random.key(0), len(states.number))
        observations, states, _, terminated, truncated, _ = jax.vmap(task.step, out_axes=(-1, 0, 0, 0, 0, 0))(
            keys, states, actions
        )
        return (states, observations, carry), (states, terminated | truncated)

    playing = states, observations, network.apply(variables, observations, method="initialize_carry")
    return jax.lax.scan(one_step, playing, jnp.arange(task.horizon))[1]


def films(trained: Trained, numbers: tuple[int, ...]) -> list[list[np.ndarray]]:
    """For each number the pictures f32[56, 56, 3] of an episode, from its start to its end; all from the same start."""
    spec = trained.task
    assert isinstance(spec, GridWorld)
    agent, target = (jnp.tile(spec.task.starts[0, i], (len(numbers), 1)) for i in (0, 1))
    start = GridState(agent, target, jnp.array(numbers, jnp.int32), jnp.zeros(len(numbers), jnp.int32))
    states, over = walked(trained.network, trained.params, spec.task, start)
    pictures = jax.vmap(jax.vmap(lambda state: frame(state, spec.size)))
    first, later = pictures(jax.tree.map(lambda leaf: leaf[None], start)), pictures(states)
    steps = 1 + np.argmax(np.asarray(over), axis=0)
    return [[*np.asarray(first[:, i]), *np.asarray(later[: steps[i], i])] for i in range(len(numbers))]


def animate(run: FinishedRun, path: Path) -> None:
    """Writes the same episodes of the best agent of each cell, side by side. Raises FileNotFoundError without parameters."""
    numbers = tuple(n for n in SHOWN if world(run).test_numbers[0] <= n <= world(run).test_numbers[1])
    agents = {label(result): films(best_of_cell(result, label(result)), numbers) for result in run.cells}
    figure = Figure(figsize=(INCHES * len(agents), INCHES + 0.35), layout="constrained")
    panels = figure.subplots(1, len(agents), squeeze=False)[0]
    for panel in panels:
        panel.set_axis_off()
    images = [panel.imshow(film[0][0], interpolation="nearest") for panel, film in zip(panels, agents.values(), strict=True)]
    writer = animation.PillowWriter(fps=STEPS_A_SECOND)
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / path.name
        with writer.saving(figure, str(file), dpi=100):
            for i, number in enumerate(numbers):
                longest = max(len(film[i]) for film in agents.values())
                for t in range(longest + STEPS_A_SECOND):  # a second's rest at the end
                    for panel, image, (name, film) in zip(panels, images, agents.items(), strict=True):
                        now = min(t, len(film[i]) - 1)
                        image.set_data(film[i][now])
                        panel.set_title(f"{name}\nT = {number}, t = {now}", fontsize=7)
                    writer.grab_frame()
        write_atomic(path, file.read_bytes())
