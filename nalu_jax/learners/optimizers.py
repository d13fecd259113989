"""Optax chains from plain numbers, with the constants that the papers' code ran with.

The learning rate may be a traced number: the programs take it as an argument, so that runs which differ in it share one.
"""

import jax
import jax.numpy as jnp
import optax

from nalu_jax.recipes import Chain
from nalu_jax.registry import OPTIMIZERS


@OPTIMIZERS.register("adam")
def adam(*, learning_rate) -> optax.GradientTransformation:
    """Adam with β = (0.9, 0.999) and ε = 1e-8, as Madsen & Johansen 2020."""
    return optax.adam(learning_rate, b1=0.9, b2=0.999, eps=1e-8)


@OPTIMIZERS.register("rmsprop")
def rmsprop(*, learning_rate) -> optax.GradientTransformation:
    """PyTorch's RMSProp, decay 0.99 and ε = 1e-8 outside the root: most reimplementations of the 2018 paper use it."""
    return optax.rmsprop(learning_rate, decay=0.99, eps=1e-8, eps_in_sqrt=False)


@OPTIMIZERS.register("rmsprop_tensorflow")
def rmsprop_tensorflow(*, learning_rate) -> optax.GradientTransformation:
    """TensorFlow 1's RMSProp, decay 0.9, ε = 1e-10 inside the root, an average that starts at 1: as iNALU's authors."""
    return optax.rmsprop(learning_rate, decay=0.9, eps=1e-10, initial_scale=1.0, eps_in_sqrt=True)


@OPTIMIZERS.register("sgd")
def sgd(*, learning_rate) -> optax.GradientTransformation:
    """Plain gradient descent."""
    return optax.sgd(learning_rate)


@OPTIMIZERS.register("momentum")
def momentum(*, learning_rate) -> optax.GradientTransformation:
    """Gradient descent with momentum 0.9."""
    return optax.sgd(learning_rate, momentum=0.9)


def make_optimizer(chain: Chain, learning_rate) -> optax.GradientTransformation:
    """The optimizer of a recipe at a learning rate, a number or traced f32[], with what clips its gradients before it.

    Raises UnknownName for an optimizer that is not registered.
    """
    # Flat, since all these treat every element alike, and one loop over all parameters is faster than one for each layer.
    steps = optax.flatten(OPTIMIZERS[chain.name](learning_rate=learning_rate))
    if chain.gate_turn:
        steps = taking_turns(steps, chain.gate_turn)
    if chain.clip_value:
        steps = optax.chain(optax.clip(chain.clip_value), steps)
    if chain.clip_norm:
        steps = optax.chain(optax.clip_by_global_norm(chain.clip_norm), steps)
    return steps


def taking_turns(inner: optax.GradientTransformation, gate_turn: int) -> optax.GradientTransformation:
    """Of every ten steps the last ``gate_turn`` move the gates, parameters called "g", and the others all else.

    Each side keeps its moments while the other has its turn. ``inner`` must treat every element by itself, as RMSProp and
    Adam do. Schlör, Ring & Hotho 2020, their published code.
    """

    def init(params):
        return jnp.int32(0), inner.init(params), inner.init(params)

    def update(updates, state, params=None):
        step, *states = state
        turn_of_gates = step % 10 >= 10 - gate_turn
        (of_weights, weights), (of_gates, gates) = (inner.update(updates, side, params) for side in states)

        def moves(path, weight_step, gate_step):
            is_gate = any(getattr(key, "key", None) == "g" for key in path)
            return jnp.where(turn_of_gates, gate_step, 0) if is_gate else jnp.where(turn_of_gates, 0, weight_step)

        weights = jax.tree.map(lambda new, old: jnp.where(turn_of_gates, old, new), weights, states[0])
        gates = jax.tree.map(lambda new, old: jnp.where(turn_of_gates, new, old), gates, states[1])
        return jax.tree_util.tree_map_with_path(moves, of_weights, of_gates), (step + 1, weights, gates)

    return optax.GradientTransformation(init, update)
