"""blade-evaluate: a model against the reference solver and the classical scheme on the operating grid.

    blade-evaluate --model=tv_flow_paper --images=PHOTOGRAPHS --output=RESULTS

Solves the model's equation on each photograph as it is, averages over blocks, and compares the state at the stopping
time. Prints a table; writes metrics.json, pictures, and the reference sequences, which later runs reuse.
"""

from __future__ import annotations

from absl import flags

from blade_tf import evaluate
from blade_tf.cli import common

_MODEL = flags.DEFINE_string(
    "model", None, "Name of a pretrained model, folder of a trained one, or .keras file.", required=True
)
_IMAGES = flags.DEFINE_string(
    "images", None, "Folder of photographs, at the resolution of the reference.", required=True
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "Folder for metrics.json, pictures and reference sequences.", required=True
)
_CONFIG = common.define_config("for a .keras file alone, as other models come with their own")
_WORKERS = flags.DEFINE_integer("workers", None, "Number of processes; default: one for each processor.", lower_bound=1)


def _run() -> None:
    results = evaluate.evaluate(
        _MODEL.value, _IMAGES.value, _OUTPUT.value, config=_CONFIG.value, workers=_WORKERS.value
    )
    print(evaluate.table(results))


def main() -> None:
    """The console script."""
    common.main(_run, __name__, default_config=False)


if __name__ == "__main__":
    main()
