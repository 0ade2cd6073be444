import itertools

import numpy as np
import pytest
import tensorflow as tf

import blade_tf
from blade_tf import native, pair_ops, pairs
from blade_tf.pair_ops import Pair, blade_exchange, blade_lookup

IMPLEMENTATIONS = [
    pytest.param(name, marks=pytest.mark.skipif(name == "native" and native.library is None, reason="not built"))
    for name in ("native", "stock")
]
EVERY = pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
BETWEEN = [Pair(0, (0, 0), (0, 1)), Pair(1, (0, 0), (1, 0)), Pair(2, (1, -1), (-1, 1)), Pair(0, (-2, 0), (1, 2))]


def random(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).random(shape).astype(dtype)


def soft(shape, bins, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    lower, upper = rng.integers(0, bins, (2, *shape)).astype(np.int32)
    return blade_tf.SoftSelection(tf.constant(lower), tf.constant(upper), tf.constant(rng.random(shape).astype(dtype)))


def exchange_by_loops(u, c, couplings):
    """The definition, pixel by pixel."""
    count, height, width, _ = u.shape
    change = np.zeros_like(u)
    for n in range(count):
        found = []
        for pair, y, x in itertools.product(couplings, range(height), range(width)):
            i, j = ((y + dy, x + dx) for dy, dx in (pair.a, pair.b))
            if all(0 <= p < height and 0 <= q < width for p, q in (i, j)):
                found.append((c[n, pair.plane, y, x], i, j))
        total = np.zeros((height, width))
        for conductance, i, j in found:
            total[i] += conductance
            total[j] += conductance
        limit = 1 / np.maximum(total, 1)
        for conductance, i, j in found:
            flow = conductance * min(limit[i], limit[j]) * (u[n][j] - u[n][i])
            change[n][i] += flow
            change[n][j] -= flow
    return change


@EVERY
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", [0.05, 0.8], ids=["free", "limited"])
def test_exchange_is_its_definition(implementation, channels, scale):
    u, c = random(2, 6, 7, channels), scale * random(2, 3, 6, 7, seed=1)
    with blade_tf.implementation(implementation):
        np.testing.assert_allclose(blade_exchange(u, c, BETWEEN), exchange_by_loops(u, c, BETWEEN), atol=1e-15)


@EVERY
def test_a_single_pair_moves_what_its_conductance_says(implementation):
    u = np.array([[[[0.0], [1.0], [5.0]]]])
    c = np.array([[[[0.25, 0.0, 9.0]]]])  # the last one leaves the image
    with blade_tf.implementation(implementation):
        change = blade_exchange(u, c, [Pair(0, (0, 0), (0, 1))])
    np.testing.assert_array_equal(change[0, 0, :, 0], [0.25, -0.25, 0.0])


@EVERY
def test_a_limit_divides_by_the_sum_of_the_conductances(implementation):
    u = np.array([[[[0.0], [1.0], [0.0]]]])
    c = np.array([[[[3.0, 1.0, 0.0]]]])
    with blade_tf.implementation(implementation):
        change = blade_exchange(u, c, [Pair(0, (0, 0), (0, 1))])
    np.testing.assert_allclose(change[0, 0, :, 0], [0.75, -1.0, 0.25], rtol=1e-15)


@EVERY
@pytest.mark.parametrize("shape", [(0, 4, 4, 1), (1, 0, 4, 1), (1, 4, 0, 2), (2, 1, 1, 1), (1, 2, 1, 1)])
def test_exchange_of_small_and_empty_images(implementation, shape):
    u = np.ones(shape, np.float32)
    c = np.ones((shape[0], 3, *shape[1:3]), np.float32)
    with blade_tf.implementation(implementation):
        np.testing.assert_array_equal(blade_exchange(u, c, BETWEEN), np.zeros(shape))


@pytest.mark.skipif(native.library is None, reason="not built")
@pytest.mark.parametrize("scale", [0.05, 0.6])
@pytest.mark.parametrize("channels", [1, 2])
def test_exchange_gradients_agree_with_numeric_ones(scale, channels):
    u, c, g = random(1, 5, 4, channels), scale * random(1, 3, 5, 4, seed=1), random(1, 5, 4, channels, seed=2)
    theory, numeric = tf.test.compute_gradient(lambda u, c: g * blade_exchange(u, c, BETWEEN), [u, c], delta=1e-6)
    for a, b in zip(theory, numeric, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-8)


@pytest.mark.skipif(native.library is None, reason="not built")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_native_and_stock_gradients_agree(dtype):
    u, c, g = random(2, 9, 20, 2, dtype=dtype), 0.4 * random(2, 22, 9, 20, seed=1, dtype=dtype), random(2, 9, 20, 2)
    found = []
    for name in ("native", "stock"):
        with blade_tf.implementation(name), tf.GradientTape() as tape:
            u, c = tf.constant(u), tf.constant(c)
            tape.watch([u, c])
            value = tf.reduce_sum(blade_exchange(u, c, pairs.geometry(44).pairs) * g.astype(dtype))
        found.append(tape.gradient(value, [u, c]))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6 if dtype == np.float32 else 1e-14)


@pytest.mark.skipif(native.library is None, reason="not built")
def test_lookup_gradients_agree_with_numeric_ones():
    table, chosen = random(5, 3), soft((2, 3, 4), 5)
    g = random(2, 3, 3, 4, seed=3)

    def lookup(table, weight):
        return g * blade_lookup(table, chosen._replace(weight=weight))

    theory, numeric = tf.test.compute_gradient(lookup, [table, chosen.weight], delta=1e-6)
    for a, b in zip(theory, numeric, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-8)


@EVERY
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lookup_interpolates_rows_of_the_table(implementation, dtype):
    table, chosen = random(6, 4, dtype=dtype), soft((2, 5, 37), 6, dtype=dtype)
    w = chosen.weight.numpy()[..., np.newaxis]
    expected = (1 - w) * table[chosen.lower.numpy()] + w * table[chosen.upper.numpy()]
    with blade_tf.implementation(implementation):
        np.testing.assert_allclose(
            blade_lookup(table, chosen), expected.transpose(0, 3, 1, 2), rtol=0, atol=2 * np.finfo(dtype).eps
        )
        np.testing.assert_array_equal(blade_lookup(table, chosen.lower), table[chosen.lower].transpose(0, 3, 1, 2))


@pytest.mark.skipif(native.library is None, reason="not built")
@pytest.mark.parametrize("part", ["lower", "upper"])
@pytest.mark.parametrize("value", [-1, 6])
def test_a_selection_out_of_range_is_named(part, value):
    chosen = soft((2, 3, 4), 6)
    wrong = getattr(chosen, part).numpy()
    wrong[1, 2, 3] = value
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=rf"expected values in \[0, 6\), got {value} at \[1, 2, 3\]"
    ):
        blade_lookup(random(6, 2), chosen._replace(**{part: wrong}))


@pytest.mark.skipif(native.library is None, reason="not built")
def test_the_first_of_many_rows_with_selections_out_of_range_is_named():
    chosen = soft((4, 300, 200), 6)
    lower, upper = chosen.lower.numpy(), chosen.upper.numpy()
    upper[1, 7, 150], lower[1, 8, 3], upper[0, 299, 9], lower[3] = 9, 8, 7, -1
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"got 7 at \[0, 299, 9\]"):
        blade_lookup(random(6, 2), chosen._replace(lower=lower, upper=upper))


def test_bad_arguments_are_named():
    u, c = random(1, 4, 4, 1), random(1, 2, 4, 4)
    with pytest.raises(TypeError, match=r"image: expected float32 or float64 \[N, H, W, C\], got float16"):
        blade_exchange(u.astype(np.float16), c, BETWEEN[:2])
    with pytest.raises(TypeError, match="conductance: expected float64 like the image, got float32"):
        blade_exchange(u, c.astype(np.float32), BETWEEN[:2])
    with pytest.raises(ValueError, match=r"conductance: expected \[N, P, H, W\], got \(4, 4\)"):
        blade_exchange(u, c[0, 0], BETWEEN[:2])
    with pytest.raises(ValueError, match="pairs: expected a plane below 2 and two different offsets"):
        blade_exchange(u, c, BETWEEN)
    with pytest.raises(ValueError, match="pairs: expected a plane below 2 and two different offsets"):
        blade_exchange(u, c, [Pair(0, (1, 1), (1, 1))])
    with pytest.raises(TypeError, match=r"table: expected float32 or float64 \[K, P\]"):
        blade_lookup(np.ones(3), np.zeros((1, 2, 2), np.int32))
    with pytest.raises(TypeError, match=r"selection: expected int32 \[N, H, W\], got int64"):
        blade_lookup(np.ones((3, 1)), np.zeros((1, 2, 2), np.int64))


@pytest.mark.skipif(native.library is None, reason="not built")
def test_sizes_that_do_not_match_are_named():
    with pytest.raises(tf.errors.InvalidArgumentError, match="conductance: expected float64"):
        blade_exchange(random(1, 4, 4, 1), random(1, 2, 4, 5), BETWEEN[:2])
    with pytest.raises(tf.errors.InvalidArgumentError, match="upper: expected"):
        pair_ops.blade_lookup(
            random(3, 2), (np.zeros((1, 2, 2), np.int32), np.zeros((1, 2, 3), np.int32), random(1, 2, 2))
        )


# The layer: nothing that it may select can break mass or range.

BINS = 24


NEIGHBOURS = pytest.mark.parametrize("neighbours", pairs.NEIGHBOURS)


@NEIGHBOURS
def test_neighbours_are_as_many_as_stated_and_lie_as_symmetrically_as_pixels(neighbours):
    found = {
        offset
        for pair in pairs.geometry(neighbours).pairs
        for offset in ((pair.b[0] - pair.a[0], pair.b[1] - pair.a[1]), (pair.a[0] - pair.b[0], pair.a[1] - pair.b[1]))
    }
    assert len(found) == neighbours
    assert found == {(y, -x) for y, x in found} == {(x, y) for y, x in found}


def random_layer(seed, spread=3.0, neighbours=28):
    rng = np.random.default_rng(seed)
    layer = blade_tf.BladePairs(BINS, BINS, dt=0.5, neighbours=neighbours)
    layer.face.assign(spread * rng.standard_normal(layer.face.shape) - 1)
    layer.node.assign(spread * rng.standard_normal(layer.node.shape) - 1)
    return layer


def adversarial(name, height=17, width=23):
    y, x = np.mgrid[:height, :width]
    return {
        "noise": random(height, width),
        "checkerboard": ((x + y) % 2).astype(float),
        "stripes": (x % 2).astype(float),
        "step": (x > width // 2).astype(float),
        "peak": ((x == 5) & (y == 7)).astype(float),
        "huge": 1e6 * random(height, width),
    }[name][np.newaxis, ..., np.newaxis].astype(np.float32)


@pytest.mark.parametrize("name", ["noise", "checkerboard", "stripes", "step", "peak", "huge"])
@pytest.mark.parametrize(("part", "neighbours"), [(1.0, 28), (0.3, 28), (1.0, 44)])
def test_mass_and_range_withstand_random_banks_and_selections(name, part, neighbours):
    layer, first = random_layer(1, neighbours=neighbours), adversarial(name)
    u, scale = tf.constant(first), first.max()

    @tf.function
    def advance(u, *chosen):
        return u + part * layer.dt * layer(u, *chosen)

    selections = [soft(first.shape[:3], BINS, seed, np.float32) for seed in range(31)]
    for step in range(300):
        u = advance(u, *(selections[(step * k) % 31] for k in (1, 2, 3)))
    assert np.abs(u - first).max() > 0.1 * scale
    assert u.numpy().max() <= first.max() + 1e-5 * scale
    assert u.numpy().min() >= first.min() - 1e-5 * scale
    drift = u.numpy().mean(dtype=np.float64) - first.mean(dtype=np.float64)
    assert abs(drift) <= 1e-6 * scale


def test_a_step_beyond_the_bound_does_break_the_range():
    layer, u = random_layer(1), adversarial("checkerboard")
    chosen = [tf.zeros(u.shape[:3], tf.int32)] * 3
    layer.face.assign(np.tile([[2.0, -9, -9, -9]], (BINS, 1)))
    layer.node.assign(np.full((BINS, 6), -9.0))
    inside, beyond = (u + part * layer.dt * layer(u, *chosen) for part in (1.0, 1.5))
    assert inside.numpy().max() <= 1 + 1e-6
    assert beyond.numpy().max() > 1.1 or beyond.numpy().min() < -0.1


@NEIGHBOURS
def test_the_layer_commutes_with_transposition(neighbours):
    layer, u = random_layer(2, neighbours=neighbours), random(1, 9, 12, 1, dtype=np.float32)
    x, y, node = (soft((1, 9, 12), BINS, seed, np.float32) for seed in range(3))

    def turned(chosen):
        return blade_tf.SoftSelection(*(tf.transpose(part, [0, 2, 1]) for part in chosen))

    # The two diagonals of a pixel exchange their places with the transposition.
    wide = neighbours == 44
    layer.node.assign(tf.gather(layer.node, [0, 0, 2, 2, *([4, 4, 4, 4, 8, 8] if wide else [4, 4])], axis=1))
    layer.face.assign(tf.gather(layer.face, [0, 1, 1, 3, *([4, 4] if wide else [])], axis=1))
    rate = layer(u, x, y, node).numpy()
    across = layer(u.transpose(0, 2, 1, 3), turned(y), turned(x), turned(node)).numpy()
    np.testing.assert_allclose(across.transpose(0, 2, 1, 3), rate, atol=2e-5)


def test_the_layer_round_trips_through_its_config():
    layer = random_layer(3, neighbours=44)
    copy = blade_tf.BladePairs.from_config(layer.get_config())
    assert (copy.face_bins, copy.node_bins, copy.dt, copy.neighbours) == (BINS, BINS, 0.5, 44)
    np.testing.assert_allclose(np.exp(copy.face), 0.02, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1, 1.0), "face_bins: expected an integer of at least 1, got 0"),
        ((1, 2.5, 1.0), "node_bins: expected an integer of at least 1, got 2.5"),
        ((1, 1, 0.0), "dt: expected a positive number, got 0.0"),
        ((1, 1, 1.0, 30), r"neighbours: expected one of \(28, 44\), got 30"),
    ],
)
def test_bad_layers_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        blade_tf.BladePairs(*arguments)
