import pathlib
import shutil

import pytest
import skimage

import programs
import tiny_config

PHOTOGRAPHS = (
    "astronaut.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "rocket.jpg",
)


@pytest.fixture
def config():
    """The tiny config, a new copy."""
    return tiny_config.get_config()


@pytest.fixture
def start(tmp_path):
    """start(name, *arguments) starts the program blade-NAME."""
    count = iter(range(1000))
    return lambda name, *arguments: programs.Program(tmp_path / f"program-{next(count)}", name, *arguments)


@pytest.fixture
def program(start):
    """program(name, *arguments) runs the program blade-NAME to its end."""
    return lambda name, *arguments: start(name, *arguments).wait()


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """A folder of photographs, one of them in a subfolder."""
    folder = tmp_path_factory.mktemp("photographs")
    source = pathlib.Path(skimage.__file__).parent / "data"
    (folder / "more").mkdir()
    for name in PHOTOGRAPHS:
        shutil.copy(source / name, folder / "more" / name if name == "rocket.jpg" else folder / name)
    return folder


@pytest.fixture(scope="session")
def data(photographs, tmp_path_factory):
    """The photographs, prepared with the tiny config."""
    folder = tmp_path_factory.mktemp("prepared")
    arguments = f"--config={programs.CONFIG}", f"--images={photographs}", f"--output={folder / 'data'}"
    outcome = programs.Program(folder, "prepare", *arguments).wait()
    assert outcome.status == 0, outcome.err
    return folder / "data"


@pytest.fixture(scope="session")
def workdir(data, tmp_path_factory):
    """The folder of a finished training run on the prepared data."""
    folder = tmp_path_factory.mktemp("trained")
    arguments = f"--config={programs.CONFIG}", f"--data={data}", f"--workdir={folder / 'run'}"
    outcome = programs.Program(folder, "train", *arguments).wait()
    assert outcome.status == 0, outcome.err
    return folder / "run"
