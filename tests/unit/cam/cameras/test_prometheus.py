"""Metrics over HTTP and in files, as of the last shot."""

import json
import os
import resource
import stat
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from evtools.cam.cameras.prometheus import Prometheus
from evtools.cam.loader import load_camera
from evtools.cam.proof import proof
from evtools.cam.timer import Timer
from evtools.errors import OutputError, UsageError
from evtools.state import State
from tools.clock import FakeClock
from tools.told import life, told


@pytest.fixture
def clock():
    return FakeClock(1000.0)


class Studio:
    """A camera that is warm and connected, and its state."""

    def __init__(self, clock, **options):
        self.clock = clock
        self.state = State()
        self.camera = Prometheus(self.state, timer=Timer(clock), **options)
        self.camera.load(self.camera.roll, clock)
        self.camera.roll.subscribed(0.0)

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


def figures(text):
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
    found = figures(path.read_text())
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
            assert ("celery_worker_up",) not in figures(response.read().decode())
        # Counters are as of now, gauges as of the last shot.
        studio.take(*life("sent")).shoot().take(*life("sent", uuid="b"))
        with urllib.request.urlopen(url) as response:
            found = figures(response.read().decode())
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
    studio.camera.roll.subscribed(999.0)
    studio.take(*life("sent")).shoot()
    found = figures(path.read_text())
    assert ("celery_worker_up",) not in found
    assert found["celery_task_sent_total", "mail", "shop.pay"] == 1
    clock.now = 1010.0
    studio.shoot()
    assert figures(path.read_text())["celery_worker_up",] == 0


def test_how_things_stand_is_not_told_without_a_connection(studio, path):
    studio.take(told("worker-heartbeat", 999.0)).shoot()
    studio.camera.roll.lost()
    studio.shoot()
    assert ("celery_worker_up",) not in figures(path.read_text())


def test_what_would_be_told_can_be_looked_at(studio):
    studio.take(*life("sent"))
    picture = studio.camera.expose(studio.camera.roll.next(1000.0))
    lines = json.loads(proof(picture))["metrics"]
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
