"""Trained networks: what pictures show of one seed."""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from experiments.reports.results import CellResult, verify
from experiments.settings.build import network_of, zeros
from nalu_jax.learners.supervised import effective_weights
from nalu_jax.storage.trained import best_params
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
        return np.asarray(apply(self.network, self.params, inputs))

    def weights(self) -> Any:
        """The weight matrices [in, out] that its units declare, as a tree named after its layers."""
        # Compiled, since nothing that leads to no weight is computed then.
        inputs = zeros(self.task.example)
        return jax.jit(lambda params: effective_weights(self.network, params, inputs))(self.params)


@functools.partial(jax.jit, static_argnums=0)
def apply(network: nn.Module, params: Any, inputs: Any) -> Any:
    """The outputs of a network, by one program for all networks and inputs that are alike."""
    return network.apply({"params": params}, inputs)


def best_of_cell(result: CellResult, name: str) -> Trained:
    """The best seed of a finished cell. Raises FileNotFoundError if its folder has no parameters."""
    result = result.best_part
    payload = result.files.params.read_bytes()
    verify(result.files.params, result.result)
    network = network_of(result.cell.config, result.task)
    of_all_seeds, best = best_params(payload, network, result.task.example, len(result.rows)), result.best_seed
    params = jax.tree.map(lambda leaf: leaf[best], of_all_seeds)
    return Trained(name, int(result.seeds["seed"][best]), result.task, network, params)
