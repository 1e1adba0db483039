import itertools
import threading
import time

import pytest
from celery.events.receiver import EventReceiver as CelerysReceiver
from kombu import Connection

from cluster.app import make_app
from cluster.worker import close
from evtools.errors import AccessRefused
from evtools.transport import ConnectionSettings, EventReceiver, Statistics
from evtools.transport import receiver as module
from evtools.transport.receiver import ReceiverGroup
from evtools.transport.source import DOCTOR, SilenceHint
from evtools.wire import Message, encode_line
from servers.process import wait_until
from tools.clock import FakeClock

SETTINGS = ConnectionSettings(urls="redis://:secret@broker/0")


class FakeStream:
    """A stream that gives out a script and then waits to be stopped."""

    errors = (ConnectionError,)
    has_more = has_repeats = False
    delivered = 0

    def __init__(self, *script):
        self.script = list(script)
        self.last_seen = 0.0
        self.closed = threading.Event()

    def drain(self, timeout):
        self.last_seen += 1
        if not self.script:
            self.closed.wait(0.001)
            return []
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    def close(self):
        self.closed.set()


def message(*events):
    return Message(encode_line(events[0] if len(events) == 1 else list(events)))


def event(type_="task-sent", **fields):
    return {"type": type_, "clock": 1, **fields}


@pytest.fixture
def receive(monkeypatch):
    """Make a receiver of what a script of streams says; for each a list of steps will do."""
    receivers = []

    def make(*streams, handlers=None, routing_key=None, on_notice=None, **settings):
        answers = iter(streams)

        def subscribe(_settings, attempt, **_):
            answer = next(answers, None) or ConnectionRefusedError()
            if isinstance(answer, Exception):
                raise answer
            return answer if isinstance(answer, FakeStream) else FakeStream(*answer)

        settings = ConnectionSettings(urls=SETTINGS.urls, **settings)
        monkeypatch.setattr(module, "subscribe", subscribe)
        receivers.append(EventReceiver(settings, handlers, routing_key, on_notice=on_notice))
        return receivers[-1]

    yield make
    for receiver in receivers:
        receiver.close()


def first(receiver, count=1, timeout=10):
    """Return the next events, gap records included."""
    found = []
    for batch in receiver.batches(timeout):
        assert batch, f"only {found}"
        found += batch
        if len(found) >= count:
            return found
    return found


def fields_of(events, *names):
    return [tuple(event.get(name) for name in names) for event in events]


# --- Batches -----------------------------------------------------------------------


def test_events_come_in_batches_from_when_the_first_is_asked_for(receive):
    before = time.time()
    receiver = receive(
        [[message(event(n=1)), Message(b"{"), message(event(n=2), event(n=3)), Message(b"[1]")]]
    )
    batches = receiver.batches()
    assert receiver._reader.ident is None
    batch = next(batches)
    assert fields_of(batch, "n") == [(1,), (2,), (3,)]
    assert {before <= e["local_received"] <= time.time() for e in batch} == {True}
    statistics = receiver.statistics()
    assert (statistics.events, statistics.messages, statistics.malformed) == (3, 4, 2)
    assert statistics.connected


def test_notices_do_not_prolong_the_wait(receive):
    notices = []
    receiver = receive(on_notice=notices.append)  # a broker that is never there
    receiver._reader._waits = itertools.repeat(0.01)
    for batch in receiver.batches(0.1):
        assert batch == []
        if notices:
            break
    assert {notice.kind for notice in notices} == {"retry"}


def test_unwanted_events_do_not_prolong_the_wait(receive):
    receiver = receive([], routing_key="task.failed")
    for _ in range(3):
        receiver._buffer.put(1.0, [message(event("worker-heartbeat"))])
    batches = receiver.batches(0)
    waiting = []
    for _ in range(3):
        assert next(batches) == []
        waiting.append(receiver.statistics().buffered_bytes)
    assert waiting[0] > waiting[1] > waiting[2]


def test_the_stream_ends_after_what_had_arrived(receive):
    receiver = receive([[message(event(n=1))]])
    batches = receiver.batches()
    next(batches)
    receiver.stop()
    assert [batch for batch in batches if batch] == []
    assert receiver.should_stop
    assert list(receiver.batches()) == []


def test_notices_come_in_order_in_the_callers_thread(receive):
    notices = []
    receiver = receive(
        ConnectionRefusedError(),
        [[message(event(n=1))], ConnectionResetError("gone")],
        [[message(event(n=2))]],
        on_notice=lambda notice: notices.append((notice, threading.current_thread())),
    )
    one, hole, two = first(receiver, 3)
    assert (one["n"], two["n"]) == (1, 2)
    assert (hole["type"], hole["reason"]) == ("evdump-gap", "reconnect")
    assert one["local_received"] <= hole["from"] <= hole["to"] <= two["local_received"]
    assert [notice.kind for notice, _ in notices] == ["retry", "listening", "lost", "restored"]
    assert {thread for _, thread in notices} == {threading.current_thread()}
    assert all("secret" not in notice.text for notice, _ in notices)
    statistics = receiver.statistics()
    assert (statistics.gaps, statistics.reconnects) == (1, 1)
    assert statistics.gap_seconds == hole["duration"]
    assert statistics.events == 2


def test_a_refused_login_ends_it_with_an_error(receive):
    batches = receive(AccessRefused("no")).batches()
    with pytest.raises(AccessRefused):
        next(batches)
    assert list(batches) == []


def test_several_clusters_come_as_one_and_none_holds_up_another(monkeypatch):
    scripts = {
        "prod": iter([[[message(event(n=1))], ConnectionResetError("gone")],
                      [[message(event(n=2), event(n=3))]]]),
        "eu": iter([AccessRefused("no")]),
        "us": iter([[[message(event(n=4)), Message(b"{")]]]),
        "down": itertools.repeat(ConnectionRefusedError()),
    }  # fmt: skip

    def subscribe(settings, attempt, **_):
        answer = next(scripts[settings.cluster])
        if isinstance(answer, Exception):
            raise answer
        return FakeStream(*answer)

    monkeypatch.setattr(module, "subscribe", subscribe)
    notices, got, holes = [], set(), []
    settings = [ConnectionSettings(urls=SETTINGS.urls, cluster=name) for name in scripts]
    group = ReceiverGroup(settings, notices.append)
    try:
        for batch in group.events(0.1):
            assert len({each.cluster for each in batch}) <= 1
            holes += [each for each in batch if each.is_gap]
            got |= {(each.cluster, each.extra["n"]) for each in batch if not each.is_gap}
            refused = any(notice.kind == "refused" for notice in notices)
            tried = any(notice.cluster == "down" for notice in notices)
            if len(got) == 4 and holes and refused and tried:
                hint = SilenceHint(group.statistics, clock := FakeClock()).words
                clock.now += 10
                assert hint() == f"nothing has come from down for 10s; {DOCTOR}"
                group.stop()
    finally:
        group.close()
    assert got == {("prod", 1), ("prod", 2), ("prod", 3), ("us", 4)}
    assert [hole.cluster for hole in holes] == ["prod"]
    kinds = {}
    for notice in notices:
        kinds.setdefault(notice.cluster, []).append(notice.kind)
    assert kinds["prod"] == ["listening", "lost", "restored"]
    assert (kinds["eu"], kinds["us"], set(kinds["down"])) == (["refused"], ["listening"], {"retry"})
    assert notices[0].named.startswith(f"{notices[0].cluster}: ")
    statistics = group.statistics()
    assert (statistics.events, statistics.malformed, statistics.gaps) == (4, 1, 1)
    states = {name: (each.events, each.away_since) for name, each in statistics.clusters.items()}
    assert states == {"prod": (3, None), "eu": (0, 0.0), "us": (1, None), "down": (0, 0.0)}
    assert statistics.clusters["eu"].is_refused
    assert statistics.clusters["eu"].problem == "no"


def test_one_of_several_that_does_not_come_back_has_a_gap_to_the_end(monkeypatch):
    scripts = {
        "prod": iter([[[message(event())], ConnectionResetError("gone")], AccessRefused("no")]),
        "eu": iter([[[message(event())]]]),
    }

    def subscribe(settings, attempt, **_):
        answer = next(scripts[settings.cluster])
        if isinstance(answer, Exception):
            raise answer
        return FakeStream(*answer)

    monkeypatch.setattr(module, "subscribe", subscribe)
    notices = []
    settings = [ConnectionSettings(urls=SETTINGS.urls, cluster=name) for name in scripts]
    group = ReceiverGroup(settings, notices.append)
    events = []
    for batch in group.events(0.1):
        events += batch
        if any(notice.kind == "refused" for notice in notices):
            group.stop()
    group.close()
    assert [(each.cluster, each.is_gap) for each in events if each.cluster == "prod"] == [
        ("prod", False), ("prod", True),
    ]  # fmt: skip
    assert (events[-1].reason, events[-1].get("error"), events[-1].cluster) == (
        "reconnect",
        "no",
        "prod",
    )


def test_a_group_ends_with_an_error_once_all_have_refused_us(monkeypatch):
    def subscribe(settings, attempt, **_):
        raise AccessRefused(f"{settings.cluster} says no")

    monkeypatch.setattr(module, "subscribe", subscribe)
    settings = [ConnectionSettings(urls=SETTINGS.urls, cluster=name) for name in ("a", "b")]
    notices = []
    group = ReceiverGroup(settings, notices.append)
    with pytest.raises(AccessRefused) as caught:
        list(group.events(0.1))
    group.close()
    # Each is reported once.
    (notice,) = notices
    assert {notice.named, caught.value.message} == {"a: a says no", "b: b says no"}


def test_a_group_waits_for_the_goodbyes_of_all_as_long_as_for_one(monkeypatch):
    settings = [ConnectionSettings(urls=SETTINGS.urls, cluster=name) for name in ("a", "b", "c")]
    group, clock, waited = ReceiverGroup(settings, print), FakeClock(1000.0), []

    def close(timeout):
        waited.append(timeout)
        clock.now += max(0.0, timeout)

    monkeypatch.setattr(module, "time", clock)
    for receiver in group._receivers.values():
        receiver.close = close
    group.close()
    assert waited[0] == pytest.approx(sum(waited))


@pytest.mark.parametrize(("routing_key", "dropped", "got"), [("task.#", 3, 1), ("#", 5, 2)])
def test_overflow_is_a_gap_with_the_count_of_wanted_events(receive, routing_key, dropped, got):
    body = Message(encode_line([event("task-sent", x="x" * 600_000), event("a-b")]))
    stream = FakeStream([body], [body], [body, message(event("task-sent"))])
    receiver = receive(stream, routing_key=routing_key, buffer_bytes=1024 * 1024)
    receiver._reader.start()
    # A look at the stream comes after the messages of the one before were put or dropped.
    wait_until(lambda: stream.last_seen > 3, what="all messages")
    *_, hole = first(receiver, got + 1)
    assert (hole["reason"], hole["dropped"]) == ("buffer", dropped)
    statistics = receiver.statistics()
    assert (statistics.dropped, statistics.events) == (dropped, got)
    assert statistics.buffered_bytes == 0


@pytest.mark.parametrize(("event_queue", "missed"), [("", 2), ("shared", 0)])
def test_tasks_that_a_worker_counted_and_nobody_saw_are_a_gap_to_who_gets_all(
    receive, event_queue, missed
):
    worker = {"hostname": "w", "pid": 1, "active": 0}
    started, beat = event("task-started", **worker), event("worker-heartbeat", **worker)
    # "+" is a start we see, a number what the worker says that it has started.
    life = [
        (started if step == "+" else beat | {"processed": step}) | {"clock": clock}
        for clock, step in enumerate([0, "+", 1, 3, "+", 4, 4, 4], 1)
    ]
    receiver = receive(
        [[message(one)] for one in [*life, event("task-sent")]], event_queue=event_queue
    )
    seen = first(receiver, len(life) + 1 + bool(missed))
    holes = [e for e in seen if e["type"] == "evdump-gap"]
    expected = [("worker", "w", missed)] if missed else []
    assert fields_of(holes, "reason", "hostname", "missed") == expected
    assert receiver.statistics().events == len(life) + 1
    assert receiver.statistics().missed == missed


# --- Routing keys --------------------------------------------------------------------


def test_members_of_a_batch_are_filtered_too(receive):
    batch = [event(type_) for type_ in ("task-sent", "task-failed", "task-failed")]
    messages = [[message(*batch)], [message(event("a"))], [message(event("task-failed", n=9))]]
    receiver = receive(messages, routing_key="task.failed")
    expected = [("task-failed", None), ("task-failed", None), ("task-failed", 9)]
    assert fields_of(first(receiver, 3), "type", "n") == expected
    assert receiver.settings.routing_keys == ("task.failed",)
    assert len(first(receive(messages), 5)) == 5


# --- Handlers ------------------------------------------------------------------------


def test_each_handler_gets_its_own_and_the_star_the_rest(receive):
    seen = {"task-sent": [], "*": []}
    batch = message(event("task-sent"), event("a"), event("b"))
    receiver = receive([[batch]], handlers={name: got.append for name, got in seen.items()})
    receiver.capture(limit=3)
    assert fields_of(seen["task-sent"], "type") == [("task-sent",)]
    assert fields_of(seen["*"], "type") == [("a",), ("b",)]


@pytest.mark.parametrize("handles_gaps", [False, True])
def test_a_gap_goes_only_to_a_handler_of_its_own(receive, handles_gaps):
    rest, gaps = [], []
    handlers = {"*": rest.append} | ({"evdump-gap": gaps.append} if handles_gaps else {})
    lost = [[message(event("a"))], ConnectionError()]
    receive(lost, [[message(event("b"))]], handlers=handlers).capture(limit=2)
    assert fields_of(rest, "type") == [("a",), ("b",)]
    assert fields_of(gaps, "reason") == ([("reconnect",)] if handles_gaps else [])


def test_a_limit_counts_events_and_loses_none(receive):
    seen, batch = [], message(*(event(n=n) for n in range(5)))
    receiver = receive([[batch]], handlers={"*": seen.append})
    assert fields_of(receiver.itercapture(limit=1), "n") == [(0,)]
    # Nor does who leaves early.
    assert next(receiver.itercapture())["n"] == 1
    receiver.capture(limit=1)
    assert fields_of(seen, "n") == [(0,), (1,), (2,)]
    assert fields_of(first(receiver, 2), "n") == [(3,), (4,)]


def test_silence_is_a_timeout_error(receive):
    receiver = receive([[message(event(n=1))]])
    assert next(receiver.itercapture())["n"] == 1
    with pytest.raises(TimeoutError, match=r"no event for 0\.1s"):
        next(receiver.itercapture(timeout=0.1))
    with pytest.raises(TimeoutError):
        receiver.capture(timeout=0.01)


def test_stopping_is_no_timeout_error(receive):
    receiver = receive([])
    stopper = threading.Timer(0.05, receiver.stop)
    stopper.start()
    receiver.capture(timeout=60)
    stopper.join()


@pytest.mark.parametrize("wakeup", [True, False])
def test_a_capture_may_leave_the_workers_asleep(monkeypatch, wakeup):
    seen = []

    def subscribe(settings, attempt, **_):
        seen.append(settings.wakeup)
        return FakeStream([message(event())], [message(event())])

    monkeypatch.setattr(module, "subscribe", subscribe)
    with EventReceiver(SETTINGS) as receiver:
        receiver.capture(limit=1, wakeup=wakeup)
        receiver.capture(limit=1, wakeup=wakeup)
    assert seen == [wakeup]


# --- The end -----------------------------------------------------------------------


def test_closing_leaves_the_broker(receive):
    stream = FakeStream([message(event())])
    receiver = receive(stream)
    with receiver:
        next(receiver.batches())
    receiver._reader.join(10)  # that is not waited for without end
    assert stream.closed.is_set()
    assert not receiver._reader.is_alive()
    receiver.close()
    assert not receiver.statistics().connected


# --- Logical time --------------------------------------------------------------------

STREAMS = {
    "a worker counts on": [event(clock=n) for n in (3, 4, 4, 9)],
    "a worker starts anew": [event("worker-online", clock=n) for n in (900, 1, 2)],
    "nobody has a clock": [{"type": "a"}, {"type": "b"}, {"type": "task-sent"}],
    "clients have their own": [
        event("worker-online", clock=50),
        event("task-sent", clock=7_000),
        event("task-received", clock=51),
        {"type": "task-sent"},
        {"type": "custom-thing"},
        event("task-started", clock=2),
    ],
}


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS.keys())
def test_the_clock_is_that_of_celerys_receiver(receive, stream):
    app = make_app("memory://receiver")
    theirs = CelerysReceiver(channel=None, app=app)
    theirs.clock = type(theirs.clock)()
    theirs.adjust_clock, theirs.forward_clock = (theirs.clock.adjust, theirs.clock.forward)
    expected = [theirs.event_from_message(dict(e))[1]["clock"] for e in stream]
    ours = first(receive([[message(e)] for e in stream]), len(stream))
    assert [e["clock"] for e in ours] == expected
    close(app)


@pytest.mark.parametrize("clock", [None, "7", 1.5, [], True, {"a": 1}])
def test_a_clock_that_is_none_is_left_alone(receive, clock):
    receiver = receive([[message(event("a", clock=clock)), message({"type": "b"})]])
    assert [e["clock"] for e in first(receiver, 2)] == [clock, 1]


# --- As Celery's receiver is made ----------------------------------------------------


def test_with_a_connection_of_the_callers_it_leaves_the_broker_after_each_capture(monkeypatch):
    streams = [FakeStream([message(event(n=n))]) for n in range(2)]
    answers = iter(streams)
    monkeypatch.setattr(module, "subscribe", lambda *_, **__: next(answers))
    with Connection("memory://") as connection:
        receiver = EventReceiver(connection)
        for number, stream in enumerate(streams):
            assert fields_of(receiver.itercapture(limit=1, timeout=30), "n") == [(number,)]
            assert stream.closed.wait(10)
            assert not receiver.statistics().connected


def test_the_arguments_of_celerys_receiver_are_taken_in_its_order():
    with Connection("memory://") as connection:
        given = (connection, {"a": len}, "task.#", "node", None, "prefix", {"json"}, 7.0, 70.0)
        receiver = EventReceiver(*given, False, True)
    settings = receiver.settings
    assert (receiver.connection, receiver.handlers) == (connection, {"a": len})
    assert (receiver.queue.name, receiver.queue.durable) == ("prefix.node", True)
    assert (settings.routing_keys, settings.accept) == (("task.#",), ("json",))
    assert (settings.event_queue_ttl, settings.event_queue_expires) == (7.0, 70.0)


@pytest.mark.parametrize("odd", [None, "redis://localhost", object()])
def test_what_no_events_come_from_is_explained(odd):
    with pytest.raises(TypeError, match=r"Connection, a channel, an app.*takes a URL"):
        EventReceiver(odd)


def test_an_event_is_made_of_a_message_that_the_caller_took():
    receiver = EventReceiver(SETTINGS)
    body = {"type": "worker-online", "clock": 300, "timestamp": 5.0, "utcoffset": -7}
    kind, event = receiver.event_from_message(body, now=lambda: 9.0)
    assert kind == "worker-online"
    assert (event["timestamp"], event["local_received"]) == (5.0, 9.0)
    assert receiver.event_from_message({"type": "task-sent"})[1]["clock"] == 300
    assert receiver.event_from_message({"type": "x"})[1]["clock"] > 300


def test_a_stop_does_not_wait_for_an_attempt_to_connect(monkeypatch):
    attempting, answer = threading.Event(), threading.Event()

    def subscribe(_settings, attempt, **_):
        attempting.set()
        answer.wait(30)
        raise ConnectionRefusedError

    notices = []
    monkeypatch.setattr(module, "subscribe", subscribe)
    receiver = EventReceiver(SETTINGS, on_notice=notices.append)
    batches = receiver.batches(0.01)
    assert next(batches) == []
    assert attempting.wait(10)
    receiver.stop()
    assert list(batches) in ([], [[]])
    receiver.close()
    assert receiver._reader.is_alive()
    answer.set()
    receiver._reader.join(10)
    assert notices == []


# --- live sources ----------------------------------------------------------------


class Source:
    """A source that has had some messages."""

    messages = 0

    def statistics(self):
        return Statistics(messages=self.messages)


def test_silence_is_reported_once_and_not_at_once():
    clock, source = FakeClock(1000.0), Source()
    hint, other = (SilenceHint(one.statistics, clock) for one in (source, Source()))
    clock.now += 9.9
    assert hint.words() == other.words() == ""
    source.messages = 1
    clock.now += 0.1
    assert other.words() == f"nothing has come for 10s; {DOCTOR}"
    assert hint.words() == ""
    source.messages = 0
    clock.now += 3600
    assert hint.words() == other.words() == ""
