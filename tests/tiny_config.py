"""A model small enough to be trained within a test: TV flow, 48 filters of 3x3."""

import ml_collections

from blade_tf import config as config_lib


def get_config() -> ml_collections.ConfigDict:
    c = config_lib.default()
    c.name = "tiny"
    c.pde.parameters.epsilon = 4 / 255  # large, so that few steps are stable
    c.reference.steps_per_frame = 20
    c.reference.dt = 2.4e-4
    c.data.crop = 128
    c.data.min_side = 200
    c.data.images_per_shard = 2
    c.data.validation_every = 4
    c.model.footprint = (3, 3)
    c.model.selection.orientations = 8
    c.model.selection.coherence_quantiles = (0.5,)
    c.train.steps = 60
    c.train.batch = 4
    c.train.crop = 24
    c.train.warmup_steps = 10
    c.train.checkpoint_every = 10
    c.train.summary_every = 10
    c.train.validate_every = 30
    return c
