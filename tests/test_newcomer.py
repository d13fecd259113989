"""What a newcomer does: a unit, a task, a report and a page of their own, outside the package, in four files.

The task's words are its own: its batches are "near" and "far", it is judged by "mae", and its scores are negative.
"""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent

UNIT = '''
"""A linear layer whose weights are drawn to zero."""

import flax.linen as nn
import jax.numpy as jnp

from nalu_jax.recipes import Penalty, Recipe
from nalu_jax.registry import UNITS
from nalu_jax.units.base import Unit


@UNITS.register("toy_unit")
class ToyUnit(Unit):
    """y = a W x."""

    recipes = (Recipe("nobody", penalties={"size": Penalty(1e-6)}),)

    gain: float = 1.0

    @nn.compact
    def columns(self, x):
        w = self.param("w", nn.initializers.lecun_normal(), (x.shape[0], self.features), self.param_dtype)
        self.weight("W", w)
        self.penalty("size", jnp.sum(w**2))
        return self.gain * jnp.tensordot(w, x, ((0,), (0,)))
'''

TASK = '''
"""The sum of two of three numbers."""

import dataclasses

import jax
import jax.numpy as jnp

from nalu_jax.registry import TASKS
from nalu_jax.tasks.base import TaskSpec
from nalu_jax.types import Batch


@TASKS.register("toy_task")
@dataclasses.dataclass(frozen=True)
class ToySpec(TaskSpec):
    """x0 + x1 of three numbers in [0, reach], judged in [reach, 2 reach]."""

    columns = {"near_mae": "near by", "far_mae": "far away"}
    threshold_metric = "far_mae"

    reach: float
    threshold: float = 0.5

    def __post_init__(self):
        if self.reach <= 0:
            raise ValueError(f"reach must be positive, got {self.reach!r}")

    @property
    def task(self):
        low = jax.random.uniform(jax.random.key(0), (3, 64), maxval=self.reach)
        return ToyTask(jnp.float32(self.reach), jnp.float32(self.threshold), low, low + self.reach)

    @property
    def example(self):
        return jax.ShapeDtypeStruct((3, 1), jnp.float32)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ToyTask:
    """The arrays of a ToySpec."""

    reach: jax.Array
    threshold: jax.Array
    near: jax.Array
    far: jax.Array

    def init(self, key):
        return ()

    def sample(self, key, task_state, batch_size):
        return labelled(self.reach * jax.random.uniform(key, (3, batch_size)))

    def evaluations(self, task_state):
        return {"near": labelled(self.near), "far": labelled(self.far)}

    def loss(self, outputs, batch):
        return jnp.mean((outputs - batch.targets) ** 2)

    def metrics(self, outputs, batch):
        return {"mae": jnp.mean(jnp.abs(outputs - batch.targets))}

    def score(self, metrics):
        return -1 / (1 + metrics["near_mae"])  # the larger 1 / (1 + error), the better

    def solved(self, metrics):
        return metrics["far_mae"] < self.threshold


def labelled(x):
    return Batch(x, x[:2].sum(0, keepdims=True))
'''

REPORT = '''
"""A report: the worst seed of each cell."""


def write(run, folder):
    (folder / "worst.txt").write_text("".join(f"{r.axes['unit']} {r.seeds['far_mae'].max():.8g}\\n" for r in run.cells))
'''

PAGE = '''
"""A page that imports what lies beside it."""

import sys
from pathlib import Path

from ml_collections import ConfigDict

sys.path.insert(0, str(Path(__file__).parent))
import toy_task  # noqa: E402, F401
import toy_unit  # noqa: E402, F401


def get_config():
    config = ConfigDict()
    config.num_seeds, config.first_seed, config.num_steps, config.eval_every, config.block = 3, 0, 400, 100, 0
    config.learner = ConfigDict({"batch_size": 16, "generator": "auto"})
    config.reports = ("summary", "curves", "weights", "toy_report")
    config.unit = ConfigDict({"gain": 1.0})
    config.network = ConfigDict({"name": "single"})
    config.task = ConfigDict({"name": "toy_task", "reach": 1.0})
    config.optimizer = ConfigDict({"learning_rate": 0.03})
    config.grid = ConfigDict({"unit": ("toy_unit", "linear")})
    return config
'''


class Toy:
    """The newcomer's folder and the run in it."""

    def __init__(self, folder):
        self.folder, self.run = folder, folder / "run"
        for name, text in (("unit", UNIT), ("task", TASK), ("report", REPORT), ("page", PAGE)):
            (folder / f"toy_{name}.py").write_text(text.lstrip())

    def command(self, *changes):
        """The run as a process of its own."""
        arguments = [f"--config={self.folder / 'toy_page.py'}", f"--workdir={self.run}", *changes]
        return subprocess.run(
            [sys.executable, "-m", "experiments.run", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def rows(self, name):
        """The rows of a table."""
        with open(self.run / name, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """The finished run."""
    made = Toy(tmp_path_factory.mktemp("newcomer"))
    made.said = made.command()
    return made


def test_a_page_with_a_unit_and_a_task_of_its_own_runs_to_the_table(toy):
    assert (toy.said.returncode, toy.said.stderr) == (0, "")
    table = toy.said.stdout
    header, *lines = table[table.index("unit ") :].splitlines()
    assert header.startswith("unit") and "success" in header
    assert header.index("near by") < header.index("far away")
    assert [line.split()[0] for line in lines[:2]] == ["toy_unit", "linear"]


def test_the_tables_have_the_metrics_of_the_task_under_its_own_names(toy):
    seeds = toy.rows("seeds.csv")
    assert len(seeds) == 6 and {"near_mae", "far_mae"} <= seeds[0].keys()
    summary = {row["unit"]: row for row in toy.rows("summary.csv")}
    for unit, row in summary.items():
        mine = [seed for seed in seeds if seed["unit"] == unit]
        assert float(row["far_mae_median"]) == pytest.approx(np.median([float(s["far_mae"]) for s in mine]), rel=1e-4)
        assert float(row["success_rate"]) == np.mean([float(s["far_mae"]) < 0.5 for s in mine])
    markdown = (toy.run / "summary.md").read_text().splitlines()
    assert "near by" in markdown[0] and "far away" in markdown[0]


def test_the_best_seed_is_that_with_the_smallest_score_although_scores_are_negative(toy):
    for unit in ("toy_unit", "linear"):
        near = [float(row["near_mae"]) for row in toy.rows(f"{unit}/seeds.csv")]
        assert json.loads((toy.run / unit / "result.json").read_text())["best_seed"] == np.argmin(near)


def test_a_report_of_ones_own_is_written_beside_the_others(toy):
    worst = dict(line.split() for line in (toy.run / "worst.txt").read_text().splitlines())
    for unit in ("toy_unit", "linear"):
        assert float(worst[unit]) == pytest.approx(max(float(row["far_mae"]) for row in toy.rows(f"{unit}/seeds.csv")))
    assert (toy.run / "curves.png").exists() and (toy.run / "weights.png").exists()


@pytest.mark.parametrize("change", ["--config.task.threshold=1e-1", "--config.grid.threshold=1e-1"])
def test_a_field_that_the_page_leaves_to_the_task_keeps_its_type_on_the_command_line(toy, change):
    shown = toy.command("--show_config", change)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert change.replace("1e-1", "0.1") in shown.stdout.splitlines()


def test_fields_and_penalties_of_a_unit_of_ones_own_can_be_set(toy):
    shown = toy.command("--show_config", "--config.unit.gain=2", "--config.penalties.size.weight=0.1")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert {"--config.unit.gain=2.0", "--config.penalties.size.weight=0.1"} <= set(shown.stdout.splitlines())


def test_what_a_task_of_ones_own_refuses_is_an_invalid_setting(toy):
    refused = toy.command("--config.task.reach=-1")
    assert (refused.returncode, refused.stderr) == (2, "error: config.task: reach must be positive, got -1.0\n")


def test_the_same_command_shows_the_table_again(toy):
    again = toy.command()
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.splitlines()[:3] == toy.said.stdout[toy.said.stdout.index("unit ") :].splitlines()[:3]
