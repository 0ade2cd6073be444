"""blade-results: everything that is known about the trained models, from one folder of photographs.

    blade-results --images=KODAK --output=results
    blade-results --images=KODAK --output=results --models=tv_flow,tv_flow_paper --runs=RUN1/model,RUN2/model

Evaluates the models in gray and in colour, beside classical schemes and simpler filters; measures error against time;
draws states, banks and charts. Writes README.md, results.json, figures and a card for each model, and prints the table
of all equations. What takes long is kept in a cache: interrupted or run again, it continues. Times are worth something
on an idle machine.
"""

from __future__ import annotations

import pathlib

import tensorflow as tf
from absl import flags

from blade_tf import results
from blade_tf.cli import common

_IMAGES = flags.DEFINE_string(
    "images", None, "Folder of photographs, at the resolution of the reference.", required=True
)
_OUTPUT = flags.DEFINE_string("output", None, "Folder for README.md, results.json, figures and cards.", required=True)
_CACHE = flags.DEFINE_string(
    "cache",
    None,
    "Folder for references and results to reuse; default: beside the output, with -cache behind its name.",
)
_MODELS = flags.DEFINE_list(
    "models", None, "Names of pretrained models or folders of trained ones, comma-separated; default: all pretrained."
)
_RUNS = flags.DEFINE_list(
    "runs", [], "Folders of further runs of these models, with other seeds, comma-separated, for their spread."
)
_SHOW = flags.DEFINE_list(
    "show",
    ["kodim05", "kodim07"],
    "Names of photographs to show; default: kodim05 and 07, or the first two where these are missing.",
)
_WORKERS = flags.DEFINE_integer("workers", None, "Number of processes; default: one for each processor.", lower_bound=1)


def _run() -> None:
    tf.get_logger().setLevel("ERROR")  # it warns of solvers that are traced again for each size of photographs
    output = pathlib.Path(_OUTPUT.value)
    found = results.collect(
        _IMAGES.value,
        output,
        _CACHE.value or output.absolute().with_name(f"{output.absolute().name}-cache"),
        names=_MODELS.value,
        runs=_RUNS.value,
        show=_SHOW.value,
        workers=_WORKERS.value,
    )
    print(results.summary(found))


def main() -> None:
    """The console script."""
    common.main(_run, __name__, default_config=False)


if __name__ == "__main__":
    main()
