"""The image networks against the same networks written in NumPy, and their dropout."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from nalu_jax.networks import trunks
from nalu_jax.networks.trunks import Trunk
from nalu_jax.registry import READERS

# Filters and hidden size, from the papers.
SIZES = {"trask": (10, 20, 50), "madsen_johansen": (20, 50, 500), "segui": (32, 32, 32)}
SMALL = Trunk((3, 4), 6, features=2)


def digits(n, height=28, width=28):
    """Strokes on a black ground, normalised as MNIST is: f32[h, w, n]."""
    rng = np.random.RandomState(n)
    rows, columns = np.mgrid[:height, :width][..., None]
    angle, offset = rng.uniform(0, np.pi, n), rng.uniform(-0.2, 0.2, n) * height
    distance = np.abs((rows - height / 2) * np.cos(angle) + (columns - width / 2) * np.sin(angle) - offset)
    ink = np.clip(2 - distance, 0, 1) * ((rows - height / 2) ** 2 + (columns - width / 2) ** 2 < (height / 3) ** 2)
    return jnp.asarray((ink - 0.1307) / 0.3081, jnp.float32)


def started(trunk, images, seed=0):
    # Compiled, so that nothing is computed of the output; of the generator that compiles fastest.
    params = jax.jit(lambda key: trunk.init(key, jnp.zeros((*images.shape[:2], 1)))["params"])
    return params(jax.random.key(seed, impl="rbg"))


@functools.partial(jax.jit, static_argnums=0)
def outputs_of(trunk, params, images, rngs=None):
    return trunk.apply({"params": params}, images, rngs=rngs)


def in_numpy(params, images):
    """What comes out, [features, n], and the hidden layer, [hidden, n], float64."""
    p = {name: np.asarray(value, np.float64) for name, value in params.items()}
    y = np.asarray(images, np.float64)[None]
    for layer in ("conv_1", "conv_2"):
        kernel, bias = p[f"{layer}_kernel"], p[f"{layer}_bias"]
        height, width = y.shape[1] - 4, y.shape[2] - 4
        y = sum(
            np.einsum("oc,chwn->ohwn", kernel[:, i, j], y[:, i : i + height, j : j + width]) for i, j in np.ndindex(5, 5)
        )
        y = np.maximum(y + bias[:, None, None, None], 0)
        even = y[:, : height // 2 * 2, : width // 2 * 2]
        y = even.reshape(len(y), height // 2, 2, width // 2, 2, -1).max((2, 4))
    hidden = np.maximum(p["dense_1_w"].T @ y.reshape(-1, y.shape[-1]) + p["dense_1_b"][:, None], 0)
    return p["dense_2_w"].T @ hidden + p["dense_2_b"][:, None] if "dense_2_w" in p else hidden, hidden


def assert_close(found, expected):
    # Float32 sums of up to a thousand products.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, expected)


@pytest.mark.parametrize("name", SIZES)
def test_a_trunk_is_the_network_of_its_paper(name):
    first, second, hidden = SIZES[name]
    trunk, images = READERS[name](features=10), digits(7)
    params = started(trunk, images)
    assert jax.tree.map(jnp.shape, params) == {
        "conv_1_kernel": (first, 5, 5, 1),
        "conv_1_bias": (first,),
        "conv_2_kernel": (second, 5, 5, first),
        "conv_2_bias": (second,),
        "dense_1_w": (16 * second, hidden),
        "dense_1_b": (hidden,),
        "dense_2_w": (hidden, 10),
        "dense_2_b": (10,),
    }
    assert_close(outputs_of(trunk, params, images), in_numpy(params, images)[0])


def test_the_registry_has_a_test_of_every_trunk():
    made = {name for name, reader in READERS.items() if getattr(reader, "func", reader) is Trunk}
    assert made == set(SIZES)


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width"), [(16, 16), (50, 50), (100, 100), (19, 30)])
def test_a_trunk_reads_images_of_any_size(height, width):
    images = digits(3, height, width)
    params = started(SMALL, images)
    assert_close(outputs_of(SMALL, params, images), in_numpy(params, images)[0])


def test_without_features_the_hidden_layer_comes_out():
    trunk, images = Trunk((3, 4), 6, features=0), digits(5)
    params = started(trunk, images)
    assert "dense_2_w" not in params
    assert_close(outputs_of(trunk, params, images), in_numpy(params, images)[1])


@functools.cache
def small_of_many_seeds():
    keys = jax.random.split(jax.random.key(0, impl="rbg"), 300)
    return jax.jit(lambda keys: jax.lax.map(lambda key: SMALL.init(key, digits(1))["params"], keys))(keys)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fan_in"), [("conv_1", 25), ("conv_2", 25 * 3), ("dense_1", 16 * 4), ("dense_2", 6)], ids=str
)
def test_weights_and_biases_start_uniform_as_in_pytorch(name, fan_in):
    for parameter, leaf in small_of_many_seeds().items():
        if parameter.startswith(name):
            # Of 600 numbers and more the extreme ones are within 3 % (once in e^9); four standard errors of the variance.
            assert [leaf.min(), leaf.max()] == pytest.approx([-1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)], rel=0.03)
            assert np.abs(leaf).max() <= 1 / math.sqrt(fan_in)
            assert np.var(leaf) == pytest.approx(1 / (3 * fan_in), rel=0.15)


@pytest.mark.parametrize(("height", "width"), [(15, 28), (28, 15)])
def test_images_that_are_too_small_are_refused(height, width):
    with pytest.raises(ValueError, match=f"images must have 16 x 16 pixels or more, got {height} x {width}"):
        SMALL.init(jax.random.key(0), jnp.zeros((height, width, 2)))


@pytest.mark.parametrize(
    ("field", "value"),
    [("features", -1), ("features", 2.5), ("dropout", 1.0), ("dropout", -0.1), ("hidden", 0), ("filters", (3,))],
)
def test_values_that_make_no_sense_are_refused(field, value):
    with pytest.raises(ValueError, match=f"{field} must be"):
        SMALL.clone(**{field: value})


# Pieces


@pytest.mark.slow
def test_pieces_give_what_all_images_give_at_once(monkeypatch):
    images = digits(150)
    params = started(SMALL, images)

    def loss(params):
        columns = SMALL.apply({"params": params}, images)
        return jnp.sum(jnp.sin(columns)), columns

    def found():
        return jax.jit(jax.value_and_grad(lambda params: loss(params), has_aux=True))(params)  # traced anew

    in_two_kinds_of_pieces = [monkeypatch.setattr(trunks, "AT_ONCE", 70), found()][1]
    monkeypatch.setattr(trunks, "AT_ONCE", 150)
    monkeypatch.setattr(trunks, "IN_CACHE", 150)
    assert_close(in_two_kinds_of_pieces, found())


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images_but_for_what_goes_in_and_out():
    trunk = READERS["trask"](features=10)

    def temporary(n):
        images = jax.ShapeDtypeStruct((28, 28, n), jnp.float32)
        params = jax.eval_shape(lambda: started(trunk, jnp.zeros((28, 28, 1))))
        program = jax.jit(lambda params, images: trunk.apply({"params": params}, images)).lower(params, images).compile()
        return program.memory_analysis().temp_size_in_bytes

    # Dropout's channels, and images and outputs laid out in pieces, twice.
    each = 4 * 2 * (28 * 28 + 20 + 50 + 10)
    assert temporary(8192) - temporary(2048) < 1.1 * each * (8192 - 2048)


# Dropout


def channels_of(trunk, images, **rngs):
    """What comes out, with parameters that copy the convolved channels (all 1) to hidden and outputs."""
    params = jax.tree.map(jnp.zeros_like, started(trunk, images))
    params |= {"conv_2_bias": jnp.ones(trunk.filters[1])}
    params |= {"dense_1_w": jnp.repeat(jnp.eye(trunk.filters[1]), 16, axis=0) / 16}
    return np.asarray(outputs_of(trunk, params, images, rngs))


def test_dropout_is_of_whole_channels_and_of_hidden_numbers_while_training():
    trunk, images = Trunk((2, 20), 20, features=0, dropout=0.5), digits(500)
    columns = channels_of(trunk, images, training=jax.random.key(1))
    # Whole channels: of the mean over a channel's pixels, either nothing or all is left; and again of the hidden number.
    assert set(np.unique(columns)) == {0, 4}
    # Of 10,000 numbers, kept by both: four standard errors.
    assert np.mean(columns > 0) == pytest.approx(0.25, abs=0.02)
    # Each image for itself.
    assert len(np.unique(columns, axis=1).T) > 400


def test_the_last_layer_sees_hidden_numbers_with_dropout_of_the_right_rate():
    trunk, images = Trunk((2, 20), 20, features=0, dropout=0.2), digits(500)
    columns = channels_of(trunk, images, training=jax.random.key(2))
    np.testing.assert_allclose(np.unique(columns), [0, 1 / 0.8**2], rtol=1e-6)
    assert np.mean(columns > 0) == pytest.approx(0.64, abs=0.02)


@pytest.mark.parametrize(("dropout", "rngs"), [(0.5, {}), (0.0, {"training": jax.random.key(1)})], ids=["evaluating", "off"])
def test_nothing_is_dropped_unless_a_learner_takes_a_step_and_a_rate_is_given(dropout, rngs):
    trunk, images = Trunk((2, 20), 20, features=0, dropout=dropout), digits(40)
    np.testing.assert_array_equal(channels_of(trunk, images, **rngs), 1)


@pytest.mark.slow
def test_dropout_of_two_streams_differs_and_of_one_stream_is_the_same():
    trunk, images = Trunk((2, 20), 20, features=0, dropout=0.5), digits(40)
    first, again, other = (channels_of(trunk, images, training=jax.random.key(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


# Under transformations


def step(params, images):
    """One step down the gradient."""
    loss, gradients = jax.value_and_grad(lambda params: jnp.mean(SMALL.apply({"params": params}, images) ** 2))(params)
    return loss, jax.tree.map(lambda value, gradient: value - 0.1 * gradient, params, gradients)


def one_by_one(tree, count):
    return [jax.tree.map(lambda leaf, i=i: leaf[i], tree) for i in range(count)]


def by_seed(mesh, function):
    return jax.shard_map(
        lambda params, images: jax.lax.map(lambda params: function(params, images), params),
        mesh=mesh,
        in_specs=(PartitionSpec("seed"), PartitionSpec()),
        out_specs=PartitionSpec("seed"),
        check_vma=False,
    )


@functools.cache
def alone():
    """Parameters of four seeds that differ, the images, and what a step of each by itself makes of them."""
    images = digits(40)
    last = jax.random.normal(jax.random.key(0), (4, 6, 2))
    all_params = jax.tree.map(lambda leaf: jnp.stack([leaf] * 4), started(SMALL, images, 0)) | {"dense_2_w": last}
    taken = [jax.jit(step)(params, images) for params in one_by_one(all_params, 4)]
    return all_params, images, jax.tree.map(lambda *leaves: np.stack(leaves), *taken)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["vmap", "shard_map of map"])
def test_seeds_learn_together_as_they_do_alone(how):
    all_params, images, expected = alone()
    together = {
        "vmap": jax.vmap(step, (0, None)),
        "shard_map of map": by_seed(Mesh(jax.devices("cpu"), "seed"), step),
    }[how]
    assert_close(jax.jit(together)(all_params, images), expected)
