"""Parameters in an interval: what projection moves, and that the box goes through all that handles parameters."""

from functools import cache, partial

import flax.linen as nn
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.core.meta import unbox
from flax.training.train_state import TrainState

from nalu_jax import bounds_of, keep_bounded, project
from nalu_jax.bounded import Bounded, Interval, bounded, step_to
from nalu_jax.registry import UNITS
from nalu_jax.storage.checkpoint import pack, unpack

INTERVALS = {
    "nau": {"w": (-1, 1)},
    "nmu": {"w": (0, 1)},
    "nac_mul_nmu": {"w": (0, 1)},
    "snmu": {"w": (0, 1)},
    "nru": {"w": (-1, 1)},
    "nmru": {"w": (0, 1)},
    "gated_nau_nmu": {"w_add": (-1, 1), "w_mul": (0, 1)},
    "real_npu_modified": {"w_real": (-1, 1), "g": (0, 1)},
    "nmu_unbounded": {},
    "real_npu": {},
    "npu": {},
    "nac": {},
}
BOUNDED = [name for name, intervals in INTERVALS.items() if intervals]


def fresh(name, key):
    """Parameters of 3 inputs and 2 outputs, boxed."""
    return UNITS[name](2).init(key, jnp.ones((1, 3)))["params"]


@cache
def initial(name):
    # Compiled, so that nothing is computed of the output.
    return jax.jit(partial(fresh, name))(jax.random.key(0, impl="rbg"))


def shapes_of(name):
    return jax.eval_shape(partial(fresh, name), jax.random.key(0))


def is_box(leaf):
    return isinstance(leaf, Bounded)


@pytest.mark.parametrize("name", INTERVALS)
def test_a_unit_keeps_its_parameters_in_the_published_intervals(name):
    boxes = {key: (leaf.lower, leaf.upper) for key, leaf in shapes_of(name).items() if is_box(leaf)}
    assert boxes == INTERVALS[name]


@pytest.mark.parametrize(
    ("clip", "intervals"),
    [
        ("", {}),
        ("w", {"w_real": (-1, 1)}),
        ("g", {"g": (0, 1)}),
        ("wig", {"w_real": (-1, 1), "w_imag": (-1, 1), "g": (0, 1)}),
    ],
)
def test_the_npu_is_projected_where_it_is_told_to(clip, intervals):
    params = jax.eval_shape(UNITS["npu"](2, clip=clip).init, jax.random.key(0), jnp.ones((1, 3)))["params"]
    assert {key: (leaf.lower, leaf.upper) for key, leaf in params.items() if is_box(leaf)} == intervals


def test_the_npu_refuses_a_letter_that_is_none():
    with pytest.raises(ValueError, match="clip must be made of the letters w, i and g, got 'wx'"):
        UNITS["npu"](2, clip="wx")


# Projection


VALUES = np.array([-3, -1, -0.25, 0, 0.75, 1, 1.5], np.float32)


def test_projection_moves_to_the_nearest_point_of_the_interval_and_nothing_else():
    params = {"a": Bounded(VALUES, -1.0, 1.0), "b": {"c": Bounded(VALUES, 0.0, 1.0), "free": jnp.asarray(VALUES)}}
    projected = project(params)
    np.testing.assert_array_equal(projected["a"].value, [-1, -1, -0.25, 0, 0.75, 1, 1])
    np.testing.assert_array_equal(projected["b"]["c"].value, [0, 0, 0, 0, 0.75, 1, 1])
    np.testing.assert_array_equal(projected["b"]["free"], VALUES)


def test_projection_keeps_the_intervals():
    projected = project({"a": Bounded(VALUES, -1.0, 1.0)})["a"]
    assert (projected.lower, projected.upper) == (-1, 1)


def test_projection_is_done_once():
    once = project({"a": Bounded(VALUES, 0.0, 1.0)})
    np.testing.assert_array_equal(project(once)["a"].value, once["a"].value)


def test_the_forward_pass_does_not_clip():
    # So that a weight which has arrived at its bound keeps its whole gradient.
    for weight, expected in ((1.0, 3.0), (2.0, 6.0)):
        params = {"w": Bounded(jnp.full((1, 1), weight), -1.0, 1.0)}
        y, gradient = jax.value_and_grad(lambda params: UNITS["nau"](1).apply({"params": params}, jnp.array([3.0]))[0])(
            params
        )
        assert y == expected and gradient["w"].value == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in BOUNDED if name != "snmu"])
def test_bounded_parameters_never_leave_their_interval_however_large_the_steps(name, optax_promotion):
    unit, optimizer = UNITS[name](2), optax.adam(10.0)
    x = jnp.asarray(np.random.RandomState(0).uniform(0.5, 3, (8, 3)), jnp.float32)
    target = jnp.asarray(np.random.RandomState(1).normal(size=(8, 2)), jnp.float32)

    def step(carry, _):
        params, state = carry
        gradient = jax.grad(lambda params: jnp.mean((unit.apply({"params": params}, x) - target) ** 2))(params)
        updates, state = optimizer.update(gradient, state)
        moved = optax.apply_updates(params, updates)
        return (project(moved), state), (moved, project(moved))

    @jax.jit
    def train(params):
        return jax.lax.scan(step, (params, optimizer.init(params)), length=200)[1]

    moved, projected = train(initial(name))
    for key, (lower, upper) in INTERVALS[name].items():
        values = np.asarray(projected[key].value)
        assert np.isfinite(values).all() and lower <= values.min() and values.max() <= upper
        # They would have left it.
        assert np.asarray(moved[key].value).min() < lower or np.asarray(moved[key].value).max() > upper


# The box in transit


@pytest.mark.parametrize("name", ["nau", "real_npu_modified"])
def test_optax_maps_over_boxes(name):
    params = initial(name)
    gradient = jax.tree.map(jnp.ones_like, params)
    optimizer = optax.sgd(0.125)
    updates, _ = optimizer.update(gradient, optimizer.init(params))
    stepped = optax.apply_updates(params, updates)
    for key, leaf in stepped.items():
        assert is_box(leaf) == (key in INTERVALS[name])
        np.testing.assert_array_equal(unbox(leaf), unbox(params[key]) - 0.125)


def test_a_tree_of_boxes_has_one_leaf_a_parameter():
    params = initial("gated_nau_nmu")
    assert [leaf.shape for leaf in jax.tree.leaves(params)] == [(3, 2)] * 3
    assert jax.tree.structure(params) == jax.tree.structure(jax.tree.map(lambda leaf: 2 * leaf, params))


def test_intervals_are_part_of_the_structure():
    one, other = Bounded(VALUES, 0.0, 1.0), Bounded(VALUES, -1.0, 1.0)
    assert jax.tree.structure(one) != jax.tree.structure(other)


def test_boxes_are_made_and_projected_under_vmap_over_seeds():
    keys = jax.random.split(jax.random.key(0, impl="rbg"), 4)
    params = jax.jit(jax.vmap(partial(fresh, "nmu")))(keys)
    assert (params["w"].value.shape, params["w"].lower, params["w"].upper) == ((4, 3, 2), 0, 1)
    shifted = jax.tree.map(lambda leaf: leaf + 0.5, params)
    projected = jax.vmap(project)(shifted)
    np.testing.assert_array_equal(projected["w"].value, np.minimum(shifted["w"].value, 1))
    assert (projected["w"].value == 1).any() and (projected["w"].value < 1).any()


@pytest.mark.parametrize("name", BOUNDED)
def test_boxes_survive_a_checkpoint(name):
    params = initial(name)
    restored = unpack(pack(params), shapes_of(name))
    assert jax.tree.structure(restored) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, restored, params)


def test_a_unit_takes_parameters_in_boxes_or_without():
    params, x = initial("nmu"), jnp.array([[2.0, 3, 4]])
    boxed, bare = (UNITS["nmu"](2).apply({"params": tree}, x) for tree in (params, unbox(params)))
    np.testing.assert_array_equal(boxed, bare)


class Layers(nn.Module):
    """Three NMUs, of parameters of their own."""

    @nn.compact
    def __call__(self, x):
        three = nn.vmap(UNITS["nmu"], in_axes=None, axis_size=3, variable_axes={"params": 0}, split_rngs={"params": True})
        return three(2)(x)


def test_the_interval_stays_under_nn_vmap():
    x = jnp.array([[2.0, 3, 4]])
    y, variables = jax.jit(Layers().init_with_output)(jax.random.key(0), x)
    (leaf,) = jax.tree.leaves(variables["params"], is_leaf=is_box)
    assert (leaf.value.shape, leaf.lower, leaf.upper) == ((3, 3, 2), 0, 1)
    assert y.shape == (3, 1, 2)
    np.testing.assert_array_equal(jax.jit(Layers().apply)({"params": variables["params"]}, x), y)


class Steps(nn.Module):
    """An NAU applied three times, of parameters of their own."""

    @nn.compact
    def __call__(self, x):
        scan = nn.scan(
            lambda unit, x, _: (unit(x), None), variable_axes={"params": 1}, split_rngs={"params": True}, length=3
        )
        return scan(UNITS["nau"](3, name="unit"), x, None)[0]


def test_the_interval_stays_under_nn_scan():
    x = jnp.array([[2.0, 3, 4]])
    y, variables = Steps().init_with_output(jax.random.key(0), x)
    box = variables["params"]["unit"]["w"]
    assert (box.value.shape, box.lower, box.upper) == ((3, 3, 3), -1, 1)
    expected = np.asarray(x)
    for t in range(3):
        expected = expected @ np.asarray(box.value)[:, t]
    np.testing.assert_allclose(y, expected, rtol=1e-5)


def test_a_bounded_initializer_draws_what_the_initializer_draws():
    key = jax.random.key(3)
    box = bounded(nn.initializers.normal(), -1.0, 2.0)(key, (3, 2), jnp.float32)
    np.testing.assert_array_equal(box.value, nn.initializers.normal()(key, (3, 2), jnp.float32))
    assert (box.lower, box.upper) == (-1, 2)


# Kept in the interval by the optimizer

X = jnp.asarray(np.random.RandomState(0).uniform(0.5, 3, (8, 3)), jnp.float32)


def far(y):
    """A loss whose gradients drive weights far out of any interval."""
    return jnp.mean((y - jnp.array([[1000.0, -1000.0]])) ** 2)


def kept(bounds=None):
    return optax.chain(optax.sgd(10.0), keep_bounded(bounds))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nau", "nmu", "real_npu_modified"])
@pytest.mark.parametrize("plain", [False, True], ids=["boxed", "plain"])
def test_in_flaxs_train_state_no_parameter_leaves_its_interval(name, plain, optax_promotion):
    unit = UNITS[name](2)
    params = unbox(initial(name)) if plain else initial(name)
    state = TrainState.create(apply_fn=unit.apply, params=params, tx=kept(bounds_of(unit) if plain else None))
    for _ in range(5):
        state = state.apply_gradients(grads=jax.grad(lambda params: far(unit.apply({"params": params}, X)))(state.params))
        for key, (lower, upper) in INTERVALS[name].items():
            values = np.asarray(unbox(state.params)[key])
            assert lower <= values.min() and values.max() <= upper
    assert {lower, upper} & set(values.ravel().tolist())  # and some have come to its end, exactly


@pytest.mark.parametrize("name", ["nau", *(pytest.param(n, marks=pytest.mark.slow) for n in ("nmu", "real_npu_modified"))])
def test_in_nnx_no_parameter_leaves_its_interval(name, optax_promotion):
    model = nnx.bridge.ToNNX(UNITS[name](2), rngs=nnx.Rngs(0)).lazy_init(X)
    optimizer = nnx.Optimizer(model, kept(), wrt=nnx.Param)
    by_hand = nnx.clone(model)
    for _ in range(5):
        gradients = nnx.grad(lambda model: far(model(X)))(model)
        optimizer.update(model, gradients)
        moved = jax.tree.map(lambda p, g: p - 10.0 * g, nnx.state(by_hand, nnx.Param), gradients)
        nnx.update(by_hand, project(moved))
        for trained, (key, (lower, upper)) in zip((model, by_hand) * 2, [*INTERVALS[name].items()] * 2, strict=False):
            values = np.asarray(getattr(trained, key)[...])
            assert lower <= values.min() and values.max() <= upper


def test_updates_inside_the_interval_are_left_as_they_are():
    params, transformation = {"w": Bounded(jnp.array([0.3, 0.5]), 0.0, 1.0), "free": jnp.array([9.0])}, keep_bounded()
    updates = {"w": Bounded(jnp.array([0.1, 0.7]), 0.0, 1.0), "free": jnp.array([-50.0])}
    found, _ = transformation.update(updates, transformation.init(params), params)
    assert found["w"].value[0] == updates["w"].value[0] and found["free"] == updates["free"]
    assert optax.apply_updates(params, found)["w"].value[1] == 1


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize(("lower", "upper"), [(0.0, 1.0), (-1.0, 1.0)])
def test_no_rounding_leads_out_of_the_interval(lower, upper, dtype):
    rng = np.random.RandomState(0)
    start = jnp.asarray(rng.uniform(lower, upper, 100_000), dtype)
    end = jnp.where(jnp.asarray(rng.rand(100_000) < 0.5), jnp.asarray(lower, dtype), jnp.asarray(upper, dtype))
    arrived = start + step_to(end, start)
    assert lower <= arrived.min() and arrived.max() <= upper
    assert float((arrived == end).mean()) > 0.97


@pytest.mark.parametrize(
    ("refused", "sentence"),
    [
        (lambda params: project(params), "project: no parameter has an interval"),
        (lambda params: keep_bounded().init(params), "keep_bounded: no parameter has an interval"),
        (
            lambda params: keep_bounded(bounds_of(UNITS["nac"](2))).init(params),
            "bounds are of m_hat, w_hat, the parameters are w",
        ),
        (lambda params: bounds_of(nn.Conv(2, (3, 3))), "bounds_of: give an example of the model"),
        (lambda params: keep_bounded(bounds_of(UNITS["nmu"](2))).update(params, None), "update needs the parameters"),
    ],
    ids=["project", "keep_bounded", "other bounds", "no inputs", "no parameters"],
)
def test_where_an_interval_is_lost_it_is_said(refused, sentence):
    with pytest.raises(ValueError, match=sentence):
        refused(unbox(initial("nmu")))


def test_bounds_are_those_of_the_model_however_it_is_given():
    expected = {"layers_0": {"w": Interval(-1.0, 1.0)}, "layers_1": {"w": Interval(0.0, 1.0)}, "layers_2": {}}
    model = nn.Sequential([UNITS["nau"](2), UNITS["nmu"](2), UNITS["nmu_unbounded"](1)])
    expected["layers_2"]["w"] = Interval(-np.inf, np.inf)
    assert bounds_of(model) == bounds_of(model, X) == bounds_of(model.init(jax.random.key(0), X)["params"]) == expected
    assert bounds_of(nnx.bridge.ToNNX(model, rngs=nnx.Rngs(0)).lazy_init(X)) == expected


class Named(nn.Module):
    """A module with a free parameter that bears the name of what a box holds."""

    @nn.compact
    def __call__(self, x):
        factor = self.param("w", bounded(nn.initializers.ones, 0.0, 1.0), ())
        return x * factor + self.param("value", nn.initializers.ones, ())


def test_a_parameter_may_be_called_value():
    expected = {"value": Interval(-np.inf, np.inf), "w": Interval(0.0, 1.0)}
    params = Named().init(jax.random.key(0), jnp.ones(2))["params"]
    assert bounds_of(Named()) == bounds_of(params) == expected
    keep_bounded(bounds_of(Named())).init(unbox(params))


def test_bounded_parameters_are_arguments_of_an_exported_program():
    unit, params = UNITS["nmu"](2), initial("nmu")
    program = jax.jit(lambda params, x: unit.apply({"params": params}, x))
    read = jax.export.deserialize(jax.export.export(program)(params, X).serialize())
    np.testing.assert_array_equal(read.call(params, X), program(params, X))


# Penalties and weights under Flax's transformations


@pytest.mark.parametrize("named", [True, False])
def test_penalties_and_weights_come_out_of_nn_vmap_where_their_axis_is_named(named):
    axes = {"params": 0} | ({"penalties": 0, "weights": 0} if named else {})
    three = nn.vmap(UNITS["nmu"], in_axes=None, axis_size=3, variable_axes=axes, split_rngs={"params": True})(2)
    variables = three.init(jax.random.key(0), X)
    _, declared = three.apply(variables, X, mutable=["penalties", "weights"])
    if named:
        assert declared["penalties"]["sparsity"].shape == (3,) and declared["weights"]["W"].shape == (3, 3, 2)
    else:
        assert declared == {}
