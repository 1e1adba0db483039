"""What a collector of OpenTelemetry gets of real workers, against what really happened."""

from __future__ import annotations

import math
import signal
from collections import Counter

import pytest
from celery import chain, chord

from cluster.script import run_everything
from evtools.state import State
from servers.process import wait_until
from tools.collector import METRICS, Collector, attributes

pytestmark = pytest.mark.timeout(120)

CONSUMER = 5


@pytest.fixture
def collector():
    with Collector() as made:
        yield made


def test_spans_and_metrics_are_what_happened(
    evcam, collector, redis_server, event_exchange, worker, celery_capture
):
    url = redis_server.fresh_url()
    made = worker(url, event_exchange=event_exchange, result_backend=redis_server.fresh_url())
    made.wait_ready()
    capture = celery_capture(url, event_exchange)
    # It is slow, refuses at first, and hangs up.
    collector.answers = [(429, {"Retry-After": "1"}, b""), None, 503]
    exporting = evcam(
        *("-c", f"otlp:{collector.url}", "-F", "200ms", "--camera-option", "delay=1s"),
        *("-b", url, "--event-exchange", event_exchange),
    )
    exporting.wait_ready()
    sent = run_everything(made.app, capture)
    add, total = made.app.signature("cluster.add"), made.app.signature("cluster.total")
    chained = chain(add.clone((1, 2)), add.clone((3,)), add.clone((4,)), app=made.app)()
    together = chord([add.clone((1, 1)), add.clone((2, 2))], total, app=made.app)()
    for result in (chained, together):
        assert result.get(timeout=30)
        capture.wait_for(type="task-succeeded", uuid=result.id)
    state = State()
    state.apply(capture.wire)
    ended = {
        (task.uuid, place): attempt
        for task in state.tasks.values()
        for place, attempt in enumerate((*task.attempts, task))
        if attempt.ended is not None
    }
    runs_of = {}
    wait_until(lambda: sum(1 for _ in runs(collector)) >= len(ended), what="all the spans")
    assert exporting.stop(signal.SIGTERM) == 0, exporting.stderr
    for span in sorted(runs(collector), key=lambda span: span.start_time_unix_nano):
        runs_of.setdefault(attributes(span)["messaging.message.id"], []).append(span)

    # Each attempt that ended, once, in its state, at its times.
    assert Counter(map(len, runs_of.values())).total() == len({uuid for uuid, _ in ended})
    spans = [span for of_task in runs_of.values() for span in of_task]
    assert len(spans) == len({span.span_id for span in spans}) == len(ended)
    found = Counter((attributes(each)["messaging.message.id"], *_facts(each)) for each in spans)
    assert found == Counter(
        (uuid, attempt.state, _ns(attempt.started or attempt.ended), _ns(attempt.ended))
        for (uuid, _), attempt in ended.items()
    )
    held = {uuid: made.app.backend.get_task_meta(uuid)["status"] for uuid in runs_of}
    assert {uuid: attributes(of[-1])["celery.state"] for uuid, of in runs_of.items()} == held

    # Whoever has a parent is below it, in the trace of the root.
    everything = {span.span_id: span for _, span in collector.spans()}
    for task in state.tasks.values():
        for span in runs_of.get(task.uuid, ()):
            assert span.trace_id.hex() == task.root_id.replace("-", "")
            above = everything[everything[span.parent_span_id].parent_span_id or span.span_id]
            if attributes(span)["celery.retries"]:
                assert attributes(above)["messaging.message.id"] == task.uuid
            elif task.parent_id is None:
                assert above == span
            else:
                assert attributes(above)["messaging.message.id"] == task.parent_id
    links = [chained.parent.parent.id, chained.parent.id, chained.id]
    assert len({runs_of[uuid][0].trace_id for uuid in links}) == 1
    assert state.tasks[chained.id].parent_id == chained.parent.id
    retries = [attributes(each)["celery.retries"] for each in runs_of[sent["retried in vain"]]]
    assert retries == [0, 1, 2]
    (raised,) = runs_of[sent["failed"]][0].events
    assert attributes(raised)["exception.type"] == "HostileError"
    assert "Traceback (most recent call last)" in attributes(raised)["exception.stacktrace"]

    # The figures are those of the events.
    points = _points(collector.accepted(METRICS)[-1])
    outcomes = Counter()
    for point in points["celery.task.outcomes"]:
        outcomes[attributes(point)["celery.state"]] += point.as_int
    names = {"SUCCESS": "succeeded", "FAILURE": "failed", "RETRY": "retried", "REVOKED": "revoked"}
    # One that rejects its message also fails.
    assert {each: outcomes[each] for each in names} == {
        each: sum(getattr(attempt, name, None) is not None for attempt in ended.values())
        for each, name in names.items()
    }
    runtimes = [each.measured for each in ended.values() if each.succeeded is not None]
    histograms = points["celery.task.runtime"]
    assert sum(point.count for point in histograms) == len(runtimes)
    assert math.isclose(sum(point.sum for point in histograms), sum(runtimes))
    assert all(sum(point.bucket_counts) == point.count for point in histograms)


def runs(collector):
    return [span for _, span in collector.spans() if span.kind == CONSUMER]


def _facts(span):
    return attributes(span)["celery.state"], span.start_time_unix_nano, span.end_time_unix_nano


def _ns(moment):
    return round(moment * 1e6) * 1000


def _points(message):
    (resource,) = message.resource_metrics
    return {
        metric.name: getattr(metric, metric.WhichOneof("data")).data_points
        for metric in resource.scope_metrics[0].metrics
    }


def test_kill_9_loses_no_request_that_is_in_the_spool(
    evcam, collector, redis_server, event_exchange, sender, tmp_path
):
    url = redis_server.fresh_url()
    options = ("-c", f"otlp:{collector.url}", "-F", "200ms", "-b", url)
    options += ("--event-exchange", event_exchange, "--camera-option", f"spool={tmp_path}/spool")
    options += ("--camera-option", "delay=0", "--camera-option", "metrics=no")
    events = sender(url, event_exchange)

    def run(number):
        fields = {"uuid": f"task {number}", "hostname": "celery@one"}
        events.send("task-received", name="shop.pay", retries=0, **fields)
        events.send("task-started", **fields)
        events.send("task-succeeded", result="1", runtime=0.1, **fields)

    def taken():
        return Counter(attributes(each)["messaging.message.id"] for each in runs(collector))

    first = evcam(*options)
    first.wait_ready()
    run(0)
    wait_until(lambda: taken() == {"task 0": 1}, what="the first task")
    collector.go()
    run(1)
    first.wait_stderr("Connection refused")
    first.send_signal(signal.SIGKILL)
    first.wait()
    collector.come()
    second = evcam(*options)
    second.wait_stderr("from before are still to be exported")
    wait_until(lambda: len(taken()) == 2, what="the task in the spool")
    assert second.stop(signal.SIGTERM) == 0, second.stderr
    assert taken() == {"task 0": 1, "task 1": 1}
