"""A statistical battery on the random streams as training uses them.

    python scripts/battery.py [--generator murmur] [--battery smallcrush] [--orders batch,steps,seeds] [--seed 0]

The words that training steps would draw (batches of 100 x 128 numbers) are fed to a battery of TestU01 (L'Ecuyer & Simard
2007, ACM TOMS 33(4)) in three orders: "batch", one seed's batches one after another; "steps", the same number of the batch
at one step after another, so that neighbours differ in the step alone; "seeds", likewise at one seed after another. Needs
gcc and the library TestU01 (Debian: libtestu01-0-dev). SmallCrush takes ten seconds an order, Crush half an hour.

Prints the battery's own summaries; the exit code is 1 if a test failed.
"""

import argparse
import functools
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from nalu_jax.training.random import GENERATORS, Purpose, key_at  # noqa: E402

BATCH = (100, 128)
TOGETHER = 512  # batches that are drawn at a time
ORDERS = ("batch", "steps", "seeds")


@functools.partial(jax.jit, static_argnames=("generator", "order"))
def words(part: jax.Array, seed: jax.Array, generator: str, order: str) -> jax.Array:
    """The next words of a stream, u32[TOGETHER · 12800]."""

    def batch(seed: jax.Array, step: jax.Array) -> jax.Array:
        key = key_at(Purpose.TRAINING, seed.astype(jnp.uint32), step, generator=generator)
        return jax.random.bits(key, BATCH).reshape(-1)

    i = jnp.arange(TOGETHER, dtype=jnp.int32)
    if order == "seeds":
        return jax.vmap(batch, (0, None))(seed + i, part).T.reshape(-1)
    drawn = jax.vmap(batch, (None, 0))(seed, part * TOGETHER + i)
    return (drawn if order == "batch" else drawn.T).reshape(-1)


def stream(generator: str, order: str, seed: int) -> Iterator[bytes]:
    """The words, without end."""
    part = 0
    while True:
        yield np.asarray(words(jnp.int32(part), jnp.int32(seed), generator, order)).tobytes()
        part += 1


def run(program: Path, battery: str, generator: str, order: str, seed: int) -> str:
    """The report of the battery on one stream."""
    with subprocess.Popen([program, battery], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        reader = ThreadedReader(process.stdout)
        try:
            for part in stream(generator, order, seed):
                process.stdin.write(part)
        except BrokenPipeError:
            pass  # the battery has all that it wants
        return reader.text()


class ThreadedReader:
    """Reads a pipe to its end while the other one is being written."""

    def __init__(self, pipe):
        import threading

        self.parts: list[bytes] = []
        self.thread = threading.Thread(target=lambda: self.parts.append(pipe.read()))
        self.thread.start()

    def text(self) -> str:
        """All that came."""
        self.thread.join()
        return b"".join(self.parts).decode()


def main() -> int:
    """Runs the battery on each order."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--generator", default="murmur", choices=GENERATORS)
    parser.add_argument("--battery", default="smallcrush", choices=("smallcrush", "crush"))
    parser.add_argument("--seed", type=int, default=0, help="of the stream, or the first of its seeds")
    parser.add_argument("--orders", default=",".join(ORDERS), help="names, with commas between")
    arguments = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "battery"
        subprocess.run(["gcc", "-O2", "-o", program, ROOT / "benchmarks" / "battery.c", "-ltestu01", "-lm"], check=True)
        for order in arguments.orders.split(","):
            report = run(program, arguments.battery, arguments.generator, order, arguments.seed)
            summary = report[report.find("========= Summary") :].strip()
            print(f"{arguments.generator}, order {order}, from seed {arguments.seed}\n{summary}\n", flush=True)
            failed |= "All tests were passed" not in summary
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
