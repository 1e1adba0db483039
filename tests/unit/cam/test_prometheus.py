"""The camera for Prometheus: the metrics of a cluster, over HTTP and in files."""

import json
import os
import re
import resource
import stat
import threading
import urllib.request

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from evtools.cam.loader import load_camera
from evtools.cam.prometheus import ClusterMetrics, Format, Prometheus, render
from evtools.cam.schedule import Timer
from evtools.cam.snapshot import dry_run
from evtools.errors import OutputError, UsageError
from evtools.state import OTHERS, UNKNOWN, State
from tools.stories import STORIES
from tools.told import CLIENT, OTHER, UUID, WORKER, life, told

TASK = {"name": "shop.pay", "queue_name": "mail"}
READERS = {
    Format.TEXT: text_string_to_metric_families,
    Format.OPENMETRICS: openmetrics.text_string_to_metric_families,
}


class Watched:
    """A state whose changes the metrics see."""

    def __init__(self, **scheme):
        self.state = State()
        self.metrics = ClusterMetrics(**scheme)

    def take(self, *events):
        self.metrics.observe(self.state.changes(events))
        return self

    def look(self, now=20.0):
        self.metrics.look(self.state, now)
        return self

    def samples(self, name):
        """Return the samples of a name with their labels."""
        return {
            tuple(sorted(dict(labels).items())): value
            for family in self.metrics.families()
            for suffix, labels, value in family.samples
            if f"celery_{name}" == family.name + suffix
        }

    def value(self, name, /, **labels):
        return self.samples(name).get(tuple(sorted(labels.items())))


def known(*, hostname=WORKER):
    """Return a heartbeat of a worker that is known from the beginning."""
    return told("worker-heartbeat", 1.0, hostname=hostname)


# --- counters -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "step", ["received", "started", "succeeded", "retried", "revoked", "rejected", "cancelled"]
)
def test_each_step_of_a_task_is_counted(step):
    watched = Watched().take(known(), *life("sent", step))
    assert watched.value(f"task_{step}_total", **TASK) == 1


def test_failures_are_counted_by_exception():
    watched = Watched()
    for number, raised in enumerate(
        ["OSError(5)", "OSError(7)", "proj.errors.Broken('x')", "???", None]
    ):
        failed = told("task-failed", 11.0, uuid=f"task{number}", exception=raised)
        watched.take(*life("sent", uuid=f"task{number}"), failed)
    found = {
        dict(labels)["exception"]: value
        for labels, value in watched.samples("task_failed_total").items()
    }
    assert found == {"": 0, "OSError": 2, "proj.errors.Broken": 1, UNKNOWN: 2}


def test_what_may_be_counted_next_begins_at_zero():
    watched = Watched().take(*life("sent"))
    for step in ("received", "started", "succeeded", "retried", "revoked", "cancelled"):
        assert watched.value(f"task_{step}_total", **TASK) == 0
    assert watched.value("task_failed_total", exception="", **TASK) == 0


def runs(number, factor=1.0):
    """Return runs of one task under one id, one after the other."""
    steps = ("sent", "received", "started", "succeeded")
    events = [event for n in range(number) for event in life(*steps, start=10.0 * n + 10)]
    return [{**event, "timestamp": event["timestamp"] * factor} for event in events]


def tries(number):
    """Return tries of a task, each sent by the process of the one before.

    The events of a worker on a try come together, after the next one was sent.
    """
    events = [told("task-sent")]
    for n in range(number):
        at = 10.0 + 5 * n
        if n + 1 < number:
            events.append(told("task-sent", at + 1.9, retries=n + 1, hostname=WORKER))
        events += [
            told("task-received", at + 0.5, retries=n),
            told("task-started", at + 1),
            told("task-retried" if n + 1 < number else "task-failed", at + 2),
        ]
    return events


@pytest.mark.parametrize("number", [3, 4, 16, 17, 200])
@pytest.mark.parametrize("factor", [1.0, 1.7e11, -1.7e8, float("nan")], ids=str)
def test_each_run_of_one_id_counts_whatever_its_times_are(number, factor):
    value = Watched().take(known(), *runs(number, factor)).value
    for step in ("sent", "received", "started", "succeeded"):
        assert value(f"task_{step}_total", **TASK) == number
    assert value("task_queue_wait_time_count", **TASK) == number
    if factor == 1.0:
        assert value("task_runtime_count", **TASK) == number
        assert value("task_queue_wait_time_sum", **TASK) == 2 * number
        assert value("task_prefetch_time_seconds_count", **TASK) == number


@pytest.mark.parametrize("number", [2, 4, 13, 14, 50])
def test_each_try_waited(number):
    value = Watched().take(known(), *tries(number)).value
    assert value("task_received_total", **TASK) == number
    assert value("task_retried_total", **TASK) == number - 1
    assert value("task_queue_wait_time_count", **TASK) == number
    assert value("task_prefetch_time_seconds_count", **TASK) == number


def figures(*batches):
    watched = Watched().take(known())
    for batch in batches:
        watched.take(*batch)
    return {
        (family.name + suffix, *labels): round(value, 6)
        for family in watched.metrics.families()
        for suffix, labels, value in family.samples
    }


@pytest.mark.parametrize("size", [1, 2, 24, 1000])
@pytest.mark.parametrize("events", [runs(200), tries(4), tries(50)])
def test_the_metrics_are_the_same_however_events_come_together(events, size):
    batches = [events[at : at + size] for at in range(0, len(events), size)]
    assert figures(*batches) == figures(events)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_batching_changes_the_metrics(data):
    names = data.draw(st.lists(st.sampled_from(sorted(STORIES)), min_size=1, max_size=5))
    events = [
        {**event, "uuid": f"task{number}"}
        for number, name in enumerate(names)
        for event in STORIES[name].events
    ]
    rest = events = data.draw(st.permutations(events))
    batches = []
    while rest:
        size = data.draw(st.integers(1, 30))
        batches.append(rest[:size])
        rest = rest[size:]
    assert figures(*batches) == figures(events)


def test_too_many_names_are_counted_together():
    watched = Watched(max_series=3)
    for number in range(10):
        watched.take(*life("sent", uuid=f"task{number}", name=f"name{number}"))
    assert watched.value("task_sent_total", name=OTHERS, queue_name=OTHERS) == 7
    assert sum(watched.samples("task_sent_total").values()) == 10
    assert watched.value("series_folded_total") == 7


# --- workers as labels --------------------------------------------------------------


def test_workers_can_be_a_label():
    watched = Watched(hostname=True).take(known(), *life("sent", "received", "started", "failed"))
    value = watched.value
    assert value("task_sent_total", **TASK, hostname="generic") == 1
    for step in ("received", "started"):
        assert value(f"task_{step}_total", **TASK, hostname=WORKER) == 1
    assert value("task_failed_total", **TASK, exception="OSError", hostname=WORKER) == 1
    assert CLIENT not in str(watched.metrics.families())
    # Nothing is to be sent by a worker, nor received by a client.
    assert len(watched.samples("task_sent_total")) == 1
    assert len(watched.samples("task_received_total")) == 1


def test_the_steps_of_a_task_belong_to_the_workers_that_took_them():
    watched = Watched(hostname=True).take(*STORIES["retried at the other worker"].events)
    for worker in (WORKER, OTHER):
        assert watched.value("task_started_total", **TASK, hostname=worker) == 1
    assert watched.value("task_failed_total", **TASK, exception="OSError", hostname=OTHER) == 1


def test_the_series_of_a_worker_leave_with_it_and_those_of_clients_stay():
    watched = Watched(hostname=True).take(known(), *life("sent", "received", "started"))
    watched.look(20.0)
    assert watched.value("worker_up", hostname=WORKER) == 1
    # It leaves the state when another one sends a heartbeat much later.
    watched.take(told("worker-heartbeat", 5000.0, hostname=OTHER)).look(5000.0)
    assert watched.samples("worker_up") == {(("hostname", OTHER),): 1}
    assert watched.samples("task_started_total") == {}
    assert watched.samples("task_prefetch_time_seconds_count") == {}
    assert watched.value("task_sent_total", **TASK, hostname="generic") == 1


# --- histograms ---------------------------------------------------------------------


def test_the_run_time_is_measured_by_the_worker_and_of_successes_only():
    watched = Watched().take(*life("received", "started", "succeeded"))
    watched.take(*life("received", "started", "failed", uuid="b"))
    unnamed = {**TASK, "queue_name": UNKNOWN}
    assert watched.value("task_runtime_sum", **unnamed) == 0.5
    assert watched.value("task_runtime_bucket", le="0.5", **unnamed) == 1
    assert watched.value("task_runtime_bucket", le="0.25", **unnamed) == 0


@pytest.mark.parametrize("runtime", ["x", None, -1, True, 2**80, float("nan"), [1]])
def test_a_bad_run_time_is_worked_out_or_not_counted(runtime):
    succeeded = told("task-succeeded", 12.0, runtime=runtime)
    watched = Watched().take(*life("received", "started"), succeeded)
    assert list(watched.samples("task_runtime_sum").values()) == [1.0]
    assert Watched().take(succeeded).samples("task_runtime_sum") == {}


ETA = "1970-01-01T00:00:11+00:00"


@pytest.mark.parametrize(
    ("events", "wait", "prefetch"),
    [
        (life("sent", "received", "started"), {2.0}, {1.0}),
        (life("sent", "received", "started", eta=ETA), {1.0}, set()),  # that was asked for
        (life("received", "started"), set(), {1.0}),
        ([told("task-started", 10.0), told("task-received", 11.0)], set(), set()),
    ],
)
@pytest.mark.parametrize("order", ["as sent", "sent last", "one by one"])
def test_the_wait_is_from_sending_to_start_and_the_prefetch_from_receipt(
    events, wait, prefetch, order
):
    if order == "sent last":
        events = sorted(events, key=lambda event: event["type"] == "task-sent")
    watched = Watched().take(known())
    for batch in [[event] for event in events] if order == "one by one" else [events]:
        watched.take(*batch)
    assert set(watched.samples("task_queue_wait_time_sum").values()) == wait
    assert set(watched.samples("task_queue_wait_time_count").values()) <= {1}
    assert set(watched.samples("task_prefetch_time_seconds_sum").values()) == prefetch


# --- gauges -------------------------------------------------------------------------


def test_workers_that_are_alive_are_up():
    watched = Watched().take(
        told("worker-heartbeat", 18.0, active=3),
        told("worker-heartbeat", 18.0, hostname=OTHER, active=None),
        told("worker-offline", 18.0, hostname="celery@three", active=9),
    )
    watched.look(19.0)
    assert watched.value("worker_up") == 2
    assert watched.value("worker_tasks_active") == 3
    assert watched.value("workers", status="online") == 2
    assert watched.value("workers", status="offline") == 1
    assert watched.value("snapshot_timestamp_seconds") == 19.0


def test_a_worker_that_is_gone_is_zero_before_it_leaves():
    watched = Watched(hostname=True).take(told("worker-heartbeat", 18.0, active=3)).look(300.0)
    assert watched.value("worker_up", hostname=WORKER) == 0
    assert watched.value("worker_tasks_active", hostname=WORKER) == 0


def test_no_worker_at_all_is_a_zero():
    assert Watched().look().value("worker_up") == 0
    assert Watched(hostname=True).look().samples("worker_up") == {}


def test_open_tasks_are_counted_by_state():
    watched = Watched().take(
        told("worker-heartbeat", 18.0),
        *life("sent", uuid="a"),
        *life("sent", "received", uuid="b"),
        *life("sent", "received", "started", uuid="c"),
        *life("sent", "received", "started", "succeeded", uuid="d"),
        *life("sent", "received", uuid="e", eta="2030-01-01T00:00:00"),
    )
    watched.look(19.0)
    for state, count in (("PENDING", 1), ("RECEIVED", 2), ("STARTED", 1)):
        assert watched.value("tasks", state=state, **TASK) == count
    assert len(watched.samples("tasks")) == 3
    # One waits for its time and not for a process.
    assert watched.value("worker_prefetched_tasks", **TASK) == 1
    watched.look(500.0)
    assert watched.value("tasks", state="LOST", **TASK) == 3
    assert watched.samples("worker_prefetched_tasks") == {}


def test_prefetched_tasks_can_be_counted_by_worker():
    watched = Watched(hostname=True)
    watched.take(told("worker-heartbeat", 18.0), *life("sent", "received")).look(19.0)
    assert watched.value("worker_prefetched_tasks", **TASK, hostname=WORKER) == 1


# --- all of it ----------------------------------------------------------------------


def test_events_of_any_shape_are_survived():
    odd = {"name": ["x"], "queue": {"a": 1}, "hostname": 7, "timestamp": "soon"}
    watched = Watched(hostname=True)
    for step in ("sent", "received", "started", "succeeded", "failed", "strange"):
        watched.take({"type": f"task-{step}", "uuid": UUID, **odd})
        watched.take({"type": f"task-{step}"})
    watched.take(told("worker-heartbeat", 1.0, active="many")).look()
    assert watched.metrics.families()


#: Texts that provoke, and any others.
WORDS = st.one_of(
    st.sampled_from(["", '"', "\\", "\n", "\\n", "}", "# EOF", "\ud800", "\x00", "é"]),
    st.text(st.characters(exclude_categories=()), max_size=20),
)


@pytest.mark.parametrize("form", Format)
@settings(max_examples=50, deadline=None)
@given(names=st.lists(st.tuples(WORDS, WORDS, WORDS, WORDS), max_size=8))
def test_whatever_things_are_called_prometheus_can_read_it(form, names):
    watched = Watched(hostname=True, max_series=5)
    for number, (name, queue, hostname, raised) in enumerate(names):
        uuid, host = f"task{number}", {"hostname": hostname}
        watched.take(
            *life("sent", uuid=uuid, name=name, queue=queue),
            told("task-received", 11.0, uuid=uuid, name=name, **host),
            told("task-started", 12.0, uuid=uuid, **host),
            told("task-failed", 13.0, uuid=uuid, exception=raised, **host),
        )
    text = render(watched.look().metrics.families(), form).decode()
    found = [
        (sample.name, *sorted(sample.labels.items()))
        for family in READERS[form](text)
        for sample in family.samples
    ]
    assert len(found) == len(set(found))
    assert all(line.isprintable() for line in text.split("\n"))


def test_metrics_can_be_asked_for_while_events_come():
    watched, errors = Watched(), []

    def ask():
        try:
            while not done.is_set():
                watched.metrics.families()
        except RuntimeError as error:
            errors.append(error)

    done = threading.Event()
    asker = threading.Thread(target=ask)
    asker.start()
    for number in range(1000):
        name = f"name{number % 700}"
        watched.take(*life("sent", "received", uuid=f"task{number}", name=name))
    done.set()
    asker.join()
    assert errors == []


# === the camera =====================================================================


class Studio:
    """A camera that is warm and connected, and its state."""

    def __init__(self, clock, **options):
        self.state = State()
        self.camera = Prometheus(self.state, timer=Timer(clock), **options)
        self.camera.load(self.camera._sequence, clock)
        self.camera._sequence.subscribed(0.0)

    def take(self, *events):
        self.camera.observe(self.state.apply(events))
        return self

    def shoot(self):
        self.camera.capture()
        return self

    def __enter__(self):
        self.camera.install()
        return self

    def __exit__(self, *exc_info):
        self.camera.close()
        self.camera.timer.stop()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "celery.prom"


@pytest.fixture
def studio(clock, path):
    return Studio(clock, path=str(path))


def samples_of(text):
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_snapshot_is_a_file_that_everybody_may_read(studio, path):
    before = os.umask(0o077)
    try:
        studio.take(told("worker-heartbeat", 999.0), *life("sent")).shoot()
    finally:
        os.umask(before)
    found = samples_of(path.read_text())
    assert found["celery_task_sent_total", "mail", "shop.pay"] == 1
    assert found["celery_worker_up",] == 1
    assert found["celery_snapshot_timestamp_seconds",] == 1000.0
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    studio.camera.close()
    assert path.exists()


def test_the_file_is_complete_or_not_there(studio, path):
    studio.take(*life("sent")).shoot()
    text = path.read_bytes()
    studio.take(*life("received"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(OutputError, match="cannot write"):
            studio.shoot()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == text
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    studio.shoot()
    assert b'task_received_total{name="shop.pay",queue_name="mail"} 1' in path.read_bytes()


def test_no_file_of_another_is_written(studio, path, tmp_path):
    victims = [tmp_path / "linked", tmp_path / "named"]
    for victim in victims:
        victim.write_text("mine")
    path.symlink_to(victims[0])
    path.with_name(f".{path.name}.{os.getpid()}.tmp").hardlink_to(victims[1])
    studio.shoot()
    assert [victim.read_text() for victim in victims] == ["mine", "mine"]
    assert b"celery_" in path.read_bytes()


def test_metrics_are_served_where_asked_for(clock):
    with Studio(clock, listen="127.0.0.1:0") as studio:
        address = studio.camera.address
        studio.camera.install()
        assert studio.camera.address == address
        url = f"http://{address}/metrics"
        assert studio.camera.describe() == f"metrics at {url}"
        with urllib.request.urlopen(url) as response:
            assert ("celery_worker_up",) not in samples_of(response.read().decode())
        # Counters are as of now, gauges as of the last snapshot.
        studio.take(*life("sent")).shoot().take(*life("sent", uuid="b"))
        with urllib.request.urlopen(url) as response:
            found = samples_of(response.read().decode())
    assert found["celery_task_sent_total", "mail", "shop.pay"] == 2
    assert found["celery_tasks", "PENDING", "mail", "shop.pay"] == 1
    assert studio.camera.address is None


def test_an_address_that_is_taken_is_refused_before_the_first_snapshot(clock):
    with Studio(clock, listen="127.0.0.1:0") as first:
        second = Studio(clock, listen=str(first.camera.address)).camera
        for needs_place in (second.check, second.install):
            with pytest.raises(OutputError, match="Address already in use"):
                needs_place()


def test_gauges_are_absent_while_they_cannot_be_known(clock, path):
    studio = Studio(clock, path=str(path))
    studio.camera._sequence.subscribed(999.0)  # just now
    studio.take(*life("sent")).shoot()
    assert ("celery_worker_up",) not in samples_of(path.read_text())
    assert samples_of(path.read_text())["celery_task_sent_total", "mail", "shop.pay"] == 1
    clock.now = 1010.0
    studio.shoot()
    assert samples_of(path.read_text())["celery_worker_up",] == 0
    studio.camera._sequence.lost()
    studio.shoot()
    assert ("celery_worker_up",) not in samples_of(path.read_text())


def test_a_dry_run_shows_the_lines(studio):
    studio.take(*life("sent"))
    snapshot = studio.camera.snapshot(studio.camera._sequence.next(1000.0))
    lines = json.loads(dry_run(snapshot))["metrics"]
    assert 'celery_task_sent_total{name="shop.pay",queue_name="mail"} 1' in lines


def test_there_must_be_a_place(clock, tmp_path, studio, path):
    camera = Studio(clock).camera
    for needs_place in (camera.check, camera.install):
        with pytest.raises(UsageError, match="nowhere to put its metrics"):
            needs_place()
    camera.is_served = True
    camera.check()
    assert camera.describe() == "metrics at the address of --listen"
    with pytest.raises(OutputError, match="cannot write into"):
        Studio(clock, path=str(tmp_path / "no" / "x.prom")).camera.check()
    studio.camera.check()
    assert studio.camera.describe() == f"metrics at {path}"


def test_options_are_given_as_text(tmp_path):
    options = {
        "listen": "9808",
        "prefix": "shop_",
        "hostname": "yes",
        "runtime_buckets": "1,5,60",
        "wait_buckets": "0.5",
        "max_series": "7",
    }
    camera = load_camera(f"prometheus:{tmp_path}/x.prom", options=options)(State())
    assert camera.describe() == f"metrics at {tmp_path}/x.prom and http://127.0.0.1:9808/metrics"
    camera.observe(State().apply(life("sent", "received", "started", "succeeded")))
    text = render(camera.families()).decode()
    assert 'shop_task_sent_total{name="shop.pay",queue_name="mail",hostname="generic"} 1' in text
    for name, bounds in (("runtime", ("1.0", "5.0", "60.0")), ("queue_wait_time", ("0.5",))):
        found = re.findall(rf'shop_task_{name}_bucket.*le="([\d.]+)"', text)
        assert tuple(found) == bounds


@pytest.mark.parametrize(
    "bad",
    [
        {"prefix": "1x"},
        {"prefix": ""},
        {"prefix": "a-b"},
        {"max_series": 0},
        {"listen": "nowhere"},
        {"runtime_buckets": ()},
        {"runtime_buckets": (1.0, 1.0)},
        {"wait_buckets": (0.0, 1.0)},
        {"wait_buckets": (1.0, float("inf"))},
        {"wait_buckets": (float("nan"),)},
    ],
)
def test_options_that_cannot_work_are_refused(clock, bad):
    with pytest.raises(UsageError):
        Studio(clock, **bad)
