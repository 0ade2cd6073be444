"""The model that unrolls rates over time steps."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from blade_tf import arguments, integrate, ops

__all__ = ["EvolutionModel"]


@keras.saving.register_keras_serializable("blade_tf")
class EvolutionModel(keras.Model):
    """Unrolls du/dt = sum of rates over any number of time steps (eqs 2.6, 2.7, 2.10).

    Input: the initial state, float [N, H, W, C]. Output: the state after `steps` steps, [N, H, W, C], or all states
    after the initial one, [N, steps, H, W, C].

    Args:
      rates: a rate or a sequence of them: layers, or functions registered with keras.saving, from u to du/dt.
      dt: length of a time step; a smaller one than in training is fine.
      steps: number of time steps.
      method: "euler" (eq 2.6) or "midpoint" (eq 2.7).
      output: "final" or "trajectory".
      valid_range: the states (lowest, highest) that the rates are meant for; None for all. An image with others is
        computed too, with a warning outside of graphs.
      **kwargs: of keras.Model.

    Raises:
      ValueError: for no rates, a step that is not positive or beyond the bound of a rate that is stable by proof, a
        negative number of steps, an unknown method or output, or a valid_range that does not ascend.

    Attributes:
      stable_dt: the longest step at which the model's only rate obeys a maximum principle by proof; None without one.
    """

    def __init__(
        self,
        rates: Callable[[tf.Tensor], tf.Tensor] | Sequence[Callable[[tf.Tensor], tf.Tensor]],
        dt: float,
        steps: int = 10,
        method: str = "euler",
        output: str = "final",
        valid_range: tuple[float, float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"autocast": False} | kwargs)
        if method not in integrate.INTEGRATORS:
            raise ValueError(f"method: expected one of {sorted(integrate.INTEGRATORS)}, got {method!r}")
        if output not in ("final", "trajectory"):
            raise ValueError(f"output: expected 'final' or 'trajectory', got {output!r}")
        self.rates: list[Any] = [rates] if callable(rates) else list(rates)
        if not self.rates:
            raise ValueError("rates: expected at least one, got none")
        if valid_range is not None and not valid_range[0] < valid_range[1]:
            raise ValueError(f"valid_range: expected (lowest, highest), got {valid_range!r}")
        bounds = [getattr(rate, "stable_dt", None) for rate in self.rates]
        # Each rate's bound is about that rate alone: a sum of several has none.
        self.stable_dt: float | None = bounds[0] if len(bounds) == 1 and method == "euler" else None
        self.dt = self._provable(arguments.positive("dt", dt))
        self.steps = arguments.count("steps", steps)
        self.method = method
        self.output_form = output
        self.valid_range = None if valid_range is None else (float(valid_range[0]), float(valid_range[1]))
        # Chosen here, not at the first call: it decides whether `compile` may ask for XLA.
        self.supports_jit = ops.compiles_with_xla()
        self.built = True

    def _provable(self, dt: float) -> float:
        """dt, or ValueError if it is beyond the bound of a model that is stable by proof."""
        if self.stable_dt is not None and dt > self.stable_dt * (1 + 1e-6):
            raise ValueError(f"dt: expected at most {self.stable_dt:g}, where this model's proof ends, got {dt:g}")
        return dt

    def _length(self, dt: Any, proved: bool) -> Any:
        """The length of a step that is asked for, None for the model's own; refused if its proof, if any, is lost."""
        if dt is None:
            return self.dt
        if not tf.is_tensor(dt):
            dt = arguments.positive("dt", dt)
            return self._provable(dt) if proved else dt
        if self.stable_dt is None or not proved:
            return dt
        bound = tf.constant(self.stable_dt * (1 + 1e-6), dt.dtype)
        message = ["dt: expected at most", self.stable_dt, "where this model's proof ends, got", dt]
        with tf.control_dependencies([tf.debugging.Assert(dt <= bound, message)]):
            return tf.identity(dt)

    def _warn_beyond_range(self, image: tf.Tensor) -> None:
        if self.valid_range is None or not tf.executing_eagerly():
            return
        low, high = self.valid_range
        slack = 1e-3 * (high - low)  # float16 rounds by half of this
        if tf.reduce_min(image) < low - slack or tf.reduce_max(image) > high + slack:
            # The same text for all images: Python shows a warning once a place.
            warnings.warn(
                f"image: expected values in [{low:g}, {high:g}], which this model's equation is meant for; beyond them "
                "the result may be far from its solution",
                stacklevel=3,
            )

    @property
    def bank(self) -> dict[str, keras.Variable]:
        """The trainable weights of the first rate, by name."""
        return self.rates[0].bank

    def select(self, image: tf.Tensor) -> list[Any]:
        """The selections of the first rate: see `blade_tf.rates.Rate`."""
        return self.rates[0].select(image)

    def mosaic(self) -> tuple[np.ndarray, int]:
        """The bank of the first rate as filters [bins, R, S] to look at, and the number of orientations."""
        return self.rates[0].mosaic()

    def rate(self, u: tf.Tensor, extra: Sequence[Callable[[tf.Tensor], tf.Tensor]] = ()) -> tf.Tensor:
        """du/dt: the sum of the model's rates and further ones."""
        return integrate.sum_rates(*self.rates, *extra)(u)

    def step(self, u: tf.Tensor, dt: Any = None, extra: Sequence[Callable[[tf.Tensor], tf.Tensor]] = ()) -> tf.Tensor:
        """The next state after a time dt (default: the model's own); refuses the same dt as `evolve`."""
        return self._step(self._length(dt, not extra), extra)(u)

    def _step(self, dt: Any, extra: Sequence[Callable[[tf.Tensor], tf.Tensor]]) -> Callable[[tf.Tensor], tf.Tensor]:
        fused = self.method == "euler" and not extra and len(self.rates) == 1
        if fused and hasattr(self.rates[0], "euler"):
            return self.rates[0].euler(dt)
        return integrate.INTEGRATORS[self.method](lambda v: self.rate(v, extra), dt)

    def evolve(
        self, image: Any, steps: Any = None, dt: Any = None, extra: Sequence[Callable[[tf.Tensor], tf.Tensor]] = ()
    ) -> tf.Tensor:
        """The state after `steps` steps of length dt, in a loop that holds one state.

        Args:
          image: float [N, H, W, C].
          steps: number of steps, an integer or an integer tensor (default: the model's).
          dt: length of a step, a number or a scalar tensor (default: the model's).
          extra: further rates, such as the data term of a restoration (eq 4.2).

        Raises:
          TypeError: for an image that is not of a float type.
          ValueError: for a wrong rank, steps or dt that make no sense, or a dt beyond the bound of a model that is
            stable by proof (tf.errors.InvalidArgumentError where dt is a tensor).
        """
        image = ops.image_tensor(image)
        self._warn_beyond_range(image)
        steps = self.steps if steps is None else steps
        if not tf.is_tensor(steps):
            steps = arguments.count("steps", steps)
        return integrate.evolve(self._step(self._length(dt, not extra), extra), image, steps)

    def call(self, image: tf.Tensor) -> tf.Tensor:
        if self.output_form == "final":
            return self.evolve(image)
        self._warn_beyond_range(image)
        return tf.stack(integrate.trajectory(self._step(self.dt, ()), image, self.steps), axis=1)

    def compute_output_spec(self, image: Any) -> keras.KerasTensor:
        shape = tuple(image.shape)
        final = self.output_form == "final"
        return keras.KerasTensor(shape if final else (shape[0], self.steps, *shape[1:]), image.dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "rates": [keras.saving.serialize_keras_object(rate) for rate in self.rates],
            "dt": self.dt,
            "steps": self.steps,
            "method": self.method,
            "output": self.output_form,
            "valid_range": list(self.valid_range) if self.valid_range else None,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> EvolutionModel:
        rates = [keras.saving.deserialize_keras_object(rate) for rate in config["rates"]]
        return cls(**config | {"rates": rates})
