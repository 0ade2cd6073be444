"""Learned, spatially adaptive filters that solve the PDEs of image processing at coarse resolution.

Source: "Solving Image PDEs with a Shallow Network" (Getreuer, Milanfar, Luo; arXiv 2110.08327).
"""

import os
import sys

# A program, which a person watches, leaves out TensorFlow's start-up messages, and so do the processes that it starts.
# With oneDNN blur is seven times as fast; without a word TensorFlow turns it on for some processors alone.
if any(os.path.basename(a).startswith("blade-") or a.startswith("blade_tf.cli") for a in sys.orig_argv[:3]):
    os.environ.update({"TF_CPP_MIN_LOG_LEVEL": "2", "TF_ENABLE_ONEDNN_OPTS": "1", "BLADE_TF_QUIET": "1"} | os.environ)
if os.environ.get("BLADE_TF_QUIET") == "1":
    from blade_tf import quiet

    quiet.import_tensorflow()

from blade_tf.flux import BladeFlux
from blade_tf.integrate import euler, evolve, midpoint, sum_rates, trajectory
from blade_tf.layers import Blade, ConvexBlade
from blade_tf.models import EvolutionModel, load, load_pretrained, pretrained_names
from blade_tf.ops import blade_filter, blade_filter_soft, implementation
from blade_tf.pairs import BladePairs
from blade_tf.pdes import PDES, TVFlow, solve
from blade_tf.rates import BladeRate, FluxRate, PairsRate
from blade_tf.select_ops import SoftSelection, blade_select, blade_select_soft
from blade_tf.selection import Selection, feature_quantiles, quantile_thresholds
from blade_tf.step_ops import blade_step

__version__ = "0.4.0"

__all__ = [
    "PDES",
    "Blade",
    "BladeFlux",
    "BladePairs",
    "BladeRate",
    "ConvexBlade",
    "EvolutionModel",
    "FluxRate",
    "PairsRate",
    "Selection",
    "SoftSelection",
    "TVFlow",
    "blade_filter",
    "blade_filter_soft",
    "blade_select",
    "blade_select_soft",
    "blade_step",
    "euler",
    "evolve",
    "feature_quantiles",
    "implementation",
    "load",
    "load_pretrained",
    "midpoint",
    "pretrained_names",
    "quantile_thresholds",
    "solve",
    "sum_rates",
    "trajectory",
]
