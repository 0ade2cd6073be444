"""Two-phase segmentation by the Chan-Vese model (section 4): where a level set phi is positive, an image is near one
mean, elsewhere near another, and the border between the two is short.

With H(t) = 1/2 + arctan(t) / pi, C channels and |x|^2 = sum(x^2) / C, the energy is

    E = min over c1, c2 of the sum over pixels of
        mu |grad H(phi)| + nu H(phi) + lambda1 H(phi) |f - c1|^2 + lambda2 (1 - H(phi)) |f - c2|^2

and phi descends by  phi_t = delta(phi) (mu div(grad phi / |grad phi|) - nu - lambda1 |f - c1|^2 + lambda2 |f - c2|^2)
(eqs 4.9 and, for colour, 4.11), delta(t) = 1 / (1 + t^2) = pi H'(t). There, as in Getreuer's article, c1 and c2 are the
means of f where phi > 0 and elsewhere: sharp regions converge faster than those of H.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from blade_tf import arguments, models, ops
from blade_tf import export as export_lib
from blade_tf.apps.chan_vese import Segmentation, Settings, border_weight, descend
from blade_tf.level_set_ops import signed_distance

__all__ = ["Segmentation", "Settings", "checkerboard", "export", "load", "segment"]

CHECKER = 5  # px, as in Getreuer's article


@functools.lru_cache(maxsize=8)
def _keras_file(path: str, _: Any) -> models.EvolutionModel:
    with tf.init_scope():  # a graph that is being traced must not own the filters
        return models.load(path)


def load(model: str | os.PathLike[str]) -> models.EvolutionModel:
    """A model of TV flow by its name, from a folder that training wrote, or from a .keras file.

    Raises:
      ValueError: for an unknown name, or a model of another equation, which of .keras files is not known.
    """
    if str(model).endswith(".keras"):
        return _keras_file(str(model), models.version(model))
    trained = models.load_trained(model)
    trained.check_task("evolution")
    if trained.config["pde"]["name"] != "tv_flow":
        raise ValueError(f"model: expected one of TV flow, got {str(model)!r}, of {trained.config['pde']['name']}")
    return models.load_task(model, "evolution")


def _curvature(model: Any) -> models.EvolutionModel | None:
    """What stands for the curvature, from the `model` of `segment`."""
    if model is None or isinstance(model, models.EvolutionModel):
        return model
    if not isinstance(model, str | os.PathLike):
        raise ValueError(f"model: expected a name, a folder or an EvolutionModel, got {type(model).__name__}")
    return load(model)


def checkerboard(height: Any, width: Any, dtype: Any = tf.float32) -> tf.Tensor:
    """The level set sin(pi x / 5) sin(pi y / 5), [1, height, width, 1]: both phases everywhere."""
    waves = [tf.sin(math.pi / CHECKER * tf.cast(tf.range(size), dtype)) for size in (height, width)]
    return tf.einsum("y,x->yx", *waves)[tf.newaxis, :, :, tf.newaxis]


def _trimmed(found: Segmentation) -> Segmentation:
    """Without the energies of iterations that were not needed."""
    last = tf.reduce_max(tf.concat([found.iterations, [0]], 0))
    return found._replace(energies=found.energies[:, : last + 1])


@functools.lru_cache(maxsize=128)
def _compiled(
    settings: Settings, model: models.EvolutionModel | None, native: bool, image: tf.TensorSpec, start: tf.TensorSpec
) -> Callable[..., Segmentation]:
    """One graph for all the iterations, by XLA where it takes the model's operations: three times as fast."""
    del native  # what a graph is traced with
    graph = tf.function(
        lambda f, phi: descend(f, phi, settings, model), jit_compile=ops.compiles_with_xla(), autograph=False
    )
    return graph.get_concrete_function(image, start)


def _level_set(start: Any, image: tf.Tensor) -> tf.Tensor:
    """The start as a level set [N, H, W, 1] like the image."""
    shape = tf.shape(image)
    if start is None:
        return tf.tile(checkerboard(shape[1], shape[2], image.dtype), [shape[0], 1, 1, 1])
    start = tf.convert_to_tensor(start)
    fits = any(start.shape.is_compatible_with([count, *image.shape[1:3], 1]) for count in (1, image.shape[0]))
    if start.dtype not in (tf.bool, image.dtype) or not fits:
        raise ValueError(
            f"start: expected bool or {image.dtype.name} [1 or N, H, W, 1] for the image {image.shape}, got "
            f"{start.dtype.name} {start.shape}"
        )
    given, size = tf.shape(start), tf.stack([shape[1], shape[2], 1])
    same = tf.reduce_all(given[1:] == size) & ((given[0] == 1) | (given[0] == shape[0]))
    message = ["start: expected [1 or N, H, W, 1] for the image", shape, "got", given]
    with tf.control_dependencies([tf.debugging.Assert(same, message)]):
        start = signed_distance(start, image.dtype) if start.dtype == tf.bool else tf.identity(start)
    return tf.broadcast_to(start, tf.concat([shape[:1], size], 0))


def _checks(image: tf.Tensor, phi: tf.Tensor) -> list[tuple[tf.Tensor, str]]:
    """What has to hold, with what to say where it does not."""
    inside = phi > 0
    both = tf.reduce_any(inside, [1, 2, 3]) & ~tf.reduce_all(inside, [1, 2, 3])
    return [
        (tf.reduce_all(tf.math.is_finite(image)), "image: expected finite values, got NaN or infinity"),
        (tf.reduce_all(tf.math.is_finite(phi)), "start: expected finite values, got NaN or infinity"),
        (tf.reduce_all(both), "start: expected pixels inside and outside in each image, got one without either"),
    ]


def segment(
    image: Any,
    start: Any = None,
    *,
    model: str | os.PathLike[str] | models.EvolutionModel | None = None,
    settings: Settings | None = None,
) -> Segmentation:
    """Segments images by the Chan-Vese model; the module states the energy.

    Which of the two phases becomes the inside is arbitrary: compare masks up to it. With several channels |x|^2 is
    their mean square, so that mu means the same (eq 4.11 prints the sum). Intensities are taken as they are: mu is for
    images that span [0, 1]. A phase that became empty, by a large mu or for want of contrast, stays so unless nu
    refills it. Of a constant image both means are the same: its border, wherever it started, shortens.

    Args:
      image: float32 or float64 [N, H, W, C].
      start: the mask, bool, or the level set, of the image's dtype, to start from, [1 or N, H, W, 1]. A mask becomes
        the distance to its border (`level_set_ops.signed_distance`): where a level set is flat the reference solver
        rests. By default the `checkerboard`, better than a mask whose means inside and outside hardly differ.
      model: a model of TV flow whose rate stands for the curvature (eq 4.10), or what `load` takes: explicit steps. An
        `EvolutionModel` is taken as it is, whatever its equation. None for the reference solver: semi-implicit steps of
        Getreuer, "Chan-Vese segmentation", Image Processing On Line 2, 2012, in the form of scikit-image, each pixel
        from the iteration before.
      settings: by default the paper's. With a model mu may be 0.1 at most.

    Returns:
      A `Segmentation`. Outside of graphs XLA computes it where it takes the model's operations, compiled once for each
      shape, settings and model, of which the last 128 are kept; no `tf.GradientTape` records that. A graph has the
      gradient.

    Raises:
      ValueError: another type, dtype or rank; no pixel; a NaN; a model that `load` refuses; mu too large for a model; a
        start of another size, or without any pixel inside or outside (tf.errors.InvalidArgumentError where values or
        sizes are known only when a graph runs). The checkerboard needs two rows and columns.
    """
    settings = Settings() if settings is None else settings
    if not isinstance(settings, Settings):
        raise ValueError(f"settings: expected Settings, got {type(settings).__name__}")
    model = _curvature(model)
    border_weight(settings, model)
    image = arguments.images("image", image, (tf.float32, tf.float64))
    phi = _level_set(start, image)
    checks = _checks(image, phi)
    if not tf.executing_eagerly():
        with tf.control_dependencies([tf.debugging.Assert(holds, [message]) for holds, message in checks]):
            return _trimmed(descend(tf.identity(image), phi, settings, model))
    for holds, message in checks:
        if not holds:
            raise ValueError(message)
    specs = (tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in (image, phi))
    with tf.init_scope():  # which pauses tapes: XLA compiles no gradient of a loop of unknown length
        return _trimmed(_compiled(settings, model, ops.uses_native(), *specs)(image, phi))


def export(
    output: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | models.EvolutionModel | None = None,
    settings: Settings | None = None,
    channels: int = 1,
    portable: bool = False,
) -> None:
    """Writes `segment` as a SavedModel with batch, height and width open.

    The signature `serving_default(image)`, float32 [N, H, W, channels], starts from the checkerboard and returns what
    `Segmentation` names.

    Args:
      output: a new folder; it appears only when complete.
      model, settings: as of `segment`.
      channels: of the images.
      portable: use stock TensorFlow operations, so that the SavedModel loads without blade_tf.

    Raises:
      ValueError: if `output` exists, there is no channel, `load` refuses the model, or mu is too large for one.
    """
    model = _curvature(model)
    border_weight(settings or Settings(), model)
    image = export_lib.image_spec(channels)

    def serve(image: tf.Tensor) -> dict[str, Any]:
        return segment(image, model=model, settings=settings)._asdict()

    export_lib.write_saved_model({"serving_default": (serve, [image])}, output, portable=portable, track=model)
