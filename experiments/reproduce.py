"""From nothing to a published table: ``python -m experiments.reproduce TABLE``; ``--list`` names them all."""

import sys
from pathlib import Path

from absl import flags
from rich.console import Console

from experiments import report, run
from experiments.cpu import set_up_cpu
from experiments.faults import BAD_CONFIG, DONE, INCOMPLETE, ConfigError
from experiments.settings.pages import load, shipped
from experiments.terminal import PipeSafeConsole, print_error

FLAGS = flags.FlagValues()
flags.DEFINE_bool("list", False, "Name the published tables and figures, and what stands in their way.", flag_values=FLAGS)
flags.DEFINE_enum("budget", "paper", ["paper", "quick"], "As published, or what two cores can do.", flag_values=FLAGS)
flags.DEFINE_string("workdir", None, "Folder of the runs; by default runs/TABLE.", flag_values=FLAGS)
flags.DEFINE_bool(
    "dry_run", False, "Show the cells, what is done, and what the rest takes; write nothing.", flag_values=FLAGS
)
flags.DEFINE_bool("help", False, "Show this help.", short_name="h", flag_values=FLAGS)
HELP = """\
python -m experiments.reproduce TABLE [--budget=quick] [--workdir=FOLDER] [--dry_run]
python -m experiments.reproduce --list

Runs the pages that repeat a published table, or goes on with them, and writes their reports; success rates and scores stand
beside the published ones. --budget=quick takes the page without its preset "paper", and of pages that have none 10 seeds and
20,000 steps. --dry_run says what it takes, and writes nothing. Exit codes: those of experiments.run.
"""
QUICK = ("--config.num_seeds=10", "--config.num_steps=20000")


def main(arguments: list[str]) -> int:
    """Repeats the table that the arguments name, and returns the exit code."""
    console = PipeSafeConsole()
    try:
        names = FLAGS(["experiments.reproduce", *arguments])[1:]
        if FLAGS.list:
            show_tables(console)
            return DONE
        if FLAGS.help or len(names) != 1:
            console.print(HELP, highlight=False, markup=False, soft_wrap=True)
            return DONE if FLAGS.help else BAD_CONFIG
        [name] = names
        workdir = Path(FLAGS.workdir or Path("runs") / name).expanduser()
        return reproduce(name, workdir, quick=FLAGS.budget == "quick", dry_run=FLAGS.dry_run)
    except (ConfigError, flags.Error) as error:
        return print_error(error, BAD_CONFIG)
    finally:
        FLAGS.unparse_flags()  # the next call starts from the defaults


def reproduce(name: str, folder: Path, *, quick: bool, dry_run: bool = False) -> int:
    """Runs the pages of a table, each in a folder of its own, and compares them with it; the first bad exit code ends it.

    With ``dry_run`` it only says what each page takes.

    Raises ConfigError for a table that is not known, and for one that no page repeats.
    """
    from experiments.reports.comparison import comparable
    from experiments.reports.published import tables

    metric, pages = comparable(name), tables()[name].pages
    if not pages:
        raise ConfigError(f"no page repeats {name}: {tables()[name].missing}")
    folders = [folder / str(i + 1) for i in range(len(pages))] if len(pages) > 1 else [folder]
    for page, workdir in zip(pages, folders, strict=True):
        run.FLAGS.unparse_flags()
        command = command_of(page.config, page.overrides, quick=quick)
        code = run.main([f"--workdir={workdir}", *command, *(["--dry_run"] if dry_run else [])])
        if code not in (DONE, INCOMPLETE):
            return code
    unscored = metric == "score" and not all("scores" in load(page.config).reports for page in pages)
    if dry_run or metric is None or unscored:
        return DONE
    report.FLAGS.unparse_flags()
    return report.main([*map(str, folders), f"--out={folder}", f"--against={name}"])


def command_of(config: str, overrides: tuple[str, ...], *, quick: bool) -> list[str]:
    """The arguments of ``experiments.run`` for a page, as published or quick."""
    page, _, preset = config.partition(":")
    if not quick:
        return [f"--config={config}", *overrides]
    if preset == "paper":
        return [f"--config={page}", *overrides]
    reduced = {flag.partition("=")[0] for flag in QUICK}
    return [f"--config={config}", *(flag for flag in overrides if flag.partition("=")[0] not in reduced), *QUICK]


def show_tables(console: Console) -> None:
    """Prints each table: what it is, the commands that repeat it with their times, and what stands in the way."""
    from experiments.reports.published import tables

    times = {Path(page).stem: said.time for page, said in shipped().items()}
    for name, known in tables().items():
        lines = [f"{name}: {known.title} ({known.paper.authors} {known.paper.year}, {known.place})"]
        for page in known.pages:
            time = times.get(page.config.partition(":")[0], "")
            lines.append("    " + " ".join([f"--config={page.config}", *page.overrides]))
            lines += [f"        {time}"] if time else []
        lines += [f"    The paper says: {known.says}"] if known.says else []
        lines += [f"    {known.missing}"] if known.missing else []
        console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    set_up_cpu()
    sys.exit(main(sys.argv[1:]))
