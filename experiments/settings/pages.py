"""Config pages: Python files with ``get_config(preset)``, found by their path or, those that are shipped, by their name."""

import ast
import hashlib
import importlib.util
import inspect
import itertools
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from experiments.faults import ConfigError
from experiments.settings.config import Config, set_at
from nalu_jax.registry import nearest

EVERY_PAGE_HAS = (
    "num_seeds",
    "first_seed",
    "num_steps",
    "eval_every",
    "block",
    "learner",
    "unit",
    "network",
    "task",
    "grid",
)
# What is drawn and tabulated, and where a run is watched, of a page that does not say it.
DEFAULTS = {"reports": ("summary", "curves"), "writers": ("tensorboard",)}
CONFIGS = Path(__file__).parents[2] / "configs"


class Shipped(NamedTuple):
    """A page that comes with the project: what it says of itself."""

    line: str  # the first of its docstring
    presets: tuple[str, ...]
    time: str  # how long it takes, where it says so


def shipped() -> dict[str, Shipped]:
    """The config pages that come with the project, by their path."""
    pages = {}
    for path in sorted(CONFIGS.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        docstring = ast.get_docstring(ast.parse(text)) or ""
        presets = re.search(r"^PRESETS = \(([^)]*)\)", text, re.M)
        names = tuple(re.findall(r'"(\w+)"', presets.group(1))) if presets else ()
        time = re.search(r"^Time: +(.*?)\.?$", docstring, re.M)
        pages[f"{CONFIGS.name}/{path.name}"] = Shipped(docstring.split("\n", 1)[0], names, time.group(1) if time else "")
    return pages


def locate(page: str) -> tuple[Path, str]:
    """The file and the preset that ``path/to/page.py``, ``page.py:preset``, ``page`` or ``page:preset`` means.

    Raises ConfigError if there is no such file, and no page of this name is shipped.
    """
    name, _, preset = (page, "", "") if Path(page).expanduser().is_file() else page.partition(":")
    spellings = itertools.product(CONFIGS.glob("*.py"), ("", "configs/"), ("", ".py"))
    pages = {f"{folder}{path.stem}{end}": path for path, folder, end in spellings}
    own = Path(name).expanduser()
    path = own if own.is_file() else pages.get(name, own)
    if not path.is_file():
        raise ConfigError(f"--config: there is no file {name!r}{nearest(name, pages)} Shipped are {', '.join(shipped())}")
    return path, preset


def load(page: str) -> Config:
    """The config of a page, all its values plain. Raises ConfigError for a page that has none, naming the line at fault."""
    path, preset = locate(page)
    spec = importlib.util.spec_from_file_location("config_page", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"--config: {str(path)!r} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise fault_of_page(path, error) from error
    if not callable(getattr(module, "get_config", None)):
        raise ConfigError(f"--config: {path} has no function get_config")
    if preset and not inspect.signature(module.get_config).parameters:
        raise ConfigError(f"--config: {path} has no presets, got {preset!r}")
    try:
        config = module.get_config(preset) if preset else module.get_config()
    except ValueError as error:
        raise ConfigError(f"--config: {error}") from error
    except (Exception, SystemExit) as error:
        raise fault_of_page(path, error) from error
    if not isinstance(config, ConfigDict):
        raise ConfigError(f"--config: get_config of {path} must return a ConfigDict, got {config!r}")
    if missing := missing_fields(config):
        raise ConfigError(f"--config: the config of {path} lacks {', '.join(missing)}")
    for name, default in DEFAULTS.items():
        if name not in config:
            config[name] = default
    for section, name, value in list(fields(config)):
        set_at(section, name, plain(name, value))
    return config


def canonical(page: str) -> str:
    """The one way to say a page: a shipped one by its name, another by its path."""
    path, preset = locate(page)
    name = path.stem if path.parent == CONFIGS else str(path)
    return f"{name}:{preset}" if preset else name


def own_code(page: str) -> str:
    """A digest of what a page brings along besides its config: its code but ``get_config`` and texts, and the modules of
    one's own that it imports.
    """
    path, _ = locate(page)
    tree = ast.parse(path.read_bytes())
    tree.body = [node for node in tree.body if not (isinstance(node, ast.FunctionDef) and node.name == "get_config")]
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value.value = None
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module)
    digest = hashlib.sha256(ast.dump(tree).encode())
    for name in sorted(imported):
        file = Path(getattr(sys.modules.get(name), "__file__", None) or "")
        if file.is_file() and not any(file.is_relative_to(known) for known in (sys.prefix, sys.base_prefix, CONFIGS.parent)):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def missing_fields(config: Config) -> list[str]:
    """What every page has and this config has not."""
    return [name for name in EVERY_PAGE_HAS if name not in config]


def fields(config: Config) -> Iterator[tuple[Config, str, Any]]:
    """All fields: the section of each, its name and its value."""
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            yield from fields(value)
        else:
            yield config, name, value


def plain(field: str, value: Any) -> Any:
    """A value of a page as Python's own: a number of NumPy is one of Python, an array or a list a tuple.

    Raises ConfigError for what neither a command line nor a file could hold.
    """
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return tuple(plain(field, part) for part in value)
    if isinstance(value, bool | int | float | str):
        return value
    raise ConfigError(f"--config: {field} must be a number, a text, true or false, or a tuple of these, got {value!r}")


def fault_of_page(path: Path, error: BaseException) -> ConfigError:
    """The error of a page, with the line of the page that led to it."""
    page = path.absolute()
    frames = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).absolute() == page]
    line = getattr(error, "lineno", None) or (frames[-1] if frames else None)
    where = f"{path}, line {line}" if line else str(path)
    return ConfigError(f"--config: {where}: {type(error).__name__}: {error}")
