import os
import re
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
        return lambda running: lambda: text in running.err.read_text()

    def another(pattern):
        def sign(_):
            before = set(folder.glob(pattern))
            return lambda: bool(set(folder.glob(pattern)) - before)

        return sign

    # A checkpoint just written, one being written, any time in the training.
    between = [
        (0.02, another("checkpoints/*.index")),
        (0.02, another("checkpoints/*")),
        (0.5, printed("train:")),
    ]
    stages = [
        (0.02, printed("least squares:")),
        (0.005, another("start.*")),
        *[between[k % 3] for k in range(count - 3)],
        (0.2, another("model/*")),
    ]
    return [
        lambda running, latest=latest, sign=sign: Moment(rng.uniform(0, latest), sign(running))
        for latest, sign in stages[len(stages) - count :]
    ]


def first_steps(progress):
    """The step at which a run began to train, if it came so far."""
    return {int(step) for step in re.findall(r"train: .*?\| (\d+)/60", progress)[:1]}


def test_a_run_that_is_killed_ends_as_one_that_is_not(start, program, data, workdir, tmp_path):
    folder = tmp_path / "run"
    arguments = f"--config={programs.CONFIG}", f"--data={data}", f"--workdir={folder}"
    killed, resumed_at = 0, set()
    for moment in moments(folder, KILLS):
        running = start("train", *arguments)
        status = running.signal_when(signal.SIGKILL, moment(running)).status
        assert status in (0, -signal.SIGKILL)
        killed += status != 0
        resumed_at |= first_steps(running.err.read_text())
    outcome = program("train", *arguments)
    assert outcome.status == 0, outcome.err
    assert killed >= KILLS // 2
    assert any(0 < step < 60 for step in resumed_at)
    for name in FINAL:
        assert (folder / name).read_bytes() == (workdir / name).read_bytes(), name
