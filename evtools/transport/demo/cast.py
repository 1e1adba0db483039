"""The workers of the simulated cluster, and what befalls them."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from evtools.transport.demo.agenda import Agenda
from evtools.transport.demo.worker import Character, DemoWorker

CAST: Final = (
    Character(hostname="w1@demo-a", queues=frozenset({"celery", "billing", "orders"})),
    Character(hostname="w2@demo-a", queues=frozenset({"celery", "mail", "orders"})),
    Character(hostname="w3@demo-b", queues=frozenset({"celery", "billing", "mail"})),
    Character(
        hostname="reports@demo-b", queues=frozenset({"reports"}), concurrency=4, version="5.6.2"
    ),
    Character(hostname="images@demo-c", queues=frozenset({"images"}), skew=29.0, version="5.4.0"),
)

Deed = Callable[[DemoWorker, float], None]
#: Who does what: at first, for how long, how often, in seconds.
FATES: Final[Mapping[str, tuple[Deed, float, float, float]]] = {
    "reports@demo-b": (DemoWorker.die, 20.0, 45.0, 120.0),
    "w3@demo-b": (DemoWorker.leave, 40.0, 10.0, 90.0),
}


def tempt_fate(agenda: Agenda, worker: DemoWorker) -> None:
    """Put onto the agenda what befalls a worker."""
    if worker.hostname in FATES:
        deed, first, away, every = FATES[worker.hostname]
        agenda.after(first, partial(_befall, agenda, partial(deed, worker, away), every))


def _befall(agenda: Agenda, deed: Callable[[], None], every: float) -> None:
    deed()
    agenda.after(every, partial(_befall, agenda, deed, every))
