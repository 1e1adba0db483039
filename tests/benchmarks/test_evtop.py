"""CPU that evtop takes for an event, as a ratio to the screen of `celery events`.

Both listen to the same stream at the same time on the same machine, each on a
terminal of the same size that takes all they write; what the processes took of
the CPU from the first event until some time after the last one, drawing and
all, is divided by the events that were published.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final

import pytest
from publish import Publisher

from servers.process import wait_until
from tools.command import Command, installed
from tools.cpu import cpu_seconds

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.bench

RATE = 3_000
SECONDS = 20
#: A task of the publisher has so many events.
PER_TASK = 3
#: How long after the last event both may still work on what came, in seconds.
_AFTER = 2.0
#: From this share on, Celery has seen all, but for what came with its next picture.
_ALL: Final = 0.99
_SIZE = (120, 32)

BUDGET = 1 / 4


class Watcher(Command):
    """A program on a terminal that is drawn only when somebody looks.

    To follow every byte as it comes would take a CPU that the others need.
    """

    def __init__(self, folder: Path, argv: tuple[str, ...], pattern: str, weight: int = 1) -> None:
        self._unseen: list[bytes] = []
        self._pattern, self._weight = pattern, weight
        self._at, self._before = 0.0, 0
        program, *rest = argv
        super().__init__([str(installed(program)), *rest], cwd=folder, terminal=_SIZE)

    def _feed(self, data: bytes) -> None:
        self._unseen.append(data)

    def screen(self) -> str:
        """Return what the terminal shows."""
        unseen, self._unseen = self._unseen, []
        for data in unseen:
            super()._feed(data)
        return super().screen()

    def events(self) -> int:
        """Return how many events it shows to have seen."""
        found = re.search(self._pattern, self.screen())
        return self._weight * int(found[1]) if found else 0

    def begin(self) -> None:
        """Count from here."""
        self._at, self._before = cpu_seconds(self.pid), self.events()

    def cost(self) -> float:
        """Return the CPU seconds it took for an event since `begin`."""
        used = cpu_seconds(self.pid) - self._at
        return used / (self.events() - self._before)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("broker", "batch", "unknown", "view"),
    [
        *(("redis", 1, 0, "tasks"), ("redis", 24, 0, "tasks")),
        *(("redis", 1, 0, "overview"), ("redis", 1, 1, "overview"), ("redis", 24, 0, "overview")),
        *(("rabbitmq", 1, 0, "overview"), ("rabbitmq", 24, 0, "overview")),
    ],
)
def test_an_event_costs_a_fraction_of_what_it_costs_celery(
    broker, batch, unknown, view, request, tmp_path, table
):
    url = request.getfixturevalue(f"{broker}_url")
    publisher = Publisher(url)
    watchers = [
        Watcher(tmp_path, ("evtop", "-b", url, "--view", view), r"tasks (\d+)/", PER_TASK),
        Watcher(tmp_path, ("celery", "-b", url, "events"), r"events: (\d+)"),
    ]
    published = RATE * SECONDS // (PER_TASK * batch) * PER_TASK * batch
    try:

        def both_listen() -> bool:
            publisher.send(batch, rate=1000, batch=batch, unknown=unknown)
            return all(watcher.events() for watcher in watchers)

        wait_until(both_listen, what="both to listen", deadline=30)
        for watcher in watchers:
            watcher.begin()
        publisher.send(published, rate=RATE, batch=batch, unknown=unknown)
        time.sleep(_AFTER)
        costs = [watcher.cost() for watcher in watchers]
        seen = [watcher.events() for watcher in watchers]
    finally:
        for watcher in watchers:
            watcher.end()
        publisher.close()
    assert seen[0] == published
    what = f"evtop, {view}, {broker}, batches of {batch}" + ", an unknown field" * unknown
    _add_row(table, what, costs, seen[1] / published)


def _add_row(table, what: str, costs: list[float], share: float) -> None:
    ours, theirs = costs
    met = ours <= theirs * BUDGET
    if share < _ALL:
        what += f" (Celery lost {1 - share:.0%})"
    table.append(
        (
            what,
            f"{theirs * 1e6:.0f} us",
            f"{ours * 1e6:.0f} us",
            f"1/{theirs / ours:.1f}",
            f"1/{1 / BUDGET:.0f}",
            "met" if met else "NOT MET",
        )
    )
    assert met, table[-1]
