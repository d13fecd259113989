"""Ways to train: each makes a Learner, pure functions of one seed."""

from nalu_jax.learners.reinit import with_reinit
from nalu_jax.learners.supervised import supervised

__all__ = ["supervised", "with_reinit"]
