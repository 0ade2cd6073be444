"""The repositories of a build that downloads nothing: the installed TensorFlow, and stand-ins for Bazel's own."""

_TENSORFLOW_BUILD = """
cc_library(
    name = "tf",
    srcs = ["libtensorflow_framework.so.2"],
    hdrs = glob(["include/**"]),
    defines = {defines},
    includes = ["include"],
    visibility = ["//visibility:public"],
)
"""

_ASK_PYTHON = """
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow
print(tensorflow.sysconfig.get_lib())
print(*(flag[2:] for flag in tensorflow.sysconfig.get_compile_flags() if flag.startswith("-D")))
"""

def _local_tensorflow(ctx):
    python = ctx.os.environ.get("PYTHON_BIN_PATH") or ctx.which("python3")
    answer = ctx.execute([python, "-c", _ASK_PYTHON], quiet = True)
    if answer.return_code != 0:
        fail("PYTHON_BIN_PATH: expected a Python with TensorFlow, got {}: {}".format(python, answer.stderr))
    folder, defines = answer.stdout.strip().split("\n")
    ctx.symlink(folder + "/include", "include")
    ctx.symlink(folder + "/libtensorflow_framework.so.2", "libtensorflow_framework.so.2")
    ctx.file("BUILD", _TENSORFLOW_BUILD.format(defines = defines.split(" ")))

local_tensorflow = repository_rule(
    doc = "The TensorFlow of the Python that PYTHON_BIN_PATH names, `python3` by default, as @local_tf//:tf.",
    implementation = _local_tensorflow,
    environ = ["PATH", "PYTHON_BIN_PATH"],
    local = True,
)

_RULES = "\n".join(["{0} = native.{0}".format(rule) for rule in [
    "cc_binary",
    "cc_library",
    "cc_test",
    "cc_toolchain",
    "cc_toolchain_suite",
    "java_import",
    "java_runtime",
    "java_toolchain",
]])

def _stub(ctx):
    for path, text in ctx.attr.files.items():
        ctx.file(path, text)

_stub_repository = repository_rule(implementation = _stub, attrs = {"files": attr.string_dict()})

def offline_repositories():
    """Bazel 4.2 asks for these of every C++ build and test, and downloads those that a workspace lacks."""
    _stub_repository(name = "rules_cc", files = {"cc/BUILD": "", "cc/defs.bzl": _RULES})
    _stub_repository(name = "rules_java", files = {"java/BUILD": "", "java/defs.bzl": _RULES})
    _stub_repository(name = "remote_coverage_tools", files = {
        "BUILD": 'filegroup(name = "coverage_report_generator", visibility = ["//visibility:public"])',
    })
