"""Commands of experiments in the test's own process, where what is compiled once serves all tests."""

import contextlib
import io
import signal
from collections.abc import Iterator
from types import ModuleType
from typing import NamedTuple

import jax


class Said(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str


@contextlib.contextmanager
def same_handlers() -> Iterator[None]:
    """Puts the handlers of signals back in the end."""
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)


def called(command: ModuleType, *arguments: object) -> int:
    """The exit code of a command, a module with ``main`` and ``FLAGS``, called as a process of its own would see it.

    No flag is left from earlier calls, JAX promotes types as it does by default, and later the handlers of signals are again
    what they were.
    """
    command.FLAGS.unparse_flags()
    with same_handlers(), jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        return command.main([str(argument) for argument in arguments])


def outcome(command: ModuleType, *arguments: object) -> Said:
    """The exit code of a command with what it prints."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = called(command, *arguments)
    return Said(code, out.getvalue(), err.getvalue())
