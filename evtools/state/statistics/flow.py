"""How many events came in each of the last seconds."""

from collections import deque
from typing import Final

#: How far back the flow goes, in seconds.
REACH: Final = 300


class Flow:
    """Events per second over the last five minutes."""

    __slots__ = ("_seconds",)

    def __init__(self) -> None:
        #: Seconds in which events came, oldest first, and how many.
        self._seconds: deque[tuple[float, int]] = deque(maxlen=REACH + 1)

    def add(self, now: float, count: int) -> None:
        """Count events of the second that `now` is in."""
        second = now // 1
        if self._seconds and self._seconds[-1][0] >= second:
            second, before = self._seconds.pop()
            count += before
        self._seconds.append((second, count))

    def rates(self, columns: int, now: float) -> list[float]:
        """Return events per second in so many columns, newest last.

        Columns are whole seconds wide and stand still: they move on by one
        at a time.  The second that is not over yet is in none.
        """
        if columns < 1:
            return []
        width = -(-REACH // columns)
        end = now // 1
        newest = (end - 1) // width
        sums = [0] * columns
        for second, count in self._seconds:
            column = columns - 1 + (second // width - newest)
            if 0 <= column < columns and second < end:
                sums[int(column)] += count
        rates = [total / width for total in sums]
        rates[-1] = sums[-1] / (end - newest * width)
        return rates

    def peak(self, now: float) -> float:
        """Return the most events that came in one of these seconds."""
        return max(
            (count for second, count in self._seconds if now - REACH <= second < now), default=0.0
        )
