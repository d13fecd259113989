"""Names to constructors. A config says a name; the constructor it leads to is the schema."""

import difflib
import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

Constructor = TypeVar("Constructor", bound=Callable[..., Any])


class UnknownName(ValueError):
    """A name that nothing is registered under."""


class Registry(Mapping[str, Callable[..., Any]]):
    """A mapping from paper names to constructors of one kind of thing.

    The first look-up imports ``home``, a module or a package with all modules in it, whose files register what they
    have: a name is known from any entry point, whatever was imported before.

    >>> OPERATIONS = Registry("operation")
    >>> @OPERATIONS.register("add")
    ... def add(a, b):
    ...     return a + b
    >>> OPERATIONS["add"](3, 4)
    7
    >>> OPERATIONS["ad"]
    Traceback (most recent call last):
        ...
    nalu_jax.registry.UnknownName: unknown operation 'ad': did you mean 'add'? Known: add.
    """

    def __init__(self, kind: str, home: str | None = None):
        self.kind = kind
        self.home = home
        self._constructors: dict[str, Callable[..., Any]] = {}

    def register(self, name: str) -> Callable[[Constructor], Constructor]:
        """A decorator that enters a constructor under ``name``.

        The same definition run once more, as a notebook cell is, takes the place of its earlier self. Raises ValueError if
        the name belongs to another.
        """

        def enter(constructor: Constructor) -> Constructor:
            earlier = self._constructors.get(name, constructor)
            if qualified(earlier) != qualified(constructor):
                raise ValueError(
                    f"the {self.kind} {name!r} is {qualified(earlier)}: choose another name for {qualified(constructor)}"
                )
            self._constructors[name] = constructor
            return constructor

        return enter

    def known(self) -> dict[str, Callable[..., Any]]:
        """All names with their constructors, those of the home among them."""
        home, self.home = self.home, None  # first, since what is imported may look up names itself
        if home is not None:
            try:
                import_all(home)
            except BaseException:
                self.home = home
                raise
        return self._constructors

    def __getitem__(self, name: str) -> Callable[..., Any]:
        known = self.known()
        if name not in known:
            raise UnknownName(f"unknown {self.kind} {name!r}{nearest(name, known)} Known: {', '.join(known)}.")
        return known[name]

    def __contains__(self, name: object) -> bool:
        return name in self.known()

    def __iter__(self) -> Iterator[str]:
        return iter(self.known())

    def __len__(self) -> int:
        return len(self.known())


def qualified(constructor: Any) -> str:
    """What a constructor is, as ``module.name``; of a partial one with what it is given, ``module.name(field=value)``."""
    if isinstance(constructor, functools.partial):
        given = [f"{name}={qualified(v) if callable(v) else repr(v)}" for name, v in sorted(constructor.keywords.items())]
        return f"{qualified(constructor.func)}({', '.join([*map(repr, constructor.args), *given])})"
    return f"{constructor.__module__}.{getattr(constructor, '__qualname__', type(constructor).__qualname__)}"


def import_all(home: str) -> None:
    """Imports a module, and all modules in it if it is a package."""
    module = importlib.import_module(home)
    for found in pkgutil.iter_modules(getattr(module, "__path__", [])):
        importlib.import_module(f"{home}.{found.name}")


def nearest(name: str, known: Any) -> str:
    """The end of a sentence about an unknown name: a guess at what was meant, or a full stop."""
    guess = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return f": did you mean {guess[0]!r}?" if guess else "."


UNITS = Registry("unit", "nalu_jax.units")
TASKS = Registry("task", "nalu_jax.tasks")
NETWORKS = Registry("network", "nalu_jax.networks")
READERS = Registry("reader", "nalu_jax.networks")
CELLS = Registry("cell", "nalu_jax.networks")
READOUTS = Registry("readout", "nalu_jax.networks")
WRITERS = Registry("writer", "nalu_jax.storage")
LEARNERS = Registry("learner", "nalu_jax.learners")
OPTIMIZERS = Registry("optimizer", "nalu_jax.learners")
INITIALIZERS = Registry("initializer", "nalu_jax.initializers")
