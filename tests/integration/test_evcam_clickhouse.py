"""The camera clickhouse, on Debian's server of 2018 and on the engine of today."""

import logging
import re
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime
from functools import partial

import pytest

import evtools.cam.clickhouse as clickhouse_camera
from evtools.cam.clickhouse_schema import VERSION
from evtools.cam.http_client import HTTPClient
from evtools.errors import OutputError
from evtools.wire import gap
from servers.clickhouse import PASSWORD, USER, ClickHouseCluster, login
from servers.process import wait_until
from tools.clock import FakeClock
from tools.command import ROOT
from tools.ledgers import ClickHouseEvcam as Evcam
from tools.ledgers import imported_late, shared_out, written
from tools.stories import STORIES
from tools.told import OTHER, UUID, WORKER, life, told


@pytest.fixture
def url(clickhouse):
    return clickhouse.fresh_url()


@pytest.fixture
def rows(clickhouse, url):
    """Return the rows of a view, or what is asked of it: `rows("tasks", "uuid, state")`."""

    def ask(view, columns="*", rest=""):
        database = url.rpartition("/")[2]
        return clickhouse.ask(f"SELECT {columns} FROM {database}.{view} {rest}")

    return ask


#: Columns as in the databases of SQL, times apart.
_COLUMNS = (
    *("uuid", "name", "state", "worker", "retries", "eta", "expires", "runtime", "wait", "result"),
    *("exception", "traceback", "terminated", "signum", "expired", "requeue", "args", "kwargs"),
    *("root_id", "parent_id", "client", "queue", "exchange", "routing_key"),
)
_TIMES = ("sent", "received", "started", "ended", "retried", "first_heard", "last_heard")
#: Old servers take 0 for no time at all.
_LATER = 90_000.0
#: Of a task that two workers ran at a time, the success counts, as in the result backend.
_BY_BOTH = "run by both at a time"
_LIVES = {name: story for name, story in STORIES.items() if name != _BY_BOTH}


def _events():
    lives = [
        event | {"uuid": name, "root_id": name}
        for name, story in _LIVES.items()
        for event in story.events
    ]
    beats = [
        told(kind, at, hostname=hostname, active=int(at))
        for hostname in (WORKER, OTHER)
        for kind, at in (
            ("worker-online", 5.0),
            ("worker-heartbeat", 7.0),
            ("worker-heartbeat", 9.0),
        )
    ]
    notes = [told("task-progress", 12.0 + n, uuid="succeeded", done=n) for n in range(3)]
    events = [*lives, *beats, *notes, told("worker-offline", 30.0, hostname=OTHER)]
    times = ("timestamp", "local_received")
    return [event | {name: event[name] + _LATER for name in times} for event in events]


def test_events_shared_out_among_evcams_end_in_the_rows_of_the_other_databases(
    clickhouse, url, rows, tmp_path
):
    events = _events()
    shared_out([url] * 2, events, seed=1)
    _compare(rows, events, written(tmp_path / "one.db", events), is_modern=clickhouse.is_modern)


def _compare(rows, events, reference, *, is_modern):
    of_sqlite = {row["uuid"]: row for row in reference["tasks"]}
    seconds = 26 if is_modern else 19
    found = rows("tasks", ", ".join((*_COLUMNS, *_TIMES)), "ORDER BY uuid")
    assert [row[0] for row in found] == sorted(of_sqlite)
    for uuid, *values in found:
        expected = of_sqlite[uuid]
        own = dict(zip((*_COLUMNS[1:], *_TIMES), values, strict=True))
        for name in _TIMES:
            text = expected[name] and expected[name].replace("T", " ").rstrip("Z")[:seconds]
            assert (name, own[name]) == (name, text), uuid
        for name in _COLUMNS[1:]:
            value = expected[name] or (None if expected[name] == "" else expected[name])
            if isinstance(value, float):
                value = pytest.approx(value)
            assert own[name] == value, (uuid, name)
    attempts = defaultdict(list)
    for uuid, state in rows("attempts", "uuid, state", "ORDER BY uuid, place"):
        attempts[uuid].append(state)
    for name, story in _LIVES.items():
        # Those that a worker received.
        expected = list(story.attempts)[: 1 if name == "sent for its second try" else None]
        assert attempts[name] == expected, name
    workers = rows("workers", "hostname, pid, active, sw_ver, goodbye IS NULL", "ORDER BY hostname")
    assert workers == [[WORKER, 77, 9, "5.6.2", 1], [OTHER, 77, 0, "5.6.2", 0]]
    [[note, note_type]] = rows("tasks", "note, note_type", "WHERE uuid = 'succeeded'")
    assert (note, note_type) == ('{"done":2}', "task-progress")
    assert rows("events", "count()") == [[len(events)]]
    _compare_hours(rows, events, reference["tasks"])


def _by_hand(events, of_sqlite):
    # Figures of 1970's first hour: tasks that ended by how, and retries.
    counts, waits, runs = Counter(), defaultdict(list), defaultdict(list)
    retried = {(e["uuid"], e["timestamp"]) for e in events if e["type"] == "task-retried"}
    for row in of_sqlite:
        key = (row["name"] or "", row["queue"] or "")
        counts[(*key, "RETRY")] += sum(uuid == row["uuid"] for uuid, _ in retried)
        if row["state"] in {"SUCCESS", "FAILURE", "REVOKED", "REJECTED", "CANCELLED"}:
            counts[(*key, row["state"])] += 1
            for kept, value in ((waits, row["wait"]), (runs, row["runtime"])):
                if value is not None:
                    kept[key].append(value)
    return counts, waits, runs


def test_of_a_task_that_two_workers_ran_at_a_time_the_success_counts(old_clickhouse):
    url = old_clickhouse.fresh_url()
    shared_out([url] * 2, STORIES[_BY_BOTH].events * 6, seed=4)
    name = url.rpartition("/")[2]
    assert old_clickhouse.ask(f"SELECT state, result FROM {name}.tasks") == [["SUCCESS", "4"]]
    states = old_clickhouse.ask(f"SELECT state FROM {name}.attempts ORDER BY place")
    assert states == [["SUCCESS"], ["FAILURE"]]


def _compare_hours(rows, events, of_sqlite):
    counts, waits, runs = _by_hand(events, of_sqlite)
    names = ("succeeded", "failed", "retried", "revoked", "rejected", "cancelled")
    states = ("SUCCESS", "FAILURE", "RETRY", "REVOKED", "REJECTED", "CANCELLED")
    figures = [
        f"{of}_{name}" for of in ("run", "wait") for name in ("count", "sum", "p50", "p95", "max")
    ]
    found = rows("hourly", ", ".join(("hour", "name", "queue", *names, *figures)))
    assert {row[0] for row in found} == {"1970-01-02 01:00:00"}
    for _, name, queue, *values in found:
        own = dict(zip((*names, *figures), values, strict=True))
        for each, state in zip(names, states, strict=True):
            assert own[each] == counts[name, queue, state], (name, queue, each)
        for of, kept in (("run", runs), ("wait", waits)):
            ordered = sorted(kept[name, queue])
            assert own[f"{of}_count"] == len(ordered)
            assert own[f"{of}_sum"] == pytest.approx(sum(ordered))
            for column, level in (("p50", 0.5), ("p95", 0.95)):
                expected = ordered[int(level * len(ordered))] if ordered else None
                if expected is None:
                    assert own[f"{of}_{column}"] is None
                else:
                    assert own[f"{of}_{column}"] == pytest.approx(expected)
            assert own[f"{of}_max"] == pytest.approx(ordered[-1] if ordered else 0)
    assert len(found) == len({key[:2] for key, count in counts.items() if count})


def test_hours_are_counted_anew_when_something_comes_late(url, rows):
    evcam = Evcam(url)
    first = life("received", "started", "succeeded")
    evcam.shoot(first)
    # The type was not known.
    evcam.shoot([*life("started", "failed", start=12.0, uuid="other"), *first])
    evcam.camera.sweep()
    evcam.shoot([told("task-sent", 9.0, uuid="other", name="shop.late", queue="slow")])
    evcam.close()
    found = rows("hourly", "name, queue, succeeded, failed", "ORDER BY name")
    assert found == [["shop.late", "slow", 0, 1], ["shop.pay", "", 1, 0]]


def test_a_type_that_never_waited_hides_no_wait_of_its_queue(url, rows):
    evcam = Evcam(url)
    evcam.shoot(life("sent", "started", "succeeded"))
    # Sorted before it, and revoked before it began.
    evcam.shoot([
        told("task-sent", 12.0, uuid="other", name="shop.a", queue="mail"),
        told("task-revoked", 13.0, uuid="other"),
    ])  # fmt: skip
    evcam.close()
    assert rows("hourly", "name", "WHERE isNull(wait_p95) ORDER BY name") == [["shop.a"]]
    [[queue, p95]] = rows("hourly", "queue, max(wait_p95)", "GROUP BY queue")
    assert (queue, p95 > 0) == ("mail", True)


def test_an_event_is_there_once_whenever_it_was_received_and_days_are_read_apart(
    clickhouse, url, rows
):
    midnight = 20_800 * _DAY
    evcam = Evcam(url)
    for received in (-1.0, 1.0, 2 * _DAY):
        evcam.shoot(
            told("task-sent", midnight + off, uuid=f"{off}", local_received=midnight + received)
            for off in (-20 * _DAY, 0.0, 9 * _DAY)
        )
        assert rows("events", "count()") == [[3]]
    evcam.camera.reopen()
    days = rows("events_raw", "uniqExact(day)", "GROUP BY uuid ORDER BY uuid")
    assert days == [[3], [1], [3]]
    if clickhouse.is_modern:
        database = url.rpartition("/")[2]
        question = f"SELECT type FROM {database}.events WHERE day = toDate(20799)"
        plan = clickhouse.ask(f"SELECT explain FROM (EXPLAIN indexes = 1 {question})")
        some, all_ = re.search(r"Parts: (\d+)/(\d+)", str(plan)).groups()
        assert 1 <= int(some) < int(all_)


HOSTILE = "'); DROP TABLE tasks; -- \\ \" \0 \ud800 é\n\t{x:String} \x1b[31m"


def test_what_senders_choose_stays_data(url, rows):
    texts = dict.fromkeys(("name", "args", "kwargs", "queue", "root_id", "eta", "expires"), HOSTILE)
    events = [
        told("task-sent", uuid=HOSTILE, **texts),
        told(
            "task-failed",
            11.0,
            uuid=HOSTILE,
            hostname=HOSTILE,
            exception=HOSTILE,
            traceback="x" * 99_999,
        ),
        told("task-revoked", uuid="r", signum=2**53, timestamp=1e300),
        told("task-received", uuid="u" * 999, timestamp=-1, retries=2**53, name="n" * 999),
        told(
            "worker-heartbeat", 1.0, hostname=HOSTILE, processed=2**53, loadavg=[0.5], own=[HOSTILE]
        ),
        told("task-progress", uuid=HOSTILE, **{"o\0": HOSTILE}),
        {"type": HOSTILE, "uuid": "x", "hostname": "h", "timestamp": 1.0, "local_received": 1.0},
        {"type": "task-started", "uuid": "bare", "local_received": 5.0},
    ]
    evcam = Evcam(url, "e-u.1")
    evcam.shoot(events)
    evcam.close()
    clean = HOSTILE.replace("\0", "�").replace("\ud800", "�")
    found = rows(
        "tasks",
        "cluster, name, args, queue, exception, length(traceback)",
        "WHERE state = 'FAILURE'",
    )
    assert [row[:5] for row in found] == [["e-u.1", clean, clean, clean, clean]]
    assert rows("workers", "hostname, processed", "WHERE sw_ident IS NOT NULL") == [[clean, 2**53]]
    assert rows("tasks", "max(lengthUTF8(uuid)), max(lengthUTF8(name))") == [[255, 255]]
    assert rows("tasks", "state", "WHERE uuid = 'bare'") == [["STARTED"]]


def test_snapshots_have_gaps_and_what_was_lost(url, rows):
    evcam = Evcam(url, max_waiting=1)
    evcam.camera._sequence.note(gap("buffer", 1.0, 2.0, dropped=3))
    evcam.shoot(life("sent", "received"))
    evcam.shoot()
    evcam.close()
    [[gaps, dropped, events, lost]] = rows("snapshots", "gaps, dropped, events, lost")
    assert ('"reason":"buffer"' in gaps, dropped > 0, events, lost) == (True, True, 0, 2)


# --- trouble ---------------------------------------------------------------------------


def test_a_batch_that_was_written_and_not_confirmed_is_written_once(new_clickhouse):
    url = new_clickhouse.fresh_url()
    database = url.rpartition("/")[2]
    evcam = Evcam(url)
    store = evcam.camera.store
    kept = []
    evcam.camera.store = lambda each: (kept.append(each), store(each))
    evcam.shoot(life("sent", "received", "started"))
    [batch] = kept
    before = new_clickhouse.ask(f"SELECT count() FROM {database}.events_raw")
    store(batch)
    # Rows that are the same are not merged yet: the server knew the token.
    for table, count in (("events_raw", before[0][0]), ("snapshots_raw", 1)):
        assert new_clickhouse.ask(f"SELECT count() FROM {database}.{table}") == [[count]]
    evcam.close()


def test_a_newer_schema_is_refused(old_clickhouse):
    url = old_clickhouse.fresh_url()
    evcam = Evcam(url)
    evcam.camera.check()
    evcam.shoot()
    evcam.camera.check()
    database = url.rpartition("/")[2]
    old_clickhouse.ask(f"INSERT INTO {database}.about_raw VALUES ({VERSION + 1}, 'x')")
    other = Evcam(url)
    for call in (evcam.camera.check, other.shoot):
        with pytest.raises(OutputError, match="written by a newer evcam") as raised:
            call()
        assert "update evtools" in raised.value.hint
    evcam.close()
    other.close()


def test_several_that_begin_at_once_make_the_tables_once(old_clickhouse):
    url = old_clickhouse.fresh_url()
    evcams = [Evcam(url) for _ in range(2)]
    for evcam in evcams:
        evcam.camera._version_in = lambda: (0, "")  # as if neither saw those of the other
        evcam.shoot(life("sent"))
        evcam.close()
    assert old_clickhouse.ask(f"SELECT state FROM {url.rpartition('/')[2]}.tasks") == [["PENDING"]]


def test_what_an_old_server_lacks_is_said_once(old_clickhouse, caplog):
    caplog.set_level(logging.INFO)
    evcam = Evcam(old_clickhouse.fresh_url())
    for _ in range(2):
        evcam.shoot()
        evcam.camera._tables = None
    evcam.close()
    said = [record.getMessage() for record in caplog.records if "tables for" in record.getMessage()]
    assert len(said) == 1
    assert "ClickHouse 18.16.1, without times finer than seconds, codecs, TTL" in said[0]


def test_a_user_has_a_password_and_rights(old_clickhouse, caplog):
    name = old_clickhouse.fresh_url().rpartition("/")[2]
    evcam = Evcam(old_clickhouse.url(name, login()))
    evcam.shoot(life("sent"))
    evcam.close()
    wrong = Evcam(old_clickhouse.url(name, "evcam:wr0ng@"))
    for call in (wrong.camera.check, wrong.shoot):
        with pytest.raises(OutputError, match=r"Wrong password for user evcam|code 19\d") as raised:
            call()
        assert "wr0ng" not in f"{raised.value} {raised.value.hint}"
    wrong.close()
    reader = Evcam(old_clickhouse.url("nothing", "reader:@"))
    with pytest.raises(OutputError, match="readonly mode") as raised:
        reader.camera.check()
    assert "CREATE TABLE" in raised.value.hint
    assert "wr0ng" not in caplog.text


def test_what_was_not_written_while_the_server_was_away_comes_next(own_clickhouse):
    url = own_clickhouse.fresh_url()
    database = url.rpartition("/")[2]
    evcam = Evcam(url)
    evcam.shoot(life("sent"))
    patient, evcam.camera._client._timeout = evcam.camera._client._timeout, 1.0
    own_clickhouse.freeze()
    with pytest.raises(OutputError, match="no answer within 1s"):
        evcam.shoot(life("received"))
    own_clickhouse.thaw()
    own_clickhouse.stop()
    with pytest.raises(
        OutputError, match=r"cannot reach http://127\.0\.0\.1:\d+: Connection refused"
    ):
        evcam.shoot(life("started", start=11.0))
    own_clickhouse.start()
    evcam.camera._client._timeout = patient
    evcam.shoot(life("succeeded", start=12.0))
    evcam.close()
    assert own_clickhouse.ask(f"SELECT state, count() FROM {database}.tasks GROUP BY state") == [
        ["SUCCESS", 1]
    ]
    assert own_clickhouse.ask(f"SELECT count() FROM {database}.events") == [[4]]


def test_everything_it_needs_is_imported_when_it_is_made(old_clickhouse):
    url = old_clickhouse.fresh_url().replace("127.0.0.1", "localhost")
    assert imported_late(f"clickhouse:{url}?events=0&keep=0") == []


def test_it_speaks_tls_with_a_password_from_a_file(old_clickhouse, authority, tmp_path):
    name = old_clickhouse.fresh_url().rpartition("/")[2]
    url, file = old_clickhouse.tls_url(name), tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    given = {"user": USER, "password_file": file, "ca": str(authority.ca)}
    evcam = Evcam(url, **given)
    evcam.camera.check()
    evcam.shoot(life("sent"))
    evcam.close()
    assert old_clickhouse.ask(f"SELECT state FROM {name}.tasks") == [["PENDING"]]
    file.write_text("wr0ng")
    for wrong, message in (
        ({}, "Wrong password for user evcam"),
        ({"ca": str(authority.other)}, "its certificate: .*"),
        ({"ca": ""}, "its certificate: .*"),
    ):
        evcam = Evcam(url, **{**given, **wrong})
        for call in (evcam.camera.check, evcam.shoot):
            with pytest.raises(OutputError, match=message) as raised:
                call()
            said = f"{raised.value} {raised.value.hint}"
            assert "wr0ng" not in said
            assert "\n" not in said
        evcam.close()


# --- a cluster of ClickHouse -----------------------------------------------------------


@pytest.fixture
def site():
    """Two shards, the first of which has two replicas."""
    if not ClickHouseCluster.is_installed():
        pytest.skip("there is no ZooKeeper: `make load` installs it, as root with apt-get")
    cluster = ClickHouseCluster(2, 1)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.end()


def _rows_at(replica, name):
    def ask(view, columns="*", rest=""):
        return replica.ask(f"SELECT {columns} FROM {name}.{view} {rest}")

    return ask


@pytest.mark.load
@pytest.mark.timeout(300)
@pytest.mark.parametrize("cluster_name", ["site", "{cluster}"])
def test_a_cluster_of_clickhouse_has_the_same_rows_at_all_servers(site, tmp_path, cluster_name):
    first, second, third = site.replicas
    urls, events = [each.url("ops") for each in site.replicas], _events()
    shared_out(urls, events[:-60], seed=1, cluster_name=cluster_name)
    # One of two replicas is away, and its evcam has to wait for it.
    evcams = [Evcam(url, cluster_name=cluster_name) for url in urls]
    second.stop()
    evcams[0].shoot(events[-60:-40])
    evcams[2].shoot(events[-40:-20])
    with pytest.raises(OutputError, match="cannot reach"):
        evcams[1].shoot(events[-20:])
    second.start()
    evcams[1].shoot()
    for evcam in evcams:
        evcam.camera.sweep()
        evcam.close()
    reference = written(tmp_path / "one.db", events)
    for replica in site.replicas:
        _compare(_rows_at(replica, "ops"), events, reference, is_modern=False)
    local = "SELECT count(), sum(id), uniqExact(id) FROM (SELECT * FROM ops.events_raw_local FINAL)"
    wait_until(lambda: first.ask(local) == second.ask(local), what="the same rows at both replicas")
    [[here, *_]], [[there, *_]] = first.ask(local), third.ask(local)
    assert (here > 0, there > 0, here + there) == (True, True, len(events))


@pytest.mark.load
@pytest.mark.timeout(300)
def test_a_server_of_a_cluster_may_be_away_or_die_with_half_of_a_batch(site, monkeypatch):
    monkeypatch.setitem(clickhouse_camera._SETTINGS, "distributed_ddl_task_timeout", "1")
    first, second, _ = site.replicas
    second.stop()
    evcam = Evcam(first.url("ops"), cluster_name="{cluster}", events=2 * _DAY)
    stored, kept = evcam.camera.store, []
    evcam.camera.store = lambda batch: (kept.append(batch), stored(batch))
    evcam.shoot(told("task-sent", _NOW, uuid=f"{n}", local_received=_NOW) for n in range(20))
    second.start()
    count = "SELECT count() FROM ops.tasks"
    wait_until(partial(_has, second, count, [20]), what="the tables at the second server")
    # As if none of the views had it.
    for replica in site.replicas:
        replica.ask(f"ALTER TABLE ops.tasks_raw_local DROP PARTITION '{_day_of(_NOW)}'")
    assert first.ask(count) == [[0]]
    for _ in range(3):
        stored(kept[0])
    for replica in site.replicas:
        wait_until(partial(_has, replica, count, [20]), what="tasks in the views")
        wait_until(partial(_has, replica, "SELECT count() FROM ops.events", [20]), what="events")
    assert first.ask("SELECT count(), sum(events) FROM ops.snapshots") == [[1, 20]]
    # Of this day only one shard has anything.
    old = _NOW - 3 * _DAY
    evcam.shoot([told("task-sent", old, uuid="old", local_received=old)])
    assert first.ask("SELECT count() FROM ops.events") == [[21]]
    evcam.camera.clock = FakeClock(_NOW)
    left = "SELECT count() FROM ops.events"
    for replica in (first, site.replicas[2]):
        evcam.camera.reopen()
        evcam.camera._client = HTTPClient(replica.url(""))
        evcam.camera.sweep()
        wait_until(partial(_has, replica, left, [20]), what="no old day at any shard")
        evcam.shoot([told("task-sent", old, uuid="old", local_received=old)])
    evcam.close()


def _has(server, question, row):
    try:
        return server.ask(question) == [row]
    except AssertionError:  # it has no tables yet
        return False


def _day_of(moment):
    return datetime.fromtimestamp(moment, UTC).date()


# --- retention -------------------------------------------------------------------------

_DAY = 86_400.0
_NOW = 1.8e9


def test_an_old_server_drops_days_that_are_over(old_clickhouse):
    url = old_clickhouse.fresh_url()
    database = url.rpartition("/")[2]
    evcam = Evcam(url, events=2 * _DAY, keep=40 * _DAY, keep_hourly=400 * _DAY)
    for days in (0, 3, 80):
        at = _NOW - days * _DAY
        evcam.shoot([told("task-sent", at, uuid=f"{days}", local_received=at)])
    evcam.camera.clock = FakeClock(_NOW)
    evcam.camera.sweep()
    evcam.close()
    for view, left in (("events", ["0"]), ("tasks", ["0", "3"])):
        found = old_clickhouse.ask(f"SELECT uuid FROM {database}.{view} ORDER BY uuid")
        assert [uuid for (uuid,) in found] == left


def test_a_new_server_has_ttls_which_follow_the_options(new_clickhouse):
    url = new_clickhouse.fresh_url()
    database = url.rpartition("/")[2]
    for options, days in (
        ({"events": 2 * _DAY, "keep": 0.5 * _DAY}, {"events": 2, "tasks": 1, "hourly": 0}),
        (
            {"events": 0, "keep": 40 * _DAY, "keep_hourly": 9 * _DAY},
            {"events": 0, "tasks": 40, "hourly": 9},
        ),
    ):
        evcam = Evcam(url, **options)
        evcam.shoot()
        evcam.close()
        for name, number in days.items():
            [[query]] = new_clickhouse.ask(
                "SELECT create_table_query FROM system.tables "
                f"WHERE database = '{database}' AND name = '{name}_raw'"
            )
            assert (f"TTL day + toIntervalDay({number})" in query) is bool(number), query
            assert (" TTL " in query) is bool(number)


# --- the manual ------------------------------------------------------------------------


def test_the_queries_of_the_manual_answer_what_they_say(clickhouse, url):
    now = time.time()
    # Within one hour.
    old, name = (now - 2000.0) // 60 * 60, url.rpartition("/")[2]
    chain = {"root_id": UUID, "parent_id": UUID}
    evcam = Evcam(url, keep=30 * _DAY, events=30 * _DAY)
    evcam.camera._sequence.note(gap("buffer", now - 9, now - 8, dropped=3))
    events = [
        *life("sent", "received", "started", "retried", start=old),
        told("task-received", old + 5, retries=1),
        told("task-failed", old + 6),
        *life("sent", "received", "started", start=old, uuid="stuck", **chain),
        *life("sent", "received", "started", "succeeded", start=old, uuid="done", **chain),
        told("worker-heartbeat", old),
    ]
    evcam.shoot([event | {"local_received": event["timestamp"] + 0.1} for event in events])
    evcam.close()
    page = (ROOT / "man/evcam-clickhouse.7").read_text()
    queries = [each.partition("\n.EE")[0] for each in page.split("\n.EX\n")[1:]]
    answers = []
    for query in queries:
        plain = query.replace("\\(aq", "'").replace("\\-", "-")
        answers.append(clickhouse.ask(re.sub(r"(FROM|JOIN) (\w+)", rf"\1 {name}.\2", plain)))
    assert len(answers) == 10
    failed, attempts, log, stuck, rates, waits, times, silent, tree, missing = answers
    assert [row[:3] for row in failed] == [["shop.pay", "OSError(5)", 1]]
    assert [(row[2], row[7]) for row in attempts] == [
        ("RETRY", "OSError(5)"),
        ("FAILURE", "OSError(5)"),
    ]
    assert [row[1] for row in log] == [event["type"] for event in events[:6]]
    assert [row[:3] for row in stuck] == [["shop.pay", "stuck", WORKER]]
    assert [[name, ended, retries] for name, ended, _, retries in rates] == [["shop.pay", 2, 1]]
    assert [(row[1], row[4]) for row in waits] == [("mail", 1)]
    assert [(row[0], row[1]) for row in times] == [("shop.pay", 0.5)]
    assert [row[0] for row in silent] == [WORKER]
    assert {row[0] for row in tree} == {UUID, "stuck", "done"}
    assert [row[4:] for row in missing] == [[3, 0, 0]]
