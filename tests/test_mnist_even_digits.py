"""Counting even digits: what stands on a canvas and where, what is heard of it, and what is measured."""

import dataclasses
import math
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

from nalu_jax.data import mnist
from nalu_jax.registry import TASKS
from nalu_jax.tasks.mnist_even_digits import ATTEMPTS, PROPOSALS, MnistEvenDigits, accept, canvas_of, places
from nalu_jax.types import Batch

pytestmark = pytest.mark.slow  # the placing of digits takes long to compile

SMALL = {"canvas": 50, "digit_size": 14, "distance": 14, "most_digits": 5}
# Canvases that hold one image at most, and nothing but it.
ONE = {"canvas": 28, "digit_size": 28, "distance": 1, "most_digits": 1}


@cache
def described(canvas=50, digit_size=14, distance=14, most_digits=5, num_canvases=330, threshold=0.9, data="embedded"):
    return MnistEvenDigits.from_config(
        data=data,
        canvas=canvas,
        digit_size=digit_size,
        distance=distance,
        most_digits=most_digits,
        num_canvases=num_canvases,
        threshold=threshold,
    )


@partial(jax.jit, static_argnums=2)
def sample(task, seed, batch_size):
    return task.sample(jax.random.key(seed, impl="rbg"), task.init(jax.random.key(0)), batch_size)


def restored(batch):
    """The canvases of a batch before they were normalised, u8[batch, canvas, canvas]; 0.1307 and 0.3081 are MNIST's."""
    pixels = (np.moveaxis(np.asarray(batch.inputs, np.float64), -1, 0) * 0.3081 + 0.1307) * 255
    np.testing.assert_allclose(pixels, np.round(pixels), atol=1e-4)
    return np.round(pixels).astype(np.uint8)


def counts(batch):
    """What the one-hot targets say, i64[batch]."""
    targets = np.asarray(batch.targets)
    assert set(np.unique(targets)) == {0, 1} and (targets.sum(0) == 1).all()
    return targets.argmax(0)


def targets_by_hand(description, task_state, batch):
    """One-hot counts f64[counts, batch] of the even digits on canvases of digits whose squares do not overlap."""
    even = [sum(digit % 2 == 0 for digit in read(canvas, description.digit_size)) for canvas in restored(batch)]
    return np.eye(description.outputs)[even].T


def read(canvas, size):
    """The digits on a canvas u8[pixels, pixels], one after the other: the first pixel left is the first one of an image."""
    canvas, found = canvas.copy(), []
    while canvas.any():
        row, column = np.argwhere(canvas)[0]
        for first_row, first_column in first_pixels(size):
            top, left = row - first_row, column - first_column
            window = canvas[max(top, 0) : top + size, max(left, 0) : left + size]
            if min(top, left) >= 0 and window.tobytes() in images_of(size):
                found.append(images_of(size)[window.tobytes()])
                window[:] = 0
                break
        else:
            raise AssertionError("the canvas shows something that is no image")
    return found


@cache
def images_of(size):
    """The digit of each embedded image, by its bytes at a size."""
    width, found = 28 // size, {}
    for images in mnist.load("embedded"):
        means = np.rint(images.pixels.reshape(-1, size, width, size, width).mean((2, 4))).astype(np.uint8)
        found |= {image.tobytes(): int(label) for image, label in zip(means, images.labels, strict=True)}
    return found


@cache
def first_pixels(size):
    """Where the first pixel of an image that is not black may be, row by row."""
    images = [np.frombuffer(image, np.uint8).reshape(size, size) for image in images_of(size)]
    return sorted({tuple(np.argwhere(image)[0]) for image in images})


# What stands on a canvas


def squares(distance, canvas=30):
    """A task whose digit d is a square of 4 x 4 pixels, all of brightness d + 1."""
    pixels = jnp.broadcast_to(jnp.arange(1, 11, dtype=jnp.uint8)[:, None, None], (10, 4, 4))
    return dataclasses.replace(described().task, pixels=pixels, labels=jnp.arange(10), canvas=canvas, distance=distance)


def digits_on(canvases):
    """How often each digit stands on canvases of squares that do not overlap, i64[batch, 10]."""
    pixels = np.stack([(canvases == digit + 1).sum((1, 2)) for digit in range(10)], axis=1)
    assert (pixels % 16 == 0).all(), "a digit is cut off or covered"
    return pixels // 16


def test_the_target_is_the_number_of_even_digits_on_the_canvas_and_0_is_even():
    batch = sample(squares(distance=6), 0, 4000)
    digits = digits_on(restored(batch))
    np.testing.assert_array_equal(counts(batch), digits[:, [0, 2, 4, 6, 8]].sum(1))


def test_the_number_of_digits_is_uniform_and_so_are_the_digits():
    digits = digits_on(restored(sample(squares(distance=6), 1, 4000)))
    assert chisquare(np.bincount(digits.sum(1), minlength=6)).pvalue > 1e-3
    assert chisquare(digits.sum(0)).pvalue > 1e-3


def test_digits_come_everywhere_from_one_edge_to_the_other():
    here = (restored(sample(squares(distance=6), 2, 4000)) > 0).mean(0)
    assert here[[0, 0, -1, -1], [0, -1, 0, -1]].min() > 0 and here[13:17, 13:17].min() > 0.03


def test_batches_of_different_keys_differ():
    task = described().task
    assert (np.asarray(sample(task, 3, 8).inputs) != np.asarray(sample(task, 4, 8).inputs)).any()


def test_a_canvas_is_made_of_the_images_at_their_places_and_overlaps_are_as_bright_as_the_brighter():
    rng = np.random.RandomState(0)
    images = rng.randint(0, 256, (3, 7, 7)).astype(np.uint8)
    corners = np.array([[0, 13], [3, 10], [13, 0]])
    expected = np.zeros((20, 20))
    for image, (row, column) in zip(images[:2], corners[:2], strict=True):
        for i in range(7):
            for j in range(7):
                expected[row + i, column + j] = max(expected[row + i, column + j], image[i, j])
    shown = jnp.array([True, True, False])
    np.testing.assert_array_equal(canvas_of(jnp.asarray(images), jnp.asarray(corners), shown, canvas=20), expected)


@pytest.mark.parametrize("split", ["training", "validation", "test"])
def test_canvases_of_a_split_show_its_own_images_and_say_whether_they_are_even(split):
    task = described(**ONE).task
    fixed = task.evaluations(())
    batches = {"training": sample(task, 5, 330), "validation": fixed["interpolation"], "test": fixed["extrapolation"]}
    images = getattr(mnist.load("embedded"), split)
    known = {pixels.tobytes(): int(label) for pixels, label in zip(images.pixels, images.labels, strict=True)}
    canvases, heard = restored(batches[split]), counts(batches[split])
    blank = ~canvases.any((1, 2))
    assert 0.4 < blank.mean() < 0.6 and not heard[blank].any()
    labels = np.array([known[canvas.tobytes()] for canvas in canvases[~blank]])
    np.testing.assert_array_equal(heard[~blank], labels % 2 == 0)
    assert len(np.unique(labels)) == 10


def test_smaller_digits_are_the_means_of_squares_of_pixels():
    image = mnist.load("embedded").training.pixels[3].astype(np.float64)
    quarters = image[0::2, 0::2] + image[1::2, 0::2] + image[0::2, 1::2] + image[1::2, 1::2]
    np.testing.assert_allclose(described().task.pixels[3], quarters / 4, atol=0.5)


# Where digits stand


def proposals(side, number, seed=0, attempts=ATTEMPTS, tried=PROPOSALS):
    return np.random.RandomState(seed).randint(0, side + 1, (number, attempts, tried, 2)).astype(np.int32)


def accepted_by_hand(proposed, most, distance):
    """Takes one proposal after another, in a loop."""
    taken = []
    for place in proposed:
        if len(taken) < most and all(math.dist(place, other) >= distance for other in taken):
            taken.append(tuple(place))
    return taken


def test_places_are_the_proposals_that_keep_the_distance_from_those_before():
    for one in proposals(36, 40, attempts=1)[:, 0]:
        taken, found = accept(jnp.asarray(one), most=5, distance=10)  # which 6 and 8 make exactly
        assert [tuple(place) for place in np.asarray(taken)[np.asarray(found)]] == accepted_by_hand(one, 5, 10)


def test_the_first_attempt_with_room_for_all_digits_counts():
    place = jax.jit(jax.vmap(partial(places, most=5, distance=14)))
    tried = proposals(36, 300, attempts=3, tried=12)
    taken, shown = (np.asarray(part) for part in place(jnp.asarray(tried), jnp.full(300, 4)))
    later = 0
    for canvas in range(300):
        rooms = [accepted_by_hand(attempt, 5, 14) for attempt in tried[canvas]]
        fitting = [number for number, room in enumerate(rooms) if len(room) >= 4]
        expected = rooms[fitting[0]][:4] if fitting else max(rooms, key=len)
        later += bool(fitting and fitting[0])
        assert [tuple(place) for place in taken[canvas][shown[canvas]]] == expected
    assert later > 30


def test_digits_that_found_no_place_are_not_shown_and_not_counted():
    # Squares nearly as large as the canvas: of the four places none are 3 apart, so that there is room for one digit.
    batch = sample(squares(distance=3, canvas=5), 6, 600)
    digits = digits_on(restored(batch))
    assert digits.sum(1).max() == 1 and 0.7 < digits.sum(1).mean() < 0.95
    np.testing.assert_array_equal(counts(batch), digits[:, ::2].sum(1))


def limit(side, most):
    """The largest distance that is allowed."""
    for distance in range(side, 0, -1):
        try:
            described(canvas=side + 28, digit_size=28, distance=distance, most_digits=most)
        except ValueError:
            continue
        return distance
    raise AssertionError("no distance is allowed")


@pytest.mark.parametrize(
    ("side", "most", "distance"), [(72, 5, 28), (36, 5, 14), *((72, n, 0) for n in (2, 3, 4, 6, 8, 12))]
)
def test_there_is_room_for_all_digits_but_for_one_canvas_in_a_million(side, most, distance):
    distance = distance or limit(side, most)
    walk = jax.jit(jax.vmap(partial(accept, most=most, distance=distance)))
    tried = jnp.asarray(proposals(side, 20_000, attempts=1)[:, 0])
    stuck = 1 - np.asarray(walk(tried)[1])[:, -1].mean()
    # Attempts are independent. Of 20,000 the share is known to within 5 deviations.
    assert (stuck + 5 * math.sqrt(max(stuck, 1e-4) / 20_000)) ** ATTEMPTS < 1e-6


# What is measured


LOGITS = np.log([[0.5, 0.2, 0.1], [0.3, 0.5, 0.1], [0.2, 0.3, 0.8]])  # [classes, batch]
TARGETS = np.array([[1.0, 0, 0], [0, 0, 1], [0, 1, 0]])


def measured(name):
    batch = Batch(jnp.zeros((1, 1, 3)), jnp.asarray(TARGETS, jnp.float32))
    return getattr(described().task, name)(jnp.asarray(LOGITS + 7, jnp.float32), batch)


def test_the_loss_is_the_cross_entropy():
    assert float(measured("loss")) == pytest.approx(-(math.log(0.5) + math.log(0.3) + math.log(0.1)) / 3, rel=1e-5)


def test_the_error_is_the_mean_squared_error_of_the_probabilities():
    squared = (0.25 + 0.09 + 0.04) + (0.04 + 0.25 + 0.49) + (0.01 + 0.81 + 0.64)
    assert float(measured("metrics")["mse"]) == pytest.approx(squared / 9, rel=1e-5)


def test_the_accuracy_is_how_often_the_most_likely_count_is_right():
    assert float(measured("metrics")["accuracy"]) == pytest.approx(1 / 3)


@pytest.mark.parametrize(("accuracy", "solved"), [(0.89, False), (0.91, True)])
def test_a_seed_is_solved_from_the_threshold_of_the_test_accuracy_on(accuracy, solved):
    metrics = {"interpolation_accuracy": jnp.float32(1 - accuracy), "extrapolation_accuracy": jnp.float32(accuracy)}
    assert bool(described(threshold=0.9).task.solved(metrics)) == solved


def test_always_zero_is_right_as_often_as_no_digit_is_even():
    # Half of the embedded digits are even: Σ_n 1/6 · 1/2^n = 0.328; the deviation of 2,000 canvases is 0.0105.
    always_zero = described(num_canvases=2000).predictors()["always zero"]
    for name in ("interpolation", "extrapolation"):
        assert always_zero[f"{name}_accuracy"] == pytest.approx(0.328, abs=0.04)
        assert always_zero[f"{name}_mse"] == pytest.approx(2 * (1 - always_zero[f"{name}_accuracy"]) / 6)


def test_a_uniform_guess_is_right_once_in_six_times():
    uniform = described().predictors()["uniform"]
    assert uniform["extrapolation_accuracy"] == pytest.approx(1 / 6)
    assert uniform["extrapolation_mse"] == pytest.approx(((5 / 6) ** 2 + 5 / 36) / 6)


# The description


def test_the_fixed_canvases_are_as_many_as_asked_for_and_the_same_each_time():
    first, again = (MnistEvenDigits(**dataclasses.asdict(described())).task.evaluations(()) for _ in range(2))
    for name in ("interpolation", "extrapolation"):
        assert first[name].inputs.shape == (50, 50, 330) and first[name].targets.shape == (6, 330)
        np.testing.assert_array_equal(first[name].inputs, again[name].inputs)
        assert len({canvas.tobytes() for canvas in restored(first[name])}) > 330 * 0.75  # blank ones are alike


def test_a_training_batch_has_the_shapes_of_the_example():
    batch = sample(described().task, 7, 1)
    assert (batch.inputs.shape, batch.inputs.dtype) == (described().example.shape, described().example.dtype)
    assert batch.targets.shape == (described().outputs, 1)


def test_the_task_has_its_name():
    assert TASKS["mnist_even_digits"] is MnistEvenDigits


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"data": "mnits"}, "data must be one of embedded, mnist, fashion_mnist, got 'mnits'"),
        ({"canvas": 50.0}, "canvas must be a positive whole number, got 50.0"),
        ({"most_digits": 0}, "most_digits must be a positive whole number, got 0"),
        ({"most_digits": 13}, "most_digits must be at most 12, got 13"),
        ({"digit_size": 12}, "digit_size must divide 28, got 12"),
        ({"canvas": 13}, "canvas must be at least digit_size, which is 14, got 13"),
        ({"distance": 16}, "distance must leave room for 5 digits of 14 pixels on a canvas of 50, got 16"),
        ({"distance": 27, "most_digits": 2}, "distance must leave room for 2 digits"),
        ({"threshold": 93.1}, "threshold must be a number from 0 to 1, got 93.1"),
        ({"threshold": float("nan")}, "threshold must be a number from 0 to 1, got nan"),
    ],
)
def test_impossible_values_are_refused(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        described(**SMALL | fields)
