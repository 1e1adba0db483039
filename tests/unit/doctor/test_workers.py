import threading
import uuid

import pytest

from evtools.clock import SystemClock
from evtools.doctor.observation import Observation, WorkerSigns
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


@pytest.fixture
def listened(told):
    """Return what the doctor says when it has listened."""
    return lambda seen: told(arrived, seen)


# --- events ------------------------------------------------------------------------


def test_events_that_arrive_are_counted(listened):
    ((severity, text),) = listened(observed({"w1": signs()}))
    assert severity == "ok"
    assert text.startswith("1 event of 1 worker arrived in 6.00s")


def test_silence_with_workers_that_answer_is_a_matter_of_settings(listened):
    ((severity, text),) = listened(observed(pongs=frozenset({"w1"})))
    assert severity == "problem"
    assert "nothing arrived in 6.00s" in text
    assert "this is the right broker" in text


def test_silence_without_anybody_is_a_matter_of_the_place(listened):
    ((severity, text),) = listened(observed())
    assert severity == "problem"
    assert "no worker is running" in text


def test_a_connection_that_fails_is_a_problem(listened):
    seen = observed(failure=BrokerUnavailable("gone", "look after it"))
    assert listened(seen) == [("problem", "gone\nlook after it")]


def test_what_cannot_be_read_is_a_warning(listened):
    seen = observed({"w1": signs()}, defects=(("no JSON", 2), ("pickle", 1)))
    warnings = [text for severity, text in listened(seen) if severity == "warning"]
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
def test_where_nobody_can_listen_workers_are_asked_if_there_are_mailboxes(
    case, fake, told, redis_url, mailboxes, missing
):
    made = case(fake(mailboxes=mailboxes), urls=redis_url)
    made.exchange_exists = missing != "exchange"
    made.may_listen = missing != "right"
    assert told(check_events, made) == []
    assert made.observation.pongs == (frozenset() if mailboxes else None)


# --- workers -----------------------------------------------------------------------


def test_workers_that_answer_are_named(case, told):
    seen = observed(pongs=frozenset({"w2", "w1"}))
    ((severity, text),) = told(check_workers, case(seen=seen))
    assert severity == "ok"
    assert text.startswith("2 workers answered: w1, w2")


def test_of_many_workers_some_are_named_and_all_on_request(case, told):
    seen = observed(pongs=frozenset(f"w{number}" for number in range(9)))
    ((_, text),) = told(check_workers, case(seen=seen))
    assert text.endswith("w0, w1, w2, w3, w4 and 4 more\n")
    ((_, text),) = told(check_workers, case(seen=seen, options={"verbose": True}))
    assert "w8" in text


def test_workers_that_are_only_heard_are_a_warning(case, told):
    seen = observed({"w1": signs(), "w2": signs()}, pongs=frozenset({"w1"}))
    (_, (severity, text)) = told(check_workers, case(seen=seen))
    assert severity == "warning"
    assert "do not answer: w2" in text
    assert "control_exchange" in text


def test_that_nobody_answers_is_a_problem(case, told):
    ((severity, text),) = told(check_workers, case(seen=observed(pongs=frozenset())))
    assert severity == "problem"
    assert "no worker answered\nNo worker runs here. Or it is busy" in text


def test_that_we_may_not_ask_is_a_warning(case, told):
    seen = observed(refusal=BrokerUnavailable("no permission"))
    ((severity, text),) = told(check_workers, case(seen=seen))
    assert severity == "warning"
    assert "could not be asked: no permission" in text


def test_that_nobody_was_asked_is_noted_with_its_reason(case, told):
    ((severity, text),) = told(check_workers, case(seen=observed(), read_only=True))
    assert (severity, "--read-only" in text) == ("note", True)
    made = case(seen=observed())
    ((severity, text),) = told(check_workers, made)
    assert (severity, "cannot listen" in text) == ("note", True)
    made.has_mailboxes = False
    ((severity, text),) = told(check_workers, made)
    assert (severity, "no exchange celery.pidbox" in text) == ("note", True)


def test_workers_that_are_heard_and_have_no_mailbox_are_a_warning(case, told):
    seen = observed({"w1": signs()})
    made = case(seen=seen, control_exchange="blue")
    made.has_mailboxes = False
    ((severity, text),) = told(check_workers, made)
    assert severity == "warning"
    assert "there is no exchange blue.pidbox" in text
    assert "--control-exchange" in text


# --- task events -------------------------------------------------------------------


def test_task_events_that_come_are_on(case, told):
    seen = observed({"w1": signs(task_events=3)}, sent=1)
    assert told(check_task_events, case(seen=seen)) == [("ok", "come from: w1\n")]


def test_without_task_sent_the_clients_are_named(case, told):
    seen = observed({"w1": signs(task_events=3)})
    (_, (severity, text)) = told(check_task_events, case(seen=seen))
    assert severity == "note"
    assert "task_send_sent_event" in text


def test_tasks_without_events_mean_that_they_are_off(case, told):
    configured = {"w1": {"worker_send_task_events": True}}
    seen = observed({"w1": signs(before=1, after=4)}, settings=configured)
    ((severity, text),) = told(check_task_events, case(seen=seen))
    assert severity == "problem"
    assert "w1" in text
    assert "-E" in text


def test_without_a_task_only_the_settings_tell(case, told):
    seen = observed(
        {"w1": signs(), "w2": signs()},
        settings={
            "w1": {"worker_send_task_events": True},
            "w2": {"worker_send_task_events": "yes"},
        },
    )
    findings = told(check_task_events, case(seen=seen))
    assert "off in their settings; -E" in findings[0][1]
    assert [severity for severity, _ in findings] == ["note", "ok"]
    assert "unknown whether task events are on, at: w2" in findings[0][1]
    assert "no task was seen, at: w1" in findings[1][1]


def test_of_workers_that_told_no_settings_none_is_claimed(case, told):
    seen = observed({"w1": signs()})
    ((severity, text),) = told(check_task_events, case(seen=seen))
    assert severity == "note"
    assert "unknown whether task events are on, at: w1" in text
    assert "settings" not in text


def test_without_workers_nothing_is_said_of_them(case, told):
    for check in (check_task_events, check_clocks, check_heartbeats):
        assert told(check, case(seen=observed())) == []


# --- clocks ------------------------------------------------------------------------


def test_clocks_that_are_right(case, told):
    seen = observed({"w1": signs(delay=0.2), "w2": signs(delay=-1.0)})
    assert told(check_clocks, case(seen=seen)) == [("ok", "of 2 workers are right within 2s\n")]


@pytest.mark.parametrize(
    ("delay", "text"),
    [(90.0, "up to 1m30s behind ours: w1"), (-5.0, "up to 5.00s ahead of ours: w1")],
)
def test_clocks_that_are_wrong(case, told, delay, text):
    seen = observed({"w1": signs(delay=delay), "w2": signs(delay=None)})
    ((severity, said),) = told(check_clocks, case(seen=seen))
    assert severity == "warning"
    assert said.startswith(text)
    assert ("take this long" in said) == (delay > 0)


# --- heartbeats --------------------------------------------------------------------


def test_heartbeats_that_come(case, told):
    seen = observed({"w1": signs()})
    assert told(check_heartbeats, case(seen=seen)) == [("ok", "come from 1 worker\n")]


def test_heartbeats_that_do_not_come(case, told):
    seen = observed({"w1": signs(), "w2": signs(beats=0)})
    ((severity, text), _) = told(check_heartbeats, case(seen=seen))
    assert severity == "warning"
    assert "none came in 6.00s from w2" in text


def test_after_a_short_time_nothing_is_claimed(case, told):
    seen = observed({"w2": signs(beats=0)}, seconds=1.0)
    ((severity, text),) = told(check_heartbeats, case(seen=seen))
    assert severity == "note"
    assert "--wait 5s" in text


def test_where_nobody_could_listen_nothing_is_claimed(case, told):
    made = case(seen=observed({"w2": signs(beats=0)}))
    made.exchange_exists = False
    assert told(check_heartbeats, made) == []


# --- listening ---------------------------------------------------------------------


@pytest.fixture
def settings(celery_worker):
    return ConnectionSettings(
        urls=celery_worker.broker_url, event_exchange=celery_worker.event_exchange
    )


def test_events_and_answers_are_gathered(settings, celery_worker):
    seen = listen(settings, 3.0, SystemClock())
    assert seen.failure is None
    assert seen.seconds >= 3.0
    assert seen.signs(celery_worker.hostname).beats
    assert celery_worker.hostname in seen.pongs
    theirs = seen.settings[celery_worker.hostname]
    assert theirs["event_exchange"] == celery_worker.event_exchange


def test_a_broker_that_is_away_is_told_and_not_waited_for():
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


@pytest.fixture
def source(redis_url):
    made = Sender(redis_url)
    yield made
    made.close()


def test_what_cannot_be_read_is_counted(redis_url, source):
    settings = ConnectionSettings(urls=redis_url, read_only=True)
    ended = threading.Event()

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
    ((kind, count),) = seen.defects
    assert kind
    assert count > 1


def test_nobody_is_asked_where_nothing_may_be_published(redis_url):
    seen = Observation()
    ask(ConnectionSettings(urls=redis_url, read_only=True), seen)
    assert seen.pongs is None


def test_a_cluster_where_nobody_answers(redis_url):
    seen = Observation()
    ask(ConnectionSettings(urls=redis_url), seen, 0.1)
    assert seen.pongs == frozenset()


def test_who_may_not_ask_is_told_why(redis_acl):
    url = f"redis://listener:listener-secret@{HOST}:{redis_acl.port}/0"
    seen = Observation()
    ask(ConnectionSettings(urls=url), seen)
    assert seen.pongs is None
    assert "permission" in seen.refusal.message
