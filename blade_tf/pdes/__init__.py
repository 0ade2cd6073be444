"""The equations, each with its reference scheme and cheaper ones for coarse grids, and their solver."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import tensorflow as tf

from blade_tf import arguments, integrate, names
from blade_tf.pdes.additive import PeronaMalikAOS, TVFlowAOS
from blade_tf.pdes.cahn_hilliard import CahnHilliard, CahnHilliardStabilised
from blade_tf.pdes.coherence_enhancing import CoherenceEnhancing
from blade_tf.pdes.lattice import CoherenceEnhancingLBR
from blade_tf.pdes.perona_malik import PeronaMalik
from blade_tf.pdes.tv_flow import TVFlow

__all__ = [
    "PDE",
    "PDES",
    "CahnHilliard",
    "CahnHilliardStabilised",
    "CoherenceEnhancing",
    "CoherenceEnhancingLBR",
    "PeronaMalik",
    "PeronaMalikAOS",
    "TVFlow",
    "TVFlowAOS",
    "build",
    "schemes",
    "solve",
]


class PDE(Protocol):
    """What an equation offers: a frozen dataclass of its parameters, with a step on images [N, H, W, C].

    Another scheme of the same equation is a subclass, with further parameters at most.

    Attributes:
      conserves_mass: whether the sum over the pixels stays.
      maximum_principle: whether the range of the initial state is never left, for dt up to `stable_dt`.
      static: the parameters that a step needs as numbers, such as a smoothing's width; the others arrive as tensors, so
        that a search over them compiles once.
      range: the states that the equation is meant for, (lowest, highest); None for all. `solve` computes others too.
    """

    conserves_mass: ClassVar[bool]
    maximum_principle: ClassVar[bool]
    static: ClassVar[tuple[str, ...]]
    range: ClassVar[tuple[float, float] | None]

    def step(self, u: tf.Tensor, dt: Any, grid_step: Any) -> tf.Tensor:
        """The next state after a time dt; grid_step is the distance of two pixels."""

    def stable_dt(self, grid_step: float) -> float:
        """The largest dt at which the scheme is proved stable; infinite where it always is."""


PDES: dict[str, Callable[..., PDE]] = {
    "tv_flow": TVFlow,
    "tv_flow_aos": TVFlowAOS,
    "perona_malik": PeronaMalik,
    "perona_malik_aos": PeronaMalikAOS,
    "ced": CoherenceEnhancing,
    "ced_lbr": CoherenceEnhancingLBR,
    "cahn_hilliard": CahnHilliard,
    "cahn_hilliard_stabilised": CahnHilliardStabilised,
}


def _known(name: str) -> Callable[..., PDE]:
    if name not in PDES:
        raise ValueError(f"pde: unknown name {name!r}{names.hint(name, PDES)}")
    return PDES[name]


def schemes(name: str) -> list[str]:
    """The names of an equation's schemes, its reference scheme's first; ValueError for an unknown name."""
    reference = _known(name)
    return [name, *(other for other, kind in PDES.items() if kind is not reference and issubclass(kind, reference))]  # type: ignore[arg-type]


def build(name: str, **parameters: float) -> PDE:
    """The equation of this name; ValueError for an unknown name or parameter (with the nearest one)."""
    kind = _known(name)
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for key in parameters:
        if key not in known:
            raise ValueError(f"pde {name}: unknown parameter {key!r}{names.hint(key, known)}")
    return kind(**parameters)


@functools.lru_cache(maxsize=64)
def _advance(kind: type, traced: tuple[str, ...], static: tuple[tuple[str, Any], ...], grid_step: float) -> Any:
    # Parameters are tensors, so that a search over them, dt or the number of steps compiles once for each image size.
    @tf.function(jit_compile=True)
    def advance(u: tf.Tensor, dt: tf.Tensor, steps: tf.Tensor, values: tuple[tf.Tensor, ...]) -> tf.Tensor:
        pde = kind(**dict(zip(traced, values, strict=True)), **dict(static))
        return integrate.evolve(lambda v: pde.step(v, dt, grid_step), u, steps)

    return advance


def solve(
    pde: PDE,
    u: Any,
    *,
    dt: float,
    steps: int,
    frames: int = 1,
    grid_step: float = 1.0,
    observe: Callable[[tf.Tensor], tf.Tensor] = tf.identity,
) -> tf.Tensor:
    """Solves an equation by its reference scheme, compiled by XLA, and keeps some of the states.

    Args:
      pde: the equation.
      u: the initial state, float32 or float64 [N, H, W, C].
      dt: length of a time step.
      steps: number of time steps between two kept states, at least 0.
      frames: number of kept states after the initial one.
      grid_step: distance of two pixels.
      observe: what is kept of a state, such as its mean over blocks of pixels.

    Returns:
      [N, frames + 1, ...]: observe(u), then the observed states at the times k * steps * dt, k = 1, ..., frames.
    """
    u = tf.convert_to_tensor(u)
    if u.dtype not in (tf.float32, tf.float64) or u.shape.rank != 4:
        raise ValueError(f"u: expected float32 or float64 [N, H, W, C], got {u.dtype.name} {list(u.shape)}")
    for name, value in (("dt", dt), ("grid_step", grid_step)):
        arguments.positive(name, value)
    for name, count in (("steps", steps), ("frames", frames)):
        arguments.count(name, count)
    parameters = {field.name: getattr(pde, field.name) for field in dataclasses.fields(pde)}  # type: ignore[arg-type]
    static = tuple((name, parameters.pop(name)) for name in pde.static)
    advance = _advance(type(pde), tuple(parameters), static, float(grid_step))
    values = tuple(tf.constant(value, u.dtype) for value in parameters.values())
    kept = [observe(u)]
    for _ in range(int(frames)):
        u = advance(u, tf.constant(dt, u.dtype), tf.constant(int(steps)), values)
        kept.append(observe(u))
    return tf.stack(kept, axis=1)
