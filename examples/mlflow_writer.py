"""A run in MLflow beside TensorBoard: a writer of your own, and a page that asks for it.

    pip install mlflow-skinny
    python -m experiments.run --config=examples/mlflow_writer.py --workdir=runs/mlflow
    mlflow ui --backend-store-uri runs/mlflow.mlflow       (with the whole of mlflow)

The store is MLFLOW_TRACKING_URI, or a folder beside the run. The same twenty lines with other calls are a writer for Weights
& Biases or Aim. A writer that fails is left out, and training goes on.
"""

import os

import mlflow

from experiments.settings.pages import load
from nalu_jax.registry import WRITERS


@WRITERS.register("mlflow")
class MLflowWriter:
    """A run of MLflow for each cell."""

    def __init__(self, folder, *, every, **others):
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow 3 asks for it; a server or a database is better
        store = os.environ.get("MLFLOW_TRACKING_URI") or folder.parent.absolute().with_suffix(".mlflow").as_uri()
        self.client = mlflow.MlflowClient(tracking_uri=store)
        found = self.client.get_experiment_by_name(folder.parent.name)
        experiment = found.experiment_id if found else self.client.create_experiment(folder.parent.name)
        self.run = self.client.create_run(experiment, run_name=folder.name).info.run_id
        self.every, self.rows = every, 0

    def row(self, row, *, last=False):
        if self.rows % self.every == 0 or last:
            for metric, value in row.items():
                for name, number in value.items() if isinstance(value, dict) else [("", value)]:
                    if number is not None:
                        self.client.log_metric(self.run, f"{metric}/{name}".rstrip("/"), number, step=row["step"])
        self.rows += 1

    def image(self, tag, pixels, step):
        pass  # MLflow shows pictures as artifacts

    def hparams(self, hparams, results, step):
        for name, value in hparams.items():
            self.client.log_param(self.run, name, value)
        for name, value in results.items():
            self.client.log_metric(self.run, name, value, step=step)

    def close(self):
        self.client.set_terminated(self.run)


def get_config():
    """The quickstart, small, shown in both."""
    config = load("quickstart")
    config.writers = ("tensorboard", "mlflow")
    config.num_seeds, config.num_steps = 4, 4_000
    config.grid.unit, config.grid.operation = ("nac", "linear"), ("sub",)
    return config
