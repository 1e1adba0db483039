from contextlib import ExitStack

import pytest

from evtools.transport import ConnectionSettings, Statistics
from evtools.transport.receiver import open_live
from evtools.transport.source import DOCTOR, SilenceHint
from tools.clock import FakeClock


@pytest.fixture
def stack():
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("read_only", [False, True])
def test_the_simulated_cluster_sends_even_to_who_only_reads(stack, read_only):
    told = []
    settings = ConnectionSettings(urls="redis://unused", read_only=read_only)
    receiver = open_live(settings, told.append, demo=True, stack=stack)
    for events in receiver.batches(5.0):
        if any(event["type"] == "worker-heartbeat" for event in events):
            break
    assert [notice.kind for notice in told] == ["listening"]
    assert receiver.settings.read_only is read_only
    assert receiver.settings.urls == "memory://demo"


class Source:
    """A source that has had some messages."""

    messages = 0

    def statistics(self):
        return Statistics(messages=self.messages)


def test_silence_is_reported_once_and_not_at_once():
    clock, source = FakeClock(1000.0), Source()
    hint, other = SilenceHint(source, clock), SilenceHint(Source(), clock)
    clock.now += 9.9
    assert hint.words() == other.words() == ""
    source.messages = 1
    clock.now += 0.1
    assert other.words() == f"nothing has come for 10s; {DOCTOR}"
    assert hint.words() == ""
    source.messages = 0
    clock.now += 3600
    assert hint.words() == other.words() == ""
