"""The formulas of the neural arithmetic units, as pure functions of plain arrays.

Everything here is written on **columns**, as the papers write it: ``x`` is ``[in]`` for one example or ``[in, batch]`` for
many (any number of trailing axes), a weight matrix is ``[in, out]``, and the result is ``[out]`` or ``[out, batch]``. The
input comes first, then the parameters under their paper names, then static options by keyword. Nothing here owns a
parameter, and nothing imports Flax. All functions keep the precision of their inputs, float64 included.

Each formula names its paper. Most come from Trask et al. 2018, "Neural Arithmetic Logic Units", arXiv 1808.00508, and
Madsen & Johansen 2020, "Neural Arithmetic Units", arXiv 2001.05016.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array

# Up to FEW_OUTPUTS outputs a product is written as one matrix-vector product an output (docs/performance.md, panel c), and
# up to FEW_FACTORS factors are multiplied one by one.
FEW_OUTPUTS = 5
FEW_FACTORS = 8


def in_float32(formula: Callable[..., Array]) -> Callable[..., Array]:
    """A formula of powers or logarithms that takes half-precision numbers to float32, and its result back.

    The logarithm of 1e30 in bfloat16 is off by 1/4, and the power by a quarter of itself.
    """

    def widen(argument: Any) -> Any:
        return argument.astype(jnp.float32) if hasattr(argument, "dtype") else argument

    @functools.wraps(formula)
    def widened(*arguments: Any, **options: Any) -> Array:
        everything = (arguments, options)
        dtype = jnp.result_type(*(leaf for leaf in jax.tree.leaves(everything) if hasattr(leaf, "dtype")))
        if dtype.itemsize >= 4:
            return formula(*arguments, **options)
        arguments, options = jax.tree.map(widen, everything)
        return formula(*arguments, **options).astype(dtype)

    return widened


def linear(x: Array, w: Array) -> Array:
    """Linear map a = W x.

    Shapes: x ``[in, ...]``, w ``[in, out]`` → ``[out, ...]``. With few outputs, which is what neural arithmetic mostly has,
    each output is a matrix-vector product of its own: XLA's CPU backend turns those into plain vectorised loops, where the
    matrix product would first pack the whole input for the sake of two rows.

    Products are taken in full float32 on every backend: TF32 or bfloat16 passes err by more than the thresholds that
    decide whether a task counts as solved.
    """
    if w.shape[1] > FEW_OUTPUTS:
        return jnp.tensordot(w, x, axes=(0, 0), precision=jax.lax.Precision.HIGHEST)
    rows = [jnp.tensordot(w[:, o], x, axes=1, precision=jax.lax.Precision.HIGHEST) for o in range(w.shape[1])]
    return jnp.stack(rows)


@jax.custom_jvp
def magnitude(x: Array) -> Array:
    """|x|, elementwise, with the derivative 0 at 0, as in PyTorch; that of ``jnp.abs`` is 1 there (jax 0.10).

    It matters where a weight starts at 0 and should stay there unless the task moves it, and in log(|x| + ε), whose
    derivative at 0 would be 1 / ε.
    """
    return jnp.abs(x)


@magnitude.defjvp
def _magnitude_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    return jnp.abs(x), jnp.sign(x) * dx


def clip_gate(g: Array) -> Array:
    """g clipped to [0, 1], elementwise, with the derivative 1 inside and at the bounds, as in PyTorch, and 0 outside."""
    return jnp.where((g >= 0) & (g <= 1), g, jnp.clip(g, 0, 1))


def expand_like(vector: Array, x: Array) -> Array:
    """A vector with trailing axes of length 1, to be broadcast against x ``[n, ...]``: [n] → [n, 1, ...]."""
    return vector.reshape(vector.shape + (1,) * (x.ndim - vector.ndim))


def product(factors: Array) -> Array:
    """Π over the first axis: [n, ...] → [...]. Its gradient is exact where factors are 0."""
    if len(factors) > FEW_FACTORS:
        return jnp.prod(factors, axis=0)
    return math.prod(factors[1:], start=factors[0])


def product_over_inputs(factors_of: Callable[..., Array], x: Array, *weights: Array) -> Array:
    """y_o = Π_i factor(x_i, w_io): ``factors_of`` gets x and each weight's column o, [in, 1, ...] → y [out, ...]."""

    def output(*columns: Array) -> Array:
        return product(factors_of(x, *(expand_like(column, x) for column in columns)))

    outputs = weights[0].shape[1]
    if outputs > FEW_OUTPUTS:
        return jax.vmap(output, in_axes=1)(*weights)
    return jnp.stack([output(*(w[:, o] for w in weights)) for o in range(outputs)])


def nac_weight(w_hat: Array, m_hat: Array) -> Array:
    """Effective weight of the NAC: W = tanh(Ŵ) ⊙ σ(M̂), drawn towards -1, 0 and 1.

    Shapes: w_hat, m_hat ``[in, out]`` → ``[in, out]``. Trask et al. 2018, section 3.1.
    """
    return jnp.tanh(w_hat) * jax.nn.sigmoid(m_hat)


def nac(x: Array, w_hat: Array, m_hat: Array) -> Array:
    """Neural accumulator (NAC, also NAC+): a = W x with W = tanh(Ŵ) ⊙ σ(M̂); it adds and subtracts.

    Shapes: x ``[in, ...]``, w_hat, m_hat ``[in, out]`` → ``[out, ...]``. Trask et al. 2018, section 3.1.
    """
    return linear(x, nac_weight(w_hat, m_hat))


@in_float32
def log_space(x: Array, w: Array, *, epsilon: float) -> Array:
    """Linear map in log space: exp(W log(|x| + ε)); it multiplies, divides and takes powers of magnitudes.

    Shapes: x ``[in, ...]``, w ``[in, out]`` → ``[out, ...]``. ε keeps the logarithm of a zero input finite; it is
    negligible unless |x| is comparable to it. Trask et al. 2018, section 3.2.
    """
    return jnp.exp(linear(jnp.log(magnitude(x) + epsilon), w))


def nac_mul(x: Array, w_hat: Array, m_hat: Array, *, epsilon: float = 1e-7) -> Array:
    """NAC in log space (NAC•): m = exp(W log(|x| + ε)) with W = tanh(Ŵ) ⊙ σ(M̂); it multiplies and divides.

    Shapes: x ``[in, ...]``, w_hat, m_hat ``[in, out]`` → ``[out, ...]``. The sign of x is lost. Trask et al. 2018, section
    3.2; named NAC• by Madsen & Johansen 2020 (arXiv 2001.05016).
    """
    return log_space(x, nac_weight(w_hat, m_hat), epsilon=epsilon)


def gate(x: Array, g: Array, bias: Array | None = None) -> Array:
    """Gate of the NALU: σ(G x), or σ(G x + bias); near 1 it selects addition, near 0 multiplication.

    Shapes: x ``[in, ...]``, g ``[in, out]``, bias ``[out]`` → ``[out, ...]``. Trask et al. 2018, section 3.2 (no bias).
    """
    logits = linear(x, g)
    return jax.nn.sigmoid(logits if bias is None else logits + expand_like(bias, logits))


def nalu(x: Array, w_hat: Array, m_hat: Array, g: Array, bias: Array | None = None, *, epsilon: float = 1e-7) -> Array:
    """Neural arithmetic logic unit: y = g ⊙ a + (1 - g) ⊙ m, both cells with the same W = tanh(Ŵ) ⊙ σ(M̂).

    a = W x, m = exp(W log(|x| + ε)), g = σ(G x) or σ(G x + bias). Shapes: x ``[in, ...]``, w_hat, m_hat, g ``[in, out]``,
    bias ``[out]`` → ``[out, ...]``. Trask et al. 2018, section 3.2; the weights are tied in the caption of its figure 2.
    The bias is a variant of reimplementations.
    """
    return nalu_separate(x, w_hat, m_hat, w_hat, m_hat, g, bias, epsilon=epsilon)


def nalu_separate(
    x: Array,
    w_hat_add: Array,
    m_hat_add: Array,
    w_hat_mul: Array,
    m_hat_mul: Array,
    g: Array,
    bias: Array | None = None,
    *,
    epsilon: float = 1e-7,
) -> Array:
    """NALU whose adding and multiplying cell have weights of their own.

    y = g ⊙ nac(x, Ŵ₊, M̂₊) + (1 - g) ⊙ nac_mul(x, Ŵₓ, M̂ₓ). Shapes: x ``[in, ...]``, all matrices ``[in, out]``, bias
    ``[out]`` → ``[out, ...]``. A variant studied by Madsen & Johansen 2020 (arXiv 2001.05016, appendix on the gate).
    """
    a = nac(x, w_hat_add, m_hat_add)
    m = nac_mul(x, w_hat_mul, m_hat_mul, epsilon=epsilon)
    select = gate(x, g, bias)
    return select * a + (1 - select) * m


GOLDEN_RATIO = (1 + math.sqrt(5)) / 2


def gnalu(x: Array, w_hat: Array, m_hat: Array, g: Array, *, epsilon: float = 1e-7) -> Array:
    """Golden-ratio NALU (G-NALU): a NALU whose exponentials have the base φ = (1 + √5) / 2 instead of e.

    tanh_φ(z) = tanh(z ln φ) and σ_φ(z) = σ(z ln φ); the power φ^(W log_φ(|x| + ε)) is the NALU's own. So it is the NALU
    with all parameters scaled by ln φ ≈ 0.481, and is computed so: φ^(2z) itself overflows float32 at z = 92.

    Shapes: x ``[in, ...]``, w_hat, m_hat, g ``[in, out]`` → ``[out, ...]``. "CalcNet", ICTAI 2019 (IEEE 8995315).
    """
    scale = math.log(GOLDEN_RATIO)
    return nalu(x, scale * w_hat, scale * m_hat, scale * g, epsilon=epsilon)


def gnalu_weight(w_hat: Array, m_hat: Array) -> Array:
    """Effective weight of the G-NALU: W = tanh_φ(Ŵ) ⊙ σ_φ(M̂). Shapes: w_hat, m_hat ``[in, out]`` → ``[in, out]``."""
    scale = math.log(GOLDEN_RATIO)
    return nac_weight(scale * w_hat, scale * m_hat)


def nac_mul_sigma(x: Array, w_hat: Array, *, epsilon: float = 1e-7) -> Array:
    """NAC• with weights in (0, 1) (NAC•,σ): exp(W log(|x| + ε)) with W = σ(Ŵ); it multiplies.

    Shapes: x ``[in, ...]``, w_hat ``[in, out]`` → ``[out, ...]``. Madsen & Johansen 2020, section 4.1.
    """
    return log_space(x, jax.nn.sigmoid(w_hat), epsilon=epsilon)


def nac_mul_nmu(x: Array, w: Array, *, epsilon: float = 1e-7) -> Array:
    """NAC• with the weights of an NMU (NAC•,NMU): exp(W log(|x| + ε)), W kept in [0, 1] by projection; it multiplies.

    Shapes: x ``[in, ...]``, w ``[in, out]`` → ``[out, ...]``. Madsen & Johansen 2020, section 4.1.
    """
    return log_space(x, w, epsilon=epsilon)


def nau(x: Array, w: Array) -> Array:
    """Neural addition unit (NAU): a = W x, W kept in [-1, 1] by projection; it adds and subtracts.

    Shapes: x ``[in, ...]``, w ``[in, out]`` → ``[out, ...]``. Madsen & Johansen 2020, section 2.2.
    """
    return linear(x, w)


def nmu(x: Array, w: Array) -> Array:
    """Neural multiplication unit (NMU): y_o = Π_i (W_io x_i + 1 - W_io), W kept in [0, 1] by projection.

    An input with weight 0 is a factor 1; negative numbers and zeros are multiplied as they are. Shapes: x ``[in, ...]``,
    w ``[in, out]`` → ``[out, ...]``. Madsen & Johansen 2020, section 2.3.
    """
    # 1 - w comes first: where w is 1, w x + 1 would lose a small x before w is taken off.
    return product_over_inputs(lambda x, w: w * x + (1 - w), x, w)


def snmu(x: Array, w: Array, noise: Array) -> Array:
    """Stochastic NMU (sNMU): Π_i (W_io n_i x_i + 1 - W_io) / Π_i (W_io n_i + 1 - W_io).

    Where W is 0 or 1 the noise cancels and the NMU is left; in between it moves the loss surface. Shapes: x, noise
    ``[in, ...]``, w ``[in, out]`` → ``[out, ...]``. Mistry, Farrahi & Hare 2022, arXiv 2211.05624.
    """
    return nmu(noise * x, w) / nmu(noise, w)


def gated_nau_nmu(x: Array, w_add: Array, w_mul: Array, g: Array) -> Array:
    """Gated NAU/NMU: y = g ⊙ nau(x, W₊) + (1 - g) ⊙ nmu(x, Wₓ), g = σ(G x).

    Shapes: x ``[in, ...]``, all matrices ``[in, out]`` → ``[out, ...]``. Madsen & Johansen 2020, appendix on the gate.
    """
    select = gate(x, g)
    return select * nau(x, w_add) + (1 - select) * nmu(x, w_mul)


MACHINE_EPSILON = 1.1920929e-07


@in_float32
def npu(x: Array, w_real: Array, w_imag: Array, g: Array, *, epsilon: float = MACHINE_EPSILON) -> Array:
    """Neural power unit (NPU): exp(W_re log r - W_im k) ⊙ cos(W_re k + W_im log r); it multiplies, divides, takes powers.

    With the relevance gate ĝ = clip(g, 0, 1): r = ĝ (|x| + ε) + 1 - ĝ, and k = π ĝ where x < 0, else 0. (The paper's
    displayed definition of k has the inequality the other way round; its derivation and code have it so.)

    Shapes: x ``[in, ...]``, w_real, w_imag ``[in, out]``, g ``[in]`` → ``[out, ...]``. Heim, Pevný & Šmídl 2020, arXiv
    2006.01681, section 3.
    """
    log_r, k = relevance_gate(x, g, epsilon)
    return jnp.exp(linear(log_r, w_real) - linear(k, w_imag)) * jnp.cos(linear(k, w_real) + linear(log_r, w_imag))


@in_float32
def real_npu(x: Array, w_real: Array, g: Array, *, epsilon: float = MACHINE_EPSILON) -> Array:
    """Real neural power unit (RealNPU): exp(W log r) ⊙ cos(W k), the NPU without imaginary weights.

    Shapes: x ``[in, ...]``, w_real ``[in, out]``, g ``[in]`` → ``[out, ...]``. Heim, Pevný & Šmídl 2020, section 3.
    """
    log_r, k = relevance_gate(x, g, epsilon)
    return jnp.exp(linear(log_r, w_real)) * jnp.cos(linear(k, w_real))


def naive_npu(x: Array, w_real: Array, w_imag: Array, *, epsilon: float = MACHINE_EPSILON) -> Array:
    """Naive NPU: the NPU without its relevance gate, r = |x| + ε and k = π where x < 0.

    Shapes: x ``[in, ...]``, w_real, w_imag ``[in, out]`` → ``[out, ...]``. Heim, Pevný & Šmídl 2020, section 3.
    """
    return npu(x, w_real, w_imag, jnp.ones_like(w_real[:, 0]), epsilon=epsilon)


def relevance_gate(x: Array, g: Array, epsilon: float) -> tuple[Array, Array]:
    """The NPU's log r and k: what its relevance gate lets through of magnitude and sign.

    Shapes: x ``[in, ...]``, g ``[in]`` → both ``[in, ...]``.
    """
    g = expand_like(clip_gate(g), x)
    return jnp.log(g * (magnitude(x) + epsilon) + (1 - g)), jnp.where(x < 0, math.pi * g, jnp.zeros_like(x))


def sign_product(x: Array, w: Array) -> Array:
    """Sign of a product: Π_i (sign(x_i) |W_io| + 1 - |W_io|), an NMU of the signs.

    Shapes: x ``[in, ...]``, w ``[in, out]`` → ``[out, ...]``. Schlör, Ring & Hotho 2020, arXiv 2003.07629.
    """
    return nmu(jnp.sign(x), magnitude(w))


@in_float32
def inalu(
    x: Array,
    w_hat_add: Array,
    m_hat_add: Array,
    w_hat_mul: Array,
    m_hat_mul: Array,
    g: Array,
    *,
    epsilon: float = 1e-7,
    omega: float = 20.0,
) -> Array:
    """Improved NALU (iNALU): y = σ(g) ⊙ a + (1 - σ(g)) ⊙ m ⊙ s, with a gate that does not depend on the input.

    a = W₊ x; m = exp(min(Wₓ log(max(|x|, ε)), ω)), so that it stays below e^ω; s is ``sign_product`` of x and Wₓ; both W
    are tanh(Ŵ) ⊙ σ(M̂).

    Shapes: x ``[in, ...]``, the four matrices ``[in, out]``, g ``[out]`` → ``[out, ...]``. Schlör, Ring & Hotho 2020, arXiv
    2003.07629, section 3.
    """
    w_mul = nac_weight(w_hat_mul, m_hat_mul)
    a = nac(x, w_hat_add, m_hat_add)
    m = jnp.exp(jnp.minimum(linear(jnp.log(jnp.maximum(magnitude(x), epsilon)), w_mul), omega))
    select = expand_like(jax.nn.sigmoid(g), a)
    return select * a + (1 - select) * m * sign_product(x, w_mul)


@in_float32
def nru(x: Array, w: Array, *, training: bool = False) -> Array:
    """Neural reciprocal unit (NRU): y_o = Π_i (sign(x_i) |x_i|^W_io h(W_io) + 1 - h(W_io)); it multiplies and divides.

    h(W) = |W|, and while training tanh²(1000 W), which is 1 but near 0: the two agree at W = -1, 0 and 1, to which W is
    drawn; it is kept in [-1, 1] by projection. A zero input counts as 0 whatever its power, so that no gradient is lost.

    Shapes: x ``[in, ...]``, w ``[in, out]`` → ``[out, ...]``. Mistry, Farrahi & Hare 2022, arXiv 2110.05177.
    """
    # A base of 1 in place of 0 keeps the logarithm and its gradients finite; its sign, 0, decides.
    log_size = jnp.log(jnp.where(x == 0, jnp.ones_like(x), magnitude(x)))

    def factors(x: Array, w: Array) -> Array:
        h = jnp.square(jnp.tanh(1000 * w)) if training else magnitude(w)
        return jnp.sign(x) * jnp.exp(w * log_size) * h + (1 - h)

    return product_over_inputs(factors, x, w)


def nmru(x: Array, w: Array, *, training: bool = False, sign: bool = True) -> Array:
    """Neural multiplicative reciprocal unit (NMRU): an NMU of [x; 1/x], so that it divides as well.

    With z = [x; 1/x]: y_o = Π_i (W_io |z_i| + 1 - W_io) · cos(Σ_i W_io k_i), k = π where z < 0; without ``sign`` the plain
    Π_i (W_io z_i + 1 - W_io). While training the reciprocal is 1/(x + ε) with float32's machine epsilon. W is kept in
    [0, 1] by projection. A zero input has the reciprocal 1/ε, training or not.

    Shapes: x ``[in, ...]``, w ``[2 in, out]``, first the weights of x, then those of 1/x → ``[out, ...]``. Mistry,
    Farrahi & Hare 2022, arXiv 2110.05177.
    """
    guarded = x + MACHINE_EPSILON if training else jnp.where(x == 0, jnp.full_like(x, MACHINE_EPSILON), x)
    z = jnp.concatenate([x, 1 / guarded])
    if not sign:
        return nmu(z, w)
    return nmu(magnitude(z), w) * jnp.cos(linear(jnp.where(z < 0, jnp.full_like(z, math.pi), jnp.zeros_like(z)), w))


def mc_fc(x: Array, r: Array, w: Array, b: Array) -> Array:
    """Mass-conserving fully connected layer (MC-FC): y = σ(w + b) ⊙ (R x), R = softmax of r over the outputs.

    Each input's mass is shared out among the outputs, and each output lets through a part of what it gets. Shapes: x
    ``[in, ...]``, r ``[in, out]``, w, b ``[out]`` → ``[out, ...]``. Hoedt et al. 2021, arXiv 2101.05186.
    """
    y = linear(x, jax.nn.softmax(r, axis=1))
    return expand_like(jax.nn.sigmoid(w + b), y) * y


@in_float32
def mc_fc_mul(x: Array, r: Array, w: Array, b: Array, bias: Array) -> Array:
    """Multiplying MC-FC: exp(MC-FC(log x) + bias), for positive inputs; NaN for negative ones, as published.

    Shapes: as ``mc_fc``, bias ``[out]``. Hoedt et al. 2021; the form without a surplus output is that of the benchmark of
    Mistry, Farrahi & Hare.
    """
    y = mc_fc(finite_log(x), r, w, b)
    return jnp.exp(y + expand_like(bias, y))


def mc_fc_mul_sign_inalu(x: Array, r: Array, w: Array, b: Array, bias: Array) -> Array:
    """Multiplying MC-FC of |x|, times iNALU's ``sign_product`` of x and R.

    Shapes: as ``mc_fc_mul``. Mistry, Farrahi & Hare.
    """
    return mc_fc_mul(magnitude(x), r, w, b, bias) * sign_product(x, jax.nn.softmax(r, axis=1))


def mc_fc_mul_sign_real_npu(x: Array, r: Array, w: Array, b: Array, bias: Array, g: Array) -> Array:
    """Multiplying MC-FC of |x|, times the RealNPU's sign cos(R k), k = π clip(g, 0, 1) where x < 0.

    Shapes: as ``mc_fc_mul``, g ``[in]``. Mistry, Farrahi & Hare.
    """
    _, k = relevance_gate(x, g, MACHINE_EPSILON)
    return mc_fc_mul(magnitude(x), r, w, b, bias) * jnp.cos(linear(k, jax.nn.softmax(r, axis=1)))


def finite_log(x: Array) -> Array:
    """log x, elementwise, with the smallest normal number in the place of 0, whose logarithm has no gradient."""
    return jnp.log(jnp.where(x == 0, jnp.full_like(x, jnp.finfo(x.dtype).tiny), x))


def nsr(x: Array, v_left: Array, v_right: Array, w_sign: Array, w_zero: Array, b: Array, *, scale: float = 1.0) -> Array:
    """Neural status register (NSR): how far a comparison of two inputs holds, s in (0, 1); 1 - s is its complement.

    softmax over the inputs of v picks the operands l and r; d = l - r; sign = tanh(λ d), zero = 1 - 2 tanh²(λ d);
    s = σ(sign W± + zero W0 + b). So W± = 1 compares l > r, W0 = 1 compares l = r, and so on.

    Shapes: x ``[in, ...]``, v_left, v_right ``[in, out]``, w_sign, w_zero, b ``[out]`` → ``[out, ...]``; an output is one
    of the parallel comparisons ("redundancy"). ``scale`` is λ. Faber & Wattenhofer 2020, arXiv 2004.07085.
    """
    difference = linear(x, jax.nn.softmax(v_left, axis=0) - jax.nn.softmax(v_right, axis=0))
    sign = jnp.tanh(scale * difference)
    zero = 1 - 2 * jnp.square(sign)
    return jax.nn.sigmoid(expand_like(b, sign) + sign * expand_like(w_sign, sign) + zero * expand_like(w_zero, sign))


@in_float32
def dmu(x: Array, o: Array, g: Array) -> Array:
    """Domain mixed unit (DMU): one signed sum of the inputs, taken in the linear domain, in the log domain, or mixed.

    R₊ = O x and Rₓ = O log|x|; y = (g √(R₊² + δ) + (1 - g) exp(Rₓ)) · (g tanh(R₊ / 10⁻⁴) + (1 - g) cos(π |O| [x < 0])),
    δ = 10⁻⁸. With O = (1, 1) it adds or multiplies, with (1, -1) it subtracts or divides. Rₓ is clipped to ± 80, where
    float32 ends.

    Shapes: x ``[in, ...]``, o ``[in, out]``, g ``[out, ...]``, the share of the linear domain → ``[out, ...]``. Curry 2025,
    arXiv 2509.08180.
    """
    linear_sum = linear(x, o)
    magnitude_add = jnp.hypot(linear_sum, 1e-4)  # √(R₊² + δ), which does not overflow
    magnitude_mul = jnp.exp(jnp.clip(linear(finite_log(magnitude(x)), o), -80, 80))
    sign_add = jnp.tanh(linear_sum / 1e-4)
    sign_mul = jnp.cos(math.pi * linear((x < 0).astype(x.dtype), magnitude(o)))
    return (g * magnitude_add + (1 - g) * magnitude_mul) * (g * sign_add + (1 - g) * sign_mul)


def nau_sparsity(w: Array) -> Array:
    """Draws weights towards -1, 0 and 1: the mean of min(|W|, |1 - |W||).

    Shapes: w ``[in, out]`` → f32[]. Madsen & Johansen 2020, section 2.2.
    """
    return jnp.mean(jnp.minimum(magnitude(w), magnitude(1 - magnitude(w))))


def nmu_sparsity(w: Array) -> Array:
    """Draws weights towards 0 and 1: the mean of min(|W|, |1 - W|).

    Shapes: w ``[in, out]`` → f32[]. Madsen & Johansen 2020, section 2.3.
    """
    return jnp.mean(jnp.minimum(magnitude(w), magnitude(1 - w)))


def r_z_sum(x: Array, w: Array) -> Array:
    """R_z of sums, draws the mean of inputs that are left out towards 0: the mean of (1 - |W|) x̄².

    x̄ is the mean of each input over all examples and time steps; gradients reach the inputs as well. Without it a network
    that reads images may output numbers on any scale, and a weight undo the scale. Shapes: x ``[in, ...]``, w ``[in, out]``
    → f32[]. Madsen & Johansen 2020 (arXiv 2001.05016), appendix on sequential MNIST.
    """
    return jnp.mean((1 - magnitude(w)) * jnp.square(over_examples(x)))


def r_z_product(x: Array, w: Array) -> Array:
    """R_z of products, draws the mean of inputs that are left out towards 1: the mean of (1 - W) (1 - x̄)², f32[].

    Shapes and source: as ``r_z_sum``.
    """
    return jnp.mean((1 - w) * jnp.square(1 - over_examples(x)))


def over_examples(x: Array) -> Array:
    """The mean of each input, ``[in, ...]`` → ``[in, 1]``."""
    return jnp.mean(x.reshape(len(x), -1), axis=1, keepdims=True)


def sparsity_error(weights: Any) -> Array:
    """How far effective weights are from {-1, 0, 1}: max over all matrices and entries of min(|W|, |1 - |W||), f32[].

    Shapes: a tree of ``[in, out]``. 0 is a discrete solution; values above 0.5 are possible only for weights beyond 1.5 in
    magnitude. NaN where there are no matrices. Madsen & Johansen 2020 (arXiv 2001.05016), section 4.2.
    """
    sizes = [jnp.abs(w) for w in jax.tree.leaves(weights)]
    if not sizes:
        return jnp.float32(jnp.nan)
    return jnp.max(jnp.stack([jnp.max(jnp.minimum(size, jnp.abs(1 - size))) for size in sizes]))
