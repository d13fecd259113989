"""Contracts that every registered unit keeps, and what is particular to each family."""

import json
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from nalu_jax.initializers import glorot_uniform
from nalu_jax.registry import UNITS
from nalu_jax.units import ACTIVATIONS, NAC, NALU, NACMul

GOLDEN = json.loads((Path(__file__).parent / "golden_units.json").read_text())["cases"]

INPUTS, FEATURES = 4, 2
X = np.random.RandomState(0).normal(size=(5, INPUTS)).astype(np.float32)
X[0, 1] = 0  # and about half of the others are negative

each_unit = pytest.mark.parametrize("name", UNITS)
# For facts about JAX's and Flax's transformations that hold for all units once they are traced, and whose numbers take long
# to compile.
one_of_each_family = pytest.mark.parametrize("name", ["linear", "nac", "nac_mul", "nalu_separate_bias"])


def outputs_of(name, features=FEATURES):
    """As many as features, but for CReLU, which documents twice as many."""
    return 2 * features if name == "crelu" else features


def initial(unit, inputs=INPUTS, key=0):
    """Fresh parameters, without the cost of computing an output."""
    key = jax.random.key(key) if isinstance(key, int) else key
    return unit.lazy_init(key, jax.ShapeDtypeStruct((1, inputs), jnp.float32))["params"]


@cache
def params_of(name, inputs=INPUTS):
    return initial(UNITS[name](FEATURES), inputs)


@cache
def params_of_seeds(name):
    """Parameters of three seeds, stacked."""
    return jax.vmap(lambda key: initial(UNITS[name](FEATURES), key=key))(jax.random.split(jax.random.key(1), 3))


def apply(unit, params, x=X, **options):
    return unit.apply({"params": params}, x, **options)


def shapes_of(unit, x=X, dtype=jnp.float32):
    """Shapes and types of (output, variables), without computing anything."""
    return jax.eval_shape(unit.init_with_output, jax.random.key(0), jax.ShapeDtypeStruct(x.shape, dtype))


# Contracts


@each_unit
@pytest.mark.parametrize("leading", [(), (5,), (2, 5), (2, 1, 5)], ids=str)
def test_a_unit_has_the_shapes_of_a_dense_layer(name, leading):
    x = jax.ShapeDtypeStruct((*leading, INPUTS), jnp.float32)
    dense, _ = shapes_of(nn.Dense(outputs_of(name)), x)
    assert shapes_of(UNITS[name](features=FEATURES), x)[0] == dense


@each_unit
def test_axis_0_is_the_transposed_layout(name):
    columns = apply(UNITS[name](FEATURES, axis=0), params_of(name), X.T)
    # Close, not equal: another layout may sum in another order.
    np.testing.assert_allclose(columns.T, apply(UNITS[name](FEATURES), params_of(name)), rtol=1e-5, atol=1e-6)


@each_unit
def test_any_axis_may_hold_the_features(name):
    x = jax.ShapeDtypeStruct((5, INPUTS, 3), jnp.float32)
    assert shapes_of(UNITS[name](FEATURES, axis=1), x)[0].shape == (5, outputs_of(name), 3)


@each_unit
def test_a_unit_is_traced_by_jit(name):
    jaxpr = jax.make_jaxpr(jax.jit(UNITS[name](FEATURES).apply))({"params": params_of(name)}, X)
    assert [output.aval.shape for output in jaxpr.jaxpr.outvars] == [(5, outputs_of(name))]


@one_of_each_family
def test_a_jitted_unit_computes_the_same(name):
    unit = UNITS[name](FEATURES)
    jitted = jax.jit(unit.apply)({"params": params_of(name)}, X)
    # Fused operations round differently.
    np.testing.assert_allclose(jitted, apply(unit, params_of(name)), rtol=1e-5, atol=1e-6)


@each_unit
def test_units_vmapped_over_seeds_have_an_output_a_seed(name):
    outputs = jax.eval_shape(jax.vmap(lambda params: apply(UNITS[name](FEATURES), params)), params_of_seeds(name))
    assert outputs.shape == (3, 5, outputs_of(name))


@one_of_each_family
def test_units_vmapped_over_seeds_compute_what_each_does_alone(name):
    unit, params = UNITS[name](FEATURES), params_of_seeds(name)
    together = jax.vmap(lambda params: apply(unit, params))(params)
    alone = [apply(unit, jax.tree.map(lambda leaf, seed=seed: leaf[seed], params)) for seed in range(3)]
    np.testing.assert_allclose(together, np.stack(alone), rtol=1e-5, atol=1e-6)


@each_unit
def test_the_weights_of_units_vmapped_over_seeds_differ(name):
    weights = [leaf for leaf in jax.tree.leaves(params_of_seeds(name)) if leaf.shape == (3, INPUTS, FEATURES)]
    assert weights and all(len({np.asarray(matrix).tobytes() for matrix in seeds}) == 3 for seeds in weights)


@each_unit
def test_the_declared_weights_are_matrices_from_inputs_to_features(name):
    x = jax.ShapeDtypeStruct((3, 5, INPUTS), jnp.float32)
    _, variables = shapes_of(UNITS[name](FEATURES), x)
    declared = jax.tree.leaves(variables["weights"])
    assert declared and {weight.shape for weight in declared} == {(INPUTS, FEATURES)}


@each_unit
def test_a_unit_used_twice_declares_its_weights_once(name):
    class Twice(nn.Module):
        @nn.compact
        def __call__(self, x):
            unit = UNITS[name](FEATURES)
            return unit(x), unit(x)

    _, variables = shapes_of(Twice())
    assert {weight.shape for weight in jax.tree.leaves(variables["weights"])} == {(INPUTS, FEATURES)}


@each_unit
def test_all_that_a_unit_learns_is_in_the_collection_params(name):
    _, variables = shapes_of(UNITS[name](FEATURES))
    assert set(variables) == {"params", "weights"}


@each_unit
@pytest.mark.parametrize("features", [0, -1, 2.5, "2", None])
def test_features_that_are_no_positive_integer_are_refused(name, features):
    with pytest.raises(ValueError, match=f"features must be a positive integer, got {features!r}"):
        UNITS[name](features)


@cache
def gradients_of(name):
    """Of a loss, with respect to the parameters and to X, whose numbers are positive, negative and zero."""
    unit = UNITS[name](FEATURES)
    gradients = jax.grad(lambda params, x: jnp.sum(apply(unit, params, x) ** 2), (0, 1))(params_of(name), X)
    return [np.asarray(gradient) for gradient in jax.tree.leaves(gradients)]


@each_unit
def test_all_gradients_are_finite_on_negative_and_zero_inputs(name):
    assert all(np.isfinite(gradient).all() for gradient in gradients_of(name))


@each_unit
def test_every_parameter_and_the_input_have_a_gradient(name):
    # An activation may cut off some examples, but not all.
    assert all(gradient.any() for gradient in gradients_of(name))


@each_unit
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=["float32", "bfloat16"])
def test_parameters_have_the_type_param_dtype(name, dtype):
    _, variables = shapes_of(UNITS[name](FEATURES, param_dtype=dtype), dtype=dtype)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables["params"])} == {jnp.dtype(dtype)}


@each_unit
def test_parameters_are_float32_unless_told_otherwise(name):
    with jax.enable_x64(True):
        _, variables = shapes_of(UNITS[name](FEATURES))
    assert {leaf.dtype for leaf in jax.tree.leaves(variables["params"])} == {jnp.dtype("float32")}


@each_unit
def test_a_float64_unit_of_float64_inputs_returns_float64(name):
    with jax.enable_x64(True):
        output, _ = shapes_of(UNITS[name](FEATURES, param_dtype=jnp.float64), dtype=jnp.float64)
    assert output.dtype == jnp.float64


# Combined with what Flax has


@each_unit
def test_units_in_a_sequential_are_applied_one_after_the_other(name):
    first, last = params_of(name), params_of(name, inputs=outputs_of(name))
    unit = UNITS[name](FEATURES)
    stacked = apply(nn.Sequential([unit, UNITS[name](FEATURES)]), {"layers_0": first, "layers_1": last})
    np.testing.assert_array_equal(stacked, apply(unit, last, apply(unit, first)))


class Recurrent(nn.Module):
    """h_t = unit([x_t, h_tm1]) over the second axis: the recurrent cell of the papers."""

    unit: nn.Module

    def __call__(self, h, xs):
        def step(unit, h, x):
            h = unit(jnp.concatenate([x, h], -1))
            return h, h

        scan = nn.scan(step, variable_broadcast="params", split_rngs={"params": False}, in_axes=1, out_axes=1)
        return scan(self.unit, h, xs)


XS = np.stack([X[:, :2], X[:, 2:], X[:, 1:3]], 1)  # [batch, time, 2]


@each_unit
def test_a_unit_is_a_recurrent_cell_under_scan(name):
    hidden = jax.ShapeDtypeStruct((len(X), outputs_of(name)), jnp.float32)
    (last, every), variables = jax.eval_shape(
        Recurrent(UNITS[name](FEATURES)).init_with_output, jax.random.key(0), hidden, XS
    )
    assert (last, every.shape) == (hidden, (5, 3, outputs_of(name)))
    assert jax.tree.map(jnp.shape, variables["params"]["unit"]) == jax.tree.map(
        jnp.shape, params_of(name, inputs=2 + outputs_of(name))
    )


@one_of_each_family
def test_a_recurrent_cell_is_applied_to_each_input_and_what_it_made_of_those_before(name):
    unit, params = UNITS[name](FEATURES), params_of(name)
    h = h_0 = np.zeros((len(X), FEATURES), np.float32)
    _, scanned = Recurrent(unit).apply({"params": {"unit": params}}, h_0, XS)
    for t in range(3):
        h = apply(unit, params, np.concatenate([XS[:, t], h], -1))
        # The compiled loop rounds differently, and a cell that multiplies magnifies what it is given.
        np.testing.assert_allclose(scanned[:, t], h, rtol=1e-4, atol=1e-5)


def to_nnx(unit):
    """The unit as a module of NNX, and its parameters under their Linen names."""
    module = nnx.bridge.ToNNX(unit, rngs=nnx.Rngs(0)).lazy_init(X)
    return module, {name: variable[...] for name, variable in nnx.state(module, nnx.Param).items()}


@each_unit
def test_a_unit_computes_the_same_as_a_module_of_nnx(name):
    module, params = to_nnx(UNITS[name](FEATURES))
    np.testing.assert_array_equal(module(X), apply(UNITS[name](FEATURES), params))


@pytest.mark.parametrize(
    "unit",
    [
        NAC(FEATURES),
        NACMul(FEATURES),
        NALU(FEATURES),
        NALU(FEATURES, separate=True),
        NALU(FEATURES, gate_bias=True),
        NALU(FEATURES, separate=True, gate_bias=True),
    ],
    ids=["nac", "nac_mul", "nalu", "nalu_separate", "nalu_bias", "nalu_separate_bias"],
)
def test_gradients_in_nnx_are_those_in_linen(unit):
    module, params = to_nnx(unit)
    gradients = nnx.grad(lambda module: jnp.sum(module(X) ** 2))(module)
    expected = jax.grad(lambda params: jnp.sum(apply(unit, params) ** 2))(params)
    assert set(gradients) == set(expected)
    for name, gradient in expected.items():
        np.testing.assert_allclose(gradients[name][...], gradient, rtol=1e-5, err_msg=name)


class Model(nn.Module):
    """A small model as others write it, with the class of its dense layers as a field."""

    dense: Callable = nn.Dense

    @nn.compact
    def __call__(self, x):
        x = nn.relu(self.dense(FEATURES, name="hidden")(x))
        return self.dense(features=FEATURES, name="head", param_dtype=jnp.float32)(x)


@pytest.mark.parametrize("dense", [NAC, NALU])
class TestInAnExistingModelInPlaceOfDense:
    def test_a_unit_gives_outputs_of_the_same_shape(self, dense):
        x = jax.ShapeDtypeStruct((2, 3, INPUTS), jnp.float32)
        assert shapes_of(Model(dense), x)[0] == shapes_of(Model(), x)[0]

    def test_a_unit_goes_by_the_name_that_it_is_given(self, dense):
        assert set(shapes_of(Model(dense))[1]["params"]) == set(shapes_of(Model())[1]["params"])

    def test_a_unit_passes_on_gradients(self, dense):
        params = initial(Model(dense))
        gradients = jax.grad(lambda params: jnp.sum(apply(Model(dense), params) ** 2))(params)
        assert all(bool(gradient.any()) for gradient in jax.tree.leaves(gradients))


# The neural arithmetic units


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: f"{case['unit']}-{case['in']}-to-{case['out']}")
def test_a_unit_with_golden_parameters_gives_the_golden_outputs(case):
    params = {name: np.array(value, np.float32) for name, value in case["params"].items()}
    y = jax.jit(UNITS[case["unit"]](case["out"]).apply)({"params": params}, np.array(case["x"], np.float32))
    # Float32 against float64 values.
    np.testing.assert_allclose(y, case["y"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "params", "weights"),
    [
        ("nac", {"w_hat", "m_hat"}, {"W"}),
        ("nac_mul", {"w_hat", "m_hat"}, {"W"}),
        ("nalu", {"w_hat", "m_hat", "g"}, {"W"}),
        ("nalu_bias", {"w_hat", "m_hat", "g", "bias"}, {"W"}),
        ("nalu_separate", {"w_hat_add", "m_hat_add", "w_hat_mul", "m_hat_mul", "g"}, {"W_add", "W_mul"}),
        ("nalu_separate_bias", {"w_hat_add", "m_hat_add", "w_hat_mul", "m_hat_mul", "g", "bias"}, {"W_add", "W_mul"}),
    ],
)
def test_a_unit_has_the_parameters_and_weights_of_its_variant(name, params, weights):
    _, variables = shapes_of(UNITS[name](FEATURES))
    assert (set(variables["params"]), set(variables["weights"])) == (params, weights)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("nac", ""), ("nac_mul", ""), ("nalu", ""), ("nalu_separate", "_add"), ("nalu_separate", "_mul")],
)
def test_the_declared_weight_is_the_effective_one(name, suffix):
    params = params_of(name)
    _, declared = apply(UNITS[name](FEATURES), params, mutable=["weights"])
    w_hat, m_hat = (np.asarray(params[hat + suffix], np.float64) for hat in ("w_hat", "m_hat"))
    # Float32 functions against float64 ones.
    np.testing.assert_allclose(declared["weights"]["W" + suffix], np.tanh(w_hat) / (1 + np.exp(-m_hat)), rtol=1e-5)


def test_the_two_cells_of_a_separate_nalu_start_with_weights_of_their_own():
    params = params_of("nalu_separate")
    for hat in ("w_hat", "m_hat"):
        assert (params[f"{hat}_add"] != params[f"{hat}_mul"]).all()


@pytest.mark.parametrize("name", ["nac", "nac_mul", "nalu"])
def test_the_two_factors_of_a_weight_start_different(name):
    assert (params_of(name)["w_hat"] != params_of(name)["m_hat"]).all()


def test_the_gate_bias_starts_at_zero():
    assert (params_of("nalu_bias")["bias"] == 0).all()


def test_the_gate_bias_moves_the_gate():
    params = {"w_hat": 20.0, "m_hat": 20.0, "g": 0.0}
    params = {name: jnp.full((1, 1), value) for name, value in params.items()} | {"bias": jnp.array([math.log(3)])}
    # W = 1 and σ(log 3) = 3/4, so that y = 3/4 · (-2) + 1/4 · |-2|.
    y = apply(NALU(1, gate_bias=True), params, jnp.array([-2.0]))
    np.testing.assert_allclose(y, [-1], rtol=1e-5)


@pytest.mark.parametrize("unit", [NACMul, NALU])
def test_epsilon_reaches_the_logarithm(unit):
    params = {"w_hat": jnp.full((1, 1), 20.0), "m_hat": jnp.full((1, 1), 20.0), "g": jnp.zeros((1, 1))}
    # The NALU's gate is 1/2, and 0 is what it adds.
    expected = 0.01 if unit is NACMul else 0.005
    np.testing.assert_allclose(apply(unit(1, epsilon=0.01), params, jnp.zeros(1)), [expected], rtol=1e-5)


@pytest.mark.parametrize("unit", [NAC, NACMul, NALU])
def test_the_initializer_draws_both_factors_of_the_weight(unit):
    constant = initial(unit(FEATURES, initializer=nn.initializers.constant(0.625)))
    assert (constant["w_hat"] == 0.625).all() and (constant["m_hat"] == 0.625).all()


def test_the_gate_of_the_nalu_starts_glorot_uniform():
    # 4 → 2: at most 1, where the weights go up to 5.4; eight numbers of a seed come beyond half of it.
    assert 0.5 < abs(params_of("nalu")["g"]).max() <= 1


@pytest.mark.parametrize("unit", [NAC, NACMul, NALU])
def test_a_unit_starts_with_the_published_initialisation(unit):
    # The radius of 4 → 2 in Madsen & Johansen's code; eight numbers of a seed come within a quarter of it.
    largest = abs(initial(unit(FEATURES))["w_hat"]).max()
    assert 0.75 * 5.425508 < largest <= 5.425508


def test_an_initializer_may_be_chosen():
    # Glorot uniform, 4 → 2: at most 1.
    w_hat = initial(NAC(FEATURES, initializer=glorot_uniform))["w_hat"]
    assert 0.5 < abs(w_hat).max() <= 1


# The dense baselines


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
