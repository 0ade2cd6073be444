"""The problems and the rivals that resampling is compared by."""

import numpy as np
import pytest
import scipy.ndimage
import skimage.data

from blade_tf import compare, image_io
from blade_tf.compare import displaced, interpolation
from blade_tf.compare import resample as comparison
from blade_tf.data.resampling import translated
from blade_tf.interpolation import cubic, lanczos


@pytest.fixture(scope="module")
def image():
    return skimage.data.camera()[100:140, 200:250, np.newaxis] / np.float32(255)


def fields(shape, shift):
    return np.broadcast_to(np.asarray(shift, np.float64), (*shape, 2))


@pytest.mark.parametrize("a", [-0.5, -0.75, -1.0])
def test_cubic_kernels_are_keyss(a, image):
    """At half a pixel: a / 8, (4 - a) / 8, (4 - a) / 8, a / 8 along the axis."""
    found = interpolation.kernel(cubic(a), 2)(image, fields((40, 50), (0.5, 0)))
    taps = np.array([a, 4 - a, 4 - a, a]) / 8
    expected = sum(tap * image[:, k : k + 46, 0] for k, tap in enumerate(taps))
    np.testing.assert_allclose(found[:, 1:47, 0], expected, atol=1e-6)


@pytest.mark.parametrize("shift", [(0.25, -1.5), (2.71875, 0.03125)])
@pytest.mark.parametrize(
    ("flag", "profile", "radius"),
    [("INTER_CUBIC", cubic(-0.75), 2), ("INTER_LANCZOS4", lanczos(4), 4)],
)
def test_opencv_agrees_where_it_does_not_round(flag, profile, radius, shift, image):
    pytest.importorskip("cv2")
    v = fields((40, 50), shift)
    found = interpolation.opencv(flag)(image, v)
    assert found.shape == image.shape
    np.testing.assert_allclose(found, interpolation.kernel(profile, radius)(image, v), atol=2e-3)


def test_splines_interpolate(image):
    for degree in (3, 5):
        found = interpolation.spline(degree)(image, fields((40, 50), (1, 2)))
        np.testing.assert_allclose(found[2:-8, 2:-8], image[4:-6, 3:-7], atol=1e-5)


def test_displaced_is_translated_where_the_field_is_constant():
    photograph = skimage.data.camera()[:120, :160, np.newaxis] / np.float32(255)
    found = displaced.displaced(photograph, fields((30, 40), (0.3, -1.4)))
    np.testing.assert_allclose(found, translated(photograph, [0.3], [-1.4])[0], atol=1e-5)


def test_displaced_follows_the_field():
    """A ramp blurred is the ramp."""
    photograph = np.broadcast_to(np.arange(160.0)[:, np.newaxis], (120, 160, 1)).astype(np.float32)
    field = displaced.smooth_field((30, 40), 2.0, 4.0, np.random.default_rng(0))
    assert np.sqrt(np.mean(field**2)) == pytest.approx(2.0, rel=1e-5)
    found = displaced.displaced(photograph, field)[..., 0]
    at = 4 * (np.arange(40) + field[..., 0]) + 1.5
    inside = (at > 12) & (at < 147)
    np.testing.assert_allclose(found[inside], at[inside], atol=2e-3)


def test_two_hops_end_where_both_shifts_lead():
    smooth = scipy.ndimage.gaussian_filter(np.random.default_rng(0).random((160, 160)), 16)[..., np.newaxis]
    problems = list(displaced.translations({"a": smooth.astype(np.float32)}, 2, 0.0))
    assert len(problems) == displaced.SHIFTS
    for problem, truth in problems[:3]:
        image = problem.image
        for displacement in problem.displacements:
            assert np.abs(displacement).max() <= 0.5
            image = interpolation.spline(5)(image, displacement)
        np.testing.assert_allclose(image[8:-8, 8:-8], truth[8:-8, 8:-8], atol=1e-5)


def test_the_comparison_is_written(tmp_path, monkeypatch):
    folder = tmp_path / "photographs"
    folder.mkdir()
    photograph = skimage.data.astronaut()[:260, 100:380] / np.float32(255)
    image_io.write_image(folder / "astronaut.png", image_io.Image(photograph))
    monkeypatch.setattr(displaced, "SHIFTS", 1)
    monkeypatch.setattr(displaced, "DIRECTIONS", 1)
    monkeypatch.setattr(comparison, "LENGTHS", (0.1, 0.5))
    monkeypatch.setattr(comparison, "_times", lambda: [["resample", "1", "1.0"]])
    found = comparison.compare(folder)
    text = compare.write(found, tmp_path / "results", "blade-compare --x")
    for title in ("Sub-pixel translations", "The same with noise of 3/255", "By the length", "Warps by smooth", "Time"):
        assert f"## {title}" in text
    assert "`resample` is" in text
    noisy = {name: value[0][0] for name, value in found.numbers["noise"].items()}
    best = max((name for name in noisy if not name.startswith("resample")), key=noisy.get)
    assert best.startswith("TV denoising")
    assert f"`resample_noisy` is {abs(noisy['resample_noisy'] - noisy[best]):.2f} dB " in found.tables[1].text
    assert found.tables[1].text.count(best) == 4
    means = found.numbers["translations"]
    assert means["resample"][0][0] > means["bicubic, a = -0.5"][0][0]
    for figure in ("resample_lengths.svg", "resample_two_hops.jpg"):
        assert f"(figures/{figure})" in text
        assert (tmp_path / "results" / "figures" / figure).exists()
    card = (tmp_path / "results" / "cards" / "resample_noisy.md").read_text()
    assert card.startswith("# resample_noisy\n\n- **Use**: ")
    assert "## The same with noise" in card
    assert "## Warps" not in card
