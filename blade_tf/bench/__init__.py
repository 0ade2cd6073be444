"""Benchmarks: the operations, models and training of this package beside their peers, in one run."""

from blade_tf.bench.benchmark import run
from blade_tf.bench.settings import PEERS, Settings, parse_size, simd_levels
from blade_tf.bench.text import summary, write

__all__ = ["PEERS", "Settings", "parse_size", "run", "simd_levels", "summary", "write"]
