"""blade-bench: statistics, figures, verdicts, checks, tables and files; no test looks at how long anything took."""

import dataclasses
import importlib.util
import json
import os
import re

import numpy as np
import pytest
import skimage.data
import tensorflow as tf

import blade_tf
from blade_tf import bench, image_io, native, ops, select_ops
from blade_tf.bench import (
    benchmark,
    cases,
    check,
    evolution,
    figures,
    inputs,
    machine,
    numba_peer,
    peers,
    settings,
    suite,
    text,
    timing,
    training,
    worker,
)

pytest.importorskip("cv2", reason="OpenCV, whose filter is the unit, is not installed")
needs_native = pytest.mark.skipif(native.library is None, reason="blade_tf was installed without its native library")
MAIN = settings.MAIN
TINY = (40, 24)


@pytest.fixture(scope="module")
def tiny():
    return inputs.make(inputs.photograph(), TINY)


class Clock:
    """Time that passes only in the functions that it makes."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def takes(self, *seconds):
        """A function whose calls take so long, the last one from then on."""
        durations, self.calls = list(seconds), 0

        def run():
            self.calls += 1
            self.now += durations.pop(0) if len(durations) > 1 else durations[0]

        return run


# Statistics


def test_samples_are_taken_in_turns_after_two_calls():
    clock, order = Clock(), []

    def case(name, seconds):
        def run():
            order.append(name)
            clock.now += seconds

        return run

    samples = timing.interleaved([case("a", 0.5), case("b", 0.25)], 3, clock=clock)
    assert order == ["a", "a", "b", "b", *["a", "b"] * 3]
    np.testing.assert_allclose(samples, [[0.5] * 3, [0.25] * 3])


def test_quick_functions_are_warmed_and_called_often_enough_for_the_clock():
    clock = Clock()
    run = clock.takes(1.0, 2.0**-13)
    samples = timing.interleaved([run], 2, clock=clock)
    np.testing.assert_array_equal(samples, [[2.0**-13] * 2])
    assert clock.calls == 2 + 2 * (1 + 9)


def test_slow_functions_rest_after_five_samples():
    clock = Clock()
    samples = timing.interleaved([clock.takes(2.0), clock.takes(0.5)], 8, 3.0, clock=clock)
    assert np.isnan(samples).sum(1).tolist() == [3, 1]
    assert timing.summary(samples[0])["samples"] == 5


def test_summary_has_the_quartiles_of_what_was_measured():
    found = timing.summary([3.0, np.nan, 1.0, 2.0, 5.0, 4.0])
    assert found == {"median": 3.0, "quartile_1": 2.0, "quartile_3": 4.0, "least": 1.0, "samples": 5}
    assert timing.summary([np.nan]) is None


def test_ratios_are_taken_turn_by_turn():
    """The machine is half as quick in the second turn: the ratio of the sums would be 2.25."""
    np.testing.assert_array_equal(timing.ratios([2.0, 6.0, np.nan], [1.0, 2.0, 1.0]), [2.0, 3.0, np.nan])


# Figures and verdicts from given samples


def case(what, nanoseconds, *, size=MAIN, by=cases.OWN, channels=1, how="call"):
    found = {"what": what, "by": by, "how": how, "channels": channels, "work": 1}
    return found | {"size": list(size), "nanoseconds": list(np.broadcast_to(nanoseconds, 20).astype(float))}


def unit(nanoseconds=1.0, **changes):
    name = "filter2D 5x5, 3 channels" if changes.get("channels") == 3 else "filter2D 5x5"
    return case(name, nanoseconds, by="OpenCV", **changes)


def group(*members, name="operations at 768x512", threads=1, simd="avx512"):
    return {"name": name, "threads": threads, "simd": simd, "cases": list(members)}


def test_each_number_of_channels_has_its_own_unit():
    members = unit(2.0), unit(8.0, channels=3), case("filter", 3.0), case("filter, 3 channels", 12.0, channels=3)
    rows = figures.rows([group(*members)])
    assert [row["ratio"]["median"] for row in rows] == [1.0, 1.0, 1.5, 1.5]
    found = figures.figures([group(*members)], MAIN, 1)
    assert found["avx512, 768x512: filter"] == {"value": 1.5, "samples": 20}
    assert found["avx512, 768x512: filter, 3 channels"]["value"] == 1.5


def test_peers_are_not_taken_for_our_operations():
    members = unit(), case("filter", 1.1), case("filter", 90.0, by="TensorFlow")
    assert figures.figures([group(*members)], MAIN, 1)["avx512, 768x512: filter"]["value"] == pytest.approx(1.1)


def test_sizes_are_compared_within_their_group():
    small = group(
        unit(),
        case("step", 2.0),
        unit(1.5, size=(192, 128)),
        case("step", 3.0, size=(192, 128)),
        case("step", 2.5, size=(192, 128), how="graph"),
        name="operations at 192x128 beside 768x512",
    )
    found = figures.figures([group(unit(), case("step", 99.0)), small], MAIN, 1)
    assert found["192x128 over 768x512, a pixel: step"]["value"] == 1.5
    assert found["192x128 over 768x512, a pixel: step, in a graph"]["value"] == 1.25
    ratios = {(row["how"], *row["size"]): row["ratio"]["median"] for row in figures.rows([small])[1:]}
    assert ratios["call", 192, 128] == 2.0


def test_threads_are_compared_by_the_unit_of_their_run():
    """The second run met a machine half as quick: two threads are 1.9 times as fast as one all the same."""
    one, two = group(unit(1.0), case("filter", 3.8)), group(unit(2.0), case("filter", 4.0), threads=2)
    found = figures.figures([one, two], MAIN, 1)
    assert found["2 threads: filter"]["value"] == pytest.approx(1.9)
    assert found["avx512, 768x512: filter"]["value"] == 3.8


def test_models_are_compared_with_the_plain_form_of_their_equation():
    members = [
        unit(),
        case("ced", 30.0),
        case("ced_paper", 15.0),
        case("tv_flow_convex", 4.0),
        case("tv_flow_paper", 5.0),
    ]
    found = figures.figures([group(*members, name="models")], MAIN, 1)
    ratios = {name: figure["value"] for name, figure in found.items()}
    assert ratios == {"ten steps: ced over ced_paper": 2.0, "ten steps: tv_flow_convex over tv_flow_paper": 0.8}
    by_title = {record["title"]: record for record in figures.verdicts(found)}
    assert by_title["ten steps: ced over ced_paper"]["met"] is True
    assert by_title["ten steps: ced over ced_paper"]["limit"] == 2.5


def test_steps_are_compared_one_by_one():
    counts = [case(evolution.steps_name(count), value) for count, value in ((1, 6.0), (10, 4.0), (100, 5.0))]
    found = figures.figures([group(unit(), *counts, name="numbers of steps")], MAIN, 1)
    assert found["100 steps over 10, a step"]["value"] == 1.25


def test_training_is_a_figure():
    measured = {"share": 0.7, "milliseconds": {"samples": 25}}
    found = figures.figures([], MAIN, 1, measured, {"final": 5.0, "trajectory": 13.0})
    verdicts = {record["title"]: record["met"] for record in figures.verdicts(found) if record["value"] is not None}
    assert list(verdicts.values()) == [False, True]
    assert found["training: bytes, loss of all states"]["value"] == 13.0
    assert "training: share" not in figures.figures([], MAIN, 2, measured)


@pytest.mark.parametrize(
    ("value", "samples", "met", "aim_met", "words"),
    [
        (0.99, 20, True, True, "met, and what we are after"),
        (1.0, 20, True, True, "met, and what we are after"),
        (1.15, 20, True, False, "met"),
        (1.16, 20, False, False, "missed"),
        (0.99, 19, None, None, "too few samples (19)"),
        (float("nan"), 20, None, None, "too few samples (20)"),
    ],
)
def test_verdicts(value, samples, met, aim_met, words):
    (record, *_) = figures.verdicts({"avx512, 768x512: filter": {"value": value, "samples": samples}})
    assert (record["sense"], record["limit"], record["aim"]) == ("at most", 1.15, 1.0)
    assert (record["met"], record["aim_met"]) == (met, aim_met)
    assert words in text._verdict(record)


def test_more_is_better_where_the_target_says_so():
    for value, met in ((1.8, True), (1.79, False)):
        records = figures.verdicts({"2 threads: filter": {"value": value, "samples": 20}})
        (record,) = (record for record in records if record["value"] is not None)
        assert (record["sense"], record["met"]) == ("at least", met)


def test_what_was_not_measured_is_said_so():
    records = figures.verdicts({})
    assert len(records) == len(figures.TARGETS)
    assert {text._verdict(record) for record in records} == {"not measured"}


# Checks


def test_a_wrong_value_is_found():
    expected = np.linspace(-4, 4, 100, dtype=np.float32)
    got = expected.copy()
    got[50] += 4e-3
    record = check.compare("case", expected, got, tolerance=2e-3)
    assert (record["worst"], record["differing"]) == (pytest.approx(1e-3, rel=1e-3), 0.0)
    with pytest.raises(
        check.MismatchError, match=r"case: 1 % of the values differ by more than the tolerance of 0.0005"
    ):
        check.compare("case", expected, got, tolerance=5e-4)
    assert check.compare("case", expected, got, tolerance=5e-4, share=0.01)["differing"] == 0.01


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_wrong(wrong):
    with pytest.raises(check.MismatchError):
        check.compare("case", np.ones(4), np.array([1, 1, wrong, 1]), tolerance=1e9)


def test_integers_differ_unless_they_are_equal():
    assert check.compare("case", np.arange(4), np.arange(4), tolerance=9)["exact"]
    with pytest.raises(check.MismatchError, match="25 %"):
        check.compare("case", np.arange(4), np.array([0, 1, 2, 4]), tolerance=9)


def test_another_shape_is_wrong():
    with pytest.raises(check.MismatchError, match=r"expected a result of shape \[2, 3\], got \[3, 2\]"):
        check.compare("case", np.ones((2, 3)), np.ones((3, 2)), tolerance=1)


@pytest.mark.parametrize("place", [(0, 0), (700, 3), (699, 1599), (350, 800)])
def test_large_images_are_checked_in_corners_and_in_the_middle(place):
    u = tf.random.stateless_uniform([1, 700, 1600, 1], seed=[0, 1])

    def rate(v):
        return v - tf.nn.avg_pool2d(v, 3, 1, "SAME")

    got = rate(u).numpy()
    assert check.on_windows("case", got, rate, (u,), tolerance=1e-6)["worst"] < 1e-6
    got[0, min(place[0], 699), place[1]] += 1
    with pytest.raises(check.MismatchError):
        check.on_windows("case", got, rate, (u,), tolerance=1e-6)


@pytest.mark.parametrize("size", [(9, 7), (1100, 1000)])
def test_the_gradient_to_the_filters_has_an_oracle(size, monkeypatch):
    """Stock TensorFlow's, by its own differentiation, where the oracle knows it."""
    monkeypatch.setattr(check, "BAND", 300)
    rng = np.random.default_rng(0)
    shape = (size[1], size[0])
    image, grad = rng.random(shape, np.float32), rng.standard_normal(shape, np.float32)
    selection = rng.integers(0, 6, shape).astype(np.int32)
    filters = tf.zeros([6, 3, 3], tf.float64)
    u, g = (tf.constant(a[np.newaxis, ..., np.newaxis], tf.float64) for a in (image, grad))
    with tf.GradientTape() as tape, ops.implementation("stock"):
        tape.watch(filters)
        output = ops.blade_filter(u, filters, selection[np.newaxis])
    expected = tape.gradient(output, filters, g).numpy()
    found = check.filters_gradient(image, selection, grad, (6, 3, 3))
    known = ~np.isnan(found)
    assert known.sum() == 6 * (9 if size == (9, 7) else 5)
    np.testing.assert_allclose(found[known], expected[known], rtol=1e-9, atol=1e-9)


# Peers


@needs_native
def test_numbas_functions_compute_what_ours_do(tiny):
    """As plain Python, which needs no numba."""
    filters, selection = tiny.filters.numpy(), tiny.selection.numpy()[0]
    found = numba_peer.filter_image(tiny.gray, filters, selection)
    expected = ops.blade_filter(tiny.u, tiny.filters, tiny.selection)[0, ..., 0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())
    constants = numba_peer.selection_constants(**tiny.parameters)
    assert np.mean(numba_peer.select(tiny.gray, *constants) != selection) <= peers.TIES
    classical = peers.classical(tiny)(tiny.u)[0, ..., 0]
    assert np.abs(classical - tiny.gray).max() > 1e-3
    found = numba_peer.tv_step(tiny.gray, np.float32(tiny.dt), np.float32(blade_tf.TVFlow().epsilon))
    np.testing.assert_allclose(found, classical, rtol=0, atol=1e-6)


def test_numbas_selection_refuses_what_it_does_not_do():
    with pytest.raises(ValueError, match="orientations: expected a multiple of 4, got 6"):
        numba_peer.selection_constants(6, [], [], 1.0)


@needs_native
@pytest.mark.parametrize("name", settings.PEERS)
def test_each_peer_passes_its_checks(name, tiny):
    if name == "xla":
        pytest.skip("compiles for a minute; blade-bench checks it before it is timed")
    if peers.missing((name,)):
        pytest.skip(peers.missing((name,))[name])
    members = peers.peers(name, tiny)
    assert members
    for member in members:
        assert member.check()["name"].startswith(member.what.split(",")[-1].strip())


@needs_native
def test_a_wrong_peer_is_left_out_and_named(tiny, caplog):
    recorder = suite._Recorder(job())

    def differs():
        return check.compare("filter, Guess", tiny.gray, tiny.gray + 1, tolerance=1e-3)

    wrong = cases.Case("filter", "Guess", lambda: None, TINY, check=differs)
    recorder.group("guesses", [*cases.units(tiny), wrong])
    assert [member["by"] for member in recorder.groups[0]["cases"]] == ["OpenCV", "OpenCV"]
    assert re.match("filter, Guess: 100 % of the values differ", recorder.failed["filter, Guess, 40x24"])


@needs_native
def test_a_peer_that_cannot_be_made_is_left_out_and_named(tiny, monkeypatch):
    def broken(inputs):
        raise OSError("no such library")

    monkeypatch.setitem(peers.MAKERS, "halide", broken)
    recorder = suite._Recorder(job())
    recorder.peer("halide", tiny)
    assert recorder.failed == {"halide": "no such library"}
    assert recorder.groups == []


@needs_native
def test_our_own_wrong_result_ends_the_benchmark(tiny):
    (member, *_) = cases.operations(tiny)
    assert member.by == cases.OWN
    zeros = dataclasses.replace(
        member, check=lambda: check.compare(member.name, member.run(), tf.zeros_like(tiny.u), tolerance=1e-5)
    )
    with pytest.raises(check.MismatchError, match=r"filter, blade_tf, 40x24: .* % of the values differ"):
        suite._Recorder(job()).group("ours", [zeros])


@needs_native
def test_the_checks_of_our_operations_see_wrong_results(tiny, monkeypatch):
    """A bank off by a thousandth, and a selection off by one, are found."""
    original = ops.blade_filter

    def off(image, filters, selection):
        return original(image, filters if ops.uses_native() else filters * 1.001, selection)

    monkeypatch.setattr(ops, "blade_filter", off)
    by_name = {member.what: member for member in cases.operations(tiny)}
    for what in ("filter", "filter, 3 channels", "gradient to the image"):
        with pytest.raises(check.MismatchError, match=what):
            by_name[what].check()
    select = select_ops.blade_select

    def other(image, **parameters):
        return select(image, **parameters) + (0 if ops.uses_native() else 1)

    monkeypatch.setattr(select_ops, "blade_select", other)
    with pytest.raises(check.MismatchError, match="selection 24x3x3"):
        by_name["selection 24x3x3"].check()


def test_missing_peers_are_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert peers.missing(("stock", "halide")) == {"halide": "not installed: pip install halide"}


# Settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": ()}, "sizes: expected at least one, got none"),
        ({"sizes": ((8, 512),)}, "sizes: expected sides of at least 16, got 8x512"),
        ({"sizes": ((10**6, 10**6),)}, r"sizes: 1000000x1000000 needs about \d+\.\d GiB of memory"),
        ({"sizes": (MAIN, MAIN)}, "sizes: expected each once"),
        ({"threads": (0,)}, r"threads: expected 1 to \d+, the processors of this process, got 0"),
        ({"threads": (4096,)}, "threads: expected 1 to .*, got 4096"),
        ({"simd": ("sse",)}, "simd: expected some of .*portable on this processor, got 'sse'"),
        ({"peers": ("open_cv",)}, "peers: unknown peer 'open_cv', did you mean 'opencv'?"),
        ({"repeats": 0}, "repeats: expected at least 1, got 0"),
        ({"image": "/nowhere.png"}, "image: no such file: /nowhere.png"),
    ],
)
def test_wrong_settings_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        bench.Settings(**changes)


@pytest.mark.parametrize("wrong", ["768", "768x", "axb", "1x2x3", "-1x5"])
def test_wrong_sizes_are_named(wrong):
    with pytest.raises(ValueError, match=f"sizes: expected WIDTHxHEIGHT such as 768x512, got '{wrong}'"):
        bench.parse_size(wrong)


def test_the_defaults_are_those_of_the_targets():
    chosen = bench.Settings()
    assert chosen.main == MAIN
    assert chosen.repeats >= figures.ENOUGH
    assert {(192, 128), MAIN, (8192, 8192)} <= set(chosen.sizes)
    assert bench.Settings(sizes=((64, 32), (128, 64))).main == (64, 32)


def test_each_number_of_threads_and_each_level_has_its_process(monkeypatch):
    monkeypatch.setattr(settings, "processors", lambda: [0, 1])
    monkeypatch.setattr(settings, "simd_levels", lambda: ["avx512", "avx2", "portable"])
    chosen = bench.Settings()
    found = [(one.threads, one.simd, one.kind) for one in suite.jobs(chosen)]
    assert found == [
        (1, "avx512", "all"),
        (2, "avx512", "main"),
        (1, "avx2", "main"),
        (1, "portable", "main"),
        (1, "avx512", "memory"),
        (1, "avx512", "memory of a trajectory"),
    ]
    quick = bench.Settings.quick(repeats=2)
    assert [one.kind for one in suite.jobs(quick)] == ["all"]
    assert quick.repeats == 2
    assert not quick.models


def test_a_job_reaches_its_process_as_it_was():
    sent = suite.Job(bench.Settings.quick(image=os.fspath(__file__)), 1, "portable", "main")
    assert suite.Job(**worker.decoded(worker.encoded(sent))) == sent


def test_images_keep_their_statistics_at_any_size():
    picture = skimage.data.astronaut()[:40, :30].astype(np.float32) / 255
    large = inputs._fitted(picture, (75, 100))
    np.testing.assert_array_equal(large[:40, :30], picture)
    np.testing.assert_array_equal(large[40:80, 30:60], picture[::-1, ::-1])
    np.testing.assert_array_equal(inputs._fitted(picture, (20, 16)), picture[:16, :20])


# Whole runs


def job(**changes):
    chosen = {"sizes": (TINY, (64, 48)), "repeats": 2, "threads": (1,), "simd": ("portable",), "models": True}
    return suite.Job(bench.Settings(**chosen | {"peers": ("opencv", "stock")} | changes), 1, "portable", "all")


@pytest.fixture(scope="module")
def found():
    """Everything but the processes, on images of a few hundred pixels."""
    if native.library is None:
        pytest.skip("blade_tf was installed without its native library")
    before = os.sched_getaffinity(0)
    whole = job()
    parts = [suite.run(whole, ["tv_flow", "tv_flow_paper"]), suite.run(dataclasses.replace(whole, kind="main"))]
    parts.append({"groups": [], "checks": [], "failed": {}, "memory": {"final": training.growth(False, side=128)}})
    assert os.sched_getaffinity(0) == before
    return benchmark.gather(whole.settings, parts, machine.machine(), 1.5)


SUMMARY = {"median": float, "quartile_1": float, "quartile_3": float, "least": float, "samples": int}


def assert_summary(record):
    assert {key: type(value) for key, value in record.items()} == SUMMARY
    assert 0 < record["least"] <= record["quartile_1"] <= record["median"] <= record["quartile_3"]


def test_the_record_is_complete(found):
    assert set(found) == {
        "format", "machine", "versions", "settings", "seconds", "rows", "training", "memory", "figures", "verdicts",
        "checks", "missing", "failed",
    }  # fmt: skip
    assert found["failed"] == {}
    assert found["settings"]["sizes"] == [list(TINY), [64, 48]]
    assert {"tensorflow", "numpy", "python"} <= set(found["versions"])
    assert found["machine"]["processors"] >= 1
    for row in found["rows"]:
        assert_summary(row["nanoseconds"])
        assert_summary(row["ratio"])
    own = {row["what"] for row in found["rows"] if row["by"] == cases.OWN}
    assert {*figures.OPERATIONS, "gradient to the image", "gradient to the filters", "tv_flow"} <= own
    both = {row["how"] for row in found["rows"] if row["what"] == "step"}
    assert both == {"call"}  # graphs are for sizes below the main one
    assert len({check["name"] for check in found["checks"]}) >= 12


def test_every_operation_and_peer_was_checked(found):
    checked = {check["name"] for check in found["checks"]}
    unchecked = {"filter2D 5x5", "filter2D 5x5, 3 channels", "both gradients", "copy", "copy to new memory"}
    for row in found["rows"]:
        if row["group"].startswith("operations") and row["what"] not in unchecked:
            assert f"{row['what']}, {row['by']}, {row['size'][0]}x{row['size'][1]}" in checked
    assert {"filter, TensorFlow", "classical TV-flow step, TensorFlow"} <= checked


def test_the_training_step_is_profiled(found):
    measured = found["training"]
    assert_summary(measured["milliseconds"])
    assert measured["share"] > 0  # more than 1 would be where several threads are at work, as here
    assert {"BladeFilterGradFilters", "BladeFilterGradImage"} <= set(measured["operations"])


def test_the_tables_have_every_row(found):
    shown = bench.summary(found)
    for row in found["rows"]:
        assert f"{row['what']}" in shown
    for record in found["verdicts"]:
        assert re.search(rf"^{re.escape(record['title'])}  ", shown, re.MULTILINE)
    assert "ten steps: tv_flow over tv_flow_paper" in shown
    assert "% of it in the kernels" in shown


def test_notes_name_what_is_missing(found):
    changed = found | {"missing": {"halide": "not installed: pip install halide"}, "failed": {"a peer": "it is wrong"}}
    for shown in (bench.summary(changed), text.markdown(changed)):
        assert "Not installed, so not measured: halide (not installed: pip install halide)." in shown
        assert "Left out: a peer: it is wrong." in shown


@pytest.mark.parametrize("load", [0.1, 3.0])
def test_a_machine_that_is_not_idle_is_noted(found, load):
    changed = found | {"machine": found["machine"] | {"load": [load, 0.0, 0.0]}}
    for shown in (bench.summary(changed), text.markdown(changed)):
        assert ("The machine was not idle: its load was 3.00 before" in shown) == (load == 3.0)


def test_the_files_are_written(found, tmp_path):
    bench.write(found, tmp_path / "new")
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"bench.json", "bench.md", "bench.svg"}
    assert json.loads((tmp_path / "new" / "bench.json").read_text()) == found
    page = (tmp_path / "new" / "bench.md").read_text()
    for line in re.findall(r"^\|.*", page, re.MULTILINE):
        assert line.endswith("|")
    assert "bench.svg" in page
    chart = (tmp_path / "new" / "bench.svg").read_text()
    assert "filter2D 5x5, OpenCV: 1 x" in chart


def test_the_chart_leaves_out_what_dwarfs_the_others(found):
    rows = [{**row, "ratio": {**row["ratio"], "median": 500.0}} for row in found["rows"] if row["what"] == "step"]
    others = [row for row in found["rows"] if row["what"] != "step"]
    chart = text.chart(found | {"rows": others + rows})
    assert "filter, blade_tf" in chart
    assert "step, blade_tf" not in chart


def test_a_process_that_dies_is_reported(monkeypatch):
    monkeypatch.setattr(worker, "__name__", "no_such_module_of_this_test")
    with pytest.raises(ChildProcessError, match=r"portable, 1 thread ended with status 1, see above"):
        benchmark._in_process(job())


@needs_native
def test_the_program_runs_its_processes(program, tmp_path):
    arguments = ["--quick", "--sizes=48x32", "--repeats=2", "--peers=opencv", "--simd=portable"]
    outcome = program("bench", *arguments, f"--output={tmp_path / 'out'}")
    assert outcome.status == 0, outcome.err
    written = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert written["settings"]["simd"] == ["portable"]
    assert {row["what"] for row in written["rows"]} >= set(figures.OPERATIONS)
    assert "filter, times filter2D" in outcome.out


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--sizes=768", "blade-bench: sizes: expected WIDTHxHEIGHT such as 768x512, got '768'"),
        ("--threads=two", "blade-bench: threads: expected whole numbers, got 'two'"),
        ("--peers=numbas", "blade-bench: peers: unknown peer 'numbas', did you mean 'numba'?"),
        ("--repeats=0", "blade-bench: flag --repeats=0: "),
    ],
)
def test_wrong_flags_are_one_line(flag, message, program):
    outcome = program("bench", flag)
    assert outcome.status == 1
    assert outcome.out == ""
    assert outcome.err.startswith(message)
    assert outcome.err.count("\n") == 1


def test_an_image_that_is_none_is_named(program, tmp_path):
    (tmp_path / "image.png").write_bytes(b"nothing")
    outcome = program("bench", "--quick", f"--image={tmp_path / 'image.png'}")
    assert outcome.status == 1
    assert f"{tmp_path / 'image.png'}: " in outcome.err.splitlines()[-1]
    with pytest.raises(image_io.ImageError):
        inputs.photograph(tmp_path / "image.png")


def test_help_is_complete(program):
    outcome = program("bench", "--help")
    assert outcome.status == 0
    names = re.findall(r"^  --(\S+): [A-Z].{10,}", outcome.out, re.MULTILINE)
    assert names == ["sizes", "threads", "simd", "repeats", "peers", "image", "output", "[no]quick"]
