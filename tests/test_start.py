"""The least-squares start of each form: it finds planted banks, and nothing near it is better."""

import numpy as np
import pytest
import scipy.ndimage

import blade_tf
from blade_tf import forms, models, ops, structure_tensor
from blade_tf.least_squares import difference_basis, patches
from blade_tf.start import least_squares_start, step_length

SOFT = {"model.selection.soft": "strength", "model.selection.strength_thresholds": (0.08, 0.16)}
FLUX = {"model.form": "flux", "model.footprint": (3, 4)}
BOTH = {"model.functions": ("identity", "double_well")}
UNTIED = {"model.tied": False}
FREE = {"model.antisymmetric": False}
CASES = {
    "plain": {"model.footprint": (3, 5)},
    "plain, soft": SOFT,
    "convex": {"model.form": "convex"},
    "convex, soft": {"model.form": "convex"} | SOFT,
    "flux": FLUX,
    "flux, soft": FLUX | SOFT,
    "flux, soft intensity": FLUX
    | {"model.selection.soft": "intensity", "model.selection.intensity_thresholds": (0.3, 0.5, 0.7)},
    "flux, untied": FLUX | UNTIED,
    "flux, free": FLUX | FREE,
    "flux, untied, free, soft": FLUX | UNTIED | FREE | SOFT,
    "flux of u and W'(u)": FLUX | BOTH,
    "flux of u and W'(u), untied, soft": FLUX | BOTH | UNTIED | SOFT,
    "pairs": {"model.form": "pairs"},
    "pairs, soft": {"model.form": "pairs"} | SOFT,
}
EVERY_FORM = pytest.mark.parametrize("case", ["plain", "convex, soft", "flux, soft", "flux, untied", "pairs, soft"])


def textures(count=4, height=44, width=36, seed=0):
    """Noise of two scales, in [0, 1]: gradients of any direction."""
    noise = np.random.default_rng(seed).random((count, height, width))
    smooth = scipy.ndimage.convolve1d(scipy.ndimage.convolve1d(noise, [0.25, 0.5, 0.25], 1), [0.25, 0.5, 0.25], 2)
    span = smooth.max() - smooth.min()
    return ((smooth - smooth.min()) / span + 0.02 * (noise - 0.5)).clip(0, 1).astype(np.float32)[..., np.newaxis]


@pytest.fixture
def few_bins(config):
    """The tiny config with 8 bins, all of which `textures` fill, and a ridge that hardly damps."""

    def change(overrides):
        given = {
            "model.selection.orientations": 2,
            "model.selection.strength_thresholds": (0.115,),
            "model.selection.coherence_thresholds": (0.27,),
            "model.selection.strength_quantiles": (),
            "model.selection.coherence_quantiles": (),
            "train.ridge": 1e-9,
            "train.fit_iterations": 300,
        }
        config.update_from_flattened_dict(given | overrides)
        return config

    return change


def spec_of(config):
    """What the start should make of a config whose thresholds are given."""
    model, choice = config.model, config.model.selection
    keys = [f"{name}_thresholds" for name in ("strength", "coherence", "intensity")]
    levels = {key: list(choice[key]) for key in keys}
    centers = levels[f"{choice.soft}_thresholds"] if choice.soft else []
    if choice.soft:
        levels[f"{choice.soft}_thresholds"] = []
    selection = levels | {
        "orientations": choice.orientations,
        "rho": choice.rho,
        "soft": choice.soft or None,
        "centers": centers,
        "center": "face_x" if model.form in ("flux", "pairs") else "pixel",
    }
    spec = {"form": model.form, "method": "euler", "dt": step_length(config), "steps": 10, "selection": selection}
    if model.form == "pairs":
        return spec | {"node_selection": selection | {"center": "pixel"}, "neighbours": 28}
    if model.form == "flux":
        spec |= {"limits": None}
        spec |= {"tied": model.tied, "antisymmetric": model.antisymmetric, "functions": list(model.functions)}
    return spec | {"footprint": list(model.footprint)}


def random_bank(spec, seed=5):
    """A bank that changes an image by a few hundredths in a step; conductances stay below the limit."""
    rng, bank = np.random.default_rng(seed), {}
    for name, variable in forms.rate(spec).bank.items():
        values = rng.standard_normal(variable.shape)
        if spec["form"] == "pairs":
            values = np.log(0.015) + 0.5 * values
        elif spec["form"] != "convex":
            if not spec.get("antisymmetric", False):
                values -= values.mean((-2, -1), keepdims=True)
            values /= 40 * spec["dt"]
        bank[name] = values.astype(np.float32)
    return bank


def sequences_of(spec, bank, images, noise=0.0):
    """Sequences u, u + dt rate(u) of a bank."""
    model = models.build(spec)
    models.set_bank(model.rates[0], bank)
    after = model.evolve(images, 1).numpy()
    after += noise * np.random.default_rng(1).standard_normal(after.shape).astype(np.float32)
    return list(np.stack([images, after], axis=1))


def filters_of(spec, bank):
    """What is to be compared: logits are free to shift."""
    if spec["form"] != "convex":
        return bank
    rate = forms.rate(spec)
    models.set_bank(rate, bank)
    return {"filters": np.array(rate.blade.filters)}


def error_of(spec, bank, sequences):
    """The squared error of the rate, relative to that of standing still, summed in float64."""
    rate = forms.rate(spec)
    models.set_bank(rate, bank)
    before, after = np.stack(sequences, axis=1)
    targets = ((after - before) / np.float32(spec["dt"])).astype(np.float64)
    return np.sum((rate(before).numpy() - targets) ** 2) / np.sum(targets**2)


def fitted(start):
    return start.part("least_squares")


@pytest.mark.parametrize("case", CASES)
def test_planted_banks_are_recovered(case, few_bins):
    config = few_bins(CASES[case])
    spec = spec_of(config)
    planted = random_bank(spec)
    sequences = sequences_of(spec, planted, textures())
    start = least_squares_start(sequences, config)
    assert start.spec == spec
    for images in (textures(), textures(2, seed=1)):
        assert error_of(spec, fitted(start), sequences_of(spec, planted, images)) < 1e-8
    expected, found = filters_of(spec, planted), filters_of(spec, fitted(start))
    assert found.keys() == expected.keys()
    if spec.get("tied", True):  # Others are known up to fluxes that go round in circles, which no rate shows.
        for name, value in expected.items():
            tolerance = 0.02 if spec["form"] == "pairs" else 1e-4 * np.abs(value).max()
            np.testing.assert_allclose(found[name], value, rtol=0, atol=tolerance)


@EVERY_FORM
def test_nothing_near_the_start_is_better(case, few_bins):
    config = few_bins(CASES[case])
    spec = spec_of(config)
    sequences = sequences_of(spec, random_bank(spec), textures(), noise=0.01)
    bank = fitted(least_squares_start(sequences, config))
    least, rng = error_of(spec, bank, sequences), np.random.default_rng(2)
    assert 0.02 < least < 0.5
    for _ in range(6):
        step = {name: 0.02 * rng.standard_normal(value.shape) * value.std() for name, value in bank.items()}
        for sign in (-1, 1):
            near = {name: (value + sign * step[name]).astype(np.float32) for name, value in bank.items()}
            assert error_of(spec, near, sequences) > least * (1 + 1e-6)


def test_plain_filters_are_the_least_squares_of_each_bin(few_bins):
    config = few_bins({"model.footprint": (3, 5)})
    spec = spec_of(config)
    images = textures()
    sequences = sequences_of(spec, random_bank(spec), images, noise=0.01)
    found = least_squares_start(sequences, config).arrays["least_squares/filters"]
    chosen = models.build(spec).rates[0].selection(images).numpy()
    x = patches(images[..., 0].astype(np.float64), (3, 5)) @ difference_basis((3, 5))
    y = np.stack([after - before for before, after in sequences])[..., 0] / spec["dt"]
    for k in range(8):
        coefficients = np.linalg.lstsq(x[chosen == k], y[chosen == k])[0]
        expected = (difference_basis((3, 5)) @ coefficients).reshape(3, 5)
        np.testing.assert_allclose(found[k], expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_one_planted_filter_is_recovered_by_all(few_bins):
    config = few_bins({"model.footprint": (3, 5)})
    spec = spec_of(config)
    same = np.repeat(random_bank(spec)["filters"][:1], 8, axis=0)
    arrays = least_squares_start(sequences_of(spec, {"filters": same}, textures()), config).arrays
    tolerance = 1e-4 * np.abs(same).max()
    within = np.pad(same[:1], ((0, 0), (1, 1), (0, 0)))
    np.testing.assert_allclose(arrays["single_filter/filters"], within, rtol=0, atol=tolerance)
    np.testing.assert_allclose(arrays["least_squares/filters"], same, rtol=0, atol=tolerance)


def features_at(images, center):
    """Each feature at all pixels, or at all faces of both directions."""
    if center == "pixel":
        return structure_tensor.features(images, 1.0)._asdict()
    x, y = (structure_tensor.features(images, 1.0, face)._asdict() for face in ("face_x", "face_y"))
    return {name: np.concatenate([np.ravel(x[name][:, :, :-1]), np.ravel(y[name][:, :-1])]) for name in x}


@EVERY_FORM
def test_quantiles_are_those_of_the_features_where_the_form_selects(case, few_bins):
    quantiles = {"strength": (0.1, 0.5, 0.8), "coherence": (0.4,), "intensity": (0.3, 0.6)}
    empty = {f"model.selection.{name}_thresholds": () for name in quantiles}
    given = {f"model.selection.{name}_quantiles": value for name, value in quantiles.items()}
    config = few_bins(CASES[case] | empty | given | {"train.fit_iterations": 1})
    images = textures()
    spec = least_squares_start(list(np.stack([images, images[::-1]], axis=1)), config).spec
    face = spec["form"] in ("flux", "pairs")
    centers = {"selection": "face_x" if face else "pixel"} | ({"node_selection": "pixel"} if "pairs" in case else {})
    assert {key for key in spec if key.endswith("selection")} == set(centers)
    for key, center in centers.items():
        found = spec[key]
        assert (found["center"], found["soft"]) == (center, "strength" if "soft" in case else None)
        for name, values in features_at(images, center).items():
            if name not in quantiles:
                continue
            levels = found[f"{name}_thresholds"]
            if name == found["soft"]:
                assert levels == []
                levels = found["centers"]
            np.testing.assert_allclose(levels, np.quantile(np.ravel(values), quantiles[name]), rtol=1e-6)


@EVERY_FORM
def test_bins_that_no_data_select(case, few_bins):
    """They take the mean of the others; conductances, which are their own coordinates, stay as they begin."""
    levels = {"model.selection.strength_thresholds": (0.08, 0.16, 9.0, 10.0)}
    config = few_bins(CASES[case] | levels | {"train.fit_iterations": 20})
    spec = spec_of(config)
    images = textures()
    start = least_squares_start(sequences_of(spec, random_bank(spec), images), config)
    strengths = 4 if "soft" in case else 5
    empty = np.arange(2 * 2 * strengths) // 2 % strengths >= 3
    for name, value in fitted(start).items():
        assert np.isfinite(value).all()
        if spec["form"] == "pairs":
            np.testing.assert_allclose(value[empty], np.log({"face": 0.02, "node": 0.01}[name]), rtol=1e-6)
            continue
        assert (value[empty] == value[empty][0]).all()
        if spec["form"] == "convex":
            continue
        np.testing.assert_array_equal(start.arrays[f"whitening/{name}"][empty], 0)
        used = value[~empty]
        assert (value[empty][0] > used.min(0)).all()
        assert (value[empty][0] < used.max(0)).all()
        if "soft" not in case:
            counts = chosen_counts(forms.rate(spec), name, images)
            assert counts[empty].sum() == 0
            mean = np.tensordot(counts / counts.sum(), value, 1)
            np.testing.assert_allclose(value[empty][0], mean, rtol=1e-4, atol=1e-4 * np.abs(value).max())


def chosen_counts(rate, name, images):
    """How many pixels or faces choose each filter of a weight."""
    if isinstance(rate, blade_tf.BladeRate):
        chosen = [rate.select(images)[0]]
    else:
        x, y = rate.select(images)
        chosen = {"filters_x": [x[:, :, :-1]], "filters_y": [y[:, :-1]]}[name]
    return sum(np.bincount(np.ravel(part), minlength=rate.bank[name].shape[0]) for part in chosen)


@pytest.mark.parametrize("case", ["plain", "flux"])
def test_a_step_in_whitened_coordinates_moves_the_rate_by_the_targets_size(case, few_bins):
    config = few_bins(CASES[case])
    spec = spec_of(config)
    images = textures()
    sequences = sequences_of(spec, random_bank(spec), images)
    whitening = least_squares_start(sequences, config).arrays["whitening/filters"]
    size = np.sqrt(np.mean([((after - before) / spec["dt"]) ** 2 for before, after in sequences]))
    change = whitening[:, :, 3]
    rate = forms.rate(spec)
    if case == "plain":
        moved = [ops.blade_filter(images, change.reshape(-1, 3, 5), rate.select(images)[0])]
        chosen = rate.select(images)
    else:
        rate.flux.filters.assign(change.reshape(rate.flux.filters.shape))
        x, y = chosen = rate.select(images)
        flux_x, flux_y = rate.flux.fluxes(images, x, y)
        moved, chosen = [flux_x[:, :, :-1], flux_y[:, :-1]], [x[:, :, :-1], y[:, :-1]]
    moved, chosen = (np.concatenate([np.ravel(part) for part in parts]) for parts in (moved, chosen))
    # A bin that fewer pixels select than the average one moves less.
    share = np.bincount(chosen, minlength=8) / chosen.size * 8
    assert share.min() < 0.7
    assert share.max() > 1.4
    for k in range(8):
        expected = size * np.sqrt(min(share[k], 1))
        assert np.sqrt(np.mean(moved[chosen == k] ** 2)) == pytest.approx(expected, rel=0.03)


def test_a_part_of_the_arrays_goes_by_their_names_after_the_slash(few_bins):
    config = few_bins(FLUX | UNTIED | {"train.fit_iterations": 1})
    spec = spec_of(config)
    start = least_squares_start(sequences_of(spec, random_bank(spec), textures()), config)
    assert start.part("least_squares").keys() == start.part("whitening").keys() == {"filters_x", "filters_y"}
    assert start.part("single_filter").keys() == {"filters"}
    assert all(value.dtype == np.float32 for value in start.arrays.values())
