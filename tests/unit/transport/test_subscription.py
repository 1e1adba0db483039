import os
import signal
import subprocess
import sys

import pytest
from amqp.exceptions import AccessRefused, NotAllowed, PreconditionFailed
from kombu import Connection, Exchange, Producer, Queue
from redis.exceptions import ConnectionError, NoPermissionError  # noqa: A004  (redis-py's)

from evtools.transport import ConnectionSettings, get_exchange
from evtools.transport.receiver import subscribe
from evtools.wire import Codec
from servers.process import wait_until


@pytest.fixture
def open_stream():
    streams = []

    def start(url, **settings):
        streams.append(subscribe(ConnectionSettings(urls=url, **settings)))
        return streams[-1]

    yield start
    for stream in streams:
        stream.close()


def events(stream, count=1):
    codec, received = Codec(), []
    wait_until(
        lambda: (
            received.extend(e for m in stream.drain(0.5) for e in codec.decode(m))
            or len(received) >= count
        ),
        what=lambda: f"{count} events: {received}",
    )
    return received


def publish(url, exchange, *events, exchange_type="topic"):
    with Connection(url) as connection:
        producer = Producer(connection, Exchange(exchange, type=exchange_type))
        for event in events:
            producer.publish(event, routing_key=event["type"].replace("-", "."))


# --- The exchange ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "kind"), [("redis://h", "fanout"), ("amqp://h", "topic"), ("memory://", "topic")]
)
def test_the_exchange_is_the_one_celery_declares(url, kind):
    from celery.events.event import get_exchange as celerys

    connection = Connection(url)
    ours, theirs = get_exchange(connection, "ev"), celerys(connection, "ev")
    assert ours.type == kind
    assert ours == theirs
    assert get_exchange(connection).name == "celeryev"


def test_a_clash_with_another_declaration_is_not_hidden(rabbitmq_url, event_exchange):
    with Connection(rabbitmq_url) as connection:
        channel = connection.default_channel
        Exchange(event_exchange, type="fanout", channel=channel).declare()
    with pytest.raises(PreconditionFailed):
        subscribe(ConnectionSettings(urls=rabbitmq_url, event_exchange=event_exchange))


# --- Which stream ------------------------------------------------------------------


def test_of_several_addresses_the_attempt_picks_one(redis_server, open_stream):
    urls = f"redis://127.0.0.1:1/0;{redis_server.fresh_url()}"
    settings = ConnectionSettings(urls=urls)
    with pytest.raises(ConnectionError, match="refused"):
        subscribe(settings, attempt=0)
    subscribe(settings, attempt=1).close()


# --- The queue on RabbitMQ ---------------------------------------------------------


def details(server, prefix):
    columns = ("name", "durable", "auto_delete", "exclusive", "arguments")
    (queue,) = [q for q in server.list_queues(*columns) if q["name"].startswith(prefix)]
    return queue


def arguments(queue):
    found = queue["arguments"]
    return {item[0]: item[-1] for item in found} if isinstance(found, list) else found


@pytest.mark.parametrize(
    ("settings", "flags", "expected"),
    [
        ({}, (False, True, True), {"x-message-ttl": 5000, "x-expires": 60000}),
        (
            {"event_queue_ttl": 1.5, "event_queue_expires": 7.0},
            (False, True, True),
            {"x-message-ttl": 1500, "x-expires": 7000},
        ),
        (
            {
                "event_queue_exclusive": False,
                "event_queue_durable": True,
                "event_queue_ttl": None,
                "event_queue_expires": 3.0,
            },
            (True, False, False),
            {"x-expires": 3000},
        ),
    ],
)
def test_the_queue_is_what_the_settings_say(
    rabbitmq_server, open_stream, event_exchange, settings, flags, expected
):
    prefix = f"celeryev.q{event_exchange[-1]}{len(settings)}"
    stream = open_stream(
        rabbitmq_server.url,
        event_exchange=event_exchange,
        event_queue_prefix=prefix,
        read_only=True,
        **settings,
    )
    queue = details(rabbitmq_server, prefix)
    assert (queue["durable"], queue["auto_delete"], queue["exclusive"]) == flags
    assert arguments(queue) == expected
    assert consumer(rabbitmq_server, prefix) == ["false", "0"]
    if flags[0]:
        with Connection(rabbitmq_server.url) as connection:
            Queue(queue["name"], channel=connection.default_channel).delete()
    del stream


def consumer(server, prefix):
    """Return whether it acknowledges, and how many it prefetches, once it is there."""
    columns = ("queue_name", "ack_required", "prefetch_count")
    (line,) = wait_until(
        lambda: [
            line
            for line in server.rabbitmqctl("list_consumers", *columns).splitlines()
            if prefix in line
        ],
        deadline=40,
        what=f"a consumer of {prefix}*",
    )
    return line.split("\t")[1:]


def test_a_queue_that_is_shared_gives_each_event_to_one(
    rabbitmq_server, open_stream, event_exchange
):
    name = f"shared.{event_exchange}"
    shared = {"event_exchange": event_exchange, "event_queue": name}
    streams = [open_stream(rabbitmq_server.url, **shared) for _ in range(2)]
    queue = details(rabbitmq_server, name)
    assert (queue["durable"], queue["auto_delete"], queue["exclusive"]) == (*(True, False, False),)
    assert arguments(queue) == {"x-message-ttl": 5000, "x-expires": 60000}
    for number in range(10):
        event = {"type": "task-sent", "number": number}
        publish(rabbitmq_server.url, event_exchange, event)
    heard = [{event["number"] for event in events(each, 5)} for each in streams]
    assert heard[0] | heard[1] == set(range(10))
    assert not heard[0] & heard[1]
    for stream in streams:
        stream.close()
    with Connection(rabbitmq_server.url) as connection:
        Queue(name, channel=connection.default_channel).delete()


def test_a_queue_of_tasks_is_never_read(rabbitmq_server, event_exchange):
    with Connection(rabbitmq_server.url) as connection:
        tasks = Queue(f"tasks.{event_exchange}", channel=connection.default_channel)
        tasks.declare()
        settings = ConnectionSettings(
            urls=rabbitmq_server.url, event_exchange=event_exchange, event_queue=tasks.name
        )
        with pytest.raises(PreconditionFailed):
            subscribe(settings)
        tasks.delete()


def bindings(server, exchange):
    columns = ("source_name", "routing_key")
    listed = server.rabbitmqctl("list_bindings", *columns).splitlines()
    pairs = [line.split("\t") for line in listed]
    return sorted(key for source, key in pairs if source == exchange)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (("#",), ["#"]),
        (("task.failed",), ["task.failed", "task.multi"]),
        (("worker.#", "task.*"), ["task.*", "worker.#"]),
    ],
)
def test_the_broker_sends_only_what_is_asked_for(
    rabbitmq_server, open_stream, event_exchange, keys, expected
):
    open_stream(
        rabbitmq_server.url, event_exchange=event_exchange, routing_keys=keys, read_only=True
    )
    assert bindings(rabbitmq_server, event_exchange) == expected


def test_two_subscriptions_of_one_process_have_two_queues(
    rabbitmq_server, open_stream, event_exchange
):
    for _ in range(2):
        open_stream(
            rabbitmq_server.url, event_exchange=event_exchange, event_queue_prefix="celeryev.twice"
        )
    names = rabbitmq_server.wait_for_queues(2, "celeryev.twice")
    assert all(str(os.getpid()) in name for name in names)


def test_a_killed_process_leaves_no_queue(rabbitmq_server, event_exchange):
    code = (
        "import sys, signal\n"
        "from evtools.transport import ConnectionSettings\n"
        "from evtools.transport.receiver import subscribe\n"
        "stream = subscribe(ConnectionSettings(urls=sys.argv[1],"
        " event_exchange=sys.argv[2], event_queue_prefix='celeryev.killed'))\n"
        "print('subscribed', flush=True)\n"
        "signal.pause()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, rabbitmq_server.url, event_exchange],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.getcwd()},  # noqa: PTH109  (a string)
    ) as process:
        assert process.stdout.readline() == b"subscribed\n"
        rabbitmq_server.wait_for_queues(1, "celeryev.killed")
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    rabbitmq_server.wait_for_queues(0, "celeryev.killed")


# --- Rights ------------------------------------------------------------------------


@pytest.fixture
def foreign_exchange(rabbitmq_url, event_exchange):
    """An exchange that is there and that a mere listener may not declare."""
    name = f"ops.{event_exchange}"
    with Connection(rabbitmq_url) as connection:
        channel = connection.default_channel
        Exchange(name, type="topic", channel=channel).declare()
        yield name


@pytest.mark.parametrize("read_only", [True, False])
def test_a_user_who_may_only_listen_can_watch(
    rabbitmq_server, open_stream, foreign_exchange, read_only
):
    url = rabbitmq_server.vhost_url("", user="listener", password="listener-secret")
    stream = open_stream(url, event_exchange=foreign_exchange, read_only=read_only)
    publish(rabbitmq_server.url, foreign_exchange, {"type": "task-sent"})
    assert [event["type"] for event in events(stream)] == ["task-sent"]


def test_who_wants_events_switched_on_must_be_allowed_to(
    rabbitmq_server, redis_acl, foreign_exchange
):
    url = rabbitmq_server.vhost_url("", user="listener", password="listener-secret")
    with pytest.raises(AccessRefused):
        subscribe(ConnectionSettings(urls=url, event_exchange=foreign_exchange, enable_events=True))
    rules = "on >secret resetchannels &/1.celeryev/* -@all +psubscribe +ping +client"
    redis_acl.redis_cli("ACL", "SETUSER", "nosy", *rules.split(), "+select")
    url = f"redis://nosy:secret@127.0.0.1:{redis_acl.port}/1"
    with pytest.raises(NoPermissionError):
        subscribe(ConnectionSettings(urls=url, enable_events=True))
    wait_until(
        lambda: "user=nosy" not in redis_acl.redis_cli("CLIENT", "LIST"),
        what="the end of all connections",
    )


def test_a_user_without_any_rights_is_refused(rabbitmq_server, foreign_exchange):
    url = rabbitmq_server.vhost_url("", user="nobody", password="nobody-secret")
    with pytest.raises(NotAllowed):
        subscribe(ConnectionSettings(urls=url, event_exchange=foreign_exchange))


# --- Waking the workers --------------------------------------------------------------


@pytest.fixture
def control(broker_url):
    """Hear what is said to the workers on a control exchange of this test's own."""
    with Connection(broker_url) as connection:
        channel = connection.default_channel
        exchange = Exchange(f"control{os.urandom(4).hex()}.pidbox", type="fanout", durable=False)
        queue = Queue(exchange.name, exchange, channel=channel, exclusive=True)
        queue.declare()
        heard = []
        consumer = connection.Consumer(
            [queue], callbacks=[lambda body, _: heard.append(body)], no_ack=True
        )
        with consumer:

            def listen(count):
                def look():
                    _drains(connection)
                    return len(heard) >= count

                wait_until(look, what=lambda: f"{count} commands: {heard}")
                return [body["method"] for body in heard]

            if connection.transport.driver_type == "redis":
                # kombu subscribes in its first drain, so say something until heard.
                producer = Producer(channel, exchange)
                wait_until(
                    lambda: producer.publish({"method": "hello"}) or _drains(connection),
                    what="a subscription to the control exchange",
                )
                heard.clear()
            listen.exchange = exchange.name.removesuffix(".pidbox")
            yield listen


def _drains(connection):
    try:
        connection.drain_events(timeout=0.2)
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ["heartbeat"]),
        ({"enable_events": True}, ["enable_events", "heartbeat"]),
        ({"enable_events": True, "wakeup": False}, ["enable_events"]),
    ],
)
def test_the_workers_are_asked_to_show_themselves(
    broker_url, control, open_stream, event_exchange, settings, expected
):
    open_stream(
        broker_url, event_exchange=event_exchange, control_exchange=control.exchange, **settings
    )
    assert control(len(expected)) == expected


@pytest.mark.parametrize("settings", [{"read_only": True}, {"wakeup": False}])
def test_nothing_is_published_where_nothing_shall_be(
    broker_url, control, open_stream, event_exchange, settings
):
    for how in (settings, {"wakeup": True}):
        open_stream(
            broker_url, event_exchange=event_exchange, control_exchange=control.exchange, **how
        )
    assert control(1) == ["heartbeat"]


def test_what_comes_while_the_workers_are_woken_is_not_lost(
    rabbitmq_url, event_exchange, monkeypatch, open_stream
):
    from evtools.transport import receiver

    broadcast = receiver.broadcast

    def slowly(connection, *args, **how):
        publish(rabbitmq_url, event_exchange, {"type": "task-sent", "early": True})
        broadcast(connection, *args, **how)
        # Some sync call, during which py-amqp reads whatever comes.
        connection.channel().close()

    monkeypatch.setattr(receiver, "broadcast", slowly)
    stream = open_stream(rabbitmq_url, event_exchange=event_exchange)
    publish(rabbitmq_url, event_exchange, {"type": "task-sent", "early": False})
    assert [event["early"] for event in events(stream, 2)] == [True, False]


@pytest.mark.timeout(120)
def test_one_can_watch_while_the_brokers_memory_is_short(own_rabbitmq, open_stream, event_exchange):
    own_rabbitmq.rabbitmqctl("set_vm_memory_high_watermark", "0")
    stream = open_stream(own_rabbitmq.url, event_exchange=event_exchange)
    assert own_rabbitmq.list_connections("state") == [{"state": "blocked"}]
    own_rabbitmq.rabbitmqctl("set_vm_memory_high_watermark", "0.9")
    publish(own_rabbitmq.url, event_exchange, {"type": "task-sent"})
    assert len(events(stream)) == 1


def test_a_lost_connection_while_subscribing_leaves_none_behind(redis_acl):
    url = f"redis://nobody:nobody-secret@127.0.0.1:{redis_acl.port}/0"
    with pytest.raises(Exception, match=r"no perm|NOPERM|permissions"):
        subscribe(ConnectionSettings(urls=url, options={"client_name": None}))
    wait_until(
        lambda: "user=nobody" not in redis_acl.redis_cli("CLIENT", "LIST"),
        what="the end of all connections",
    )
