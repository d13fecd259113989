"""Finished runs made of plain values, without training: what the tests of reports read."""

import itertools
from pathlib import Path

import numpy as np

from experiments.reports import figures as saved_as
from experiments.reports.results import CellResult, Files, FinishedRun, plain
from experiments.settings.build import network_of, task_of
from experiments.settings.config import axis_path, set_at
from experiments.settings.grid import Cell, cell_name, sort_axes
from experiments.settings.pages import CONFIGS, load

NAN = float("nan")
SEEDS = 4
RANGES = [(-2.0, -1.0), (-2.0, 2.0), (1.0, 2.0)]


def run_of(cells):
    """The run of finished cells: each has all axes, an empty one where it has no value of its own."""
    axes = sort_axes({axis for cell in cells for axis in cell.axes})
    filled = [cell._replace(axes={axis: cell.axes.get(axis, "") for axis in axes}) for cell in cells]
    return FinishedRun(cells[0].files.path.parent, cells[0].cell.config, filled)


def cell_of(folder, page, axes, columns, *, task=None, threshold=0.0, best_seed=0, steps=2000, predictors=None):
    """A finished cell of a page, whose axes and columns of seeds.csv are given, with its files config.json apart."""
    config = page.copy_and_resolve_references()
    for axis, value in axes.items():
        set_at(config, axis_path(page, axis), value)
    cell = Cell(axes, cell_name(axes), config)
    files = Files(folder / cell.name)
    files.path.mkdir(exist_ok=True)
    rows = [dict(zip(columns, map(text_of, row), strict=True)) for row in zip(*columns.values(), strict=True)]
    result = {"steps": steps, "threshold": threshold, "best_seed": best_seed, "untrained": {}}
    return CellResult(axes, cell, task or task_of(config), rows, result | {"predictors": predictors or {}}, files)


def text_of(value):
    """A number as it stands in seeds.csv."""
    return str(plain(np.float64(value)))


def page_of(name):
    """The config of a shipped page."""
    return load(str(CONFIGS / f"{name}.py"))


# Arithmetic

QUICKSTART, SINGLE_UNIT = page_of("quickstart"), page_of("single_unit")
SINGLE_UNIT.task.operation = "add"
SINGLE = task_of(SINGLE_UNIT)


def arithmetic(
    folder, axes, *, page=QUICKSTART, solved_at=(3000, 5000, NAN, NAN), sparsity=(1e-3, 2e-3, 0.4, 0.4), threshold=1e-5
):
    """A finished cell of four seeds, the third the best, of which by default two are solved; evaluated three times."""
    errors = ("interpolation_mse", "extrapolation_mse")
    columns = {
        "seed": range(SEEDS),
        "solved": np.isfinite(solved_at),
        "solved_at": solved_at,
        **dict.fromkeys(errors, (4.0, 3.0, 1.0, 2.0)),
        "sparsity_error": sparsity,
        "diverged_at": [NAN] * SEEDS,
    }
    cell = cell_of(folder, page, axes, columns, task=SINGLE, threshold=threshold, best_seed=2, steps=50_000)
    quartiles = '{"q25": 0.5, "median": 1.0, "q75": 2.0}'
    fields = ", ".join(f'"{name}": {quartiles}' for name in (*errors, "sparsity_error"))
    cell.files.metrics.write_text("".join(f'{{"step": {step}, {fields}}}\n' for step in (0, 1000, 2000)))
    return cell


def product_of(folder, **axes):
    """A finished cell of arithmetic for each combination of the values of axes."""
    return [arithmetic(folder, dict(zip(axes, values, strict=True))) for values in itertools.product(*axes.values())]


def grid(folder, units, operations=("mul",), intervals=RANGES):
    """The run of units, operations and ranges."""
    return run_of(product_of(folder, unit=units, operation=operations, interpolation_range=intervals))


# Digits


def digits(
    folder,
    task="mnist_counting",
    *,
    at=(1, 10, 100),
    train_length=10,
    num_sequences=500,
    mae=1.0,
    mse=1.0,
    accuracy=0.5,
    told=(("constant", 7.0), ("true mean", 3.0)),
    **axes,
):
    """A finished cell of four seeds, the third the best, whose test errors are the given ones times the length.

    So are the absolute errors of predictors; their squared errors are the same at all lengths.
    """
    page = page_of(task)
    page.task.update(lengths=tuple(at), train_length=train_length, num_sequences=num_sequences)
    mae, mse, accuracy = (np.broadcast_to(values, SEEDS).astype(float) for values in (mae, mse, accuracy))
    columns = {"seed": range(SEEDS), "solved": [0] * SEEDS, "solved_at": [NAN] * SEEDS}
    columns |= {
        "interpolation_mse": (4.0, 3.0, 1.0, 2.0),
        "sparsity_error": [0.0] * SEEDS,
        "extrapolation_accuracy": accuracy,
    }
    columns["diverged_at"] = np.where(np.isnan(mae), 100, NAN)
    predictors = {name: {"interpolation_mse": train_length, "extrapolation_accuracy": 0.1} for name, _ in told}
    for i, length in enumerate(at):
        suffix = "" if length == at[-1] else f"_{length}"
        columns |= {f"extrapolation_mae{suffix}": length * mae, f"extrapolation_mse{suffix}": length * mse}
        for name, errors in told:
            error = float(np.broadcast_to(errors, len(at))[i])
            predictors[name] |= {f"extrapolation_mae{suffix}": length * error, f"extrapolation_mse{suffix}": error}
    return cell_of(folder, page, axes, columns, best_seed=2, predictors=predictors)


# Parameters


def store(cell, params):
    """Writes params.npz of a cell: these of the best seed, and of the others what is no number."""
    import jax

    from nalu_jax.storage.checkpoint import pack

    stored = jax.tree.map(lambda leaf: np.stack([leaf if i == 2 else np.full_like(leaf, NAN) for i in range(SEEDS)]), params)
    cell.files.params.write_bytes(pack({"best": stored, "last": stored}))
    return cell


def untrained(cell):
    """The cell with random parameters, of the shapes that its network has."""
    import jax

    network = network_of(cell.cell.config, cell.task)
    shapes = jax.eval_shape(network.init, jax.random.key(0), cell.task.example)["params"]
    rng = np.random.RandomState(3)
    return store(cell, jax.tree.map(lambda leaf: rng.normal(0, 0.1, leaf.shape).astype(leaf.dtype), shapes))


# Pictures

KINDS = saved_as.KINDS


def keep_figures(monkeypatch, *reports):
    """A list that gets the figures which reports save; what is saved is one coarse picture of each."""
    figures = []
    monkeypatch.setattr(saved_as, "KINDS", {"png": {"dpi": 50}})

    def patch(report):
        save = report.save

        def keep(figure, path):
            figures.append(figure)
            save(figure, path)

        monkeypatch.setattr(report, "save", keep)

    for report in reports:
        patch(report)
    return figures


def save_whole(monkeypatch):
    """Has figures saved as they are for users, at their size and in all kinds, where files are looked at."""
    monkeypatch.setattr(saved_as, "KINDS", KINDS)


def panels_of(figure):
    """The panels, row by row."""
    rows = figure.axes[0].get_gridspec().nrows
    return [figure.axes[i * len(figure.axes) // rows : (i + 1) * len(figure.axes) // rows] for i in range(rows)]


def legend_of(figure):
    """The texts of the legend."""
    return [text.get_text() for text in figure.legends[0].get_texts()]


def texts(panel):
    """What is written in a panel."""
    return [text.get_text() for text in panel.texts]


def points(panel):
    """The markers of a panel: where and how high, by place."""
    return sorted((float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in panel.get_lines())


def bars(panel):
    """The intervals of a panel: from where to where, by place."""
    segments = [segment for lines in panel.collections for segment in lines.get_segments()]
    return [(low, high) for _, low, high in sorted((s[0][0], s[0][1], s[1][1]) for s in segments)]


def looks_of(lines):
    """What tells lines apart."""
    return [(line.get_color(), line.get_marker(), line.get_markerfacecolor()) for line in lines]


def size_of(path: Path):
    """Width and height of a picture."""
    from PIL import Image

    with Image.open(path) as image:
        return image.size
