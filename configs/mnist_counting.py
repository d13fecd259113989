"""Counting digits: how often each came in a sequence of ten images, supervised at the last step only; tested on a thousand.

The counting task of Trask et al. 2018, section 4.2 and appendix C: a convnet reads each image, a cell goes over what it
read, and no label says which digit an image shows. Tested at 1, 10, 100 and 1,000 images.

Presets, chosen by what follows the colon:

  configs/mnist_counting.py          quick: 5,000 real images that need no network
  configs/mnist_counting.py:paper    the full MNIST, dropout as in the paper's convnet, 10 seeds, 50,000 steps, for a GPU

The cells are those of the paper and two forms of each unit (unit: h = NAC([z; h]), accumulator: h + NAC(z)); each cell of
Flax with a dense readout and, as in the published code, without one; and exact_sum, which has no parameters, so that what is
left of its error is misread digits.

A quarter of an hour on two cores (15 cells, 60 seeds). The accumulators of NAC and NAU, the LSTM and the GRU learn to count
ten images, and read 96 to 97 % of the digits. At 1,000 images the mean absolute error of a count is 7.8 for the NAC's
accumulator and 6.8 for the NAU's, as for the exact cell (6.4), and 99 for LSTM and GRU, which keep predicting the counts of
ten images. h = NAC([z; h]) learns the mean and nothing else, and h = NALU([z; h]) diverges. results/README.md has the rest.

Time:     sixteen minutes on two cores; :paper is for a GPU
Command:  python -m experiments.run --config=configs/mnist_counting.py --workdir=runs/mnist_counting
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
    config.num_steps = 1_000
    config.eval_every = 200
    config.block = 1  # seeds that a device trains at a time: the images of one fill a core's cache

    config.learner = ConfigDict()
    config.learner.batch_size = 16  # sequences
    config.learner.generator = "auto"  # of training batches: murmur on a CPU, threefry2x32 elsewhere; or pcg3d

    config.reports = ("lengths", "summary", "length_curves", "strip", "reads", "curves", "weights")

    config.unit = ConfigDict()  # settings for those units that have them
    config.unit.initializer = "madsen_johansen"  # of Ŵ and M̂; or glorot_uniform
    config.unit.epsilon = 1e-7  # of log(|x| + ε)

    config.network = ConfigDict({"name": "recurrent"})
    config.network.reader = ConfigDict({"name": "trask"})  # 10 and 20 filters, 50 hidden numbers
    config.network.reader.dropout = 0.0
    config.network.features = 10  # numbers that the convnet reads of an image
    config.network.cell = "unit"  # h = U([z; h]); or accumulator, lstm, gru, rnn_tanh, rnn_relu, exact_sum, exact_product
    config.network.hidden_size = 64  # of cells with a readout
    config.network.readout = "none"  # or dense: a linear layer behind the cell

    config.task = ConfigDict({"name": "mnist_counting"})
    config.task.data = "embedded"
    config.task.train_length = 10
    config.task.lengths = (1, 10, 100, 1_000)
    config.task.num_sequences = 500
    config.task.threshold = 0.0  # none: the tables take the error of exact_sum

    config.optimizer = ConfigDict({"name": "adam"})
    config.optimizer.learning_rate = 2e-3

    config.parts = ("units", "dense", "exact")  # of the grid, in this order
    config.grid = ConfigDict()  # of each part a cell for each combination
    config.grid.units = ConfigDict({"unit": ("nac", "nalu", "nau"), "cell": ("unit", "accumulator")})
    config.grid.dense = ConfigDict({"cell": ("lstm", "gru", "rnn_tanh", "rnn_relu"), "readout": ("dense", "none")})
    config.grid.exact = ConfigDict({"cell": ("exact_sum",)})

    if preset == "paper":
        config.num_seeds = 10
        config.num_steps = 50_000
        config.eval_every = 1_000
        config.learner.batch_size = 64
        config.block = 0  # all seeds at a time
        config.network.reader.dropout = 0.5
        config.task.data = "mnist"
        config.task.num_sequences = 1_000
        config.optimizer.learning_rate = 1e-3
    return config
