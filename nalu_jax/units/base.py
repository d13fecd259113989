"""What every unit is: a Linen module that maps a vector to a vector and declares its effective weights and penalties."""

import functools
import operator
from collections.abc import Iterable
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp

from nalu_jax.recipes import DEFAULT_RECIPE, Recipe
from nalu_jax.types import Array

TRAINING = "training"


class Unit(nn.Module):
    """A layer from ``[..., in]`` to ``[..., features]``, a drop-in replacement for ``nn.Dense(features)``.

    A subclass defines ``columns``, its formula on columns ``[in, ...]``, and declares there each weight matrix that acts
    on the input by ``self.weight(name, value)``, and each regulariser by ``self.penalty(name, value)``. Its class
    variables hold what its papers state: operations, recipes, partners in a network, domain.

    Attributes:
      features: number of outputs.
      axis: the axis of the input that holds the features; 0 spares the training programs two transpositions a layer.
      param_dtype: type of the parameters.

    Raises ValueError if features is not a positive integer.
    """

    # Which of "add", "sub", "mul" and "div" it can compute of two inputs, whatever their range.
    operations: ClassVar[tuple[str, ...]] = ()
    # How it was trained; the first one that fits a task is used.
    recipes: ClassVar[tuple[Recipe, ...]] = (DEFAULT_RECIPE,)
    # Its partner in the two-layer networks of the papers that are named after it; None: the unit itself.
    first_layer: ClassVar[str | None] = None
    last_layer: ClassVar[str | None] = None
    # Whether negative inputs are outside its domain.
    positive_inputs: ClassVar[bool] = False

    features: int
    axis: int = -1
    param_dtype: Any = jnp.float32

    def __post_init__(self):
        if not isinstance(self.features, int) or self.features < 1:
            raise ValueError(f"features must be a positive integer, got {self.features!r}")
        super().__post_init__()

    def columns(self, x: Array) -> Array:
        """The unit's formula, which a subclass defines: [in, ...] → [features, ...]."""
        raise NotImplementedError

    def __call__(self, x: Array) -> Array:
        """Applies the unit along ``axis``: [..., in, ...] → [..., features, ...], by default [..., in] → [..., features]."""
        return jnp.moveaxis(self.columns(jnp.moveaxis(x, self.axis, 0)), 0, self.axis)

    def recipe(self, **facts: Any) -> Recipe:
        """The first of ``recipes`` that fits a task with these facts; the default recipe where none does."""
        return next((recipe for recipe in self.recipes if recipe.fits(facts)), DEFAULT_RECIPE)

    @property
    def training(self) -> bool:
        """Whether a learner is taking a step: it then gives ``apply`` a random stream named "training"."""
        return self.has_rng(TRAINING)

    def weight(self, name: str, value: Array) -> None:
        """Declares an effective weight matrix ``[in, out]``, kept in the collection "weights".

        Sparsity errors and pictures of weights are computed from this collection alone. It costs nothing unless a caller
        asks for it with ``mutable=["weights"]``. The name, "W" and what follows it, must not be that of a parameter: in NNX
        both share one namespace.
        """
        self.declare("weights", name, value)

    def penalty(self, name: str, value: Array) -> None:
        """Declares a regulariser, f32[], kept in the collection "penalties"; a recipe gives its weight by this name.

        A learner adds those of all layers that have one name. It costs nothing where no recipe names it.
        """
        self.declare("penalties", name, value)

    def declare(self, collection: str, name: str, value: Array) -> None:
        """Puts an array of any shape into a collection; where a unit is used more than once, the last value is kept."""
        self.sow(collection, name, value, reduce_fn=lambda _, new: new, init_fn=lambda: value)


def add_up(terms: Iterable[Array]) -> Array:
    """The sum of one or more arrays of one shape, which is its shape as well: [...] each → [...]."""
    return functools.reduce(operator.add, terms)
