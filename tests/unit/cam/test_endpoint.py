"""What is served: health, status, metrics, those of the camera too."""

import json
import threading
import urllib.error
import urllib.request

import pytest

from evtools.cam.cameras.prometheus import Prometheus
from evtools.cam.counters import Counters
from evtools.cam.endpoint import Endpoint, adopt
from evtools.clock import SystemClock
from evtools.errors import OutputError, UsageError
from evtools.state import State
from evtools.transport import ConnectionSettings, Statistics
from tools.told import life


def endpoint(address="127.0.0.1:0", *, camera=None, settings=None, **counted):
    clock = SystemClock()
    return Endpoint(
        address,
        counters=Counters(ticked_at=clock.monotonic(), **counted),
        statistics=lambda: Statistics(connected=True),
        workers={},
        settings=settings,
        camera=camera,
        clock=clock,
    )


def get(served, path):
    try:
        with urllib.request.urlopen(f"http://{served.address}{path}") as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_everything_is_served_while_it_is_open():
    with endpoint() as served:
        assert get(served, "/livez")[0] == 200
        assert get(served, "/readyz")[0] == 200
        assert json.loads(get(served, "/status")[1])["alive"] is True
        assert "evcam_up 1\n" in get(served, "/metrics")[1]
        assert get(served, "/") == (
            404,
            "Not Found: there is: /livez, /readyz, /status, /metrics\n",
        )
    names = {thread.name for thread in threading.enumerate()}
    assert names.isdisjoint({"evtools-http", "evtools-probe"})


def test_a_camera_that_has_metrics_is_served_too():
    state = State()
    camera = Prometheus(state)
    camera.observe(state.apply(life("sent")))
    with endpoint(camera=camera) as served:
        text = get(served, "/metrics")[1]
    assert "celery_task_sent_total{" in text
    assert "evcam_up 1\n" in text
    camera.check()


@pytest.mark.parametrize("camera", [None, object()])
def test_other_cameras_have_none(camera):
    assert not adopt(camera)
    with endpoint(camera=camera) as served:
        assert "celery_" not in get(served, "/metrics")[1]


def test_without_heartbeats_a_broker_is_tried_that_is_not_there():
    settings = ConnectionSettings(urls="redis://127.0.0.1:1/0")
    with endpoint(settings=settings) as served:
        status, answer = get(served, "/readyz")
    assert status == 503
    assert "connection refused" in answer


def test_a_broker_that_lets_us_in_is_enough():
    with endpoint(settings=ConnectionSettings(urls="memory://")) as served:
        assert get(served, "/readyz")[0] == 200


def test_a_bad_address_is_told_at_once():
    with pytest.raises(UsageError, match="cannot listen"):
        endpoint("nowhere")


def test_an_address_that_is_taken_is_told_at_once():
    with endpoint() as served, pytest.raises(OutputError, match="Address already in use"):
        endpoint(str(served.address))
