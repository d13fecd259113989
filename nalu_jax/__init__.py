"""Neural arithmetic units in JAX and Flax.

The functional core, ``nalu_jax.functional``, needs jax alone; the Linen modules, and what belongs to them, are imported when
they are first named.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nalu_jax.bounded import bounds_of as bounds_of
    from nalu_jax.bounded import keep_bounded as keep_bounded
    from nalu_jax.bounded import project as project
    from nalu_jax.storage.export import read as read
    from nalu_jax.storage.export import save as save
    from nalu_jax.storage.trained import load as load
    from nalu_jax.units import *  # noqa: F403 (its __all__ is the one list of units)

__version__ = "0.2.0"

FUNCTIONS = {
    "bounds_of": "nalu_jax.bounded",
    "keep_bounded": "nalu_jax.bounded",
    "load": "nalu_jax.storage.trained",
    "project": "nalu_jax.bounded",
    "read": "nalu_jax.storage.export",
    "save": "nalu_jax.storage.export",
}


def __getattr__(name: str) -> Any:
    home = importlib.import_module("nalu_jax.units") if name[0].isupper() else None  # a unit, whose list is its package's
    if home is not None and name in home.__all__:
        return getattr(home, name)
    if name in FUNCTIONS:
        return getattr(importlib.import_module(FUNCTIONS[name]), name)
    raise AttributeError(f"module 'nalu_jax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *FUNCTIONS, *importlib.import_module("nalu_jax.units").__all__])
