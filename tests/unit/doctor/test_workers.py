import threading
import uuid

import pytest

from evtools.clock import SystemClock
from evtools.doctor.context import Observation, WorkerSigns
from evtools.doctor.workers import (
    arrived,
    ask,
    check_clocks,
    check_events,
    check_heartbeats,
    check_task_events,
    check_workers,
    listen,
)
from evtools.errors import BrokerUnavailable
from evtools.transport import ConnectionSettings
from servers.ports import HOST, free_port
from tools.flow import Sender


def signs(*, beats=1, task_events=0, delay=0.0, before=0, after=0):
    made = WorkerSigns(beats=beats, task_events=task_events, delay=delay)
    for count in (before, after):
        made.apply({"type": "worker-online", "hostname": "w1", "processed": count})
    return made


def observed(workers=(), *, seconds=6.0, **fields):
    workers = dict(workers)
    fields.setdefault("events", len(workers))
    return Observation(seconds=seconds, workers=workers, **fields)


SEEN = {"w1": signs()}
ANSWERED = frozenset({"w1"})

# --- events ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "severity", "text"),
    [
        (observed(SEEN), "ok", "1 event of 1 worker arrived in 6.00s"),
        (observed(pongs=ANSWERED), "problem", "nothing arrived in 6.00s\nWorkers answer, so this"),
        (observed(), "problem", "nothing arrived in 6.00s\nEither no worker is running"),
        (observed(failure=BrokerUnavailable("gone", "look")), "problem", "gone\nlook"),
    ],
)
def test_events_arrive_or_there_is_a_reason(told, seen, severity, text):
    ((found, said),) = told(arrived, seen)
    assert found == severity
    assert said.startswith(text)


def test_malformed_messages_are_a_warning(told):
    seen = observed(SEEN, defects=(("no JSON", 2), ("pickle", 1)))
    warnings = [text for severity, text in told(arrived, seen) if severity == "warning"]
    assert warnings[0].startswith("2 messages could not be decoded, whole or in part: no JSON")
    assert warnings[1].startswith("1 message could not be decoded, whole or in part: pickle")


def test_the_doctor_listens_and_overhears(case, told, redis_url):
    made = case(urls=redis_url, options={"wait": 0.2}, read_only=True)
    made.clock = SystemClock()
    ((severity, _),) = told(check_events, made)
    assert severity == "problem"
    assert made.inspector.begun
    assert made.observation.seconds >= 0.2


@pytest.mark.parametrize("missing", ["exchange", "right"])
@pytest.mark.parametrize("mailboxes", [True, False])
def test_where_we_cannot_listen_workers_are_asked_if_there_are_mailboxes(
    case, fake, told, redis_url, mailboxes, missing
):
    made = case(fake(mailboxes=mailboxes), urls=redis_url)
    made.exchange_exists = missing != "exchange"
    made.may_listen = missing != "right"
    assert told(check_events, made) == []
    assert made.observation.pongs == (frozenset() if mailboxes else None)


# --- workers -----------------------------------------------------------------------


# fmt: off
ANSWERS = [
    (observed(pongs=frozenset({"w2", "w1"})), {}, True, "ok", "2 workers answered: w1, w2\n"),
    (observed(pongs=frozenset()), {}, True,
     "problem", "no worker answered\nNo worker runs here. Or it is busy"),
    (observed(refusal=BrokerUnavailable("no permission")), {}, True,
     "warning", "the workers could not be asked: no permission"),
    (observed(), {"read_only": True}, True, "note", "workers were not asked: --read-only"),
    (observed(), {}, True, "note", "workers were not asked, as we cannot listen"),
    (observed(), {}, False, "note", "there is no exchange celery.pidbox, so no worker"),
    (observed(SEEN), {"control_exchange": "blue"}, False,
     "warning", "workers cannot be asked: there is no exchange blue.pidbox\nThey were started"),
]
# fmt: on


@pytest.mark.parametrize(("seen", "settings", "mailboxes", "severity", "text"), ANSWERS)
def test_workers_answer_or_there_is_a_reason(case, told, seen, settings, mailboxes, severity, text):
    made = case(seen=seen, **settings)
    made.has_mailboxes = mailboxes
    ((found, said),) = told(check_workers, made)
    assert found == severity
    assert said.startswith(text)


def test_workers_that_send_events_and_do_not_answer_are_a_warning(case, told):
    seen = observed(SEEN | {"w2": signs()}, pongs=ANSWERED)
    (_, (severity, text)) = told(check_workers, case(seen=seen))
    assert severity == "warning"
    assert "do not answer: w2" in text
    assert "control_exchange" in text


# --- task events -------------------------------------------------------------------

ON, OFF = {"worker_send_task_events": True}, {"worker_send_task_events": "yes"}


UNKNOWN = "unknown whether task events are on, at:"
# fmt: off
TASK_EVENTS = [
    (observed({"w1": signs(task_events=3)}, sent=1), [("ok", "come from: w1\n")]),
    (observed({"w1": signs(task_events=3)}),
     [("ok", "come from"), ("note", "task_send_sent_event = True in the clients")]),
    (observed({"w1": signs(before=1, after=4)}, settings={"w1": ON}),
     [("problem", "task events are off: tasks ran, and no event of any came, at: w1")]),
    (observed(SEEN | {"w2": signs()}, settings={"w1": ON, "w2": OFF}),
     [("note", f"{UNKNOWN} w2\nworker_send_task_events"), ("ok", "no task was seen, at: w1")]),
    (observed(SEEN), [("note", f"{UNKNOWN} w1\nIf they are off: start")]),
    (observed(), []),
]
# fmt: on


@pytest.mark.parametrize(("seen", "findings"), TASK_EVENTS)
def test_task_events_are_on_or_off_or_unknown(case, told, seen, findings):
    found = told(check_task_events, case(seen=seen))
    assert [severity for severity, _ in found] == [severity for severity, _ in findings]
    for (_, said), (_, text) in zip(found, findings, strict=True):
        assert text in said


# --- clocks and heartbeats -----------------------------------------------------------


@pytest.mark.parametrize(
    ("delays", "severity", "text"),
    [
        ([0.2, -1.0], "ok", "of 2 workers are right within 2s\n"),
        ([90.0, None], "warning", "up to 1m30s behind ours: w0\n"),
        ([-5.0, None], "warning", "up to 5.00s ahead of ours: w0\n"),
    ],
)
def test_clocks_are_right_or_wrong(case, told, delays, severity, text):
    workers = {f"w{number}": signs(delay=delay) for number, delay in enumerate(delays)}
    ((found, said),) = told(check_clocks, case(seen=observed(workers)))
    assert found == severity
    assert said.startswith(text)
    assert ("take this long" in said) == (delays[0] > 2)


def test_heartbeats_come_or_do_not(case, told):
    workers = SEEN | {"w2": signs(beats=0)}
    (bad, text), good = told(check_heartbeats, case(seen=observed(workers)))
    assert (bad, good) == ("warning", ("ok", "come from 1 worker\n"))
    assert "none came in 6.00s from w2" in text
    short = case(seen=observed({"w2": signs(beats=0)}, seconds=1.0))
    ((severity, text),) = told(check_heartbeats, short)
    assert (severity, "--wait 5s" in text) == ("note", True)
    short.exchange_exists = False
    assert told(check_heartbeats, short) == []


def test_without_workers_nothing_is_said_of_them(case, told):
    for check in (check_clocks, check_heartbeats):
        assert told(check, case(seen=observed())) == []


# --- listening ---------------------------------------------------------------------


def test_events_and_answers_are_gathered(celery_worker):
    settings = ConnectionSettings(
        urls=celery_worker.broker_url, event_exchange=celery_worker.event_exchange
    )
    seen = listen(settings, 3.0, SystemClock())
    assert seen.failure is None
    assert seen.seconds >= 3.0
    assert seen.signs(celery_worker.hostname).beats
    assert celery_worker.hostname in seen.pongs
    theirs = seen.settings[celery_worker.hostname]
    assert theirs["event_exchange"] == celery_worker.event_exchange


def test_a_broker_that_is_away_is_reported_and_not_waited_for():
    settings = ConnectionSettings(urls=f"redis://{HOST}:{free_port()}/0")
    seen = listen(settings, 60.0, SystemClock())
    assert "connection refused" in seen.failure.message
    assert seen.pongs is None


def test_where_there_are_no_mailboxes_none_is_made(rabbitmq_server, event_exchange):
    name = uuid.uuid4().hex
    settings = ConnectionSettings(
        urls=rabbitmq_server.url, event_exchange=event_exchange, control_exchange=name
    )
    seen = listen(settings, 0.5, SystemClock(), asks=False)
    assert (seen.failure, seen.pongs) == (None, None)
    exchanges = rabbitmq_server.rabbitmqctl("list_exchanges", "name")
    assert event_exchange in exchanges
    assert name not in exchanges


def test_what_is_malformed_is_counted(redis_url):
    settings = ConnectionSettings(urls=redis_url, read_only=True)
    source, ended = Sender(redis_url), threading.Event()

    def babble():
        while not ended.wait(0.1):
            source.send_body("[")

    thread = threading.Thread(target=babble)
    thread.start()
    try:
        seen = listen(settings, 1.0, SystemClock())
    finally:
        ended.set()
        thread.join()
        source.close()
    ((kind, count),) = seen.defects
    assert kind
    assert count > 1


def test_workers_may_be_asked_or_not(redis_url, redis_acl):
    seen = Observation()
    ask(ConnectionSettings(urls=redis_url, read_only=True), seen)
    assert seen.pongs is None
    ask(ConnectionSettings(urls=redis_url), seen, 0.1)
    assert seen.pongs == frozenset()
    seen = Observation()
    ask(
        ConnectionSettings(urls=f"redis://listener:listener-secret@{HOST}:{redis_acl.port}/0"), seen
    )
    assert seen.pongs is None
    assert "permission" in seen.refusal.message
