"""The CUDA kernels' C interface and the processor's results from Python: built, loaded, called with arrays."""

from __future__ import annotations

import concurrent.futures
import ctypes
import os
import pathlib
import shlex
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
SKIP = 77
FLOAT32, FLOAT16, BFLOAT16 = range(3)
INT32, UINT8 = range(2)
PLAN_VALUES = 960


def end(status: int, message: str) -> NoReturn:
    print(f"check_cuda: {message}")
    sys.exit(status)


class Shape(ctypes.Structure):
    """BladeCudaShape"""

    _fields_ = [(name, ctypes.c_int64) for name in "nhwckrs"] + [
        ("values", ctypes.c_int32),
        ("indices", ctypes.c_int32),
    ]


class Plan(ctypes.Structure):
    """BladeCudaPlan"""

    _fields_ = [(f"count{i}", ctypes.c_int32) for i in range(10)] + [("values", ctypes.c_float * PLAN_VALUES)]


class Driver:
    """The GPU through CUDA's driver, in the context that the kernels' runtime library uses too."""

    def __init__(self) -> None:
        try:
            self.cuda = ctypes.CDLL("libcuda.so.1")
        except OSError:
            end(SKIP, "no GPU: NVIDIA's driver, libcuda.so.1, is not installed")
        count, device, context = ctypes.c_int(), ctypes.c_int(), ctypes.c_void_p()
        if self.cuda.cuInit(0) != 0 or self.cuda.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
            end(SKIP, "no GPU: NVIDIA's driver finds none")
        self.call("cuDeviceGet", ctypes.byref(device), 0)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self.call("cuCtxSetCurrent", context)
        name = ctypes.create_string_buffer(256)
        self.call("cuDeviceGetName", name, 256, device)
        self.name = name.value.decode()
        self.clock_hz, self.processors = 1e3 * self.attribute(13, device), self.attribute(16, device)
        self.stream = ctypes.c_void_p()
        self.call("cuStreamCreate", ctypes.byref(self.stream), 0)

    def call(self, function: str, *arguments: Any) -> None:
        status = getattr(self.cuda, function)(*arguments)
        if status != 0:
            end(1, f"{function} failed with CUDA's error {status}")

    def attribute(self, number: int, device: ctypes.c_int) -> int:
        value = ctypes.c_int()
        self.call("cuDeviceGetAttribute", ctypes.byref(value), number, device)
        return value.value

    def allocate(self, size: int) -> ctypes.c_void_p:
        pointer = ctypes.c_void_p()
        self.call("cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(max(size, 1)))
        return pointer

    def free(self, pointer: ctypes.c_void_p) -> None:
        self.call("cuMemFree_v2", pointer)

    def upload(self, array: np.ndarray) -> ctypes.c_void_p:
        array = np.ascontiguousarray(array)
        pointer = self.allocate(array.nbytes)
        self.call("cuMemcpyHtoD_v2", pointer, ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes))
        return pointer

    def download(self, pointer: ctypes.c_void_p, array: np.ndarray) -> None:
        self.call("cuStreamSynchronize", self.stream)
        self.call("cuMemcpyDtoH_v2", ctypes.c_void_p(array.ctypes.data), pointer, ctypes.c_size_t(array.nbytes))

    def seconds(self, work: Callable[[], None], repeats: int = 5, batch: int = 20) -> float:
        """The median over some batches of the time of one call."""
        times = []
        events = [ctypes.c_void_p(), ctypes.c_void_p()]
        for event in events:
            self.call("cuEventCreate", ctypes.byref(event), 0)
        for _ in range(repeats + 1):
            self.call("cuEventRecord", events[0], self.stream)
            for _ in range(batch):
                work()
            self.call("cuEventRecord", events[1], self.stream)
            self.call("cuEventSynchronize", events[1])
            milliseconds = ctypes.c_float()
            self.call("cuEventElapsedTime", ctypes.byref(milliseconds), *events)
            times.append(milliseconds.value / 1e3 / batch)
        return statistics.median(times[1:])

    def copy(self, to: ctypes.c_void_p, source: ctypes.c_void_p, size: int) -> None:
        self.call("cuMemcpyDtoDAsync_v2", to, source, ctypes.c_size_t(size), self.stream)


class Emulated:
    """The processor in the GPU's place: its memory is the device's."""

    name, stream = "emulation on the processor", None

    def __init__(self) -> None:
        self.arrays: dict[int, np.ndarray] = {}

    def allocate(self, size: int) -> ctypes.c_void_p:
        return self.upload(np.zeros(max(size, 1), np.uint8))

    def upload(self, array: np.ndarray) -> ctypes.c_void_p:
        array = np.array(array, order="C") if array.size else np.zeros(1, np.uint8)
        self.arrays[array.ctypes.data] = array
        return ctypes.c_void_p(array.ctypes.data)

    def free(self, pointer: ctypes.c_void_p) -> None:
        del self.arrays[pointer.value or 0]

    def download(self, pointer: ctypes.c_void_p, array: np.ndarray) -> None:
        ctypes.memmove(array.ctypes.data, pointer, array.nbytes)


def find_nvcc() -> str:
    home = os.environ.get("CUDA_HOME")
    places = [f"{home}/bin"] if home else [os.environ.get("PATH", ""), "/usr/local/cuda/bin"]
    nvcc = shutil.which("nvcc", path=os.pathsep.join(places))
    return nvcc or end(SKIP, "no CUDA compiler: nvcc is neither in CUDA_HOME nor on the PATH nor in /usr/local/cuda")


def run(command: list[str]) -> None:
    if subprocess.run(command, cwd=ROOT).returncode != 0:
        end(1, f"this command failed: {shlex.join(command)}")


def build(folder: pathlib.Path) -> pathlib.Path:
    """The library of the kernels' C interface and the processor's results."""
    nvcc = find_nvcc()
    cxx = [*shlex.split(os.environ.get("CXX") or "g++"), "-std=c++17", "-O2", "-fPIC", "-ffp-contract=off", "-I."]
    cuda = [nvcc, "--options-file", "cc/cuda/nvcc.options", "-I."]
    commands, objects = [], []
    for source in [*ROOT.glob("cc/blade/*.cc"), *ROOT.glob("cc/cuda/*.cc"), ROOT / "cc/cuda/tests/processor.cc"]:
        objects.append(str(folder / f"{source.parent.name}_{source.name}.o"))
        compiler = cuda if source.name.endswith(".cu.cc") else cxx
        commands.append([*compiler, "-c", str(source.relative_to(ROOT)), "-o", objects[-1]])
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(run, commands))
    path = folder / "libblade_cuda.so"
    run([nvcc, "-shared", "-cudart", "static", *objects, "-o", str(path)])
    return path


def build_emulated(folder: pathlib.Path) -> pathlib.Path:
    """The same for the processor."""
    run(["make", "-C", "cc/cuda/tests", f"BUILD_DIR={folder}", "library"])
    return folder / "plain" / "libblade_cuda.so"


def load(path: pathlib.Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    for name in ("filter", "grad_image", "grad_filters", "select", "step", "plan"):
        getattr(library, f"blade_cuda_{name}").restype = ctypes.c_char_p
    for name in ("plan_bins", "select_scratch", "grad_filters_scratch"):
        getattr(library, f"blade_cuda_{name}").restype = ctypes.c_int64
    return library


def parameters(
    rho: float = 1.0, orientations: int = 24, strength: Any = (0.02, 0.1), coherence: Any = (0.2, 0.6)
) -> tuple:
    """The leading arguments of blade_cuda_plan and blade_processor_select."""
    arguments: list[Any] = [ctypes.c_int64(orientations)]
    for thresholds in (strength, coherence, ()):
        arguments += [(ctypes.c_float * len(thresholds))(*thresholds), ctypes.c_int64(len(thresholds))]
    return (*arguments, ctypes.c_float(rho))


class Kernels:
    """The functions of blade_cuda.h for NumPy arrays."""

    def __init__(self, library: ctypes.CDLL, device: Driver | Emulated) -> None:
        self.library, self.device = library, device

    def plan(self, arguments: tuple) -> Plan:
        plan = Plan()
        self.check(self.library.blade_cuda_plan(*arguments, ctypes.byref(plan)))
        return plan

    def check(self, error: bytes | None) -> None:
        if error is not None:
            end(1, f"the kernels say: {error.decode()}")

    def run(
        self, name: str, shape: Shape, inputs: list[Any], outputs: list[np.ndarray], plan: Plan | None = None
    ) -> int:
        """Runs blade_cuda_`name`, an integer being a scratch of so many bytes; returns the first wrong position."""
        size = [self.device.allocate(i) if isinstance(i, int) else self.device.upload(i) for i in inputs]
        results = [self.device.allocate(output.nbytes) for output in outputs]
        wrong = self.device.upload(np.array(-2, np.int64))
        plans = () if plan is None else (ctypes.byref(plan),)
        last = () if name == "select" else (wrong,)
        function = getattr(self.library, f"blade_cuda_{name}")
        self.check(function(ctypes.byref(shape), *plans, *size, *results, *last, self.device.stream))
        for pointer, output in zip(results, outputs, strict=True):
            self.device.download(pointer, output)
        first = np.zeros((), np.int64)
        self.device.download(wrong, first)
        for pointer in (*size, *results, wrong):
            self.device.free(pointer)
        return int(first)
