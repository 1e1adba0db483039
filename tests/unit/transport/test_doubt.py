import pytest

from evtools.transport import Statistics
from evtools.transport.live import DOCTOR, SilenceHint
from tools.clock import FakeClock


class Source:
    """A source that has had so many messages."""

    messages = 0

    def statistics(self):
        return Statistics(messages=self.messages)


@pytest.fixture
def clock():
    return FakeClock(1000.0)


def test_silence_is_told_once_and_not_at_once(clock):
    doubt = SilenceHint(Source(), clock)
    assert doubt.words() == ""
    clock.now += 9.9
    assert doubt.words() == ""
    clock.now += 0.1
    assert doubt.words() == f"nothing has come for 10s; {DOCTOR}"
    clock.now += 3600
    assert doubt.words() == ""


def test_after_anything_has_come_there_is_no_doubt_for_good(clock):
    source = Source()
    doubt = SilenceHint(source, clock)
    source.messages = 1
    clock.now += 10
    assert doubt.words() == ""
    source.messages = 0
    clock.now += 10
    assert doubt.words() == ""
