"""Tasks that we send arrive at real workers as Celery's own do."""

import shlex
import subprocess
import sys

import pytest

from evtools.errors import BrokerUnavailable, UsageError
from evtools.state import State
from evtools.top.rerun import call_of, celery_line, python_line
from evtools.transport import ConnectionSettings
from evtools.transport.connection import reach
from evtools.transport.control import TaskCall, send_tasks
from servers.process import wait_until

CALLS = [
    ((), {}),
    ((1, -2.5, None, True), {}),
    (("it's", "é 日本 \U0001f980", ""), {"name": "say 'no'"}),
    (([1, [2, 3]], {"a": {"b": True}}), {"when": "2026-11-30T12:00:00+00:00"}),
    (("two\nlines", {1: "a"}), {}),
]


def call(queue="celery"):
    return TaskCall("x", (), {}, queue, "()", "{}")


def test_a_task_sent_again_runs_with_the_same_arguments(celery_worker, celery_capture):
    capture = celery_capture(celery_worker.broker_url, celery_worker.event_exchange)
    settings = ConnectionSettings(urls=celery_worker.broker_url)
    send = celery_worker.app.send_task
    ids = [send("cluster.echo", args=args, kwargs=kwargs).id for args, kwargs in CALLS]
    capture.wait_for_each(ids, {"task-succeeded"})
    state = State()
    state.apply(capture.events)
    calls = [call_of(state.tasks[uuid]) for uuid in ids]
    assert [one[1:3] for one in calls] == [(list(args), kwargs) for args, kwargs in CALLS]
    assert {one.queue for one in calls} == {celery_worker.queue}
    again = dict(zip(ids, send_tasks(settings, calls), strict=True))
    capture.wait_for_each(again.values(), {"task-succeeded"})
    ended = {one["uuid"]: one for one in capture.events if one["type"] == "task-succeeded"}
    received = {one["uuid"]: one for one in capture.events if one["type"] == "task-received"}
    for first, second in again.items():
        assert ended[second]["result"] == ended[first]["result"]
        for field in ("args", "kwargs"):
            assert received[second][field] == received[first][field]
        assert received[second]["root_id"] == received[second]["parent_id"] == first


def run(worker, line):
    """Type a line that was copied, for the application of a worker, at a shell."""
    python = shlex.quote(sys.executable)
    if line.startswith("celery "):
        command = line.replace("celery -A PROJECT", f"{python} -m celery -A cluster.app", 1)
    else:
        command = f"{python} -c {shlex.quote(f'from cluster.app import app; {line}')}"
    env = worker._environment()
    words = ["sh", "-c", command]
    return subprocess.run(words, env=env, capture_output=True, text=True, check=False)


HOSTILE = "é $(id) `id` !x % \\u202e ; # \x7f\xa0 it's"


@pytest.mark.parametrize("line_of", [python_line, celery_line])
def test_lines_that_are_copied_do_it_or_fail(celery_worker, celery_capture, line_of):
    capture = celery_capture(celery_worker.broker_url, celery_worker.event_exchange)
    send = celery_worker.app.send_task
    whole = send("cluster.echo", args=(HOSTILE.replace("\\", ""), [1]), kwargs={"a": HOSTILE[:9]})
    cut = send("cluster.echo", args=("x" * 1100,))
    capture.wait_for_each([whole.id, cut.id], {"task-succeeded"})
    state = State()
    state.apply(capture.events)
    wait_until(lambda: len(capture.select(type="task-sent")) == 2, what="both clients' events")
    failed = run(celery_worker, line_of(state.tasks[cut.id]))
    assert failed.returncode != 0
    assert "name 'FILL_IN' is not defined" in failed.stderr or "value for '-a'" in failed.stderr
    done = run(celery_worker, line_of(state.tasks[whole.id]))
    assert done.returncode == 0, done.stderr
    wait_until(lambda: len(capture.select(type="task-succeeded")) == 3, what="the third success")
    wait_until(lambda: len(capture.select(type="task-sent")) >= 3, what="the third client's event")
    assert len(capture.select(type="task-sent")) == 3
    results = {one["uuid"]: one["result"] for one in capture.select(type="task-succeeded")}
    del results[cut.id]
    assert len(set(results.values())) == 1


def test_nothing_is_sent_where_a_queue_is_missing(rabbitmq_url):
    settings = ConnectionSettings(urls=rabbitmq_url)
    with reach(settings) as connection:
        channel = connection.default_channel
        channel.queue_declare("there", auto_delete=True)
        with pytest.raises(UsageError, match="queue nowhere: there is no such queue"):
            list(send_tasks(settings, [call("there"), call("nowhere")]))
        assert channel.queue_delete("there") == 0


def test_what_was_sent_before_an_end_is_known(rabbitmq_server):
    settings = ConnectionSettings(urls=rabbitmq_server.url, connect_timeout=2)
    full = {"x-max-length": 1, "x-overflow": "reject-publish"}
    with reach(settings) as connection:
        connection.default_channel.queue_declare("full", auto_delete=True, arguments=full)
        sent = send_tasks(settings, [call("full")] * 3)
        assert next(sent)
        with pytest.raises(UsageError, match="queue full: it takes no more messages"):
            list(sent)
        connection.default_channel.queue_declare("gone", auto_delete=True)
        sent = send_tasks(settings, [call("gone")] * 2)
        assert next(sent)
        connection.default_channel.queue_delete("gone")
        with pytest.raises(UsageError, match="queue gone: there is no such queue any more"):
            next(sent)
        connection.default_channel.queue_declare("slow", auto_delete=True)
        sent = send_tasks(settings, [call("slow")] * 2)
        assert next(sent)
        rabbitmq_server.freeze()
        try:
            with pytest.raises(BrokerUnavailable, match=r"no answer .* was sent is not known"):
                next(sent)
        finally:
            rabbitmq_server.thaw()


def test_a_queue_that_belongs_to_one_connection_is_not_sent_to(rabbitmq_url):
    settings = ConnectionSettings(urls=rabbitmq_url)
    with reach(settings) as connection:
        connection.default_channel.queue_declare("own", exclusive=True)
        with pytest.raises(UsageError, match="queue own: it belongs to one connection"):
            list(send_tasks(settings, [call("own")]))


def test_a_key_of_redis_that_is_no_queue_is_not_sent_to(redis_url):
    settings = ConnectionSettings(urls=redis_url)
    with reach(settings) as connection:
        connection.default_channel.client.set("taken", "x")
    with pytest.raises(UsageError, match="queue taken: WRONGTYPE Operation"):
        list(send_tasks(settings, [call("taken")]))


def test_read_only_sends_nothing():
    settings = ConnectionSettings(urls="redis://127.0.0.1:1/0", read_only=True)
    with pytest.raises(UsageError, match="a task is not sent: read-only"):
        list(send_tasks(settings, [call()]))
