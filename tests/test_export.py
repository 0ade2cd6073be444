import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import skimage.data
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import blade_tf
from blade_tf import apply, export, models

SHAPES = [(1, 31, 45, 1), (2, 16, 16, 1), (3, 1, 7, 1), (1, 1, 1, 1), (0, 5, 5, 1)]


def photographs(shape):
    count, height, width, channels = shape
    colour = skimage.data.astronaut()[:, :, :channels].astype(np.float32) / 255
    crops = [colour[40 * i : 40 * i + height, 190 : 190 + width] for i in range(count)]
    return np.array(crops, np.float32).reshape(shape)


@pytest.fixture(scope="module")
def model(workdir):
    return models.load(workdir / "model")


@pytest.fixture(scope="module", params=["native", "portable"])
def saved(request, workdir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / request.param
    export.export(workdir / "model", folder, portable=request.param == "portable")
    return folder


def evolved(model, saved, *arguments):
    """What the model computes by the operations of an export: another's rounding may move a pixel to another filter."""
    with blade_tf.implementation("stock" if saved.name == "portable" else "native"):
        return model.evolve(*arguments)


def operations(folder):
    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    return {node.op for node in graph.node} | {node.op for f in graph.library.function for node in f.node_def}


def test_any_batch_height_and_width(saved, model):
    serve = tf.saved_model.load(str(saved)).signatures["serving_default"]
    assert serve.structured_input_signature[1] == {"image": tf.TensorSpec([None, None, None, 1], tf.float32, "image")}
    for shape in SHAPES:
        image = photographs(shape)
        found = serve(image=tf.constant(image))
        assert list(found) == ["output"]
        np.testing.assert_allclose(found["output"], evolved(model, saved, image), rtol=0, atol=2e-7)


def test_any_steps_and_dt(saved, model):
    evolve = tf.saved_model.load(str(saved)).signatures["evolve"]
    image = photographs((1, 31, 45, 1))
    for steps, dt in ((0, model.dt), (1, model.dt), (25, 0.3 * model.dt)):
        found = evolve(image=tf.constant(image), steps=tf.constant(steps), dt=tf.constant(dt))["output"]
        np.testing.assert_allclose(found, evolved(model, saved, image, steps, dt), rtol=0, atol=2e-7)
    np.testing.assert_array_equal(
        evolve(image=tf.constant(image), steps=tf.constant(0), dt=tf.constant(1.0))["output"], image
    )


def test_only_the_native_export_has_operations_of_its_own(saved):
    own = {name for name in operations(saved) if name.startswith("Blade")}
    assert own == (set() if saved.name == "portable" else {"BladeStep"})


def test_both_exports_agree(workdir, saved, model, tmp_path):
    export.export(workdir / "model", tmp_path / "other", portable=saved.name == "native")
    image = tf.constant(photographs((1, 64, 64, 1)))
    found = [
        tf.saved_model.load(str(f)).signatures["serving_default"](image=image)["output"]
        for f in (saved, tmp_path / "other")
    ]
    np.testing.assert_allclose(*found, atol=2e-6)


ALONE = """
import sys, numpy as np, tensorflow as tf
sys.modules["blade_tf"] = None  # an import would fail, also where the package is installed
image = np.load(sys.argv[2])
np.save(sys.argv[3], tf.saved_model.load(sys.argv[1]).signatures["serving_default"](image=tf.constant(image))["output"])
assert not [name for name in sys.modules if name.startswith("blade_tf.")]
"""

WITH_PACKAGE = """
import sys, numpy as np, tensorflow as tf
image = np.load(sys.argv[2])
try:
    tf.saved_model.load(sys.argv[1])
    raise SystemExit("loaded without blade_tf")
except RuntimeError as error:
    assert "Op type not registered 'Blade" in str(error), error
import blade_tf
np.save(sys.argv[3], tf.saved_model.load(sys.argv[1]).signatures["serving_default"](image=tf.constant(image))["output"])
"""


def test_a_fresh_process_loads_it(saved, model, tmp_path):
    image = photographs((2, 33, 28, 1))
    np.save(tmp_path / "image.npy", image)
    script, path = (
        (ALONE, "") if saved.name == "portable" else (WITH_PACKAGE, os.path.dirname(os.path.dirname(blade_tf.__file__)))
    )
    (tmp_path / "empty").mkdir()
    command = [sys.executable, *(["-I"] if not path else []), "-c", script]
    done = subprocess.run(
        [*command, str(saved), str(tmp_path / "image.npy"), str(tmp_path / "out.npy")],
        cwd=tmp_path / "empty",
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), evolved(model, saved, image), rtol=0, atol=2e-7)


def test_colour_selects_by_luma(workdir, model, tmp_path):
    export.export(workdir / "model", tmp_path / "colour", portable=True, channels=3)
    image = photographs((1, 31, 45, 3))
    serve = tf.saved_model.load(str(tmp_path / "colour")).signatures["serving_default"]
    assert serve.structured_input_signature[1]["image"].shape == [None, None, None, 3]
    found = serve(image=tf.constant(image))["output"]
    np.testing.assert_allclose(found[0], apply.apply_image(model, image[0]), atol=2e-6)


def test_a_midpoint_model_of_another_footprint(tmp_path):
    selection = blade_tf.Selection([0.02], [0.5], orientations=4, rho=0.7)
    rng = np.random.default_rng(0)
    bank = rng.normal(0, 0.02, (16, 5, 1))
    blade = blade_tf.Blade(16, (5, 1), keras.initializers.Constant(0.0))
    blade.filters.assign(bank - bank.mean((1, 2), keepdims=True))
    model = blade_tf.EvolutionModel(blade_tf.BladeRate(selection, blade), dt=0.5, steps=4, method="midpoint")
    export.export_model(model, tmp_path / "saved", portable=True)
    image = photographs((1, 20, 30, 1))
    found = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"](image=tf.constant(image))[
        "output"
    ]
    np.testing.assert_allclose(found, model.evolve(image), atol=2e-6)
    assert np.abs(found - image).max() > 0.01


def test_exporting_leaves_the_choice_of_operations_alone(workdir, tmp_path):
    before = blade_tf.ops.uses_native()
    export.export(workdir / "model", tmp_path / "saved", portable=True)
    assert blade_tf.ops.uses_native() == before


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_an_output_that_exists_is_refused(kind, workdir, tmp_path):
    path = tmp_path / "saved"
    path.touch() if kind == "file" else path.mkdir()
    with pytest.raises(ValueError, match=r"output: .*saved exists; choose a new folder"):
        export.export(workdir / "model", path)
    assert os.listdir(tmp_path) == ["saved"]


def test_no_channels_are_refused(workdir, tmp_path):
    with pytest.raises(ValueError, match="channels: expected an integer of at least 1, got 0"):
        export.export(workdir / "model", tmp_path / "saved", channels=0)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_export_that_is_interrupted_leaves_nothing(error, workdir, tmp_path, monkeypatch):
    archive = type(keras.export.ExportArchive())
    write = archive.write_out

    def interrupted(self, path, **options):
        write(self, path, **options)
        raise error

    monkeypatch.setattr(archive, "write_out", interrupted)
    with pytest.raises(type(error) if isinstance(error, OSError) else error):
        export.export(workdir / "model", tmp_path / "saved")
    assert os.listdir(tmp_path) == []


def test_an_output_below_a_file_is_an_error(workdir, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises((OSError, tf.errors.OpError), match="file"):
        export.export(workdir / "model", tmp_path / "file" / "saved")
    assert (tmp_path / "file").read_bytes() == b""
