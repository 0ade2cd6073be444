"""Builds blade_tf/_blade_ops.so from cc/, _blade_ops_xla.so, and _blade_ops_gpu.so where CUDA's compiler is.

pyproject.toml has the metadata, build_backend.py the switches of a build.
"""

import concurrent.futures
import glob
import json
import os
import pathlib
import shlex
import subprocess
import sys
import types
import warnings

import setuptools.command.build_ext
import setuptools.command.build_py

try:
    import setuptools.command.bdist_wheel
except ImportError:
    sys.exit(f"blade_tf: expected setuptools 77 or later, got {setuptools.__version__}: `pip install -U setuptools`")

import build_backend

LIBRARY = "blade_tf._blade_ops"
GPU_LIBRARY = "blade_tf._blade_ops_gpu"
XLA_LIBRARY = "blade_tf._blade_ops_xla"
# What a package works without: its purpose, and the switch that insists on it.
OPTIONAL = {GPU_LIBRARY: ("GPUs", build_backend.cuda), XLA_LIBRARY: ("XLA", build_backend.xla)}
INFO = "_build_info.json"
FLAGS = ["-std=c++17", "-O3", "-fPIC", "-ffp-contract=off", "-fno-math-errno", "-Wall", "-Wextra"]
CUDA_FLAGS = ["--options-file", "cc/cuda/nvcc.options"]


def version(compiler: list[str]) -> str:
    """The line of `compiler --version` that has the number."""
    lines = subprocess.run([*compiler, "--version"], capture_output=True, text=True).stdout.splitlines()
    return next((line for line in lines if "release" in line), lines[0] if lines else "")


def import_tensorflow() -> types.ModuleType:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import tensorflow
    except ImportError:
        sys.exit(f"blade_tf: a build without isolation needs TensorFlow: `pip install '{build_backend.requirement()}'`")
    if tensorflow.__version__.split(".")[:2] != build_backend.VERSION.split("."):
        sys.exit(f"blade_tf: expected TensorFlow {build_backend.VERSION}, got {tensorflow.__version__}")
    return tensorflow


class BuildError(Exception):
    pass


def execute(command: list[str]) -> None:
    print(shlex.join(command), flush=True)
    if subprocess.run(command).returncode != 0:
        raise BuildError(f"the native library did not build; this command failed: {shlex.join(command)}")


class BuildExt(setuptools.command.build_ext.build_ext):
    """One compiler command for each source, then one to link: no Python header, no Python ABI."""

    def get_ext_filename(self, fullname: str) -> str:
        return fullname.replace(".", "/") + ".so"

    def build_extension(self, ext: setuptools.Extension) -> None:
        try:
            self.build_library(ext)
        except BuildError as error:
            purpose, switch = OPTIONAL.get(ext.name, (None, None))
            if switch is None or switch() == "1":
                sys.exit(f"blade_tf: {error}")
            warnings.warn(f"blade_tf: {error}; going on without the library for {purpose}", stacklevel=1)

    def build_library(self, ext: setuptools.Extension) -> None:
        cxx, nvcc = build_backend.compiler(), build_backend.nvcc() or "nvcc"
        tensorflow = import_tensorflow()
        flags = [*FLAGS, *shlex.split(os.environ.get("CXXFLAGS", ""))]
        # As system headers, TensorFlow's own warnings stay silent.
        headers = [flag.replace("-I", "-isystem", 1) for flag in tensorflow.sysconfig.get_compile_flags()]
        if ext.name == XLA_LIBRARY:
            include = tensorflow.sysconfig.get_include()
            headers += [f"-isystem{include}/external/{name}" for name in ("highwayhash", "farmhash_archive/src")]
        objects = {source: str(pathlib.Path(self.build_temp, source).with_suffix(".o")) for source in ext.sources}
        for directory in {pathlib.Path(name).parent for name in [*objects.values(), self.get_ext_fullpath(ext.name)]}:
            directory.mkdir(parents=True, exist_ok=True)
        compilers = {False: [*cxx, *headers, *flags], True: [nvcc, *CUDA_FLAGS]}
        compiles = [
            [*compilers[source.endswith(".cu.cc")], "-I.", "-c", source, "-o", name] for source, name in objects.items()
        ]
        with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            list(pool.map(execute, compiles))
        library = self.get_ext_fullpath(ext.name)
        links = tensorflow.sysconfig.get_link_flags()
        link = [*cxx, *flags, "-shared", "-Wl,--no-undefined"]
        if ext.name == LIBRARY:
            execute([*link, *objects.values(), *links, "-o", library])
            self.info = {"native": True, "tensorflow": tensorflow.__version__, "cxx": version(cxx), "flags": flags}
            self.blade = [name for source, name in objects.items() if source.startswith("cc/blade/")]
        elif ext.name == XLA_LIBRARY:
            execute([*link, *objects.values(), *links, "-l:libtensorflow_cc.so.2", "-o", library])
        else:
            # Its own copy of cc/blade, so that it does not matter which library is loaded first.
            link = [nvcc, "-shared", "-cudart", "static", "-Xlinker", "--no-undefined"]
            execute([*link, *objects.values(), *self.blade, *links, "-o", library])
            self.info["nvcc"] = version([nvcc])

    def run(self) -> None:
        for name in OPTIONAL:
            # An earlier build's.
            pathlib.Path(self.get_ext_fullpath(name)).unlink(missing_ok=True)
        super().run()
        # The path is the source folder's in an editable build, the build folder's otherwise.
        pathlib.Path(self.get_ext_fullpath(LIBRARY)).with_name(INFO).write_text(json.dumps(self.info, indent=1) + "\n")


class BuildPy(setuptools.command.build_py.build_py):
    def run(self) -> None:
        build_backend.check()
        super().run()
        if not build_backend.native():
            package = pathlib.Path("." if self.editable_mode else self.build_lib, "blade_tf")
            (package / INFO).write_text('{"native": false}\n')
            # An earlier editable build's.
            for name in ("_blade_ops.so", "_blade_ops_gpu.so", "_blade_ops_xla.so"):
                (package / name).unlink(missing_ok=True)


class BdistWheel(setuptools.command.bdist_wheel.bdist_wheel):
    """`auditwheel repair`, which is to `--exclude` libtensorflow_framework.so.2 and libtensorflow_cc.so.2, makes a
    manylinux wheel of the result."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


# The longest compilations start first.
extensions = [setuptools.Extension(LIBRARY, sorted(glob.glob("cc/tf/*.cc")) + sorted(glob.glob("cc/blade/*.cc")))]
if build_backend.nvcc() is not None:
    gpu_sources = sorted(glob.glob("cc/cuda/*.cc"), reverse=True) + sorted(glob.glob("cc/tf_gpu/*.cc"))
    extensions.append(setuptools.Extension(GPU_LIBRARY, gpu_sources, optional=True))
if build_backend.xla() != "0":
    extensions.append(setuptools.Extension(XLA_LIBRARY, sorted(glob.glob("cc/tf_xla/*.cc")), optional=True))
setuptools.setup(
    packages=[*setuptools.find_packages(include=["blade_tf", "blade_tf.*"]), "blade_tf.configs"],
    package_dir={"blade_tf.configs": "configs"},
    install_requires=[
        build_backend.requirement(),
        "numpy>=2.2",
        "scipy>=1.14",
        "pillow>=11.0",
        "absl-py>=2.1",
        "ml_collections>=1.0",
        "tqdm>=4.66",
        "scikit-image>=0.25",
        "tifffile>=2024.8",
        "tensorboard>=2.20",
    ],
    ext_modules=extensions if build_backend.native() else [],
    cmdclass={"build_ext": BuildExt, "build_py": BuildPy, "bdist_wheel": BdistWheel},
)
