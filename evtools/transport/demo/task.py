"""A task of the simulated cluster."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import Random
from typing import Any

from evtools.transport.demo.kinds import End, Kind

#: How often a task is tried again before it is given up.
MAX_RETRIES = 2
_RETRY_AFTER = 4.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DemoTask:
    """One delivery of a task; `eta` and `expires` are UTC epoch seconds."""

    uuid: str
    kind: Kind
    args: str
    parent: "DemoTask | None" = None
    root_id: str = ""
    retries: int = 0
    eta: float | None = None
    expires: float | None = None

    def told(self) -> dict[str, Any]:
        """Return what client and worker both tell of it."""
        return {
            "uuid": self.uuid,
            "name": self.kind.name,
            "args": self.args,
            "kwargs": "{}",
            "retries": self.retries,
            "eta": _iso(self.eta),
            "expires": _iso(self.expires),
            "root_id": self.root_id or self.uuid,
            "parent_id": self.parent and self.parent.uuid,
        }

    def again(self) -> "DemoTask":
        """Return the same task, to be delivered once more."""
        return replace(self)

    def retry(self, now: float) -> "DemoTask":
        """Return the next attempt."""
        return replace(self, retries=self.retries + 1, eta=now + _RETRY_AFTER)


def make_task(rng: Random, kind: Kind, now: float, parent: DemoTask | None = None) -> DemoTask:
    """Make a task of a type, sent by a client or by its parent at `now`."""
    return DemoTask(
        uuid=_uuid(rng),
        kind=kind,
        args=kind.args(rng),
        parent=parent,
        root_id=(parent.root_id or parent.uuid) if parent else "",
        eta=now + kind.countdown if kind.countdown else None,
        expires=now + kind.expires if kind.expires else None,
    )


def end_of(rng: Random, kind: Kind) -> End | None:
    """Choose how a task ends; None if it succeeds."""
    left = rng.random()
    for end in kind.ends:
        left -= end.share
        if left < 0:
            return end
    return None


def traceback(kind: Kind, exception: str) -> str:
    """Return where a task of that type raised an exception."""
    module, _, function = kind.name.rpartition(".")
    name, _, message = exception.removesuffix(")").partition("(")
    return (
        "Traceback (most recent call last):\n"
        f'  File "/srv/{module.replace(".", "/")}.py", line 88, in {function}\n'
        f"    raise {exception}\n"
        f"{name}{message and ': '}{message}\n"
    )


def _iso(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat()


def _uuid(rng: Random) -> str:
    digits = f"{rng.getrandbits(128):032x}"
    return "-".join((digits[:8], digits[8:12], f"4{digits[13:16]}", digits[16:20], digits[20:]))
