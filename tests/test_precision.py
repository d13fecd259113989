"""What weights that are as good as -1, 0 or 1 make of very small and very large inputs, in every precision."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nalu_jax import functional as F


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def column(*numbers):
    return np.array(numbers)[:, None]


# Weights of two inputs and an output that are as good as -1, 0 or 1, and a gate that is open or closed.
NAC_1_0, NAC_1_1 = (column(20.0, 0.0), column(20.0, 20.0)), (column(20.0, 20.0), column(20.0, 20.0))
ADDS, MULTIPLIES = np.array([200.0]), np.array([-200.0])
NO_MASS = (column(0.0, 0.0), np.array([20.0]), np.array([0.0]))
PLANTED = {
    "nmu": (F.nmu, column(1.0, 0.0)),
    "nmu of both": (F.nmu, column(1.0, 1.0)),
    "snmu": (F.snmu, column(1.0, 0.0), column(2.0, 3.0)),
    "gated_nau_nmu": (F.gated_nau_nmu, column(1.0, 0.0), column(1.0, 0.0), column(0.0, 0.0)),
    "nau": (F.nau, column(1.0, -1.0)),
    "nac": (F.nac, *NAC_1_0),
    "nac_mul": (F.nac_mul, *NAC_1_0),
    "nac_mul of both": (F.nac_mul, *NAC_1_1),
    "nac_mul_sigma": (F.nac_mul_sigma, column(20.0, -100.0)),
    "nac_mul_nmu": (F.nac_mul_nmu, column(1.0, 0.0)),
    "nalu adding": (F.nalu, *NAC_1_0, column(0.0, 0.0), ADDS),
    "nalu multiplying": (F.nalu, *NAC_1_0, column(0.0, 0.0), MULTIPLIES),
    "npu": (F.npu, column(1.0, 0.0), column(0.0, 0.0), np.array([1.0, 0.0])),
    "npu dividing": (F.npu, column(-1.0, 0.0), column(0.0, 0.0), np.array([1.0, 0.0])),
    "real_npu": (F.real_npu, column(1.0, 1.0), np.array([1.0, 1.0])),
    "naive_npu": (F.naive_npu, column(1.0, 0.0), column(0.0, 0.0)),
    "inalu": (F.inalu, *NAC_1_0, *NAC_1_0, MULTIPLIES),
    "nru": (F.nru, column(1.0, 0.0)),
    "nru dividing": (F.nru, column(-1.0, 0.0)),
    "nru in training": (partial(F.nru, training=True), column(1.0, 0.0)),
    "nmru": (F.nmru, column(1.0, 0.0, 0.0, 0.0)),
    "nmru dividing": (F.nmru, column(0.0, 0.0, 1.0, 0.0)),
    "nmru in training": (partial(F.nmru, training=True), column(0.0, 0.0, 1.0, 0.0)),
    "nmru without sign": (partial(F.nmru, sign=False), column(0.0, 0.0, 1.0, 0.0)),
    "mc_fc": (F.mc_fc, *NO_MASS),
    "mc_fc_mul_sign_inalu": (F.mc_fc_mul_sign_inalu, *NO_MASS, np.array([0.0])),
    "mc_fc_mul_sign_real_npu": (F.mc_fc_mul_sign_real_npu, *NO_MASS, np.array([0.0]), np.array([1.0, 1.0])),
    "nsr": (F.nsr, column(200.0, 0.0), column(0.0, 200.0), np.array([1.0]), np.array([1.0]), np.array([0.0])),
    "dmu adding": (F.dmu, column(1.0, 0.0), column(1.0)),
    "dmu multiplying": (F.dmu, column(1.0, 0.0), column(0.0)),
}


@pytest.mark.parametrize(
    "dtype",
    [jnp.float32, *(pytest.param(half, marks=pytest.mark.slow) for half in (jnp.bfloat16, jnp.float16))],
    ids=lambda dtype: dtype.__name__,
)
@pytest.mark.parametrize("name", PLANTED)
def test_planted_weights_lose_no_digits_of_small_and_large_inputs(name, dtype, float64):
    formula, *parameters = PLANTED[name]
    limits = jnp.finfo(dtype)
    tiny, largest = max(float(limits.tiny), 1e-30), min(float(limits.max), 1e30)
    sizes = np.geomspace(tiny, 0.1 * largest, 61)
    first = np.concatenate([sizes, -sizes])
    arguments = [jnp.asarray(value, dtype) for value in (np.stack([first, np.full_like(first, 3.0)]), *parameters)]
    found = np.asarray(jax.jit(formula)(*arguments), np.float64)
    exact = np.asarray(jax.jit(formula)(*(argument.astype(jnp.float64) for argument in arguments)))
    inside = (np.abs(exact) >= float(limits.tiny)) & (np.abs(exact) <= float(limits.max))
    # The rounding of a logarithm is one of the power relative to it; half precision takes powers in float32.
    of_powers = np.abs(np.log(np.abs(first))) if dtype is jnp.float32 else 0.0
    errors = np.abs(found - exact) / np.abs(exact) / float(limits.eps)
    assert inside.mean() > 0.4 and (errors[inside] <= (6 + np.broadcast_to(of_powers, exact.shape)[inside])).all(), (
        errors.max()
    )


@pytest.mark.parametrize("small", [1e-3, 1e-6, 1e-8, 1e-30])
def test_a_product_of_a_small_number_is_exact(small):
    x = jnp.array([small, 3.0])
    assert F.nmu(x, jnp.ones((2, 1))) == x[0] * x[1]
    assert F.nmu(x, jnp.array([[1.0], [0.0]])) == x[0]
