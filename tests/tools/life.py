"""Events of tasks and workers, for tests that need a cluster's past."""

from __future__ import annotations

from typing import Any


class Life:
    """Make events, each a tenth of a second after the one before.

    Times are those of the receipt; senders' clocks are `ahead` of ours.
    """

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.clock = 0

    def event(self, type_: str, *, ahead: float = 0.0, **fields: Any) -> dict[str, Any]:
        """Return an event that is received now."""
        self.now = round(self.now + 0.1, 6)
        self.clock += 1
        return {
            "type": type_,
            "timestamp": self.now + ahead,
            "local_received": self.now,
            "utcoffset": 0,
            "pid": 7,
            "clock": self.clock,
            **fields,
        }

    def beat(self, hostname: str = "w1@host", **fields: Any) -> dict[str, Any]:
        """Return a heartbeat."""
        told = {"freq": 2.0, "active": 1, "processed": 3, "loadavg": [1.0, 2.0, 3.0]}
        told |= {"sw_ident": "py-celery", "sw_ver": "5.6", "sw_sys": "Linux"}
        return self.event("worker-heartbeat", hostname=hostname, **{**told, **fields})

    def sent(self, uuid: str, name: str = "proj.add", **fields: Any) -> dict[str, Any]:
        """Return the event of a client that sends a task."""
        told = {"hostname": "gen1@client", "queue": "mail", "args": "(1, 2)"}
        told |= {"kwargs": "{}", "retries": 0, "root_id": uuid, "parent_id": None}
        return self.event("task-sent", uuid=uuid, name=name, **{**told, **fields})

    def received(self, uuid: str, name: str = "proj.add", **fields: Any) -> dict[str, Any]:
        """Return the event of a worker that receives a task."""
        told = {"hostname": "w1@host", "args": "(1, 2)", "kwargs": "{}", "retries": 0}
        told |= {"root_id": uuid, "parent_id": None, "eta": None, "expires": None}
        return self.event("task-received", uuid=uuid, name=name, **{**told, **fields})

    def started(self, uuid: str, **fields: Any) -> dict[str, Any]:
        """Return the event of a task that starts."""
        return self.event("task-started", uuid=uuid, **{"hostname": "w1@host", **fields})

    def succeeded(self, uuid: str, **fields: Any) -> dict[str, Any]:
        """Return the event of a task that succeeded."""
        told = {"hostname": "w1@host", "result": "3", "runtime": 0.5}
        return self.event("task-succeeded", uuid=uuid, **{**told, **fields})

    def failed(self, uuid: str, **fields: Any) -> dict[str, Any]:
        """Return the event of a task that failed."""
        told = {"hostname": "w1@host", "exception": "ValueError('no 12')"}
        told |= {"traceback": "Traceback:\n  File x\nValueError: no 12"}
        return self.event("task-failed", uuid=uuid, **{**told, **fields})

    def success(self, uuid: str, name: str = "proj.add", **fields: Any) -> list[dict[str, Any]]:
        """Return all events of a task that succeeds; `fields` are of its receipt."""
        return [
            self.sent(uuid, name),
            self.received(uuid, name, **fields),
            self.started(uuid),
            self.succeeded(uuid),
        ]

    def failure(self, uuid: str, name: str = "proj.add", **fields: Any) -> list[dict[str, Any]]:
        """Return all events of a task that fails; `fields` are of its end."""
        return [
            self.sent(uuid, name),
            self.received(uuid, name),
            self.started(uuid),
            self.failed(uuid, **fields),
        ]
