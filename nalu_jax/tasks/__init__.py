"""The tasks of the papers, one a file. Importing this package registers them in ``nalu_jax.registry.TASKS``."""

from nalu_jax.tasks.digit_sequences import MnistAddition, MnistCounting, MnistProduct, MnistSum
from nalu_jax.tasks.mnist_even_digits import MnistEvenDigits
from nalu_jax.tasks.single_unit import SingleUnit
from nalu_jax.tasks.static_arithmetic import StaticArithmetic

__all__ = ["MnistAddition", "MnistCounting", "MnistEvenDigits", "MnistProduct", "MnistSum", "SingleUnit", "StaticArithmetic"]
