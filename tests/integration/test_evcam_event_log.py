"""The event log of the camera postgres: rows, days, and who writes them."""

import random
import re

import psycopg
import pytest
from psycopg.rows import dict_row

from evtools.clock import SystemClock
from evtools.errors import OutputError
from evtools.wire import gap
from tools.clock import FakeClock
from tools.command import ROOT
from tools.ledgers import Evcam, contents, touch
from tools.told import CLIENT, OTHER, UUID, WORKER, life, told

_DAY = 86_400.0
#: Noon of a day.
NOON = 1_795_003_200.0
KEPT = 30 * _DAY


def at_noon(*events, **fields):
    """Return events that came just before noon."""
    return [
        {
            **event,
            "timestamp": event["timestamp"] + NOON - 100,
            "local_received": event["local_received"] + NOON - 100,
            **fields,
        }
        for event in events
    ]


@pytest.fixture
def evcam(postgres_url):
    """Start evcams with an event log, at noon: `evcam()`."""
    started = []

    def start(**options):
        made = Evcam(postgres_url, **{"events": KEPT, **options})
        made.camera.clock = FakeClock(NOON)
        started.append(made)
        return made

    yield start
    for made in started:
        made.close()


@pytest.fixture
def query(postgres_url):
    """Return rows as dictionaries, with times in UTC."""
    with psycopg.connect(postgres_url, autocommit=True, row_factory=dict_row) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        connection.execute("SET search_path = evcam")

        def run(question, *values):
            found = connection.execute(question, values or None)
            return found.fetchall() if found.description else None

        yield run


def log_of(query, columns="*"):
    return query(f"SELECT {columns} FROM events ORDER BY time, id")


def partitions(query):
    found = query("SELECT relid::regclass::text AS name FROM pg_partition_tree('events')")
    return sorted(row["name"] for row in found)[1:]


# --- rows ----------------------------------------------------------------------------


def test_the_log_has_each_event_as_it_was_sent_and_what_is_known_of_its_task(evcam, query):
    events = at_noon(
        *life("sent", "received", "started", "failed"),
        told("worker-heartbeat", 20.0),
        told("task-progress", 21.0, own={"done": [1, None]}, traceback="é" * 20_000),
    )
    one = evcam()
    one.hear(events)
    one.shoot()
    rows = log_of(query)
    sent = [{n: v for n, v in event.items() if n != "local_received"} for event in events]
    *others, progress = (row["event"] for row in rows)
    assert others == sent[:-1]
    assert progress.pop("traceback") == "…" + "é" * (16 * 1024 - 1)
    assert progress.items() < sent[-1].items()
    assert [row["time"].timestamp() for row in rows] == [e["timestamp"] for e in events]
    assert [row["received"].timestamp() for row in rows] == [e["local_received"] for e in events]
    known = {(row["type"], row["name"], row["queue"], row["uuid"]) for row in rows}
    of_task = {(event["type"], "shop.pay", "mail", UUID) for event in events}
    of_task.remove(("worker-heartbeat", "shop.pay", "mail", UUID))
    assert known == of_task | {("worker-heartbeat", None, None, None)}
    assert {row["hostname"] for row in rows} == {CLIENT, WORKER}
    assert contents_of(one)["tasks"][0]["state"] == "FAILURE"


def contents_of(evcam):
    return contents(evcam.camera.connection.info.dsn)


def test_a_field_too_large_for_the_log_is_left_out_and_its_size_noted(evcam, query):
    own = {f"field{n}": "x" * 10_000 for n in range(20)}
    one = evcam()
    one.hear(at_noon(told("task-started", **own), told("task-started", 11.0, own="a\0\ud800")))
    one.shoot()
    large, odd = log_of(query, "event")
    assert large["event"]["evtools:left_out_bytes"] > 200_000
    assert (large["event"]["uuid"], "field0" in large["event"]) == (UUID, False)
    assert odd["event"]["own"] == "a\ufffd\ufffd"


def test_gaps_are_in_the_log(evcam, query):
    one = evcam(max_waiting=2000)
    one.camera._sequence.note(gap("reconnect", NOON - 60, NOON - 50))
    one.camera._sequence.note(gap("worker", NOON - 40, NOON - 40, hostname=WORKER, missed=7))
    one.hear(at_noon(*life(*["received"] * 9)))
    one.shoot()
    gaps = [row["event"] for row in log_of(query) if row["type"] == "evdump-gap"]
    by_reason = {each["reason"]: each for each in gaps}
    assert by_reason["reconnect"]["to"] == NOON - 50
    assert by_reason["worker"]["missed"] == 7
    assert by_reason["buffer"]["dropped"] > 0
    assert {each["evcam"] for each in gaps} == {one.camera._sequence.evcam}


def test_clusters_with_the_same_names_are_apart(evcam, query):
    events = at_noon(*life("sent", "received"))
    prod, eu = evcam(cluster="prod"), evcam(cluster="eu")
    prod.camera.lead([prod.camera, eu.camera])
    prod.hear(events)
    eu.hear(events)
    prod.shoot()
    assert [row["cluster"] for row in log_of(query)].count("eu") == 2
    assert len({row["id"] for row in log_of(query)}) == 4


def test_events_wait_in_a_spool_if_there_is_one(evcam, query, tmp_path):
    one = evcam(spool=str(tmp_path / "spool"))
    one.camera.open_spool()
    for step in ("sent", "received"):
        one.hear(at_noon(told(f"task-{step}", 10.0)))
        one.shoot()
    assert {row["type"] for row in log_of(query)} == {"task-sent", "task-received"}
    assert [row["events"] for row in contents_of(one)["snapshots"]] == [1, 1]


# --- once ----------------------------------------------------------------------------


def _all_kinds():
    """Events of all kinds: of good clocks, of odd ones and without."""
    for number in range(30):
        uuid = f"task{number}"
        yield from at_noon(*life("sent", "received", "started", "succeeded", uuid=uuid))
        yield from at_noon(*life("sent", "received", uuid=f"far{uuid}"), timestamp=4e9 + number)
        yield from at_noon(told("task-x", uuid=uuid, own=number), timestamp="yesterday")
        yield from at_noon(told("worker-heartbeat", number / 8, hostname=OTHER))


def test_two_evcams_and_repeated_batches_in_any_order_end_in_the_same_rows(evcam, query):
    events = list(_all_kinds())
    chance = random.Random(8)
    for _ in range(2):
        one = evcam()
        heard = [e | {"local_received": e["local_received"] + chance.random()} for e in events]
        chance.shuffle(heard)
        for start in range(0, len(heard), 50):
            one.hear(heard[start : start + 50])
            one.shoot()
        # Clocks of clients are replaced by their receivers.
        for event in events:
            if event["type"] == "task-sent":
                event["clock"] += 1
    rows = log_of(query)
    assert len(rows) == len(events)
    assert len({row["id"] for row in rows}) == len(events)
    assert {row["name"] for row in rows if row["type"] == "task-started"} <= {"shop.pay", None}


def test_what_could_not_be_written_comes_again_and_is_there_once(evcam, query):
    one = evcam()
    one.hear(at_noon(*life("sent", "received")))
    put = one.camera.put_events

    def fail(batch):
        put(batch)
        raise ZeroDivisionError

    one.camera.put_events = fail
    with pytest.raises(ZeroDivisionError):
        one.shoot()
    one.camera.put_events = put
    one.hear(at_noon(told("task-started", 12.0)))
    one.shoot()
    assert [row["type"] for row in log_of(query)] == ["task-sent", "task-received", "task-started"]
    assert [row["events"] for row in contents_of(one)["snapshots"]] == [3]


# --- days ----------------------------------------------------------------------------


def test_a_day_is_a_partition_and_no_sender_makes_more_of_them(evcam, query):
    one = evcam()
    one.hear(at_noon(*life("sent")))
    yesterday = NOON - _DAY / 2 - 60
    one.hear(at_noon(told("task-x", uuid="late"), timestamp=yesterday))
    one.hear(
        event
        for number in range(500)
        for sign in (-1, 1)
        for event in at_noon(
            told("task-x", uuid=f"{sign}{number}"), timestamp=NOON + sign * number * _DAY
        )
    )
    one.hear(at_noon(told("task-x", uuid="none"), timestamp=None))
    one.shoot()
    rows = log_of(query)
    assert len(rows) == 1003
    assert partitions(query) == ["events_20261117", "events_20261118"]
    late = next(row for row in rows if row["uuid"] == "late")
    assert late["time"].timestamp() == yesterday
    [far] = [row for row in rows if row["uuid"] == "1499"]
    assert far["time"] == far["received"]
    assert far["event"]["timestamp"] == NOON + 499 * _DAY


def test_what_is_older_than_is_kept_is_not_written_and_said(evcam, query, caplog):
    one = evcam(events=2 * _DAY)
    old = NOON - 4 * _DAY
    one.hear(at_noon(*life("sent"), timestamp=old, local_received=old))
    one.hear(at_noon(*life("received")))
    one.shoot()
    assert [row["type"] for row in log_of(query)] == ["task-received"]
    assert "1 events are older than the event log is kept" in caplog.text


def test_old_days_are_dropped_as_a_whole_unless_somebody_reads_them(
    evcam, query, postgres_url, caplog, monkeypatch
):
    caplog.set_level("INFO")
    monkeypatch.setattr("evtools.cam.database.events._DROP_MS", 100)
    one = evcam(events=2 * _DAY)
    for day in range(6):
        one.camera.clock.now = NOON + day * _DAY
        ours = {"uuid": f"day{day}", "local_received": NOON + day * _DAY}
        one.hear([told("task-received", **ours, timestamp=NOON + day * _DAY)])
        one.shoot()
    query(
        "CREATE FUNCTION evcam.refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN RAISE 'a row was deleted'; END$$"
    )
    query(
        "CREATE TRIGGER refuse BEFORE DELETE ON events FOR EACH ROW EXECUTE FUNCTION evcam.refuse()"
    )
    with psycopg.connect(postgres_url) as reader:
        reader.execute("SELECT count(*) FROM evcam.events_20261118")
        one.camera.sweep()
    assert "events_20261118 is in use, and will be dropped later" in caplog.text
    one.camera.sweep()
    assert partitions(query) == [f"events_202611{day}" for day in (21, 22, 23)]
    assert [row["uuid"] for row in log_of(query)] == ["day3", "day4", "day5"]
    # Others may drop one as well: it is made again when it is needed.
    today = {"timestamp": NOON + 5 * _DAY, "local_received": NOON + 5 * _DAY}
    one.hear([told("task-sent", **today)])
    one.shoot()
    query("DROP TABLE events_20261123")
    one.hear([told("task-started", **today)])
    with pytest.raises(OutputError, match="no partition of relation"):
        one.shoot()
    one.shoot()
    assert partitions(query)[-1] == "events_20261123"


# --- queries -------------------------------------------------------------------------

_ESCAPES = {r"\-": "-", r"\(aq": "'", r"\(dq": '"', r"\e": "\\"}


def _queries():
    """Return the queries of the manual by what each is said to answer."""
    page = (ROOT / "man" / "evcam.1").read_text().split(".SH EVENT LOG\n")[1]
    page = page.partition("\n.SH ")[0]
    for escaped, sign in _ESCAPES.items():
        page = page.replace(escaped, sign)
    return dict(re.findall(r"\.PP\n([^\n]*):\n\.PP\n\.EX\n(.*?)\n\.EE", page, re.DOTALL))


def test_the_queries_of_the_manual_find_what_they_say(evcam, query):
    now = SystemClock().wall()
    one = evcam()
    one.camera.clock = SystemClock()
    one.camera._sequence.note(gap("buffer", now - 9, now - 8, dropped=3))

    def ago(seconds, *events):
        moment = now - seconds
        return [
            event | {"timestamp": moment + n, "local_received": moment + n + 0.25}
            for n, event in enumerate(events)
        ]

    asked = {"kwargs": "{'user_id': 4242}"}
    one.hear(ago(600, *life("sent", "received", "started", "failed", uuid="a", **asked)))
    one.hear(ago(500, *life("sent", "received", "started", "succeeded", uuid="b")))
    one.hear(ago(1500, *life("received", "started", uuid="c")))
    one.hear(ago(400, told("worker-online"), told("worker-offline")))
    one.shoot()
    at = query("SELECT min(time) AS at FROM events WHERE uuid = 'a'")[0]["at"].isoformat()
    around = f"BETWEEN '{at}' AND timestamptz '{at}' + interval '5 s'"
    for_ours = {
        r"uuid = '.*?'": "uuid = 'a'",
        "celery@web-1": WORKER,
        r"BETWEEN '.*?' AND '.*?'": around,
    }
    found = {}
    for title, text in _queries().items():
        for theirs, ours in for_ours.items():
            text = re.sub(theirs, ours, text)  # noqa: PLW2901
        found[title] = query(text)
    assert {title: len(rows) for title, rows in found.items()} == {
        "What happened to one task": 4,
        "What failed in the last hour, by type of task and error": 1,
        "Failures per hour of the last day": 1,
        "Tasks per minute": len(found["Tasks per minute"]),
        "Run times by type of task": 1,
        "How long tasks waited, by queue; this needs task-sent": 1,
        "What a worker did before it died": 3,
        "Workers that came and went": 2,
        "Tasks that were received in time and have no end": 1,
        "Tasks with an argument": 1,
        "Where events are missing": 1,
    }
    [failed] = found["What failed in the last hour, by type of task and error"]
    assert (failed["name"], failed["error"], failed["count"]) == ("shop.pay", "OSError", 1)
    assert sum(row["received"] for row in found["Tasks per minute"]) == 3
    assert found["Run times by type of task"][0]["seconds"] == [0.5] * 3
    [waited] = found["How long tasks waited, by queue; this needs task-sent"]
    assert (waited["queue"], waited["p95"].total_seconds()) == ("mail", 2.0)
    assert found["Tasks that were received in time and have no end"][0]["uuid"] == "c"
    assert found["Where events are missing"][0]["dropped"] == "3"


# --- with and without ----------------------------------------------------------------


def test_a_database_without_a_log_gets_one_and_keeps_it(evcam, query, postgres_url):
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'evcam' ORDER BY 1"
    one = evcam(events=0.0)
    one.hear(at_noon(*life("sent")))
    one.shoot()
    before = [row["tablename"] for row in query(tables)]
    assert before == ["about", "attempts", "snapshots", "tasks", "workers"]
    other = evcam()
    other.hear(at_noon(*life("received")))
    other.shoot()
    assert len(query(tables)) == len(before) + 2
    one.hear(at_noon(*life("started")))
    one.shoot()
    [row] = log_of(query, "type, queue")
    assert row == {"type": "task-received", "queue": "mail"}
    assert contents(postgres_url)["tasks"][0]["state"] == "STARTED"


def test_who_may_make_no_tables_learns_that_the_log_needs_them(postgres_server):
    database = postgres_server.fresh_database()
    postgres_server.make_role(database)
    url, admin = postgres_server.tcp_url(database), postgres_server.url(database)
    touch(admin)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("GRANT USAGE ON SCHEMA evcam TO evcam")
        connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA evcam TO evcam")
    Evcam(url).camera.check()
    with pytest.raises(OutputError, match="cannot create tables in the schema evcam") as raised:
        Evcam(url, events=_DAY).camera.check()
    assert "GRANT CREATE ON SCHEMA evcam" in raised.value.hint
