import itertools
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

import blade_tf
from blade_tf import flux, native

needs_native = pytest.mark.skipif(native.library is None, reason="blade_tf was installed without its native library")
BOTH = pytest.mark.parametrize("implementation", [pytest.param("native", marks=needs_native), "stock"], indirect=True)
FORMS = pytest.mark.parametrize(
    ("tied", "antisymmetric", "banks"), list(itertools.product([True, False], [True, False], [1, 2]))
)


class Soft(NamedTuple):
    lower: np.ndarray
    upper: np.ndarray
    weight: np.ndarray


@pytest.fixture
def implementation(request):
    with blade_tf.implementation(request.param):
        yield request.param


def selections(shape, filters, soft=False, seed=1):
    """Those of the x-faces and of the y-faces, all random."""
    rng = np.random.default_rng(seed)
    hard = [rng.integers(0, filters, shape[:3]).astype(np.int32) for _ in range(4)]
    if not soft:
        return hard[:2]
    return [Soft(*pair, rng.random(shape[:3])) for pair in (hard[:2], hard[2:])]


def random_layer(*arguments, scale=1.0, **options):
    """A float64 layer with random weights."""
    layer = blade_tf.BladeFlux(*arguments, **{"dtype": "float64"} | options)
    rng = np.random.default_rng(0)
    for weight in layer.trainable_weights:
        weight.assign(scale * rng.standard_normal(weight.shape))
    return layer


def of_soft(values, selection):
    """values[selection] for each entry of a selection, interpolated for a soft one."""
    if not isinstance(selection, tuple):
        return values[selection]
    w = selection.weight.reshape(selection.weight.shape + (1,) * (values.ndim - 1))
    return (1 - w) * values[selection.lower] + w * values[selection.upper]


def oracle(images, filters_x, filters_y, selection_x, selection_y):
    """Eqs 3.14-3.16 pixel by pixel; hx [K, banks, R, S] and hy [K, banks, S, R]."""
    n, h, w, channels = images[0].shape
    flux_x, flux_y = np.zeros((n, h, w - 1, channels)), np.zeros((n, h - 1, w, channels))
    for chosen, out, bank in ((selection_x, flux_x, filters_x), (selection_y, flux_y, filters_y)):
        rows, columns = bank.shape[2:]
        picked = of_soft(bank, chosen)
        for i, y, x in np.ndindex(out.shape[:3]):
            for b, r, s in np.ndindex(*bank.shape[1:]):
                v = np.clip(y + r - (rows - 1) // 2, 0, h - 1)
                u = np.clip(x + s - (columns - 1) // 2, 0, w - 1)
                out[i, y, x] += picked[i, y, x, b, r, s] * images[b][i, v, u]
    rate = np.zeros(images[0].shape)
    rate[:, :, :-1] += flux_x
    rate[:, :, 1:] -= flux_x
    rate[:, :-1] += flux_y
    rate[:, 1:] -= flux_y
    return rate


@BOTH
@FORMS
@pytest.mark.parametrize("soft", [False, True])
def test_rate_is_the_difference_of_face_centred_filters(implementation, tied, antisymmetric, banks, soft):
    layer = random_layer(5, (3, 4), banks, tied, antisymmetric)
    shape = (2, 5, 6, 2)
    images = list(np.random.default_rng(2).standard_normal((banks, *shape)))
    chosen = selections(shape, 5, soft)
    filters = [x.numpy() for x in layer.face_filters()]
    assert [x.shape for x in filters] == [(5, banks, 3, 4), (5, banks, 4, 3)]
    expected = oracle(images, *filters, *chosen)
    found = layer(images if banks > 1 else images[0], *chosen)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert len(layer.trainable_weights) == (1 if tied else 2)


def test_footprint_covers_two_columns_before_the_face_and_three_after_it():
    image = np.arange(1.0, 9.0).reshape(1, 1, 8, 1) ** 3
    none = np.zeros((1, 1, 8), np.int32)
    for tap in range(6):
        layer = blade_tf.BladeFlux(1, (1, 6), antisymmetric=False, dtype="float64")
        layer.filters.assign(np.eye(6)[tap].reshape(1, 1, 1, 6))
        flux_x, _ = layer.fluxes(image, none, none)
        np.testing.assert_array_equal(flux_x[0, 0, :, 0], image[0, 0, np.clip(np.arange(8) + tap - 2, 0, 7), 0])


def test_antisymmetric_filters_are_differences_of_mirrored_pixels():
    half = np.random.default_rng(0).standard_normal((4, 2, 5, 3))
    full = flux.antisymmetric_filters(half).numpy()
    assert full.shape == (4, 2, 5, 6)
    patch = np.random.default_rng(1).standard_normal((5, 6))
    differences = patch[::-1, ::-1] - patch
    np.testing.assert_allclose((full * patch).sum((2, 3)), (half * differences[:, :3]).sum((2, 3)), rtol=1e-13)
    # A pair's two values are each other's negative, bit for bit: they sum to zero in any precision.
    np.testing.assert_array_equal(full[..., ::-1, ::-1], -full)


def test_five_point_laplacian():
    """One pair around each face: its flux is the derivative, and the rate the Laplacian with zero-flux boundaries."""
    image = np.random.default_rng(0).integers(-9, 9, (2, 7, 9, 3)).astype(np.float32)
    none = np.zeros((2, 7, 9), np.int32)
    layer = blade_tf.BladeFlux(1)
    half = np.zeros((1, 1, 5, 3), np.float32)
    half[0, 0, 2, 2] = 1
    layer.filters.assign(half)
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)), "edge")
    neighbours = padded[:, 2:, 1:-1] + padded[:, :-2, 1:-1] + padded[:, 1:-1, 2:] + padded[:, 1:-1, :-2]
    np.testing.assert_array_equal(layer(image, none, none), neighbours - 4 * image)


@BOTH
def test_linear_images_have_constant_fluxes_and_constants_none(implementation):
    """On u = a x + b y every face sees the same differences, at least where the border is out of sight."""
    layer = random_layer(1)
    y, x = np.mgrid[:12.0, :15.0]
    none = np.zeros((1, 12, 15), np.int32)
    image = (0.7 * x - 0.3 * y)[np.newaxis, ..., np.newaxis]
    flux_x, flux_y = layer.fluxes(image, none, none)
    half = layer.filters.numpy()[0, 0]
    r, s = np.mgrid[:5, :3]
    # From the near pixel (r - 2, s - 2) to its mirror image (2 - r, 3 - s) in rows and columns.
    across, along = np.sum(half * (5 - 2 * s)), np.sum(half * (4 - 2 * r))
    np.testing.assert_allclose(flux_x[0, 2:-2, 2:-3], 0.7 * across - 0.3 * along, rtol=0, atol=1e-12)
    np.testing.assert_allclose(flux_y[0, 2:-3, 2:-2], -0.3 * across + 0.7 * along, rtol=0, atol=1e-12)
    np.testing.assert_allclose(layer(image, none, none)[0, 3:-3, 3:-3], 0, atol=1e-12)
    rate = random_layer(9)(np.full((2, 6, 7, 1), 0.3), *selections((2, 6, 7), 9))
    np.testing.assert_allclose(rate, np.zeros((2, 6, 7, 1)), atol=1e-14)


@pytest.mark.parametrize(("antisymmetric", "soft"), [(True, False), (False, True)])
def test_mass_stays_for_300_steps(antisymmetric, soft):
    """Float32, a diffusion that is disturbed at random, and selections that are drawn anew for each step."""
    layer = random_layer(20, (5, 6), 2, False, antisymmetric, scale=0.02, dtype="float32")
    nearest = np.zeros(layer.filters_x.shape)
    nearest[:, 0, 2, 2:4] = [0.1] if antisymmetric else [-0.1, 0.1]
    for weight in layer.trainable_weights:
        weight.assign_add(nearest)
    image = np.random.default_rng(0).random((2, 24, 31, 2)).astype(np.float32)
    before = image.sum((1, 2), dtype=np.float64)
    u = tf.constant(image)

    @tf.function
    def step(u, chosen):
        return u + layer([u, tf.sin(9 * u)], *chosen)

    for k in range(300):
        u = step(u, [tf.nest.map_structure(tf.constant, x) for x in selections(u.shape, 20, soft, seed=k)])
    assert np.all(np.isfinite(u))
    assert np.abs(u - image).mean() > 0.01
    drift = u.numpy().sum((1, 2), dtype=np.float64) - before
    np.testing.assert_allclose(drift / before, np.zeros((2, 2)), atol=1e-6)


def test_nothing_flows_through_the_border():
    """A step of 1 that fills one half stays within it when the faces between the halves are closed."""
    layer = random_layer(2)
    layer.filters.assign(layer.filters.numpy() * np.array([0.0, 1.0]).reshape(2, 1, 1, 1))
    image = np.random.default_rng(1).standard_normal((1, 10, 12, 1))
    x, y = np.ones((1, 10, 12), np.int32), np.ones((1, 10, 12), np.int32)
    x[:, :, 5] = 0
    rate = layer(image, x, y).numpy()
    np.testing.assert_allclose(rate[:, :, :6].sum(), 0, atol=1e-12)
    np.testing.assert_allclose(rate[:, :, 6:].sum(), 0, atol=1e-12)
    assert np.abs(rate).max() > 1
    # What the last faces, which are the border, select makes no difference.
    x[:, :, -1] = 0
    y[:, -1] = 0
    np.testing.assert_array_equal(layer(image, x, y), rate)
    single = layer(image[:, :1, :1], x[:, :1, :1], y[:, :1, :1])
    np.testing.assert_array_equal(single, np.zeros((1, 1, 1, 1)))


@BOTH
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("antisymmetric", [False, True])
def test_tied_filters_commute_with_transposition(implementation, antisymmetric, soft):
    layer = random_layer(6, banks=2, antisymmetric=antisymmetric)
    images = list(np.random.default_rng(3).standard_normal((2, 2, 8, 11, 3)))
    x, y = selections((2, 8, 11), 6, soft)

    def transposed(selection):
        swapped = [part.swapaxes(1, 2) for part in (selection if soft else [selection])]
        return Soft(*swapped) if soft else swapped[0]

    rate = layer(images, x, y).numpy()
    other = layer([image.swapaxes(1, 2) for image in images], transposed(y), transposed(x))
    np.testing.assert_allclose(other, rate.swapaxes(1, 2), rtol=0, atol=1e-12)


def test_antisymmetric_filters_commute_with_half_a_turn():
    """Turned by 180 degrees, face (y, x + 1/2) is the one before pixel (H - 1 - y, W - 1 - x)."""
    layer = random_layer(6)
    image = np.random.default_rng(3).standard_normal((1, 8, 11, 1))
    x, y = selections((1, 8, 11), 6)
    turned_x, turned_y = (np.roll(s[:, ::-1, ::-1], -1, axis) for s, axis in ((x, 2), (y, 1)))
    rate = layer(image, x, y).numpy()
    np.testing.assert_allclose(layer(image[:, ::-1, ::-1], turned_x, turned_y), rate[:, ::-1, ::-1], rtol=0, atol=1e-12)


def test_untied_layers_with_equal_weights_are_tied():
    tied, untied = random_layer(6), random_layer(6, tied=False)
    for weight in (untied.filters_x, untied.filters_y):
        weight.assign(tied.filters)
    image = np.random.default_rng(3).standard_normal((1, 8, 11, 1))
    chosen = selections((1, 8, 11), 6)
    np.testing.assert_array_equal(untied(image, *chosen), tied(image, *chosen))
    untied.filters_y.assign(2 * untied.filters_y)
    np.testing.assert_array_equal(untied.fluxes(image, *chosen)[1], 2 * tied.fluxes(image, *chosen)[1])
    np.testing.assert_array_equal(untied.fluxes(image, *chosen)[0], tied.fluxes(image, *chosen)[0])


@BOTH
@FORMS
@pytest.mark.parametrize("soft", [False, True])
def test_gradients_agree_with_differences(implementation, tied, antisymmetric, banks, soft):
    """The rate is linear in each image, in the weights and in the soft weights: central differences are exact."""
    layer = random_layer(3, (3, 4), banks, tied, antisymmetric)
    shape = (1, 4, 5, 2)
    rng = np.random.default_rng(4)
    images = [tf.constant(rng.standard_normal(shape)) for _ in range(banks)]
    chosen = [tf.nest.map_structure(tf.constant, s) for s in selections(shape, 3, soft)]
    cotangent = tf.constant(rng.standard_normal(shape))
    weights = [s.weight for s in chosen] if soft else []

    def loss(images, weights):
        given = [s._replace(weight=w) for s, w in zip(chosen, weights, strict=True)] if soft else chosen
        return tf.reduce_sum(layer(images, *given) * cotangent)

    with tf.GradientTape() as tape:
        tape.watch([images, weights])
        value = loss(images, weights)
    variables = layer.trainable_variables
    by_images, by_weights, by_variables = tape.gradient(value, [images, weights, variables])

    for sources, found in ((images, by_images), (weights, by_weights), (variables, by_variables)):
        for i, gradient in enumerate(found):
            direction = tf.constant(rng.standard_normal(gradient.shape))
            losses = []
            for sign in (1, -1):
                if sources is variables:
                    before = variables[i].numpy()
                    variables[i].assign(before + sign * direction)
                    losses.append(loss(images, weights))
                    variables[i].assign(before)
                else:
                    moved = [s + sign * direction if j == i else s for j, s in enumerate(sources)]
                    losses.append(loss(moved, weights) if sources is images else loss(images, moved))
            expected = (losses[0] - losses[1]) / 2
            np.testing.assert_allclose(tf.reduce_sum(gradient * direction), expected, rtol=1e-9, atol=1e-11)


@BOTH
def test_second_derivatives_and_forward_mode(implementation):
    """Of |rate|^2 / 2, a quadratic function of the image: its Hessian maps d to a difference of gradients."""
    layer = random_layer(3, (3, 4))
    image, direction = (tf.constant(x) for x in np.random.default_rng(4).standard_normal((2, 1, 5, 6, 2)))
    chosen = selections(image.shape, 3)

    def gradient(u):
        with tf.GradientTape() as tape:
            tape.watch(u)
            loss = tf.nn.l2_loss(layer(u, *chosen))
        return tape.gradient(loss, u)

    with tf.GradientTape() as tape:
        tape.watch(image)
        along = tf.reduce_sum(gradient(image) * direction)
    expected = gradient(image + direction) - gradient(image)
    np.testing.assert_allclose(tape.gradient(along, image), expected, rtol=0, atol=1e-11)
    with tf.autodiff.ForwardAccumulator(image, direction) as accumulator:
        rate = layer(image, *chosen)
    np.testing.assert_allclose(accumulator.jvp(rate), layer(direction, *chosen), rtol=0, atol=1e-12)


@needs_native
@pytest.mark.parametrize("soft", [False, True])
def test_native_and_stock_agree(soft):
    layer = random_layer(30, banks=2, dtype="float32")
    images = list(np.random.default_rng(0).standard_normal((2, 2, 20, 40, 3)).astype(np.float32))
    chosen = selections((2, 20, 40), 30, soft)
    found = layer(images, *chosen)
    with blade_tf.implementation("stock"):
        np.testing.assert_allclose(found, layer(images, *chosen), rtol=0, atol=3e-5)


@pytest.mark.parametrize("soft", [False, True])
def test_saved_models_of_open_sizes_are_the_same(soft, tmp_path):
    layer = random_layer(5, banks=2, tied=False, dtype="float32", name="flux_of_mine")
    images = [keras.Input((None, None, 1)) for _ in range(2)]
    indices = [keras.Input((None, None), dtype="int32") for _ in range(2)]
    weight = keras.Input((None, None))
    chosen = Soft(*indices, weight) if soft else indices[0]
    model = keras.Model([*images, *indices, weight], layer(images, chosen, indices[1]))
    assert model.output_shape == (None, None, None, 1)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    arrays = list(np.random.default_rng(0).standard_normal((2, 2, 7, 8, 1)).astype(np.float32))
    x, y = selections((2, 7, 8), 5)
    w = np.random.default_rng(1).random((2, 7, 8)).astype(np.float32)
    expected = layer(arrays, Soft(x, y, w) if soft else x, y)
    np.testing.assert_allclose(model([*arrays, x, y, w]), expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(loaded([*arrays, x, y, w]), model([*arrays, x, y, w]))


def test_fit_recovers_planted_filters():
    """Linear least squares with a unique solution among antisymmetric filters."""
    image = np.random.default_rng(1).standard_normal((4, 24, 24, 1)).astype(np.float32)
    chosen = selections(image.shape, 3)
    planted = random_layer(3, (3, 2), dtype="float32")
    target = planted(image, *chosen).numpy()
    layer = blade_tf.BladeFlux(3, (3, 2))
    inputs = [keras.Input((24, 24, 1)), *(keras.Input((24, 24), dtype="int32") for _ in range(2))]
    model = keras.Model(inputs, layer(*inputs))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    history = model.fit([image, *chosen], target, batch_size=4, epochs=40, verbose=0).history["loss"]
    assert history[-1] < 1e-9 < history[0]
    np.testing.assert_allclose(layer.filters, planted.filters, atol=1e-4)


@pytest.mark.parametrize(("policy", "dtype"), [("mixed_float16", "float16"), ("mixed_bfloat16", "bfloat16")])
@pytest.mark.parametrize("soft", [False, True])
def test_mixed_precision(policy, dtype, soft):
    layer = random_layer(5, banks=2, dtype=policy)
    assert layer.filters.dtype == "float32"
    images = list(np.random.default_rng(0).standard_normal((2, 1, 7, 8, 1)).astype(np.float32))
    chosen = selections((1, 7, 8), 5, soft)
    rate = layer(images, *chosen)
    assert rate.dtype == dtype
    exact = random_layer(5, banks=2)(images, *chosen).numpy()
    roundoff = 2.0**-11 if dtype == "float16" else 2.0**-8
    # The filters, the images, four fluxes and their differences are rounded.
    np.testing.assert_allclose(tf.cast(rate, tf.float64), exact, rtol=0, atol=4 * roundoff * np.abs(exact).max())
    spec = [[keras.Input((None, None, 1)) for _ in range(2)], *(keras.Input((None, None), dtype="int32") for _ in "xy")]
    assert layer(*spec).dtype == dtype


def test_config_round_trip():
    layer = blade_tf.BladeFlux(
        6,
        (3, 2),
        banks=2,
        tied=False,
        antisymmetric=False,
        filters_initializer=keras.initializers.RandomNormal(seed=3),
        filters_regularizer=keras.regularizers.L2(0.25),
        filters_constraint="max_norm",
        name="flux_of_mine",
        dtype="mixed_float16",
    )
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.get_config() == layer.get_config()
    assert (copy.num_filters, copy.footprint, copy.banks, copy.name) == (6, (3, 2), 2, "flux_of_mine")
    assert (copy.tied, copy.antisymmetric, copy.dtype_policy.name) == (False, False, "mixed_float16")
    np.testing.assert_array_equal(copy.filters_y, layer.filters_y)
    total = np.sum(layer.filters_x.numpy() ** 2) + np.sum(layer.filters_y.numpy() ** 2)
    np.testing.assert_allclose(sum(copy.losses), 0.25 * total, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_filters": 0}, "num_filters: expected an integer of at least 1, got 0"),
        ({"banks": 0}, "banks: expected an integer of at least 1, got 0"),
        ({"footprint": (5, 5)}, r"footprint: expected an odd and an even size, got \(5, 5\)"),
        ({"footprint": (4, 6)}, r"footprint: expected an odd and an even size, got \(4, 6\)"),
        ({"footprint": (5, 0)}, r"footprint: expected an odd and an even size, got \(5, 0\)"),
        ({"footprint": (5,)}, r"footprint: expected an odd and an even size, got \(5,\)"),
    ],
)
def test_arguments_that_make_no_sense(arguments, message):
    with pytest.raises(ValueError, match=message):
        blade_tf.BladeFlux(**{"num_filters": 1} | arguments)


def test_inputs_that_do_not_fit():
    layer = blade_tf.BladeFlux(2, banks=2)
    image, chosen = np.zeros((1, 4, 5, 3), np.float32), np.zeros((1, 4, 5), np.int32)
    with pytest.raises(ValueError, match="images: expected 2, one for each bank, got 1"):
        layer(image, chosen, chosen)
    with pytest.raises(ValueError, match=r"images: expected .* = \[1, 4, 5, 3\], got float32 \[1, 4, 5, 1\]"):
        layer([image, image[..., :1]], chosen, chosen)
    with pytest.raises(TypeError, match="images: expected float32 like the first, got float64"):
        layer.fluxes([image, image.astype(np.float64)], chosen, chosen)
    with pytest.raises(TypeError, match="selection: expected int32"):
        layer([image, image], chosen.astype(np.int64), chosen)
    with pytest.raises(tf.errors.InvalidArgumentError, match="selection: expected values in"):
        layer([image, image], chosen, chosen + 2)
    with pytest.raises(
        ValueError, match=r"weight: expected float32 \[N, H, W\] = \[1, 4, 5\], got float32 \[1, 4, 1\]"
    ):
        layer([image, image], chosen, Soft(chosen, chosen, image[:, :, :1, 0]))

    graph = tf.function(layer.fluxes).get_concrete_function(
        [tf.TensorSpec([None] * 4), tf.TensorSpec([None] * 4)], *[tf.TensorSpec([None] * 3, tf.int32)] * 2
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="images: expected"):
        graph(tf.constant(image), tf.constant(image[..., :1]), tf.constant(chosen), tf.constant(chosen))


def test_symbolic_inputs_that_do_not_fit():
    layer, image = blade_tf.BladeFlux(2), keras.Input((None, None, 1))
    chosen, weight = keras.Input((None, None), dtype="int32"), keras.Input((None, None))
    with pytest.raises(ValueError, match=r"images: expected \[N, H, W, C\], got \[None, None, None\]"):
        layer(weight, chosen, chosen)
    with pytest.raises(ValueError, match="images: expected 1, one for each bank, got 2"):
        layer([image, image], chosen, chosen)
    with pytest.raises(ValueError, match=r"selection_y: expected int32 \[N, H, W\], got float32"):
        layer(image, chosen, weight)
    with pytest.raises(ValueError, match=r"selection_x: expected a float weight \[N, H, W\], got int32"):
        layer(image, Soft(chosen, chosen, chosen), chosen)
