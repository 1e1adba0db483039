import json
from contextlib import ExitStack

import pytest

from evtools.clock import SystemClock
from evtools.errors import UsageError
from evtools.top.options import TopOptions
from evtools.top.source import open_source, watched
from evtools.transport import ConnectionSettings, EventReceiver
from evtools.transport.recording.reader import RecordingReader

SETTINGS = ConnectionSettings(urls="memory://nobody")


@pytest.fixture
def stack():
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "x.jsonl"
    lines = [{"type": "x", "local_received": float(number)} for number in range(5)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def opened(stack, told=None, settings=SETTINGS, **options):
    return open_source(
        TopOptions(**options),
        settings,
        (told if told is not None else []).append,
        clock=SystemClock(),
        stack=stack,
    )


def test_a_recording_is_replayed_and_stays_open(stack, recording):
    told = []
    tape = opened(stack, told, read=(recording,), since=1.0, until=2.0, speed=4.0)
    assert isinstance(tape, RecordingReader)
    assert (tape.speed, tape.stays) == (4.0, True)
    batches = tape.batches(0.0)
    assert [event["local_received"] for event in next(batches)] == [1.0]
    tape.seek(9.0)
    assert [event["local_received"] for event in next(batches)] == [2.0]
    next(batches)
    assert [notice.kind for notice in told] == ["ended"]


def test_in_batch_mode_a_recording_ends(stack, recording):
    tape = opened(stack, read=(recording,), batch=True, speed=float("inf"))
    assert sum(len(batch) for batch in tape.batches()) == 5


def test_a_recording_that_is_not_there_is_refused(stack):
    with pytest.raises(UsageError, match="cannot read"):
        opened(stack, read=("/none",))


def test_otherwise_a_broker_is_listened_to(stack):
    receiver = opened(stack)
    assert isinstance(receiver, EventReceiver)
    assert receiver.settings is SETTINGS


def test_with_a_demo_the_cluster_is_the_simulated_one():
    assert watched(TopOptions(), SETTINGS) is SETTINGS
    demo = watched(TopOptions(demo=True), SETTINGS)
    assert (demo.urls, demo.source_of_url) == ("memory://demo", "--demo")
