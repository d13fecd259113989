"""The operations of the papers on two numbers, and how tables write them."""

from collections.abc import Callable
from typing import Any, NamedTuple

from nalu_jax.registry import UnknownName, nearest


class Operation(NamedTuple):
    """f(a, b), elementwise, of numbers or arrays of one shape, and its sign in tables."""

    apply: Callable[[Any, Any], Any]
    sign: str


# In the order of table 1 of Trask et al. 2018, and as it writes them.
OPERATIONS = {
    "add": Operation(lambda a, b: a + b, "a + b"),
    "sub": Operation(lambda a, b: a - b, "a − b"),
    "mul": Operation(lambda a, b: a * b, "a × b"),
    "div": Operation(lambda a, b: a / b, "a ÷ b"),
    "squared": Operation(lambda a, b: a * a, "a²"),
    "root": Operation(lambda a, b: a**0.5, "√a"),
}


def check_operation(name: str, known: tuple[str, ...] = tuple(OPERATIONS)) -> None:
    """Raises UnknownName unless the operation is one of the known ones."""
    if name not in known:
        raise UnknownName(f"operation must be one of {', '.join(known)}, got {name!r}{nearest(name, known)}")


def sign(name: object) -> str:
    """An operation as tables write it; any other name as it is."""
    return OPERATIONS[str(name)].sign if name in OPERATIONS else str(name)
