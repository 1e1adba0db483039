import pytest

from evtools.errors import BrokerUnavailable
from evtools.top.check import STATUSES, Observation, Result, ask, judge, line, queue_names, run
from evtools.top.options import Check, TopOptions
from evtools.transport import ConnectionSettings
from tools.typed import event_of

AWAY = ConnectionSettings(urls="redis://:s3kr1t@127.0.0.1:1/0")


@pytest.fixture
def settings(celery_worker):
    return ConnectionSettings(
        urls=celery_worker.broker_url, event_exchange=celery_worker.event_exchange
    )


def options(*workers, delay=15.0, queues=(), max_idle=None, **more):
    wanted = Check(workers=workers, queues=queues, max_idle=max_idle)
    return TopOptions(check=wanted, refresh=delay, **more)


def beat(**fields):
    told = {"type": "worker-heartbeat", "hostname": "w@h", "local_received": 5.0} | fields
    return event_of(told)


# --- against a real worker ----------------------------------------------------------


def test_a_worker_that_is_alive_is_ok(celery_worker, settings, capsys):
    assert run(options(celery_worker.hostname), settings) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"OK - {celery_worker.hostname} is alive, heartbeat ")
    assert f"| '{celery_worker.hostname} heartbeat_age'=" in out
    assert out.count("\n") == 1


def test_what_it_consumes_is_asked(celery_worker, settings, capsys):
    name = celery_worker.hostname
    assert run(options(name, queues=("shared",)), settings) == 0
    assert "consumes shared" in capsys.readouterr().out
    assert run(options(name, queues=("shared", "other")), settings) == 2
    assert capsys.readouterr().out.startswith(f"CRITICAL - {name} does not consume other")


def test_a_worker_nobody_knows_is_critical(celery_worker, settings, capsys):
    names = (celery_worker.hostname, "nobody@h")
    assert run(options(*names, delay=3.0), settings) == 2
    out = capsys.readouterr().out
    assert out.startswith("CRITICAL - nobody@h sent no heartbeat in 3.00s and does not answer; ")
    assert f"{names[0]} is alive" in out


def test_a_worker_without_work_is_critical_where_it_must_have_some(celery_worker, settings, capsys):
    made = options(celery_worker.hostname, max_idle=6.0, delay=1.0)
    assert run(made, settings) == 2
    assert "has processed no task in 6." in capsys.readouterr().out


def test_read_only_nobody_is_asked(celery_worker, settings, capsys):
    listening = ConnectionSettings(
        urls=settings.urls, event_exchange=settings.event_exchange, read_only=True
    )
    assert run(options(celery_worker.hostname), listening) == 0
    capsys.readouterr()
    assert run(options(celery_worker.hostname, queues=("shared",)), listening) == 3
    assert "was not asked what it consumes" in capsys.readouterr().out


# --- without one --------------------------------------------------------------------


def test_a_simulated_worker_answers(capsys):
    made = options("w1@demo-a", demo=True, delay=5.0)
    assert run(made, ConnectionSettings()) == 0
    assert capsys.readouterr().out.startswith("OK - w1@demo-a is alive, heartbeat")


def test_a_simulated_worker_is_busy(capsys):
    made = options("w1@demo-a", demo=True, max_idle=20.0)
    assert run(made, ConnectionSettings(read_only=True)) == 0
    assert " in " in capsys.readouterr().out


def test_a_broker_that_is_away_leaves_it_unknown(capsys):
    assert run(options("w@h", delay=0.1), AWAY) == 3
    out = capsys.readouterr().out
    assert out.startswith("UNKNOWN - cannot reach redis://:**@127.0.0.1:1/0")
    assert "trying again" not in out


def test_a_broker_that_goes_away_before_the_question_is_told():
    with pytest.raises(BrokerUnavailable, match="cannot reach"):
        ask(Check(workers=("w@h",)), AWAY)


# --- what its events report -----------------------------------------------------------


def observed(*beats):
    """Return what is known of w@h after heartbeats."""
    one = Observation("w@h")
    for fields in beats:
        one.take(beat(**fields))
    return one


def test_the_tasks_done_are_the_difference_of_two_counts():
    assert observed().done is None
    assert observed({}, {"processed": 7, "active": 2}).done is None
    one = observed({"processed": 7, "active": 2}, {"processed": 9, "local_received": 7.0})
    assert (one.done, one.worker.processed, one.worker.active, one.last_seen) == (2, 9, 2, 7.0)
    restarted = observed(*[{"processed": processed} for processed in (100, 3, 4)])
    assert restarted.done == 1


@pytest.mark.parametrize("odd", ["7", None, -1, 2**63, True, 1.5])
def test_an_odd_count_is_no_count(odd):
    one = observed({"processed": odd, "active": odd})
    assert (one.worker.processed, one.worker.active) == (None, None)


@pytest.mark.parametrize(
    ("beats", "max_idle", "enough"),
    [
        ([], None, False),
        ([{}], None, True),
        ([{"type": "worker-offline"}], None, False),
        ([{"type": "worker-offline"}, {"type": "worker-online"}], None, True),
        ([{"processed": 7}, {"processed": 7}], 5.0, False),
        ([{"processed": 7}, {"processed": 8}], 5.0, True),
    ],
)
def test_it_listens_until_nothing_better_can_be_seen(beats, max_idle, enough):
    assert observed(*beats).suffices(Check(workers=("w@h",), max_idle=max_idle)) is enough


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
    assert queue_names(answer) == queues


# --- the result -----------------------------------------------------------------------

CHECK = Check(workers=("w@h",))
CONSUMING = Check(workers=("w@h",), queues=("mail", "img"))
ALIVE = "w@h is alive, heartbeat 500ms ago"
BUSY = Check(workers=("w@h",), max_idle=60.0)


def seen(*, done=None, stopped=False, **what):
    """Return a worker that was observed for a minute, and processed `done` tasks."""
    beats = [] if done is None else [{"processed": 35}, {"processed": 35 + done, "active": 3}]
    one = observed(*beats, *[{"type": "worker-offline"}] * stopped)
    for name, value in {"looked": 61.0, "age": 0.5, "answers": True, **what}.items():
        setattr(one, name, value)
    return one


def only(check, **what):
    [result] = judge(check, [seen(**what)], patience=10.0)
    return tuple(result)


@pytest.mark.parametrize(
    ("check", "what", "level", "text"),
    [
        (CHECK, {}, "OK", ALIVE),
        (CHECK, {"answers": None}, "OK", ALIVE),
        (CHECK, {"stopped": True}, "CRITICAL", "w@h has shut down"),
        (
            CHECK,
            {"age": None, "answers": False},
            "CRITICAL",
            "w@h sent no heartbeat in 10.0s and does not answer",
        ),
        (CHECK, {"age": 10.1, "answers": None}, "CRITICAL", "w@h sent no heartbeat in 10.0s"),
        (CHECK, {"age": None}, "WARNING", "w@h answers, but sent no heartbeat in 10.0s"),
        (CHECK, {"answers": False}, "WARNING", "w@h sends heartbeats, but does not answer"),
        (CONSUMING, {"queues": ("img", "mail", "x")}, "OK", f"{ALIVE}, consumes mail img"),
        (CONSUMING, {"queues": ("mail",)}, "CRITICAL", "w@h does not consume img"),
        (
            CONSUMING,
            {"answers": None},
            "UNKNOWN",
            "w@h was not asked what it consumes: --read-only",
        ),
        (BUSY, {"done": 1}, "OK", f"{ALIVE}, 1 task in 1m01s"),
        (BUSY, {"done": 7}, "OK", f"{ALIVE}, 7 tasks in 1m01s"),
        (BUSY, {"done": 0}, "CRITICAL", "w@h has processed no task in 1m01s"),
        (BUSY, {"done": None}, "UNKNOWN", "w@h did not report in 1m01s what it has processed"),
    ],
)
def test_a_worker_is_judged_by_what_was_seen(check, what, level, text):
    assert only(check, **what) == (level, text)


def test_who_is_silent_is_not_called_idle_as_well():
    assert only(BUSY, age=None, answers=False)[0] == "CRITICAL"


def test_the_worst_comes_first_and_all_is_told():
    other = seen(stopped=True, name="w2@h")
    results = judge(CONSUMING, [seen(queues=()), other], patience=10.0)
    assert [result.level for result in results] == ["CRITICAL"] * 3
    results = judge(CHECK, [seen(), other], patience=10.0)
    assert [result.level for result in results] == ["CRITICAL", "OK"]


def test_the_line_is_what_nagios_reads():
    one = seen(done=7, queues=("mail", "img"))
    text = line([Result("OK", "w@h is alive"), Result("OK", "x")], [one], 10.0)
    assert text == (
        "OK - w@h is alive; x | 'w@h heartbeat_age'=0.500s;;10;0"
        " 'w@h processed'=42c 'w@h active'=3;;;0"
    )


def test_without_figures_there_is_no_bar():
    assert line([Result("UNKNOWN", "a|b")], [], 10.0) == "UNKNOWN - a/b"
    assert line([Result("CRITICAL", "x")], [seen(age=None)], 1.0) == "CRITICAL - x"


def test_a_strange_name_does_not_break_the_line():
    name = "w|'=\x1b[2J@h"
    one = Observation(name, age=0.0)
    results = judge(Check(workers=(name,)), [one], patience=1.0)
    text = line(results, [one], 1.0)
    assert text.count("|") == 1
    assert "'w/''_\\x1b[2J@h heartbeat_age'=0.000s" in text


def test_the_statuses_are_those_of_nagios():
    assert STATUSES == {"OK": 0, "WARNING": 1, "CRITICAL": 2, "UNKNOWN": 3}
