"""Starting over: seeds that have come to a halt draw new parameters."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nalu_jax.recipes import Reinit
from nalu_jax.training.random import Purpose, key_at
from nalu_jax.types import Array, Evaluation, Learner, Metrics, Params, Problem, TrainState


class Notes(NamedTuple):
    """What a seed remembers of its errors. An error holds from the step it was evaluated at until the next evaluation."""

    inner: Any  # what the learner that is wrapped keeps
    steps: Array  # i32[capacity], of the evaluations so far; later than any step where there is none yet
    errors: Array  # f32[capacity]
    count: Array  # i32[], evaluations so far
    since: Array  # i32[], the first step that counts, which is the one after the last restart
    restart_at: Array  # i32[], the step before the next evaluation at which the rule fires, -1 if there is none
    fresh: Params  # the parameters for it


NEVER = -1
INT32_MAX = 2**31 - 1


def with_reinit(
    learner: Learner,
    initial_params: Callable[[Array], Params],
    rule: Reinit,
    *,
    num_steps: int,
    eval_every: int,
) -> Learner:
    """The learner, whose seeds start over where ``recipes.Reinit`` says so: after the step at which the rule fires.

    The score is known since the last evaluation, so whether and where the rule fires before the next one is
    settled when an evaluation is observed; the steps in between only compare their number. ``initial_params`` draws
    parameters from a key. Schlör, Ring & Hotho 2020, arXiv 2003.07629; the rule is that of the benchmark of Mistry, Farrahi
    & Hare.

    Raises ValueError if the rule could fire twice between evaluations.
    """
    if rule.min_history < eval_every:
        raise ValueError(f"min_history must be at least eval_every, which is {eval_every}, got {rule.min_history}")
    capacity = num_steps // eval_every + 2

    def init(seed: Array, problem: Problem) -> TrainState:
        state = learner.init(seed, problem)
        steps, errors = jnp.full(capacity, INT32_MAX, jnp.int32), jnp.zeros(capacity, jnp.float32)
        notes = Notes(state.learner_state, steps, errors, jnp.int32(0), jnp.int32(0), jnp.int32(NEVER), state.params)
        return state._replace(learner_state=notes)

    def step(state: TrainState, problem: Problem) -> tuple[TrainState, Metrics]:
        notes: Notes = state.learner_state
        stepped, metrics = learner.step(state._replace(learner_state=notes.inner), problem)
        fires = state.step == notes.restart_at
        params = jax.tree.map(lambda new, old: jnp.where(fires, new, old), notes.fresh, stepped.params)
        since = jnp.where(fires, state.step + 1, notes.since)
        return stepped._replace(
            params=params, learner_state=notes._replace(inner=stepped.learner_state, since=since)
        ), metrics

    def evaluate(state: TrainState, problem: Problem) -> Evaluation:
        return learner.evaluate(state._replace(learner_state=state.learner_state.inner), problem)

    def observe(state: TrainState, evaluation: Evaluation) -> TrainState:
        notes: Notes = state.learner_state
        observed = learner.observe(state._replace(learner_state=notes.inner), evaluation)
        steps = notes.steps.at[notes.count].set(state.step)
        errors = notes.errors.at[notes.count].set(evaluation.score)
        restart_at = first_firing(rule, steps, errors, evaluation.score, notes.since, state.step, eval_every)
        key = key_at(Purpose.RESTART, state.seed, restart_at)
        fresh = redrawn(key, state.params, rule.init_range) if rule.init_range else initial_params(key)
        return observed._replace(
            learner_state=Notes(observed.learner_state, steps, errors, notes.count + 1, notes.since, restart_at, fresh)
        )

    return Learner(init, step, evaluate, observe)


def first_firing(
    rule: Reinit, steps: Array, errors: Array, latest: Array, since: Array, now: Array, eval_every: int
) -> Array:
    """The first step from ``now`` to the next evaluation at which the rule fires, i32[], or -1.

    ``steps`` and ``errors`` are those of the evaluations so far, ``latest`` the last error. An error noted from ``since`` on
    is weighed by the steps for which it held.
    """
    ends = jnp.append(steps[1:], INT32_MAX)
    first_check = now + (-now) % rule.check_every
    candidates = first_check + rule.check_every * jnp.arange(eval_every // rule.check_every + 1)

    def fires(t: Array) -> Array:
        noted = t + 1 - since
        middle = since + noted // 2

        def mean(values: Array, start: Array, end: Array) -> Array:
            held = jnp.maximum(jnp.minimum(ends, end) - jnp.maximum(steps, start), 0)
            return jnp.sum(values * held.astype(jnp.float32)) / jnp.maximum(end - start, 1).astype(jnp.float32)

        # Beside the latest error, so that errors which do not change have exactly the mean that they are.
        first, second = (mean(errors - latest, *half) for half in ((since, middle), (middle, t + 1)))
        deviation = jnp.sqrt(mean(jnp.square(errors - latest - second), middle, t + 1))
        halted = (first <= second + deviation) & (latest + second > rule.threshold)
        return (t > 0) & (t < now + eval_every) & (noted > rule.min_history) & halted

    firing = jax.vmap(fires)(candidates)
    return jnp.where(firing.any(), candidates[jnp.argmax(firing)], NEVER)


def redrawn(key: Array, params: Params, radius: float) -> Params:
    """Parameters of the same shapes, from U(-radius, radius)."""
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    drawn = [jax.random.uniform(k, leaf.shape, leaf.dtype, -radius, radius) for k, leaf in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(structure, drawn)
