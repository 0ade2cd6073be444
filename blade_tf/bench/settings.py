"""What a benchmark measures: sizes, threads, SIMD levels, peers; checked before anything runs."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from typing import Any

from blade_tf import names

__all__ = ["MAIN", "PEERS", "Settings", "parse_size", "processors", "simd_levels"]

Size = tuple[int, int]

MAIN: Size = (768, 512)
SIZES: tuple[Size, ...] = ((192, 128), MAIN, (2048, 2048), (8192, 8192))
PEERS: tuple[str, ...] = ("opencv", "stock", "xla", "numba", "halide")
LEVELS: dict[str, set[str]] = {
    "avx512": {"avx2", "fma", "avx512f", "avx512dq", "avx512bw", "avx512vl"},
    "avx2": {"avx2", "fma"},
    "portable": set(),
}
LEAST_SIDE = 16  # halves of windows and stencils have room
BYTES_A_PIXEL = 40  # images, selections, gradients and outputs that are alive at a time


def parse_size(text: str) -> Size:
    """(width, height) of a text such as 768x512; ValueError for another."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise ValueError(f"sizes: expected WIDTHxHEIGHT such as 768x512, got {text!r}")
    return int(parts[0]), int(parts[1])


def processors() -> list[int]:
    """The processors that this process may use."""
    return sorted(os.sched_getaffinity(0))


def simd_levels() -> list[str]:
    """The levels of the native library that this processor has, the best one first."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    flags = {flag for line in lines if line.startswith("flags") for flag in line.partition(":")[2].split()}
    return [level for level, needed in LEVELS.items() if needed <= flags]


def _free_memory() -> float:
    info = pathlib.Path("/proc/meminfo")
    lines = info.read_text().splitlines() if info.exists() else []
    found = [1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")]
    return found[0] if found else float("inf")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
      sizes: (width, height) of the images.
      threads: numbers of threads, each in a process of its own; the first one measures everything, the others the
        operations alone.
      simd: levels of the native library, each in a process of its own; the first one likewise.
      repeats: samples of each case, at least; fewer where one takes long, see `seconds`.
      seconds: a case that has taken so long, and has five samples, rests.
      peers: of `PEERS`.
      image: a photograph; by default one of scikit-image's.
      models: whether to measure models, their step counts and training as well.

    Raises:
      ValueError: names the wrong one.
    """

    sizes: tuple[Size, ...] = SIZES
    threads: tuple[int, ...] = dataclasses.field(default_factory=lambda: (1, 2)[: len(processors())])
    simd: tuple[str, ...] = dataclasses.field(default_factory=lambda: tuple(simd_levels()))
    repeats: int = 25
    seconds: float = 3.0
    peers: tuple[str, ...] = PEERS
    image: str | None = None
    models: bool = True

    def __post_init__(self) -> None:
        for name, values in (("sizes", self.sizes), ("threads", self.threads), ("simd", self.simd)):
            if not values:
                raise ValueError(f"{name}: expected at least one, got none")
            if len(set(values)) != len(values):
                raise ValueError(f"{name}: expected each once, got {', '.join(map(str, values))}")
        for width, height in self.sizes:
            if min(width, height) < LEAST_SIDE:
                raise ValueError(f"sizes: expected sides of at least {LEAST_SIDE}, got {width}x{height}")
            if BYTES_A_PIXEL * width * height > _free_memory():
                need, free = (value / 2**30 for value in (BYTES_A_PIXEL * width * height, _free_memory()))
                raise ValueError(f"sizes: {width}x{height} needs about {need:.1f} GiB of memory, {free:.1f} are free")
        count = len(processors())
        for threads in self.threads:
            if not 1 <= threads <= count:
                raise ValueError(f"threads: expected 1 to {count}, the processors of this process, got {threads}")
        levels = simd_levels()
        for level in self.simd:
            if level not in levels:
                raise ValueError(f"simd: expected some of {', '.join(levels)} on this processor, got {level!r}")
        for peer in self.peers:
            if peer not in PEERS:
                raise ValueError(f"peers: unknown peer {peer!r}{names.hint(peer, PEERS)}")
        if self.repeats < 1:
            raise ValueError(f"repeats: expected at least 1, got {self.repeats}")
        if self.image is not None and not pathlib.Path(self.image).is_file():
            raise ValueError(f"image: no such file: {self.image}")

    @classmethod
    def quick(cls, **changes: Any) -> Settings:
        """What takes less than a minute, with some changes: two sizes, one thread, few repeats, no XLA, no models."""
        few: dict[str, Any] = {"sizes": SIZES[:2], "threads": (1,), "simd": tuple(simd_levels()[:1]), "repeats": 5}
        return cls(**few | {"peers": ("opencv", "stock"), "models": False} | changes)

    @property
    def main(self) -> Size:
        """The size that others are compared with: 768x512, or the first one where that is left out."""
        return MAIN if MAIN in self.sizes else self.sizes[0]
