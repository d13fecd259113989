"""Numbers in words: what number does "five hundred and fifteen" say?"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from nalu_jax.data.number_words import COUNT, MOST_WORDS, UNITS_AND_TEENS, VOCABULARY, number_of, words_in, words_of
from nalu_jax.registry import TASKS
from nalu_jax.sequences import Sequences
from nalu_jax.tasks.base import Example, TaskSpec
from nalu_jax.types import Array, Batch, Metrics

TRAINING, VALIDATION = 169, 200  # numbers; the other 631 are the test
LOSSES = {"squared": "mse", "absolute": "mae"}  # each with the metric that it is the mean of
SPLITS = ("per_seed", "fixed")


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["words", "order", "lengths", "rare"],
    meta_fields=["loss_metric", "fixed_split"],
)
@dataclasses.dataclass(frozen=True)
class LanguageToNumberTask:
    """The numbers 0, ..., 999 as sequences of words; a seed trains on some of them."""

    words: Array  # i32[30], the vocabulary
    order: Array  # i32[5, 1000], the words of each number, then zeros
    lengths: Array  # i32[1000]
    rare: Array  # bool[10, 1000], which numbers have each of the words that 0, ..., 19 do without
    loss_metric: str
    fixed_split: bool

    def init(self, key: Array) -> Array:
        """All numbers, i32[1000]: first those of training, then those of validation, then those of the test.

        0 to 19 are always in training. The others are taken in random order, but that those which are the first to have one
        of the ten rare words come before all others: each word is in training.
        """
        place = jax.random.permutation(jax.random.key(0) if self.fixed_split else key, COUNT)
        first = jnp.argmin(jnp.where(self.rare, place[None], COUNT), axis=1)
        place = place.at[first].set(-1).at[: len(UNITS_AND_TEENS)].set(-1)
        return jnp.argsort(place)

    def sample(self, key: Array, task_state: Array, batch_size: int) -> Batch:
        """Numbers of training: all of them, at every step the same, where a batch holds as many.

        Else they come in random order, none twice before all have come.
        """
        training = task_state[:TRAINING]
        if batch_size != TRAINING:
            training = jnp.resize(jax.random.permutation(key, training), (batch_size,))
        return self.make_batch(training)

    def evaluations(self, task_state: Array) -> Mapping[str, Batch]:
        """The numbers of "training", "validation" and "test"."""
        parts = jnp.split(task_state, (TRAINING, TRAINING + VALIDATION))
        return dict(zip(("training", "validation", "test"), map(self.make_batch, parts), strict=True))

    def make_batch(self, numbers: Array) -> Batch:
        """The words of numbers i32[batch], and the numbers themselves as targets f32[1, batch]."""
        inputs = Sequences(self.words, self.order[:, numbers], self.lengths[numbers])
        return Batch(inputs, numbers.astype(jnp.float32)[None])

    def loss(self, outputs: Array, batch: Batch) -> Array:
        """The mean squared or absolute error, as the task says: f32[1, batch] → f32[]."""
        return self.metrics(outputs, batch)[self.loss_metric]

    def metrics(self, outputs: Array, batch: Batch) -> Metrics:
        """The mean absolute and the mean squared error, "mae" and "mse": f32[1, batch] → f32[] each."""
        errors = outputs - batch.targets
        return {"mae": jnp.mean(jnp.abs(errors)), "mse": jnp.mean(jnp.square(errors))}

    def score(self, metrics: Metrics) -> Array:
        """The loss on the numbers of validation, f32[]."""
        return metrics[f"validation_{self.loss_metric}"]

    def solved(self, metrics: Metrics) -> Array:
        """There is no threshold: never, bool[]."""
        return jnp.zeros_like(metrics["validation_mae"], bool)


@TASKS.register("language_to_number")
@dataclasses.dataclass(frozen=True)
class LanguageToNumber(TaskSpec):
    """To be learned: the number from 0 to 999 that some words say, from 169 of the thousand.

    Trask et al. 2018, section 4.3 and appendix D, whose 169 numbers of training, 200 of validation and 631 of the test are a
    thousand together. Training always has 0 to 19 and every word at least once; which words go together in the test, such as
    the tens with the hundreds, is mostly new.

    Attributes:
      split: "per_seed": each seed draws its own split; "fixed": all have one.
      loss: "squared", as the paper says of its other tasks, or "absolute". The best evaluation is the one with the least
        loss on validation.

    Raises ValueError for a split or a loss that there is not.
    """

    columns: ClassVar[Mapping[str, str]] = {"training_mae": "train", "validation_mae": "validation", "test_mae": "test"}

    split: str = "per_seed"
    loss: str = "squared"

    def __post_init__(self):
        for field, known in {"split": SPLITS, "loss": LOSSES}.items():
            if getattr(self, field) not in known:
                raise ValueError(f"{field} must be {' or '.join(known)}, got {getattr(self, field)!r}")

    @property
    def example(self) -> Sequences:
        """The shapes of a batch of one: elements i32[30], order i32[5, 1], lengths i32[1]."""
        shapes = ((len(VOCABULARY),), (MOST_WORDS, 1), (1,))
        arrays: Any = [jax.ShapeDtypeStruct(shape, jnp.int32) for shape in shapes]
        return Sequences(*arrays)

    @functools.cached_property
    def task(self) -> LanguageToNumberTask:
        """The arrays of the task."""
        sequences = sequences_of(range(COUNT))
        absent = np.arange(len(UNITS_AND_TEENS), len(VOCABULARY))
        rare = (np.asarray(sequences.order) == absent[:, None, None]).any(1)
        return LanguageToNumberTask(
            words=sequences.elements,
            order=sequences.order,
            lengths=jnp.asarray(sequences.lengths),
            rare=jnp.asarray(rare),
            loss_metric=LOSSES[self.loss],
            fixed_split=self.split == "fixed",
        )

    def examples(self, batch: Batch) -> list[Example]:
        """The words of each number, and the number."""
        order, lengths = np.asarray(batch.inputs.order).T, np.asarray(batch.inputs.lengths)
        texts = [" ".join(VOCABULARY[i] for i in words[:n]) for words, n in zip(order, lengths, strict=True)]
        return [Example(text, f"{number:.0f}") for text, number in zip(texts, np.asarray(batch.targets)[0], strict=True)]

    def parse(self, text: str) -> Sequences:
        """The words of one number, such as "four hundred and two".

        Raises ValueError for an unknown word and for words that are no number from 0 to 999.
        """
        return sequences_of([number_of(text)])

    def steps(self, text: str) -> list[str]:
        """The words of a text. Raises ValueError for an unknown one."""
        return list(words_in(text))


def sequences_of(numbers: Any) -> Sequences:
    """The words of whole numbers: Sequences of order i32[5, batch], which ends in zeros, and lengths i32[batch]."""
    words = [[VOCABULARY.index(word) for word in words_of(number)] for number in numbers]
    order = np.zeros((MOST_WORDS, len(words)), np.int32)
    for i, one in enumerate(words):
        order[: len(one), i] = one
    lengths = np.array([len(one) for one in words], np.int32)
    return Sequences(jnp.arange(len(VOCABULARY)), jnp.asarray(order), jnp.asarray(lengths))
