"""Draws the reports of finished runs again, or of several together: ``python -m experiments.report RUN [RUN ...]``."""

import sys
from pathlib import Path

from absl import flags
from rich.console import Console

from experiments.faults import BAD_CONFIG, BAD_ENVIRONMENT, DONE, ConfigError, EnvironmentFault
from experiments.pages import load
from experiments.run import set_up_cpu
from experiments.terminal import PipeSafeConsole, print_error

FLAGS = flags.FlagValues()
flags.DEFINE_string("out", None, "Folder for the reports; by default that of the one run.", flag_values=FLAGS)
flags.DEFINE_string("against", None, "A published table, to hold success rates against.", flag_values=FLAGS)
flags.DEFINE_string("config", None, "A page to load first, if it registers units or tasks of its own.", flag_values=FLAGS)
flags.DEFINE_bool("help", False, "Show this help.", short_name="h", flag_values=FLAGS)
HELP = """\
python -m experiments.report RUN [RUN ...] [--out=FOLDER] [--against=TABLE] [--config=PAGE]

Writes the reports that the run's page names, and prints its table. A RUN is the working directory of a run, or a folder of
results/; of the latter those reports are written that need no more than its tables. Several runs of one task are taken
together, the seeds of a cell from wherever they were trained; --out says where their reports go. --against names a
published table (experiments/published): success rates stand beside it with a verdict, and the differences between units with
their intervals. --config names the page of a run whose page registers units or tasks of its own. Exit codes: 0 done, 2 a
folder that is no run, or what does not belong together, 3 a damaged file.
"""


def main(arguments: list[str]) -> int:
    """Writes the reports of the runs that the arguments name, and returns the exit code."""
    console = PipeSafeConsole()
    try:
        runs = FLAGS(["experiments.report", *arguments])[1:]
        if FLAGS.help or not runs:
            console.print(HELP, highlight=False, markup=False, soft_wrap=True)
            return DONE if FLAGS.help else BAD_CONFIG
        if not FLAGS.out and len(runs) > 1:
            raise ConfigError("--out is missing: the folder for the reports of several runs together")
        if FLAGS.config:
            load(FLAGS.config)
        report([Path(run).expanduser() for run in runs], Path(FLAGS.out or runs[0]).expanduser(), FLAGS.against, console)
    except (ConfigError, flags.Error) as error:
        return print_error(error, BAD_CONFIG)
    except (EnvironmentFault, OSError) as error:
        return print_error(error, BAD_ENVIRONMENT)
    return DONE


def report(folders: list[Path], out: Path, against: str | None, console: Console) -> None:
    """Writes the reports of runs into a folder, and a comparison with a published table.

    Raises ConfigError for a folder that is no run, and for a table that there is not, before anything is written.
    """
    from experiments.environment import check_devices
    from experiments.experiment import show, write_reports
    from experiments.reports import comparison, find
    from experiments.reports.merging import merged
    from experiments.reports.results import read_run

    check_devices()
    runs = [read_run(folder) for folder in folders]
    for folder, run in zip(folders, runs, strict=True):
        if not run.cells:
            raise ConfigError(f"{folder} has no finished cell")
    run = merged(runs)
    if against:
        comparison.compared(run, against)
    reports = [find(name) for name in run.config.reports]
    out.mkdir(parents=True, exist_ok=True)
    missing = write_reports(run, reports, out)
    show(run, reports, console)
    if against:
        comparison.write_comparison(run, out, against)
        find("differences").write(run, out)
        console.print(comparison.screen(run, against))
    for sentence in missing:
        console.print(sentence, soft_wrap=True, highlight=False, markup=False)


if __name__ == "__main__":
    set_up_cpu()  # as a run does, so that pictures of networks are the same to the last digit
    sys.exit(main(sys.argv[1:]))
