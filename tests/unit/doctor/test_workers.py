import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.clock import SystemClock
from evtools.doctor import context
from evtools.doctor.context import Observation, WorkerSigns
from evtools.doctor.workers import (
    arrived,
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
from tools.gaps import gap


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


@pytest.mark.parametrize(("seen", "severity", "text"), [
    (observed(SEEN), "ok", "1 event of 1 worker arrived in 6.00s"),
    (observed(pongs=ANSWERED), "problem", "nothing arrived in 6.00s\nWorkers answer, so this"),
    (observed(), "problem", "nothing arrived in 6.00s\nEither no worker is running"),
    (observed(failure=BrokerUnavailable("gone", "look")), "problem", "gone\nlook"),
])  # fmt: skip
def test_events_arrive_or_there_is_a_reason(told, seen, severity, text):
    ((found, said),) = told(arrived, seen)
    assert found == severity
    assert said.startswith(text)


def test_malformed_messages_are_a_warning(told):
    seen = observed(SEEN, defects=(("no JSON", 2), ("pickle", 1)))
    warnings = [text for severity, text in told(arrived, seen) if severity == "warning"]
    assert warnings[0].startswith("2 messages could not be decoded, whole or in part: no JSON")
    assert warnings[1].startswith("1 message could not be decoded, whole or in part: pickle")


@pytest.mark.parametrize(("missing", "mailboxes"), [("exchange", True), ("right", False)])
def test_where_we_cannot_listen_workers_are_asked_if_there_are_mailboxes(
    case, fake, told, mailboxes, missing
):
    made = case(fake(has_mailboxes=lambda: mailboxes))
    made.exchange_exists = missing != "exchange"
    made.may_listen = missing != "right"
    assert told(check_events, made) == []
    assert made.inspector.begun
    assert made.observation.pongs == (frozenset() if mailboxes else None)


# --- workers -----------------------------------------------------------------------


@pytest.mark.parametrize(("seen", "settings", "mailboxes", "severity", "text"), [
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
    (observed(pongs=ANSWERED, unread={"no JSON": 2}, workers=SEEN), {}, True,
     "warning", "2 replies could not be decoded: no JSON\nWorkers reply in JSON"),
])  # fmt: skip
def test_workers_answer_or_there_is_a_reason(case, told, seen, settings, mailboxes, severity, text):
    made = case(seen=seen, **settings)
    made.has_mailboxes = mailboxes
    *_, (found, said) = told(check_workers, made)
    assert found == severity
    assert said.startswith(text)


def test_workers_that_send_events_and_do_not_answer_are_a_warning(case, fake, told):
    seen = observed(SEEN | {"w2": signs()}, pongs=ANSWERED)
    for server in ("Redis 8.0.2", "RabbitMQ 3.13.7", "RabbitMQ 4.0.5", "RabbitMQ 10.1"):
        (_, (severity, text)) = told(check_workers, case(fake(server), seen=seen))
        assert severity == "warning"
        assert "do not answer: w2" in text
        assert "control_exchange" in text
        # What Celery before 5.6 declares, a new RabbitMQ may refuse.
        refuses = server in {"RabbitMQ 4.0.5", "RabbitMQ 10.1"}
        assert ("in 5.6, control_queue_exclusive = True" in text) == refuses


# --- task events -------------------------------------------------------------------

ON, OFF = {"worker_send_task_events": True}, {"worker_send_task_events": "yes"}


UNKNOWN = "unknown whether task events are on, at:"


@pytest.mark.parametrize(("seen", "findings"), [
    (observed({"w1": signs(task_events=3)}, sent=1), [("ok", "come from: w1\n")]),
    (observed({"w1": signs(task_events=3)}),
     [("ok", "come from"), ("note", "task_send_sent_event = True in the clients")]),
    (observed({"w1": signs(before=1, after=4)}, settings={"w1": ON}),
     [("problem", "task events are off: tasks ran, and no event of any came, at: w1")]),
    (observed(SEEN | {"w2": signs()}, settings={"w1": ON, "w2": OFF}),
     [("note", f"{UNKNOWN} w2\nworker_send_task_events"), ("ok", "no task was seen, at: w1")]),
    (observed(SEEN), [("note", f"{UNKNOWN} w1\nIf they are off: start")]), (observed(), []),
])  # fmt: skip
def test_task_events_are_on_or_off_or_unknown(case, told, seen, findings):
    found = told(check_task_events, case(seen=seen))
    assert [severity for severity, _ in found] == [severity for severity, _ in findings]
    for (_, said), (_, text) in zip(found, findings, strict=True):
        assert text in said


# --- clocks and heartbeats -----------------------------------------------------------


@pytest.mark.parametrize(("delays", "severity", "text"), [
    ([0.2, -1.0], "ok", "of 2 workers are right within 2s\n"),
    ([90.0, None], "warning", "up to 1m30s behind ours: w0\n"),
    ([-5.0, None], "warning", "up to 5.00s ahead of ours: w0\n"),
])  # fmt: skip
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


# --- what events show ----------------------------------------------------------------


def beat(processed=0, **fields):
    usual = {"type": "worker-heartbeat", "hostname": "w1", "processed": processed}
    return {**usual, "timestamp": 100.0, "local_received": 100.5, **fields}


def seen_in(*events):
    made = Observation()
    made.apply(events)
    return made


def test_heartbeats_and_task_events_are_counted_by_worker():
    task = {"type": "task-started", "hostname": "w2"}
    client = {"type": "task-sent", "hostname": "gen1@shop"}
    made = seen_in(beat(), beat(), task, client, gap("worker", 0.0, 1.0))
    assert (made.events, made.sent) == (4, 1)
    assert made.nodes == ["w1", "w2"]
    assert made.signs("w1").beats == 2
    assert made.signs("w2").task_events == 1


def test_an_answer_to_our_request_is_no_heartbeat_and_one_that_tells_nothing_else_is():
    answer = beat(freq=5, sw_ident="py-celery", sw_ver="5.6.2", sw_sys="Linux")
    del answer["processed"]
    assert seen_in(answer).signs("w1").beats == 0
    minimal = {"type": "worker-heartbeat", "hostname": "box1", "timestamp": 100}
    assert seen_in({**minimal, "sw_ident": "gocelery"}).signs("box1").beats == 1
    assert seen_in(minimal, {**minimal, "freq": 5}).signs("box1").beats == 2


def test_what_two_processes_of_one_name_have_done_is_not_mixed_up(case, told):
    made = seen_in(
        *(beat(900, pid=10, local_received=100.0), beat(5, pid=20)),
        *(beat(901, pid=10, local_received=102.0), beat(5, pid=20)),
    )
    assert made.signs("w1").done == 1
    *_, (severity, text) = told(check_workers, case(seen=made))
    assert (severity, "2 processes use the name w1" in text) == ("warning", True)


@pytest.mark.parametrize(("counts", "done"), [
    ([5, 7, 9], 4), ([5], 0), ([9, 1], 0), ([True, -1, 2**70], 0),
])  # fmt: skip
def test_what_a_worker_has_done_is_what_it_counts_while_we_listen(counts, done):
    assert seen_in(*map(beat, counts)).signs("w1").done == done


def test_the_least_delay_is_the_difference_of_the_clocks():
    late = beat(local_received=109.0)
    assert seen_in(late, beat(), late).signs("w1").delay == 0.5
    assert seen_in(beat(timestamp=0)).signs("w1").delay == 100.5


@pytest.mark.parametrize("sent", [None, True, "1", float("inf"), 10**400, 1763380002000])
def test_a_time_that_is_none_tells_nothing(sent):
    assert seen_in(beat(timestamp=sent)).signs("w1").delay is None
    assert seen_in(beat(local_received=None)).signs("w1").delay is None


def test_only_names_of_workers_are_kept_and_not_without_end(monkeypatch):
    other = {"type": "billing-paid", "hostname": "shop"}
    assert seen_in(other).nodes == []
    assert seen_in(beat(), {**other, "hostname": "w1"}).nodes == ["w1"]
    for name in (None, "", 7, "x" * 256):
        assert (seen_in(beat(hostname=name)).events, seen_in(beat(hostname=name)).nodes) == (1, [])
    monkeypatch.setattr(context, "_WORKERS_MAX", 2)
    made = seen_in(*(beat(hostname=f"w{number}") for number in range(5)), beat())
    assert made.nodes == ["w0", "w1"]


_any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)
_fields = st.sampled_from(["hostname", "processed", "timestamp", "local_received"])


@given(
    st.dictionaries(_fields, _any),
    st.sampled_from(["worker-heartbeat", "task-failed", "worker-", "x"]),
)
def test_no_event_is_too_odd(fields, kind):
    assert seen_in({"type": kind, **fields}).events == 1


# --- listening ---------------------------------------------------------------------


def test_a_broker_that_is_away_is_reported_and_not_waited_for():
    settings = ConnectionSettings(urls=f"redis://{HOST}:{free_port()}/0", connect_timeout=0.5)
    seen = listen(settings, 60.0, SystemClock())
    assert "connection refused" in seen.failure.message
    assert seen.pongs is None
