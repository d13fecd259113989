"""Tracking time in a grid world: an agent that must step on its target exactly at time T, beyond the T of its training.

Trask et al. 2018 (arXiv 1808.00508), section 4.5 and figure 5: an actor-critic agent with an LSTM core, which is told T from
5 to 12 in training and up to 25 in the test; and the same with T through a NAC "and back into the LSTM". How it is wired,
the reward and the time limit are not stated; the rewards here are those that fit the figure. Wirings: what the LSTM reads
beside the world and T is nothing (none), NAC([T; h]) of its last output (feedback), r = NAC([T; r; h]) (accumulator), or
NAC(T) (input); and a linear layer fed back in the place of the NAC, to tell the NAC from the path.

All agents learn the numbers of training. From 13 to 19 the LSTM alone keeps 0.53 of the reward, near the published 0.48, and
with a NAC 0.40 to 0.50, where 0.88 is published; results/README.md has the rest.

Time:     about 25 minutes of CPU time (5 cells, 50 seeds); :paper is for a GPU, and has not been trained
Presets:  quick: a one-hot grid, ten seeds, two cores; paper: the 56 x 56 pixels and the convolutions of the paper, for a GPU
Command:  python -m experiments.run --config=configs/grid_world.py:quick --workdir=runs/grid_world
"""

from ml_collections import ConfigDict

PRESETS = ("quick", "paper")


def get_config(preset: str = "quick") -> ConfigDict:
    """The config of a preset."""
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}; known: {', '.join(PRESETS)}")
    config = ConfigDict()

    config.num_seeds = 10
    config.first_seed = 0  # seeds are first_seed, first_seed + 1, ...
    config.num_steps = 6_000  # of the optimizer: each is learner.unroll steps of learner.batch_size copies of the world
    config.eval_every = 1_000
    config.block = 0  # seeds that a device trains at a time; 0: as many as fit the cache of a CPU's core

    config.learner = ConfigDict({"name": "actor_critic"})
    config.learner.batch_size = 32  # copies of the world
    config.learner.unroll = 20  # steps of each between two of the optimizer
    config.learner.discount = 0.99
    config.learner.trace = 0.95  # λ of the advantages; 1: n-step returns
    config.learner.entropy = 0.01
    config.learner.value_weight = 0.5
    config.learner.bootstrap_truncated = False  # the time limit is a rule of the world, and its reward is final
    config.learner.generator = "auto"  # of actions and episodes: murmur on a CPU, threefry2x32 elsewhere; or pcg3d

    config.reports = ("time_tracking", "summary", "curves")

    config.unit = ConfigDict()  # settings for those units that have them
    config.unit.initializer = "glorot_uniform"  # of Ŵ and M̂

    config.network = ConfigDict({"name": "agent"})
    config.network.reader = ConfigDict({"name": "mlp"})
    config.network.features = 64  # of what is seen
    config.network.hidden_size = 64  # of the LSTM
    config.network.wiring = "none"
    config.network.unit_size = 16  # outputs of the unit, where there is one

    config.task = ConfigDict({"name": "grid_world"})
    config.task.size = 5
    config.task.observation = "one_hot"
    config.task.train_numbers = (5, 12)
    config.task.test_numbers = (5, 25)
    config.task.beyond_numbers = (13, 19)  # shown in tables
    config.task.time_limit = 30
    config.task.slope = 1 / 7  # reward lost for each step too early or too late
    config.task.time_out_reward = 0.0
    config.task.episodes = 20  # of the test, for each number

    config.optimizer = ConfigDict({"name": "adam"})
    config.optimizer.learning_rate = 3e-3
    config.optimizer.schedule = "linear"  # to end_factor of it at the end
    config.optimizer.end_factor = 0.1
    config.optimizer.clip_norm = 1.0  # of the gradient of a seed

    config.parts = ("alone", "fed_back", "accumulated", "put_in")  # of the grid, in this order
    config.grid = ConfigDict()  # of each part a cell for each combination
    config.grid.alone = ConfigDict({"wiring": ("none",)})
    config.grid.fed_back = ConfigDict({"unit": ("nac", "linear"), "wiring": ("feedback",)})
    config.grid.accumulated = ConfigDict({"unit": ("nac",), "wiring": ("accumulator",)})
    config.grid.put_in = ConfigDict({"unit": ("nac",), "wiring": ("input",)})

    if preset == "paper":
        config.num_steps = 30_000
        config.eval_every = 3_000
        config.learner.batch_size = 64
        config.network.reader = ConfigDict({"name": "mnih_2016"})
        config.network.features = 256
        config.network.hidden_size = 256
        config.task.observation = "pixels"
        config.optimizer.learning_rate = 1e-3
    return config
