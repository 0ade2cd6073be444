"""A trained model's card."""

from __future__ import annotations

from typing import Any

from blade_tf import evaluate, models, selection
from blade_tf.results import text

__all__ = ["card"]

FORMS = {
    "plain": "one filter at each pixel (eq 2.10)",
    "convex": "one filter at each pixel, each step a convex combination: stable by proof",
    "flux": "filters of the fluxes through the pixels' faces (eqs 3.14-3.16): mass is conserved",
    "pairs": "conductances between pairs of pixels: mass is conserved, and stable by proof",
}


def _scores(entry: dict[str, Any]) -> str:
    lines = [[f"`{row['name']}`", *evaluate.cells(row), row["what"]] for row in entry["evaluation"]["rows"]]
    return text.markdown_table(["row", "PSNR, dB", "std", "worst", "SSIM", "what it is"], lines)


def card(trained: models.Trained, results: dict[str, Any]) -> str:
    """What a model is, where it holds, how it was trained and how near it comes, in Markdown.

    Args:
      trained: the model.
      results: what `collect` returns, of this model among others.
    """
    config, spec, entry = trained.config, trained.spec, results["models"][trained.name]
    ref, group = config["reference"], {trained.name: entry}
    total = ref["frames"] * ref["steps_per_frame"] * ref["dt"]
    parameters = ", ".join(f"{name} = {value:.4g}" for name, value in config["pde"]["parameters"].items())
    stable_dt = entry["evaluation"]["stable_dt"]
    proof = (
        f"The maximum principle is proved for steps up to {stable_dt:g}, any image and any number of steps."
        if stable_dt
        else "No maximum principle is proved."
    )
    equation = f"{text.title(config['pde']['name'])} ({parameters})"
    crops = f"{config['data']['crops_per_image']} crops of {config['data']['crop']} x {config['data']['crop']}"
    points = [
        f'**Use**: `blade_tf.load_pretrained("{trained.name}")` maps an image to its state at T = {total:g}, '
        f"{spec['steps']} steps later. A smaller dt is fine; a larger one is not. {proof}",
        f"**Data**: see [the photographs](../PHOTOGRAPHS.md); {crops} each.",
        f"**Reference**: `blade_tf.solve` on a grid {ref['scale']} times as fine, time step {ref['dt']:.4g}, every "
        f"{ref['steps_per_frame']}th state averaged over blocks.",
        f"**Training**: `configs/{trained.name}.py`, seed {config['seed']}.",
        "**Files**: `model.json` (structure, thresholds, config, tuned classical schemes) and `weights.npz`: data "
        "only, read without pickle and checked against the SHA-256 in `model.json`.",
    ]
    parts = [
        f"# {trained.name}",
        f"{equation} in steps of dt = {spec['dt']:g}, on the grid of the image itself; lengths in pixels, intensities "
        f"in [0, 1]. Form: {FORMS[spec['form']]}. Selection: {selection.described(spec['selection'])}.",
        "\n".join(f"- {point}" for point in points),
        f"## Figures\n\n{results['images']} photographs, luma; written by `blade-results`, which also compares models "
        "in colour, in time, and with other forms.",
        _scores(entry),
        text.long_runs(group),
        *text.seeds(results, [trained.name]),
    ]
    return "\n\n".join(parts) + "\n"
