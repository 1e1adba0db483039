"""The camera for Prometheus: the metrics of a cluster, over HTTP and in files."""

import json
import os
import re
import stat
import threading
import urllib.request

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from evtools.cam.loader import load_camera
from evtools.cam.metrics import RunTimes
from evtools.cam.prometheus import Format, Prometheus, render
from evtools.cam.queues import QueueStatus
from evtools.cam.schedule import Timer
from evtools.cam.snapshot import dry_run
from evtools.errors import OutputError, UsageError
from evtools.state import OTHERS, UNKNOWN, State
from evtools.transport.queues import Depth
from tools.clock import FakeClock
from tools.disk import full_disk
from tools.stories import STORIES
from tools.told import CLIENT, OTHER, UUID, WORKER, life, told

TASK = {"name": "shop.pay", "queue_name": "mail"}
READERS = {
    Format.TEXT: text_string_to_metric_families,
    Format.OPENMETRICS: openmetrics.text_string_to_metric_families,
}


class Studio:
    """A camera that is warm and connected, and its state."""

    def __init__(self, clock=None, cluster="", **options):
        self.state = State(cluster=cluster)
        self.clock = clock or FakeClock(1000.0)
        self.camera = Prometheus(self.state, timer=Timer(self.clock), **options)
        self.camera.load(self.camera._sequence, self.clock)
        self.camera._sequence.subscribed(0.0)

    def take(self, *events):
        self.camera.observe(self.state.changes(events))
        return self

    def shoot(self, now=None):
        if now is not None:
            self.clock.now = now
        self.camera.capture()
        return self

    def samples(self, name):
        """Return the samples of a name with their labels."""
        return {
            tuple(sorted(dict(labels).items())): value
            for family in self.camera.families()
            for suffix, labels, value in family.samples
            if f"celery_{name}" == family.name + suffix
        }

    def value(self, name, /, **labels):
        return self.samples(name).get(tuple(sorted(labels.items())))

    def __enter__(self):
        self.camera.install()
        return self

    def __exit__(self, *exc_info):
        self.camera.close()
        self.camera.timer.stop()


BEAT = told("worker-heartbeat", 1.0)
STEPS = ("sent", "received", "started", "succeeded")


# --- counters -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "step", ["received", "started", "succeeded", "retried", "revoked", "rejected", "cancelled"]
)
def test_each_step_of_a_task_is_counted_and_what_may_come_next_begins_at_zero(step):
    studio = Studio().take(BEAT, *life("sent"))
    assert studio.value(f"task_{step}_total", **TASK) == 0
    assert studio.value("task_failed_total", exception="", **TASK) == 0
    studio.take(*life(step, start=11.0))
    assert studio.value(f"task_{step}_total", **TASK) == 1


def test_failures_are_counted_by_exception():
    studio = Studio()
    raised = ["OSError(5)", "OSError(7)", "proj.errors.Broken('x')", "???", None]
    for uuid, exception in zip("abcde", raised, strict=True):
        failed = told("task-failed", 11.0, uuid=uuid, exception=exception)
        studio.take(*life("sent", uuid=uuid), failed)
    samples = studio.samples("task_failed_total").items()
    found = {dict(labels)["exception"]: value for labels, value in samples}
    assert found == {"": 0, "OSError": 2, "proj.errors.Broken": 1, UNKNOWN: 2}


def runs(number, factor=1.0):
    """Return runs of one task under one id, one after the other."""
    events = [event for n in range(number) for event in life(*STEPS, start=10.0 * n + 10)]
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
    value = Studio().take(BEAT, *runs(number, factor)).value
    for step in STEPS:
        assert value(f"task_{step}_total", **TASK) == number
    assert value("task_queue_wait_time_count", **TASK) == number
    if factor == 1.0:
        assert value("task_runtime_count", **TASK) == number
        assert value("task_queue_wait_time_sum", **TASK) == 2 * number
        assert value("task_prefetch_time_seconds_count", **TASK) == number


@pytest.mark.parametrize("number", [2, 4, 13, 14, 50])
def test_each_try_waited(number):
    value = Studio().take(BEAT, *tries(number)).value
    assert value("task_received_total", **TASK) == number
    assert value("task_retried_total", **TASK) == number - 1
    assert value("task_queue_wait_time_count", **TASK) == number
    assert value("task_prefetch_time_seconds_count", **TASK) == number


def figures(*batches):
    studio = Studio().take(BEAT)
    for batch in batches:
        studio.take(*batch)
    return {
        (family.name + suffix, *labels): round(value, 6)
        for family in studio.camera.families()
        for suffix, labels, value in family.samples
    }


@settings(max_examples=40)
@given(data=st.data())
def test_the_metrics_are_the_same_however_events_come_together(data):
    names = data.draw(st.lists(st.sampled_from(sorted(STORIES)), min_size=1, max_size=5))
    stories = [
        {**event, "uuid": f"task{number}"}
        for number, name in enumerate(names)
        for event in STORIES[name].events
    ]
    long = st.sampled_from([runs(200), tries(4), tries(50)])
    rest = events = data.draw(st.permutations(stories) | long)
    sizes = data.draw(st.integers(1, 30).map(lambda most: st.integers(1, most)))
    batches = []
    while rest:
        size = data.draw(sizes)
        batches.append(rest[:size])
        rest = rest[size:]
    assert figures(*batches) == figures(events)


def test_too_many_names_are_counted_together():
    studio = Studio(max_series=3)
    for number in range(10):
        studio.take(*life("sent", uuid=f"task{number}", name=f"name{number}"))
    assert studio.value("task_sent_total", name=OTHERS, queue_name=OTHERS) == 7
    assert sum(studio.samples("task_sent_total").values()) == 10
    assert studio.value("series_folded_total") == 7


# --- workers as labels --------------------------------------------------------------


@pytest.mark.parametrize("first", [None, OTHER])
def test_workers_can_be_a_label(first):
    def is_later(event):
        return event["type"] != "task-sent" and first not in {None, event["hostname"]}

    # Whichever worker's events come first.
    events = sorted(STORIES["retried at the other worker"].events, key=is_later)
    studio = Studio(hostname=True).take(BEAT, *events)
    for worker in (WORKER, OTHER):
        assert studio.value("task_started_total", **TASK, hostname=worker) == 1
    assert studio.value("task_failed_total", **TASK, exception="OSError", hostname=OTHER) == 1
    assert CLIENT not in str(studio.camera.as_dict())
    # Nothing is to be sent by a worker, nor received by a client.
    hosts = {dict(labels)["hostname"] for labels in studio.samples("task_sent_total")}
    assert hosts == {"generic"}
    assert "generic" not in str(studio.samples("task_received_total"))


def test_the_series_of_a_worker_leave_with_it_and_those_of_clients_stay():
    studio = Studio(hostname=True).take(BEAT, *life("sent", "received", "started")).shoot(20.0)
    assert studio.value("worker_up", hostname=WORKER) == 1
    # It leaves the state when another one sends a heartbeat much later.
    studio.take(told("worker-heartbeat", 5000.0, hostname=OTHER)).shoot(5000.0)
    assert studio.samples("worker_up") == {(("hostname", OTHER),): 1}
    assert studio.samples("task_started_total") == {}
    assert studio.samples("task_prefetch_time_seconds_count") == {}
    assert studio.value("task_sent_total", **TASK, hostname="generic") == 1


# --- histograms ---------------------------------------------------------------------


def test_the_run_time_is_measured_by_the_worker_and_of_successes_only():
    studio = Studio().take(*life("received", "started", "succeeded"))
    studio.take(*life("received", "started", "failed", uuid="b"))
    unnamed = {**TASK, "queue_name": UNKNOWN}
    assert studio.value("task_runtime_sum", **unnamed) == 0.5
    assert studio.value("task_runtime_bucket", le="0.5", **unnamed) == 1
    assert studio.value("task_runtime_bucket", le="0.25", **unnamed) == 0


@pytest.mark.parametrize("runtime", ["x", None, -1, True, 2**80, float("nan"), [1]])
def test_a_bad_run_time_is_worked_out_or_not_counted(runtime):
    succeeded = told("task-succeeded", 12.0, runtime=runtime)
    studio = Studio().take(*life("received", "started"), succeeded)
    assert list(studio.samples("task_runtime_sum").values()) == [1.0]
    assert Studio().take(succeeded).samples("task_runtime_sum") == {}


ETA = "1970-01-01T00:00:11+00:00"


@pytest.mark.parametrize(
    ("events", "wait", "prefetch"),
    [
        (life("sent", "received", "started"), {2.0}, {1.0}),
        (life("sent", "received", "started", eta=ETA), {1.0}, set()),  # that was asked for
        (life("received", "started"), set(), {1.0}),
        ([told("task-started", 10.0), told("task-received", 11.0)], set(), set()),
        ([told("task-received", 11.0), told("task-started", 10.0)], set(), set()),
    ],
)
@pytest.mark.parametrize("order", ["as sent", "sent last", "one by one"])
def test_the_wait_is_from_sending_to_start_and_the_prefetch_from_receipt(
    events, wait, prefetch, order
):
    if order == "sent last":
        events = sorted(events, key=lambda event: event["type"] == "task-sent")
    studio = Studio().take(BEAT)
    for batch in [[event] for event in events] if order == "one by one" else [events]:
        studio.take(*batch)
    assert set(studio.samples("task_queue_wait_time_sum").values()) == wait
    assert set(studio.samples("task_queue_wait_time_count").values()) <= {1}
    assert set(studio.samples("task_prefetch_time_seconds_sum").values()) == prefetch


# --- names of Flower --------------------------------------------------------------------


def scraped(text, *, without=()):
    """Flower's samples in a scrape, their kinds and their labels."""
    return {
        (family.name, family.type, sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        if family.name.startswith("flower_")
        for sample in family.samples
        if not sample.name.endswith("_created") and sample.labels.get("type") not in without
    }


def test_flowers_metrics_are_those_of_flower():
    from flower.events import EventsState
    from prometheus_client import REGISTRY, generate_latest

    mine, slow = {"uuid": "a"}, {"uuid": "b", "name": "shop.slow"}
    events = [
        told("worker-heartbeat", 1.0, active=2), told("worker-heartbeat", 1.0, hostname=OTHER),
        *life("received", "started", "succeeded", **mine),
        *life("received", "started", "failed", hostname=OTHER, uuid="c"),
        # One runs, one waits at its worker, one until its time has come.
        *life("received", "started", **slow), *life("received", uuid="d", name="shop.slow"),
        *life("received", uuid="e", eta="2030-01-01T00:00:00"),
        told("worker-heartbeat", 13.0, active=1), told("worker-offline", 13.0, hostname=OTHER),
    ]  # fmt: skip
    flower = EventsState()
    for event in events:
        flower.event({**event})
    theirs = scraped(generate_latest(REGISTRY).decode())
    studio = Studio(names="flower").take(*events).shoot(14.0)
    text = render(studio.camera.families()).decode()
    ours = scraped(text)
    assert {key[:3] for key in ours} == {key[:3] for key in theirs}
    assert ours.items() >= theirs.items()
    # What Flower does not have yet begins with zero.
    assert {ours[key] for key in ours.keys() - theirs.keys()} == {0}
    # All others are there, too: rules about those go on.
    assert set(studio.samples("task_succeeded_total").values()) == {0, 1}
    studio.take(told("worker-heartbeat", 5000.0, hostname="celery@three")).shoot(5000.0)
    workers = {
        dict(key[3:])["worker"] for key in scraped(render(studio.camera.families()).decode())
    }
    assert workers == {"celery@three"}


def test_flowers_names_have_one_meaning_and_a_cluster():
    with pytest.raises(UsageError, match="two metrics"):
        Studio(names="flower", prefix="flower_")
    first = Studio(cluster="eu", names="flower", prefix="flowers_").take(*life(*STEPS)).camera
    text = render(first.families()).decode()
    assert (
        'flower_events_total{cluster="eu",worker="generic",type="task-sent",task="shop.pay"} 1'
        in text
    )


# --- gauges -------------------------------------------------------------------------


class Said:
    """What is said of queues, and which were noted."""

    def __init__(self, *known):
        self._known, self.noted = known, set()

    def note(self, names):
        self.noted |= names

    def known(self):
        return self._known


def test_queues_are_as_the_broker_and_the_workers_say():
    studio = Studio().take(*life("sent", uuid="a"), *life("sent", uuid="b"))
    studio.take(*life("received", uuid="c"))  # no event says its queue
    depth = Depth(7, 2, unacked=3, oldest=("b",))
    said = Said(
        ("mail", QueueStatus(depth, 2, 8)),
        ("gone", QueueStatus(Depth(None, reason="there is no such queue"), 0, 0)),
        *[("***", QueueStatus(Depth(count, oldest=("x",)), None, None)) for count in (1, 4)],
    )
    studio.camera._metrics.queues = said
    studio.shoot(1001.0)
    assert said.noted == {"mail"}
    figures = {
        name: {labels[0][1]: value for labels, value in studio.samples(name).items()}
        for name in (
            *("queue_length", "queue_unacked", "queue_oldest_waiting_seconds"),
            *("active_consumer_count", "active_worker_count", "active_process_count"),
        )
    }
    sent = studio.state.tasks["b"].sent
    assert figures == {
        "queue_length": {"mail": 7, "***": 5},
        "queue_unacked": {"mail": 3},
        "queue_oldest_waiting_seconds": {"mail": 1001.0 - sent},
        "active_consumer_count": {"mail": 2},
        "active_worker_count": {"mail": 2, "gone": 0},
        "active_process_count": {"mail": 8, "gone": 0},
    }


def test_tasks_that_run_longer_than_the_p99_of_their_type_are_counted():
    studio = Studio(clock=FakeClock(1000.0))
    for number in range(99):
        studio.take(*life("received", "started", "succeeded", uuid=str(number), runtime=1.0))
    studio.take(told("worker-heartbeat", 20.0), *life("received", "started", uuid="slow"))
    studio.shoot(21.0)
    assert studio.samples("tasks_beyond_p99") == {}
    studio.take(*life("received", "started", "succeeded", uuid="100", runtime=9.0))
    assert studio.shoot(21.0).value("tasks_beyond_p99", name="shop.pay", queue_name=UNKNOWN) == 1
    studio.take(*life("succeeded", uuid="slow", start=20.0))
    assert studio.shoot(21.0).samples("tasks_beyond_p99") == {}


def test_the_newest_runs_count_most_for_a_p99():
    runs = RunTimes(1)
    for _ in range(20_001):
        runs.add("t", 1.0)
    assert runs.p99("t") == pytest.approx(1.0, rel=0.1)
    runs.add("beyond", 1.0)
    assert runs.p99("beyond") is None
    for _ in range(200):
        runs.add("t", 100.0)
    assert runs.p99("t") == pytest.approx(100.0, rel=0.1)


@pytest.mark.parametrize("hostname", [False, True])
def test_the_clock_that_is_off_by_most_is_shown(hostname):
    studio = Studio(hostname=hostname)
    for name, ahead in ((WORKER, 5.0), (OTHER, -60.0)):
        beats = [told("worker-heartbeat", at, hostname=name) for at in (210.0, 212.0, 214.0)]
        studio.take(*[{**beat, "timestamp": beat["timestamp"] + ahead} for beat in beats])
    studio.shoot(215.0)
    found = studio.samples("worker_clock_skew_seconds")
    assert sorted(map(round, found.values())) == ([-60, 5] if hostname else [-60])


def test_what_is_not_known_has_no_series_at_zero():
    studio = Studio().take(told("task-succeeded", 1.0, uuid="x", runtime=1.0))
    studio.take(told("task-received", 1.0, uuid="y", name="t"))
    zeros = {
        (name, dict(labels).get("name"), dict(labels).get("queue_name"))
        for name in (f"task_{step}_total" for step in STEPS)
        for labels, value in studio.samples(name).items()
        if not value
    }
    assert zeros == {(f"task_{step}_total", "t", UNKNOWN) for step in ("started", "succeeded")}


def test_workers_that_are_alive_are_up():
    studio = Studio().shoot()
    assert studio.value("worker_up") == 0  # no worker at all
    studio.take(
        told("worker-heartbeat", 1018.0, active=3),
        told("worker-heartbeat", 1018.0, hostname=OTHER, active=None),
        told("worker-offline", 1018.0, hostname="celery@three", active=9),
    ).shoot(1019.0)
    assert (studio.value("worker_up"), studio.value("worker_tasks_active")) == (2, 3)
    assert studio.value("workers", status="online") == 2
    assert studio.value("workers", status="offline") == 1
    assert studio.value("snapshot_timestamp_seconds") == 1019.0


def test_a_worker_that_is_gone_is_zero_before_it_leaves():
    studio = Studio(hostname=True).shoot()
    assert studio.samples("worker_up") == {}
    studio.take(told("worker-heartbeat", 1018.0, active=3)).shoot(1300.0)
    for name in ("worker_up", "worker_tasks_active"):
        assert studio.value(name, hostname=WORKER) == 0


@pytest.mark.parametrize("host", [{}, {"hostname": WORKER}], ids=["together", "by worker"])
def test_open_tasks_are_counted_by_state_and_those_that_wait_at_their_worker(host):
    studio = Studio(hostname=bool(host)).take(
        told("worker-heartbeat", 18.0),
        *life("sent", uuid="a"),
        *life("sent", "received", uuid="b"),
        *life("sent", "received", "started", uuid="c"),
        *life("sent", "received", "started", "succeeded", uuid="d"),
        *life("sent", "received", uuid="e", eta="2030-01-01T00:00:00"),
    )
    studio.shoot(19.0)
    for state, count in (("PENDING", 1), ("RECEIVED", 2), ("STARTED", 1)):
        assert studio.value("tasks", state=state, **TASK) == count
    assert len(studio.samples("tasks")) == 3
    # One waits for its time and not for a process.
    assert studio.value("worker_prefetched_tasks", **TASK, **host) == 1
    studio.shoot(500.0)
    assert studio.value("tasks", state="LOST", **TASK) == 3
    assert studio.samples("worker_prefetched_tasks") == {}


# --- all of it ----------------------------------------------------------------------


def test_events_of_any_shape_are_survived():
    odd = {"name": ["x"], "queue": {"a": 1}, "hostname": 7, "timestamp": "soon"}
    studio = Studio(hostname=True)
    for step in ("sent", "received", "started", "succeeded", "failed", "strange"):
        studio.take({"type": f"task-{step}", "uuid": UUID, **odd})
        studio.take({"type": f"task-{step}"})
    studio.take(told("worker-heartbeat", 1.0, active="many")).shoot()
    assert studio.camera.families()


#: Texts that provoke, and any others.
WORDS = st.one_of(
    st.sampled_from(["", '"', "\\", "\n", "\\n", "}", "# EOF", "\ud800", "\x00", "é"]),
    st.text(st.characters(exclude_categories=()), max_size=20),
)


@pytest.mark.parametrize("form", Format)
@settings(max_examples=50)
@given(names=st.lists(st.tuples(WORDS, WORDS, WORDS, WORDS), max_size=8))
def test_whatever_things_are_called_prometheus_can_read_it(form, names):
    studio = Studio(hostname=True, max_series=5)
    for number, (name, queue, hostname, raised) in enumerate(names):
        uuid, host = f"task{number}", {"hostname": hostname}
        studio.take(
            *life("sent", uuid=uuid, name=name, queue=queue),
            told("task-received", 11.0, uuid=uuid, name=name, **host),
            told("task-started", 12.0, uuid=uuid, **host),
            told("task-failed", 13.0, uuid=uuid, exception=raised, **host),
        )
    text = render(studio.shoot().camera.families(), form).decode()
    found = [
        (sample.name, *sorted(sample.labels.items()))
        for family in READERS[form](text)
        for sample in family.samples
    ]
    assert len(found) == len(set(found))
    assert all(line.isprintable() for line in text.split("\n"))


def test_metrics_can_be_asked_for_while_events_come():
    studio, errors, done = Studio(), [], threading.Event()

    def ask():
        try:
            while not done.is_set():
                studio.camera.families()
        except RuntimeError as error:
            errors.append(error)

    asker = threading.Thread(target=ask)
    asker.start()
    for number in range(1000):
        name = f"name{number % 700}"
        studio.take(*life("sent", "received", uuid=f"task{number}", name=name))
    done.set()
    asker.join()
    assert errors == []


# --- where they can be read ---------------------------------------------------------


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
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    studio.camera.close()
    assert path.exists()


def test_the_file_is_complete_or_not_there(studio, path):
    studio.take(*life("sent")).shoot()
    text = path.read_bytes()
    studio.take(*life("received"))
    with full_disk(100), pytest.raises(OutputError, match="cannot write"):
        studio.shoot()
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
        # Counters are as of now, gauges as of the last snapshot.
        studio.take(*life("sent")).shoot().take(*life("sent", uuid="b"))
        with urllib.request.urlopen(url) as response:
            found = samples_of(response.read().decode())
        second = Studio(clock, listen=str(address)).camera
        for needs_place in (second.check, second.install):
            with pytest.raises(OutputError, match="Address already in use"):
                needs_place()
    assert found["celery_task_sent_total", "mail", "shop.pay"] == 2
    assert found["celery_tasks", "PENDING", "mail", "shop.pay"] == 1
    assert studio.camera.address is None


def test_gauges_are_absent_while_they_cannot_be_known():
    studio = Studio()
    assert studio.value("worker_up") is None
    studio.camera._sequence.subscribed(999.0)  # just now
    studio.take(*life("sent")).shoot()
    assert (studio.value("worker_up"), studio.value("task_sent_total", **TASK)) == (None, 1)
    assert studio.shoot(1010.0).value("worker_up") == 0
    studio.camera._sequence.lost()
    assert studio.shoot().value("worker_up") is None


def test_metrics_of_clusters_with_names_have_them_as_a_label_and_others_are_as_they_were(path):
    alone = Studio().take(*life(*STEPS)).shoot()
    prod, eu = Studio(cluster="prod", path=path), Studio(cluster="eu")
    prod.camera.lead([prod.camera, eu.camera])
    prod.take(*life(*STEPS))
    eu.take(*life("sent")).camera._sequence.lost()
    prod.shoot()
    text, whole = render(alone.camera.families()).decode(), path.read_text()
    assert "cluster" not in text
    # Of eu there is what was counted; what is there now is not known.
    of_eu = [line for line in whole.splitlines() if 'cluster="eu"' in line]
    assert 'celery_task_sent_total{cluster="eu",name="shop.pay",queue_name="mail"} 1' in of_eu
    assert not [line for line in of_eu if "worker" in line]
    rest = "".join(line for line in whole.splitlines(keepends=True) if 'cluster="eu"' not in line)
    assert rest.replace('{cluster="prod"} ', " ").replace('cluster="prod",', "") == text


def test_a_dry_run_shows_the_lines(studio):
    studio.take(*life("sent"))
    snapshot = studio.camera.snapshot(studio.camera._sequence.next(1000.0))
    lines = json.loads(dry_run(snapshot))["metrics"]
    assert 'celery_task_sent_total{name="shop.pay",queue_name="mail"} 1' in lines


def test_there_must_be_a_place(tmp_path, studio, path):
    camera = Studio().camera
    for needs_place in (camera.check, camera.install):
        with pytest.raises(UsageError, match="nowhere to put its metrics"):
            needs_place()
    camera.is_served = True
    camera.check()
    assert camera.describe() == "metrics at the address of --listen"
    with pytest.raises(OutputError, match="there is no directory"):
        Studio(path=str(tmp_path / "no" / "x.prom")).camera.check()
    studio.camera.check()
    assert studio.camera.describe() == f"metrics at {path}"


def test_options_are_given_as_text(tmp_path):
    options = {"listen": "9808", "prefix": "shop_", "hostname": "yes", "max_series": "7"}
    options |= {"runtime_buckets": "1,5,60", "wait_buckets": "0.5", "names": "flower"}
    camera = load_camera(f"prometheus:{tmp_path}/x.prom", options=options)(State())
    assert camera.describe() == f"metrics at {tmp_path}/x.prom and http://127.0.0.1:9808/metrics"
    camera.observe(State().apply(life(*STEPS)))
    text = render(camera.families()).decode()
    assert 'shop_task_sent_total{name="shop.pay",queue_name="mail",hostname="generic"} 1' in text
    assert "flower_worker_online" not in text  # before the first snapshot
    assert (
        'flower_task_runtime_seconds_bucket{worker="celery@one",task="shop.pay",le="60.0"} 1'
        in text
    )
    for name, bounds in (("runtime", ("1.0", "5.0", "60.0")), ("queue_wait_time", ("0.5",))):
        found = re.findall(rf'shop_task_{name}_bucket.*le="([\d.]+)"', text)
        assert tuple(found) == bounds


@pytest.mark.parametrize(
    "bad",
    [
        *[{"prefix": prefix} for prefix in ("1x", "", "a-b")],
        *[{"runtime_buckets": bounds} for bounds in ((), (1.0, 1.0))],
        *[{"wait_buckets": b} for b in ((0.0, 1.0), (1.0, float("inf")), (float("nan"),))],
        {"max_series": 0},
        {"names": "flower", "prefix": "flower_"},
        {"listen": "nowhere"},
    ],
)
def test_options_that_cannot_work_are_refused(bad):
    with pytest.raises(UsageError):
        Studio(**bad)
