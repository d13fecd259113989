"""A check, in milliseconds, that this jax computes right numbers on this machine."""

import jax
import jax.numpy as jnp
import numpy as np

from nalu_jax.faults import EnvironmentFault


class WrongNumbers(EnvironmentFault):
    """This jax computes wrong numbers."""


def check_numbers() -> None:
    """Raises WrongNumbers if a vmapped product and sum over 40,001 rows differs from NumPy's.

    jax 0.10.2 fails it on CPU: from row 32,768 on its results are wrong (jax-ml/jax#39103), and nothing else says so.
    """
    rng = np.random.RandomState(0)
    rows, matrix = rng.uniform(1, 2, (40_001, 3)).astype(np.float32), rng.uniform(1, 2, (3, 3)).astype(np.float32)
    computed = jax.jit(jax.vmap(lambda row: jnp.sum((jnp.asarray(matrix) @ row) ** 2)))(rows)
    expected = ((rows.astype(np.float64) @ matrix.T.astype(np.float64)) ** 2).sum(1)
    wrong = int((~np.isclose(np.asarray(computed), expected, rtol=1e-4)).sum())
    if wrong:
        raise WrongNumbers(
            f"jax {jax.__version__} computes wrong numbers here ({wrong:,} of {len(rows):,} in the start-up check; see "
            "jax-ml/jax#39103): install another version"
        )
