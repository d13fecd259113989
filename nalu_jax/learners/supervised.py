"""Supervised learning from a stream of fresh batches."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from nalu_jax.bounded import project
from nalu_jax.functional import sparsity_error
from nalu_jax.lowering import computed_once, in_one_kernel
from nalu_jax.random import Purpose, generator_of, key_at
from nalu_jax.types import Array, Learner, Metrics, Params, Setup, TrainState


def supervised(
    model: nn.Module,
    make_optimizer: Callable[[Any], optax.GradientTransformation],
    *,
    batch_size: int,
    watch: str,
    generator: str = "threefry2x32",
) -> Learner:
    """A learner that follows the gradient of the task's loss, and of the model's penalties, on a fresh batch at every step.

    ``model`` maps columns ``[in, batch]`` to columns ``[out, batch]``. ``make_optimizer`` makes the optimizer from
    ``numbers["learning_rate"]``; the loss is task.loss + Σ λ(step) · penalty over ``numbers["penalties"]``, each a dict of
    the fields of ``recipes.Penalty``. ``watch`` is the metric that penalties may wait for. Parameters that are bounded
    are projected after each step. ``generator``, a name of ``nalu_jax.random.GENERATORS`` or "auto", draws what steps draw;
    tasks and first parameters are threefry's whatever it is. Raises ValueError if batch_size is not a positive integer or
    the generator not known.
    """
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size must be a positive integer, got {batch_size!r}")
    key_of = functools.partial(key_at, generator=generator_of(generator))

    def init(seed: Array, setup: Setup) -> TrainState:
        task, numbers = setup
        draw = task.init(key_at(Purpose.TASK, seed))
        example = task.sample(key_at(Purpose.TRAINING, seed, jnp.int32(0)), draw, 1)
        params = model.init(key_at(Purpose.PARAMETERS, seed), example.inputs)["params"]
        opt_state = make_optimizer(numbers["learning_rate"]).init(params)
        return TrainState(seed, jnp.int32(0), params, opt_state, draw, memory=jnp.float32(jnp.inf))

    sample = computed_once(lambda task, key, draw: task.sample(key, draw, batch_size))

    @in_one_kernel
    def follow(gradients, opt_state, params, learning_rate):
        updates, opt_state = make_optimizer(learning_rate).update(gradients, opt_state, params)
        return project(optax.apply_updates(params, updates)), opt_state

    def step(state: TrainState, setup: Setup) -> tuple[TrainState, Metrics]:
        task, numbers = setup
        batch = sample(task, key_of(Purpose.TRAINING, state.seed, state.step), state.draw)
        noise = {"training": key_of(Purpose.NOISE, state.seed, state.step)}
        weights = {name: penalty_weight(p, state.step, state.memory) for name, p in numbers["penalties"].items()}

        def loss_of(params):
            outputs: Any
            outputs, declared = model.apply({"params": params}, batch.inputs, rngs=noise, mutable=["penalties"])
            loss = task.loss(outputs, batch)
            return loss + penalised(declared.get("penalties", {}), weights), loss

        (_, loss), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        params, opt_state = follow(gradients, state.opt_state, state.params, numbers["learning_rate"])
        return state._replace(step=state.step + 1, params=params, opt_state=opt_state), {"loss": loss}

    def evaluate(state: TrainState, setup: Setup) -> Metrics:
        task, metrics, declared = setup.task, {}, {}
        for name, batch in task.evaluations(state.draw).items():
            outputs: Any
            outputs, declared = model.apply({"params": state.params}, batch.inputs, mutable=["weights"])
            metrics |= {f"{name}_{metric}": value for metric, value in task.metrics(outputs, batch).items()}
        metrics["sparsity_error"] = sparsity_error(declared.get("weights", {}))
        metrics["solved"] = task.solved(metrics)
        return metrics

    def observe(state: TrainState, metrics: Metrics) -> TrainState:
        return state._replace(memory=metrics[watch])

    return Learner(init, step, evaluate, observe)


def penalty_weight(penalty: dict[str, Array], step: Array, watched: Array) -> Array:
    """λ(step) of a ``recipes.Penalty`` given as a dict of numbers, f32[]; ``watched`` is what ``below`` is compared with."""
    start, end = penalty["start"], penalty["end"]
    rising = (step - start).astype(jnp.float32) / jnp.maximum(end - start, 1).astype(jnp.float32)
    ramp = jnp.where(end > start, jnp.clip(rising, 0, 1), (step >= start).astype(jnp.float32))
    grown = penalty["growth"] ** jnp.minimum(step // penalty["every"], penalty["times"]).astype(jnp.float32)
    acts = (penalty["below"] == 0) | (watched < penalty["below"])
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
    variables = jax.eval_shape(model.init, jax.random.key(0), example)
    leaves: Any = jax.tree_util.tree_leaves_with_path(variables.get("penalties", {}))
    return {path[-1].key for path, _ in leaves}
