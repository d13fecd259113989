"""One run in several processes: the bytes of one process with as many devices, and an orderly end whatever happens.

Processes are real, each with one CPU device of its own unless it says otherwise, and meet on the loopback interface.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
from commands import Said, outcome

from experiments import run
from experiments.faults import ConfigError
from experiments.running.address import Address, address
from experiments.settings.pages import CONFIGS

STEPS, CELL = 2000, "linear-sub"
COMMAND = [f"--config={CONFIGS / 'quickstart.py'}", "--config.grid.operation=sub", "--config.grid.unit=linear"]
COMMAND += ["--config.num_seeds=3", f"--config.num_steps={STEPS}", "--config.eval_every=50"]
COMMAND += ["--config.optimizer.learning_rate=0.03", "--config.reports=summary"]
SAME = ("seeds.csv", "summary.csv", f"{CELL}/seeds.csv", f"{CELL}/params.npz", f"{CELL}/metrics.jsonl")
LIMIT = 120.0  # seconds in which any process must have ended

# The command, with checkpoints every tenth of a second, short chunks, and a rest at each evaluation.
CHILD = """
import sys, time
from experiments.running import cell
from experiments.run import main

cell.CHECKPOINT_SECONDS, cell.CHECKPOINT_SHARE, cell.CHUNK_SECONDS = 0.1, 1.0, 0.02
evaluated = cell.GroupHost.evaluated
cell.GroupHost.evaluated = lambda *arguments: (time.sleep(0.1), evaluated(*arguments))
code = main(sys.argv[1:])
from experiments.running.processes import leave
leave(code)
sys.exit(code)
"""


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def started(folder, *, processes, devices=1, more=(), environment=None, first=()):
    """So many processes of a run, each with so many devices; ``first`` is a command that process 0 is run by."""
    where = [f"--coordinator=127.0.0.1:{free_port()}", f"--num_processes={processes}"] if processes > 1 else []
    command = [sys.executable, "-c", CHILD, *COMMAND, f"--workdir={folder}", *where, *more]
    return [
        child([*(first if i == 0 else ()), *command, *([f"--process_id={i}"] if where else [])], devices, environment)
        for i in range(processes)
    ]


def child(command, devices=1, environment=None):
    """A process of a command, with so many CPU devices."""
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"  # the last count counts
    environment = {**os.environ, "XLA_FLAGS": flags, **(environment or {})}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(running):
    """What the processes came to, all within the time limit."""
    deadline, said = time.monotonic() + LIMIT, []
    try:
        for process in running:
            out, err = process.communicate(timeout=max(1.0, deadline - time.monotonic()))
            said.append(Said(process.returncode, out, err))
    finally:
        for process in running:
            process.kill()
    return said


def wait_for_checkpoint(folder, running):
    """Waits until a checkpoint of a run is there."""
    deadline = time.monotonic() + LIMIT
    while not list(folder.glob("*/checkpoints/step_*.json")):
        assert time.monotonic() < deadline and all(process.poll() is None for process in running)
        time.sleep(0.02)


def disturbed(folder, number, victim, *, processes, more=()):
    """What the processes came to after one of them was sent a signal, past the first checkpoint."""
    running = started(folder, processes=processes, more=more)
    try:
        wait_for_checkpoint(folder, running)
        running[victim].send_signal(number)
        return ended(running)
    finally:
        for process in running:
            process.kill()


def here(*arguments):
    """A command in this process, which has two devices."""
    return outcome(run, *COMMAND, *arguments)


def content(folder):
    """The files that must not depend on how a run came about."""
    return {name: (folder / name).read_bytes() for name in SAME}


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The files of a run by one process with two devices."""
    folder = tmp_path_factory.mktemp("one") / "run"
    assert here(f"--workdir={folder}").code == 0
    return content(folder)


@pytest.mark.faults
@pytest.mark.slow
def test_a_signal_to_one_of_two_processes_stops_both_and_one_process_goes_on_to_the_same_bytes(tmp_path, expected):
    leader, follower = disturbed(tmp_path / "run", signal.SIGTERM, 1, processes=2)
    assert (leader.code, follower.code) == (75, 75)
    assert "everything is saved" in leader.out
    assert (follower.out, follower.err) == ("", "")
    goes_on = here(f"--workdir={tmp_path / 'run'}")
    assert goes_on.code == 0
    assert re.search(r"resuming from step [1-9]", goes_on.out)
    assert content(tmp_path / "run") == expected


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--coordinator=10.0.0.1:1234"], "--num_processes and --process_id missing"),
        (["--distributed", "--process_id=0"], "--coordinator and --num_processes missing"),
        (
            ["--coordinator=10.0.0.1", "--num_processes=2", "--process_id=0"],
            "must be HOST:PORT of process 0, got '10.0.0.1'",
        ),
        (["--coordinator=h:99999", "--num_processes=2", "--process_id=0"], "must be HOST:PORT of process 0, got 'h:99999'"),
        (["--coordinator=h:1", "--num_processes=0", "--process_id=0"], "--num_processes must be a positive whole number"),
        (["--coordinator=h:1", "--num_processes=2", "--process_id=2"], "--process_id must be 0 to 1, got 2"),
    ],
)
def test_an_address_that_is_none_is_refused_in_a_sentence(given, sentence, tmp_path):
    said = here(f"--workdir={tmp_path / 'run'}", *given)
    assert said.code == 2
    assert sentence in said.err and said.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_an_address_is_read_as_it_is_given():
    assert address("[fe80::1]:1234", 4, 3) == Address("[fe80::1]:1234", 4, 3)
    assert address(None, None, None) == Address(None, None, None)
    with pytest.raises(ConfigError, match="HOST:PORT"):
        address(":1234", 1, 0)


@pytest.mark.slow
def test_half_set_variables_of_a_cluster_change_nothing(tmp_path, monkeypatch, expected):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_NTASKS", "2")
    assert here(f"--workdir={tmp_path / 'run'}").code == 0
    assert content(tmp_path / "run") == expected


@pytest.mark.faults
def test_where_there_is_no_cluster_the_flag_says_what_to_give(tmp_path):
    [said] = ended(started(tmp_path / "run", processes=1, more=["--distributed"], environment={"SLURM_JOB_ID": "7"}))
    assert said.code == 2
    assert said.err.count("\n") == 1 and "JAX finds no cluster here" in said.err and "--coordinator" in said.err


@pytest.mark.faults
@pytest.mark.parametrize("alone", [0, 1])
def test_processes_that_do_not_meet_end_in_time(alone, tmp_path):
    began = time.monotonic()
    running = started(tmp_path / "run", processes=2, more=["--join_timeout=5"])
    running[1 - alone].kill()
    said = ended(running)[alone]
    assert time.monotonic() - began < 60
    assert said.code == 3
    assert re.search(r"did not meet at 127.0.0.1:\d+ within 5 seconds", said.err)
    assert not (tmp_path / "run").exists()


@pytest.mark.faults
def test_two_processes_end_with_the_bytes_of_one_and_only_the_first_says_anything(tmp_path, expected):
    leader, follower = ended(started(tmp_path / "run", processes=2))
    assert (leader.code, follower.code) == (0, 0)
    assert leader.err == "" and "Gloo" not in leader.out and CELL in leader.out
    assert (follower.out, follower.err) == ("", "")
    assert content(tmp_path / "run") == expected


@pytest.mark.faults
def test_processes_with_other_configs_are_refused(tmp_path):
    where = [f"--coordinator=127.0.0.1:{free_port()}", "--num_processes=2", f"--workdir={tmp_path / 'run'}"]
    command = [sys.executable, "-m", "experiments.run", *COMMAND, *where]
    for said in ended([child([*command, f"--process_id={i}", f"--config.first_seed={i}"]) for i in range(2)]):
        assert said.code == 2
        assert "process 1 of 2 has another config than process 0" in said.err
    assert not (tmp_path / "run").exists()


@pytest.mark.faults
def test_what_process_0_refuses_ends_the_others_without_a_word(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/note.txt").write_text("not a run")
    leader, follower = ended(started(tmp_path / "run", processes=2))
    assert (leader.code, follower.code) == (2, 2)
    assert "holds files, but no config.json of a run" in leader.err
    assert follower.err == ""


@pytest.mark.faults
def test_a_full_disk_of_process_0_ends_all(tmp_path, expected):
    leader, follower = ended(started(tmp_path / "run", processes=2, first=["prlimit", "--fsize=6000"]))
    assert (leader.code, follower.code) == (3, 3)
    assert "File too large" in leader.err and leader.err.count("\n") == 1
    assert here(f"--workdir={tmp_path / 'run'}").code == 0
    assert content(tmp_path / "run") == expected


@pytest.mark.faults
def test_a_work_that_process_0_gives_up_costs_no_other(tmp_path):
    more = ["--config.grid.hidden_size=2,3"]
    assert [said.code for said in disturbed(tmp_path / "run", signal.SIGTERM, 0, processes=2, more=more)] == [75, 75]
    [begun] = (tmp_path / "run").glob("*/checkpoints")
    for checkpoint in begun.glob("step_*.npz"):
        checkpoint.write_bytes(b"damaged")
    leader, follower = ended(started(tmp_path / "run", processes=2, more=more))
    assert (leader.code, follower.code) == (4, 4)
    assert f"{begun.parent.name} has failed" in leader.out
    assert (follower.out, follower.err) == ("", "")
    [finished] = (tmp_path / "run").glob("*/seeds.csv")
    assert finished.parent != begun.parent


@pytest.fixture(scope="module")
def of_four(tmp_path_factory):
    """The files of a run by one process with four devices."""
    folder = tmp_path_factory.mktemp("four") / "run"
    [said] = ended(started(folder, processes=1, devices=4))
    assert said.code == 0
    return content(folder)


@pytest.mark.faults
@pytest.mark.parametrize("victim", [0, 2])
def test_where_one_of_four_processes_is_killed_the_others_end_and_two_go_on_to_the_same_bytes(victim, tmp_path, of_four):
    began = time.monotonic()
    said = disturbed(tmp_path / "run", signal.SIGKILL, victim, processes=4)
    assert time.monotonic() - began < LIMIT
    for process, (code, _, err) in enumerate(said):
        if process == victim:
            assert code == -signal.SIGKILL
        else:
            assert code == 3
            assert f"process {process} of 4: another process of this run has ended" in err
    leader, follower = ended(started(tmp_path / "run", processes=2, devices=2))
    assert (leader.code, follower.code) == (0, 0)
    assert re.search(r"resuming from step [1-9]", leader.out)
    assert content(tmp_path / "run") == of_four


GATHERED = """
import sys, jax, numpy as np
jax.distributed.initialize(sys.argv[1], 3, int(sys.argv[2]), cluster_detection_method="deactivate")
from nalu_jax.training.distributed import *

mesh = seed_mesh()
tree = (np.float32(5), {"a": np.arange(36, dtype=np.float32).reshape(12, 3), "b": np.arange(6) % 2 == 0})
placed = place(tree, (replicated(mesh), by_seed(mesh)))
for told in (fetch(placed), from_first(tree if sys.argv[2] == "0" else jax.eval_shape(lambda: tree))):
    for a, b in zip(jax.tree.leaves(told), jax.tree.leaves(tree)):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
try:
    fetch(placed) if sys.argv[2] == "1" else from_first(np.zeros(7, np.uint8))
except ProcessLost as error:
    print(error)
"""


@pytest.mark.faults
def test_three_processes_of_two_devices_gather_seeds_in_order_and_notice_that_they_are_out_of_step():
    where = f"127.0.0.1:{free_port()}"
    for process, said in enumerate(ended([child([sys.executable, "-c", GATHERED, where, str(i)], 2) for i in range(3)])):
        assert said.code == 0, said.err
        assert f"process {process} of 3: another process of this run has ended" in said.out


JOINED = """
import jax
from experiments.running.address import Address
from experiments.running.processes import join

join(Address(), 60)
print(jax.process_index(), jax.process_count(), jax.device_count(), jax.local_device_count())
jax.distributed.shutdown()
"""


def by_slurm(process):
    """What srun sets."""
    return {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2"} | {
        name: str(process) for name in ("SLURM_PROCID", "SLURM_LOCALID")
    }


def by_open_mpi(process):
    """What mpirun of Open MPI 4 sets."""
    return {"OMPI_MCA_orte_hnp_uri": "8192.0;tcp://127.0.0.1:34911", "OMPI_COMM_WORLD_SIZE": "2"} | {
        name: str(process) for name in ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK")
    }


@pytest.mark.faults
@pytest.mark.parametrize("cluster", [by_slurm, by_open_mpi])
def test_processes_find_one_another_by_the_variables_of_a_cluster(cluster):
    port = str(free_port())
    where = {"JAX_COORDINATOR_PORT": port, "JAX_COORDINATOR_BIND_ADDRESS": f"127.0.0.1:{port}"}
    running = [child([sys.executable, "-c", JOINED], environment=cluster(i) | where) for i in range(2)]
    for process, said in enumerate(ended(running)):
        assert said.code == 0, said.err
        assert said.out.split() == [str(process), "2", "2", "1"]


PROGRAMS = """
import re, sys, jax
jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]), cluster_detection_method="deactivate")
from pathlib import Path
from experiments.settings.build import programs
from experiments.settings.grid import cells
from experiments.settings.pages import load
from experiments.running.work import work_of
from nalu_jax.training.distributed import by_seed, pad_seeds, place, replicated

work = work_of([(next(cells(load("quickstart"))), Path())], range(3))
(start, chunk, layout), problem = programs(work.jobs)
seeds = place(pad_seeds(work.jobs[0].schedule.seeds, layout), by_seed(layout.mesh))
problem = place(problem, replicated(layout.mesh))
assert layout.mesh.size == 2 and len(seeds.addressable_shards) == 1
total = jax.jit(lambda seeds: seeds.sum(), out_shardings=replicated(layout.mesh))
for lowered in (total.lower(seeds), start.lower(seeds, problem), chunk.lower(start(seeds, problem), problem, 1, True)):
    text = lowered.compile().as_text()
    print(*sorted(set(re.findall(r"\\b(all-reduce|all-gather|all-to-all|reduce-scatter|collective-\\w+)\\(", text))))
"""


@pytest.mark.faults
def test_the_programs_of_two_processes_have_no_collective():
    where = f"127.0.0.1:{free_port()}"
    for said in ended([child([sys.executable, "-c", PROGRAMS, where, str(i)]) for i in range(2)]):
        assert said.code == 0, said.err
        total, start, chunk = said.out.splitlines()
        assert "all-reduce" in total
        assert (start, chunk) == ("", "")
