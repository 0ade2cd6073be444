"""What a comparison found: tables and pictures, as files to read."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from blade_tf import files, models, report, selection
from blade_tf.report import tables

__all__ = ["Findings", "Table", "card", "document", "write"]


@dataclasses.dataclass(frozen=True)
class Table:
    """One table with what there is to say about it.

    Attributes:
      title: its heading.
      text: what was measured, and on what; Markdown.
      columns: their names, that of the row's name first.
      rows: texts and numbers.
    """

    title: str
    text: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclasses.dataclass(frozen=True)
class Findings:
    """The outcome of one application's comparison.

    Attributes:
      name: of the application, and of the files.
      title: of the page.
      tables: in their order.
      numbers: further ones, plain JSON, for other programs.
      pictures: by what they show, uint8 [H, W, 3].
      charts: likewise, SVG as of `blade_tf.report.line_chart`.
      uses: the pretrained models whose cards these figures are for, each with what it is and how it is used, Markdown.
      captions: of pictures and charts, by their keys: a sentence on what they show; the key itself by default.
    """

    name: str
    title: str
    tables: Sequence[Table]
    numbers: dict[str, Any] = dataclasses.field(default_factory=dict)
    pictures: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    charts: dict[str, str] = dataclasses.field(default_factory=dict)
    uses: dict[str, str] = dataclasses.field(default_factory=dict)
    captions: dict[str, str] = dataclasses.field(default_factory=dict)


def _section(table: dict[str, Any]) -> list[str]:
    texts, numeric = tables.layout(table["columns"], table["rows"])
    lines = ["", f"## {table['title']}", "", table["text"], ""]
    lines.append("| " + " | ".join(table["columns"]) + " |")
    lines.append("| " + " | ".join("---:" if right else "---" for right in numeric) + " |")
    return lines + ["| " + " | ".join(row) + " |" for row in texts]


def card(trained: models.Trained, record: dict[str, Any]) -> str:
    """A model's card in Markdown, from what NAME.json of a comparison holds: the tables that have a row of its name."""
    config = trained.config
    chosen = trained.spec.get("selection") or trained.spec["selections"]
    stages = f"{len(chosen)} stages, each by " if isinstance(chosen, list) else ""
    footprints = [trained.spec[key] for key in ("footprint", "residual_footprint") if key in trained.spec]
    count, side = config["data"]["crops_per_image"], config["data"]["crop"]
    crops = f"{count} crop{'' if count == 1 else 's'} of {side} x {side}"
    points = [
        f"**Use**: {record['uses'][trained.name]}",
        f"**Selection**: {stages}{selection.described(chosen[0] if stages else chosen)}; footprint "
        f"{' and '.join(' x '.join(map(str, size)) for size in footprints)}.",
        f"**Data**: see [the photographs](../PHOTOGRAPHS.md); {crops} each.",
        f"**Training**: `configs/{trained.name}.py`, seed {config['seed']}.",
        "**Files**: `model.json` (structure, thresholds, config) and `weights.npz`: data only, read without pickle and "
        "checked against the SHA-256 in `model.json`.",
    ]
    lines = [f"# {trained.name}", "", *(f"- {point}" for point in points), "", f"Figures by `{record['command']}`."]
    for table in record["tables"]:
        if any(row[0] == trained.name for row in table["rows"]):
            lines += _section(table)
    return "\n".join(lines) + "\n"


def document(record: dict[str, Any]) -> str:
    """The page of a comparison, in Markdown, from what NAME.json holds."""
    load = record.get("load")
    beside = "" if load is None else f" The machine's load was {load:.1f} before."
    lines = [f"# {record['title']}", "", f"Written by `{record['command']}`.{beside}"]
    for table in record["tables"]:
        lines += _section(table)
    for name, what in record["pictures"].items():
        lines += ["", f"![{what}](figures/{name})"]
    return "\n".join(lines) + "\n"


def write(findings: Findings, output: str | os.PathLike[str], command: str, load: float | None = None) -> str:
    """Writes NAME.json, NAME.md, figures/NAME_*.{svg,jpg} and cards/MODEL.md into a folder; returns the page's text.

    Args:
      findings: what was found.
      output: the folder.
      command: what gave these findings.
      load: of the machine before, processes that ran or waited, where it is known.
    """
    folder = pathlib.Path(output)
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    figures = {}
    for key, chart in findings.charts.items():
        figures[f"{findings.name}_{key}.svg"] = findings.captions.get(key, key)
        files.write_text(folder / "figures" / f"{findings.name}_{key}.svg", report.svg_file(chart))
    for key, picture in findings.pictures.items():
        figures[f"{findings.name}_{key}.jpg"] = findings.captions.get(key, key)
        report.write_jpeg(folder / "figures" / f"{findings.name}_{key}.jpg", picture)
    record = {
        "name": findings.name,
        "title": findings.title,
        "command": command,
        "load": load,
        "tables": [dataclasses.asdict(table) for table in findings.tables],
        "numbers": findings.numbers,
        "pictures": figures,
        "uses": findings.uses,
    }
    path = folder / f"{findings.name}.json"
    files.write_json(path, record)
    written = json.loads(path.read_text())
    for name in findings.uses:
        (folder / "cards").mkdir(exist_ok=True)
        files.write_text(folder / "cards" / f"{name}.md", card(models.load_trained(name), written))
    text = document(written)
    files.write_text(folder / f"{findings.name}.md", text)
    return text
