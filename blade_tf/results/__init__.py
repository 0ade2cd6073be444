"""All results of the trained models with one command: tables, charts of error against time, pictures."""

from blade_tf.results.collect import collect
from blade_tf.results.text import document, readme_table

__all__ = ["collect", "document", "readme_table"]
