"""TensorFlow's start-up messages, in programs."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

import blade_tf

SOURCE = pathlib.Path(blade_tf.__file__).parent.parent
NOTICE = "I0000 00:00:1 port.cc:153] oneDNN custom operations are on. You may see slightly different results."
HEAD = "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR"
BROKEN = f"""
import os
os.write(2, b{HEAD + chr(10)!r} + b{NOTICE + chr(10)!r} + b"something else\\n")
raise ImportError("libtensorflow is missing")
"""
ABORTED = """
import os
os.write(2, b"this processor lacks AVX\\n")
os.abort()
"""
WORKERS = """
import sys
sys.orig_argv[0] = "blade-test"
import blade_tf
from blade_tf import parallel
if __name__ == "__main__":
    print(sorted(parallel.run(abs, [(-1,), (2,)], workers=2)))
"""

NO_FORK = """
import os
def fork():
    raise OSError("no more processes")
os.fork = fork
try:
    import blade_tf
except ImportError as error:
    print(repr(error))
"""


def run(*arguments, folder="", shell='exec "$@"', **environment):
    """A fresh Python, whose stderr is returned."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("TF_", "BLADE_TF_"))}
    variables |= {"PYTHONPATH": os.pathsep.join(filter(None, (str(folder), str(SOURCE))))} | environment
    command = ["sh", "-c", shell, "sh", sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)


def test_a_program_starts_without_a_word():
    ended = run("-m", "blade_tf.cli.apply", "--help")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_processes_of_a_program_start_without_a_word(tmp_path):
    script = tmp_path / "workers.py"
    script.write_text(WORKERS)
    ended = run(script)
    assert ended.stdout == "[1, 2]\n"
    assert "oneDNN" not in ended.stderr
    assert "absl" not in ended.stderr


def test_a_program_starts_without_stderr():
    ended = run("-m", "blade_tf.cli.apply", "--help", shell='exec "$@" 2>&-')
    assert ended.returncode == 0
    assert "--model" in ended.stdout


@pytest.mark.parametrize("quiet", ["0", "1"])
def test_other_messages_and_errors_pass(tmp_path, quiet):
    (tmp_path / "tensorflow.py").write_text(BROKEN)
    ended = run("-c", "import blade_tf", folder=tmp_path, BLADE_TF_QUIET=quiet)
    assert "something else" in ended.stderr.splitlines()
    assert ended.stderr.endswith("ImportError: libtensorflow is missing\n")
    assert (NOTICE in ended.stderr, HEAD in ended.stderr) == (quiet == "0",) * 2


def test_the_last_words_of_an_import_that_aborts_are_shown(tmp_path):
    (tmp_path / "tensorflow.py").write_text(ABORTED)
    ended = run("-c", "import blade_tf", folder=tmp_path, BLADE_TF_QUIET="1")
    assert ended.returncode == -signal.SIGABRT
    assert ended.stderr == "this processor lacks AVX\n"


def test_what_cannot_be_written_changes_nothing(tmp_path):
    (tmp_path / "tensorflow.py").write_text(BROKEN)
    script = tmp_path / "script.py"
    script.write_text("try:\n    import blade_tf\nexcept Exception as error:\n    print(repr(error))\n")
    ended = run(script, folder=tmp_path, shell='exec "$@" 2>/dev/full', BLADE_TF_QUIET="1")
    assert ended.stdout == "ImportError('libtensorflow is missing')\n"


def test_a_program_starts_where_ended_processes_are_ignored():
    ended = run("-m", "blade_tf.cli.apply", "--help", shell='trap "" CHLD; exec "$@"')
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "--model" in ended.stdout


def test_a_program_starts_where_no_process_can_be_made(tmp_path):
    (tmp_path / "tensorflow.py").write_text(BROKEN)
    script = tmp_path / "script.py"
    script.write_text(NO_FORK)
    ended = run(script, folder=tmp_path, BLADE_TF_QUIET="1")
    assert ended.stdout == "ImportError('libtensorflow is missing')\n"
    assert NOTICE in ended.stderr
