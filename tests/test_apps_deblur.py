import gc
import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.ndimage
import skimage.data
import tensorflow as tf

import blade_tf
from blade_tf import image_io, metrics, models, operators
from blade_tf.apps import deblur, folded, kernels, noise, restoration, stages

RNG = np.random.default_rng(0)
GAUSSIAN = kernels.gaussian(1.0)
PHOTOGRAPH = skimage.data.camera()[150:230, 200:300, np.newaxis].astype(np.float32) / 255
COLOUR = skimage.data.astronaut()[:60, 190:270].astype(np.float32) / 255


def degraded(image, kernel=None, level=5 / 255, seed=0):
    f = image[np.newaxis] if kernel is None else operators.blur(kernel)(image[np.newaxis]).numpy()
    return (f + np.random.default_rng(seed).normal(0, level, f.shape)).astype(image.dtype)


def psnr(u, truth):
    return float(metrics.psnr(np.asarray(u), truth[np.newaxis])[0])


def linear(matrix):
    """An operator of single images from its matrix."""

    def of(m):
        return lambda u: tf.reshape(tf.linalg.matvec(m, tf.reshape(u, [-1])), u.shape)

    return operators.Operator(of(matrix), of(matrix.T))


def heat(u):
    """The rate of the heat equation."""
    return tf.nn.depthwise_conv2d(
        blade_tf.image.pad_replicate(u, 1, 1, 1, 1),
        tf.constant([[0, 1, 0], [1, -4, 1], [0, 1, 0]], u.dtype)[:, :, None, None],
        [1] * 4,
        "VALID",
    )


# Equation 4.2


@pytest.mark.parametrize("method", ["euler", "midpoint"])
def test_a_linear_restoration_converges_to_the_solution_of_its_normal_equations(method):
    matrix, shape = np.eye(20) + RNG.normal(0, 0.05, (20, 20)), (1, 4, 5, 1)
    f, units = RNG.normal(size=shape), np.eye(20).reshape(20, 4, 5, 1)
    smoothing = heat(tf.constant(units)).numpy().reshape(20, 20)
    expected = np.linalg.solve(2 * matrix.T @ matrix - smoothing, 2 * matrix.T @ f.ravel())
    found = restoration.restore(f, linear(matrix), heat, 0.1, 2.0, 400, method=method)
    np.testing.assert_allclose(found.numpy().ravel(), expected, atol=1e-9)


def test_one_step_is_the_equation():
    model, operator, dt, weight = models.load("ced_paper"), operators.blur(GAUSSIAN), 0.5, 2.0
    f = tf.constant(degraded(PHOTOGRAPH, GAUSSIAN))
    expected = f + dt * (model.rate(f) + weight * operator.adjoint(f - operator(f)))
    np.testing.assert_allclose(restoration.restore(f, operator, model.rate, dt, weight, 1), expected, atol=1e-6)


def test_with_numbers_as_tensors_and_in_a_graph_it_is_the_same():
    rate, operator = deblur.regulariser("tv_flow").rate, operators.blur(GAUSSIAN)
    f = np.concatenate([degraded(PHOTOGRAPH, GAUSSIAN), degraded(PHOTOGRAPH[::-1], GAUSSIAN)])
    expected = restoration.restore(f, operator, rate, 0.004, 250.0, 5)

    @tf.function
    def run(f, dt, steps):
        return restoration.restore(f, operator, rate, dt, 250.0 * tf.ones([2, 1, 1, 1]), steps)

    found = run(f, tf.constant([0.004, 0.004])[:, None, None, None], tf.constant(5))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_constants_stay():
    f = np.full((1, 24, 31, 3), 0.4, np.float32)
    for kernel in (None, GAUSSIAN, kernels.motion(7, 20)):
        np.testing.assert_allclose(deblur.deblur(f, kernel, noise=5 / 255), f, atol=1e-5)


def test_the_norm_is_the_largest_singular_value():
    matrix = RNG.normal(size=(20, 20))
    found = restoration.estimated_squared_norm(linear(matrix), np.ones((1, 4, 5, 1)))
    norm = np.linalg.norm(matrix, 2) ** 2
    assert norm < found < 1.06 * norm


def test_beyond_the_limit_it_would_diverge():
    f, operator = degraded(PHOTOGRAPH), operators.identity()
    still = tf.zeros_like
    assert np.isfinite(restoration.restore(f, operator, still, 1.0, 1.9, 300)).all()
    with pytest.raises(ValueError, match=r"weight: expected less than 2 / \(dt \|\|A\|\|\^2\) = 2, .* got 2.1"):
        restoration.restore(f, operator, still, 1.0, 2.1, 300, start=0.5 * f)
    weights = tf.constant([[[[0.5]]], [[[2.1]]]])
    with pytest.raises(ValueError, match=r"weight: expected less than .* = 2, .* got 2.1"):
        restoration.restore(np.repeat(f, 2, 0), operator, still, tf.constant(1.0), weights, 300)
    unchecked = tf.function(restoration.restore, autograph=False)
    amplified = unchecked(f, operator, still, tf.constant(1.0), 2.1, 300, start=0.5 * f)
    assert np.abs(amplified).max() > 1e6


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_the_sum_of_both_shares_of_their_bounds_decides(share):
    """On a checkerboard, the fastest mode of the heat equation, whose own dt is 1/4."""
    y, x = np.mgrid[:8, :8]
    f = 0.5 + 0.5 * (-1.0) ** (y + x)[np.newaxis, ..., np.newaxis]
    dt = share / 4

    def largest(pull):
        return np.abs(restoration.restore(f, operators.identity(), heat, dt, pull / dt, 300, start=0.8 * f)).max()

    assert largest(max(2 * (1 - share), 1e-3)) < 2
    assert largest(2 * (1 - share) + 0.3) > 1e6


# What it is for


def test_deblurring_denoising_and_inpainting_gain():
    for kernel, level, gain in (
        (GAUSSIAN, 5 / 255, 1.5),
        (None, 15 / 255, 5),
        (None, 25 / 255, 6.5),
        (GAUSSIAN, 2 / 255, 2),
    ):
        f = degraded(PHOTOGRAPH, kernel, level)
        assert psnr(deblur.deblur(f, kernel, noise=level), PHOTOGRAPH) > psnr(f, PHOTOGRAPH) + gain
    known = RNG.random(PHOTOGRAPH.shape) < 0.5
    holes = np.where(known, PHOTOGRAPH, np.nan)[np.newaxis]
    filled = deblur.deblur(holes, known=known)
    assert psnr(filled, PHOTOGRAPH) > psnr(deblur.fill(holes, known), PHOTOGRAPH) + 0.5
    blurred = np.where(known, degraded(PHOTOGRAPH, GAUSSIAN, 1 / 255), 0)
    assert (
        psnr(deblur.deblur(blurred, GAUSSIAN, known, 1 / 255), PHOTOGRAPH)
        > psnr(deblur.fill(blurred, known), PHOTOGRAPH) + 1
    )


def test_the_papers_setting_gains():
    f = degraded(PHOTOGRAPH, GAUSSIAN)
    assert psnr(deblur.deblur(f, GAUSSIAN, settings=deblur.PAPER), PHOTOGRAPH) > psnr(f, PHOTOGRAPH) + 1


def test_gray_and_the_same_in_colour():
    f = degraded(PHOTOGRAPH, GAUSSIAN)
    for settings in (deblur.Settings(), deblur.Settings("ced", steps=5)):
        gray = deblur.deblur(f, GAUSSIAN, noise=5 / 255, settings=settings)
        colour = deblur.deblur(np.repeat(f, 3, -1), GAUSSIAN, noise=5 / 255, settings=settings)
        np.testing.assert_allclose(colour, np.repeat(gray, 3, -1), atol=2e-3)
        assert np.mean(np.abs(colour - gray)) < 1e-5
    f = degraded(COLOUR, GAUSSIAN)
    assert psnr(deblur.deblur(f, GAUSSIAN), COLOUR) > psnr(f, COLOUR) + 1


def test_each_image_of_a_batch_is_restored_by_its_own_noise_level():
    images = np.concatenate([degraded(PHOTOGRAPH, GAUSSIAN, level / 255) for level in (1, 10)])
    together = deblur.deblur(images, GAUSSIAN)
    for image, expected in zip(images, together, strict=True):
        found = deblur.deblur(image[np.newaxis], GAUSSIAN, settings=deblur.Settings("perona_malik"))
        # Rounding may move a pixel to another filter.
        np.testing.assert_allclose(found[0], expected, atol=1e-2)
        assert np.mean(np.abs(found[0] - expected)) < 1e-5


@pytest.mark.parametrize("told", [True, False])
def test_each_image_of_a_batch_gets_the_regulariser_that_it_gets_alone(told):
    levels = np.array([30, 5, 20], np.float32) / 255
    images = np.concatenate([degraded(PHOTOGRAPH[:40, :40], None, level, k) for k, level in enumerate(levels)])
    known = np.ones((3, 40, 40, 1), bool)
    known[1, 3] = known[2, 7] = False
    noise = levels if told else None
    dt = tf.constant([0.005, 0.5, 0.006])[:, None, None, None]
    for kernel, mask, settings in (
        (None, None, deblur.Settings()),
        (GAUSSIAN, known, deblur.Settings(steps=3)),
        (None, None, deblur.Settings(dt=dt)),
    ):
        together = deblur.deblur(images, kernel, mask, noise, settings)
        for k in range(3):
            own = settings if settings.dt is None else deblur.Settings(dt=float(dt[k, 0, 0, 0]))
            level = float(levels[k]) if told else None
            alone = deblur.deblur(images[k : k + 1], kernel, None if mask is None else mask[k : k + 1], level, own)
            np.testing.assert_allclose(together[k], alone[0], atol=1e-2)
            assert np.mean(np.abs(together[k] - alone[0])) < 1e-4
    as_list, number = (deblur.deblur(images[:1], noise=noise) for noise in ([30 / 255], 30 / 255))
    np.testing.assert_allclose(as_list, number, atol=1e-2)
    assert np.mean(np.abs(as_list - number)) < 1e-4


@pytest.mark.parametrize("name", ["ced", "ced_paper", "ced_convex"])
@pytest.mark.parametrize("kernel", [None, GAUSSIAN], ids=["denoising", "deblurring"])
def test_other_equations_stay_bounded_at_strong_noise(name, kernel):
    for level in deblur.NOISES[-2:]:
        f = degraded(PHOTOGRAPH, kernel, level / 255)
        assert deblur.tuned(level / 255, deblur._blur(kernel), name).dt <= deblur.PACE * models.load(name).dt
        found = deblur.deblur(f, kernel, noise=level / 255, settings=deblur.Settings(name, steps=100))
        assert np.abs(found).max() < 1.5
        assert psnr(found, PHOTOGRAPH) > psnr(f, PHOTOGRAPH) + 4


@pytest.mark.parametrize("name", ["cahn_hilliard", "cahn_hilliard_paper"])
def test_what_separates_phases_is_no_regulariser(name):
    settings = deblur.Settings(name)
    for call in (
        lambda: deblur.deblur(FLAT, noise=0.1, settings=settings),
        lambda: deblur.deblur(FLAT, noise=0.1, settings=deblur.Settings(name, 0.1, 1.0)),
        lambda: deblur.deblur(FLAT, known=np.ones((20, 20, 1)), settings=settings),
        lambda: deblur.export("x", regulariser=name),
    ):
        with pytest.raises(ValueError, match=f"regulariser: expected a diffusion of images, got '{name}'"):
            call()


def test_settings_for_a_number_and_for_a_tensor_agree():
    levels = [0.0, 1 / 255, 3 / 255, 0.02, 0.1, 0.5]
    together = deblur.tuned(tf.constant(levels), regulariser="tv_flow")
    for k, level in enumerate(levels):
        alone = deblur.tuned(level, regulariser="tv_flow")
        assert alone.dt == pytest.approx(float(together.dt[k, 0, 0, 0]), rel=1e-4)
        assert alone.weight == pytest.approx(float(together.weight[k, 0, 0, 0]), rel=1e-4)


def test_settings_change_with_the_width_of_the_blur():
    none, little, slight, full, wide = (deblur.tuned(5 / 255, blur) for blur in (0.0, 0.4, 0.7, 1.0, 3.0))
    assert (none, full) == (little, wide)
    assert none.dt < slight.dt < full.dt
    assert slight.dt == pytest.approx((none.dt + full.dt) / 2)
    f = degraded(PHOTOGRAPH, kernels.gaussian(0.5))
    found, blind = (
        psnr(deblur.deblur(f, kernels.gaussian(0.5), noise=5 / 255, settings=settings), PHOTOGRAPH)
        for settings in (deblur.Settings(), full)
    )
    assert found > max(blind, psnr(f, PHOTOGRAPH)) + 0.5


def test_the_width_of_kernels():
    assert kernels.width(np.outer([1, 2, 1], [1, 2, 1])) == pytest.approx(np.sqrt(0.5))
    assert kernels.width(kernels.gaussian(2.0)) == pytest.approx(2, rel=0.03)
    assert kernels.width([[0, 0, 0], [0, 0, 3]]) == 0  # a shift is no blur
    assert kernels.width([[-1, 0, 1]]) == pytest.approx(np.sqrt(0.5))


def test_a_kernel_of_another_sum_needs_another_lambda():
    f = degraded(PHOTOGRAPH, 3 * GAUSSIAN)
    expected = deblur.deblur(degraded(PHOTOGRAPH, GAUSSIAN), GAUSSIAN, noise=5 / 255)
    found = deblur.deblur(f, 3 * GAUSSIAN, noise=5 / 255, settings=deblur.Settings(steps=60))
    assert psnr(found, PHOTOGRAPH) > psnr(expected, PHOTOGRAPH) - 1


# Lambda and the noise level


@pytest.mark.parametrize("kernel", [None, GAUSSIAN], ids=["denoising", "deblurring"])
def test_the_residual_is_the_noise(kernel):
    operator = operators.identity() if kernel is None else operators.blur(kernel)
    levels = np.array([5, 15]) / 255
    f = np.concatenate([degraded(PHOTOGRAPH, kernel, level) for level in levels])
    evolution = deblur.regulariser("tv_flow")
    u, weight = restoration.balance(f, operator, evolution.rate, tf.constant(levels, tf.float32), evolution.gray.dt)
    residual = np.sqrt(np.mean((operator(u) - f) ** 2, axis=(1, 2, 3)))
    np.testing.assert_allclose(residual, levels, rtol=0.02)
    assert weight[0] > weight[1] > 0


def test_balance_in_a_graph_starts_from_a_larger_image():
    """The observed image is every second pixel of what is sought."""
    operator, start = operators.subsample(2), PHOTOGRAPH[np.newaxis, :16, :24]
    f = operator(start)
    found = [
        run(f, operator, heat, 0.05, 0.2, 1.0, 3, tf.constant(start))
        for run in (restoration.balance, tf.function(restoration.balance, autograph=False))
    ]
    assert found[0][0].shape == (1, 16, 24, 1)
    np.testing.assert_allclose(found[1][0], found[0][0], atol=1e-6)
    np.testing.assert_allclose(found[1][1], found[0][1], rtol=1e-5)


@pytest.mark.parametrize("sigma", [1, 5, 25])
def test_the_noise_level_of_a_blurred_photograph_is_found(sigma):
    f = degraded(PHOTOGRAPH, GAUSSIAN, sigma / 255)
    assert float(noise.estimate_noise(f)[0]) * 255 == pytest.approx(sigma, rel=0.1, abs=0.2)
    known = RNG.random(PHOTOGRAPH.shape) < 0.9
    hidden = np.where(known, f, np.nan)
    assert float(noise.estimate_noise(hidden, known)[0]) * 255 == pytest.approx(sigma, rel=0.1, abs=0.2)


def test_the_noise_estimate_is_that_of_scipy_and_ignores_slopes():
    laplacian = np.outer([1, -2, 1], [1, -2, 1])
    f = RNG.random((31, 44))
    responses = np.abs(scipy.ndimage.convolve(f, laplacian))[1:-1, 1:-1]
    expected = np.sort(responses, axis=None)[responses.size // 2] / (6 * 0.6745)
    assert float(noise.estimate_noise(f[None, :, :, None])[0]) == pytest.approx(expected, rel=1e-12)
    y, x = np.mgrid[:20, :30]
    assert float(noise.estimate_noise((0.1 * x + 0.3 * y)[None, :, :, None])[0]) < 1e-13


# The folded form


@pytest.mark.parametrize(
    "kernel",
    [GAUSSIAN, kernels.motion(5, 30), RNG.random((2, 4)) / 4, np.ones((1, 3)) / 3, np.ones((1, 1))],
    ids=["7x7", "motion", "2x4", "1x3", "1x1"],
)
def test_the_folded_form_is_the_unfolded_one(kernel):
    """Everywhere: the borders are part of it."""
    trained = models.load_trained("tv_flow_paper")
    select = models.load("tv_flow_paper").rates[0].selection
    blade = blade_tf.Blade(select.num_bins, dtype="float64")
    blade.filters.assign(trained.bank()["filters"])
    model = blade_tf.EvolutionModel(blade_tf.BladeRate(select, blade, dtype="float64"), dt=0.005)
    weight = 1 / (model.dt * max(1, kernel.sum()) ** 2)
    f = degraded(PHOTOGRAPH[:40, :45].astype(np.float64), kernel)
    made = folded.fold(model, kernel, weight)
    assert made.rates[0].blade.footprint == tuple(max(5, 2 * size - 1) for size in kernel.shape)
    found = made.evolve(f, 3, model.dt, extra=[folded.observed(kernel, f, weight)])
    expected = restoration.restore(f, operators.blur(kernel), model.rate, model.dt, weight, 3)
    np.testing.assert_allclose(found, expected, atol=1e-11)
    assert np.abs(expected - f).max() > 0.02
    single = folded.fold(models.load("tv_flow_paper"), kernel, weight).rate(f.astype(np.float32))
    np.testing.assert_allclose(single, made.rate(f), atol=2e-3 * np.abs(made.rate(f)).max())


# Kernels


def test_kernels():
    for kernel in (GAUSSIAN, kernels.disk(2.3), kernels.motion(6, 33)):
        assert kernel.sum() == pytest.approx(1)
        np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-15)
    assert kernels.disk(0.4).shape == (1, 1)
    np.testing.assert_allclose(kernels.disk(3) * np.pi * 9, np.minimum(kernels.disk(3) * np.pi * 9, 1.02))
    np.testing.assert_allclose(kernels.motion(3, 0), np.ones((1, 3)) / 3, atol=1e-15)
    np.testing.assert_allclose(kernels.motion(4, 90), kernels.motion(4, 0).T, atol=1e-15)
    rising = kernels.motion(9, 45)
    assert rising[0, -1] + rising[-1, 0] > rising[0, 0] + rising[-1, -1]
    np.testing.assert_array_equal(kernels.gaussian(1e-200), [[0, 0, 0], [0, 1, 0], [0, 0, 0]])
    assert kernels.gaussian(83.3).shape == kernels.disk(250).shape == (501, 501)
    assert kernels.motion(499, 0).shape == (1, 499)


def test_kernels_from_text_and_files(tmp_path):
    np.testing.assert_array_equal(kernels.parse("gaussian:1.5"), kernels.gaussian(1.5))
    np.testing.assert_array_equal(kernels.parse("disk:2"), kernels.disk(2))
    np.testing.assert_array_equal(kernels.parse("motion:7,30"), kernels.motion(7, 30))
    values = RNG.integers(0, 255, (3, 5)).astype(np.float32)
    np.save(tmp_path / "kernel.npy", values)
    image_io.write_image(tmp_path / "kernel.png", image_io.Image(values[..., np.newaxis] / 255))
    for name in ("kernel.npy", "kernel.png"):
        np.testing.assert_allclose(kernels.parse(str(tmp_path / name)), values / values.sum(), atol=1e-7)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda file: None, "kernel.npy: "),
        (lambda file: np.savez(file, np.ones((3, 3))), "kernel.npy: "),
        (lambda file: np.save(file, np.ones((3, 3), complex)), "expected real numbers, got complex128"),
        (lambda file: np.save(file, np.full((3, 3), "1")), "expected real numbers, got str"),
        (lambda file: np.save(file, np.full((3, 3), None)), "kernel.npy: Object arrays cannot be loaded"),
        (lambda file: file.write(b"PK\x03\x04 no archive"), "kernel.npy: "),
    ],
)
def test_files_that_hold_no_kernel_are_named(write, message, tmp_path):
    with (tmp_path / "kernel.npy").open("wb") as file:
        write(file)
    with pytest.raises(ValueError, match=f"^kernel: .*{message}"):
        kernels.parse(str(tmp_path / "kernel.npy"))


# Bad input

FLAT = np.ones((1, 20, 20, 1), np.float32)


def hidden(height, width):
    return np.zeros((height, width, 1), bool)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: deblur.deblur(FLAT, np.ones((21, 3))), r"kernel: expected at most the image's size, got \[21, 3\]"),
        (lambda: deblur.deblur(FLAT, noise=-0.1), r"noise: expected a standard deviation of at least 0, got -0.1"),
        (lambda: deblur.deblur(FLAT * np.nan), r"image: expected finite values"),
        (lambda: deblur.deblur(FLAT, known=hidden(20, 20)), r"known: expected at least one known pixel"),
        (lambda: deblur.deblur(FLAT, GAUSSIAN, np.eye(20)[..., None]), r"noise: expected 3 x 3 known pixels"),
        (lambda: deblur.deblur(FLAT[:, :2]), r"f: expected at least 3 x 3 pixels .* got \(1, 2, 20, 1\)"),
        (lambda: deblur.deblur(np.uint8(FLAT)), r"image: expected float \[N, H, W, C\], got uint8 \[1, 20, 20, 1\]"),
        (lambda: stages.restore(np.uint8(FLAT)), r"image: expected float \[N, H, W, C\], got uint8 \[1, 20, 20, 1\]"),
        (lambda: deblur.deblur(np.repeat(FLAT, 2, -1)), r"image: expected 1 or 3 channels, .* got 2$"),
        (lambda: deblur.deblur(FLAT, way="x"), r"way: unknown way 'x'"),
        (lambda: deblur.deblur(FLAT, settings="ced"), r"settings: expected Settings, got str"),
        (
            lambda: tf.function(lambda known: deblur.deblur(FLAT, known=known), autograph=False)(FLAT),
            r"known: expected an array, got a tensor of a graph, float32 \(1, 20, 20, 1\)",
        ),
        (lambda: deblur.deblur(FLAT, settings=deblur.Settings("ced_papr")), r"^regulariser: .* did you mean 'ced_pa"),
        (lambda: deblur.deblur(FLAT, settings=deblur.Settings(weight=0.0), noise=0.1), r"weight: .* got 0.0"),
        (lambda: deblur.deblur(FLAT, settings=deblur.Settings(dt=-1.0), noise=0.1), r"dt: .* got -1.0"),
        (
            lambda: deblur.deblur(FLAT, settings=deblur.Settings(dt=0), noise=0.1),
            r"dt: expected a positive number, got 0",
        ),
        (lambda: deblur.deblur(FLAT, known=FLAT, noise=-5), r"noise: expected a standard deviation .* got -5"),
        (
            lambda: deblur.deblur(FLAT, noise=-5, settings=deblur.Settings(dt=0.1, weight=1.0)),
            r"noise: expected a standard deviation of at least 0, got -5",
        ),
        (
            lambda: deblur.deblur(np.repeat(FLAT, 2, 0), settings=deblur.Settings(weight=1e4)),
            r"weight: expected less than 2 / \(dt \|\|A\|\|\^2\) = .*, where explicit Euler diverges, got 10000",
        ),
        (lambda: deblur.deblur(np.repeat(FLAT, 2, 0), discrepancy=True), r"noise: expected a positive level for the"),
        (
            lambda: restoration.balance(FLAT, operators.identity(), tf.zeros_like, tf.constant([0.0]), 0.1),
            r"noise: expected positive levels, got \[0.0\]",
        ),
        (
            lambda: restoration.balance(FLAT, operators.identity(), tf.zeros_like, 0.1, 0.1, tf.constant(2.1)),
            r"weight: expected less than 2",
        ),
        (
            lambda: deblur.deblur(np.repeat(FLAT, 2, 0), known=np.stack([FLAT[0], 0 * FLAT[0]])),
            r"known: expected at least one known pixel in each image and channel, got none in image 1, channel 0",
        ),
        (
            lambda: deblur.deblur(np.repeat(FLAT, 3, -1), known=[[[1, 1, 0]]]),
            r"known: expected at least one known pixel .* got none in image 0, channel 2",
        ),
        (lambda: deblur.deblur(FLAT, settings=deblur.Settings(steps=-1), noise=0.1), r"steps: .* got -1"),
        (lambda: deblur.deblur(FLAT, noise=0.0, discrepancy=True), r"noise: expected a positive level for the"),
        (
            lambda: deblur.deblur(FLAT[0], noise=0.1),
            r"image: expected float \[N, H, W, C\], got float32 \[20, 20, 1\]",
        ),
        (
            lambda: restoration.restore(FLAT, operators.identity(), tf.zeros_like, 1.0, -2.0),
            r"weight: expected a positive number, got -2.0",
        ),
        (
            lambda: restoration.restore(FLAT, operators.identity(), tf.zeros_like, 1.0, 1.0, method="rk4"),
            r"method: expected one of \['euler', 'midpoint'\], got 'rk4'",
        ),
        (lambda: folded.fold(models.load("tv_flow"), GAUSSIAN, 1.0), r"model: expected one BladeRate.*'PairsRate'"),
        (lambda: folded.fold(models.load("tv_flow_paper"), GAUSSIAN, 0), r"weight: expected a positive number, got 0"),
        (lambda: kernels.parse("gauss:1"), r"kernel: unknown shape 'gauss', did you mean 'gaussian'"),
        (lambda: kernels.parse("motion:3"), r"kernel: expected 2 numbers after motion:, got '3'"),
        (lambda: kernels.parse("disk:-3"), r"radius: expected a positive number, got -3.0"),
        (lambda: kernels.gaussian(83.4), r"sigma: expected a kernel of at most 501 pixels along each axis, got 83.4"),
        (lambda: kernels.parse("gaussian:1e300"), r"sigma: expected a kernel of at most 501 pixels .*, got 1e\+300"),
        (lambda: kernels.disk(250.6), r"radius: expected a kernel of at most 501 pixels along each axis, got 250.6"),
        (lambda: kernels.parse("motion:1.7e308,3"), r"length: expected a kernel of at most 501 .*, got 1.7e\+308"),
        (lambda: kernels.parse("missing.png"), r"missing.png: No such file"),
        (lambda: deblur.export("x", channels=2), r"channels: expected 1 or 3, got 2"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_image_of_the_kernels_size_and_no_image():
    f = np.full((1, 7, 7, 1), 0.5, np.float32)
    np.testing.assert_allclose(deblur.deblur(f, GAUSSIAN, noise=0.02), f, atol=1e-5)
    operator, rate, known = operators.identity(), tf.zeros_like, np.arange(49).reshape(7, 7, 1) > 5
    for call in (
        deblur.deblur,
        lambda f: deblur.deblur(f, GAUSSIAN, noise=0.02),
        lambda f: deblur.deblur(f, known=known),
        lambda f: deblur.deblur(f, known=f),
        lambda f: deblur.deblur(f, GAUSSIAN, known, np.zeros(len(f)), discrepancy=True),
        lambda f: deblur.fill(f, 1),
        lambda f: restoration.restore(f, operator, rate, 0.1, 1.0),
        lambda f: restoration.balance(f, operator, rate, 0.1, 0.1)[0],
        stages.restore,
        lambda f: stages.restore(f, "restoration_range"),
    ):
        assert call(f[:0]).shape == (0, 7, 7, 1)
        with pytest.raises(ValueError, match=r"(image|f): expected at least one pixel .*, got float32 \[1, 0, "):
            call(f[:, :0])


def test_a_graph_refuses_what_is_told_of_another_number_of_images(tmp_path):
    run = tf.function(
        lambda f, noise: deblur.deblur(f, noise=noise, settings=deblur.Settings(steps=1)),
        input_signature=[tf.TensorSpec([None, None, None, 1]), tf.TensorSpec([None])],
        autograph=False,
    )
    assert run(FLAT, [0.1]).shape == FLAT.shape
    with pytest.raises(tf.errors.InvalidArgumentError, match="noise: expected"):
        run(FLAT, [0.1, 0.2])
    deblur.export(tmp_path / "saved")
    for name in ("restore", "balance"):
        signature = tf.saved_model.load(str(tmp_path / "saved")).signatures[name]
        with pytest.raises(tf.errors.InvalidArgumentError, match="noise: expected"):
            signature(image=tf.constant(FLAT), noise=tf.constant([0.1, 0.2]))


def test_a_graph_of_unknown_rank_expects_images():
    run = tf.function(
        lambda f: restoration.restore(f, operators.identity(), tf.zeros_like, 0.5, 1.0, 1),
        input_signature=[tf.TensorSpec(None)],
        autograph=False,
    )
    np.testing.assert_array_equal(run(FLAT), FLAT)
    with pytest.raises(tf.errors.InvalidArgumentError, match="not compatible with expected shape"):
        run(FLAT[0])
    estimate = tf.function(noise.estimate_noise, input_signature=[tf.TensorSpec(None)], autograph=False)
    np.testing.assert_array_equal(estimate(FLAT), [0])


def test_a_model_of_ones_own_works_in_a_graph(tmp_path):
    """Twice: the graph does not lose its filters."""
    models.load_trained("ced").save(tmp_path / "own")
    f = tf.constant(degraded(PHOTOGRAPH[:32, :40]))
    settings = [deblur.Settings(name, steps=2) for name in (str(tmp_path / "own"), "ced")]
    run = tf.function(lambda f: deblur.deblur(f, noise=5 / 255, settings=settings[0]), autograph=False)
    expected = deblur.deblur(f, noise=5 / 255, settings=settings[1])
    for _ in range(2):
        np.testing.assert_allclose(run(f), expected, atol=1e-5)
        gc.collect()
    models.load_trained("tv_flow").save(tmp_path / "own")
    again = deblur.regulariser(tmp_path / "own").rate(f)
    np.testing.assert_array_equal(again, deblur.regulariser("tv_flow").rate(f))


# Exports

LOAD = """
import sys, numpy as np, tensorflow as tf
if sys.argv[4] == "portable":
    sys.modules["blade_tf"] = None  # an import would fail, also where the package is installed
else:
    import blade_tf
image = tf.constant(np.load(sys.argv[2]))
signatures = tf.saved_model.load(sys.argv[1]).signatures
found = signatures["serving_default"](image=image)
told = signatures["restore"](image=image, noise=found["noise"])
np.savez(sys.argv[3], output=found["output"], told=told["output"], noise=found["noise"])
"""


@pytest.mark.parametrize(("kind", "channels"), [("portable", 1), ("native", 3)])
def test_a_fresh_process_loads_the_export(kind, channels, tmp_path):
    deblur.export(tmp_path / "saved", GAUSSIAN, portable=kind == "portable", channels=channels)
    f = degraded((PHOTOGRAPH if channels == 1 else COLOUR)[:48, :56], GAUSSIAN)
    np.save(tmp_path / "image.npy", f)
    names = [str(tmp_path / name) for name in ("saved", "image.npy", "out.npz")]
    path = "" if kind == "portable" else os.path.dirname(os.path.dirname(blade_tf.__file__))
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *names, kind],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "out.npz")
    np.testing.assert_allclose(found["noise"], noise.estimate_noise(f), rtol=1e-5)
    np.testing.assert_allclose(found["told"], found["output"], atol=1e-6)
    with blade_tf.implementation("stock" if kind == "portable" else "native"):
        expected = deblur.deblur(f, GAUSSIAN, settings=deblur.Settings("perona_malik"))
    # Rounding may move a pixel to another filter.
    assert np.mean(np.abs(found["output"] - expected)) < 1e-5


def test_an_exports_lambda_leaves_the_noise(tmp_path):
    deblur.export(tmp_path / "saved", GAUSSIAN, "tv_flow")
    f = degraded(PHOTOGRAPH[:48, :56], GAUSSIAN, 10 / 255)
    balance = tf.saved_model.load(str(tmp_path / "saved")).signatures["balance"]
    found = balance(image=tf.constant(f), noise=tf.constant([10 / 255]))
    residual = np.sqrt(np.mean((operators.blur(GAUSSIAN)(found["output"]) - f) ** 2))
    assert residual == pytest.approx(10 / 255, rel=0.02)
    assert found["weight"].shape == [1]


# The program


@pytest.fixture
def files(tmp_path):
    """A folder of a gray and a colour image, the latter with alpha and 16 bits."""
    folder = tmp_path / "in"
    folder.mkdir()
    alpha = np.arange(60 * 80, dtype=np.uint16).reshape(60, 80)
    gray = np.clip(degraded(PHOTOGRAPH, GAUSSIAN)[0], 0, 1)
    colour = np.clip(degraded(COLOUR, GAUSSIAN)[0], 0, 1)
    image_io.write_image(folder / "gray.png", image_io.Image(gray))
    image_io.write_image(folder / "colour.png", image_io.Image(colour, alpha, 16))
    return folder


def test_the_program_restores_a_folder(files, program, tmp_path):
    out = tmp_path / "out"
    done = program("deblur", f"--input={files}", f"--output={out}", "--kernel=gaussian:1", "--noise=5", "--beside")
    assert done.status == 0, done.err
    gray, colour = image_io.read_image(out / "gray.png"), image_io.read_image(out / "colour.png")
    f = image_io.read_image(files / "gray.png").pixels[np.newaxis]
    expected = np.clip(deblur.deblur(f, GAUSSIAN, noise=5 / 255), 0, 1)
    np.testing.assert_allclose(gray.pixels, expected[0], atol=1e-2)
    assert psnr(gray.pixels[np.newaxis], PHOTOGRAPH) > psnr(f, PHOTOGRAPH) + 1.5
    assert colour.bits == 16
    np.testing.assert_array_equal(colour.alpha, image_io.read_image(files / "colour.png").alpha)
    assert (out / "gray_beside.png").exists()


def test_the_program_inpaints_and_finds_lambda(files, program, tmp_path):
    known = np.ones_like(PHOTOGRAPH)
    known[30:34] = 0
    image_io.write_image(tmp_path / "mask.png", image_io.Image(known))
    arguments = f"--input={files / 'gray.png'}", f"--output={tmp_path / 'out.png'}"
    done = program("deblur", *arguments, f"--mask={tmp_path / 'mask.png'}", "--steps=10")
    assert done.status == 0, done.err
    assert psnr(image_io.read_image(tmp_path / "out.png").pixels[np.newaxis], PHOTOGRAPH) > 24
    done = program("deblur", *arguments, "--lambda=discrepancy", "--kernel=gaussian:1", "--steps=5")
    assert done.status == 0, done.err
    done = program("deblur", f"--input={files}", f"--output={tmp_path / 'o'}", f"--mask={tmp_path / 'mask.png'}")
    assert done.status == 1
    assert "colour.png: mask: expected the image's size [60, 80], got [80, 100]" in done.err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--kernel=gaussian:0"], "sigma: expected a positive number, got 0.0"),
        (["--kernel=disk:1e9"], "radius: expected a kernel of at most 501 pixels along each axis, got 1e+09"),
        (["--lambda=-1"], "lambda: expected a positive number, got -1.0"),
        (["--lambda=much"], "lambda: expected a number or 'discrepancy', got 'much'"),
        (["--noestimate"], "noise: expected a noise level, as it is not to be estimated (--noestimate), got none"),
        (["--regulariser=tv_flo"], "did you mean 'tv_flow"),
        (["--kernel=gaussian:30"], "kernel: expected at most the image's size [80, 100], got [181, 181]"),
        (["--kernel=disk:250"], "kernel: expected at most the image's size [80, 100], got [501, 501]"),
        (
            ["--regulariser=cahn_hilliard"],
            "blade-deblur: regulariser: expected a diffusion of images, got 'cahn_hilliard'",
        ),
        (["--noise=nan"], "noise: expected gray levels of at least 0, got nan"),
    ],
)
def test_the_programs_errors_are_one_line(flags, message, files, program, tmp_path):
    done = program("deblur", f"--input={files / 'gray.png'}", f"--output={tmp_path / 'out.png'}", *flags)
    assert done.status == 1
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_the_program_exports(program, tmp_path):
    done = program("deblur", f"--export={tmp_path / 'saved'}", "--kernel=disk:2")
    assert done.status == 0, done.err
    assert (tmp_path / "saved" / "saved_model.pb").exists()


@pytest.mark.parametrize(("flags", "noise"), [(["--kernel=gaussian:1"], 0), ([], 0.07), (["--stages=restoration"], 0)])
def test_the_program_restores_and_exports(flags, noise, files, program, tmp_path):
    image = image_io.read_image(files / "gray.png").pixels
    noisy = image + noise * np.random.default_rng(0).standard_normal(image.shape)
    image_io.write_image(files / "gray.png", image_io.Image(noisy.astype(np.float32)))
    arguments = f"--input={files / 'gray.png'}", f"--output={tmp_path / 'out.png'}", f"--export={tmp_path / 'saved'}"
    done = program("deblur", *arguments, "--beside", *flags)
    assert done.status == 0, done.err
    serve = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"]
    expected = serve(image=tf.constant(image_io.read_image(files / "gray.png").pixels[np.newaxis]))["output"][0]
    difference = np.abs(image_io.read_image(tmp_path / "out.png").pixels - np.clip(expected, 0, 1))
    assert difference.mean() < 0.5 / 255  # another regulariser differs by six times as much
    # Long steps amplify how graphs round.
    assert difference.max() < 0.5 / 255 + (0.01 if noise else 1e-3)
    assert (tmp_path / "out_beside.png").exists()


HARD = [kernels.motion(9, 30), kernels.motion(15, 45), kernels.disk(5), kernels.gaussian(3), kernels.motion(15, 0)]


@pytest.mark.parametrize("kernel", [*HARD, np.array([[0.1, 0.7, 0.3, -0.1]])], ids=lambda kernel: str(kernel.shape))
@pytest.mark.parametrize("times", [(1, 1), (2, 2), (1, 4), (5, 3)])
def test_the_bound_of_a_blur_is_that_of_its_matrix(kernel, times):
    """Beyond convolution's: a border pixel is seen through all that lies beyond the border."""
    operator = operators.blur(kernel)
    rows, columns = (size * factor for size, factor in zip(kernel.shape, times, strict=True))
    v = np.random.default_rng(0).random((1, rows, columns, 1))
    for _ in range(300):
        v /= np.linalg.norm(v)
        v = operator.adjoint(operator(v)).numpy()
    norm = np.linalg.norm(v)
    assert norm <= operator.bound
    assert operator.bound < max(1.15 * norm, np.abs(kernel).sum() ** 2 + 1e-6)


@pytest.mark.parametrize(("size", "places"), [(13, {1: 0.54, 12: 0.46}), (9, {0: 0.47, 7: 0.54, 4: -0.01})])
def test_the_bound_holds_where_both_borders_count(size, places):
    """Images of up to twice the kernel's size, along one axis, by their matrices."""
    row = np.zeros(size)
    for place, weight in places.items():
        row[place] = weight
    for kernel in (row[np.newaxis], row[::-1, np.newaxis]):
        for length in range(size, 3 * size + 1):
            shape = [1, *(length if extent > 1 else 1 for extent in kernel.shape), 1]
            units = np.eye(length).reshape(length, *shape[1:])
            matrix = operators.blur(kernel)(units).numpy().reshape(length, length)
            assert np.linalg.norm(matrix, 2) ** 2 <= operators.blur(kernel).bound
    kernel = np.outer(row, row)
    image = np.random.default_rng(0).random((size + 5, size + 5, 1)).astype(np.float32)
    f = degraded(image, kernel, 1 / 255)
    assert np.abs(deblur.deblur(f, kernel, noise=1 / 255, settings=deblur.Settings(steps=200))).max() < 2


def test_the_bound_of_a_blur_along_both_axes_holds_in_oblong_images():
    """The worst sizes along y and x differ: the outer product's norm is the product, here by its matrices."""
    column, row = np.zeros((2, 9))
    column[[1, 6]], row[[1, 8]] = (0.45, 0.55), (0.552, 0.448)

    def norm(weights, length):
        units = np.eye(length).reshape(length, 1, length, 1)
        return np.linalg.norm(operators.blur(weights[np.newaxis])(units).numpy().reshape(length, length), 2) ** 2

    largest = [max(norm(weights, length) for length in range(9, 28)) for weights in (column, row)]
    kernel = np.outer(column, row)
    assert norm(column, 9) * norm(row, 12) == pytest.approx(2.143, abs=1e-3)
    kernel_and_no_product = kernel + 1e-6 * np.eye(9)
    for blur in (kernel, kernel_and_no_product):
        assert np.prod(largest) < operators.blur(blur).bound < 1.04 * np.prod(largest)


@pytest.mark.parametrize("kernel", HARD, ids=lambda kernel: str(kernel.shape))
@pytest.mark.parametrize("level", [0.0, 1 / 255])
def test_no_default_diverges_at_borders(kernel, level):
    image = skimage.data.camera()[100:228, 180:308, np.newaxis].astype(np.float32) / 255
    f = degraded(image, kernel, level)
    for found in (deblur.deblur(f, kernel, noise=level), deblur.deblur(np.repeat(f, 2, 0), kernel, noise=[level] * 2)):
        assert np.abs(found).max() < 1.5
        assert psnr(found[:1], image) > psnr(f, image)


def test_no_export_diverges_at_borders(tmp_path):
    kernel = kernels.motion(21, 45)
    image = skimage.data.camera()[100:228, 180:308, np.newaxis].astype(np.float32) / 255
    deblur.export(tmp_path / "saved", kernel)
    saved = tf.saved_model.load(str(tmp_path / "saved")).signatures
    f, level = tf.constant(degraded(image, kernel, 1 / 255)), tf.constant([1 / 255])
    for name in ("restore", "balance"):
        assert np.abs(saved[name](image=f, noise=level)["output"]).max() < 1.5


def test_a_weight_beyond_the_bound_is_refused_wherever_it_is_known():
    kernel = kernels.motion(9, 30)
    limit = 2 / operators.blur(kernel).bound
    f = tf.constant(degraded(PHOTOGRAPH, kernel))
    for call in (restoration.restore, tf.function(restoration.restore, autograph=False)):
        with pytest.raises(ValueError, match=r"weight: expected less than 2 / \(dt"):
            call(f, operators.blur(kernel), tf.zeros_like, 1.0, 1.01 * limit)
    assert np.abs(restoration.restore(f, operators.blur(kernel), tf.zeros_like, 1.0, 0.99 * limit, 300)).max() < 3


def test_double_precision_in_batches():
    f = np.repeat(degraded(PHOTOGRAPH[:40, :40].astype(np.float64), GAUSSIAN), 2, axis=0)
    settings = deblur.Settings(steps=5)
    found = deblur.deblur(f, GAUSSIAN, settings=settings)
    assert found.dtype == tf.float64
    single = deblur.deblur(f.astype(np.float32), GAUSSIAN, settings=settings)
    difference = np.abs(found - tf.cast(single, tf.float64))
    assert np.mean(difference > 1e-4) < 0.01  # where rounding decides between bins
    assert np.median(difference) < 1e-6


def test_masks_of_a_batch_count_one_by_one():
    """By discrepancy, each image gets the lambda that it gets alone."""
    f = degraded(np.repeat(PHOTOGRAPH[:40, :40, :], 1, axis=2))
    known = np.ones((2, 40, 40, 1), bool)
    known[1, ::2] = False
    settings = deblur.Settings("perona_malik", steps=10)
    both = deblur.deblur(np.repeat(f, 2, 0), GAUSSIAN, known, [5 / 255] * 2, settings, discrepancy=True)
    for k in range(2):
        alone = deblur.deblur(f, GAUSSIAN, known[k : k + 1], [5 / 255], settings, discrepancy=True)
        np.testing.assert_allclose(both[k], alone[0], atol=1e-4)


def test_it_works_in_a_graph():
    f = tf.constant(degraded(PHOTOGRAPH[:32, :40], GAUSSIAN))
    found = tf.function(lambda g: deblur.deblur(g, GAUSSIAN, noise=5 / 255), autograph=False)(f)
    np.testing.assert_allclose(found, deblur.deblur(f, GAUSSIAN, noise=5 / 255), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"known": np.ones([20, 100, 1])}, r"known: expected what broadcasts to the image's .*, got \[20, 100, 1\]"),
        ({"known": np.ones([80, 100])}, r"known: expected what broadcasts .*, got \[80, 100\]"),
        ({"noise": [0.1, 0.2]}, r"noise: expected a number, or one for each image, \[1\], got \(2,\)"),
        ({"noise": [-0.1]}, r"noise: expected standard deviations of at least 0"),
        ({"noise": [np.nan]}, r"noise: expected standard deviations of at least 0"),
        ({"noise": 0.0, "discrepancy": True}, r"noise: expected a positive level for the discrepancy principle"),
        (
            {"settings": deblur.Settings("restoration")},
            r"got 'restoration', trained for restoration",
        ),
    ],
)
def test_what_makes_no_sense_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        deblur.deblur(PHOTOGRAPH[np.newaxis], **arguments)


NEEDLESS = "with --paper, with --dt and --lambda, or with --mask alone, which need none"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--stages=restoration", "--steps=3"], "steps: expected none with --stages, got 3"),
        (["--stages=restoration", "--steps=0"], "steps: expected none with --stages, got 0"),
        (["--stages=restoration", "--noise=0"], "noise: expected none with --stages of one degradation, got 0.0"),
        (["--mask=in.png", "--noise=20"], f"noise: expected none {NEEDLESS}, got 20.0"),
        (["--paper", "--noise=20"], f"noise: expected none {NEEDLESS}, got 20.0"),
        (["--dt=0.1", "--lambda=1", "--noise=0"], f"noise: expected none {NEEDLESS}, got 0.0"),
        (
            ["--stages=restoration", "--kernel=gaussian:1"],
            "kernel: expected none with --stages of one degradation, got 'gaussian:1'",
        ),
        (
            ["--stages=restoration_range", "--kernel=gaussian:2.5"],
            "blur: expected 0 px to 1.6 px, what the model was trained for, got 2.5 px",
        ),
        (
            ["--stages=restoration_range", "--noise=0.5"],
            "noise: expected 1/255 to 20/255, what the model was trained for, got 0.5/255",
        ),
        (["--stages=restoration_range", "--kernel=disk:1"], "kernel: expected gaussian:SIGMA, got 'disk:1'"),
        (
            ["--stages=restoration_range", "--noestimate"],
            "noise: expected a noise level, as it is not to be estimated (--noestimate), got none",
        ),
        (
            ["--stages=restoration_range", "--kernel=gaussian:1", "--export=x"],
            "kernel: expected none with --export and --stages, got 'gaussian:1'",
        ),
        (["--stages=ced"], "model: expected one that restores images, got 'ced', trained for evolution"),
        (["--paper", "--dt=0.1"], "dt: expected none with --paper, got 0.1"),
        (["--export=x", "--noise=3"], "noise: expected none with --export, got 3.0"),
        (["--export=x", "--noestimate"], "estimate: expected none with --export, got False"),
    ],
)
def test_flags_that_would_be_ignored_are_refused(flags, message, program, tmp_path):
    image_io.write_image(tmp_path / "in.png", image_io.Image(PHOTOGRAPH))
    flags = [flag.replace("in.png", str(tmp_path / "in.png")) for flag in flags]
    outcome = program("deblur", f"--input={tmp_path / 'in.png'}", f"--output={tmp_path / 'out.png'}", *flags)
    assert outcome.status == 1
    assert outcome.err == f"blade-deblur: {message}\n"
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    "flags",
    [
        ["--stages=restoration"],
        ["--stages=restoration_range", "--kernel=gaussian:1"],
        ["--stages=restoration_range", "--kernel=gaussian:1", "--noise=5"],
    ],
)
def test_the_program_restores_by_stages(flags, program, tmp_path):
    image_io.write_image(tmp_path / "in.png", image_io.Image(degraded(PHOTOGRAPH, GAUSSIAN)[0].clip(0, 1)))
    arguments = f"--input={tmp_path / 'in.png'}", f"--output={tmp_path / 'out.png'}", *flags, "--beside"
    assert program("deblur", *arguments).status == 0
    before, after = (image_io.read_image(tmp_path / name).pixels[np.newaxis] for name in ("in.png", "out.png"))
    assert psnr(after, PHOTOGRAPH) > psnr(before, PHOTOGRAPH) + 2
    assert (tmp_path / "out_beside.png").exists()


def test_the_program_runs_with_its_output_closed():
    command = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "blade_tf.cli.deblur"]
    done = subprocess.run(command, capture_output=True, text=True)
    message = "blade-deblur: expected --input and --output, or --export, or all three\n"
    assert (done.returncode, done.stderr) == (1, message)
