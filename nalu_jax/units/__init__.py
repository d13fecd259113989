"""Neural arithmetic units and their baselines as Linen modules, one family a file.

Importing this package imports every file in it, and so registers every unit under its paper name in
``nalu_jax.registry.UNITS``.
"""

import importlib
import pkgutil

from nalu_jax.units.activations import ACTIVATIONS, Activation, Linear, PReLU
from nalu_jax.units.base import TRAINING, Unit
from nalu_jax.units.dmu import DMU
from nalu_jax.units.gated import GatedNAUNMU
from nalu_jax.units.inalu import INALU
from nalu_jax.units.mc_fc import MCFC, MCFCMul
from nalu_jax.units.nac import NAC, NACMul, NACMulNMU, NACMulSigma
from nalu_jax.units.nalu import GNALU, NALU
from nalu_jax.units.nau import NAU
from nalu_jax.units.nmru import NMRU
from nalu_jax.units.nmu import NMU, SNMU
from nalu_jax.units.npu import NPU, RealNPU
from nalu_jax.units.nru import NRU
from nalu_jax.units.nsr import NSR
from nalu_jax.units.squashed import LinearNoBias, NACBias, SigmoidLinear, SigmoidLinearNoBias, TanhLinear, TanhLinearNoBias

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = [
    "ACTIVATIONS",
    "DMU",
    "GNALU",
    "INALU",
    "MCFC",
    "NAC",
    "NALU",
    "NAU",
    "NMRU",
    "NMU",
    "NPU",
    "NRU",
    "NSR",
    "SNMU",
    "TRAINING",
    "Activation",
    "GatedNAUNMU",
    "Linear",
    "LinearNoBias",
    "MCFCMul",
    "NACBias",
    "NACMul",
    "NACMulNMU",
    "NACMulSigma",
    "PReLU",
    "RealNPU",
    "SigmoidLinear",
    "SigmoidLinearNoBias",
    "TanhLinear",
    "TanhLinearNoBias",
    "Unit",
]
