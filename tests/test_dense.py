"""The dense baselines: activations, squashed weights, starts, PReLU."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fresh import FEATURES, apply, initial, params_of
from planted import column

from nalu_jax.registry import UNITS
from nalu_jax.units import ACTIVATIONS


def relu(z):
    return max(0.0, z)


# PyTorch's definitions, on one number.
EXPECTED = {
    "relu": relu,
    "relu6": lambda z: min(relu(z), 6.0),
    "elu": lambda z: z if z > 0 else math.expm1(z),
    "tanh": math.tanh,
    "sigmoid": lambda z: 1 / (1 + math.exp(-z)),
    "softsign": lambda z: z / (1 + abs(z)),
    "selu": lambda z: 1.0507009873554805 * (z if z > 0 else 1.6732632423543772 * math.expm1(z)),
    "crelu": lambda z: (relu(z), relu(-z)),
    "leaky_relu": lambda z: z if z > 0 else 0.01 * z,
    "hardtanh": lambda z: min(max(z, -1.0), 1.0),
    "tanhshrink": lambda z: z - math.tanh(z),
    "softshrink": lambda z: z - 0.5 if z > 0.5 else z + 0.5 if z < -0.5 else 0.0,
    "hardshrink": lambda z: z if abs(z) > 0.5 else 0.0,
    "softplus": lambda z: math.log1p(math.exp(z)),
    "threshold": lambda z: z if z > 1 else 1.0,
}
Z = [-7.0, -2.0, -1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 6.0, 7.0, 25.0]


def test_every_activation_has_an_expected_formula():
    assert set(ACTIVATIONS) == set(EXPECTED)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_its_formula_after_an_affine_map(name):
    params = {"w": jnp.array([[2.0]]), "b": jnp.array([1.0])}
    x = (np.array(Z, np.float32)[:, None] - 1) / 2  # exact, so that W x + b is Z
    expected = np.array([np.atleast_1d(EXPECTED[name](z)) for z in Z])
    # Float32 functions of numbers up to 25; z - tanh(z) loses two digits near 0.
    np.testing.assert_allclose(apply(UNITS[name](1), params, x), expected, rtol=2e-6, atol=1e-7)


def test_a_linear_unit_is_an_affine_map():
    params = {"w": jnp.array([[1.0, 2.0], [3.0, 4.0]]), "b": jnp.array([10.0, 20.0])}
    np.testing.assert_array_equal(apply(UNITS["linear"](2), params, jnp.array([5.0, 7.0])), [5 + 21 + 10, 10 + 28 + 20])


SQUASHED = {  # by hand: W where Ŵ (and M̂, where there is one) is 0.5 and -1
    "linear_no_bias": (0.5, -1.0),
    "tanh_linear": (0.4621171572600098, -0.7615941559557649),
    "tanh_linear_no_bias": (0.4621171572600098, -0.7615941559557649),
    "sigmoid_linear": (0.6224593312018546, 0.2689414213699951),
    "sigmoid_linear_no_bias": (0.6224593312018546, 0.2689414213699951),
    "nac_bias": (0.4621171572600098 * 0.6224593312018546, -0.7615941559557649 * 0.2689414213699951),
}


def squashed(name, x, **options):
    """The unit with Ŵ = M̂ = (0.5, -1) and, if it has a bias, b = 10."""
    values = {"b": jnp.full(1, 10.0)}
    params = {key: values.get(key, column(0.5, -1.0)) for key in params_of(name)}
    return apply(UNITS[name](1), params, x, **options)


@pytest.mark.parametrize(("name", "weights"), SQUASHED.items())
def test_a_linear_layer_with_squashed_weights_is_its_formula(name, weights):
    bias = 0 if "no_bias" in name else 10
    # Float32 functions against float64 numbers.
    np.testing.assert_allclose(squashed(name, jnp.array([3.0, 5.0])), [3 * weights[0] + 5 * weights[1] + bias], rtol=1e-6)


@pytest.mark.parametrize(("name", "weights"), SQUASHED.items())
def test_a_linear_layer_declares_the_weights_that_are_squashed(name, weights):
    _, declared = squashed(name, jnp.zeros(2), mutable=["weights"])
    (weight,) = jax.tree.leaves(declared["weights"])
    np.testing.assert_allclose(weight[:, 0], weights, rtol=1e-6)


@pytest.mark.parametrize("name", ["tanh_linear", "sigmoid_linear", "nac_bias"])
def test_the_bias_of_a_layer_with_squashed_weights_starts_at_zero(name):
    assert (params_of(name)["b"] == 0).all()


@pytest.mark.parametrize(
    ("name", "radius"),
    [
        ("linear", math.sqrt(6 / 1020)),
        ("relu", math.sqrt(6 / 1000)),
        ("relu6", math.sqrt(6 / 1000)),
        ("elu", math.sqrt(6 / 1000)),
        ("prelu", math.sqrt(6 / 1000)),
        ("tanh", 5 / 3 * math.sqrt(6 / 1020)),
        ("sigmoid", math.sqrt(6 / 1020)),
        ("softsign", math.sqrt(6 / 1020)),
        ("selu", math.sqrt(3 / 1000)),
    ],
)
def test_the_weights_of_a_dense_baseline_start_as_published(name, radius):
    w = initial(UNITS[name](20), inputs=1000)["w"]
    # The largest of 20,000 uniform numbers.
    assert abs(w).max() == pytest.approx(radius, rel=1e-3)


@pytest.mark.parametrize("name", ["linear", "prelu", *ACTIVATIONS])
def test_the_bias_of_a_dense_baseline_starts_at_zero(name):
    assert (params_of(name)["b"] == 0).all()


@pytest.mark.parametrize("name", ["linear", "prelu", *ACTIVATIONS])
def test_the_declared_weight_of_a_dense_baseline_is_its_matrix(name):
    _, declared = apply(UNITS[name](FEATURES), params_of(name), mutable=["weights"])
    (weight,) = jax.tree.leaves(declared["weights"])
    np.testing.assert_array_equal(weight, params_of(name)["w"])


def prelu(alpha):
    """PReLU with slope alpha of z = x, at z = -2 and z = 3."""
    params = {"w": jnp.ones((1, 1)), "b": jnp.zeros(1), "alpha": alpha}
    return apply(UNITS["prelu"](1), params, jnp.array([[-2.0], [3.0]]))


def test_the_slope_of_prelu_starts_at_a_quarter():
    assert params_of("prelu")["alpha"] == 0.25


def test_prelu_scales_negative_numbers_by_its_slope():
    np.testing.assert_array_equal(prelu(jnp.float32(0.5)), [[-1], [3]])


def test_the_slope_of_prelu_is_learned():
    # d/dα Σ y = Σ min(0, z).
    assert jax.grad(lambda alpha: jnp.sum(prelu(alpha)))(jnp.float32(0.25)) == -2
