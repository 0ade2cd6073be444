#!/usr/bin/env bash
# Builds and installs the package in every form outside of the repository: sdist, a wheel from it, no library, bad switches.
# Usage: check.sh PYTHON, one that has setuptools; BLADE_TF_TENSORFLOW is the distribution to install.
set -euo pipefail
python=$1
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/empty"

smoke() {
    (cd "$work/empty" && "$work/venv/bin/python" "$root/tests/packaging/smoke.py" "$1")
}

# A build that has to fail, and what it has to say; its variables come last.
refuse() {
    local text=$1 log="$work/refused.log"
    shift
    if env "$@" "$work/venv/bin/pip" install --no-deps "$sdist" >"$log" 2>&1; then
        echo "expected $* to fail, but it installed" >&2
        return 1
    fi
    grep -F -- "$text" "$log" || { cat "$log" >&2; return 1; }
}

echo "--- sdist"
(cd "$root" && "$python" -c "import sys, build_backend; build_backend.build_sdist(sys.argv[1])" "$work") >"$work/sdist.log"
sdist=$(ls "$work"/blade_tf-*.tar.gz)
tar tzf "$sdist" | sed 's,^[^/]*/,,' | sort >"$work/packed"
(cd "$root" && find blade_tf cc configs tests -type f -regex '.*\.\(cc\|h\|py\|sh\|npz\|md\|typed\)' | sort) >"$work/sources"
if comm -13 "$work/packed" "$work/sources" | grep .; then
    echo "these files are missing from ${sdist##*/}" >&2
    exit 1
fi

echo "--- wheel from the sdist, in an isolated build"
"$python" -m pip wheel --quiet --no-deps --wheel-dir "$work" "$sdist"
wheel=$(ls "$work"/blade_tf-*-py3-none-linux_*.whl)
echo "${wheel##*/}"

echo "--- install the wheel"
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "$wheel"
"$work/venv/bin/pip" check
smoke native

echo "--- builds that have to fail"
other=tensorflow
[ "$BLADE_TF_TENSORFLOW" = tensorflow ] && other=tensorflow-cpu
refuse "set BLADE_TF_NATIVE=0" CXX=/nonexistent/g++
refuse "set BLADE_TF_TENSORFLOW=$BLADE_TF_TENSORFLOW" BLADE_TF_TENSORFLOW=$other
refuse "expected one of tensorflow, tensorflow-cpu, got 'tf'" BLADE_TF_TENSORFLOW=tf

echo "--- install without the library and without a compiler"
BLADE_TF_NATIVE=0 BLADE_TF_XLA=0 CXX=/nonexistent/g++ "$work/venv/bin/pip" install --quiet --no-deps --force-reinstall "$sdist"
smoke stock
