"""The selection: which filter, or which two, each pixel or face takes by its local structure (section 2.1).

Native and stock implementations are chosen as for `blade_tf.ops`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from blade_tf import native, ops, select_stock
from blade_tf.select_stock import SoftSelection
from blade_tf.structure_tensor import CENTERS

__all__ = ["SelectParameters", "SoftSelection", "blade_select", "blade_select_soft", "check_thresholds", "select_again"]

MAX_RHO = 1e4
SOFT_FEATURES: tuple[str, ...] = ("strength", "coherence", "orientation", "intensity")
RANGES = {"strength": (0.0, math.inf), "coherence": (0.0, 1.0), "intensity": (-math.inf, math.inf)}


def check_thresholds(name: str, thresholds: Sequence[float], low: float, high: float) -> list[float]:
    """The thresholds as floats; ValueError unless, in float32, they are finite, ascending and within [low, high]."""
    values = [float(t) for t in thresholds]
    single = _in_float32(values)
    finite = all(math.isfinite(t) for t in single) and all(low <= t <= high for t in values)
    if not finite or any(a >= b for a, b in itertools.pairwise(single)):
        raise ValueError(f"{name}: expected ascending numbers in [{low:g}, {high:g}], got {values}")
    return values


def _in_float32(values: Sequence[float]) -> list[float]:
    with np.errstate(over="ignore"):
        return np.asarray(values, np.float32).tolist()


def check_choice(name: str, choice: Any, choices: Sequence[str]) -> None:
    """ValueError unless the argument `name` is one of some words."""
    if choice not in choices:
        raise ValueError(f"{name}: expected {', '.join(map(repr, choices[:-1]))} or {choices[-1]!r}, got {choice!r}")


def _check_orientations(orientations: Any, soft: str | None) -> int:
    least, where = (3, " where orientation is soft") if soft == "orientation" else (1, "")
    if isinstance(orientations, bool) or not isinstance(orientations, int | np.integer) or orientations < least:
        raise ValueError(f"orientations: expected an integer of at least {least}{where}, got {orientations!r}")
    return int(orientations)


def _check_centers(centers: Sequence[float], soft: str | None) -> list[float]:
    if soft is None or soft == "orientation":
        where = "without a soft feature" if soft is None else "where orientation is soft"
        if len(centers):
            raise ValueError(f"centers: expected none {where}, got {list(centers)}")
        return []
    if len(centers) < 2:
        raise ValueError(f"centers: expected at least 2 where {soft} is soft, got {list(centers)}")
    return check_thresholds("centers", centers, *RANGES[soft])


@dataclasses.dataclass(frozen=True)
class SelectParameters:
    """The parameters of `blade_select` and, where `soft` is not None, `blade_select_soft`, checked.

    Raises:
      ValueError: names the wrong one.
    """

    orientations: int = 24
    strength_thresholds: Sequence[float] = ()
    coherence_thresholds: Sequence[float] = ()
    intensity_thresholds: Sequence[float] = ()
    rho: float = 1.0
    center: str = "pixel"
    soft: str | None = None
    centers: Sequence[float] = ()

    def __post_init__(self) -> None:
        if self.soft is not None:
            check_choice("soft", self.soft, SOFT_FEATURES)
        checked: dict[str, Any] = {"orientations": _check_orientations(self.orientations, self.soft)}
        for feature, limits in RANGES.items():
            name = f"{feature}_thresholds"
            checked[name] = tuple(check_thresholds(name, getattr(self, name), *limits))
            if checked[name] and feature == self.soft:
                raise ValueError(f"{name}: expected none where {feature} is soft, got {list(checked[name])}")
        if not 0 <= self.rho <= MAX_RHO:
            raise ValueError(f"rho: expected a number in [0, {MAX_RHO:g}], got {self.rho!r}")
        check_choice("center", self.center, CENTERS)
        checked["centers"] = tuple(_check_centers(self.centers, self.soft))
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        if self.num_bins > tf.int32.max:
            raise ValueError(
                f"orientations: expected at most {tf.int32.max} combinations of features, got {self.num_bins}"
            )

    @functools.cached_property
    def num_bins(self) -> int:
        """The number of values that the selection takes, and of filters that a bank needs."""
        sizes = {feature: len(getattr(self, f"{feature}_thresholds")) + 1 for feature in RANGES}
        if self.centers:
            sizes[str(self.soft)] = len(self.centers)
        return self.orientations * math.prod(sizes.values())

    @functools.cached_property
    def thresholds(self) -> dict[str, list[float]]:
        """Of each feature, as the float32 numbers that the native operation's attributes are."""
        return {feature: _in_float32(getattr(self, f"{feature}_thresholds")) for feature in RANGES}

    @functools.cached_property
    def native_arguments(self) -> dict[str, Any]:
        """The attributes of the native operation."""
        found: dict[str, Any] = {f"{feature}_thresholds": values for feature, values in self.thresholds.items()}
        found |= {"orientations": self.orientations, "rho": float(self.rho), "center": self.center}
        return found if self.soft is None else found | {"soft": self.soft, "centers": _in_float32(self.centers)}

    @functools.cached_property
    def any_arguments(self) -> dict[str, Any]:
        """The attributes of the native fused steps that have hard and soft selections, at centres of their own."""
        return {"soft": "none", "centers": []} | self.step_arguments

    @functools.cached_property
    def step_arguments(self) -> dict[str, Any]:
        """The attributes of the native fused step."""
        return {key: value for key, value in self.native_arguments.items() if key != "center"}

    @functools.cached_property
    def stock_arguments(self) -> dict[str, Any]:
        """The arguments of the stock operation."""
        found = {
            "orientations": self.orientations,
            "thresholds": self.thresholds,
            "rho": _in_float32([self.rho])[0],
            "center": self.center,
        }
        return found if self.soft is None else found | {"soft": self.soft, "centers": _in_float32(self.centers)}


_LISTS = (list, np.ndarray)  # `list | np.ndarray` would be made anew for each argument
# By types too: 1, 1.0 and True are equal.
_cached_parameters = functools.lru_cache(typed=True)(SelectParameters)


def parameters(*arguments: Any) -> SelectParameters:
    """The checked parameters of these arguments, in the fields' order; made once for equal ones."""
    arguments = tuple([tuple(a) if isinstance(a, _LISTS) else a for a in arguments])
    try:
        return _cached_parameters(*arguments)
    except TypeError:  # not hashable
        return SelectParameters(*arguments)


def select(image: tf.Tensor, found: SelectParameters, dtype: tf.DType = tf.int32) -> tf.Tensor:
    """`blade_select` with parameters that were checked."""
    if ops.uses_native():
        return native.library.blade_select(image=image, Tsel=dtype, **found.native_arguments)
    return tf.cast(tf.stop_gradient(select_stock.blade_select(image, **found.stock_arguments)), dtype)


def _check_index(dtype: Any, bins: int) -> tf.DType:
    try:
        found = tf.as_dtype(dtype)
    except TypeError:
        found = None
    if found not in (tf.int32, tf.uint8):
        raise TypeError(f"dtype: expected int32 or uint8, got {dtype!r}")
    if found == tf.uint8 and bins > 256:
        raise ValueError(f"dtype: expected int32 for more than 256 combinations of features, got uint8 for {bins}")
    return found


def blade_select(
    image: Any,
    *,
    orientations: int = 24,
    strength_thresholds: Sequence[float] = (),
    coherence_thresholds: Sequence[float] = (),
    intensity_thresholds: Sequence[float] = (),
    rho: float = 1.0,
    center: str = "pixel",
    dtype: Any = tf.int32,
) -> tf.Tensor:
    """Chooses at each pixel a filter by the structure tensor's orientation, strength and coherence, and by intensity.

    `index = ori + orientations * (str + n_strength * (coh + n_coherence * int))` (eq 2.5), where n thresholds make
    n + 1 bins. With J_rho of eqs 2.3-2.4 summed over the channels (central differences and a Gaussian truncated at
    3 rho, borders replicated), l1 >= l2 its eigenvalues and w1 the eigenvector of l1:

    - str = number of thresholds t with sqrt(l1) > t; t in intensity per pixel, t >= 0;
    - coh = number of thresholds q with (sqrt l1 - sqrt l2) / (sqrt l1 + sqrt l2) > q; q in [0, 1];
    - int = number of thresholds t below the mean over the channels, which is not smoothed;
    - ori = the bin of width pi / orientations that holds the angle of w1; bin 0 contains the x axis, and is centred on
      it where `orientations` is even (for odd numbers the bins are turned by a quarter of a bin, so that neither axis
      is an edge).

    It is computed without square roots or arc tangents: with c = J11 - J22, s = 2 J12, R2 = c^2 + s^2 and tr = J11 +
    J22, strength is R2 > u |u| for u = 2 t^2 - tr, coherence is R2 > k^2 tr^2 for k = 2 q / (1 + q^2), and orientation
    compares cross products of (c, s) with the edges' directions. These comparisons, in float32 (float64 for a float64
    image), are the definition: every implementation agrees exactly away from ties. They are strict, so flat pixels and
    NaN take bin 0. No gradient.

    Centred on the faces (y, x + 1/2) for "face_x", the gradient is the difference of the face's two pixels along its
    normal and the mean of their central differences along its tangent, the intensity is the mean of the two, the
    Gaussian's grid is that of the W - 1 faces of a row, and orientation is measured from the normal; entry x is the
    face between pixels x and x + 1, and the last column, where no face is, holds 0. "face_y", at (y + 1/2, x), is the
    transpose of "face_x" of the transposed image, exactly; its last row holds 0.

    Args:
      image: float16, bfloat16, float32 or float64 [N, H, W, C].
      orientations: number of orientation bins, at least 1.
      strength_thresholds: ascending, in intensity per pixel.
      coherence_thresholds: ascending, in [0, 1].
      intensity_thresholds: ascending.
      rho: standard deviation of the tensor's smoothing in pixels, at most 10000; 0 smooths nothing.
      center: "pixel", "face_x" or "face_y".
      dtype: of the selection, int32, or uint8 for up to 256 combinations of features: less memory, and faster to make
        and to filter with.

    Returns:
      [N, H, W] of `dtype`.

    Raises:
      TypeError: for a wrong dtype.
      ValueError: for a wrong rank, thresholds that do not ascend or are out of range, `orientations` < 1, rho out of
        range, an unknown center, or uint8 for more than 256 combinations.

    Source: "Solving Image PDEs with a Shallow Network" (arXiv 2110.08327), section 2.1; intensity, section 3.3.
    """
    found = parameters(orientations, strength_thresholds, coherence_thresholds, intensity_thresholds, rho, center)
    if dtype is not tf.int32:
        dtype = _check_index(dtype, found.num_bins)
    if ops.eager(image) and ops.uses_native():
        with contextlib.suppress(tf.errors.InvalidArgumentError):  # the checks below know what is wrong
            return select(image, found, dtype)
    return select(ops.image_tensor(image), found, dtype)


def blade_select_soft(
    image: Any,
    *,
    soft: str,
    centers: Sequence[float] = (),
    orientations: int = 24,
    strength_thresholds: Sequence[float] = (),
    coherence_thresholds: Sequence[float] = (),
    intensity_thresholds: Sequence[float] = (),
    rho: float = 1.0,
    center: str = "pixel",
) -> SoftSelection:
    """Chooses two filters at each pixel, between which to interpolate along one feature.

    The pixel's filter is `(1 - weight) h[lower] + weight h[upper]`. All features but one are binned as in
    `blade_select`. The bins of the soft feature have centres m_0 < ... < m_(n-1) in place of thresholds: with v the
    feature's value at the pixel and m_i the last centre <= v, but m_0 below all and m_(n-2) above all centres,

      `lower` has bin i, `upper` bin i + 1, `weight = clip((v - m_i) / (m_(i+1) - m_i), 0, 1)`.

    v is sqrt(l1), the coherence, or the intensity. Orientations have the circular centres k pi / orientations instead:
    v = theta orientations / pi, i = floor(v), the bin above the last is 0, and weight = v - i. Flat pixels and NaN
    take bin 0 and weight 0 of the soft feature.

    lower and upper are found by comparisons alone and are the same in every implementation, away from ties; weights
    agree to a few units in the last place of float32 (float64 for a float64 image), times the number of orientations
    where orientation is soft. The weight's gradient with respect to the image is exact wherever it exists, and 0 where
    the weight is clipped or the soft feature is not differentiable (a flat or isotropic pixel).

    Args:
      image: float16, bfloat16, float32 or float64 [N, H, W, C].
      soft: "strength", "coherence", "orientation" or "intensity"; this feature takes no thresholds.
      centers: ascending, at least 2, in the range of the feature's thresholds; none for "orientation".
      orientations: as in `blade_select`; at least 3 for "orientation".
      strength_thresholds: as in `blade_select`, like all that follow.
      coherence_thresholds: ascending, in [0, 1].
      intensity_thresholds: ascending.
      rho: standard deviation of the tensor's smoothing in pixels.
      center: "pixel", "face_x" or "face_y"; where no face is, lower, upper and weight are 0.

    Returns:
      lower and upper, int32 [N, H, W], and weight, [N, H, W] of the image's dtype.

    Raises:
      TypeError: for a wrong dtype.
      ValueError: as `blade_select`; for thresholds of the soft feature, fewer than 2 or wrong centres, centres of
        orientations, and fewer than 3 of them.
    """
    image = ops.image_tensor(image)
    if soft is None:
        check_choice("soft", soft, SOFT_FEATURES)
    found = parameters(
        orientations, strength_thresholds, coherence_thresholds, intensity_thresholds, rho, center, soft, centers
    )
    if ops.uses_native():
        return SoftSelection(*native.library.blade_select_soft(image=image, **found.native_arguments))
    return select_stock.blade_select_soft(image, **found.stock_arguments)


tf.no_gradient("BladeSelect")


@tf.RegisterGradient("BladeSelectSoft")
def _blade_select_soft_grad(op: tf.Operation, *grads: tf.Tensor) -> tf.Tensor:
    """The stock operation's gradient: its weight is the same function."""
    image = op.inputs[0]
    names = [field.name for field in dataclasses.fields(SelectParameters)]
    values = {name: op.get_attr(name) for name in names}
    parameters = SelectParameters(**{k: tf.compat.as_str(v) if isinstance(v, bytes) else v for k, v in values.items()})
    with tf.GradientTape() as tape:
        tape.watch(image)
        weight = select_stock.blade_select_soft(image, **parameters.stock_arguments).weight
    return tape.gradient(weight, image, grads[2])


def select_again(op: tf.Operation, prefix: str, center: str) -> tf.Tensor | SoftSelection:
    """A selection that a fused step, whose attributes `any_arguments` are, made of its image; without a gradient."""

    def value(name: str) -> Any:
        found = op.get_attr(prefix + name)
        return tf.compat.as_str(found) if isinstance(found, bytes) else found

    fields = [field.name for field in dataclasses.fields(SelectParameters) if field.name != "center"]
    arguments = {name: value(name) for name in fields} | {"center": center}
    image = tf.stop_gradient(op.inputs[0])
    if arguments["soft"] != "none":
        return blade_select_soft(image, **arguments)
    del arguments["soft"], arguments["centers"]
    return blade_select(image, **arguments)
