"""From the plain values of a cell's config to the job that trains it. A constructor is the schema of its section."""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments.faults import ConfigError, EnvironmentFault
from experiments.settings.config import Config, axis_path, set_at
from experiments.settings.grid import Cell
from nalu_jax.learners.optimizers import make_optimizer
from nalu_jax.learners.reinit import with_reinit
from nalu_jax.learners.supervised import declared_penalties
from nalu_jax.networks.layers import unit_of
from nalu_jax.recipes import NUMBERS, UNSET, Chain, Optimizer, Penalty, Reinit
from nalu_jax.registry import LEARNERS, NETWORKS, TASKS
from nalu_jax.tasks.base import TaskSpec
from nalu_jax.training.distributed import Layout, by_seed, fetch, layout_for, pad_seeds, place, replicated, seed_mesh
from nalu_jax.training.loop import Programs, Variants, make_programs, stack
from nalu_jax.types import Hyperparameters, Learner, Problem


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Which seeds are trained, how long, and how often they are evaluated.

    Raises ValueError for numbers that are impossible.
    """

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


class Training(NamedTuple):
    """What a compiled program depends on, besides the shapes of its arguments: cells that agree in it share programs."""

    network: nn.Module
    optimizer: Chain
    reinit: Reinit
    learner: str  # one of LEARNERS
    learner_options: tuple[tuple[str, Any], ...]
    # What the rule of restarts needs to know: the shapes of inputs, num_steps and eval_every; None without the rule.
    restarts: tuple[Any, int, int] | None


@dataclasses.dataclass(frozen=True)
class Job:
    """Everything that trains one cell, built once from its config. What is static is hashable, what is traced is in
    ``hyperparameters``, and nothing is in both.
    """

    schedule: Schedule
    task: TaskSpec
    training: Training
    layout: Layout
    hyperparameters: Hyperparameters = dataclasses.field(compare=False)
    # For the record.
    axes: Mapping[str, Any] = dataclasses.field(compare=False)
    name: str = dataclasses.field(compare=False)
    config: Config = dataclasses.field(compare=False)

    @property
    def network(self) -> nn.Module:
        """The model."""
        return self.training.network

    def problem(self) -> Problem:
        """What the seeds are given, as arrays. Raises EnvironmentFault for data that cannot be had."""
        try:
            return Problem(self.task.task, self.hyperparameters)
        except EnvironmentFault as error:
            raise EnvironmentFault(f"config.task: {error}") from error


def build(cell: Cell, together: int = 1) -> Job:
    """The job of a cell that trains together with so many cells, itself among them.

    Everything of it is made but the arrays. Raises ConfigError for values that are impossible.
    """
    config = cell.config
    schedule = schedule_of(config)
    task = task_of(config)
    network = network_of(config, task)
    with naming("optimizer"):
        optimizer = Optimizer(**config.optimizer.to_dict())
        axes = [name for name in NUMBERS[1:] if name in cell.axes and axis_path(config, name) == f"optimizer.{name}"]
        swept = [name for name in axes if getattr(optimizer, name) != UNSET.get(name)]
        chain = optimizer.without(swept, schedule.num_steps)
        make_optimizer(chain, optimizer.learning_rate, **{name: getattr(optimizer, name) for name in swept})
    with naming("reinit"):
        reinit = Reinit(**config.reinit.to_dict())
    options = config.learner.to_dict()
    training = Training(
        network=network,
        optimizer=chain,
        reinit=reinit,
        learner=options.pop("name", task.learner),
        learner_options=tuple(sorted(options.items())),
        restarts=(task.example, schedule.num_steps, schedule.eval_every) if reinit.check_every else None,
    )
    make_learner(training)
    return Job(
        schedule=schedule,
        task=task,
        training=training,
        layout=layout_of(config, schedule, task, options.get("batch_size", 1) * together),
        hyperparameters=as_arrays(optimizer, swept, penalties_of(config, network, task)),
        axes=cell.axes,
        name=cell.name,
        config=config,
    )


def schedule_of(config: Config) -> Schedule:
    """The schedule of a cell. Raises ConfigError for numbers that are impossible."""
    with naming(""):
        return Schedule(**{field.name: config[field.name] for field in dataclasses.fields(Schedule)})


def task_of(config: Config) -> TaskSpec:
    """The specification of a cell's task."""
    fields = config.task.to_dict()
    with naming("task"):
        return TASKS[fields.pop("name")].from_config(**fields)  # pyright: ignore[reportFunctionMemberAccess]


def network_of(config: Config, task: TaskSpec) -> nn.Module:
    """The model of a cell."""
    fields = config.network.to_dict()
    with naming("unit"):
        unit, options = unit_of(config.unit.to_dict())
    with naming("network"):
        return NETWORKS[fields.pop("name")](unit, options, outputs=task.outputs, **fields)


def penalties_of(config: Config, network: nn.Module, task: TaskSpec) -> dict[str, Penalty]:
    """The penalties of a cell, by name. Raises ConfigError for one that its network does not declare."""
    made = {}
    for name, fields in config.penalties.items():
        with naming(f"penalties.{name}"):
            made[name] = Penalty(**fields.to_dict())
    if made:
        declared = declared_by(network, task.example)
        for name in made:
            if name not in declared:
                names = ", ".join(sorted(declared)) or "none"
                raise ConfigError(
                    f"config.penalties.{name}: {config.unit.get('name', 'the network')} has no such penalty; it has {names}"
                )
    return made


declared_by = functools.cache(declared_penalties)


def as_arrays(optimizer: Optimizer, swept: list[str], penalties: dict[str, Penalty]) -> Hyperparameters:
    """The numbers of a recipe that are arguments of the compiled programs; of the optimizer's those swept, and its rate."""
    fields = {
        name: {
            field: jnp.int32(value) if isinstance(value, int) else jnp.float32(value)
            for field, value in dataclasses.asdict(penalty).items()
        }
        for name, penalty in penalties.items()
    }
    numbers = {name: jnp.float32(getattr(optimizer, name)) for name in swept}
    return Hyperparameters(jnp.float32(optimizer.learning_rate), fields, numbers)


def layout_of(config: Config, schedule: Schedule, task: TaskSpec, batch_size: int) -> Layout:
    """How the seeds of a cell lie on this machine's devices, with so many examples for each at a time."""
    example = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(task.example))
    taken, memory = batch_size * example, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if taken > memory:
        raise EnvironmentFault(f"a training batch of one seed takes {taken:,} bytes, and this machine has {memory:,}")
    with naming(""):
        return layout_for(seed_mesh(), num_seeds=schedule.num_seeds, bytes_a_seed=taken, block=config.block)


@functools.cache
def make_learner(training: Training) -> Learner:
    """The learner of all cells with this training. Raises ConfigError for options that it refuses."""
    with naming("learner"):
        learner = LEARNERS[training.learner](
            training.network,
            functools.partial(make_optimizer, training.optimizer),
            **dict(training.learner_options),
        )
    if training.restarts is None:
        return learner
    shapes, num_steps, eval_every = training.restarts
    example = zeros(shapes)
    with naming("reinit"):
        return with_reinit(
            learner,
            lambda key: training.network.init(key, example)["params"],
            training.reinit,
            num_steps=num_steps,
            eval_every=eval_every,
        )


def zeros(shapes: Any) -> Any:
    """Arrays of zeros of these shapes and types."""
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


def programs(jobs: list[Job]) -> tuple[Programs, Problem]:
    """The compiled programs of jobs that train together, and their problems as one tree.

    Programs are shared by all groups of as many cells, of as many seeds, that agree in their training.
    """
    together, variants = stack([job.problem() for job in jobs])
    leaves, structure = jax.tree.flatten(variants.axes, is_leaf=lambda axis: axis is None)
    return make_programs_of(jobs[0].training, jobs[0].layout, variants.count, tuple(leaves), structure), together


@functools.cache
def make_programs_of(training: Training, layout: Layout, count: int, leaves: tuple, structure: Any) -> Programs:
    """The programs of so many variants, whose axes are given by their leaves and structure."""
    variants = Variants(count, jax.tree.unflatten(structure, leaves))
    return make_programs(make_learner(training), layout, variants=variants)


def baseline(job: Job) -> Job:
    """The job of the network whose error before training is 100 on the scale of the 2018 paper's scores."""
    config = job.config.copy_and_resolve_references()
    for path, value in job.task.score_baseline.items():
        set_at(config, path, value)
    training = job.training._replace(
        network=network_of(config, job.task), reinit=dataclasses.replace(job.training.reinit, check_every=0), restarts=None
    )
    return dataclasses.replace(job, training=training, hyperparameters=job.hyperparameters._replace(penalties={}))


def untrained_errors(jobs: list[Job]) -> list[dict[str, float]]:
    """Mean errors of untrained networks on each job's task, by metric: 100 on the scale of the 2018 paper.

    The paper divides by the error of one random model, the same for all columns of a table (Trask et al. 2018, appendix
    B). Here it is the mean over the cell's seeds of the task's ``score_baseline``, of the same size, before the first step.
    Tasks that no paper scores so have none.
    """
    if not jobs[0].task.score_baseline:
        return [{} for _ in jobs]
    (start, chunk, layout), together = programs([baseline(job) for job in jobs])
    seeds = jobs[0].schedule.seeds
    together = place(together, replicated(layout.mesh))
    run = start(place(pad_seeds(seeds, layout), by_seed(layout.mesh)), together)
    _, metrics = chunk(run, together, 0, True)
    metrics = fetch({name: metrics[name] for name in jobs[0].task.columns})
    means = {name: values[: len(seeds)].mean(0) for name, values in metrics.items()}
    return [{name: float(mean[i]) for name, mean in means.items()} for i in range(len(jobs))]


@contextlib.contextmanager
def naming(section: str) -> Iterator[None]:
    """Turns what a constructor refuses into a ConfigError that names the section."""
    prefix = f"config.{section}" if section else "config"
    try:
        yield
    except ConfigError:
        raise
    except KeyError as error:
        raise ConfigError(f"{prefix}.{error.args[0]} is missing") from error
    except ValueError as error:
        raise ConfigError(f"{prefix}: {error}") from error
    except TypeError as error:
        # A field too many or too few: the page and the constructor disagree.
        raise ConfigError(f"{prefix}: {str(error).split(') ')[-1].split('() ')[-1]}") from error
