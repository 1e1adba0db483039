"""When an alert of evcam fires and resolves, by group, and what its hooks are given."""

import json
from datetime import UTC

import pytest

from evtools.alerts import parse_rule
from evtools.cam import alerts
from evtools.cam.alerts import GROUPS_MAX, SEEN_MAX, AlertWatch
from evtools.errors import ConfigError, UsageError
from evtools.rows import ROWS, QueueFacts, WorkerFacts
from evtools.state import State
from evtools.top.model import Model
from evtools.top.options import TopOptions
from evtools.transport import ConnectionSettings
from evtools.transport.queues import Depth, Plan, PlannedTask
from evtools.wire import from_fields
from tools.clock import FakeClock
from tools.life import Life


class Play:
    """Alerts, a cluster that they watch, and what their hooks were given."""

    def __init__(self, *tables, is_replay=False):
        self.life, self.clock = Life(), FakeClock(1000.0)
        self.rules = [
            parse_rule(f"a{n}", f"f: alert.a{n}", {"run": "x", **table})
            for n, table in enumerate(tables)
        ]
        self.watch = AlertWatch(self.rules, self.clock, zone=UTC, is_replay=is_replay)
        self.states = {}
        self.given = []
        for each in self.watch._watches:
            each.hooks = [self]
        self.connect()

    def put(self, notice):
        self.given.append((notice, json.loads(notice.body)))

    def connect(self, cluster=""):
        self.state(cluster)
        self.watch.connected(cluster, self.clock.now)

    def state(self, cluster):
        if cluster not in self.states:
            self.states[cluster] = State(clock=self.clock, cluster=cluster)
            self.watch.add(self.states[cluster])
        return self.states[cluster]

    def take(self, *events, cluster=""):
        for fields in events:
            event = from_fields(fields)
            if cluster:
                event.cluster = cluster
            for change in self.state(cluster).changes([event]):
                self.watch.take(change, cluster)
        self.clock.now = max(self.clock.now, self.life.now)

    def fail(self, uuid, exception="ValueError('bad 1')", name="proj.add", **how):
        made = self.life.received(uuid, name), self.life.failed(uuid, exception=exception)
        self.take(*made, **how)

    def look(self, seconds=0.0):
        """Return what the hooks are given when it is looked at after some seconds."""
        self.clock.now += seconds
        self.life.now = self.clock.now
        before = len(self.given)
        self.watch.look(whole=True)
        return [body for _, body in self.given[before:]]


def briefly(bodies):
    return [(body["state"], body["count"], body["group"].get("exception")) for body in bodies]


def test_each_kind_of_failure_fires_once_and_resolves_with_how_many_there_were(log):
    play = Play({"filter": "state:failure", "window": "10s", "cooldown": 0})
    play.fail("1")
    play.fail("2", "ValueError('bad 2')")
    play.fail("3", "KeyError('x')")
    assert briefly(play.look()) == [("fired", 2, "ValueError"), ("fired", 1, "KeyError")]
    for uuid in "4567":
        play.fail(uuid)
        assert play.look(1.0) == []
    assert briefly(play.look(9.0)) == [("resolved", 1, "KeyError")]
    resolved = play.look(9.0)
    assert briefly(resolved) == [("resolved", 6, "ValueError")]
    assert resolved[0]["id"] == play.given[0][1]["id"]
    assert [line.partition(": ")[0] for line in log()] == ["alert a0 fired"] * 2 + [
        "alert a0 resolved"
    ] * 2
    assert not play.watch._watches[0].groups  # nothing is kept of what is over


def test_a_notice_has_what_the_manual_says_of_it():
    play = Play({"filter": "name:proj.*", "window": "1m", "level": "warning", "message": "m"})
    play.connect("eu")
    sent = play.life.sent("1", "proj.add")
    play.take(sent, cluster="eu")
    play.fail("1", "ValueError(\"no $(touch x) '7'\")", name="proj.add", cluster="eu")
    fired = next(body for body in play.look() if body["group"]["by"] == "failure")
    [notice] = [one for one, body in play.given if body == fired]
    assert (notice.alert, notice.state, notice.body.count(b"\n")) == ("a0", "fired", 0)
    expected = {
        "version": 1, "alert": "a0", "state": "fired", "at": play.clock.now, "level": "warning",
        "message": "m", "view": "events", "filter": "name:proj.*", "window": 60.0, "threshold": 1,
        "cluster": "eu", "count": 1, "since": play.clock.now, "suppressed": 0,
        "first_seen": False, "replay": False, "names": ["proj.add"], "type": "proj.add",
        "worker": "w1@host",
    }  # fmt: skip
    rest = {name: value for name, value in fired.items() if name not in expected}
    assert {name: fired[name] for name in expected} == expected
    assert {*rest} == {"id", "text", "group", "event"}
    assert rest["text"].startswith("alert a0 fired: m: eu proj.add ValueError no $(touch x) '*'")
    group = rest["group"]
    assert (len(group.pop("fingerprint")), group) == (
        16,
        {"by": "failure", "cluster": "eu", "type": "proj.add", "exception": "ValueError",
         "message": "no $(touch x) '*'"},
    )  # fmt: skip
    event = rest["event"]
    assert (event["type"], event["uuid"], event["name"]) == ("task-failed", "1", "proj.add")
    assert event["kwargs"] == "{}"  # of its task


def test_what_a_sender_chose_is_bounded_and_text_is_fit_to_be_shown():
    play = Play({"filter": "state:failure"})
    fields = {f"f{n}": "v" for n in range(200)}
    hostile = "\x1b[2J\n'\"$(touch x)\u202e" + "x" * 100_000
    failed = play.life.failed("1", exception=f"E({hostile!r})", traceback="t" * 50_000 + "end")
    play.take(play.life.received("1", hostile), {**failed, **fields, "deep": [["x"] * 9999]})
    [body] = play.look()
    assert len(json.dumps(body)) < 40_000
    assert body["text"].isprintable()
    assert len(body["event"]) <= 50
    assert body["event"]["traceback"].endswith("end")
    assert len(body["event"]["traceback"]) < 5000
    assert body["type"].startswith("\x1b[2J\n'\"$(touch x)")


def test_a_threshold_over_a_window_is_of_each_group_and_of_all_without_groups():
    table = {"filter": "state:failure", "window": "10s", "count": 3}
    play = Play(table, {**table, "group": "none"}, {**table, "group": "type"})
    play.fail("1")
    play.fail("2", "KeyError('x')")
    play.fail("3", "KeyError('y')", name="proj.other")
    assert [body["alert"] for body in play.look()] == ["a1"]
    play.fail("4")
    assert [(b["alert"], b["group"].get("type")) for b in play.look(1.0)] == [("a2", "proj.add")]
    play.fail("5")
    assert [body["alert"] for body in play.look(1.0)] == ["a0"]


def test_cooldown_keeps_the_same_quiet_and_says_what_still_fires_after_it():
    play = Play({"filter": "state:failure", "window": "2s", "cooldown": "60s"})
    play.fail("1")
    assert briefly(play.look()) == [("fired", 1, "ValueError")]
    assert briefly(play.look(5.0)) == [("resolved", 1, "ValueError")]
    for uuid in "234":
        play.fail(uuid)
        assert play.look() == []
        assert play.look(5.0) == []  # it fired and resolved, and nothing was said
    assert play.watch.as_dict()["alerts"]["a0"] == {
        "firing": 0, "groups": 1, "fired": 1, "resolved": 1, "suppressed": 3,
    }  # fmt: skip
    quiet = play.given[0][1]["at"] + 60.0
    assert play.look(quiet - 1.0 - play.clock.now) == []
    play.fail("5")
    assert play.look() == []
    [late] = play.look(1.0)
    assert (late["state"], late["suppressed"]) == ("fired", 4)
    assert [body["state"] for body in play.look(9.0)] == ["resolved"]


def test_first_seen_is_each_kind_of_failure_once(monkeypatch):
    monkeypatch.setattr(alerts, "SEEN_MAX", 2)
    play = Play({"filter": "state:failure", "window": "1s", "cooldown": 0, "first_seen": True})

    def fired():
        bodies = play.look() + play.look(3.0)
        return [body["group"]["message"] for body in bodies if body["state"] == "fired"]

    play.take(play.life.beat())
    for uuid, kind, expected in (
        ("1", "a", ["a"]), ("2", "a", []), ("3", "b", ["b"]), ("4", "a", []), ("5", "c", ["c"]),
        ("6", "a", []), ("7", "b", ["b"]),  # which was forgotten for c
    ):  # fmt: skip
        play.fail(uuid, f"E('{kind}')")
        assert fired() == expected
    assert SEEN_MAX >= 1000


def test_events_that_are_no_failures_are_grouped_by_type_or_worker():
    play = Play({"filter": "type:worker-offline or type:task-revoked or type:own-thing"})
    play.take(play.life.event("worker-offline", hostname="w1@h"))
    play.take(play.life.event("worker-offline", hostname="w2@h"))
    play.take(play.life.received("1", "a"), play.life.event("task-revoked", uuid="1"))
    play.take(play.life.event("own-thing", hostname="w3@h"))
    groups = [body["group"] for body in play.look()]
    assert [(g["by"], g.get("type"), g.get("worker")) for g in groups] == [
        ("worker", None, "w1@h"), ("worker", None, "w2@h"), ("type", "a", None),
        ("type", "", None),
    ]  # fmt: skip


def test_groups_are_bounded_and_the_others_count_together():
    play = Play({"filter": "state:failure", "window": "1h", "group": "type"})
    for number in range(GROUPS_MAX + 50):
        play.fail(f"u{number}", name=f"n{number}")
    bodies = play.look()
    assert len(bodies) == GROUPS_MAX + 1
    assert (bodies[-1]["group"]["name"], bodies[-1]["count"]) == ("(others)", 50)


def test_what_nobody_can_see_neither_fires_nor_resolves():
    play = Play({"filter": "state:failure", "window": "10s", "cooldown": 0, "for": "5s"})
    play.connect("eu")
    play.fail("1")
    assert play.look() == []
    play.watch.lost("", play.clock.now)
    assert play.look(6.0) == []  # it is not known whether it lasted
    play.connect()
    play.fail("2")
    assert [body["state"] for body in play.look()] == ["fired"]
    play.watch.lost("", play.clock.now)
    assert play.look(600.0) == []
    play.connect()
    assert play.look(9.0) == []  # not seen for as long as it counts
    assert [body["state"] for body in play.look(2.0)] == ["resolved"]


def test_clusters_are_told_apart_and_one_that_is_away_does_not_resolve():
    play = Play({"filter": "state:failure", "window": "5s", "cooldown": 0})
    play.connect("eu")
    play.connect("us")
    for cluster in ("eu", "us"):
        play.fail("1", cluster=cluster)
    assert [body["cluster"] for body in play.look()] == ["eu", "us"]
    play.watch.lost("eu", play.clock.now)
    bodies = play.look(20.0)
    assert [(body["state"], body["cluster"]) for body in bodies] == [("resolved", "us")]


def test_tasks_are_looked_at_together_or_by_type():
    table = {"filter": "state:started runtime>1m", "view": "tasks", "cooldown": 0}
    play = Play(table, {**table, "group": "type"})
    for uuid, name in (("1", "a"), ("2", "a"), ("3", "b")):
        play.take(play.life.received(uuid, name), play.life.started(uuid))
    assert play.look(30.0) == []
    play.take(play.life.beat())
    bodies = play.look(31.0)
    assert [(b["alert"], b["count"], b["group"].get("type")) for b in bodies] == [
        ("a0", 3, None), ("a1", 2, "a"), ("a1", 1, "b"),
    ]  # fmt: skip
    assert bodies[1]["row"]["state"] == "STARTED"
    assert bodies[0]["window"] is None
    assert bodies[2]["worker"] == "w1@host"
    play.take(*(play.life.succeeded(uuid) for uuid in "12"))
    bodies = play.look(1.0)
    assert [(b["alert"], b["state"], b["count"]) for b in bodies] == [("a1", "resolved", 2)]
    play.take(play.life.succeeded("3"))
    assert [b["state"] for b in play.look(1.0)] == ["resolved"] * 2


def test_a_notice_of_a_replay_says_so():
    play = Play({"filter": "state:failure"}, is_replay=True)
    play.fail("1")
    assert [body["replay"] for body in play.look()] == [True]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"group": "row"}, 'group: events have no group "row"'),
        ({"view": "types", "group": "row", "count": 2}, "count: rows are notified one by one"),
        ({"view": "types", "first_seen": True}, "first_seen: is about events"),
        ({"first_seen": True, "group": "type"}, "first_seen: is about kinds of failures"),
        ({"run": 5}, "run: must be a command line"),
        ({"run": ["a", 5]}, "run: must be a command line"),
        ({"run": "a 'b"}, "run: no closing quotation"),
        ({"webhook": "h"}, "webhook: is no URL of HTTP"),
        ({"webhook": ["http://h", "http://h:x"]}, "webhook: is no URL of HTTP"),
        ({"webhook": 5}, "webhook: must be a URL"),
        ({"webhook": ["http://h"] * 11}, "webhook: an alert may have 10 of these"),
        ({"headers": "A=b"}, "headers: are those of a webhook, and there is none"),
        ({"timeout": 0}, "timeout: must be above 0"),
        ({"timeout": "11m"}, "timeout: must be a time of up to 10m"),
        ({"cooldown": "2d"}, "cooldown: must be a time of up to 1d00h"),
    ],
)
def test_a_mistake_in_what_is_run_is_named(table, words):
    with pytest.raises(ConfigError) as caught:
        parse_rule("own", "f: alert.own", {"filter": "x", **table})
    assert caught.value.message.startswith(f"f: alert.own.{words}")


def test_a_check_names_a_program_that_is_not_there():
    rule = parse_rule("own", "f: alert.own", {"filter": "x", "run": ["/nowhere/x", "-a"]})
    watch = AlertWatch([rule], FakeClock(), zone=UTC)
    with pytest.raises(UsageError, match="alert own: cannot run /nowhere/x"):
        list(watch.check())


# --- rows -------------------------------------------------------------------------------


def busy(life):
    """Yield events of types that fail, a worker that goes, queues, and a schedule."""
    for number in range(40):
        name = ("mail.send", "web.get")[number % 2]
        yield life.sent(f"u{number}", name, queue=("mail", "web")[number % 2])
        yield life.received(f"u{number}", name)
        yield life.started(f"u{number}")
        if number % 8 == 0:
            yield life.failed(f"u{number}", exception=f"KeyError({number})")
        else:
            yield life.succeeded(f"u{number}", runtime=0.1 * (number % 5))
    yield life.sent("left", "mail.send", queue="mail")
    yield life.beat("w1@host")
    yield life.beat("w2@host", active=3)
    yield life.event("worker-offline", hostname="w3@host")


ON_ROWS = [
    ("types", "share>10"), ("types", "name:web.* ok>=20"), ("types", "run_p95>300ms"),
    ("types", "active>0 or failed>4"), ("types", "has:period"), ("workers", "status:offline"),
    ("workers", "active>2 beat<1m"), ("workers", "has:pool"), ("workers", "ok>0 share>1"),
    ("errors", "count>4 exc:keyerror"), ("errors", "has:first"), ("errors", "name:web.*"),
    ("queues", "backlog>0"), ("queues", "received>0.01 name:web"), ("queues", "depth>0"),
    ("queues", "wait_p95>10ms"), ("tasks", "state:failure name:mail.*"), ("tasks", "runtime<1s"),
]  # fmt: skip


def test_rows_mean_here_what_they_mean_in_evtop():
    tables = [{"view": view, "filter": text, "group": "none"} for view, text in ON_ROWS]
    play = Play(*tables)
    model = Model(clock=play.clock, options=TopOptions(alerts=tuple(play.rules)))
    model.clusters.of("").connection.status = "live"
    events = list(busy(play.life))
    play.take(*events)
    model.take([from_fields(fields) for fields in events])
    play.look(5.0)
    model.refresh("types", play.clock.now)
    model.alerts.look(model.context(), whole=True)
    ours = {alert: group for watch in play.watch._watches for alert, group in _found(watch)}
    theirs = {
        alert.rule.filter: (alert.matched, {*alert.names})
        for alert in model.alerts.alerts
        if alert.matched
    }
    assert ours == theirs
    assert len(theirs) > 12


def _found(watch):
    for group in watch.groups.values():
        yield watch.rule.filter, (group.alert.matched, {*group.alert.names})


def test_columns_of_evtop_are_these_fields():
    model = Model(clock=FakeClock())
    for view, fields in ROWS.items():
        shown = {one.name: one.kind for one in model.views[view].columns if one.name != "trend"}
        assert shown == {name: each.kind for name, each in fields.items()}


def test_each_row_fires_and_resolves_by_itself_or_all_are_counted():
    table = {"view": "errors", "filter": "count>=1", "window": "1m", "cooldown": 0}
    play = Play(table, {**table, "group": "none", "count": 2}, {**table, "view": "types",
        "filter": "failed>0"})  # fmt: skip
    play.fail("1")
    [error, of_type] = play.look()
    assert (error["alert"], error["group"]["exception"], error["count"]) == ("a0", "ValueError", 1)
    assert error["row"]["exc"] == "ValueError: bad *"
    assert of_type["group"] | {"fingerprint": ""} == {
        "by": "row", "type": "proj.add", "fingerprint": "",
    }  # fmt: skip
    # The same failure has the same fingerprint as in an alert on events.
    on_events = Play({"filter": "state:failure"})
    on_events.fail("1")
    assert on_events.look()[0]["group"]["fingerprint"] == error["group"]["fingerprint"]
    play.fail("2", "KeyError('x')")
    assert {b["alert"] for b in play.look(1.0)} == {"a0", "a1"}
    assert {b["state"] for b in play.look(90.0)} == {"resolved"}


class Broker:
    """What a broker and workers say, in the place of the thread that asks them."""

    def __init__(self, settings, **how):
        self.how, self.noted, self.closed = how, [], False
        self.depths, self.said = {}, None

    def facts(self):
        return QueueFacts(self.depths, {}, at=1.0)

    def asked(self):
        return self.said

    def plan(self):
        return Plan((PlannedTask("nightly", "proj.nightly", due=1000.0, last=900.0),)), 1100.0

    def note(self, names):
        self.noted = [*names]

    def start(self):
        pass

    close = start


def test_queues_workers_and_plans_are_asked_for_where_an_alert_wants_them(monkeypatch):
    monkeypatch.setattr(alerts, "QueueWatch", Broker)

    def broker_of(*tables, **settings):
        play = Play(*tables)
        play.watch.watch_broker(ConnectionSettings(urls="redis://", **settings), None)
        return play, play.watch._clusters[""].broker

    assert broker_of({"filter": "x"}, {"view": "workers", "filter": "active>1"})[1] is None
    play, broker = broker_of({"view": "queues", "filter": "depth>10 consumers=0"})
    assert (broker.how["asks_workers"], broker.how["reads_plans"]) == (True, False)
    play.take(play.life.sent("1", queue="mail"))
    broker.depths = {"mail": Depth(11, consumers=0)}
    [body] = play.look()
    assert (body["group"]["queue"], body["row"]["depth"], body["type"]) == ("mail", 11, None)
    assert broker.noted == ["mail"]
    broker.depths = {"mail": Depth(9, consumers=0)}
    assert [body["state"] for body in play.look(1.0)] == ["resolved"]
    play, broker = broker_of({"view": "workers", "filter": "pool<4"})
    play.take(play.life.beat())
    broker.said = {"w1@host": WorkerFacts(pool=2, shown_queues=("mail",))}
    assert [body["worker"] for body in play.look()] == ["w1@host"]
    play, broker = broker_of({"view": "types", "filter": "overdue>1m"}, read_only=True)
    assert (broker.how["asks_workers"], broker.how["reads_plans"]) == (False, True)
    play.clock.now = 1200.0
    assert [body["type"] for body in play.look()] == ["proj.nightly"]
    with pytest.raises(UsageError, match="alert a0: pool of workers cannot be known"):
        broker_of({"view": "workers", "filter": "pool<4"}, read_only=True)


@pytest.mark.parametrize("name", ["depth", "unacked", "net_per_min", "empty_in", "oldest"])
def test_what_no_broker_says_is_refused_at_the_start(name):
    table = {"view": "queues", "filter": f"has:{name} or backlog>1"}
    rule = parse_rule("own", "f: alert.own", table)
    with pytest.raises(UsageError) as caught:
        AlertWatch([rule], FakeClock(), zone=UTC, has_broker=False)
    words = f"alert own: {name} of queues cannot be known: there is no broker to ask"
    assert caught.value.message == words
