"""The logical clock that orders events of one worker process."""

from typing import Final

#: A forged clock beyond this would make all later times unreadably long.
_PLAUSIBLE_MAX: Final = 2**63


class LamportClock:
    """Count logical time as Celery's application clock does.

    Only the receiver's own thread may use one clock.
    """

    __slots__ = ("value",)

    def __init__(self, value: int = 0) -> None:
        self.value = value

    def forward(self) -> int:
        """Advance by one and return the new time; call it before sending."""
        self.value += 1
        return self.value

    def adjust(self, other: int) -> int:
        """Move past `other`, the time of a received event; return the new time.

        A time that no clock could reach by counting is ignored.
        """
        value = self.value
        if value < other < _PLAUSIBLE_MAX:
            value = other
        self.value = value = value + 1
        return value
