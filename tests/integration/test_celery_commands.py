"""evtop, evdump and evcam as commands of Celery, found by their entry points."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from servers.process import wait_until
from tools.command import Command, Starter, installed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

APPLICATION = """
from celery import Celery

app = Celery("proj", broker={url!r})
app.conf.update(event_exchange="celeryev.proj")
"""


@pytest.fixture
def heartbeats(redis_url, sender) -> Iterator[str]:
    """The address of a broker with a worker, at the exchange of the application."""
    stream, over = sender(redis_url, "celeryev.proj"), threading.Event()

    def beat() -> None:
        while not over.wait(0.2):
            stream.send("worker-heartbeat", hostname="w1@app", freq=1.0)

    thread = threading.Thread(target=beat)
    thread.start()
    yield redis_url
    over.set()
    thread.join()


@pytest.fixture
def celery(heartbeats, tmp_path) -> Iterator[Callable[..., Command]]:
    """Start `celery -A proj TOOL`."""
    (tmp_path / "proj.py").write_text(APPLICATION.format(url=heartbeats))
    starter = Starter(tmp_path)
    yield lambda *words: starter.start([str(installed("celery")), "-A", "proj", *words])
    starter.end()


def test_evdump_is_told_by_the_application_what_to_listen_to(celery):
    (line,) = celery("evdump", "-o", "json", "-c", "1").lines(1, deadline=40)
    event = json.loads(line)
    assert (event["type"], event["hostname"]) == ("worker-heartbeat", "w1@app")


def test_evtop_is_told_by_the_application_what_to_listen_to(celery):
    table = celery("evtop", "-B", "-n", "0", "--view", "workers", "-d", "0.2", "-o", "json")
    table.wait_stdout("w1@app", deadline=40)
    assert table.stop() == 0


def test_evcam_is_told_by_the_application_what_to_listen_to(celery, tmp_path: Path):
    shots = tmp_path / "shots.jsonl"
    camera = celery("evcam", "-c", f"jsonl:{shots}", "-F", "0.2", "--warm-up", "0")
    wait_until(
        lambda: shots.exists() and "w1@app" in shots.read_text(), deadline=40, what="the worker"
    )
    assert camera.stop() == 0


@pytest.mark.parametrize("tool", ["evtop", "evdump", "evcam"])
def test_each_is_listed_and_has_its_options(celery, tool):
    def said(*words: str) -> str:
        command = celery(*words)
        assert command.wait(deadline=40) == 0
        return command.stdout

    assert f"  {tool} " in said("--help")
    assert said(tool, "--help").startswith(f"Usage: celery {tool} ")
    assert said(tool, "--version").startswith(f"{tool} ")
