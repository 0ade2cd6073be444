"""Checks an installed blade_tf from outside of its sources: `python smoke.py native|stock`."""

import importlib.metadata
import importlib.resources
import importlib.util
import pathlib
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import PIL.Image

NATIVE = {"native": True, "stock": False}[sys.argv[1]]

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import blade_tf
    from blade_tf import native

package = pathlib.Path(blade_tf.__file__).parent
assert package.parent.name == "site-packages", f"expected the installed package, got {package}"
assert (native.library is not None) == NATIVE, f"expected native={NATIVE}, got the library {native.library}"
assert native.xla == NATIVE, f"expected XLA's kernels {NATIVE}, got {native.xla}"
mine = [str(warning.message) for warning in caught if "blade_tf" in str(warning.message)]
assert len(mine) == (0 if NATIVE else 1), f"expected {0 if NATIVE else 1} warnings of blade_tf, got {mine}"
assert importlib.metadata.version("blade-tf") == blade_tf.__version__

generator = np.random.default_rng(0)
image = generator.random((2, 13, 17, 3), np.float32)
filters = generator.standard_normal((72, 5, 3)).astype(np.float32)
arguments = {"orientations": 8, "strength_thresholds": (0.1, 0.2), "coherence_thresholds": (0.3, 0.6)}
selection = blade_tf.blade_select(image, **arguments)
output = blade_tf.blade_filter(image, filters, selection)
with blade_tf.implementation("stock"):
    np.testing.assert_array_equal(selection, blade_tf.blade_select(image, **arguments))
    np.testing.assert_allclose(output, blade_tf.blade_filter(image, filters, selection), atol=1e-5)
padded = np.pad(image, ((0, 0), (2, 2), (1, 1), (0, 0)), mode="edge")
n, y, x = 1, 0, 16
oracle = np.einsum("rs,rsc->c", filters[np.array(selection)[n, y, x]], padded[n, y : y + 5, x : x + 3])
np.testing.assert_allclose(output[n, y, x], oracle, atol=1e-5)

assert blade_tf.pretrained_names(), "expected pretrained models in the package, got none"
for name in blade_tf.pretrained_names():
    assert np.isfinite(blade_tf.load_pretrained(name)(image[..., :1])).all(), name
assert (importlib.resources.files("blade_tf.configs") / "tv_flow_paper.py").is_file()
assert (package / "py.typed").is_file()
scripts = importlib.metadata.distribution("blade-tf").entry_points.select(group="console_scripts")
assert len(scripts) == 13, f"expected 13 console scripts, got {scripts}"
for script in scripts:
    assert importlib.util.find_spec(script.module), script
with tempfile.TemporaryDirectory() as folder:
    before, after = pathlib.Path(folder, "before.png"), pathlib.Path(folder, "after.png")
    PIL.Image.fromarray(np.uint8(image[0] * 255)).save(before)
    program = pathlib.Path(sys.executable).with_name("blade-apply")
    subprocess.run([program, "--model=tv_flow", f"--input={before}", f"--output={after}"], check=True)
    with PIL.Image.open(before) as old, PIL.Image.open(after) as new:
        assert new.size == old.size
        assert np.std(new) < np.std(old), "TV flow smooths"

print(f"smoke: the {sys.argv[1]} package in {package} has its ops, pretrained models, configs and programs")
