"""Parameters by hand at which units compute what they are said to, and pairs of numbers from all ranges of single units."""

from functools import partial

import jax.numpy as jnp
import numpy as np

RANGES = {
    "[-40, -20]": (-40, -20),
    "[-6, -2]": (-6, -2),
    "[-6.1, -1.2]": (-6.1, -1.2),
    "[-2, -0.2]": (-2, -0.2),
    "±[2, 6]": None,  # each number has a sign of its own
    "[0.2, 2]": (0.2, 2),
    "[2, 6]": (2, 6),
    "[1.2, 6]": (1.2, 6),
    "[20, 40]": (20, 40),
}
EXAMPLES = 100


def two_numbers():
    """Float32 [ranges, examples, 2]."""
    rng = np.random.RandomState(5)
    mixed = rng.uniform(2, 6, (EXAMPLES, 2)) * rng.choice([-1, 1], (EXAMPLES, 2))
    drawn = [mixed if ends is None else rng.uniform(*ends, (EXAMPLES, 2)) for ends in RANGES.values()]
    return np.asarray(drawn, np.float32)


TWO = two_numbers()
OPERATIONS = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}
SIGNS = {"add": (1, 1), "sub": (1, -1), "mul": (1, 1), "div": (1, -1)}
BIG = 200.0  # so that tanh, σ and the gates of sums of 0.4 on are 0, 1 or -1 in float32, to the base of the G-NALU as well


def column(*values):
    return jnp.array(values, jnp.float32)[:, None]


def cell(operation, suffix=""):
    """Ŵ and M̂ with W = SIGNS."""
    return {f"w_hat{suffix}": BIG * column(*SIGNS[operation]), f"m_hat{suffix}": column(BIG, BIG)}


def opening(operation):
    """Which way a gate between adding and multiplying is to be pushed."""
    return 1 if operation in ("add", "sub") else -1


def nalu_parameters(operation, side, cells=("",)):
    """The gate of the NALU depends on the signs of the inputs: ``side`` is that of their sum."""
    weights = [cell(operation, suffix) for suffix in cells]
    return {"g": opening(operation) * side * column(BIG, BIG)} | {key: w for cell in weights for key, w in cell.items()}


def with_bias(params, operation):
    return params | {"g": column(0, 0), "bias": jnp.array([opening(operation) * BIG])}


def inalu_parameters(operation, side, cells=("_add", "_mul")):
    return nalu_parameters(operation, side, cells) | {"g": jnp.array([opening(operation) * BIG])}


def mc_fc_parameters(*, bias=True, relevance=False):
    params = {"r": column(0, 0), "w": jnp.array([BIG]), "b": jnp.zeros(1)}
    return params | ({"bias": jnp.zeros(1)} if bias else {}) | ({"g": jnp.ones(2)} if relevance else {})


def weights_of(operation, side):
    return {"w": column(*SIGNS[operation])}


def power_parameters(operation, side):
    return {"w_real": column(*SIGNS[operation]), "g": jnp.ones(2)}


def complex_parameters(operation, side):
    return power_parameters(operation, side) | {"w_imag": column(0, 0)}


def reciprocal_parameters(operation, side):
    return {"w": column(1, 1, 0, 0) if operation == "mul" else column(1, 0, 0, 1)}


def domain_parameters(operation, side):
    return {"w": column(0, 0), "bias": jnp.array([opening(operation) * BIG])}


PLANTED = {
    "nac": lambda operation, side: cell(operation),
    "nac_bias": lambda operation, side: cell(operation) | {"b": jnp.zeros(1)},
    "nac_mul": lambda operation, side: cell(operation),
    "nac_mul_sigma": lambda operation, side: {"w_hat": column(BIG, BIG)},
    "nac_mul_nmu": weights_of,
    "nalu": nalu_parameters,
    "nalu_separate": partial(nalu_parameters, cells=("_add", "_mul")),
    "nalu_bias": lambda operation, side: with_bias(nalu_parameters(operation, side), operation),
    "nalu_separate_bias": lambda operation, side: with_bias(nalu_parameters(operation, side, ("_add", "_mul")), operation),
    "nalu_two_gates": lambda operation, side: (
        nalu_parameters(operation, side) | {"g_mul": -opening(operation) * side * column(BIG, BIG)}
    ),
    "nalu_gate_penalty": nalu_parameters,
    "nalu_gumbel": nalu_parameters,
    "nalu_safe": nalu_parameters,
    "nalu_trig": nalu_parameters,
    "gnalu": nalu_parameters,
    "inalu": inalu_parameters,
    "inalu_original": inalu_parameters,
    "inalu_shared": partial(inalu_parameters, cells=("",)),
    "nau": weights_of,
    "nmu": weights_of,
    "nmu_unregularised": weights_of,
    "nmu_unbounded": weights_of,
    "nmu_unbounded_unregularised": weights_of,
    "nmu_sigma": lambda operation, side: {"w_hat": column(BIG, BIG)},
    "snmu": weights_of,
    "batch_snmu": weights_of,
    "gated_nau_nmu": lambda operation, side: {
        "w_add": column(*SIGNS[operation]),
        "w_mul": column(1, 1),
        "g": opening(operation) * side * column(BIG, BIG),
    },
    "npu": complex_parameters,
    "real_npu": power_parameters,
    "real_npu_modified": power_parameters,
    "naive_npu": complex_parameters,
    "nru": weights_of,
    "nmru": reciprocal_parameters,
    "nmru_without_sign": reciprocal_parameters,
    "mc_fc": lambda operation, side: mc_fc_parameters(bias=False),
    "mc_fc_mul": lambda operation, side: mc_fc_parameters(),
    "mc_fc_mul_sign_inalu": lambda operation, side: mc_fc_parameters(),
    "mc_fc_mul_sign_real_npu": lambda operation, side: mc_fc_parameters(relevance=True),
    "dmu": domain_parameters,
    "dmu_difference": domain_parameters,
    "tanh_linear": lambda operation, side: {"w_hat": BIG * column(*SIGNS[operation]), "b": jnp.zeros(1)},
    "tanh_linear_no_bias": lambda operation, side: {"w_hat": BIG * column(*SIGNS[operation])},
    "sigmoid_linear": lambda operation, side: {"w_hat": column(BIG, BIG), "b": jnp.zeros(1)},
    "sigmoid_linear_no_bias": lambda operation, side: {"w_hat": column(BIG, BIG)},
}
