"""BLADE in the form of fluxes: the sum of the image never changes (section 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from blade_tf import arguments, layers, ops
from blade_tf import image as image_lib

__all__ = [
    "FUNCTIONS",
    "BladeFlux",
    "antisymmetric_filters",
    "divergence",
    "face_filters",
    "face_fluxes",
    "limit_fluxes",
]


def _double_well(u: tf.Tensor) -> tf.Tensor:
    """W'(u) = 2 u (u - 1) (2 u - 1), W(u) = u^2 (u - 1)^2 (eq 3.10), of u limited to [-1/2, 3/2].

    No solution comes near these limits; without them a state that left [0, 1] far behind would grow as its cube.
    """
    u = tf.clip_by_value(u, -0.5, 1.5)
    return 2.0 * u * (u - 1.0) * (2.0 * u - 1.0)


FUNCTIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {"identity": tf.identity, "double_well": _double_well}


def antisymmetric_filters(half: Any) -> tf.Tensor:
    """Face-centred filters of zero sum from the columns on the near side of the face: [..., R, S/2] to [..., R, S].

    `h[..., r, s] = -half[..., r, s]` and `h[..., R - 1 - r, S - 1 - s] = half[..., r, s]` for s < S/2: each coefficient
    multiplies the difference of two pixels that mirror each other through the face's centre, far side minus near side.
    Positive coefficients thus diffuse.
    """
    half = tf.convert_to_tensor(half)
    return tf.concat([-half, tf.reverse(half, [-2, -1])], -1)


def face_filters(weights_x: Any, weights_y: Any, antisymmetric: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """hx [K, banks, R, S] and hy [K, banks, S, R] as they are applied, from the weights of a `BladeFlux`."""
    banks = [tf.convert_to_tensor(weights) for weights in (weights_x, weights_y)]
    if antisymmetric:
        banks = [antisymmetric_filters(bank) for bank in banks]
    return banks[0], tf.linalg.matrix_transpose(banks[1])


def face_fluxes(
    images: Sequence[tf.Tensor], filters: Sequence[tf.Tensor], selections: Sequence[Any]
) -> list[tf.Tensor]:
    """Gx and Gy (eqs 3.14-3.15) of one image for each bank, from `face_filters` and the selections at the faces."""
    return [
        tf.add_n([layers.apply_bank(image, bank[:, b], selection) for b, image in enumerate(images)])
        for bank, selection in zip(filters, selections, strict=True)
    ]


@tf.custom_gradient
def divergence(flux_x: tf.Tensor, flux_y: tf.Tensor) -> tuple[tf.Tensor, Any]:
    """The rate of change `Gx[y, x] - Gx[y, x - 1] + Gy[y, x] - Gy[y - 1, x]` (eq 3.16), [N, H, W, C] like the fluxes.

    Nothing flows through the border: see `blade_tf.image.flux_difference`.
    """

    # Ten times as fast as the gradients of slices and concatenations.
    def adjoint(grad: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return -image_lib.forward_difference(grad, axis=2), -image_lib.forward_difference(grad, axis=1)

    rate = image_lib.flux_difference(flux_x, axis=2) + image_lib.flux_difference(flux_y, axis=1)
    return rate, adjoint


def _previous(field: tf.Tensor, axis: int) -> tf.Tensor:
    """field[i - 1] along an axis, 0 at the beginning."""
    paddings = [[0, 0] for _ in range(4)]
    paddings[axis] = [1, 0]
    return tf.pad(field, paddings)[:, : tf.shape(field)[1], : tf.shape(field)[2]]


def _next(field: tf.Tensor, axis: int) -> tf.Tensor:
    """field[i + 1] along an axis, 0 at the end."""
    paddings = [[0, 0] for _ in range(4)]
    paddings[axis] = [0, 1]
    padded = tf.pad(field, paddings)
    return padded[:, 1:] if axis == 1 else padded[:, :, 1:]


def limit_fluxes(
    u: tf.Tensor, flux_x: tf.Tensor, flux_y: tf.Tensor, dt: float, low: float, high: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Fluxes that are as near to the given ones as keeps an explicit Euler step of at most dt in [low, high].

    Each pixel would gain I and lose O in a step dt. What flows in is scaled by `min(1, max(high - u, 0) / I)`, what
    flows out by `min(1, max(u - low, 0) / O)`, and each flux by the smaller one of the factors of the pixel that it
    leaves and the pixel that it enters. Proof, for any fluxes: u' <= u + I max(high - u, 0) / I <= max(u, high), and
    likewise u' >= min(u, low); a shorter step lies between u and u'. It is still one flux through each face: mass is
    conserved. Fluxes that break no limit stay as they are. No gradient flows through the factors.

    Args:
      u: the state, [N, H, W, C]; so are flux_x and flux_y, and the results, with no flux through the border.
      flux_x, flux_y: as `divergence` takes them.
      dt: the longest step.
      low, high: the limits.

    Source: Zalesak, "Fully multidimensional flux-corrected transport algorithms for fluids", Journal of Computational
    Physics 31, 1979.
    """
    tiny = tf.constant(1e-30, u.dtype)
    fluxes = {2: _next(_previous(flux_x, 2), 2), 1: _next(_previous(flux_y, 1), 1)}  # 0 through the border
    gained, lost = tf.zeros_like(u), tf.zeros_like(u)
    for axis, flux in fluxes.items():
        before = _previous(flux, axis)
        gained += tf.nn.relu(flux) + tf.nn.relu(-before)
        lost += tf.nn.relu(-flux) + tf.nn.relu(before)

    def factor(room: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
        room = tf.nn.relu(room)
        return (room + tiny) / (tf.maximum(room, dt * wanted) + tiny)

    into, out = factor(high - u, gained), factor(u - low, lost)
    limited = []
    for axis, flux in fluxes.items():
        towards, away = tf.minimum(into, _next(out, axis)), tf.minimum(out, _next(into, axis))
        limited.append(flux * tf.stop_gradient(tf.where(flux > 0, towards, away)))
    return limited[0], limited[1]


@keras.saving.register_keras_serializable("blade_tf")
class BladeFlux(keras.layers.Layer):
    """Rate of change as a difference of fluxes, each a filter that its face selects (eqs 3.14-3.16).

    `rate[y, x] = Gx[y, x] - Gx[y, x - 1] + Gy[y, x] - Gy[y - 1, x]`: Gx[y, x] flows through the face (y, x + 1/2), the
    sum over the banks of the face-centred filter hx[sx, bank] (`blade_tf.blade_filter`) of the bank's image; Gy[y, x]
    flows likewise through (y + 1/2, x), with hy[sy, bank]. No flux crosses the image's border. Fluxes cancel in the sum
    over the image, which therefore changes by rounding alone, whatever the filters and selections are: to the precision
    of the compute dtype.

    Inputs: images, a float tensor [N, H, W, C], or a list of `banks` of them, one for each bank, such as u and W'(u);
    selection_x and selection_y, int32 [N, H, W] in [0, num_filters), or soft ones (`blade_tf.blade_filter_soft`).
    Entry [n, y, x] of selection_x is about the face (y, x + 1/2), of selection_y about (y + 1/2, x); the last column of
    the one and the last row of the other only have to be in range. Output: [N, H, W, C].

    Weights: `filters` [num_filters, banks, R, S], or [num_filters, banks, R, S/2] where `antisymmetric`: see
    `antisymmetric_filters`. Coefficient [r, s] of hx belongs to the pixel (y + r - (R - 1)/2, x + s - S/2 + 1). hy is
    the transpose of hx: a transposed image with exchanged selections evolves into the transposed result. Untied:
    `filters_x` and `filters_y`, each of that shape; `filters_y` is transposed too, so that equal weights are tied ones.

    Args:
      num_filters: number of filters of a bank.
      footprint: (R, S) of hx, R odd and S even.
      banks: number of banks and of images.
      tied: one set of weights for both directions.
      antisymmetric: filters of pairs, which sum to zero and take half the weights.
      filters_initializer: zeros by default: as the rate of an evolution the layer then starts from standing still.
      filters_regularizer: a Keras regularizer of the weights.
      filters_constraint: a Keras constraint of the weights.
      **kwargs: of keras.layers.Layer.

    Raises:
      ValueError: for num_filters or banks < 1, or another footprint.

    Source: "Solving Image PDEs with a Shallow Network" (arXiv 2110.08327), section 3.1.
    """

    def __init__(
        self,
        num_filters: int,
        footprint: Sequence[int] = (5, 6),
        banks: int = 1,
        tied: bool = True,
        antisymmetric: bool = True,
        filters_initializer: Any = "zeros",
        filters_regularizer: Any = None,
        filters_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_filters = arguments.count("num_filters", num_filters, 1)
        self.banks = arguments.count("banks", banks, 1)
        if len(footprint) != 2 or any(size < 1 or size % 2 != odd for size, odd in zip(footprint, (1, 0), strict=True)):
            raise ValueError(f"footprint: expected an odd and an even size, got {tuple(footprint)!r}")
        self.footprint = (int(footprint[0]), int(footprint[1]))
        self.tied = bool(tied)
        self.antisymmetric = bool(antisymmetric)
        self.filters_initializer = keras.initializers.get(filters_initializer)
        self.filters_regularizer = keras.regularizers.get(filters_regularizer)
        self.filters_constraint = keras.constraints.get(filters_constraint)
        self.supports_jit = ops.compiles_with_xla()
        rows, columns = self.footprint
        for name in ("filters",) if self.tied else ("filters_x", "filters_y"):
            weight = self.add_weight(
                name=name,
                shape=(self.num_filters, self.banks, rows, columns // 2 if self.antisymmetric else columns),
                initializer=self.filters_initializer,
                regularizer=self.filters_regularizer,
                constraint=self.filters_constraint,
            )
            setattr(self, name, weight)
        self.built = True

    @property
    def face_weights(self) -> tuple[keras.Variable, keras.Variable]:
        """The weights of hx and of hy, the same where they are tied."""
        return (self.filters, self.filters) if self.tied else (self.filters_x, self.filters_y)

    def face_filters(self) -> tuple[tf.Tensor, tf.Tensor]:
        """hx [num_filters, banks, R, S] and hy [num_filters, banks, S, R], as they are applied."""
        return face_filters(*self.face_weights, self.antisymmetric)

    def fluxes(self, images: Any, selection_x: Any, selection_y: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Gx and Gy (eqs 3.14-3.15), [N, H, W, C] each, what `divergence` takes."""
        images = self._images(images)
        filters = [tf.cast(bank, images[0].dtype) for bank in self.face_filters()]
        flux_x, flux_y = face_fluxes(images, filters, [selection_x, selection_y])
        return flux_x, flux_y

    def _images(self, images: Any) -> list[tf.Tensor]:
        found = list(images) if isinstance(images, list | tuple) else [images]
        if len(found) != self.banks:
            raise ValueError(f"images: expected {self.banks}, one for each bank, got {len(found)}")
        first, *others = (ops.image_tensor(image) for image in found)
        for image in others:
            if image.dtype != first.dtype:
                raise TypeError(f"images: expected {first.dtype.name} like the first, got {image.dtype.name}")
        return [first, *(ops.of_shape("images", image, "[N, H, W, C]", first, 4) for image in others)]

    def call(self, images: Any, selection_x: Any, selection_y: Any) -> tf.Tensor:
        return divergence(*self.fluxes(images, selection_x, selection_y))

    def compute_output_spec(self, images: Any, selection_x: Any, selection_y: Any) -> keras.KerasTensor:
        found = list(images) if isinstance(images, list | tuple) else [images]
        if len(found) != self.banks:
            raise ValueError(f"images: expected {self.banks}, one for each bank, got {len(found)}")
        for image in found:
            if len(image.shape) != 4:
                raise ValueError(f"images: expected [N, H, W, C], got {list(image.shape)}")
        layers.check_selection_spec("selection_x", selection_x)
        layers.check_selection_spec("selection_y", selection_y)
        return keras.KerasTensor(found[0].shape, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "num_filters": self.num_filters,
            "footprint": list(self.footprint),
            "banks": self.banks,
            "tied": self.tied,
            "antisymmetric": self.antisymmetric,
            "filters_initializer": keras.initializers.serialize(self.filters_initializer),
            "filters_regularizer": keras.regularizers.serialize(self.filters_regularizer),
            "filters_constraint": keras.constraints.serialize(self.filters_constraint),
        }
