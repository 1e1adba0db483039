import gzip
import json
import signal

import pytest

from evtools.errors import BrokerUnavailable
from evtools.top import batch as module
from evtools.top.batch import Batch, run
from evtools.top.feed import BrokerStats
from evtools.top.options import TopOptions
from evtools.transport import ConnectionSettings, Notice
from evtools.transport.queues import Depth
from evtools.wire import encode_line
from tools.clock import FakeClock, HeldClock
from tools.told import told
from tools.typed import events_of

SETTINGS = ConnectionSettings(urls="memory://nobody")
AT_ONCE = float("inf")


def failed(uuid, **fields):
    times = {"timestamp": 1000.0, "local_received": 1000.0}
    event = {"type": "task-failed", "uuid": uuid, "hostname": "w@h", "exception": "E()", **times}
    return {**event, "clock": 1, "pid": 1, "password": "s3kr1t", **fields}


class Printing:
    """A batch, and what it prints."""

    def __init__(self, options, capfd, *, connected=True):
        self.clock = FakeClock(1000.0)
        self.capfd = capfd
        options = {"refresh": 5.0, "output": "csv", **options}
        self.batch = Batch(TopOptions(batch=True, **options), self.clock, origin="-b flag")
        if connected:
            self.batch.apply(Notice("listening", "redis://h"))

    def take(self, *events, wait=0.0):
        """Take events, and what is printed when a time has passed since."""
        self.batch.take(events_of(events))
        self.clock.now += wait
        self.batch.take([])

    def printed(self):
        """Return the rows of CSV that were printed, by block and without headers."""
        blocks = self.capfd.readouterr().out.split("\n\n")
        return [block.splitlines()[1:] for block in blocks if block]


@pytest.fixture
def batch_of(capfd):
    """Return what makes a batch of options."""
    return lambda connected=True, **options: Printing(options, capfd, connected=connected)


# --- when it prints -----------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"read": ("x",), "speed": 1.0}])
def test_nothing_is_printed_before_the_time_is_up(batch_of, options):
    made = batch_of(**options)
    made.take(failed("1"), wait=4.9)
    assert made.printed() == []
    assert not made.batch.is_over()
    made.take(wait=0.1)
    assert made.batch.is_over()
    [rows] = made.printed()
    assert len(rows) == 1


@pytest.mark.parametrize(("iterations", "over"), [(2, True), (0, False)])
def test_it_prints_as_often_as_asked_with_a_blank_line_between(batch_of, iterations, over):
    made = batch_of(iterations=iterations)
    for uuid in "12":
        made.take(failed(uuid), wait=5)
    assert [len(rows) for rows in made.printed()] == [1, 2]
    assert made.batch.is_over() is over


def test_the_end_of_a_recording_prints_what_came_and_a_stop_prints_once(batch_of):
    made = batch_of(read=("x",), speed=AT_ONCE)
    made.take(failed("1"), wait=99)
    assert made.printed() == []
    made.batch.conclude()
    assert [len(rows) for rows in made.printed()] == [1]
    stopped = batch_of(iterations=0)
    for blocks in ([[]], []):
        stopped.batch.conclude()
        assert stopped.printed() == blocks


def test_where_one_refuses_and_the_other_is_away_there_is_nothing_to_print():
    made = Batch(TopOptions(batch=True), FakeClock(1000.0), ("eu", "us"), origin="-b flag")
    made.apply(Notice("refused", "no such user", "us"))
    made.apply(Notice("retry", "cannot reach it; trying again in 1.0s", "eu"))
    with pytest.raises(BrokerUnavailable, match=r"^eu: cannot reach it; us: no such user$"):
        made.conclude()


def test_without_a_connection_there_is_nothing_to_print(batch_of):
    made = batch_of(connected=False)
    made.batch.apply(Notice("retry", "cannot reach it; trying again in 1.0s"))
    with pytest.raises(BrokerUnavailable, match=r"^cannot reach it$") as caught:
        made.take(wait=5)
    assert caught.value.hint == "tried: -b flag"


def test_a_lost_connection_is_reported_and_what_is_known_is_printed(batch_of, caplog):
    made = batch_of()
    made.take(failed("1"))
    made.batch.apply(Notice("lost", "closed"))
    made.batch.apply(Notice("retry", "refused; trying again in 1.0s"))
    made.take(wait=5)
    made.batch.apply(Notice("restored", "redis://h"))
    assert [len(rows) for rows in made.printed()] == [1]
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["connection lost: closed", "connected again to redis://h"]


# --- what it prints -----------------------------------------------------------------------


def test_the_view_filter_sort_and_columns_are_those_asked_for(batch_of):
    made = batch_of(filter="uuid:a", sort="-uuid", columns=("uuid", "state"))
    made.take(failed("a1"), failed("b1"), failed("a2"), wait=5)
    assert made.printed() == [["a2,FAIL", "a1,FAIL"]]


def test_however_much_there_is_to_filter_all_of_it_is(batch_of, monkeypatch):
    monkeypatch.setattr("evtools.top.index.BUDGET", -1.0)
    made = batch_of(filter="age>0s", columns=("uuid",))
    made.take(*(failed(str(number)) for number in range(5000)), wait=5)
    [rows] = made.printed()
    assert len(rows) == 5000


def test_odd_characters_do_not_stop_it(batch_of, capfd):
    batch_of(output="table", view="events").take(failed("\ud800"), wait=5)
    assert "\\ud800" in capfd.readouterr().out


class FakeGauge:
    """A gauge of a queue that loses two messages a second, or that knows nothing."""

    error = None
    reason = ""

    def __init__(self, clock):
        self.clock = clock

    def look(self, queues, *, oldest):
        if self.error:
            raise self.error
        if self.reason:
            return {queue: Depth(None, reason=self.reason) for queue in queues}
        return {queue: Depth(2050 - 2 * round(self.clock.now)) for queue in queues}


@pytest.mark.parametrize("error", [None, BrokerUnavailable("refused")])
def test_the_broker_is_asked_how_long_queues_are_and_done_without(batch_of, capfd, caplog, error):
    made = batch_of(view="queues", output="json")
    gauge = FakeGauge(made.clock)
    cluster = made.batch.clusters[""]
    cluster.stats = BrokerStats(gauge, print, clock=made.clock)
    cluster.asks_broker = True
    gauge.error = error
    made.take(failed("1", type="task-sent", name="x", queue="mail"), wait=5)
    row = json.loads(capfd.readouterr().out)
    figures = [row[name] for name in ("name", "depth", "ready", "net_per_min", "empty_in")]
    assert figures == ["mail", *([None] * 4 if error else [40, 40, -120.0, 20.0])]
    # What follows: nothing was sent meanwhile.  Not even the number of consumers is guessed.
    assert (row["in_rate"], row["out_rate"]) == ((0.2, None) if error else (0.0, 2.0))
    assert (row["consumers"], row["unacked"]) == (None, None)
    assert ("without their depth: refused" in caplog.text) is bool(error)
    gauge.error, gauge.reason = None, "NOPERM"
    made.batch._print()
    assert "depth unknown of queues: 1 (NOPERM)" in caplog.text


# --- the whole ----------------------------------------------------------------------------


@pytest.fixture
def replay(tmp_path, capfd):
    """Return what makes rows of recorded events: the status, and dictionaries of JSON."""

    def read(*events, **options):
        path = tmp_path / "x.jsonl"
        path.write_bytes(b"".join(encode_line(event) + b"\n" for event in events))
        how = {"output": "json", "speed": AT_ONCE, "read": (str(path),), **options}
        status = run(TopOptions(batch=True, **how), [SETTINGS])
        return status, [json.loads(line) for line in capfd.readouterr().out.splitlines()]

    return read


def test_a_recording_that_the_filter_hides_is_not_called_unconnected(replay, capfd, monkeypatch):
    notes = []
    monkeypatch.setattr("evtools.top.batch.Batch._note", lambda _, text: notes.append(text))
    replay(failed("1"), filter="name:no.such")
    assert notes[0].startswith("The filter hides all")
    assert not any("Not connected" in note for note in notes)


def beats(pid, *times, **fields):
    return [told("worker-heartbeat", float(at), pid=pid, **fields) for at in times]


def test_a_task_whose_process_has_gone_may_be_lost(replay):
    _, rows = replay(
        *(*beats(1, 0, processed=900), told("task-started", 1.0, uuid="lost", pid=1)),
        *beats(1, 11, 13),  # restarted in a container
        *(told("task-started", 14.0, uuid="runs", pid=1), *beats(1, 15)),
    )
    assert {row["uuid"]: row["lost"] for row in rows} == {"lost": True, "runs": False}


def test_processes_of_one_name_are_shown(batch_of):
    made = batch_of(view="workers", columns=("status",), output="table", read=("x",), speed=1.0)
    made.take(*(beats(pid, at)[0] for at, pid in enumerate([10, 20] * 3)), wait=5)
    assert made.printed() == [["2 processes"]]


@pytest.mark.parametrize("factor", [1e3, 1e6, 1e9, -1.0])
def test_a_time_in_milliseconds_or_finer_is_none(replay, factor):
    now = 1_763_380_002.0
    events = [
        told("task-sent", now * factor, local_received=now),
        told("task-received", now + 0.5, eta=now * factor),
        told("task-started", now + 1.0),
        told("task-succeeded", now + 3.0, runtime=now * factor),
        told("worker-heartbeat", now * factor, local_received=now + 3.0),
    ]
    _, [task] = replay(*events)
    assert [round(task[name], 3) for name in ("wait", "runtime")] == [1.0, 2.0]
    _, [kind] = replay(*events, view="types")
    assert max(kind["wait_p95"], kind["run_max"]) < 5
    _, [worker] = replay(*events, view="workers")
    assert (worker["status"], worker["skew"]) == ("online", 0.0)


@pytest.mark.parametrize("name", [2, 2.5, True, None, [], {}, ""])
def test_events_that_name_nobody_are_counted(replay, caplog, name):
    events = [
        *(told("task-sent", uuid=name), told("task-progress", uuid=name)),
        *(told("worker-heartbeat", hostname=name), told("worker-odd", hostname=name)),
        *(told("task-received"), told("shop-paid", uuid=name, hostname=name)),
    ]
    _, rows = replay(*events)
    assert "events without the uuid or hostname they are about: 4" in caplog.text
    assert len(rows) == 1


def test_the_simulated_cluster_is_watched_recorded_and_redacted(tmp_path, capfd, monkeypatch):
    clock, path = HeldClock(), tmp_path / "out.jsonl"

    class Patient(Batch):
        """The time begins with the first task."""

        def take(self, events):
            super().take(events)
            if any(event.type.startswith("task-") for event in events):
                clock.let_go()

    monkeypatch.setattr(module, "SystemClock", lambda: clock)
    monkeypatch.setattr(module, "Batch", Patient)
    how = {"write": str(path), "redact": ("args", "exception"), "broker_stats": True}
    assert (
        run(TopOptions(batch=True, demo=True, refresh=2.0, output="json", **how), [SETTINGS]) == 0
    )
    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert rows
    assert {row["args"] for row in rows} <= {"***", None}
    recorded = [json.loads(line) for line in path.read_text().splitlines()]
    assert {event.get("args", "***") for event in recorded} == {"***"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_while_it_closes_ends_it_no_sooner(tmp_path, monkeypatch, strays, number):
    class Slow(module.Recording):
        """A signal comes while its end is written."""

        def close(self):
            signal.raise_signal(number)
            super().close()

    tape, path = tmp_path / "tape.jsonl", tmp_path / "out.jsonl.gz"
    tape.write_bytes(encode_line(failed("a")) + b"\n")
    monkeypatch.setattr(module, "Recording", Slow)
    options = TopOptions(batch=True, read=(str(tape),), speed=AT_ONCE, write=str(path))
    assert run(options, [SETTINGS]) == 0
    assert len(gzip.decompress(path.read_bytes()).splitlines()) == 1
    assert strays == []
