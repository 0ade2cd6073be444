"""The forms of BLADE: what a spec says, as a rate."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import ml_collections

from blade_tf import integrate, names, select_ops
from blade_tf.flux import FUNCTIONS, BladeFlux
from blade_tf.layers import Blade, ConvexBlade
from blade_tf.pairs import NEIGHBOURS, BladePairs
from blade_tf.rates import BladeRate, FluxRate, PairsRate, Rate
from blade_tf.selection import Selection

__all__ = ["FORMS", "check", "rate"]

Spec = dict[str, Any]

MAX_BINS = 1 << 16  # far more than any data fills
PROVED = ("convex", "pairs")  # by proofs that are about explicit Euler
# Keys that the form "flux" alone has, and what they are for the others.
FLUX_KEYS = {"tied": True, "antisymmetric": True, "functions": ("identity",), "limits": ()}
USUAL_FOOTPRINT = (5, 5)


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
    limits = spec.get("limits")
    return FluxRate(selection, flux, spec["functions"], limits, spec["dt"] if limits else None)


def _pairs(spec: Spec) -> Rate:
    face, node = Selection(**spec["selection"]), Selection(**spec["node_selection"])
    return PairsRate(
        face, node, BladePairs(face.num_bins, node.num_bins, spec["dt"], spec.get("neighbours", NEIGHBOURS[0]))
    )


FORMS: dict[str, Callable[[Spec], Rate]] = {"plain": _plain, "convex": _convex, "flux": _flux, "pairs": _pairs}


def rate(spec: Spec) -> Rate:
    """The rate that a spec describes, with the bank's initial values; ValueError for an unknown form."""
    _check_name("form", "form", spec["form"], FORMS)
    return FORMS[spec["form"]](spec)


def check(model: ml_collections.ConfigDict) -> None:
    """ValueError, naming the keys and the reason, for a "model" part of a config that describes no model."""
    _check_name("form", "form", model.form, FORMS)
    _check_name("method", "method", model.method, integrate.INTEGRATORS)
    if model.form in PROVED and model.method != "euler":
        raise ValueError(
            f"model.method: expected 'euler' for the form {model.form!r}, whose proof is about it, got {model.method!r}"
        )
    if model.form == "pairs":
        if tuple(model.footprint) != USUAL_FOOTPRINT:
            raise ValueError(
                f"model.footprint: expected the default {USUAL_FOOTPRINT} for the form 'pairs', whose pairs of pixels "
                f"are fixed, got {tuple(model.footprint)}"
            )
        if model.neighbours not in NEIGHBOURS:
            raise ValueError(f"model.neighbours: expected one of {NEIGHBOURS}, got {model.neighbours!r}")
    else:
        parity, wanted = ((1, 0), "an odd and an even size") if model.form == "flux" else ((1, 1), "two odd sizes")
        sizes = tuple(model.footprint)
        if len(sizes) != 2 or any(not _is_size(n) or n % 2 != odd for n, odd in zip(sizes, parity, strict=True)):
            raise ValueError(f"model.footprint: expected {wanted} for the form {model.form!r}, got {sizes}")
    if model.form != "pairs" and model.neighbours != NEIGHBOURS[0]:
        raise ValueError(
            f"model.neighbours: expected {NEIGHBOURS[0]} for the form {model.form!r}, got {model.neighbours!r}"
        )
    for key, usual in FLUX_KEYS.items():
        value = tuple(model[key]) if isinstance(usual, tuple) else model[key]
        if model.form != "flux" and value != usual:
            raise ValueError(f"model.{key}: expected {usual} for the form {model.form!r}, got {value}")
    limits = tuple(model.limits)
    if limits and (len(limits) != 2 or not limits[0] < limits[1]):
        raise ValueError(f"model.limits: expected two ascending numbers, or none, got {limits}")
    if limits and model.method != "euler":
        raise ValueError(f"model.method: expected 'euler' where there are limits, got {model.method!r}")
    if not model.functions or len(set(model.functions)) < len(model.functions):
        raise ValueError(f"model.functions: expected different ones, at least one, got {tuple(model.functions)}")
    for name in model.functions:
        _check_name("functions", "function", name, FUNCTIONS)
    _check_selection(model.selection)


def _check_name(key: str, what: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        raise ValueError(f"model.{key}: unknown {what} {name!r}{names.hint(name, known)}")


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _check_selection(choice: ml_collections.ConfigDict) -> None:
    if choice.soft:
        _check_name("selection.soft", "feature", choice.soft, select_ops.SOFT_FEATURES)
    thresholds: dict[str, Any] = {}
    centers: tuple[float, ...] = ()
    sizes = {"orientation": choice.orientations}
    for feature, (low, high) in select_ops.RANGES.items():
        given, quantiles = (tuple(choice[f"{feature}_{kind}"]) for kind in ("thresholds", "quantiles"))
        if given and quantiles:
            raise ValueError(
                f"model.selection.{feature}_thresholds: expected none beside {feature}_quantiles, got {given} and "
                f"{quantiles}; set one of them to ()"
            )
        select_ops.check_thresholds(f"model.selection.{feature}_quantiles", quantiles, 0, 1)
        if feature != choice.soft and not all(0 < q < 1 for q in quantiles):
            raise ValueError(
                f"model.selection.{feature}_quantiles: expected numbers in (0, 1), as no pixel is below the quantile 0 "
                f"or above the quantile 1, got {list(quantiles)}"
            )
        select_ops.check_thresholds(f"model.selection.{feature}_thresholds", given, low, high)
        count = len(given or quantiles)
        # Any numbers in the feature's range stand for what the data's quantiles will be.
        levels = given or tuple((k + 1) / (count + 1) for k in range(count))
        if feature != choice.soft:
            sizes[feature] = count + 1
            thresholds[f"{feature}_thresholds"] = levels
        elif count < 2:
            raise ValueError(
                f"model.selection.soft: expected at least 2 centres, as {feature}_quantiles or {feature}_thresholds, "
                f"where {feature} is soft, got {list(given or quantiles)}"
            )
        else:
            sizes[feature], centers = count, levels
    common = {"orientations": choice.orientations, "rho": choice.rho, "soft": choice.soft or None, "centers": centers}
    try:
        bins = select_ops.SelectParameters(**common, **thresholds).num_bins
    except ValueError as error:
        raise ValueError(f"model.selection.{error}") from None
    if bins > MAX_BINS:
        product = " x ".join(f"{size} of {feature}" for feature, size in sizes.items())
        raise ValueError(f"model.selection: expected at most {MAX_BINS} bins, got {product} = {bins}")
