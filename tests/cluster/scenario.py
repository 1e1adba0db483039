"""A run of tasks that end in every way there is, and of workers that end in two."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from celery import chain, chord, group

from cluster.script import run_everything
from cluster.worker import Worker
from servers.process import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from cluster.sightings import Sightings

#: How many tasks run before a worker starts anew, and as many after.
BEFORE_RESTART = 25

# What a restarted worker learns from others it need not count itself.
_ALONE = ("--without-mingle", "--without-gossip")


@dataclass(frozen=True)
class Outcome:
    """What the application itself knows of a scenario that is over.

    `uuids` has the ids of tasks by name, `asked` when some of them were sent, by our
    clock, `results` what the result backend holds, `logs` what the workers wrote, and
    `pids` their newest processes.
    `redelivers` tells whether the broker gave to others what a dead worker held.
    """

    uuids: dict[str, str]
    asked: dict[str, float]
    results: dict[str, dict[str, Any]]
    logs: list[str]
    pids: dict[str, int]
    redelivers: bool


@dataclass
class Scenario:
    """Three workers in three time zones, and what they are to do.

    `home` stays, `east` restarts and in the end stops warmly, `west` is killed.
    `redelivers` tells whether the broker gives to others at once what a dead worker
    had not acknowledged.
    """

    broker_url: str
    event_exchange: str
    result_backend: str
    folder: Path
    redelivers: bool
    workers: list[Worker] = field(default_factory=list)
    uuids: dict[str, str] = field(default_factory=dict)
    asked: dict[str, float] = field(default_factory=dict)

    @property
    def home(self) -> Worker:
        """The worker that stays."""
        return self.workers[0]

    def play(self, witness: Sightings) -> None:
        """Let it all happen; it takes about twenty seconds."""
        started = [
            self._start("home", "UTC", concurrency=3),
            self._start("east", "Asia/Kolkata", *_ALONE),
            self._start("west", "America/St_Johns", concurrency=1),
        ]
        for worker in started:
            worker.wait_ready()
        home, east, west = started
        self._add_zones(started, witness)
        self._end_in_every_way(home, witness)
        self._kill(west, witness)
        self._restart(east, witness)

    def outcome(self, uuids: Iterable[str]) -> Outcome:
        """Return what the application knows, of all these tasks."""
        held = self.home.app.backend.get_task_meta
        return Outcome(
            uuids=self.uuids,
            asked=self.asked,
            # Children would be live results again.
            results={uuid: {**held(uuid, cache=False), "children": None} for uuid in uuids},
            logs=[worker.process.log.read_text() for worker in self.workers],
            pids={worker.hostname: worker.pid for worker in self.workers},
            redelivers=self.redelivers,
        )

    def end(self) -> None:
        """Leave no process and no connection behind."""
        for worker in self.workers:
            worker.end()

    def _start(self, name: str, zone: str, *arguments: str, concurrency: int = 2) -> Worker:
        worker = Worker(
            self.broker_url,
            self.folder / f"{len(self.workers)}",
            event_exchange=self.event_exchange,
            queue=f"{self.event_exchange}.{name}",
            name=name,
            concurrency=concurrency,
            result_backend=self.result_backend,
            zone=zone,
            arguments=arguments,
        )
        worker.folder.mkdir()
        self.workers.append(worker)
        worker.process.start()
        return worker

    def _send(self, name: str, send: Callable[[], Any]) -> Any:
        """Send something under a name; return the result to come."""
        asked = time.time()
        result = send()
        self.uuids[name] = result.id
        self.asked[name] = asked
        return result

    def _add_zones(self, workers: list[Worker], witness: Sightings) -> None:
        for worker in workers:
            name = f"at {worker.zone}"
            self._send(name, lambda: worker.app.send_task("cluster.add", args=(1, 1)))  # noqa: B023
            witness.wait_for(type="task-succeeded", uuid=self.uuids[name])

    def _end_in_every_way(self, home: Worker, witness: Sightings) -> None:
        app = home.app
        self._send("persevered", lambda: app.send_task("cluster.persevere", args=(4,)))
        self._send("died", lambda: app.send_task("cluster.die"))
        self._send("delayed", lambda: app.send_task("cluster.add", args=(5, 5), countdown=3))
        add, total = app.signature("cluster.add"), app.signature("cluster.total")
        steps = chain(add.clone((1, 1)), add.clone((1,)), add.clone((1,)), app=app)
        last = self._send("chain 3", steps.apply_async)
        self.uuids |= {"chain 2": last.parent.id, "chain 1": last.parent.parent.id}
        members = group([add.clone((1, 1)), add.clone((2, 2))], app=app)
        grouped = members.apply_async()
        header = group([add.clone((3, 3)), add.clone((4, 4))], app=app)
        body = self._send("chord body", chord(header, total, app=app).apply_async)
        self.uuids |= {
            f"{name} {number}": result.id
            for name, results in (("group", grouped), ("chord", body.parent))
            for number, result in enumerate(results.results, start=1)
        }
        self.uuids |= run_everything(app, witness)
        witness.wait_for_each(
            [self.uuids[name] for name in ("persevered", "delayed", "chord body")],
            {"task-succeeded"},
        )
        witness.wait_for(type="task-failed", uuid=self.uuids["died"])

    def _kill(self, west: Worker, witness: Sightings) -> None:
        """Kill a worker that runs a task and holds another."""
        app = west.app
        running = self._send("killed", lambda: app.send_task("cluster.occupy", (60,)))
        witness.wait_for(type="task-started", uuid=running.id)
        held = self._send("held", lambda: app.send_task("cluster.add", args=(6, 6)))
        witness.wait_for(type="task-received", uuid=held.id)
        wait_until(lambda: running.state == "STARTED", what="its start in the backend")
        west.kill()
        self.home.app.control.add_consumer(
            west.queue, destination=[self.home.hostname], reply=True, timeout=10, limit=1
        )
        if self.redelivers:
            witness.wait_for(type="task-succeeded", uuid=held.id)

    def _restart(self, east: Worker, witness: Sightings) -> None:
        """Let a worker start anew without its logical clock, and stop it warmly."""
        self._send_many(east, "before", witness)
        east.stop()
        witness.wait_for(type="worker-offline", hostname=east.hostname)
        again = self._start("east", "Asia/Kolkata", *_ALONE)
        again.wait_ready()
        self._send_many(again, "after", witness)
        last = self._send("finished", lambda: again.app.send_task("cluster.occupy", args=(1,)))
        witness.wait_for(type="task-started", uuid=last.id)
        again.stop()
        witness.wait_for(type="worker-offline", hostname=east.hostname, count=2)

    def _send_many(self, worker: Worker, when: str, witness: Sightings) -> None:
        uuids = {
            f"{when} {number}": worker.app.send_task("cluster.add", (number, 1)).id
            for number in range(BEFORE_RESTART)
        }
        self.uuids |= uuids
        witness.wait_for_each(uuids.values(), {"task-succeeded"})
        witness.wait_for_each(uuids.values(), {"task-sent"})
