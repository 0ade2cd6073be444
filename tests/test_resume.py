import os
import signal
import time

import numpy as np

import programs

KILLS = int(os.environ.get("BLADE_TF_KILLS", "5"))
FINAL = ("model/model.json", "model/weights.npz", "validation.json", "start.json", "start.npz")


class Moment:
    """A random time after the first sign of something, for Program.signal_when."""

    def __init__(self, seconds, sign):
        self.seconds, self.sign, self.since = seconds, sign, None

    def __call__(self):
        if self.since is None and self.sign():
            self.since = time.monotonic()
        return self.since is not None and time.monotonic() >= self.since + self.seconds


def moments(folder, count):
    """Random moments at which to kill, in the order in which a run reaches them; each takes the Program that runs."""
    rng = np.random.default_rng(count)

    def printed(text):
        return lambda running: lambda: running.err.exists() and text in running.err.read_text()

    def a_file(pattern):
        return lambda _: lambda: any(folder.glob(pattern))

    def a_checkpoint(_):
        names = set(folder.glob("checkpoints/*"))
        return lambda: set(folder.glob("checkpoints/*")) != names

    stages = [
        (0.05, printed("least squares:")),
        (0.005, a_file("run.json")),
        *[(0.02, a_checkpoint) if k % 2 == 0 else (0.5, printed("train:")) for k in range(count - 3)],
        (0.2, a_file("model/*")),
    ]
    return [
        lambda running, latest=latest, sign=sign: Moment(rng.uniform(0, latest), sign(running))
        for latest, sign in stages[len(stages) - count :]
    ]


def test_a_run_that_is_killed_ends_as_one_that_is_not(start, program, data, workdir, tmp_path):
    folder = tmp_path / "run"
    arguments = f"--config={programs.CONFIG}", f"--data={data}", f"--workdir={folder}"
    killed = 0
    for moment in moments(folder, KILLS):
        running = start("train", *arguments)
        status = running.signal_when(signal.SIGKILL, moment(running)).status
        assert status in (0, -signal.SIGKILL)
        killed += status != 0
    assert killed >= KILLS // 2
    outcome = program("train", *arguments)
    assert outcome.status == 0, outcome.err
    for name in FINAL:
        assert (folder / name).read_bytes() == (workdir / name).read_bytes(), name
