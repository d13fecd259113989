"""What is particular to each family of neural arithmetic units: formulas, starts, planted parameters, penalties, noise."""

import json
import math
from functools import partial
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fresh import FAMILIES, FEATURES, INPUTS, NOISE, X, apply, initial, params_of, shapes_of
from planted import OPERATIONS, PLANTED, RANGES, TWO, column

from nalu_jax.initializers import glorot_uniform
from nalu_jax.registry import UNITS
from nalu_jax.units import NAC, NALU, NMU, NPU, NACMul

GOLDEN = json.loads((Path(__file__).parent / "golden_units.json").read_text())["cases"]


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
