import dataclasses

import pytest

from evtools.top.options import Check, TopOptions


def test_nothing_is_asked_for_by_default():
    options = TopOptions()
    assert (options.view, options.window, options.refresh) == ("tasks", "5m", 1.0)
    assert not any((options.batch, options.check, options.read, options.write))
    assert not options.read_only


def test_options_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TopOptions().view = "types"


def test_a_check_is_about_life_unless_more_is_asked():
    check = Check(workers=("w@h",))
    assert (check.queues, check.max_idle) == ((), None)
