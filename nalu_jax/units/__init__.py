"""Neural arithmetic units and their baselines as Linen modules, one family a file.

``nalu_jax.registry.UNITS`` has every one of them under its paper name.
"""

from nalu_jax.units.activations import (
    ACTIVATIONS,
    Activation,
    Linear,
    PReLU,
)
from nalu_jax.units.base import (
    TRAINING,
    Unit,
)
from nalu_jax.units.constrained_linear import (
    LinearNoBias,
    NACBias,
    SigmoidLinear,
    SigmoidLinearNoBias,
    TanhLinear,
    TanhLinearNoBias,
)
from nalu_jax.units.dmu import (
    DMU,
    DMUDifference,
)
from nalu_jax.units.gated_nau_nmu import (
    GatedNAUNMU,
)
from nalu_jax.units.inalu import (
    INALU,
    INALUOriginal,
    INALUShared,
)
from nalu_jax.units.mc_fc import (
    MCFC,
    MCFCMul,
    MCFCMulSignINALU,
    MCFCMulSignRealNPU,
)
from nalu_jax.units.nac import (
    NAC,
    NACMul,
    NACMulNMU,
    NACMulSigma,
)
from nalu_jax.units.nalu import (
    GNALU,
    NALU,
    NALUBias,
    NALUGatePenalty,
    NALUGumbel,
    NALUSafe,
    NALUSeparate,
    NALUSeparateBias,
    NALUTrig,
    NALUTwoGates,
)
from nalu_jax.units.nau import (
    NAU,
)
from nalu_jax.units.nmru import (
    NMRU,
    NMRUWithoutSign,
)
from nalu_jax.units.nmu import (
    NMU,
    SNMU,
    BatchSNMU,
    NMUSigma,
    NMUUnbounded,
    NMUUnboundedUnregularised,
    NMUUnregularised,
)
from nalu_jax.units.npu import (
    NPU,
    NaiveNPU,
    RealNPU,
    RealNPUModified,
)
from nalu_jax.units.nru import (
    NRU,
)
from nalu_jax.units.nsr import (
    NSR,
)

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
    "BatchSNMU",
    "DMUDifference",
    "GatedNAUNMU",
    "INALUOriginal",
    "INALUShared",
    "Linear",
    "LinearNoBias",
    "MCFCMul",
    "MCFCMulSignINALU",
    "MCFCMulSignRealNPU",
    "NACBias",
    "NACMul",
    "NACMulNMU",
    "NACMulSigma",
    "NALUBias",
    "NALUGatePenalty",
    "NALUGumbel",
    "NALUSafe",
    "NALUSeparate",
    "NALUSeparateBias",
    "NALUTrig",
    "NALUTwoGates",
    "NMRUWithoutSign",
    "NMUSigma",
    "NMUUnbounded",
    "NMUUnboundedUnregularised",
    "NMUUnregularised",
    "NaiveNPU",
    "PReLU",
    "RealNPU",
    "RealNPUModified",
    "SigmoidLinear",
    "SigmoidLinearNoBias",
    "TanhLinear",
    "TanhLinearNoBias",
    "Unit",
]
