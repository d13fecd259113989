"""Agents of environments: a reader of what is seen, a recurrent core that is also told a number, a policy and a value."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from nalu_jax.functional import expand_like, linear
from nalu_jax.networks.cells import LECUN_NORMAL, LSTM
from nalu_jax.networks.layers import make_unit
from nalu_jax.networks.readers import make_reader
from nalu_jax.registry import NETWORKS, READERS
from nalu_jax.types import Array
from nalu_jax.units.base import Unit, positive

# What the core reads beside the observation and the number, u_t: nothing; U(T); U([T; h_{t-1}]), where h is the output of
# the core; or U([T; u_{t-1}; h_{t-1}]).
WIRINGS = ("none", "input", "feedback", "accumulator")


class AgentCarry(NamedTuple):
    """What an agent remembers."""

    core: Any  # (c, h) of the LSTM, f32[batch, hidden] each
    unit: Any  # u_{t-1}, f32[unit, batch]; () without a unit


class Agent(nn.Module):
    """h_t = LSTM([reader(observation_t); T; u_t]), and a linear map of h_t to logits and a value.

    Trask et al. 2018, section 4.5, whose text, "through a NAC and back into the LSTM", leaves the wiring open.

    Attributes:
      trunk: the reader, [..., batch] → [features, batch].
      core: the LSTM.
      unit: U, which there is none of with the wiring "none".
      wiring: one of ``WIRINGS``: what u_t is.
      outputs: a logit for each action, and the value.
    """

    trunk: nn.Module
    core: LSTM
    unit: Unit | None
    wiring: str
    outputs: int

    def setup(self):
        """Makes the linear map behind the core."""
        self.heads = nn.Dense(self.outputs)

    def initialize_carry(self, observations: Any) -> AgentCarry:
        """Zeros: (seen [..., batch], T f32[batch]) → carry."""
        _, number = observations
        u = jnp.zeros((self.unit.features, len(number)), number.dtype) if self.unit else ()
        return AgentCarry(self.core.initialize_carry(number[None]), u)

    def step(self, carry: AgentCarry, observations: Any, first: Array) -> tuple[AgentCarry, Array]:
        """(carry, (seen [..., batch], T f32[batch]), first bool[batch]) → (carry, f32[outputs, batch]).

        Where ``first``, an episode begins, and what was remembered is forgotten.
        """
        seen, number = observations
        (c, h), u = carry
        c, h = (jnp.where(first[:, None], 0, part) for part in (c, h))
        z = [self.trunk(seen), number[None]]
        if self.unit:
            u = self.unit(self.wired(number[None], h.T, jnp.where(first[None], 0, u)))
            z.append(u)
        core, h = self.core((c, h), jnp.concatenate(z))
        return AgentCarry(core, u), self.heads(h.T).T

    def wired(self, number: Array, h: Array, u: Array) -> Array:
        """The inputs of U: T f32[1, batch], h_{t-1} f32[hidden, batch], u_{t-1} f32[unit, batch] → f32[in, batch]."""
        inputs = {"input": [number], "feedback": [number, h], "accumulator": [number, u, h]}
        return jnp.concatenate(inputs[self.wiring])

    def __call__(self, observations: Any) -> Array:
        """The first step of an episode: (seen [..., batch], T f32[batch]) → f32[outputs, batch]."""
        first = jnp.ones(observations[1].shape, bool)
        return self.step(self.initialize_carry(observations), observations, first)[1]


@READERS.register("mlp")
class MLP(nn.Module):
    """A hidden layer of whatever is seen: x [..., n] → relu(W x + b) f32[features, n]."""

    features: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[..., n] → [features, n]."""
        return dense(self, "dense", x.reshape(-1, x.shape[-1]), self.features)


@READERS.register("mnih_2016")
class Mnih2016(nn.Module):
    """Two convolutions and a hidden layer: images [height, width, channels, n] → f32[features, n], all relu.

    16 filters of 8 x 8 with stride 4, 32 of 4 x 4 with stride 2, without padding. Mnih et al. 2016 (arXiv 1602.01783),
    section 8.

    Raises ValueError for images of fewer than 20 pixels a side, of which no pixel is left.
    """

    features: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[height, width, channels, n] → [features, n]."""
        if min(x.shape[:2]) < 20:
            raise ValueError(f"images must have 20 x 20 pixels or more, got {x.shape[0]} x {x.shape[1]}")
        for i, (filters, size, stride) in enumerate([(16, 8, 4), (32, 4, 2)], 1):
            kernel = self.param(f"conv_{i}_kernel", LECUN_NORMAL, (size, size, x.shape[2], filters))
            bias = self.param(f"conv_{i}_bias", nn.initializers.zeros_init(), (filters,))
            axes, precise = ("HWCN", "HWIO", "HWCN"), jax.lax.Precision.HIGHEST
            x = jax.lax.conv_general_dilated(x, kernel, (stride, stride), "VALID", dimension_numbers=axes, precision=precise)
            x = nn.relu(x + bias.reshape(1, 1, -1, 1))
        return dense(self, "dense", x.reshape(-1, x.shape[-1]), self.features)


def dense(module: nn.Module, name: str, x: Array, features: int) -> Array:
    """relu(W x + b) with parameters of the module, LeCun normal and 0 at the start: [in, n] → [features, n]."""
    w = module.param(f"{name}_w", LECUN_NORMAL, (len(x), features))
    b = module.param(f"{name}_b", nn.initializers.zeros_init(), (features,))
    return nn.relu(linear(x, w) + expand_like(b, x))


@NETWORKS.register("agent")
def agent(
    unit: str,
    options: Mapping[str, Any],
    *,
    outputs: int,
    reader: Mapping[str, Any],
    features: int,
    hidden_size: int,
    wiring: str,
    unit_size: int,
) -> Agent:
    """An agent with an LSTM core.

    Args:
      unit: U; "" with the wiring "none".
      options: options of all units (``layers.make_unit``).
      outputs: a logit for each action, and the value.
      reader: the name of one of ``READERS`` and those of its fields that are to differ.
      features: numbers that the reader makes of what is seen.
      hidden_size: features of the LSTM.
      wiring: one of ``WIRINGS``.
      unit_size: outputs of U.

    Raises ValueError for an unknown name, for a size that is not a positive integer, and for a unit that is not wired.
    """
    sizes = {"features": features, "hidden_size": hidden_size, "unit_size": unit_size}
    features, hidden_size, unit_size = (positive(field, value) for field, value in sizes.items())
    if wiring not in WIRINGS:
        raise ValueError(f"wiring must be one of {', '.join(WIRINGS)}, got {wiring!r}")
    if wiring == "none" and unit:
        raise ValueError(f"wiring must be one of {', '.join(WIRINGS[1:])} where there is a unit, {unit!r}, got 'none'")
    made = None if wiring == "none" else make_unit(unit, unit_size, options)
    core = LSTM(nn.OptimizedLSTMCell(hidden_size, recurrent_kernel_init=LECUN_NORMAL), None)
    return Agent(make_reader(reader, features=features), core, made, wiring, outputs)
