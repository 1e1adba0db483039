"""The fingerprint of a failure: what stays the same when only details differ."""

import re
from functools import lru_cache
from typing import Final, NamedTuple

#: Longer texts are cut before anything looks at them, in characters.
TEXT_MAX: Final = 500
#: What stands for the variable parts; so a message is a glob of its kind.
BLANK: Final = "*"

# Exceptions travel as their repr, perhaps cut: CardError('declined', 402).
_REPR: Final = re.compile(r"([^\W\d][\w.]{0,200})(?:\((.*?),?\)?)?", re.DOTALL)
# What billiard wraps an exception into; the traceback's end knows better.
_WRAPPERS: Final = ("ExceptionWithTraceback(", "ExceptionInfo(")
_LAST_LINE: Final = re.compile(r"([^\W\d][\w.]{0,200})(?::\s*(.*))?")

# A string that is an argument by itself is the message, not a part quoted in
# it; it ends where its quote is followed by the next argument or the end.
_ARGUMENT: Final = re.compile(
    r"""(?:^|(?<=,\ ))(?P<quote>['"])(?P<text>.*?)(?<!\\)(?P=quote)(?=,|$)""",
    re.DOTALL | re.VERBOSE,
)
# Quoted parts, but no apostrophes; words with a digit or an @ in them.  These
# are numbers, hex, uuids, addresses of memory, hosts and mail, ids, dates.
_VARIABLE: Final = re.compile(
    r"""(?<!\w)(')[^']*'(?!\w) | (?<!\w)(")[^"]*"(?!\w)
    | (?<![\w@.+-])[\w.+-]*?[\d@](?:[\w@.:+-]*\w)?""",
    re.VERBOSE,
)
_LIST: Final = re.compile(r"\*(?:,\s?\*)+")
_SPACE: Final = re.compile(r"\s+")


class Fingerprint(NamedTuple):
    """What failures of one kind share; the texts are as the sender wrote them."""

    task: str
    exception: str
    message: str


def fingerprint(task: str, exception: object, traceback: object) -> Fingerprint:
    """Return the fingerprint of a failure, from the fields of its event."""
    text = exception[:TEXT_MAX] if isinstance(exception, str) else ""
    end = traceback[-TEXT_MAX:] if isinstance(traceback, str) else ""
    # Only a wrapper needs the traceback, and few texts make a memo that helps.
    return Fingerprint(task, *_parts(text, end if text.startswith(_WRAPPERS) else ""))


def blank(message: str) -> str:
    """Return a message, its variable parts blanked, on one line."""
    text = _VARIABLE.sub(rf"\1\2{BLANK}\1\2", message)
    # A pair of quotes with nothing in it gets longer.
    return _LIST.sub(BLANK, _SPACE.sub(" ", text)).strip()[:TEXT_MAX]


@lru_cache(maxsize=256)
def _parts(text: str, traceback: str) -> tuple[str, str]:
    """Return the type of an exception and its message, blanked."""
    lines = traceback.strip().splitlines()
    last = _LAST_LINE.fullmatch(lines[-1]) if lines else None
    if last is not None:
        return last[1].rpartition(".")[2], blank(last[2] or "")
    found = _REPR.fullmatch(text.strip())
    if found is None:
        return "", blank(text)
    return found[1], blank(_ARGUMENT.sub(r"\g<text>", found[2] or ""))
