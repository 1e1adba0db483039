"""The rules and dashboards that are packaged for Prometheus, tried with its own programs."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from evtools.cam.health import own_families
from evtools.cam.metrics import METRICS
from evtools.cam.schedule import Counters
from evtools.transport import Statistics
from servers.process import program
from servers.prometheus import Monitoring
from tools.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGED = Path(__file__).parents[2] / "packaging" / "prometheus"
BOARDS = [PACKAGED / "overview.json", PACKAGED / "tasks.json"]
_NAME = re.compile(r"\b(?:celery|evcam)_\w+")


def expressions(board: Path) -> Iterator[str]:
    """Yield the queries of a dashboard, and of its variables, as Prometheus sees them."""
    for panel in json.loads(board.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"].replace("$__rate_interval", "1m").replace("$cluster", ".*")


def test_rules_do_what_their_tests_say():
    for command in (("check", "rules", "alerts.yaml"), ("test", "rules", "alerts.test.yaml")):
        done = subprocess.run(
            [program("promtool"), *command],
            cwd=PACKAGED,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_dashboards_are_queries_that_prometheus_understands(tmp_path):
    found = [query for board in BOARDS for query in expressions(board)]
    rules = [
        {"record": f"test:{number}", "expr": query.replace("$name", ".*")}
        for number, query in enumerate(found)
    ]
    file = tmp_path / "queries.yaml"
    file.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    done = subprocess.run(
        [program("promtool"), "check", "rules", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(found)} rules found" in done.stdout


def test_every_metric_of_rules_and_dashboards_is_one_that_evcam_has():
    times = {"last_event_at": 1.0, "last_shot_seconds": 1.0, "last_success_at": 1.0}
    known = Counters(lag=1.0, events_by_type={"task-sent": 1}, **times)
    kinds = {f"celery_{name}": kind.kind for name, (kind, *_) in METRICS.items()}
    kinds |= {family.name: family.kind for family in own_families(known, Statistics())}
    suffixes = {"gauge": ("",), "counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
    there = {f"{name}{suffix}" for name, kind in kinds.items() for suffix in suffixes[kind]}
    texts = [(PACKAGED / "alerts.yaml").read_text().partition("groups:")[2]]
    texts += [query for board in BOARDS for query in expressions(board)]
    used = {name for text in texts for name in _NAME.findall(text)}
    assert used <= there
    assert len(used) > 25


@pytest.mark.timeout(180)
def test_alerts_fire_and_resolve(evcam, own_redis, worker, tmp_path):
    """Of a type that fails, a queue that grows, a worker that is gone, evcam that is gone."""
    site, url = Site(), own_redis.url
    made, dying = (worker(url, name=name, queue=name) for name in ("stays", "dies"))
    arguments = ("-c", "prometheus", "--camera-option", "queues=left", "-b", url)
    watching = evcam(*arguments, "--listen", site.address)
    site.wait_value("celery_worker_up", 2)
    monitoring = Monitoring(tmp_path, PACKAGED / "alerts.yaml", site.address)
    monitoring.start()
    try:
        send = made.app.send_task
        dying.kill()
        # Known before it grows, and seen twice while it does.
        for number in range(3):
            site.wait_value("celery_queue_length", 120 * number, queue_name="left")
            for _ in range(120):
                send("cluster.add", queue="left")
            for _ in range(10):
                send("cluster.fail", queue="stays")
        for alert in ("CeleryTaskFailing", "CeleryQueueGrowing", "CeleryQueueWithoutConsumer"):
            monitoring.wait_told(alert, "firing")
        made.app.connection_for_write().default_channel.queue_purge("left")
        monitoring.wait_told("CeleryWorkerGone", "firing")
        dying.start()
        for alert in ("CeleryTaskFailing", "CeleryQueueGrowing", "CeleryWorkerGone"):
            monitoring.wait_told(alert, "resolved")
        assert watching.stop(signal.SIGTERM) == 0
        monitoring.wait_told("EvcamGone", "firing")
        evcam(*arguments, "--listen", site.address)
        monitoring.wait_told("EvcamGone", "resolved")
    finally:
        monitoring.end()
