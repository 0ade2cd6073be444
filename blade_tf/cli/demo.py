"""blade-demo: the whole chain in two minutes on two cores, on photographs that ship with scikit-image.

    blade-demo --output=DEMO

Trains a small TV-flow model from scratch, evaluates it against the reference solver and the classical scheme on a
photograph it has not seen, applies the shipped model, and writes pictures and DEMO/index.html, a page to read in a
browser.
"""

from __future__ import annotations

from absl import flags

from blade_tf import demo
from blade_tf.cli import common

_OUTPUT = flags.DEFINE_string("output", None, "Folder for the page, the pictures and everything else.", required=True)


def _run() -> None:
    page = demo.demo(_OUTPUT.value)
    print(f"Open {page} in a browser.")


def main() -> None:
    """The console script."""
    common.main(_run, __name__)


if __name__ == "__main__":
    main()
