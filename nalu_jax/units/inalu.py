"""The improved NALU (iNALU) in both of its published settings."""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from nalu_jax import functional as F
from nalu_jax.initializers import normal
from nalu_jax.recipes import MISTRY_2022, Optimizer, Penalty, Recipe, Reinit
from nalu_jax.registry import UNITS
from nalu_jax.types import Array
from nalu_jax.units.base import Unit, add_up

SATURATED = 20.0  # the magnitude from which a parameter is no longer pushed away from 0


@UNITS.register("inalu")
class INALU(Unit):
    """Improved NALU (iNALU): cells with weights of their own, a gate that is learned and not computed, and signs.

    y = σ(g) ⊙ a + (1 - σ(g)) ⊙ m ⊙ s with a = W₊ x, m = exp(min(Wₓ log(max(|x|, ε)), ω)) and s the sign of the product. Once
    the validation error is small, a penalty drives all parameters to ± 20; a seed whose error stops falling is
    reinitialised. Schlör, Ring & Hotho 2020, arXiv 2003.07629; initialisation and training as in the benchmark of Mistry,
    Farrahi & Hare.

    Attributes:
      means: of Ŵ, M̂ and g at the start.
      deviation: their standard deviation.
      epsilon: ε, the smallest argument of the logarithm.
      omega: ω, so that no product exceeds e^ω.
      shared: both cells share Ŵ and M̂ (the "shared weights" of the original code).
    """

    label: ClassVar[str] = "iNALU"
    operations: ClassVar[tuple[str, ...]] = ("add", "sub", "mul", "div")
    recipes: ClassVar[tuple[Recipe, ...]] = (
        Recipe(
            MISTRY_2022,
            optimizer=Optimizer(clip_value=0.1),
            penalties={"saturation": Penalty(0.05, start=10_001, end=10_001, below=1.0)},
            reinit=Reinit(check_every=10, min_history=5_000, threshold=1.0),
        ),
    )

    means: tuple[float, float, float] = (0.88, 0.5, 0.0)
    deviation: float = 0.2
    epsilon: float = 1e-7
    omega: float = 20.0
    shared: bool = False

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        w_mean, m_mean, g_mean = self.means
        shape = (x.shape[0], self.features)

        def matrices(suffix: str) -> tuple[Array, Array]:
            w_hat = self.param("w_hat" + suffix, normal(w_mean, self.deviation), shape, self.param_dtype)
            m_hat = self.param("m_hat" + suffix, normal(m_mean, self.deviation), shape, self.param_dtype)
            self.weight("W" + suffix, F.nac_weight(w_hat, m_hat))
            return w_hat, m_hat

        add, mul = (matrices(""),) * 2 if self.shared else (matrices("_add"), matrices("_mul"))
        g = self.param("g", normal(g_mean, self.deviation), (self.features,), self.param_dtype)
        parameters = (*add, g) if self.shared else (*add, *mul, g)
        self.penalty("saturation", add_up(jnp.mean(jnp.maximum(SATURATED - F.magnitude(theta), 0)) for theta in parameters))
        return F.inalu(*self.promote(x, *add, *mul, g), epsilon=self.epsilon, omega=self.omega)


# Of ten batches the last two train the gate. The original applies the penalty in optimizer steps of its own, and restarts by
# the loss of each batch; here the penalty is part of the loss, and restarts follow the rule of the benchmark.
ORIGINAL = Recipe(
    "Schlör, Ring & Hotho 2020, their published code",
    optimizer=Optimizer("rmsprop_tensorflow", 1e-2, clip_value=0.1, gate_turn=2),
    penalties={"saturation": Penalty(0.05, start=11_000, end=11_000, below=1.0)},
    reinit=Reinit(check_every=10_000, min_history=10_000, threshold=1.0, init_range=2.0),
)


@UNITS.register("inalu_original")
class INALUOriginal(INALU):
    """iNALU as its authors ran it: Ŵ, M̂ and g start around 1, -1 and 0 (deviation 0.1), trained by RMSProp.

    Schlör, Ring & Hotho 2020, the settings of their published scripts ("independent weights").
    """

    label: ClassVar[str] = "iNALU (original)"
    recipes: ClassVar[tuple[Recipe, ...]] = (ORIGINAL,)

    means: tuple[float, float, float] = (1.0, -1.0, 0.0)
    deviation: float = 0.1


@UNITS.register("inalu_shared")
class INALUShared(INALUOriginal):
    """iNALU whose cells share their weights. Schlör, Ring & Hotho 2020, "shared weights" of their published code."""

    label: ClassVar[str] = "iNALU (shared)"

    shared: bool = True
