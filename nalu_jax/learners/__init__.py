"""Ways to train: each makes a Learner, pure functions of one seed."""
