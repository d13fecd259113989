"""The formulas against golden values, naive loops in NumPy float64, and the algebra that ties them together."""

import inspect
import json
import math
import subprocess
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nalu_jax import functional as F

ROOT = Path(__file__).parents[1]
GOLDEN = json.loads((Path(__file__).parent / "golden_units.json").read_text())["cases"]
GOLDEN_IDS = [f"{case['unit']}-{case['in']}-to-{case['out']}" for case in GOLDEN]
# The golden values are float64: in float64 only the order of sums of at most five terms is left, in float32 rounding of
# 6e-8 a term. Gradients cancel, so that their tolerance is relative to the largest entry of an array.
TOLERANCE = {"float32": 1e-5, "float64": 1e-13}
EPSILON = 1e-7


# The naive references: scalars in loops, columns in and columns out.


def naive_linear(x, w):
    a = np.zeros((w.shape[1], x.shape[1]))
    for o in range(w.shape[1]):
        for example in range(x.shape[1]):
            for i in range(w.shape[0]):
                a[o, example] += w[i, o] * x[i, example]
    return a


def naive_nac_weight(w_hat, m_hat):
    w = np.zeros(w_hat.shape)
    for i, o in np.ndindex(w_hat.shape):
        w[i, o] = math.tanh(w_hat[i, o]) / (1 + math.exp(-m_hat[i, o]))
    return w


def naive_nac(x, w_hat, m_hat):
    return naive_linear(x, naive_nac_weight(w_hat, m_hat))


def naive_log_space(x, w):
    m = np.ones((w.shape[1], x.shape[1]))
    for o in range(w.shape[1]):
        for example in range(x.shape[1]):
            for i in range(w.shape[0]):
                m[o, example] *= (abs(x[i, example]) + EPSILON) ** w[i, o]  # Π (|x| + ε)^w
    return m


def naive_nac_mul(x, w_hat, m_hat):
    return naive_log_space(x, naive_nac_weight(w_hat, m_hat))


def naive_gate(x, g, bias=None):
    logits = naive_linear(x, g)
    for o, example in np.ndindex(logits.shape):
        logits[o, example] = 1 / (1 + math.exp(-logits[o, example] - (0 if bias is None else bias[o])))
    return logits


def naive_nalu_separate(x, w_hat_add, m_hat_add, w_hat_mul, m_hat_mul, g, bias=None):
    gate, a, m = naive_gate(x, g, bias), naive_nac(x, w_hat_add, m_hat_add), naive_nac_mul(x, w_hat_mul, m_hat_mul)
    y = np.zeros(a.shape)
    for place in np.ndindex(y.shape):
        y[place] = gate[place] * a[place] + (1 - gate[place]) * m[place]
    return y


def naive_nalu(x, w_hat, m_hat, g, bias=None):
    return naive_nalu_separate(x, w_hat, m_hat, w_hat, m_hat, g, bias)


class Formula(NamedTuple):
    ours: Callable
    naive: Callable
    arguments: tuple[str, ...]


WEIGHTS = ("w_hat", "m_hat")
TWO_WEIGHTS = ("w_hat_add", "m_hat_add", "w_hat_mul", "m_hat_mul")
FORMULAS = {
    "linear": Formula(F.linear, naive_linear, ("x", "w")),
    "nac_weight": Formula(F.nac_weight, naive_nac_weight, WEIGHTS),
    "nac": Formula(F.nac, naive_nac, ("x", *WEIGHTS)),
    "log_space": Formula(partial(F.log_space, epsilon=EPSILON), naive_log_space, ("x", "w")),
    "nac_mul": Formula(F.nac_mul, naive_nac_mul, ("x", *WEIGHTS)),
    "gate": Formula(F.gate, naive_gate, ("x", "g")),
    "gate with bias": Formula(F.gate, naive_gate, ("x", "g", "bias")),
    "nalu": Formula(F.nalu, naive_nalu, ("x", *WEIGHTS, "g")),
    "nalu with bias": Formula(F.nalu, naive_nalu, ("x", *WEIGHTS, "g", "bias")),
    "nalu_separate": Formula(F.nalu_separate, naive_nalu_separate, ("x", *TWO_WEIGHTS, "g")),
    "nalu_separate with bias": Formula(F.nalu_separate, naive_nalu_separate, ("x", *TWO_WEIGHTS, "g", "bias")),
}
OF_INPUTS = [name for name, formula in FORMULAS.items() if "x" in formula.arguments]
MANY = F.FEW_OUTPUTS + 1  # enough for the other way of taking products


def draw(formula, *, outputs=2, inputs=3, batch=4):
    """Float64 arguments by name; no input is nearer to 0 than 0.3, where |x| has its kink.

    The default shapes are those of golden cases, so that the tests of this file share what is compiled.
    """
    rng = np.random.RandomState(0)
    shapes = {"x": (inputs, batch), "bias": (outputs,)}
    values = {name: rng.normal(size=shapes.get(name, (inputs, outputs))) for name in formula.arguments}
    if "x" in values:
        values["x"] += 0.3 * np.sign(values["x"])
    return values


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


# Golden values


@cache
def golden_results(index, dtype):
    """Output, and the gradients of sum(y · cotangent) by the name of the argument, as columns in float64."""
    case = GOLDEN[index]
    with jax.enable_x64(dtype == "float64"):
        columns = {"x": np.transpose(case["x"]), **case["params"]}
        arguments = {name: jnp.asarray(value, dtype) for name, value in columns.items()}
        cotangent = jnp.asarray(np.transpose(case["cotangent"]), dtype)
        output, pullback = jax.vjp(lambda arguments: FORMULAS[case["unit"]].ours(**arguments), arguments)
        return jax.tree.map(lambda result: np.asarray(result, np.float64), (output, *pullback(cotangent)))


def assert_close(actual, expected, tolerance):
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("index", range(len(GOLDEN)), ids=GOLDEN_IDS)
def test_the_output_is_the_golden_one(index, dtype):
    output, _ = golden_results(index, dtype)
    assert_close(output, np.transpose(GOLDEN[index]["y"]), TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("index", range(len(GOLDEN)), ids=GOLDEN_IDS)
def test_the_gradient_of_the_input_is_the_golden_one(index, dtype):
    _, gradients = golden_results(index, dtype)
    assert_close(gradients["x"], np.transpose(GOLDEN[index]["grad_x"]), TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("index", "parameter"),
    [(index, parameter) for index, case in enumerate(GOLDEN) for parameter in case["grads"]],
    ids=[f"{case_id}-{parameter}" for case_id, case in zip(GOLDEN_IDS, GOLDEN, strict=True) for parameter in case["grads"]],
)
def test_the_gradient_of_each_parameter_is_the_golden_one(index, parameter, dtype):
    _, gradients = golden_results(index, dtype)
    assert_close(gradients[parameter], np.array(GOLDEN[index]["grads"][parameter]), TOLERANCE[dtype])


# References in NumPy loops


def test_every_function_has_a_naive_reference():
    functions = {name for name, _ in inspect.getmembers(F, inspect.isfunction) if not name.startswith("_")}
    assert functions - {"sparsity_error"} == {name.split()[0] for name in FORMULAS}


@pytest.mark.parametrize("outputs", [2, MANY], ids=lambda outputs: f"{outputs} outputs")
@pytest.mark.parametrize("name", FORMULAS)
def test_a_formula_equals_its_naive_loop(name, outputs, float64):
    ours, naive, _ = FORMULAS[name]
    arguments = draw(FORMULAS[name], outputs=outputs)
    # Sums of three terms in another order, and powers taken through logarithms of size 16 at most.
    np.testing.assert_allclose(ours(**arguments), naive(**arguments), rtol=1e-12)


@pytest.mark.parametrize("name", OF_INPUTS)
def test_a_formula_equals_its_naive_loop_where_inputs_are_zero(name, float64):
    ours, naive, _ = FORMULAS[name]
    arguments = draw(FORMULAS[name])
    arguments["x"][:2, 1] = 0
    arguments["x"][:, 2] = 0
    np.testing.assert_allclose(ours(**arguments), naive(**arguments), rtol=1e-12)


@pytest.mark.parametrize(("name", "outputs"), [*((name, 2) for name in FORMULAS), ("linear", MANY)])
def test_gradients_are_the_finite_differences_of_the_naive_loop(name, outputs, float64):
    ours, naive, _ = FORMULAS[name]
    arguments = draw(FORMULAS[name], outputs=outputs)
    cotangent = np.random.RandomState(1).normal(size=naive(**arguments).shape)
    gradients = jax.grad(lambda arguments: jnp.sum(ours(**arguments) * cotangent))(arguments)
    step = 1e-5
    for argument, value in arguments.items():
        expected = np.zeros(value.shape)
        for place in np.ndindex(value.shape):
            sides = []
            for side in (step, -step):
                moved = {**arguments, argument: value.copy()}
                moved[argument][place] += side
                sides.append(np.sum(naive(**moved) * cotangent))
            expected[place] = (sides[0] - sides[1]) / (2 * step)
        # Central differences err by step² = 1e-10 and by rounding of 1e-16 / step = 1e-11, times numbers up to 100.
        np.testing.assert_allclose(gradients[argument], expected, rtol=1e-7, atol=1e-7, err_msg=argument)


# Shapes and precision


@pytest.mark.parametrize(("name", "outputs"), [*((name, 2) for name in OF_INPUTS), ("gate with bias", MANY)])
def test_one_example_gives_the_column_that_it_gives_in_a_batch(name, outputs, float64):
    ours = FORMULAS[name].ours
    arguments = draw(FORMULAS[name], outputs=outputs)
    one = ours(**{**arguments, "x": arguments["x"][:, 2]})
    # Sums of three terms may be taken in another order.
    np.testing.assert_allclose(one, ours(**arguments)[:, 2], rtol=1e-12)


@pytest.mark.parametrize(("name", "outputs"), [*((name, 2) for name in OF_INPUTS), ("gate with bias", MANY)])
def test_further_axes_of_the_input_are_further_batch_axes(name, outputs, float64):
    ours = FORMULAS[name].ours
    arguments = draw(FORMULAS[name], outputs=outputs)
    result = ours(**{**arguments, "x": arguments["x"].reshape(3, 2, 1, 2)})
    np.testing.assert_allclose(result, ours(**arguments).reshape(outputs, 2, 1, 2), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FORMULAS)
def test_the_result_has_the_precision_of_the_arguments(name, dtype, float64):
    arguments = draw(FORMULAS[name])
    shapes = {argument: jax.ShapeDtypeStruct(value.shape, dtype) for argument, value in arguments.items()}
    assert jax.eval_shape(lambda shapes: FORMULAS[name].ours(**shapes), shapes).dtype == dtype


@pytest.mark.parametrize("outputs", [2, MANY], ids=lambda outputs: f"{outputs} outputs")
def test_products_are_asked_for_in_full_precision(outputs):
    program = jax.make_jaxpr(F.linear)(np.ones((3, 4), np.float32), np.ones((3, outputs), np.float32))
    products = [equation for equation in program.eqns if equation.primitive.name == "dot_general"]
    highest = (jax.lax.Precision.HIGHEST, jax.lax.Precision.HIGHEST)
    assert products and all(product.params["precision"] == highest for product in products)


# Numerical guards


@pytest.mark.parametrize("name", OF_INPUTS)
def test_all_gradients_are_finite_where_inputs_are_zero(name):
    arguments = {key: value.astype(np.float32) for key, value in draw(FORMULAS[name]).items()}
    arguments["x"][:, 1] = 0
    gradients = jax.grad(lambda arguments: jnp.sum(FORMULAS[name].ours(**arguments)))(arguments)
    assert all(bool(jnp.isfinite(gradient).all()) for gradient in gradients.values())


@pytest.mark.parametrize("name", ["nac_mul", "nalu"])
def test_a_zero_input_of_a_dividing_unit_gets_no_gradient_through_its_magnitude(name):
    # As in PyTorch, whose |x| has the derivative 0 at 0; 1 there would make it W m / epsilon = -1e14.
    divide = {"w_hat": jnp.full((1, 1), -20.0), "m_hat": jnp.full((1, 1), 20.0)}
    if name == "nalu":
        divide["g"] = jnp.zeros((1, 1))
    gradient = jax.grad(lambda x: getattr(F, name)(x, **divide).sum())(jnp.zeros(1))
    # Half of the NALU adds, with W = -1; the gate, 1/2 at 0, does not move with G = 0.
    assert gradient == (0.0 if name == "nac_mul" else -0.5)


MULTIPLY = {"w_hat": jnp.full((1, 1), 20.0), "m_hat": jnp.full((1, 1), 20.0)}  # W = 1
CLOSED = {"g": jnp.zeros((1, 1)), "bias": jnp.full((1,), -200.0)}  # gate at multiplication


@pytest.mark.parametrize("epsilon", [1e-7, 1e-2])
@pytest.mark.parametrize(
    "formula",
    [
        partial(F.log_space, w=jnp.ones((1, 1))),
        partial(F.nac_mul, **MULTIPLY),
        partial(F.nalu, **MULTIPLY, **CLOSED),
        partial(F.nalu_separate, *[jnp.full((1, 1), 20.0)] * 4, **CLOSED),
    ],
    ids=["log_space", "nac_mul", "nalu", "nalu_separate"],
)
def test_a_zero_input_multiplies_by_epsilon(formula, epsilon):
    if formula.func is F.nalu_separate:
        result = F.nalu_separate(jnp.zeros(1), *formula.args, **formula.keywords, epsilon=epsilon)
    else:
        result = formula(jnp.zeros(1), epsilon=epsilon)
    # |log ε| is up to 16, so that its rounding of 1e-6 becomes a relative error of 1e-6.
    np.testing.assert_allclose(result, [epsilon], rtol=5e-6)


@pytest.mark.parametrize("formula", [F.nac_mul, F.nalu], ids=["nac_mul", "nalu"])
def test_epsilon_is_1e_7_unless_given(formula):
    gate = {} if formula is F.nac_mul else CLOSED
    np.testing.assert_allclose(formula(jnp.zeros(1), **MULTIPLY, **gate), [1e-7], rtol=5e-6)


# Reductions


def reduction_arguments():
    rng = np.random.RandomState(2)
    x = jnp.asarray(rng.uniform(2, 6, (4, 10)), jnp.float32)
    w_hat, m_hat = jnp.asarray(rng.normal(size=(2, 4, 3)), jnp.float32)
    return x, w_hat, m_hat


# With inputs from 2 on, the gate's logits are beyond ±400, where the logistic function is exactly 1 or 0 in float32: these
# three tests mean equal bit for bit.
OPEN = jnp.full((4, 3), 50.0)


def test_nalu_with_its_gate_held_at_add_is_nac():
    x, w_hat, m_hat = reduction_arguments()
    np.testing.assert_array_equal(F.nalu(x, w_hat, m_hat, OPEN), F.nac(x, w_hat, m_hat))


def test_nalu_with_its_gate_held_at_multiply_is_nac_mul():
    x, w_hat, m_hat = reduction_arguments()
    np.testing.assert_array_equal(F.nalu(x, w_hat, m_hat, -OPEN), F.nac_mul(x, w_hat, m_hat))


def test_nalu_separate_adds_with_its_first_pair_of_weights():
    x, w_hat, m_hat = reduction_arguments()
    result = F.nalu_separate(x, w_hat, m_hat, m_hat, w_hat, OPEN)
    np.testing.assert_array_equal(result, F.nac(x, w_hat, m_hat))


def test_nalu_separate_multiplies_with_its_second_pair_of_weights():
    x, w_hat, m_hat = reduction_arguments()
    result = F.nalu_separate(x, m_hat, w_hat, w_hat, m_hat, -OPEN)
    np.testing.assert_array_equal(result, F.nac_mul(x, w_hat, m_hat))


def test_nalu_separate_with_equal_weights_is_nalu():
    x, w_hat, m_hat = reduction_arguments()
    g, bias = 0.1 * w_hat, jnp.array([0.1, -0.2, 0.3])
    separate = F.nalu_separate(x, w_hat, m_hat, w_hat, m_hat, g, bias)
    np.testing.assert_array_equal(separate, F.nalu(x, w_hat, m_hat, g, bias))


def test_a_gate_bias_of_zero_is_none():
    x, w_hat, m_hat = reduction_arguments()
    g = 0.1 * w_hat
    np.testing.assert_array_equal(F.nalu(x, w_hat, m_hat, g, jnp.zeros(3)), F.nalu(x, w_hat, m_hat, g))


# Planted solutions: tanh(±20) is ±1 and σ(20) is 1 in float32, tanh(0) is 0.


def planted(*signs):
    w_hat = 20.0 * jnp.array(signs, jnp.float32)[:, None]
    return w_hat, jnp.full_like(w_hat, 20)


EXTRAPOLATION = np.random.RandomState(3).uniform(2, 6, (4, 1000)).astype(np.float32)


def test_a_saturated_nac_adds_exactly_on_the_extrapolation_range():
    # Of the four terms two are zero and one sum is left: its one rounding is NumPy's.
    x = EXTRAPOLATION
    np.testing.assert_array_equal(F.nac(jnp.asarray(x), *planted(1, 0, 1, 0))[0], x[0] + x[2])


def test_a_saturated_nac_subtracts_exactly_on_the_extrapolation_range():
    x = EXTRAPOLATION
    np.testing.assert_array_equal(F.nac(jnp.asarray(x), *planted(0, 1, 0, -1))[0], x[1] - x[3])


# The logarithms, of size 3.6 at most, are rounded by 2e-7, and ε = 1e-7 stands beside inputs of 2 at least: 5e-7 in all.


def test_a_saturated_nac_mul_multiplies_on_the_extrapolation_range():
    x = EXTRAPOLATION.astype(np.float64)
    result = F.nac_mul(jnp.asarray(EXTRAPOLATION), *planted(1, 0, 1, 0))[0]
    np.testing.assert_allclose(result, x[0] * x[2], rtol=1e-6)


def test_a_saturated_nac_mul_divides_on_the_extrapolation_range():
    x = EXTRAPOLATION.astype(np.float64)
    result = F.nac_mul(jnp.asarray(EXTRAPOLATION), *planted(0, 1, 0, -1))[0]
    np.testing.assert_allclose(result, x[1] / x[3], rtol=1e-6)


# Sparsity error, by hand


@pytest.mark.parametrize(
    ("weights", "error"),
    [
        ([[1, 0], [-1, 0]], 0),
        ([[1, 0.25], [-1, 0]], 0.25),
        ([[0.875, -1], [0, 0]], 0.125),
        ([[-0.875, 1], [0, 0]], 0.125),
        ([[0.5, 1]], 0.5),
        ([[-1.25, 1]], 0.25),
        ([[0.125, 2.75]], 1.75),
    ],
)
def test_the_sparsity_error_is_the_largest_distance_from_a_discrete_weight(weights, error):
    assert F.sparsity_error(jnp.array(weights, jnp.float32)) == error


def test_the_sparsity_error_of_a_tree_is_that_of_its_worst_matrix():
    tree = {"layers_0": {"w": jnp.array([[1.0, 0.125]])}, "layers_1": {"w": jnp.array([[0.375], [1.0], [0.0]])}}
    assert F.sparsity_error(tree) == 0.375


# The functional core stands alone


def test_importing_the_formulas_does_not_import_flax():
    program = "import sys, nalu_jax.functional; print([m for m in sys.modules if m.split('.')[0] in ('flax', 'optax')])"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
