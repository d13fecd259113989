"""The start-up check: it passes where jax computes right numbers, and says so where it does not."""

import jax
import jax.numpy as jnp
import pytest

from nalu_jax.training import selftest
from nalu_jax.training.selftest import WrongNumbers, check_numbers


def test_this_jax_computes_right_numbers():
    check_numbers()


def spoilt(monkeypatch, spoil):
    """Passes what the check computes through ``spoil``, as a miscompiled program would."""
    jit = jax.jit
    monkeypatch.setattr(selftest.jax, "jit", lambda function: lambda rows: spoil(jit(function)(rows)))


@pytest.mark.parametrize(
    ("spoil", "count"),
    [
        # What jax 0.10.2 does: wrong from row 32,768 on.
        (lambda sums: sums.at[32_768:].set(sums[: 40_001 - 32_768]), r"[67],\d\d\d"),
        (lambda sums: sums.at[40_000].multiply(1.01), "1"),
        (lambda sums: sums.at[7].set(jnp.nan), "1"),
        (lambda sums: sums * 1.001, "40,001"),
        (jnp.zeros_like, "40,001"),
    ],
    ids=["from row 32,768 on", "the last row by a percent", "one NaN", "all by a thousandth", "zeros"],
)
def test_wrong_numbers_are_noticed_and_counted(monkeypatch, spoil, count):
    spoilt(monkeypatch, spoil)
    with pytest.raises(WrongNumbers, match=rf"jax {jax.__version__} computes wrong numbers here \({count} of 40,001 "):
        check_numbers()


def test_whoever_has_wrong_numbers_is_told_why_and_what_to_do(monkeypatch):
    spoilt(monkeypatch, jnp.zeros_like)
    with pytest.raises(WrongNumbers, match=r"see jax-ml/jax#39103.*install another version"):
        check_numbers()


def test_the_rounding_of_other_machines_is_not_taken_for_wrong_numbers(monkeypatch):
    spoilt(monkeypatch, lambda sums: sums * (1 + 3e-7))
    check_numbers()
