"""Contracts that every registered unit keeps."""

import re
from collections.abc import Callable
from functools import cache

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from flax.core.meta import unbox
from fresh import FAMILIES, FEATURES, INPUTS, NOISE, X, apply, initial, params_of, shapes_of

import nalu_jax.units
from nalu_jax.bounded import Bounded
from nalu_jax.registry import UNITS
from nalu_jax.units import NAC, NALU, NMU, NPU, NACMul

# For facts about JAX's and Flax's transformations that hold for all units once they are traced, and whose numbers take long
# to compile.
one_of_each_family = pytest.mark.parametrize("name", FAMILIES)
SOME_SLOW = [name if name in FAMILIES else pytest.param(name, marks=pytest.mark.slow) for name in UNITS]
each_unit = pytest.mark.parametrize("name", SOME_SLOW)  # the quick check has one of each family


def outputs_of(name, features=FEATURES):
    """As many as features, but for CReLU, which documents twice as many."""
    return 2 * features if name == "crelu" else features


def inputs_of(name):
    """X, but for units whose domain is the positive numbers: the sizes in X."""
    return np.abs(X) if UNITS[name](FEATURES).positive_inputs else X


@cache
def params_of_seeds(name):
    """Parameters of three seeds, stacked."""
    keys = jax.random.split(jax.random.key(1, impl="rbg"), 3)
    return jax.vmap(lambda key: initial(UNITS[name](FEATURES), key=key))(keys)


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

    @jax.jit  # one program: half the time of two
    def both(params, x):
        return apply(UNITS[name](FEATURES, axis=0), params, x.T), apply(UNITS[name](FEATURES), params, x)

    # Close, not equal: another layout may sum in another order.
    columns, rows = both(params_of(name), x)
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
