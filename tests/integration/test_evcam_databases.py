"""evcam's databases against what really happened, and against each other."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from cluster.scenario import Scenario
from cluster.story import Story
from cluster.witness import Witness
from evtools.state import State
from evtools.wire import iso_utc
from servers.process import wait_until
from servers.redis import RedisServer
from tools.daemon import EvcamStarter
from tools.ledgers import Contents, contents, shared_out

if TYPE_CHECKING:
    from pathlib import Path

    from servers.postgres import PostgresServer
    from servers.rabbitmq import RabbitMQServer

pytestmark = pytest.mark.timeout(240)

#: What depends on when an evcam hears something, and not on what happens.
HEARING = {"first_heard", "last_heard", "heard"}
#: The databases that are written in the recording.
ALONE, SERVED, SHARED = "a file", "a server", "a server that two evcams share"


@dataclass(frozen=True)
class Recording:
    """What happened, and what databases have of it."""

    story: Story
    written: dict[str, Contents]
    #: What the event logs have of each event of a task.
    logged: dict[str, list[Any]]
    is_split: bool

    def tasks(self, database: str) -> dict[str, dict[str, Any]]:
        """Return the rows of tasks by uuid."""
        return {row["uuid"]: row for row in self.written[database]["tasks"]}


@pytest.fixture(scope="session")
def recording(
    broker: RedisServer | RabbitMQServer,
    redis_server: RedisServer,
    postgres_server: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Recording:
    """A scenario that four evcams watch; on RabbitMQ two of them share a queue."""
    redis = isinstance(broker, RedisServer)
    folder = tmp_path_factory.mktemp("databases")
    url, exchange = broker.fresh_url() if redis else broker.url, "celeryev.databases"
    databases: dict[str, Path | str] = {
        ALONE: folder / "ledger.db",
        SERVED: postgres_server.fresh_url(),
        SHARED: postgres_server.fresh_url(),
    }
    scenario = Scenario(
        broker_url=url,
        event_exchange=exchange,
        result_backend=redis_server.fresh_url(),
        folder=folder,
        redelivers=not redis,
    )
    with ExitStack() as stack:
        starter = EvcamStarter(folder)
        stack.callback(starter.end)
        stack.callback(scenario.end)
        witness = stack.enter_context(Witness(url, exchange))
        started = []
        for database, share in (
            *((ALONE, ()), (SERVED, ())),
            *[(SHARED, () if redis else ("--queue", "evcam.databases"))] * 2,
        ):
            camera = _camera(databases[database], folder)
            where = ("-b", url, "--event-exchange", exchange, *share)
            started.append(starter(*where, *camera, "--freq", "500ms"))
        for evcam in started:
            evcam.wait_ready()
        scenario.play(witness)
        state = State()
        for batch in list(witness.batches):
            state.apply(batch)
        outcome = scenario.outcome(state.tasks)
        scenario.end()
        for name, database in databases.items():
            _wait_for_last_words(database, witness, copies=2 if name == SHARED and redis else 1)
        for evcam in started:
            assert evcam.stop(15) == 0, evcam.stderr
    return Recording(
        Story(witness.batches, outcome, state),
        {name: contents(database) for name, database in databases.items()},
        {name: _logged(databases[name]) for name in (SERVED, SHARED)},
        is_split=not redis,
    )


def _camera(database: Path | str, folder: Path) -> list[str]:
    if not isinstance(database, str):
        return ["-c", f"sqlite:{database}"]
    secret = folder / f"url{hash(database)}"
    secret.write_text(database)
    return ["-c", f"postgres:@{secret}?events=1d"]


def _logged(database: Path | str) -> list[Any]:
    assert isinstance(database, str)
    question = "SELECT event FROM evcam.events WHERE type LIKE 'task-%'"
    with psycopg.connect(database) as connection:
        return [event for (event,) in connection.execute(question)]


def _wait_for_last_words(database: Path | str, witness: Witness, *, copies: int) -> None:
    """Wait until a database has what each worker told last, and all events of tasks so often."""

    def there() -> bool:
        events, found = list(witness.events), contents(database)
        beats = [e for e in events if e["type"] == "worker-heartbeat"]
        last = {event["hostname"]: iso_utc(event["timestamp"]) for event in beats}
        rows = {row["hostname"]: row for row in found["workers"]}
        of_tasks = sum(event["type"].startswith("task-") for event in events)
        counted = sum(row["events"] for row in found["snapshots"])
        return counted >= of_tasks * copies and all(
            hostname in rows and rows[hostname]["last_told"] >= told
            for hostname, told in last.items()
        )

    wait_until(there, what=f"all events in {database}")


databases = pytest.mark.parametrize("database", [ALONE, SERVED, SHARED])

# --- what happened -------------------------------------------------------------------


@databases
def test_every_task_is_there_in_the_state_that_the_result_backend_has(recording, database):
    outcome = recording.story.outcome
    written = {uuid: row["state"] for uuid, row in recording.tasks(database).items()}
    held = {uuid: result["status"] for uuid, result in outcome.results.items()}
    if not outcome.redelivers:
        # A worker tells the backend when it starts a task, not when it has it.
        uuid = outcome.uuids["held"]
        assert (held.pop(uuid), written.pop(uuid)) == ("PENDING", "RECEIVED")
    assert written == held
    assert set(outcome.uuids.values()) <= set(recording.tasks(database))


@databases
def test_results_are_those_of_the_backend(recording, database):
    outcome, tasks = recording.story.outcome, recording.tasks(database)
    written, held = {}, {}
    for name, uuid in outcome.uuids.items():
        # Tuples, which JSON makes lists.
        if tasks[uuid]["state"] == "SUCCESS" and name not in {"long", "hostile"}:
            written[name] = tasks[uuid]["result"]
            held[name] = repr(outcome.results[uuid]["result"])
    assert written == held
    assert len(written) > 60


@databases
def test_a_row_tells_what_the_state_does(recording, database):
    names = (
        *("name", "args", "kwargs", "retries", "client", "queue", "root_id"),
        *("parent_id", "runtime", "result", "exception", "traceback", "requeue"),
    )
    times = ("sent", "received", "started", "ended", "retried")
    rows = recording.tasks(database)
    written, told = {}, {}
    for uuid, task in recording.story.state.tasks.items():
        row = rows[uuid]
        written[uuid] = [row[name] for name in (*names, "worker", *times)]
        told[uuid] = [getattr(task, name, None) for name in names]
        told[uuid] += [task.worker_name, *(iso_utc(getattr(task, n)) for n in times)]
    assert written == told


@databases
def test_attempts_are_those_that_were(recording, database):
    written: dict[str, list[tuple[int, str, str]]] = {}
    for row in recording.written[database]["attempts"]:
        told = (row["number"], row["state"], row["worker"])
        written.setdefault(recording.story.names[row["uuid"]], []).append(told)
    assert written == {
        recording.story.names[uuid]: [(a.number, a.state, a.worker_name) for a in attempts]
        for uuid, task in recording.story.state.tasks.items()
        if (attempts := task.attempts)
    }
    assert written["persevered"] == [(n, "RETRY", "home@cluster") for n in range(3)]


@databases
def test_workers_are_those_that_were(recording, database):
    workers = {row["hostname"]: row for row in recording.written[database]["workers"]}
    assert {name: row["pid"] for name, row in workers.items()} == (recording.story.outcome.pids)
    assert {name for name, row in workers.items() if row["goodbye"]} == {"east@cluster"}
    assert {row["sw_ident"] for row in workers.values()} == {"py-celery"}
    assert {row["freq"] for row in workers.values()} == {2.0}


def test_clickhouse_has_what_the_result_backend_has(recording, clickhouse):
    url = clickhouse.fresh_url()
    shared_out([url] * 2, recording.story.events, seed=3, size=2000)
    found = clickhouse.ask(f"SELECT uuid, state, result FROM {url.rpartition('/')[2]}.tasks")
    outcome = recording.story.outcome
    written = {uuid: state for uuid, state, _ in found}
    held = {uuid: result["status"] for uuid, result in outcome.results.items()}
    if not outcome.redelivers:
        uuid = outcome.uuids["held"]
        assert (held.pop(uuid), written.pop(uuid)) == ("PENDING", "RECEIVED")
    assert written == held
    of_sqlite = recording.tasks(ALONE)
    assert {uuid: text for uuid, _, text in found} == {
        uuid: row["result"] for uuid, row in of_sqlite.items()
    }


# --- each other ----------------------------------------------------------------------


def told(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows without what depends on who heard of it."""
    return [{n: v for n, v in row.items() if n not in HEARING} for row in rows]


@pytest.mark.parametrize("table", ["tasks", "attempts", "workers"])
@pytest.mark.parametrize("database", [SERVED, SHARED])
def test_all_databases_have_the_same_rows(recording, database, table):
    one, other = recording.written[ALONE][table], recording.written[database][table]
    assert told(other) == told(one)


@databases
def test_snapshots_count_each_event_as_often_as_it_was_heard(recording, database):
    snapshots = recording.written[database]["snapshots"]
    of_tasks = sum(e["type"].startswith("task-") for e in recording.story.events)
    evcams = {row["evcam"] for row in snapshots}
    assert len(evcams) == (2 if database == SHARED else 1)
    for evcam in evcams:
        numbers = [row["sequence"] for row in snapshots if row["evcam"] == evcam]
        assert numbers == [*range(1, len(numbers) + 1)]
    heard = of_tasks * (2 if database == SHARED and not recording.is_split else 1)
    assert sum(row["events"] for row in snapshots) == heard
    assert {(row["lost"], row["dropped"], row["missed"]) for row in snapshots} == {(0, 0, 0)}
    if database == SHARED and recording.is_split:
        shares = [
            sum(row["events"] for row in snapshots if row["evcam"] == evcam) for evcam in evcams
        ]
        assert all(share > of_tasks / 4 for share in shares)


@pytest.mark.parametrize("database", [SERVED, SHARED])
def test_event_logs_have_each_event_of_a_task_once_as_it_was_sent(recording, database):
    def told(events: list[Any]) -> list[str]:
        # Of clients, receivers replace the clock.
        kept = [
            {k: v for k, v in e.items() if k not in {"clock", "local_received"}} for e in events
        ]
        return sorted(json.dumps(event, sort_keys=True) for event in kept)

    sent = [event for event in recording.story.events if event["type"].startswith("task-")]
    assert told(recording.logged[database]) == told(sent)


# --- evcam ---------------------------------------------------------------------------


def test_redis_cannot_share_out_events(evcam, redis_url, tmp_path):
    camera = ("-c", f"sqlite:{tmp_path}/ledger.db")
    running = evcam("-b", redis_url, "--queue", "ours", *camera)
    assert running.wait() == 2
    assert "--queue ours: only RabbitMQ can share out events" in running.stderr


def test_what_would_be_written_can_be_looked_at(evcam, tmp_path):
    file = tmp_path / "ledger.db"
    running = evcam("--demo", "--test", "--freq", "2s", "-c", f"sqlite:{file}")
    assert running.wait() == 0
    shown = json.loads(running.stdout)
    assert list(shown) == ["tasks", "attempts", "workers", "snapshots"]
    assert shown["tasks"]
    assert not file.exists()
