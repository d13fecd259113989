"""How units are put together: the two-layer networks of the papers, by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nalu_jax.initializers import glorot_uniform, madsen_johansen
from nalu_jax.networks.layers import unit_options
from nalu_jax.networks.stacks import image_classifier, single, two_layer
from nalu_jax.registry import READERS, UNITS, UnknownName
from nalu_jax.units import NAC, NALU, NAU, NMU, SNMU, Activation, GatedNAUNMU, Linear, NACMul
from nalu_jax.units.nac import NACMulNMU, NACMulSigma

OPTIONS = {"initializer": glorot_uniform, "epsilon": 1e-3}


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("nac", NAC, NAC),
        ("nac_mul", NAC, NACMul),
        ("nalu", NALU, NALU),
        ("linear", Linear, Linear),
        ("relu", Activation, Linear),
        ("nau", NAU, NAU),
        ("nmu", NAU, NMU),
        ("snmu", NAU, SNMU),
        ("nac_mul_nmu", NAU, NACMulNMU),
        ("nac_mul_sigma", NAC, NACMulSigma),
        ("gated_nau_nmu", GatedNAUNMU, GatedNAUNMU),
    ],
)
def test_a_network_is_named_after_its_unit(name, first, last):
    # The table of models of Madsen & Johansen 2020. Activation is a Linear: so compare the classes themselves.
    assert [type(layer) for layer in two_layer(name, {}, outputs=1, hidden_size=2).layers] == [first, last]


@pytest.mark.parametrize("name", ["nalu_separate", "nalu_bias", "nalu_separate_bias"])
def test_a_variant_of_the_nalu_stands_in_both_layers(name):
    for layer in two_layer(name, {}, outputs=1, hidden_size=2).layers:
        assert (layer.separate, layer.gate_bias) == ("separate" in name, "bias" in name)


def test_the_activation_of_the_first_layer_is_the_one_named():
    assert two_layer("softsign", {}, outputs=1, hidden_size=2).layers[0].activation == "softsign"


@pytest.mark.parametrize("name", UNITS)
def test_every_network_maps_columns_to_one_output(name):
    columns = jax.ShapeDtypeStruct((5, 7), jnp.float32)
    outputs, _ = jax.eval_shape(two_layer(name, {}, outputs=1, hidden_size=3).init_with_output, jax.random.key(0), columns)
    assert outputs.shape == (1, 7)


@pytest.mark.parametrize("name", UNITS)
def test_the_first_layer_of_every_network_has_the_hidden_size(name):
    columns = jax.ShapeDtypeStruct((5, 7), jnp.float32)
    params = jax.eval_shape(two_layer(name, {}, outputs=1, hidden_size=3).init, jax.random.key(0), columns)["params"]
    matrices = [leaf.shape for leaf in jax.tree.leaves(params["layers_0"]) if leaf.ndim == 2]
    assert matrices and set(matrices) == {(5, 3)}


def test_a_network_is_its_layers_one_after_the_other():
    # Planted by hand: NAC to (x1 + x2, x3), then NAC• to their product. exp and log each round by 2e-7 or so.
    x = np.array([[2.0, 3.0], [4.0, 5.0], [0.5, 6.0]], np.float32)
    params = {
        "layers_0": {"w_hat": 20 * jnp.array([[1.0, 0], [1, 0], [0, 1]]), "m_hat": jnp.full((3, 2), 20.0)},
        "layers_1": {"w_hat": jnp.full((2, 1), 20.0), "m_hat": jnp.full((2, 1), 20.0)},
    }
    outputs = two_layer("nac_mul", {}, outputs=1, hidden_size=2).apply({"params": params}, x)
    np.testing.assert_allclose(outputs, [[(2 + 4) * 0.5, (3 + 5) * 6]], rtol=2e-6)


# A unit alone


@pytest.mark.parametrize("name", [name for name in UNITS if name != "crelu"])
def test_a_single_unit_maps_columns_to_one_output_and_has_one_layer(name):
    columns = jax.ShapeDtypeStruct((5, 7), jnp.float32)
    outputs, variables = jax.eval_shape(single(name, {}, outputs=1).init_with_output, jax.random.key(0), columns)
    assert outputs.shape == (1, 7)
    assert list(variables["params"]) == ["layers_0"]


def test_a_single_unit_is_the_one_that_is_named_whatever_its_partner():
    assert [type(layer) for layer in single("nmu", {}, outputs=1).layers] == [NMU]
    assert [type(layer) for layer in single("nac_mul", {}, outputs=1).layers] == [NACMul]


def test_options_reach_a_single_unit_as_far_as_it_has_them():
    [nac_mul], [nac] = (single(name, OPTIONS, outputs=1).layers for name in ("nac_mul", "nac"))
    assert (nac_mul.initializer, nac_mul.epsilon) == (glorot_uniform, 1e-3)
    assert nac.initializer is glorot_uniform and not hasattr(nac, "epsilon")


# Another unit in one of two layers


def test_a_layer_may_be_another_unit_than_the_name_stands_for():
    # Madsen & Johansen 2020, appendix on the gate: a NAC that adds, before a NALU.
    layers = two_layer("nalu", OPTIONS, outputs=1, hidden_size=2, first_layer="nac").layers
    assert [type(layer) for layer in layers] == [NAC, NALU]
    assert layers[0].initializer is glorot_uniform
    assert [type(layer) for layer in two_layer("nmu", {}, outputs=1, hidden_size=2, last_layer="nac").layers] == [NAU, NAC]


@pytest.mark.parametrize("layer", ["first_layer", "last_layer"])
def test_an_unknown_unit_of_a_layer_is_refused(layer):
    with pytest.raises(UnknownName, match="unknown unit 'nacc': did you mean 'nac'"):
        two_layer("nalu", {}, outputs=1, hidden_size=2, **{layer: "nacc"})


# Options


def test_options_reach_the_unit_that_the_network_is_named_after():
    last = two_layer("nac_mul", OPTIONS, outputs=1, hidden_size=2).layers[1]
    assert (last.initializer, last.epsilon) == (glorot_uniform, 1e-3)


def test_options_reach_a_partner_as_far_as_it_has_them():
    first = two_layer("nac_mul", OPTIONS, outputs=1, hidden_size=2).layers[0]
    assert first.initializer is glorot_uniform and not hasattr(first, "epsilon")


def test_options_of_other_units_leave_a_dense_network_as_it_is():
    assert two_layer("relu", OPTIONS, outputs=1, hidden_size=2) == two_layer("relu", {}, outputs=1, hidden_size=2)


def test_unit_options_look_up_the_initializer_by_name():
    assert unit_options(initializer="madsen_johansen", epsilon=1e-7) == {"initializer": madsen_johansen, "epsilon": 1e-7}


# What is refused, and with which sentence


def test_an_unknown_unit_is_refused_with_a_guess_and_the_known_ones():
    sentence = r"unknown unit 'nallu': did you mean 'nalu'\? Known: .*nac, .*nac_mul, .*nalu, .*\.$"
    with pytest.raises(UnknownName, match=sentence):
        two_layer("nallu", {}, outputs=1, hidden_size=2)


def test_a_unit_like_no_other_is_refused_without_a_guess():
    with pytest.raises(UnknownName, match=r"unknown unit 'zzzz'\. Known: .*nac_mul"):
        two_layer("zzzz", {}, outputs=1, hidden_size=2)


@pytest.mark.parametrize("hidden_size", [0, -1, 2.0, "2", None])
def test_a_hidden_size_that_is_no_positive_integer_is_refused(hidden_size):
    with pytest.raises(ValueError, match=rf"hidden_size must be a positive integer, got {hidden_size!r}"):
        two_layer("nac", {}, outputs=1, hidden_size=hidden_size)


@pytest.mark.parametrize("epsilon", [0, 1, -1e-7, float("nan")])
def test_an_epsilon_outside_zero_to_one_is_refused(epsilon):
    with pytest.raises(ValueError, match=rf"epsilon must lie between 0 and 1, got {epsilon!r}"):
        unit_options(initializer="madsen_johansen", epsilon=epsilon)


def test_an_unknown_initializer_is_refused_with_a_guess():
    with pytest.raises(UnknownName, match="unknown initializer 'glorot': did you mean 'glorot_uniform'"):
        unit_options(initializer="glorot", epsilon=1e-7)


def test_an_option_that_no_unit_has_is_refused_with_a_guess():
    with pytest.raises(ValueError, match="no unit has a field 'epsilom': did you mean 'epsilon'"):
        unit_options(epsilom=1e-7)


def test_options_are_fields_of_some_unit_and_a_list_becomes_a_tuple():
    # iNALU's means are the three of its parameters.
    assert unit_options(means=[1.0, -1.0, 0.0], omega=10.0) == {"means": (1.0, -1.0, 0.0), "omega": 10.0}


def test_a_single_unit_with_two_outputs_is_refused():
    with pytest.raises(ValueError, match="needs one with 1 outputs, got 'crelu' with 2"):
        single("crelu", {}, outputs=1)


# Networks that read images


@pytest.mark.slow
def test_an_image_classifier_is_the_unit_behind_the_hidden_layer_of_its_trunk():
    images = np.random.RandomState(0).normal(size=(16, 16, 3)).astype(np.float32)
    network = image_classifier("linear", {}, reader={"name": "segui"}, outputs=6)
    params = network.init(jax.random.key(0, impl="rbg"), images)["params"]
    trunk, last = params["layers_0"], params["layers_1"]
    hidden = READERS["segui"](features=0).apply({"params": trunk}, images)
    assert hidden.shape == (32, 3)
    logits = network.apply({"params": params}, images)
    # A matrix product in NumPy against one in JAX.
    np.testing.assert_allclose(logits, last["w"].T @ hidden + last["b"][:, None], rtol=1e-5, atol=1e-5)


def test_the_fields_of_a_trunk_may_be_changed_and_a_list_becomes_a_tuple():
    network = image_classifier("nac", OPTIONS, reader={"name": "segui", "filters": [8, 16], "hidden": 20}, outputs=6)
    trunk, last = network.layers
    assert (trunk.filters, trunk.hidden, trunk.features) == ((8, 16), 20, 0)
    assert isinstance(last, NAC) and (last.features, last.initializer) == (6, glorot_uniform)


@pytest.mark.parametrize(
    ("unit", "trunk", "outputs", "sentence"),
    [
        ("crelu", "segui", 6, "needs a unit with 6 outputs, got 'crelu' with 12"),
        ("nallu", "segui", 6, "unknown unit 'nallu': did you mean 'nalu'"),
        ("nac", "segu", 6, "unknown reader 'segu': did you mean 'segui'"),
        ("nac", "segui", 0, "features must be a positive integer, got 0"),
    ],
)
def test_an_image_classifier_that_cannot_be_is_refused(unit, trunk, outputs, sentence):
    with pytest.raises(ValueError, match=sentence):
        image_classifier(unit, {}, reader={"name": trunk}, outputs=outputs)


@pytest.mark.parametrize("network", [two_layer, single], ids=lambda function: function.__name__)
def test_a_network_that_is_made_of_units_needs_one(network):
    sizes = {"hidden_size": 2} if network is two_layer else {}
    with pytest.raises(ValueError, match="name is missing: this network is made of units"):
        network("", {}, outputs=1, **sizes)


def test_networks_that_are_made_alike_are_equal_and_hash_alike():
    # They are part of the key by which compiled programs are found.
    for make in (
        lambda: two_layer("nac_mul", OPTIONS, outputs=1, hidden_size=2),
        lambda: single("nmu", {}, outputs=1),
        lambda: image_classifier("nac", {}, reader={"name": "segui", "filters": [8, 16]}, outputs=6),
    ):
        assert make() == make() and hash(make()) == hash(make())
    assert two_layer("nac", {}, outputs=1, hidden_size=2) != two_layer("nac", {}, outputs=1, hidden_size=3)
