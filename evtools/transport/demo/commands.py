"""Remote control of the simulated workers: the commands, and what they answer."""

from collections.abc import Callable, Mapping
from signal import Signals
from typing import Any, Final, TypeAlias

from evtools.transport.demo.kinds import BY_NAME
from evtools.transport.demo.task import DemoTask
from evtools.transport.demo.worker import DemoWorker

Answer: TypeAlias = Any
#: How long a worker is away that was shut down, in seconds.
AWAY: Final = 20.0
_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}


def answer(worker: DemoWorker, command: str, arguments: Mapping[str, Any]) -> Answer:
    """Let a worker obey; return its reply.

    As a real one it answers with an error what it does not know or cannot do.
    """
    try:
        return COMMANDS[command](worker, **arguments)
    except Exception as error:  # noqa: BLE001  (whatever was sent, it is answered)
        return {"error": repr(error)}


def _ping(_: DemoWorker) -> Answer:
    return {"ok": "pong"}


def _heartbeat(worker: DemoWorker) -> Answer:
    worker.wake_up()


def _revoke(
    worker: DemoWorker,
    task_id: str | list[str],
    terminate: bool = False,  # noqa: FBT001, FBT002  (Celery's arguments)
    signal: str | int | None = None,
    **_: Any,
) -> Answer:
    uuids = [task_id] if isinstance(task_id, str) else task_id
    signum = _signum(signal or "SIGTERM") if terminate else None
    for uuid in uuids:
        worker.revoke(uuid, signum)
    return {"ok": f"tasks {', '.join(uuids)} flagged as revoked"}


def _terminate(worker: DemoWorker, signal: str | int, task_id: Any) -> Answer:
    return _revoke(worker, task_id, terminate=True, signal=signal)


def _rate_limit(worker: DemoWorker, task_name: str, rate_limit: Any) -> Answer:
    if task_name not in BY_NAME:
        return {"error": "unknown task"}
    number, _, unit = str(rate_limit).partition("/")
    worker.rate_limits[task_name] = float(number) / _UNITS[unit or "s"]
    if not worker.rate_limits[task_name]:
        return {"ok": "rate limit disabled successfully"}
    return {"ok": "new rate limit set successfully"}


def _time_limit(
    worker: DemoWorker, task_name: str, hard: float | None = None, soft: Any = None
) -> Answer:
    del soft  # none of our tasks would care
    if task_name not in BY_NAME:
        return {"error": "unknown task"}
    worker.time_limits.pop(task_name, None)
    if hard is not None:
        worker.time_limits[task_name] = float(hard)
    return {"ok": "time limits set successfully"}


def _pool_grow(worker: DemoWorker, n: int = 1) -> Answer:
    worker.resize(worker.concurrency + n)
    return {"ok": "pool will grow"}


def _pool_shrink(worker: DemoWorker, n: int = 1) -> Answer:
    worker.resize(worker.concurrency - n)
    return {"ok": "pool will shrink"}


def _autoscale(worker: DemoWorker, max: int, min: int = 0) -> Answer:  # noqa: A002
    del worker, max, min
    raise ValueError("Autoscale not enabled")


def _add_consumer(worker: DemoWorker, queue: str, **_: Any) -> Answer:
    worker.serve(queue)
    return {"ok": f"add consumer {queue}"}


def _cancel_consumer(worker: DemoWorker, queue: str, **_: Any) -> Answer:
    worker.queues.discard(queue)
    return {"ok": f"no longer consuming from {queue}"}


def _enable_events(worker: DemoWorker) -> Answer:
    worker.tells = True
    return {"ok": "task events enabled"}


def _disable_events(worker: DemoWorker) -> Answer:
    worker.tells = False
    return {"ok": "task events disabled"}


def _shutdown(worker: DemoWorker, **_: Any) -> Answer:
    worker.leave(AWAY)


def _active(worker: DemoWorker, **_: Any) -> Answer:
    return [_request(worker, task) for task in worker.running.values()]


def _reserved(worker: DemoWorker, **_: Any) -> Answer:
    return [_request(worker, task) for task in worker.received.values()]


def _active_queues(worker: DemoWorker) -> Answer:
    return [
        {"name": name, "routing_key": name, "exchange": {"name": name}}
        for name in sorted(worker.queues)
    ]


def _registered(worker: DemoWorker, **_: Any) -> Answer:
    del worker
    return sorted(BY_NAME)


def _stats(worker: DemoWorker) -> Answer:
    return {
        "pid": worker.sender.pid,
        "clock": str(worker.sender.clock.value),
        "total": {"shop": worker.processed},
        "pool": {"max-concurrency": worker.concurrency},
    }


def _request(worker: DemoWorker, task: DemoTask) -> dict[str, Any]:
    return {
        "id": task.uuid,
        "name": task.kind.name,
        "args": task.args,
        "kwargs": "{}",
        "hostname": worker.hostname,
        "worker_pid": worker.sender.pid,
        "delivery_info": {"exchange": "", "routing_key": task.kind.queue},
    }


def _signum(signal: str | int) -> int:
    if isinstance(signal, int):
        return Signals(signal).value
    name = signal.upper()
    return Signals[name if name.startswith("SIG") else f"SIG{name}"].value


COMMANDS: Final[Mapping[str, Callable[..., Answer]]] = {
    "ping": _ping,
    "heartbeat": _heartbeat,
    "revoke": _revoke,
    "terminate": _terminate,
    "rate_limit": _rate_limit,
    "time_limit": _time_limit,
    "pool_grow": _pool_grow,
    "pool_shrink": _pool_shrink,
    "autoscale": _autoscale,
    "add_consumer": _add_consumer,
    "cancel_consumer": _cancel_consumer,
    "enable_events": _enable_events,
    "disable_events": _disable_events,
    "shutdown": _shutdown,
    "active": _active,
    "reserved": _reserved,
    "active_queues": _active_queues,
    "registered": _registered,
    "stats": _stats,
}
#: Commands without a reply.
SILENT: Final = frozenset({"shutdown"})
