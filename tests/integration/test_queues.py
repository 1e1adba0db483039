import re
import uuid

import pytest
from kombu import Connection, Exchange, Queue

from evtools.errors import BrokerUnavailable, UsageError
from evtools.transport import TLS, ConnectionSettings, queues
from evtools.transport.queues import Depth, Gauge, Waiting, purge


@pytest.fixture
def queue():
    """Return the name of a queue that nobody has used."""
    return f"depth-{uuid.uuid4().hex}"


def fill(url, queue, *priorities, **options):
    """Put one message into a queue for each priority."""
    with Connection(url, transport_options=options) as connection:
        producer = connection.Producer()
        declared = Queue(queue, routing_key=queue, auto_delete=False)
        declared(connection.default_channel).declare()
        for priority in priorities:
            producer.publish({}, routing_key=queue, priority=priority, exchange="")


def look(url, *queues, **settings):
    with Gauge(ConnectionSettings(urls=url, **settings)) as gauge:
        return gauge.look(queues)


def test_on_redis_all_priorities_are_added_up(redis_server, redis_url, queue):
    fill(redis_url, queue, 0, 3, 6, 9, 9)
    database = int(redis_url.rpartition("/")[2])
    redis_server.redis_cli("SET", f"{queue}-odd", "x", database=database)
    # In several round trips.
    names = [*(f"none{number}" for number in range(250)), f"{queue}-odd", queue]
    depths = look(redis_url, *names)
    assert list(depths) == names
    *none, odd, ours = depths.values()
    assert (set(none), ours) == ({Depth(0, unacked=0)}, Depth(5, unacked=0))
    assert (odd.ready, odd.unacked) == (None, None)
    assert "WRONGTYPE" in odd.reason


def test_on_redis_the_prefix_steps_and_separator_are_heeded(redis_url, queue):
    options = {"global_keyprefix": "blue.", "priority_steps": [0, 5], "sep": "::"}
    fill(redis_url, queue, 0, 5, 5, **options)
    assert look(redis_url, queue)[queue].ready == 0
    assert look(redis_url, queue, options=options)[queue].ready == 3


def test_on_rabbitmq_each_queue_is_answered_for_by_itself(rabbitmq_server, queue):
    fill(rabbitmq_server.url, queue, 0)
    # A user without write permission may look.
    url = rabbitmq_server.vhost_url("", user="listener", password="listener-secret")
    with Connection(rabbitmq_server.url) as other:
        Queue(f"{queue}-own", exclusive=True)(other.default_channel).declare()
        assert look(url, "nobodys", f"{queue}-own", queue, read_only=True) == {
            "nobodys": Depth(None, reason="there is no such queue"),
            f"{queue}-own": Depth(None, reason="it belongs to one connection"),
            queue: Depth(1, 0, unacked_reason="RabbitMQ does not say it over AMQP"),
        }


def test_names_that_no_queue_can_have_are_not_asked_about(queue):
    fill("memory://depth", queue, 0, 0)
    names = ("", "x" * 256, "\ud800")
    depths = look("memory://depth", *names, queue)
    assert depths.pop(queue) == Depth(2)
    assert depths == dict.fromkeys(names, Depth(None, reason="no queue can be called that"))


def test_a_broker_that_is_away_is_reported_and_forgiven(own_redis, queue):
    fill(own_redis.url, queue, 0)
    with Gauge(ConnectionSettings(urls=own_redis.url)) as gauge:
        gauge.look([queue])
        own_redis.stop()
        with pytest.raises(BrokerUnavailable, match="cannot reach"):
            gauge.look([queue])
        own_redis.start()
        assert gauge.look([queue])[queue].ready == 0


def publish(connection, exchange, routing_key, *names, size_bytes=0):
    producer = connection.Producer(exchange=exchange, routing_key=routing_key)
    for number, name in enumerate(names):
        headers = {"task": name, "id": f"{name}-{number}"} if name else {}
        producer.publish({"args": "x" * size_bytes}, headers=headers)


def test_on_redis_what_waits_is_seen_and_stays(redis_url, queue, monkeypatch):
    monkeypatch.setattr(queues, "PEEKED_MAX", 25)
    with Connection(redis_url) as connection:
        publish(connection, Exchange(), queue, *["first"] * 12, "", *["then"] * 22)
        producer = connection.Producer()
        urgent = {"headers": {"task": "urgent", "id": "u"}, "routing_key": queue, "exchange": ""}
        producer.publish({}, priority=9, **urgent)  # of all priorities the last on Redis
        connection.default_channel.client.lpush(f"{queue}-odd", "[1", b"\xff", "[" * 100_000)
    with Gauge(ConnectionSettings(urls=redis_url)) as gauge:
        assert gauge.peek(queue) == Waiting({"first": 12, "": 1, "then": 12})
        assert gauge.peek(f"{queue}-odd") == Waiting({"": 3})
        assert (gauge.peek("none").count, gauge.peek("").count) == (0, 0)
        depth = gauge.look([queue], oldest=True)[queue]
        assert (depth.ready, depth.oldest) == (36, ("first-0", "u"))


def test_on_redis_large_messages_are_read_no_further_than_a_limit(redis_url, queue, monkeypatch):
    monkeypatch.setattr(queues, "_LOOK_BYTES", 50_000)
    with Connection(redis_url) as connection:
        publish(connection, Exchange(), queue, "small", "small")
        publish(connection, Exchange(), queue, "large", size_bytes=100_000)
        publish(connection, Exchange(), f"{queue}-2", "large", size_bytes=100_000)
        publish(connection, Exchange(), f"{queue}-3", *["medium"] * 20, size_bytes=9000)
    with Gauge(ConnectionSettings(urls=redis_url)) as gauge:
        reason = "the next messages are too large to be looked at"
        assert gauge.peek(queue) == Waiting({"small": 2}, reason)
        assert 0 < gauge.peek(f"{queue}-3").count < 6
        for _ in range(2):  # and others are looked at all the same
            depths = gauge.look([f"{queue}-2", "none", queue], oldest=True)
            assert [depth.ready for depth in depths.values()] == [1, 0, 3]
            assert depths[f"{queue}-2"].oldest is None


def test_on_redis_what_is_not_acknowledged_is_counted_by_queue(redis_url, queue, monkeypatch):
    one, two, topic, other = (f"{queue}-{name}" for name in ("one", "two", "topic", "other"))
    with Connection(redis_url) as connection, Gauge(ConnectionSettings(urls=redis_url)) as gauge:
        channel = connection.default_channel

        def unacked():
            depths = gauge.look([one, two, topic, other])
            return [depth.unacked for depth in depths.values()], depths[one].unacked_reason

        def take(name, *sent):
            publish(connection, *sent, "task")
            Queue(name)(channel).get()

        assert unacked() == ([0, 0, 0, 0], "")
        news = Exchange("news", type="topic")
        Queue(topic, news, routing_key="a.#")(channel).declare()
        for _ in range(2):
            take(one, Exchange(), one)
        take(topic, news, "a.b")
        assert unacked() == ([2, 0, 1, 0], "")
        # A message that came by an exchange of two queues is of either.
        for name in (one, two):
            Queue(name, Exchange("both"), routing_key="k")(channel).declare()
        take(two, Exchange("both"), "k")
        reason = "its messages came by an exchange that leads to several queues"
        assert unacked() == ([None, None, 1, 0], reason)
        channel.client.hdel("unacked", *channel.client.hkeys("unacked"))
        assert unacked() == ([0, 0, 0, 0], "")
        large = f'["{"x" * 1_500_000}", "", "k"]'
        for key, value, words in (
            ("large", large, "cannot be read"), ("odd", "[1", "cannot be read"),
            ("lost", '[{}, "nowhere", "k"]', "whose queues are not known"),
            ("k" * 3_000_000, "x", "too large to be read"),
        ):  # fmt: skip
            channel.client.hset("unacked", key, value)
            found, reason = unacked()
            assert found == [None] * 4
            assert words in reason
            channel.client.hdel("unacked", key)
        monkeypatch.setattr(queues, "_UNACKED_MAX", 1)
        channel.client.hset("unacked", mapping={"a": "[]", "b": "[]"})
        assert unacked() == (
            [None] * 4, "2 messages are not acknowledged: too many to count them by queue",
        )  # fmt: skip


@pytest.mark.parametrize("how", ["plain", "tls", "resp3", "sentinel", "refused"])
def test_redis_is_read_whatever_it_speaks(request, queue, how):
    settings, refusal = {}, r"NOPERM .* no permissions to run the 'llen' command"
    if how == "sentinel":
        url = request.getfixturevalue("sentinel").url
        settings["options"] = {"master_name": "evtools-master"}
    elif how == "refused":
        port = request.getfixturevalue("redis_acl").port
        url = f"redis://listener:listener-secret@127.0.0.1:{port}/0"
    else:
        url = request.getfixturevalue("redis_tls" if how == "tls" else "redis_url")
        settings = {"resp3": {"options": {"protocol": 3}}}.get(how, {})
        if how == "tls":
            settings["tls"] = TLS(ca=str(request.getfixturevalue("authority").ca))
    with Gauge(ConnectionSettings(urls=url, **settings)) as gauge:
        for _ in range(2):
            depth, waiting = gauge.look([queue], oldest=True)[queue], gauge.peek(queue)
            if how == "refused":
                assert re.fullmatch(refusal, depth.reason)
                assert waiting.reason == depth.reason
            else:
                assert (depth, waiting) == (Depth(0, unacked=0, oldest=()), Waiting())


def test_rabbitmq_shows_nothing_without_taking_it(rabbitmq_server, queue):
    fill(rabbitmq_server.url, queue, 0)
    with Gauge(ConnectionSettings(urls=rabbitmq_server.url)) as gauge:
        assert gauge.peek(queue).reason == "RabbitMQ shows messages only by taking them"
        assert gauge.look([queue], oldest=True)[queue].oldest is None


def purged(url, *queues, **settings):
    return dict(purge(ConnectionSettings(urls=url, **settings), queues))


def test_on_redis_all_priorities_are_purged_under_the_prefix_and_nothing_else(
    redis_server, redis_url, queue
):
    options = {"global_keyprefix": "blue.", "priority_steps": [0, 5], "sep": "::"}
    fill(redis_url, queue, 0, 5, 5, **options)
    fill(redis_url, queue, 0, 3, 9)
    database = int(redis_url.rpartition("/")[2])
    redis_server.redis_cli("SET", f"{queue}-odd", "x", database=database)
    assert purged(redis_url, queue, "none", "", options=options) == {
        "": Depth(None, reason="no queue can be called that"),
        queue: Depth(3),
        "none": Depth(0),
    }
    assert look(redis_url, queue)[queue].ready == 3
    found = purged(redis_url, f"{queue}-odd", queue)
    assert found[queue] == Depth(3)
    assert "WRONGTYPE" in found[f"{queue}-odd"].reason
    # What is no queue was not deleted.
    assert redis_server.redis_cli("GET", f"{queue}-odd", database=database).strip() == "x"


def test_on_rabbitmq_what_is_ready_is_purged_and_what_was_taken_stays(rabbitmq_server, queue):
    fill(rabbitmq_server.url, queue, 0, 0, 0)
    with Connection(rabbitmq_server.url) as consumer:
        channel = consumer.default_channel
        assert channel.basic_get(queue) is not None
        assert purged(rabbitmq_server.url, "nobodys", queue) == {
            "nobodys": Depth(None, reason="there is no such queue"),
            queue: Depth(2),
        }
    assert look(rabbitmq_server.url, queue)[queue].ready == 1


def test_nothing_is_purged_in_read_only_mode(redis_url, queue):
    fill(redis_url, queue, 0)
    with pytest.raises(UsageError, match="no queue is purged: read-only mode"):
        purged(redis_url, queue, read_only=True)
    assert look(redis_url, queue)[queue].ready == 1
