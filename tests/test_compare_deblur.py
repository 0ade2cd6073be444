import numpy as np
import pytest
import scipy.ndimage
import skimage.data
import skimage.restoration

from blade_tf import image, image_io
from blade_tf.apps import deblur as apps_deblur
from blade_tf.compare import deblur, deblur_methods, deblur_peers, degraded, restored

PHOTOGRAPH = skimage.data.camera()[150:214, 200:280].astype(np.float32) / 255


def blurred(u, sigma):
    for axis in (0, 1):
        u = scipy.ndimage.convolve1d(u, image.gaussian_kernel(sigma), axis=axis, mode="reflect")
    return u


def negative_laplacian(u):
    return -scipy.ndimage.convolve(u, [[0, 1, 0], [1, -4, 1], [0, 1, 0]], mode="reflect")


def test_wieners_filter_solves_its_normal_equations():
    f = PHOTOGRAPH.astype(np.float64)
    u = deblur_peers.wiener(f, 1.2, 0.03)
    left = blurred(blurred(u, 1.2), 1.2) + 0.03 * negative_laplacian(u)
    np.testing.assert_allclose(left, blurred(f, 1.2), atol=1e-6)


def test_total_variation_is_that_of_scikit_image_where_nothing_is_blurred():
    noisy = PHOTOGRAPH.astype(np.float64) + np.random.default_rng(0).normal(0, 0.05, PHOTOGRAPH.shape)
    expected = skimage.restoration.denoise_tv_chambolle(noisy, 0.08, eps=1e-9, max_num_iter=3000)
    found = deblur_peers.total_variation(noisy, 0.0, 0.08, 600)
    np.testing.assert_allclose(found, expected, atol=3e-3)


def test_total_variation_of_a_blurred_image_has_converged():
    f = blurred(PHOTOGRAPH, 1.0)
    found = [deblur_peers.total_variation(f, 1.0, 0.005, iterations) for iterations in (60, 600)]
    assert np.sqrt(np.mean((found[0] - found[1]) ** 2)) < 2e-3


@pytest.mark.parametrize("kind", ["random", "scratches"])
def test_masks_differ_by_seed_and_leave_most_pixels(kind):
    first, again, other = (degraded.mask(kind, (96, 128, 1), seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert 0.4 < first.mean() < 0.99


def test_each_method_of_each_table_restores():
    truth = [PHOTOGRAPH[..., np.newaxis]]
    tables = [
        (deblur_methods.deblurring(), degraded.degraded(truth, deblur_methods.NOISE, deblur_methods.BLUR), 0.3),
        (deblur_methods.choices(), degraded.degraded(truth, deblur_methods.NOISE, deblur_methods.BLUR), 0.3),
        (
            deblur_methods.denoising(5, deblur_methods.CHAMBOLLE[0], deblur_methods.NL_MEANS[0]),
            degraded.degraded(truth, 5 / 255),
            0.5,
        ),
        (
            deblur_methods.denoising(25, deblur_methods.CHAMBOLLE[-1], deblur_methods.NL_MEANS[-1]),
            degraded.degraded(truth, 25 / 255),
            3,
        ),
        (deblur_methods.inpainting(), degraded.masked(truth, "scratches"), 3),
    ]
    for methods, problems, gain in tables:
        scores = deblur.mean_scores(methods, problems)
        for name, score in scores.items():
            worst = 0 if name == "input" or "PDE: ced" in name else gain
            assert score[0, 0] >= scores["input"][0, 0] + worst, name


def test_photographs_too_small_to_compare_are_named_first(tmp_path):
    image_io.write_image(tmp_path / "large.png", image_io.Image(np.zeros((200, 220, 1), np.float32)))
    image_io.write_image(tmp_path / "small.png", image_io.Image(PHOTOGRAPH[..., np.newaxis]))
    with pytest.raises(ValueError, match="images: expected at least 179 x 199 pixels, got 64 x 80 in small"):
        deblur.compare(tmp_path)


def test_photographs_of_one_name_in_two_folders_count_both(tmp_path):
    for name in ("x/001.png", "y/001.png"):
        (tmp_path / name).parent.mkdir()
        image_io.write_image(tmp_path / name, image_io.Image(PHOTOGRAPH[..., np.newaxis]))
    assert list(restored.photographs(tmp_path)) == ["x_001", "y_001"]
    image_io.write_image(tmp_path / "x" / "001.tif", image_io.Image(PHOTOGRAPH[..., np.newaxis]))
    with pytest.raises(ValueError, match=r"images: expected one file of each name, got .*001.png and .*001.tif"):
        restored.photographs(tmp_path)


def test_a_search_finds_the_best_number():
    problems = [(degraded.Problem(np.full((16, 16, 1), 0.5, np.float32), 0.1), np.full((16, 16, 1), 0.7, np.float32))]
    found = deblur._search(lambda a: lambda problem: problem.f + np.float32(a), [0.05], problems)
    assert found[0] == pytest.approx(0.2, rel=0.1)


def test_tuning_ends_with_a_number_for_each_constant(tmp_path, monkeypatch):
    """On one tiny photograph, with the searches' first look alone."""
    image_io.write_image(tmp_path / "photograph.png", image_io.Image(PHOTOGRAPH[..., np.newaxis]))
    tuned = {key: tuple(numbers[2:3] for numbers in pair) for key, pair in apps_deblur.TUNED.items()}
    monkeypatch.setattr(apps_deblur, "TUNED", tuned)
    monkeypatch.setattr(apps_deblur, "NOISES", apps_deblur.NOISES[2:3])
    monkeypatch.setattr(deblur, "FACTORS", (1.15,))
    monkeypatch.setattr(deblur, "SIDE", 24)
    monkeypatch.setattr(deblur, "GAIN", 99.0)
    found = deblur.tune(tmp_path)
    assert found["TUNED tv_flow False 5"] == pytest.approx([1.0, 0.417])
    assert found["MODELS ced_paper"] == list(deblur_methods.MODELS["ced_paper"])
    assert found["denoise_nl_means 15"] == [deblur_methods.NL_MEANS[1]]
    assert found["WIENER"] == [deblur_methods.WIENER]
    assert 1 <= found["RICHARDSON_LUCY"] <= 15
    assert len(found) == 4 + 2 + 6 + 3 + 4
