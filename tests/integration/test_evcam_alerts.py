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
from servers.process import program, wait_until
from servers.prometheus import Monitoring
from tools.collector import Collector
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
        with made.app.connection_for_write() as connection:
            connection.default_channel.queue_purge("left")
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


# --- hooks of evcam ---------------------------------------------------------------------

_HOSTILE = "$(touch pwned) `touch pwned`; touch pwned '\"\n\x1b[2J\u202e--help"


@pytest.mark.timeout(120)
def test_a_failing_type_reaches_a_program_and_a_server_whatever_other_hooks_do(
    evcam, broker, broker_url, worker, sender, tmp_path
):
    """It fires once, by kind of failure, and resolves; hooks that hang, fail or flood are apart."""
    url, exchange = broker_url, f"celeryev.{tmp_path.name}"
    out, pid, site = tmp_path / "out.jsonl", tmp_path / "pid", Site()
    hang = f"sh -c 'echo $$ > {pid}; exec sleep 600'"
    flood = "head -c 100000000 /dev/zero"
    left = f"left{site.address.rpartition(':')[2]}"
    with Collector() as collector:
        made = worker(url, event_exchange=exchange)
        watching = evcam(
            *("-b", url, "--event-exchange", exchange, "--listen", site.address),
            *("--on", "state:failure", "--over", "10s", "--cooldown", "0"),
            *("--run", f"sh -c 'cat >> {out}'", "--webhook", f"{collector.url}/T0K3N"),
            *("--run", hang, "--run", "false", "--run", flood, "--hook-timeout", "8s"),
            *(
                "--on",
                f"depth>=7 name={left}",
                "--view",
                "queues",
                "--run",
                f"sh -c 'cat >> {out}'",
            ),
        )
        site.wait_value("evcam_state_workers", 1)
        for _ in range(7):
            made.app.send_task("cluster.add", queue=left)
        for _ in range(5):
            made.app.send_task("cluster.fail", queue=made.queue)

        def notices(alert="state-failure"):
            # As far as the last line that is whole.
            lines = out.read_text().split("\n")[:-1] if out.exists() else []
            return [each for each in map(json.loads, lines) if each["alert"] == alert]

        wait_until(notices, what="the program to run")
        pretender = sender(url, exchange)
        pretender.send("task-received", uuid="u", name=_HOSTILE, hostname="w@h")
        pretender.send("task-failed", uuid="u", hostname="w@h", exception=f"E({_HOSTILE!r})")
        wait_until(lambda: len(notices()) == 4, what="begin and end of both kinds of failure")
        # The first may be over before the second begins.
        told = {}
        for each in notices():
            told.setdefault(each["id"], []).append(each)
        (first, *_), (second, *_) = told.values()
        for states in ([each["state"] for each in of_one] for of_one in told.values()):
            assert states == ["fired", "resolved"]
        assert (first["group"]["type"], first["worker"]) == ("cluster.fail", made.hostname)
        assert [of_one[-1]["count"] for of_one in told.values()] == [5, 1]
        assert second["type"] == _HOSTILE
        assert second["event"]["name"] == _HOSTILE
        wait_until(lambda: len(collector.requests) == 4, what="all requests")
        assert [json.loads(each.body) for each in collector.requests] == notices()
        wait_until(
            lambda: notices(f"depth-7-name-{left}"), what="the broker to say so", deadline=30
        )
        assert notices(f"depth-7-name-{left}")[0]["row"]["depth"] == 7

        def hook(words):
            hooks = json.loads(site.get("/status")[1])["hooks"]
            return next(each for each in hooks if each["hook"] == words)

        wait_until(lambda: hook(flood)["delivered"] == 4, what="the flood to be over")
        assert (hook("false")["delivered"], hook("false")["last_error"]) == (0, "exit status 1")
        hung = int(wait_until(lambda: pid.exists() and pid.read_text(), what="one that hangs"))
        assert watching.stop(signal.SIGTERM) == 0
    assert not Path(f"/proc/{hung}").exists()
    assert not (tmp_path / "pwned").exists()
    log = watching.stderr
    assert "T0K3N" not in log
    assert "\x1b" not in log
    assert re.search(r"evcam ends, and \d+ notices were not delivered", log)
