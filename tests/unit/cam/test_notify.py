"""Notifications, read from a real socket."""

import os

import pytest

from evtools.cam.notify import Notifier
from tools.clock import FakeClock
from tools.systemd import NotifySocket


@pytest.fixture(params=["path", "abstract"])
def systemd(request, tmp_path):
    address = str(tmp_path / "notify")
    if request.param == "abstract":
        address = f"@evcam-test-{os.getpid()}"
    with NotifySocket(address) as listening:
        yield listening


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def notifier(systemd, clock):
    environ = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "10000000"}
    made = Notifier.from_environment(environ, clock=clock)
    assert environ == {}
    yield made
    made.close()


def test_ready_says_which_process_it_is(notifier, systemd):
    notifier.ready("connected")
    assert systemd.read() == ["READY=1", f"MAINPID={os.getpid()}", "STATUS=connected"]
    notifier.ready()
    assert systemd.read() == ["READY=1", f"MAINPID={os.getpid()}"]


def test_a_status_is_one_line_and_sent_once(notifier, systemd):
    notifier.status("3 workers\nREADY=1")
    assert systemd.read() == ["STATUS=3 workers READY=1"]
    notifier.status("3 workers\nREADY=1")
    assert systemd.is_silent


def test_what_ready_said_is_not_said_again(notifier, systemd):
    notifier.ready("connected")
    systemd.read()
    notifier.status("connected")
    assert systemd.is_silent


def test_signs_of_life_come_at_half_the_time_that_systemd_wants(notifier, systemd, clock):
    notifier.watchdog()
    assert systemd.read() == ["WATCHDOG=1"]
    clock.now += 4.9
    notifier.watchdog()
    clock.now += 0.1
    notifier.watchdog()
    assert systemd.read() == ["WATCHDOG=1"]
    assert systemd.is_silent


def test_a_reload_has_its_time_in_the_same_datagram(notifier, systemd, clock):
    clock.now = 12.5
    notifier.reloading()
    assert systemd.read() == ["RELOADING=1", "MONOTONIC_USEC=12500000"]


def test_the_end_is_told(notifier, systemd):
    notifier.stopping("taking the last shot")
    assert systemd.read() == ["STOPPING=1", "STATUS=taking the last shot"]
    notifier.close()
    notifier.close()
    notifier.stopping()
    assert systemd.is_silent


@pytest.mark.parametrize(
    ("variables", "beats"),
    [
        ({"WATCHDOG_PID": str(os.getpid())}, True),
        ({"WATCHDOG_PID": str(os.getppid())}, True),
        ({"WATCHDOG_PID": "1000000000"}, False),
        ({"WATCHDOG_USEC": "soon"}, False),
        ({"WATCHDOG_USEC": "9" * 5000}, False),
        ({"WATCHDOG_USEC": "0"}, False),
    ],
)
def test_the_watchdog_must_be_for_us(systemd, variables, beats):
    environ = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "1000000"}
    notifier = Notifier.from_environment(environ | variables)
    notifier.watchdog()
    assert systemd.is_silent is not beats
    notifier.close()


@pytest.mark.parametrize("address", ["", "vsock:2:1", "relative", "/nobody/is/here"])
def test_where_nobody_listens_nothing_happens(address):
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": address})
    notifier.ready("x")
    notifier.status("y")
    notifier.watchdog()
    notifier.close()
