import itertools
import logging
import socket
import struct
from types import SimpleNamespace

import amqp
import pytest
from amqp import spec
from amqp.basic_message import Message as Content
from amqp.exceptions import (
    AccessRefused,
    ConnectionForced,
    ConsumerCancelled,
    NotFound,
    UnexpectedFrame,
)

from evtools.transport.streams.amqp import SILENCE, AMQPStream
from evtools.wire import MESSAGE_MAX_BYTES, Message

CHANNEL = 1
FRAME_MAX = 4096


# --- The other end of the wire ---------------------------------------------------


def frame(kind, payload, *, channel=CHANNEL):
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def properties_of(**values):
    return Content(**values)._serialize_properties()


def delivery(body, *, sizes=(), announced=None, properties=None, number=0, again=False):
    """Return the frames of one delivery, the body cut at `sizes`."""
    if properties is None:
        how = {"content_type": "application/json", "content_encoding": "utf-8"}
        properties = properties_of(application_headers={"hostname": "w@h"}, **how)
    size = len(body) if announced is None else announced
    facts = struct.pack(">Q?", number, again)
    frames = frame(1, struct.pack(">HH", *spec.Basic.Deliver) + b"\x01c" + facts)
    frames += frame(2, struct.pack(">HHQ", 60, 0, size) + properties)
    for length in sizes:
        frames += frame(3, body[:length])
        body = body[length:]
    return frames + (frame(3, body) if body else b"")


def message(body, compression=None):
    return Message(body, "application/json", "utf-8", compression)


class FakeAMQP:
    """As much of a py-amqp connection as the stream takes over."""

    def __init__(self, sock, heartbeat=0):
        self.transport = SimpleNamespace(sock=sock, _read_buffer=b"")
        self.frame_max = FRAME_MAX
        self.heartbeat = heartbeat
        self.channels = {0: None, CHANNEL: None}
        self.handed_back = []
        self.answers = {}
        self.sent = []

    def on_inbound_frame(self, frame):
        self.handed_back.append(frame)
        if frame[1] in self.answers:
            raise self.answers[frame[1]]

    def send_heartbeat(self):
        self.sent.append("heartbeat")

    def send_method(self, method, *_):
        self.sent.append(method)


class Wire:
    """A stream, and the end of the socket where its broker sits."""

    def __init__(self, heartbeat=0, prefetch=0):
        self.broker, self.ours = socket.socketpair()
        self.amqp = FakeAMQP(self.ours, heartbeat)
        connection = SimpleNamespace(
            connection=self.amqp,
            connection_errors=amqp.Connection.connection_errors,
            channel_errors=amqp.Connection.channel_errors,
        )
        self.consumed, self.acknowledged, self.limits = {}, [], []
        channel = SimpleNamespace(
            channel_id=CHANNEL,
            basic_consume=lambda **how: self.consumed.update(how),
            basic_qos=lambda *limits, a_global: self.limits.append((*limits, a_global)),
            basic_ack=lambda number, multiple: self.acknowledged.append((number, multiple)),
        )
        self.bound = []
        bind = lambda: self.bound.append(self.stream)  # noqa: E731
        self.stream = AMQPStream(connection, channel, "celeryev.q", bind, prefetch)

    def send(self, data):
        self.broker.sendall(data)
        return self.stream.drain(5)

    def close(self):
        self.broker.close()
        self.ours.close()


# --- Frames ----------------------------------------------------------------------


def test_frames_may_be_split_at_every_byte(make_wire):
    data = delivery(b'{"a": 1}', sizes=(3, 2)) + frame(8, b"") + delivery(b"")
    expected = [message(b'{"a": 1}'), message(b"")]
    for cut in range(1, len(data)):
        wire = make_wire()
        received = wire.send(data[:cut]) + wire.send(data[cut:])
        assert received == expected, cut
        wire.close()


def test_a_body_may_have_many_frames_and_an_empty_one(wire):
    body = bytes(range(256)) * 30
    assert wire.send(delivery(body, sizes=[1, 0, 4000, 3000])) == [message(body)]


def test_what_py_amqp_has_read_of_a_frame_is_not_lost(wire):
    data = delivery(b"first")
    wire.amqp.transport._read_buffer = data[:5]
    assert wire.send(data[5:]) == [message(b"first")]


def test_what_py_amqp_has_read_while_setting_up_is_not_lost(wire):
    assert wire.consumed["no_ack"] is True
    for body in (b"1", "", memoryview(b"3")):
        wire.consumed["callback"](Content(body, content_type="a/b"))
    assert wire.stream.drain(5) == [Message(body, "a/b", None) for body in (b"1", b"", b"3")]
    assert wire.send(delivery(b"4")) == [message(b"4")]


def test_messages_are_numbered_and_acknowledged_where_the_broker_keeps_them(make_wire):
    wire = make_wire(prefetch=50)
    assert (wire.consumed["no_ack"], wire.limits) == (False, [(0, 50, False)])
    early = Content(b"1", content_type="application/json", content_encoding="utf-8")
    early.delivery_info = {"delivery_tag": 1, "redelivered": True}
    wire.consumed["callback"](early)
    assert [each.body for each in wire.stream.drain(5)] == [b"1"]
    assert (wire.stream.delivered, wire.stream.has_repeats) == (1, True)
    # The next one has begun, and has not come.
    data = delivery(b"2", number=2) + delivery(b"345", sizes=(1,), number=2**40, again=True)
    assert wire.send(data[:-3]) == [message(b"2")]
    assert (wire.stream.delivered, wire.stream.has_repeats) == (2, False)
    assert wire.send(data[-3:]) == [message(b"345")]
    assert (wire.stream.delivered, wire.stream.has_repeats) == (2**40, True)
    wire.stream.acknowledge(2)
    assert wire.acknowledged == [(2, True)]


def test_a_message_too_large_is_kept_only_as_far_as_it_takes_to_see_that(wire):
    pieces = frame(3, b"x" * 4000) * 20
    times = 3 * MESSAGE_MAX_BYTES // 80_000
    received = wire.send(delivery(b"", announced=times * 80_000))
    for _ in range(times):
        received += wire.send(pieces)
        assert sum(map(len, wire.stream._parts)) <= MESSAGE_MAX_BYTES + 4000
    (large,) = received
    assert MESSAGE_MAX_BYTES < len(large.body) <= MESSAGE_MAX_BYTES + 4000
    assert wire.send(delivery(b"next")) == [message(b"next")]
    assert wire.stream._parts == []


def test_a_closed_connection_is_an_error(wire):
    wire.broker.close()
    with pytest.raises(ConnectionResetError) as caught:
        wire.stream.drain(5)
    assert isinstance(caught.value, wire.stream.errors)


# --- Properties ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"content_type": "a/b", "content_encoding": "binary"}, ("a/b", "binary", None)),
        ({"application_headers": {"compression": "zlib"}}, (None, None, "zlib")),
        ({"application_headers": {"compression": 7}}, (None, None, None)),
        ({"delivery_mode": 1, "priority": 3, "message_id": "x"}, (None,) * 3),
        ({}, (None, None, None)),
    ],
)
def test_properties_say_how_to_decode(wire, given, expected):
    assert wire.send(delivery(b"1", properties=properties_of(**given))) == [
        Message(b"1", *expected)
    ]


# fmt: off
BROKEN = [
    b"", b"\x80", b"\x80\x00\xffshort", b"\x20\x00\x7f\xff\xff\xffS",
    b"\x20\x00\x00\x00\x00\x09\x03abcZ\x00\x00\x00",  # a type nobody knows
    b"\xff\xfe" + bytes(range(200)),
]
# fmt: on


@pytest.mark.parametrize("broken", BROKEN)
def test_broken_properties_break_nothing_else(wire, broken):
    received = wire.send(delivery(b"1", properties=broken) + delivery(b"2"))
    assert [message.body for message in received] == [b"1", b"2"]
    assert received[0].compression is None
    assert received[1] == message(b"2")


def test_properties_are_remembered_and_not_for_ever(wire):
    for number in range(300):
        given = properties_of(content_type=f"text/{number}")
        (received,) = wire.send(delivery(b"1", properties=given))
        assert received.content_type == f"text/{number}"
    assert len(wire.stream._known) == 256
    assert wire.send(delivery(b"1", properties=given)) == [received]


# --- What is no delivery -----------------------------------------------------------


def test_other_frames_go_back_to_py_amqp(wire):
    cancel = struct.pack(">HH", *spec.Basic.Cancel) + b"\x01c\x00"
    others = [(1, CHANNEL, cancel), (1, 0, b"\0\x0a\0\x3c"), (2, 7, b"other")]
    frames = b"".join(frame(kind, payload, channel=channel) for kind, channel, payload in others)
    received = wire.send(delivery(b"1") + frames + delivery(b"2"))
    assert received == [message(b"1"), message(b"2")]
    assert wire.amqp.handed_back == others


@pytest.mark.parametrize(
    ("channel", "error"),
    [
        (0, ConnectionForced("shutdown")),
        (0, AccessRefused("the vhost is gone")),
        (CHANNEL, ConsumerCancelled("c")),
        (CHANNEL, AccessRefused("no read")),
        (7, ConnectionForced("shutdown")),
    ],
)
def test_what_ends_our_channel_or_the_connection_ends_the_stream(wire, channel, error):
    wire.amqp.answers[channel] = error
    with pytest.raises(type(error)) as caught:
        wire.send(frame(1, b"\0\0\0\0", channel=channel))
    assert isinstance(caught.value, wire.stream.errors)


def test_a_refusal_on_another_channel_is_no_reason_to_stop(wire, caplog):
    wire.amqp.answers[7] = AccessRefused("no write to celery.pidbox")
    with caplog.at_level(logging.WARNING):
        assert wire.send(frame(1, b"close", channel=7) + delivery(b"1")) == [message(b"1")]
    assert "refused a command to the workers" in caplog.text
    assert "celery.pidbox" in caplog.text


@pytest.mark.parametrize(
    "data",
    [
        frame(3, b"", channel=CHANNEL)[:-1] + b"\0",
        struct.pack(">BHI", 3, CHANNEL, FRAME_MAX + 1) + b"x",
        frame(2, b"\0"),
        delivery(b"", announced=3) + frame(3, b"more than three"),
        frame(3, b"a body without a header"),
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
)
def test_frames_that_make_no_sense_end_the_stream(wire, data):
    with pytest.raises(UnexpectedFrame) as caught:
        wire.send(data)
    assert isinstance(caught.value, wire.stream.errors)


@pytest.mark.parametrize("error", [KeyError(9), struct.error("short"), TypeError()])
def test_frames_that_py_amqp_chokes_on_end_the_stream(wire, error):
    wire.amqp.answers[9] = error
    with pytest.raises(UnexpectedFrame, match="makes no sense"):
        wire.send(frame(1, b"?", channel=9))


# --- Signs of life -----------------------------------------------------------------


@pytest.mark.parametrize(("heartbeat", "sent"), [(10, ["heartbeat"] * 4), (0.5, [])])
def test_heartbeats_of_whole_seconds_are_sent_while_the_stream_is_busy(
    clock, make_wire, heartbeat, sent
):
    wire = make_wire(heartbeat=heartbeat)
    for _ in range(100):
        clock.now += 0.2
        assert wire.send(delivery(b"1")) == [message(b"1")]
    assert wire.amqp.sent == sent
    assert wire.stream.last_seen == clock.now


def test_after_silence_the_queue_is_bound_again_and_a_refusal_says_how_long_it_was(clock, wire):
    wire.amqp.answers[CHANNEL] = NotFound("no exchange")
    for seconds, bound in ((SILENCE - 1, 0), (2, 1), (1, 1), (SILENCE, 2)):
        clock.now += seconds
        assert wire.send(frame(8, b"", channel=0)) == []
        assert len(wire.bound) == bound
    with pytest.raises(NotFound) as caught:
        wire.send(frame(1, b"close"))
    assert caught.value.silent == 2 * SILENCE + 2
    clock.now += 2
    wire.send(delivery(b"1"))
    clock.now += SILENCE - 1
    wire.send(frame(8, b"", channel=0))
    assert len(wire.bound) == 2


# --- Goodbye -----------------------------------------------------------------------


def test_closing_says_goodbye_and_waits_for_the_answer(wire):
    def answered(given):
        wire.amqp.channels = None

    wire.amqp.on_inbound_frame = answered
    wire.broker.sendall(delivery(b"late") + frame(1, b"\0\x0a\0\x33", channel=0))
    wire.stream.close()
    assert wire.amqp.sent == [spec.Connection.Close]
    assert wire.ours.fileno() == -1


def test_closing_waits_a_second_at_the_most(wire, monkeypatch):
    moments = itertools.count(100.0, 0.1)
    monkeypatch.setattr("time.monotonic", lambda: next(moments))
    waits = []
    monkeypatch.setattr(wire.stream, "_receive", waits.append)
    wire.stream.close()
    assert len(waits) < 10
    assert max(waits) < 1
    assert wire.ours.fileno() == -1


def test_closing_a_dead_connection_is_silent(wire):
    wire.broker.close()
    wire.stream.close()
    assert wire.ours.fileno() == -1
