import pytest

from evtools.errors import BrokerUnavailable
from evtools.top import check
from evtools.top.check import Pulse, ask, run
from evtools.top.options import Check, TopOptions
from evtools.transport import ConnectionSettings

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
    return {"type": "worker-heartbeat", "hostname": "w@h", "local_received": 5.0} | fields


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


# --- one pulse ----------------------------------------------------------------------


def test_a_worker_that_said_nothing_has_no_pulse():
    pulse = Pulse()
    assert (pulse.heard, pulse.done) == (None, None)
    assert not pulse.suffices(Check(workers=("w@h",)))


def test_what_is_done_is_the_difference_of_two_counts():
    pulse = Pulse()
    pulse.take(beat())
    pulse.take(beat(processed=7, active=2))
    assert pulse.done is None
    pulse.take(beat(processed=9, local_received=7.0))
    assert (pulse.done, pulse.worker.processed, pulse.worker.active) == (2, 9, 2)
    assert pulse.heard == 7.0


def test_after_a_restart_the_count_begins_anew():
    pulse = Pulse()
    for processed in (100, 3, 4):
        pulse.take(beat(processed=processed))
    assert pulse.done == 1


@pytest.mark.parametrize("odd", ["7", None, -1, 2**63, True, 1.5])
def test_an_odd_count_is_no_count(odd):
    pulse = Pulse()
    pulse.take(beat(processed=odd, active=odd))
    assert (pulse.worker.processed, pulse.worker.active) == (None, None)


def test_a_goodbye_holds_until_it_is_back():
    wanted = Check(workers=("w@h",))
    pulse = Pulse()
    pulse.take(beat(type="worker-offline"))
    assert pulse.stopped
    assert not pulse.suffices(wanted)
    pulse.take(beat(type="worker-online"))
    assert not pulse.stopped
    assert pulse.suffices(wanted)


def test_who_must_be_busy_is_not_done_before_a_task_is():
    wanted = Check(workers=("w@h",), max_idle=5.0)
    pulse = Pulse()
    pulse.take(beat(processed=7))
    pulse.take(beat(processed=7))
    assert not pulse.suffices(wanted)
    pulse.take(beat(processed=8))
    assert pulse.suffices(wanted)


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
    assert check._queues(answer) == queues
