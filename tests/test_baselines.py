import math

import ml_collections
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


def test_converged_are_as_many_steps_as_the_reference_takes_or_more_where_stability_asks_for_more():
    # T = 12.75 gray px; dt <= epsilon / 4 = 0.025 gray px.
    config = config_lib.default()
    assert baselines.converged_steps(config) == 2550
    config.reference.steps_per_frame = 51
    config.reference.dt *= 5
    assert baselines.converged_steps(config) == 510
    config.reference.dt *= 2
    assert baselines.converged_steps(config) == 1020
    config.reference.dt *= 1 + 1e-6
    assert baselines.converged_steps(config) == 1021


def test_a_stable_step_is_not_taken_for_a_converged_one():
    """Splitting is stable for any step, Cahn-Hilliard's scheme for steps 25 times the reference's."""
    config = config_lib.default()
    config.pde.name = "tv_flow_aos"
    assert baselines.converged_steps(config) == 2550
    assert baselines.converged_steps(config_lib.default("cahn_hilliard")) == 500


def test_planted_parameters_are_found(inputs, config):
    epsilon = config.pde.parameters.epsilon
    sequences = planted(inputs, config, 50, time_scale=0.98, epsilon=2 * epsilon)
    tuned = baselines.tune_coarse(sequences, config, steps=(1, 10, 50))
    assert (tuned["scheme"], tuned["steps"]) == ("tv_flow", 50)
    assert tuned["time_scale"] == pytest.approx(0.98, abs=0.01)  # the search's resolution
    assert tuned["parameters"] == {"epsilon": pytest.approx(2 * epsilon)}
    assert tuned["psnr"] > 70


def test_an_exact_start_stays(inputs, config):
    tuned = baselines.tune_coarse(planted(inputs, config, 25), config, steps=(10, 25))
    assert tuned == {
        "scheme": "tv_flow",
        "steps": 25,
        "time_scale": 1.0,
        "parameters": {"epsilon": config.pde.parameters.epsilon},
        "psnr": math.inf,
    }


def test_the_planted_scheme_is_found(inputs, config):
    epsilon = config.pde.parameters.epsilon
    sequences = planted(inputs, config, 5, scheme="tv_flow_aos", time_scale=0.98, epsilon=2 * epsilon)
    tuned = baselines.tune_coarse(sequences, config, steps=(5, 10))
    assert (tuned["scheme"], tuned["steps"]) == ("tv_flow_aos", 5)
    assert tuned["parameters"] == {"epsilon": pytest.approx(2 * epsilon)}
    assert tuned["psnr"] > 70


def test_a_schemes_own_parameters_are_tuned_too(inputs):
    config = config_lib.default("cahn_hilliard")
    sequences = planted(inputs, config, 5, scheme="cahn_hilliard_stabilised", gamma=0.25, stabilisation=2.0)
    tuned = baselines.tune_coarse(sequences, config, steps=(5,))
    assert tuned["scheme"] == "cahn_hilliard_stabilised"
    assert tuned["parameters"] == {"gamma": pytest.approx(0.25), "stabilisation": pytest.approx(2.0)}
    assert tuned["time_scale"] == pytest.approx(1, abs=0.01)


def test_the_search_does_not_leave_a_parameters_range(inputs, monkeypatch):
    config = config_lib.default("ced")
    config.pde.parameters = ml_collections.ConfigDict({"alpha": 0.8})
    monkeypatch.setattr(baselines.pdes, "schemes", lambda name: [name])
    tuned = baselines.tune_coarse(planted(inputs, config, 5, time_scale=1.05, alpha=1.0), config, steps=(5,))
    assert 0.8 <= tuned["parameters"]["alpha"] <= 1


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
        sequences[:, 0],
        config,
        tuned["steps"],
        scheme=tuned["scheme"],
        time_scale=tuned["time_scale"],
        **tuned["parameters"],
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
