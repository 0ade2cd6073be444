"""Conservative pairs: a rate that keeps the mass and the range of the image by construction."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from blade_tf import arguments, ops
from blade_tf.pair_ops import Pair, blade_exchange, blade_lookup

__all__ = ["NEIGHBOURS", "BladePairs", "Geometry", "geometry"]

# Pairs whose midpoint is that of the face between (y, x) and (y, x + 1).
_FACE = [((0, 0), (0, 1)), ((-1, 0), (1, 1)), ((1, 0), (-1, 1)), ((0, -1), (0, 2))]
# Pairs whose midpoint is the pixel itself; then the diagonal neighbours, whose midpoint is a corner: each takes the
# conductance that both of its pixels select.
_NODE = [((0, -1), (0, 1)), ((-1, 0), (1, 0)), ((-1, -1), (1, 1)), ((1, -1), (-1, 1))]
_CORNER = [((0, 0), (1, 1)), ((0, 0), (-1, 1))]
# Further ones of both kinds, in directions between those of the others.
_MORE_FACE = [((-1, -1), (1, 2)), ((1, -1), (-1, 2))]
_MORE_NODE = [((-1, -2), (1, 2)), ((1, -2), (-1, 2)), ((-2, -1), (2, 1)), ((2, -1), (-2, 1))]

NEIGHBOURS = (28, 44)


def _transposed(offset: tuple[int, int]) -> tuple[int, int]:
    return offset[1], offset[0]


class Geometry(NamedTuple):
    """Which pixels exchange: the pairs, and how many conductances an entry of each bank has.

    Attributes:
      pairs: planes are those of the x-faces, of the y-faces and of the pixels, one after the other.
      around_face: the pairs of the face bank, as offsets around an x-face.
      node_conductances: length of an entry of the node bank.
    """

    pairs: list[Pair]
    around_face: list[tuple[tuple[int, int], tuple[int, int]]]
    node_conductances: int


def geometry(neighbours: int) -> Geometry:
    """The pairs of `BladePairs` with that many neighbours, one of `NEIGHBOURS`."""
    more = neighbours > NEIGHBOURS[0]
    face, node = _FACE + _MORE_FACE * more, _NODE + _MORE_NODE * more
    pairs = [Pair(plane, a, b) for plane, (a, b) in enumerate(face)]
    pairs += [Pair(len(face) + plane, _transposed(a), _transposed(b)) for plane, (a, b) in enumerate(face)]
    first = 2 * len(face)
    pairs += [Pair(first + plane, a, b) for plane, (a, b) in enumerate(node)]
    for plane, (a, b) in enumerate(_CORNER, first + len(node)):
        pairs += [Pair(plane, a, b), Pair(plane, (-b[0], -b[1]), (-a[0], -a[1]))]
    return Geometry(pairs, face, len(node) + len(_CORNER))


@keras.saving.register_keras_serializable("blade_tf")
class BladePairs(keras.layers.Layer):
    """Exchange between pairs of pixels whose conductances a selection at each pair's own midpoint looks up.

    `rate[i] = 1 / dt sum_j c_ij min(R_i, R_j) (u_j - u_i)`, `R_i = 1 / max(sum_j c_ij, 1)`, `c_ij = exp(theta)`,

    where j runs over 28 or 44 neighbours of i and theta, the logarithm of the conductance during a time dt, is an entry
    of a bank: `face` [face_bins, 4 or 6] for pairs whose midpoint is a face, one bank for both directions, transposed
    for y:

      (y, x)-(y, x+1); (y-1, x)-(y+1, x+1); (y+1, x)-(y-1, x+1); (y, x-1)-(y, x+2);
      with 44 neighbours also (y-1, x-1)-(y+1, x+2); (y+1, x-1)-(y-1, x+2);

    and `node` [node_bins, 6 or 10] for those around a pixel:

      (y, x-1)-(y, x+1); (y-1, x)-(y+1, x); (y-1, x-1)-(y+1, x+1); (y+1, x-1)-(y-1, x+1);
      with 44 neighbours also (y-1, x-2)-(y+1, x+2); (y+1, x-2)-(y-1, x+2); (y-2, x-1)-(y+2, x+1);
      (y+2, x-1)-(y-2, x+1); and always the diagonal neighbours (y, x)-(y+1, x+1) and (y, x)-(y-1, x+1), each the sum
      of what its two pixels select.

    Proof of both properties, for any banks, any selection and any step t <= dt of explicit Euler, u' = u + t rate:
    mass: c_ij min(R_i, R_j) = c_ji min(R_j, R_i), and u_j - u_i changes its sign, so that the sum over all pixels is
    that of u, and in floating point what one pixel gains is exactly what the other loses before both are rounded;
    maximum principle: u'_i = (1 - s) u_i + sum_j a_ij u_j with a_ij = t / dt c_ij min(R_i, R_j) >= 0 and s = sum_j a_ij
    <= t / dt R_i sum_j c_ij <= 1: a convex combination.

    Inputs: image, float32 or float64 [N, H, W, C]; and the selections at the x-faces, the y-faces and the pixels, each
    int32 [N, H, W] or a `SoftSelection`, which interpolates the conductances. Output: [N, H, W, C], all channels by the
    same conductances.

    Args:
      face_bins: number of entries of the face bank.
      node_bins: number of entries of the node bank.
      dt: the longest step of explicit Euler for which the proof holds.
      neighbours: of a pixel, 28 or 44.
      face_initializer: of `face`; log 0.02 by default.
      node_initializer: of `node`; log 0.01 by default.
      **kwargs: of keras.layers.Layer.

    Raises:
      ValueError: for a number of bins < 1, a dt that is not positive, or another number of neighbours.
    """

    def __init__(
        self,
        face_bins: int,
        node_bins: int,
        dt: float,
        neighbours: int = NEIGHBOURS[0],
        face_initializer: Any = None,
        node_initializer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.face_bins = arguments.count("face_bins", face_bins, 1)
        self.node_bins = arguments.count("node_bins", node_bins, 1)
        self.dt = arguments.positive("dt", dt)
        if neighbours not in NEIGHBOURS:
            raise ValueError(f"neighbours: expected one of {NEIGHBOURS}, got {neighbours!r}")
        self.neighbours = int(neighbours)
        self._geometry = geometry(self.neighbours)
        start = keras.initializers.Constant
        self.face_initializer = keras.initializers.get(face_initializer or start(math.log(0.02)))
        self.node_initializer = keras.initializers.get(node_initializer or start(math.log(0.01)))
        self.supports_jit = ops.compiles_with_xla()
        self.face = self.add_weight(
            name="face", shape=(self.face_bins, len(self._geometry.around_face)), initializer=self.face_initializer
        )
        self.node = self.add_weight(
            name="node", shape=(self.node_bins, self._geometry.node_conductances), initializer=self.node_initializer
        )
        self.built = True

    def face_stencils(self) -> np.ndarray:
        """The conductances of the face bank at the pixels that they couple, around the face: [face_bins, 3, 4]."""
        conductance = np.exp(keras.ops.convert_to_numpy(self.face))
        stencils = np.zeros((self.face_bins, 3, 4))
        for plane, pair in enumerate(self._geometry.around_face):
            for y, x in pair:
                stencils[:, 1 + y, 1 + x] = conductance[:, plane]
        return stencils

    def conductances(self, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
        """exp(theta) of the face bank and of the node bank."""
        return tf.exp(keras.ops.cast(self.face, dtype)), tf.exp(keras.ops.cast(self.node, dtype))

    @property
    def coupled(self) -> list[Pair]:
        """The pairs of pixels that exchange."""
        return self._geometry.pairs

    def call(self, image: tf.Tensor, face_x: Any, face_y: Any, node: Any) -> tf.Tensor:
        face, around = self.conductances(image.dtype)
        conductance = tf.concat(
            [blade_lookup(face, face_x), blade_lookup(face, face_y), blade_lookup(around, node)], axis=1
        )
        return blade_exchange(image, conductance, self._geometry.pairs) / tf.constant(self.dt, image.dtype)

    def compute_output_spec(self, image: Any, face_x: Any, face_y: Any, node: Any) -> keras.KerasTensor:
        return keras.KerasTensor(image.shape, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "face_bins": self.face_bins,
            "node_bins": self.node_bins,
            "dt": self.dt,
            "neighbours": self.neighbours,
            "face_initializer": keras.initializers.serialize(self.face_initializer),
            "node_initializer": keras.initializers.serialize(self.node_initializer),
        }
