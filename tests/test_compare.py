import json

import numpy as np
import pytest
import skimage.metrics

from blade_tf import compare, image_io


def findings():
    rows = [["ours", np.float64(30.126), 0.8], ["theirs", 29.0, None]]
    table = compare.Table("Blur", "On two photographs.", ["method", "PSNR", "SSIM"], rows)
    picture = np.full((8, 9, 3), 128, np.uint8)
    return compare.Findings("deblur", "Deblurring", [table], {"seconds": 1.5}, {"result": picture})


def test_findings_are_written_as_page_numbers_and_pictures(tmp_path):
    text = compare.write(findings(), tmp_path, "blade-compare --x", 1.25)
    assert (tmp_path / "deblur.md").read_text() == text
    record = json.loads((tmp_path / "deblur.json").read_text())
    assert record["numbers"] == {"seconds": 1.5}
    assert compare.document(record) == text
    for line in (
        "# Deblurring",
        "Written by `blade-compare --x`. The machine's load was 1.2 before.",
        "## Blur",
        "| method | PSNR | SSIM |",
        "| --- | ---: | ---: |",
        "| ours | 30.13 | 0.8 |",
        "| theirs | 29 | - |",
        "![result](figures/deblur_result.jpg)",
    ):
        assert line in text.splitlines()
    assert image_io.read_image(tmp_path / "figures" / "deblur_result.jpg").pixels.shape == (8, 9, 3)


def test_scores_are_of_the_inside_alone():
    rng = np.random.default_rng(0)
    truth = rng.random((40, 50, 1)).astype(np.float32)
    noisy = truth + 0.1 * rng.standard_normal(truth.shape).astype(np.float32)
    noisy[:3] = 7.0
    found = compare.mean_scores({"noisy": lambda problem: problem, "truth": lambda _: truth}, [(noisy, truth)], crop=3)
    inside = slice(3, -3)
    a, b = truth[inside, inside, 0], noisy[inside, inside, 0]
    wanted = skimage.metrics.structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0
    )
    np.testing.assert_allclose(
        found["noisy"][0, 0], skimage.metrics.peak_signal_noise_ratio(a, b, data_range=1), rtol=1e-5
    )
    np.testing.assert_allclose(found["noisy"][0, 1], wanted, atol=1e-5)
    assert found["truth"][0, 0] == np.inf


def test_photographs_are_read_by_name(photographs):
    gray, colour = compare.photographs(photographs), compare.photographs(photographs, gray=False)
    assert list(gray) == list(colour)
    assert gray["astronaut"].shape == (512, 512, 1)
    np.testing.assert_array_equal(image_io.luma(colour["astronaut"]), gray["astronaut"])


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no image found"):
        compare.photographs(tmp_path)


def test_the_program_times_each_application(program, tmp_path):
    pixels = np.random.default_rng(0).random((48, 64, 3), np.float32)
    (tmp_path / "in").mkdir()
    image_io.write_image(tmp_path / "in" / "small.png", image_io.Image(pixels))
    outcome = program("compare", "--application=times", f"--images={tmp_path / 'in'}", f"--output={tmp_path / 'out'}")
    assert outcome.status == 0, outcome.err
    table = json.loads((tmp_path / "out" / "times.json").read_text())["tables"][0]
    assert table["text"].startswith("`small`, 64 x 48, 3 channels")
    assert {row[0] for row in table["rows"]} >= {"deblurring", "segmentation", "resampling", "alignment", "upscaling"}
    assert all(float(value) >= 0 for row in table["rows"] for value in row[2:])
