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
    """The answers at the end of a sequence of T steps: layers(s_T), with the state s_T = h_T, or s_T = Σ_t h_t; or their sum
    Σ_t layers(h_t).

    Attributes:
      layers: one after the other, on columns; none: the state is the answer.
      summed: whether the states are summed over time, or the answers if they are given at each step.
      memory: whether h is the cell state c of an LSTM and not its output.
      at_each_step: whether the layers answer at each step, before the sum.
    """

    layers: tuple[nn.Module, ...]
    summed: bool = False
    memory: bool = False
    at_each_step: bool = False

    def __call__(self, states: Array) -> Array:
        """The answers from what was kept of all steps: [in, ...] → [out, ...]."""
        return states if self.at_each_step else self.answers(states)

    def answers(self, states: Array) -> Array:
        """One layer after the other: [in, ...] → [out, ...]."""
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


@READOUTS.register("last_output")
def last_output(unit: str, options: Mapping[str, Any], *, outputs: int, hidden_size: int) -> AtEnd:
    """The last output of the cell, h_T, as it is."""
    return AtEnd(())


@READOUTS.register("summed_states")
def summed_states(unit: str, options: Mapping[str, Any], *, outputs: int, hidden_size: int) -> AtEnd:
    """One unit on the sum of all states, U(Σ_t h_t). Trask et al. 2018, appendix D."""
    return AtEnd((make_unit(last_of(unit, options), outputs, options),), summed=True)


@READOUTS.register("summed_answers")
def summed_answers(unit: str, options: Mapping[str, Any], *, outputs: int, hidden_size: int) -> AtEnd:
    """The sum of what one unit makes of each state, Σ_t U(h_t); of a linear unit the answer to the sum, but for its bias."""
    return AtEnd((make_unit(last_of(unit, options), outputs, options),), summed=True, at_each_step=True)


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
