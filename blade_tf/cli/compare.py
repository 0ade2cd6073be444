"""blade-compare: an application beside other methods, on a folder of images.

    blade-compare --application=deblur --images=KODAK --output=results

Writes NAME.md, a page to read, NAME.json and pictures. Other methods are those of scikit-image and, where it is
installed (`pip install '.[bench]'`), OpenCV.
"""

from __future__ import annotations

import importlib
import os
import pathlib
import shlex

from absl import flags

from blade_tf import compare
from blade_tf.cli import common

# What the times depend on beside the arguments.
VARIABLES = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
APPLICATIONS = ("deblur", "upscale", "segment", "resample", "align", "times")

_APPLICATION = flags.DEFINE_enum(
    "application", None, APPLICATIONS, "Which application; times: how long each takes.", required=True
)
_IMAGES = flags.DEFINE_string(
    "images", None, "Folder of images; for align, of Middlebury's scenes with frames and flow10.flo.", required=True
)
_OUTPUT = flags.DEFINE_string("output", None, "Folder for the page, the numbers and figures/.", required=True)


def _command() -> str:
    """How the program was called, without where its folders are."""
    settings = [f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ]
    images, output = (pathlib.Path(folder).resolve().name for folder in (_IMAGES.value, _OUTPUT.value))
    flags_ = [f"--application={_APPLICATION.value}", f"--images={images}", f"--output={output}"]
    return shlex.join([*settings, "blade-compare", *flags_])


def _run() -> None:
    module = importlib.import_module(f"blade_tf.compare.{_APPLICATION.value}")
    load = os.getloadavg()[0]
    print(compare.write(module.compare(_IMAGES.value), _OUTPUT.value, _command(), load), end="")


def main() -> None:
    """The console script."""
    common.main(_run, __name__)


if __name__ == "__main__":
    main()
