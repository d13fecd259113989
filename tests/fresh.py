"""Units with fresh parameters, and inputs for them."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from flax.core.meta import unbox

from nalu_jax.registry import UNITS

INPUTS, FEATURES = 4, 2
X = np.random.RandomState(0).normal(size=(5, INPUTS)).astype(np.float32)
X[0, 1] = 0  # and about half of the others are negative
X[2] = 0

# One of each family, where all units are too many.
FAMILIES = ["linear", "nac", "nac_mul", "nalu_separate_bias", "nmu", "npu", "inalu"]
NOISE = {"training": jax.random.key(7, impl="rbg")}  # what a learner gives a unit while it takes a step


def initial(unit, inputs=INPUTS, key=0):
    """Fresh parameters without their intervals; of the generator that compiles fastest."""
    key = jax.random.key(key, impl="rbg") if isinstance(key, int) else key
    # On inputs of the shape that most tests have: they share what is compiled for an operation.
    return unbox(unit.init(key, X if inputs == INPUTS else jnp.ones((1, inputs)))["params"])


@cache
def params_of(name, key=0):
    return initial(UNITS[name](FEATURES), key=key)


def apply(unit, params, x=X, **options):
    return unit.apply({"params": params}, x, **options)


def shapes_of(unit, x=X, dtype=jnp.float32):
    """Shapes and types of (output, parameters and what is declared), without computing anything."""

    def found(key, x):
        variables = unit.init(key, x)
        outputs, declared = unit.apply(variables, x, mutable=["weights", "penalties"])
        return outputs, variables | declared

    return jax.eval_shape(found, jax.random.key(0), jax.ShapeDtypeStruct(x.shape, dtype))
