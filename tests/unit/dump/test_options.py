import dataclasses

import pytest

from evtools.dump.options import MAX_SPEED, DumpOptions


def test_without_wishes_all_events_are_printed():
    options = DumpOptions()
    assert (options.filters, options.excludes, options.heartbeats) == ((), (), True)
    assert (options.print, options.write, options.read) == (True, "", ())
    assert options.speed == MAX_SPEED


def test_options_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        DumpOptions().count = 1
