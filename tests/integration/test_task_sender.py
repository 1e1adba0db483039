"""Tasks that we send arrive at real workers as Celery's own do."""

from types import SimpleNamespace

import pytest

from evtools.errors import UsageError
from evtools.top.rerun import call_of
from evtools.transport import ConnectionSettings
from evtools.transport.task_sender import send_task

CALLS = [
    ((), {}),
    ((1, -2.5, None, True), {}),
    (("it's", "é 日本 \U0001f980", ""), {"name": "say 'no'"}),
    (([1, [2, 3]],), {"when": "2026-11-30T12:00:00+00:00"}),
]


def test_a_task_sent_again_runs_with_the_same_arguments(celery_worker, celery_capture):
    capture = celery_capture(celery_worker.broker_url, celery_worker.event_exchange)
    settings = ConnectionSettings(urls=celery_worker.broker_url)
    send = celery_worker.app.send_task
    ids = [send("cluster.echo", args=args, kwargs=kwargs).id for args, kwargs in CALLS]
    capture.wait_for_each(ids, {"task-succeeded"})
    received = {one["uuid"]: one for one in capture.events if one["type"] == "task-received"}
    again = {}
    for first, (args, kwargs) in zip(ids, CALLS, strict=True):
        event = received[first]
        call = call_of(SimpleNamespace(**event, queue_or_none=None))
        assert call == ("cluster.echo", list(args), kwargs)
        again[first] = send_task(settings, *call, queue=celery_worker.queue, root_id=first)
    capture.wait_for_each(again.values(), {"task-succeeded"})
    ended = {one["uuid"]: one for one in capture.events if one["type"] == "task-succeeded"}
    received = {one["uuid"]: one for one in capture.events if one["type"] == "task-received"}
    for first, second in again.items():
        assert ended[second]["result"] == ended[first]["result"]
        assert received[second]["root_id"] == first


def test_a_queue_that_is_not_there_is_not_sent_to(rabbitmq_url):
    with pytest.raises(UsageError, match="there is no queue nowhere"):
        send_task(ConnectionSettings(urls=rabbitmq_url), "x", (), {}, queue="nowhere")


def test_read_only_sends_nothing():
    settings = ConnectionSettings(urls="redis://127.0.0.1:1/0", read_only=True)
    with pytest.raises(UsageError, match="x is not sent: read-only"):
        send_task(settings, "x", (), {}, queue="celery")


def test_what_json_has_no_form_for_is_not_sent(redis_url):
    with pytest.raises(UsageError, match="x is not sent"):
        send_task(ConnectionSettings(urls=redis_url), "x", (object(),), {}, queue="celery")
