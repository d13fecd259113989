"""Recurrent cells: every unit in two forms, the dense cells the papers compare with, and the exact ones.

A cell takes what it remembers and what it reads, columns ``[in, ...]``, to what it remembers next and what it puts out,
columns ``[out, ...]``.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from nalu_jax.initializers import torch_default
from nalu_jax.networks import make_unit
from nalu_jax.registry import UNITS, UnknownName, nearest
from nalu_jax.types import Array
from nalu_jax.units import Unit


class UnitCell(nn.Module):
    """A unit that reads its own last output: h_t = U([z_t; h_{t-1}]), h_0 = ``start``.

    Madsen & Johansen 2020, appendix on sequential MNIST. For a sum the weight of h must be 1: at a thousand places, 1 to
    within 1e-5.
    """

    unit: Unit
    start: float

    def first(self, z: Array) -> Array:
        """h_0: [in, batch] → [out, batch]."""
        return jnp.full((self.unit.features, *z.shape[1:]), self.start, z.dtype)

    def __call__(self, h: Array, z: Array) -> tuple[Array, Array]:
        """(h_{t-1} [out, ...], z_t [in, ...]) → (h_t, h_t)."""
        h = self.unit(jnp.concatenate([z, h]))
        return h, h


class Accumulator(nn.Module):
    """A unit whose outputs are added up: h_t = h_{t-1} + U(z_t), h_0 = 0. The sum itself need not be learned."""

    unit: Unit

    def first(self, z: Array) -> Array:
        """h_0: [in, batch] → [out, batch]."""
        return jnp.zeros((self.unit.features, *z.shape[1:]), z.dtype)

    def __call__(self, h: Array, z: Array) -> tuple[Array, Array]:
        """(h_{t-1} [out, ...], z_t [in, ...]) → (h_t, h_t)."""
        h = h + self.unit(z)
        return h, h


class Exact(nn.Module):
    """The total without a weight: h_t = h_{t-1} + z_t or h_{t-1} · z_t. What is left to learn is to read.

    Its test errors are the thresholds of Madsen & Johansen 2020, who call it the solved accumulator.
    """

    product: bool

    def first(self, z: Array) -> Array:
        """h_0, which is 0 or 1: [in, batch] → [in, batch]."""
        return jnp.full(z.shape, float(self.product), z.dtype)

    def __call__(self, h: Array, z: Array) -> tuple[Array, Array]:
        """(h_{t-1} [in, ...], z_t [in, ...]) → (h_t, h_t)."""
        h = h * z if self.product else h + z
        return h, h


class DenseCell(nn.Module):
    """A cell of Flax. It puts out what it remembers or, where it has ``outputs``, a linear map of that."""

    cell: nn.RNNCellBase
    outputs: int

    def first(self, z: Array) -> Any:
        """What it remembers at the start: zeros."""
        return self.cell.initialize_carry(jax.random.key(0), (*z.shape[1:], len(z)))

    @nn.compact
    def __call__(self, carry: Any, z: Array) -> tuple[Any, Array]:
        """(carry, z_t [in, batch]) → (carry, [out, batch])."""
        carry, hidden = self.cell(carry, jnp.moveaxis(z, 0, -1))
        said = nn.Dense(self.outputs, name="readout")(hidden) if self.outputs else hidden
        return carry, jnp.moveaxis(said, -1, 0)


DENSE: dict[str, Callable[..., nn.RNNCellBase]] = {
    "lstm": nn.OptimizedLSTMCell,
    "gru": nn.GRUCell,
    "rnn_tanh": functools.partial(nn.SimpleCell, activation_fn=nn.tanh),
    "rnn_relu": functools.partial(nn.SimpleCell, activation_fn=nn.relu),
}


def fair_cell(name: str, size: int, outputs: int) -> DenseCell:
    """A cell of Flax with ``size`` numbers and a linear layer behind it, its weights LeCun normal at the start.

    Flax draws the recurrent ones orthogonal, which takes a QR factorisation. Those of several seeds on several CPU devices
    at once wait for each other for ever, since all share one pool of threads (jax 0.10.1).
    """
    return DenseCell(DENSE[name](size, recurrent_kernel_init=nn.initializers.lecun_normal()), outputs)


def published_cell(name: str, outputs: int) -> DenseCell:
    """A cell of Flax with as many numbers as outputs, drawn at the start as PyTorch does, all from U(±1/√outputs)."""
    init = torch_default(outputs)
    return DenseCell(DENSE[name](outputs, kernel_init=init, recurrent_kernel_init=init, bias_init=init), 0)


EXACT = ("exact_sum", "exact_product")
ACCUMULATOR, PUBLISHED = "_accumulator", "_published"


def make_cell(name: str, outputs: int, options: Mapping[str, Any], *, hidden_size: int) -> nn.Module:
    """The cell ``name`` with so many outputs.

    - ``nac``, or any other unit: h = U([z; h]), from 1 if the unit multiplies and cannot add, else from 0, as published;
    - ``nac_accumulator``, or any other unit: h + U(z);
    - ``lstm``, ``gru``, ``rnn_tanh``, ``rnn_relu``: that cell with ``hidden_size`` numbers, and a linear layer behind it;
    - ``lstm_published`` and so on: that cell with as many numbers as there are outputs and nothing behind it, so that an
      LSTM, a GRU and a tanh RNN cannot say a number beyond 1. Madsen & Johansen 2020, the code;
    - ``exact_sum``, ``exact_product``: the total itself.

    Raises ValueError for another name, or a hidden_size that is not a positive integer.
    """
    if not isinstance(hidden_size, int) or hidden_size < 1:
        raise ValueError(f"hidden_size must be a positive integer, got {hidden_size!r}")
    if name in EXACT:
        return Exact(product=name == "exact_product")
    if name in DENSE:
        return fair_cell(name, hidden_size, outputs)
    if (bare := name.removesuffix(PUBLISHED)) in DENSE:
        return published_cell(bare, outputs)
    unit = make_unit(unit_within(name), outputs, options)
    if name not in UNITS:
        return Accumulator(unit)
    multiplies = "mul" in unit.operations and "add" not in unit.operations
    return UnitCell(unit, start=float(multiplies))


def unit_within(name: str) -> str:
    """The unit that a cell, or a network, of that name is made of; of one that is not made of units, "linear".

    Raises ValueError for a name that is neither a unit's nor a cell's.
    """
    if name in EXACT or name.removesuffix(PUBLISHED) in DENSE:
        return "linear"
    bare = name if name in UNITS else name.removesuffix(ACCUMULATOR)
    if bare not in UNITS:
        cells = [*DENSE, *EXACT]
        guess = nearest(name, [*UNITS, *cells])
        raise UnknownName(f"unknown unit {name!r}{guess} Known: {', '.join(UNITS)}; and the cells {', '.join(cells)}.")
    return bare
