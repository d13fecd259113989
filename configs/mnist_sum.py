"""A running sum of digits: see images one after another, hear at each of them what the digits have come to so far.

The sequential MNIST sum of Madsen & Johansen 2020 (arXiv 2001.05016, section 4.3 and appendix): a convnet reads one number
of each image, h = U([z; h]) adds it to one number that is remembered, and h is the answer. Ten images in training, up to a
thousand in the test; errors are means over all places up to a length.

Presets, chosen by what follows the colon:

  configs/mnist_sum.py          quick: 5,000 real images that need no network, and a smaller convnet
  configs/mnist_sum.py:paper    the full MNIST and the convnet of the paper, 10 seeds, 86,000 steps, for a GPU

exact_sum has nothing to learn but to read; the error of its seeds is the threshold of the others, as in the paper.
lstm_published is the paper's LSTM, one number with nothing behind it, which cannot say a number beyond 1; lstm has 64 and a
linear layer. Units with _rz have the penalty R_z (the paper's λ_z = 1), which holds what the convnet reads at the size of
the digits; that of sparsity sets in at 10,000 steps, so not on the quick page.

Eighteen minutes on two cores (10 cells, 40 seeds). With R_z three of four seeds of the NAU keep up with the exact cell from
one image to a thousand, without it at most two, and none at a thousand; of the accumulators of NAC and NAU, which need not
learn to remember, two to three do. h = NAC([z; h]) adds with one seed of four at best, the NALU with none. The LSTM reads
best, and stops at ten. results/README.md has the rest, with the paper's rates.

Command:  python -m experiments.run --config=configs/mnist_sum.py --workdir=runs/mnist_sum
"""

from ml_collections import ConfigDict

PRESETS = ("quick", "paper")


def get_config(preset: str = "quick") -> ConfigDict:
    """The config of a preset."""
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}; known: {', '.join(PRESETS)}")
    config = ConfigDict()

    config.num_seeds = 4
    config.first_seed = 0
    config.num_steps = 2_000
    config.eval_every = 200
    config.batch_size = 16  # sequences
    config.generator = "auto"  # of training batches: murmur on a CPU, threefry2x32 elsewhere; or pcg3d
    config.block = 1  # seeds that a device trains at a time: the images of one fill a core's cache

    config.unit = ConfigDict()  # settings for those units that have them
    config.unit.initializer = "madsen_johansen"  # of Ŵ and M̂; or glorot_uniform
    config.unit.epsilon = 1e-7  # of log(|x| + ε)

    config.network = ConfigDict({"name": "image_sequence"})
    config.network.trunk = ConfigDict({"name": "trask"})  # 10 and 20 filters, 50 hidden numbers
    config.network.trunk.dropout = 0.0
    config.network.features = 1  # numbers that the trunk reads of an image
    config.network.hidden_size = 64  # of the dense cells
    config.network.outputs = 1

    config.task = ConfigDict({"name": "mnist_sum"})
    config.task.data = "embedded"
    config.task.train_length = 10
    config.task.lengths = (1, 10, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1_000)
    config.task.num_sequences = 500
    config.task.threshold = 0.0  # none: the tables take the error of exact_sum

    config.optimizer = ConfigDict({"name": "adam"})
    config.optimizer.learning_rate = 2e-3

    config.grid = ConfigDict()
    config.grid.unit = (
        "nac", "nac_rz", "nac_accumulator", "nau", "nau_rz", "nau_accumulator", "nalu",
        "lstm", "lstm_published", "exact_sum",
    )  # fmt: skip

    if preset == "paper":
        config.num_seeds = 10
        config.num_steps = 86_000  # a thousand times through the images
        config.eval_every = 430
        config.batch_size = 64
        config.block = 0  # all seeds at a time
        config.network.trunk.name = "madsen_johansen"  # 20 and 50 filters, 500 hidden numbers
        config.task.data = "mnist"
        config.optimizer.learning_rate = 1e-3
    return config
