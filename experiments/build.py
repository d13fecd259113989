"""From the plain values of a cell's config to the parts that train. A constructor is the schema of its section."""

import contextlib
import dataclasses
import functools
import json
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

import nalu_jax.sequences
import nalu_jax.tasks
import nalu_jax.units  # noqa: F401  (registers the units)
from experiments.faults import ConfigError, EnvironmentFault
from nalu_jax.cells import unit_within
from nalu_jax.data.mnist import DataFault
from nalu_jax.distributed import Layout, by_seed, layout_for, pad_seeds, place, replicated, seed_mesh
from nalu_jax.learners import supervised, with_reinit
from nalu_jax.learners.supervised import declared_penalties
from nalu_jax.loop import Cases, Programs, make_programs, stack
from nalu_jax.networks import make_unit, unit_options
from nalu_jax.optimizers import make_optimizer
from nalu_jax.recipes import Optimizer, Penalty, Reinit
from nalu_jax.registry import NETWORKS, TASKS
from nalu_jax.types import Learner, Setup

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
        options = unit_options(**options)
        make_unit(unit_within(unit), 1, options)
    with naming("network"):
        return NETWORKS[fields.pop("name")](unit, options, **fields)


def optimizer(config: ConfigDict) -> Optimizer:
    """The optimizer of a cell."""
    with naming("optimizer"):
        optimizer = Optimizer(**config.optimizer.to_dict())
        make_optimizer(optimizer, optimizer.learning_rate)
    return optimizer


def penalties(config: ConfigDict) -> dict[str, Penalty]:
    """The penalties of a cell, by name. ConfigError for one that its network does not declare."""
    made = {}
    for name, fields in config.penalties.items():
        with naming(f"penalties.{name}"):
            made[name] = Penalty(**fields.to_dict())
    if made:
        declared = _declared_penalties(as_json(config, "unit", "network"), task_spec(config).example)
        for name in made:
            if name not in declared:
                names = ", ".join(sorted(declared)) or "none"
                raise ConfigError(f"config.penalties.{name}: {config.unit.name} has no such penalty; it has {names}")
    return made


@functools.cache
def _declared_penalties(sections: str, example: Any) -> set[str]:
    return declared_penalties(network(from_json(sections)), example)


def reinit(config: ConfigDict) -> Reinit:
    """When a seed of a cell starts over."""
    with naming("reinit"):
        return Reinit(**config.reinit.to_dict())


def setup(config: ConfigDict) -> Setup:
    """What the seeds of a cell are given: its task, and the numbers of its recipe. EnvironmentFault without its data."""
    numbers = {
        "learning_rate": jnp.float32(optimizer(config).learning_rate),
        "penalties": {
            name: {
                field: jnp.int32(value) if isinstance(value, int) else jnp.float32(value)
                for field, value in dataclasses.asdict(penalty).items()
            }
            for name, penalty in penalties(config).items()
        },
    }
    try:
        return Setup(task_spec(config).task, numbers)
    except DataFault as error:
        raise EnvironmentFault(f"config.task.data: {error}") from error


def learner(config: ConfigDict) -> Learner:
    """The learner of a cell. What ``setup`` holds is not in it."""
    model, made, rule = network(config), optimizer(config), reinit(config)
    with naming(""):
        trained = supervised(
            model,
            functools.partial(make_optimizer, made),
            batch_size=config.batch_size,
            watch=BEST_BY,
            generator=config.generator,
        )
    if not rule.every:
        return trained
    example = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), task_spec(config).example)
    with naming("reinit"):
        return with_reinit(
            trained,
            lambda key: model.init(key, example)["params"],
            rule,
            watch=BEST_BY,
            num_steps=config.num_steps,
            eval_every=config.eval_every,
        )


def programs(configs: list[ConfigDict]) -> tuple[Programs, Setup]:
    """The compiled programs of cells that train together, and their setups as one tree.

    Programs are shared by all groups of as many cells, of as many seeds, that differ in no more than numbers.
    """
    together, cases = stack([setup(config) for config in configs])
    first = configs[0].copy_and_resolve_references()
    first.optimizer.learning_rate = 1.0  # a number of the setup
    names = ["unit", "network", "optimizer", "batch_size", "generator", "reinit"]
    names += ["num_steps", "eval_every", "task"] if first.reinit.every else []
    leaves, structure = jax.tree.flatten(cases.axes, is_leaf=lambda axis: axis is None)
    return _programs(as_json(first, *names), layout(first, cases.count), cases.count, tuple(leaves), structure), together


@functools.cache
def _programs(sections: str, layout: Layout, count: int, leaves: tuple, structure: Any) -> Programs:
    cases = Cases(count, jax.tree.unflatten(structure, leaves))
    return make_programs(learner(from_json(sections)), layout, best_by=BEST_BY, cases=cases)


def layout(config: ConfigDict, cases: int = 1) -> Layout:
    """How the seeds of so many cells that train together lie on this machine's devices."""
    example = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(task_spec(config).example))
    bytes_a_seed = cases * config.batch_size * example
    with naming(""):
        return layout_for(seed_mesh(), num_seeds=schedule(config).num_seeds, bytes_a_seed=bytes_a_seed, block=config.block)


def as_json(config: ConfigDict, *sections: str) -> str:
    """Some sections of a config as a text that can be compared."""
    return json.dumps(ConfigDict({name: config[name] for name in sections}).to_dict())


def from_json(text: str) -> ConfigDict:
    """The config that ``as_json`` made a text of."""
    return ConfigDict(json.loads(text))


def check(config: ConfigDict) -> None:
    """Builds all parts of a cell but the arrays. ConfigError for values that cannot be."""
    schedule(config)
    task_spec(config)
    learner(config)
    penalties(config)
    layout(config)
    same_outputs(config)


def same_outputs(config: ConfigDict) -> None:
    """ConfigError unless a cell's network puts out as many numbers as its task asks for."""
    if (outputs := config.network.get("outputs", 1)) != (asked := task_spec(config).outputs):
        raise ConfigError(f"config.network.outputs must be {asked} for {config.task.name}, got {outputs!r}")


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


def untrained_errors(configs: list[ConfigDict]) -> list[dict[str, float]]:
    """Mean test and validation error of untrained dense networks on each cell's task: 100 on the scale of the 2018 paper.

    The paper divides by the error of one random model, the same for all columns of a table (Trask et al. 2018, appendix
    B). Here it is the mean over the cell's seeds of linear networks of the same size before their first step. Tasks that
    no paper scores so have none.
    """
    if not task_spec(configs[0]).scored:
        return [{} for _ in configs]
    dense = [config.copy_and_resolve_references() for config in configs]
    for config in dense:
        config.unit.name = "linear"
        config.penalties = ConfigDict()
        config.reinit.every = 0
    (start, chunk, where), together = programs(dense)
    seeds = schedule(configs[0]).seeds
    together = place(together, replicated(where.mesh))
    run = start(place(pad_seeds(seeds, where), by_seed(where.mesh)), together)
    _, metrics = chunk(run, together, 0, True)
    means = {name: np.asarray(m)[: len(seeds)].mean(0) for name, m in metrics.items() if name.endswith("_mse")}
    return [{name: float(mean[i]) for name, mean in means.items()} for i in range(len(configs))]
