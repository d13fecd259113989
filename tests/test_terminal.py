"""What a run shows while it goes on: a live line at a terminal, and nothing that ends it where nobody reads."""

import contextlib
import os
import pty
import re
import subprocess
import sys
import threading

import pytest
from commands import called

import experiments.run
from experiments.running import console
from experiments.running.cell import GroupHost
from experiments.settings.pages import CONFIGS

QUICKSTART = f"--config={CONFIGS / 'quickstart.py'}"


@contextlib.contextmanager
def terminal(monkeypatch):
    """A terminal of a hundred and twenty columns in the place of the standard output; yields what is written there."""
    master, slave = pty.openpty()
    written = []

    def read():
        with contextlib.suppress(OSError):  # the other end is closed
            while data := os.read(master, 65536):
                written.append(data)

    reader = threading.Thread(target=read)
    reader.start()
    with monkeypatch.context() as patch, open(slave, "w", encoding="utf-8") as output:
        patch.setattr(sys, "stdout", output)
        patch.setenv("TERM", "xterm-256color")
        patch.setenv("COLUMNS", "120")
        yield written
    reader.join()
    os.close(master)


def screen(text):
    """The lines that are left on a terminal: it knows the returns, movements up and erasures of a live line."""
    lines, row, column = [""], 0, 0
    for part in re.split(r"(\r|\n|\x1b\[[0-9;?]*[A-Za-z])", text):
        if part == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif part == "\r":
            column = 0
        elif up := re.fullmatch(r"\x1b\[(\d*)A", part):
            row -= int(up[1] or 1)
        elif part == "\x1b[2K":
            lines[row] = ""
        elif not part.startswith("\x1b"):
            lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + len(part) :]
            column += len(part)
    return lines


@pytest.mark.slow
def test_at_a_terminal_there_is_a_live_line_that_makes_way_for_the_table(tmp_path, monkeypatch):
    settings = {"num_seeds": 5, "num_steps": 200_000, "eval_every": 5000, "optimizer.learning_rate": 0.03}
    settings |= {"grid.unit": "linear", "grid.operation": "sub", "reports": "summary"}
    flags = [f"--config.{path}={value}" for path, value in settings.items()]
    with terminal(monkeypatch) as written:
        code = called(experiments.run, QUICKSTART, f"--workdir={tmp_path / 'run'}", *flags)
    text = b"".join(written).decode()
    assert code == 0, text
    live = re.findall(r"1/1 linear-sub [━╸╺ ]+ ([^\r\n]*)", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text))
    assert live[0].startswith("compiling")
    assert any(re.match(r"\d+:\d\d to go; solved \d/5; last evaluation: ", line) for line in live), live
    where, said, header, row, *_ = screen(text)
    assert where.startswith("curves live: tensorboard --logdir ")
    assert re.match(r"1/1 linear-sub: solved \d/5; last evaluation: interpolation .* after 200,000 steps", said)
    assert header.startswith("unit ") and re.match(r"linear +sub +\d+ % ", row)


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(9.46, "9.5"), (91.4, "91.4"), (640.2, "640"), (9_999, "9,999"), (238_400, "238k"), (1_053_000, "1,053k")],
)
def test_speeds_are_written_as_people_read_them(rate, expected):
    assert console.speed(rate) == expected


def test_a_run_with_frequent_evaluations_keeps_its_chunks_short():
    # The host asks for a second's worth of steps, the loop cuts it at each evaluation: the wish must not grow for ever.
    host = GroupHost.__new__(GroupHost)
    host.length, host.asked, host.longest = 0, 0.0, 5
    assert max(host.chunk_steps() for _ in range(2000)) == 8
    assert host.length <= 5


@pytest.mark.faults
def test_a_run_whose_reader_goes_away_is_run_to_its_end(tmp_path):
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "experiments.run", QUICKSTART, f"--workdir={folder}"]
    command += ["--config.num_steps=100", "--config.num_seeds=2", "--config.grid.unit=linear", "--config.grid.operation=add"]
    command += ["--config.reports=weights"]
    with subprocess.Popen(command, cwd=CONFIGS.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        complaints = process.stderr.read()
    assert (process.returncode, complaints) == (0, b"")
    assert (folder / "weights.png").exists()
