"""A cluster told event by event, its state and its statistics."""

from __future__ import annotations

from evtools.state import State, Statistics

T = 1_000_000_000.0


class Watched:
    """A state, statistics beside it, and a clock that both go by."""

    def __init__(self, **limits):
        self.state = State(max_tasks_in_memory=10_000, max_workers_in_memory=100)
        self.statistics = Statistics(**limits)
        self.now = T

    def event(self, kind, uuid=None, *, after=0.0, host="w1", **fields):
        """Return an event that comes `after` seconds; its sender's clock is ours."""
        self.now += after
        event = {
            "type": f"task-{kind}" if uuid else kind,
            "hostname": "client" if kind == "sent" else host,
            "timestamp": self.now,
            "local_received": self.now,
            "pid": 1,
            "clock": 1,
            **fields,
        }
        if uuid:
            event["uuid"] = uuid
        if kind in ("sent", "received"):
            event = {"name": "t", "retries": 0} | event
        if kind == "sent":
            event = {"queue": "q"} | event
        return event

    def take(self, *events):
        """Take in events that came together."""
        self.statistics.take(self.state.apply(events))

    def tell(self, kind, uuid=None, **fields):
        """Take in an event that comes alone."""
        self.take(self.event(kind, uuid, **fields))

    def run(self, uuid, end="succeeded", *, runtime=1.0, **fields):
        """Let a task run from its sending to its end."""
        told = {name: fields.pop(name) for name in ("name", "queue") if name in fields}
        self.tell("sent", uuid, **told)
        self.tell("received", uuid, name=told.get("name", "t"))
        self.tell("started", uuid, after=0.1)
        if end == "succeeded":
            fields["runtime"] = runtime
        self.tell(end, uuid, after=runtime, **fields)

    def type(self, name="t", window="5m"):
        """Return the figures of a task type."""
        rows = self.statistics.types(window, self.now)
        return next(row for row in rows if row.name == name)

    def queue(self, name="q", window="5m"):
        """Return the figures of a queue, None if it is not shown."""
        rows = self.statistics.queues(window, self.now)
        return next((row for row in rows if row.name == name), None)
