"""blade-compare: an application beside other methods, on a folder of images.

    blade-compare --application=deblur --images=KODAK --output=results

Writes NAME.md, a page to read, NAME.json and pictures. Other methods are those of scikit-image and, where it is
installed (`pip install '.[bench]'`), OpenCV.
"""

from __future__ import annotations

import importlib

from absl import flags

from blade_tf import compare
from blade_tf.cli import common

APPLICATIONS = ("deblur", "upscale", "segment", "resample", "align", "times")

_APPLICATION = flags.DEFINE_enum(
    "application", None, APPLICATIONS, "Which application; times: how long each takes.", required=True
)
_IMAGES = flags.DEFINE_string(
    "images", None, "Folder of images; for align, of Middlebury's scenes with frames and flow10.flo.", required=True
)
_OUTPUT = flags.DEFINE_string("output", None, "Folder for the page, the numbers and figures/.", required=True)


def _run() -> None:
    module = importlib.import_module(f"blade_tf.compare.{_APPLICATION.value}")
    print(compare.write(module.compare(_IMAGES.value), _OUTPUT.value), end="")


def main() -> None:
    """The console script."""
    common.main(_run, __name__)


if __name__ == "__main__":
    main()
