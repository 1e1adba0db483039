import json
from contextlib import ExitStack

import pytest

from evtools.cam.options import CamOptions
from evtools.cam.source import open_source
from evtools.clock import SystemClock
from evtools.errors import UsageError
from evtools.transport import ConnectionSettings, EventReceiver
from evtools.transport.recording.reader import RecordingReader


@pytest.fixture
def stack():
    with ExitStack() as stack:
        yield stack


def opened(stack, settings=None, **options):
    return open_source(
        CamOptions(**options),
        settings or ConnectionSettings(urls="memory://nobody"),
        [].append,
        clock=SystemClock(),
        stack=stack,
    )


def test_a_recording_is_replayed_to_its_end(stack, tmp_path):
    path = tmp_path / "x.jsonl"
    lines = [{"type": "x", "local_received": float(number)} for number in range(5)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    tape = opened(stack, read=(str(path),))
    assert isinstance(tape, RecordingReader)
    assert sum(len(batch) for batch in tape.batches()) == 5


def test_a_recording_that_is_not_there_is_refused(stack):
    with pytest.raises(UsageError, match="cannot read"):
        opened(stack, read=("/none",))


def test_otherwise_a_broker_is_listened_to(stack):
    settings = ConnectionSettings(urls="memory://nobody")
    receiver = opened(stack, settings=settings)
    assert isinstance(receiver, EventReceiver)
    assert receiver.settings is settings


def test_a_broker_that_cannot_work_is_refused_at_once(stack):
    with pytest.raises(UsageError, match="SQS"):
        opened(stack, settings=ConnectionSettings(urls="sqs://x"))


def test_a_simulated_cluster_needs_no_broker(stack):
    receiver = opened(stack, ConnectionSettings(urls="sqs://x"), demo=True)
    assert receiver.settings.urls == "memory://demo"
