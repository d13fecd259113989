"""Networks of sequences: a reader of each element, a recurrent cell, a readout of its outputs."""

import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from nalu_jax.networks.cells import Exact
from nalu_jax.networks.layers import make_unit
from nalu_jax.networks.trunks import make_reader
from nalu_jax.registry import CELLS, NETWORKS
from nalu_jax.types import Array, Sequences
from nalu_jax.units.base import positive


class Recurrent(nn.Module):
    """z = reader(element), (carry_t, y_t) = cell(carry_{t-1}, z_t).

    The reader is applied once to every element, before the scan over time: its cost does not grow with the length of the
    sequences.
    """

    # The reader. First parameters are drawn by their path, and this is its name there.
    trunk: nn.Module
    cell: Any

    @nn.compact
    def __call__(self, sequences: Sequences) -> Array:
        """Sequences [time, batch] → y f32[out, time, batch]."""
        z = self.read(sequences.elements)[:, sequences.order]  # [in, time, batch]
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
) -> Recurrent:
    """A network of sequences, Sequences [time, batch] → f32[outputs, time, batch].

    Trask et al. 2018, section 4.2; Madsen & Johansen 2020, section 4.3.

    Args:
      unit: the unit of the cells "unit" and "accumulator"; "" for cells that are made of none.
      options: options of all units (``layers.make_unit``).
      outputs: numbers of an answer.
      reader: the name of one of ``READERS`` and those of its fields that are to differ.
      features: numbers that the reader makes of an element; an exact cell takes as many as there are outputs.
      cell: one of ``CELLS``.
      hidden_size: features of a cell with a readout.
      readout: one of ``READOUTS``: the map from the outputs of the cell to answers.

    Raises ValueError for an unknown name, for a size that is not a positive integer, and for a readout that the cell does
    not take.
    """
    features = positive("features", features)
    make = functools.partial(make_unit, unit, options=options)
    made = CELLS[cell](make, outputs=outputs, hidden_size=hidden_size, readout=readout)
    read = outputs if isinstance(made, Exact) else features
    return Recurrent(make_reader(reader, features=read), made)
