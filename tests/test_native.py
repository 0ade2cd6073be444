import json
import os
import pathlib
import shutil
import subprocess
import sys
import types
import warnings

import numpy as np
import pytest
import tensorflow as tf

import blade_tf
from blade_tf import native

PACKAGE = pathlib.Path(blade_tf.__file__).parent
needs_native = pytest.mark.skipif(native.library is None, reason="blade_tf was installed without its native library")

# The first argument is the number of threads, the second the file of results.
RESULTS = """
import sys
import numpy as np, tensorflow as tf
threads, path = int(sys.argv[1]), sys.argv[2]
tf.config.threading.set_intra_op_parallelism_threads(threads)
tf.config.threading.set_inter_op_parallelism_threads(1)
import blade_tf

found = {}
for dtype in ("float32", "float64", "bfloat16"):
    for channels in (1, 3):
        rng = np.random.default_rng(channels)
        image = tf.cast(rng.standard_normal((2, 211, 307, channels)), dtype)
        filters = tf.cast(rng.standard_normal((72, 5, 5)), dtype)
        cotangent = tf.cast(rng.standard_normal(image.shape), dtype)
        selection = blade_tf.blade_select(
            image, orientations=8, strength_thresholds=[0.5, 1.0], coherence_thresholds=[0.3, 0.6], rho=1.0
        )
        with tf.GradientTape() as tape:
            tape.watch([image, filters])
            output = blade_tf.blade_filter(image, filters, selection)
        arrays = [selection, output, *tape.gradient(output, [image, filters], cotangent)]
        wild = tf.where(rng.random(image.shape) < 1e-3, tf.constant([np.nan, np.inf], dtype)[channels // 2], image)
        arrays.append(blade_tf.blade_filter(wild, filters, selection))
        arrays.append(blade_tf.blade_select(
            wild, orientations=6, strength_thresholds=[0.5], coherence_thresholds=[0.3], rho=0.4
        ))
        names = "selection", "output", "image_gradient", "filters_gradient", "wild_output", "wild_selection"
        for name, array in zip(names, arrays):
            exact = array if array.dtype == tf.int32 else tf.cast(array, tf.float64)
            found[f"{name} {dtype} {channels}"] = exact.numpy()
np.savez(path, **found)
"""


def python(code, *arguments, folder=None, **environment):
    """Starts a fresh Python that imports this blade_tf."""
    variables = {"PYTHONPATH": str(PACKAGE.parent), "TF_CPP_MIN_LOG_LEVEL": "3"} | environment
    variables = {k: v for k, v in os.environ.items() if k != "BLADE_TF_SIMD"} | variables
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(
        command, env=variables, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """results(name): the arrays of 1, 2 or 3 threads, or of an instruction set; None where the processor lacks it.

    Threads use the best instruction set.
    """
    folder = tmp_path_factory.mktemp("results")
    runs = {f"{n} threads": python(RESULTS, n, folder / f"{n} threads.npz") for n in (1, 2, 3)}
    for n, level in enumerate(("portable", "avx2", "sse9"), 2):
        runs[level] = python(RESULTS, n % 3 + 1, folder / f"{level}.npz", BLADE_TF_SIMD=level)
    errors = {name: run.communicate()[1] for name, run in runs.items()}

    def get(name):
        if "BLADE_TF_SIMD: expected one of" in errors[name]:
            return None
        assert runs[name].returncode == 0, errors[name]
        with np.load(folder / f"{name}.npz") as arrays:
            return dict(arrays)

    get.errors = errors
    return get


@needs_native
def test_results_do_not_depend_on_the_number_of_threads(results):
    expected = results("1 threads")
    assert len(expected) == 36
    for name in ("2 threads", "3 threads"):
        for key, found in results(name).items():
            assert found.tobytes() == expected[key].tobytes(), key


@needs_native
@pytest.mark.parametrize("level", ["portable", "avx2"])
def test_instruction_sets_agree(results, level):
    """The selection bit for bit, what is filtered to rounding; NaN and infinity in the same places."""
    found, expected = results(level), results("1 threads")
    if found is None:
        pytest.skip(f"the processor lacks {level}")
    for key, array in found.items():
        name, dtype, _ = key.split(" ")
        if array.dtype == np.int32:
            np.testing.assert_array_equal(array, expected[key], key)
            continue
        finite = np.isfinite(array)
        np.testing.assert_array_equal(finite, np.isfinite(expected[key]), key)
        assert ("wild" in name) != np.all(finite)
        # A sum of 25 terms of size 1, or of thousands; bfloat16 rounds it at the end, here or there.
        scale = np.abs(expected[key][finite]).max()
        tolerance = {"float32": 1e-6, "float64": 1e-14, "bfloat16": 2.0**-7}[dtype] * scale
        np.testing.assert_allclose(array[finite], expected[key][finite], rtol=0, atol=tolerance, err_msg=key)


@needs_native
def test_an_unknown_instruction_set_is_named(results):
    assert results("sse9") is None
    assert "BLADE_TF_SIMD: expected one of" in results.errors["sse9"]
    assert "portable on this processor, got sse9" in results.errors["sse9"]


MISSING = """
import sys
import numpy as np
import blade_tf
from blade_tf import models, train
image = np.random.default_rng(0).standard_normal((1, 6, 7, 1))
selection = blade_tf.blade_select(image, strength_thresholds=[0.5], coherence_thresholds=[])
np.savez(sys.argv[1], selection, blade_tf.blade_filter(image, np.arange(48 * 9.0).reshape(48, 3, 3), selection))
assert blade_tf.Blade(1).supports_jit
"""


@pytest.mark.parametrize(
    ("info", "reason"), [(None, "_blade_ops.so is missing"), ({"native": False}, "BLADE_TF_NATIVE=0")]
)
def test_without_the_library_stock_operations_do(info, reason, tmp_path, monkeypatch):
    monkeypatch.setattr(native, "LIBRARY", tmp_path / "_blade_ops.so")
    monkeypatch.setattr(native, "BUILD_INFO", tmp_path / "_build_info.json")
    if info is not None:
        native.BUILD_INFO.write_text(json.dumps(info))
    with pytest.warns(UserWarning, match=f"blade_tf: .*{reason}.*falling back to stock") as caught:
        assert native._load() is None
    assert len(caught) == 1


def test_a_package_without_the_library_warns_once_and_works(tmp_path):
    ignored = shutil.ignore_patterns("_blade_ops.so", "_build_info.json", "__pycache__", "pretrained")
    shutil.copytree(PACKAGE, tmp_path / "blade_tf", ignore=ignored)
    out = tmp_path / "out.npz"
    run = python(MISSING, out, folder=tmp_path, PYTHONPATH=str(tmp_path), PYTHONWARNINGS="always::UserWarning")
    _, err = run.communicate()
    assert run.returncode == 0, err
    assert err.count("falling back to stock TensorFlow operations") == 1
    image = np.random.default_rng(0).standard_normal((1, 6, 7, 1))
    with blade_tf.implementation("stock"), np.load(out) as found:
        selection = blade_tf.blade_select(image, strength_thresholds=[0.5], coherence_thresholds=[])
        output = blade_tf.blade_filter(image, np.arange(48 * 9.0).reshape(48, 3, 3), selection)
        np.testing.assert_array_equal(found["arr_0"], selection)
        np.testing.assert_array_equal(found["arr_1"], output)


@pytest.mark.parametrize(("built", "running"), [("2.21.0", "2.21.3"), ("2.21.0-rc1", "2.21.0"), ("2.21", "2.21.1")])
def test_patch_releases_of_tensorflow_fit(built, running):
    assert native.check_tensorflow(built, running) is None


@pytest.mark.parametrize(("built", "running"), [("2.21.0", "2.20.0"), ("2.21.0", "2.2.1"), ("2.21.0", "3.21.0")])
def test_another_tensorflow_is_refused_with_what_to_do(built, running):
    message = rf"built against TensorFlow {built}, but TensorFlow {running} is installed.*tensorflow==2.21.\*.*rebuild"
    with pytest.raises(ImportError, match=message):
        native.check_tensorflow(built, running)


@needs_native
def test_a_library_of_another_tensorflow_is_not_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(native, "BUILD_INFO", tmp_path / "_build_info.json")
    native.BUILD_INFO.write_text(json.dumps({"native": True, "tensorflow": "2.19.1"}))
    with pytest.raises(ImportError, match=f"against TensorFlow 2.19.1, but TensorFlow {tf.__version__} is installed"):
        native._load()


def test_a_library_that_does_not_load_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(native, "LIBRARY", tmp_path / "_blade_ops.so")
    monkeypatch.setattr(native, "BUILD_INFO", tmp_path / "_build_info.json")
    native.LIBRARY.write_bytes(b"no library")
    with pytest.raises(ImportError, match=r"_blade_ops\.so does not load .* an unknown version.*Reinstall"):
        native._load()


@pytest.mark.parametrize(
    ("names", "warned"),
    [(["tensorflow", "numpy"], 0), (["tensorflow_cpu"], 0), (["tensorflow", "tensorflow_cpu"], 1), ([None], 0)],
)
def test_both_distributions_of_tensorflow_are_warned_about(names, warned, monkeypatch):
    found = [types.SimpleNamespace(name=name) for name in names]
    monkeypatch.setattr(native.importlib.metadata, "distributions", lambda: found)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        native._check_distributions()
    assert len(caught) == warned
    assert all("both `tensorflow` and `tensorflow-cpu` are installed" in str(w.message) for w in caught)
