"""From recordings, the demo and brokers to records."""

import io
import json
import sys
from contextlib import ExitStack

import pytest

from evtools.dump.options import DumpOptions
from evtools.dump.records import open_records
from evtools.dump.report import Report
from evtools.transport import ConnectionSettings
from evtools.transport.connection import connect
from evtools.transport.dispatcher import EventDispatcher
from evtools.wire import encode_line, envelope


@pytest.fixture
def stack():
    with ExitStack() as made:
        yield made


@pytest.fixture
def stderr():
    return io.StringIO()


@pytest.fixture
def opened(stack, stderr, tmp_path):
    """Open records; `lines` are what is in the recording."""

    def start(*lines, settings=None, **options):
        if lines:
            path = tmp_path / "tape.jsonl"
            path.write_bytes(b"".join(line + b"\n" for line in lines))
            options["read"] = (str(path),)
        return open_records(
            DumpOptions(**options),
            settings or ConnectionSettings(),
            Report(stderr, tool="evdump"),
            stack,
        )

    return start


def bare(**fields):
    return json.dumps(fields).encode()


def all_of(records):
    return [record for batch in records.batches(0.1) for record in batch]


def test_the_events_of_other_programs_are_joined(opened):
    sent = bare(type="task-received", uuid="u1", name="proj.add")
    failed = bare(type="task-failed", uuid="u1")
    first, second = all_of(opened(sent, failed))
    assert dict(first.joined) == {}
    assert dict(second.joined) == {"name": "proj.add"}


def test_what_was_recorded_looks_as_it_did(opened):
    line = encode_line(envelope({"type": "task-failed", "uuid": "u1"}, {"name": "proj.add"}))
    again = encode_line(envelope({"type": "task-started", "uuid": "u1"}))
    first, second = all_of(opened(line, again))
    assert first.joined == {"name": "proj.add"}
    assert second.joined == {}


def test_secrets_are_masked_in_what_was_recorded_too(opened):
    line = encode_line(
        envelope(
            {"type": "task-failed", "uuid": "u1", "exception": "card 4411"}, {"args": "(4411,)"}
        )
    )
    (record,) = all_of(opened(line, redact=("/4411/",)))
    assert "4411" not in f"{record.event} {record.joined}"
    assert record.event["exception"].startswith("card ")


def test_a_recording_can_be_cut(opened):
    lines = [bare(type="a-b", local_received=float(n)) for n in range(9)]
    records = all_of(opened(*lines, since=3.0, until=5.0))
    assert [record.event["local_received"] for record in records] == [3.0, 4.0, 5.0]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stderr", "stdout", "prints", "shown"),
    [
        (Terminal, io.StringIO, True, True),
        # Nothing is printed there, so nothing is in the way.
        (Terminal, Terminal, False, True),
        (Terminal, Terminal, True, False),
        (io.StringIO, io.StringIO, True, False),
        (io.StringIO, Terminal, True, False),
    ],
)
def test_a_bar_is_for_terminals_that_do_not_scroll(
    opened, monkeypatch, stderr, stdout, prints, shown
):
    monkeypatch.setattr("evtools.dump.progress._SOON", 0.0)
    screen = stderr()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", screen)
        patch.setattr(sys, "stdout", stdout())
        records = opened(bare(type="a-b"), print=prints)
        for _ in records.batches(0.1):
            records.advance()
    assert (screen.getvalue() != "") == shown


@pytest.fixture
def memory():
    """The settings of a broker in this process, and a dispatcher at it."""
    settings = ConnectionSettings(urls="memory://records", wakeup=False)
    with connect(settings) as connection:
        yield settings, EventDispatcher(connection, hostname="w1")


def first_batch(records):
    """Return the first events that come, and do what is done after each batch."""
    for batch in records.batches(0.1):
        records.advance()
        if batch:
            return batch
    raise AssertionError("no events")


def test_live_events_are_joined_and_masked(opened, stderr, memory):
    settings, dispatcher = memory
    records = opened(settings=settings, redact=("/4411/",))
    batches = records.batches(0.1)
    next(batches)  # nothing yet, but connected
    assert "listening on memory://" in stderr.getvalue()
    dispatcher.send("task-received", uuid="u1", name="proj.add", args="(4411,)")
    dispatcher.send("task-failed", uuid="u1", exception="X")
    seen = []
    for batch in batches:
        seen += batch
        if len(seen) == 2:
            break
    received, failed = seen
    assert received.event["name"] == "proj.add"
    assert failed.joined["name"] == "proj.add"
    assert "4411" not in f"{received.event} {failed.joined}"


def test_without_secrets_nothing_is_masked(opened, memory):
    settings, dispatcher = memory
    records = opened(settings=settings)
    batches = records.batches(0.1)
    next(batches)
    dispatcher.send("task-received", uuid="u1", args="(4411,)")
    (record,) = next(filter(None, batches))
    assert record.event["args"] == "(4411,)"
    records.source.stop()
    assert list(filter(None, batches)) == []


def test_the_demo_brings_its_own_cluster(opened, stderr):
    records = opened(demo=True)
    (first, *_) = first_batch(records)
    assert first.event["type"] == "worker-online"
    assert "listening on memory://demo" in stderr.getvalue()
