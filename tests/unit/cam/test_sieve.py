from datetime import UTC

import pytest

from evtools.cam.sieve import Sieve
from evtools.errors import FilterError, UsageError
from evtools.wire import gap
from tools.told import told


def sieve(*filters, redact=()):
    return Sieve(filters, redact, zone=UTC, now=lambda: 100.0)


def types(events):
    return [event["type"] for event in events]


def test_without_a_filter_all_pass_as_they_are():
    events = [told("task-sent"), told("worker-heartbeat"), {"type": "x"}]
    assert sieve().take(events) is events
    assert sieve("", " ").take(events) is events
    assert sieve().notes() == []


def test_an_event_is_asked_with_what_is_known_of_its_task():
    keeps = sieve("name=shop.pay")
    assert types(keeps.take([told("task-received"), told("task-started")])) == [
        "task-received",
        "task-started",
    ]
    assert types(keeps.take([told("task-succeeded")])) == ["task-succeeded"]
    other = [told("task-received", uuid="b", name="shop.pack")]
    assert keeps.take(other) == []
    assert keeps.take([told("task-started", uuid="b")]) == []


def test_all_filters_must_match():
    keeps = sieve("name=shop.pay", "queue=mail")
    assert types(keeps.take([told("task-sent"), told("task-sent", queue="x")])) == ["task-sent"]


def test_workers_and_holes_always_pass():
    events = [told("worker-heartbeat"), gap("reconnect", 1.0, 2.0)]
    assert sieve("name=nothing").take(events) == events


def test_secrets_are_gone_before_anybody_asks():
    events = [told("task-received", kwargs="{'password': 'hunter2'}")]
    (event,) = sieve("name=shop.pay", redact=["password"]).take(events)
    assert "hunter2" not in event["kwargs"]


def test_what_no_event_could_tell_is_noted():
    keeps = sieve("queue=mail")
    keeps.take([told("task-received")])
    assert "queue: unknown for 100% of events" in keeps.notes()[1]


def test_what_cannot_be_read_is_refused():
    with pytest.raises(FilterError):
        sieve("name==")
    with pytest.raises(UsageError):
        sieve(redact=["/(/"])
