"""What a comparison found: tables and pictures, as files to read."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from blade_tf import files, report
from blade_tf.report import tables

__all__ = ["Findings", "Table", "document", "write"]


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
      command: what gives these findings.
      tables: in their order.
      numbers: further ones, plain JSON, for other programs.
      pictures: by what they show, uint8 [H, W, 3].
      charts: likewise, SVG as of `blade_tf.report.line_chart`.
    """

    name: str
    title: str
    command: str
    tables: Sequence[Table]
    numbers: dict[str, Any] = dataclasses.field(default_factory=dict)
    pictures: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    charts: dict[str, str] = dataclasses.field(default_factory=dict)


def document(record: dict[str, Any]) -> str:
    """The page of a comparison, in Markdown, from what NAME.json holds."""
    lines = [f"# {record['title']}", "", f"Written by `{record['command']}`."]
    for table in record["tables"]:
        texts, numeric = tables.layout(table["columns"], table["rows"])
        lines += ["", f"## {table['title']}", "", table["text"], ""]
        lines.append("| " + " | ".join(table["columns"]) + " |")
        lines.append("| " + " | ".join("---:" if right else "---" for right in numeric) + " |")
        lines += ["| " + " | ".join(row) + " |" for row in texts]
    for name, what in record["pictures"].items():
        lines += ["", f"![{what}](figures/{name})"]
    return "\n".join(lines) + "\n"


def write(findings: Findings, output: str | os.PathLike[str]) -> str:
    """Writes NAME.json, NAME.md and figures/NAME_*.{svg,jpg} into a folder; returns the page's text."""
    folder = pathlib.Path(output)
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    figures = {}
    for key, chart in findings.charts.items():
        figures[f"{findings.name}_{key}.svg"] = key
        files.write_text(folder / "figures" / f"{findings.name}_{key}.svg", report.svg_file(chart))
    for key, picture in findings.pictures.items():
        figures[f"{findings.name}_{key}.jpg"] = key
        report.write_jpeg(folder / "figures" / f"{findings.name}_{key}.jpg", picture)
    record = {
        "name": findings.name,
        "title": findings.title,
        "command": findings.command,
        "tables": [dataclasses.asdict(table) for table in findings.tables],
        "numbers": findings.numbers,
        "pictures": figures,
    }
    path = folder / f"{findings.name}.json"
    files.write_json(path, record)
    text = document(json.loads(path.read_text()))
    files.write_text(folder / f"{findings.name}.md", text)
    return text
