"""The camera for Prometheus: the metrics of a cluster, over HTTP and in files."""

import json
import os
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
from evtools.cam.metrics import Format, render
from evtools.cam.prometheus import ClusterMetrics, Prometheus, Scheme
from evtools.cam.schedule import Timer
from evtools.cam.snapshot import dry_run
from evtools.errors import OutputError, UsageError
from evtools.state import OTHERS, UNKNOWN, State
from tools.clock import FakeClock
from tools.stories import STORIES
from tools.told import CLIENT, OTHER, UUID, WORKER, life, told

TASK = {"name": "shop.pay", "queue_name": "mail"}


class Watched:
    """A state whose changes the metrics see."""

    def __init__(self, **scheme):
        self.state = State()
        self.metrics = ClusterMetrics(Scheme(**scheme))

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
            if family.name + suffix == name
        }

    def value(self, name, /, **labels):
        return self.samples(name).get(tuple(sorted(labels.items())))


def known(*, pid=77, hostname=WORKER):
    """What a worker tells of itself that is known from the beginning."""
    return told("worker-heartbeat", 1.0, hostname=hostname, pid=pid)


# --- counters -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "step", ["received", "started", "succeeded", "retried", "revoked", "rejected", "cancelled"]
)
def test_each_step_of_a_task_is_counted(step):
    watched = Watched().take(known(), *life("sent", step))
    assert watched.value(f"celery_task_{step}_total", **TASK) == 1


def test_duplicates_are_counted_once():
    watched = Watched().take(*life("sent", "received", "started", "succeeded") * 3)
    for step in ("sent", "received", "started", "succeeded"):
        assert watched.value(f"celery_task_{step}_total", **TASK) == 1
    assert watched.value("celery_task_runtime_count", **TASK) == 1


def test_failures_are_told_by_exception():
    watched = Watched()
    for number, raised in enumerate(
        ["OSError(5)", "OSError(7)", "proj.errors.Broken('x')", "???", None]
    ):
        watched.take(
            *life("sent", uuid=f"task{number}"),
            told("task-failed", 11.0, uuid=f"task{number}", exception=raised),
        )
    found = {
        dict(labels)["exception"]: value
        for labels, value in watched.samples("celery_task_failed_total").items()
    }
    assert found == {"": 0, "OSError": 2, "proj.errors.Broken": 1, UNKNOWN: 2}


def test_what_may_be_counted_next_begins_at_zero():
    watched = Watched().take(*life("sent"))
    for step in ("received", "started", "succeeded", "retried", "revoked", "cancelled"):
        assert watched.value(f"celery_task_{step}_total", **TASK) == 0
    assert watched.value("celery_task_failed_total", exception="", **TASK) == 0


def test_of_a_task_that_nobody_named_neither_name_nor_queue_is_known():
    watched = Watched().take(*life("started"))
    unknown = {"name": UNKNOWN, "queue_name": UNKNOWN}
    assert watched.value("celery_task_started_total", **unknown) == 1


def test_an_event_counts_for_the_queue_that_is_known_by_then():
    watched = Watched().take(*life("received"), *life("sent", start=9.0))
    watched.take(*life("started", start=12.0))
    unknown = {"name": "shop.pay", "queue_name": UNKNOWN}
    assert watched.value("celery_task_received_total", **unknown) == 1
    assert watched.value("celery_task_started_total", **TASK) == 1


def runs(number):
    """Return runs of one task under one id, one after the other."""
    steps = ("sent", "received", "started", "succeeded")
    return [event for n in range(number) for event in life(*steps, start=10.0 * n + 10)]


def tries(number):
    """Return tries of a task, each sent by the process of the one before.

    What a worker tells of a try comes together, after the next one was sent.
    """
    events = [told("task-sent")]
    for n in range(number):
        at = 10.0 + 5 * n
        if n + 1 < number:
            more = {"retries": n + 1, "hostname": WORKER}
            events.append(told("task-sent", at + 1.9, **more))
        events += [
            told("task-received", at + 0.5, retries=n),
            told("task-started", at + 1),
            told("task-retried" if n + 1 < number else "task-failed", at + 2),
        ]
    return events


def figures(*batches):
    watched = Watched().take(known())
    for batch in batches:
        watched.take(*batch)
    return {
        (family.name + suffix, *labels): round(value, 6)
        for family in watched.metrics.families()
        for suffix, labels, value in family.samples
    }


@pytest.mark.parametrize("number", [3, 4, 16, 17, 200])
def test_each_run_of_one_id_counts(number):
    watched = Watched().take(known(), *runs(number))
    for step in ("sent", "received", "started", "succeeded"):
        assert watched.value(f"celery_task_{step}_total", **TASK) == number
    assert watched.value("celery_task_runtime_count", **TASK) == number
    assert watched.value("celery_task_queue_wait_time_count", **TASK) == number
    assert watched.value("celery_task_queue_wait_time_sum", **TASK) == 2 * number
    assert watched.value("celery_task_prefetch_time_seconds_count", **TASK) == number


@pytest.mark.parametrize("factor", [1e3, -1.0, float("nan")])
def test_each_run_of_one_id_counts_also_if_its_times_are_of_no_use(factor):
    events = [{**event, "timestamp": event["timestamp"] * 1.7e8 * factor} for event in runs(200)]
    watched = Watched().take(known(), *events)
    for step in ("sent", "received", "started", "succeeded"):
        assert watched.value(f"celery_task_{step}_total", **TASK) == 200
    assert watched.value("celery_task_queue_wait_time_count", **TASK) == 200


@pytest.mark.parametrize("number", [2, 4, 13, 14, 50])
def test_each_try_waited(number):
    watched = Watched().take(known(), *tries(number))
    assert watched.value("celery_task_received_total", **TASK) == number
    assert watched.value("celery_task_retried_total", **TASK) == number - 1
    assert watched.value("celery_task_queue_wait_time_count", **TASK) == number
    assert watched.value("celery_task_prefetch_time_seconds_count", **TASK) == number


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
    events = data.draw(st.permutations(events))
    batches, rest = [], list(events)
    while rest:
        size = data.draw(st.integers(1, 30))
        batches.append(rest[:size])
        rest = rest[size:]
    assert figures(*batches) == figures(events)


def test_too_many_names_are_counted_together():
    watched = Watched(max_series=3)
    for number in range(10):
        watched.take(*life("sent", uuid=f"task{number}", name=f"name{number}"))
    others = {"name": OTHERS, "queue_name": OTHERS}
    assert watched.value("celery_task_sent_total", **others) == 7
    assert sum(watched.samples("celery_task_sent_total").values()) == 10
    assert watched.value("celery_series_folded_total") == 7


def test_a_prefix_takes_the_place_of_celerys():
    watched = Watched(prefix="shop_").take(*life("sent"))
    assert watched.value("shop_task_sent_total", **TASK) == 1


# --- workers as labels --------------------------------------------------------------


def test_what_workers_did_is_told_of_each_if_asked_for():
    events = life("sent", "received", "started", "failed")
    watched = Watched(hostname=True).take(known(), *events)
    value = watched.value
    assert value("celery_task_sent_total", **TASK, hostname="generic") == 1
    for step in ("received", "started"):
        assert value(f"celery_task_{step}_total", **TASK, hostname=WORKER) == 1
    failed = {"exception": "OSError", "hostname": WORKER}
    assert value("celery_task_failed_total", **TASK, **failed) == 1
    assert CLIENT not in str(watched.metrics.families())
    # Nothing is to be sent by a worker, nor received by a client.
    assert len(watched.samples("celery_task_sent_total")) == 1
    assert len(watched.samples("celery_task_received_total")) == 1


def test_the_steps_of_a_task_are_told_of_the_worker_that_took_them():
    story = STORIES["retried at the other worker"]
    watched = Watched(hostname=True).take(*story.events)
    for worker in (WORKER, OTHER):
        found = watched.value("celery_task_started_total", **TASK, hostname=worker)
        assert found == 1
    failed = {"exception": "OSError", "hostname": OTHER}
    assert watched.value("celery_task_failed_total", **TASK, **failed) == 1


def test_the_series_of_a_worker_leave_with_it():
    watched = Watched(hostname=True).take(known(), *life("received", "started"))
    watched.look(20.0)
    assert watched.value("celery_worker_up", hostname=WORKER) == 1
    # It leaves the state when another one tells of itself much later.
    watched.take(told("worker-heartbeat", 5000.0, hostname=OTHER)).look(5000.0)
    assert watched.samples("celery_worker_up") == {(("hostname", OTHER),): 1}
    assert watched.samples("celery_task_started_total") == {}
    assert watched.samples("celery_task_prefetch_time_seconds_count") == {}


def test_what_clients_did_stays():
    watched = Watched(hostname=True).take(*life("sent")).look(5000.0)
    assert watched.value("celery_task_sent_total", **TASK, hostname="generic") == 1


# --- histograms ---------------------------------------------------------------------


def test_the_run_time_is_what_the_worker_measured():
    watched = Watched().take(*life("received", "started", "succeeded"))
    unnamed = {**TASK, "queue_name": UNKNOWN}
    assert watched.value("celery_task_runtime_sum", **unnamed) == 0.5
    assert watched.value("celery_task_runtime_bucket", le="0.5", **unnamed) == 1
    assert watched.value("celery_task_runtime_bucket", le="0.25", **unnamed) == 0


def test_only_what_succeeded_has_a_run_time():
    watched = Watched().take(*life("received", "started", "failed"))
    assert watched.samples("celery_task_runtime_count") == {}


@pytest.mark.parametrize("runtime", ["x", None, -1, True, 2**80, float("nan"), [1]])
def test_a_run_time_that_is_none_is_worked_out_or_not_counted(runtime):
    watched = Watched().take(
        *life("received", "started"), told("task-succeeded", 12.0, runtime=runtime)
    )
    sums = list(watched.samples("celery_task_runtime_sum").values())
    assert sums == [1.0]
    alone = Watched().take(told("task-succeeded", 12.0, runtime=runtime))
    assert alone.samples("celery_task_runtime_sum") == {}


def test_the_wait_is_from_the_sending_to_the_start():
    watched = Watched().take(known(), *life("sent", "received", "started"))
    assert watched.value("celery_task_queue_wait_time_sum", **TASK) == 2.0
    assert watched.value("celery_task_prefetch_time_seconds_sum", **TASK) == 1.0


@pytest.mark.parametrize("together", [True, False])
def test_the_wait_is_measured_once_though_its_sending_is_told_last(together):
    sent, *rest = life("sent", "received", "started")
    watched = Watched().take(known())
    if together:
        watched.take(*rest, sent)
    else:
        watched.take(*rest).take(sent)
    assert watched.value("celery_task_queue_wait_time_count", **TASK) == 1
    assert watched.value("celery_task_queue_wait_time_sum", **TASK) == 2.0


def test_a_wait_that_was_asked_for_does_not_count():
    eta = "1970-01-01T00:00:11+00:00"
    watched = Watched().take(*life("sent", "received", "started", eta=eta))
    assert watched.value("celery_task_queue_wait_time_sum", **TASK) == 1.0
    assert watched.samples("celery_task_prefetch_time_seconds_count") == {}


def test_without_its_sending_a_task_has_no_wait():
    watched = Watched().take(*life("received", "started"))
    assert watched.samples("celery_task_queue_wait_time_count") == {}


def test_every_attempt_has_a_wait_of_its_own():
    story = STORIES["retried at the same worker"]
    watched = Watched()
    for event in story.events:
        watched.take(event)
    assert watched.value("celery_task_queue_wait_time_count", **TASK) == 2


def test_a_start_before_its_receipt_is_no_time_at_the_worker():
    watched = Watched().take(told("task-started", 10.0), told("task-received", 11.0))
    assert watched.samples("celery_task_prefetch_time_seconds_count") == {}


def test_buckets_can_be_chosen():
    watched = Watched(run_buckets=(1.0,), wait_buckets=(7.0,))
    watched.take(known(), *life("sent", "received", "started", "succeeded"))
    for name, bound in (("runtime", "1.0"), ("queue_wait_time", "7.0")):
        found = watched.samples(f"celery_task_{name}_bucket")
        assert {dict(labels)["le"] for labels in found} == {bound, "+Inf"}


# --- gauges -------------------------------------------------------------------------


def test_workers_that_are_there_are_up():
    watched = Watched().take(
        told("worker-heartbeat", 18.0, active=3),
        told("worker-heartbeat", 18.0, hostname=OTHER, active=4),
        told("worker-offline", 18.0, hostname="celery@three", active=9),
    )
    watched.look(19.0)
    assert watched.value("celery_worker_up") == 2
    assert watched.value("celery_worker_tasks_active") == 7
    assert watched.value("celery_workers", status="online") == 2
    assert watched.value("celery_workers", status="offline") == 1


def test_a_worker_that_is_gone_is_zero_before_it_leaves():
    watched = Watched(hostname=True).take(told("worker-heartbeat", 18.0, active=3))
    watched.look(300.0)
    assert watched.value("celery_worker_up", hostname=WORKER) == 0
    assert watched.value("celery_worker_tasks_active", hostname=WORKER) == 0


def test_no_worker_at_all_is_something_to_tell():
    assert Watched().look().value("celery_worker_up") == 0
    assert Watched(hostname=True).look().samples("celery_worker_up") == {}


def test_a_worker_may_not_say_how_many_tasks_it_runs():
    watched = Watched().take(told("worker-heartbeat", 18.0, active=None)).look()
    assert watched.value("celery_worker_tasks_active") == 0


def test_open_tasks_are_told_by_state():
    watched = Watched().take(
        *(told("worker-heartbeat", 18.0), *life("sent", uuid="a")),
        *life("sent", "received", uuid="b"),
        *life("sent", "received", "started", uuid="c"),
        *life("sent", "received", "started", "succeeded", uuid="d"),
        *life("sent", "received", uuid="e", eta="2030-01-01T00:00:00"),
    )
    watched.look(19.0)
    for state, count in (("PENDING", 1), ("RECEIVED", 2), ("STARTED", 1)):
        assert watched.value("celery_tasks", state=state, **TASK) == count
    assert len(watched.samples("celery_tasks")) == 3
    # One waits for its time and not for a process.
    assert watched.value("celery_worker_prefetched_tasks", **TASK) == 1


def test_tasks_of_a_worker_that_has_gone_are_lost():
    watched = Watched().take(
        told("worker-heartbeat", 18.0, active=1),
        *life("sent", "received", uuid="a"),
        *life("sent", "received", "started", uuid="b"),
    )
    watched.look(500.0)
    assert watched.samples("celery_tasks") == {tuple(sorted({**TASK, "state": "LOST"}.items())): 2}
    assert watched.samples("celery_worker_prefetched_tasks") == {}


def test_prefetched_tasks_are_told_of_each_worker_if_asked_for():
    watched = Watched(hostname=True)
    watched.take(told("worker-heartbeat", 18.0), *life("sent", "received")).look(19.0)
    found = watched.value("celery_worker_prefetched_tasks", **TASK, hostname=WORKER)
    assert found == 1


def test_who_cannot_see_tells_nothing_of_how_things_stand():
    watched = Watched().take(known(), *life("sent")).look()
    watched.metrics.look_away()
    assert watched.samples("celery_worker_up") == {}
    assert watched.samples("celery_tasks") == {}
    assert watched.value("celery_task_sent_total", **TASK) == 1


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
READERS = {
    Format.TEXT: text_string_to_metric_families,
    Format.OPENMETRICS: openmetrics.text_string_to_metric_families,
}


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
    for number in range(2000):
        name = f"name{number % 700}"
        watched.take(*life("sent", "received", uuid=f"task{number}", name=name))
    done.set()
    asker.join()
    assert errors == []


# === the camera =====================================================================


@pytest.fixture
def clock():
    return FakeClock(1000.0)


class Studio:
    """A camera that is warm and connected, and its state."""

    def __init__(self, clock, **options):
        self.clock = clock
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


# --- files -------------------------------------------------------------------------


def test_a_shot_is_a_file_that_everybody_may_read(studio, path):
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


def test_the_file_is_there_as_a_whole_or_not(studio, path):
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
    assert b'task_received_total{name="shop.pay",queue_name="mail"} 1' in (path.read_bytes())


def test_no_file_of_another_is_taken_for_ones_own(studio, path, tmp_path):
    victims = [tmp_path / "linked", tmp_path / "named"]
    for victim in victims:
        victim.write_text("mine")
    path.symlink_to(victims[0])
    path.with_name(f".{path.name}.{os.getpid()}.tmp").hardlink_to(victims[1])
    studio.shoot()
    assert [victim.read_text() for victim in victims] == ["mine", "mine"]
    assert b"celery_" in path.read_bytes()


def test_the_file_stays_when_it_ends(studio, path):
    studio.shoot()
    studio.camera.close()
    assert path.exists()


# --- HTTP --------------------------------------------------------------------------


def test_metrics_are_served_where_asked_for(clock):
    with Studio(clock, listen="127.0.0.1:0") as studio:
        url = f"http://{studio.camera.address}/metrics"
        assert studio.camera.describe() == f"metrics at {url}"
        with urllib.request.urlopen(url) as response:
            assert ("celery_worker_up",) not in samples_of(response.read().decode())
        # Counters are as of now, gauges as of the last shot.
        studio.take(*life("sent")).shoot().take(*life("sent", uuid="b"))
        with urllib.request.urlopen(url) as response:
            found = samples_of(response.read().decode())
    assert found["celery_task_sent_total", "mail", "shop.pay"] == 2
    assert found["celery_tasks", "PENDING", "mail", "shop.pay"] == 1
    assert studio.camera.address is None


def test_it_listens_once(clock):
    with Studio(clock, listen="127.0.0.1:0") as studio:
        address = studio.camera.address
        studio.camera.install()
        assert studio.camera.address == address


def test_an_address_that_is_taken_is_told_before_the_first_shot(clock):
    with Studio(clock, listen="127.0.0.1:0") as first:
        second = Studio(clock, listen=str(first.camera.address))
        with pytest.raises(OutputError, match="Address already in use"):
            second.camera.check()
        with pytest.raises(OutputError, match="Address already in use"):
            second.camera.install()


# --- what is known -----------------------------------------------------------------


def test_how_things_stand_is_not_told_before_it_can_be_known(clock, path):
    studio = Studio(clock, path=str(path))
    studio.camera._sequence.subscribed(999.0)
    studio.take(*life("sent")).shoot()
    found = samples_of(path.read_text())
    assert ("celery_worker_up",) not in found
    assert found["celery_task_sent_total", "mail", "shop.pay"] == 1
    clock.now = 1010.0
    studio.shoot()
    assert samples_of(path.read_text())["celery_worker_up",] == 0


def test_how_things_stand_is_not_told_without_a_connection(studio, path):
    studio.take(told("worker-heartbeat", 999.0)).shoot()
    studio.camera._sequence.lost()
    studio.shoot()
    assert ("celery_worker_up",) not in samples_of(path.read_text())


def test_what_would_be_told_can_be_looked_at(studio):
    studio.take(*life("sent"))
    snapshot = studio.camera.snapshot(studio.camera._sequence.next(1000.0))
    lines = json.loads(dry_run(snapshot))["metrics"]
    assert 'celery_task_sent_total{name="shop.pay",queue_name="mail"} 1' in lines


# --- options -----------------------------------------------------------------------


def test_there_must_be_a_place(clock):
    camera = Studio(clock).camera
    for needs_place in (camera.check, camera.install):
        with pytest.raises(UsageError, match="nowhere to put its metrics"):
            needs_place()
    camera.is_served = True
    camera.check()
    assert camera.describe() == "metrics at the address of --listen"


def test_a_folder_must_be_there(clock, tmp_path):
    camera = Studio(clock, path=str(tmp_path / "no" / "x.prom")).camera
    with pytest.raises(OutputError, match="cannot write into"):
        camera.check()


def test_a_good_place_is_good(studio, path):
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
    scheme = camera._metrics._scheme
    assert (scheme.prefix, scheme.hostname, scheme.max_series) == ("shop_", True, 7)
    assert scheme.run_buckets == (1.0, 5.0, 60.0)
    assert scheme.wait_buckets == (0.5,)
    assert camera.describe() == (f"metrics at {tmp_path}/x.prom and http://127.0.0.1:9808/metrics")


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
