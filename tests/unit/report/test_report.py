"""evtools report, from recordings to the page."""

import math
import random
import re
import sys
from pathlib import Path

import pytest

import evtools.report
from evtools.cli.report import build_options, evreport
from evtools.clock import SystemClock
from evtools.errors import UsageError
from evtools.report import figures as figures_module
from evtools.report.figures import Figures, Timeline
from evtools.report.page import About, render
from evtools.transport import Statistics
from evtools.wire import encode_line, envelope, gap
from tools.life import Life
from tools.tty import Terminal
from tools.typed import events_of

HOSTILE = '</td></style><script>alert(1)</script><img src=x onerror="alert(1)">\u202e\x1b[2J\'"&'


def hour(life):
    """Return events of an hour: what is in them was counted by hand."""
    events = [life.beat()]
    for number in range(40):
        life.now = 1000.0 + 90 * number
        events += life.success(f"a{number}", "shop.pay")
    for number in range(10):
        life.now = 1000.0 + 90 * number + 1
        events += life.failure(f"b{number}", "shop.ship", exception=f"CardError('no {number}')")
    life.now = 4600.0
    events += [life.received("c1", "shop.ship"), life.event("task-retried", uuid="c1",
               hostname="w1@host", exception="OSError()"), life.beat()]  # fmt: skip
    return sorted(events, key=lambda event: event["local_received"])


def test_the_figures_are_those_of_a_count_by_hand(record, report, life):
    status, page, err = report(record(hour(life)))
    assert status == 0
    assert re.fullmatch(r"evtools report: report\.html: 204 events, \d+K, .*\n", err)
    _, types, pay, ship = page.tables["Task types"]
    assert types[:5] == ["Task", "Completed", "Failed", "Fail %", "Retried"]
    # Of failures only the time from start to end is known.
    assert pay[:9] == ["shop.pay", "40", "0", "0.0 %", "0", "500ms", "500ms", "500ms", "500ms"]
    assert ship[:5] == ["shop.ship", "10", "10", "100.0 %", "1"]
    assert ship[5:9] == ["100ms"] * 4
    # All waited for two tenths of a second, from sending to start.
    assert pay[9:13] == ship[9:13] == ["200ms"] * 4
    (worker,) = page.tables["Workers"][2:]
    assert worker[:5] == ["w1@host", "online", "50", "10", "20.0 %"]
    mail, unknown = page.tables["Queues"][2:]
    assert mail[:4] == ["mail", "50", "50", "0"]
    assert (unknown[:4], mail[-1]) == (["(unknown)", "0", "1", "?"], "w1@host 50")
    story = "50 tasks completed in 1h00m; 10 of them failed (20.0 %), most often with CardError in"
    assert f"{story} shop.ship (10). The slowest type is shop.pay" in page.text
    assert (
        "10 CardError: no * shop.ship · 100.0 % of all failures · from 00:16:41 to 00:30:11"
        in page.text
    )
    assert "The last one: CardError('no 9') in task b9 Traceback: File x ValueError" in page.text
    assert "1970-01-01 00:16:40 to 01:16:40, UTC: 1h00m" in page.text
    assert "Nothing is known to be missing" in page.text
    assert "Throughput tasks completed per minute; one column is 30 seconds" in page.text
    assert "8/min 4/min 0 Tasks completed per minute 40 tasks succeeded and 10 failed" in page.text


def test_what_others_have_named_stays_text(record, report, life):
    events = [
        life.beat(HOSTILE),
        life.sent("u", HOSTILE, queue=HOSTILE, args=HOSTILE),
        life.received("u", HOSTILE, hostname=HOSTILE, args=HOSTILE),
        life.started("u", hostname=HOSTILE),
        life.failed("u", hostname=HOSTILE, exception=f"X({HOSTILE!r})", traceback=HOSTILE),
        life.sent(HOSTILE, HOSTILE, root_id="u", parent_id="u"),
        life.started(HOSTILE, hostname=HOSTILE),
        life.succeeded(HOSTILE, hostname=HOSTILE, runtime=9.0),
        gap(HOSTILE, 1.0, 2.0, hostname=HOSTILE).original,
    ]
    _, harmless, _ = report(record(hour(life), "harmless.jsonl"))
    # The name of a file, a filter and the title are the user's, and are text as well.
    name = "<b>day.jsonl"
    status, page, _ = report(record(events, name), "--title", HOSTILE, "-x", "name:'<i>'")
    assert status == 0
    assert page.elements <= harmless.elements
    assert {each for each in page.attributes if each.startswith("on")} == set()
    assert page.html.count("<script>") == page.html.count("</script>") == 1
    assert page.html.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 10
    assert "\\u202e\\x1b[2J" in page.text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", page.html)
    assert "<i>" in page.text
    assert "<b>day.jsonl" in page.text


def test_markup_is_made_in_one_place_and_nothing_is_loaded(record, report, life):
    folder = Path(evtools.report.__file__).parent
    makers = [path.name for path in folder.glob("*.py") if re.search(r"\bHtml\(", path.read_text())]
    assert makers == ["html.py"]
    _, page, _ = report(record(hour(life)))
    (policy,) = [each for each in page.attributes["content"] if "default-src" in each]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert not {"src", "style", "action", "srcset", "data"} & page.attributes.keys()
    assert all(link.startswith("#") for link in page.attributes["href"])
    # What a link leads to is there, and no name is used twice.
    assert {link[1:] for link in page.attributes["href"]} <= set(page.attributes["id"])
    assert len(set(page.attributes["id"])) == len(page.attributes["id"])


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([], ["No event is in them", "Events 0 events", "No worker was seen"]),
        ([{"type": "worker-online", "hostname": "w"}], ["Events 1 event", "No event of a task"]),
        ([{"type": "task-succeeded", "uuid": "u", "hostname": "w", "runtime": 1e9,
           "timestamp": 7.0, "local_received": 7.0}],
         ["1 task completed in 0ms. ", "type of 1 task", "Run 2,778h"]),
        ([{"type": "task-started", "uuid": "u", "hostname": "w", "local_received": 9e9},
          {"type": "task-started", "uuid": "v", "hostname": "w", "local_received": 1.0}],
         ["Events 2 events"]),
    ],
)  # fmt: skip
def test_little_and_odd_is_reported_as_well(record, report, events, words):
    status, page, _ = report(record(events))
    assert status == 0
    for each in words[: 2 if "Run" in words[-1] else None]:
        assert each in page.text


ODD = [None, "", 0, -1, 1e308, 9e15, 2**63, "\ud800", "x" * 3000, [], {}, [1, [2]], {"a": 1}, True,
       "<b>\x00&\"'", 1e-320, "1970-01-01T00:00:10"]  # fmt: skip
FIELDS = ["name", "hostname", "uuid", "timestamp", "local_received", "runtime", "exception",
          "traceback", "queue", "args", "retries", "root_id", "parent_id", "eta", "pid", "clock",
          "sw_ident", "freq", "processed", "reason", "duration", "dropped", "missed"]  # fmt: skip


def test_odd_values_in_any_field_make_a_page(parse):
    chance = random.Random(3)
    for _ in range(30):
        life = Life(chance.choice([1000.0, 1.7e9, 0.0]))
        events = []
        for _ in range(6):
            uuid = f"u{chance.randrange(4)}"
            events += [*chance.choice([life.success, life.failure])(uuid), life.beat()]
            events.append(gap("reconnect", life.now, life.now + 1).original)
            life.now += chance.choice([0, 5, 1e5, 1e9])
        for event in events:
            event |= {chance.choice(FIELDS): chance.choice(ODD) for _ in range(chance.randrange(3))}
        chance.shuffle(events)
        figures, typed = Figures(SystemClock()), events_of(events)
        figures.see(typed)
        figures.take(typed)
        figures.end()
        about = About(title="", files={"a": None}, counters=Statistics(), made=1.7e9)
        assert parse(render(figures, about).decode()).problems == []


def test_what_is_missing_comes_first(record, report, life, tmp_path):
    events = [life.received("u"), life.started("u"), life.started("v"), life.succeeded("v")]
    life.now += 60.0
    now = life.now
    gaps = [gap("reconnect", now - 30, now), gap("buffer", now - 1, now, dropped=7)]
    gaps.append(gap("worker", now, now, missed=3, hostname="w1@host"))
    events += [each.original for each in gaps]
    path = record(events)
    with Path(path).open("a") as file:
        file.write("no event\n")
    (tmp_path / "photo.jsonl").write_bytes(b"\x89PNG\n" * 3)
    status, page, err = report(path, "photo.jsonl", "missing-*.jsonl")
    assert status == 0
    before, missing, _ = re.split("What is not in these figures|Over time Throughput", page.text)
    assert "Completed 1 tasks of" in before
    for words in ("in 1 gap of 30.0s", "7 events that did not fit", "About 3 tasks",
                  "no JSON: Expecting value", "type of 1 task", "photo.jsonl is no recording",
                  "task_send_sent_event is off"):  # fmt: skip
        assert words in missing, words
    assert "photo.jsonl is no recording" in err
    assert [row[3:5] for row in page.tables["Gaps"][1:]] == [
        ["no connection to the broker", "not known"],
        ["more events than the buffer holds", "7 events"],
        ["tasks that a worker counted did not come", "about 3 tasks"],
    ]
    assert "s-gap" in page.attributes["class"]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["photo.jsonl"], 2, "photo.jsonl is no recording"),
        (["missing.jsonl"], 2, "cannot read missing.jsonl: No such file"),
        ([], 2, "no recording is named"),
        (["day.jsonl", "--filter", "nam:x"], 2, "nam"),
        (["day.jsonl", "-S", "10m", "-U", "20m"], 2, "--until is before --since"),
        (["day.jsonl", "-o", "day.jsonl"], 2, "would overwrite a recording"),
        (["day.jsonl", "-o", "."], 73, "it is a directory"),
        (["day.jsonl", "-o", "no/where.html"], 73, "cannot write no/where.html: No such file"),
        (["day.jsonl", "-o", "/dev/full"], 73, "cannot write /dev/full: No space left"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_and_an_older_page_stays(
    record, report, life, tmp_path, arguments, status, words
):
    before = Path(record(life.success("a"))).read_bytes()
    (tmp_path / "photo.jsonl").write_bytes(b"\x89PNG\n" * 3)
    (tmp_path / "report.html").write_text("older")
    ended, page, err = report(*arguments, output="" if "-o" in arguments else "report.html")
    assert (ended, page) == (status, None)
    assert words in err
    assert (tmp_path / "report.html").read_text() == "older"
    assert (tmp_path / "day.jsonl").read_bytes() == before
    assert len([*tmp_path.iterdir()]) == 3


def test_a_terminal_is_no_place_for_a_page(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    ctx = evreport.make_context("evreport", ["day.jsonl"])
    with pytest.raises(UsageError, match="the page needs a file"):
        build_options(ctx.params)


def test_an_interrupt_leaves_no_half_page(record, report, life, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    for place in ("evtools.report.figures.Figures.take", "os.replace"):
        with monkeypatch.context() as patch:
            patch.setattr(place, interrupted)
            assert report(record(life.success("a")))[0] == 130
        assert [path.name for path in tmp_path.iterdir()] == ["day.jsonl"]


def test_a_part_of_several_recordings_can_be_reported(record, report, life):
    events = hour(life)
    record(events[100:], "rec-1.jsonl")
    record(events[:100], "rec-2.jsonl")
    span = "-S", "1970-01-01T00:31:40Z", "-U", "00:50"
    chosen = "--filter", "name:shop.pay", "-x", "type:task-sent"
    _, page, _ = report("rec-*.jsonl", *span, *chosen, output="-")
    assert "Celery tasks in rec-1.jsonl and 1 more" in page.text
    assert "Only events with name:shop.pay -x 'type:task-sent'" in page.text
    (pay,) = page.tables["Task types"][2:]
    # From number 10 to number 22, each known by what was sent before.
    assert pay[:2] == ["shop.pay", "13"]
    # What matches nothing is said.
    _, page, err = report("rec-*.jsonl", "--filter", "name:shop.pya", output="-")
    assert "No event is in them" in page.text
    assert "0 of" in err


def test_tables_are_bounded_and_say_by_how_much(record, report, life):
    long = "x" * 9000 + "\nValueError: 7"
    events = [
        each for n in range(7) for each in life.failure(f"u{n}", f"shop.t{n}", traceback=long)
    ]
    _, page, _ = report(record(events), "--top", "3")
    assert len(page.tables["Task types"]) == 2 + 3
    assert "and 4 more types" in page.text
    assert "and 4 more groups of failures" in page.text
    assert page.text.count("The end of its traceback:") == 3
    assert len(page.html) < 100_000


def test_clusters_are_told_apart(tmp_path, report, life):
    events = life.success("u", "shop.pay")
    lines = [
        encode_line(envelope(event) | {"v": 2, "cluster": cluster})
        for cluster in ("eu", "us")
        for event in events
    ]
    (tmp_path / "two.jsonl").write_bytes(b"\n".join(lines))
    _, page, _ = report("two.jsonl")
    assert [row[:3] for row in page.tables["Task types"][2:]] == [
        ["shop.pay", "eu", "1"], ["shop.pay", "us", "1"],
    ]  # fmt: skip
    assert "Clusters eu, us" in page.text
    assert "2 tasks completed" in page.text


def test_what_the_settings_mask_is_masked(record, report, life, tmp_path):
    place = tmp_path / ".config" / "evtools"
    place.mkdir(parents=True)
    (place / "evtools.toml").write_text("redact = ['/s3kr1t/']\nheartbeat = 3\n")
    status, page, err = report(record(life.failure("u", exception="X('s3kr1t')")))
    assert (status, "s3kr1t" in page.html + err) == (0, False)
    assert "some values were masked" in page.text


def test_the_workflow_of_the_slowest_is_kept_when_its_tasks_are_forgotten(
    record, report, life, monkeypatch
):
    monkeypatch.setattr(figures_module, "_TASKS_MAX", 5)
    monkeypatch.setattr(figures_module, "SLOWEST_MAX", 2)
    events = life.success("root", "shop.order")
    for number in range(3):
        name, ids = f"c{number}", {"root_id": "root", "parent_id": "root"}
        events += [life.sent(name, f"shop.step{number}", **ids), life.started(name)]
        events.append(life.succeeded(name, runtime=10.0 + number))
    events += [each for n in range(30) for each in life.success(f"u{n}")]
    _, page, _ = report(record(events))
    assert [row[0] for row in page.tables["The slowest tasks"][1:]] == ["12.0s", "11.0s"]
    assert "Workflow of shop.step2" in page.text
    told = page.text[page.text.index("Workflow of shop.step2") :]
    for name in ("shop.order", "├─ shop.step0", "├─ shop.step1", "└─ shop.step2"):
        assert name in told, name
    assert "some of it may be missing" in told


def test_time_of_any_length_is_counted_in_few_slots():
    for most in (2, 7, 240):
        timeline, times = Timeline(most), [0.0, 4.9, 5.0, 60.0, 7200.0, 86_400.0 * 800, 3.0, 9e9]
        for at in times:
            timeline.add(at, {None: {1: 1.0, 2: 0.5}})
        rows = timeline.read(None, min(times), max(times))
        assert len(rows) <= most
        assert sum(row.count(1) for row in rows) == len(times)
        assert timeline.begin <= min(times)
        assert timeline.begin + len(rows) * timeline.width > max(times)


def test_memory_is_bounded_whatever_tasks_are_called(life):
    figures = Figures(SystemClock())
    for number in range(1200):
        life.now += 5.0
        figures.take(events_of(life.success(f"u{number}", f"t{number}")))
    figures.end()
    assert len(figures.of_types._slots) <= 120
    assert len(figures._types) <= 1000
    assert math.isclose(figures.totals().count(3), 1200)
