"""A running product of digits: see images one after another, hear at each of them what the digits multiply to so far.

The sequential MNIST product of Madsen & Johansen 2020 (arXiv 2001.05016, section 4.3 and appendix): a convnet reads one
number of each image, h = U([z; h]) multiplies it with one number that is remembered, and h is the answer. Digits from 1 to
9, two images in training, up to twenty in the test; errors are means over all places up to a length.

Presets, chosen by what follows the colon:

  configs/mnist_product.py          quick: 5,000 real images that need no network, and a smaller convnet
  configs/mnist_product.py:paper    the full MNIST and the convnet of the paper, 10 seeds, 388,000 steps, for a GPU

exact_product has nothing to learn but to read; the error of its seeds is the threshold of the others, as in the paper. As
there, h starts from 1 where a unit multiplies and cannot add, and from 0 in the NALU and the LSTM. lstm_published is the
paper's LSTM, one number with nothing behind it, which cannot say a number beyond 1; lstm has 64 and a linear layer. Units
with _rz have the penalty R_z (the paper's λ_z = 1), which holds what the convnet reads at the size of the digits; that of
sparsity sets in at 10,000 steps, so not on the quick page.

Fifteen minutes on two cores (10 cells, 40 seeds). NMU and NAC•,NMU multiply two digits as well as the exact cell does. With
R_z the weights of the NMU come out 0.04 to 0.23 off 0 and 1, without it 0.30 to 0.44, and all four seeds keep up with the
exact cell from two to five digits, some beyond; without it none does at four. The LSTM reads best and is lost at the third
digit; NAC• and NALU learn next to nothing. results/README.md has the rest.

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
    config.batch_size = 32  # sequences
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

    config.task = ConfigDict({"name": "mnist_product"})
    config.task.data = "embedded"
    config.task.train_length = 2
    config.task.lengths = tuple(range(1, 21))
    config.task.num_sequences = 500
    config.task.threshold = 0.0  # none: the tables take the error of exact_product

    config.optimizer = ConfigDict({"name": "adam"})
    config.optimizer.learning_rate = 2e-3

    config.grid = ConfigDict()
    config.grid.unit = (
        "nac_mul", "nac_mul_sigma", "nac_mul_nmu", "nac_mul_nmu_rz", "nmu", "nmu_rz", "nalu",
        "lstm", "lstm_published", "exact_product",
    )  # fmt: skip

    if preset == "paper":
        config.num_seeds = 10
        config.num_steps = 388_000  # a thousand times through the images
        config.eval_every = 1_940
        config.batch_size = 64
        config.block = 0  # all seeds at a time
        config.network.trunk.name = "madsen_johansen"  # 20 and 50 filters, 500 hidden numbers
        config.task.data = "mnist"
        config.optimizer.learning_rate = 1e-3
    return config
