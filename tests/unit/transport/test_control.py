import bz2
import contextlib
import json
import lzma
import pickle
import subprocess
import sys
import threading
import time
import zlib

import pytest
import zstandard
from kombu import Connection, Consumer, Exchange, Producer, Queue
from redis import Redis

from evtools.errors import UsageError
from evtools.transport import ConnectionSettings, EventReceiver, Replies, broadcast, call, connect
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


def test_the_deadline_bounds_the_wait(celery_worker, settings):
    replies = call(settings, "ping", destination=[celery_worker.hostname, "nobody@x"], deadline=2)
    assert replies == Replies({celery_worker.hostname: {"ok": "pong"}}, complete=False)


def test_the_brokers_heartbeat_does_not_end_a_long_wait(celery_worker):
    settings = settings_for(celery_worker, heartbeat=1.0)
    replies = call(settings, "ping", destination=[celery_worker.hostname, "nobody@x"], deadline=5)
    assert replies == Replies({celery_worker.hostname: {"ok": "pong"}}, complete=False)


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


class Impostor(threading.Thread):
    """Answer each command with what a worker should not: `replies(producer, how)`."""

    def __init__(self, url, exchange, replies):
        super().__init__(daemon=True)
        self.replies = replies
        self.connection = Connection(url)
        channel = self.connection.default_channel
        queue = Queue(
            f"impostor.{exchange}",
            Exchange(f"{exchange}.pidbox", type="fanout", durable=False),
            durable=False,
            auto_delete=True,
        )
        self.consumer = Consumer(channel, [queue], callbacks=[self.answer], no_ack=True)
        self.consumer.consume()
        self.ended = False
        self.start()

    def answer(self, command, message):
        to = command.get("reply_to")
        if to:
            producer = Producer(self.connection.default_channel)
            ours = {**to, "headers": {"ticket": command["ticket"]}}
            self.replies(producer, ours)

    def run(self):
        while not self.ended:
            with contextlib.suppress(TimeoutError):
                self.connection.drain_events(timeout=0.1)

    def end(self):
        self.ended = True
        self.join(10)
        self.connection.release()


@pytest.fixture
def impostor(broker_url, event_exchange):
    """Have an impostor reply; return settings with which it is asked."""
    started = []

    def start(replies):
        started.append(Impostor(broker_url, event_exchange, replies))
        return ConnectionSettings(urls=broker_url, control_exchange=event_exchange)

    yield start
    for one in started:
        one.end()


def test_replies_that_are_none_do_not_disturb(impostor):
    def replies(producer, ours):
        other = {**ours, "headers": {"ticket": "of another call"}}
        producer.publish({"late@x": 1}, **other)
        producer.publish(["no", "mapping"], **ours)
        producer.publish(
            pickle.dumps({"p@x": 1}),
            content_type="application/x-python-serialize",
            content_encoding="binary",
            **ours,
        )
        producer.publish(b"{", content_type="application/json", content_encoding="utf-8", **ours)
        deep = b'{"x@x":' + b"[" * 500 + b"]" * 500 + b"}"
        producer.publish(deep, content_type="application/json", content_encoding="utf-8", **ours)
        producer.publish({"a@x": "pong"}, compression="zlib", **ours)
        producer.publish({"b@x": "pong"}, **{**ours, "headers": {}})

    replies = call(impostor(replies), "ping", expected=2, deadline=15)
    assert replies == Replies(
        {"a@x": "pong", "b@x": "pong"},
        complete=True,
        unread={
            "no reply of a worker": 1,
            "content type not accepted": 1,
            "no JSON": 1,
            "nested too deep": 1,
        },
    )


#: A call in a process of its own, as memory that was taken is not given back.
CALL = """
import json, resource, sys
from evtools.transport import ConnectionSettings, call

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

url, exchange = sys.argv[1:]
settings = ConnectionSettings(urls=url, control_exchange=exchange)
call(settings, "ping", deadline=0)
before = peak()
replies = call(settings, "ping", deadline=40, expected=9)
print(json.dumps([list(replies.by_node), dict(replies.unread), peak() - before]))
"""


@pytest.mark.parametrize("compression", ["zlib", "gzip", "bzip2", "lzma", "zstd"])
def test_a_reply_that_grows_when_unpacked_takes_no_memory(redis_url, event_exchange, compression):
    names = {"zlib": "application/x-gzip", "bzip2": "application/x-bz2"}
    pack = {"bzip2": bz2.compress, "lzma": lzma.compress, "zstd": zstandard.compress}.get(
        compression, zlib.compress
    )
    megabytes = 200 if compression == "zlib" else 20
    bomb = pack(b'{"x@x": "' + b"x" * megabytes * 1_000_000 + b'"}')
    assert len(bomb) < 500_000
    twice = pack(bomb)
    small = [pack(b'{"%d@x": [' % n + b"[]," * 250_000 + b"1]}") for n in range(9)]

    def replies(producer, ours):
        headers = {**ours["headers"]}
        headers["compression"] = names.get(compression, compression)
        how = {**ours, "headers": headers}
        how |= {"content_type": "application/json", "content_encoding": "utf-8"}
        for body in (bomb, twice, *small):
            producer.publish(body, **how)

    one = Impostor(redis_url, event_exchange, replies)
    try:
        done = subprocess.run(
            [sys.executable, "-c", CALL, redis_url, event_exchange],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    finally:
        one.end()
    nodes, unread, kilobytes = json.loads(done.stdout)
    assert len(nodes) == 9
    assert unread == {"message too large": 1, "no JSON": 1}
    # All replies may weigh 8 MiB, and an empty list of two bytes weighs 64.
    assert kilobytes < 350_000


def test_replies_without_end_are_counted(impostor):
    def replies(producer, ours):
        for number in range(30):
            producer.publish({f"{number}@x": "x" * 900_000}, **ours)

    told = call(impostor(replies), "ping", deadline=5, expected=30)
    assert 1 <= len(told.by_node) < 10
    assert told.unread["too many replies"] == 30 - len(told.by_node)
    assert not told.complete


def test_what_is_no_message_in_a_reply_queue_of_redis_is_counted(
    redis_server, redis_url, event_exchange
):
    database = int(redis_url.rpartition("/")[2])
    good = {
        "body": json.dumps({"a@x": "pong"}),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {},
        "properties": {"delivery_info": {}, "delivery_tag": "x"},
    }
    odd = [
        *("nonsense", "[]", "[" * 5000, "{}", '"x"', "null"),
        json.dumps({**good, "properties": None}),
        json.dumps({**good, "headers": ["x"], "body": None}),
        json.dumps({**good, "properties": {**good["properties"], "body_encoding": "x"}}),
        json.dumps({**good, "body": "x" * 3 * 1024 * 1024}),
    ]

    def replies(_, ours):
        with Redis.from_url(redis_url) as client:
            queue = f"{ours['routing_key']}.reply.{event_exchange}.pidbox"
            client.lpush(queue, *odd, json.dumps(good))

    one = Impostor(redis_url, event_exchange, replies)
    try:
        settings = ConnectionSettings(urls=redis_url, control_exchange=event_exchange)
        told = call(settings, "ping", deadline=15, expected=1)
    finally:
        one.end()
    assert told.by_node == {"a@x": "pong"}
    assert told.unread["message too large"] == 1
    assert sum(told.unread.values()) == len(odd)
    assert not redis_server.redis_cli("KEYS", "*reply*", database=database)


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
    with Connection(own_redis.url) as connection, pytest.raises(connection.connection_errors):
        call(settings, "ping")
