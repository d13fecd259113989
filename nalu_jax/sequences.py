"""The network of the image sequences: a trunk that reads each image, and a cell that goes over what it read."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

import nalu_jax.trunks  # noqa: F401  (registers the trunks)
from nalu_jax.cells import EXACT, DenseCell, make_cell
from nalu_jax.registry import NETWORKS, TRUNKS
from nalu_jax.types import Array, Sequences


class ImageSequence(nn.Module):
    """Reads images and totals them: z_t = trunk(image_t), (h_t, y_t) = cell(h_{t-1}, z_t).

    The trunk sees every image once, before the cell goes over the sequences, so that what a long sequence needs does not
    grow with the trunk.
    """

    trunk: nn.Module
    cell: Any

    @nn.compact
    def __call__(self, sequences: Sequences) -> Array:
        """Sequences [time, batch] → y, f32[out, time, batch]."""
        z = self.trunk(sequences.images)[:, sequences.order]  # [in, time, batch]
        first = self.cell.first(z[:, 0])
        over_time = nn.scan(
            lambda cell, carry, z_t: cell(carry, z_t),
            variable_broadcast="params",
            split_rngs={"params": False, "training": True},
            in_axes=1,
            out_axes=1,
        )
        _, outputs = over_time(self.cell, first, z)
        if not isinstance(self.cell, DenseCell):
            # Once more, over all places at once: the cell's unit declares its weights, and penalties of all it has read.
            self.cell(jnp.concatenate([first[:, None], outputs[:, :-1]], axis=1), z)
        return outputs


@NETWORKS.register("image_sequence")
def image_sequence(
    unit: str, options: Mapping[str, Any], *, trunk: Mapping[str, Any], features: int, hidden_size: int, outputs: int
) -> nn.Module:
    """The network of the image sequences, from the name of its cell (``nalu_jax.cells.make_cell``).

    ``trunk`` is the name of one of ``nalu_jax.trunks`` and its fields; it reads ``features`` numbers of an image, but for an
    exact cell as many as there are ``outputs``. Trask et al. 2018, section 4.2; Madsen & Johansen 2020, section 4.3.

    Raises ValueError for an unknown cell or trunk, and for a size that is not a positive integer.
    """
    for field, value in {"features": features, "outputs": outputs}.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{field} must be a positive integer, got {value!r}")
    fields = dict(trunk)
    reader = TRUNKS[fields.pop("name")](features=outputs if unit in EXACT else features, **fields)
    return ImageSequence(reader, make_cell(unit, outputs, options, hidden_size=hidden_size))
