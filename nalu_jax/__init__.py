"""Neural arithmetic units in JAX and Flax.

The functional core, ``nalu_jax.functional``, needs jax alone; the Linen modules are imported when they are first named.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nalu_jax.units import (
        DMU,
        GNALU,
        INALU,
        MCFC,
        NAC,
        NALU,
        NAU,
        NMRU,
        NMU,
        NPU,
        NRU,
        NSR,
        SNMU,
        GatedNAUNMU,
        Linear,
        MCFCMul,
        NACMul,
        NACMulNMU,
        NACMulSigma,
        RealNPU,
        Unit,
    )

__version__ = "0.2.0"
__all__ = [
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
    "GatedNAUNMU",
    "Linear",
    "MCFCMul",
    "NACMul",
    "NACMulNMU",
    "NACMulSigma",
    "RealNPU",
    "Unit",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from nalu_jax import units

        return getattr(units, name)
    raise AttributeError(f"module 'nalu_jax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
