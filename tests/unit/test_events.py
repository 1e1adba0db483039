import pytest

from evtools import Events
from evtools.errors import ImproperlyConfigured, UsageError
from evtools.transport import connect

URL = "memory://events"


@pytest.fixture
def events(event_exchange):
    return Events(URL, event_exchange=event_exchange, wakeup=False)


def test_a_url_or_whole_settings_make_a_factory():
    settings = Events("redis://h/3", event_exchange="ev", heartbeat=3.0).settings
    assert (settings.urls, settings.event_exchange) == ("redis://h/3", "ev")
    assert (settings.heartbeat, settings.source_of_url) == (3.0, "the program")
    assert Events(settings).settings == settings
    receiver = Events(settings).Receiver(routing_key="task.failed")
    assert receiver.settings.routing_keys == ("task.failed",)
    changed = Events(settings, heartbeat=4.0).settings
    assert (changed.urls, changed.heartbeat) == ("redis://h/3", 4.0)


def test_bad_settings_are_refused_at_once():
    with pytest.raises(UsageError):
        Events("redis://h", heartbeat=-1)
    with pytest.raises(ImproperlyConfigured):
        Events("redis://h", event_queue_exclusive=True, event_queue_durable=True)


def test_who_gives_a_connection_or_an_app_learns_what_takes_them(events):
    with connect(events.settings) as connection:
        for given in (connection, None, object()):
            with pytest.raises(TypeError, match=r"Events takes a URL.*EventReceiver"):
                Events(given)
        with pytest.raises(TypeError, match=r"not on a \w+; EventReceiver"):
            events.Receiver(connection, handlers={"*": print})


def test_what_the_dispatcher_sends_the_receiver_gets_and_the_state_takes(events):
    heard, state = [], events.State(max_tasks_in_memory=5)
    receiver = events.Receiver({"a-b": heard.append, "*": state.event})
    with receiver, events.Dispatcher(hostname="me") as dispatcher:
        while not receiver.statistics().connected:
            next(receiver.batches(0.05))
        dispatcher.send("a-b", n=1)
        dispatcher.send("task-received", uuid="u1", name="n", args="()", kwargs="{}")
        receiver.capture(limit=2)
    assert [(e["hostname"], e["n"]) for e in heard] == [("me", 1)]
    assert (state.tasks["u1"].state, state.tasks["u1"].hostname) == ("RECEIVED", "me")
    assert state.max_tasks_in_memory == 5


def test_the_dispatcher_closes_a_connection_of_its_own_and_can_be_enabled_again(events):
    dispatcher = events.Dispatcher()
    for _ in range(2):
        dispatcher.send("a")
        assert dispatcher.connection.connected
        dispatcher.close()
        assert not dispatcher.connection.connected
        dispatcher.enable()
    dispatcher.close()


def test_the_dispatcher_leaves_a_connection_of_the_callers_open(events):
    with connect(events.settings) as connection:
        for dispatcher in (
            events.Dispatcher(connection),
            events.Dispatcher(channel=connection.channel()),
        ):
            with dispatcher:
                dispatcher.send("a")
            assert dispatcher.connection is connection
            assert connection.connected


def test_the_dispatcher_sends_to_the_exchange_of_the_settings(events):
    with events.Dispatcher() as dispatcher:
        assert dispatcher.exchange.name == events.settings.event_exchange
    with events.Dispatcher(exchange="other") as dispatcher:
        assert dispatcher.exchange.name == "other"
