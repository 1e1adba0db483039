import base64
import json
import socket

import pytest
import redis
from celery.events.dispatcher import EventDispatcher as CelerysDispatcher
from kombu import Connection, Exchange, Producer
from redis.exceptions import InvalidResponse, ResponseError

from cluster.app import make_app
from cluster.worker import close
from evtools.transport import ConnectionSettings
from evtools.transport.receiver import subscribe
from evtools.transport.streams.redis import RedisStream, _glob
from evtools.wire import ENVELOPE, MESSAGE_MAX_BYTES, Codec, Message, RedisTopics
from servers.process import wait_until

# --- The other end of the wire ---------------------------------------------------


def bulk(*items, kind=b"*"):
    head = kind + str(len(items)).encode() + b"\r\n"
    return head + b"".join(
        b":%d\r\n" % item if isinstance(item, int) else b"$%d\r\n%s\r\n" % (len(item), item)
        for item in items
    )


def confirmation(pattern, count=1, kind=b"*"):
    return bulk(b"psubscribe", pattern, count, kind=kind)


def pmessage(data, channel=b"/0.celeryev/task.sent", pattern=b"/0.*", kind=b"*"):
    return bulk(b"pmessage", pattern, channel, data, kind=kind)


class FakeConnection:
    """As much of a redis-py connection as the stream uses."""

    def __init__(self, sock):
        self._sock = sock
        self.sent = []
        self.disconnected = 0

    def send_command(self, *command, check_health):
        assert not check_health
        self.sent.append(command)

    def disconnect(self):
        self.disconnected += 1


class Wire:
    def __init__(
        self,
        patterns=("/0.*",),
        *,
        names=(),
        copies=False,
        kind=b"*",
        heartbeat=0,
        timeout=5,
        say=None,
    ):
        self.server, ours = socket.socketpair()
        self.connection, self.pool = FakeConnection(ours), FakeConnection(None)
        confirmed = b"".join(
            confirmation(topic.encode(), number, kind)
            for number, topic in enumerate([*names, *patterns], 1)
        )
        self.server.sendall(confirmed if say is None else say)
        try:
            self.stream = RedisStream(
                self.connection,
                self.pool,
                RedisTopics([*names], [*patterns], copies),
                heartbeat=heartbeat,
                timeout=timeout,
            )
        except BaseException:
            self.close()
            raise

    def send(self, data):
        self.server.sendall(data)
        return self.stream.drain(5)

    def close(self):
        self.server.close()
        self.connection._sock.close()


@pytest.fixture
def make_wire():
    wires = []

    def make(**how):
        wires.append(Wire(**how))
        return wires[-1]

    yield make
    for wire in wires:
        wire.close()


@pytest.fixture(params=[b"*", b">"], ids=["RESP2", "RESP3"])
def kind(request):
    """How the server marks what nobody asked for."""
    return request.param


# --- Replies ---------------------------------------------------------------------


def test_names_and_patterns_are_subscribed_to_each_in_one_command(make_wire):
    wire = make_wire(patterns=("/0.*", "/1.[*]"), names=("a", "b"))
    assert wire.connection.sent == [("SUBSCRIBE", b"a", b"b"), ("PSUBSCRIBE", b"/0.*", b"/1.[*]")]


def test_who_may_not_name_a_channel_may_have_a_pattern_for_it(make_wire):
    say = b"-NOPERM no 'subscribe'\r\n" + confirmation(b"/0.e\\*") + confirmation(b"/0.*")
    wire = make_wire(names=["/0.e*"], say=say)
    assert wire.connection.sent == [("SUBSCRIBE", b"/0.e*"), ("PSUBSCRIBE", b"/0.e\\*", b"/0.*")]
    assert wire.send(pmessage(b"1", b"/0.e*", b"/0.e\\*")) == [Message(b"1", ENVELOPE)]
    assert wire.send(pmessage(b"1", b"/0.e*", b"/0.*")) == []


def test_a_channel_that_has_a_name_needs_no_pattern(make_wire, kind):
    wire = make_wire(patterns=["/0.ev*"], names=["/0.ev"], kind=kind)
    copies = (
        bulk(b"message", b"/0.ev", b"1", kind=kind),
        pmessage(b"1", b"/0.ev", b"/0.ev*", kind=kind),
    )
    assert wire.send(b"".join(copies)) == [Message(b"1", ENVELOPE)]


def test_replies_may_be_split_at_every_byte(make_wire, kind):
    data = pmessage(b'{"a":\r\n1}', kind=kind)
    wire = make_wire(kind=kind)
    for cut in range(1, len(data)):
        received = wire.send(data[:cut]) + wire.send(data[cut:])
        assert received == [Message(b'{"a":\r\n1}', ENVELOPE)], cut


@pytest.mark.parametrize("size", [1, 7_000, 16_384, 40_000])
def test_a_large_read_is_parsed_to_its_end(make_wire, size):
    wire = make_wire()
    wire.server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1024 * 1024)
    sent = [b"%d" % number * size for number in range(100_000 // (size + 100) + 1)]
    wire.server.sendall(b"".join(map(pmessage, sent)))
    received = []
    while len(received) < len(sent):
        received += wire.stream.drain(5)
    assert received == [Message(body, ENVELOPE) for body in sent]


@pytest.mark.parametrize(
    "pong", [b"*2\r\n$4\r\npong\r\n$0\r\n\r\n", b"+PONG\r\n", b"*0\r\n", b"_\r\n"]
)
def test_the_answer_to_a_ping_is_no_message(make_wire, pong):
    wire = make_wire()
    assert wire.send(pong) == []
    assert wire.send(pong + pmessage(b"1")) == [Message(b"1", ENVELOPE)]


def test_an_error_reply_ends_the_stream(make_wire):
    wire = make_wire()
    with pytest.raises(ResponseError, match="out of luck") as caught:
        wire.send(b"-ERR out of luck\r\n")
    assert isinstance(caught.value, wire.stream.errors)


def test_a_closed_connection_is_an_error(make_wire):
    wire = make_wire()
    wire.server.close()
    with pytest.raises(ConnectionResetError) as caught:
        wire.stream.drain(5)
    assert isinstance(caught.value, wire.stream.errors)


@pytest.mark.parametrize("rest", [b"", b"\r", b"\r\n", b"\r\n*4\r\n$8"])
@pytest.mark.parametrize("patterns", [["/0.*"], ["/0.*", "/1.*"]])
def test_of_what_is_too_large_the_beginning_is_kept_and_the_rest_skipped(make_wire, patterns, rest):
    wire = make_wire(patterns=patterns)
    after = pmessage(b"after")
    size = 8 * MESSAGE_MAX_BYTES
    head = pmessage(b"").removesuffix(b"$0\r\n\r\n") + b"$%d\r\n" % size
    assert wire.send(pmessage(b"before") + head) == [Message(b"before", ENVELOPE)]
    received, piece = [], b"x" * 200_000
    for _ in range(size // len(piece)):
        received += wire.send(piece)
        kept = sum(map(len, wire.stream._replies._parts))
        assert kept <= MESSAGE_MAX_BYTES + len(piece)
    received += wire.send(b"x" * (size % len(piece)) + b"\r\n" + after)
    assert [len(message.body) for message in received] == [MESSAGE_MAX_BYTES + 1, 5]
    codec = Codec()
    assert codec.decode(received[0]) == []
    assert [*codec.defects] == ["message too large"]


def test_a_channel_of_many_megabytes_brings_its_message(make_wire):
    wire = make_wire()
    size = 2 * MESSAGE_MAX_BYTES
    wire.send(b"*4\r\n$8\r\npmessage\r\n$4\r\n/0.*\r\n$%d\r\n" % size)
    for _ in range(size // 2**17):
        assert wire.send(b"x" * 2**17) == []
        assert sum(map(len, wire.stream._replies._parts)) <= MESSAGE_MAX_BYTES + 2**18
    assert wire.send(b"\r\n$1\r\n1\r\n") == [Message(b"1", ENVELOPE)]
    assert wire.send(pmessage(b"2")) == [Message(b"2", ENVELOPE)]


@pytest.mark.parametrize(
    "odd",
    [
        b"*2147483647\r\n",
        b"*1\r\n" * 1000,
        b"*99999999999999999999\r\n",
        b"$-2\r\n",
        b"$1_0\r\n1234567890\r\n",
        b"*4\r\n$8\r\npmessage\r\n$4\r\n/0.*\r\n$-9\r\n",
        b"%1\r\n+a\r\n+b\r\n",
        b"+" + b"x" * 100_000,
    ],
)
def test_what_no_server_says_to_a_subscriber_ends_the_stream(make_wire, odd):
    wire = make_wire()
    with pytest.raises(InvalidResponse) as caught:
        wire.send(odd)
    assert isinstance(caught.value, wire.stream.errors)


@pytest.mark.parametrize("patterns", [["/0.*"], ["/0.*", "/1.*"]])
def test_a_message_without_a_body_is_none(make_wire, patterns):
    wire = make_wire(patterns=patterns)
    nothing = pmessage(b"").removesuffix(b"$0\r\n\r\n") + b"$-1\r\n"
    assert wire.send(nothing + pmessage(b"1")) == [Message(b"1", ENVELOPE)]


def test_a_channel_that_looks_like_an_end_of_line_is_a_channel(make_wire):
    wire = make_wire()
    odd = b"/0.a\r\n$3\r\nabc\r\n"
    assert wire.send(pmessage(b"1", odd) * 3 + pmessage(b"2")) == [
        *[Message(b"1", ENVELOPE)] * 3,
        Message(b"2", ENVELOPE),
    ]


def test_what_comes_on_two_channels_is_one_message(make_wire):
    wire = make_wire(patterns=["/0.*", "/{db}.*"], copies=True)
    received = wire.send(
        b"".join(
            pmessage(b"%d" % number, channel + b"e", channel + b"*")
            for number in range(2000)
            for channel in (b"/0.", b"/{db}.")
        )
    )
    while len(received) < 2000:
        received += wire.stream.drain(5)
    assert [message.body for message in received] == [b"%d" % n for n in range(2000)]
    assert len(wire.stream._recent) == 1000


def test_a_subscription_waits_for_all_of_its_patterns(make_wire):
    with pytest.raises(TimeoutError):
        make_wire(patterns=("a", "b"), say=confirmation(b"a"), timeout=0.05)


def test_a_refused_subscription_is_an_error(make_wire):
    with pytest.raises(ResponseError, match="NOPERM"):
        make_wire(say=b"-NOPERM no channel for you\r\n")


def test_what_comes_with_the_confirmation_is_not_lost(make_wire):
    wire = make_wire(say=confirmation(b"/0.*") + pmessage(b"early"))
    assert wire.send(pmessage(b"late")) == [
        *(Message(b"early", ENVELOPE), Message(b"late", ENVELOPE))
    ]


# --- Overlapping patterns --------------------------------------------------------


def test_a_message_that_several_patterns_match_comes_once(make_wire):
    wire = make_wire(patterns=("/0.ev/task.*", "/0.ev/*.failed"))
    both = [
        pmessage(data, b"/0.ev/task.failed", pattern)
        for data in (b"1", b"2")
        for pattern in (b"/0.ev/task.*", b"/0.ev/*.failed")
    ]
    one = pmessage(b"3", b"/0.ev/worker.failed", b"/0.ev/*.failed")
    received = wire.send(b"".join(both) + one)
    assert [message.body for message in received] == [b"1", b"2", b"3"]


def test_patterns_match_as_redis_matches_them():
    assert _glob(rb"/0.\*\[ev\]\?/task.*").fullmatch(b"/0.*[ev]?/task.\nx")
    assert not _glob(rb"/0.\*/a").fullmatch(b"/0.x/a")
    assert not _glob(b"a.b").fullmatch(b"axb")
    assert _glob(rb"a\\b").fullmatch(rb"a\b")


def test_channels_are_remembered_and_not_for_ever(make_wire):
    stream = make_wire(patterns=["a.*", "*.b"], names=["x"]).stream
    channels = [b"a.%d" % number for number in range(2000)]
    assert {stream._source_of(channel) for channel in [*channels, b"a." + b"x" * 1000]} == {b"a.*"}
    assert len(stream._sources) == 1024
    assert max(map(len, stream._sources)) < 10
    others = [stream._source_of(channel) for channel in (b"a.b", b"x.b", b"x", b"y")]
    assert others == [b"a.*", b"*.b", b"x", None]


# --- Signs of life ---------------------------------------------------------------


def test_a_ping_goes_out_twice_in_a_heartbeat(make_wire, monkeypatch):
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    wire = make_wire(heartbeat=10)
    for _ in range(100):
        now += 0.2
        assert wire.send(pmessage(b"1")) == [Message(b"1", ENVELOPE)]
    assert wire.connection.sent[1:] == [("PING",)] * 4
    assert wire.stream.last_seen == now


# --- A real Redis ----------------------------------------------------------------


@pytest.fixture
def open_stream():
    streams = []

    def start(url, **settings):
        settings = ConnectionSettings(urls=url, **{"read_only": True, **settings})
        streams.append(subscribe(settings))
        return streams[-1]

    yield start
    for stream in streams:
        stream.close()


def drain_until_lost(stream):
    while True:
        stream.drain(0.1)


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


TYPES = ("task-sent", "task-failed", "worker-heartbeat", "a-b-c")

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
    assert type(stream) is RedisStream
    send_with_celery(redis_url, *TYPES, exchange=event_exchange, **options)
    assert [event["type"] for event in drained(stream, 4)] == [*TYPES]


def test_another_database_or_exchange_is_another_stream(
    redis_server, redis_url, open_stream, send_with_celery
):
    stream = open_stream(redis_url)
    send_with_celery(redis_server.fresh_url(), "task-sent")
    send_with_celery(redis_url, "task-sent", exchange="celeryev2")
    send_with_celery(redis_url, "task-failed")
    assert [event["type"] for event in drained(stream, 1)] == ["task-failed"]


def test_routing_keys_become_patterns_and_overlap_is_no_harm(
    redis_url, open_stream, send_with_celery
):
    keys = ("task.#", "*.failed", "task.failed", "worker.*")
    stream = open_stream(redis_url, routing_keys=keys)
    send_with_celery(redis_url, *TYPES)
    assert [event["type"] for event in drained(stream, 3)] == [*TYPES[:3]]


@pytest.mark.parametrize("protocol", [2, 3])
def test_either_protocol_of_redis_will_do(redis_server, protocol):
    pool = redis.ConnectionPool(host="127.0.0.1", port=redis_server.port, protocol=protocol)
    stream = RedisStream(
        pool.get_connection(), pool, RedisTopics([], ["celeryev*"]), heartbeat=0.2, timeout=5
    )
    heard = set()
    wait_until(
        lambda: stream.drain(0.1) or heard.add(stream.last_seen) or len(heard) > 3,
        what="answers to a ping",
    )
    redis_server.redis_cli("PUBLISH", f"celeryev{protocol}", "hello")
    assert stream.drain(10) in ([], [Message(b"hello", ENVELOPE)])
    stream.close()


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


def keys(server, url):
    return server.redis_cli("KEYS", "*", database=int(url.rpartition("/")[2]))


def test_no_key_is_left_or_made(redis_server, redis_url, send_with_celery):
    send_with_celery(redis_url, "task-sent")
    before = keys(redis_server, redis_url)
    for _ in range(3):
        stream = subscribe(ConnectionSettings(urls=redis_url))
        assert keys(redis_server, redis_url) == before
        stream.close()
    assert keys(redis_server, redis_url) == before


def test_one_connection_of_ours_remains_and_then_none(redis_server, redis_url):
    def ours():
        clients = redis_server.redis_cli("CLIENT", "LIST").splitlines()
        return [client for client in clients if "name=one-of-ours@" in client]

    stream = subscribe(ConnectionSettings(urls=redis_url, tool="one-of-ours"))
    (client,) = ours()
    assert " psub=1 " in client
    stream.close()
    wait_until(lambda: not ours(), what="our connection to go")


def test_a_user_may_be_allowed_to_listen_and_nothing_else(redis_acl, open_stream):
    # Redis wants the very pattern of a PSUBSCRIBE in the rule, not one that covers it.
    rules = "on >secret resetchannels &/0.celeryev/* -@all +psubscribe +ping +client"
    redis_acl.redis_cli("ACL", "SETUSER", "watcher", *rules.split())
    url = f"redis://watcher:secret@127.0.0.1:{redis_acl.port}/0"
    for read_only in (True, False):
        stream = open_stream(url, read_only=read_only)
        body = json.dumps(
            {
                "body": base64.b64encode(b'{"type": "a"}').decode(),
                "content-type": "application/json",
                "content-encoding": "utf-8",
                "properties": {"body_encoding": "base64"},
                "headers": {},
            }
        )
        redis_acl.redis_cli("PUBLISH", "/0.celeryev/a", body)
        assert drained(stream, 1) == [{"type": "a"}]
