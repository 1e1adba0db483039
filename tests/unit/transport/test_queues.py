import uuid

import pytest
from kombu import Connection, Queue

from evtools.errors import BrokerUnavailable
from evtools.transport import ConnectionSettings
from evtools.transport.queues import Depth, Gauge


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


def test_the_messages_that_wait_are_counted(broker_url, queue):
    fill(broker_url, queue, 0, 0, 0)
    assert look(broker_url, queue)[queue].messages == 3


def test_on_redis_all_priorities_are_added_up(redis_url, queue):
    fill(redis_url, queue, 0, 3, 6, 9, 9)
    assert look(redis_url, queue) == {queue: Depth(5)}


def test_on_redis_the_prefix_steps_and_separator_are_heeded(redis_url, queue):
    options = {"global_keyprefix": "blue.", "priority_steps": [0, 5], "sep": "::"}
    fill(redis_url, queue, 0, 5, 5, **options)
    assert look(redis_url, queue)[queue].messages == 0
    assert look(redis_url, queue, options=options)[queue].messages == 3


def test_on_redis_a_key_that_is_no_list_is_not_counted(redis_server, queue):
    url = redis_server.fresh_url()
    database = int(url.rpartition("/")[2])
    redis_server.redis_cli("SET", queue, "x", database=database)
    depth = look(url, queue)[queue]
    assert depth.messages is None
    assert "WRONGTYPE" in depth.reason


def test_on_redis_many_queues_are_asked_about_in_few_round_trips(redis_url, queue):
    fill(redis_url, queue, 0)
    names = [*(f"none{number}" for number in range(250)), queue]
    depths = look(redis_url, *names)
    assert list(depths) == names
    assert sum(depth.messages for depth in depths.values()) == 1


def test_on_rabbitmq_a_queue_that_is_not_there_does_not_hide_others(rabbitmq_url, queue):
    fill(rabbitmq_url, queue, 0)
    depths = look(rabbitmq_url, "nobodys", queue)
    assert depths == {"nobodys": Depth(None, reason="there is no such queue"), queue: Depth(1, 0)}


def test_on_rabbitmq_the_queue_of_another_connection_is_no_failure(rabbitmq_url, queue):
    with Connection(rabbitmq_url) as other:
        Queue(queue, exclusive=True)(other.default_channel).declare()
        [depth] = look(rabbitmq_url, queue).values()
    assert depth == Depth(None, reason="it belongs to one connection")


def test_a_user_without_write_permission_may_look(rabbitmq_server, queue):
    fill(rabbitmq_server.url, queue, 0)
    url = rabbitmq_server.vhost_url("", user="listener", password="listener-secret")
    assert look(url, queue, read_only=True) == {queue: Depth(1, 0)}


def test_names_that_no_queue_can_have_are_not_asked_about(broker_url):
    for name in ("", "x" * 256, "\ud800"):
        [depth] = look(broker_url, name).values()
        assert depth.reason == "no queue can be called that"


def test_a_broker_in_memory_is_asked_as_well(queue):
    fill("memory://depth", queue, 0, 0)
    assert look("memory://depth", queue) == {queue: Depth(2)}


def test_a_broker_that_is_away_is_told_and_forgiven(own_redis, queue):
    fill(own_redis.url, queue, 0)
    with Gauge(ConnectionSettings(urls=own_redis.url)) as gauge:
        gauge.look([queue])
        own_redis.stop()
        with pytest.raises(BrokerUnavailable, match="cannot reach"):
            gauge.look([queue])
        own_redis.start()
        assert gauge.look([queue])[queue].messages == 0
