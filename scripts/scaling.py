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
import json
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

from experiments.cpu import set_up_cpu  # noqa: E402

if __name__ == "__main__":
    set_up_cpu()

import jax  # noqa: E402
from ml_collections import ConfigDict  # noqa: E402

from experiments.settings.build import Job, build, make_learner, make_programs_of, programs  # noqa: E402
from experiments.settings.config import override  # noqa: E402
from experiments.settings.grid import cells  # noqa: E402
from experiments.settings.pages import load  # noqa: E402
from nalu_jax import functional  # noqa: E402
from nalu_jax.registry import UNITS  # noqa: E402
from nalu_jax.storage.files import write_atomic  # noqa: E402
from nalu_jax.training.distributed import by_seed, pad_seeds, place, replicated  # noqa: E402
from nalu_jax.training.loop import Programs, Run  # noqa: E402
from scripts.scaling_picture import Curve, Rounds, draw  # noqa: E402

PAGE = "configs/static_arithmetic.py"
RESULTS, PICTURE = Path("benchmarks", "scaling.json"), Path("docs", "performance.png")
SEEDS = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000)
INPUTS = (2, 5, 10, 30, 100, 300, 1000)
HIDDEN = (2, 3, 4, 5, 8, 16, 30, 100)
BLOCKS = (1, 2, 5, 10, 25, 50)
NAMES = ("nac", "nac_mul", "nau", "nmu", "linear", "nalu", "inalu", "gated_nau_nmu", "relu", "real_npu", "nmru")
MEMORY_STEPS = 100
COLUMNS, MATRIX = "a product an output", "one matrix product"


class Effort(NamedTuple):
    """How thoroughly to measure."""

    seconds: float  # of a round, at least about
    rounds: int
    points: int | None = None  # of each curve; None: all
    heaviest: int = 10_000  # seeds of the largest run whose memory is measured


FULL, QUICK = Effort(0.5, 3), Effort(0.02, 1, 2, 1)


def job_of(unit: str = "nac", seeds: int = 100, **fields: Any) -> Job:
    """A cell of the published task, ready to be trained; ``fields`` are hidden_size, block and input_size.

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
    return build(only)


def started(job: Job) -> tuple[Programs, Run, Any]:
    """The programs of a cell, its run at step 0, and its problem, all where they belong."""
    compiled, problem = programs([job])
    problem = place(problem, replicated(compiled.layout.mesh))
    seeds = pad_seeds(job.schedule.seeds, compiled.layout)
    return compiled, compiled.start(place(seeds, by_seed(compiled.layout.mesh)), problem), problem


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
    make_programs_of.cache_clear()
    make_learner.cache_clear()
    jax.clear_caches()
    gc.collect()


def speed(job: Job, effort: Effort) -> Rounds:
    """Seed-steps per second. Seeds that only fill up devices and blocks do not count."""
    with compiling_anew():
        compiled, run, problem = started(job)
        run, _ = compiled.chunk(run, problem, 0, False)  # compiles

        def elapsed(steps: int) -> float:
            nonlocal run
            jax.block_until_ready(run)
            began = time.perf_counter()
            run, _ = compiled.chunk(run, problem, steps, False)
            jax.block_until_ready(run)
            return time.perf_counter() - began

        steps = enough(elapsed, effort.seconds)
        return [job.schedule.num_seeds * steps / elapsed(steps) for _ in range(effort.rounds)]


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
            compiled, run, problem = started(job_of(seeds=seeds))
            jax.block_until_ready(run)
            began = time.perf_counter()
            jax.block_until_ready(compiled.chunk(run, problem, 0, False))
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


def part(x: list[Any], curves: dict[str, Curve], **more: Any) -> dict[str, Any]:
    """What is kept of a part."""
    machine = {"jax": jax.__version__, "devices": jax.device_count(), "platform": jax.default_backend()}
    return {**machine, "x": x, **more, "curves": curves}


def seeds_part(effort: Effort) -> dict[str, Any]:
    """Speed against the number of seeds; the NALU's up to 1,000."""
    x = SEEDS[: effort.points]
    curves = {
        unit: [speed(job_of(unit, seeds), effort) if seeds <= most else None for seeds in x]
        for unit, most in {"nac": SEEDS[-1], "nalu": 1000}.items()
    }
    return part(list(x), curves)


def inputs_part(effort: Effort) -> dict[str, Any]:
    """Speed against the input size."""
    x = INPUTS[: effort.points]
    return part(
        list(x), {"nac": [speed(job_of(input_size=size), effort) for size in x]}, batch=job_of().config.learner.batch_size
    )


def hidden_part(effort: Effort) -> dict[str, Any]:
    """Speed against the hidden size, for both kinds of product; a product an output is not compiled for a hundred."""
    x = HIDDEN[: effort.points]
    curves: dict[str, Curve] = {COLUMNS: [], MATRIX: []}
    for kind, curve in curves.items():
        for size in x:
            with product(kind, size):
                curve.append(None if kind == COLUMNS and size > 30 else speed(job_of(hidden_size=size), effort))
    return part(list(x), curves, few_outputs=functional.FEW_OUTPUTS)


def units_part(effort: Effort) -> dict[str, Any]:
    """Speed of each unit."""
    x = [name for name in NAMES if name in UNITS][: effort.points]
    return part(x, {"speed": [speed(job_of(unit), effort) for unit in x]})


def blocks_part(effort: Effort) -> dict[str, Any]:
    """Speed against the seeds that a device trains at a time, as the layout makes them of those asked for."""
    jobs = {job.layout.block: job for job in (job_of(block=block) for block in BLOCKS[: effort.points])}
    return part(list(jobs), {"nac": [speed(job, effort) for job in jobs.values()]}, chosen=job_of().layout.block)


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
