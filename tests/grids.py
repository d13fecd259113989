"""What tests of grids share: pages, and their cells after changes."""

from experiments.settings.config import override, split_overrides
from experiments.settings.grid import cells
from experiments.settings.pages import CONFIGS, load

QUICKSTART = str(CONFIGS / "quickstart.py")
STATIC = str(CONFIGS / "static_arithmetic.py")
SINGLE = str(CONFIGS / "single_unit.py")


def changed(page, *changes):
    """The config of a page after ``path=text`` changes."""
    config = load(page)
    override(config, split_overrides([f"--config.{change}" for change in changes])[0])
    return config


def grid_of(page, *changes):
    """The cells of a page after changes."""
    return list(cells(changed(page, *changes)))
