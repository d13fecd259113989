"""Learners of which every step is known, and a host that notes all that happens: what the tests of the loop are made of."""

import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType

from nalu_jax.learners.supervised import supervised
from nalu_jax.networks.stacks import two_layer
from nalu_jax.tasks.operations import OPERATIONS
from nalu_jax.tasks.static_arithmetic import ArithmeticTask
from nalu_jax.tasks.subsets import Disjoint
from nalu_jax.training.distributed import Layout, seed_mesh
from nalu_jax.training.loop import Programs, make_chunk, make_programs, make_start, run_seeds
from nalu_jax.types import Evaluation, Hyperparameters, Learner, Problem, TrainState

NEVER = 2**31 - 1


class Stop(Exception):
    """What a host raises in ``save`` to end the run."""


class Recorder:
    """A host that asks for chunks of the given lengths and notes all that happens to it.

    With ``stop_at`` it saves after every chunk, and ends the run once that step is saved; ``save_on`` numbers the times,
    counted from 0, at which it asks for a checkpoint otherwise.
    """

    def __init__(self, *lengths, stop_at=None, save_on=()):
        self.lengths = itertools.cycle(lengths or (1000,))
        self.stop_at = stop_at
        self.save_on = save_on
        self.asked = itertools.count()
        self.rows = []
        self.saved = []
        self.log = []

    def chunk_steps(self):
        self.log.append("asked")
        return next(self.lengths)

    def evaluated(self, step, metrics):
        self.log.append(f"evaluated {step}")
        self.rows.append((step, metrics))

    def wants_checkpoint(self):
        return self.stop_at is not None or next(self.asked) in self.save_on

    def save(self, step, run):
        self.log.append(f"saved {step}")
        self.saved.append(fetch(run))
        if self.stop_at is not None and step >= self.stop_at:
            raise Stop

    @property
    def steps(self):
        return [step for step, _ in self.rows]


def fetch(tree):
    """The tree as NumPy arrays that share no memory with the device."""
    return jax.tree.map(lambda leaf: np.array(leaf, copy=True), tree)


def differing(one, other):
    """The paths of the leaves in which two trees are not the same bytes."""
    assert jax.tree.structure(one) == jax.tree.structure(other)
    pairs = zip(jax.tree_util.tree_leaves_with_path(one), jax.tree.leaves(other), strict=True)
    return [
        jax.tree_util.keystr(path)
        for (path, a), b in pairs
        if (np.asarray(a).dtype, np.asarray(a).tobytes()) != (np.asarray(b).dtype, np.asarray(b).tobytes())
    ]


def of_seeds(run, rows, places):
    """What belongs to the seeds at some places: their states, their records and their metrics."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[list(places)], (run.state, run.record, [m for _, m in rows]))


def assert_equal_but_for_rounding(one, other):
    """45 steps, each of which may round differently."""
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), one, other)


# A learner whose evaluations are written down


class Script(NamedTuple):
    """What a scripted learner finds at its evaluations, f32[seeds, steps + 1], and the step it cannot take, i32[seeds]."""

    validation: np.ndarray
    test: np.ndarray
    score: np.ndarray
    fault: np.ndarray


def scripted():
    """A learner whose weight is 1000 seed + step, solved where its test error is below 1, that counts its evaluations."""

    def init(seed, script):
        weight = 1000 * seed.astype(jnp.float32)
        return TrainState(seed, jnp.int32(0), {"w": weight}, jnp.int32(0), script.fault[seed], learner_state=jnp.int32(0))

    def step(state, script):
        del script
        loss = jnp.where(state.step >= state.task_state, jnp.nan, 0.0)
        stepped = state._replace(step=state.step + 1, params={"w": state.params["w"] + 1}, opt_state=state.opt_state + 1)
        return stepped, {"loss": loss}

    def evaluate(state, script):
        validation, test, score = (numbers[state.seed, state.step] for numbers in script[:3])
        return Evaluation({"validation": validation, "test": test}, score, solved=test < 1)

    def observe(state, evaluation):
        del evaluation
        return state._replace(learner_state=state.learner_state + 1)

    return Learner(init, step, evaluate, observe)


def script(validation, test=None, score=None, fault=NEVER):
    """A script in which all else is NaN: scripts of one shape share a compilation. The score is the validation error."""
    written = Script(*(np.full((60, 1001), np.nan, np.float32) for _ in range(3)), np.full(60, NEVER, np.int32))
    seeds, evaluations = np.shape(validation)
    written.validation[:seeds, :evaluations] = validation
    written.test[:seeds, :evaluations] = validation if test is None else test
    written.score[:seeds, :evaluations] = validation if score is None else score
    written.fault[:seeds] = fault
    return written


@functools.cache
def programs_of_scripts():
    return make_programs(scripted(), Layout(seed_mesh(), 1))


def play(script, host, *, num_seeds=2, **options):
    """The finished run of the scripted learner as NumPy arrays; the host's log tells of its chunks too."""
    programs = programs_of_scripts()

    def chunk(run, script, num_steps, evaluate):
        host.log.append(f"{num_steps} steps")
        return programs.chunk(run, script, num_steps, evaluate)

    chunk.lower = programs.chunk.lower  # what is compiled ahead is no chunk of the run
    return fetch(run_seeds(programs._replace(chunk=chunk), np.arange(num_seeds), script, host=host, **options))


# A NAC that can be made to fail


class Faulty(NamedTuple):
    """A problem, and the seed and step from which on a learner's loss, or its parameters, are not finite."""

    problem: Problem
    seed: np.ndarray
    step: np.ndarray
    in_params: np.ndarray


def with_fault(learner):
    """The learner, made to fail where it is told."""

    def step(state, faulty):
        stepped, metrics = learner.step(state, faulty.problem)
        fails = (state.seed == faulty.seed) & (state.step >= faulty.step)
        loss = jnp.where(fails & ~faulty.in_params, jnp.nan, metrics["loss"])
        params = jax.tree.map(lambda p: jnp.where(fails & faulty.in_params, jnp.inf, p), stepped.params)
        return stepped._replace(params=params), {"loss": loss}

    return learner._replace(
        init=lambda seed, faulty: learner.init(seed, faulty.problem),
        step=step,
        evaluate=lambda state, faulty: learner.evaluate(state, faulty.problem),
    )


def momentum(learning_rate):
    """An optimizer that keeps something, and that makes no more of a last digit than it is."""
    return optax.sgd(learning_rate, momentum=0.9)


NAC = supervised(two_layer("nac", {}, outputs=1, hidden_size=2), momentum, batch_size=8)
FAULTY = with_fault(NAC)


def arithmetic(operation, low, width):
    rng = np.random.RandomState(0)
    return ArithmeticTask(
        operation=np.int32(list(OPERATIONS).index(operation)),
        lows=np.float32([low]),
        width=np.float32(width),
        limit=np.float32(low + width),
        threshold=np.float32(100.0),
        interpolation=rng.uniform(low, low + width, (4, 16)).astype(np.float32),
        extrapolation=rng.uniform(2, 6, (4, 16)).astype(np.float32),
        subsets=Disjoint(1, 2),
        beyond_training=False,
    )


def variant(operation="sub", low=1.0, width=1.0, rate=2e-3, weight=0.0, fault_at=NEVER, in_params=False):
    """A problem of its own numbers; seed 1 fails at ``fault_at``."""
    penalty = {"weight": np.float32(weight), "growth": np.float32(1), "below": np.float32(0)}
    penalty |= {name: np.int32(value) for name, value in {"start": 0, "end": 20, "every": 1, "times": 0}.items()}
    problem = Problem(arithmetic(operation, low, width), Hyperparameters(np.float32(rate), {"r_z": penalty}))
    return Faulty(problem, np.uint32(1), np.int32(fault_at), np.bool_(in_params))


def one_device():
    return jax.make_mesh((1,), ("seed",), axis_types=(AxisType.Auto,), devices=jax.devices()[:1])


def mesh_of(devices):
    return one_device() if devices == 1 else seed_mesh()


@functools.cache
def starting(devices):
    """What starts runs of the NAC, whatever the blocks of their seeds."""
    return make_start(FAULTY, mesh_of(devices))


@functools.cache
def programs_for(devices, block):
    """The programs of the NAC, throughout a file: what compiles twice is a finding."""
    layout = Layout(mesh_of(devices), block)
    return Programs(starting(devices), make_chunk(FAULTY, layout), layout)


# Seven seeds are one short of filling up blocks of two and of four.
EIGHT, SEVEN = range(8), range(7)
NUM_STEPS, EVAL_EVERY = 45, 10
PROBLEMS = {
    "healthy": variant(),
    "a loss is not finite": variant(fault_at=13),
    "parameters are not finite": variant(fault_at=13, in_params=True),
}
FAULTS = [name for name in PROBLEMS if name != "healthy"]


def train(programs, host, *, fault="healthy", problem=None, seeds=EIGHT, **options):
    """The finished run as NumPy arrays."""
    options = {"num_steps": NUM_STEPS, "eval_every": EVAL_EVERY} | options
    return fetch(run_seeds(programs, np.asarray(seeds, np.uint32), problem or PROBLEMS[fault], host=host, **options))


@functools.cache
def seven_seeds(devices, block, fault="healthy"):
    """The uninterrupted run of seeds 0 to 6 and its metrics."""
    host = Recorder()
    return train(programs_for(devices, block), host, fault=fault, seeds=SEVEN), host.rows
