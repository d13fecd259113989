"""Starting over: the rule against the published one on a plain list of errors, and what a restart does to a seed."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nalu_jax.learners.optimizers import adam
from nalu_jax.learners.reinit import first_firing, with_reinit
from nalu_jax.learners.supervised import supervised
from nalu_jax.networks.stacks import single
from nalu_jax.recipes import Reinit
from nalu_jax.tasks.operations import OPERATIONS
from nalu_jax.tasks.static_arithmetic import ArithmeticTask
from nalu_jax.tasks.subsets import Disjoint
from nalu_jax.training.distributed import Layout, seed_mesh
from nalu_jax.training.loop import make_programs, run_seeds
from nalu_jax.types import Evaluation, Hyperparameters, Learner, Problem, TrainState

# The published rule, as it stands in the code of the benchmark: a list, to which an error is appended after each step


def restarts_of_the_published_rule(errors, rule, eval_every):
    """The steps at which seeds restart. ``errors`` are those of the evaluations at 0, eval_every, ..., f64[evaluations].

    Step t is taken from the state that was evaluated at t, if an evaluation was due there; its stale error is noted.
    """
    noted, fired = [], []
    for t in range((len(errors) - 1) * eval_every):
        noted.append(errors[t // eval_every])
        if t % rule.check_every == 0 and t > 0 and len(noted) > rule.min_history:
            n = len(noted)
            first, second = np.array(noted[: n // 2]), np.array(noted[n // 2 :])
            if np.mean(first) <= np.mean(second) + np.std(second) and np.mean(second) > rule.threshold:
                fired.append(t)
                noted = []
    return fired


# A learner whose evaluations are written down, and whose weight tells which steps it took


def scripted():
    """A learner of one weight that grows by 1 a step, and whose error is read from a script f32[seeds, steps + 1]."""

    def init(seed, script):
        del script
        return TrainState(seed, jnp.int32(0), {"w": jnp.float32(1e6)}, jnp.int32(0), (), learner_state=jnp.int32(0))

    def step(state, script):
        del script
        stepped = state._replace(step=state.step + 1, params={"w": state.params["w"] + 1}, opt_state=state.opt_state + 1)
        return stepped, {"loss": jnp.float32(0)}

    def evaluate(state, script):
        error = script[state.seed, state.step]
        return Evaluation({"w": state.params["w"]}, score=error, solved=error < 0)

    def observe(state, evaluation):
        del evaluation
        return state._replace(learner_state=state.learner_state + 1)

    return Learner(init, step, evaluate, observe)


class Host:
    """A host that keeps the evaluations, and asks for chunks of one length."""

    def __init__(self, length=10**6):
        self.length = length
        self.rows = []

    def chunk_steps(self):
        return self.length

    def evaluated(self, step, metrics):
        self.rows.append((step, metrics))

    def wants_checkpoint(self):
        return False

    def save(self, step, run):
        raise AssertionError


def restarting(rule, num_steps, eval_every):
    """The scripted learner with restarts, which set its weight to 0."""
    return with_reinit(scripted(), lambda key: {"w": jnp.float32(0)}, rule, num_steps=num_steps, eval_every=eval_every)


@functools.cache
def scripted_programs(rule, num_steps, eval_every):
    return make_programs(restarting(rule, num_steps, eval_every), Layout(seed_mesh(), 2))


def last_restarts(step, weight):
    """The step of the last restart before a step, -1 if there was none, from the weight of the scripted learner."""
    # Without a restart the weight is a million and the steps; after one, the steps since, its own not counted.
    return np.where(weight >= 1e6, -1, step - 1 - weight).astype(int)


def run_of(rule, errors, eval_every, length=10**6):
    """The run of the scripted learner, and at each evaluation the last restart before it: i64[seeds, evaluations]."""
    seeds, evaluations = errors.shape
    num_steps = (evaluations - 1) * eval_every
    script = np.full((seeds, num_steps + 1), np.nan, np.float32)
    script[:, ::eval_every] = errors
    host = Host(length)
    programs = scripted_programs(rule, num_steps, eval_every)
    run = run_seeds(programs, np.arange(seeds), script, num_steps=num_steps, eval_every=eval_every, host=host)
    return run, np.array([last_restarts(step, metrics["w"]) for step, metrics in host.rows]).T


@functools.cache
def without_the_loop(rule, eval_every):
    """A compiled function of the errors of seeds, f32[seeds, evaluations], to their weights at each evaluation."""

    def of_seed(learner, errors):
        def until_the_next(state, error):
            state = learner.observe(state, Evaluation({}, error, jnp.bool_(False)))
            return jax.lax.fori_loop(0, eval_every, lambda _, s: learner.step(s, None)[0], state), state.params["w"]

        return jax.lax.scan(until_the_next, learner.init(jnp.uint32(0), None), errors)[1]

    def of_seeds(errors):
        learner = restarting(rule, (errors.shape[1] - 1) * eval_every, eval_every)
        return jax.vmap(functools.partial(of_seed, learner))(errors)

    return jax.jit(of_seeds)


def expected_restarts(rule, errors, eval_every):
    """The same by the published rule."""
    found = np.full(errors.shape, -1)
    for seed, history in enumerate(errors.astype(np.float64)):
        fired = restarts_of_the_published_rule(history, rule, eval_every)
        for evaluation in range(len(history)):
            found[seed, evaluation] = max([t for t in fired if t < evaluation * eval_every], default=-1)
    return found


def histories(kind, seeds, evaluations):
    """Errors of many seeds. Of 24 bits or fewer, so that float32 makes no mean differ from float64 by more than rounding."""
    rng = np.random.RandomState(3)
    if kind == "noise":
        return rng.uniform(0.5, 3, (seeds, evaluations))
    if kind == "falling_noise":
        return np.geomspace(30, 0.3, evaluations) * rng.uniform(0.5, 2, (seeds, evaluations))
    if kind == "plateaus":
        return np.repeat(rng.choice([0.5, 2.0, 8.0], (seeds, evaluations // 4 + 1)), 4, axis=1)[:, :evaluations]
    return np.abs(np.cumsum(rng.normal(size=(seeds, evaluations)), axis=1)) + 0.5


@pytest.mark.parametrize(
    ("check_every", "min_history", "eval_every"),
    [
        (10, 50, 30),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in ((10, 50, 10), (7, 45, 20), (64, 40, 40), (1, 20, 20), (100, 60, 20))
        ),
    ],
)
@pytest.mark.parametrize("kind", ["noise", "falling_noise", "plateaus", "walk"])
def test_seeds_restart_at_the_steps_of_the_published_rule_time_and_again(kind, check_every, min_history, eval_every):
    rule = Reinit(check_every, min_history, threshold=1.0)
    errors = histories(kind, 60, 41).astype(np.float32)
    expected = expected_restarts(rule, errors, eval_every)
    found = last_restarts(eval_every * np.arange(41), np.asarray(without_the_loop(rule, eval_every)(errors)))
    np.testing.assert_array_equal(found, expected)
    counts = [len(set(row)) - 1 for row in expected]
    assert max(counts) >= 3, "several restarts in a row"
    assert kind not in ("falling_noise", "walk") or min(counts) < max(counts)


def test_a_restart_survives_a_chunk_that_ends_before_it():
    # The restart is settled at an evaluation and comes steps later, in another chunk.
    rule = Reinit(check_every=10, min_history=50, threshold=1.0)
    errors = histories("noise", 60, 41).astype(np.float32)
    (short, of_short), (long, of_long) = (run_of(rule, errors, 30, length) for length in (7, 10**6))
    np.testing.assert_array_equal(of_long, expected_restarts(rule, errors, 30))
    np.testing.assert_array_equal(of_short, of_long)
    jax.tree.map(np.testing.assert_array_equal, short, long)
    restarted = short.state.learner_state.since
    np.testing.assert_array_equal(restarted, of_long[:, -1] + 1)
    assert restarted.min() > 0


# The settings of the benchmark: a check every 10 steps, of more than 5000 errors, above 1; evaluations every 1000 steps

BENCHMARK = Reinit(check_every=10, min_history=5_000, threshold=1.0)


@pytest.mark.parametrize(
    ("error", "restarts"),
    [
        # A list of 5001 errors is the first that is longer than 5000: steps 0 to 5000, and then those from 5001 on, of which
        # 5001 are there at 10001, and a check is due at 10010.
        (2.0, [5000, 10010, 15020, 20030, 25040, 30050, 35060, 40070, 45080]),
        (0.1 + 1, [5000, 10010, 15020, 20030, 25040, 30050, 35060, 40070, 45080]),  # 1.1 has no finite binary form
        (1.0, []),  # not above 1
        (0.5, []),
    ],
)
def test_a_seed_whose_error_does_not_change_restarts_every_5010_steps_from_5000_on(error, restarts):
    found = run_of(BENCHMARK, np.full((2, 51), error, np.float32), 1000)[1]
    expected = [max([t for t in restarts if t < 1000 * i], default=-1) for i in range(51)]
    assert found.tolist() == [expected] * 2


@pytest.mark.parametrize("factor", [0.9, 0.5])
def test_a_seed_whose_error_falls_never_restarts(factor):
    errors = np.tile(1e6 * factor ** np.arange(51.0), (2, 1)).astype(np.float32)
    assert (run_of(BENCHMARK, errors, 1000)[1] == -1).all()


def test_a_seed_whose_error_falls_below_the_threshold_never_restarts_however_long_it_rests_there():
    errors = np.concatenate([[50.0, 20.0, 5.0], np.full(48, 0.9)]).astype(np.float32)
    assert (run_of(BENCHMARK, np.tile(errors, (2, 1)), 1000)[1] == -1).all()


def test_where_the_first_half_is_just_one_deviation_above_the_second_decides():
    # 8 noted errors at step 7: first half 4 × a, second half 1, 1, 3, 3 with mean 2 and (population) deviation 1.
    rule = Reinit(check_every=7, min_history=7, threshold=0.0)
    steps = jnp.array([0, 2, 4, 6], jnp.int32)
    firing = jax.jit(lambda errors: first_firing(rule, steps, errors, errors[-1], jnp.int32(0), jnp.int32(6), 2))
    for a, fires in ((2.99, True), (3.0, True), (3.01, False)):
        assert int(firing(jnp.array([a, a, 1.0, 3.0], jnp.float32))) == (7 if fires else -1)


def test_a_rule_that_could_fire_twice_between_evaluations_is_refused():
    with pytest.raises(ValueError, match="min_history must be at least eval_every, which is 1000, got 999"):
        with_reinit(scripted(), lambda key: {}, Reinit(10, 999, 1.0), num_steps=10, eval_every=1000)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"check_every": -1}, "check_every must be a whole number of at least 0, got -1"),
        ({"check_every": 2.5}, "check_every must be a whole number of at least 0, got 2.5"),
        ({"min_history": -1}, "min_history must be a whole number of at least 0, got -1"),
        ({"threshold": -1.0}, "threshold must be a number of at least 0, got -1.0"),
        ({"threshold": float("nan")}, "threshold must be a number of at least 0, got nan"),
        ({"init_range": float("inf")}, "init_range must be a number of at least 0, got inf"),
    ],
)
def test_numbers_that_cannot_be_are_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        Reinit(**{"check_every": 10, "min_history": 10, "threshold": 1.0} | fields)


# A NAU that learns a product, which it cannot: its seeds come to a halt

SEEDS, EVERY, STEPS = 8, 10, 50
RULE = Reinit(check_every=5, min_history=19, threshold=0.0)
TASK = ArithmeticTask(
    operation=np.int32(list(OPERATIONS).index("mul")),
    lows=np.float32([1]),
    width=np.float32(1),
    limit=np.float32(2),
    threshold=np.float32(1e-8),
    interpolation=np.random.RandomState(0).uniform(1, 2, (2, 50)).astype(np.float32),
    extrapolation=np.random.RandomState(1).uniform(2, 6, (2, 50)).astype(np.float32),
    subsets=Disjoint(1, 1),
    beyond_training=False,
)
PROBLEM = Problem(TASK, Hyperparameters(np.float32(1e-3), {}))
MODEL = single("nau", {}, outputs=1)


def initial_params(key):
    """What the NAU itself would start from: U(-1/2, 1/2)."""
    return MODEL.init(key, jnp.zeros((2, 1)))["params"]


def tolerant_adam(learning_rate):
    """Adam under JAX's ordinary promotion: optax raises a float to the power of an integer count."""
    optimizer = adam(learning_rate=learning_rate)

    def update(*arguments):
        with jax.numpy_dtype_promotion("standard"):
            return optimizer.update(*arguments)

    return optax.GradientTransformation(optimizer.init, update)


def scaled(learner):
    """The learner, whose odd seeds are told an error that falls by half at each evaluation, so that they never restart."""

    def evaluate(state, problem):
        falling = 1e3 * 0.5 ** (state.step // EVERY).astype(jnp.float32)
        return learner.evaluate(state, problem)._replace(score=jnp.where(state.seed % 2 == 1, falling, 7.0))

    return learner._replace(evaluate=evaluate)


LEARNER = scaled(supervised(MODEL, tolerant_adam, batch_size=16))


@functools.cache
def started():
    """The states of eight seeds before the first step, without what restarts remember."""
    return jax.jit(jax.vmap(LEARNER.init, (0, None)))(jnp.arange(SEEDS, dtype=jnp.uint32), PROBLEM)


@functools.cache
def trajectory(rule):
    """The states of eight seeds after every step, evaluated every ten; without a rule, without restarts."""
    learner = LEARNER._replace(init=lambda state, problem: state)  # starts from a state: what draws it compiles once
    if rule is not None:
        learner = with_reinit(learner, initial_params, rule, num_steps=STEPS, eval_every=EVERY)
    step = jax.jit(jax.vmap(lambda state: learner.step(state, PROBLEM)[0]))
    observe = jax.jit(jax.vmap(lambda state: learner.observe(state, learner.evaluate(state, PROBLEM))))
    state = jax.vmap(learner.init, (0, None))(started(), PROBLEM)
    states = [state]
    for t in range(STEPS):
        if t % EVERY == 0:
            state = observe(state)
        state = step(state)
        states.append(state)
    return states


def matrix(state):
    """The weights of all seeds, f32[seeds, 2, 1]."""
    [leaf] = jax.tree.leaves(state.params)
    return np.asarray(leaf)


EVEN, ODD = slice(0, None, 2), slice(1, None, 2)
# Constant errors: 21 are noted at step 20, and at 40 twenty since; the check of step 15 finds no more than 16.
RESTARTS = [20, 40]


@pytest.mark.slow
def test_seeds_that_have_come_to_a_halt_jump_after_the_step_at_which_the_rule_fires():
    states, plain = trajectory(RULE), trajectory(None)
    for t in range(STEPS):
        moved = np.abs(matrix(states[t + 1]) - matrix(states[t])).max((1, 2))
        assert (moved[EVEN] > 0.01).all() == (t in RESTARTS)
        assert (moved[ODD] < 0.0011).all(), "Adam at 1e-3"
    np.testing.assert_array_equal(matrix(states[20]), matrix(plain[20]))


def test_a_restarted_seed_has_fresh_parameters_of_the_initial_distribution():
    states = trajectory(RULE)
    drawn = [matrix(states[0])[EVEN], *(matrix(states[t + 1])[EVEN] for t in RESTARTS)]
    assert all((np.abs(w) <= 0.5).all() for w in drawn)
    numbers = np.concatenate([w.ravel() for w in drawn])
    assert len(set(numbers.tolist())) == len(numbers), "no seed and no restart draws what another drew"


def test_a_restarted_seed_draws_from_the_position_of_its_restart():
    # Bitwise: our generator draws what JAX's own does. Purpose 4 is a restart.
    states = trajectory(RULE)
    for t in RESTARTS:
        for seed in range(0, SEEDS, 2):
            key = jax.random.key(0, impl="threefry2x32")
            for word in (4, seed, t):
                key = jax.random.fold_in(key, word)
            [expected] = jax.tree.leaves(initial_params(key))
            np.testing.assert_array_equal(matrix(states[t + 1])[seed], expected)


def test_the_moments_of_adam_go_on_over_a_restart():
    # Up to the step of the restart, that step included, both runs saw the same gradients.
    states, plain = trajectory(RULE), trajectory(None)
    after, expected = states[RESTARTS[0] + 1].opt_state, plain[RESTARTS[0] + 1].opt_state
    jax.tree.map(np.testing.assert_array_equal, after, expected)
    assert all((leaf != 0).any() for leaf in jax.tree.leaves(after))


def test_seeds_beside_a_restarted_one_are_bit_for_bit_what_they_are_without_it():
    for state, plain in zip(trajectory(RULE), trajectory(None), strict=True):
        np.testing.assert_array_equal(matrix(state)[ODD], matrix(plain)[ODD])


def test_what_the_wrapped_learner_remembers_is_kept_beside_the_notes():
    for state, plain in zip(trajectory(RULE), trajectory(None), strict=True):
        np.testing.assert_array_equal(np.asarray(state.learner_state.inner)[ODD], np.asarray(plain.learner_state)[ODD])


def test_with_an_init_range_all_new_parameters_are_uniform_within_it():
    states = trajectory(Reinit(5, 19, 0.0, init_range=0.9))
    drawn = np.concatenate([matrix(states[t + 1])[EVEN].ravel() for t in RESTARTS])
    assert (np.abs(drawn) <= 0.9).all()
    # 16 numbers of U(-0.9, 0.9): that none is beyond the NAU's own 1/2 has a chance of (5/9)^16, or 1 in 12,000.
    assert (np.abs(drawn) > 0.5).any() and (drawn < 0).any() and (drawn > 0).any()
