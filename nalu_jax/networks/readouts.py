"""Readouts: from the outputs of a cell to answers, at every time step or at the end of a sequence.

A constructor takes the name of the unit, the options of all units, the number of outputs and the size of the cell. One for
every step makes a layer on rows, or None where the outputs of the cell are the answers; one for the end makes an ``AtEnd``.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from nalu_jax.networks.layers import make_unit
from nalu_jax.registry import READOUTS
from nalu_jax.types import Array


class AtEnd(nn.Module):
    """The answers at the end of a sequence of T steps: layers(s_T), with the state s_T = h_T, or s_T = Σ_t h_t.

    Attributes:
      layers: one after the other, on columns; none: the state is the answer.
      summed: whether the states are summed over time.
      memory: whether h is the cell state c of an LSTM and not its output.
    """

    layers: tuple[nn.Module, ...]
    summed: bool = False
    memory: bool = False

    def __call__(self, states: Array) -> Array:
        """[in, ...] → [out, ...]."""
        for layer in self.layers:
            states = layer(states)
        return states


@READOUTS.register("none")
def none(unit: str, options: Mapping[str, Any], *, outputs: int, hidden_size: int) -> None:
    """The outputs of the cell at every step are the answers."""


@READOUTS.register("dense")
def dense(unit: str, options: Mapping[str, Any], *, outputs: int, hidden_size: int) -> nn.Module:
    """A linear layer behind the cell, at every time step: [..., hidden_size] → [..., outputs]."""
    return nn.Dense(outputs)


@READOUTS.register("last_state")
def last_state(unit: str, options: Mapping[str, Any], *, outputs: int, hidden_size: int) -> AtEnd:
    """One unit on the last state, U(h_T)."""
    return AtEnd((make_unit(last_of(unit, options), outputs, options),))


@READOUTS.register("summed_states")
def summed_states(unit: str, options: Mapping[str, Any], *, outputs: int, hidden_size: int) -> AtEnd:
    """One unit on the sum of all states, U(Σ_t h_t). Trask et al. 2018, appendix D."""
    return AtEnd((make_unit(last_of(unit, options), outputs, options),), summed=True)


@READOUTS.register("cell_state")
def cell_state(unit: str, options: Mapping[str, Any], *, outputs: int, hidden_size: int) -> AtEnd:
    """One unit on the last cell state of an LSTM, U(c_T), which no tanh bounds."""
    return AtEnd((make_unit(last_of(unit, options), outputs, options),), memory=True)


@READOUTS.register("two_units")
def two_units(unit: str, options: Mapping[str, Any], *, outputs: int, hidden_size: int) -> AtEnd:
    """Two units on the last state, U'(U(h_T)) with hidden_size numbers between them; partners as in ``stacks.two_layer``."""
    first = make_unit(unit, outputs, options).first_layer or unit
    return AtEnd((make_unit(first, hidden_size, options), make_unit(last_of(unit, options), outputs, options)))


def last_of(unit: str, options: Mapping[str, Any]) -> str:
    """The unit that stands last in networks named after a unit: its partner, or itself."""
    return make_unit(unit, 1, options).last_layer or unit
