"""What goes to stderr: when, how, and what if it is closed or full."""

import json
import sys

import pyte
import pytest

from evtools.dump.options import DumpOptions
from evtools.dump.output import Counts, Report
from evtools.transport import Notice, Statistics
from evtools.wire import Defect
from tools.clock import FakeClock
from tools.tty import Terminal


@pytest.fixture
def clock():
    return FakeClock()


# --- stderr -----------------------------------------------------------------------


@pytest.fixture
def reported(capsys, clock):
    """What a report has written; `reported(lambda report: ..., quiet=True)`."""

    def run(use, **options):
        use(Report(DumpOptions(**options), clock))
        return capsys.readouterr().err.splitlines()

    return run


def test_quiet_leaves_warnings_and_no_line_harms_a_terminal(reported):
    def use(report):
        report.say("a notice")
        report.warn("a\x1b[31mb\nc")
        report.notice(Notice("listening", "redis://h"))
        report.notice(Notice("lost", "it fell"))
        report.summary(Counts(), Statistics(), 1.0)

    warnings = [r"evdump: a\x1b[31mb\nc", "evdump: connection lost: it fell"]
    assert reported(use, quiet=True) == warnings
    assert reported(use)[1:4:2] == warnings


def noticed(*notices):
    def use(report):
        for notice in notices:
            report.notice(Notice(*notice))

    return use


def test_every_change_of_the_connection_has_its_words(reported):
    notices = [(kind, "X") for kind in ("listening", "lost", "retry", "restored")]
    assert reported(noticed(*notices)) == [
        "evdump: listening on X",
        "evdump: connection lost: X",
        "evdump: X",
        "evdump: connected again to X",
    ]


def test_retries_are_told_ever_more_rarely_until_there_is_news(reported):
    retries = [("retry", f"refused; no; trying again in {number}s") for number in range(1, 20)]
    told = [line.rpartition(" ")[2] for line in reported(noticed(*retries))]
    assert told == ["1s", "2s", "4s", "8s", "16s"]
    errors = ["refused", "refused", "refused", "no route", "refused", "refused"]
    retries = [("retry", f"{error}; trying again in 1s") for error in errors]
    told = reported(noticed(*retries, ("restored", "X"), retries[0]))
    assert [line.removeprefix("evdump: ").partition(";")[0] for line in told] == [
        *("refused", "refused", "no route", "refused", "refused"),
        *("connected again to X", "refused"),
    ]


@pytest.mark.parametrize(("redact", "shown"), [
    ((), [r"no JSON (odd): '\x1b[31m{'", "no type: '{}'"]),
    (("x",), ["no JSON: 70000 bytes of application/json", "no type: 2 bytes"]),
])  # fmt: skip
def test_each_kind_of_defect_is_reported_once_and_redacted_only_its_length(reported, redact, shown):
    first = Defect("no JSON", b"\x1b[31m{", "odd", 3, 70_000, "application/json")

    def use(report):
        report.defects(Statistics(defects=(first,)))
        report.defects(Statistics(defects=(first, Defect("no type", b"{}", "", 1, 2))))

    assert reported(use, redact=redact) == [f"evdump: left out: {text}" for text in shown]


def test_several_clusters_are_reported_by_name(reported):
    retry = ("retry", "no route; trying again in 1s")
    refusal = Notice("refused", "access refused", "us", "check the password\nor the vhost")
    defects = (Defect("no JSON", b"{", "odd", 3, 1, "application/json"),)
    left_out = f"left out: {defects[0].words(redacted=False)}"
    parts = {
        "prod": Statistics(events=9, dropped=1, gaps=2, gap_seconds=3.0, defects=defects),
        "eu": Statistics(events=5, away_since=98.0, problem="no route"),
        "down": Statistics(away_since=0.0, problem="no route"),
        "us": Statistics(away_since=0.0, problem="access refused", is_refused=True),
    }
    statistics = Statistics.total(parts)

    def use(report):
        noticed((*retry, "prod"), (*retry, "eu"), ("lost", "X", "prod"), (*retry, "eu"))(report)
        report.notice(refusal)
        report.defects(statistics)
        report.summary(Counts(captured=14), statistics, 1.0)

    left = "us: 0 captured, 0 lost, 0 gaps, left out: access refused"
    lines = reported(use)
    assert lines == [
        "evdump: prod: no route; trying again in 1s", "evdump: eu: no route; trying again in 1s",
        "evdump: prod: connection lost: X", "evdump: eu: no route; trying again in 1s",
        "evdump: us: left out, while the others go on: access refused",
        "  check the password", "  or the vhost", f"evdump: prod: {left_out}",
        "evdump: 14 captured, 0 matched, 0 lost, 0 gaps, 3 malformed, 1.00s, 14.0/s",
        "evdump: prod: 9 captured, 1 lost, 2 gaps (3.00s), 3 malformed, connected",
        "evdump: eu: 5 captured, 0 lost, 0 gaps, no connection for 2.00s: no route",
        "evdump: down: 0 captured, 0 lost, 0 gaps, never connected: no route", f"evdump: {left}",
    ]  # fmt: skip
    assert [*lines[2:3], *lines[4:8], lines[-1]] == reported(use, quiet=True)
    named = json.loads(reported(use, stats="json")[-1])["clusters"]
    states = [(each["connected"], each["away_seconds"], each["refused"]) for each in named.values()]
    assert states == [
        (True, 0, False),
        (False, 2, False),
        (False, None, False),
        (False, None, True),
    ]
    assert named["prod"] == {
        "captured": 9, "lost": 1, "gaps": 2, "gap_seconds": 3.0, "missed": 0, "reconnects": 0,
        "malformed": {"no JSON": 3}, "connected": True, "refused": False, "away_seconds": 0.0,
        "problem": "",
    }  # fmt: skip


BUSY = Counts(captured=10, matched=4, lost=7, gaps=1, gap_seconds=4.2, missed=3, nameless=2)
DEFECTS = (Defect("x", b"", count=2), Defect("y", b"", count=1))


@pytest.mark.parametrize(("counts", "statistics", "seconds", "line"), [
    (Counts(captured=10, matched=4), Statistics(), 2.0,
     "10 captured, 4 matched, 0 lost, 0 gaps, 2.00s, 5.0/s"),
    (BUSY, Statistics(buffered_bytes=2048, defects=DEFECTS), 0.0,
     ("10 captured, 4 matched, 7 lost, 1 gap (4.20s), ~3 tasks of the workers not seen, 2 without"
      " the uuid or hostname they are about, 3 malformed, 2.0K waiting, 0ms, 0.0/s")),
    (Counts(gaps=2, gap_seconds=4.2), Statistics(), 1.0,
     "0 captured, 0 matched, 0 lost, 2 gaps (4.20s), 1.00s, 0.0/s"),
])  # fmt: skip
def test_the_summary_hides_nothing_and_is_short_on_a_quiet_day(
    reported, counts, statistics, seconds, line
):
    told = reported(lambda report: report.summary(counts, statistics, seconds))
    assert told == [f"evdump: {line}"]


def test_the_summary_can_be_for_programs(reported):
    statistics = Statistics(reconnects=1, buffered_bytes=5, defects=DEFECTS[:1])
    (line,) = reported(lambda report: report.summary(BUSY, statistics, 1.23456), stats="json")
    assert json.loads(line) == {
        "captured": 10, "matched": 4, "expected": 0, "gaps": 1, "gap_seconds": 4.2, "lost": 7,
        "missed": 3, "malformed": {"x": 2, "without uuid or hostname": 2}, "reconnects": 1,
        "buffered_bytes": 5, "seconds": 1.235,
    }  # fmt: skip


# --- the progress bar -------------------------------------------------------------


class Screen(Terminal):
    """A terminal, and what is on its screen."""

    def screen(self):
        screen = pyte.Screen(80, 10)
        pyte.Stream(screen).feed(self.getvalue().replace("\n", "\r\n"))
        return "\n".join(screen.display).strip()


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return Screen()


@pytest.mark.parametrize("colour", [True, False])
def test_a_bar_makes_way_for_lines_and_comes_back(terminal, clock, monkeypatch, colour):
    monkeypatch.setattr(sys, "stderr", terminal)
    report = Report(DumpOptions(colour_stderr=colour), clock)
    clock.now += 0.4
    report.show_progress(1, 2)
    assert terminal.getvalue() == ""
    clock.now += 1
    report.show_progress(1_000_000, None)
    report._bar.refresh()
    assert "1.0/? MB" in terminal.screen()
    assert ("\x1b[38;5;" in terminal.getvalue()) == colour
    report.show_progress(2_000_000, 4_000_000)
    report._bar.refresh()
    assert "reading" in terminal.screen()
    assert "2.0/4.0 MB" in terminal.screen()
    report.warn("a line")
    assert terminal.screen() == "evdump: a line"
    report.show_progress(3_000_000, 4_000_000)
    report._bar.refresh()
    assert "3.0/4.0 MB" in terminal.screen().splitlines()[1]
    report.hide_progress()
    assert terminal.screen() == "evdump: a line"
