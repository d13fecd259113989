"""The single unit task: one unit, alone, learns + - × or ÷ of two inputs on nine ranges, and is judged outside of each.

The "single module arithmetic task" of Mistry, Farrahi & Hare 2022, "A primer for neural arithmetic logic modules", JMLR
23(185), with their nine ranges, thresholds and 25 seeds. Optimizer, penalties and their ramps are those of each unit's
recipe for this task (docs/units.md); a unit gets only the operations that it can do.

Presets, chosen by what follows the colon:

  configs/single_unit.py        two inputs, a and b: the units of the paper and those published since, 50,000 steps
  configs/single_unit.py:10     ten inputs, of which eight mean nothing; where a and b stand differs between seeds; 100,000
                                steps, iNALU, NAU, NMU, and the units of "Learning division with neural arithmetic logic
                                modules" (Mistry, Farrahi & Hare 2022, arXiv 2110.05177)
  configs/single_unit.py:100    the same with a hundred inputs

Out come, per operation, success rate, step at which it is solved and sparsity error of each unit on each range, each with
its 95 % interval, as tables; and the picture ranges.png: of up to eight units all three, laid out as the figures of the
paper, of more a heat map of success rates.

Two inputs take twelve minutes on two cores (306 cells, 7,650 seeds, 34 programs). NAU, sNMU, NRU and NMRU solve nearly
everything that they can do; NMU all but some seeds on U[-2, -1) (21 of 25) and U[-1.2, -1.1) (16 of 25), as published;
results/README.md has the rest.

Time:     twelve minutes on two cores (306 cells, 7,650 seeds); :10 and :100 hours
Command:  python -m experiments.run --config=configs/single_unit.py --workdir=runs/single_unit
"""

from ml_collections import ConfigDict

PRESETS = ("2", "10", "100")


def get_config(preset: str = "2") -> ConfigDict:
    """The config of a preset, which is the number of inputs."""
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}; known: {', '.join(PRESETS)}")
    config = ConfigDict()

    config.num_seeds = 25
    config.first_seed = 0  # seeds are first_seed, first_seed + 1, ...
    config.num_steps = 50_000
    config.eval_every = 1_000
    config.block = 0  # seeds that a device trains at a time; 0: as many as fit the cache of a CPU's core

    config.learner = ConfigDict()
    config.learner.batch_size = 128
    config.learner.generator = "auto"  # of training batches: murmur on a CPU, threefry2x32 elsewhere; or pcg3d

    config.reports = ("summary", "ranges", "rates", "curves")

    config.unit = ConfigDict()  # settings for those units that have them
    config.unit.initializer = "madsen_johansen"  # of Ŵ and M̂; or glorot_uniform
    config.unit.epsilon = 1e-7  # of log(|x| + ε)

    config.network = ConfigDict({"name": "single"})

    config.task = ConfigDict({"name": "single_unit"})
    config.task.input_size = int(preset)
    config.task.interpolation_range = (1.0, 2.0)  # of each cell the one that the grid says
    config.task.extrapolation_range = ()  # the one that the paper pairs with the interpolation range
    config.task.epsilon = 1e-4  # of the threshold

    config.skip_unsupported = True  # leave out the cells whose unit cannot compute the operation
    config.grid = ConfigDict()  # a cell for each combination
    config.grid.unit = (
        "nac", "nac_mul", "nalu", "gnalu", "inalu", "nau", "nmu", "snmu",
        "npu", "real_npu", "real_npu_modified", "nru", "nmru",
        "mc_fc", "mc_fc_mul", "mc_fc_mul_sign_inalu", "mc_fc_mul_sign_real_npu",
    )  # fmt: skip
    config.grid.operation = ("add", "sub", "mul", "div")
    config.grid.interpolation_range = (
        (-20.0, -10.0),
        (-2.0, -1.0),
        (-1.2, -1.1),
        (-0.2, -0.1),
        (-2.0, 2.0),
        (0.1, 0.2),
        (1.0, 2.0),
        (1.1, 1.2),
        (10.0, 20.0),
    )

    if preset != "2":
        config.num_steps = 100_000
        config.grid.unit = ("inalu", "nau", "nmu", "real_npu", "real_npu_modified", "nru", "nmru")
    return config
