import os
import resource
import signal

import numpy as np
import pytest
import tensorflow as tf

from blade_tf.data import records

SHAPES = [(11, 4, 6, 1), (3, 5, 5, 3), (1, 1, 1, 1), (2, 0, 3, 1)]


def sequences():
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype(np.float32) for shape in SHAPES]


@pytest.fixture
def shard(tmp_path):
    path = tmp_path / "train-00000-of-00001.tfrecord"
    assert records.write_shard(path, (records.encode(x, f"photo-{i}.png") for i, x in enumerate(sequences()))) == 4
    return path


def test_round_trip_in_any_order(shard):
    reader = records.RecordReader([shard, shard])
    assert len(reader) == 8
    for i in (7, 0, 3, 5, 2, 1, 6, 4):
        found = reader[i]
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, sequences()[i % 4])


def test_every_bit_of_a_float_survives():
    frames = np.array([np.nan, -np.inf, -0.0, 1e-45, 0.1], np.float32).reshape(1, 1, 5, 1)
    assert records.decode(records.encode(frames, "x")).tobytes() == frames.tobytes()
    # Whatever the layout and the precision in memory: float32, little-endian.
    other = np.asfortranarray(sequences()[0].astype(">f8"))
    np.testing.assert_array_equal(records.decode(records.encode(other, "x")), sequences()[0])


def test_batch_stacks_by_index(shard):
    reader = records.RecordReader([shard, shard])
    np.testing.assert_array_equal(reader.batch([5, 1]), np.stack([sequences()[1]] * 2))
    np.testing.assert_array_equal(reader.batch(np.array([[4], [0]])), np.stack([sequences()[0]] * 2))


def test_tensorflow_reads_the_same(shard):
    features = {
        "frames": tf.io.FixedLenFeature([], tf.string),
        "shape": tf.io.FixedLenFeature([4], tf.int64),
        "source": tf.io.FixedLenFeature([], tf.string),
    }
    parsed = [tf.io.parse_single_example(record, features) for record in tf.data.TFRecordDataset(str(shard))]
    assert [example["source"].numpy() for example in parsed] == [b"photo-%d.png" % i for i in range(4)]
    for example, expected in zip(parsed, sequences(), strict=True):
        frames = tf.reshape(tf.io.decode_raw(example["frames"], tf.float32), example["shape"])
        np.testing.assert_array_equal(frames, expected)


def test_a_source_that_is_not_utf8_keeps_its_bytes():
    record = records.encode(np.zeros((1, 1, 1, 1)), os.fsdecode(b"\xe9t\xe9.jpg"))
    assert tf.train.Example.FromString(record).features.feature["source"].bytes_list.value[0] == b"\xe9t\xe9.jpg"


def test_an_empty_shard_holds_nothing(tmp_path):
    assert records.write_shard(tmp_path / "empty", []) == 0
    assert len(records.RecordReader([tmp_path / "empty"])) == 0


def test_a_truncated_shard_is_named(shard):
    whole = shard.read_bytes()
    lengths = [len(records.encode(x, f"photo-{i}.png")) + 16 for i, x in enumerate(sequences())]
    ends = [0, *np.cumsum(lengths).tolist()]
    assert len(whole) == ends[-1]
    for size in (*range(1, 40), len(whole) - 1, len(whole) - 4, ends[2] + 7, ends[3] - 2):
        assert size not in ends
        shard.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=rf"data: {shard} is damaged: .*prepare the data again"):
            records.RecordReader([shard])


def test_each_flipped_bit_is_found(shard):
    whole = shard.read_bytes()
    rng = np.random.default_rng(1)
    for position in (*range(14), *rng.integers(14, len(whole), 60)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        shard.write_bytes(bytes(damaged))
        with pytest.raises(ValueError, match=rf"data: {shard} is damaged"):
            records.RecordReader([shard])


def test_damage_that_comes_later_is_named(shard):
    reader = records.RecordReader([shard])
    shard.write_bytes(shard.read_bytes()[:60])
    with pytest.raises(ValueError, match=rf"data: {shard} is damaged: no record at byte"):
        reader[2]


def test_a_missing_shard_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        records.RecordReader([tmp_path / "nothing"])


def test_what_goes_wrong_midway_leaves_the_earlier_shard(shard):
    before = shard.read_bytes()

    def failing():
        yield records.encode(np.zeros((1, 1, 1, 1)), "x")
        raise MemoryError

    with pytest.raises(MemoryError):
        records.write_shard(shard, failing())
    assert shard.read_bytes() == before
    assert os.listdir(shard.parent) == [shard.name]


def test_a_full_disk_is_an_os_error_that_names_the_shard(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(OSError, match=rf"cannot write {tmp_path}/shard: .*too large"):
            records.write_shard(tmp_path / "shard", [records.encode(np.zeros((9, 40, 40, 1)), "x")] * 3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file/"):
        records.write_shard(tmp_path / "file" / "shard", [b"x"])
    with pytest.raises(OSError, match="none/"):
        records.write_shard(tmp_path / "none" / "shard", [b"x"])
