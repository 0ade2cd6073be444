"""Pictures of filters and results, tables, charts, and one self-contained HTML page; numpy and Pillow alone."""

from blade_tf.report.charts import bar_chart, curve_chart, line_chart, svg_file
from blade_tf.report.page import code, compare, facts, figure, figure_svg, html_page, paragraph, table
from blade_tf.report.picture_files import write_jpeg, write_png
from blade_tf.report.pictures import (
    error_image,
    filter_mosaic,
    outlined,
    pair_mosaic,
    selection_image,
    side_by_side,
    to_uint8,
)
from blade_tf.report.tables import text_table

__all__ = [
    "bar_chart",
    "code",
    "compare",
    "curve_chart",
    "error_image",
    "facts",
    "figure",
    "figure_svg",
    "filter_mosaic",
    "html_page",
    "line_chart",
    "outlined",
    "pair_mosaic",
    "paragraph",
    "selection_image",
    "side_by_side",
    "svg_file",
    "table",
    "text_table",
    "to_uint8",
    "write_jpeg",
    "write_png",
]
