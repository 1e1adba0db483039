"""What a task raised, where its event shows only what that was wrapped into."""

import re
from typing import Final

#: What billiard makes of an exception that a worker raises for its process: of one
#: that was lost, or too slow.
_WRAPPER: Final = "ExceptionWithTraceback()"
#: The last line of a traceback, and as much of it as a text may have.
_RAISED: Final = re.compile(r"(?:\w+\.)*(?P<kind>\w+)(?:: (?P<text>.*))?", re.DOTALL)
_TEXT_MAX: Final = 1024


def unwrapped(exception: str | None, traceback: str | None) -> str | None:
    """Return the exception that was raised, as its repr, as far as we can know it."""
    if exception != _WRAPPER or traceback is None:
        return exception
    line = traceback[-_TEXT_MAX:].rstrip().rpartition("\n")[2]
    found = _RAISED.fullmatch(line)
    if found is None:
        return exception
    kind, text = found["kind"], found["text"]
    if text is None:
        return f"{kind}()"
    # Where the text is a repr already, it tells all.
    return text if text.startswith(f"{kind}(") else f"{kind}({text!r})"
