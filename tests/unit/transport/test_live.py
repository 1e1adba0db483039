from contextlib import ExitStack

import pytest

from evtools.transport import ConnectionSettings
from evtools.transport.live import open_live


@pytest.fixture
def stack():
    with ExitStack() as stack:
        yield stack


def test_a_broker_is_listened_to_as_the_settings_say(stack):
    settings = ConnectionSettings(urls="memory://nobody")
    receiver = open_live(settings, [].append, demo=False, stack=stack)
    assert receiver.settings is settings


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
