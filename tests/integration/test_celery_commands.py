"""evtop, evdump and evcam as commands of Celery, found by their entry points."""

from __future__ import annotations

import json
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from tools.command import installed

if TYPE_CHECKING:
    from collections.abc import Iterator
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
def celery(heartbeats, tmp_path):
    """Run `celery -A proj TOOL`; return its stdout."""
    (tmp_path / "proj.py").write_text(APPLICATION.format(url=heartbeats))

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [installed("celery"), "-A", "proj", *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            timeout=50,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_evdump_is_told_by_the_application_what_to_listen_to(celery):
    event = json.loads(celery("evdump", "-o", "json", "-c", "1"))
    assert (event["type"], event["hostname"]) == ("worker-heartbeat", "w1@app")


def test_evtop_is_told_by_the_application_what_to_listen_to(celery):
    table = celery("evtop", "-B", "--view", "workers", "-d", "2s", "-o", "json")
    assert "w1@app" in table


def test_evcam_is_told_by_the_application_what_to_listen_to(celery, tmp_path: Path):
    celery("evcam", "-c", "jsonl:shots.jsonl", "--once", "-F", "2s", "--warm-up", "0")
    shots = (tmp_path / "shots.jsonl").read_text()
    assert "w1@app" in shots


@pytest.mark.parametrize("tool", ["evtop", "evdump", "evcam"])
def test_each_is_listed_and_has_its_options(celery, tool):
    assert f"  {tool} " in celery("--help")
    assert celery(tool, "--help").startswith(f"Usage: celery {tool} ")
    assert celery(tool, "--version").startswith(f"{tool} ")
