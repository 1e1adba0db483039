from contextlib import ExitStack

import pytest

from evtools.alerts import parse_rule
from evtools.errors import BrokerUnavailable
from evtools.top.check import AlertWatch, Observation, ask, report, run
from evtools.top.options import Check, TopOptions
from evtools.transport import ConnectionSettings, Notice, Replies
from tools.clock import FakeClock
from tools.life import Life
from tools.typed import event_of

AWAY = ConnectionSettings(urls="redis://:s3kr1t@127.0.0.1:1/0")
NAME = "w@h"


@pytest.fixture
def checked(capsys):
    """Return what checks workers: the status, and the line that is printed."""

    def check(settings, *workers, delay=15.0, queues=(), max_idle=None, **more):
        wanted = Check(workers=workers, queues=queues, max_idle=max_idle)
        status = run(TopOptions(check=wanted, refresh=delay, **more), settings)
        out = capsys.readouterr().out
        assert out.count("\n") == 1
        return status, out

    return check


# --- a whole run --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "status", "text"),
    [
        ({}, 0, "OK - w1@demo-a is alive, heartbeat "),
        ({"read_only": True}, 0, "OK - "),
        ({"read_only": True, "queues": ("mail",)}, 3, "was not asked what it consumes"),
    ],
)  # fmt: skip
def test_simulated_workers_answer(checked, more, status, text):
    settings = ConnectionSettings(read_only=more.pop("read_only", False))
    found, out = checked(settings, "w1@demo-a", demo=True, **more)
    assert found == status
    assert text in out


@pytest.mark.usefixtures("until_tried")
def test_a_broker_that_is_away_leaves_it_unknown(checked):
    status, out = checked(AWAY, NAME, delay=0.1)
    assert status == 3
    assert out.startswith("UNKNOWN - cannot reach redis://:**@127.0.0.1:1/0")
    assert "trying again" not in out
    with pytest.raises(BrokerUnavailable, match="cannot reach"):
        ask(Check(workers=(NAME,)), AWAY)


# --- what its events report ---------------------------------------------------------------


def observed(*beats, name=NAME):
    """Return what is known of a worker after heartbeats."""
    one = Observation(name)
    for fields in beats:
        beat = {"type": "worker-heartbeat", "hostname": name, "local_received": 5.0}
        one.take(event_of(beat | fields))
    return one


GOODBYE = {"type": "worker-offline"}


@pytest.mark.parametrize(
    ("beats", "done", "alive", "busy"),
    [
        ([], None, False, False),
        ([{}], None, True, False),
        ([GOODBYE], None, False, False),
        ([GOODBYE, {"type": "worker-online"}], None, True, False),
        ([{}, {"processed": 7}], None, True, False),
        ([{"processed": 7}, {"processed": 7}], 0, True, False),
        ([{"processed": 7}, {"processed": 9}], 2, True, True),
        # It has restarted.
        ([{"processed": count} for count in (100, 3, 4)], 1, True, True),
    ],
)
def test_it_listens_until_nothing_better_can_be_seen(beats, done, alive, busy):
    one = observed(*beats)
    assert one.done == done
    assert one.suffices(Check(workers=(NAME,))) is alive
    assert one.suffices(Check(workers=(NAME,), max_idle=5.0)) is busy


@pytest.mark.parametrize(
    ("answer", "queues"),
    [
        ([{"name": "mail"}, {"name": 7}, {}, 7, {"name": "img"}], ("mail", "img")),
        ([], ()),
        ({"error": "KeyError"}, None),
        (None, None),
    ],
)
def test_queues_are_read_from_whatever_a_worker_answers(answer, queues):
    one = observed({})
    one.conclude(1.0, 5.5, Replies({NAME: answer}))
    assert (one.answers, one.queues, one.age) == (True, queues, 0.5)


# --- alerts -------------------------------------------------------------------------------


class Tables:
    """Alerts that are checked, and time that is moved by hand."""

    def __init__(self, *tables):
        rules = [parse_rule(f"a{at}", "/x: a", table) for at, table in enumerate(tables)]
        self.clock, self.life = FakeClock(1000.0), Life(1000.0)
        options, settings = TopOptions(read_only=True), ConnectionSettings(read_only=True)
        check = Check(alerts=tuple(rules))
        self.watch = AlertWatch(options, check, settings, self.clock, ExitStack())
        self.watch.apply(Notice("listening", "redis://host"))

    def take(self, *events, seconds=1.0):
        """Take events, let time pass, and look; return what is found."""
        self.watch.take(list(map(event_of, events)))
        self.clock.now = self.life.now = self.life.now + seconds
        self.watch.look()
        return self.watch.results(self.clock.now - 1000.0)


FAILING = {"filter": "state:failure", "window": "1m"}


def test_alerts_that_fire_are_reported_by_their_level():
    tables = Tables({**FAILING, "level": "warning", "message": "a|b"}, {**FAILING, "count": 2})
    assert tables.take() == [("UNKNOWN", "no event was received in 1.00s")]
    quiet = ("OK", "no alert fires of 2, watched for 3.40s")
    assert tables.take(*tables.life.success("x"), seconds=2) == [quiet]
    one = tables.take(*tables.life.failure("y"))
    assert one == [("WARNING", "a0 fires: a|b: proj.add")]
    assert not tables.watch.suffices()
    both = tables.take(*tables.life.failure("z", "\x1b[2J\u202e"))
    assert [level for level, _ in both] == ["WARNING", "CRITICAL"]
    assert tables.watch.suffices()
    level, line = report(both, tables.watch.figures())
    assert level == "CRITICAL"
    assert line == (
        "CRITICAL - a1 fires: state:failure: 2 events, \\x1b[2J\\u202e, proj.add; "
        "a0 fires: a/b: 2 events, \\x1b[2J\\u202e, proj.add | 'a0 matched'=2;;;0 'a1 matched'=2;;;0"
    )


def test_what_could_not_be_decided_is_unknown():
    tables = Tables(
        {**FAILING, "for": "30s"},
        {"filter": "state:failure name:mail"},
        {"view": "queues", "filter": "depth>10"},
        {"view": "types", "filter": "run_p95>1s"},
    )
    # Of the task no event said the name, nobody asked the broker, and nothing ran.
    life = tables.life
    held, name, depth = tables.take(life.sent("x"), life.failed("y"), seconds=5)
    assert held == ("UNKNOWN", "a0: w1@host for 5.20s, and it fires after 30.0s: give a longer -d")
    assert name[1].startswith(
        "a1: name: unknown for 100% of events (the tasks were received before"
    )
    assert depth == ("UNKNOWN", "a2: depth: unknown for 100% of queues")


def test_alerts_of_simulated_workers_fire(capsys):
    table = {"view": "workers", "filter": "status:online", "count": 2}
    check = Check(alerts=(parse_rule("a", "/x: a", table),), watch=30.0)
    assert run(TopOptions(check=check, demo=True), ConnectionSettings()) == 2
    assert capsys.readouterr().out.startswith("CRITICAL - a fires: status")


# --- the result ---------------------------------------------------------------------------

CHECK = Check(workers=(NAME,))
CONSUMING = Check(workers=(NAME,), queues=("mail", "img"))
BUSY = Check(workers=(NAME,), max_idle=60.0)
ALIVE = "is alive, heartbeat 500ms ago"
SILENT = "sent no heartbeat in 10.0s"


def seen(*beats, name=NAME, **what):
    """Return a worker that was observed for a minute."""
    one = observed(*beats, name=name)
    for attribute, value in {"looked": 61.0, "age": 0.5, "answers": True, **what}.items():
        setattr(one, attribute, value)
    return one


def done(count):
    return [{"processed": 35}, {"processed": 35 + count, "active": 3}]


# fmt: off
RESULTS = [
    (CHECK,     seen(),                            "OK",       ALIVE),
    (CHECK,     seen(answers=None),                "OK",       ALIVE),
    (CHECK,     seen(GOODBYE),                     "CRITICAL", "has shut down"),
    (CHECK,     seen(age=None, answers=False),     "CRITICAL", SILENT + " and does not answer"),
    (CHECK,     seen(age=10.1, answers=None),      "CRITICAL", SILENT),
    (CHECK,     seen(age=None),                    "WARNING",  f"answers, but {SILENT}"),
    (CHECK,     seen(answers=False),      "WARNING", "sends heartbeats, but does not answer"),
    (CHECK,     seen(processes=2),                 "WARNING",  "is the name of 2 processes"),
    (CONSUMING, seen(queues=("img", "mail", "x")), "OK",       ALIVE + ", consumes mail img"),
    (CONSUMING, seen(queues=("mail",)),            "CRITICAL", "does not consume img"),
    (CONSUMING, seen(answers=None), "UNKNOWN", "was not asked what it consumes: --read-only"),
    (BUSY,      seen(*done(1)),                    "OK",       ALIVE + ", 1 task in 1m01s"),
    (BUSY,      seen(*done(7)),                    "OK",       ALIVE + ", 7 tasks in 1m01s"),
    (BUSY,      seen(*done(0)),                    "CRITICAL", "has processed no task in 1m01s"),
    (BUSY,      seen(), "UNKNOWN", "did not report in 1m01s what it has processed"),
    # One that is silent is not called idle as well.
    (BUSY,      seen(age=None, answers=False),     "CRITICAL", SILENT + " and does not answer"),
]
# fmt: on


@pytest.mark.parametrize(("check", "one", "level", "text"), RESULTS)
def test_a_worker_is_judged_by_what_was_seen(check, one, level, text):
    assert one.results(check, 10.0) == [(level, f"{NAME} {text}")]


def test_the_line_is_what_nagios_reads_the_worst_first():
    one, other = seen(*done(7)), seen(GOODBYE, name="w2@h", age=None)
    results = [result for each in (one, other) for result in each.results(CHECK, 10.0)]
    figures = "'w@h heartbeat_age'=0.500s;;10;0 'w@h processed'=42c 'w@h active'=3;;;0"
    line = f"CRITICAL - w2@h has shut down; w@h {ALIVE} | {figures}"
    shown = [figure for each in (one, other) for figure in each.figures(10.0)]
    assert report(results, shown) == ("CRITICAL", line)
    assert report([("UNKNOWN", "a|b")]) == ("UNKNOWN", "UNKNOWN - a/b")


def test_a_strange_name_does_not_break_the_line():
    one = seen(name="w|'=\x1b[2J@h", age=0.0)
    _, line = report(one.results(CHECK, 1.0), one.figures(1.0))
    assert line.count("|") == 1
    assert "'w/''_\\x1b[2J@h heartbeat_age'=0.000s" in line
