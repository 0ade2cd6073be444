"""Training of every form, and which of its states is kept."""

import json

import numpy as np
import pytest
import tensorflow as tf

from blade_tf import models, train
from blade_tf.data import batches
from blade_tf.summaries import psnr_by_step
from blade_tf.tasks import EVOLUTION

S = "model.selection."
FORMS = {
    "plain, midpoint": {"model.method": "midpoint"},
    "convex": {"model.form": "convex", "train.learning_rate": 0.05},
    "flux": {"model.form": "flux", "model.footprint": (3, 4)},
    "flux, soft": {
        "model.form": "flux",
        "model.footprint": (3, 4),
        "model.functions": ("identity", "double_well"),
        "model.tied": False,
        S + "soft": "strength",
        S + "orientations": 3,
    },
    "pairs": {"model.form": "pairs", "model.footprint": (5, 5), "train.learning_rate": 0.06, S + "orientations": 3},
    "pairs, soft": {
        "model.form": "pairs",
        "model.footprint": (5, 5),
        "train.learning_rate": 0.06,
        S + "soft": "orientation",
        S + "orientations": 4,
    },
}
FILES = ("model/model.json", "model/weights.npz", "validation.json", "start.npz")


@pytest.fixture
def short(config):
    """The tiny config with few steps; returns it after changes."""

    def change(overrides):
        few = {
            "train.steps": 24,
            "train.warmup_steps": 4,
            "train.checkpoint_every": 5,
            "train.validate_every": 8,
            "train.fit_iterations": 6,
            "train.fit_sequences": 10,
        }
        config.update_from_flattened_dict(few | overrides)
        return config

    return change


def psnr_of(bank, spec, data, config):
    model = models.build(spec, "trajectory")
    models.set_bank(model, bank)
    return float(psnr_by_step(model, EVOLUTION.pair, batches.load_data(data, config).validation)[:, -1].mean())


class Killed(BaseException):
    pass


def killed_at(step, monkeypatch, *arguments):
    """A run of train.train that dies in the midst of a step."""
    update = train._Trainer.update

    def dying(self, batch):
        if int(self.step) + 1 == step:
            raise Killed
        return update(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr(train._Trainer, "update", dying)
        with pytest.raises(Killed):
            train.train(*arguments)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_trains_and_a_killed_run_ends_as_one_that_is_not(form, short, data, tmp_path, monkeypatch):
    config = short(FORMS[form])
    trained = train.train(config, data, tmp_path / "through")
    psnr = json.loads((tmp_path / "through" / "validation.json").read_text())["psnr"]
    print(form, psnr)
    assert psnr["trained"] > psnr["least_squares"]
    loaded = models.load(tmp_path / "through" / "model.keras")
    for name, variable in loaded.rates[0].bank.items():
        np.testing.assert_array_equal(variable, trained.weights[f"trained/{name}"])
    killed_at(14, monkeypatch, config, data, tmp_path / "killed")
    assert tf.train.latest_checkpoint(tmp_path / "killed" / "checkpoints").endswith("ckpt-10")
    train.train(config, data, tmp_path / "killed")
    for name in FILES:
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "through" / name).read_bytes(), name
