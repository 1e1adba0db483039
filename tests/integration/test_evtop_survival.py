"""evtop while its broker dies, and while its screen stands still."""

from __future__ import annotations

import contextlib
import signal
import socket
from urllib.parse import urlsplit

import pytest

from servers.process import wait_until
from tools.flow import Flow


def kill(broker):
    """Kill a broker; return when it has closed its connections."""
    address = urlsplit(broker.url)
    witness = socket.create_connection((address.hostname, address.port), timeout=10)
    broker.process.signal_group(signal.SIGKILL)
    with witness, contextlib.suppress(ConnectionResetError):
        assert witness.recv(1) == b""


@pytest.mark.timeout(120)
def test_a_broker_that_dies_is_told_of_and_the_last_data_stay(evtop, own_broker):
    top = evtop("-b", own_broker.url, terminal=(120, 32))
    with Flow(own_broker.url, "celeryev", rate=50):
        top.wait_screen("LIVE")
        top.press("5")
        top.wait_screen("[5 Events]")
        wait_until(lambda: len(top.screen().split("\n")[6].split()) > 2, what="an event")
        kill(own_broker)
        screen = top.wait_screen("data as of", deadline=2)
        assert "RECONNECTING" in screen
        # The picture may have come in two pieces, of which this was the first.
        wait_until(lambda: len(top.screen().split("\n")[6].split()) > 2, what="the last data")
        own_broker.kill()
        own_broker.start()
        top.wait_screen("LIVE", deadline=30)
        top.wait_screen(lambda screen: "data as of" not in screen)
    top.press("Q")
    assert top.wait() == 0
    assert top.stderr == ""


@pytest.mark.timeout(120)
def test_nothing_is_lost_while_the_terminal_stands_still(evtop, redis_url, tmp_path):
    path = tmp_path / "tape.jsonl"
    top = evtop("-b", redis_url, "-w", str(path), terminal=(120, 32))
    top.wait_screen("LIVE")
    with Flow(redis_url, "celeryev", rate=1000) as flow:
        wait_until(lambda: flow.sent > 500, what="a flow")
        top.pause_output()
        # Keys have it draw until its terminal takes no more.
        for _ in range(50):
            top.press("5", "1", "ctrl-l")
        start = flow.sent
        wait_until(lambda: flow.sent > start + 5000, deadline=30, what="a flow")
        top.resume_output()
        top.press("5")
        top.wait_screen("[5 Events]")
    sent = flow.sent
    wait_until(lambda: path.read_bytes().count(b"\n") >= sent, what="all events")
    screen = top.wait_screen("LIVE")
    assert "dropped" not in screen
    top.send_signal(signal.SIGTERM)
    assert top.wait() == 0
