"""Which models a config may ask for."""

import json
import pathlib

import pytest

import blade_tf
from blade_tf import config as config_lib
from blade_tf import forms, models, tasks, train

S = "model.selection."
FLUX = {"model.form": "flux", "model.footprint": (5, 6)}
PAIRS = {"model.form": "pairs"}
INTENSITY = {S + "soft": "intensity", S + "intensity_quantiles": (0.2, 0.8)}
GIVEN = {S + "strength_quantiles": (), S + "strength_thresholds": (0.01, 0.1)}

SOUND = [
    {},
    {"model.method": "midpoint"},
    {"model.form": "convex"},
    FLUX | {"model.method": "midpoint", "model.tied": False, "model.antisymmetric": False},
    FLUX | {"model.functions": ("identity", "double_well")} | INTENSITY,
    FLUX | {"model.footprint": (1, 2)},
    PAIRS,
    PAIRS | {S + "soft": "strength"},
    PAIRS | {S + "soft": "strength"} | GIVEN,
    PAIRS | {S + "soft": "orientation", S + "orientations": 3},
    GIVEN,
    {S + "strength_quantiles": (), S + "coherence_quantiles": (), S + "orientations": 1},
    {S + "intensity_quantiles": (), S + "intensity_thresholds": (-0.1, 0.5, 1.2)},
    {S + "soft": "intensity", S + "intensity_quantiles": (0.0, 0.5, 1.0)},
]

UNSOUND = [
    ({"model.form": "plane"}, r"model.form: unknown form 'plane', did you mean 'plain'"),
    ({"model.method": "rk4"}, r"model.method: unknown method 'rk4', expected one of \['euler', 'midpoint'\]"),
    (
        PAIRS | {"model.method": "midpoint"},
        r"model.method: expected 'euler' for the form 'pairs', whose proof is about it, got 'midpoint'",
    ),
    (
        {"model.form": "convex", "model.method": "midpoint"},
        r"model.method: expected 'euler' for the form 'convex', whose proof is about it, got 'midpoint'",
    ),
    ({"model.footprint": (4, 5)}, r"model.footprint: expected two odd sizes for the form 'plain', got \(4, 5\)"),
    ({"model.footprint": (5, -1)}, r"model.footprint: expected two odd sizes for the form 'plain', got \(5, -1\)"),
    ({"model.footprint": (5,)}, r"model.footprint: expected two odd sizes for the form 'plain', got \(5,\)"),
    (
        {"model.form": "convex", "model.footprint": (5, 6)},
        r"model.footprint: expected two odd sizes for the form 'convex', got \(5, 6\)",
    ),
    (
        {"model.form": "flux"},
        r"model.footprint: expected an odd and an even size for the form 'flux', got \(5, 5\)",
    ),
    ({"model.footprint": (5.0, 5)}, r"model.footprint: expected two odd sizes for the form 'plain', got \(5.0, 5\)"),
    (
        FLUX | {"model.footprint": (4, 6)},
        r"model.footprint: expected an odd and an even size for the form 'flux', got \(4, 6\)",
    ),
    (
        PAIRS | {"model.footprint": (7, 7)},
        r"model.footprint: expected the default \(5, 5\) for the form 'pairs', whose pairs of pixels are fixed, got "
        r"\(7, 7\)",
    ),
    (
        FLUX | {"model.functions": ("identity", "double_wel")},
        r"model.functions: unknown function 'double_wel', did you mean 'double_well'",
    ),
    (FLUX | {"model.functions": ()}, r"model.functions: expected different ones, at least one, got \(\)"),
    (
        FLUX | {"model.functions": ("identity", "identity")},
        r"model.functions: expected different ones, at least one, got \('identity', 'identity'\)",
    ),
    (
        {"model.functions": ("identity", "double_well")},
        r"model.functions: expected \('identity',\) for the form 'plain', got \('identity', 'double_well'\)",
    ),
    (PAIRS | {"model.neighbours": 30}, r"model.neighbours: expected one of \(28, 44\), got 30"),
    ({"model.neighbours": 44}, r"model.neighbours: expected 28 for the form 'plain', got 44"),
    (PAIRS | {"model.tied": False}, r"model.tied: expected True for the form 'pairs', got False"),
    ({"model.limits": (0.0, 1.0)}, r"model.limits: expected \(\) for the form 'plain', got \(0.0, 1.0\)"),
    (FLUX | {"model.limits": (1.0, 0.0)}, r"model.limits: expected two ascending numbers, or none, got \(1.0, 0.0\)"),
    (
        FLUX | {"model.limits": (0.0, 1.0), "model.method": "midpoint"},
        r"model.method: expected 'euler' where there are limits, got 'midpoint'",
    ),
    ({"model.antisymmetric": False}, r"model.antisymmetric: expected True for the form 'plain', got False"),
    ({S + "soft": "strenght"}, r"model.selection.soft: unknown feature 'strenght', did you mean 'strength'"),
    (
        {S + "soft": "intensity"},
        r"model.selection.soft: expected at least 2 centres, as intensity_quantiles or intensity_thresholds, where "
        r"intensity is soft, got \[\]",
    ),
    (
        {S + "soft": "coherence", S + "coherence_quantiles": (0.5,)},
        r"model.selection.soft: expected at least 2 centres, .*, got \[0.5\]",
    ),
    (
        {S + "soft": "orientation", S + "orientations": 2},
        r"model.selection.orientations: expected an integer of at least 3 where orientation is soft, got 2",
    ),
    ({S + "orientations": 0}, r"model.selection.orientations: expected an integer of at least 1, got 0"),
    (
        GIVEN | {S + "strength_quantiles": (0.5,)},
        r"model.selection.strength_thresholds: expected none beside strength_quantiles, got \(0.01, 0.1\) and \(0.5,\)",
    ),
    (
        {S + "strength_quantiles": (0.8, 0.5)},
        r"model.selection.strength_quantiles: expected ascending numbers in \[0, 1\], got \[0.8, 0.5\]",
    ),
    (
        {S + "intensity_quantiles": (0.5, 1.5)},
        r"model.selection.intensity_quantiles: expected ascending numbers in \[0, 1\], got \[0.5, 1.5\]",
    ),
    (
        {S + "strength_quantiles": (0.5, 1.0)},
        r"model.selection.strength_quantiles: expected numbers in \(0, 1\), as no pixel is below the quantile 0 or "
        r"above the quantile 1, got \[0.5, 1.0\]",
    ),
    ({S + "intensity_quantiles": (0.0, 0.5)}, r"model.selection.intensity_quantiles: expected numbers in \(0, 1\), as"),
    (
        {S + "strength_quantiles": (0.5, 0.5)},
        r"model.selection.strength_quantiles: expected ascending numbers in \[0, 1\], got \[0.5, 0.5\]",
    ),
    (
        {S + "soft": "strength"} | GIVEN | {S + "strength_quantiles": (0.2, 0.5)},
        r"model.selection.strength_thresholds: expected none beside strength_quantiles, got \(0.01, 0.1\) and",
    ),
    (
        {S + "coherence_quantiles": (), S + "coherence_thresholds": (0.5, 1.5)},
        r"model.selection.coherence_thresholds: expected ascending numbers in \[0, 1\], got \[0.5, 1.5\]",
    ),
    (
        {S + "strength_quantiles": (), S + "strength_thresholds": (-0.5,)},
        r"model.selection.strength_thresholds: expected ascending numbers in \[0, inf\], got \[-0.5\]",
    ),
    ({S + "rho": -1.0}, r"model.selection.rho: expected a number in \[0, 10000\], got -1.0"),
    (
        {S + "orientations": 10000},
        r"model.selection: expected at most 65536 bins, got 10000 of orientation x 3 of strength x 3 of coherence x "
        r"1 of intensity = 90000",
    ),
]


def changed(overrides):
    config = config_lib.default()
    config.update_from_flattened_dict(overrides)
    return config


@pytest.mark.parametrize("overrides", SOUND)
def test_sound_models_pass(overrides):
    forms.check(changed(overrides).model)


@pytest.mark.parametrize(("overrides", "message"), UNSOUND)
def test_models_that_cannot_be_are_refused_before_any_work(overrides, message, tmp_path):
    config = changed(overrides)
    with pytest.raises(ValueError, match=f"^{message}"):
        forms.check(config.model)
    # Neither the data nor the folder is touched.
    with pytest.raises(ValueError, match=f"^{message}"):
        train.train(config, tmp_path / "none", tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_every_form_is_a_rate_with_a_bank_of_its_bins():
    selection = {"orientations": 2, "strength_thresholds": [0.1], "rho": 1.0}
    common = {"dt": 0.5, "selection": selection, "footprint": [3, 3]}
    flux = {"footprint": [3, 4], "tied": False, "antisymmetric": True, "functions": ["identity", "double_well"]}
    node = selection | {"orientations": 3}
    shapes = {
        "plain": ({}, {"filters": (4, 3, 3)}),
        "convex": ({}, {"logits": (4, 3, 3)}),
        "flux": (flux, {"filters_x": (4, 2, 3, 2), "filters_y": (4, 2, 3, 2)}),
        "pairs": ({"node_selection": node}, {"face": (4, 4), "node": (6, 6)}),
    }
    assert shapes.keys() == forms.FORMS.keys()
    for form, (more, expected) in shapes.items():
        rate = forms.rate(common | more | {"form": form})
        assert {name: tuple(variable.shape) for name, variable in rate.bank.items()} == expected
        assert rate.stable_dt == (0.5 if form in ("convex", "pairs") else None)
        assert [w.path for w in rate.trainable_variables] == [v.path for v in rate.bank.values()]
        filters, orientations = rate.mosaic()
        assert (len(filters), filters.ndim, orientations) == (4, 3, 2)
    with pytest.raises(ValueError, match=r"model.form: unknown form 'pear', did you mean 'pairs'"):
        forms.rate(common | {"form": "pear"})


def test_the_committed_configs_are_sound_and_hold_those_of_the_shipped_models():
    paths = sorted((pathlib.Path(config_lib.__file__).parents[1] / "configs").glob("[a-z]*.py"))
    assert {path.stem for path in paths} == set(blade_tf.pretrained_names(None)) - set(models.ALIASES)
    for path in paths:
        found = {}
        exec(compile(path.read_text(), str(path), "exec"), found)
        config = found["get_config"]()
        tasks.of(config).check(config)
        assert config.name == path.stem
        shipped = models.load_trained(path.stem).config
        assert config_lib.differences(shipped, json.loads(json.dumps(config.to_dict()))) == []
