"""Recurrent cells: the forms of the units, the dense cells, the exact ones, and the network that they stand in."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

from nalu_jax.networks.cells import CellFields
from nalu_jax.networks.layers import make_unit
from nalu_jax.networks.recurrent import Recurrent, recurrent
from nalu_jax.registry import CELLS, READERS, READOUTS, UNITS
from nalu_jax.sequences import Sequences

DENSE = ("lstm", "gru", "rnn_tanh", "rnn_relu")


class Flat(nn.Module):
    """A trunk that reads nothing: the pixels themselves, [h, w, n] → [h w, n]."""

    def __call__(self, images):
        return images.reshape(-1, images.shape[-1])


def numbers(*shape, seed=0, low=-1.0, high=1.0):
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def sequences_of(z):
    """Sequences whose flat images are the columns z [in, time, batch], each in the place that it has there."""
    inputs, time, batch = z.shape
    order = jnp.arange(time * batch, dtype=jnp.int32).reshape(time, batch)
    return Sequences(jnp.asarray(z).reshape(inputs, 1, time * batch), order)


def cell(name, unit="", outputs=1, hidden_size=8, readout="none"):
    make = functools.partial(make_unit, unit, options={})
    behind = READOUTS[readout](unit, {}, outputs=outputs, hidden_size=hidden_size)
    return CELLS[name](make, CellFields(outputs=outputs, hidden_size=hidden_size, readout=behind))


def run(made, z, seed=0):
    """The network of a cell on columns [in, time, batch]: its parameters, and what it puts out."""
    return jax.tree.map(np.asarray, jax.jit(start_and_run(made))(jax.random.key(seed, impl="rbg"), sequences_of(z)))


def start_and_run(made):
    """(key, sequences) → the parameters that a network starts with, and what it puts out with them."""
    model = Recurrent(Flat(), made)

    def both(key, sequences):
        params = model.init(key, sequences).get("params", {})
        return params, model.apply({"params": params}, sequences)

    return both


def leaf(params, name):
    """The one parameter of that name, in float64."""
    found = [value for _, value in walk(nn.meta.unbox(params)) if name in value]
    return np.asarray(found[0][name], np.float64)


def test_a_nac_reads_what_it_put_out_last():
    z = numbers(3, 6, 5)
    params, outputs = run(cell("unit", "nac", 2), z)
    w = np.tanh(leaf(params, "w_hat")) / (1 + np.exp(-leaf(params, "m_hat")))
    assert w.shape == (3 + 2, 2)
    h = np.zeros((2, 5))
    for t in range(6):
        h = w.T @ np.concatenate([z[:, t], h])
        np.testing.assert_allclose(outputs[:, t], h, rtol=1e-4, atol=1e-6)


def test_an_accumulator_adds_up_what_its_unit_makes_of_each():
    z = numbers(3, 6, 5)
    params, outputs = run(cell("accumulator", "nau", 2), z)
    w = leaf(params, "w")
    assert w.shape == (3, 2)
    np.testing.assert_allclose(outputs, np.cumsum(np.einsum("io,itb->otb", w, z), axis=1), rtol=1e-4, atol=1e-6)


def test_an_nmu_starts_from_1_and_a_nalu_from_0_as_published():
    z = numbers(1, 3, 4, low=1.0, high=2.0)
    params, outputs = run(cell("unit", "nmu"), z)
    w = leaf(params, "w")[:, 0]
    h = np.ones(4)
    for t in range(3):
        h = (w[0] * z[0, t] + 1 - w[0]) * (w[1] * h + 1 - w[1])
        np.testing.assert_allclose(outputs[0, t], h, rtol=1e-5)
    starts = {
        name: float(cell("unit", name).initialize_carry(jnp.ones((1, 1)))[0, 0])
        for name in ("nac_mul", "nmu", "nalu", "nac", "nau")
    }
    assert starts == {"nac_mul": 1.0, "nmu": 1.0, "nalu": 0.0, "nac": 0.0, "nau": 0.0}


@pytest.mark.parametrize(("name", "total"), [("exact_sum", np.cumsum), ("exact_product", np.cumprod)])
def test_exact_cells_have_nothing_to_learn_and_make_no_error(name, total):
    z = numbers(1, 9, 4, low=1.0, high=2.0)
    params, outputs = run(cell(name), z)
    assert jax.tree.leaves(params) == []
    np.testing.assert_allclose(outputs, total(z, axis=1), rtol=1e-5)


def lstm_by_hand(params, z, hidden):
    """An LSTM without peepholes, gate by gate: Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000."""
    parts = next(value for path, value in walk(params) if "hf" in value)
    c, h, said = np.zeros((z.shape[2], hidden)), np.zeros((z.shape[2], hidden)), []
    for t in range(z.shape[1]):
        x = z[:, t].T

        def gate(name, x=x, h=h):
            inner, outer = parts[f"i{name}"], parts[f"h{name}"]
            return x @ np.asarray(inner["kernel"]) + h @ np.asarray(outer["kernel"]) + np.asarray(outer["bias"])

        c = expit(gate("f")) * c + expit(gate("i")) * np.tanh(gate("g"))
        h = expit(gate("o")) * np.tanh(c)
        said.append(h)
    return np.moveaxis(np.array(said), -1, 0)


def walk(tree, path=()):
    """All mappings of a tree of parameters."""
    if isinstance(tree, dict):
        yield path, tree
        for name, value in tree.items():
            yield from walk(value, (*path, name))


def test_a_published_lstm_puts_out_what_it_remembers():
    z = numbers(3, 5, 4)
    params, outputs = run(cell("lstm", outputs=2), z)
    np.testing.assert_allclose(outputs, lstm_by_hand(params, z, 2), rtol=1e-4, atol=1e-6)


def test_a_fair_lstm_has_a_linear_layer_behind_it():
    z = numbers(3, 5, 4)
    params, outputs = run(cell("lstm", outputs=2, hidden_size=8, readout="dense"), z)
    readout = next(value for path, value in walk(params) if path and path[-1] == "readout")
    hidden = lstm_by_hand(params, z, 8)
    expected = np.einsum("htb,ho->otb", hidden, readout["kernel"]) + np.asarray(readout["bias"])[:, None, None]
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", DENSE)
def test_published_dense_cells_have_as_many_numbers_as_outputs_and_fair_ones_as_many_as_asked(name):
    shapes = [
        jax.eval_shape(start_and_run(made), jax.random.key(0), sequences_of(numbers(3, 2, 1)))
        for made in (cell(name, outputs=2), cell(name, "", 2, 16, "dense"))
    ]
    (published, _), (fair, outputs) = shapes
    sizes = [{value.shape[-1] for value in jax.tree.leaves(params)} for params in (published, fair)]
    assert sizes == [{2}, {16, 2}]
    assert outputs.shape == (2, 2, 1)


@pytest.mark.parametrize("name", DENSE)
def test_published_dense_cells_start_as_pytorch_draws_them(name):
    start = jax.jit(lambda key, sequences: start_and_run(cell(name, outputs=400))(key, sequences)[0])
    params = start(jax.random.key(0, impl="rbg"), sequences_of(numbers(3, 2, 1)))
    drawn = np.concatenate([np.ravel(value) for value in jax.tree.leaves(params)])
    assert np.abs(drawn).max() <= 1 / 20  # U(±1/√400)
    assert np.std(drawn) == pytest.approx(1 / 20 / np.sqrt(3), rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", DENSE)
def test_several_seeds_on_each_of_two_devices_can_start(name):
    model = Recurrent(Flat(), cell(name, "", 2, 64, "dense"))
    mesh = jax.make_mesh((2,), ("seed",), axis_types=(jax.sharding.AxisType.Auto,))
    by_seed = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("seed"))
    seeds = jax.device_put(np.arange(8), by_seed)
    start = jax.vmap(lambda seed: model.init(jax.random.key(seed), sequences_of(numbers(3, 2, 1))))
    params = jax.jit(start, out_shardings=by_seed)(seeds)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))


@pytest.mark.slow
def test_a_published_tanh_network_cannot_say_a_number_beyond_1():
    z = 100 * numbers(3, 50, 4)
    for name in ("rnn_tanh", "lstm", "gru"):
        assert np.abs(run(cell(name), z)[1]).max() <= 1
    assert np.abs(run(cell("rnn_relu"), z)[1]).max() > 1


@pytest.mark.parametrize("name", [name for name in UNITS if name != "crelu"])  # makes two outputs of a feature
def test_every_unit_is_a_cell_in_both_forms(name):
    inputs = sequences_of(numbers(2, 3, 4))
    for form in ("unit", "accumulator"):
        model = Recurrent(Flat(), cell(form, name))
        outputs = jax.eval_shape(lambda key, model=model: model.init_with_output(key, inputs)[0], jax.random.key(0))
        assert outputs.shape == (1, 3, 4)


def test_images_are_read_once_and_seen_in_the_order_said():
    z = numbers(1, 4, 1)
    images = jnp.asarray(z).reshape(1, 1, 4)
    order = np.random.default_rng(1).integers(4, size=(30, 6))
    model = Recurrent(Flat(), cell("exact_sum"))
    outputs = model.apply({}, Sequences(images, jnp.asarray(order)))
    np.testing.assert_allclose(outputs[0], np.cumsum(z[0, :, 0][order], axis=0), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_long_sequence_needs_no_more_memory_of_the_trunk():
    model = recurrent("nac", {}, **USUAL | {"outputs": 10})
    images = jax.ShapeDtypeStruct((28, 28, 50), jnp.float32)

    def needed(length):
        inputs = Sequences(images, jax.ShapeDtypeStruct((length, 20), jnp.int32))
        params = jax.eval_shape(model.init, jax.random.key(0), inputs)["params"]
        compiled = jax.jit(lambda p, x: model.apply({"params": p}, x)[:, -1]).lower(params, inputs).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    a_number = 4 * 20  # bytes that a place needs for each number kept of it
    assert needed(1_000) - needed(10) < 990 * a_number * 60


def declared_by(model, inputs):
    """What a network declares with its first parameters."""
    return model.apply(model.init(jax.random.key(0), inputs), inputs, mutable=["weights", "penalties"])[1]


def test_the_units_in_a_network_declare_their_weights_once_whatever_the_length():
    model = Recurrent(Flat(), cell("unit", "nac", 2))
    for time in (1, 7):
        declared = jax.eval_shape(functools.partial(declared_by, model), sequences_of(numbers(3, time, 5)))
        shapes = [leaf.shape for leaf in jax.tree.leaves(declared["weights"])]
        assert shapes == [(5, 2)]


def test_the_penalty_of_a_unit_is_counted_once_whatever_the_length():
    found = []
    for time in (1, 7):
        model = Recurrent(Flat(), cell("unit", "nau", 1))
        penalties = declared_by(model, sequences_of(numbers(3, time, 5)))["penalties"]
        found += [float(declared["sparsity"]) for _, declared in walk(penalties) if "sparsity" in declared]
    assert len(found) == 2
    assert found[0] == pytest.approx(found[1])


def test_rz_is_of_all_that_a_unit_has_read_over_the_whole_sequence():
    z = numbers(1, 6, 5)
    for name, neutral in (("nau", 0.0), ("nmu", 1.0)):
        params, outputs = run(cell("unit", name), z)
        declared = Recurrent(Flat(), cell("unit", name)).apply({"params": params}, sequences_of(z), mutable=["penalties"])[1]
        before = np.concatenate([np.full((1, 1, 5), neutral), outputs[:, :-1]], axis=1)
        unused = 1 - np.abs(leaf(params, "w")[:, 0])
        expected = np.mean(unused * (neutral - np.array([z.mean(), before.mean()])) ** 2)
        (found,) = (penalties for _, penalties in walk(declared["penalties"]) if "r_z" in penalties)
        assert found["r_z"] == pytest.approx(expected, rel=1e-5)


def test_rz_reaches_what_reads_the_images():
    z = sequences_of(numbers(1, 6, 5))

    def penalty(images):
        penalties = declared_by(Recurrent(Flat(), cell("unit", "nau")), z._replace(elements=images))["penalties"]
        return next(found["r_z"] for _, found in walk(penalties) if "r_z" in found)

    assert jax.grad(penalty)(z.elements).all()


USUAL = {
    "outputs": 1, "reader": {"name": "trask"}, "features": 10, "cell": "unit", "hidden_size": 8, "readout": "none",
}  # fmt: skip


def test_an_exact_cell_reads_as_many_numbers_as_there_are_outputs():
    for name, expected in (("exact_sum", 1), ("unit", 10)):
        model = recurrent("nac", {}, **USUAL | {"cell": name})
        assert model.trunk.features == expected
    assert model.trunk == READERS["trask"](features=10)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"features": -1}, "features must be a positive integer, got -1"),
        ({"outputs": 1.5}, "features must be a positive integer, got 1.5"),
        ({"cell": "gru", "readout": "dense", "hidden_size": -3}, "hidden_size must be a positive integer, got -3"),
        ({"cell": "lsmt"}, "unknown cell 'lsmt': did you mean 'lstm'?"),
        ({"unit": "nca"}, "unknown unit 'nca': did you mean 'nau'?"),
        ({"unit": ""}, "name is missing: this network is made of units"),
        ({"unit": "", "cell": "accumulator"}, "name is missing: this network is made of units"),
        ({"reader": {"name": "trsak"}}, "unknown reader 'trsak': did you mean 'trask'?"),
        ({"reader": {}}, "reader.name is missing: one of "),
        ({"cell": "lstm", "readout": "dnese"}, "unknown readout 'dnese': did you mean 'dense'?"),
        ({"readout": "dense"}, "readout must be none, or one at the end, for the cell 'unit'"),
        ({"cell": "exact_sum", "readout": "dense"}, "readout must be none, or one at the end, for the cell 'exact_sum'"),
    ],
)
def test_a_network_that_cannot_be_is_refused_in_a_sentence(fields, words):
    fields = {"unit": "nac"} | USUAL | fields
    with pytest.raises(ValueError) as caught:
        recurrent(options={}, **fields)
    assert str(caught.value).startswith(words)


@pytest.mark.slow
@pytest.mark.parametrize("name", CELLS)
def test_every_cell_goes_over_a_sequence_under_its_name(name):
    _, outputs = run(cell(name, "nac", outputs=1), numbers(1, 3, 4))
    assert outputs.shape == (1, 3, 4) and np.isfinite(outputs).all()


def test_networks_that_are_made_alike_are_equal_and_hash_alike():
    # They are part of the key by which compiled programs are found.
    for fields in ({}, {"cell": "lstm", "readout": "dense"}, {"cell": "gru"}, {"cell": "exact_sum"}):
        one, other = (recurrent("nac", {}, **USUAL | fields) for _ in range(2))
        assert one == other and hash(one) == hash(other)
