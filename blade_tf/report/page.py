"""One self-contained HTML page: text, tables, pictures, charts, before/after sliders. All text is escaped."""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from PIL import Image

from blade_tf.report.pictures import to_uint8
from blade_tf.report.tables import layout

__all__ = ["code", "compare", "facts", "figure", "figure_svg", "html_page", "paragraph", "table"]

_LARGEST_PNG = 600_000
_CRISP_WIDTH = 480

_STYLE = """
:root{color-scheme:light dark;--paper:#fbfaf7;--card:#fff;--ink:#1c1d20;--soft:#63656b;--line:#e3e0d9;--accent:#0b5f93;
--shade:0 1px 2px #0001,0 8px 24px #0000000f}
@media(prefers-color-scheme:dark){:root{--paper:#121315;--card:#1a1c1f;--ink:#e8e6e1;--soft:#9b9da3;--line:#2e3136;
--accent:#7fc4f2;--shade:none;--series-0:#4ea8e0;--series-1:#f08a4b;--series-2:#37c597;--series-3:#e39bc4;
--series-4:#d9b13b;--series-5:#8fd0f7;--series-6:#a8a8a8}}
*{box-sizing:border-box}
html{scroll-behavior:smooth;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:1.0625rem/1.65 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif}
main{max-width:58rem;margin:0 auto;padding:clamp(2rem,7vw,5rem) clamp(1rem,4vw,2rem) 4rem}
h1{font-size:clamp(1.9rem,5.5vw,3rem);line-height:1.12;letter-spacing:-.022em;margin:0 0 1rem;text-wrap:balance}
h2{font-size:1.55rem;line-height:1.25;letter-spacing:-.012em;margin:0 0 1rem;scroll-margin-top:1.5rem}
section{margin-top:3.5rem;padding-top:2.25rem;border-top:1px solid var(--line)}
p,pre{max-width:44rem;margin:0 0 1.1rem}
p,figcaption{text-wrap:pretty}
.lead{font-size:1.2rem;line-height:1.55;color:var(--soft)}
nav{display:flex;flex-wrap:wrap;gap:.35rem 1.25rem;margin-top:1.5rem;font-size:.95rem}
a{color:var(--accent);text-underline-offset:.2em}
figure{margin:1.75rem 0 2rem}
figcaption{margin-top:.7rem;max-width:44rem;color:var(--soft);font-size:.94rem;line-height:1.5}
img{display:block;max-width:100%;height:auto;border-radius:6px}
figure>img{box-shadow:var(--shade)}
.crisp{image-rendering:pixelated}
.wide img{width:100%;max-width:min(100%,var(--room))}
.scroll{overflow-x:auto}
svg{display:block;width:100%;max-width:42rem;height:auto}
pre{overflow-x:auto;padding:.9rem 1.1rem;background:var(--card);border:1px solid var(--line);border-radius:8px;
font:.9rem/1.55 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
table{border-collapse:collapse;min-width:min(100%,30rem);font-size:1rem;line-height:1.4}
th,td{padding:.55rem 1.5rem .55rem 0;text-align:left;vertical-align:baseline;border-bottom:1px solid var(--line)}
th{font-size:.86rem;font-weight:600;color:var(--soft);border-bottom-width:2px}
th:last-child,td:last-child{padding-right:.25rem}
.n{text-align:right;font-variant-numeric:tabular-nums}
td.n{white-space:nowrap}
.strong td{font-weight:650}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.9rem;margin:1.75rem 0;padding:0}
.facts div{padding:1rem 1.1rem;background:var(--card);border:1px solid var(--line);border-radius:10px}
.facts dt{color:var(--soft);font-size:.88rem;line-height:1.35}
.facts dd{margin:.15rem 0 0;font-size:1.6rem;line-height:1.25;font-weight:650;letter-spacing:-.015em;
font-variant-numeric:tabular-nums}
.live{max-width:var(--room)}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:.75rem}
.pair>div{position:relative}
.pair img{width:100%}
.pair b{position:absolute;left:.6rem;bottom:.6rem;padding:.1rem .6rem;border-radius:99px;background:#000a;color:#fff;
font-size:.84rem;font-weight:600;pointer-events:none}
.pair input,.pair i{display:none}
.live{position:relative;display:block;overflow:hidden;border-radius:6px;box-shadow:var(--shade);--cut:50%}
.live img{border-radius:0;user-select:none}
.live .before{position:absolute;inset:0;z-index:1;clip-path:inset(0 calc(100% - var(--cut)) 0 0)}
.live>div:not(.before) b{left:auto;right:.6rem}
.live i{display:block;position:absolute;z-index:2;inset:0 auto 0 var(--cut);width:2px;margin-left:-1px;background:#fff;
box-shadow:0 0 0 1px #0005;pointer-events:none}
.live i::after{content:"\\2039\\2002\\203A";position:absolute;top:50%;left:50%;width:2.5rem;height:2.5rem;
transform:translate(-50%,-50%);border-radius:50%;background:#fff;color:#222;box-shadow:0 1px 6px #0006;
font:600 1.2rem/2.3rem system-ui,sans-serif;text-align:center}
.live input{display:block;position:absolute;inset:0;z-index:3;width:100%;height:100%;margin:0;opacity:0;
cursor:ew-resize;touch-action:pan-y}
.live input:focus-visible+i::after{outline:3px solid var(--accent);outline-offset:2px}
@media(max-width:36rem){table{font-size:.92rem}th,td{padding-right:.8rem}}
footer{margin-top:4rem;color:var(--soft);font-size:.9rem}
@media print{.live .before{position:static;clip-path:none}.live{display:grid}.live i,.live input,nav{display:none}}
"""

_SCRIPT = """
for(const pair of document.querySelectorAll(".pair")){
  const input=pair.querySelector("input");
  const move=()=>{pair.style.setProperty("--cut",input.value+"%");
    input.setAttribute("aria-valuetext",input.value+" % "+input.dataset.before)};
  input.addEventListener("input",move);move();pair.classList.add("live")}
"""


def html_page(title: str, sections: Mapping[str, Sequence[str]], *, lead: str = "", footer: str = "") -> str:
    """The whole page: light or dark as the reader prefers, nothing loaded from elsewhere.

    Args:
      sections: heading -> blocks made by this module's other functions.
      lead: a sentence or two under the title.
      footer: a line at the end.
    """
    anchors = {heading: f"{re.sub(r'[^a-z0-9]+', '-', heading.lower())}-{k}" for k, heading in enumerate(sections)}
    links = "".join(f'<a href="#{anchor}">{escape(heading)}</a>' for heading, anchor in anchors.items())
    body = "".join(
        f'<section id="{anchors[heading]}"><h2>{escape(heading)}</h2>\n' + "\n".join(blocks) + "</section>\n"
        for heading, blocks in sections.items()
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<header><h1>{escape(title)}</h1>"
        + (f'<p class="lead">{escape(lead)}</p>' if lead else "")
        + (f'<nav aria-label="Contents">{links}</nav>' if len(sections) > 2 else "")
        + f"</header>\n{body}"
        + (f"<footer>{escape(footer)}</footer>\n" if footer else "")
        + f"</main>\n<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def code(text: str) -> str:
    """Commands or a program, as they are."""
    return f"<pre><code>{escape(text)}</code></pre>"


def facts(values: Mapping[str, Any]) -> str:
    """A few key figures side by side: what each is, and its value."""
    cards = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(str(v))}</dd></div>" for k, v in values.items())
    return f'<dl class="facts">{cards}</dl>'


def table(
    headers: Sequence[str], rows: Sequence[Sequence[Any]], *, caption: str = "", strong: Sequence[int] = ()
) -> str:
    """A table; columns of numbers are aligned to the right, rows with an index in `strong` stand out.

    Raises:
      ValueError: a row is not as long as the headers.
    """
    texts, numeric = layout(headers, rows)
    kinds = [' class="n"' if right else "" for right in numeric]
    head = "".join(f'<th scope="col"{kind}>{escape(text)}</th>' for text, kind in zip(headers, kinds, strict=True))
    body = ""
    for k, row in enumerate(texts):
        cells = "".join(f"<td{kind}>{escape(text)}</td>" for text, kind in zip(row, kinds, strict=True))
        body += f'<tr class="strong">{cells}</tr>' if k in strong else f"<tr>{cells}</tr>"
    grid = f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    return f"<figure>{grid}{_caption(caption)}</figure>"


def figure(image: np.ndarray, caption: str = "", *, alt: str = "", wide: bool = False) -> str:
    """A picture (see `to_uint8`) with its caption; wide fills the column, small pictures with visible pixels."""
    kind, style = (' class="wide"', f' style="{_room(image)}"') if wide else ("", "")
    return f"<figure{kind}>{_img(image, alt or caption, style)}{_caption(caption)}</figure>"


def figure_svg(svg: str, caption: str = "") -> str:
    """A chart of `line_chart` or `bar_chart` with its caption."""
    return f"<figure>{svg}{_caption(caption)}</figure>"


def compare(
    before: np.ndarray, after: np.ndarray, labels: tuple[str, str] = ("before", "after"), caption: str = ""
) -> str:
    """Two pictures of the same size under a slider (mouse, touch, arrow keys); side by side without JavaScript.

    Raises:
      ValueError: the sizes differ.
    """
    if np.shape(before)[:2] != np.shape(after)[:2]:
        raise ValueError(
            f"after: expected the size {list(np.shape(before)[:2])} of before, got {list(np.shape(after)[:2])}"
        )
    first, second = (
        f"<div{kind}>{_img(image, label)}<b>{escape(label)}</b></div>"
        for image, label, kind in zip((before, after), labels, (' class="before"', ""), strict=True)
    )
    name = escape(f"Slide between {labels[0]} and {labels[1]}")
    slider = f'<input type="range" value="50" aria-label="{name}" data-before="{escape(labels[0])}"><i></i>'
    return (
        f'<figure><div class="pair" style="{_room(before)}">{first}{second}{slider}</div>{_caption(caption)}</figure>'
    )


def _caption(text: str) -> str:
    return f"<figcaption>{escape(text)}</figcaption>" if text else ""


def _img(image: np.ndarray, alt: str, attributes: str = "") -> str:
    pixels = to_uint8(image)
    height, width, _ = pixels.shape
    crisp = ' class="crisp"' if width <= _CRISP_WIDTH else ""
    return f'<img src="{_data_uri(pixels)}" width="{width}" height="{height}" alt="{escape(alt)}"{crisp}{attributes}>'


def _room(image: np.ndarray) -> str:
    """The width at which a picture is as tall as a screen."""
    height, width = np.shape(image)[:2]
    return f"--room:{44 * width / height:.1f}rem"


def _data_uri(pixels: np.ndarray) -> str:
    """PNG, or JPEG for a picture whose PNG would be large."""
    gray = bool((pixels == pixels[..., :1]).all())
    picture = Image.fromarray(pixels[..., 0] if gray else pixels)
    kind, data = "png", io.BytesIO()
    picture.save(data, "PNG", optimize=True)
    if len(data.getvalue()) > _LARGEST_PNG:
        kind, data = "jpeg", io.BytesIO()
        picture.save(data, "JPEG", quality=92)
    return f"data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode()}"
