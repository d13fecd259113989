"""A unit as a function of all its parameters: where it solves an operation, and what its loss is like around there.

Nothing here knows a unit by name: parameters, their intervals, where seeds start, effective weights and penalties are what
the module declares.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.core.meta import unbox
from jax.flatten_util import ravel_pytree

from nalu_jax.bounded import Bounded
from nalu_jax.units import TRAINING
from scripts.unit_facts import INPUTS, SYMBOLS, Entry

FUNCTIONS: dict[str, Callable] = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}
COMPARISON = "greater"  # what stands for a unit without operations
VALUES = (-20.0, -1.0, 0.0, 1.0, 20.0)  # that an ideal parameter may have: discrete weights, saturated parameters
SAMPLES, SEEDS = 64, 40
CHUNK = 1024  # thetas at once
EXACT = 1e-6  # mean squared error up to which an operation counts as computed
FLOOR, CEILING = 1e-6, 1e2  # the scale of errors in the pictures


def decades(losses: np.ndarray, floor: float = FLOOR, ceiling: float = CEILING) -> np.ndarray:
    """Common logarithms, between those of floor and ceiling: any shape → the same."""
    return np.log10(np.clip(losses, floor, ceiling))


class Problem(NamedTuple):
    """An operation on two inputs of a range."""

    operation: str
    low: float
    high: float

    def inputs(self) -> np.ndarray:
        """[2, SAMPLES], evenly spread: the Halton sequence of bases 2 and 3."""
        unit_square = np.stack([van_der_corput(2), van_der_corput(3)])
        return (self.low + (self.high - self.low) * unit_square).astype(np.float32)

    def targets(self, x: np.ndarray) -> np.ndarray:
        """The operation of x [2, ...] → [...]."""
        function = FUNCTIONS.get(self.operation, np.greater)
        with np.errstate(divide="ignore", invalid="ignore"):
            return function(x[0], x[1]).astype(np.float32)

    @property
    def formula(self) -> str:
        """x₁ × x₂."""
        return f"x₁ {SYMBOLS.get(self.operation, '>')} x₂"

    @property
    def interval(self) -> str:
        """[−2, −1]."""
        return f"[{self.low:g}, {self.high:g}]".replace("-", "−")


def van_der_corput(base: int) -> np.ndarray:
    """The first SAMPLES numbers of the sequence, in (0, 1)."""

    def radical_inverse(index: int) -> float:
        value, scale = 0.0, 1.0 / base
        while index:
            value, index, scale = value + scale * (index % base), index // base, scale / base
        return value

    return np.array([radical_inverse(index) for index in range(1, SAMPLES + 1)])


def in_chunks(function: Callable[[Any], Any], thetas: np.ndarray) -> np.ndarray:
    """A function of one θ at thetas [K, numbers]: [K, ...], in chunks of one size, for which JAX compiles once."""
    padded = np.concatenate([thetas, np.repeat(thetas[:1], -len(thetas) % CHUNK, axis=0)]).astype(np.float32)
    pieces = [np.asarray(jax.vmap(function)(piece)) for piece in padded.reshape(-1, CHUNK, thetas.shape[1])]
    return np.concatenate(pieces)[: len(thetas)]


def squared_errors(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """[K, N] and [N] → [K, N], inf where there is no value."""
    with np.errstate(over="ignore", invalid="ignore"):
        squared = np.square(outputs.astype(np.float64) - targets)
    return np.where(np.isfinite(squared), squared, np.inf)


class Leaf(NamedTuple):
    """A parameter: its name, where its entries stand among all numbers, and its interval."""

    name: str
    places: range
    lower: float
    upper: float

    @property
    def values(self) -> list[float]:
        """What an entry may be at an ideal."""
        return [value for value in VALUES if self.lower <= value <= self.upper]

    @property
    def planted(self) -> np.ndarray:
        """What the parameter may be at an ideal: [choices, entries].

        Of a bounded one all combinations. An unbounded one is 0 or ±20 if it is a scalar; a vector is 0, 1 or 20, or 1 or 20
        with a minus in the last entry, or ±20 in the first entry and 0 in the others.
        """
        count = len(self.places)
        if math.isfinite(self.lower):
            return np.array(list(itertools.product(self.values, repeat=count)))
        first = np.eye(count)[:1]
        if count == 1:
            return np.concatenate([0 * first, 20 * first, -20 * first])
        equal, opposite = np.ones((1, count)), np.append(np.ones(count - 1), -1.0)[None]
        return np.concatenate([0 * first, equal, 20 * equal, opposite, 20 * opposite, 20 * first, -20 * first])


class Cut(NamedTuple):
    """The loss along one number among the parameters, all others as they are at an ideal; f32[points] each."""

    leaf: Leaf
    place: int
    values: np.ndarray
    training: np.ndarray
    evaluation: np.ndarray
    penalty: np.ndarray
    weight: np.ndarray | None  # the effective weight that it changes, if any

    @property
    def movement(self) -> float:
        """How much the loss depends on it, in decades."""
        return float(np.std(decades(self.training)))


class Landscape:
    """A unit of two inputs and one output, with all its parameters in one vector θ."""

    def __init__(self, one: Entry):
        self.one, self.unit = one, one.unit
        shapes = unbox(one.variables["params"])
        _, self.unravel = ravel_pytree(jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes))
        self.leaves = list(self.find_leaves())

    def find_leaves(self) -> Iterator[Leaf]:
        """The parameters in the order of θ."""
        boxes = jax.tree.leaves_with_path(self.one.variables["params"], is_leaf=lambda leaf: isinstance(leaf, Bounded))
        place = 0
        for path, box in boxes:
            boxed = isinstance(box, Bounded)
            value, lower, upper = (box.value, box.lower, box.upper) if boxed else (box, -math.inf, math.inf)
            count = math.prod(value.shape)
            yield Leaf(path[-1].key, range(place, place + count), lower, upper)
            place += count

    def leaf_of(self, place: int) -> Leaf:
        """The parameter that this number belongs to."""
        return next(leaf for leaf in self.leaves if place in leaf.places)

    @functools.cached_property
    def starts(self) -> np.ndarray:
        """θ of SEEDS fresh seeds: [SEEDS, numbers]."""
        keys = jax.vmap(jax.random.key)(jnp.arange(SEEDS))
        params = jax.vmap(lambda key: self.unit.init(key, jnp.ones((INPUTS, 3)))["params"])(keys)
        return np.concatenate([np.reshape(leaf, (SEEDS, -1)) for leaf in jax.tree.leaves(params)], axis=1)

    def output(self, theta: Any, x: Any, training: bool) -> Any:
        """The unit's output at one θ, in its form for training or for evaluation: x [2, N] → [N]."""
        rngs = {TRAINING: jax.random.key(0)} if training else None
        return self.unit.apply({"params": self.unravel(theta)}, x, rngs=rngs)[0]

    def outputs(self, thetas: np.ndarray, x: np.ndarray, training: bool) -> np.ndarray:
        """The outputs at thetas [K, numbers] for x [2, N]: [K, N]."""
        return in_chunks(lambda theta: self.output(theta, x, training), thetas)

    def losses(self, thetas: np.ndarray, problem: Problem, training: bool = True) -> np.ndarray:
        """Mean squared errors at thetas [..., numbers]: [...]."""
        x = problem.inputs()
        outputs = self.outputs(thetas.reshape(-1, thetas.shape[-1]), x, training)
        return squared_errors(outputs, problem.targets(x)).mean(1).reshape(thetas.shape[:-1])

    def declared(self, thetas: np.ndarray, problem: Problem) -> tuple[np.ndarray, np.ndarray]:
        """Effective weights [K, weights], and the penalties [K] that the problem's recipe weighs, at their full weight."""
        recipe = self.unit.recipe(task="single_unit", input_size=INPUTS, operation=problem.operation)
        full = {name: spec.weight * spec.growth**spec.times for name, spec in recipe.penalties.items()}
        x = problem.inputs()

        def collect(theta: Any) -> Any:
            _, found = self.unit.apply({"params": self.unravel(theta)}, x, mutable=["weights", "penalties"])
            penalties = [full[name] * value for name, value in found.get("penalties", {}).items() if name in full]
            return jnp.stack([sum(penalties, jnp.zeros(())), *jnp.concatenate(jax.tree.leaves(found["weights"]))[:, 0]])

        found = in_chunks(collect, thetas)
        return found[:, 1:], found[:, 0]

    @functools.cached_property
    def planted(self) -> np.ndarray:
        """All combinations of planted parameters: [combinations, numbers]."""
        grids = np.meshgrid(*(np.arange(len(leaf.planted)) for leaf in self.leaves), indexing="ij")
        chosen = [leaf.planted[grid.ravel()] for leaf, grid in zip(self.leaves, grids, strict=True)]
        return np.concatenate(chosen, axis=1)

    @functools.cache  # noqa: B019, a landscape lives as long as one picture
    def planted_outputs(self, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
        """Inputs, half in the range and half in a wide one, [2, SAMPLES], and the outputs there, [combinations, SAMPLES]."""
        wide = Problem("", 0.1 if self.unit.positive_inputs else -3.0, 3.0)
        x = np.concatenate([problem.inputs()[:, : SAMPLES // 2] for problem in (Problem("", low, high), wide)], axis=1)
        return x, self.outputs(self.planted, x, training=True)

    def ideal(self, problem: Problem) -> np.ndarray:
        """The planted θ that solves the problem best. Raises ValueError if the unit lists the operation and none solves it.

        Of equals, one that is right outside the range as well, with as many zeros as may be.
        """
        x, outputs = self.planted_outputs(problem.low, problem.high)
        near, far = np.split(squared_errors(outputs, problem.targets(x)), 2, axis=1)
        scores = decades(near.mean(1), EXACT / 10) + 0.02 * decades(far.mean(1), EXACT / 10)
        scores += 0.01 * np.count_nonzero(self.planted, axis=1) + 1e-5 * np.abs(self.planted).sum(1)
        best = self.planted[np.argmin(scores)]
        evaluated = squared_errors(self.outputs(best[None], x, training=False), problem.targets(x))[0, : SAMPLES // 2].mean()
        loss = max(near[np.argmin(scores)].mean(), evaluated)
        if problem.operation in self.unit.operations and not loss <= EXACT:
            raise ValueError(
                f"{self.one.name} lists {problem.operation!r}, but no parameters were found that compute it on "
                f"[{problem.low:g}, {problem.high:g}]: the best have a mean squared error of {loss:.2g}"
            )
        return best

    def window(self, leaf: Leaf, ideal: np.ndarray) -> tuple[float, float]:
        """How far a parameter is varied: over its interval; where it has none, over one that holds the starts."""
        if math.isfinite(leaf.lower):
            return leaf.lower, leaf.upper
        small = np.abs(ideal[leaf.places]).max() <= 1
        reach = max(2.0 if small else 8.0, math.ceil(np.abs(self.starts[:, leaf.places]).max()))
        return -reach, reach

    def cut(self, place: int, ideal: np.ndarray, problem: Problem, points: int = 241) -> Cut:
        """The loss along one number."""
        leaf = self.leaf_of(place)
        values = np.linspace(*self.window(leaf, ideal), points)
        thetas = np.repeat(ideal[None], points, axis=0)
        thetas[:, place] = values
        weights, penalty = self.declared(thetas, problem)
        moved = np.ptp(weights, axis=0)
        weight = weights[:, np.argmax(moved)] if moved.max() > 0.01 else None
        training, evaluation = (self.losses(thetas, problem, training=form) for form in (True, False))
        return Cut(leaf, place, values, training, evaluation, penalty, weight)

    def cuts(self, ideal: np.ndarray, problem: Problem) -> list[Cut]:
        """One for each parameter, along that of its entries which moves the loss most; of equals along the last."""
        found = [[self.cut(place, ideal, problem) for place in reversed(leaf.places)] for leaf in self.leaves]
        return [max(entries, key=lambda cut: round(cut.movement, 1)) for entries in found]

    def plane(self, cuts: list[Cut], ideal: np.ndarray, problem: Problem) -> tuple[int, int]:
        """The places of the two numbers to vary together.

        A number that makes an effective weight and one of another kind (a gate, a bias), where both move the loss. Without
        such another kind, the two largest numbers of one parameter of weights; without learned weights, any two. Of several
        pairs, the one that moves the loss most.
        """
        moving = [cut for cut in cuts if cut.movement > 0.1]
        makers = [cut for cut in moving if cut.weight is not None]
        others = [cut for cut in moving if cut.weight is None]
        if makers and others:
            pairs = [(maker.place, other.place) for maker in makers for other in others]
        elif makers:
            largest = [sorted(cut.leaf.places, key=lambda place: -abs(ideal[place]))[:2] for cut in makers]
            pairs = [tuple(sorted(pair)) for pair in largest if len(pair) > 1 and ideal[pair].any()]
        else:
            pairs = list(itertools.combinations([cut.place for cut in (moving if len(moving) > 1 else cuts)], 2))
        return max(pairs, key=lambda pair: self.movement(pair, ideal, problem))

    def movement(self, places: tuple[int, int], ideal: np.ndarray, problem: Problem) -> float:
        """How much the loss depends on two numbers, in decades."""
        losses = self.surface(places, ideal, problem, 21)[2]
        return float(np.std(decades(losses)))

    def surface(
        self, places: tuple[int, int], ideal: np.ndarray, problem: Problem, points: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values of two numbers, and the loss over them, all others ideal: [points], [points], [second, first]."""
        first, second = (np.linspace(*self.window(self.leaf_of(place), ideal), points) for place in places)
        thetas = np.broadcast_to(ideal, (points, points, len(ideal))).copy()
        thetas[..., places[0]], thetas[..., places[1]] = np.meshgrid(first, second)
        return first, second, self.losses(thetas, problem)

    def path(self, ideal: np.ndarray, problem: Problem, shares: np.ndarray) -> tuple[np.ndarray, int, np.ndarray | None]:
        """Parameters on the way of the weight of x₂ from 0 to its ideal: θ at these shares of the way.

        One number moves, from the nearest corner at which the weight is 0. Where no weight is learned, the number other than
        0 that changes the output most comes from the opposite corner, and the shares are those of the output at (2, 3/2).

        Returns:
          θ [shares, numbers]; the place of the number; the effective weight f32[shares], None where none is learned.
        """
        point = np.broadcast_to(np.array([[2.0], [1.5]], np.float32), (INPUTS, SAMPLES))
        candidates = [
            (place, off)
            for place, value in enumerate(ideal)
            for off in self.leaf_of(place).values
            if 0 < abs(off - value) <= 20 or off == -value != 0
        ]
        ends = np.repeat(ideal[None], len(candidates), axis=0)
        ends[np.arange(len(candidates)), [place for place, _ in candidates]] = [off for _, off in candidates]
        change = np.abs(self.outputs(ends, point, True)[:, 0] - self.outputs(ideal[None], point, True)[0, 0])
        weights, of_ideal = (np.abs(self.declared(thetas, problem)[0][:, 1::INPUTS]) for thetas in (ends, ideal[None]))
        switched = ((weights < 1e-3) & (of_ideal > 0.9)).any(1) & (change > 0.1)
        if switched.any():
            chosen = min(np.flatnonzero(switched), key=lambda index: abs(candidates[index][1]))
        else:
            chosen = max(range(len(change)), key=lambda index: (ideal[candidates[index][0]] != 0, change[index]))
        place = candidates[chosen][0]
        thetas = np.repeat(ideal[None], 2001, axis=0)
        thetas[:, place] = np.linspace(ends[chosen, place], ideal[place], len(thetas))
        if switched.any():
            weights = self.declared(thetas, problem)[0][:, 1::INPUTS]
            followed = weights[:, np.argmax(np.abs(weights[-1] - weights[0]))]
        else:
            followed = self.outputs(thetas, point, training=True)[:, 0]
        way = (followed - followed[0]) / (followed[-1] - followed[0])
        indices = [-1 if share == 1 else int(np.argmin(np.abs(way - share))) for share in shares]
        return thetas[indices], place, followed[indices] if switched.any() else None


def walk_downhill(losses: np.ndarray, start: tuple[int, int], reach: int = 2) -> tuple[int, int]:
    """Where a walk on the grid ends that always goes to the lowest point near by, and stops where none is lower."""
    here = start
    while True:
        rows = slice(max(here[0] - reach, 0), here[0] + reach + 1)
        columns = slice(max(here[1] - reach, 0), here[1] + reach + 1)
        near = losses[rows, columns]
        row, column = np.unravel_index(np.argmin(near), near.shape)
        if not near[row, column] < 0.999 * losses[here]:
            return here
        here = (rows.start + int(row), columns.start + int(column))


def problems(entry: Entry) -> tuple[Problem, Problem]:
    """What the left picture is about, and what the other two are."""
    operations = entry.unit.operations or (COMPARISON,)
    shown = "mul" if "mul" in operations else operations[-1]
    return Problem(shown, 1.0, 2.0), Problem(operations[-1], *((1.0, 2.0) if entry.unit.positive_inputs else (-2.0, -1.0)))
