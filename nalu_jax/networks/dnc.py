"""The differentiable neural computer: an LSTM with a memory that it writes to and reads from.

Graves et al. 2016, "Hybrid computing using a neural network with dynamic external memory", Nature 538, methods. The memory
has N slots of W numbers, one write head and R read heads. Functions are of one example.
"""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from nalu_jax.networks.cells import LECUN_NORMAL, flax_cell
from nalu_jax.registry import CELLS
from nalu_jax.types import Array

EPSILON = 1e-6  # of lengths, of which no memory has one at the start


class Memory(NamedTuple):
    """What is in the memory and where the heads are.

    Attributes:
      slots: M, f32[N, W].
      usage: u, f32[N], how much each slot holds that may not be overwritten.
      precedence: p, f32[N], how much each slot was the last one written to.
      link: L, f32[N, N], how much slot i was written to right after slot j.
      write: w^w, f32[N], where the write head is.
      read: w^r, f32[R, N], where the read heads are.
    """

    slots: Array
    usage: Array
    precedence: Array
    link: Array
    write: Array
    read: Array


class Interface(NamedTuple):
    """What the controller asks of the memory in a step, after the squashing functions of the paper.

    Attributes:
      read_keys, read_strengths: k^r f32[R, W] and β^r f32[R] ≥ 1, what to read.
      write_key, write_strength: k^w f32[W] and β^w ≥ 1, over what to write.
      erase, write: e f32[W] in [0, 1] and v f32[W].
      free: f, f32[R] in [0, 1], whether what was read may be overwritten.
      allocate, gate: g^a and g^w in [0, 1], whether to write to a free slot, and whether at all.
      modes: π, f32[R, 3], of each head the shares of what was written before, of the key, and of what was written after.
    """

    read_keys: Array
    read_strengths: Array
    write_key: Array
    write_strength: Array
    erase: Array
    write: Array
    free: Array
    allocate: Array
    gate: Array
    modes: Array


def addressed(slots: Array, key: Array, strength: Array) -> Array:
    """softmax(β cos(M, k)): slots [N, W], key [W], strength [] → [N]."""
    lengths = jnp.sqrt(jnp.sum(slots**2, axis=1) + EPSILON) * jnp.sqrt(jnp.sum(key**2) + EPSILON)
    return jax.nn.softmax(strength * (slots @ key) / lengths)


def allocation(usage: Array) -> Array:
    """a_i = (1 - u_i) Π_j u_j over the slots j that are used less than i, of equal ones the former: [N] → [N].

    As in the paper, which sorts: φ ordered by usage, a[φ_j] = (1 - u[φ_j]) Π_{i<j} u[φ_i]. A free slot gets all.
    """
    others, own = usage[None, :], usage[:, None]
    less = (others < own) | ((others == own) & jnp.tri(len(usage), k=-1, dtype=bool))
    return (1 - usage) * jnp.prod(jnp.where(less, others, 1), axis=1)


def remembered(memory: Memory, asked: Interface) -> tuple[Memory, Array]:
    """Writes, then reads: the memory after the step, and what the heads have read, f32[R, W]."""
    kept = jnp.prod(1 - asked.free[:, None] * memory.read, axis=0)
    usage = (memory.usage + memory.write - memory.usage * memory.write) * kept
    over = addressed(memory.slots, asked.write_key, asked.write_strength)
    write = asked.gate * (asked.allocate * allocation(usage) + (1 - asked.allocate) * over)

    slots = memory.slots * (1 - jnp.outer(write, asked.erase)) + jnp.outer(write, asked.write)
    link = (1 - write[:, None] - write[None, :]) * memory.link + jnp.outer(write, memory.precedence)
    link = link * (1 - jnp.eye(len(usage), dtype=link.dtype))
    precedence = (1 - jnp.sum(write)) * memory.precedence + write

    backward, forward = memory.read @ link, memory.read @ link.T
    by_key = jax.vmap(addressed, in_axes=(None, 0, 0))(slots, asked.read_keys, asked.read_strengths)
    before, here, after = asked.modes.T[:, :, None]
    read = before * backward + here * by_key + after * forward
    return Memory(slots, usage, precedence, link, write, read), read @ slots


def interface(numbers: Array, heads: int, width: int) -> Interface:
    """The interface from as many numbers as it has, [(R W) + 3 W + 5 R + 3] → Interface."""
    sizes = (heads * width, heads, width, 1, width, width, heads, 1, 1, 3 * heads)
    places = [sum(sizes[:i]) for i in range(1, len(sizes))]
    keys, strengths, key, strength, erase, write, free, allocate, gate, modes = jnp.split(numbers, places)
    return Interface(
        read_keys=keys.reshape(heads, width),
        read_strengths=1 + nn.softplus(strengths),
        write_key=key,
        write_strength=1 + nn.softplus(strength[0]),
        erase=nn.sigmoid(erase),
        write=write,
        free=nn.sigmoid(free),
        allocate=nn.sigmoid(allocate[0]),
        gate=nn.sigmoid(gate[0]),
        modes=nn.softmax(modes.reshape(heads, 3)),
    )


class DNCCell(nn.RNNCellBase):
    """A differentiable neural computer on rows: h = LSTM([x; r_{t-1}]), r_t by what h asks of the memory, y = W [h; r_t].

    Attributes:
      features: of the LSTM and of the outputs.
      slots, width, heads: N, W and R; as in DeepMind's own code, 16, 16 and 4, unless others are given.
    """

    features: int
    slots: int = 16
    width: int = 16
    heads: int = 4
    kernel_init: Any = LECUN_NORMAL
    recurrent_kernel_init: Any = LECUN_NORMAL
    bias_init: Any = nn.initializers.zeros_init()

    def setup(self):
        """Makes the LSTM and the two linear maps from it."""
        inits = {"kernel_init": self.kernel_init, "bias_init": self.bias_init}
        self.controller = nn.OptimizedLSTMCell(self.features, recurrent_kernel_init=self.recurrent_kernel_init, **inits)
        numbers = (self.heads + 3) * self.width + 5 * self.heads + 3
        self.asks, self.answers = nn.Dense(numbers, **inits), nn.Dense(self.features, **inits)

    def __call__(self, carry: Any, x: Array) -> tuple[Any, Array]:
        """((LSTM, memory, r [batch, R W]), x [batch, in]) → ((LSTM, memory, r), y [batch, features])."""
        state, memory, read = carry
        state, h = self.controller(state, jnp.concatenate([x, read], axis=-1))
        asked = jax.vmap(functools.partial(interface, heads=self.heads, width=self.width))(self.asks(h))
        memory, read = jax.vmap(remembered)(memory, asked)
        read = read.reshape(len(x), -1)
        return (state, memory, read), self.answers(jnp.concatenate([h, read], axis=-1))

    def initialize_carry(self, rng: Array, input_shape: tuple[int, ...]) -> Any:
        """Zeros, the memory empty: the shape of an input [batch, in] → (LSTM, memory, r [batch, R W])."""
        del rng
        n, batch = self.slots, input_shape[:-1]
        shapes = ((n, self.width), (n,), (n,), (n, n), (n,), (self.heads, n))
        memory = Memory(*(jnp.zeros((*batch, *shape)) for shape in shapes))
        zeros = jnp.zeros((*batch, self.features))
        return (zeros, zeros), memory, jnp.zeros((*batch, self.heads * self.width))

    @property
    def num_feature_axes(self) -> int:
        """The axes of an input that are not of the batch."""
        return 1


CELLS.register("dnc")(functools.partial(flax_cell, DNCCell))
