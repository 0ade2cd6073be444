"""The configuration of a model, from photographs to filters: every key with its default.

A file under configs/ holds `get_config()`, which takes `default()` and changes what differs. Keys are locked: a
misspelt one is an error that names the nearest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import ml_collections

from blade_tf import names

__all__ = ["TASKS", "check", "default", "differences", "resampling", "restoration", "task", "upscaling"]

GRAY = 1 / 255

POSITIVE = (
    "reference.scale",
    "reference.dt",
    "reference.steps_per_frame",
    "reference.frames",
    "camera.scale",
    "camera.blur",
    "camera.shifts",
    "data.min_side",
    "data.crop",
    "data.crops_per_image",
    "data.images_per_shard",
    "train.batch",
    "train.crop",
    "train.learning_rate",
    "train.fit_sequences",
    "train.fit_iterations",
    "train.ridge",
    "train.whitening_ridge",
    "train.checkpoint_every",
    "train.summary_every",
    "train.validate_every",
)
NOT_NEGATIVE = (
    "seed",
    "train.steps",
    "train.warmup_steps",
    "train.patience",
)


# Parameters, time step of the reference, and its steps per frame.
EQUATIONS: dict[str, tuple[dict[str, float], float, int]] = {
    "tv_flow": ({"epsilon": 0.1 * GRAY}, 0.005 * GRAY, 255),
    "perona_malik": ({"c": 10 * GRAY}, 0.0125, 80),
    "ced": ({"rho": 1.0, "alpha": 0.01, "contrast": 1e4 * GRAY**4}, 0.025, 20),
    "cahn_hilliard": ({"gamma": 0.25}, 0.02, 50),
}


def _data() -> ml_collections.ConfigDict:
    c = ml_collections.ConfigDict()
    # Photographs are area-downscaled by the largest integer that leaves the shorter side this long.
    c.min_side = 512
    c.crop = 384  # side of a square crop, in pixels of the finest grid that is computed on
    c.crops_per_image = 3
    c.images_per_shard = 4
    c.validation_every = 5  # every 5th photograph is for validation
    return c


def _selection() -> ml_collections.ConfigDict:
    """Thresholds between the bins of each feature: given, or else at these quantiles of the training data.

    Along the feature that `soft` names, if any, they are the centres of the bins instead.
    """
    c = ml_collections.ConfigDict()
    c.orientations = 24
    c.rho = 1.0
    c.soft = ""
    c.strength_quantiles = (0.5, 0.8)
    c.coherence_quantiles = (1 / 3, 2 / 3)
    c.intensity_quantiles = ()
    c.strength_thresholds = ()
    c.coherence_thresholds = ()
    c.intensity_thresholds = ()
    return c


def _train() -> ml_collections.ConfigDict:
    c = ml_collections.ConfigDict()
    c.steps = 1500
    c.batch = 6
    c.crop = 80  # side of the operating grid's windows, cut at random from the crops
    c.learning_rate = 2e-3  # in whitened coordinates; linear warm-up, then cosine decay to 0
    c.warmup_steps = 100
    c.betas = (0.9, 0.99)
    c.loss = "log_mse"
    c.feature_model = ""  # for the loss "features": a file that keras.models.load_model reads
    c.ridge = 1e-5  # of the least-squares start, relative to each bin's mean eigenvalue
    c.whitening_ridge = 1e-3  # likewise, of the coordinates that the end-to-end training works in
    c.checkpoint_every = 200
    c.summary_every = 100
    c.validate_every = 500  # the best of these states, by the validation photographs, is the one that is kept
    c.patience = 0  # stop after so many of them without a better one; 0: never
    c.average = False  # try averages with the least-squares filters too
    return c


def default(equation: str = "tv_flow") -> ml_collections.ConfigDict:
    """The paper's form of BLADE for an equation; lengths in pixels of the operating grid, intensities in [0, 1].

    Raises:
      ValueError: for an unknown equation.
    """
    if equation not in EQUATIONS:
        raise ValueError(f"equation: unknown name {equation!r}{names.hint(equation, EQUATIONS)}")
    parameters, dt, steps = EQUATIONS[equation]
    c = ml_collections.ConfigDict()
    c.name = f"{equation}_paper"
    c.seed = 0

    c.pde = ml_collections.ConfigDict()
    c.pde.name = equation
    c.pde.parameters = ml_collections.ConfigDict(parameters)

    c.reference = ml_collections.ConfigDict()
    c.reference.scale = 4  # the reference grid is this much finer than the operating grid
    c.reference.dt = dt
    c.reference.steps_per_frame = steps  # M of section 2.3: a model's step spans M * dt
    c.reference.frames = 10  # after the initial one

    c.data = _data()

    c.model = ml_collections.ConfigDict()
    c.model.form = "plain"  # or "convex", "flux", "pairs": see blade_tf.forms
    c.model.footprint = (5, 5)  # (R, S); S even for the form "flux", none for "pairs"
    c.model.tied = True  # "flux": one bank for both directions
    c.model.antisymmetric = True  # "flux": filters of differences, half the coefficients
    c.model.functions = ("identity",)  # "flux": a bank for each of these functions of u, see blade_tf.rates
    c.model.limits = ()  # "flux": the range that fluxes are scaled to keep, if any
    c.model.neighbours = 28  # "pairs": or 44
    c.model.method = "euler"
    c.model.selection = _selection()

    c.train = _train()
    c.train.fit_sequences = 200  # the least-squares start takes at most so many of the training sequences
    c.train.fit_iterations = 60  # at most, of L-BFGS

    return c.lock()


def restoration() -> ml_collections.ConfigDict:
    """Stages of BLADE that undo a degradation: Gaussian blur, then white Gaussian noise, both drawn from ranges."""
    c = ml_collections.ConfigDict()
    c.name = "restoration"
    c.task = "restoration"
    c.seed = 0

    c.degradation = ml_collections.ConfigDict()
    c.degradation.blur = (1.0, 1.0)  # lowest and highest standard deviation of the blur, in pixels; 0: none
    c.degradation.noise = (5 * GRAY, 5 * GRAY)  # of the noise; half are in the lowest quarter

    c.data = _data()
    c.data.crop = 160
    c.data.crops_per_image = 4

    c.model = ml_collections.ConfigDict()
    c.model.stages = 4
    c.model.footprint = (7, 7)  # of the filters that see the state
    c.model.residual_footprint = (9, 9)  # of those that see what was given minus the state; from the second stage on
    # Blurs at which banks stand, if any; a model that has them is told blur and noise, and interpolates between them.
    c.model.knots = ()
    c.model.selection = _selection()
    # More strengths than orientations: what is left of the noise differs with the strength.
    c.model.selection.orientations = 12
    c.model.selection.strength_quantiles = (0.25, 0.5, 0.7, 0.82, 0.92)

    c.train = _train()
    c.train.steps = 4000
    return c.lock()


def resampling() -> ml_collections.ConfigDict:
    """Resampling at displaced positions, from photographs that are translated on a finer grid (section 5)."""
    c = ml_collections.ConfigDict()
    c.name = "resample"
    c.task = "resampling"
    c.seed = 0

    c.camera = ml_collections.ConfigDict()
    c.camera.scale = 4  # the photograph's grid is this much finer than the operating grid
    c.camera.blur = 0.5  # standard deviation of phi, a Gaussian, in pixels of the operating grid
    c.camera.noise = (0.0, 0.0)  # lowest and highest standard deviation of the noise of what a model is given
    c.camera.shifts = 5  # by so many different lengths along each axis, up to half a pixel, photographs are translated

    c.data = _data()

    c.model = ml_collections.ConfigDict()
    c.model.order = 3  # of the polynomial in the displacement; the paper's is 1
    c.model.constant = False  # a bank that changes what is not displaced too: against noise
    c.model.degree = 5  # of the spline whose coefficients are filtered; 1: the image itself, as in the paper
    c.model.footprint = (5, 5)
    c.model.selection = _selection()
    c.model.selection.rho = 1.5

    c.train = _train()
    c.train.steps = 1000
    c.train.learning_rate = 1e-3
    c.train.validate_every = 250
    return c.lock()


def upscaling() -> ml_collections.ConfigDict:
    """Stages of BLADE that upscale by a factor, given the point spread function (eq 4.7's f = A u)."""
    c = ml_collections.ConfigDict()
    c.name = "upscale_x2"
    c.task = "upscaling"
    c.seed = 0

    c.sampling = ml_collections.ConfigDict()
    c.sampling.factor = 2
    c.sampling.blur = 0.4  # standard deviation of phi, a Gaussian, in low-resolution pixels
    c.sampling.position = 0.5  # of a low-resolution pixel in its block: 0, on the first pixel; 0.5, in the middle

    c.data = _data()
    c.data.crop = 480
    c.data.crops_per_image = 1

    c.model = ml_collections.ConfigDict()
    c.model.stages = 3
    c.model.footprint = (7, 7)
    c.model.selection = _selection()
    c.model.selection.orientations = 16
    c.model.selection.rho = 1.5

    c.train = _train()
    c.train.crop = 96
    return c.lock()


# The defaults of each task's configs.
TASKS: dict[str, Callable[[], ml_collections.ConfigDict]] = {
    "evolution": default,
    "resampling": resampling,
    "restoration": restoration,
    "upscaling": upscaling,
}


def task(config: ml_collections.ConfigDict) -> str:
    """What the model is trained for: "evolution", where a config does not say."""
    return config.get("task", "evolution")


def check(config: ml_collections.ConfigDict) -> None:
    """ValueError, naming the key, for a number that makes no sense."""
    for key in POSITIVE + NOT_NEGATIVE:
        section, _, name = key.rpartition(".")
        holder = config.get(section, {}) if section else config
        if name not in holder:
            continue  # a key of another task's configs
        value = holder[name]
        if not math.isfinite(value) or value < 0 or (value == 0 and key in POSITIVE):
            raise ValueError(
                f"{key}: expected a {'positive' if key in POSITIVE else 'non-negative'} number, got {value!r}"
            )
    for section in ("reference", "camera"):
        if section in config and config.data.crop % config[section].scale:
            raise ValueError(
                f"data.crop: expected a multiple of {section}.scale = {config[section].scale}, got {config.data.crop}"
            )
    if len(config.train.betas) != 2 or not all(0 <= beta < 1 for beta in config.train.betas):
        raise ValueError(f"train.betas: expected two numbers in [0, 1), got {config.train.betas!r}")
    if config.data.validation_every < 2:
        raise ValueError(f"data.validation_every: expected at least 2, got {config.data.validation_every}")


def differences(earlier: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[str]:
    """The keys in which two configs, as plain dicts, differ, each with both values."""
    found = []
    for key in sorted(earlier.keys() | now.keys()):
        a, b = earlier.get(key), now.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key}: {a!r} there, {b!r} in the config")
    return found
