"""The running product of a sequence of digits, supervised at each image; tested on twenty.

The sequential MNIST product of Madsen & Johansen 2020 (arXiv 2001.05016, section 4.3 and appendix): a convnet reads one
number of each image, h = U([z; h]) multiplies it with one number that is remembered, and h is the answer. Digits from 1 to
9, two images in training, up to twenty in the test; errors are means over all places up to a length.

Presets, chosen by what follows the colon:

  configs/mnist_product.py          quick: 5,000 real images that need no network, and a smaller convnet
  configs/mnist_product.py:paper    the full MNIST and the convnet of the paper, 10 seeds, 388,000 steps, for a GPU

exact_product has no parameters in its cell; the error of its seeds is the threshold of the others, as in the paper. As
there, h starts from 1 where a unit multiplies and cannot add, and from 0 in the NALU and the LSTM. The LSTM with no readout
is the paper's, one number with nothing behind it, which cannot exceed 1; the other has 64 numbers and a dense readout.
r_z_weight is that of the penalty R_z (the paper's λ_z = 1), which holds what the convnet reads at the size of the digits;
that of sparsity sets in at 10,000 steps, so not on the quick page.

Fifteen minutes on two cores (10 cells, 40 seeds). NMU and NAC•,NMU multiply two digits as well as the exact cell does. With
R_z the weights of the NMU come out 0.04 to 0.23 off 0 and 1, without it 0.30 to 0.44, and all four seeds keep up with the
exact cell from two to five digits, some beyond; without it none does at four. The LSTM reads best and is lost at the third
digit; NAC• and NALU learn next to nothing. results/README.md has the rest.

Time:     fifteen minutes on two cores; :paper is for a GPU
Command:  python -m experiments.run --config=configs/mnist_product.py --workdir=runs/mnist_product
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
    config.num_steps = 3_000
    config.eval_every = 300
    config.block = 1  # seeds that a device trains at a time: the images of one fill a core's cache

    config.learner = ConfigDict()
    config.learner.batch_size = 32  # sequences
    config.learner.generator = "auto"  # of training batches: murmur on a CPU, threefry2x32 elsewhere; or pcg3d

    config.reports = ("lengths", "summary", "length_curves", "strip", "reads", "curves", "weights")

    config.unit = ConfigDict()  # settings for those units that have them
    config.unit.initializer = "madsen_johansen"  # of Ŵ and M̂; or glorot_uniform
    config.unit.epsilon = 1e-7  # of log(|x| + ε)

    config.network = ConfigDict({"name": "recurrent"})
    config.network.reader = ConfigDict({"name": "trask"})  # 10 and 20 filters, 50 hidden numbers
    config.network.reader.dropout = 0.0
    config.network.features = 1  # numbers that the convnet reads of an image
    config.network.cell = "unit"  # h = U([z; h]); or accumulator, lstm, gru, rnn_tanh, rnn_relu, exact_sum, exact_product
    config.network.hidden_size = 64  # of cells with a readout
    config.network.readout = "none"  # or dense: a linear layer behind the cell

    config.task = ConfigDict({"name": "mnist_product"})
    config.task.data = "embedded"
    config.task.train_length = 2
    config.task.lengths = tuple(range(1, 21))
    config.task.num_sequences = 500
    config.task.threshold = 0.0  # none: the tables take the error of exact_product

    config.optimizer = ConfigDict({"name": "adam"})
    config.optimizer.learning_rate = 2e-3

    config.parts = ("units", "r_z", "lstm", "exact")  # of the grid, in this order
    config.grid = ConfigDict()  # of each part a cell for each combination
    config.grid.units = ConfigDict({"unit": ("nac_mul", "nac_mul_sigma", "nac_mul_nmu", "nmu", "nalu"), "cell": ("unit",)})
    config.grid.r_z = ConfigDict({"unit": ("nac_mul_nmu", "nmu"), "cell": ("unit",), "r_z_weight": (1.0,)})
    config.grid.lstm = ConfigDict({"cell": ("lstm",), "readout": ("dense", "none")})
    config.grid.exact = ConfigDict({"cell": ("exact_product",)})

    if preset == "paper":
        config.num_seeds = 10
        config.num_steps = 388_000  # a thousand times through the images
        config.eval_every = 1_940
        config.learner.batch_size = 64
        config.block = 0  # all seeds at a time
        config.network.reader.name = "madsen_johansen"  # 20 and 50 filters, 500 hidden numbers
        config.task.data = "mnist"
        config.optimizer.learning_rate = 1e-3
    return config
