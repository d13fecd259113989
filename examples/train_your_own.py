"""An NMU in a training loop of your own, twice: in Linen with Optax, and in NNX through its bridge.

A NAU picks two of four numbers and an NMU multiplies them: y = x1 · x3. They learn it from numbers in [-2, 2] and are judged
on numbers in [4, 12], where only the right weights are right. A few seconds:

    python examples/train_your_own.py [--steps 1000]
"""

import argparse

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from nalu_jax import NAU, NMU, keep_bounded

SPARSITY = 0.1  # weight of the penalty that draws each weight to the nearest of -1, 0 and 1


def batch(seed, low=-2.0, high=2.0):
    """Numbers f32[128, 4] from [low, high], and the products f32[128, 1] of the first and the third."""
    x = jax.random.uniform(jax.random.key(seed), (128, 4), minval=low, maxval=high)
    return x, x[:, 0:1] * x[:, 2:3]


def make_optimizer(steps):
    """Adam, whose steps end where every weight is in its interval: [-1, 1] for the NAU, [0, 1] for the NMU."""
    return optax.chain(optax.adam(optax.cosine_decay_schedule(1e-2, steps)), keep_bounded())


def train_linen(steps):
    """In Linen: parameters and the optimizer's state are trees, and a step is a pure function of them."""
    # A unit stands wherever nn.Dense(features) does.
    model = nn.Sequential([NAU(2), NMU(1)])
    params = model.init(jax.random.key(0), jnp.ones((1, 4)))["params"]
    optimizer = make_optimizer(steps)
    opt_state = optimizer.init(params)

    def loss(params, x, y):
        # Units declare their penalties in a collection; which of them count, and how much, is for the loop to say.
        # (Those that train in another form than they are judged in, as the sNMU, want rngs={"training": key} here as well.)
        outputs, declared = model.apply({"params": params}, x, mutable=["penalties"])
        penalty = sum(layer["sparsity"] for layer in declared["penalties"].values())
        return jnp.mean((outputs - y) ** 2) + SPARSITY * penalty

    @jax.jit
    def step(params, opt_state, x, y):
        updates, opt_state = optimizer.update(jax.grad(loss)(params, x, y), opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    visited = []
    for i in range(steps):
        params, opt_state = step(params, opt_state, *batch(i))
        visited.append(nn.unbox(params)["layers_1"]["w"])

    # The effective weights come back in a collection, too.
    x, y = batch(steps, 4.0, 12.0)
    outputs, declared = model.apply({"params": params}, x, mutable=["weights"])
    report("Linen", outputs - y, declared["weights"]["layers_0"]["W"], declared["weights"]["layers_1"]["W"], visited)


def train_nnx(steps):
    """In NNX: the bridge makes a module of the Linen one; model and optimizer are objects that a step changes."""
    model = nnx.bridge.ToNNX(nn.Sequential([NAU(2), NMU(1)]), rngs=nnx.Rngs(0)).lazy_init(jnp.ones((1, 4)))
    optimizer = nnx.Optimizer(model, make_optimizer(steps), wrt=nnx.Param)

    def loss(model, x, y):
        # The collections become Variables beside the parameters, renewed by each call that names them as mutable.
        outputs = model(x, mutable=["penalties"])
        penalty = model.layers_0["sparsity"][...] + model.layers_1["sparsity"][...]
        return jnp.mean((outputs - y) ** 2) + SPARSITY * penalty

    @nnx.jit
    def step(model, optimizer, x, y):
        optimizer.update(model, nnx.grad(loss)(model, x, y))

    visited = []
    for i in range(steps):
        step(model, optimizer, *batch(i))
        visited.append(model.layers_1["w"][...])

    x, y = batch(steps, 4.0, 12.0)
    outputs = model(x, mutable=["weights"])
    report("NNX", outputs - y, model.layers_0["W"][...], model.layers_1["W"][...], visited)


def report(name, error, w_nau, w_nmu, visited):
    """Prints how far off the predictions are where nothing was trained, and the weights."""
    print(f"{name}: error at most {jnp.max(jnp.abs(error)):.5f} on [4, 12], where the products go from 16 to 144")
    w_nau, w_nmu = ((np.float64(w.T).round(2) + 0.0).tolist() for w in (w_nau, w_nmu))
    print(f"  NAU W = {w_nau}, NMU W = {w_nmu}")
    visited = jnp.stack(visited)
    print(f"  all the way the NMU's weights lay in [{visited.min():.2f}, {visited.max():.2f}]")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=1000)
    steps = parser.parse_args().steps
    train_linen(steps)
    train_nnx(steps)
