"""A million events that nobody should send, through all that evdump does to one."""

import os

import pytest

from tools.fuzz import Fuzz

pytestmark = [pytest.mark.load, pytest.mark.timeout(1800)]

COUNT = int(os.environ.get("FUZZ_COUNT", "1000000"))


def test_a_million_mutated_events_never_stop_the_line():
    fuzz = Fuzz()
    fuzz.run(seed=20261120, count=COUNT)
    assert fuzz.events > 0.9 * COUNT
    assert fuzz.injected > 0.2 * COUNT
