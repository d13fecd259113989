"""Neural arithmetic units and their baselines as Linen modules, one family a file.

Importing this package registers every unit under its paper name in ``nalu_jax.registry.UNITS``.
"""

from nalu_jax.units.activations import ACTIVATIONS, Activation, Linear
from nalu_jax.units.base import Unit
from nalu_jax.units.nac import NAC, NACMul
from nalu_jax.units.nalu import NALU

__all__ = ["ACTIVATIONS", "NAC", "NALU", "Activation", "Linear", "NACMul", "Unit"]
