"""How fast runs are, how long they compile and how much memory they take, against their size: docs/performance.png.

    python scripts/scaling.py [--only seeds,inputs,hidden,units,blocks,compile,memory] [--folder FOLDER] [--quick]
    python scripts/scaling.py --draw                       # draw what benchmarks/scaling.json holds, measure nothing

Static arithmetic with batches of 128 rows; 100 inputs, hidden size 2, a NAC and 100 seeds where a part does not say
otherwise. Speeds are those of training steps alone, in seed-steps (an optimizer step of one seed) per second: no evaluation,
no files. All rounds go to benchmarks/scaling.json; the picture shows their medians, lowest and highest. Some ten
minutes on two cores. Real runs, with evaluations and files, are what scripts/benchmark.py times.
"""

import argparse
import gc
import itertools
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from experiments.run import set_up_cpu  # noqa: E402

if __name__ == "__main__":
    set_up_cpu()

import jax  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator  # noqa: E402
from ml_collections import ConfigDict  # noqa: E402

from experiments import build  # noqa: E402
from experiments.config import load, override  # noqa: E402
from experiments.grid import cells  # noqa: E402
from experiments.plots import COLOURS, quiet, save  # noqa: E402
from nalu_jax import functional  # noqa: E402
from nalu_jax.checkpoint import write_atomic  # noqa: E402
from nalu_jax.distributed import by_seed, pad_seeds, place, replicated  # noqa: E402
from nalu_jax.loop import Programs, Run  # noqa: E402
from nalu_jax.registry import UNITS  # noqa: E402

PAGE = "configs/static_arithmetic.py"
RESULTS, PICTURE = Path("benchmarks", "scaling.json"), Path("docs", "performance.png")
SEEDS = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000)
INPUTS = (2, 5, 10, 30, 100, 300, 1000)
HIDDEN = (2, 3, 5, 8, 9, 16, 30, 100)
BLOCKS = (1, 2, 5, 10, 25, 50)
NAMES = ("nac", "nac_mul", "nau", "nmu", "linear", "nalu", "inalu", "gated_nau_nmu", "relu", "real_npu", "nmru")
BATCH = 128
MEMORY_STEPS = 100
COLUMNS, MATRIX = "a product an output", "one matrix product"


class Effort(NamedTuple):
    """How thoroughly to measure."""

    seconds: float  # of a round, at least about
    rounds: int
    points: int | None = None  # of each curve; None: all
    heaviest: int = 10_000  # seeds of the largest run whose memory is measured


FULL, QUICK = Effort(0.5, 3), Effort(0.02, 1, 2, 1)
Rounds = list[float]  # a number a round
Curve = list[Rounds | None]  # one a place on the x axis; None where nothing is measured


# --- what is run ---


def config_of(unit: str = "nac", seeds: int = 100, **fields: Any) -> ConfigDict:
    """A cell of the published task; ``fields`` are hidden_size, block and input_size.

    With an input_size the subsets are nested, which fit any. Units that do not add learn to multiply.
    """
    config = load(str(ROOT / PAGE))
    operations = UNITS[unit](1).operations
    changes = {"num_seeds": seeds, "grid.unit": unit, "grid.operation": "mul" if "mul" in operations[:1] else "add"}
    paths = {"hidden_size": "network.hidden_size", "block": "block", "input_size": "task.input_size"}
    changes |= {paths[field]: value for field, value in fields.items()}
    override(config, [(path, str(value)) for path, value in changes.items()])
    if "input_size" in fields:
        config.task.subsets = ConfigDict({"name": "nested"})
    (only,) = cells(config)
    return only.config


def started(config: ConfigDict) -> tuple[Programs, Run, Any]:
    """The programs of a cell, its run at step 0, and its setup, all where they belong."""
    programs, setup = build.programs([config])
    setup = place(setup, replicated(programs.layout.mesh))
    seeds = pad_seeds(build.schedule(config).seeds, programs.layout)
    return programs, programs.start(place(seeds, by_seed(programs.layout.mesh)), setup), setup


@contextmanager
def compiling_anew() -> Iterator[None]:
    """Nothing that was compiled before serves inside, nor does what is compiled inside serve after."""
    forget()
    try:
        yield
    finally:
        forget()


def forget() -> None:
    """Drops all compiled programs."""
    build._programs.cache_clear()
    jax.clear_caches()
    gc.collect()


# --- what is measured ---


def speed(config: ConfigDict, effort: Effort) -> Rounds:
    """Seed-steps per second. Seeds that only fill up devices and blocks do not count."""
    with compiling_anew():
        programs, run, setup = started(config)
        run, _ = programs.chunk(run, setup, 0, False)  # compiles

        def elapsed(steps: int) -> float:
            nonlocal run
            jax.block_until_ready(run)
            began = time.perf_counter()
            run, _ = programs.chunk(run, setup, steps, False)
            jax.block_until_ready(run)
            return time.perf_counter() - began

        steps = enough(elapsed, effort.seconds)
        return [build.schedule(config).num_seeds * steps / elapsed(steps) for _ in range(effort.rounds)]


def enough(elapsed: Callable[[int], float], seconds: float) -> int:
    """How many steps last about so long."""
    steps = 1
    while (took := elapsed(steps)) < seconds / 4:
        steps *= 4
    return max(1, round(steps * seconds / took))


def compile_seconds(seeds: int, effort: Effort) -> Rounds:
    """Seconds that the first call of the chunk takes, tracing and compiling; it takes no steps."""
    found = []
    for _ in range(effort.rounds):
        with compiling_anew():
            programs, run, setup = started(config_of(seeds=seeds))
            jax.block_until_ready(run)
            began = time.perf_counter()
            jax.block_until_ready(programs.chunk(run, setup, 0, False))
            found.append(time.perf_counter() - began)
    return found


# A process of its own between this one and the run: a child counts the memory of the process that forked it as its own
# peak, and this one is large.
WATCH = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(peak / 2**20 if sys.platform == "darwin" else peak / 2**10)
"""


def memory(seeds: int, steps: int = MEMORY_STEPS) -> Rounds:
    """Peak memory in MiB of a whole experiment, pictures and tables included, that is evaluated at its start and end."""
    changes = {"grid.unit": "nac", "grid.operation": "add", "num_seeds": seeds, "num_steps": steps, "eval_every": steps}
    with tempfile.TemporaryDirectory() as folder:
        run = [sys.executable, "-m", "experiments.run", f"--config={PAGE}", f"--workdir={folder}/run"]
        run += [f"--config.{path}={value}" for path, value in changes.items()]
        command = [sys.executable, "-c", WATCH, *run]
        return [float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout)]


@contextmanager
def product(kind: str, hidden_size: int) -> Iterator[None]:
    """Takes products with ``hidden_size`` outputs as told; those with fewer are left as they are, as far as can be."""
    chosen = functional.FEW_OUTPUTS
    functional.FEW_OUTPUTS = max(hidden_size, chosen) if kind == COLUMNS else min(hidden_size - 1, chosen)
    try:
        yield
    finally:
        functional.FEW_OUTPUTS = chosen


# --- the parts ---


def part(x: list[Any], curves: dict[str, Curve], **more: Any) -> dict[str, Any]:
    """What is kept of a part."""
    machine = {"jax": jax.__version__, "devices": jax.device_count(), "platform": jax.default_backend()}
    return {**machine, "x": x, **more, "curves": curves}


def seeds_part(effort: Effort) -> dict[str, Any]:
    """Speed against the number of seeds; the NALU's up to 1,000."""
    x = SEEDS[: effort.points]
    curves = {
        unit: [speed(config_of(unit, seeds), effort) if seeds <= most else None for seeds in x]
        for unit, most in {"nac": SEEDS[-1], "nalu": 1000}.items()
    }
    return part(list(x), curves)


def inputs_part(effort: Effort) -> dict[str, Any]:
    """Speed against the input size."""
    x = INPUTS[: effort.points]
    return part(list(x), {"nac": [speed(config_of(input_size=size), effort) for size in x]})


def hidden_part(effort: Effort) -> dict[str, Any]:
    """Speed against the hidden size, for both kinds of product; a product an output is not compiled for a hundred."""
    x = HIDDEN[: effort.points]
    curves: dict[str, Curve] = {COLUMNS: [], MATRIX: []}
    for kind, curve in curves.items():
        for size in x:
            with product(kind, size):
                curve.append(None if kind == COLUMNS and size > 30 else speed(config_of(hidden_size=size), effort))
    return part(list(x), curves, few_outputs=functional.FEW_OUTPUTS)


def units_part(effort: Effort) -> dict[str, Any]:
    """Speed of each unit."""
    x = [name for name in NAMES if name in UNITS][: effort.points]
    return part(x, {"speed": [speed(config_of(unit), effort) for unit in x]})


def blocks_part(effort: Effort) -> dict[str, Any]:
    """Speed against the seeds that a device trains at a time, as the layout makes them of those asked for."""
    configs = {
        build.layout(config).block: config for config in (config_of(block=block) for block in BLOCKS[: effort.points])
    }
    curves = {"nac": [speed(config, effort) for config in configs.values()]}
    return part(list(configs), curves, chosen=build.layout(config_of()).block)


def compile_part(effort: Effort) -> dict[str, Any]:
    """Seconds to compile against the number of seeds."""
    x = SEEDS[: effort.points]
    compile_seconds(1, effort)  # what the process does once
    return part(list(x), {"nac": [compile_seconds(seeds, effort) for seeds in x]})


def memory_part(effort: Effort) -> dict[str, Any]:
    """Peak memory against the number of seeds."""
    x = [seeds for seeds in (1, 100, 1000, 10_000) if seeds <= effort.heaviest]
    return part(x, {"nac": [memory(seeds) for seeds in x]})


PARTS: dict[str, Callable[[Effort], dict[str, Any]]] = {
    "seeds": seeds_part,
    "inputs": inputs_part,
    "hidden": hidden_part,
    "units": units_part,
    "blocks": blocks_part,
    "compile": compile_part,
    "memory": memory_part,
}


# --- the picture ---

SPEED = "seed-steps / s"
SETTING = (
    "NAC, 100 seeds, 100 inputs, hidden size 2, batches of 128, where a panel does not say otherwise; "
    "median, lowest and highest round"
)
SPAN = 1.0  # decades that a logarithmic axis shows at least, so that what is flat looks flat


def draw(results: dict[str, Any], path: Path) -> None:
    """Writes the picture of all parts that there are results of."""
    figure = Figure(figsize=(11.0, 6.6), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08, wspace=0.03, hspace=0.04)
    panels = dict(zip(DRAWINGS, figure.subplots(2, 3).flat, strict=True))
    for letter, (title, panel) in zip("abcdef", panels.items(), strict=True):
        quiet(panel)
        panel.set_title(f"{letter}   {title}", loc="left", fontsize=10, fontweight="bold")
        if not DRAWINGS[title](panel, results):
            panel.text(0.5, 0.5, "not measured", transform=panel.transAxes, ha="center", color="0.5")
            panel.set(xticks=[], yticks=[])
    machines = sorted({f"jax {one['jax']}, {one['devices']} {one['platform']} devices" for one in results.values()})
    figure.supxlabel("; ".join([SETTING, *machines]), x=0.99, ha="right", fontsize=8, color="0.35")
    save(figure, path)


def draw_seeds(panel: Axes, results: dict[str, Any]) -> bool:
    """Speed against seeds, a curve a unit."""
    return draw_curves(panel, results.get("seeds"), "seeds", SPEED)


def draw_inputs(panel: Axes, results: dict[str, Any]) -> bool:
    """Speed against the input size; on the right what that is in numbers drawn, the least that a step must do."""
    if not (found := results.get("inputs")):
        return False
    (rounds,) = found["curves"].values()
    plot(panel, found["x"], rounds, COLOURS[0], SPEED)
    log_axes(panel, found["x"], "inputs", SPEED, COLOURS[0])
    numbers = [[speed * size * BATCH for speed in speeds] for size, speeds in zip(found["x"], rounds, strict=True)]
    right = second_axis(panel)
    plot(right, found["x"], numbers, COLOURS[1], "numbers / s", marker="s")
    log_axes(right, found["x"], "inputs", "random numbers in batches / s", COLOURS[1])
    return True


def draw_hidden(panel: Axes, results: dict[str, Any]) -> bool:
    """Speed against the hidden size, and where the one kind of product takes over from the other."""
    if drawn := draw_curves(panel, results.get("hidden"), "hidden size", SPEED):
        mark(panel, results["hidden"]["few_outputs"] + 0.5, "few | many")
    return drawn


def draw_units(panel: Axes, results: dict[str, Any]) -> bool:
    """Speed of each unit, the fastest on top."""
    if not (found := results.get("units")):
        return False
    order = sorted(zip(found["x"], found["curves"]["speed"], strict=True), key=lambda one: statistics.median(one[1]))
    for at, (_, rounds) in enumerate(order):
        panel.hlines(at, min(rounds), max(rounds), color=COLOURS[0], linewidth=1.2)
        panel.plot(statistics.median(rounds), at, "o", color=COLOURS[0], markersize=4.5)
    panel.set_yticks(range(len(order)), [name for name, _ in order], fontsize=8.5)
    panel.set(xscale="log", xlabel=SPEED)
    panel.set_xlim(spanned(panel.get_xlim()))
    ticks(panel.xaxis, panel.get_xlim())
    return True


def draw_blocks(panel: Axes, results: dict[str, Any]) -> bool:
    """Speed against the block, and the block that is chosen."""
    if drawn := draw_curves(panel, results.get("blocks"), "seeds in a block", SPEED):
        mark(panel, results["blocks"]["chosen"], "chosen")
    return drawn


def draw_costs(panel: Axes, results: dict[str, Any]) -> bool:
    """Seconds to compile, and on the right peak memory, against seeds."""
    if "compile" not in results and "memory" not in results:
        return False
    right = second_axis(panel)
    for axes, name, label, colour, marker in (
        (panel, "compile", "seconds to compile", COLOURS[0], "o"),
        (right, "memory", "peak memory / MiB", COLOURS[1], "s"),
    ):
        if found := results.get(name):
            plot(axes, found["x"], found["curves"]["nac"], colour, name, marker=marker)
            log_axes(axes, found["x"], "seeds", label, colour)
    return True


DRAWINGS: dict[str, Callable[[Axes, dict[str, Any]], bool]] = {
    "number of seeds": draw_seeds,
    "size of the input": draw_inputs,
    "size of the hidden layer": draw_hidden,
    "units": draw_units,
    "seeds trained at a time": draw_blocks,
    "compiling and memory": draw_costs,
}


def draw_curves(panel: Axes, found: dict[str, Any] | None, xlabel: str, ylabel: str) -> bool:
    """The curves of a part, if there is one, with a legend if there are several."""
    if not found:
        return False
    for i, (name, rounds) in enumerate(found["curves"].items()):
        plot(panel, found["x"], rounds, COLOURS[i], name, marker="os^"[i])
    log_axes(panel, found["x"], xlabel, ylabel)
    if len(found["curves"]) > 1:
        panel.legend(fontsize=8.5, facecolor="white", edgecolor="none", framealpha=1)
    return True


def plot(panel: Axes, x: list[float], curve: Curve, colour: str, label: str, marker: str = "o") -> None:
    """Medians as a curve, from the lowest to the highest round as bars."""
    points = [(at, rounds) for at, rounds in zip(x, curve, strict=True) if rounds]
    places = [at for at, _ in points]
    medians = [statistics.median(rounds) for _, rounds in points]
    panel.plot(places, medians, marker=marker, color=colour, markersize=4.5, linewidth=1.4, label=label)
    panel.vlines(places, [min(r) for _, r in points], [max(r) for _, r in points], color=colour, linewidth=1.2)


def log_axes(panel: Axes, x: list[float], xlabel: str, ylabel: str, colour: str = "black") -> None:
    """Logarithmic axes; the ticks on x are the places where there are measurements, as far as they have room."""
    panel.set(xscale="log", yscale="log", xlabel=xlabel)
    panel.set_ylabel(ylabel, color=colour)
    panel.tick_params(axis="y", colors=colour, which="both")
    panel.tick_params(axis="x", labelsize=8.5)
    room = (x[-1] / x[0]) ** 0.05
    places = [x[0]] + [right for left, right in itertools.pairwise(x) if right / left > room]
    panel.xaxis.set_major_locator(FixedLocator(places) if x[-1] <= 1000 * x[0] else LogLocator())
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(short))
    panel.set_ylim(spanned(panel.get_ylim()))
    ticks(panel.yaxis, panel.get_ylim())


def spanned(limits: tuple[float, float]) -> tuple[float, float]:
    """The limits of an axis, apart as far as they must be."""
    low, high = map(math.log10, limits)
    more = max(0.0, SPAN - (high - low)) / 2
    return 10 ** (low - more), 10 ** (high + more)


def ticks(axis: Any, limits: tuple[float, float]) -> None:
    """Ticks at 1, 2 and 5 of each decade, or at the decades alone if there are many."""
    many = math.log10(limits[1] / limits[0]) > 2.5
    axis.set_major_locator(LogLocator(subs=(1.0,) if many else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(short))
    axis.set_minor_formatter(NullFormatter())


def short(value: float, _: int | None = None) -> str:
    """A number as 0.5, 20, 100k, 2M or 5G."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size * (1 - 1e-9):
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def second_axis(panel: Axes) -> Axes:
    """A y axis on the right, over the same x."""
    right = panel.twinx()
    right.spines[["top", "left"]].set_visible(False)
    right.spines["right"].set_visible(True)
    return right


def mark(panel: Axes, x: float, text: str) -> None:
    """A dashed line at x, with words at its foot."""
    panel.axvline(x, color="0.35", linestyle=(0, (4, 3)), linewidth=0.9, zorder=1)
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    panel.text(x, 0.03, text, transform=panel.get_xaxis_transform(), ha="center", fontsize=8, color="0.35", bbox=box)


# --- files ---


def measure(parts: list[str], effort: Effort, path: Path) -> dict[str, Any]:
    """Measures some parts, and writes each beside those that the file already holds as soon as it is known."""
    results = json.loads(path.read_text()) if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    for name in parts:
        began = time.perf_counter()
        results[name] = rounded(PARTS[name](effort))
        write_atomic(path, (as_text({name: results[name] for name in PARTS if name in results})).encode())
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    return results


def rounded(value: Any) -> Any:
    """The value with four digits of every fraction in it."""
    if isinstance(value, dict):
        return {name: rounded(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    if not isinstance(value, float):
        return value
    short = float(f"{value:.4g}")
    return int(short) if short.is_integer() else short


def as_text(results: dict[str, Any]) -> str:
    """JSON with a line a curve."""
    lines = []
    for name, found in results.items():
        fields = [f"    {json.dumps(field)}: {json.dumps(value)}" for field, value in found.items() if field != "curves"]
        curves = [f"      {json.dumps(curve)}: {json.dumps(rounds)}" for curve, rounds in found["curves"].items()]
        fields.append('    "curves": {\n' + ",\n".join(curves) + "\n    }")
        lines.append(f"  {json.dumps(name)}: {{\n" + ",\n".join(fields) + "\n  }")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main(arguments: list[str] | None = None) -> int:
    """Measures and draws, or only draws; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default=",".join(PARTS), help="the parts to measure; names with commas between")
    parser.add_argument(
        "--folder", type=Path, default=ROOT, help="write benchmarks/scaling.json and docs/performance.png here"
    )
    parser.add_argument("--draw", action="store_true", help="only draw the picture anew")
    parser.add_argument("--quick", action="store_true", help="few points and short rounds, to see that it works")
    options = parser.parse_args(arguments)
    parts, path, picture = options.only.split(","), options.folder / RESULTS, options.folder / PICTURE
    if unknown := [name for name in parts if name not in PARTS]:
        parser.error(f"no part is named {', '.join(map(repr, unknown))}; there are {', '.join(PARTS)}")
    if options.quick and options.folder == ROOT:
        parser.error("what --quick measures is not worth keeping: tell it another place with --folder")
    if options.draw and not path.exists():
        parser.error(f"there is no {path} to draw: measure first, without --draw")
    results = json.loads(path.read_text()) if options.draw else measure(parts, QUICK if options.quick else FULL, path)
    picture.parent.mkdir(parents=True, exist_ok=True)
    draw(results, picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
