"""What happens while nobody reads evdump's output."""

from __future__ import annotations

import json
import re

import pytest
from publish import Publisher

from servers.process import wait_until

RATE = 3000


@pytest.fixture
def publisher(broker_url, event_exchange):
    made = Publisher(broker_url, exchange=event_exchange)
    yield made
    made.close()


@pytest.fixture
def dump(evdump, broker_url, event_exchange):
    """Start evdump on the stream that is published to."""

    def start(*arguments):
        started = evdump(
            *("-b", broker_url, "--event-exchange", event_exchange, "--no-wakeup"), *arguments
        )
        started.wait_ready()
        return started

    return start


def loses_nothing(dump, publisher, seconds):
    dump.pause_output()
    count = seconds * RATE
    publisher.send(count, rate=RATE)
    dump.resume_output()
    dump.lines(count, deadline=30)
    assert dump.stop() == 0
    assert dump.stdout.count("\n") == count
    assert f"{count} captured, {count} matched, 0 lost, 0 gaps" in dump.stderr


def test_a_reader_may_pause_for_some_seconds(dump, publisher):
    # Longer than RabbitMQ keeps an event that nobody fetches.
    loses_nothing(dump("-o", "raw"), publisher, seconds=6)


@pytest.mark.load
@pytest.mark.timeout(120)
@pytest.mark.parametrize("output", ["text", "json", "raw"])
def test_a_reader_may_pause_for_20_seconds(dump, publisher, output):
    loses_nothing(dump("-o", output), publisher, seconds=20)


@pytest.mark.parametrize("batch", [1, 24])
def test_what_does_not_fit_is_counted_to_the_last_event(dump, publisher, batch):
    running = dump("-o", "json", "--buffer-size", "1M", "--stats", "json")
    running.pause_output()
    published = 24_000
    publisher.send(published, rate=20_000, batch=batch)
    running.resume_output()

    def tally():
        whole = running.stdout.rpartition("\n")[0]
        gaps = [json.loads(x) for x in re.findall(r"^.*evdump-gap.*$", whole, re.MULTILINE)]
        events = whole.count("\n") + 1 - len(gaps)
        return events, sum(gap["dropped"] for gap in gaps), gaps

    wait_until(lambda: sum(tally()[:2]) >= published, what=lambda: str(tally()))
    assert running.stop() == 0
    events, dropped, gaps = tally()
    assert events + dropped == published
    assert dropped > 0
    assert {gap["reason"] for gap in gaps} == {"buffer"}
    assert all(gap["from"] <= gap["to"] for gap in gaps)
    summary = json.loads(running.stderr.splitlines()[-1])
    assert summary["lost"] == dropped
    assert summary["captured"] == events
