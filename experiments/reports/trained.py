"""Trained networks: what pictures show of one seed."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from experiments.build import network_of, zeros
from experiments.reports.results import CellResult
from nalu_jax.learners.supervised import effective_weights
from nalu_jax.storage.checkpoint import unpack
from nalu_jax.tasks.base import TaskSpec


class Trained(NamedTuple):
    """A network with the parameters of one seed, the specification of its task, and the name it is shown by."""

    name: str
    seed: int
    task: TaskSpec
    network: nn.Module
    params: Any

    def predict(self, inputs: Any) -> np.ndarray:
        """Its outputs, [out, ..., batch]."""
        return np.asarray(self.network.apply({"params": self.params}, inputs))

    def weights(self) -> Any:
        """The weight matrices [in, out] that its units declare, as a tree named after its layers."""
        # Compiled, since nothing that leads to no weight is computed then.
        inputs = zeros(self.task.example)
        return jax.jit(lambda params: effective_weights(self.network, params, inputs))(self.params)


def best_of_cell(result: CellResult, name: str) -> Trained:
    """The best seed of a finished cell. Raises FileNotFoundError if its folder has no parameters."""
    payload = result.files.params.read_bytes()
    network = network_of(result.cell.config, result.task)
    one = jax.eval_shape(lambda key, inputs: network.init(key, inputs)["params"], jax.random.key(0), result.task.example)
    seeds = len(result.rows)
    template = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((seeds, *leaf.shape), leaf.dtype), one)
    stored = unpack(payload, {"best": template, "last": template})
    best = result.best_seed
    params = jax.tree.map(lambda leaf: leaf[best], stored["best"])
    return Trained(name, int(result.seeds["seed"][best]), result.task, network, params)
