import socket

import pytest
from redis.exceptions import InvalidResponse, ResponseError

from evtools.transport.streams.redis import RedisStream, _glob, _Replies
from evtools.wire import ENVELOPE, MESSAGE_MAX_BYTES, Codec, Message, RedisTopics

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
    def __init__(self, patterns=("/0.*",), *, names=(), kind=b"*", copies=False, say=None, **how):
        self.server, ours = socket.socketpair()
        self.connection, self.pool = FakeConnection(ours), FakeConnection(None)
        topics = enumerate([*names, *patterns], 1)
        confirmed = (confirmation(topic.encode(), number, kind) for number, topic in topics)
        self.server.sendall(b"".join(confirmed) if say is None else say)
        topics = RedisTopics([*names], [*patterns], copies)
        how = {"heartbeat": 0, "timeout": 5, **how}
        try:
            self.stream = RedisStream(self.connection, self.pool, topics, **how)
        except BaseException:
            self.close()
            raise

    def send(self, data):
        self.server.sendall(data)
        return self.stream.drain(5)

    def close(self):
        self.server.close()
        self.connection._sock.close()


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
def test_a_large_read_is_parsed_to_its_end(wire, size):
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
def test_the_answer_to_a_ping_is_no_message(wire, pong):
    assert wire.send(pong) == []
    assert wire.send(pong + pmessage(b"1")) == [Message(b"1", ENVELOPE)]


def test_an_error_reply_ends_the_stream(wire):
    with pytest.raises(ResponseError, match="out of luck") as caught:
        wire.send(b"-ERR out of luck\r\n")
    assert isinstance(caught.value, wire.stream.errors)


def test_a_closed_connection_is_an_error(wire):
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


def test_a_channel_of_many_megabytes_brings_its_message(wire):
    size = 2 * MESSAGE_MAX_BYTES
    wire.send(b"*4\r\n$8\r\npmessage\r\n$4\r\n/0.*\r\n$%d\r\n" % size)
    for _ in range(size // 2**17):
        assert wire.send(b"x" * 2**17) == []
        assert sum(map(len, wire.stream._replies._parts)) <= MESSAGE_MAX_BYTES + 2**18
    assert wire.send(b"\r\n$1\r\n1\r\n") == [Message(b"1", ENVELOPE)]
    assert wire.send(pmessage(b"2")) == [Message(b"2", ENVELOPE)]


# fmt: off
ODD = [
    b"*2147483647\r\n", b"*1\r\n" * 1000, b"*99999999999999999999\r\n", b"$-2\r\n",
    b"$1_0\r\n1234567890\r\n", b"*4\r\n$8\r\npmessage\r\n$4\r\n/0.*\r\n$-9\r\n",
    b"%1\r\n+a\r\n+b\r\n", b"+" + b"x" * 100_000,
]
# fmt: on


@pytest.mark.parametrize("odd", ODD)
def test_what_no_server_says_to_a_subscriber_ends_the_stream(wire, odd):
    with pytest.raises(InvalidResponse) as caught:
        wire.send(odd)
    assert isinstance(caught.value, wire.stream.errors)


@pytest.mark.parametrize("patterns", [["/0.*"], ["/0.*", "/1.*"]])
def test_a_message_without_a_body_is_none(make_wire, patterns):
    wire = make_wire(patterns=patterns)
    nothing = pmessage(b"").removesuffix(b"$0\r\n\r\n") + b"$-1\r\n"
    assert wire.send(nothing + pmessage(b"1")) == [Message(b"1", ENVELOPE)]


def test_a_channel_that_looks_like_an_end_of_line_is_a_channel(wire):
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
    received = wire.send(pmessage(b"late"))
    assert [message.body for message in received] == [b"early", b"late"]


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
    assert {stream._source_of(channel) for channel in [b"a." + b"x" * 1000, *channels]} == {b"a.*"}
    assert len(stream._sources) == 1024
    assert max(map(len, stream._sources)) < 10
    others = [stream._source_of(channel) for channel in (b"a.b", b"x.b", b"x", b"y")]
    assert others == [b"a.*", b"*.b", b"x", None]


# --- Signs of life ---------------------------------------------------------------


def test_a_ping_goes_out_twice_in_a_heartbeat(make_wire, clock):
    wire = make_wire(heartbeat=10)
    for _ in range(100):
        clock.now += 0.2
        assert wire.send(pmessage(b"1")) == [Message(b"1", ENVELOPE)]
    assert wire.connection.sent[1:] == [("PING",)] * 4
    assert wire.stream.last_seen == clock.now


def test_what_is_read_at_once_may_end_anywhere():
    def sent(channel, body):
        head = b"*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n"
        return head + b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(channel), channel, len(body), body)

    data = sent(b"task.started", b"a") + sent(b"worker.online", b"b") * 2
    for end in range(len(data)):
        replies, messages, others = _Replies(b"*"), [], []
        for part in (data[:end], data[end:]):
            others += [reply[-1] for reply in replies.feed(part, messages)]
        assert sorted([*(message.body for message in messages), *others]) == [b"a", b"b", b"b"]
