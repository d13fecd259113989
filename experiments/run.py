"""Runs an experiment: ``python -m experiments.run --config=PAGE --workdir=FOLDER``."""

import functools
import os
import sys
from pathlib import Path

from absl import flags
from rich.console import Console

from experiments.cpu import set_up_cpu
from experiments.faults import (
    BAD_CONFIG,
    BAD_ENVIRONMENT,
    DONE,
    INTERRUPTED,
    ConfigError,
    EnvironmentFault,
    code_of,
    out_of_memory,
)
from experiments.listings import show_config, show_pages, show_units, show_version
from experiments.running.address import Address, address
from experiments.settings.config import ALIASES, Config, override, split_overrides
from experiments.settings.pages import load
from experiments.terminal import PipeSafeConsole, print_error
from nalu_jax.registry import nearest

EXAMPLES = """\
Examples

  python -m experiments.run --config=configs/quickstart.py
  python -m experiments.run --config=configs/static_arithmetic.py:simple --workdir=runs/simple
  python -m experiments.run --config=configs/static_arithmetic.py --workdir=runs/x \\
      --config.grid.unit=nac,nalu --config.grid.operation=add,mul --config.num_seeds=100 --config.num_steps=200000
  python -m experiments.run --config=configs/static_arithmetic.py --config.grid.learning_rate=1e-3,1e-2
  tensorboard --logdir runs/x

The same command again goes on where a run was; a finished run prints its table. With a larger grid, more seeds or more
steps it grows. Several processes that are given the same command share a folder. Exit codes: 0 done, 2 an invalid
setting, 3 a fault of the machine (disk, folder, data, jax), 4 done but a cell has failed or has no seed left,
75 interrupted and resumable.

Flags

  --config.FIELD=VALUE  Change a field of the page, as --config.optimizer.learning_rate=1e-2; --show_config shows all.
                        A name that only one field has is enough: --config.num_seeds=8, --config.learning_rate=1e-2, and
                        lr, seeds, steps and batch for learning_rate, num_seeds, num_steps and batch_size.
  --config.grid.AXIS=V1,V2,...  Change an axis of the grid, or sweep a field that was none, as --config.grid.hidden_size=2,3.
  --flagfile=FILE       Take flags from a file, one a line.
"""

FLAGS = flags.FlagValues()
flags.DEFINE_string("config", None, "Config page: quickstart, path.py or path.py:preset.", flag_values=FLAGS)
flags.DEFINE_string("workdir", None, "Folder of the run; by default runs/<page>[-<preset>].", flag_values=FLAGS)
flags.DEFINE_bool("fresh", False, "Set the folder's earlier run aside and start over.", flag_values=FLAGS)
flags.DEFINE_bool(
    "share", False, "One of many that train a run: end with 0 if the others have what is left.", flag_values=FLAGS
)
flags.DEFINE_enum("engine", "local", ["local", "ray"], "Who trains: this process, or a cluster by Ray.", flag_values=FLAGS)
flags.DEFINE_string("address", None, "Ray: of a running cluster; by default Ray is started here.", flag_values=FLAGS)
flags.DEFINE_integer("cpus", None, "Ray: cores of each group of cells.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_float("gpus", None, "Ray: GPUs of each group of cells.", lower_bound=0.0, flag_values=FLAGS)
flags.DEFINE_bool("distributed", False, "One run in several processes, found by the cluster.", flag_values=FLAGS)
flags.DEFINE_string("coordinator", None, "Or where they meet: HOST:PORT of process 0, the same on all.", flag_values=FLAGS)
flags.DEFINE_integer("num_processes", None, "How many processes there are.", flag_values=FLAGS)
flags.DEFINE_integer("process_id", None, "Which of them this is, from 0.", flag_values=FLAGS)
flags.DEFINE_integer("join_timeout", 300, "Seconds to wait for the other processes.", 1, flag_values=FLAGS)
flags.DEFINE_bool("emit_slurm", False, "Print scripts for SLURM that run this, and stop.", flag_values=FLAGS)
flags.DEFINE_bool("list_configs", False, "List the pages that are shipped, their presets and times.", flag_values=FLAGS)
flags.DEFINE_bool("list_units", False, "List the units: name, paper name, operations, source.", flag_values=FLAGS)
flags.DEFINE_bool("version", False, "Show the version.", flag_values=FLAGS)
flags.DEFINE_bool("show_config", False, "Show the config with all its fields, and stop.", flag_values=FLAGS)
flags.DEFINE_bool(
    "dry_run", False, "Show the cells, what is done, time and disk of the rest; write nothing.", flag_values=FLAGS
)
flags.DEFINE_bool("status", False, "Show how far the run in --workdir is; change nothing.", flag_values=FLAGS)
flags.DEFINE_bool("help", False, "Show this help.", short_name="h", flag_values=FLAGS)
OF_RAY = ("address", "cpus", "gpus")
OURS = (
    *("config", "workdir", "fresh", "share", "status", "dry_run", "show_config"),
    *("engine", *OF_RAY, "distributed", "coordinator", "num_processes", "process_id", "join_timeout", "emit_slurm"),
    *("list_configs", "list_units", "version", "help"),
)


def main(arguments: list[str]) -> int:
    """Runs what the arguments say, and returns the exit code."""
    console = PipeSafeConsole()
    try:
        return command(arguments, console)
    except (ConfigError, flags.Error) as error:
        return print_error(error, BAD_CONFIG)
    except (EnvironmentFault, OSError) as error:  # OSError: a full disk, a folder that was taken away
        return print_error(error, code_of(error))
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        details = str(error).partition("\n")[0]
        sentence = f"out of memory; fewer seeds, a smaller batch or --config.block=1 take less ({details})"
        return print_error(MemoryError(sentence), BAD_ENVIRONMENT)
    except KeyboardInterrupt:
        return print_error(KeyboardInterrupt("interrupted; the same command goes on from what is saved"), INTERRUPTED)


def command(arguments: list[str], console: Console) -> int:
    """Reads the command line and does what it asks for."""
    overrides, others = split_overrides(FLAGS.read_flags_from_files(arguments, force_gnu=False))
    parse(others)
    for name, show in LISTINGS.items():
        if FLAGS[name].value:
            show(console)
            return DONE
    if FLAGS.status and FLAGS.config is None:
        return show_status_of_folder(console)
    if FLAGS.config is None:
        raise ConfigError("--config is missing; --list_configs lists the pages, --help shows examples")
    platforms = os.environ.get("JAX_PLATFORMS", "")
    if FLAGS.engine == "ray":  # its workers have the devices; jax would take most of a GPU's memory by a look at it
        os.environ["JAX_PLATFORMS"] = "cpu"
    config = load(FLAGS.config)
    override(config, overrides)
    if FLAGS.show_config:
        show_config(config, console)
        return DONE
    named = FLAGS.workdir or Path("runs") / Path(FLAGS.config.replace(":", "-").replace(".py", "")).name
    workdir = Path(named).expanduser()
    where = address(FLAGS.coordinator, FLAGS.num_processes, FLAGS.process_id)
    check_engine(where)
    # jax is imported only now: what is wrong with the command line is said at once.
    if FLAGS.emit_slurm:
        console.print(slurm_scripts(config, workdir, overrides), highlight=False, markup=False, soft_wrap=True, end="")
    elif FLAGS.status:
        from experiments.running.status import show_status

        show_status(workdir, config, console)
    elif FLAGS.dry_run:
        from experiments.estimate import show_estimate

        show_estimate(config, workdir, page=FLAGS.config, fresh=FLAGS.fresh, console=console)
    else:
        return train(config, workdir, where, platforms, console)
    return DONE


def parse(arguments: list[str]) -> None:
    """Sets the flags. Raises ConfigError, with a guess at what is meant, for one that does not exist."""
    try:
        stray = FLAGS(["experiments.run", *arguments])[1:]
    except flags.UnrecognizedFlagError as error:
        name = error.flagname
        guess = "." if name in ALIASES else nearest(name, OURS)
        guess = f": did you mean --config.{name}?" if guess == "." else guess
        raise ConfigError(f"there is no flag --{name}{guess}") from error
    if stray:
        name = stray[0].removeprefix("config.")
        hint = f": did you mean --config.{name}?" if "=" in name or name != stray[0] else ""
        raise ConfigError(f"stray argument {stray[0]!r}{hint}")


def show_help(console: Console) -> None:
    """Prints examples, then all flags."""
    known = "\n".join(f"  --{name:<14}{FLAGS[name].help}" for name in OURS)
    console.print(EXAMPLES + known, highlight=False, markup=False, soft_wrap=True)


# What is shown without a page, by the flag that asks for it.
LISTINGS = {"help": show_help, "list_configs": show_pages, "version": show_version, "list_units": show_units}


def show_status_of_folder(console: Console) -> int:
    """Prints how far the run in --workdir is, whose config is there."""
    from experiments.running.status import show_status

    if FLAGS.workdir is None:
        raise ConfigError("--workdir is missing: the folder of the run whose status is to be shown")
    show_status(Path(FLAGS.workdir).expanduser(), None, console)
    return DONE


def check_engine(where: Address) -> None:
    """Raises ConfigError for flags of different ways to use several machines."""
    if FLAGS.engine != "ray" and not FLAGS.emit_slurm and (unused := [name for name in OF_RAY if FLAGS[name].present]):
        raise ConfigError(f"--{unused[0]} is a setting of --engine=ray")
    if FLAGS.engine == "ray" and (FLAGS.distributed or where.coordinator):
        raise ConfigError("--distributed is one program and --engine=ray many: choose one of them")
    if FLAGS.share and (FLAGS.distributed or where.coordinator):
        raise ConfigError("--share is of processes that train cells of their own, --distributed of one program: choose one")


def train(config: Config, workdir: Path, where: Address, platforms: str, console: Console) -> int:
    """Runs the experiment, by the engine and in the processes that the flags say, and returns the exit code."""
    from experiments.running.experiment import one_after_another, run_experiment
    from experiments.running.locks import Busy

    engine = one_after_another
    if FLAGS.engine == "ray":
        from experiments.engines.cluster import Cluster

        engine = Cluster(FLAGS.address or "", FLAGS.cpus, FLAGS.gpus, platforms)
    run = functools.partial(
        run_experiment, config, workdir, page=FLAGS.config, fresh=FLAGS.fresh, console=console, engine=engine
    )
    if not (FLAGS.distributed or where.coordinator):
        try:
            return run()
        except Busy as busy:
            if not FLAGS.share:
                raise
            console.print(str(busy), highlight=False, markup=False, soft_wrap=True)
            return DONE
    from experiments.engines.together import run_together

    return run_together(config, where, FLAGS.join_timeout, run)


def slurm_scripts(config: Config, workdir: Path, overrides: list[tuple[str, str]]) -> str:
    """Scripts for SLURM that run the command that was given, with this Python and in this folder."""
    from experiments.engines.slurm import scripts
    from experiments.running.work import plan

    if FLAGS.fresh:
        raise ConfigError("--emit_slurm: with --fresh every task would set the run aside; use it once, by hand")
    left = sum(not work.finished for work in plan(workdir, config))
    changes = [f"--config.{path}={text}" for path, text in overrides]
    run = [sys.executable, "-m", "experiments.run", f"--config={FLAGS.config}", f"--workdir={workdir}", *changes]
    return scripts(run, Path.cwd(), workdir.name, works=left, cpus=FLAGS.cpus, gpus=FLAGS.gpus)


if __name__ == "__main__":
    set_up_cpu()
    code = main(sys.argv[1:])
    if "experiments.running.processes" in sys.modules:  # then jax is here, and may have others to wait for
        from experiments.running.processes import leave

        leave(code)
    sys.exit(code)
