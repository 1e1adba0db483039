"""The connection, as the screen tells of it."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from evtools.clock import Clock
from evtools.transport import Notice

Status: TypeAlias = Literal["connecting", "live", "reconnecting", "ended"]


@dataclass(slots=True)
class Link:
    """What the notices of a source have told so far.

    `lost_at` is when the last connection was lost, in UTC epoch seconds, and
    None while there is one; `reason` is why, and `attempts` how often we
    tried again in vain.
    """

    clock: Clock
    status: Status = "connecting"
    reason: str = ""
    attempts: int = 0
    lost_at: float | None = None
    #: Why a replay has shown nothing at all, at its end.
    emptiness: str = ""

    def hear(self, notice: Notice) -> None:
        """Take a notice in."""
        if notice.kind in ("listening", "restored"):
            self.status, self.reason = "live", ""
            self.attempts, self.lost_at = 0, None
        elif notice.kind == "retry":
            self.attempts += 1
            self.reason = notice.text
        elif notice.kind == "lost":
            self._lose(notice.text)
        elif notice.kind in ("ended", "rewound"):
            self.emptiness = notice.text if notice.kind == "ended" else ""

    def end(self, error: Exception | None) -> None:
        """Take in that nothing more will come."""
        self.status = "ended"
        self.reason = str(error) if error is not None else ""
        if self.lost_at is None:
            self.lost_at = self.clock.wall()

    def _lose(self, reason: str) -> None:
        if self.status == "live":
            self.status = "reconnecting"
            self.lost_at = self.clock.wall()
        self.reason = reason
