"""How the learning rate decides what NAC, NAC• and NALU learn: rates from 1e-5 to 1e-1, each with three optimizers.

The study of Madsen & Johansen 2019, "Measuring arithmetic extrapolation performance" (arXiv 1910.01888): Adam, SGD and SGD
with momentum 0.9, four operations, 25 seeds.

Presets, chosen by what follows the colon:

  configs/learning_rate_study.py         four inputs, a = x1 + x2 + x3 + x4 and b = x1 + x2 (the simple task of Madsen &
                                         Johansen 2020, arXiv 2001.05016), nine rates, 100,000 steps
  configs/learning_rate_study.py:paper   as published: 100 inputs, five rates, 5,000,000 steps

All rates of a unit, an operation and an optimizer train in one program. The picture rates.png has the success rate against
the learning rate, with its 95 % interval, a row an operation and a column an optimizer.

A quarter of an hour on two cores (324 cells, 8,100 seeds, 36 programs). With Adam the NAC adds and subtracts with all seeds
from 1e-3 on. NAC• and NALU do the better, by and large, the higher the rate: at 1e-1 NAC• subtracts with 96 %, multiplies
with 56 % and divides with 60 % of its seeds, and the NALU with 84, 40 and 16 %; at 1e-3 it is 44, 24 and 0 %, and 12, 20 and
0 %. With SGD nothing is solved, and with momentum nothing but 8 % of the NAC's subtractions at 1e-1. results/README.md has
the picture.

Time:     a quarter of an hour on two cores (324 cells, 8,100 seeds); :paper days
Command:  python -m experiments.run --config=configs/learning_rate_study.py --workdir=runs/learning_rate_study
"""

from ml_collections import ConfigDict

PRESETS = ("simple", "paper")


def get_config(preset: str = "simple") -> ConfigDict:
    """The config of a preset."""
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}; known: {', '.join(PRESETS)}")
    config = ConfigDict()

    config.num_seeds = 25
    config.first_seed = 0  # seeds are first_seed, first_seed + 1, ...
    config.num_steps = 100_000
    config.eval_every = 1_000
    config.block = 0  # seeds that a device trains at a time; 0: as many as fit the cache of a CPU's core

    config.learner = ConfigDict()
    config.learner.batch_size = 128
    config.learner.generator = "auto"  # of training batches: murmur on a CPU, threefry2x32 elsewhere; or pcg3d

    config.reports = ("summary", "rates", "ranges", "curves")

    config.unit = ConfigDict()
    config.unit.initializer = "madsen_johansen"  # of Ŵ and M̂; or glorot_uniform
    config.unit.epsilon = 1e-7  # of log(|x| + ε)

    config.network = ConfigDict({"name": "two_layer"})
    config.network.hidden_size = 2

    config.task = ConfigDict({"name": "static_arithmetic"})
    config.task.input_size = 4
    config.task.interpolation_range = (1.0, 2.0)
    config.task.extrapolation_range = (2.0, 6.0)
    config.task.subsets = ConfigDict({"name": "nested"})
    config.task.beyond_training = False

    config.grid = ConfigDict()  # a cell for each combination
    config.grid.unit = ("nac", "nac_mul", "nalu")
    config.grid.operation = ("add", "sub", "mul", "div")
    config.grid.optimizer = ("adam", "sgd", "momentum")
    config.grid.learning_rate = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)

    if preset == "paper":
        config.num_steps = 5_000_000
        config.task.input_size = 100
        config.task.subsets = ConfigDict({"name": "overlapping", "subset_ratio": 0.25, "overlap_ratio": 0.5})
        config.grid.learning_rate = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
    return config
