"""Contracts that every registered unit keeps, and what is particular to each family."""

import json
import math
import re
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from flax.core.meta import unbox
from planted import OPERATIONS, PLANTED, RANGES, TWO, column

import nalu_jax.units
from nalu_jax.bounded import Bounded
from nalu_jax.initializers import glorot_uniform
from nalu_jax.registry import UNITS
from nalu_jax.units import ACTIVATIONS, NAC, NALU, NMU, NPU, NACMul

GOLDEN = json.loads((Path(__file__).parent / "golden_units.json").read_text())["cases"]

INPUTS, FEATURES = 4, 2
X = np.random.RandomState(0).normal(size=(5, INPUTS)).astype(np.float32)
X[0, 1] = 0  # and about half of the others are negative
X[2] = 0

NOISE = {"training": jax.random.key(7, impl="rbg")}  # what a learner gives a unit while it takes a step
# For facts about JAX's and Flax's transformations that hold for all units once they are traced, and whose numbers take long
# to compile.
FAMILIES = ["linear", "nac", "nac_mul", "nalu_separate_bias", "nmu", "npu", "inalu"]
one_of_each_family = pytest.mark.parametrize("name", FAMILIES)
SOME_SLOW = [name if name in FAMILIES else pytest.param(name, marks=pytest.mark.slow) for name in UNITS]
each_unit = pytest.mark.parametrize("name", SOME_SLOW)  # the quick check has one of each family


def outputs_of(name, features=FEATURES):
    """As many as features, but for CReLU, which documents twice as many."""
    return 2 * features if name == "crelu" else features


def inputs_of(name):
    """X, but for units whose domain is the positive numbers: the sizes in X."""
    return np.abs(X) if UNITS[name](FEATURES).positive_inputs else X


def initial(unit, inputs=INPUTS, key=0):
    """Fresh parameters without their intervals; of the generator that compiles fastest."""
    key = jax.random.key(key, impl="rbg") if isinstance(key, int) else key
    # On inputs of the shape that most tests have: they share what is compiled for an operation.
    return unbox(unit.init(key, X if inputs == INPUTS else jnp.ones((1, inputs)))["params"])


@cache
def params_of(name, key=0):
    return initial(UNITS[name](FEATURES), key=key)


@cache
def params_of_seeds(name):
    """Parameters of three seeds, stacked."""
    keys = jax.random.split(jax.random.key(1, impl="rbg"), 3)
    return jax.vmap(lambda key: initial(UNITS[name](FEATURES), key=key))(keys)


def apply(unit, params, x=X, **options):
    return unit.apply({"params": params}, x, **options)


def shapes_of(unit, x=X, dtype=jnp.float32):
    """Shapes and types of (output, parameters and what is declared), without computing anything."""

    def found(key, x):
        variables = unit.init(key, x)
        outputs, declared = unit.apply(variables, x, mutable=["weights", "penalties"])
        return outputs, variables | declared

    return jax.eval_shape(found, jax.random.key(0), jax.ShapeDtypeStruct(x.shape, dtype))


# Contracts


@each_unit
@pytest.mark.parametrize("leading", [(), (5,), (2, 5), (2, 1, 5)], ids=str)
def test_a_unit_has_the_shapes_of_a_dense_layer(name, leading):
    x = jax.ShapeDtypeStruct((*leading, INPUTS), jnp.float32)
    dense, _ = shapes_of(nn.Dense(outputs_of(name)), x)
    assert shapes_of(UNITS[name](features=FEATURES), x)[0] == dense


@each_unit
def test_axis_0_is_the_transposed_layout(name):
    x = inputs_of(name)
    columns = jax.jit(partial(apply, UNITS[name](FEATURES, axis=0)))(params_of(name), x.T)
    # Close, not equal: another layout may sum in another order.
    rows = jax.jit(partial(apply, UNITS[name](FEATURES)))(params_of(name), x)
    np.testing.assert_allclose(columns.T, rows, rtol=1e-5, atol=1e-6)


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
    seeds = jax.eval_shape(lambda: params_of_seeds.__wrapped__(name))
    outputs = jax.eval_shape(jax.vmap(lambda params: apply(UNITS[name](FEATURES), params)), seeds)
    assert outputs.shape == (3, 5, outputs_of(name))


@pytest.mark.slow
@one_of_each_family
def test_units_vmapped_over_seeds_compute_what_each_does_alone(name):
    unit, params = UNITS[name](FEATURES), params_of_seeds(name)
    together = jax.vmap(lambda params: apply(unit, params))(params)
    alone = [apply(unit, jax.tree.map(lambda leaf, seed=seed: leaf[seed], params)) for seed in range(3)]
    np.testing.assert_allclose(together, np.stack(alone), rtol=1e-5, atol=1e-6)


def weights_that_vary(params, ndim=2):
    """Matrices; but the NPU's imaginary weights start at 0, in all seeds."""
    return {key: leaf for key, leaf in params.items() if leaf.ndim == ndim and key != "w_imag"}


@each_unit
def test_the_weights_of_two_seeds_differ(name):
    one, other = (weights_that_vary(params_of(name, key)) for key in (0, 1))
    assert one and [key for key in one if (one[key] == other[key]).all()] == []


@one_of_each_family
def test_the_weights_of_units_vmapped_over_seeds_differ(name):
    weights = weights_that_vary(params_of_seeds(name), ndim=3)
    assert all(len({np.asarray(matrix).tobytes() for matrix in seeds}) == 3 for seeds in weights.values())


@pytest.mark.parametrize("name", ["npu", "naive_npu"])
def test_the_imaginary_weights_start_at_zero_in_all_seeds(name):
    np.testing.assert_array_equal(params_of_seeds(name)["w_imag"], np.zeros((3, INPUTS, FEATURES)))


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
def test_init_makes_the_parameters_and_nothing_else_from_the_shape_of_an_input(name):
    shape = jax.ShapeDtypeStruct(X.shape, jnp.float32)
    made = jax.eval_shape(lambda key: UNITS[name](FEATURES).lazy_init(key, shape), jax.random.key(0))
    assert made == {"params": shapes_of(UNITS[name](FEATURES))[1]["params"]}


@each_unit
def test_what_a_unit_declares_is_in_two_collections(name):
    _, variables = shapes_of(UNITS[name](FEATURES))
    assert set(variables) - {"penalties"} == {"params", "weights"}


@each_unit
def test_a_unit_declares_the_penalties_that_its_recipes_weigh_and_each_is_one_number(name):
    unit = UNITS[name](FEATURES)
    declared = shapes_of(unit)[1].get("penalties", {})
    assert {(penalty.shape, penalty.dtype) for penalty in declared.values()} <= {((), jnp.dtype("float32"))}
    assert {penalty for recipe in unit.recipes for penalty in recipe.penalties} <= set(declared)


@each_unit
@pytest.mark.parametrize("features", [0, -1, 2.5, "2", None, True, False, np.True_, np.float32(2), np.int64(0)])
def test_features_that_are_no_positive_integer_are_refused(name, features):
    with pytest.raises(ValueError, match=re.escape(f"features must be a positive integer, got {features!r}")):
        UNITS[name](features)


@each_unit
@pytest.mark.parametrize("kind", [np.int64, np.uint8, jnp.int32], ids=["int64", "uint8", "jax"])
def test_features_may_be_an_integer_of_numpy_or_jax(name, kind):
    unit = UNITS[name](kind(FEATURES))
    assert unit == UNITS[name](FEATURES) and type(unit.features) is int and hash(unit) == hash(UNITS[name](FEATURES))


def test_every_unit_has_a_name_of_its_own_in_papers():
    labels = [constructor(1).label for constructor in UNITS.values()]
    assert all(labels) and len(set(labels)) == len(labels) and nalu_jax.NACMul.label == "NAC•"


def test_all_classes_can_be_imported_from_one_place():
    classes = {type(constructor(1)) for constructor in UNITS.values()}
    assert {getattr(nalu_jax.units, cls.__name__) for cls in classes} == classes
    assert {cls.__name__ for cls in classes} <= set(nalu_jax.units.__all__) <= set(dir(nalu_jax))
    assert all(
        getattr(nalu_jax, name) is getattr(nalu_jax.units, name) for name in nalu_jax.units.__all__ if name[0].isupper()
    )


@cache
def gradients_of(name):
    """Of outputs in training, each with a weight of its own, with respect to the parameters and to the inputs.

    Inputs are positive, negative and zero. Outputs are not squared: a quotient by zero may be as large as float32 goes.
    """
    unit, x = UNITS[name](FEATURES), inputs_of(name)
    cotangent = np.linspace(1, 2, 5 * outputs_of(name), dtype=np.float32).reshape(5, -1)
    gradients = jax.jit(jax.grad(lambda params, x: jnp.sum(apply(unit, params, x, rngs=NOISE) * cotangent), (0, 1)))
    leaves = jax.tree_util.tree_leaves_with_path(gradients(params_of(name), x))
    return {jax.tree_util.keystr(path): np.asarray(gradient) for path, gradient in leaves}


@each_unit
def test_all_gradients_are_finite_on_negative_and_zero_inputs(name):
    assert [key for key, gradient in gradients_of(name).items() if not np.isfinite(gradient).all()] == []


@each_unit
def test_every_parameter_and_the_input_have_a_gradient(name):
    # An activation may cut off some examples, but not all.
    assert [key for key, gradient in gradients_of(name).items() if not gradient.any()] == []


@each_unit
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=["float32", "bfloat16"])
def test_parameters_have_the_type_param_dtype(name, dtype):
    _, variables = shapes_of(UNITS[name](FEATURES, param_dtype=dtype), dtype=dtype)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables["params"])} == {jnp.dtype(dtype)}


def test_orthogonal_parameters_in_half_precision_are_rounded():
    key = jax.random.key(0, impl="rbg")
    units = {dtype: UNITS["mc_fc"](FEATURES, param_dtype=dtype) for dtype in ("bfloat16", "float32")}
    half, full = (unit.init(key, X.astype(dtype))["params"]["r"] for dtype, unit in units.items())
    np.testing.assert_array_equal(half, full.astype(jnp.bfloat16))


@each_unit
def test_types_are_promoted_as_by_a_dense_layer(name):
    """Whatever the types of inputs, parameters and computation; under JAX's own promotion, as for a dense layer."""
    for x, param, dtype in (("bfloat16", "float32", None), ("int32", "float32", "bfloat16"))[: 2 if name in FAMILIES else 1]:
        types = {"param_dtype": jnp.dtype(param), "dtype": dtype and jnp.dtype(dtype)}
        shape = jax.ShapeDtypeStruct((5, INPUTS), x)
        with jax.numpy_dtype_promotion("standard"):
            expected = jax.eval_shape(nn.Dense(FEATURES, **types).init_with_output, jax.random.key(0), shape)[0]
            found, variables = shapes_of(UNITS[name](FEATURES, **types), shape, x)
        assert found.dtype == expected.dtype, (x, param, dtype)
        assert {leaf.dtype for leaf in jax.tree.leaves(variables["params"])} == {jnp.dtype(param)}


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


@pytest.mark.slow
@one_of_each_family
def test_units_in_a_sequential_are_applied_one_after_the_other(name):
    unit, first = UNITS[name](FEATURES), params_of(name)
    last = initial(unit, inputs=FEATURES)
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
    _, alone = shapes_of(UNITS[name](FEATURES), np.ones((1, 2 + outputs_of(name))))
    assert variables["params"]["unit"] == alone["params"]


@pytest.mark.slow
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
def test_a_unit_has_the_same_parameters_as_a_module_of_nnx(name):
    module = nnx.eval_shape(lambda: nnx.bridge.ToNNX(UNITS[name](FEATURES), rngs=nnx.Rngs(0)).lazy_init(X))
    params = {key: variable.get_value() for key, variable in nnx.state(module, nnx.Param).items()}
    assert params == unbox(shapes_of(UNITS[name](FEATURES))[1]["params"])


@one_of_each_family
def test_a_unit_computes_the_same_as_a_module_of_nnx(name):
    module, params = to_nnx(UNITS[name](FEATURES))
    np.testing.assert_array_equal(module(X), apply(UNITS[name](FEATURES), params))


@pytest.mark.parametrize("name", ["nau", "nmru", "gated_nau_nmu", "real_npu_modified"])
def test_a_bounded_parameter_keeps_its_interval_as_a_variable_of_nnx(name):
    module, params = to_nnx(UNITS[name](FEATURES))
    boxes = jax.eval_shape(UNITS[name](FEATURES).init, jax.random.key(0), X)["params"]
    intervals = {key: (box.lower, box.upper) for key, box in boxes.items() if isinstance(box, Bounded)}
    variables = nnx.state(module, nnx.Param)
    assert intervals and set(params) == set(boxes)
    assert {key: (variables[key].lower, variables[key].upper) for key in intervals} == intervals


@pytest.mark.parametrize(
    "unit",
    [
        NAC(FEATURES),
        NACMul(FEATURES),
        NALU(FEATURES),
        NALU(FEATURES, separate=True),
        NALU(FEATURES, gate_bias=True),
        NALU(FEATURES, separate=True, gate_bias=True),
        NMU(FEATURES),
        NPU(FEATURES),
    ],
    ids=["nac", "nac_mul", "nalu", "nalu_separate", "nalu_bias", "nalu_separate_bias", "nmu", "npu"],
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


@pytest.mark.slow
@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: f"{case['unit']}-{case['in']}-to-{case['out']}")
def test_a_unit_with_golden_parameters_gives_the_golden_outputs_and_gradients(case):
    unit, params = UNITS[case["unit"]](case["out"]), jax.tree.map(np.float32, case["params"], is_leaf=is_list)
    x, cotangent = np.array(case["x"], np.float32), np.array(case["cotangent"], np.float32)
    y, gradients = output_and_gradients(unit, params, x, cotangent)
    # Float32 against float64 values; gradients cancel.
    np.testing.assert_allclose(y, case["y"], rtol=1e-5, atol=1e-6)
    for gradient, expected in zip(gradients, (case["grads"], case["grad_x"]), strict=True):
        ours, golden = (jax.tree.leaves(jax.tree.map(np.array, tree, is_leaf=is_list)) for tree in (gradient, expected))
        for mine, theirs in zip(ours, golden, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5 * np.abs(theirs).max())


def is_list(value):
    return isinstance(value, list)


@partial(jax.jit, static_argnums=0)
def output_and_gradients(unit, params, x, cotangent):
    """y, and the gradients of sum(y · cotangent) with respect to the parameters and the input."""
    y, pullback = jax.vjp(lambda params, x: apply(unit, params, x), params, x)
    return y, pullback(cotangent)


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


# Planted solutions: at hand-chosen parameters a unit computes what it is said to, on all ranges of the single-unit task

UNIT_OPERATIONS = [(name, operation) for name in UNITS for operation in UNITS[name](1).operations]
# Units whose gates see the signs of the inputs, where these agree; and units that multiply sizes alone.
GATED_BY_SIGN = {name for name in PLANTED if name.startswith(("nalu", "gnalu", "gated")) and "bias" not in name}
LOSES_SIGN = {name for name in PLANTED if name.startswith(("nac_mul", "nalu", "gnalu"))}


def test_every_unit_that_computes_an_operation_has_planted_parameters():
    assert set(PLANTED) == {name for name, _ in UNIT_OPERATIONS}


def domain(name, operation):
    """Which of the pairs the unit can be right on: bool [ranges, examples]."""
    agree = TWO[..., 0] * TWO[..., 1] > 0
    if UNITS[name](1).positive_inputs:
        return (TWO > 0).all(-1)
    needs_agreement = name in GATED_BY_SIGN or (name in LOSES_SIGN and operation in ("mul", "div"))
    return agree if needs_agreement else np.full_like(agree, True)


@pytest.mark.parametrize("training", [False, True], ids=["evaluated", "in training"])
@pytest.mark.parametrize(
    ("name", "operation"),
    [
        pytest.param(*pair, marks=[] if pair[0] in FAMILIES else pytest.mark.slow, id=" ".join(pair))
        for pair in UNIT_OPERATIONS
    ],
)
def test_a_unit_with_planted_parameters_is_exact_on_the_extrapolation_ranges(name, operation, training):
    # All in one batch, those outside the domain replaced, so that all units share what is compiled.
    inside = domain(name, operation)
    x = np.where(inside[..., None], TWO, np.float32(1)).reshape(-1, 2)
    outputs = {
        side: apply(UNITS[name](1), PLANTED[name](operation, side), x, **({"rngs": NOISE} if training else {}))[:, 0]
        for side in ((1, -1) if name in GATED_BY_SIGN else (1,))
    }
    y = np.where(x.sum(1) < 0, outputs.get(-1, outputs[1]), outputs[1]).reshape(inside.shape)
    a, b = np.moveaxis(TWO.astype(np.float64), -1, 0)
    expected = OPERATIONS[operation](a, b)
    # Sums may cancel. Logarithms up to 7.4 are rounded by 5e-7, and ε = 1e-7 stands beside numbers of 0.2 on.
    scale = abs(a) + abs(b) if operation in ("add", "sub") else abs(expected)
    errors = np.where(inside, abs(y - expected) / scale, 0).max(1)
    assert inside.any(1).sum() >= 4
    assert {which: error for which, error in zip(RANGES, errors, strict=True) if not error < 1e-5} == {}


# Penalties, by hand


W = [[0.25, -1.0], [0.5, 0.875]]  # from -1, 0 and 1: 1/4, 0, 1/2, 1/8; so is its size from 0 and 1
SIZES = [[0.25, 1.0], [0.5, 0.875]]
HALF = 0.875 / 4  # mean of those distances
# R_z of the inputs 2 and 3: of sums ((0.75 + 0) 2² + (0.5 + 0.125) 3²) / 4, of products with distances of 1 and 2 from 1.
FROM_0, FROM_1 = 8.625 / 4, 3.25 / 4


@pytest.mark.parametrize(
    ("name", "params", "penalties"),
    [
        ("nau", {"w": W}, {"sparsity": HALF, "r_z": FROM_0}),
        ("nru", {"w": W}, {"sparsity": HALF}),
        ("nmu", {"w": SIZES}, {"sparsity": HALF, "r_z": FROM_1}),
        ("snmu", {"w": SIZES}, {"sparsity": HALF, "r_z": FROM_1}),
        # The size of each of the four weights is tanh 1 · σ(0).
        ("nac", {"w_hat": [[1.0, -1.0]] * 2, "m_hat": [[0.0, 0.0]] * 2}, {"r_z": (1 - np.tanh(1) / 2) * (4 + 9) / 2}),
        (
            "nac_mul_nmu",
            {"w": SIZES},
            {"sparsity": HALF, "r_z": (0.75 * (1 - np.log(2 + 1e-7)) ** 2 + 0.625 * (1 - np.log(3 + 1e-7)) ** 2) / 4},
        ),
        ("nmru", {"w": [*SIZES, [0.0, 1.0], [1.0, 0.0]]}, {"sparsity": HALF / 2}),
        ("gated_nau_nmu", {"w_add": W, "w_mul": [[0.0, 0.5], [1.0, 1.0]], "g": W}, {"sparsity": HALF + 0.125}),
        # Σ |W| = 2.625, Σ |g| = 2; mean |1 - |W|| = (0.75 + 0 + 0.5 + 0.125) / 4; g is 1/4 and 1/4 from 0 and 1.
        ("real_npu", {"w_real": W, "g": [0.75, 1.25]}, {"l1": 4.625, "discreteness": 0.34375, "gate": 0.25}),
        (
            "npu",
            {"w_real": W, "w_imag": [[0.0, -0.5], [0.25, 0.0]], "g": [0.75, 1.25]},
            {"l1": 5.375, "discreteness": 0.34375, "gate": 0.25},
        ),
        ("naive_npu", {"w_real": W, "w_imag": [[0.0, -0.5], [0.25, 0.0]]}, {"l1": 3.375, "discreteness": 0.34375}),
        # Means of 20 - |θ|, but not below 0: of 20, 0, 0, 25 it is 5; of ± 10 it is 10.
        (
            "inalu",
            {
                "w_hat_add": [[0.0, 20.0], [-20.0, 25.0]],
                "m_hat_add": [[10.0, -10.0], [10.0, -10.0]],
                "w_hat_mul": [[20.0, 20.0], [20.0, 20.0]],
                "m_hat_mul": [[0.0, 0.0], [0.0, 0.0]],
                "g": [16.0, -24.0],
            },
            {"saturation": 5 + 10 + 0 + 20 + 2},
        ),
        (
            "inalu_shared",
            {"w_hat": [[0.0, 20.0], [-20.0, 25.0]], "m_hat": [[10.0, -10.0], [10.0, -10.0]], "g": [16.0, -24.0]},
            {"saturation": 5 + 10 + 2},
        ),
        ("mc_fc", {"r": [[1.0, -1.0], [0.0, 2.0]], "w": [1.0, 2.0], "b": [0.0, 3.0]}, {"negative_l2": -(1.5 + 2.5 + 4.5)}),
        (
            "mc_fc_mul_sign_real_npu",
            {"r": [[1.0, -1.0], [0.0, 2.0]], "w": [1.0, 2.0], "b": [0.0, 3.0], "bias": [7.0, 7.0], "g": [0.25, 0.5]},
            {"negative_l2": -(1.5 + 2.5 + 4.5), "gate": 0.375},
        ),
        # Without G the gate is 1/2 at both outputs: 2 · (1/4)².
        ("nalu_gate_penalty", {"w_hat": W, "m_hat": W, "g": [[0.0, 0.0], [0.0, 0.0]]}, {"gate": 0.125}),
    ],
)
def test_a_unit_declares_its_penalties(name, params, penalties):
    params = {key: jnp.array(value) for key, value in params.items()}
    _, declared = apply(UNITS[name](2), params, jnp.array([2.0, 3.0]), mutable=["penalties"])
    assert {key: float(value) for key, value in declared["penalties"].items()} == pytest.approx(penalties, rel=1e-6)


def test_the_size_of_projected_imaginary_weights_is_penalised_with_that_of_the_real_ones():
    params = {"w_real": W, "w_imag": [[0.0, -0.5], [0.25, 0.0]], "g": [0.75, 1.25]}
    params = {key: jnp.array(value) for key, value in params.items()}
    _, declared = apply(NPU(2, clip="wig"), params, jnp.array([2.0, 3.0]), mutable=["penalties"])
    assert declared["penalties"]["discreteness"] == 0.34375 + 0.75


def test_the_l1_penalty_leaves_imaginary_weights_at_their_start():
    def l1(params):
        return apply(NPU(2), params, jnp.array([2.0, 3.0]), mutable=["penalties"])[1]["penalties"]["l1"]

    gradient = jax.grad(l1)({"w_real": jnp.array(W), "w_imag": jnp.zeros((2, 2)), "g": jnp.full(2, 0.5)})
    np.testing.assert_array_equal(gradient["w_imag"], np.zeros((2, 2)))
    np.testing.assert_array_equal(gradient["w_real"], np.sign(W))
    np.testing.assert_array_equal(gradient["g"], [1, 1])


# Reductions, and what differs in training


def test_snmu_evaluated_is_nmu():
    params = params_of("nmu")
    np.testing.assert_array_equal(apply(UNITS["snmu"](FEATURES), params), apply(UNITS["nmu"](FEATURES), params))


@pytest.mark.parametrize("name", ["snmu", "batch_snmu", "nru", "nmru", "nalu_gumbel", "dmu"])
def test_a_unit_with_weights_between_computes_something_else_in_training(name):
    unit = UNITS[name](FEATURES)
    difference = abs(apply(unit, params_of(name), rngs=NOISE) - apply(unit, params_of(name)))
    # The NMRU's guard is a small one, and only its reciprocals move.
    assert difference.max() > (1e-7 if name == "nmru" else 1e-3)


@pytest.mark.parametrize("name", ["snmu", "batch_snmu", "nalu_gumbel"])
def test_noise_differs_between_keys_and_between_examples(name):
    unit, x = UNITS[name](FEATURES), np.tile(X[1], (5, 1))
    outputs = [apply(unit, params_of(name), x, rngs={"training": jax.random.key(seed)}) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert (outputs[0] != outputs[2]).all()
    assert len(np.unique(outputs[0][:, 0])) == 5


@pytest.mark.parametrize(("lowest", "highest"), [(0.0, 5.0), (5.0, 1.0), (2.0, 2.0)])
def test_impossible_noise_is_refused(lowest, highest):
    with pytest.raises(ValueError, match=f"the noise needs 0 < lowest < highest, got {lowest} and {highest}"):
        UNITS["snmu"](1, lowest=lowest, highest=highest)


class Recorder(UNITS["snmu"]):
    """An sNMU whose product is its noise."""

    def multiply(self, x, w):
        return self.noise(x)


def test_the_noise_of_snmu_is_uniform_between_its_bounds():
    unit = Recorder(FEATURES, lowest=1.0, highest=5.0)
    noise = apply(unit, params_of("nmu"), np.ones((10_000, INPUTS), np.float32), rngs=NOISE)
    assert 1 <= noise.min() < 1.01 and 4.99 < noise.max() <= 5
    # Standard errors of 40,000 numbers: 0.006 and 0.006.
    assert float(noise.mean()) == pytest.approx(3, abs=0.03) and float(noise.var()) == pytest.approx(16 / 12, abs=0.03)


class BatchRecorder(UNITS["batch_snmu"]):
    """A batch-sNMU whose product is its noise."""

    def multiply(self, x, w):
        return self.noise(x)


def test_the_noise_of_batch_snmu_reaches_one_over_the_deviation_of_the_batch():
    x = np.random.RandomState(0).normal(3, 0.5, (10_000, INPUTS)).astype(np.float32)
    noise = apply(BatchRecorder(FEATURES), params_of("nmu"), x, rngs=NOISE)
    assert float(noise.min()) == pytest.approx(1, abs=1e-3)
    assert float(noise.max()) == pytest.approx(1 + 1 / np.std(x, ddof=1), abs=1e-3)


def test_inalu_with_equal_cells_is_inalu_with_shared_weights():
    shared = params_of("inalu_shared")
    separate = {"g": shared["g"]} | {f"{hat}{of}": shared[hat] for hat in ("w_hat", "m_hat") for of in ("_add", "_mul")}
    expected = apply(UNITS["inalu"](FEATURES), separate)
    np.testing.assert_array_equal(apply(UNITS["inalu_shared"](FEATURES), shared), expected)


def test_two_opposite_gates_are_one():
    params = params_of("nalu")
    y = apply(UNITS["nalu_two_gates"](FEATURES), params | {"g_mul": -params["g"]})
    np.testing.assert_allclose(y, apply(NALU(FEATURES), params), rtol=1e-5, atol=1e-6)


def test_variants_of_the_nalu_that_differ_in_training_alone_are_the_nalu():
    for name in ("nalu_gate_penalty", "nalu_gumbel"):
        np.testing.assert_array_equal(
            apply(UNITS[name](FEATURES), params_of("nalu")), apply(NALU(FEATURES), params_of("nalu"))
        )


@pytest.mark.parametrize("name", ["nmu_unregularised", "nmu_unbounded", "nmu_unbounded_unregularised"])
def test_ablations_of_the_nmu_compute_what_it_does(name):
    np.testing.assert_array_equal(apply(UNITS[name](FEATURES), params_of("nmu")), apply(NMU(FEATURES), params_of("nmu")))


def test_the_gate_of_an_evaluated_dmu_is_rounded():
    # The gate is σ(1) = 0.73 with the bias alone, so that 3 and 4 are added; with -1 they are multiplied.
    for bias, expected in ((1.0, 7.0), (-1.0, 12.0)):
        y = apply(UNITS["dmu"](1), {"w": column(0, 0), "bias": jnp.array([bias])}, jnp.array([3.0, 4.0]))
        np.testing.assert_allclose(y, [expected], rtol=1e-6)


def test_the_declared_weights_of_the_nmru_are_those_of_the_inputs_and_of_their_reciprocals():
    w = jnp.arange(8.0).reshape(4, 2) / 8
    _, declared = apply(UNITS["nmru"](2), {"w": w}, jnp.array([2.0, 3.0]), mutable=["weights"])
    np.testing.assert_array_equal(declared["weights"]["W"], w[:2])
    np.testing.assert_array_equal(declared["weights"]["W_reciprocal"], w[2:])


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
