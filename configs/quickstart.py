"""Quickstart: what neural arithmetic units promise and what they keep, on + - × ÷ in two minutes.

From four numbers in [1, 2], learn a + b, a - b, a × b and a ÷ b of a = x1 + x2 + x3 + x4 and b = x1 + x2, and be judged on
[2, 6]: the simple task of Madsen & Johansen 2020 (arXiv 2001.05016, section 1.1) with smaller batches and a higher learning
rate. 32 seeds a cell; a minute on two cores.

It reaches (2 CPU cores, jax 0.10.1), in percent of the seeds: NAC + 88 and - 100; NAC• - 41 and × 19; NALU + 12, - 34 and
× 16; a linear network + and - 100; ReLU6 nothing, though it fits every training range; and nothing solves ÷.

Time:     a minute on two cores (20 cells, 640 seeds)
Command:  python -m experiments.run --config=configs/quickstart.py --workdir=runs/quickstart      (or scripts/run)
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The config of the quickstart."""
    config = ConfigDict()

    config.num_seeds = 32
    config.first_seed = 0
    config.num_steps = 50_000
    config.eval_every = 1_000
    config.block = 0  # seeds that a device trains at a time; 0: as many as fit the cache of a CPU's core

    config.learner = ConfigDict()
    config.learner.batch_size = 32
    config.learner.generator = "auto"  # of training batches: murmur on a CPU, threefry2x32 elsewhere; or pcg3d

    config.reports = ("summary", "scores", "curves", "weights", "ranges", "rates")

    config.unit = ConfigDict()
    config.unit.initializer = "madsen_johansen"
    config.unit.epsilon = 1e-7

    config.network = ConfigDict({"name": "two_layer"})
    config.network.hidden_size = 2

    config.task = ConfigDict({"name": "static_arithmetic"})
    config.task.input_size = 4
    config.task.interpolation_range = (1.0, 2.0)
    config.task.extrapolation_range = (2.0, 6.0)
    config.task.subsets = ConfigDict({"name": "nested"})
    config.task.beyond_training = False

    config.optimizer = ConfigDict({"name": "adam"})
    config.optimizer.learning_rate = 1e-2

    config.grid = ConfigDict()
    config.grid.unit = ("nac", "nac_mul", "nalu", "linear", "relu6")
    config.grid.operation = ("add", "sub", "mul", "div")
    return config
