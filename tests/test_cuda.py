"""The CUDA kernels where there is no GPU: compiled where nvcc is, and run by the processor in an emulation."""

import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import kernels

from blade_tf import native

ROOT = pathlib.Path(__file__).parents[1]
CUDA = ROOT / "cc" / "cuda"
NVCC = shutil.which("nvcc", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/cuda/bin"]))
OPERATIONS = ("BladeFilter", "BladeFilterGradImage", "BladeFilterGradFilters", "BladeSelect", "BladeStep")
needs_native = pytest.mark.skipif(native.library is None, reason="blade_tf was installed without its native library")
needs_nvcc = pytest.mark.skipif(NVCC is None, reason="CUDA's compiler, nvcc, is not installed")
needs_emulation = pytest.mark.skipif(
    not (shutil.which("make") and shutil.which("g++") and pathlib.Path("/usr/include/gtest/gtest.h").exists()),
    reason="make, g++ and googletest are not all installed",
)


def run(*command, **environment):
    arguments = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": ROOT}
    return subprocess.run([str(word) for word in command], env=os.environ | environment, **arguments)


@pytest.fixture(scope="module")
def emulation(tmp_path_factory):
    """The folder in which the emulation is built, once for all tests."""
    return tmp_path_factory.mktemp("emulation")


@needs_emulation
def test_kernels_equal_the_processors_in_emulation(emulation):
    jobs = f"--jobs={len(os.sched_getaffinity(0))}"
    outcome = run("make", "-C", CUDA / "tests", jobs, f"BUILD_DIR={emulation}", "test")
    assert outcome.returncode == 0, outcome.stdout[-5000:]
    assert "PASSED" in outcome.stdout


@needs_emulation
def test_the_program_for_gpus_in_emulation(emulation):
    outcome = run(sys.executable, "tests/gpu/check_cuda.py", "--emulated", f"--build={emulation}")
    assert outcome.returncode == 0, outcome.stdout[-5000:]
    assert "all results agree with the processor's (emulation on the processor)" in outcome.stdout


@pytest.fixture(scope="module")
def emulated_kernels(emulation):
    """run(call) runs the operations that call() makes on the kernels for GPUs, with the emulation in CUDA's place."""
    outcome = run("make", "-C", CUDA / "tests", f"BUILD_DIR={emulation}", "library")
    assert outcome.returncode == 0, outcome.stdout[-5000:]
    flags = [flag.replace("-I", "-isystem", 1) for flag in tf.sysconfig.get_compile_flags()]
    sources = "cc/tf_gpu/kernels.cc", emulation / "plain" / "libblade_cuda.so"
    options = "-Icc/cuda/tests/emulated", "-I.", "-O0", "-fPIC", "-shared", "-Wl,--no-undefined"
    library = emulation / "kernels.so"
    links = [f"-Wl,-rpath,{emulation / 'plain'}", *tf.sysconfig.get_link_flags()]
    outcome = run("g++", *flags, *options, *sources, *links, "-o", library)
    assert outcome.returncode == 0, outcome.stdout[-5000:]
    tf.load_library(str(library))

    def evaluate(call):
        # Labels of kernels belong to graphs.
        with tf.Graph().as_default() as graph, graph._kernel_label_map(dict.fromkeys(OPERATIONS, "emulated")):
            results = call()
            with tf.compat.v1.Session(graph=graph) as session:
                return session.run(results)

    return evaluate


SELECTION = {"orientations": 24, "strength_thresholds": [0.5, 1.0], "coherence_thresholds": [0.2, 0.6], "rho": 1.0}


@needs_emulation
@needs_native
def test_operations_on_emulated_kernels(emulated_kernels):
    """Those of the library for GPUs are given their arguments as the processor's are."""
    rng = np.random.default_rng(0)
    u, grad = rng.standard_normal((2, 2, 40, 37, 3)).astype(np.float32)
    filters = rng.standard_normal((216, 5, 3)).astype(np.float32)
    selection = native.library.blade_select(image=u, **SELECTION)

    def gradients(chosen):
        return (
            native.library.blade_filter(image=u, filters=filters, selection=chosen),
            native.library.blade_filter_grad_image(filters=filters, selection=chosen, grad=grad),
            native.library.blade_filter_grad_filters(image=u, selection=chosen, grad=grad, filters_shape=filters.shape),
        )

    expected = gradients(selection)
    for dtype in (tf.int32, tf.uint8):
        found = emulated_kernels(lambda dtype=dtype: gradients(tf.cast(selection.numpy(), dtype)))
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=2e-6 * np.abs(b).max())
    np.testing.assert_array_equal(
        emulated_kernels(lambda: native.library.blade_select(image=u, **SELECTION)), selection
    )
    dt = np.float32(0.1)
    output, chosen = emulated_kernels(
        lambda: native.library.blade_step(image=u, filters=filters, dt=dt, Tsel=tf.uint8, **SELECTION)
    )
    np.testing.assert_array_equal(chosen, selection)
    np.testing.assert_array_equal(output, u + dt * found[0])


@needs_emulation
@needs_native
def test_errors_of_emulated_kernels(emulated_kernels):
    u, filters = np.zeros((2, 9, 8, 1), np.float32), np.zeros((5, 3, 3), np.float32)
    selection = np.zeros((2, 9, 8), np.int32)
    selection[1, 3, 5:] = 999, -1, 7
    message = r"selection: expected values in \[0, 5\), got 999 at \[1, 3, 5\]"
    for call in (
        lambda: native.library.blade_filter(image=u, filters=filters, selection=selection),
        lambda: native.library.blade_filter_grad_image(filters=filters, selection=selection, grad=u),
        lambda: native.library.blade_filter_grad_filters(
            image=u, selection=selection, grad=u, filters_shape=filters.shape
        ),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            emulated_kernels(call)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"filters: expected at least 216, .* got 5"):
        emulated_kernels(lambda: native.library.blade_step(image=u, filters=filters, dt=0.1, **SELECTION))
    with pytest.raises(tf.errors.InvalidArgumentError, match="at most 960 constants of a selection on CUDA devices"):
        emulated_kernels(lambda: native.library.blade_select(image=u, **(SELECTION | {"rho": 1000.0})))


def test_on_a_gpu():
    outcome = run(sys.executable, "tests/gpu/check_cuda.py")
    if outcome.returncode == 77:
        message = outcome.stdout.strip()
        assert re.fullmatch("check_cuda: no (GPU|CUDA compiler): .+", message)
        pytest.skip(message)
    assert outcome.returncode == 0, outcome.stdout[-5000:]


@needs_nvcc
@pytest.mark.parametrize("source", sorted(path.name for path in CUDA.glob("*.cu.cc")))
def test_compiles_without_warnings(source, tmp_path):
    options = "--options-file", "cc/cuda/nvcc.options", "-Werror=all-warnings", "-Xptxas=-v", "-I."
    outcome = run(NVCC, *options, "-c", CUDA / source, "-o", tmp_path / "object.o")
    assert outcome.returncode == 0, outcome.stdout[-5000:]
    assert set(re.findall(r"for '(sm_\d+)'", outcome.stdout)) == {"sm_80", "sm_90"}


@needs_nvcc
def test_selection_compiles_to_the_operations_of_its_definition(tmp_path):
    """No product is contracted with a sum, and every operation counts subnormal numbers as zero."""
    options = "-x", "cu", "-std=c++17", "-O3", "-ftz=true", "-arch=compute_80", "-I."
    outcome = run(NVCC, *options, "-ptx", CUDA / "select.cu.cc", "-o", tmp_path / "select.ptx")
    assert outcome.returncode == 0, outcome.stdout[-5000:]
    entries = re.findall(r"\.entry (\w+)\((.*?)\n}\n", (tmp_path / "select.ptx").read_text(), re.DOTALL)
    selections = [(name, code) for name, code in entries if re.search("Pixels|Lb0", name)]
    # Of three types: a tile of radius 3, of any radius, and the three passes for a radius beyond a tile.
    assert len(selections) == 15
    for name, code in selections:
        arithmetic = set(re.findall(r"\t((?:add|sub|mul|fma|mad|setp\.\w+|neg|abs)\S*\.f32)", code))
        assert arithmetic, name
        assert all(".ftz" in operation for operation in arithmetic), (name, arithmetic)
        assert not any(operation.startswith(("fma", "mad")) for operation in arithmetic), (name, arithmetic)


@pytest.mark.skipif(not native.GPU_LIBRARY.exists(), reason="blade_tf was built without its library for GPUs")
@pytest.mark.parametrize("name", OPERATIONS)
def test_the_library_for_gpus_loads_beside_the_other(name):
    registered = [k for k in kernels.get_registered_kernels_for_op(name).kernel if k.device_type == "GPU"]
    constraints = [{c.name: c.allowed_values.list for c in kernel.constraint} for kernel in registered]
    types = sorted(tf.as_dtype(c["T"].type[0]).name for c in constraints)
    assert types == ["bfloat16", "float16", "float32"]
    if name == "BladeSelect":
        # Elsewhere TensorFlow places the operation on the processor.
        assert all(list(c["center"].s) == [b"pixel"] for c in constraints)


def test_a_library_for_gpus_that_does_not_load_is_warned_about(tmp_path, monkeypatch):
    monkeypatch.setattr(native, "GPU_LIBRARY", tmp_path / "_blade_ops_gpu.so")
    assert native._load_gpu() is None
    native.GPU_LIBRARY.write_bytes(b"no library")
    with pytest.warns(UserWarning, match=r"_blade_ops_gpu\.so does not load.*run on the CPU.*Reinstall"):
        native._load_gpu()


@pytest.fixture
def build_backend(monkeypatch):
    """The build's switches, in an environment without CUDA."""
    pytest.importorskip("setuptools", reason="the build needs setuptools")
    spec = importlib.util.spec_from_file_location("build_backend", ROOT / "build_backend.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "shutil", types.SimpleNamespace(which=which))
    for name in ("BLADE_TF_CUDA", "BLADE_TF_NATIVE", "CUDA_HOME"):
        monkeypatch.delenv(name, raising=False)
    return module


def which(name, path=None):
    """Finds programs below CUDA_HOME alone."""
    home = os.environ.get("CUDA_HOME")
    return f"{home}/bin/{name}" if home and path == f"{home}/bin" else None


@pytest.mark.parametrize(("switch", "found"), [(None, "/cuda/bin/nvcc"), ("1", "/cuda/bin/nvcc"), ("0", None)])
def test_the_build_finds_nvcc(build_backend, monkeypatch, switch, found):
    monkeypatch.setenv("CUDA_HOME", "/cuda")
    if switch is not None:
        monkeypatch.setenv("BLADE_TF_CUDA", switch)
    assert build_backend.nvcc() == found


def test_a_build_without_nvcc(build_backend, monkeypatch):
    assert build_backend.nvcc() is None
    monkeypatch.setenv("BLADE_TF_CUDA", "1")
    with pytest.raises(SystemExit, match="BLADE_TF_CUDA=1, but CUDA's compiler, nvcc, was not found in"):
        build_backend.nvcc()
    monkeypatch.setenv("BLADE_TF_NATIVE", "0")
    with pytest.raises(SystemExit, match="expected 0 or auto where BLADE_TF_NATIVE is 0, got '1'"):
        build_backend.nvcc()
    monkeypatch.setenv("BLADE_TF_CUDA", "yes")
    with pytest.raises(SystemExit, match="BLADE_TF_CUDA: expected one of auto, 1, 0, got 'yes'"):
        build_backend.nvcc()
