"""Alerts on evtop's screen: the strip, the bell, the key that leads there, the log."""

import pytest

from evtools.alerts import parse_rule
from evtools.errors import ConfigError
from evtools.top.model import Model
from evtools.top.options import TopOptions
from evtools.transport.recording.reader import RecordingReader
from evtools.wire import from_fields
from tools.clock import FakeClock
from tools.screen import FakeTerminal

HOSTILE = "pay\x1b]0;owned\x07\u202e\n" + "x" * 300


def rules(*tables):
    return tuple(
        parse_rule(table.get("name", f"a{number}"), "/x.toml: alert.a",
            {key: value for key, value in table.items() if key != "name"})
        for number, table in enumerate(tables)
    )  # fmt: skip


def watching(*tables, size=(120, 32), **how):
    return FakeTerminal(size, alerts=rules(*tables), **how)


def fail(terminal, count=1, name="mail.send", **more):
    for number in range(count):
        terminal.take(terminal.life.failure(f"{name}-{terminal.life.clock}-{number}", name, **more))


def strip(terminal):
    return next((line for line in terminal.lines() if line.startswith(" ! ")), "")


def log(terminal):
    return [text for _, text, _ in reversed(terminal.session.said)]


FAILING = {"name": "failing", "view": "types", "filter": "share>5 failed>=3"}


def test_one_fires_rings_once_is_in_the_log_and_goes():
    terminal = watching({**FAILING, "window": "1m", "for": "30s"})
    fail(terminal, 3)
    terminal.tick(29)
    assert not strip(terminal)
    assert not terminal.host.sent
    terminal.tick(2)
    assert strip(terminal).startswith(" ! failing: mail.send for 31s  ")
    assert strip(terminal).endswith("W goes there")
    terminal.tick(20)
    fail(terminal, 1, "web.get")
    fail(terminal, 2, "web.get")
    assert "failing: 2 types, mail.send, web.get for 52s" in strip(terminal)
    terminal.tick(70)
    terminal.tick(1)
    assert not strip(terminal)
    assert terminal.host.sent == ["\a"]
    assert log(terminal) == [
        "alert failing fired: share>5 failed>=3: mail.send",
        "alert failing resolved after 2m02s: share>5 failed>=3",
    ]
    terminal.press("m")
    assert "error: alert failing fired" in terminal.text


def test_what_only_warns_and_must_not_ring_does_neither():
    terminal = watching({**FAILING, "level": "warning", "bell": False, "message": "mail is down"})
    fail(terminal, 3)
    terminal.tick()
    assert "! failing: mail is down: mail.send for" in strip(terminal)
    frame = terminal.frame()
    assert frame.lines[3][0][0] == "alert-warning"
    frame.hits[3](5, 3)  # as its key does
    assert terminal.session.view == "types"
    assert not terminal.host.sent
    assert terminal.session.said[0][2] == "warning"


@pytest.mark.parametrize(
    ("table", "view", "shown"),
    [
        ({"view": "tasks", "filter": "state:failure", "count": 4}, "tasks", "4 tasks, mail.send"),
        ({"view": "types", "filter": "name:mail share=100", "window": "15m"}, "types", "mail.send"),
        ({"view": "workers", "filter": "worker:w1 share>50"}, "workers", "w1@host"),
        ({"view": "queues", "filter": "name=mail published>0", "window": "1m"}, "queues", "mail"),
        ({"view": "errors", "filter": "count>=4", "window": "all"}, "errors", "mail.send Val"),
        ({"filter": "state:failure name:mail.*", "count": 4}, "events", "4 events, mail.send"),
    ],
)
def test_the_key_leads_to_the_rows_of_an_alert_of_any_view_and_back(table, view, shown):
    terminal = watching(table)
    terminal.take(terminal.life.beat("w1@host"), terminal.life.success("x", "web.get"))
    fail(terminal, 4)
    assert shown in strip(terminal)
    terminal.session.model.options.compare = "1h"
    terminal.press("2", "/")
    terminal.write("zzz")
    terminal.press("enter", "1", "W")
    session = terminal.session
    assert (session.view, session.table.filter_text) == (view, table["filter"])
    assert session.model.options.window == table.get("window", "5m")
    assert len(session.table) == (4 if view in ("tasks", "events") else 1)
    assert "alert a0" in session.trail[-1][1]
    terminal.press("q")
    assert (session.view, session.model.options.window) == ("tasks", "5m")
    assert session.model.options.compare == "1h"
    assert session.model.views["types"].filter_text == "zzz"


def test_figures_are_those_of_the_window_of_the_alert_whatever_the_screen_shows():
    terminal = watching(
        {"name": "minute", "view": "types", "filter": "failed>=3", "window": "1m"},
        {"name": "hour", "view": "types", "filter": "failed>=3", "window": "1h"},
    )
    fail(terminal, 3)
    terminal.tick(120)
    fail(terminal, 1)
    terminal.tick()
    terminal.press("T", "2")
    terminal.tick()
    assert [one.rule.name for one in terminal.session.model.alerts.firing()] == ["hour"]
    assert terminal.session.model.options.window == "15m"


def test_of_several_the_strip_is_one_line_and_the_key_lists_them():
    names = [f"alert-{number}" for number in range(20)]
    small = watching(*({**FAILING, "name": name} for name in names), size=(80, 24))
    fail(small, 30)
    small.tick()
    lines = small.lines()
    assert sum("mail.send" in line for line in lines) == small.session.table.room == 17
    assert lines[2].startswith(" ! 20 alerts: alert-0 for 11s, alert-1 for 11s,")
    assert lines[2].endswith("W shows them")
    assert len(lines) == 24
    assert "1 Tasks" in lines[3]
    small.press("W")
    assert "alert-7: mail.send" in small.text
    small.press("down", "enter")
    assert small.session.trail[-1][1] == "alert alert-1"
    small.size = small.host.cols_rows = (50, 12)
    assert strip(small).endswith("W shows them")
    small.press("enter")
    assert len(small.lines()) == 12
    assert small.host.sent == ["\a"]  # one for all that fired together


def test_in_the_overview_they_come_first_and_enter_leads_there():
    terminal = watching(
        {**FAILING, "name": "two", "level": "warning", "message": "mail fails"}, FAILING
    )
    terminal.take(terminal.life.beat("w9@gone"))
    terminal.tick(200)
    fail(terminal, 5)
    terminal.press("0")
    terminal.tick()
    table = terminal.session.table
    rows = [table.row(number) for number in range(len(table))]
    assert [row.cells[0].strip() for row in rows][:3] == ["alert", "alert", "worker"]
    assert "failing: share>5 failed>=3: mail.send" in terminal.text
    assert rows[1].style == "late"
    terminal.press("home", "enter")
    assert (terminal.session.view, terminal.session.table.filter_text) == (
        "types", "share>5 failed>=3",
    )  # fmt: skip
    terminal.press("q")
    assert terminal.session.view == "overview"


def test_while_paused_nothing_fires_and_what_must_last_begins_anew():
    terminal = watching({**FAILING, "for": "10s"}, {"filter": "state:failure", "count": 4})
    fail(terminal, 3)
    terminal.press("p")
    fail(terminal, 1)
    terminal.tick(60)
    assert not strip(terminal)
    terminal.press("p")
    terminal.tick()
    assert "a1: 4 events, mail.send for" in strip(terminal)
    assert len(terminal.session.model.alerts.firing()) == 1
    terminal.tick(10)
    assert len(terminal.session.model.alerts.firing()) == 2


def test_of_a_replay_the_time_is_that_of_the_recording(tmp_path):
    path = tmp_path / "r.jsonl"
    path.touch()
    terminal = watching(
        {"filter": "state:failure", "for": "10s"},
        source=RecordingReader(str(path), clock=FakeClock()),
    )
    fail(terminal)
    terminal.tick(3600)
    assert not strip(terminal)
    terminal.take(terminal.life.beat())
    assert not strip(terminal)  # an hour later the failure is past


def test_each_cluster_has_rows_of_its_own():
    errors = {"view": "errors", "filter": "cluster:us count>=3"}
    terminal = watching({**FAILING, "count": 2}, errors, names=("eu", "us"))
    for cluster in ("eu", "us"):
        assert not strip(terminal)
        for number in range(3):
            events = list(
                map(from_fields, terminal.life.failure(f"{cluster}{number}", "mail.send"))
            )
            for event in events:
                event.cluster = cluster
            terminal.take(events)
    assert "! 2 alerts: failing for 0s, a1 for 0s" in strip(terminal)
    assert log(terminal) == [
        "alert failing fired: share>5 failed>=3: 2 types, eu mail.send, us mail.send",
        "alert a1 fired: cluster:us count>=3: us mail.send ValueError",
    ]


def test_what_a_sender_chose_reaches_strip_log_and_overview_sanitised():
    terminal = watching(
        FAILING, {"filter": "state:failure"}, {"view": "tasks", "filter": "any:pay"}
    )
    fail(terminal, 3, HOSTILE)
    terminal.press("0")
    terminal.tick()
    texts = [terminal.text, *log(terminal)]
    terminal.press("W")
    texts.append(terminal.text)
    assert all("pay\\x1b]0;" in text for text in texts)
    assert not any(set("".join(texts)) & set("\x1b\x07\u202e"))


def test_tasks_are_looked_at_in_slices_as_far_as_there_is_time(monkeypatch):
    terminal = watching({"view": "tasks", "filter": "state:success", "count": 3000})
    alerts = terminal.session.model.alerts
    now = [0.0]

    class Slow:
        wall = terminal.clock.wall

        def monotonic(self):
            now[0] += 0.006  # each look at it takes so long
            return now[0]

    alerts._clock = Slow()
    for number in range(3000):
        terminal.session.model.take(list(map(from_fields, terminal.life.success(f"t{number}"))))
    terminal.tick()
    parts = 0
    while alerts.waiting:
        assert not alerts.firing()
        alerts.work()
        parts += 1
    assert parts > 4
    assert alerts.firing()
    alerts.look(terminal.session.model.context(), whole=True)
    assert alerts.firing()[0].found().startswith("3000 tasks, proj.add t2999, proj.add t2998")


def test_without_one_that_fires_the_key_says_so_and_what_cannot_be_known(terminal):
    terminal.press("W")
    assert "there are no alerts" in terminal.message
    terminal = watching({"name": "full", "view": "queues", "filter": "depth>100"}, FAILING)
    terminal.take(terminal.life.sent("x"))
    terminal.press("W")
    assert terminal.message == "no alert fires of 2; full: depth: unknown for 100% of queues"
    terminal.command("alerts nine")
    assert terminal.message == "there is no alert nine (there are full, failing)"
    terminal.command("alerts failing")
    assert terminal.session.view == "types"


def test_a_filter_that_does_not_fit_its_rows_is_named_with_file_table_and_key():
    with pytest.raises(ConfigError) as caught:
        Model(options=TopOptions(alerts=rules({"view": "queues", "filter": "depht>5"})))
    assert caught.value.message.startswith("/x.toml: alert.a.filter: bad filter at column 1")
    assert "queues have cluster, name, depth" in caught.value.hint
