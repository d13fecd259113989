"""Optax chains from plain numbers, with the constants that the papers' code ran with."""

import math

import optax

from nalu_jax.registry import OPTIMIZERS


@OPTIMIZERS.register("adam")
def adam(*, learning_rate: float) -> optax.GradientTransformation:
    """Adam with β = (0.9, 0.999) and ε = 1e-8, as Madsen & Johansen 2020. ValueError unless learning_rate > 0."""
    return optax.adam(positive(learning_rate), b1=0.9, b2=0.999, eps=1e-8)


@OPTIMIZERS.register("rmsprop")
def rmsprop(*, learning_rate: float) -> optax.GradientTransformation:
    """RMSProp with decay 0.99 and ε = 1e-8 outside the root: PyTorch's, which most reimplementations of the 2018 paper use.

    ValueError unless learning_rate > 0.
    """
    return optax.rmsprop(positive(learning_rate), decay=0.99, eps=1e-8, eps_in_sqrt=False)


def positive(learning_rate: float) -> float:
    """The learning rate, or ValueError if it is not a positive number."""
    if not (0 < learning_rate < math.inf):
        raise ValueError(f"learning_rate must be a positive number, got {learning_rate!r}")
    return learning_rate
