"""The camera for OpenTelemetry: what a collector gets, read by the official classes."""

import json
import math
import os
import random
import re
import threading
from collections import Counter
from email.utils import formatdate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evtools.cam import otlp
from evtools.cam.http_client import headers_of
from evtools.cam.loader import load_camera
from evtools.cam.otlp import OTLP
from evtools.cam.schedule import CameraThread, Counters, Timer, TryLater
from evtools.cam.snapshot import dry_run
from evtools.cam.spool import Record
from evtools.clock import SystemClock
from evtools.errors import OutputError, UsageError
from evtools.state import OTHERS, State
from servers.ports import free_port
from tools.clock import FakeClock
from tools.collector import METRICS, TRACES, Collector, Request, attributes, spans_of
from tools.stories import STORIES
from tools.told import CLIENT, OTHER, UUID, WORKER, life, told

BEAT = told("worker-heartbeat", 1.0)
CHILD = "0b1f0f1e-0000-4000-8000-0000000000c1"
PRODUCER, CONSUMER, UNSET, ERROR = 4, 5, 0, 2


class LiveClock(SystemClock):
    """A clock of the machine, as far as anybody knows, that stands still."""

    def __init__(self, now=1000.0):
        self.now = now

    def wall(self):
        return self.now

    monotonic = wall


class Studio:
    """A camera that is warm and connected, with its state and its collector."""

    def __init__(self, collector, clock=None, cluster="", **options):
        self.collector = collector
        self.state = State(cluster=cluster)
        self.clock = clock or LiveClock()
        options = {"delay": 0.0, **options}
        self.camera = OTLP(self.state, url=collector.url, timer=Timer(self.clock), **options)
        self.camera.load(self.camera._sequence, self.clock)
        self.camera._sequence.subscribed(0.0)
        self.waits = []
        self.camera._pause = self

    def wait(self, seconds):
        self.waits.append(seconds)

    def take(self, *events):
        self.camera.observe(self.state.changes(events))
        return self

    def shoot(self, now=None):
        if now is not None:
            self.clock.now = now
        self.camera.capture()
        return self

    def spans(self):
        return [span for _, span in self.collector.spans()]

    def runs(self):
        return [span for span in self.spans() if span.kind == CONSUMER]


@pytest.fixture
def collector(monkeypatch):
    """A collector, and the end of all connections to it."""
    clients = []

    class Client(otlp.HTTPClient):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            clients.append(self)

    monkeypatch.setattr(otlp, "HTTPClient", Client)
    with Collector() as made:
        yield made
        for client in clients:
            client.close()


@pytest.fixture
def studio(collector):
    return Studio(collector)


def seconds(span):
    return span.start_time_unix_nano / 1e9, span.end_time_unix_nano / 1e9


# --- traces ---------------------------------------------------------------------------


def test_an_attempt_is_a_span_and_its_wait_another(studio):
    studio.take(BEAT, *life("sent", "received", "started", "succeeded")).shoot()
    (about, wait), (_, run) = studio.collector.spans()
    assert about == {"service.name": "celery", "service.instance.id": WORKER}
    assert wait.trace_id == run.trace_id == bytes.fromhex(UUID.replace("-", ""))
    assert (wait.name, wait.kind, wait.parent_span_id) == ("wait mail", PRODUCER, b"")
    assert seconds(wait) == (10.0, 12.0)
    (received,) = wait.events
    assert (received.name, received.time_unix_nano) == ("received", 11 * 10**9)
    assert (run.name, run.kind, run.parent_span_id) == ("shop.pay", CONSUMER, wait.span_id)
    assert seconds(run) == (12.0, 13.0)
    assert (run.status.code, list(run.events), list(run.links)) == (UNSET, [], [])
    common = {
        "messaging.system": "celery",
        "messaging.destination.name": "mail",
        "messaging.message.id": UUID,
        "messaging.message.conversation_id": UUID,
        "celery.task_name": "shop.pay",
        "celery.retries": 0,
        "celery.hostname": WORKER,
        "celery.origin": CLIENT,
    }
    operation = {"messaging.operation.name": "wait", "messaging.operation.type": "send"}
    assert attributes(wait) == {**common, **operation}
    assert attributes(run) == {
        **common,
        "messaging.operation.name": "run",
        "messaging.operation.type": "process",
        "celery.state": "SUCCESS",
        "celery.runtime": 0.5,
        "process.pid": 77,
    }


def test_services_are_called_after_workers_or_as_one_wishes(collector):
    events = [
        *life("received", "started", "succeeded"),
        *life("received", "started", "succeeded", uuid=CHILD, hostname="mail@two"),
    ]
    Studio(collector, cluster="eu").take(*events).shoot()
    Studio(collector, service="shop").take(*events).shoot()
    found = {tuple(sorted(about.items())) for about, _ in collector.spans()}
    cluster = ("celery.cluster", "eu")
    assert found == {
        (cluster, ("service.instance.id", WORKER), ("service.name", "celery")),
        (cluster, ("service.instance.id", "mail@two"), ("service.name", "mail")),
        (("service.instance.id", WORKER), ("service.name", "shop")),
        (("service.instance.id", "mail@two"), ("service.name", "shop")),
    }


@pytest.mark.parametrize("name", STORIES)
def test_every_attempt_that_ended_is_exported_once_under_the_same_ids(collector, name):
    story = STORIES[name]
    ids = []
    for seed in range(3):
        studio = Studio(collector)
        events = [BEAT, told("worker-heartbeat", 1.0, hostname=OTHER), *story.events]
        collector.taken.clear()
        if not seed:
            studio.take(*events).shoot().take(*events).shoot()
        else:
            shuffled = story.events[:]
            random.Random(seed).shuffle(shuffled)
            studio.take(*events[:2], *shuffled, *shuffled).shoot()
        runs = studio.runs()
        task = studio.state.tasks[UUID]
        ended = [each.state for each in (*task.attempts, task) if each.ended is not None]
        assert [attributes(run)["celery.state"] for run in runs] == ended
        ids.append([(run.trace_id, run.span_id) for run in runs])
    assert ids[0] == ids[1] == ids[2]
    assert len(set(ids[0])) == len(ids[0])


def test_what_comes_late_is_in_the_span_and_ends_are_waited_for(collector):
    studio = Studio(collector, delay=2.0)
    sent, *rest, failed = life("sent", "received", "started", "failed")
    studio.take(*rest, failed).shoot(14.0)
    assert not studio.spans()
    studio.take(sent, told("task-succeeded", 13.0)).shoot(15.3)
    wait, run = studio.spans()
    assert seconds(wait) == (10.0, 12.0)
    # As the result backend has it.
    assert attributes(run)["celery.state"] == "SUCCESS"


def test_a_task_that_is_retried_for_ever_is_exported_all_the_same(collector):
    studio = Studio(collector, delay=2.0)
    for number in range(40):
        steps = life("received", "started", "retried", start=10.0 + number, retries=number)
        studio.take(*[{**e, "timestamp": 10 + number + n / 4} for n, e in enumerate(steps)])
        studio.shoot(11.0 + number)
    assert len(studio.runs()) >= 36
    assert len({run.span_id for run in studio.runs()}) == len(studio.runs())


def child(*steps, start=12.5, **fields):
    fields = {"uuid": CHILD, "parent_id": UUID, "root_id": UUID, "name": "shop.mail", **fields}
    return life(*steps, start=start, **fields)


def test_a_workflow_is_one_trace_below_the_span_that_sent_it(studio):
    studio.take(BEAT, *life("sent", "received", "started", "succeeded"))
    studio.take(*child("sent", "received", "started", "failed")).shoot()
    wait, run, wait_of_child, child_run = studio.spans()
    assert len({span.trace_id for span in studio.spans()}) == 1
    assert [span.parent_span_id for span in studio.spans()] == [
        b"", wait.span_id, run.span_id, wait_of_child.span_id
    ]  # fmt: skip
    assert attributes(child_run)["celery.parent_id"] == UUID


def test_the_attempt_that_ran_then_is_the_one_that_sent_a_task(studio):
    first, second = (
        life("received", "started", end, start=start, retries=number)
        for number, (start, end) in enumerate([(10.0, "retried"), (20.0, "succeeded")])
    )
    studio.take(BEAT, *first, *second, *child("sent", "started", "succeeded", start=21.5))
    studio.take(*child("sent", "started", "succeeded", start=11.5, uuid="other")).shoot()
    runs = {
        attributes(run)["celery.retries"]: run for run in studio.runs() if run.name == "shop.pay"
    }
    (wait,) = [s for s in studio.spans() if attributes(s).get("messaging.message.id") == CHILD][:1]
    assert wait.parent_span_id == runs[1].span_id
    (wait,) = [s for s in studio.spans() if attributes(s)["messaging.message.id"] == "other"][:1]
    assert wait.parent_span_id == runs[0].span_id
    # The attempt before sent the next one.
    (again,) = [s for s in studio.spans() if s.span_id == runs[1].parent_span_id]
    assert again.parent_span_id == runs[0].span_id


def test_a_child_is_below_its_parent_also_if_that_comes_later_or_never(studio):
    studio.take(BEAT, *child("received", "started", "succeeded", start=5.0)).shoot()
    (wait, _) = studio.spans()
    studio.take(*life("received", "started", "succeeded")).shoot()
    assert wait.parent_span_id == studio.runs()[-1].span_id


def test_a_parent_in_another_trace_is_a_link(studio):
    studio.take(BEAT, *life("received", "started", "succeeded"))
    studio.take(*child("received", "started", "succeeded", root_id=CHILD)).shoot()
    _, run, wait, _ = studio.spans()
    assert wait.trace_id == bytes.fromhex(CHILD.replace("-", ""))
    assert wait.parent_span_id == b""
    (link,) = wait.links
    assert (link.trace_id, link.span_id) == (run.trace_id, run.span_id)


def test_a_task_that_says_it_is_its_own_parent_has_none(studio):
    studio.take(BEAT, *life("received", "started", "succeeded", parent_id=UUID)).shoot()
    wait, run = studio.spans()
    assert (wait.parent_span_id, run.parent_span_id) == (b"", wait.span_id)


def test_a_message_that_was_given_back_is_linked_to_its_next_delivery(studio):
    studio.take(BEAT, told("worker-heartbeat", 1.0, hostname=OTHER))
    studio.take(*STORIES["given back and delivered to the other"].events).shoot()
    first, second = studio.runs()
    assert first.status.code == UNSET  # given back to be done
    (wait,) = [span for span in studio.spans() if span.span_id == second.parent_span_id]
    assert [link.span_id for link in wait.links] == [first.span_id]
    assert second.span_id != first.span_id


@pytest.mark.parametrize(
    "task_id", ["x", "0" * 32, "00000000-0000-0000-0000-000000000000", "\ud800"]
)
def test_an_id_that_is_no_uuid_has_a_trace_of_its_own(studio, task_id):
    steps = life("received", "started", "succeeded", uuid=task_id, root_id=task_id)
    studio.take(BEAT, *steps, *life("received", "succeeded")).shoot()
    traces = {span.trace_id for span in studio.spans()}
    assert len(traces) == 2
    assert all(len(trace) == 16 and any(trace) for trace in traces)


@pytest.mark.parametrize(
    ("end", "fields", "status", "error", "text"),
    [
        ("failed", {}, ERROR, "OSError", "5"),
        ("failed", {"exception": "shop.Bad('no, \"never\"')"}, ERROR, "shop.Bad", 'no, "never"'),
        ("failed", {"exception": "Bad('a', 'b')"}, ERROR, "Bad", "'a', 'b'"),
        ("failed", {"exception": "Bad('cut off"}, ERROR, "Bad", "Bad('cut off"),
        ("failed", {"exception": "(5)"}, ERROR, "_OTHER", "(5)"),
        ("failed", {"exception": None}, ERROR, "_OTHER", ""),
        ("retried", {}, UNSET, None, ""),
        ("revoked", {}, ERROR, "terminated", "terminated by SIGTERM"),
        ("revoked", {"terminated": False, "expired": True}, ERROR, "expired", "expired"),
        ("revoked", {"terminated": False}, ERROR, "revoked", "revoked"),
        ("revoked", {"signum": None}, ERROR, "terminated", "terminated by a signal"),
        ("revoked", dict.fromkeys(("terminated", "expired")), ERROR, "revoked", "revoked"),
        ("rejected", {"requeue": None}, ERROR, "rejected", "rejected"),
        ("rejected", {}, UNSET, None, ""),
        ("rejected", {"requeue": False}, ERROR, "rejected", "rejected"),
        ("cancelled", {}, ERROR, "cancelled", "its worker lost the connection to the broker"),
    ],
)  # fmt: skip
def test_how_an_attempt_ended_is_its_status(studio, end, fields, status, error, text):
    studio.take(BEAT, *life("received", "started"), told(f"task-{end}", 12.0, **fields)).shoot()
    (run,) = studio.runs()
    assert (run.status.code, run.status.message) == (status, text)
    assert attributes(run).get("error.type") == error


@pytest.mark.parametrize("end", ["failed", "retried"])
def test_an_exception_is_an_event_of_the_span(studio, end):
    studio.take(BEAT, *life("received", "started", end)).shoot()
    (event,) = studio.runs()[0].events
    assert (event.name, event.time_unix_nano) == ("exception", 12 * 10**9)
    assert attributes(event) == {
        "exception.type": "OSError",
        "exception.message": "5",
        "exception.stacktrace": "Traceback\nOSError: 5",
    }


def test_what_has_not_ended_is_not_exported(studio):
    studio.take(BEAT, *life("sent", "received", "started"))
    studio.camera.cancel()
    assert not studio.spans()


@pytest.mark.parametrize(
    ("events", "times", "is_unknown"),
    [
        (life("sent", "received", "revoked"), [(10, 12), (12, 12)], False),
        (life("succeeded", runtime=4.0), [(6, 10)], False),
        (life("failed"), [(10, 10)], True),
        (life("received", "failed"), [(10, 11), (11, 11)], True),
    ],
)
def test_a_start_that_is_not_known_is_not_made_up(studio, events, times, is_unknown):
    studio.take(BEAT, *events).shoot()
    assert [seconds(span) for span in studio.spans()] == times
    assert attributes(studio.runs()[0]).get("celery.start_unknown", False) == is_unknown


def test_times_are_by_our_clock(studio):
    """The clock of the client is an hour fast, and that of the worker 100 s slow."""
    fast, slow = 3600.0, -100.0
    events = life("sent", "received", "started", "succeeded", start=1000.0)
    for event in events:
        event["timestamp"] += fast if event["hostname"] == CLIENT else slow
    beat = told("worker-heartbeat", 990.0)
    studio.take({**beat, "timestamp": 990.0 + slow}, *events).shoot(2000.0)
    # By what events take to reach us, clocks seem to be slow.
    times = [moment for span in studio.spans() for moment in seconds(span)]
    assert times == pytest.approx([1000.25, 1002.25, 1002.25, 1003.25])


def test_a_message_was_not_sent_after_it_was_received(studio):
    """The clock of the client is fast by less than can be known."""
    sent = told("task-sent", 11.5)
    studio.take(BEAT, sent, *life("received", "started", "succeeded", start=11.0)).shoot()
    assert [seconds(span) for span in studio.spans()] == [(11, 12), (12, 13)]


def test_arguments_and_results_are_exported_only_if_asked_for(collector):
    for wanted in (False, True):
        collector.taken.clear()
        studio = Studio(collector, arguments=wanted)
        studio.take(*life("received", "started", "succeeded")).shoot()
        found = attributes(studio.runs()[0])
        expected = {"celery.args": "(1,)", "celery.kwargs": "{}", "celery.result": "4"}
        assert {k: v for k, v in found.items() if k in expected} == (expected if wanted else {})


HOSTILE = '\x1b[31m\0\ud800\u202e"\\\n' + "x" * 40_000


def test_hostile_texts_are_bounded_and_valid(collector):
    fields = dict.fromkeys(
        ("name", "root_id", "parent_id", "queue", "eta", "args", "kwargs", "uuid", "result"),
        HOSTILE,
    )
    studio = Studio(collector, arguments=True)
    studio.take(told("worker-heartbeat", 1.0, hostname=HOSTILE))
    raised = {"exception": f"Bad({HOSTILE!r})", "traceback": HOSTILE}
    studio.take(*life("sent", **fields, hostname=HOSTILE))
    studio.take(
        *life("received", "started", "failed", start=11.0, hostname=HOSTILE, **fields, **raised)
    )
    studio.shoot()
    assert len(studio.spans()) == 2
    for request in collector.requests:
        request.content.decode()
        if request.path == METRICS:
            request.decoded()
            continue
        for _, span in spans_of(request.decoded()):
            texts = [v for v in attributes(span).values() if isinstance(v, str)]
            assert max(map(len, texts)) <= 4096
            assert len(span.name) <= 255
    assert len(collector.requests[0].content) < 100_000


odd = st.one_of(
    st.none(), st.integers(), st.floats(), st.booleans(), st.text(max_size=20),
    st.lists(st.integers(), max_size=2),
)  # fmt: skip
kinds = st.sampled_from(
    ["sent", "received", "started", "succeeded", "failed", "retried", "revoked"]
)


@given(st.lists(st.tuples(kinds, st.dictionaries(st.sampled_from(sorted(
    {*told("task-sent"), *told("task-failed"), *told("task-revoked"), "runtime"} - {"type"}
)), odd, max_size=4)), max_size=8))  # fmt: skip
@settings(max_examples=150)
def test_events_of_any_shape_are_survived(steps):
    camera = OTLP(State(), url="http://localhost:1", delay=0.0, arguments=True)
    events = [told(f"task-{kind}", 10.0 + n, **fields) for n, (kind, fields) in enumerate(steps)]
    camera.observe(camera.state.changes([BEAT, *events]))
    camera._is_last = True
    export = camera.snapshot(camera._sequence.next(1000.0))
    for request in camera._requests(export):
        path = f"/v1/{request.signal}"
        Request(path, {"content-encoding": "gzip"}, request.body).decoded()


def test_what_waits_is_bounded_and_what_is_dropped_counted(collector, log):
    studio = Studio(collector, max_waiting=20_000)
    for number in range(100):
        studio.take(*life("received", "started", "succeeded", uuid=f"task {number}"))
    studio.shoot()
    exported = {attributes(run)["messaging.message.id"] for run in studio.runs()}
    assert 5 < len(exported) < 50
    assert f"task {99}" in exported
    dropped = 100 - len(exported)
    assert any(f"{dropped} spans were dropped, as too many waited" in line for line in log())


# --- metrics --------------------------------------------------------------------------


def points(message):
    """Return the points of a message by metric and attributes, with their kind."""
    found = {}
    for resource in message.resource_metrics:
        for metric in resource.scope_metrics[0].metrics:
            kind = metric.WhichOneof("data")
            for point in getattr(metric, kind).data_points:
                key = (metric.name, *sorted(attributes(point).items()))
                assert key not in found
                found[key] = point
    return found


NAMED = (("celery.task_name", "shop.pay"), ("messaging.destination.name", "mail"))


def outcome(state, *more):
    return ("celery.task.outcomes", ("celery.state", state), *NAMED, *more)


def test_metrics_are_what_happened(collector):
    studio = Studio(collector, interval=10.0)
    studio.take(BEAT, *life("sent", "received", "started", "succeeded", runtime=3.0)).shoot(5.0)
    studio.take(*life("sent", "received", "started", "failed", uuid=CHILD)).shoot(11.0)
    studio.shoot(12.0)
    (message,) = collector.accepted(METRICS)
    (resource,) = message.resource_metrics
    about = attributes(resource.resource)
    assert about["service.name"] == "celery"
    assert about["service.instance.id"].startswith("evcam@")
    found = points(message)
    assert found[outcome("SUCCESS")].as_int == 1
    assert (
        found[
            "celery.task.outcomes",
            ("celery.state", "FAILURE"),
            *NAMED[:1],
            ("error.type", "OSError"),
            *NAMED[1:],
        ].as_int
        == 1
    )
    assert found[outcome("RETRY")].as_int == 0
    assert found["celery.task.sent", *NAMED].as_int == 2
    assert found["celery.events", ("celery.event.type", "worker-heartbeat")].as_int == 1
    runtime = found["celery.task.runtime", *NAMED]
    assert (runtime.count, runtime.sum) == (1, 3.0)
    bounds = [*runtime.explicit_bounds, math.inf]
    (bucket,) = [bound for bound, n in zip(bounds, runtime.bucket_counts, strict=True) if n]
    assert bucket == 5.0
    assert (found["celery.task.wait", *NAMED].count, found["celery.task.wait", *NAMED].sum) == (
        2,
        4.0,
    )
    assert found["celery.worker.alive",].as_int == 1
    assert found["celery.worker.count", ("celery.worker.status", "online")].as_int == 1
    start, end = 0, 11 * 10**9
    assert all(point.time_unix_nano == end for point in found.values())
    assert {point.start_time_unix_nano for point in found.values()} == {start}
    kinds = {metric.name: metric for metric in resource.scope_metrics[0].metrics}
    assert kinds["celery.task.outcomes"].sum.is_monotonic
    assert kinds["celery.task.outcomes"].sum.aggregation_temporality == 2
    assert kinds["celery.task.runtime"].histogram.aggregation_temporality == 2
    assert kinds["celery.task.runtime"].unit == "s"


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_metrics_count_from_the_start_or_since_the_last_time(collector, temporality):
    studio = Studio(collector, interval=0.0, temporality=temporality)
    for number in range(3):
        steps = life("sent", "received", "started", "succeeded", uuid=f"task {number}", runtime=2.0)
        studio.take(*steps).shoot(20.0 + number)
    taken = [points(message) for message in collector.accepted(METRICS)]
    for kind, value in ((outcome("SUCCESS"), "as_int"), (("celery.task.runtime", *NAMED), "sum")):
        counts = [getattr(found[kind], value) for found in taken]
        starts = [found[kind].start_time_unix_nano // 10**9 for found in taken]
        factor = 2 if value == "sum" else 1
        if temporality == "delta":
            assert (counts, starts) == ([factor] * 3, [0, 20, 21])
        else:
            assert (counts, starts) == ([factor, 2 * factor, 3 * factor], [0] * 3)


def test_a_series_that_was_forgotten_has_a_new_start(collector):
    studio = Studio(collector, interval=0.0, max_series=1)
    studio.take(*life("received"), *life("received", uuid="z")).shoot(20.0).shoot(30.0)
    studio.camera._metrics.instruments["task_received"].forget(("shop.pay", "(unknown)"))
    studio.take(*life("received", uuid=CHILD)).shoot(40.0)
    key = ("celery.task.received", NAMED[0], ("messaging.destination.name", "(unknown)"))
    found = [points(message)[key] for message in collector.accepted(METRICS)]
    assert [(p.as_int, p.start_time_unix_nano // 10**9) for p in found] == [(2, 0), (2, 0), (1, 30)]
    studio.take(*life("received", uuid="x"))
    studio.camera._metrics.instruments["task_received"].forget(("shop.pay", "(unknown)"))
    studio.shoot(50.0).take(*life("received", uuid="y")).shoot(60.0)
    found = [points(message).get(key) for message in collector.accepted(METRICS)]
    assert found[3] is None
    assert (found[4].as_int, found[4].start_time_unix_nano // 10**9) == (1, 50)


def test_metrics_are_bounded_and_gauges_absent_while_they_cannot_be_known(collector):
    studio = Studio(collector, interval=0.0, max_series=3)
    studio.camera._sequence.lost()
    for number in range(9):
        studio.take(*life("received", name=f"shop.{number}", uuid=f"task {number}"))
    studio.shoot(20.0)
    found = points(collector.accepted(METRICS)[0])
    others = (("celery.task_name", OTHERS), ("messaging.destination.name", OTHERS))
    assert found["celery.task.received", *others].as_int == 6
    assert not any(name.startswith("celery.worker") for name, *_ in found)


def test_delta_points_that_could_not_be_handed_on_come_later(collector):
    studio = Studio(collector, interval=0.0, temporality="delta")
    studio.take(*life("sent"))
    info = studio.camera._sequence.next(20.0)
    studio.camera.restore(studio.camera.snapshot(info))
    studio.shoot(30.0)
    assert points_of(collector, "celery.task.sent") == [1, 0]


def points_of(collector, name):
    return [
        point.as_int
        for message in collector.accepted(METRICS)
        for resource in message.resource_metrics
        for metric in resource.scope_metrics[0].metrics
        if metric.name == name
        for point in metric.sum.data_points
    ]


# --- delivery -------------------------------------------------------------------------


def task(number):
    return life("received", "started", "succeeded", uuid=f"task {number}")


def numbers(collector):
    """Return how often each task was taken."""
    runs = [span for _, span in collector.spans() if span.kind == CONSUMER]
    return Counter(int(attributes(run)["messaging.message.id"].split()[1]) for run in runs)


def test_requests_are_bounded_and_packed_as_wanted(collector):
    studio = Studio(collector, batch=4, metrics=False)
    studio.take(*[event for number in range(5) for event in task(number)]).shoot()
    sizes = [len(list(spans_of(each.decoded()))) for each in collector.requests]
    assert sizes == [4, 4, 2]
    assert all(each.headers["content-encoding"] == "gzip" for each in collector.requests)
    assert all(each.headers["content-type"] == "application/json" for each in collector.requests)
    collector.requests.clear()
    plain = Studio(collector, compression="none", arguments=True, metrics=False)
    long = "x" * 4096
    for number in range(800):
        plain.take(*life("received", "succeeded", uuid=f"task {number}", args=long, kwargs=long))
    plain.shoot()
    assert len(collector.requests) == 2
    assert max(len(each.body) for each in collector.requests) < 4.1 * 1024 * 1024
    assert "content-encoding" not in collector.requests[0].headers


def up_to(size):
    """Return what a collector does that takes so many bytes, unpacked."""
    return [lambda request: 200 if len(request.content) <= size else 413] * 999


@pytest.mark.parametrize("has_spool", [False, True])
def test_what_is_too_large_is_sent_in_halves_until_it_fits(collector, tmp_path, log, has_spool):
    options = {"compression": "none", "arguments": True, "temporality": "delta"}
    if has_spool:
        options["spool"] = str(tmp_path)
    studio = Studio(collector, **options)
    studio.camera.install()
    # The collector goes in the middle of one that was split.
    collector.answers = [*up_to(6000)[:5], 503, *up_to(6000)]
    events = [event for number in range(20) for event in task(number)]
    huge = life("received", "failed", uuid="task 99", traceback="x" * 9000)
    with pytest.raises(TryLater):
        studio.take(*events, *huge, BEAT).shoot()
    with pytest.raises(OutputError, match=r"413.*; 1 spans are lost"):
        studio.shoot(2000.0)
    assert numbers(collector) == dict.fromkeys(range(20), 1)
    counted = counts(studio)
    assert (counted["traces", "accepted"], counted["traces", "refused"]) == (41, 1)
    assert len(collector.accepted(METRICS)) > 2
    assert sum(points_of(collector, "celery.events")) == 63
    assert "the 42 spans are sent in halves; a smaller batch saves that" in "".join(log())
    assert studio.camera._outbox.items == 0
    studio.camera.close()
    studio.camera.timer.stop()


def unavailable(status, **headers):
    return (status, {name.replace("_", "-"): value for name, value in headers.items()}, b"")


@pytest.mark.parametrize(
    ("answer", "least", "most"),
    [
        (unavailable(429, Retry_After="7"), 7, 7),
        (unavailable(503, Retry_After=formatdate(LiveClock().now, usegmt=True)), 0.5, 1),
        (unavailable(503, Retry_After="soon"), 0.5, 1),
        (unavailable(429, Retry_After="9" * 30), 10, 3600),
        (503, 0.5, 1),
        (502, 0.5, 1),
        (504, 0.5, 1),
        (None, 0.5, 1),
    ],
)
def test_a_collector_that_cannot_now_is_asked_again_as_it_wishes(collector, answer, least, most):
    studio = Studio(collector, metrics=False)
    collector.answers = [answer]
    with pytest.raises(TryLater) as caught:
        studio.take(*task(0)).shoot()
    assert least <= caught.value.wait <= most
    assert collector.url in caught.value.message
    with pytest.raises(TryLater, match=re.escape(caught.value.message)):
        studio.take(*task(1)).shoot()
    # What has ended meanwhile waits as requests, packed.
    assert (len(collector.requests), len(studio.camera._spans)) == (1, 0)
    studio.shoot(LiveClock().now + most)
    assert numbers(collector) == {0: 1, 1: 1}


def test_waits_double_up_to_a_minute_and_begin_anew(collector):
    studio = Studio(collector, metrics=False).take(*task(0))
    collector.answers = [503] * 9
    waits = []
    for _ in range(9):
        with pytest.raises(TryLater):
            studio.shoot(max(1000.0, studio.camera._not_before))
        waits.append(studio.camera._not_before - studio.clock.now)
    bounds = [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert all(bound / 2 <= wait <= bound for wait, bound in zip(waits, bounds, strict=True))
    studio.shoot(studio.camera._not_before)
    collector.answers = [503]
    with pytest.raises(TryLater) as caught:
        studio.take(*task(1)).shoot()
    assert caught.value.wait <= 1


def test_the_thread_of_the_camera_waits_as_long_as_it_is_asked_to(collector):
    counters, clock = Counters(), LiveClock()
    thread = CameraThread(counters, clock, None, None)
    studio = Studio(collector, clock=clock, metrics=False)
    studio.camera.timer = thread
    studio.take(*task(0))
    collector.answers = [unavailable(429, Retry_After="100")]
    thread.mount(studio.camera)
    try:
        for now, requests, failed in ((1001, 1, 1), (1009, 1, 1), (1011, 1, 2), (1102, 2, 2)):
            clock.now = now
            assert thread.settle(5)
            assert (len(collector.requests), counters.shots.failed) == (requests, failed)
        assert counters.shots.taken == 1
    finally:
        thread.stop()
    assert numbers(collector) == {0: 1}


def test_one_that_is_away_gets_everything_once_it_is_back(collector):
    studio = Studio(collector, metrics=False)
    collector.go()
    for number in range(5):
        with pytest.raises(TryLater, match="Connection refused"):
            studio.take(*task(number)).shoot(1000.0 + 60 * number)
    (waiting,) = [each for each in studio.camera.families() if each.name == "evcam_otlp_waiting"]
    assert [sample.value for sample in waiting.samples] == [10]
    collector.come()
    studio.shoot(2000.0)
    assert numbers(collector) == dict.fromkeys(range(5), 1)


def test_one_that_is_slow_may_get_a_request_twice_with_the_same_ids(collector, monkeypatch):
    deadlines = []

    class Deadline:
        """It is over when the collector has the request, and not before."""

        def __init__(self, seconds, expire):
            assert seconds == 7.0
            deadlines.append(expire)

        def start(self):
            pass

        cancel = start

    def expire(_):
        deadlines[0]()
        return 200

    monkeypatch.setattr(threading, "Timer", Deadline)
    studio = Studio(collector, metrics=False, timeout=7.0)
    collector.answers = [expire]
    with pytest.raises(TryLater, match=r"no answer within 7s"):
        studio.take(*task(0)).shoot()
    studio.shoot(1010.0)
    first, second = [each.content for each in collector.requests]
    assert first == second


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (400, "400 Bad Request; 2 spans are lost"),
        ((400, {}, b'{"message": "bad\\u001b spans"}'), r"400 Bad Request: bad\x1b spans; 2"),
        ((401, {}, b"no <b>token</b>"), "401 Unauthorized: no <b>token</b>; 2 spans"),
        (404, "404 Not Found; 2 spans are lost"),
        ((500, {}, b"[" * 100_000), "500 Internal Server Error: [[["),
        ((200, {}, b" " * (4 * 1024 * 1024 + 1)), "200 OK: with more than it may say; 2 spans"),
        ((302, {"Location": "http://elsewhere"}, b""), "302 Found; 2 spans are lost"),
    ],
)  # fmt: skip
def test_what_is_refused_for_good_is_dropped_counted_and_said(collector, answer, words):
    studio = Studio(collector, metrics=False)
    collector.answers = [answer]
    with pytest.raises(OutputError) as caught:
        studio.take(*task(0)).shoot()
    assert not isinstance(caught.value, TryLater)
    assert f"{collector.url} answered {words}" in caught.value.message
    assert len(caught.value.message) < 400
    studio.take(*task(1)).shoot()
    assert len(collector.requests) == 2
    assert numbers(collector)[1] == 1
    assert counts(studio) == {("traces", "refused"): 2, ("traces", "accepted"): 2}


def counts(studio):
    """Return what the camera has counted for evcam's own metrics."""
    family = next(iter(studio.camera.families()))
    return {tuple(dict(labels).values()): value for _, labels, value in family.samples if value}


def test_what_is_rejected_of_a_request_is_counted_and_said_and_not_sent_again(collector, log):
    studio = Studio(collector, metrics=False)
    partial = {"rejectedSpans": "1", "errorMessage": "too \x1b old"}
    collector.answers = [(200, {}, json.dumps({"partialSuccess": partial}).encode())] * 3
    for number in range(3):
        studio.take(*task(number)).shoot()
    assert len(collector.requests) == 3
    assert counts(studio) == {("traces", "rejected"): 3, ("traces", "accepted"): 3}
    said = [line for line in log() if "rejected 1 of 2 spans: too \\x1b old" in line]
    assert len(said) == 2  # the 1st and the 2nd


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"x", b"[]", b"{}", b"null", b"\xff", b"[" * 10_000),
        *(b'{"partialSuccess": null}', b'{"partialSuccess": {"rejectedSpans": "many"}}'),
    ],
)
def test_whatever_a_collector_says_with_200_it_has_taken_all(collector, body):
    studio = Studio(collector, metrics=False)
    collector.answers = [(200, {}, body)]
    studio.take(*task(0)).shoot()
    assert counts(studio) == {("traces", "accepted"): 2}


def test_requests_that_wait_are_bounded_and_the_oldest_go(collector, log):
    studio = Studio(collector, metrics=False, max_waiting=8000, delay=0.0)
    collector.go()
    for number in range(30):
        with pytest.raises(TryLater):
            studio.take(*task(number)).shoot()
    collector.come()
    studio.shoot(2000.0)
    taken = numbers(collector)
    assert set(taken.values()) == {1}
    assert sorted(taken) == list(range(30 - len(taken), 30))
    dropped = counts(studio)["traces", "dropped"]
    assert dropped == 2 * (30 - len(taken)) > 0
    assert sum(int(line.split()[3]) for line in log() if "spans were dropped" in line) == dropped


def test_a_replay_waits_for_the_collector_but_not_for_ever(collector):
    studio = Studio(collector, clock=FakeClock(1000.0), metrics=False, batch=1)
    collector.answers = [unavailable(429, Retry_After="2"), 503, 503]
    studio.take(*task(0)).shoot()
    assert numbers(collector) == {0: 1}
    assert studio.waits[0] == 2
    collector.answers = [503] * 100
    with pytest.raises(TryLater):
        studio.take(*task(1)).shoot()
    assert 30 < sum(studio.waits[3:]) <= 60
    tried = len(collector.requests)
    with pytest.raises(TryLater):
        studio.take(*task(2)).shoot()
    assert len(collector.requests) == tried + 1


def test_a_replay_sends_whole_batches_until_its_end(collector):
    studio = Studio(collector, clock=FakeClock(1000.0), metrics=False, batch=4)
    studio.camera.install()
    for number in range(6):
        studio.take(*task(number)).shoot()
    assert [len(list(spans_of(each.decoded()))) for each in collector.requests] == [4, 4]
    studio.camera.cancel()
    assert numbers(collector) == dict.fromkeys(range(6), 1)


def test_the_last_snapshot_has_everything_and_is_tried_for_a_few_seconds(collector, log):
    studio = Studio(collector, delay=60.0)
    collector.answers = [503]
    studio.take(*task(0)).shoot(20.0)
    assert not collector.requests
    studio.camera.install()
    studio.camera.cancel()
    assert numbers(collector) == {0: 1}
    assert collector.accepted(METRICS)
    studio.camera.close()
    assert not [line for line in log() if "were not exported" in line]


def test_what_the_collector_did_not_take_before_the_end_is_said(collector, log):
    studio = Studio(collector)
    collector.answers = [503] * 100
    studio.camera.install()
    with pytest.raises(TryLater):
        studio.take(*task(0)).camera.cancel()
    studio.camera.close()
    assert any("2 spans were not exported" in line for line in log())


def test_snapshots_of_several_clusters_are_exported_together(collector):
    clusters = [Studio(collector, cluster=name, metrics=False) for name in ("eu", "us")]
    leader = clusters[0].camera
    leader.lead([each.camera for each in clusters])
    for number, each in enumerate(clusters):
        each.camera.share(2)
        each.take(*task(number))
    collector.answers = [503]
    with pytest.raises(TryLater):
        leader.capture()
    clusters[0].clock.now += 60.0
    leader.capture()
    by_cluster = {about["celery.cluster"] for about, _ in collector.spans()}
    assert by_cluster == {"eu", "us"}
    assert numbers(collector) == {0: 1, 1: 1}


# --- the spool ------------------------------------------------------------------------


def spooled(collector, folder, **options):
    """Return a studio that has been killed before, or never, and has a spool."""
    options = {"metrics": False, "spool": str(folder), **options}
    studio = Studio(collector, **options)
    studio.camera.install()
    return studio


def kill(studio):
    """End as kill -9 does, for all that anybody can see."""
    studio.camera.timer.stop()
    studio.camera.spool.close()


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_what_the_collector_has_not_taken_is_exported_by_the_next_evcam(
    collector, tmp_path, compression
):
    studio = spooled(collector, tmp_path / "spool")
    studio.take(*task(0)).shoot()
    collector.go()
    for number in (1, 2):
        with pytest.raises(TryLater):
            studio.take(*task(number)).shoot()
    assert studio.camera.spool.waiting == 4
    kill(studio)
    collector.come()
    again = spooled(collector, tmp_path / "spool", compression=compression)
    again.take(*task(3)).shoot()
    assert numbers(collector) == dict.fromkeys(range(4), 1)
    assert again.camera.spool.waiting == 0
    again.camera.close()
    again.camera.timer.stop()


def test_a_spool_is_bounded_and_what_is_in_it_that_is_no_request_left_out(collector, tmp_path, log):
    studio = spooled(collector, tmp_path, spool_size=2**20)
    for data in (b'{"v": 1}', b""):
        studio.camera.spool.append(Record(b"E", data, 1, 0.0, 0.0))
    studio.take(*task(0)).shoot()
    assert numbers(collector) == {0: 1}
    assert len([line for line in log() if "a record that is no request" in line]) == 2
    collector.answers = [503] * 1000
    for number in range(1, 400):
        fields = {"uuid": f"task {number}", "name": random.Random(number).randbytes(8000).hex()}
        with pytest.raises(TryLater):
            studio.take(
                *life("received", "started", "failed", traceback=fields["name"], **fields)
            ).shoot()
    assert studio.camera.spool.bytes <= 2**20
    assert studio.camera.spool.dropped > 0
    assert any("is full: of the spans and points in it the oldest" in line for line in log())
    kill(studio)


def test_a_spool_that_cannot_be_used_is_said_at_the_start(collector, tmp_path):
    studio = spooled(collector, tmp_path)
    with pytest.raises(OutputError, match=f"evcam process {os.getpid()} uses the spool"):
        spooled(collector, tmp_path)
    kill(studio)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot use the spool"):
        OTLP(State(), url=collector.url, spool=str(tmp_path / "file")).check()


# --- options --------------------------------------------------------------------------


def test_headers_are_sent_and_never_said(collector, tmp_path, monkeypatch, log):
    secret = "hunter2"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"x-key={secret},x-more=a%20b")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    loaded = load_camera("otlp", options={"metrics": "no"})
    camera = loaded(State())
    camera.check()
    file = tmp_path / "headers"
    file.write_text(f"authorization=Bearer%20{secret}\nx-team=shop\n")
    camera = load_camera(f"otlp:{collector.url}/below", options={"headers": f"@{file}"})(State())
    camera.check()
    file.write_text("x-team=other")
    camera.reopen()
    camera.check()
    file.write_text("x team")
    with pytest.raises(UsageError, match="entry 1 is not NAME=VALUE"):
        camera.reopen()
    camera.check()
    first, second, _, third, _, fourth, _ = [each.headers for each in collector.requests]
    assert (first["x-key"], first["x-more"]) == (secret, "a b")
    assert (second["authorization"], second["x-team"]) == (f"Bearer {secret}", "shop")
    assert third["x-team"] == fourth["x-team"] == "other"
    assert collector.requests[1].path == f"/below{TRACES}"
    assert secret not in camera.describe() + str(log())


def test_user_and_password_of_the_url_log_in(collector):
    url = collector.url.replace("//", "//me:s%40crt@")
    camera = OTLP(State(), url=url)
    camera.check()
    assert collector.requests[0].headers["authorization"] == "Basic bWU6c0BjcnQ="
    assert camera.describe() == f"traces and metrics at {collector.url}"


def test_a_collector_is_checked_with_empty_requests(collector):
    camera = OTLP(State(), url=collector.url)
    camera.check()
    assert [each.path for each in collector.requests] == [TRACES, METRICS]
    assert not list(collector.spans())
    collector.answers = [(403, {}, b'{"message": "no"}')]
    with pytest.raises(OutputError, match="/v1/traces answered 403 Forbidden: no"):
        camera.check()
    gone = OTLP(State(), url=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(OutputError, match="cannot reach http://127"):
        gone.check()


def test_a_dry_run_shows_what_would_be_exported(studio):
    studio.take(BEAT, *life("received", "started", "succeeded"))
    studio.camera._is_last = True
    shown = json.loads(dry_run(studio.camera.snapshot(studio.camera._sequence.next(1000.0))))
    assert [span["name"] for span in shown["spans"]] == ["wait", "shop.pay"]
    assert "celery.task.outcomes" in {metric["name"] for metric in shown["metrics"]}
    assert not studio.collector.requests


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "collector:4318"}, "url: it is no URL of HTTP"),
        ({"headers": "a"}, "headers: entry 1 is not NAME=VALUE"),
        ({"headers": "a=b,c d=e"}, "headers: entry 2 is not NAME=VALUE"),
        ({"headers": "a=%0d%0aX: y"}, "headers: the value of a cannot be sent"),
        ({"headers": "@/nowhere/x"}, "headers: cannot read /nowhere/x: No such file"),
        ({"traces": "no", "metrics": "no"}, "camera otlp has nothing to export"),
        ({"spool_size": "1K"}, "spool_size 1024 is too small"),
        ({"batch": "0"}, "batch: 0 is too few"),
        ({"max_series": "0"}, "max_series: 0 is too few"),
        ({"temporality": "x"}, '--camera-option temporality: "x" is not one of cumulative, delta'),
        ({"ca": "x.pem"}, "certificates are for https only"),
        ({"delay": "soon"}, "--camera-option delay: "),
    ],
)
def test_options_that_cannot_work_are_refused(options, words):
    with pytest.raises(UsageError) as caught:
        load_camera("otlp", options=options)(State())
    assert caught.value.message.startswith(words)
    assert "\n" not in caught.value.message


def test_the_default_is_a_collector_on_this_machine():
    assert OTLP(State(), traces=False).describe() == "metrics at http://localhost:4318"
    assert headers_of("") == {}
