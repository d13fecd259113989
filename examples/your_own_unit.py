"""A unit of your own, outside the package, and the experiment that tries it.

A config page is a Python file that runs when it is loaded: a unit that registers itself here is known to the experiment by
its name, as the package's own are, with its recipe, its penalties and its operations. Here it is a NAU in log space, which
multiplies and divides, beside the NMU, which cannot divide. Eight seeds a cell, all of them solve it; half a minute on two
cores.

Command:  python -m experiments.run --config=examples/your_own_unit.py --workdir=runs/your_own_unit
"""

from typing import ClassVar

import flax.linen as nn
from ml_collections import ConfigDict

from nalu_jax import functional as F
from nalu_jax.bounded import bounded
from nalu_jax.initializers import nau_uniform
from nalu_jax.recipes import Penalty, Recipe
from nalu_jax.registry import UNITS
from nalu_jax.types import Array
from nalu_jax.units.base import Unit


@UNITS.register("log_nau")
class LogNAU(Unit):
    """NAU in log space: y = exp(W log(|x| + ε)), W projected onto [-1, 1] and drawn towards -1, 0 and 1."""

    # What it can compute of two inputs; a grid over operations can leave out the others.
    operations: ClassVar[tuple[str, ...]] = ("mul", "div")
    # How it is trained where the page does not say it: here with the penalty that ``columns`` declares under this name,
    # which sets in from step 500 to 1,000.
    recipes: ClassVar[tuple[Recipe, ...]] = (Recipe("this example", penalties={"sparsity": Penalty(0.1, 500, 1_000)}),)

    epsilon: float = 1e-7  # a field of the unit is a field of the page: config.unit.epsilon

    @nn.compact
    def columns(self, x: Array) -> Array:
        """[in, ...] → [features, ...]."""
        # The interval belongs to the parameter; the optimizer's step is followed by a projection onto it.
        w = self.param("w", bounded(nau_uniform, -1.0, 1.0), (x.shape[0], self.features), self.param_dtype)
        # The effective weights, for sparsity errors and pictures, and the penalty.
        self.weight("W", w)
        self.penalty("sparsity", F.nau_sparsity(w))
        return F.log_space(x, w, epsilon=self.epsilon)


def get_config() -> ConfigDict:
    """The experiment: each unit alone learns a × b and a ÷ b on [1, 2] and is judged on [2, 6]."""
    config = ConfigDict()

    config.num_seeds = 8
    config.first_seed = 0
    config.num_steps = 3_000
    config.eval_every = 500
    config.block = 0  # seeds that a device trains at a time; 0: as many as fit the cache of a CPU's core

    config.learner = ConfigDict()
    config.learner.batch_size = 32
    config.learner.generator = "auto"

    config.reports = ("summary", "curves", "weights")

    config.unit = ConfigDict()
    config.unit.epsilon = 1e-7

    config.network = ConfigDict({"name": "single"})

    config.task = ConfigDict({"name": "single_unit"})
    config.task.input_size = 2
    config.task.interpolation_range = (1.0, 2.0)
    config.task.extrapolation_range = (2.0, 6.0)
    config.task.epsilon = 1e-4  # of the threshold

    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = 1e-2  # of both units; what else there is to training, each has in its recipe

    config.skip_unsupported = True  # leave out the cells whose unit cannot compute the operation
    config.grid = ConfigDict()
    config.grid.unit = ("log_nau", "nmu")
    config.grid.operation = ("mul", "div")
    return config
