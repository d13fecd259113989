"""The formulas of the neural arithmetic units, as pure functions of plain arrays.

Everything here is written on **columns**, as the papers write it: ``x`` is ``[in]`` for one example or ``[in, batch]`` for
many (any number of trailing axes), a weight matrix is ``[in, out]``, and the result is ``[out]`` or ``[out, batch]``. The
input comes first, then the parameters under their paper names, then static options by keyword. Nothing here owns a
parameter, and nothing imports Flax. All functions keep the precision of their inputs, float64 included.

Sources: Trask et al. 2018, "Neural Arithmetic Logic Units", arXiv 1808.00508, section 3.
"""

from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array

# Up to this many outputs a product is written as one matrix-vector product an output.
FEW_OUTPUTS = 8


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


def log_space(x: Array, w: Array, *, epsilon: float) -> Array:
    """Linear map in log space: exp(W log(|x| + ε)); it multiplies, divides and takes powers of magnitudes.

    Shapes: x ``[in, ...]``, w ``[in, out]`` → ``[out, ...]``. ε keeps the logarithm of a zero input finite; it bites only
    on inputs that are not large beside it. Trask et al. 2018, section 3.2.
    """
    # x · sign(x) is |x| with the derivative 0 at 0; jnp.abs has 1 there (jax 0.10), which 1 / ε then makes enormous.
    return jnp.exp(linear(jnp.log(x * jnp.sign(x) + epsilon), w))


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
    if bias is not None:
        logits = logits + bias.reshape(bias.shape + (1,) * (logits.ndim - 1))
    return jax.nn.sigmoid(logits)


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


def sparsity_error(weights: Any) -> Array:
    """How far effective weights are from {-1, 0, 1}: max over all matrices and entries of min(|W|, |1 - |W||), f32[].

    Madsen & Johansen 2020 (arXiv 2001.05016), section 4.2. 0 is a discrete solution; values above 0.5 are possible only
    for weights beyond 1.5 in size.
    """
    sizes = [jnp.abs(w) for w in jax.tree.leaves(weights)]
    return jnp.max(jnp.stack([jnp.max(jnp.minimum(size, jnp.abs(1 - size))) for size in sizes]))
