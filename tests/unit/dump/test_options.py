import dataclasses
from typing import get_args

import pytest

from evtools.dump.options import (
    MAX_SPEED,
    OUTPUTS,
    TIMESTAMPS,
    DumpOptions,
    Output,
    Timestamps,
)


def test_without_wishes_all_events_are_printed():
    options = DumpOptions()
    assert (options.filters, options.excludes, options.heartbeats) == ((), (), True)
    assert (options.print, options.write, options.read) == (True, "", "")
    assert options.speed == MAX_SPEED


def test_options_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        DumpOptions().count = 1


def test_the_choices_are_those_of_the_types():
    assert get_args(Output) == OUTPUTS
    assert get_args(Timestamps) == TIMESTAMPS
