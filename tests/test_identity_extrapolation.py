"""The identity of numbers: the task, its network, and a real run to the table and the picture."""

import csv
import json
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fake_runs import arithmetic

from experiments.faults import ConfigError
from experiments.reports import identity
from experiments.reports.formats import number
from experiments.settings.pages import CONFIGS
from nalu_jax.networks.stacks import mlp
from nalu_jax.registry import TASKS, UNITS
from nalu_jax.tasks.identity_extrapolation import IdentityExtrapolation

SPEC = IdentityExtrapolation()


def targets_by_hand(spec, task_state, batch):
    """What test_tasks.py holds the targets of every batch against."""
    return np.asarray(batch.inputs)


def test_a_batch_of_ten_holds_every_number_of_training_and_the_test_a_thousand_on_each_side():
    batch = SPEC.task.sample(jax.random.key(0), (), 10)
    np.testing.assert_array_equal(np.sort(batch.inputs), [np.arange(-5, 5)])
    assert len(set(np.asarray(SPEC.task.sample(jax.random.key(1), (), 4).inputs)[0].tolist())) == 4
    np.testing.assert_array_equal(batch.targets, batch.inputs)
    test = SPEC.task.evaluations(())["extrapolation"]
    assert test.inputs.shape == (1, 2000) and test.inputs[0, 0] == -1000 and test.inputs[0, -1] == 999


def test_always_saying_0_errs_by_the_500_of_the_paper():
    assert SPEC.predictors() == {"always zero": {"interpolation_mae": 2.5, "extrapolation_mae": 500.0}}


def test_the_error_is_the_mean_absolute_one():
    batch = SPEC.task.evaluations(())["interpolation"]
    assert float(SPEC.task.metrics(batch.targets + jnp.array([[3.0] * 5 + [-1.0] * 5]), batch)["mae"]) == 2.0


@pytest.mark.parametrize("numbers", [(5, -5), (1.5, 3), (1, 2, 3), (2, 2)])
def test_ranges_that_hold_no_whole_number_are_refused(numbers):
    with pytest.raises(ValueError, match=r"interpolation_range must be two whole numbers, the lower first, got"):
        TASKS["identity_extrapolation"].from_config(interpolation_range=numbers)


@pytest.mark.parametrize(("unit", "last"), [("relu", "Linear"), ("nac", "NAC"), ("nalu", "NALU"), ("linear", "Linear")])
def test_a_deep_network_has_the_units_partner_behind_its_hidden_layers(unit, last):
    network = mlp(unit, {}, outputs=1, hidden_size=8, hidden_layers=3)
    params = jax.eval_shape(network.init, jax.random.key(0), jnp.ones((1, 4)))["params"]
    assert [jax.tree.leaves(layer)[-1].shape for layer in params.values()] == [(1, 8), (8, 8), (8, 8), (8, 1)]
    assert type(network.layers[-1]).__name__ == last
    with pytest.raises(ValueError, match="hidden_layers must be a positive integer, got 0"):
        mlp(unit, {}, outputs=1, hidden_size=8, hidden_layers=0)


@pytest.mark.parametrize("name", ["relu", "linear", "prelu", "linear_no_bias"])
def test_dense_layers_start_as_pytorchs_where_that_is_asked_for(name):
    unit = UNITS[name](2000, start="torch")
    params = unit.init(jax.random.key(0), jnp.ones((1, 16)))["params"]
    for parameter in {"w", "b"} & set(params):
        values = np.asarray(params[parameter])
        assert 0.24 < values.max() <= 0.25 and -0.25 <= values.min() < -0.24 and abs(values.mean()) < 0.01
    with pytest.raises(ValueError, match="start must be published or torch, got 'glorot'"):
        UNITS["relu"](2, start="glorot")


def test_the_report_refuses_another_task(tmp_path):
    identity.check(SPEC)
    with pytest.raises(ConfigError, match="identity is of the task identity_extrapolation alone"):
        identity.check(arithmetic(tmp_path, {"unit": "nac", "operation": "add"}).task)


@pytest.mark.slow
def test_a_run_ends_with_the_table_of_the_paper_beside_it_and_a_picture(tmp_path):
    settings = {"num_seeds": 8, "num_steps": 3000, "grid.unit": "hardtanh,linear", "reports": "identity"}
    flags = [f"--config.{field}={value}" for field, value in settings.items()]
    page = CONFIGS / "identity_extrapolation.py"
    command = [sys.executable, "-m", "experiments.run", f"--config={page}", f"--workdir={tmp_path / 'run'}", *flags]
    done = subprocess.run(command, cwd=CONFIGS.parent, capture_output=True, text=True, timeout=200)
    assert (done.returncode, done.stderr) == (0, "")
    table = {line.split()[0]: line for line in done.stdout.splitlines() if "%" in line}
    assert re.search(r"495\.47$", table["Hardtanh"].rstrip()) and re.search(r"<0\.0001$", table["Linear"].rstrip())
    for unit, low, high in (("hardtanh", 494, 497), ("linear", 0, 0.01)):
        with open(tmp_path / "run" / unit / "seeds.csv", newline="") as file:
            errors = [float(row["extrapolation_mae"]) for row in csv.DictReader(file)]
        assert low <= np.mean(errors) <= high
        assert f"{number(np.mean(errors))} [" in table[UNITS[unit](1).label]
    assert (tmp_path / "run" / "identity.png").exists() and (tmp_path / "run" / "identity.pdf").exists()
    kept = json.loads((tmp_path / "run" / "linear" / "result.json").read_text())["predictors"]
    assert kept["always zero"]["extrapolation_mae"] == 500.0
