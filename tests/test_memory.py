"""Running out of memory, for real: a process that may have only so much of it."""

import os
import subprocess
import sys

import pytest

LIMIT = int(2.3 * 2**30)  # Python with jax and the programs take 1.4 GiB of it


@pytest.mark.faults
@pytest.mark.slow
def test_a_run_that_does_not_fit_into_memory_goes_on_with_half_as_many_seeds_at_a_time(tmp_path):
    arguments = ["--config=static_arithmetic", "--config.grid.unit=nau", "--config.grid.operation=add"]
    # Four batches take 0.6 GiB, and what is made of them more.
    arguments += ["--config.num_seeds=4", "--config.block=4", "--config.learner.batch_size=400_000", "--config.num_steps=1"]
    command = f'ulimit -v {LIMIT // 1024}; exec "$@"'
    done = subprocess.run(
        [
            "bash",
            "-c",
            command,
            "bash",
            sys.executable,
            "-m",
            "experiments.run",
            *arguments,
            f"--workdir={tmp_path / 'run'}",
        ],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=1"},
    )
    assert done.returncode == 0, done.stderr
    assert "out of memory with 4 seeds at a time on a device; going on with 2" in done.stdout
    assert (tmp_path / "run" / "nau-add" / "seeds.csv").read_text().count("\n") == 1 + 4
