import json
import os
import socket
import subprocess
import sys
import threading

import pytest
from celery import Celery
from kombu import Connection, Exchange, Producer, Queue
from kombu.exceptions import EncodeError
from kombu.transport.memory import Transport as MemoryTransport

from evtools.transport import ConnectionSettings, EventDispatcher, connect
from evtools.transport.dispatcher import OFFLINE_MAX
from evtools.wire import LamportClock, make_event

URL = "memory://dispatcher"
ZONES = ["UTC", "Europe/Stockholm", "America/New_York", "Asia/Kolkata"]
ZONES += ["Europe/Dublin", "Australia/Lord_Howe", "America/St_Johns", "Asia/Kathmandu"]


@pytest.fixture
def connection():
    with connect(ConnectionSettings(urls=URL)) as connection:
        yield connection


@pytest.fixture
def arrived(connection, event_exchange):
    """Take what is at the exchange: (routing key, body, message)."""
    with Connection(URL) as other:
        channel = other.default_channel
        exchange = Exchange(event_exchange, type="topic", channel=channel)
        queue = Queue(event_exchange, exchange, "#", channel=channel)
        queue.declare()

        def take():
            found = []
            while (message := queue.get(no_ack=True)) is not None:
                key = message.delivery_info["routing_key"]
                found.append((key, json.loads(message.body), message))
            return found

        yield take
        queue.delete()


@pytest.fixture
def numbers(arrived):
    """Take the numbers of the events at the exchange, by message."""

    def take():
        bodies = [body if isinstance(body, list) else [body] for _, body, _ in arrived()]
        return [[event["n"] for event in events] for events in bodies]

    return take


@pytest.fixture
def dispatch(connection, event_exchange):
    def make(**how):
        how.setdefault("hostname", "w@h")
        return EventDispatcher(connection, exchange=event_exchange, **how)

    return make


class Flaky(Producer):
    """kombu's producer, whose broker comes and goes; it fails at once, not some time later."""

    up = True

    def publish(self, *args, **how):
        if not Flaky.up:
            raise ConnectionResetError("no broker")
        return super().publish(*args, **how)


@pytest.fixture
def flaky(monkeypatch):
    """Have dispatchers use flaky producers; return what switches the broker on and off."""
    monkeypatch.setattr(Flaky, "up", True)
    monkeypatch.setattr("evtools.transport.dispatcher.Producer", Flaky)
    return lambda up: monkeypatch.setattr(Flaky, "up", up)


# --- one event ---------------------------------------------------------------------


def test_an_event_has_what_celery_puts_into_one(dispatch, arrived):
    dispatch().send("task-sent-late", uuid="u1")
    ((key, event, message),) = arrived()
    assert key == "task.sent.late"
    assert event.pop("timestamp") > 1e9
    assert event == {
        "type": "task-sent-late",
        "hostname": "w@h",
        "pid": os.getpid(),
        "clock": 1,
        "utcoffset": event["utcoffset"],
        "uuid": "u1",
    }
    assert message.headers["hostname"] == "w@h"
    assert message.content_type == "application/json"
    assert message.properties["delivery_mode"] == 1


def test_the_clock_counts_and_can_be_shared(dispatch, arrived):
    clock = LamportClock(40)
    one, other = dispatch(clock=clock), dispatch(clock=clock)
    for dispatcher, blind in ((one, False), (other, False), (one, True), (one, False)):
        dispatcher.send("a", blind=blind)
    assert [event["clock"] for _, event, _ in arrived()] == [41, 42, None, 43]


def test_only_the_chosen_groups_are_sent(connection, event_exchange, arrived):
    # A channel will do for a connection.
    channel = connection.channel()
    dispatcher = EventDispatcher(channel=channel, exchange=event_exchange, groups=["task", "shop"])
    assert dispatcher.connection is connection
    assert dispatcher.hostname == f"gen{os.getpid()}@{socket.gethostname()}"
    for type_ in ("task-sent", "worker-online", "shop-open", "taskless"):
        dispatcher.send(type_)
    assert [key for key, _, _ in arrived()] == ["task.sent", "shop.open"]


def test_one_of_connection_and_channel_is_needed():
    with pytest.raises(TypeError, match="connection or a channel"):
        EventDispatcher()
    with pytest.raises(TypeError, match=r"kombu.Connection, not a str; Events\(url\)"):
        EventDispatcher("redis://localhost/0")


def test_the_arguments_of_celerys_dispatcher_are_taken_in_its_order(connection):
    app = Celery(broker=URL, set_as_current=False)
    app.conf.update(event_exchange="ev", event_serializer="yaml")
    called = []
    dispatcher = EventDispatcher(
        *(connection, "w@h", False, connection.channel(), False, app, None, ["task"]),
        *(2, ["task"], 9, lambda: called.append(1)),
    )
    assert (dispatcher.hostname, dispatcher.enabled) == ("w@h", False)
    assert (dispatcher.exchange.name, dispatcher.serializer) == ("ev", "yaml")
    assert (dispatcher.delivery_mode, dispatcher.buffer_limit) == (2, 9)
    assert dispatcher.clock is app.clock
    dispatcher.enable()
    assert dispatcher.publisher is dispatcher.producer
    dispatcher.send("task-sent", True)
    assert called == [1]


def test_an_app_has_a_connection_and_leaving_sends_what_waits(numbers, event_exchange):
    app = Celery(broker=URL, set_as_current=False)
    app.conf.event_exchange = event_exchange
    with EventDispatcher(app=app, buffer_group=["task"]) as dispatcher:
        dispatcher.send("task-sent", n=1)
        assert numbers() == []
    assert numbers() == [[1]]
    assert dispatcher.producer is None


def test_who_sends_may_make_the_event_and_say_where_it_is(dispatch, connection, arrived):
    made = []

    def make(type_, **fields):
        made.append(type_)
        return make_event(type_, **fields)

    dispatcher = dispatch()
    dispatcher.send("a", False, lambda: -2, n=1, Event=make)
    # A producer of the caller's sends although the dispatcher is closed.
    dispatcher.close()
    dispatcher.publish("b", {"n": 2}, Producer(connection), blind=True, Event=make)
    assert made == ["a", "b"]
    first, second = (event for _, event, _ in arrived())
    assert first["utcoffset"] == -2
    assert (second["n"], second["clock"]) == (2, None)


# --- on and off ------------------------------------------------------------------


def test_enabling_and_disabling_call_back(dispatch, numbers):
    dispatcher = dispatch(enabled=False)
    calls = []
    dispatcher.on_enabled.add(lambda: calls.append("on"))
    dispatcher.on_disabled.add(lambda: calls.append("off"))
    dispatcher.send("a", n=0)
    dispatcher.disable()
    dispatcher.enable()
    dispatcher.send("a", n=1)
    dispatcher.disable()
    dispatcher.disable()
    dispatcher.send("a", n=2)
    assert calls == ["on", "off"]
    assert numbers() == [[1]]


def test_a_closed_dispatcher_sends_nothing_until_it_is_enabled(dispatch, numbers):
    dispatcher = dispatch(buffer_group=["task"])
    dispatcher.send("task-sent", n=1)
    dispatcher.close()
    dispatcher.send("a", n=2)
    dispatcher.flush()
    assert numbers() == []
    dispatcher.enable()
    dispatcher.flush()
    assert numbers() == [[1]]


def test_a_transport_that_carries_no_events_disables(event_exchange):
    class SQL(MemoryTransport):
        driver_type = "sql"

    with Connection(transport=SQL) as connection:
        dispatcher = EventDispatcher(connection, exchange=event_exchange)
        assert not dispatcher.enabled
        assert dispatcher.producer is None
        dispatcher.send("a")
        dispatcher.flush()


@pytest.mark.parametrize("owned", [True, False])
def test_a_connection_of_its_own_is_released(connection, event_exchange, owned):
    connection.connect()
    EventDispatcher(connection, exchange=event_exchange, owns_connection=owned).close()
    assert connection.connected is not owned


# --- batches -----------------------------------------------------------------------


def test_a_buffered_group_goes_out_as_one_message(dispatch, arrived, numbers):
    sent = []
    dispatcher = dispatch(
        buffer_group=["task"], buffer_limit=3, on_send_buffered=lambda: sent.append(1)
    )
    for n in range(4):
        dispatcher.send("task-sent", n=n)
    dispatcher.send("worker-online", n=9)
    batch, single = arrived()
    assert batch[0] == "task.multi"
    assert [event["n"] for event in batch[1]] == [0, 1, 2]
    assert [event["clock"] for event in batch[1]] == [1, 2, 3]
    assert (single[0], single[1]["n"]) == ("worker.online", 9)
    assert len(sent) == 3
    dispatcher.flush(groups=False)
    assert numbers() == []
    dispatcher.flush(errors=False)
    dispatcher.flush()
    assert numbers() == [[3]]


def test_no_event_is_lost_between_threads(dispatch, arrived):
    dispatcher = dispatch(buffer_group=["task"], buffer_limit=7)

    def work():
        for n in range(500):
            dispatcher.send("task-sent", n=n)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    dispatcher.flush()
    events = [event for _, batch, _ in arrived() for event in batch]
    assert sorted(event["clock"] for event in events) == [*range(1, 2001)]


def test_a_batch_waits_on_when_it_cannot_be_sent(flaky, dispatch, numbers):
    dispatcher = dispatch(buffer_while_offline=False, buffer_group=["task"])
    dispatcher.send("task-a", n=1)
    dispatcher.send("task-a", n=2)
    flaky(up=False)
    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            dispatcher.flush()
    flaky(up=True)
    dispatcher.flush()
    assert numbers() == [[1, 2]]


def test_what_cannot_be_serialised_is_the_callers_error_and_does_not_hold_up_its_batch(
    dispatch, numbers
):
    dispatcher = dispatch(buffer_group=["task"])
    with pytest.raises(EncodeError):
        dispatcher.send("a", field=object())
    for n in (1, object(), 3):
        dispatcher.send("task-a", n=n)
    with pytest.raises(EncodeError):
        dispatcher.flush()
    dispatcher.flush()
    assert numbers() == [[1, 3]]


# --- without a broker --------------------------------------------------------------


@pytest.fixture
def offline(flaky, dispatch):
    """A dispatcher whose broker is away."""
    flaky(up=False)
    return dispatch(buffer_group=["batched"])


def test_events_wait_for_the_broker_in_their_order(offline, flaky, numbers):
    for n in range(3):
        offline.send("a", n=n)
    offline.send("batched-a", n=3)
    offline.flush()
    assert numbers() == []
    flaky(up=True)
    offline.send("a", n=4)
    offline.flush()
    assert numbers() == [[0], [1], [2], [3], [4]]
    offline.flush()
    assert numbers() == []


def test_a_flush_that_fails_half_way_repeats_and_loses_nothing(offline, flaky, numbers):
    for n in range(4):
        offline.send("a", n=n)
    real = Flaky.publish
    budget = iter(range(2))

    def fail_soon(self, *args, **how):
        flaky(up=next(budget, None) is not None)
        return real(self, *args, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Flaky, "publish", fail_soon)
        offline.flush()
    assert numbers() == [[0], [1]]
    flaky(up=True)
    offline.flush()
    assert numbers() == [[2], [3]]


def test_what_waits_is_bounded_and_the_oldest_go(offline, dispatch):
    for n in range(3):
        offline.send("batched-a", n=n)
    offline.flush()
    for n in range(OFFLINE_MAX + 5):
        offline.send("a", n=n)
    assert offline.dropped == 3 + 5
    assert len(offline._outbound_buffer) == OFFLINE_MAX
    assert offline._outbound_buffer[0][0]["n"] == 5
    batching = dispatch(buffer_while_offline=False, buffer_group=["task"], buffer_limit=10**6)
    for n in range(OFFLINE_MAX + 5):
        batching.send("task-a", n=n)
    assert batching.dropped == 5


def test_without_a_buffer_the_error_is_the_callers(flaky, dispatch, connection):
    dispatcher = dispatch(buffer_while_offline=False)
    flaky(up=False)
    with pytest.raises(ConnectionResetError):
        dispatcher.send("a")
    with pytest.raises(ConnectionResetError):
        dispatcher.publish("a", {}, Flaky(connection))
    assert not dispatcher._outbound_buffer


def test_what_waits_can_be_taken_over(offline, dispatch, flaky, numbers):
    offline.send("a", n=1)
    flaky(up=True)
    heir = dispatch()
    heir.extend_buffer(offline)
    offline._outbound_buffer.clear()
    heir.flush()
    assert numbers() == [[1]]


def test_the_offset_is_the_one_celery_computes():
    # In a process of its own, for Celery may take the zone when it is imported; at midsummer
    # and midwinter, whatever today is.
    code = (
        "import os, sys, time\n"
        "from celery.utils.time import utcoffset\n"
        "from evtools.transport.dispatcher import _utcoffset\n"
        "real = time.localtime\n"
        "for os.environ['TZ'] in sys.argv[1:]:\n"
        "    time.tzset()\n"
        "    for moment in (1736899200, 1752537600):\n"
        "        at = lambda *_: real(moment)\n"
        "        time.localtime = at\n"
        "        assert _utcoffset() == utcoffset(localtime=at), (moment, _utcoffset())\n"
        "        print(_utcoffset())\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, *ZONES]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    offsets = done.stdout.split()
    assert len(offsets) == 2 * len(ZONES)
    assert offsets[:2] == ["0.0", "0.0"]
    assert offsets[6:8] == ["-5.5", "-5.5"]
