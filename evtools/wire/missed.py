"""Tasks that workers counted and no event told us about."""

from collections import OrderedDict
from dataclasses import dataclass

from evtools.wire.events import EventFields

#: More workers than any cluster has; names are chosen by whoever publishes.
_WORKERS_MAX = 10_000


@dataclass(slots=True)
class _Count:
    pid: object
    processed: int
    started: int = 0
    #: Tasks accepted and not seen, as of the heartbeat before the last one.
    open_before: int = 0
    missed: int = 0
    seen_any: bool = False


class MissedTasks:
    """Compare `processed` of worker heartbeats with the task-started seen.

    A worker sends the task-started of every task that it counts, unless its
    events are off (nothing is claimed before the first one was seen) or the
    task type has `send_events=False`: the figure is an estimate, and an upper
    bound on healthy workers.
    """

    def __init__(self) -> None:
        self.total = 0
        self._workers: OrderedDict[str, _Count] = OrderedDict()

    def observe(self, event: EventFields) -> int:
        """Take in one event; return how many tasks it newly shows as missed."""
        kind = event["type"]
        if kind == "task-started":
            count = self._workers.get(_hostname(event))
            if count is not None:
                count.started += 1
                count.seen_any = True
        elif kind == "worker-heartbeat":
            return self._heartbeat(event)
        return 0

    def _heartbeat(self, event: EventFields) -> int:
        processed = event.get("processed")
        if type(processed) is not int:
            return 0
        hostname = _hostname(event)
        count = self._workers.get(hostname)
        pid = event.get("pid")
        if count is None or count.pid != pid or processed < count.processed:
            self._remember(hostname, _Count(pid, processed))
            return 0
        return self._settle(count, processed)

    def _settle(self, count: _Count, processed: int) -> int:
        """Count what two heartbeats in a row agree to be missing.

        The start of a task may be under way while the heartbeat that counts
        it arrives, so a single reading proves nothing.
        """
        unseen = processed - count.processed - count.started
        agreed = min(unseen, count.open_before)
        count.open_before = unseen
        if agreed <= count.missed or not count.seen_any:
            return 0
        newly = agreed - count.missed
        count.missed = agreed
        self.total += newly
        return newly

    def _remember(self, hostname: str, count: _Count) -> None:
        self._workers[hostname] = count
        self._workers.move_to_end(hostname)
        if len(self._workers) > _WORKERS_MAX:
            self._workers.popitem(last=False)


def _hostname(event: EventFields) -> str:
    hostname = event.get("hostname")
    return hostname if type(hostname) is str else ""
