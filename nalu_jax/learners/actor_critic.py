"""Synchronous advantage actor-critic: many copies of an environment, one agent, one gradient for all of them.

All formulas are on arrays [time, copies], time first.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from nalu_jax.bounded import clip_to_bounds
from nalu_jax.functional import sparsity_error
from nalu_jax.learners.supervised import penalised, penalty_weight
from nalu_jax.registry import LEARNERS
from nalu_jax.training.lowering import in_one_kernel
from nalu_jax.training.random import Purpose, generator_of, key_at
from nalu_jax.types import Array, Evaluation, Learner, Metrics, Params, Problem, TrainState


class Environment(Protocol):
    """What an agent acts in, as a tree of the arrays that all seeds share; all functions are of one copy, as in gymnax."""

    @property
    def horizon(self) -> int:
        """Steps after which every episode has ended."""
        ...

    def reset(self, key: Array) -> tuple[Any, Any]:
        """Begins an episode: key → (observation, state), two trees of arrays."""
        ...

    def step(self, key: Array, state: Any, action: Array) -> tuple[Any, Any, Array, Array, Array, dict[str, Array]]:
        """(key, state, action i32[]) → (observation, state, reward f32[], terminated bool[], truncated bool[], info)."""
        ...

    def observe(self, state: Any) -> Any:
        """The observation of a state."""
        ...

    def tests(self) -> Any:
        """The first states of the episodes that an agent is judged by, [episodes, ...]."""
        ...

    def metrics(self, states: Any, returns: Array, lengths: Array, info: dict[str, Array]) -> Metrics:
        """What is reported of these episodes, each f32[]: first states, returns f32[episodes], lengths, last info."""
        ...

    def score(self, metrics: Metrics) -> Array:
        """What a seed's best evaluation is chosen by: the smaller the better, f32[]."""
        ...

    def solved(self, metrics: Metrics) -> Array:
        """Whether the metrics mean solved, bool[]."""
        ...


class Actors(NamedTuple):
    """The copies of the environment as a step left them, and what the agent remembers."""

    states: Any  # [copies, ...]
    observations: Any  # columns [..., copies]
    carry: Any  # of the network
    first: Array  # bool[copies], whether the observation is the first of an episode
    ended: Array  # bool[copies], whether it is the last
    score: Array  # f32[], of the last evaluation


class Steps(NamedTuple):
    """What the agent did, [time, copies]. A step that only begins an episode anew does not count."""

    logits: Array  # f32[time, actions, copies]
    values: Array  # f32
    actions: Array  # i32
    rewards: Array  # f32
    terminated: Array  # bool
    truncated: Array  # bool
    counts: Array  # bool


class Episodes(NamedTuple):
    """What became of episodes, [episodes]."""

    returns: Array  # f32, rewards so far
    lengths: Array  # f32, steps so far
    info: dict[str, Array]  # of the last step
    over: Array  # bool

    def after(self, rewards: Array, terminated: Array, truncated: Array, info: dict[str, Array]) -> "Episodes":
        """What became of them after one more step of those that are not over."""
        info = jax.tree.map(lambda new, old: jnp.where(self.over, old, new), info, self.info)
        returns, lengths = self.returns + jnp.where(self.over, 0, rewards), self.lengths + (~self.over).astype(jnp.float32)
        return Episodes(returns, lengths, info, self.over | terminated | truncated)


@LEARNERS.register("actor_critic")
def actor_critic(
    model: nn.Module,
    make_optimizer: Callable[..., optax.GradientTransformation],
    *,
    batch_size: int,
    unroll: int = 20,
    discount: float = 0.99,
    trace: float = 1.0,
    entropy: float = 0.01,
    value_weight: float = 0.5,
    bootstrap_truncated: bool = False,
    generator: str = "threefry2x32",
) -> Learner:
    """A learner that takes ``unroll`` steps in each copy of an environment, and one of the optimizer.

    Loss = policy gradient + value_weight · value - entropy · H(π), and the model's penalties. Mnih et al. 2016, algorithm
    S3, with copies in step with each other in place of asynchronous workers. The gradient flows through the recurrent state
    within an unroll, whose steps the agent takes with the parameters that are then changed. Units are as in evaluation: no
    random stream is given to them.

    The model has the methods ``initialize_carry(observations) → carry`` and ``step(carry, observations, first) → (carry,
    f32[actions + 1, copies])``: logits, and the value last; called, it takes the first step of an episode.

    Where an episode ends, its last observation is seen as well, for its value; the step after it begins the next episode,
    whatever the action, and does not count.

    Args:
      model: the agent.
      make_optimizer: makes the optimizer from its learning rate f32[] and, by name, its numbers that are swept, f32[] each.
      batch_size: copies of the environment.
      unroll: steps of each copy between two of the optimizer.
      discount: γ.
      trace: λ of the advantages; 1 gives the n-step returns of Mnih et al.
      entropy: weight of the entropy of the policy.
      value_weight: weight of the loss of the values.
      bootstrap_truncated: whether an episode that was truncated would have gone on, and is worth what its last observation
        is; otherwise it is worth nothing more, as where the limit is a rule of the environment.
      generator: draws actions and episodes: a name of ``training.random.GENERATORS``, or "auto".

    Raises ValueError for a number that cannot be.
    """
    for field, value in {"batch_size": batch_size, "unroll": unroll}.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{field} must be a positive integer, got {value!r}")
    for field, value in {"discount": discount, "trace": trace}.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{field} must lie between 0 and 1, got {value!r}")
    for field, value in {"entropy": entropy, "value_weight": value_weight}.items():
        if not 0 <= value < float("inf"):
            raise ValueError(f"{field} must be a number of at least 0, got {value!r}")
    key_of = functools.partial(key_at, generator=generator_of(generator))

    def see(params: Params, carry: Any, observations: Any, first: Array) -> tuple[Any, Array, Array]:
        """→ carry, logits f32[actions, copies], values f32[copies]."""
        outputs: Any
        carry, outputs = model.apply({"params": params}, carry, observations, first, method="step")
        return carry, outputs[:-1], outputs[-1]

    def fresh_carry(params: Params, observations: Any) -> Any:
        return model.apply({"params": params}, observations, method="initialize_carry")

    def init(seed: Array, problem: Problem) -> TrainState:
        environment: Any = problem.task
        hyperparameters = problem.hyperparameters
        keys = jax.random.split(key_at(Purpose.TASK, seed), batch_size)
        observations, states = jax.vmap(environment.reset, out_axes=(-1, 0))(keys)
        params = model.init(key_at(Purpose.PARAMETERS, seed), observations)["params"]
        opt_state = make_optimizer(hyperparameters.learning_rate, **hyperparameters.optimizer).init(params)
        no, carry = jnp.zeros(batch_size, bool), fresh_carry(params, observations)
        actors = Actors(states, observations, carry, first=~no, ended=no, score=jnp.float32(jnp.inf))
        return TrainState(seed, jnp.int32(0), params, opt_state, (), learner_state=actors)

    def play(params: Params, environment: Environment, actors: Actors, keys: tuple[Array, Array]) -> tuple[Actors, Steps]:
        """Takes ``unroll`` steps in all copies, with a key for the actions and one for the environments of each step."""

        def one_step(actors: Actors, keys: tuple[Array, Array]) -> tuple[Actors, Steps]:
            carry, logits, values = see(params, actors.carry, actors.observations, actors.first)
            actions = jax.random.categorical(keys[0], logits, axis=0)
            of_copies = jax.vmap(functools.partial(advance, environment), out_axes=(-1, 0, 0, 0, 0))
            observations, states, *happened = of_copies(
                jax.random.split(keys[1], batch_size), actors.states, actions, actors.ended
            )
            rewards, terminated, truncated = happened
            after = Actors(states, observations, carry, actors.ended, terminated | truncated, actors.score)
            return after, Steps(logits, values, actions, rewards, terminated, truncated, ~actors.ended)

        return jax.lax.scan(one_step, actors, keys)

    @in_one_kernel
    def follow(gradients, opt_state, params, learning_rate, swept):
        updates, opt_state = make_optimizer(learning_rate, **swept).update(gradients, opt_state, params)
        return clip_to_bounds(optax.apply_updates(params, updates)), opt_state

    def step(state: TrainState, problem: Problem) -> tuple[TrainState, Metrics]:
        environment: Any = problem.task
        learning_rate, penalties, swept = problem.hyperparameters
        actors: Actors = state.learner_state
        purposes = (Purpose.NOISE, Purpose.TRAINING)
        keys = [jax.random.split(key_of(purpose, state.seed, state.step), unroll) for purpose in purposes]
        weights = {name: penalty_weight(p, state.step, actors.score) for name, p in penalties.items()}

        def loss_of(params: Params) -> tuple[Array, tuple[Array, Actors]]:
            after, steps = play(params, environment, actors, (keys[0], keys[1]))
            _, _, last = see(params, after.carry, after.observations, after.first)
            values = jax.lax.stop_gradient(jnp.concatenate([steps.values, last[None]]))
            stops = steps.terminated | (steps.truncated & (not bootstrap_truncated))
            discounts = discount * (1 - stops.astype(jnp.float32))
            ends = steps.terminated | steps.truncated | ~steps.counts
            advantages = generalised_advantages(steps.rewards, values, discounts, ends, trace=trace)
            loss = (
                policy_gradient_loss(steps.logits, steps.actions, advantages, steps.counts)
                + value_weight * value_loss(steps.values, values[:-1] + advantages, steps.counts)
                - entropy * mean_entropy(steps.logits, steps.counts)
            )
            return loss + penalties_of(params, actors, weights), (loss, after)

        (_, (loss, after)), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        params, opt_state = follow(gradients, state.opt_state, state.params, learning_rate, swept)
        return TrainState(state.seed, state.step + 1, params, opt_state, state.task_state, after), {"loss": loss}

    def penalties_of(params: Params, actors: Actors, weights: dict[str, Array]) -> Array:
        """The penalties that the model declares at one of its steps, f32[]."""
        if not weights:
            return jnp.float32(0)
        declared: Any
        arguments = (actors.carry, actors.observations, actors.first)
        _, declared = model.apply({"params": params}, *arguments, method="step", mutable=["penalties"])
        return penalised(declared.get("penalties", {}), weights)

    def evaluate(state: TrainState, problem: Problem) -> Evaluation:
        """Plays the test twice, with the most likely actions and with actions that are drawn: "sampled"."""
        environment: Any = problem.task
        # The keys of the next step's actions are the first ``unroll`` of those that are split from this one.
        key = key_of(Purpose.NOISE, state.seed, state.step)
        tests = environment.tests()
        start = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf]), tests)
        observations = jax.vmap(environment.observe, out_axes=-1)(start)
        count = len(jax.tree.leaves(start)[0])
        greedy, no = jnp.arange(count) < count // 2, jnp.zeros(count, bool)
        unused = jax.random.split(jax.random.key(0), count)  # of a test only the first states are drawn

        def one_step(playing: tuple[Any, Episodes], time: Array) -> tuple[Any, None]:
            (states, observations, carry), so_far = playing
            carry, logits, _ = see(state.params, carry, observations, no)
            drawn = jax.random.categorical(jax.random.fold_in(key, unroll + time), logits, axis=0)
            actions = jnp.where(greedy, jnp.argmax(logits, axis=0), drawn)
            of_copies = jax.vmap(environment.step, out_axes=(-1, 0, 0, 0, 0, 0))
            observations, states, *happened = of_copies(unused, states, actions)
            return ((states, observations, carry), so_far.after(*happened)), None

        one = jax.tree.map(lambda leaf: leaf[0], start)
        info = jax.eval_shape(environment.step, unused[0], one, jnp.int32(0))[-1]
        info = jax.tree.map(lambda leaf: jnp.zeros((count, *leaf.shape), leaf.dtype), info)
        nothing = Episodes(jnp.zeros(count), jnp.zeros(count), info, no)
        playing = (start, observations, fresh_carry(state.params, observations)), nothing
        (_, episodes), _ = jax.lax.scan(one_step, playing, jnp.arange(environment.horizon))
        half = count // 2
        halves = (jax.tree.map(lambda leaf, at=at: leaf[at], episodes) for at in (slice(half), slice(half, None)))
        metrics, sampled = (environment.metrics(tests, half.returns, half.lengths, half.info) for half in halves)
        metrics |= {f"sampled_{name}": value for name, value in sampled.items()}
        declared: Any
        _, declared = model.apply({"params": state.params}, observations, mutable=["weights"])
        metrics["sparsity_error"] = sparsity_error(declared.get("weights", {}))
        return Evaluation(metrics, environment.score(metrics), environment.solved(metrics))

    def observe(state: TrainState, evaluation: Evaluation) -> TrainState:
        return state._replace(learner_state=state.learner_state._replace(score=evaluation.score))

    return Learner(init, step, evaluate, observe)


def advance(
    environment: Environment, key: Array, state: Any, action: Array, ended: Array
) -> tuple[Any, Any, Array, Array, Array]:
    """A step of one copy, or the start of its next episode if the last one has ended: ended bool[].

    Returns observation, state, reward f32[], terminated bool[] and truncated bool[], the last three 0 and False at a start.
    """
    observation, stepped, reward, terminated, truncated, _ = environment.step(key, state, action)
    first, begun = environment.reset(key)
    observation, state = jax.tree.map(lambda new, old: jnp.where(ended, new, old), (first, begun), (observation, stepped))
    return observation, state, jnp.where(ended, 0, reward), terminated & ~ended, truncated & ~ended


def generalised_advantages(rewards: Array, values: Array, discounts: Array, ends: Array, *, trace: float) -> Array:
    """A_t = δ_t + γ_t λ A_{t+1}, δ_t = r_t + γ_t V_{t+1} - V_t; the sum stops where an episode ends: A_t = δ_t.

    Shapes: rewards, discounts, ends ``[time, ...]``, values ``[time + 1, ...]``, the last of what follows → ``[time, ...]``.
    With λ = 1 and without ends it is the n-step return less the value. Schulman et al. 2016 (arXiv 1506.02438), equation 16.
    """
    deltas = rewards + discounts * values[1:] - values[:-1]
    kept = jnp.where(ends, 0, trace * discounts)

    def back(later: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
        delta, keep = at
        advantage = delta + keep * later
        return advantage, advantage

    _, advantages = jax.lax.scan(back, jnp.zeros_like(deltas[0]), (deltas, kept), reverse=True)
    return advantages


def policy_gradient_loss(logits: Array, actions: Array, advantages: Array, counts: Array) -> Array:
    """-mean(log π(a_t | s_t) A_t) over the steps that count; A is held fixed.

    Shapes: logits ``[time, actions, copies]``, all others ``[time, copies]`` → ``[]``. Mnih et al. 2016 (arXiv 1602.01783),
    section 4, asynchronous advantage actor-critic.
    """
    log_pi = jax.nn.log_softmax(logits, axis=1)
    log_pi_a = jnp.take_along_axis(log_pi, actions[:, None], axis=1)[:, 0]
    return -mean_where(log_pi_a * jax.lax.stop_gradient(advantages), counts)


def value_loss(values: Array, returns: Array, counts: Array) -> Array:
    """mean((R_t - V_t)²) / 2 over the steps that count; R is held fixed. [time, copies] each → [].

    Mnih et al. 2016, algorithm S3, where the gradient is that of the square.
    """
    return 0.5 * mean_where(jnp.square(jax.lax.stop_gradient(returns) - values), counts)


def mean_entropy(logits: Array, counts: Array) -> Array:
    """mean(H(π_t)), H = -Σ_a π(a) log π(a), over the steps that count: [time, actions, copies], [time, copies] → [].

    Mnih et al. 2016, section 4, after Williams & Peng 1991.
    """
    log_pi = jax.nn.log_softmax(logits, axis=1)
    return mean_where(-jnp.sum(jnp.exp(log_pi) * log_pi, axis=1), counts)


def mean_where(x: Array, counts: Array) -> Array:
    """Mean of x over the places where ``counts``, 0 if there are none: [time, copies] each → []."""
    weights = counts.astype(x.dtype)
    return jnp.sum(weights * x) / jnp.maximum(jnp.sum(weights), 1)
