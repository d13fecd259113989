"""The neural power unit (NPU), its real form, and the variants of both."""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from nalu_jax import functional as F
from nalu_jax.bounded import bounded
from nalu_jax.initializers import glorot_uniform, nau_uniform
from nalu_jax.recipes import DIVISION_2022, Optimizer, Penalty, Recipe
from nalu_jax.registry import UNITS
from nalu_jax.types import Array
from nalu_jax.units.base import Unit, add_up

HEIM = "Heim, Pevný & Šmídl 2020, as run by Mistry, Farrahi & Hare 2022, JMLR 23(185)"


def l1_growing_from(weight: float) -> dict[str, Penalty]:
    """β ‖θ‖₁ with β ten times as large after 10,000 and again after 20,000 steps."""
    return {"l1": Penalty(weight, growth=10.0, every=10_000, times=2)}


POWER = Optimizer(learning_rate=5e-3)


@UNITS.register("real_npu")
class RealNPU(Unit):
    """Real neural power unit (RealNPU): exp(W log r) ⊙ cos(W k), r and k being |x| and π [x < 0] behind a relevance gate.

    W is Glorot uniform and the gate starts at 1/2; an L1 penalty holds on all parameters. Heim, Pevný & Šmídl 2020, arXiv
    2006.01681, section 3.

    Attributes:
      clip: which parameters are projected, after Mistry, Farrahi & Hare 2022 (arXiv 2110.05177): any of the letters "w"
        (W onto [-1, 1]), "i" (the imaginary W, where there is one) and "g" (the gate onto [0, 1]).
      constrained: W starts as that of a NAU (arXiv 2110.05177).
    """

    label: ClassVar[str] = "RealNPU"
    operations: ClassVar[tuple[str, ...]] = ("mul", "div")
    recipes: ClassVar[tuple[Recipe, ...]] = (
        Recipe(HEIM, {"operation": "div"}, POWER, l1_growing_from(1e-9)),
        Recipe(HEIM, {}, POWER, l1_growing_from(1e-7)),
    )
    first_layer: ClassVar[str | None] = "nau"

    clip: str = ""
    constrained: bool = False

    def __post_init__(self):
        if set(self.clip) - set("wig"):
            raise ValueError(f"clip must be made of the letters w, i and g, got {self.clip!r}")
        super().__post_init__()

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        w_real, g = self.real_weight(x.shape[0]), self.relevance(x.shape[0])
        self.penalties(g, w_real)
        return F.real_npu(*self.promote(x, w_real, g))

    def real_weight(self, inputs: int) -> Array:
        """W [in, features], declared as the unit's weight."""
        initializer = nau_uniform if self.constrained else glorot_uniform
        initializer = bounded(initializer, -1.0, 1.0) if "w" in self.clip else initializer
        w_real = self.param("w_real", initializer, (inputs, self.features), self.param_dtype)
        self.weight("W", w_real)
        return w_real

    def relevance(self, inputs: int) -> Array:
        """The gate g [in], before it is clipped."""
        half = nn.initializers.constant(0.5)
        initializer = bounded(half, 0.0, 1.0) if "g" in self.clip else half
        return self.param("g", initializer, (inputs,), self.param_dtype)

    def penalties(self, g: Array | None, *weights: Array) -> None:
        """Declares the regularisers of both papers: L1 of everything; mean |1 - |W||; the gate towards 0 and 1.

        Shapes: g [in] or None, the weights [in, features] each, first the real ones.
        """
        gates = () if g is None else (g,)
        self.penalty("l1", add_up(jnp.sum(F.magnitude(parameter)) for parameter in (*weights, *gates)))
        discreteness = jnp.mean(F.magnitude(1 - F.magnitude(weights[0])))
        if "i" in self.clip:
            discreteness = add_up([discreteness, *(jnp.sum(F.magnitude(imaginary)) for imaginary in weights[1:])])
        self.penalty("discreteness", discreteness)
        if g is not None:
            self.penalty("gate", F.nmu_sparsity(g))


@UNITS.register("npu")
class NPU(RealNPU):
    """Neural power unit (NPU): the RealNPU with complex weights, of whose output the real part is taken.

    exp(W_re log r - W_im k) ⊙ cos(W_re k + W_im log r); W_im starts at 0. Heim, Pevný & Šmídl 2020, arXiv 2006.01681.
    """

    label: ClassVar[str] = "NPU"

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        w_real, w_imag = self.real_weight(x.shape[0]), self.imaginary_weight(x.shape[0])
        g = self.relevance(x.shape[0])
        self.penalties(g, w_real, w_imag)
        return F.npu(*self.promote(x, w_real, w_imag, g))

    def imaginary_weight(self, inputs: int) -> Array:
        """W_im [in, features], declared as the unit's second weight."""
        initializer = bounded(nn.initializers.zeros, -1.0, 1.0) if "i" in self.clip else nn.initializers.zeros
        w_imag = self.param("w_imag", initializer, (inputs, self.features), self.param_dtype)
        self.weight("W_imag", w_imag)
        return w_imag


@UNITS.register("naive_npu")
class NaiveNPU(NPU):
    """NPU without its relevance gate. An ablation of Heim, Pevný & Šmídl 2020."""

    label: ClassVar[str] = "naive NPU"

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        w_real, w_imag = self.real_weight(x.shape[0]), self.imaginary_weight(x.shape[0])
        self.penalties(None, w_real, w_imag)
        return F.naive_npu(*self.promote(x, w_real, w_imag))


def modified(start: int, end: int) -> dict[str, Penalty]:
    """The penalties of the modified RealNPU, their ramp in steps."""
    ramp = Penalty(1.0, start, end)
    return l1_growing_from(1e-9) | {"discreteness": ramp, "gate": ramp}


@UNITS.register("real_npu_modified")
class RealNPUModified(RealNPU):
    """RealNPU made robust: W and gate projected, W starting as a NAU's, both drawn to discrete values.

    Mistry, Farrahi & Hare 2022, arXiv 2110.05177, where it is the RealNPU "modified".
    """

    label: ClassVar[str] = "RealNPU (modified)"
    recipes: ClassVar[tuple[Recipe, ...]] = (
        Recipe(DIVISION_2022, {"task": "single_unit", "input_size": 2}, POWER, modified(40_000, 50_000)),
        Recipe(DIVISION_2022, {}, POWER, modified(50_000, 75_000)),
    )

    clip: str = "wg"
    constrained: bool = True
