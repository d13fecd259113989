"""How the papers trained each unit: plain numbers that a unit carries with it and that a config may change one by one."""

import dataclasses
import math
from collections.abc import Collection, Mapping
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
    """What compiled programs depend on of an optimizer; the numbers that they take as arguments are left out."""

    name: str
    schedule: str
    warmup_steps: int
    num_steps: int  # at which a schedule ends; 0 without one
    gate_turn: int
    constants: tuple[tuple[str, float], ...]  # numbers by name, those alone that are set


SCHEDULES = ("constant", "linear", "cosine", "exponential")
OWN = -1.0  # stands for the constant that an optimizer's paper has


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """An optimizer by name, how its learning rate changes, and what is done to the gradient before it sees it.

    Every number may be an axis of a grid, whose values then train in one program.

    Attributes:
      name: key of nalu_jax.registry.OPTIMIZERS.
      learning_rate: its learning rate, before the schedule.
      schedule: how the learning rate goes from ``learning_rate`` to ``end_factor`` times it over the steps of the run:
        "constant", "linear", "cosine" or "exponential".
      end_factor: the learning rate at the end over that at the start.
      warmup_steps: steps over which the learning rate rises from 0 before the schedule begins.
      momentum: Adam's β1, or the momentum of gradient descent; -1: the published one.
      decay: Adam's β2, or the decay of RMSProp's average of squares; -1: the published one.
      eps: ε of Adam and RMSProp; -1: the published one.
      clip_norm: the gradient of a seed is scaled down to this norm; 0 means not.
      clip_value: then each of its elements is clipped to ± this; 0 means not.
      gate_turn: of every ten steps the last so many train the gates and the others all else; 0 means that all steps
        train all.

    Raises ValueError for a number that cannot be.
    """

    name: str = "adam"
    learning_rate: float = 1e-3
    schedule: str = "constant"
    end_factor: float = 0.0
    warmup_steps: int = 0
    momentum: float = OWN
    decay: float = OWN
    eps: float = OWN
    clip_norm: float = DISABLED
    clip_value: float = DISABLED
    gate_turn: int = 0

    def __post_init__(self):
        # The smallest normal number of float32, below which it is 0 there.
        refuse_unless(
            2**-126 <= self.learning_rate < math.inf, "learning_rate", self.learning_rate, "a positive number in float32"
        )
        refuse_unless(self.schedule in SCHEDULES, "schedule", self.schedule, f"one of {', '.join(SCHEDULES)}")
        refuse_unless(0 <= self.end_factor < math.inf, "end_factor", self.end_factor, "a number of at least 0")
        if self.schedule == "constant":
            refuse_unless(self.end_factor == 0, "end_factor", self.end_factor, "0 where the learning rate is constant")
        if self.schedule == "exponential":
            refuse_unless(self.end_factor > 0, "end_factor", self.end_factor, "above 0 where the schedule is exponential")
        whole = isinstance(self.warmup_steps, int) and 0 <= self.warmup_steps < 2**31
        refuse_unless(whole, "warmup_steps", self.warmup_steps, "a whole number of at least 0")
        for field in ("momentum", "decay"):
            value = getattr(self, field)
            refuse_unless(value == OWN or 0 <= value < 1, field, value, "in [0, 1), or -1 for the published one")
        refuse_unless(self.eps == OWN or 0 < self.eps < math.inf, "eps", self.eps, "positive, or -1 for the published one")
        for field in ("clip_norm", "clip_value"):
            value = getattr(self, field)
            refuse_unless(0 <= value < math.inf, field, value, "a number of at least 0")
        whole = isinstance(self.gate_turn, int) and self.gate_turn in range(10)
        refuse_unless(whole, "gate_turn", self.gate_turn, "a whole number from 0 to 9")

    @property
    def chain(self) -> Chain:
        """The optimizer without its learning rate."""
        return self.without()

    def without(self, swept: Collection[str] = (), num_steps: int = 0) -> Chain:
        """The optimizer without its learning rate and the numbers that are swept, in a run of so many steps.

        Raises ValueError for a warm-up that is longer than the run.
        """
        scheduled = self.schedule != "constant" or self.warmup_steps > 0
        if scheduled and self.warmup_steps >= num_steps:
            raise ValueError(f"warmup_steps must be less than num_steps, which is {num_steps}, got {self.warmup_steps}")
        constants = {name: getattr(self, name) for name, none in UNSET.items() if getattr(self, name) != none}
        if self.schedule != "constant":
            constants["end_factor"] = self.end_factor
        kept = tuple((name, value) for name, value in constants.items() if name not in swept)
        return Chain(self.name, self.schedule, self.warmup_steps, num_steps if scheduled else 0, self.gate_turn, kept)


# What numbers of an Optimizer are where they are not set; a program without them is another one.
UNSET = {"momentum": OWN, "decay": OWN, "eps": OWN, "clip_norm": DISABLED, "clip_value": DISABLED}
# The fields of an Optimizer that programs may take as arguments.
NUMBERS = ("learning_rate", "end_factor", "momentum", "decay", "eps", "clip_norm", "clip_value")

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
