"""What goes to stderr: when, how, and what if it is closed or full."""

import csv
import io
import json
import sys

import pyte
import pytest

from evtools.dump.options import DumpOptions
from evtools.dump.output import NAMES_MAX, Counts, Report, Tables
from evtools.transport import Notice, Statistics
from evtools.transport.recording.reader import stamp
from evtools.wire import Defect
from tools.clock import FakeClock
from tools.tty import Terminal
from tools.typed import event_of


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
        "buffered_bytes": 5, "seconds": 1.235, "states": {},
    }  # fmt: skip


def test_the_summary_counts_what_happened_to_tasks(reported):
    counts = Counts()
    kinds = {"task-succeeded": 120, "task-failed": 3, "task-retried": 1, "task-a": 9, "x": 9}
    counts.add_states([event_of({"type": kind}) for kind, n in kinds.items() for _ in range(n)])
    *_, line = reported(lambda report: report.summary(counts, Statistics(), 1.0))
    assert line == "evdump: ok 120, failed 3, retried 1"
    (line,) = reported(lambda report: report.summary(counts, Statistics(), 1.0), stats="json")
    assert json.loads(line)["states"] == {"succeeded": 120, "failed": 3, "retried": 1}


# --- tables of counts -------------------------------------------------------------


def happened(kind, at, name, hostname="w1", **fields):
    event = {"type": kind, "uuid": "u", "hostname": hostname, "timestamp": at, **fields}
    known = {"name": name, "queue": "mail" if name == "send" else None}
    return event_of(event | {"local_received": 1000.0 + at}, {**known, **fields.pop("known", {})})


#: Two tasks that end well, one after a retry, one that fails and one that is revoked.
STORY = [
    happened("task-sent", 0.0, "send", hostname="client"),
    happened("task-started", 2.0, "send", known={"sent": 0.0, "received": 1.0}),
    happened("task-succeeded", 5.0, "send", runtime=3.0),
    happened("task-started", 6.0, "send", known={"sent": 5.0, "eta": "1970-01-01T00:00:05.5"}),
    happened("task-retried", 7.0, "send", exception="Timeout('x')", known={"started": 6.0}),
    happened("task-started", 7.0, "send", "w2", known={"sent": 9.0}),
    happened("task-failed", 8.0, "send", "w2", exception="Card(1)", known={"started": 7.0}),
    happened("task-succeeded", 9.0, None, "w2", runtime=1.0),
    happened("task-revoked", 9.0, "a", "w2"),
    happened("task-progress", 9.5, "a", "w2"),
    event_of({"type": "worker-heartbeat", "hostname": "w3", "local_received": 1010.0}),
]


def counted(by, events=STORY, seen=STORY, **options):
    tables = Tables(by)
    tables.see(seen)
    tables.count(events)
    return tables.rendered(DumpOptions(**options), Counts(gaps=1, gap_seconds=2.0))


# By hand: events, attempts that ended, ok, failed; the longest run and wait.
@pytest.mark.parametrize(("by", "rows"), [
    ("type", {
        "task-started": (3, 0, 0, 0, None, 2), "task-succeeded": (2, 2, 2, 0, 3, None),
        "task-failed": (1, 1, 0, 1, 1, None), "task-progress": (1, 0, 0, 0, None, None),
        "task-retried": (1, 1, 0, 0, None, None), "task-revoked": (1, 1, 0, 0, None, None),
        "task-sent": (1, 0, 0, 0, None, None), "worker-heartbeat": (1, 0, 0, 0, None, None),
    }),
    ("name", {"send": (7, 3, 1, 1, 3, 2), "a": (2, 1, 0, 0, None, None),
              None: (1, 1, 1, 0, 1, None)}),
    ("worker", {"w2": (5, 3, 1, 1, 1, None), "w1": (4, 2, 1, 0, 3, 2),
                "w3": (1, 0, 0, 0, None, None)}),
    ("queue", {"mail": (7, 3, 1, 1, 3, 2), None: (3, 2, 1, 0, 1, None)}),
    ("exception", {"Card": (1, 1, 0, 1, 1, None), "Timeout": (1, 1, 0, 0, None, None)}),
    ("state", {"STARTED": (3, 0, 0, 0, None, 2), "SUCCESS": (2, 2, 2, 0, 3, None),
               "FAILURE": (1, 1, 0, 1, 1, None), "PENDING": (1, 0, 0, 0, None, None),
               "RETRY": (1, 1, 0, 0, None, None), "REVOKED": (1, 1, 0, 0, None, None)}),
    ("cluster", {None: (11, 5, 2, 1, 3, 2)}),
])  # fmt: skip
def test_a_table_is_what_one_counts_by_hand(by, rows):
    table = json.loads(counted([by], output="json"))
    assert {
        row["key"]: (row["events"], row["ended"], row["succeeded"], row["failed"],
                     row["run"]["max"], row["wait"]["max"])
        for row in table["rows"]
    } == rows  # fmt: skip
    # The most frequent first; shares and rates are of the same.
    unit = "events" if by in ("type", "state") else "ended"
    assert table["share_of"] == unit
    amounts = [row[unit] for row in table["rows"]]
    assert amounts == sorted(amounts, reverse=True)
    assert [row["rate"] for row in table["rows"]] == [amount / 10 for amount in amounts]
    shares = [round(amount / sum(amounts), 6) for amount in amounts]
    assert [row["share"] for row in table["rows"]] == shares
    total = table["total"]
    assert (table["seconds"], table["from"], table["to"]) == (10, 1000, 1010)
    for figure in ("events", "sent", "started", "revoked"):
        assert total[figure] == sum(row[figure] for row in table["rows"])
    # It waited for its ETA, and one was sent before it was started by clocks that differ.
    if by != "exception":
        assert (total["wait"]["count"], total["wait"]["skewed"]) == (2, 1)
        assert total["wait"]["p50"] == pytest.approx(0.5, rel=0.05)


def test_percentiles_are_those_of_the_durations():
    runs = [(n + 1) / 10 for n in range(1000)]
    events = [happened("task-succeeded", 1.0, "a", runtime=run) for run in runs]
    (row,) = json.loads(counted(["name"], events, output="json"))["rows"]
    assert row["run"] == {
        "count": 1000, "max": 100.0, "p50": pytest.approx(50, rel=0.05),
        "p95": pytest.approx(95, rel=0.05), "p99": pytest.approx(99, rel=0.05),
    }  # fmt: skip


EVIL = '=cmd|"/c calc",\x1b[31m\n\u202e'


def test_no_name_harms_a_terminal_a_spreadsheet_or_a_program():
    names = (EVIL, ["x"], "n" * 9000)
    events = [happened("task-failed", 1.0, name, exception="E()") for name in names]
    text = counted(["name", "type"], events, output="text").decode()
    assert text.isascii() or "\N{HORIZONTAL ELLIPSIS}" in text
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) < 200
    header, *rows = csv.reader(io.StringIO(counted(["name"], events, output="csv").decode()))
    assert len(rows) == 3
    assert {len(row) for row in rows} == {len(header)}
    key = header.index("key")
    assert next(row[key] for row in rows if "calc" in row[key]).startswith("'=cmd|")
    assert {row[key] for row in rows} >= {'["x"]'}
    lines = counted(["name"], events, output="json")
    assert b"\x1b" not in lines
    keys = {row["key"] for row in json.loads(lines)["rows"]}
    assert EVIL in keys
    assert max(map(len, keys)) == 200


def test_a_table_for_people_says_what_it_counts_and_fits_the_terminal(monkeypatch):
    wide = counted(["name"], output="text").decode().splitlines()
    assert wide[0] == (
        f"tasks by name: 5 attempts ended, 10 events, over 10.0s, {stamp(1000.0)} to"
        f" {stamp(1010.0)[11:]}, 1 gap (2.00s)"
    )
    assert [line.split()[:4] for line in wide[2:]] == [
        ["TASK", "ENDED", "SHARE", "RATE"], ["send", "3", "60.0%", "0.3/s"],
        ["a", "1", "20.0%", "0.1/s"], ["(unknown)", "1", "20.0%", "0.1/s"],
        ["TOTAL", "5", "100.0%", "0.5/s"], ["1", "waits", "left", "out:"],
    ]  # fmt: skip
    # What stands above percentiles is as wide as they are.
    run = wide[1].index("-")
    assert wide[2][run:].split()[:4] == ["p50", "p95", "p99", "max"]
    assert wide[2][wide[1].rindex("-") - 3 :].startswith(" max")
    monkeypatch.setenv("COLUMNS", "60")
    narrow = counted(["name"], output="text", multiline=True).decode().splitlines()
    assert max(map(len, narrow[1:-2])) <= 60
    assert narrow[-2].startswith("no room for WAIT p99, RUN p99, EVENTS")


def test_ever_new_names_are_one_row_and_none_of_their_events_is_lost():
    events = [happened("task-succeeded", 1.0, f"n{n}", runtime=1.0) for n in range(NAMES_MAX + 500)]
    table = json.loads(counted(["name"], events, output="json"))
    assert len(table["rows"]) == NAMES_MAX + 1
    (others,) = [row for row in table["rows"] if row["others"]]
    assert (others["key"], others["ended"], others["run"]["count"]) == (None, 500, 500)
    assert table["total"]["ended"] == len(events)
    assert "(others: more than 1000 names)" in counted(["name"], events, output="text").decode()


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
    report._bar._bar.refresh()
    assert "1.0/? MB" in terminal.screen()
    assert ("\x1b[38;5;" in terminal.getvalue()) == colour
    report.show_progress(2_000_000, 4_000_000)
    report._bar._bar.refresh()
    assert "reading" in terminal.screen()
    assert "2.0/4.0 MB" in terminal.screen()
    report.warn("a line")
    assert terminal.screen() == "evdump: a line"
    report.show_progress(3_000_000, 4_000_000)
    report._bar._bar.refresh()
    assert "3.0/4.0 MB" in terminal.screen().splitlines()[1]
    report.hide_progress()
    assert terminal.screen() == "evdump: a line"
