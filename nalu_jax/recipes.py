"""How the papers trained each unit: plain numbers that a unit carries with it and that a config may change one by one."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

DISABLED = 0.0

# Papers whose recipes several families of units have.
MISTRY_2022 = "Mistry, Farrahi & Hare 2022, JMLR 23(185)"
DIVISION_2022 = "Mistry, Farrahi & Hare 2022, arXiv 2110.05177"


def refuse_unless(allowed: bool, field: str, value: Any, what: str) -> None:
    """Raises ValueError: field, value, and what is allowed."""
    if not allowed:
        raise ValueError(f"{field} must be {what}, got {value!r}")


@dataclasses.dataclass(frozen=True)
class Penalty:
    """The weight of a penalty over time: λ(t) = weight · ramp(t) · growth^min(⌊t / every⌋, times).

    ramp(t) = clip((t - start) / (end - start), 0, 1); where start = end, 0 before it and 1 from it on.

    Attributes:
      weight: λ̂, the weight at the end of the ramp, before growth.
      start, end: steps at which the ramp begins and is complete.
      growth: factor of each growth.
      every: steps between growths.
      times: number of growths.
      below: the penalty acts only while the validation error, as last evaluated, is below this; 0 means always.

    Raises ValueError for a number that cannot be.
    """

    weight: float
    start: int = 0
    end: int = 0
    growth: float = 1.0
    every: int = 1
    times: int = 0
    below: float = DISABLED

    def __post_init__(self):
        refuse_unless(math.isfinite(self.weight) and self.weight >= 0, "weight", self.weight, "a number of at least 0")
        for field in ("start", "end", "times"):
            value = getattr(self, field)
            refuse_unless(isinstance(value, int) and 0 <= value < 2**31, field, value, "a whole number of at least 0")
        refuse_unless(self.start <= self.end, "end", self.end, f"at least start, which is {self.start}")
        refuse_unless(isinstance(self.every, int) and self.every > 0, "every", self.every, "a positive whole number")
        refuse_unless(0 < self.growth < math.inf, "growth", self.growth, "a positive number")
        refuse_unless(0 <= self.below < math.inf, "below", self.below, "a number of at least 0")


@dataclasses.dataclass(frozen=True)
class Reinit:
    """When a seed that has come to a halt starts over, with fresh parameters: the rule of iNALU's published code.

    The validation error, as last evaluated, is noted at each step. At steps that ``check_every`` divides, if more than
    ``min_history`` errors are noted, they are halved in time: if mean(first) ≤ mean(second) + std(second) and
    mean(second) > ``threshold``, the parameters are drawn anew and the notes thrown away. The optimizer's moments stay.

    Attributes:
      check_every: steps between two checks; 0 means never.
      min_history: errors that must have been noted.
      threshold: the error that is good enough to go on.
      init_range: draw the new parameters from U(-init_range, init_range); 0 means from the unit's own initialisation.

    Raises ValueError for a number that cannot be.
    """

    check_every: int
    min_history: int
    threshold: float
    init_range: float = DISABLED

    def __post_init__(self):
        for field in ("check_every", "min_history"):
            value = getattr(self, field)
            refuse_unless(isinstance(value, int) and 0 <= value < 2**31, field, value, "a whole number of at least 0")
        refuse_unless(self.threshold >= 0, "threshold", self.threshold, "a number of at least 0")
        refuse_unless(0 <= self.init_range < math.inf, "init_range", self.init_range, "a number of at least 0")


class Chain(NamedTuple):
    """What an optimizer is made of, its learning rate apart: what compiled programs depend on. Fields as in Optimizer."""

    name: str
    clip_norm: float
    clip_value: float
    gate_turn: int


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """An optimizer by name, and what is done to the gradient before it sees it.

    Attributes:
      name: key of nalu_jax.registry.OPTIMIZERS.
      learning_rate: its learning rate.
      clip_norm: the gradient of a seed is scaled down to this norm; 0 means not.
      clip_value: then each of its elements is clipped to ± this; 0 means not.
      gate_turn: of every ten steps the last so many train the gates and the others all else; 0 means that all steps
        train all.

    Raises ValueError for a number that cannot be.
    """

    name: str = "adam"
    learning_rate: float = 1e-3
    clip_norm: float = DISABLED
    clip_value: float = DISABLED
    gate_turn: int = 0

    def __post_init__(self):
        refuse_unless(0 < self.learning_rate < math.inf, "learning_rate", self.learning_rate, "a positive number")
        for field in ("clip_norm", "clip_value"):
            value = getattr(self, field)
            refuse_unless(0 <= value < math.inf, field, value, "a number of at least 0")
        whole = isinstance(self.gate_turn, int) and self.gate_turn in range(10)
        refuse_unless(whole, "gate_turn", self.gate_turn, "a whole number from 0 to 9")

    @property
    def chain(self) -> Chain:
        """The optimizer without its learning rate."""
        return Chain(self.name, self.clip_norm, self.clip_value, self.gate_turn)


NO_REINIT = Reinit(check_every=0, min_history=0, threshold=0.0)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One published way to train a unit, and what for.

    Attributes:
      source: paper, and whose run it was.
      when: facts of the task under which it is meant: any of "task", "operation" and "input_size".
      optimizer: how steps are made.
      penalties: by name, the penalties that count and their weights over time; the unit may declare others.
      reinit: when a seed starts over.
    """

    source: str
    when: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    optimizer: Optimizer = Optimizer()
    penalties: Mapping[str, Penalty] = dataclasses.field(default_factory=dict)
    reinit: Reinit = NO_REINIT

    def fits(self, facts: Mapping[str, Any]) -> bool:
        """Whether it is meant for these facts."""
        return all(facts.get(name) == value for name, value in self.when.items())


DEFAULT_RECIPE = Recipe("Madsen & Johansen 2020, as for all units")
