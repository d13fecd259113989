"""Numbers in words: an LSTM reads "five hundred and fifteen" word by word, a unit says the number.

Presets, chosen by what follows the colon:

  configs/language_to_number.py                  a small grid, 10,000 steps
  configs/language_to_number.py:paper            Trask et al. 2018 (arXiv 1808.00508), section 4.3 and appendix D, tables 3
                                                 and 11: 300,000 steps, two sizes and two rates, and all readouts
  configs/language_to_number.py:tuned            what comes nearest to the paper's NALU, a NALU that answers to each word, at
                                                 two sizes and two rates with ten seeds each: 40 runs, as in the paper

169 of the numbers from 0 to 999 are trained, 200 are for validation, 631 for the test. The paper picks by validation loss
among two sizes, two learning rates and ten starts, and prints the best of these 40 runs; here all runs are shown beside it.

Where the unit stands the paper does not say. Its authors remember the last state of the LSTM. A NAC that reads states
between -1 and 1 cannot reach the numbers of their table, so other places are tried: the sum of all states, the
cell state, two units one behind the other, and a unit that answers to each state, its answers summed. Only the last comes
near: from there a number is a sum over its words, as in the paper's figure 3. Nor does the paper name the width of the
embedding, here that of the LSTM, or the loss: the absolute error trains about twice as fast as the squared one, and a
learning rate that falls to 0 ends the jumps of Adam at 0.01.

Time:     about half an hour on two shared cores, :tuned an hour and a half; :paper is for a GPU
Command:  python -m experiments.run --config=configs/language_to_number.py --workdir=runs/language_to_number
"""

from ml_collections import ConfigDict

PRESETS = ("quick", "paper", "tuned")


def get_config(preset: str = "quick") -> ConfigDict:
    """The config of a preset."""
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}; known: {', '.join(PRESETS)}")
    config = ConfigDict()

    config.num_seeds = 10
    config.first_seed = 0  # seeds are first_seed, first_seed + 1, ...
    config.num_steps = 10_000
    config.eval_every = 500
    config.block = 2  # seeds that a device trains at a time: what an LSTM keeps of them fits the cache of a CPU's core

    config.learner = ConfigDict()
    config.learner.batch_size = 169  # all numbers of training
    config.learner.generator = "auto"  # of what units draw while they train

    config.reports = ("language", "summary", "curves")

    config.unit = ConfigDict()  # settings for those units that have them
    config.unit.initializer = "glorot_uniform"  # of Ŵ and M̂
    config.unit.epsilon = 1e-7  # of log(|x| + ε)

    config.network = ConfigDict({"name": "recurrent"})
    config.network.reader = ConfigDict({"name": "embedding"})
    config.network.features = 64  # numbers of a word's embedding; 0: as many as the LSTM has
    config.network.cell = "lstm"
    config.network.hidden_size = 16
    config.network.readout = "last_state"  # or summed_states, summed_answers, cell_state, two_units

    config.task = ConfigDict({"name": "language_to_number"})
    config.task.split = "per_seed"  # or fixed: the same for all seeds
    config.task.loss = "absolute"  # or squared

    config.optimizer = ConfigDict({"name": "adam"})
    config.optimizer.learning_rate = 2e-2
    config.optimizer.schedule = "cosine"  # down to 0; or constant

    config.parts = ("linear", "units")  # of the grid, in this order
    config.grid = ConfigDict()  # of each part a cell for each combination; a linear answer to a sum is a sum of answers
    config.grid.linear = ConfigDict({"unit": ("linear",), "readout": ("last_state", "summed_states")})
    config.grid.units = ConfigDict({"unit": ("nac", "nalu"), "readout": ("last_state", "summed_states", "summed_answers")})

    if preset == "paper":
        config.num_steps = 300_000
        config.eval_every = 1_000
        config.task.loss = "squared"
        config.optimizer.schedule = "constant"
        config.network.features = 0
        config.grid.units.unit = ("nac", "nalu", "nau", "nmu")
        config.grid.linear.readout += ("cell_state", "two_units")
        config.grid.units.readout += ("cell_state", "two_units")
        config.grid.hidden_size = (16, 32)
        config.grid.learning_rate = (1e-2, 1e-3)
    if preset == "tuned":
        config.num_steps = 20_000
        config.parts = ("units",)
        config.grid.units = ConfigDict({"unit": ("nalu",), "readout": ("summed_answers",)})
        config.grid.hidden_size = (16, 32)
        config.grid.learning_rate = (2e-2, 1e-2)
    return config
