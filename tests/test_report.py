import base64
import html.parser
import io
import math
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from blade_tf import report

BLUE, WHITE, RED = [5, 48, 97], [247, 247, 247], [103, 0, 31]
VOID = {"meta", "img", "input", "br", "link"}
SVG = "{http://www.w3.org/2000/svg}"


class Page(html.parser.HTMLParser):
    """Fails on tags that do not nest; keeps the tags with their attributes, and the text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip() and self.open[-1] not in ("style", "script"):
            self.texts.append(data.strip())

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def pixels_of(attributes):
    kind, data = re.fullmatch(r"data:image/(png|jpeg);base64,(.*)", attributes["src"]).groups()
    picture = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
    assert picture.format.lower() == kind
    assert (int(attributes["width"]), int(attributes["height"])) == picture.size
    return kind, np.asarray(picture.convert("RGB"))


def svg_of(text):
    return ElementTree.fromstring(text.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def svg_texts(root):
    return {element.text: element for element in root.iter(f"{SVG}text")}


def random_image(*shape):
    return np.random.default_rng(0).random(shape)


def test_to_uint8():
    gray = np.array([[0.0, 0.5, 1.0, 2.0, -1.0, np.nan]])
    expected = [[[0] * 3, [128] * 3, [255] * 3, [255] * 3, [0] * 3, [0] * 3]]
    np.testing.assert_array_equal(report.to_uint8(gray), expected)
    np.testing.assert_array_equal(report.to_uint8(gray[..., None].astype(np.float32)), expected)
    colour = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    np.testing.assert_array_equal(report.to_uint8(colour), colour)
    np.testing.assert_array_equal(report.to_uint8(colour / 255.0), colour)
    with pytest.raises(ValueError, match=r"image: expected float or uint8 \[H, W, 1 or 3\], got int64 \[2, 2\]"):
        report.to_uint8(np.zeros((2, 2), np.int64))
    with pytest.raises(ValueError, match=r"got float64 \[2, 2, 4\]"):
        report.to_uint8(np.zeros((2, 2, 4)))


@pytest.mark.parametrize("transposed", [False, True])
def test_filter_mosaic_puts_each_filter_in_its_place(transposed):
    orientations, strengths, coherences, scale, gap = 4, 3, 2, 2, 1
    filters = np.zeros((24, 3, 5))
    for k in range(24):
        filters[k, k % 3, k % 5] = (-1) ** k * (k + 1)
    mosaic = report.filter_mosaic(filters, orientations, scale=scale, gap=gap, transposed=transposed)
    rows, columns = (orientations, 6) if transposed else (6, orientations)
    assert mosaic.dtype == np.uint8
    assert mosaic.shape == (rows * (3 * scale + gap) + gap, columns * (5 * scale + gap) + gap, 3)
    for orientation in range(orientations):
        for strength in range(strengths):
            for coherence in range(coherences):
                k = orientation + orientations * (strength + strengths * coherence)
                place = (strength + strengths * coherence, orientation)
                row, column = place[::-1] if transposed else place
                y, x = gap + row * (3 * scale + gap), gap + column * (5 * scale + gap)
                tile = mosaic[y : y + 3 * scale, x : x + 5 * scale]
                expected = np.full((3, 5, 3), WHITE)
                expected[k % 3, k % 5] = BLUE if k % 2 else RED
                np.testing.assert_array_equal(tile, expected.repeat(scale, 0).repeat(scale, 1))
    np.testing.assert_array_equal(mosaic[0], 255)
    np.testing.assert_array_equal(mosaic[:, -1], 255)


def test_filter_mosaic_colours_are_symmetric_and_survive_bad_filters():
    bank = np.array([[[-2.0, -1, 0, 1, 2]], [[0, 0, 0, 0, 0]], [[np.nan, np.inf, 1, 0, 0]]])
    mosaic = report.filter_mosaic(bank, 3, scale=1, gap=0)[0].reshape(3, 5, 3)
    np.testing.assert_array_equal(mosaic[0], [BLUE, [67, 147, 195], WHITE, [214, 96, 77], RED])
    np.testing.assert_array_equal(mosaic[1], [WHITE] * 5)
    np.testing.assert_array_equal(mosaic[2], [WHITE, WHITE, RED, WHITE, WHITE])
    np.testing.assert_array_equal(report.filter_mosaic(100 * bank, 3), report.filter_mosaic(bank, 3))


def test_filter_mosaic_refuses():
    with pytest.raises(ValueError, match="orientations: expected a divisor of 24 filters, got 5"):
        report.filter_mosaic(np.ones((24, 5, 5)), 5)
    with pytest.raises(ValueError, match=r"filters: expected \[K, R, S\], got \[5, 5\]"):
        report.filter_mosaic(np.ones((5, 5)), 1)


def test_selection_image_hue_value_saturation():
    orientations, strengths, coherences = 8, 3, 2
    selection = np.arange(48).reshape(6, 8)
    picture = report.selection_image(selection, orientations, strengths, coherences)
    hsv = np.asarray(Image.fromarray(picture).convert("HSV")).astype(float)
    row = np.arange(6)[:, None]
    hue_error = np.abs(hsv[..., 0] - 256 * np.arange(8) / 8)
    # Pillow's hue of a dark, pale colour has few levels to go by.
    assert np.minimum(hue_error, 256 - hue_error).max() <= 6
    np.testing.assert_allclose(hsv[..., 2], 255 * np.array([0.25, 0.625, 1.0])[row % 3] * np.ones(8), atol=1)
    np.testing.assert_allclose(hsv[..., 1], 255 * np.array([0.25, 1.0])[row // 3] * np.ones(8), atol=5)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) == 48
    np.testing.assert_array_equal(report.selection_image(np.zeros((1, 1), int), 1, 1, 1), [[[255, 0, 0]]])


def test_selection_image_refuses():
    with pytest.raises(ValueError, match=r"selection: expected values in \[0, 48\), got 0 to 48"):
        report.selection_image(np.array([[0, 48]]), 8, 3, 2)
    with pytest.raises(ValueError, match=r"selection: expected int \[H, W\], got float64 \[1, 1\]"):
        report.selection_image(np.zeros((1, 1)), 8, 3, 2)


def test_error_image():
    a = np.array([[0.5, 0.6, 0.4, 0.55, np.nan]])
    b = np.full((1, 5), 0.5)
    np.testing.assert_array_equal(report.error_image(a, b, 10), [[WHITE, RED, BLUE, [214, 96, 77], WHITE]])
    colour = np.stack([a, b, b], -1)
    np.testing.assert_array_equal(report.error_image(colour, np.stack([b] * 3, -1), 30), report.error_image(a, b, 10))
    with pytest.raises(ValueError, match=r"a, b: expected equal shapes .* got \[1, 5\] and \[5, 1\]"):
        report.error_image(a, b.T)
    with pytest.raises(ValueError, match="a, b: expected float images, got float64 and uint8"):
        report.error_image(a, b.astype(np.uint8))


def test_side_by_side_holds_each_picture_and_a_label():
    pictures = [report.to_uint8(random_image(h, w, 3)) for h, w in [(20, 60), (30, 50), (10, 10)]]
    sheet = report.side_by_side(pictures, ["one", "a label much longer than its picture", "three"], columns=2, font=10)
    assert sheet.shape == (2 * (30 + 20) + 10, 2 * (60 + 10) + 10, 3)
    places = [(10, 10), (10, 80), (60, 10)]
    for picture, (y, x) in zip(pictures, places, strict=True):
        height, width, _ = picture.shape
        np.testing.assert_array_equal(sheet[y : y + height, x : x + width], picture)
        strip = sheet[y + height : y + height + 16, x : x + 60]
        assert 20 < (strip < 200).all(-1).sum() < 300, "dark letters on white"
    assert (sheet[10:50, 70:80] == 255).all()
    assert (sheet[:, -10:] == 255).all()


def test_side_by_side_enlarges_and_refuses():
    picture = report.to_uint8(random_image(4, 5))
    sheet = report.side_by_side([picture], [""], scale=3, font=10)
    np.testing.assert_array_equal(sheet[10:22, 10:25], picture.repeat(3, 0).repeat(3, 1))
    for images, labels in ([[picture], []], [[], []]):
        with pytest.raises(ValueError, match="labels: expected one for each of at least one image"):
            report.side_by_side(images, labels)


def test_text_table():
    rows = [["identity", 30.234567, None], ["blade, end to end", 9.5, 216], ["none", math.inf, 12345.6]]
    assert report.text_table(["row", "PSNR", "filters"], rows).splitlines() == [
        "row                 PSNR  filters",
        "-----------------  -----  -------",
        "identity           30.23        -",
        "blade, end to end    9.5      216",
        "none                 inf    12346",
    ]
    assert report.text_table(["a", "b"], []) == "a  b\n-  -"
    with pytest.raises(ValueError, match=r"rows: expected 2 cells for \['a', 'b'\], got \[1\]"):
        report.text_table(["a", "b"], [[1]])


def test_line_chart_scales_points_and_names_series():
    series = {"up & <away>": [30.0, 35.0, 40.0], "gap": [40.0, math.nan, 30.0], "nothing": [math.nan] * 3}
    root = svg_of(report.line_chart(series, title="PSNR by step", x_label="step", y_label="dB"))
    assert root.get("role") == "img"
    assert root.get("aria-label") == "PSNR by step. up & <away>: 30 to 40; gap: 40 to 30"
    lines = [
        [tuple(map(float, point.split(","))) for point in line.get("points").split()]
        for line in root.iter(f"{SVG}polyline")
    ]
    assert [len(line) for line in lines] == [3, 2]
    (x1, y1), (x2, y2), (x3, y3) = lines[0]
    assert (x2 - x1, y2 - y1) == (x3 - x2, y3 - y2)
    assert x1 < x2
    assert y1 > y2  # upwards on the screen
    assert lines[1] == [(x1, y3), (x3, y1)]
    texts = svg_texts(root)
    assert {"1", "2", "3", "30", "40", "step", "dB", "up & <away>", "gap"} <= set(texts)
    assert "nothing" not in texts
    assert float(texts["30"].get("y")) == y1 + 4
    assert float(texts["3"].get("x")) == x3


def test_line_chart_labels_do_not_overlap():
    series = {f"series {k}": [1.0, 1.0 + 1e-6 * k] for k in range(9)}
    root = svg_of(report.line_chart(series, title="t"))
    heights = sorted(float(svg_texts(root)[name].get("y")) for name in series)
    assert min(np.diff(heights)) >= 15
    assert heights[-1] < float(root.get("viewBox").split()[3])
    assert all(float(element.get("y", 0)) >= 0 for element in root.iter())


def test_line_chart_takes_x():
    root = svg_of(report.line_chart({"a": [1.0, 2.0, 3.0]}, title="t", x=[0.0, 1.0, 10.0]))
    (line,) = root.iter(f"{SVG}polyline")
    places = [float(point.split(",")[0]) for point in line.get("points").split()]
    np.testing.assert_allclose((places[1] - places[0]) * 9, places[2] - places[1], atol=1)
    with pytest.raises(ValueError, match=r"series: expected 2 values each, got \[3\]"):
        report.line_chart({"a": [1.0, 2.0, 3.0]}, title="t", x=[1.0, 2.0])
    for nothing in ({}, {"a": []}, {"a": [math.nan]}):
        with pytest.raises(ValueError, match="series: expected at least one finite value"):
            report.line_chart(nothing, title="t")


def test_bar_chart_lengths():
    root = svg_of(report.bar_chart({"a": 10.0, "b<": 40.0, "inf": math.inf, "zero": 0.0}, title="t", unit="dB"))
    widths = [float(rect.get("width")) for rect in root.iter(f"{SVG}rect")]
    np.testing.assert_allclose(np.array(widths) / widths[1], [0.25, 1, 0, 0], atol=1e-3)
    assert {"a", "b<", "10 dB", "40 dB", "inf dB"} <= set(svg_texts(root))
    below = svg_of(report.bar_chart({"a": -1.0, "b": 1.0}, title="t"))
    left, right = ((float(r.get("x")), float(r.get("width"))) for r in below.iter(f"{SVG}rect"))
    assert left[0] + left[1] == right[0]
    assert left[1] == right[1]
    with pytest.raises(ValueError, match="values: expected at least one finite value"):
        report.bar_chart({"a": math.nan}, title="t")


HOSTILE = "<script>alert('x')</script> & \"quoted\""


def whole_page():
    image = random_image(6, 9, 3)
    return report.html_page(
        HOSTILE,
        {
            "Results " + HOSTILE: [
                report.paragraph(HOSTILE),
                report.table(["row", HOSTILE], [[HOSTILE, 1.5], ["b", 2.25]], caption=HOSTILE, strong=[1]),
                report.facts({HOSTILE: HOSTILE}),
                report.code(HOSTILE),
            ],
            "Pictures": [
                report.figure(image, HOSTILE, wide=True),
                report.compare(image, 1 - image, (HOSTILE, "after"), HOSTILE),
                report.figure_svg(report.line_chart({HOSTILE: [1.0, 2.0]}, title=HOSTILE), HOSTILE),
            ],
            "Empty": [],
        },
        lead=HOSTILE,
        footer=HOSTILE,
    )


def test_html_page_nests_and_escapes():
    page = Page(whole_page())
    assert page.texts.count(HOSTILE) == 17
    assert len(page.all("script")) == 1
    assert len(page.all("section")) == len(page.all("h2")) == 3
    assert page.all("html") == [{"lang": "en"}]


def test_html_page_loads_nothing_from_elsewhere():
    text = whole_page()
    assert "http" not in text.replace("http-equiv", "")
    assert not re.search(r"@import|url\(", text)
    page = Page(text)
    for attributes in page.all("img"):
        assert attributes["src"].startswith("data:image/")
    assert page.all("link") == []


def test_html_page_links_to_its_sections():
    page = Page(whole_page())
    targets = [attributes["id"] for attributes in page.all("section")]
    assert [attributes["href"] for attributes in page.all("a")] == [f"#{target}" for target in targets]
    assert len(set(targets)) == 3
    assert Page(report.html_page("t", {"only": []})).all("nav") == []


def test_html_page_is_light_dark_and_fit_for_phones():
    text = whole_page()
    assert "@media(prefers-color-scheme:dark)" in text
    assert {"name": "viewport", "content": "width=device-width,initial-scale=1"} in Page(text).all("meta")


def test_table_aligns_numbers():
    page = Page(report.table(["row", "dB"], [["a", 1.5], ["b", None]], strong=[1]))
    assert [attributes.get("class") for attributes in page.all("td")] == [None, "n", None, "n"]
    assert [attributes.get("class") for attributes in page.all("tr")] == [None, None, "strong"]
    assert page.texts == ["row", "dB", "a", "1.5", "b", "-"]


@pytest.mark.parametrize("shape", [(6, 9, 3), (6, 9, 1), (6, 9)])
def test_figure_embeds_the_exact_pixels(shape):
    image = random_image(*shape)
    (attributes,) = Page(report.figure(image, "a caption", alt="what it shows")).all("img")
    kind, pixels = pixels_of(attributes)
    assert kind == "png"
    np.testing.assert_array_equal(pixels, report.to_uint8(image))
    assert attributes["alt"] == "what it shows"
    assert attributes["class"] == "crisp"


def test_large_noisy_pictures_become_jpeg():
    smooth = np.add.outer(np.linspace(0, 0.7, 500), np.linspace(0, 0.2, 600))
    image = smooth[..., None] + 0.2 * random_image(500, 600, 3)
    (attributes,) = Page(report.figure(image)).all("img")
    kind, pixels = pixels_of(attributes)
    assert kind == "jpeg"
    assert "class" not in attributes
    assert np.abs(pixels.astype(float) - report.to_uint8(image)).mean() < 12


def test_compare_is_two_pictures_and_a_labelled_slider():
    before, after = random_image(6, 9), random_image(6, 9, 3)
    page = Page(report.compare(before, after, ("input", "ten steps"), "Drag."))
    for attributes, image, label in zip(page.all("img"), (before, after), ("input", "ten steps"), strict=True):
        np.testing.assert_array_equal(pixels_of(attributes)[1], report.to_uint8(image))
        assert attributes["alt"] == label
    assert page.texts == ["input", "ten steps", "Drag."]
    (slider,) = page.all("input")
    assert slider["type"] == "range"
    assert slider["aria-label"] == "Slide between input and ten steps"
    with pytest.raises(ValueError, match=r"after: expected the size \[6, 9\] of before, got \[9, 6\]"):
        report.compare(before, after.swapaxes(0, 1))
