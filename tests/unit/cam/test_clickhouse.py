"""The camera clickhouse: its options, its rows, and what it says where the server refuses."""

import base64
import gzip
import json

import pytest

from evtools.cam.clickhouse import ClickHouse, row_of
from evtools.cam.clickhouse_schema import Tables
from evtools.cam.loader import load_camera
from evtools.errors import OutputError, UsageError
from evtools.state import State
from evtools.wire import from_fields
from tools.collector import Collector
from tools.told import UUID, told


@pytest.fixture
def server():
    with Collector() as made:
        yield made


def camera(url, **options):
    return load_camera(f"clickhouse:{url}", options=options)(State(), timer=object())


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("", {}, "needs url"),
        ("db.example:8123/x", {}, "it is no URL of HTTP"),
        ("http://[::1/x", {}, "it is no URL of HTTP"),
        ("http://h:99999/x", {}, "it is no URL of HTTP"),
        ("http://h/a/b", {}, "a/b is not a valid database"),
        ("http://h/x;--", {}, "is not a valid database"),
        ("http://h/x", {"ca": "/x.pem"}, "certificates are for https only"),
        ("https://h/x", {"ca": "/nothing.pem"}, "ca: cannot read certificates from /nothing.pem"),
        ("http://h/x", {"password_file": "/nothing"}, "cannot read /nothing: No such file"),
        ("http://h/x", {"cluster_name": "a' b"}, "cannot be the name of a cluster"),
        ("http://h/x?keep=soon", {}, "keep"),
        ("http://h/x?colour=red", {}, "has no option colour"),
    ],
)
def test_what_is_wrong_with_its_options_is_said_in_one_line(url, options, message):
    with pytest.raises(UsageError, match=message) as raised:
        camera(url, **options)
    assert "\n" not in raised.value.message


def _login(request):
    return base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()


def test_its_password_may_come_from_three_places_and_is_never_shown(server, tmp_path, monkeypatch):
    file = tmp_path / "secret"
    file.write_text("of the file é\n")
    monkeypatch.setenv("CLICKHOUSE_USER", "somebody")
    monkeypatch.setenv("CLICKHOUSE_PASSWORD", "of the environment")
    of_url = server.url.replace("://", "://me:p%40ss@") + "/ops"
    for made, login in (
        (camera(of_url), "me:p@ss"),
        (camera(f"{server.url}/ops", user="you", password_file=str(file)), "you:of the file é"),
        (camera(f"{server.url}/ops"), "somebody:of the environment"),
    ):
        server.answers = [
            (401, {}, f"Code: 516. DB::Exception: {login}: no, url http://a:p@ss@b".encode())
        ]
        with pytest.raises(OutputError, match=r"\(code 516\)") as raised:
            made.check()
        assert _login(server.requests[-1]) == login
        assert "p@ss" not in made.describe() + server.requests[-1].path
        assert "://a:p@ss" not in raised.value.message
        assert "CLICKHOUSE_PASSWORD" in raised.value.hint


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (500, b"Code: 62, e.displayText() = DB::Exception: Bad\n SQL, e.what() = DB::Exception",
         r": Bad SQL \(code 62\)$"),
        (403, b"Code: 497. DB::Exception: u: Not enough privileges. (DENIED) (version 25.3)",
         r"Not enough privileges. \(DENIED\) \(code 497\)$"),
        (502, b"<html>\x1b[31mBad Gateway</html>", r"HTTP 502 <html>.*Bad Gateway</html>$"),
        (404, b"", r"HTTP 404 Not Found$"),
        (200, b"Ok.", "its answer is not that of ClickHouse"),
        (200, b'{"data": [["25.3.1"], ["x"]]}', "its answer is not that of ClickHouse"),
    ],
)  # fmt: skip
def test_what_a_server_refuses_is_said_in_one_printable_line(server, status, body, message):
    server.answers = [(status, {}, body)]
    with pytest.raises(OutputError, match=message) as raised:
        camera(f"{server.url}/ops").check()
    assert raised.value.message.startswith("cannot write to ClickHouse http://127.0.0.1:")
    assert raised.value.message.isprintable()


def test_two_evcams_make_rows_with_the_same_id_of_an_event():
    sent, beat = told("task-sent", clock=7), told("worker-heartbeat", own={"a": "\0\ud800"})
    for event in (sent, beat, told("task-x", uuid=UUID, done=1), {**sent, "timestamp": None}):
        one = row_of(from_fields(event), "eu", {})
        # A receiver sets the clock of what a client has sent.
        later = {
            **event,
            "local_received": 11.5,
            **({"clock": 9} if event["type"] == "task-sent" else {}),
        }
        other = row_of(from_fields(later), "eu", {})
        differ = {name for name in one if one[name] != other[name]}
        assert differ <= {"received", "clock", *(() if event["timestamp"] else ("micros",))}
        assert other["id"] != row_of(from_fields(event), "us", {})["id"]
    assert json.loads(row_of(from_fields(beat), "", {})["extra"]) == {"own": {"a": "��"}}


@pytest.mark.parametrize(
    ("at", "day", "micros"),
    [
        (1.8e9, "2027-01-15", 1_800_000_000_000_000),
        (1.8e9 - 6 * 86400, "2027-01-09", 1_799_481_600_000_000),
        (1e9, "2027-01-15", 1_000_000_000_000_000),  # its clock is wrong
        (9e9, "2027-01-15", 1_800_000_000_000_000),  # no time that ClickHouse has
    ],
)
def test_the_day_of_an_event_is_near_to_that_of_its_receipt(at, day, micros):
    row = row_of(from_fields(told("task-sent", at, local_received=1.8e9)), "", {})
    assert (row["day"], row["micros"]) == (day, micros)


def test_the_tables_of_a_cluster_of_clickhouse_are_replicated_and_distributed():
    days = {"events": 30, "tasks": 30, "workers": 30, "snapshots": 30, "hourly": 0}
    made = list(Tables("ops", is_modern=True, cluster_name="{cluster}", days=days).statements())
    assert all(" ON CLUSTER '{cluster}'" in statement for statement in made)
    [events, spread] = [each for each in made if "`ops`.events_raw" in each and "TABLE" in each][:2]
    assert "CREATE TABLE IF NOT EXISTS `ops`.events_raw_local" in events
    assert "ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/ops/events'" in events
    assert "'{replica}', received)" in events
    assert (
        "Distributed('{cluster}', 'ops', 'events_raw_local', cityHash64(cluster, uuid))" in spread
    )
    [view] = [each for each in made if "events_to_tasks" in each]
    assert "TO `ops`.tasks_raw_local" in view
    assert "FROM `ops`.events_raw_local" in view


def test_what_is_written_is_packed(server):
    made = camera(f"{server.url}/ops")
    made._tables = Tables("ops", is_modern=True, days={})
    made.observe(made.state.apply([told("task-sent", 1.8e9, args="('é',)")]))
    made.capture()
    [events, snapshots, _] = server.requests
    [row] = map(json.loads, gzip.decompress(events.body).splitlines())
    assert (row["type"], row["args"], row["queue"]) == ("task-sent", "('é',)", "mail")
    assert "INSERT%20INTO%20%60ops%60.events_raw" in events.path
    assert json.loads(gzip.decompress(snapshots.body))["events"] == 1
    made._tables = None
    made.close()


def test_it_is_a_camera_of_its_name():
    made = load_camera("clickhouse:https://u:p@db.example/ops?events=7d&keep=1h")(
        State(), timer=object()
    )
    assert isinstance(made, ClickHouse)
    assert made.describe() == "ClickHouse https://db.example database=ops"
    assert made._days == {"events": 7, "hourly": 400, "tasks": 1, "workers": 1, "snapshots": 1}
