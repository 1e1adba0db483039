"""The cursor of a list: on a key, not on a row number."""

from collections.abc import Sequence
from typing import Final

#: For so many refreshes after a key of the cursor, rows stay where they are.
HOLD: Final = 5


class Cursor:
    """Where the user is in a list of keys that changes under the user.

    It starts `loose`, at the edge where new rows come in (the first row, or the
    last one if `newest_last`), and stays there as they do.  Once moved away
    from that edge it is `pinned`: it sticks to its key wherever that goes.
    """

    def __init__(self, *, newest_last: bool = False) -> None:
        self.newest_last = newest_last
        self.keys: Sequence[str] = ()
        self.index = 0
        self.pinned = False
        #: Refreshes for which the order is still held.
        self.held = 0
        self._key = ""
        self._sticks = False

    @property
    def key(self) -> str | None:
        """The key under the cursor, None in an empty list."""
        return self.keys[self.index] if self.keys else None

    @property
    def follow(self) -> bool:
        """Whether it follows: the newest event, or else this row."""
        return not self.pinned if self.newest_last else self._sticks

    def place(self, keys: Sequence[str]) -> None:
        """Take the list as it is now.

        A key that has gone leaves the cursor where it was; one that was there
        before the list was empty is found again.
        """
        self.keys = keys
        if not keys:
            self.index = 0
        elif not self.pinned:
            self._go(self._edge)
        else:
            self._find(keys)

    def _find(self, keys: Sequence[str]) -> None:
        try:
            self.index = keys.index(self._key)
        except ValueError:
            self._go(min(self.index, len(keys) - 1))
            self._sticks = False

    @property
    def _edge(self) -> int:
        return len(self.keys) - 1 if self.newest_last else 0

    def _go(self, index: int) -> None:
        self.index = index
        self._key = self.keys[index]

    def to(self, index: int) -> None:
        """Go to a row, or to the nearest there is."""
        if not self.keys:
            return
        self._go(max(0, min(index, len(self.keys) - 1)))
        self.pinned = self._sticks or self.index != self._edge
        self.held = HOLD if self.pinned else 0

    def to_key(self, key: str) -> bool:
        """Go to a key, and stay with it; False if it is not in the list."""
        if key not in self.keys:
            return False
        self.to(self.keys.index(key))
        self.pinned = True
        return True

    def expect(self, key: str) -> None:
        """Go to `key` as soon as a list has it."""
        self._key, self.pinned = key, True

    def toggle_follow(self) -> None:
        """Follow, or stop doing so."""
        if self.newest_last:
            self.pinned, self.held = not self.pinned, 0
        else:
            self._sticks = not self._sticks
            self.pinned = self._sticks or self.index != self._edge
        if not self.pinned:
            self.place(self.keys)
