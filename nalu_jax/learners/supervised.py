"""Supervised learning from a stream of fresh batches."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from nalu_jax.functional import sparsity_error
from nalu_jax.random import Purpose, key_at
from nalu_jax.types import Array, Learner, Metrics, Task, TrainState


def supervised(model: nn.Module, optimizer: optax.GradientTransformation, *, batch_size: int) -> Learner:
    """A learner that follows the gradient of ``task.loss`` on a fresh batch at every step.

    ``model`` maps columns ``[in, batch]`` to columns ``[out, batch]``. Raises ValueError if batch_size is not a positive
    integer.
    """
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size must be a positive integer, got {batch_size!r}")

    def init(seed: Array, task: Task) -> TrainState:
        draw = task.init(key_at(Purpose.TASK, seed))
        example = task.sample(key_at(Purpose.TRAINING, seed, jnp.int32(0)), draw, 1)
        params = model.init(key_at(Purpose.PARAMETERS, seed), example.inputs)["params"]
        return TrainState(seed, jnp.int32(0), params, optimizer.init(params), draw)

    def step(state: TrainState, task: Task) -> tuple[TrainState, Metrics]:
        batch = task.sample(key_at(Purpose.TRAINING, state.seed, state.step), state.draw, batch_size)

        def loss_of(params):
            outputs: Any = model.apply({"params": params}, batch.inputs)
            return task.loss(outputs, batch)

        loss, gradients = jax.value_and_grad(loss_of)(state.params)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return state._replace(step=state.step + 1, params=params, opt_state=opt_state), {"loss": loss}

    def evaluate(state: TrainState, task: Task) -> Metrics:
        metrics: Metrics = {}
        for name, batch in task.evaluations(state.draw).items():
            outputs: Any = model.apply({"params": state.params}, batch.inputs)
            metrics |= {f"{name}_{metric}": value for metric, value in task.metrics(outputs, batch).items()}
        metrics["sparsity_error"] = sparsity_error(effective_weights(model, state.params, batch.inputs[:, :1]))
        metrics["solved"] = task.solved(metrics)
        return metrics

    return Learner(init, step, evaluate)


def effective_weights(model: nn.Module, params, inputs: Array):
    """The weight matrices ``[in, out]`` that the model's units declare, as a tree named after its layers."""
    _, declared = model.apply({"params": params}, inputs, mutable=["weights"])
    return declared["weights"]
