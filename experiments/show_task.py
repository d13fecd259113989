"""Shows what a task asks of a network: ``python -m experiments.show_task NAME``."""

import functools
import inspect
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import flags
from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments.cpu import set_up_cpu
from experiments.faults import BAD_CONFIG, DONE, ConfigError, EnvironmentFault, code_of
from experiments.settings.config import Config, leaves, override, resolved, split_overrides, task_fields
from experiments.settings.pages import load, shipped
from experiments.terminal import PipeSafeConsole, print_error
from nalu_jax.registry import nearest

FLAGS = flags.FlagValues()
flags.DEFINE_string("config", None, "The page that has the task; by default the first that is shipped.", flag_values=FLAGS)
flags.DEFINE_integer("seed", 0, "The seed.", lower_bound=0, upper_bound=2**32 - 1, flag_values=FLAGS)
flags.DEFINE_integer("num", 6, "Examples of each batch.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_string("out", None, "The picture of a task of images; by default NAME.png.", flag_values=FLAGS)
flags.DEFINE_bool("help", False, "Show this help.", short_name="h", flag_values=FLAGS)
HELP = """\
python -m experiments.show_task NAME [--config.task.FIELD=VALUE ...] [--config=PAGE] [--seed=0] [--num=6] [--out=PICTURE.png]

Shows examples of a task with their answers, of training and of each batch that networks are evaluated on, as a seed has
them: a table, or a picture if the inputs are images. The fields of the task are those of the first cell of a page, the
first shipped one that has it unless --config names another, and can be changed as in experiments.run.

  python -m experiments.show_task static_arithmetic --config.task.operation=mul --config.task.input_size=4
  python -m experiments.show_task mnist_sum --num=3 --out=sums.png

Exit codes: 0 done, 2 an invalid name or setting, 3 a fault of the machine (disk, folder, data). Tasks:
"""


def main(arguments: list[str]) -> int:
    """Shows the task that the arguments name, and returns the exit code."""
    console = PipeSafeConsole()
    try:
        overrides, others = split_overrides(arguments)
        names = FLAGS(["experiments.show_task", *others])[1:]
        if FLAGS.help or not (names or FLAGS.config):
            console.print(HELP, highlight=False, markup=False, soft_wrap=True, end="")
            console.print(table_of_tasks())
            return DONE if FLAGS.help else BAD_CONFIG
        if len(names) > 1:
            raise ConfigError(f"one task at a time: {names[0]} or {', '.join(names[1:])}")
        if FLAGS.out is not None and not FLAGS.out.endswith(".png"):
            raise ConfigError(f"--out must be the name of a picture that ends in .png, got {FLAGS.out!r}")
        config = config_of(names[0] if names else None, FLAGS.config)
        override_task(config, overrides)
        show(config, FLAGS.seed, FLAGS.num, FLAGS.out, console)
    except (ConfigError, flags.Error) as error:
        return print_error(error, BAD_CONFIG)
    except (EnvironmentFault, OSError) as error:
        return print_error(error, code_of(error))
    return DONE


def table_of_tasks() -> Table:
    """A row a task: its name, and the first line of what it says of itself."""
    from nalu_jax.registry import TASKS

    table = Table(box=None, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for name, task in TASKS.items():
        table.add_row(name, Text((inspect.getdoc(task) or "").partition("\n")[0]))
    return table


def config_of(name: str | None, page: str | None) -> Config:
    """The config of the first cell that has the task: of the page, or of the first shipped page that has it.

    Without a name, of the page's first cell. Raises ConfigError for a task or a page that there is not, and for a page
    without the task.
    """
    from experiments.settings.grid import cells
    from nalu_jax.registry import TASKS, UnknownName

    pages = {page: load(page)} if page else {path: load(path) for path in shipped()}  # a page may register its task
    if name is not None:
        try:
            TASKS[name]
        except UnknownName as error:
            raise ConfigError(str(error)) from error
    for config in pages.values():
        for cell in cells(config):
            if name in (None, cell.config.task.get("name")):
                return cell.config
            break
    raise ConfigError(f"{page} has no task {name}" if page else f"no shipped page has the task {name}: name one by --config")


def override_task(config: Config, overrides: list[tuple[str, str]]) -> None:
    """Changes fields of the task in place. Raises ConfigError for a field that it has not, and a value of another type."""
    from experiments.settings.schema import conform

    known = sorted({path for path, _ in leaves(config)} | {f"task.{name}" for name in task_fields(config)})
    fields = [path for path in known if path.startswith("task.") and path != "task.name"]
    for given, _ in overrides:
        if (path := resolved(config, given)) not in fields:
            of_task = ", ".join(field.removeprefix("task.") for field in fields)
            raise ConfigError(f"config.{path}: the task has no such field{nearest(path, fields)} It has {of_task}")
    config.grid = {}  # a cell has none
    override(config, overrides)
    conform(config)


def show(config: Config, seed: int, num: int, out: str | None, console: Console) -> None:
    """Prints a table of each batch's examples, or draws them all in one picture and prints its path.

    Raises ConfigError for values that the task refuses, and for a picture of examples that are text.
    """
    from experiments.running.environment import check_devices
    from experiments.settings.build import task_of

    check_devices()
    spec = task_of(config)
    try:
        batches = examples_of(spec, seed, num)
    except EnvironmentFault as error:
        raise EnvironmentFault(f"config.task: {error}") from error
    if not any(is_picture(example) for examples in batches.values() for example in examples):
        if out is not None:
            raise ConfigError(f"--out: the examples of {config.task.name} are text, there is no picture to write")
        for heading, examples in batches.items():
            console.print(Text(heading, style="bold"), table_of(examples), "", sep="\n")
        return
    path = Path(out or f"{config.task.name}.png").expanduser()
    write_picture(batches, path)
    console.print(str(path), highlight=False, markup=False, soft_wrap=True)


def examples_of(spec: Any, seed: int, num: int) -> dict[str, list[Any]]:
    """The first examples of each batch that a seed has, by its heading: of training, then of the evaluations.

    Those of an evaluation that do not count are left out. Raises EnvironmentFault for data that cannot be had.
    """
    import numpy as np

    training, evaluations = sampler()(spec.task, np.uint32(seed), num=num)
    found = {"training": spec.examples(training)}
    for name, columns in columns_of(spec, list(evaluations)).items():
        batch, examples = evaluations[name], spec.examples(evaluations[name])
        keep = np.ones(len(examples), bool) if batch.keep is None else np.asarray(batch.keep)
        shown = f"; in tables: {', '.join(columns)}" if columns and columns != [name] else ""
        heading = f"{name} ({keep.sum():,} examples{shown})"
        found[heading] = [example for example, kept in zip(examples, keep, strict=True) if kept][:num]
    return found


@functools.cache
def sampler() -> Callable[..., tuple[Any, dict[str, Any]]]:
    """A compiled function of a task's arrays, a seed u32[] and ``num``: a training batch, and those of the evaluations."""
    import jax
    import jax.numpy as jnp

    from nalu_jax.training.random import Purpose, key_at

    def batches(task: Any, seed: jax.Array, *, num: int) -> tuple[Any, dict[str, Any]]:
        task_state = task.init(key_at(Purpose.TASK, seed))
        training = task.sample(key_at(Purpose.TRAINING, seed, jnp.int32(0)), task_state, num)
        return training, dict(task.evaluations(task_state))

    return jax.jit(batches, static_argnames="num")


def columns_of(spec: Any, names: list[str]) -> dict[str, list[str]]:
    """The headings of each batch's metrics in tables, the batches in the order of these; a metric is BATCH_metric."""
    found: dict[str, list[str]] = {}
    for metric, heading in spec.columns.items():
        fitting = [name for name in names if metric.startswith(f"{name}_")]
        found.setdefault(max(fitting, key=len), []).append(heading)
    return found | {name: [] for name in names if name not in found}


def is_picture(example: Any) -> bool:
    """Whether what an example asks is a picture and no text."""
    return not isinstance(example.question, str)


def table_of(examples: list[Any]) -> Table:
    """The examples of a batch, a row each, with a line between them where they take several."""
    lines = any("\n" in example.question for example in examples)
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, int(lines), 0))
    table.add_column("input", overflow="fold")
    table.add_column("answer", overflow="fold")
    for example in examples:
        table.add_row(Text(example.question), Text(example.answer))
    return table


def write_picture(batches: dict[str, list[Any]], path: Path) -> None:
    """Draws all batches, and writes them as PNG."""
    from experiments.reports.examples import draw_examples
    from nalu_jax.storage.files import write_atomic

    buffer = io.BytesIO()
    draw_examples(batches).savefig(buffer, format="png", dpi=200, facecolor="white")
    write_atomic(path, buffer.getvalue())


if __name__ == "__main__":
    set_up_cpu()
    sys.exit(main(sys.argv[1:]))
