"""Recordings played back: exactly, at a pace, and in spite of what is in them."""

import gzip
import os
import stat

import pytest
import zstandard
from msgspec import UNSET

from evtools.errors import UsageError
from evtools.transport import recording
from evtools.transport.recording import Compression, FileReader, RecordingWriter, reader
from evtools.transport.recording.reader import RecordingReader
from evtools.wire import EnvelopeWriter, encode_line, envelope, from_fields
from tools.clock import FakeClock
from tools.gaps import gap

EVENTS = [
    {"type": "task-sent", "uuid": "u", "timestamp": 10.0, "local_received": 100.0},
    {"type": "task-started", "uuid": "u", "timestamp": 11.0, "local_received": 101.0},
    {"type": "task-failed", "uuid": "u", "timestamp": 14.0, "local_received": 104.0},
]
LINE = encode_line(envelope(EVENTS[0]))


class SleepyClock(FakeClock):
    """Remembers the waits."""

    def __init__(self):
        super().__init__(1000.0)
        self.slept = []

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = SleepyClock()
    monkeypatch.setattr("time.sleep", clock.sleep)
    return clock


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
        tapes.append(RecordingReader(str(path), **{"clock": clock} | settings))
        return tapes[-1]

    yield make
    for tape in tapes:
        tape.close()
        tape.close()


def batches_of(tape, timeout=None):
    for events in tape.events(timeout):
        yield [event.as_dict() for event in events]


def events_of(tape, timeout=None):
    return [event for batch in batches_of(tape, timeout) for event in batch]


def arrivals(tape, clock):
    begin = clock.now
    return [clock.now - begin for batch in batches_of(tape) for _ in batch]


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


def test_a_bare_event_is_played_back_as_not_recorded(tape_of, clock):
    [[event]] = tape_of([EVENTS[0]]).events()
    assert (event.as_dict(), event.known) == (EVENTS[0], UNSET)
    [[event]] = tape_of([envelope(EVENTS[0])]).events()
    assert (event.as_dict(), event.known) == (EVENTS[0], {})
    # Without a time of receipt, the pace is that of sending; and this JSON is Python's.
    lines = [b'{"type": "x", "timestamp": 10, "n": NaN}', {"type": "x", "timestamp": 12.0}]
    assert arrivals(tape_of(lines, speed=1), clock) == pytest.approx([0.0, 2.0])
    assert events_of(tape_of(lines[:1])) == [{"type": "x", "timestamp": 10, "n": "NaN"}]


# fmt: off
WHOLE = {
    "type": "task-started", "hostname": "w@h", "uuid": "u", "timestamp": 11.5,
    "utcoffset": 0, "pid": 1, "clock": 2, "local_received": 12.0,
}
#: Other fields of the event, what was joined to it, and a part of its line that was changed.
LINES = [
    ({}, {}, None),
    ({}, {"name": 'a,"lag":{', "args": "('é\x1b',)", "retries": 0}, None),
    ({"shift": "night"}, {"name": "n"}, None),
    ({"shift": {"a": [1], "lag": 2}}, {"name": "n", "sent": 1.5}, None),
    ({"pid": "odd", "clock": None}, {"name": "n"}, None),
    ({"lag": 7, "own": "x"}, {"name": "n"}, None),
    ({"v": 1, "ts": "now", "joined": ["name"]}, {"name": "n"}, None),
    ({}, {"name": "n", "args": "()"}, (b'"args":"()",', b"")),
    ({}, {"name": "n"}, (b'["name"]', b"[]")),
    ({}, {"name": "n"}, (b',"joined":["name"]', b"")),
    ({}, {"name": "n"}, (b'["name"]', b'["name","type","ts"]')),
    ({}, {"name": "n"}, (b'["name"]', b'"name"')),
    ({}, {"name": "n"}, (b'"name":"n","joined":["name"]', b'"own":"n","joined":["own"]')),
    ({"shift": 1}, {}, (b'"shift":1', b'"shift":' + b"[" * 200 + b"]" * 200)),
    ({}, {}, (b',"local_received":12.0', b"")),
    ({}, {}, (b'"lag":0.5', b'"lag":"0.5"')),
    ({}, {}, (b'"lag":0.5', b'"lag":[1]')),
    ({}, {}, (b'"v":1,', b"")),
    ({}, {}, (b'"v":1,', b'"v":1, ')),
]
# fmt: on


@pytest.mark.parametrize(("more", "joined", "change"), LINES)
def test_a_line_says_the_same_whichever_way_it_is_read(tape_of, monkeypatch, more, joined, change):
    event = from_fields(WHOLE | more)
    event.known = joined
    line = EnvelopeWriter().line(event)
    if change is not None:
        assert change[0] in line
        line = line.replace(*change)
    # Once to learn what is new, once with that, and once by way of a dictionary.
    events = [event for batch in tape_of([line, line]).events() for event in batch]
    monkeypatch.setattr(reader, "_typed", lambda _line, _schema: None)
    events += [event for batch in tape_of([line]).events() for event in batch]
    assert len(events) == 3
    said = [(type(e).__name__, e.as_dict(), e.known, e.local_received) for e in events]
    assert said[0] == said[1] == said[2]
    if change is None:
        assert said[0][1:3] == (WHOLE | more, joined)


def test_batches_are_bounded(tape_of):
    sizes = [len(batch) for batch in batches_of(tape_of([EVENTS[0]] * 2500))]
    assert sum(sizes) == 2500
    assert max(sizes) <= 1000


# --- pace -------------------------------------------------------------------------


@pytest.mark.parametrize("speed", [1, 2.0, 0.5, float("inf"), None])
def test_events_come_at_a_multiple_of_their_pace(tape_of, clock, speed):
    pace = 1 / (speed or float("inf"))
    assert arrivals(tape_of(EVENTS, speed=speed), clock) == pytest.approx([0, pace, 4 * pace])
    assert max(clock.slept, default=0) <= 0.1  # so that it can be stopped


def test_a_timeout_without_an_event_is_an_empty_batch(tape_of):
    batches = list(batches_of(tape_of(EVENTS[:2], speed=1), 0.25))
    assert batches == [EVENTS[:1], [], [], [], EVENTS[1:2]]


@pytest.mark.parametrize("received", [None, "x", 10**400, 1e300, 1763380002000, True, 50.0])
def test_an_event_from_no_time_or_an_earlier_one_comes_at_once(tape_of, clock, received):
    odd = {"type": "x", "local_received": received}
    assert arrivals(tape_of([EVENTS[0], odd], speed=1), clock) == [0.0, 0.0]


# --- which ------------------------------------------------------------------------


@pytest.mark.parametrize("form", [dict, envelope])
def test_only_what_was_received_in_time_is_played(tape_of, form):
    lines = list(map(form, EVENTS))
    assert events_of(tape_of(lines, since=101.0)) == EVENTS[1:]
    assert events_of(tape_of(lines, until=101.0)) == EVENTS[:2]
    assert events_of(tape_of(lines, since=101.0, until=101.0)) == EVENTS[1:2]
    assert events_of(tape_of(lines, since=1e9)) == []
    at_first = {"type": "x", "local_received": 0}
    assert events_of(tape_of([form(at_first), *lines], since=101.0)) == EVENTS[1:]


def test_what_is_left_out_is_not_decoded_and_takes_no_time(tape_of, clock, monkeypatch):
    """No wait that grows with what is skipped: there are many chunks of it."""
    decoded, real = [], reader._typed
    monkeypatch.setattr(reader, "_typed", lambda *of: decoded.append(of) or real(*of))
    lines = [envelope(EVENTS[0] | {"local_received": 100.0 + n}) for n in range(9000)]
    for wanted in ({"since": 9000.0}, {"until": 199.0}, {"since": 1001.0, "until": 1100.0}):
        decoded.clear()
        tape = tape_of([*lines, b"no JSON"], speed=float("inf"), **wanted)
        for _ in batches_of(tape, 0.25):
            pass
        statistics = tape.statistics()
        assert (statistics.events, statistics.messages, statistics.malformed) == (100, 9001, 1)
        assert len(decoded) < 4500
    assert clock.slept == []


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
        *(b'{"v":3,"type":"x"}', b'{"v":1}', LINE),
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


# --- damage -----------------------------------------------------------------------

PACKED = [Compression.GZIP, Compression.ZSTD]
MANY = (LINE + b"\n") * 2000


@pytest.mark.parametrize("packed", PACKED)
def test_frames_of_other_programs_are_read(tape_of, packed):
    pack = gzip.compress if packed is Compression.GZIP else zstandard.compress
    tape = tape_of(pack(MANY[:99]) + pack(MANY[99:]))
    assert (len(events_of(tape)), kinds_of(tape)) == (2000, {})


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize("damage", [b"rubbish" + b"\xff" * 100, "cut"])
def test_a_damaged_file_is_played_up_to_the_damage(tape_of, packed, damage):
    frame = packed.frame(MANY)
    tape = tape_of(frame + (frame[:-5] if damage == "cut" else damage))
    assert len(events_of(tape)) >= 2000
    assert kinds_of(tape)["damaged recording"] == 1
    details = [defect.detail for defect in tape.statistics().defects]
    assert (damage == "cut") == ("breaks off inside a compressed frame" in details)


def test_a_torn_last_line_is_counted_and_not_fatal(tape_of):
    tape = tape_of(LINE + b"\n" + LINE[:40])
    assert events_of(tape) == EVENTS[:1]
    assert kinds_of(tape) == {"torn last line": 1}
    assert events_of(tape_of(LINE)) == EVENTS[:1]


def test_a_line_without_end_is_passed_over(tape_of, monkeypatch):
    monkeypatch.setattr(recording, "LINE_BYTES_MAX", 200_000)
    tape = tape_of([LINE, b"x" * 500_000, LINE])
    assert events_of(tape) == [EVENTS[0]] * 2
    assert kinds_of(tape) == {"line too long": 1}


def test_a_read_error_is_damage(tmp_path):
    (tmp_path / "x").write_bytes(MANY)
    file = FileReader(str(tmp_path / "x"))
    file.close()
    file.close()
    assert file.read_lines(1) == b""
    assert (file.ended, file.damage) == (True, "Bad file descriptor")


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


def test_a_wait_for_the_next_event_is_stopped(tape_of, clock, monkeypatch):
    def sleep(seconds):
        clock.sleep(seconds)
        tape.stop()

    monkeypatch.setattr("time.sleep", sleep)
    tape = tape_of(EVENTS, speed=1)
    assert events_of(tape) == EVENTS[:1]
    assert len(clock.slept) == 1
    assert list(batches_of(tape)) == []


def test_a_pipe_is_followed(clock, piped):
    with piped(0) as writing:
        tape = RecordingReader("-", clock=clock)
        batches = batches_of(tape, 0)
        os.write(writing, LINE + b"\n" + LINE[:10])
        assert next(batches) == EVENTS[:1]
        assert next(batches) == []
        assert tape.statistics().connected
        assert tape.progress() == (len(LINE) + 11, None)
        os.write(writing, LINE[10:] + b"\n")
        assert next(batches) == EVENTS[:1]
        os.close(writing)
        assert list(batches) == []
        tape.close()
        assert stat.S_ISFIFO(os.fstat(0).st_mode), "stdin is not ours to close"


def test_a_frame_that_comes_in_pieces_is_put_together(clock, piped):
    frame = Compression.GZIP.frame(LINE)
    with piped(0) as writing:
        batches = batches_of(RecordingReader("-", clock=clock), 0)
        os.write(writing, frame[:6])
        assert next(batches) == []
        os.write(writing, frame[6:])
        os.close(writing)
        assert [event for batch in batches for event in batch] == EVENTS[:1]


# --- steering ---------------------------------------------------------------------


def collected(tape):
    """Return what is due now; [] in time ends it."""
    batches = batches_of(tape, 0.0)
    events = []
    while batch := next(batches, []):
        events += batch
    return [event["local_received"] for event in events]


def test_a_tape_is_paused_played_faster_and_wound_forwards(tape_of, clock):
    tape = tape_of(EVENTS, speed=1.0)
    assert collected(tape) == [100.0]
    tape.paused = True
    clock.now += 60
    assert collected(tape) == []
    assert tape.position == 100.0
    tape.paused = False
    # All that was before is given out.
    tape.seek(102.0)
    assert tape.position == 102.0
    assert collected(tape) == [101.0]
    clock.now += 1
    assert collected(tape) == []
    tape.speed = 4.0
    clock.now += 0.25
    assert collected(tape) == [104.0]


def test_a_seek_back_begins_anew_and_says_so(tape_of):
    notices = []
    tape = tape_of(EVENTS, speed=1.0)
    tape.on_notice, tape.stays = notices.append, True
    tape.seek(200.0)
    assert collected(tape) == [100.0, 101.0, 104.0]
    assert tape.ended
    assert tape.position == 104.0
    batches = batches_of(tape, 1.0)
    assert next(batches) == next(batches) == []
    tape.seek(101.5)
    assert not tape.ended
    assert collected(tape) == [100.0, 101.0]
    assert [notice.kind for notice in notices] == ["ended", "rewound"]
    assert tape.statistics().events == 2
    tape.stop()
    assert list(batches) == []


def test_a_pause_before_the_first_event_holds_that_back(tape_of):
    tape = tape_of([EVENTS[0], {"type": "x"}], speed=1.0)
    tape.paused = True
    assert tape.position is None
    assert collected(tape) == []
    tape.paused = False
    assert next(batches_of(tape, 0.0)) == [EVENTS[0], {"type": "x"}]


def test_a_jump_at_greatest_speed_or_in_a_pause_changes_neither(tape_of, clock):
    tape = tape_of(EVENTS)
    tape.paused = True
    tape.seek(101.0)
    assert collected(tape) == [100.0, 101.0]
    clock.now += 60
    assert tape.paused
    assert collected(tape) == []
    tape.paused = False
    assert collected(tape) == [104.0]


def test_what_is_no_file_cannot_be_wound_back(clock, piped):
    with piped(0) as writing:
        os.write(writing, LINE + b"\n")
        tape = RecordingReader("-", clock=clock)
        next(batches_of(tape, 0.0))
        with pytest.raises(UsageError, match="cannot be rewound"):
            tape.seek(1.0)
        tape.seek(200.0)
        os.close(writing)
