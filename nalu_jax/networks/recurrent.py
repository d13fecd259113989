"""Networks of sequences: a reader of each element, a recurrent cell, a readout of its outputs."""

import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from nalu_jax.networks.cells import CellFields, Exact
from nalu_jax.networks.layers import make_unit
from nalu_jax.networks.readers import make_reader
from nalu_jax.networks.readouts import AtEnd
from nalu_jax.registry import CELLS, NETWORKS, READOUTS
from nalu_jax.types import Array
from nalu_jax.units.base import positive


class Recurrent(nn.Module):
    """z_t = reader(element_t), (carry_t, h_t) = cell(carry_{t-1}, z_t), and answers of all h_t, or of the state at the end.

    The reader is applied once to every element, before the scan over time: its cost does not grow with the length of the
    sequences, which are those of ``nalu_jax.sequences``. Only vectors that are made as they are read are read within.
    """

    # The reader. First parameters are drawn by their path, and this is its name there.
    trunk: nn.Module
    cell: Any
    readout: AtEnd | None = None  # None: the outputs of the cell are the answers, at every step

    def __call__(self, sequences: Any) -> Array:
        """Sequences [time, batch] → y f32[out, batch], or f32[out, time, batch] where there is no readout at the end."""
        if self.readout is None:
            return self.outputs(sequences)
        end, _ = self.states(sequences)
        return self.readout(end)

    def running(self, sequences: Any) -> Array:
        """The answers, did the sequences end at each step: sequences [time, batch] → f32[out, time, batch]."""
        if self.readout is None:
            return self.outputs(sequences)
        _, states = self.states(sequences, at_every_step=True)
        return self.readout(jnp.moveaxis(states, 0, 1))

    def outputs(self, sequences: Any) -> Array:
        """The outputs of the cell at every step: sequences [time, batch] → f32[out, time, batch]."""
        z = sequences.inputs(self.read)
        first = self.cell.initialize_carry(z[:, 0])
        over_time = nn.scan(
            lambda cell, carry, z_t: cell(carry, z_t),
            variable_broadcast="params",
            split_rngs={"params": False, "training": True},
            in_axes=1,
            out_axes=1,
        )
        _, outputs = over_time(self.cell, first, z)
        self.cell.declare(first, z, outputs)
        return outputs

    def states(self, sequences: Any, *, at_every_step: bool = False) -> tuple[Array, Any]:
        """What the readout reads: the states at the end f32[in, batch], and those at every step f32[time, in, batch].

        The first step is taken outside of the scan: units declare weights and penalties there.
        """
        steps, inputs_at = sequences.by_step(self.read)
        time = jax.tree.leaves(steps)[0].shape[0]
        z = inputs_at(jax.tree.map(lambda leaf: leaf[0], steps))
        carry, output = self.cell(self.cell.initialize_carry(z), z)
        first = self.seen(carry, output)

        def step(network: "Recurrent", state: tuple[Any, Array], at: tuple[Array, Any]) -> tuple[Any, Any]:
            (carry, before), (t, x) = state, at
            carry, output = network.cell(carry, inputs_at(x))
            after = network.seen(carry, output)
            after = before + after if network.readout and network.readout.summed else after
            if sequences.lengths is not None:  # the cell runs on; what it makes of what follows the end is not looked at
                after = jnp.where(t < sequences.lengths, after, before)
            return (carry, after), after if at_every_step else None

        over_time = nn.scan(step, variable_broadcast="params", split_rngs={"params": False, "training": True})
        later = (jnp.arange(1, time), jax.tree.map(lambda leaf: leaf[1:], steps))
        states: Any
        (_, end), states = over_time(self, (carry, first), later)
        return end, jnp.concatenate([first[None], states]) if at_every_step else None

    def seen(self, carry: Any, output: Array) -> Array:
        """What is kept of a step: the output of the cell [in, batch], the memory within its carry, or the answer to it."""
        state = self.cell.memory(carry) if self.readout and self.readout.memory else output
        return self.readout.answers(state) if self.readout and self.readout.at_each_step else state

    def read(self, elements: Array) -> Array:
        """The reader's output for each element: [..., n] → f32[in, n]."""
        return self.trunk(elements)


@NETWORKS.register("recurrent")
def recurrent(
    unit: str,
    options: Mapping[str, Any],
    *,
    outputs: int,
    reader: Mapping[str, Any],
    features: int,
    cell: str,
    hidden_size: int,
    readout: str,
    first_state: str = "neutral",
    registers: int = 1,
    sees: str = "signs",
    readout_unit: str = "",
) -> Recurrent:
    """A network of sequences, Sequences [time, batch] → f32[outputs, time, batch], or f32[outputs, batch] at their end.

    Trask et al. 2018, sections 4.1 to 4.4; Madsen & Johansen 2020, section 4.3.

    Args:
      unit: the unit of the cells "unit" and "accumulator"; "" where there is none.
      options: options of all units (``layers.make_unit``).
      outputs: numbers of an answer.
      reader: the name of one of ``READERS`` and those of its fields that are to differ.
      features: numbers that the reader makes of an element, 0: as many as ``hidden_size``; an exact cell takes as many as
        there are outputs.
      cell: one of ``CELLS``.
      hidden_size: features of a cell with a readout.
      readout: one of ``READOUTS``: the map from the outputs of the cell to answers.
      first_state: of the cell "unit": see ``cells.FIRST_STATES``.
      registers, sees: of the cell "configured_nalu": numbers that it remembers, and what its controller reads.
      readout_unit: the unit of a readout at the end, such as an NMU behind a NAU; "": that of the cell.

    Raises ValueError for an unknown name, for a size that is not a positive integer, for a readout that the cell does not
    take, and for a unit of a readout that is made of none.
    """
    hidden_size = positive("hidden_size", hidden_size)
    features = positive("features", features or hidden_size)
    make = functools.partial(make_unit, unit, options=options)
    behind = READOUTS[readout](readout_unit or unit, options, outputs=outputs, hidden_size=hidden_size)
    at_end = behind if isinstance(behind, AtEnd) else None
    if readout_unit and not (at_end and at_end.layers):
        raise ValueError(f"readout_unit must be empty, since readout {readout!r} is made of no unit, got {readout_unit!r}")
    fields = CellFields(
        outputs=hidden_size if at_end and at_end.layers else outputs,
        hidden_size=hidden_size,
        readout=None if at_end else behind,
        first_state=first_state,
        registers=registers,
        sees=sees,
    )
    made = CELLS[cell](make, fields)
    if at_end and at_end.memory and not hasattr(made, "memory"):
        raise ValueError(f"readout {readout!r} is of an LSTM alone, the cell {cell!r} has no cell state")
    read = outputs if isinstance(made, Exact) else features
    return Recurrent(make_reader(reader, features=read), made, at_end)
