"""What every unit is: a Linen module that maps a vector to a vector and declares its effective weights and penalties."""

import functools
import operator
from collections.abc import Iterable
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from flax.linen.dtypes import promote_dtype

from nalu_jax.recipes import DEFAULT_RECIPE, Recipe
from nalu_jax.types import Array

TRAINING = "training"


class Unit(nn.Module):
    """A layer from ``[..., in]`` to ``[..., features]``, a drop-in replacement for ``nn.Dense(features)``.

    A subclass defines ``columns``, its formula on columns ``[in, ...]``, and declares there each weight matrix that acts
    on the input by ``self.weight(name, value)``, and each regulariser by ``self.penalty(name, value)``; what the formula
    itself takes goes through ``self.promote``. Its class variables hold what its papers state: name, operations, recipes,
    partners in a network, domain.

    Attributes:
      features: number of outputs, of any integer type.
      axis: the axis of the input that holds the features; 0 spares the training programs two transpositions a layer.
      dtype: type of the computation; None: the one that input and parameters are promoted to, as in ``nn.Dense``.
      param_dtype: type of the parameters.

    Raises ValueError if features is not a positive integer.
    """

    # What its papers call it, as tables and pictures do.
    label: ClassVar[str] = ""
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
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def __post_init__(self):
        self.features = positive("features", self.features)
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

    def promote(self, *arrays: Any) -> list[Any]:
        """Input and parameters in the type of the computation, their shapes as they are; None stays None.

        Penalties and declared weights are of the parameters as they are kept, in ``param_dtype``.
        """
        return promote_dtype(*arrays, dtype=self.dtype)

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
        """Puts an array of any shape into a collection; where a unit is used more than once, the last value is kept.

        ``init`` makes parameters alone: penalties may depend on an input of which it knows no more than the shape.
        """
        if self.is_initializing():
            return
        self.sow(collection, name, value, reduce_fn=lambda _, new: new, init_fn=lambda: value)


def positive(field: str, value: Any) -> int:
    """A size as a Python int, from an integer of NumPy or JAX too. Raises ValueError unless it is a positive integer."""
    try:
        size = 0 if isinstance(value, bool | np.bool) else operator.index(value)
    except TypeError:
        size = 0
    if size < 1:
        raise ValueError(f"{field} must be a positive integer, got {value!r}")
    return size


def add_up(terms: Iterable[Array]) -> Array:
    """The sum of one or more arrays of one shape, which is its shape as well: [...] each → [...]."""
    return functools.reduce(operator.add, terms)
