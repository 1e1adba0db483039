import dataclasses
import logging

import pytest

from evtools.cam.options import MAX_SPEED, CamOptions


def test_without_wishes_it_shoots_as_often_as_celery():
    options = CamOptions(camera="mod.Camera")
    assert (options.freq, options.cleanup_freq, options.maxrate) == (1.0, 3600.0, "")
    assert (options.once, options.test, options.detach) == (False, False, False)
    assert (options.max_failures, options.umask, options.log_format) == (None,) * 3
    assert options.loglevel == logging.INFO
    assert options.speed == MAX_SPEED


def test_options_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        CamOptions().freq = 1
