import uuid

import pytest
from kombu import Connection, Queue

from evtools.errors import BrokerUnavailable, UsageError
from evtools.transport import ConnectionSettings
from evtools.transport.queues import Depth, Gauge, purge


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
    assert (set(none), ours) == ({Depth(0)}, Depth(5))
    assert odd.messages is None
    assert "WRONGTYPE" in odd.reason


def test_on_redis_the_prefix_steps_and_separator_are_heeded(redis_url, queue):
    options = {"global_keyprefix": "blue.", "priority_steps": [0, 5], "sep": "::"}
    fill(redis_url, queue, 0, 5, 5, **options)
    assert look(redis_url, queue)[queue].messages == 0
    assert look(redis_url, queue, options=options)[queue].messages == 3


def test_on_rabbitmq_each_queue_is_answered_for_by_itself(rabbitmq_server, queue):
    fill(rabbitmq_server.url, queue, 0)
    # A user without write permission may look.
    url = rabbitmq_server.vhost_url("", user="listener", password="listener-secret")
    with Connection(rabbitmq_server.url) as other:
        Queue(f"{queue}-own", exclusive=True)(other.default_channel).declare()
        assert look(url, "nobodys", f"{queue}-own", queue, read_only=True) == {
            "nobodys": Depth(None, reason="there is no such queue"),
            f"{queue}-own": Depth(None, reason="it belongs to one connection"),
            queue: Depth(1, 0),
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
        assert gauge.look([queue])[queue].messages == 0


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
    assert look(redis_url, queue)[queue].messages == 3
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
    assert look(rabbitmq_server.url, queue)[queue].messages == 1


def test_nothing_is_purged_in_read_only_mode(redis_url, queue):
    fill(redis_url, queue, 0)
    with pytest.raises(UsageError, match="no queue is purged: read-only mode"):
        purged(redis_url, queue, read_only=True)
    assert look(redis_url, queue)[queue].messages == 1
