import hashlib
import json
import os
import pathlib
import shutil
import signal
import time

import numpy as np
import pytest

import programs
from blade_tf import files, image_io
from blade_tf.data import batches, crops, prepare, records


def contents(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in pathlib.Path(folder).iterdir()}


@pytest.fixture
def few(photographs, tmp_path):
    """Four photographs and three files that are none."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for name in ("camera.png", "chelsea.png", "coffee.png", "coins.png"):
        shutil.copy(photographs / name, folder)
    (folder / "broken.png").write_bytes((photographs / "coffee.png").read_bytes()[:30000])
    (folder / "page.jpg").write_text("<html>not found</html>")
    image_io.write_image(folder / "small.tif", image_io.Image(np.zeros((127, 400, 3), np.float32)))
    (folder / "notes.txt").write_text("no image, no problem")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


@pytest.fixture
def quick(config):
    config = config.copy_and_resolve_references()
    config.reference.steps_per_frame = 2
    config.reference.frames = 2
    config.data.images_per_shard = 1
    config.data.crops_per_image = 2
    return config


def test_photographs_become_sequences(data, photographs, config):
    index = prepare.load_index(data)
    assert index["images"] == 9
    assert index["sequences"] == {"train": 21, "validation": 6}
    assert index["unreadable"] == {}
    assert index["config"] == prepare.relevant(config)
    assert sorted(name for names in index["shards"].values() for name in names) == sorted(
        path.relative_to(photographs).as_posix() for path in photographs.rglob("*.*")
    )
    reader = records.RecordReader(data / f"{shard}.tfrecord" for shard in index["shards"])
    for i in range(len(reader)):
        frames = reader[i]
        assert frames.shape == (11, 32, 32, 1)
        assert np.isfinite(frames).all()
        assert 0 <= frames.min() < frames.max() <= 1
        np.testing.assert_allclose(frames.mean((1, 2, 3)), frames[0].mean(), atol=1e-6)


def test_training_and_validation_share_no_photograph(data):
    shards = prepare.load_index(data)["shards"]
    parts = {"train": set(), "validation": set()}
    for shard, names in shards.items():
        parts[shard.partition("-")[0]] |= set(names)
    assert len(parts["train"]) == 7
    assert len(parts["validation"]) == 2
    assert not parts["train"] & parts["validation"]


def test_crops_are_means_over_blocks_of_the_luma(config):
    config.data.crop = 4
    config.data.min_side = 4
    config.data.crops_per_image = 40
    image = np.random.default_rng(0).random((14, 23, 3)).astype(np.float32)
    luma = image.astype(np.float64) @ [0.299, 0.587, 0.114]
    # The largest block that leaves 4 rows of 14 has 3 pixels a side.
    small = luma[:12, :21].reshape(4, 3, 7, 3).mean((1, 3))
    cut = crops.training_crops(image, config.data, np.random.default_rng(1))
    assert len(cut) == 40
    found = {min(range(4), key=lambda x: np.abs(small[:, x : x + 4] - crop[..., 0]).max()) for crop in cut}
    assert found == {0, 1, 2, 3}
    for crop in cut:
        assert crop.dtype == np.float32
        assert min(np.abs(small[:, x : x + 4] - crop[..., 0]).max() for x in range(4)) < 1e-6


def test_unreadable_files_are_named_and_counted(few, quick, tmp_path):
    lines = []
    summary = prepare.prepare(quick, few, tmp_path / "data", 1, lines.append)
    assert summary == prepare.load_index(tmp_path / "data")
    assert summary["images"] == 4
    assert sum(summary["sequences"].values()) == 8
    reasons = summary["unreadable"]
    assert list(reasons) == ["broken.png", "page.jpg", "small.tif"]
    assert reasons["broken.png"].endswith("broken.png: image file is truncated")
    assert "not a PNG, JPEG, TIFF" in reasons["page.jpg"]
    assert reasons["small.tif"] == "expected at least 128 x 128 pixels, got 400 x 127"
    assert sorted(lines) == sorted(f"left out {name}: {reason}" for name, reason in reasons.items())


def test_the_same_bytes_for_any_number_of_workers(few, quick, tmp_path):
    for workers in (1, 2):
        prepare.prepare(quick, few, tmp_path / f"data{workers}", workers)
    assert contents(tmp_path / "data1") == contents(tmp_path / "data2")


def test_the_seed_moves_the_crops_alone(few, quick, tmp_path):
    first = prepare.prepare(quick, few, tmp_path / "first", 1)
    quick.seed = 1
    second = prepare.prepare(quick, few, tmp_path / "second", 1)
    assert first["shards"] == second["shards"]
    a, b = (
        records.RecordReader(tmp_path / name / f"{shard}.tfrecord" for shard in first["shards"])
        for name in ("first", "second")
    )
    assert len(a) == len(b) == 8
    assert not any(np.array_equal(a[i], b[i]) for i in range(8))


def test_what_is_missing_is_made_again(few, quick, tmp_path):
    prepare.prepare(quick, few, tmp_path / "data", 1)
    before = contents(tmp_path / "data")
    shards = sorted((tmp_path / "data").glob("*.tfrecord"))
    kept = {path: path.stat().st_mtime_ns for path in shards[2:]}
    shards[0].unlink()
    shards[1].with_suffix(".json").unlink()
    shards[1].write_bytes(b"of another time")
    (tmp_path / "data" / ".train-00000-of-00004.tfrecord.1234.partial").write_bytes(b"of a run that was killed")
    prepare.prepare(quick, few, tmp_path / "data", 1)
    assert contents(tmp_path / "data") == before
    assert {path: path.stat().st_mtime_ns for path in shards[2:]} == kept


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_continues(number, start, program, data, photographs, tmp_path):
    folder = tmp_path / "data"
    arguments = f"--config={programs.CONFIG}", f"--images={photographs}", f"--output={folder}", "--workers=1"
    killed = start("prepare", *arguments).signal_when(number, lambda: len(list(folder.glob("*.tfrecord"))) >= 2)
    assert killed.status == {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 128 + signal.SIGTERM}[number]
    assert "Traceback" not in killed.err
    with pytest.raises(ValueError, match="is not complete; run the same blade-prepare command again"):
        prepare.load_index(folder)
    assert len(list(folder.glob("*.tfrecord"))) < 6
    outcome = program("prepare", *arguments)
    assert outcome.status == 0
    expected = contents(data)
    expected.pop("baselines.json", None)  # kept there by a training
    assert contents(folder) == expected


def test_another_config_is_refused_by_its_keys(few, quick, tmp_path):
    prepare.prepare(quick, few, tmp_path / "data", 1)
    before = contents(tmp_path / "data")
    quick.train.steps = 7  # of no consequence here
    prepare.prepare(quick, few, tmp_path / "data", 1)
    quick.reference.frames = 3
    quick.pde.parameters.epsilon = 0.5
    with pytest.raises(
        ValueError, match=r"another config \(pde.parameters.epsilon: .* 0.5 in.*; reference.frames: 2 .* 3"
    ):
        prepare.prepare(quick, few, tmp_path / "data", 1)
    assert contents(tmp_path / "data") == before


@pytest.mark.parametrize("change", ["added", "removed", "replaced"])
def test_other_photographs_are_refused(change, few, quick, tmp_path):
    prepare.prepare(quick, few, tmp_path / "data", 1)
    before = contents(tmp_path / "data")
    if change == "added":
        shutil.copy(few / "coins.png", few / "more.png")
    elif change == "removed":
        (few / "coins.png").unlink()
    else:
        shutil.copy(few / "coins.png", few / "broken.png")
    with pytest.raises(ValueError, match="holds data of other photographs; choose a new folder"):
        prepare.prepare(quick, few, tmp_path / "data", 1)
    assert contents(tmp_path / "data") == before


def test_folders_without_photographs_are_refused(few, quick, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: no image found"):
        prepare.prepare(quick, tmp_path / "empty", tmp_path / "data")
    with pytest.raises(ValueError, match="none: no such folder"):
        prepare.prepare(quick, tmp_path / "none", tmp_path / "data")
    assert not (tmp_path / "data").exists()
    for name in ("camera.png", "chelsea.png", "coffee.png", "coins.png"):
        (few / name).unlink()
    with pytest.raises(ValueError, match=r"no usable photograph among the 3 .*broken\.png"):
        prepare.prepare(quick, few, tmp_path / "data", 1)
    with pytest.raises(ValueError, match="is not complete"):
        batches.load_data(tmp_path / "data", quick)


def test_data_of_an_earlier_version_are_refused(data, config, tmp_path):
    shutil.copytree(data, tmp_path / "old")
    index = json.loads((data / "dataset.json").read_text())
    del index["sha256"]
    (tmp_path / "old" / "dataset.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="old was prepared by an earlier version of blade_tf; prepare the data again"):
        batches.load_data(tmp_path / "old", config)


def test_a_name_that_is_not_utf8_is_only_a_name(few, quick, tmp_path):
    shutil.copy(few / "coins.png", os.fsencode(few) + b"/\xe9t\xe9.png")
    shutil.copy(few / "page.jpg", os.fsencode(few) + b"/\xe9.jpg")
    summary = prepare.prepare(quick, few, tmp_path / "data", 1, lambda _: None)
    assert summary["images"] == 5
    assert os.fsdecode(b"\xe9.jpg") in summary["unreadable"]
    assert summary == json.loads((tmp_path / "data" / "dataset.json").read_text())


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("reference.dt", 0.0, "reference.dt: expected a positive number, got 0.0"),
        ("reference.dt", float("nan"), "reference.dt: expected a positive number, got nan"),
        ("reference.scale", 0, "reference.scale: expected a positive number, got 0"),
        ("data.crop", 126, "data.crop: expected a multiple of reference.scale = 4, got 126"),
        ("data.crops_per_image", -1, "data.crops_per_image: expected a positive number, got -1"),
        ("data.validation_every", 1, "data.validation_every: expected at least 2, got 1"),
        ("seed", -1, "seed: expected a non-negative number, got -1"),
        ("pde.name", "tv_flo", "pde: unknown name 'tv_flo', did you mean 'tv_flow'"),
        ("pde.parameters.epsilon", -0.1, "epsilon: expected a positive number, got -0.1"),
    ],
)
def test_a_config_without_sense_is_refused_before_anything_is_written(key, value, message, few, quick, tmp_path):
    quick.update_from_flattened_dict({key: value})
    with pytest.raises(ValueError, match=message):
        prepare.prepare(quick, few, tmp_path / "data", 1)
    assert not (tmp_path / "data").exists()


def test_an_output_that_cannot_be_written(few, quick, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        prepare.prepare(quick, few, tmp_path / "file" / "data", 1)

    def full(path, data):
        raise OSError(28, "cannot write: No space left on device", str(path))

    monkeypatch.setattr(prepare.files, "write_json", full)
    with pytest.raises(OSError, match=r"No space left on device.*dataset\.json"):
        prepare.prepare(quick, few, tmp_path / "data", 1)
    assert list((tmp_path / "data").iterdir()) == []


def test_a_disk_that_fills_up_midway(few, quick, tmp_path, monkeypatch):
    write = records.write_shard

    def filling(path, encoded):
        if len(list(path.parent.glob("*.tfrecord"))) == 2:
            raise OSError(f"cannot write {path}: No space left on device")
        return write(path, encoded)

    monkeypatch.setattr(prepare.records, "write_shard", filling)
    with pytest.raises(OSError, match="No space left on device"):
        prepare.prepare(quick, few, tmp_path / "data", 1, lambda _: None)
    assert len(list((tmp_path / "data").glob("*.tfrecord"))) == 2
    monkeypatch.undo()
    prepare.prepare(quick, few, tmp_path / "data", 1, lambda _: None)
    prepare.prepare(quick, few, tmp_path / "other", 1, lambda _: None)
    assert contents(tmp_path / "data") == contents(tmp_path / "other")


def test_a_worker_that_dies_is_an_error(few, quick, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare.parallel, "_begin_worker", _die)
    with pytest.raises(ChildProcessError, match="prepare: a worker process died, perhaps for lack of memory"):
        prepare.prepare(quick, few, tmp_path / "data", 2)


def _die():
    os.kill(os.getpid(), signal.SIGKILL)


def test_incomplete_or_other_data_do_not_train(data, few, quick, config, tmp_path):
    with pytest.raises(ValueError, match=r"holds no dataset.json; prepare it with blade-prepare"):
        batches.load_data(few, quick)
    copy = tmp_path / "copy"
    shutil.copytree(data, copy)
    assert len(batches.load_data(copy, config).train) == 21
    with pytest.raises(ValueError, match=r"was prepared with another config \(data.crops_per_image: 3 there, 2 in"):
        batches.load_data(copy, quick)
    shard = copy / "train-00001-of-00004.tfrecord"
    whole = shard.read_bytes()
    shard.write_bytes(b"")
    with pytest.raises(ValueError, match=r"expected {'train': 21, .* got {'train': 15, .*; prepare the data again"):
        batches.load_data(copy, config)
    shard.write_bytes(whole[:1000])
    with pytest.raises(ValueError, match=f"data: {shard} is damaged"):
        batches.load_data(copy, config)
    shard.unlink()
    with pytest.raises(FileNotFoundError, match=shard.name):
        batches.load_data(copy, config)


def test_no_validation_photograph(few, quick, tmp_path):
    (few / "coffee.png").unlink()
    quick.data.validation_every = 20
    with pytest.raises(ValueError, match="images: expected at least 11 photographs, for validation too, got 6"):
        prepare.prepare(quick, few, tmp_path / "data", 1, lambda _: None)
    assert not (tmp_path / "data").exists()
    quick.data.validation_every = 9
    quick.train.crop = 8
    prepare.prepare(quick, few, tmp_path / "data", 1, lambda _: None)
    with pytest.raises(ValueError, match="holds no validation photographs: all of them were left out"):
        batches.load_data(tmp_path / "data", quick)


def test_windows_larger_than_the_prepared_crops(data, config):
    config.train.crop = 33
    with pytest.raises(ValueError, match=r"train.crop: expected at most the prepared crops' 32, got 33"):
        batches.load_data(data, config)


def test_workers_end_with_their_parent(start, photographs, tmp_path):
    folder = tmp_path / "data"
    arguments = f"--config={programs.CONFIG}", f"--images={photographs}", f"--output={folder}", "--workers=2"
    started = []

    def working():
        started.extend(int(path.suffixes[-2][1:]) for path in folder.glob(".*.partial"))
        return bool(started)

    start("prepare", *arguments, "--config.reference.steps_per_frame=100000").signal_when(signal.SIGKILL, working)
    assert started
    while any(os.path.exists(f"/proc/{number}") for number in started):
        time.sleep(0.01)


def test_two_processes_cannot_write_into_one_folder(few, quick, tmp_path):
    with files.lock(tmp_path / "data"), pytest.raises(BlockingIOError, match="another process is writing there"):
        prepare.prepare(quick, few, tmp_path / "data", 1, lambda _: None)


def test_a_photograph_that_was_replaced_is_refused(few, quick, tmp_path):
    prepare.prepare(quick, few, tmp_path / "data", 1, lambda _: None)
    photograph = next(few.glob("*.png"))
    content = bytearray(photograph.read_bytes())
    content[-1] ^= 1
    photograph.write_bytes(content)
    with pytest.raises(ValueError, match="holds data of other photographs"):
        prepare.prepare(quick, few, tmp_path / "data", 1, lambda _: None)


def test_a_reference_that_diverges_is_named(few, quick, tmp_path):
    quick.reference.dt = 1e38
    with pytest.raises(ValueError, match="the reference solver diverged; a smaller reference"):
        prepare.prepare(quick, few, tmp_path / "data", 1, lambda _: None)
