import json
import os
import re
import shlex
import subprocess
import uuid

import amqp
import pytest

from evtools.doctor.inspect import ExchangeStatus
from evtools.doctor.inspect.amqp import AMQPInspector
from servers.ports import HOST
from servers.process import wait_until


@pytest.fixture
def examine(inspecting, rabbitmq_server):
    start = inspecting(AMQPInspector)
    return lambda url=rabbitmq_server.url, **settings: start(url, **settings)


@pytest.fixture
def channel(rabbitmq_server):
    """Return a channel of somebody else's."""
    with amqp.Connection(f"{HOST}:{rabbitmq_server.port}") as connection:
        yield connection.channel()


# --- the exchange ------------------------------------------------------------------


def test_an_exchange_that_is_missing_is_not_made(examine, event_exchange):
    inspector = examine(event_exchange=event_exchange)
    for _ in range(2):
        status = inspector.exchange()
        assert not status.exists
        assert status.command == "rabbitmqctl -q list_exchanges -p /"


def test_an_exchange_as_celery_declares_it_is_good(examine, channel, event_exchange):
    channel.exchange_declare(event_exchange, "topic", durable=True, auto_delete=False)
    inspector = examine(event_exchange=event_exchange)
    assert re.match(r"RabbitMQ \d+\.", inspector.server)
    where = f"exchange {event_exchange} of type topic in vhost /"
    assert inspector.exchange() == ExchangeStatus(where)
    channel.exchange_delete(event_exchange)
    channel.exchange_declare(event_exchange, "fanout", durable=True, auto_delete=False)
    assert "received 'topic' but current is 'fanout'" in inspector.exchange().clash
    channel.exchange_delete(event_exchange)


def test_who_may_not_declare_can_still_look(examine, channel, event_exchange, rabbitmq_server):
    # The listener may configure names that begin with celeryev, and no others.
    name = f"blue.{event_exchange}"
    channel.exchange_declare(name, "topic", durable=True, auto_delete=False)
    url = rabbitmq_server.vhost_url("", user="listener", password="listener-secret")
    assert not examine(url, event_exchange=name).exchange().may_declare
    channel.exchange_delete(name)


# --- rights ------------------------------------------------------------------------


def test_who_may_do_all_is_granted_all_and_leaves_nothing(
    examine, channel, event_exchange, rabbitmq_server
):
    channel.exchange_declare(event_exchange, "topic", durable=True, auto_delete=False)
    prefix = uuid.uuid4().hex
    inspector = examine(event_exchange=event_exchange, event_queue_prefix=prefix)
    assert [right.refusal for right in inspector.permissions()] == [""] * 3
    names = [queue["name"] for queue in rabbitmq_server.list_queues()]
    assert not [name for name in names if name.startswith(prefix)]
    channel.exchange_delete(event_exchange)


# --- elsewhere ---------------------------------------------------------------------


def test_the_default_virtual_host_is_listened_to(examine, channel, event_exchange, rabbitmq_server):
    inspector = examine(rabbitmq_server.vhost_url("staging"), event_exchange=event_exchange)
    inspector.begin()
    assert event_exchange not in str(inspector.elsewhere())
    channel.exchange_declare(event_exchange, "topic", durable=True, auto_delete=False)
    (found,) = [f for f in inspector.elsewhere() if f.where == "vhost /"]
    assert found.seen == "the exchange is there, but quiet"
    assert not found.alive
    url = f"amqp://guest:**@{HOST}:{rabbitmq_server.port}/%2F"
    assert found.words == ("-b", url)
    channel.exchange_delete(event_exchange)


# --- leftovers ---------------------------------------------------------------------


LIFE = {"x-message-ttl": 5_000, "x-expires": 60_000}
EVENT = amqp.Message(
    json.dumps({"type": "task-sent", "hostname": "gen1@h", "timestamp": 1.0}),
    content_type="application/json",
    content_encoding="utf-8",
)


@pytest.fixture
def queue(channel):
    """Declare a queue with these arguments and messages in it; return its name."""
    names = []

    def make(arguments, *messages, name=None, durable=False):
        names.append(name or f"celeryev.{uuid.uuid4().hex}")
        channel.queue_declare(names[-1], durable=durable, auto_delete=False, arguments=arguments)
        for message in messages:
            channel.basic_publish(message, routing_key=names[-1])
        wait_until(
            lambda: channel.queue_declare(names[-1], passive=True).message_count == len(messages),
            what="the messages",
        )
        return names[-1]

    yield make
    for name in names:
        channel.queue_delete(name)


def test_the_command_that_lists_queues_names_those_that_nobody_reads(
    examine, channel, queue, rabbitmq_server
):
    prefix = f"ev/{uuid.uuid4().hex}"
    dead, read = (queue({}, name=f"{prefix}.{name}", durable=True) for name in ("dead", "read"))
    consumer = channel.basic_consume(read)
    command = examine(event_queue_prefix=prefix).orphans([]).command
    ctl, awk = (shlex.split(part) for part in command.split(" | "))
    listed = rabbitmq_server.rabbitmqctl(*ctl[1:])
    found = subprocess.run(awk, input=listed, capture_output=True, text=True, check=True)
    assert found.stdout.split() == [dead, "0", "0"]
    channel.basic_cancel(consumer)


@pytest.mark.parametrize("durable", [False, True])
def test_a_queue_that_nobody_reads_is_free_and_removed(examine, channel, queue, durable):
    if not durable and "transient" in os.environ.get("BROKERS_RABBITMQ", ""):
        pytest.skip("this RabbitMQ refuses it")
    name = queue(LIFE, EVENT, durable=durable)
    inspector = examine()
    (orphan,) = inspector.orphans([name]).found
    assert orphan.kept == ""
    assert channel.queue_declare(name, passive=True).message_count == 1
    assert inspector.remove(orphan) == ""
    (orphan,) = inspector.orphans([name]).found
    assert "no queue" in orphan.kept


def test_a_queue_that_is_read_meanwhile_stays(examine, channel, queue):
    name = queue({"x-expires": 70_000}, durable=True)
    inspector = examine(event_queue_expires=70.0, event_queue_ttl=None)
    (orphan,) = inspector.orphans([name]).found
    assert not orphan.kept
    tag = channel.basic_consume(name)
    assert "in use" in inspector.remove(orphan)
    assert inspector.orphans([name]).found[0].kept == "it is being read (consumers: 1)"
    channel.basic_cancel(tag)


@pytest.mark.parametrize(("shape", "tasks", "kept"), [
    ({}, [], "not declared as event queues are"),
    ({"x-max-priority": 9}, ["first", "second"], "not declared as event queues are"),
    ({"x-queue-type": "quorum"}, ["first"], "not declared as event queues are"),
    # Like ours, with a message that is no event.
    (LIFE, ["first", "second"], "its oldest message is no event"),
])  # fmt: skip
def test_a_queue_of_tasks_stays_as_it_is(examine, channel, queue, shape, tasks, kept):
    name = queue(shape, *map(amqp.Message, tasks), durable=True)
    for endless in ({}, {"event_queue_ttl": None, "event_queue_expires": None}):
        (orphan,) = examine(**endless).orphans([name]).found
        assert kept in orphan.kept
    assert [channel.basic_get(name).body for _ in tasks] == tasks
