"""Neural arithmetic units and their baselines as Linen modules, one family a file.

``nalu_jax.registry.UNITS`` has every one of them under its paper name.
"""

from nalu_jax.units.activations import ACTIVATIONS, Activation, Linear, PReLU
from nalu_jax.units.base import TRAINING, Unit
from nalu_jax.units.constrained_linear import (
    LinearNoBias,
    NACBias,
    SigmoidLinear,
    SigmoidLinearNoBias,
    TanhLinear,
    TanhLinearNoBias,
)
from nalu_jax.units.dmu import DMU
from nalu_jax.units.gated_nau_nmu import GatedNAUNMU
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
