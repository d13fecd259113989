"""Draws the reports of finished runs again, or of several together: ``python -m experiments.report RUN [RUN ...]``."""

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags
from rich.console import Console

from experiments.cpu import set_up_cpu
from experiments.faults import BAD_CONFIG, DONE, ConfigError, Damaged, EnvironmentFault, code_of
from experiments.settings.pages import load
from experiments.terminal import PipeSafeConsole, print_error
from nalu_jax.registry import UnknownName
from nalu_jax.storage.files import write_atomic

if TYPE_CHECKING:
    from experiments.reports.results import CellResult, FinishedRun

FLAGS = flags.FlagValues()
flags.DEFINE_string("out", None, "Folder for the reports; by default that of the one run.", flag_values=FLAGS)
flags.DEFINE_string("against", None, "A published table, to hold success rates or scores against.", flag_values=FLAGS)
flags.DEFINE_string("config", None, "A page to load first, if it registers units or tasks of its own.", flag_values=FLAGS)
flags.DEFINE_bool("help", False, "Show this help.", short_name="h", flag_values=FLAGS)
HELP = """\
python -m experiments.report RUN [RUN ...] [--out=FOLDER] [--against=TABLE] [--config=PAGE]

Writes the reports that the run's page names, then index.html, one page with all of them, and prints the run's table. A RUN
is the working directory of a run, or a folder of results/; of the latter those reports are written that need no more than
its tables. Several runs of one task are taken together, the seeds of a cell from wherever they were trained; --out says
where their reports go. --against names a published table (experiments/published): success rates or scores stand beside it
with a verdict, and the differences between units with their intervals. --config names the page of a run whose page
registers units or tasks of its own. Exit codes: 0 done, 2 a folder that is no run, a damaged file, or what does not belong
together, of which nothing is written, 3 a fault of the machine.
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
        return print_error(error, code_of(error))
    return DONE


def report(folders: list[Path], out: Path, against: str | None, console: Console) -> None:
    """Writes the reports of runs into a folder, a comparison with a published table, and the page of them all.

    Raises ConfigError for a folder that is no whole run, and for a table that there is not; then nothing is written.
    """
    from experiments.reports import comparison, find
    from experiments.reports.merging import merged
    from experiments.running.environment import check_devices
    from experiments.running.reporting import check_reports, show, write_reports

    check_devices()
    run = merged([finished(folder) for folder in folders])
    if against:
        comparison.compared(run, against)
    reports = [find(name) for name in run.config.reports]
    check_reports(reports, [result.task for result in run.cells])
    with tempfile.TemporaryDirectory() as draft:  # so that nothing is written of a run that a report stumbles over
        try:
            missing = write_reports(run, reports, Path(draft))
            if against:
                comparison.write_comparison(run, Path(draft), against)
                find("differences").write(run, Path(draft))
        except KeyError as error:
            raise ConfigError(f"the seeds of {' or '.join(map(str, folders))} are damaged (no column {error})") from error
        out.mkdir(parents=True, exist_ok=True)
        for path in sorted(Path(draft).iterdir()):
            write_atomic(out / path.name, path.read_bytes())
    find("page").write(run, out)
    show(run, reports, console)
    if against:
        console.print(comparison.screen(run, against))
    for sentence in missing:
        console.print(sentence, soft_wrap=True, highlight=False, markup=False)


def finished(folder: Path) -> "FinishedRun":
    """The run of a folder. Raises ConfigError for a folder that is no run, that has no finished cell, or that is damaged."""
    from experiments.reports.results import read_csv, read_run

    try:
        run = read_run(folder)
        for result in run.cells:
            check_seeds(result)
        if run.cells and not any(result.files.seeds.exists() or result.parts for result in run.cells):
            rows = {
                "seeds.csv": sum(len(result.rows) for result in run.cells),
                "untrained.csv": sum(bool(result.result["untrained"]) for result in run.cells),
            }
            for name, of_cells in rows.items():
                if (folder / name).exists() and (strangers := len(read_csv(folder / name)) - of_cells):
                    raise Damaged(f"{folder / name} is damaged ({strangers} of its rows are of no cell of config.json)")
    except (Damaged, UnknownName) as error:
        raise ConfigError(str(error)) from error
    if not run.cells:
        raise ConfigError(f"{folder} has no finished cell")
    return run


def check_seeds(result: "CellResult") -> None:
    """Raises Damaged unless the rows of a cell are of different seeds, and have what every report reads."""
    where = f"the seeds of {result.cell.name} in {result.files.path.parent} are damaged"
    if any(None in row or None in row.values() for row in result.rows):
        raise Damaged(f"{where} (a row has more or fewer fields than the first)")
    columns = result.seeds
    if missing := [
        name for name in ("seed", "solved", "solved_at", "diverged_at", *result.task.columns) if name not in columns
    ]:
        raise Damaged(f"{where} (they have no column {', '.join(missing)})")
    if (untrained := result.result["untrained"]) and (missing := [m for m in result.task.columns if m not in untrained]):
        raise Damaged(f"the untrained errors of {result.cell.name} are damaged (they have no column {', '.join(missing)})")
    seeds = columns["seed"].tolist()
    if len(set(seeds)) < len(seeds) or any(seed != seed or seed % 1 for seed in seeds):
        raise Damaged(f"{where} (a seed stands there twice, or is no whole number)")


if __name__ == "__main__":
    set_up_cpu()  # as a run does, so that pictures of networks are the same to the last digit
    sys.exit(main(sys.argv[1:]))
