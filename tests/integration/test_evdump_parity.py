"""evdump prints what Celery's own receiver is given, field for field."""

from __future__ import annotations

import json
import math
import signal
import time
from collections import Counter

import kombu.utils.json
import pytest
from celery.events.receiver import EventReceiver

from cluster.app import make_app
from cluster.script import run_everything, send_custom_events
from cluster.worker import close
from evtools.wire import GAP, open_envelope
from servers.process import wait_until

#: Set by whoever receives.
RECEIVERS = ("local_received", "clock")


def frozen(value):
    """Return a value as text that is equal where the values are, types included."""
    if isinstance(value, dict):
        items = sorted((key, frozen(item)) for key, item in value.items())
        return "{" + ", ".join(f"{key!r}: {item}" for key, item in items) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(frozen, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        # JSON has no such numbers; we keep the words that Python writes for them.
        return repr({"nan": "NaN", "inf": "Infinity"}.get(str(value), "-Infinity"))
    if isinstance(value, str):
        # Half a character fits into no UTF-8; we keep what it was written as.
        value = value.encode(errors="backslashreplace").decode()
    return repr(value)


def key_of(event):
    return frozen({k: v for k, v in event.items() if k not in RECEIVERS})


def in_window(events, since, until):
    # By the sender's clock: each receiver has begun at another moment.
    return [e for e in events if since <= e["timestamp"] <= until]


def events_of(lines, loads=json.loads):
    opened = [open_envelope(loads(line)) for line in lines]
    assert all(joined is not None for _, joined in opened)
    return [event for event, _ in opened]


@pytest.fixture
def streams(celery_worker, celery_capture, evdump):
    """Let everything happen; return evdump's lines and what Celery received."""
    url, exchange = celery_worker.broker_url, celery_worker.event_exchange
    capture = celery_capture(url, exchange)
    dump = evdump("-b", url, "--event-exchange", exchange, "-o", "json")
    dump.wait_ready()
    since = time.time()
    run_everything(celery_worker.app, capture)
    send_custom_events(celery_worker.app, lone="\ud800", deep=[[[[{"a": [[]]}]]]])
    until = time.time()
    capture.wait_for(type="nogroup", count=2)
    # What the worker had to send by then has come before its next heartbeat but one.
    capture.wait_for(lambda event: event["timestamp"] > until, type="worker-heartbeat", count=2)

    def windows():
        ours = events_of(dump.stdout.split("\n")[:-1])
        return [
            Counter(key_of(event) for event in in_window(events, since, until))
            for events in (ours, capture.wire)
        ]

    def settled():
        ours, theirs = windows()
        return len(theirs) > 80 and ours.total() >= theirs.total()

    wait_until(settled, deadline=15, what=lambda: str([len(w) for w in windows()]))
    assert dump.stop(signal.SIGINT) == 0, dump.stderr
    ours = Counter(map(key_of, events_of(dump.stdout.splitlines())))
    wait_until(lambda: ours <= Counter(map(key_of, capture.wire)), what="the last of the events")
    return dump, capture, (since, until)


@pytest.mark.timeout(120)
def test_evdump_prints_what_celerys_receiver_gets(streams):
    dump, capture, window = streams
    lines = dump.stdout.splitlines()
    ours = events_of(lines)
    theirs = Counter(key_of(e) for e in in_window(capture.wire, *window))
    assert Counter(key_of(e) for e in in_window(ours, *window)) == theirs
    # With dates, decimals and ids as Celery's receiver revives them.
    revived = events_of(lines, kombu.utils.json.loads)
    theirs = Counter(key_of(e) for e in in_window(capture.events, *window))
    assert Counter(key_of(e) for e in in_window(revived, *window)) == theirs
    assert all(isinstance(event["local_received"], float) for event in ours)
    types = {event["type"] for event in in_window(ours, *window)}
    assert types >= {
        *("task-sent", "task-received", "task-started", "task-succeeded"),
        *("task-failed", "task-retried", "task-revoked", "task-rejected"),
        *("task-progress", "worker-heartbeat"),
        *("billing-invoice-paid", "nogroup", "a-b-c-d"),
    }
    assert GAP not in types
    assert "0 lost, 0 gaps" in dump.stderr
    clocks_are_celerys(ours, capture.wire)


def clocks_are_celerys(ours, wire):
    """Let Celery's receiver set the clocks of the same events in the same order."""
    originals = {}
    for event in wire:
        originals.setdefault(key_of(event), []).append(event)
    app = make_app("memory://")
    with app.connection_for_read() as connection:
        celerys = EventReceiver(connection, app=app)
        for event in ours:
            original = originals[key_of(event)].pop(0)
            _, expected = celerys.event_from_message(dict(original), localize=False)
            assert event["clock"] == expected["clock"], event
    close(app)
