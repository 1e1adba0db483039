"""Recordings played back: exactly, at a pace, and in spite of what is in them."""

import gzip
import os
from contextlib import contextmanager

import pytest
from msgspec import UNSET

from evtools.errors import UsageError
from evtools.transport.recording import compression, reader
from evtools.transport.recording.reader import RecordingReader
from evtools.transport.recording.writer import RecordingWriter
from evtools.wire import encode_line, envelope, from_fields
from tools.clock import FakeClock
from tools.gaps import gap

EVENTS = [
    {"type": "task-sent", "uuid": "u", "timestamp": 10.0, "local_received": 100.0},
    {"type": "task-started", "uuid": "u", "timestamp": 11.0, "local_received": 101.0},
    {"type": "task-failed", "uuid": "u", "timestamp": 14.0, "local_received": 104.0},
]


class SleepyClock(FakeClock):
    """Remembers the waits."""

    def __init__(self):
        super().__init__(1000.0)
        self.slept = []

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock():
    return SleepyClock()


@pytest.fixture
def tape_of(tmp_path, clock):
    """Make a tape of lines, or of the bytes of a whole file."""
    tapes = []

    def make(content, **settings):
        path = tmp_path / "tape"
        if not isinstance(content, bytes):
            content = b"".join(
                (line if isinstance(line, bytes) else encode_line(line)) + b"\n" for line in content
            )
        path.write_bytes(content)
        tapes.append(RecordingReader(str(path), clock=clock, sleep=clock.sleep, **settings))
        return tapes[-1]

    yield make
    for tape in tapes:
        tape.close()
        tape.close()


def events_of(tape, timeout=None):
    return [event for batch in tape.batches(timeout) for event in batch]


def kinds_of(tape):
    return {defect.kind: defect.count for defect in tape.statistics().defects}


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz", "x.jsonl.zst"])
def test_what_was_recorded_is_played_back(tmp_path, clock, name):
    writer = RecordingWriter(str(tmp_path / name), clock=clock)
    for number, event in enumerate(EVENTS):
        writer.write(encode_line(envelope(event, {"args": number})))
        writer.flush()
    writer.close()
    tape = RecordingReader(str(tmp_path / name), clock=clock)
    events = [event for batch in tape.events() for event in batch]
    assert [event.as_dict() for event in events] == EVENTS
    assert [event.joined for event in events] == [{"args": n} for n in range(3)]
    assert tape.statistics().events == 3
    done, total = tape.progress()
    assert done == total > 0
    tape.close()


def test_a_bare_event_is_played_back_as_not_recorded(tape_of):
    [[event]] = tape_of([EVENTS[0]]).events()
    assert (event.as_dict(), event.known) == (EVENTS[0], UNSET)
    [[event]] = tape_of([envelope(EVENTS[0])]).events()
    assert (event.as_dict(), event.known) == (EVENTS[0], {})


def test_lines_of_pythons_json_are_understood(tape_of):
    [event] = events_of(tape_of([b'{"type": "x", "n": NaN}']))
    assert event == {"type": "x", "n": "NaN"}


def test_batches_are_bounded(tape_of):
    sizes = [len(batch) for batch in tape_of([EVENTS[0]] * 2500).batches()]
    assert sum(sizes) == 2500
    assert max(sizes) <= 1000


# --- pace -------------------------------------------------------------------------


def arrivals(tape, clock, timeout=None):
    return [(clock.now, event) for batch in tape.batches(timeout) for event in batch]


def test_without_a_speed_nothing_is_waited_for(tape_of, clock):
    events_of(tape_of(EVENTS))
    events_of(tape_of(EVENTS, speed=float("inf")))
    assert clock.slept == []


@pytest.mark.parametrize("speed", [1, 2.0, 0.5])
def test_events_come_at_a_multiple_of_their_pace(tape_of, clock, speed):
    times = [now for now, _ in arrivals(tape_of(EVENTS, speed=speed), clock)]
    waits = [now - 1000.0 for now in times]
    assert waits == pytest.approx([0, 1 / speed, 4 / speed])
    assert max(clock.slept) <= 0.1  # so that it can be stopped


def test_a_timeout_without_an_event_is_an_empty_batch(tape_of, clock):
    batches = list(tape_of(EVENTS[:2], speed=1).batches(0.25))
    assert batches == [EVENTS[:1], [], [], [], EVENTS[1:2]]


@pytest.mark.parametrize("received", [None, "x", 10**400, 1e300, 1763380002000, True, 50.0])
def test_an_event_from_no_time_or_an_earlier_one_comes_at_once(tape_of, clock, received):
    odd = {"type": "x", "local_received": received}
    times = [now for now, _ in arrivals(tape_of([EVENTS[0], odd], speed=1), clock)]
    assert times == [1000.0, 1000.0]


def test_a_bare_event_is_paced_by_when_it_was_sent(tape_of, clock):
    bare = [{"type": "x", "timestamp": 10.0}, {"type": "x", "timestamp": 12}]
    times = [now for now, _ in arrivals(tape_of(bare, speed=1), clock)]
    assert times == pytest.approx([1000.0, 1002.0])


# --- which ------------------------------------------------------------------------


@pytest.mark.parametrize("times", ["local_received timestamp", "timestamp"])
def test_an_event_from_no_time_is_played_whatever_times_are_asked_for(tape_of, times):
    odd = {"type": "x", **dict.fromkeys(times.split(), 1763380002000)}
    for asked in ({"since": 101.0}, {"until": 101.0}):
        assert odd in events_of(tape_of([*EVENTS, odd], **asked))


def test_only_what_was_received_in_time_is_played(tape_of):
    assert events_of(tape_of(EVENTS, since=101.0)) == EVENTS[1:]
    assert events_of(tape_of(EVENTS, until=101.0)) == EVENTS[:2]
    assert events_of(tape_of(EVENTS, since=101.0, until=101.0)) == EVENTS[1:2]
    assert events_of(tape_of(EVENTS, since=1e9)) == []
    assert events_of(tape_of([{"type": "x"}], since=1.0, until=2.0)) == [{"type": "x"}]


def test_what_is_left_out_takes_no_time(tape_of, clock):
    """No wait that grows with what is skipped: there are many chunks of it."""
    lines = [envelope(EVENTS[0] | {"local_received": 100.0 + n}) for n in range(9000)]
    for wanted in ({"since": 9000.0}, {"until": 200.0}, {"since": 1000.0, "until": 1100.0}):
        tape = tape_of(lines, speed=float("inf"), **wanted)
        for _ in tape.batches(0.25):
            pass
        assert tape.statistics().events == 101 if "until" in wanted else 100
    assert clock.slept == []


def test_what_is_left_out_need_not_be_decoded(tape_of, monkeypatch):
    decoded = []
    monkeypatch.setattr(reader, "from_fields", lambda *of: decoded.append(of) or from_fields(*of))
    lines = [envelope(EVENTS[0])] * 500 + [EVENTS[0], envelope(EVENTS[2])]
    tape = tape_of(lines, since=104.0)
    assert events_of(tape) == [EVENTS[2]]
    assert (len(decoded), tape.statistics().messages) == (1, 502)


# --- counters ---------------------------------------------------------------------


def test_gaps_are_played_and_counted(tape_of):
    gaps = [
        gap("reconnect", 1.0, 3.5, error="refused"),
        {**gap("stopped", 1.0, 2.0), "duration": "x"},
        gap("buffer", 1.0, 1.0, dropped=7),
        {**gap("buffer", 1.0, 1.0), "dropped": "many"},
        gap("worker", 1.0, 1.0, hostname="w", missed=3),
    ]
    tape = tape_of([envelope(event) for event in gaps])
    assert events_of(tape) == gaps
    statistics = tape.statistics()
    assert (statistics.events, statistics.messages) == (0, 5)
    assert (statistics.gaps, statistics.gap_seconds) == (2, 2.5)
    assert (statistics.dropped, statistics.missed) == (7, 3)


def test_bad_lines_are_counted_by_kind_and_passed_over(tape_of):
    lines = [
        *(b"", b"  ", b"not json", b"{", b"[1]", b"7", b'{"type":7}', b'{"x":1}'),
        *(b'{"v":2,"type":"x"}', b'{"v":1}', EVENTS[0]),
    ]
    tape = tape_of(lines)
    assert events_of(tape) == EVENTS[:1]
    assert kinds_of(tape) == {
        "no JSON": 2,
        "no object": 2,
        "no type": 3,
        "recording of an unknown version": 1,
    }
    assert tape.statistics().defects[0].sample == b"not json"


def test_a_field_that_cannot_be_had_costs_itself_and_is_counted(tape_of):
    deep = "[" * 2000 + "]" * 2000
    line = f'{{"type": "x", "local_received": 1.0, "odd": {deep}}}'.encode()
    tape = tape_of([EVENTS[0], line])
    found = {"type": "x", "local_received": 1.0, "odd": "<nested too deep>"}
    assert events_of(tape) == [EVENTS[0], found]
    assert kinds_of(tape) == {"nested too deep": 1}
    assert tape.statistics().messages == 2


def test_a_torn_last_line_is_told_and_not_fatal(tape_of):
    line = encode_line(envelope(EVENTS[0]))
    tape = tape_of(line + b"\n" + line[:40])
    assert events_of(tape) == EVENTS[:1]
    assert kinds_of(tape) == {"torn last line": 1}


def test_a_last_line_that_only_lacks_its_end_is_an_event(tape_of):
    assert events_of(tape_of(encode_line(envelope(EVENTS[0])))) == EVENTS[:1]


def test_a_damaged_file_is_played_up_to_the_damage(tape_of):
    lines = encode_line(EVENTS[0]) + b"\n"
    tape = tape_of(gzip.compress(lines) + gzip.compress(lines)[:-4])
    assert events_of(tape)[0] == EVENTS[0]
    assert kinds_of(tape) == {"damaged recording": 1}


def test_a_line_without_end_is_passed_over(tape_of, monkeypatch):
    monkeypatch.setattr(compression, "LINE_BYTES_MAX", 200_000)
    good = encode_line(EVENTS[0])
    tape = tape_of([good, b"x" * 500_000, good])
    assert events_of(tape) == [EVENTS[0]] * 2
    assert kinds_of(tape) == {"line too long": 1}


# --- no recording -----------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [b"\x7fELF\x00\x00\n\x01\n", b"hello\n" * 500, b"x", b"\x00" * 100_000]
)
def test_what_is_no_recording_is_refused(tape_of, content):
    tape = tape_of(content)
    with pytest.raises(UsageError, match="tape is no recording: ") as caught:
        events_of(tape)
    assert "one JSON event per line" in caught.value.hint
    assert events_of(tape) == []


# --- stopping, stdin ----------------------------------------------------------------


def test_a_replay_ends_when_it_is_stopped(tape_of):
    tape = tape_of(EVENTS, speed=1)
    batches = tape.batches()
    assert next(batches) == EVENTS[:1]
    tape.stop()
    assert list(batches) == []
    assert list(tape.batches()) == []


def test_a_wait_for_the_next_event_is_stopped(tmp_path, clock):
    path = tmp_path / "x"
    path.write_bytes(b"".join(encode_line(event) + b"\n" for event in EVENTS))

    def sleep(seconds):
        clock.sleep(seconds)
        tape.stop()

    tape = RecordingReader(str(path), clock=clock, speed=1, sleep=sleep)
    assert events_of(tape) == EVENTS[:1]
    assert len(clock.slept) == 1
    tape.close()


@contextmanager
def piped_stdin():
    """Give the writing end of a pipe at descriptor 0."""
    before = os.dup(0)
    reading, writing = os.pipe()
    os.dup2(reading, 0)
    os.close(reading)
    try:
        yield writing
    finally:
        os.dup2(before, 0)
        os.close(before)


def test_a_pipe_is_followed(clock):
    line = encode_line(EVENTS[0]) + b"\n"
    with piped_stdin() as writing:
        tape = RecordingReader("-", clock=clock)
        batches = tape.batches(0)
        os.write(writing, line + line[:10])
        assert next(batches) == EVENTS[:1]
        assert next(batches) == []
        assert tape.statistics().connected
        assert tape.progress() == (len(line) + 10, None)
        os.write(writing, line[10:])
        assert next(batches) == EVENTS[:1]
        os.close(writing)
        assert list(batches) == []
        tape.close()


# --- steering ---------------------------------------------------------------------


def collected(tape, clock, timeout=0.0):
    """Return what is due now; [] in time ends it."""
    batches = tape.batches(timeout)
    events = []
    while batch := next(batches, []):
        events += batch
    return [event["local_received"] for event in events]


def test_a_paused_tape_gives_nothing_out(tape_of, clock):
    tape = tape_of(EVENTS, speed=1.0)
    assert collected(tape, clock) == [100.0]
    tape.pause()
    clock.now += 60
    assert tape.paused
    assert collected(tape, clock) == []
    assert tape.position == 100.0
    tape.resume()
    clock.now += 1
    assert collected(tape, clock) == [101.0]


def test_the_speed_can_be_changed(tape_of, clock):
    tape = tape_of(EVENTS, speed=1.0)
    collected(tape, clock)
    tape.speed = 4.0
    clock.now += 1
    assert tape.speed == 4.0
    assert collected(tape, clock) == [101.0, 104.0]


def test_a_seek_forwards_gives_out_all_that_was_before(tape_of, clock):
    tape = tape_of(EVENTS, speed=1.0)
    collected(tape, clock)
    tape.seek(102.0)
    assert collected(tape, clock) == [101.0]
    assert tape.position == 102.0
    clock.now += 2
    assert collected(tape, clock) == [104.0]


def test_a_seek_back_begins_anew_and_says_so(tape_of, clock):
    told = []
    tape = tape_of(EVENTS, speed=1.0)
    tape.on_notice, tape.stays = told.append, True
    tape.seek(200.0)
    assert collected(tape, clock) == [100.0, 101.0, 104.0]
    assert tape.ended
    assert tape.position == 104.0
    tape.seek(101.5)
    assert not tape.ended
    assert collected(tape, clock) == [100.0, 101.0]
    assert [notice.kind for notice in told] == ["ended", "rewound"]
    assert tape.statistics().events == 2


def test_a_pause_before_the_first_event_holds_that_back(tape_of, clock):
    tape = tape_of([EVENTS[0], {"type": "x"}], speed=1.0)
    tape.pause()
    assert tape.position is None
    assert collected(tape, clock) == []
    tape.resume()
    assert next(tape.batches(0.0)) == [EVENTS[0], {"type": "x"}]


def test_a_jump_at_greatest_speed_or_in_a_pause_changes_neither(tape_of, clock):
    tape = tape_of(EVENTS)
    tape.pause()
    tape.seek(101.0)
    assert collected(tape, clock) == [100.0, 101.0]
    clock.now += 60
    assert tape.paused
    assert collected(tape, clock) == []
    tape.resume()
    assert collected(tape, clock) == [104.0]


def test_a_tape_that_stays_waits_at_its_end(tape_of, clock):
    tape = tape_of(EVENTS)
    tape.stays = True
    batches = tape.batches(1.0)
    assert len(next(batches)) == 3
    assert next(batches) == next(batches) == []
    tape.stop()
    assert list(batches) == []


def test_what_is_no_file_cannot_be_wound_back(tmp_path, clock):
    os.mkfifo(tmp_path / "pipe")
    descriptor = os.open(tmp_path / "pipe", os.O_RDWR)
    os.write(descriptor, encode_line(EVENTS[0]) + b"\n")
    tape = RecordingReader(str(tmp_path / "pipe"), clock=clock, sleep=clock.sleep)
    next(tape.batches(0.0))
    with pytest.raises(UsageError, match="cannot be rewound"):
        tape.seek(1.0)
    tape.seek(200.0)
    tape.close()
    os.close(descriptor)
