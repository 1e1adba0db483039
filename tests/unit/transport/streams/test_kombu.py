import zlib

import pytest
from kombu import Connection, Exchange, Producer

from evtools.transport import ConnectionSettings
from evtools.transport.receiver import subscribe
from evtools.transport.streams.kombu import KombuStream
from evtools.wire import Codec, Message

URL = "memory://streams"


@pytest.fixture
def stream(event_exchange):
    stream = subscribe(ConnectionSettings(urls=URL, event_exchange=event_exchange, read_only=True))
    assert type(stream) is KombuStream
    yield stream
    stream.close()


@pytest.fixture
def publish(event_exchange):
    with Connection(URL) as connection:
        producer = Producer(connection, Exchange(event_exchange, type="topic"))
        yield lambda body, **how: producer.publish(body, **{"routing_key": "task.sent", **how})


def test_messages_come_out_as_they_went_in(stream, publish):
    publish({"type": "a"})
    publish(b"\x80", content_type="application/x-msgpack", content_encoding="binary")
    assert stream.drain(5) == [
        Message(b'{"type": "a"}', "application/json", "utf-8"),
        Message(b"\x80", "application/x-msgpack", "binary"),
    ]


def test_what_has_arrived_comes_together_and_not_without_end(stream, publish):
    for number in range(1005):
        publish({"type": "a", "number": number})
    assert [len(stream.drain(5)) for _ in range(2)] == [1000, 5]


def test_a_body_that_grows_when_unpacked_stays_packed(stream, publish):
    bomb = zlib.compress(b"x" * 20_000_000)
    how = {"content_type": "application/json", "content_encoding": "utf-8"}
    publish(bomb, headers={"compression": "application/x-gzip"}, **how)
    (message,) = stream.drain(5)
    assert message.body == bomb
    codec = Codec()
    assert codec.decode(message) == []
    assert [*codec.defects] == ["message too large"]


def test_what_kombu_cannot_unpack_is_counted_and_the_next_one_comes(stream, publish):
    publish({"type": "a"}, headers={"compression": "nobody-has-this"})
    publish({"type": "b"})
    codec = Codec()
    events = [event for message in stream.drain(5) for event in codec.decode(message)]
    assert events == [{"type": "b"}]
    assert [defect.count for defect in codec.defects.values()] == [1]


def test_text_that_is_no_unicode_is_passed_on_for_the_codec_to_count(stream, event_exchange):
    with Connection(URL) as connection:
        channel = connection.default_channel
        raw = channel.prepare_message("", content_type="text/plain")
        raw["body"], raw["properties"]["body_encoding"] = "\ud800", None
        raw["properties"]["delivery_info"] = {"exchange": "", "routing_key": ""}
        raw["properties"]["delivery_tag"] = "1"
        ((*_, queue),) = channel.get_table(event_exchange)
        channel._put(queue, raw)
    (message,) = stream.drain(5)
    assert Codec().decode(message) == []
    assert b"surrogates" in message.body


def test_closing_leaves_no_queue(event_exchange):
    settings = ConnectionSettings(urls=URL, event_exchange=event_exchange)
    stream = subscribe(settings)
    with Connection(URL) as connection:
        channel = connection.default_channel
        ((key, _, queue),) = channel.get_table(event_exchange)
        assert key == "#"
        assert queue in channel.queues
        stream.close()
        assert queue not in channel.queues


def test_closing_what_is_lost_is_silent_and_lets_go_of_everything(stream, monkeypatch):
    steps = []

    def lose(step):
        steps.append(step)
        raise ConnectionError

    for owner, step in ((stream._consumer, "cancel"), (stream._queue, "delete")):
        monkeypatch.setattr(owner, step, lambda step=step: lose(step))
    monkeypatch.setattr(stream._connection, "release", lambda: lose("release"))
    monkeypatch.setattr(stream, "errors", (ConnectionError,))
    stream.close()
    assert steps == ["cancel", "delete", "release"]
    monkeypatch.undo()
