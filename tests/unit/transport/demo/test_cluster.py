import logging
from collections import Counter

import pytest
from kombu.entity import Queue

from evtools.transport import (
    ConnectionSettings,
    EventReceiver,
    broadcast,
    call,
    connect,
    get_exchange,
)
from evtools.transport.control import TaskCall, mailbox, send_tasks
from evtools.transport.demo import (
    BY_NAME,
    CHARACTERS,
    URL,
    DemoCluster,
    listen,
    serve,
    share_queues,
)
from evtools.transport.queues import Depth, purge
from servers.process import wait_until
from tools.rehearsal import Rehearsal

WORKERS = {character.hostname for character in CHARACTERS}


@pytest.fixture
def settings(event_exchange):
    return ConnectionSettings(
        urls=URL,
        event_exchange=event_exchange,
        control_exchange=f"{event_exchange}-control",
        wakeup=False,
    )


@pytest.fixture
def connection(settings):
    with connect(settings) as connection:
        yield connection


@pytest.fixture
def cluster(settings):
    cluster = DemoCluster(settings, rate=40.0)
    yield cluster
    cluster.stop()


@pytest.fixture
def watch(settings):
    """Take events until there are enough of them."""
    with EventReceiver(settings) as receiver:
        next(receiver.batches(0))
        wait_until(lambda: receiver.statistics().connected, what="a connection")

        def watch(enough):
            events = []
            for batch in receiver.batches(10):
                assert batch, "the cluster is dead"
                events += batch
                if enough(Counter(event["type"] for event in events)):
                    return events
            return events

        yield watch


def test_the_cluster_sends_in_batches_obeys_and_says_goodbye(cluster, watch, settings, connection):
    exchange = get_exchange(connection, settings.event_exchange)
    queue = Queue("batches", exchange, routing_key="task.multi", auto_delete=True)
    bound = queue(connection.channel())
    bound.declare()
    cluster.start()
    watch(lambda types: types["worker-online"] == 5 and types["task-started"])
    replies = call(settings, "ping", deadline=10, expected=5)
    assert replies.by_node == {name: {"ok": "pong"} for name in WORKERS}
    watch(lambda types: types["task-succeeded"] > 20)
    messages = iter(lambda: bound.get(no_ack=True), None)
    assert max(len(message.decode()) for message in messages) > 1
    bound.delete()
    cluster.stop()
    cluster.join(10)
    assert not cluster.is_alive()
    events = watch(lambda types: types["worker-offline"] == 5)
    assert {e["hostname"] for e in events if e["type"] == "worker-offline"} == WORKERS


@pytest.fixture
def quiet(connection, settings):
    """Workers that send nothing by themselves, and obey when `serve` lets them."""
    quiet = Rehearsal().play(0)
    listen(connection, settings, quiet.simulation.workers)
    return quiet


def obey(connection, quiet):
    for _ in range(2 * len(quiet.workers)):
        serve(connection, 0)


def test_a_command_may_be_for_some(connection, settings, quiet):
    broadcast(connection, "heartbeat", settings=settings, destination=["w1@demo-a"])
    obey(connection, quiet)
    (beat,) = quiet.of("worker-heartbeat")
    assert (beat["hostname"], "active" in beat) == ("w1@demo-a", False)


def test_a_task_that_is_sent_again_runs(connection, settings, quiet):
    share_queues(connection, quiet.simulation)
    call = TaskCall("shop.stock.sync", ["x"], {}, "celery", "('x',)", "{}", "root", "old")
    stranger = call._replace(name="no.such.task")
    _, task_id = send_tasks(settings, [stranger, call])
    quiet.simulation.deliver()
    (received,) = [one for one in quiet.of("task-received") if one["parent_id"] == "old"]
    assert (received["uuid"], received["args"]) == (task_id, "('x',)")
    assert received["root_id"] == "root"


def test_what_waits_is_of_the_broker_which_can_purge_it(connection, settings, quiet):
    share_queues(connection, quiet.simulation)
    simulation = quiet.simulation
    for worker in simulation.workers:
        worker.up = False
    for _ in range(3):
        simulation.enqueue(simulation.make_task(BY_NAME["shop.stock.sync"]))
    obey(connection, quiet)  # and nothing takes them as if they were messages
    assert dict(purge(settings, ["celery"])) == {"celery": Depth(3)}
    assert not simulation.queues["celery"]


def test_nonsense_is_survived_in_silence(connection, settings, quiet, caplog):
    box = mailbox(connection, settings)
    with caplog.at_level(logging.DEBUG):
        box._publish("no_such_command", {"a": 1})
        box._publish("ping", ["not", "named"])
        obey(connection, quiet)
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
