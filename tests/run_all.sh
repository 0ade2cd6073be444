#!/usr/bin/env bash
# Everything that has to pass before a change lands, on a fresh Debian 12 with Python 3.11 or later: installs what is missing,
# then lints, builds and tests. PYTHON names the interpreter, BLADE_TF_VENV the virtual environment to make or to reuse.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
venv=${BLADE_TF_VENV:-.venv-test}
export BLADE_TF_TENSORFLOW=${BLADE_TF_TENSORFLOW:-tensorflow-cpu}
export BLADE_TF_NATIVE=1 BLADE_TF_XLA=1 TF_CPP_MIN_LOG_LEVEL=1 PIP_DISABLE_PIP_VERSION_CHECK=1

section() {
    printf '\n=== %s (at %d s)\n' "$*" "$SECONDS"
}

section "Debian packages"
packages=(g++ make libgtest-dev clang-format bazel-bootstrap)
command -v "$python" >/dev/null || packages+=(python3)
"$python" -c "import ensurepip" 2>/dev/null || packages+=(python3-venv)
missing=()
for package in "${packages[@]}"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
    echo "all installed: ${packages[*]}"
else
    sudo=()
    [ "$(id -u)" -eq 0 ] || sudo=(sudo -n)
    if ! command -v apt-get >/dev/null || ! "${sudo[@]}" true; then
        echo "run_all.sh: expected the Debian packages ${missing[*]}: install them, or run this as root or with sudo" >&2
        exit 1
    fi
    echo "installing ${missing[*]}"
    "${sudo[@]}" apt-get update -qq
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "${missing[@]}" \
        </dev/null >/dev/null
fi

section "virtual environment: $venv"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"expected Python 3.11 or later, got {sys.version}")'
"$python" -m venv "$venv"
venv=$(cd "$venv" && pwd)
export PATH="$venv/bin:$PATH"
# With TensorFlow installed first, the build needs no isolated second copy of it.
pip install --quiet "setuptools>=77" "$BLADE_TF_TENSORFLOW==2.21.*"
pip install --quiet --no-build-isolation --editable ".[test]"
pip check

section "lint, format and types"
ruff check
ruff format --check
mypy
find cc \( -name '*.cc' -o -name '*.h' \) -print0 | xargs -0 clang-format --dry-run -Werror

section "C++ tests under ASan and UBSan"
make -C cc/tests --jobs="$(nproc)" --output-sync=target sanitize

section "Bazel"
PYTHON_BIN_PATH="$venv/bin/python" bazel test --noshow_progress //...
python -c 'import tensorflow; print(tensorflow.load_op_library("bazel-bin/_blade_ops.so").blade_filter.__name__)'
bazel shutdown

section "pytest"
# Two processes: a module's tests stay together, as they share what they build, and two cores are enough for them.
python -m pytest --numprocesses=2 --dist=loadfile

section "packages"
tests/packaging/check.sh "$venv/bin/python"

section "all passed"
