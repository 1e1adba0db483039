"""What real brokers deliver to a subscription, and what is left of it."""

from __future__ import annotations

import json

import pytest
from amqp.exceptions import NotFound, PreconditionFailed
from celery.events.dispatcher import EventDispatcher as CelerysDispatcher
from kombu import Connection, Exchange, Producer, Queue

from cluster.app import make_app
from cluster.worker import close
from evtools.state import State
from evtools.transport import ConnectionSettings, EventReceiver
from evtools.transport.receiver import subscribe
from evtools.transport.streams import amqp
from evtools.wire import Codec
from servers.process import wait_until


@pytest.fixture
def open_stream():
    streams = []

    def start(url, **settings):
        settings = {"read_only": True, **settings}
        streams.append(subscribe(ConnectionSettings(urls=url, **settings)))
        return streams[-1]

    yield start
    for stream in streams:
        stream.close()


def drained(stream, count):
    """Return as many events, and fail if more come."""
    codec, received = Codec(), []
    wait_until(
        lambda: (
            received.extend(e for m in stream.drain(0.5) for e in codec.decode(m))
            or len(received) >= count
        ),
        what=lambda: f"{count} events: {received} {codec.defects}",
    )
    received += [e for m in stream.drain(0.05) for e in codec.decode(m)]
    assert len(received) == count, received
    return received


def publish(url, exchange, *events):
    with Connection(url) as connection:
        producer = Producer(connection, Exchange(exchange, type="topic"))
        for event in events:
            producer.publish(event, routing_key=event["type"].replace("-", "."))


@pytest.mark.parametrize("given", ["connection", "channel", "app"])
def test_celerys_recipe_runs_as_it_is(celery_worker, given):
    app, state, seen = celery_worker.app, State(), []
    with app.connection() as connection:
        source = {"connection": connection, "channel": connection.channel(), "app": None}
        receiver = EventReceiver(source[given], app=app)

        def on_heartbeat(event):
            state.event(event)
            if not seen:
                seen.append(app.send_task("cluster.progress").id)

        def on_success(event):
            state.event(event)
            receiver.should_stop = event["uuid"] in seen

        receiver.handlers["worker-heartbeat"] = on_heartbeat
        receiver.handlers["task-succeeded"] = on_success
        receiver.handlers["*"] = state.event
        receiver.capture(limit=None, timeout=30, wakeup=True)
        assert state.tasks[seen[0]].state == "SUCCESS"
        receiver.close()


# --- RabbitMQ


def test_rabbitmq_delivers_messages_of_every_size(rabbitmq_url, event_exchange, open_stream):
    stream = open_stream(rabbitmq_url, event_exchange=event_exchange)
    # Bodies around the size of a frame, which is 131072 with its head and end.
    sizes = [22, 131_063, 131_064, 131_065, 262_128, 262_129, 1_000_000]
    events = [{"type": "a", "x": "x" * (size - len(b'{"type": "a", "x": ""}'))} for size in sizes]
    publish(rabbitmq_url, event_exchange, *events)
    assert drained(stream, len(sizes)) == events


def test_a_queue_that_is_shared_gives_each_event_to_one(rabbitmq_url, open_stream, event_exchange):
    name = f"shared.{event_exchange}"
    shared = {"event_exchange": event_exchange, "event_queue": name}
    streams = [open_stream(rabbitmq_url, **shared) for _ in range(2)]
    publish(rabbitmq_url, event_exchange, *({"type": "a", "number": n} for n in range(10)))
    seen = [{event["number"] for event in drained(each, 5)} for each in streams]
    assert seen[0] | seen[1] == set(range(10))
    for stream in streams:
        stream.close()
    with Connection(rabbitmq_url) as connection:
        Queue(name, channel=connection.default_channel).delete()


def test_what_others_have_declared_otherwise_is_not_read(rabbitmq_url, event_exchange):
    with Connection(rabbitmq_url) as connection:
        channel = connection.default_channel
        Exchange(f"fanout.{event_exchange}", type="fanout", channel=channel).declare()
        with pytest.raises(PreconditionFailed):
            subscribe(
                ConnectionSettings(urls=rabbitmq_url, event_exchange=f"fanout.{event_exchange}")
            )
        tasks = Queue(f"tasks.{event_exchange}", channel=channel)
        tasks.declare()
        shared = {"event_exchange": event_exchange, "event_queue": tasks.name}
        with pytest.raises(PreconditionFailed):
            subscribe(ConnectionSettings(urls=rabbitmq_url, **shared))
        tasks.delete()


@pytest.mark.parametrize("read_only", [True, False])
def test_a_user_who_may_only_listen_can_watch(
    rabbitmq_server, open_stream, event_exchange, read_only
):
    exchange = f"ops.{event_exchange}"
    with Connection(rabbitmq_server.url) as connection:
        Exchange(exchange, type="topic", channel=connection.default_channel).declare()
    url = rabbitmq_server.vhost_url("", user="listener", password="listener-secret")
    stream = open_stream(url, event_exchange=exchange, read_only=read_only)
    publish(rabbitmq_server.url, exchange, {"type": "task-sent"})
    assert [event["type"] for event in drained(stream, 1)] == ["task-sent"]


def test_an_exchange_that_is_deleted_ends_the_stream_unless_a_worker_makes_it_again(
    rabbitmq_url, event_exchange, open_stream, monkeypatch
):
    monkeypatch.setattr(amqp, "SILENCE", 0.2)
    stream = open_stream(rabbitmq_url, event_exchange=event_exchange)
    with Connection(rabbitmq_url) as connection:
        exchange = Exchange(event_exchange, type="topic", channel=connection.default_channel)
        exchange.delete()
        exchange.declare()

        def comes():
            publish(rabbitmq_url, event_exchange, {"type": "a"})
            return stream.drain(0.1)

        wait_until(comes, what="a message")
        exchange.delete()
        with pytest.raises(NotFound, match="no exchange") as caught:
            # Messages that were late come first.
            wait_until(lambda: stream.drain(0.3) is None, what="the end of the stream")
    assert isinstance(caught.value, stream.errors)
    assert caught.value.silent >= 0.2


def test_a_clean_close_leaves_no_queue_and_no_warning(rabbitmq_server, event_exchange, open_stream):
    where = {"event_exchange": event_exchange, "event_queue_prefix": "celeryev.clean"}
    stream = open_stream(rabbitmq_server.url, tool="says-goodbye", **where)
    (name,) = rabbitmq_server.wait_for_queues(1, "celeryev.clean")
    stream.close()
    rabbitmq_server.wait_for_queues(0, "celeryev.clean")

    def ours():
        log = rabbitmq_server.process.log.read_text()
        return [line for line in log.splitlines() if "says-goodbye@" in line]

    wait_until(lambda: any("closing AMQP connection" in line for line in ours()), what="a log")
    assert all("[info]" in line for line in ours())
    assert name not in rabbitmq_server.process.log.read_text()


# --- Redis


@pytest.fixture
def send_with_celery():
    """Send events as Celery does, with transport options as the workers have."""

    def send(url, *types, exchange="celeryev", **options):
        app = make_app(url, exchange)
        app.conf.broker_transport_options = {**app.conf.broker_transport_options, **options}
        try:
            with (
                app.connection_for_write() as connection,
                CelerysDispatcher(connection, app=app, hostname="w@h") as dispatcher,
            ):
                for type_ in types:
                    dispatcher.send(type_, uuid=type_)
        finally:
            close(app)

    return send


OPTIONS = {
    "the defaults": {},
    "no prefix": {"fanout_prefix": False},
    "a prefix of one's own": {"fanout_prefix": "/shop[1]*?."},
    "a prefix in braces": {"fanout_prefix": "/{{db}}."},
    "a prefix in many braces": {"fanout_prefix": "/{{{{db}}}}."},
    "no patterns": {"fanout_patterns": False},
    "no patterns in braces": {"fanout_patterns": False, "fanout_prefix": "{{db}}"},
    "neither": {"fanout_prefix": False, "fanout_patterns": False},
    "a prefix for all keys": {"global_keyprefix": "shop:*:"},
    "all prefixes": {"global_keyprefix": "{shop}", "fanout_prefix": "{db}/"},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_celerys_events_arrive_with_the_options_of_the_workers(
    redis_url, open_stream, send_with_celery, event_exchange, options
):
    stream = open_stream(redis_url, options=options, event_exchange=event_exchange)
    types = ["task-sent", "task-failed", "worker-heartbeat", "a-b-c"]
    send_with_celery(redis_url, *types, exchange=event_exchange, **options)
    assert [event["type"] for event in drained(stream, 4)] == types


def test_another_database_or_exchange_is_another_stream(
    redis_server, redis_url, open_stream, send_with_celery
):
    stream = open_stream(redis_url, routing_keys=("task.#", "*.failed", "task.failed"))
    send_with_celery(redis_server.fresh_url(), "task-sent")
    send_with_celery(redis_url, "task-sent", exchange="celeryev2")
    send_with_celery(redis_url, "task-failed", "worker-heartbeat", "a-failed")
    assert [event["type"] for event in drained(stream, 2)] == ["task-failed", "a-failed"]


def test_what_old_and_new_kombus_send_to_a_sentinels_master_comes_once(sentinel, open_stream):
    options = {"master_name": sentinel.master_name}
    compatible = options | {"sentinel_fanout_compat": True}
    stream = open_stream(sentinel.url, options=compatible)
    for how in (options, compatible):
        with Connection(sentinel.url, transport_options=how) as connection:
            producer = Producer(connection, Exchange("celeryev", type="fanout"))
            producer.publish({"type": "a"}, routing_key="a")
            producer.publish({"type": "b"}, routing_key="b")
    old = json.dumps({"body": '{"type": "old"}', "content-type": "application/json"})
    sentinel.master.redis_cli("PUBLISH", "/{db}.celeryev/old", old)
    sent = ["a", "b", "a", "b", "old"]
    assert [event["type"] for event in drained(stream, 5)] == sent


def test_one_connection_of_ours_remains_and_then_none(redis_server, redis_url, open_stream):
    def ours():
        clients = redis_server.redis_cli("CLIENT", "LIST").splitlines()
        return [client for client in clients if "name=one-of-ours@" in client]

    stream = open_stream(redis_url, tool="one-of-ours", read_only=False)
    (client,) = ours()
    assert " psub=1 " in client
    stream.close()
    wait_until(lambda: not ours(), what="our connection to go")


def test_a_refusal_while_subscribing_leaves_no_connection_behind(redis_acl):
    url = f"redis://nobody:nobody-secret@127.0.0.1:{redis_acl.port}/0"
    with pytest.raises(Exception, match=r"no perm|NOPERM|permissions"):
        subscribe(ConnectionSettings(urls=url, options={"client_name": None}))
    wait_until(
        lambda: "user=nobody" not in redis_acl.redis_cli("CLIENT", "LIST"),
        what="the end of all connections",
    )
