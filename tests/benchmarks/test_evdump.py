"""CPU that evdump takes for an event, as a ratio to `celery events --dump`.

Both listen to the same stream at the same time on the same machine, with
their output in a file; what the processes took of the CPU between the first
and the last event is divided by the events each of them wrote.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from publish import Publisher

from servers.process import wait_until
from tools.cpu import cpu_seconds

pytestmark = pytest.mark.bench

#: Events/s by batch size, and for how many seconds: slow enough for Celery to
#: keep up on two cores together with the broker, and batches as fast as the
#: busy workers that send them.
RATES = {1: 2_000, 24: 10_000}
SECONDS = 10
_BIN = Path(sys.executable).parent

#: Broker, batch size, fields that Celery does not send, and how much of Celery's CPU we may
#: take.
ROWS = [
    ("redis", 1, 0, 1 / 4),
    ("redis", 1, 1, 1 / 4),
    ("rabbitmq", 1, 0, 1 / 2),
    ("redis", 24, 0, 1 / 4),
    ("redis", 24, 1, 1 / 4),
    ("rabbitmq", 24, 0, 1 / 4),
]


class Consumer:
    """A program that writes a line for every event into a file."""

    def __init__(self, folder: Path, name: str, *argv: str) -> None:
        self.out = folder / f"{name}.log"
        with self.out.open("wb") as out, (folder / f"{name}.err").open("wb") as err:
            self.process = subprocess.Popen(
                [str(_BIN / argv[0]), *argv[1:]], stdout=out, stderr=err, cwd=folder
            )
        self._at = 0.0
        self._lines = 0

    def lines(self) -> int:
        """Return how many events it has written."""
        with self.out.open("rb") as file:
            return sum(b"task" in line for line in file)

    def begin(self) -> None:
        """Count from here."""
        self._at, self._lines = cpu_seconds(self.process.pid), self.lines()

    def cost(self) -> float:
        """Return the CPU seconds it took for an event since `begin`."""
        return (cpu_seconds(self.process.pid) - self._at) / (self.lines() - self._lines)

    def end(self) -> None:
        """Stop it."""
        self.process.terminate()
        self.process.wait(timeout=10)


def _settled(consumers: list[Consumer]) -> None:
    """Wait until nobody writes any more."""
    seen = [(-1, 0.0)] * len(consumers)

    def quiet() -> bool:
        now = time.monotonic()
        for i, consumer in enumerate(consumers):
            lines = consumer.lines()
            if lines != seen[i][0]:
                seen[i] = (lines, now)
        return all(lines > 0 and now - since > 3 for lines, since in seen)

    wait_until(quiet, what="the stream to end", deadline=60)


@pytest.mark.parametrize(("broker", "batch", "unknown", "budget"), ROWS)
def test_an_event_costs_a_fraction_of_what_it_costs_celery(
    broker, batch, unknown, budget, request, tmp_path, table
):
    url = request.getfixturevalue(f"{broker}_url")
    publisher = Publisher(url)
    ours = Consumer(tmp_path, "evdump", "evdump", "-b", url, "-o", "json")
    theirs = Consumer(tmp_path, "celery", "celery", "-b", url, "events", "--dump")
    consumers = [ours, theirs]
    try:

        def both_listen() -> bool:
            publisher.send(batch, rate=1000, batch=batch, unknown=unknown)
            return all(consumer.lines() for consumer in consumers)

        wait_until(both_listen, what="both to listen", deadline=30)
        _settled(consumers)
        for consumer in consumers:
            consumer.begin()
        events = RATES[batch] * SECONDS // batch * batch
        publisher.send(events, rate=RATES[batch], batch=batch, unknown=unknown)
        _settled(consumers)
        costs = [consumer.cost() for consumer in consumers]
        written = [consumer.lines() - consumer._lines for consumer in consumers]
    finally:
        for consumer in consumers:
            consumer.end()
        publisher.close()
    assert written == [events, events]
    what = f"evdump -o json, {broker}, batches of {batch}" + ", an unknown field" * unknown
    _add_row(table, what, costs, budget)


def test_help_comes_in_a_fraction_of_the_time(table):
    def seconds(*argv: str) -> float:
        times = []
        for _ in range(10):
            start = time.perf_counter()
            subprocess.run([str(_BIN / argv[0]), *argv[1:]], check=True, capture_output=True)
            times.append(time.perf_counter() - start)
        return sorted(times)[len(times) // 2]

    costs = [seconds("evdump", "--help"), seconds("celery", "events", "--help")]
    _add_row(table, "evdump --help", costs, 1 / 4)


def _add_row(table, what: str, costs: list[float], budget: float) -> None:
    ours, theirs = costs
    met = ours <= theirs * budget
    table.append(
        (
            what,
            f"{theirs * 1e6:.0f} us",
            f"{ours * 1e6:.0f} us",
            f"1/{theirs / ours:.1f}",
            f"1/{1 / budget:.0f}",
            "met" if met else "NOT MET",
        )
    )
    assert met, table[-1]
