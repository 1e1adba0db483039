"""What goes to stdout and stderr: when, how, and what if they are closed or full."""

import io
import json
import os

import pyte
import pytest

from evtools.dump.output import Counts, Progress, Report, Sink
from evtools.errors import OutputError
from evtools.transport import Notice, Statistics
from evtools.wire import Defect
from tools.clock import FakeClock


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def file(tmp_path):
    fd = os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    yield reading, writing
    os.close(reading)
    os.close(writing)


def written(fd):
    return os.pread(fd, 1_000_000, 0)


def test_a_pipe_sees_every_batch_whole(pipe, clock):
    reading, writing = pipe
    sink = Sink(writing, clock=clock)
    sink.write(b"one\n")
    sink.write(b"two\n")
    with pytest.raises(BlockingIOError):
        os.read(reading, 100)
    sink.settle()
    assert os.read(reading, 100) == b"one\ntwo\n"


def test_a_file_is_written_after_a_second(file, clock):
    sink = Sink(file, clock=clock)
    sink.write(b"one\n")
    sink.settle()
    assert written(file) == b""
    clock.now += 1
    sink.settle()
    assert written(file) == b"one\n"
    sink.settle()


def test_a_file_is_written_when_enough_has_come(file, clock):
    sink = Sink(file, clock=clock)
    sink.write(b"x" * 65_535)
    assert written(file) == b""
    sink.write(b"\n")
    assert len(written(file)) == 65_536


def test_a_full_disk_is_one_clear_error(clock):
    fd = os.open("/dev/full", os.O_WRONLY)
    sink = Sink(fd, clock=clock)
    sink.write(b"one\n")
    with pytest.raises(OutputError, match="cannot write to stdout: No space left"):
        sink.settle()
    sink.write(b"two\n")
    sink.flush()
    os.close(fd)


def test_a_reader_that_left_is_told_apart(clock):
    reading, writing = os.pipe()
    os.close(reading)
    sink = Sink(writing, clock=clock)
    sink.write(b"one\n")
    with pytest.raises(BrokenPipeError):
        sink.settle()
    sink.flush()
    os.close(writing)


# --- stderr -----------------------------------------------------------------------


class Full(io.StringIO):
    """A stream on a full disk."""

    def write(self, text):
        raise OSError(28, "No space left on device")


def lines(stream):
    return stream.getvalue().splitlines()


@pytest.fixture
def stream():
    return io.StringIO()


@pytest.fixture
def report(stream):
    return Report(stream)


def test_a_line_begins_with_the_tool_and_harms_no_terminal(report, stream):
    report.say("a\x1b[31mb\nc")
    assert stream.getvalue() == "evdump: a\\x1b[31mb\\nc\n"


def test_quiet_leaves_warnings(stream):
    report = Report(stream, quiet=True)
    report.say("a notice")
    report.warn("a warning")
    report.notice(Notice("listening", "redis://h"))
    report.notice(Notice("lost", "it fell"))
    report.summary(Counts(), Statistics(), 1.0)
    assert lines(stream) == ["evdump: a warning", "evdump: connection lost: it fell"]


def test_every_change_of_the_connection_has_its_words(report, stream):
    for kind in ("listening", "lost", "retry", "restored"):
        report.notice(Notice(kind, "X"))
    assert lines(stream) == [
        "evdump: listening on X",
        "evdump: connection lost: X",
        "evdump: X",
        "evdump: connected again to X",
    ]


def test_retries_are_told_ever_more_rarely(report, stream):
    for number in range(1, 20):
        report.notice(Notice("retry", f"refused; no; trying again in {number}s"))
    assert [line.rpartition(" ")[2] for line in lines(stream)] == [*("1s", "2s", "4s", "8s", "16s")]


def test_another_error_or_a_success_is_news(report, stream):
    for text in ("refused", "refused", "refused", "no route", "refused"):
        report.notice(Notice("retry", f"{text}; trying again in 1s"))
    report.notice(Notice("restored", "X"))
    report.notice(Notice("retry", "refused; trying again in 1s"))
    told = [line.removeprefix("evdump: ").partition(";")[0] for line in lines(stream)]
    assert told == [
        *("refused", "refused", "no route", "refused"),
        *("connected again to X", "refused"),
    ]


@pytest.mark.parametrize(
    ("redacts", "shown"),
    [
        (False, [r"no JSON (odd): '\x1b[31m{'", "no type: '{}'"]),
        (True, ["no JSON: 70000 bytes of application/json", "no type: 2 bytes"]),
    ],
)
def test_each_kind_of_defect_is_reported_once_and_redacted_only_its_length(stream, redacts, shown):
    report = Report(stream, redacts=redacts)
    first = Defect("no JSON", b"\x1b[31m{", "odd", 3, 70_000, "application/json")
    report.defects([first])
    report.defects([first, Defect("no type", b"{}", "", 1, 2)])
    assert lines(stream) == [f"evdump: left out: {text}" for text in shown]


def test_the_summary_of_a_quiet_day_is_short(report, stream):
    report.summary(Counts(captured=10, matched=4), Statistics(), 2.0)
    assert lines(stream) == ["evdump: 10 captured, 4 matched, 0 lost, 0 gaps, 2.00s, 5.0/s"]


def test_the_summary_hides_nothing(report, stream):
    counts = Counts(captured=10, matched=4, lost=7, gaps=1, gap_seconds=4.2, missed=3)
    statistics = Statistics(
        buffered_bytes=2048, defects=(Defect("x", b"", count=2), Defect("y", b""))
    )
    report.summary(counts, statistics, 0.0)
    (line,) = lines(stream)
    assert "7 lost, 1 gap (4.20s), ~3 tasks of the workers not seen" in line
    assert "2 malformed" in line
    assert "2.0K waiting" in line
    assert line.endswith(", 0.0/s")
    counts.gaps = 2
    report.summary(counts, statistics, 1.0)
    assert "2 gaps (4.20s)" in lines(stream)[1]


def test_the_summary_can_be_for_programs(stream):
    report = Report(stream, quiet=True, stats="json")
    statistics = Statistics(reconnects=1, buffered_bytes=5, defects=(Defect("x", b"", count=2),))
    report.summary(Counts(captured=3, matched=2, expected=1), statistics, 1.23456)
    assert json.loads(stream.getvalue()) == {
        "captured": 3,
        "matched": 2,
        "expected": 1,
        "gaps": 0,
        "gap_seconds": 0.0,
        "lost": 0,
        "missed": 0,
        "malformed": {"x": 2},
        "reconnects": 1,
        "buffered_bytes": 5,
        "seconds": 1.235,
    }


def test_events_that_name_nobody_are_in_the_summary(report, stream):
    report.summary(Counts(captured=3, nameless=2), Statistics(), 1.0)
    assert "2 without the uuid or hostname they are about" in stream.getvalue()
    stream.truncate(0)
    programs = Report(stream, quiet=True, stats="json")
    programs.summary(Counts(captured=3, nameless=2), Statistics(), 1.0)
    told = json.loads(stream.getvalue().strip("\0"))
    assert told["malformed"] == {"without uuid or hostname": 2}


def test_a_stream_that_takes_nothing_stops_nothing():
    Report(Full()).warn("lost")
    closed = io.StringIO()
    closed.close()
    Report(closed).warn("lost")


# --- the progress bar -------------------------------------------------------------


class Terminal(io.StringIO):
    """A stream that says it is a terminal, and a screen for what is written."""

    def isatty(self):
        return True

    def screen(self):
        screen = pyte.Screen(80, 10)
        pyte.Stream(screen).feed(self.getvalue().replace("\n", "\r\n"))
        return "\n".join(screen.display).strip()


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return Terminal()


def test_a_bar_makes_way_for_lines_and_comes_back(terminal):
    clock = FakeClock()
    report = Report(terminal)
    bar = report.progress = Progress(terminal, clock)
    clock.now += 0.4
    bar.show(1, 2)
    assert terminal.getvalue() == ""
    clock.now += 1
    bar.show(1_000_000, 4_000_000)
    bar.show(2_000_000, 4_000_000)
    bar._bar.refresh()
    assert "reading" in terminal.screen()
    assert "2.0/4.0 MB" in terminal.screen()
    report.warn("a line")
    assert terminal.screen() == "evdump: a line"
    bar.show(3_000_000, 4_000_000)
    bar._bar.refresh()
    assert "3.0/4.0 MB" in terminal.screen().splitlines()[1]
    bar.hide()
    assert terminal.screen() == "evdump: a line"


@pytest.mark.parametrize("colour", [True, False])
def test_a_bar_without_a_total_is_in_colour_if_that_is_wanted(terminal, colour):
    clock = FakeClock()
    bar = Progress(terminal, clock, colour=colour)
    clock.now += 1
    bar.show(1_000_000, None)
    bar._bar.refresh()
    assert "1.0/? MB" in terminal.screen()
    assert ("\x1b[38;5;" in terminal.getvalue()) == colour
    bar.hide()
