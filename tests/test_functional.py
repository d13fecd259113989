"""The formulas against golden values, naive loops in NumPy float64, and the algebra that ties them together."""

import inspect
import json
import math
import subprocess
import sys
from functools import cache, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from formulas import FORMULAS, draw

from nalu_jax import functional as F

ROOT = Path(__file__).parents[1]
GOLDEN = json.loads((Path(__file__).parent / "golden_units.json").read_text())["cases"]
GOLDEN_IDS = [f"{case['unit']}-{case['in']}-to-{case['out']}" for case in GOLDEN]
# In float64 only the order of sums of at most five terms is left. Gradients cancel, so that their tolerance is relative to
# the largest entry of an array. The cases of iNALU were computed in float32 themselves. test_families.py has float32.
TOLERANCE = {"float32": 1e-5, "float64": 1e-13}


# One of each family, and what each has of its own: the quick check has no others where formulas are compiled.
QUICK = {
    "linear",
    "nac_mul",
    "nalu_separate with bias",
    "snmu",
    "npu",
    "inalu",
    "nru",
    "nmru",
    "mc_fc_mul_sign_real_npu",
    "dmu",
}


def quick_first(names):
    """Names of formulas, all marked slow but those of the quick check."""
    return [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in names]


PRODUCTS = ["nmu", "snmu", "sign_product", "nru", "nru in training", "nmru", "nmru without sign"]
# Those that give a column an example; R_z averages over examples.
OF_INPUTS = [name for name, formula in FORMULAS.items() if "x" in formula.arguments and not name.startswith("r_z")]
MANY = F.FEW_OUTPUTS + 1  # enough for the other way of taking products


def examples_of(name, arguments, change):
    """The arguments, with a change to those that hold a column an example."""
    batched = {"x", "noise"} | ({"g"} if name == "dmu" else set())
    return {key: change(value) if key in batched else value for key, value in arguments.items()}


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def output_and_gradients(name, arguments, cotangent):
    """y, and the gradients of sum(y · cotangent) by argument, op by op: formulas share what is compiled for an operation."""
    output, pullback = jax.vjp(lambda arguments: FORMULAS[name].ours(**arguments), arguments)
    return output, *pullback(cotangent)


# Golden values


@cache
def golden_results(index):
    """Output, and the gradients of sum(y · cotangent) by the name of the argument, as columns in float64."""
    case = GOLDEN[index]
    arguments = {"x": np.transpose(case["x"])} | {name: np.array(value) for name, value in case["params"].items()}
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, output_and_gradients(case["unit"], arguments, np.transpose(case["cotangent"])))


def assert_close(actual, expected, case):
    tolerance = TOLERANCE[case["float"]]
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())


each_golden = pytest.mark.parametrize(
    "index",
    [
        pytest.param(i, marks=[pytest.mark.slow] if case["in"] == 5 else [], id=GOLDEN_IDS[i])
        for i, case in enumerate(GOLDEN)
    ],
)


@each_golden
def test_the_output_is_the_golden_one(index):
    output, _ = golden_results(index)
    assert_close(output, np.transpose(GOLDEN[index]["y"]), GOLDEN[index])


@each_golden
def test_the_gradient_of_the_input_is_the_golden_one(index):
    _, gradients = golden_results(index)
    assert_close(gradients["x"], np.transpose(GOLDEN[index]["grad_x"]), GOLDEN[index])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("index", "parameter"),
    [(index, parameter) for index, case in enumerate(GOLDEN) for parameter in case["grads"]],
    ids=[f"{case_id}-{parameter}" for case_id, case in zip(GOLDEN_IDS, GOLDEN, strict=True) for parameter in case["grads"]],
)
def test_the_gradient_of_each_parameter_is_the_golden_one(index, parameter):
    _, gradients = golden_results(index)
    assert_close(gradients[parameter], np.array(GOLDEN[index]["grads"][parameter]), GOLDEN[index])


# References in NumPy loops


def test_every_function_has_a_naive_reference():
    functions = {name for name, _ in inspect.getmembers(F, inspect.isfunction) if not name.startswith("_")}
    # Parts of formulas, which are tested with those, and what has tests of its own below.
    parts = {"expand_like", "product", "product_over_inputs", "relevance_gate", "over_examples"}
    apart = {"sparsity_error", "magnitude", "clip_gate", "finite_log", "in_float32"}
    assert functions - parts - apart == {name.split()[0] for name in FORMULAS}


@pytest.mark.parametrize("outputs", [2, MANY], ids=lambda outputs: f"{outputs} outputs")
@pytest.mark.parametrize("name", quick_first(FORMULAS))
def test_a_formula_equals_its_naive_loop(name, outputs, float64):
    arguments = draw(FORMULAS[name], outputs=outputs)
    # Sums of three terms in another order, and powers taken through logarithms of size 16 at most.
    np.testing.assert_allclose(FORMULAS[name].ours(**arguments), FORMULAS[name].naive(**arguments), rtol=1e-12)


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_of_many_inputs_equals_its_naive_loop(name, float64):
    arguments = draw(FORMULAS[name], inputs=F.FEW_FACTORS + 1)
    # Products of nine factors in another order.
    np.testing.assert_allclose(FORMULAS[name].ours(**arguments), FORMULAS[name].naive(**arguments), rtol=1e-12)


@pytest.mark.parametrize("name", quick_first(OF_INPUTS))
def test_a_formula_equals_its_naive_loop_where_inputs_are_zero(name, float64):
    arguments = draw(FORMULAS[name])
    arguments["x"][:2, 1] = 0
    arguments["x"][:, 2] = 0
    np.testing.assert_allclose(FORMULAS[name].ours(**arguments), FORMULAS[name].naive(**arguments), rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "outputs", "inputs"),
    [
        *(pytest.param(name, 2, 3, marks=[] if name in QUICK else [pytest.mark.slow]) for name in FORMULAS),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (("linear", MANY, 3), ("nmu", MANY, 3))),
        pytest.param("nmu", 2, F.FEW_FACTORS + 1, marks=pytest.mark.slow),
    ],
)
def test_gradients_are_the_finite_differences_of_the_naive_loop(name, outputs, inputs, float64):
    naive, arguments = FORMULAS[name].naive, draw(FORMULAS[name], outputs=outputs, inputs=inputs)
    cotangent = np.asarray(np.random.RandomState(1).normal(size=np.shape(naive(**arguments))))
    _, gradients = output_and_gradients(name, arguments, cotangent)
    # The needle of the NRU is a thousand times narrower than all else.
    step = 1e-8 if name == "nru in training" else 1e-5
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


each_in_a_batch = pytest.mark.parametrize(
    ("name", "outputs"),
    [
        *(pytest.param(name, 2, marks=[] if name in QUICK else [pytest.mark.slow]) for name in OF_INPUTS),
        pytest.param("gate with bias", MANY, marks=pytest.mark.slow),
    ],
)


@each_in_a_batch
def test_one_example_gives_the_column_that_it_gives_in_a_batch(name, outputs, float64):
    arguments = draw(FORMULAS[name], outputs=outputs)
    one = FORMULAS[name].ours(**examples_of(name, arguments, lambda batch: batch[:, 2]))
    # Sums of three terms may be taken in another order.
    np.testing.assert_allclose(one, FORMULAS[name].ours(**arguments)[:, 2], rtol=1e-12)


@each_in_a_batch
def test_further_axes_of_the_input_are_further_batch_axes(name, outputs, float64):
    arguments = draw(FORMULAS[name], outputs=outputs)
    result = FORMULAS[name].ours(**examples_of(name, arguments, lambda batch: batch.reshape(len(batch), 2, 1, 2)))
    np.testing.assert_allclose(result, FORMULAS[name].ours(**arguments).reshape(outputs, 2, 1, 2), rtol=1e-12)


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


@pytest.mark.parametrize("name", quick_first(OF_INPUTS))
def test_all_gradients_are_finite_where_inputs_are_zero(name, float64):
    # test_units.py has the same of all units in float32.
    arguments = draw(FORMULAS[name])
    arguments["x"][:, 1] = 0
    _, gradients = output_and_gradients(name, arguments, np.ones((2, 4)))
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())


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


def test_gnalu_is_nalu_with_parameters_scaled_by_the_logarithm_of_the_golden_ratio():
    x, w_hat, m_hat = reduction_arguments()
    g, scale = 0.1 * w_hat, 0.48121182505960347
    np.testing.assert_allclose(F.gnalu(x, w_hat, m_hat, g), F.nalu(x, scale * w_hat, scale * m_hat, scale * g), rtol=1e-6)


def test_gnalu_is_finite_where_powers_of_the_golden_ratio_overflow():
    # φ^(2 · 200) = 1e83; W = 1 and the gate is 1.
    big = jnp.full((1, 1), 200.0)
    np.testing.assert_array_equal(F.gnalu(jnp.array([3.0]), big, big, big), [3])


def product_arguments():
    rng = np.random.RandomState(4)
    x = rng.uniform(-6, 6, (4, 10)).astype(np.float32)
    return jnp.asarray(x), jnp.asarray(rng.uniform(0, 1, (4, 3)), jnp.float32)


BINARY = jnp.array([[1, 0, 1], [0, 0, 1], [1, 1, 0], [0, 0, 1]], jnp.float32)
TERNARY = jnp.array([[1, 0, -1], [0, 0, 1], [-1, 1, 0], [0, -1, 1]], jnp.float32)


@pytest.mark.parametrize("seed", range(3))
def test_the_noise_of_snmu_cancels_where_weights_are_0_or_1(seed):
    x, _ = product_arguments()
    noise = jnp.asarray(np.random.RandomState(seed).uniform(1, 5, x.shape), jnp.float32)
    # A product and a quotient of eight numbers, each rounded by 6e-8.
    np.testing.assert_allclose(F.snmu(x, BINARY, noise), F.nmu(x, BINARY), rtol=1e-6)


def test_the_noise_of_snmu_does_not_cancel_between_0_and_1():
    x, w = product_arguments()
    assert (abs(F.snmu(x, w, jnp.full_like(x, 3)) / F.nmu(x, w) - 1) > 0.01).mean() > 0.9


def test_noise_of_one_leaves_the_nmu():
    x, w = product_arguments()
    np.testing.assert_allclose(F.snmu(x, w, jnp.ones_like(x)), F.nmu(x, w), rtol=1e-6)


def test_gated_nau_nmu_with_its_gate_held_is_nau_or_nmu():
    x, w = abs(product_arguments()[0]) + 1, product_arguments()[1]
    np.testing.assert_array_equal(F.gated_nau_nmu(x, w, 1 - w, OPEN), F.nau(x, w))
    np.testing.assert_array_equal(F.gated_nau_nmu(x, w, 1 - w, -OPEN), F.nmu(x, 1 - w))


def test_npu_without_imaginary_weights_is_real_npu():
    x, w = product_arguments()
    g = jnp.array([0.25, 1.0, -0.5, 1.5])
    np.testing.assert_allclose(F.npu(x, w, jnp.zeros_like(w), g), F.real_npu(x, w, g), rtol=1e-6)


def test_naive_npu_is_npu_with_all_inputs_relevant():
    x, w = product_arguments()
    np.testing.assert_array_equal(F.naive_npu(x, w, 1 - w), F.npu(x, w, 1 - w, jnp.ones(4)))


def test_an_irrelevant_input_of_an_npu_does_not_count():
    x, w = product_arguments()
    np.testing.assert_array_equal(F.npu(x, w, 1 - w, jnp.array([1.0, 0, 1, 0])), F.naive_npu(x[::2], w[::2], 1 - w[::2]))


def test_nmru_without_reciprocal_weights_is_nmu_on_positive_inputs():
    x, w = abs(product_arguments()[0]), product_arguments()[1]
    np.testing.assert_allclose(F.nmru(x, jnp.concatenate([w, 0 * w])), F.nmu(x, w), rtol=1e-6)


@pytest.mark.parametrize("training", [False, True])
def test_nmru_with_binary_weights_does_without_its_sign_retrieval(training):
    x = product_arguments()[0]
    w = jnp.concatenate([BINARY, jnp.roll(BINARY, 1, axis=1)])
    # cos of up to four half turns is rounded by 5e-7.
    results = [F.nmru(x, w, training=training, sign=sign) for sign in (False, True)]
    np.testing.assert_allclose(*results, rtol=2e-6)


def test_nru_with_discrete_weights_is_in_training_what_it_is_evaluated():
    x = product_arguments()[0].at[1, 3].set(0)
    np.testing.assert_array_equal(F.nru(x, TERNARY, training=True), F.nru(x, TERNARY))


def test_nru_with_weights_between_differs_in_training():
    x, w = product_arguments()
    assert (abs(F.nru(x, w, training=True) / F.nru(x, w) - 1) > 0.01).mean() > 0.9


def test_nru_with_binary_weights_is_nmu():
    x = product_arguments()[0]
    np.testing.assert_allclose(F.nru(x, BINARY), F.nmu(x, BINARY), rtol=2e-6)


def test_sign_variants_of_mc_fc_mul_are_mc_fc_mul_on_positive_inputs():
    x, r = abs(product_arguments()[0]), product_arguments()[1]
    vectors = jnp.array([0.5, -1, 2]), jnp.array([0.1, 0.2, 0.3]), jnp.array([-0.5, 0, 0.5])
    expected = F.mc_fc_mul(x, r, *vectors)
    np.testing.assert_allclose(F.mc_fc_mul_sign_inalu(x, r, *vectors), expected, rtol=1e-6)
    np.testing.assert_array_equal(F.mc_fc_mul_sign_real_npu(x, r, *vectors, jnp.full(4, 0.5)), expected)


def test_mc_fc_with_open_gates_conserves_mass():
    x, r = product_arguments()
    y = F.mc_fc(x, r, jnp.full(3, 50.0), jnp.zeros(3))
    # Twelve numbers up to 6.
    np.testing.assert_allclose(y.sum(0), x.sum(0), atol=1e-5)


def test_mc_fc_mul_of_a_negative_number_is_no_number():
    assert np.isnan(F.mc_fc_mul(jnp.array([-2.0]), jnp.zeros((1, 1)), jnp.zeros(1), jnp.zeros(1), jnp.zeros(1)))


# The NSR's comparisons of x_0 with x_1: the operands are picked exactly, and λ = 1000 makes all differences large.


@pytest.mark.parametrize(
    ("w_sign", "w_zero", "b", "holds"),
    [
        (50.0, 0.0, -25.0, lambda left, right: left > right),
        (-50.0, 0.0, -25.0, lambda left, right: left < right),
        (0.0, 50.0, 0.0, lambda left, right: left == right),
        (0.0, -50.0, 0.0, lambda left, right: left != right),
        (50.0, 0.0, 25.0, lambda left, right: left >= right),
        (-50.0, 0.0, 25.0, lambda left, right: left <= right),
    ],
    ids=["greater", "less", "equal", "unequal", "greater or equal", "less or equal"],
)
def test_the_nsr_makes_each_comparison(w_sign, w_zero, b, holds):
    pairs = [(1, 2), (2, 1), (3, 3), (-4, 4), (0, 0), (5, -5)]
    select = jnp.array([[200.0], [0.0]])
    weights = (jnp.array([value]) for value in (w_sign, w_zero, b))
    s = F.nsr(jnp.array(pairs, jnp.float32).T, select, select[::-1], *weights, scale=1000)
    np.testing.assert_allclose(s[0], [float(holds(left, right)) for left, right in pairs], atol=1e-6)


# Magnitudes, gates and logarithms at their edges


def test_a_magnitude_is_the_absolute_value():
    np.testing.assert_array_equal(F.magnitude(jnp.array([-2.5, 0, 3])), [2.5, 0, 3])


def test_a_magnitude_has_the_derivative_0_at_0():
    gradient = jax.grad(lambda x: F.magnitude(x).sum())(jnp.array([-2.5, 0, 3]))
    np.testing.assert_array_equal(gradient, [-1, 0, 1])


def test_a_gate_is_clipped_to_the_unit_interval():
    np.testing.assert_array_equal(F.clip_gate(jnp.array([-0.5, 0, 0.25, 1, 1.5])), [0, 0, 0.25, 1, 1])


def test_a_gate_has_the_derivative_1_in_the_interval_and_at_its_bounds_and_0_outside():
    gradient = jax.grad(lambda g: F.clip_gate(g).sum())(jnp.array([-0.5, 0, 0.25, 1, 1.5]))
    np.testing.assert_array_equal(gradient, [0, 1, 1, 1, 0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_finite_log_of_0_is_that_of_the_smallest_normal_number(dtype, float64):
    smallest = {"float32": -126, "float64": -1022}[dtype]
    x = jnp.array([0, 1, math.e], dtype)
    np.testing.assert_allclose(F.finite_log(x), [smallest * math.log(2), 0, 1], rtol=1e-6)
    # 1 / x elsewhere.
    np.testing.assert_allclose(jax.grad(lambda x: F.finite_log(x).sum())(x), [0, 1, 1 / math.e], rtol=1e-6)


@pytest.mark.parametrize("inputs", [1, F.FEW_FACTORS + 1])
def test_a_product_with_a_zero_factor_has_an_exact_gradient(inputs):
    factors = jnp.array([0.0, 2, 3][:inputs] + [1.0] * (inputs - 3))
    expected = [6.0] + [0.0] * (inputs - 1) if inputs > 1 else [1.0]
    np.testing.assert_array_equal(jax.grad(F.product)(factors), expected)


@pytest.mark.parametrize("imaginary", [False, True])
def test_positive_inputs_leave_the_imaginary_weights_of_an_npu_at_their_start(imaginary):
    x = 0.1 + abs(product_arguments()[0])
    w, g = product_arguments()[1], jnp.full(4, 0.5)

    def loss(w_imag):
        return jnp.sum(F.npu(x, w, w_imag, g) ** 2) + 1e-7 * jnp.sum(F.magnitude(w_imag))

    gradient = jax.grad(loss)(jnp.full_like(w, 0.1 if imaginary else 0.0))
    assert gradient.any() == imaginary  # with any other start they would move


def test_negative_inputs_move_the_imaginary_weights_of_an_npu():
    x, w = product_arguments()
    gradient = jax.grad(lambda w_imag: jnp.sum(F.npu(x, w, w_imag, jnp.full(4, 0.5)) ** 2))(jnp.zeros_like(w))
    assert gradient.all()


# Penalties, by hand: at -1/4, 7/8, 0, 1, -1.5 and 1/2, where two distances tie and their slopes cancel


WEIGHTS_TO_PENALISE = jnp.array([[-0.25, 0.875, 0.0], [1.0, -1.5, 0.5]])


def test_the_nau_sparsity_is_the_mean_distance_from_the_signs():
    assert F.nau_sparsity(WEIGHTS_TO_PENALISE) == (0.25 + 0.125 + 0 + 0 + 0.5 + 0.5) / 6


def test_the_nmu_sparsity_is_the_mean_distance_from_0_and_1():
    # From -1.5, min(1.5, 2.5).
    assert F.nmu_sparsity(WEIGHTS_TO_PENALISE) == pytest.approx((0.25 + 0.125 + 0 + 0 + 1.5 + 0.5) / 6, rel=1e-6)


def test_the_nau_sparsity_draws_to_the_nearest_of_minus_1_0_and_1_and_rests_there():
    gradient = 6 * jax.grad(F.nau_sparsity)(WEIGHTS_TO_PENALISE)
    np.testing.assert_allclose(gradient, [[-1, -1, 0], [0, -1, 0]], atol=1e-6)


def test_the_nmu_sparsity_draws_to_the_nearer_of_0_and_1_and_rests_there():
    gradient = 6 * jax.grad(F.nmu_sparsity)(WEIGHTS_TO_PENALISE)
    np.testing.assert_allclose(gradient, [[-1, -1, 0], [0, -1, 0]], atol=1e-6)


def test_rz_takes_the_mean_input_over_examples_and_places():
    x = jnp.array([[[1.0, 2.0], [3.0, 6.0]], [[-1.0, 0.0], [2.0, -1.0]]])  # [in, time, batch]: means 3 and 0
    w = jnp.array([[-0.5, 1.0], [0.0, 0.25]])
    assert F.r_z_sum(x, w) == (0.5 * 9 + 0) / 4
    assert F.r_z_product(x, jnp.abs(w)) == (0.5 * 4 + 1 + 0.75) / 4


def test_rz_draws_the_input_as_well_as_its_weight():
    x, w = jnp.array([[4.0, 2.0]]), jnp.array([[0.5]])
    for penalty, distance in ((F.r_z_sum, 3), (F.r_z_product, 2)):
        of_input, of_weight = jax.grad(penalty, (0, 1))(x, w)
        np.testing.assert_allclose(of_input, [[0.5 * distance, 0.5 * distance]])
        np.testing.assert_allclose(of_weight, [[-(distance**2)]])


def test_rz_of_products_raises_a_weight_from_0_where_projection_put_it():
    assert jax.grad(F.r_z_product, 1)(jnp.array([[3.0]]), jnp.zeros((1, 1))) == -4


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
