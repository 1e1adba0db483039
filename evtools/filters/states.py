"""Task states: their names, short names and groups, and the events that enter them."""

import difflib
import fnmatch
from typing import Final

from evtools.filters.texts import is_glob
from evtools.filters.tokens import Mistake, Value
from evtools.text import sanitize

#: The state a task is in after an event of this type.
EVENT_STATES: Final = {
    "task-sent": "PENDING",
    "task-received": "RECEIVED",
    "task-started": "STARTED",
    "task-succeeded": "SUCCESS",
    "task-failed": "FAILURE",
    "task-retried": "RETRY",
    "task-revoked": "REVOKED",
    "task-rejected": "REJECTED",
    "task-cancelled": "CANCELLED",
}
STATES: Final = tuple(EVENT_STATES.values())
#: The states nothing follows, as far as this attempt goes.
FINAL_STATES: Final = frozenset({"SUCCESS", "FAILURE", "REVOKED", "REJECTED", "CANCELLED"})

#: Names that stand for several states.
STATE_GROUPS: Final = {
    "bad": frozenset({"FAILURE", "RETRY", "REVOKED", "REJECTED", "CANCELLED"}),
    "active": frozenset({"RECEIVED", "STARTED"}),
    "done": FINAL_STATES,
}
#: Short names, as on the screen, and words people use for the same.
STATE_NAMES: Final = {
    **{state.lower(): state for state in STATES},
    **{kind.removeprefix("task-"): state for kind, state in EVENT_STATES.items()},
    "recv": "RECEIVED",
    "run": "STARTED",
    "running": "STARTED",
    "ok": "SUCCESS",
    "fail": "FAILURE",
    "revoke": "REVOKED",
    "reject": "REJECTED",
    "cancel": "CANCELLED",
    "canceled": "CANCELLED",
    "failing": "FAILURE",
    "errored": "FAILURE",
    "succeeded": "SUCCESS",
    "retrying": "RETRY",
}

#: Words that mean a state by themselves; the short ones are parts of other words.
_WORDS: Final = frozenset(STATE_NAMES) - frozenset(
    {"sent", "recv", "run", "ok", "fail", "revoke", "reject", "cancel"}
)


def state_of_word(text: str) -> str | None:
    """Return the state that a bare word means, None for any other word."""
    name = text.lower()
    return STATE_NAMES[name] if name in _WORDS else None


def states_of(value: Value) -> frozenset[str]:
    """Return the states that a name, a short name, a group or a glob stands for.

    Raises Mistake where it is none: a misspelt state would match nothing for ever.
    """
    name = value.text.lower()
    if name in STATE_GROUPS:
        return STATE_GROUPS[name]
    if name in STATE_NAMES:
        return frozenset({STATE_NAMES[name]})
    if is_glob(value):
        matching = fnmatch.filter(STATES, value.text.upper())
        if matching:
            return frozenset(matching)
    names = [*STATE_NAMES, *STATE_GROUPS]
    close = difflib.get_close_matches(name, names, 1)
    guess = f' (did you mean "{close[0]}"?)' if close else ""
    raise Mistake(
        f'there is no state "{sanitize(value.text)}"{guess}',
        value.position,
        value.length,
        f"states are {' '.join(STATES).lower()}; groups are {' '.join(STATE_GROUPS)}",
    )
