"""The forms of BLADE: what a spec says, as a rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from blade_tf import names
from blade_tf.flux import BladeFlux
from blade_tf.layers import Blade, ConvexBlade
from blade_tf.pairs import BladePairs
from blade_tf.rates import BladeRate, FluxRate, PairsRate, Rate
from blade_tf.selection import Selection

__all__ = ["FORMS", "rate"]

Spec = dict[str, Any]


def _plain(spec: Spec) -> Rate:
    selection = Selection(**spec["selection"])
    return BladeRate(selection, Blade(selection.num_bins, spec["footprint"]))


def _convex(spec: Spec) -> Rate:
    selection = Selection(**spec["selection"])
    return BladeRate(selection, ConvexBlade(selection.num_bins, spec["dt"], spec["footprint"]))


def _flux(spec: Spec) -> Rate:
    selection = Selection(**spec["selection"])
    flux = BladeFlux(
        selection.num_bins,
        spec["footprint"],
        banks=len(spec["functions"]),
        tied=spec["tied"],
        antisymmetric=spec["antisymmetric"],
    )
    return FluxRate(selection, flux, spec["functions"])


def _pairs(spec: Spec) -> Rate:
    face, node = Selection(**spec["selection"]), Selection(**spec["node_selection"])
    return PairsRate(face, node, BladePairs(face.num_bins, node.num_bins, spec["dt"]))


FORMS: dict[str, Callable[[Spec], Rate]] = {"plain": _plain, "convex": _convex, "flux": _flux, "pairs": _pairs}


def rate(spec: Spec) -> Rate:
    """The rate that a spec describes, with the bank's initial values; ValueError for an unknown form."""
    if spec["form"] not in FORMS:
        raise ValueError(f"model.form: unknown form {spec['form']!r}{names.hint(spec['form'], FORMS)}")
    return FORMS[spec["form"]](spec)
