"""A real Celery worker in a process of its own."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from celery.backends.redis import RedisBackend

from cluster.app import NO_RESULTS, make_app
from servers.process import Process, wait_until

if TYPE_CHECKING:
    from celery import Celery

TESTS = Path(__file__).resolve().parents[1]


@dataclass(eq=False)
class Worker:
    """`celery -A cluster.app worker -E` with two prefork processes.

    `app` is an application at the same broker, to send tasks and commands with;
    `zone` is the time zone it lives in, if not ours.
    """

    broker_url: str
    folder: Path
    event_exchange: str = "celeryev"
    queue: str = "celery"
    name: str = "worker1"
    events: bool = True
    concurrency: int = 2
    result_backend: str = NO_RESULTS
    zone: str | None = None
    arguments: tuple[str, ...] = ()
    ca: Path | None = None
    app: Celery = field(init=False)
    process: Process = field(init=False)

    def __post_init__(self) -> None:
        self.app = make_app(
            self.broker_url,
            self.event_exchange,
            queue=self.queue,
            result_backend=self.result_backend,
            ca=self.ca,
        )
        self.process = Process(
            self._argv(), log=self.folder / "worker.log", cwd=self.folder, env=self._environment()
        )

    def _argv(self) -> list[str]:
        return [
            *(sys.executable, "-m", "celery", "-A", "cluster.app", "worker"),
            *("--loglevel", "INFO", "--pool", "prefork"),
            *("--concurrency", str(self.concurrency), "--hostname", self.hostname),
            *(["-E"] if self.events else []),
            *self.arguments,
        ]

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(TESTS),
            "CLUSTER_BROKER_URL": self.broker_url,
            "CLUSTER_EVENT_EXCHANGE": self.event_exchange,
            "CLUSTER_QUEUE": self.queue,
            "CLUSTER_RESULT_BACKEND": self.result_backend,
            **({"TZ": self.zone} if self.zone else {}),
            **({"CLUSTER_CA": str(self.ca)} if self.ca else {}),
        }

    @property
    def hostname(self) -> str:
        """The node name, as `hostname` in its events."""
        return f"{self.name}@cluster"

    @property
    def pid(self) -> int:
        """The process number of the main process, as `pid` in its events."""
        return self.process.pid

    def start(self) -> None:
        """Start, and return when it answers a ping."""
        self.process.start()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until it answers a ping."""
        self.process.wait_ready(self._logged_ready, deadline=40)
        wait_until(
            self._answers_ping,
            deadline=20,
            what=lambda: f"a pong; the worker's log ends:\n{self.process.log_tail()}",
        )

    def _logged_ready(self) -> bool:
        return f"{self.hostname} ready." in self.process.log.read_text(errors="replace")

    def _answers_ping(self) -> bool:
        return bool(self.app.control.ping(destination=[self.hostname], timeout=2, limit=1))

    def stop(self) -> None:
        """Shut down warmly: running tasks end and the worker says goodbye."""
        self.process.stop(deadline=30)

    def kill(self) -> None:
        """End it and its pool at once, without a goodbye."""
        self.process.kill()

    def freeze(self) -> None:
        """Stop it and its pool from running; connections stay open."""
        self.process.freeze()

    def thaw(self) -> None:
        """Let it and its pool run again."""
        self.process.thaw()

    def end(self) -> None:
        """Leave no process and no connection behind."""
        self.kill()
        close(self.app)


def close(app: Celery) -> None:
    """Close every connection an application holds."""
    app.pool.force_close_all()
    backend = app.backend
    if isinstance(backend, RedisBackend):
        backend.result_consumer.stop()
        # Results that are collected later would connect again to unsubscribe.
        backend.result_consumer.subscribed_to.clear()
        backend.client.connection_pool.disconnect()
    app.close()
