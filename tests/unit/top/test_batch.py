import json
import os
import re
import signal
import threading

import pytest

from evtools.errors import BrokerUnavailable, FilterError, UsageError
from evtools.state import State
from evtools.top.batch import Batch, run
from evtools.top.options import TopOptions
from evtools.transport import ConnectionSettings, Notice
from evtools.transport.queues import Depth
from evtools.wire import encode_line, from_fields
from tools.clock import FakeClock
from tools.life import Life
from tools.told import UUID, told
from tools.typed import events_of

SETTINGS = ConnectionSettings(urls="memory://nobody")


def failed(uuid, name="proj.mail", received=1000.0):
    return {
        "type": "task-failed",
        "uuid": uuid,
        "hostname": "w@h",
        "exception": "E()",
        "timestamp": received,
        "local_received": received,
        "clock": 1,
        "pid": 1,
        "password": "s3kr1t",
    }


@pytest.fixture
def clock():
    return FakeClock(1000.0)


@pytest.fixture
def batch_of(clock, capfd):
    """Make a batch whose output `lines` returns."""

    def make(*, connected=True, **options):
        options.setdefault("refresh", 5.0)
        options.setdefault("output", "csv")
        made = Batch(TopOptions(batch=True, **options), clock, origin="-b flag")
        if connected:
            made.apply(Notice("listening", "redis://h"))
        return made

    return make


@pytest.fixture
def printed(capfd):
    """Return the rows of CSV that were printed, by block and without headers."""

    def read():
        blocks = capfd.readouterr().out.split("\n\n")
        return [block.splitlines()[1:] for block in blocks if block]

    return read


# --- when it prints -----------------------------------------------------------------


def test_nothing_is_printed_before_the_time_is_up(batch_of, clock, printed):
    made = batch_of()
    made.take(events_of([failed("1")]))
    clock.now += 4.9
    made.take([])
    assert printed() == []
    assert not made.is_over()
    clock.now += 0.1
    made.take([])
    assert made.is_over()
    [rows] = printed()
    assert len(rows) == 1


def test_blocks_are_apart_by_a_blank_line(batch_of, clock, printed):
    made = batch_of(iterations=2)
    for uuid in "12":
        made.take(events_of([failed(uuid)]))
        clock.now += 5
        made.take([])
    assert [len(rows) for rows in printed()] == [1, 2]
    assert made.is_over()


def test_for_ever_is_never_over(batch_of, clock, printed):
    made = batch_of(iterations=0)
    for _ in range(7):
        clock.now += 5
        made.take([])
    assert not made.is_over()
    assert len(printed()) == 7


def test_what_came_before_the_end_of_a_recording_is_printed(batch_of, printed):
    made = batch_of(read=("x",), speed=float("inf"))
    made.take(events_of([failed("1")]))
    made.conclude()
    assert [len(rows) for rows in printed()] == [1]


def test_who_is_stopped_still_prints_once_and_not_twice(batch_of, clock, printed):
    made = batch_of(iterations=0)
    made.conclude()
    assert len(printed()) == 1
    made.conclude()
    assert printed() == []


def test_without_a_connection_there_is_nothing_to_print(batch_of, clock):
    made = batch_of(connected=False)
    made.apply(Notice("retry", "cannot reach it; trying again in 1.0s"))
    clock.now += 5
    with pytest.raises(BrokerUnavailable, match=r"^cannot reach it$") as caught:
        made.take([])
    assert caught.value.hint == "tried: -b flag"


def test_a_connection_that_was_lost_is_told_and_what_is_known_is_printed(
    batch_of, clock, printed, caplog
):
    made = batch_of()
    made.take(events_of([failed("1")]))
    made.apply(Notice("lost", "closed"))
    made.apply(Notice("retry", "refused; trying again in 1.0s"))
    clock.now += 5
    made.take([])
    made.apply(Notice("restored", "redis://h"))
    assert [len(rows) for rows in printed()] == [1]
    told = [record.getMessage() for record in caplog.records]
    assert told == ["connection lost: closed", "connected again to redis://h"]


# --- what it prints -----------------------------------------------------------------


def test_the_view_filter_sort_and_columns_are_those_asked_for(batch_of, clock, printed):
    made = batch_of(filter="uuid:a", sort="-uuid", columns=("uuid", "state"))
    made.take(events_of([failed("a1"), failed("b1"), failed("a2")]))
    clock.now += 5
    made.take([])
    assert printed() == [["a2,FAIL", "a1,FAIL"]]


def test_however_much_there_is_to_filter_all_of_it_is(batch_of, clock, printed, monkeypatch):
    made = batch_of(filter="age>0s", columns=("uuid",))
    made.take(events_of([failed(str(number)) for number in range(5000)]))
    clock.now += 5
    made.take([])
    [rows] = printed()
    assert len(rows) == 5000


def test_a_bad_filter_or_column_is_refused_at_once(batch_of):
    with pytest.raises(FilterError):
        batch_of(filter="(")
    with pytest.raises(FilterError):
        batch_of(expect="(")
    with pytest.raises(UsageError):
        batch_of(sort="nope")


def test_odd_characters_do_not_stop_it(batch_of, clock, capfd):
    made = batch_of(output="table", view="events")
    made.take(events_of([failed("\ud800")]))
    clock.now += 5
    made.take([])
    assert "\\ud800" in capfd.readouterr().out


# --- --expect -----------------------------------------------------------------------


@pytest.mark.parametrize(("expect", "status"), [("uuid:a", 0), ("uuid:x", 1)])
def test_what_is_expected_decides_about_the_status(batch_of, clock, capfd, expect, status):
    made = batch_of(expect=expect, filter="state:failure")
    made.take(events_of([failed("a"), failed("b")]))
    clock.now += 5
    made.take([])
    assert made.status() == status
    matched = 1 - status
    assert capfd.readouterr().err == f"evtop: {matched} of 2 rows matched --expect\n"


def test_quiet_says_it_by_the_status_alone(batch_of, clock, capfd):
    made = batch_of(expect="uuid:a", quiet=True)
    clock.now += 5
    made.take([])
    assert made.status() == 1
    assert capfd.readouterr().err == ""


# --- the broker's figures -----------------------------------------------------------


class Told:
    """A gauge that knows one queue."""

    def __init__(self, error=None):
        self.error = error

    def look(self, queues):
        if self.error:
            raise self.error
        return {queue: Depth(42) for queue in queues}


def sent(queue):
    return failed("1") | {"type": "task-sent", "name": "x", "queue": queue}


def test_the_broker_is_asked_how_long_the_queues_are(batch_of, clock, capfd):
    made = batch_of(view="queues", output="json")
    made.gauge = Told()
    made.take(events_of([sent("mail")]))
    clock.now += 5
    made.take([])
    row = json.loads(capfd.readouterr().out)
    assert (row["name"], row["depth"]) == ("mail", 42)


def test_a_broker_that_does_not_tell_is_done_without(batch_of, clock, capfd, caplog):
    made = batch_of(view="queues", output="json")
    made.gauge = Told(BrokerUnavailable("refused"))
    made.take(events_of([sent("mail")]))
    clock.now += 5
    made.take([])
    assert json.loads(capfd.readouterr().out)["name"] == "mail"
    assert "without their depth: refused" in caplog.text


# --- the whole ----------------------------------------------------------------------


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "x.jsonl"
    lines = [encode_line(failed(str(number), received=1000.0)) for number in range(3)]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return str(path)


def test_a_recording_is_read_to_its_end_and_printed_once(recording, capfd):
    options = TopOptions(batch=True, read=(recording,), output="json", speed=float("inf"))
    assert run(options, SETTINGS) == 0
    assert capfd.readouterr().out.count("\n") == 3


def test_a_recording_that_the_filter_hides_is_not_called_unconnected(recording, capfd):
    recorded = TopOptions(
        batch=True, read=(str(recording),), speed=float("inf"), filter="name:no.such"
    )
    run(recorded, SETTINGS)
    said = capfd.readouterr().err
    assert "The filter hides all" in said
    assert "Not connected" not in said


def test_a_mistake_of_ours_costs_a_figure_and_not_the_answer(recording, capfd, monkeypatch, caplog):
    def broken(*_):
        raise KeyError(1)

    monkeypatch.setattr("evtools.state.statistics.queues.Queues.left", broken)
    options = TopOptions(
        batch=True, read=(recording,), output="json", speed=float("inf"), view="types"
    )
    assert run(options, SETTINGS) == 1
    [row] = map(json.loads, capfd.readouterr().out.splitlines())
    assert row["failed"] == 3
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert [error.getMessage() for error in errors] == [
        "internal error: some figures may be wrong; see --debug"
    ]


@pytest.fixture
def rows_of(tmp_path, capfd):
    """Return what makes rows by name of events, as if they were recorded."""

    def read(events, **options):
        path = tmp_path / "events.jsonl"
        path.write_bytes(b"".join(encode_line(event) + b"\n" for event in events))
        how = {"output": "json", "speed": float("inf"), **options}
        assert run(TopOptions(batch=True, read=(str(path),), **how), SETTINGS) == 0
        rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
        return {row["name"]: row for row in rows}

    return read


def test_a_queue_that_is_named_late_leaves_no_hole_when_its_slot_expires(rows_of):
    life = Life()
    events = [life.received("never named")]
    life.now += 10
    # What is read at once is applied at once, so some of it must come between.
    at = life.now
    beats = [life.beat() | {"local_received": at} for _ in range(1000)]
    life.now = at
    events += [life.received("late"), *beats, life.sent("late")]
    for number in range(30):
        life.now += 5
        events += life.success(f"u{number}")
    rows = rows_of(events, view="queues", window="all")
    assert rows["mail"]["received"] * (life.now - 1000.1) == pytest.approx(31)
    assert rows["(unknown)"]["received"] * (life.now - 1000.1) == pytest.approx(1)
    for window in ("1m", "5m"):
        rows = rows_of(events, view="queues", window=window)
        assert rows["mail"]["received"] == rows["mail"]["published"]


def test_the_longest_run_is_told_to_the_last_digit(rows_of):
    life = Life()
    events = []
    for number, runtime in enumerate((0.1135, 7.957, 0.02)):
        events += life.success(f"u{number}", f"proj.t{number}")
        events[-1]["runtime"] = runtime
    rows = rows_of(events, view="types")
    for number, runtime in enumerate((0.1135, 7.957, 0.02)):
        row = rows[f"proj.t{number}"]
        assert row["run_max"] == runtime
        assert row["run_p50"] == row["run_p95"] == row["run_p99"] == runtime


def test_the_longest_run_leaves_with_its_window(rows_of):
    life = Life()
    events = []
    for runtime, after in ((7.957, 0), (3.3, 30), (0.1135, 40)):
        life.now += after
        events += life.success(f"u{runtime}")
        events[-1]["runtime"] = runtime
    found = {
        window: rows_of(events, view="types", window=window)["proj.add"]["run_max"]
        for window in ("1m", "5m", "all")
    }
    assert found == {"1m": 3.3, "5m": 7.957, "all": 7.957}


@pytest.fixture
def cells_of(tmp_path, capfd):
    """Record events, and return the cells of some columns as they are replayed."""

    def cells(view, columns, *events):
        path = tmp_path / "recording.jsonl"
        path.write_bytes(b"".join(encode_line(event) + b"\n" for event in events))
        options = TopOptions(
            batch=True,
            read=(str(path),),
            view=view,
            columns=columns,
            output="table",
            speed=float("inf"),
        )
        assert run(options, SETTINGS) == 0
        lines = capfd.readouterr().out.splitlines()[1:]
        return sorted(tuple(re.split(r"  +", line)) for line in lines)

    return cells


def beats(pid, *times, **fields):
    return [told("worker-heartbeat", float(at), pid=pid, **fields) for at in times]


def started(uuid, at, **fields):
    return told("task-started", float(at), uuid=uuid, **fields)


#: What a worker told, and what is true of it and of its tasks.
_WORKERS = {
    "restarted in a container": (
        [*beats(1, 0, processed=900), started("u1", 1, pid=1), *beats(1, 11, 13)],
        "online",
        {"u1": "LOST?"},
    ),
    "two processes of one name": (
        [
            *(*beats(10, 0), *beats(20, 1)),
            *(started("u1", 1.5, pid=10), started("u2", 1.6, pid=20)),
            *(*beats(10, 2), *beats(20, 3), *beats(10, 4), *beats(20, 5)),
        ],
        "2 processes",
        {"u1": "RUN", "u2": "RUN"},
    ),
    "started by a child": (
        [*beats(10, 0), started("u1", 1, pid=4321), *beats(10, 2)],
        "online",
        {"u1": "RUN"},
    ),
    "its goodbye was overtaken by its hello": (
        [
            told("worker-online", 100.0, pid=1),
            told("worker-offline", 99.0, pid=1, local_received=100.5),
            started("u1", 101, pid=1),
        ],
        "online",
        {"u1": "RUN"},
    ),
    "one that beats once an hour": (
        [*beats(1, 0, freq=3600.0), *beats(1, 1000, 1020, hostname="celery@two")],
        "online",
        {},
    ),
    "the pool solo": (
        [*beats(1, 0), started("u1", 2, pid=1), *beats(1, 40, hostname="celery@two")],
        "busy? 38s",
        {"u1": "RUN"},
    ),
    "one that is not Celery's": (
        [
            {
                "type": "worker-heartbeat",
                "hostname": "celery@one",
                "sw_ident": "gocelery",
                "sw_ver": "0.1",
                "timestamp": 1_700_000_000 + at,
            }
            for at in (0, 2, 4)
        ],
        "online",
        {},
    ),
}


@pytest.mark.parametrize("story", _WORKERS)
def test_a_worker_is_what_it_told(cells_of, story):
    events, status, tasks = _WORKERS[story]
    assert cells_of("workers", ("worker", "status"), *events)[0] == ("celery@one", status)
    assert dict(cells_of("tasks", ("uuid", "state"), *events)) == tasks


def test_json_says_that_a_task_may_be_lost(rows_of):
    events = [
        *beats(1, 0, processed=900),
        *(started("u1", 1, pid=1, name="lost"), *beats(1, 11, 13)),
        *(started("u2", 14, pid=1, name="runs"), *beats(1, 15)),
    ]
    rows = rows_of(events)
    assert {name: row["lost"] for name, row in rows.items()} == {"lost": True, "runs": False}


@pytest.mark.parametrize("factor", [1e3, 1e6, 1e9, -1.0])
def test_a_time_in_milliseconds_or_finer_is_none(cells_of, factor):
    now = 1_763_380_002.0
    events = [
        told("task-sent", now * factor, local_received=now),
        told("task-received", now + 0.5, eta=now * factor),
        told("task-started", now + 1.0),
        told("task-succeeded", now + 3.0, runtime=now * factor),
        told("worker-heartbeat", now * factor, local_received=now + 3.0),
    ]
    tasks = cells_of("tasks", ("state", "wait", "runtime", "age"), *events)
    assert tasks == [("OK", "1.00s", "2.00s", "0s")]
    types = cells_of("types", ("name", "wait_p95", "run_max"), *events)
    assert [float(cell.strip("s")) < 5 for cell in types[0][1:]] == [True, True]
    assert cells_of("workers", ("status", "skew"), *events) == [("online", "+0ms")]


#: What names nobody.
_NAMELESS = [2, 2.5, True, None, [], {}, ""]


@pytest.mark.parametrize("name", _NAMELESS)
def test_events_that_name_nobody_are_counted_by_all_tools(tmp_path, caplog, name):
    path = tmp_path / "recording.jsonl"
    events = [
        *(told("task-sent", uuid=name), told("task-progress", uuid=name)),
        *(told("worker-heartbeat", hostname=name), told("worker-odd", hostname=name)),
        *(told("task-received"), told("shop-paid", uuid=name, hostname=name)),
    ]
    path.write_bytes(b"".join(encode_line(event) + b"\n" for event in events))
    options = {"read": (str(path),), "speed": float("inf")}
    assert run(TopOptions(batch=True, output="json", **options), SETTINGS) == 0
    assert "events without the uuid or hostname they are about: 4" in caplog.text
    state = State()
    state.apply(events)
    assert (state.nameless, sum(from_fields(event).is_nameless for event in events)) == (4, 4)
    assert list(state.tasks) == [UUID]


@pytest.mark.parametrize("name", ["2", " ", "x" * 100_000])
def test_any_text_is_a_name(name):
    state = State()
    state.apply([told("task-sent", uuid=name), told("worker-heartbeat", hostname=name)])
    assert (list(state.tasks), list(state.workers)) == ([name], [name])
    assert state.nameless == 0


def test_a_recording_can_be_watched_at_its_pace(batch_of, clock, printed):
    made = batch_of(read=("x",), speed=1.0)
    made.take(events_of([failed("1")]))
    clock.now += 5
    made.take([])
    assert [len(rows) for rows in printed()] == [1]


def test_the_simulated_cluster_is_watched_recorded_and_redacted(tmp_path, capfd):
    path = tmp_path / "out.jsonl"
    options = TopOptions(
        batch=True,
        demo=True,
        refresh=2.0,
        view="tasks",
        output="json",
        write=str(path),
        redact=("args", "exception"),
        broker_stats=True,
    )
    assert run(options, SETTINGS) == 0
    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert rows
    assert {row["args"] for row in rows} <= {"***", None}
    recorded = [json.loads(line) for line in path.read_text().splitlines()]
    assert {event.get("args", "***") for event in recorded} == {"***"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_in_order(capfd, number):
    before = signal.getsignal(number)
    options = TopOptions(batch=True, demo=True, refresh=600.0, iterations=0)
    timer = threading.Timer(0.5, os.kill, (os.getpid(), number))
    timer.start()
    assert run(options, SETTINGS) == 0
    timer.join()
    assert capfd.readouterr().out.startswith("STATE")
    assert signal.getsignal(number) is before
