"""The command that asks a trained network, on runs with planted parameters."""

import jax
import numpy as np
import pytest
from fake_runs import NAN, SEEDS, cell_of, page_of, store, untrained

import nalu_jax
from experiments import predict
from experiments.reports.results import csv_text
from experiments.running.work import plain as as_json
from experiments.settings.config import set_at
from nalu_jax.storage.files import sealed
from nalu_jax.tasks.language_to_number import LanguageToNumber

COLUMNS = {"seed": range(SEEDS), "solved": [0] * SEEDS, "diverged_at": [NAN] * SEEDS}
ERRORS = (4.0, 3.0, 1.0, 2.0)


def finish(page, grid, cell):
    """Writes a cell's files, and that its folder is one of a run with this grid."""
    page = page.copy_and_resolve_references()
    set_at(page, "grid", dict(grid))
    set_at(page, "skip_unsupported", False)
    if "parts" in page:
        del page["parts"]
    (cell.files.path.parent / "config.json").write_bytes(sealed(as_json(page)))
    cell.files.seeds.write_text(csv_text([{**cell.axes, **row, "seed": i} for i, row in enumerate(cell.rows)]))
    cell.files.result.write_bytes(sealed(cell.result | {"steps": page.num_steps}))
    cell.files.config.write_bytes(sealed({"config": as_json(cell.cell.config)}))


@pytest.fixture
def sums(tmp_path):
    """A run of single units: a linear map (1, 2) with a bias of 3, and a NAU (1, -1), which is better."""
    page, grid = page_of("single_unit"), {"unit": ("linear", "nau"), "operation": ("sub",)}
    for unit, params, scale in (
        ("linear", {"w": np.float32([[1], [2]]), "b": np.float32([3])}, 10.0),
        ("nau", {"w": np.float32([[1], [-1]])}, 1.0),
    ):
        errors = scale * np.array(ERRORS)
        columns = COLUMNS | dict.fromkeys(("interpolation_mse", "extrapolation_mse", "sparsity_error"), errors)
        cell = cell_of(tmp_path, page, {"unit": unit, "operation": "sub"}, columns, best_seed=2)
        finish(page, grid, store(cell, boxed(cell, params)))
    return tmp_path


def boxed(cell, params):
    """The parameters of the one layer of a cell's network, in the boxes that it has them in."""
    from experiments.settings.build import network_of

    network = network_of(cell.cell.config, cell.task)
    shapes = jax.eval_shape(network.init, jax.random.key(0), cell.task.example)["params"]
    return jax.tree.unflatten(jax.tree.structure(shapes), [params[name] for name in sorted(params)])


@pytest.fixture
def words(tmp_path):
    """A run of one cell, whose network reads words and has random parameters."""
    page, axes = page_of("language_to_number"), {"unit": "nalu", "readout": "summed_states"}
    errors = dict.fromkeys(("training_mae", "validation_mae", "validation_mse", "test_mae"), ERRORS)
    cell = cell_of(tmp_path, page, axes, COLUMNS | errors, best_seed=2)
    finish(page, {axis: (value,) for axis, value in axes.items()}, untrained(cell))
    return tmp_path


def rows_of(output):
    """The words of each line that is printed."""
    return [line.split() for line in output.splitlines()]


def test_without_a_cell_the_best_one_answers_and_is_named(sums, capsys):
    assert predict.main([f"--workdir={sums}", "1.5 2", "7, 3.25"]) == 0
    output = rows_of(capsys.readouterr().out)
    assert " ".join(output[0]).startswith("nau-sub (the cell with the best score), seed 2, the best of 4: interpolation")
    assert output[1:] == [["input", "prediction"], ["1.5", "2", "-0.5"], ["input", "prediction"], ["7,", "3.25", "3.75"]]


def test_a_cell_answers_that_is_named(sums, capsys):
    assert predict.main([f"--workdir={sums}", "--cell=linear-sub", "1.5 2"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("linear-sub, seed 2, the best of 4: ") and rows_of(output)[2] == ["1.5", "2", "8.5"]


def test_shares_of_a_network_are_told_in_per_cent(tmp_path):
    shares = dict.fromkeys(("train_digits", "validation_digits", "test_digits", "test_exact"), ERRORS)
    cell = cell_of(tmp_path, page_of("program_evaluation"), {"cell": "lstm"}, COLUMNS | shares, best_seed=2)
    share = f"{100 * ERRORS[2]:.1f} %"
    told = ", ".join(f"{split} {share}" for split in ("train", "validation", "test", "test exact"))
    assert predict.described(cell, 2, chosen=False) == f"lstm, seed 2, the best of 4: {told}"


def test_an_input_that_begins_with_a_minus_sign_comes_after_two(sums, capsys):
    assert predict.main([f"--workdir={sums}", "--", "-1.5 2"]) == 0
    assert rows_of(capsys.readouterr().out)[2] == ["-1.5", "2", "-3.5"]


@pytest.mark.slow
def test_of_a_sequence_there_is_an_answer_after_each_step(words, capsys):
    assert predict.main([f"--workdir={words}", "Four hundred and forty-two", "nine"]) == 0
    lines = rows_of(capsys.readouterr().out)
    steps = ["four", "hundred", "and", "forty", "two"]
    assert [line[0] for line in lines[1:]] == ["after", *steps, "after", "nine"]
    module, params = nalu_jax.load(words, unit="nalu")
    # Of words that are a number themselves, the answer is that to the number.
    parse = LanguageToNumber().parse
    for text, line in {"four": 2, "four hundred": 3, "four hundred and forty two": 6, "nine": 8}.items():
        expected = jax.jit(module.apply)({"params": params}, parse(text))
        np.testing.assert_allclose(float(lines[line][1]), expected[0, 0], rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--cell=nau-sup", "1 2"], "has no finished cell 'nau-sup': did you mean 'nau-sub'? It has linear-sub, nau-sub"),
        (["1 2 3"], "single_unit: its input is 2 numbers, with spaces or commas between, got 3"),
        (["1 two"], "single_unit: 'two' is not a number"),
        (["--cel=nau-sub", "1 2"], "Unknown command line flag 'cel'"),
    ],
)
def test_a_question_that_cannot_be_answered_is_one_sentence(sums, capsys, arguments, sentence):
    assert predict.main([f"--workdir={sums}", *arguments]) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err and captured.err.count("\n") == 1 and captured.out == ""


def test_an_unknown_word_is_named_with_a_guess(words, capsys):
    assert predict.main([f"--workdir={words}", "fourty"]) == 2
    assert capsys.readouterr().err == "error: language_to_number: unknown word 'fourty': did you mean 'forty'?\n"


def test_a_task_whose_inputs_cannot_be_typed_says_so(tmp_path, capsys):
    page = page_of("mnist_sum")
    axes = {"unit": "nac", "cell": "unit"}
    errors = dict.fromkeys(("interpolation_mse", "extrapolation_mse"), ERRORS)
    finish(page, {axis: (value,) for axis, value in axes.items()}, cell_of(tmp_path, page, axes, COLUMNS | errors))
    assert predict.main([f"--workdir={tmp_path}", "--cell=nac-unit", "7 8"]) == 2
    assert capsys.readouterr().err == "error: mnist_sum: its inputs are not ones that can be typed\n"


def test_a_folder_that_is_no_run_and_a_run_without_parameters(sums, tmp_path_factory, capsys):
    empty = tmp_path_factory.mktemp("empty")
    assert predict.main([f"--workdir={empty}", "1 2"]) == 2
    assert capsys.readouterr().err == f"error: {empty} is no run: it has no config.json\n"
    (sums / "nau-sub" / "params.npz").unlink()
    assert predict.main([f"--workdir={sums}", "1 2"]) == 3
    assert "params.npz" in capsys.readouterr().err


def test_help_is_shown_when_asked_for_and_where_there_is_no_question(sums, capsys):
    assert (predict.main(["--help"]), predict.main([f"--workdir={sums}"]), predict.main(["1 2"])) == (0, 2, 2)
    assert capsys.readouterr().out.count("Prints what the best seed of a trained cell predicts") == 3
