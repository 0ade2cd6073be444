import json
import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest
import skimage.data

import blade_tf
import programs
from blade_tf import config as config_lib
from blade_tf import image_io

SOURCES = pathlib.Path(blade_tf.__file__).parents[1]

FILES = ["input", "output", "[no]beside", "export", "[no]portable", "channels"]
FLAGS = {
    "prepare": ["config", "images", "output", "workers"],
    "train": ["config", "data", "workdir"],
    "evaluate": ["config", "model", "images", "output", "workers"],
    "apply": ["model", "input", "output", "steps", "dt"],
    "export": ["model", "output", "[no]portable", "channels"],
    "demo": ["output"],
    "deblur": [
        *[*FILES, "kernel", "mask", "noise", "[no]estimate", "regulariser", "dt", "lambda", "steps", "[no]paper"],
        "stages",
    ],
    "upscale": [*FILES, "factor", "model", "sigma", "position", "steps", "relaxation", "[no]paper"],
    "segment": [
        *[*FILES, "model", "start", "[no]stretch", "mu", "nu", "lambda1", "lambda2", "dt", "iterations", "tolerance"],
        "[no]overlay",
    ],
    "resample": [*FILES, "shift", "flow", "align", "write_flow", "model", "fill"],
    "compare": ["images", "output"],
}
REQUIRED = {
    "prepare": ["images", "output"],
    "train": ["data", "workdir"],
    "evaluate": ["model", "images", "output"],
    "apply": ["model", "input", "output"],
    "export": ["model", "output"],
    "demo": ["output"],
    "compare": ["application", "images", "output"],
}


def keys(config, prefix=""):
    for key, value in config.items():
        if hasattr(value, "items"):
            yield from keys(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def assert_error(outcome, text):
    """Status 1, nothing on stdout, and one line on stderr."""
    assert outcome.status == 1
    assert outcome.out == ""
    assert outcome.err == text + "\n"


@pytest.mark.parametrize("name", FLAGS)
def test_help_is_complete(name, program):
    outcome = program(name, "--help")
    assert outcome.status == 0
    assert outcome.err == ""
    assert outcome.out.startswith(f"blade-{name}: ")
    assert f"    blade-{name} --" in outcome.out
    described = re.findall(r"^  --(\S+): [A-Z].{10,}", outcome.out, re.MULTILINE)
    assert described == FLAGS[name]
    listed = re.findall(r"^  --config\.(\S+?)=(.*)$", outcome.out, re.MULTILINE)
    expected = {}
    for default in config_lib.TASKS.values() if "config" in FLAGS[name] else ():
        expected |= {key: repr(value) for key, value in keys(default()) if key not in expected}
    assert listed == list(expected.items())
    assert max(map(len, outcome.out.splitlines())) <= 120


@pytest.mark.parametrize("name", REQUIRED)
def test_what_is_missing_is_named(name, program):
    assert_error(program(name), f"blade-{name}: " + " ".join(f"--{flag} is required." for flag in REQUIRED[name]))


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("prepare", ["--imagez=x"], "Unknown command line flag 'imagez'. Did you mean: images ?"),
        ("prepare", ["--images=x", "--output=y", "z"], "unexpected argument 'z'; every option is a --flag=value"),
        ("prepare", ["--workers=0"], "flag --workers=0: 0 is not a positive integer"),
        ("apply", ["--steps=-1"], "flag --steps=-1: -1 is not a non-negative integer"),
        ("apply", ["--dt=x"], "flag --dt=x: could not convert string to float: 'x'"),
        ("train", ["--config.train.stepz=3"], "unknown key --config.train.stepz, did you mean --config.train.steps?"),
        ("train", ["--config.tran.steps=3"], "unknown key --config.tran.steps, did you mean --config.train.steps?"),
        ("train", ["--config.zzz=3"], "unknown key --config.zzz, --help lists the keys"),
        (
            "train",
            ["--config.train.steps=abc"],
            "flag --config.train.steps=abc: invalid literal for int() with base 10: 'abc'",
        ),
        ("train", ["--config.train.ridge=no"], "flag --config.train.ridge=no: could not convert string to float: 'no'"),
        ("train", ["--data=x", "--workdir=y"], "data: x holds no dataset.json; prepare it with blade-prepare"),
        ("prepare", ["--images=/no/photographs", "--output=y"], "/no/photographs: no such folder"),
    ],
)
def test_errors_are_one_line(name, arguments, message, program):
    assert_error(program(name, *arguments), f"blade-{name}: {message}")


@pytest.mark.parametrize("name", [name for name in FLAGS if FLAGS[name][: len(FILES)] == FILES])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected --input and --output, or --export, or all three"),
        (["--input=a.png"], "expected --input and --output, or --export, or all three"),
        (["--output=b.png", "--export={saved}"], "expected --input and --output, or --export, or all three"),
        (["--input=a.png", "--output=b.png", "--portable"], "portable: expected none without --export, got True"),
        (["--input=a.png", "--output=b.png", "--channels=1"], "channels: expected none without --export, got 1"),
        (["--export={saved}", "--beside"], "beside: expected none without --input, got True"),
        (["--export={saved}", "--channels=2"], "channels: expected 1 or 3, got 2"),
    ],
)
def test_files_and_exports(name, arguments, message, program, tmp_path):
    saved = tmp_path / "saved"
    assert_error(program(name, *(word.format(saved=saved) for word in arguments)), f"blade-{name}: {message}")
    assert not saved.exists()


@pytest.mark.parametrize("name", ["apply", "evaluate", "export"])
def test_unknown_models_bring_the_nearest(name, program, tmp_path):
    rest = {
        "apply": [f"--input={programs.CONFIG}", f"--output={tmp_path / 'out'}"],
        "evaluate": [f"--images={tmp_path}", f"--output={tmp_path / 'out'}"],
        "export": [f"--output={tmp_path / 'out'}"],
    }[name]
    message = f"blade-{name}: model: unknown name or path 'tv_flow_papr', did you mean 'tv_flow_paper'?"
    assert_error(program(name, "--model=tv_flow_papr", *rest), message)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def get_config(:\n", "line 1: invalid syntax"),
        ("x = 1\n", "expected a file with a function get_config()"),
        ("def get_config():\n    return {'train': 1}\n", "get_config() did not return a ConfigDict"),
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
        (
            "from blade_tf import config\ndef get_config():\n  c = config.default()\n  c.train.step = 3\n  return c\n",
            "unknown key 'step', did you mean 'steps'?",
        ),
        (None, "no such file"),
    ],
)
def test_config_files_that_are_wrong(text, message, program, tmp_path):
    path = tmp_path / "wrong.py"
    if text is not None:
        path.write_text(text)
    arguments = f"--config={path}", "--data=x", "--workdir=y"
    assert_error(program("train", *arguments), f"blade-train: --config={path}: {message}")


def test_config_files_of_wrong_values(program, tmp_path):
    path = tmp_path / "wrong.py"
    path.write_text(
        "from blade_tf import config\n\ndef get_config():\n    c = config.default()\n    c.seed = 'x'\n    return c\n"
    )
    outcome = program("train", f"--config={path}", "--data=x", "--workdir=y")
    assert outcome.status == 1
    (line,) = outcome.err.splitlines()
    assert line.startswith(f"blade-train: flag --config={path}: Error whilst parsing config file: TypeError: ")


def test_prepare_and_train_tell_what_they_did(data, workdir):
    folder = data.parent
    assert (folder / "out").read_text() == (
        f"9 photographs, 21 sequences for training and 6 for validation in {data}; 0 photographs left out\n"
    )
    assert "prepare: 100%" in (folder / "err").read_text()
    assert (workdir.parent / "out").read_text() == f"trained tiny: {workdir}/model\n"
    progress = (workdir.parent / "err").read_text()
    for text in (
        r"least squares: [1-9]\d*pass ",
        "train: 100%",
        r"step 30: validation PSNR \d+\.\d\d dB\n",
        r"validation PSNR: trained \d+\.\d\d dB, least_squares \d+\.\d\d dB, single_filter \d+\.\d\d dB\n",
    ):
        assert re.search(text, progress)


def test_prepare_lists_what_it_left_out(program, tmp_path, photographs):
    folder = tmp_path / "photographs"
    folder.mkdir()
    (folder / "b.png").write_bytes(b"no picture")
    (folder / "e.png").write_bytes(b"nor this")
    (folder / os.fsdecode(b"\xe9.png")).write_bytes(b"")
    quick = [f"--config={programs.CONFIG}", "--config.reference.steps_per_frame=1", "--config.reference.frames=1"]
    outcome = program("prepare", *quick, f"--images={folder}", f"--output={tmp_path / 'data'}", "--workers=1")
    assert outcome.status == 1
    assert outcome.err.splitlines()[-1].startswith("blade-prepare: images: no usable photograph among the 3 in ")
    (folder / "e.png").unlink()
    for name in ("a.png", "c.png", "d.png"):
        (folder / name).write_bytes((photographs / "camera.png").read_bytes())
    outcome = program("prepare", *quick, f"--images={folder}", f"--output={tmp_path / 'other'}", "--workers=1")
    assert outcome.status == 0
    assert outcome.out.splitlines()[-3:] == [
        f"3 photographs, 6 sequences for training and 3 for validation in {tmp_path / 'other'}; 2 photographs left out",
        f"  b.png: {folder}/b.png: not a PNG, JPEG, TIFF, WebP or BMP file",
        f"  \\udce9.png: {folder}/\\udce9.png: the file is empty",
    ]


def test_evaluate_prints_the_table(program, workdir, tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    pixels = skimage.data.camera()[100:148, 200:248, None].astype("float32") / 255
    image_io.write_image(folder / "a.png", image_io.Image(pixels))
    arguments = f"--images={folder}", f"--output={tmp_path / 'out'}"
    outcome = program("evaluate", f"--model={workdir / 'model'}", *arguments)
    assert outcome.status == 0
    assert "evaluate: 100%" in outcome.err
    first = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert [line.split()[0] for line in outcome.out.splitlines()[3:11]] == [row["name"] for row in first["rows"]]
    outcome = program("evaluate", f"--model={workdir / 'model.keras'}", f"--config={programs.CONFIG}", *arguments)
    assert outcome.status == 0
    second = json.loads((tmp_path / "out" / "metrics.json").read_text())
    # A .keras file does not say which form it has, nor holds what the other rows need.
    blade = first["rows"][7]
    assert blade["what"] == "BLADE, trained end to end (plain)"
    blade["what"] = "BLADE, trained end to end"
    assert second["rows"] == [*(first["rows"][k] for k in (0, 1, 3)), blade]


def test_an_export_is_there_whole_or_not_at_all(start, program, workdir, tmp_path):
    folder = tmp_path / "exports"
    folder.mkdir()
    arguments = f"--model={workdir / 'model'}", f"--output={folder / 'saved'}", "--portable"
    stopped = start("export", *arguments).signal_when(signal.SIGTERM, lambda: any(folder.iterdir()))
    if stopped.status:
        assert stopped.status == 128 + signal.SIGTERM
        assert os.listdir(folder) == []
        again = program("export", *arguments)
        assert again.out == f"exported {workdir / 'model'}: {folder / 'saved'}\n"
        assert "signature" not in again.err
    assert os.listdir(folder) == ["saved"]
    assert_error(program("export", *arguments), f"blade-export: output: {folder / 'saved'} exists; choose a new folder")


def test_a_module_runs_as_a_program():
    command = [sys.executable, "-m", "blade_tf.cli.apply", "--inputs=x"]
    done = subprocess.run(command, cwd=SOURCES, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "blade-apply: Unknown command line flag 'inputs'. Did you mean: input ?"


def test_a_console_script_is_quiet(tmp_path, workdir):
    script = tmp_path / "blade-apply"
    script.write_text("from blade_tf.cli.apply import main\n\nif __name__ == '__main__':\n    main()\n")
    pixels = skimage.data.camera()[:40, :40, None].astype("float32") / 255
    image_io.write_image(tmp_path / "in.png", image_io.Image(pixels))
    command = [f"--model={workdir / 'model'}", f"--input={tmp_path / 'in.png'}", f"--output={tmp_path / 'out.png'}"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
    done = subprocess.run(
        [sys.executable, script, *command],
        env={**environment, "PYTHONPATH": str(SOURCES)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "out.png").exists()
