"""The failure that started it: networks that give back the number they are given, outside the numbers of training.

Trask et al. 2018 (arXiv 1808.00508), section 1.1, figure 1 and table 5: an autoencoder of one number, three hidden layers of
eight, one activation in all of them, trained to give back the whole numbers from -5 to 4 and judged on those from -1000 to
999; a hundred networks each. Beside the activations of the paper a NAC and a NALU of the same size.

What the paper does not say is chosen as it fits its table best: gradient descent at 0.01 on all ten numbers at once,
weights and biases starting as PyTorch's. With Adam or RMSProp the linear network errs by 1 to 5, where less than 0.0001 is
published.

Time:     two minutes on two cores (18 cells, 1,800 seeds)
Command:  python -m experiments.run --config=configs/identity_extrapolation.py --workdir=runs/identity
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The config of the experiment."""
    config = ConfigDict()

    config.num_seeds = 100
    config.first_seed = 0  # seeds are first_seed, first_seed + 1, ...
    config.num_steps = 10_000
    config.eval_every = 1_000
    config.block = 0  # seeds that a device trains at a time; 0: as many as fit the cache of a CPU's core

    config.learner = ConfigDict()
    config.learner.batch_size = 10  # all numbers of training
    config.learner.generator = "auto"  # of what units draw while they train

    config.reports = ("identity", "summary", "curves")

    config.unit = ConfigDict()
    config.unit.start = "torch"  # of dense layers; or published: He's or Glorot's weights, and biases of 0
    config.unit.initializer = "glorot_uniform"  # of a NAC's Ŵ and M̂

    config.network = ConfigDict({"name": "mlp"})
    config.network.hidden_size = 8
    config.network.hidden_layers = 3

    config.task = ConfigDict({"name": "identity_extrapolation"})
    config.task.interpolation_range = (-5, 5)  # from the first whole number to below the second
    config.task.extrapolation_range = (-1000, 1000)

    config.optimizer = ConfigDict({"name": "sgd"})
    config.optimizer.learning_rate = 0.01

    config.grid = ConfigDict()  # a cell for each
    config.grid.unit = (
        "hardtanh", "relu6", "softsign", "tanh", "sigmoid", "threshold", "selu", "elu", "softshrink", "relu", "leaky_relu",
        "tanhshrink", "softplus", "prelu", "hardshrink", "linear", "nac", "nalu",
    )  # fmt: skip
    return config
