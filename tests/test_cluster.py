"""Runs over Ray: what the local engine writes, to the byte, whoever dies.

Ray is started for real: on this machine, as a head with two workers, and as two hosts. Hosts are network namespaces of their
own, so that nothing listens on a network; what happens in them is the second half of this file, which is run as a script.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.faults import ConfigError
from experiments.running.locks import holder, is_held

ROOT = Path(__file__).parent.parent
STEPS, CELLS = 3000, ("linear-add", "linear-sub")
# A page of one's own, which every worker has to load. Each evaluation takes a tenth of a second, and a checkpoint follows.
PAGE = f"""
import os
import time

from experiments.running import cell
from experiments.settings.pages import load

cell.CHECKPOINT_SECONDS, cell.CHECKPOINT_SHARE, cell.CHUNK_SECONDS = 0.1, 1.0, 0.02
if seen := os.environ.get("SEEN"):
    open(f"{{seen}}_{{os.getpid()}}", "w").write(os.environ.get("CUDA_VISIBLE_DEVICES", "none"))
evaluated = cell.GroupHost.evaluated
cell.GroupHost.evaluated = lambda *arguments: (time.sleep(float(os.environ.get("PAUSE", "0.1"))), evaluated(*arguments))


def get_config():
    config = load("quickstart")
    config.num_seeds, config.num_steps, config.eval_every = 3, {STEPS}, 50
    config.grid.unit, config.grid.operation = ("linear",), ("add", "sub")
    config.optimizer.learning_rate = 0.03
    config.reports = ("summary",)
    return config
"""
PORT = 6399
HOST, OTHER_HOST = "10.77.0.1", "10.77.0.2"
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "of-this-test"}  # or else Ray writes one to the home folder
# A network, processes, and a /tmp/ray of their own; all processes end with the first.
NAMESPACE = ["unshare", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]


def has_namespaces():
    """Whether this machine lets us have namespaces."""
    return bool(shutil.which("unshare") and shutil.which("ip")) and not subprocess.run([*NAMESPACE, "true"]).returncode


def files_of(folder):
    """The files that a run leaves behind, but for checkpoints, which follow the clock, and TensorBoard's, which have it."""
    files = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    timed = ("checkpoints", "events.out")
    return {str(name): path.read_bytes() for name, path in files.items() if not any(word in str(name) for word in timed)}


def command(folder, *arguments):
    """The command of the run in a folder."""
    page, workdir = f"--config={folder.parent / 'page.py'}", f"--workdir={folder}"
    return [sys.executable, "-m", "experiments.run", page, workdir, *arguments]


def variables():
    """The environment of a command: that of a shell, not of these tests."""
    return {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """The folder of an undisturbed run by the local engine."""
    folder = tmp_path_factory.mktemp("local") / "run"
    (folder.parent / "page.py").write_text(PAGE)
    subprocess.run(command(folder), cwd=ROOT, env=variables(), check=True, stdout=subprocess.DEVNULL)
    return folder


@pytest.fixture
def folder(local, tmp_path):
    """A folder to run in, beside the page of the undisturbed run."""
    return local.parent / tmp_path.name


def inside(scenario, folder):
    """What a scenario of this file prints, played in a network of its own."""
    if not has_namespaces():
        pytest.skip("this machine has no network namespaces")
    play = [*NAMESPACE, sys.executable, "-m", "tests.test_cluster", scenario, str(folder)]
    done = subprocess.run(play, cwd=ROOT, env=variables(), capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def ray():
    """Ray, which is an extra."""
    return pytest.importorskip("ray")


def share_of(nodes, cpus=None, gpus=None):
    from experiments.engines.cluster import share_of

    return tuple(share_of(nodes, cpus, gpus))


def test_a_work_gets_the_cores_of_the_smallest_machine_or_one_gpu_with_its_part_of_the_cores():
    assert share_of([{"CPU": 16.0}, {"CPU": 64.0}, {}]) == ((16, 0.0), True)
    assert share_of([{"CPU": 4.0}, {"CPU": 96.0, "GPU": 8.0}, {"CPU": 32.0, "GPU": 4.0}]) == ((8, 1.0), True)
    assert share_of([{"CPU": 8.0, "GPU": 1.0}], gpus=0.5) == ((4, 0.5), True)
    assert share_of([{"CPU": 8.0, "GPU": 8.0}], gpus=0.25) == ((1, 0.25), True)
    assert share_of([{"CPU": 8.0, "GPU": 2.0}], gpus=0) == ((8, 0), True)
    assert share_of([{"CPU": 8.0}], cpus=3) == ((3, 0.0), True)
    assert share_of([{"CPU": 8.0}], cpus=9) == ((9, 0.0), False)
    with pytest.raises(ConfigError, match="--cpus must be given"):
        share_of([{"memory": 1.0}])


def test_a_worker_has_as_many_devices_as_cores_and_what_jax_is_told_here(monkeypatch, ray):
    from experiments.engines import cluster

    monkeypatch.setattr(cluster, "cores", lambda: 16)
    monkeypatch.setenv("XLA_FLAGS", "--a --xla_force_host_platform_device_count=16 --b")
    monkeypatch.setenv("JAX_ENABLE_X64", "1")
    here = cluster.Cluster("somewhere", platforms="cuda")
    told = here.variables(cluster.Share(4, 0))
    assert told["XLA_FLAGS"] == "--a --xla_force_host_platform_device_count=4 --b"
    assert (told["NPROC"], told["JAX_ENABLE_X64"], told["JAX_PLATFORMS"]) == ("4", "1", "cuda")
    assert "XLA_PYTHON_CLIENT_MEM_FRACTION" not in told
    assert here.variables(cluster.Share(4, 0.5))["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.450"
    assert cluster.Cluster("somewhere", gpus=0, platforms="cuda").variables(cluster.Share(4, 0))["JAX_PLATFORMS"] == "cpu"
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")  # somebody wants it so
    assert here.variables(cluster.Share(4, 0))["XLA_FLAGS"] == "--xla_force_host_platform_device_count=2"


def test_settings_of_ray_are_refused_without_it_and_where_they_make_no_sense(tmp_path):
    def error_of(*arguments):
        asked = [sys.executable, "-m", "experiments.run", "--config=quickstart", f"--workdir={tmp_path}", *arguments]
        done = subprocess.run(
            asked, cwd=ROOT, env=variables() | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
        )
        return done.returncode, done.stderr

    assert error_of("--cpus=2") == (2, "error: --cpus is a setting of --engine=ray\n")
    for one, other in (("--engine=ray", "--distributed"), ("--share", "--distributed")):
        code, said = error_of(one, other)
        assert code == 2 and one in said and other in said and said.count("\n") == 1
    (tmp_path / "ray.py").write_text("raise ImportError")  # as where it is not installed
    code, said = error_of("--engine=ray")
    assert code == 3 and said.count("\n") == 1 and "pip install 'nalu_jax[experiments,cluster]'" in said


def test_an_address_at_which_nobody_answers_is_one_line(tmp_path, ray):
    asked = [sys.executable, "-m", "experiments.run", "--config=quickstart", f"--workdir={tmp_path / 'run'}", "--engine=ray"]
    done = subprocess.run([*asked, "--address=127.0.0.1:9"], cwd=ROOT, env=variables(), capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stderr.startswith("error: --address=127.0.0.1:9: there is no Ray") and done.stderr.count("\n") == 1


@pytest.mark.faults
def test_on_one_machine_ray_writes_what_the_local_engine_writes(local, folder, ray):
    done = subprocess.run(command(folder, "--engine=ray"), cwd=ROOT, env=variables(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert files_of(folder) == files_of(local)
    assert "2 waiting" in done.stdout and "success" in done.stdout
    assert "step" in done.stdout and done.stderr.count("Traceback") == 0


@pytest.mark.faults
@pytest.mark.parametrize(
    "scenario", ["killed_worker", "killed_machine", "stopped", "killed_driver", "link_cut", "link_lost"]
)
def test_whatever_dies_the_run_ends_with_the_bytes_of_the_local_engine(local, folder, ray, scenario):
    inside(scenario, folder)
    assert files_of(folder) == files_of(local)


@pytest.mark.faults
def test_a_work_that_fails_costs_no_other_and_is_named(local, folder, ray):
    inside("damaged", folder)
    assert "linear-add" in (folder / "linear-add" / "failed.txt").read_text()
    whole, failed = files_of(local), files_of(folder)
    assert failed["linear-sub/params.npz"] == whole["linear-sub/params.npz"]
    assert "linear-add/seeds.csv" not in failed


@pytest.mark.faults
def test_of_a_machine_with_two_gpus_every_work_has_one(local, folder, ray):
    assert "each group of cells has 1 core and 1 GPU" in inside("two_gpus", folder)
    assert len(list(folder.glob("*/seeds.csv"))) == 2


@pytest.mark.faults
def test_ray_on_one_machine_listens_to_nobody_else(local, folder, ray):
    inside("closed", folder)


# What happens in a network of its own


def ray_starts(*arguments, within=()):
    """Starts a node of Ray, in the background."""
    asked = [*within, sys.executable, "-m", "ray.scripts.scripts", "start", "--disable-usage-stats", *arguments]
    subprocess.run(asked, check=True, stdout=subprocess.DEVNULL, env=variables() | TOKEN)


def head(address="127.0.0.1", cpus=0):
    """Starts the head of a cluster, on which no work is done."""
    ray_starts("--head", f"--port={PORT}", f"--node-ip-address={address}", f"--num-cpus={cpus}", "--include-dashboard=false")


@contextlib.contextmanager
def driver(folder, *arguments, address="127.0.0.1"):
    """The command on the cluster; killed at the end at the latest."""
    asked = command(folder, "--engine=ray", f"--address={address}:{PORT}", *arguments)
    process = subprocess.Popen(asked, env=variables() | TOKEN, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield process
    finally:
        process.kill()


def finished(process, code=0):
    """What a driver has said, when it has ended with this code."""
    said = process.communicate(timeout=1000)[0]
    sys.stdout.write(said)
    assert process.returncode == code, process.returncode
    return said


def in_the_middle(folder, process, names=CELLS):
    """Waits until a work has a checkpoint and is being trained; its folder, and the process that does it."""
    for _ in range(1200):
        assert process.poll() is None, process.communicate()[0]
        for cell in (folder / name for name in names):
            if is_held(cell) and len(list(cell.glob("checkpoints/*.npz"))) == 2 and not (cell / "seeds.csv").exists():
                with contextlib.suppress(IndexError, ValueError):  # its note is not there, or half gone, at this moment
                    return cell, int(holder(cell).split()[1])
        time.sleep(0.05)
    raise AssertionError("no work has come to its middle")


def parent_of(number):
    """The parent of a process."""
    status = Path(f"/proc/{number}/status").read_text()
    return int(status.partition("PPid:")[2].split()[0])


def two_machines():
    """A cluster with a head and two workers of as many cores as this machine has, all on the loopback interface."""
    head()
    for _ in range(2):
        ray_starts(f"--address=127.0.0.1:{PORT}", f"--num-cpus={len(os.sched_getaffinity(0))}")


def killed_worker(folder):
    two_machines()
    with driver(folder) as process:
        for name in CELLS:  # one after the other, if need be
            os.kill(in_the_middle(folder, process, (name,))[1], signal.SIGKILL)
        assert "Ray: 3 machines" in finished(process)


def killed_machine(folder):
    two_machines()
    with driver(folder) as process:
        _, worker = in_the_middle(folder, process)
        os.kill(parent_of(worker), signal.SIGKILL)
        finished(process)


def stopped(folder):
    two_machines()
    for number in (signal.SIGTERM, signal.SIGINT):
        with driver(folder) as process:
            in_the_middle(folder, process)
            process.send_signal(number)
            assert "everything is saved" in finished(process, 75)
        assert not any(is_held(folder / name) for name in CELLS if (folder / name).exists())
    with driver(folder) as process:
        finished(process)


def killed_driver(folder):
    two_machines()
    with driver(folder) as process:
        in_the_middle(folder, process)
        process.kill()
    with driver(folder) as process:
        finished(process)


def damaged(folder):
    two_machines()
    with driver(folder) as process:
        cell, _ = in_the_middle(folder, process, CELLS[:1])
        process.send_signal(signal.SIGTERM)
        finished(process, 75)
    for path in cell.glob("checkpoints/*.npz"):
        path.write_bytes(b"nothing")
    with driver(folder) as process:
        assert "linear-add has failed" in finished(process, 4)


def two_gpus(folder):
    """Ray is told of two GPUs, and tells each worker which is its own; jax is told to stay on the CPU."""
    os.environ.update(SEEN=str(folder) + "_seen", JAX_PLATFORMS="cpu")
    ray_starts("--head", f"--port={PORT}", "--node-ip-address=127.0.0.1", "--num-cpus=2", "--num-gpus=2")
    with driver(folder) as process:
        in_the_middle(folder, process)
        finished(process)
    seen = sorted(path.read_text() for path in folder.parent.glob(f"{folder.name}_seen_*"))
    assert [text for text in seen if text != "none"] == ["0", "1"], seen


def two_hosts():
    """A head and two hosts with a machine each, joined by a link; returns what holds the other host's network open."""
    other = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
    time.sleep(0.5)
    there = ["nsenter", "--target", str(other.pid), "--net"]
    for line in (
        f"ip link add here type veth peer name there netns {other.pid}",
        f"ip address add {HOST}/24 dev here",
        "ip link set here up",
    ):
        subprocess.run(line.split(), check=True)
    for line in ("ip link set lo up", f"ip address add {OTHER_HOST}/24 dev there", "ip link set there up"):
        subprocess.run([*there, *line.split()], check=True)
    cpus = len(os.sched_getaffinity(0))
    head(HOST, cpus)
    ray_starts(f"--address={HOST}:{PORT}", f"--node-ip-address={OTHER_HOST}", f"--num-cpus={cpus}", within=there)


def cut_link(folder, seconds):
    """Cuts the link to the host with a work in its middle, for so many seconds or, with 0, for ever."""
    two_hosts()
    with driver(folder, address=HOST) as process:
        working = {name: in_the_middle(folder, process, (name,))[1] for name in CELLS}
        mine = os.readlink("/proc/self/ns/net")
        far = [name for name, number in working.items() if os.readlink(f"/proc/{number}/ns/net") != mine]
        assert far, "all works are on this host"
        subprocess.run(["ip", "link", "set", "here", "down"], check=True)
        cut = time.monotonic()
        if seconds:
            time.sleep(seconds)
            subprocess.run(["ip", "link", "set", "here", "up"], check=True)
        finished(process)
        print(f"all done {time.monotonic() - cut:.0f} s after the cut", flush=True)


def link_cut(folder):
    cut_link(folder, 8)


def link_lost(folder):
    cut_link(folder, 0)


def closed(folder):
    """A network interface besides the loopback, on which nobody may listen, and a neighbour without the token."""
    for line in ("ip link add here type veth peer name there", f"ip address add {HOST}/24 dev here", "ip link set here up"):
        subprocess.run(line.split(), check=True)
    subprocess.run(["ip", "link", "set", "there", "up"], check=True)
    subprocess.run(["ip", "route", "add", "default", "via", OTHER_HOST], check=True)
    asked = command(folder, "--engine=ray")
    process = subprocess.Popen(asked, env=variables(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    in_the_middle(folder, process)
    addresses = {address.split()[0].rpartition(":")[0].removeprefix("[::ffff:").rstrip("]") for address in columns()}
    assert addresses == {"127.0.0.1"}, addresses
    finished(process)


def columns():
    """The local addresses of all sockets that listen."""
    return [line.split()[4] for line in subprocess.check_output(["ss", "-tuln", "-H"], text=True).splitlines()]


if __name__ == "__main__":
    Path("/tmp/ray").mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", "/tmp/ray"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    globals()[sys.argv[1]](Path(sys.argv[2]))
