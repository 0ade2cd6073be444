"""Rates u -> du/dt made of a selection and a bank: BLADE itself, its flux form, and conservative pairs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from blade_tf import integrate, names, ops
from blade_tf.flux import FUNCTIONS, BladeFlux, divergence, limit_fluxes
from blade_tf.flux_ops import MAX_BANKS, NATIVE_FOOTPRINT, blade_flux_step
from blade_tf.layers import Blade, ConvexBlade
from blade_tf.pair_ops import blade_pairs_step
from blade_tf.pairs import BladePairs
from blade_tf.selection import Selection
from blade_tf.step_ops import blade_step

__all__ = ["BladeRate", "FluxRate", "PairsRate", "Rate"]


class Rate(keras.layers.Layer):
    """A rate as a layer without autocasting: the state and the selection keep the image's precision.

    Attributes:
      bank: the trainable weights by name, each [bins, ...].
      stable_dt: the longest step of explicit Euler at which the maximum principle is proved, or None.
    """

    stable_dt: float | None = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"autocast": False} | kwargs)
        self.supports_jit = ops.compiles_with_xla()

    @property
    def bank(self) -> dict[str, keras.Variable]:
        """The trainable weights by name."""
        raise NotImplementedError

    def select(self, image: tf.Tensor) -> list[Any]:
        """The selections that the bank is given for an image; as in eq 2.9, no gradient flows through them."""
        raise NotImplementedError

    def euler(self, dt: Any) -> Callable[[tf.Tensor], tf.Tensor]:
        """The step `u' = u + dt rate(u)` of explicit Euler (eq 2.6); in one operation where there is one for it.

        To be made where it is used, in the same graph and under the same tape: it may hold the weights of that moment.
        """
        return integrate.euler(self, dt)

    def mosaic(self) -> tuple[np.ndarray, int]:
        """The bank as filters [bins, R, S] to look at, and the number of orientations, which alternate fastest."""
        raise NotImplementedError

    def compute_output_spec(self, image: Any) -> keras.KerasTensor:
        return keras.KerasTensor(image.shape, image.dtype)


def _serialized(rate: Rate, parts: Sequence[str]) -> dict[str, Any]:
    return {part: keras.saving.serialize_keras_object(getattr(rate, part)) for part in parts}


def _deserialized(config: dict[str, Any], parts: Sequence[str]) -> dict[str, Any]:
    return config | {part: keras.saving.deserialize_keras_object(config[part]) for part in parts}


@keras.saving.register_keras_serializable("blade_tf")
class BladeRate(Rate):
    """BLADE(u) (eqs 2.1-2.5) as a rate: at each pixel the filter that the selection layer chooses for u.

    Args:
      selection: a `Selection`.
      blade: a `Blade` or `ConvexBlade` with at least `selection.num_bins` filters.
      **kwargs: of keras.layers.Layer.
    """

    def __init__(self, selection: Selection, blade: Blade | ConvexBlade, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if blade.num_filters < selection.num_bins:
            raise ValueError(f"blade: expected at least {selection.num_bins} filters, got {blade.num_filters}")
        self.selection = selection
        self.blade = blade
        self.stable_dt = blade.dt if isinstance(blade, ConvexBlade) else None
        self.built = True

    @property
    def bank(self) -> dict[str, keras.Variable]:
        """The trainable weights by name."""
        return {"logits": self.blade.logits} if isinstance(self.blade, ConvexBlade) else {"filters": self.blade.filters}

    def select(self, image: tf.Tensor) -> list[Any]:
        """The selections that the bank is given for an image; no gradient flows through them."""
        return [self.selection(tf.stop_gradient(image))]

    def euler(self, dt: Any) -> Callable[[tf.Tensor], tf.Tensor]:
        """The step of explicit Euler; `blade_tf.blade_step` where the selection is of that kind.

        The filters are read, and those of a `ConvexBlade` made, here: once for all calls of the step.
        """
        plain = super().euler(dt)
        # What overrides a part is to be asked.
        if type(self) is not BladeRate or type(self.blade) not in (Blade, ConvexBlade):
            return plain
        filters = tf.cast(self.blade.filters, self.blade.compute_dtype)

        def step(u: tf.Tensor) -> tf.Tensor:
            parameters = self.selection.step_parameters(u)
            if parameters is None or u.dtype.name != self.blade.compute_dtype or not ops.uses_native():
                return plain(u)
            return blade_step(u, filters, dt, **parameters)

        return step

    def mosaic(self) -> tuple[np.ndarray, int]:
        """The bank as filters to look at, and the number of orientations."""
        return keras.ops.convert_to_numpy(self.blade.filters), self.selection.orientations

    def call(self, image: tf.Tensor) -> tf.Tensor:
        return tf.cast(self.blade(image, *self.select(image)), image.dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | _serialized(self, ["selection", "blade"])

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> BladeRate:
        return cls(**_deserialized(config, ["selection", "blade"]))


@keras.saving.register_keras_serializable("blade_tf")
class FluxRate(Rate):
    """Flux BLADE as a rate (eqs 3.14-3.16), which conserves mass to rounding.

    Args:
      selection: a `Selection`; the fluxes are selected at its faces whatever its center.
      flux: a `BladeFlux` with at least `selection.num_bins` filters.
      functions: names of pointwise functions of u, one for each bank of `flux`: "identity" or "double_well", the W'(u)
        of Cahn-Hilliard's equation (eq 3.10) for u limited to [-1/2, 3/2].
      limits: a range [low, high] that no state leaves in explicit Euler steps of at most `dt` from a state inside,
        whatever the fluxes: see `blade_tf.flux.limit_fluxes`. None for none.
      dt: for `limits`.
      **kwargs: of keras.layers.Layer.
    """

    def __init__(
        self,
        selection: Selection,
        flux: BladeFlux,
        functions: Sequence[str] = ("identity",),
        limits: Sequence[float] | None = None,
        dt: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if limits is not None and (len(limits) != 2 or not limits[0] < limits[1]):
            raise ValueError(f"limits: expected two ascending numbers, got {limits!r}")
        if (limits is None) != (dt is None) or (dt is not None and not 0 < dt < math.inf):
            raise ValueError(f"dt: expected a positive number with limits, and none without, got {dt!r}")
        if flux.num_filters < selection.num_bins:
            raise ValueError(f"flux: expected at least {selection.num_bins} filters, got {flux.num_filters}")
        if len(functions) != flux.banks:
            raise ValueError(f"functions: expected {flux.banks}, one for each bank, got {tuple(functions)!r}")
        for name in functions:
            if name not in FUNCTIONS:
                raise ValueError(f"functions: unknown function {name!r}{names.hint(name, FUNCTIONS)}")
        self.selection = selection
        self.selection_x, self.selection_y = selection.at("face_x"), selection.at("face_y")
        self.flux = flux
        self.functions = tuple(functions)
        self.limits = (float(limits[0]), float(limits[1])) if limits is not None else None
        self.dt = dt or math.inf
        self.built = True

    @property
    def bank(self) -> dict[str, keras.Variable]:
        """The trainable weights by name."""
        return {variable.name: variable for variable in self.flux.trainable_variables}

    def select(self, image: tf.Tensor) -> list[Any]:
        """The selections that the bank is given for an image; no gradient flows through them."""
        image = tf.stop_gradient(image)
        return [self.selection_x(image), self.selection_y(image)]

    def euler(self, dt: Any) -> Callable[[tf.Tensor], tf.Tensor]:
        """The step of explicit Euler; `blade_tf.flux_ops.blade_flux_step` where its conditions hold."""
        plain = super().euler(dt)
        known = type(self) is FluxRate and type(self.flux) is BladeFlux
        known &= all(type(s) is Selection for s in (self.selection_x, self.selection_y))
        if not known or self.flux.footprint != NATIVE_FOOTPRINT or self.flux.banks > MAX_BANKS:
            return plain
        limits = None if self.limits is None else (*self.limits, self.dt)

        def step(u: tf.Tensor) -> tf.Tensor:
            precise = u.dtype in (tf.float32, tf.float64) and u.dtype.name == self.flux.compute_dtype
            if not (precise and u.shape[-1] == 1 and ops.uses_native()):
                return plain(u)
            weights = [tf.cast(bank, u.dtype) for bank in self.flux.face_weights]
            return blade_flux_step(u, weights, self.functions, dt, limits, self.selection.parameters)

        return step

    def mosaic(self) -> tuple[np.ndarray, int]:
        """The bank as filters to look at, and the number of orientations."""
        return keras.ops.convert_to_numpy(self.flux.face_filters()[0])[:, 0], self.selection.orientations

    def call(self, image: tf.Tensor) -> tf.Tensor:
        images = [FUNCTIONS[name](image) for name in self.functions]
        if self.limits is None:
            return tf.cast(self.flux(images, *self.select(image)), image.dtype)
        flux_x, flux_y = (tf.cast(flux, image.dtype) for flux in self.flux.fluxes(images, *self.select(image)))
        return divergence(*limit_fluxes(image, flux_x, flux_y, self.dt, *self.limits))

    def get_config(self) -> dict[str, Any]:
        own = {"functions": list(self.functions), "limits": self.limits, "dt": self.dt if self.limits else None}
        return super().get_config() | _serialized(self, ["selection", "flux"]) | own

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> FluxRate:
        return cls(**_deserialized(config, ["selection", "flux"]))


@keras.saving.register_keras_serializable("blade_tf")
class PairsRate(Rate):
    """Conservative pairs as a rate: mass and range are kept by construction, see `BladePairs`.

    Args:
      face: the `Selection` of the pairs around faces, whatever its center.
      node: that of the pairs around pixels.
      pairs: a `BladePairs` with at least their numbers of bins.
      **kwargs: of keras.layers.Layer.
    """

    def __init__(self, face: Selection, node: Selection, pairs: BladePairs, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name, have, need in (
            ("face", pairs.face_bins, face.num_bins),
            ("node", pairs.node_bins, node.num_bins),
        ):
            if have < need:
                raise ValueError(f"pairs: expected at least {need} {name} bins, got {have}")
        self.face, self.node = face, node
        self.selections = [face.at("face_x"), face.at("face_y"), node.at("pixel")]
        self.pairs = pairs
        self.stable_dt = pairs.dt
        self.built = True

    @property
    def bank(self) -> dict[str, keras.Variable]:
        """The trainable weights by name."""
        return {"face": self.pairs.face, "node": self.pairs.node}

    def select(self, image: tf.Tensor) -> list[Any]:
        """The selections that the bank is given for an image; no gradient flows through them."""
        image = tf.stop_gradient(image)
        return [selection(image) for selection in self.selections]

    def euler(self, dt: Any) -> Callable[[tf.Tensor], tf.Tensor]:
        """The step of explicit Euler; `blade_tf.pair_ops.blade_pairs_step` for one channel in the layer's precision."""
        plain = super().euler(dt)
        known = type(self) is PairsRate and type(self.pairs) is BladePairs
        if not known or any(type(selection) is not Selection for selection in self.selections):
            return plain

        def step(u: tf.Tensor) -> tf.Tensor:
            precise = u.dtype in (tf.float32, tf.float64) and u.dtype.name == self.pairs.compute_dtype
            if not (precise and u.shape[-1] == 1 and ops.uses_native()):
                return plain(u)
            banks, selections = self.pairs.conductances(u.dtype), (self.face.parameters, self.node.parameters)
            return blade_pairs_step(u, banks, dt, self.pairs.dt, self.pairs.coupled, selections)

        return step

    def mosaic(self) -> tuple[np.ndarray, int]:
        """The bank as filters to look at, and the number of orientations."""
        return self.pairs.face_stencils(), self.face.orientations

    def call(self, image: tf.Tensor) -> tf.Tensor:
        compute = tf.cast(image, tf.float64 if image.dtype == tf.float64 else tf.float32)
        return tf.cast(self.pairs(compute, *self.select(compute)), image.dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | _serialized(self, ["face", "node", "pairs"])

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PairsRate:
        return cls(**_deserialized(config, ["face", "node", "pairs"]))
