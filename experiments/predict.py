"""Asks a trained network: ``python -m experiments.predict --workdir=RUN [--cell=NAME] "four hundred and two" ...``."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from rich.console import Console
from rich.table import Table

from experiments.cpu import set_up_cpu
from experiments.faults import BAD_CONFIG, DONE, ConfigError, EnvironmentFault, code_of
from experiments.settings.pages import load
from experiments.terminal import PipeSafeConsole, print_error
from nalu_jax.registry import nearest

FLAGS = flags.FlagValues()
flags.DEFINE_string("workdir", None, "The working directory of a run.", flag_values=FLAGS)
flags.DEFINE_string("cell", None, "A cell of it; by default the one with the best score.", flag_values=FLAGS)
flags.DEFINE_string("config", None, "A page to load first, if it registers units or tasks of its own.", flag_values=FLAGS)
flags.DEFINE_bool("help", False, "Show this help.", short_name="h", flag_values=FLAGS)
HELP = """\
python -m experiments.predict --workdir=RUN [--cell=NAME] [--config=PAGE] TEXT [TEXT ...]

Prints what the best seed of a trained cell predicts for each TEXT, an input of the run's task: "four hundred and two" for
numbers in words, "1.5 2" for two numbers. Of a sequence it prints the prediction after each step. A TEXT that begins with a
minus sign comes after --. Exit codes: 0 done, 2 a folder that is no run, a cell that it lacks or a text that is no input,
3 a damaged or missing file.
"""


def main(arguments: list[str]) -> int:
    """Prints the predictions that the arguments ask for, and returns the exit code."""
    console = PipeSafeConsole()
    try:
        texts = FLAGS(["experiments.predict", *arguments])[1:]
        if FLAGS.help or not FLAGS.workdir or not texts:
            console.print(HELP, highlight=False, markup=False, soft_wrap=True)
            return DONE if FLAGS.help else BAD_CONFIG
        if FLAGS.config:
            load(FLAGS.config)
        predict(Path(FLAGS.workdir).expanduser(), FLAGS.cell, texts, console)
    except (ConfigError, flags.Error) as error:
        return print_error(error, BAD_CONFIG)
    except (EnvironmentFault, OSError) as error:
        return print_error(error, code_of(error))
    finally:
        FLAGS.unparse_flags()  # the next call starts from the defaults
    return DONE


def predict(folder: Path, cell: str | None, texts: list[str], console: Console) -> None:
    """Prints the predictions of a cell's best seed for texts.

    Raises ConfigError for a folder that is no run, a cell that it does not have and a text that is no input of its task.
    """
    from experiments.reports.results import read_run
    from experiments.reports.trained import best_of_cell
    from experiments.running.environment import check_devices

    check_devices()
    cells = {result.cell.name: result for result in read_run(folder).cells}
    if not cells:
        raise ConfigError(f"{folder} has no finished cell")
    if cell is not None and cell not in cells:
        raise ConfigError(f"--cell: {folder} has no finished cell {cell!r}{nearest(cell, cells)} It has {', '.join(cells)}")
    result = cells[cell] if cell else min(cells.values(), key=score_of)
    inputs = [parsed(result, text) for text in texts]
    trained = best_of_cell(result, result.cell.name)
    console.print(described(result, trained.seed, chosen=len(cells) > 1 and not cell), highlight=False, soft_wrap=True)
    for text, one in zip(texts, inputs, strict=True):
        console.print(table_of(trained, text, one))


def score_of(result: Any) -> float:
    """The score of a cell's best seed, the smaller the better; infinite where every seed has diverged."""
    metrics = {name: np.float32(values[result.best_seed]) for name, values in result.seeds.items()}
    score = float(result.task.task.score(metrics))
    return score if np.isfinite(score) else np.inf


def parsed(result: Any, text: str) -> Any:
    """The inputs of a batch of one that a text stands for. Raises ConfigError for one that is no input of the task."""
    try:
        return result.task.parse(text)
    except ValueError as error:
        raise ConfigError(f"{result.cell.config.task.name}: {error}") from error


def described(result: Any, seed: int, *, chosen: bool) -> str:
    """Which network answers, and how good it is: its cell, its seed, its errors."""
    from experiments.reports.formats import is_share, of_column, title

    values = {heading: float(result.seeds[name][result.best_seed]) for name, heading in result.task.columns.items()}
    told = [
        f"{title(head)} {of_column(head, value) if is_share(head) else f'{value:.3g}'}" for head, value in values.items()
    ]
    how = " (the cell with the best score)" if chosen else ""
    seeds = f"seed {seed}" + (f", the best of {len(result.rows)}" if len(result.rows) > 1 else "")
    return f"{result.cell.name}{how}, {seeds}: {', '.join(told)}"


def table_of(trained: Any, text: str, inputs: Any) -> Table:
    """What a network predicts for a text: after each step of a sequence, else once."""
    import jax

    steps = trained.task.steps(text)
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("after" if steps else "input")
    table.add_column("prediction", justify="right")
    if not steps:
        table.add_row(text, numbers(trained.predict(inputs)))
        return table
    running = jax.jit(lambda params: trained.network.apply({"params": params}, inputs, method="running"))
    answers = np.moveaxis(np.asarray(running(trained.params)), 1, 0)  # [time, out, 1]
    for step, answer in zip(steps, answers[: len(steps)], strict=True):
        table.add_row(step, numbers(answer))
    return table


def numbers(outputs: np.ndarray) -> str:
    """The outputs for a batch of one, f32[out, 1], as text."""
    return ", ".join(f"{value:.6g}" for value in outputs.ravel())


if __name__ == "__main__":
    set_up_cpu()  # as a run does, so that predictions are the same to the last digit
    sys.exit(main(sys.argv[1:]))
