"""Sentences of blade-results about numbers made up here."""

import math

import pytest

from blade_tf.results import verdicts


def row(name, psnr, **more):
    diverged = int(math.isnan(psnr))
    return {"name": name, "psnr": psnr, "diverged": diverged, "blade_nearer": 3, **more}


def model(blade, *, least_squares=30.0, form="plain", stable_dt=None, overshoot=0.0, drift=0.0, **classical):
    rows = [row("identity", 90.0), row("single_filter", 91.0), *(row(name, psnr) for name, psnr in classical.items())]
    rows += [row("least_squares", least_squares), row("blade", blade)]
    finite = math.isfinite(overshoot) and math.isfinite(drift)
    run = {"finite": finite, "overshoot": overshoot, "mean_drift": drift}
    evaluation = {"images": 4, "rows": rows, "stable_dt": stable_dt, "long_run": {"steps": 300, "noise": run}}
    return {"form": form, "evaluation": evaluation}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            model(40.0, slow=39.0, fast=38.0),
            "- `m` is 1.00 dB nearer to the reference than the best classical row, `slow`, and nearer on 3 of 4 "
            "photographs.",
        ),
        (
            model(40.0, slow=39.0, fast=41.5, other=40.5),
            "- **`m` is 1.50 dB behind the best classical row**, `fast`, and nearer on 3 of 4 photographs. It is "
            "behind `other` too.",
        ),
        (model(math.nan, slow=39.0), "- **`m` diverges** on 1 of 4 photographs."),
        (
            model(29.0, slow=math.nan, fast=28.0),
            "- `m` is 1.00 dB nearer to the reference than the best classical row, `fast`, and nearer on 3 of 4 "
            "photographs. **Training end to end lost 1.00 dB** of what least squares had reached.",
        ),
        (
            model(math.inf, fast=math.inf),
            "- `m` is 0.00 dB nearer to the reference than the best classical row, `fast`, and nearer on 3 of 4 "
            "photographs.",
        ),
    ],
)
def test_against_classical_schemes(found, expected):
    assert verdicts.against_classical({"m": found}) == expected


def test_a_best_form_that_is_not_the_best_is_named():
    text = verdicts.against_classical({"best": model(40.0, slow=30.0), "paper": model(40.5, slow=30.0)})
    assert text.endswith("\n- **`paper` is 0.50 dB nearer than `best`**.")
    text = verdicts.against_classical({"best": model(math.nan, slow=30.0), "paper": model(40.5, slow=30.0)})
    assert "**`best` diverges**" in text
    assert text.endswith("\n- **`paper` is nearer than `best`**.")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (model(40.0, stable_dt=0.1, form="pairs", overshoot=9e-6, drift=9e-7), []),
        (model(40.0, overshoot=0.9, drift=0.1), []),
        (model(40.0, overshoot=1.2), ["- **`m` explodes** within 300 steps, from noise."]),
        (
            model(40.0, overshoot=math.nan, drift=math.nan, stable_dt=0.1, form="pairs"),
            [
                "- **`m` explodes** within 300 steps, from noise.",
                "- **`m` contradicts its proof**: it leaves the range, from noise.",
            ],
        ),
        (
            model(40.0, overshoot=2e-5, stable_dt=0.1, form="convex", drift=0.1),
            ["- **`m` contradicts its proof**: it leaves the range, from noise."],
        ),
        (model(40.0, form="flux", drift=2e-6), ["- **`m` does not conserve the mean**, from noise."]),
    ],
)
def test_long_runs(found, expected):
    assert verdicts.long_runs({"m": found}).splitlines() == expected


def point(curve, steps, psnr, milliseconds):
    blade = curve.startswith("BLADE")
    return {"curve": curve, "steps": steps, "blade": blade, "psnr": psnr, "milliseconds": milliseconds}


OWN = [point("BLADE m", 10, 40.0, 4.0), point("BLADE m", 20, 45.0, 8.0)]
START = "- BLADE m reaches 40.00 dB in 4 ms, 50 times as fast as the reference. "


@pytest.mark.parametrize(
    ("classical", "expected"),
    [
        (
            [point("a", 5, 39.0, 1.0), point("a", 10, 39.5, 3.0), point("a", 90, 41.0, 9.0), point("a", 99, 42.0, 9.5)],
            "The best classical result that takes no longer is 0.50 dB behind: `a` with 10 steps (39.50 dB in 3 ms). "
            "The first that comes as near is slower: `a` with 90 steps (41.00 dB in 9 ms).",
        ),
        (
            [point("a", 5, 40.5, 4.0), point("b", 9, 44.0, 3.0), point("a", 9, math.nan, None)],
            "**A classical scheme is both nearer and faster**: `b` with 9 steps (44.00 dB in 3 ms).",
        ),
        ([point("a", 5, 39.0, 5.0)], "No classical result takes less time. None at all comes as near."),
    ],
)
def test_error_and_time(classical, expected):
    found = {"points": OWN + classical, "reference_milliseconds": 200.0}
    assert verdicts.error_and_time(found) == START + expected


def test_a_model_that_is_no_better_than_doing_nothing_is_named():
    found = {"points": [point("BLADE m", 10, 20.0, None)], "reference_milliseconds": 200.0}
    assert verdicts.error_and_time(found) == "- **BLADE m is no better than doing nothing.**"


def test_against_the_limit_of_the_grid():
    group = {"a": model(40.0), "b": model(41.0)}
    text = verdicts.against_limit({"interpolated": 43.0, "twins": 46.0}, group)
    assert text.startswith("`b` is 2.00 dB behind the reference solver itself on its own grid")
    assert "(43.00 dB)" in text
    assert "can exceed 46.00 dB" in text
    text = verdicts.against_limit({"interpolated": 40.5, "twins": 46.0}, group)
    assert text.startswith("`b` is 0.50 dB nearer to the reference than the reference solver itself")
