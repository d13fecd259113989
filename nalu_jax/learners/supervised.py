"""Supervised learning from a stream of fresh batches."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from nalu_jax.bounded import clip_to_bounds
from nalu_jax.functional import sparsity_error
from nalu_jax.registry import LEARNERS
from nalu_jax.training.lowering import computed_once, in_one_kernel
from nalu_jax.training.random import Purpose, generator_of, key_at
from nalu_jax.types import Array, Evaluation, Learner, Metrics, Params, Problem, TrainState


@LEARNERS.register("supervised")
def supervised(
    model: nn.Module,
    make_optimizer: Callable[..., optax.GradientTransformation],
    *,
    batch_size: int,
    generator: str = "threefry2x32",
) -> Learner:
    """A learner that follows the gradient of the task's loss, and of the model's penalties, on a fresh batch at every step.

    The loss is task.loss + Σ λ(step) · penalty over the penalties of the hyperparameters. Parameters that are bounded are
    projected after each step. Tasks and first parameters are drawn by threefry, whatever the generator.

    Args:
      model: maps the inputs of a batch to outputs of the shape of its targets.
      make_optimizer: makes the optimizer from its learning rate f32[] and, by name, its numbers that are swept, f32[] each.
      batch_size: examples of a training batch.
      generator: draws what steps draw: a name of ``training.random.GENERATORS``, or "auto".

    Raises ValueError if batch_size is not a positive integer or the generator not known.
    """
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size must be a positive integer, got {batch_size!r}")
    key_of = functools.partial(key_at, generator=generator_of(generator))

    def init(seed: Array, problem: Problem) -> TrainState:
        task, hyperparameters = problem
        task_state = task.init(key_at(Purpose.TASK, seed))
        example = task.sample(key_at(Purpose.TRAINING, seed, jnp.int32(0)), task_state, 1)
        params = model.init(key_at(Purpose.PARAMETERS, seed), example.inputs)["params"]
        opt_state = make_optimizer(hyperparameters.learning_rate, **hyperparameters.optimizer).init(params)
        return TrainState(seed, jnp.int32(0), params, opt_state, task_state, learner_state=jnp.float32(jnp.inf))

    sample = computed_once(lambda task, key, task_state: task.sample(key, task_state, batch_size))

    @in_one_kernel
    def follow(gradients, opt_state, params, learning_rate, swept):
        updates, opt_state = make_optimizer(learning_rate, **swept).update(gradients, opt_state, params)
        return clip_to_bounds(optax.apply_updates(params, updates)), opt_state

    def step(state: TrainState, problem: Problem) -> tuple[TrainState, Metrics]:
        task, (learning_rate, penalties, swept) = problem
        batch = sample(task, key_of(Purpose.TRAINING, state.seed, state.step), state.task_state)
        noise = {"training": key_of(Purpose.NOISE, state.seed, state.step)}
        weights = {name: penalty_weight(p, state.step, state.learner_state) for name, p in penalties.items()}

        def loss_of(params):
            outputs: Any
            outputs, declared = model.apply({"params": params}, batch.inputs, rngs=noise, mutable=["penalties"])
            loss = task.loss(outputs, batch)
            return loss + penalised(declared.get("penalties", {}), weights), loss

        (_, loss), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        params, opt_state = follow(gradients, state.opt_state, state.params, learning_rate, swept)
        return state._replace(step=state.step + 1, params=params, opt_state=opt_state), {"loss": loss}

    def evaluate(state: TrainState, problem: Problem) -> Evaluation:
        task, metrics, declared = problem.task, {}, {}
        for name, batch in task.evaluations(state.task_state).items():
            outputs: Any
            outputs, declared = model.apply({"params": state.params}, batch.inputs, mutable=["weights"])
            metrics |= {f"{name}_{metric}": value for metric, value in task.metrics(outputs, batch).items()}
        metrics["sparsity_error"] = sparsity_error(declared.get("weights", {}))
        return Evaluation(metrics, task.score(metrics), task.solved(metrics))

    def observe(state: TrainState, evaluation: Evaluation) -> TrainState:
        return state._replace(learner_state=evaluation.score)

    return Learner(init, step, evaluate, observe)


def penalty_weight(penalty: dict[str, Array], step: Array, score: Array) -> Array:
    """λ(step) of a ``recipes.Penalty`` given as a dict of numbers: step i32[], the last score f32[] → f32[]."""
    start, end = penalty["start"], penalty["end"]
    rising = (step - start).astype(jnp.float32) / jnp.maximum(end - start, 1).astype(jnp.float32)
    ramp = jnp.where(end > start, jnp.clip(rising, 0, 1), (step >= start).astype(jnp.float32))
    grown = penalty["growth"] ** jnp.minimum(step // penalty["every"], penalty["times"]).astype(jnp.float32)
    acts = (penalty["below"] == 0) | (score < penalty["below"])
    return jnp.where(acts, penalty["weight"] * ramp * grown, 0)


def penalised(declared: Any, weights: dict[str, Array]) -> Array:
    """Σ weight · penalty, f32[], over all penalties of that name that the model's layers declared."""
    total = jnp.float32(0)
    for path, value in jax.tree_util.tree_leaves_with_path(declared):
        if (name := path[-1].key) in weights:
            total = total + weights[name] * value
    return total


def effective_weights(model: nn.Module, params: Params, inputs: Any) -> Any:
    """The weight matrices ``[in, out]`` that the model's units declare, as a tree named after its layers; {} if it has none.

    They do not depend on the inputs, of which only the shapes matter.
    """
    _, declared = model.apply({"params": params}, inputs, mutable=["weights"])
    return declared.get("weights", {})


def declared_penalties(model: nn.Module, example: Any) -> set[str]:
    """The names of the penalties that the model's units declare, given the shapes of its inputs."""

    def declare(key: Array, inputs: Any) -> Any:
        return model.apply(model.init(key, inputs), inputs, mutable=["penalties"])[1].get("penalties", {})

    leaves: Any = jax.tree_util.tree_leaves_with_path(jax.eval_shape(declare, jax.random.key(0), example))
    return {path[-1].key for path, _ in leaves}
