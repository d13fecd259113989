"""Experiments: configs in; tables, curves and pictures out. Run ``python -m experiments.run --help``."""
