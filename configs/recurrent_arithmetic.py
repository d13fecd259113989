"""Arithmetic on sums over time: ten steps in training, up to a thousand in the test.

The recurrent half of Trask et al. 2018 (arXiv 1808.00508), section 4.1, appendix B and tables 1, 8 and 9: ten numbers at
each step, a and b the sums of two slices of them over all steps, one of six operations on a and b as the answer at the end;
two hidden numbers in every network. The paper states neither its data nor how it trained. Here x ~ U[0, 0.5], with slices
of 2 to 5 of the ten numbers, none shared. Its targets grow with the length for every operation; of these data a ÷ b does
not, so that at a thousand steps a constant is a good answer to it.

Networks: h = U([x; h]), the form that the paper's words suggest, with the same unit on the last h as the answer, for NAC,
NALU, NMU and NAU, and with NMU and NAC• behind the NAU; as a control h + U(x), to which the sum is given; LSTM, GRU,
RNN-tanh and RNN-ReLU with a linear readout. The first h is learned, from 0, or from 1 where a unit multiplies.

Presets, chosen by what follows the colon:

  configs/recurrent_arithmetic.py          quick: 10 seeds, 20,000 steps
  configs/recurrent_arithmetic.py:paper    100 seeds, 100,000 steps

Adam at 3e-2 with half a cosine of decay: of the rates 3e-3, 1e-2 and 3e-2 the best for NAC, NAU and LSTM. At a constant
1e-3 the median NAC errs by 18 % of a + b at a thousand steps, and the median NAU by 11 %. Gradients are clipped to a norm
of 1 in all networks, for the sake of LSTM and RNNs; it does the NAC no harm (a - b: 3 of 4 seeds are solved, without it 2
of 4). The NAU's penalty of sparsity is of the weight in Madsen & Johansen's code for this task, 0.1, and acts in full from
step 10,000 on; at 0.1, 3 of 4 seeds of the NAU solve a + b, at the unit's usual 0.01, 2 of 4.

A seed is solved if its squared error at a thousand steps is below that of a network whose selection is off by 1e-5 and
which is exact else: for sums and products the weight with which h is kept must then be 1 to the last digit of float32.

Time:     about twenty minutes of CPU time (90 cells, 900 seeds)
Command:  python -m experiments.run --config=configs/recurrent_arithmetic.py --workdir=runs/recurrent_arithmetic
"""

from ml_collections import ConfigDict

PRESETS = ("quick", "paper")


def get_config(preset: str = "quick") -> ConfigDict:
    """The config of a preset."""
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}; known: {', '.join(PRESETS)}")
    config = ConfigDict()

    config.num_seeds = 10
    config.first_seed = 0
    config.num_steps = 20_000
    config.eval_every = 2_000
    config.block = 0  # seeds that a device trains at a time; 0: as many as fit the cache of a CPU's core

    config.learner = ConfigDict()
    config.learner.batch_size = 128  # sequences
    config.learner.generator = "auto"  # of training batches: murmur on a CPU, threefry2x32 elsewhere; or pcg3d

    config.reports = ("recurrent", "summary")

    config.unit = ConfigDict()  # settings for those units that have them
    config.unit.initializer = "glorot_uniform"  # of Ŵ and M̂; or madsen_johansen
    config.unit.epsilon = 1e-7  # of log(|x| + ε)

    config.network = ConfigDict({"name": "recurrent"})
    config.network.reader = ConfigDict({"name": "identity"})
    config.network.features = 1  # not used: a cell reads the vectors as they are
    config.network.cell = "unit"  # h = U([x; h]); or accumulator, lstm, gru, rnn_tanh, rnn_relu
    config.network.hidden_size = 2
    config.network.readout = "last_state"  # U'(h_T)
    config.network.readout_unit = ""  # U'; the unit of the cell, or another
    config.network.first_state = "learned"  # h_0; from 0, of a unit that multiplies from 1; or neutral: not learned

    config.task = ConfigDict({"name": "recurrent_arithmetic"})
    config.task.input_size = 10
    config.task.interpolation_range = (0.0, 0.5)
    config.task.extrapolation_range = (0.0, 0.5)
    config.task.subsets = ConfigDict({"name": "disjoint", "smallest": 2, "largest": 5})
    config.task.train_length = 10
    config.task.lengths = (10, 30, 100, 300, 1_000)
    config.task.num_sequences = 200

    config.optimizer = ConfigDict({"name": "adam"})
    config.optimizer.learning_rate = 3e-2
    config.optimizer.schedule = "cosine"
    config.optimizer.clip_norm = 1.0

    config.parts = ("units", "nau", "accumulators", "baselines")  # of the grid, in this order
    config.grid = ConfigDict()  # of each part a cell for each combination
    config.grid.operation = ("add", "sub", "mul", "div", "squared", "root")
    config.grid.units = ConfigDict({"unit": ("nac", "nalu", "nmu"), "cell": ("unit",)})
    config.grid.nau = ConfigDict({"unit": ("nau",), "cell": ("unit", "accumulator")})
    config.grid.nau.readout_unit = ("nau", "nmu", "nac_mul")
    config.grid.nau.sparsity_weight = (0.1,)  # of cell and readout, from step 5,000 on, in full
    config.grid.nau.sparsity_end = (10_000,)  # from here on
    config.grid.accumulators = ConfigDict({"unit": ("nac", "nalu"), "cell": ("accumulator",)})
    config.grid.baselines = ConfigDict({"cell": ("lstm", "gru", "rnn_tanh", "rnn_relu"), "readout_unit": ("linear",)})

    if preset == "paper":
        config.num_seeds = 100
        config.num_steps = 100_000
        config.eval_every = 5_000
    return config
