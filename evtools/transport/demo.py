"""A simulated cluster inside the process, for a first look without a broker."""

import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from evtools.transport.connection import connect
from evtools.transport.dispatcher import EventDispatcher
from evtools.transport.settings import ConnectionSettings

#: The broker of the simulated cluster: kombu's, in memory.
URL = "memory://demo"
HEARTBEAT_EVERY = 2.0
_SOFTWARE: dict[str, Any] = {
    "sw_ident": "py-celery",
    "sw_ver": "5.7.0",
    "sw_sys": "Linux",
}


@dataclass(frozen=True, slots=True)
class _Kind:
    """A task type: queue, typical run time in seconds, chance to fail, arguments."""

    name: str
    queue: str
    runtime: float
    failing: float
    exception: str
    args: Callable[[random.Random], str]


_KINDS = (
    _Kind(
        *("shop.billing.charge", "billing", 0.9, 0.12, "CardError('declined')"),
        lambda rng: f"({rng.randint(1000, 9999)}, 'EUR')",
    ),
    _Kind(
        *("shop.mail.send", "mail", 0.2, 0.05, "SMTPServerDisconnected('timeout')"),
        lambda rng: f"('user{rng.randint(1, 99)}@example.org',)",
    ),
    _Kind(
        *("shop.images.thumbnail", "images", 2.0, 0.02, "MemoryError()"),
        lambda rng: f"('img-{rng.randint(1, 9999):04}.jpg', 256)",
    ),
    _Kind(
        *("shop.web.checkout", "celery", 0.05, 0.01, "KeyError('basket')"),
        lambda rng: f"({rng.randint(1, 500)},)",
    ),
)
_WORKERS = ("w1@demo-a", "w2@demo-a", "w3@demo-b")


class DemoCluster(threading.Thread):
    """Send the events of three workers and a client until stopped.

    `settings` must be of an in-memory broker; `rate` is in tasks per second.
    The same `seed` gives the same tasks.
    """

    def __init__(
        self, settings: ConnectionSettings, *, rate: float = 4.0, seed: int = 1
    ) -> None:
        super().__init__(name="evtools-demo", daemon=True)
        self._settings = settings
        self._rate = rate
        self._rng = random.Random(seed)  # noqa: S311  (a demonstration)
        self._stopping = threading.Event()
        self._now = 0.0

    def stop(self) -> None:
        """Say goodbye for all workers and end."""
        self._stopping.set()
        if self.ident is not None:
            self.join(timeout=2.0)

    def run(self) -> None:
        """Play the cluster's life in real time."""
        with connect(self._settings) as connection:
            exchange = self._settings.event_exchange
            workers = [
                EventDispatcher(connection, name, exchange=exchange)
                for name in _WORKERS
            ]
            client = EventDispatcher(connection, exchange=exchange)
            for worker in workers:
                worker.send("worker-online", freq=HEARTBEAT_EVERY, **_SOFTWARE)
            for moment, send in self._life(client, workers):
                if self._stopping.wait(max(0.0, moment - self._now)):
                    break
                self._now = max(self._now, moment)
                send()
            for worker in workers:
                worker.send("worker-offline", freq=HEARTBEAT_EVERY, **_SOFTWARE)

    def _life(
        self, client: EventDispatcher, workers: list[EventDispatcher]
    ) -> Iterator[tuple[float, Callable[[], None]]]:
        """Yield what happens, in the order of its moments (seconds from the start)."""
        agenda: list[tuple[float, int, Callable[[], None]]] = []
        processed = dict.fromkeys(_WORKERS, 0)
        next_task = next_beat = 0.0
        number = 0
        while True:
            if next_beat <= next_task:
                for worker in workers:
                    number += 1
                    agenda.append((next_beat, number, self._beat(worker, processed)))
                next_beat += HEARTBEAT_EVERY
            else:
                worker = self._rng.choice(workers)
                for delay, send in self._task(client, worker, processed):
                    number += 1
                    agenda.append((next_task + delay, number, send))
                next_task += self._rng.expovariate(self._rate)
            agenda.sort()
            horizon = min(next_beat, next_task)
            while agenda and agenda[0][0] <= horizon:
                moment, _, send = agenda.pop(0)
                yield moment, send

    def _beat(
        self, worker: EventDispatcher, processed: dict[str, int]
    ) -> Callable[[], None]:
        load = [round(self._rng.uniform(0.2, 2.0), 2) for _ in range(3)]

        def send() -> None:
            worker.send(
                "worker-heartbeat",
                freq=HEARTBEAT_EVERY,
                active=self._rng.randint(0, 4),
                processed=processed[worker.hostname],
                loadavg=load,
                **_SOFTWARE,
            )

        return send

    def _task(
        self,
        client: EventDispatcher,
        worker: EventDispatcher,
        processed: dict[str, int],
    ) -> Iterator[tuple[float, Callable[[], None]]]:
        """Yield the events of one task with their delays in seconds."""
        kind = self._rng.choice(_KINDS)
        uuid = str(_uuid(self._rng))
        about: dict[str, Any] = {
            "uuid": uuid,
            "name": kind.name,
            "args": kind.args(self._rng),
            "kwargs": "{}",
            "retries": 0,
            "eta": None,
            "expires": None,
            "root_id": uuid,
            "parent_id": None,
        }
        wait = self._rng.expovariate(20)
        runtime = self._rng.expovariate(1 / kind.runtime)
        failed = self._rng.random() < kind.failing

        def start() -> None:
            processed[worker.hostname] += 1
            worker.send("task-started", uuid=uuid)

        yield (
            0,
            lambda: client.send(
                "task-sent",
                queue=kind.queue,
                exchange="",
                routing_key=kind.queue,
                **about,
            ),
        )
        yield 0.002, lambda: worker.send("task-received", **about)
        yield 0.002 + wait, start
        yield (
            0.002 + wait + runtime,
            lambda: _end(worker, kind, uuid, runtime, failed=failed),
        )


def _end(
    worker: EventDispatcher, kind: _Kind, uuid: str, runtime: float, *, failed: bool
) -> None:
    if not failed:
        worker.send("task-succeeded", uuid=uuid, result="None", runtime=runtime)
        return
    file = kind.name.rpartition(".")[0].replace(".", "/")
    worker.send(
        "task-failed",
        uuid=uuid,
        exception=kind.exception,
        traceback="Traceback (most recent call last):\n"
        f'  File "/srv/{file}.py", line 88, in {kind.name.rpartition(".")[2]}\n'
        f"    raise {kind.exception}\n"
        f"{kind.exception.replace('(', ': ').rstrip(')')}\n",
    )


def _uuid(rng: random.Random) -> str:
    digits = f"{rng.getrandbits(128):032x}"
    return "-".join(
        (digits[:8], digits[8:12], f"4{digits[13:16]}", digits[16:20], digits[20:])
    )
