import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.doctor import context
from evtools.doctor.context import Observation
from tools.gaps import gap


def beat(processed=0, **fields):
    return {
        "type": "worker-heartbeat",
        "hostname": "w1",
        "processed": processed,
        "timestamp": 100.0,
        "local_received": 100.5,
        **fields,
    }


def seen(*events):
    made = Observation()
    made.apply(events)
    return made


def test_heartbeats_and_task_events_are_counted_by_worker():
    task = {"type": "task-started", "hostname": "w2"}
    client = {"type": "task-sent", "hostname": "gen1@shop"}
    made = seen(beat(), beat(), task, client, gap("worker", 0.0, 1.0))
    assert (made.events, made.sent) == (4, 1)
    assert made.nodes == ["w1", "w2"]
    assert made.signs("w1").beats == 2
    assert made.signs("w2").task_events == 1


def test_an_answer_to_our_request_is_no_heartbeat():
    answer = beat(freq=5, sw_ident="py-celery", sw_ver="5.6.2", sw_sys="Linux")
    del answer["processed"]
    assert seen(answer).signs("w1").beats == 0


def test_a_heartbeat_that_tells_nothing_else_is_one():
    minimal = {"type": "worker-heartbeat", "hostname": "box1", "timestamp": 100}
    assert seen({**minimal, "sw_ident": "gocelery"}).signs("box1").beats == 1
    assert seen(minimal, {**minimal, "freq": 5}).signs("box1").beats == 2


def test_what_two_processes_of_one_name_have_done_is_not_mixed_up():
    made = seen(
        *(beat(900, pid=10, local_received=100.0), beat(5, pid=20)),
        *(beat(901, pid=10, local_received=102.0), beat(5, pid=20)),
    )
    assert made.signs("w1").processes == 2
    assert made.signs("w1").done == 1


def test_what_a_worker_has_done_is_what_it_counts_while_we_listen():
    assert seen(beat(5), beat(7), beat(9)).signs("w1").done == 4
    assert seen(beat(5)).signs("w1").done == 0
    assert seen(beat(9), beat(1)).signs("w1").done == 0
    assert seen(beat(True), beat(-1), beat(2**70)).signs("w1").done == 0


def test_the_least_delay_is_the_difference_of_the_clocks():
    late = beat(local_received=109.0)
    assert seen(late, beat(), late).signs("w1").delay == 0.5
    assert seen(beat(timestamp=0)).signs("w1").delay == 100.5


@pytest.mark.parametrize("sent", [None, True, "1", float("inf"), 10**400, 1763380002000])
def test_a_time_that_is_none_tells_nothing(sent):
    assert seen(beat(timestamp=sent)).signs("w1").delay is None
    assert seen(beat(local_received=None)).signs("w1").delay is None


def test_senders_of_other_events_are_kept_only_if_they_are_workers():
    other = {"type": "billing-paid", "hostname": "shop"}
    assert seen(other).nodes == []
    assert seen(beat(), {**other, "hostname": "w1"}).nodes == ["w1"]


@pytest.mark.parametrize("name", [None, "", 7, "x" * 256])
def test_a_name_that_is_none_is_nobodys(name):
    made = seen(beat(hostname=name))
    assert (made.events, made.nodes) == (1, [])


def test_there_is_an_end_to_workers(monkeypatch):
    monkeypatch.setattr(context, "_WORKERS_MAX", 2)
    made = seen(*(beat(hostname=f"w{number}") for number in range(5)), beat())
    assert made.nodes == ["w0", "w1"]


_any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)


@given(
    st.dictionaries(
        st.sampled_from(["hostname", "processed", "timestamp", "local_received"]), _any
    ),
    st.sampled_from(["worker-heartbeat", "task-failed", "worker-", "x"]),
)
def test_no_event_is_too_odd(fields, kind):
    assert seen({"type": kind, **fields}).events == 1
