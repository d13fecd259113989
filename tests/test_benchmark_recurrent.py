"""scripts/benchmark_recurrent.py: our side of its table, and what it says where there is no PyTorch."""

import re

import pytest

from scripts import benchmark_recurrent


def told(capsys, monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["benchmark_recurrent.py", *arguments])
    benchmark_recurrent.main()
    return capsys.readouterr().out


@pytest.mark.slow
def test_our_time_stands_alone_where_there_is_no_pytorch(capsys, monkeypatch):
    monkeypatch.setattr(benchmark_recurrent, "torch_of", lambda python: "")
    out = told(capsys, monkeypatch, "--networks=nac_10", "--seeds=2", "--rounds=1", "--torch=python9")
    assert "no PyTorch in python9" in out
    [row] = re.findall(r"^ *nac_10 +(\S+) +(\S+) *$", out, re.M)
    assert min(map(float, row)) > 0 and max(map(float, row)) < 10  # milliseconds


def test_a_network_that_is_not_there_is_refused_with_those_that_are(capsys, monkeypatch):
    with pytest.raises(SystemExit) as left:
        told(capsys, monkeypatch, "--networks=nac_11")
    assert left.value.code == 2 and "there is no network 'nac_11'; known: lstm_10, " in capsys.readouterr().err


def test_a_python_without_torch_has_no_version(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'No module named torch' >&2\nexit 1\n")
    python.chmod(0o755)
    assert benchmark_recurrent.torch_of(str(python)) == ""
