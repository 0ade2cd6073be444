"""Builds blade_tf/_blade_ops.so from cc/. pyproject.toml has the metadata, build_backend.py the switches of a build."""

import concurrent.futures
import glob
import json
import os
import pathlib
import shlex
import subprocess
import sys
import types

import setuptools.command.build_ext
import setuptools.command.build_py

try:
    import setuptools.command.bdist_wheel
except ImportError:
    sys.exit(f"blade_tf: expected setuptools 77 or later, got {setuptools.__version__}: `pip install -U setuptools`")

import build_backend

LIBRARY = "blade_tf._blade_ops"
INFO = "_build_info.json"
FLAGS = ["-std=c++17", "-O3", "-fPIC", "-ffp-contract=off", "-fno-math-errno", "-Wall", "-Wextra"]


def import_tensorflow() -> types.ModuleType:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import tensorflow
    except ImportError:
        sys.exit(f"blade_tf: a build without isolation needs TensorFlow: `pip install '{build_backend.requirement()}'`")
    if tensorflow.__version__.split(".")[:2] != build_backend.VERSION.split("."):
        sys.exit(f"blade_tf: expected TensorFlow {build_backend.VERSION}, got {tensorflow.__version__}")
    return tensorflow


def execute(command: list[str]) -> None:
    print(shlex.join(command), flush=True)
    if subprocess.run(command).returncode != 0:
        sys.exit(f"blade_tf: the native library did not build; this command failed: {shlex.join(command)}")


class BuildExt(setuptools.command.build_ext.build_ext):
    """One compiler command for each source, then one to link: no Python header, no Python ABI."""

    def get_ext_filename(self, fullname: str) -> str:
        return fullname.replace(".", "/") + ".so"

    def build_extension(self, ext: setuptools.Extension) -> None:
        cxx = build_backend.compiler()
        tensorflow = import_tensorflow()
        flags = [*FLAGS, *shlex.split(os.environ.get("CXXFLAGS", ""))]
        # As system headers, TensorFlow's own warnings stay silent.
        headers = [flag.replace("-I", "-isystem", 1) for flag in tensorflow.sysconfig.get_compile_flags()]
        objects = [str(pathlib.Path(self.build_temp, source).with_suffix(".o")) for source in ext.sources]
        for directory in {pathlib.Path(name).parent for name in [*objects, self.get_ext_fullpath(ext.name)]}:
            directory.mkdir(parents=True, exist_ok=True)
        compiles = [
            [*cxx, *headers, "-I.", *flags, "-c", source, "-o", name]
            for source, name in zip(ext.sources, objects, strict=True)
        ]
        with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            list(pool.map(execute, compiles))
        library = self.get_ext_fullpath(ext.name)
        links = ["-shared", "-Wl,--no-undefined", *tensorflow.sysconfig.get_link_flags()]
        execute([*cxx, *flags, *objects, *links, "-o", library])
        version = subprocess.run([*cxx, "--version"], capture_output=True, text=True).stdout.partition("\n")[0]
        self.info = {"native": True, "tensorflow": tensorflow.__version__, "cxx": version, "flags": flags}

    def run(self) -> None:
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
            (package / "_blade_ops.so").unlink(missing_ok=True)


class BdistWheel(setuptools.command.bdist_wheel.bdist_wheel):
    """`auditwheel repair --exclude libtensorflow_framework.so.2` makes a manylinux wheel of the result."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


# The longest compilations start first.
sources = sorted(glob.glob("cc/tf/*.cc")) + sorted(glob.glob("cc/blade/*.cc"))
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
    ext_modules=[setuptools.Extension(LIBRARY, sources)] if build_backend.native() else [],
    cmdclass={"build_ext": BuildExt, "build_py": BuildPy, "bdist_wheel": BdistWheel},
)
