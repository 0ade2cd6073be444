"""Checks the CUDA kernels on a GPU against the processor's, then prints their speed: `python tests/gpu/check_cuda.py`.

Needs an NVIDIA GPU with its driver, nvcc, g++, Python and NumPy, and neither TensorFlow nor blade_tf. With --emulated
some of the checks are done with kernels that the processor runs, as in cc/cuda/tests, to check this program where there
is no GPU. Ends with status 0 where everything agrees, 1 where not, and 77 where there is no GPU or no nvcc.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import pathlib
import tempfile

import numpy as np
from cuda_library import (
    BFLOAT16,
    FLOAT16,
    FLOAT32,
    INT32,
    UINT8,
    Driver,
    Emulated,
    Kernels,
    Shape,
    build,
    build_emulated,
    end,
    load,
    parameters,
)


def to_type(array: np.ndarray, values: int) -> np.ndarray:
    """float32 values as the storage of a type; bfloat16, which NumPy lacks, as 16 bits."""
    array = np.asarray(array, np.float32)
    if values == BFLOAT16:
        bits = array.view(np.uint32)
        rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
        return np.where(np.isnan(array), bits >> 16 | 0x40, rounded).astype(np.uint16)
    return array if values == FLOAT32 else array.astype(np.float16)


def from_type(array: np.ndarray, values: int) -> np.ndarray:
    return (array.astype(np.uint32) << 16).view(np.float32) if values == BFLOAT16 else array.astype(np.float32)


def shape_of(image: tuple, filters: tuple = (0, 1, 1), values: int = FLOAT32, indices: int = INT32) -> Shape:
    return Shape(*image, *filters, values, indices)


def same(name: str, found: np.ndarray, expected: np.ndarray) -> None:
    if not np.array_equal(found, expected, equal_nan=found.dtype.kind == "f"):
        end(1, f"{name} differs at {np.count_nonzero(found != expected)} of {found.size} places")


IMAGES = [(1, 1, 1, 1), (2, 33, 70, 1), (1, 65, 40, 3), (1, 40, 37, 6), (2, 1, 50, 1), (0, 4, 5, 1)]
FILTERS = [(216, 5, 5), (9, 3, 7), (24, 6, 4), (5000, 5, 5), (2, 91, 61), (24, 1, 1)]
SELECTIONS = [{"rho": rho} for rho in (0.0, 0.5, 1.0, 3.0, 4.0)] + [{"orientations": n} for n in (1, 3, 6, 7, 8)]


def check_filters(kernels: Kernels, random: np.random.Generator, image: tuple, filters: tuple, values: int) -> None:
    """Filter and gradients: exact on small integers, whose sums have no rounding, and to rounding otherwise."""
    library, pixels = kernels.library, image[:3]
    selection = random.integers(0, filters[0], pixels, np.int32)
    for exact in (True, False):

        def draw(size: tuple, exact: bool = exact) -> np.ndarray:
            return to_type(random.integers(-8, 9, size) if exact else random.standard_normal(size), values)

        u, g, h = draw(image), draw(image), draw(filters)
        for indices in (INT32, UINT8) if filters[0] <= 256 else (INT32,):
            chosen = selection.astype(np.uint8 if indices == UINT8 else np.int32)
            shape = shape_of(image, filters, values, indices)
            scratch = library.blade_cuda_grad_filters_scratch(ctypes.byref(shape))
            for name, inputs, host, like in (
                ("filter", [u, h, chosen], [u, h, selection], u),
                ("grad_image", [h, chosen, g], [h, selection, g], u),
                ("grad_filters", [u, chosen, g, scratch], [u, selection, g], h),
            ):
                found, again, expected = (np.zeros_like(like) for _ in range(3))
                wrong = kernels.run(name, shape, inputs, [found])
                kernels.run(name, shape, inputs, [again])
                pointers = [ctypes.c_void_p(array.ctypes.data) for array in (*host, expected)]
                getattr(library, f"blade_processor_{name}")(ctypes.byref(shape), *pointers)
                what = f"{name} of {image}, {filters}, type {values}"
                same(f"a second {what}", again, found)
                a, b = from_type(found, values), from_type(expected, values)
                if exact:
                    same(what, a, b)
                elif found.size:
                    # A corner's gradient has more terms the larger the footprint.
                    terms = max(filters[1] * filters[2] / 25, 1.0) ** 0.5
                    tolerance = {FLOAT32: 3e-6, FLOAT16: 1e-3, BFLOAT16: 8e-3}[values] * terms
                    tolerance *= max(np.abs(b).max(), 1.0)
                    if not np.abs(a - b).max() <= tolerance:
                        end(1, f"{what} differs by {np.abs(a - b).max()}, more than {tolerance}")
                if wrong != -1:
                    end(1, f"{what} reports position {wrong} of a selection that is in range")


def check_wrong(kernels: Kernels, random: np.random.Generator) -> None:
    """The first position out of range."""
    image, filters = (2, 40, 37, 1), (5, 5, 5)
    shape = shape_of(image, filters)
    u, h = random.standard_normal(image, np.float32), random.standard_normal(filters, np.float32)
    scratch = kernels.library.blade_cuda_grad_filters_scratch(ctypes.byref(shape))
    for at in (2959, 1481, 1480, 36, 0):
        selection = random.integers(0, 5, image[:3], np.int32)
        selection.flat[at:] = random.choice(np.array([5, -1, 2**31 - 1, -(2**31)], np.int32), 2960 - at)
        for name, inputs, like in (
            ("filter", [u, h, selection], u),
            ("grad_image", [h, selection, u], u),
            ("grad_filters", [u, selection, u, scratch], h),
        ):
            wrong = kernels.run(name, shape, inputs, [np.zeros_like(like)])
            if wrong != at:
                end(1, f"{name}: expected the first wrong position {at}, got {wrong}")


def wild(random: np.random.Generator, image: tuple) -> np.ndarray:
    """Noise with ties, NaN, infinities, subnormal numbers and flat parts."""
    u = random.standard_normal(image, np.float32)
    u = np.where(random.random(image) < 0.3, np.round(u), u)
    odd = np.array([np.nan, np.inf, -np.inf, 1e-40, -0.0, 1e30, -3e-23], np.float32)
    u = np.where(random.random(image) < 0.01, random.choice(odd, image), u).astype(np.float32)
    u[:, : image[1] // 4] *= np.float32(1e-20)
    u[:, image[1] // 4 : image[1] // 3] = 0.5
    return u


def check_select_and_step(
    kernels: Kernels, random: np.random.Generator, image: tuple, options: dict, values: int
) -> None:
    """The selection bit for bit, and the step as its three operations."""
    library, arguments = kernels.library, parameters(**options)
    plan, pixels = kernels.plan(arguments), image[:3]
    bins = library.blade_cuda_plan_bins(ctypes.byref(plan))
    filters, dt = (bins, 5, 5), to_type(np.float32(0.3), values)
    h = to_type(random.standard_normal(filters), values)
    with np.errstate(over="ignore"):
        images = [to_type(random.standard_normal(image), values), to_type(wild(random, image), values)]
    for u in images:
        shape = shape_of(image, filters, values)
        scratch = library.blade_cuda_select_scratch(ctypes.byref(shape), ctypes.byref(plan))
        found, expected = np.zeros(pixels, np.int32), np.zeros(pixels, np.int32)
        kernels.run("select", shape, [u, scratch], [found], plan)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (u, expected)]
        library.blade_processor_select(ctypes.byref(shape), *arguments, *pointers)
        what = f"of {image}, {options}, type {values}"
        same(f"selection {what}", found, expected)
        output, filtered, chosen = np.zeros_like(u), np.zeros_like(u), np.zeros(pixels, np.int32)
        kernels.run("step", shape, [u, h, dt, scratch], [output, chosen], plan)
        kernels.run("filter", shape, [u, h, found], [filtered])
        same(f"selection of a step {what}", chosen, found)
        if u is images[0]:
            # Subnormal products count as zero on the device.
            product = to_type(from_type(filtered, values) * from_type(dt, values), values)
            sums = to_type(from_type(u, values) + from_type(product, values), values)
            same(f"step {what}", output, sums)


def check(kernels: Kernels) -> None:
    random = np.random.default_rng(20211016)
    # The emulation takes milliseconds a tile, and cc/cuda/tests has more of it.
    small = isinstance(kernels.device, Emulated)
    check_wrong(kernels, random)
    for values in (FLOAT32, FLOAT16, BFLOAT16):
        for i, image in enumerate(IMAGES[:3] if small else IMAGES):
            for filters in FILTERS[:3] if values == FLOAT32 and not small else FILTERS[i : i + 1]:
                check_filters(kernels, random, image, filters, values)
            for options in SELECTIONS if values == FLOAT32 and not small else SELECTIONS[2:3]:
                check_select_and_step(kernels, random, image, options, values)
    if not small:
        for filters in FILTERS[3:]:
            check_filters(kernels, random, (1, 65, 40, 3), filters, FLOAT32)
        check_filters(kernels, random, (1, 512, 768, 1), FILTERS[0], FLOAT32)
        check_select_and_step(kernels, random, (1, 512, 768, 1), {}, FLOAT32)
    print(f"check_cuda: all results agree with the processor's ({kernels.device.name})")


def scene(height: int, width: int) -> np.ndarray:
    """An image with edges, slopes, texture and flat parts in [0, 1], whose selections vary as a photograph's do."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    u = 0.5 + 0.2 * np.sin(x / 37 + y / 90) + 0.15 * np.sign(np.sin(y / 23 - x / 61))
    textured = np.sin(x / 211) * np.sin(y / 173) > 0.3
    noise = np.random.default_rng(0).standard_normal((height, width), np.float32)
    return np.float32(u + np.where(textured, 0.05, 0.002) * noise)[None, :, :, None]


def measure(kernels: Kernels, device: Driver) -> None:
    """Prints the speed of every kernel, and how much of the memory's and the shared memory's it is."""
    library, plan = kernels.library, kernels.plan(parameters())
    p, stream, random = ctypes.byref(plan), device.stream, np.random.default_rng(0)
    print(f"{device.name}: {device.processors} multiprocessors, at most {device.clock_hz / 1e9:.2f} GHz")
    print("float32, 216 filters of 5x5; memory: bytes that must move, against a copy; shared memory: 100 bytes of taps")
    for height, width in ((512, 768), (4096, 4096), (8192, 8192)):
        pixels = height * width
        u, output = device.upload(scene(height, width)), device.allocate(4 * pixels)
        h, dt = device.upload(random.standard_normal((216, 5, 5), np.float32)), device.upload(np.float32(0.1))
        h_grad, wrong = device.allocate(216 * 25 * 4), device.allocate(8)
        bandwidth = 8 * pixels / device.seconds(functools.partial(device.copy, output, u, 4 * pixels))
        print(f"{width}x{height}, where a copy moves {bandwidth / 1e9:.0f} GB/s")
        for indices, size in ((INT32, 4), (UINT8, 1)):
            shape = shape_of((1, height, width, 1), (216, 5, 5), indices=indices)
            at, selection = ctypes.byref(shape), device.allocate(size * pixels)
            scratch = device.allocate(library.blade_cuda_grad_filters_scratch(at))
            noise = random.integers(0, 216, pixels, np.uint8).astype(np.uint8 if size == 1 else np.int32)
            shuffled = device.upload(noise)
            calls = (
                ("selection", "select", (p, u, None, selection), False),
                ("filter", "filter", (u, h, selection, output, wrong), True),
                ("filter, random selection", "filter", (u, h, shuffled, output, wrong), True),
                ("gradient to the image", "grad_image", (h, selection, u, output, wrong), True),
                ("gradient to the filters", "grad_filters", (u, selection, u, scratch, h_grad, wrong), False),
                ("step", "step", (p, u, h, dt, None, output, selection, wrong), True),
            )
            for name, function, arguments, reads_taps in calls:
                work = functools.partial(getattr(library, f"blade_cuda_{function}"), at, *arguments, stream)
                kernels.check(work())
                rate = pixels / device.seconds(work)
                moved = 4 + size if function == "select" else 8 + size
                row = f"  {name:24} {8 * size:2} bits {rate / 1e9:7.1f} Gpixel/s {rate * moved / bandwidth:7.1%} memory"
                shared = rate * 100 / (device.processors * 128 * device.clock_hz)
                print(row + f" {shared:7.1%} shared memory" * reads_taps)
            for pointer in (selection, scratch, shuffled):
                device.free(pointer)
        for pointer in (u, output, h, dt, h_grad, wrong):
            device.free(pointer)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--emulated", action="store_true", help="run the kernels on the processor; no speed")
    parser.add_argument("--build", type=pathlib.Path, help="the folder to build in; default: a temporary one")
    arguments = parser.parse_args()
    device = Emulated() if arguments.emulated else Driver()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.build or pathlib.Path(temporary)).resolve()
        kernels = Kernels(load(build_emulated(folder) if arguments.emulated else build(folder)), device)
        check(kernels)
        if isinstance(device, Driver):
            measure(kernels, device)


if __name__ == "__main__":
    main()
