import json

import pytest

from evtools.errors import OutputError
from evtools.top.recording import Recording
from evtools.transport.recording.reader import RecordingReader
from tools.clock import FakeClock

EVENTS = [
    {"type": "task-sent", "uuid": "1", "timestamp": 1.0, "local_received": 2.0},
    {"type": "worker-heartbeat", "hostname": "w\x1b@h", "local_received": 3.0},
]


@pytest.fixture
def clock():
    return FakeClock()


def test_what_was_recorded_can_be_replayed(tmp_path, clock):
    recording = Recording(str(tmp_path / "x.jsonl"), clock)
    recording.write(EVENTS)
    recording.settle()
    recording.close()
    recording.close()
    assert (recording.events, recording.error) == (2, "")
    tape = RecordingReader(recording.path, clock=clock)
    assert [event for batch in tape.batches() for event in batch] == EVENTS
    tape.close()


def test_a_line_tells_what_earlier_ones_told_of_its_task(tmp_path, clock):
    recording = Recording(str(tmp_path / "x.jsonl"), clock)
    recording.write([{**EVENTS[0], "name": "proj.add"}])
    recording.write([{"type": "task-failed", "uuid": "1"}])
    recording.close()
    last = json.loads((tmp_path / "x.jsonl").read_text().splitlines()[-1])
    assert (last["name"], last["joined"]) == ("proj.add", ["name", "sent"])


def test_what_was_written_is_there_before_the_end(tmp_path, clock):
    recording = Recording(str(tmp_path / "x.jsonl"), clock)
    recording.write(EVENTS)
    clock.now += 5
    recording.settle()
    lines = (tmp_path / "x.jsonl").read_text().splitlines()
    assert [json.loads(line)["type"] for line in lines] == ["task-sent", "worker-heartbeat"]
    recording.close()


def test_a_file_that_cannot_be_written_is_refused(tmp_path, clock):
    with pytest.raises(OutputError, match="cannot write"):
        Recording(str(tmp_path / "none" / "x"), clock)


def test_a_full_disk_ends_the_recording_and_nothing_else(clock):
    recording = Recording("/dev/full", clock)
    recording.write(EVENTS)
    recording.settle()
    assert "No space left" in recording.error
    recording.write(EVENTS * 9)
    recording.close()
    assert recording.events == 2


def test_a_disk_that_fills_up_in_the_middle_of_a_batch_is_no_exception(clock):
    recording = Recording("/dev/full", clock)
    recording.write([{"type": "x", "text": "y" * 70_000}] * 3)
    assert "No space left" in recording.error
    recording.close()
