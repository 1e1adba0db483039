"""evcam's metrics, health and lines against what really happened."""

from __future__ import annotations

import json
import signal
from collections import Counter

import pytest
from prometheus_client.openmetrics import parser as openmetrics

from cluster.script import run_everything
from servers.ports import free_port
from servers.process import wait_until
from servers.rabbitmq import RabbitMQServer
from tools.depths import depth_of
from tools.site import Site, total

pytestmark = pytest.mark.timeout(120)

#: What the counters are called that count the ends of tasks, by state.
ENDS = {"SUCCESS": "succeeded", "FAILURE": "failed", "REVOKED": "revoked"}


@pytest.fixture
def site():
    return Site()


def lines(path):
    text = path.read_bytes()
    assert text.endswith(b"\n")
    return [json.loads(line) for line in text.splitlines()]


def last_of(written):
    """Return each task as the last line that has it tells of it, by uuid."""
    return {task["uuid"]: task for line in written for task in line["tasks"]}


def states_in(path):
    """Return the last state of each task, as far as the last line that is whole."""
    whole, *_ = path.read_bytes().rpartition(b"\n") if path.exists() else (b"",)
    written = last_of(map(json.loads, whole.splitlines()))
    return {uuid: task["state"] for uuid, task in written.items()}


# --- what happened -----------------------------------------------------------------


@pytest.fixture
def happened(broker_url, event_exchange, redis_server, worker, celery_capture):
    """A worker and what it takes to let everything happen: all ends, by uuid."""
    made = worker(
        broker_url, event_exchange=event_exchange, result_backend=redis_server.fresh_url()
    )
    made.wait_ready()
    capture = celery_capture(broker_url, event_exchange)

    def play():
        run_everything(made.app, capture)
        uuids = {e["uuid"] for e in capture.wire if e["type"] == "task-sent"}
        backend = made.app.backend
        return {uuid: backend.get_task_meta(uuid, cache=False)["status"] for uuid in uuids}

    return play


@pytest.mark.parametrize(
    ("written", "hosts", "words"),
    [
        (":{}", ["127.0.0.1"], "http://127.0.0.1:{} (this machine only)"),
        ("*:{}", ["127.0.0.1", "[::1]"], "http://[::]:{} (all addresses)"),
    ],
)
def test_the_log_says_where_it_listens(evcam, written, hosts, words):
    port = free_port()
    running = evcam("-c", "prometheus", "--demo", "--listen", written.format(port))
    running.wait_stderr(f"metrics at {words.format(port)}")
    for host in hosts:
        site = Site()
        site.address = f"{host}:{port}"
        # Alive it may not be yet.
        assert site.get("/metrics")[0] == 200
    assert running.stop(signal.SIGTERM) == 0


def test_metrics_and_lines_have_exactly_what_happened(
    evcam, site, broker_url, event_exchange, happened, tmp_path
):
    where = ("-b", broker_url, "--event-exchange", event_exchange)
    prom, jsonl = tmp_path / "celery.prom", tmp_path / "celery.jsonl"
    metering = evcam("-c", f"prometheus:{prom}", "--listen", site.address, *where)
    writing = evcam("-c", f"jsonl:{jsonl}", "-F", "0.3", *where)
    metering.wait_ready()
    writing.wait_ready()
    held = happened()
    ends = Counter(held.values())
    # Of the ignored one nobody tells that it ended.
    assert set(ends) == {*ENDS, "STARTED"}
    metrics_are_of(site, ends)
    failures_are_told_apart(site.metrics())
    openmetrics_is_the_same(site, ends)
    wait_until(lambda: states_in(jsonl) == held, what="all ends in the lines")
    assert metering.stop(signal.SIGTERM) == 0, metering.stderr
    assert writing.stop(signal.SIGTERM) == 0, writing.stderr
    # The file is as of the last shot, at the end.
    for state, step in ENDS.items():
        counted = total(prom.read_text(), f"celery_task_{step}_total")
        assert counted == ends[state]
    lines_are_of(lines(jsonl), held)


def metrics_are_of(site, ends):
    """Wait until the metrics are those of tasks with these ends."""
    for state, step in ENDS.items():
        site.wait_value(f"celery_task_{step}_total", ends[state])
    # One was tried again with success, one in vain; each attempt was sent.
    retried = 1 + 2
    site.wait_value("celery_task_retried_total", retried)
    site.wait_value("celery_task_rejected_total", 2)
    site.wait_value("celery_task_sent_total", ends.total() + retried)
    site.wait_value("celery_task_runtime_count", ends["SUCCESS"])
    site.wait_value("celery_worker_up", 1)
    site.wait_value("celery_tasks", 1, state="STARTED")


def failures_are_told_apart(text):
    for raised, number in (
        *(("HostileError", 2), ("NotRegistered", 1), ("reject", 1)),
        *(("TimeLimitExceeded", 1), ("SoftTimeLimitExceeded", 1)),
    ):
        assert total(text, "celery_task_failed_total", exception=raised) == number
    assert "\x1b" not in text


def openmetrics_is_the_same(site, ends):
    accept = "application/openmetrics-text;version=1.0.0"
    text = site.get("/metrics", Accept=accept)[1]
    found = [
        sample.value
        for family in openmetrics.text_string_to_metric_families(text)
        if family.name == "celery_task_succeeded"
        for sample in family.samples
    ]
    assert sum(found) == ends["SUCCESS"]


def lines_are_of(written, held):
    """Check that snapshots tell of all tasks how they ended."""
    assert [line["sequence"] for line in written] == list(range(1, len(written) + 1))
    assert {uuid: task["state"] for uuid, task in last_of(written).items()} == held
    assert written[-1]["steps"]["succeeded"] == Counter(held.values())["SUCCESS"]
    assert written[-1]["lost"] == written[-1]["dropped"] == 0
    assert not written[0]["warm"]
    assert written[-1]["warm"]


def test_a_worker_that_says_goodbye_is_down(evcam, site, broker_url, event_exchange, worker):
    made = worker(broker_url, event_exchange=event_exchange)
    made.wait_ready()
    evcam(
        *("-c", "prometheus", "--camera-option", "hostname=yes"),
        *("-b", broker_url, "--event-exchange", event_exchange),
        *("--listen", site.address),
    ).wait_ready()
    site.wait_value("celery_worker_up", 1, hostname=made.hostname)
    made.stop()
    site.wait_value("celery_worker_up", 0, hostname=made.hostname)
    site.wait_value("celery_workers", 1, status="offline")


def test_queues_are_as_long_as_operators_see_them(
    evcam, site, broker, broker_url, event_exchange, worker
):
    made = worker(broker_url, event_exchange=event_exchange, concurrency=2)
    made.app.conf.task_send_sent_event = False
    unnamed = f"{made.queue}-unnamed"
    for priority in (0, 3, 3, 9, 9):
        made.app.send_task("cluster.add", queue=unnamed, priority=priority)
    evcam(
        *("-c", "prometheus", "--camera-option", f"queues={unnamed}", "-b", broker_url),
        *("--event-exchange", event_exchange, "--listen", site.address),
    ).wait_ready()
    # RabbitMQ says later that it has a message.
    wait_until(lambda: depth_of(broker, broker_url, unnamed)[0] == 5, what="all messages")
    site.wait_value("celery_queue_length", 5, queue_name=unnamed)
    site.wait_value("celery_active_worker_count", 0, queue_name=unnamed)
    site.wait_value("celery_queue_length", 0, queue_name=made.queue)
    site.wait_value("celery_active_worker_count", 1, queue_name=made.queue)
    site.wait_value("celery_active_process_count", 2, queue_name=made.queue)
    # Redis does not know who consumes.
    counts = (1, 0) if isinstance(broker, RabbitMQServer) else (None, None)
    for queue, count in zip((made.queue, unnamed), counts, strict=True):
        site.wait_value("celery_active_consumer_count", count, queue_name=queue)


# --- health ------------------------------------------------------------------------


def test_without_workers_a_fresh_connection_tells_that_we_are_ready(
    evcam, site, broker_url, event_exchange
):
    evcam(
        *("-c", "prometheus", "--listen", site.address, "-b", broker_url),
        *("--event-exchange", event_exchange),
    ).wait_ready()
    assert site.get("/livez")[0] == 200
    status, answer = site.get("/readyz")
    assert status == 200
    assert json.loads(answer)["reason"] == "no heartbeat, but the broker accepts logins"


def test_while_the_broker_is_away_we_are_alive_and_not_ready(evcam, site, own_broker):
    running = evcam("-c", "prometheus", "--listen", site.address, "-b", own_broker.url)
    running.wait_ready()
    site.wait_ready()
    own_broker.stop()
    away = (503, {"ready": False, "reason": "there is no connection"})

    def told():
        status, answer = site.get("/readyz")
        return status, json.loads(answer)

    # It may notice first that nobody can log in any more.
    wait_until(lambda: told() == away, what=lambda: f"{away}, not {told()}")
    assert site.get("/livez")[0] == 200
    text = site.metrics()
    assert total(text, "evcam_connected") == 0
    # Who cannot see does not say that nobody is there.
    site.wait_value("celery_worker_up", None)
    own_broker.start()
    site.wait_ready()
    site.wait_value("evcam_connected", 1)
    site.wait_value("evcam_reconnects_total", 1)
    text = site.metrics()
    assert total(text, "evcam_gaps_total") == 1
    assert total(text, "evcam_gap_seconds_total") > 0
    assert running.stop(signal.SIGTERM) == 0, running.stderr


def test_a_camera_that_cannot_write_is_told(evcam, site, redis_url):
    running = evcam(
        *("-c", "jsonl:/dev/full", "-F", "0.1", "-b", redis_url), *("--listen", site.address)
    )
    running.wait_ready()
    wait_until(
        lambda: (total(site.metrics(), "evcam_snapshot_failures_in_row") or 0) >= 2,
        what=site.metrics,
    )
    assert site.get("/livez")[0] == 200
    text = site.metrics()
    assert total(text, "evcam_snapshots_total", result="failed") >= 2
    assert total(text, "evcam_snapshots_total", result="taken") == 0
    status = json.loads(site.get("/status")[1])
    assert "No space left on device" in status["counters"]["last_error"]
    running.wait_stderr("No space left on device")
    running.stop(signal.SIGTERM)


# --- lines -------------------------------------------------------------------------


def test_logs_that_are_rotated_under_load_lose_no_line(evcam, site, redis_url, sender, tmp_path):
    path = tmp_path / "x.jsonl"
    running = evcam(
        *("-c", f"jsonl:{path}", "-F", "0.05", "-b", redis_url), *("--listen", site.address)
    )
    running.wait_ready()
    publish = sender(redis_url)
    sent = 0
    for number in range(5):
        for _ in range(100):
            publish.send("task-sent", uuid=f"task{sent}", name="x", retries=0)
            sent += 1
        site.wait_value("evcam_events_total", sent, type="task-sent")
        wait_until(path.exists, what="the file")
        path.rename(tmp_path / f"x.{number}.jsonl")
        running.send_signal(signal.SIGHUP)
    assert running.stop(signal.SIGTERM) == 0, running.stderr
    written = [line for each in tmp_path.glob("x*.jsonl") for line in lines(each)]
    sequences = sorted(line["sequence"] for line in written)
    assert sequences == list(range(1, len(written) + 1))
    uuids = [task["uuid"] for line in written for task in line["tasks"]]
    assert sorted(uuids) == sorted(f"task{number}" for number in range(sent))
