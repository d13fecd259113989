"""Cells of the program tasks: an LSTM that configures a NALU at every step, and the UGRNN."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from nalu_jax import functional as F
from nalu_jax.networks.cells import LECUN_NORMAL, CellFields, flax_cell, refuse_readout
from nalu_jax.registry import CELLS
from nalu_jax.types import Array
from nalu_jax.units.base import Unit


def configured_step(x: Array, w_hat: Array, m_hat: Array, g_hat: Array, *, epsilon: float = 1e-7) -> Array:
    """A NALU with weights of its own for each example: y = g ⊙ W x + (1 - g) ⊙ exp(W log(|x| + ε)).

    W = tanh(Ŵ) ⊙ σ(M̂) as in ``functional.nalu``, but g = σ(Ĝ), which does not read x: the configuring network has. Shapes:
    x ``[in, ...]``, w_hat, m_hat ``[in, out, ...]``, g_hat ``[out, ...]`` → ``[out, ...]``. Trask et al. 2018, section 4.4.
    """
    w, g = F.nac_weight(w_hat, m_hat), jax.nn.sigmoid(g_hat)
    add = jnp.sum(w * x[:, None], axis=0)
    multiply = jnp.exp(jnp.sum(w * jnp.log(F.magnitude(x) + epsilon)[:, None], axis=0))
    return g * add + (1 - g) * multiply


def hard_sign(x: Array) -> Array:
    """sign(x), elementwise, with the derivative of x / (1 + |x|), a straight-through estimator.

    That of tanh is below 1e-3 from |x| = 4 on.
    """
    soft = x / (1 + jnp.abs(x))
    return soft + jax.lax.stop_gradient(jnp.sign(x) - soft)


class ConfiguredNALU(nn.Module):
    """An LSTM that sets the weights of a NALU at every step; the NALU computes on registers r, of which r_0 = 0.

    h_t = LSTM(what it sees); Ŵ_t, M̂_t, Ĝ_t = linear(h_t); r_t = NALU_t([v_t; r_{t-1}]), where v_t is the last number of
    z_t, the value, and the others are the kind of the token. The output is the first register. Trask et al. 2018, section
    4.4 and appendix E, which say neither how many registers there are nor what the LSTM sees.

    What can be computed exactly whatever the number of digits, with W in {-1, 0, 1} and g = 1: all sums and differences with
    one register, since a controller that sees kinds alone tracks signs through parentheses. A conditional compares b with c
    by the sign of a register b - c, which tanh shows to the controller, while another register holds the number for the case
    that it is true: two registers. At worst every operation must keep two numbers while one within it is evaluated, a and b
    of ``a if b < (...) else d``: programs of n operations take 2 n registers. One that sees kinds alone cannot compare.

    Attributes:
      controller: the LSTM, on rows.
      registers: how many numbers the NALU remembers.
      sees: one of ``cells.SEES``: what of a step the controller reads.
    """

    controller: nn.RNNCellBase
    registers: int
    sees: str

    def setup(self):
        """Makes the linear map from the controller's output to Ŵ, M̂ and Ĝ."""
        self.head = nn.Dense((2 * (1 + self.registers) + 1) * self.registers)

    def initialize_carry(self, z: Array) -> Any:
        """Zeros: z [in, batch] → the carry of the LSTM on rows, and r_0 [registers, batch]."""
        seen = self.seen(z, registers := jnp.zeros((self.registers, *z.shape[1:]), z.dtype))
        return self.controller.initialize_carry(jax.random.key(0), (*z.shape[1:], len(seen))), registers

    def seen(self, z: Array, registers: Array) -> Array:
        """What the controller reads: z_t [in, batch], r_{t-1} [registers, batch] → [n, batch]."""
        kind, value, signs = z[:-1], z[-1:], jnp.tanh(registers)
        more = {
            "kinds": [],
            "signs": [signs],
            "hard_signs": [hard_sign(registers)],
            "values": [value, signs],
            "scaled_values": [value / 100, signs],
        }
        return jnp.concatenate([kind, *more[self.sees]])

    def __call__(self, carry: Any, z: Array) -> tuple[Any, Array]:
        """((LSTM, r_{t-1}), z_t [in, batch]) → ((LSTM, r_t), the first register [1, batch])."""
        state, registers = carry
        state, h = self.controller(state, self.seen(z, registers).T)
        shape, inputs = (1 + self.registers, self.registers, -1), (1 + self.registers) * self.registers
        w_hat, m_hat, g_hat = jnp.split(self.head(h).T, [inputs, 2 * inputs])
        x = jnp.concatenate([z[-1:], registers])
        registers = configured_step(x, w_hat.reshape(shape), m_hat.reshape(shape), g_hat)
        return (state, registers), registers[:1]

    def declare(self, first: Any, z: Array, outputs: Array) -> None:
        """Declares nothing, as its weights differ between steps: first, z [in, time, batch], outputs [1, time, batch]."""


@CELLS.register("configured_nalu")
def configured_nalu(make_unit: Callable[[int], Unit], fields: CellFields) -> ConfiguredNALU:
    """An LSTM of ``hidden_size`` that configures a NALU of ``registers``; it has no readout of its own."""
    del make_unit
    refuse_readout("configured_nalu", fields)
    controller = nn.OptimizedLSTMCell(fields.hidden_size, recurrent_kernel_init=LECUN_NORMAL)
    return ConfiguredNALU(controller, fields.registers, fields.sees)


class UGRNNCell(nn.RNNCellBase):
    """Update gate RNN on rows: c = tanh(W_c [x, h]), g = σ(W_g [x, h] + 1), h' = g ⊙ h + (1 - g) ⊙ c.

    Collins, Sohl-Dickstein & Sussillo 2016, arXiv 1611.09913; the 1 is TensorFlow's, so that much is kept at the start.
    """

    features: int
    kernel_init: Any = nn.initializers.lecun_normal()
    recurrent_kernel_init: Any = nn.initializers.lecun_normal()
    bias_init: Any = nn.initializers.zeros_init()

    @nn.compact
    def __call__(self, h: Array, x: Array) -> tuple[Array, Array]:
        """(h [batch, features], x [batch, in]) → (h', h')."""
        of_input = nn.Dense(2 * self.features, kernel_init=self.kernel_init, bias_init=self.bias_init, name="input")
        of_state = nn.Dense(2 * self.features, kernel_init=self.recurrent_kernel_init, use_bias=False, name="state")
        c, g = jnp.split(of_input(x) + of_state(h), 2, axis=-1)
        g = nn.sigmoid(g + 1)
        h = g * h + (1 - g) * nn.tanh(c)
        return h, h

    def initialize_carry(self, rng: Array, input_shape: tuple[int, ...]) -> Array:
        """Zeros: the shape of an input [batch, in] → [batch, features]."""
        del rng
        return jnp.zeros((*input_shape[:-1], self.features))

    @property
    def num_feature_axes(self) -> int:
        """The axes of an input that are not of the batch."""
        return 1


CELLS.register("ugrnn")(functools.partial(flax_cell, UGRNNCell))
