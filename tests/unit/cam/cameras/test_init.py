from importlib import import_module

import pytest

from evtools.cam.camera import Camera
from evtools.cam.camera_options import signature_of
from evtools.cam.cameras import BUILT_IN


@pytest.mark.parametrize("name", BUILT_IN)
def test_each_is_a_camera_with_the_option_that_its_value_stands_for(name):
    entry = BUILT_IN[name]
    module, _, attribute = entry.where.partition(":")
    camera = getattr(import_module(module), attribute)
    assert issubclass(camera, Camera)
    signature = signature_of(camera)
    assert entry.value in signature.options
    assert not signature.is_open


def test_each_says_what_it_does_in_a_line():
    for entry in BUILT_IN.values():
        assert entry.what
        assert len(entry.what) < 70
