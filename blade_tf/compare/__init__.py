"""Comparisons of the applications with other methods, one module an application, and what they share."""

from blade_tf.compare.findings import Findings, Table, card, document, write
from blade_tf.compare.restored import mean_scores, photographs

__all__ = ["Findings", "Table", "card", "document", "mean_scores", "photographs", "write"]
