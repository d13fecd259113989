"""Registries: names to constructors, whatever was imported before, and what happens when a name is entered twice."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nalu_jax import registry
from nalu_jax.registry import Registry, UnknownName, qualified

ROOT = Path(__file__).parent.parent

# In a fresh interpreter, each the first that is looked up there.
LOOKED_UP = {
    "TASKS": "static_arithmetic",
    "UNITS": "nac",
    "NETWORKS": "recurrent",
    "READERS": "trask",
    "CELLS": "lstm",
    "READOUTS": "dense",
    "LEARNERS": "supervised",
    "OPTIMIZERS": "adam",
    "WRITERS": "tensorboard",
    "INITIALIZERS": "glorot_uniform",
}


def names_of_registries():
    return [name for name, value in vars(registry).items() if isinstance(value, Registry)]


# Forks once for each registry, so that jax and flax are imported once: neither registers anything.
LOOK_UP = """
import os, sys
import flax.linen, jax, optax
import nalu_jax.registry

assert not [name for name in sys.modules if name.startswith("nalu_jax.") and name != "nalu_jax.registry"]
for argument in sys.argv[1:]:
    registry, name = argument.split(":")
    if os.fork() == 0:
        print(registry, callable(getattr(nalu_jax.registry, registry)[name]), flush=True)
        os._exit(0)
    os.wait()
"""


def test_every_registry_knows_its_names_in_a_fresh_interpreter():
    assert set(LOOKED_UP) == set(names_of_registries())
    command = [sys.executable, "-W", "ignore", "-c", LOOK_UP, *(f"{kind}:{name}" for kind, name in LOOKED_UP.items())]
    ended = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert (ended.stdout.splitlines(), ended.stderr) == ([f"{kind} True" for kind in LOOKED_UP], "")


@pytest.mark.parametrize("kind", LOOKED_UP)
def test_all_that_is_registered_can_be_called(kind):
    known = getattr(registry, kind)
    assert LOOKED_UP[kind] in known
    assert all(callable(constructor) for constructor in known.values())


# Looking up


@pytest.fixture
def known():
    """A registry of two operations, without a home."""
    operations = Registry("operation")
    for name in ("add", "mul"):
        operations.register(name)(lambda name=name: name)
    return operations


def test_a_name_leads_to_what_was_registered_under_it_and_the_order_is_kept(known):
    assert [known[name]() for name in known] == list(known) == ["add", "mul"]
    assert "add" in known and "sub" not in known and len(known) == 2


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("ad", "unknown operation 'ad': did you mean 'add'? Known: add, mul."),
        ("xyz", "unknown operation 'xyz'. Known: add, mul."),
        ("", "unknown operation ''. Known: add, mul."),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_and_with_all(known, name, sentence):
    with pytest.raises(UnknownName) as raised:
        known[name]
    assert str(raised.value) == sentence


def test_an_unknown_name_is_a_value_error_so_that_constructors_may_pass_it_on():
    assert issubclass(UnknownName, ValueError)


# Registering twice


def cell(source, **names):
    """What a cell of a notebook defines."""
    exec(source, names)
    return names


DEFINITION = """
class Mine:
    version = {version}
"""


def test_the_same_definition_run_once_more_takes_the_place_of_its_earlier_self():
    units = Registry("unit")
    first, second = (cell(DEFINITION.format(version=n), __name__="__main__")["Mine"] for n in (1, 2))
    assert units.register("mine")(first) is first and units.register("mine")(second) is second
    assert units["mine"].version == 2 and list(units) == ["mine"]


def test_another_thing_under_a_taken_name_is_refused_and_the_first_stays():
    units = Registry("unit")
    mine, yours = (cell(DEFINITION.format(version=1), __name__=name)["Mine"] for name in ("mine", "yours"))
    units.register("nac")(mine)
    with pytest.raises(ValueError, match=r"the unit 'nac' is mine\.Mine: choose another name for yours\.Mine"):
        units.register("nac")(yours)
    assert units["nac"] is mine


def test_one_thing_may_have_several_names(known):
    def constructor():
        return 7

    for name in ("seven", "sept"):
        known.register(name)(constructor)
    assert known["seven"] is known["sept"]


def test_things_that_differ_in_what_they_are_given_are_different():
    def layer(activation, size=1):
        return activation, size

    units = Registry("unit")
    partial = functools.partial
    units.register("relu")(partial(layer, max))
    units.register("relu")(partial(layer, max))
    for other in (partial(layer, min), partial(layer, max, size=2), layer):
        with pytest.raises(ValueError, match="the unit 'relu' is "):
            units.register("relu")(other)
    assert qualified(partial(layer, size=2)).endswith("layer(size=2)")


# The home


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A function that writes a package whose modules are given, and returns its registry, which is named there as KIND."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(**modules):
        for path, source in {"__init__": "", **modules}.items():
            folder = tmp_path / "a_home"
            folder.mkdir(exist_ok=True)
            (folder / f"{path}.py").write_text(source)
        known = Registry("kind", "a_home")
        monkeypatch.setattr(registry, "KIND", known, raising=False)
        return known

    yield write
    for name in [name for name in sys.modules if name.split(".")[0] == "a_home"]:
        del sys.modules[name]


REGISTER = "from nalu_jax.registry import KIND\nKIND.register({0!r})(lambda: {0!r})\n"


def test_the_first_look_up_imports_all_modules_of_the_home_and_none_before(home):
    known = home(one=REGISTER.format("one"), two=REGISTER.format("two"))
    assert "a_home" not in sys.modules
    assert known["two"]() == "two"
    assert list(known) == ["one", "two"]


@pytest.mark.parametrize("question", [len, list, lambda known: "one" in known, lambda known: known.get("one")])
def test_every_question_imports_the_home(home, question):
    assert question(home(one=REGISTER.format("one")))


def test_what_is_registered_from_elsewhere_before_is_known_beside_the_home(home):
    known = home(one=REGISTER.format("one"))
    known.register("mine")(lambda: "mine")
    assert "a_home" not in sys.modules
    assert list(known) == ["mine", "one"]


def test_a_module_of_the_home_may_look_up_what_was_registered_before_it(home):
    known = home(one=REGISTER.format("one"), two="from nalu_jax.registry import KIND\nassert KIND['one']() == 'one'\n")
    assert list(known) == ["one"]


def test_a_home_that_cannot_be_imported_is_reported_again_at_the_second_look_up(home):
    known = home(one=REGISTER.format("one"), two="raise ImportError('no such luck')\n")
    for _ in range(2):
        with pytest.raises(ImportError, match="no such luck"):
            known["one"]


def test_a_home_that_has_been_mended_is_imported_at_the_next_look_up(home):
    known = home(one=REGISTER.format("one"), two="import not_installed_yet\n" + REGISTER.format("two"))
    with pytest.raises(ModuleNotFoundError, match="not_installed_yet"):
        known["two"]
    sys.modules["not_installed_yet"] = sys
    try:
        assert list(known) == ["one", "two"]
    finally:
        del sys.modules["not_installed_yet"]
