"""All results of the trained models with one command: tables, charts of error against time, pictures."""

from blade_tf.results.collection import collect
from blade_tf.results.text import document, readme_table, summary

__all__ = ["collect", "document", "readme_table", "summary"]
