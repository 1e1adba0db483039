import threading
import time
from dataclasses import replace

import pytest
from kombu import Connection, Producer

from evtools.errors import UsageError
from evtools.transport import (
    ConnectionSettings,
    EventReceiver,
    Replies,
    broadcast,
    call,
    connect,
)
from evtools.transport.control import mailbox
from servers.process import wait_until
from servers.redis import RedisServer


def settings_for(worker, **settings):
    return ConnectionSettings(
        urls=worker.broker_url, event_exchange=worker.event_exchange, **settings
    )


@pytest.fixture
def settings(celery_worker):
    return settings_for(celery_worker)


def only(worker, **how):
    """Address the shared worker, which is not alone on RabbitMQ's exchange."""
    return {"destination": [worker.hostname], "deadline": 15, **how}


# --- Replies -----------------------------------------------------------------------


def test_a_worker_answers_a_ping_with_its_name(celery_worker, settings):
    assert call(settings, "ping", **only(celery_worker)) == Replies(
        {celery_worker.hostname: {"ok": "pong"}}, complete=True
    )


def test_where_one_of_two_brokers_is_down_the_other_is_asked(celery_worker, settings):
    scheme = settings.urls.partition("://")[0]
    both = replace(settings, urls=f"{scheme}://127.0.0.1:1/0;{settings.urls}")
    assert call(both, "ping", **only(celery_worker)).complete


def test_arguments_reach_the_worker(celery_worker, settings):
    replies = call(
        settings,
        "rate_limit",
        {"task_name": "x", "rate_limit": "1/s"},
        **only(celery_worker),
    )
    assert "unknown task" in str(replies.by_node[celery_worker.hostname])


def test_as_many_replies_as_expected_end_the_wait(celery_worker, settings):
    # The deadline is that of the test run and more: without the expectation
    # this would not end in time.
    replies = call(settings, "ping", deadline=600, expected=1)
    assert len(replies.by_node) >= 1
    assert replies.complete


def test_the_deadline_bounds_the_wait(celery_worker, settings):
    replies = call(
        settings, "ping", destination=[celery_worker.hostname, "nobody@x"], deadline=2
    )
    assert replies == Replies({celery_worker.hostname: {"ok": "pong"}}, complete=False)


def test_the_brokers_heartbeat_does_not_end_a_long_wait(celery_worker):
    settings = settings_for(celery_worker, heartbeat=1.0)
    replies = call(
        settings, "ping", destination=[celery_worker.hostname, "nobody@x"], deadline=5
    )
    assert replies == Replies({celery_worker.hostname: {"ok": "pong"}}, complete=False)


def test_without_an_expectation_nobody_knows_whether_all_have_answered(
    celery_worker, settings
):
    replies = call(settings, "ping", deadline=2)
    assert celery_worker.hostname in replies.by_node
    assert replies.complete is None


def test_nobody_answers_on_an_exchange_of_nobody(broker_url):
    settings = ConnectionSettings(urls=broker_url, control_exchange="nobody")
    assert call(settings, "ping", deadline=0.1) == Replies({}, complete=None)
    assert call(settings, "ping", deadline=0, expected=1) == Replies({}, complete=False)


def leftovers(broker, settings):
    if isinstance(broker, RedisServer):
        number = int(settings.urls.rpartition("/")[2])
        keys = broker.redis_cli("KEYS", "*", database=number).split()
        return sorted(key for key in keys if "reply" in key)
    queues = broker.list_queues("name")
    return sorted(queue["name"] for queue in queues if "reply" in queue["name"])


def test_no_reply_queue_is_left(broker, celery_worker, settings):
    before = leftovers(broker, settings)
    for destination in ([celery_worker.hostname], ["nobody@x"]):
        call(settings, "ping", destination=destination, deadline=0.5)
    assert leftovers(broker, settings) == before


def reply_to(connection, queue, *replies):
    """Answer as a worker might, or should not."""
    producer = Producer(connection.default_channel)
    for body, how in replies:
        producer.publish(body, routing_key=queue, **how)


def test_replies_that_are_none_do_not_disturb(rabbitmq_url, monkeypatch):
    from evtools.transport import control

    settings = ConnectionSettings(urls=rabbitmq_url, control_exchange="odd")
    real = control.mailbox

    def mailbox_with_replies(connection, settings):
        box = real(connection, settings)
        publish = box._publish

        def publish_and_answer(*args, reply_ticket, **how):
            publish(*args, reply_ticket=reply_ticket, **how)
            ours = {"headers": {"ticket": reply_ticket}}
            reply_to(
                connection,
                f"{box.oid}.reply.odd.pidbox",
                ({"late@x": 1}, {"headers": {"ticket": "of another call"}}),
                (["no", "mapping"], ours),
                ("\x80", {**ours, "content_type": "application/x-python-serialize"}),
                (b"{", {**ours, "content_type": "application/json"}),
                ({"a@x": "pong"}, ours),
                ({"b@x": "pong"}, {}),
            )

        box._publish = publish_and_answer
        return box

    monkeypatch.setattr(control, "mailbox", mailbox_with_replies)
    assert call(settings, "ping", expected=2, deadline=15) == Replies(
        {"a@x": "pong", "b@x": "pong"}, complete=True
    )


def test_several_threads_may_call_at_once(celery_worker, settings):
    found = []

    def ping():
        found.append(call(settings, "ping", **only(celery_worker)).complete)

    threads = [threading.Thread(target=ping) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [True] * 4


# --- Commands nobody answers ---------------------------------------------------------


@pytest.mark.parametrize(
    "send",
    [
        lambda settings: call(settings, "shutdown"),
        lambda settings: broadcast(connect(settings), "shutdown", settings=settings),
    ],
)
def test_read_only_sends_nothing_and_connects_nowhere(send):
    settings = ConnectionSettings(urls="redis://127.0.0.1:1/0", read_only=True)
    with pytest.raises(UsageError, match="shutdown is not sent: read-only"):
        send(settings)


def test_the_mailbox_is_the_one_of_celery(settings, celery_worker):
    with connect(settings) as connection:
        ours = mailbox(connection, settings)
        theirs = celery_worker.app.control.mailbox
        assert ours.exchange == theirs.exchange
        assert ours.reply_exchange == theirs.reply_exchange
        assert ours.get_reply_queue().exclusive == theirs.get_reply_queue().exclusive


def next_event(receiver, wanted):
    end = time.monotonic() + 20
    for batch in receiver.batches(0.2):
        for event in batch:
            if wanted(event):
                return event
        assert time.monotonic() < end, "no such event"
    raise AssertionError("the stream has ended")


def is_an_answer(event):
    """Tell a heartbeat that was asked for: it comes without figures."""
    return event["type"] == "worker-heartbeat" and "processed" not in event


def test_a_heartbeat_can_be_asked_for(celery_worker):
    settings = settings_for(celery_worker, wakeup=False)
    with EventReceiver(settings) as receiver, connect(settings) as connection:
        next_event(receiver, lambda event: event["type"] == "worker-heartbeat")
        broadcast(
            connection,
            "heartbeat",
            settings=settings,
            destination=[celery_worker.hostname],
        )
        answer = next_event(receiver, is_an_answer)
    assert answer["hostname"] == celery_worker.hostname


@pytest.mark.timeout(120)
def test_events_can_be_switched_on(worker, broker_url, event_exchange):
    quiet = worker(broker_url, event_exchange=event_exchange, events=False)
    settings = settings_for(quiet)
    with EventReceiver(settings) as receiver:
        next(receiver.batches(0))
        wait_until(lambda: receiver.statistics().connected, what="a connection")
        replies = call(settings, "enable_events", **only(quiet))
        assert "ok" in replies.by_node[quiet.hostname]
        quiet.app.send_task("cluster.add", args=(1, 1))
        event = next_event(receiver, lambda e: e["type"] == "task-succeeded")
    assert event["hostname"] == quiet.hostname


def test_a_connection_that_is_lost_is_the_callers_to_explain(own_redis):
    settings = ConnectionSettings(urls=own_redis.url)
    own_redis.kill()
    with (
        Connection(own_redis.url) as connection,
        pytest.raises(connection.connection_errors),
    ):
        call(settings, "ping")
