"""From a published table's name to the table: what is run, and what is refused."""

import re

import pytest
from commands import called

import experiments.reproduce
from experiments.reports.published import tables
from experiments.reproduce import command_of


def reproduce(*arguments):
    return called(experiments.reproduce, *arguments)


@pytest.mark.slow
def test_a_table_is_run_and_compared_from_its_name_alone(tmp_path, capsys, monkeypatch):
    quick = ("--config.num_seeds=2", "--config.num_steps=1000", "--config.reports=summary")
    monkeypatch.setattr("experiments.reproduce.QUICK", quick)
    arguments = ["madsen_johansen_2020_simple", "--budget=quick", f"--workdir={tmp_path / 'simple'}"]
    assert reproduce(*arguments) == 0
    text = (tmp_path / "simple" / "comparison.md").read_text()
    assert "| NMU    | mul         | 0 % [0, 66] of 2 | 94 % [88, 97] of 100 |" in text
    assert "Other than published: num_steps 1000 instead of 200000." in text
    assert (tmp_path / "simple" / "summary.csv").exists()
    capsys.readouterr()
    assert reproduce(*arguments) == 0
    assert "step" not in capsys.readouterr().out.partition("unit")[0], "nothing is trained a second time"


@pytest.mark.parametrize(
    ("name", "compared"),
    [
        ("madsen_johansen_2020_simple", True),
        ("trask_2018_table_7", True),
        ("trask_2018_table_9", False),  # by its page's own report
        ("trask_2018_table_1", False),  # of two tasks
        ("madsen_johansen_2020_hidden_size", True),  # a picture, of which the paper says something
        ("madsen_johansen_2020_input_size", False),  # a picture and no word
    ],
)
def test_success_rates_and_scores_are_compared_unless_another_report_does_so(name, compared, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("experiments.run.main", lambda arguments: 0)
    monkeypatch.setattr("experiments.report.main", lambda arguments: asked.append(arguments[-1]) or 0)
    assert reproduce(name, f"--workdir={tmp_path}") == 0
    assert asked == [f"--against={name}"] * compared


@pytest.mark.slow
def test_a_dry_run_says_what_each_page_takes_and_writes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("experiments.estimate.MOST", 0.0)
    monkeypatch.setattr("experiments.reproduce.QUICK", ("--config.num_seeds=2", "--config.num_steps=1000"))
    folder = tmp_path / "simple"
    assert reproduce("madsen_johansen_2020_simple", "--budget=quick", f"--workdir={folder}", "--dry_run") == 0
    said = capsys.readouterr().out
    assert "3 cells in 3 groups that train together; 6,000 seed-steps\n" in said  # of two seeds, a thousand steps each
    assert "1 of 3 programs" in said and not folder.exists()


def test_a_page_is_run_as_published_or_quick():
    paper = ("mnist_sum:paper", ("--config.parts=units",))
    assert command_of(*paper, quick=False) == ["--config=mnist_sum:paper", "--config.parts=units"]
    assert command_of(*paper, quick=True) == ["--config=mnist_sum", "--config.parts=units"]
    sizes = ("--config.grid.input_size=225,250", "--config.num_steps=15000000", "--config.num_seeds=50")
    quick = command_of("static_arithmetic", sizes, quick=True)
    assert quick == ["--config=static_arithmetic", sizes[0], "--config.num_seeds=10", "--config.num_steps=20000"]


def test_all_tables_are_listed_with_what_repeats_them(capsys):
    assert reproduce("--list") == 0
    said = capsys.readouterr().out
    for name, known in tables().items():
        assert f"{name}: " in said and known.missing in said and known.says in said
        assert all(f"--config={page.config}" in said for page in known.pages)


def test_every_table_says_what_it_costs_or_what_stands_in_the_way(capsys):
    assert reproduce("--list") == 0
    entries = re.split(r"^(?=\w+: )", capsys.readouterr().out, flags=re.M)[1:]
    assert [entry.partition(":")[0] for entry in entries] == list(tables())
    for entry in entries:
        commands, times = re.findall(r"^    --config", entry, re.M), re.findall(r"^        \S", entry, re.M)
        assert len(times) == len(commands), entry
        assert commands or re.search(r"^    \w", entry, re.M), entry


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["trask_2018_tabel_1"],
            "there is no published table 'trask_2018_tabel_1': did you mean 'trask_2018_table_1'?",
        ),
        (["schloer_2020_inalu"], "error: no page repeats schloer_2020_inalu: "),
        (["trask_2018_table_1", "--budget=none"], "error: flag --budget=none: value should be one of <paper|quick>"),
    ],
)
def test_a_table_that_cannot_be_reproduced_is_refused_in_a_sentence(capsys, tmp_path, arguments, sentence):
    assert reproduce(*arguments, f"--workdir={tmp_path / 'none'}") == 2
    assert sentence in capsys.readouterr().err and not (tmp_path / "none").exists()


def test_without_a_table_the_help_is_shown(capsys):
    assert reproduce() == 2 and "experiments.reproduce TABLE" in capsys.readouterr().out
