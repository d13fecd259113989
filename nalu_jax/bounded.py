"""Parameters that live in an interval: the interval belongs to the parameter, and every step ends inside it.

In a training loop of one's own ``project`` moves the parameters there after each step; ``keep_bounded`` does so as the last
part of an Optax optimizer. Both know the intervals from the parameters: from Linen's boxes (``Bounded``), and from the
metadata of NNX's variables.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import export

from nalu_jax.types import Array, Params

LOST = (
    "no parameter has an interval: it is lost where parameters are unboxed or made plain arrays; "
    "keep_bounded(bounds_of(model)) takes it from the model"
)


class Bounded(struct.PyTreeNode, nn.meta.AxisMetadata):
    """A parameter and the interval [lower, upper] that it is projected onto after each step.

    Flax unboxes it where a module asks for the parameter; Optax maps over it as over any other tree. ``nn.unbox`` takes the
    interval away. The forward pass does not clip: at a bound the gradient of ``jnp.clip`` is 1/2 and that of ``lax.clamp``
    is 0, and a weight that has arrived there would be held back.
    """

    value: Array
    lower: float = struct.field(pytree_node=False)
    upper: float = struct.field(pytree_node=False)

    def unbox(self) -> Array:
        """The parameter without its interval, in its own shape."""
        return self.value

    def replace_boxed(self, val: Any) -> "Bounded":
        """Another value with the same interval."""
        return self.replace(value=val)

    def add_axis(self, index: int, params: dict[Any, Any]) -> "Bounded":
        """The interval does not depend on axes."""
        return self

    def remove_axis(self, index: int, params: dict[Any, Any]) -> "Bounded":
        """The interval does not depend on axes."""
        return self

    @classmethod
    def from_nnx_metadata(cls, metadata: dict[str, Any]) -> "Bounded":
        """The box, rebuilt from the metadata of an NNX variable."""
        return cls(metadata["value"], metadata["lower"], metadata["upper"])


export.register_pytree_node_serialization(
    Bounded,
    serialized_name="nalu_jax.Bounded",
    serialize_auxdata=lambda interval: json.dumps(interval).encode(),
    deserialize_auxdata=lambda interval: tuple(json.loads(interval)),
)


class Interval(NamedTuple):
    """Where a parameter lives; infinite where it is free."""

    lower: float
    upper: float


FREE = Interval(-jnp.inf, jnp.inf)


class KeepBoundedState(NamedTuple):
    """The intervals, as trees of the structure of the parameters."""

    lower: Params
    upper: Params


def bounded(initializer: Callable[..., Array], lower: float, upper: float) -> Callable[..., Any]:
    """The initializer (key, shape, dtype) → array as one of parameters that live in [lower, upper].

    A module's ``self.param`` returns the bare array.
    """

    def init(*arguments) -> Bounded:
        return Bounded(initializer(*arguments), lower, upper)

    return init


def project(params: Params) -> Params:
    """Every bounded parameter moved to the nearest point of its interval, the others as they are: a tree → the same tree.

    To be called after each optimizer step: ``params = project(optax.apply_updates(params, updates))``, and in NNX
    ``nnx.update(model, project(nnx.state(model, nnx.Param)))``. The optimizer's moments are not touched. Madsen & Johansen
    2020 (arXiv 2001.05016), section 2.3.

    Raises ValueError for a tree without any bounded parameter, such as one that was unboxed.
    """
    if all(interval == FREE for interval in intervals(params)):
        raise ValueError(f"project: {LOST}")
    return clip_to_bounds(params)


def clip_to_bounds(params: Params) -> Params:
    """As ``project``, for trees that need not have a bounded parameter."""
    leaves, structure = jax.tree.flatten(params)
    found = zip(leaves, intervals(params), strict=True)
    return jax.tree.unflatten(structure, [leaf if i == FREE else jnp.clip(leaf, i.lower, i.upper) for leaf, i in found])


def keep_bounded(bounds: Any = None) -> optax.GradientTransformation:
    """An Optax transformation whose updates end inside the intervals of the parameters; it is to be the last of a chain.

    ``optax.chain(optax.adam(1e-3), keep_bounded())`` holds them in any loop, in Flax's TrainState and in nnx.Optimizer: an
    update u of a parameter p becomes clip(p + u) - p. The moments of the optimizer before it are not touched.

    Args:
      bounds: the intervals, as ``bounds_of`` gives them, for parameters that do not know their own: unboxed, or loaded as
        plain arrays. None: those of the parameters that ``init`` gets.

    Raises ValueError at ``init`` if no parameter is bounded, or if the bounds are those of other parameters.
    """

    def init(params: Params) -> KeepBoundedState:
        leaves, structure = jax.tree.flatten(params)
        if bounds is None:
            found = intervals(params)
        else:
            found = jax.tree.leaves(bounds, is_leaf=lambda leaf: isinstance(leaf, Interval))
            known, given = names(bounds), names(params)
            if known != given:
                raise ValueError(
                    f"keep_bounded: the bounds are of {', '.join(known)}, the parameters are {', '.join(given)}"
                )
        if all(interval == FREE for interval in found):
            raise ValueError(f"keep_bounded: {LOST}")
        ends = [[jnp.asarray(end, leaf.dtype) for end in interval] for leaf, interval in zip(leaves, found, strict=True)]
        return KeepBoundedState(*(jax.tree.unflatten(structure, list(side)) for side in zip(*ends, strict=True)))

    def update(updates: Params, state: Any, params: Params | None = None) -> tuple[Params, Any]:
        if params is None:
            raise ValueError("keep_bounded: update needs the parameters, as in update(updates, state, params)")

        def bring(u: Array, p: Array, lower: Array, upper: Array) -> Array:
            end = jnp.clip(p + u, lower, upper)
            return jnp.where(p + u == end, u, step_to(end, p))

        return jax.tree.map(bring, updates, params, state.lower, state.upper), state

    return optax.GradientTransformation(init, update)


def step_to(end: Array, start: Array) -> Array:
    """The u for which start + u is ``end`` when it is rounded, elementwise: end - start, or a number beside it."""
    u = end - start
    for beside in (jnp.nextafter(u, jnp.full_like(u, jnp.inf)), jnp.nextafter(u, jnp.full_like(u, -jnp.inf))):
        u = jnp.where((start + u != end) & (start + beside == end), beside, u)
    return u


def bounds_of(model: Any, *inputs: Any) -> Any:
    """The intervals of a model's parameters, a tree of ``Interval`` of their structure.

    Args:
      model: a Linen module, an NNX module, or a tree of parameters that know their intervals.
      inputs: what a Linen module is initialised with, arrays or shapes; by default a vector, which units and stacks of them
        take.

    Raises ValueError for a Linen module that cannot be initialised with these inputs.
    """
    from flax import nnx

    if isinstance(model, nn.Module):
        examples = inputs or (jax.ShapeDtypeStruct((2,), jnp.float32),)
        try:
            params = jax.eval_shape(model.init, jax.random.key(0), *examples)["params"]
        except Exception as error:
            raise ValueError(
                f"bounds_of: give an example of the model's inputs, as in bounds_of(model, x): {error}"
            ) from error
    else:
        params = nnx.state(model, nnx.Param) if isinstance(model, nnx.Module) else model
    paths = jax.tree_util.tree_flatten_with_path(params)[0]
    tree: dict[str, Any] = {}
    for (path, _), interval in zip(paths, intervals(params), strict=True):
        *above, last = keys_of(path)
        section = tree
        for key in above:
            section = section.setdefault(key, {})
        section[last] = interval
    return tree


def intervals(params: Params) -> list[Interval]:
    """The interval of each leaf of a tree of parameters, in the order of its leaves."""
    found = []
    for leaf in jax.tree.leaves(params, is_leaf=holds_interval):
        held = FREE
        if isinstance(leaf, Bounded):
            held = Interval(leaf.lower, leaf.upper)
        elif holds_interval(leaf):
            metadata = leaf.get_metadata()
            if "lower" in metadata and "upper" in metadata:
                held = Interval(metadata["lower"], metadata["upper"])
        found += [held] * len(jax.tree.leaves(leaf))
    return found


def holds_interval(leaf: Any) -> bool:
    """Whether a part of a tree may hold an interval: one of Linen's boxes, or a variable of NNX, which has metadata."""
    return isinstance(leaf, Bounded) or hasattr(leaf, "get_metadata")


def names(tree: Any) -> list[str]:
    """The names of the leaves of a tree of parameters or intervals, whatever boxes are around them."""
    paths = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda leaf: isinstance(leaf, Interval))[0]
    return [".".join(keys_of(path)) for path, _ in paths]


def keys_of(path: Any) -> list[str]:
    """The keys of a leaf's path, without the boxes' own."""
    if path[-1:] == (jax.tree_util.GetAttrKey("value"),):  # a parameter of this name has a key of another kind
        path = path[:-1]
    return [str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path]
