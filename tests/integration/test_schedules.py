"""Types that run at a period: beat and RedBeat, real ones, on real brokers."""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from celery.schedules import crontab, schedule
from redbeat import RedBeatSchedulerEntry
from redbeat.schedules import rrule
from redis import Redis

from evtools.cli.main import start
from evtools.transport import ConnectionSettings, queues
from evtools.transport.queues import Gauge, Plan
from servers.process import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_BEAT = """
from os import environ
from celery import Celery
app = Celery("planned", broker=environ["BROKER"])
app.conf.update(
    task_send_sent_event=True, event_exchange=environ["EXCHANGE"],
    task_default_queue="for-" + environ["EXCHANGE"], beat_max_loop_interval=1,
    beat_schedule={"often": {"task": "report.often", "schedule": 2.0}},
)
"""


@pytest.fixture
def beat(tmp_path: Path, broker_url: str, event_exchange: str) -> Iterator[Process]:
    """Return a beat that sends a task every two seconds, once it is started."""
    (tmp_path / "planned.py").write_text(_BEAT)
    argv = [*(sys.executable, "-m", "celery", "-A", "planned", "beat"), "--pidfile=", "-l", "INFO"]
    env = {**os.environ, "BROKER": broker_url, "EXCHANGE": event_exchange}
    process = Process(argv, log=tmp_path / "beat.log", cwd=tmp_path, env=env)
    yield process
    process.stop()


# The broker makes no difference to what is inferred of events.
@pytest.mark.parametrize("broker", ["redis"], indirect=True)
@pytest.mark.timeout(120)
def test_a_schedule_of_beat_is_seen_and_missed_when_it_stops(
    evtop: Callable[..., Any], beat: Process, broker_url: str, event_exchange: str
) -> None:
    where = "-b", broker_url, "--event-exchange", event_exchange, "--no-broker-stats"
    what = "-B", "--view", "types", "-o", "json", "-n", "0", "-d", "0.5"
    watching = evtop(*where, *what, terminal=None)

    def newest(text: str) -> dict[str, Any]:
        rows = [line for line in text.splitlines() if line.endswith("}")]
        return json.loads(rows[-1]) if rows else {}

    def is_in_time(text: str) -> bool:
        row = newest(text)
        return bool(row.get("period")) and row["overdue"] == 0 and row["next"] is not None

    beat.start()
    waiting = watching.stdout_stream.wait
    row = newest(waiting(is_in_time, 60, beat.log_tail))
    assert row["name"] == "report.often"
    assert row["period"] == pytest.approx(2, abs=0.2)
    assert 0 <= row["next"] <= 3
    beat.stop()
    row = newest(waiting(lambda text: newest(text).get("overdue"), 50, beat.log_tail))
    assert (row["name"], row["next"]) == ("report.often", None)


# --- RedBeat ----------------------------------------------------------------------------


@pytest.fixture
def app(redis_url: str) -> Celery:
    made = Celery("planned", broker=redis_url, set_as_current=False)
    made.conf.update(redbeat_redis_url=redis_url, timezone="Europe/Berlin")
    return made


def save(app: Celery, name: str, task: str, when: Any, ran: datetime | None, **more: Any) -> None:
    """Have RedBeat itself write an entry."""
    entry = RedBeatSchedulerEntry(name, task, when, app=app, **more)
    entry.last_run_at = ran
    entry.save()


def plan(redis_url: str, **settings: Any) -> Plan:
    with Gauge(ConnectionSettings(urls=redis_url, **settings)) as gauge:
        return gauge.plan()


@pytest.mark.parametrize("options", [{}, {"protocol": 3, "global_keyprefix": "blue."}])
def test_what_redbeat_writes_is_read(app: Celery, redis_url: str, options: dict[str, Any]) -> None:
    assert plan(redis_url, options=options) == Plan()
    now = datetime.now(UTC).replace(microsecond=250_000)
    for ran in (now, now.astimezone(app.timezone)):
        save(app, "each hour", "report.hourly", schedule(3600.0, app=app), ran)
    save(app, "weekdays", "report.daily", crontab(0, "9", "1-5", app=app), now)
    each = rrule("MONTHLY", interval=2, dtstart=now - timedelta(days=9), app=app)
    save(app, "monthly", "report.monthly", each, now)
    save(app, "never ran", "report.new", schedule(60.0, app=app), None, args=["x"] * 1000)
    save(app, "off", "report.off", schedule(60.0, app=app), now, enabled=False)
    once = rrule("DAILY", count=1, dtstart=now - timedelta(days=9), app=app)
    save(app, "over", "report.over", once, now)
    found = plan(redis_url, options=options)
    tasks = {task.task: task for task in found.tasks}
    assert found.tasks[0] == tasks["report.new"]
    assert set(tasks) == {f"report.{name}" for name in ("new", "hourly", "daily", "monthly")}
    assert (found.left_out, found.reason) == (0, "")
    hourly = tasks["report.hourly"]
    assert (hourly.name, hourly.every, hourly.schedule) == ("each hour", 3600, "")
    assert hourly.due == pytest.approx(now.timestamp() + 3600, abs=2)
    assert hourly.last == now.timestamp()
    daily, monthly, new = (tasks[f"report.{name}"] for name in ("daily", "monthly", "new"))
    assert (daily.every, daily.schedule) == (None, "crontab 0 9 * * 1-5")
    assert monthly.schedule == "rule monthly, interval 2"
    assert (new.every, new.last) == (60, None)
    assert plan(redis_url, redbeat_key_prefix="other:") == Plan()


def test_entries_that_are_odd_or_too_many_are_left_out(
    app: Celery, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Redis.from_url(redis_url)
    good = {"name": "n", "task": "t", "schedule": {"__type__": "interval", "every": 5}}
    moment = {"__type__": "datetime", "year": 2026, "month": 2, "day": 3}
    odd: list[tuple[dict[str, Any], Any]] = [
        ({"last_run_at": moment | {"timezone": "../../etc/passwd"}}, good),
        ({"last_run_at": moment | {"timezone": "No/Where"}}, good),
        ({"last_run_at": moment | {"month": 13}}, good),
        ({}, good | {"schedule": {"__type__": "interval", "every": "5"}}),
        ({}, good | {"schedule": {"__type__": "interval", "every": -5}}),
        ({}, good | {"schedule": {"__type__": "rrule", "freq": [], "interval": 1e99}}),
        ({}, good | {"schedule": {"__type__": {}, "minute": "x" * 1000}}),
        # These say nothing.
        ({"last_run_at": 5}, good),
        ({}, good | {"task": ""}),
        ({}, good | {"task": "x" * 1000}),
        ({}, good | {"schedule": "often"}),
        ({}, [1]),
        ({}, good | {"kwargs": "x" * 100_000}),
    ]
    for number, (meta, definition) in enumerate(odd):
        parts = {"definition": json.dumps(definition), "meta": json.dumps(meta)}
        client.hset(f"redbeat:{number}", mapping=parts)
        client.zadd("redbeat::schedule", {f"redbeat:{number}": 1000 + number})
    client.zadd("redbeat::schedule", {"redbeat:gone": 1, "foreign": 2, b"redbeat:\xff": 3})
    found = plan(redis_url)
    assert [task.due for task in found.tasks] == [1000.0 + number for number in range(7)]
    assert (found.left_out, found.reason) == (9, "")
    assert {(task.last, task.every) for task in found.tasks[:3]} == {(None, 5)}
    assert [task.every for task in found.tasks[3:]] == [None] * 4
    client.hset("redbeat:0", "definition", "[" * 60_000)
    assert plan(redis_url).left_out == 10
    monkeypatch.setattr(queues, "_ENTRIES_MAX", 5)
    assert (len(plan(redis_url).tasks), plan(redis_url).left_out) == (1, 15)
    client.set("red::schedule", "x")
    assert "WRONGTYPE" in plan(redis_url, redbeat_key_prefix="red:").reason
    client.set("redbeat:0", "x")
    assert "WRONGTYPE" in plan(redis_url).reason


def test_other_brokers_are_not_asked_for_redbeat(rabbitmq_url: str) -> None:
    assert plan(rabbitmq_url) == plan("memory://") == Plan()


@pytest.mark.usefixtures("until_tried")
def test_what_redbeat_has_not_sent_in_time_is_overdue(
    app: Celery, redis_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    app.conf.redbeat_key_prefix = "mine:"
    now = datetime.now(UTC)
    save(app, "late", "report.daily", schedule(300.0, app=app), now - timedelta(minutes=17))
    save(app, "soon", "report.daily", schedule(7200.0, app=app), now)
    save(app, "new", "report.new", crontab(0, 9, app=app), None)
    due = time.time() - 720
    client = Redis.from_url(redis_url)
    client.zadd("mine::schedule", {"mine:late": due, "mine:new": due + 660})
    where = "-b", redis_url, "--redbeat-key-prefix", "mine:", "-B", "-d", "1", "-o", "json"

    def rows(*what: str) -> list[dict[str, Any]]:
        assert start("top", (*where, *what)) == 0
        return [json.loads(line) for line in capfd.readouterr().out.splitlines()]

    found = {row["name"]: row for row in rows("--view", "types")}
    late, new = found["report.daily"], found["report.new"]
    assert (late["period"], late["next"], late["ok"]) == (300, None, 0)
    assert 720 <= late["overdue"] <= time.time() - due
    assert (new["period"], new["next"], new["overdue"]) == (None, 0, 0)
    [row] = rows("--view", "overview")
    assert row["about"] == "overdue"
    assert row["text"].startswith("report.daily is overdue by 12m (every 5m, last ")
    assert rows("--view", "types", "--no-broker-stats") == []


def test_an_alert_says_that_redbeat_has_stopped(
    app: Celery, redis_url: str, evtop: Callable[..., Any], tmp_path: Path
) -> None:
    late = datetime.now(UTC) - timedelta(minutes=17)
    save(app, "late", "report.daily", schedule(300.0, app=app), late)
    Redis.from_url(redis_url).zadd("redbeat::schedule", {"redbeat:late": time.time() - 720})
    settings = tmp_path / "evtools.toml"
    settings.write_text("[alert.beat]\nview = 'types'\nfilter = 'overdue>1m'\n")
    where = "-b", redis_url, "--config", settings
    checked = evtop(*where, "--check", "alerts", "-d", "10", terminal=None)
    assert checked.wait() in (1, 2)
    assert "beat fires: " in checked.stdout
    assert "report.daily" in checked.stdout
