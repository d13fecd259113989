"""What trains a learner over seeds: the loop, its layout on devices, keys, and what XLA has to be told."""
