"""Writes what the papers say and what was measured here: the claims into README.md, the main table into results/README.md.

    python scripts/document_claims.py            # write them
    python scripts/document_claims.py --check    # are the tables there what would be written now?

Every number is read, from experiments/published/ and from results/; only the words are written here.
"""

import csv
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from experiments.reports.published import Number, table  # noqa: E402

README, RESULTS = ROOT / "README.md", ROOT / "results" / "README.md"
START, END = "<!-- What scripts/document_claims.py writes -->\n", "<!-- ends here -->\n"
NAMES = {"nac": "NAC", "nac_mul": "NAC•", "nalu": "NALU", "nmu": "NMU", "linear": "linear", "relu": "ReLU", "tanh": "tanh"}


class Claim(NamedTuple):
    """A row of the table."""

    experiment: str  # the section of results/README.md
    claim: str
    measure: str  # what the numbers are
    published: Callable[[], str]
    measured: Callable[[], str]
    verdict: str


def rows_of(experiment: str, file: str, **where: str) -> list[dict[str, str]]:
    """The rows of a CSV in results/ that have these values."""
    with open(ROOT / "results" / experiment / f"{file}.csv", newline="", encoding="utf-8") as text:
        return [row for row in csv.DictReader(text) if all(row[name] == value for name, value in where.items())]


def published(name: str, metric: str, **axes: str) -> Number:
    """The one number of a published table at these axes."""
    [number] = [one for one in table(name) if one.metric == metric and one.axes == axes]
    return number


def rate(experiment: str, unit: str, operation: str) -> str:
    """A success rate that was measured, with its interval: 12 % [4, 30]."""
    [row] = rows_of(experiment, "summary", unit=unit, operation=operation)
    estimate, low, high = (100 * float(row[f"success_{end}"]) for end in ("rate", "low", "high"))
    return f"{estimate:.0f} % [{low:.0f}, {high:.0f}]"


def listed(value: Callable[[str], str], *units: str) -> str:
    """A value for each of several units: NAC 12 %, NALU 13 %. Lines break between them alone."""
    return ", ".join(f"{NAMES[unit]} {value(unit)}".replace(" ", "\N{NO-BREAK SPACE}") for unit in units)


def identity_published(unit: str) -> str:
    """The mean error of a network beyond the numbers of its training."""
    return published("trask_2018_table_5", "mae", unit=unit).printed


def identity_measured(unit: str) -> str:
    """The same of ours."""
    errors = [float(row["extrapolation_mae"]) for row in rows_of("identity_extrapolation", "seeds", unit=unit)]
    mean = statistics.fmean(errors)
    return f"{mean:.0f}" if mean > 1 else f"{mean:.0e}".replace("e-0", "e-")


def success_published(name: str, operation: str) -> Callable[[str], str]:
    """The published success rate of a unit."""
    return lambda unit: f"{100 * published(name, 'success_rate', unit=unit, operation=operation).value:.0f} %"


def counting_published(**axes: str) -> str:
    """The mean absolute error of counting a thousand images, as printed."""
    return published("trask_2018_table_2", "mae", task="mnist_counting", length="1000", **axes).printed


def counting_measured(**axes: str) -> str:
    """The same of ours, the median over seeds."""
    [row] = rows_of("mnist_counting", "lengths", length="1000", **axes)
    return f"{float(row['mae_median']):.3g}"


def words_published(unit: str) -> str:
    """The mean error on the numbers of the test, of the best run by validation."""
    readouts = {"readout": "summed_states"} if unit == "linear" else {}
    return published("trask_2018_table_3", "mae", unit=unit, split="test", cell="lstm", **readouts).printed


def words_measured(unit: str, readout: str) -> str:
    """The same of ours."""
    rows = rows_of("language_to_number", "seeds", unit=unit, readout=readout)
    best = min(rows, key=lambda row: float(row["validation_mae"]))
    return f"{float(best['test_mae']):.3g}"


def digits_published(programs: str) -> str:
    """The matching digits of the NALU on the test at the end of training."""
    cell = {"programs": programs, "cell": "configured_nalu", "split": "test"}
    points = [one for one in table("trask_2018_figure_4") if cell.items() <= one.axes.items()]
    points += [one for one in table("trask_2018_figure_6") if cell.items() <= one.axes.items()]
    return f"{max(points, key=lambda one: int(one.axes['step'])).value:.0f} %"


def digits_measured(programs: str) -> str:
    """The same of ours: the median over seeds of the setting that matches most."""
    settings: dict[tuple[str, str], list[float]] = {}
    for row in rows_of("program_evaluation", "seeds", programs=programs, cell="configured_nalu"):
        settings.setdefault((row["registers"], row["sees"]), []).append(100 * float(row["test_digits"]))
    return f"{max(map(statistics.median, settings.values())):.0f} %"


def reward_published(unit: str) -> str:
    """The mean reward of a published agent for times from 13 to 19."""
    rewards = [one.value for one in table("trask_2018_figure_5") if beyond(one, unit)]
    return f"{statistics.fmean(rewards):.2f}"


def beyond(number: Number, unit: str) -> bool:
    """Whether a published reward is that of an agent with this unit, "" for none, beyond the times of training."""
    return number.metric == "reward" and number.axes.get("unit", "") == unit and 13 <= int(number.axes["number"]) <= 19


def reward_measured(**axes: str) -> str:
    """The same of ours, the mean over seeds."""
    rewards = [
        statistics.fmean(float(row[f"reward_{number}"]) for number in range(13, 20))
        for row in rows_of("grid_world", "seeds", **axes)
    ]
    return f"{statistics.fmean(rewards):.2f}"


CLAIMS = (
    Claim(
        "identity_extrapolation",
        "Networks give back the numbers they were trained on and fail on others, unless they are linear",
        "mean error from -1,000 to 999 after training from -5 to 4; always saying 0 errs by 500",
        lambda: listed(identity_published, "tanh", "relu", "linear"),
        lambda: listed(identity_measured, "tanh", "relu", "linear", "nac"),
        "holds, and the NAC does not fail",
    ),
    Claim(
        "static_arithmetic",
        "NAC and NALU learn exactly to add two sums of parts of a vector",
        "share of seeds; in 2018 one score each was printed, 0.0, and in 2020 others counted seeds",
        lambda: listed(success_published("madsen_johansen_2020_all_models", "add"), "nac", "nalu"),
        lambda: listed(lambda unit: rate("static_arithmetic", unit, "add"), "nac", "nalu"),
        "holds for the NAC; few seeds of the NALU",
    ),
    Claim(
        "static_arithmetic_simple",
        "The NMU multiplies where NAC• and NALU seldom do",
        "share of seeds",
        lambda: listed(success_published("madsen_johansen_2020_simple", "mul"), "nmu", "nac_mul", "nalu"),
        lambda: listed(lambda unit: rate("static_arithmetic_simple", unit, "mul"), "nmu", "nac_mul", "nalu"),
        "holds",
    ),
    Claim(
        "mnist_counting",
        "A NAC that counts the digits of ten images goes on to a thousand, an LSTM does not",
        "mean error of a count; the paper's are probably printed twice as large as they are",
        lambda: f"NAC {counting_published(unit='nac')}, LSTM {counting_published(cell='lstm')}",
        lambda: ", ".join(
            f"{name} {counting_measured(**axes)}"
            for name, axes in {
                "NAC": {"unit": "nac", "cell": "accumulator"},
                "LSTM": {"cell": "lstm", "readout": "dense"},
            }.items()
        ),
        "holds for NACs that accumulate",
    ),
    Claim(
        "language_to_number",
        "An LSTM with a NALU says numbers in words that it has not read",
        "mean error of the best run, of numbers up to 999",
        lambda: f"NALU {words_published('nalu')}, linear {words_published('linear')}",
        lambda: ", ".join(
            f"{name} {words_measured(unit, readout)}"
            for name, unit, readout in (("NALU", "nalu", "summed_answers"), ("linear", "linear", "summed_states"))
        ),
        "holds where a NALU answers to each word, if not as closely",
    ),
    Claim(
        "program_evaluation",
        "A NALU that an LSTM configures executes programs on longer numbers than it was trained on",
        "matching digits of four-digit numbers after training on two",
        lambda: f"sums {digits_published('addition')}, programs with conditionals {digits_published('mixed')}",
        lambda: f"sums {digits_measured('addition')}, programs with conditionals {digits_measured('mixed')}",
        "holds for sums, with most seeds; the conditionals are not learned in our few steps",
    ),
    Claim(
        "grid_world",
        "An agent with a NAC arrives on time beyond the times of its training",
        "share of the reward that is kept there",
        lambda: f"with {reward_published('nac')}, without {reward_published('')}",
        lambda: f"with {reward_measured(unit='nac', wiring='feedback')}, without {reward_measured(wiring='none')}",
        "not found",
    ),
)


def claims() -> Iterator[str]:
    """The table of claims, line by line."""
    yield "| claim | published | measured here | verdict |"
    yield "|---|---|---|---|"
    for one in CLAIMS:
        claim = f"[{one.claim}](results/README.md#{one.experiment}): {one.measure}"
        yield f"| {claim} | {one.published()} | {one.measured()} | {one.verdict} |"


def main_table() -> Iterator[str]:
    """The success rates of static arithmetic at a glance, the first table of its comparison, line by line."""
    text = (ROOT / "results" / "static_arithmetic" / "comparison.md").read_text(encoding="utf-8")
    yield from text.partition("\n\n")[0].splitlines()


def updated(path: Path, lines: Iterator[str]) -> str:
    """The text of a file with the table of now between the two marks."""
    before, _, rest = path.read_text(encoding="utf-8").partition(START)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"{path} has no place for the table: {START.strip()} and {END.strip()}")
    return before + START + "\n" + "\n".join(lines) + "\n\n" + END + after


def main(arguments: list[str]) -> int:
    """Writes the tables, or compares them, and returns the exit code."""
    for path, lines in ((README, claims()), (RESULTS, main_table())):
        text = updated(path, lines)
        if arguments != ["--check"]:
            path.write_text(text, encoding="utf-8")
        elif text != path.read_text(encoding="utf-8"):
            print(f"the table in {path} is not what results/ says: run python scripts/document_claims.py")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
