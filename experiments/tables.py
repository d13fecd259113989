"""Tables of finished cells: the summary with the field's success criterion, and the scores of the 2018 paper."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from tabulate import tabulate

from experiments.results import CellResult, Predictor, predictors, write_csv
from nalu_jax.checkpoint import write_atomic
from nalu_jax.stats import quantiles, solved_at_mean, sparsity_error_mean, success_rate


def summary_rows(results: list[CellResult]) -> list[dict[str, Any]]:
    """The rows of summary.csv: one a cell, and one a predictor that sees no input."""
    rows = [summary_row(result) for result in results]
    return rows + [predictor_row(predictor, rows[0]) for predictor in predictors(results)]


def summary_row(result: CellResult) -> dict[str, Any]:
    """A cell's row of summary.csv.

    Criterion and intervals (95 %) are those of Madsen & Johansen 2020 (arXiv 2001.05016): a seed is solved if its test
    error at its lowest validation error is below the threshold. "Solved at" and the sparsity error are over solved seeds;
    the median errors are over all, at each seed's best evaluation. Of a task without a threshold nothing is said of success.
    """
    columns = result.seeds
    return {
        **result.axes,
        "seeds": len(columns["seed"]),
        "steps": result.result["steps"],
        **judgement(result),
        "interpolation_mse_median": quantiles(columns["interpolation_mse"], (0.5,))[0],
        "extrapolation_mse_median": quantiles(columns["extrapolation_mse"], (0.5,))[0],
        **accuracies(columns),
        "diverged": int(np.isfinite(columns["diverged_at"]).sum()),
    }


def judgement(result: CellResult) -> dict[str, float | None]:
    """Success rate, solved at and sparsity error of a cell, all None if its task has no threshold."""
    solved, columns = result.solved, result.seeds
    rate = success_rate(int(solved.sum()), len(solved))
    steps = solved_at_mean(columns["solved_at"][solved])
    sparsity = sparsity_error_mean(columns["sparsity_error"][solved])
    found = {
        "success_rate": rate.estimate,
        "success_low": rate.low,
        "success_high": rate.high,
        "solved_at_median": float(np.median(columns["solved_at"][solved])) if solved.any() else None,
        "solved_at_mean": steps.estimate,
        "solved_at_low": steps.low,
        "solved_at_high": steps.high,
        "sparsity_error_mean": sparsity.estimate,
        "sparsity_error_low": sparsity.low,
        "sparsity_error_high": sparsity.high,
    }
    return found if result.result["threshold"] else dict.fromkeys(found)


def predictor_row(predictor: Predictor, columns: Iterable[str]) -> dict[str, Any]:
    """A predictor's row of summary.csv, which has these columns; a threshold is for networks."""
    known = {f"{name}_median": predictor.metrics.get(name) for name in ("interpolation_mse", "extrapolation_mse")}
    if "extrapolation_accuracy" in predictor.metrics:
        known |= dict.fromkeys(ACCURACY, predictor.metrics["extrapolation_accuracy"])
    return dict.fromkeys(columns) | predictor.axes | known


ACCURACY = ("accuracy_median", "accuracy_low", "accuracy_high")


def accuracies(columns: dict[str, np.ndarray]) -> dict[str, float]:
    """Median, lowest and highest test accuracy, of tasks that have one; a diverged seed is never right."""
    if "extrapolation_accuracy" not in columns:
        return {}
    low, median, high = quantiles(np.nan_to_num(columns["extrapolation_accuracy"], nan=0.0), (0.0, 0.5, 1.0))
    return dict(zip(ACCURACY, (median, low, high), strict=True))


def readable(row: dict[str, Any], axes: list[str]) -> dict[str, str]:
    """A row of the summary as a person reads it."""

    def number(value: Any) -> str:
        return "–" if value is None or np.isnan(value) else f"{value:.1e}"

    def interval(name: str) -> str:
        if row[f"{name}_mean"] is None or np.isnan(row[f"{name}_mean"]):
            return "–"
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        return number(row[f"{name}_mean"]) + ("" if np.isnan(low) else f" [{number(low)}, {number(high)}]")

    def success() -> str:
        if row["success_rate"] is None:
            return "–"
        rate, low, high = (f"{100 * row[name]:.0f}" for name in ("success_rate", "success_low", "success_high"))
        return f"{rate} % [{low}, {high}]"

    return {
        **{axis: str(row[axis]) for axis in axes},
        "success": success(),
        "solved at, median": number(row["solved_at_median"]),
        "solved at, mean": interval("solved_at"),
        "sparsity error": interval("sparsity_error"),
        "interpolation": number(row["interpolation_mse_median"]),
        "extrapolation": number(row["extrapolation_mse_median"]),
        **accuracy(row),
        "diverged": str(row["diverged"]) if row["diverged"] else "",
    }


def accuracy(row: dict[str, Any]) -> dict[str, str]:
    """The column of the test accuracy, for tasks that have one."""
    if "accuracy_median" not in row:
        return {}
    median, low, high = (f"{100 * row[f'accuracy_{name}']:.1f}" for name in ("median", "low", "high"))
    return {"accuracy": f"{median} %" if low == high else f"{median} % [{low}, {high}]"}


def judged(rows: list[dict[str, Any]], people: list[dict[str, str]]) -> list[dict[str, str]]:
    """The rows for people, without what rests on a threshold if no row has one."""
    if any(row["success_rate"] is not None for row in rows):
        return people
    return [{name: text for name, text in row.items() if name not in JUDGEMENT} for row in people]


JUDGEMENT = ("success", "solved at, median", "solved at, mean", "sparsity error")


def write_tables(results: list[CellResult], folder: Path) -> None:
    """Writes summary.{csv,md,tex}, seeds.csv and, where papers score so, scores.{md,tex}."""
    rows = summary_rows(results)
    write_csv(folder / "summary.csv", rows)
    write_csv(folder / "seeds.csv", seed_rows(results))
    people = judged(rows, [readable(row, list(results[0].axes)) for row in rows])
    caption = [f"{rows[0]['seeds']} seeds a cell, {rows[0]['steps']:,} steps."]
    if "success" in people[0]:
        caption.append(
            "Success: test error below the threshold at the lowest validation error. Brackets: 95 % intervals. Solved at "
            "and sparsity error: solved seeds only."
        )
    caption.append("Interpolation and extrapolation: median squared error over all seeds.")
    if "accuracy" in people[0]:
        caption.append("Accuracy: median over seeds [lowest, highest].")
    write_table(folder / "summary", people, " ".join(caption))
    # The score compares units on one task, and on those that papers score.
    if "interpolation_range" not in results[0].axes and results[0].result["untrained"]:
        write_table(folder / "scores", score_rows(results), SCORES_CAPTION)


def write_table(stem: Path, rows: list[dict[str, str]], caption: str) -> None:
    """Writes a table as Markdown and as LaTeX (booktabs)."""
    write_tables_of(stem, [(rows, caption)])


def write_tables_of(stem: Path, tables: list[tuple[list[dict[str, str]], str]]) -> None:
    """Writes tables, each with its caption, into one file as Markdown and one as LaTeX (booktabs)."""
    markdown = [
        f"{tabulate(rows, headers='keys', tablefmt='github', disable_numparse=True)}\n\n{note}" for rows, note in tables
    ]
    write_atomic(stem.with_suffix(".md"), ("\n\n".join(markdown) + "\n").encode())
    latex = [as_latex(rows, caption) for rows, caption in tables]
    write_atomic(stem.with_suffix(".tex"), ("% needs \\usepackage{booktabs}\n" + "\n\n".join(latex) + "\n").encode())


def as_latex(rows: list[dict[str, str]], caption: str) -> str:
    """A table as LaTeX, its caption as a comment below."""
    latex = tabulate(rows, headers="keys", tablefmt="latex_booktabs", disable_numparse=True)
    for character, command in LATEX.items():
        latex = latex.replace(character, command)
    return f"{latex}\n% " + caption.replace("%", r"\%")


LATEX = {
    **{"–": "--", "−": "$-$", "√": r"$\surd$", "×": r"$\times$", "÷": r"$\div$", "²": "$^2$", "∞": r"$\infty$"},
    "σ": r"$\sigma$",
}


def seed_rows(results: list[CellResult]) -> list[dict[str, Any]]:
    """The rows of all cells' seeds.csv, as they stand there."""
    import csv

    rows = []
    for result in results:
        with open(result.files.seeds, newline="") as file:
            rows += list(csv.DictReader(file))
    return rows


# The 2018 paper's order of operations and the way it writes them (its table 1).
SCORE_OPERATIONS = {"add": "a + b", "sub": "a − b", "mul": "a × b", "div": "a ÷ b", "squared": "a²", "root": "√a"}
SCORES_CAPTION = (
    "Score of Trask et al. 2018, table 1: 100 times the error over that of untrained dense networks on the same task (mean "
    "over seeds, last column); 0 is perfect, 100 as bad as untrained. Median over seeds, the best seed in parentheses."
)


def score_rows(results: list[CellResult]) -> list[dict[str, str]]:
    """The normalised scores, shaped like table 1 of Trask et al. 2018: a row an operation, a column a unit."""
    rows = []
    labels = list(dict.fromkeys(result.label for result in results))
    operations = sorted({str(r.axes.get("operation", "")) for r in results}, key=[*SCORE_OPERATIONS, ""].index)
    for error in ("interpolation", "extrapolation"):
        for operation in operations:
            cells = {r.label: r for r in results if str(r.axes.get("operation", "")) == operation}
            untrained = next(iter(cells.values())).result["untrained"][f"{error}_mse"]
            row = {"range": error, "task": SCORE_OPERATIONS.get(operation, operation)}
            row |= {label: score(cells[label].seeds[f"{error}_mse"], untrained) for label in labels if label in cells}
            rows.append(row | {"untrained error": f"{untrained:.3g}"})
    return rows


def score(errors: np.ndarray, untrained: float) -> str:
    """Median and best of 100 · error / untrained error, as the paper prints them."""

    def printed(value: float) -> str:
        return "–" if not np.isfinite(value) else ">999" if value > 999 else f"{value:.1f}"

    scores = 100 * np.where(np.isnan(errors), np.inf, errors) / untrained
    return f"{printed(quantiles(scores, (0.5,))[0])} ({printed(scores.min())})"


def terminal_table(results: list[CellResult]) -> Table:
    """The summary for the screen, in eighty columns if the names are short: medians and the success rate."""
    names = {
        "solved at, median": "solved at",
        "sparsity error": "sparsity",
        "interpolation": "interp.",
        "extrapolation": "extrap.",
    }
    found = summary_rows(results)
    rows = judged(found, [readable(row, list(results[0].axes)) for row in found])
    shown = [name for name in (*results[0].axes, "success", *names, "accuracy", "diverged") if name in rows[0]]
    if not any(row["diverged"] for row in rows):
        shown.remove("diverged")
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in shown:
        table.add_column(names.get(name, name), justify="left" if name in results[0].axes else "right", overflow="fold")
    several = len({row[shown[0]] for row in rows}) < len(rows)  # rows of some unit: then units stand apart
    for i, row in enumerate(rows):
        last_of_unit = several and i + 1 < len(rows) and rows[i + 1][shown[0]] != row[shown[0]]
        table.add_row(*(row[name].split(" [")[0] if name == "sparsity error" else row[name] for name in shown))
        if last_of_unit:
            table.add_row()
    return table
