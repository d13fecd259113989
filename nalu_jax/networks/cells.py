"""Recurrent cells on columns: (carry, input ``[in, ...]``) → (carry, output ``[out, ...]``), Flax's convention.

Besides ``__call__`` a cell has ``initialize_carry``, and ``declare``, which declares the weights and penalties of its unit
over all time steps at once. A constructor is registered in ``CELLS`` and called with a function that makes the unit of the
config, and with the fields that a config may have for cells.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from nalu_jax.initializers import torch_default
from nalu_jax.registry import CELLS
from nalu_jax.types import Array
from nalu_jax.units.base import Unit, positive

LECUN_NORMAL = nn.initializers.lecun_normal()

# The first state of a unit cell: 0 or 1, or "neutral", which is 1 for units that multiply and cannot add and 0 for all
# others, as published; or "learned", a parameter that starts so.
FIRST_STATES = ("neutral", "zeros", "ones", "learned")

# What the controller of a configured NALU sees at a step: the kind of the token alone; the tanh of the registers as well, or
# their signs -1, 0 and 1; the tanh and the value of the token, or a hundredth of it.
SEES = ("kinds", "signs", "hard_signs", "values", "scaled_values")


@dataclasses.dataclass(frozen=True)
class CellFields:
    """What a config says of a cell; each cell takes what it needs.

    Attributes:
      outputs: numbers that a cell without a readout of its own puts out.
      hidden_size: features of a cell with one.
      readout: a layer on rows behind the cell, at every step; None: its outputs are what it remembers.
      first_state: one of ``FIRST_STATES``.
      registers: numbers that a configured NALU remembers.
      sees: one of ``SEES``.

    Raises ValueError for a name that is not known, and for a number of registers that is not a positive integer.
    """

    outputs: int
    hidden_size: int
    readout: nn.Module | None = None
    first_state: str = "neutral"
    registers: int = 1
    sees: str = "signs"

    def __post_init__(self):
        if self.first_state not in FIRST_STATES:
            raise ValueError(f"first_state must be one of {', '.join(FIRST_STATES)}, got {self.first_state!r}")
        if self.sees not in SEES:
            raise ValueError(f"sees must be one of {', '.join(SEES)}, got {self.sees!r}")
        positive("registers", self.registers)


class UnitCell(nn.Module):
    """A unit that reads its own last output: h_t = U([z_t; h_{t-1}]), h_0 = ``start``, or learned from there.

    Madsen & Johansen 2020, appendix on sequential MNIST. For a sum the weight of h must be 1: over a thousand time steps, 1
    to within 1e-5.
    """

    unit: Unit
    start: float
    learned: bool = False

    def setup(self):
        """Makes the first state a parameter, f32[out], where it is learned."""
        if self.learned:
            self.first = self.param("first", nn.initializers.constant(self.start), (self.unit.features,))

    @property
    def remembered(self) -> int:
        """Number of the unit's inputs, the last ones, that are its own last outputs."""
        return self.unit.features

    def initialize_carry(self, z: Array) -> Array:
        """h_0: z [in, batch] → [out, batch]."""
        shape = (self.unit.features, *z.shape[1:])
        if self.learned:
            return jnp.broadcast_to(self.first.astype(z.dtype).reshape(-1, *[1] * (z.ndim - 1)), shape)
        return jnp.full(shape, self.start, z.dtype)

    def __call__(self, h: Array, z: Array) -> tuple[Array, Array]:
        """(h_{t-1} [out, ...], z_t [in, ...]) → (h_t, h_t)."""
        h = self.unit(jnp.concatenate([z, h]))
        return h, h

    def declare(self, first: Array, z: Array, outputs: Array) -> None:
        """Declares weights and penalties for h_0 [out, batch], z [in, time, batch] and h [out, time, batch]."""
        self(jnp.concatenate([first[:, None], outputs[:, :-1]], axis=1), z)


class Accumulator(nn.Module):
    """A unit whose outputs are added up: h_t = h_{t-1} + U(z_t), h_0 = 0. The sum itself need not be learned."""

    unit: Unit

    def initialize_carry(self, z: Array) -> Array:
        """h_0: z [in, batch] → [out, batch]."""
        return jnp.zeros((self.unit.features, *z.shape[1:]), z.dtype)

    def __call__(self, h: Array, z: Array) -> tuple[Array, Array]:
        """(h_{t-1} [out, ...], z_t [in, ...]) → (h_t, h_t)."""
        h = h + self.unit(z)
        return h, h

    def declare(self, first: Array, z: Array, outputs: Array) -> None:
        """Declares weights and penalties for h_0 [out, batch], z [in, time, batch] and h [out, time, batch]."""
        del first, outputs
        self.unit(z)


class Exact(nn.Module):
    """The exact total: h_t = h_{t-1} + z_t or h_{t-1} · z_t. It has no parameters; only the reader is trained.

    Its test errors are the thresholds of Madsen & Johansen 2020, who call it the solved accumulator.
    """

    product: bool

    def initialize_carry(self, z: Array) -> Array:
        """h_0, which is 0 or 1: z [in, batch] → [in, batch]."""
        return jnp.full(z.shape, float(self.product), z.dtype)

    def __call__(self, h: Array, z: Array) -> tuple[Array, Array]:
        """(h_{t-1} [in, ...], z_t [in, ...]) → (h_t, h_t)."""
        h = h * z if self.product else h + z
        return h, h

    def declare(self, first: Array, z: Array, outputs: Array) -> None:
        """Declares nothing, as the cell has no unit: first, z [in, time, batch], outputs [out, time, batch]."""


class FlaxCell(nn.Module):
    """A cell of Flax, which works on rows, with an optional readout of its outputs."""

    cell: nn.RNNCellBase
    readout: nn.Module | None

    def initialize_carry(self, z: Array) -> Any:
        """Zeros: z [in, batch] → a tree of arrays [batch, features]."""
        return self.cell.initialize_carry(jax.random.key(0), (*z.shape[1:], len(z)))

    def __call__(self, carry: Any, z: Array) -> tuple[Any, Array]:
        """(carry, z_t [in, batch]) → (carry, [out, batch])."""
        carry, hidden = self.cell(carry, jnp.moveaxis(z, 0, -1))
        return carry, jnp.moveaxis(self.readout(hidden) if self.readout else hidden, -1, 0)

    def declare(self, first: Any, z: Array, outputs: Array) -> None:
        """Declares nothing, as the cell has no unit: first, z [in, time, batch], outputs [out, time, batch]."""


class LSTM(FlaxCell):
    """An LSTM, whose carry is (c, h): what it remembers and what it puts out."""

    def memory(self, carry: tuple[Array, Array]) -> Array:
        """The cell state c: a carry of two arrays [batch, features] → [features, batch]."""
        return jnp.moveaxis(carry[0], -1, 0)


@CELLS.register("unit")
def unit_cell(make_unit: Callable[[int], Unit], fields: CellFields) -> UnitCell:
    """h = U([z; h]); it has no readout of its own."""
    refuse_readout("unit", fields)
    unit = make_unit(fields.outputs)
    multiplies = "mul" in unit.operations and "add" not in unit.operations
    start = {"zeros": 0.0, "ones": 1.0}.get(fields.first_state, float(multiplies))
    return UnitCell(unit, start, learned=fields.first_state == "learned")


@CELLS.register("accumulator")
def accumulator(make_unit: Callable[[int], Unit], fields: CellFields) -> Accumulator:
    """h + U(z); it has no readout of its own."""
    refuse_readout("accumulator", fields)
    return Accumulator(make_unit(fields.outputs))


@CELLS.register("exact_sum")
def exact_sum(make_unit: Callable[[int], Unit], fields: CellFields) -> Exact:
    """h + z; it has no readout of its own."""
    refuse_readout("exact_sum", fields)
    return Exact(product=False)


@CELLS.register("exact_product")
def exact_product(make_unit: Callable[[int], Unit], fields: CellFields) -> Exact:
    """h · z; it has no readout of its own."""
    refuse_readout("exact_product", fields)
    return Exact(product=True)


def refuse_readout(cell: str, fields: CellFields) -> None:
    """Raises ValueError if a cell whose outputs are the answers is to have a readout at every step."""
    if fields.readout is not None:
        raise ValueError(f"readout must be none, or one at the end, for the cell {cell!r}")


def flax_cell(constructor: Callable[..., nn.RNNCellBase], make_unit: Callable[[int], Unit], fields: CellFields) -> FlaxCell:
    """A cell of Flax with ``hidden_size`` features and a readout, its weights LeCun normal at the start.

    Without a readout of its own it has as many features as there are outputs, and starts as in PyTorch, from U(±1/√outputs):
    the cell of Madsen & Johansen's code. The outputs of an LSTM, a GRU or a tanh network are then at most 1 in magnitude.

    Flax draws the recurrent weights orthogonal, which takes a QR factorisation. On several CPU devices those of several
    seeds deadlock, since all share one pool of threads (jax 0.10.1).

    Args:
      constructor: the class of the cell, or a function of its features and initializers.
      make_unit: not used; cells that are made of units have it.
      fields: what a config says of a cell.
    """
    del make_unit
    if fields.readout is None:
        init = torch_default(fields.outputs)
        return FlaxCell(constructor(fields.outputs, kernel_init=init, recurrent_kernel_init=init, bias_init=init), None)
    return FlaxCell(constructor(fields.hidden_size, recurrent_kernel_init=LECUN_NORMAL), fields.readout)


@CELLS.register("lstm")
def lstm(make_unit: Callable[[int], Unit], fields: CellFields) -> LSTM:
    """Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000; see ``flax_cell``."""
    made = flax_cell(nn.OptimizedLSTMCell, make_unit, fields)
    return LSTM(made.cell, made.readout)


CELLS.register("gru")(functools.partial(flax_cell, nn.GRUCell))
CELLS.register("rnn_tanh")(functools.partial(flax_cell, functools.partial(nn.SimpleCell, activation_fn=nn.tanh)))
CELLS.register("rnn_relu")(functools.partial(flax_cell, functools.partial(nn.SimpleCell, activation_fn=nn.relu)))
