"""Reports: each turns finished cells into tables or pictures. A config page names those that it wants.

A report is a module with ``write(run, folder)``; it may also have ``screen(run)``, a table for the terminal,
``picture(trained)``, a figure of one cell for TensorBoard, or None, and, if it is made of some tasks alone, ``check(task)``,
which raises ConfigError for the specification of another: such a page is refused before it is trained.
"""

import contextlib
import importlib
import importlib.util
import pkgutil
from types import ModuleType

from experiments.faults import ConfigError
from nalu_jax.registry import nearest


def locate(name: str) -> str:
    """The module of a report: one of this package, or any other that Python finds. Raises ConfigError if there is none."""
    for module in (f"{__name__}.{name}", name):
        with contextlib.suppress(ModuleNotFoundError, ValueError):
            if importlib.util.find_spec(module):
                return module
    shipped = [found.name for found in pkgutil.iter_modules(__path__)]
    raise ConfigError(f"config.reports: there is no report {name!r}{nearest(name, shipped)}")


def find(name: str) -> ModuleType:
    """The report of a name, imported. Raises ConfigError if there is none, or if it cannot write."""
    report = importlib.import_module(locate(name))
    if not hasattr(report, "write"):
        raise ConfigError(f"config.reports: {name!r} is no report, it has no function write(run, folder)")
    return report
