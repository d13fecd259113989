"""Optax chains from plain numbers, with the constants that the papers' code ran with.

The numbers may be traced: the programs take them as arguments, so that runs which differ in them share one.
"""

import inspect
import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

from nalu_jax.recipes import Chain
from nalu_jax.registry import OPTIMIZERS
from nalu_jax.types import Array


@OPTIMIZERS.register("adam")
def adam(*, learning_rate, momentum=0.9, decay=0.999, eps=1e-8) -> optax.GradientTransformation:
    """Adam with β = (0.9, 0.999) and ε = 1e-8, as Madsen & Johansen 2020."""
    return optax.adam(learning_rate, b1=momentum, b2=decay, eps=eps)


@OPTIMIZERS.register("rmsprop")
def rmsprop(*, learning_rate, decay=0.99, eps=1e-8) -> optax.GradientTransformation:
    """PyTorch's RMSProp, decay 0.99 and ε = 1e-8 outside the root: most reimplementations of the 2018 paper use it."""
    return optax.rmsprop(learning_rate, decay=decay, eps=eps, eps_in_sqrt=False)


@OPTIMIZERS.register("rmsprop_tensorflow")
def rmsprop_tensorflow(*, learning_rate, decay=0.9, eps=1e-10) -> optax.GradientTransformation:
    """TensorFlow 1's RMSProp, decay 0.9, ε = 1e-10 inside the root, an average that starts at 1: as iNALU's authors."""
    return optax.rmsprop(learning_rate, decay=decay, eps=eps, initial_scale=1.0, eps_in_sqrt=True)


@OPTIMIZERS.register("sgd")
def sgd(*, learning_rate) -> optax.GradientTransformation:
    """Plain gradient descent."""
    return optax.sgd(learning_rate)


@OPTIMIZERS.register("momentum")
def momentum(*, learning_rate, momentum=0.9) -> optax.GradientTransformation:
    """Gradient descent with momentum 0.9."""
    return optax.sgd(learning_rate, momentum=momentum)


def make_optimizer(chain: Chain, learning_rate: Any, **swept: Any) -> optax.GradientTransformation:
    """The optimizer of a recipe, its numbers plain or traced f32[], with what clips its gradients before it.

    Raises UnknownName for an optimizer that is not registered, and ValueError for a number that it does not have.
    """
    numbers = dict(chain.constants) | swept
    constructor = OPTIMIZERS[chain.name]
    own = {name: numbers[name] for name in ("momentum", "decay", "eps") if name in numbers}
    for name in own:
        if name not in inspect.signature(constructor).parameters:
            raise ValueError(f"{name} is no number of the optimizer {chain.name!r}")
    rate = scheduled(chain, learning_rate, numbers.get("end_factor", 1.0)) if chain.num_steps else learning_rate
    # Flat, since all these treat every element alike, and one loop over all parameters is faster than one for each layer.
    steps = optax.flatten(constructor(learning_rate=rate, **own))
    if chain.gate_turn:
        steps = taking_turns(steps, chain.gate_turn)
    if "clip_value" in numbers:
        steps = optax.chain(optax.clip(numbers["clip_value"]), steps)
    if "clip_norm" in numbers:
        steps = optax.chain(optax.clip_by_global_norm(numbers["clip_norm"]), steps)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        # Optax raises a float to the power of an integer count, whatever the promotion of types that is asked for.
        with jax.numpy_dtype_promotion("standard"):
            return steps.update(updates, state, params)

    return optax.GradientTransformation(steps.init, update)


def scheduled(chain: Chain, rate: Any, end: Any) -> Any:
    """The learning rate η(t) of a schedule that ends at ``end`` times its start: steps taken i32[] → f32[].

    With u = (t - warm-up) / (steps - warm-up): η is linear, η₀ (1 - (1 - end) u); a half cosine,
    η₀ (end + (1 - end) (1 + cos π u) / 2), Loshchilov & Hutter 2017; or exponential, η₀ end^u. It rises to η₀ linearly in
    the steps of the warm-up, of which the first is not of rate 0.
    """
    warm = chain.warmup_steps

    def at(count: Array) -> Array:
        t = jnp.asarray(count, jnp.float32)
        u = jnp.clip((t - warm) / (chain.num_steps - warm), 0, 1)
        shape = {
            "constant": lambda: jnp.ones_like(u),
            "linear": lambda: 1 - (1 - end) * u,
            "cosine": lambda: end + (1 - end) * (1 + jnp.cos(math.pi * u)) / 2,
            "exponential": lambda: end**u,
        }[chain.schedule]()
        return rate * jnp.where(t < warm, (t + 1) / max(warm, 1), shape)

    return at


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
