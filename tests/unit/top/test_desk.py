import threading

import pytest

from evtools.clock import SystemClock
from evtools.errors import UsageError
from evtools.state import State
from evtools.top.desk import ControlDesk
from evtools.top.request import prepare
from evtools.transport import ConnectionSettings
from servers.process import wait_until

NOBODY = ConnectionSettings(urls="memory://desk")


@pytest.fixture
def open_desk():
    """Open a desk; it is closed after the test."""
    desks = []

    def make(settings, **how):
        how.setdefault("deadline", 0.05)
        woken = threading.Semaphore(0)
        desk = ControlDesk(settings, woken.release, clock=SystemClock(), **how)
        desks.append(desk)
        return desk, woken

    yield make
    for desk in desks:
        desk.close()


def request(command, *targets, workers=None, **answers):
    made = prepare(State(), command, targets, now=0.0).answered(answers)
    assert made.workers == workers
    return made


def outcome_of(desk, woken, asked):
    desk.submit(asked)
    assert woken.acquire(timeout=30)
    return desk.take()


def test_a_worker_answers_a_request(open_desk, celery_worker):
    settings = ConnectionSettings(
        urls=celery_worker.broker_url, event_exchange=celery_worker.event_exchange
    )
    desk, woken = open_desk(settings, deadline=15)
    outcome = outcome_of(desk, woken, request("ping", celery_worker.hostname))
    [reply] = outcome.replies
    assert (reply.worker, reply.text) == (celery_worker.hostname, "pong")
    assert (outcome.answered, outcome.expected) == (1, 1)
    assert outcome.good
    assert outcome.seconds > 0


def test_a_refusal_names_what_it_is_about(open_desk, celery_worker):
    settings = ConnectionSettings(
        urls=celery_worker.broker_url, event_exchange=celery_worker.event_exchange
    )
    desk, woken = open_desk(settings, deadline=3)
    asked = request("rate-limit", "no.such.task", rate_limit="1/s")
    outcome = outcome_of(desk, woken, asked)
    ours = [r for r in outcome.failures if r.worker == celery_worker.hostname]
    assert [(reply.target, reply.text) for reply in ours] == [("no.such.task", "unknown task")]


def test_nobody_to_answer_is_an_outcome_as_well(open_desk):
    desk, woken = open_desk(NOBODY)
    outcome = outcome_of(desk, woken, request("revoke", "a", "b"))
    assert (outcome.replies, outcome.error) == ((), "")


def test_requests_are_carried_out_in_their_order(open_desk):
    desk, woken = open_desk(NOBODY)
    for target in "abc":
        desk.submit(request("revoke", target))
    for _ in "abc":
        assert woken.acquire(timeout=30)
    targets = [desk.take().request.targets for _ in "abc"]
    assert targets == [("a",), ("b",), ("c",)]
    assert desk.take() is None


def test_what_waits_is_counted(open_desk):
    desk, woken = open_desk(NOBODY)
    assert desk.waiting == 0
    desk.submit(request("revoke", "a"))
    assert woken.acquire(timeout=30)
    wait_until(lambda: desk.waiting == 0, deadline=5, what="the count to go down")


def test_a_broker_that_is_away_is_an_outcome_that_shows_no_password(open_desk):
    away = ConnectionSettings(urls="redis://:s3kr1t@127.0.0.1:1/0", connect_timeout=0.2)
    desk, woken = open_desk(away)
    outcome = outcome_of(desk, woken, request("revoke", "a"))
    assert "not sent: cannot reach redis://:**@127.0.0.1:1/0" in outcome.sentence()
    assert "s3kr1t" not in outcome.sentence()


def test_each_request_leaves_a_line_in_the_log(open_desk, caplog):
    desk, woken = open_desk(NOBODY)
    outcome_of(desk, woken, request("revoke", "a"))
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("audit ")
    assert '"action": "revoke"' in line


def test_read_only_nothing_is_taken(open_desk):
    settings = ConnectionSettings(urls="memory://desk", read_only=True)
    desk, _ = open_desk(settings)
    with pytest.raises(UsageError, match="read-only"):
        desk.submit(request("ping", "w@h"))
    assert desk.waiting == 0


def test_a_desk_nobody_used_closes_at_once(open_desk):
    desk, _ = open_desk(NOBODY)
    desk.close()


def test_outcomes_nobody_takes_do_not_pile_up(open_desk):
    desk, woken = open_desk(NOBODY, deadline=0.0)
    for number in range(103):
        desk.submit(request("revoke", str(number)))
    for _ in range(103):
        assert woken.acquire(timeout=30)
    assert desk.take().request.targets == ("3",)
