"""The databases of evcam, read by evtop and evdump."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tools.command import installed
from tools.ledgers import Evcam, common
from tools.told import OTHER, UUID, life, told

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """The file of SQLite, or the URL of PostgreSQL."""
    is_file = request.param == "sqlite"
    return tmp_path / "tasks.db" if is_file else request.getfixturevalue("postgres_url")


def named(database: Any) -> str:
    return f"postgres:{database}" if isinstance(database, str) else f"sqlite:{database}"


def run(tool: str, *args: str, status: int = 0) -> tuple[list[Any], str]:
    """Return the lines of JSON that a tool prints, and what it says beside them."""
    words = [str(installed(tool)), *args, "--color=never"]
    ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=50)
    assert ended.returncode == status, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()], ended.stderr


def rows(database: Any, view: str, *args: str) -> list[Any]:
    return run("evtop", "-B", "--json", "-r", named(database), "--view", view, *args)[0]


#: A task that fails twice, one that a worker of another name has begun, and heartbeats.
EVENTS = [
    *life("sent", "received", "started", "retried"),
    *life("received", "started", "failed", start=20.0, retries=1),
    *life("sent", "received", uuid="other"),
    told("task-started", 12.5, uuid="other", hostname=OTHER),
    *(told("worker-heartbeat", 22.0, hostname=each, processed=7) for each in ("celery@one", OTHER)),
]


def test_evtop_shows_in_all_views_what_evcam_has_written(database: Any) -> None:
    evcam = Evcam(database)
    evcam.hear(EVENTS)
    evcam.shoot()
    # It still runs.
    before = common(database)
    tasks = {row["uuid"]: row for row in rows(database, "tasks")}
    assert {uuid: row["state"] for uuid, row in tasks.items()} == {
        UUID: "FAILURE", "other": "STARTED",
    }  # fmt: skip
    failed = tasks[UUID]
    assert (failed["name"], failed["retries"], failed["queue"]) == ("shop.pay", 1, "mail")
    assert failed["exception"] == "OSError(5)"
    assert failed["traceback"] == "Traceback\nOSError: 5"
    [kind] = rows(database, "types", "--window", "all")
    assert (kind["name"], kind["failed"], kind["retried"]) == ("shop.pay", 1, 1)
    workers = {row["worker"]: row for row in rows(database, "workers")}
    assert {name: row["processed"] for name, row in workers.items()} == {"celery@one": 7, OTHER: 7}
    assert [row["name"] for row in rows(database, "queues")][:1] == ["mail"]
    [error] = rows(database, "errors", "--window", "all")
    assert error["count"] == 1
    assert len(rows(database, "events")) == len(EVENTS)
    assert common(database) == before
    evcam.hear(life("sent", uuid="later"))
    evcam.shoot()
    evcam.close()
    assert len(rows(database, "tasks")) == 3


def test_evdump_gives_out_the_events_and_evcam_makes_the_same_rows_of_them(
    database: Any, tmp_path: Path
) -> None:
    for cluster in ("prod", "eu"):
        evcam = Evcam(database, cluster=cluster)
        evcam.hear(EVENTS)
        evcam.shoot()
        evcam.close()
    events, _ = run("evdump", "-r", named(database), "-o", "json")
    assert len(events) == 2 * len(EVENTS)
    assert {event["cluster"] for event in events} == {"prod", "eu"}
    assert {event["name"] for event in events if "uuid" in event} == {"shop.pay"}
    times = [event["local_received"] for event in events]
    assert times == sorted(times)
    assert {row["cluster"] for row in rows(database, "tasks")} == {"prod", "eu"}
    copy = tmp_path / "copy.db"
    run("evcam", "--read", named(database), "-c", f"sqlite:{copy}", "-l", "ERROR")
    assert {row["state"] for row in common(copy)["tasks"]} == {"FAILURE", "STARTED"}


def test_the_newest_tasks_are_shown_and_the_others_are_counted(database: Any) -> None:
    evcam = Evcam(database)
    for number in range(5):
        evcam.hear(life("sent", "started", start=10.0 * number, uuid=f"task-{number}"))
    evcam.shoot()
    evcam.close()
    args = ("-B", "--json", "-r", named(database), "--max-tasks", "2")
    shown, said = run("evtop", *args)
    assert {row["uuid"] for row in shown} == {"task-3", "task-4"}
    assert "the newest 2 of 5 tasks; --max-tasks N reads more" in said
    shown, _ = run("evtop", *args, "-S", "1970-01-01T00:00:05Z", "-U", "1970-01-01T00:00:15Z")
    assert {row["uuid"] for row in shown} == {"task-1"}


def test_what_keeps_a_database_of_postgresql_from_being_read_is_said_in_one_line(
    postgres_url: str,
) -> None:
    def refusal(url: str, *args: str) -> str:
        _, said = run("evtop", "-B", "-r", url, *args, status=2)
        assert said.count("\n") <= 2
        assert "s3cret" not in said
        return said

    assert "has no tables of evcam" in refusal(f"postgres:{postgres_url}")
    assert "cannot read PostgreSQL host=127.0.0.1 port=1" in refusal(
        "postgresql://me:s3cret@127.0.0.1:1/x"
    )
    assert "cannot read the URL of PostgreSQL" in refusal("postgres:password=s3cret nonsense")
    assert "--speed is about recordings" in refusal(postgres_url, "--speed", "10x")
    evcam = Evcam(postgres_url)
    evcam.shoot()
    evcam.close()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("UPDATE evcam.about SET version = 99")
    assert "written by a newer evcam (its tables are of version 99" in refusal(postgres_url)


def test_evcam_is_not_kept_from_its_file_by_who_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "tasks.db"

    def files() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    evcam = Evcam(file)
    evcam.hear(EVENTS)
    evcam.shoot()
    before = files()
    assert sorted(before) == ["tasks.db", "tasks.db-shm", "tasks.db-wal"]
    assert len(rows(file, "tasks")) == 2
    assert files() == before
    evcam.close()
    before = files()
    assert list(before) == ["tasks.db"]
    assert len(rows(file, "tasks")) == 2
    assert files() == before
