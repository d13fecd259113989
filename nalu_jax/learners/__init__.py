"""Ways to train: each makes a Learner, three pure functions of one seed."""

from nalu_jax.learners.supervised import supervised

__all__ = ["supervised"]
