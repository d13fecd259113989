"""What XLA's CPU compiler has to be told to make fast loops of the formulas. Nothing here changes a number."""

from collections.abc import Callable

import jax
from jax.experimental.xla_metadata import set_xla_metadata


def computed_once(function: Callable) -> Callable:
    """The function as a call of its own, so that what it returns is computed once and kept.

    Left to itself, XLA on CPU copies cheap arithmetic into every loop that uses it. A batch is drawn by cheap arithmetic,
    a page of it, and a NALU uses its batch twice, as it is and in a logarithm.
    """
    if jax.default_backend() != "cpu":
        return function
    called = jax.jit(function)
    return lambda *arguments: set_xla_metadata(called(*arguments), inlineable="false")


def in_one_kernel(function: Callable) -> Callable:
    """The function as a call that XLA compiles into one piece of machine code, without a dispatch for each of its loops.

    For many small loops, as those of an optimizer over the few parameters of neural arithmetic. It goes by an attribute that
    XLA gives to small loops of its own accord; a version that does not know it only takes longer.
    """
    if jax.default_backend() != "cpu":
        return function
    called = jax.jit(function)
    return lambda *arguments: set_xla_metadata(called(*arguments), inlineable="false", xla_cpu_small_call="true")
