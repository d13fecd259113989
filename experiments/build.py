"""From the plain values of a cell's config to the parts that train. A constructor is the schema of its section."""

import contextlib
import dataclasses
import functools
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from ml_collections import ConfigDict

import nalu_jax.optimizers
import nalu_jax.tasks
import nalu_jax.units  # noqa: F401  (registers the units)
from experiments.faults import ConfigError
from nalu_jax.distributed import by_seed, pad_seeds, place, replicated, seed_mesh
from nalu_jax.learners import supervised
from nalu_jax.loop import Programs, make_programs
from nalu_jax.networks import unit_options
from nalu_jax.registry import NETWORKS, OPTIMIZERS, TASKS, UNITS

BEST_BY = "interpolation_mse"


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Which seeds are trained, how long, and how often they are evaluated."""

    num_seeds: int
    first_seed: int
    num_steps: int
    eval_every: int

    def __post_init__(self):
        for field, value in dataclasses.asdict(self).items():
            if not isinstance(value, int) or (value < 1 and field != "first_seed"):
                raise ValueError(f"{field} must be a positive whole number, got {value!r}")
        if self.num_seeds >= 2**32:
            raise ValueError(f"num_seeds must be below 2³², got {self.num_seeds}")
        if not 0 <= self.first_seed <= 2**32 - 1 - self.num_seeds:
            raise ValueError(f"first_seed and all seeds after it must lie in [0, 2³² - 1), got {self.first_seed}")
        if self.num_steps >= 2**31:
            raise ValueError(f"num_steps must be below 2³¹, got {self.num_steps}")

    @property
    def seeds(self) -> np.ndarray:
        """The seeds, u32[num_seeds]."""
        return np.arange(self.first_seed, self.first_seed + self.num_seeds, dtype=np.uint32)


def schedule(config: ConfigDict) -> Schedule:
    """The schedule of a cell."""
    with naming(""):
        return Schedule(**{field.name: config[field.name] for field in dataclasses.fields(Schedule)})


def task_spec(config: ConfigDict) -> Any:
    """The description of a cell's task; its property ``task`` makes the arrays."""
    fields = config.task.to_dict()
    with naming("task"):
        return TASKS[fields.pop("name")].from_config(**fields)


def network(config: ConfigDict):
    """The model of a cell."""
    options, fields = config.unit.to_dict(), config.network.to_dict()
    with naming("unit"):
        unit = options.pop("name")
        UNITS[unit]
        options = unit_options(**options)
    with naming("network"):
        return NETWORKS[fields.pop("name")](unit, options, **fields)


def optimizer(config: ConfigDict):
    """The optimizer of a cell."""
    fields = config.optimizer.to_dict()
    with naming("optimizer"):
        return OPTIMIZERS[fields.pop("name")](**fields)


def learner(config: ConfigDict):
    """The learner of a cell."""
    with naming(""):
        return supervised(network(config), optimizer(config), batch_size=config.batch_size)


def programs(config: ConfigDict) -> Programs:
    """The compiled programs of a cell, shared by all cells that differ in no more than numbers of the task."""
    sections = {name: config[name] for name in ("unit", "network", "optimizer", "batch_size")}
    return _programs(json.dumps(ConfigDict(sections).to_dict()))


@functools.cache
def _programs(sections: str) -> Programs:
    return make_programs(learner(ConfigDict(json.loads(sections))), seed_mesh(), best_by=BEST_BY)


def check(config: ConfigDict) -> None:
    """Builds all parts of a cell but the arrays. ConfigError for values that cannot be."""
    schedule(config)
    task_spec(config)
    learner(config)


@contextlib.contextmanager
def naming(section: str) -> Iterator[None]:
    """Turns what a constructor refuses into a ConfigError that names the section."""
    prefix = f"config.{section}." if section else "config."
    try:
        yield
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{prefix[:-1]}: {error}") from error
    except TypeError as error:
        # A field too many or too few: the page and the constructor disagree.
        raise ConfigError(f"{prefix[:-1]}: {str(error).split(') ')[-1].split('() ')[-1]}") from error


def untrained_errors(config: ConfigDict) -> dict[str, float]:
    """Mean test and validation error of untrained dense networks on the cell's task: 100 on the scale of the 2018 paper.

    The paper divides by the error of one random model, the same for all columns of a table (Trask et al. 2018, appendix
    B). Here it is the mean over the cell's seeds of linear networks of the same size before their first step.
    """
    dense = config.copy_and_resolve_references()
    dense.unit.name = "linear"
    task, mesh = task_spec(config).task, programs(dense).mesh
    seeds = schedule(config).seeds
    start, chunk, _ = programs(dense)
    run = start(place(pad_seeds(seeds, mesh), by_seed(mesh)), place(task, replicated(mesh)))
    _, metrics = chunk(run, place(task, replicated(mesh)), 0, True)
    return {name: float(np.asarray(m)[: len(seeds)].mean()) for name, m in metrics.items() if name.endswith("_mse")}
