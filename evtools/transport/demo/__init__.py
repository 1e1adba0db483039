"""A simulated cluster inside the process, for a first look without a broker.

It is played in real time in a thread, and obeys remote control.
"""

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from random import Random
from signal import Signals
from typing import Any, Final

from kombu.connection import Connection
from kombu.pidbox import Node

from evtools.clock import SystemClock
from evtools.transport.connection import connect
from evtools.transport.control import mailbox
from evtools.transport.demo.simulation import BY_NAME, DemoTask, DemoWorker, Simulation
from evtools.transport.dispatcher import EventDispatcher
from evtools.transport.settings import ConnectionSettings

#: The broker of the simulated cluster: kombu's, in memory.
URL: Final = "memory://demo"
#: How often its queues are polled, in seconds; kombu would once a second.
_POLLING: Final = 0.05
#: How long a command, or the end, may have to wait for the thread, in seconds.
_PATIENCE: Final = 0.1
#: What happens within this time, in seconds, is sent as one message.
_TURN: Final = 0.02
#: How long a worker is away that was shut down, in seconds.
AWAY: Final = 20.0
_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}


def demo_settings(settings: ConnectionSettings) -> ConnectionSettings:
    """Return how to reach the simulated cluster, with the other `settings` as they are."""
    options = {"polling_interval": _POLLING}
    return replace(settings, urls=URL, renewal=None, source_of_url="--demo", options=options)


class DemoCluster(threading.Thread):
    """Five workers and a client that send events until stopped, and obey remote control.

    `settings` must be of an in-memory broker; the client sends `rate` tasks per second.  Tasks and
    fates are always the same ones, as long as no commands come.
    """

    def __init__(self, settings: ConnectionSettings, *, rate: float = 5.0) -> None:
        super().__init__(name="evtools-demo", daemon=True)
        self._settings = settings
        self._rate = rate
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End, with a goodbye of each worker; wait for that."""
        self._stopping.set()
        if self.ident is not None:
            self.join(timeout=2.0)

    def run(self) -> None:
        clock, exchange = SystemClock(), self._settings.event_exchange
        with connect(self._settings) as connection:
            simulation = Simulation(
                lambda hostname, group: EventDispatcher(
                    connection, hostname, exchange=exchange, buffer_group={group} - {""}
                ),
                rng=Random(1),  # noqa: S311  (it plays)
                wall=clock.wall,
                rate=self._rate,
            )
            listen(connection, self._settings, simulation.workers)
            began = clock.monotonic()
            while not self._stopping.is_set():
                pause = simulation.play(clock.monotonic() - began)
                for worker in simulation.workers:
                    worker.main.flush()
                serve(connection, max(_TURN, min(_PATIENCE, pause)))
            for worker in simulation.workers:
                worker.go_offline()
                worker.main.flush()


# --- remote control -----------------------------------------------------------------


def listen(connection: Connection, settings: ConnectionSettings, workers: list[DemoWorker]) -> None:
    """Have the workers receive commands, which `serve` then lets them answer."""
    box = mailbox(connection, settings)
    channel = connection.channel()
    for worker in workers:
        node = box.Node(worker.hostname, channel=channel)
        node.listen(callback=partial(_receive, node, worker))


def serve(connection: Connection, timeout: float) -> None:
    """Let the workers obey what comes within `timeout` seconds."""
    with suppress(TimeoutError):
        connection.drain_events(timeout=timeout)


def _receive(node: Node, worker: DemoWorker, body: Any, _: Any) -> None:
    if not isinstance(body, dict) or not worker.up:
        return
    destination = body.get("destination")
    if destination and worker.hostname not in destination:
        return
    command = body.get("method", "")
    reply = answer(worker, command, body.get("arguments") or {})
    reply_to = body.get("reply_to")
    if reply_to and command != "shutdown":
        where = reply_to["exchange"], reply_to["routing_key"]
        node.reply({worker.hostname: reply}, *where, body.get("ticket"))


def answer(worker: DemoWorker, command: str, arguments: Mapping[str, Any]) -> Any:
    """Let a worker obey; return its reply, an error where it does not know it or cannot do it."""
    try:
        deed, words = _COMMANDS[command]
        reply = deed(worker, **arguments)
    except Exception as error:  # noqa: BLE001  (it is the answer)
        return {"error": repr(error)}
    return {"ok": words.format(reply, **arguments)} if words else reply


def _revoke(
    worker: DemoWorker,
    task_id: str | list[str],
    terminate: bool = False,  # noqa: FBT001, FBT002  (by name, as Celery's)
    signal: str | int | None = None,
    **_: Any,
) -> str:
    uuids = [task_id] if isinstance(task_id, str) else task_id
    signum = None
    if terminate and isinstance(signal, int):
        signum = Signals(signal).value
    elif terminate:
        name = str(signal or "SIGTERM").upper()
        signum = Signals[name if name.startswith("SIG") else f"SIG{name}"].value
    for uuid in uuids:
        worker.revoke(uuid, signum)
    return ", ".join(uuids)


def _limit_rate(worker: DemoWorker, task_name: str, rate_limit: Any) -> Any:
    if task_name not in BY_NAME:
        return {"error": "unknown task"}
    number, _, unit = str(rate_limit).partition("/")
    rate = worker.rate_limits[task_name] = float(number) / _UNITS[unit or "s"]
    return {"ok": "new rate limit set successfully" if rate else "rate limit disabled successfully"}


def _limit_time(worker: DemoWorker, task_name: str, hard: Any = None, **_: Any) -> Any:
    if task_name not in BY_NAME:
        return {"error": "unknown task"}
    worker.time_limits.pop(task_name, None)
    if hard is not None:
        worker.time_limits[task_name] = float(hard)
    return {"ok": "time limits set successfully"}


def _stats(worker: DemoWorker) -> Any:
    return {
        "pid": worker.main.pid,
        "clock": str(worker.main.clock.value),
        "total": {"shop": worker.processed},
        "pool": {"max-concurrency": worker.concurrency},
    }


def _requests(worker: DemoWorker, tasks: Mapping[str, DemoTask]) -> list[dict[str, Any]]:
    return [
        {
            "id": task.uuid,
            **{name: task.fields[name] for name in ("name", "args", "kwargs")},
            "hostname": worker.hostname,
            "worker_pid": worker.main.pid,
            "delivery_info": {"exchange": "", "routing_key": task.kind.queue},
        }
        for task in tasks.values()
    ]


# fmt: off
#: What a worker does, and the words of its reply with the arguments in them, if that is no other.
_COMMANDS: Final[Mapping[str, tuple[Callable[..., Any], str]]] = {
    "ping": (lambda _worker: None, "pong"),
    # With as few fields as Celery sends then.
    "heartbeat": (lambda worker: worker.emit("worker-heartbeat", freq=5.0, **worker.software), ""),
    "revoke": (_revoke, "tasks {} flagged as revoked"),
    "terminate": (partial(_revoke, terminate=True), "tasks {} flagged as revoked"),
    "rate_limit": (_limit_rate, ""),
    "time_limit": (_limit_time, ""),
    "pool_grow": (lambda worker, n=1: worker.resize(n), "pool will grow"),
    "pool_shrink": (lambda worker, n=1: worker.resize(-n), "pool will shrink"),
    "autoscale": (lambda _worker, **_: {"error": "ValueError('Autoscale not enabled')"}, ""),
    "add_consumer": (lambda worker, queue, **_: worker.serve(queue), "add consumer {queue}"),
    "cancel_consumer": (lambda worker, queue, **_: worker.queues.discard(queue),
                        "no longer consuming from {queue}"),
    "enable_events": (partial(DemoWorker.switch_events, on=True), "task events enabled"),
    "disable_events": (partial(DemoWorker.switch_events, on=False), "task events disabled"),
    "shutdown": (lambda worker, **_: worker.leave(AWAY), ""),
    "active": (lambda worker, **_: _requests(worker, worker.running), ""),
    "reserved": (lambda worker, **_: _requests(worker, worker.received), ""),
    "active_queues": (lambda worker: [{"name": key, "routing_key": key, "exchange": {"name": key}}
                                      for key in sorted(worker.queues)], ""),
    "registered": (lambda _worker, **_: sorted(BY_NAME), ""),
    "stats": (_stats, ""),
}
# fmt: on
