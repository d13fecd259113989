"""Scripts for SLURM: ``--emit_slurm`` prints an array whose tasks share a run, and one program over several nodes.

As a whole the output is the first script, since a shell reads no further than ``exit``; ``sed '1,/^exit/d'`` leaves the
second.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path

LARGEST_ARRAY = 100  # tasks; each trains one group of cells after another

ARRAY = """\
#!/bin/bash
# {tasks} tasks share the folder of the run: each trains, one after another, groups of cells that nobody else has.
# Whoever finishes last writes the tables. Submit it:  python -m experiments.run ... --emit_slurm | sbatch
#SBATCH --job-name={name}
#SBATCH --array=0-{last}
{resources}
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@120
cd {folder} || exit 3
{command} --share &
run=$!
# Two minutes before its time is over the task saves and ends with 75. As SIGUSR1, since SLURM may send SIGTERM to all
# processes of a job, and a second one would end the run at once.
stopping=
trap 'stopping=yes; trap "" TERM; kill -USR1 "$run"' TERM
wait "$run"
code=$?
if [ "$stopping" ]; then # the trap ended the wait; who was told before it could listen had nothing to save
  wait "$run"
  code=$?
  [ "$code" -le 128 ] || code=75
fi
{requeue}
exit "$code"
"""

DISTRIBUTED = """\
#!/bin/bash
# One program over all tasks of the job, each with its part of the seeds of every group of cells.
# Submit it:  python -m experiments.run ... --emit_slurm | sed '1,/^exit/d' | sbatch
#SBATCH --job-name={name}
#SBATCH --nodes=2
#SBATCH --ntasks-per-node={processes}
{resources}
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=TERM@120
cd {folder} || exit 3
# Two minutes before their time is over all tasks get SIGTERM; they save and end with 75 together.
srun --kill-on-bad-exit=0 {command} --distributed
code=$?
{requeue}
exit "$code"
"""

# Not what is cancelled, or preempted, which SLURM queues again by itself. A task of an array is called by both its numbers:
# the last one's job has the number of the array, and who asks for that gets all tasks.
REQUEUE = """\
if [ "$code" -eq 75 ] && [ "$(squeue --noheader --jobs="{job}" --format=%T)" = RUNNING ]; then
  scontrol requeue "{job}"
fi"""
JOB, TASK = "$SLURM_JOB_ID", "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"


def scripts(
    command: Sequence[str], folder: Path, name: str, *, works: int, cpus: int | None = None, gpus: float | None = None
) -> str:
    """Two scripts for SLURM that run a command in a folder until all its works are done.

    Args:
      command: the command and its arguments.
      folder: where it is run, the same on all nodes.
      name: of the jobs.
      works: groups of cells that are not finished.
      cpus, gpus: cores and GPUs of a task of the array; what the cluster gives by default if they are not said.
    """
    tasks = max(1, min(works, LARGEST_ARRAY))
    # On GPUs jax takes one for each process of a node.
    processes = max(1, int(gpus or 1))
    of_task = [("cpus-per-task", cpus, 8), ("gpus", gpus and int(gpus), 1), ("time", None, "24:00:00")]
    of_node = [("cpus-per-task", cpus, 8), ("gpus-per-node", gpus and int(gpus), 4), ("time", None, "24:00:00")]
    shared = {
        "name": name,
        "folder": shlex.quote(str(folder)),
        "command": shlex.join(command),
        "processes": processes,
    }
    array = ARRAY.format(tasks=tasks, last=tasks - 1, resources=lines(of_task), requeue=REQUEUE.format(job=TASK), **shared)
    return array + DISTRIBUTED.format(resources=lines(of_node), requeue=REQUEUE.format(job=JOB), **shared)


def lines(options: list[tuple[str, object, object]]) -> str:
    """A line for each option, commented out, with an example, where no value is given."""
    return "\n".join(
        f"##SBATCH --{name}={example}  # say it here if the cluster's default will not do"
        if value is None
        else f"#SBATCH --{name}={value}"
        for name, value, example in options
    )
