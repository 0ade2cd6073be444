import numpy as np
import pytest
import scipy.ndimage
import skimage.data
import skimage.restoration

from blade_tf import image
from blade_tf.compare import deblur, deblur_peers, degraded

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
    first, again, other = (deblur_peers.mask(kind, (96, 128, 1), seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert 0.4 < first.mean() < 0.99


def test_each_method_of_each_table_restores():
    truth = [PHOTOGRAPH[..., np.newaxis]]
    tables = [
        (deblur._deblurring(), degraded.degraded(truth, deblur.NOISE, deblur.BLUR), 0.3),
        (deblur._choices(), degraded.degraded(truth, deblur.NOISE, deblur.BLUR), 0.3),
        (deblur._denoising(25, deblur.CHAMBOLLE[-1], deblur.NL_MEANS[-1]), degraded.degraded(truth, 25 / 255), 3),
        (deblur._inpainting(), degraded.masked(truth, "scratches"), 3),
    ]
    for methods, problems, gain in tables:
        scores = deblur.mean_scores(methods, problems)
        for name, score in scores.items():
            worst = 0 if name == "input" or "PDE: ced" in name else gain
            assert score[0, 0] >= scores["input"][0, 0] + worst, name


def test_a_search_finds_the_best_number():
    problems = [(degraded.Problem(np.full((16, 16, 1), 0.5, np.float32), 0.1), np.full((16, 16, 1), 0.7, np.float32))]
    found = deblur._search(lambda a: lambda problem: problem.f + np.float32(a), [0.05], problems)
    assert found[0] == pytest.approx(0.2, rel=0.1)
