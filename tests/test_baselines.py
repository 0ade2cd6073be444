import math

import numpy as np
import pytest

from blade_tf import baselines, metrics
from blade_tf import config as config_lib
from blade_tf.data import records, reference


@pytest.fixture
def inputs(data):
    """Two photographs' frame 0 on the operating grid."""
    reader = records.RecordReader(sorted(data.glob("train-*.tfrecord")))
    return reader.batch([0, 4])[:, 0]


def planted(inputs, config, steps, **changes):
    final = reference.coarse_sequence(inputs, config, steps, **changes).numpy()
    return np.stack([inputs, final], axis=1)


def test_the_paper_config_converges_in_510_steps():
    # T = 12.75 gray px; dt <= epsilon / 4 = 0.025 gray px.
    config = config_lib.default()
    assert baselines.converged_steps(config) == 510
    config.reference.dt *= 1 + 1e-6
    assert baselines.converged_steps(config) == 511
    config.pde.parameters.epsilon = 4.0
    assert baselines.converged_steps(config) == 10, "never fewer than BLADE's"


def test_planted_parameters_are_found(inputs, config):
    epsilon = config.pde.parameters.epsilon
    sequences = planted(inputs, config, 50, time_scale=0.98, epsilon=2 * epsilon)
    tuned = baselines.tune_coarse(sequences, config, steps=(1, 10, 50))
    assert tuned["steps"] == 50
    assert tuned["time_scale"] == pytest.approx(0.98, abs=0.01)  # the search's resolution
    assert tuned["parameters"] == {"epsilon": pytest.approx(2 * epsilon)}
    assert tuned["psnr"] > 70


def test_an_exact_start_stays(inputs, config):
    tuned = baselines.tune_coarse(planted(inputs, config, 25), config, steps=(10, 25))
    assert tuned == {
        "steps": 25,
        "time_scale": 1.0,
        "parameters": {"epsilon": config.pde.parameters.epsilon},
        "psnr": math.inf,
    }


def test_tuning_never_loses_to_where_it_starts(data, config):
    reader = records.RecordReader(sorted(data.glob("validation-*.tfrecord")))
    sequences = reader.batch(range(len(reader)))
    steps = (10, 50)
    untuned = [
        np.mean(metrics.psnr(sequences[:, -1], reference.coarse_sequence(sequences[:, 0], config, count)))
        for count in steps
    ]
    tuned = baselines.tune_coarse(sequences, config, steps)
    assert tuned["psnr"] >= max(untuned)
    found = reference.coarse_sequence(
        sequences[:, 0], config, tuned["steps"], time_scale=tuned["time_scale"], **tuned["parameters"]
    )
    assert np.mean(metrics.psnr(sequences[:, -1], found)) == pytest.approx(tuned["psnr"], abs=1e-9)


def test_a_candidate_that_is_not_finite_does_not_win(inputs, config, monkeypatch):
    compute = reference.coarse_sequence

    def overflowing(image, config, steps, **changes):
        return compute(image, config, steps, **changes) * (np.nan if steps == 10 else 1)

    sequences = planted(inputs, config, 50, time_scale=0.98)
    monkeypatch.setattr(reference, "coarse_sequence", overflowing)
    tuned = baselines.tune_coarse(sequences, config, steps=(10, 25, 50))
    assert tuned["steps"] != 10
    assert tuned["psnr"] > 60
