"""Regular expressions on text that anyone may have sent: no search takes long."""

import re
from typing import Any, Final

from evtools.text.sanitize import sanitize

# The operator writes the pattern, but anyone who can enqueue a task writes the text, and
# backtracking takes years for (a|a)+$ on fifty letters.  `regex` gives up after a time.
# To read the CPU clock costs 1.5 us a search, so what is short anyway is not timed: short
# texts, for patterns with few repeats, where the steps are at most a power of the length.

#: CPU time that the search of one text may take, in seconds.
TIME_LIMIT: Final = 0.05
#: This many steps take less than that.
_FEW_STEPS: Final = 1_000_000
_NO_REPEAT: Final = re.compile(r"\\[^1-9]|\(\?[:P=!<]", re.DOTALL)
_REPEAT: Final = re.compile(r"[*+?{]|\\[1-9]")
#: A repeat of a group, which may have one inside, or a recursion.
_NESTED: Final = re.compile(r"\)[*+?{]|\(\?[^a-zA-Z#>]")


class BoundedPattern:
    """A regular expression; `flags` are those of `re`, by default I and M.

    `timeouts` counts the texts that were not searched to their end.  Raise ValueError for
    what is not a regular expression.
    """

    __slots__ = ("_pattern", "_search", "_untimed_chars", "timeouts")

    def __init__(self, pattern: str, flags: int = re.IGNORECASE | re.MULTILINE) -> None:
        import regex  # noqa: PLC0415  (10 ms, and few need it)

        try:
            self._pattern: Any = regex.compile(pattern, int(flags))
        except (regex.error, RecursionError, OverflowError, ValueError) as error:
            raise ValueError(f"not a regular expression: {sanitize(str(error))}") from error
        self._search: Any = self._pattern.search
        bare = _NO_REPEAT.sub("", pattern)
        power = len(_REPEAT.findall(bare)) + 1
        self._untimed_chars = 0 if _NESTED.search(bare) else int(_FEW_STEPS ** (1 / power))
        self.timeouts = 0

    def found_in(self, text: str) -> bool:
        """Return whether it matches somewhere in `text`; False if that takes too long."""
        limit = None if len(text) <= self._untimed_chars else TIME_LIMIT
        try:
            # By position: named arguments take 2 us longer.  The last one is the timeout.
            return self._search(text, None, None, None, 0, limit) is not None
        except TimeoutError:
            self.timeouts += 1
            return False

    def mask(self, mask: str, text: str) -> str:
        """Return `text` with `mask` for each match; for all of it if that takes too long."""
        timeouts = self.timeouts
        if not self.found_in(text):
            return text if self.timeouts == timeouts else mask
        try:
            return str(self._pattern.sub(lambda _: mask, text, timeout=TIME_LIMIT))
        except TimeoutError:
            self.timeouts += 1
            return mask

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where the matches in `text` start and end; none if that takes too long."""
        if not self.found_in(text):
            return []
        try:
            return [match.span() for match in self._pattern.finditer(text, timeout=TIME_LIMIT)]
        except TimeoutError:
            self.timeouts += 1
            return []
