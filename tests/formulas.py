"""The formulas: of each what it is held against, a naive loop, and which arguments it takes."""

import cmath
import math
import sys
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from nalu_jax import functional as F

EPSILON = 1e-7
MACHINE_EPSILON = 1.1920929e-07


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


def naive_gnalu_weight(w_hat, m_hat):
    phi = (1 + math.sqrt(5)) / 2
    w = np.zeros(w_hat.shape)
    for place in np.ndindex(w.shape):
        power = phi ** (2 * w_hat[place])
        w[place] = (power - 1) / (power + 1) / (1 + phi ** -m_hat[place])  # tanh and σ to the base φ
    return w


def naive_gnalu(x, w_hat, m_hat, g):
    phi, w = (1 + math.sqrt(5)) / 2, naive_gnalu_weight(w_hat, m_hat)
    logits, a, m = naive_linear(x, g), naive_linear(x, w), naive_log_space(x, w)
    y = np.zeros(a.shape)
    for place in np.ndindex(y.shape):
        gate = 1 / (1 + phi ** -logits[place])
        y[place] = gate * a[place] + (1 - gate) * m[place]
    return y


def naive_nac_mul_sigma(x, w_hat):
    return naive_log_space(x, np.array([[1 / (1 + math.exp(-value)) for value in row] for row in w_hat]))


def naive_product(factor, x, w):
    """Π_i factor(x_i, w_io), for each output and example."""
    y = np.ones((w.shape[1], x.shape[1]))
    for o, example, i in np.ndindex(w.shape[1], x.shape[1], x.shape[0]):
        y[o, example] *= factor(x[i, example], w[i, o])
    return y


def naive_nmu(x, w):
    return naive_product(lambda x, w: w * x + 1 - w, x, w)


def naive_snmu(x, w, noise):
    y = naive_nmu(x, w)
    for o, example in np.ndindex(y.shape):
        y[o, example] = 1
        for i in range(len(x)):
            n = noise[i, example]
            y[o, example] *= (w[i, o] * n * x[i, example] + 1 - w[i, o]) / (w[i, o] * n + 1 - w[i, o])
    return y


def naive_gated_nau_nmu(x, w_add, w_mul, g):
    gate, a, m = naive_gate(x, g), naive_linear(x, w_add), naive_nmu(x, w_mul)
    return np.array([[gate[p] * a[p] + (1 - gate[p]) * m[p] for p in row] for row in places(a)])


def places(y):
    return [[(o, example) for example in range(y.shape[1])] for o in range(y.shape[0])]


def naive_npu(x, w_real, w_imag, g):
    y = np.zeros((w_real.shape[1], x.shape[1]))
    for o, example in np.ndindex(y.shape):
        z = 0j  # the logarithm of the complex product
        for i in range(len(x)):
            gate = min(max(g[i], 0), 1)
            r = gate * (abs(x[i, example]) + MACHINE_EPSILON) + (1 - gate)
            k = math.pi * gate if x[i, example] < 0 else 0
            z += complex(w_real[i, o], w_imag[i, o]) * complex(math.log(r), k)
        y[o, example] = cmath.exp(z).real
    return y


def naive_real_npu(x, w_real, g):
    return naive_npu(x, w_real, np.zeros(w_real.shape), g)


def naive_naive_npu(x, w_real, w_imag):
    return naive_npu(x, w_real, w_imag, np.ones(len(x)))


def sign(number):
    return math.copysign(1, number) if number else 0


def naive_sign_product(x, w):
    return naive_product(lambda x, w: sign(x) * abs(w) + 1 - abs(w), x, w)


def naive_inalu(x, w_hat_add, m_hat_add, w_hat_mul, m_hat_mul, g, omega=20.0):
    a, w = naive_nac(x, w_hat_add, m_hat_add), naive_nac_weight(w_hat_mul, m_hat_mul)
    s, y = naive_sign_product(x, w), np.zeros(a.shape)
    for o, example in np.ndindex(y.shape):
        log = sum(w[i, o] * math.log(max(abs(x[i, example]), EPSILON)) for i in range(len(x)))
        gate = 1 / (1 + math.exp(-g[o]))
        y[o, example] = gate * a[o, example] + (1 - gate) * math.exp(min(log, omega)) * s[o, example]
    return y


def naive_nru(x, w, training=False):
    def factor(x, w):
        h = math.tanh(1000 * w) ** 2 if training else abs(w)
        return (sign(x) * abs(x) ** w * h if x else 0) + 1 - h

    return naive_product(factor, x, w)


def naive_nmru(x, w, training=False, sign=True):
    if training:
        reciprocal = 1 / (x + MACHINE_EPSILON)
    else:
        reciprocal = np.array([[1 / (value or MACHINE_EPSILON) for value in row] for row in x])
    z = np.concatenate([x, reciprocal])
    if not sign:
        return naive_nmu(z, w)
    y = naive_nmu(abs(z), w)
    for o, example in np.ndindex(y.shape):
        y[o, example] *= math.cos(sum(w[i, o] * math.pi for i in range(len(z)) if z[i, example] < 0))
    return y


def naive_softmax(row):
    return [math.exp(value) / sum(math.exp(other) for other in row) for value in row]


def naive_junction(r):
    return np.array([naive_softmax(row) for row in r])  # over the outputs


def naive_mc_fc(x, r, w, b):
    y = naive_linear(x, naive_junction(r))
    for o, example in np.ndindex(y.shape):
        y[o, example] /= 1 + math.exp(-w[o] - b[o])
    return y


def naive_mc_fc_mul(x, r, w, b, bias):
    log = np.array([[math.log(value or sys.float_info.min) for value in row] for row in x])
    y = naive_mc_fc(log, r, w, b)
    return np.array([[math.exp(value + bias[o]) for value in row] for o, row in enumerate(y)])


def naive_mc_fc_mul_sign_inalu(x, r, w, b, bias):
    return naive_mc_fc_mul(abs(x), r, w, b, bias) * naive_sign_product(x, naive_junction(r))


def naive_mc_fc_mul_sign_real_npu(x, r, w, b, bias, g):
    y, junction = naive_mc_fc_mul(abs(x), r, w, b, bias), naive_junction(r)
    for o, example in np.ndindex(y.shape):
        negative = [i for i in range(len(x)) if x[i, example] < 0]
        y[o, example] *= math.cos(sum(math.pi * min(max(g[i], 0), 1) * junction[i, o] for i in negative))
    return y


def naive_nsr(x, v_left, v_right, w_sign, w_zero, b, scale=1.0):
    left, right = (naive_linear(x, np.transpose([naive_softmax(column) for column in v.T])) for v in (v_left, v_right))
    y = np.zeros(left.shape)
    for o, example in np.ndindex(y.shape):
        difference = math.tanh(scale * (left[o, example] - right[o, example]))
        logit = b[o] + difference * w_sign[o] + (1 - 2 * difference**2) * w_zero[o]
        y[o, example] = 1 / (1 + math.exp(-logit))
    return y


def naive_dmu(x, o, g):
    y = np.zeros(g.shape)
    for out, example in np.ndindex(y.shape):
        column, signs, gate = x[:, example], o[:, out], g[out, example]
        added = sum(signs * column)
        log = sum(s * math.log(abs(value) or sys.float_info.min) for s, value in zip(signs, column, strict=True))
        magnitude = gate * math.sqrt(added**2 + 1e-8) + (1 - gate) * math.exp(min(max(log, -80), 80))
        turns = sum(abs(s) for s, value in zip(signs, column, strict=True) if value < 0)
        y[out, example] = magnitude * (gate * math.tanh(added / 1e-4) + (1 - gate) * math.cos(math.pi * turns))
    return y


def naive_penalty(distance):
    return lambda w: sum(distance(value) for value in w.flat) / w.size


def naive_rz(unused, neutral):
    """R_z, entry by entry; ``unused`` says how far a weight leaves its input out."""

    def penalty(x, w):
        total = 0.0
        for i, o in np.ndindex(w.shape):
            total += unused(w[i, o]) * (neutral - sum(x[i]) / len(x[i])) ** 2
        return total / w.size

    return penalty


class Formula(NamedTuple):
    """Ours, the naive one, and the arguments: matrices [in, out], but for x, [in, batch], and what ``of`` says."""

    ours: Callable
    naive: Callable
    arguments: tuple[str, ...]
    of: dict[str, Callable] = {}  # argument → its values, of (rng, inputs, outputs, batch)


def an_output(rng, inputs, outputs, batch):
    """A number an output."""
    return rng.normal(size=outputs)


def an_input(rng, inputs, outputs, batch):
    """A number an input: some below 0, some between 0 and 1, and some above."""
    return np.linspace(-0.3, 1.3, inputs)


def needle(rng, inputs, outputs, batch):
    """Weights around 0, where tanh²(1000 w) is not yet 1."""
    return rng.uniform(-0.002, 0.002, (inputs, outputs))


def in_0_1(rng, inputs, outputs, batch):
    return rng.uniform(0.05, 0.95, (inputs, outputs))


def noise(rng, inputs, outputs, batch):
    return rng.uniform(1, 5, (inputs, batch))


def doubled(rng, inputs, outputs, batch):
    return rng.uniform(0.05, 0.95, (2 * inputs, outputs))


def shares(rng, inputs, outputs, batch):
    return rng.uniform(0.05, 0.95, (outputs, batch))


def positive(rng, inputs, outputs, batch):
    return rng.uniform(0.3, 3, (inputs, batch))


WEIGHTS = ("w_hat", "m_hat")
TWO_WEIGHTS = ("w_hat_add", "m_hat_add", "w_hat_mul", "m_hat_mul")
MC_FC = ("r", "w", "b")
OF_MC_FC = {"w": an_output, "b": an_output, "bias": an_output}
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
    "gnalu": Formula(F.gnalu, naive_gnalu, ("x", *WEIGHTS, "g")),
    "gnalu_weight": Formula(F.gnalu_weight, naive_gnalu_weight, WEIGHTS),
    "nac_mul_sigma": Formula(F.nac_mul_sigma, naive_nac_mul_sigma, ("x", "w_hat")),
    "nac_mul_nmu": Formula(F.nac_mul_nmu, naive_log_space, ("x", "w")),
    "nau": Formula(F.nau, naive_linear, ("x", "w")),
    "nmu": Formula(F.nmu, naive_nmu, ("x", "w")),
    "snmu": Formula(F.snmu, naive_snmu, ("x", "w", "noise"), {"w": in_0_1, "noise": noise}),
    "gated_nau_nmu": Formula(F.gated_nau_nmu, naive_gated_nau_nmu, ("x", "w_add", "w_mul", "g")),
    "npu": Formula(F.npu, naive_npu, ("x", "w_real", "w_imag", "g"), {"g": an_input}),
    "real_npu": Formula(F.real_npu, naive_real_npu, ("x", "w_real", "g"), {"g": an_input}),
    "naive_npu": Formula(F.naive_npu, naive_naive_npu, ("x", "w_real", "w_imag")),
    "sign_product": Formula(F.sign_product, naive_sign_product, ("x", "w")),
    "inalu": Formula(F.inalu, naive_inalu, ("x", *TWO_WEIGHTS, "g"), {"g": an_output}),
    "inalu capped": Formula(
        partial(F.inalu, omega=0.1), partial(naive_inalu, omega=0.1), ("x", *TWO_WEIGHTS, "g"), {"g": an_output}
    ),
    "nru": Formula(F.nru, naive_nru, ("x", "w")),
    "nru in training": Formula(partial(F.nru, training=True), partial(naive_nru, training=True), ("x", "w"), {"w": needle}),
    "nmru": Formula(F.nmru, naive_nmru, ("x", "w"), {"w": doubled}),
    "nmru in training": Formula(
        partial(F.nmru, training=True), partial(naive_nmru, training=True), ("x", "w"), {"w": doubled}
    ),
    "nmru without sign": Formula(partial(F.nmru, sign=False), partial(naive_nmru, sign=False), ("x", "w"), {"w": doubled}),
    "mc_fc": Formula(F.mc_fc, naive_mc_fc, ("x", *MC_FC), OF_MC_FC),
    "mc_fc_mul": Formula(F.mc_fc_mul, naive_mc_fc_mul, ("x", *MC_FC, "bias"), {"x": positive, **OF_MC_FC}),
    "mc_fc_mul_sign_inalu": Formula(F.mc_fc_mul_sign_inalu, naive_mc_fc_mul_sign_inalu, ("x", *MC_FC, "bias"), OF_MC_FC),
    "mc_fc_mul_sign_real_npu": Formula(
        F.mc_fc_mul_sign_real_npu, naive_mc_fc_mul_sign_real_npu, ("x", *MC_FC, "bias", "g"), {"g": an_input, **OF_MC_FC}
    ),
    "nsr": Formula(
        partial(F.nsr, scale=0.7),
        partial(naive_nsr, scale=0.7),
        ("x", "v_left", "v_right", "w_sign", "w_zero", "b"),
        {"w_sign": an_output, "w_zero": an_output, "b": an_output},
    ),
    "dmu": Formula(F.dmu, naive_dmu, ("x", "o", "g"), {"g": shares}),
    "nau_sparsity": Formula(F.nau_sparsity, naive_penalty(lambda w: min(abs(w), abs(1 - abs(w)))), ("w",)),
    "nmu_sparsity": Formula(F.nmu_sparsity, naive_penalty(lambda w: min(abs(w), abs(1 - w))), ("w",)),
    "r_z_sum": Formula(F.r_z_sum, naive_rz(lambda w: 1 - abs(w), 0), ("x", "w")),
    "r_z_product": Formula(F.r_z_product, naive_rz(lambda w: 1 - w, 1), ("x", "w")),
}


def draw(formula, *, outputs=2, inputs=3, batch=4):
    """Float64 arguments by name; no input is nearer to 0 than 0.3, where |x| has its kink.

    The default shapes are those of golden cases, so that the tests of this file share what is compiled.
    """
    rng = np.random.RandomState(0)
    shapes = {"x": (inputs, batch), "bias": (outputs,)}
    values = {name: rng.normal(size=shapes.get(name, (inputs, outputs))) for name in formula.arguments}
    if "x" in values:
        values["x"] += 0.3 * np.sign(values["x"])
    return values | {
        name: values_of(rng, inputs, outputs, batch) for name, values_of in formula.of.items() if name in values
    }
