"""Numbers in words as a task: its splits, its batches, and the report of its runs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fake_runs import SEEDS, arithmetic, cell_of, keep_figures, page_of, panels_of, run_of, texts, untrained

from experiments.faults import ConfigError
from experiments.reports import language
from experiments.reports.formats import number
from nalu_jax.networks.recurrent import recurrent
from nalu_jax.tasks.language_to_number import LanguageToNumber
from nalu_jax.training.random import Purpose, key_at

SPEC = LanguageToNumber()
ALL = ("training", "validation", "test")
VALUES = [*range(20), *range(20, 100, 10), 100, 0]  # of the vocabulary's words, the last of which are hundred and and


def spoken(words):
    """The number that words say, given as indices of the vocabulary."""
    total = 0
    for value in (VALUES[word] for word in words):
        total = total * 100 if value == 100 else total + value
    return total


def targets_by_hand(spec, task_state, batch):
    """What test_tasks.py holds the targets of every batch against."""
    order, lengths = np.asarray(batch.inputs.order).T, np.asarray(batch.inputs.lengths)
    return np.array([[spoken(words[:n]) for words, n in zip(order, lengths, strict=True)]])


@functools.cache
def drawn(spec=SPEC, seeds=50):
    """What so many seeds draw, and the random order of each."""
    keys = jax.vmap(jax.random.key)(jnp.arange(seeds))
    orders = jax.vmap(lambda key: jnp.argsort(jax.random.permutation(key, 1000)))(keys)
    return np.asarray(jax.jit(jax.vmap(spec.task.init))(keys)), np.asarray(orders)


def words_by_number():
    order, lengths = np.asarray(SPEC.task.order).T, np.asarray(SPEC.task.lengths)
    return [set(words[:n].tolist()) for words, n in zip(order, lengths, strict=True)]


def test_a_number_goes_to_training_where_it_has_a_word_that_none_before_it_has():
    words = words_by_number()
    for split, order in zip(*drawn(), strict=True):
        training, seen, others = set(range(20)), set(range(20)), []
        for n in order[order >= 20]:
            (others.append if words[n] <= seen else training.add)(int(n))
            seen |= words[n]
        room = 169 - len(training)
        assert split[: len(training)].tolist() == sorted(training)
        assert set(split[:169].tolist()) == training | set(others[:room])
        assert split[169:].tolist() == others[room:]


def test_every_word_is_trained_in_every_seed_and_the_parts_have_no_number_in_common():
    words = words_by_number()
    for split in drawn()[0]:
        assert set(range(20)) <= set(split[:169].tolist())
        assert set.union(*(words[n] for n in split[:169])) == set(range(30))
        assert sorted(split.tolist()) == list(range(1000))
    batches = SPEC.task.evaluations(jnp.asarray(drawn()[0][0]))
    assert [batches[name].targets.shape for name in ALL] == [(1, 169), (1, 200), (1, 631)]
    np.testing.assert_array_equal(np.concatenate([batches[name].targets[0] for name in ALL]), drawn()[0][0])


def test_seeds_differ_in_their_split_unless_it_is_fixed():
    assert len(np.unique(drawn()[0], axis=0)) == 50
    assert len(np.unique(drawn(LanguageToNumber(split="fixed"))[0], axis=0)) == 1


def test_a_batch_of_169_is_all_of_training_and_a_smaller_one_holds_none_twice():
    state = jnp.asarray(drawn()[0][1])
    for key in (0, 1):
        batch = SPEC.task.sample(jax.random.key(key), state, 169)
        np.testing.assert_array_equal(batch.targets[0], state[:169])
    some = np.asarray(SPEC.task.sample(jax.random.key(0), state, 20).targets[0]).tolist()
    assert len(set(some)) == 20 and set(some) <= set(state[:169].tolist()) and some != state[:20].tolist()


@pytest.mark.parametrize(("loss", "expected", "score"), [("squared", 5.0, 8.0), ("absolute", 2.0, 4.0)])
def test_loss_and_score_are_the_mean_squared_or_absolute_error(loss, expected, score):
    task = LanguageToNumber(loss=loss).task
    batch = task.evaluations(jnp.arange(1000))["validation"]
    outputs = batch.targets + jnp.where(jnp.arange(200) % 2 == 0, 3.0, -1.0)[None]
    assert float(task.loss(outputs, batch)) == expected
    assert {name: float(value) for name, value in task.metrics(outputs, batch).items()} == {"mae": 2.0, "mse": 5.0}
    assert float(task.score({"validation_mae": jnp.float32(4.0), "validation_mse": jnp.float32(8.0)})) == score


@pytest.mark.parametrize(
    ("field", "sentence"),
    [
        ("split", "split must be per_seed or fixed, got 'random'"),
        ("loss", "loss must be squared or absolute, got 'random'"),
    ],
)
def test_a_split_or_a_loss_that_there_is_not_is_refused(field, sentence):
    with pytest.raises(ValueError, match=sentence):
        LanguageToNumber.from_config(**{field: "random"})


def test_examples_are_the_words_and_the_number():
    batch = SPEC.task.make_batch(jnp.array([0, 515, 34, 700]))
    expected = [("zero", "0"), ("five hundred and fifteen", "515"), ("thirty four", "34"), ("seven hundred", "700")]
    assert [tuple(example) for example in SPEC.examples(batch)] == expected


def test_a_text_is_parsed_to_the_inputs_of_its_number_and_steps_are_its_words():
    parsed, batch = SPEC.parse("Five hundred and fifteen"), SPEC.task.make_batch(jnp.array([515]))
    assert jax.tree.all(jax.tree.map(np.array_equal, parsed, batch.inputs))
    assert SPEC.steps("thirty-four") == ["thirty", "four"]
    with pytest.raises(ValueError, match="unknown word 'fourty': did you mean 'forty'"):
        SPEC.parse("fourty")
    with pytest.raises(ValueError, match="'two four' is no number"):
        SPEC.parse("two four")


def test_an_embedding_without_a_width_of_its_own_is_as_wide_as_the_lstm():
    for features, width in ((0, 6), (3, 3)):
        fields = {"reader": {"name": "embedding"}, "cell": "lstm", "readout": "last_state", "features": features}
        network = recurrent("nac", {}, outputs=1, hidden_size=6, **fields)
        shapes = jax.eval_shape(network.init, jax.random.key(0), SPEC.example)["params"]
        assert shapes["trunk"]["embedding"].shape == (width, 30)


# The report

PAGE = page_of("language_to_number")
PAGE.task.loss = "squared"


def finished(folder, unit, readout, *, test=(20.0, 30.0, 10.0, 40.0), validation=(9.0, 8.0, 1.0, 7.0), hidden_size=16):
    """A finished cell of four seeds, the third the best by default."""
    columns = {"seed": range(SEEDS), "test_mae": test, "training_mae": (0.5,) * SEEDS, "validation_mse": validation}
    columns |= {"validation_mae": (12.0,) * SEEDS, "diverged_at": (float("nan"),) * SEEDS}
    axes = {"unit": unit, "hidden_size": hidden_size, "readout": readout}
    return cell_of(folder, PAGE, axes, columns, best_seed=int(np.argmin(validation)))


def run(folder):
    return run_of(
        [
            finished(folder, "linear", "last_state"),
            finished(folder, "nalu", "last_state"),
            finished(folder, "nalu", "last_state", hidden_size=32, test=(2.0, 3.0, 1.0, 4.0), validation=(5, 0.5, 6, 7)),
        ]
    )


def test_a_row_has_the_best_run_by_validation_the_median_of_all_and_what_was_published(tmp_path):
    linear, nalu = language.rows(run(tmp_path))
    assert (linear["model"], linear["readout"], linear["runs"]) == ("LSTM", "last state", "4")
    assert (nalu["model"], nalu["runs"]) == ("LSTM + NALU", "8")
    # Of the NALU's eight runs the sixth has the least loss on validation, and a test error of 3, not the 1 of the seventh.
    assert linear["best by validation"] == "0.500 / 12.0 / 10.0" and nalu["best by validation"] == "0.500 / 12.0 / 3.00"
    low, median, high = np.percentile([20, 30, 10, 40, 2, 3, 1, 4], [25, 50, 75])
    assert nalu["median"] == f"0.500 / 12.0 / {number(median)}"
    assert nalu["test, quartiles"] == f"{number(low)} to {number(high)}"
    assert (linear["published"], nalu["published"]) == ("0.0085 / 32.1 / 32.2", "0.12 / 0.39 / 0.41")


def test_the_published_rows_of_a_linear_readout_are_those_of_its_state():
    for readout, test in (("summed_states", "29.4"), ("last_state", "32.2")):
        assert language.published_of(language.Group("lstm", "linear", readout, []))["test"] == test
    assert language.published_of(language.Group("lstm", "nac", "two_units", []))["test"] == "114.3"
    assert language.published_of(language.Group("lstm", "nau", "last_state", [])) == {}
    assert language.published_of(language.Group("gru", "linear", "last_state", [])) == {}


def test_the_caption_says_what_a_row_pools(tmp_path):
    assert language.pooled(run(tmp_path)) == "hidden size 16, hidden size 32 and 4 seeds"


def test_the_truth_after_each_word_is_the_number_so_far():
    words = ("three", "hundred", "and", "thirty", "four")
    assert [language.so_far(words[: n + 1]) for n in range(5)] == [3, 300, 300, 330, 334]


@pytest.mark.slow
def test_pictures_show_all_runs_and_what_the_best_networks_say_after_each_word(tmp_path, monkeypatch):
    figures, made = keep_figures(monkeypatch, language), run(tmp_path)
    cells = [untrained(cell) for cell in made.cells]
    language.write(made._replace(cells=cells), tmp_path)
    runs, words = figures
    assert [label.get_text() for label in runs.axes[0].get_yticklabels()] == ["LSTM, last state", "LSTM + NALU, last state"]
    assert [len(points.get_offsets()) for points in runs.axes[0].collections] == [4, 8]
    panels = [panel for row in panels_of(words) for panel in row]
    numbers = [int(panel.get_title(loc="left")) for panel in panels]
    test = SPEC.task.evaluations(SPEC.task.init(key_at(Purpose.TASK, jnp.uint32(2))))["test"]  # of seed 2, the best
    assert set(numbers) <= set(np.asarray(test.targets)[0].astype(int).tolist()) and len(set(numbers)) == 6
    for panel, value in zip(panels, numbers, strict=True):
        assert " ".join(texts(panel)[::3]) == " ".join(language.words_of(value))
    # The answer at the end of a sequence is the last of those after each word.
    network = language.best_of_units(made)[0]
    said = language.after_each_word(network, [515, 34])
    ends = network.predict(network.task.task.make_batch(jnp.array([515, 34])).inputs)[0]
    np.testing.assert_allclose([said[3, 0], said[1, 1]], ends, rtol=1e-5)
    with open(tmp_path / "language.md") as file:
        assert "| LSTM + NALU | last state" in file.read()


def test_the_report_refuses_another_task(tmp_path):
    language.check(SPEC)
    with pytest.raises(ConfigError, match="language is of the task language_to_number alone"):
        language.check(arithmetic(tmp_path, {"unit": "nac", "operation": "add"}).task)


def test_the_published_tables_are_those_of_the_paper():
    rows = {row["model"]: row["test"] for row in language.published("trask_2018_table_3")}
    assert rows == {"LSTM": "29.4", "LSTM + NAC": "114.3", "LSTM + NALU": "0.41"}
