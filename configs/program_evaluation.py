"""Programs of sums, differences and conditionals: trained on numbers of two digits, tested on four.

Trask et al. 2018 (arXiv 1808.00508), section 4.4 and appendix E, figures 4 and 6: addition of two numbers, and programs of
one to three operations as ``(68 if (49 - 54) < 68 else 38) + 34``, read token after token, a number at one time step. An
LSTM sets the weights of a NALU at every step; beside it an LSTM, a UGRNN and a DNC with a linear readout.

The paper says neither what the LSTM sees nor how many numbers the NALU keeps: "kinds" of tokens alone, with which a
controller can add and subtract but not compare; "signs", the tanh of the NALU's registers as well; "hard_signs", which are
-1, 0 or 1; "values" and "scaled_values", the signs and the number of the token, or a hundredth of it, which are not in the
grid.

Presets, chosen by what follows the colon:

  configs/program_evaluation.py          quick: 3 seeds, 5,000 steps
  configs/program_evaluation.py:paper    10 seeds, 250,000 steps at a tenth of the learning rate, 10,000 programs to test,
                                         for a GPU; of figure 4 the paper took 1,250,000

The NALU whose LSTM sees kinds alone solves addition with six of ten seeds: every answer of four digits is right from steps
1,750 to 3,000 on. With the tanh of the register it learns what does not extrapolate, presumably to read a small register as
a number.

Time:     about 30 minutes of CPU time (11 cells, 33 seeds); :paper is for a GPU
Command:  python -m experiments.run --config=configs/program_evaluation.py --workdir=runs/program_evaluation
"""

from ml_collections import ConfigDict

PRESETS = ("quick", "paper")


def get_config(preset: str = "quick") -> ConfigDict:
    """The config of a preset."""
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}; known: {', '.join(PRESETS)}")
    config = ConfigDict()

    config.num_seeds = 3
    config.first_seed = 0
    config.num_steps = 5_000
    config.eval_every = 250
    config.block = 1  # seeds that a device trains at a time; 0: as many as fit the cache of a CPU's core

    config.learner = ConfigDict()
    config.learner.batch_size = 128  # programs
    config.learner.generator = "auto"  # of training batches: murmur on a CPU, threefry2x32 elsewhere; or pcg3d

    config.reports = ("programs", "summary", "curves")

    config.unit = ConfigDict({"name": "linear"})  # the readout of LSTM, UGRNN and DNC

    config.network = ConfigDict({"name": "recurrent"})
    config.network.reader = ConfigDict({"name": "identity"})
    config.network.features = 11  # of a token: its kind, and its value
    config.network.cell = "configured_nalu"
    config.network.hidden_size = 64  # of the LSTM that controls, and of the other cells
    config.network.readout = "last_output"
    config.network.registers = 2  # numbers that a configured NALU remembers
    config.network.sees = "kinds"  # what its LSTM reads

    config.task = ConfigDict({"name": "program_evaluation"})
    config.task.programs = "mixed"  # or addition, or sums: programs of + and - alone
    config.task.max_operations = 3
    config.task.digits = (2, 3, 4)  # of the numbers of training, validation and test
    config.task.num_programs = 1_000

    config.optimizer = ConfigDict({"name": "adam"})
    config.optimizer.learning_rate = 1e-2
    config.optimizer.clip_norm = 1.0

    config.parts = ("addition", "mixed", "baselines")  # of the grid, in this order
    config.grid = ConfigDict()  # of each part a cell for each combination
    nalu, sees = ("configured_nalu",), ("kinds", "signs", "hard_signs")
    config.grid.addition = ConfigDict({"programs": ("addition",), "cell": nalu, "registers": (1,), "sees": sees[:2]})
    config.grid.mixed = ConfigDict({"programs": ("mixed",), "cell": nalu, "registers": (2,), "sees": sees})
    config.grid.baselines = ConfigDict()
    config.grid.baselines.programs = ("addition", "mixed")
    config.grid.baselines.cell = ("ugrnn", "lstm", "dnc")
    config.grid.baselines.readout = ("last_state",)

    if preset == "paper":
        config.num_seeds = 10
        config.num_steps = 250_000
        config.eval_every = 2_500
        config.block = 0
        config.grid.mixed.registers = (2, 6)  # six are enough for every program of three operations
        config.task.num_programs = 10_000
        config.optimizer.learning_rate = 1e-3
    return config
