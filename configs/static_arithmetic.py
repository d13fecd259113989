"""Static arithmetic: learn an operation on the sums of two subsets of a vector, and be judged outside the training range.

Presets, chosen by what follows the colon:

  configs/static_arithmetic.py                   as Madsen & Johansen 2020 (arXiv 2001.05016), their table of 11 models and
                                                 6 operations: 100 inputs, U[1, 2] → U[2, 6], 100 seeds, 5,000,000 steps
  configs/static_arithmetic.py:simple            their section 1.1: t = (x1 + x2)(x1 + x2 + x3 + x4), 200,000 steps and
                                                 5 models; their ramps begin later, so no sparsity penalty ever acts
  configs/static_arithmetic.py:trask             Trask et al. 2018 (arXiv 1808.00508), section 4.1 and tables 1, 6 and 7

A unit's name stands for a network of two layers, with its partner where the papers give it one: "nmu" is a NAU, then an
NMU. Optimizer, penalties and their ramps are those of the unit's recipe (docs/units.md) unless a flag changes them, such as
--config.optimizer.learning_rate=1e-2 or --config.penalties.sparsity.weight=1.

The 2018 paper does not state its data; the preset takes x ~ U[0, 0.5], slices of 5 to 15 of the 100 inputs, none shared, and
a test on U[0, 2] beyond the training range. Nor does it state an optimizer for this task: for RMSProp, which many
reimplementations use, add --config.optimizer.name=rmsprop --config.optimizer.learning_rate=1e-2.

Time:     on two cores 5 to 50 minutes for a cell of 25 seeds; :simple and :trask minutes a cell
Command:  python -m experiments.run --config=configs/static_arithmetic.py:simple --workdir=runs/simple
"""

from ml_collections import ConfigDict

PRESETS = ("madsen_johansen", "simple", "trask")
OPERATIONS = ("add", "sub", "mul", "div", "squared", "root")


def get_config(preset: str = "madsen_johansen") -> ConfigDict:
    """The config of a preset."""
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}; known: {', '.join(PRESETS)}")
    config = ConfigDict()

    config.num_seeds = 100
    config.first_seed = 0  # seeds are first_seed, first_seed + 1, ...
    config.num_steps = 5_000_000
    config.eval_every = 1_000
    config.block = 0  # seeds that a device trains at a time; 0: as many as fit the cache of a CPU's core

    config.learner = ConfigDict()
    config.learner.batch_size = 128
    config.learner.generator = "auto"  # of training batches: murmur on a CPU, threefry2x32 elsewhere; or pcg3d

    config.reports = ("summary", "scores", "curves", "weights", "ranges", "rates")

    config.unit = ConfigDict()  # settings for those units that have them
    config.unit.initializer = "madsen_johansen"  # of Ŵ and M̂; or glorot_uniform
    config.unit.epsilon = 1e-7  # of log(|x| + ε)

    config.network = ConfigDict({"name": "two_layer"})
    config.network.hidden_size = 2
    config.network.first_layer = ""  # another unit than the one that the name stands for, such as nac before a NALU
    config.network.last_layer = ""

    config.task = ConfigDict({"name": "static_arithmetic"})
    config.task.input_size = 100
    config.task.interpolation_range = (1.0, 2.0)  # or ((-2.0, -1.0), (1.0, 2.0)): each element picks one
    config.task.extrapolation_range = (2.0, 6.0)
    config.task.subsets = ConfigDict({"name": "overlapping"})
    config.task.subsets.subset_ratio = 0.25
    config.task.subsets.overlap_ratio = 0.5
    config.task.beyond_training = False

    config.grid = ConfigDict()  # a cell for each combination
    config.grid.unit = (
        "nac_mul_nmu", "nac_mul_sigma", "nac_mul", "nac", "gated_nau_nmu", "linear", "nalu", "nau", "nmu", "relu", "relu6",
    )  # fmt: skip
    config.grid.operation = OPERATIONS

    if preset == "simple":
        config.num_steps = 200_000
        config.task.input_size = 4
        config.task.subsets = ConfigDict({"name": "nested"})
        config.grid.unit = ("nac_mul", "nac_mul_sigma", "nalu", "nmu", "gated_nau_nmu")
        config.grid.operation = ("mul",)
    if preset == "trask":
        config.num_steps = 100_000
        config.unit.initializer = "glorot_uniform"
        config.task.interpolation_range = (0.0, 0.5)
        config.task.extrapolation_range = (0.0, 2.0)
        config.task.subsets = ConfigDict({"name": "disjoint", "smallest": 5, "largest": 15})
        config.task.beyond_training = True
        config.grid.unit = (
            "relu6", "softsign", "tanh", "sigmoid", "selu", "elu", "relu", "crelu", "linear", "nac", "nalu",
        )  # fmt: skip
    return config
