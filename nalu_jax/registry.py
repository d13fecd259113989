"""Names to constructors. A config says a name; the constructor it leads to is the schema."""

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

Constructor = TypeVar("Constructor", bound=Callable[..., Any])


class UnknownName(ValueError):
    """A name that nothing is registered under."""


class Registry(Mapping[str, Callable[..., Any]]):
    """A mapping from paper names to constructors of one kind of thing.

    >>> UNITS = Registry("unit")
    >>> UNITS.register("nac")(NAC)
    >>> UNITS["nca"]
    UnknownName: unknown unit 'nca': did you mean 'nac'? Known: nac.
    """

    def __init__(self, kind: str):
        self.kind = kind
        self._constructors: dict[str, Callable[..., Any]] = {}

    def register(self, name: str) -> Callable[[Constructor], Constructor]:
        """A decorator that enters a constructor under ``name``; ValueError if the name is taken."""

        def enter(constructor: Constructor) -> Constructor:
            if name in self._constructors:
                raise ValueError(f"two things want to be the {self.kind} {name!r}")
            self._constructors[name] = constructor
            return constructor

        return enter

    def __getitem__(self, name: str) -> Callable[..., Any]:
        if name not in self._constructors:
            raise UnknownName(f"unknown {self.kind} {name!r}{nearest(name, self)} Known: {', '.join(self)}.")
        return self._constructors[name]

    def __contains__(self, name: object) -> bool:
        return name in self._constructors

    def __iter__(self) -> Iterator[str]:
        return iter(self._constructors)

    def __len__(self) -> int:
        return len(self._constructors)


def nearest(name: str, known: Any) -> str:
    """The end of a sentence about an unknown name: a guess at what was meant, or a full stop."""
    guess = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return f": did you mean {guess[0]!r}?" if guess else "."


UNITS = Registry("unit")
TASKS = Registry("task")
NETWORKS = Registry("network")
OPTIMIZERS = Registry("optimizer")
INITIALIZERS = Registry("initializer")
TRUNKS = Registry("trunk")
