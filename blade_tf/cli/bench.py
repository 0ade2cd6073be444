"""blade-bench: how fast this package is on this machine, beside its peers.

    blade-bench --output=results
    blade-bench --quick
    blade-bench --sizes=192x128,768x512 --threads=1 --peers=opencv,numba

Times the operations, whole models and training in turns with OpenCV's fixed 5x5 filter, the unit of all ratios; checks
every result before its time. Prints tables, with the targets beside the figures; writes bench.json, bench.md and
bench.svg. Needs OpenCV; numba and Halide are optional: pip install 'blade-tf[bench]'. Takes some ten minutes, and times
are worth something on an idle machine.
"""

from __future__ import annotations

import sys

from absl import flags

from blade_tf import bench
from blade_tf.cli import common

_SIZES = flags.DEFINE_list(
    "sizes",
    None,
    "Sizes of images, WIDTHxHEIGHT, comma-separated; default: 192x128, 768x512, 2048x2048, 8192x8192.",
)
_THREADS = flags.DEFINE_list(
    "threads",
    None,
    "Numbers of threads, comma-separated, each in a process of its own; default: 1 and, with two processors, 2.",
)
_SIMD = flags.DEFINE_list(
    "simd", None, "Levels of the native library, the one to measure fully first; default: all that the processor has."
)
_REPEATS = flags.DEFINE_integer("repeats", None, "Samples of each case; default: 25.", lower_bound=1)
_PEERS = flags.DEFINE_list("peers", None, f"Peers to measure, of {', '.join(bench.PEERS)}; default: all.")
_IMAGE = flags.DEFINE_string("image", None, "A photograph; default: scikit-image's astronaut.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder for bench.json, bench.md and bench.svg; default: none.")
_QUICK = flags.DEFINE_bool(
    "quick",
    False,
    "Less than a minute: two sizes, one thread, few repeats, and neither XLA nor models; flags still count.",
)


def _number(name: str, text: str) -> int:
    if not text.strip().isdecimal():
        raise ValueError(f"{name}: expected whole numbers, got {text!r}")
    return int(text)


def _run() -> None:
    given = {
        "sizes": None if _SIZES.value is None else tuple(map(bench.parse_size, _SIZES.value)),
        "threads": None if _THREADS.value is None else tuple(_number("threads", text) for text in _THREADS.value),
        "simd": None if _SIMD.value is None else tuple(_SIMD.value),
        "repeats": _REPEATS.value,
        "peers": None if _PEERS.value is None else tuple(_PEERS.value),
        "image": _IMAGE.value,
    }
    make = bench.Settings.quick if _QUICK.value else bench.Settings
    found = bench.run(make(**{name: value for name, value in given.items() if value is not None}))
    print(bench.summary(found))
    if _OUTPUT.value:
        bench.write(found, _OUTPUT.value)
    if found["failed"]:
        for name, reason in found["failed"].items():
            print(f"blade-bench: {name}: {reason}", file=sys.stderr)
        sys.exit(1)


def main() -> None:
    """The console script."""
    common.main(_run, __name__, default_config=False)


if __name__ == "__main__":
    main()
